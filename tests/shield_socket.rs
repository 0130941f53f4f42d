//! Socket filters of a running server on loopback, with one reactor and with two: a blocked source
//! no longer reaches a reactor, TCP goes on being the guard's, and operators see and choose the
//! means.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/serve.rs"]
mod serve;

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use common::Phone;
use http::{ask, get};
use serde_json::Value;
use serve::{Server, Wire};

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

fn start(reactors: &str, more: &[&str]) -> Option<(Server, SocketAddr)> {
    let arguments = [
        "--listen",
        "udp:127.0.0.1:0",
        "--reactors",
        reactors,
        "--admin",
        "127.0.0.1:0",
        "--set",
        "guard.loopback=On",
        "--set",
        "guard.rate=off",
        "--set",
        "guard.register_rate=off",
        "--set",
        "shield.helper=",
    ];
    let server = Server::start(&[&arguments, more].concat())?;
    let admin = *server.targets.last().expect("it listens");
    Some((server, admin))
}

fn shield(admin: SocketAddr) -> Value {
    get(admin, "/api/v1/shield").good()
}

fn until(admin: SocketAddr, what: &str, mut holds: impl FnMut(&Value) -> bool) {
    let begun = Instant::now();
    loop {
        let state = shield(admin);
        if holds(&state) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: {state:#}");
    }
}

fn dropped_by_the_guard(admin: SocketAddr) -> u64 {
    let text = get(admin, "/metrics").body;
    let lines = text.lines().filter(|line| {
        line.starts_with("aorta_not_answered_total") && line.contains("\"source_blocked\"")
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn a_blocked_source_is_dropped_at_the_sockets_until_it_is_lifted_or_the_filter_taken_away() {
    for reactors in ["1", "2"] {
        let Some((server, admin)) = start(reactors, &["--set", "shield.loopback=On"]) else {
            return;
        };
        let (blocked, other) = ("/api/v1/blacklist/127.0.9.1", "127.0.9.2:0");
        until(admin, "the means of choice", |state| state["means"] == "socket");
        assert_eq!(ask(admin, "PUT", blocked).good()["changed"], true);
        until(admin, "a filter", |state| state["held"] == 1);
        // Flows enough for every socket of the group.
        for number in 0..40 {
            let wire = Wire::from("127.0.9.1:0", server.target());
            wire.send(Phone::new(number, "flood", "127.0.9.1:9").register(60).as_bytes());
        }
        until(admin, "the kernel counts them", |state| {
            state["filter_dropped"].as_u64().is_some_and(|dropped| dropped >= 40)
        });
        assert_eq!(dropped_by_the_guard(admin), 0, "no reactor has seen them");
        let wire = Wire::from(other, server.target());
        assert_eq!(wire.ask(&Phone::new(1, "desk", other).register(60)).status, 401);

        // Taken away, the guard drops; put back, the filter does; lifted, it is served.
        let put = |word: &str| ask(admin, "PUT", &format!("/api/v1/shield?kernel={word}"));
        assert_eq!(put("off").good()["setting"], "off");
        until(admin, "nothing drops", |state| state["means"] == "none" && state["held"] == 0);
        let wire = Wire::from("127.0.9.1:0", server.target());
        wire.send(Phone::new(1, "desk", "127.0.9.1:9").register(60).as_bytes());
        let begun = Instant::now();
        while dropped_by_the_guard(admin) == 0 {
            assert!(begun.elapsed() < DEADLINE);
        }
        put("socket").good();
        until(admin, "a filter again", |state| state["held"] == 1);
        assert_eq!(ask(admin, "DELETE", blocked).good()["changed"], true);
        until(admin, "an empty list", |state| state["held"] == 0);
        assert_eq!(wire.ask(&Phone::new(1, "desk", "127.0.9.1:9").register(60)).status, 401);
        assert!(put("iptables").problem(400).contains("auto, nftables, socket or off"));
        server.stop();
    }
}

#[test]
fn loopback_is_the_guards_alone_unless_asked_for_and_times_end_without_traffic() {
    let Some((server, admin)) = start("1", &["--set", "guard.blocked=127.0.7.0/24"]) else {
        return;
    };
    let begun = Instant::now();
    ask(admin, "PUT", "/api/v1/blacklist/127.0.9.1").good();
    ask(admin, "PUT", "/api/v1/blacklist/192.0.2.9?seconds=2").good();
    until(admin, "one of three", |state| state["held"] == 1);
    until(admin, "its end", |state| state["held"] == 0);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    server.stop();
}

#[test]
fn check_says_for_both_means_what_is_possible_and_what_helps() {
    let shield = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.arg("shield").args(arguments).env_remove("AORTA_ADMIN");
        command.output().expect("it runs")
    };
    let nowhere = ["--set", "shield.helper=/nowhere/socket", "--nft", "/nowhere/nft"];
    let check = |more: &[&str]| shield(&[&nowhere, more, &["check"]].concat());
    let output = check(&["--json"]);
    assert!(output.status.success(), "{output:?}");
    let checked: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&checked["socket"], &checked["nftables"]), (&true.into(), &false.into()));
    let findings = checked["findings"].as_array().expect("findings");
    let bad = findings.iter().filter(|finding| finding["good"] == false);
    assert!(bad.clone().count() >= 2, "nft and aorta-nft: {checked:#}");
    assert!(bad.into_iter().all(|finding| finding["remedy"].is_string()), "{checked:#}");
    // What is asked for is not possible here.
    assert_eq!(check(&["--set", "shield.kernel=nftables"]).status.code(), Some(1));
    assert!(check(&["--set", "shield.kernel=off"]).status.success());
    let applied = shield(&[&nowhere[..], &["apply"]].concat());
    assert_eq!(applied.status.code(), Some(1));
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(said.contains("there is no nft") && said.lines().count() == 1, "{said}");
    let printed = shield(&["--set", "serve.listen=udp:0.0.0.0:5099", "apply", "--print"]);
    assert!(String::from_utf8_lossy(&printed.stdout).contains("define sip_udp = { 5099 }"));
}
