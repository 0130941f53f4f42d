//! `/api/v1/latency`: how long messages take, stage by stage, at each shard and at all together:
//! since the start, or in the last window that is over. No shard is asked: reactors count where
//! this thread can read it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::api::{Api, json};
use super::hgrm;
use super::operator::Role;
use super::problem::Problem;
use super::query::{Query, decimal};
use super::routes::Routes;
use crate::reactor::{ServiceTimes, Span};

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(10);

/// One span at one shard, or at all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `None`: all together.
    pub shard: Option<u8>,
    /// A stage, `handoff` or `whole` ([`Span`]).
    pub stage: Cow<'static, str>,
    /// Messages that were timed.
    pub count: u64,
    /// Nanoseconds, as everything from here on.
    pub mean_ns: f64,
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// Nine in ten.
    pub p90_ns: u64,
    /// 99 in a hundred.
    pub p99_ns: u64,
    /// 999 in a thousand.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Row {
    /// What was counted, in figures.
    #[must_use]
    pub fn new(shard: Option<u8>, span: Span, times: &Histogram<u64>) -> Row {
        let at = |quantile| times.value_at_quantile(quantile);
        Row {
            shard,
            stage: span.name().into(),
            count: times.len(),
            mean_ns: times.mean().round(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: times.max(),
        }
    }

    /// The rows of all shards together, then those of each.
    pub fn all(shards: &[ServiceTimes]) -> impl Iterator<Item = Row> + '_ {
        let sum: ServiceTimes = shards.iter().sum();
        let rows = |shard: Option<u8>, times: &ServiceTimes| {
            Span::ALL.map(|span| Row::new(shard, span, &times.of(span)))
        };
        let each = (0..).zip(shards).flat_map(move |(shard, times)| rows(Some(shard), times));
        rows(None, &sum).into_iter().chain(each)
    }
}

/// What is answered.
#[derive(Serialize)]
struct Page {
    /// Batches that were timed.
    batches: u64,
    /// The length of the window, seconds; `null` since the start.
    window_s: Option<u64>,
    items: Vec<Row>,
}

/// What was timed in the last window that is over, shard by shard.
pub(super) type LastWindow = watch::Receiver<Option<Arc<[ServiceTimes]>>>;

/// The windows, one after the other.
#[derive(Default)]
struct Windows {
    before: Option<Vec<ServiceTimes>>,
}

impl Windows {
    /// Another window is over; `now` is what has been timed since the start. Nothing the first
    /// time, when it only begins.
    fn turn(&mut self, now: Vec<ServiceTimes>) -> Option<Arc<[ServiceTimes]>> {
        let before = self.before.as_ref();
        let window = before.map(|before| now.iter().zip(before).map(|(now, one)| now.since(one)));
        let window = window.map(Iterator::collect);
        self.before = Some(now);
        window
    }
}

/// Keeps the last window, for as long as the interface serves.
pub(super) async fn keep_windows(api: Api, last: watch::Sender<Option<Arc<[ServiceTimes]>>>) {
    let mut windows = Windows::default();
    let mut ticks = interval(WINDOW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let window = windows.turn(api.shards.service_times());
        last.send_replace(window);
    }
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new().get("/api/v1/latency", Role::Read, show)
}

/// `GET /api/v1/latency`
pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["shard", "stage", "window", "format"])?;
    let shard = shard(&query, api.shards.count())?;
    let span = span(&query)?;
    let (times, window_s) = times(&api, &query)?;
    match query.value("format") {
        None | Some("json") => {}
        Some("hgrm") => return Ok(distribution(&times, shard, span.unwrap_or(Span::Whole))),
        Some(_) => return Err(Problem::parameter("format", "format: expected json or hgrm")),
    }
    let of = |row: &Row| {
        shard.is_none_or(|shard| row.shard == shard)
            && span.is_none_or(|span| row.stage == span.name())
    };
    let batches = match shard {
        Some(Some(one)) => times.get(usize::from(one)).map_or(0, ServiceTimes::batches),
        _ => times.iter().map(ServiceTimes::batches).sum(),
    };
    Ok(json(&Page { batches, window_s, items: Row::all(&times).filter(of).collect() }))
}

/// What was timed in the `window` that a query names, shard by shard, and how many seconds that is
/// long; since the start where it names none.
pub(super) fn times(api: &Api, query: &Query) -> Result<(Vec<ServiceTimes>, Option<u64>), Problem> {
    match query.value("window") {
        None => Ok((api.shards.service_times(), None)),
        Some("last") => Ok((window(api)?, Some(WINDOW.as_secs()))),
        Some(_) => Err(Problem::parameter("window", "window: expected last")),
    }
}

fn window(api: &Api) -> Result<Vec<ServiceTimes>, Problem> {
    let last = api.last_window.borrow().clone();
    last.map(|last| last.to_vec()).ok_or_else(|| {
        Problem::unavailable(format!("the first {} seconds are not over", WINDOW.as_secs()))
    })
}

/// Which shard is meant, `Some(None)` being all together; nothing where none is named.
fn shard(query: &Query, count: u8) -> Result<Option<Option<u8>>, Problem> {
    let Some(text) = query.value("shard") else { return Ok(None) };
    if text == "all" {
        return Ok(Some(None));
    }
    match decimal::<u8>(text) {
        Some(shard) if shard < count => Ok(Some(Some(shard))),
        _ => Err(Problem::parameter(
            "shard",
            format!("shard: expected all, or a number below {count}"),
        )),
    }
}

fn span(query: &Query) -> Result<Option<Span>, Problem> {
    let Some(text) = query.value("stage") else { return Ok(None) };
    Span::from_name(text).map(Some).ok_or_else(|| {
        let names = Span::ALL.map(Span::name).join(", ");
        Problem::parameter("stage", format!("stage: expected one of {names}"))
    })
}

/// The percentile distribution in milliseconds, as HdrHistogram's plotter reads it.
fn distribution(times: &[ServiceTimes], shard: Option<Option<u8>>, span: Span) -> Response {
    let times = match shard.flatten() {
        Some(one) => times.get(usize::from(one)).cloned().unwrap_or_default(),
        None => times.iter().sum(),
    };
    let text = hgrm::distribution(&times.of(span));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(CONTENT_TYPE, plain)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::ServiceTimes;
    use crate::shard::stages::Stage;

    const PARSE: Span = Span::Stage(Stage::Parse);

    fn of(ns: &[u64]) -> ServiceTimes {
        ServiceTimes::of_batches(&ns.iter().map(|&ns| (PARSE, ns)).collect::<Vec<_>>())
    }

    #[test]
    fn rows_are_those_of_all_and_then_of_each() {
        let rows: Vec<Row> = Row::all(&[of(&[100, 100]), of(&[250])]).collect();
        assert_eq!(rows.len(), 3 * Span::ALL.len());
        let parse: Vec<&Row> = rows.iter().filter(|row| row.stage == "parse").collect();
        let figures = |row: &Row| (row.shard, row.count, row.p50_ns, row.p99_ns, row.max_ns);
        assert_eq!(figures(parse[0]), (None, 3, 100, 250, 250));
        assert_eq!(figures(parse[1]), (Some(0), 2, 100, 100, 100));
        assert_eq!(figures(parse[2]), (Some(1), 1, 250, 250, 250));
        assert!((parse[0].mean_ns - 150.0).abs() < 1.0);
        assert!(rows.iter().filter(|row| row.stage != "parse").all(|row| row.count == 0));
    }

    #[test]
    fn a_window_has_what_came_within_it() {
        let mut windows = Windows::default();
        assert_eq!(windows.turn(vec![of(&[1, 2])]), None, "nobody knows what was before");
        let second = windows.turn(vec![of(&[1, 2, 30])]).expect("a window");
        assert_eq!((second[0].of(PARSE).len(), second[0].of(PARSE).max()), (1, 30));
        assert!(windows.turn(vec![of(&[1, 2, 30])]).expect("a window")[0].is_empty());
    }
}
