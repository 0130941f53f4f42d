//! `aorta ctl registrations`: list, show, unregister.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Desk, ask, escaped, list, table, text, with_query};
use crate::admin::{PAGE_ROWS_MAX, one_line};
use crate::cli::Failure;
use crate::cli::args::{Filters, RegistrationsCommand};
use crate::cli::say::{note, print};

const PATH: &str = "/api/v1/registrations";

/// Asks or acts.
pub fn run(desk: &Desk, command: &RegistrationsCommand) -> Result<(), Failure> {
    match command {
        RegistrationsCommand::List { filters, limit, all } => {
            show_list(desk, filters, if *all { usize::MAX } else { *limit })
        }
        RegistrationsCommand::Show { aor } => show_one(desk, aor),
        RegistrationsCommand::Unregister { aor, contact, ip, binding, yes } => {
            let filters = Filters { aor: aor.clone(), contact: contact.clone(), ip: ip.clone() };
            unregister(desk, &filters, binding.as_deref(), *yes)
        }
    }
}

/// Pages of what the filters let through, one after the other, no more than `left` rows together.
struct Pages<'a> {
    desk: &'a Desk,
    filters: &'a Filters,
    cursor: Option<String>,
    left: usize,
    ended: bool,
}

impl<'a> Pages<'a> {
    fn new(desk: &'a Desk, filters: &'a Filters, most: usize) -> Pages<'a> {
        Pages { desk, filters, cursor: None, left: most, ended: most == 0 }
    }

    fn next(&mut self) -> Result<Option<Vec<Value>>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let limit = self.left.min(PAGE_ROWS_MAX).to_string();
        let parameters = [
            ("aor", self.filters.aor.as_deref()),
            ("contact", self.filters.contact.as_deref()),
            ("ip", self.filters.ip.as_deref()),
            ("cursor", self.cursor.as_deref()),
            ("limit", Some(limit.as_str())),
        ];
        let mut page = self.desk.value(&Method::GET, &with_query(PATH, &parameters))?;
        let items = match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => return Err(super::not_ours()),
        };
        let next = text(&page, "next");
        // A cursor that stands still would go round for ever.
        let stuck = items.is_empty() && self.cursor.as_deref() == Some(next);
        self.cursor = Some(next.to_owned()).filter(|next| !next.is_empty());
        self.left = self.left.saturating_sub(items.len());
        self.ended = self.cursor.is_none() || self.left == 0 || stuck;
        Ok(Some(items))
    }
}

fn show_list(desk: &Desk, filters: &Filters, most: usize) -> Result<(), Failure> {
    let mut pages = Pages::new(desk, filters, most);
    let mut shown = 0;
    if desk.json {
        print("{\"items\": [")?;
    }
    while let Some(items) = pages.next()? {
        if desk.json {
            for (nth, item) in (shown..).zip(&items) {
                print(format_args!("{}{item}", if nth == 0 { "" } else { "," }))?;
            }
        } else if !items.is_empty() {
            let lines = table_of(&items);
            // The head of the table once.
            for line in lines.iter().skip(usize::from(shown > 0)) {
                print(line)?;
            }
        }
        shown += items.len();
    }
    if desk.json {
        return print(format_args!("], \"next\": {}}}", json!(pages.cursor)));
    }
    if pages.cursor.is_some() {
        note(format_args!("{shown} shown and there may be more: --limit N or --all"));
    } else if shown == 0 {
        note("none");
    }
    Ok(())
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

/// What is special about a binding, in words.
fn state(item: &Value) -> String {
    let is = |name| item.get(name).and_then(Value::as_bool);
    let words = [
        ("provided", is("provided") == Some(true)),
        ("late", is("late") == Some(true)),
        ("unreachable", is("reachable") == Some(false)),
        ("in call", is("in_call") == Some(true)),
        ("nat", is("nat") == Some(true)),
    ];
    let words: Vec<&str> = words.into_iter().filter_map(|(word, is)| is.then_some(word)).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
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
            print(format_args!("  {name:14} {value}"))?;
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
    let mut pages = Pages::new(desk, filters, usize::MAX);
    while let Some(items) = pages.next()? {
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
