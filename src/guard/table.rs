//! A table of fixed size for what is known of sources: sets of eight, found by a keyed hash, where
//! a newcomer takes the place of the one of its set that is worth least. It owns places; what an
//! entry is worth is the entry's to say.
//!
//! Nothing of an address is kept but 32 bits of its hash. Two sources that share those and their
//! set, one pair in 2^32 and 2^32 more for each doubling of the table, share an entry, which is to
//! say a limit.

use super::bucket::Tick;

const WAYS: usize = 8;

/// What stands in a [`Table`].
pub trait Entry: Copy + Default {
    /// How dear it is; of eight the cheapest makes room.
    fn worth(&self, now: Tick) -> u64;
}

/// The keyed hash of a source, a prefix, or whatever else is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hashed(pub u64);

impl Hashed {
    /// Never zero, which is no entry.
    #[inline]
    fn tag(self) -> u32 {
        (self.0 >> 32) as u32 | 1
    }
}

/// The table. Tags stand apart from entries: eight of them are half a cache line, so looking for
/// what is not there costs one.
pub struct Table<T> {
    tags: Box<[[u32; WAYS]]>,
    entries: Box<[[T; WAYS]]>,
    mask: u64,
}

impl<T: Entry> Table<T> {
    /// Room for `entries` entries, rounded up to a power of two of sets.
    #[must_use]
    pub fn new(entries: usize) -> Table<T> {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        Table {
            tags: vec![[0; WAYS]; sets].into_boxed_slice(),
            entries: vec![[T::default(); WAYS]; sets].into_boxed_slice(),
            mask: sets as u64 - 1,
        }
    }

    /// Entries it has room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.tags.len() * WAYS
    }

    #[inline]
    fn place(&self, at: Hashed) -> Option<(usize, usize)> {
        let set = (at.0 & self.mask) as usize;
        let tag = at.tag();
        let way = self.tags[set].iter().position(|&one| one == tag)?;
        Some((set, way))
    }

    /// The entry of `at`.
    #[inline]
    #[must_use]
    pub fn find(&self, at: Hashed) -> Option<&T> {
        let (set, way) = self.place(at)?;
        Some(&self.entries[set][way])
    }

    /// The entry of `at`, to be changed.
    #[inline]
    pub fn find_mut(&mut self, at: Hashed) -> Option<&mut T> {
        let (set, way) = self.place(at)?;
        Some(&mut self.entries[set][way])
    }

    /// The entry of `at`; if there is none, `new` makes it and takes the place of the cheapest of
    /// its set.
    #[inline]
    pub fn find_or_insert(&mut self, at: Hashed, now: Tick, new: impl FnOnce() -> T) -> &mut T {
        let (set, way) = match self.place(at) {
            Some(place) => place,
            None => self.insert(at, now, new()),
        };
        &mut self.entries[set][way]
    }

    fn insert(&mut self, at: Hashed, now: Tick, entry: T) -> (usize, usize) {
        let set = (at.0 & self.mask) as usize;
        let (tags, entries) = (&mut self.tags[set], &mut self.entries[set]);
        let worth = |way: &usize| match tags[*way] {
            0 => None,
            _ => Some(entries[*way].worth(now)),
        };
        // None, an empty place, is less than any worth.
        let way = (0..WAYS).min_by_key(worth).expect("a set has places");
        tags[way] = at.tag();
        entries[way] = entry;
        (set, way)
    }

    /// Forgets the entry of `at`.
    pub fn remove(&mut self, at: Hashed) {
        if let Some((set, way)) = self.place(at) {
            self.tags[set][way] = 0;
        }
    }

    /// Touches what looking for `at` will need, so that the misses of a batch overlap. What comes
    /// back means nothing; use it, or the compiler leaves it out.
    #[inline]
    #[must_use]
    pub fn warm(&self, at: Hashed) -> u64 {
        self.find(at).map_or(0, |entry| entry.worth(Tick::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Worth(u64);

    impl Entry for Worth {
        fn worth(&self, _: Tick) -> u64 {
            self.0
        }
    }

    fn now() -> Tick {
        Tick::default()
    }

    /// Hashes that all fall into the first set.
    fn of_one_set(number: u64) -> Hashed {
        Hashed((number * 2 + 2) << 32)
    }

    #[test]
    fn the_cheapest_of_a_set_makes_room() {
        let mut table: Table<Worth> = Table::new(64);
        for number in 0..8 {
            table.find_or_insert(of_one_set(number), now(), || Worth(10 + number));
        }
        table.find_or_insert(of_one_set(8), now(), || Worth(1));
        assert!(table.find(of_one_set(0)).is_none());
        table.find_or_insert(of_one_set(9), now(), || Worth(100));
        assert!(table.find(of_one_set(8)).is_none(), "the cheapest even if it is the youngest");
        for number in 1..8 {
            assert_eq!(table.find(of_one_set(number)), Some(&Worth(10 + number)));
        }
    }

    #[test]
    fn what_was_removed_leaves_a_place_and_is_found_no_more() {
        let mut table: Table<Worth> = Table::new(8);
        for number in 0..8 {
            table.find_or_insert(of_one_set(number), now(), || Worth(1));
        }
        table.remove(of_one_set(3));
        table.remove(of_one_set(3));
        assert!(table.find(of_one_set(3)).is_none());
        table.find_or_insert(of_one_set(9), now(), || Worth(0));
        let left = (0..10).filter(|&number| table.find(of_one_set(number)).is_some());
        assert_eq!(left.count(), 8);
    }

    #[test]
    fn the_room_is_what_was_asked_for_or_the_next_power_of_two() {
        assert_eq!(Table::<Worth>::new(1).room(), 8);
        assert_eq!(Table::<Worth>::new(1024).room(), 1024);
        assert_eq!(Table::<Worth>::new(1025).room(), 2048);
    }
}
