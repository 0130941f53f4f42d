//! `/api/v1/audit`: what operators did, the latest first.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::page::{self, Page, Wanted};
use super::record::Record;
use crate::admin::api::{Api, json};
use crate::admin::moment::{self, rfc3339};
use crate::admin::operator::Role;
use crate::admin::problem::Problem;
use crate::admin::query::{Query, decimal};
use crate::admin::routes::Routes;

/// Its paths.
pub(in crate::admin) fn routes() -> Routes {
    Routes::new().get("/api/v1/audit", Role::Admin, list)
}

#[derive(Serialize)]
struct Answer {
    items: Vec<Row>,
    next: Option<String>,
}

/// A line with its hash, which stands behind the rest of it in the file.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    record: Record,
    hash: String,
}

impl Row {
    fn new(record: Record) -> Row {
        Row { hash: record.hash.clone(), record }
    }
}

/// `GET /api/v1/audit?q=TEXT&operator=NAME&action=NAME&outcome=WORD&since=TIME&limit=N&cursor=NEXT`
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let known = &["q", "operator", "action", "outcome", "since", "limit", "cursor"];
    let query = Query::read(query.as_deref(), known)?;
    let text = |name| query.value(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let wanted = Wanted {
        before: match query.value("cursor").map(decimal) {
            None => None,
            Some(Some(before)) => Some(before),
            Some(None) => {
                let detail = "cursor: expected the next of the page before";
                return Err(Problem::parameter("cursor", detail));
            }
        },
        limit: query.limit()?,
        operator: text("operator"),
        action: text("action"),
        outcome: text("outcome"),
        text: text("q"),
        since: match query.value("since") {
            None => None,
            Some(text) => Some(rfc3339(moment::read(text).ok_or_else(|| {
                let detail = "since: expected a time such as 2026-11-21T02:38:00Z";
                Problem::parameter("since", detail)
            })?)),
        },
    };
    let Page { records, next } = read(&api, wanted).await?;
    let items = records.into_iter().map(Row::new).collect();
    Ok(json(&Answer { items, next: next.map(|next| next.to_string()) }))
}

/// A page of the audit. A page of HTML that shows it needs [`Role::Admin`] as this path does.
///
/// # Errors
/// Its files cannot be read.
pub(in crate::admin) async fn read(api: &Api, wanted: Wanted) -> Result<Page, Problem> {
    let Some(directory) = api.audit.directory() else {
        return Ok(page::of_memory(&api.audit.memory(), &wanted));
    };
    let directory = directory.to_owned();
    let read = spawn_blocking(move || page::of_files(&directory, &wanted)).await;
    let failed = |what: String| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read the audit: {what}"))
    };
    match read {
        Ok(page) => page.map_err(|error| failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}
