//! How long the ways to phones and back took, all phones of a shard together. What one phone's way
//! takes is kept with it.

use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest round trip that is told from longer ones, microseconds.
const ROUND_TRIP_US_MAX: u64 = 60_000_000;

/// The round trips of the probes that were sent once only (Karn's rule).
#[derive(Clone, Debug, PartialEq)]
pub struct RoundTrips(Histogram<u64>);

// A histogram is equal to itself: it holds no floating-point numbers.
impl Eq for RoundTrips {}

impl Default for RoundTrips {
    fn default() -> Self {
        let us = Histogram::new_with_bounds(1, ROUND_TRIP_US_MAX, 2);
        RoundTrips(us.expect("bounds that hdrhistogram takes"))
    }
}

impl RoundTrips {
    /// Microseconds; 1 for anything less.
    #[must_use]
    pub fn us(&self) -> &Histogram<u64> {
        &self.0
    }

    /// One more.
    pub fn note(&mut self, round_trip: Duration) {
        let us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us.max(1));
    }
}

impl AddAssign<&RoundTrips> for RoundTrips {
    fn add_assign(&mut self, other: &RoundTrips) {
        self.0.add(&other.0).expect("all have the same bounds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_two_shards_has_the_round_trips_of_both() {
        let [mut one, mut other] = [RoundTrips::default(), RoundTrips::default()];
        one.note(Duration::from_millis(30));
        other.note(Duration::ZERO);
        other.note(Duration::from_hours(1));
        one += &other;
        assert_eq!((one.us().len(), one.us().min()), (3, 1));
        assert!((59_000_000..61_000_000).contains(&one.us().max()));
    }
}
