//! Whether datagrams come so briskly that a dry reactor may sleep in the receive itself, where it
//! sees nothing else: the next one ends its sleep soon enough for everybody.
//!
//! What counts is how long one gap is seen by somebody who comes at any moment, and he meets long
//! gaps more often than short ones: the mean of the squares over the mean. A mean of the gaps alone
//! would take a burst every few milliseconds for a brisk pace.

use std::time::Duration;

use crate::time::Instant;

/// The means follow the last so many gaps.
const GAPS: f64 = 64.0;
/// A longer gap counts as this: it is over either way.
const GAP_MAX: Duration = Duration::from_millis(10);

/// The pace of the datagrams of one reactor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The gap met by chance that makes it brisk; twice of it ends that.
    brisk_up_to_ns: f64,
    last: Option<Instant>,
    mean_ns: f64,
    mean_square: f64,
    brisk: bool,
}

impl Pace {
    /// At rest. It is brisk while a gap met by chance is of that length.
    pub(super) fn new(brisk_up_to: Duration) -> Pace {
        let brisk_up_to_ns = brisk_up_to.as_nanos() as f64;
        let mut pace =
            Pace { brisk_up_to_ns, last: None, mean_ns: 0.0, mean_square: 0.0, brisk: false };
        pace.stopped();
        pace
    }

    /// Datagrams came at that time.
    #[inline]
    pub(super) fn came(&mut self, at: Instant) {
        let last = self.last.replace(at).unwrap_or(at);
        let gap_ns = at.saturating_since(last).min(GAP_MAX).as_nanos() as f64;
        self.mean_ns += (gap_ns - self.mean_ns) / GAPS;
        self.mean_square += (gap_ns * gap_ns - self.mean_square) / GAPS;
        let limit_ns = if self.brisk { 2.0 * self.brisk_up_to_ns } else { self.brisk_up_to_ns };
        self.brisk = self.mean_square < limit_ns * self.mean_ns;
    }

    /// None came for longer than the reactor may sleep in the receive.
    pub(super) fn stopped(&mut self) {
        let gap_ns = GAP_MAX.as_nanos() as f64;
        (self.mean_ns, self.mean_square, self.brisk) = (gap_ns, gap_ns * gap_ns, false);
    }

    /// Whether the next datagram will come soon.
    #[inline]
    pub(super) fn is_brisk(&self) -> bool {
        self.brisk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP_TO: Duration = Duration::from_micros(200);

    /// A pace and the virtual time of its last datagram.
    struct Played(Pace, Instant);

    impl Played {
        fn new() -> Played {
            Played(Pace::new(UP_TO), Instant::from_secs(1))
        }

        /// Datagrams at these gaps, microseconds, so many times over.
        fn play(&mut self, times: usize, gaps_us: &[u64]) -> bool {
            for _ in 0..times {
                for &gap in gaps_us {
                    self.1 = self.1 + Duration::from_micros(gap);
                    self.0.came(self.1);
                }
            }
            self.0.is_brisk()
        }
    }

    #[test]
    fn a_reactor_at_rest_waits_for_everything() {
        let mut played = Played::new();
        assert!(!played.0.is_brisk());
        assert!(!played.play(3, &[10]), "a handful of datagrams is no pace");
        assert!(!played.play(1000, &[20_000]), "a phone now and then");
        assert!(!played.play(1000, &[300]));
    }

    #[test]
    fn a_steady_load_becomes_brisk_within_milliseconds_and_stays_so() {
        for gap in [1, 10, 50, 150] {
            let mut played = Played::new();
            assert!(played.play(1000, &[gap]), "{gap} us");
            for _ in 0..1000 {
                assert!(played.play(1, &[gap]));
            }
        }
    }

    #[test]
    fn between_the_two_limits_it_stays_what_it_was() {
        let mut played = Played::new();
        assert!(!played.play(1000, &[300]));
        assert!(played.play(1000, &[100]));
        assert!(played.play(1000, &[300]));
        assert!(!played.play(1000, &[500]));
        assert!(!played.play(1000, &[300]));
    }

    #[test]
    fn bursts_with_long_gaps_between_are_not_brisk() {
        let mut burst = vec![5; 40];
        burst.push(4000);
        let mean = burst.iter().sum::<u64>() / burst.len() as u64;
        assert!(mean < 200, "though their mean gap is short: {mean} us");
        let mut played = Played::new();
        assert!(!played.play(100, &burst));
        // Nor does a reactor stay in the receive when a steady load turns into such bursts.
        assert!(played.play(1000, &[50]));
        assert!(!played.play(1, &[4000]));
        assert!(played.play(1000, &[50]), "one hitch is soon forgotten");
    }

    #[test]
    fn a_stop_puts_it_at_rest_at_once() {
        let mut played = Played::new();
        assert!(played.play(1000, &[50]));
        played.0.stopped();
        assert!(!played.0.is_brisk());
        assert!(!played.play(1, &[5000, 50, 50, 50]));
        assert!(played.play(1000, &[50]));
    }

    #[test]
    fn a_limit_of_zero_is_never_met_and_one_without_end_always() {
        let (mut never, mut always) = (Pace::new(Duration::ZERO), Pace::new(Duration::MAX));
        for at_us in [0, 10, 20, 20_000] {
            let at = Instant::from_secs(1) + Duration::from_micros(at_us);
            never.came(at);
            always.came(at);
            assert_eq!((never.is_brisk(), always.is_brisk()), (false, true), "{at_us}");
        }
        always.stopped();
        assert!(!always.is_brisk());
    }

    #[test]
    fn a_clock_that_stands_still_does_no_harm() {
        let mut played = Played::new();
        assert!(!played.play(10_000, &[0]), "no time has passed in which it was brisk");
        assert!(played.play(1000, &[50]));
        assert!(played.play(10_000, &[0]));
        assert!(played.play(1000, &[50]));
    }
}
