//! `/api/v1/blocks`: sources that are blocked or restrained, blocking one, and lifting that. Every
//! shard has the whole list, so the first is asked, and all are told.

use std::net::IpAddr;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, From, json};
use super::problem::Problem;
use super::query::Query;
use super::registrations::unexpected;
use crate::guard::address;
use crate::shard::ShardId;
use crate::shard::blocks::{BlockItem, BlockPage};
use crate::shard::control::{Control, Reply};

/// Longest block, seconds; what is to last longer has no end.
const SECONDS_MAX: u32 = 2_592_000;

/// One page.
#[derive(Serialize)]
struct Page {
    items: Vec<Row>,
    /// The `cursor` of the next page; there is none behind the last.
    next: Option<String>,
    /// All there are.
    total: usize,
    /// Changes with the list, however it changes.
    version: u64,
}

/// A blocked source.
#[derive(Serialize)]
struct Row {
    /// An address, or a /64 of IPv6.
    network: String,
    /// `blocked`, or `restrained` where what it did could have been done in its name by anybody.
    state: &'static str,
    /// `operator` or `guard`.
    by: &'static str,
    /// How many times it has been blocked.
    times: u8,
    since_s: u64,
    /// None until somebody lifts it.
    remaining_s: Option<u64>,
}

/// What was done.
#[derive(Serialize)]
struct Done {
    network: String,
    /// Whether it changed anything.
    changed: bool,
}

/// `GET /api/v1/blocks`: in the order of addresses.
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
    let mut page = Page { items: Vec::new(), next: None, total: 0, version: 0 };
    loop {
        let reply = api.shards.order(ShardId(0), Control::Blocks(after)).await?;
        let Reply::Blocks(BlockPage { items, next, total, version }) = reply else {
            return Err(unexpected());
        };
        (page.total, page.version, after) = (total, version, next);
        for item in items {
            if page.items.len() == limit {
                // The page ends behind the row before.
                page.next = page.items.last().map(|row| first_of(&row.network));
                return Ok(json(&page));
            }
            page.items.push(row(&item));
        }
        if after.is_none() {
            return Ok(json(&page));
        }
    }
}

fn row(item: &BlockItem) -> Row {
    Row {
        network: item.network.to_string(),
        state: if item.whole { "blocked" } else { "restrained" },
        by: if item.by_operator { "operator" } else { "guard" },
        times: item.times,
        since_s: item.since_s,
        remaining_s: item.left_s,
    }
}

/// The address that a row's network begins with.
fn first_of(network: &str) -> String {
    network.split('/').next().unwrap_or_default().to_owned()
}

/// `PUT /api/v1/blocks/{ip}`: for so many `seconds`, or until it is lifted.
pub(super) async fn block(
    State(api): State<Api>,
    from: From,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["seconds"])?;
    let seconds = match query.value("seconds") {
        None => None,
        Some(text) => match text.parse::<u32>() {
            Ok(seconds) if (1..=SECONDS_MAX).contains(&seconds) => Some(seconds),
            _ => {
                let expected = format!("seconds: expected 1 to {SECONDS_MAX}, or none of it");
                return Err(Problem::parameter("seconds", expected));
            }
        },
    };
    let source = source_of(path)?;
    let changed = to_all(&api, &Control::Block(source, seconds)).await?;
    let network = address::network(address::culprit(source)).to_string();
    if changed {
        let how_long = seconds.map_or("until it is lifted".to_owned(), |s| format!("for {s} s"));
        api.tell(from, &format!("blocked {network} {how_long}"));
    }
    Ok(json(&Done { network, changed }))
}

/// `DELETE /api/v1/blocks/{ip}`: it is served again, and what it did is forgotten.
pub(super) async fn lift(
    State(api): State<Api>,
    from: From,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let source = source_of(path)?;
    let changed = to_all(&api, &Control::Unblock(source)).await?;
    let network = address::network(address::culprit(source)).to_string();
    if changed {
        api.tell(from, &format!("lifted the block of {network}"));
    }
    Ok(json(&Done { network, changed }))
}

/// Gives every shard the order. Whether it changed anything anywhere.
async fn to_all(api: &Api, order: &Control) -> Result<bool, Problem> {
    let mut changed = false;
    for shard in 0..api.shards.count() {
        match api.shards.order(ShardId(shard), order.clone()).await? {
            Reply::BlockChanged(here) => changed |= here,
            _ => return Err(unexpected()),
        }
    }
    Ok(changed)
}

/// The address in a path. A /64 may be written as itself, as listings do.
fn source_of(path: Result<Path<String>, PathRejection>) -> Result<IpAddr, Problem> {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let address = text.strip_suffix("/32").or(text.strip_suffix("/64")).unwrap_or(&text);
    address
        .parse::<IpAddr>()
        .map(|ip| ip.to_canonical())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "expected an address such as 192.0.2.7"))
}
