//! Whether the time of an answer tells who exists. A shard is timed from the datagram to its
//! answer, known and unknown accounts in turn; a difference that would show through a network, of
//! which a hundredth is lost in its noise, fails.

// The clock is what is looked at here.
#![allow(clippy::disallowed_methods)]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::Phone;
use common::batch::give;
use common::cluster::{Cluster, Options};

/// Accounts of each kind; each is tried until shortly before its suspension would begin.
const NAMES: u32 = 400;
const TRIES: u32 = 5;
/// Messages that come together.
const BATCH: usize = 8;
/// Medians farther apart than this share of the smaller tell who exists.
const SHARE_MAX: f64 = 0.05;
/// A busy host may spoil a run.
const RUNS: u32 = 5;

fn source() -> SocketAddr {
    "192.0.2.7:40000".parse().unwrap()
}

/// Phones of accounts from `first` on, the first of which may exist.
fn phones(first: u32) -> Vec<Phone> {
    let phone = |number| {
        let mut phone = Phone::new(number, "timing", "timing.test:5070");
        phone.password = "guess".into();
        phone
    };
    (first..first + NAMES).map(phone).collect()
}

/// How long the answer to a wrong password takes.
fn wrong_answer(cluster: &mut Cluster, phone: &mut Phone, status: u16) -> Duration {
    phone.challenge = None;
    cluster.now.wall_us += 1;
    let challenged = cluster.ask(0, source(), &phone.register(60)).expect("an answer");
    assert!(phone.take_challenge(&challenged));
    let request = phone.register(60);
    let from = Instant::now();
    let sent = cluster.give(0, source(), request.as_bytes());
    let took = from.elapsed();
    let answer = String::from_utf8(sent.expect("an answer").bytes).expect("text");
    assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
    took
}

/// How long the answers to a batch of wrong passwords take.
fn wrong_answers(cluster: &mut Cluster, phones: &mut [Phone]) -> Duration {
    let mut sent = Vec::new();
    for phone in phones {
        phone.challenge = None;
        cluster.now.wall_us += 1;
        let challenged = cluster.ask(0, source(), &phone.register(60)).expect("an answer");
        assert!(phone.take_challenge(&challenged));
        sent.push((source(), phone.register(60).into_bytes()));
    }
    let from = Instant::now();
    let outcome = give(cluster, 0, &sent, false, sent.len());
    let took = from.elapsed();
    assert_eq!(outcome.handled.len(), sent.len());
    for (_, answer) in outcome.handled {
        assert!(answer.starts_with(b"SIP/2.0 401 "), "{}", answer.escape_ascii());
    }
    took
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// The medians of known and of unknown accounts, their tries interleaved.
fn medians(cluster: &mut Cluster, known: &mut [Phone], unknown: &mut [Phone]) -> (f64, f64) {
    let (mut of_known, mut of_unknown) = (Vec::new(), Vec::new());
    for nth in 0..TRIES {
        for (number, (known, unknown)) in known.iter_mut().zip(&mut *unknown).enumerate() {
            // Neither is always the first.
            for is_known in [number as u32 % 2 == nth % 2, number as u32 % 2 != nth % 2] {
                match is_known {
                    true => of_known.push(wrong_answer(cluster, known, 401)),
                    false => of_unknown.push(wrong_answer(cluster, unknown, 401)),
                }
            }
        }
    }
    (median(of_known), median(of_unknown))
}

fn apart(a: f64, b: f64) -> f64 {
    (a - b).abs() / a.min(b)
}

#[test]
fn a_wrong_password_takes_as_long_for_an_account_that_is_not_there() {
    let mut seen = Vec::new();
    for _ in 0..RUNS {
        let mut cluster = Cluster::new(&Options { accounts: NAMES, ..Options::default() });
        let (known, unknown) = medians(&mut cluster, &mut phones(1), &mut phones(NAMES + 1));
        seen.push((known, unknown));
        if apart(known, unknown) < SHARE_MAX {
            return;
        }
    }
    panic!("known and unknown accounts differ each time: {seen:?}");
}

/// Side by side with others as well.
#[test]
fn wrong_passwords_in_a_batch_take_as_long_for_accounts_that_are_not_there() {
    let mut seen = Vec::new();
    for _ in 0..RUNS {
        let mut cluster = Cluster::new(&Options { accounts: NAMES, ..Options::default() });
        let (mut known, mut unknown) = (phones(1), phones(NAMES + 1));
        let (mut of_known, mut of_unknown) = (Vec::new(), Vec::new());
        for nth in 0..TRIES as usize {
            let batches = known.chunks_mut(BATCH).zip(unknown.chunks_mut(BATCH));
            for (number, (known, unknown)) in batches.enumerate() {
                // Neither is always the first.
                for is_known in [number % 2 == nth % 2, number % 2 != nth % 2] {
                    match is_known {
                        true => of_known.push(wrong_answers(&mut cluster, known)),
                        false => of_unknown.push(wrong_answers(&mut cluster, unknown)),
                    }
                }
            }
        }
        let (known, unknown) = (median(of_known), median(of_unknown));
        seen.push((known, unknown));
        if apart(known, unknown) < SHARE_MAX {
            return;
        }
    }
    panic!("known and unknown accounts differ each time: {seen:?}");
}

/// The same measure finds a password that is not looked at: a digest is what it must not miss.
#[test]
fn the_measure_tells_an_answer_without_a_digest_from_one_with() {
    let mut seen = Vec::new();
    for _ in 0..RUNS {
        let mut cluster = Cluster::new(&Options { accounts: NAMES, ..Options::default() });
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for phone in &mut phones(1) {
            with.push(wrong_answer(&mut cluster, phone, 401));
            (1..=TRIES).for_each(|_| wrong_answer_of_any(&mut cluster, phone));
            without.push(wrong_answer(&mut cluster, phone, 403));
        }
        let (with, without) = (median(with), median(without));
        seen.push((with, without));
        if apart(with, without) > SHARE_MAX {
            return;
        }
    }
    panic!("no difference was found: {seen:?}");
}

fn wrong_answer_of_any(cluster: &mut Cluster, phone: &mut Phone) {
    phone.challenge = None;
    cluster.now.wall_us += 1;
    let challenged = cluster.ask(0, source(), &phone.register(60)).expect("an answer");
    phone.take_challenge(&challenged);
    cluster.ask(0, source(), &phone.register(60));
}
