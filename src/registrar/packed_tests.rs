//! What is packed comes back: any parts, in any order, over what was there before.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::flow::{ConnectionId, Flow, Transport};
use crate::limits::CALL_ID_BYTES_MAX;
use crate::registrar::names::UUID_INSTANCE_BYTES;

const KEY: [u64; 2] = [5, 6];
const UUID: &str = "6fe14d03-0c31-4b1e-9d0c-5a77c0ffee42";

fn parts() -> Parts<'static> {
    Parts {
        source: "192.0.2.1:5060".parse::<SocketAddr>().unwrap().into(),
        flow: Flow::Datagram { listener: 0, local_ip: None }.into(),
        registered_at_s: 7,
        reg_id: 0,
        gruu_epoch: 0,
        contact: b"sip:u1@10.0.0.1:5060;transport=udp",
        instance: b"",
        path: b"",
        user_agent: b"",
        call_id: b"",
        hashed: None,
    }
}

fn packed(parts: &Parts<'_>) -> Packed {
    let mut packed = Packed::default();
    packed.set(parts);
    packed
}

fn assert_holds(packed: &Packed, parts: &Parts<'_>) {
    assert_eq!(packed.contact(), parts.contact);
    assert_eq!(packed.path(), parts.path);
    assert_eq!((packed.reg_id(), packed.gruu_epoch()), (parts.reg_id, parts.gruu_epoch));
    assert_eq!(packed.registered_at_s(), parts.registered_at_s);
    assert_eq!(packed.source(), parts.source);
    assert!(packed.flow().is_same(&parts.flow));
    assert_eq!(packed.flow().flow(), parts.flow.flow());
    let instance = packed.instance().map(|instance| instance.text());
    assert_eq!(instance.as_deref().unwrap_or_default(), parts.instance);
    let key = parts.hashed.unwrap_or(KEY);
    assert!(packed.call_id().is(parts.call_id, key));
    assert!(!packed.call_id().is(b"another", key));
    assert!(packed.has_user_agent(parts.user_agent, key));
    assert!(!packed.has_user_agent(b"another", key));
    if parts.hashed.is_none() {
        assert_eq!(packed.call_id().text().as_deref(), Some(parts.call_id));
        assert_eq!(packed.user_agent(), parts.user_agent);
    } else {
        assert_eq!((packed.call_id().text(), packed.user_agent()), (None, &b""[..]));
    }
}

fn flows() -> impl Strategy<Value = Flow> {
    let id = ConnectionId { reactor: 3, slot: 0xdead_beef, generation: 9 };
    prop_oneof![
        Just(Flow::Datagram { listener: 2, local_ip: None }),
        Just(Flow::Datagram { listener: 2, local_ip: Some(IpAddr::from([192, 0, 2, 9])) }),
        Just(Flow::Datagram { listener: 1, local_ip: Some("2001:db8::1".parse().unwrap()) }),
        Just(Flow::Connection { id, transport: Transport::Wss }),
    ]
}

fn texts(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let uuid = prop_oneof![
        Just(UUID.to_owned()),
        Just(UUID.to_uppercase()),
        Just(UUID.replace('c', "C")),
    ];
    prop_oneof![
        2 => Just(Vec::new()),
        3 => proptest::collection::vec(any::<u8>(), 1..=max),
        2 => uuid.clone().prop_map(String::into_bytes),
        2 => (uuid.clone(), "[ -~]{0,9}").prop_map(|(uuid, rest)| (uuid + &rest).into_bytes()),
        2 => uuid.prop_map(|uuid| format!("<urn:uuid:{uuid}>").into_bytes()),
    ]
}

proptest! {
    /// One allocation after the other in the same place, as refreshes follow one another.
    #[test]
    fn every_part_comes_back_whatever_else_is_there(
        all in proptest::collection::vec(
            (
                (texts(CONTACT_BYTES_MAX), texts(INSTANCE_BYTES_MAX), texts(PATH_BYTES_MAX)),
                (texts(USER_AGENT_BYTES_MAX), texts(CALL_ID_BYTES_MAX), any::<bool>()),
                (flows(), any::<bool>(), any::<u32>(), 0..3u32, 0..3u32, 0..3u32),
            ),
            1..4,
        ),
    ) {
        let mut packed = Packed::default();
        for (names, others, (flow, v6, registered_at_s, reg_id, gruu_epoch, later_epoch)) in &all {
            let source = if *v6 { "[2001:db8::7]:65535" } else { "192.0.2.7:1" };
            let (contact, instance, path) = names;
            let (user_agent, call_id, hashed) = others;
            let mut parts = Parts {
                source: source.parse::<SocketAddr>().unwrap().into(),
                flow: (*flow).into(),
                registered_at_s: *registered_at_s,
                reg_id: *reg_id,
                gruu_epoch: *gruu_epoch,
                contact,
                instance,
                path,
                user_agent,
                call_id,
                hashed: hashed.then_some(KEY),
            };
            packed.set(&parts);
            assert_holds(&packed, &parts);
            parts.gruu_epoch = *later_epoch;
            packed.set_gruu_epoch(*later_epoch);
            assert_holds(&packed, &parts);
        }
    }
}

#[test]
fn an_ordinary_phone_takes_as_many_bytes_as_the_account_says() {
    let instance = format!("<urn:uuid:{UUID}>");
    assert_eq!(instance.len(), UUID_INSTANCE_BYTES);
    let parts = Parts { instance: instance.as_bytes(), call_id: UUID.as_bytes(), ..parts() };
    assert_eq!(packed(&parts).len(), HEAD + 6 + parts.contact.len() + 16 + 16);
    let compact = Parts { hashed: Some(KEY), user_agent: b"Acme 1", ..parts };
    assert_eq!(packed(&compact).len(), HEAD + 6 + 1 + parts.contact.len() + 16 + 8 + 8);
}

#[test]
fn nothing_is_packed_that_would_not_come_back_exactly() {
    for instance in ["<URN:UUID:x>", &format!("<URN:uuid:{UUID}>"), &format!("<urn:uuid:{UUID}")] {
        let parts = Parts { instance: instance.as_bytes(), ..parts() };
        let packed = packed(&parts);
        assert!(matches!(packed.instance(), Some(Instance::Text(_))), "{instance}");
        assert_holds(&packed, &parts);
    }
    // Sixteen bytes of text are no UUID.
    let parts = Parts { instance: b"<urn:x:12345678>", ..parts() };
    assert_holds(&packed(&parts), &parts);
}

#[test]
fn the_chain_of_a_connection_is_kept_beside_it() {
    let id = ConnectionId { reactor: 1, slot: 2, generation: 3 };
    let flow = Flow::Connection { id, transport: Transport::Tls };
    let mut packed = packed(&Parts { flow: flow.into(), call_id: b"c", ..parts() });
    assert!(packed.is_over_connection());
    packed.set_next(7);
    packed.set_previous(9);
    assert_eq!(packed.flow().links(), (7, 9));
    assert_eq!((packed.flow().flow(), packed.contact()), (flow, parts().contact));
    assert!(packed.call_id().is(b"c", KEY));
}

#[test]
fn a_vacant_slot_has_nothing_and_can_be_asked() {
    let vacant = Packed::default();
    assert!(!vacant.is_over_connection() && vacant.instance().is_none());
    assert_eq!(
        (vacant.contact(), vacant.path(), vacant.user_agent()),
        (&b""[..], &b""[..], &b""[..])
    );
    assert_eq!((vacant.reg_id(), vacant.gruu_epoch(), vacant.touch()), (0, 0, 0));
    assert_eq!(vacant.call_id(), CallId::Text(b""));
}
