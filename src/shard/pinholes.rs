//! What became of keepalives: how many were due, sent, saved, how late they went, and whether
//! anybody waited for longer than promised.

use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::config::KeepaliveForm;
use crate::flow::Flow;

/// The longest lateness that is told from longer ones, microseconds.
const LATE_US_MAX: u64 = 100_000_000;

/// How a keepalive goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A payload without meaning, as a datagram.
    Raw,
    /// Line ends, as a datagram.
    Crlf,
    /// A STUN binding indication, as a datagram.
    Stun,
    /// An OPTIONS, by whatever way.
    Options,
    /// A ping of a connection: the double CRLF of a stream, the ping frame of a WebSocket.
    Connection,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 5] = [Kind::Raw, Kind::Crlf, Kind::Stun, Kind::Options, Kind::Connection];

    /// Its name in metrics and in the final counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Crlf => "crlf",
            Kind::Stun => "stun",
            Kind::Options => "options",
            Kind::Connection => "connection",
        }
    }

    /// Of a form that goes by this flow; `None` for none.
    pub(super) fn of(form: KeepaliveForm, flow: &Flow) -> Option<Kind> {
        match (form, flow) {
            (KeepaliveForm::Off, _) => None,
            (KeepaliveForm::Options, _) => Some(Kind::Options),
            (_, Flow::Connection { .. }) => Some(Kind::Connection),
            (KeepaliveForm::Raw, _) => Some(Kind::Raw),
            (KeepaliveForm::Crlf, _) => Some(Kind::Crlf),
            (KeepaliveForm::Stun, _) => Some(Kind::Stun),
        }
    }
}

/// The keepalives of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Pinholes {
    /// Turns that came.
    pub due: u64,
    /// Keepalives sent.
    pub sent: u64,
    /// Turns passed over, since a packet had gone to the phone not long before.
    pub skipped: u64,
    /// Turns at which there was no way to send anything.
    pub unsendable: u64,
    /// Keepalives before which nothing had been sent for longer than a period. It stays 0, unless
    /// the whole process had stood still.
    pub missed: u64,
    late_us: Histogram<u64>,
}

// A histogram is equal to itself: it holds no floating-point numbers.
impl Eq for Pinholes {}

impl Default for Pinholes {
    fn default() -> Self {
        let late_us = Histogram::new_with_bounds(1, LATE_US_MAX, 2);
        let late_us = late_us.expect("bounds that hdrhistogram takes");
        Pinholes { due: 0, sent: 0, skipped: 0, unsendable: 0, missed: 0, late_us }
    }
}

impl Pinholes {
    /// How much later than intended keepalives went out, microseconds; 1 for anything less.
    #[must_use]
    pub fn late_us(&self) -> &Histogram<u64> {
        &self.late_us
    }

    /// One has gone out.
    #[inline]
    pub(super) fn on_sent(&mut self, late: Duration, missed: bool) {
        self.sent += 1;
        self.missed += u64::from(missed);
        let us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.late_us.saturating_record(us.max(1));
    }
}

impl AddAssign<&Pinholes> for Pinholes {
    fn add_assign(&mut self, other: &Pinholes) {
        self.due += other.due;
        self.sent += other.sent;
        self.skipped += other.skipped;
        self.unsendable += other.unsendable;
        self.missed += other.missed;
        self.late_us.add(&other.late_us).expect("all have the same bounds");
    }
}

/// The keepalives of one shard, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinholesByKind(Box<[Pinholes; Kind::ALL.len()]>);

impl PinholesByKind {
    /// Those of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &Pinholes {
        &self.0[kind as usize]
    }

    #[inline]
    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut Pinholes {
        &mut self.0[kind as usize]
    }

    /// The kinds of which there were any.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Pinholes)> {
        Kind::ALL.into_iter().zip(self.0.iter()).filter(|(_, pinholes)| pinholes.due > 0)
    }

    /// Of all kinds together.
    #[must_use]
    pub fn total(&self) -> Pinholes {
        let mut total = Pinholes::default();
        self.0.iter().for_each(|one| total += one);
        total
    }
}

impl AddAssign<&PinholesByKind> for PinholesByKind {
    fn add_assign(&mut self, other: &PinholesByKind) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(mine, theirs)| *mine += theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{ConnectionId, Transport};

    #[test]
    fn kinds_index_their_own_counters_and_sums_add_everything() {
        let mut one = PinholesByKind::default();
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            let pinholes = one.of_mut(kind);
            pinholes.due += 10;
            pinholes.skipped += 2;
            pinholes.unsendable += 1;
            pinholes.on_sent(Duration::from_millis(number as u64 + 1), number == 0);
        }
        let mut sum = one.clone();
        sum += &one;
        let raw = sum.of(Kind::Raw);
        assert_eq!((raw.due, raw.sent, raw.skipped, raw.unsendable, raw.missed), (20, 2, 4, 2, 2));
        assert_eq!(raw.late_us().len(), 2);
        let total = sum.total();
        assert_eq!((total.due, total.missed, total.late_us().len()), (100, 2, 10));
        assert!((4900..5200).contains(&total.late_us().max()));
        assert_eq!(sum.iter().count(), 5);
        assert_eq!(PinholesByKind::default().iter().count(), 0);
    }

    #[test]
    fn on_a_connection_everything_but_options_is_a_ping() {
        let id = ConnectionId { reactor: 0, slot: 1, generation: 1 };
        let connection = Flow::Connection { id, transport: Transport::Ws };
        let datagram = Flow::Datagram { listener: 0, local_ip: None };
        for &form in KeepaliveForm::ALL {
            let expected = match form {
                KeepaliveForm::Off => (None, None),
                KeepaliveForm::Raw => (Some(Kind::Raw), Some(Kind::Connection)),
                KeepaliveForm::Crlf => (Some(Kind::Crlf), Some(Kind::Connection)),
                KeepaliveForm::Stun => (Some(Kind::Stun), Some(Kind::Connection)),
                KeepaliveForm::Options => (Some(Kind::Options), Some(Kind::Options)),
            };
            assert_eq!((Kind::of(form, &datagram), Kind::of(form, &connection)), expected);
        }
    }
}
