//! What one thread, or all of them, counted behind the NATs: by kind of NAT, by 10 ms, and the
//! time between packets of a pinhole. Deciding what counts is the ledger's business.

use super::gateways::Kind;
use crate::plan::{Nanos, SECOND};
use hdrhistogram::Histogram;

/// Length of a bucket of pings.
pub const BUCKET: Nanos = SECOND / 100;
/// Times between packets that the histogram tells apart: from a microsecond to a day.
const GAPS: (Nanos, Nanos) = (1000, 86_400 * SECOND);

/// What happened behind NATs of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfKind {
    /// Phones behind them.
    pub phones: u64,
    /// Keepalives and requests of the server that came to their outside addresses.
    pub pings: u64,
    /// Packets of the server that met a closed pinhole.
    pub met_closed: u64,
    /// Packets of a sender that a symmetric NAT does not let in.
    pub filtered: u64,
    /// Times a pinhole closed.
    pub closings: u64,
    /// Phones whose pinhole ever closed.
    pub closed_phones: u64,
    /// Registered phones that could not have been called at some moment.
    pub unreachable: u64,
    /// How long they could not, all together.
    pub unreachable_time: Nanos,
    /// The longest such time.
    pub unreachable_max: Nanos,
    /// Times a pinhole went longer than the period without a packet.
    pub late: u64,
    /// By how much at most.
    pub late_max: Nanos,
}

impl OfKind {
    fn add(&mut self, other: &OfKind) {
        self.phones += other.phones;
        self.pings += other.pings;
        self.met_closed += other.met_closed;
        self.filtered += other.filtered;
        self.closings += other.closings;
        self.closed_phones += other.closed_phones;
        self.unreachable += other.unreachable;
        self.unreachable_time += other.unreachable_time;
        self.unreachable_max = self.unreachable_max.max(other.unreachable_max);
        self.late += other.late;
        self.late_max = self.late_max.max(other.late_max);
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Figures {
    /// By kind, in the order of `Kind::index`.
    pub kinds: [OfKind; Kind::COUNT],
    /// Packets of the server to an outside address and port that are nobody's.
    pub to_nobody: u64,
    /// The same of anybody else, as other programs of this host may send them.
    pub strangers: u64,
    /// Pings in each 10 ms since measuring began.
    pub buckets: Vec<u32>,
    /// Time between two packets of a registered phone's pinhole, nanoseconds.
    pub gaps: Histogram<u64>,
    /// Phones that were not registered at the end.
    pub unregistered: u64,
    /// Registrations that were refreshed.
    pub refreshes: u64,
    /// Datagrams that the generator's own full queues dropped.
    pub queue_drops: u64,
}

impl Default for Figures {
    fn default() -> Self {
        Figures {
            kinds: [OfKind::default(); Kind::COUNT],
            to_nobody: 0,
            strangers: 0,
            buckets: Vec::new(),
            gaps: Histogram::new_with_bounds(GAPS.0, GAPS.1, 3)
                .expect("the bounds are constant and valid"),
            unregistered: 0,
            refreshes: 0,
            queue_drops: 0,
        }
    }
}

impl Figures {
    /// Adds another thread's.
    pub fn add(&mut self, other: &Figures) {
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            mine.add(theirs);
        }
        self.to_nobody += other.to_nobody;
        self.strangers += other.strangers;
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.gaps.add(&other.gaps).expect("all histograms have the same bounds");
        self.unregistered += other.unregistered;
        self.refreshes += other.refreshes;
        self.queue_drops += other.queue_drops;
    }

    /// Everything, whatever the kind.
    pub fn sum(&self) -> OfKind {
        let mut sum = OfKind::default();
        self.kinds.iter().for_each(|kind| sum.add(kind));
        sum
    }

    /// Mean and most pings in 10 ms.
    pub fn pings_per_bucket(&self) -> (f64, u32) {
        let sum: u64 = self.buckets.iter().copied().map(u64::from).sum();
        let mean = sum as f64 / self.buckets.len().max(1) as f64;
        (mean, self.buckets.iter().copied().max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_bucket_by_bucket_and_maxima_stay_maxima() {
        let mut one = Figures { buckets: vec![1, 2], ..Figures::default() };
        one.kinds[3] = OfKind { pings: 3, unreachable_max: 7, late_max: 2, ..OfKind::default() };
        one.gaps.saturating_record(5000);
        let mut two = Figures { buckets: vec![10, 10, 10], ..Figures::default() };
        two.kinds[3] = OfKind { pings: 4, unreachable_max: 5, late_max: 9, ..OfKind::default() };
        two.kinds[0] = OfKind { pings: 1, ..OfKind::default() };
        two.gaps.saturating_record(9000);
        one.add(&two);
        assert_eq!(one.buckets, [11, 12, 10]);
        assert_eq!((one.kinds[3].unreachable_max, one.kinds[3].late_max), (7, 9));
        assert_eq!((one.sum().pings, one.gaps.len(), one.gaps.max()), (8, 2, one.gaps.max()));
        assert_eq!(one.pings_per_bucket(), (11.0, 12));
        assert_eq!(Figures::default().pings_per_bucket(), (0.0, 0));
    }
}
