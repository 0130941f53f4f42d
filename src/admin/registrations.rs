//! `/api/v1/registrations`: who is registered, one account's registrations, and taking them out.

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::bulk::suspend;
use super::export::export;
use super::filters::Filters;
use super::operator::{Operator, Role};
use super::problem::Problem;
use super::query::Query;
use super::routes::Routes;
use super::row::Row;
use super::search;
use super::suspensions::suspend_account;
use crate::limits::FIND_TEXT_BYTES_MAX;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::registrations::{Chosen, Registration, Shown, Unfound, Unregistered};

/// One account.
#[derive(Serialize)]
pub(super) struct Account {
    pub aor: String,
    pub items: Vec<Row>,
}

/// What was taken out.
#[derive(Serialize)]
pub(super) struct Gone {
    pub aor: String,
    pub unregistered: usize,
    /// What stays because the account has it without registering.
    pub provided: usize,
    pub items: Vec<Row>,
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/registrations", Role::Read, list)
        .get("/api/v1/registrations/count", Role::Read, count)
        .get("/api/v1/registrations/export", Role::Read, export)
        .get("/api/v1/registrations/{aor}", Role::Read, one)
        .delete("/api/v1/registrations/{aor}", Role::Operate, delete)
}

/// `GET /api/v1/registrations`
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let known = Filters::names_and(&["limit", "cursor"]);
    let query = Query::read(query.as_deref(), &known)?;
    let filters = Filters::read(&query)?;
    Ok(json(&search::page(&api, &filters, query.value("cursor"), query.limit()?).await?))
}

/// `GET /api/v1/registrations/count`
async fn count(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let filters = Filters::read(&Query::read(query.as_deref(), &Filters::NAMES)?)?;
    Ok(json(&search::count(&api, &filters).await?))
}

/// `GET /api/v1/registrations/{aor}`
async fn one(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    Ok(json(&details(&api, account_of(path)?).await?))
}

/// One account and what it has.
///
/// # Errors
/// There is no such account, or shards do not answer.
pub(super) async fn details(api: &Api, aor: Box<[u8]>) -> Result<Account, Problem> {
    let (shard, shown) = show(api, aor).await?;
    let Shown { aor, registrations, now } = shown.map_err(unfound)?;
    let items = Row::rows(&api.shards, shard, now, &registrations);
    Ok(Account { aor: uri(&aor), items })
}

/// `DELETE /api/v1/registrations/{aor}`
async fn delete(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["contact", "binding", "reason", "suspend"])?;
    let chosen = match (query.contact()?, query.binding()?) {
        (None, None) => Chosen::All,
        (Some(contact), None) => Chosen::Contact(contact),
        (None, Some((shard, id))) => Chosen::Binding(shard, id),
        (Some(_), Some(_)) => {
            return Err(Problem::parameter("binding", "a contact or a binding, not both"));
        }
    };
    let (aor, reason) = (account_of(path)?, query.reason()?);
    if let Some(for_s) = query.suspend()? {
        // First, so that it is not back in between.
        suspend_account(&api, &operator, aor.clone(), &suspend(for_s, reason)).await?;
    }
    Ok(json(&unregister(&api, &operator, aor, chosen, reason).await?))
}

/// Takes registrations of one account out, and says on whose word and why.
///
/// # Errors
/// There is no such account, or shards do not answer.
pub(super) async fn unregister(
    api: &Api,
    operator: &Operator,
    aor: Box<[u8]>,
    chosen: Chosen,
    reason: Option<&str>,
) -> Result<Gone, Problem> {
    let done = api.shards.order_owner(Control::Unregister(aor, chosen), |reply| match reply {
        Reply::Unregistered(done) => Some(done),
        _ => None,
    });
    let (shard, done) = done.await?;
    let Unregistered { aor, registrations, provided, now } = done.map_err(unfound)?;
    let aor = uri(&aor);
    for Registration { binding, .. } in &registrations {
        let contact = String::from_utf8_lossy(binding.contact()).into_owned();
        let action = Action::new(Verb::Unregister, aor.as_str()).reason(reason);
        api.audit(operator, action.detail(format!("contact {contact}")));
    }
    let items = Row::rows(&api.shards, shard, now, &registrations);
    Ok(Gone { aor, unregistered: items.len(), provided, items })
}

/// What the owner of an account shows of it.
///
/// # Errors
/// Shards that do not answer.
pub(super) async fn show(
    api: &Api,
    aor: Box<[u8]>,
) -> Result<(ShardId, Result<Shown, Unfound>), Problem> {
    let shown = api.shards.order_owner(Control::Show(aor), |reply| match reply {
        Reply::Shown(shown) => Some(shown),
        _ => None,
    });
    shown.await
}

pub(super) fn account_of(path: Result<Path<String>, PathRejection>) -> Result<Box<[u8]>, Problem> {
    match path {
        Ok(Path(aor)) if aor.len() <= FIND_TEXT_BYTES_MAX => Ok(aor.into_bytes().into()),
        _ => Err(unfound(Unfound::Malformed)),
    }
}

pub(super) fn uri(aor: &[u8]) -> String {
    format!("sip:{}", String::from_utf8_lossy(aor))
}

pub(super) fn unfound(why: Unfound) -> Problem {
    let (status, detail) = match why {
        Unfound::Malformed => {
            (StatusCode::BAD_REQUEST, "this is no address-of-record; expected user@domain")
        }
        Unfound::Domain => (StatusCode::NOT_FOUND, "this domain is not served"),
        Unfound::Account | Unfound::Owner(_) => (StatusCode::NOT_FOUND, "there is no such account"),
    };
    Problem::new(status, detail)
}

/// A shard answers each order in its own words.
pub(super) fn unexpected() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a shard gave the reply to another order")
}
