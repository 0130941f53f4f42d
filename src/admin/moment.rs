//! Times as text, and the way from a shard's monotonic clock to the wall clock.

use std::fmt::Write as _;

use crate::sip::header::date::civil;
use crate::time::{Instant, Now, UnixTime};

/// `2026-11-21T02:38:00Z` (RFC 3339).
pub(super) fn rfc3339(time: UnixTime) -> String {
    let (days, second) = (time.0 / 86_400, time.0 % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let mut text = String::with_capacity("2026-11-21T02:38:00Z".len());
    // A string takes everything.
    let _ = write!(
        text,
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
        month + 1,
        second % 60
    );
    text
}

/// When `at` was, or will be, by the wall clock that shows `now`.
pub(super) fn wall(now: Now, at: Instant) -> UnixTime {
    let wall_us = u128::from(now.wall.0) * 1_000_000 + u128::from(now.wall_us);
    let origin_us = wall_us.saturating_sub(u128::from(now.mono.as_nanos()) / 1000);
    let at_us = origin_us + u128::from(at.as_nanos()) / 1000;
    // Rounded, since the two clocks are not read in the very same instant.
    UnixTime(u64::try_from((at_us + 500_000) / 1_000_000).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_as_a_date() {
        assert_eq!(rfc3339(UnixTime(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(UnixTime(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(UnixTime(1_795_228_680)), "2026-11-21T02:38:00Z");
    }

    #[test]
    fn the_monotonic_clock_is_set_against_the_wall_clock() {
        let now =
            Now { mono: Instant::from_secs(1000), wall: UnixTime(1_800_000_000), wall_us: 200_000 };
        assert_eq!(wall(now, now.mono), UnixTime(1_800_000_000));
        assert_eq!(wall(now, Instant::from_secs(400)), UnixTime(1_800_000_000 - 600));
        // The same moment told at another time.
        let later = now.after(std::time::Duration::from_millis(7_700));
        assert_eq!(wall(later, Instant::from_secs(400)), UnixTime(1_800_000_000 - 600));
        assert_eq!(wall(now, Instant::from_secs(1060)), UnixTime(1_800_000_060));
    }
}
