//! Numbers and times as people read them on a page.

use super::super::moment;
use crate::reactor::Clock;
use crate::time::UnixTime;

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many a second: `0.3`, `12.5`, `1,234`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        none if none < 0.05 => "0".to_owned(),
        few if few < 99.95 => format!("{few:.1}"),
        many => count(many.round() as u64),
    }
}

/// `850 ns`, `12.3 µs`, `4.56 ms`, `1.23 s`
pub(super) fn nanos(ns: u64) -> String {
    let of = |unit: f64, name: &str| {
        let value = ns as f64 / unit;
        match value {
            small if small < 9.995 => format!("{small:.2} {name}"),
            middle if middle < 99.95 => format!("{middle:.1} {name}"),
            large => format!("{large:.0} {name}"),
        }
    };
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_500 => of(1e3, "\u{b5}s"),
        999_500..999_500_000 => of(1e6, "ms"),
        _ => of(1e9, "s"),
    }
}

/// How long, in the largest unit that is not nothing: what is long ago needs no more.
fn largest(seconds: u64) -> String {
    duration(seconds).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// How long, in the two largest units that are not nothing: `59 s`, `1 h 5 min`, `3 d 4 h`.
pub(super) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let Some(at) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else {
        return "0 s".to_owned();
    };
    let (unit, name) = UNITS[at];
    let (whole, rest) = (seconds / unit, seconds % unit);
    match UNITS.get(at + 1) {
        Some((less, less_name)) if rest >= *less && (whole < 10 || unit == 86_400) => {
            format!("{whole} {name} {} {less_name}", rest / less)
        }
        _ => format!("{whole} {name}"),
    }
}

/// A time as a page tells it: how long ago, and the moment itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ago {
    pub when: String,
    pub text: String,
}

impl Ago {
    /// Of a moment as [`rfc3339`](super::super::moment::rfc3339) writes it.
    pub fn new(now: UnixTime, when: &str) -> Ago {
        let text = match moment::read(when) {
            Some(UnixTime(then)) => match now.0.saturating_sub(then) {
                0..5 => "just now".to_owned(),
                seconds => format!("{} ago", largest(seconds)),
            },
            None => when.to_owned(),
        };
        Ago { when: when.to_owned(), text }
    }
}

/// What the wall clock shows.
pub(super) fn now() -> UnixTime {
    Clock::start().now().wall
}

/// Milliseconds with the digits that matter.
pub(super) fn millis(ms: f64) -> String {
    nanos((ms.max(0.0) * 1e6).round() as u64)
}

/// A uri without its scheme, where it is `sip:`: what stands in tables is nearly always one.
pub(super) fn bare(uri: &str) -> &str {
    uri.strip_prefix("sip:").unwrap_or(uri)
}

/// The points of a line in a picture of `width` by `height`, the newest at the right; the scale
/// begins at 0. Empty for less than two values.
pub(super) fn polyline(values: &[f64], places: usize, width: f64, height: f64) -> String {
    if values.len() < 2 {
        return String::new();
    }
    let top = values.iter().copied().fold(1e-9, f64::max);
    let step = width / places.max(values.len()).saturating_sub(1) as f64;
    let first = width - step * (values.len() - 1) as f64;
    let point = |(at, value): (usize, &f64)| {
        let (x, y) = (first + step * at as f64, height - 1.0 - value / top * (height - 2.0));
        format!("{x:.1},{y:.1}")
    };
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_000_000, "1,000,000")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!([0.0, 0.3, 12.34, 1234.4].map(rate), ["0", "0.3", "12.3", "1,234"]);
    }

    #[test]
    fn times_have_the_digits_that_matter() {
        let shown = [0, 850, 1_000, 12_345, 999_499, 999_600, 4_560_000, 1_234_000_000].map(nanos);
        let expected = ["0 ns", "850 ns", "1.00 µs", "12.3 µs", "999 µs", "1.00 ms", "4.56 ms"];
        assert_eq!(shown[..7], expected);
        assert_eq!(shown[7], "1.23 s");
        let shown = [0, 59, 60, 61, 3_900, 7 * 86_400 + 3_600, 40_000].map(duration);
        assert_eq!(shown, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h 5 min", "7 d 1 h", "11 h"]);
    }

    #[test]
    fn a_moment_is_told_by_how_long_ago_it_was() {
        let ago = |when: &str| Ago::new(UnixTime(951_782_400), when).text;
        assert_eq!(ago("2000-02-28T23:56:58Z"), "3 min ago");
        assert_eq!(ago("2000-02-29T00:00:00Z"), "just now");
        assert_eq!(ago("2000-02-29T00:01:00Z"), "just now", "clocks differ");
        assert_eq!(ago("whenever"), "whenever");
    }

    #[test]
    fn a_line_ends_at_the_right_and_stays_within() {
        assert_eq!(polyline(&[1.0], 10, 100.0, 20.0), "");
        assert_eq!(polyline(&[0.0, 5.0, 10.0], 5, 100.0, 20.0), "50.0,19.0 75.0,10.0 100.0,1.0");
        assert_eq!(polyline(&[0.0, 0.0], 2, 10.0, 20.0), "0.0,19.0 10.0,19.0");
    }
}
