//! Service times of the built server: what phones sent is counted where it was served, over UDP,
//! over connections and across shards, and shown by the admin interface, by `aorta ctl latency`, in
//! the metrics and at the end.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/office.rs"]
mod office;
#[path = "common/serve.rs"]
mod serve;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::Phone;
use http::get;
use office::{Office, each, items, sum};
use serde_json::Value;
use serve::Process;

const LATENCY: &str = "/api/v1/latency";
const STAGES: [&str; 6] = ["receive", "guard", "parse", "auth", "core", "send"];
const EVERY_BATCH: [&str; 2] = ["--set", "serve.latency_sampling=1"];

fn count(page: &Value, shard: Option<u64>, stage: &str) -> u64 {
    let row =
        items(page).iter().find(|row| row["shard"].as_u64() == shard && row["stage"] == stage);
    row.unwrap_or_else(|| panic!("{stage} in {page}"))["count"].as_u64().expect("a count")
}

/// The page as soon as so many messages have been timed: an answer is with its phone a moment
/// before it is counted.
fn page_of(office: &Office, messages: u64) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let page = get(office.http, LATENCY).good();
        if count(&page, None, "whole") == messages {
            return page;
        }
        assert!(Instant::now() < deadline, "{messages} messages, and {page}");
    }
}

#[test]
fn every_message_is_counted_at_each_shard_that_served_it() {
    each(&EVERY_BATCH, |office| {
        let phones = 40;
        let _phones: Vec<_> = (1..=phones).map(|number| office.phone(number, "desk")).collect();
        let metrics = get(office.http, "/metrics").body;
        let handed_over = sum(&metrics, "aorta_handoffs_in_total");
        // A challenge and a registration each; what was handed over was at two shards.
        let messages = 2 * u64::from(phones) + handed_over;
        let page = page_of(office, messages);
        let shards = sum(&metrics, "aorta_shards");
        assert_eq!(items(&page).len() as u64, 8 * (shards + 1));
        assert_eq!(count(&page, None, "handoff"), handed_over);
        assert_eq!(page["window_s"], Value::Null);
        for stage in STAGES.into_iter().chain(["whole", "handoff"]) {
            let each: u64 = (0..shards).map(|shard| count(&page, Some(shard), stage)).sum();
            assert_eq!(each, count(&page, None, stage), "{stage}");
        }
        for stage in STAGES {
            assert_eq!(count(&page, None, stage), messages, "{stage}");
        }
        for row in items(&page).iter().filter(|row| row["count"] != 0) {
            let of = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {row}"));
            let names = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
            assert!(names.map(of).is_sorted(), "{row}");
        }
        // Each message came alone or with few, so its share is not far below what it waited for.
        let mean = |stage: &str| {
            let row = items(&page).iter().find(|row| row["stage"] == stage).expect(stage);
            row["mean_ns"].as_f64().expect("a mean")
        };
        let sum: f64 = STAGES.iter().map(|stage| mean(stage)).sum();
        assert!(sum > 0.0 && sum <= mean("whole") * 1.02 + 10.0, "{sum} of {}", mean("whole"));

        let one = get(office.http, &format!("{LATENCY}?shard=all&stage=core")).good();
        assert_eq!((items(&one).len(), count(&one, None, "core")), (1, messages));
        let text = get(office.http, &format!("{LATENCY}?format=hgrm&stage=parse"));
        assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(text.body.contains("1/(1-Percentile)"), "{}", text.body);
        assert!(text.body.contains(&format!("Total count    = {messages:>12}]")), "{}", text.body);
    });
}

#[test]
fn messages_of_connections_are_counted_like_datagrams() {
    let more = ["--listen", "tcp:127.0.0.1:0", "--set", "serve.latency_sampling=1"];
    let Some(office) = Office::open("1", &more) else { return };
    let mut stream = TcpStream::connect(office.server.targets[1]).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let local = stream.local_addr().unwrap().to_string();
    let mut phone = Phone::new(3, "desk", &local);
    for _ in 0..5 {
        let request = phone.register(600);
        let request = request.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"SIP/2.0 401 "), "{}", String::from_utf8_lossy(&answer));
    }
    let page = page_of(&office, 5);
    assert_eq!(page["batches"], 5);
    for stage in STAGES {
        assert_eq!(count(&page, None, stage), 5, "{stage}");
    }
    office.server.stop();
}

#[test]
fn what_nobody_can_mean_is_refused() {
    let Some(office) = Office::open("1", &[]) else { return };
    for (query, says) in [
        ("shard=1", "below 1"),
        ("shard=-1", "shard"),
        ("stage=parser", "receive, guard, parse, auth, core, send, handoff, whole"),
        ("window=first", "last"),
        ("format=xml", "json or hgrm"),
        ("nothing=1", "no parameter"),
    ] {
        let said = get(office.http, &format!("{LATENCY}?{query}")).problem(400);
        assert!(said.contains(says), "{query}: {said}");
    }
    // No server of a test is ten seconds old by then.
    let early = get(office.http, &format!("{LATENCY}?window=last")).problem(503);
    assert!(early.contains("10 seconds"), "{early}");
    office.server.stop();
}

#[test]
fn the_metrics_have_a_summary_of_each_stage_and_the_end_has_a_table() {
    let Some(office) = Office::open("1", &EVERY_BATCH) else { return };
    let _phone = office.phone(1, "desk");
    page_of(&office, 2);
    let metrics = get(office.http, "/metrics").body;
    for stage in STAGES.into_iter().chain(["whole"]) {
        let labels = format!("{{stage=\"{stage}\",shard=\"0\"");
        assert!(
            metrics.contains(&format!("aorta_service_time_seconds_count{labels}}} 2\n")),
            "{metrics}"
        );
        for quantile in ["0.5", "0.9", "0.99", "0.999", "1"] {
            let start = format!("aorta_service_time_seconds{labels},quantile=\"{quantile}\"}} ");
            let value = metrics.lines().find_map(|line| line.strip_prefix(start.as_str()));
            let value: f64 = value.expect(&start).parse().expect("a number");
            assert!((0.0..10.0).contains(&value), "{start}{value}");
        }
    }
    assert_eq!(sum(&metrics, "aorta_service_timed_batches_total"), 2);

    let said = ctl(&office, &["latency", "--stage", "whole"]);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("SHARD  STAGE  MESSAGES"), "{said:?}");
    assert!(said[1].starts_with("all    whole  2"), "{said:?}");
    assert_eq!(ctl(&office, &["latency", "--shard", "0"]).len(), 1 + STAGES.len() + 1);
    let json: Value = serde_json::from_str(&ctl(&office, &["--json", "latency"]).concat()).unwrap();
    assert_eq!(count(&json, Some(0), "auth"), 2);
    assert!(ctl(&office, &["latency", "--hgrm"])[0].contains("Percentile"));

    let mut process = office.server.process;
    process.signal("TERM");
    assert!(process.finish().success());
    let from = process.out.iter().position(|line| line == "service times of 2 timed batches");
    let table = &process.out[from.unwrap_or_else(|| panic!("{:#?}", process.out)) + 1..];
    let stages: Vec<&str> =
        table.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(stages, [&["STAGE"], &STAGES[..], &["whole"]].concat());
}

#[test]
fn switched_off_nothing_is_timed_and_nothing_is_said_of_it() {
    let Some(office) = Office::open("1", &["--set", "serve.latency_sampling=off"]) else { return };
    let _phone = office.phone(1, "desk");
    let page = get(office.http, LATENCY).good();
    assert!(page["batches"] == 0 && items(&page).iter().all(|row| row["count"] == 0), "{page}");
    assert!(ctl(&office, &["latency"]).is_empty());
    assert!(!get(office.http, "/metrics").body.contains("aorta_service_time_seconds{"));
    let mut process = office.server.process;
    process.signal("TERM");
    assert!(process.finish().success());
    assert!(!process.out.iter().any(|line| line.contains("service times")), "{:?}", process.out);
}

/// The lines that `aorta ctl` prints.
fn ctl(office: &Office, arguments: &[&str]) -> Vec<String> {
    let at = office.http.to_string();
    let mut process = Process::start(&[&["ctl", "--admin", &at], arguments].concat());
    assert!(process.finish().success(), "{:?}", process.err);
    std::mem::take(&mut process.out)
}
