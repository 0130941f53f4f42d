//! `aorta-load attack` against the built server, at one reactor and at two: with its defence
//! everything holds, without it the same attack says what does not. The attacker shares no line of
//! code with the server; what it saw is compared with what the server counted.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aorta_load::attack::report::table;
use aorta_load::attack::{AttackOptions, AttackOutcome, Phase, run};
use aorta_load::{Pace, Roster};
use serve::Server;

const ACCOUNTS: u32 = 10;
const PASSWORDS: u32 = 400;
const GUESSERS: u32 = 3;
const FAILURES: u32 = 1000;

/// A small attack: what a debug build and a busy host can bear.
fn attack(server: &Server, phases: &[Phase]) -> AttackOutcome {
    let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 200).expect("good names");
    let mut options = AttackOptions::new(server.target(), roster);
    options.phases = phases.to_vec();
    options.admin = server.targets.last().copied();
    options.pid = Some(server.process.id());
    options.run.pace = Pace::Rate(200.0);
    options.run.duration = Duration::from_secs(1);
    options.flood_rate = 2000.0;
    (options.accounts, options.passwords, options.guessers) = (ACCOUNTS, PASSWORDS, GUESSERS);
    options.guess_rate = 4000.0;
    (options.sources, options.failures, options.blocked) = (4000, FAILURES, 500);
    // A debug build on a busy host has neither.
    (options.p99_ratio_max, options.blocked_ns_max) = (1e6, 1e9);
    run(&options, &AtomicBool::new(false), &mut |_| {}).expect("it can run")
}

fn start(reactors: &str, more: &[&str]) -> Option<Server> {
    let listen = ["--listen", "udp:127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let settings: Vec<&str> = more.iter().flat_map(|setting| ["--set", *setting]).collect();
    Server::start(&[listen.as_slice(), &["--reactors", reactors], &settings].concat())
}

/// With its defence on.
fn everything_holds(reactors: &str) {
    let Some(server) = start(reactors, &["guard.loopback=On"]) else { return };
    let outcome = attack(&server, &Phase::ALL);
    let told = format!("{reactors} reactors\n{}", table(&outcome));
    assert_eq!(outcome.failed(), Vec::<String>::new(), "{told}");
    let flood = outcome.flood.as_ref().expect("it was run");
    assert!(flood.sent > 1000 && flood.answered > 0, "{told}");
    let guess = outcome.guess.as_ref().expect("it was run");
    // Each source fails with ten accounts and is blocked; what is under way then, before the other
    // reactor has heard of it, is checked. That is fewer than suspension alone would let through.
    assert!((20..guess.checked_max).contains(&guess.checked), "{told}");
    assert_eq!(Some(guess.checked), guess.checked_by_server, "{told}");
    assert!(guess.guesses > guess.checked && guess.refused == 0, "{told}");
    let scan = outcome.scan.as_ref().expect("it was run");
    assert_eq!((scan.harmless.answered, scan.walk.sent), (3, 200), "{told}");
    let failures = outcome.failures.as_ref().expect("it was run");
    assert_eq!(failures.failed, u64::from(FAILURES), "{told}");
    assert!(failures.memory.early > 0 && failures.memory.end > 0, "{told}");
    let blocked = outcome.blocked.as_ref().expect("it was run");
    assert!(blocked.dropped > 0 && blocked.server_ns.is_some_and(|ns| ns > 0.0), "{told}");
    server.stop();
}

#[test]
fn everything_holds_at_one_reactor_and_both_sides_count_the_same() {
    everything_holds("1");
}

#[test]
fn everything_holds_at_two_reactors_and_both_sides_count_the_same() {
    everything_holds("2");
}

#[test]
fn suspension_alone_keeps_guessers_to_their_tries() {
    for reactors in ["1", "2"] {
        // Loopback knows neither rates nor blocks unless asked for.
        let Some(server) = start(reactors, &[]) else { return };
        let outcome = attack(&server, &[Phase::Guess]);
        let told = format!("{reactors} reactors\n{}", table(&outcome));
        assert_eq!(outcome.failed(), Vec::<String>::new(), "{told}");
        let guess = outcome.guess.as_ref().expect("it was run");
        let (sieges, tries) = (u64::from(ACCOUNTS * GUESSERS), 6);
        assert_eq!(guess.checked_max, sieges * tries, "{told}");
        assert_eq!(guess.checked_by_server, Some(sieges * tries), "{told}");
        assert_eq!(guess.guesses, u64::from(ACCOUNTS * PASSWORDS), "{told}");
        assert!(guess.refused > guess.guesses / 2 && guess.owners_registered > 0, "{told}");
        server.stop();
    }
}

#[test]
fn without_a_defence_the_attack_says_what_does_not_hold() {
    let none = [
        "auth.suspend_registers=Off",
        "auth.suspend_checks=0",
        "guard.scanners=",
        "guard.scanner_patterns=",
        "guard.blacklist=Off",
        "guard.rate=off",
        "guard.register_rate=off",
    ];
    let Some(server) = start("2", &none) else { return };
    let outcome = attack(&server, &[Phase::Guess, Phase::Scan]);
    let failed = outcome.failed();
    let told = table(&outcome);
    let says = |what: &str| failed.iter().any(|line| line.contains(what));
    assert!(says("guesses were checked, as its answers show"), "{told}");
    assert!(says("guesses were checked, as the server counted"), "{told}");
    assert!(says("accounts were opened"), "{told}");
    let scan = outcome.scan.as_ref().expect("it was run");
    assert!(scan.kits.values().all(|kit| kit.answered == kit.sent), "{told}");
    assert!(says("friendly-scanner got 20 answers of 20"), "{told}");
    server.stop();
}
