//! `/events`: what has happened that somebody who guards the server should know of.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::problem::Problem;
use super::super::security::{self, Row};
use super::form::filled_in;
use super::shell::{Shell, next_page, page};
use super::words::{self, Ago};
use crate::guard::SecurityKind;

struct Line {
    last: Ago,
    first: Ago,
    row: Row,
}

#[derive(Template)]
#[template(path = "events.html")]
struct Page {
    shell: Shell,
    kinds: Vec<(&'static str, bool)>,
    account: String,
    ip: String,
    is_filtered: bool,
    lines: Vec<Line>,
    next: Option<String>,
}

/// `GET /events`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), security::KNOWN)?;
    let value = |name: &str| query.value(name).unwrap_or_default();
    let found = security::page(&api, &query).await?;
    let kept: Vec<(&str, &str)> = security::KNOWN
        .iter()
        .filter(|name| **name != "cursor")
        .map(|name| (*name, value(name)))
        .collect();
    let kinds = SecurityKind::ALL.iter().map(|kind| kind.name());
    let now = words::now();
    let line =
        |row: Row| Line { last: Ago::new(now, &row.last), first: Ago::new(now, &row.first), row };
    page(&Page {
        shell,
        kinds: std::iter::once("alerts")
            .chain(kinds)
            .map(|kind| (kind, kind == value("kind")))
            .collect(),
        account: value("account").to_owned(),
        ip: value("ip").to_owned(),
        is_filtered: kept.iter().any(|(name, value)| *name != "limit" && !value.is_empty()),
        next: next_page("/events", &kept, found.next.as_deref()),
        lines: found.items.into_iter().map(line).collect(),
    })
}
