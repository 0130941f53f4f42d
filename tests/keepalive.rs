//! Phones behind NAT hear something within every period, from the shard that has their binding:
//! the whole way from a REGISTER to the datagram, on one shard and on several.

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aorta::config::{
    AccountAuthentication, AccountPolicy, Algorithms, Domain, KeepaliveForm, KeepaliveMessage,
    KeepalivePace, Nat,
};
use aorta::flow::{ConnectionId, Transport};
use aorta::shard::control::{Configuration, Control};
use aorta::shard::pinholes::{Kind, Pinholes};
use aorta::shard::{Datagram, Link, ListenerId, Peer};
use aorta::time::Instant;
use common::cluster::{Cluster, DOMAIN, Options, Sent};
use common::{Phone, Response};

const PERIOD: Duration = Duration::from_secs(10);

fn options(shards: u8, accounts: u32) -> Options {
    let pace = KeepalivePace { period_s: 10, ..KeepalivePace::default() };
    Options { shards, accounts, nat: Nat { pace, ..Nat::default() }, ..Options::default() }
}

fn source(number: u32) -> SocketAddr {
    let [_, _, high, low] = number.to_be_bytes();
    ([203, 0, 113 + high, low], 40_000 + number as u16).into()
}

/// Registers a phone at `host` from its source, with its password.
fn log_in(cluster: &mut Cluster, phone: &mut Phone, number: u32) -> Response {
    let at = number as usize;
    let request = phone.register(600);
    let response = cluster.ask(at, source(number), &request).expect("an answer");
    if !phone.take_challenge(&response) {
        return response;
    }
    let request = phone.register(600);
    cluster.ask(at, source(number), &request).expect("an answer")
}

/// Phones of accounts 1 to `count`, registered.
fn phones(cluster: &mut Cluster, count: u32, host: &str) -> Vec<Phone> {
    let one = |number| {
        let mut phone = Phone::new(number, "a", host);
        let response = log_in(cluster, &mut phone, number);
        assert_eq!(response.status, 200);
        phone
    };
    (1..=count).map(one).collect()
}

const PRIVATE: &str = "192.168.0.7:5060";

fn pinholes(cluster: &Cluster) -> Pinholes {
    let mut sum = Pinholes::default();
    cluster.shards.iter().for_each(|shard| sum += &shard.counters().keepalives.total());
    sum
}

/// When each address was sent what.
type Heard = BTreeMap<SocketAddr, Vec<(Instant, Vec<u8>)>>;

fn hear(cluster: &mut Cluster, time: Duration) -> Heard {
    let mut heard = Heard::new();
    cluster.run(time, |at, Sent { to, bytes, .. }| {
        heard.entry(to).or_default().push((at, bytes));
    });
    heard
}

#[test]
fn every_phone_behind_nat_hears_something_within_every_period_and_nobody_else_does() {
    for shards in [1, 4] {
        let mut cluster = Cluster::new(&options(shards, 300));
        let registered_at = cluster.now.mono;
        let mut all = phones(&mut cluster, 200, PRIVATE);
        for number in 201..=300 {
            let mut phone = Phone::new(number, "a", &source(number).to_string());
            assert_eq!(log_in(&mut cluster, &mut phone, number).status, 200);
        }
        let heard = hear(&mut cluster, 5 * PERIOD);
        assert_eq!(heard.len(), 200, "those behind NAT");
        for (to, messages) in &heard {
            let mut last = registered_at;
            for (at, bytes) in messages {
                assert_eq!(bytes, b"HELLO");
                assert!(at.saturating_since(last) <= PERIOD, "{to}");
                last = *at;
            }
            assert!(cluster.now.mono.saturating_since(last) <= PERIOD, "{to}");
        }
        let sum = pinholes(&cluster);
        assert_eq!(sum.due, sum.sent + sum.skipped);
        assert_eq!((sum.missed, sum.unsendable), (0, 0));
        assert!((1000..1100).contains(&(sum.sent + sum.skipped)), "{}", sum.due);
        assert!(sum.late_us().max() < 3000, "{} us", sum.late_us().max());

        // Whoever goes is sent nothing more; whoever comes back is again.
        for (phone, number) in all.iter_mut().zip(1..).take(50) {
            let request = phone.register(0);
            cluster.ask(0, source(number), &request).expect("an answer");
        }
        assert_eq!(hear(&mut cluster, PERIOD).len(), 150);
        assert_eq!(log_in(&mut cluster, &mut all[7], 8).status, 200);
        assert!(hear(&mut cluster, PERIOD).contains_key(&source(8)));
    }
}

#[test]
fn a_phone_that_has_just_registered_again_is_passed_over() {
    let mut cluster = Cluster::new(&options(1, 40));
    let mut all = phones(&mut cluster, 40, PRIVATE);
    let mut last: BTreeMap<SocketAddr, Instant> = BTreeMap::new();
    (1..=40).for_each(|number| _ = last.insert(source(number), cluster.now.mono));
    for step in 0..480 {
        let number = step * 7 % 40 + 1;
        assert_eq!(log_in(&mut cluster, &mut all[number as usize - 1], number).status, 200);
        last.insert(source(number), cluster.now.mono);
        for (to, messages) in hear(&mut cluster, Duration::from_millis(300)) {
            for (at, _) in messages {
                assert!(at.saturating_since(last[&to]) <= PERIOD);
                last.insert(to, at);
            }
        }
    }
    let sum = pinholes(&cluster);
    // Each registers again every 12 s.
    assert!(sum.skipped > sum.due / 6, "{} of {}", sum.skipped, sum.due);
    assert_eq!(sum.missed, 0);
}

fn form(number: u32, keepalive: KeepaliveForm) -> (u32, AccountPolicy) {
    (number, AccountPolicy { keepalive: Some(keepalive), ..AccountPolicy::default() })
}

#[test]
fn each_form_goes_out_as_what_it_is() {
    let policies = KeepaliveForm::ALL.iter().copied().zip(1..);
    let policies = policies.map(|(keepalive, number)| form(number, keepalive)).collect();
    let mut cluster = Cluster::new(&Options { policies, ..options(2, 5) });
    phones(&mut cluster, 5, PRIVATE);
    let heard = hear(&mut cluster, 3 * PERIOD);
    let mut transactions = Vec::new();
    for (&keepalive, number) in KeepaliveForm::ALL.iter().zip(1..) {
        let Some(messages) = heard.get(&source(number)) else {
            assert_eq!(keepalive, KeepaliveForm::Off);
            continue;
        };
        for (_, bytes) in messages {
            match keepalive {
                KeepaliveForm::Off => panic!("{bytes:?}"),
                KeepaliveForm::Raw => assert_eq!(bytes, b"HELLO"),
                KeepaliveForm::Crlf => assert_eq!(bytes, b"\r\n\r\n"),
                KeepaliveForm::Stun => {
                    assert_eq!(bytes[..8], [0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
                    assert_eq!(bytes.len(), 20);
                    transactions.push(bytes.clone());
                }
                KeepaliveForm::Options => {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let line = format!("OPTIONS sip:u{number}@{PRIVATE} SIP/2.0\r\n");
                    assert!(text.starts_with(&line), "{text}");
                }
            }
        }
    }
    let sent = transactions.len();
    transactions.sort_unstable();
    transactions.dedup();
    assert!(sent >= 2 && transactions.len() == sent, "each transaction has its own name");
    let kinds: BTreeMap<&str, u64> = cluster
        .shards
        .iter()
        .flat_map(|shard| shard.counters().keepalives.iter().collect::<Vec<_>>())
        .map(|(kind, pinholes)| (kind.name(), pinholes.sent))
        .collect();
    assert!(kinds.keys().copied().eq(["crlf", "options", "raw", "stun"]), "{kinds:?}");
}

#[test]
fn a_connection_is_pinged_and_never_sent_a_datagram() {
    let mut cluster = Cluster::new(&options(1, 1));
    let id = ConnectionId { reactor: 0, slot: 3, generation: 1 };
    let mut phone = Phone::new(1, "a", PRIVATE);
    for _ in 0..2 {
        let request = phone.register(600).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        let peer = Peer::new(b"");
        let link = Link { id, transport: Transport::Tcp, authenticated: false, peer };
        let datagram = Datagram {
            source: source(1),
            listener: ListenerId(0),
            local_ip: None,
            received_at: cluster.now.mono,
            bytes: request.as_bytes(),
            link: Some(link),
        };
        let answer = cluster.carry(0, &datagram).expect("an answer");
        phone.take_challenge(&Response::parse(&answer.bytes));
    }
    assert_eq!(hear(&mut cluster, 2 * PERIOD), Heard::new());
    assert!(cluster.pings.len() >= 2 && cluster.pings.iter().all(|&ping| ping == id));
    assert_eq!(cluster.shards[0].counters().keepalives.of(Kind::Connection).missed, 0);
    // With the connection the binding goes, and its turn.
    let now = cluster.now;
    cluster.shards[0].connection_closed(now, id);
    cluster.pings.clear();
    hear(&mut cluster, 2 * PERIOD);
    assert_eq!(cluster.pings, []);
}

#[test]
fn an_address_that_has_not_proved_itself_is_never_sent_anything() {
    let allow = vec!["203.0.113.0/24".parse().unwrap()];
    let policy = AccountPolicy {
        authentication: AccountAuthentication::Network,
        allow,
        ..AccountPolicy::default()
    };
    let mut cluster = Cluster::new(&Options { policies: vec![(1, policy)], ..options(1, 1) });
    let response = log_in(&mut cluster, &mut Phone::new(1, "a", PRIVATE), 1);
    assert_eq!(response.status, 200, "let in by its network, which a datagram can forge");
    assert_eq!(hear(&mut cluster, 2 * PERIOD), Heard::new());
    assert_eq!(cluster.shards[0].counters().keepalive_unproven, 1);
}

fn configure(cluster: &mut Cluster, options: &Options, nat: Nat) {
    let configuration = Arc::new(Configuration {
        registrar: options.registrar.clone(),
        auth: options.auth.clone(),
        guard: options.guard.clone(),
        nat,
        liveness: options.liveness.clone(),
        networks: Vec::new(),
        domains: vec![Domain {
            name: DOMAIN.into(),
            algorithms: Algorithms::MD5,
            aliases: Vec::new(),
        }],
    });
    let now = cluster.now;
    for shard in &mut cluster.shards {
        shard.control(now, Control::Configure(Arc::clone(&configuration)));
    }
}

#[test]
fn message_and_period_change_while_phones_are_pinged() {
    let options = options(2, 3000);
    let mut cluster = Cluster::new(&options);
    phones(&mut cluster, 3000, PRIVATE);
    assert_eq!(hear(&mut cluster, PERIOD).len(), 3000);

    let pace = options.nat.pace;
    let with = |message: KeepaliveMessage| Nat { message, ..options.nat.clone() };
    configure(&mut cluster, &options, with(KeepaliveMessage::Raw((*b"hi").into())));
    let heard = hear(&mut cluster, PERIOD);
    assert!(heard.values().flatten().all(|(_, bytes)| bytes == b"hi"));
    assert_eq!(heard.len(), 3000);

    configure(&mut cluster, &options, with(KeepaliveMessage::Off));
    assert_eq!(hear(&mut cluster, PERIOD), Heard::new());
    assert_eq!(pinholes(&cluster).missed, 0);
    configure(&mut cluster, &options, with(KeepaliveMessage::Crlf));
    assert_eq!(hear(&mut cluster, PERIOD).len(), 3000, "everybody again");
    assert_eq!(pinholes(&cluster).missed, 0);

    let slower = Nat { pace: KeepalivePace { period_s: 40, ..pace }, ..options.nat.clone() };
    configure(&mut cluster, &options, slower);
    hear(&mut cluster, 5 * PERIOD);
    let before = pinholes(&cluster).due;
    hear(&mut cluster, 4 * PERIOD);
    let turns = pinholes(&cluster).due - before;
    assert!((2990..3100).contains(&turns), "{turns}");
    configure(&mut cluster, &options, options.nat.clone());
    let heard = hear(&mut cluster, 5 * PERIOD);
    assert!(heard.values().all(|messages| messages.len() >= 4));
    assert_eq!(pinholes(&cluster).missed, 0);
}

#[test]
fn a_ceiling_too_low_is_raised_counted_and_misses_nobody() {
    let mut low = options(2, 2000);
    low.nat.pace = KeepalivePace { send_one_time: 10, send_interval_ms: 500, ..low.nat.pace };
    let mut cluster = Cluster::new(&low);
    phones(&mut cluster, 2000, PRIVATE);
    assert_eq!(hear(&mut cluster, 2 * PERIOD).len(), 2000);
    assert_eq!(pinholes(&cluster).missed, 0);
    for shard in &mut cluster.shards {
        assert!(shard.counters().keepalive_intervals_above >= 39);
    }
}
