//! What is made of a run's figures: a table to read, a summary for machines, histogram files
//! for HdrHistogram's tools, a page for people. Nothing here measures.

pub(crate) mod chart;
pub mod hdr;
pub mod html;
pub mod progress;
pub mod summary;

use crate::options::Pace;
use crate::record::Tally;
use crate::run::Outcome;
use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use summary::Summary;

/// The quantiles of every table, with their names.
pub const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// Makes the directory if it is not there and tries whether a file can be written in it, so that
/// a run whose files have nowhere to go is not begun.
pub fn prepare(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let probe = directory.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"x")?;
    std::fs::remove_file(probe)
}

/// Writes `summary.json`, `latency.hgrm`, `latency-uncorrected.hgrm`, `registration.hgrm`,
/// `latency.hlog` and `report.html` into a directory, which is made if it is not there.
pub fn write_files(outcome: &Outcome, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(directory.join(name), bytes);
    let latencies = &outcome.latencies;
    let mut summary = serde_json::to_vec_pretty(&Summary::from(outcome))?;
    summary.push(b'\n');
    write("summary.json", summary)?;
    write("latency.hgrm", hdr::percentiles(&latencies.corrected).into_bytes())?;
    write("latency-uncorrected.hgrm", hdr::percentiles(&latencies.uncorrected).into_bytes())?;
    write("registration.hgrm", hdr::percentiles(&latencies.registration).into_bytes())?;
    write("latency.hlog", hdr::interval_log(outcome)?)?;
    write("report.html", html::page(outcome).into_bytes())
}

/// The run as a table for a terminal.
pub fn table(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = render(&mut out, outcome);
    let _ = writeln!(
        out,
        "  lost {}   wrong {}   late {}   {}",
        tally.lost,
        tally.wrong,
        tally.late,
        if outcome.is_clean() { "ok" } else { "FAILED" }
    );
    out
}

fn render(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let tally = &outcome.tally;
    let pace = match outcome.pace {
        _ if outcome.scenario == "storm" => "everybody at once".to_owned(),
        Pace::Rate(rate) => format!("open loop, {rate} actions/s"),
        Pace::Window(window) => format!("closed loop, window {window}"),
    };
    writeln!(
        out,
        "{} against {}: {} users, {pace}, {} thread(s), offload {}",
        outcome.scenario,
        outcome.target,
        outcome.users,
        outcome.threads,
        if outcome.offload { "on" } else { "off" }
    )?;
    if outcome.interrupted {
        writeln!(out, "  INTERRUPTED, {} actions cut off", outcome.unfinished)?;
    }
    let rate = |count: u64| count as f64 / outcome.seconds.max(1e-9);
    writeln!(
        out,
        "  {:.2} s   requests {} ({:.0}/s)   registrations {} ({:.0}/s)",
        outcome.seconds,
        tally.requests,
        rate(tally.requests),
        tally.registrations,
        rate(tally.registrations)
    )?;
    if outcome.scenario == "storm" {
        writeln!(
            out,
            "  last registration after {:.3} s, {} of {} registered, {} gave up, {} times told to \
             come back later",
            outcome.last_registration_seconds,
            tally.registered,
            outcome.users,
            tally.given_up,
            tally.deferred
        )?;
    }
    if outcome.loss_percent > 0.0 {
        writeln!(
            out,
            "  loss of {} % by choice: {} requests and {} answers; it explains {} of {} \
             retransmissions",
            outcome.loss_percent,
            tally.requests_dropped,
            tally.answers_dropped,
            tally.retransmissions_explained,
            tally.retransmissions
        )?;
    }
    write!(out, "\n  {:<34}", "latency, us")?;
    for (name, _) in QUANTILES {
        write!(out, "{name:>10}")?;
    }
    out.push('\n');
    let latencies = &outcome.latencies;
    row(out, "request, from intended send", &latencies.corrected)?;
    row(out, "request, from actual send", &latencies.uncorrected)?;
    row(out, "whole registration", &latencies.registration)?;
    if outcome.loss_percent > 0.0 {
        row(out, "from its arrival to the answer", &latencies.answer)?;
    }
    out.push('\n');
    let statuses: Vec<_> =
        tally.statuses().map(|(status, count)| format!("{status}: {count}")).collect();
    writeln!(out, "  statuses  {}", statuses.join("   "))?;
    writeln!(
        out,
        "  sent {}   retransmissions {}   provisional {}   duplicates {}   stray {}",
        tally.sent, tally.retransmissions, tally.provisional, tally.duplicates, tally.stray
    )?;
    if tally.keepalives().any(|(_, count)| count > 0) {
        writeln!(out, "  {}", keepalives(tally))?;
    }
    for (count, what) in [
        (tally.send_errors, "datagrams that the kernel did not take"),
        (tally.unreachable, "times the target was reported unreachable (ICMP)"),
        (outcome.unsent, "planned sends that could not leave in time (more --users?)"),
        (tally.lost, "lost requests that no latency above accounts for"),
    ] {
        if count > 0 {
            writeln!(out, "  {count} {what}")?;
        }
    }
    write!(out, "  generator CPU {:.2} s", outcome.cpu_seconds)?;
    match outcome.cpu_us_per_request() {
        Some(cpu) => writeln!(out, ", {cpu:.2} us a request")?,
        None => out.push('\n'),
    }
    for (why, count) in tally.reasons() {
        writeln!(out, "  wrong: {count} x {why}")?;
    }
    for sample in &outcome.samples {
        writeln!(out, "  --- {}: {} ({})", sample.user, sample.why, sample.asked)?;
        for line in sample.answer.lines() {
            writeln!(out, "      {}", line.escape_debug())?;
        }
    }
    Ok(())
}

fn row(out: &mut String, name: &str, histogram: &Histogram<u64>) -> std::fmt::Result {
    write!(out, "  {name:<34}")?;
    if histogram.is_empty() {
        return writeln!(out, "{:>10}", "-");
    }
    for (_, quantile) in QUANTILES {
        write!(out, "{:>10.0}", microseconds(histogram, quantile))?;
    }
    writeln!(out)
}

/// The server's keepalives by form, and what was answered.
pub(crate) fn keepalives(tally: &Tally) -> String {
    let counted = tally.keepalives().map(|(form, count)| format!("{}: {count}", form.key()));
    let forms = counted.collect::<Vec<_>>().join("   ");
    format!("keepalives of the server  {forms}   OPTIONS answered: {}", tally.options_answered)
}

/// A quantile in microseconds; 0 for an empty histogram.
pub fn microseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() {
        return 0.0;
    }
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}
