//! How long messages take, as a table for a person: what a server ends with, and what `aorta ctl
//! latency` shows.

use super::ctl::table;
use crate::admin::LatencyRow;
use crate::reactor::ServiceTimes;

/// Shards whose stages are all shown at the end; of more, each has one line.
const SHARDS_SHOWN_MAX: usize = 8;

/// What a server ends with; nothing where nothing was timed.
pub fn final_lines(shards: &[ServiceTimes]) -> Vec<String> {
    let batches: u64 = shards.iter().map(ServiceTimes::batches).sum();
    if batches == 0 {
        return Vec::new();
    }
    let all_shown = shards.len() <= SHARDS_SHOWN_MAX;
    let rows: Vec<LatencyRow> = LatencyRow::all(shards)
        .filter(|row| match row.shard {
            None => true,
            // Of one it is said already.
            Some(_) => shards.len() > 1 && (all_shown || row.stage == "whole"),
        })
        .collect();
    let mut lines = vec![format!("service times of {batches} timed batches")];
    lines.extend(table_of(&rows).into_iter().map(|line| format!("  {line}")));
    lines
}

/// A head and a line for each row that has something.
pub fn table_of(rows: &[LatencyRow]) -> Vec<String> {
    let cells: Vec<[String; 9]> = rows
        .iter()
        .filter(|row| row.count > 0)
        .map(|row| {
            [
                row.shard.map_or_else(|| "all".to_owned(), |shard| shard.to_string()),
                row.stage.to_string(),
                row.count.to_string(),
                time(row.mean_ns as u64),
                time(row.p50_ns),
                time(row.p90_ns),
                time(row.p99_ns),
                time(row.p999_ns),
                time(row.max_ns),
            ]
        })
        .collect();
    let head = ["SHARD", "STAGE", "MESSAGES", "MEAN", "P50", "P90", "P99", "P99.9", "MAX"];
    table::lines(head, &cells)
}

/// A time in the unit that suits it, three digits or four.
pub fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{:.1}us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}ms", ns as f64 / 1e6),
        _ => format!("{:.1}s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Span;

    fn timed(ns: &[u64]) -> ServiceTimes {
        ServiceTimes::of_batches(&ns.iter().map(|&ns| (Span::Whole, ns)).collect::<Vec<_>>())
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let texts = [0, 999, 1_000, 99_949, 1_500_000, 10_000_000_000].map(time);
        assert_eq!(texts, ["0ns", "999ns", "1.0us", "99.9us", "1.5ms", "10.0s"]);
    }

    #[test]
    fn a_server_ends_with_what_was_timed_and_says_nothing_where_nothing_was() {
        assert!(final_lines(&[ServiceTimes::default(), ServiceTimes::default()]).is_empty());
        let one = final_lines(&[timed(&[100, 200, 200])]);
        let expected = [
            "service times of 3 timed batches",
            "  SHARD  STAGE  MESSAGES  MEAN   P50    P90    P99    P99.9  MAX",
            "  all    whole  3         167ns  200ns  200ns  200ns  200ns  200ns",
        ];
        assert_eq!(one, expected);
        let two = final_lines(&[timed(&[100]), timed(&[200])]);
        let begins: Vec<&str> = two[2..].iter().map(|line| line[2..9].trim()).collect();
        assert_eq!(begins, ["all", "0", "1"]);
    }

    #[test]
    fn of_many_shards_each_has_one_line() {
        let parse = Span::from_name("parse").unwrap();
        let one = ServiceTimes::of_batches(&[(parse, 10), (Span::Whole, 20)]);
        let lines = final_lines(&vec![one; SHARDS_SHOWN_MAX + 1]);
        assert_eq!(lines.len(), 2 + 2 + SHARDS_SHOWN_MAX + 1);
        assert!(lines[4..].iter().all(|line| line.contains("whole")));
    }
}
