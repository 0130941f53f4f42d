//! A schedule against a model that remembers when each had its last packet.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn seconds(period: u64) -> Rhythm {
    Rhythm { period: Duration::from_secs(period), ceiling: None }
}

fn phone(index: u32) -> Endpoint {
    Endpoint { index, generation: 1 }
}

/// A schedule, its clock, and what an observer on the wire has seen.
struct World {
    schedule: Schedule,
    now: Instant,
    /// Who is there, and the last packet of each.
    last: Vec<Option<(Endpoint, Instant)>>,
    /// Messages of each 10 ms since they were last taken away.
    buckets: BTreeMap<u64, u32>,
    gap_max: Duration,
    late_max: Duration,
    missed: u32,
    sent: u32,
    passed_over: u32,
    wakes: u32,
    /// Who is passed over if a packet of this age or less has gone by.
    heard: BTreeMap<u32, Instant>,
}

impl World {
    fn new(rhythm: Rhythm) -> World {
        World {
            schedule: Schedule::new(rhythm, [3, 4]),
            now: Instant::from_secs(1000),
            last: Vec::new(),
            buckets: BTreeMap::new(),
            gap_max: Duration::ZERO,
            late_max: Duration::ZERO,
            missed: 0,
            sent: 0,
            passed_over: 0,
            wakes: 0,
            heard: BTreeMap::new(),
        }
    }

    fn with(rhythm: Rhythm, count: u32) -> World {
        let mut world = World::new(rhythm);
        (0..count).for_each(|index| world.insert(phone(index)));
        world
    }

    fn insert(&mut self, endpoint: Endpoint) {
        self.schedule.insert(self.now, endpoint);
        let index = endpoint.index as usize;
        self.last.resize(self.last.len().max(index + 1), None);
        if self.last_mut(endpoint).is_none() {
            self.last[index] = Some((endpoint, self.now));
        }
    }

    fn last_mut(&mut self, endpoint: Endpoint) -> Option<&mut Instant> {
        match self.last.get_mut(endpoint.index as usize) {
            Some(Some((other, last))) if *other == endpoint => Some(last),
            _ => None,
        }
    }

    fn remove(&mut self, endpoint: Endpoint) {
        let known = self.last_mut(endpoint).is_some();
        assert_eq!(self.schedule.remove(endpoint), known);
        if known {
            self.last[endpoint.index as usize] = None;
        }
    }

    fn len(&self) -> usize {
        self.last.iter().flatten().count()
    }

    /// A packet by another way, which the caller remembers.
    fn hears(&mut self, index: u32) {
        let now = self.now;
        self.heard.insert(index, now);
        if let Some(last) = self.last_mut(phone(index)) {
            *last = now;
        }
    }

    fn serve(&mut self) {
        self.wakes += 1;
        let mut batch = ArrayVec::new();
        loop {
            self.schedule.take(self.now, &mut batch);
            if batch.is_empty() {
                return;
            }
            for due in &batch {
                assert!(due.intended <= self.now);
                let heard = self.heard.get(&due.endpoint.index).copied().unwrap_or(Instant::ZERO);
                if self.schedule.pass_over(self.now, due, heard) {
                    self.passed_over += 1;
                    continue;
                }
                let Some(sent) = self.schedule.sent(self.now, due) else { continue };
                let now = self.now;
                let last = self.last_mut(due.endpoint).expect("only who is there is due");
                let gap = now.saturating_since(std::mem::replace(last, now));
                self.gap_max = self.gap_max.max(gap);
                self.late_max = self.late_max.max(sent.late);
                self.missed += u32::from(sent.missed);
                self.sent += 1;
                *self.buckets.entry(self.now.as_nanos() / 10_000_000).or_default() += 1;
            }
        }
    }

    /// Sleeps from deadline to deadline, as a reactor does, a little late each time.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.serve();
            let next = self.schedule.next_deadline(self.now);
            assert!(next.is_none_or(|next| next > self.now), "no busy loop");
            match next {
                Some(next) if next < end => self.now = next + Duration::from_micros(70),
                _ => break,
            }
        }
        self.now = end;
        self.serve();
    }

    /// What the observer saw: most messages in 10 ms by the mean, where the mean counts.
    fn peak(&mut self, span: Duration) -> f64 {
        let mean = f64::from(self.buckets.values().sum::<u32>()) / (span.as_millis() as f64 / 10.0);
        let most = self.buckets.values().copied().max().unwrap_or(0);
        self.buckets.clear();
        f64::from(most) / mean
    }

    fn forget_figures(&mut self) {
        self.buckets.clear();
        (self.gap_max, self.late_max, self.missed, self.sent) = Default::default();
        (self.passed_over, self.wakes) = Default::default();
    }

    /// Nobody has gone without a packet for longer than the period.
    fn check(&self, period: Duration) {
        for (endpoint, last) in self.last.iter().flatten() {
            assert!(
                self.now.saturating_since(*last) <= period,
                "{endpoint:?} waits since {last:?}"
            );
        }
        assert!(self.gap_max <= period, "{:?}", self.gap_max);
        assert_eq!(self.missed, 0);
        self.schedule.check_invariants();
    }
}

const TEN: Duration = Duration::from_secs(10);

#[test]
fn everybody_has_one_turn_in_a_cycle_and_the_flow_is_even() {
    let mut world = World::with(seconds(10), 100_000);
    world.run(TEN);
    world.forget_figures();
    world.run(TEN);
    // A cycle is a hundredth shorter than the period.
    assert!((100_000..102_500).contains(&world.sent), "{}", world.sent);
    let peak = world.peak(TEN);
    assert!(peak <= 1.12, "with ten wake-ups in a bucket, one more is a tenth: {peak}");
    assert!(world.late_max <= 3 * MS, "{:?}", world.late_max);
    assert!(world.wakes <= 10_001);
    world.check(TEN);
}

#[test]
fn the_slots_of_a_million_are_as_full_as_each_other() {
    let mut schedule = Schedule::new(seconds(30), [3, 4]);
    for index in 0..1_000_000 {
        schedule.insert(Instant::ZERO, phone(index));
    }
    let loads = (0..schedule.ring.slots()).map(|slot| schedule.ring.load(slot as u16));
    let mean = 1e6 / schedule.ring.slots() as f64;
    let most = f64::from(loads.max().unwrap()) / mean;
    assert!(most <= 1.05, "{most}");
}

#[test]
fn a_few_cost_a_few_wake_ups() {
    let mut world = World::with(seconds(30), 5);
    world.run(Duration::from_secs(300));
    assert!((50..=56).contains(&world.sent), "{}", world.sent);
    assert!(world.wakes <= 2 * world.sent, "{} wake-ups", world.wakes);
    world.check(Duration::from_secs(30));
}

#[test]
fn a_storm_of_newcomers_and_leavers_keeps_the_flow_even() {
    let mut world = World::with(seconds(10), 40_000);
    world.run(TEN / 3);
    // Half of them leave one after the other while the rest are served, and others come.
    for step in 0..1000 {
        for index in 0..20 {
            world.remove(phone(2 * (20 * step + index)));
        }
        world.run(2 * MS);
        if step % 2 == 0 {
            (0..60).for_each(|index| world.insert(phone(40_000 + 60 * step + index)));
        }
    }
    world.run(TEN);
    world.forget_figures();
    world.run(TEN);
    let peak = world.peak(TEN);
    assert!(peak <= 1.2, "{peak}");
    world.check(TEN);
}

#[test]
fn a_new_tenant_of_a_slot_is_somebody_else() {
    let mut world = World::new(seconds(10));
    world.insert(Endpoint { index: 7, generation: 1 });
    world.run(4 * TEN / 5);
    let newcomer = Endpoint { index: 7, generation: 3 };
    world.insert(newcomer);
    assert!(!world.schedule.contains(phone(7)));
    assert!(!world.schedule.remove(phone(7)), "the name of who was there before is not used again");
    let due = Due { endpoint: phone(7), intended: world.now };
    assert_eq!(world.schedule.sent(world.now, &due), None);
    assert!(!world.schedule.pass_over(world.now, &due, world.now));
    world.schedule.heard(world.now, phone(7));
    assert_eq!(world.schedule.len(), 1);
    world.run(2 * TEN);
    world.check(TEN);
}

#[test]
fn inserting_twice_keeps_the_turn() {
    let mut world = World::with(seconds(10), 1);
    let turn = world.schedule.ring.next_turn();
    world.insert(phone(0));
    assert_eq!((world.schedule.len(), world.schedule.ring.next_turn()), (1, turn));
}

#[test]
fn a_packet_by_another_way_saves_one_and_nobody_waits_longer() {
    let mut world = World::with(seconds(10), 20_000);
    world.run(TEN);
    world.forget_figures();
    // Everybody is heard from once in about 14 s, spread over all of that time.
    for step in 0..7000u32 {
        (0..3).for_each(|part| world.hears((step * 3 + part) % 20_000));
        world.run(2 * MS);
    }
    assert!(world.passed_over > 3000, "{}", world.passed_over);
    assert!(world.sent < 26_000, "{}", world.sent);
    world.forget_figures();
    world.run(2 * TEN);
    let peak = world.peak(2 * TEN);
    assert!(peak <= 1.2, "{peak}");
    world.check(TEN);
}

#[test]
fn everybody_heard_from_at_once_is_not_made_a_spike() {
    let mut world = World::with(seconds(10), 50_000);
    world.run(TEN);
    (0..50_000).for_each(|index| world.hears(index));
    world.forget_figures();
    world.run(3 * TEN);
    let peak = world.peak(3 * TEN);
    assert!(peak <= 1.35, "one passed over in the first cycle lowers the mean: {peak}");
    world.check(TEN);
}

#[test]
fn a_stumble_of_the_host_is_caught_up_without_a_burst() {
    let mut world = World::with(seconds(30), 300_000);
    world.run(Duration::from_secs(31));
    world.forget_figures();
    for _ in 0..10 {
        world.run(Duration::from_millis(700));
        world.now = world.now + 40 * MS;
    }
    world.run(Duration::from_secs(30));
    let peak = world.peak(Duration::from_millis(37_400));
    assert!(peak <= 1.2, "{peak}");
    assert!(world.late_max <= 42 * MS, "{:?}", world.late_max);
    world.check(Duration::from_secs(30));
}

#[test]
fn a_host_that_gives_us_a_part_of_its_time_makes_nobody_wait() {
    let mut world = World::with(seconds(30), 60_000);
    // It runs for 3 ms, looks each third of one, and then others do for 12 ms.
    for _ in 0..4000 {
        for _ in 0..9 {
            world.now = world.now + Duration::from_micros(333);
            world.serve();
        }
        world.now = world.now + 12 * MS;
    }
    assert!(world.late_max < 100 * MS, "{:?}", world.late_max);
    world.check(Duration::from_secs(30));
}

#[test]
fn after_an_hour_asleep_everybody_is_served_soon_and_then_in_time() {
    let mut world = World::with(seconds(10), 50_000);
    world.run(TEN);
    for asleep in [Duration::from_secs(3600), Duration::from_secs(7), Duration::from_secs(86_400)] {
        let before = world.now;
        world.now = before + asleep;
        let awake = world.now;
        world.forget_figures();
        world.run(TEN);
        assert!(
            world.last.iter().flatten().all(|&(_, last)| last >= awake),
            "everybody within a period"
        );
        let most = world.buckets.values().copied().max().unwrap();
        assert!(most <= 2 * 50 * 11 / 10 + 2, "twice the pace at most: {most} in 10 ms");
        world.run(TEN);
        world.forget_figures();
        world.run(2 * TEN);
        world.check(TEN);
    }
}

fn ceiling(one_time: u32, interval_ms: u32) -> Option<Ceiling> {
    Some(Ceiling { one_time, interval: interval_ms * MS, shard: 0, shards: 1 })
}

fn most_in_any(buckets: &BTreeMap<u64, u32>, interval_ms: u64) -> u32 {
    let mut most = 0;
    for &start in buckets.keys() {
        most = most.max(buckets.range(start..start + interval_ms / 10).map(|(_, n)| n).sum());
    }
    most
}

#[test]
fn no_interval_sees_more_than_the_ceiling_while_that_covers_everybody() {
    for (count, one_time, interval_ms) in [(11_000, 600, 500), (40, 3, 500), (190, 200, 10_000)] {
        let rhythm = Rhythm { ceiling: ceiling(one_time, interval_ms), ..seconds(10) };
        let mut world = World::with(rhythm, count);
        world.run(4 * TEN);
        let most = most_in_any(&world.buckets, interval_ms.into());
        // Wherever an interval begins; those of the clock never see more than the ceiling.
        assert!(most <= one_time + one_time / 20 + 2, "{most} of {one_time}");
        assert_eq!(world.schedule.intervals_above(), 0);
        assert!(!world.schedule.is_raised());
        world.check(TEN);
    }
}

#[test]
fn a_ceiling_of_a_few_holds_too_where_it_covers_everybody_with_room() {
    for (count, one_time, interval_ms, shards) in
        [(10, 1, 500, 1), (5, 1, 500, 2), (10, 2, 500, 2), (25, 2, 500, 1), (4, 1, 1000, 1)]
    {
        for shard in 0..shards {
            let of_shard = Ceiling { shard, shards, ..ceiling(one_time, interval_ms).unwrap() };
            let rhythm = Rhythm { ceiling: Some(of_shard), ..seconds(10) };
            let mut world = World::with(rhythm, count);
            world.run(40 * TEN);
            let above = world.schedule.intervals_above();
            assert_eq!(above, 0, "{count} phones, {one_time} in {interval_ms} ms, {shards}");
            assert!(!world.schedule.is_raised());
            world.check(TEN);
        }
    }
}

#[test]
fn a_ceiling_that_becomes_low_or_high_misses_nobody() {
    let with = |one_time| Rhythm { ceiling: ceiling(one_time, 500), ..seconds(10) };
    let mut world = World::with(with(3000), 10);
    for one_time in [1, 3000, 1, 2, 3000] {
        world.run(TEN + 3333 * MS);
        world.schedule.configure(world.now, with(one_time));
    }
    world.run(2 * TEN);
    world.check(TEN);
}

#[test]
fn a_ceiling_that_cannot_cover_everybody_is_raised_and_nobody_missed() {
    let rhythm = Rhythm { ceiling: ceiling(100, 500), ..seconds(10) };
    let mut world = World::with(rhythm, 20_000);
    world.run(2 * TEN);
    world.check(TEN);
    assert!(world.schedule.is_raised());
    assert!(world.schedule.intervals_above() >= 39);
    assert!(world.peak(2 * TEN) <= 1.3, "even so no spike");
    // The operator hears of it and allows more.
    let enough = Rhythm { ceiling: ceiling(2000, 500), ..rhythm };
    world.schedule.configure(world.now, enough);
    world.run(TEN);
    assert!(!world.schedule.is_raised());
    world.check(TEN);
}

#[test]
fn another_period_holds_for_everybody_soon() {
    for (before, after) in [(30, 10), (10, 30), (10, 86_400), (600, 10)] {
        let mut world = World::with(seconds(before), 20_000);
        world.run(Duration::from_secs(before));
        world.forget_figures();
        world.schedule.configure(world.now, seconds(after));
        assert_eq!(world.schedule.rhythm(), seconds(after));
        let longer = before.max(after);
        world.run(Duration::from_secs(longer.min(1000)));
        world.check(Duration::from_secs(longer));
        assert!(world.schedule.former.is_none());
        if after <= 30 {
            world.forget_figures();
            world.run(Duration::from_secs(2 * after));
            world.check(Duration::from_secs(after));
            let peak = world.peak(Duration::from_secs(2 * after));
            assert!(peak <= 1.35, "{before} -> {after}: {peak}");
        }
    }
}

#[test]
fn a_rhythm_set_while_the_last_is_moved_to_holds_in_the_end() {
    let mut world = World::with(seconds(30), 5000);
    world.run(TEN);
    for period in [10, 20, 10] {
        world.schedule.configure(world.now, seconds(period));
        world.run(MS);
    }
    world.run(4 * TEN);
    world.forget_figures();
    assert_eq!(world.schedule.rhythm(), seconds(10));
    world.run(2 * TEN);
    world.check(TEN);
}

#[test]
fn a_schedule_with_nobody_has_nothing_to_do() {
    let mut schedule = Schedule::new(seconds(10), [0, 0]);
    let mut batch = ArrayVec::new();
    schedule.configure(Instant::ZERO, seconds(20));
    schedule.take(Instant::from_secs(50), &mut batch);
    assert!(batch.is_empty() && schedule.is_empty());
    assert_eq!(schedule.next_deadline(Instant::from_secs(50)), None);
    assert!(!schedule.remove(phone(3)));
}

#[derive(Clone, Debug)]
enum Op {
    Insert { from: u32, count: u32 },
    Remove { from: u32, count: u32 },
    Reuse { index: u32 },
    Hear { from: u32, count: u32 },
    Run { ms: u64 },
    Stumble { ms: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let run = prop_oneof![0..30u64, 0..2000u64, 0..12_000u64];
    let op = prop_oneof![
        3 => (0..400u32, 1..200u32).prop_map(|(from, count)| Op::Insert { from, count }),
        2 => (0..400u32, 1..100u32).prop_map(|(from, count)| Op::Remove { from, count }),
        1 => (0..400u32).prop_map(|index| Op::Reuse { index }),
        2 => (0..400u32, 1..200u32).prop_map(|(from, count)| Op::Hear { from, count }),
        4 => run.prop_map(|ms| Op::Run { ms }),
        1 => (1..60u64).prop_map(|ms| Op::Stumble { ms }),
    ];
    proptest::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nobody_ever_waits_longer_than_a_period(
        ops in ops(),
        tight in any::<bool>(),
        one_time in 1u32..400,
    ) {
        let limit = if tight { ceiling(one_time, 500) } else { None };
        let mut world = World::new(Rhythm { ceiling: limit, ..seconds(10) });
        let mut generations = vec![1u32; 700];
        let name = |generations: &[u32], index: u32| Endpoint {
            index,
            generation: generations[index as usize],
        };
        for op in ops {
            match op {
                Op::Insert { from, count } => {
                    (from..from + count).for_each(|i| world.insert(name(&generations, i)));
                }
                Op::Remove { from, count } => {
                    (from..from + count).for_each(|i| world.remove(name(&generations, i)));
                }
                Op::Reuse { index } => {
                    generations[index as usize] += 2;
                    world.insert(name(&generations, index));
                }
                Op::Hear { from, count } => {
                    for index in from..from + count {
                        let endpoint = name(&generations, index);
                        world.schedule.heard(world.now, endpoint);
                        let now = world.now;
                        if let Some(last) = world.last_mut(endpoint) {
                            *last = now;
                        }
                    }
                }
                Op::Run { ms } => world.run(Duration::from_millis(ms)),
                Op::Stumble { ms } => {
                    // Within the guard.
                    world.now = world.now + Duration::from_millis(ms);
                    world.serve();
                }
            }
            world.schedule.check_invariants();
            prop_assert_eq!(world.schedule.len(), world.len());
        }
        world.run(Duration::from_secs(20));
        world.check(TEN);
    }
}
