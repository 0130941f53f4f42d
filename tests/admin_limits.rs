//! What the admin interface does with clients that are slow, many, or do not read: each is let go,
//! and the next one is served. No shard is needed for that, and limits are short.

// The shell's clock is allowed here: what is tested is time.
#![allow(clippy::disallowed_methods)]

#[path = "common/http.rs"]
mod http;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aorta::admin::{Admin, Limits, Settings, Shards};
use aorta::time::UnixTime;
use http::{connect, get};

/// Short, and far above what anything good takes.
const SHORT: Duration = Duration::from_millis(300);
const METRICS: &str = "/metrics";

fn start(limits: Limits) -> (Admin, SocketAddr) {
    let listen = "127.0.0.1:0".parse().unwrap();
    let settings = Settings { limits, ..Settings::new(listen, UnixTime(1_800_000_000)) };
    let shards = Shards::new(Vec::new(), Vec::new, Vec::new());
    let admin = Admin::start(settings, shards, Arc::new(|_| {}), None).expect("a free port");
    let address = admin.address();
    (admin, address)
}

/// A counter of the interface's own. It may take a moment until there is room to ask.
fn counted(admin: SocketAddr, name: &str) -> u64 {
    let body = (0..10_000).find_map(|_| served(admin)).expect("room in the end");
    let line =
        body.lines().find_map(|line| line.strip_prefix(&format!("aorta_admin_{name}_total ")));
    line.unwrap_or_else(|| panic!("no {name} in {body}")).parse().expect("a number")
}

/// Whether the other side has closed, or cut off, what it can wait for no longer.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => {
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
        }
    }
}

/// What a request is answered, unless it is turned away with 503 or a reset.
fn served(address: SocketAddr) -> Option<String> {
    let mut stream = connect(address);
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).and_then(|()| stream.read_to_string(&mut answer)).ok()?;
    answer.starts_with("HTTP/1.1 200 ").then_some(answer)
}

fn is_served(address: SocketAddr) -> bool {
    served(address).is_some()
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_waited_for_no_longer() {
    let (_admin, address) = start(Limits { head_max: SHORT, ..Limits::default() });
    let begun = Instant::now();
    let mut silent = connect(address);
    let mut halting = connect(address);
    halting.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ").unwrap();
    // One that has been served waits no longer for its next either.
    let mut idle = connect(address);
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for stream in [&mut silent, &mut halting, &mut idle] {
        assert!(is_closed(stream));
    }
    assert!(begun.elapsed() >= SHORT);
    get(address, METRICS);
}

#[test]
fn a_trickle_is_no_way_to_hold_a_connection() {
    let (_admin, address) = start(Limits { head_max: SHORT, ..Limits::default() });
    let mut stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ").unwrap();
    let begun = Instant::now();
    // A byte whenever the wait for the answer times out.
    let ended = loop {
        match stream.read(&mut [0; 1024]) {
            Ok(_) => break Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => break Err(error),
        }
        if stream.write_all(b"x").is_err() {
            break Ok(());
        }
        assert!(begun.elapsed() < 40 * SHORT, "it goes on for ever");
    };
    drop(ended);
    get(address, METRICS);
}

#[test]
fn who_does_not_read_is_let_go() {
    let (_admin, address) = start(Limits { write_max: SHORT, ..Limits::default() });
    let mut stream = connect(address);
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    // Answers pile up until the sockets are full, and then nothing is read any more.
    let cut_off = loop {
        if let Err(error) = stream.write_all(&request) {
            break error.kind();
        }
    };
    assert!(matches!(cut_off, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{cut_off:?}");
    assert_eq!(counted(address, "broken"), 1);
}

#[test]
fn connections_are_bounded_and_one_source_has_its_share() {
    let limits = Limits { connections_max: 4, per_source_max: 3, ..Limits::default() };
    let (_admin, address) = start(limits);
    let mut held: Vec<TcpStream> = (0..3).map(|_| connect(address)).collect();
    // They are taken up in order, so the answer says that those before were.
    assert!(!is_served(address));
    drop(held.pop());
    // Its place is free once the server has seen it go.
    assert!((0..10_000).any(|_| is_served(address)), "a place that was left is taken again");
    assert!(counted(address, "refused_per_source") >= 1);
    assert_eq!(counted(address, "refused_connections_max"), 0);
    drop(held);

    let limits = Limits { connections_max: 2, per_source_max: 3, ..Limits::default() };
    let (_admin, address) = start(limits);
    let mut held: Vec<TcpStream> = (0..2).map(|_| connect(address)).collect();
    assert!(!is_served(address));
    // Who listens first is told why.
    let mut turned_away = connect(address);
    let mut answer = String::new();
    turned_away.read_to_string(&mut answer).expect("an answer and the end");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"));
    drop(held.pop());
    assert!((0..10_000).any(|_| is_served(address)));
    assert!(counted(address, "refused_connections_max") >= 1);
}

#[test]
fn a_connection_has_its_end_however_well_it_behaves() {
    let (_admin, address) = start(Limits { connection_max: SHORT, ..Limits::default() });
    let mut stream = connect(address);
    let begun = Instant::now();
    let mut answers = 0;
    while stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok() {
        match stream.read(&mut [0; 64 * 1024]) {
            Ok(0) | Err(_) => break,
            Ok(_) => answers += 1,
        }
        assert!(begun.elapsed() < 40 * SHORT, "it goes on for ever");
    }
    assert!(answers > 0);
}

#[test]
fn a_stop_waits_for_nobody_for_long() {
    let (admin, address) = start(Limits { drain_max: SHORT, ..Limits::default() });
    let mut halting = connect(address);
    halting.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    let mut served = connect(address);
    served.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(served.read(&mut [0; 64]).expect("an answer") > 0);
    let begun = Instant::now();
    admin.stop();
    assert!(begun.elapsed() < 20 * SHORT);
    assert!(is_closed(&mut halting) && is_closed(&mut served));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn shards_that_are_gone_are_a_problem_and_no_panic() {
    let (_admin, address) = start(Limits::default());
    for path in ["/api/v1/registrations", "/api/v1/registrations/u1"] {
        let answer = get(address, path);
        assert_eq!(answer.problem(503), "the reactor has stopped");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}
