//! What operators and their machines do with many registrations at once: take out what a filter
//! finds, suspend accounts, carry everything away as a file, listen to what changes; and what
//! programs made for Kamailio ask.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/office.rs"]
mod office;
#[path = "common/serve.rs"]
mod serve;

#[path = "admin_acts/kamailio.rs"]
mod kamailio;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::Phone;
use http::{ask, ask_with, connect, get};
use office::{Office, each, items};
use serde_json::{Value, json};
use serve::Wire;

const LIST: &str = "/api/v1/registrations";
const RUNS: &str = "/api/v1/unregistrations";
/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

fn aors(page: &Value) -> BTreeSet<String> {
    items(page).iter().map(|item| item["account"].as_str().expect("one").to_owned()).collect()
}

/// Asks again until the answer is as wanted.
fn until(what: &str, ask: impl Fn() -> Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if wanted(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: {answer}");
    }
}

fn run_of(office: &Office) -> Value {
    get(office.http, RUNS).good()["run"].clone()
}

#[test]
fn what_was_shown_is_taken_out_and_who_came_since_is_left_alone() {
    each(&["--set", "registrar.bindings_max=2"], |office| {
        assert_eq!(run_of(office), Value::Null);
        let mut phones: Vec<(Phone, Wire)> = (1..=12).map(|n| office.phone(n, "desk")).collect();
        ask(office.http, "POST", RUNS).problem(400);
        ask(office.http, "POST", &format!("{RUNS}?status=unregistered")).problem(400);
        let plan = ask(office.http, "POST", &format!("{RUNS}?number=u1*")).good();
        assert_eq!((&plan["count"], &plan["filters"]), (&4.into(), &"number=u1*".into()));
        let sample = plan["sample"].as_array().unwrap();
        assert_eq!(sample.len(), 4);
        assert_eq!(items(&get(office.http, LIST).good()).len(), 12, "nothing has happened yet");
        // One more of the kind comes, one goes.
        office.phone(1, "second");
        ask(office.http, "DELETE", &format!("{LIST}/u12")).good();

        let token = plan["token"].as_str().unwrap();
        let begin = format!("{RUNS}/{token}?reason=moved%20away&per_second=1000");
        let begun = ask(office.http, "POST", &begin);
        assert_eq!(begun.status, 202, "{}", begun.body);
        let run = until("it is through", || run_of(office), |run| run["state"] == "done");
        for (member, value) in [
            ("count", json!(4)),
            ("unregistered", json!(3)),
            ("gone", json!(1)),
            ("spared", json!(0)),
            ("suspended", json!(0)),
            ("reason", json!("moved away")),
        ] {
            assert_eq!(run[member], value, "{member} of {run}");
        }
        let left = get(office.http, LIST).good();
        assert_eq!(items(&left).len(), 9, "eight others and the one that came since");
        assert!(aors(&left).contains("u1@example.com") && !aors(&left).contains("u10@example.com"));
        // A plan is carried out once.
        ask(office.http, "POST", &begin).problem(404);
        ask(office.http, "POST", &format!("{RUNS}/0-0")).problem(404);
        ask(office.http, "DELETE", RUNS).problem(409);
        // Whoever was taken out may come back.
        let (phone, wire) = &mut phones[9];
        assert_eq!(wire.ask(&phone.register(600)).status, 200);
    });
}

#[test]
fn a_run_keeps_its_pace_is_the_only_one_and_can_be_cancelled() {
    each(&[], |office| {
        let phones: Vec<_> = (1..=6).map(|n| office.phone(n, "desk")).collect();
        let plan = |filter: &str| {
            let plan = ask(office.http, "POST", &format!("{RUNS}?{filter}")).good();
            plan["token"].as_str().unwrap().to_owned()
        };
        let (slow, other) = (plan("ip=127.0.0.0/8"), plan("number=u1"));
        let slow = ask(office.http, "POST", &format!("{RUNS}/{slow}?per_second=1"));
        assert_eq!(slow.status, 202);
        let detail = ask(office.http, "POST", &format!("{RUNS}/{other}")).problem(409);
        assert!(detail.contains("under way"), "{detail}");
        let gone = |run: &Value| run["unregistered"].as_u64().is_some_and(|gone| gone >= 1);
        until("one has gone", || run_of(office), gone);
        let run = ask(office.http, "DELETE", RUNS).good()["run"].clone();
        assert_eq!(run["state"], "cancelled");
        // The other is possible now, whoever is left.
        let begun = ask(office.http, "POST", &format!("{RUNS}/{other}?per_second=10000"));
        assert_eq!(begun.status, 202);
        let run = until("it is through", || run_of(office), |run| run["state"] == "done");
        let handled = ["unregistered", "gone"].map(|member| run[member].as_u64().unwrap());
        assert_eq!(handled.iter().sum::<u64>(), 1, "{run}");
        assert!(items(&get(office.http, LIST).good()).len() >= 3, "most were left alone");
        drop(phones);
    });
}

#[test]
fn an_account_that_an_operator_suspends_is_refused_from_anywhere_until_it_is_lifted() {
    const SUSPENSIONS: &str = "/api/v1/suspensions";
    each(&[], |office| {
        let (mut phone, wire) = office.phone(3, "desk");
        office.phone(4, "desk");
        let path = format!("{LIST}/u3?suspend=1h&reason=fraud");
        assert_eq!(ask(office.http, "DELETE", &path).good()["unregistered"], 1);
        assert_eq!(wire.ask(&phone.register(600)).status, 403);
        let elsewhere = Wire::to(office.server.target());
        let mut same = Phone::new(3, "elsewhere", &elsewhere.local().to_string());
        let challenge = elsewhere.ask(&same.register(600));
        assert!(same.take_challenge(&challenge), "it tells nobody");
        assert_eq!(elsewhere.ask(&same.register(600)).status, 403);
        // An account can be suspended beforehand, and every listing shows all.
        let path = format!("{SUSPENSIONS}/u5?suspend=until_lifted");
        assert_eq!(ask(office.http, "PUT", &path).good()["aor"], "sip:u5@example.com");
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = get(office.http, &format!("{SUSPENSIONS}?limit=1{cursor}")).good();
            seen.extend(items(&page).to_vec());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        seen.sort_by_key(|item| item["aor"].to_string());
        let [u3, u5] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((&u3["aor"], &u3["cause"]), (&"sip:u3@example.com".into(), &"operator".into()));
        assert_eq!((&u3["source_ip"], &u3["reason"]), (&Value::Null, &"fraud".into()));
        assert!(u3["remaining_s"].as_u64().is_some_and(|left| (3500..=3600).contains(&left)));
        assert_eq!((&u5["remaining_s"], &u5["reason"]), (&Value::Null, &Value::Null));

        assert_eq!(ask(office.http, "DELETE", &format!("{SUSPENSIONS}/u3")).good()["lifted"], 1);
        assert_eq!(wire.ask(&phone.register(600)).status, 200);
        assert_eq!(ask(office.http, "DELETE", &format!("{SUSPENSIONS}/u5")).good()["lifted"], 1);
        assert_eq!(items(&get(office.http, SUSPENSIONS).good()), [] as [Value; 0]);
        // With a run, those of everybody it takes out.
        let plan = ask(office.http, "POST", &format!("{RUNS}?number=u3,u4")).good();
        let token = plan["token"].as_str().unwrap();
        let begun = ask(office.http, "POST", &format!("{RUNS}/{token}?suspend=10m"));
        assert_eq!(begun.status, 202);
        let run = until("it is through", || run_of(office), |run| run["state"] == "done");
        assert_eq!((&run["unregistered"], &run["suspended"]), (&2.into(), &2.into()));
        assert_eq!(wire.ask(&phone.register(600)).status, 403);
        for bad in ["suspend=soon", "suspend=0s", "suspend=20y", "suspend="] {
            ask(office.http, "PUT", &format!("{SUSPENSIONS}/u3?{bad}")).problem(400);
        }
    });
}

/// The body of an answer that comes in chunks, and the head before it.
fn chunked(to: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = connect(to);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let mut body = Vec::new();
    loop {
        let mut length = String::new();
        reader.read_line(&mut length).unwrap();
        let length = usize::from_str_radix(length.trim_end(), 16).expect("a chunk, not an end");
        let begin = body.len();
        body.resize(begin + length + 2, 0);
        reader.read_exact(&mut body[begin..]).unwrap();
        assert!(body.ends_with(b"\r\n"));
        body.truncate(begin + length);
        if length == 0 {
            return (head, body);
        }
    }
}

#[test]
fn an_export_has_every_registration_once_as_csv_and_as_json_lines() {
    each(&["--set", "registrar.bindings_max=2"], |office| {
        let mut phones: Vec<_> = (1..=120).map(|n| office.phone(n, "desk")).collect();
        phones.extend((1..=120).map(|n| office.phone(n, "second")));
        let (head, body) = chunked(office.http, &format!("{LIST}/export?format=jsonl"));
        assert!(
            head.contains("application/jsonl") && head.contains("registrations.jsonl"),
            "{head}"
        );
        let rows: Vec<Value> = String::from_utf8(body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).expect("one object a line"))
            .collect();
        let names: BTreeSet<String> = rows.iter().map(|row| row["binding"].to_string()).collect();
        assert_eq!((rows.len(), names.len()), (240, 240));
        let page = get(office.http, &format!("{LIST}?number=u7&limit=1")).good();
        let same = rows.iter().find(|row| row["binding"] == items(&page)[0]["binding"]);
        assert_eq!(same.unwrap()["contact"], items(&page)[0]["contact"]);

        let (head, body) = chunked(office.http, &format!("{LIST}/export?number=u1*"));
        assert!(head.contains("text/csv") && head.contains("attachment"), "{head}");
        let text = String::from_utf8(body).unwrap();
        let mut lines = text.split_terminator("\r\n");
        assert!(lines.next().unwrap().starts_with("aor,number,account,domain,binding,contact,"));
        assert_eq!(lines.clone().count(), 2 * 32, "u1, u10 to u19, u100 to u120");
        assert!(lines.all(|line| line.starts_with("sip:u1")));
        let (_, body) = chunked(office.http, &format!("{LIST}/export?format=jsonl&number=u3,u4"));
        assert_eq!(String::from_utf8(body).unwrap().lines().count(), 4);
        let (_, body) = chunked(office.http, &format!("{LIST}/export?format=jsonl&number=x"));
        assert_eq!(body, b"");
        get(office.http, &format!("{LIST}/export?format=xml")).problem(400);
        get(office.http, &format!("{LIST}/export?number=")).problem(400);
    });
}

/// Events as they come.
struct Events(BufReader<TcpStream>);

impl Events {
    fn listen(to: SocketAddr, query: &str) -> Events {
        let mut stream = connect(to);
        let request = format!("GET /api/v1/stream?{query} HTTP/1.1\r\nHost: {to}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Events(BufReader::new(stream));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            events.0.read_line(&mut head).unwrap();
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// The data of the next event of that name.
    fn next(&mut self, name: &str) -> Value {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("in time") > 0, "it goes on");
            if let Some(data) = line.strip_prefix("data: ")
                && before.trim_end() == format!("event: {name}")
            {
                return serde_json::from_str(data).expect("JSON");
            }
            before = line;
        }
    }
}

#[test]
fn whoever_listens_hears_what_there_is_and_what_becomes_of_a_phone() {
    each(&[], |office| {
        let (mut phone, wire) = office.phone(1, "desk");
        office.phone(2, "desk");
        let mut counts = Events::listen(office.http, "topics=counts,unregistrations");
        assert_eq!(counts.next("counts")["registrations"], 2);
        let page = get(office.http, &format!("{LIST}?number=u1")).good();
        let binding = items(&page)[0]["binding"].as_str().unwrap();
        let query = format!("topics=registrations&bindings={binding}");
        let mut rows = Events::listen(office.http, &query);
        assert_eq!(rows.next("registration")["account"], "u1@example.com");
        phone.user_agent = "Another/2".into();
        assert_eq!(wire.ask(&phone.register(600)).status, 200);
        assert_eq!(rows.next("registration")["user_agent"], "Another/2");
        let plan = ask(office.http, "POST", &format!("{RUNS}?number=u1")).good();
        let token = plan["token"].as_str().unwrap();
        assert_eq!(ask(office.http, "POST", &format!("{RUNS}/{token}")).status, 202);
        assert_eq!(rows.next("gone")["binding"], binding);
        while counts.next("counts")["registrations"] != 1 {}
        for bad in ["topics=x", "topics=registrations", "topics=registrations&bindings=x"] {
            get(office.http, &format!("/api/v1/stream?{bad}")).problem(400);
        }
    });
}

#[test]
fn a_process_that_serves_is_healthy_and_ready() {
    each(&[], |office| {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(get(office.http, path).good(), json!({"status": "ok", "problems": []}));
        }
    });
}

/// Calls `/RPC`.
fn rpc(to: SocketAddr, call: &str) -> Value {
    let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", call.len());
    let mut stream = connect(to);
    let head = format!("POST /RPC HTTP/1.1\r\nHost: {to}\r\n{length}Connection: close\r\n\r\n");
    stream.write_all(format!("{head}{call}").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    if head.starts_with("HTTP/1.1 204") {
        return Value::Null;
    }
    // Kamailio says a failure with its status too, and leaves the connection open.
    assert!(head.contains("application/json"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.or_else(|| head.lines().find_map(|l| l.strip_prefix("content-length: ")));
    let mut body = vec![0; length.expect("a length").parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).expect("JSON")
}

fn command(to: SocketAddr, method: &str, params: Value) -> Value {
    let call = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 7});
    let answer = rpc(to, &call.to_string());
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&"2.0".into(), &7.into()));
    answer
}

#[test]
fn programs_made_for_kamailio_dump_look_up_take_out_and_put_in() {
    each(&["--set", "registrar.bindings_max=3"], |office| {
        let to = office.http;
        let phones: Vec<_> = (1..=5).map(|n| office.phone(n, "desk")).collect();
        office.phone(5, "second");
        let dump = command(to, "ul.dump", json!([]))["result"].clone();
        let domain = &dump["Domains"][0]["Domain"];
        assert_eq!(domain["Domain"], "location");
        assert_eq!(domain["Stats"]["Records"], 5);
        let infos = domain["AoRs"].as_array().unwrap();
        assert_eq!(infos.len(), 5);
        let contacts = |info: &Value| info["Info"]["Contacts"].as_array().unwrap().len();
        assert_eq!(infos.iter().map(contacts).sum::<usize>(), 6);
        let brief = command(to, "ul.dump", json!(["brief"]))["result"].clone();
        let names = brief["Domains"][0]["Domain"]["AoRs"].as_array().unwrap();
        assert!(names.iter().all(|name| name.as_object().unwrap().len() == 1));
        // Page by page it is the same.
        let (mut seen, mut next) = (Vec::new(), None::<String>);
        loop {
            let params = match &next {
                None => json!(["full", 2]),
                Some(next) => json!(["full", 2, next]),
            };
            let page = command(to, "ul.dump", params)["result"].clone();
            let infos = page["Domains"][0]["Domain"]["AoRs"].as_array().unwrap();
            assert!(infos.iter().map(contacts).sum::<usize>() <= 2);
            seen.extend(infos.iter().map(|info| info["Info"]["AoR"].to_string()));
            match page["Next"].as_str() {
                Some(cursor) => next = Some(cursor.to_owned()),
                None => break,
            }
        }
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 5);

        let found = command(to, "ul.lookup", json!(["location", "u3@example.com"]));
        let contact = &found["result"]["Contacts"][0]["Contact"];
        assert_eq!(contact["Address"], phones[2].0.contact);
        assert_eq!(contact["Socket"], format!("udp:{}", office.server.target()));
        let error = |method: &str, params: Value| {
            let answer = command(to, method, params);
            (answer["error"]["code"].as_i64(), answer["error"]["message"].to_string())
        };
        assert_eq!(error("ul.lookup", json!(["location", "u9@example.com"])).0, Some(500));
        assert_eq!(error("ul.lookup", json!(["subscriber", "u3@example.com"])).0, Some(500));
        assert_eq!(error("ul.lookup", json!(["location"])).0, Some(-32602));
        assert_eq!(error("ul.dump", json!(["full", 5000])).0, Some(-32602));
        assert_eq!(error("ul.nothing", json!([])).0, Some(-32601));

        let other = json!(["location", "u5@example.com", "sip:u5@192.0.2.1"]);
        assert_eq!(error("ul.rm_contact", other).0, Some(404));
        let mine = json!(["location", "u3@example.com", phones[2].0.contact]);
        assert_eq!(command(to, "ul.rm_contact", mine)["result"], json!({}));
        assert_eq!(error("ul.lookup", json!(["location", "u3@example.com"])).0, Some(500));
        for gone in ["u5@example.com", "u5@example.com", "u999@example.com"] {
            assert_eq!(command(to, "ul.rm", json!(["location", gone]))["result"], json!({}));
        }
        let put = json!(["location", "u6@example.com", "sip:u6@192.0.2.6:5080", 300, 0.5, "", 0]);
        assert_eq!(command(to, "ul.add", put.clone())["result"], json!({}));
        assert!(command(to, "ul.add", put)["result"].is_object(), "again, later");
        let put_in = command(to, "ul.lookup", json!(["location", "u6@example.com"]));
        let contact = &put_in["result"]["Contacts"][0]["Contact"];
        assert_eq!(
            (&contact["Address"], &contact["Q"]),
            (&"sip:u6@192.0.2.6:5080".into(), &0.5.into())
        );
        for bad in [
            json!(["location", "u999@example.com", "sip:x@192.0.2.6", 300, -1]),
            json!(["location", "u6@example.com", "sip:x@phone.example", 300, -1]),
            json!(["location", "u6@example.com", "sip:x@192.0.2.6;transport=tcp", 300, -1]),
            json!(["location", "u6@example.com", "sip:x@239.0.0.1", 300, -1]),
            json!(["location", "u6@example.com", "tel:1", 300, -1]),
        ] {
            assert_eq!(error("ul.add", bad.clone()).0, Some(500), "{bad}");
        }
        assert_eq!(command(to, "ul.flush", json!([]))["result"], json!({}));
    });
}

#[test]
fn what_is_no_call_is_answered_as_the_specification_says() {
    let Some(office) = Office::open("1", &[]) else { return };
    let code = |call: &str| rpc(office.http, call)["error"]["code"].as_i64();
    assert_eq!(code("{bad"), Some(-32700));
    assert_eq!(code("\u{fffd}"), Some(-32700));
    for bad in ["[]", "1", "{}", r#"{"jsonrpc":"1.0","method":"ul.flush","id":1}"#] {
        assert_eq!(code(bad), Some(-32600), "{bad}");
    }
    assert_eq!(code(r#"{"jsonrpc":"2.0","method":"ul.flush","id":{}}"#), Some(-32600));
    assert_eq!(code(r#"{"jsonrpc":"2.0","method":"ul.dump","params":{},"id":1}"#), Some(-32602));
    let flush = r#"{"jsonrpc":"2.0","method":"ul.flush"}"#;
    assert_eq!(rpc(office.http, flush), Value::Null, "a notification is not answered");
    let batch = r#"[{"jsonrpc":"2.0","method":"ul.flush","id":"a"},1,
        {"jsonrpc":"2.0","method":"ul.flush"},{"jsonrpc":"2.0","method":"none","id":2}]"#;
    let answers = rpc(office.http, batch);
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!((&answers[0]["id"], &answers[0]["result"]), (&"a".into(), &json!({})));
    assert_eq!(answers[1]["error"]["code"], -32600);
    assert_eq!(answers[2]["error"]["code"], -32601);
    let many = format!("[{}]", vec![flush; 65].join(","));
    assert_eq!(code(&many), Some(-32600));
    let dump = r#"{"jsonrpc":"2.0","method":"ul.dump","id":1}"#;
    assert_eq!(code(&format!("[{dump},{dump}]")), Some(-32600), "one dump at a time");
    ask_with(office.http, "GET", "/RPC", "").problem(405);
    office.server.stop();
}
