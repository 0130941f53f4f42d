//! `aorta ctl devices`, `geography` and `breakdown`: what is registered, told apart.

use axum::http::Method;
use serde_json::Value;

use super::{Desk, list, table, text, with_query};
use crate::cli::Failure;
use crate::cli::args::{BreakdownArgs, DevicesArgs, GeographyArgs};
use crate::cli::say::{note, print};

const DEVICES: &str = "/api/v1/devices";
const GEOGRAPHY: &str = "/api/v1/geography";
const BREAKDOWN: &str = "/api/v1/breakdown";

/// Shows devices.
pub fn devices(desk: &Desk, args: &DevicesArgs) -> Result<(), Failure> {
    let limit = args.limit.to_string();
    let query = [
        ("by", Some(args.by.as_str())),
        ("vendor", args.vendor.as_deref()),
        ("limit", Some(limit.as_str())),
        ("format", args.csv.then_some("csv")),
    ];
    let Some(page) = asked(desk, &with_query(DEVICES, &query), args.csv)? else { return Ok(()) };
    let rows: Vec<[String; 5]> = list(&page, "items")
        .iter()
        .map(|item| {
            let said = |name| match text(item, name) {
                "" => "-".to_owned(),
                text => text.to_owned(),
            };
            let [count, share] = numbers(item);
            [count, share, said("vendor"), said("model"), said("firmware")]
        })
        .collect();
    show(&page, &table::lines(["COUNT", "SHARE", "VENDOR", "MODEL", "FIRMWARE"], &rows))
}

/// Shows from where phones are registered.
pub fn geography(desk: &Desk, args: &GeographyArgs) -> Result<(), Failure> {
    let limit = args.limit.to_string();
    let query = [
        ("by", Some(args.by.as_str())),
        ("country", args.country.as_deref()),
        ("limit", Some(limit.as_str())),
        ("format", args.csv.then_some("csv")),
    ];
    let Some(page) = asked(desk, &with_query(GEOGRAPHY, &query), args.csv)? else { return Ok(()) };
    if let Some(missing) = page.get("note").and_then(Value::as_str) {
        note(missing);
    }
    show(&page, &table_of(&page))
}

/// Shows registrations by one of the ways to tell them apart.
pub fn breakdown(desk: &Desk, args: &BreakdownArgs) -> Result<(), Failure> {
    let limit = args.limit.to_string();
    let query = [
        ("by", Some(args.by.as_str())),
        ("limit", Some(limit.as_str())),
        ("format", args.csv.then_some("csv")),
    ];
    let Some(page) = asked(desk, &with_query(BREAKDOWN, &query), args.csv)? else { return Ok(()) };
    show(&page, &table_of(&page))
}

/// The answer, unless it was for a program and is printed already.
fn asked(desk: &Desk, path: &str, csv: bool) -> Result<Option<Value>, Failure> {
    if desk.json || csv {
        print(desk.text(&Method::GET, path)?.trim_end())?;
        return Ok(None);
    }
    desk.value(&Method::GET, path).map(Some)
}

fn numbers(item: &Value) -> [String; 2] {
    let count = item.get("count").and_then(Value::as_u64).unwrap_or_default();
    let share = item.get("share_percent").and_then(Value::as_f64).unwrap_or_default();
    [count.to_string(), format!("{share:.2} %")]
}

fn table_of(page: &Value) -> Vec<String> {
    let rows: Vec<[String; 4]> = list(page, "items")
        .iter()
        .map(|item| {
            let [count, share] = numbers(item);
            [count, share, text(item, "key").to_owned(), text(item, "label").to_owned()]
        })
        .collect();
    table::lines(["COUNT", "SHARE", "KEY", "NAME"], &rows)
}

/// The lines, and below them what is in none.
fn show(page: &Value, lines: &[String]) -> Result<(), Failure> {
    let survey = page.get("survey").cloned().unwrap_or_default();
    if survey.get("at").is_none_or(Value::is_null) {
        note("nothing was counted yet; ask again in a while");
        return Ok(());
    }
    for line in lines {
        print(line)?;
    }
    let rest = page.get("rest").and_then(Value::as_u64).unwrap_or_default();
    if rest > 0 {
        note(format_args!("{rest} more in other rows (--limit)"));
    }
    let age = survey.get("age_s").and_then(Value::as_u64).unwrap_or_default();
    if age > 60 {
        note(format_args!("counted {age} seconds ago"));
    }
    Ok(())
}
