//! What is made of a run behind NATs: a table to read, a summary for machines, files. Nothing here
//! measures.

use super::figures::{BUCKET, OfKind};
use super::gateways::Kind;
use super::run::{NatOutcome, NatProgress};
use crate::plan::{Nanos, SECOND};
use crate::report::summary::Summary;
use crate::report::{hdr, keepalives};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Writes `summary.json`, `gaps.hgrm` (time between packets, milliseconds), `pings.csv` (pings in
/// each 10 ms), `latency.hgrm`, `registration.hgrm` and `report.html` into a directory, which is
/// made if it is not there.
pub fn write_files(outcome: &NatOutcome, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(directory.join(name), bytes);
    let mut summary = serde_json::to_vec_pretty(&NatSummary::from(outcome))?;
    summary.push(b'\n');
    write("summary.json", summary)?;
    write("gaps.hgrm", hdr::percentiles(&outcome.figures.gaps).into_bytes())?;
    write("latency.hgrm", hdr::percentiles(&outcome.run.latencies.corrected).into_bytes())?;
    write("registration.hgrm", hdr::percentiles(&outcome.run.latencies.registration).into_bytes())?;
    let mut pings = "second,pings\n".to_owned();
    for (number, count) in outcome.figures.buckets.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(pings, "{:.2},{count}", seconds(number as Nanos * BUCKET));
    }
    write("pings.csv", pings.into_bytes())?;
    write("report.html", super::page::page(outcome).into_bytes())
}

/// The run as a table for a terminal.
pub fn table(outcome: &NatOutcome) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = render(&mut out, outcome);
    out
}

fn render(out: &mut String, outcome: &NatOutcome) -> std::fmt::Result {
    let (run, figures) = (&outcome.run, &outcome.figures);
    let (tally, sum) = (&run.tally, figures.sum());
    writeln!(
        out,
        "nat against {}: {} phones, {} behind each NAT, pinholes close after {:?}, {} thread(s)",
        run.target, run.users, outcome.phones, outcome.timeout, run.threads
    )?;
    if run.interrupted {
        writeln!(out, "  INTERRUPTED, {} requests cut off", run.unfinished)?;
    }
    writeln!(
        out,
        "  registering {:.2} s, measured {:.2} s   registrations {}, of these refreshes {}",
        outcome.register_seconds, outcome.measured_seconds, tally.registrations, figures.refreshes
    )?;
    let statuses: Vec<_> =
        tally.statuses().map(|(status, count)| format!("{status}: {count}")).collect();
    writeln!(out, "  statuses  {}", statuses.join("   "))?;
    writeln!(
        out,
        "  sent {}   retransmissions {}   duplicates {}   stray {}",
        tally.sent, tally.retransmissions, tally.duplicates, tally.stray
    )?;
    writeln!(out, "  {}\n", keepalives(tally))?;
    let (mean, most) = figures.pings_per_bucket();
    writeln!(
        out,
        "  pings per 10 ms            mean {mean:.2}   max {most}   max/mean {:.3}",
        ratio(mean, most)
    )?;
    let gap = |quantile: f64| match figures.gaps.is_empty() {
        true => 0.0,
        false => seconds(figures.gaps.value_at_quantile(quantile)),
    };
    writeln!(
        out,
        "  seconds without a packet   p50 {:.3}   p99 {:.3}   max {:.3}   longer than {:?}: {}, by \
         at most {:.3}",
        gap(0.5),
        gap(0.99),
        gap(1.0),
        outcome.period,
        sum.late,
        seconds(sum.late_max)
    )?;
    writeln!(
        out,
        "\n  {:<28}{:>10}{:>12}{:>18}{:>14}{:>16}{:>16}",
        "NAT", "phones", "pings", "pinholes closed", "phones", "unreachable", "longest, s"
    )?;
    for kind in Kind::all() {
        let OfKind { phones, pings, closings, closed_phones, .. } = figures.kinds[kind.index()];
        let OfKind { unreachable, unreachable_max, .. } = figures.kinds[kind.index()];
        if phones > 0 {
            writeln!(
                out,
                "  {:<28}{phones:>10}{pings:>12}{closings:>18}{closed_phones:>14}\
                 {unreachable:>16}{:>16.3}{}",
                kind.to_string(),
                seconds(unreachable_max),
                if outcome.should_hold(kind) { "" } else { "   (cannot be held so)" }
            )?;
        }
    }
    for (count, what) in [
        (sum.met_closed, "packets of the server met a closed pinhole"),
        (sum.filtered, "packets of another sender that a symmetric NAT kept out"),
        (figures.to_nobody, "packets of the server to an outside port that is nobody's"),
        (figures.strangers, "packets of strangers to outside ports"),
        (figures.unregistered, "phones not registered at the end"),
        (figures.queue_drops, "datagrams DROPPED BY THE GENERATOR'S OWN QUEUES: not the server's"),
        (tally.send_errors, "datagrams that the kernel did not take"),
    ] {
        if count > 0 {
            writeln!(out, "  {count} {what}")?;
        }
    }
    writeln!(out, "  generator CPU {:.2} s", run.cpu_seconds)?;
    for (why, count) in tally.reasons() {
        writeln!(out, "  wrong: {count} x {why}")?;
    }
    for sample in &run.samples {
        writeln!(out, "  --- {}: {} ({})", sample.user, sample.why, sample.asked)?;
        for line in sample.answer.lines() {
            writeln!(out, "      {}", line.escape_debug())?;
        }
    }
    writeln!(
        out,
        "  lost {}   wrong {}   late {}   could not be called {}   {}",
        tally.lost,
        tally.wrong,
        tally.late,
        outcome.failed_to_hold(),
        if outcome.is_clean() { "ok" } else { "FAILED" }
    )
}

/// How a run goes, as one line.
pub fn progress(progress: &NatProgress) -> String {
    let at = match progress.measured {
        Some(measured) => format!("{:>4} s", measured.as_secs()),
        None => format!("registering {} of {}", progress.begun, progress.users),
    };
    format!(
        "{at}  registrations {}  {:>7} pings/s  pinholes closed {}  unreachable {}  lost or \
         wrong {}",
        progress.registrations,
        progress.pings_per_second,
        progress.closings,
        progress.unreachable,
        progress.failed
    )
}

/// A run behind NATs in figures; `summary.json` and `--json`. What every scenario has is beside
/// `nat`, over the whole time from the first REGISTER on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NatSummary {
    /// What every scenario has.
    #[serde(flatten)]
    pub run: Summary,
    /// What happened behind the NATs.
    pub nat: NatFigures,
}

/// What happened behind the NATs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NatFigures {
    /// Seconds until every phone had had its first try.
    pub register_seconds: f64,
    /// Seconds in which pings were counted by 10 ms.
    pub measured_seconds: f64,
    /// Seconds that pinholes stay open.
    pub nat_timeout_seconds: f64,
    /// The server's period, seconds.
    pub period_seconds: f64,
    /// Phones behind one NAT.
    pub phones_per_nat: u32,
    /// Whether phones answer OPTIONS.
    pub answer: bool,
    /// Registrations that were refreshed.
    pub refreshes: u64,
    /// Mean of the pings in 10 ms.
    pub pings_per_10ms_mean: f64,
    /// Most of them.
    pub pings_per_10ms_max: u32,
    /// The one over the other; 0 without pings.
    pub pings_max_over_mean: f64,
    /// Median of the time that a pinhole went without a packet, seconds.
    pub gap_seconds_p50: f64,
    /// 99 %.
    pub gap_seconds_p99: f64,
    /// The longest.
    pub gap_seconds_max: f64,
    /// Registrations that could not have been called at some moment, though they should have.
    pub failed_to_hold: u64,
    /// Phones that were not registered at the end.
    pub unregistered: u64,
    /// Packets of the server to an outside address and port that are nobody's.
    pub to_nobody: u64,
    /// The same of anybody else.
    pub strangers: u64,
    /// Datagrams that the generator's own queues dropped.
    pub queue_drops: u64,
    /// All kinds together.
    pub all: KindFigures,
    /// By kind, those that there were: mapping/refresh/ports.
    pub kinds: BTreeMap<String, KindFigures>,
}

/// What happened behind the NATs of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KindFigures {
    /// Phones behind them.
    pub phones: u64,
    /// Keepalives and requests of the server that came.
    pub pings: u64,
    /// Packets of the server that met a closed pinhole.
    pub met_closed: u64,
    /// Packets of another sender that were kept out.
    pub filtered: u64,
    /// Times a pinhole closed.
    pub closings: u64,
    /// Phones whose pinhole ever closed.
    pub closed_phones: u64,
    /// Registered phones that could not have been called at some moment.
    pub unreachable: u64,
    /// How long they could not, all together, seconds.
    pub unreachable_seconds: f64,
    /// The longest such time, seconds.
    pub unreachable_seconds_max: f64,
    /// Times a pinhole went longer than the period without a packet.
    pub late: u64,
    /// By how much at most, seconds.
    pub late_seconds_max: f64,
}

impl NatSummary {
    /// All of it as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and maps of texts have a JSON form")
    }
}

impl From<&OfKind> for KindFigures {
    fn from(of: &OfKind) -> Self {
        KindFigures {
            phones: of.phones,
            pings: of.pings,
            met_closed: of.met_closed,
            filtered: of.filtered,
            closings: of.closings,
            closed_phones: of.closed_phones,
            unreachable: of.unreachable,
            unreachable_seconds: seconds(of.unreachable_time),
            unreachable_seconds_max: seconds(of.unreachable_max),
            late: of.late,
            late_seconds_max: seconds(of.late_max),
        }
    }
}

impl From<&NatOutcome> for NatSummary {
    fn from(outcome: &NatOutcome) -> Self {
        let figures = &outcome.figures;
        let (mean, most) = figures.pings_per_bucket();
        let gap = |quantile: f64| match figures.gaps.is_empty() {
            true => 0.0,
            false => seconds(figures.gaps.value_at_quantile(quantile)),
        };
        let of_kind = |kind: Kind| (kind.to_string(), (&figures.kinds[kind.index()]).into());
        let there = |kind: &Kind| figures.kinds[kind.index()].phones > 0;
        NatSummary {
            run: Summary::from(&outcome.run),
            nat: NatFigures {
                register_seconds: outcome.register_seconds,
                measured_seconds: outcome.measured_seconds,
                nat_timeout_seconds: outcome.timeout.as_secs_f64(),
                period_seconds: outcome.period.as_secs_f64(),
                phones_per_nat: outcome.phones,
                answer: outcome.answer,
                refreshes: figures.refreshes,
                pings_per_10ms_mean: mean,
                pings_per_10ms_max: most,
                pings_max_over_mean: ratio(mean, most),
                gap_seconds_p50: gap(0.5),
                gap_seconds_p99: gap(0.99),
                gap_seconds_max: gap(1.0),
                failed_to_hold: outcome.failed_to_hold(),
                unregistered: figures.unregistered,
                to_nobody: figures.to_nobody,
                strangers: figures.strangers,
                queue_drops: figures.queue_drops,
                all: (&figures.sum()).into(),
                kinds: Kind::all().filter(there).map(of_kind).collect(),
            },
        }
    }
}

fn ratio(mean: f64, most: u32) -> f64 {
    if mean > 0.0 { f64::from(most) / mean } else { 0.0 }
}

fn seconds(time: Nanos) -> f64 {
    time as f64 / SECOND as f64
}
