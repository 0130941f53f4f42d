//! `aorta ctl` against the built server: tables for people, JSON for programs, and a clear line and
//! status 1 where it cannot be done.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::Phone;
use serde_json::Value;
use serve::{Process, Server, Wire};

const TOKEN: &str = "correct-horse-battery-staple";

/// A server that only the token opens, and where to ask.
struct Office {
    server: Server,
    at: String,
}

impl Office {
    fn open(reactors: &str) -> Option<Office> {
        let server = Server::start(&[
            "--listen",
            "udp:127.0.0.1:0",
            "--reactors",
            reactors,
            "--set",
            "registrar.bindings_max=3",
            "--admin",
            "127.0.0.1:0",
            "--admin-token",
            TOKEN,
        ])?;
        let at = server.targets.last().expect("it listens").to_string();
        Some(Office { server, at })
    }

    fn phone(&self, number: u32, device: &str) -> Phone {
        let wire = Wire::to(self.server.target());
        let mut phone = Phone::new(number, device, &wire.local().to_string());
        let challenge = wire.ask(&phone.register(600));
        assert!(phone.take_challenge(&challenge));
        assert_eq!(wire.ask(&phone.register(600)).status, 200);
        phone
    }

    fn ctl(&self, arguments: &[&str]) -> Said {
        ctl(&[&["--admin", &self.at, "--token", TOKEN], arguments].concat())
    }
}

/// What it said, and whether it went well.
#[derive(Debug)]
struct Said {
    good: bool,
    out: Vec<String>,
    err: Vec<String>,
}

impl Said {
    fn json(&self) -> Value {
        assert!(self.good, "{self:?}");
        let text = self.out.join("\n");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The lines of its table, the head left out.
    fn rows(&self) -> &[String] {
        assert!(self.good, "{self:?}");
        assert!(self.out[0].starts_with("AOR  "), "{self:?}");
        &self.out[1..]
    }

    /// The one line of a failure.
    fn line(&self) -> &str {
        assert!(!self.good, "{self:?}");
        assert_eq!((self.out.len(), self.err.len()), (0, 1), "{self:?}");
        &self.err[0]
    }
}

fn ctl(arguments: &[&str]) -> Said {
    let mut process = Process::start(&[&["ctl"], arguments].concat());
    let good = process.finish().success();
    Said { good, out: std::mem::take(&mut process.out), err: std::mem::take(&mut process.err) }
}

fn each(test: impl Fn(&Office)) {
    for reactors in ["1", "2"] {
        let Some(office) = Office::open(reactors) else { return };
        test(&office);
        office.server.stop();
    }
}

#[test]
fn registrations_are_listed_and_shown_for_people_and_for_programs() {
    each(|office| {
        let said = office.ctl(&["registrations", "list"]);
        assert_eq!((said.good, said.out.len(), &*said.err[0]), (true, 0, "aorta: none"));
        let phones: Vec<Phone> = (1..=5).map(|number| office.phone(number, "desk")).collect();
        office.phone(5, "soft");

        let said = office.ctl(&["registrations", "list"]);
        assert_eq!(said.rows().len(), 6);
        let row = said.rows().iter().find(|row| row.starts_with("sip:u2@example.com ")).unwrap();
        assert!(row.contains(&phones[1].contact) && row.ends_with("Phone/desk"), "{row}");

        for filter in [["--aor", "u3"], ["--contact", &phones[2].contact]] {
            let said = office.ctl(&[&["registrations", "list"], &filter[..]].concat());
            assert_eq!(said.rows().len(), 1);
        }
        assert_eq!(office.ctl(&["registrations", "list", "--ip", "127.0.0.0/8"]).rows().len(), 6);
        let said = office.ctl(&["registrations", "list", "--limit", "4"]);
        assert_eq!(said.rows().len(), 4);
        assert!(said.err[0].contains("--all"), "{said:?}");

        let page = office.ctl(&["registrations", "list", "--json", "--all"]).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(6));
        assert_eq!(page["next"], Value::Null);
        let page = office.ctl(&["--json", "registrations", "list", "--aor", "u99"]).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(0));

        let said = office.ctl(&["registrations", "show", "u5@example.com"]);
        assert_eq!(said.out[0], "sip:u5@example.com: 2 bindings");
        for device in ["desk", "soft"] {
            let line = format!("  user_agent     Phone/{device}");
            assert!(said.out.contains(&line), "{said:?}");
        }
        let account = office.ctl(&["registrations", "show", "u5", "--json"]).json();
        assert_eq!(account["items"].as_array().map(Vec::len), Some(2));
        let said = office.ctl(&["registrations", "show", "u6"]);
        assert_eq!(said.out, ["sip:u6@example.com: not registered"]);
        let said = office.ctl(&["registrations", "show", "u999"]);
        assert_eq!(said.line(), "aorta: there is no such account");
    });
}

#[test]
fn where_nobody_sits_at_the_input_registrations_are_taken_out_without_a_question() {
    each(|office| {
        let phones: Vec<Phone> = (1..=4).map(|number| office.phone(number, "desk")).collect();
        for device in ["b", "c"] {
            office.phone(1, device);
        }
        let left = || {
            let page = office.ctl(&["registrations", "list", "--json"]).json();
            page["items"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(left(), 6);
        let unregister = |arguments: &[&str]| {
            office.ctl(&[&["registrations", "unregister"], arguments].concat())
        };
        // One of an account's.
        let said = unregister(&["u1", "--contact", &phones[0].contact]);
        assert_eq!(said.out.last().unwrap(), "1 binding unregistered");
        assert_eq!(left(), 5);
        let said = unregister(&["u1", "--contact", &phones[0].contact]);
        assert_eq!(said.out, ["nothing to unregister"]);
        // By the contact alone.
        assert_eq!(
            unregister(&["--contact", &phones[1].contact, "--json"]).json()["unregistered"],
            1
        );
        assert_eq!(left(), 4);
        // By its name.
        let account = office.ctl(&["registrations", "show", "u1", "--json"]).json();
        let name = account["items"][0]["binding"].as_str().unwrap().to_owned();
        let said = unregister(&["u1", "--binding", &name, "--yes"]);
        assert_eq!(said.out.last().unwrap(), "1 binding unregistered");
        // All of an account, all from a network.
        assert_eq!(unregister(&["u3"]).out.last().unwrap(), "1 binding unregistered");
        assert_eq!(unregister(&["--ip", "192.0.2.0/24"]).out, ["nothing to unregister"]);
        let said = unregister(&["--ip", "127.0.0.1"]);
        assert_eq!(said.out.last().unwrap(), "2 bindings unregistered");
        assert_eq!(left(), 0);
        assert_eq!(unregister(&["u999"]).line(), "aorta: there is no such account");
        // Nothing is never everything.
        assert!(!unregister(&[]).good && !unregister(&["--yes"]).good);
    });
}

#[test]
fn what_was_done_is_told_by_the_server_and_counters_are_shown() {
    each(|office| {
        office.phone(1, "desk");
        office.ctl(&["registrations", "kick", "u1"]);
        let said = office.ctl(&["metrics", "aorta_re"]);
        let lines: Vec<Vec<&str>> =
            said.out.iter().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["1", "aorta_registered_total"]), "{said:?}");
        assert!(lines.contains(&vec!["1", "aorta_removed_total"]), "{said:?}");
        let all = office.ctl(&["metrics", "--json"]).json();
        let all = all.as_array().expect("a list");
        assert!(all.iter().any(|one| {
            one["name"] == "aorta_removed_total" && one["labels"]["shard"].is_string()
        }));
    });
    let Some(mut office) = Office::open("1") else { return };
    let phone = office.phone(1, "desk");
    office.ctl(&["registrations", "unregister", "u1"]);
    let told = format!(": unregistered sip:u1@example.com, contact {}", phone.contact);
    let line = office.server.process.wait_for(|line| line.ends_with(&told)).expect("it is told");
    assert!(line.starts_with("aorta: admin 127.0.0.1:"), "{line}");
}

#[test]
fn what_cannot_be_done_is_one_line_and_status_1() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let said = ctl(&["--admin", &nobody, "registrations", "list"]);
    assert!(said.line().contains("aorta serve"), "{said:?}");
    let Some(office) = Office::open("1") else { return };
    for token in [&["--token", "wrong"][..], &[]] {
        let said = ctl(&[&["--admin", &office.at], token, &["registrations", "list"]].concat());
        assert!(said.line().contains("--token"), "{said:?}");
    }
    let said = office.ctl(&["registrations", "list", "--ip", "x"]);
    assert!(said.line().contains("an address or a network"), "{said:?}");
    // A SIP port does not answer as an admin interface, and that ends.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = other.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"SIP/2.0 400 Bad Request\r\n\r\n").unwrap();
    });
    assert!(!ctl(&["--admin", &at, "registrations", "list"]).good);
    answering.join().unwrap();
}

#[test]
fn the_token_may_stand_in_a_file_on_both_sides() {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("admin.token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let name = file.display().to_string();
    let setting = format!("serve.admin_token_file={name}");
    let arguments = ["--listen", "udp:127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", &setting];
    if let Some(server) = Server::start(&arguments) {
        let at = server.targets.last().unwrap().to_string();
        let list = |token: &[&str]| {
            ctl(&[&["--admin", &at], token, &["registrations", "list"]].concat()).good
        };
        assert!(list(&["--token-file", &name]) && list(&["--token", TOKEN]));
        assert!(!list(&["--token", "wrong"]) && !list(&[]));
        assert!(!list(&["--token-file", "no-such-file"]));
    }
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn suspensions_are_listed_and_lifted() {
    each(|office| {
        let said = office.ctl(&["suspensions", "list"]);
        assert_eq!((said.good, &*said.err[0]), (true, "aorta: none"));
        let wire = Wire::to(office.server.target());
        let mut phone = Phone::new(2, "guesser", &wire.local().to_string());
        phone.password = "guess".into();
        // More guesses than any setting lets pass.
        for _ in 0..20 {
            phone.challenge = None;
            let challenge = wire.ask(&phone.register(60));
            if !phone.take_challenge(&challenge) {
                break;
            }
            wire.ask(&phone.register(60));
        }
        let said = office.ctl(&["suspensions", "list"]);
        assert!(said.out[1].starts_with("sip:u2@example.com  127.0.0.1  "), "{said:?}");
        let page = office.ctl(&["suspensions", "list", "--json"]).json();
        assert_eq!(page["items"][0]["source_ip"], "127.0.0.1");
        let lift = |ip: &str| office.ctl(&["suspensions", "lift", "u2", "--ip", ip]).out;
        assert_eq!(lift("192.0.2.1"), ["nothing to lift"]);
        assert_eq!(lift("127.0.0.1"), ["1 suspension lifted"]);
        assert_eq!(office.ctl(&["suspensions", "list"]).out.len(), 0);
    });
}

#[test]
fn sources_are_blocked_listed_and_freed() {
    each(|office| {
        let blacklist = |arguments: &[&str]| office.ctl(&[&["blacklist"], arguments].concat());
        assert_eq!(&*blacklist(&["list"]).err[0], "aorta: none");
        assert_eq!(blacklist(&["add", "192.0.2.7", "--seconds", "600"]).out, ["192.0.2.7 blocked"]);
        assert_eq!(blacklist(&["add", "2001:db8::1", "-y"]).out, ["2001:db8::1 blocked"]);
        let said = blacklist(&["list"]);
        assert!(said.out[0].starts_with("SOURCE "), "{said:?}");
        let words: Vec<Vec<&str>> =
            said.out[1..].iter().map(|row| row.split_whitespace().collect()).collect();
        assert_eq!((words.len(), words[0][0], words[1][0]), (2, "192.0.2.7/32", "2001:db8::/64"));
        assert!(words[0][1] == "blocked" && words[0].ends_with(&["1", "operator"]), "{said:?}");
        assert!(words[1].windows(2).any(|pair| pair == ["until", "lifted"]), "{said:?}");
        let page = blacklist(&["list", "--limit", "1", "--json"]).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(page["next"], "192.0.2.7");

        assert_eq!(blacklist(&["lift", "192.0.2.7", "--json"]).json()["changed"], true);
        assert_eq!(blacklist(&["lift", "192.0.2.7"]).out, ["nothing to change"]);
        assert_eq!(blacklist(&["lift", "2001:db8::/64"]).out, ["2001:db8:: lifted"]);
        assert_eq!(blacklist(&["list"]).out.len(), 0);
        assert!(blacklist(&["add", "example.com"]).line().contains("an address"));
        assert!(!blacklist(&["add"]).good);
    });
}
