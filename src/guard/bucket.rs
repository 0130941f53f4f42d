//! Token buckets of four bytes: thousandths of a token, refilled by the millisecond. Owns the
//! arithmetic; whose bucket it is, and how fast it fills, is said anew each time, so that an
//! allowance can grow under it.

use crate::time::Instant;

/// Thousandths in one token.
const TOKEN: i32 = 1000;
/// The largest burst whose thousandths fit.
const BURST_MAX: u32 = (i32::MAX / TOKEN) as u32;

/// Milliseconds since the clock's origin, which come round after 49 days. What was not touched for
/// as long may find its buckets as they were left; they fill as ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(u32);

impl Tick {
    /// The tick of an instant.
    #[must_use]
    pub fn of(now: Instant) -> Tick {
        Tick((now.as_nanos() / 1_000_000) as u32)
    }

    /// Milliseconds since `earlier`. What seems to lie ahead is of this very moment: another core
    /// has read the clock a little later.
    #[must_use]
    pub fn since(self, earlier: Tick) -> u32 {
        let passed = self.0.wrapping_sub(earlier.0);
        if passed > u32::MAX / 2 { 0 } else { passed }
    }
}

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second.
    pub per_s: u32,
    /// Tokens at most.
    pub burst: u32,
}

impl Rate {
    /// More than anybody asks for: no limit.
    pub const NONE: Rate = Rate { per_s: u32::MAX, burst: BURST_MAX };

    /// The rate that is set; none set is no limit.
    #[must_use]
    pub fn limit(per_s: Option<u32>, burst: u32) -> Rate {
        per_s.map_or(Rate::NONE, |per_s| Rate { per_s, burst: burst.clamp(1, BURST_MAX) })
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: u32) -> Rate {
        Rate {
            per_s: self.per_s.saturating_mul(factor),
            burst: self.burst.saturating_mul(factor).min(BURST_MAX),
        }
    }

    /// A fifth more, at least one, for each account that has proved itself, and twice that at
    /// once: where the power comes back each phone asks, is challenged, and asks again.
    #[must_use]
    pub fn grown(self, accounts: u16) -> Rate {
        if accounts == 0 {
            return self;
        }
        let accounts = u32::from(accounts);
        let more = |of: u32, accounts| of.saturating_add((of / 5).max(1).saturating_mul(accounts));
        Rate {
            per_s: more(self.per_s, accounts),
            burst: more(self.burst, 2 * accounts).min(BURST_MAX),
        }
    }

    /// What one of `shards` may let pass without a word to the others: its share of the rate and,
    /// at once, a share of half the burst, two at least.
    #[must_use]
    pub fn share(self, shards: u8) -> Share {
        let shards = u32::from(shards.max(1));
        Share {
            rate_m: (u64::from(self.per_s) * 1000 / u64::from(shards)).min(u32::MAX.into()) as u32,
            burst: (self.burst / (2 * shards)).max(2),
        }
    }
}

/// A [`Rate`] in thousandths, so that it can be divided among many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Thousandths of a token a second.
    rate_m: u32,
    /// Tokens at most.
    burst: u32,
}

impl Share {
    /// Tokens at most; also how many are told at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }
}

/// Tokens that are left; what others have spent may be owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(i32);

/// A full level, in thousandths.
fn brim(burst: u32) -> i64 {
    i64::from(burst.min(BURST_MAX)) * i64::from(TOKEN)
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn full(rate: Rate) -> Bucket {
        Bucket(brim(rate.burst) as i32)
    }

    /// A full one of a share.
    #[must_use]
    pub fn full_share(share: Share) -> Bucket {
        Bucket(brim(share.burst) as i32)
    }

    /// Fills it for so many milliseconds; never beyond its burst, which may have shrunk.
    #[inline]
    pub fn fill(&mut self, passed_ms: u32, rate: Rate) {
        self.pour(u64::from(passed_ms) * u64::from(rate.per_s), rate.burst);
    }

    /// The same for a share. What is less than a thousandth is lost, so a share may be a little
    /// less than it says; never more.
    #[inline]
    pub fn fill_share(&mut self, passed_ms: u32, share: Share) {
        self.pour(u64::from(passed_ms) * u64::from(share.rate_m) / 1000, share.burst);
    }

    #[inline]
    fn pour(&mut self, thousandths: u64, burst: u32) {
        // What is more than fits is more than any burst.
        let more = i64::try_from(thousandths).unwrap_or(i64::MAX);
        self.0 = i64::from(self.0).saturating_add(more).min(brim(burst)) as i32;
    }

    /// Whether a whole token is left.
    #[inline]
    #[must_use]
    pub fn has_one(self) -> bool {
        self.0 >= TOKEN
    }

    /// Takes one, if there is one.
    #[inline]
    pub fn take(&mut self) -> bool {
        let has = self.has_one();
        if has {
            self.0 -= TOKEN;
        }
        has
    }

    /// Takes a tenth of one, if there is as much.
    #[inline]
    pub fn take_tenth(&mut self) -> bool {
        let has = self.0 >= TOKEN / 10;
        if has {
            self.0 -= TOKEN / 10;
        }
        has
    }

    /// Takes what was spent elsewhere; what is not there is owed, up to a burst.
    pub fn charge(&mut self, tokens: u8, rate: Rate) {
        let least = -(brim(rate.burst) as i32);
        self.0 = self.0.saturating_sub(i32::from(tokens) * TOKEN).max(least);
    }

    /// Adds tokens, up to the burst of `rate`.
    pub fn add(&mut self, tokens: u32, rate: Rate) {
        self.pour(u64::from(tokens) * 1000, rate.burst);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIVE: Rate = Rate { per_s: 5, burst: 10 };

    #[test]
    fn a_burst_at_once_then_the_rate() {
        let mut bucket = Bucket::full(FIVE);
        assert_eq!((0..20).filter(|_| bucket.take()).count(), 10);
        bucket.fill(199, FIVE);
        assert!(!bucket.take());
        bucket.fill(1, FIVE);
        assert!(bucket.take() && !bucket.take());
        bucket.fill(u32::MAX, FIVE);
        assert_eq!((0..20).filter(|_| bucket.take()).count(), 10);
    }

    #[test]
    fn each_proven_account_adds_a_fifth_and_twice_that_at_once() {
        assert_eq!(FIVE.grown(0), FIVE);
        assert_eq!(FIVE.grown(1), Rate { per_s: 6, burst: 14 });
        assert_eq!(FIVE.grown(500), Rate { per_s: 505, burst: 2010 });
        assert_eq!(Rate { per_s: 1, burst: 1 }.grown(3), Rate { per_s: 4, burst: 7 });
        assert_eq!(Rate::NONE.grown(u16::MAX).burst, BURST_MAX);
    }

    #[test]
    fn what_was_spent_elsewhere_is_owed_up_to_a_burst() {
        let mut bucket = Bucket::full(FIVE);
        bucket.charge(12, FIVE);
        bucket.fill(400, FIVE);
        assert!(!bucket.has_one(), "two are owed");
        bucket.fill(200, FIVE);
        assert!(bucket.take());
        (0..100).for_each(|_| bucket.charge(u8::MAX, FIVE));
        bucket.fill(2199, FIVE);
        assert!(!bucket.has_one());
        bucket.fill(1, FIVE);
        assert!(bucket.take());
    }

    #[test]
    fn no_limit_is_never_met() {
        let mut bucket = Bucket::full(Rate::limit(None, 1));
        for _ in 0..1000 {
            bucket.fill(0, Rate::NONE);
            assert!(bucket.take());
        }
    }

    #[test]
    fn a_clock_that_reads_earlier_than_before_is_now() {
        let (early, late) = (Tick(5), Tick(9));
        assert_eq!((late.since(early), early.since(late)), (4, 0));
        assert_eq!(Tick(3).since(Tick(u32::MAX)), 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Over any times of arrival no more passes than a burst and the rate since the start.
        #[test]
        fn never_more_than_burst_and_rate(
            per_s in 1u32..1000,
            burst in 1u32..1000,
            gaps in prop::collection::vec(0u32..700, 1..400),
        ) {
            let rate = Rate { per_s, burst };
            let mut bucket = Bucket::full(rate);
            let (mut at, mut passed) = (0u64, 0u64);
            for gap in gaps {
                at += u64::from(gap);
                bucket.fill(gap, rate);
                passed += u64::from(bucket.take());
                prop_assert!(passed * 1000 <= u64::from(burst) * 1000 + at * u64::from(per_s));
            }
        }

        /// Shares of one rate, each used to the full, come to no more than the whole of it.
        #[test]
        fn shares_add_up_to_the_whole(per_s in 1u32..100_000, shards in 1u8..=128) {
            let share = Rate { per_s, burst: 10 }.share(shards);
            prop_assert!(u64::from(share.rate_m) * u64::from(shards) <= u64::from(per_s) * 1000);
        }
    }
}
