//! A small stopwatch for the benchmarks: the median of batches, printed beside its limit.

#![allow(clippy::disallowed_methods, reason = "a stopwatch reads the clock")]

use std::time::Instant;

/// Batches whose median counts.
const BATCHES: usize = 31;

/// Runs `work` in batches of `iterations` and prints the median time of one run, beside the
/// limit where there is one. Gives that time in nanoseconds.
pub fn measure(name: &str, limit_ns: Option<f64>, iterations: u32, mut work: impl FnMut()) -> f64 {
    for _ in 0..iterations {
        work();
    }
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..iterations {
                work();
            }
            start.elapsed().as_nanos() as f64 / f64::from(iterations)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    let (median, best) = (batches[BATCHES / 2], batches[0]);
    let limit = match limit_ns {
        Some(limit) if median <= limit => format!("limit {limit:.0} ns, held"),
        Some(limit) => format!("limit {limit:.0} ns, EXCEEDED"),
        None => String::new(),
    };
    println!("{name:<44} {median:>9.1} ns  best {best:>9.1} ns  {limit}");
    median
}
