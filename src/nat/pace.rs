//! How many messages may go out now: enough for everybody to have a turn in each cycle, in a flow
//! that is even, and no more than the operator's ceiling as long as that covers everybody.
//!
//! The ceiling is so many messages in each interval for the whole process. The shards share it
//! without a word between them: the interval's number says which of them may send one more than
//! the others, so that together they send exactly the ceiling.
//!
//! Whoever is behind catches up by a sixteenth: a stumble of the host must not become a burst. The
//! later turns are beyond that, the faster it goes, twice the usual pace at most, and the more of
//! the time in which nothing could be sent is made up for: a host that gives us a part of its time
//! only is not a stumble. Where a pinhole might go without a packet for too long, the ceiling gives
//! way.

use std::time::Duration;

use crate::time::Instant;

/// Sixteenths of the pace that covers everybody just in time, where all is well.
const USUAL: u64 = 17;
/// The same where somebody waits too long.
const HURRIED: u64 = 32;
/// What may be saved up by not sending, where all is well and where somebody waits too long.
const BURST_NS: u64 = 1_250_000;
const BURST_NS_MAX: u64 = 20_000_000;
/// Who has not been here for so long was asleep: that time is not made up for.
const ASLEEP_NS_MIN: u128 = 250_000_000;
/// How late turns may be before they are hurried; twice as late is the worst.
const CALM_NS_MAX: u64 = 50_000_000;
/// However few there are, one message in so long is always within the pace.
const SLOWEST_NS: u64 = 1_000_000;
/// Units of credit for each nanosecond and sixteenth: the slowest ceiling is not rounded to none.
const UNITS: u128 = 1 << 32;
/// A shard that may send fewer than this in an interval makes phones wait for the next.
const FEW: u64 = 4;
/// A raised pace is let go when the ceiling is this much, in 64ths, above what is needed.
const RETURN_64THS: u128 = 1;

/// The most that may be sent: `one_time` messages in each `interval`, by all shards together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Messages in an interval.
    pub one_time: u32,
    /// How long an interval is; they begin with the origin of the clock.
    pub interval: Duration,
    /// Which shard this is.
    pub shard: u8,
    /// How many there are.
    pub shards: u8,
}

impl Ceiling {
    /// What this shard may send in an interval, by its number.
    fn share(&self, interval: u64) -> u32 {
        let shards = u64::from(self.shards.max(1));
        let turn = (u64::from(self.shard) + interval % shards) % shards;
        ((u64::from(self.one_time) + turn) / shards) as u32
    }

    /// How long somebody may have to wait for an interval that is not full. Nobody waits where
    /// there is so much in each that neighbours share it; where a shard has a few, two that happen
    /// to fall into one interval are too many.
    pub(super) fn wait_ns(&self) -> u64 {
        let (one_time, shards) = (u64::from(self.one_time.max(1)), u64::from(self.shards.max(1)));
        match one_time < FEW * shards {
            true => self.interval_ns().saturating_mul(shards.div_ceil(one_time)),
            false => 0,
        }
    }

    fn interval_ns(&self) -> u64 {
        u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

/// What the pace has to cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// How many have a turn in each cycle.
    pub population: u32,
    /// How long the cycle is.
    pub cycle_ns: u64,
    /// How late the next turn is.
    pub late_ns: u64,
    /// How late it may be without anybody waiting for longer than promised.
    pub guard_ns: u64,
}

/// The pace of one shard.
#[derive(Debug)]
pub(super) struct Pace {
    ceiling: Option<Ceiling>,
    credit: u128,
    /// What a message costs, and what each nanosecond brings.
    cost: u128,
    rate: u128,
    burst_ns: u64,
    accrued_at: Instant,
    interval: u64,
    sent_in_interval: u32,
    /// The ceiling does not cover everybody.
    is_raised: bool,
    /// The ceiling holds at the moment.
    is_bound: bool,
    /// It allows more than twice what is needed.
    is_roomy: bool,
    intervals_above: u64,
}

impl Pace {
    pub(super) fn new(ceiling: Option<Ceiling>) -> Pace {
        Pace {
            ceiling,
            credit: 0,
            cost: 1,
            rate: 1,
            burst_ns: BURST_NS,
            accrued_at: Instant::ZERO,
            interval: 0,
            sent_in_interval: 0,
            is_raised: false,
            is_bound: ceiling.is_some(),
            is_roomy: ceiling.is_none(),
            intervals_above: 0,
        }
    }

    /// Another ceiling holds from now on.
    pub(super) fn configure(&mut self, ceiling: Option<Ceiling>) {
        if self.ceiling != ceiling {
            let counted = self.intervals_above;
            *self = Pace { accrued_at: self.accrued_at, ..Pace::new(ceiling) };
            self.intervals_above = counted;
        }
    }

    /// Whether the ceiling does not cover everybody, so that it does not hold.
    pub(super) fn is_raised(&self) -> bool {
        self.is_raised
    }

    /// Intervals in which more was sent than the ceiling says.
    pub(super) fn intervals_above(&self) -> u64 {
        self.intervals_above
    }

    /// How many messages may go out at `now`.
    pub(super) fn allowance(&mut self, now: Instant, demand: &Demand) -> u32 {
        let cost = u128::from(USUAL - 1) * u128::from(demand.cycle_ns) * UNITS;
        if cost != self.cost {
            self.credit = 0;
            self.cost = cost;
        }
        self.weigh(demand);
        let passed = now.saturating_since(self.accrued_at).as_nanos();
        self.accrued_at = self.accrued_at.max(now);
        let burst_ns = if passed < ASLEEP_NS_MIN { self.burst_ns } else { BURST_NS };
        let most = (self.rate * u128::from(burst_ns)).max(cost);
        self.credit = (self.credit + self.rate.saturating_mul(passed)).min(most);
        let allowed = u32::try_from(self.credit / cost).unwrap_or(u32::MAX);
        allowed.min(self.left_in_interval(now))
    }

    /// Decides how fast to go, and whether the ceiling holds.
    fn weigh(&mut self, demand: &Demand) {
        let &Demand { population, cycle_ns, late_ns, guard_ns } = demand;
        let calm = (guard_ns / 2).clamp(1, CALM_NS_MAX);
        let worry = late_ns.saturating_sub(calm).min(calm);
        let speed = USUAL + (HURRIED - USUAL) * worry / calm;
        self.burst_ns = BURST_NS + (BURST_NS_MAX - BURST_NS) * worry / calm;
        let slowest = self.cost / u128::from(SLOWEST_NS);
        self.rate = (u128::from(population) * u128::from(speed) * UNITS).max(slowest);
        let Some(ceiling) = self.ceiling else { return };
        let needed = u128::from(population)
            * u128::from(ceiling.interval_ns())
            * u128::from(ceiling.shards.max(1));
        let covered = u128::from(ceiling.one_time) * u128::from(cycle_ns);
        self.is_raised = if self.is_raised {
            needed + needed * RETURN_64THS / 64 > covered
        } else {
            needed > covered
        };
        self.is_roomy = needed * 2 <= covered;
        self.is_bound = !self.is_raised && late_ns <= guard_ns / 2;
        if self.is_bound {
            let span = u128::from(ceiling.interval_ns()) * u128::from(ceiling.shards.max(1));
            // One more for each interval where it does not come out even: the count holds it.
            let limit = (self.cost * u128::from(ceiling.one_time)).div_ceil(span);
            self.rate = self.rate.min(limit);
        }
    }

    fn left_in_interval(&mut self, now: Instant) -> u32 {
        let Some(ceiling) = self.ceiling else { return u32::MAX };
        let interval = now.as_nanos() / ceiling.interval_ns();
        if interval > self.interval {
            self.interval = interval;
            self.sent_in_interval = 0;
        }
        if !self.is_bound {
            return u32::MAX;
        }
        ceiling.share(self.interval).saturating_sub(self.sent_in_interval)
    }

    /// One has gone out.
    pub(super) fn spend(&mut self) {
        self.credit = self.credit.saturating_sub(self.cost);
        let Some(ceiling) = self.ceiling else { return };
        self.sent_in_interval = self.sent_in_interval.saturating_add(1);
        let share = ceiling.share(self.interval);
        self.intervals_above += u64::from(self.sent_in_interval == share.saturating_add(1));
    }

    /// When the next may go out, if none may at `now`: at the latest when it can wait no longer.
    pub(super) fn ready_at(&mut self, now: Instant, demand: &Demand) -> Instant {
        let is_full = self.left_in_interval(now) == 0;
        let ready = match self.ceiling {
            Some(ceiling) if is_full => {
                Instant::from_nanos((self.interval + 1) * ceiling.interval_ns())
            }
            _ => {
                let missing = self.cost.saturating_sub(self.credit).div_ceil(self.rate.max(1));
                now + Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX))
            }
        };
        let harmless = (demand.guard_ns / 2).saturating_sub(demand.late_ns);
        let urgent = now + Duration::from_nanos(harmless + SLOWEST_NS);
        ready.min(urgent)
    }

    /// Whether the ceiling is far above what is needed, if there is one.
    pub(super) fn is_roomy(&self) -> bool {
        self.is_roomy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const CALM: Demand =
        Demand { population: 0, cycle_ns: 30_000 * MS, late_ns: 0, guard_ns: 234 * MS };

    fn ceiling(one_time: u32, shard: u8, shards: u8) -> Ceiling {
        Ceiling { one_time, interval: Duration::from_millis(500), shard, shards }
    }

    /// Sends whatever is allowed, every millisecond for so long; what went out in each.
    fn greedy(pace: &mut Pace, from: u64, ms: u64, demand: &Demand) -> Vec<u32> {
        let send = |at| {
            let allowed = pace.allowance(Instant::from_nanos(at * MS), demand);
            (0..allowed).for_each(|_| pace.spend());
            allowed
        };
        (from..from + ms).map(send).collect()
    }

    #[test]
    fn the_shares_of_all_shards_are_the_ceiling_in_every_interval() {
        for (one_time, shards) in [(3000, 1), (3000, 7), (1, 4), (2, 128), (10_000, 128), (5, 5)] {
            for interval in 0..300 {
                let share = |shard| ceiling(one_time, shard, shards).share(interval);
                let sum: u32 = (0..shards).map(share).sum();
                assert_eq!(sum, one_time, "{shards} shards, interval {interval}");
            }
        }
    }

    #[test]
    fn catching_up_is_a_sixteenth_faster_and_no_burst() {
        let demand = Demand { population: 300_000, ..CALM };
        let mut pace = Pace::new(None);
        greedy(&mut pace, 0, 10, &demand);
        // A stumble of 50 ms, then someone who always has more to send.
        let sent = greedy(&mut pace, 60, 1000, &demand);
        assert!(sent[0] <= 22, "{}", sent[0]);
        let total: u32 = sent.iter().sum();
        assert!((10_600..10_650).contains(&total), "{total}");
        assert!(sent[1..].iter().all(|&one| one <= 11));
    }

    #[test]
    fn nobody_holds_back_a_few() {
        let mut pace = Pace::new(Some(ceiling(3000, 0, 1)));
        let sent = greedy(&mut pace, 1, 100, &Demand { population: 10, ..CALM });
        assert!(sent.iter().all(|&one| one == 1), "one each millisecond");
    }

    #[test]
    fn the_ceiling_holds_while_it_covers_everybody() {
        let mut pace = Pace::new(Some(ceiling(100, 0, 1)));
        let demand = Demand { population: 5_900, ..CALM };
        for half in 0..10 {
            let sent = greedy(&mut pace, half * 500, 500, &demand);
            assert!(sent.iter().sum::<u32>() <= 100);
            assert!(sent.iter().all(|&one| one <= 1), "spread over the interval");
        }
        assert!(!pace.is_raised());
        assert_eq!(pace.intervals_above(), 0);
    }

    #[test]
    fn a_ceiling_that_cannot_cover_everybody_gives_way_and_comes_back() {
        let mut pace = Pace::new(Some(ceiling(100, 0, 1)));
        let many = Demand { population: 60_000, ..CALM };
        let sent: u32 = greedy(&mut pace, 1, 30_000, &many).iter().sum();
        assert!((60_000..64_000).contains(&sent), "{sent}");
        assert!(pace.is_raised());
        assert_eq!(pace.intervals_above(), 60);
        let just = Demand { population: 5_999, ..CALM };
        greedy(&mut pace, 30_001, 10, &just);
        assert!(pace.is_raised(), "not to and fro at the limit");
        let fewer = Demand { population: 5_900, ..CALM };
        greedy(&mut pace, 30_011, 10, &fewer);
        assert!(!pace.is_raised());
    }

    #[test]
    fn who_is_about_to_lose_a_pinhole_goes_before_the_ceiling() {
        let mut pace = Pace::new(Some(ceiling(100, 0, 1)));
        let demand = Demand { population: 5_000, late_ns: CALM.guard_ns, ..CALM };
        let sent: u32 = greedy(&mut pace, 1, 500, &demand).iter().sum();
        assert!(sent > 100);
        assert!(pace.intervals_above() > 0 && !pace.is_raised());
        assert_eq!(greedy(&mut pace, 501, 1, &Demand { late_ns: 0, ..demand }).len(), 1);
    }

    #[test]
    fn the_slowest_ceiling_is_not_none() {
        let interval = Duration::from_secs(10);
        let slow = Ceiling { one_time: 1, interval, shard: 127, shards: 128 };
        let mut pace = Pace::new(Some(slow));
        let demand = Demand { population: 1, cycle_ns: 86_400_000 * MS, ..CALM };
        let mut now = Instant::ZERO;
        let mut sent = 0;
        while now < Instant::from_secs(2560) {
            if pace.allowance(now, &demand) > 0 {
                pace.spend();
                sent += 1;
            }
            let next = pace.ready_at(now, &demand);
            assert!(next > now);
            now = next;
        }
        assert!((1..=2).contains(&sent), "one in each 128 intervals: {sent}");
    }

    proptest! {
        #[test]
        fn waiting_until_ready_is_enough_and_time_may_jump(
            population in 1u32..2_000_000,
            one_time in 1u32..10_000,
            shards in 1u8..=128,
            jumps in proptest::collection::vec(0u64..100_000_000_000, 1..30),
        ) {
            let mut pace = Pace::new(Some(ceiling(one_time, 0, shards)));
            let demand = Demand { population, ..CALM };
            let mut now = Instant::ZERO;
            for jump in jumps {
                now = now + Duration::from_nanos(jump);
                let mut tries = 0;
                while pace.allowance(now, &demand) == 0 {
                    let ready = pace.ready_at(now, &demand);
                    prop_assert!(ready > now);
                    now = ready;
                    tries += 1;
                    // Each interval once, and in it when who waits can do so no longer.
                    prop_assert!(tries <= 8 * u32::from(shards) + 8, "{} tries", tries);
                }
                let allowed = pace.allowance(now, &demand);
                let most = u64::from(population) * 17 / 16 * 2 / 30_000 + 1;
                prop_assert!(u64::from(allowed) <= most.max(2), "{} of {}", allowed, most);
                (0..allowed).for_each(|_| pace.spend());
            }
        }
    }
}
