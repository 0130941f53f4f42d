//! How long messages take, stage by stage: histograms that one reactor writes and anybody reads.
//!
//! The buckets are those of an HDR histogram of two significant digits, in shared memory: the
//! reactor adds to them with plain loads and stores, and whoever reads takes the numbers as they
//! are, so reading costs the data plane nothing and copies nothing on its thread. What is read
//! ([`ServiceTimes`]) turns into `hdrhistogram`'s own for percentiles and files. When to measure is
//! decided in [`super::laps`].

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use crate::shard::stages::Stage;

/// The longest time that is told from longer ones, nanoseconds: ten seconds. What is above counts
/// as this.
pub const SERVICE_NS_MAX: u64 = 10_000_000_000;
/// Significant digits: values are told apart to one in a hundred.
const DIGITS: u8 = 2;

/// Two digits take 256 steps up to the first value that is not exact, and 128 for each doubling.
const STEPS_BITS: u32 = 8;
const HALF_BITS: u32 = STEPS_BITS - 1;
/// Buckets of one histogram.
const BUCKETS: usize = bucket_of(SERVICE_NS_MAX) + 1;

/// The bucket of a value, nanoseconds.
const fn bucket_of(ns: u64) -> usize {
    let doublings = (u64::BITS - HALF_BITS - 1) - (ns | ((1 << STEPS_BITS) - 1)).leading_zeros();
    ((doublings as usize) << HALF_BITS) + (ns >> doublings) as usize
}

/// The least value of a bucket, nanoseconds.
const fn least_of(bucket: usize) -> u64 {
    let doublings = (bucket >> HALF_BITS).saturating_sub(1);
    ((bucket - (doublings << HALF_BITS)) as u64) << doublings
}

/// What is measured of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Its share of a stage of its batch: the time of the batch, divided by its messages. So the
    /// stages of a message add up to the work it was, however many came with it.
    Stage(Stage),
    /// From its arrival at the shard that received it until the one that owns its account took it
    /// from the ring.
    Handoff,
    /// From the call that took its batch until all answers of that were with the kernel: what it
    /// waited for its service, not divided. For what is handed over it ends, at the shard that
    /// received it, in the ring, and begins anew at the other.
    Whole,
}

impl Span {
    /// All of them, in the order they are shown.
    pub const ALL: [Span; 8] = [
        Span::Stage(Stage::Receive),
        Span::Stage(Stage::Guard),
        Span::Stage(Stage::Parse),
        Span::Stage(Stage::Auth),
        Span::Stage(Stage::Core),
        Span::Stage(Stage::Send),
        Span::Handoff,
        Span::Whole,
    ];

    /// Its name in metrics and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Span::Stage(stage) => stage.name(),
            Span::Handoff => "handoff",
            Span::Whole => "whole",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Span> {
        Span::ALL.into_iter().find(|span| span.name() == name)
    }

    const fn index(self) -> usize {
        match self {
            Span::Stage(stage) => stage as usize,
            Span::Handoff => Stage::ALL.len(),
            Span::Whole => Stage::ALL.len() + 1,
        }
    }
}

const SPANS: usize = Span::ALL.len();

/// The histograms of one reactor, where other threads may read them.
#[derive(Debug)]
pub(super) struct SharedServiceTimes {
    batches: AtomicU64,
    counts: Box<[AtomicU64]>,
}

impl SharedServiceTimes {
    /// Some 220 KiB; nothing where nothing will be timed.
    pub(super) fn new(timed: bool) -> SharedServiceTimes {
        let counts = if timed { SPANS * BUCKETS } else { 0 };
        let counts = (0..counts).map(|_| AtomicU64::new(0)).collect();
        SharedServiceTimes { batches: AtomicU64::new(0), counts }
    }

    /// A batch has been timed. Called by the reactor alone, as is the next.
    pub(super) fn add_batch(&self) {
        add(&self.batches, 1);
    }

    /// So many messages took so long.
    pub(super) fn add(&self, span: Span, ns: u64, messages: u64) {
        let bucket = bucket_of(ns.min(SERVICE_NS_MAX));
        add(&self.counts[span.index() * BUCKETS + bucket], messages);
    }

    /// What has been counted. Each number is whole, the set may be of two moments.
    pub(super) fn read(&self) -> ServiceTimes {
        let mut spans = self.counts.chunks_exact(BUCKETS).map(|counts| {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            Counts((0..).zip(counts).filter(|&(_, count)| count > 0).collect())
        });
        ServiceTimes {
            batches: self.batches.load(Ordering::Relaxed),
            spans: std::array::from_fn(|_| spans.next().unwrap_or_default()),
        }
    }
}

/// There is one writer, so nothing is lost between the load and the store.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// The buckets that are not empty, in order, each with its count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts(Vec<(u16, u64)>);

impl Counts {
    /// Both together, each bucket by `both`; what comes to nothing is left out.
    fn with(&self, other: &Counts, both: impl Fn(u64, u64) -> u64) -> Counts {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut sum = Vec::with_capacity(self.0.len().max(other.0.len()));
        while let Some(bucket) = ours.peek().into_iter().chain(theirs.peek()).map(|one| one.0).min()
        {
            let of = |counts: &mut std::iter::Peekable<std::slice::Iter<'_, (u16, u64)>>| {
                counts.next_if(|one| one.0 == bucket).map_or(0, |one| one.1)
            };
            let count = both(of(&mut ours), of(&mut theirs));
            sum.extend((count > 0).then_some((bucket, count)));
        }
        Counts(sum)
    }
}

/// What one reactor, or all of them, have measured. Times are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTimes {
    batches: u64,
    spans: [Counts; SPANS],
}

impl ServiceTimes {
    /// What batches of one message each come to, each with one time of its own.
    #[cfg(test)]
    pub(crate) fn of_batches(batches: &[(Span, u64)]) -> ServiceTimes {
        let shared = SharedServiceTimes::new(true);
        for &(span, ns) in batches {
            shared.add_batch();
            shared.add(span, ns, 1);
        }
        shared.read()
    }

    /// The batches that were timed.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Whether nothing was timed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.iter().all(|counts| counts.0.is_empty())
    }

    /// How long messages took, nanoseconds, each as often as it was met.
    #[must_use]
    pub fn of(&self, span: Span) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, SERVICE_NS_MAX, DIGITS)
            .expect("bounds that hdrhistogram takes");
        for &(bucket, count) in &self.spans[span.index()].0 {
            histogram.saturating_record_n(least_of(usize::from(bucket)), count);
        }
        histogram
    }

    /// What has been counted since `before`, which was read of the same reactors.
    #[must_use]
    pub fn since(&self, before: &ServiceTimes) -> ServiceTimes {
        let spans = self.spans.iter().zip(&before.spans);
        let mut left = spans.map(|(now, before)| now.with(before, u64::saturating_sub));
        ServiceTimes {
            batches: self.batches.saturating_sub(before.batches),
            spans: std::array::from_fn(|_| left.next().expect("one for each")),
        }
    }
}

impl std::ops::AddAssign<&ServiceTimes> for ServiceTimes {
    fn add_assign(&mut self, other: &ServiceTimes) {
        self.batches += other.batches;
        for (sum, more) in self.spans.iter_mut().zip(&other.spans) {
            *sum = sum.with(more, |one, other| one + other);
        }
    }
}

impl<'a> std::iter::Sum<&'a ServiceTimes> for ServiceTimes {
    fn sum<I: Iterator<Item = &'a ServiceTimes>>(all: I) -> ServiceTimes {
        let mut sum = ServiceTimes::default();
        all.for_each(|one| sum += one);
        sum
    }
}

#[cfg(test)]
#[path = "service_times_tests.rs"]
mod tests;
