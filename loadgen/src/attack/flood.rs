//! The flood: REGISTER and OPTIONS without credentials from sources all over loopback, beside
//! honest phones that refresh. One run of those phones has both halves: first without the flood,
//! then with it; the second between them is left out.

use super::addresses::{any, honest};
use super::forge::{Forged, Method, domain};
use super::gun::{Gun, Pacer};
use super::options::AttackOptions;
use super::server::{Metrics, Server};
use crate::drive::Beside;
use crate::options::{Error, Options};
use crate::plan::{Nanos, SECOND};
use crate::record::Latencies;
use crate::report::microseconds;
use crate::roster::Roster;
use crate::run::{Outcome, Second, run_beside};
use crate::scenarios::Scenario;
use crate::socket::go_first;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// So many requests leave together, as a network card that gathers interrupts would bring them:
/// between two of these the thread looks at the honest, or sleeps.
const BURST: u64 = 32;
/// How long it may wait for its turn before it begins and after it has ended.
const IDLE: Nanos = SECOND / 1000;
/// A flood that reached less than this share of its rate has shown nothing.
const REACHED_MIN: f64 = 0.9;

/// What the honest met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloodFigures {
    /// Requests a second that the flood was meant to have.
    pub rate: f64,
    /// Those it had.
    pub rate_reached: f64,
    /// Requests it sent.
    pub sent: u64,
    /// Requests that the kernel did not take.
    pub refused: u64,
    /// Of these, those that were answered.
    pub answered: u64,
    /// How long it was, seconds.
    pub seconds: f64,
    /// Refreshes a second of the honest without it.
    pub honest_rate_without: f64,
    /// And with it.
    pub honest_rate_with: f64,
    /// Their p50 without it, microseconds from the intended send.
    pub p50_us_without: f64,
    /// And with it.
    pub p50_us_with: f64,
    /// Their p99 without it.
    pub p99_us_without: f64,
    /// And with it.
    pub p99_us_with: f64,
    /// The one over the other; 0 where nothing was answered.
    pub p99_ratio: f64,
    /// What it may be.
    pub p99_ratio_max: f64,
    /// Honest requests that were lost after all retransmissions.
    pub lost: u64,
    /// Honest requests that were sent again.
    pub retransmissions: u64,
    /// What the server did not answer, by reason, where it was asked.
    pub not_answered: BTreeMap<String, u64>,
    /// Datagrams that the server's full socket queues dropped, where it was asked.
    pub kernel_drops: u64,
}

impl FloodFigures {
    /// What did not hold.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.rate_reached < self.rate * REACHED_MIN {
            all.push(format!(
                "the flood reached {:.0} of {:.0} requests a second",
                self.rate_reached, self.rate
            ));
        }
        if self.p99_ratio > self.p99_ratio_max || self.p99_us_with == 0.0 {
            all.push(format!(
                "the honest p99 went from {:.0} us to {:.0} us, {:.2} times (at most {:.2})",
                self.p99_us_without, self.p99_us_with, self.p99_ratio, self.p99_ratio_max
            ));
        }
        if self.lost > 0 {
            all.push(format!("{} honest requests were lost", self.lost));
        }
        all
    }
}

/// Runs it. Returns what the honest measured beside the figures.
pub(super) fn run(
    options: &AttackOptions,
    server: &Server,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<(FloodFigures, Outcome), Error> {
    let target = options.remote()?;
    let half = options.run.duration.as_secs() + u64::from(options.run.duration.subsec_nanos() > 0);
    let begin = AtomicBool::new(false);
    let before = server.metrics()?;
    let (report, fired) = channel();
    // To the end of the second half: what was asked before is waited for in peace.
    let most = Duration::from_secs(half + 1);
    let (roster, rate) = (&options.run.roster, options.flood_rate);
    let flood = Flood { begin: &begin, most, roster, rate, report };
    let honest = honest_run(options, half);
    let outcome = run_beside(&honest, stop, Some(flood.beside(target)), &mut |seen| {
        let second = seen.elapsed.as_secs();
        let under_way = !seen.warming && second >= half;
        if under_way {
            begin.store(true, Ordering::Release);
        }
        progress(&format!(
            "{second:>4} s  honest: {} requests/s, p99 {:.0} us, lost {}{}",
            seen.requests_per_second,
            seen.latency_us.1,
            seen.tally.lost,
            if under_way && second <= 2 * half + 1 { "   FLOOD" } else { "" }
        ));
    })?;
    let Fired { sent, refused, answered, seconds } = fired.recv().map_err(|_| Error::Thread)??;
    let after = server.metrics()?;
    let half = half as usize;
    // The first second is that of cold caches, the one after the first half that of the beginning.
    let warm = usize::from(half > 1);
    let without = Half::of(outcome.timeline.get(warm..half).unwrap_or_default());
    let with = Half::of(outcome.timeline.get(half + 1..).unwrap_or_default());
    let (_, p99_without) = without.quantiles();
    let (_, p99_with) = with.quantiles();
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let figures = FloodFigures {
        rate: options.flood_rate,
        rate_reached: sent as f64 / f64::max(seconds, 1e-9),
        sent,
        refused,
        answered,
        seconds,
        honest_rate_without: without.rate(),
        honest_rate_with: with.rate(),
        p50_us_without: without.quantiles().0,
        p50_us_with: with.quantiles().0,
        p99_us_without: p99_without,
        p99_us_with: p99_with,
        p99_ratio: if p99_without > 0.0 { p99_with / p99_without } else { 0.0 },
        p99_ratio_max: options.p99_ratio_max,
        lost: outcome.tally.lost,
        retransmissions: outcome.tally.retransmissions,
        not_answered: not_answered(&before, &after),
        kernel_drops: after.since(&before, "aorta_reactor_kernel_drops_total"),
    };
    Ok((figures, outcome))
}

/// What the server did not answer between two looks, by reason.
pub(super) fn not_answered(before: &Metrics, after: &Metrics) -> BTreeMap<String, u64> {
    after.grown(before, "aorta_not_answered_total")
}

/// The honest phones: each line has an address of its own.
fn honest_run(options: &AttackOptions, half: u64) -> Options {
    let mut run = options.run.clone();
    run.scenario = Scenario::REFRESH;
    // Those behind one address come in no order: in order they would be a scanner's walk.
    run.roster = run.roster.shuffled();
    run.duration = Duration::from_secs(2 * half + 1);
    let lines = (run.threads * run.sockets) as u32;
    run.sources = (0..lines).map(|line| honest(line).into()).collect();
    run
}

/// The flood as it is to be.
struct Flood<'a> {
    begin: &'a AtomicBool,
    most: Duration,
    roster: &'a Roster,
    rate: f64,
    report: Sender<Result<Fired, Error>>,
}

/// What became of it.
struct Fired {
    sent: u64,
    refused: u64,
    answered: u64,
    seconds: f64,
}

impl<'a> Flood<'a> {
    /// A part of the honest phones' thread: with threads of its own it would take the CPU from
    /// them, or from the server, where there are but two.
    fn beside(self, target: SocketAddrV4) -> Beside<'a> {
        Box::new(move || match Gun::deaf(target) {
            Ok(gun) => {
                go_first();
                let mut flooding = Flooding { flood: self, gun, pacer: None, number: 0 };
                Box::new(move || flooding.turn())
            }
            Err(error) => {
                // Who waits for it is there until the end.
                let _ = self.report.send(Err(error));
                Box::new(|| IDLE)
            }
        })
    }
}

/// The flood under way. What became of it is told when it is dropped.
struct Flooding<'a> {
    flood: Flood<'a>,
    gun: Gun,
    /// None before it begins.
    pacer: Option<Pacer>,
    number: u32,
}

impl Flooding<'_> {
    /// Sends what is due, within a burst. Returns how long nothing will be, nanoseconds.
    fn turn(&mut self) -> Nanos {
        let Some(pacer) = &mut self.pacer else {
            if self.flood.begin.load(Ordering::Acquire) {
                self.pacer = Some(Pacer::new(self.flood.rate));
            }
            return IDLE;
        };
        let is_over = pacer.elapsed() >= crate::run::nanos(self.flood.most);
        if is_over || pacer.is_stopped() {
            pacer.stop();
            return IDLE;
        }
        let pause = pacer.pause(BURST);
        if pause > 0 {
            return pause;
        }
        let due = pacer.take(BURST);
        for _ in 0..due {
            let number = self.number;
            let method = if number.is_multiple_of(2) { Method::Register } else { Method::Options };
            send(&mut self.gun, self.flood.roster, method, number);
            self.number = number.wrapping_add(1);
        }
        self.gun.flush();
        pacer.pause(BURST)
    }
}

impl Drop for Flooding<'_> {
    fn drop(&mut self) {
        let nanos = self.pacer.as_ref().map_or(0, Pacer::elapsed);
        let (sent, refused) = (self.gun.sent, self.gun.refused);
        let fired =
            Fired { sent, refused, answered: self.gun.answered(), seconds: nanos as f64 / 1e9 };
        // Nobody may be left who wants to know.
        let _ = self.flood.report.send(Ok(fired));
    }
}

/// Sends request `number`, from another source each time, for accounts in no order.
pub(super) fn send(gun: &mut Gun, roster: &Roster, method: Method, number: u32) {
    let account = number.wrapping_mul(0x9e37_79b1) % roster.len();
    gun.send(any(number), |room| {
        let request = Forged {
            method,
            domain: domain(roster, account),
            user: roster.user(account),
            agent: b"Linphone/5.2",
            from: None,
            call: b"flood-",
            number,
            cseq: 1,
            credentials: None,
        };
        request.write(room)
    });
}

/// Some seconds of the honest together.
struct Half {
    latencies: Latencies,
    seconds: f64,
}

impl Half {
    fn of(seconds: &[Second]) -> Half {
        let mut latencies = Latencies::default();
        seconds.iter().for_each(|second| latencies.add(&second.latencies));
        let length = seconds.iter().map(|second| second.length.as_secs_f64()).sum();
        Half { latencies, seconds: length }
    }

    /// p50 and p99, microseconds from the intended send.
    fn quantiles(&self) -> (f64, f64) {
        let corrected = &self.latencies.corrected;
        (microseconds(corrected, 0.5), microseconds(corrected, 0.99))
    }

    fn rate(&self) -> f64 {
        self.latencies.corrected.len() as f64 / self.seconds.max(1e-9)
    }
}
