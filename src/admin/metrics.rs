//! `/metrics`: every counter there is, as text in Prometheus' format 0.0.4. Names begin with
//! `aorta_` and say their unit; labels are shard or reactor, status, reason, and nothing that
//! anybody outside could choose.
//!
//! How long messages take is a summary, `aorta_service_time_seconds{stage,shard,quantile}`.
//!
//! What a shard counts is `aorta_NAME_total{shard}`, what a reactor counts
//! `aorta_reactor_NAME_total{reactor}`: both know handoffs, seen from two sides.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use hdrhistogram::Histogram;

use super::api::Api;
use super::operator::Role;
use super::problem::Problem;
use super::query::Query;
use super::routes::Routes;
use crate::guard::SecurityKind;
use crate::reactor::{self, ServiceTimes, Span};
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::counters::DropReason;
use crate::shard::history::HistoryCounts;
use crate::shard::pinholes::{self, Pinholes};
use crate::shard::refused::RefuseReason;
use crate::shard::tally::Tally;
use crate::shield::counts::Counts;

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new().get("/metrics", Role::Read, show)
}

/// `GET /metrics`
pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let mut tallies = Vec::with_capacity(usize::from(api.shards.count()));
    for shard in 0..api.shards.count() {
        if let Reply::Counted(tally) = api.shards.order(ShardId(shard), Control::Count).await? {
            tallies.push(tally);
        }
    }
    let mut text = Exposition::default();
    process(&mut text, &api);
    shards(&mut text, &tallies);
    reactors(&mut text, &api.shards.reactors());
    alerts(&mut text, &api);
    service_times(&mut text, &api.shards.service_times());
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(CONTENT_TYPE, format)], text.0).into_response())
}

/// Upper limits of the buckets of histograms, microseconds; one without a limit follows.
const LIMITS_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The quantiles of summaries.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// The text, family by family.
#[derive(Default)]
struct Exposition(String);

/// Whether a number only grows.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

impl Exposition {
    /// One family: its name without prefix and suffix, what it means, and a number for each set of
    /// labels.
    fn family(
        &mut self,
        kind: Kind,
        name: &str,
        meaning: &str,
        samples: impl IntoIterator<Item = (String, u64)>,
    ) {
        let (suffix, kind) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        let meaning = meaning.trim().replace('\\', "\\\\").replace('\n', " ");
        // A string takes everything.
        let _ = writeln!(self.0, "# HELP aorta_{name}{suffix} {meaning}");
        let _ = writeln!(self.0, "# TYPE aorta_{name}{suffix} {kind}");
        for (labels, value) in samples {
            let _ = match labels.is_empty() {
                true => writeln!(self.0, "aorta_{name}{suffix} {value}"),
                false => writeln!(self.0, "aorta_{name}{suffix}{{{labels}}} {value}"),
            };
        }
    }

    /// One family of histograms of microseconds, shown in seconds: its name without prefix and
    /// unit. What stands at a limit is told from what is above it to one in a hundred, and so is
    /// the sum.
    fn histogram<'a>(
        &mut self,
        name: &str,
        meaning: &str,
        samples: impl IntoIterator<Item = (String, &'a Histogram<u64>)>,
    ) {
        let seconds = |us: u64| us as f64 / 1e6;
        let name = format!("aorta_{name}_seconds");
        // A string takes everything.
        let _ = writeln!(self.0, "# HELP {name} {meaning}");
        let _ = writeln!(self.0, "# TYPE {name} histogram");
        for (labels, histogram) in samples {
            let (mut at_most, mut sum_us) = ([0; LIMITS_US.len()], 0);
            for step in histogram.iter_recorded() {
                let (us, count) = (step.value_iterated_to(), step.count_at_value());
                let within = histogram.lowest_equivalent(us);
                let limits = LIMITS_US.iter().zip(&mut at_most);
                limits.filter(|(limit, _)| within <= **limit).for_each(|(_, sum)| *sum += count);
                sum_us += histogram.median_equivalent(us) * count;
            }
            for (limit, count) in LIMITS_US.into_iter().zip(at_most) {
                let limit = seconds(limit);
                let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"{limit}\"}} {count}");
            }
            let (sum, count) = (seconds(sum_us), histogram.len());
            let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(self.0, "{name}_sum{{{labels}}} {sum}");
            let _ = writeln!(self.0, "{name}_count{{{labels}}} {count}");
        }
    }

    /// One family of summaries of nanoseconds, shown in seconds: its name without prefix and unit.
    fn summary(
        &mut self,
        name: &str,
        meaning: &str,
        samples: impl IntoIterator<Item = (String, Histogram<u64>)>,
    ) {
        let seconds = |ns: f64| ns / 1e9;
        let name = format!("aorta_{name}_seconds");
        // A string takes everything.
        let _ = writeln!(self.0, "# HELP {name} {meaning}");
        let _ = writeln!(self.0, "# TYPE {name} summary");
        for (labels, times) in samples {
            for quantile in QUANTILES {
                let value = seconds(times.value_at_quantile(quantile) as f64);
                let _ = writeln!(self.0, "{name}{{{labels},quantile=\"{quantile}\"}} {value}");
            }
            let sum = seconds((times.mean() * times.len() as f64).round());
            let count = times.len();
            let _ = writeln!(self.0, "{name}_sum{{{labels}}} {sum}");
            let _ = writeln!(self.0, "{name}_count{{{labels}}} {count}");
        }
    }

    /// Families that all shards, or all reactors, have alike: `lists` has what each of them says,
    /// in the same order.
    fn families<'a>(
        &mut self,
        kind: Kind,
        prefix: &str,
        label: &str,
        lists: &[Vec<(&'a str, &'a str, u64)>],
    ) {
        let Some(first) = lists.first() else { return };
        for (at, (name, meaning, _)) in first.iter().enumerate() {
            let values = lists.iter().map(|list| list.get(at).map_or(0, |(_, _, value)| *value));
            let labelled = (0..).zip(values).map(|(number, value): (usize, u64)| {
                let labels = format!("{label}=\"{number}\"");
                (labels, value)
            });
            self.family(kind, &format!("{prefix}{name}"), meaning, labelled);
        }
    }
}

fn process(text: &mut Exposition, api: &Api) {
    let none = String::new;
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    text.family(Kind::Gauge, "build_info", "What runs; always 1", [(version, 1)]);
    let started = [(none(), api.started.0)];
    text.family(
        Kind::Gauge,
        "start_time_seconds",
        "When it started, seconds since the epoch",
        started,
    );
    let shards = [(none(), u64::from(api.shards.count()))];
    text.family(Kind::Gauge, "shards", "Shards, each on a reactor of its own", shards);
    for (name, meaning, value) in api.counts.described() {
        let value = value.load(Ordering::Relaxed);
        text.family(Kind::Counter, &format!("admin_{name}"), meaning, [(none(), value)]);
    }
    let history = api.shards.history().into_iter().flat_map(|desk| desk.counts().described());
    for (name, meaning, value, grows) in history {
        let kind = if grows { Kind::Counter } else { Kind::Gauge };
        text.family(kind, &format!("history_store_{name}"), meaning, [(none(), value)]);
    }
    for (name, meaning, value) in api.audit.described() {
        text.family(Kind::Counter, &format!("admin_{name}"), meaning, [(none(), value)]);
    }
    let shield = api.shards.shield().map(|desk| desk.counts());
    for (name, meaning, value, grows) in shield.into_iter().flat_map(Counts::described) {
        let kind = if grows { Kind::Counter } else { Kind::Gauge };
        text.family(kind, &format!("shield_{name}"), meaning, [(none(), value)]);
    }
}

fn shards(text: &mut Exposition, tallies: &[Box<Tally>]) {
    let lists = |list: fn(&Tally) -> Vec<(&'static str, &'static str, u64)>| {
        tallies.iter().map(|tally| list(tally)).collect::<Vec<_>>()
    };
    let levels = lists(|tally| tally.levels.described().collect());
    text.families(Kind::Gauge, "", "shard", &levels);
    let counters = lists(|tally| tally.counters.described().collect());
    text.families(Kind::Counter, "", "shard", &counters);
    let watching = lists(|tally| tally.watching.described().collect());
    text.families(Kind::Counter, "reg_event_", "shard", &watching);

    let numbered = || (0..).zip(tallies).map(|(shard, tally): (usize, _)| (shard, &tally.counters));
    let answered = numbered().flat_map(|(shard, counters)| {
        let one = |(status, count)| (format!("shard=\"{shard}\",status=\"{status}\""), count);
        counters.answered.iter().map(one).collect::<Vec<_>>()
    });
    text.family(Kind::Counter, "answers", "Answers by their SIP status", answered);
    let refused = numbered().flat_map(|(shard, counters)| {
        RefuseReason::ALL.map(|reason| {
            (format!("shard=\"{shard}\",reason=\"{}\"", reason.name()), counters.refused(reason))
        })
    });
    let meaning = "Requests refused for a fault of the sender's, by reason";
    text.family(Kind::Counter, "refused", meaning, refused);
    let dropped = numbered().flat_map(|(shard, counters)| {
        DropReason::ALL.map(|reason| {
            (format!("shard=\"{shard}\",reason=\"{}\"", reason.name()), counters.dropped(reason))
        })
    });
    let meaning = "Messages that were not answered, by reason";
    text.family(Kind::Counter, "not_answered", meaning, dropped);
    let security = (0..).zip(tallies).flat_map(|(shard, tally): (usize, _)| {
        let kinds = SecurityKind::ALL.iter().zip(tally.security);
        let one = |(kind, count): (&SecurityKind, u64)| {
            (format!("shard=\"{shard}\",kind=\"{}\"", kind.name()), count)
        };
        kinds.map(one).collect::<Vec<_>>()
    });
    text.family(Kind::Counter, "security_events", "Security events, by kind", security);
    let pushed_out = (0..).zip(tallies).map(|(shard, tally): (usize, _)| {
        (format!("shard=\"{shard}\""), tally.security_pushed_out)
    });
    let meaning = "Listed security events that made room for others";
    text.family(Kind::Counter, "security_events_pushed_out", meaning, pushed_out);
    recorded(text, tallies);
    keepalives(text, tallies);
    let trips = (0..).zip(tallies).map(|(shard, tally): (usize, _)| {
        (format!("shard=\"{shard}\""), tally.counters.round_trips.us())
    });
    let meaning = "Round trips of OPTIONS that were sent once and answered";
    text.histogram("probe_round_trip", meaning, trips);
}

/// What shards record of registrations.
fn recorded(text: &mut Exposition, tallies: &[Box<Tally>]) {
    type Count = fn(&HistoryCounts) -> u64;
    let counts: [(&str, &str, Count); 3] = [
        ("recorded", "Events of registrations recorded for history", |one| one.rows),
        ("shed", "Events for which there was no room until history was written", |one| one.shed),
        ("refusals_unlisted", "Refusals of a flood that no row tells of", |one| {
            one.refusals_unlisted
        }),
    ];
    for (name, meaning, count) in counts {
        let values = (0..).zip(tallies).map(|(shard, tally): (usize, _)| {
            (format!("shard=\"{shard}\""), count(&tally.history))
        });
        text.family(Kind::Counter, &format!("history_{name}"), meaning, values);
    }
}

fn keepalives(text: &mut Exposition, tallies: &[Box<Tally>]) {
    type Count = fn(&Pinholes) -> u64;
    let counts: [(&str, &str, Count); 5] = [
        ("due", "Turns that came of phones whose pinhole is kept open", |one| one.due),
        ("sent", "Keepalives sent", |one| one.sent),
        ("skipped", "Turns passed over, the phone having been sent something", |one| one.skipped),
        ("unsendable", "Turns at which there was no way to send", |one| one.unsendable),
        ("missed", "Keepalives that came later than a period after the last", |one| one.missed),
    ];
    let of_all = || {
        (0..).zip(tallies).flat_map(|(shard, tally): (usize, _)| {
            pinholes::Kind::ALL.map(|kind| (shard, kind, tally.counters.keepalives.of(kind)))
        })
    };
    for (name, meaning, count) in counts {
        let values = of_all().map(|(shard, kind, one)| {
            (format!("shard=\"{shard}\",kind=\"{}\"", kind.name()), count(one))
        });
        text.family(Kind::Counter, &format!("keepalives_{name}"), meaning, values);
    }
    let late = of_all().filter(|(_, _, one)| one.due > 0).map(|(shard, kind, one)| {
        (format!("shard=\"{shard}\",kind=\"{}\"", kind.name()), one.late_us())
    });
    text.histogram("keepalive_late", "How much later than intended keepalives went out", late);
}

fn reactors(text: &mut Exposition, reactors: &[reactor::Counters]) {
    let list = |counters: &reactor::Counters| {
        let meanings = reactor::Counters::NAMES.into_iter().zip(reactor::Counters::MEANINGS);
        meanings.zip(counters.values()).map(|((name, meaning), value)| (name, meaning, value))
    };
    let lists: Vec<Vec<_>> = reactors.iter().map(|counters| list(counters).collect()).collect();
    text.families(Kind::Counter, "reactor_", "reactor", &lists);
}

fn alerts(text: &mut Exposition, api: &Api) {
    let alerts = &api.analysis.alerts;
    let firing = alerts.firing().into_iter();
    let firing = firing.map(|(rule, fires)| (format!("rule=\"{rule}\""), u64::from(fires)));
    text.family(Kind::Gauge, "alert", "Whether the alert of a rule fires, 1 or 0", firing);
    let [posted, failed, shed] = alerts.posted();
    for (name, meaning, value) in [
        ("posted", "Messages about alerts that the webhook took", posted),
        ("failed", "Messages about alerts that the webhook did not take", failed),
        ("shed", "Messages about alerts that there was no room for to wait", shed),
    ] {
        let value = [(String::new(), value)];
        text.family(Kind::Counter, &format!("webhook_{name}"), meaning, value);
    }
}

/// What was never met at a shard, such as handoffs where there is one, is left out.
fn service_times(text: &mut Exposition, shards: &[ServiceTimes]) {
    let samples = (0..).zip(shards).flat_map(|(shard, times): (usize, _)| {
        let one = move |span: Span| {
            (format!("stage=\"{}\",shard=\"{shard}\"", span.name()), times.of(span))
        };
        Span::ALL.into_iter().map(one).filter(|(_, times)| !times.is_empty())
    });
    let meaning = "Service time of messages of timed batches: the share of each in a stage, how \
                   long it was handed over, and the whole it waited for its batch";
    text.summary("service_time", meaning, samples);
    let batches = (0..)
        .zip(shards)
        .map(|(shard, times): (usize, _)| (format!("shard=\"{shard}\""), times.batches()));
    text.family(Kind::Counter, "service_timed_batches", "Batches that were timed", batches);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shard::counters::Counters;
    use crate::shard::tally::Levels;

    #[test]
    fn a_family_says_what_it_is_and_every_value() {
        let mut text = Exposition::default();
        let lists = [vec![("handoffs", " Sent\n over.", 3)], vec![("handoffs", "", 4)]];
        text.families(Kind::Counter, "reactor_", "reactor", &lists);
        text.family(Kind::Gauge, "shards", "Back\\slash", [(String::new(), 2)]);
        let expected = "# HELP aorta_reactor_handoffs_total Sent  over.\n\
                        # TYPE aorta_reactor_handoffs_total counter\n\
                        aorta_reactor_handoffs_total{reactor=\"0\"} 3\n\
                        aorta_reactor_handoffs_total{reactor=\"1\"} 4\n\
                        # HELP aorta_shards Back\\\\slash\n\
                        # TYPE aorta_shards gauge\n\
                        aorta_shards 2\n";
        assert_eq!(text.0, expected);
    }

    #[test]
    fn a_histogram_counts_what_is_within_each_limit_and_all_there_is() {
        let mut times = Histogram::new_with_bounds(1, 100_000_000, 2).unwrap();
        let empty = times.clone();
        for us in [1, 1_000, 1_100, 24_000, 60_000_000] {
            times.record(us).unwrap();
        }
        let mut text = Exposition::default();
        let samples = [("shard=\"0\"".to_owned(), &times), ("shard=\"1\"".to_owned(), &empty)];
        text.histogram("wait", "Waits", samples);
        let lines: Vec<&str> = text.0.lines().collect();
        assert_eq!(
            lines[..2],
            ["# HELP aorta_wait_seconds Waits", "# TYPE aorta_wait_seconds histogram"]
        );
        assert_eq!(lines.len(), 2 + 2 * (LIMITS_US.len() + 3));
        let bucket = |shard: u8, limit: &str| {
            let labels = format!("aorta_wait_seconds_bucket{{shard=\"{shard}\",le=\"{limit}\"}} ");
            let count = lines.iter().find_map(|line| line.strip_prefix(labels.as_str()));
            count.expect(limit).parse::<u64>().unwrap()
        };
        for (limit, expected) in
            [("0.001", 2), ("0.0025", 3), ("0.01", 3), ("0.025", 4), ("10", 4), ("+Inf", 5)]
        {
            assert_eq!((bucket(0, limit), bucket(1, limit)), (expected, 0), "{limit}");
        }
        assert!(lines.contains(&"aorta_wait_seconds_count{shard=\"0\"} 5"));
        let sum =
            lines.iter().find_map(|line| line.strip_prefix("aorta_wait_seconds_sum{shard=\"0\"} "));
        let sum: f64 = sum.unwrap().parse().unwrap();
        assert!((59.4..60.7).contains(&sum), "{sum}");
    }

    #[test]
    fn service_times_are_a_summary_of_what_was_timed() {
        let parse = Span::from_name("parse").unwrap();
        let timed = ServiceTimes::of_batches(&[(parse, 200), (parse, 200), (parse, 100)]);
        let mut text = Exposition::default();
        service_times(&mut text, &[ServiceTimes::default(), timed]);
        let lines: Vec<&str> = text.0.lines().filter(|line| !line.starts_with("# HELP")).collect();
        let expected = [
            "# TYPE aorta_service_time_seconds summary",
            "aorta_service_time_seconds{stage=\"parse\",shard=\"1\",quantile=\"0.5\"} 0.0000002",
            "aorta_service_time_seconds{stage=\"parse\",shard=\"1\",quantile=\"0.9\"} 0.0000002",
            "aorta_service_time_seconds{stage=\"parse\",shard=\"1\",quantile=\"0.99\"} 0.0000002",
            "aorta_service_time_seconds{stage=\"parse\",shard=\"1\",quantile=\"0.999\"} 0.0000002",
            "aorta_service_time_seconds{stage=\"parse\",shard=\"1\",quantile=\"1\"} 0.0000002",
            "aorta_service_time_seconds_sum{stage=\"parse\",shard=\"1\"} 0.0000005",
            "aorta_service_time_seconds_count{stage=\"parse\",shard=\"1\"} 3",
            "# TYPE aorta_service_timed_batches_total counter",
            "aorta_service_timed_batches_total{shard=\"0\"} 0",
            "aorta_service_timed_batches_total{shard=\"1\"} 3",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn round_trips_are_shown_shard_by_shard() {
        let tally = |millis: &[u64]| {
            let mut counters = Counters::default();
            for &one in millis {
                counters.round_trips.note(Duration::from_millis(one));
            }
            let watching = crate::reg_event::Counters::default();
            let security = [0; SecurityKind::ALL.len()];
            let (security_pushed_out, levels) = (0, Levels::default());
            let history = HistoryCounts::default();
            Box::new(Tally { counters, watching, security, security_pushed_out, history, levels })
        };
        let mut text = Exposition::default();
        shards(&mut text, &[tally(&[]), tally(&[10, 20])]);
        for line in [
            "aorta_probe_round_trip_seconds_count{shard=\"0\"} 0",
            "aorta_probe_round_trip_seconds_bucket{shard=\"1\",le=\"0.005\"} 0",
            "aorta_probe_round_trip_seconds_bucket{shard=\"1\",le=\"0.025\"} 2",
            "aorta_probe_round_trip_seconds_count{shard=\"1\"} 2",
        ] {
            assert!(text.0.lines().any(|shown| shown == line), "{line}");
        }
    }
}
