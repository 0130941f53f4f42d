//! A message between shards as a ring's record: the fixed fields in the tag, one behind the other,
//! the payload as the body. The set of kinds is closed; both ends are this process, so anything
//! unexpected is our own bug and asserts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use bytes::{Buf, BufMut};

use super::Notice;
use super::ring::{Record, TAG_BYTES, Tag};
use super::told;
use crate::flow::{ConnectionId, Transport};
use crate::shard::{Datagram, Link, ListenerId, Peer, ShardId};
use crate::time::Instant;

/// What a record is. Zero is none of them, so memory never written is never a message.
const KIND_DATAGRAM: u8 = 1;
const KIND_OF_CONNECTION: u8 = 2;
const KIND_SEND: u8 = 3;
const KIND_AUTHENTICATED: u8 = 4;
const KIND_HOLD: u8 = 5;
const KIND_RELEASE: u8 = 6;
const KIND_RELEASE_AND_CLOSE: u8 = 7;
const KIND_CLOSED: u8 = 8;
const KIND_PING: u8 = 9;
const KIND_EXPECT: u8 = 10;
const KIND_UNREACHABLE: u8 = 11;
const KIND_HEARD: u8 = 12;
const KIND_SHUT: u8 = 13;
const KIND_GUARD: u8 = 14;

const FAMILY_NONE: u8 = 0;
const FAMILY_V4: u8 = 4;
const FAMILY_V6: u8 = 6;

/// What a record carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parcel<'a> {
    Message(Datagram<'a>),
    Send { connection: ConnectionId, bytes: &'a [u8] },
    Notice { from: ShardId, notice: Notice },
}

/// The fixed fields of a message; its bytes are the body, after the identities of its client.
#[inline]
pub(super) fn message_tag(datagram: &Datagram<'_>) -> Tag {
    let mut tag = [0; TAG_BYTES];
    let mut out = &mut tag[..];
    out.put_u8(if datagram.link.is_some() { KIND_OF_CONNECTION } else { KIND_DATAGRAM });
    out.put_u8(datagram.listener.0);
    out.put_u64_ne(datagram.received_at.as_nanos());
    put_address(&mut out, datagram.source);
    match &datagram.link {
        None => put_ip(&mut out, datagram.local_ip),
        Some(link) => {
            put_connection(&mut out, link.id);
            out.put_u8(link.transport as u8);
            out.put_u8(link.authenticated.into());
            // At most PEER_BYTES_MAX.
            out.put_u16_ne(link.peer.text().len() as u16);
        }
    }
    tag
}

/// The fixed fields of a message to be sent over `connection`; its bytes are the body.
pub(super) fn send_tag(connection: ConnectionId) -> Tag {
    let mut tag = [0; TAG_BYTES];
    let mut out = &mut tag[..];
    out.put_u8(KIND_SEND);
    put_connection(&mut out, connection);
    tag
}

/// A notice, which has no body.
pub(super) fn notice_tag(from: ShardId, notice: Notice) -> Tag {
    let mut tag = [0; TAG_BYTES];
    let mut out = &mut tag[..];
    let (kind, id) = match notice {
        Notice::Authenticated(id) => (KIND_AUTHENTICATED, id),
        Notice::Hold(id) => (KIND_HOLD, id),
        Notice::Release { id, close_if_unused: false } => (KIND_RELEASE, id),
        Notice::Release { id, close_if_unused: true } => (KIND_RELEASE_AND_CLOSE, id),
        Notice::Closed(id) => (KIND_CLOSED, id),
        Notice::Shut(id) => (KIND_SHUT, id),
        Notice::Ping(id) => (KIND_PING, id),
        Notice::Expect { id, .. } => (KIND_EXPECT, id),
        Notice::Unreachable { to: address } | Notice::Heard { source: address } => {
            let unreachable = matches!(notice, Notice::Unreachable { .. });
            out.put_u8(if unreachable { KIND_UNREACHABLE } else { KIND_HEARD });
            out.put_u8(from.0);
            put_address(&mut out, address);
            return tag;
        }
        Notice::Guard(told) => {
            out.put_u8(KIND_GUARD);
            out.put_u8(from.0);
            told::put(&mut out, told);
            return tag;
        }
    };
    out.put_u8(kind);
    out.put_u8(from.0);
    put_connection(&mut out, id);
    if let Notice::Expect { silence_max_s, .. } = notice {
        out.put_u32_ne(silence_max_s);
    }
    tag
}

/// What `record` carries.
///
/// # Panics
/// If it carries nothing known: only the functions above make tags.
#[inline]
pub(super) fn parcel<'a>(record: &Record<'a>) -> Parcel<'a> {
    let mut tag = &record.tag[..];
    let kind = tag.get_u8();
    if kind == KIND_DATAGRAM || kind == KIND_OF_CONNECTION {
        return Parcel::Message(message(tag, kind, record.body));
    }
    if kind == KIND_SEND {
        return Parcel::Send { connection: take_connection(&mut tag), bytes: record.body };
    }
    let from = ShardId(tag.get_u8());
    if kind == KIND_GUARD {
        return Parcel::Notice { from, notice: Notice::Guard(told::take(&mut tag)) };
    }
    if kind == KIND_UNREACHABLE || kind == KIND_HEARD {
        let address = take_address(&mut tag);
        let notice = match kind {
            KIND_UNREACHABLE => Notice::Unreachable { to: address },
            _ => Notice::Heard { source: address },
        };
        return Parcel::Notice { from, notice };
    }
    let id = take_connection(&mut tag);
    let notice = match kind {
        KIND_AUTHENTICATED => Notice::Authenticated(id),
        KIND_HOLD => Notice::Hold(id),
        KIND_RELEASE => Notice::Release { id, close_if_unused: false },
        KIND_RELEASE_AND_CLOSE => Notice::Release { id, close_if_unused: true },
        KIND_CLOSED => Notice::Closed(id),
        KIND_SHUT => Notice::Shut(id),
        KIND_PING => Notice::Ping(id),
        KIND_EXPECT => Notice::Expect { id, silence_max_s: tag.get_u32_ne() },
        other => panic!("a record of an unknown kind, {other}"),
    };
    Parcel::Notice { from, notice }
}

#[inline]
fn message<'a>(mut tag: &[u8], kind: u8, body: &'a [u8]) -> Datagram<'a> {
    let listener = ListenerId(tag.get_u8());
    let received_at = Instant::from_nanos(tag.get_u64_ne());
    let source = take_address(&mut tag);
    if kind == KIND_DATAGRAM {
        let local_ip = take_ip(&mut tag);
        return Datagram { source, listener, local_ip, received_at, bytes: body, link: None };
    }
    let id = take_connection(&mut tag);
    let transport = Transport::ALL[usize::from(tag.get_u8())];
    let authenticated = tag.get_u8() != 0;
    let (peer, bytes) = body.split_at(usize::from(tag.get_u16_ne()));
    let link = Link { id, transport, authenticated, peer: Peer::new(peer) };
    Datagram { source, listener, local_ip: None, received_at, bytes, link: Some(link) }
}

#[inline]
fn put_connection(out: &mut impl BufMut, id: ConnectionId) {
    out.put_u8(id.reactor);
    out.put_u32_ne(id.slot);
    out.put_u32_ne(id.generation);
}

#[inline]
fn take_connection(tag: &mut impl Buf) -> ConnectionId {
    ConnectionId { reactor: tag.get_u8(), slot: tag.get_u32_ne(), generation: tag.get_u32_ne() }
}

/// Family and, whatever it is, sixteen bytes, so that what follows stands where it always does.
#[inline]
pub(super) fn put_ip(out: &mut impl BufMut, ip: Option<IpAddr>) {
    let (family, bits) = match ip {
        None => (FAMILY_NONE, 0),
        Some(IpAddr::V4(ip)) => (FAMILY_V4, ip.to_bits().into()),
        Some(IpAddr::V6(ip)) => (FAMILY_V6, ip.to_bits()),
    };
    out.put_u8(family);
    out.put_u128_ne(bits);
}

/// A link-local peer cannot be answered without its scope.
#[inline]
fn put_address(out: &mut impl BufMut, address: SocketAddr) {
    let (flowinfo, scope) = match address {
        SocketAddr::V4(_) => (0, 0),
        SocketAddr::V6(address) => (address.flowinfo(), address.scope_id()),
    };
    put_ip(out, Some(address.ip()));
    out.put_u16_ne(address.port());
    out.put_u32_ne(flowinfo);
    out.put_u32_ne(scope);
}

#[inline]
fn take_address(tag: &mut impl Buf) -> SocketAddr {
    let ip = take_ip(tag).expect("a record without its address");
    let port = tag.get_u16_ne();
    let (flowinfo, scope) = (tag.get_u32_ne(), tag.get_u32_ne());
    match ip {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, flowinfo, scope)),
    }
}

#[inline]
pub(super) fn take_ip(tag: &mut impl Buf) -> Option<IpAddr> {
    let (family, bits) = (tag.get_u8(), tag.get_u128_ne());
    match family {
        FAMILY_NONE => None,
        FAMILY_V4 => Some(Ipv4Addr::from_bits(bits as u32).into()),
        FAMILY_V6 => Some(Ipv6Addr::from_bits(bits).into()),
        other => panic!("a record with address family {other}"),
    }
}

#[cfg(all(test, not(aorta_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_source() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from),
            (any::<u128>(), any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
                |(ip, port, flowinfo, scope)| {
                    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, flowinfo, scope))
                }
            ),
        ]
    }

    fn any_id() -> impl Strategy<Value = ConnectionId> {
        (any::<u8>(), any::<u32>(), any::<u32>())
            .prop_map(|(reactor, slot, generation)| ConnectionId { reactor, slot, generation })
    }

    type Linked = (ConnectionId, usize, bool, String);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_field_of_a_message_survives(
            source in any_source(),
            listener in any::<u8>(),
            local_ip in any::<Option<IpAddr>>(),
            linked in prop::option::of((any_id(), 0usize..5, any::<bool>(), "[a-z@.]{0,20}")),
            received_at in any::<u64>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let link = linked.as_ref().map(|(id, transport, authenticated, peer): &Linked| Link {
                id: *id,
                transport: Transport::ALL[*transport],
                authenticated: *authenticated,
                peer: Peer::new(peer.as_bytes()),
            });
            let sent = Datagram {
                source,
                listener: ListenerId(listener),
                local_ip: local_ip.filter(|_| link.is_none()),
                received_at: Instant::from_nanos(received_at),
                bytes: &bytes,
                link,
            };
            let tag = message_tag(&sent);
            let body = [link.map_or(&b""[..], |link| link.peer.text()), &bytes].concat();
            let Parcel::Message(got) = parcel(&Record { tag: &tag, body: &body }) else {
                panic!("a message became something else")
            };
            prop_assert_eq!(got.source, sent.source);
            prop_assert_eq!(got.listener, sent.listener);
            prop_assert_eq!(got.local_ip, sent.local_ip);
            prop_assert_eq!(got.received_at, sent.received_at);
            prop_assert_eq!(got.bytes, sent.bytes);
            prop_assert_eq!(got.link, sent.link);
        }

        #[test]
        fn every_notice_survives(
            id in any_id(),
            address in any_source(),
            silence_max_s in any::<u32>(),
            from in any::<u8>(),
            which in 0usize..9,
        ) {
            let notice = [
                Notice::Authenticated(id),
                Notice::Hold(id),
                Notice::Release { id, close_if_unused: false },
                Notice::Release { id, close_if_unused: true },
                Notice::Closed(id),
                Notice::Shut(id),
                Notice::Ping(id),
                Notice::Expect { id, silence_max_s },
                Notice::Unreachable { to: address },
                Notice::Heard { source: address },
            ][which];
            let tag = notice_tag(ShardId(from), notice);
            let record = Record { tag: &tag, body: &[] };
            let Parcel::Notice { from: got, notice: same } = parcel(&record) else {
                panic!("a notice became something else")
            };
            prop_assert_eq!((got, same), (ShardId(from), notice));
        }

        #[test]
        fn a_message_to_be_sent_survives(id in any_id(), bytes in any::<Vec<u8>>()) {
            let tag = send_tag(id);
            let Parcel::Send { connection, bytes: same } =
                parcel(&Record { tag: &tag, body: &bytes })
            else {
                panic!("it became something else")
            };
            prop_assert_eq!((connection, same), (id, &bytes[..]));
        }
    }

    #[test]
    #[should_panic(expected = "unknown kind")]
    fn memory_never_written_is_no_message() {
        let _ = parcel(&Record { tag: &[0; TAG_BYTES], body: &[] });
    }

    #[test]
    #[should_panic(expected = "without its address")]
    fn a_datagram_comes_from_somewhere() {
        let mut tag = [0; TAG_BYTES];
        tag[0] = KIND_DATAGRAM;
        let _ = parcel(&Record { tag: &tag, body: &[] });
    }
}
