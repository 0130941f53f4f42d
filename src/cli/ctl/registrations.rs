//! `aorta ctl registrations`: list, show, unregister.

use axum::http::Method;
use serde_json::{Value, json};

use super::pages::Pages;
use super::{Desk, ask, escaped, list, table, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::{Filters, RegistrationsCommand};
use crate::cli::say::print;

const PATH: &str = "/api/v1/registrations";

/// Asks or acts.
pub fn run(desk: &Desk, command: &RegistrationsCommand) -> Result<(), Failure> {
    match command {
        RegistrationsCommand::List { filters, limit, all } => {
            let most = if *all { usize::MAX } else { *limit };
            pages(desk, filters, most).show(table_of)
        }
        RegistrationsCommand::Show { aor } => show_one(desk, aor),
        RegistrationsCommand::Unregister { aor, contact, ip, binding, yes } => {
            let filters = Filters { aor: aor.clone(), contact: contact.clone(), ip: ip.clone() };
            unregister(desk, &filters, binding.as_deref(), *yes)
        }
    }
}

fn pages<'a>(desk: &'a Desk, filters: &Filters, most: usize) -> Pages<'a> {
    let parameters = [
        ("aor", filters.aor.as_deref()),
        ("contact", filters.contact.as_deref()),
        ("ip", filters.ip.as_deref()),
    ];
    Pages::new(desk, with_query(PATH, &parameters), most)
}

fn table_of(items: &[Value]) -> Vec<String> {
    let seconds = |item: &Value| match item.get("remaining_s").and_then(Value::as_u64) {
        Some(seconds) => format!("{seconds} s"),
        None => "-".to_owned(),
    };
    let rows: Vec<[String; 8]> = items
        .iter()
        .map(|item| {
            [
                text(item, "aor").to_owned(),
                text(item, "binding").to_owned(),
                text(item, "contact").to_owned(),
                text(item, "received").to_owned(),
                text(item, "transport").to_owned(),
                seconds(item),
                state(item),
                text(item, "user_agent").to_owned(),
            ]
        })
        .collect();
    let head = ["AOR", "BINDING", "CONTACT", "FROM", "BY", "LEFT", "STATE", "USER AGENT"];
    table::lines(head, &rows)
}

/// How it is with a binding, in words.
fn state(item: &Value) -> String {
    let is = |name| item.get(name).and_then(Value::as_bool) == Some(true);
    let more = [("provided", "provided"), ("late", "late"), ("in call", "in_call"), ("nat", "nat")];
    let mut words = vec![text(item, "status")];
    words.extend(more.into_iter().filter_map(|(word, name)| is(name).then_some(word)));
    words.join(", ")
}

fn show_one(desk: &Desk, aor: &str) -> Result<(), Failure> {
    let path = format!("{PATH}/{}", escaped(aor));
    if desk.json {
        return print(desk.text(&Method::GET, &path)?);
    }
    let account = desk.value(&Method::GET, &path)?;
    let items = list(&account, "items");
    print(format_args!("{}: {}", one_line(text(&account, "aor")), bindings(items.len())))?;
    for item in items {
        print("")?;
        for (name, value) in item.as_object().into_iter().flatten() {
            let value = match value {
                Value::Null => continue,
                Value::String(text) => one_line(text),
                other => other.to_string(),
            };
            print(format_args!("  {name:18} {value}"))?;
        }
    }
    Ok(())
}

fn bindings(count: usize) -> String {
    match count {
        0 => "not registered".to_owned(),
        1 => "1 binding".to_owned(),
        many => format!("{many} bindings"),
    }
}

/// Looks who is meant, asks, and takes out exactly those that were shown.
fn unregister(
    desk: &Desk,
    filters: &Filters,
    binding: Option<&str>,
    yes: bool,
) -> Result<(), Failure> {
    let mut meant = Vec::new();
    if let Some(aor) = &filters.aor {
        // Says so if there is no such account; a listing would be empty.
        desk.text(&Method::GET, &format!("{PATH}/{}", escaped(aor)))?;
    }
    let mut pages = pages(desk, filters, usize::MAX);
    while let Some(items) = pages.next_page()? {
        let is_meant = |item: &Value| {
            item.get("provided").and_then(Value::as_bool) != Some(true)
                && binding.is_none_or(|name| text(item, "binding") == name)
        };
        meant.extend(items.into_iter().filter(is_meant));
    }
    if !meant.is_empty() && !desk.json {
        for line in table_of(&meant) {
            print(line)?;
        }
    }
    let question = format!("unregister {}?", bindings(meant.len()));
    if !meant.is_empty() && !ask::may_go_on(yes, &question) {
        return Err(Failure::new("nothing was done"));
    }
    let mut gone = Vec::new();
    for item in &meant {
        let path = format!("{PATH}/{}", escaped(text(item, "aor")));
        let path = with_query(&path, &[("binding", Some(text(item, "binding")))]);
        let mut done = desk.value(&Method::DELETE, &path)?;
        if let Some(Value::Array(items)) = done.get_mut("items").map(Value::take) {
            gone.extend(items);
        }
    }
    if desk.json {
        return print(json!({ "unregistered": gone.len(), "items": gone }));
    }
    print(match gone.len() {
        0 => "nothing to unregister".to_owned(),
        count => format!("{} unregistered", bindings(count)),
    })
}
