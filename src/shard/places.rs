//! Places nobody may register at, and places no datagram may come from: each would have us send to
//! ourselves, to nobody, or to everybody.

use std::net::IpAddr;

use crate::nat::OwnAddresses;
use crate::shard::Datagram;
use crate::shard::counters::DropReason;
use crate::shard::refused::RefuseReason;
use crate::sip::header::contact::Contact;
use crate::sip::uri::{Scheme, Uri, host_ip};

/// Why a datagram is dropped for where it says it came from.
#[inline]
pub(super) fn unanswerable(own: &OwnAddresses, datagram: &Datagram<'_>) -> Option<DropReason> {
    // The handshake of a connection has shown where that came from.
    if datagram.link.is_some() {
        return None;
    }
    let (ip, port) = (datagram.source.ip(), datagram.source.port());
    if port == 0 {
        // RFC 768: no reply is expected, and none can be sent.
        return Some(DropReason::SourcePortZero);
    }
    own.listens(false, ip, port, datagram.local_ip).then_some(DropReason::OwnSource)
}

/// Why one of these contacts may not be bound, if one may not. Those that are to go may be
/// anywhere. `expires_s` is the Expires of the request.
#[inline]
pub(super) fn refused_contact(
    own: &OwnAddresses,
    local_ip: Option<IpAddr>,
    contacts: &[Contact<'_>],
    expires_s: Option<u32>,
) -> Option<RefuseReason> {
    let stays = |contact: &&Contact<'_>| contact.expires.or(expires_s) != Some(0);
    contacts.iter().filter(stays).find_map(|contact| refused_uri(own, local_ip, &contact.uri))
}

fn refused_uri(
    own: &OwnAddresses,
    local_ip: Option<IpAddr>,
    uri: &Uri<'_>,
) -> Option<RefuseReason> {
    let host = host_ip(uri.host);
    if uri.params.is_empty() {
        return refused_place(own, local_ip, uri, host?);
    }
    // RFC 3261 19.1.1: where there is a maddr, that is where requests go.
    let maddr = uri.param(b"maddr").and_then(host_ip);
    [host, maddr].into_iter().flatten().find_map(|ip| refused_place(own, local_ip, uri, ip))
}

fn refused_place(
    own: &OwnAddresses,
    local_ip: Option<IpAddr>,
    uri: &Uri<'_>,
    ip: IpAddr,
) -> Option<RefuseReason> {
    if ip.to_canonical().is_multicast() {
        return Some(RefuseReason::ContactMulticast);
    }
    if own.is_broadcast(ip) {
        return Some(RefuseReason::ContactBroadcast);
    }
    // RFC 3263 4.1, 4.2: of a numeric host.
    let secure = uri.scheme == Scheme::Sips;
    let transport = uri.param(b"transport");
    let is_connection = secure || transport.is_some_and(|t| !t.eq_ignore_ascii_case(b"udp"));
    let is_tls = secure || transport.is_some_and(|t| t.eq_ignore_ascii_case(b"tls"));
    let port = uri.port.unwrap_or(if is_tls { 5061 } else { 5060 });
    own.listens(is_connection, ip, port, local_ip).then_some(RefuseReason::ContactOwn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Transport;

    fn own() -> OwnAddresses {
        let listening = [
            (Transport::Udp, "0.0.0.0:5060".parse().unwrap()),
            (Transport::Tls, "0.0.0.0:5061".parse().unwrap()),
        ];
        let hosts = vec!["192.0.2.1".parse().unwrap()];
        OwnAddresses::new(listening, hosts, vec!["192.0.2.255".parse().unwrap()])
    }

    fn refused(contact: &str) -> Option<RefuseReason> {
        let contacts = [Contact::parse(contact.as_bytes()).unwrap()];
        refused_contact(&own(), None, &contacts, Some(600))
    }

    #[test]
    fn each_place_has_its_reason() {
        use RefuseReason::{ContactBroadcast, ContactMulticast, ContactOwn};
        for (contact, expected) in [
            ("<sip:u@224.0.1.75>", Some(ContactMulticast)),
            ("<sip:u@239.255.255.250:5060>", Some(ContactMulticast)),
            ("<sip:u@[ff02::1]>", Some(ContactMulticast)),
            ("<sip:u@[::ffff:224.0.1.75]>", Some(ContactMulticast)),
            ("<sip:u@255.255.255.255>", Some(ContactBroadcast)),
            ("<sip:u@192.0.2.255:9>", Some(ContactBroadcast)),
            ("<sip:u@192.0.2.1>", Some(ContactOwn)),
            ("<sip:u@192.0.2.1;transport=UDP>", Some(ContactOwn)),
            ("<sip:u@127.0.0.1:5060>", Some(ContactOwn)),
            ("<sips:u@192.0.2.1>", Some(ContactOwn)),
            ("<sip:u@192.0.2.1;transport=tls>", Some(ContactOwn)),
            ("<sip:u@192.0.2.1;transport=tcp>", None),
            ("<sip:u@192.0.2.1:5070>", None),
            ("<sip:u@192.0.2.2>", None),
            ("<sip:u@example.com>", None),
            ("<sip:u@example.com;maddr=239.1.2.3>", Some(ContactMulticast)),
            ("<sip:u@example.com;maddr=192.0.2.1>", Some(ContactOwn)),
            ("<sip:u@0.0.0.0>", None),
            ("<sip:u@192.0.2.1>;expires=0", None),
        ] {
            assert_eq!(refused(contact), expected, "{contact}");
        }
    }

    #[test]
    fn a_request_that_only_takes_contacts_away_may_name_any_place() {
        let contacts = [Contact::parse(b"<sip:u@224.0.1.75>").unwrap()];
        assert_eq!(refused_contact(&own(), None, &contacts, Some(0)), None);
        assert!(refused_contact(&own(), None, &contacts, None).is_some());
    }
}
