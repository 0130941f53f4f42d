//! Is a phone behind NAT? It is if what it says of itself, in Contact and Via, names another
//! address than the one its request came from. A phone on a private network whose private address
//! is its source says the truth, and is not.
//!
//! What is compared are addresses; a host name says nothing. An address of the other family says
//! nothing either: a phone with IPv4 and IPv6 may register its one over the other. Ports are not
//! looked at: a phone may well send from another one than it listens on.
//!
//! Where proxies stand between, the source is that of the last one: then the Via at the bottom is
//! the phone's, and the first proxy has written beside it where it came from (RFC 3261 18.2.1).

use std::net::IpAddr;

use crate::sip::header::contact::Contact;
use crate::sip::header::via::{Rport, Via};
use crate::sip::uri::host_ip;

/// What a phone says of itself, and where it is seen.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// Where its request came from.
    pub source: IpAddr,
    /// The Via it wrote.
    pub via: &'a Via<'a>,
    /// Where it wants to be reached.
    pub contacts: &'a [Contact<'a>],
}

/// What speaks for NAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// A Contact names an address that is not the source.
    pub contact: bool,
    /// A Contact names a private address (RFC 1918, RFC 4193), one of a carrier's own (RFC 6598) or
    /// one of a link, and the source is public.
    pub private_contact: bool,
    /// The Via asks for `rport` and names an address that is not the source.
    pub via: bool,
}

impl Signs {
    /// What the claims of a phone, seen directly, show.
    #[must_use]
    pub fn of(claims: &Claims<'_>) -> Signs {
        let source = claims.source.to_canonical();
        let mut signs = Signs {
            via: claims.via.rport != Rport::Absent
                && host_ip(claims.via.host).is_some_and(|said| is_another(said, source)),
            ..Signs::default()
        };
        for contact in claims.contacts {
            // Nearly every host is a name or the very source.
            let Some(said) = host_ip(contact.uri.host) else { continue };
            if is_another(said, source) {
                signs.contact = true;
                signs.private_contact |= is_private(said) && !is_private(source);
            }
        }
        signs
    }

    /// The same of a phone behind proxies, of which `via` is the lowest: its own. The first proxy's
    /// `received` stands for the source; without one the phone told it the truth.
    #[must_use]
    pub fn through_proxies(via: &Via<'_>, contacts: &[Contact<'_>]) -> Signs {
        match via.received.or_else(|| host_ip(via.host)) {
            Some(source) => Signs::of(&Claims { source, via, contacts }),
            None => Signs::default(),
        }
    }

    /// Whether any of them is there.
    #[must_use]
    pub const fn is_behind_nat(self) -> bool {
        self.contact || self.private_contact || self.via
    }
}

fn is_another(said: IpAddr, source: IpAddr) -> bool {
    let said = said.to_canonical();
    said.is_ipv4() == source.is_ipv4() && said != source
}

/// Whether an address means something only inside some network.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(source: &str, via: &str, contact: &str) -> Signs {
        let via = format!("SIP/2.0/UDP {via}");
        let via = Via::parse_first(via.as_bytes()).unwrap();
        let contact = format!("<sip:u@{contact}>");
        let contacts = [Contact::parse(contact.as_bytes()).unwrap()];
        let source = source.parse().unwrap();
        Signs::of(&Claims { source, via: &via, contacts: &contacts })
    }

    #[test]
    fn a_phone_that_names_its_source_is_not_behind_nat() {
        let table = [
            ("192.0.2.7", "192.0.2.7:5060;rport", "192.0.2.7:5060"),
            ("10.0.0.7", "10.0.0.7;rport", "10.0.0.7"),
            ("192.0.2.7", "192.0.2.7:5060;rport", "192.0.2.7:40000"),
            ("192.0.2.7", "phone.example.com;rport", "phone.example.com"),
            ("192.0.2.7", "x.invalid", "x.invalid;transport=ws"),
            ("::ffff:192.0.2.7", "192.0.2.7;rport", "192.0.2.7"),
            ("2001:db8::7", "[2001:db8:0::7];rport", "[2001:db8::7]:5060"),
            // Its other family.
            ("2001:db8::7", "[2001:db8::7];rport", "192.168.0.7"),
        ];
        for (source, via, contact) in table {
            assert_eq!(signs(source, via, contact), Signs::default(), "{source} {via} {contact}");
        }
    }

    #[test]
    fn each_sign_by_itself() {
        let contact = Signs { contact: true, ..Signs::default() };
        let private = Signs { private_contact: true, ..contact };
        let via = Signs { via: true, ..Signs::default() };
        let table = [
            ("192.0.2.7", "h", "198.51.100.1", contact),
            ("10.0.0.1", "h", "192.168.0.7", contact),
            ("192.0.2.7", "h", "192.168.0.7", private),
            ("192.0.2.7", "h", "100.64.0.1", private),
            ("192.0.2.7", "h", "100.128.0.1", contact),
            ("2001:db8::7", "h", "[fd00::7]", private),
            ("192.0.2.7", "192.168.0.7;rport", "h", via),
            // Without rport it may be a host with several addresses that knows what it says.
            ("192.0.2.7", "192.168.0.7", "h", Signs::default()),
        ];
        for (source, via, contact, expected) in table {
            assert_eq!(signs(source, via, contact), expected, "{source} {via} {contact}");
            assert_eq!(expected.is_behind_nat(), expected != Signs::default());
        }
    }

    #[test]
    fn behind_a_proxy_the_received_of_the_lowest_via_is_the_source() {
        let of = |via: &str, contact: &str| {
            let via = format!("SIP/2.0/UDP {via}");
            let via = Via::parse_first(via.as_bytes()).unwrap();
            let contact = format!("<sip:u@{contact}>");
            let contacts = [Contact::parse(contact.as_bytes()).unwrap()];
            Signs::through_proxies(&via, &contacts).is_behind_nat()
        };
        assert!(of("192.168.0.7;rport=4000;received=192.0.2.7", "192.168.0.7"));
        assert!(!of("192.168.0.7", "192.168.0.7"));
        assert!(!of("phone.example.com", "192.168.0.7"));
    }
}
