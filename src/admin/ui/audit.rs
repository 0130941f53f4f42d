//! `/audit`: what operators did and tried, the newest first, with search; each line with its number
//! in the chain.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::audit::{Record, Wanted, read};
use super::super::problem::Problem;
use super::super::query::decimal;
use super::form::filled_in;
use super::shell::{Shell, next_page, page};
use super::words::{self, Ago};

struct Line {
    at: Ago,
    record: Record,
    /// The beginning of its hash.
    seal: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    shell: Shell,
    text: String,
    operator: String,
    outcomes: Vec<(&'static str, bool)>,
    is_filtered: bool,
    lines: Vec<Line>,
    next: Option<String>,
    /// Where its files are, if it has any.
    is_kept: bool,
}

/// `GET /audit`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let names = &["q", "operator", "outcome", "limit", "cursor"];
    let query = filled_in(query.as_deref(), names)?;
    let value = |name: &str| query.value(name).unwrap_or_default();
    let text = |name: &str| query.value(name).map(str::to_owned);
    let before = query.value("cursor").map(|text| {
        let detail = "cursor: expected the next of the page before";
        decimal(text).ok_or_else(|| Problem::parameter("cursor", detail))
    });
    let wanted = Wanted {
        before: before.transpose()?,
        limit: query.limit()?,
        operator: text("operator"),
        outcome: text("outcome"),
        text: text("q"),
        ..Wanted::default()
    };
    let found = read(&api, wanted).await?;
    let kept: Vec<(&str, &str)> =
        ["q", "operator", "outcome", "limit"].iter().map(|name| (*name, value(name))).collect();
    let now = words::now();
    let line = |record: Record| Line {
        at: Ago::new(now, &record.at),
        seal: record.hash.chars().take(12).collect(),
        record,
    };
    let next = found.next.map(|next| next.to_string());
    page(&Page {
        shell,
        text: value("q").to_owned(),
        operator: value("operator").to_owned(),
        outcomes: ["done", "refused", "failed"].map(|one| (one, one == value("outcome"))).into(),
        is_filtered: kept.iter().any(|(name, value)| *name != "limit" && !value.is_empty()),
        next: next_page("/audit", &kept, next.as_deref()),
        lines: found.records.into_iter().map(line).collect(),
        is_kept: api.audit.directory().is_some(),
    })
}
