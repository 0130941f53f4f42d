//! When requests are meant to be sent. The plan is made before the run and never looks at what
//! the server does: a late answer delays no intended time, so nothing slow is left out of the
//! histogram.

/// Nanoseconds since the epoch of a run.
pub type Nanos = u64;

/// One second in nanoseconds.
pub const SECOND: Nanos = 1_000_000_000;

/// Intended send times of one thread: of the whole plan's sends 0, 1, 2, ... it makes
/// `thread`, `thread + threads`, `thread + 2 * threads`, ...
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    start: Nanos,
    rate: f64,
    ramp_seconds: f64,
    thread: u64,
    threads: u64,
    end: Nanos,
}

impl Plan {
    /// `rate` sends a second (all threads together) from `start` for `duration`; over the first
    /// `ramp` the rate grows evenly from nothing.
    pub fn new(
        start: Nanos,
        rate: f64,
        ramp: Nanos,
        duration: Nanos,
        (thread, threads): (usize, usize),
    ) -> Self {
        Plan {
            start,
            rate,
            ramp_seconds: ramp as f64 / SECOND as f64,
            thread: thread as u64,
            threads: threads as u64,
            end: start.saturating_add(duration),
        }
    }

    /// When this thread's send number `index` is meant to leave; `None` past the end.
    #[inline]
    pub fn at(&self, index: u64) -> Option<Nanos> {
        let number = (index * self.threads + self.thread) as f64;
        // With a ramp of length r the number of sends at t is R t^2 / 2r, then R r / 2 + R (t - r).
        let ramped = self.rate * self.ramp_seconds / 2.0;
        let seconds = if number < ramped {
            (2.0 * self.ramp_seconds * number / self.rate).sqrt()
        } else {
            self.ramp_seconds + (number - ramped) / self.rate
        };
        let at = self.start.saturating_add((seconds * SECOND as f64) as u64);
        (at < self.end).then_some(at)
    }

    /// Whether every send has had its time.
    pub fn is_over(&self, index: u64) -> bool {
        self.at(index).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(plan: &Plan) -> Vec<Nanos> {
        (0..).map_while(|index| plan.at(index)).collect()
    }

    #[test]
    fn a_steady_rate_is_evenly_spaced_and_ends_with_the_duration() {
        let plan = Plan::new(7 * SECOND, 1000.0, 0, 2 * SECOND, (0, 1));
        let times = times(&plan);
        assert_eq!(times.len(), 2000);
        assert_eq!(times[0], 7 * SECOND);
        for (index, at) in times.iter().enumerate() {
            let exact = 7 * SECOND + index as u64 * 1_000_000;
            assert!(at.abs_diff(exact) <= 1, "send {index} at {at}, not {exact}");
        }
        assert!(plan.is_over(2000) && !plan.is_over(1999));
    }

    #[test]
    fn threads_interleave_into_the_plan_of_one() {
        let one = times(&Plan::new(0, 1500.0, SECOND / 2, 2 * SECOND, (0, 1)));
        let mut many: Vec<_> = (0..3)
            .flat_map(|thread| times(&Plan::new(0, 1500.0, SECOND / 2, 2 * SECOND, (thread, 3))))
            .collect();
        many.sort_unstable();
        assert_eq!(one, many);
    }

    #[test]
    fn a_ramp_grows_evenly_to_the_rate() {
        let plan = Plan::new(0, 1000.0, 2 * SECOND, 4 * SECOND, (0, 1));
        let times = times(&plan);
        assert!(times.is_sorted());
        let before = |t: Nanos| times.iter().filter(|at| **at < t).count() as i64;
        assert!((before(SECOND) - 250).abs() <= 1, "{}", before(SECOND));
        assert!((before(2 * SECOND) - 1000).abs() <= 1);
        assert!((before(4 * SECOND) - 3000).abs() <= 1);
    }

    #[test]
    fn a_very_slow_rate_still_sends_at_the_start() {
        assert_eq!(times(&Plan::new(5, 0.1, 0, SECOND, (0, 1))), [5]);
    }
}
