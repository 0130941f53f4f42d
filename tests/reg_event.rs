//! A phone on loopback that watches its own registration: the built server as a process, at one
//! reactor and at two, where the answer to a NOTIFY may arrive at another one than sent it.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "reg_event_core/document.rs"]
mod document;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/watcher.rs"]
mod watcher;

use std::net::SocketAddr;

use common::{Phone, Response};
use document::Notification;
use serve::{Server, Wire};
use watcher::Watcher;

/// A socket that sends requests and hears answers and NOTIFYs, in whatever order they come.
struct Line {
    wire: Wire,
    notifications: Vec<Notification>,
    /// CSeq of the last NOTIFY: what comes again was answered already.
    last: u32,
}

impl Line {
    fn new(target: SocketAddr) -> Line {
        Line { wire: Wire::to(target), notifications: Vec::new(), last: 0 }
    }

    fn phone(&self, number: u32, device: &str) -> Phone {
        Phone::new(number, device, &self.wire.local().to_string())
    }

    fn ask(&mut self, request: &str) -> Response {
        self.wire.send(request.as_bytes());
        loop {
            let bytes = self.wire.receive_bytes();
            if bytes.starts_with(b"SIP/2.0 ") {
                return Response::parse(&bytes);
            }
            self.hear(&bytes);
        }
    }

    fn register(&mut self, phone: &mut Phone, expires: u32) {
        if phone.challenge.is_none() {
            let response = self.ask(&phone.register(expires));
            assert!(phone.take_challenge(&response));
        }
        assert_eq!(self.ask(&phone.register(expires)).status, 200);
    }

    fn hear(&mut self, bytes: &[u8]) {
        let notification = Notification::parse(bytes);
        self.wire.send(notification.answer(200, "").as_bytes());
        if notification.cseq() > self.last {
            self.last = notification.cseq();
            self.notifications.push(notification);
        }
    }

    fn next(&mut self) -> Notification {
        while self.notifications.is_empty() {
            let bytes = self.wire.receive_bytes();
            self.hear(&bytes);
        }
        self.notifications.remove(0)
    }
}

fn script(target: SocketAddr, number: u32) {
    let (mut line, mut other) = (Line::new(target), Line::new(target));
    let (mut desk, mut mobile) = (line.phone(number, "desk"), other.phone(number, "mobile"));
    line.register(&mut desk, 600);

    let mut watcher = Watcher::new(&desk);
    let response = line.ask(&watcher.subscribe(600));
    assert_eq!(response.status, 401);
    watcher.take(&response);
    let response = line.ask(&watcher.subscribe(600));
    assert_eq!((response.status, response.header("expires")), (200, Some("600")));
    watcher.take(&response);
    let first = line.next().document;
    assert!(first.full);
    assert_eq!(first.gists(), [format!("active registered {}", desk.contact)]);

    other.register(&mut mobile, 600);
    let kicked = line.next().document;
    let gone = format!("terminated rejected {}", desk.contact);
    assert_eq!(kicked.gists(), [gone, format!("active registered {}", mobile.contact)]);

    // Gone again within the pace: of a contact that came and went only the end is told.
    other.register(&mut mobile, 1);
    let expired = line.next().document;
    assert_eq!(expired.gists(), [format!("terminated expired {}", mobile.contact)]);
    assert_eq!((expired.version, &*expired.state), (2, "terminated"));

    assert_eq!(line.ask(&watcher.subscribe(600)).status, 200);
    let everything = line.next().document;
    assert_eq!((everything.full, &*everything.state), (true, "init"));

    line.register(&mut desk, 0);
    assert_eq!(line.ask(&watcher.subscribe(0)).status, 200);
    assert!(line.next().is_last());
}

fn at(reactors: &str) {
    let arguments = [
        "--listen",
        "udp:127.0.0.1:0",
        "--reactors",
        reactors,
        "--set",
        "registrar.expires_min=1",
        "--set",
        "registrar.late_margin=0",
    ];
    let Some(server) = Server::start(&arguments) else { return };
    // Accounts of both shards, all at once: each waits for the pace once.
    let target = server.target();
    std::thread::scope(|scope| {
        for number in 1..=8 {
            scope.spawn(move || script(target, number));
        }
    });
    let counters = server.stop();
    assert_eq!(counters.of("subscribed"), 8 * 3);
    assert!(counters.of("notify_answers") >= 8 * 5);
}

#[test]
fn one_reactor() {
    at("1");
}

#[test]
fn two_reactors() {
    at("2");
}
