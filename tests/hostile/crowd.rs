//! Crowds: ever new sources before the guard, and ever new failures before the shards. Whatever
//! their number, memory is that after the first of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aorta::config;
use aorta::guard::{Asked, Guard, Offence};
use aorta::time::{Instant, Now};

use crate::common::cluster::{Cluster, Options};
use crate::common::{Phone, Response};
use crate::memory::held;

/// Bytes that may be held more at the end: lists of recent events hold longer or shorter names, and
/// the trees of a full blacklist fuller or emptier nodes.
const GROWTH_BYTES_MAX: isize = 64 * 1024;
/// Accounts there are; every second failure is for none of them.
const ACCOUNTS: u32 = 500;

/// Source `number`, each another one, neighbours far apart; every fourth is of IPv6.
fn source(number: u32) -> IpAddr {
    let spread = number.wrapping_mul(0x9e37_79b1);
    match number % 4 {
        0 => Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(spread) << 64 | 1).into(),
        _ => Ipv4Addr::from_bits(spread).into(),
    }
}

/// Lets so many sources speak, scan and walk before a guard with its defaults.
pub fn sources(count: u32) {
    let mut guard = Guard::new(&[3; 16], (0, 2), &config::Guard::default(), &[]);
    let mut after_quarter = 0;
    for number in 0..count {
        if number % 1000 == 0 {
            let mono = Instant::from_secs(1000 + u64::from(number) / 100_000);
            guard.begin(Now { mono, ..Now::default() });
        }
        let source = source(number);
        guard.admit(source, Asked::Register);
        guard.step(source, b"1000");
        match number % 16 {
            0 => guard.offend(source, Offence::Scanner, 0, true),
            1 => guard.offend(source, Offence::UnknownAccount, number.into(), false),
            // Over a connection, so that it is blocked at once.
            2 => guard.offend(source, Offence::Scanner, 0, false),
            _ => {}
        }
        while guard.poll_told().is_some() {}
        if number == count / 4 {
            after_quarter = held();
        }
    }
    println!(
        "{count} sources, {} blocked, {after_quarter} bytes, {}",
        guard.blocks_count(),
        held()
    );
    assert!(guard.blocks_count() > 0);
    let grown = held() - after_quarter - blocks_may_take(count, &guard);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more than after {} sources", count / 4);
}

/// Blocks are of a bounded number, which a short crowd does not reach in its first quarter.
fn blocks_may_take(count: u32, guard: &Guard) -> isize {
    let is_full = count / 4 / 32 > aorta::limits::BLACKLIST_MAX as u32;
    if is_full { 0 } else { 400 * guard.blocks_count() as isize }
}

/// Lets so many authentications fail, each from a source of its own. What is remembered of them is
/// full after some thousands.
pub fn failures(count: u32) {
    let guard = config::Guard { sources_max: 4096, ..config::Guard::default() };
    let options = Options { shards: 3, accounts: ACCOUNTS, guard, ..Options::default() };
    let mut cluster = Cluster::new(&options);
    let mut after_half = 0;
    let mut failed = 0;
    for number in 0..count {
        cluster.now.wall_us += 1;
        if number % 1000 == 0 {
            cluster.pass(Duration::from_secs(1));
        }
        let from = SocketAddr::new(source(number), 5060);
        // In no order, so that it is no walk; every second account is not there.
        let account = number.wrapping_mul(0x9e37_79b1) % ACCOUNTS + 1 + number % 2 * ACCOUNTS;
        failed += u32::from(fails(&mut cluster, number as usize % 3, from, account));
        if number == count / 2 {
            after_half = held();
        }
    }
    println!("{failed} of {count} failed, {after_half} bytes, {}", held());
    assert!(failed > count / 10 * 9, "{failed} of {count}");
    let grown = held() - after_half;
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more than after {} failures", count / 2);
}

/// Whether a wrong password came to be refused.
fn fails(cluster: &mut Cluster, at: usize, from: SocketAddr, account: u32) -> bool {
    let mut phone = Phone::new(account, "crowd", "crowd.test");
    phone.password = "guess".into();
    let challenged = cluster.give(at, from, phone.register(60).as_bytes());
    let is_challenged =
        challenged.is_some_and(|sent| phone.take_challenge(&Response::parse(&sent.bytes)));
    let refused =
        is_challenged.then(|| cluster.give(at, from, phone.register(60).as_bytes())).flatten();
    cluster.orders();
    refused.is_some_and(|sent| Response::parse(&sent.bytes).status >= 400)
}
