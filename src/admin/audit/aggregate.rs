//! Refusals in numbers: who guesses passwords, or asks for what is not theirs, must not be able to
//! fill the disk with it, nor push out what operators did.
//!
//! The first of a kind from a source is written at once, what follows is counted and written as one
//! line when the window ends. Of more kinds and sources than fit, one line says how many they were.

use std::collections::HashMap;
use std::net::IpAddr;

use super::action::Verb;
use crate::flow::network;

/// How long refusals are counted, seconds.
pub(super) const WINDOW_S: u64 = 600;
/// Kinds and sources of one window.
const KEYS_MAX: usize = 16;

/// What is counted together: what was asked for, and from which network.
pub(super) type Key = (Verb, IpAddr);

/// The refusals of one window.
#[derive(Default)]
pub(super) struct Refusals {
    began_s: Option<u64>,
    seen: HashMap<Key, u64>,
    others: u64,
}

/// What is to be written at the end of a window.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// More of what was written already.
    pub more: Vec<(Key, u64)>,
    /// Of everything that did not fit.
    pub others: u64,
}

impl Refusals {
    /// Counts one. Whether it is to be written itself.
    pub fn count(&mut self, now_s: u64, verb: Verb, source: IpAddr) -> bool {
        self.began_s.get_or_insert(now_s);
        let key = (verb, network(source).trunc().addr());
        if let Some(more) = self.seen.get_mut(&key) {
            *more += 1;
            return false;
        }
        if self.seen.len() >= KEYS_MAX {
            self.others += 1;
            return false;
        }
        self.seen.insert(key, 0);
        true
    }

    /// What there is to write, once the window is over, or at once.
    pub fn take(&mut self, now_s: u64, at_once: bool) -> Option<Counted> {
        let began_s = self.began_s?;
        // A clock that was set back does not keep a window open.
        let over = now_s < began_s || now_s - began_s >= WINDOW_S;
        if !over && !at_once {
            return None;
        }
        self.began_s = None;
        let mut more: Vec<_> = self.seen.drain().filter(|(_, more)| *more > 0).collect();
        more.sort_by_key(|((verb, source), _)| (verb.name(), *source));
        let counted = Counted { more, others: std::mem::take(&mut self.others) };
        (counted != Counted::default()).then_some(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u16) -> IpAddr {
        IpAddr::from([192, 0, (last >> 8) as u8, last as u8])
    }

    #[test]
    fn the_first_of_a_source_is_written_and_the_rest_counted() {
        let mut refusals = Refusals::default();
        assert!(refusals.count(100, Verb::Login, ip(1)));
        assert!(refusals.count(100, Verb::RoleRefused, ip(1)));
        for _ in 0..1000 {
            assert!(!refusals.count(101, Verb::Login, ip(1)));
        }
        assert_eq!(refusals.take(100 + WINDOW_S - 1, false), None);
        let counted = refusals.take(100 + WINDOW_S, false).unwrap();
        assert_eq!(counted.more, [((Verb::Login, ip(1)), 1000)]);
        assert_eq!(refusals.take(10_000, true), None);
        assert!(refusals.count(2000, Verb::Login, ip(1)), "the next window has its own first");
    }

    #[test]
    fn however_many_sources_there_are_a_window_has_few_lines() {
        let mut refusals = Refusals::default();
        let written = (0..10_000).filter(|n| refusals.count(5, Verb::Login, ip(*n))).count();
        assert_eq!(written, KEYS_MAX);
        let counted = refusals.take(5, true).unwrap();
        assert_eq!((counted.more.len(), counted.others), (0, 10_000 - KEYS_MAX as u64));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut refusals = Refusals::default();
        assert!(refusals.count(5, Verb::Login, "2001:db8::1".parse().unwrap()));
        assert!(!refusals.count(5, Verb::Login, "2001:db8::2".parse().unwrap()));
    }
}
