//! `/api/v1/security-events`: what has happened, the latest first. The same event of the same
//! source and account is one row with a count.

use std::cmp::Reverse;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::api::{Api, json};
use super::moment::{self, rfc3339};
use super::operator::Role;
use super::pages::{Key, Page, side_by_side};
use super::problem::Problem;
use super::query::{Query, decimal};
use super::routes::Routes;
use crate::guard::events::{Before, Text, Wanted};
use crate::guard::{Kinds, SecurityKind, SecurityRecord};
use crate::limits::SECURITY_RECORDS_PER_CALL_MAX;
use crate::shard::control::{Control, Reply};
use crate::shard::events::{EventsAsked, EventsPage};
use crate::time::UnixTime;

/// An event.
#[derive(Serialize)]
pub struct Row {
    /// Its name: the same while it is counted, and never used again while the process lives.
    pub(super) id: String,
    pub(super) kind: &'static str,
    /// `null` where nobody did it alone.
    pub(super) source_ip: Option<String>,
    /// An address-of-record as it was asked for; it need not exist.
    pub(super) account: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) count: u64,
    pub(super) shard: u8,
}

impl Row {
    /// A record of a shard as it reads.
    #[must_use]
    pub fn new(shard: u8, record: &SecurityRecord) -> Row {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let source = Some(record.source).filter(|source| !source.is_unspecified());
        Row {
            id: format!("{shard}-{}", record.number),
            kind: record.kind.name(),
            source_ip: source.map(|source| source.to_string()),
            account: text(record.account.as_str()),
            user_agent: text(record.user_agent.as_str()),
            first: rfc3339(record.first),
            last: rfc3339(record.last),
            count: record.count,
            shard,
        }
    }
}

/// Where a record stands: by time, and within a second by shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    last: Reverse<UnixTime>,
    shard: u8,
    change: Reverse<u64>,
}

impl Position {
    /// Which records of a shard stand behind this.
    fn before(self, shard: u8) -> Before {
        let Position { last: Reverse(last), shard: own, change: Reverse(change) } = self;
        match shard.cmp(&own) {
            std::cmp::Ordering::Equal => Before::Change(change),
            std::cmp::Ordering::Less => Before::Time(last),
            std::cmp::Ordering::Greater => Before::Time(UnixTime(last.0.saturating_add(1))),
        }
    }
}

impl Key for Position {
    fn read(text: &str) -> Option<Position> {
        let mut parts = text.split('-');
        let (last, shard, change) = (parts.next()?, parts.next()?, parts.next()?);
        let last = Reverse(UnixTime(decimal(last)?));
        let position = Position { last, shard: decimal(shard)?, change: Reverse(decimal(change)?) };
        parts.next().is_none().then_some(position)
    }

    fn text(self) -> String {
        format!("{}-{}-{}", self.last.0.0, self.shard, self.change.0)
    }
}

/// What a query may say.
pub(super) const KNOWN: &[&str] = &["kind", "account", "ip", "since", "limit", "cursor"];

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new().get("/api/v1/security-events", Role::Read, list)
}

/// `GET /api/v1/security-events`
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), KNOWN)?;
    Ok(json(&page(&api, &query).await?))
}

/// One page of what a query asks for.
pub(super) async fn page(api: &Api, query: &Query) -> Result<Page<Row>, Problem> {
    let wanted = Wanted {
        kinds: kinds(query)?,
        account: account(query)?,
        source: query.ip()?,
        since: since(query)?,
    };
    let order = |shard, after: Option<Position>, rows: usize| {
        Control::SecurityEvents(EventsAsked {
            wanted: wanted.clone(),
            before: after.map(|position| position.before(shard)),
            after: 0,
            items_max: rows.min(SECURITY_RECORDS_PER_CALL_MAX),
        })
    };
    let read = |shard, reply| match reply {
        Reply::SecurityEvents(EventsPage { items, more }) => {
            let position = |one: &SecurityRecord| Position {
                last: Reverse(one.last),
                shard,
                change: Reverse(one.change),
            };
            let rows = items.iter().map(|one| (position(one), Row::new(shard, one))).collect();
            Some((rows, more))
        }
        _ => None,
    };
    side_by_side(&api.shards, query, order, read).await
}

/// Kinds with commas between, or `alerts`.
fn kinds(query: &Query) -> Result<Kinds, Problem> {
    let Some(text) = query.value("kind") else { return Ok(Kinds::ALL) };
    if text == "alerts" {
        return Ok(SecurityKind::ALERTS);
    }
    let add = |kinds: Kinds, word: &str| SecurityKind::from_name(word).map(|kind| kinds.with(kind));
    text.split(',').try_fold(Kinds::NONE, add).ok_or_else(|| {
        let words: Vec<&str> = SecurityKind::ALL.iter().map(|kind| kind.name()).collect();
        Problem::parameter("kind", format!("kind: expected alerts, or of {}", words.join(", ")))
    })
}

/// `user@domain`, or `user` alone; a space is a plus that was not escaped.
fn account(query: &Query) -> Result<Option<crate::guard::events::AccountText>, Problem> {
    let Some(aor) = query.aor_of("account")? else { return Ok(None) };
    let bare = aor.strip_prefix(b"sips:").or(aor.strip_prefix(b"sip:")).unwrap_or(&aor);
    Ok(Some(Text::new(bare)))
}

fn since(query: &Query) -> Result<Option<UnixTime>, Problem> {
    let Some(text) = query.value("since") else { return Ok(None) };
    moment::read(text).map(Some).ok_or_else(|| {
        let detail = "since: expected 2026-11-21T02:38:00Z, or seconds since the epoch";
        Problem::parameter("since", detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_in_one_order_and_are_taken_back() {
        let at = |last, shard, change| Position {
            last: Reverse(UnixTime(last)),
            shard,
            change: Reverse(change),
        };
        let order = [at(9, 0, 1), at(9, 1, 7), at(9, 1, 3), at(8, 0, 9), at(8, 2, 1)];
        assert!(order.is_sorted());
        for position in order {
            assert_eq!(Position::read(&position.text()), Some(position));
        }
        for bad in ["", "1", "1-2", "1-2-3-4", "1-256-3", "a-1-1", "1--1"] {
            assert_eq!(Position::read(bad), None, "{bad}");
        }
        assert_eq!(at(9, 1, 7).before(1), Before::Change(7));
        assert_eq!(at(9, 1, 7).before(0), Before::Time(UnixTime(9)));
        assert_eq!(at(9, 1, 7).before(2), Before::Time(UnixTime(10)));
    }

    #[test]
    fn kinds_are_read_by_their_words() {
        let read = |text: &str| kinds(&Query::read(Some(text), &["kind"]).unwrap());
        assert_eq!(read("").unwrap(), Kinds::ALL);
        assert_eq!(read("kind=alerts").unwrap(), SecurityKind::ALERTS);
        let two = Kinds::NONE.with(SecurityKind::Acl).with(SecurityKind::Scanner);
        assert_eq!(read("kind=scanner,acl").unwrap(), two);
        assert!(read("kind=").is_err() && read("kind=acl,x").is_err());
    }
}
