//! A flood of strangers, on one shard and on several: what leads to nothing takes no more of a
//! reactor's time than it may, and nobody who has shown anything notices. How long the reactors
//! worked is told to the shards as they would tell it.

mod common;

#[path = "common/desk.rs"]
mod desk;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aorta::config::{AccountAuthentication, AccountPolicy, Guard, Overload};
use aorta::shard::counters::DropReason;

use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way};

/// The rule by itself, for loopback too.
fn alone(strangers_percent: u32) -> Options {
    let overload = Overload { strangers_percent, ..Overload::default() };
    let guard = Guard { overload, loopback: true, ..Guard::off() };
    Options { guard, accounts: 300, ..Options::default() }
}

fn stranger(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), 5060)
}

fn phone(number: u32) -> Phone {
    Phone::new(number, "device", "device.test:5070")
}

fn status(desk: &mut Desk, from: SocketAddr, request: &str) -> Option<u16> {
    let sent = desk.send_from(from, request);
    desk.cluster.orders();
    sent.map(|sent| Response::parse(&sent.bytes).status)
}

/// The reactors have worked all the time for 20 ms.
fn busy(desk: &mut Desk) {
    let window = Duration::from_millis(20);
    desk.cluster.now = desk.cluster.now.after(window);
    for shard in &mut desk.cluster.shards {
        shard.worked(window, window);
    }
}

/// So many strangers ask, each once, in each of some windows. Returns how many were answered in the
/// last one.
fn flood(desk: &mut Desk, windows: u32, a_window: u32, request: impl Fn(u32) -> String) -> u32 {
    let mut answered = 0;
    for window in 0..windows {
        answered = 0;
        for number in window * a_window..(window + 1) * a_window {
            answered += u32::from(status(desk, stranger(number), &request(number)).is_some());
        }
        busy(desk);
    }
    answered
}

fn register(number: u32) -> String {
    phone(1 + number % 300).register(600)
}

#[test]
fn a_flood_is_answered_for_as_long_as_it_may_take_and_the_honest_are_all_answered() {
    each_way(&alone(10), |desk| {
        let mut registered = desk.registered(1, "registered", 600);
        let mut challenged = desk.phone(2, "challenged");
        let answered = flood(desk, 12, 400, register);
        assert!((1..200).contains(&answered), "{answered} of 400");
        let counters = desk.counters();
        assert!(counters.dropped(DropReason::OverloadStranger) > 1000);
        assert_eq!(counters.answered.of(503), 0, "an answer would cost as much");
        for _ in 0..50 {
            assert_eq!(desk.ask(&registered.register(600)).status, 200);
        }
        assert_eq!(desk.ask(&challenged.register(600)).status, 200);
        // Whoever means it comes through: some of all are let in.
        let tries = (0..2000)
            .position(|_| status(desk, stranger(0x00ff_0000), &phone(3).register(600)).is_some());
        assert!(tries.is_some());
    });
}

#[test]
fn it_ends_with_the_flood() {
    each_way(&alone(10), |desk| {
        flood(desk, 8, 400, register);
        busy(desk);
        let before = desk.counters().dropped(DropReason::OverloadStranger);
        assert_eq!(flood(desk, 1, 50, register), 50);
        assert_eq!(desk.counters().dropped(DropReason::OverloadStranger), before);
    });
}

#[test]
fn a_source_somebody_has_proved_himself_from_is_no_stranger() {
    each_way(&alone(10), |desk| {
        let home = desk::source();
        desk.registered(1, "registered", 600);
        flood(desk, 8, 400, register);
        // Without a nonce, and no REGISTER: another phone of the same house, and its keepalive.
        for number in 1..=100 {
            let request = phone(number).register(600);
            assert_eq!(status(desk, home, &request), Some(401));
            let options = request.replace("REGISTER", "OPTIONS");
            assert!(status(desk, home, &options).is_some());
        }
    });
}

#[test]
fn a_gateway_that_needs_no_password_is_no_stranger() {
    let policy = AccountPolicy {
        authentication: AccountAuthentication::Network,
        allow: vec!["198.51.100.0/24".parse().unwrap()],
        ..AccountPolicy::default()
    };
    each_way(&Options { policies: vec![(7, policy)], ..alone(10) }, |desk| {
        flood(desk, 12, 400, register);
        let gateway: SocketAddr = "198.51.100.9:5060".parse().unwrap();
        for _ in 0..50 {
            assert_eq!(status(desk, gateway, &phone(7).register(600)), Some(200));
        }
    });
}

#[test]
fn a_nonce_that_was_made_up_opens_nothing() {
    each_way(&alone(10), |desk| {
        let made_up = |number: u32| {
            phone(1 + number % 300).request(&[(
                "Authorization",
                "Digest username=\"u1\", realm=\"example.com\", nonce=\"x\", uri=\"sip:x\", \
                 response=\"00000000000000000000000000000000\"",
            )])
        };
        let answered = flood(desk, 12, 400, made_up);
        assert!((1..200).contains(&answered), "{answered} of 400");
    });
}

#[test]
fn a_storm_of_phones_that_register_is_no_flood() {
    each_way(&alone(10), |desk| {
        for window in 0..8 {
            for number in 1..=200 {
                let from = stranger(window * 1000 + number);
                let mut phone = phone(number);
                let sent = desk.send_from(from, &phone.register(600)).expect("a challenge");
                desk.cluster.orders();
                assert!(phone.take_challenge(&Response::parse(&sent.bytes)));
                assert_eq!(status(desk, from, &phone.register(600)), Some(200));
            }
            busy(desk);
        }
        assert_eq!(desk.counters().dropped(DropReason::OverloadStranger), 0);
    });
}

#[test]
fn without_the_rule_a_flood_is_answered_whole() {
    each_way(&alone(100), |desk| {
        assert_eq!(flood(desk, 8, 400, register), 400);
    });
    // And at loopback, unless it is asked for.
    let mut exempt = alone(10);
    exempt.guard.loopback = false;
    each_way(&exempt, |desk| {
        for _ in 0..8 {
            for number in 0..400u32 {
                let from = SocketAddr::new(Ipv4Addr::from_bits(0x7f01_0000 + number).into(), 5060);
                assert_eq!(status(desk, from, &register(number)), Some(401));
            }
            busy(desk);
        }
    });
}
