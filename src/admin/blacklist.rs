//! `/api/v1/blacklist`: sources that are blocked, blocking more of them, and lifting that.
//!
//! Every shard has the whole list, but for what it has not been told yet: what is listed is what
//! any of them has, in the order of addresses, and what is done is done at each.

use std::net::IpAddr;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::keep::{BlockChange, keep};
use super::operator::{Operator, Role};
use super::pages::{Key, Page, side_by_side};
use super::problem::Problem;
use super::query::{self, Query, decimal};
use super::registrations::unexpected;
use super::routes::Routes;
use crate::limits::BLOCK_S_MAX;
use crate::shard::ShardId;
use crate::shard::blocks::{BlockItem, BlockPage};
use crate::shard::control::{Control, Reply};

/// A source.
#[derive(Serialize)]
pub(super) struct Row {
    pub network: String,
    /// Nothing of it passes; else it is only restrained.
    pub whole: bool,
    pub by_operator: bool,
    /// How many times it has been blocked, this one included.
    pub times: u8,
    pub since_s: u64,
    /// `null` until somebody lifts it.
    pub remaining_s: Option<u64>,
}

/// What was done.
#[derive(Serialize)]
pub(super) struct Done {
    pub source: String,
    pub changed: bool,
    /// It is so after a restart as well.
    pub kept: bool,
    /// What an operator should know of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/blacklist", Role::Read, list)
        .put("/api/v1/blacklist/{source}", Role::Operate, add)
        .delete("/api/v1/blacklist/{source}", Role::Operate, lift)
}

/// `GET /api/v1/blacklist`
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["limit", "cursor"])?;
    Ok(json(&page(&api, &query).await?))
}

/// One page, by the `limit` and the `cursor` of a query.
pub(super) async fn page(api: &Api, query: &Query) -> Result<Page<Row>, Problem> {
    let order = |_, after, _| Control::Blocks(after);
    let read = |_, reply| match reply {
        Reply::Blocks(BlockPage { items, next, .. }) => {
            let rows = items.iter().map(|item| (item.network.network(), row(item))).collect();
            Some((rows, next.is_some()))
        }
        _ => None,
    };
    side_by_side(&api.shards, query, order, read).await
}

/// Sources are listed in the order of their addresses.
impl Key for IpAddr {
    fn read(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn text(self) -> String {
        self.to_string()
    }
}

fn row(item: &BlockItem) -> Row {
    Row {
        network: item.network.to_string(),
        whole: item.whole,
        by_operator: item.by_operator,
        times: item.times,
        since_s: item.since_s,
        remaining_s: item.left_s,
    }
}

/// `PUT /api/v1/blacklist/{source}`: for `seconds`, or until it is lifted.
pub(super) async fn add(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["seconds"])?;
    let for_s = seconds(&query)?;
    Ok(json(&block(&api, &operator, source_of(path)?, for_s).await?))
}

/// How long a block is to hold; without end where nothing is said.
pub(super) fn seconds(query: &Query) -> Result<Option<u32>, Problem> {
    match query.value("seconds").map(decimal::<u32>) {
        None => Ok(None),
        Some(Some(seconds)) if (1..=BLOCK_S_MAX).contains(&seconds) => Ok(Some(seconds)),
        Some(_) => {
            let expected =
                format!("1 to {BLOCK_S_MAX} (ten years), or none for a block without end");
            Err(Problem::parameter("seconds", format!("seconds: expected {expected}")))
        }
    }
}

/// Blocks a source everywhere, for so many seconds or without end.
pub(super) async fn block(
    api: &Api,
    operator: &Operator,
    source: IpAddr,
    for_s: Option<u32>,
) -> Result<Done, Problem> {
    let changed = at_each(api, || Control::Block(source, for_s)).await?;
    let time = for_s.map_or_else(|| "until it is lifted".to_owned(), |s| format!("for {s} s"));
    let action = Action::new(Verb::Block, source.to_string()).detail(time);
    if !changed {
        let warning = "the list is full of blocks by operators".to_owned();
        api.audit(operator, action.failed(&warning));
        let (source, warning) = (source.to_string(), Some(warning));
        return Ok(Done { source, changed, kept: false, warning });
    }
    let done = keep(api.keep.as_ref(), source, BlockChange::Blocked(for_s)).await;
    let kept = done == Ok(true);
    let warning = match done {
        Ok(true) => None,
        Ok(false) => Some("the block ends with the process: there is no --data".to_owned()),
        Err(why) => Some(format!("the block ends with the process: {why}")),
    };
    api.audit(operator, with_warning(action, warning.as_deref()));
    Ok(Done { source: source.to_string(), changed, kept, warning })
}

/// `DELETE /api/v1/blacklist/{source}`
pub(super) async fn lift(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    Ok(json(&unblock(&api, &operator, source_of(path)?).await?))
}

/// Lifts the block of a source everywhere.
pub(super) async fn unblock(
    api: &Api,
    operator: &Operator,
    source: IpAddr,
) -> Result<Done, Problem> {
    let changed = at_each(api, || Control::Unblock(source)).await?;
    // Also where no shard has it: it may be kept all the same.
    let done = keep(api.keep.as_ref(), source, BlockChange::Lifted).await;
    let kept = done == Ok(true);
    let warning = done.err().map(|why| format!("the block comes back with a restart: {why}"));
    if changed || warning.is_some() {
        let action = Action::new(Verb::LiftBlock, source.to_string());
        api.audit(operator, with_warning(action, warning.as_deref()));
    }
    Ok(Done { source: source.to_string(), changed, kept, warning })
}

/// With what the operator was warned of beside what was done.
fn with_warning(action: Action, warning: Option<&str>) -> Action {
    let Some(warning) = warning else { return action };
    let before =
        if action.detail.is_empty() { String::new() } else { action.detail.clone() + ", " };
    action.detail(format!("{before}{warning}"))
}

/// Gives an order to every shard. Returns whether it changed anything anywhere.
async fn at_each(api: &Api, order: impl Fn() -> Control) -> Result<bool, Problem> {
    let mut changed = false;
    for shard in 0..api.shards.count() {
        match api.shards.order(ShardId(shard), order()).await? {
            Reply::BlockChanged(here) => changed |= here,
            _ => return Err(unexpected()),
        }
    }
    Ok(changed)
}

/// An address, or the network that a listing gave.
fn source_of(path: Result<Path<String>, PathRejection>) -> Result<IpAddr, Problem> {
    source(&path.map(|Path(text)| text).unwrap_or_default())
}

/// The same of a text.
pub(super) fn source(text: &str) -> Result<IpAddr, Problem> {
    query::source_of(text).ok_or_else(|| {
        let detail = "expected an address such as 192.0.2.7; networks belong in guard.blocked";
        Problem::parameter("source", detail)
    })
}
