//! `aorta ctl blocks`: list, add, lift.

use axum::http::Method;
use serde_json::Value;

use super::pages::Pages;
use super::{Desk, ask, escaped, table, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::BlocksCommand;
use crate::cli::say::print;

const PATH: &str = "/api/v1/blocks";

/// Asks or acts.
pub fn run(desk: &Desk, command: &BlocksCommand) -> Result<(), Failure> {
    match command {
        BlocksCommand::List { limit, all } => {
            let most = if *all { usize::MAX } else { *limit };
            Pages::new(desk, PATH.to_owned(), most).show(table_of)
        }
        BlocksCommand::Add { ip, seconds, yes } => {
            let how_long =
                seconds.map_or("until it is lifted".to_owned(), |s| format!("for {s} s"));
            let question = format!("block {} {how_long}?", one_line(ip));
            let seconds = seconds.map(|seconds| seconds.to_string());
            let path = format!("{PATH}/{}", escaped(ip));
            let path = with_query(&path, &[("seconds", seconds.as_deref())]);
            act(desk, *yes, &question, &Method::PUT, &path, ["blocked", "it was blocked already"])
        }
        BlocksCommand::Lift { ip, yes } => {
            let question = format!("serve {} again?", one_line(ip));
            let path = format!("{PATH}/{}", escaped(ip));
            act(desk, *yes, &question, &Method::DELETE, &path, ["lifted", "nothing to lift"])
        }
    }
}

fn table_of(items: &[Value]) -> Vec<String> {
    let rows: Vec<[String; 5]> = items
        .iter()
        .map(|item| {
            let number = |name| item.get(name).and_then(Value::as_u64);
            [
                text(item, "network").to_owned(),
                text(item, "state").to_owned(),
                number("remaining_s").map_or("for good".to_owned(), |left| format!("{left} s")),
                number("times").unwrap_or_default().to_string(),
                text(item, "by").to_owned(),
            ]
        })
        .collect();
    table::lines(["SOURCE", "STATE", "LEFT", "TIMES", "BY"], &rows)
}

fn act(
    desk: &Desk,
    yes: bool,
    question: &str,
    method: &Method,
    path: &str,
    [done, not_done]: [&str; 2],
) -> Result<(), Failure> {
    if !ask::may_go_on(yes, question) {
        return Err(Failure::new("nothing was done"));
    }
    if desk.json {
        return print(desk.text(method, path)?);
    }
    match desk.value(method, path)?.get("changed").and_then(Value::as_bool) {
        Some(true) => print(done),
        Some(false) => print(not_done),
        None => Err(super::not_ours()),
    }
}
