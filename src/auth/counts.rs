//! Which nonce counts an account has used, so that no credentials are accepted twice
//! (RFC 7616 3.4, `nc`).
//!
//! An account remembers a few nonces: several devices, each with its own, and those of phones that
//! ask for a new one each time. One stands in the account itself. When the set is full the nonce
//! issued first is forgotten and the floor is raised to it: what was issued no later than the
//! floor and is not in the set is never accepted again, it is answered as stale. Since nonces of
//! one minting shard are in order, the floor never rises above a nonce that is still to come.
//!
//! Whoever calls has checked the digest: nothing moves for anybody who does not know the password.

use crate::auth::nonce::NonceId;
use crate::limits::CLOCK_SKEW_S_MAX;
use crate::time::UnixTime;

/// Nonce counts below the highest that may still arrive, once each: datagrams overtake each other.
const WINDOW: u32 = 32;

/// What became of a nonce count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Not used before; it is now.
    New,
    /// Used before, or so far behind the highest that nobody knows.
    Replayed,
    /// The nonce itself has been forgotten: the phone needs another.
    Forgotten,
}

/// The nonces that may stand beside each other: twice the limit of bindings, four at least.
#[must_use]
pub fn capacity(bindings_max: u8) -> usize {
    (usize::from(bindings_max) * 2).max(4)
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    id: NonceId,
    highest: u32,
    /// Bit n: `highest - n` is used. Bit 0 is always set, so zero marks a free place.
    seen: u32,
}

impl Entry {
    fn first(id: NonceId, nc: u32) -> Entry {
        Entry { id, highest: nc, seen: 1 }
    }

    fn count(&mut self, nc: u32) -> Counted {
        if nc > self.highest {
            let ahead = nc - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = nc;
            return Counted::New;
        }
        let behind = self.highest - nc;
        if behind >= WINDOW || self.seen & 1 << behind != 0 {
            return Counted::Replayed;
        }
        self.seen |= 1 << behind;
        Counted::New
    }
}

/// The nonce counts of one account: 32 bytes, and 16 more for each nonce after the first.
#[derive(Debug, Default)]
pub struct Counts {
    first: Entry,
    floor: NonceId,
    more: Option<Box<More>>,
}

/// Boxed because few accounts have more than one nonce at a time.
#[derive(Debug, Default)]
struct More(Vec<Entry>);

impl Counts {
    /// Uses count `nc` of nonce `id`, which was judged fresh at `now`. The set holds up to
    /// `capacity` nonces (one at least), none past its lifetime.
    pub fn count(
        &mut self,
        id: NonceId,
        nc: u32,
        now: UnixTime,
        lifetime_s: u32,
        capacity: usize,
    ) -> Counted {
        if let Some(entry) = self.entries_mut().find(|entry| entry.id == id) {
            return entry.count(nc);
        }
        self.forget_future(now);
        if id <= self.floor {
            return Counted::Forgotten;
        }
        self.forget_expired(now, lifetime_s);
        while self.len() >= capacity.max(1) {
            let oldest = self.oldest();
            if id < oldest {
                return Counted::Forgotten;
            }
            self.forget(oldest);
        }
        self.remember(Entry::first(id, nc));
        Counted::New
    }

    /// Nonces remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.first.seen != 0) + self.more.as_ref().map_or(0, |more| more.0.len())
    }

    /// Whether no nonce is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let more = self.more.iter_mut().flat_map(|more| more.0.iter_mut());
        std::iter::once(&mut self.first).filter(|entry| entry.seen != 0).chain(more)
    }

    fn remember(&mut self, entry: Entry) {
        if self.first.seen == 0 {
            self.first = entry;
        } else {
            let more = &mut self.more.get_or_insert_default().0;
            // Rarely more than a handful: grow as needed, not by doubling.
            if more.len() == more.capacity() {
                more.reserve_exact(4);
            }
            more.push(entry);
        }
    }

    fn retain(&mut self, keep: impl Fn(NonceId) -> bool) {
        if self.first.seen != 0 && !keep(self.first.id) {
            self.first = Entry::default();
        }
        if let Some(more) = &mut self.more {
            more.0.retain(|entry| keep(entry.id));
            if more.0.is_empty() {
                self.more = None;
            }
        }
    }

    fn oldest(&mut self) -> NonceId {
        self.entries_mut().map(|entry| entry.id).min().unwrap_or_default()
    }

    fn forget(&mut self, id: NonceId) {
        self.floor = self.floor.max(id);
        if self.first.id == id {
            self.first = Entry::default();
        } else if let Some(more) = &mut self.more {
            // The box stays: its place is taken at once.
            more.0.retain(|entry| entry.id != id);
        }
    }

    /// The floor rises past expired nonces too, lest a longer lifetime bring them back.
    fn forget_expired(&mut self, now: UnixTime, lifetime_s: u32) {
        let alive = NonceId::first_of(UnixTime(now.0.saturating_sub(u64::from(lifetime_s))));
        let expired = self.entries_mut().map(|entry| entry.id).filter(|id| *id < alive).max();
        if let Some(newest) = expired {
            self.floor = self.floor.max(newest);
            self.retain(|id| id >= alive);
        }
    }

    /// After the clock was put back, what was issued before that lies in the future and is not
    /// accepted anyway; a floor up there would shut the account's owner out until then.
    fn forget_future(&mut self, now: UnixTime) {
        let horizon = now.0.saturating_add(u64::from(CLOCK_SKEW_S_MAX));
        if self.floor.issued().0 > horizon {
            self.floor = NonceId::default();
            self.retain(|id| id.issued().0 <= horizon);
        }
    }
}

const _: () = assert!(size_of::<Counts>() == 32);
const _: () = assert!(WINDOW == u32::BITS);

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_790_000_000);
    const LIFETIME: u32 = 3600;
    const CAPACITY: usize = 4;

    fn id_at(second: u64) -> NonceId {
        NonceId::first_of(UnixTime(NOW.0 + second))
    }

    fn count(counts: &mut Counts, id: NonceId, nc: u32) -> Counted {
        counts.count(id, nc, id.issued(), LIFETIME, CAPACITY)
    }

    #[test]
    fn each_count_is_accepted_once() {
        let (mut counts, id) = (Counts::default(), id_at(0));
        assert_eq!(count(&mut counts, id, 1), Counted::New);
        assert_eq!(count(&mut counts, id, 1), Counted::Replayed);
        assert_eq!(count(&mut counts, id, 2), Counted::New);
        assert_eq!(count(&mut counts, id, 2), Counted::Replayed);
    }

    #[test]
    fn reordered_counts_are_accepted_once_within_the_window() {
        let (mut counts, id) = (Counts::default(), id_at(0));
        assert_eq!(count(&mut counts, id, 40), Counted::New);
        assert_eq!(count(&mut counts, id, 9), Counted::New);
        assert_eq!(count(&mut counts, id, 9), Counted::Replayed);
        assert_eq!(count(&mut counts, id, 8), Counted::Replayed);
        assert_eq!(count(&mut counts, id, 39), Counted::New);
        assert_eq!(count(&mut counts, id, 41), Counted::New);
        assert_eq!(count(&mut counts, id, 10), Counted::New);
        assert_eq!(count(&mut counts, id, 9), Counted::Replayed);
    }

    #[test]
    fn a_leap_to_the_last_count_ends_the_nonce_not_the_account() {
        let mut counts = Counts::default();
        assert_eq!(count(&mut counts, id_at(0), u32::MAX), Counted::New);
        assert_eq!(count(&mut counts, id_at(0), u32::MAX), Counted::Replayed);
        assert_eq!(count(&mut counts, id_at(0), 1), Counted::Replayed);
        assert_eq!(count(&mut counts, id_at(1), 1), Counted::New);
    }

    #[test]
    fn several_devices_count_apart() {
        let mut counts = Counts::default();
        for nc in 1..10 {
            for device in 0..CAPACITY as u64 {
                assert_eq!(count(&mut counts, id_at(device), nc), Counted::New);
            }
        }
    }

    #[test]
    fn evicted_nonce_is_forgotten_never_replayed() {
        let mut counts = Counts::default();
        for second in 0..=CAPACITY as u64 {
            assert_eq!(count(&mut counts, id_at(second), 1), Counted::New);
        }
        assert_eq!(counts.len(), CAPACITY);
        assert_eq!(count(&mut counts, id_at(0), 1), Counted::Forgotten);
        assert_eq!(count(&mut counts, id_at(0), 2), Counted::Forgotten);
        assert_eq!(count(&mut counts, id_at(1), 2), Counted::New);
    }

    #[test]
    fn a_new_nonce_each_time_is_always_welcome() {
        let mut counts = Counts::default();
        for second in 0..10_000 {
            assert_eq!(count(&mut counts, id_at(second), 1), Counted::New);
            assert!(counts.len() <= CAPACITY);
        }
    }

    #[test]
    fn nonces_past_their_lifetime_make_room_and_stay_unusable() {
        let mut counts = Counts::default();
        for second in 0..3 {
            count(&mut counts, id_at(second), 1);
        }
        let late = id_at(u64::from(LIFETIME) + 100);
        assert_eq!(count(&mut counts, late, 1), Counted::New);
        assert_eq!(counts.len(), 1);
        let longer = counts.count(id_at(2), 2, late.issued(), LIFETIME * 2, CAPACITY);
        assert_eq!(longer, Counted::Forgotten);
    }

    #[test]
    fn smaller_capacity_shrinks_the_set() {
        let mut counts = Counts::default();
        for second in 0..8 {
            assert_eq!(counts.count(id_at(second), 1, NOW, LIFETIME, 8), Counted::New);
        }
        assert_eq!(count(&mut counts, id_at(8), 1), Counted::New);
        assert_eq!(counts.len(), CAPACITY);
    }

    #[test]
    fn clock_put_back_does_not_shut_the_owner_out() {
        let mut counts = Counts::default();
        for second in 5000..5010 {
            assert_eq!(count(&mut counts, id_at(second), 1), Counted::New);
        }
        assert_eq!(count(&mut counts, id_at(0), 1), Counted::New);
        assert_eq!(count(&mut counts, id_at(0), 1), Counted::Replayed);
    }

    #[test]
    fn capacity_is_twice_the_limit_of_bindings_and_four_at_least() {
        assert_eq!((capacity(0), capacity(1), capacity(3), capacity(64)), (4, 4, 6, 128));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Against everything ever accepted: never the same twice, and never a refusal of a count
        /// above all others of its nonce while fewer than `CAPACITY` younger nonces are known.
        #[test]
        fn agrees_with_a_memory_of_everything(
            steps in prop::collection::vec((0_u64..12, 0_u32..70), 1..300),
        ) {
            let mut counts = Counts::default();
            let mut accepted = HashSet::new();
            let mut nonces = BTreeSet::new();
            for (second, nc) in steps {
                let id = id_at(second);
                let counted = counts.count(id, nc, NOW, LIFETIME, CAPACITY);
                prop_assert!(counts.len() <= CAPACITY);
                let younger = nonces.range(second + 1..).count();
                let highest = accepted.iter().filter(|(s, _)| *s == second).map(|(_, n)| *n).max();
                let known = accepted.contains(&(second, nc));
                let late = highest.is_some_and(|highest: u32| nc + WINDOW <= highest);
                if counted == Counted::New {
                    prop_assert!(!known, "{second} {nc} accepted twice");
                    accepted.insert((second, nc));
                    nonces.insert(second);
                } else if younger < CAPACITY {
                    prop_assert!(known || late, "{second} {nc} refused: {counted:?}");
                    prop_assert_eq!(counted, Counted::Replayed);
                }
            }
        }
    }
}
