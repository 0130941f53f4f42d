//! What is made of an attack: a table to read, a summary for machines, files. Nothing here
//! measures.

use super::blocked::BlockedFigures;
use super::crowd::{FailureFigures, Memory, SourceFigures};
use super::flood::FloodFigures;
use super::guess::GuessFigures;
use super::run::AttackOutcome;
use super::scan::ScanFigures;
use crate::report::hdr;
use crate::report::summary::Summary;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;

/// An attack in figures; `summary.json` and `--json`. What every scenario has is that of the honest
/// phones, in all phases that had some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackSummary {
    /// What every scenario has.
    #[serde(flatten)]
    pub run: Summary,
    /// What the attack has shown.
    pub attack: AttackFigures,
}

/// What an attack has shown; nothing of phases that were not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackFigures {
    /// The flood.
    pub flood: Option<FloodFigures>,
    /// The guesses.
    pub guess: Option<GuessFigures>,
    /// The scans.
    pub scan: Option<ScanFigures>,
    /// Many sources.
    pub sources: Option<SourceFigures>,
    /// Many failures.
    pub failures: Option<FailureFigures>,
    /// A blocked source.
    pub blocked: Option<BlockedFigures>,
    /// What did not hold, a sentence each.
    pub failed: Vec<String>,
}

impl AttackSummary {
    /// All of it as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and maps of texts have a JSON form")
    }
}

impl From<&AttackOutcome> for AttackSummary {
    fn from(outcome: &AttackOutcome) -> Self {
        AttackSummary {
            run: Summary::from(&outcome.run),
            attack: AttackFigures {
                flood: outcome.flood.clone(),
                guess: outcome.guess.clone(),
                scan: outcome.scan.clone(),
                sources: outcome.sources.clone(),
                failures: outcome.failures.clone(),
                blocked: outcome.blocked.clone(),
                failed: outcome.failed(),
            },
        }
    }
}

/// Writes `summary.json`, `latency.hgrm` (the honest) and `report.html` into a directory, which is
/// made if it is not there.
pub fn write_files(outcome: &AttackOutcome, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(directory.join(name), bytes);
    let mut summary = serde_json::to_vec_pretty(&AttackSummary::from(outcome))?;
    summary.push(b'\n');
    write("summary.json", summary)?;
    write("latency.hgrm", hdr::percentiles(&outcome.run.latencies.corrected).into_bytes())?;
    write("report.html", super::page::page(outcome).into_bytes())
}

/// The attack as a table for a terminal.
pub fn table(outcome: &AttackOutcome) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = render(&mut out, outcome);
    out
}

fn render(out: &mut String, outcome: &AttackOutcome) -> fmt::Result {
    let run = &outcome.run;
    writeln!(out, "attack against {}: {:.1} s", run.target, run.seconds)?;
    if run.interrupted {
        writeln!(out, "  INTERRUPTED")?;
    }
    for (name, lines) in sections(outcome) {
        writeln!(out, "\n  {name}")?;
        for (what, value) in lines {
            writeln!(out, "    {what:<44}{value}")?;
        }
    }
    let failed = outcome.failed();
    out.push('\n');
    for sentence in &failed {
        writeln!(out, "  {sentence}")?;
    }
    for sample in &run.samples {
        writeln!(out, "  --- {}: {} ({})", sample.user, sample.why, sample.asked)?;
        for line in sample.answer.lines() {
            writeln!(out, "      {}", line.escape_debug())?;
        }
    }
    writeln!(out, "  {}", if failed.is_empty() { "everything held: ok" } else { "FAILED" })
}

/// What there is to say of each phase: what, and how much.
type Section = (&'static str, Vec<(String, String)>);

pub(super) fn sections(outcome: &AttackOutcome) -> Vec<Section> {
    let mut all = Vec::new();
    all.extend(outcome.flood.as_ref().map(of_flood));
    all.extend(outcome.guess.as_ref().map(of_guess));
    all.extend(outcome.scan.as_ref().map(of_scan));
    all.extend(outcome.sources.as_ref().map(of_sources));
    all.extend(outcome.failures.as_ref().map(of_failures));
    all.extend(outcome.blocked.as_ref().map(of_blocked));
    all
}

fn line(what: &str, value: impl fmt::Display) -> (String, String) {
    (what.to_owned(), value.to_string())
}

fn by_reason(reasons: &BTreeMap<String, u64>) -> Option<(String, String)> {
    let each = reasons.iter().map(|(reason, count)| format!("{reason} {count}"));
    let text = each.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then(|| line("not answered, by the server's count", text))
}

fn of_flood(flood: &FloodFigures) -> Section {
    let mut lines = vec![
        line(
            "requests without credentials",
            format!("{} in {:.1} s, {:.0}/s", flood.sent, flood.seconds, flood.rate_reached),
        ),
        line("of these answered", flood.answered),
        line(
            "honest refreshes without and with it",
            format!("{:.0}/s, {:.0}/s", flood.honest_rate_without, flood.honest_rate_with),
        ),
        line("their p50", format!("{:.0} us, {:.0} us", flood.p50_us_without, flood.p50_us_with)),
        line(
            "their p99",
            format!(
                "{:.0} us, {:.0} us: {:.2} times, at most {:.2}",
                flood.p99_us_without, flood.p99_us_with, flood.p99_ratio, flood.p99_ratio_max
            ),
        ),
        line("lost, sent again", format!("{}, {}", flood.lost, flood.retransmissions)),
    ];
    if flood.kernel_drops > 0 {
        lines.push(line("dropped by the server's full sockets", flood.kernel_drops));
    }
    lines.extend(by_reason(&flood.not_answered));
    ("flood beside honest refreshes", lines)
}

fn of_guess(guess: &GuessFigures) -> Section {
    let mut lines = vec![
        line(
            "accounts, passwords, sources",
            format!("{}, {}, {}", guess.accounts, guess.passwords, guess.guessers),
        ),
        line("guesses sent", format!("{} in {:.1} s", guess.guesses, guess.seconds)),
        line("not sent, for want of a challenge", guess.shut_out),
        line("checked", format!("{}, at most {}", guess.checked, guess.checked_max)),
    ];
    lines.extend(
        guess.checked_by_server.map(|checked| line("checked, by the server's count", checked)),
    );
    lines.extend([
        line(
            "refused, unanswered, stale",
            format!("{}, {}, {}", guess.refused, guess.unanswered, guess.stale),
        ),
        line("accounts opened", guess.cracked),
        line(
            "owners registered meanwhile, failed",
            format!("{}, {}", guess.owners_registered, guess.owners_failed),
        ),
    ]);
    ("brute force", lines)
}

fn of_scan(scan: &ScanFigures) -> Section {
    let all = scan.kits.iter().map(|(name, kit)| (name.as_str(), kit));
    let more = [("a walk through numbers", &scan.walk), ("somebody harmless", &scan.harmless)];
    let mut lines: Vec<_> = all
        .chain(more)
        .map(|(name, kit)| line(name, format!("{} of {} answered", kit.answered, kit.sent)))
        .collect();
    lines.extend(by_reason(&scan.not_answered));
    ("scanners", lines)
}

fn memory(memory: Memory) -> Option<(String, String)> {
    let Memory { early, end, growth_max } = memory;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    (early > 0).then(|| {
        let value = format!(
            "{:.1} MiB, {:.1} MiB: {:+.1} MiB, at most {:.1}",
            mib(early),
            mib(end),
            mib(end) - mib(early),
            mib(growth_max)
        );
        line("memory after a tenth, at the end", value)
    })
}

fn of_sources(sources: &SourceFigures) -> Section {
    let seconds = sources.milliseconds as f64 / 1000.0;
    let mut lines = vec![
        line("different sources", format!("{} in {seconds:.1} s", sources.sources)),
        line("answered", sources.answered),
    ];
    lines.extend(memory(sources.memory));
    ("many sources", lines)
}

fn of_failures(failures: &FailureFigures) -> Section {
    let seconds = failures.milliseconds as f64 / 1000.0;
    let mut lines = vec![
        line("begun, challenged", format!("{}, {}", failures.begun, failures.challenged)),
        line(
            "failed, of these for no account",
            format!("{}, {} in {seconds:.1} s", failures.failed, failures.unknown),
        ),
    ];
    lines.extend(
        failures.counted_by_server.map(|count| line("failed, by the server's count", count)),
    );
    lines.extend(memory(failures.memory));
    ("failed authentications", lines)
}

fn of_blocked(blocked: &BlockedFigures) -> Section {
    let mut lines = vec![
        line(
            "datagrams sent, dropped by the server",
            format!("{}, {}", blocked.sent, blocked.dropped),
        ),
        line("answered", blocked.answered),
    ];
    let bare = format!("{:.0} ns", blocked.bare_ns);
    lines.push(match blocked.server_ns {
        Some(server) => line(
            "CPU for each, and in a bare loop",
            format!("{server:.0} ns, {bare}: at most {:.0} ns more", blocked.ns_max),
        ),
        None => line("CPU for each in a bare loop", bare),
    });
    ("a blocked source", lines)
}
