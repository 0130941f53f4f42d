//! The clients: how each is called, and how its verdict is read.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::Process;
use super::server::{Target, Transport, skipped};
use super::tunnel;

/// Whether a client or a server that cannot run is a failure.
pub fn clients_required() -> bool {
    std::env::var("AORTA_REQUIRE_CLIENTS").is_ok_and(|value| value == "1")
}

/// Whether `tool` is on the PATH; says so if not.
pub fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    if !found {
        assert!(!clients_required(), "{tool} is not installed, and AORTA_REQUIRE_CLIENTS=1");
        skipped(&format!("{tool} is not installed"));
    }
    found
}

/// An empty folder of its own for one run of a tool.
fn scratch(tool: &str) -> PathBuf {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{tool}-{}-{run}", std::process::id());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    dir
}

/// One run of a SIPp scenario.
pub struct Sipp {
    dir: PathBuf,
    command: Command,
    scenario: String,
}

impl Sipp {
    /// One call of `scenario` by test account `number`.
    pub fn new(target: &Target, scenario: &str, number: u32) -> Sipp {
        Sipp::with_password(target, scenario, number, &target.password(number))
    }

    /// The same with a password that may be another's.
    pub fn with_password(target: &Target, scenario: &str, number: u32, password: &str) -> Sipp {
        Sipp::by(target, scenario, &target.user(number), password)
    }

    /// One call of `scenario` by any user.
    pub fn by(target: &Target, scenario: &str, user: &str, password: &str) -> Sipp {
        let mut sipp = Sipp::call(target, scenario);
        sipp.command.args(["-t", if target.transport == Transport::Udp { "u1" } else { "t1" }]);
        sipp.command.args(["-m", "1", "-s", user, "-au", user, "-ap", password]);
        sipp
    }

    /// Test accounts at once, each from a socket of its own.
    pub fn many(target: &Target, numbers: RangeInclusive<u32>) -> Sipp {
        let mut sipp = Sipp::call(target, "many");
        let mut lines = "SEQUENTIAL\n".to_owned();
        let phones = numbers.clone().count();
        for number in numbers {
            let (user, password) = (target.user(number), target.password(number));
            lines += &format!("{user};[authentication username={user} password={password}]\n");
        }
        fs::write(sipp.dir.join("users.csv"), lines).expect("the folder is ours");
        let sockets = if target.transport == Transport::Udp { "un" } else { "tn" };
        sipp.command.args(["-inf", "users.csv", "-t", sockets, "-max_socket", "1000"]);
        sipp.command.args(["-r", "1000", "-m", &phones.to_string()]);
        sipp
    }

    fn call(target: &Target, scenario: &str) -> Sipp {
        let dir = scratch("sipp");
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/real_clients")
            .join(format!("{scenario}.xml"));
        // SIPp as Debian builds it has no TLS of its own.
        let remote = match target.transport {
            Transport::Tls => tunnel::open(target.address, target.certificate.clone()),
            Transport::Udp | Transport::Tcp => target.address,
        };
        let mut command = Command::new("sipp");
        command.current_dir(&dir).arg(remote.to_string()).arg("-sf").arg(file);
        if remote.ip().is_loopback() {
            command.args(["-i", &remote.ip().to_string()]);
        }
        // Left to itself SIPp takes 5060, also while another of its kind is about to listen there.
        command.args(["-p", &free_port().to_string()]);
        // SIPp puts the target's address into the digest's uri unless told the domain.
        command.args(["-auth_uri", "example.com", "-recv_timeout", "20s", "-nostdin"]);
        command.args(["-trace_err", "-error_file", "errors", "-trace_msg"]);
        command.args(["-message_file", "messages"]);
        Sipp { dir, command, scenario: scenario.to_owned() }
    }

    /// Runs it to its end; every call must have gone as the scenario says.
    pub fn run(self) {
        let Sipp { dir, command, scenario } = self;
        let mut process = Process::start(command);
        let status = process.finish();
        if !status.success() {
            let read = |name| fs::read_to_string(dir.join(name)).unwrap_or_default();
            let (errors, messages) = (read("errors"), read("messages"));
            panic!(
                "{scenario}.xml: SIPp ended with {status}\n{errors}\n{messages}\n{}",
                process.output
            );
        }
        let _ = fs::remove_dir_all(dir);
    }
}

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("it is bound").port()
}

/// A subscriber file, gone with the test.
pub struct Accounts(PathBuf);

impl Accounts {
    pub fn new(text: &str) -> Accounts {
        let dir = scratch("accounts");
        fs::write(dir.join("subscribers"), text).expect("the folder is ours");
        Accounts(dir)
    }

    pub fn path(&self) -> String {
        self.0.join("subscribers").display().to_string()
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs SIPp by the command line that stands in README, from the folder README stands in. The
/// address alone is another.
pub fn readme_sipp(target: &Target) {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("\nsipp ").expect("README calls sipp");
    let (command, _) = rest.split_once("\n```").expect("in a block of shell");
    let command = format!("sipp {}", command.replace("\\\n", " "));
    assert!(!command.contains('\n'), "one command: {command}");
    let address = target.address.to_string();
    let command = command.replace("127.0.0.1:5060", &address);
    assert!(command.contains(&address), "README talks to 127.0.0.1:5060: {command}");
    let mut shell = Command::new("sh");
    // A terminal tells it when to draw; here there is none.
    shell.current_dir(env!("CARGO_MANIFEST_DIR")).env("TERM", "dumb").args(["-c", &command]);
    let mut process = Process::start(shell);
    let status = process.finish();
    assert!(status.success(), "{command}: {status}\n{}", process.output);
}

/// Runs sipsak through `target`; whether it was content, and what it printed.
pub fn sipsak(target: &Target, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("sipsak");
    command.args(["-p", &target.address.to_string(), "-vvv"]).args(arguments);
    command.args(["-E", target.transport.word()]);
    let dir = scratch("sipsak");
    if target.transport == Transport::Tls {
        command.arg("--tls-ca-cert").arg(&target.certificate.certificate);
        // It compares the certificate with the host of the URI in a way of its own.
        command.arg("--tls-ignore-cert-failure");
        // It takes a session ticket of TLS 1.3 for the end of the connection.
        let priorities = dir.join("gnutls");
        fs::write(&priorities, "[overrides]\ndisabled-version = tls1.3\n").expect("ours");
        command.env("GNUTLS_SYSTEM_PRIORITY_FILE", priorities);
    }
    let mut process = Process::start(command);
    let status = process.finish();
    let _ = fs::remove_dir_all(dir);
    (status.success(), std::mem::take(&mut process.output))
}

/// Registers `sip:USER@127.0.0.1:PORT` for test account `number` with sipsak.
pub fn sipsak_register(target: &Target, number: u32, password: &str, port: u16) -> (bool, String) {
    let user = target.user(number);
    let contact = format!("sip:{user}@127.0.0.1:{port}");
    let aor = format!("sip:{user}@example.com");
    // Its own default of 15 seconds is below every registrar's minimum.
    let arguments = ["-U", "-C", &contact, "-x", "120", "-u", &user, "-a", password, "-s", &aor];
    sipsak(target, &arguments)
}

/// A running baresip with one account and no audio.
pub struct Baresip {
    dir: PathBuf,
    process: Process,
}

impl Baresip {
    /// `None` where its modules are in a place not known here, said aloud.
    pub fn start(target: &Target, number: u32, password: &str) -> Option<Baresip> {
        let places = [
            "/usr/lib/baresip/modules",
            "/usr/lib/x86_64-linux-gnu/baresip/modules",
            "/usr/lib/aarch64-linux-gnu/baresip/modules",
            "/usr/local/lib/baresip/modules",
        ];
        let Some(modules) = places.iter().find(|dir| Path::new(dir).join("account.so").is_file())
        else {
            skipped("baresip's modules are not where they usually are");
            return None;
        };
        let dir = scratch("baresip");
        let (user, transport) = (target.user(number), target.transport.word());
        let config = format!(
            "sip_listen {}:0\nsip_cafile {}\nmodule_path {modules}\nmodule_app account.so\n",
            if target.address.is_ipv6() { "[::1]" } else { "127.0.0.1" },
            target.certificate.certificate.display(),
        );
        let account = format!(
            "<sip:{user}@example.com;transport={transport}>;auth_user={user};\
             auth_pass={password};outbound=\"sip:{};transport={transport}\";regint=120\n",
            target.address
        );
        for (name, text) in [("config", &*config), ("accounts", &account), ("contacts", "")] {
            fs::write(dir.join(name), text).expect("the folder is ours");
        }
        // Its standard output is a pipe here, and would be written only when full.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "baresip", "-t", "50", "-f"]).arg(&dir);
        Some(Baresip { dir, process: Process::start(command) })
    }

    /// The line that says how its registration went.
    pub fn verdict(&mut self) -> String {
        let told = |line: &str| line.contains("binding") || line.contains("reg: sip:");
        let line = self.process.wait_for(told);
        line.unwrap_or_else(|| panic!("baresip ended without a word:\n{}", self.process.output))
    }

    /// Ends it as its user would; it unregisters first.
    pub fn hang_up(mut self) {
        self.process.signal("INT");
        let status = self.process.finish();
        assert!(status.success(), "baresip ended with {status}:\n{}", self.process.output);
        let _ = fs::remove_dir_all(&self.dir);
    }
}
