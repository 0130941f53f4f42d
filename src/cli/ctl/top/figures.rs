//! What `top` shows, as numbers: two readings of the metrics, one after the other, make rates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::LatencyRow;
use crate::cli::ctl::metrics::Sample;

/// One reading.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// When, since some moment.
    pub at: Duration,
    metrics: Vec<Metric>,
    /// The last window that is over, or all since the start.
    pub latency: Vec<LatencyRow>,
    /// Security events, the latest first.
    pub events: Vec<Value>,
    /// Those of them that somebody should look at.
    pub alerts: Vec<Value>,
}

#[derive(Clone, Debug)]
struct Metric {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metric {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Reading {
    /// With these metrics, as `/metrics` says them.
    pub fn new(at: Duration, metrics: &str) -> Reading {
        let owned = |sample: Sample<'_>| Metric {
            name: sample.name.strip_prefix("aorta_").unwrap_or(sample.name).to_owned(),
            labels: sample.labels.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
            value: sample.value,
        };
        let metrics = metrics.lines().filter_map(Sample::read).map(owned).collect();
        Reading { at, metrics, ..Reading::default() }
    }

    /// The sum of a metric over everything.
    pub fn sum(&self, name: &str) -> f64 {
        self.metrics.iter().filter(|one| one.name == name).map(|one| one.value).sum()
    }

    /// The sums of a metric by one of its labels.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for one in self.metrics.iter().filter(|one| one.name == name) {
            if let Some(value) = one.label(label) {
                *sums.entry(value.to_owned()).or_default() += one.value;
            }
        }
        sums
    }

    /// What runs.
    pub fn version(&self) -> &str {
        let info = self.metrics.iter().find(|one| one.name == "build_info");
        info.and_then(|one| one.label("version")).unwrap_or_default()
    }

    /// A span over all shards, or at one.
    pub fn span(&self, shard: Option<u8>, stage: &str) -> Option<&LatencyRow> {
        self.latency.iter().find(|row| row.shard == shard && row.stage == stage && row.count > 0)
    }

    /// Sources by how much of what happened was theirs, the most first.
    pub fn sources(&self) -> Vec<(String, u64, String)> {
        let mut sums: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        for event in &self.events {
            let text = |name: &str| event.get(name).and_then(Value::as_str);
            let Some(source) = text("source_ip") else { continue };
            let count = event.get("count").and_then(Value::as_u64).unwrap_or(0);
            let entry = sums.entry(source).or_default();
            // The latest stands first.
            if entry.1.is_empty() {
                entry.1 = text("kind").unwrap_or_default();
            }
            entry.0 = entry.0.saturating_add(count);
        }
        let mut sources: Vec<_> = sums
            .into_iter()
            .map(|(source, (count, kind))| (source.to_owned(), count, kind.to_owned()))
            .collect();
        sources.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        sources
    }
}

/// Two readings.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    before: Option<Reading>,
    pub now: Reading,
}

impl Figures {
    /// Another reading is there.
    pub fn turn(&mut self, reading: Reading) {
        let before = std::mem::replace(&mut self.now, reading);
        self.before = (before.at > Duration::ZERO || !before.metrics.is_empty()).then_some(before);
    }

    fn passed(&self) -> Option<(f64, &Reading)> {
        let before = self.before.as_ref()?;
        let passed = self.now.at.checked_sub(before.at)?.as_secs_f64();
        (passed > 0.0).then_some((passed, before))
    }

    /// How much a counter grew a second; nothing before the second reading, or where the server has
    /// begun anew.
    pub fn rate(&self, name: &str) -> f64 {
        let Some((passed, before)) = self.passed() else { return 0.0 };
        ((self.now.sum(name) - before.sum(name)) / passed).max(0.0)
    }

    /// The same by one of its labels.
    pub fn rates(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut rates = self.now.by(name, label);
        let Some((passed, before)) = self.passed() else {
            rates.values_mut().for_each(|rate| *rate = 0.0);
            return rates;
        };
        let before = before.by(name, label);
        for (value, rate) in &mut rates {
            *rate = ((*rate - before.get(value).copied().unwrap_or(0.0)) / passed).max(0.0);
        }
        rates
    }

    /// All of it for a program.
    pub fn json(&self) -> Value {
        let now = &self.now;
        json!({
            "version": now.version(),
            "bindings": now.sum("bindings"),
            "accounts": now.sum("accounts"),
            "suspensions": now.sum("suspensions"),
            "requests_per_second": self.rate("requests_total"),
            "answers_per_second": self.rates("answers_total", "status"),
            "not_answered_per_second": self.rates("not_answered_total", "reason"),
            "refused_per_second": self.rates("refused_total", "reason"),
            "latency": now.latency,
            "alerts": now.alerts,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two readings, two seconds apart, of two shards.
    pub fn figures() -> Figures {
        let text = |times: u64| {
            let mut text = String::from("# HELP x y\naorta_build_info{version=\"9.9.9\"} 1\n");
            for shard in 0..2 {
                let more = times * (100 + shard * 50);
                text.push_str(&format!(
                    "aorta_bindings{{shard=\"{shard}\"}} 500000\n\
                     aorta_requests_total{{shard=\"{shard}\"}} {more}\n\
                     aorta_answers_total{{shard=\"{shard}\",status=\"200\"}} {more}\n\
                     aorta_not_answered_total{{shard=\"{shard}\",reason=\"scanner\"}} {}\n",
                    times * 20
                ));
            }
            text
        };
        let mut figures = Figures::default();
        figures.turn(Reading::new(Duration::from_secs(1), &text(1)));
        let event = |source: &str, count: u64| {
            json!({ "source_ip": source, "kind": "scanner", "count": count, "account": null,
                    "last": "2026-11-21T02:38:00Z", "user_agent": "kit\u{1b}[2J" })
        };
        let row = |shard: Option<u8>, stage: &str| LatencyRow {
            shard,
            stage: stage.to_owned().into(),
            count: 10,
            mean_ns: 1000.0,
            p50_ns: 900,
            p90_ns: 2_000,
            p99_ns: 30_000,
            p999_ns: 400_000,
            max_ns: 5_000_000,
        };
        figures.turn(Reading {
            latency: vec![row(None, "parse"), row(None, "whole"), row(Some(1), "whole")],
            events: vec![event("192.0.2.7", 3), event("192.0.2.9", 8), event("192.0.2.7", 9)],
            alerts: vec![event("192.0.2.7", 3)],
            ..Reading::new(Duration::from_secs(3), &text(3))
        });
        figures
    }

    #[test]
    fn rates_are_what_grew_over_the_time_between_two_readings() {
        let figures = figures();
        assert_eq!(figures.rate("requests_total"), 250.0);
        assert_eq!(figures.rates("requests_total", "shard")["1"], 150.0);
        assert_eq!(figures.rates("not_answered_total", "reason")["scanner"], 40.0);
        assert_eq!((figures.now.version(), figures.now.sum("bindings")), ("9.9.9", 1_000_000.0));
        let json = figures.json();
        assert_eq!(json["answers_per_second"]["200"], 250.0);
        assert_eq!(json["latency"][0]["stage"], "parse");
    }

    #[test]
    fn before_the_second_reading_and_after_a_restart_there_is_no_rate() {
        let mut figures = Figures::default();
        let reading =
            |at, value| Reading::new(Duration::from_secs(at), &format!("aorta_x {value}"));
        figures.turn(reading(1, 5));
        assert_eq!(figures.rate("x"), 0.0);
        figures.turn(reading(2, 3));
        assert_eq!(figures.rate("x"), 0.0);
        figures.turn(reading(2, 9));
        assert_eq!(figures.rate("x"), 0.0, "no time has passed");
    }

    #[test]
    fn sources_are_added_up_the_most_first() {
        let sources = figures().now.sources();
        let expected = [("192.0.2.7", 12), ("192.0.2.9", 8)];
        let shown: Vec<(&str, u64)> =
            sources.iter().map(|(source, count, _)| (source.as_str(), *count)).collect();
        assert_eq!(shown, expected);
    }
}
