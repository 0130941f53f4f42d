//! `aorta ctl blacklist`: list, add, lift.

use axum::http::Method;
use serde_json::Value;

use super::pages::Pages;
use super::{Desk, ask, escaped, table, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::BlacklistCommand;
use crate::cli::say::{note, print};

const PATH: &str = "/api/v1/blacklist";

/// Asks or acts.
pub fn run(desk: &Desk, command: &BlacklistCommand) -> Result<(), Failure> {
    match command {
        BlacklistCommand::List { limit, all } => {
            let most = if *all { usize::MAX } else { *limit };
            Pages::new(desk, PATH.to_owned(), most).show(table_of)
        }
        BlacklistCommand::Add { source, seconds, yes } => {
            let seconds = seconds.map(|seconds| seconds.to_string());
            let path = with_query(&at(source), &[("seconds", seconds.as_deref())]);
            let question = format!("block {}?", one_line(source));
            act(desk, *yes, &question, &Method::PUT, &path, "blocked")
        }
        BlacklistCommand::Lift { source, yes } => {
            let question = format!("lift the block of {}?", one_line(source));
            act(desk, *yes, &question, &Method::DELETE, &at(source), "lifted")
        }
    }
}

fn at(source: &str) -> String {
    format!("{PATH}/{}", escaped(source))
}

fn table_of(items: &[Value]) -> Vec<String> {
    let seconds = |item: &Value, name| item.get(name).and_then(Value::as_u64);
    let is = |item: &Value, name| item.get(name).and_then(Value::as_bool) == Some(true);
    let rows: Vec<[String; 6]> = items
        .iter()
        .map(|item| {
            [
                text(item, "network").to_owned(),
                if is(item, "whole") { "blocked" } else { "restrained" }.to_owned(),
                format!("{} s", seconds(item, "since_s").unwrap_or_default()),
                seconds(item, "remaining_s")
                    .map_or_else(|| "until lifted".to_owned(), |left| format!("{left} s")),
                seconds(item, "times").unwrap_or_default().to_string(),
                if is(item, "by_operator") { "operator" } else { "guard" }.to_owned(),
            ]
        })
        .collect();
    table::lines(["SOURCE", "STATE", "SINCE", "LEFT", "TIMES", "BY"], &rows)
}

fn act(
    desk: &Desk,
    yes: bool,
    question: &str,
    method: &Method,
    path: &str,
    word: &str,
) -> Result<(), Failure> {
    if !ask::may_go_on(yes, question) {
        return Err(Failure::new("nothing was done"));
    }
    if desk.json {
        return print(desk.text(method, path)?);
    }
    let done = desk.value(method, path)?;
    let warning = text(&done, "warning");
    if !warning.is_empty() {
        note(one_line(warning));
    }
    match done.get("changed").and_then(Value::as_bool) {
        Some(true) => print(format_args!("{} {word}", one_line(text(&done, "source")))),
        Some(false) => print("nothing to change"),
        None => Err(super::not_ours()),
    }
}
