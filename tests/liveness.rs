//! Liveness over whole shards: who is asked, what an answer means, and what becomes of those who
//! do not answer.

mod common;
#[path = "liveness/field.rs"]
mod field;
#[path = "liveness/hostile.rs"]
mod hostile;
#[path = "liveness/policies.rs"]
mod policies;
#[path = "liveness/silent.rs"]
mod silent;

use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::{AccountAuthentication, AccountPolicy, Liveness, StaticContact};
use aorta::flow::{ConnectionId, Flow, Transport};
use aorta::nat::liveness::RoundTrip;
use aorta::shard::{Link, Peer};
use common::Phone;
use common::cluster::Options;
use field::{Asked, Field, LISTENER, STEP, liveness, options};

const A: &str = "192.0.2.1:40001";
const B: &str = "192.0.2.2:40002";
const C: &str = "192.0.2.3:40003";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn every_phone_is_asked_once_in_each_interval_and_its_round_trip_is_known() {
    for shards in [1, 3] {
        let mut field = Field::new(shards, &options(liveness()));
        for number in 1..=12 {
            field.phone(number, "a", &format!("192.0.2.{number}:5060"));
        }
        field.pass(20);
        field.take_asked();
        field.pass(200);
        for number in 1..=12 {
            let probes = field.probes_of(&format!("192.0.2.{number}:5060"));
            assert!((10..=11).contains(&probes), "{number}: {probes}");
            let (state, round_trip) = field.state(number);
            assert_eq!(state.unwrap().misses, 0);
            assert_eq!(round_trip, Some(RoundTrip { last: STEP, smoothed: STEP }));
        }
        let counters = field.counters();
        assert_eq!(counters.probes_repeated, 0, "all of them answer in time");
        assert!(counters.probes_sent - counters.probes_answered <= 1, "{counters:?}");
        let samples: u64 = field.cluster.shards.iter().map(|s| s.round_trips_us().len()).sum();
        assert_eq!(samples, counters.probes_answered);
        let slowest = field.cluster.shards.iter().map(|s| s.round_trips_us().max()).max().unwrap();
        assert!((50_000..51_000).contains(&slowest), "{slowest}");
    }
}

#[test]
fn an_options_is_out_of_dialog_and_names_who_asks_whom() {
    let mut field = Field::new(1, &options(liveness()));
    field.phone(7, "a", A);
    field.pass(20);
    let asked = &field.asked[0];
    assert_eq!((asked.to, asked.flow), (addr(A), Flow::Datagram { listener: 0, local_ip: None }));
    assert!(asked.text.starts_with(&format!("OPTIONS sip:u7@{A} SIP/2.0\r\n")), "{}", asked.text);
    assert!(asked.header("Via").unwrap().starts_with(&format!("SIP/2.0/UDP {LISTENER};branch=")));
    assert_eq!(asked.header("To"), Some("<sip:u7@example.com>"));
    assert!(asked.header("From").unwrap().starts_with("<sip:example.com>;tag="));
    assert_eq!(asked.header("Route"), None);
}

#[test]
fn a_dead_phone_is_sent_its_probe_again_and_found_out_rfc_3261_17_1_2_2() {
    let mut field = Field::new(1, &options(liveness()));
    field.phone(1, "a", A);
    field.pass(21);
    field.take_asked();
    field.kill(A);
    let noticed = field.pass_until(60, |field| !field.is_reachable(1));
    // Two turns of 20 s, and the time the last has to be answered.
    assert!(noticed <= Duration::from_secs(2 * 20 + 4), "{noticed:?}");
    let first = field.asked[0].clone();
    let times: Vec<Duration> = field
        .asked
        .iter()
        .filter(|asked| asked.branch() == first.branch())
        .map(|asked| asked.at - first.at)
        .collect();
    assert_eq!(times, [0, 500, 1500, 3500].map(Duration::from_millis));
    assert!(
        field.asked.iter().filter(|a| a.branch() == first.branch()).all(|a| a.text == first.text)
    );
    let counters = field.counters();
    assert_eq!((counters.unreachable, counters.probes_unanswered), (1, 2));
    assert_eq!(field.bindings(1).len(), 1, "it is kept");
}

#[test]
fn an_answer_makes_a_phone_reachable_again() {
    let mut field = Field::new(3, &options(liveness()));
    field.phone(1, "a", A);
    field.kill(A);
    field.pass_until(60, |field| !field.is_reachable(1));
    field.alive.insert(addr(A), 200);
    field.pass_until(21, |field| field.is_reachable(1));
    assert_eq!(field.counters().reachable_again, 1);
    assert_eq!(field.state(1).0.unwrap().misses, 0);
}

#[test]
fn a_register_ends_what_was_missed_before() {
    let mut field = Field::new(1, &options(liveness()));
    let mut phone = field.phone(1, "a", A);
    field.kill(A);
    let unanswered = |n: u64| move |field: &Field| field.counters().probes_unanswered == n;
    field.pass_until(60, unanswered(1));
    field.register(&mut phone, addr(A), &[]);
    field.pass_until(60, unanswered(2));
    assert!(field.is_reachable(1), "the first miss does not count any more");
    field.pass_until(60, unanswered(3));
    assert!(!field.is_reachable(1));
    field.register(&mut phone, addr(A), &[]);
    assert!(field.is_reachable(1));
    field.pass_until(60, unanswered(5));
    assert!(!field.is_reachable(1), "and so on");
    assert_eq!(field.counters().reachable_again, 1);
}

#[test]
fn a_register_that_meets_a_probe_is_as_good_as_its_answer() {
    let mut field = Field::new(1, &options(Liveness { misses: 1, ..liveness() }));
    let mut phone = field.phone(1, "a", A);
    field.kill(A);
    field.pass_until(21, |field| !field.asked.is_empty());
    field.pass(2);
    field.register(&mut phone, addr(A), &[]);
    field.pass(3);
    assert_eq!(field.counters().probes_unanswered, 1);
    assert!(field.is_reachable(1));
}

#[test]
fn only_a_success_counts_where_that_is_set() {
    use aorta::config::LivenessAnswer::{Any, Success};
    for (answer, is_reachable) in [(Any, true), (Success, false)] {
        let mut field = Field::new(1, &options(Liveness { answer, ..liveness() }));
        field.phone(1, "a", A);
        field.alive.insert(addr(A), 501);
        field.pass(60);
        assert_eq!(field.is_reachable(1), is_reachable, "{answer:?}");
        let counters = field.counters();
        assert_eq!(counters.probes_refused > 0, !is_reachable);
        assert_eq!(counters.probes_repeated, 0, "it was answered");
    }
}

#[test]
fn off_nobody_is_asked_and_a_reload_asks_everybody_or_nobody() {
    let off = Liveness { interval_s: None, ..liveness() };
    let mut field = Field::new(1, &options(off.clone()));
    for number in 1..=12 {
        field.phone(number, "a", &format!("192.0.2.{number}:5060"));
    }
    field.pass(100);
    field.icmp("192.0.2.1:5060");
    field.pass(10);
    assert!(field.asked.is_empty());
    configure(&mut field, liveness());
    field.pass(40);
    for number in 1..=12 {
        assert!(field.probes_of(&format!("192.0.2.{number}:5060")) >= 1, "{number}");
    }
    configure(&mut field, Liveness { interval_s: Some(60), ..liveness() });
    field.pass(60);
    field.take_asked();
    field.pass(60);
    assert!((11..=13).contains(&field.asked.len()), "{}", field.asked.len());
    configure(&mut field, off);
    field.take_asked();
    field.pass(100);
    assert!(field.asked.is_empty());
}

fn configure(field: &mut Field, liveness: Liveness) {
    use aorta::config::{self, Algorithms, Domain};
    use aorta::shard::control::{Configuration, Control};

    let configuration = Configuration {
        registrar: options(liveness.clone()).registrar,
        auth: config::Auth::default(),
        guard: config::Guard::default(),
        nat: config::Nat::default(),
        liveness,
        networks: Vec::new(),
        domains: vec![Domain {
            name: "example.com".into(),
            algorithms: Algorithms::MD5,
            aliases: Vec::new(),
        }],
    };
    field.control(&Control::Configure(configuration.into()));
}

#[test]
fn icmp_brings_a_probe_at_once_and_never_a_verdict() {
    let mut field = Field::new(3, &options(Liveness { misses: 1, ..liveness() }));
    field.phone(1, "a", A);
    field.pass(21);
    field.pass(6);
    field.take_asked();
    field.icmp(A);
    assert_eq!(field.probes_of(A), 1, "at once");
    for _ in 0..50 {
        field.icmp(A);
        field.icmp("192.0.2.1:9");
        field.icmp("203.0.113.9:5060");
    }
    assert_eq!(field.asked.len(), 1, "and once, whatever is forged");
    field.pass(2);
    assert!(field.is_reachable(1), "it answered");
    let counters = field.counters();
    assert_eq!((counters.probes_urgent, counters.unreachable), (1, 0));
    assert_eq!(counters.icmp_unreachable, 151 * 3);
    // Somebody who is really gone is found out long before its turn.
    field.pass(11);
    field.kill(A);
    field.icmp(A);
    let noticed = field.pass_until(20, |field| !field.is_reachable(1));
    assert!(noticed <= Duration::from_secs(5), "{noticed:?}");
}

#[test]
fn who_was_let_in_by_network_alone_has_not_proved_his_address() {
    let policy = AccountPolicy {
        authentication: AccountAuthentication::Network,
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        ..AccountPolicy::default()
    };
    let mut field = Field::new(1, &Options { policies: vec![(1, policy)], ..options(liveness()) });
    field.phone(1, "a", A);
    field.phone(2, "a", B);
    field.pass(50);
    assert_eq!((field.probes_of(A), field.probes_of(B) > 0), (0, true));
    assert!(field.counters().probes_impossible >= 2);
}

#[test]
fn behind_a_path_the_proxy_is_asked_and_speaks_for_its_phone_rfc_3327() {
    const EDGE: &str = "198.51.100.7:5060";
    let mut field = Field::new(1, &options(liveness()));
    let mut phone = Phone::new(1, "a", "10.0.0.7:5060");
    let path = [("Path", "<sip:edge.test;lr>"), ("Supported", "path")];
    field.register(&mut phone, addr(EDGE), &path);
    field.alive.insert(addr(EDGE), 200);
    field.pass(20);
    let asked = field.asked[0].clone();
    assert_eq!(asked.to, addr(EDGE));
    assert!(asked.text.starts_with("OPTIONS sip:u1@10.0.0.7:5060 SIP/2.0\r\n"));
    assert_eq!(asked.header("Route"), Some("<sip:edge.test;lr>"));
    field.pass(40);
    assert!(field.is_reachable(1));
    // RFC 5626 5.3.1: the flow to the phone is gone. Any answer counts, but this is none of its.
    field.alive.insert(addr(EDGE), 430);
    field.pass_until(60, |field| !field.is_reachable(1));
}

#[test]
fn a_strict_router_stands_in_the_request_uri_rfc_3261_12_2_1_1() {
    let mut field = Field::new(1, &options(liveness()));
    let mut phone = Phone::new(1, "a", "10.0.0.7:5060");
    let path = [("Path", "<sip:strict.test>, <sip:next.test;lr>"), ("Supported", "path")];
    field.register(&mut phone, addr(A), &path);
    field.pass(20);
    let asked = &field.asked[0];
    assert!(asked.text.starts_with("OPTIONS sip:strict.test SIP/2.0\r\n"), "{}", asked.text);
    let routes: Vec<&str> =
        asked.text.split("\r\n").filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes, ["<sip:next.test;lr>", "<sip:u1@10.0.0.7:5060>"]);
}

fn link(slot: u32) -> Link<'static> {
    let id = ConnectionId { reactor: 0, slot, generation: 1 };
    Link { id, transport: Transport::Tcp, authenticated: false, peer: Peer::new(b"") }
}

fn register_over(field: &mut Field, phone: &mut Phone, slot: u32, source: &str, path: &str) {
    let contact = format!("<{};transport=tcp>", phone.contact);
    let mut headers = vec![("Contact", contact.as_str()), ("Expires", "600")];
    if !path.is_empty() {
        headers.extend([("Path", path), ("Supported", "path")]);
    }
    let mut status = 0;
    for _ in 0..2 {
        let text = phone.request(&headers).replace("/UDP", "/TCP");
        let sent = field.give_over(link(slot), addr(source), &text).expect("an answer");
        let response = common::Response::parse(&sent.bytes);
        phone.take_challenge(&response);
        status = response.status;
    }
    assert_eq!(status, 200);
}

#[test]
fn over_a_connection_a_probe_is_sent_once_and_a_silent_phone_found_out() {
    let mut field = Field::new(1, &options(liveness()));
    let mut phone = Phone::new(1, "a", "10.0.0.7:5060");
    register_over(&mut field, &mut phone, 5, A, "");
    field.pass_until(60, |field| !field.is_reachable(1));
    let by = |asked: &Asked| asked.flow.connection().map(|id| id.slot);
    assert!(field.asked.iter().all(|asked| by(asked) == Some(5)));
    assert!(field.asked[0].header("Via").unwrap().starts_with("SIP/2.0/TCP example.com;"));
    assert_eq!(field.counters().probes_repeated, 0);
    let answer = field.asked.last().unwrap().response(200);
    field.give_over(link(5), addr(A), &answer);
    assert!(field.is_reachable(1), "late, but it is there");
}

#[test]
fn the_connection_of_an_edge_proxy_is_not_its_phones() {
    let mut field = Field::new(1, &options(liveness()));
    let mut phone = Phone::new(1, "a", "10.0.0.7:5060");
    register_over(&mut field, &mut phone, 5, A, "<sip:edge.test;lr>");
    field.pass(60);
    assert!(field.asked.is_empty() && field.counters().probes_impossible >= 2);
    assert!(field.is_reachable(1));
}

#[test]
fn what_an_account_provides_is_asked_at_its_address_and_stays_whatever_it_answers() {
    use aorta::config::Unreachable::Remove;

    let contact = |uri: &str| StaticContact { uri: uri.into(), q_milli: None };
    let policy = AccountPolicy {
        static_contacts: vec![contact("sip:gw@192.0.2.50:5070"), contact("sip:gw@gw.test")],
        ..AccountPolicy::default()
    };
    let liveness = Liveness { unreachable: Remove, ..liveness() };
    let mut field = Field::new(3, &Options { policies: vec![(1, policy)], ..options(liveness) });
    let gateway = addr("192.0.2.50:5070");
    field.alive.insert(gateway, 200);
    field.pass(60);
    assert!(field.asked.iter().all(|asked| asked.to == gateway) && field.asked.len() >= 2);
    assert!(field.reachable(1).iter().all(|(_, is)| *is));
    field.alive.clear();
    field.pass_until(60, |field| field.counters().unreachable == 1);
    let expected = [("sip:gw@192.0.2.50:5070".into(), false), ("sip:gw@gw.test".into(), true)];
    assert_eq!(field.reachable(1), expected);
    field.alive.insert(gateway, 200);
    field.pass_until(30, |field| field.reachable(1)[0].1);
}
