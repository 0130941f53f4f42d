//! The stopwatch of one reactor: which batches are timed, and what their laps come to.
//!
//! One batch in so many is timed from end to end, datagrams, handed-over messages and those of a
//! connection's turn alike; each counts with as many messages as it had. Which one is drawn: the
//! distance to the next is anything from 1 to twice the mean, so that what the loop does every so
//! many turns falls on as many timed batches as on others. While a batch is not timed, a lap is a
//! test of a pointer and no clock is read. A clock read is within the lap that it ends, some 25 ns.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::clock::Clock;
use super::service_times::{SharedServiceTimes, Span};
use crate::limits::BATCH_MAX;
use crate::shard::Datagram;
use crate::shard::stages::{Stage, Stopwatch, Watch};
use crate::time::Instant;

/// Where times come from and go to; a seam, so that tests bring a clock of their own.
pub(super) trait Timing {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// Where times are counted.
    fn times(&self) -> &SharedServiceTimes;
}

/// The clock of the process, and where the times of one reactor are counted.
pub(super) struct Real {
    pub(super) clock: Clock,
    pub(super) times: Arc<SharedServiceTimes>,
}

impl Timing for Real {
    fn now(&self) -> Instant {
        self.clock.mono()
    }

    fn times(&self) -> &SharedServiceTimes {
        &self.times
    }
}

/// The stopwatch.
pub(super) struct Laps<T = Real> {
    timing: T,
    /// One batch in so many is timed; 0: none.
    every: u32,
    /// Batches to the next that is timed, that one included.
    left: Cell<u64>,
    /// What the distances are drawn with.
    draw: Cell<u64>,
    running: Cell<bool>,
    begun: Cell<Instant>,
    /// The end of the lap before.
    at: Cell<Instant>,
    /// What each stage took of the batch at hand, nanoseconds.
    stages: [Cell<u64>; Stage::ALL.len()],
    /// How long each handed-over message of it was under way, nanoseconds.
    handoffs: RefCell<Vec<u64>>,
}

impl<T: Timing> Laps<T> {
    /// Times one batch in `every`, none where that is 0. Reactors draw with seeds of their own.
    pub(super) fn new(timing: T, every: u32, seed: u64) -> Laps<T> {
        let laps = Laps {
            timing,
            every,
            left: Cell::new(u64::MAX),
            draw: Cell::new(seed),
            running: Cell::new(false),
            begun: Cell::default(),
            at: Cell::default(),
            stages: Default::default(),
            handoffs: RefCell::new(Vec::with_capacity(BATCH_MAX)),
        };
        laps.draw_next();
        laps
    }

    /// A batch may begin; it is only known to have been one when it ends.
    #[inline]
    pub(super) fn begin(&self) {
        if self.left.get() == 1 {
            self.start();
        }
    }

    /// The stopwatch of the batch at hand, if it is timed.
    #[inline]
    pub(super) fn watch(&self) -> Watch<'_> {
        if self.running.get() { Watch::by(self) } else { Watch::NONE }
    }

    /// What has been done since the lap before was of this stage.
    #[inline]
    pub(super) fn lap(&self, stage: Stage) {
        if self.running.get() {
            Stopwatch::lap(self, stage);
        }
    }

    /// What has been done since the lap before has nothing to do with the batch.
    #[inline]
    pub(super) fn leave_out(&self) {
        if self.running.get() {
            let now = self.timing.now();
            let passed = now.saturating_since(self.at.get());
            self.begun.set(self.begun.get() + passed);
            self.at.set(now);
        }
    }

    /// These were taken from the rings.
    #[inline]
    pub(super) fn taken_over(&self, messages: &[Datagram<'_>]) {
        if self.running.get() {
            let at = self.at.get();
            let waited =
                |one: &Datagram<'_>| at.saturating_since(one.received_at).as_nanos() as u64;
            self.handoffs.borrow_mut().extend(messages.iter().map(waited));
        }
    }

    /// The batch is over: its answers are with the kernel. Without messages it was none, and the
    /// next is looked at in its place.
    #[inline]
    pub(super) fn finish(&self, messages: usize) {
        if self.running.get() {
            self.count(messages as u64);
        } else if messages > 0 {
            self.left.set(self.left.get() - 1);
        }
    }

    #[cold]
    fn start(&self) {
        let now = self.timing.now();
        self.begun.set(now);
        self.at.set(now);
        self.stages.iter().for_each(|stage| stage.set(0));
        self.handoffs.borrow_mut().clear();
        self.running.set(true);
    }

    #[cold]
    fn count(&self, messages: u64) {
        if messages > 0 {
            Stopwatch::lap(self, Stage::Send);
            let times = self.timing.times();
            times.add_batch();
            for stage in Stage::ALL {
                let share = self.stages[stage as usize].get() + messages / 2;
                times.add(Span::Stage(stage), share / messages, messages);
            }
            for &ns in &*self.handoffs.borrow() {
                times.add(Span::Handoff, ns, 1);
            }
            let whole = self.at.get().saturating_since(self.begun.get());
            times.add(Span::Whole, whole.as_nanos() as u64, messages);
            self.draw_next();
        }
        self.running.set(false);
    }

    /// Draws the distance to the next batch that is timed (splitmix64).
    fn draw_next(&self) {
        let state = self.draw.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.draw.set(state);
        let mut drawn = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ drawn >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        let every = u64::from(self.every);
        self.left.set(if every == 0 { u64::MAX } else { drawn % (2 * every - 1) + 1 });
    }
}

impl<T: Timing> Stopwatch for Laps<T> {
    #[cold]
    fn lap(&self, stage: Stage) {
        let now = self.timing.now();
        let passed = now.saturating_since(self.at.get()).as_nanos() as u64;
        let stage = &self.stages[stage as usize];
        stage.set(stage.get() + passed);
        self.at.set(now);
    }
}

#[cfg(test)]
#[path = "laps_tests.rs"]
mod tests;
