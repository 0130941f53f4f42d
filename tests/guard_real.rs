//! The guard over real sockets, with one reactor and with two, limits switched on for loopback: the
//! kernel spreads the flows of one source over all reactors, and they keep its limits together.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/serve.rs"]
mod serve;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::Phone;
use http::{ask, get};
use serve::{Server, Wire};

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

fn each(test: impl Fn(&Server, SocketAddr)) {
    for reactors in ["1", "2"] {
        let arguments = [
            "--listen",
            "udp:127.0.0.1:0",
            "--listen",
            "tcp:127.0.0.1:0",
            "--reactors",
            reactors,
            "--admin",
            "127.0.0.1:0",
            "--set",
            "guard.loopback=On",
        ];
        let Some(server) = Server::start(&arguments) else { return };
        let admin = *server.targets.last().expect("it listens");
        test(&server, admin);
        server.stop();
    }
}

/// The sum of a metric over all shards.
fn metric(admin: SocketAddr, name: &str, label: &str) -> u64 {
    let text = get(admin, "/metrics").body;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

fn registered(server: &Server, local: &str, number: u32) -> (Phone, Wire) {
    let wire = Wire::from(&format!("{local}:0"), server.target());
    let mut phone = Phone::new(number, "desk", &wire.local().to_string());
    let challenge = wire.ask(&phone.register(600));
    assert!(phone.take_challenge(&challenge));
    assert_eq!(wire.ask(&phone.register(600)).status, 200);
    (phone, wire)
}

#[test]
fn a_flood_by_many_flows_of_one_source_is_cut_and_its_customer_and_others_are_served() {
    const FLOOD: u64 = 2000;
    each(|server, admin| {
        let (mut customer, wire) = registered(server, "127.0.0.1", 1);
        let answered = metric(admin, "aorta_answers_total", "status=\"401\"");
        let begun = Instant::now();
        let flows: Vec<UdpSocket> =
            (0..50).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
        for number in 0..FLOOD {
            let mut stranger = Phone::new(100, "flood", "127.0.0.1:9");
            stranger.call_id = format!("flood-{number}");
            let flow = &flows[number as usize % flows.len()];
            flow.send_to(stranger.register(60).as_bytes(), server.target()).expect("it is sent");
            if number % 100 == 0 {
                // With a nonce of his own the customer comes through at any moment.
                assert_eq!(wire.ask(&customer.register(600)).status, 200);
            }
        }
        let limited = || metric(admin, "aorta_not_answered_total", "reason=\"source_rate\"");
        let challenged = || metric(admin, "aorta_answers_total", "status=\"401\"") - answered;
        let lost = || metric(admin, "aorta_reactor_kernel_drops_total", "");
        until("all of the flood is counted", || limited() + challenged() + lost() >= FLOOD);
        // Twice the grown rate, the burst, and what shares of it may pass unsaid.
        let most = 2 * 6 * (begun.elapsed().as_secs() + 1) + 3 * 14;
        assert!(challenged() <= most, "{} of at most {most} challenged", challenged());
        // Somebody else does not notice.
        registered(server, "127.0.0.2", 2);
    });
}

#[test]
fn who_is_blocked_hears_nothing_and_cannot_connect_until_it_is_lifted() {
    each(|server, admin| {
        let path = "/api/v1/blacklist/127.0.9.1";
        assert_eq!(ask(admin, "PUT", path).good()["changed"], true);
        let wire = Wire::from("127.0.9.1:0", server.target());
        let mut phone = Phone::new(3, "desk", &wire.local().to_string());
        wire.send(phone.register(600).as_bytes());
        let silent = || metric(admin, "aorta_not_answered_total", "reason=\"source_blocked\"");
        until("the datagram is dropped", || silent() == 1);
        let stream = connect_from("127.0.9.1:0", server.targets[1]);
        let mut bytes = Vec::new();
        // Closed, or reset, without a byte.
        let _ = (&stream).read_to_end(&mut bytes);
        assert!(bytes.is_empty());

        assert_eq!(ask(admin, "DELETE", path).good()["changed"], true);
        assert_eq!(wire.ask(&phone.register(600)).status, 401);
    });
}

#[test]
fn connections_that_come_to_nothing_block_their_source_and_nobody_else() {
    each(|server, admin| {
        let mut tries = 0;
        until("the source is blocked", || {
            tries += 1;
            let mut stream = connect_from("127.0.9.2:0", server.targets[1]);
            // What a TLS client says first. It is closed, or not even accepted any more.
            let _ = stream.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03");
            let _ = stream.read_to_end(&mut Vec::new());
            let blocked = get(admin, "/api/v1/blacklist").good();
            blocked["items"].as_array().expect("a list").iter().any(|block| {
                assert_eq!(block["network"], "127.0.9.2/32");
                block["whole"] == true
            })
        });
        // Two points each, of a hundred; what is said before the block is known passes as well.
        assert!((50..100).contains(&tries), "{tries} connections");
        assert!(metric(admin, "aorta_reactor_closed_garbage_total", "") >= 50);
        // Who closes without a word has only looked.
        (0..100).for_each(|_| drop(connect_from("127.0.9.3:0", server.targets[1])));
        registered(server, "127.0.9.3", 4);
        let blocked = get(admin, "/api/v1/blacklist").good();
        assert_eq!(blocked["items"].as_array().map(Vec::len), Some(1));
    });
}

/// A connection from an address of this side's choice.
fn connect_from(local: &str, to: SocketAddr) -> TcpStream {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&local.parse::<SocketAddr>().unwrap().into()).expect("a port");
    socket.connect(&to.into()).expect("it listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket.into()
}
