//! How many different accounts, in sixteen bytes: a sketch that grows by the largest run of zeros
//! seen in each of 32 classes of hashes (Flajolet, Fusy, Gandouet, Meunier: HyperLogLog, 2007).
//! The same account never counts twice, in whatever order and however often it comes, so shards
//! that tell each other what changed theirs agree on the count.

/// Classes; each is half a byte.
const CLASSES: u32 = 32;
/// The longest run that half a byte holds.
const RUN_MAX: u32 = 15;

/// The sketch. Off by a fifth at most places; exact enough for an allowance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sketch(u128);

impl Sketch {
    /// Whether adding this hash would change anything.
    #[inline]
    #[must_use]
    pub fn lacks(self, hash: u64) -> bool {
        let (class, run) = split(hash);
        run > self.run(class)
    }

    /// Adds an account by its hash. Returns whether that was news.
    #[inline]
    pub fn add(&mut self, hash: u64) -> bool {
        let (class, run) = split(hash);
        let news = run > self.run(class);
        if news {
            let shift = class * 4;
            self.0 = self.0 & !(0xf << shift) | u128::from(run) << shift;
        }
        news
    }

    /// What either has seen.
    #[must_use]
    pub fn union(self, other: Sketch) -> Sketch {
        let mut both = Sketch::default();
        for class in 0..CLASSES {
            both.0 |= u128::from(self.run(class).max(other.run(class))) << (class * 4);
        }
        both
    }

    /// About how many accounts were added.
    #[must_use]
    pub fn count(self) -> u16 {
        let empty = (0..CLASSES).filter(|&class| self.run(class) == 0).count();
        let classes = f64::from(CLASSES);
        let sum: f64 = (0..CLASSES).map(|class| (-f64::from(self.run(class))).exp2()).sum();
        // The constant of the paper for 32 classes.
        let raw = 0.697 * classes * classes / sum;
        let count = if raw <= 2.5 * classes && empty > 0 {
            classes * (classes / empty as f64).ln()
        } else {
            raw
        };
        // Saturates.
        count.round() as u16
    }

    #[inline]
    fn run(self, class: u32) -> u32 {
        (self.0 >> (class * 4)) as u32 & 0xf
    }
}

/// The class of a hash, by its low bits, and the run of zeros above them, counted from one. The
/// high bits say which shard an account is on and are left alone.
#[inline]
fn split(hash: u64) -> (u32, u32) {
    let class = hash as u32 % CLASSES;
    let run = (hash >> 5).trailing_zeros() + 1;
    (class, run.min(RUN_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as good as any (SplitMix64).
    fn hash(number: u64) -> u64 {
        let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    #[test]
    fn the_count_is_about_right_from_one_to_many_thousand() {
        assert_eq!(Sketch::default().count(), 0);
        for expected in [1u64, 2, 5, 20, 100, 500, 5000, 50_000] {
            let mut off = 0.0f64;
            for round in 0..20 {
                let mut sketch = Sketch::default();
                for number in 0..expected {
                    sketch.add(hash(round << 32 | number));
                }
                let ratio = f64::from(sketch.count()) / expected as f64;
                assert!((0.4..2.0).contains(&ratio), "{} of {expected}", sketch.count());
                off += ratio;
            }
            let mean = off / 20.0;
            assert!((0.85..1.15).contains(&mean), "{mean} on average at {expected}");
        }
    }

    #[test]
    fn the_same_account_is_news_once() {
        let mut sketch = Sketch::default();
        assert!(sketch.lacks(hash(1)) && sketch.add(hash(1)));
        let before = sketch;
        assert!(!sketch.lacks(hash(1)) && !sketch.add(hash(1)));
        assert_eq!((sketch, sketch.count()), (before, 1));
    }

    #[test]
    fn shards_that_tell_what_changed_agree() {
        let (mut one, mut other) = (Sketch::default(), Sketch::default());
        for number in 0..300 {
            let (mine, theirs) =
                if number % 2 == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
            if mine.add(hash(number)) {
                theirs.add(hash(number));
            }
        }
        assert_eq!(one, other);
        let mut half = Sketch::default();
        (0..150).for_each(|number| _ = half.add(hash(number)));
        assert_eq!(half.union(one), one);
    }

    #[test]
    fn changes_become_rare() {
        let mut sketch = Sketch::default();
        let news = (0..10_000).filter(|&number| sketch.add(hash(number))).count();
        assert!(news < 400, "{news} of 10,000 would be told to all shards");
    }
}
