//! What a closed pinhole means: for each phone, whether a call could have reached it at every
//! moment of its registration, and how long its pinhole went without a packet. A call reaches a
//! phone while it is registered, its pinhole is open, and the server knows the pinhole's port.

use super::figures::{BUCKET, Figures};
use super::gateways::Kind;
use crate::plan::Nanos;

const NO_PORT: u16 = u16::MAX;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// End of the registration.
    until: Nanos,
    /// The last packet, in either direction.
    last: Nanos,
    /// The last closing of the pinhole that was counted.
    closed_at: Nanos,
    /// No call would have come through from then on; 0 where one would.
    lost_since: Nanos,
    /// The port that the last granted REGISTER came from.
    known: u16,
    was_closed: bool,
    was_lost: bool,
}

/// The account of every phone of one thread.
#[derive(Debug)]
pub struct Ledger {
    /// What came of it.
    pub figures: Figures,
    entries: Vec<Entry>,
    period: Nanos,
    start: Nanos,
    buckets: usize,
}

impl Ledger {
    /// Nobody is registered. A pinhole that goes longer than `period` without a packet is late.
    pub fn new(kinds: impl Iterator<Item = Kind>, period: Nanos) -> Self {
        let mut figures = Figures::default();
        let entry = Entry {
            until: 0,
            last: 0,
            closed_at: 0,
            lost_since: 0,
            known: NO_PORT,
            was_closed: false,
            was_lost: false,
        };
        let mut entries = Vec::with_capacity(kinds.size_hint().0);
        for kind in kinds {
            figures.kinds[kind.index()].phones += 1;
            entries.push(entry);
        }
        Ledger { figures, entries, period, start: Nanos::MAX, buckets: 0 }
    }

    /// Counts pings by 10 ms from `start` for this long.
    pub fn measure(&mut self, start: Nanos, length: Nanos) {
        self.start = start;
        self.buckets = length.div_ceil(BUCKET) as usize;
        self.figures.buckets = vec![0; self.buckets];
    }

    /// Whether and until when a phone is registered; 0 for never.
    pub fn registered_until(&self, phone: u32) -> Nanos {
        self.entries[phone as usize].until
    }

    /// A REGISTER that came from this port was granted.
    pub fn granted(&mut self, phone: u32, kind: Kind, port: u32, until: Nanos, now: Nanos) {
        let entry = &mut self.entries[phone as usize];
        if entry.known == NO_PORT {
            entry.last = now;
        } else {
            self.figures.refreshes += 1;
        }
        entry.known = port as u16;
        self.found(phone, kind, now);
        self.entries[phone as usize].until = until;
    }

    /// A pinhole was found to have closed at that time; being told again changes nothing.
    pub fn closed(&mut self, phone: u32, kind: Kind, at: Nanos) {
        let entry = &mut self.entries[phone as usize];
        let of_kind = &mut self.figures.kinds[kind.index()];
        if entry.closed_at == at {
            return;
        }
        entry.closed_at = at;
        of_kind.closings += 1;
        of_kind.closed_phones += u64::from(!entry.was_closed);
        entry.was_closed = true;
        if entry.until > at && entry.lost_since == 0 {
            entry.lost_since = at;
            of_kind.unreachable += u64::from(!entry.was_lost);
            entry.was_lost = true;
        }
    }

    /// A closed pinhole is open again, at this port. Where the server knows the port, calls come
    /// through from now on.
    pub fn opened_again(&mut self, phone: u32, kind: Kind, port: u32, now: Nanos) {
        if u32::from(self.entries[phone as usize].known) == port {
            self.found(phone, kind, now);
        }
    }

    /// Calls come through again, or the account is closed.
    fn found(&mut self, phone: u32, kind: Kind, now: Nanos) {
        let entry = &mut self.entries[phone as usize];
        if entry.lost_since > 0 {
            // What is not registered any more cannot be called for another reason.
            let lost = now.min(entry.until).saturating_sub(entry.lost_since);
            let of_kind = &mut self.figures.kinds[kind.index()];
            of_kind.unreachable_time += lost;
            of_kind.unreachable_max = of_kind.unreachable_max.max(lost);
            entry.lost_since = 0;
        }
    }

    /// A packet of the phone, or of the server to it, passed or tried to.
    pub fn packet(&mut self, phone: u32, kind: Kind, at: Nanos) {
        let entry = &mut self.entries[phone as usize];
        if entry.last == 0 {
            return;
        }
        let gap = at.saturating_sub(entry.last);
        entry.last = entry.last.max(at);
        self.gap(kind, gap);
    }

    fn gap(&mut self, kind: Kind, gap: Nanos) {
        self.figures.gaps.saturating_record(gap);
        if gap > self.period {
            let of_kind = &mut self.figures.kinds[kind.index()];
            of_kind.late += 1;
            of_kind.late_max = of_kind.late_max.max(gap - self.period);
        }
    }

    /// The server sent something unasked to this phone.
    pub fn ping(&mut self, kind: Kind, at: Nanos) {
        self.figures.kinds[kind.index()].pings += 1;
        if at >= self.start
            && let Some(count) = self.figures.buckets.get_mut(((at - self.start) / BUCKET) as usize)
        {
            *count += 1;
        }
    }

    /// Ends the account of a phone whose pinhole closes at that time: what nobody has met yet is
    /// found now.
    pub fn close(&mut self, phone: u32, kind: Kind, closes_at: Option<Nanos>, now: Nanos) {
        if let Some(at) = closes_at
            && at < now
        {
            self.closed(phone, kind, at);
        }
        self.found(phone, kind, now);
        let entry = &self.entries[phone as usize];
        self.figures.unregistered += u64::from(entry.until <= now);
        // A packet that should have come and did not ends no gap of its own.
        let gap = now.saturating_sub(entry.last);
        if entry.last > 0 && entry.until > now && gap > self.period {
            self.gap(kind, gap);
        }
    }

    /// Cuts the buckets that an end before the time left empty.
    pub fn cut(&mut self, now: Nanos) {
        let full = now.saturating_sub(self.start) / BUCKET;
        self.figures.buckets.truncate(full as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::super::gateways::{Mapping, Ports, Refresh};
    use super::*;
    use crate::plan::SECOND;

    const KIND: Kind =
        Kind { mapping: Mapping::Symmetric, refresh: Refresh::Both, ports: Ports::Change };

    fn registered() -> Ledger {
        let mut ledger = Ledger::new([KIND; 2].into_iter(), 30 * SECOND);
        ledger.granted(0, KIND, 4, 300 * SECOND, SECOND);
        ledger
    }

    fn of_kind(ledger: &Ledger) -> super::super::figures::OfKind {
        ledger.figures.kinds[KIND.index()]
    }

    #[test]
    fn a_registration_is_unreachable_from_the_closing_to_the_next_one_granted() {
        let mut ledger = registered();
        ledger.closed(0, KIND, 33 * SECOND);
        ledger.closed(0, KIND, 33 * SECOND);
        // Another port, which the server does not know yet, changes nothing.
        ledger.opened_again(0, KIND, 5, 40 * SECOND);
        ledger.granted(0, KIND, 5, 340 * SECOND, 41 * SECOND);
        let figures = of_kind(&ledger);
        assert_eq!((figures.closings, figures.closed_phones, figures.unreachable), (1, 1, 1));
        assert_eq!(figures.unreachable_time, 8 * SECOND);
        ledger.closed(0, KIND, 100 * SECOND);
        ledger.opened_again(0, KIND, 5, 103 * SECOND);
        let figures = of_kind(&ledger);
        assert_eq!((figures.closings, figures.closed_phones, figures.unreachable), (2, 1, 1));
        assert_eq!((figures.unreachable_time, figures.unreachable_max), (11 * SECOND, 8 * SECOND));
        assert_eq!(ledger.figures.refreshes, 1);
    }

    #[test]
    fn a_pinhole_without_a_registration_is_nobodys_loss() {
        let mut ledger = registered();
        ledger.closed(1, KIND, 33 * SECOND);
        ledger.closed(0, KIND, 301 * SECOND);
        let figures = of_kind(&ledger);
        assert_eq!((figures.closings, figures.unreachable), (2, 0));
        // It ends with the registration, at the latest.
        let mut ledger = registered();
        ledger.close(0, KIND, Some(290 * SECOND), 400 * SECOND);
        assert_eq!(of_kind(&ledger).unreachable_time, 10 * SECOND);
        assert_eq!(ledger.figures.unregistered, 1);
    }

    #[test]
    fn what_nobody_met_is_found_at_the_end() {
        let mut ledger = registered();
        ledger.close(0, KIND, Some(33 * SECOND), 50 * SECOND);
        let figures = of_kind(&ledger);
        assert_eq!((figures.closings, figures.unreachable), (1, 1));
        assert_eq!(figures.unreachable_time, 17 * SECOND);
        assert_eq!((figures.late, figures.late_max), (1, 19 * SECOND));
        let mut ledger = registered();
        ledger.close(0, KIND, Some(33 * SECOND), 33 * SECOND);
        assert_eq!((of_kind(&ledger).closings, of_kind(&ledger).unreachable), (0, 0));
    }

    #[test]
    fn gaps_count_from_the_first_grant_and_are_late_past_the_period() {
        let mut ledger = Ledger::new([KIND].into_iter(), 30 * SECOND);
        ledger.packet(0, KIND, SECOND);
        assert_eq!(ledger.figures.gaps.len(), 0);
        ledger.granted(0, KIND, 4, 300 * SECOND, 2 * SECOND);
        ledger.packet(0, KIND, 32 * SECOND);
        assert_eq!((ledger.figures.gaps.len(), of_kind(&ledger).late), (1, 0));
        ledger.packet(0, KIND, 62 * SECOND + 5);
        assert_eq!((of_kind(&ledger).late, of_kind(&ledger).late_max), (1, 5));
        // Two packets whose order the sockets have turned round are no gap of eternity.
        ledger.packet(0, KIND, 61 * SECOND);
        assert_eq!((ledger.figures.gaps.len(), of_kind(&ledger).late), (3, 1));
    }

    #[test]
    fn pings_are_counted_by_10_ms_while_that_is_measured() {
        let mut ledger = registered();
        ledger.ping(KIND, SECOND);
        ledger.measure(2 * SECOND, SECOND / 20);
        for at in [2 * SECOND - 1, 2 * SECOND, 2 * SECOND + BUCKET, 2 * SECOND + 5 * BUCKET] {
            ledger.ping(KIND, at);
        }
        assert_eq!(ledger.figures.buckets, [1, 1, 0, 0, 0]);
        assert_eq!(of_kind(&ledger).pings, 5);
        ledger.cut(2 * SECOND + 2 * BUCKET);
        assert_eq!(ledger.figures.buckets, [1, 1]);
    }
}
