//! `/history` and `/failed`: what happened to registrations, and which were refused and why, with
//! filters that stand in the address.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::history::{HistoryPage, Row, asked, events, failed};
use super::super::problem::Problem;
use super::super::query::Query;
use super::form::filled_in;
use super::rows::address;
use super::shell::{Shell, next_page, page};
use super::words::{self, Ago};
use crate::shard::history::HistoryKind;

const FILTERS: [&str; 10] =
    ["text", "aor", "ip", "kind", "reason", "user_agent", "since", "until", "limit", "cursor"];

/// The fields of the form.
const FIELDS: [(&str, &str, &str); 6] = [
    ("text", "Search", "any of what is shown"),
    ("aor", "Account", "1001 or 1001@example.com"),
    ("ip", "Address or network", "192.0.2.0/24"),
    ("user_agent", "User agent has", "Yealink"),
    ("since", "Since", "2026-11-21T02:38:00Z"),
    ("until", "Until", "2026-11-21T03:00:00Z"),
];

/// Something that happened, as a line.
pub(super) struct Line {
    pub at: Ago,
    pub kind: &'static str,
    pub look: &'static str,
    pub aor: String,
    /// Where everything about the account is.
    pub details: Option<String>,
    pub source: String,
    pub user_agent: String,
    pub reason: String,
    pub count: u32,
}

impl Line {
    pub fn new(now: crate::time::UnixTime, row: Row) -> Line {
        let source = match (row.source_ip, row.source_port) {
            (Some(ip), Some(port)) if ip.contains(':') => format!("[{ip}]:{port}"),
            (Some(ip), Some(port)) => format!("{ip}:{port}"),
            (Some(ip), None) => ip,
            (None, _) => String::new(),
        };
        let aor = row.aor.as_deref().map(words::bare).unwrap_or_default().to_owned();
        Line {
            at: Ago::new(now, &row.at),
            kind: row.kind,
            look: match row.kind {
                "registered" | "refreshed" => "good",
                "refused" | "suspended" => "bad",
                "expired" | "kicked" | "replaced" => "warn",
                _ => "none",
            },
            details: (!aor.is_empty()).then(|| address(&aor)),
            aor,
            source,
            user_agent: row.user_agent.unwrap_or_default(),
            reason: row.reason.unwrap_or_default(),
            count: row.count,
        }
    }
}

#[derive(Template)]
#[template(path = "history.html")]
struct Page {
    shell: Shell,
    title: &'static str,
    about: &'static str,
    path: &'static str,
    fields: Vec<(&'static str, &'static str, &'static str, String)>,
    /// What can be chosen; nothing where all are of one kind.
    kinds: Vec<(&'static str, bool)>,
    is_filtered: bool,
    lines: Vec<Line>,
    next: Option<String>,
    cut_short: bool,
}

fn shown(
    shell: Shell,
    path: &'static str,
    query: &Query,
    found: HistoryPage,
) -> Result<Response, Problem> {
    let value = |name: &str| query.value(name).unwrap_or_default();
    let kept: Vec<(&str, &str)> =
        FILTERS.iter().filter(|name| **name != "cursor").map(|name| (*name, value(name))).collect();
    let only_failed = path == "/failed";
    let kinds = HistoryKind::ALL.iter().map(|kind| (kind.name(), kind.name() == value("kind")));
    let now = words::now();
    page(&Page {
        shell,
        title: if only_failed { "Failed registrations" } else { "History" },
        about: match only_failed {
            true => "Requests that were refused, and why; the same again is counted",
            false => "What happened to registrations, the newest first",
        },
        path,
        fields: FIELDS
            .iter()
            .map(|&(name, label, example)| (name, label, example, value(name).to_owned()))
            .collect(),
        kinds: if only_failed { Vec::new() } else { kinds.collect() },
        is_filtered: kept.iter().any(|(name, value)| *name != "limit" && !value.is_empty()),
        next: next_page(path, &kept, found.next.as_deref()),
        lines: found.items.into_iter().map(|row| Line::new(now, row)).collect(),
        cut_short: found.cut_short,
    })
}

/// `GET /history`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &FILTERS)?;
    let found = events(&api, asked(&query)?).await?;
    shown(shell, "/history", &query, found)
}

/// `GET /failed`
pub(super) async fn show_failed(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known: Vec<&'static str> = FILTERS.iter().copied().filter(|name| *name != "kind").collect();
    let query = filled_in(query.as_deref(), &known)?;
    let found = failed(&api, asked(&query)?).await?;
    shown(shell, "/failed", &query, found)
}
