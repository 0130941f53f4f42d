//! A browser against the built server: JsSIP, as npm has it, in a headless Chromium registers over
//! WSS. What the phone must see stands in `browser/run.mjs`; what is left in the registrar is
//! asked here.
//!
//! Skipped aloud where Chromium, Node or JsSIP (`npm ci` in `tests/browser`) is not installed;
//! `AORTA_REQUIRE_BROWSER=1` makes that a failure.

// The shell's clock is allowed here: deadlines are real time.
#![allow(clippy::disallowed_methods)]

#[path = "common/browser.rs"]
mod browser;
#[path = "common/certificate.rs"]
mod certificate;
mod common;
#[path = "common/serve.rs"]
mod serve;

use std::time::{Duration, Instant};

use browser::Browser;
use certificate::Certificate;
use common::Phone;
use serve::{Server, Wire};

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// How many contacts a user has, asked over UDP.
fn bindings(server: &Server, number: u32) -> usize {
    let wire = Wire::to(server.targets[0]);
    let mut phone = Phone::new(number, "looking", &wire.local().to_string());
    let challenge = wire.ask(&phone.request(&[]));
    assert!(phone.take_challenge(&challenge));
    let response = wire.ask(&phone.request(&[]));
    assert_eq!(response.status, 200);
    response.contacts().len()
}

#[test]
fn rfc7118_jssip_in_chromium_registers_over_wss() {
    let Some(browser) = Browser::with("jssip") else { return };
    let certificate = Certificate::for_test("browser");
    for reactors in ["1", "2"] {
        let mut arguments = vec!["--listen", "udp:127.0.0.1:0", "--listen", "wss:127.0.0.1:0"];
        let settings = certificate.settings();
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        arguments.extend(["--reactors", reactors]);
        let Some(server) = Server::start(&arguments) else { return };

        let url = format!("wss://{}/", server.targets[1]);
        browser.run("run.mjs", &[&url], 5);

        for number in 1..=4 {
            assert_eq!(bindings(&server, number), 0, "u{number} has left");
        }
        // The fifth said nothing, and is gone with its connection.
        let give_up = Instant::now() + DEADLINE;
        while bindings(&server, 5) != 0 {
            assert!(Instant::now() < give_up, "the binding of a dead flow stays");
        }
        let counters = server.stop();
        let expected = [("registered", 4), ("refreshed", 1), ("bad_password", 1)];
        for (name, count) in expected {
            assert_eq!(counters.of(name), count, "{name} of {counters:?}");
        }
        assert_eq!(counters.answered(423), 1, "{counters:?}");
    }
}
