//! `aorta ctl trend`: how many registrations there were, and how much happened, over time.

use axum::http::Method;
use serde_json::Value;

use super::events::since;
use super::{Desk, csv, list, not_ours, table, text, with_query};
use crate::admin::rfc3339;
use crate::cli::Failure;
use crate::cli::args::TrendArgs;
use crate::cli::say::{note, print};
use crate::time::UnixTime;

const PATH: &str = "/api/v1/trends";

/// Shows it.
pub fn run(desk: &Desk, args: &TrendArgs) -> Result<(), Failure> {
    let from = args.from.as_deref().map(since).transpose()?;
    let to = args.to.as_deref().map(since).transpose()?;
    let query = [
        ("from", from.as_deref()),
        ("to", to.as_deref()),
        ("step", args.step.as_deref()),
        ("metrics", args.metrics.as_deref()),
    ];
    let path = with_query(PATH, &query);
    if desk.json {
        return print(desk.text(&Method::GET, &path)?.trim_end());
    }
    let answer = desk.value(&Method::GET, &path)?;
    let times: Option<Vec<u64>> = list(&answer, "t").iter().map(Value::as_u64).collect();
    let times = times.ok_or_else(not_ours)?;
    let series = list(&answer, "series");
    if args.csv {
        let names = series.iter().map(|one| text(one, "metric").to_owned());
        let head: Vec<String> = std::iter::once("at".to_owned()).chain(names).collect();
        csv::line(&head)?;
        for (nth, at) in times.iter().enumerate() {
            let cells = series.iter().map(|one| number(one, nth).map_or_else(String::new, plain));
            let at = std::iter::once(rfc3339(UnixTime(*at)));
            csv::line(&at.chain(cells).collect::<Vec<_>>())?;
        }
        return Ok(());
    }
    if times.is_empty() {
        note("nothing was measured then");
        return Ok(());
    }
    for line in table_of(&times, series) {
        print(line)?;
    }
    Ok(())
}

/// The number of a step; nothing where none was measured.
fn number(series: &Value, nth: usize) -> Option<f64> {
    list(series, "values").get(nth)?.as_f64()
}

fn plain(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

/// What a person wants to see; the rest is in the CSV, and in the JSON. Metrics that were not asked
/// for are empty.
fn table_of(times: &[u64], series: &[Value]) -> Vec<String> {
    let sum = |names: &[&str], nth: usize| {
        let those = series.iter().filter(|one| names.contains(&text(one, "metric")));
        those.filter_map(|one| number(one, nth)).reduce(|sum, more| sum + more)
    };
    let cell = |names: &[&str], nth| sum(names, nth).map_or_else(|| "-".to_owned(), plain);
    let rows: Vec<[String; 9]> = times
        .iter()
        .enumerate()
        .map(|(nth, at)| {
            [
                rfc3339(UnixTime(*at)),
                cell(&["registrations"], nth),
                cell(&["registered"], nth),
                cell(&["refreshed"], nth),
                cell(&["unregistered", "expired", "replaced", "removed"], nth),
                cell(&["bad_password", "unknown_account", "refused"], nth),
                cell(&["requests"], nth),
                sum(&["p99_ns"], nth).map_or_else(|| "-".to_owned(), |ns| plain(ns / 1000.0)),
                sum(&["memory_bytes"], nth)
                    .map_or_else(|| "-".to_owned(), |bytes| plain((bytes / 1_048_576.0).round())),
            ]
        })
        .collect();
    let head = [
        "TIME",
        "REGISTRATIONS",
        "NEW/S",
        "REFRESHED/S",
        "GONE/S",
        "FAILED/S",
        "REQUESTS/S",
        "P99 US",
        "MIB",
    ];
    table::lines(head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_has_no_numbers_and_what_is_shown_together_is_added() {
        let series = [
            serde_json::json!({"metric": "registrations", "values": [5.0, null]}),
            serde_json::json!({"metric": "expired", "values": [0.25, null]}),
            serde_json::json!({"metric": "removed", "values": [1.0, null]}),
            serde_json::json!({"metric": "p99_ns", "values": [12_500.0, null]}),
        ];
        let lines = table_of(&[1_795_228_680, 1_795_228_690], &series);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let first = ["2026-11-21T02:38:00Z", "5", "-", "-", "1.25", "-", "-", "12.50", "-"];
        assert_eq!(words(&lines[1]), first);
        assert_eq!(words(&lines[2])[1..], ["-"; 8]);
    }
}
