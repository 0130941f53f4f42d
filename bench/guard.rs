//! What the guard costs each message: from sources it knows, from others, from those it has
//! blocked; with many networks; and the search for scanners in a User-Agent.

#[path = "harness/mod.rs"]
mod harness;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use aorta::config;
use aorta::guard::networks::{Said, Standing};
use aorta::guard::scanner::Words;
use aorta::guard::{Asked, Entry, Guard};
use aorta::time::{Instant, Now};

use harness::measure;

/// What an honest refresh may pay for all of it together.
const REFRESH_NS: f64 = 60.0;
/// What a blocked source's message may cost beside the system call that brings it.
const BLOCKED_NS: f64 = 100.0;

fn now(at_ms: u64) -> Now {
    Now { mono: Instant::from_nanos(1_000_000_000_000 + at_ms * 1_000_000), ..Now::default() }
}

fn source(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0b00_0000 + number).into()
}

/// Numbers below `of` in an order no cache follows.
fn random(state: &mut u64, of: u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (((*state >> 32) * u64::from(of)) >> 32) as u32
}

fn guard(shards: u8, networks: &[Said]) -> Guard {
    let mut guard = Guard::new(&[7; 16], (0, shards), &config::Guard::default(), networks);
    guard.begin(now(0));
    guard
}

fn main() {
    const REFRESH: &[u8] =
        b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060\r\n";
    for shards in [1, 16] {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut at = 0;
        for customers in [1u32, 10_000, 50_000] {
            let mut guard = guard(shards, &[]);
            for number in 0..customers {
                guard.proved(source(number), u64::from(number) << 20 | 1);
                while guard.poll_told().is_some() {}
            }
            let mut batch = Vec::new();
            let name = format!("refresh, {customers} proven sources, {shards} shards");
            measure(&name, Some(REFRESH_NS), 20_000, || {
                // So slow that nobody meets his limit; in batches, as they are received.
                at += 1000;
                if batch.is_empty() {
                    guard.begin(now(at));
                    batch.extend((0..8).map(|_| source(random(&mut state, customers))));
                    black_box(batch.iter().fold(0, |sum, &source| sum ^ guard.warm(source)));
                }
                let source = batch.pop().expect("a source");
                let entry = guard.admit(black_box(source), Asked::of(black_box(REFRESH)));
                assert_eq!(entry, Entry::Open);
                guard.proved(source, 1);
            });
        }
        let mut guard = guard(shards, &[]);
        let name = format!("newcomers from everywhere, {shards} shards");
        measure(&name, None, 20_000, || {
            let source = source(random(&mut state, u32::MAX >> 8));
            black_box(guard.admit(black_box(source), Asked::Register));
            while guard.poll_told().is_some() {}
        });
        let loud = source(1);
        measure(&format!("one source over its limit, {shards} shards"), None, 20_000, || {
            black_box(guard.admit(black_box(loud), Asked::Request));
        });
    }
    let mut state = 1;
    let mut guard = guard(1, &[]);
    for number in 0..50_000 {
        guard.block(source(number), None);
    }
    measure("blocked, one of 50,000", Some(BLOCKED_NS), 20_000, || {
        let entry = guard.admit(black_box(source(random(&mut state, 50_000))), Asked::Register);
        assert!(matches!(entry, Entry::Silent(_)));
    });
    let said: Vec<Said> = (0..10_000u32)
        .map(|number| Said {
            net: format!("{}/24", Ipv4Addr::from_bits(number << 16 | 0x100)).parse().unwrap(),
            standing: Some(Standing::Blocked),
            limit: None,
        })
        .collect();
    let mut guard = self::guard(1, &said);
    measure("blocked by one of 10,000 networks", Some(BLOCKED_NS), 20_000, || {
        let ip = Ipv4Addr::from_bits(random(&mut state, 10_000) << 16 | 0x1ff);
        let entry = guard.admit(black_box(ip.into()), Asked::Register);
        assert!(matches!(entry, Entry::Silent(_)));
    });
    let words = Words::new(&config::Guard::default().scanners);
    let agent = b"Yealink SIP-T46U 108.86.0.20";
    measure("a User-Agent that is no scanner's", Some(40.0), 20_000, || {
        assert!(!words.are_in(black_box(agent)));
    });
}
