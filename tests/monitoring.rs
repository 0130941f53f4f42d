//! The alert rules and the dashboard of `tuning/` ask for metrics the built server has, by labels
//! and values it has, and promtool accepts the rules where it is installed.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/office.rs"]
mod office;
#[path = "common/serve.rs"]
mod serve;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::get;
use office::Office;
use serde_json::Value;

fn tuning(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(tuning(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every word of a text that begins as the metrics do.
fn metrics_named_in(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !is_word(c)).filter(|word| word.starts_with("aorta_")).collect()
}

/// What stands in quotes behind `label=~"` or `label="`, alternatives one by one.
fn values_asked_for(text: &str, label: &str) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for sign in ["=~\"", "=\""] {
        for behind in text.split(&format!("{label}{sign}")).skip(1) {
            let quoted = behind.split('"').next().unwrap_or_default();
            values.extend(quoted.split('|').map(String::from));
        }
    }
    values
}

/// The labels that sums are made by.
fn labels_summed_by(text: &str) -> BTreeSet<&str> {
    let behind = text.split("by (").skip(1);
    let lists = behind.map(|behind| behind.split(')').next().unwrap_or_default());
    lists.flat_map(|list| list.split(',').map(str::trim)).collect()
}

/// Families the exposition announces, and the names its samples have.
fn families(metrics: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        names.insert(name.to_string());
        if matches!(kind, "histogram" | "summary") {
            names.extend(["bucket", "sum", "count"].map(|end| format!("{name}_{end}")));
        }
    }
    names
}

#[test]
fn rules_and_dashboard_ask_for_what_the_server_has() {
    let Some(office) = Office::open("2", &["--set", "serve.latency_sampling=1"]) else { return };
    let _phone = office.phone(1, "desk");
    let metrics = get(office.http, "/metrics").body;
    let known = families(&metrics);
    let texts = [read("prometheus/rules.yml"), read("grafana/aorta.json").replace("\\\"", "\"")];
    for text in &texts {
        let named = metrics_named_in(text);
        assert!(named.len() > 20, "{named:?}");
        let unknown: Vec<_> = named.iter().filter(|&&name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        for label in labels_summed_by(text) {
            assert!(label == "instance" || metrics.contains(&format!("{label}=\"")), "by {label}");
        }
        for label in ["kind", "reason", "stage", "quantile"] {
            for value in values_asked_for(text, label) {
                let start = value.strip_suffix(".*").unwrap_or(&value);
                let is_there = metrics.contains(&format!("{label}=\"{start}"));
                assert!(is_there, "{label}={value}");
            }
        }
    }
    office.server.stop();
}

#[test]
fn the_dashboard_is_json_whose_panels_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&read("grafana/aorta.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let place = |panel: &Value| {
        ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"))
    };
    let mut ids = BTreeSet::new();
    for (nth, panel) in panels.iter().enumerate() {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let [x, y, w, h] = place(panel);
        assert!(x + w <= 24, "{panel}");
        for other in &panels[..nth] {
            let [ox, oy, ow, oh] = place(other);
            let apart = x + w <= ox || ox + ow <= x || y + h <= oy || oy + oh <= y;
            assert!(apart, "{} over {}", panel["title"], other["title"]);
        }
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let run = |arguments: [&str; 2], file: &str| {
        Command::new("promtool").args(arguments).arg(tuning(file)).output()
    };
    let Ok(checked) = run(["check", "rules"], "prometheus/rules.yml") else {
        println!("SKIPPED: promtool is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    let tested = run(["test", "rules"], "prometheus/rules_test.yml").expect("it was there");
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{said}{}", String::from_utf8_lossy(&tested.stderr));
}
