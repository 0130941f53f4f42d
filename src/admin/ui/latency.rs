//! `/latency`: how long messages take, as a curve over percentiles with the tail drawn out, for
//! each stage at one shard or for each shard at one stage, and as a table beside it.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::super::api::Api;
use super::super::latency::times;
use super::super::problem::Problem;
use super::super::query::{Query, decimal};
use super::form::filled_in;
use super::shell::{Shell, page};
use super::words;
use crate::reactor::{ServiceTimes, Span};

/// Steps for each halving of the distance to 100 %.
const TICKS_PER_HALF: u32 = 4;
/// The curve ends where 99.9999 % are reached: six nines, as 1/(1-q) = 10^6.
const NINES_MAX: f64 = 6.0;

/// One line of the chart: how far out (nines: `log10(1 / (1 - q))`) and how long (nanoseconds).
#[derive(Serialize)]
struct Curve {
    name: String,
    nines: Vec<f64>,
    ns: Vec<u64>,
}

struct Line {
    name: String,
    count: String,
    mean: String,
    p50: String,
    p90: String,
    p99: String,
    p999: String,
    max: String,
}

/// One of several things to choose from.
struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "latency.html")]
struct Page {
    shell: Shell,
    curves: String,
    lines: Vec<Line>,
    /// What a line is.
    each: &'static str,
    windows: Vec<Choice>,
    splits: Vec<Choice>,
    shards: Vec<Choice>,
    stages: Vec<Choice>,
    by_shard: bool,
    over: String,
    batches: String,
    /// The distribution as a file.
    download: String,
}

/// `GET /latency`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["window", "by", "shard", "stage"])?;
    let (shard_times, window_s) = times(&api, &query)?;
    let by_shard = match query.value("by") {
        None | Some("stage") => false,
        Some("shard") => true,
        Some(_) => return Err(Problem::parameter("by", "by: expected stage or shard")),
    };
    let shard = shard(&query, api.shards.count())?;
    let stage = match query.value("stage") {
        None => Span::Whole,
        Some(name) => Span::from_name(name).ok_or_else(|| {
            let names = Span::ALL.map(Span::name).join(", ");
            Problem::parameter("stage", format!("stage: expected one of {names}"))
        })?,
    };
    let chosen: ServiceTimes = match shard {
        Some(one) => shard_times.get(usize::from(one)).cloned().unwrap_or_default(),
        None => shard_times.iter().sum(),
    };
    let named: Vec<(String, Histogram<u64>)> = if by_shard {
        let each = shard_times.iter().enumerate();
        each.map(|(number, times)| (format!("shard {number}"), times.of(stage))).collect()
    } else {
        Span::ALL.into_iter().map(|span| (span.name().to_owned(), chosen.of(span))).collect()
    };
    let curves: Vec<Curve> = named.iter().filter_map(|(name, times)| curve(name, times)).collect();
    let batches: u64 = match (by_shard, shard) {
        (false, Some(_)) => chosen.batches(),
        _ => shard_times.iter().map(ServiceTimes::batches).sum(),
    };
    let window = if window_s.is_some() { "last" } else { "" };
    page(&Page {
        shell,
        curves: serde_json::to_string(&curves).unwrap_or_default(),
        lines: named.iter().map(|(name, times)| line(name, times)).collect(),
        each: if by_shard { "Shard" } else { "Stage" },
        windows: choices(window, [("", "since the start"), ("last", "last 10 seconds")]),
        splits: choices(
            if by_shard { "shard" } else { "stage" },
            [("stage", "each stage"), ("shard", "each shard")],
        ),
        shards: shard_choices(shard, api.shards.count()),
        stages: choices(stage.name(), Span::ALL.map(|span| (span.name(), span.name()))),
        by_shard,
        over: window_s.map_or_else(|| "since the start".into(), |s| format!("in the last {s} s")),
        batches: words::count(batches),
        download: download(window_s.is_some(), by_shard, shard, stage),
    })
}

fn shard(query: &Query, count: u8) -> Result<Option<u8>, Problem> {
    let Some(text) = query.value("shard") else { return Ok(None) };
    match decimal::<u8>(text) {
        Some(shard) if shard < count => Ok(Some(shard)),
        _ => Err(Problem::parameter("shard", format!("shard: expected a number below {count}"))),
    }
}

fn choices<'a>(chosen: &str, list: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Choice> {
    let one = |(value, label): (&str, &str)| Choice {
        value: value.to_owned(),
        label: label.to_owned(),
        chosen: value == chosen,
    };
    list.into_iter().map(one).collect()
}

fn shard_choices(chosen: Option<u8>, count: u8) -> Vec<Choice> {
    let all = Choice { value: String::new(), label: "all".into(), chosen: chosen.is_none() };
    let one = |number: u8| Choice {
        value: number.to_string(),
        label: number.to_string(),
        chosen: chosen == Some(number),
    };
    std::iter::once(all).chain((0..count).map(one)).collect()
}

fn download(last: bool, by_shard: bool, shard: Option<u8>, stage: Span) -> String {
    let window = if last { "&window=last" } else { "" };
    let shard = match shard {
        Some(shard) if !by_shard => shard.to_string(),
        _ => "all".to_owned(),
    };
    format!("/api/v1/latency?format=hgrm&stage={}&shard={shard}{window}", stage.name())
}

/// Nothing where nothing was timed.
fn curve(name: &str, times: &Histogram<u64>) -> Option<Curve> {
    if times.is_empty() {
        return None;
    }
    let mut curve = Curve { name: name.to_owned(), nines: Vec::new(), ns: Vec::new() };
    // So many messages tell no more; there, the longest of them stands.
    let most = (times.len() as f64).log10().clamp(0.3, NINES_MAX);
    let thousandths = |nines: f64| (nines * 1000.0).round() / 1000.0;
    for step in times.iter_quantiles(TICKS_PER_HALF) {
        let nines = -(1.0 - step.quantile_iterated_to()).log10();
        if nines >= most {
            break;
        }
        curve.nines.push(thousandths(nines.max(0.0)));
        curve.ns.push(step.value_iterated_to().min(times.max()));
    }
    curve.nines.push(thousandths(most));
    curve.ns.push(times.max());
    Some(curve)
}

fn line(name: &str, times: &Histogram<u64>) -> Line {
    let at = |ns: u64| if times.is_empty() { "\u{2014}".to_owned() } else { words::nanos(ns) };
    let row = |quantile| at(times.value_at_quantile(quantile));
    Line {
        name: name.to_owned(),
        count: words::count(times.len()),
        mean: at(times.mean().round() as u64),
        p50: row(0.5),
        p90: row(0.9),
        p99: row(0.99),
        p999: row(0.999),
        max: at(times.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_to_the_longest_and_no_further_out_than_its_count() {
        let mut times = Histogram::new_with_bounds(1, 10_000_000_000, 2).unwrap();
        assert!(curve("none", &times).is_none());
        for (ns, count) in [(1_000, 900), (2_000, 99), (50_000, 1)] {
            times.record_n(ns, count).unwrap();
        }
        let Curve { nines, ns, .. } = curve("whole", &times).unwrap();
        assert_eq!(nines.len(), ns.len());
        assert!(nines.windows(2).all(|pair| pair[0] <= pair[1]) && nines[0] == 0.0);
        assert!(ns.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!((*ns.last().unwrap(), *nines.last().unwrap()), (times.max(), 3.0));
    }

    #[test]
    fn a_download_is_of_what_is_shown() {
        let of = |last, by, shard, stage| download(last, by, shard, stage);
        assert_eq!(
            of(true, false, Some(1), Span::Whole),
            "/api/v1/latency?format=hgrm&stage=whole&shard=1&window=last"
        );
        assert_eq!(
            of(false, true, Some(1), Span::Handoff),
            "/api/v1/latency?format=hgrm&stage=handoff&shard=all"
        );
    }
}
