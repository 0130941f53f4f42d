//! Phones behind NAT over whole shards: how they are known, what settings, networks and accounts
//! say of them, what is kept of the way to them, and who is to keep it open.

mod common;
#[path = "common/desk.rs"]
mod desk;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aorta::config::{
    self, AccountAuthentication, AccountPolicy, KeepaliveForm, KeepaliveMessage, KeepalivePace,
    NatOverride, NatTests, Network,
};
use aorta::flow::{ConnectionId, Transport};
use aorta::nat::Keepalive;
use aorta::registrar::Binding;
use aorta::shard::control::{Configuration, Control};
use aorta::shard::{Link, Peer};
use common::cluster::{Cluster, Options};
use common::{Phone, Response};
use desk::{Desk, each_way, registrar};
use proptest::prelude::*;

/// The source of [`desk::SOURCE`]'s network.
const NET: &str = "192.0.2.0/24";
/// A Contact that [`desk::SOURCE`] cannot have.
const PRIVATE: &str = "sip:u1@192.168.0.7:5060";

fn options() -> Options {
    registrar(config::Registrar::default())
}

fn network(net: &str, nat: NatOverride, keepalive: Option<KeepaliveForm>) -> Network {
    Network { nat: Some(nat), keepalive, ..Network::new(net.parse().unwrap()) }
}

/// Registers `u1` with this contact; what it was granted and what is kept.
fn register(desk: &mut Desk, contact: &str, headers: &[(&str, &str)]) -> (u32, Binding) {
    let mut phone = desk.phone(1, "a");
    phone.contact = contact.into();
    let contact = format!("<{contact}>{}", phone.contact_params);
    let response = desk.ask(&phone.request(&[&[("Contact", contact.as_str())], headers].concat()));
    assert_eq!(response.status, 200, "{}", response.reason);
    (response.contacts()[0].1, bound(&desk.cluster))
}

fn bound(cluster: &Cluster) -> Binding {
    let all: Vec<&Binding> = cluster.bindings("u1").collect();
    assert_eq!(all.len(), 1);
    all[0].clone()
}

/// As [`register`], over a connection.
fn register_over(desk: &mut Desk, transport: Transport, contact: &str) -> Binding {
    let source: SocketAddr = desk::SOURCE.parse().unwrap();
    let id = ConnectionId { reactor: 0, slot: 1, generation: 1 };
    let link = Link { id, transport, authenticated: false, peer: Peer::new(b"") };
    let mut phone = Phone::new(1, "a", "x.invalid");
    phone.contact = contact.into();
    for _ in 0..2 {
        let request =
            phone.register(600).replace("SIP/2.0/UDP", &format!("SIP/2.0/{}", transport.via()));
        let sent = desk.send_over(link, source, &request).expect("an answer");
        phone.take_challenge(&Response::parse(&sent.bytes));
    }
    bound(&desk.cluster)
}

#[test]
fn a_sign_counts_only_while_its_test_is_on() {
    let source_port_differs = "sip:u1@192.0.2.7:5060";
    for (tests, contact, behind) in [
        (NatTests::default(), PRIVATE, true),
        (NatTests::NONE, PRIVATE, false),
        (NatTests { private_contact: true, ..NatTests::NONE }, PRIVATE, true),
        (NatTests { private_contact: true, ..NatTests::NONE }, "sip:u1@198.51.100.7", false),
        (NatTests { contact: true, ..NatTests::NONE }, "sip:u1@198.51.100.7", true),
        (NatTests::default(), source_port_differs, false),
        (NatTests { contact_port: true, ..NatTests::NONE }, source_port_differs, true),
        (NatTests { contact_port: true, ..NatTests::NONE }, "sip:u1@192.0.2.7:40000", false),
        // Every phone here asks for rport.
        (NatTests { rport: true, ..NatTests::NONE }, "sip:u1@192.0.2.7:40000", true),
    ] {
        let nat = config::Nat { tests, ..config::Nat::default() };
        each_way(&Options { nat, ..options() }, |desk| {
            let (granted, binding) = register(desk, contact, &[("Expires", "3600")]);
            assert_eq!(binding.is_behind_nat(), behind, "{tests} {contact}");
            assert_eq!(granted, if behind { 300 } else { 3600 }, "SS_ENDPOINT_NAT_EXPIRE");
            let keepalive = if behind { Keepalive::General } else { Keepalive::None };
            assert_eq!(binding.keepalive(), keepalive);
        });
    }
}

#[test]
fn what_a_network_says_counts_before_the_signs_and_what_an_account_says_before_that() {
    use NatOverride::{Always, Auto, Never};
    let host = "sip:u1@192.0.2.7:40000";
    for (of_network, of_account, contact, behind) in [
        (Some(Always), None, host, true),
        (Some(Never), None, PRIVATE, false),
        (Some(Auto), None, PRIVATE, true),
        (None, Some(Always), host, true),
        (None, Some(Never), PRIVATE, false),
        (Some(Always), Some(Never), PRIVATE, false),
        (Some(Never), Some(Always), host, true),
        (Some(Always), Some(Auto), host, false),
        (Some(Never), Some(Auto), PRIVATE, true),
    ] {
        let networks = of_network.map(|nat| network(NET, nat, None)).into_iter().collect();
        let policy = AccountPolicy { nat: of_account, ..AccountPolicy::default() };
        let policies = vec![(1, policy)];
        each_way(&Options { networks, policies, ..options() }, |desk| {
            let (_, binding) = register(desk, contact, &[]);
            assert_eq!(binding.is_behind_nat(), behind, "{of_network:?} {of_account:?} {contact}");
        });
    }
}

#[test]
fn the_form_is_the_accounts_else_the_networks_else_everybodys() {
    use KeepaliveForm::{Crlf, Off, Options as Asked, Stun};
    for (of_network, of_account, expected) in [
        (None, None, Keepalive::General),
        (Some(Asked), None, Keepalive::Options),
        (Some(Off), None, Keepalive::None),
        (None, Some(Stun), Keepalive::Stun),
        (Some(Asked), Some(Crlf), Keepalive::Crlf),
        (Some(Off), Some(KeepaliveForm::Raw), Keepalive::Raw),
        (Some(Asked), Some(Off), Keepalive::None),
    ] {
        let networks = vec![
            network("0.0.0.0/0", NatOverride::Never, None),
            network(NET, NatOverride::Auto, of_network),
        ];
        let policies = vec![(1, AccountPolicy { keepalive: of_account, ..Default::default() })];
        each_way(&Options { networks, policies, ..options() }, |desk| {
            let (_, binding) = register(desk, PRIVATE, &[]);
            assert_eq!(binding.keepalive(), expected, "{of_network:?} {of_account:?}");
            let message = KeepaliveMessage::Crlf;
            let general = expected == Keepalive::General;
            assert_eq!(
                binding.keepalive().form(&message) == Crlf,
                general || of_account == Some(Crlf)
            );
        });
    }
}

#[test]
fn rfc3327_5_3_what_lies_behind_an_edge_proxy_is_its_own_to_keep_open() {
    each_way(&options(), |desk| {
        let path = [("Path", "<sip:edge.example.com;lr>"), ("Supported", "path")];
        let (granted, binding) =
            register(desk, PRIVATE, &[&path[..], &[("Expires", "3600")]].concat());
        assert!(binding.is_behind_nat() && binding.is_proven());
        assert_eq!((granted, binding.keepalive()), (300, Keepalive::None));
    });
    // The same without a Path: the proxy's Via shows it.
    each_way(&options(), |desk| {
        let mut phone = desk.phone(1, "a");
        phone.contact = PRIVATE.into();
        let via = "Via: SIP/2.0/UDP p.test;branch=z9hG4bKp;rport\r\n\
                   Via: SIP/2.0/UDP 192.168.0.7;branch=z9hG4bKa;received=203.0.113.1\r\nX-Via: ";
        assert_eq!(desk.ask(&phone.register(600).replacen("Via: ", via, 1)).status, 200);
        let binding = bound(&desk.cluster);
        assert!(binding.is_behind_nat());
        assert_eq!(binding.keepalive(), Keepalive::None);
    });
}

#[test]
fn rfc5626_4_4_and_rfc6223_a_phone_that_has_agreed_to_ping_is_left_to_it() {
    let outbound = [("Supported", "path, outbound")];
    for contact in [PRIVATE, "sip:u1@192.0.2.7:40000"] {
        each_way(&options(), |desk| {
            let mut phone = desk.phone(1, "a");
            phone.contact = contact.into();
            let keep = phone.register(600).replacen(";rport", ";rport;keep", 1);
            assert_eq!(desk.ask(&keep).status, 200);
            assert_eq!(bound(&desk.cluster).keepalive(), Keepalive::Theirs);
            // It goes on without its offer: it is ours again, if there is anything to do.
            assert_eq!(desk.ask(&phone.register(600)).status, 200);
            let ours = if contact == PRIVATE { Keepalive::General } else { Keepalive::None };
            assert_eq!(bound(&desk.cluster).keepalive(), ours);
            phone.contact_params = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1".into();
            let contact = format!("<{contact}>{}", phone.contact_params);
            let request = [&outbound[..], &[("Contact", contact.as_str())]].concat();
            let response = desk.ask(&phone.request(&request));
            assert!(response.header("flow-timer").is_some());
            assert_eq!(bound(&desk.cluster).keepalive(), Keepalive::Theirs);
        });
    }
    // Without a Flow-Timer nothing was agreed on.
    let quiet = registrar(config::Registrar { flow_timer_s: 0, ..Default::default() });
    each_way(&quiet, |desk| {
        let mut phone = desk.phone(1, "a");
        let contact = format!("<{PRIVATE}>;+sip.instance=\"<urn:uuid:1>\";reg-id=1");
        let request = [&outbound[..], &[("Contact", contact.as_str())]].concat();
        assert_eq!(desk.ask(&phone.request(&request)).header("flow-timer"), None);
        assert_eq!(bound(&desk.cluster).keepalive(), Keepalive::General);
    });
}

#[test]
fn over_udp_through_a_nat_a_phone_is_told_to_ping_as_often_as_we_would() {
    for (contact, period_s, told) in
        [(PRIVATE, 20, 20), (PRIVATE, 200, 120), ("sip:u1@192.0.2.7:40000", 20, 120)]
    {
        let pace = KeepalivePace { period_s, ..KeepalivePace::default() };
        let nat = config::Nat { pace, ..config::Nat::default() };
        each_way(&Options { nat, ..options() }, |desk| {
            let mut phone = desk.phone(1, "a");
            phone.contact = contact.into();
            let keep = phone.register(600).replacen(";rport", ";rport;keep", 1);
            let response = desk.ask(&keep);
            let via = response.header("via").unwrap();
            assert!(via.contains(&format!(";keep={told}")), "{via}");
            phone.contact_params = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1".into();
            let outbound = phone.register(600).replacen("To:", "Supported: outbound\r\nTo:", 1);
            let response = desk.ask(&outbound);
            assert_eq!(response.header("flow-timer"), Some(told.to_string().as_str()));
        });
    }
}

#[test]
fn an_address_that_is_not_proven_is_not_pinged() {
    let policy = AccountPolicy {
        authentication: AccountAuthentication::Network,
        allow: vec![NET.parse().unwrap()],
        ..AccountPolicy::default()
    };
    each_way(&Options { policies: vec![(1, policy)], ..options() }, |desk| {
        let mut phone = Phone::new(1, "a", "x.test");
        phone.contact = PRIVATE.into();
        // Any datagram that says it comes from there is let in: whose address it is it does not
        // show.
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
        let binding = bound(&desk.cluster);
        assert!(binding.is_behind_nat() && !binding.is_proven());
        assert_eq!(binding.keepalive(), Keepalive::None);
        assert_eq!(desk.counters().keepalive_unproven, 1);
        // A connection shows it.
        let binding = register_over(desk, Transport::Tcp, PRIVATE);
        assert!(binding.is_proven());
        assert_eq!(binding.keepalive(), Keepalive::General);
        assert_eq!(desk.counters().keepalive_unproven, 1);
    });
}

/// Whoever has an account cannot have us ping somebody else: to register there he would have to
/// read what is sent there.
#[test]
fn a_reflector_gets_no_binding_at_its_victim() {
    let victim: SocketAddr = "203.0.113.66:5060".parse().unwrap();
    each_way(&options(), |desk| {
        // His own nonce, in a datagram that says it comes from the victim.
        let mut attacker = desk.phone(1, "a");
        attacker.contact = "sip:u1@10.0.0.1".into();
        let response = desk.ask_from(victim, &attacker.register(600));
        assert_eq!(response.status, 401);
        assert_eq!(desk.cluster.bindings("u1").count(), 0);
        // A Contact at the victim is only where calls may be sent: pings go to the source.
        attacker.contact = format!("sip:u1@{victim}");
        attacker.take_challenge(&desk.ask(&attacker.clone().register(600)));
        assert_eq!(desk.ask(&attacker.register(600)).status, 200);
        assert_eq!(bound(&desk.cluster).source(), desk::source());
    });
}

#[test]
fn rfc7118_a_browsers_connection_is_kept_open_though_it_shows_no_sign() {
    let invalid = "sip:u1@x.invalid;transport=ws";
    for (transport, nat, expected) in [
        (Transport::Wss, NatOverride::Auto, Keepalive::General),
        (Transport::Ws, NatOverride::Auto, Keepalive::General),
        (Transport::Ws, NatOverride::Never, Keepalive::None),
        (Transport::Tcp, NatOverride::Auto, Keepalive::None),
        (Transport::Tls, NatOverride::Always, Keepalive::General),
    ] {
        each_way(&Options { networks: vec![network(NET, nat, None)], ..options() }, |desk| {
            let binding = register_over(desk, transport, invalid);
            assert_eq!(binding.keepalive(), expected, "{transport} {nat}");
            assert_eq!(binding.is_behind_nat(), nat == NatOverride::Always);
        });
    }
}

#[test]
fn a_contact_without_an_address_is_taken_for_one_behind_nat() {
    for contact in ["sip:u1@0.0.0.0:5060", "sip:u1@[::]:5060"] {
        let nat = config::Nat { tests: NatTests::NONE, ..config::Nat::default() };
        each_way(&Options { nat, ..options() }, |desk| {
            let (granted, binding) = register(desk, contact, &[("Expires", "3600")]);
            assert!(binding.is_behind_nat());
            assert_eq!((granted, binding.contact()), (300, contact.as_bytes()));
            assert_eq!(binding.source(), desk::source(), "where it is reached");
            assert_eq!(desk.counters().contact_unspecified, 1);
        });
    }
}

#[test]
fn another_configuration_holds_for_the_next_register_and_its_message_for_everybody_at_once() {
    each_way(&options(), |desk| {
        let mut phone = desk.phone(1, "a");
        phone.contact = PRIVATE.into();
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
        let binding = bound(&desk.cluster);
        let nat = config::Nat {
            tests: NatTests::NONE,
            message: KeepaliveMessage::Stun,
            ..config::Nat::default()
        };
        assert_eq!(binding.keepalive().form(&nat.message), KeepaliveForm::Stun);
        let configuration = Arc::new(Configuration {
            registrar: options().registrar,
            auth: config::Auth::default(),
            guard: config::Guard::default(),
            nat,
            liveness: config::Liveness::default(),
            networks: vec![network("198.51.100.0/24", NatOverride::Always, None)],
            domains: vec![config::Domain {
                name: common::cluster::DOMAIN.into(),
                algorithms: config::Algorithms::MD5,
                aliases: Vec::new(),
            }],
        });
        let now = desk.cluster.now;
        for shard in &mut desk.cluster.shards {
            shard.control(now, Control::Configure(Arc::clone(&configuration)));
        }
        assert!(bound(&desk.cluster).is_behind_nat(), "what was granted stays");
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
        let binding = bound(&desk.cluster);
        assert!(!binding.is_behind_nat());
        assert_eq!(binding.keepalive(), Keepalive::None);
        let elsewhere = "198.51.100.9:4000".parse().unwrap();
        let mut phone = Phone::new(1, "b", "b.test");
        let challenge = desk.ask_from(elsewhere, &phone.register(600));
        phone.take_challenge(&challenge);
        assert_eq!(desk.ask_from(elsewhere, &phone.register(600)).status, 200);
        assert!(bound(&desk.cluster).is_behind_nat());
    });
}

/// Addresses of every kind, and names.
fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| IpAddr::from(octets).to_string()),
        any::<[u16; 8]>().prop_map(|groups| format!("[{}]", IpAddr::from(groups))),
        (0..=255u8, 0..=255u8).prop_map(|(a, b)| format!("192.168.{a}.{b}")),
        Just("phone.example.com".to_owned()),
        Just("0.0.0.0".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever a phone says and wherever it is seen: the Contact comes back byte by byte, the
    /// received address stands beside it, and nobody is pinged who is not behind NAT.
    #[test]
    fn the_contact_is_never_rewritten_and_the_received_address_stands_beside_it(
        contact in (host(), proptest::option::of(1..=u16::MAX)),
        via in host(),
        source in (any::<[u8; 4]>(), 1..=u16::MAX),
        shards in 1..=3u8,
        tests in any::<[bool; 6]>(),
    ) {
        let [contact_on, private_contact, contact_port, via_on, via_port, rport] = tests;
        let tests = NatTests {
            contact: contact_on, private_contact, contact_port, via: via_on, via_port, rport,
        };
        let nat = config::Nat { tests, ..config::Nat::default() };
        let mut cluster = Cluster::new(&Options { shards, nat, accounts: 1, ..options() });
        let source = SocketAddr::from(source);
        let mut phone = Phone::new(1, "a", &via);
        let port = contact.1.map_or_else(String::new, |port| format!(":{port}"));
        phone.contact = format!("sip:u1@{}{port};x=Y%41", contact.0);
        let mut last = None;
        for _ in 0..2 {
            cluster.now.wall_us += 1;
            let sent = cluster.give(0, source, phone.register(600).as_bytes()).expect("an answer");
            let response = Response::parse(&sent.bytes);
            phone.take_challenge(&response);
            last = Some(response);
        }
        let response = last.expect("it was asked twice");
        if response.status == 403 {
            let refused = ["Contact Is Multicast", "Contact Is Broadcast"];
            prop_assert!(refused.contains(&response.reason.as_str()), "{}", response.reason);
            prop_assert_eq!(cluster.bindings("u1").count(), 0);
        } else {
            prop_assert_eq!(response.status, 200);
            let binding = bound(&cluster);
            prop_assert_eq!(binding.contact(), phone.contact.as_bytes());
            prop_assert_eq!(&response.contacts()[0].0, &phone.contact);
            prop_assert_eq!(binding.source(), source);
            prop_assert!(binding.is_proven());
            let pinged = binding.keepalive() == Keepalive::General;
            prop_assert_eq!(pinged, binding.is_behind_nat());
        }
    }
}
