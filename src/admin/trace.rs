//! `/api/v1/trace`: what is dropped without an answer, while somebody looks. One trace at a time,
//! on all shards; it ends by itself.

use std::sync::atomic::Ordering;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::moment::rfc3339_us;
use super::operator::{Operator, Role};
use super::problem::Problem;
use super::query::{Query, decimal};
use super::registrations::unexpected;
use super::routes::Routes;
use crate::limits::TRACE_S_MAX;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::counters::DropReason;
use crate::shard::trace::{TraceOrder, TracePage, Traced};

/// How long a trace lasts unless asked otherwise, seconds.
const SECONDS_DEFAULT: u32 = 60;

/// A trace that has begun.
#[derive(Serialize)]
struct Begun {
    trace: String,
    seconds: u32,
}

/// What was dropped since it was asked for last.
#[derive(Serialize)]
struct Page {
    items: Vec<Row>,
    /// How many there were; not all of them stand here where there were too many.
    seen: u64,
    /// `null` once it has ended.
    remaining_s: Option<u64>,
}

/// A message that was dropped.
#[derive(Serialize)]
struct Row {
    at: String,
    source: String,
    transport: &'static str,
    /// As in `aorta_not_answered_total`.
    reason: &'static str,
    bytes: usize,
    /// The first of them; whatever is not printable ASCII is escaped.
    head: String,
    shard: u8,
}

#[derive(Serialize)]
struct Ended {
    ended: bool,
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/api/v1/trace", Role::Operate, begin)
        .get("/api/v1/trace/{trace}", Role::Operate, take)
        .delete("/api/v1/trace/{trace}", Role::Operate, end)
}

/// `POST /api/v1/trace`
pub(super) async fn begin(
    State(api): State<Api>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = &["ip", "account", "reason", "seconds"];
    let query = Query::read(query.as_deref(), known)?;
    let number = api.traces.fetch_add(1, Ordering::Relaxed);
    let order = TraceOrder {
        // Also another than those of a process before.
        id: (api.started.0 << 20) + number,
        source: query.ip()?,
        user: query.aor_of("account")?.map(|aor| user_of(&aor)),
        reason: reason(&query)?,
        for_s: seconds(&query)?,
    };
    for shard in (0..api.shards.count()).map(ShardId) {
        let mut other = begun(&api, shard, &order).await?;
        // Where the first has ended its last one, another is a moment late at most.
        if let Some(late) = other.filter(|_| shard.0 > 0) {
            api.shards.order(shard, Control::EndTrace(late)).await?;
            other = begun(&api, shard, &order).await?;
        }
        if let Some(other) = other {
            let detail = format!("trace {other} is under way: it ends by itself, or by DELETE");
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
    }
    let action = Action::new(Verb::BeginTrace, "what is dropped");
    api.audit(&operator, action.detail(format!("for {} s", order.for_s)));
    Ok(json(&Begun { trace: order.id.to_string(), seconds: order.for_s }))
}

/// Begins it on one shard. Returns the number of the trace that is in its way, if one is.
async fn begun(api: &Api, shard: ShardId, order: &TraceOrder) -> Result<Option<u64>, Problem> {
    match api.shards.order(shard, Control::BeginTrace(order.clone())).await? {
        Reply::TraceBegun(in_the_way) => Ok(in_the_way),
        _ => Err(unexpected()),
    }
}

/// The user of an address-of-record: messages name it by whatever domain leads here.
fn user_of(aor: &[u8]) -> Box<[u8]> {
    let bare = aor.strip_prefix(b"sips:").or(aor.strip_prefix(b"sip:")).unwrap_or(aor);
    let end = bare.iter().position(|byte| *byte == b'@').unwrap_or(bare.len());
    bare[..end].into()
}

fn reason(query: &Query) -> Result<Option<DropReason>, Problem> {
    let Some(text) = query.value("reason") else { return Ok(None) };
    let found = DropReason::ALL.into_iter().find(|reason| reason.name() == text);
    found.map(Some).ok_or_else(|| {
        let words: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        Problem::parameter("reason", format!("reason: expected one of {}", words.join(", ")))
    })
}

fn seconds(query: &Query) -> Result<u32, Problem> {
    let Some(text) = query.value("seconds") else { return Ok(SECONDS_DEFAULT) };
    decimal(text).filter(|seconds| (1..=TRACE_S_MAX).contains(seconds)).ok_or_else(|| {
        Problem::parameter("seconds", format!("seconds: expected 1 to {TRACE_S_MAX}"))
    })
}

/// `GET /api/v1/trace/{trace}`
pub(super) async fn take(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = number_of(path)?;
    let (mut rows, mut seen, mut remaining_s, mut known) = (Vec::new(), 0, None, false);
    for shard in 0..api.shards.count() {
        let reply = api.shards.order(ShardId(shard), Control::TakeTrace(id)).await?;
        let Reply::Traced(page) = reply else { return Err(unexpected()) };
        let Some(TracePage { messages, seen: here, left_s, .. }) = page else { continue };
        known = true;
        seen += here;
        remaining_s = remaining_s.max(left_s);
        rows.extend(messages.into_iter().map(|one| (one.at, one.at_us, row(shard, &one))));
    }
    if !known {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such trace any more"));
    }
    rows.sort_by_key(|&(at, at_us, _)| (at, at_us));
    let items = rows.into_iter().map(|(_, _, row)| row).collect();
    Ok(json(&Page { items, seen, remaining_s }))
}

fn row(shard: u8, traced: &Traced) -> Row {
    Row {
        at: rfc3339_us(traced.at, traced.at_us),
        source: traced.source.to_string(),
        transport: traced.transport.word(),
        reason: traced.reason.name(),
        bytes: traced.len,
        head: traced.head.escape_ascii().to_string(),
        shard,
    }
}

/// `DELETE /api/v1/trace/{trace}`
pub(super) async fn end(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let id = number_of(path)?;
    let mut ended = false;
    for shard in 0..api.shards.count() {
        match api.shards.order(ShardId(shard), Control::EndTrace(id)).await? {
            Reply::TraceEnded(here) => ended |= here,
            _ => return Err(unexpected()),
        }
    }
    if ended {
        api.audit(&operator, Action::new(Verb::EndTrace, id.to_string()));
    }
    Ok(json(&Ended { ended }))
}

fn number_of(path: Result<Path<String>, PathRejection>) -> Result<u64, Problem> {
    let number = path.ok().and_then(|Path(text)| decimal(&text));
    number.ok_or_else(|| Problem::parameter("trace", "expected the number a trace was begun with"))
}
