//! nftables as the kernel's share of the shield, on hosts in network namespaces: what is blocked
//! does not reach the server any more, whoever is trusted does, times end, rates hold, either side
//! may restart, and what is removed leaves nothing behind.
//!
//! The namespaces are made within one of their own (`unshare`), so nothing of them outlives the
//! test. Where that, nftables or veth links are not to be had, the test is skipped aloud;
//! `AORTA_REQUIRE_NAMESPACES=1` makes that a failure.

// The shell's clock is allowed here: the kernel's times are real.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/serve.rs"]
mod serve;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{Phone, Response};
use hosts::Hosts;
use serde_json::Value;
use serve::Process;

/// Set in the run that is within the namespaces.
const INSIDE: &str = "AORTA_SHIELD_LAB";
const NAME: &str = "what_is_blocked_is_dropped_by_nftables_and_everything_can_be_taken_back";
/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);
/// A datagram that has not been answered by then is not; veth and loopback take microseconds.
const SILENCE: Duration = Duration::from_millis(300);
const ADMIN: &str = "127.0.0.1:8060";
const TARGET: SocketAddrV4 = SocketAddrV4::new(Hosts::REGISTRAR, 5060);
/// Where phones send from.
const SPARE: [Ipv4Addr; 4] = [
    Ipv4Addr::new(203, 0, 113, 10),
    Ipv4Addr::new(203, 0, 113, 11),
    Ipv4Addr::new(203, 0, 113, 12),
    Ipv4Addr::new(203, 0, 113, 13),
];

#[test]
fn what_is_blocked_is_dropped_by_nftables_and_everything_can_be_taken_back() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let Some(unshare) = hosts::unshare() else {
        return skipped("network namespaces, ip, nft or nsenter are not to be had here");
    };
    let program = std::env::current_exe().expect("a running test has a file");
    let output = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg(program)
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("it ran a moment ago");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    if let Some(line) = said.lines().find(|line| line.starts_with("SKIPPED: ")) {
        skipped(line.trim_start_matches("SKIPPED: "));
    }
}

/// Says what is not tested, past the test runner's capture, which would hide it.
fn skipped(why: &str) {
    let required = std::env::var("AORTA_REQUIRE_NAMESPACES").is_ok_and(|value| value == "1");
    assert!(!required, "{why}, and AORTA_REQUIRE_NAMESPACES=1");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

fn inside() {
    let hosts = match Hosts::new(Duration::from_secs(60)) {
        Ok(hosts) => hosts,
        Err(why) => return skipped(&why),
    };
    if let Err(why) = hosts.add_outside(&SPARE) {
        return skipped(&why);
    }
    let lab = Lab { hosts, directory: Scratch::new() };
    let Some(mut server) = lab.server() else { return };
    let _helper = lab.one_command_loads_the_table_and_the_registrar_takes_it_up(&mut server);
    lab.a_blocked_source_reaches_nobody_until_its_time_ends_or_it_is_lifted();
    lab.what_is_trusted_passes_and_networks_of_the_configuration_do_not();
    lab.who_forges_a_customers_address_costs_him_no_refresh();
    lab.rates_where_they_are_set_and_strings_hold_in_the_kernel();
    lab.whoever_restarts_the_sets_are_as_they_should_be(&mut server);
    lab.what_is_removed_leaves_nothing_behind();
}

/// The hosts and where files are.
struct Lab {
    hosts: Hosts,
    directory: Scratch,
}

impl Lab {
    fn socket(&self) -> PathBuf {
        self.directory.0.join("nft.sock")
    }

    /// A registrar on its host; `None` where the host refuses what it needs, said aloud.
    fn server(&self) -> Option<Process> {
        let mut command = self.hosts.on_registrar(env!("CARGO_BIN_EXE_aorta"));
        command.args(["serve", "--test-accounts", "200", "--reactors", "2", "--admin", ADMIN]);
        command.args(self.settings());
        let mut process = Process::spawn(command);
        if process.wait_for(|line| line == "ready").is_some() {
            return Some(process);
        }
        let said = process.err.join("\n");
        assert!(said.contains("io_uring") || said.contains("memlock"), "no registrar:\n{said}");
        skipped(&format!("the host refuses what the server needs: {said}"));
        None
    }

    fn settings(&self) -> Vec<String> {
        let pairs = [
            "serve.listen=udp:198.51.100.2:5060, tcp:198.51.100.2:5061".to_owned(),
            "liveness.interval=0".to_owned(),
            format!("shield.helper={}", self.socket().display()),
            "guard.trusted=203.0.113.12/32".to_owned(),
            "guard.blocked=203.0.113.12/31".to_owned(),
            "guard.rate=off".to_owned(),
            "guard.register_rate=off".to_owned(),
        ];
        pairs.into_iter().flat_map(|pair| ["--set".to_owned(), pair]).collect()
    }

    fn helper(&self) -> Process {
        let mut command = self.hosts.on_registrar(env!("CARGO_BIN_EXE_aorta-nft"));
        // Root of its namespace is the user it serves.
        command.args(["--user", "0", "--socket"]).arg(self.socket());
        let mut process = Process::spawn(command);
        process.wait_for(|line| line.contains("serving user 0")).expect("aorta-nft serves");
        process
    }

    /// `aorta shield`, and what it says as JSON.
    fn shield(&self, arguments: &[&str]) -> (Value, Output) {
        let mut command = self.hosts.on_registrar(env!("CARGO_BIN_EXE_aorta"));
        command.args(["shield", "--json", "--admin", ADMIN]).args(self.settings());
        let output = command.args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        (serde_json::from_str(&said).unwrap_or(Value::Null), output)
    }

    fn shield_done(&self, arguments: &[&str]) -> Value {
        let (value, output) = self.shield(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        value
    }

    fn ctl(&self, arguments: &[&str]) {
        let mut command = self.hosts.on_registrar(env!("CARGO_BIN_EXE_aorta"));
        let output = command.args(["ctl", "--admin", ADMIN]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn nft(&self, arguments: &[&str]) -> String {
        let output = self.hosts.on_registrar("nft").args(arguments).output().expect("nft runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let shown = self.shield_done(&["show"]);
            if holds(&shown) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{what}: {shown:#}");
        }
    }

    fn until_blocked(&self, network: &str, wanted: bool) {
        self.until(&format!("{network} blocked: {wanted}"), |shown| {
            let blocked = shown["nftables"]["blocked"].as_array().expect("a table");
            blocked.iter().any(|one| one["network"] == network) == wanted
        });
    }

    /// How many packets one of the table's counters has.
    fn counted(&self, name: &str) -> u64 {
        let shown = self.shield_done(&["show"]);
        shown["nftables"]["counters"][name]["packets"].as_u64().expect("a counter")
    }

    fn phone_at(&self, ip: Ipv4Addr) -> UdpSocket {
        self.hosts.outside_socket(ip, TARGET)
    }

    fn one_command_loads_the_table_and_the_registrar_takes_it_up(
        &self,
        server: &mut Process,
    ) -> Process {
        let state = |shown: &Value| shown["server"]["means"].clone();
        let shown = self.shield_done(&["show"]);
        assert_eq!(shown["nftables"], Value::Null);
        // A network of the configuration is blocked, and there is no aorta-nft: filters do it.
        self.until("filters meanwhile", |shown| state(shown) == "socket");
        let (checked, output) = self.shield(&["check"]);
        assert!(output.status.success(), "filters are possible: {output:?}");
        assert_eq!((&checked["nftables"], &checked["socket"]), (&false.into(), &true.into()));
        let remedies: Vec<&str> = checked["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|f| f["remedy"].as_str())
            .collect();
        assert!(remedies.iter().any(|remedy| remedy.contains("shield apply")), "{remedies:?}");

        assert_eq!(self.shield_done(&["apply"])["loaded"], true);
        self.shield_done(&["apply"]);
        let mut helper = self.helper();
        assert!(self.shield(&["check"]).0["nftables"].as_bool().unwrap());
        self.shield_done(&["apply"]);
        self.until("nftables from now on", |shown| state(shown) == "nftables");
        server.wait_for(|line| line.contains("shield: nftables drops 1 blocked"));

        // It is gone: filters take over, and one line says so.
        helper.signal("KILL");
        helper.finish();
        self.ctl(&["blacklist", "add", "203.0.113.10", "--seconds", "600", "--yes"]);
        server.wait_for(|line| line.contains("socket filters drop blocked sources meanwhile"));
        self.until("filters meanwhile", |shown| state(shown) == "socket");
        self.ctl(&["blacklist", "lift", "203.0.113.10", "--yes"]);
        let helper = self.helper();
        self.until("nftables again", |shown| state(shown) == "nftables");
        helper
    }

    fn a_blocked_source_reaches_nobody_until_its_time_ends_or_it_is_lifted(&self) {
        let (one, other) = (self.phone_at(SPARE[0]), self.phone_at(SPARE[1]));
        assert_eq!(ask(&one, 1).map(|answer| answer.status), Some(401));
        self.ctl(&["blacklist", "add", "203.0.113.10", "--yes"]);
        self.until_blocked("203.0.113.10", true);
        let before = self.counted("blocked");
        let received = self.received();
        assert!(ask(&one, 1).is_none());
        assert_eq!(self.counted("blocked"), before + 1);
        assert_eq!(self.received(), received, "the server has not seen it");
        assert!(received > 0, "it has seen others");
        assert_eq!(ask(&other, 2).map(|answer| answer.status), Some(401));
        // Its connections come to nothing either.
        let ports = self.nft(&["list", "set", "inet", "aorta", "sip_tcp_ports"]);
        assert!(ports.contains("5061"), "{ports}");

        self.ctl(&["blacklist", "lift", "203.0.113.10", "--yes"]);
        self.until_blocked("203.0.113.10", false);
        assert_eq!(ask(&one, 1).map(|answer| answer.status), Some(401));

        // The kernel ends it by itself: nobody says anything to aorta-nft for that.
        self.ctl(&["blacklist", "add", "203.0.113.11", "--seconds", "3", "--yes"]);
        self.until_blocked("203.0.113.11", true);
        let set = self.nft(&["list", "set", "inet", "aorta", "blocked4"]);
        assert!(set.contains("203.0.113.11 timeout"), "{set}");
        assert!(ask(&other, 2).is_none());
        self.until_blocked("203.0.113.11", false);
        assert_eq!(ask(&other, 2).map(|answer| answer.status), Some(401));
    }

    fn what_is_trusted_passes_and_networks_of_the_configuration_do_not(&self) {
        let (trusted, blocked) = (self.phone_at(SPARE[2]), self.phone_at(SPARE[3]));
        let passed = self.counted("trusted");
        assert_eq!(ask(&trusted, 3).map(|answer| answer.status), Some(401));
        assert_eq!(self.counted("trusted"), passed + 1);
        let dropped = self.counted("blocked");
        assert!(ask(&blocked, 4).is_none());
        assert_eq!(self.counted("blocked"), dropped + 1);
    }

    /// With the table as it is delivered. Whoever is on another socket of the same address is to
    /// the kernel what a forger is: a source, and nothing else. The guard's own limits are off.
    fn who_forges_a_customers_address_costs_him_no_refresh(&self) {
        let (customer, forger) = (self.phone_at(SPARE[0]), self.phone_at(SPARE[0]));
        let forged = Phone::new(7, "forged", "192.0.2.1:5060").register(60);
        let noise = "MESSAGE sip:a SIP/2.0\r\n\r\n";
        let contact = customer.local_addr().expect("bound").to_string();
        let mut phone = Phone::new(6, "desk", &contact);
        // As many forged ones as are more than any burst of the table's rates.
        for round in 0..60 {
            for _ in 0..50 {
                forger.send(forged.as_bytes()).expect("a route");
                forger.send(noise.as_bytes()).expect("a route");
            }
            let mut answer = refresh(&customer, &mut phone).unwrap_or_else(|| {
                panic!("round {round}: {:#}", self.shield_done(&["show"]));
            });
            if answer.status == 401 {
                assert!(phone.take_challenge(&answer));
                answer = refresh(&customer, &mut phone).expect("an answer to credentials");
            }
            assert_eq!(answer.status, 200, "round {round}");
        }
        assert_eq!((self.counted("register_rate"), self.counted("request_rate")), (0, 0));
    }

    fn rates_where_they_are_set_and_strings_hold_in_the_kernel(&self) {
        let rates = ["--set", "shield.register_rate=1", "--set", "shield.register_burst=10"];
        self.shield_done(&[&rates[..], &["apply"]].concat());
        // More REGISTERs at once than may be; a trusted source has no such limit.
        for (ip, limited) in [(SPARE[0], true), (SPARE[2], false)] {
            let before = self.counted("register_rate");
            let socket = self.phone_at(ip);
            let request = Phone::new(5, "flood", "192.0.2.1:5060").register(60);
            for _ in 0..50 {
                socket.send(request.as_bytes()).expect("a route");
            }
            let dropped = self.counted("register_rate") - before;
            assert_eq!(dropped > 30, limited, "{dropped} of {ip}");
        }
        let before = self.counted("scanners");
        let other = self.phone_at(SPARE[1]);
        for target in ["100@198.51.100.2", "nm", "101@198.51.100.2"] {
            let request = format!("OPTIONS sip:{target} SIP/2.0\r\nUser-Agent: x\r\n\r\n");
            other.send(request.as_bytes()).expect("a route");
        }
        assert_eq!(self.counted("scanners"), before + 2, "the third begins as nobody's kit does");
    }

    fn whoever_restarts_the_sets_are_as_they_should_be(&self, server: &mut Process) {
        self.ctl(&["blacklist", "add", "203.0.113.10", "--yes"]);
        self.until_blocked("203.0.113.10", true);
        // A server that is gone leaves what it had blocked; the next one says what holds.
        server.signal("TERM");
        assert!(server.finish().success());
        let set = self.nft(&["list", "set", "inet", "aorta", "blocked4"]);
        assert!(set.contains("203.0.113.10"), "{set}");
        *server = self.server().expect("it started before");
        self.until_blocked("203.0.113.10", false);
        self.until_blocked("203.0.113.13", true);
    }

    fn what_is_removed_leaves_nothing_behind(&self) {
        let blocked = self.phone_at(SPARE[3]);
        assert!(ask(&blocked, 4).is_none());
        let removed = self.shield_done(&["remove"]);
        assert_eq!(
            (&removed["removed"], &removed["server"]["setting"]),
            (&true.into(), &"off".into())
        );
        assert_eq!(self.nft(&["list", "ruleset"]), "");
        self.until("nothing drops", |shown| {
            shown["nftables"] == Value::Null && shown["server"]["means"] == "none"
        });
        // It reaches the server, which drops it by itself.
        let received = self.received();
        assert!(ask(&blocked, 4).is_none());
        let begun = Instant::now();
        while self.received() == received {
            assert!(begun.elapsed() < DEADLINE, "{:#}", self.shield_done(&["show"]));
        }
        let again = self.shield_done(&["remove"]);
        assert_eq!(again["removed"], false);
    }

    /// Datagrams the server has received, once it has nothing left to count.
    fn received(&self) -> u64 {
        let mut command = self.hosts.on_registrar(env!("CARGO_BIN_EXE_aorta"));
        command.args(["ctl", "--admin", ADMIN, "metrics", "reactor_datagrams_in"]);
        let output = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of = |line: &str| line.split(' ').next()?.parse::<u64>().ok();
        text.lines().filter_map(of).sum()
    }
}

/// Registers without credentials and waits for the challenge; `None` where there is none.
fn ask(socket: &UdpSocket, number: u32) -> Option<Response> {
    let mut phone = Phone::new(number, "desk", &socket.local_addr().expect("bound").to_string());
    static CALLS: AtomicU32 = AtomicU32::new(0);
    phone.call_id = format!("call-{}", CALLS.fetch_add(1, Ordering::Relaxed));
    socket.send(phone.register(60).as_bytes()).expect("a route to the registrar");
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let mut buffer = [0; 4096];
    // What answers something older is passed over.
    loop {
        let length = socket.recv(&mut buffer).ok()?;
        let answer = Response::parse(&buffer[..length]);
        if answer.header("call-id") == Some(phone.call_id.as_str()) {
            return Some(answer);
        }
    }
}

/// Registers as the phone can by now; `None` where nothing comes back, however often it is sent.
fn refresh(socket: &UdpSocket, phone: &mut Phone) -> Option<Response> {
    let request = phone.register(60);
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
    // A datagram that met a full buffer is sent again, as phones do (RFC 3261 17.1.2.2).
    for _ in 0..3 {
        socket.send(request.as_bytes()).expect("a route to the registrar");
        while let Ok(length) = socket.recv(&mut buffer) {
            let answer = Response::parse(&buffer[..length]);
            if answer.header("cseq") == Some(format!("{} REGISTER", phone.cseq).as_str()) {
                return Some(answer);
            }
        }
    }
    None
}

/// A directory of this test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shield-{}", std::process::id()));
        // aorta-nft takes no directory that others may write.
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&path).expect("a directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the directory of built things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
