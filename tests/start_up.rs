//! How the built server starts and ends: what is wrong is one line that names the remedy and exit
//! status 1, with nothing on standard output; signals; what outlives a restart.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use common::{Challenge, Phone};
use serve::{Process, Server, Wire};

/// A folder of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Scratch(path)
    }

    /// A file with this text; its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LOOPBACK: [&str; 2] = ["--listen", "udp:127.0.0.1:0"];

/// The one line with which `aorta serve` refuses these arguments.
fn refusal(arguments: &[&str]) -> String {
    let mut process = Process::start(&[&["serve"], arguments].concat());
    let status = process.finish();
    let Process { out, err, .. } = &process;
    assert_eq!(status.code(), Some(1), "{arguments:?}\nout: {out:#?}\nerr: {err:#?}");
    assert_eq!(out.as_slice(), &[""; 0], "{arguments:?}: standard output stays empty");
    let [line] = err.as_slice() else { panic!("{arguments:?}: not one line: {err:#?}") };
    line.strip_prefix("aorta: ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

fn assert_refused(arguments: &[&str], parts: &[&str]) {
    let line = refusal(arguments);
    for part in parts {
        assert!(line.contains(part), "{arguments:?}: no {part:?} in {line:?}");
    }
}

/// Test accounts on loopback, and these.
fn serve(arguments: &[&'static str]) -> Vec<&'static str> {
    [&["--test-accounts", "10"], LOOPBACK.as_slice(), arguments].concat()
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_to_find_its_owner() {
    for ip in ["127.0.0.1", "[::1]"] {
        let other = UdpSocket::bind(format!("{ip}:0")).expect("a port");
        let taken = other.local_addr().expect("bound").to_string();
        let listen = format!("udp:{taken}");
        assert_refused(
            &["--test-accounts", "10", "--listen", &listen],
            &[&taken, "the port is taken", "ss -ulpn", "listen on another port"],
        );
    }
}

/// Both would set SO_REUSEPORT, and the kernel would split the phones between them.
#[test]
fn a_second_server_on_the_same_port_is_refused_and_the_first_serves_on() {
    let Some(first) = Server::start(&LOOPBACK) else { return };
    let listen = format!("udp:{}", first.target());
    assert_refused(&["--test-accounts", "10", "--listen", &listen], &["the port is taken"]);
    let wire = Wire::to(first.target());
    let mut phone = Phone::new(1, "a", &wire.local().to_string());
    assert_eq!(wire.ask(&phone.register(600)).status, 401);
    first.stop();
}

#[test]
fn an_address_no_interface_has_is_refused() {
    assert_refused(
        &["--test-accounts", "10", "--listen", "udp:192.0.2.1:0"],
        &["192.0.2.1:0", "no interface has this address", "ip address"],
    );
}

#[test]
fn a_malformed_subscriber_is_told_with_file_and_line_and_nothing_is_loaded() {
    let scratch = Scratch::new("subscribers");
    let cases = [
        ("a@example.com x\nb@example.com\n", 2, "expected a password"),
        ("# none\n\nno-domain x\n", 3, "expected user@domain"),
        ("a@example.com ha1 00\n", 1, "expected 32 hex digits behind ha1"),
        ("a@example.com x y\n", 1, "a password has no blanks"),
        ("a@example.com x\nb@example.com y\nA@example.com z\na@EXAMPLE.com q\n", 4, "line 1"),
    ];
    for (text, line, why) in cases {
        let file = scratch.file("subscribers", text);
        let place = format!("{file}:{line}: ");
        let arguments = [&["--subscribers", &file], LOOPBACK.as_slice()].concat();
        assert_refused(&arguments, &[&place, why]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_systems_word() {
    let scratch = Scratch::new("unreadable");
    let missing = scratch.0.join("missing").display().to_string();
    let folder = scratch.0.display().to_string();
    for (option, what) in [("--subscribers", "subscribers"), ("--config", "configuration")] {
        let with = |file: &str| refusal(&[&[option, file], LOOPBACK.as_slice()].concat());
        let line = with(&missing);
        assert!(line.contains(&missing) && line.contains("No such file"), "{line}");
        assert!(line.contains(what), "{line}");
        let line = with(&folder);
        assert!(line.contains(&folder) && line.contains("Is a directory"), "{line}");
    }
}

#[test]
fn a_malformed_configuration_is_told_with_file_line_key_and_what_was_expected() {
    let scratch = Scratch::new("config");
    let cases = [
        ("[registrar]\nexpire_min = 60\n", 2, ["registrar.expire_min", "registrar.expires_min"]),
        ("SS_ENDPOINT_EXPIRES = 60\n", 1, ["SS_ENDPOINT_EXPIRES", "SS_ENDPOINT_EXPIRE?"]),
        ("\n\n[auth]\nnonce_lifetime = \"5s\"\n", 4, ["auth.nonce_lifetime", "outside its range"]),
        ("[registrar]\nreplace = \"maybe\"\n", 2, ["registrar.replace", "expected"]),
        ("[registrar\n", 1, ["expected", ""]),
    ];
    for (text, line, parts) in cases {
        let file = scratch.file("aorta.toml", text);
        let place = format!("{file}:{line}: ");
        let arguments = serve(&[]);
        let mut arguments: Vec<&str> = arguments.clone();
        arguments.extend(["--config", &file]);
        assert_refused(&arguments, &[&place, parts[0], parts[1]]);
    }
}

#[test]
fn settings_on_the_command_line_are_checked_like_those_of_a_file() {
    let cases: [(&[&'static str], &[&str]); 7] = [
        (
            &["--set", "registrar.replaced=On"],
            &["registrar.replaced", "did you mean registrar.repl"],
        ),
        (&["--set", "SERVER_REGISTRAR_MAX_BINDINGS=65"], &["65", "outside its range", "64"]),
        (&["--set", "auth.nonce_lifetime"], &["auth.nonce_lifetime", "expected KEY=VALUE"]),
        (&["--reactors", "0"], &["serve.reactors", "\"0\"", "1-128"]),
        (&["--backend", "epoll"], &["serve.backend", "epoll", "mmsg"]),
        (&["--listen", "sctp:127.0.0.1:0"], &["serve.listen", "sctp", "udp"]),
        (&["--set", "serve.test_accounts=many"], &["serve.test_accounts", "many"]),
    ];
    for (arguments, parts) in cases {
        let arguments = serve(arguments);
        assert_refused(&arguments, parts);
    }
}

#[test]
fn a_cpu_this_process_may_not_use_is_refused_with_those_it_may() {
    assert_refused(&serve(&["--cpus", "1000"]), &["CPU 1000", "choose among"]);
}

#[test]
fn without_accounts_and_domains_nobody_could_register() {
    let scratch = Scratch::new("nobody");
    let empty = scratch.file("subscribers", "# nobody yet\n");
    let none = [&["--subscribers", &*empty], LOOPBACK.as_slice()].concat();
    for arguments in [LOOPBACK.as_slice(), &none] {
        assert_refused(arguments, &["nobody could register", "--subscribers"]);
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let scratch = Scratch::new("data-refused");
    let file = scratch.file("in-the-way", "");
    let key = scratch.file("nonce.key", "not a key\n");
    let folder = scratch.0.display().to_string();
    for (data, parts) in
        [(&file, ["cannot create the directory", &*file]), (&folder, [&*key, "remove it"])]
    {
        let arguments = serve(&[]);
        let mut arguments: Vec<&str> = arguments.clone();
        arguments.extend(["--data", data]);
        assert_refused(&arguments, &parts);
    }
}

#[test]
fn a_wrong_command_line_is_exit_status_2() {
    for arguments in [&["serve", "--no-such-option"][..], &["no-such-program"], &[]] {
        let mut process = Process::start(arguments);
        assert_eq!(process.finish().code(), Some(2), "{arguments:?}");
        assert!(process.out.is_empty() && !process.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn ready_comes_after_the_addresses_and_the_rest_goes_to_standard_error() {
    let Some(server) = Server::start(&LOOPBACK) else { return };
    let listening = format!("listening udp {}", server.target());
    assert_eq!(server.process.out, [listening.as_str(), "ready"]);
    assert!(server.process.err.iter().all(|line| line.starts_with("aorta: ")));
    server.stop();
}

#[test]
fn sighup_is_survived_and_sigint_ends_like_sigterm() {
    let Some(mut server) = Server::start(&LOOPBACK) else { return };
    for _ in 0..2 {
        server.process.signal("HUP");
        let said = server.process.wait_for(|line| line.contains("SIGHUP"));
        assert!(said.is_some(), "{:?}", server.process.err);
    }
    let wire = Wire::to(server.target());
    let mut phone = Phone::new(1, "a", &wire.local().to_string());
    assert_eq!(wire.ask(&phone.register(600)).status, 401);
    server.process.signal("INT");
    let counters = server.ended();
    assert_eq!((counters.of("answered"), counters.answered(401)), (1, 1), "{counters:?}");
}

/// Registers a phone at the server, and then again at the one that comes after it. Returns the
/// challenge it met there, if it met one.
fn after_a_restart(arguments: &[&str]) -> Option<Option<Challenge>> {
    let mut phone = Phone::new(1, "a", "a.phones.test:5070");
    {
        let server = Server::start(arguments)?;
        let wire = Wire::to(server.target());
        let response = wire.ask(&phone.register(600));
        assert!(phone.take_challenge(&response));
        assert_eq!(wire.ask(&phone.register(600)).status, 200);
        server.stop();
    }
    let server = Server::start(arguments)?;
    let wire = Wire::to(server.target());
    let response = wire.ask(&phone.register(600));
    let met = (response.status == 401).then(|| {
        assert!(phone.take_challenge(&response));
        phone.challenge.clone().expect("just taken")
    });
    if met.is_some() {
        assert_eq!(wire.ask(&phone.register(600)).status, 200, "the phone is not shut out");
    } else {
        assert_eq!((response.status, response.contacts().len()), (200, 1));
    }
    let counters = server.stop();
    assert_eq!(counters.of("bad_password"), 0);
    Some(met)
}

#[test]
fn with_a_data_directory_a_nonce_from_before_a_restart_is_fresh_after_it() {
    let scratch = Scratch::new("data");
    let data = scratch.0.join("new").display().to_string();
    let arguments = [LOOPBACK.as_slice(), &["--data", &data]].concat();
    let Some(met) = after_a_restart(&arguments) else { return };
    assert!(met.is_none(), "{met:?}");
}

#[test]
fn without_a_data_directory_it_is_stale_and_the_password_is_not_doubted() {
    let Some(met) = after_a_restart(&LOOPBACK) else { return };
    assert!(met.expect("the nonce is of another key").stale);
}
