//! What is refused has its status, its reason and its counter, and changes nothing: one table, run
//! at one shard and at three, whichever of them the message arrives at.

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::flow::Transport;
use aorta::limits::{COPIED_BYTES_MAX, HEADERS_MAX, MESSAGE_BYTES_MAX};
use aorta::nat::OwnAddresses;
use aorta::shard::counters::{Counters, DropReason};
use aorta::shard::refused::RefuseReason;
use aorta::sip::frame::{Broken, Frame, Scanner};
use aorta::sip::{Framing, HeaderTable, Parsed, parse};
use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way, source};

/// How a bad request is made from a phone that is registered and holds a good challenge.
type Make = fn(&mut Phone) -> Vec<u8>;

struct Row {
    what: &'static str,
    make: Make,
    status: u16,
    phrase: &'static str,
    reason: RefuseReason,
    /// A header that the answer must have.
    header: Option<(&'static str, &'static str)>,
}

const fn row(
    what: &'static str,
    make: Make,
    status: u16,
    phrase: &'static str,
    reason: RefuseReason,
) -> Row {
    Row { what, make, status, phrase, reason, header: None }
}

const fn with(row: Row, name: &'static str, value: &'static str) -> Row {
    Row { header: Some((name, value)), ..row }
}

/// A REGISTER with this Contact.
fn contact(phone: &mut Phone, value: &str) -> Vec<u8> {
    phone.request(&[("Contact", value), ("Expires", "600")]).into_bytes()
}

/// A good REGISTER with one piece of it changed.
fn changed(phone: &mut Phone, from: &str, to: &str) -> Vec<u8> {
    let text = phone.register(600);
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// A good REGISTER with one piece of it changed into bytes that are no text.
fn spoilt(phone: &mut Phone, from: &str, to: &[u8]) -> Vec<u8> {
    let text = phone.register(600).into_bytes();
    let at = text.windows(from.len()).position(|w| w == from.as_bytes()).expect(from);
    [&text[..at], to, &text[at + from.len()..]].concat()
}

const ROWS: &[Row] = &[
    row(
        "two *",
        |p| p.request(&[("Contact", "*"), ("Contact", "*"), ("Expires", "0")]).into_bytes(),
        400,
        "Contact * Not Alone",
        RefuseReason::Wildcard,
    ),
    row(
        "two * in one header",
        |p| p.request(&[("Contact", "*, *"), ("Expires", "0")]).into_bytes(),
        400,
        "Contact * Not Alone",
        RefuseReason::Wildcard,
    ),
    row(
        "* beside an address",
        |p| p.request(&[("Contact", "*, <sip:u3@h>"), ("Expires", "0")]).into_bytes(),
        400,
        "Contact * Not Alone",
        RefuseReason::Wildcard,
    ),
    row(
        "* with Expires other than 0",
        |p| contact(p, "*"),
        400,
        "Contact * Needs Expires 0",
        RefuseReason::Wildcard,
    ),
    row(
        "* without Expires",
        |p| p.request(&[("Contact", "*")]).into_bytes(),
        400,
        "Contact * Needs Expires 0",
        RefuseReason::Wildcard,
    ),
    row(
        "* with Expires that is no number",
        |p| p.request(&[("Contact", "*"), ("Expires", "0x")]).into_bytes(),
        400,
        "Contact * Needs Expires 0",
        RefuseReason::Wildcard,
    ),
    row(
        "Contact not SIP",
        |p| contact(p, "<tel:+15551234>"),
        400,
        "Contact Not SIP",
        RefuseReason::ContactScheme,
    ),
    row(
        "Contact mailto",
        |p| contact(p, "<sip:u3@h>, <mailto:u3@h>"),
        400,
        "Contact Not SIP",
        RefuseReason::ContactScheme,
    ),
    row(
        "no Contact URI host",
        |p| contact(p, "<sip:u3@>"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "no Contact URI at all",
        |p| contact(p, "<sip:>"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "Contact host with a port that is none",
        |p| contact(p, "<sip:u3@h:70000>"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "q over 1",
        |p| contact(p, "<sip:u3@h>;q=1.1"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "q below 0",
        |p| contact(p, "<sip:u3@h>;q=-0.1"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "q of four digits",
        |p| contact(p, "<sip:u3@h>;q=0.1234"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "too many Contacts",
        |p| contact(p, &vec!["<sip:u3@h>"; 17].join(", ")),
        400,
        "Too Many Values In Contact",
        RefuseReason::TooManyContacts,
    ),
    row(
        "instance that is no text",
        |p| contact(p, "<sip:u3@h>;+sip.instance=\"<urn:\u{e9}>\""),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "tel: AOR",
        |p| changed(p, "To: <sip:u3@example.com>", "To: <tel:+15551234>"),
        404,
        "To Not SIP",
        RefuseReason::AorScheme,
    ),
    row(
        "AOR without a user",
        |p| changed(p, "To: <sip:u3@example.com>", "To: <sip:example.com>"),
        404,
        "To Without User",
        RefuseReason::AorWithoutUser,
    ),
    row(
        "tel: Request-URI",
        |p| changed(p, "REGISTER sip:example.com", "REGISTER tel:+15551234"),
        416,
        "Unsupported URI Scheme",
        RefuseReason::UriScheme,
    ),
    row(
        "foreign domain in To",
        |p| changed(p, "To: <sip:u3@example.com>", "To: <sip:u3@example.net>"),
        404,
        "Not Found",
        RefuseReason::ForeignDomain,
    ),
    row(
        "foreign domain in the Request-URI",
        |p| changed(p, "REGISTER sip:example.com", "REGISTER sip:example.net"),
        404,
        "Not Found",
        RefuseReason::ForeignDomain,
    ),
    row(
        "To at odds with the credentials",
        |p| changed(p, "To: <sip:u3@example.com>", "To: <sip:u4@example.com>"),
        403,
        "Forbidden",
        RefuseReason::AccountMismatch,
    ),
    row(
        "From at odds with the credentials",
        |p| changed(p, "From: <sip:u3@example.com>", "From: <sip:u4@EXAMPLE.com.>"),
        403,
        "Forbidden",
        RefuseReason::AccountMismatch,
    ),
    row(
        "credentials that cannot be read",
        |p| changed(p, "Digest username=\"u3\"", "Digest username=\"u3\", username=\"u3\""),
        400,
        "Malformed Authorization",
        RefuseReason::Credentials,
    ),
    row(
        "credentials that cannot be checked",
        |p| changed(p, "qop=auth,", "qop=auth-int,"),
        400,
        "Malformed Authorization qop",
        RefuseReason::Credentials,
    ),
    row(
        "header bomb: too many",
        |p| changed(p, "User-Agent: ", &format!("{}User-Agent: ", "X: y\r\n".repeat(HEADERS_MAX))),
        513,
        "Too Many Values In Message",
        RefuseReason::TooLarge,
    ),
    row(
        "header bomb: what would be copied is too long",
        |p| changed(p, "From: ", &format!("From: \"{}\" ", "x".repeat(COPIED_BYTES_MAX))),
        513,
        "Message Too Large",
        RefuseReason::TooLarge,
    ),
    row(
        "header bomb: a name that is too long",
        |p| changed(p, "User-Agent: ", &format!("{}: y\r\nUser-Agent: ", "X".repeat(300))),
        400,
        "Too Long Header Line",
        RefuseReason::Malformed,
    ),
    with(
        row(
            "compressed body",
            |p| {
                let body = "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{b}..";
                changed(p, "Content-Length: 0\r\n\r\n", body)
            },
            415,
            "Unsupported Media Type",
            RefuseReason::EncodedBody,
        ),
        "accept-encoding",
        "identity",
    ),
    with(
        row(
            "unknown Require",
            |p| changed(p, "User-Agent: ", "Require: sec-agree, x\r\nUser-Agent: "),
            420,
            "Bad Extension",
            RefuseReason::Extension,
        ),
        "unsupported",
        "sec-agree, x",
    ),
    row(
        "Require that is no list of tags",
        |p| changed(p, "User-Agent: ", "Require: a b\r\nUser-Agent: "),
        400,
        "Malformed Require",
        RefuseReason::Malformed,
    ),
    row(
        "Max-Forwards 0 towards a domain that is not ours",
        |p| {
            let text = String::from_utf8(changed(p, "Forwards: 70", "Forwards: 0")).unwrap();
            text.replacen("REGISTER sip:example.com", "REGISTER sip:example.net", 1).into_bytes()
        },
        483,
        "Too Many Hops",
        RefuseReason::Hops,
    ),
    row(
        "Max-Forwards that is no number of hops",
        |p| changed(p, "Forwards: 70", "Forwards: 256"),
        400,
        "Malformed Max-Forwards",
        RefuseReason::Malformed,
    ),
    row(
        "Via of another transport",
        |p| changed(p, "SIP/2.0/UDP", "SIP/2.0/TCP"),
        400,
        "Transport Does Not Match Via",
        RefuseReason::ViaTransport,
    ),
    row(
        "Via of a transport nobody has",
        |p| changed(p, "SIP/2.0/UDP", "SIP/2.0/PIGEON"),
        400,
        "Transport Does Not Match Via",
        RefuseReason::ViaTransport,
    ),
    row(
        "another version",
        |p| changed(p, " SIP/2.0\r\n", " SIP/3.0\r\n"),
        505,
        "Version Not Supported In Start Line",
        RefuseReason::Version,
    ),
    row(
        "NUL in To",
        |p| changed(p, "To: <sip:u3@", "To: <sip:u\x003@"),
        400,
        "Malformed To",
        RefuseReason::Malformed,
    ),
    row(
        "NUL in the Request-URI",
        |p| changed(p, "REGISTER sip:example.com", "REGISTER sip:example\0.com"),
        400,
        "Malformed Request-URI",
        RefuseReason::Malformed,
    ),
    row(
        "NUL in Call-ID",
        |p| changed(p, "call-id\r\n", "call\0id\r\n"),
        400,
        "Malformed Call-ID",
        RefuseReason::Malformed,
    ),
    row(
        "NUL in Contact",
        |p| contact(p, "<sip:u3@h\0>"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "NUL in the name of a header",
        |p| changed(p, "User-Agent: ", "User\0Agent: "),
        400,
        "Malformed Header Line",
        RefuseReason::Malformed,
    ),
    row(
        "NUL in the credentials",
        |p| changed(p, "Digest username=\"u3", "Digest username=\"u3\0"),
        400,
        "Malformed Authorization",
        RefuseReason::Credentials,
    ),
    row(
        "invalid UTF-8 in To",
        |p| spoilt(p, "To: <sip:u3@", b"To: <sip:u\xff3@"),
        400,
        "Malformed To",
        RefuseReason::Malformed,
    ),
    row(
        "invalid UTF-8 in Call-ID",
        |p| spoilt(p, "call-id\r\n", b"call\xc3id\r\n"),
        400,
        "Malformed Call-ID",
        RefuseReason::Malformed,
    ),
    row(
        "invalid UTF-8 in Contact",
        |p| spoilt(p, "Contact: <sip:u3@", b"Contact: <sip:u\xf83@"),
        400,
        "Malformed Contact",
        RefuseReason::Contact,
    ),
    row(
        "Contact at a multicast address",
        |p| contact(p, "<sip:u3@224.0.1.75:5060>"),
        403,
        "Contact Is Multicast",
        RefuseReason::ContactMulticast,
    ),
    row(
        "Contact at a multicast address of IPv6",
        |p| contact(p, "<sip:u3@[ff0e::1]>"),
        403,
        "Contact Is Multicast",
        RefuseReason::ContactMulticast,
    ),
    row(
        "a second Contact whose maddr is a multicast address",
        |p| contact(p, "<sip:u3@h>, <sip:u3@192.0.2.7;maddr=239.255.255.250>"),
        403,
        "Contact Is Multicast",
        RefuseReason::ContactMulticast,
    ),
    row(
        "Contact at the broadcast address",
        |p| contact(p, "<sip:u3@255.255.255.255>"),
        403,
        "Contact Is Broadcast",
        RefuseReason::ContactBroadcast,
    ),
    row(
        "Contact at the broadcast address of a network",
        |p| contact(p, "<sip:u3@203.0.113.255:40000>"),
        403,
        "Contact Is Broadcast",
        RefuseReason::ContactBroadcast,
    ),
    row(
        "Contact where the server listens",
        |p| contact(p, "<sip:u3@203.0.113.1>"),
        403,
        "Contact Is This Server",
        RefuseReason::ContactOwn,
    ),
    row(
        "Contact where the server listens, on loopback",
        |p| contact(p, "<sip:u3@127.0.0.1:5060;transport=udp>"),
        403,
        "Contact Is This Server",
        RefuseReason::ContactOwn,
    ),
    row(
        "Contact where the server listens with TLS",
        |p| contact(p, "<sips:u3@203.0.113.1>"),
        403,
        "Contact Is This Server",
        RefuseReason::ContactOwn,
    ),
];

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
