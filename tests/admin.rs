//! The admin interface of the built server over real HTTP, with one reactor and with two: whatever
//! shard has an account, operators find it, act on it, and see what they did.

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
use std::time::{Duration, Instant};

use common::{Phone, Response};
use http::{ask, ask_with, get, raw};
use office::{Office, each, items, sum};
use serde_json::Value;
use serve::{Process, Wire};

const LIST: &str = "/api/v1/registrations";

fn aors(page: &Value) -> BTreeSet<String> {
    items(page).iter().map(|item| item["aor"].as_str().expect("an AOR").to_owned()).collect()
}

#[test]
fn registrations_are_listed_by_account_contact_and_source_with_all_they_have() {
    each(&["--set", "registrar.bindings_max=2"], |office| {
        assert_eq!(get(office.http, LIST).good(), serde_json::json!({"items": [], "next": null}));
        let phones: Vec<(Phone, Wire)> = (1..=8).map(|n| office.phone(n, "desk")).collect();
        let all = get(office.http, LIST).good();
        assert_eq!(items(&all).len(), 8);
        assert_eq!(all["next"], Value::Null);

        let (phone, wire) = &phones[2];
        let local = wire.local().to_string();
        for path in [
            format!("{LIST}?aor=sip:u3@example.com"),
            format!("{LIST}?aor=u3"),
            format!("{LIST}?contact={}", phone.contact),
            format!("{LIST}?ip=127.0.0.1&contact=u3@{local}"),
            format!("{LIST}?ip=127.0.0.0/8&aor=u3@EXAMPLE.com"),
        ] {
            let page = get(office.http, &path).good();
            assert_eq!(aors(&page), ["sip:u3@example.com".to_owned()].into(), "{path}");
            let item = &items(&page)[0];
            assert_eq!(item["contact"], phone.contact);
            assert_eq!(item["received"], local);
            assert_eq!(item["source_ip"], "127.0.0.1");
            assert_eq!(item["transport"], "udp");
            assert_eq!(item["flow"], format!("udp:{}", office.server.target()));
            assert_eq!(item["user_agent"], "Phone/desk");
            assert_eq!(item["call_id"], phone.call_id);
            assert_eq!(item["cseq"], phone.cseq);
            assert_eq!((&item["nat"], &item["reachable"]), (&false.into(), &true.into()));
            assert_eq!(item["status"], "registered");
            for none in ["path", "instance", "reg_id", "q", "probes_missed", "round_trip_ms"] {
                assert_eq!(item[none], Value::Null, "{none}");
            }
            let (granted, left) = (item["granted_s"].as_u64(), item["remaining_s"].as_u64());
            assert!(granted.is_some_and(|granted| (500..=600).contains(&granted)), "{item}");
            assert!(left.is_some_and(|left| left > 400 && left <= granted.unwrap()), "{item}");
            assert!(item["registered_at"].as_str().is_some_and(|at| at.ends_with('Z')));
            assert_eq!(item["registered_at"], item["refreshed_at"]);
            assert!(item["shard"].as_u64().is_some_and(|shard| shard < 2));
        }
        for nothing in
            ["aor=u999", "aor=u3@example.org", "ip=192.0.2.1", "contact=sip:u3@192.0.2.9"]
        {
            let page = get(office.http, &format!("{LIST}?{nothing}")).good();
            assert_eq!(items(&page), [] as [Value; 0], "{nothing}");
        }
    });
}

#[test]
fn registrations_are_found_and_counted_by_every_filter_and_by_several_at_once() {
    each(&[], |office| {
        let phones: Vec<(Phone, Wire)> = (1..=12).map(|n| office.phone(n, "desk")).collect();
        for (filter, expected) in [
            ("", 12),
            ("number=u3", 1),
            ("number=u3,u4,u4,u999", 2),
            ("number=u1*", 4),
            ("number=u1*,u2*,u3", 6),
            ("account=u3@example.com,u4", 2),
            ("domain=EXAMPLE.com", 12),
            ("domain=example.org", 0),
            ("ip=127.0.0.x", 12),
            ("ip=127.0.*.*,192.0.2.1", 12),
            ("ip=192.0.2.x", 0),
            ("user_agent=phone%2FDESK", 12),
            ("user_agent=none", 0),
            ("status=registered", 12),
            ("status=expiring,unreachable", 0),
            ("transport=udp,tls", 12),
            ("transport=tcp", 0),
            ("nat=false", 12),
            ("nat=true", 0),
            ("age_max=1h", 12),
            ("age_min=1h", 0),
            ("idle_max=10m&number=u1*&ip=127.0.0.1&user_agent=desk", 4),
            ("number=u1*&ip=192.0.2.1", 0),
            ("status=unregistered&number=u1,u13", 1),
            ("status=unregistered&number=u99*", 1),
        ] {
            let page = get(office.http, &format!("{LIST}?{filter}")).good();
            assert_eq!(items(&page).len(), expected, "{filter}");
            let counted = get(office.http, &format!("{LIST}/count?{filter}")).good();
            let count = serde_json::json!({"count": expected, "estimated": false});
            assert_eq!(counted, count, "{filter}");
        }
        let page = get(office.http, &format!("{LIST}?status=unregistered&limit=1000")).good();
        let (gone, registered) = (aors(&page), aors(&get(office.http, LIST).good()));
        assert!(gone.is_disjoint(&registered) && gone.len() + registered.len() >= 99);
        let row = &items(&page)[0];
        assert_eq!((&row["status"], &row["binding"]), (&"unregistered".into(), &Value::Null));
        let item = get(office.http, &format!("{LIST}?number=u5")).good()["items"][0].clone();
        assert_eq!((&item["number"], &item["domain"]), (&"u5".into(), &"example.com".into()));
        assert_eq!(item["account"], "u5@example.com");
        for (bad, word) in [
            ("status=gone", "registered, expiring"),
            ("transport=sctp", "udp, tcp"),
            ("number=", "1001"),
            ("nat=perhaps", "true or false"),
            ("age_min=soon", "90s"),
            ("status=unregistered&nat=true", "without a registration"),
            ("aor=u1&account=u2", "the same filter"),
        ] {
            let detail = get(office.http, &format!("{LIST}?{bad}")).problem(400);
            assert!(detail.contains(word), "{bad}: {detail}");
        }
        drop(phones);
    });
}

#[test]
fn what_a_phone_said_of_itself_is_shown() {
    each(&[], |office| {
        let wire = Wire::to(office.server.target());
        let mut phone = Phone::new(5, "desk", &wire.local().to_string());
        phone.contact_params =
            ";q=0.7;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-0>\"".into();
        phone.user_agent = "Evil \"<script>\" \u{e9}".into();
        let challenge = wire.ask(&phone.register(600));
        assert!(phone.take_challenge(&challenge));
        let contact = format!("<{}>{}", phone.contact, phone.contact_params);
        let path = "<sip:edge.example.com;lr>";
        let request = phone.request(&[("Contact", &contact), ("Path", path)]);
        assert_eq!(wire.ask(&request).status, 200);
        let item = get(office.http, &format!("{LIST}/u5")).good()["items"][0].clone();
        assert_eq!(item["user_agent"], phone.user_agent);
        assert_eq!(item["instance"], "<urn:uuid:00000000-0000-1000-8000-0>");
        assert_eq!(item["path"], path);
        assert!((item["q"].as_f64().unwrap() - 0.7).abs() < 1e-6);
    });
}

#[test]
fn pages_together_have_everything_once() {
    each(&["--set", "registrar.bindings_max=3"], |office| {
        let phones: Vec<_> = (1..=30).map(|n| office.phone(n, "desk")).collect();
        let more: Vec<_> = ["b", "c"].iter().map(|device| office.phone(7, device)).collect();
        let count = phones.len() + more.len();
        for (filter, expected) in [
            ("", count),
            ("ip=127.0.0.1&", count),
            ("number=u*&", count),
            ("aor=u7&", 3),
            ("number=u7,u8&", 4),
        ] {
            for limit in [1, 7, 1000] {
                let (mut seen, mut rows, mut pages) = (BTreeSet::new(), 0, 0);
                let mut cursor = String::new();
                loop {
                    let page = get(office.http, &format!("{LIST}?{filter}limit={limit}{cursor}"));
                    let page = page.good();
                    assert!(items(&page).len() <= limit);
                    rows += items(&page).len();
                    seen.extend(items(&page).iter().map(|item| item["binding"].to_string()));
                    pages += 1;
                    assert!(pages <= expected + 3, "pages come to an end");
                    match page["next"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                assert_eq!((rows, seen.len()), (expected, expected), "{filter} by {limit}");
            }
        }
    });
}

#[test]
fn a_registration_that_was_taken_out_is_gone_at_once_and_the_phone_comes_back() {
    each(&["--set", "registrar.bindings_max=4"], |office| {
        let (mut first, wire) = office.phone(4, "a");
        let others: Vec<_> = ["b", "c", "d"].iter().map(|device| office.phone(4, device)).collect();
        office.phone(5, "a");
        let path = format!("{LIST}/sip:u4@example.com");
        let left = || items(&get(office.http, &path).good()).len();
        assert_eq!(left(), 4);

        let done = ask(office.http, "DELETE", &format!("{path}?contact={}", first.contact)).good();
        assert_eq!(
            (&done["unregistered"], &done["aor"]),
            (&1.into(), &"sip:u4@example.com".into())
        );
        assert_eq!(done["items"][0]["contact"], first.contact);
        assert_eq!(left(), 3);
        let again = ask(office.http, "DELETE", &format!("{path}?contact={}", first.contact)).good();
        assert_eq!(again["unregistered"], 0, "gone already");

        let name =
            get(office.http, &path).good()["items"][1]["binding"].as_str().unwrap().to_owned();
        let done = ask(office.http, "DELETE", &format!("{path}?binding={name}")).good();
        assert_eq!(
            (&done["unregistered"], done["items"][0]["binding"].as_str()),
            (&1.into(), Some(&*name))
        );
        // Not under another account's name.
        let other = get(office.http, &format!("{LIST}/u5")).good()["items"][0]["binding"].clone();
        let other = other.as_str().unwrap();
        let done = ask(office.http, "DELETE", &format!("{path}?binding={other}")).good();
        assert_eq!((done["unregistered"].as_u64(), left()), (Some(0), 2));

        assert_eq!(ask(office.http, "DELETE", &path).good()["unregistered"], 2);
        assert_eq!(left(), 0);
        assert_eq!(items(&get(office.http, LIST).good()).len(), 1);

        assert_eq!(wire.ask(&first.register(600)).status, 200);
        assert_eq!(left(), 1);
        drop(others);
        let metrics = get(office.http, "/metrics").body;
        let removed: u64 = sum(&metrics, "aorta_removed_total");
        assert_eq!(removed, 4);
    });
}

#[test]
fn an_operator_who_takes_a_registration_out_closes_its_connection() {
    each(&["--listen", "tcp:127.0.0.1:0"], |office| {
        let mut stream = http::connect(office.server.targets[1]);
        let mut phone = Phone::new(9, "desk", "192.0.2.9:5060");
        let mut ask_over = |request: &str| {
            stream.write_all(request.replace("/UDP ", "/TCP ").as_bytes()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("an answer");
                head.push(byte[0]);
            }
            Response::parse(&head)
        };
        let challenge = ask_over(&phone.register(600));
        assert!(phone.take_challenge(&challenge));
        assert_eq!(ask_over(&phone.register(600)).status, 200);
        let item = get(office.http, &format!("{LIST}/u9")).good()["items"][0].clone();
        assert_eq!(item["transport"], "tcp");
        assert!(item["flow"].as_str().is_some_and(|flow| flow.starts_with("tcp:")), "{item}");
        ask(office.http, "DELETE", &format!("{LIST}/u9")).good();
        assert_eq!(stream.read(&mut [0; 16]).expect("no error"), 0, "it is closed");
    });
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    each(&[], |office| {
        let refused = |method: &str, path: &str, status: u16, word: &str| {
            let detail = ask(office.http, method, path).problem(status);
            assert!(detail.contains(word), "{method} {path}: {detail}");
        };
        for limit in ["0", "1001", "-1", "many", ""] {
            refused("GET", &format!("{LIST}?limit={limit}"), 400, "1 to 1000");
        }
        for ip in ["192.0.2", "192.0.2.0/33", "x", "", "192.0.2.1:5060"] {
            refused("GET", &format!("{LIST}?ip={ip}"), 400, "an address or a network");
        }
        for contact in ["", "tel:+1555", "sip:", "%ff%fe@", "a@b@c"] {
            refused("GET", &format!("{LIST}?contact={contact}"), 400, "a SIP URI");
        }
        for aor in ["", "a@b@c", "@", "sip:u1@"] {
            refused("GET", &format!("{LIST}?aor={aor}"), 400, "user@domain");
        }
        let long = "u".repeat(5000);
        refused("GET", &format!("{LIST}?aor={long}"), 400, "user@domain");
        refused("GET", &format!("{LIST}/{long}"), 400, "user@domain");
        for cursor in ["", "x", "0-0", "1.2.3", "-", "99999999999999999999"] {
            refused("GET", &format!("{LIST}?cursor={cursor}"), 400, "the next of the page");
        }
        for cursor in ["", "x", "200-0", "0-99999999999", "0-0-0", "0"] {
            let path = format!("{LIST}?aor=u1&cursor={cursor}");
            refused("GET", &path, 400, "the next of the page");
        }
        // Behind the end there is nothing.
        let behind = get(office.http, &format!("{LIST}?aor=u1&cursor=0-4294967295")).good();
        assert_eq!(items(&behind).len(), 0);
        refused(
            "GET",
            &format!("{LIST}?ipp=192.0.2.1"),
            400,
            "known: aor, account, number, domain, contact, ip",
        );
        refused("GET", &format!("{LIST}?ip=192.0.2.1&ip=192.0.2.2"), 400, "twice");
        refused("GET", &format!("{LIST}/u1?x=1"), 400, "no parameter");
        refused("GET", "/metrics?x=1", 400, "no parameter");
        refused("GET", &format!("{LIST}/u999"), 404, "no such account");
        refused("GET", &format!("{LIST}/u1@example.org"), 404, "not served");
        refused("GET", &format!("{LIST}/a%40b%40c"), 400, "no address-of-record");
        refused("GET", &format!("{LIST}/%ff"), 400, "no address-of-record");
        refused("DELETE", &format!("{LIST}/u999"), 404, "no such account");
        refused("DELETE", &format!("{LIST}/u1?binding=x"), 400, "a listing");
        refused("DELETE", &format!("{LIST}/u1?binding=0-0-1&contact=sip:a@b"), 400, "not both");
        refused("DELETE", LIST, 405, "DELETE");
        refused("POST", "/metrics", 405, "POST");
        refused("GET", "/api/v1/nothing", 404, "nothing");
        refused("GET", "/api/v1/registrations/a/b", 404, "nothing");
        let not_allowed = ask(office.http, "PUT", &format!("{LIST}/u1"));
        let allowed = not_allowed.header("allow").expect("RFC 9110 15.5.6").to_owned();
        assert!(allowed.contains("GET") && allowed.contains("DELETE"), "{allowed}");
        let big = format!("X: {}\r\n", "x".repeat(20_000));
        assert_eq!(ask_with(office.http, "GET", LIST, &big).status, 431);
        let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
        assert_eq!(ask_with(office.http, "GET", LIST, &many).status, 431);
        assert_eq!(raw(office.http, "REGISTER sip:example.com SIP/2.0\r\n\r\n").status, 400);
        // It still answers.
        get(office.http, LIST).good();
    });
}

#[test]
fn only_the_token_opens_and_without_one_only_this_host() {
    let token = "correct-horse-battery-staple";
    each(&["--admin-token", token], |office| {
        for headers in [
            "",
            "Authorization: Bearer correct-horse-battery-stapl\r\n",
            "Authorization: Bearer correct-horse-battery-staple1\r\n",
            "Authorization: Bearer\r\n",
            "Authorization: Basic correct-horse-battery-staple\r\n",
            "X-Token: correct-horse-battery-staple\r\n",
        ] {
            for (method, path) in
                [("GET", LIST), ("GET", "/metrics"), ("DELETE", "/x"), ("GET", "/")]
            {
                let answer = ask_with(office.http, method, path, headers);
                answer.problem(401);
                assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"aorta\""));
                assert_eq!(answer.header("cache-control"), Some("no-store"));
            }
        }
        let right = format!("Authorization: Bearer {token}\r\n");
        ask_with(office.http, "GET", LIST, &right).good();
        // By whatever name: a proxy may stand in front.
        ask_with(office.http, "GET", LIST, &format!("{right}Host: admin.example.com\r\n")).good();
        let metrics = ask_with(office.http, "GET", "/metrics", &right).body;
        assert_eq!(sum(&metrics, "aorta_admin_denied_total"), 24);
    });
    each(&[], |office| {
        get(office.http, LIST).good();
        ask_with(office.http, "GET", LIST, "Host: localhost\r\n").good();
        for host in ["attacker.example", "192.0.2.1"] {
            ask_with(office.http, "GET", LIST, &format!("Host: {host}\r\n")).problem(403);
        }
    });
}

/// Starts a server that must not start, and gives the one line it says.
fn refused(arguments: &[&str]) -> String {
    let all = [&["serve", "--test-accounts", "1", "--listen", "udp:127.0.0.1:0"], arguments];
    let mut process = Process::start(&all.concat());
    assert_eq!(process.finish().code(), Some(1));
    process.err.last().expect("it says why").clone()
}

#[test]
fn an_interface_that_cannot_be_as_it_is_asked_for_is_refused() {
    let said = refused(&["--admin", "127.0.0.1:0", "--admin-token", "two words"]);
    assert!(said.contains("visible ASCII"), "{said}");
    let said = refused(&["--admin-token", "correct-horse-battery"]);
    assert!(said.contains("--admin"), "{said}");
    let said = refused(&["--admin", "example.com"]);
    assert!(said.contains("ADDRESS:PORT"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = refused(&["--admin", &taken.local_addr().unwrap().to_string()]);
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn every_counter_has_its_name_its_meaning_and_its_kind() {
    each(&[], |office| {
        office.phone(1, "desk");
        // A reactor shows what it has counted when it is done with it, which may be after its
        // answer has arrived.
        let deadline = Instant::now() + Duration::from_secs(30);
        let answer = loop {
            let answer = get(office.http, "/metrics");
            let shown = sum(&answer.body, "aorta_reactor_datagrams_in_total");
            if shown == 2 || Instant::now() > deadline {
                break answer;
            }
        };
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let metrics = &answer.body;
        let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
        let mut lines = metrics.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, meaning) = help.split_once(' ').expect("a meaning");
                assert!(!meaning.trim().is_empty(), "{line}");
                assert!(families.insert(name.to_owned()), "{name} is there twice");
                let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
                let kind = kind.and_then(|kind| kind.strip_prefix(&format!("{name} ")));
                assert_eq!(kind == Some("counter"), name.ends_with("_total"), "{name} {kind:?}");
                assert!(
                    matches!(kind, Some("counter" | "gauge" | "histogram" | "summary")),
                    "{name}"
                );
                if matches!(kind, Some("histogram" | "summary")) {
                    let parts = ["bucket", "sum", "count"].map(|part| format!("{name}_{part}"));
                    families.extend(parts);
                }
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let name = sample.split('{').next().unwrap();
            assert!(name.starts_with("aorta_"), "{line}");
            assert!(families.contains(name), "{line} stands with its family");
            assert!(samples.insert(sample.to_owned()), "{sample} is there twice");
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
        }
        for (family, expected) in [
            ("aorta_registered_total", 1),
            ("aorta_challenged_total", 1),
            ("aorta_bindings", 1),
            ("aorta_accounts", 200),
            ("aorta_reactor_datagrams_in_total", 2),
            ("aorta_answers_total", 2),
            ("aorta_build_info", 1),
            ("aorta_keepalives", 0),
            ("aorta_keepalive_pace_raised", 0),
            ("aorta_sources_awaited", 0),
            ("aorta_endpoints_ignored", 0),
            ("aorta_probe_round_trip_seconds_count", 0),
        ] {
            assert_eq!(sum(metrics, family), expected, "{family}");
        }
        assert!(sum(metrics, "aorta_start_time_seconds") > 1_700_000_000);
        assert!(metrics.contains("aorta_not_answered_total{shard=\"0\",reason=\"keepalive\"} 0\n"));
    });
}

#[test]
fn a_stop_ends_connections_that_wait_for_nothing() {
    each(&[], |office| {
        office.phone(1, "desk");
        let idle = http::connect(office.http);
        // Kept until the server has gone, which `each` waits for.
        std::mem::forget(idle);
    });
}

/// A counted answer about as many registrations: passes go on while phones register.
fn counted(http: std::net::SocketAddr, path: &str, bindings: u64) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let page = get(http, path).good();
        if page["survey"]["bindings"] == bindings {
            return page;
        }
        assert!(Instant::now() < until, "{page}");
    }
}

#[test]
fn registrations_are_told_apart_and_each_row_says_how_to_list_its_own() {
    each(&["--set", "registrar.bindings_max=2"], |office| {
        let phones: Vec<(Phone, Wire)> = (1..=6).map(|n| office.phone(n, "desk")).collect();
        office.phone(1, "soft");
        let page = counted(office.http, "/api/v1/devices?by=model", 7);
        let row = &items(&page)[0];
        assert_eq!((&row["vendor"], &row["model"]), (&"other".into(), &"Phone desk".into()));
        assert_eq!((&row["count"], &row["share_percent"]), (&6.into(), &85.71.into()));
        assert_eq!((&page["total"], &page["rest"]), (&7.into(), &0.into()));
        for by in ["network", "source", "transport", "nat", "status", "domain"] {
            let page = get(office.http, &format!("/api/v1/breakdown?by={by}")).good();
            let found: u64 = items(&page)
                .iter()
                .map(|row| {
                    let filter = row["filter"].as_str().expect("they can be listed");
                    let listed = get(office.http, &format!("{LIST}?{filter}")).good();
                    assert_eq!(items(&listed).len() as u64, row["count"], "{filter}");
                    row["count"].as_u64().unwrap()
                })
                .sum();
            assert_eq!(found, 7, "{by}");
        }
        let page = get(office.http, "/api/v1/geography").good();
        assert_eq!(items(&page)[0]["key"], "(loopback)");
        assert!(page["note"].as_str().is_some_and(|note| note.contains("geo.database")));
        let rows = get(office.http, "/api/v1/breakdown?by=transport&format=csv");
        assert!(rows.body.contains("\nudp,UDP,7,100"), "{}", rows.body);
        for path in [
            "/api/v1/breakdown",
            "/api/v1/breakdown?by=x",
            "/api/v1/devices?by=nat",
            "/api/v1/geography?country=DEU",
            "/api/v1/devices?format=xml",
        ] {
            assert_eq!(get(office.http, path).status, 400, "{path}");
        }
        drop(phones);
    });
}

#[test]
fn an_alert_is_posted_listed_counted_and_taken_note_of() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let hook = format!("alerts.webhook=http://{}/hook", listener.local_addr().unwrap());
    let more = ["--set", "alerts.source_accounts=3", "--set", "alerts.pending=0", "--set", &hook];
    let Some(office) = Office::open("2", &more) else { return };
    let phones: Vec<(Phone, Wire)> = (1..=3).map(|n| office.phone(n, "desk")).collect();
    counted(office.http, "/api/v1/breakdown?by=source", 3);

    let (mut stream, _) = listener.accept().expect("the alert");
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    while !text.ends_with(b"]}") {
        let read = stream.read(&mut piece).expect("the rest of it");
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
        text.extend(&piece[..read]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("it waits");
    let text = String::from_utf8(text).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    let posted: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&posted["version"], &posted["status"]), (&"4".into(), &"firing".into()));
    let alert = &posted["alerts"][0];
    assert_eq!(alert["labels"]["alertname"], "source_accounts");
    assert_eq!(alert["annotations"]["description"], "127.0.0.1 has 3 registrations");

    let page = get(office.http, "/api/v1/alerts").good();
    let row = &items(&page)[0];
    assert_eq!((&row["rule"], &row["state"]), (&"source_accounts".into(), &"firing".into()));
    assert_eq!((&row["value"], &row["threshold"]), (&3.0.into(), &3.0.into()));
    let metrics = get(office.http, "/metrics").body;
    assert!(metrics.contains("\naorta_alert{rule=\"source_accounts\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\naorta_alert{rule=\"failures\"} 0\n"), "{metrics}");

    let note = |rule: &str| {
        let path = format!("/api/v1/alerts/{rule}/acknowledge?note=an%20office");
        ask(office.http, "POST", &path)
    };
    assert_eq!(note("source_accounts").good()["acknowledged"]["note"], "an office");
    assert_eq!(note("failures").status, 409);
    assert_eq!(note("nothing").status, 404);
    let capacity = get(office.http, "/api/v1/capacity").good();
    assert_eq!(capacity["busy_percent"].as_array().map(Vec::len), Some(2));
    assert_eq!(capacity["headroom"]["planned"], serde_json::json!([3.0, 5.0]));
    drop(phones);
    office.server.stop();
}
