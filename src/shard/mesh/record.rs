//! A message between shards as a ring's record: the fixed fields in the tag, the payload as the
//! body. The set of kinds is closed; both ends are this process, so anything unexpected is our
//! own bug and asserts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::ring::{Record, TAG_BYTES, Tag};
use crate::shard::{Datagram, ListenerId};
use crate::time::Instant;

/// What a record is. Zero is none of them, so memory never written is never a message.
const KIND_DATAGRAM: u8 = 1;

const FAMILY_NONE: u8 = 0;
const FAMILY_V4: u8 = 4;
const FAMILY_V6: u8 = 6;

// Where each field of the tag begins.
const KIND: usize = 0;
const LISTENER: usize = 1;
const SOURCE_FAMILY: usize = 2;
const LOCAL_FAMILY: usize = 3;
const RECEIVED_AT: usize = 4;
const SOURCE_IP: usize = 12;
const SOURCE_FLOWINFO: usize = 28;
const SOURCE_SCOPE: usize = 32;
const SOURCE_PORT: usize = 36;
const LOCAL_IP: usize = 38;
const END: usize = 54;

const _: () = assert!(END <= TAG_BYTES);

/// The fixed fields of `datagram`; its bytes are the body.
#[inline]
pub(super) fn datagram_tag(datagram: &Datagram<'_>) -> Tag {
    let mut tag = [0; TAG_BYTES];
    tag[KIND] = KIND_DATAGRAM;
    tag[LISTENER] = datagram.listener.0;
    put(&mut tag, RECEIVED_AT, datagram.received_at.as_nanos().to_ne_bytes());
    put(&mut tag, SOURCE_PORT, datagram.source.port().to_ne_bytes());
    tag[SOURCE_FAMILY] = put_ip(&mut tag, SOURCE_IP, datagram.source.ip());
    if let SocketAddr::V6(source) = datagram.source {
        // A link-local peer cannot be answered without its scope.
        put(&mut tag, SOURCE_FLOWINFO, source.flowinfo().to_ne_bytes());
        put(&mut tag, SOURCE_SCOPE, source.scope_id().to_ne_bytes());
    }
    if let Some(ip) = datagram.local_ip {
        tag[LOCAL_FAMILY] = put_ip(&mut tag, LOCAL_IP, ip);
    }
    tag
}

/// The datagram that `record` carries.
///
/// # Panics
/// If it carries none: nothing but [`datagram_tag`] makes records.
#[inline]
pub(super) fn datagram<'a>(record: &Record<'a>) -> Datagram<'a> {
    let tag = record.tag;
    assert_eq!(tag[KIND], KIND_DATAGRAM, "a record of an unknown kind");
    let port = u16::from_ne_bytes(take(tag, SOURCE_PORT));
    let source = match ip(tag, SOURCE_FAMILY, SOURCE_IP).expect("a datagram without a source") {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(
            ip,
            port,
            u32::from_ne_bytes(take(tag, SOURCE_FLOWINFO)),
            u32::from_ne_bytes(take(tag, SOURCE_SCOPE)),
        )),
    };
    Datagram {
        source,
        listener: ListenerId(tag[LISTENER]),
        local_ip: ip(tag, LOCAL_FAMILY, LOCAL_IP),
        received_at: Instant::from_nanos(u64::from_ne_bytes(take(tag, RECEIVED_AT))),
        bytes: record.body,
    }
}

#[inline]
fn put<const N: usize>(tag: &mut Tag, at: usize, bytes: [u8; N]) {
    tag[at..at + N].copy_from_slice(&bytes);
}

#[inline]
fn put_ip(tag: &mut Tag, at: usize, ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) => {
            put(tag, at, ip.octets());
            FAMILY_V4
        }
        IpAddr::V6(ip) => {
            put(tag, at, ip.octets());
            FAMILY_V6
        }
    }
}

#[inline]
fn take<const N: usize>(tag: &Tag, at: usize) -> [u8; N] {
    tag[at..at + N].try_into().expect("N bytes are N bytes")
}

#[inline]
fn ip(tag: &Tag, family: usize, at: usize) -> Option<IpAddr> {
    match tag[family] {
        FAMILY_NONE => None,
        FAMILY_V4 => Some(IpAddr::from(take::<4>(tag, at))),
        FAMILY_V6 => Some(IpAddr::V6(Ipv6Addr::from(take::<16>(tag, at)))),
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
        tag[KIND] = KIND_DATAGRAM;
        let _ = datagram(&Record { tag: &tag, body: &[] });
    }
}
