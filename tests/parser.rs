//! Properties of the parser over generated messages: it never panics, it never reaches outside
//! its input, a stream may be cut anywhere, and it divides messages as a naive reader does.

use aorta::sip::header::contact::Contacts;
use aorta::sip::write::{Responder, Response};
use aorta::sip::{Framing, HeaderName, HeaderTable, Message, Parsed, StartLine, parse};
use proptest::collection::vec;
use proptest::prelude::*;

/// Names that are interpreted, in several spellings, and names that are not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "Via",
            "v",
            "VIA",
            "From",
            "f",
            "To",
            "t",
            "Call-ID",
            "i",
            "call-id",
            "CSeq",
            "Contact",
            "m",
            "Max-Forwards",
            "Expires",
            "Authorization",
            "Require",
            "Supported",
            "k",
            "Path",
            "Route",
            "User-Agent",
        ])
        .prop_map(String::from),
        "[A-Za-z!%'*+._`~-]{1,30}",
    ]
}

/// A value with folds in it.
fn value() -> impl Strategy<Value = String> {
    "[ -~\u{e9}]{0,30}((\r\n|\n)[ \t][ -~]{0,20}){0,2}"
}

#[derive(Clone, Debug)]
struct Generated {
    text: String,
    fields: Vec<(String, String)>,
    body: String,
}

fn message() -> impl Strategy<Value = Generated> {
    let fields = vec((name(), "[ \t]{0,2}", value(), "(\r\n|\n)"), 0..20);
    let line = prop_oneof![
        Just("REGISTER sip:example.com SIP/2.0".to_string()),
        Just("SIP/2.0 200 OK".to_string()),
    ];
    (line, fields, "[ -~\r\n]{0,40}", "(\r\n){0,2}").prop_map(|(line, fields, body, front)| {
        let mut text = format!("{front}{line}\r\n");
        let mut kept = Vec::new();
        for (name, gap, value, end) in fields {
            // Content-Length has its own rules; it is written last.
            if name.eq_ignore_ascii_case("l") || name.eq_ignore_ascii_case("content-length") {
                continue;
            }
            text += &format!("{name}{gap}:{value}{end}");
            kept.push((name, value));
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        Generated { text, fields: kept, body }
    })
}

/// Divides a message by splitting at LF, one thing after the other, on owned strings.
fn naive(text: &str) -> Vec<(String, String)> {
    let text = text.trim_start_matches(['\r', '\n']);
    let ends = ["\r\n\r\n", "\n\n", "\n\r\n"];
    let head = &text[..ends.iter().filter_map(|end| text.find(end)).min().expect("an empty line")];
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.split('\n').skip(1).map(|l| l.strip_suffix('\r').unwrap_or(l)) {
        if line.starts_with([' ', '\t']) {
            let last = &mut fields.last_mut().expect("a field to go on with").1;
            last.push(' ');
            last.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':').expect("a colon");
            fields.push((name.trim().to_string(), value.trim().to_string()));
        }
    }
    fields.into_iter().map(|(n, v)| (n, words(&v))).collect()
}

/// The words of a value: what is left of it when runs of white space count as one space.
fn words(value: &str) -> String {
    value.split([' ', '\t', '\r', '\n']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("generated as UTF-8")
}

fn canonical(name: &str) -> String {
    match HeaderName::of(name.as_bytes()) {
        HeaderName::Other => name.to_string(),
        known => known.as_str().to_string(),
    }
}

/// Everything a message shows, as owned values.
fn shown(m: &Message<'_>) -> (String, Vec<(String, String)>, String) {
    let fields = m.headers().map(|h| (string(h.name_bytes), string(h.value))).collect();
    (format!("{:?}", m.start_line()), fields, string(m.body()))
}

/// Whether every slice a message gives lies within `bytes`.
fn within(m: &Message<'_>, bytes: &[u8]) -> bool {
    let range = bytes.as_ptr_range();
    let inside = |part: &[u8]| {
        let part = part.as_ptr_range();
        part.start >= range.start && part.end <= range.end || part.is_empty()
    };
    let start = match m.start_line() {
        StartLine::Request { method_bytes, uri, .. } => inside(method_bytes) && inside(uri),
        StartLine::Response { reason, .. } => inside(reason),
    };
    start && inside(m.body()) && m.headers().all(|h| inside(h.name_bytes) && inside(h.value))
}

/// Looks at every view, for the panics that must not come.
fn look_at_everything(m: &Message<'_>) {
    let mut contacts = Contacts::new();
    let _ = (m.check_request(), m.contacts(&mut contacts), m.expires(), m.user_agent());
    let _ = (m.content_type(), m.content_encoding());
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        let _ = m.credentials(name, b"example.com");
    }
    for name in [HeaderName::Require, HeaderName::ProxyRequire, HeaderName::Supported] {
        let _ = m.option_tags(name);
    }
    for name in [HeaderName::Path, HeaderName::Route] {
        let _ = m.routes(name);
    }
    let source = "192.0.2.1:5060".parse().expect("an address");
    if let Some(responder) = Responder::of_faulty(*m, source) {
        let mut buf = [0u8; 512];
        let _ = responder.begin(&mut buf, 400, b"t").and_then(Response::finish);
        let _ = responder.destination();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_message_is_divided_as_a_naive_reader_divides_it(generated in message()) {
        let mut table = HeaderTable::new();
        let parsed = parse(generated.text.as_bytes(), Framing::Datagram, &mut table);
        let Parsed::Complete { message, consumed } = parsed else {
            return Err(TestCaseError::fail(format!("{parsed:?}")));
        };
        prop_assert_eq!(consumed, generated.text.len());
        prop_assert_eq!(string(message.body()), generated.body);
        prop_assert!(within(&message, generated.text.as_bytes()));
        let fields: Vec<_> = message
            .headers()
            .map(|h| (string(h.name_bytes), words(&string(h.value))))
            .collect();
        let expected = naive(&generated.text);
        prop_assert_eq!(&fields, &expected);
        prop_assert_eq!(fields.len(), generated.fields.len() + 1);
        // The chain of each known name gives what a search through all fields gives.
        for &name in HeaderName::KNOWN {
            let chained: Vec<_> = message.all(name).map(|v| words(&string(v))).collect();
            let searched: Vec<_> = expected
                .iter()
                .filter(|(n, _)| canonical(n) == name.as_str())
                .map(|(_, v)| v.clone())
                .collect();
            prop_assert_eq!(&chained, &searched);
            let first = message.first(name).map(|v| words(&string(v)));
            prop_assert_eq!(first.as_ref(), searched.first());
            prop_assert_eq!(message.is_repeated(name), searched.len() > 1);
        }
        look_at_everything(&message);
    }

    #[test]
    fn a_stream_may_be_cut_anywhere(generated in message(), behind in "[ -~\r\n]{0,10}") {
        let whole = format!("{}{behind}", generated.text);
        let (length, mut table) = (generated.text.len(), HeaderTable::new());
        let expected = match parse(whole.as_bytes(), Framing::Stream, &mut table) {
            Parsed::Complete { message, consumed } => {
                prop_assert_eq!(consumed, length);
                shown(&message)
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        for cut in 0..=whole.len() {
            let mut table = HeaderTable::new();
            match parse(&whole.as_bytes()[..cut], Framing::Stream, &mut table) {
                Parsed::Partial { needed } => {
                    prop_assert!(cut < length);
                    prop_assert!(needed > cut && needed <= length);
                }
                Parsed::Complete { message, consumed } => {
                    prop_assert!(cut >= length);
                    prop_assert_eq!(consumed, length);
                    prop_assert_eq!(&shown(&message), &expected);
                }
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_panic(
        noise in any::<Vec<u8>>(),
        line in proptest::sample::select(vec![
            "", "REGISTER sip:h SIP/2.0\r\n", "SIP/2.0 200 OK\r\n",
        ]),
        text in "[ -~\r\n\0:;,<>\"\\\\]{0,200}",
    ) {
        let mut bytes = line.as_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(&noise);
        for framing in [Framing::Datagram, Framing::Stream] {
            let mut table = HeaderTable::new();
            match parse(&bytes, framing, &mut table) {
                Parsed::Complete { message, consumed } => {
                    prop_assert!(consumed <= bytes.len());
                    prop_assert!(within(&message, &bytes));
                    look_at_everything(&message);
                }
                Parsed::Invalid { message: Some(message), .. } => {
                    prop_assert!(within(&message, &bytes));
                    look_at_everything(&message);
                }
                Parsed::Invalid { message: None, .. } => {}
                Parsed::Partial { needed } => {
                    prop_assert_eq!(framing, Framing::Stream);
                    prop_assert!(needed > bytes.len());
                }
            }
        }
    }

    /// A good message with a few bytes changed: most of the way is walked before the fault.
    #[test]
    fn a_mutated_register_is_read_or_refused_without_panic(
        changes in vec((0usize..600, any::<u8>()), 1..6), cut in 0usize..700,
    ) {
        let mut bytes = b"REGISTER sip:example.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP 192.0.2.31:5060;branch=z9hG4bKx;rport;received=1.2.3.4, \
            SIP/2.0/TCP b\r\n\
            Max-Forwards: 70\r\n\
            Contact: \"A\" <sip:u1@192.0.2.31;ob>;expires=60;q=0.5, <sip:u@[::1]>\r\n\
            To: \"User\" <sip:u1@example.com>\r\nFrom: User <sip:u1@example.com>;tag=8a3f5c21\r\n\
            Call-ID: 92740@192.0.2.31\r\nCSeq: 41 REGISTER\r\nExpires: 3600\r\n\
            Supported: path, outbound\r\nPath: <sip:p;lr>,\r\n <sip:q>\r\n\
            Authorization: Digest username=\"u\\\"1\", realm=\"example.com\", nonce=\"6f\", \
            uri=\"sip:example.com\", response=\"0b\", qop=auth, nc=00000029, cnonce=\"4d\"\r\n\
            Content-Length: 3\r\n\r\nabc".to_vec();
        for (at, byte) in changes {
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
        }
        bytes.truncate(cut.max(100));
        for framing in [Framing::Datagram, Framing::Stream] {
            let mut table = HeaderTable::new();
            match parse(&bytes, framing, &mut table) {
                Parsed::Complete { message, .. }
                | Parsed::Invalid { message: Some(message), .. } => {
                    prop_assert!(within(&message, &bytes));
                    look_at_everything(&message);
                }
                _ => {}
            }
        }
    }
}
