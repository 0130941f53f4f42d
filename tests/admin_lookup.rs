//! Lookup for others through the built server: who is registered, by address-of-record, by contact,
//! by source address, all contacts in the order of their q; and what OPTIONS have shown of them.

// The shell's clock is allowed here: deadlines of sockets are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/serve.rs"]
mod serve;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::{Phone, Response};
use http::get;
use serde_json::Value;
use serve::{Server, Wire};

const LIST: &str = "/api/v1/registrations";
/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server with an admin interface, and where that listens; `None` where the host permits none.
fn start(reactors: &str, settings: &[&str]) -> Option<(Server, SocketAddr)> {
    let mut arguments = vec!["--listen", "udp:127.0.0.1:0", "--reactors", reactors];
    arguments.extend(["--admin", "127.0.0.1:0"]);
    arguments.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
    let server = Server::start(&arguments)?;
    let admin = *server.targets.last().expect("it listens");
    Some((server, admin))
}

/// Registers contacts, as a Contact header lists them, from a socket.
fn register(wire: &Wire, number: u32, contacts: &str) {
    let mut phone = Phone::new(number, "desk", &wire.local().to_string());
    let challenge = wire.ask(&phone.register(600));
    assert!(phone.take_challenge(&challenge));
    assert_eq!(wire.ask(&phone.request(&[("Contact", contacts)])).status, 200);
}

fn contacts(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item["contact"].as_str().expect("a contact").to_owned()).collect()
}

/// Where a user is, as a redirection lists it: URIs alone, in order.
fn redirected(wire: &Wire, number: u32) -> Vec<String> {
    let at = wire.local();
    let response = wire.ask(&format!(
        "INVITE sip:u{number}@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bKlookup{number};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:c@example.net>;tag=1\r\nTo: <sip:u{number}@example.com>\r\n\
         Call-ID: lookup\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    ));
    assert_eq!(response.status, 302);
    let uri = |contact: &str| contact.split(['<', '>']).nth(1).expect("a URI").to_owned();
    response.all("contact").map(uri).collect()
}

#[test]
fn whoever_asks_finds_contacts_by_account_by_contact_and_by_source_in_the_order_of_q() {
    for reactors in ["1", "2"] {
        let settings = ["registrar.redirect=on", "registrar.bindings_max=4"];
        let Some((server, admin)) = start(reactors, &settings) else { return };
        let here = Wire::to(server.target());
        let there = Wire::from("127.0.0.2:0", server.target());
        let list = "<sip:u1@192.0.2.1>;q=0.2, <sip:u1@192.0.2.2;transport=tcp>;q=0.9, \
                    <sip:u1@192.0.2.3>, <sip:u1@192.0.2.4>;q=0.5";
        register(&here, 1, list);
        register(&there, 2, "<sip:u2@192.0.2.2>");
        for number in 3..=10 {
            register(&here, number, &format!("<sip:u{number}@192.0.2.9>"));
        }

        // No q is 1.
        let in_order = [
            "sip:u1@192.0.2.3",
            "sip:u1@192.0.2.2;transport=tcp",
            "sip:u1@192.0.2.4",
            "sip:u1@192.0.2.1",
        ];
        assert_eq!(redirected(&here, 1), in_order);
        let found = |filter: &str| {
            let mut found = contacts(&get(admin, &format!("{LIST}?{filter}")).good());
            found.sort();
            found
        };
        let mut all = in_order;
        all.sort_unstable();
        assert_eq!(found("aor=sip:u1@example.com"), all);
        // Each with the q it came with.
        let page = get(admin, &format!("{LIST}/u1")).good();
        let q = |uri: &str| {
            let items = page["items"].as_array().expect("items");
            items.iter().find(|item| item["contact"] == uri).expect("it is there")["q"].as_f64()
        };
        let shown = in_order.map(|uri| q(uri).map_or(1000, |q| (q * 1000.0).round() as u32));
        assert_eq!(shown, [1000, 900, 500, 200]);

        // By RFC 3261 19.1.4: the host in whatever case, the transport told apart.
        assert_eq!(found("contact=sip:u1@192.0.2.1"), ["sip:u1@192.0.2.1"]);
        let tcp = "sip:u1@192.0.2.2;transport=tcp";
        assert_eq!(found("contact=sip:u1@192.0.2.2;transport=TCP"), [tcp]);
        assert_eq!(found("contact=sip:u1@192.0.2.2"), [] as [&str; 0]);
        assert_eq!(found("ip=127.0.0.2"), ["sip:u2@192.0.2.2"]);
        assert_eq!(found("ip=127.0.0.1").len(), 4 + 8);
        assert_eq!(found("ip=127.0.0.0/30").len(), 4 + 1 + 8);
        assert_eq!(found("ip=192.0.2.2"), [] as [&str; 0], "where it came from, not where it is");
        server.stop();
    }
}

/// What the registration of account u1 shows once `is_so` of it.
fn shown(admin: SocketAddr, mut meanwhile: impl FnMut(), is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        meanwhile();
        let item = get(admin, &format!("{LIST}/u1")).good()["items"][0].clone();
        if is_so(&item) {
            return item;
        }
        assert!(start.elapsed() < DEADLINE, "{item}");
        std::thread::yield_now();
    }
}

/// Answers an OPTIONS that has come, if one has.
fn answer_options(socket: &UdpSocket) {
    let mut buffer = [0; 4096];
    let Ok(len) = socket.recv(&mut buffer) else { return };
    let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
    if !text.starts_with("OPTIONS ") {
        return;
    }
    let copied = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "];
    let lines = text.split("\r\n").filter(|line| copied.iter().any(|name| line.starts_with(name)));
    let lines: Vec<&str> = lines.collect();
    let answer = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"));
    socket.send(answer.as_bytes()).unwrap();
}

#[test]
fn a_registration_shows_its_round_trip_and_then_that_it_no_longer_answers() {
    let settings = ["liveness.interval=10", "liveness.timeout=1", "liveness.misses=1"];
    let Some((server, admin)) = start("2", &settings) else { return };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.target()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let ask = |request: &str| {
        let mut buffer = [0; 4096];
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < DEADLINE, "no answer to {request}");
            socket.send(request.as_bytes()).unwrap();
            if let Ok(len) = socket.recv(&mut buffer)
                && buffer[..len].starts_with(b"SIP/2.0 ")
            {
                break Response::parse(&buffer[..len]);
            }
        }
    };
    let mut phone = Phone::new(1, "desk", &socket.local_addr().unwrap().to_string());
    let challenge = ask(&phone.register(3600));
    assert!(phone.take_challenge(&challenge));
    assert_eq!(ask(&phone.register(3600)).status, 200);

    let answering = || answer_options(&socket);
    let alive = shown(admin, answering, |item| !item["round_trip_ms"].is_null());
    assert_eq!((&alive["status"], &alive["probes_missed"]), (&"registered".into(), &0.into()));
    for name in ["round_trip_ms", "round_trip_last_ms"] {
        let within = alive[name].as_f64().is_some_and(|ms| ms > 0.0 && ms < 1000.0);
        assert!(within, "{name} {alive}");
    }
    let metrics = get(admin, "/metrics").body;
    let counts = metrics.lines().filter_map(|line| {
        let count = line.strip_prefix("aorta_probe_round_trip_seconds_count{")?;
        count.rsplit(' ').next()?.parse::<u64>().ok()
    });
    assert!(counts.sum::<u64>() >= 1);

    // Nobody answers any more.
    let dead = shown(admin, || (), |item| item["status"] == "unreachable");
    assert_eq!((&dead["reachable"], &dead["probes_missed"]), (&false.into(), &1.into()));
    assert!(dead["round_trip_ms"].is_f64(), "what was measured stays");
    server.stop();
}
