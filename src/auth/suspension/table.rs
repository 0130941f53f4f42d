//! The memory behind suspensions: fixed, whatever anybody sends. Places stand in sets, and the
//! keyed hash of account and source says in which, so that nobody can choose whom he meets there.
//!
//! Half of each set is for accounts that exist and half for names that do not, so invented names
//! push out no real entry. The tags of both halves share one cache line: looking for either costs
//! the same.
//!
//! A newcomer always finds a place. It takes, in this order: a free one; that of a pair without a
//! failure for as long as a suspension lasts, which forgetting gives no more tries than suspending
//! would; that of the fewest failures, the oldest of those; that of the suspension which ends
//! first.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::table::Sparse;
use crate::time::Instant;

/// Places of one set for either kind.
const HALF: usize = 8;
const WAYS: usize = 2 * HALF;

/// Wrong answers of one pair that are known again.
const RECENT: usize = 8;

/// A place. Its number says which half it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) u32);

/// Account and source, and the hash of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub hash: u64,
    pub aor: u64,
    pub source: IpAddr,
}

/// What is remembered of a pair: one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Entry {
    pub aor: u64,
    /// When the suspension ends; zero while failures are only counted.
    pub until: Instant,
    pub failed_at: Instant,
    pub source: IpAddr,
    pub checks: u16,
    pub registers: u16,
    /// Keyed hashes of the last wrong answers, zero where there is none.
    recent: [u16; RECENT],
    next: u8,
    /// What suspended it, if it is suspended.
    pub by_registers: bool,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    const FREE: Entry = Entry {
        aor: 0,
        until: Instant::ZERO,
        failed_at: Instant::ZERO,
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        checks: 0,
        registers: 0,
        recent: [0; RECENT],
        next: 0,
        by_registers: false,
    };

    pub fn is_suspended(&self) -> bool {
        self.until > Instant::ZERO
    }

    /// Notes a wrong answer. False if it was noted before: it has been sent again.
    pub fn is_new(&mut self, answer: u64) -> bool {
        let answer = (answer as u16).max(1);
        if self.recent.contains(&answer) {
            return false;
        }
        self.recent[usize::from(self.next)] = answer;
        self.next = (self.next + 1) % RECENT as u8;
        true
    }

    /// Smaller is sooner given up.
    fn worth(&self, idle_before: Instant) -> (u8, u64, Instant) {
        match self.is_suspended() {
            true => (2, self.until.as_nanos(), self.until),
            false if self.failed_at < idle_before => (0, 0, self.failed_at),
            false => (1, u64::from(self.checks.max(self.registers)), self.failed_at),
        }
    }
}

/// Sixteen tags, zero where the place is free.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Tags([u32; WAYS]);

/// Entries of a chunk, in bits.
const ENTRY_BITS: u32 = 9;

/// All places. Nothing is allocated before the first failure; then tags for all, and entries where
/// somebody is.
pub(super) struct Table {
    sets: usize,
    tags: Vec<Tags>,
    entries: Sparse<Entry, ENTRY_BITS>,
    taken: usize,
}

impl Table {
    /// Room for about `pairs` of either kind.
    pub fn new(pairs: usize) -> Table {
        let sets = pairs.div_ceil(HALF).max(1);
        Table { sets, tags: Vec::new(), entries: Sparse::with_blank(Entry::FREE), taken: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Places there are of either kind.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.sets * HALF
    }

    /// Bytes held.
    pub fn bytes_held(&self) -> usize {
        self.tags.capacity() * size_of::<Tags>() + self.entries.bytes_held()
    }

    /// Whether a place is for accounts that exist.
    pub fn is_known(Place(place): Place) -> bool {
        (place as usize) % WAYS < HALF
    }

    pub fn at(&self, Place(place): Place) -> &Entry {
        &self.entries[place as usize]
    }

    pub fn at_mut(&mut self, Place(place): Place) -> &mut Entry {
        self.entries.put(place as usize)
    }

    fn set_of(&self, hash: u64) -> usize {
        ((hash & u64::from(u32::MAX)) as usize * self.sets) >> 32
    }

    fn tag_of(hash: u64) -> u32 {
        (hash >> 32) as u32 | 1
    }

    /// Where a pair is remembered, in whichever half: accounts come and go.
    pub fn find(&self, pair: &Pair) -> Option<Place> {
        let set = self.set_of(pair.hash);
        let tag = Table::tag_of(pair.hash);
        let Tags(tags) = self.tags.get(set)?;
        (0..WAYS).filter(|&way| tags[way] == tag).map(|way| set * WAYS + way).find_map(|place| {
            let entry = &self.entries[place];
            let same = entry.aor == pair.aor && entry.source == pair.source;
            same.then_some(Place(place as u32))
        })
    }

    /// A place for a pair that has none, and what was there, if that was somebody's suspension.
    /// `idle` is how long a pair is kept without a failure where room is short.
    pub fn take(
        &mut self,
        pair: &Pair,
        known: bool,
        now: Instant,
        idle: Duration,
    ) -> (Place, Option<Entry>) {
        if self.tags.is_empty() {
            self.tags = vec![Tags([0; WAYS]); self.sets];
        }
        let set = self.set_of(pair.hash);
        let half = if known { 0..HALF } else { HALF..WAYS };
        let Tags(tags) = &self.tags[set];
        let idle_before = now - idle;
        let way = half
            .min_by_key(|&way| {
                (tags[way] != 0).then(|| self.entries[set * WAYS + way].worth(idle_before))
            })
            .expect("a half has places");
        let place = Place((set * WAYS + way) as u32);
        let before = *self.at(place);
        self.forget(place);
        self.tags[set].0[way] = Table::tag_of(pair.hash);
        self.taken += 1;
        *self.at_mut(place) = Entry { aor: pair.aor, source: pair.source, ..Entry::FREE };
        (place, before.is_suspended().then_some(before))
    }

    /// Frees a place, if it is not free.
    pub fn forget(&mut self, place: Place) {
        let at = place.0 as usize;
        let tag = &mut self.tags[at / WAYS].0[at % WAYS];
        if *tag != 0 {
            *tag = 0;
            self.taken -= 1;
            *self.at_mut(place) = Entry::FREE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(180);

    /// One set, so that everybody meets.
    fn crowded() -> Table {
        Table::new(HALF)
    }

    fn pair(number: u64) -> Pair {
        Pair { hash: number << 32, aor: number, source: "192.0.2.7".parse().unwrap() }
    }

    fn fail(table: &mut Table, number: u64, known: bool, second: u64) -> Place {
        let now = Instant::from_secs(second);
        let place = match table.find(&pair(number)) {
            Some(place) => place,
            None => table.take(&pair(number), known, now, IDLE).0,
        };
        let entry = table.at_mut(place);
        (entry.failed_at, entry.checks) = (now, entry.checks + 1);
        place
    }

    #[test]
    fn nothing_is_allocated_before_the_first_failure() {
        let mut table = Table::new(1 << 16);
        assert_eq!((table.bytes_held(), table.is_empty()), (0, true));
        assert_eq!(table.find(&pair(3)), None);
        fail(&mut table, 3, true, 1000);
        let held = table.bytes_held();
        for number in 0..100_000_u64 {
            fail(&mut table, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16, true, 1000);
        }
        assert_eq!(table.bytes_held(), held);
        assert!(table.taken() <= table.capacity());
    }

    #[test]
    fn names_that_do_not_exist_push_out_nobody_who_does() {
        let mut table = crowded();
        for number in 1..=HALF as u64 {
            fail(&mut table, 2 * number, true, 1000);
        }
        for invented in 100..10_000 {
            fail(&mut table, 2 * invented, false, 1000);
        }
        for number in 1..=HALF as u64 {
            let place = table.find(&pair(2 * number)).expect("it is there");
            assert!(Table::is_known(place));
        }
        assert_eq!(table.taken(), WAYS);
    }

    #[test]
    fn a_newcomer_takes_the_place_that_is_worth_least() {
        let mut table = crowded();
        // Suspended until 2000, suspended until 1900, idle with many failures, and counting.
        for (number, until) in [(2, 2000), (4, 1900)] {
            let place = fail(&mut table, number, true, 1000);
            table.at_mut(place).until = Instant::from_secs(until);
        }
        for _ in 0..5 {
            fail(&mut table, 6, true, 1000);
        }
        for (number, failures) in [(8, 3), (10, 2), (12, 2), (14, 4), (16, 5)] {
            (0..failures).for_each(|n| {
                fail(&mut table, number, true, 1500 + number + n);
            });
        }
        let mut pushed_out = Vec::new();
        for newcomer in 1..=7 {
            let there: Vec<u64> =
                (1..=8).map(|n| 2 * n).filter(|&n| table.find(&pair(n)).is_some()).collect();
            let place =
                table.take(&pair(1000 + 2 * newcomer), true, Instant::from_secs(1600), IDLE).0;
            // The newcomers stay: as if they had failed many times.
            table.at_mut(place).checks = 50;
            table.at_mut(place).failed_at = Instant::from_secs(1600);
            pushed_out.extend(there.into_iter().find(|&n| table.find(&pair(n)).is_none()));
        }
        assert_eq!(pushed_out, [6, 10, 12, 8, 14, 16], "then the newcomers, fewest failures first");
        assert!(table.find(&pair(2)).is_some() && table.find(&pair(4)).is_some());
    }

    #[test]
    fn where_all_are_suspended_the_one_that_ends_first_gives_way() {
        let mut table = crowded();
        for number in 1..=HALF as u64 {
            let place = fail(&mut table, 2 * number, true, 1000);
            table.at_mut(place).until = Instant::from_secs(1200 - number);
        }
        let (_, pushed) = table.take(&pair(100), true, Instant::from_secs(1100), IDLE);
        assert_eq!(pushed.expect("a suspension").aor, 2 * HALF as u64);
        // The next newcomer takes the place of this one, not of another suspension.
        let (_, pushed) = table.take(&pair(102), true, Instant::from_secs(1100), IDLE);
        assert!(pushed.is_none());
    }

    #[test]
    fn a_wrong_answer_sent_again_is_known_also_between_others() {
        let mut entry = Entry::FREE;
        assert!(entry.is_new(1) && entry.is_new(2) && entry.is_new(3));
        for answer in [1, 2, 3, 2, 1, 0x1_0001] {
            assert!(!entry.is_new(answer), "{answer}");
        }
        let mut entry = Entry::FREE;
        assert!(entry.is_new(0) && !entry.is_new(0), "zero is an answer like any other");
    }
}
