//! The server under test: `aorta serve` on ports of the kernel's choice, or the registrar that
//! `AORTA_TEST_TARGET` names.

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use super::certificate::Certificate;
use super::process::Process;
use super::tools::{clients_required, installed};

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// All of them.
pub const EACH: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
/// Those with connections.
pub const STREAMS: [Transport; 2] = [Transport::Tcp, Transport::Tls];

impl Transport {
    /// As listeners and tools name it.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}

/// One listener of a server.
#[derive(Clone)]
pub struct Target {
    pub transport: Transport,
    pub address: SocketAddr,
    /// What it proves itself with over TLS.
    pub certificate: Certificate,
    /// Added to a test's account numbers, so that no two transports share an account.
    accounts_from: u32,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.word(), self.address)
    }
}

impl Target {
    /// The number of test account `number` over this transport.
    pub fn account(&self, number: u32) -> u32 {
        assert!((1..=100).contains(&number), "each transport has a hundred accounts");
        self.accounts_from + number
    }

    /// The name of that account.
    pub fn user(&self, number: u32) -> String {
        format!("u{}", self.account(number))
    }

    /// Its password.
    pub fn password(&self, number: u32) -> String {
        format!("p{}", self.account(number))
    }
}

/// Runs `drive` over each transport against a server with one reactor and against one with two,
/// each ended by SIGTERM and expected to end well. `settings` are `KEY=VALUE`; without any,
/// `AORTA_TEST_TARGET` may stand in. Skipped aloud where `tool` is not installed.
pub fn each_server(
    tool: &str,
    transports: &[Transport],
    settings: &[&str],
    drive: impl Fn(&Target),
) {
    each_server_at("127.0.0.1", tool, transports, settings, drive);
}

/// The same at `ip`, which is written as in a listener.
pub fn each_server_at(
    ip: &str,
    tool: &str,
    transports: &[Transport],
    settings: &[&str],
    drive: impl Fn(&Target),
) {
    if !installed(tool) {
        return;
    }
    if let Ok(named) = std::env::var("AORTA_TEST_TARGET") {
        let target = named_target(&named);
        if !settings.is_empty() || ip != "127.0.0.1" {
            skipped(&format!("AORTA_TEST_TARGET may not run at {ip} with {}", settings.join(" ")));
        } else if transports.contains(&target.transport) {
            drive(&target);
        }
        return;
    }
    if let Err(error) = TcpListener::bind(format!("{ip}:0")) {
        skipped(&format!("no {ip} on this host: {error}"));
        return;
    }
    for reactors in [1, 2] {
        if reactors > available_parallelism().map_or(1, usize::from) {
            skipped(&format!("{reactors} reactors need as many CPUs"));
            continue;
        }
        let Some(server) = Server::start(ip, reactors, transports, settings) else { return };
        for target in &server.targets {
            eprintln!("{target:?}, {reactors} reactors");
            drive(target);
        }
        server.stop();
    }
}

/// `[TRANSPORT:]ADDRESS:PORT`.
fn named_target(named: &str) -> Target {
    let lower = named.to_ascii_lowercase();
    let split = |transport: Transport| {
        Some((transport, lower.strip_prefix(transport.word())?.strip_prefix(':')?))
    };
    let (transport, address) =
        EACH.into_iter().find_map(split).unwrap_or((Transport::Udp, lower.as_str()));
    let address = address.parse().expect("AORTA_TEST_TARGET is [TRANSPORT:]ADDRESS:PORT");
    Target { transport, address, certificate: certificate().clone(), accounts_from: 0 }
}

/// Says what is not tested. Written past the test runner's capture, which would hide it.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED real_clients: {why}");
}

/// One for all servers of a run.
fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(|| Certificate::for_test("real-clients"))
}

struct Server {
    process: Process,
    targets: Vec<Target>,
}

impl Server {
    /// `None` where the host refuses io_uring or locked memory, said aloud.
    fn start(
        ip: &str,
        reactors: usize,
        transports: &[Transport],
        settings: &[&str],
    ) -> Option<Server> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(["serve", "--test-accounts", "300", "--reactors", &reactors.to_string()]);
        for transport in transports {
            command.args(["--listen", &format!("{}:{ip}:0", transport.word())]);
        }
        // Some scenarios take nothing but what stands in them.
        command.args(["--set", "liveness.interval=0"]);
        for setting in certificate().settings() {
            command.args(["--set", &setting]);
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut process = Process::start(command);
        if process.wait_for(|line| line == "ready").is_none() {
            let output = process.output.to_ascii_lowercase();
            let refused = output.contains("io_uring") || output.contains("memlock");
            if refused && !clients_required() {
                skipped(&format!("the host refuses what the server needs: {}", process.output));
                return None;
            }
            panic!("aorta serve did not start:\n{}", process.output);
        }
        let listening = |transport: Transport| {
            let prefix = format!("listening {} ", transport.word());
            let mut lines = process.output.lines();
            let address = lines.find_map(|line| line.strip_prefix(&prefix));
            let address = address.unwrap_or_else(|| panic!("no {prefix}in {}", process.output));
            Target {
                transport,
                address: address.parse().expect("an address"),
                certificate: certificate().clone(),
                accounts_from: 100 * transport as u32,
            }
        };
        let targets = transports.iter().copied().map(listening).collect();
        Some(Server { process, targets })
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
