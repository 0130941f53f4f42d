//! RFC 5626 over the whole shard: when outbound is agreed on, and what its flows are worth.

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::config::Registrar;
use aorta::flow::{ConnectionId, Flow, Transport};
use aorta::limits::RESPONSE_BYTES_MAX;
use aorta::shard::refused::RefuseReason;
use aorta::shard::{Link, Order, Peer};
use common::Phone;
use common::cluster::Options;
use desk::{Desk, each_way, registrar, source};

const INSTANCE: &str = "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";

fn on() -> Options {
    registrar(Registrar { bindings_max: 4, ..Registrar::default() })
}

/// A REGISTER for a flow of the instance.
fn flow(phone: &mut Phone, reg_id: u32, more: &[(&str, &str)]) -> String {
    let contact = format!("<{}>;+sip.instance=\"{INSTANCE}\";reg-id={reg_id}", phone.contact);
    let mut headers = vec![("Contact", contact.as_str()), ("Expires", "600")];
    headers.extend_from_slice(more);
    phone.request(&headers)
}

/// The same through a proxy.
fn relayed(request: &str) -> String {
    let via = "Via: SIP/2.0/UDP proxy.test;branch=z9hG4bKproxy;rport\r\nVia: ";
    request.replacen("Via: ", via, 1)
}

const SUPPORTED: (&str, &str) = ("Supported", "path, outbound");

#[test]
fn s6_outbound_is_agreed_on_with_supported_instance_and_reg_id() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&flow(&mut phone, 1, &[SUPPORTED]));
        assert_eq!(response.status, 200);
        assert_eq!(response.header("require"), Some("outbound"));
        assert_eq!(response.header("flow-timer"), Some("120"));
        let contact = response.header("contact").unwrap();
        assert!(contact.ends_with(";reg-id=1"), "{contact}");
    });
}

#[test]
fn s6_without_supported_the_reg_id_is_ignored() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        for reg_id in [1, 2] {
            let response = desk.ask(&flow(&mut phone, reg_id, &[]));
            assert_eq!((response.status, response.header("require")), (200, None));
            assert_eq!(response.contacts().len(), 1, "one contact, one binding");
            assert!(!response.header("contact").unwrap().contains("reg-id"));
        }
    });
}

#[test]
fn s6_flows_of_one_instance_stand_beside_each_other() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        for reg_id in [1, 2] {
            phone.contact = format!("sip:u1@flow{reg_id}.test");
            assert_eq!(desk.ask(&flow(&mut phone, reg_id, &[SUPPORTED])).status, 200);
        }
        assert_eq!(desk.bound(1).len(), 2);
        phone.contact = "sip:u1@flow2-moved.test".into();
        desk.ask(&flow(&mut phone, 2, &[SUPPORTED]));
        let bound: Vec<_> = desk.bound(1).into_iter().map(|(contact, _)| contact).collect();
        assert_eq!(bound, ["sip:u1@flow1.test", "sip:u1@flow2-moved.test"]);
    });
}

#[test]
fn s6_through_a_proxy_the_bottom_of_path_says_ob_or_439() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let bad = [
            vec![SUPPORTED],
            vec![SUPPORTED, ("Path", "<sip:p1.example.net;lr>")],
            vec![SUPPORTED, ("Path", "<sip:p2.example.net;lr;ob>, <sip:p1.example.net;lr>")],
        ];
        for headers in &bad {
            let response = desk.ask(&relayed(&flow(&mut phone, 1, headers)));
            let outcome = (response.status, response.reason.as_str());
            assert_eq!(outcome, (439, "First Hop Lacks Outbound Support"), "{headers:?}");
        }
        assert_eq!(desk.bound(1), []);
        assert_eq!(desk.counters().refused(RefuseReason::FirstHop), 3);
        let path = ("Path", "<sip:p2.example.net;lr>, <sip:p1.example.net;lr;ob>");
        let response = desk.ask(&relayed(&flow(&mut phone, 1, &[SUPPORTED, path])));
        assert_eq!((response.status, response.header("require")), (200, Some("outbound")));
        assert_eq!(response.header("flow-timer"), None, "the first hop knows its own");
        // Who asks for no flow of his own may come by any proxy.
        assert_eq!(desk.ask(&relayed(&phone.register(600))).status, 200);
    });
}

#[test]
fn s6_two_flows_in_one_request_are_refused() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let two = format!(
            "<sip:u1@a.test>;+sip.instance=\"{INSTANCE}\";reg-id=1, \
             <sip:u1@b.test>;+sip.instance=\"{INSTANCE}\";reg-id=2"
        );
        let request = phone.request(&[("Contact", &two), ("Expires", "600"), SUPPORTED]);
        assert_eq!(desk.ask(&request).status, 400);
        assert_eq!(desk.bound(1), []);
        let request = phone.request(&[("Contact", &two), ("Expires", "0"), SUPPORTED]);
        assert_eq!(desk.ask(&request).status, 200, "they may go together");
    });
}

#[test]
fn off_means_off() {
    let options = registrar(Registrar { outbound: false, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&flow(&mut phone, 1, &[SUPPORTED]));
        assert_eq!((response.status, response.header("require")), (200, None));
        let response = desk.ask(&flow(&mut phone, 1, &[("Require", "outbound")]));
        assert_eq!((response.status, response.header("unsupported")), (420, Some("outbound")));
    });
}

fn link() -> Link<'static> {
    let id = ConnectionId { reactor: 0, slot: 3, generation: 1 };
    Link { id, transport: Transport::Tcp, authenticated: false, peer: Peer::new(b"") }
}

fn over_tcp(request: &str) -> String {
    request.replacen("SIP/2.0/UDP", "SIP/2.0/TCP", 1)
}

fn orders(desk: &mut Desk) -> Vec<Order> {
    let mut out = vec![0; RESPONSE_BYTES_MAX];
    let shards = &mut desk.cluster.shards;
    shards
        .iter_mut()
        .flat_map(|s| std::iter::from_fn(|| s.poll_order(&mut out)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn s4_2_a_flow_that_dies_takes_its_bindings_and_a_kick_lets_the_connection_go() {
    let options = registrar(Registrar { bindings_max: 1, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let request = over_tcp(&flow(&mut phone, 1, &[SUPPORTED]));
        desk.send_over(link(), source(), &request).expect("an answer");
        let id = link().id;
        let expect = |silence_max_s| Order::Expect { id, silence_max_s };
        // 4.4.1: it is told to be heard from every 120 s, and has a tenth more.
        assert_eq!(orders(desk), [Order::Authenticated(id), Order::Hold(id), expect(132)]);
        // Without outbound it has agreed to nothing, until it has again.
        let request = over_tcp(&phone.register(600));
        desk.send_over(link(), source(), &request).expect("an answer");
        assert_eq!(orders(desk), [Order::Authenticated(id), expect(0)]);
        let request = over_tcp(&flow(&mut phone, 1, &[SUPPORTED]));
        desk.send_over(link(), source(), &request).expect("an answer");
        assert_eq!(orders(desk), [Order::Authenticated(id), expect(132)]);
        // Another device takes its place: nothing else lives on the connection.
        let mut other = desk.phone(1, "b");
        assert_eq!(desk.ask(&other.register(600)).status, 200);
        assert_eq!(orders(desk), [Order::Release { id, close_if_unused: true }]);

        let request = over_tcp(&flow(&mut phone, 1, &[SUPPORTED]));
        desk.send_over(link(), source(), &request).expect("an answer");
        assert_eq!(desk.bound(1).len(), 1);
        let now = desk.cluster.now;
        desk.cluster.shards.iter_mut().for_each(|shard| shard.connection_closed(now, id));
        assert_eq!(desk.bound(1), []);
    });
}

#[test]
fn s5_3_a_route_with_a_flow_that_is_gone_gets_430() {
    let options = registrar(Registrar { redirect: true, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let request = over_tcp(&flow(&mut phone, 1, &[SUPPORTED]));
        desk.send_over(link(), source(), &request).expect("an answer");
        let keys = aorta::shard::Keys {
            nonce: aorta::auth::nonce::NonceKey::new(&[7; 16]).into(),
            identity: [7; 16],
            spread: [7, 2],
        };
        let token = |slot| {
            let id = ConnectionId { slot, ..link().id };
            let flow = Flow::Connection { id, transport: Transport::Tcp };
            let token = aorta::registrar::flow_token::encode(&keys.tokens(), flow, source());
            String::from_utf8(token.to_vec()).unwrap()
        };
        let (good, gone) = (token(3), token(4));
        let mut forged = good.clone().into_bytes();
        forged[0] ^= 1;
        let forged = String::from_utf8(forged).unwrap();
        let table = [(good.as_str(), 302), (&gone, 430), (&forged, 403), ("proxy", 302)];
        for (user, status) in table {
            let invite = format!(
                "INVITE sip:u1@example.com SIP/2.0\r\n\
                 Via: SIP/2.0/UDP p.test;branch=z9hG4bK{user};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:x@example.net>;tag=1\r\n\
                 To: <sip:u1@example.com>\r\nCall-ID: {user}\r\nCSeq: 1 INVITE\r\n\
                 Route: <sip:{user}@example.com;lr;ob>\r\nContent-Length: 0\r\n\r\n"
            );
            assert_eq!(desk.ask(&invite).status, status, "{user}");
        }
    });
}
