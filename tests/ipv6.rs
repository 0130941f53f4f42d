//! IPv6 with its brackets over every transport: in the listener, in Via, in Contact, in Path, and
//! in what the answers say about where a request came from.

// The shell's clock is allowed here: deadlines of sockets are real time.
#![allow(clippy::disallowed_methods)]

#[path = "common/certificate.rs"]
mod certificate;
#[path = "streams/client.rs"]
#[allow(dead_code, reason = "only its requests are used here")]
mod client;
mod common;
#[path = "common/serve.rs"]
mod serve;

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};

use certificate::Certificate;
use client::Client;
use common::{Phone, Response};
use serve::{Server, Wire};

/// A server on all transports at `[::1]`, UDP first; `None` where the host has no IPv6.
fn start(certificate: &Certificate) -> Option<Server> {
    if let Err(error) = UdpSocket::bind("[::1]:0") {
        // Past the test runner's capture, which would hide it.
        let _ = writeln!(std::io::stderr(), "SKIPPED ipv6: no [::1] on this host: {error}");
        return None;
    }
    let mut arguments = vec!["--reactors", "2"];
    let listeners = ["udp", "tcp", "tls", "ws", "wss"].map(|word| format!("{word}:[::1]:0"));
    arguments.extend(listeners.iter().flat_map(|listener| ["--listen", listener]));
    let settings = certificate.settings();
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    Server::start(&arguments)
}

/// A phone whose every address has brackets.
fn phone(number: u32, at: SocketAddr) -> Phone {
    let mut phone = Phone::new(number, "six", &format!("[::1]:{}", at.port()));
    phone.contact = format!("sip:u{number}@[2001:DB8::9:1]:5070;ob");
    phone
}

/// One phone's life: challenged, registered with a Path, refreshed with the address written in
/// another way, gone.
fn life(phone: &mut Phone, from: SocketAddr, mut ask: impl FnMut(&str) -> Response) {
    let challenge = ask(&phone.register(600));
    assert_eq!(challenge.status, 401);
    // RFC 3261 18.2.1, RFC 3581 4: the source without brackets, as the grammar of received has it.
    let via = challenge.header("via").expect("a Via");
    assert!(via.contains(&format!(";rport={}", from.port())), "{via}");
    assert!(!via.contains("received=[") || via.contains(";received=[::1]"), "{via}");
    assert!(phone.take_challenge(&challenge));

    let contact = format!("<{}>", phone.contact);
    let path = "<sip:[2001:db8::5]:5062;lr>";
    let registered =
        ask(&phone.request(&[("Contact", &contact), ("Supported", "path"), ("Path", path)]));
    assert_eq!(registered.status, 200, "{registered:?}");
    assert_eq!(registered.contacts()[0].0, phone.contact);
    assert_eq!(registered.header("path"), Some(path));

    // RFC 5118 4.13 and RFC 3261 19.1.4: the same address in other letters is the same contact.
    let again = contact.replace("2001:DB8::9:1", "2001:db8:0:0:0:0:9:1");
    let refreshed = ask(&phone.request(&[("Contact", &again), ("Expires", "300")]));
    assert_eq!((refreshed.status, refreshed.contacts().len()), (200, 1), "{refreshed:?}");

    let gone = ask(&phone.request(&[("Contact", &again), ("Expires", "0")]));
    assert_eq!((gone.status, gone.contacts().len()), (200, 0), "{gone:?}");
}

#[test]
fn rfc5118_phones_register_over_ipv6_by_every_transport() {
    let certificate = Certificate::for_test("ipv6");
    let Some(server) = start(&certificate) else { return };
    let wire = Wire::to(server.target());
    life(&mut phone(1, wire.local()), wire.local(), |request| wire.ask(request));
    for (nth, transport) in ["tcp", "tls", "ws", "wss"].into_iter().enumerate() {
        let to = server.targets[1 + nth];
        let trusted = Some(&certificate.config);
        let mut client = Client::connect(transport, to, trusted).expect(transport);
        let from = client.socket.local_addr().expect("connected");
        life(&mut phone(2 + nth as u32, from), from, |request| client.ask(request));
    }
    let counters = server.stop();
    assert_eq!(counters.of("registered"), 5, "{counters:?}");
    assert_eq!(counters.of("refreshed"), 5, "{counters:?}");
    assert_eq!(counters.of("unregistered"), 5, "{counters:?}");
}
