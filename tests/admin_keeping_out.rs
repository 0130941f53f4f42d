//! Who is kept out, over real HTTP, with one reactor and with two: suspensions of accounts and
//! blocked sources, listed, made and lifted by operators.

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
use std::time::Instant;

use common::Phone;
use http::{ask, get};
use office::{Office, each, items, sum};
use serde_json::Value;
use serve::Wire;

/// Guesses a password until its source is suspended for the account.
fn guess_until_suspended(office: &Office, number: u32) {
    let wire = Wire::to(office.server.target());
    let mut phone = Phone::new(number, "guesser", &wire.local().to_string());
    phone.password = "guess".into();
    for _ in 0..3 {
        phone.challenge = None;
        let challenge = wire.ask(&phone.register(60));
        assert!(phone.take_challenge(&challenge));
        wire.ask(&phone.register(60));
    }
}

#[test]
fn suspensions_are_listed_and_lifted() {
    let settings = ["--set", "auth.suspend_registers_max=3"];
    each(&settings, |office| {
        let path = "/api/v1/suspensions";
        assert_eq!(get(office.http, path).good(), serde_json::json!({"items": [], "next": null}));
        for number in [3, 4, 5, 999] {
            guess_until_suspended(office, number);
        }
        let all = get(office.http, path).good();
        assert_eq!(items(&all).len(), 4);
        let known = |page: &Value| {
            let aors = items(page).iter().filter_map(|item| item["aor"].as_str());
            aors.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let expected = [3, 4, 5].map(|number| format!("sip:u{number}@example.com"));
        assert_eq!(known(&all), expected.into());
        for item in items(&all) {
            assert_eq!(
                (&item["source_ip"], &item["cause"]),
                (&"127.0.0.1".into(), &"registers".into())
            );
            assert!(item["remaining_s"].as_u64().is_some_and(|left| left > 100), "{item}");
        }
        // Page by page.
        let (mut rows, mut cursor) = (0, String::new());
        for _ in 0..8 {
            let page = get(office.http, &format!("{path}?limit=1{cursor}")).good();
            rows += items(&page).len();
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(rows, 4);

        let lift = |which: &str| {
            let done = ask(office.http, "DELETE", &format!("{path}/{which}")).good();
            done["lifted"].as_u64().expect("a number")
        };
        assert_eq!(lift("u3?ip=192.0.2.1"), 0);
        assert_eq!(lift("u3?ip=127.0.0.1"), 1);
        assert_eq!((lift("sip:u4@example.com"), lift("u4")), (1, 0));
        assert_eq!(lift("u999"), 1, "a name without an account");
        let left = get(office.http, path).good();
        assert_eq!(known(&left), ["sip:u5@example.com".to_owned()].into());
        // The owner is served from there again.
        office.phone(3, "desk");

        ask(office.http, "DELETE", &format!("{path}/u3?ip=127.0.0.0/8")).problem(400);
        ask(office.http, "DELETE", &format!("{path}/u3@example.org")).problem(404);
        ask(office.http, "DELETE", path).problem(405);
        get(office.http, &format!("{path}?cursor=0-1")).problem(400);
        get(office.http, &format!("{path}?limit=1001")).problem(400);
    });
}

#[test]
fn sources_are_blocked_by_an_operator_listed_and_freed() {
    each(&[], |office| {
        let path = "/api/v1/blacklist";
        assert_eq!(get(office.http, path).good(), serde_json::json!({"items": [], "next": null}));
        let act = |method: &str, which: &str| {
            let done = ask(office.http, method, &format!("{path}/{which}")).good();
            (done["source"].as_str().expect("whom").to_owned(), done["changed"] == true)
        };
        let changed = |source: &str| (source.to_owned(), true);
        assert_eq!(act("PUT", "192.0.2.9?seconds=600"), changed("192.0.2.9"));
        assert_eq!(act("PUT", "192.0.2.1"), changed("192.0.2.1"));
        assert_eq!(act("PUT", "::ffff:198.51.100.7?seconds=600"), changed("198.51.100.7"));
        assert!(act("PUT", "2001:db8:0:1::9?seconds=600").1);

        let all = get(office.http, path).good();
        assert_eq!(all["next"], Value::Null);
        let networks: Vec<&str> =
            items(&all).iter().map(|item| item["network"].as_str().expect("a network")).collect();
        let expected = ["192.0.2.1/32", "192.0.2.9/32", "198.51.100.7/32", "2001:db8:0:1::/64"];
        assert_eq!(networks, expected, "in the order of their addresses, each once");
        for item in items(&all) {
            assert_eq!((&item["whole"], &item["by_operator"]), (&true.into(), &true.into()));
            assert_eq!(item["times"], 1);
            assert!(item["since_s"].as_u64().is_some_and(|since| since < 300), "{item}");
            let left = item["remaining_s"].as_u64();
            match item["network"] == "192.0.2.1/32" {
                true => assert_eq!(item["remaining_s"], Value::Null, "until it is lifted"),
                false => assert!(left.is_some_and(|left| (300..=600).contains(&left)), "{item}"),
            }
        }
        // Page by page, each once.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..8 {
            let page = get(office.http, &format!("{path}?limit=1{cursor}")).good();
            assert!(items(&page).len() <= 1);
            seen.extend(
                items(&page).iter().map(|item| item["network"].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, expected);

        let shards = |family: &str| sum(&get(office.http, "/metrics").body, family);
        let count = shards("aorta_shards");
        assert_eq!(shards("aorta_sources_blocked"), 4 * count, "every shard knows all");

        assert_eq!(act("DELETE", "192.0.2.9"), changed("192.0.2.9"));
        assert!(!act("DELETE", "192.0.2.9").1, "free already");
        assert!(!act("DELETE", "192.0.2.99").1);
        // As the listing has it.
        assert!(act("DELETE", "2001%3Adb8%3A0%3A1%3A%3A%2F64").1);
        assert_eq!(items(&get(office.http, path).good()).len(), 2);

        for (method, which) in [
            ("PUT", "192.0.2"),
            ("PUT", "example.com"),
            ("PUT", "192.0.2.1?seconds=0"),
            ("PUT", "192.0.2.1?seconds=-1"),
            ("PUT", "192.0.2.1?seconds=315360001"),
            ("PUT", "192.0.2.1?seconds=4294967296"),
            ("PUT", "192.0.2.1?second=1"),
            ("DELETE", "x"),
            ("DELETE", "192.0.2.1?seconds=1"),
        ] {
            ask(office.http, method, &format!("{path}/{which}")).problem(400);
        }
        get(office.http, &format!("{path}?cursor=x")).problem(400);
        get(office.http, &format!("{path}?limit=0")).problem(400);
        ask(office.http, "DELETE", path).problem(405);
    });
}

#[test]
fn a_source_that_an_operator_has_blocked_is_not_answered_by_any_shard() {
    each(&["--set", "guard.loopback=on"], |office| {
        let path = "/api/v1/blacklist/127.0.0.1";
        let wires: Vec<Wire> = (0..8).map(|_| Wire::to(office.server.target())).collect();
        let dropped = || {
            let metrics = get(office.http, "/metrics").body;
            let of_shards = metrics.lines().filter_map(|line| {
                let is = line.starts_with("aorta_not_answered_total{")
                    && line.contains("reason=\"source_blocked\"");
                is.then(|| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()))
            });
            of_shards.map(|count| count.expect("a number")).sum::<u64>()
        };
        let register = |wire: &Wire| Phone::new(6, "desk", &wire.local().to_string()).register(600);
        ask(office.http, "PUT", path).good();
        for wire in &wires {
            wire.send(register(wire).as_bytes());
        }
        // Every one has been looked at; whichever shard had it.
        let began = Instant::now();
        while dropped() < 8 {
            assert!(began.elapsed().as_secs() < 30, "{} of 8 were dropped", dropped());
            std::thread::yield_now();
        }
        ask(office.http, "DELETE", path).good();
        for wire in &wires {
            // The first thing it hears is the answer to what it asked since.
            let mut phone = Phone::new(6, "desk", &wire.local().to_string());
            phone.call_id = "since".into();
            let heard = wire.ask(&phone.register(600));
            assert_eq!((heard.status, heard.header("call-id")), (401, Some("since")));
        }
        assert_eq!(dropped(), 8);
    });
}
