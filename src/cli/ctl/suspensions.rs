//! `aorta ctl suspensions`: list, lift.

use axum::http::Method;
use serde_json::Value;

use super::pages::Pages;
use super::{Desk, ask, escaped, table, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::SuspensionsCommand;
use crate::cli::say::print;

const PATH: &str = "/api/v1/suspensions";

/// Asks or acts.
pub fn run(desk: &Desk, command: &SuspensionsCommand) -> Result<(), Failure> {
    match command {
        SuspensionsCommand::List { limit, all } => {
            let most = if *all { usize::MAX } else { *limit };
            Pages::new(desk, PATH.to_owned(), most).show(table_of)
        }
        SuspensionsCommand::Lift { aor, ip, yes } => lift(desk, aor, ip.as_deref(), *yes),
    }
}

fn table_of(items: &[Value]) -> Vec<String> {
    let rows: Vec<[String; 5]> = items
        .iter()
        .map(|item| {
            let left = item.get("remaining_s").and_then(Value::as_u64);
            let source = text(item, "source_ip");
            let aor = text(item, "aor");
            [
                if aor.is_empty() { "(no account)".to_owned() } else { aor.to_owned() },
                if source.is_empty() { "anywhere".to_owned() } else { source.to_owned() },
                left.map_or_else(|| "until lifted".to_owned(), |left| format!("{left} s")),
                text(item, "cause").to_owned(),
                text(item, "reason").to_owned(),
            ]
        })
        .collect();
    table::lines(["AOR", "FROM", "LEFT", "CAUSE", "REASON"], &rows)
}

fn lift(desk: &Desk, aor: &str, ip: Option<&str>, yes: bool) -> Result<(), Failure> {
    let source = ip.unwrap_or("every source");
    let question = format!("lift the suspension of {} for {}?", one_line(aor), one_line(source));
    if !ask::may_go_on(yes, &question) {
        return Err(Failure::new("nothing was done"));
    }
    let path = with_query(&format!("{PATH}/{}", escaped(aor)), &[("ip", ip)]);
    if desk.json {
        return print(desk.text(&Method::DELETE, &path)?);
    }
    let done = desk.value(&Method::DELETE, &path)?;
    match done.get("lifted").and_then(Value::as_u64) {
        Some(0) => print("nothing to lift"),
        Some(1) => print("1 suspension lifted"),
        Some(many) => print(format_args!("{many} suspensions lifted")),
        None => Err(super::not_ours()),
    }
}
