//! Numbers found by a hash, in a table that grows one bucket at a time: linear hashing. Each time
//! the mean load is reached one bucket, the next in turn, is shared out between itself and a new
//! one at the end; so no insertion ever waits for more than the dozen numbers of one bucket, and
//! nothing is ever hashed anew all at once.
//!
//! A bucket is one cache line: twelve numbers, eight bits of the hash of each, and the number of
//! the bucket that takes what does not fit. What a number stands for and how that hashes is the
//! owner's, and so is whether two are equal. Hashes have to be keyed where others choose what is
//! hashed: numbers that share their hash share a chain.

use crate::table::Chunks;

/// Numbers of a bucket.
const WAYS: usize = 12;
/// Numbers of a bucket on average before one is split: those whose turn has not come have up to
/// twice as many as those that have been.
const MEAN: usize = 7;
/// No further bucket; others are counted from 1.
const NONE: u32 = 0;
const EMPTY: u8 = 0;

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    numbers: [u32; WAYS],
    tags: [u8; WAYS],
    next: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// Never [`EMPTY`]. Its bits choose neither the bucket nor, in a shard, the owner.
#[inline]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 40) as u8).max(1)
}

/// Which bytes of a word are zero: the top bit of each that is.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

impl Bucket {
    /// A bit for each way with this tag, eight apart.
    #[inline]
    fn with_tag(&self, tag: u8) -> u128 {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.tags;
        let spread = u64::from(tag) * 0x0101_0101_0101_0101;
        let low = zero_bytes(u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ spread);
        let high = zero_bytes(u64::from(u32::from_le_bytes([i, j, k, l])) ^ (spread & 0xffff_ffff));
        u128::from(low) | (u128::from(high & 0xffff_ffff) << 64)
    }

    /// The first way with this tag whose number passes.
    #[inline]
    fn way(&self, tag: u8, mut is_it: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut ways = self.with_tag(tag);
        while ways != 0 {
            let way = ways.trailing_zeros() as usize / 8;
            if is_it(self.numbers[way]) {
                return Some(way);
            }
            ways &= ways - 1;
        }
        None
    }

    fn taken(&self) -> impl Iterator<Item = usize> + use<> {
        let tags = self.tags;
        (0..WAYS).filter(move |&way| tags[way] != EMPTY)
    }
}

/// A bucket by where it is: one of the table, or one that takes what did not fit.
#[derive(Clone, Copy, Debug)]
enum Place {
    Home(usize),
    Spare(u32),
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Index {
    buckets: Chunks<Bucket>,
    /// What takes the numbers that do not fit, and those of them that are free, chained.
    spare: Chunks<Bucket>,
    free: u32,
    len: usize,
    /// The most numbers one operation has moved.
    #[cfg(test)]
    moved_max: usize,
}

impl Index {
    /// Numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for as many as `numbers` ahead of time, where there is none yet; a table that is
    /// in use grows by and by.
    pub fn reserve_total(&mut self, numbers: usize) {
        if !self.is_empty() {
            return;
        }
        let buckets = numbers.div_ceil(MEAN);
        self.buckets.reserve_total(buckets);
        while self.buckets.len() < buckets {
            self.buckets.push(Bucket::default());
        }
    }

    /// The bucket a hash belongs to, of which there is at least one.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        let count = self.buckets.len();
        // Those behind the last doubling exist only as far as buckets have been split.
        let mask = usize::MAX >> ((count - 1) | 1).leading_zeros();
        let at = hash as usize & mask;
        if at < count { at } else { at & (mask >> 1) }
    }

    /// The number with this hash that `is_it`.
    #[inline]
    #[must_use]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.buckets.is_empty() {
            return None;
        }
        let tag = tag_of(hash);
        let mut bucket = &self.buckets[self.home(hash)];
        loop {
            if let Some(way) = bucket.way(tag, &mut is_it) {
                return Some(bucket.numbers[way]);
            }
            if bucket.next == NONE {
                return None;
            }
            bucket = &self.spare[bucket.next as usize - 1];
        }
    }

    /// A number that most likely has this hash: one look at one cache line, most often.
    #[inline]
    #[must_use]
    pub fn likely(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Adds a number that is not there yet. `hash_of` tells the hash of any number that is.
    pub fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        self.len += 1;
        if self.buckets.is_empty() {
            self.buckets.push(Bucket::default());
        } else if self.len > self.buckets.len() * MEAN {
            self.split(hash_of);
        }
        self.put(self.home(hash), tag_of(hash), number);
    }

    /// Shares the numbers of the bucket whose turn it is out between itself and a new one.
    #[cold]
    #[inline(never)]
    fn split(&mut self, hash_of: impl Fn(u32) -> u64) {
        let count = self.buckets.len();
        let from = count - (1 << count.ilog2());
        self.buckets.push(Bucket::default());
        let mut bucket = std::mem::take(&mut self.buckets[from]);
        let mut moved = 0;
        loop {
            for way in bucket.taken() {
                let number = bucket.numbers[way];
                self.put(self.home(hash_of(number)), bucket.tags[way], number);
                moved += 1;
            }
            if bucket.next == NONE {
                break;
            }
            bucket = self.give_back(bucket.next);
        }
        self.note_moved(moved);
    }

    #[cfg(test)]
    fn note_moved(&mut self, moved: usize) {
        self.moved_max = self.moved_max.max(moved);
    }

    #[cfg(not(test))]
    fn note_moved(&self, _: usize) {}

    /// Takes a spare bucket out of use, and gives what was in it.
    fn give_back(&mut self, spare: u32) -> Bucket {
        let vacant = Bucket { next: self.free, ..Bucket::default() };
        self.free = spare;
        std::mem::replace(&mut self.spare[spare as usize - 1], vacant)
    }

    fn bucket(&self, place: Place) -> &Bucket {
        match place {
            Place::Home(at) => &self.buckets[at],
            Place::Spare(at) => &self.spare[at as usize - 1],
        }
    }

    fn bucket_mut(&mut self, place: Place) -> &mut Bucket {
        match place {
            Place::Home(at) => &mut self.buckets[at],
            Place::Spare(at) => &mut self.spare[at as usize - 1],
        }
    }

    /// Puts a number into the first free way of a chain.
    fn put(&mut self, home: usize, tag: u8, number: u32) {
        let mut place = Place::Home(home);
        loop {
            let bucket = self.bucket_mut(place);
            if let Some(way) = bucket.way(EMPTY, |_| true) {
                (bucket.tags[way], bucket.numbers[way]) = (tag, number);
                return;
            }
            if bucket.next == NONE {
                break;
            }
            place = Place::Spare(bucket.next);
        }
        let mut added = Bucket::default();
        (added.tags[0], added.numbers[0]) = (tag, number);
        let spare = if self.free == NONE {
            self.spare.push(added);
            self.spare.len() as u32
        } else {
            let spare = self.free;
            let vacant = &mut self.spare[spare as usize - 1];
            let next_free = std::mem::replace(vacant, added).next;
            self.free = next_free;
            spare
        };
        self.bucket_mut(place).next = spare;
    }

    /// Where a number with this hash is.
    fn place(&self, hash: u64, number: u32) -> Option<(Place, usize)> {
        if self.buckets.is_empty() {
            return None;
        }
        let mut place = Place::Home(self.home(hash));
        loop {
            let bucket = self.bucket(place);
            if let Some(way) = bucket.way(tag_of(hash), |other| other == number) {
                return Some((place, way));
            }
            if bucket.next == NONE {
                return None;
            }
            place = Place::Spare(bucket.next);
        }
    }

    /// Puts `new`, which has the same hash, in the place of a number; false if that is not there.
    pub fn replace(&mut self, hash: u64, number: u32, new: u32) -> bool {
        let place = self.place(hash, number);
        if let Some((place, way)) = place {
            self.bucket_mut(place).numbers[way] = new;
        }
        place.is_some()
    }

    /// Takes a number out; false if it is not there.
    pub fn remove(&mut self, hash: u64, number: u32) -> bool {
        let Some((place, way)) = self.place(hash, number) else { return false };
        self.len -= 1;
        // The last of the chain takes its place, so that chains become short again.
        let (mut before, mut last) = (None, Place::Home(self.home(hash)));
        while self.bucket(last).next != NONE {
            before = Some(last);
            last = Place::Spare(self.bucket(last).next);
        }
        let Some(before) = before else {
            self.bucket_mut(place).tags[way] = EMPTY;
            return true;
        };
        let bucket = self.bucket_mut(last);
        let mut taken = bucket.taken();
        let filler = taken.next().expect("no spare bucket is empty");
        let is_emptied = taken.next().is_none();
        let (tag, moving) = (bucket.tags[filler], bucket.numbers[filler]);
        bucket.tags[filler] = EMPTY;
        // Where it is the filler itself that goes, nothing is left of it.
        if moving != number {
            let bucket = self.bucket_mut(place);
            (bucket.tags[way], bucket.numbers[way]) = (tag, moving);
        }
        if is_emptied {
            let spare = self.bucket(before).next;
            self.give_back(spare);
            self.bucket_mut(before).next = NONE;
        }
        true
    }

    /// All numbers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let all = self.buckets.iter().chain(self.spare.iter());
        all.flat_map(|bucket| bucket.taken().map(|way| bucket.numbers[way]))
    }

    /// Bytes held, free room included.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.buckets.bytes_held() + self.spare.bytes_held()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// A hash as good as a keyed one.
    fn hash(number: u32) -> u64 {
        let mut x = u64::from(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    #[test]
    fn no_insertion_moves_more_than_the_numbers_of_one_bucket() {
        let mut index = Index::default();
        for number in 0..300_000 {
            index.insert(hash(number), number, hash);
        }
        assert!(index.moved_max <= 3 * WAYS, "{} moved at once", index.moved_max);
        assert!((0..300_000).all(|number| index.find(hash(number), |n| n == number).is_some()));
        assert_eq!(index.find(hash(300_000), |n| n == 300_000), None);
        // What a number costs: a share of its bucket, and of the spare ones.
        assert!(index.spare.len() * 5 < index.buckets.len(), "{}", index.spare.len());
    }

    #[test]
    fn numbers_that_share_their_hash_are_told_apart() {
        let mut index = Index::default();
        for number in 0..100 {
            index.insert(7, number, |_| 7);
        }
        assert!((0..100).all(|number| index.find(7, |n| n == number) == Some(number)));
        assert!((0..100).rev().all(|number| index.remove(7, number)));
        assert!(index.is_empty() && index.find(7, |_| true).is_none());
        assert_eq!(index.iter().count(), 0);
    }

    #[test]
    fn room_ahead_of_time_is_used_without_a_split() {
        let mut index = Index::default();
        index.reserve_total(10_000);
        for number in 0..10_000 {
            index.insert(hash(number), number, |_| unreachable!("nothing is hashed anew"));
        }
        assert!((0..10_000).all(|number| index.likely(hash(number)).is_some()));
    }

    #[test]
    fn exact_tags_are_found_whatever_stands_beside_them() {
        for tag in 0..=u8::MAX {
            for way in 0..WAYS {
                let mut bucket = Bucket { tags: [tag ^ 1; WAYS], ..Bucket::default() };
                bucket.tags[way] = tag;
                assert_eq!(bucket.with_tag(tag), 0x80 << (8 * way), "{tag} at {way}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// Hashes of few bits, so that chains are long.
        #[test]
        fn agrees_with_a_map(
            steps in prop::collection::vec((0..400u32, 0..4u8), 1..600),
            bits in 2..64u32,
        ) {
            let hash = |number: u32| hash(number) & (u64::MAX >> (64 - bits));
            let mut index = Index::default();
            let mut model: HashMap<u32, ()> = HashMap::new();
            for (number, step) in steps {
                let known = index.find(hash(number), |n| n == number);
                prop_assert_eq!(known.is_some(), model.contains_key(&number));
                if known.is_none() {
                    prop_assert!(!index.remove(hash(number), number));
                    index.insert(hash(number), number, hash);
                    model.insert(number, ());
                } else if step == 0 {
                    prop_assert!(index.remove(hash(number), number));
                    model.remove(&number);
                } else {
                    prop_assert!(index.replace(hash(number), number, number));
                }
                prop_assert_eq!(index.len(), model.len());
            }
            let mut left: Vec<u32> = index.iter().collect();
            left.sort_unstable();
            let mut expected: Vec<u32> = model.into_keys().collect();
            expected.sort_unstable();
            prop_assert_eq!(left, expected);
        }
    }
}
