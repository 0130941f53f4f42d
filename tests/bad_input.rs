//! What is refused has its status, its reason and its counter, and changes nothing: one table, run
//! at one shard and at three, whichever of them the message arrives at.

mod common;
#[path = "common/desk.rs"]
mod desk;
#[path = "bad_input/rows.rs"]
mod rows;

use aorta::flow::Transport;
use aorta::limits::MESSAGE_BYTES_MAX;
use aorta::nat::OwnAddresses;
use aorta::shard::counters::{Counters, DropReason};
use aorta::shard::refused::RefuseReason;
use aorta::sip::frame::{Broken, Frame, Scanner};
use aorta::sip::{Framing, HeaderTable, Parsed, parse};
use common::Response;
use common::cluster::Options;
use desk::{Desk, each_way, source};
use rows::{Make, ROWS, changed, spoilt};

/// A server at every address of its host.
fn options() -> Options {
    let listening = [
        (Transport::Udp, "0.0.0.0:5060".parse().unwrap()),
        (Transport::Tls, "0.0.0.0:5061".parse().unwrap()),
    ];
    let own = OwnAddresses::new(
        listening,
        vec!["203.0.113.1".parse().unwrap()],
        vec!["203.0.113.255".parse().unwrap()],
    );
    Options { own, ..Options::default() }
}

/// The counters that say something has changed.
fn changes(counters: &Counters) -> [u64; 7] {
    [
        counters.registered,
        counters.refreshed,
        counters.retargeted,
        counters.unregistered,
        counters.kicked,
        counters.expired,
        counters.removed,
    ]
}

fn refusals(counters: &Counters) -> Vec<(&'static str, u64)> {
    let counts = RefuseReason::ALL.map(|reason| (reason.name(), counters.refused(reason)));
    counts.into_iter().filter(|&(_, count)| count > 0).collect()
}

#[test]
fn each_has_its_status_its_reason_and_its_counter_and_changes_nothing() {
    for row in ROWS {
        eprintln!("{}", row.what);
        each_way(&options(), |desk| {
            let mut phone = desk.registered(3, "a", 600);
            let (bound, before) = (desk.bound(3), desk.counters());
            let bytes = (row.make)(&mut phone);
            let response = give(desk, &bytes).expect("an answer");
            let found = (response.status, response.reason.as_str());
            assert_eq!(found, (row.status, row.phrase), "{}", row.what);
            if let Some((name, value)) = row.header {
                assert_eq!(response.header(name), Some(value), "{}", row.what);
            }
            let after = desk.counters();
            assert_eq!(refusals(&after), [(row.reason.name(), 1)], "{}", row.what);
            assert_eq!(after.answered.of(row.status), before.answered.of(row.status) + 1);
            assert_eq!(changes(&after), changes(&before), "{}", row.what);
            assert_eq!(desk.bound(3), bound, "{}", row.what);
            // The phone goes on as if nothing had been: its next request is a refresh.
            let next = desk.ask(&phone.register(600));
            assert_eq!(next.status, 200, "{}", row.what);
            assert_eq!(desk.counters().refreshed, before.refreshed + 1, "{}", row.what);
        });
    }
}

/// Gives bytes that need be no text, and reads the answer, which may repeat them.
fn give(desk: &mut Desk, bytes: &[u8]) -> Option<Response> {
    desk.cluster.now.wall_us += 1;
    let sent = desk.cluster.give(0, source(), bytes)?;
    Some(Response::parse(String::from_utf8_lossy(&sent.bytes).as_bytes()))
}

#[test]
fn what_is_no_fault_of_the_request_is_let_pass() {
    let harmless: &[(&str, Make)] = &[
        ("From of elsewhere", |p| {
            changed(p, "From: <sip:u3@example.com>", "From: <sip:x@192.0.2.7>")
        }),
        ("From in another spelling", |p| {
            changed(p, "From: <sip:u3@example.com>", "From: <sips:%753@Example.Com.:5061>")
        }),
        ("Max-Forwards 0 at its destination", |p| changed(p, "Forwards: 70", "Forwards: 0")),
        ("NUL in a header nobody reads", |p| changed(p, "User-Agent: ", "X: a\0b\r\nUser-Agent: ")),
        ("invalid UTF-8 in User-Agent", |p| spoilt(p, "Phone/a", b"Phone/\xff\xfe")),
        ("Content-Encoding without a body", |p| {
            changed(p, "User-Agent: ", "Content-Encoding: gzip\r\nUser-Agent: ")
        }),
        ("a body nobody reads", |p| {
            let body = "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nab";
            changed(p, "Content-Length: 0\r\n\r\n", body)
        }),
        ("Supported of what nobody knows", |p| {
            changed(p, "User-Agent: ", "Supported: x, y\r\nUser-Agent: ")
        }),
        ("the dot of the root", |p| {
            changed(p, "To: <sip:u3@example.com>", "To: <sip:u3@example.com.>")
        }),
    ];
    for (what, make) in harmless {
        eprintln!("{what}");
        each_way(&Options::default(), |desk| {
            let mut phone = desk.registered(3, "a", 600);
            let bytes = make(&mut phone);
            assert_eq!(give(desk, &bytes).expect("an answer").status, 200, "{what}");
            assert_eq!(refusals(&desk.counters()), [], "{what}");
            assert_eq!(desk.counters().refreshed, 1, "{what}");
        });
    }
}

#[test]
fn a_response_where_a_request_belongs_is_dropped_and_counted() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let bound = desk.bound(3);
        let request = phone.register(0);
        let (_, headers) = request.split_once("\r\n").unwrap();
        for line in
            ["SIP/2.0 200 OK", "SIP/2.0 401 Unauthorized", "SIP/2.0 999 x", "SIP/3.0 200 OK"]
        {
            let before = desk.counters();
            assert!(give(desk, format!("{line}\r\n{headers}").as_bytes()).is_none(), "{line}");
            let after = desk.counters();
            let dropped = |c: &Counters| c.dropped(DropReason::StrayResponse);
            assert_eq!(dropped(&after), dropped(&before) + 1, "{line}");
            assert_eq!(after.answered, before.answered);
        }
        assert_eq!(desk.bound(3), bound);
    });
}

/// Over UDP whoever sends says where from, and an answer to one of these would go nowhere, or in
/// circles.
#[test]
fn a_datagram_from_no_port_or_from_our_own_is_dropped_and_counted() {
    each_way(&options(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let bound = desk.bound(3);
        for (from, reason) in [
            ("192.0.2.7:0", DropReason::SourcePortZero),
            ("203.0.113.1:5060", DropReason::OwnSource),
            ("127.0.0.1:5060", DropReason::OwnSource),
            ("[::ffff:203.0.113.1]:5060", DropReason::OwnSource),
        ] {
            let from = from.parse().unwrap();
            for bytes in [phone.register(0), "\r\n\r\n".into(), "no SIP at all".into()] {
                let before = desk.counters();
                assert_eq!(desk.send_from(from, &bytes), None, "{from} {bytes}");
                let after = desk.counters();
                assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{from} {bytes}");
                assert_eq!(after.answered, before.answered);
                assert_eq!(
                    after.dropped.iter().sum::<u64>(),
                    before.dropped.iter().sum::<u64>() + 1
                );
            }
        }
        assert_eq!(desk.bound(3), bound);
        // The same host from another port is somebody else.
        let from = "203.0.113.1:5070".parse().unwrap();
        assert_eq!(desk.ask_from(from, &phone.register(0)).status, 401);
    });
}

/// What comes back for a keepalive need be no SIP, and is never answered: two ends would talk for
/// ever.
#[test]
fn a_phone_that_answers_keepalives_with_garbage_is_not_answered() {
    each_way(&options(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let bound = desk.bound(3);
        let indication = b"\x00\x11\0\0\x21\x12\xa4\x42twelve bytes";
        let garbage: [(&[u8], DropReason); 8] = [
            (b"HELLO", DropReason::Unparseable),
            (b"HELLO HELLO HELLO\r\n\r\n", DropReason::NoReturnPath),
            (&[0xff; 1500], DropReason::Unparseable),
            (b"\r\n\r\n", DropReason::Keepalive),
            (b"\0", DropReason::Keepalive),
            (b"", DropReason::Keepalive),
            (indication, DropReason::Stun),
            (b"SIP/2.0 200 OK\r\nVia: garbage\r\n\r\n", DropReason::StrayResponse),
        ];
        for (bytes, reason) in garbage {
            let before = desk.counters();
            assert!(give(desk, bytes).is_none(), "{bytes:?}");
            let after = desk.counters();
            let dropped = |counters: &Counters| counters.dropped.iter().sum::<u64>();
            assert_eq!(dropped(&after), dropped(&before) + 1, "{bytes:?}");
            assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{bytes:?}");
            assert_eq!(after.answered, before.answered, "{bytes:?}");
        }
        assert_eq!(desk.bound(3), bound);
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
    });
}

/// On a stream: neither waits for the rest nor reads it, and what is there can be refused.
#[test]
fn two_megabytes_in_one_message_are_refused_before_they_are_read() {
    let head = "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\n";
    let mut table = HeaderTable::new();
    let long_body = format!("{head}Content-Length: 2097152\r\n\r\n");
    let frame = Scanner::new(MESSAGE_BYTES_MAX).look(long_body.as_bytes(), &mut table);
    assert_eq!(frame, Frame::Last { len: long_body.len(), reason: Broken::TooLong });
    let long_head = format!("{head}{}", "X: y\r\n".repeat(350_000));
    assert!(long_head.len() > 2 << 20);
    let frame = Scanner::new(MESSAGE_BYTES_MAX).look(long_head.as_bytes(), &mut table);
    assert_eq!(frame, Frame::Last { len: MESSAGE_BYTES_MAX, reason: Broken::TooLong });
    for text in [&long_body, &long_head] {
        match parse(text.as_bytes(), Framing::Stream, &mut table) {
            Parsed::Invalid { error, message: Some(message) } => {
                assert_eq!(error.status(), 513);
                assert!(message.is_answerable());
            }
            other => panic!("{other:?}"),
        }
    }
}
