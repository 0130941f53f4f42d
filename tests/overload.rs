//! Too much comes: who is let in, who is sent away and who hears nothing, on one shard and on
//! several. How long datagrams wait is told to the shards as their reactors would tell it.

mod common;

#[path = "common/desk.rs"]
mod desk;

use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::{Auth, Guard, Overload, Registrar};
use aorta::flow::{ConnectionId, Transport};
use aorta::guard::events::Wanted;
use aorta::guard::{Kinds, SecurityKind};
use aorta::shard::control::{Configuration, Control, Reply};
use aorta::shard::counters::{Counters, DropReason};
use aorta::shard::events::EventsAsked;
use aorta::shard::refused::RefuseReason;
use aorta::shard::{Link, Peer};

use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way, source};

fn from(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// Admission as it is by default, and no other limit.
fn admitting() -> Options {
    let overload = Overload {
        wait_newcomers_ms: 10,
        wait_known_ms: 80,
        wait_proven_ms: 200,
        strangers_percent: 100,
        ..Overload::default()
    };
    let guard = Guard { overload, ..Guard::off() };
    Options { guard, accounts: 300, ..Options::default() }
}

/// For some time, what comes has waited so long.
fn wait(desk: &mut Desk, waited_ms: u64) {
    for _ in 0..300 {
        desk.cluster.now = desk.cluster.now.after(Duration::from_millis(1));
        let now = desk.cluster.now;
        for shard in &mut desk.cluster.shards {
            shard.waited(now, Duration::from_millis(waited_ms));
        }
    }
}

fn give(desk: &mut Desk, from: SocketAddr, request: &str) -> Option<Response> {
    let sent = desk.send_from(from, request);
    desk.cluster.orders();
    sent.map(|sent| Response::parse(&sent.bytes))
}

fn status(desk: &mut Desk, from: SocketAddr, request: &str) -> Option<u16> {
    give(desk, from, request).map(|response| response.status)
}

fn phone(number: u32) -> Phone {
    Phone::new(number, "device", "device.test:5070")
}

fn options_request(number: u32) -> String {
    phone(number).register(60).replace("REGISTER", "OPTIONS")
}

/// All newcomers are sent away here, and nobody else.
const NEWCOMERS_GO_MS: u64 = 40;
/// And here they hear nothing.
const NEWCOMERS_DROP_MS: u64 = 81;

#[test]
fn newcomers_are_sent_away_with_a_time_and_a_challenged_phone_comes_through() {
    each_way(&admitting(), |desk| {
        let mut challenged = desk.phone(1, "challenged");
        let mut registered = desk.registered(2, "registered", 600);
        wait(desk, NEWCOMERS_GO_MS);
        let handoffs = desk.counters().handoffs_out;
        for number in 3..100 {
            let sent = give(desk, source(), &phone(number).register(600)).expect("an answer");
            assert_eq!((sent.status, sent.reason.as_str()), (503, "Service Unavailable"));
            let seconds: u32 = sent.header("retry-after").unwrap().parse().unwrap();
            assert!((4..=12).contains(&seconds), "{seconds}");
            assert_eq!(sent.all("www-authenticate").count(), 0);
            assert!(sent.to_tag().is_some());
        }
        assert_eq!(desk.counters().handoffs_out, handoffs, "shed before anything is handed over");
        assert_eq!(desk.ask(&challenged.register(600)).status, 200);
        assert_eq!(desk.ask(&registered.register(600)).status, 200);
        let counters = desk.counters();
        assert_eq!(counters.refused(RefuseReason::OverloadNewcomer), 97);
        assert_eq!(counters.refused(RefuseReason::OverloadKnown), 0);
        assert_eq!(counters.refused(RefuseReason::OverloadProven), 0);
        assert_eq!(counters.answered.of(503), 97);
        // When it is over, it is over.
        desk.pass(1);
        assert_eq!(desk.ask(&phone(3).register(600)).status, 401);
    });
}

#[test]
fn switched_off_every_newcomer_takes_the_time_of_those_who_are_known() {
    let off = Options { guard: Guard::off(), ..admitting() };
    each_way(&off, |desk| {
        wait(desk, 10_000);
        for number in 1..100 {
            assert_eq!(status(desk, source(), &phone(number).register(600)), Some(401));
        }
    });
}

#[test]
fn a_reload_switches_it_off_while_it_sheds() {
    let on = admitting();
    each_way(&on, |desk| {
        wait(desk, NEWCOMERS_GO_MS);
        assert_eq!(status(desk, source(), &phone(1).register(600)), Some(503));
        let configuration = Configuration {
            registrar: on.registrar.clone(),
            auth: on.auth.clone(),
            guard: Guard::off(),
            nat: on.nat.clone(),
            liveness: on.liveness.clone(),
            networks: Vec::new(),
            domains: vec![aorta::config::Domain {
                name: "example.com".into(),
                algorithms: on.algorithms,
                aliases: Vec::new(),
            }],
        };
        let (order, now) = (Control::Configure(configuration.into()), desk.cluster.now);
        for shard in &mut desk.cluster.shards {
            shard.control(now, order.clone());
        }
        assert_eq!(status(desk, source(), &phone(1).register(600)), Some(401));
    });
}

#[test]
fn what_is_refused_changes_nothing() {
    each_way(&admitting(), |desk| {
        let mut there = desk.registered(1, "there", 600);
        let bound = desk.bound(1);
        there.challenge.as_mut().unwrap().nonce = "AAAAAAAAAAAAAAAAAAAA".to_owned();
        wait(desk, NEWCOMERS_GO_MS);
        let remaining = |desk: &Desk| desk.bound(1)[0].1;
        let before = (remaining(desk), desk.counters());
        for request in [
            there.register(0),
            there.register(3600),
            there.request(&[("Contact", "*"), ("Expires", "0")]),
            phone(1).register(3600),
        ] {
            assert_eq!(status(desk, source(), &request), Some(503));
        }
        assert_eq!((remaining(desk), desk.bound(1).len()), (before.0, bound.len()));
        let after = desk.counters();
        assert_eq!(after.requests, before.1.requests, "nobody has looked into them");
        let touched = |counters: &Counters| {
            let Counters { bad_password, stale, challenged, refreshed, unregistered, .. } =
                *counters;
            [bad_password, stale, challenged, refreshed, unregistered]
        };
        assert_eq!(touched(&after), touched(&before.1));
    });
}

#[test]
fn a_nonce_that_is_forged_or_of_another_source_opens_nothing() {
    each_way(&admitting(), |desk| {
        let mut owner = desk.phone(1, "owner");
        wait(desk, NEWCOMERS_GO_MS);
        let theirs = from("203.0.113.5", 5060);
        // As it stands in his own request, sent from elsewhere.
        assert_eq!(status(desk, theirs, &owner.clone().register(600)), Some(503));
        // One character of it changed, each in turn; and spelled where no nonce belongs.
        let nonce = owner.challenge.clone().unwrap().nonce;
        for at in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let mut thief = owner.clone();
            thief.challenge.as_mut().unwrap().nonce = String::from_utf8(forged).unwrap();
            assert_eq!(status(desk, source(), &thief.register(600)), Some(503), "character {at}");
        }
        let named = phone(2).request(&[("Subject", &format!("nonce=\"{nonce}\""))]);
        assert_eq!(status(desk, source(), &named), Some(503));
        let elsewhere = owner.clone().register(600).replace("realm=\"example.com\"", "realm=\"x\"");
        assert_eq!(status(desk, source(), &elsewhere), Some(503));
        // His own is good.
        assert_eq!(status(desk, source(), &owner.register(600)), Some(200));
    });
}

#[test]
fn an_old_nonce_and_a_proven_source_count_as_known() {
    let mut options = admitting();
    let overload = options.guard.overload;
    options.guard = Guard { sources_max: 1024, overload, ..Guard::default() };
    each_way(&options, |desk| {
        let mut old = desk.registered(1, "old", 3600);
        desk.pass(u64::from(Auth::default().nonce_lifetime_s) + 10);
        let office = from("192.0.2.99", 5060);
        let mut first = phone(2);
        let challenge = give(desk, office, &first.register(600)).unwrap();
        assert!(first.take_challenge(&challenge));
        assert_eq!(status(desk, office, &first.register(600)), Some(200));
        wait(desk, NEWCOMERS_DROP_MS);
        let stale = give(desk, source(), &old.register(3600)).expect("an answer");
        assert_eq!(stale.status, 401, "whoever had a nonce gets another");
        let port = from("192.0.2.99", 6000);
        assert_eq!(status(desk, port, &phone(3).register(600)), Some(401), "his colleague");
        assert_eq!(status(desk, from("192.0.2.98", 6000), &phone(3).register(600)), None);
        // To register is what he has proved; a probe is anybody's.
        assert_eq!(status(desk, port, &options_request(4)), None);
    });
}

#[test]
fn networks_that_are_trusted_are_known_whatever_they_ask() {
    let mut options = admitting();
    options.guard.trusted = vec!["10.0.0.0/8".parse().unwrap()];
    each_way(&options, |desk| {
        wait(desk, NEWCOMERS_DROP_MS);
        let monitor = from("10.1.1.1", 5060);
        assert_eq!(status(desk, monitor, &options_request(1)), Some(200));
        assert_eq!(status(desk, monitor, &phone(1).register(60)), Some(401));
        assert_eq!(status(desk, source(), &options_request(1)), None);
    });
}

#[test]
fn past_what_refusals_may_cost_newcomers_hear_nothing_and_are_counted() {
    each_way(&admitting(), |desk| {
        let mut challenged = desk.phone(1, "challenged");
        wait(desk, NEWCOMERS_DROP_MS);
        for number in 2..102 {
            assert_eq!(status(desk, source(), &phone(number).register(600)), None);
            assert_eq!(status(desk, source(), &options_request(number)), None);
            let made_up = phone(number).request(&[(
                "Authorization",
                "Digest username=\"u1\", realm=\"example.com\", nonce=\"x\", uri=\"sip:x\", \
                 response=\"00000000000000000000000000000000\"",
            )]);
            assert_eq!(status(desk, source(), &made_up), None);
        }
        assert_eq!(desk.counters().dropped(DropReason::OverloadNewcomer), 300);
        assert_eq!(status(desk, source(), &challenged.register(600)), Some(200));
        let (now, mut counted, mut records) = (desk.cluster.now, 0, 0);
        for shard in &mut desk.cluster.shards {
            counted += shard.guard().journal().counted(SecurityKind::Overload);
            let wanted =
                Wanted { kinds: Kinds::NONE.with(SecurityKind::Overload), ..Wanted::default() };
            let asked = EventsAsked { wanted, ..EventsAsked::default() };
            let Reply::SecurityEvents(page) = shard.control(now, Control::SecurityEvents(asked))
            else {
                panic!("records")
            };
            records += page.items.len();
        }
        assert_eq!(counted, 300);
        assert!(records >= 1, "one source is listed, though not each time");
    });
}

#[test]
fn the_known_and_those_with_a_nonce_go_where_they_are_the_load() {
    each_way(&admitting(), |desk| {
        let mut phones: Vec<Phone> =
            (1..=300).map(|number| desk.phone(number, "challenged")).collect();
        wait(desk, 800);
        // Nobody knows yet who they are that come.
        for phone in &mut phones {
            assert_eq!(desk.ask(&phone.register(600)).status, 200);
        }
        wait(desk, 800);
        for phone in &mut phones {
            let sent = desk.ask(&phone.register(600));
            assert_eq!(sent.status, 503);
            assert!(sent.header("retry-after").is_some());
        }
        let counters = desk.counters();
        assert_eq!(counters.refused(RefuseReason::OverloadProven), 300);
        assert_eq!(counters.refused(RefuseReason::OverloadNewcomer), 0);
    });
}

#[test]
fn over_a_connection_nobody_is_left_without_an_answer() {
    each_way(&admitting(), |desk| {
        wait(desk, NEWCOMERS_DROP_MS);
        let id = ConnectionId { reactor: 0, slot: 7, generation: 1 };
        let link = |authenticated| Link {
            id,
            transport: Transport::Tcp,
            authenticated,
            peer: Peer::new(b""),
        };
        let mut over = |authenticated| {
            let request = phone(1).register(600).replace("/UDP", "/TCP");
            let sent = desk.send_over(link(authenticated), source(), &request).expect("an answer");
            Response::parse(&sent.bytes).status
        };
        assert_eq!(over(false), 503);
        assert_eq!(over(true), 401, "whoever has proved himself over it is let in");
    });
}

#[test]
fn responses_and_keepalives_are_no_load_and_what_is_broken_gets_no_answer() {
    each_way(&admitting(), |desk| {
        wait(desk, NEWCOMERS_GO_MS);
        let response = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\n\r\n";
        assert_eq!(status(desk, source(), response), None);
        assert_eq!(status(desk, source(), "\r\n\r\n"), None);
        let counters = desk.counters();
        assert_eq!(counters.dropped(DropReason::OverloadNewcomer), 0);
        assert_eq!(counters.dropped(DropReason::Keepalive), 1);
        let broken = phone(1).register(60).replace("Max-Forwards: 70", "neither name nor value");
        assert_eq!(status(desk, source(), &broken), None);
        assert_eq!(desk.counters().dropped(DropReason::OverloadNewcomer), 1);
    });
}

#[test]
fn where_strangers_hear_nothing_they_do_not_hear_of_the_load() {
    let mut options = admitting();
    options.auth.reply_unauthorized = false;
    each_way(&options, |desk| {
        let mut challenged = desk.phone(1, "challenged");
        wait(desk, NEWCOMERS_GO_MS);
        assert_eq!(status(desk, source(), &phone(2).register(600)), None);
        assert_eq!(desk.counters().dropped(DropReason::OverloadNewcomer), 1);
        assert_eq!(status(desk, source(), &challenged.register(600)), Some(200));
    });
}

/// As many registrations as `total_max` allows, whoever asks.
fn ceiling(total_max: u32) -> Options {
    let registrar = Registrar { total_max: Some(total_max), ..Registrar::default() };
    Options { accounts: 300, ..desk::registrar(registrar) }
}

#[test]
fn over_the_ceiling_refreshes_go_on_and_newcomers_are_sent_away() {
    each_way(&ceiling(90), |desk| {
        let mut inside = Vec::new();
        let mut outside = Vec::new();
        for number in 1..=300 {
            let mut one = desk.phone(number, "device");
            let answer = desk.ask(&one.register(600));
            match answer.status {
                200 => inside.push(one),
                503 => {
                    assert_eq!(answer.reason, "Registrar Full");
                    assert_eq!(answer.header("retry-after"), Some("60"));
                    assert!(desk.bound(number).is_empty());
                    outside.push(one);
                }
                other => panic!("{other}"),
            }
        }
        let held = |desk: &Desk| {
            let shards = desk.cluster.shards.iter();
            shards.map(|shard| shard.registrar().location().bindings_count()).sum::<usize>()
        };
        // Every shard has had more accounts than its share.
        assert_eq!((inside.len(), held(desk)), (90, 90));
        assert_eq!(desk.counters().registrar_full, 210);
        for phone in &mut inside {
            assert_eq!(desk.ask(&phone.register(600)).status, 200, "a refresh");
        }
        // Another device of an account takes the place of the first: that makes none more.
        let number: u32 = inside[0].user[1..].parse().unwrap();
        let mut other = desk.phone(number, "other");
        assert_eq!(desk.ask(&other.register(600)).status, 200);
        assert_eq!(held(desk), 90);
        // Whoever leaves makes room on his shard.
        for phone in inside.iter_mut().skip(1) {
            assert_eq!(desk.ask(&phone.register(0)).status, 200);
        }
        let let_in = outside.iter_mut().filter_map(|phone| {
            let status = desk.ask(&phone.register(600)).status;
            (status == 200).then_some(())
        });
        assert!(let_in.count() >= 80);
        assert!(held(desk) <= 90);
    });
}

#[test]
fn without_a_ceiling_there_is_none() {
    each_way(&desk::registrar(Registrar::default()), |desk| {
        for number in 1..=20 {
            desk.registered(number, "device", 600);
        }
        assert_eq!(desk.counters().registrar_full, 0);
    });
}
