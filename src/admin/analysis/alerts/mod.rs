//! Alerts: every ten seconds the rules look at what shards and reactors say, and operators are told
//! of what is out of the ordinary and when it is over: by a line of the log, by the API, by the
//! metrics, and by a webhook.
//!
//! - `reading`: the numbers of one moment; `baseline`: what is usual of one of them; `judge`: what
//!   the rules (`rule`) say of a moment; `watch`: an alert's way through its states; `book`: all of
//!   them, and those that are over. All of that is pure
//! - `webhook`: posts; `body`: what it posts; `show`: `/api/v1/alerts`

mod baseline;
mod body;
mod book;
mod judge;
mod reading;
mod rule;
pub(in crate::admin) mod show;
mod watch;
mod webhook;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};
use tokio::time::{MissedTickBehavior, interval};

use self::baseline::TICK_S;
use self::book::{Book, Told};
use self::judge::{Beside, Judge};
use self::watch::{Change, State};
use self::webhook::{Posted, WAITING_MAX};
use super::super::api::Api;
use super::super::plain::one_line;
use super::super::problem::Problem;
use super::super::registrations::unexpected;
use super::capacity::Watched;
use crate::reactor::Clock;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::tally::Tally;

pub(in crate::admin) use self::reading::Reading;
pub(super) use self::show::routes;
pub use self::webhook::check;

/// What is known of alerts at any moment.
pub(in crate::admin) struct Alerts {
    book: channel::Sender<Book>,
    posted: Posted,
}

impl Alerts {
    pub fn new() -> Alerts {
        Alerts { book: channel::Sender::new(Book::new()), posted: Posted::default() }
    }

    /// Each rule's word, and whether its alert fires.
    pub fn firing(&self) -> Vec<(&'static str, bool)> {
        let book = self.book.borrow();
        let one = |alert: &book::Alert| (alert.rule.word(), alert.state() == State::Firing);
        book.alerts.iter().map(one).collect()
    }

    /// Messages that were posted, that were not taken, and that there was no room for.
    pub fn posted(&self) -> [u64; 3] {
        let Posted { posted, failed, shed } = &self.posted;
        [posted, failed, shed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// What shards and reactors say now.
async fn read(api: &Api, clock: &Clock) -> Result<Reading, Problem> {
    let mut tallies: Vec<Box<Tally>> = Vec::with_capacity(usize::from(api.shards.count()));
    for shard in 0..api.shards.count() {
        match api.shards.order(ShardId(shard), Control::Count).await? {
            Reply::Counted(tally) => tallies.push(tally),
            _ => return Err(unexpected()),
        }
    }
    let at_s = clock.now().mono.as_nanos() as f64 / 1e9;
    let mut reading = Reading::of(at_s, &tallies, &api.shards.reactors());
    if let Some(desk) = api.shards.history() {
        let mut counts = desk.counts().described();
        let lost = counts.find(|(name, ..)| *name == "lost").map_or(0, |(_, _, count, _)| count);
        reading.unwritten += lost;
    }
    Ok(reading)
}

/// Looks every ten seconds, for as long as the interface serves.
pub(super) async fn run(api: Api) {
    let (sender, messages) = mpsc::channel(WAITING_MAX);
    tokio::join!(evaluate(&api, &sender), webhook::post(api.clone(), messages));
}

async fn evaluate(api: &Api, messages: &mpsc::Sender<Vec<u8>>) {
    let (clock, instance) = (Clock::start(), instance());
    let (mut judge, mut watched) = (Judge::default(), Watched::default());
    let mut ticks = interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Shards that do not answer are no news of what they count.
        let Ok(reading) = read(api, &clock).await else { continue };
        let terms = api.analysis.terms();
        let view = watched.take(reading.clone(), &terms);
        let beside = Beside {
            source: top_source(api, &terms.trusted),
            capacity: Some((view.used_percent, view.used_of.clone())),
        };
        api.analysis.capacity.send_replace(Some(Arc::new(view)));
        let rules = &terms.analysis.alerts;
        let verdicts = judge.take(reading, &beside, rules);
        let now = clock.now();
        let mut told = Vec::new();
        api.analysis.alerts.book.send_modify(|book| {
            told = book.take(now.mono.as_secs(), now.wall, verdicts, rules);
        });
        for one in told {
            (api.told)(&one_line(&line(&one)));
            let is_posted = rules.webhook.is_some();
            if is_posted && messages.try_send(body::body(&one, &instance)).is_err() {
                api.analysis.alerts.posted.shed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The source with most registrations that nobody trusts anyway.
fn top_source(api: &Api, trusted: &[ipnet::IpNet]) -> Option<(String, u64)> {
    let kept = api.analysis.survey.borrow().as_ref().map(Arc::clone)?;
    let is_trusted = |source: &ipnet::IpNet| trusted.iter().any(|network| network.contains(source));
    let (top, _) = kept.survey.sources.top(1, |source| !is_trusted(source));
    let (source, count, ()) = top.into_iter().next()?;
    let host = matches!(source.prefix_len(), 32).then(|| source.addr().to_string());
    Some((host.unwrap_or_else(|| source.to_string()), count))
}

/// `alert failures fires: 30 of 100 REGISTERs failed in a minute`
fn line(told: &Told) -> String {
    let what = match told.change {
        Change::Fired => "fires",
        Change::Repeated => "still fires",
        Change::Resolved => "is over",
    };
    format!("alert {} {what}: {}", told.rule.word(), told.said.said)
}

/// The name of this host, by which receivers tell registrars apart.
fn instance() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "aorta".to_owned() } else { one_line(name) }
}
