//! Subscriptions to registrations that came by TCP, with the built server at one reactor and at
//! two: they hold their connection, though not against a kick, and go where it goes.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code, reason = "each test binary uses its own part of this module")]
#[path = "streams/client.rs"]
mod client;
mod common;
#[path = "reg_event_core/document.rs"]
mod document;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/watcher.rs"]
mod watcher;

use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use client::{Client, options};
use common::Phone;
use document::Notification;
use serve::Server;
use watcher::Watcher;

/// Accounts of both shards: some connections are not on the shard of the account.
const ACCOUNTS: u32 = 8;

fn servers() -> impl Iterator<Item = Server> {
    [1, 2].into_iter().map_while(|reactors| {
        let reactors = reactors.to_string();
        Server::start(&["--reactors", &reactors, "--listen", "tcp:127.0.0.1:0"])
    })
}

fn connected(to: SocketAddr, number: u32, device: &str) -> (Client, Phone) {
    (Client::tcp(to), Phone::new(number, device, &format!("{device}.test;transport=tcp")))
}

fn registered(to: SocketAddr, number: u32, device: &str) -> (Client, Phone) {
    let (mut client, mut phone) = connected(to, number, device);
    assert_eq!(client.register(&mut phone, 600).status, 200);
    (client, phone)
}

/// Subscribes a phone to its own registrations, and takes the first NOTIFY.
fn subscribed(client: &mut Client, phone: &Phone) -> (Watcher, Notification) {
    let mut watcher = Watcher::new(phone);
    for status in [401, 200] {
        let response = client.ask(&watcher.subscribe(600));
        assert_eq!(response.status, status);
        watcher.take(&response);
    }
    let first = heard(client);
    (watcher, first)
}

/// The next NOTIFY, which is answered.
fn heard(client: &mut Client) -> Notification {
    let notification = Notification::parse(&client.message().expect("a NOTIFY"));
    client.send(notification.answer(200, "").as_bytes());
    notification
}

/// Waits until a subscription is gone. It is asked for by a new connection with an old CSeq, which
/// changes nothing where it is still there.
fn await_gone(to: SocketAddr, watcher: &mut Watcher) {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        watcher.cseq = 0;
        match Client::tcp(to).ask(&watcher.subscribe(600)).status {
            481 => return,
            status => assert_eq!(status, 500),
        }
        assert!(Instant::now() < give_up, "the subscription stays");
    }
}

#[test]
fn a_kicked_phone_hears_of_it_before_its_connection_is_closed() {
    for server in servers() {
        let to = server.target();
        for number in 1..=ACCOUNTS {
            let (mut old, desk) = registered(to, number, "desk");
            let (mut watcher, first) = subscribed(&mut old, &desk);
            assert_eq!(first.document.gists(), [format!("active registered {}", desk.contact)]);
            let (mut new, mut mobile) = registered(to, number, "mobile");
            let kicked = Notification::parse(&old.message().expect("a NOTIFY"));
            let gone = format!("terminated rejected {}", desk.contact);
            assert!(kicked.document.gists().contains(&gone), "{:?}", kicked.document.gists());
            assert_eq!(old.closed(), b"", "nothing follows");
            // The connection has taken its subscription with it, and nothing of the newcomer's.
            await_gone(to, &mut watcher);
            assert_eq!(new.register(&mut mobile, 600).status, 200);
        }
        assert_eq!(server.stop().of("closed_kicked"), u64::from(ACCOUNTS));
    }
}

#[test]
fn a_connection_that_only_watches_stays_while_others_are_kicked() {
    for server in servers() {
        let to = server.target();
        for number in 1..=ACCOUNTS {
            let (mut watching, phone) = connected(to, number, "watching");
            let (_, first) = subscribed(&mut watching, &phone);
            assert_eq!(&*first.document.state, "init");
            let (mut old, _) = registered(to, number, "old");
            let (_new, _) = registered(to, number, "new");
            old.closed();
            assert_eq!(watching.ask(&options(1)).status, 200);
        }
        assert_eq!(server.stop().of("closed_kicked"), u64::from(ACCOUNTS));
    }
}

#[test]
fn a_subscription_goes_with_its_connection() {
    for server in servers() {
        let to = server.target();
        for number in 1..=ACCOUNTS {
            let (mut client, mut phone) = registered(to, number, "desk");
            let (mut watcher, _) = subscribed(&mut client, &phone);
            // From now on the subscription alone holds the connection.
            assert_eq!(client.register(&mut phone, 0).status, 200);
            client.socket.shutdown(Shutdown::Write).expect("it is open");
            client.closed();
            await_gone(to, &mut watcher);
        }
        assert_eq!(server.stop().of("closed_kicked"), 0);
    }
}
