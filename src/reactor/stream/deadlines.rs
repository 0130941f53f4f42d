//! When connections have to be looked at. A deadline that moves away, as each message moves it, is
//! not touched: its old entry is found early, and set anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Instant;

/// Entries by time, each with the number of a connection.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(Instant, u64)>>);

impl Deadlines {
    /// Looks at connection `number` at `at`. `armed` is when it will be looked at as yet: an entry
    /// is made only where that is too late.
    pub(super) fn arm(&mut self, number: u64, at: Instant, armed: &mut Option<Instant>) {
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.0.push(Reverse((at, number)));
        }
    }

    /// The next connection to be looked at by `now`, with the time of its entry.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, u64)> {
        let Reverse((at, _)) = *self.0.peek()?;
        (at <= now).then(|| self.0.pop().expect("peeked").0)
    }

    /// When there is something to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn entries_come_in_time_and_a_later_deadline_makes_none() {
        let mut deadlines = Deadlines::default();
        let mut armed = [None; 3];
        deadlines.arm(1, s(10), &mut armed[1]);
        deadlines.arm(2, s(5), &mut armed[2]);
        deadlines.arm(1, s(20), &mut armed[1]);
        assert_eq!(armed[1], Some(s(10)));
        deadlines.arm(1, s(2), &mut armed[1]);
        assert_eq!(deadlines.next(), Some(s(2)));
        assert_eq!(deadlines.pop(s(1)), None);
        let popped: Vec<_> = std::iter::from_fn(|| deadlines.pop(s(100))).collect();
        assert_eq!(popped, [(s(2), 1), (s(5), 2), (s(10), 1)]);
        assert_eq!(deadlines.next(), None);
    }
}
