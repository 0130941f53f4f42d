//! `aorta ctl metrics`: the counters, added up over shards and reactors, or as they are.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};

use super::{Desk, table};
use crate::cli::Failure;
use crate::cli::say::print;

/// One line of the exposition: name, labels, value.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub name: &'a str,
    pub labels: Vec<(&'a str, &'a str)>,
    pub value: f64,
}

impl<'a> Sample<'a> {
    /// Reads a line; comments and what cannot be read are none. No label of ours needs an escape.
    pub fn read(line: &'a str) -> Option<Sample<'a>> {
        if line.starts_with('#') {
            return None;
        }
        let (named, value) = line.rsplit_once(' ')?;
        let (name, labels) = match named.split_once('{') {
            None => (named, ""),
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
        };
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once('=')?;
            Some((name, value.strip_prefix('"')?.strip_suffix('"')?))
        });
        Some(Sample { name, labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
    }

    /// As a person reads it, without the parts that are added up.
    fn called(&self, apart: bool) -> String {
        let kept = |name: &str| apart || (name != "shard" && name != "reactor");
        let labels: Vec<String> = self
            .labels
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if labels.is_empty() {
            self.name.to_owned()
        } else {
            format!("{} {}", self.name, labels.join(" "))
        }
    }
}

/// Shows them; `apart` gives each shard by itself, and zeros.
pub fn run(desk: &Desk, name: Option<&str>, apart: bool) -> Result<(), Failure> {
    let text = desk.text(&Method::GET, "/metrics")?;
    let samples = text
        .lines()
        .filter_map(Sample::read)
        .filter(|sample| name.is_none_or(|part| sample.name.contains(part)));
    if desk.json {
        let samples: Vec<Value> = samples
            .map(|Sample { name, labels, value }| {
                let labels: BTreeMap<_, _> = labels.into_iter().collect();
                json!({ "name": name, "labels": labels, "value": value })
            })
            .collect();
        return print(Value::Array(samples));
    }
    let mut sums: Vec<(String, f64)> = Vec::new();
    for sample in samples {
        let called = sample.called(apart);
        match sums.iter_mut().find(|(name, _)| *name == called) {
            Some((_, sum)) => *sum += sample.value,
            None => sums.push((called, sample.value)),
        }
    }
    let rows: Vec<[String; 2]> = sums
        .into_iter()
        .filter(|(_, sum)| apart || *sum != 0.0)
        .map(|(called, sum)| [sum.to_string(), called])
        .collect();
    for line in table::lines(["VALUE", "NAME"], &rows) {
        print(line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_exposition_are_read() {
        assert_eq!(Sample::read("# HELP aorta_x X"), None);
        let plain = Sample { name: "aorta_x", labels: vec![], value: 3.0 };
        assert_eq!(Sample::read("aorta_x 3"), Some(plain));
        let sample = Sample::read("aorta_x{shard=\"1\",reason=\"ack\"} 2.5").unwrap();
        assert_eq!(sample.labels, [("shard", "1"), ("reason", "ack")]);
        assert_eq!(sample.called(false), "aorta_x reason=ack");
        assert_eq!(sample.called(true), "aorta_x shard=1 reason=ack");
        for bad in ["", "aorta_x", "aorta_x{a} 1", "aorta_x{a=\"b\" 1", "aorta_x one"] {
            assert_eq!(Sample::read(bad), None, "{bad}");
        }
    }
}
