//! The built server as a process on loopback: one script against one reactor and several, over
//! both datagram backends and both IP families. Sockets are connected, so that an answer from
//! another address or port than the one asked would not be heard.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::net::SocketAddr;

use common::{Phone, Response};
use serve::{FinalCounters, Server, Wire};

/// Phones of the crowd, each on a port of its own.
const CROWD: u32 = 64;

/// A phone and its socket.
struct Caller {
    phone: Phone,
    wire: Wire,
}

impl Caller {
    fn new(target: SocketAddr, number: u32, device: &str) -> Caller {
        let wire = Wire::to(target);
        Caller { phone: Phone::new(number, device, &wire.local().to_string()), wire }
    }

    fn register(&mut self, expires: u32) -> Response {
        self.wire.ask(&self.phone.register(expires))
    }

    /// The challenge is taken, the answer to it returned.
    fn challenged_and_answered(&mut self, expires: u32) -> Response {
        let response = self.register(expires);
        assert_eq!(response.status, 401);
        assert!(self.phone.take_challenge(&response));
        assert!(!self.phone.challenge.as_ref().unwrap().stale);
        self.register(expires)
    }

    fn assert_listed_alone(&self, response: &Response, asked: u32) {
        assert_eq!(response.status, 200);
        let contacts = response.contacts();
        assert_eq!(contacts.len(), 1, "{contacts:?}");
        let (contact, granted) = &contacts[0];
        assert_eq!(contact, &self.phone.contact);
        assert!(*granted <= asked && *granted >= asked * 9 / 10, "{granted} of {asked}");
    }
}

fn options(wire: &Wire, cseq: u32) -> String {
    let via = wire.local();
    format!(
        "OPTIONS sip:example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {via};branch=z9hG4bK-options-{cseq};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:probe@example.com>;tag=probe\r\n\
         To: <sip:example.com>\r\n\
         Call-ID: options@{via}\r\n\
         CSeq: {cseq} OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// What the script has to show for itself in the counters afterwards.
const SCRIPT_200: u64 = 8 + 3 * CROWD as u64;
const SCRIPT_401: u64 = 4 + CROWD as u64;
const SCRIPT_GARBAGE: u64 = 5;

/// One phone after the other through everything, then a crowd at once.
fn script(target: SocketAddr) {
    let mut first = Caller::new(target, 100, "first");
    let response = first.wire.ask(&options(&first.wire, 1));
    let allow = Some("REGISTER, OPTIONS, SUBSCRIBE");
    assert_eq!((response.status, response.header("allow")), (200, allow));

    let mut guesser = Caller::new(target, 100, "guesser");
    guesser.phone.password = "guess".into();
    let refused = guesser.challenged_and_answered(600);
    assert_eq!(refused.status, 401);
    assert!(guesser.phone.take_challenge(&refused));
    assert!(!guesser.phone.challenge.as_ref().unwrap().stale);

    let registered = first.challenged_and_answered(600);
    first.assert_listed_alone(&registered, 600);
    for _ in 0..2 {
        let refreshed = first.register(600);
        first.assert_listed_alone(&refreshed, 600);
    }

    let mut second = Caller::new(target, 100, "second");
    let replaced = second.challenged_and_answered(300);
    second.assert_listed_alone(&replaced, 300);

    let removed = second.register(0);
    assert_eq!((removed.status, removed.contacts()), (200, vec![]));
    let fetched = second.wire.ask(&second.phone.request(&[]));
    assert_eq!((fetched.status, fetched.contacts()), (200, vec![]));

    // Nothing comes back for these: the next answer is the one to the next request.
    let response_datagram = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a.test;branch=z9hG4bK1\r\n\r\n";
    for garbage in [b"\r\n\r\n", &[0; 4][..], b"\xff\xfe\x00garbage", b"GET / HTTP/1.1\r\n\r\n"] {
        first.wire.send(garbage);
    }
    first.wire.send(response_datagram.as_bytes());
    let response = first.wire.ask(&options(&first.wire, 2));
    assert_eq!(response.status, 200);

    crowd(target);
}

/// Many phones with all requests under way at once, so that datagrams meet in batches, arrive at
/// every reactor and cross to every other.
fn crowd(target: SocketAddr) {
    let mut crowd: Vec<Caller> = (1..=CROWD).map(|n| Caller::new(target, n, "crowd")).collect();
    for round in 0..4 {
        let expires = if round < 3 { 900 } else { 0 };
        for caller in &mut crowd {
            caller.wire.send(caller.phone.register(expires).as_bytes());
        }
        for caller in &mut crowd {
            let response = caller.wire.receive();
            let cseq = format!("{} REGISTER", round + 1);
            assert_eq!(response.header("cseq"), Some(cseq.as_str()));
            match round {
                0 => assert!(caller.phone.take_challenge(&response)),
                3 => assert_eq!((response.status, response.contacts()), (200, vec![])),
                _ => caller.assert_listed_alone(&response, 900),
            }
        }
    }
}

fn assert_counted(counters: &FinalCounters, reactors: usize) {
    assert_eq!(counters.answered(200), SCRIPT_200, "{counters:?}");
    assert_eq!(counters.answered(401), SCRIPT_401, "{counters:?}");
    assert_eq!(counters.of("answered"), SCRIPT_200 + SCRIPT_401, "{counters:?}");
    let crowd = u64::from(CROWD);
    let expected = [
        ("challenged", 3 + crowd),
        ("bad_password", 1),
        ("registered", 2 + crowd),
        ("refreshed", 2 + crowd),
        ("kicked", 1),
        ("unregistered", 1 + crowd),
        ("stale", 0),
        ("expired", 0),
        ("retransmissions", 0),
        ("datagrams_out", SCRIPT_200 + SCRIPT_401),
        ("datagrams_in", SCRIPT_200 + SCRIPT_401 + SCRIPT_GARBAGE),
        ("stray_response", 1),
        ("handoffs_shed", 0),
        ("send_failed", 0),
    ];
    for (name, count) in expected {
        assert_eq!(counters.of(name), count, "{name} of {counters:?}");
    }
    // The kernel and the keyed hash both spread: that nothing crosses is next to impossible.
    assert_eq!(counters.of("handoffs_in") > 0, reactors > 1, "{counters:?}");
}

/// The script at one, two and four reactors; four share the CPUs where there are fewer.
fn at_one_and_several_reactors(backend: &str, listen: &str) {
    for reactors in [1, 2, 4] {
        let count = reactors.to_string();
        let arguments = ["--listen", listen, "--reactors", &count, "--backend", backend];
        let Some(server) = Server::start(&arguments) else { return };
        script(server.target());
        assert_counted(&server.stop(), reactors);
    }
}

#[test]
fn mmsg_over_ipv4() {
    at_one_and_several_reactors("mmsg", "udp:127.0.0.1:0");
}

#[test]
fn mmsg_over_ipv6() {
    at_one_and_several_reactors("mmsg", "udp:[::1]:0");
}

#[test]
fn uring_over_ipv4() {
    at_one_and_several_reactors("uring", "udp:127.0.0.1:0");
}

#[test]
fn uring_over_ipv6() {
    at_one_and_several_reactors("uring", "udp:[::1]:0");
}

#[test]
fn each_of_several_listeners_answers_for_itself_and_all_share_the_bindings() {
    for backend in ["mmsg", "uring"] {
        let listen = ["udp:127.0.0.1:0", "udp:127.0.0.2:0", "udp:[::1]:0"];
        let mut arguments = vec!["--reactors", "2", "--backend", backend];
        arguments.extend(listen.iter().flat_map(|listen| ["--listen", listen]));
        let Some(server) = Server::start(&arguments) else { return };
        assert_eq!(server.targets.len(), 3);
        for &target in &server.targets {
            crowd(target);
        }
        // Registered over one, replaced over the next.
        let mut devices = ["a", "b", "c"].into_iter().zip(&server.targets);
        for (device, &target) in devices.by_ref() {
            let mut caller = Caller::new(target, 100, device);
            let response = caller.challenged_and_answered(600);
            caller.assert_listed_alone(&response, 600);
        }
        let counters = server.stop();
        assert_eq!(counters.of("kicked"), 2, "{counters:?}");
        assert!(counters.of("handoffs_in") > 0, "{counters:?}");
    }
}

#[test]
fn a_wildcard_listener_answers_from_the_address_that_was_asked() {
    for backend in ["mmsg", "uring"] {
        for (listen, asked) in [
            ("udp:0.0.0.0:0", ["127.0.0.1", "127.0.0.2", "127.1.2.3"].as_slice()),
            ("udp:[::]:0", &["::1"]),
        ] {
            let arguments = ["--listen", listen, "--reactors", "2", "--backend", backend];
            let Some(server) = Server::start(&arguments) else { return };
            let port = server.target().port();
            for ip in asked {
                // Also what another reactor answers leaves from there.
                crowd(SocketAddr::new(ip.parse().unwrap(), port));
            }
            assert!(server.stop().of("handoffs_in") > 0);
        }
    }
}

/// Registers by an alias of the domain, and asks the redirect server for the domain's own name.
#[test]
fn aliases_policies_and_redirection_hold_across_reactors() {
    let directory = std::env::temp_dir().join(format!("aorta-e2e-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (config, subscribers) = (directory.join("aorta.toml"), directory.join("subscribers.txt"));
    let accounts: String = (1..=32)
        .map(|number| match number % 4 {
            0 => format!("u{number}@example.com - auth=network allow=127.0.0.0/8\n"),
            1 => format!("u{number}@example.com p{number} static=<sip:gw@192.0.2.1>\n"),
            _ => format!("u{number}@example.com p{number}\n"),
        })
        .collect();
    std::fs::write(&subscribers, accounts).unwrap();
    let settings = "registrar.redirect = true\n\n\
                    [domain.\"example.com\"]\naliases = [\"sip.example.com\"]\n";
    std::fs::write(&config, settings).unwrap();
    for reactors in ["1", "3"] {
        let arguments = [
            "--config",
            config.to_str().unwrap(),
            "--subscribers",
            subscribers.to_str().unwrap(),
            "--reactors",
            reactors,
            "--listen",
            "udp:127.0.0.1:0",
        ];
        let Some(server) = Server::start_bare(&arguments) else { break };
        for number in 1..=32 {
            let mut caller = Caller::new(server.target(), number, "alias");
            let alias = |request: String| request.replace("@example.com>", "@sip.example.com>");
            let mut response = caller.wire.ask(&alias(caller.phone.register(600)));
            assert_eq!(response.status == 200, number % 4 == 0, "u{number}: {}", response.reason);
            if response.status == 401 {
                caller.phone.take_challenge(&response);
                response = caller.wire.ask(&alias(caller.phone.register(600)));
            }
            let bindings = if number % 4 == 1 { 2 } else { 1 };
            assert_eq!((response.status, response.contacts().len()), (200, bindings), "u{number}");

            let invite = options(&caller.wire, 1)
                .replace("OPTIONS sip:", &format!("INVITE sip:u{number}@"))
                .replace("OPTIONS", "INVITE");
            let response = caller.wire.ask(&invite);
            assert_eq!((response.status, response.contacts().len()), (302, bindings), "u{number}");
        }
        let counters = server.stop();
        assert_eq!((counters.of("admitted"), counters.of("redirected")), (8, 32));
        assert_eq!(counters.of("handoffs_in") > 0, reactors == "3");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn sigterm_answers_what_has_arrived_before_it_ends() {
    for backend in ["mmsg", "uring"] {
        for reactors in ["1", "2"] {
            let arguments = ["--reactors", reactors, "--backend", backend];
            let listen = ["--listen", "udp:127.0.0.1:0"];
            let Some(server) = Server::start(&[arguments.as_slice(), &listen].concat()) else {
                return;
            };
            let mut crowd: Vec<Caller> =
                (1..=CROWD).map(|number| Caller::new(server.target(), number, "late")).collect();
            for caller in &mut crowd {
                let response = caller.register(600);
                assert!(caller.phone.take_challenge(&response));
            }
            for caller in &mut crowd {
                caller.wire.send(caller.phone.register(600).as_bytes());
            }
            let counters = server.stop();
            for caller in &crowd {
                let response = caller.wire.receive();
                caller.assert_listed_alone(&response, 600);
            }
            assert_eq!(counters.of("registered"), u64::from(CROWD), "{counters:?}");
        }
    }
}

#[test]
fn a_reader_that_went_away_or_a_full_disk_is_no_panic() {
    use std::process::{Command, Stdio};
    let aorta = env!("CARGO_BIN_EXE_aorta");
    let mut config = Command::new(aorta)
        .arg("config")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(config.stdout.take());
    let output = config.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(aorta).arg("config").stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("aorta: cannot write to standard output: "), "{said}");

    // A closed pipe as standard error: what a server says on SIGHUP and at its end is lost, the
    // server is not.
    let mut serve = Command::new(aorta)
        .args(["serve", "--test-accounts", "2", "--listen", "udp:127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(serve.stderr.take());
    let mut out = std::io::BufReader::new(serve.stdout.take().unwrap());
    let mut line = String::new();
    while line != "ready\n" {
        line.clear();
        if std::io::BufRead::read_line(&mut out, &mut line).unwrap() == 0 {
            break;
        }
    }
    for signal in ["HUP", "TERM"] {
        let kill = format!("kill -{signal} {}", serve.id());
        // It has ended already where the host refuses io_uring or locked memory.
        let _ = Command::new("sh").args(["-c", &kill]).output();
    }
    let status = serve.wait().unwrap();
    assert!(status.code().is_some(), "{status}");
}

#[test]
fn limits_too_low_for_a_start_are_one_line_with_the_remedy() {
    use std::process::Command;
    let aorta = env!("CARGO_BIN_EXE_aorta");
    for files in [8, 12, 16] {
        let start = format!(
            "ulimit -n {files}; exec {aorta} serve --test-accounts 2 --reactors 4 \
             --listen udp:127.0.0.1:0"
        );
        let output = Command::new("sh").args(["-c", &start]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{files}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("LimitNOFILE=") || said.contains("memlock"), "{said}");
    }
}
