//! `/api/v1/trends`: how many registrations there were, and how much happened, over time: an array
//! of times and one of numbers for each metric, as charts take them. Where nothing was measured
//! there is `null`, and no line.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::oneshot;

use super::api::{Api, json};
use super::history::{awaited, refused, seconds};
use super::operator::Role;
use super::problem::Problem;
use super::query::Query;
use super::routes::Routes;
use crate::reactor::Clock;
use crate::store::history::{
    HistoryError, Metric, Nature, Point, Step, Trend, TrendAsked, trend::POINTS_MAX,
};

/// The span that is shown unless asked otherwise, seconds.
const SPAN_S: u64 = 3600;

/// These paths.
pub(super) fn routes() -> Routes {
    Routes::new().get("/api/v1/trends", Role::Read, show)
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TrendsAsked {
    /// From this second on; an hour before `to_s` unless given.
    pub from_s: Option<u64>,
    /// Before this one; now unless given.
    pub to_s: Option<u64>,
    /// In these steps; those that fit the span unless given.
    pub step: Option<Step>,
    /// These; all of them where there are none.
    pub metrics: Vec<Metric>,
}

/// Numbers over time. All arrays are of one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Trends {
    pub from: u64,
    pub to: u64,
    pub step_s: u64,
    /// The second each step begins.
    pub t: Vec<u64>,
    pub series: Vec<Series>,
    /// There were more steps than one answer has; these are the last.
    pub cut_short: bool,
}

/// The numbers of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Series {
    pub metric: &'static str,
    /// `level`: means over the step; `rate`: so many a second.
    pub kind: &'static str,
    pub about: &'static str,
    pub values: Vec<Option<f64>>,
    /// The least of a level within the step; empty for rates.
    pub min: Vec<Option<f64>>,
    /// The most within the step: of a level, or of a rate over ten seconds.
    pub max: Vec<Option<f64>>,
}

/// Numbers over time.
pub(super) async fn trends(api: &Api, asked: TrendsAsked) -> Result<Trends, Problem> {
    let Some(desk) = api.shards.history() else { return Err(refused(&HistoryError::Off)) };
    let now_s = Clock::start().now().wall.0;
    let to = asked.to_s.unwrap_or(now_s + 1);
    let from = asked.from_s.unwrap_or(to.saturating_sub(SPAN_S));
    if from >= to {
        return Err(Problem::parameter("from", "from: expected a time before to"));
    }
    let step = asked.step.unwrap_or_else(|| desk.kept().step_for(now_s, from, to));
    let (sender, answer) = oneshot::channel();
    let question = TrendAsked { from_s: from, to_s: to, step };
    // Whoever asked may have given up.
    desk.trend(question, move |trend| drop(sender.send(trend)));
    let trend = awaited(answer).await?;
    let metrics = if asked.metrics.is_empty() { Metric::ALL } else { &asked.metrics };
    Ok(drawn(&trend, metrics, (from, to)))
}

/// The arrays: behind what was measured last before a gap there is a step with nothing.
fn drawn(trend: &Trend, metrics: &[Metric], (from, to): (u64, u64)) -> Trends {
    let step_s = trend.step.seconds();
    let mut steps: Vec<(u64, Option<&Point>)> = Vec::with_capacity(trend.points.len());
    for (at, point) in &trend.points {
        if let Some((last, _)) = steps.last().copied()
            && *at > last + step_s
        {
            steps.push((last + step_s, None));
        }
        steps.push((*at, Some(point)));
    }
    let series = metrics.iter().map(|&metric| {
        let array = |number: &dyn Fn(&Point) -> Option<f64>| -> Vec<Option<f64>> {
            steps.iter().map(|(_, point)| point.and_then(number).map(rounded)).collect()
        };
        let bound = |bound: fn(&crate::store::history::samples::Cell) -> u64| {
            move |point: &Point| {
                let cell = point.of(metric);
                (cell.samples > 0).then(|| bound(&cell) as f64)
            }
        };
        let (kind, values, min, max) = match metric.nature() {
            Nature::Level => (
                "level",
                array(&|point| point.of(metric).mean()),
                array(&bound(|cell| cell.min)),
                array(&bound(|cell| cell.max)),
            ),
            Nature::Count => (
                "rate",
                array(&|point| point.rate(metric)),
                Vec::new(),
                array(&|point| point.rate_max(metric)),
            ),
        };
        Series { metric: metric.name(), kind, about: metric.about().trim(), values, min, max }
    });
    Trends {
        from,
        to,
        step_s,
        series: series.collect(),
        t: steps.iter().map(|(at, _)| *at).collect(),
        cut_short: trend.cut_short,
    }
}

/// To a thousandth: more is not measured.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// `GET /api/v1/trends`
async fn show(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["from", "to", "step", "metrics"])?;
    Ok(json(&trends(&api, asked(&query)?).await?))
}

/// What a query asks for.
pub(super) fn asked(query: &Query) -> Result<TrendsAsked, Problem> {
    let step = match query.value("step") {
        None | Some("auto") => None,
        Some(word) => Some(
            Step::from_name(word)
                .ok_or_else(|| Problem::parameter("step", "step: expected auto, 10s, 1m or 1h"))?,
        ),
    };
    let metrics: Option<Vec<Metric>> = match query.value("metrics") {
        None => Some(Vec::new()),
        Some(words) => words.split(',').map(Metric::from_name).collect(),
    };
    let metrics =
        metrics.filter(|metrics| metrics.len() <= Metric::ALL.len()).ok_or_else(|| {
            let words: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
            Problem::parameter("metrics", format!("metrics: expected of {}", words.join(", ")))
        })?;
    let (from, to) = (seconds(query, "from")?, seconds(query, "to")?);
    let (from_s, to_s) = (from.map(|time| time.0), to.map(|time| time.0));
    Ok(TrendsAsked { from_s, to_s, step, metrics })
}

const _: () = assert!(POINTS_MAX * Metric::ALL.len() < 1 << 20, "an answer is of some megabytes");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::history::samples::{METRICS, Sample};
    use crate::time::UnixTime;

    fn point(registrations: u64, requests: u64) -> Point {
        let mut values = [None; METRICS];
        values[Metric::Registrations as usize] = Some(registrations);
        values[Metric::Requests as usize] = Some(requests);
        let at = UnixTime(0);
        Point::from(&Sample { at, covered_ms: 10_000, values, shards: Vec::new() })
    }

    #[test]
    fn a_gap_is_null_and_no_zero() {
        let points = vec![(100, point(5, 20)), (110, point(6, 0)), (200, point(7, 10))];
        let trend = Trend { step: Step::TenSeconds, points, cut_short: false };
        let metrics = [Metric::Registrations, Metric::Requests, Metric::P99];
        let drawn = drawn(&trend, &metrics, (90, 300));
        assert_eq!(drawn.t, [100, 110, 120, 200]);
        let [registrations, requests, p99] = &drawn.series[..] else { panic!("three") };
        assert_eq!(registrations.values, [Some(5.0), Some(6.0), None, Some(7.0)]);
        assert_eq!(registrations.max, registrations.values);
        assert_eq!(requests.values, [Some(2.0), Some(0.0), None, Some(1.0)]);
        assert_eq!((registrations.kind, requests.kind), ("level", "rate"));
        assert!(p99.values.iter().all(Option::is_none));
    }

    #[test]
    fn filters_are_read_and_what_is_none_is_refused() {
        let known = &["from", "to", "step", "metrics"];
        let read = |text: &str| asked(&Query::read(Some(text), known).unwrap());
        assert_eq!(read("").unwrap(), TrendsAsked::default());
        let some = read("from=10&to=20&step=1m&metrics=requests,p99_ns").unwrap();
        assert_eq!((some.from_s, some.to_s, some.step), (Some(10), Some(20), Some(Step::Minute)));
        assert_eq!(some.metrics, [Metric::Requests, Metric::P99]);
        assert_eq!(read("step=auto").unwrap().step, None);
        for bad in ["step=5m", "metrics=", "metrics=requests,x", "from=x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
