//! What operators see of attacks, over real HTTP and by `aorta ctl`, with one reactor and with two:
//! security events with aggregation, and what is dropped in silence while somebody looks.

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
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::Phone;
use http::{ask, ask_with, get};
use office::{Office, each, items};
use serde_json::Value;
use serve::{Process, Server, Wire};

const EVENTS: &str = "/api/v1/security-events";
const TRACES: &str = "/api/v1/traces";

/// Asks until `wanted` accepts the answer.
fn until(office: &Office, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = get(office.http, path).good();
        if wanted(&answer) {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{path}: {answer}");
        std::thread::yield_now();
    }
}

/// Fails with a wrong password once.
fn guess(office: &Office, local: &str, number: u32, agent: &str) {
    let wire = Wire::from(&format!("{local}:0"), office.server.target());
    let mut phone = Phone::new(number, "guesser", &wire.local().to_string());
    (phone.password, phone.user_agent) = ("guess".into(), agent.into());
    let challenge = wire.ask(&phone.register(60));
    assert!(phone.take_challenge(&challenge));
    wire.ask(&phone.register(60));
}

#[test]
fn events_are_listed_once_with_a_count_the_latest_first() {
    each(&[], |office| {
        assert_eq!(get(office.http, EVENTS).good(), serde_json::json!({"items": [], "next": null}));
        for _ in 0..3 {
            guess(office, "127.0.0.1", 3, "kit <script>\"x\"");
        }
        for number in 4..9 {
            guess(office, "127.0.0.2", number, "kit");
        }
        guess(office, "127.0.0.2", 999, "kit");

        let all = get(office.http, EVENTS).good();
        assert_eq!((items(&all).len(), &all["next"]), (7, &Value::Null), "{all}");
        let times: Vec<&str> =
            items(&all).iter().map(|one| one["last"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
        let of = |filter: &str| {
            let page = get(office.http, &format!("{EVENTS}?{filter}")).good();
            items(&page).to_vec()
        };
        let [three] = &of("account=u3@example.com")[..] else { panic!("one record") };
        assert_eq!(
            (&three["kind"], &three["count"], &three["source_ip"], &three["account"]),
            (&"bad_password".into(), &3.into(), &"127.0.0.1".into(), &"u3@example.com".into())
        );
        assert_eq!(three["user_agent"], "kit <script>\"x\"");
        assert!(three["first"].as_str() <= three["last"].as_str());
        assert_eq!(of("account=u3").len(), 1);
        assert_eq!(of("account=sip:u3@example.com").len(), 1);
        assert_eq!(of("account=u").len(), 0);
        assert_eq!(of("kind=bad_password").len(), 6);
        assert_eq!(of("kind=unknown_account,scanner").len(), 1);
        assert_eq!(of("kind=alerts").len(), 0);
        assert_eq!(of("ip=127.0.0.2").len(), 6);
        assert_eq!(of("ip=127.0.0.0/8&kind=bad_password").len(), 6);
        assert_eq!(of("ip=192.0.2.0/24").len(), 0);
        assert_eq!(of("since=1").len(), 7);
        assert_eq!(of(&format!("since={}", three["first"].as_str().unwrap())).len(), 7);
        assert_eq!(of("since=2100-01-01T00:00:00Z").len(), 0);

        // Page by page, each once, in the same order.
        for limit in [1, 2, 5] {
            let (mut ids, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get(office.http, &format!("{EVENTS}?limit={limit}{cursor}")).good();
                assert!(items(&page).len() <= limit);
                ids.extend(items(&page).iter().map(|one| one["id"].clone()));
                assert!(ids.len() <= 7);
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let whole: Vec<Value> = items(&all).iter().map(|one| one["id"].clone()).collect();
            assert_eq!(ids, whole, "by {limit}");
        }

        // Counted as well as listed.
        let metrics = get(office.http, "/metrics").body;
        let counted = |kind: &str| -> u64 {
            let is = |line: &&str| {
                line.starts_with("aorta_security_events_total{")
                    && line.contains(&format!("kind=\"{kind}\""))
            };
            let values = metrics.lines().filter(is);
            values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        assert_eq!((counted("bad_password"), counted("unknown_account")), (8, 1));
        // Each of them was challenged twice: a wrong answer is one more reason.
        assert_eq!((counted("challenge_sent"), counted("scanner")), (18, 0));

        for bad in [
            "kind=none",
            "kind=",
            "account=",
            "ip=x",
            "since=yesterday",
            "limit=0",
            "limit=1001",
            "cursor=x",
            "cursor=1-1",
            "sources=127.0.0.1",
        ] {
            get(office.http, &format!("{EVENTS}?{bad}")).problem(400);
        }
        ask(office.http, "DELETE", EVENTS).problem(405);
    });
}

#[test]
fn one_operators_block_is_one_event_however_many_shards_obey_it() {
    each(&[], |office| {
        ask(office.http, "PUT", "/api/v1/blacklist/192.0.2.9").good();
        ask(office.http, "DELETE", "/api/v1/blacklist/192.0.2.9").good();
        let all = get(office.http, EVENTS).good();
        let kinds: Vec<(&str, u64)> = items(&all)
            .iter()
            .map(|one| (one["kind"].as_str().unwrap(), one["count"].as_u64().unwrap()))
            .collect();
        let kinds: BTreeSet<_> = kinds.into_iter().collect();
        assert_eq!(kinds, [("blocked", 1), ("unblocked", 1)].into());
    });
}

/// Begins a trace and gives its path.
fn begin(office: &Office, query: &str) -> String {
    let begun = ask(office.http, "POST", &format!("{TRACES}?{query}")).good();
    format!("{TRACES}/{}", begun["trace"].as_str().expect("a number"))
}

/// Asks for the messages of a trace until there are so many.
fn messages(office: &Office, trace: &str, count: usize) -> Vec<Value> {
    let path = format!("{trace}/messages");
    let page = until(office, &path, |page| items(page).len() >= count);
    assert_eq!(items(&page).len(), count, "{page}");
    items(&page).to_vec()
}

#[test]
fn what_is_dropped_is_shown_while_somebody_looks_and_never_raw() {
    each(&[], |office| {
        let wire = Wire::to(office.server.target());
        let nasty = b"\x1b[2J<script>\"\xff\r\nnothing like SIP";
        // Nobody looks.
        wire.send(nasty);
        let trace = begin(office, "outcome=dropped&seconds=600");
        wire.send(b"\r\n\r\n");
        wire.send(nasty);
        let mut phone = Phone::new(1, "kit", &wire.local().to_string());
        // What is answered is not asked for.
        wire.ask(&phone.register(60));
        phone.user_agent = "friendly-scanner".into();
        wire.send(phone.register(60).as_bytes());
        let seen = messages(office, &trace, 2);
        let reasons: BTreeSet<&str> =
            seen.iter().map(|one| one["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons, ["scanner", "unparseable"].into(), "no keepalive");
        let broken = seen.iter().find(|one| one["reason"] == "unparseable").unwrap();
        assert_eq!(broken["message"], "\\u{1b}[2J<script>\"\\xff\r\nnothing like SIP");
        assert_eq!((&broken["bytes"], &broken["transport"]), (&nasty.len().into(), &"udp".into()));
        assert_eq!(broken["source"], wire.local().to_string());
        assert_eq!(broken["destination"], office.server.target().to_string());
        assert_eq!((&broken["outcome"], &broken["truncated"]), (&"dropped".into(), &false.into()));
        // Whoever goes on behind a message is not given it again.
        let next = get(office.http, &format!("{trace}/messages")).good()["next"].clone();
        let rest = format!("{trace}/messages?after={}", next.as_str().unwrap());
        assert_eq!(get(office.http, &rest).good()["items"], serde_json::json!([]));

        let info = get(office.http, &trace).good();
        assert!(info["remaining_s"].as_u64().is_some_and(|left| left <= 600), "{info}");
        assert_eq!((&info["seen"], &info["kept"]), (&2.into(), &2.into()));
        assert_eq!((&info["about"], &info["owner"]), (&"dropped".into(), &"loopback".into()));
        assert_eq!(ask(office.http, "DELETE", &trace).good()["ended"], true);
        assert_eq!(get(office.http, &trace).good()["remaining_s"], Value::Null);
        messages(office, &trace, 2);
        assert_eq!(ask(office.http, "DELETE", &trace).good()["forgotten"], true);
        get(office.http, &trace).problem(404);
        ask(office.http, "DELETE", &trace).problem(404);
    });
}

#[test]
fn everything_of_an_account_is_seen_once_in_both_directions_by_each_who_looks() {
    each(&[], |office| {
        let wire = Wire::to(office.server.target());
        let mine = begin(office, "account=u5@example.com&seconds=600");
        let out = begin(office, "account=u5&direction=out&seconds=600");
        let other = begin(office, "account=u55@example.com&seconds=600");
        let mut phone = Phone::new(5, "kit", &wire.local().to_string());
        let challenge = wire.ask(&phone.register(60));
        assert!(phone.take_challenge(&challenge));
        wire.ask(&phone.register(60));
        // Whichever shard it came to, and whichever answered.
        let seen = messages(office, &mine, 4);
        let shown: Vec<(&str, Option<u64>)> = seen
            .iter()
            .map(|one| (one["direction"].as_str().unwrap(), one["status"].as_u64()))
            .collect();
        assert_eq!(shown, [("in", Some(401)), ("out", None), ("in", Some(200)), ("out", None)]);
        let numbers: Vec<u64> = seen.iter().map(|one| one["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert!(seen[2]["message"].as_str().unwrap().contains("response=\""), "as on the wire");
        assert!(seen[3]["summary"].as_str().unwrap().starts_with("SIP/2.0 200 "));
        assert_eq!(seen[3]["destination"], wire.local().to_string());
        assert!(seen.iter().all(|one| one["call_id"] == seen[0]["call_id"]));
        let answers = messages(office, &out, 2);
        assert!(answers.iter().all(|one| one["direction"] == "out"));
        assert_eq!(get(office.http, &format!("{other}/messages")).good()["items"][0], Value::Null);
        assert_eq!(items(&get(office.http, TRACES).good()).len(), 3);

        // As events, and as a file.
        ask(office.http, "DELETE", &mine).good();
        let mut stream = http::connect(office.http);
        let request = format!(
            "GET {mine}/events HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: 1\r\n\
             Connection: close\r\n\r\n",
            office.http
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = String::new();
        stream.read_to_string(&mut events).expect("it ends with the trace");
        assert!(events.contains("content-type: text/event-stream"), "{events}");
        assert_eq!(events.matches("\ndata: {\"number\":").count(), 3, "{events}");
        assert!(events.contains("id: 4\n") && events.contains("event: end\n"), "{events}");
    });
}

#[test]
fn a_trace_is_about_what_was_asked_for_and_ends_by_itself() {
    each(&[], |office| {
        let wires =
            ["127.0.0.1:0", "127.0.0.2:0"].map(|local| Wire::from(local, office.server.target()));
        let send = |wire: &Wire, number: u32| {
            let mut phone = Phone::new(number, "kit", &wire.local().to_string());
            phone.user_agent = "sipvicious".into();
            wire.send(phone.register(60).as_bytes());
        };
        let trace = begin(office, "ip=127.0.0.2&account=u5@example.com&reason=scanner");
        for wire in &wires {
            [5, 6, 55].into_iter().for_each(|number| send(wire, number));
            wire.send(b"sip:u5@example.com in no message");
        }
        let seen = messages(office, &trace, 1);
        assert!(seen[0]["message"].as_str().unwrap().starts_with("REGISTER sip:"));
        assert_eq!(get(office.http, &trace).good()["seen"], 1);
        ask(office.http, "DELETE", &trace).good();

        let trace = begin(office, "seconds=1");
        until(office, &trace, |info| info["remaining_s"].is_null());
        // There may be several, but not any number.
        let traces: Vec<String> = (0..8).map(|_| begin(office, "seconds=600")).collect();
        let detail = ask(office.http, "POST", TRACES).problem(409);
        assert!(detail.contains("under way"), "{detail}");
        traces.iter().for_each(|trace| drop(ask(office.http, "DELETE", trace).good()));
        begin(office, "seconds=600");

        for bad in ["seconds=0", "seconds=3601", "ip=x", "account=", "reason=none", "x=1"] {
            ask(office.http, "POST", &format!("{TRACES}?{bad}")).problem(400);
        }
        ask(office.http, "PUT", TRACES).problem(405);
        get(office.http, &format!("{TRACES}/x")).problem(400);
        for path in ["99", "99/messages", "99/events", "99/pcap"] {
            get(office.http, &format!("{TRACES}/{path}")).problem(404);
        }
        get(office.http, &format!("{TRACES}/1/messages?after=18446744073709551615")).problem(400);
    });
}

#[test]
fn a_collector_is_sent_what_fails_without_a_trace_where_that_is_set() {
    let collector = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    collector.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let hep = format!("trace.hep=udp:{}", collector.local_addr().unwrap());
    let set = ["--set", &hep, "--set", "trace.hep_failures=On", "--set", "trace.hep_capture_id=7"];
    each(&set, |office| {
        let wire = Wire::to(office.server.target());
        let mut phone = Phone::new(1, "kit", &wire.local().to_string());
        phone.user_agent = "friendly-scanner".into();
        let (mut buffer, began) = ([0; 4096], Instant::now());
        // It begins a moment after the interface does.
        let len = loop {
            wire.send(phone.register(60).as_bytes());
            match collector.recv(&mut buffer) {
                Ok(len) => break len,
                Err(_) => assert!(began.elapsed() < Duration::from_secs(30), "nothing is sent"),
            }
        };
        assert!(buffer.starts_with(b"HEP3"));
        let holds = |bytes: &[u8]| buffer[..len].windows(bytes.len()).any(|part| part == bytes);
        assert!(holds(b"REGISTER sip:") && holds(&[0, 0, 0, 12, 0, 10, 0, 0, 0, 7]));
        let metrics = get(office.http, "/metrics").body;
        assert!(office::sum(&metrics, "aorta_hep_sent_total") > 0);
        assert_eq!(get(office.http, TRACES).good()["items"], serde_json::json!([]), "nobody's");
        while collector.recv(&mut buffer).is_ok() {}
    });
}

#[test]
fn each_line_of_the_log_is_an_object_where_that_is_set() {
    let arguments = ["--listen", "udp:127.0.0.1:0", "--reactors", "1", "--set", "log.format=json"];
    let Some(mut server) = Server::start(&arguments) else { return };
    let wanted = |line: &str| line.contains("reactors on CPUs");
    let said = server.process.err.iter().find(|line| wanted(line)).cloned();
    let line = said.or_else(|| server.process.wait_for(wanted)).expect("it is said");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&line["level"], &line["target"]), (&"info".into(), &"aorta::serve".into()));
    assert_eq!((&line["reactors"], &line["accounts"]), (&1.into(), &200.into()));
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 27));
}

#[test]
fn only_the_token_shows_events_and_traces() {
    let token = "correct-horse-battery-staple";
    each(&["--admin-token", token], |office| {
        for (method, path) in [("GET", EVENTS), ("POST", TRACES), ("GET", "/api/v1/traces/1/pcap")]
        {
            ask(office.http, method, path).problem(401);
        }
        let right = format!("Authorization: Bearer {token}\r\n");
        ask_with(office.http, "GET", EVENTS, &right).good();
        let begun = ask_with(office.http, "POST", TRACES, &right).good();
        let trace = format!("{TRACES}/{}", begun["trace"].as_str().unwrap());
        ask(office.http, "DELETE", &trace).problem(401);
        ask_with(office.http, "DELETE", &trace, &right).good();
    });
}

/// Runs `aorta ctl` to its end and gives what it wrote.
fn ctl(office: &Office, arguments: &[&str]) -> (Vec<String>, bool) {
    let at = office.http.to_string();
    let mut process = Process::start(&[&["ctl", "--admin", &at], arguments].concat());
    let good = process.finish().success();
    (std::mem::take(&mut process.out), good)
}

#[test]
fn events_and_traces_by_ctl_are_tables_for_people_and_json_for_programs() {
    each(&[], |office| {
        assert_eq!(ctl(office, &["events"]), (Vec::new(), true));
        guess(office, "127.0.0.1", 3, "kit");
        guess(office, "127.0.0.2", 4, "kit");
        let (lines, _) = ctl(office, &["events", "--since", "1h"]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("LAST") && lines[0].ends_with("USER-AGENT"));
        let (lines, _) = ctl(office, &["events", "--account", "u4", "--kind", "bad_password"]);
        assert!(lines.len() == 2 && lines[1].contains("127.0.0.2"), "{lines:?}");
        let (lines, _) = ctl(office, &["--json", "events", "--source", "127.0.0.1"]);
        let page: Value = serde_json::from_str(&lines.join("")).expect("JSON");
        assert_eq!(items(&page)[0]["account"], "u3@example.com");
        for bad in [&["events", "--since", "soon"][..], &["events", "--kind", "x"]] {
            assert!(!ctl(office, bad).1, "{bad:?}");
        }

        // What follows is shown as it comes.
        let at = office.http.to_string();
        let mut following = Process::start(&["ctl", "--admin", &at, "events", "--follow"]);
        guess(office, "127.0.0.3", 9, "kit");
        assert!(following.wait_for(|line| line.contains("account=u9@example.com")).is_some());
        drop(following);

        let file = std::env::temp_dir().join(format!("aorta-{}.pcapng", std::process::id()));
        let file = file.to_str().expect("a plain name");
        let arguments =
            ["ctl", "--admin", &at, "trace", "--seconds", "2", "--outcome", "dropped", "--pcap"];
        let mut tracing = Process::start(&[&arguments[..], &[file]].concat());
        tracing.wait_for(|line| line.contains("interrupt it")).expect("it begins");
        Wire::to(office.server.target()).send(b"\x1b[31mred");
        let line = tracing.wait_for(|line| line.contains("unparseable")).expect("it is shown");
        assert!(line.contains("\\u{1b}[31mred") && !line.contains('\x1b'), "{line}");
        assert!(tracing.finish().success());
        assert!(tracing.err.iter().any(|line| line.contains("1 messages seen, 1 shown")));
        let capture = std::fs::read(file).expect("a capture file");
        assert!(capture.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]), "pcapng");
        assert!(capture.windows(8).any(|bytes| bytes == b"\x1b[31mred"));
        std::fs::remove_file(file).expect("it was there");
    });
}
