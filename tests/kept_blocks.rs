//! What outlives the process, and what it tells unasked, through the built program: operators'
//! blocks after a restart and after a kill, the file of security events, lines about alerts.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/office.rs"]
mod office;
#[path = "common/serve.rs"]
mod serve;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::Phone;
use http::{ask, get};
use office::{Office, items};
use serde_json::Value;
use serve::{Process, Wire};

const LIST: &str = "/api/v1/blacklist";

/// A directory of this test alone.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let unique = format!("aorta-kept-{name}-{}", std::process::id());
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

/// Network and seconds left of each block.
fn blocks(office: &Office) -> Vec<(String, Option<u64>)> {
    let all = get(office.http, LIST).good();
    let one = |item: &Value| {
        let network = item["network"].as_str().expect("a network").to_owned();
        assert_eq!((&item["by_operator"], &item["whole"]), (&true.into(), &true.into()));
        (network, item["remaining_s"].as_u64())
    };
    items(&all).iter().map(one).collect()
}

fn dropped(office: &Office) -> u64 {
    let metrics = get(office.http, "/metrics").body;
    let lines = metrics.lines().filter(|line| line.contains("reason=\"source_blocked\""));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn what_an_operator_blocks_outlives_a_kill_and_what_is_lifted_does_not_come_back() {
    for reactors in ["1", "2"] {
        let data = Scratch::new(reactors);
        let more = ["--data", data.path(), "--set", "guard.loopback=on"];
        let Some(office) = Office::open(reactors, &more) else { return };
        for which in ["192.0.2.1", "192.0.2.2?seconds=600", "192.0.2.3", "2001:db8::7", "127.0.9.1"]
        {
            let done = ask(office.http, "PUT", &format!("{LIST}/{which}")).good();
            assert_eq!((&done["kept"], &done["warning"]), (&true.into(), &Value::Null), "{done}");
        }
        let done = ask(office.http, "DELETE", &format!("{LIST}/192.0.2.3")).good();
        assert_eq!((&done["changed"], &done["kept"]), (&true.into(), &true.into()));
        let before: Vec<String> = blocks(&office).into_iter().map(|(network, _)| network).collect();
        assert_eq!(before, ["127.0.9.1/32", "192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64"]);
        // Without a chance to say goodbye.
        let mut process = office.server.process;
        process.signal("KILL");
        assert!(!process.finish().success());

        let office = Office::open(reactors, &more).expect("as before");
        let after = blocks(&office);
        let networks: Vec<&String> = after.iter().map(|(network, _)| network).collect();
        assert_eq!(networks, before.iter().collect::<Vec<_>>());
        for (network, left) in &after {
            match network.as_str() {
                "192.0.2.2/32" => assert!(left.is_some_and(|left| left <= 600), "{left:?}"),
                _ => assert_eq!(*left, None, "{network}"),
            }
        }
        // It holds at every shard from the first datagram on, and is no event of this process.
        let wires: Vec<Wire> =
            (0..8).map(|_| Wire::from("127.0.9.1:0", office.server.target())).collect();
        for wire in &wires {
            let local = wire.local().to_string();
            wire.send(Phone::new(3, "desk", &local).register(600).as_bytes());
        }
        let began = Instant::now();
        while dropped(&office) < 8 {
            assert!(began.elapsed() < Duration::from_secs(30), "{} dropped", dropped(&office));
            std::thread::yield_now();
        }
        let events = get(office.http, "/api/v1/security-events?kind=blocked").good();
        assert_eq!(items(&events).len(), 0);
        ask(office.http, "DELETE", &format!("{LIST}/192.0.2.1")).good();
        office.server.stop();

        let office = Office::open(reactors, &more).expect("as before");
        let networks: Vec<String> = blocks(&office).into_iter().map(|(net, _)| net).collect();
        assert_eq!(networks, ["127.0.9.1/32", "192.0.2.2/32", "2001:db8::/64"]);
        office.server.stop();
    }
}

#[test]
fn without_a_directory_an_operator_is_told_that_the_block_ends_with_the_process() {
    let Some(office) = Office::open("2", &[]) else { return };
    let done = ask(office.http, "PUT", &format!("{LIST}/192.0.2.1")).good();
    assert_eq!((&done["changed"], &done["kept"]), (&true.into(), &false.into()));
    assert!(done["warning"].as_str().is_some_and(|why| why.contains("--data")), "{done}");
    let done = ask(office.http, "DELETE", &format!("{LIST}/192.0.2.1")).good();
    assert_eq!((&done["kept"], &done["warning"]), (&false.into(), &Value::Null));
    let at = office.http.to_string();
    let mut process = Process::start(&["ctl", "--admin", &at, "blacklist", "add", "192.0.2.7"]);
    assert!(process.finish().success());
    assert_eq!(process.out, ["192.0.2.7 blocked"]);
    assert!(process.err.iter().any(|line| line.contains("--data")), "{:?}", process.err);
    // What a block does not cover is not taken for what it does.
    for network in ["192.0.2.0%2F24", "2001:db8::%2F48", "192.0.2.1%2F31", "2001:db8::%2F128"] {
        ask(office.http, "PUT", &format!("{LIST}/{network}")).problem(400);
    }
    for network in ["192.0.2.1%2F32", "2001:db8::%2F64"] {
        ask(office.http, "PUT", &format!("{LIST}/{network}")).good();
    }
    office.server.stop();
}

#[test]
fn a_file_of_blocks_that_is_broken_is_one_line_and_the_registrar_serves() {
    let data = Scratch::new("broken");
    let file = data.0.join("blocks");
    fs::write(&file, b"aorta blocks 1\n192.0.2.1 -\n\x1b[2J\n").unwrap();
    let more = ["--data", data.path()];
    let Some(office) = Office::open("1", &more) else { return };
    let said: Vec<&String> =
        office.server.process.err.iter().filter(|line| line.contains("blocks.broken")).collect();
    assert_eq!(said.len(), 1, "{:?}", office.server.process.err);
    assert!(said[0].contains("line 3") && !said[0].contains('\x1b'));
    let held: Vec<String> = blocks(&office).into_iter().map(|(network, _)| network).collect();
    assert_eq!(held, ["192.0.2.1/32"], "what is understood holds");
    assert!(data.0.join("blocks.broken").exists());
    ask(office.http, "PUT", &format!("{LIST}/192.0.2.9")).good();
    let written = "aorta blocks 1\n192.0.2.1 -\n192.0.2.9 -\nend 2\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    office.server.stop();
}

/// Fails with a wrong password once.
fn guess(office: &Office, local: &str, number: u32) {
    let wire = Wire::from(&format!("{local}:0"), office.server.target());
    let mut phone = Phone::new(number, "guesser", &wire.local().to_string());
    (phone.password, phone.user_agent) = ("hunter2".into(), "kit \"<b>\" \\".into());
    let challenge = wire.ask(&phone.register(60));
    assert!(phone.take_challenge(&challenge));
    wire.ask(&phone.register(60));
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn the_file_of_security_events_has_a_line_of_json_for_each_and_no_secret() {
    for reactors in ["1", "2"] {
        let scratch = Scratch::new(&format!("log-{reactors}"));
        let file = scratch.0.join("security.log");
        let setting = format!("security.log={}", file.display());
        let Some(office) = Office::open(reactors, &["--set", &setting]) else { return };
        for number in [3, 4, 5, 4, 999] {
            guess(&office, "127.0.0.1", number);
        }
        office.server.stop();
        let lines = lines(&file);
        let count = |account: &str| {
            let of = |line: &&Value| line["account"] == account;
            lines.iter().rfind(of).map(|line| line["count"].as_u64().unwrap())
        };
        assert_eq!(count("u3@example.com"), Some(1));
        assert_eq!(count("u4@example.com"), Some(2), "{lines:?}");
        assert_eq!(count("u999@example.com"), Some(1));
        for line in &lines {
            assert_eq!(
                (&line["source_ip"], &line["user_agent"]),
                (&"127.0.0.1".into(), &"kit \"<b>\" \\".into())
            );
        }
        assert!(!fs::read_to_string(&file).unwrap().contains("hunter2"));
    }
    let nowhere = "security.log=none/such/place.log";
    let arguments = ["serve", "--test-accounts", "1", "--listen", "udp:127.0.0.1:0"];
    let mut process = Process::start(&[&arguments[..], &["--set", nowhere]].concat());
    assert_eq!(process.finish().code(), Some(1));
    assert!(process.err.last().is_some_and(|line| line.contains("security.log: cannot write")));
}

#[test]
fn an_alert_is_one_line_of_the_server() {
    for reactors in ["1", "2"] {
        let more = [
            "--set",
            "guard.loopback=on",
            "--set",
            "guard.rate=off",
            "--set",
            "guard.register_rate=off",
            "--set",
            "security.alert_sources=2",
        ];
        let Some(mut office) = Office::open(reactors, &more) else { return };
        for host in 1..20 {
            guess(&office, &format!("127.0.3.{host}"), 3);
        }
        let line = office.server.process.wait_for(|line| line.contains("alert:"));
        let line = line.expect("it is told");
        assert!(line.contains("many_sources") && line.contains("u3@example.com"), "{line}");
        let alerts = get(office.http, "/api/v1/security-events?kind=alerts").good();
        assert_eq!(items(&alerts).len(), 1, "{alerts}");
        office.server.stop();
    }
}

#[test]
fn a_check_of_the_configuration_points_out_short_passwords_and_shows_none() {
    let scratch = Scratch::new("check");
    let (config, subscribers) = (scratch.0.join("aorta.toml"), scratch.0.join("subscribers"));
    fs::write(&subscribers, "a@example.com hunter2\nb@example.com correct-horse-battery\n")
        .unwrap();
    let text = format!("[serve]\nsubscribers = \"{}\"\n", subscribers.display());
    fs::write(&config, text).unwrap();
    let mut process = Process::start(&["config", "check", config.to_str().unwrap()]);
    assert!(process.finish().success());
    assert_eq!(process.out, [format!("{}: good", config.display())]);
    let [line] = &process.err[..] else { panic!("one line: {:?}", process.err) };
    assert!(line.contains("1 of 2 passwords") && !line.contains("hunter2"), "{line}");
}
