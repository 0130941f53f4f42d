//! Messages longer than a packet: requests, answers and NOTIFYs over UDP from 1300 bytes to the
//! longest datagram there is, in one piece and in fragments, and requests and answers over TCP.

// The shell's clock is allowed here: deadlines of sockets are real time.
#![allow(clippy::disallowed_methods)]

#[path = "streams/client.rs"]
#[allow(dead_code, reason = "only its TCP is used here")]
mod client;
mod common;
#[path = "reg_event_core/document.rs"]
mod document;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/watcher.rs"]
mod watcher;

use std::io::Write;
use std::process::Command;

use client::Client;
use common::{Phone, Response};
use document::Notification;
use serve::{Server, Wire};
use watcher::Watcher;

/// The longest payload of a UDP datagram over IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A REGISTER of exactly `length` bytes.
fn of_length(phone: &mut Phone, length: usize) -> String {
    let contact = format!("<{}>", phone.contact);
    let headers = [("Contact", contact.as_str()), ("Expires", "600")];
    let request = phone.request(&headers);
    // The end of the headers is where the padding goes, in lines of some kilobytes.
    let (head, rest) = request.split_once("Content-Length").expect("its last header");
    let mut padded = head.to_owned();
    let mut missing = length - request.len();
    while missing > 0 {
        // None is left too short for a line.
        let line = if missing < 4100 { missing } else { 4000 };
        let value = line.checked_sub("X-Padding: \r\n".len()).expect("room for a line");
        padded += &format!("X-Padding: {}\r\n", "p".repeat(value));
        missing -= line;
    }
    padded += &format!("Content-Length{rest}");
    assert_eq!(padded.len(), length);
    padded
}

/// Registers with requests of these lengths.
fn registers_at_each_length(
    phone: &mut Phone,
    lengths: &[usize],
    mut ask: impl FnMut(&str) -> Response,
) {
    let challenge = ask(&phone.register(600));
    assert!(phone.take_challenge(&challenge));
    for &length in lengths {
        let response = ask(&of_length(phone, length));
        assert_eq!(response.status, 200, "{length} bytes: {response:?}");
        assert_eq!(response.contacts().len(), 1);
    }
}

/// Adds so many contacts of a hundred bytes, ten a request, each answered with all there are.
fn adds_contacts(phone: &mut Phone, count: usize, mut ask: impl FnMut(&str) -> Response) {
    for listed in (0..count).step_by(10) {
        let contacts: Vec<String> = (listed..listed + 10)
            .map(|nth| format!("<sip:u1@phone-{nth}.{}.test>", "x".repeat(60)))
            .collect();
        let headers: Vec<_> = contacts.iter().map(|uri| ("Contact", uri.as_str())).collect();
        let response = ask(&phone.request(&headers));
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.contacts().len(), listed + 10);
    }
}

/// Subscribes to the phone's own registrations, and is sent all its contacts in one NOTIFY that is
/// longer than any packet.
fn hears_a_long_notify(phone: &Phone, contacts: usize, wire: &Wire) {
    let mut watcher = Watcher::new(phone);
    watcher.take(&wire.ask(&watcher.clone().subscribe(600)));
    watcher.cseq += 1;
    wire.send(watcher.subscribe(600).as_bytes());
    let (mut answered, mut heard) = (false, false);
    while !(answered && heard) {
        let bytes = wire.receive_bytes();
        if bytes.starts_with(b"NOTIFY ") {
            assert!(bytes.len() > 2000, "{} bytes", bytes.len());
            let notification = Notification::parse(&bytes);
            wire.send(notification.answer(200, "").as_bytes());
            assert_eq!(notification.document.contacts.len(), contacts);
            heard = true;
        } else {
            assert_eq!(Response::parse(&bytes).status, 200);
            answered = true;
        }
    }
}

const LENGTHS: [usize; 7] = [1300, 1301, 1472, 1473, 2000, 8000, 16_000];

#[test]
fn rfc3261_18_1_1_a_long_request_is_taken_over_udp_and_over_tcp() {
    for backend in ["mmsg", "uring"] {
        let listen = ["--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"];
        let more = ["--reactors", "2", "--backend", backend];
        let Some(server) = Server::start(&[&listen[..], &more].concat()) else { return };
        let wire = Wire::to(server.target());
        let mut phone = Phone::new(1, "long", &wire.local().to_string());
        registers_at_each_length(&mut phone, &LENGTHS, |request| wire.ask(request));
        let mut client = Client::tcp(server.targets[1]);
        let mut phone = Phone::new(2, "long", "phones.test");
        registers_at_each_length(&mut phone, &LENGTHS, |request| client.ask(request));
        server.stop();
    }
}

#[test]
fn a_message_at_the_limit_of_what_is_taken_is_answered_or_refused_and_never_harms() {
    for backend in ["mmsg", "uring"] {
        let listen = ["--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"];
        let more = ["--reactors", "2", "--backend", backend];
        let Some(server) = Server::start(&[&listen[..], &more].concat()) else { return };
        let wire = Wire::to(server.target());
        let mut phone = Phone::new(1, "long", &wire.local().to_string());
        let challenge = wire.ask(&phone.register(600));
        assert!(phone.take_challenge(&challenge));
        let response = wire.ask(&of_length(&mut phone, DATAGRAM_BYTES_MAX));
        assert!(matches!(response.status, 200 | 513), "{response:?}");
        assert_eq!(wire.ask(&phone.register(600)).status, 200);

        // RFC 3261 18.3: over a connection the length says where the next message begins.
        let mut client = Client::tcp(server.targets[1]);
        let mut phone = Phone::new(2, "long", "phones.test");
        let challenge = client.ask(&phone.register(600));
        assert!(phone.take_challenge(&challenge));
        let response = client.ask(&of_length(&mut phone, 65_000));
        assert!(matches!(response.status, 200 | 513), "{response:?}");
        server.stop();
    }
}

#[test]
fn an_answer_and_a_notify_with_sixty_contacts_go_out_whole() {
    for backend in ["mmsg", "uring"] {
        let listen = ["--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"];
        let more = ["--backend", backend, "--set", "registrar.bindings_max=60"];
        let Some(server) = Server::start(&[&listen[..], &more].concat()) else { return };
        let wire = Wire::to(server.target());
        let mut phone = Phone::new(1, "long", &wire.local().to_string());
        let challenge = wire.ask(&phone.register(0));
        assert!(phone.take_challenge(&challenge));
        let listed = 60;
        adds_contacts(&mut phone, listed, |request| wire.ask(request));
        hears_a_long_notify(&phone, listed, &wire);
        let mut client = Client::tcp(server.targets[1]);
        phone.challenge = None;
        let challenge = client.ask(&phone.request(&[]));
        assert!(phone.take_challenge(&challenge));
        assert_eq!(client.ask(&phone.request(&[])).contacts().len(), listed);
        server.stop();
    }
}

/// Set for the run of this program inside a network namespace of its own.
const INSIDE: &str = "AORTA_TEST_SMALL_MTU";

/// Loopback carries 64 KiB in one packet. A namespace of our own has a loopback whose packets are
/// as long as Ethernet's, so that there long datagrams travel in fragments.
#[test]
fn fragmented_messages_arrive_whole_both_ways() {
    if std::env::var_os(INSIDE).is_none() {
        let test = std::env::current_exe().expect("this program");
        let inside = "ip link set lo mtu 1500 up && exec \"$0\" --exact --nocapture \
                      fragmented_messages_arrive_whole_both_ways";
        let arguments = ["--user", "--map-root-user", "--net", "sh", "-c", inside];
        let allowed = Command::new("unshare")
            .args(&arguments[..4])
            .args(["-c", "ip link set lo mtu 1500 up"])
            .output();
        if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
            // Past the test runner's capture, which would hide it.
            let why = allowed.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
            let _ = writeln!(std::io::stderr(), "SKIPPED fragments: no namespace: {why:?}");
            return;
        }
        let run = Command::new("unshare").args(arguments).arg(test).env(INSIDE, "1").output();
        let run = run.expect("as before");
        let said = String::from_utf8_lossy(&run.stdout);
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{said}\n{errors}");
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    for (backend, ip) in [("mmsg", "127.0.0.1"), ("uring", "127.0.0.1"), ("mmsg", "[::1]")] {
        let listen = format!("udp:{ip}:0");
        let more = ["--reactors", "2", "--backend", backend];
        let settings = ["--set", "registrar.bindings_max=60"];
        let arguments = [&["--listen", listen.as_str()][..], &more, &settings].concat();
        let Some(server) = Server::start(&arguments) else { return };
        let wire = Wire::to(server.target());
        let mut phone = Phone::new(1, "long", &wire.local().to_string());
        registers_at_each_length(&mut phone, &LENGTHS, |request| wire.ask(request));
        // Then answers of some kilobytes.
        let gone = phone.request(&[("Contact", "*"), ("Expires", "0")]);
        assert_eq!(wire.ask(&gone).status, 200);
        adds_contacts(&mut phone, 20, |request| wire.ask(request));
        hears_a_long_notify(&phone, 20, &wire);
        server.stop();
    }
}
