//! `aorta ctl history` and `aorta ctl failed`: what happened to registrations, and which were
//! refused.

use serde_json::Value;

use super::events::since;
use super::pages::Pages;
use super::{Desk, csv, table, text, with_query};
use crate::cli::Failure;
use crate::cli::args::HistoryArgs;

const HISTORY: &str = "/api/v1/history";
const FAILED: &str = "/api/v1/failed";

/// Every member of a row, in the order of the columns of a CSV.
const COLUMNS: [&str; 14] = [
    "id",
    "at",
    "at_ms",
    "kind",
    "aor",
    "contact",
    "source_ip",
    "source_port",
    "transport",
    "user_agent",
    "granted_s",
    "reason",
    "count",
    "shard",
];

/// Shows what happened.
pub fn run(desk: &Desk, args: &HistoryArgs, kinds: Option<&str>) -> Result<(), Failure> {
    show(desk, HISTORY, args, kinds)
}

/// Shows what was refused.
pub fn run_failed(desk: &Desk, args: &HistoryArgs) -> Result<(), Failure> {
    show(desk, FAILED, args, None)
}

fn show(desk: &Desk, path: &str, args: &HistoryArgs, kinds: Option<&str>) -> Result<(), Failure> {
    let since_then = args.since.as_deref().map(since).transpose()?;
    let until = args.until.as_deref().map(since).transpose()?;
    let parameters = [
        ("aor", args.aor.as_deref()),
        ("ip", args.ip.as_deref()),
        ("kind", kinds),
        ("reason", args.reason.as_deref()),
        ("user_agent", args.user_agent.as_deref()),
        ("text", args.text.as_deref()),
        ("since", since_then.as_deref()),
        ("until", until.as_deref()),
    ];
    let most = if args.all { usize::MAX } else { args.limit };
    let pages = Pages::new(desk, with_query(path, &parameters), most);
    if args.csv {
        return csv::show(pages, &COLUMNS);
    }
    pages.show(table_of)
}

fn table_of(items: &[Value]) -> Vec<String> {
    let rows: Vec<[String; 8]> = items.iter().map(cells).collect();
    let head = ["TIME", "WHAT", "COUNT", "ACCOUNT", "FROM", "REASON", "CONTACT", "USER AGENT"];
    table::lines(head, &rows)
}

fn cells(item: &Value) -> [String; 8] {
    let number = |name| item.get(name).and_then(Value::as_u64);
    let source = match (text(item, "source_ip"), number("source_port")) {
        (ip, Some(port)) if ip.contains(':') => format!("[{ip}]:{port}"),
        (ip, Some(port)) => format!("{ip}:{port}"),
        (ip, None) => ip.to_owned(),
    };
    [
        text(item, "at").to_owned(),
        text(item, "kind").to_owned(),
        number("count").unwrap_or_default().to_string(),
        text(item, "aor").to_owned(),
        source,
        text(item, "reason").to_owned(),
        text(item, "contact").to_owned(),
        text(item, "user_agent").to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_where_it_came_from_as_far_as_that_is_known() {
        let of = |ip: &str, port: Option<u16>| {
            let item = serde_json::json!({ "source_ip": ip, "source_port": port });
            cells(&item)[4].clone()
        };
        assert_eq!(of("192.0.2.7", Some(5060)), "192.0.2.7:5060");
        assert_eq!(of("2001:db8::1", Some(5060)), "[2001:db8::1]:5060");
        assert_eq!(of("2001:db8::1", None), "2001:db8::1");
    }
}
