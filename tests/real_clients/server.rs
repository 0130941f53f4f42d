//! The server under test: `aorta serve` on a port of the kernel's choice, or the registrar that
//! `AORTA_TEST_TARGET` names.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::thread::available_parallelism;

use super::process::Process;
use super::tools::{clients_required, installed};

/// Runs `drive` against a server with one reactor and against one with two, each ended by SIGTERM
/// and expected to end well. `settings` are `KEY=VALUE`; without any, `AORTA_TEST_TARGET` may stand
/// in. Skipped aloud where `tool` is not installed.
pub fn each_server(tool: &str, settings: &[&str], drive: impl Fn(SocketAddr)) {
    if !installed(tool) {
        return;
    }
    if let Ok(target) = std::env::var("AORTA_TEST_TARGET") {
        if settings.is_empty() {
            drive(target.parse().expect("AORTA_TEST_TARGET is ADDRESS:PORT"));
        } else {
            skipped(&format!("AORTA_TEST_TARGET may not run with {}", settings.join(" ")));
        }
        return;
    }
    for reactors in [1, 2] {
        if reactors > available_parallelism().map_or(1, usize::from) {
            skipped(&format!("{reactors} reactors need as many CPUs"));
            continue;
        }
        let Some(server) = Server::start(reactors, settings) else { return };
        drive(server.target);
        server.stop();
    }
}

/// Says what is not tested. Written past the test runner's capture, which would hide it.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED real_clients: {why}");
}

struct Server {
    process: Process,
    target: SocketAddr,
}

impl Server {
    /// `None` where the host refuses io_uring or locked memory, said aloud.
    fn start(reactors: usize, settings: &[&str]) -> Option<Server> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(["serve", "--listen", "udp:127.0.0.1:0", "--test-accounts", "100"]);
        command.args(["--reactors", &reactors.to_string()]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut process = Process::start(command);
        let listening = process.wait_for(|line| line.starts_with("listening udp "));
        let ready = listening.is_some() && process.wait_for(|line| line == "ready").is_some();
        let Some(listening) = listening.filter(|_| ready) else {
            let output = process.output.to_ascii_lowercase();
            let refused = output.contains("io_uring") || output.contains("memlock");
            if refused && !clients_required() {
                skipped(&format!("the host refuses what the server needs: {}", process.output));
                return None;
            }
            panic!("aorta serve did not start:\n{}", process.output);
        };
        let address = listening.rsplit(' ').next().unwrap_or_default();
        let target = address.parse().unwrap_or_else(|_| panic!("no address in {listening:?}"));
        Some(Server { process, target })
    }

    fn stop(mut self) {
        let before = self.process.output.len();
        self.process.signal("TERM");
        let status = self.process.finish();
        let output = &self.process.output;
        assert!(status.success(), "aorta serve ended with {status}:\n{output}");
        assert!(output.len() > before, "no final counters:\n{output}");
    }
}
