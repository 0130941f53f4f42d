//! Liveness over real sockets: a phone that goes dead is found out and makes room, one that answers
//! stays, though it is older.
#![allow(clippy::disallowed_methods, reason = "real sockets are waited for in real time")]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Phone, Response};
use serve::Server;

/// OPTIONS that were answered.
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

fn socket(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.target()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// What comes next that is a response of the server, requests of its own answered as `answers` say.
fn response(socket: &UdpSocket, answers: bool) -> Option<Response> {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).ok()?;
    let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
    if text.starts_with("SIP/2.0 ") {
        return Some(Response::parse(text.as_bytes()));
    }
    if answers && text.starts_with("OPTIONS ") {
        let copied = text.split("\r\n").filter(|line| {
            ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "]
                .iter()
                .any(|name| line.starts_with(name))
        });
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for line in copied {
            answer += line;
            answer += "\r\n";
        }
        socket.send((answer + "Content-Length: 0\r\n\r\n").as_bytes()).unwrap();
        ANSWERED.fetch_add(1, Ordering::Relaxed);
    }
    None
}

/// Sends a request until it is answered.
fn ask(socket: &UdpSocket, request: &str) -> Response {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        socket.send(request.as_bytes()).unwrap();
        if let Some(response) = response(socket, true) {
            return response;
        }
    }
    panic!("no answer to {request}")
}

fn register(socket: &UdpSocket, device: &str) {
    let mut phone = Phone::new(1, device, &socket.local_addr().unwrap().to_string());
    let challenged = ask(socket, &phone.register(3600));
    assert!(phone.take_challenge(&challenged));
    assert_eq!(ask(socket, &phone.register(3600)).status, 200);
}

/// Where account u1 is, as a redirection lists it.
fn listed(socket: &UdpSocket, number: u32) -> Vec<String> {
    let at = socket.local_addr().unwrap();
    let request = format!(
        "MESSAGE sip:u1@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bKm{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:c@example.net>;tag=1\r\nTo: <sip:u1@example.com>\r\n\
         Call-ID: m{number}\r\nCSeq: {number} MESSAGE\r\nContent-Length: 0\r\n\r\n"
    );
    let response = ask(socket, &request);
    assert_eq!(response.status, 302, "{}", response.reason);
    response.all("contact").map(str::to_owned).collect()
}

#[test]
fn a_dead_phone_makes_room_before_an_older_one_that_answers() {
    let settings = [
        "liveness.interval=10",
        "liveness.timeout=1",
        "liveness.misses=1",
        "liveness.unreachable=deprioritise",
        "registrar.bindings_max=2",
        "registrar.evict=unreachable_first",
        "registrar.redirect=on",
    ];
    let mut arguments = vec!["--reactors", "2", "--listen", "udp:127.0.0.1:0"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
    let Some(server) = Server::start(&arguments) else { return };
    let (alive, dead, asks) = (socket(&server), socket(&server), socket(&server));
    register(&alive, "alive");
    register(&dead, "dead");
    let (is_alive, is_dead) = (alive.local_addr().unwrap(), dead.local_addr().unwrap());

    // From here on one of them answers, and nobody reads what the other is sent.
    let stop = Arc::new(AtomicBool::new(false));
    let answering = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                response(&alive, true);
            }
        }
    });
    let start = Instant::now();
    let mut number = 0;
    loop {
        number += 1;
        let contacts = listed(&asks, number);
        let last = contacts.last().unwrap();
        if last.contains(&is_dead.to_string()) && last.contains("q=0.000") {
            assert!(contacts[0].contains(&is_alive.to_string()), "{contacts:?}");
            break;
        }
        assert!(start.elapsed() < DEADLINE, "{contacts:?}");
        // Paces the questions: nothing answers this one.
        let _ = asks.recv(&mut [0; 64]);
    }
    let newcomer = socket(&server);
    register(&newcomer, "new");
    let contacts = listed(&asks, number + 1).concat();
    assert!(contacts.contains(&is_alive.to_string()), "{contacts}");
    assert!(contacts.contains(&newcomer.local_addr().unwrap().to_string()), "{contacts}");
    assert!(!contacts.contains(&is_dead.to_string()), "{contacts}");
    // The turn of the one that answers may come after that of the other.
    while ANSWERED.load(Ordering::Relaxed) == 0 {
        assert!(start.elapsed() < DEADLINE, "nobody asks the phone that answers");
        let _ = asks.recv(&mut [0; 64]);
    }
    stop.store(true, Ordering::Relaxed);
    answering.join().unwrap();
    let counters = server.stop();
    assert!(counters.of("unreachable") >= 1 && counters.of("probes_answered") >= 1);
    assert_eq!(counters.of("kicked"), 1);
}
