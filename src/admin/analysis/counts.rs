//! How often each of many things was met, in bounded memory: those met most are kept, and what was
//! pushed out is in the sum of the rest. A count is never more than the truth; it is less only for
//! what was among the rarest once.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts of things, each with what was remembered of it when it was met first.
#[derive(Clone, Debug)]
pub(super) struct Counts<K, V = ()> {
    counted: HashMap<K, (u64, V)>,
    /// As many are kept for certain; twice as many at a time.
    most: usize,
    rest: u64,
    total: u64,
}

impl<K: Eq + Hash + Clone, V: Clone> Counts<K, V> {
    /// Nothing met yet; `most` is at least 1.
    pub fn new(most: usize) -> Counts<K, V> {
        Counts { counted: HashMap::new(), most: most.max(1), rest: 0, total: 0 }
    }

    /// Met once more.
    pub fn add_with(&mut self, key: K, new: impl FnOnce() -> V) {
        self.total += 1;
        self.counted.entry(key).or_insert_with(|| (0, new())).0 += 1;
        if self.counted.len() > 2 * self.most {
            self.prune();
        }
    }

    /// The rarer half goes.
    fn prune(&mut self) {
        let mut counts: Vec<u64> = self.counted.values().map(|(count, _)| *count).collect();
        let (_, &mut least, _) = counts.select_nth_unstable_by(self.most, |a, b| b.cmp(a));
        // Of those that are as rare as the last that has room, some stay.
        let above = self.counted.values().filter(|(count, _)| *count > least).count();
        let mut room = self.most.saturating_sub(above);
        let rest = &mut self.rest;
        self.counted.retain(|_, (count, _)| {
            let stays = *count > least || (*count == least && room > 0);
            if stays && *count == least {
                room -= 1;
            }
            if !stays {
                *rest += *count;
            }
            stays
        });
    }

    /// How many times anything was met.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Those met most, the first `limit` of them that are wanted, by their counts and then in their
    /// own order; and how often all others that are wanted were met. What was pushed out is among
    /// these others where everything is wanted.
    pub fn top(&self, limit: usize, wanted: impl Fn(&K) -> bool) -> (Vec<(K, u64, V)>, u64)
    where
        K: Ord,
    {
        let chosen = self.counted.iter().filter(|(key, _)| wanted(key));
        let mut rows: Vec<(&K, &(u64, V))> = chosen.collect();
        rows.sort_unstable_by(|(a, (x, _)), (b, (y, _))| y.cmp(x).then_with(|| a.cmp(b)));
        let others = rows.iter().skip(limit).map(|(_, (count, _))| count).sum();
        rows.truncate(limit);
        let row = |(key, (count, value)): (&K, &(u64, V))| (key.clone(), *count, value.clone());
        (rows.into_iter().map(row).collect(), others)
    }

    /// How often what has no row of its own was met.
    pub fn rest(&self) -> u64 {
        self.rest
    }
}

impl<K: Eq + Hash + Clone> Counts<K> {
    /// Met once more.
    pub fn add(&mut self, key: K) {
        self.add_with(key, || ());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_most_frequent_stay_and_the_sum_is_right() {
        let mut counts = Counts::new(4);
        for round in 0..1000_u32 {
            for key in 0..3 {
                counts.add(key);
            }
            counts.add(1000 + round);
        }
        let (top, others) = counts.top(3, |_| true);
        assert_eq!(top, [(0, 1000, ()), (1, 1000, ()), (2, 1000, ())]);
        assert_eq!(counts.total(), 4000);
        assert_eq!(others + counts.rest(), 1000);
        assert!(counts.counted.len() <= 8);
        let (odd, others) = counts.top(1, |key| *key == 1 || *key == 2);
        assert_eq!((odd.as_slice(), others), ([(1, 1000, ())].as_slice(), 1000));
    }

    #[test]
    fn what_was_met_first_is_remembered() {
        let mut counts = Counts::new(4);
        counts.add_with("a", || 1);
        counts.add_with("a", || 2);
        assert_eq!(counts.top(9, |_| true).0, [("a", 2, 1)]);
    }

    proptest! {
        #[test]
        fn no_count_is_above_the_truth_and_nothing_is_lost(
            keys in prop::collection::vec(0u8..60, 0..600),
            most in 1usize..20,
        ) {
            let mut counts = Counts::new(most);
            keys.iter().for_each(|key| counts.add(*key));
            let (rows, others) = counts.top(usize::MAX, |_| true);
            prop_assert!(rows.len() <= 2 * most && others == 0);
            let sum: u64 = rows.iter().map(|(_, count, ())| count).sum();
            prop_assert_eq!(sum + counts.rest(), keys.len() as u64);
            for (key, count, ()) in rows {
                let truth = keys.iter().filter(|one| **one == key).count() as u64;
                prop_assert!(count <= truth);
            }
        }
    }
}
