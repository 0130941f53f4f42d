//! Who has guessed too often waits: by name and source together, so that nobody is kept out of an
//! account from elsewhere; and by source alone, for whoever tries one name after the other. Whoever
//! came in from there before does not wait for what others behind the same address try.
//!
//! The wait doubles with each failure past the limit. An attempt counts as a failure from its
//! beginning: many at once are no way around it.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::flow::network;

/// Pairs and sources that are remembered; over it the one that failed longest ago is forgotten.
const REMEMBERED_MAX: usize = 4096;
/// Failures of one source with whatever names, for each that one name may have.
const SOURCE_FACTOR: u32 = 4;
/// The first wait, seconds.
const WAIT_FIRST_S: u64 = 15;
/// The longest.
const WAIT_MAX_S: u64 = 3600;
/// After so long without a failure they are forgotten, seconds.
const FORGOTTEN_S: u64 = 2 * WAIT_MAX_S;
/// Longest name that is told apart from others, bytes.
const NAME_BYTES_MAX: usize = 64;

/// A name and the network it was tried from; no name stands for all of them.
type Key = (Option<Box<str>>, IpAddr);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_s: u64,
    /// Nothing is tried before.
    until_s: u64,
}

/// Pairs that came in, of which so many are remembered.
const KNOWN_MAX: usize = 1024;

/// What has failed, and who has come in from where.
#[derive(Default)]
pub(super) struct Lockout {
    failures: HashMap<Key, Failures>,
    /// With when that was.
    known: HashMap<Key, u64>,
}

impl Lockout {
    /// Begins an attempt. An error is how long to wait, seconds; nothing was tried then.
    pub fn begin(
        &mut self,
        now_s: u64,
        name: &str,
        source: IpAddr,
        failures_max: u32,
    ) -> Result<(), u64> {
        let keys = keys(name, source);
        let is_known = self.known.contains_key(&keys[0]);
        let judged = if is_known { &keys[..1] } else { &keys[..] };
        let waits = judged.iter().filter_map(|key| self.failures.get(key));
        if let Some(until) = waits.map(|one| one.until_s).filter(|&until| until > now_s).max() {
            // A clock that was set back makes nobody wait longer than the longest wait.
            return Err((until - now_s).min(WAIT_MAX_S));
        }
        let [pair, alone] = keys;
        self.add(now_s, pair, failures_max);
        if !is_known {
            self.add(now_s, alone, failures_max.saturating_mul(SOURCE_FACTOR));
        }
        Ok(())
    }

    /// The attempt was none that failed: what the pair has failed before is forgotten, and of the
    /// source this one.
    pub fn succeeded(&mut self, now_s: u64, name: &str, source: IpAddr) {
        let [pair, alone] = keys(name, source);
        self.failures.remove(&pair);
        if !self.known.contains_key(&pair) {
            self.take_back(&alone);
            if self.known.len() >= KNOWN_MAX {
                let oldest = self.known.iter().min_by_key(|(_, at)| **at);
                if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                    self.known.remove(&key);
                }
            }
        }
        self.known.insert(pair, now_s);
    }

    /// It came to no answer.
    pub fn not_tried(&mut self, name: &str, source: IpAddr) {
        let [pair, alone] = keys(name, source);
        self.take_back(&pair);
        if !self.known.contains_key(&pair) {
            self.take_back(&alone);
        }
    }

    fn take_back(&mut self, key: &Key) {
        if let Some(failures) = self.failures.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
            failures.until_s = 0;
            if failures.count == 0 {
                self.failures.remove(key);
            }
        }
    }

    fn add(&mut self, now_s: u64, key: Key, max: u32) {
        if !self.failures.contains_key(&key) && self.failures.len() >= REMEMBERED_MAX {
            self.make_room(now_s);
        }
        let fresh = Failures { count: 0, last_s: now_s, until_s: 0 };
        let failures = self.failures.entry(key).or_insert(fresh);
        if now_s.saturating_sub(failures.last_s) > FORGOTTEN_S {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last_s = now_s;
        if failures.count >= max {
            let doubled = (failures.count - max).min(16);
            failures.until_s = now_s + (WAIT_FIRST_S << doubled).min(WAIT_MAX_S);
        }
    }

    fn make_room(&mut self, now_s: u64) {
        self.failures.retain(|_, one| now_s.saturating_sub(one.last_s) <= FORGOTTEN_S);
        if self.failures.len() >= REMEMBERED_MAX {
            let oldest = self.failures.iter().min_by_key(|(_, one)| one.last_s);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.failures.remove(&key);
            }
        }
    }
}

fn keys(name: &str, source: IpAddr) -> [Key; 2] {
    let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
    let source = network(source).trunc().addr();
    [(Some(name.to_lowercase().into()), source), (None, source)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 5;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_wait_grows_and_holds_for_that_name_from_that_source_alone() {
        let (mut lockout, here) = (Lockout::default(), ip("192.0.2.1"));
        let mut now = 1000;
        for _ in 0..MAX {
            assert_eq!(lockout.begin(now, "alice", here, MAX), Ok(()));
        }
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = lockout.begin(now, "Alice", here, MAX).expect_err("it waits");
            waits.push(wait);
            assert_eq!(lockout.begin(now + wait - 1, "alice", here, MAX), Err(1));
            now += wait;
            assert_eq!(lockout.begin(now, "alice", here, MAX), Ok(()));
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(lockout.begin(now, "alice", ip("192.0.2.2"), MAX), Ok(()), "from elsewhere");
        now += FORGOTTEN_S + 1;
        for _ in 0..MAX {
            assert_eq!(lockout.begin(now, "alice", here, MAX), Ok(()), "it is forgotten");
        }
    }

    #[test]
    fn one_source_that_tries_many_names_waits_as_well() {
        let (mut lockout, here) = (Lockout::default(), ip("2001:db8::1"));
        let tried = (0..100).take_while(|n| {
            let source = ip(&format!("2001:db8::{n}"));
            lockout.begin(5, &format!("name{n}"), source, MAX).is_ok()
        });
        assert_eq!(tried.count() as u32, MAX * SOURCE_FACTOR);
        assert!(lockout.begin(5, "alice", here, MAX).is_err());
    }

    #[test]
    fn who_knows_the_password_does_not_wait_the_next_time() {
        let (mut lockout, here) = (Lockout::default(), ip("192.0.2.1"));
        for _ in 0..100 {
            for _ in 0..MAX - 1 {
                lockout.begin(5, "alice", here, MAX).unwrap();
                lockout.not_tried("alice", here);
            }
            lockout.begin(5, "alice", here, MAX).unwrap();
            lockout.succeeded(5, "alice", here);
        }
        assert!(lockout.failures.is_empty());
    }

    #[test]
    fn who_came_in_before_does_not_wait_for_what_others_behind_the_same_address_try() {
        let (mut lockout, here) = (Lockout::default(), ip("192.0.2.1"));
        lockout.begin(5, "alice", here, MAX).unwrap();
        lockout.succeeded(5, "alice", here);
        for n in 0..1000 {
            let _ = lockout.begin(6, &format!("name{n}"), here, MAX);
        }
        assert!(lockout.begin(6, "bob", here, MAX).is_err());
        assert_eq!(lockout.begin(6, "alice", here, MAX), Ok(()));
        for _ in 1..MAX {
            lockout.begin(6, "alice", here, MAX).unwrap();
        }
        assert!(lockout.begin(6, "alice", here, MAX).is_err(), "the own name waits all the same");
        for n in 0..3 * KNOWN_MAX as u64 {
            lockout.succeeded(n, &format!("name{n}"), here);
        }
        assert_eq!(lockout.known.len(), KNOWN_MAX);
    }

    #[test]
    fn what_is_remembered_has_its_limit() {
        let mut lockout = Lockout::default();
        for n in 0..20_000u32 {
            let [_, a, b, c] = n.to_be_bytes();
            let _ = lockout.begin(n.into(), &"x".repeat(500), IpAddr::from([10, a, b, c]), MAX);
        }
        assert!(lockout.failures.len() <= REMEMBERED_MAX);
        assert!(lockout.failures.keys().flat_map(|key| &key.0).all(|name| name.len() <= 64));
    }
}
