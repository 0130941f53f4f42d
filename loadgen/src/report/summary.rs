//! The summary for machines. Its field names are a contract with scripts: they may be added to,
//! never changed.

use super::microseconds;
use crate::options::Pace;
use crate::run::Outcome;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

/// A run in figures; `summary.json` and `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// Address and port of the registrar.
    pub target: String,
    /// Accounts.
    pub users: u32,
    /// Actions a second that were planned, in the open loop.
    pub rate: Option<f64>,
    /// Actions kept under way, in the closed loop.
    pub window: Option<u32>,
    /// When the first request that counts could leave, seconds since 1970 by the system's clock; a
    /// warm-up is over then.
    #[serde(default)]
    pub started_unix_seconds: f64,
    /// What the rates are over: to the last answer, at least the time asked for.
    pub seconds: f64,
    /// Requests that got a final answer in time.
    pub requests: u64,
    /// Their rate.
    pub requests_per_second: f64,
    /// Registrations and refreshes granted.
    pub registrations: u64,
    /// Their rate.
    pub registrations_per_second: f64,
    /// Requests without a final answer within the timeout, those of a warm-up included.
    pub lost: u64,
    /// Answers that are not what the scenario expects, those of a warm-up included.
    pub wrong: u64,
    /// Lost ones that were answered after all.
    pub late: u64,
    /// Final answers by status code.
    pub statuses: BTreeMap<String, u64>,
    /// Wrong answers by reason.
    pub wrong_reasons: BTreeMap<String, u64>,
    /// Requests, from the intended send.
    pub latency_us: Quantiles,
    /// Requests, from the actual send.
    pub uncorrected_us: Quantiles,
    /// Registrations, from the intended send of the first request.
    pub registration_us: Quantiles,
    /// From the first datagram of a request that was not lost by choice to its answer.
    pub answer_us: Quantiles,
    /// Requests sent, retransmissions not counted.
    pub sent: u64,
    /// Requests sent again.
    pub retransmissions: u64,
    /// Those of them that loss by choice explains.
    pub retransmissions_explained: u64,
    /// Percent of the datagrams of each direction that were to be lost by choice.
    pub loss_percent: f64,
    /// Requests that were.
    pub requests_dropped: u64,
    /// Answers that were.
    pub answers_dropped: u64,
    /// Phones registered at the end.
    pub registered: u64,
    /// Further final answers to a request.
    pub duplicates: u64,
    /// Datagrams that answer nothing that was asked and are no keepalive.
    pub stray: u64,
    /// Keepalives that the server sent, by form: raw, crlf, stun, options.
    pub keepalives: BTreeMap<String, u64>,
    /// OPTIONS of the server that got their 200.
    pub options_answered: u64,
    /// Planned sends that never left in time.
    pub unsent: u64,
    /// Datagrams that the kernel did not take.
    pub send_errors: u64,
    /// ICMP errors.
    pub unreachable: u64,
    /// Seconds from the start to the last registration.
    pub last_registration_seconds: f64,
    /// Phones that ended a storm unregistered.
    pub given_up: u64,
    /// Times a phone was sent away by 503 with Retry-After.
    pub deferred: u64,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// Threads of the generator.
    pub generator_threads: usize,
    /// Whether requests and answers of one socket could travel as one message.
    pub offload: bool,
    /// Their CPU time.
    pub generator_cpu_seconds: f64,
    /// The same for each answered request, microseconds; 0 without answers.
    pub generator_cpu_us_per_request: f64,
}

impl Summary {
    /// All of it as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and maps of texts have a JSON form")
    }
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// 99.99 %.
    pub p9999: f64,
    /// All.
    pub max: f64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| microseconds(histogram, quantile);
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: at(1.0),
        }
    }
}

impl From<&Outcome> for Summary {
    fn from(outcome: &Outcome) -> Self {
        let tally = &outcome.tally;
        let (planned, window) = match outcome.pace {
            _ if outcome.scenario == "storm" => (None, None),
            Pace::Rate(rate) => (Some(rate), None),
            Pace::Window(window) => (None, Some(window)),
        };
        let rate = |count: u64| round(count as f64 / outcome.seconds.max(1e-9), 10.0);
        Summary {
            scenario: outcome.scenario.to_owned(),
            target: outcome.target.to_string(),
            users: outcome.users,
            rate: planned,
            window,
            started_unix_seconds: round(
                outcome.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
                1e6,
            ),
            seconds: round(outcome.seconds, 1e6),
            requests: tally.requests,
            requests_per_second: rate(tally.requests),
            registrations: tally.registrations,
            registrations_per_second: rate(tally.registrations),
            lost: tally.lost,
            wrong: tally.wrong,
            late: tally.late,
            statuses: tally.statuses().map(|(status, count)| (status.to_string(), count)).collect(),
            wrong_reasons: tally
                .reasons()
                .map(|(why, count)| (why.key().to_owned(), count))
                .collect(),
            latency_us: (&outcome.latencies.corrected).into(),
            uncorrected_us: (&outcome.latencies.uncorrected).into(),
            registration_us: (&outcome.latencies.registration).into(),
            answer_us: (&outcome.latencies.answer).into(),
            sent: tally.sent,
            retransmissions: tally.retransmissions,
            retransmissions_explained: tally.retransmissions_explained,
            loss_percent: outcome.loss_percent,
            requests_dropped: tally.requests_dropped,
            answers_dropped: tally.answers_dropped,
            registered: tally.registered,
            duplicates: tally.duplicates,
            stray: tally.stray,
            keepalives: tally
                .keepalives()
                .map(|(form, count)| (form.key().to_owned(), count))
                .collect(),
            options_answered: tally.options_answered,
            unsent: outcome.unsent,
            send_errors: tally.send_errors,
            unreachable: tally.unreachable,
            last_registration_seconds: round(outcome.last_registration_seconds, 1e6),
            given_up: tally.given_up,
            deferred: tally.deferred,
            interrupted: outcome.interrupted,
            generator_threads: outcome.threads,
            offload: outcome.offload,
            generator_cpu_seconds: round(outcome.cpu_seconds, 1e6),
            generator_cpu_us_per_request: round(
                outcome.cpu_us_per_request().unwrap_or_default(),
                1e3,
            ),
        }
    }
}

fn round(value: f64, places: f64) -> f64 {
    (value * places).round() / places
}
