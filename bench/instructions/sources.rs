//! The guard at ten thousand sources: a phone it knows, somebody new, somebody it has blocked.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use aorta::config;
use aorta::guard::{Asked, Entry, Guard};
use aorta::time::{Instant, Now};

use super::{Primitive, Round};

const BATCH: u32 = 8;
const SOURCES: u32 = 10_007;
const STEP: u32 = 6113;

pub const PRIMITIVES: &[Primitive] = &[
    Primitive { name: "admit-proven", rounds: 60, operations: BATCH, prepare: admit_proven },
    Primitive { name: "admit-newcomer", rounds: 60, operations: BATCH, prepare: admit_newcomer },
    Primitive { name: "drop-blocked", rounds: 60, operations: BATCH, prepare: drop_blocked },
];

const REFRESH: &[u8] = b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060\r\n";

fn now(second: u32) -> Now {
    Now { mono: Instant::from_secs(1000 + u64::from(second)), ..Now::default() }
}

fn source(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0b00_0000 + number).into()
}

fn guard() -> Guard {
    let mut guard = Guard::new(&[7; 16], (0, 1), &config::Guard::default(), &[]);
    guard.begin(now(0));
    guard
}

/// One batch a round, so slowly that nobody meets his limit; each source is warmed first.
fn admitting(
    mut guard: Guard,
    source: impl Fn(u32) -> IpAddr + 'static,
    mut one: impl FnMut(&mut Guard, IpAddr) + 'static,
) -> Round {
    let mut next = 0;
    Box::new(move || {
        guard.begin(now(next));
        let sources = next..next + BATCH;
        black_box(sources.clone().fold(0, |sum, number| sum ^ guard.warm(source(number))));
        for number in sources {
            one(&mut guard, source(number));
        }
        next += BATCH;
    })
}

fn admit_proven(_: u32) -> Round {
    let mut guard = guard();
    for number in 0..SOURCES {
        guard.proved(source(number), u64::from(number) << 20 | 1);
        while guard.poll_told().is_some() {}
    }
    admitting(
        guard,
        |number| source(number * STEP % SOURCES),
        |guard, source| {
            let entry = guard.admit(black_box(source), Asked::of(black_box(REFRESH)));
            assert_eq!(entry, Entry::Open);
            guard.proved(source, 1);
        },
    )
}

fn admit_newcomer(_: u32) -> Round {
    admitting(
        guard(),
        |number| source(number * 0x0101),
        |guard, source| {
            black_box(guard.admit(black_box(source), Asked::of(black_box(REFRESH))));
            while guard.poll_told().is_some() {}
        },
    )
}

fn drop_blocked(_: u32) -> Round {
    let mut guard = guard();
    for number in 0..SOURCES {
        guard.block(source(number), None);
    }
    admitting(
        guard,
        |number| source(number * STEP % SOURCES),
        |guard, source| {
            let entry = guard.admit(black_box(source), Asked::of(black_box(REFRESH)));
            assert!(matches!(entry, Entry::Silent(_)));
        },
    )
}
