//! History through the built program: what phones and operators do is there to be read, over HTTP
//! and by `aorta ctl`, and after a restart.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::Phone;
use crate::http::{ask, get};
use crate::office::{Office, items, sum};
use crate::serve::{Process, Wire};

const HISTORY: &str = "/api/v1/history";

/// A directory of this test alone.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let unique = format!("aorta-history-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks until `wanted` accepts the answer.
fn until(office: &Office, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = get(office.http, path).good();
        if wanted(&answer) {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{path}: {answer}");
        std::thread::yield_now();
    }
}

/// Kind and reason of each thing that happened to an account, the oldest first.
fn story(page: &Value) -> Vec<(String, String)> {
    let word = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    items(page).iter().rev().map(|one| (word(one, "kind"), word(one, "reason"))).collect()
}

/// What an account has gone through, once its last chapter is this.
fn story_of(office: &Office, user: &str, last: &str) -> Vec<(String, String)> {
    let page = until(office, &format!("{HISTORY}/{user}"), |page| {
        items(page).first().is_some_and(|one| one["kind"] == last)
    });
    story(&page)
}

fn ctl(office: &Office, arguments: &[&str]) -> String {
    let admin = office.http.to_string();
    let mut process = Process::start(&[&["ctl", "--admin", &admin], arguments].concat());
    let status = process.finish();
    assert!(status.success(), "{arguments:?}: {:?}", process.err);
    process.out.join("\n")
}

fn pair(kind: &str, reason: &str) -> (String, String) {
    (kind.to_owned(), reason.to_owned())
}

#[test]
fn what_phones_and_operators_do_is_told_and_outlives_the_process() {
    let data = Scratch::new("told");
    let settings = [
        "--data",
        data.path(),
        "--set",
        "registrar.expires_min=1",
        "--set",
        "registrar.late_margin=0",
        "--set",
        "registrar.expires_spread=0",
    ];
    let Some(office) = Office::open("2", &settings) else { return };
    // Registers, is replaced, is kicked.
    let (first, _wire) = office.phone(1, "first");
    let (second, _wire) = office.phone(1, "second");
    ask(office.http, "DELETE", "/api/v1/registrations/u1").good();
    let told = [
        pair("registered", ""),
        pair("replaced", "kicked"),
        pair("registered", ""),
        pair("kicked", "forced_unregister"),
    ];
    assert_eq!(story_of(&office, "u1", "kicked"), told);
    // Expires.
    let (mut brief, wire) = office.phone(2, "brief");
    assert_eq!(wire.ask(&brief.register(1)).status, 200);
    let told = [pair("registered", ""), pair("expired", "expired")];
    assert_eq!(story_of(&office, "u2", "expired"), told);
    // Unregisters.
    let (mut polite, wire) = office.phone(3, "polite");
    assert_eq!(wire.ask(&polite.register(0)).status, 200);
    let told = [pair("registered", ""), pair("unregistered", "unregistered")];
    assert_eq!(story_of(&office, "u3", "unregistered"), told);
    // Is refused, and suspended for that.
    let (mut wrong, wire) = (Phone::new(4, "wrong", "wrong.phones.test"), office_wire(&office));
    wrong.password = "guess".into();
    wrong.user_agent = "Kit <b>7</b>, \"x\"".into();
    for _ in 0..8 {
        let response = wire.ask(&wrong.register(600));
        wrong.take_challenge(&response);
    }
    let page = until(&office, "/api/v1/history?aor=u4&kind=suspended", |p| items(p).len() == 1);
    assert_eq!(items(&page)[0]["source_ip"], "127.0.0.1");
    let failed = until(&office, "/api/v1/failed?aor=u4", |page| items(page).len() > 3);
    let reasons: Vec<String> = story(&failed).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons[..3], ["bad_password"; 3]);
    assert!(reasons.contains(&"suspended".to_owned()), "{reasons:?}");

    // The same again by every filter.
    let count = |query: &str| items(&get(office.http, &format!("{HISTORY}?{query}")).good()).len();
    assert_eq!(count("kind=registered"), 4);
    assert_eq!(count("kind=replaced,kicked"), 2);
    assert_eq!(count("reason=forced_unregister"), 1);
    assert_eq!(count("aor=sip:u1@example.com&kind=registered"), 2);
    assert_eq!(count("ip=127.0.0.0/8&kind=registered"), 4);
    assert_eq!(count("ip=192.0.2.0/24"), 0);
    assert_eq!(count("since=2100-01-01T00:00:00Z"), 0);
    let query = format!("user_agent={}&kind=registered", "phone%2Fsecond");
    assert_eq!(count(&query), 1, "{}", second.user_agent);
    assert_eq!(count(&format!("text={}&kind=replaced", first.contact.replace(':', "%3A"))), 1);
    for bad in ["kind=x", "limit=0", "cursor=x", "since=x", "nothing=1"] {
        get(office.http, &format!("{HISTORY}?{bad}")).problem(400);
    }

    // At the terminal.
    let table = ctl(&office, &["history", "--aor", "u1"]);
    assert!(table.contains("replaced") && table.contains("sip:u1@example.com"), "{table}");
    let csv = ctl(&office, &["failed", "--aor", "u4", "--csv", "--all"]);
    assert!(csv.starts_with("id,at,at_ms,kind,aor,"), "{csv}");
    assert!(csv.contains("\"Kit <b>7</b>, \"\"x\"\"\""), "{csv}");
    let lines = csv.lines().count();
    assert_eq!(lines, 1 + items(&failed).len(), "{csv}");
    let json: Value =
        serde_json::from_str(&ctl(&office, &["--json", "history", "--kind", "kicked"])).unwrap();
    assert_eq!(items(&json).len(), 1);

    // How many there are, once it was measured.
    let trend = until(&office, "/api/v1/trends?step=10s", |page| {
        !page["t"].as_array().expect("times").is_empty()
    });
    let series = trend["series"].as_array().expect("series");
    let of = |name: &str| {
        let one = series.iter().find(|one| one["metric"] == name).expect(name);
        one["values"].as_array().expect("values").clone()
    };
    assert!(series.iter().all(|one| {
        one["values"].as_array().map(Vec::len) == trend["t"].as_array().map(Vec::len)
    }));
    assert!(of("memory_bytes")[0].as_f64().is_some_and(|bytes| bytes > 1e6));
    let table = ctl(&office, &["trend", "--step", "10s"]);
    assert!(table.contains("REGISTRATIONS") && table.lines().count() > 1, "{table}");
    let csv = ctl(&office, &["trend", "--step", "10s", "--csv", "--metrics", "requests,p99_ns"]);
    assert!(csv.starts_with("at,requests,p99_ns\n"), "{csv}");

    let metrics = get(office.http, "/metrics").body;
    assert!(sum(&metrics, "aorta_history_recorded_total") >= 10);
    assert_eq!(
        sum(&metrics, "aorta_history_recorded_total"),
        sum(&metrics, "aorta_history_store_rows_total")
    );
    assert_eq!(sum(&metrics, "aorta_history_shed_total"), 0);
    assert_eq!(sum(&metrics, "aorta_history_store_lost_total"), 0);

    // Something happens in the last moment, and the process ends.
    let before = items(&get(office.http, &format!("{HISTORY}?limit=1000")).good()).len();
    let (_last, _wire) = office.phone(5, "last");
    office.server.stop();
    let Some(office) = Office::open("1", &settings) else { return };
    let after = get(office.http, &format!("{HISTORY}?limit=1000")).good();
    assert_eq!(items(&after).len(), before + 1);
    assert_eq!(items(&after)[0]["aor"], "sip:u5@example.com");
    let told = [pair("registered", ""), pair("expired", "expired")];
    assert_eq!(story_of(&office, "u2", "expired"), told);
    office.server.stop();
}

fn office_wire(office: &Office) -> Wire {
    Wire::to(office.server.target())
}

#[test]
fn a_flood_of_refusals_leaves_what_honest_phones_did() {
    // In memory: nothing outlives this process.
    let Some(office) = Office::open("1", &["--set", "auth.suspend_registers=Off"]) else { return };
    let (_phone, _wire) = office.phone(200, "honest");
    let wire = office_wire(&office);
    let mut kits: Vec<Phone> =
        (1..=20).map(|number| Phone::new(number, "kit", &wire.local().to_string())).collect();
    let flood = 4000;
    for nth in 0..flood {
        let kit = &mut kits[nth % 20];
        kit.password = "guess".into();
        let response = wire.ask(&kit.register(600));
        kit.take_challenge(&response);
    }
    // As many rows of each account as there may be: three, and one for ten and one for a hundred.
    let page = until(&office, "/api/v1/failed?limit=1000", |page| items(page).len() >= 80);
    assert!(items(&page).len() <= 20 * 8, "{}", items(&page).len());
    let honest = get(office.http, &format!("{HISTORY}?aor=u200")).good();
    assert_eq!(story(&honest), [pair("registered", "")]);
    office.server.stop();
}

#[test]
fn where_none_is_kept_it_says_so() {
    let Some(office) = Office::open("1", &["--set", "history.enabled=Off"]) else { return };
    let (_phone, _wire) = office.phone(1, "device");
    for path in [HISTORY, "/api/v1/failed", "/api/v1/trends", "/api/v1/history/u1"] {
        let detail = get(office.http, path).problem(404);
        assert!(detail.contains("history.enabled"), "{detail}");
    }
    let metrics = get(office.http, "/metrics").body;
    assert_eq!(sum(&metrics, "aorta_history_recorded_total"), 0);
    office.server.stop();
}
