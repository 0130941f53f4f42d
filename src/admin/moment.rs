//! Times as text, and the way from a shard's monotonic clock to the wall clock.

use std::fmt::Write as _;

use crate::sip::header::date::civil;
use crate::time::{Instant, Now, UnixTime};

/// `2026-11-21T02:38:00Z` (RFC 3339).
#[must_use]
pub fn rfc3339(time: UnixTime) -> String {
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

/// The same with microseconds: `2026-11-21T02:38:00.012345Z`.
pub(super) fn rfc3339_us(time: UnixTime, us: u32) -> String {
    let mut text = rfc3339(time);
    text.pop();
    let _ = write!(text, ".{us:06}Z");
    text
}

/// Takes back what [`rfc3339`] writes, and seconds since the epoch.
pub(super) fn read(text: &str) -> Option<UnixTime> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(UnixTime);
    }
    let form = b"0000-00-00T00:00:00Z";
    let is_so = text.len() == form.len()
        && text.bytes().zip(form).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == *form,
        });
    if !is_so {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let good = year >= 1970 && (1..=12).contains(&month) && day >= 1;
    if !good || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month).ok()? - 1;
    if day > lengths[before] {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let days = years + lengths[..before].iter().sum::<u64>() + day - 1;
    Some(UnixTime(days * 86_400 + hour * 3600 + minute * 60 + second))
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
    fn what_is_written_is_taken_back_and_nothing_else() {
        for time in [0, 951_782_400, 951_868_799, 1_795_228_680, 4_102_444_799, 253_402_300_799] {
            assert_eq!(read(&rfc3339(UnixTime(time))), Some(UnixTime(time)), "{time}");
        }
        assert_eq!(read("1795228680"), Some(UnixTime(1_795_228_680)));
        for bad in [
            "",
            "x",
            "-1",
            "1969-12-31T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01 00:00:00Z",
            "2026-1-1T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "99999999999999999999999",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(rfc3339_us(UnixTime(0), 1), "1970-01-01T00:00:00.000001Z");
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
