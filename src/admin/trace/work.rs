//! The way between the desk and the shards: traces begin and end on all of them, and one task takes
//! what they saw, some ten times a second while a trace is under way; it asks nobody while none is.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::api::Api;
use super::super::problem::Problem;
use super::super::registrations::unexpected;
use super::asked::Asked;
use super::desk::Info;
use crate::limits::{TRACE_KEPT_BYTES_MAX, TRACE_KEPT_MESSAGES_MAX, TRACE_S_MAX, TRACES_MAX};
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::trace::{Filter, Only, TraceOrder};

/// How often shards are asked what they saw.
pub(super) const TAKE_EVERY: Duration = Duration::from_millis(100);
/// The trace of failures lasts so long and is begun again then, as no trace goes on for ever.
const FAILURES_S: u32 = TRACE_S_MAX;
/// What stands for the owner of that trace.
const FAILURES_OWNER: &str = "trace.hep_failures";

/// Begins a trace on all shards.
///
/// # Errors
/// 409 where there are as many as there may be; 503 where a shard does not answer, and then there
/// is no trace.
pub(super) async fn begin(api: &Api, mut asked: Asked, owner: String) -> Result<Info, Problem> {
    let traces = &api.traces;
    if let Some(aor) = &asked.account {
        asked.filter.peers = peers(api, aor.clone()).await?;
    }
    let Some(id) = traces.admit(&asked, owner) else { return Err(too_many()) };
    let order = TraceOrder { id, filter: asked.filter.clone(), for_s: asked.for_s };
    for shard in (0..api.shards.count()).map(ShardId) {
        let begun = match api.shards.order(shard, Control::BeginTrace(order.clone())).await {
            Ok(Reply::TraceBegun(true)) => Ok(()),
            Ok(Reply::TraceBegun(false)) => Err(too_many()),
            Ok(_) => Err(unexpected()),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = begun {
            // It ends there by itself where this does not get through.
            let _ = end(api, id).await;
            let _ = end(api, id).await;
            return Err(problem);
        }
    }
    traces.changed();
    traces.info(id).ok_or_else(unexpected)
}

fn too_many() -> Problem {
    let detail = format!("{TRACES_MAX} traces are under way: one has to end first");
    Problem::new(axum::http::StatusCode::CONFLICT, detail)
}

/// Where an account is registered now; nowhere, if there is no such account.
async fn peers(api: &Api, aor: Box<[u8]>) -> Result<Vec<SocketAddr>, Problem> {
    let shown = api.shards.order_owner(Control::Show(aor), |reply| match reply {
        Reply::Shown(shown) => Some(shown),
        _ => None,
    });
    let Ok(shown) = shown.await?.1 else { return Ok(Vec::new()) };
    Ok(shown.registrations.iter().map(|one| one.binding.source()).collect())
}

/// What became of a trace that was to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was under way; what it saw can still be read.
    Ended,
    /// It had ended, and is gone.
    Forgotten,
    /// There is no such trace.
    Unknown,
}

/// Ends a trace; one that has ended goes.
pub(super) async fn end(api: &Api, id: u32) -> Result<Ending, Problem> {
    let under_way = match api.traces.state().find(id) {
        None => return Ok(Ending::Unknown),
        Some(trace) => trace.ended.is_none(),
    };
    if !under_way {
        api.traces.state().traces.retain(|trace| trace.id != id);
        api.traces.changed();
        return Ok(Ending::Forgotten);
    }
    for shard in (0..api.shards.count()).map(ShardId) {
        api.shards.order(shard, Control::EndTrace(id)).await?;
    }
    take(api).await;
    if let Some(trace) = api.traces.state().find(id) {
        trace.ended.get_or_insert_with(Instant::now);
    }
    api.traces.changed();
    Ok(Ending::Ended)
}

/// Takes what all shards saw. One that does not answer is asked again later.
async fn take(api: &Api) {
    let mut pages = Vec::new();
    for shard in 0..api.shards.count() {
        if let Ok(Reply::Traced(page)) = api.shards.order(ShardId(shard), Control::TakeTraces).await
        {
            pages.push((shard, page));
        }
    }
    api.traces.deposit(pages);
}

/// The task that takes what the shards saw.
pub(in super::super) async fn collect(api: Api) {
    let mut changes = api.traces.watch();
    let failures = api.traces.tracing.hep.as_ref().is_some_and(|hep| hep.failures);
    loop {
        if failures && api.traces.state().failures.is_none() {
            begin_failures(&api).await;
        }
        if api.traces.is_under_way() {
            sleep(TAKE_EVERY).await;
            take(&api).await;
            api.traces.turn();
        } else if failures {
            sleep(Duration::from_secs(1)).await;
        } else if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Begins the trace of what failed, for a collector alone.
async fn begin_failures(api: &Api) {
    let asked = Asked {
        filter: Filter { only: Only::Failed, ..Filter::default() },
        account: None,
        for_s: FAILURES_S,
        messages_max: TRACE_KEPT_MESSAGES_MAX,
        bytes_max: TRACE_KEPT_BYTES_MAX,
    };
    // Where there is no room for it now, there is later.
    if let Ok(info) = begin(api, asked, FAILURES_OWNER.to_owned()).await {
        api.traces.state().failures = info.trace.parse().ok();
    }
}
