//! Which addresses the shards have been told of lately, so that whoever sends much, or has ICMP
//! errors sent, does not fill the rings. Bounded: a table that forgets, and a budget.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Instant;

/// Addresses remembered. Those that share a place push each other out, and are told of more often.
const PLACES: usize = 8192;
/// The span of a budget.
const BUDGET_SPAN: Duration = Duration::from_millis(100);

/// What is to be done about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The shards are told.
    Tell,
    /// They know.
    Known,
    /// There are too many: nobody is told.
    TooMany,
}

/// The addresses told of.
pub(super) struct Told {
    /// The hash of an address, and until when it is known. By the hash's low bits.
    places: Box<[(u64, Instant)]>,
    hasher: RandomState,
    quiet: Duration,
    budget: u32,
    left: u32,
    renewed_at: Instant,
}

impl Told {
    /// Each address is told of once in `quiet`, and no more than `per_second` of them together.
    #[allow(clippy::disallowed_methods, reason = "nobody may choose addresses that share a place")]
    pub(super) fn new(quiet: Duration, per_second: u32) -> Told {
        let spans = (Duration::from_secs(1).as_millis() / BUDGET_SPAN.as_millis()) as u32;
        let budget = per_second / spans;
        Told {
            places: vec![(0, Instant::ZERO); PLACES].into_boxed_slice(),
            hasher: RandomState::new(),
            quiet,
            budget,
            left: budget,
            renewed_at: Instant::ZERO,
        }
    }

    /// Whether the shards are to be told of `address`; they are taken to have been, then.
    pub(super) fn admit(&mut self, now: Instant, address: SocketAddr) -> Verdict {
        let hash = self.hasher.hash_one(address);
        let place = &mut self.places[hash as usize % PLACES];
        if place.0 == hash && now < place.1 {
            return Verdict::Known;
        }
        if now >= self.renewed_at + BUDGET_SPAN {
            self.renewed_at = now;
            self.left = self.budget;
        }
        if self.left == 0 {
            return Verdict::TooMany;
        }
        self.left -= 1;
        *place = (hash, now + self.quiet);
        Verdict::Tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    #[test]
    fn an_address_is_told_of_once_in_the_quiet_time() {
        let mut told = Told::new(Duration::from_secs(8), 1000);
        let at = |s: u64| Instant::from_secs(100 + s);
        assert_eq!(told.admit(at(0), address(1)), Verdict::Tell);
        assert_eq!(told.admit(at(0), address(1)), Verdict::Known);
        assert_eq!(told.admit(at(7), address(1)), Verdict::Known);
        assert_eq!(told.admit(at(7), address(2)), Verdict::Tell);
        assert_eq!(told.admit(at(8), address(1)), Verdict::Tell);
        assert_eq!(told.admit(at(9), address(1)), Verdict::Known);
    }

    #[test]
    fn more_addresses_than_the_budget_are_passed_over_until_it_is_renewed() {
        let mut told = Told::new(Duration::from_secs(8), 1000);
        let now = Instant::from_secs(100);
        let mut verdicts = |now, ports: std::ops::Range<u16>| {
            let verdicts = ports.map(|port| told.admit(now, address(port)));
            verdicts.filter(|&verdict| verdict == Verdict::Tell).count()
        };
        assert_eq!(verdicts(now, 0..500), 100);
        assert_eq!(verdicts(now + Duration::from_millis(99), 500..600), 0);
        // Those that were passed over are not taken for told.
        assert_eq!(verdicts(now + BUDGET_SPAN, 400..500), 100);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_forgets_old_ones() {
        let mut told = Told::new(Duration::from_secs(8), u32::MAX);
        let now = Instant::from_secs(100);
        for port in 0..=u16::MAX {
            assert_eq!(told.admit(now, address(port)), Verdict::Tell);
        }
        assert_eq!(told.places.len(), PLACES);
        let known = (0..=u16::MAX).filter(|&port| told.admit(now, address(port)) == Verdict::Known);
        assert!(known.count() < PLACES);
    }
}
