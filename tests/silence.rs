//! SS_REPLY_UNAUTHORIZED Off: whoever is not known hears nothing, on any transport; accounts that
//! exist are served as ever.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;

#[path = "common/desk.rs"]
mod desk;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/watcher.rs"]
mod watcher;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use aorta::config::{AccountAuthentication, AccountPolicy, Auth, Registrar};
use aorta::shard::counters::DropReason;

use common::Phone;
use common::cluster::Options;
use desk::{Desk, each_way, registrar, source};
use serve::Server;
use watcher::Watcher;

fn options() -> Options {
    silent(Options::default())
}

fn silent(options: Options) -> Options {
    Options { auth: Auth { reply_unauthorized: false, ..options.auth }, ..options }
}

fn elsewhere() -> SocketAddr {
    "198.51.100.9:40000".parse().unwrap()
}

fn hears_nothing(desk: &mut Desk, from: SocketAddr, request: &str) {
    let sent = desk.send_from(from, request);
    assert!(sent.is_none(), "{request} got {:?}", sent.map(|s| String::from_utf8(s.bytes)));
}

/// A request of another method, from the account of a phone.
fn other(method: &str, phone: &Phone) -> String {
    let Phone { user, domain, call_id, .. } = phone;
    format!(
        "{method} sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP a.test;branch=z9hG4bK{method};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@{domain}>;tag=1\r\nTo: <sip:{domain}>\r\n\
         Call-ID: {call_id}{method}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn unknown_accounts_hear_nothing_and_known_ones_are_challenged_from_anywhere() {
    each_way(&options(), |desk| {
        for from in [source(), elsewhere()] {
            let mut phone = Phone::new(3, "a", "a.test:5070");
            let challenge = desk.ask_from(from, &phone.register(60));
            assert_eq!(challenge.status, 401);
            assert!(phone.take_challenge(&challenge));
            assert_eq!(desk.ask_from(from, &phone.register(60)).status, 200);
        }
        let mut nobody = Phone::new(99, "a", "a.test:5070");
        hears_nothing(desk, source(), &nobody.register(60));
        // Neither with credentials, whatever they are for.
        let mut phone = desk.phone(3, "b");
        nobody.challenge = phone.challenge.clone();
        hears_nothing(desk, source(), &nobody.register(60));
        let foreign = phone.register(60).replace("example.com", "example.net");
        hears_nothing(desk, source(), &foreign);
        assert_eq!(desk.counters().dropped(DropReason::Unauthorized), 3);
    });
}

#[test]
fn whoever_is_not_known_hears_nothing_whatever_he_sends() {
    each_way(&options(), |desk| {
        let phone = Phone::new(3, "a", "a.test:5070");
        let nobody = Phone::new(99, "a", "a.test:5070");
        for method in ["OPTIONS", "INVITE", "MESSAGE", "BYE", "CANCEL", "NOTIFY", "FOO"] {
            for phone in [&phone, &nobody] {
                hears_nothing(desk, source(), &other(method, phone));
            }
        }
        let request = other("OPTIONS", &phone);
        for faulty in [
            request.replace("SIP/2.0\r\n", "SIP/3.0\r\n"),
            request.replace("Max-Forwards: 70", "Max-Forwards: x"),
            request.replace("From: <sip:u3@example.com>", "From: <sip:u3"),
            request.replace("CSeq: 1", "CSeq: one"),
            request.replace("sip:example.com SIP", "sip:example.net SIP"),
            phone.clone().register(60).replace("To: <", "To: <<"),
            phone.clone().register(60).replace("To:", "To: <sip:u4@example.com>\r\nTo:"),
        ] {
            hears_nothing(desk, source(), &faulty);
        }
        let mut watcher = Watcher::new(&nobody);
        hears_nothing(desk, source(), &watcher.subscribe(600));
    });
}

#[test]
fn options_is_answered_where_a_binding_lives_and_no_longer() {
    each_way(&options(), |desk| {
        let phone = desk.registered(3, "a", 60);
        let request = other("OPTIONS", &phone);
        assert_eq!(desk.ask(&request).status, 200);
        hears_nothing(desk, elsewhere(), &request);
        hears_nothing(desk, source(), &other("OPTIONS", &Phone::new(4, "a", "a.test:5070")));
        assert_eq!(desk.ask(&other("FOO", &phone)).status, 501);
        desk.pass(61);
        hears_nothing(desk, source(), &request);
    });
}

#[test]
fn networks_of_watchers_are_known() {
    let watchers = vec!["203.0.113.0/24".parse().unwrap()];
    let settings = Registrar { watchers, redirect: true, ..Registrar::default() };
    each_way(&silent(registrar(settings)), |desk| {
        let phone = desk.registered(3, "a", 60);
        let proxy: SocketAddr = "203.0.113.7:5060".parse().unwrap();
        let nobody = Phone::new(99, "proxy", "proxy.test");
        assert_eq!(desk.ask_from(proxy, &other("OPTIONS", &nobody)).status, 200);
        let to_user = |phone: &Phone| {
            let user = format!("INVITE sip:{}@example.com SIP", phone.user);
            other("INVITE", &nobody).replace("INVITE sip:example.com SIP", &user)
        };
        assert_eq!(desk.ask_from(proxy, &to_user(&phone)).status, 302);
        assert_eq!(desk.ask_from(proxy, &to_user(&nobody)).status, 404);
        // Where somebody is, a phone is not told either.
        hears_nothing(desk, source(), &to_user(&phone));
        hears_nothing(desk, elsewhere(), &to_user(&phone));
        let mut watcher = Watcher::new(&nobody);
        assert_eq!(desk.ask_from(proxy, &watcher.subscribe(600)).status, 404);
        let mut nobody = nobody.clone();
        hears_nothing(desk, proxy, &nobody.register(60));
    });
}

#[test]
fn an_account_whose_list_excludes_the_source_is_as_if_it_were_not_there() {
    let policy = |authentication| AccountPolicy {
        authentication,
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        ..AccountPolicy::default()
    };
    let policies = vec![
        (3, policy(AccountAuthentication::Both)),
        (4, policy(AccountAuthentication::Network)),
        (5, policy(AccountAuthentication::Either)),
    ];
    each_way(&silent(Options { policies, ..Options::default() }), |desk| {
        for (number, inside, outside) in
            [(3, Some(401), None), (4, Some(200), None), (5, Some(200), Some(401))]
        {
            let mut phone = Phone::new(number, "a", "a.test:5070");
            let mut status = |desk: &mut Desk, from| {
                let sent = desk.send_from(from, &phone.register(60))?;
                Some(common::Response::parse(&sent.bytes).status)
            };
            assert_eq!(status(desk, source()), inside, "{number}");
            assert_eq!(status(desk, elsewhere()), outside, "{number}");
        }
    });
}

#[test]
fn a_suspended_account_hears_nothing_until_the_suspension_ends() {
    each_way(&options(), |desk| {
        let mut phone = desk.phone(3, "a");
        phone.password = "guess".into();
        for _ in 0..5 {
            let response = desk.ask(&phone.register(60));
            assert!(phone.take_challenge(&response));
        }
        hears_nothing(desk, source(), &phone.register(60));
        phone.password = "p3".into();
        hears_nothing(desk, source(), &phone.register(60));
        phone.challenge = None;
        hears_nothing(desk, source(), &phone.register(60));
        assert_eq!(desk.counters().dropped(DropReason::Suspended), 3);
        assert_eq!(desk.ask_from(elsewhere(), &phone.register(60)).status, 401);
        desk.pass(180);
        assert_eq!(desk.registered(3, "a", 60).user, "u3");
    });
}

#[test]
fn stun_is_answered_only_to_those_who_are_known() {
    let watchers = vec!["203.0.113.0/24".parse().unwrap()];
    let settings = Registrar { watchers, ..Registrar::default() };
    each_way(&silent(registrar(settings)), |desk| {
        // A binding request (RFC 5389 6): type, length, magic cookie, transaction.
        let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        stun.extend([7; 12]);
        let known: SocketAddr = "203.0.113.7:5060".parse().unwrap();
        assert!(desk.cluster.give(0, known, &stun).is_some());
        assert!(desk.cluster.give(0, elsewhere(), &stun).is_none());
    });
}

/// Everything that comes back until the server closes.
fn over_tcp(target: SocketAddr, says: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(target).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream.write_all(says).expect("it is open");
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => heard,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => heard,
        Err(error) => panic!("not closed: {error}, after {heard:?}"),
    }
}

#[test]
fn tcp_is_closed_without_a_byte_and_a_known_account_registers_over_it() {
    let arguments = ["--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"];
    let arguments =
        [&arguments[..], &["--reactors", "2", "--set", "SS_REPLY_UNAUTHORIZED=Off"]].concat();
    let Some(server) = Server::start(&arguments) else { return };
    let tcp = server.targets[1];
    let as_tcp = |request: String| request.replace("SIP/2.0/UDP", "SIP/2.0/TCP").into_bytes();
    let mut nobody = Phone::new(9999, "a", "a.test:5070");
    let unheard = [
        as_tcp(nobody.register(60)),
        as_tcp(other("OPTIONS", &nobody)),
        as_tcp(other("INVITE", &nobody)),
        as_tcp(other("OPTIONS", &nobody).replace("CSeq: 1", "CSeq: one")),
        // A keepalive asks for an answer as well.
        [b"\r\n\r\n".to_vec(), as_tcp(nobody.register(60))].concat(),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
    ];
    for says in &unheard {
        let heard = over_tcp(tcp, says);
        assert_eq!(heard, b"", "{}", String::from_utf8_lossy(says));
    }
    let mut phone = Phone::new(3, "a", "a.test:5070");
    let mut stream = TcpStream::connect(tcp).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    for status in [401, 200] {
        stream.write_all(&as_tcp(phone.register(60))).expect("it is open");
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            text.push(byte[0]);
        }
        let response = common::Response::parse(&text);
        assert_eq!(response.status, status);
        phone.take_challenge(&response);
    }
    // Whoever is known is answered, keepalives too; and what he says of others closes nothing.
    stream.write_all(&as_tcp(nobody.register(60))).expect("it is open");
    stream.write_all(b"\r\n\r\n").expect("it is open");
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).expect("a pong");
    assert_eq!(&pong, b"\r\n");
    drop(stream);
    let counters = server.stop();
    assert_eq!(counters.of("closed_unauthorized"), 5);
    assert_eq!(counters.of("closed_garbage"), 1, "HTTP is no SIP");
    assert_eq!(counters.of("unauthorized"), unheard.len() as u64);
}
