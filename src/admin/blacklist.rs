//! `/api/v1/blacklist`: sources that are blocked, blocking more of them, and lifting that.
//!
//! Every shard has the whole list, but for what it has not been told yet: what is listed is what
//! any of them has, in the order of addresses, and what is done is done at each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::response::Response;
use ipnet::IpNet;
use serde::Serialize;

use super::api::{Api, From, json};
use super::problem::Problem;
use super::query::{Query, decimal};
use super::registrations::unexpected;
use crate::shard::ShardId;
use crate::shard::blocks::{BlockItem, BlockPage};
use crate::shard::control::{Control, Reply};

/// One page.
#[derive(Serialize)]
struct Page {
    items: Vec<Row>,
    /// The `cursor` of the next page; there is none behind the last.
    next: Option<String>,
}

/// A source.
#[derive(Serialize)]
struct Row {
    network: String,
    /// Nothing of it passes; else it is only restrained.
    whole: bool,
    by_operator: bool,
    /// How many times it has been blocked, this one included.
    times: u8,
    since_s: u64,
    /// `null` until somebody lifts it.
    remaining_s: Option<u64>,
}

/// What was done.
#[derive(Serialize)]
struct Done {
    source: String,
    changed: bool,
}

/// `GET /api/v1/blacklist`
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["limit", "cursor"])?;
    let limit = query.limit()?;
    let mut after = match query.value("cursor") {
        None => None,
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| {
            Problem::parameter("cursor", "cursor: expected the next of the page before")
        })?),
    };
    let mut rows: Vec<(IpAddr, Row)> = Vec::new();
    let mut ended = false;
    while rows.len() < limit && !ended {
        let (found, complete_to) = all_behind(&api, after).await?;
        ended = complete_to.is_none();
        rows.extend(found);
        after = complete_to;
    }
    ended &= rows.len() <= limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| !ended).map(|(address, _)| address.to_string());
    Ok(json(&Page { items: rows.into_iter().map(|(_, row)| row).collect(), next }))
}

/// What any shard has behind an address, and up to which address that is all there is; `None` to
/// the end.
async fn all_behind(
    api: &Api,
    after: Option<IpAddr>,
) -> Result<(BTreeMap<IpAddr, Row>, Option<IpAddr>), Problem> {
    let mut found = BTreeMap::new();
    let mut complete_to: Option<IpAddr> = None;
    for shard in 0..api.shards.count() {
        let reply = api.shards.order(ShardId(shard), Control::Blocks(after)).await?;
        let Reply::Blocks(BlockPage { items, next, .. }) = reply else { return Err(unexpected()) };
        complete_to = match (complete_to, next) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        for item in items {
            found.entry(item.network.network()).or_insert_with(|| row(&item));
        }
    }
    if let Some(last) = complete_to {
        found.retain(|address, _| *address <= last);
    }
    Ok((found, complete_to))
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
    from: From,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["seconds"])?;
    let for_s = match query.value("seconds").map(decimal::<u32>) {
        None => None,
        Some(Some(seconds)) if seconds > 0 => Some(seconds),
        Some(_) => {
            return Err(Problem::parameter("seconds", "seconds: expected a number above 0"));
        }
    };
    let source = source_of(path)?;
    let changed = at_each(&api, || Control::Block(source, for_s)).await?;
    if changed {
        let time = for_s.map_or_else(|| "until it is lifted".to_owned(), |s| format!("for {s} s"));
        api.tell(from, &format!("blocked {source} {time}"));
    }
    Ok(json(&Done { source: source.to_string(), changed }))
}

/// `DELETE /api/v1/blacklist/{source}`
pub(super) async fn lift(
    State(api): State<Api>,
    from: From,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let source = source_of(path)?;
    let changed = at_each(&api, || Control::Unblock(source)).await?;
    if changed {
        api.tell(from, &format!("lifted the block of {source}"));
    }
    Ok(json(&Done { source: source.to_string(), changed }))
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
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let address = text.parse().or_else(|_| text.parse::<IpNet>().map(|network| network.network()));
    address
        .map(|address: IpAddr| address.to_canonical())
        .map_err(|_| Problem::parameter("source", "expected an address such as 192.0.2.7"))
}
