//! `aorta ctl events`: what has happened, and what happens.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::Value;

use super::pages::Pages;
use super::{Desk, list, pause, table, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::EventsArgs;
use crate::cli::say::print;
use crate::reactor::Clock;

const PATH: &str = "/api/v1/security-events";
/// Events of one question while following: what comes faster is one event with a count, or pushed
/// out of the list itself.
const FOLLOWED: &str = "1000";
/// Events whose count is remembered while following.
const REMEMBERED_MAX: usize = 20_000;

/// Shows them.
pub fn run(desk: &Desk, args: &EventsArgs) -> Result<(), Failure> {
    let since = args.since.as_deref().map(since).transpose()?;
    if args.follow {
        return follow(desk, args, since);
    }
    let most = if args.all { usize::MAX } else { args.limit };
    let path = with_query(PATH, &filters(args, since.as_deref()));
    Pages::new(desk, path, most).show(table_of)
}

fn filters<'a>(
    args: &'a EventsArgs,
    since: Option<&'a str>,
) -> [(&'static str, Option<&'a str>); 4] {
    [
        ("kind", args.kind.as_deref()),
        ("account", args.account.as_deref()),
        ("ip", args.source.as_deref()),
        ("since", since),
    ]
}

/// A time as the interface takes it: `10m` ago, or a time of the clock as it is.
pub(super) fn since(text: &str) -> Result<String, Failure> {
    let expected = || {
        Failure::new(format!(
            "--since {text}: expected a time such as 90s, 10m, 2h, 7d or 2026-11-21T02:38:00Z"
        ))
    };
    if text.contains('T') {
        return Ok(text.to_owned());
    }
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(expected()),
    };
    let digits = &text[..text.len() - 1];
    let number = digits.parse::<u32>().map_err(|_| expected())?;
    let now = Clock::start().now().wall.0;
    Ok(now.saturating_sub(u64::from(number) * unit).to_string())
}

fn cells(item: &Value) -> [String; 6] {
    let count = item.get("count").and_then(Value::as_u64).unwrap_or_default();
    [
        text(item, "last").to_owned(),
        text(item, "kind").to_owned(),
        count.to_string(),
        text(item, "source_ip").to_owned(),
        text(item, "account").to_owned(),
        text(item, "user_agent").to_owned(),
    ]
}

fn table_of(items: &[Value]) -> Vec<String> {
    let rows: Vec<[String; 6]> = items.iter().map(cells).collect();
    table::lines(["LAST", "KIND", "COUNT", "SOURCE", "ACCOUNT", "USER-AGENT"], &rows)
}

/// Asks again and again; an event is shown when it is new, and again when its count has grown.
fn follow(desk: &Desk, args: &EventsArgs, since: Option<String>) -> Result<(), Failure> {
    let mut from = since.unwrap_or_else(|| Clock::start().now().wall.0.to_string());
    let mut shown: HashMap<String, u64> = HashMap::new();
    loop {
        let mut parameters = filters(args, Some(&from)).to_vec();
        parameters.push(("limit", Some(FOLLOWED)));
        let page = desk.value(&Method::GET, &with_query(PATH, &parameters))?;
        let items = list(&page, "items");
        if shown.len() > REMEMBERED_MAX {
            shown.clear();
        }
        for item in items.iter().rev() {
            let count = item.get("count").and_then(Value::as_u64).unwrap_or_default();
            if shown.insert(text(item, "id").to_owned(), count) == Some(count) {
                continue;
            }
            match desk.json {
                true => print(item)?,
                false => print(line(item))?,
            }
        }
        // The second it was asked in may not be over.
        if let Some(last) = items.first().map(|item| text(item, "last")) {
            from = last.to_owned();
        }
        pause();
    }
}

/// One event on a line of its own.
fn line(item: &Value) -> String {
    let [last, kind, count, source, account, agent] = cells(item).map(|cell| one_line(&cell));
    let mut line = format!("{last} {kind} x{count}");
    for (name, value) in [("source", source), ("account", account), ("user-agent", agent)] {
        if !value.is_empty() {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ago_is_a_time_and_what_is_none_is_refused() {
        let now = Clock::start().now().wall.0;
        let ago: u64 = since("2h").unwrap().parse().unwrap();
        assert!((7198..=7202).contains(&(now - ago)), "{ago}");
        assert_eq!(since("2026-11-21T02:38:00Z").unwrap(), "2026-11-21T02:38:00Z");
        for bad in ["", "10", "m", "-1m", "1.5h", "10 m", "\u{e9}"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_event_is_one_plain_line() {
        let item = serde_json::json!({
            "last": "2026-11-21T02:38:00Z", "kind": "scanner", "count": 3,
            "source_ip": "192.0.2.7", "account": null, "user_agent": "a\u{1b}[2J\nb",
        });
        let expected = "2026-11-21T02:38:00Z scanner x3 source=192.0.2.7 \
                        user-agent=a\\u{1b}[2J\\nb";
        assert_eq!(line(&item), expected);
    }
}
