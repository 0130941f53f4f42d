//! A message between shards as a ring's record: the fixed fields in the tag, one behind the other,
//! the payload as the body. The set of kinds is closed; both ends are this process, so anything
//! unexpected is our own bug and asserts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use bytes::{Buf, BufMut};

use super::ring::{Record, TAG_BYTES, Tag};
use crate::shard::{Datagram, ListenerId};
use crate::time::Instant;

/// What a record is. Zero is none of them, so memory never written is never a message.
const KIND_DATAGRAM: u8 = 1;

const FAMILY_NONE: u8 = 0;
const FAMILY_V4: u8 = 4;
const FAMILY_V6: u8 = 6;

/// The fixed fields of `datagram`; its bytes are the body.
#[inline]
pub(super) fn datagram_tag(datagram: &Datagram<'_>) -> Tag {
    // A link-local peer cannot be answered without its scope.
    let (flowinfo, scope) = match datagram.source {
        SocketAddr::V4(_) => (0, 0),
        SocketAddr::V6(source) => (source.flowinfo(), source.scope_id()),
    };
    let mut tag = [0; TAG_BYTES];
    let mut out = &mut tag[..];
    out.put_u8(KIND_DATAGRAM);
    out.put_u8(datagram.listener.0);
    out.put_u64_ne(datagram.received_at.as_nanos());
    put_ip(&mut out, Some(datagram.source.ip()));
    out.put_u16_ne(datagram.source.port());
    out.put_u32_ne(flowinfo);
    out.put_u32_ne(scope);
    put_ip(&mut out, datagram.local_ip);
    tag
}

/// The datagram that `record` carries.
///
/// # Panics
/// If it carries none: nothing but [`datagram_tag`] makes records.
#[inline]
pub(super) fn datagram<'a>(record: &Record<'a>) -> Datagram<'a> {
    let mut tag = &record.tag[..];
    assert_eq!(tag.get_u8(), KIND_DATAGRAM, "a record of an unknown kind");
    let listener = ListenerId(tag.get_u8());
    let received_at = Instant::from_nanos(tag.get_u64_ne());
    let ip = take_ip(&mut tag).expect("a datagram without a source");
    let port = tag.get_u16_ne();
    let (flowinfo, scope) = (tag.get_u32_ne(), tag.get_u32_ne());
    let source = match ip {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, flowinfo, scope)),
    };
    Datagram { source, listener, local_ip: take_ip(&mut tag), received_at, bytes: record.body }
}

/// Family and, whatever it is, sixteen bytes, so that what follows stands where it always does.
#[inline]
fn put_ip(out: &mut impl BufMut, ip: Option<IpAddr>) {
    let (family, bits) = match ip {
        None => (FAMILY_NONE, 0),
        Some(IpAddr::V4(ip)) => (FAMILY_V4, ip.to_bits().into()),
        Some(IpAddr::V6(ip)) => (FAMILY_V6, ip.to_bits()),
    };
    out.put_u8(family);
    out.put_u128_ne(bits);
}

#[inline]
fn take_ip(tag: &mut impl Buf) -> Option<IpAddr> {
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_field_survives(
            source in any_source(),
            listener in any::<u8>(),
            local_ip in any::<Option<IpAddr>>(),
            received_at in any::<u64>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let sent = Datagram {
                source,
                listener: ListenerId(listener),
                local_ip,
                received_at: Instant::from_nanos(received_at),
                bytes: &bytes,
            };
            let tag = datagram_tag(&sent);
            let got = datagram(&Record { tag: &tag, body: &bytes });
            prop_assert_eq!(got.source, sent.source);
            prop_assert_eq!(got.listener, sent.listener);
            prop_assert_eq!(got.local_ip, sent.local_ip);
            prop_assert_eq!(got.received_at, sent.received_at);
            prop_assert_eq!(got.bytes, sent.bytes);
        }
    }

    #[test]
    #[should_panic(expected = "unknown kind")]
    fn memory_never_written_is_no_message() {
        let _ = datagram(&Record { tag: &[0; TAG_BYTES], body: &[] });
    }

    #[test]
    #[should_panic(expected = "without a source")]
    fn a_datagram_comes_from_somewhere() {
        let mut tag = [0; TAG_BYTES];
        tag[0] = KIND_DATAGRAM;
        let _ = datagram(&Record { tag: &tag, body: &[] });
    }
}
