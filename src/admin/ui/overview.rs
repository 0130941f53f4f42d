//! `/`: how it goes, on one page: what there is, how fast it changes, how long messages take, what
//! each shard does, and what has happened lately that somebody should know of.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::api::Api;
use super::super::latency::Row as Latency;
use super::super::moment::rfc3339;
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::security;
use super::looks::{Figures, LOOKS_MAX, Rates, Seen};
use super::shell::{Shell, page};
use super::words;
use crate::reactor::{ServiceTimes, Span};

/// Events that are shown.
const EVENTS: &str = "kind=alerts&limit=6";
/// The picture of a course, in its own units.
const COURSE_WIDTH: f64 = 120.0;
const COURSE_HEIGHT: f64 = 28.0;

/// One number with what it is.
struct Tile {
    label: &'static str,
    value: String,
    note: String,
    /// Where more about it is.
    link: Option<&'static str>,
}

/// How often something happens.
struct Pace {
    label: &'static str,
    meaning: &'static str,
    per_second: Option<String>,
    /// Its course, as points of a line.
    course: String,
    /// Whether somebody should look when it is not nothing.
    bad: bool,
}

struct Shard {
    number: usize,
    bindings: String,
    /// Its share of all bindings, percent.
    share: String,
    accounts: String,
    requests: String,
    registered: String,
    refreshed: String,
    waiting: String,
    p50: String,
    p99: String,
}

/// What has happened.
struct Event {
    last: String,
    kind: String,
    source: String,
    account: String,
    count: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    up_since: String,
    tiles: Vec<Tile>,
    paces: Vec<Pace>,
    latency: Vec<Tile>,
    latency_over: String,
    shards: Vec<Shard>,
    events: Vec<Event>,
}

/// `GET /`
pub(super) async fn show(shell: Shell, State(api): State<Api>) -> Result<Response, Problem> {
    let seen = api.looks.look(&api).await?;
    let last = api.last_window.borrow().clone();
    // The first seconds have no window yet.
    let (times, latency_over) = match last {
        Some(last) => (last.to_vec(), "in the last 10 seconds"),
        None => (api.shards.service_times(), "since the start"),
    };
    let query = Query::read(Some(EVENTS), security::KNOWN)?;
    let events = security::page(&api, &query).await?.items.into_iter().map(event).collect();
    page(&Page {
        shell,
        up_since: rfc3339(api.started),
        tiles: tiles(&seen.sum),
        paces: paces(&seen),
        latency: latency(&times),
        latency_over: latency_over.to_owned(),
        shards: shards(&seen, &times),
        events,
    })
}

fn tiles(sum: &Figures) -> Vec<Tile> {
    let tile = |label, value, note, link| Tile { label, value: words::count(value), note, link };
    vec![
        tile(
            "Registrations",
            sum.bindings,
            format!("of {} accounts", words::count(sum.aors_bound)),
            None,
        ),
        tile("Accounts", sum.accounts, share(sum.aors_bound, sum.accounts, "registered"), None),
        tile(
            "Kept reachable",
            sum.keepalives,
            share(sum.keepalives, sum.bindings, "behind NAT"),
            None,
        ),
        tile("Suspended", sum.suspensions, "accounts at a source".into(), Some("/suspended")),
        tile("Blocked", sum.sources_blocked, "sources".into(), Some("/blocked")),
    ]
}

fn share(part: u64, whole: u64, what: &str) -> String {
    match whole {
        0 => format!("none {what}"),
        _ => format!("{:.1} % {what}", part as f64 * 100.0 / whole as f64),
    }
}

fn paces(seen: &Seen) -> Vec<Pace> {
    type Of = fn(&Rates) -> f64;
    let list: [(&str, &str, bool, Of); 7] = [
        ("Requests", "SIP requests that were answered", false, |r| r.requests),
        ("Registered", "New registrations", false, |r| r.registered),
        ("Refreshed", "Registrations that were prolonged", false, |r| r.refreshed),
        ("Replaced", "Sessions ended by another device, or moved", false, |r| r.replaced),
        ("Left", "Unregistered, run out, or found gone", false, |r| r.left),
        ("Refused", "Answers of 4xx to 6xx that are no challenge", true, |r| r.refused),
        ("Not answered", "Dropped: blocked, over a limit, no SIP", true, |r| r.not_answered),
    ];
    let pace = |(label, meaning, bad, of): (&'static str, &'static str, bool, Of)| {
        let course: Vec<f64> = seen.course.iter().map(of).collect();
        let now = seen.rates.as_ref().map(|(all, _)| of(all));
        Pace {
            label,
            meaning,
            per_second: now.map(words::rate),
            course: words::polyline(&course, LOOKS_MAX - 1, COURSE_WIDTH, COURSE_HEIGHT),
            bad: bad && now.is_some_and(|now| now >= 0.05),
        }
    };
    list.into_iter().map(pace).collect()
}

fn latency(times: &[ServiceTimes]) -> Vec<Tile> {
    let sum: ServiceTimes = times.iter().sum();
    let whole = Latency::new(None, Span::Whole, &sum.of(Span::Whole));
    let tile = |label, ns| Tile {
        label,
        value: if whole.count == 0 { "\u{2014}".to_owned() } else { words::nanos(ns) },
        note: String::new(),
        link: Some("/latency"),
    };
    vec![
        tile("Half within", whole.p50_ns),
        tile("90 % within", whole.p90_ns),
        tile("99 % within", whole.p99_ns),
        tile("99.9 % within", whole.p999_ns),
        tile("Longest", whole.max_ns),
    ]
}

fn shards(seen: &Seen, times: &[ServiceTimes]) -> Vec<Shard> {
    let one = |(number, figures): (usize, &Figures)| {
        let rates = seen.rates.as_ref().and_then(|(_, each)| each.get(number));
        let rate = |of: fn(&Rates) -> f64| {
            rates.map_or_else(|| "\u{2014}".to_owned(), |rates| words::rate(of(rates)))
        };
        let whole = times.get(number).map(|times| times.of(Span::Whole));
        let at = |quantile| match &whole {
            Some(times) if !times.is_empty() => words::nanos(times.value_at_quantile(quantile)),
            _ => "\u{2014}".to_owned(),
        };
        Shard {
            number,
            bindings: words::count(figures.bindings),
            share: share(figures.bindings, seen.sum.bindings, "").trim().to_owned(),
            accounts: words::count(figures.accounts),
            requests: rate(|rates| rates.requests),
            registered: rate(|rates| rates.registered),
            refreshed: rate(|rates| rates.refreshed),
            waiting: words::nanos(figures.waiting_us * 1000),
            p50: at(0.5),
            p99: at(0.99),
        }
    };
    seen.shards.iter().enumerate().map(one).collect()
}

fn event(row: security::Row) -> Event {
    Event {
        last: row.last,
        kind: row.kind.replace('_', " "),
        source: row.source_ip.unwrap_or_default(),
        account: row.account.unwrap_or_default(),
        count: words::count(row.count),
    }
}
