//! SS_REPLY_UNAUTHORIZED Off over connections of every kind: the handshakes of TLS and WebSocket
//! are answered, since nobody can have said yet who he is; after that a stranger's connection is
//! closed without a byte, and known accounts are served as ever.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code, reason = "each test binary uses its own part of this module")]
#[path = "streams/authority.rs"]
mod authority;
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
#[path = "streams/client.rs"]
mod client;
mod common;
#[path = "common/serve.rs"]
mod serve;

use authority::Authority;
use client::{Client, options};
use common::Phone;
use serve::Server;

const TRANSPORTS: [&str; 4] = ["tcp", "tls", "ws", "wss"];

#[test]
fn strangers_are_left_without_a_byte_over_every_transport_and_known_accounts_are_served() {
    for reactors in ["1", "2"] {
        let authority = Authority::new(&format!("silent-{reactors}"));
        let settings = authority.settings("off");
        let mut arguments = vec!["--reactors", reactors, "--set", "SS_REPLY_UNAUTHORIZED=Off"];
        let listeners = ["udp"].into_iter().chain(TRANSPORTS);
        let listeners: Vec<String> = listeners.map(|one| format!("{one}:127.0.0.1:0")).collect();
        arguments.extend(listeners.iter().flat_map(|one| ["--listen", one]));
        arguments.extend(settings.iter().map(String::as_str));
        let Some(server) = Server::start(&arguments) else { return };
        let trust = authority.client(None);
        let mut unheard = 0;
        for (transport, &to) in TRANSPORTS.iter().zip(&server.targets[1..]) {
            let connect = || Client::connect(transport, to, Some(&trust)).expect("a connection");
            let nobody = Phone::new(9999, "a", "a.test:5070").register(60);
            for request in [nobody, options(1), options(1).replace("OPTIONS", "INVITE")] {
                let mut stranger = connect();
                stranger.request(&request);
                assert_eq!(stranger.closed(), b"", "{transport}: {request}");
                unheard += 1;
            }
            // Enough accounts for each reactor to own some.
            for number in 1..=4 {
                let mut phone = Phone::new(number, transport, "phone.test");
                let mut known = connect();
                assert_eq!(known.register(&mut phone, 600).status, 200, "{transport}");
            }
        }
        assert_eq!(server.stop().of("closed_unauthorized"), unheard);
    }
}

#[test]
fn where_strangers_are_answered_they_hear_why_not() {
    let authority = Authority::new("heard");
    let settings = authority.settings("off");
    let mut arguments = vec!["--listen", "udp:127.0.0.1:0", "--listen", "wss:127.0.0.1:0"];
    arguments.extend(settings.iter().map(String::as_str));
    let Some(server) = Server::start(&arguments) else { return };
    let trust = authority.client(None);
    let mut stranger = Client::connect("wss", server.targets[1], Some(&trust)).expect("a client");
    let asked = stranger.ask(&Phone::new(9999, "a", "a.test:5070").register(60));
    assert_eq!(asked.status, 401, "as if the account were there");
    drop(stranger);
    server.stop();
}
