//! More than a real server can answer, over real sockets: newcomers come as fast as the kernel
//! takes them, and a phone that was challenged before is served all the same. What is asserted are
//! counts, whatever the machine's speed.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/serve.rs"]
mod serve;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Phone, Response};
use http::get;
use serve::Server;

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);
/// T1 of RFC 3261.
const T1: Duration = Duration::from_millis(500);

fn each(admission: &str, test: impl Fn(&Server, SocketAddr)) {
    for (reactors, backend) in [("1", "mmsg"), ("2", "mmsg"), ("1", "uring")] {
        if backend == "uring" && !uring_allowed() {
            eprintln!("skipped: io_uring is not allowed here");
            continue;
        }
        let admission = format!("overload.admission={admission}");
        let backend = format!("serve.backend={backend}");
        let arguments = [
            "--listen",
            "udp:127.0.0.1:0",
            "--reactors",
            reactors,
            "--admin",
            "127.0.0.1:0",
            "--set",
            &admission,
            "--set",
            &backend,
            "--set",
            "overload.wait_newcomers=10ms",
            "--set",
            "overload.wait_known=80ms",
            "--set",
            "overload.wait_proven=200ms",
        ];
        let Some(server) = Server::start(&arguments) else { return };
        let admin = *server.targets.last().expect("it listens");
        test(&server, admin);
        server.stop();
    }
}

fn uring_allowed() -> bool {
    aorta::reactor::io_uring_allowed().is_ok()
        && aorta::reactor::multishot_receive_allowed().is_ok()
}

/// The sum of a metric over all shards.
fn metric(admin: SocketAddr, name: &str, label: &str) -> u64 {
    let text = get(admin, "/metrics").body;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn shed(admin: SocketAddr, class: &str) -> u64 {
    let label = format!("reason=\"overload_{class}\"");
    metric(admin, "aorta_refused_total", &label) + metric(admin, "aorta_not_answered_total", &label)
}

/// Newcomers from many flows, until told to stop.
fn flood(target: SocketAddr, stop: &AtomicBool) {
    let flows: Vec<UdpSocket> =
        (0..50).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
    let requests: Vec<String> = (0..50)
        .map(|number| {
            let mut stranger = Phone::new(100, "flood", "127.0.0.1:9");
            stranger.call_id = format!("flood-{number}");
            stranger.register(60)
        })
        .collect();
    while !stop.load(Ordering::Relaxed) {
        for (flow, request) in flows.iter().zip(&requests) {
            // What the kernel does not take is no load.
            let _ = flow.send_to(request.as_bytes(), target);
        }
    }
}

/// Ends a flood, whatever becomes of the test.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something while newcomers flood a server.
fn under_flood(target: SocketAddr, act: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        scope.spawn(|| flood(target, &stop));
        act();
    });
}

/// Sends a request again and again, as a phone does, until it is answered.
fn insist(socket: &UdpSocket, target: SocketAddr, request: &str) -> Response {
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    while begun.elapsed() < DEADLINE {
        socket.send_to(request.as_bytes(), target).expect("it is sent");
        let wanted = Instant::now() + T1;
        while Instant::now() < wanted {
            let Ok(len) = socket.recv(&mut buffer) else { continue };
            let response = Response::parse(&buffer[..len]);
            let cseq = |text: &str| {
                let line = text.lines().find(|line| line.starts_with("CSeq:")).unwrap();
                line["CSeq:".len()..].trim().to_owned()
            };
            if response.header("cseq") == Some(&cseq(request)) {
                return response;
            }
        }
    }
    panic!("no answer: {request}");
}

#[test]
fn a_challenged_phone_is_served_while_newcomers_are_shed() {
    each("On", |server, admin| {
        let target = server.target();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(T1 / 10)).unwrap();
        let mut phone = Phone::new(1, "desk", &socket.local_addr().unwrap().to_string());
        let challenge = insist(&socket, target, &phone.register(600));
        assert!(phone.take_challenge(&challenge));
        assert_eq!(metric(admin, "aorta_reactor_waits_measured_total", ""), 0, "nothing waits yet");
        under_flood(target, || {
            let begun = Instant::now();
            while shed(admin, "newcomer") == 0 {
                assert!(begun.elapsed() < DEADLINE, "nobody is shed");
                std::thread::yield_now();
            }
            for _ in 0..20 {
                assert_eq!(insist(&socket, target, &phone.register(600)).status, 200);
            }
        });
        assert!(metric(admin, "aorta_reactor_waits_measured_total", "") > 0);
        assert_eq!(shed(admin, "proven"), 0);
        // The flood is over, and newcomers are welcome.
        let mut newcomer = Phone::new(2, "desk", &socket.local_addr().unwrap().to_string());
        let begun = Instant::now();
        loop {
            let answer = insist(&socket, target, &newcomer.register(600));
            if answer.status == 401 {
                break;
            }
            assert_eq!(answer.status, 503);
            assert!(begun.elapsed() < DEADLINE, "still shedding");
        }
    });
}

#[test]
fn switched_off_nobody_is_shed_however_long_it_waits() {
    each("Off", |server, admin| {
        let target = server.target();
        under_flood(target, || {
            let begun = Instant::now();
            while metric(admin, "aorta_reactor_waits_measured_total", "") < 20 {
                assert!(begun.elapsed() < DEADLINE, "nothing waits");
                std::thread::yield_now();
            }
        });
        assert_eq!(shed(admin, "newcomer"), 0);
    });
}
