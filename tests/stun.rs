//! STUN and other keepalives at the SIP port of the built server (RFC 5626 4.4.2 and 8): one
//! reactor and several, both datagram backends, both IP families. Sockets are connected, so that
//! an answer from another address or port than the one asked would not be heard.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::Phone;
use serve::{Server, Wire};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Sockets that ask, so that each of several reactors is asked.
const PHONES: usize = 16;

/// A STUN message of RFC 5389 with this type and these attributes.
fn stun(kind: u16, transaction: u8, attributes: &[u8]) -> Vec<u8> {
    let length = attributes.len() as u16;
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), &COOKIE, &[transaction; 12], attributes]
        .concat()
}

/// The address in XOR-MAPPED-ADDRESS, which must be the only attribute of a success response.
fn mapped(answer: &[u8], transaction: u8) -> SocketAddr {
    assert_eq!(answer[..2], [1, 1], "a binding success response");
    assert_eq!(answer[4..8], COOKIE);
    assert_eq!(answer[8..20], [transaction; 12]);
    assert_eq!(usize::from(u16::from_be_bytes([answer[2], answer[3]])), answer.len() - 20);
    assert_eq!(answer[20..22], [0, 0x20]);
    let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
    let mask = &answer[4..20];
    let unmasked: Vec<u8> = answer[28..].iter().zip(mask).map(|(a, b)| a ^ b).collect();
    let ip = match answer[25] {
        1 => IpAddr::from(<[u8; 4]>::try_from(unmasked).expect("an IPv4 address")),
        family => {
            assert_eq!(family, 2);
            IpAddr::from(<[u8; 16]>::try_from(unmasked).expect("an IPv6 address"))
        }
    };
    SocketAddr::new(ip, port)
}

/// Everything a phone may send to keep its pinhole open, with a binding request behind it: what is
/// heard first is the answer to that.
fn script(target: SocketAddr) {
    for number in 0..PHONES as u8 {
        let socket = Wire::to(target);
        let unasked: [&[u8]; 7] = [
            b"",
            b"\0",
            b"\0\0\0\0",
            b"\r\n\r\n",
            b"jaK\0",
            // A binding indication, and a response to nothing.
            &stun(0x0011, 1, &[]),
            &stun(0x0101, 2, &[0, 0x20, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0]),
        ];
        for bytes in unasked {
            socket.send(bytes);
        }
        // SOFTWARE is optional to understand, FINGERPRINT too.
        let software = [0x80, 0x22, 0, 4, b'd', b'e', b's', b'k', 0x80, 0x28, 0, 4, 1, 2, 3, 4];
        socket.send(&stun(0x0001, number, &software));
        assert_eq!(mapped(&socket.receive_bytes(), number), socket.local());
        // CHANGE-REQUEST asks for what only a STUN server on two addresses could do.
        socket.send(&stun(0x0001, number, &[0, 3, 0, 4, 0, 0, 0, 6]));
        let refusal = socket.receive_bytes();
        assert_eq!(refusal[..2], [1, 0x11], "a binding error response");
        assert_eq!(refusal[20..28], [0, 9, 0, 21, 0, 0, 4, 20]);
        assert_eq!(refusal[48..], [0, 0x0a, 0, 2, 0, 3, 0, 0]);
    }
    // SIP goes on beside it, on the same socket.
    let wire = Wire::to(target);
    let mut phone = Phone::new(1, "desk", &wire.local().to_string());
    let challenge = wire.ask(&phone.register(600));
    assert!(phone.take_challenge(&challenge));
    assert_eq!(wire.ask(&phone.register(600)).status, 200);
}

fn at_one_and_several_reactors(backend: &str, listen: &str) {
    for reactors in ["1", "2"] {
        let arguments = ["--listen", listen, "--reactors", reactors, "--backend", backend];
        let Some(server) = Server::start(&arguments) else { return };
        script(server.target());
        let counters = server.stop();
        let phones = PHONES as u64;
        assert_eq!(counters.of("stun_answered"), phones);
        assert_eq!(counters.of("stun_refused"), phones);
        assert_eq!(counters.of("stun"), 2 * phones);
        assert_eq!(counters.of("keepalive"), 4 * phones);
        assert_eq!(counters.of("empty"), phones);
        assert_eq!(counters.of("unparseable"), 0);
        // Each source is told of once, however much it sends.
        assert_eq!(counters.of("heard_told"), phones);
    }
}

#[test]
fn rfc_5626_8_binding_requests_are_answered_and_other_keepalives_are_not_mmsg() {
    at_one_and_several_reactors("mmsg", "udp:127.0.0.1:0");
}

#[test]
fn rfc_5626_8_binding_requests_are_answered_and_other_keepalives_are_not_uring() {
    at_one_and_several_reactors("uring", "udp:127.0.0.1:0");
}

#[test]
fn an_ipv6_address_is_mapped_as_well() {
    if let Err(error) = UdpSocket::bind("[::1]:0") {
        // Past the test runner's capture, which would hide it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no [::1] on this host: {error}");
        return;
    }
    at_one_and_several_reactors("mmsg", "udp:[::1]:0");
}
