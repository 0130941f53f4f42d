//! A histogram as HdrHistogram's plotter reads it: the percentile distribution, in milliseconds.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Steps in each half of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;
/// Nanoseconds in the unit of the file, the plotter's default.
const MILLISECOND: f64 = 1e6;

/// The distribution of nanoseconds, line by line.
pub(super) fn distribution(times: &Histogram<u64>) -> String {
    let mut text = String::new();
    // A string takes everything.
    let _ = writeln!(
        text,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut below = 0;
    for step in times.iter_quantiles(TICKS_PER_HALF) {
        let (value, quantile) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        let value = value / MILLISECOND;
        below += step.count_since_last_iteration();
        let _ = write!(text, "{value:>12.6} {quantile:>14.12} {below:>10}");
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        };
    }
    let (mean, deviation) = match times.is_empty() {
        true => (0.0, 0.0),
        false => (times.mean() / MILLISECOND, times.stdev() / MILLISECOND),
    };
    let (max, buckets) = (times.max() as f64 / MILLISECOND, times.buckets());
    // The first has all its steps for itself, each other one half of them.
    let steps = 2 * times.distinct_values() / (usize::from(buckets) + 1);
    let _ = writeln!(text, "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]");
    let _ = writeln!(text, "#[Max     = {max:>12.6}, Total count    = {:>12}]", times.len());
    let _ = writeln!(text, "#[Buckets = {buckets:>12}, SubBuckets     = {steps:>12}]");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_goes_up_to_all_there_is() {
        let mut times = Histogram::new_with_bounds(1, 10_000_000_000, 2).unwrap();
        for (ns, count) in [(1_000_000, 90), (2_000_000, 9), (50_000_000, 1)] {
            times.record_n(ns, count).unwrap();
        }
        let text = distribution(&times);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{text}");
        let below = |quantile: f64, count: f64| {
            rows.iter().rfind(|row| row[1] < quantile).is_some_and(|row| row[2] == count)
        };
        assert!(below(0.9, 90.0) && below(0.99, 99.0), "{text}");
        let last = rows.last().expect("rows");
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 100.0), "{text}");
        assert!((last[0] - 50.0).abs() < 0.5, "{text}");
        assert!(text.contains("Total count    =          100]"), "{text}");
        assert!(text.contains("SubBuckets     =          256]"), "{text}");
        let empty = Histogram::new_with_bounds(1, 10_000_000_000, 2).unwrap();
        assert!(distribution(&empty).contains("Total count    =            0]"));
    }
}
