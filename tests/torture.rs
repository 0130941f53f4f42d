//! The 49 messages of RFC 4475, each with its verdict. Where the RFC leaves a choice, the comment
//! beside the verdict says which one Aorta takes.
//!
//! What is decided here is whether a message is read, and which part a refusal names; 404, 416,
//! 420, 483 and the like are decided above, from the views that are checked here.

use aorta::sip::header::authorization::Credentials;
use aorta::sip::header::contact::{ContactError, Contacts};
use aorta::sip::header::via::{self, Transport};
use aorta::sip::header::{HeaderName, option_tag};
use aorta::sip::uri::Scheme;
use aorta::sip::{
    Fault, Framing, HeaderTable, Message, Method, Parsed, Part, RequestHead, StartLine, Uri, parse,
};

macro_rules! torture {
    ($($name:ident),* $(,)?) => {
        /// Every file, by its name.
        const FILES: &[(&str, &[u8])] = &[$((
            stringify!($name),
            include_bytes!(concat!("torture/", stringify!($name), ".dat")),
        )),*];
    };
}

torture!(
    wsinv, intmeth, esc01, escnull, esc02, lwsdisp, longreq, dblreq, semiuri, transports, mpart01,
    unreason, noreason, badinv01, clerr, ncl, scalar02, scalarlg, quotbal, ltgtruri, lwsruri,
    lwsstart, trws, escruri, baddate, regbadct, badaspec, baddn, badvers, mismatch01, mismatch02,
    bigcode, badbranch, insuf, unkscm, novelsc, unksm2, bext01, invut, regaut01, multi01, mcl01,
    bcast, zeromf, cparam01, cparam02, regescrt, sdp01, inv2543,
);

fn bytes(name: &str) -> &'static [u8] {
    FILES.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name}")).1
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// A request that is read, and whose head is good.
    Request,
    /// A response that is read.
    Response(u16),
    /// Refused by the parser.
    Unreadable(Part, Fault),
    /// Read, but refused for its head.
    BadHead(Part, Fault),
}

fn verdict(text: &[u8]) -> Verdict {
    let mut table = HeaderTable::new();
    match parse(text, Framing::Datagram, &mut table) {
        Parsed::Complete { message, .. } => match (message.status(), message.check_request()) {
            (Some(status), _) => Verdict::Response(status),
            (None, Ok(_)) => Verdict::Request,
            (None, Err(e)) => Verdict::BadHead(e.part, e.fault),
        },
        Parsed::Invalid { error, .. } => Verdict::Unreadable(error.part, error.fault),
        Parsed::Partial { .. } => panic!("a datagram is never partial"),
    }
}

fn read<T>(name: &str, look: impl FnOnce(Message<'_>) -> T) -> T {
    let mut table = HeaderTable::new();
    match parse(bytes(name), Framing::Datagram, &mut table) {
        Parsed::Complete { message, .. } => look(message),
        other => panic!("{name}: {other:?}"),
    }
}

fn request<T>(name: &str, look: impl FnOnce(Message<'_>, RequestHead<'_>) -> T) -> T {
    read(name, |m| look(m, m.check_request().unwrap_or_else(|e| panic!("{name}: {e:?}"))))
}

fn contacts<T>(name: &str, look: impl FnOnce(Result<&Contacts<'_>, ContactError>) -> T) -> T {
    read(name, |m| {
        let mut contacts = Contacts::new();
        let result = m.contacts(&mut contacts);
        look(result.map(|()| &contacts))
    })
}

const fn header(name: HeaderName) -> Part {
    Part::Header(name)
}

#[test]
fn each_of_the_49_messages_has_its_verdict() {
    use Fault::{Malformed, Mismatch, Missing, Repeated, Truncated, Version};
    use Verdict::{BadHead, Request, Response, Unreadable};
    let verdicts = [
        // 3.1.1 Valid messages
        ("wsinv", Request),          // 3.1.1.1
        ("intmeth", Request),        // 3.1.1.2
        ("esc01", Request),          // 3.1.1.3
        ("escnull", Request),        // 3.1.1.4
        ("esc02", Request),          // 3.1.1.5
        ("lwsdisp", Request),        // 3.1.1.6
        ("longreq", Request),        // 3.1.1.7
        ("dblreq", Request),         // 3.1.1.8
        ("semiuri", Request),        // 3.1.1.9
        ("transports", Request),     // 3.1.1.10
        ("mpart01", Request),        // 3.1.1.11
        ("unreason", Response(200)), // 3.1.1.12
        ("noreason", Response(100)), // 3.1.1.13
        // 3.1.2 Invalid messages
        // 3.1.2.1 The Via is what breaks first; the Contact is broken too.
        ("badinv01", BadHead(header(HeaderName::Via), Malformed)),
        // 3.1.2.2 A datagram that ends before its body does.
        ("clerr", Unreadable(header(HeaderName::ContentLength), Truncated)),
        // 3.1.2.3
        ("ncl", Unreadable(header(HeaderName::ContentLength), Malformed)),
        // 3.1.2.4 CSeq over its limit; Expires over its limit would only saturate.
        ("scalar02", BadHead(header(HeaderName::CSeq), Malformed)),
        // 3.1.2.5 A response: dropped by its CSeq, never answered.
        ("scalarlg", Response(503)),
        // 3.1.2.6
        ("quotbal", BadHead(header(HeaderName::To), Malformed)),
        // 3.1.2.7 Refused, not repaired.
        ("ltgtruri", BadHead(Part::RequestUri, Malformed)),
        // 3.1.2.8 Refused, not repaired.
        ("lwsruri", Unreadable(Part::StartLine, Malformed)),
        // 3.1.2.9 Refused, not repaired.
        ("lwsstart", Unreadable(Part::StartLine, Malformed)),
        // 3.1.2.10 Refused, not repaired.
        ("trws", Unreadable(Part::StartLine, Malformed)),
        // 3.1.2.11 Read: whether a Request-URI may have headers is asked by whoever acts on it.
        ("escruri", Request),
        // 3.1.2.12 Read: nothing here needs Date.
        ("baddate", Request),
        // 3.1.2.13 The head is good; the Contact is refused, see below.
        ("regbadct", Request),
        // 3.1.2.14 Refused, not repaired.
        ("badaspec", BadHead(header(HeaderName::To), Malformed)),
        // 3.1.2.15 The file lacks its empty line too; with it the display name is refused.
        ("baddn", Unreadable(Part::Message, Truncated)),
        // 3.1.2.16 Answered with 505.
        ("badvers", Unreadable(Part::StartLine, Version)),
        // 3.1.2.17
        ("mismatch01", BadHead(header(HeaderName::CSeq), Mismatch)),
        // 3.1.2.18 400 for the mismatch, which the RFC allows beside 501 for the method.
        ("mismatch02", BadHead(header(HeaderName::CSeq), Mismatch)),
        // 3.1.2.19
        ("bigcode", Unreadable(Part::StartLine, Malformed)),
        // 3.2.1 Read: the branch identifies nothing, as with an RFC 2543 client.
        ("badbranch", Request),
        // 3.3.1 From is the first of the three that it lacks.
        ("insuf", BadHead(header(HeaderName::From), Missing)),
        // 3.3.2 to 3.3.7
        ("unkscm", Request),
        ("novelsc", Request),
        ("unksm2", Request),
        ("bext01", Request),
        ("invut", Request),
        ("regaut01", Request),
        // 3.3.8
        ("multi01", BadHead(header(HeaderName::From), Repeated)),
        // 3.3.9
        ("mcl01", Unreadable(header(HeaderName::ContentLength), Repeated)),
        // 3.3.10
        ("bcast", Response(200)),
        // 3.3.11 to 3.3.15
        ("zeromf", Request),
        ("cparam01", Request),
        ("cparam02", Request),
        ("regescrt", Request),
        ("sdp01", Request),
        // 3.4.1 No Content-Length, no branch, no Max-Forwards, no From tag.
        ("inv2543", Request),
    ];
    assert_eq!(verdicts.len(), 49);
    for (name, expected) in verdicts {
        assert_eq!(verdict(bytes(name)), expected, "{name}");
    }
}

#[test]
fn a_refused_request_can_still_be_answered_and_a_response_never() {
    for (name, _) in FILES {
        let mut table = HeaderTable::new();
        let message = match parse(bytes(name), Framing::Datagram, &mut table) {
            Parsed::Complete { message, .. } => message,
            Parsed::Invalid { message, .. } => message.expect(name),
            Parsed::Partial { .. } => panic!("{name}"),
        };
        let response = ["unreason", "noreason", "scalarlg", "bigcode", "bcast"].contains(name);
        assert_eq!(message.is_answerable(), !response, "{name}");
    }
}

#[test]
fn section_3_1_1_1_wsinv_white_space_and_folds_everywhere() {
    request("wsinv", |m, head| {
        assert_eq!(head.method, Method::Invite);
        assert_eq!(head.to.tag, Some(&b"1918181833n"[..]));
        assert_eq!(head.from.tag, Some(&b"98asjd8"[..]));
        assert_eq!(head.from.display, b"J Rosenberg \\\\\\\"");
        assert_eq!(head.max_forwards, Some(68));
        assert_eq!((head.cseq.number, head.cseq.method), (9, &b"INVITE"[..]));
        let vias: Vec<_> = via::all(m.all(HeaderName::Via)).map(Option::unwrap).collect();
        let hosts: Vec<_> = vias.iter().map(|v| (v.transport, v.host, v.branch.unwrap())).collect();
        assert_eq!(
            hosts,
            [
                (Transport::Udp, &b"192.0.2.2"[..], &b"390skdjuw"[..]),
                (Transport::Tcp, b"spindle.example.com", b"z9hG4bK9ikj8"),
                (Transport::Udp, b"192.168.255.111", b"z9hG4bK30239"),
            ]
        );
        assert_eq!(m.routes(HeaderName::Route).unwrap()[0].uri.host, b"services.example.com");
        assert_eq!(m.body().len(), 150);
    });
    contacts("wsinv", |c| {
        let c = c.unwrap().as_slice();
        assert_eq!((c.len(), c[0].q.unwrap().0), (1, 330));
    });
}

#[test]
fn section_3_1_1_2_intmeth_unusual_but_valid_characters() {
    request("intmeth", |_, head| {
        assert_eq!(head.method, Method::Other);
        assert_eq!(head.method_bytes, b"!interesting-Method0123456789_*+`.%indeed'~");
        assert_eq!(head.to.display, b"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f");
        assert_eq!(head.from.display, b"token1~` token2'+_ token3*%!.-");
        assert_eq!(head.from.tag, Some(&b"_token~1'+`*%!-."[..]));
        assert_eq!(head.uri.user, Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
        assert_eq!(head.max_forwards, Some(255));
    });
}

#[test]
fn sections_3_1_1_3_to_5_escapes() {
    request("esc01", |_, head| {
        assert_eq!(head.uri.user, Some(&b"sips%3Auser%40example.com"[..]));
        assert_eq!(head.uri.host, b"example.net");
        let plain = Uri::parse(b"sip:user@example.com").unwrap();
        assert!(head.to.uri.equals(&plain));
    });
    contacts("esc01", |c| {
        let uri = c.unwrap().as_slice()[0].uri;
        assert_eq!(uri.param(b"lr"), Some(&b""[..]));
        assert!(uri.param(b"name").is_some());
    });
    request("escnull", |_, head| assert_eq!(head.to.uri.user, Some(&b"null-%00-null"[..])));
    // The two Contacts differ: nothing may take the escaped NUL for an end.
    contacts("escnull", |c| {
        let c = c.unwrap().as_slice();
        assert_eq!(c.len(), 2);
        assert!(!c[0].uri.equals(&c[1].uri));
    });
    // An escape in a method or header name means nothing.
    request("esc02", |_, head| assert_eq!(head.method, Method::Other));
    contacts("esc02", |c| assert_eq!(c.unwrap().as_slice().len(), 2));
}

#[test]
fn sections_3_1_1_6_to_10_spacing_length_and_transports() {
    request("lwsdisp", |_, head| assert_eq!(head.from.display, b"caller"));
    request("longreq", |m, head| {
        assert_eq!(m.all(HeaderName::Via).count(), 34);
        assert_eq!(via::all(m.all(HeaderName::Via)).filter(Option::is_some).count(), 34);
        assert_eq!(head.via.host, b"sip33.example.com");
        assert_eq!(head.to.uri.port, Some(6000));
    });
    // What lies behind the body of a datagram is ignored.
    read("dblreq", |m| {
        assert_eq!((m.method(), m.body()), (Some(Method::Register), &b""[..]));
    });
    request("semiuri", |_, head| {
        assert_eq!(head.uri.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(head.uri.params, b"");
    });
    read("transports", |m| {
        let kinds: Vec<_> =
            via::all(m.all(HeaderName::Via)).map(|v| v.unwrap().transport).collect();
        use Transport::{Other, Sctp, Tcp, Tls, Udp};
        assert_eq!(kinds, [Udp, Sctp, Tls, Other, Tcp]);
    });
}

#[test]
fn section_3_1_1_8_dblreq_holds_two_messages_on_a_stream() {
    let text = bytes("dblreq");
    let mut table = HeaderTable::new();
    let Parsed::Complete { consumed, .. } = parse(text, Framing::Stream, &mut table) else {
        panic!()
    };
    let Parsed::Complete { message, .. } = parse(&text[consumed..], Framing::Stream, &mut table)
    else {
        panic!()
    };
    assert_eq!((message.method(), message.body().len()), (Some(Method::Invite), 150));
}

#[test]
fn sections_3_1_1_11_to_13_bodies_and_reason_phrases() {
    read("mpart01", |m| {
        assert_eq!(m.body().len(), 553);
        assert_eq!(m.content_type(), Some(&b"multipart/mixed;boundary=7a9cbec02ceef655"[..]));
    });
    read("unreason", |m| {
        let StartLine::Response { reason, .. } = m.start_line() else { panic!() };
        assert!(reason.starts_with(b"= 2**3 * 5**2 "));
    });
    read("noreason", |m| {
        assert_eq!(m.start_line(), StartLine::Response { status: 100, reason: b"" });
    });
}

#[test]
fn sections_3_1_2_4_and_5_numbers_past_their_limits() {
    read("scalar02", |m| {
        assert_eq!(m.expires(), Some(u32::MAX));
        assert!(m.max_forwards().is_err());
    });
    contacts("scalar02", |c| assert_eq!(c.unwrap().as_slice()[0].expires, Some(u32::MAX)));
    read("scalarlg", |m| assert!(m.cseq().is_err()));
}

#[test]
fn section_3_1_2_11_escruri_shows_the_headers_of_the_request_uri() {
    request("escruri", |_, head| assert_eq!(head.uri.headers, b"Route=%3Csip:example.com%3E"));
}

#[test]
fn section_3_1_2_13_regbadct_a_question_mark_needs_brackets() {
    contacts("regbadct", |c| assert_eq!(c.unwrap_err(), ContactError::Malformed));
}

#[test]
fn section_3_1_2_15_baddn_a_comma_needs_quotes() {
    let whole = [bytes("baddn"), b"\r\n"].concat();
    let expected = Verdict::BadHead(header(HeaderName::From), Fault::Malformed);
    assert_eq!(verdict(&whole), expected);
}

#[test]
fn section_3_2_1_badbranch_is_no_rfc_3261_branch() {
    request("badbranch", |_, head| assert!(!head.via.has_rfc3261_branch()));
}

#[test]
fn section_3_3_1_insuf_lacks_three_headers() {
    read("insuf", |m| {
        assert!(m.to().is_err() && m.from().is_err() && m.call_id().is_err());
        assert!(m.cseq().is_ok() && m.via().is_ok());
    });
}

#[test]
fn sections_3_3_2_to_4_other_schemes_are_read_and_told_apart() {
    for name in ["unkscm", "novelsc"] {
        request(name, |_, head| assert_eq!(head.uri.scheme, Scheme::Other));
    }
    request("unksm2", |_, head| {
        assert_eq!(head.uri.scheme, Scheme::Sip);
        assert_eq!((head.to.uri.scheme, head.from.uri.scheme), (Scheme::Other, Scheme::Other));
    });
    contacts("unksm2", |c| assert_eq!(c.unwrap().as_slice()[0].uri.scheme, Scheme::Other));
}

#[test]
fn sections_3_3_5_to_7_extensions_bodies_and_schemes_nobody_knows() {
    read("bext01", |m| {
        let tags = m.option_tags(HeaderName::Require).unwrap();
        assert_eq!(tags.len(), 2);
        assert!(option_tag::contains(&tags, b"nothingsupportsthis"));
        assert_eq!(m.option_tags(HeaderName::ProxyRequire).unwrap().len(), 2);
    });
    read("invut", |m| assert_eq!(m.content_type(), Some(&b"application/unknownformat"[..])));
    read("regaut01", |m| {
        let found: Option<Credentials<'_>> =
            m.credentials(HeaderName::Authorization, b"example.com").unwrap();
        assert!(found.is_none());
    });
}

#[test]
fn section_3_3_8_multi01_names_each_repeated_header() {
    read("multi01", |m| {
        for name in [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
            HeaderName::MaxForwards,
        ] {
            assert!(m.is_repeated(name));
        }
    });
}

#[test]
fn section_3_3_11_zeromf_has_no_hops_left() {
    request("zeromf", |_, head| assert_eq!(head.max_forwards, Some(0)));
}

#[test]
fn sections_3_3_12_and_13_brackets_decide_whose_parameter_it_is() {
    contacts("cparam01", |c| {
        let c = c.unwrap().as_slice()[0];
        assert_eq!((c.params, c.uri.params), (&b"unknownparam"[..], &b""[..]));
    });
    contacts("cparam02", |c| {
        let c = c.unwrap().as_slice()[0];
        assert_eq!((c.params, c.uri.params), (&b""[..], &b"unknownparam"[..]));
    });
}

#[test]
fn section_3_3_14_regescrt_keeps_the_headers_of_a_contact_uri() {
    contacts("regescrt", |c| {
        let c = c.unwrap().as_slice()[0];
        assert_eq!(c.uri.headers, b"Route=%3Csip:sip.example.com%3E");
    });
}

#[test]
fn section_3_4_1_inv2543_of_an_old_client() {
    request("inv2543", |m, head| {
        assert_eq!((head.from.tag, head.via.branch, head.max_forwards), (None, None, None));
        // Without brackets the parameter is the header's.
        assert_eq!((head.to.params, head.to.uri.params), (&b"user=phone"[..], &b""[..]));
        assert!(m.body().starts_with(b"v=0"));
    });
}
