//! RFC 3261 8.2 and the sections it points to: what every request meets before REGISTER is looked
//! into, and what is never answered. One rule a test.

mod common;

use common::cluster::{Cluster, Options, Sent};
use common::{Challenge, Phone, Response};
use std::net::SocketAddr;

const SOURCE: &str = "192.0.2.7:40000";

fn source() -> SocketAddr {
    SOURCE.parse().unwrap()
}

/// A request with everything RFC 3261 8.1.1 demands.
fn request(method: &str, uri: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.7:40000;branch=z9hG4bK-1;rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:u1@example.com>;tag=f1\r\n\
         To: <sip:u1@example.com>\r\n\
         Call-ID: c1@192.0.2.7\r\n\
         CSeq: 1 {method}\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

fn ask(text: &str) -> Option<Response> {
    Cluster::new(&Options::default()).ask(0, source(), text)
}

fn status(text: &str) -> u16 {
    ask(text).expect("an answer").status
}

#[test]
fn s8_2_1_known_methods_that_are_not_served_get_405_with_allow() {
    for method in ["INVITE", "MESSAGE", "NOTIFY", "PUBLISH", "INFO", "REFER"] {
        let response = ask(&request(method, "sip:u1@example.com", "")).unwrap();
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("REGISTER, OPTIONS, SUBSCRIBE"), "{method}");
    }
}

#[test]
fn s21_5_2_unknown_methods_get_501_and_names_are_case_sensitive() {
    for method in ["NEWMETHOD", "register", "REGISTERX"] {
        assert_eq!(status(&request(method, "sip:example.com", "")), 501, "{method}");
    }
}

#[test]
fn s8_2_2_1_a_request_uri_of_another_scheme_gets_416() {
    for uri in ["tel:+15551234", "http://example.com/", "nobodyKnowsThisScheme:totallyopaque"] {
        assert_eq!(status(&request("OPTIONS", uri, "")), 416, "{uri}");
        assert_eq!(status(&request("REGISTER", uri, "")), 416, "{uri}");
    }
    assert_eq!(status(&request("OPTIONS", "sips:example.com", "")), 200);
}

#[test]
fn s8_2_2_3_required_extensions_get_420_with_unsupported() {
    let more = "Require: 100rel, foo\r\nRequire: bar\r\n";
    let response = ask(&request("REGISTER", "sip:example.com", more)).unwrap();
    assert_eq!(response.status, 420);
    assert_eq!(response.header("unsupported"), Some("100rel, foo, bar"));
    // "Supported" asks for nothing, and Proxy-Require is for proxies.
    let more = "Supported: foo\r\nProxy-Require: bar\r\n";
    assert_eq!(status(&request("REGISTER", "sip:example.com", more)), 401);
}

#[test]
fn s9_2_and_s15_1_2_cancel_and_bye_meet_nothing_and_get_481() {
    for method in ["CANCEL", "BYE"] {
        assert_eq!(status(&request(method, "sip:u1@example.com", "")), 481, "{method}");
    }
}

#[test]
fn s12_2_2_a_request_inside_an_unknown_dialog_gets_481() {
    for method in ["INVITE", "INFO", "UPDATE", "NOTIFY", "REFER", "OPTIONS"] {
        let inside = request(method, "sip:u1@example.com", "")
            .replace("To: <sip:u1@example.com>", "To: <sip:u1@example.com>;tag=t9");
        let response = ask(&inside).unwrap();
        assert_eq!(response.status, 481, "{method}");
        assert_eq!(response.to_tag(), Some("t9"), "the tag stays what it was");
    }
}

#[test]
fn s11_2_options_is_answered_with_capabilities() {
    for uri in ["sip:example.com", "sip:u1@example.com", "sip:192.0.2.1:5060", "sip:[::1]"] {
        let response = ask(&request("OPTIONS", uri, "")).unwrap();
        assert_eq!(response.status, 200, "{uri}");
        for name in ["allow", "accept", "accept-encoding", "accept-language", "supported"] {
            assert!(response.header(name).is_some(), "{uri}: {name}");
        }
    }
}

#[test]
fn s16_3_max_forwards_0_ends_what_a_proxy_would_pass_on() {
    let hops = |text: String, n: &str| text.replace("Max-Forwards: 70", n);
    let zero = "Max-Forwards: 0";
    for (method, uri) in [
        ("OPTIONS", "sip:u1@example.com"),
        ("OPTIONS", "sip:elsewhere.test"),
        ("REGISTER", "sip:elsewhere.test"),
    ] {
        assert_eq!(status(&hops(request(method, uri, ""), zero)), 483, "{method} {uri}");
    }
    // The server itself is the target: nothing is passed on.
    assert_eq!(status(&hops(request("OPTIONS", "sip:example.com", ""), zero)), 200);
    assert_eq!(status(&hops(request("REGISTER", "sip:example.com", ""), zero)), 401);
    assert_eq!(
        status(&hops(request("OPTIONS", "sip:u1@example.com", ""), "Max-Forwards: 256")),
        400
    );
}

#[test]
fn s10_3_step_1_other_domains_are_not_relayed() {
    assert_eq!(status(&request("REGISTER", "sip:elsewhere.test", "")), 404);
    assert_eq!(status(&request("OPTIONS", "sip:elsewhere.test", "")), 404);
}

#[test]
fn s17_2_1_ack_is_never_answered_however_broken() {
    assert!(ask(&request("ACK", "sip:u1@example.com", "")).is_none());
    assert!(ask(&request("ACK", "sip:u1@example.com", "Require: foo\r\n")).is_none());
    assert!(
        ask(&request("ACK", "sip:u1@example.com", "").replace("CSeq: 1 ACK", "CSeq: x")).is_none()
    );
    assert!(
        ask(&request("ACK", "sip:u1@example.com", "").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"))
            .is_none()
    );
}

#[test]
fn s18_1_2_stray_responses_are_never_answered() {
    let response = request("REGISTER", "sip:example.com", "")
        .replace("REGISTER sip:example.com SIP/2.0", "SIP/2.0 200 OK");
    assert!(ask(&response).is_none());
    assert!(ask(&response.replace("200 OK", "9999 OK")).is_none());
    assert!(ask(&response.replace("CSeq: 1", "CSeq: -1")).is_none());
}

#[test]
fn s21_4_1_the_400_names_the_header() {
    let good = request("REGISTER", "sip:example.com", "");
    let cases = [
        ("From: <sip:u1@example.com>;tag=f1\r\n", "", "Missing From"),
        ("To: <sip:u1@example.com>\r\n", "", "Missing To"),
        ("Call-ID: c1@192.0.2.7\r\n", "", "Missing Call-ID"),
        ("CSeq: 1 REGISTER\r\n", "", "Missing CSeq"),
        ("CSeq: 1 REGISTER", "CSeq: one REGISTER", "Malformed CSeq"),
        ("CSeq: 1 REGISTER", "CSeq: 1 INVITE", "Method Does Not Match CSeq"),
        ("CSeq: 1 REGISTER", "CSeq: 2147483648 REGISTER", "Malformed CSeq"),
        ("To: <sip:u1@example.com>", "To: <sip:u1@example.com", "Malformed To"),
        ("Max-Forwards: 70", "Max-Forwards: x", "Malformed Max-Forwards"),
        ("Content-Length: 0", "Content-Length: 10", "Datagram Ends Before Content-Length"),
        ("Content-Length: 0", "Content-Length: -1", "Malformed Content-Length"),
        ("Call-ID: c1", "Call-ID: c2\r\nCall-ID: c1", "Repeated Call-ID"),
        ("sip:example.com SIP", "sip:exam@ple@com SIP", "Malformed Request-URI"),
    ];
    for (from, to, phrase) in cases {
        let faulty = good.replace(from, to);
        assert_ne!(faulty, good, "{from}");
        let response = ask(&faulty).expect(phrase);
        assert_eq!((response.status, response.reason.as_str()), (400, phrase), "{from} -> {to}");
    }
}

#[test]
fn s21_5_7_another_version_gets_505() {
    let other = request("OPTIONS", "sip:example.com", "").replace("SIP/2.0\r\n", "SIP/7.0\r\n");
    assert_eq!(status(&other), 505);
}

#[test]
fn s8_2_6_2_a_response_copies_and_tags() {
    let text = request("OPTIONS", "sip:example.com", "")
        .replace("Max-Forwards", "Via: SIP/2.0/TCP a.test;branch=z9hG4bK-0\r\nMax-Forwards");
    let response = ask(&text).unwrap();
    let vias: Vec<&str> = response.all("via").collect();
    assert_eq!(vias.len(), 2);
    assert_eq!(vias[1], "SIP/2.0/TCP a.test;branch=z9hG4bK-0");
    assert_eq!(response.header("from"), Some("<sip:u1@example.com>;tag=f1"));
    assert_eq!(response.header("call-id"), Some("c1@192.0.2.7"));
    assert_eq!(response.header("cseq"), Some("1 OPTIONS"));
    assert_eq!(response.to_tag().unwrap().len(), 16);
    // 8.2.7: a stateless server gives a retransmission the same tag, another request another.
    let again = ask(&text).unwrap();
    assert_eq!(again.to_tag(), response.to_tag());
    let other = ask(&text.replace("bK-1", "bK-2")).unwrap();
    assert_ne!(other.to_tag(), response.to_tag());
}

#[test]
fn s18_2_2_and_rfc3581_s4_where_the_answer_goes() {
    let to = |via: &str| {
        let text = request("OPTIONS", "sip:example.com", "")
            .replace("192.0.2.7:40000;branch=z9hG4bK-1;rport", via);
        let Sent { to, bytes, .. } =
            Cluster::new(&Options::default()).give(0, source(), text.as_bytes()).unwrap();
        let via = Response::parse(&bytes).header("via").unwrap().to_owned();
        (to.to_string(), via.strip_prefix("SIP/2.0/UDP ").unwrap().to_owned())
    };
    let asked = to("10.0.0.1:5070;branch=z9hG4bK-1;rport");
    assert_eq!(asked.0, SOURCE, "rport: the source address and port");
    assert_eq!(asked.1, "10.0.0.1:5070;branch=z9hG4bK-1;received=192.0.2.7;rport=40000");
    let not_asked = to("10.0.0.1:5070;branch=z9hG4bK-1");
    assert_eq!(not_asked.0, "192.0.2.7:5070", "no rport: the source address, the sent-by port");
    assert_eq!(not_asked.1, "10.0.0.1:5070;branch=z9hG4bK-1;received=192.0.2.7");
    assert_eq!(to("phone.test;branch=z9hG4bK-1").0, "192.0.2.7:5060", "the default port");
    assert_eq!(to("192.0.2.7:40000;branch=z9hG4bK-1").1, "192.0.2.7:40000;branch=z9hG4bK-1");
    let lured = to("10.0.0.1;maddr=203.0.113.9;branch=z9hG4bK-1;rport");
    assert_eq!(lured.0, SOURCE, "maddr would make this server throw answers at others");
}

#[test]
fn keepalives_and_noise_are_swallowed() {
    let mut cluster = Cluster::new(&Options::default());
    let noise: [&[u8]; 8] = [
        b"",
        b"\r\n",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"\0",
        b"HELLO",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff",
    ];
    for bytes in noise {
        assert_eq!(cluster.give(0, source(), bytes), None, "{bytes:?}");
    }
}

#[test]
fn an_answer_to_port_0_is_not_sent() {
    let mut cluster = Cluster::new(&Options::default());
    let text = request("OPTIONS", "sip:example.com", "");
    assert_eq!(cluster.give(0, "192.0.2.7:0".parse().unwrap(), text.as_bytes()), None);
}

#[test]
fn nothing_of_a_request_begins_a_line_of_its_own_in_the_answer() {
    let mut phone = Phone::new(1, "a", SOURCE);
    phone.from_tag = "f1".into();
    let text = phone.register(60).replace("To: <", "To: \"x\r\n Injected: yes\" <");
    let response = ask(&text).unwrap();
    assert_eq!(response.status, 401);
    assert!(response.header("injected").is_none());
    assert!(response.header("to").unwrap().contains("x Injected: yes"));
    assert!(!Challenge::parse(response.header("www-authenticate").unwrap()).stale);
}
