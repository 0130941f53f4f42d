//! The paths of the traces. Messages are shown as they are on the wire, digest responses included,
//! so all of it is for those who may act.

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::api::{Api, json};
use super::super::audit::{Action, Verb};
use super::super::operator::{Operator, Role};
use super::super::problem::Problem;
use super::super::query::{Query, decimal};
use super::super::routes::Routes;
use super::asked::{Asked, KNOWN};
use super::desk::{Info, PAGE_MESSAGES_MAX};
use super::row::Row;
use super::work::{self, Ending};
use super::{events, pcap};

/// The paths.
pub(in super::super) fn routes() -> Routes {
    Routes::new()
        .post("/api/v1/traces", Role::Operate, begin)
        .get("/api/v1/traces", Role::Operate, list)
        .get("/api/v1/traces/{trace}", Role::Operate, one)
        .delete("/api/v1/traces/{trace}", Role::Operate, end)
        .get("/api/v1/traces/{trace}/messages", Role::Operate, messages)
        .get("/api/v1/traces/{trace}/events", Role::Operate, live)
        .get("/api/v1/traces/{trace}/pcap", Role::Operate, capture)
}

#[derive(Serialize)]
struct List {
    items: Vec<Info>,
}

/// Messages of a trace.
#[derive(Serialize)]
struct Page {
    items: Vec<Row>,
    /// Give it as `after` to go on.
    next: String,
    /// More can be had at once.
    more: bool,
    /// Messages behind `after` that were pushed out by newer ones before they were read.
    lost: u64,
    trace: Info,
}

#[derive(Serialize)]
struct Gone {
    ended: bool,
    forgotten: bool,
}

type Segment = Result<Path<String>, PathRejection>;

/// `POST /api/v1/traces`
async fn begin(
    State(api): State<Api>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = Asked::read(&Query::read(query.as_deref(), KNOWN)?)?;
    let info = work::begin(&api, asked, operator.name.to_string()).await?;
    let action = Action::new(Verb::BeginTrace, info.about.as_str());
    api.audit(&operator, action.detail(format!("for {} s", info.seconds)));
    Ok(json(&info))
}

/// `GET /api/v1/traces`
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    Ok(json(&List { items: api.traces.list() }))
}

/// `GET /api/v1/traces/{trace}`
async fn one(
    State(api): State<Api>,
    path: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let info = api.traces.info(number_of(path)?);
    info.map(|info| json(&info)).ok_or_else(unknown)
}

/// `DELETE /api/v1/traces/{trace}`
async fn end(
    State(api): State<Api>,
    operator: Operator,
    path: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = number_of(path)?;
    match work::end(&api, id).await? {
        Ending::Unknown => Err(unknown()),
        Ending::Ended => {
            api.audit(&operator, Action::new(Verb::EndTrace, id.to_string()));
            Ok(json(&Gone { ended: true, forgotten: false }))
        }
        Ending::Forgotten => Ok(json(&Gone { ended: false, forgotten: true })),
    }
}

/// `GET /api/v1/traces/{trace}/messages`
async fn messages(
    State(api): State<Api>,
    path: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["after", "limit"])?;
    let after = match query.value("after") {
        None => 0,
        Some(text) => decimal::<u64>(text)
            .filter(|&after| after < u64::MAX)
            .ok_or_else(|| Problem::parameter("after", "after: expected the next of a page"))?,
    };
    let limit = query.limit()?.min(PAGE_MESSAGES_MAX);
    let page = api.traces.messages(number_of(path)?, after, limit).ok_or_else(unknown)?;
    let next = page.items.last().map_or(after, |&(number, _)| number);
    let items = page.items.iter().map(|(number, kept)| Row::new(*number, kept)).collect();
    let (lost, more, trace) = (page.lost, page.more, page.info);
    Ok(json(&Page { items, next: next.to_string(), more, lost, trace }))
}

/// `GET /api/v1/traces/{trace}/events`
async fn live(
    State(api): State<Api>,
    path: Segment,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = number_of(path)?;
    api.traces.info(id).ok_or_else(unknown)?;
    let after = events::last_seen(&headers).min(u64::MAX - 1);
    Ok(events::stream(api, id, after))
}

/// `GET /api/v1/traces/{trace}/pcap`
async fn capture(
    State(api): State<Api>,
    operator: Operator,
    path: Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = number_of(path)?;
    let messages = api.traces.all(id).ok_or_else(unknown)?;
    let action = Action::new(Verb::Export, format!("trace {id}"));
    api.audit(&operator, action.detail(format!("{} messages", messages.len())));
    let kind = HeaderValue::from_static("application/x-pcapng");
    let mut response = ([(CONTENT_TYPE, kind)], pcap::file(&messages)).into_response();
    let name = format!("attachment; filename=\"aorta-trace-{id}.pcapng\"");
    if let Ok(name) = HeaderValue::try_from(name) {
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn number_of(path: Segment) -> Result<u32, Problem> {
    let number = path.ok().and_then(|Path(text)| decimal(&text));
    number.ok_or_else(|| Problem::parameter("trace", "expected the number a trace was begun with"))
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such trace any more")
}
