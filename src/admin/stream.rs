//! `/api/v1/stream`: what changes, told while somebody listens (server-sent events, WHATWG HTML
//! 9.2). Topics: `counts`, once a second; `registrations`, what becomes of the bindings that are
//! named; `unregistrations`, how a run goes on. Listeners are few, and one that does not keep up is
//! let go: its browser comes back by itself.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use siphasher::sip::SipHasher13;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::api::Api;
use super::operator::Role;
use super::pieces::{Pieces, pieces};
use super::problem::Problem;
use super::query::{Query, binding};
use super::routes::Routes;
use super::row::Row;
use super::search::side_by_side;
use crate::limits::KICKS_PER_CONTROL_MAX;
use crate::registrar::BindingId;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::tally::Tally;

/// Listeners at a time.
pub(super) const LISTENERS_MAX: usize = 32;
/// Bindings one listener may name.
pub(super) const BINDINGS_MAX: usize = 256;
/// How often is looked what there is to tell.
const EVERY: Duration = Duration::from_secs(1);
/// After so many looks with nothing to tell, a line says that it still goes on.
const QUIET_MAX: u32 = 15;
/// When a browser comes back after it was let go.
const RETRY: &str = "retry: 2000\n\n";

/// Its path.
pub(super) fn routes() -> Routes {
    Routes::new().get("/api/v1/stream", Role::Read, listen)
}

/// How much there is, and how much comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Levels {
    pub registrations: u64,
    pub accounts: u64,
    /// Accounts with at least one registration.
    pub accounts_registered: u64,
    /// Suspensions that hold.
    pub suspensions: u64,
    pub sources_blocked: u64,
    /// What came in the last second: requests, and what became of bindings.
    pub requests_per_s: u64,
    pub registered_per_s: u64,
    pub refreshed_per_s: u64,
    pub unregistered_per_s: u64,
    pub kicked_per_s: u64,
    pub expired_per_s: u64,
    pub removed_per_s: u64,
    pub bad_password_per_s: u64,
}

/// What listeners share: the counts, made for all of them by one task while there are any.
pub(super) struct Station {
    turns: Arc<Semaphore>,
    levels: watch::Sender<Levels>,
    counting: AtomicBool,
}

impl Default for Station {
    fn default() -> Self {
        Station {
            turns: Arc::new(Semaphore::new(LISTENERS_MAX)),
            levels: watch::Sender::new(Levels::default()),
            counting: AtomicBool::new(false),
        }
    }
}

/// What one listener wants to hear.
struct Wanted {
    counts: bool,
    runs: bool,
    bindings: BTreeMap<u8, Vec<BindingId>>,
}

/// `GET /api/v1/stream`
async fn listen(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["topics", "bindings"])?;
    let wanted = wanted(&query)?;
    let turn = Arc::clone(&api.station.turns)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable(format!("{LISTENERS_MAX} listen already")))?;
    let levels = api.station.levels.subscribe();
    if wanted.counts && !api.station.counting.swap(true, Ordering::Relaxed) {
        tokio::spawn(count(api.clone()));
    }
    let (into, body) = pieces();
    tokio::spawn(tell(api, wanted, levels, into, turn));
    let kind = HeaderValue::from_static("text/event-stream");
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

fn wanted(query: &Query) -> Result<Wanted, Problem> {
    let mut wanted = Wanted { counts: false, runs: false, bindings: BTreeMap::new() };
    let mut registrations = false;
    for topic in query.value("topics").unwrap_or("counts").split(',') {
        match topic {
            "counts" => wanted.counts = true,
            "registrations" => registrations = true,
            "unregistrations" => wanted.runs = true,
            _ => {
                let detail = "topics: expected counts, registrations, unregistrations, or a list";
                return Err(Problem::parameter("topics", detail));
            }
        }
    }
    let names = query.value("bindings");
    if registrations != names.is_some() {
        let detail = "bindings: the topic registrations needs names of bindings, nothing else does";
        return Err(Problem::parameter("bindings", detail));
    }
    for (nth, name) in names.into_iter().flat_map(|names| names.split(',')).enumerate() {
        let (shard, id) = binding(name).filter(|_| nth < BINDINGS_MAX).ok_or_else(|| {
            let detail =
                format!("bindings: expected names that a listing gave, {BINDINGS_MAX} at most");
            Problem::parameter("bindings", detail)
        })?;
        wanted.bindings.entry(shard.0).or_default().push(id);
    }
    Ok(wanted)
}

/// Counts once a second while anybody listens.
async fn count(api: Api) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Sum> = None;
    loop {
        ticks.tick().await;
        if api.station.levels.receiver_count() == 0 {
            // Whoever comes from now on begins it anew; who came just before is seen here.
            api.station.counting.store(false, Ordering::Relaxed);
            if api.station.levels.receiver_count() == 0
                || api.station.counting.swap(true, Ordering::Relaxed)
            {
                return;
            }
        }
        let orders =
            (0..api.shards.count()).map(|at| api.shards.order(ShardId(at), Control::Count));
        let replies = side_by_side(orders).await;
        let mut sum = Sum::default();
        let all = replies.into_iter().all(|reply| match reply {
            Ok(Reply::Counted(tally)) => {
                sum.add(&tally);
                true
            }
            _ => false,
        });
        // Half of the shards would be a drop that is none.
        if all {
            api.station.levels.send_replace(sum.levels(before.as_ref()));
            before = Some(sum);
        }
    }
}

/// The tallies of all shards.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    levels: Levels,
}

impl Sum {
    /// Adds a shard: rates are totals yet.
    fn add(&mut self, tally: &Tally) {
        let Tally { counters, levels, .. } = tally;
        let sum = &mut self.levels;
        sum.registrations += levels.bindings;
        sum.accounts += levels.accounts;
        sum.accounts_registered += levels.aors_bound;
        sum.suspensions += levels.suspensions;
        // Every shard has the same.
        sum.sources_blocked = sum.sources_blocked.max(levels.sources_blocked);
        for (total, more) in sum.rates().into_iter().zip([
            counters.requests,
            counters.registered,
            counters.refreshed,
            counters.unregistered,
            counters.kicked,
            counters.expired,
            counters.removed,
            counters.bad_password,
        ]) {
            *total += more;
        }
    }

    /// What has come since `before`; nothing the first time.
    fn levels(mut self, before: Option<&Sum>) -> Levels {
        let mut before = before.map_or(self, |before| *before);
        for (now, then) in self.levels.rates().into_iter().zip(before.levels.rates()) {
            *now = now.saturating_sub(*then);
        }
        self.levels
    }
}

impl Levels {
    fn rates(&mut self) -> [&mut u64; 8] {
        [
            &mut self.requests_per_s,
            &mut self.registered_per_s,
            &mut self.refreshed_per_s,
            &mut self.unregistered_per_s,
            &mut self.kicked_per_s,
            &mut self.expired_per_s,
            &mut self.removed_per_s,
            &mut self.bad_password_per_s,
        ]
    }
}

/// Tells one listener, until he goes or does not keep up.
async fn tell(
    api: Api,
    wanted: Wanted,
    mut levels: watch::Receiver<Levels>,
    into: Pieces,
    _turn: OwnedSemaphorePermit,
) {
    let mut runs = api.unregistrations.subscribe();
    let mut watched = Watched::default();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = 0;
    if !into.give_now(RETRY) {
        return;
    }
    // How it stands to begin with.
    runs.mark_changed();
    loop {
        tokio::select! {
            () = into.unread() => return,
            _ = ticks.tick() => {}
        }
        let mut told = String::new();
        if wanted.counts && levels.has_changed().unwrap_or(false) {
            event(&mut told, "counts", &*levels.borrow_and_update());
        }
        if wanted.runs && runs.has_changed().unwrap_or(false) {
            runs.mark_unchanged();
            event(&mut told, "unregistrations", &super::bulk::last(&api));
        }
        if !wanted.bindings.is_empty() && watched.look(&api, &wanted, &mut told).await.is_err() {
            // Another time; the data plane has other things to do.
            told.clear();
        }
        quiet = if told.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET_MAX {
            quiet = 0;
            told.push_str(":\n\n");
        }
        if !told.is_empty() && !into.give_now(told) {
            return;
        }
    }
}

/// One event. JSON has no line ends, so it is one line.
fn event(into: &mut String, name: &str, data: &impl Serialize) {
    if let Ok(data) = serde_json::to_string(data) {
        into.push_str("event: ");
        into.push_str(name);
        into.push_str("\ndata: ");
        into.push_str(&data);
        into.push_str("\n\n");
    }
}

/// What is known of the bindings somebody watches: of each what was told last, as a hash.
#[derive(Default)]
struct Watched(BTreeMap<(u8, BindingId), u64>);

#[derive(Serialize)]
struct Gone {
    binding: String,
}

impl Watched {
    /// Tells what has become of them since the last look; all of them the first time.
    async fn look(&mut self, api: &Api, wanted: &Wanted, told: &mut String) -> Result<(), Problem> {
        let named = wanted.bindings.iter().flat_map(|(shard, ids)| {
            ids.chunks(KICKS_PER_CONTROL_MAX).map(move |ids| (*shard, ids))
        });
        let named: Vec<(u8, &[BindingId])> = named.collect();
        let orders = named.iter().map(|(shard, ids)| {
            api.shards.order(ShardId(*shard), Control::ShowNamed(ids.to_vec()))
        });
        let replies = side_by_side(orders).await;
        for ((shard, ids), reply) in named.into_iter().zip(replies) {
            let Reply::Named(found, now) = reply? else {
                return Err(super::registrations::unexpected());
            };
            for &id in ids {
                match found.iter().find(|one| one.id == id) {
                    Some(one) => {
                        let row = Row::new(&api.shards, ShardId(shard), now, one);
                        let hash = hash(&row);
                        if self.0.insert((shard, id), hash) != Some(hash) {
                            event(told, "registration", &row);
                        }
                    }
                    None if self.0.insert((shard, id), 0) != Some(0) => {
                        let binding = super::query::binding_name(ShardId(shard), id);
                        event(told, "gone", &Gone { binding });
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// What changes by itself, second by second, is no news.
fn hash(row: &Row) -> u64 {
    let mut hasher = SipHasher13::new();
    let still = Row { remaining_s: None, ..row.clone() };
    if let Ok(text) = serde_json::to_vec(&still) {
        hasher.write(&text);
    }
    // Zero means gone.
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_of(text: &str) -> Option<Wanted> {
        let query = Query::read(Some(text), &["topics", "bindings"]).ok()?;
        wanted(&query).ok()
    }

    #[test]
    fn topics_are_known_and_bindings_are_named_where_they_are_watched() {
        assert!(wanted_of("").is_some_and(|one| one.counts && one.bindings.is_empty()));
        let both = wanted_of("topics=registrations,unregistrations&bindings=0-1-1,1-2-3,0-4-1");
        let both = both.unwrap();
        assert!(both.runs && !both.counts);
        assert_eq!(both.bindings[&0].len(), 2);
        let many = vec!["0-1-1"; BINDINGS_MAX + 1].join(",");
        for bad in ["topics=weather", "topics=registrations", "bindings=0-1-1", "topics="] {
            assert!(wanted_of(bad).is_none(), "{bad}");
        }
        assert!(wanted_of(&format!("topics=registrations&bindings={many}")).is_none());
    }

    #[test]
    fn rates_are_what_came_between_two_looks() {
        let of = |requests| Sum {
            levels: Levels { registrations: 7, requests_per_s: requests, ..Levels::default() },
        };
        assert_eq!(of(1000).levels(None), Levels { registrations: 7, ..Levels::default() });
        assert_eq!(of(1500).levels(Some(&of(1000))).requests_per_s, 500);
    }

    #[test]
    fn time_that_passes_is_no_news_and_a_refresh_is() {
        let row = Row { remaining_s: Some(60), ..Row::absent(ShardId(0), b"u1@example.com") };
        assert_eq!(hash(&row), hash(&Row { remaining_s: Some(59), ..row.clone() }));
        assert_ne!(hash(&row), hash(&Row { refreshed_at: Some("later".into()), ..row.clone() }));
        let mut text = String::new();
        event(&mut text, "gone", &Gone { binding: "a\nb".into() });
        assert_eq!(text, "event: gone\ndata: {\"binding\":\"a\\nb\"}\n\n");
    }
}
