//! `/api/v1/suspensions`: accounts that are suspended for a source, and lifting that.

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, From, json};
use super::problem::Problem;
use super::query::{Cursor, Query};
use super::registrations::{account_of, unexpected, unfound, uri};
use crate::auth::suspension;
use crate::limits::SUSPENSIONS_PER_CALL_MAX;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::suspend::{Lifted, SuspensionItem, SuspensionPage};

/// One page.
#[derive(Serialize)]
struct Page {
    items: Vec<Row>,
    /// The `cursor` of the next page; there is none behind the last.
    next: Option<String>,
}

/// A suspension.
#[derive(Serialize)]
struct Row {
    /// Whose; not known where a name without an account is treated alike.
    aor: Option<String>,
    /// For requests from here, and from nowhere else.
    source_ip: String,
    /// What was counted: `registers` or `checks`.
    cause: &'static str,
    remaining_s: u32,
    shard: u8,
}

/// What was lifted.
#[derive(Serialize)]
struct Done {
    aor: String,
    lifted: usize,
}

/// `GET /api/v1/suspensions`: shard by shard, in the order they end.
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["limit", "cursor"])?;
    let limit = query.limit()?;
    let shards = &api.shards;
    let mut at: Option<Cursor<Option<suspension::Cursor>>> = Some(query.cursor(shards.count())?);
    let mut items = Vec::new();
    while items.len() < limit
        && let Some(cursor) = at
    {
        let items_max = (limit - items.len()).min(SUSPENSIONS_PER_CALL_MAX);
        let order = Control::ListSuspensions { after: cursor.place, items_max };
        let reply = shards.order(ShardId(cursor.shard), order).await?;
        let Reply::Suspensions(SuspensionPage { items: found, next }) = reply else {
            return Err(unexpected());
        };
        items.extend(found.iter().map(|item| row(cursor.shard, item)));
        at = cursor.behind(next.map(Some), shards.count());
    }
    Ok(json(&Page { items, next: at.map(Cursor::text) }))
}

fn row(shard: u8, item: &SuspensionItem) -> Row {
    Row {
        aor: item.aor.as_ref().map(|aor| uri(aor)),
        source_ip: item.source.to_string(),
        cause: item.cause.name(),
        remaining_s: item.left_s,
        shard,
    }
}

/// `DELETE /api/v1/suspensions/{aor}`: for the source `ip`, or for all of them. The name need not
/// be an account's.
pub(super) async fn lift(
    State(api): State<Api>,
    from: From,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let source = Query::read(query.as_deref(), &["ip"])?.address()?;
    let located = api.shards.order_owner(Control::Locate(account_of(path)?), |reply| match reply {
        Reply::Located(located) => Some(located),
        _ => None,
    });
    let (shard, located) = located.await?;
    let aor = located.map_err(unfound)?;
    let named = String::from_utf8_lossy(&aor).into_owned();
    let (mut lifted, mut after) = (0, None);
    loop {
        let order = Control::LiftSuspension { aor: named.clone(), source, after };
        let reply = api.shards.order(shard, order).await?;
        let Reply::Lifted(Lifted { lifted: more, next }) = reply else { return Err(unexpected()) };
        lifted += more;
        after = next;
        if after.is_none() {
            break;
        }
    }
    let aor = uri(&aor);
    if lifted > 0 {
        let source = source.map_or_else(|| "every source".to_owned(), |ip| ip.to_string());
        api.tell(from, &format!("lifted {lifted} suspensions of {aor}, for {source}"));
    }
    Ok(json(&Done { aor, lifted }))
}
