//! Three hosts in network namespaces: phones, a NAT made of nftables masquerade whose UDP
//! pinholes close after 20 s, and a registrar with a keepalive period of 10 s. With keepalives
//! every phone can be called at every moment; without them it is lost once its pinhole closes.
//!
//! The namespaces are made within one of their own (`unshare`), so nothing of them outlives the
//! test. Where that, nftables or veth links are not to be had, the test is skipped aloud;
//! `AORTA_REQUIRE_NAMESPACES=1` makes that a failure.

// The shell's clock is allowed here: pinholes close in real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/hosts.rs"]
mod hosts;
#[path = "common/serve.rs"]
mod serve;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Phone, Response};
use hosts::{Caller, Hosts};
use serve::Process;

/// Set in the run that is within the namespaces.
const INSIDE: &str = "AORTA_NAT_LAB";
const NAME: &str = "a_phone_behind_a_real_nat_is_reachable_as_long_as_it_is_kept_alive";
/// How long the NAT keeps a pinhole open.
const PINHOLE: Duration = Duration::from_secs(20);
/// Seconds from the registration at which a phone is called, another one each time: a call keeps
/// the pinhole open as well as a keepalive would.
const CALLS: std::ops::RangeInclusive<u64> = 1..=25;
/// What is called this near to the end of a pinhole proves nothing.
const UNSURE: Duration = Duration::from_millis(1500);
/// A call that has not come by then does not come.
const CALL_WAIT: Duration = Duration::from_millis(400);
/// Only a hang reaches it.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

#[test]
fn a_phone_behind_a_real_nat_is_reachable_as_long_as_it_is_kept_alive() {
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
    let hosts = match Hosts::new(PINHOLE) {
        Ok(hosts) => hosts,
        Err(why) => return skipped(&why),
    };
    // A probe would keep the pinhole open as a keepalive does.
    let with =
        start(&hosts, 5060, &["--set", "nat.keepalive_period=10", "--set", "liveness.interval=0"]);
    let without =
        start(&hosts, 5070, &["--set", "nat.keepalive_message=", "--set", "liveness.interval=0"]);
    let (Some(_with), Some(_without)) = (with, without) else { return };
    let register = |number: u64, port: u16| {
        let server = SocketAddrV4::new(Hosts::REGISTRAR, port);
        Registered::new(hosts.phone_socket(server), number as u32, server)
    };
    let kept: Vec<_> = CALLS.map(|number| register(number, 5060)).collect();
    let forgotten: Vec<_> = CALLS.map(|number| register(number, 5070)).collect();
    let start = Instant::now();
    let caller = hosts.caller();

    for ((second, kept), forgotten) in CALLS.zip(&kept).zip(&forgotten) {
        let at = Duration::from_secs(second);
        std::thread::sleep(at.saturating_sub(start.elapsed()));
        let reached = kept.call(&caller, second);
        let age = kept.since.elapsed();
        assert!(reached.came, "called {age:?} after its REGISTER, kept alive: {reached:?}");
        // A period is 10 s and never longer.
        let due = age.saturating_sub(UNSURE).as_secs() / 10;
        assert!(reached.keepalives as u64 >= due, "{age:?} after its REGISTER: {reached:?}");

        let reached = forgotten.call(&caller, second);
        let age = forgotten.since.elapsed();
        assert_eq!(reached.keepalives, 0, "keepalives that are off");
        // Judged by when it was called, which is up to a wait earlier.
        if age + UNSURE < PINHOLE {
            assert!(reached.came, "called {age:?} after its REGISTER, in an open pinhole");
        } else if age > PINHOLE + CALL_WAIT + UNSURE {
            assert!(!reached.came, "called {age:?} after its REGISTER, in a closed pinhole");
        }
    }
    assert!(start.elapsed() > PINHOLE + CALL_WAIT + UNSURE, "closed pinholes have been called");
}

/// A registrar on its host; `None` where the host refuses what it needs, said aloud.
fn start(hosts: &Hosts, port: u16, more: &[&str]) -> Option<Process> {
    let listen = format!("udp:{}:{port}", Hosts::REGISTRAR);
    let mut command = hosts.on_registrar(env!("CARGO_BIN_EXE_aorta"));
    command.args(["serve", "--test-accounts", "200", "--reactors", "1", "--listen", &listen]);
    command.args(more);
    let mut process = Process::spawn(command);
    if process.wait_for(|line| line == "ready").is_some() {
        return Some(process);
    }
    let said = process.err.join("\n");
    assert!(said.contains("io_uring") || said.contains("memlock"), "no registrar:\n{said}");
    skipped(&format!("the host refuses what the server needs: {said}"));
    None
}

/// A phone that has registered through the NAT and says nothing more.
struct Registered {
    socket: UdpSocket,
    server: SocketAddrV4,
    /// Where the registrar saw it.
    outside: SocketAddrV4,
    since: Instant,
}

/// What a phone heard until it was called.
#[derive(Debug)]
struct Heard {
    came: bool,
    keepalives: usize,
}

impl Registered {
    fn new(socket: UdpSocket, number: u32, server: SocketAddrV4) -> Registered {
        let local = socket.local_addr().expect("bound");
        let mut phone = Phone::new(number, "lan", &local.to_string());
        socket.set_read_timeout(Some(ANSWER_WAIT)).expect("a timeout");
        let mut buffer = [0; 4096];
        let mut ask = |request: String| {
            socket.send(request.as_bytes()).expect("a route to the registrar");
            let length = socket.recv(&mut buffer).expect("an answer through the NAT");
            Response::parse(&buffer[..length])
        };
        let challenge = ask(phone.register(3600));
        assert!(phone.take_challenge(&challenge), "{challenge:?}");
        let granted = ask(phone.register(3600));
        assert_eq!(granted.status, 200, "{granted:?}");
        let via = granted.header("via").expect("a Via");
        let parameter = |name: &str| {
            via.split(';').find_map(|one| one.strip_prefix(name)).unwrap_or_else(|| panic!("{via}"))
        };
        // RFC 3581 4: the registrar says where it saw the request come from.
        let address: Ipv4Addr = parameter("received=").parse().expect("an address");
        assert_eq!(address, Hosts::NAT, "masqueraded");
        let outside = SocketAddrV4::new(address, parameter("rport=").parse().expect("a port"));
        Registered { socket, server, outside, since: Instant::now() }
    }

    /// Calls it: a datagram from the registrar's address and port to where it saw the phone.
    fn call(&self, caller: &Caller, number: u64) -> Heard {
        let call = format!("CALL {number}");
        caller.send(self.server, self.outside, call.as_bytes());
        let deadline = Instant::now() + CALL_WAIT;
        let mut heard = Heard { came: false, keepalives: 0 };
        let mut buffer = [0; 4096];
        while !heard.came {
            let left = deadline.saturating_duration_since(Instant::now());
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("set");
            match self.socket.recv(&mut buffer) {
                Ok(length) if buffer[..length] == *call.as_bytes() => heard.came = true,
                Ok(length) => {
                    assert_eq!(&buffer[..length], b"HELLO", "nothing else was sent");
                    heard.keepalives += 1;
                }
                Err(_) => break,
            }
        }
        heard
    }
}
