//! `/api/v1/history` and `/api/v1/failed`: what happened to registrations, the newest first, and
//! which of them were refused. Pages of HTML ask the same functions; what is kept, and for how
//! long, is the store's.

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::api::{Api, json};
use super::moment::{self, rfc3339};
use super::operator::Role;
use super::problem::Problem;
use super::query::{Query, decimal};
use super::registrations::account_of;
use super::routes::Routes;
use crate::limits::FIND_TEXT_BYTES_MAX;
use crate::shard::history::HistoryKind;
use crate::store::history::{Asked, Entry, Found, HistoryError, Kinds};
use crate::time::UnixTime;

/// Longest wait for an answer: the time of a question, and of those before it.
const ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// These paths.
pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/history", Role::Read, list)
        .get("/api/v1/history/{aor}", Role::Read, of_one)
        .get("/api/v1/failed", Role::Read, list_failed)
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub id: String,
    pub at: String,
    pub at_ms: u64,
    pub kind: &'static str,
    /// `null` where it was about nobody's registration.
    pub aor: Option<String>,
    pub contact: Option<String>,
    pub source_ip: Option<String>,
    pub source_port: Option<u16>,
    pub transport: Option<&'static str>,
    pub user_agent: Option<String>,
    /// Seconds that were granted.
    pub granted_s: Option<u32>,
    /// A word that says more than the kind.
    pub reason: Option<String>,
    /// How often it happened: 1 but where several are one row.
    pub count: u32,
    pub shard: u8,
}

impl From<Entry> for Row {
    fn from(entry: Entry) -> Row {
        let text = |text: String| (!text.is_empty()).then_some(text);
        Row {
            id: entry.id.to_string(),
            at: rfc3339(UnixTime(entry.at_ms / 1000)),
            at_ms: entry.at_ms,
            kind: entry.kind.name(),
            aor: text(entry.aor).map(|aor| format!("sip:{aor}")),
            contact: text(entry.contact),
            source_ip: entry.source.map(|source| source.to_string()),
            source_port: (entry.port > 0).then_some(entry.port),
            transport: entry.transport.map(crate::flow::Transport::word),
            user_agent: text(entry.user_agent),
            granted_s: (entry.granted_s > 0).then_some(entry.granted_s),
            reason: text(entry.reason),
            count: entry.count,
            shard: entry.shard,
        }
    }
}

/// Some of what happened, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct HistoryPage {
    pub items: Vec<Row>,
    /// Where the next page begins (`cursor`).
    pub next: Option<String>,
    /// It took too long to look through all: the page is as full as it became, and `next` goes on.
    pub cut_short: bool,
}

impl From<Found> for HistoryPage {
    fn from(found: Found) -> HistoryPage {
        HistoryPage {
            items: found.entries.into_iter().map(Row::from).collect(),
            next: found.next.map(|id| id.to_string()),
            cut_short: found.cut_short,
        }
    }
}

/// What happened.
pub(super) async fn events(api: &Api, asked: Asked) -> Result<HistoryPage, Problem> {
    let Some(desk) = api.shards.history() else { return Err(refused(&HistoryError::Off)) };
    let (sender, answer) = oneshot::channel();
    // Whoever asked may have given up.
    desk.find(asked, move |found| drop(sender.send(found)));
    awaited(answer).await.map(HistoryPage::from)
}

/// Registrations that were refused: whatever `asked` says of kinds, it is those.
pub(super) async fn failed(api: &Api, asked: Asked) -> Result<HistoryPage, Problem> {
    let kinds = Kinds::NONE.with(HistoryKind::Refused);
    events(api, Asked { kinds, ..asked }).await
}

/// What happened to one account, `user@domain` or `user`, the newest first.
pub(super) async fn of_account(api: &Api, aor: &str, asked: Asked) -> Result<HistoryPage, Problem> {
    events(api, Asked { aor: Some(bare(aor)), ..asked }).await
}

/// Waits for the answer of the store.
pub(super) async fn awaited<T>(
    answer: oneshot::Receiver<Result<T, HistoryError>>,
) -> Result<T, Problem> {
    match timeout(ANSWER_MAX, answer).await {
        Ok(Ok(answer)) => answer.map_err(|error| refused(&error)),
        Ok(Err(_)) => Err(refused(&HistoryError::Off)),
        Err(_) => Err(refused(&HistoryError::Busy)),
    }
}

pub(super) fn refused(error: &HistoryError) -> Problem {
    match error {
        HistoryError::Off => Problem::new(StatusCode::NOT_FOUND, error.to_string()),
        HistoryError::Busy | HistoryError::Refused(_) => Problem::unavailable(error.to_string()),
    }
}

const FILTERS: &[&str] =
    &["aor", "ip", "kind", "reason", "user_agent", "text", "since", "until", "limit", "cursor"];

/// `GET /api/v1/history`
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), FILTERS)?;
    Ok(json(&events(&api, asked(&query)?).await?))
}

/// `GET /api/v1/failed`
async fn list_failed(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known: Vec<&'static str> = FILTERS.iter().copied().filter(|name| *name != "kind").collect();
    let query = Query::read(query.as_deref(), &known)?;
    Ok(json(&failed(&api, asked(&query)?).await?))
}

/// `GET /api/v1/history/{aor}`
async fn of_one(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["limit", "cursor", "since", "until"])?;
    let aor = account_of(path)?;
    let aor = String::from_utf8_lossy(&aor);
    Ok(json(&of_account(&api, &aor, asked(&query)?).await?))
}

/// What a query asks for.
pub(super) fn asked(query: &Query) -> Result<Asked, Problem> {
    let text = |name: &'static str| match query.value(name) {
        Some(text) if text.is_empty() || text.len() > FIND_TEXT_BYTES_MAX => {
            Err(Problem::parameter(name, format!("{name}: expected some text")))
        }
        text => Ok(text.map(str::to_owned)),
    };
    let aor = query.aor_of("aor")?.map(|aor| bare(&String::from_utf8_lossy(&aor)));
    Ok(Asked {
        kinds: kinds(query)?,
        aor,
        source: query.ip()?,
        reason: text("reason")?,
        user_agent: text("user_agent")?,
        text: text("text")?,
        since_ms: time(query, "since")?,
        until_ms: time(query, "until")?,
        behind: cursor(query)?,
        limit: query.limit()?,
    })
}

/// An address-of-record as it is kept: without a scheme, its domain in lower case.
fn bare(aor: &str) -> String {
    let scheme = |scheme: &str| {
        let is_there = aor.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
        is_there.then(|| &aor[scheme.len()..])
    };
    let bare = scheme("sips:").or_else(|| scheme("sip:")).unwrap_or(aor);
    match bare.split_once('@') {
        Some((user, domain)) => format!("{user}@{}", domain.to_ascii_lowercase()),
        None => bare.to_owned(),
    }
}

/// Kinds with commas between.
fn kinds(query: &Query) -> Result<Kinds, Problem> {
    let Some(text) = query.value("kind") else { return Ok(Kinds::ALL) };
    let add = |kinds: Kinds, word: &str| HistoryKind::from_name(word).map(|kind| kinds.with(kind));
    text.split(',').try_fold(Kinds::NONE, add).ok_or_else(|| {
        let words: Vec<&str> = HistoryKind::ALL.iter().map(|kind| kind.name()).collect();
        Problem::parameter("kind", format!("kind: expected of {}", words.join(", ")))
    })
}

/// A time, milliseconds since the epoch.
fn time(query: &Query, name: &'static str) -> Result<Option<u64>, Problem> {
    Ok(seconds(query, name)?.map(|time| time.0.saturating_mul(1000)))
}

/// A time.
pub(super) fn seconds(query: &Query, name: &'static str) -> Result<Option<UnixTime>, Problem> {
    let Some(text) = query.value(name) else { return Ok(None) };
    moment::read(text).map(Some).ok_or_else(|| {
        let detail = format!("{name}: expected 2026-11-21T02:38:00Z, or seconds since the epoch");
        Problem::parameter(name, detail)
    })
}

fn cursor(query: &Query) -> Result<Option<i64>, Problem> {
    let Some(text) = query.value("cursor") else { return Ok(None) };
    decimal(text)
        .map(Some)
        .ok_or_else(|| Problem::parameter("cursor", "cursor: expected the next of the page before"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Asked, Problem> {
        asked(&Query::read(Some(text), FILTERS).unwrap())
    }

    #[test]
    fn filters_are_read_and_what_is_none_is_refused() {
        let all = read("").unwrap();
        assert_eq!((all.kinds, all.limit, all.aor), (Kinds::ALL, 100, None));
        let some = read(
            "aor=SIP:U1@Example.COM&ip=192.0.2.0/24&kind=refused,expired&reason=bad_password\
             &user_agent=snom&text=x&since=10&until=1970-01-01T00:01:00Z&limit=5&cursor=77",
        )
        .unwrap();
        assert_eq!(some.aor.as_deref(), Some("U1@example.com"));
        let two = Kinds::NONE.with(HistoryKind::Refused).with(HistoryKind::Expired);
        assert_eq!((some.kinds, some.limit, some.behind), (two, 5, Some(77)));
        assert_eq!((some.since_ms, some.until_ms), (Some(10_000), Some(60_000)));
        for bad in [
            "kind=",
            "kind=x",
            "since=x",
            "until=-1",
            "cursor=x",
            "cursor=-1",
            "limit=0",
            "reason=",
            "text=",
            "ip=x",
            "aor=",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(bare("sips:+1@x"), "+1@x");
        assert_eq!(bare("u1"), "u1");
        assert_eq!(bare("s\u{e9}"), "s\u{e9}");
    }

    #[test]
    fn what_is_not_known_is_null() {
        let entry = Entry {
            id: 7,
            at_ms: 1_795_228_680_123,
            kind: HistoryKind::Flapping,
            aor: "u1@example.com".into(),
            contact: String::new(),
            source: None,
            port: 0,
            transport: None,
            user_agent: String::new(),
            granted_s: 0,
            reason: String::new(),
            count: 4,
            shard: 1,
        };
        let row = serde_json::to_value(Row::from(entry)).unwrap();
        let expected = serde_json::json!({
            "id": "7", "at": "2026-11-21T02:38:00Z", "at_ms": 1_795_228_680_123_u64,
            "kind": "flapping", "aor": "sip:u1@example.com", "contact": null, "source_ip": null,
            "source_port": null, "transport": null, "user_agent": null, "granted_s": null,
            "reason": null, "count": 4, "shard": 1,
        });
        assert_eq!(row, expected);
    }
}
