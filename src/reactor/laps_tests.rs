//! The stopwatch on a clock of the tests' own: laps add up, each goes where it belongs, and the
//! batches that are timed are a fair sample.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::super::service_times::ServiceTimes;
use super::*;
use crate::shard::ListenerId;

/// A clock that stands until it is moved.
struct Virtual {
    now: Cell<Instant>,
    times: SharedServiceTimes,
}

impl Virtual {
    fn laps(every: u32) -> Laps<Virtual> {
        let times = SharedServiceTimes::new(true);
        Laps::new(Virtual { now: Cell::new(Instant::from_secs(5)), times }, every, 7)
    }
}

impl Timing for Virtual {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn times(&self) -> &SharedServiceTimes {
        &self.times
    }
}

impl Laps<Virtual> {
    fn pass(&self, ns: u64) {
        self.timing.now.set(self.timing.now.get() + Duration::from_nanos(ns));
    }

    fn read(&self) -> ServiceTimes {
        self.timing.times.read()
    }
}

/// What a span has, each value with its count.
fn recorded(times: &ServiceTimes, span: Span) -> Vec<(u64, u64)> {
    let of = times.of(span);
    of.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

fn message(received_at: Instant) -> Datagram<'static> {
    Datagram {
        source: SocketAddr::from(([127, 0, 0, 1], 5060)),
        listener: ListenerId(0),
        local_ip: None,
        received_at,
        bytes: b"",
        link: None,
    }
}

#[test]
fn each_lap_counts_with_the_stage_that_it_ends() {
    let laps = Virtual::laps(1);
    laps.begin();
    // Four messages: 40 ns for a stage of all are 10 for each.
    for (ns, stage) in [
        (40, Stage::Receive),
        (80, Stage::Guard),
        (120, Stage::Parse),
        (4, Stage::Core),
        (160, Stage::Auth),
        (196, Stage::Core),
        (100, Stage::Receive),
    ] {
        laps.pass(ns);
        laps.watch().lap(stage);
    }
    laps.pass(240);
    laps.finish(4);
    let times = laps.read();
    for (stage, share) in Stage::ALL.into_iter().zip([35, 20, 30, 40, 50, 60]) {
        assert_eq!(recorded(&times, Span::Stage(stage)), [(share, 4)], "{stage:?}");
    }
    let whole = times.of(Span::Whole);
    assert_eq!((whole.len(), whole.count_at(940), times.batches()), (4, 4, 1));
    assert!(times.of(Span::Handoff).is_empty());
}

proptest! {
    #[test]
    fn the_stages_of_a_batch_add_up_to_the_whole(
        steps in prop::collection::vec((0..20_000u64, 0..7usize), 0..60),
        end in 0..20_000u64,
    ) {
        let laps = Virtual::laps(1);
        laps.begin();
        let mut left_out = 0;
        for &(ns, what) in &steps {
            laps.pass(ns);
            match Stage::ALL.get(what) {
                Some(&stage) => laps.lap(stage),
                None => {
                    // A lap ends before what is left out begins.
                    laps.lap(Stage::Receive);
                    laps.pass(ns);
                    laps.leave_out();
                    left_out += ns;
                }
            }
        }
        laps.pass(end);
        laps.lap(Stage::Send);
        let sum: u64 = laps.stages.iter().map(Cell::get).sum();
        let whole = laps.at.get().saturating_since(laps.begun.get()).as_nanos() as u64;
        let passed = laps.timing.now().saturating_since(Instant::from_secs(5)).as_nanos() as u64;
        prop_assert_eq!((sum, sum + left_out), (whole, passed));
        laps.finish(1);
        let recorded = laps.read();
        // One alone has the batch for itself: what is shown adds up but for the buckets' width.
        let shown: u64 = Stage::ALL.iter().map(|&one| recorded.of(Span::Stage(one)).max()).sum();
        prop_assert!(shown.abs_diff(whole) <= whole / 100 + 6, "{shown} of {whole}");
    }

    #[test]
    fn every_batch_is_as_likely_whatever_its_size_and_rhythm(
        every in 2..40u32,
        period in 2..33usize,
        seed: u64,
    ) {
        let times = SharedServiceTimes::new(true);
        let laps = Laps::new(Virtual { now: Cell::default(), times }, every, seed);
        // One batch of each period is long and full, the others short and of one message.
        let batches = 4000 * every as usize;
        for nth in 0..batches {
            let (ns, messages) = if nth % period == 0 { (3200, 32) } else { (50, 1) };
            laps.begin();
            laps.pass(ns);
            laps.lap(Stage::Core);
            laps.finish(messages);
        }
        let times = laps.read();
        let core = times.of(Span::Stage(Stage::Core));
        let (full, single) = (core.count_at(100) / 32, core.count_at(50));
        prop_assert_eq!(full + single, times.batches());
        let expected = 4000.0 / period as f64;
        let off = (full as f64 - expected).abs();
        prop_assert!(off < 6.0 * expected.sqrt(), "{full} of {expected}");
        prop_assert!(times.batches().abs_diff(4000) < 250, "{}", times.batches());
    }
}

#[test]
fn what_was_no_batch_is_neither_counted_nor_skipped() {
    let laps = Virtual::laps(1);
    for _ in 0..3 {
        laps.begin();
        laps.pass(500);
        laps.finish(0);
    }
    assert!(laps.read().is_empty());
    laps.begin();
    laps.pass(70);
    laps.finish(1);
    assert_eq!(recorded(&laps.read(), Span::Whole), [(70, 1)]);
}

#[test]
fn what_was_handed_over_tells_how_long_it_was_under_way() {
    let laps = Virtual::laps(1);
    laps.pass(1000);
    let received_at = laps.timing.now();
    laps.pass(200);
    laps.begin();
    laps.pass(40);
    laps.lap(Stage::Receive);
    // The other core's clock may be a little ahead.
    laps.taken_over(&[message(received_at), message(received_at + Duration::from_secs(1))]);
    laps.pass(20);
    laps.finish(2);
    let times = laps.read();
    assert_eq!(recorded(&times, Span::Handoff), [(0, 1), (240, 1)]);
    assert_eq!(recorded(&times, Span::Whole), [(60, 2)]);
}

#[test]
fn switched_off_it_reads_no_clock_and_counts_nothing() {
    let laps = Virtual::laps(0);
    for _ in 0..100_000 {
        laps.begin();
        laps.pass(10);
        laps.watch().lap(Stage::Core);
        laps.finish(32);
    }
    assert!(laps.read().is_empty() && laps.at.get() == Instant::ZERO);
}
