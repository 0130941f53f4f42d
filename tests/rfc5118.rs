//! The messages of RFC 5118 section 4, IPv6 in every place, each with the RFC's verdict: whether
//! it is read, where the parts are found, and what a shard answers to it.

mod common;

use std::net::{IpAddr, SocketAddr};

use aorta::sip::header::via::{self, Transport};
use aorta::sip::{
    Fault, Framing, HeaderName, HeaderTable, Message, Parsed, Part, RequestHead, parse,
};
use common::cluster::{Cluster, Options};

macro_rules! messages {
    ($($name:literal),* $(,)?) => {
        /// Every file, by its name.
        const FILES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("rfc5118/", $name, ".dat")))),*];
    };
}

messages!(
    "ipv6-good",
    "ipv6-bad",
    "port-ambiguous",
    "port-unambiguous",
    "via-received-param-with-delim",
    "via-received-param-no-delim",
    "ipv6-in-sdp",
    "mult-ip-in-header",
    "mult-ip-in-sdp",
    "ipv4-mapped-ipv6",
    "ipv6-bug-abnf-3-colons",
    "ipv6-correct-abnf-2-colons",
);

fn bytes(name: &str) -> &'static [u8] {
    FILES.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name}")).1
}

fn read<T>(name: &str, look: impl FnOnce(Message<'_>) -> T) -> T {
    let mut table = HeaderTable::new();
    match parse(bytes(name), Framing::Datagram, &mut table) {
        Parsed::Complete { message, consumed } => {
            assert_eq!(consumed, bytes(name).len(), "{name}: nothing is left over");
            look(message)
        }
        other => panic!("{name}: {other:?}"),
    }
}

fn request<T>(name: &str, look: impl FnOnce(Message<'_>, RequestHead<'_>) -> T) -> T {
    read(name, |m| look(m, m.check_request().unwrap_or_else(|e| panic!("{name}: {e:?}"))))
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn each_message_has_its_verdict() {
    let refused = [
        ("ipv6-bad", Part::RequestUri),
        // Its To has the colon too many as well, and is looked at first.
        ("ipv6-bug-abnf-3-colons", Part::Header(HeaderName::To)),
    ];
    for (name, _) in FILES {
        let verdict = read(name, |m| m.check_request().map(|_| ()));
        match refused.iter().find(|(bad, _)| bad == name) {
            None => assert_eq!(verdict, Ok(()), "{name}"),
            Some(&(_, part)) => {
                let error = verdict.unwrap_err();
                assert_eq!((error.part, error.fault), (part, Fault::Malformed), "{name}");
                assert_eq!(error.status(), 400, "{name}");
            }
        }
    }
}

#[test]
fn what_a_shard_answers_to_each() {
    let answers = [
        ("ipv6-good", 401),
        ("ipv6-bad", 400),
        ("port-ambiguous", 401),
        ("port-unambiguous", 401),
        ("via-received-param-with-delim", 481),
        ("via-received-param-no-delim", 200),
        ("ipv6-in-sdp", 405),
        ("mult-ip-in-header", 481),
        ("mult-ip-in-sdp", 405),
        ("ipv4-mapped-ipv6", 405),
        ("ipv6-bug-abnf-3-colons", 400),
        ("ipv6-correct-abnf-2-colons", 200),
    ];
    assert_eq!(answers.len(), FILES.len());
    let source: SocketAddr = "[2001:db8::9:1]:5060".parse().unwrap();
    for (name, status) in answers {
        let mut cluster = Cluster::new(&Options::default());
        let sent = cluster.give(0, source, bytes(name)).unwrap_or_else(|| panic!("{name}"));
        let text = String::from_utf8(sent.bytes).unwrap();
        assert!(text.starts_with(&format!("SIP/2.0 {status} ")), "{name}: {text}");
        assert_eq!(sent.to.ip(), source.ip(), "{name}");
    }
}

#[test]
fn section_4_1_ipv6_references_in_request_uri_via_and_contact() {
    request("ipv6-good", |m, head| {
        assert_eq!(head.uri.host_ip(), ip("2001:db8::10"));
        assert_eq!((head.via.host, head.via.port), (&b"[2001:db8::9:1]"[..], None));
        let contact = m.first(HeaderName::Contact).unwrap();
        assert_eq!(contact, b"\"Caller\" <sip:caller@[2001:db8::1]>");
    });
}

#[test]
fn sections_4_3_and_4_4_a_port_stands_outside_the_brackets_or_is_none() {
    request("port-ambiguous", |_, head| {
        assert_eq!((head.uri.host_ip(), head.uri.port), (ip("2001:db8::10:5070"), None));
    });
    request("port-unambiguous", |_, head| {
        assert_eq!((head.uri.host_ip(), head.uri.port), (ip("2001:db8::10"), Some(5070)));
    });
}

#[test]
fn section_4_5_received_is_read_with_brackets_and_without() {
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        request(name, |_, head| {
            assert_eq!(head.via.received, ip("2001:db8::9:255"), "{name}");
            assert!(head.via.has_rfc3261_branch(), "{name}");
        });
    }
}

#[test]
fn section_4_5_received_is_written_without_brackets() {
    let mut cluster = Cluster::new(&Options::default());
    let source = "[2001:db8::9:7]:5060".parse().unwrap();
    let sent = cluster.give(0, source, bytes("ipv6-good")).unwrap();
    let text = String::from_utf8(sent.bytes).unwrap();
    assert_eq!(
        text.lines().nth(1),
        Some("Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111;received=2001:db8::9:7")
    );
}

#[test]
fn sections_4_6_and_4_8_bodies_are_as_long_as_they_say() {
    for name in ["ipv6-in-sdp", "mult-ip-in-sdp", "ipv4-mapped-ipv6"] {
        request(name, |m, _| {
            assert!(
                m.body().starts_with(b"v=0\r\n") && m.body().ends_with(b"/90000\r\n"),
                "{name}"
            );
            assert_eq!(m.content_type(), Some(&b"application/sdp"[..]), "{name}");
        });
    }
}

#[test]
fn section_4_7_addresses_of_both_families_in_one_via_list() {
    request("mult-ip-in-header", |m, head| {
        assert_eq!((head.via.host, head.via.port), (&b"[2001:db8::9:1]"[..], Some(6050)));
        let vias: Vec<_> = via::all(m.all(HeaderName::Via)).map(Option::unwrap).collect();
        assert_eq!(vias[1].host, b"192.0.2.1");
        assert_eq!((vias[2].transport, vias[2].host), (Transport::Tcp, &b"[2001:db8::9:255]"[..]));
        assert_eq!(vias[2].received, ip("192.0.2.200"));
    });
}

#[test]
fn section_4_9_a_mapped_address_is_read_with_its_port() {
    request("ipv4-mapped-ipv6", |m, head| {
        assert_eq!((head.via.host, head.via.port), (&b"[::ffff:192.0.2.10]"[..], Some(19823)));
        let contact =
            aorta::sip::header::contact::Contact::parse(m.first(HeaderName::Contact).unwrap());
        assert_eq!(contact.unwrap().uri.host_ip(), ip("::ffff:192.0.2.2"));
    });
}

#[test]
fn section_4_10_two_colons_are_an_address_and_three_are_none() {
    request("ipv6-correct-abnf-2-colons", |_, head| {
        assert_eq!(head.uri.host_ip(), ip("2001:db8::192.0.2.1"));
    });
    read("ipv6-bug-abnf-3-colons", |m| assert!(m.to().is_err()));
}
