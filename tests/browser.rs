//! A browser against the built server: JsSIP, as npm has it, in a headless Chromium registers over
//! WSS. What the phone must see stands in `browser/run.mjs`; what is left in the registrar is
//! asked here.
//!
//! Skipped aloud where Chromium, Node or JsSIP (`npm ci` in `tests/browser`) is not installed;
//! `AORTA_REQUIRE_BROWSER=1` makes that a failure.

// The shell's clock is allowed here: deadlines are real time.
#![allow(clippy::disallowed_methods)]

#[path = "common/certificate.rs"]
mod certificate;
mod common;
#[path = "common/serve.rs"]
mod serve;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use certificate::Certificate;
use common::Phone;
use serve::{Server, Wire};

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// The first of these on the PATH.
fn found(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|at| at.is_file()))
}

/// What is needed, or why the test cannot run.
fn needed() -> Result<(PathBuf, PathBuf), &'static str> {
    let chromium = found(&["chromium", "chromium-browser", "google-chrome"]);
    let chromium = chromium.ok_or("no Chromium is installed")?;
    let node = found(&["node", "nodejs"]).ok_or("Node is not installed")?;
    let jssip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/node_modules/jssip");
    if !jssip.is_dir() {
        return Err("JsSIP is not installed: npm ci in tests/browser");
    }
    Ok((chromium, node))
}

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
    let (chromium, node) = match needed() {
        Ok(needed) => needed,
        Err(why) => {
            let required = std::env::var("AORTA_REQUIRE_BROWSER").is_ok_and(|value| value == "1");
            assert!(!required, "{why}, and AORTA_REQUIRE_BROWSER=1");
            // Past the test runner's capture, which would hide it.
            let _ = writeln!(std::io::stderr(), "SKIPPED browser: {why}");
            return;
        }
    };
    let certificate = Certificate::for_test("browser");
    for reactors in ["1", "2"] {
        let mut arguments = vec!["--listen", "udp:127.0.0.1:0", "--listen", "wss:127.0.0.1:0"];
        let settings = certificate.settings();
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        arguments.extend(["--reactors", reactors]);
        let Some(server) = Server::start(&arguments) else { return };

        let url = format!("wss://{}/", server.targets[1]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/run.mjs");
        let output = Command::new(&node).arg(script).arg(&chromium).arg(url).output();
        let output = output.expect("Node starts");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (said(&output.stdout), said(&output.stderr));
        assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
        assert_eq!(out.lines().filter(|line| line.starts_with("ok ")).count(), 5, "{out}");

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
