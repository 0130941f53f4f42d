//! The load generator against the built server: every scenario ends clean at one reactor and at
//! two, over both backends, and what the generator saw is what the server counted. They share no
//! line of code, so each is the other's check.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aorta_load::{Algorithm, AlgorithmChoice, Options, Outcome, Pace, Roster, Scenario};
use aorta_load::{report, run};
use serve::{FinalCounters, Server};

/// Accounts of a run; the server has more.
const USERS: u32 = 150;
const LISTEN: [&str; 2] = ["--listen", "udp:127.0.0.1:0"];

/// One run and what both sides say about it.
struct Ran {
    outcome: Outcome,
    counters: FinalCounters,
}

/// Runs `scenario` against a server of its own. Nothing is retransmitted, so that the figures of
/// both sides can be compared one by one; on loopback nothing is lost.
fn ran(arguments: &[&str], scenario: Scenario, change: impl Fn(&mut Options)) -> Option<Ran> {
    let server = Server::start(arguments)?;
    let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, USERS).expect("good names");
    let mut options = Options::new(scenario, server.target(), roster);
    options.duration = Duration::from_millis(400);
    options.pace = Pace::Window(16);
    options.sockets = 16;
    options.retransmit = false;
    change(&mut options);
    let outcome = run(&options, &AtomicBool::new(false), &mut |_| {}).expect("it can run");
    let ran = Ran { outcome, counters: server.stop() };
    ran.assert_clean();
    Some(ran)
}

impl Ran {
    fn assert_clean(&self) {
        let Outcome { tally, .. } = &self.outcome;
        let told = || format!("{}\n{:#?}", report::table(&self.outcome), self.counters);
        assert!(self.outcome.is_clean(), "{}", told());
        assert_eq!((tally.lost, tally.wrong, tally.late), (0, 0, 0), "{}", told());
        assert_eq!((tally.duplicates, tally.stray, tally.retransmissions), (0, 0, 0), "{}", told());
        assert!(tally.requests >= u64::from(USERS), "{}", told());
        for name in ["handoffs_shed", "send_failed", "send_shed", "kernel_drops", "unparseable"] {
            assert_eq!(self.counters.of(name), 0, "{name}: {}", told());
        }
    }

    /// Answers with that status, as the generator counted them.
    fn seen(&self, status: u16) -> u64 {
        self.outcome.tally.statuses().find(|&(seen, _)| seen == status).map_or(0, |(_, n)| n)
    }

    /// Every answer of the server was seen, beside `warm_up` ones with 401 and with 200 each,
    /// which are outside the generator's figures.
    fn assert_agreed(&self, warm_up: u64) {
        for status in [200, 401] {
            let both = (self.counters.answered(status), self.seen(status) + warm_up);
            assert_eq!(both.0, both.1, "{status}\n{:#?}", self.counters);
        }
        let all = self.outcome.tally.requests + 2 * warm_up;
        assert_eq!(self.counters.of("answered"), all, "{:#?}", self.counters);
        assert_eq!(self.counters.of("datagrams_in"), all, "{:#?}", self.counters);
        assert_eq!(self.counters.of("datagrams_out"), all, "{:#?}", self.counters);
    }

    fn assert_counted(&self, expected: &[(&str, u64)]) {
        for &(name, count) in expected {
            assert_eq!(self.counters.of(name), count, "{name} of {:#?}", self.counters);
        }
    }
}

/// Against one reactor and two, over either backend.
fn each_server(test: impl Fn(&[&str]) -> Option<()>) {
    for (reactors, backend) in [("1", "mmsg"), ("2", "mmsg"), ("2", "uring")] {
        let more = ["--reactors", reactors, "--backend", backend];
        if test(&[LISTEN, [more[0], more[1]], [more[2], more[3]]].concat()).is_none() {
            return;
        }
    }
}

#[test]
fn register_one_challenge_and_one_200_for_each_registration() {
    each_server(|arguments| {
        let ran = ran(arguments, Scenario::REGISTER, |_| {})?;
        ran.assert_agreed(0);
        let done = ran.outcome.tally.registrations;
        assert_eq!((ran.seen(200), ran.seen(401)), (done, done));
        ran.assert_counted(&[("challenged", done), ("authenticated", done), ("kicked", 0)]);
        let (new, again) = (ran.counters.of("registered"), ran.counters.of("refreshed"));
        assert_eq!(new + again, done);
        assert_eq!(new, u64::from(USERS).min(done), "a phone keeps its contact");
        Some(())
    });
}

#[test]
fn register_open_loop_sends_what_was_planned() {
    each_server(|arguments| {
        let ran = ran(arguments, Scenario::REGISTER, |options| options.pace = Pace::Rate(500.0))?;
        ran.assert_agreed(0);
        assert_eq!(ran.outcome.tally.registrations, 200);
        assert_eq!(ran.outcome.unsent, 0);
        Some(())
    });
}

#[test]
fn register_picks_the_algorithm_it_is_told_from_those_offered() {
    for (choice, algorithms) in [
        (AlgorithmChoice::FirstOffered, "SHA-256,MD5"),
        (AlgorithmChoice::Only(Algorithm::Md5), "SHA-256,MD5"),
        (AlgorithmChoice::Only(Algorithm::Sha256), "SHA-256"),
    ] {
        let set = format!("auth.algorithms={algorithms}");
        let arguments = [LISTEN.as_slice(), &["--reactors", "1", "--set", &set]].concat();
        let ran = ran(&arguments, Scenario::REGISTER, |options| options.algorithm = choice);
        let Some(ran) = ran else { return };
        ran.assert_agreed(0);
        ran.assert_counted(&[("bad_password", 0), ("stale", 0)]);
    }
}

#[test]
fn refresh_never_meets_a_challenge_after_the_first() {
    each_server(|arguments| {
        let ran = ran(arguments, Scenario::REFRESH, |_| {})?;
        let users = u64::from(USERS);
        ran.assert_agreed(users);
        assert_eq!(ran.seen(401), 0);
        let done = ran.outcome.tally.registrations;
        ran.assert_counted(&[
            ("challenged", users),
            ("registered", users),
            ("refreshed", done),
            ("authenticated", users + done),
            ("stale", 0),
        ]);
        Some(())
    });
}

#[test]
fn storm_everybody_is_in_at_the_end() {
    each_server(|arguments| {
        let ran = ran(arguments, Scenario::STORM, |_| {})?;
        let users = u64::from(USERS);
        ran.assert_agreed(0);
        assert_eq!((ran.outcome.tally.registrations, ran.outcome.tally.given_up), (users, 0));
        ran.assert_counted(&[("challenged", users), ("registered", users), ("kicked", 0)]);
        Some(())
    });
}

#[test]
fn flap_every_registration_kicks_the_other_device() {
    each_server(|arguments| {
        let ran = ran(arguments, Scenario::FLAP, |_| {})?;
        let users = u64::from(USERS);
        // Each account has two phones, and both are registered before anything is measured.
        ran.assert_agreed(2 * users);
        let done = 2 * users + ran.outcome.tally.registrations;
        let (new, again) = (ran.counters.of("registered"), ran.counters.of("refreshed"));
        assert_eq!(new + again, done);
        assert!(new > again, "{:#?}", ran.counters);
        ran.assert_counted(&[("kicked", new - users), ("retargeted", 0), ("stale", 0)]);
        Some(())
    });
}

#[test]
fn wrong_passwords_are_refused_each_time_and_bind_nothing() {
    each_server(|arguments| {
        let ran = ran(arguments, Scenario::WRONG, |_| {})?;
        ran.assert_agreed(0);
        assert_eq!(ran.seen(200), 0);
        assert_eq!(ran.outcome.tally.registrations, 0);
        let (asked, guessed) = (ran.counters.of("challenged"), ran.counters.of("bad_password"));
        // All phones come from one address, where accounts are suspended before long.
        let unlooked = ran.counters.of("suspended") - ran.counters.of("suspensions");
        assert_eq!(asked + guessed + unlooked, ran.seen(401) + ran.seen(403));
        assert!(guessed >= u64::from(USERS), "{:#?}", ran.counters);
        ran.assert_counted(&[("authenticated", 0), ("registered", 0), ("foreign_nonce", 0)]);
        Some(())
    });
}

#[test]
fn mixed_something_of_everything() {
    each_server(|arguments| {
        let ran = ran(arguments, Scenario::MIXED, |options| {
            options.threads = 2;
            options.duration = Duration::from_millis(800);
        })?;
        let tally = &ran.outcome.tally;
        assert_eq!(ran.seen(200) + ran.seen(401) + ran.seen(403), tally.requests);
        // Accounts with wrong passwords have none to be registered with before.
        let answered = ran.counters.of("answered");
        let warm_up = answered - tally.requests;
        assert!(warm_up <= 2 * u64::from(USERS) && warm_up > u64::from(USERS), "{warm_up}");
        assert_eq!(ran.counters.of("datagrams_in"), answered);
        for name in ["registered", "refreshed", "unregistered", "bad_password"] {
            assert!(ran.counters.of(name) > 0, "{name} of {:#?}", ran.counters);
        }
        ran.assert_counted(&[("kicked", 0), ("stale", 0), ("stale_cseq", 0)]);
        Some(())
    });
}

#[test]
fn over_ipv6_from_more_than_one_thread() {
    let arguments = ["--listen", "udp:[::1]:0", "--reactors", "2"];
    let ran = ran(&arguments, Scenario::REGISTER, |options| options.threads = 2);
    let Some(ran) = ran else { return };
    ran.assert_agreed(0);
    assert!(ran.counters.of("handoffs_in") > 0, "{:#?}", ran.counters);
}
