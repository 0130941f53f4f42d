//! A server of two reactors that teaches the kernel which of them a phone's datagrams are for:
//! handoffs end, and nothing else changes. Skipped aloud where the kernel does not let itself be
//! taught.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::io::Write as _;
use std::net::SocketAddr;

use common::{Phone, Response};
use serve::{FinalCounters, Server, Wire};

const PHONES: u32 = 24;
/// REGISTERs of each phone with credentials.
const REGISTERS: u32 = 6;

fn start(steering: &str, backend: &str, listen: &str) -> Option<Server> {
    let steering = format!("serve.steering={steering}");
    let backend = format!("serve.backend={backend}");
    let arguments = ["--listen", listen, "--reactors", "2", "--set", &steering, "--set", &backend];
    Server::start(&arguments)
}

/// The server with steering that must be; both backends, both families, as far as this host has
/// them.
fn each_steered(test: impl Fn(Server)) {
    if let Err(why) = aorta::reactor::steering_allowed() {
        // Past the test runner's capture, which would hide it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no steering here: {why}");
        return;
    }
    // On a thread of its own: a ring that was closed may interrupt what its thread does next.
    let try_out = || {
        aorta::reactor::io_uring_allowed().is_ok()
            && aorta::reactor::multishot_receive_allowed().is_ok()
    };
    let uring = std::thread::spawn(try_out).join().expect("it only tries");
    let ipv6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    for (backend, listen, is_here) in [
        ("mmsg", "udp:127.0.0.1:0", true),
        ("uring", "udp:127.0.0.1:0", uring),
        ("mmsg", "udp:[::1]:0", ipv6),
    ] {
        if !is_here {
            let _ = writeln!(std::io::stderr(), "SKIPPED for {backend} at {listen}");
            continue;
        }
        let Some(server) = start("on", backend, listen) else { return };
        test(server);
    }
}

fn at(wire: &Wire, number: u32) -> Phone {
    Phone::new(number, "desk", &wire.local().to_string())
}

fn challenged(phone: &mut Phone, wire: &Wire) {
    let response = wire.ask(&phone.register(600));
    assert!(phone.take_challenge(&response));
}

fn registered(phone: &mut Phone, wire: &Wire) -> Response {
    let response = wire.ask(&phone.register(600));
    assert_eq!(response.status, 200, "{response:?}");
    let contacts: Vec<String> = response.contacts().into_iter().map(|(uri, _)| uri).collect();
    assert_eq!(contacts, std::slice::from_ref(&phone.contact));
    response
}

/// Phones with a source each register and refresh.
fn a_day_of_phones(target: SocketAddr) {
    for number in 1..=PHONES {
        let wire = Wire::to(target);
        let mut phone = at(&wire, number);
        challenged(&mut phone, &wire);
        for _ in 0..REGISTERS {
            registered(&mut phone, &wire);
        }
    }
}

fn answered(counters: &FinalCounters) -> (u64, u64) {
    (counters.answered(401), counters.answered(200))
}

#[test]
fn after_the_first_registration_a_phone_meets_its_owner() {
    each_steered(|server| {
        a_day_of_phones(server.target());
        let counters = server.stop();
        // One phone in two meets the other reactor first, and once.
        let handoffs = counters.of("handoffs_out");
        assert!((1..=PHONES.into()).contains(&handoffs), "{counters:?}");
        assert_eq!(counters.of("steering_noted"), handoffs, "{counters:?}");
        assert_eq!(answered(&counters), (PHONES.into(), (PHONES * REGISTERS).into()));
    });
}

#[test]
fn without_steering_the_same_is_answered_and_handed_over_each_time() {
    let Some(server) = start("off", "mmsg", "udp:127.0.0.1:0") else { return };
    a_day_of_phones(server.target());
    let counters = server.stop();
    let handoffs = counters.of("handoffs_out");
    assert!(handoffs > 0 && handoffs.is_multiple_of(REGISTERS.into()), "{counters:?}");
    assert_eq!(counters.of("steering_noted"), 0);
    assert_eq!(answered(&counters), (PHONES.into(), (PHONES * REGISTERS).into()));
}

#[test]
fn who_has_not_shown_to_be_somebody_teaches_nothing() {
    each_steered(|server| {
        for number in 1..=PHONES {
            let wire = Wire::to(server.target());
            let mut phone = at(&wire, number);
            wire.ask(&phone.register(600));
            challenged(&mut phone, &wire);
            phone.password = "guessed".into();
            assert_ne!(wire.ask(&phone.register(600)).status, 200);
            // Nor does one who leaves: there is nothing to come.
            let mut phone = at(&wire, number);
            challenged(&mut phone, &wire);
            assert_eq!(wire.ask(&phone.register(0)).status, 200);
        }
        let counters = server.stop();
        assert!(counters.of("handoffs_out") > 0, "{counters:?}");
        assert_eq!(counters.of("steering_noted"), 0, "{counters:?}");
    });
}

#[test]
fn a_source_with_accounts_of_both_owners_is_noted_once_and_served_as_before() {
    each_steered(|server| {
        let wire = Wire::to(server.target());
        let mut phones: Vec<Phone> = (1..=PHONES).map(|number| at(&wire, number)).collect();
        phones.iter_mut().for_each(|phone| challenged(phone, &wire));
        for _ in 0..REGISTERS {
            for phone in &mut phones {
                registered(phone, &wire);
            }
        }
        let counters = server.stop();
        assert_eq!(counters.of("steering_noted"), 1, "{counters:?}");
        assert_eq!(counters.of("steering_moved"), 0, "{counters:?}");
        // The other owner has looked once, not once a message.
        assert_eq!(counters.of("steering_shared"), 1, "{counters:?}");
        assert_eq!(answered(&counters), (PHONES.into(), (PHONES * REGISTERS).into()));
    });
}

#[test]
fn a_phone_that_moves_and_one_that_inherits_its_address_are_served_as_before() {
    each_steered(|server| {
        for number in 1..=PHONES {
            let (old, new) = (Wire::to(server.target()), Wire::to(server.target()));
            let mut phone = at(&old, number);
            challenged(&mut phone, &old);
            registered(&mut phone, &old);
            // The nonce is bound to the address, which is the same here; the port is another.
            registered(&mut phone, &new);
            let mut heir = Phone::new(PHONES + number, "heir", &old.local().to_string());
            challenged(&mut heir, &old);
            for _ in 0..REGISTERS {
                registered(&mut heir, &old);
                registered(&mut phone, &new);
            }
        }
        let counters = server.stop();
        assert_eq!(counters.answered(200), u64::from(PHONES * (2 + 2 * REGISTERS)));
        assert_eq!(counters.of("steering_failed"), 0);
    });
}
