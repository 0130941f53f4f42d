//! `/api/v1/suspensions`: accounts that are suspended for a source, and lifting that.

use std::net::IpAddr;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::operator::{Operator, Role};
use super::pages::{Page, in_turn};
use super::problem::Problem;
use super::query::Query;
use super::registrations::{account_of, unexpected, unfound, uri};
use super::routes::Routes;
use crate::auth::suspension;
use crate::flow::network;
use crate::limits::SUSPENSIONS_PER_CALL_MAX;
use crate::shard::control::{Control, Reply};
use crate::shard::suspend::{Lifted, SuspensionItem, SuspensionPage};

/// A suspension.
#[derive(Serialize)]
pub(super) struct Row {
    /// Whose; not known where a name without an account is treated alike.
    pub aor: Option<String>,
    /// For requests from here, and from nowhere else: an address, or of IPv6 a /64.
    pub source_ip: String,
    /// What was counted: `registers` or `checks`.
    pub cause: &'static str,
    pub remaining_s: u32,
    pub shard: u8,
}

/// What was lifted.
#[derive(Serialize)]
pub(super) struct Done {
    pub aor: String,
    pub lifted: usize,
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new().get("/api/v1/suspensions", Role::Read, list).delete(
        "/api/v1/suspensions/{aor}",
        Role::Operate,
        lift,
    )
}

/// `GET /api/v1/suspensions`: shard by shard, in the order they end.
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["limit", "cursor"])?;
    Ok(json(&page(&api, &query).await?))
}

/// One page, by the `limit` and the `cursor` of a query.
pub(super) async fn page(api: &Api, query: &Query) -> Result<Page<Row>, Problem> {
    let order = |after: Option<suspension::Cursor>, rows: usize| Control::ListSuspensions {
        after,
        items_max: rows.min(SUSPENSIONS_PER_CALL_MAX),
    };
    let read = |shard, reply| match reply {
        Reply::Suspensions(SuspensionPage { items, next }) => {
            Some((items.iter().map(|item| row(shard, item)).collect(), next.map(Some)))
        }
        _ => None,
    };
    in_turn(&api.shards, query, order, read).await
}

fn row(shard: u8, item: &SuspensionItem) -> Row {
    Row {
        aor: item.aor.as_ref().map(|aor| uri(aor)),
        source_ip: shown(item.source),
        cause: item.cause.name(),
        remaining_s: item.left_s,
        shard,
    }
}

fn shown(source: IpAddr) -> String {
    match source {
        IpAddr::V4(_) => source.to_string(),
        IpAddr::V6(_) => network(source).to_string(),
    }
}

/// `DELETE /api/v1/suspensions/{aor}`: for the source `ip`, or for all of them. The name need not
/// be an account's.
pub(super) async fn lift(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let source = Query::read(query.as_deref(), &["ip"])?.source()?;
    Ok(json(&lift_of(&api, &operator, account_of(path)?, source).await?))
}

/// Lifts the suspensions of a name, for one source or for all of them.
pub(super) async fn lift_of(
    api: &Api,
    operator: &Operator,
    aor: Box<[u8]>,
    source: Option<IpAddr>,
) -> Result<Done, Problem> {
    let located = api.shards.order_owner(Control::Locate(aor), |reply| match reply {
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
        let action = Action::new(Verb::LiftSuspension, aor.as_str());
        api.audit(operator, action.detail(format!("{lifted} of them, for {source}")));
    }
    Ok(Done { aor, lifted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_ipv6_is_shown_as_its_network() {
        let source = |text: &str| shown(text.parse().unwrap());
        assert_eq!(source("192.0.2.7"), "192.0.2.7");
        assert_eq!(source("2001:db8:0:1::"), "2001:db8:0:1::/64");
    }
}
