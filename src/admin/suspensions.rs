//! `/api/v1/suspensions`: accounts that are suspended for a source, or by an operator for all of
//! them; suspending one, and lifting that.

use std::net::IpAddr;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::bulk::suspend;
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
use crate::shard::kick::{Suspend, Suspending};
use crate::shard::suspend::{Lifted, SuspensionItem, SuspensionPage};

/// A suspension.
#[derive(Serialize)]
pub(super) struct Row {
    /// Whose; not known where a name without an account is treated alike.
    pub aor: Option<String>,
    /// For requests from here, and from nowhere else: an address, or of IPv6 a /64. `null`: from
    /// anywhere, as an operator wants it.
    pub source_ip: Option<String>,
    /// What was counted, `registers` or `checks`; or `operator`.
    pub cause: &'static str,
    /// Why, as the operator said.
    pub reason: Option<String>,
    /// `null`: until it is lifted.
    pub remaining_s: Option<u32>,
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
    Routes::new()
        .get("/api/v1/suspensions", Role::Read, list)
        .put("/api/v1/suspensions/{aor}", Role::Operate, put)
        .delete("/api/v1/suspensions/{aor}", Role::Operate, lift)
}

/// `GET /api/v1/suspensions`: shard by shard, those of operators first, then the others in the
/// order they end.
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
        source_ip: item.source.map(shown),
        cause: item.cause.name(),
        reason: (!item.reason.is_empty()).then(|| item.reason.to_string()),
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

/// What was done.
#[derive(Serialize)]
pub(super) struct Suspended {
    pub aor: String,
    /// `null`: until it is lifted.
    pub for_s: Option<u32>,
}

/// `PUT /api/v1/suspensions/{aor}`: whatever source it comes from. The name need not be an
/// account's, and what is registered stays.
async fn put(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["suspend", "reason"])?;
    let suspend = suspend(query.suspend()?.flatten(), query.reason()?);
    Ok(json(&suspend_account(&api, &operator, account_of(path)?, &suspend).await?))
}

/// Suspends an account, for as long as this process lives at most.
///
/// # Errors
/// It is no address-of-record here, there is no room, or shards do not answer.
pub(super) async fn suspend_account(
    api: &Api,
    operator: &Operator,
    aor: Box<[u8]>,
    suspend: &Suspend,
) -> Result<Suspended, Problem> {
    let order = Control::Suspend(aor, suspend.clone());
    let done = api.shards.order_owner(order, |reply| match reply {
        Reply::Suspended(done) => Some(done),
        _ => None,
    });
    let Suspending { aor, is_done } = done.await?.1.map_err(unfound)?;
    let aor = uri(&aor);
    let Suspend { for_s, reason } = suspend;
    let time = for_s.map_or_else(|| "until it is lifted".to_owned(), |s| format!("for {s} s"));
    let action = Action::new(Verb::Suspend, aor.as_str()).detail(time).reason(Some(&**reason));
    if !is_done {
        let why = "as many accounts are suspended as may be";
        api.audit(operator, action.refused(why));
        return Err(Problem::unavailable(why));
    }
    api.audit(operator, action);
    Ok(Suspended { aor, for_s: *for_s })
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
