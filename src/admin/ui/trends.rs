//! `/trends`: how many registrations there were and how much happened, over an hour to a year, as a
//! chart in which what was not measured is a gap, and as figures beside it.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::super::api::Api;
use super::super::problem::Problem;
use super::super::trends::{Series, TrendsAsked, trends};
use super::form::filled_in;
use super::shell::{Shell, page};
use super::words;
use crate::store::history::Metric;

/// A span to look back over.
struct Range {
    word: &'static str,
    label: &'static str,
    seconds: u64,
}

const fn range(word: &'static str, label: &'static str, seconds: u64) -> Range {
    Range { word, label, seconds }
}

const RANGES: [Range; 6] = [
    range("1h", "1 hour", 3_600),
    range("6h", "6 hours", 21_600),
    range("24h", "24 hours", 86_400),
    range("7d", "7 days", 604_800),
    range("30d", "30 days", 2_592_000),
    range("1y", "1 year", 31_536_000),
];

/// Metrics that are looked at together: all of one unit.
struct View {
    word: &'static str,
    label: &'static str,
    unit: Unit,
    metrics: &'static [Metric],
}

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Count,
    Rate,
    Ns,
    Bytes,
}

const VIEWS: [View; 7] = [
    View {
        word: "registrations",
        label: "Registrations",
        unit: Unit::Count,
        metrics: &[Metric::Registrations, Metric::Accounts, Metric::Connections],
    },
    View {
        word: "traffic",
        label: "Requests a second",
        unit: Unit::Rate,
        metrics: &[Metric::Requests, Metric::Registered, Metric::Refreshed, Metric::Challenged],
    },
    View {
        word: "leaving",
        label: "Leaving a second",
        unit: Unit::Rate,
        metrics: &[Metric::Unregistered, Metric::Expired, Metric::Replaced, Metric::Removed],
    },
    View {
        word: "failures",
        label: "Failures a second",
        unit: Unit::Rate,
        metrics: &[
            Metric::BadPassword,
            Metric::UnknownAccount,
            Metric::Refused,
            Metric::Overloaded,
            Metric::Dropped,
        ],
    },
    View {
        word: "protection",
        label: "Suspended and blocked",
        unit: Unit::Count,
        metrics: &[Metric::Suspensions, Metric::Blocked],
    },
    View {
        word: "latency",
        label: "Service time",
        unit: Unit::Ns,
        metrics: &[Metric::P50, Metric::P99],
    },
    View { word: "memory", label: "Memory", unit: Unit::Bytes, metrics: &[Metric::Memory] },
];

/// One line of the chart.
#[derive(Serialize)]
struct Curve<'a> {
    name: &'a str,
    values: &'a [Option<f64>],
}

#[derive(Serialize)]
struct Chart<'a> {
    unit: Unit,
    t: &'a [u64],
    series: Vec<Curve<'a>>,
}

/// The figures of one series.
struct Line {
    name: &'static str,
    about: &'static str,
    last: String,
    mean: String,
    least: String,
    most: String,
}

#[derive(Template)]
#[template(path = "trends.html")]
struct Page {
    shell: Shell,
    ranges: Vec<(&'static str, &'static str, bool)>,
    views: Vec<(&'static str, &'static str, bool)>,
    chart: String,
    label: &'static str,
    step: String,
    lines: Vec<Line>,
    cut_short: bool,
}

/// `GET /trends`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["range", "show"])?;
    let range = match query.value("range") {
        None => Some(&RANGES[0]),
        Some(word) => RANGES.iter().find(|range| range.word == word),
    };
    let range = range.ok_or_else(|| {
        let words = RANGES.map(|range| range.word).join(", ");
        Problem::parameter("range", format!("range: expected one of {words}"))
    })?;
    let view = match query.value("show") {
        None => Some(&VIEWS[0]),
        Some(word) => VIEWS.iter().find(|view| view.word == word),
    };
    let view = view.ok_or_else(|| {
        let words = VIEWS.map(|view| view.word).join(", ");
        Problem::parameter("show", format!("show: expected one of {words}"))
    })?;
    let from_s = words::now().0.saturating_sub(range.seconds);
    let asked = TrendsAsked {
        from_s: Some(from_s),
        to_s: None,
        step: None,
        metrics: view.metrics.to_vec(),
    };
    let found = trends(&api, asked).await?;
    let series = found.series.iter().map(|one| Curve { name: one.metric, values: &one.values });
    let chart = Chart { unit: view.unit, t: &found.t, series: series.collect() };
    let chart = if found.t.is_empty() {
        "[]".to_owned()
    } else {
        serde_json::to_string(&chart).unwrap_or_default()
    };
    page(&Page {
        shell,
        ranges: RANGES.iter().map(|one| (one.word, one.label, one.word == range.word)).collect(),
        views: VIEWS.iter().map(|one| (one.word, one.label, one.word == view.word)).collect(),
        chart,
        label: view.label,
        step: words::duration(found.step_s),
        lines: found.series.iter().map(|series| line(view.unit, series)).collect(),
        cut_short: found.cut_short,
    })
}

fn figure(unit: Unit, value: Option<f64>) -> String {
    let Some(value) = value else { return "\u{2014}".to_owned() };
    match unit {
        Unit::Count => words::count(value.round() as u64),
        Unit::Rate => words::rate(value),
        Unit::Ns => words::nanos(value.round() as u64),
        Unit::Bytes => format!("{:.1} MiB", value / 1_048_576.0),
    }
}

fn line(unit: Unit, series: &Series) -> Line {
    let known: Vec<f64> = series.values.iter().flatten().copied().collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    // Within a step a level was lower, and everything higher, than the mean of it.
    let low = if series.min.is_empty() { &series.values } else { &series.min };
    let high = if series.max.is_empty() { &series.values } else { &series.max };
    Line {
        name: series.metric,
        about: series.about.trim(),
        last: figure(unit, series.values.iter().rev().flatten().next().copied()),
        mean: figure(unit, mean),
        least: figure(unit, low.iter().flatten().copied().reduce(f64::min)),
        most: figure(unit, high.iter().flatten().copied().reduce(f64::max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_leave_gaps_out() {
        let series = Series {
            metric: "registrations",
            kind: "level",
            about: " Registrations there are.",
            values: vec![Some(10.0), None, Some(30.0), None],
            min: vec![Some(8.0), None, Some(30.0), None],
            max: vec![Some(12.0), None, Some(31.0), None],
        };
        let Line { last, mean, least, most, .. } = line(Unit::Count, &series);
        assert_eq!([last, mean, least, most], ["30", "20", "8", "31"]);
        let none = Series { values: vec![None], min: vec![], max: vec![], ..series };
        assert_eq!(line(Unit::Ns, &none).most, "\u{2014}");
    }
}
