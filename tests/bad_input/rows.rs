//! The table: what a phone may send that is refused, and how.

use aorta::limits::{COPIED_BYTES_MAX, HEADERS_MAX};
use aorta::shard::refused::RefuseReason;

use crate::common::Phone;

/// How a bad request is made from a phone that is registered and holds a good challenge.
pub type Make = fn(&mut Phone) -> Vec<u8>;

pub struct Row {
    pub what: &'static str,
    pub make: Make,
    pub status: u16,
    pub phrase: &'static str,
    pub reason: RefuseReason,
    /// A header that the answer must have.
    pub header: Option<(&'static str, &'static str)>,
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
pub fn changed(phone: &mut Phone, from: &str, to: &str) -> Vec<u8> {
    let text = phone.register(600);
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// A good REGISTER with one piece of it changed into bytes that are no text.
pub fn spoilt(phone: &mut Phone, from: &str, to: &[u8]) -> Vec<u8> {
    let text = phone.register(600).into_bytes();
    let at = text.windows(from.len()).position(|w| w == from.as_bytes()).expect(from);
    [&text[..at], to, &text[at + from.len()..]].concat()
}

pub const ROWS: &[Row] = &[
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
