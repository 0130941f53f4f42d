//! The report as one page that needs nothing else: figures, the percentile curve, the run over
//! time. Drawn as SVG by `chart`, in the reader's light or dark colours.

use super::chart::{Axis, Chart, Series};
use super::summary::{Quantiles, Summary};
use super::{QUANTILES, microseconds};
use crate::run::{Outcome, Second};
use hdrhistogram::Histogram;
use std::fmt::{self, Write as _};

pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2430;--soft:#5b6676;--rule:#d9dee6;--paper:#fbfcfd;\
--a:#1565c0;--b:#d9730d;--c:#2e8b57;--bad:#b3261e;--good:#1b7f3b}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b4;--rule:#333c49;\
--paper:#14181e;--a:#64a8f0;--b:#f0a458;--c:#6cc793;--bad:#ff8a80;--good:#7bd694}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);\
max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
p{margin:.3rem 0}.soft{color:var(--soft)}.bad{color:var(--bad);font-weight:600}\
.good{color:var(--good);font-weight:600}table{border-collapse:collapse;\
font-variant-numeric:tabular-nums}th,td{padding:.25rem .8rem;text-align:right;\
border-bottom:1px solid var(--rule)}th:first-child,td:first-child{text-align:left}\
th{font-weight:600;color:var(--soft)}.wide{overflow-x:auto}\
svg{width:100%;min-width:36rem;height:auto}\
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}pre{overflow-x:auto;\
border:1px solid var(--rule);padding:.6rem;font-size:12px}";

/// The whole page.
pub fn page(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = render(&mut out, outcome);
    out
}

fn render(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let summary = Summary::from(outcome);
    let title = format!("{} against {}", escape(&summary.scenario), escape(&summary.target));
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>"
    )?;
    let (class, verdict) = match outcome.is_clean() {
        true => ("good", "nothing lost, nothing wrong"),
        false => ("bad", "FAILED"),
    };
    write!(
        out,
        "<p class=\"{class}\">{verdict}</p><p>{} users, {:.2} s, lost {}, wrong {}, late {}{}</p>",
        summary.users,
        summary.seconds,
        summary.lost,
        summary.wrong,
        summary.late,
        if summary.interrupted { ", interrupted" } else { "" }
    )?;
    figures(out, &summary)?;
    latency_table(out, &summary)?;

    let latencies = &outcome.latencies;
    out.push_str("<h2>Latency by percentile</h2>");
    Chart {
        x: Axis::Percentile,
        y: Axis::LogMicroseconds,
        series: vec![
            Series::new("from intended send", "var(--a)", percentile_points(&latencies.corrected)),
            Series::new("from actual send", "var(--b)", percentile_points(&latencies.uncorrected)),
            Series::new(
                "whole registration",
                "var(--c)",
                percentile_points(&latencies.registration),
            ),
        ],
    }
    .render(out)?;

    let per_second = |value: &dyn Fn(&Second) -> f64| -> Vec<(f64, f64)> {
        let seconds = outcome.timeline.iter().enumerate();
        seconds.map(|(number, second)| (number as f64 + 0.5, value(second))).collect()
    };
    out.push_str("<h2>Rate over time, per second</h2>");
    Chart {
        x: Axis::Seconds,
        y: Axis::Count,
        series: vec![
            Series::new(
                "requests",
                "var(--a)",
                per_second(&|second| second.rate(second.requests) as f64),
            ),
            Series::new(
                "registrations",
                "var(--c)",
                per_second(&|second| second.rate(second.registrations) as f64),
            ),
        ],
    }
    .render(out)?;
    out.push_str("<h2>Latency over time, from intended send</h2>");
    let quantile = |q: f64| latency_points(&outcome.timeline, q);
    Chart {
        x: Axis::Seconds,
        y: Axis::LogMicroseconds,
        series: vec![
            Series::new("p50", "var(--a)", quantile(0.5)),
            Series::new("p99", "var(--b)", quantile(0.99)),
            Series::new("max", "var(--c)", quantile(1.0)),
        ],
    }
    .render(out)?;

    if !outcome.samples.is_empty() {
        out.push_str("<h2>First wrong answers</h2>");
    }
    for sample in &outcome.samples {
        write!(
            out,
            "<p>{}: {} <span class=\"soft\">({})</span></p><pre>{}</pre>",
            escape(&sample.user),
            escape(&sample.why.to_string()),
            escape(&sample.asked),
            escape(&sample.answer)
        )?;
    }
    out.push_str("</body></html>\n");
    Ok(())
}

fn figures(out: &mut String, summary: &Summary) -> fmt::Result {
    out.push_str("<h2>Figures</h2><div class=\"wide\"><table>");
    let mut row = |name: &str, value: String| {
        write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(&value))
    };
    row("requests", format!("{} ({:.0}/s)", summary.requests, summary.requests_per_second))?;
    row(
        "registrations",
        format!("{} ({:.0}/s)", summary.registrations, summary.registrations_per_second),
    )?;
    for (status, count) in &summary.statuses {
        row(&format!("status {status}"), count.to_string())?;
    }
    for (why, count) in &summary.wrong_reasons {
        row(&format!("wrong: {why}"), count.to_string())?;
    }
    row("retransmissions", summary.retransmissions.to_string())?;
    if summary.loss_percent > 0.0 {
        row("loss by choice", format!("{} %", summary.loss_percent))?;
        row("retransmissions it explains", summary.retransmissions_explained.to_string())?;
    }
    row("duplicates", summary.duplicates.to_string())?;
    row("stray datagrams", summary.stray.to_string())?;
    let keepalives: u64 = summary.keepalives.values().sum();
    row("keepalives of the server", keepalives.to_string())?;
    if summary.scenario == "storm" {
        row("last registration", format!("{:.3} s", summary.last_registration_seconds))?;
        row("phones registered at the end", summary.registered.to_string())?;
        row("phones that gave up", summary.given_up.to_string())?;
    }
    row(
        "generator CPU",
        format!(
            "{:.2} s on {} thread(s), {:.2} us a request",
            summary.generator_cpu_seconds,
            summary.generator_threads,
            summary.generator_cpu_us_per_request
        ),
    )?;
    out.push_str("</table></div>");
    Ok(())
}

fn latency_table(out: &mut String, summary: &Summary) -> fmt::Result {
    out.push_str("<h2>Latency, us</h2><div class=\"wide\"><table><tr><th></th>");
    for (name, _) in QUANTILES {
        write!(out, "<th>{name}</th>")?;
    }
    out.push_str("</tr>");
    for (name, quantiles) in [
        ("request, from intended send", summary.latency_us),
        ("request, from actual send", summary.uncorrected_us),
        ("whole registration", summary.registration_us),
    ] {
        let Quantiles { p50, p90, p99, p999, p9999, max } = quantiles;
        write!(out, "<tr><td>{name}</td>")?;
        for value in [p50, p90, p99, p999, p9999, max] {
            write!(out, "<td>{value:.0}</td>")?;
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div>");
    Ok(())
}

/// Points of a percentile curve: nines (0 is the minimum, 1 is 90 %, 2 is 99 % ...) and
/// microseconds.
fn percentile_points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    // Beyond one in all that were measured the curve only repeats the maximum.
    let last = (histogram.len() as f64).log10().max(1.0);
    let steps = (last * 24.0).ceil() as u32;
    (0..=steps)
        .map(|step| {
            let nines = last * f64::from(step) / f64::from(steps);
            (nines, microseconds(histogram, 1.0 - 10f64.powf(-nines)))
        })
        .collect()
}

/// A quantile of each second's latencies. A second without an answer has none: a stall must not be
/// drawn as the best of all.
fn latency_points(timeline: &[Second], quantile: f64) -> Vec<(f64, f64)> {
    let seconds = timeline.iter().enumerate();
    seconds
        .map(|(number, second)| (number as f64 + 0.5, &second.latencies.corrected))
        .filter(|(_, latencies)| !latencies.is_empty())
        .map(|(middle, latencies)| (middle, microseconds(latencies, quantile)))
        .collect()
}

pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            '\r' => {}
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Latencies;
    use std::time::Duration;

    #[test]
    fn a_second_without_an_answer_has_no_point_on_the_latency_chart() {
        let second = |answers: u64| {
            let mut latencies = Latencies::default();
            latencies.corrected.record_n(2_000_000, answers).unwrap();
            let length = Duration::from_secs(1);
            Second { length, requests: answers, registrations: 0, latencies }
        };
        let points = latency_points(&[second(3), second(0), second(1)], 0.5);
        let middles: Vec<f64> = points.iter().map(|point| point.0).collect();
        assert_eq!(middles, [0.5, 2.5]);
        assert!(points.iter().all(|point| point.1 > 1900.0), "{points:?}");
    }
}
