//! How much of its time a reactor works, and how much it sleeps.

use std::time::Duration;

use crate::time::Instant;

/// It is told about once in so long; over a longer sleep, once after it.
const WINDOW: Duration = Duration::from_millis(20);

/// The time of one reactor since it was told last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    begun: Instant,
    slept: Duration,
    /// Since when it sleeps, or has until just now.
    asleep: Option<Instant>,
}

impl Work {
    /// It slept from then until just now.
    #[inline]
    pub(super) fn slept(&mut self, from: Instant) {
        self.asleep = Some(from);
    }

    /// The first time that was read after that. To read the clock for the end of each sleep alone
    /// is not worth it.
    #[inline]
    pub(super) fn woke(&mut self, now: Instant) {
        if let Some(from) = self.asleep.take() {
            self.slept += now.saturating_since(from);
        }
    }

    /// For how much of how much time it has worked, where a window is over.
    #[inline]
    pub(super) fn take(&mut self, now: Instant) -> Option<(Duration, Duration)> {
        let passed = now.saturating_since(self.begun);
        if passed < WINDOW {
            return None;
        }
        let busy = passed.saturating_sub(self.slept);
        *self = Work { begun: now, ..Work::default() };
        Some((busy, passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos((1000 + ms) * 1_000_000)
    }

    #[test]
    fn what_was_not_slept_was_worked() {
        let mut work = Work::default();
        assert!(work.take(at(0)).is_some(), "nobody knows what was before");
        work.slept(at(1));
        work.woke(at(6));
        work.woke(at(9));
        assert_eq!(work.take(at(19)), None, "the window is not over");
        work.slept(at(20));
        work.woke(at(30));
        let ms = Duration::from_millis;
        assert_eq!(work.take(at(30)), Some((ms(15), ms(30))));
        assert_eq!(work.take(at(50)), Some((ms(20), ms(20))), "all of it");
        work.slept(at(51));
        work.woke(at(1050));
        assert_eq!(work.take(at(1050)), Some((ms(1), ms(1000))), "a long sleep is one window");
    }
}
