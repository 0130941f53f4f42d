//! Lists page by page, put together from what the shards give a piece at a time: one shard after
//! the other, or all of them side by side in one order. What a piece is asked by, and what a row of
//! it reads like, is each list's own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::problem::Problem;
use super::query::{Cursor, Place, Query};
use super::registrations::unexpected;
use super::shards::Shards;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};

/// One page.
#[derive(Serialize)]
pub(super) struct Page<R> {
    pub items: Vec<R>,
    /// The `cursor` of the next page; there is none behind the last. Some lists have pages that
    /// are short, or empty, and not the last.
    pub next: Option<String>,
    /// It would have been longer, had there been time to look further.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A page of what each shard has for itself, shard by shard. `order` asks from a place on for so
/// many rows; `read` takes the rows of a shard and the place where it goes on.
pub(super) async fn in_turn<P: Place, R>(
    shards: &Shards,
    query: &Query,
    order: impl Fn(P, usize) -> Control,
    read: impl Fn(u8, Reply) -> Option<(Vec<R>, Option<P>)>,
) -> Result<Page<R>, Problem> {
    let limit = query.limit()?;
    let mut at: Option<Cursor<P>> = Some(query.cursor(shards.count())?);
    let mut items = Vec::new();
    while items.len() < limit
        && let Some(cursor) = at
    {
        let order = order(cursor.place, limit - items.len());
        let reply = shards.order(ShardId(cursor.shard), order).await?;
        let (found, next) = read(cursor.shard, reply).ok_or_else(unexpected)?;
        items.extend(found);
        at = cursor.behind(next, shards.count());
    }
    Ok(Page { items, next: at.map(Cursor::text), partial: false })
}

/// A row's place in the one order of all shards. Rows of one place are the same row.
pub(super) trait Key: Copy + Ord {
    fn read(text: &str) -> Option<Self>;
    fn text(self) -> String;
}

/// A page of what all shards have, in one order. `order` asks a shard for what it has behind a
/// place, at most so many rows; `read` takes these rows in order, and whether more follow.
pub(super) async fn side_by_side<K: Key, R>(
    shards: &Shards,
    query: &Query,
    order: impl Fn(u8, Option<K>, usize) -> Control,
    read: impl Fn(u8, Reply) -> Option<(Vec<(K, R)>, bool)>,
) -> Result<Page<R>, Problem> {
    let limit = query.limit()?;
    let mut after = match query.value("cursor") {
        None => None,
        Some(text) => Some(K::read(text).ok_or_else(|| {
            Problem::parameter("cursor", "cursor: expected the next of the page before")
        })?),
    };
    let (mut items, mut ended) = (Vec::new(), false);
    while items.len() < limit && !ended {
        let mut found: BTreeMap<K, R> = BTreeMap::new();
        // Up to there, what was found is all there is.
        let mut complete_to: Option<K> = None;
        for shard in 0..shards.count() {
            let order = order(shard, after, limit - items.len());
            let reply = shards.order(ShardId(shard), order).await?;
            let (rows, more) = read(shard, reply).ok_or_else(unexpected)?;
            if let Some(&(last, _)) = rows.last().filter(|_| more) {
                complete_to = Some(complete_to.map_or(last, |other| other.min(last)));
            }
            for (key, row) in rows {
                found.entry(key).or_insert(row);
            }
        }
        if let Some(last) = complete_to {
            found.retain(|key, _| *key <= last);
        }
        ended = complete_to.is_none();
        for (key, row) in found {
            if items.len() == limit {
                ended = false;
                break;
            }
            items.push(row);
            after = Some(key);
        }
    }
    Ok(Page { items, next: after.filter(|_| !ended).map(Key::text), partial: false })
}
