//! A whole attack: its phases one after the other, in one run.

use super::blocked::{self, BlockedFigures};
use super::crowd::{self, FailureFigures, SourceFigures};
use super::flood::{self, FloodFigures};
use super::guess::{self, GuessFigures};
use super::options::{AttackOptions, Phase};
use super::scan::{self, ScanFigures};
use super::server::Server;
use crate::options::Error;
use crate::record::{Latencies, Tally};
use crate::run::Outcome;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

/// Everything an attack has shown. Of phases that were not run there is nothing.
#[derive(Debug, Clone)]
pub struct AttackOutcome {
    /// What the honest phones measured, in all phases that had some; its seconds one by one are
    /// those of the flood.
    pub run: Outcome,
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
}

impl AttackOutcome {
    /// What did not hold, a sentence each.
    pub fn failed(&self) -> Vec<String> {
        let tally = &self.run.tally;
        let mut all: Vec<String> = [
            self.flood.as_ref().map(FloodFigures::failures),
            self.guess.as_ref().map(GuessFigures::failures),
            self.scan.as_ref().map(ScanFigures::failures),
            self.sources.as_ref().map(SourceFigures::failures),
            self.failures.as_ref().map(FailureFigures::failures),
            self.blocked.as_ref().map(BlockedFigures::failures),
        ]
        .into_iter()
        .flatten()
        .flatten()
        .collect();
        if tally.wrong > 0 {
            all.push(format!("{} answers to honest phones were wrong", tally.wrong));
        }
        all
    }

    /// Whether everything held.
    pub fn is_clean(&self) -> bool {
        self.failed().is_empty()
    }
}

/// Runs an attack to its end, or until `stop` is raised. `progress` is told about once a second
/// how it goes.
pub fn run(
    options: &AttackOptions,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<AttackOutcome, Error> {
    options.check()?;
    let server =
        Server { admin: options.admin, token: options.admin_token.clone(), pid: options.pid };
    // What cannot be asked is told before anything is sent.
    server.metrics()?;
    if options.pid.is_some() && server.resident().is_none() {
        return Err(Error::Option("--pid names no process whose memory can be read".to_owned()));
    }
    let begun = Instant::now();
    let mut outcome = nothing(options);
    let is_due = |phase: Phase| options.phases.contains(&phase) && !stop.load(Ordering::Relaxed);
    if is_due(Phase::Flood) {
        let (figures, honest) = flood::run(options, &server, stop, progress)?;
        outcome.flood = Some(figures);
        outcome.run = Outcome { scenario: super::NAME, ..honest };
    }
    if is_due(Phase::Guess) {
        let (figures, owners) = guess::run(options, &server, stop, progress)?;
        outcome.guess = Some(figures);
        outcome.run.tally.add(&owners.tally);
        outcome.run.latencies.add(&owners.latencies);
        outcome.run.samples.extend(owners.samples);
        outcome.run.cpu_seconds += owners.cpu_seconds;
    }
    if is_due(Phase::Scan) {
        outcome.scan = Some(scan::run(options, &server, stop, progress)?);
    }
    if is_due(Phase::Sources) {
        outcome.sources = Some(crowd::sources(options, &server, stop, progress)?);
    }
    if is_due(Phase::Failures) {
        outcome.failures = Some(crowd::failures(options, &server, stop, progress)?);
    }
    if is_due(Phase::Blocked) {
        outcome.blocked = Some(blocked::run(options, &server, stop, progress)?);
    }
    outcome.run.seconds = begun.elapsed().as_secs_f64();
    outcome.run.interrupted = stop.load(Ordering::Relaxed);
    Ok(outcome)
}

fn nothing(options: &AttackOptions) -> AttackOutcome {
    let run = Outcome {
        scenario: super::NAME,
        target: options.run.target,
        users: options.run.roster.len(),
        pace: options.run.pace,
        threads: options.run.threads,
        loss_percent: 0.0,
        offload: false,
        started: SystemTime::now(),
        seconds: 0.0,
        last_registration_seconds: 0.0,
        tally: Tally::default(),
        latencies: Latencies::default(),
        timeline: Vec::new(),
        samples: Vec::new(),
        unfinished: 0,
        unsent: 0,
        interrupted: false,
        cpu_seconds: 0.0,
    };
    AttackOutcome {
        run,
        flood: None,
        guess: None,
        scan: None,
        sources: None,
        failures: None,
        blocked: None,
    }
}
