//! Accounts that an operator has suspended: whatever source they come from, for a time or until it
//! is lifted. Nothing that anybody sends leads to one, so there is no secret about them; what
//! follows from wrong passwords is [`suspension`](crate::auth::suspension)'s. They end with the
//! process.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use crate::auth::accounts::AorKey;
use crate::limits::BARRED_MAX;
use crate::time::Instant;

/// How an account is suspended by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// When it ends by itself; `None`: not before it is lifted.
    pub until: Option<Instant>,
    /// Why, as the operator said.
    pub reason: Box<str>,
}

/// There is no room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Those of one shard.
#[derive(Debug, Default)]
pub struct Barred {
    accounts: BTreeMap<u64, Bar>,
    /// When the first ends that ends by itself.
    first: Option<Instant>,
}

impl Barred {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is none: all that most requests cost.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether an account is.
    #[inline]
    #[must_use]
    pub fn has(&self, AorKey(aor): AorKey) -> bool {
        !self.accounts.is_empty() && self.accounts.contains_key(&aor)
    }

    /// Suspends an account for so many seconds, or until it is lifted, whatever it was before.
    ///
    /// # Errors
    /// [`Full`]
    pub fn add(
        &mut self,
        now: Instant,
        AorKey(aor): AorKey,
        for_s: Option<u32>,
        reason: &str,
    ) -> Result<(), Full> {
        if self.accounts.len() >= BARRED_MAX && !self.accounts.contains_key(&aor) {
            return Err(Full);
        }
        let until = for_s.map(|seconds| now + Duration::from_secs(seconds.into()));
        self.accounts.insert(aor, Bar { until, reason: reason.into() });
        self.first = [self.first, until].into_iter().flatten().min();
        Ok(())
    }

    /// Lifts it. Returns whether there was one.
    pub fn lift(&mut self, AorKey(aor): AorKey) -> bool {
        self.accounts.remove(&aor).is_some()
    }

    /// When [`Barred::end_elapsed`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.first
    }

    /// Ends those whose time is over, and says how many that were.
    pub fn end_elapsed(&mut self, now: Instant) -> usize {
        let before = self.accounts.len();
        self.accounts.retain(|_, bar| bar.until.is_none_or(|until| until > now));
        self.first = self.accounts.values().filter_map(|bar| bar.until).min();
        before - self.accounts.len()
    }

    /// Those behind an account, in a fixed order.
    pub fn list(&self, after: Option<AorKey>) -> impl Iterator<Item = (AorKey, &Bar)> {
        let from = after.map_or(Unbounded, |AorKey(aor)| Excluded(aor));
        self.accounts.range((from, Unbounded)).map(|(&aor, bar)| (AorKey(aor), bar))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_ends_with_its_time_or_when_it_is_lifted() {
        let mut barred = Barred::default();
        let at = Instant::from_secs;
        barred.add(at(10), AorKey(1), Some(60), "").unwrap();
        barred.add(at(10), AorKey(2), None, "fraud").unwrap();
        barred.add(at(10), AorKey(3), Some(30), "").unwrap();
        assert_eq!(barred.next_deadline(), Some(at(40)));
        assert_eq!((barred.end_elapsed(at(39)), barred.len()), (0, 3));
        assert_eq!(barred.end_elapsed(at(40)), 1);
        assert!(barred.has(AorKey(1)) && barred.has(AorKey(2)) && !barred.has(AorKey(3)));
        assert!(barred.lift(AorKey(1)) && !barred.lift(AorKey(1)));
        assert_eq!(barred.end_elapsed(at(1000)), 0);
        assert_eq!(barred.next_deadline(), None);
        let listed: Vec<_> = barred.list(None).collect();
        assert_eq!(listed, [(AorKey(2), &Bar { until: None, reason: "fraud".into() })]);
        assert_eq!(barred.list(Some(AorKey(2))).count(), 0);
    }

    #[test]
    fn there_is_room_for_so_many_and_those_that_are_there_can_be_changed() {
        let mut barred = Barred::default();
        for aor in 0..BARRED_MAX as u64 {
            barred.add(Instant::ZERO, AorKey(aor), None, "").unwrap();
        }
        assert_eq!(barred.add(Instant::ZERO, AorKey(u64::MAX), None, ""), Err(Full));
        assert_eq!(barred.add(Instant::ZERO, AorKey(7), Some(1), ""), Ok(()));
        assert_eq!(barred.next_deadline(), Some(Instant::from_secs(1)));
    }
}
