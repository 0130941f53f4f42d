//! Questions about what happened, and how they are answered within their time: an index leads to
//! what may be meant, newest first, and each row is looked at. Where the time is over, what was
//! found by then is given, and where to go on.

use std::net::IpAddr;

use ipnet::IpNet;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::id::{self, key_of};
use crate::flow::Transport;
use crate::shard::history::HistoryKind;

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: usize = 64;

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u16);

const _: () = assert!(HistoryKind::ALL.len() <= u16::BITS as usize);

impl Kinds {
    /// Every kind.
    pub const ALL: Kinds = Kinds(u16::MAX);
    /// None.
    pub const NONE: Kinds = Kinds(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, kind: HistoryKind) -> Kinds {
        Kinds(self.0 | 1 << kind as u16)
    }

    /// Whether a kind is among them.
    #[must_use]
    pub const fn has(self, kind: HistoryKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }

    /// The kind, where it is but one.
    fn only(self) -> Option<HistoryKind> {
        let mut kinds = HistoryKind::ALL.iter().copied().filter(|kind| self.has(*kind));
        let first = kinds.next()?;
        kinds.next().is_none().then_some(first)
    }
}

/// What is asked for. What is `None` is not asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Of these kinds.
    pub kinds: Kinds,
    /// Of this account: `user@domain`, or `user` in whatever domain.
    pub aor: Option<String>,
    /// From this network; an address is a network of one.
    pub source: Option<IpNet>,
    /// With exactly this reason.
    pub reason: Option<String>,
    /// With this in the User-Agent, in whatever case.
    pub user_agent: Option<String>,
    /// With this in the account, the contact, the source, the User-Agent or the reason, in whatever
    /// case.
    pub text: Option<String>,
    /// Not before this time, milliseconds since the epoch.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// Behind the entry of this number, as a page before ended.
    pub behind: Option<i64>,
    /// Entries at most.
    pub limit: usize,
}

/// Everything, a hundred at a time.
impl Default for Asked {
    fn default() -> Self {
        Asked {
            kinds: Kinds::ALL,
            aor: None,
            source: None,
            reason: None,
            user_agent: None,
            text: None,
            since_ms: None,
            until_ms: None,
            behind: None,
            limit: 100,
        }
    }
}

/// Something that happened, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number; later entries have larger ones.
    pub id: i64,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// What.
    pub kind: HistoryKind,
    /// To whose registration; empty where it was nobody's.
    pub aor: String,
    /// The contact; empty where there was none.
    pub contact: String,
    /// Where the request came from; `None` where nothing came.
    pub source: Option<IpAddr>,
    /// From which port; 0 where it is about every port.
    pub port: u16,
    /// What carried it, where that is known.
    pub transport: Option<Transport>,
    /// The User-Agent; empty where there was none.
    pub user_agent: String,
    /// Seconds that were granted.
    pub granted_s: u32,
    /// A word that says more than the kind; may be empty.
    pub reason: String,
    /// How often it happened.
    pub count: u32,
    /// At which shard.
    pub shard: u8,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The entries, the newest first.
    pub entries: Vec<Entry>,
    /// Where the next page goes on ([`Asked::behind`]); `None` behind the last.
    pub next: Option<i64>,
    /// The time was over before the page was full.
    pub cut_short: bool,
}

/// Answers; `is_over` says when the time is.
pub(super) fn find(
    connection: &Connection,
    asked: &Asked,
    is_over: impl Fn() -> bool,
) -> rusqlite::Result<Found> {
    let mut found = Found::default();
    let Some((by, leading)) = leading(connection, asked)? else { return Ok(found) };
    let below = asked.until_ms.map_or(i64::MAX, id::first_of);
    let below = asked.behind.map_or(below, |behind| behind.min(below));
    let from = asked.since_ms.map_or(i64::MIN, id::first_of);
    let parameters = leading.into_iter().chain([Value::Integer(below), Value::Integer(from)]);
    let sql = format!(
        "SELECT e.id, e.kind, e.aor, e.contact, e.source, e.port, e.transport, u.value, \
         e.granted_s, r.value, e.count, e.shard FROM event e \
         LEFT JOIN text u ON u.id = e.user_agent LEFT JOIN text r ON r.id = e.reason \
         WHERE {by} e.id < ? AND e.id >= ? ORDER BY e.id DESC"
    );
    let filter = Filter::new(asked);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    let (mut looked_at, mut last) = (0_usize, None);
    while let Some(row) = rows.next()? {
        if found.entries.len() >= asked.limit {
            found.next = last;
            return Ok(found);
        }
        let entry = entry_of(row)?;
        last = Some(entry.id);
        if filter.takes(&entry) {
            found.entries.push(entry);
        }
        looked_at += 1;
        if looked_at.is_multiple_of(ROWS_PER_LOOK) && is_over() {
            found.next = last;
            found.cut_short = true;
            return Ok(found);
        }
    }
    Ok(found)
}

/// The index that leads to the fewest rows, as the beginning of a condition, with its values;
/// `None` where nothing can be meant.
fn leading(
    connection: &Connection,
    asked: &Asked,
) -> rusqlite::Result<Option<(&'static str, Vec<Value>)>> {
    if let Some(aor) = &asked.aor {
        return Ok(Some(("e.key = ? AND", vec![Value::Integer(key_of(aor))])));
    }
    if let Some(source) = asked.source.filter(|net| net.prefix_len() == net.max_prefix_len()) {
        return Ok(Some(("e.source = ? AND", vec![Value::Blob(octets(source.addr()))])));
    }
    let Some(kind) = asked.kinds.only() else {
        let none = asked.kinds == Kinds::NONE;
        return Ok((!none).then(|| ("", Vec::new())));
    };
    let kind = Value::Integer(kind as i64);
    let Some(reason) = &asked.reason else {
        return Ok(Some(("e.kind = ? AND", vec![kind])));
    };
    let sql = "SELECT id FROM text WHERE value = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut ids = statement.query([reason])?;
    let Some(row) = ids.next()? else { return Ok(None) };
    let reason = Value::Integer(row.get(0)?);
    Ok(Some(("e.kind = ? AND e.reason = ? AND", vec![kind, reason])))
}

/// An address as it is kept: 4 or 16 bytes.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(Into::into)
}

/// A row as it was written. What a damaged file makes of it is read as well as it can be.
fn entry_of(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let number = |column: usize| row.get::<_, i64>(column);
    let text = |column: usize| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    let id = number(0)?;
    let kind = u8::try_from(number(1)?).ok().and_then(HistoryKind::from_number);
    let source: Option<Vec<u8>> = row.get(4)?;
    let transport: Option<i64> = row.get(6)?;
    Ok(Entry {
        id,
        at_ms: id::time_of(id),
        kind: kind.unwrap_or(HistoryKind::Removed),
        aor: text(2)?,
        contact: text(3)?,
        source: source.and_then(|octets| address(&octets)),
        port: u16::try_from(number(5)?).unwrap_or_default(),
        transport: transport
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| Transport::ALL.get(at).copied()),
        user_agent: text(7)?,
        granted_s: u32::try_from(number(8)?).unwrap_or_default(),
        reason: text(9)?,
        count: u32::try_from(number(10)?).unwrap_or_default(),
        shard: u8::try_from(number(11)?).unwrap_or_default(),
    })
}

/// What an index does not decide.
struct Filter<'a> {
    asked: &'a Asked,
    user_agent: Option<String>,
    text: Option<String>,
}

impl Filter<'_> {
    fn new(asked: &Asked) -> Filter<'_> {
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_ascii_lowercase());
        Filter { asked, user_agent: lower(&asked.user_agent), text: lower(&asked.text) }
    }

    fn takes(&self, entry: &Entry) -> bool {
        let Asked { kinds, aor, source, reason, .. } = self.asked;
        let is_account = |wanted: &String| match wanted.contains('@') {
            true => *wanted == entry.aor,
            false => *wanted == user_of(&entry.aor),
        };
        let has = |text: &str, wanted: &String| text.to_ascii_lowercase().contains(wanted);
        let anywhere = |wanted: &String| {
            let Entry { aor, contact, user_agent, reason, .. } = entry;
            [aor, contact, user_agent, reason].into_iter().any(|text| has(text, wanted))
                || entry.source.is_some_and(|source| source.to_string().contains(wanted))
        };
        kinds.has(entry.kind)
            && aor.as_ref().is_none_or(is_account)
            && source.is_none_or(|net| entry.source.is_some_and(|source| net.contains(&source)))
            && reason.as_ref().is_none_or(|reason| *reason == entry.reason)
            && self.user_agent.as_ref().is_none_or(|wanted| has(&entry.user_agent, wanted))
            && self.text.as_ref().is_none_or(anywhere)
    }
}

/// What stands before the `@`.
fn user_of(aor: &str) -> &str {
    aor.split_once('@').map_or(aor, |(user, _)| user)
}
