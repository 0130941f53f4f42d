//! What is made of times: medians, and a line beside the limit where there is one.

use std::time::Duration;

/// The median of anything that can be compared.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the median time of one message, from times of batches of `batch` messages, and beside it
/// that of the quickest tenth, which neighbours on the machine disturb least. Returns the median in
/// nanoseconds.
pub fn per_message(name: &str, limit_ns: Option<f64>, batch: usize, times: &[Duration]) -> f64 {
    let mut each: Vec<f64> =
        times.iter().map(|time| time.as_nanos() as f64 / batch as f64).collect();
    let median = median(&mut each);
    let tenth = each[each.len() / 10];
    let verdict = verdict(median, limit_ns, "ns");
    println!("  {name:<44} {median:>8.0} ns  p10 {tenth:>8.0} ns  {verdict}");
    median
}

/// Whether a limit is held, in words; nothing where there is none.
pub fn verdict(value: f64, limit: Option<f64>, unit: &str) -> String {
    match limit {
        Some(limit) if value <= limit => format!("limit {limit:.0} {unit}, held"),
        Some(limit) => format!("limit {limit:.0} {unit}, EXCEEDED"),
        None => String::new(),
    }
}
