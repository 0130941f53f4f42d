//! `/api/v1/registrations`: who is registered, one account's registrations, and taking them out.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::operator::{Operator, Role};
use super::pages::Page;
use super::problem::Problem;
use super::query::{Cursor, Query};
use super::routes::Routes;
use super::row::Row;
use crate::limits::{FIND_ROWS_MAX, FIND_TEXT_BYTES_MAX};
use crate::registrar::Wanted;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::registrations::{Chosen, Find, Registration, Shown, Unfound, Unregistered};
use crate::sip::uri::Uri;

/// How long a page is looked for; what has been found by then is given.
const SEARCH_MAX: Duration = Duration::from_secs(1);
/// Orders in a row before shards are left alone for [`PAUSE`]: a search takes a share of their
/// time, however long it goes on.
const ORDERS_BETWEEN_PAUSES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(1);

/// One account.
#[derive(Serialize)]
struct Account {
    aor: String,
    items: Vec<Row>,
}

/// What was taken out.
#[derive(Serialize)]
struct Gone {
    aor: String,
    unregistered: usize,
    /// What stays because the account has it without registering.
    provided: usize,
    items: Vec<Row>,
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/registrations", Role::Read, list)
        .get("/api/v1/registrations/{aor}", Role::Read, one)
        .delete("/api/v1/registrations/{aor}", Role::Operate, unregister)
}

/// `GET /api/v1/registrations`
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = &["aor", "contact", "ip", "limit", "cursor"];
    let query = Query::read(query.as_deref(), known)?;
    let search = Search {
        api: &api,
        limit: query.limit()?,
        find: Find { contact: query.contact()?, source: query.ip()?, ..Find::default() },
    };
    let from = query.cursor(api.shards.count())?;
    let (items, next) = match query.aor()? {
        Some(aor) => search.of_account(aor, from).await?,
        None => search.among_all(from).await?,
    };
    Ok(json(&Page { items, next: next.map(Cursor::text) }))
}

/// What a page is made by.
struct Search<'a> {
    api: &'a Api,
    limit: usize,
    find: Find,
}

impl Search<'_> {
    /// Goes through the shards' tables, as far as the page and the time reach.
    async fn among_all(
        &self,
        from: Cursor<u32>,
    ) -> Result<(Vec<Row>, Option<Cursor<u32>>), Problem> {
        let shards = &self.api.shards;
        let until = Instant::now() + SEARCH_MAX;
        let (mut items, mut orders, mut at) = (Vec::new(), 0, from);
        while items.len() < self.limit && (orders == 0 || Instant::now() < until) {
            if orders > 0 && orders % ORDERS_BETWEEN_PAUSES == 0 {
                sleep(PAUSE).await;
            }
            orders += 1;
            let rows_max = (self.limit - items.len()).min(FIND_ROWS_MAX);
            let find = Find { from: at.place, rows_max, ..self.find.clone() };
            let shard = ShardId(at.shard);
            let Reply::Found(page) = shards.order(shard, Control::Find(find)).await? else {
                return Err(unexpected());
            };
            items.extend(Row::rows(shards, shard, page.now, &page.registrations));
            match at.behind(page.next, shards.count()) {
                Some(next) => at = next,
                None => return Ok((items, None)),
            }
        }
        Ok((items, Some(at)))
    }

    /// Picks from what one account has.
    async fn of_account(
        &self,
        aor: Box<[u8]>,
        from: Cursor<u32>,
    ) -> Result<(Vec<Row>, Option<Cursor<u32>>), Problem> {
        let shards = &self.api.shards;
        let (shard, shown) = show(self.api, aor).await?;
        let Shown { mut registrations, now, .. } = match shown {
            Ok(shown) => shown,
            Err(Unfound::Malformed) => {
                return Err(Problem::parameter("aor", "aor: expected user@domain"));
            }
            // Nobody there has a registration.
            Err(Unfound::Owner(_) | Unfound::Domain | Unfound::Account) => {
                return Ok((Vec::new(), None));
            }
        };
        registrations.retain(|one| self.is_wanted(one));
        registrations.sort_by_key(|one| one.id.index);
        let begin = match from.shard.cmp(&shard.0) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => {
                registrations.partition_point(|one| one.id.index < from.place)
            }
            std::cmp::Ordering::Greater => registrations.len(),
        };
        let end = registrations.len().min(begin + self.limit);
        let next = registrations.get(end).map(|one| Cursor { shard: shard.0, place: one.id.index });
        Ok((Row::rows(shards, shard, now, &registrations[begin..end]), next))
    }

    fn is_wanted(&self, one: &Registration) -> bool {
        let by_source = self.find.source.map(Wanted::SourceNetwork);
        let contact = self.find.contact.as_deref().map(Uri::parse);
        by_source.is_none_or(|wanted| wanted.matches(&one.binding))
            && match contact {
                None => true,
                Some(Ok(uri)) => Wanted::Contact(&uri).matches(&one.binding),
                Some(Err(_)) => false,
            }
    }
}

/// `GET /api/v1/registrations/{aor}`
pub(super) async fn one(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let (shard, shown) = show(&api, account_of(path)?).await?;
    let Shown { aor, registrations, now } = shown.map_err(unfound)?;
    let items = Row::rows(&api.shards, shard, now, &registrations);
    Ok(json(&Account { aor: uri(&aor), items }))
}

/// `DELETE /api/v1/registrations/{aor}`
pub(super) async fn unregister(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["contact", "binding"])?;
    let chosen = match (query.contact()?, query.binding()?) {
        (None, None) => Chosen::All,
        (Some(contact), None) => Chosen::Contact(contact),
        (None, Some((shard, id))) => Chosen::Binding(shard, id),
        (Some(_), Some(_)) => {
            return Err(Problem::parameter("binding", "a contact or a binding, not both"));
        }
    };
    let order = Control::Unregister(account_of(path)?, chosen);
    let done = api.shards.order_owner(order, |reply| match reply {
        Reply::Unregistered(done) => Some(done),
        _ => None,
    });
    let (shard, done) = done.await?;
    let Unregistered { aor, registrations, provided, now } = done.map_err(unfound)?;
    let aor = uri(&aor);
    for Registration { binding, .. } in &registrations {
        let contact = String::from_utf8_lossy(binding.contact()).into_owned();
        let action = Action::new(Verb::Unregister, aor.as_str());
        api.audit(&operator, action.detail(format!("contact {contact}")));
    }
    let items = Row::rows(&api.shards, shard, now, &registrations);
    Ok(json(&Gone { aor, unregistered: items.len(), provided, items }))
}

async fn show(api: &Api, aor: Box<[u8]>) -> Result<(ShardId, Result<Shown, Unfound>), Problem> {
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
