//! `aorta ctl param`: list, get, set, unset.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Desk, ask, escaped, list, table, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::ParamCommand;
use crate::cli::say::{note, print};

const PATH: &str = "/api/v1/parameters";

/// Asks or acts.
pub fn run(desk: &Desk, command: &ParamCommand) -> Result<(), Failure> {
    match command {
        ParamCommand::List { text, set } => all(desk, text.as_deref(), *set),
        ParamCommand::Get { name } => get(desk, name),
        ParamCommand::Set { name, value, reason, yes } => {
            let reason = reason.as_deref();
            change(desk, name, Some(value), reason, *yes)
        }
        ParamCommand::Unset { name, reason, yes } => {
            change(desk, name, None, reason.as_deref(), *yes)
        }
    }
}

fn all(desk: &Desk, wanted: Option<&str>, only_set: bool) -> Result<(), Failure> {
    let answer = desk.value(&Method::GET, PATH)?;
    let wanted = wanted.unwrap_or_default().to_lowercase();
    let is_wanted = |row: &&Value| {
        ["name", "alias", "about"].iter().any(|of| text(row, of).to_lowercase().contains(&wanted))
            && (!only_set || text(row, "value") != text(row, "default"))
    };
    let rows: Vec<&Value> = list(&answer, "items").iter().filter(is_wanted).collect();
    if desk.json {
        return print(json!({ "items": rows }));
    }
    let lines: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            let name = match text(row, "alias") {
                "" => text(row, "name").to_owned(),
                alias => format!("{} ({alias})", text(row, "name")),
            };
            [
                name,
                with_unit(row),
                text(row, "default").to_owned(),
                text(row, "range").to_owned(),
                text(row, "origin").to_owned(),
            ]
        })
        .collect();
    for line in table::lines(["PARAMETER", "VALUE", "DEFAULT", "RANGE", "FROM"], &lines) {
        print(line)?;
    }
    if rows.is_empty() {
        note("none");
    }
    Ok(())
}

/// With what holds until the next start, where that is something else.
fn with_unit(row: &Value) -> String {
    let value = text(row, "value");
    match row.get("running").and_then(Value::as_str) {
        Some(running) => format!("{value} (now {running})"),
        None => value.to_owned(),
    }
}

fn get(desk: &Desk, name: &str) -> Result<(), Failure> {
    let path = format!("{PATH}/{}", escaped(name));
    if desk.json {
        return print(desk.text(&Method::GET, &path)?);
    }
    let row = desk.value(&Method::GET, &path)?;
    for (label, member) in [
        ("parameter", "name"),
        ("alias", "alias"),
        ("value", "value"),
        ("running", "running"),
        ("default", "default"),
        ("range", "range"),
        ("from", "origin"),
        ("meaning", "about"),
        ("locked", "locked"),
    ] {
        let value = text(&row, member);
        if !value.is_empty() || member == "value" {
            print(format_args!("{label:9}  {}", one_line(value)))?;
        }
    }
    if row.get("restart").and_then(Value::as_bool) == Some(true) {
        print(format_args!("{:9}  a change holds from the next start", "restart"))?;
    }
    Ok(())
}

fn change(
    desk: &Desk,
    name: &str,
    value: Option<&str>,
    reason: Option<&str>,
    yes: bool,
) -> Result<(), Failure> {
    let path = format!("{PATH}/{}", escaped(name));
    // What is seen here is what is changed: who was first meanwhile is not overruled.
    let seen = desk.value(&Method::GET, &path)?;
    let tag = format!("\"{}\"", text(&seen, "etag"));
    let (name, old) = (one_line(text(&seen, "name")), one_line(text(&seen, "value")));
    let question = match value {
        Some(value) => format!("set {name} from {old:?} to {:?}?", one_line(value)),
        None => format!("take back {name}, which is {old:?}?"),
    };
    if !ask::may_go_on(yes, &question) {
        return Err(Failure::new("nothing was done"));
    }
    let fields = [("if-match", tag.as_str())];
    let done = match value {
        Some(value) => {
            let body = json!({ "value": value, "reason": reason });
            desk.send(&Method::PUT, &path, Some(&body), &fields)?
        }
        None => {
            let path = with_query(&path, &[("reason", reason)]);
            desk.send(&Method::DELETE, &path, None, &fields)?
        }
    };
    if desk.json {
        return print(done);
    }
    let done: Value = serde_json::from_str(&done).map_err(|_| super::not_ours())?;
    let is = |member: &str| done.get(member).and_then(Value::as_bool) == Some(true);
    print(format_args!(
        "{name} is {:?}, from {}",
        one_line(text(&done, "value")),
        text(&done, "origin")
    ))?;
    if is("restart") {
        note("it holds from the next start");
    }
    if !is("kept") {
        note("it ends with the process: there is no --data");
    }
    Ok(())
}
