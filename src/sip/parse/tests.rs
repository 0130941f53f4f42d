//! What is a message, what is a fault, and how datagrams and streams differ.

use super::*;

/// What a table and a parse say, free of their borrows.
fn outcome<T>(text: &[u8], framing: Framing, look: impl FnOnce(Parsed<'_>) -> T) -> T {
    let mut table = HeaderTable::new();
    look(parse(text, framing, &mut table))
}

fn complete<T>(text: &str, look: impl FnOnce(Message<'_>) -> T) -> T {
    outcome(text.as_bytes(), Framing::Datagram, |parsed| match parsed {
        Parsed::Complete { message, .. } => look(message),
        other => panic!("{text:?}: {other:?}"),
    })
}

fn error(text: &str, framing: Framing) -> (Part, Fault) {
    outcome(text.as_bytes(), framing, |parsed| match parsed {
        Parsed::Invalid { error, .. } => (error.part, error.fault),
        other => panic!("{text:?}: {other:?}"),
    })
}

const CL: Part = Part::Header(HeaderName::ContentLength);

#[test]
fn a_request_is_divided_into_line_headers_and_body() {
    let text = "OPTIONS sip:h SIP/2.0\r\nv: a\r\nX-Y : b c \r\nVIA:d\r\nl: 3\r\n\r\nabcdef";
    complete(text, |m| {
        let StartLine::Request { method, method_bytes, uri } = m.start_line() else { panic!() };
        assert_eq!((method, method_bytes), (Method::Options, &b"OPTIONS"[..]));
        assert_eq!(uri, b"sip:h");
        assert_eq!(m.body(), b"abc");
        assert_eq!(m.first(HeaderName::Via), Some(&b"a"[..]));
        assert!(m.is_repeated(HeaderName::Via) && !m.is_repeated(HeaderName::ContentLength));
        assert!(m.all(HeaderName::Via).eq([&b"a"[..], b"d"]));
        let names: Vec<_> = m.headers().map(|h| h.name_bytes).collect();
        assert_eq!(names, [&b"v"[..], b"X-Y", b"VIA", b"l"]);
        assert_eq!(m.headers().nth(1).unwrap().value, b"b c");
        assert_eq!((m.method(), m.status()), (Some(Method::Options), None));
        assert!(m.all(HeaderName::Other).next().is_none());
    });
}

#[test]
fn a_table_forgets_the_message_before() {
    let mut table = HeaderTable::new();
    let _ = parse(b"A b SIP/2.0\r\nTo: x\r\nTo: y\r\n\r\n", Framing::Datagram, &mut table);
    let parsed = parse(b"A b SIP/2.0\r\nFrom: z\r\n\r\n", Framing::Datagram, &mut table);
    let Parsed::Complete { message, .. } = parsed else { panic!() };
    assert_eq!(message.first(HeaderName::To), None);
    assert_eq!(message.headers().count(), 1);
}

#[test]
fn the_version_is_sip_2_0_in_any_case_and_another_is_told_apart() {
    complete("A b sip/2.0\r\n\r\n", |m| assert!(m.is_request()));
    let line = |version: &str| error(&format!("A b {version}\r\n\r\n"), Framing::Datagram);
    for other in ["SIP/7.0", "SIP/2.1", "sip/10.20"] {
        assert_eq!(line(other), (Part::StartLine, Fault::Version), "{other}");
    }
    for bad in ["SIP/2.0 ", " SIP/2.0", "SIP/2", "SIP/.0", "SIP/2.", "HTTP/1.1", "", "SIP/2.0a"] {
        assert_eq!(line(bad), (Part::StartLine, Fault::Malformed), "{bad}");
    }
}

#[test]
fn a_request_line_has_single_spaces_and_a_token_for_a_method() {
    for bad in [
        "A  b SIP/2.0",
        " A b SIP/2.0",
        "A b  SIP/2.0",
        "A\tb SIP/2.0",
        "A/ b SIP/2.0",
        "A b c SIP/2.0",
        "A",
        "A ",
        "A b",
        "\0",
        "A b SIP/2.0\t",
    ] {
        let found = error(&format!("{bad}\r\nVia: x\r\n\r\n"), Framing::Datagram);
        assert_eq!(found, (Part::StartLine, Fault::Malformed), "{bad:?}");
    }
    assert_eq!(error("A b\r c SIP/2.0\r\n\r\n", Framing::Datagram).0, Part::StartLine);
}

#[test]
fn a_status_line_has_three_digits_from_100_to_699() {
    for (line, status, reason) in [
        ("SIP/2.0 200 OK", 200, "OK"),
        ("sip/2.0 100 ", 100, ""),
        ("SIP/2.0 699", 699, ""),
        ("SIP/2.0 404 Not  Found ", 404, "Not  Found "),
    ] {
        complete(&format!("{line}\r\n\r\n"), |m| {
            assert_eq!(m.start_line(), StartLine::Response { status, reason: reason.as_bytes() });
            assert_eq!((m.status(), m.method()), (Some(status), None));
        });
    }
    for bad in [
        "SIP/2.0 4294967301 x",
        "SIP/2.0 099 x",
        "SIP/2.0 700 x",
        "SIP/2.0  200 OK",
        "SIP/2.0 2x0 OK",
        "SIP/2.0 20",
        "SIP/2.0",
        "SIP/",
    ] {
        let found = error(&format!("{bad}\r\nVia: a\r\n\r\n"), Framing::Datagram);
        assert_eq!(found, (Part::StartLine, Fault::Malformed), "{bad}");
        // A broken status line must never look like a request that could be answered.
        outcome(format!("{bad}\r\nVia: a\r\n\r\n").as_bytes(), Framing::Datagram, |p| match p {
            Parsed::Invalid { message, .. } => assert!(!message.unwrap().is_answerable()),
            other => panic!("{other:?}"),
        });
    }
    let other = error("SIP/3.0 200 OK\r\n\r\n", Framing::Datagram);
    assert_eq!(other, (Part::StartLine, Fault::Version));
}

#[test]
fn a_value_spans_its_folds_rfc_3261_7_3_1() {
    complete("A b SIP/2.0\r\nTo:\r\n a\r\n\tb \r\n \r\nFrom: c\n d\n\n", |m| {
        assert_eq!(m.first(HeaderName::To), Some(&b"a\r\n\tb"[..]));
        assert_eq!(m.first(HeaderName::From), Some(&b"c\n d"[..]));
    });
    complete("A b SIP/2.0\r\nTo:\r\nFrom:  \r\n\r\n", |m| {
        assert_eq!(m.first(HeaderName::To), Some(&b""[..]));
        assert_eq!(m.first(HeaderName::From), Some(&b""[..]));
    });
}

#[test]
fn a_header_line_without_name_or_colon_is_told_by_its_number() {
    let line =
        |line: &str| error(&format!("A b SIP/2.0\r\nTo: x\r\n{line}\r\n\r\n"), Framing::Datagram);
    for bad in ["nothing", ": x", "a b: x", "\u{e9}: x", "a\0: x", "To\r\n : x", "To \r\n : x"] {
        assert_eq!(line(bad), (Part::HeaderLine(2), Fault::Malformed), "{bad:?}");
    }
    let found = error("A b SIP/2.0\r\n folded: x\r\n\r\n", Framing::Datagram);
    assert_eq!(found, (Part::HeaderLine(1), Fault::Malformed));
    let long = "a".repeat(HEADER_NAME_BYTES_MAX);
    complete(&format!("A b SIP/2.0\r\n{long}: x\r\n\r\n"), |m| {
        assert_eq!(m.headers().count(), 1);
    });
    assert_eq!(line(&format!("{long}a: x")), (Part::HeaderLine(2), Fault::TooLong));
    // Names of every length, with and without white space before the colon.
    for len in 1..40 {
        for gap in ["", " ", "\t "] {
            let name = "n".repeat(len);
            complete(&format!("A b SIP/2.0\r\n{name}{gap}: x\r\nVia {gap}:y\r\n\r\n"), |m| {
                assert_eq!(m.headers().next().unwrap().name_bytes, name.as_bytes());
                assert_eq!(m.first(HeaderName::Via), Some(&b"y"[..]));
            });
        }
    }
}

#[test]
fn a_cr_alone_is_a_fault_of_its_header() {
    let line = |line: &str| error(&format!("A b SIP/2.0\r\n{line}\r\n\r\n"), Framing::Datagram);
    assert_eq!(line("To: a\rb"), (Part::Header(HeaderName::To), Fault::BareCr));
    assert_eq!(line("To: a\r\r\n b"), (Part::Header(HeaderName::To), Fault::BareCr));
    assert_eq!(line("X: a\rb"), (Part::HeaderLine(1), Fault::BareCr));
}

#[test]
fn what_follows_a_fault_is_read_for_the_refusal() {
    let text = "REGISTER x; y SIP/2.0\r\nbroken\r\nVia: v\r\nCSeq: 1 A\r\n\r\n";
    outcome(text.as_bytes(), Framing::Datagram, |parsed| {
        let Parsed::Invalid { error, message: Some(m) } = parsed else { panic!("{parsed:?}") };
        assert_eq!((error.part, error.fault), (Part::StartLine, Fault::Malformed));
        assert_eq!(m.method(), Some(Method::Register));
        assert_eq!(m.first(HeaderName::CSeq), Some(&b"1 A"[..]));
        assert!(m.is_answerable());
    });
}

#[test]
fn content_length_against_the_datagram_rfc_3261_18_3() {
    let with = |cl: &str| format!("A b SIP/2.0\r\n{cl}\r\nVia: v\r\n\r\n12345");
    let body = |cl: &str| complete(&with(cl), |m| m.body().to_vec());
    assert_eq!(body("X: y"), b"12345");
    assert_eq!(body("l:0"), b"");
    assert_eq!(body("Content-Length: 00003"), b"123");
    assert_eq!(body("Content-Length: 5\r\nl: 5"), b"12345");
    let fault = |cl: &str| error(&with(cl), Framing::Datagram);
    assert_eq!(fault("l: 6"), (CL, Fault::Truncated));
    assert_eq!(fault("l: 99999999999999999999999"), (CL, Fault::Truncated));
    assert_eq!(fault("l: 3\r\nl: 4"), (CL, Fault::Repeated));
    for bad in ["-1", "", "x", "3 3", "3,3", "0x3", "+3"] {
        assert_eq!(fault(&format!("l: {bad}")), (CL, Fault::Malformed), "{bad}");
    }
}

#[test]
fn a_stream_is_divided_by_content_length_which_must_be_there() {
    let two = "\r\n\r\nA b SIP/2.0\r\nl: 2\r\n\r\nxyA c SIP/2.0\r\nl: 0\r\n\r\n";
    outcome(two.as_bytes(), Framing::Stream, |parsed| {
        let Parsed::Complete { message, consumed } = parsed else { panic!("{parsed:?}") };
        assert_eq!((message.body(), consumed), (&b"xy"[..], two.find("A c").unwrap()));
    });
    assert_eq!(error("A b SIP/2.0\r\n\r\n", Framing::Stream), (CL, Fault::Missing));
    let long = format!("A b SIP/2.0\r\nl: {MESSAGE_BYTES_MAX}\r\n\r\n");
    assert_eq!(error(&long, Framing::Stream), (Part::Message, Fault::TooLong));
    let endless = format!("A b SIP/2.0\r\nX: {}", "x".repeat(MESSAGE_BYTES_MAX));
    assert_eq!(error(&endless, Framing::Stream), (Part::Message, Fault::TooLong));
    let waits = "A b SIP/2.0\r\nl: 9\r\n\r\nx";
    outcome(waits.as_bytes(), Framing::Stream, |parsed| {
        assert!(matches!(parsed, Parsed::Partial { needed } if needed == waits.len() + 8));
    });
    assert_eq!(error("\0\r\n", Framing::Stream), (Part::StartLine, Fault::Malformed));
}

#[test]
fn a_datagram_without_its_empty_line_is_truncated() {
    let whole = "A b SIP/2.0\r\nVia: v\r\n";
    assert_eq!(error(whole, Framing::Datagram), (Part::Message, Fault::Truncated));
    assert_eq!(error("A b SIP/2.0", Framing::Datagram), (Part::StartLine, Fault::Truncated));
    assert_eq!(error("A b SIP/2.0\r\nVia: v\r", Framing::Datagram).1, Fault::Truncated);
    for keepalive in ["", "\r\n", "\r\n\r\n"] {
        assert_eq!(error(keepalive, Framing::Datagram), (Part::Message, Fault::Empty));
    }
    let long = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    outcome(&long, Framing::Datagram, |p| {
        assert!(matches!(p, Parsed::Invalid { error, .. } if error.fault == Fault::TooLong));
    });
}

#[test]
fn one_header_too_many_is_refused_and_the_others_kept() {
    use crate::limits::HEADERS_MAX;
    let text = |n: usize| format!("A b SIP/2.0\r\nVia: v\r\n{}\r\n", "X: y\r\n".repeat(n - 1));
    complete(&text(HEADERS_MAX), |m| assert_eq!(m.headers().count(), HEADERS_MAX));
    outcome(text(HEADERS_MAX + 1).as_bytes(), Framing::Datagram, |parsed| {
        let Parsed::Invalid { error, message: Some(m) } = parsed else { panic!("{parsed:?}") };
        assert_eq!((error.part, error.fault), (Part::Message, Fault::TooMany));
        assert_eq!(error.status(), 513);
        assert!(m.is_answerable());
    });
}
