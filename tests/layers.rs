//! The layers of the defence, one by one: each alone, all others off, keeps its own attack from
//! getting anywhere, and with it off as well the same attack gets what it wants. So each layer is
//! needed, and the attack on it can fail.
//!
//! | layer | its test |
//! |---|---|
//! | networks, rates, scanners, walks, scores, suspensions, silence | here |
//! | nonces bound to their source, and a budget for them | here, with the nonce taken away |
//! | made-up and foreign nonces; the same through the built program | `brute_force`, `attack` |
//! | connections: how many, for how long, what comes to nothing | `streams`, `guard_real` |
//! | accounts' own networks | `policies`, `silence` |

mod common;

#[path = "common/desk.rs"]
mod desk;

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use aorta::config::{Auth, Guard, Suspension};
use aorta::flow::{ConnectionId, Transport};
use aorta::shard::{Link, Peer};

use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way, source};

/// One layer: how it is switched on, what attacks it, and what that gets.
struct Layer {
    name: &'static str,
    on: fn(&mut Options),
    /// How much of what it wants the attack gets.
    attack: fn(&mut Desk) -> u64,
    with: RangeInclusive<u64>,
    without: RangeInclusive<u64>,
}

const LAYERS: [Layer; 12] = [
    Layer {
        name: "blocked networks",
        on: |options| options.guard.blocked = vec!["203.0.113.0/24".parse().unwrap()],
        attack: |desk| answers(desk, 100, |_| attacker()),
        with: 0..=0,
        without: 100..=100,
    },
    Layer {
        name: "the rate of one source",
        on: |options| rates(options),
        attack: |desk| answers(desk, 500, |_| attacker()),
        // The burst, and what several shards may let pass before they have told each other.
        with: 10..=20,
        without: 500..=500,
    },
    Layer {
        name: "the rate of a prefix",
        on: |options| rates(options),
        // No source of it is over its own.
        attack: |desk| answers(desk, 2000, |nth| from([203, 0, 113, nth as u8], 5060)),
        with: 100..=200,
        without: 2000..=2000,
    },
    Layer {
        name: "words of scanners",
        on: |options| options.guard.scanners = Guard::default().scanners,
        attack: |desk| heard(desk, |nth| probe("100", "friendly-scanner", nth)),
        with: 0..=0,
        without: 50..=50,
    },
    Layer {
        name: "patterns of scanners",
        on: |options| options.guard.scanner_patterns = Guard::default().scanner_patterns,
        attack: |desk| {
            heard(desk, |nth| probe("100", "Linphone", nth).replace("kit-", "sipvicious-"))
        },
        with: 0..=0,
        without: 50..=50,
    },
    Layer {
        name: "walks through numbers",
        on: |options| options.guard.blacklist = true,
        attack: walk,
        // It is noticed within some dozens of steps, and restrained then.
        // That lets a challenge a second pass, on each of several shards.
        with: 8..=150,
        // One in nine is not answered even where nobody is restrained.
        without: 250..=300,
    },
    Layer {
        name: "failures with many accounts",
        on: |options| options.guard.blacklist = true,
        attack: |desk| checked(desk, 100, |nth| nth),
        with: 7..=16,
        without: 100..=100,
    },
    Layer {
        name: "the score of connections",
        on: |options| options.guard.blacklist = true,
        attack: garbage,
        with: 49..=70,
        without: 200..=200,
    },
    Layer {
        name: "suspension by failed REGISTERs",
        on: |options| options.auth.suspension.registers = true,
        attack: |desk| checked(desk, 40, |_| 3),
        with: 6..=6,
        without: 40..=40,
    },
    Layer {
        name: "suspension by failed checks",
        on: |options| options.auth.suspension.checks_max = 4,
        attack: |desk| checked(desk, 40, |_| 3),
        with: 4..=4,
        without: 40..=40,
    },
    Layer {
        name: "silence towards unknown accounts",
        on: |options| options.auth.reply_unauthorized = false,
        attack: |desk| answers_to_unknown(desk),
        with: 0..=0,
        without: 50..=50,
    },
    Layer {
        name: "silence towards probes",
        on: |options| options.auth.reply_unauthorized = false,
        attack: |desk| heard(desk, |nth| probe("u1", "Linphone", nth)),
        with: 0..=0,
        without: 50..=50,
    },
];

/// Nothing of it.
fn undefended() -> Options {
    let suspension = Suspension { checks_max: 0, registers: false, ..Suspension::default() };
    let auth = Auth { suspension, retry_max: u16::MAX, ..Auth::default() };
    Options { auth, guard: Guard::off(), accounts: 200, ..Options::default() }
}

fn rates(options: &mut Options) {
    let Guard { rate_per_s, register_rate_per_s, .. } = Guard::default();
    (options.guard.rate_per_s, options.guard.register_rate_per_s) =
        (rate_per_s, register_rate_per_s);
}

#[test]
fn each_layer_stops_its_own_attack_and_without_it_that_succeeds() {
    for layer in &LAYERS {
        let mut on = undefended();
        (layer.on)(&mut on);
        for (options, expected, state) in
            [(on, &layer.with, "on"), (undefended(), &layer.without, "off")]
        {
            each_way(&options, |desk| {
                let got = (layer.attack)(desk);
                assert!(expected.contains(&got), "{} {state}: {got} of {expected:?}", layer.name);
            });
        }
    }
}

/// What the budget of proofs is for shows where it cannot be used: the same customer without the
/// nonce he was given is kept out by what others send in his name.
#[test]
fn a_customer_without_his_nonce_is_kept_out_by_a_forger_and_with_it_he_is_not() {
    let mut options = undefended();
    rates(&mut options);
    each_way(&options, |desk| {
        let mut customer = desk.registered(9, "b", 600);
        assert_eq!(refreshes_missed(desk), 0);
        customer.challenge = None;
        let missed = (0..10).filter(|_| give(desk, source(), &customer.register(600)).is_none());
        assert!(missed.count() >= 8);
    });
}

fn from(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

fn attacker() -> SocketAddr {
    from([203, 0, 113, 5], 5060)
}

/// Gives a request; what guards tell each other is carried.
fn give(desk: &mut Desk, from: SocketAddr, request: &str) -> Option<Response> {
    let sent = desk.send_from(from, request);
    desk.cluster.orders();
    sent.map(|sent| Response::parse(&sent.bytes))
}

fn probe(user: &str, agent: &str, nth: u32) -> String {
    format!(
        "OPTIONS sip:example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP kit.test;branch=z9hG4bK{nth};rport\r\n\
         From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\n\
         Call-ID: kit-{nth}\r\nCSeq: 1 OPTIONS\r\nUser-Agent: {agent}\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// How many of so many REGISTERs without credentials are answered.
fn answers(desk: &mut Desk, count: u64, from: fn(u64) -> SocketAddr) -> u64 {
    let ask = |nth: &u64| {
        let mut phone = Phone::new(7, "flood", "flood.test");
        phone.call_id = format!("flood-{nth}");
        give(desk, from(*nth), &phone.register(60)).is_some()
    };
    (0..count).filter(ask).count() as u64
}

/// How many of fifty probes are answered.
fn heard(desk: &mut Desk, probe: fn(u32) -> String) -> u64 {
    (0..50).filter(|&nth| give(desk, attacker(), &probe(nth)).is_some()).count() as u64
}

/// How many names that are not there are answered about.
fn answers_to_unknown(desk: &mut Desk) -> u64 {
    let name = |nth: u32| Phone::new(7919 * (nth + 1), "nobody", "nobody.test").register(60);
    (0..50).filter(|&nth| give(desk, attacker(), &name(nth)).is_some()).count() as u64
}

/// Asks for the numbers from 1000 on, ten a second. Returns how many were answered.
fn walk(desk: &mut Desk) -> u64 {
    let mut answered = 0;
    for number in 1000..1300 {
        let request = Phone::new(number, "walk", "walk.test").register(60);
        answered += u64::from(give(desk, attacker(), &request).is_some());
        if number % 10 == 0 {
            desk.pass(1);
        }
    }
    answered
}

/// Answers so many challenges wrongly, each for an account of the caller's choice, one a second.
/// Returns how many passwords were checked.
fn checked(desk: &mut Desk, count: u32, account: fn(u32) -> u32) -> u64 {
    let before = desk.counters().bad_password;
    for nth in 1..=count {
        // In no order.
        let mut guesser = Phone::new(account(nth * 37 % 101), "guess", "guess.test");
        guesser.password = "guess".into();
        if let Some(answer) = give(desk, attacker(), &guesser.register(60))
            && guesser.take_challenge(&answer)
        {
            give(desk, attacker(), &guesser.register(60));
        }
        desk.pass(1);
    }
    desk.counters().bad_password - before
}

/// Opens connection after connection that comes to nothing, as long as it is let. Returns how many.
fn garbage(desk: &mut Desk) -> u64 {
    let mut opened = 0;
    for slot in 0..200 {
        let now = desk.cluster.now;
        if desk.cluster.shards[0].guard().is_blocked(now.mono, attacker().ip()) {
            break;
        }
        opened += 1;
        let id = ConnectionId { reactor: 0, slot, generation: 1 };
        let peer = Peer::new(b"");
        let link = Link { id, transport: Transport::Tcp, authenticated: false, peer };
        let broken = probe("u1", "Linphone", slot).replace("CSeq: 1 ", "CSeq: one ");
        desk.send_over(link, attacker(), &broken);
        desk.cluster.orders();
    }
    opened
}

/// Sends a lot in the name of a source.
fn forge(desk: &mut Desk, victim: SocketAddr) {
    for nth in 0..500u16 {
        let mut phone = Phone::new(7, "forged", "forged.test");
        phone.call_id = format!("forged-{nth}");
        give(desk, SocketAddr::new(victim.ip(), 1000 + nth), &phone.register(60));
    }
}

/// How many refreshes of a customer, who has a nonce of his own, are not answered with 200 while
/// somebody sends in his name.
fn refreshes_missed(desk: &mut Desk) -> u64 {
    let mut customer = desk.registered(8, "a", 600);
    forge(desk, source());
    let missed = |_: &u32| {
        let answer = give(desk, source(), &customer.register(600));
        answer.is_none_or(|answer| answer.status != 200)
    };
    (0..10).filter(missed).count() as u64
}
