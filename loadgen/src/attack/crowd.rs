//! Crowds: ever new sources that speak once, and ever new sources that fail once. A server that
//! remembered each of them would grow; its memory is looked at after a tenth of them, by when what
//! it has of tables is in use, and at the end.

use super::addresses::failing;
use super::flood;
use super::forge::{Credentials, Forged, Method, domain, number_of};
use super::gun::{Gun, Pacer};
use super::options::AttackOptions;
use super::server::Server;
use crate::options::Error;
use crate::plan::{Nanos, SECOND};
use crate::wire::challenge::Challenge;
use crate::wire::scan::Answer;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};

const CALL: &[u8] = b"fail-";
/// Most requests that leave between two looks at the clock.
const BURST: u64 = 128;
/// How long answers are waited for once all have spoken.
const LINGER: Nanos = SECOND / 2;
/// Sources that are about to fail at a time.
const UNDER_WAY_MAX: u32 = 1024;
/// How long one waits for an answer before it begins again, and how often it does.
const PATIENCE: Nanos = SECOND / 2;
const TRIES_MAX: u8 = 5;
/// Failures of which fewer than this share came about have shown nothing.
const REACHED_MIN: f64 = 0.9;

/// The server's memory while they spoke.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes resident after a tenth of them; 0 where it is not known.
    pub early: u64,
    /// Bytes resident at the end.
    pub end: u64,
    /// What it may have grown by.
    pub growth_max: u64,
}

impl Memory {
    fn failure(&self, of: &str) -> Option<String> {
        let grown = self.end.saturating_sub(self.early);
        (self.early > 0 && grown > self.growth_max)
            .then(|| format!("memory grew by {grown} bytes with {of}: at most {}", self.growth_max))
    }
}

/// What became of many sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFigures {
    /// Different sources that spoke.
    pub sources: u64,
    /// Those that were answered.
    pub answered: u64,
    /// How long it took, milliseconds.
    pub milliseconds: u64,
    /// The server's memory.
    pub memory: Memory,
}

impl SourceFigures {
    /// What did not hold.
    pub(super) fn failures(&self) -> Vec<String> {
        self.memory.failure("sources").into_iter().collect()
    }
}

/// What became of many failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureFigures {
    /// Sources that began.
    pub begun: u64,
    /// Those that were challenged.
    pub challenged: u64,
    /// Wrong passwords that were refused.
    pub failed: u64,
    /// Those of accounts that are not there; the others are of the roster.
    pub unknown: u64,
    /// The failures by the server's own count, where it was asked.
    pub counted_by_server: Option<u64>,
    /// How long it took, milliseconds.
    pub milliseconds: u64,
    /// The server's memory.
    pub memory: Memory,
}

impl FailureFigures {
    /// What did not hold.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut all: Vec<String> = self.memory.failure("failures").into_iter().collect();
        if (self.failed as f64) < self.begun as f64 * REACHED_MIN {
            all.push(format!("{} of {} authentications could fail", self.failed, self.begun));
        }
        all
    }
}

/// Has them speak once each.
pub(super) fn sources(
    options: &AttackOptions,
    server: &Server,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<SourceFigures, Error> {
    let mut gun = Gun::deaf(options.remote()?)?;
    let mut pacer = Pacer::new(options.flood_rate);
    let mut watch = Watch::new(options, server, options.sources);
    let mut number = 0;
    while number < options.sources && !stop.load(Ordering::Relaxed) {
        let due = pacer.take(BURST.min((options.sources - number).into()));
        for _ in 0..due {
            flood::send(&mut gun, &options.run.roster, Method::Register, number);
            number += 1;
        }
        gun.flush();
        watch.look(number);
        if let Some(second) = watch.second(&pacer) {
            progress(&format!("{second:>4} s  {number} sources"));
        }
        if due == 0 {
            gun.wait(pacer.pause(1));
        }
    }
    let milliseconds = pacer.elapsed() / (SECOND / 1000);
    settle(&mut gun);
    let answered = gun.answered();
    Ok(SourceFigures { sources: gun.sent, answered, milliseconds, memory: watch.end() })
}

/// Has them fail once each, every second one with an account that is not there.
pub(super) fn failures(
    options: &AttackOptions,
    server: &Server,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<FailureFigures, Error> {
    let mut gun = Gun::new(options.remote()?)?;
    let before = server.metrics()?;
    let mut pacer = Pacer::new(options.flood_rate);
    let mut watch = Watch::new(options, server, options.failures);
    let mut failing = Failing::new(options);
    while !stop.load(Ordering::Relaxed) && !failing.is_over() {
        let now = pacer.elapsed();
        let mut worked = gun.receive(|_, datagram| failing.read(datagram));
        worked |= failing.answer(&mut gun, now);
        let due = pacer.take(BURST);
        worked |= failing.begin(&mut gun, due, now);
        failing.try_again(&mut gun, now);
        gun.flush();
        watch.look(failing.next);
        if let Some(second) = watch.second(&pacer) {
            progress(&format!("{second:>4} s  {} failures", failing.figures.failed));
        }
        if !worked {
            gun.wait(pacer.pause(1).max(SECOND / 10_000));
        }
    }
    let mut figures = failing.figures;
    figures.begun = failing.next.into();
    figures.milliseconds = pacer.elapsed() / (SECOND / 1000);
    figures.memory = watch.end();
    if let (Some(before), Some(after)) = (before, server.metrics()?) {
        let count = |name: &str| after.since(&before, name);
        let sum = count("aorta_bad_password_total") + count("aorta_unknown_account_total");
        figures.counted_by_server = Some(sum);
    }
    Ok(figures)
}

/// A source that is about to fail.
#[derive(Clone, Copy)]
struct Attempt {
    number: u32,
    /// Times it has begun.
    tries: u8,
    sent_at: Nanos,
}

/// Sources that are about to fail: each has a place by its number, so many at a time.
struct Failing<'a> {
    options: &'a AttackOptions,
    places: Vec<Option<Attempt>>,
    /// Whoever comes next.
    next: u32,
    under_way: u32,
    /// Challenges that have come and are to be failed.
    heard: Vec<(u32, Vec<u8>)>,
    figures: FailureFigures,
    looked_at: Nanos,
}

impl<'a> Failing<'a> {
    fn new(options: &'a AttackOptions) -> Failing<'a> {
        Failing {
            options,
            places: vec![None; UNDER_WAY_MAX as usize],
            next: 0,
            under_way: 0,
            heard: Vec::with_capacity(256),
            figures: FailureFigures {
                begun: 0,
                challenged: 0,
                failed: 0,
                unknown: 0,
                counted_by_server: None,
                milliseconds: 0,
                memory: Memory::default(),
            },
            looked_at: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.options.failures && self.under_way == 0
    }

    /// Takes an answer.
    fn read(&mut self, datagram: &[u8]) {
        let Ok(answer) = Answer::scan(datagram) else { return };
        let Some(number) = number_of(answer.call_id, CALL) else { return };
        let place = &mut self.places[(number % UNDER_WAY_MAX) as usize];
        if place.is_none_or(|attempt| attempt.number != number) {
            return;
        }
        let challenge = answer.challenges().map(|(value, _)| value).next();
        match (answer.status, answer.cseq, challenge) {
            (401 | 407, 1, Some(challenge)) => {
                self.figures.challenged += 1;
                self.heard.push((number, challenge.to_owned()));
            }
            (300..=699, 2, _) => {
                self.figures.failed += 1;
                self.figures.unknown += u64::from(is_unknown(number));
                *place = None;
                self.under_way -= 1;
            }
            _ => {}
        }
    }

    /// Answers what has been heard, wrongly.
    fn answer(&mut self, gun: &mut Gun, now: Nanos) -> bool {
        for (number, challenge) in &self.heard {
            if let Some(challenge) = Challenge::parse(challenge) {
                let credentials = Credentials { challenge, count: 1, password: b"wrong" };
                send(gun, self.options, *number, Some(credentials));
                if let Some(attempt) = &mut self.places[(number % UNDER_WAY_MAX) as usize] {
                    attempt.sent_at = now;
                }
            }
        }
        let worked = !self.heard.is_empty();
        self.heard.clear();
        worked
    }

    /// Lets others begin, as far as there is room.
    fn begin(&mut self, gun: &mut Gun, due: u64, now: Nanos) -> bool {
        let mut worked = false;
        for _ in 0..due {
            let place = &mut self.places[(self.next % UNDER_WAY_MAX) as usize];
            if self.next == self.options.failures || place.is_some() {
                break;
            }
            *place = Some(Attempt { number: self.next, tries: 1, sent_at: now });
            send(gun, self.options, self.next, None);
            self.next += 1;
            self.under_way += 1;
            worked = true;
        }
        worked
    }

    /// Lets those begin again that have not been answered for long, and go that have not been at
    /// all.
    fn try_again(&mut self, gun: &mut Gun, now: Nanos) {
        if now < self.looked_at + PATIENCE / 4 {
            return;
        }
        self.looked_at = now;
        for place in &mut self.places {
            let Some(attempt) = place.as_mut().filter(|one| one.sent_at + PATIENCE <= now) else {
                continue;
            };
            if attempt.tries == TRIES_MAX {
                *place = None;
                self.under_way -= 1;
                continue;
            }
            (attempt.tries, attempt.sent_at) = (attempt.tries + 1, now);
            send(gun, self.options, attempt.number, None);
        }
    }
}

fn is_unknown(number: u32) -> bool {
    number % 2 == 1
}

/// Sends a request of one of those who fail.
fn send(gun: &mut Gun, options: &AttackOptions, number: u32, credentials: Option<Credentials<'_>>) {
    let roster = &options.run.roster;
    // In no order, so that it is no walk.
    let account = number.wrapping_mul(0x9e37_79b1) % roster.len();
    let unknown = format!("nobody{}x", number.wrapping_mul(0x9e37_79b1));
    let user = if is_unknown(number) { unknown.as_bytes() } else { roster.user(account) };
    let request = Forged {
        method: Method::Register,
        domain: domain(roster, account),
        user,
        agent: b"Linphone/5.2",
        from: None,
        call: CALL,
        number,
        cseq: if credentials.is_some() { 2 } else { 1 },
        credentials,
    };
    gun.send(failing(number), |room| request.write(room));
}

/// Waits for the last answers.
fn settle(gun: &mut Gun) {
    let pause = Pacer::new(1.0);
    while pause.elapsed() < LINGER {
        gun.wait(LINGER / 100);
        gun.receive(|_, _| ());
    }
}

/// Looks at the server's memory after a tenth of so many, and tells seconds.
struct Watch<'a> {
    server: &'a Server,
    early_at: u32,
    memory: Memory,
    told: Nanos,
}

impl<'a> Watch<'a> {
    fn new(options: &AttackOptions, server: &'a Server, count: u32) -> Watch<'a> {
        let memory = Memory { growth_max: options.growth_max, ..Memory::default() };
        Watch { server, early_at: count.div_ceil(10), memory, told: 0 }
    }

    fn look(&mut self, number: u32) {
        if self.memory.early == 0 && number >= self.early_at {
            self.memory.early = self.server.resident().unwrap_or(0);
            if self.memory.early == 0 {
                self.early_at = u32::MAX;
            }
        }
    }

    fn second(&mut self, pacer: &Pacer) -> Option<u64> {
        let second = pacer.elapsed() / SECOND;
        (second > self.told).then(|| {
            self.told = second;
            second
        })
    }

    fn end(mut self) -> Memory {
        self.memory.end = self.server.resident().unwrap_or(0);
        self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_is_told_and_memory_that_is_not_known_is_not() {
        let memory = Memory { early: 100, end: 160, growth_max: 50 };
        assert!(memory.failure("sources").unwrap().contains("60 bytes with sources"));
        assert_eq!(Memory { growth_max: 60, ..memory }.failure("sources"), None);
        assert_eq!(Memory { early: 0, ..memory }.failure("sources"), None);
    }
}
