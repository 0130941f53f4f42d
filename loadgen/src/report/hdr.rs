//! Histograms in the two text formats of the HdrHistogram family: the percentile distribution
//! (`.hgrm`), which its plotter reads, and the interval log version 2 (`.hlog`).

use crate::run::Outcome;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// Steps in each half of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;
/// Nanoseconds in the unit of a percentile file, the plotter's default.
const MILLISECOND: f64 = 1e6;

/// The percentile distribution in milliseconds.
pub fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = render(&mut out, histogram);
    out
}

fn render(out: &mut String, histogram: &Histogram<u64>) -> std::fmt::Result {
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        let quantile = step.quantile_iterated_to();
        let value = step.value_iterated_to() as f64 / MILLISECOND;
        let total = count_below(histogram, step.value_iterated_to());
        if quantile < 1.0 {
            let odds = 1.0 / (1.0 - quantile);
            writeln!(out, "{value:>12.6} {quantile:>14.12} {total:>10} {odds:>14.2}")?;
        } else {
            writeln!(out, "{value:>12.6} {quantile:>14.12} {total:>10}")?;
        }
    }
    let (mean, deviation) = match histogram.is_empty() {
        true => (0.0, 0.0),
        false => (histogram.mean() / MILLISECOND, histogram.stdev() / MILLISECOND),
    };
    writeln!(out, "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]")?;
    writeln!(
        out,
        "#[Max     = {:>12.6}, Total count    = {:>12}]",
        histogram.max() as f64 / MILLISECOND,
        histogram.len()
    )?;
    writeln!(
        out,
        "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.buckets(),
        histogram.distinct_values() / usize::from(histogram.buckets())
    )
}

fn count_below(histogram: &Histogram<u64>, value: u64) -> u64 {
    histogram.count_between(0, value)
}

/// The interval log: every second's latencies in nanoseconds, with those from the actual send
/// under the tag `uncorrected` and those of whole registrations under `registration`.
pub fn interval_log(outcome: &Outcome) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    {
        let mut builder = IntervalLogWriterBuilder::new();
        let comment = format!("{} against {}", outcome.scenario, outcome.target);
        let mut log = builder
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(&comment)
            .with_start_time(outcome.started)
            .with_base_time(outcome.started)
            .with_max_value_divisor(MILLISECOND)
            .begin_log_with(&mut bytes, &mut serializer)?;
        let tag = |name| Tag::new(name);
        for (number, second) in outcome.timeline.iter().enumerate() {
            let at = Duration::from_secs(number as u64);
            let length = second.length;
            for (histogram, tag) in [
                (&second.latencies.corrected, None),
                (&second.latencies.uncorrected, tag("uncorrected")),
                (&second.latencies.registration, tag("registration")),
            ] {
                log.write_histogram(histogram, at, length, tag)
                    .map_err(|error| io::Error::other(format!("interval log: {error:?}")))?;
            }
        }
    }
    Ok(bytes)
}
