//! Any bytes, as one datagram and as the front of a stream.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use aorta::limits::MESSAGE_BYTES_MAX;
use aorta::sip::frame::{Broken, Frame, Scanner};
use aorta::sip::header::authorization::Credentials;
use aorta::sip::header::contact::Contacts;
use aorta::sip::header::{HeaderName, via};
use aorta::sip::write::{Responder, Response};
use aorta::sip::{Framing, HeaderTable, Message, ParseError, Parsed, StartLine, parse};

use super::naive::{self, Naive, words};
use super::reply;

const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 40000);

/// Room for any answer: what is copied is no longer than the request but for line ends.
const ROOM: usize = 1 << 18;

/// Cuts of a stream that are tried; all of them where the input is that short.
const CUTS: usize = 24;

/// The fuzz target.
pub fn check(bytes: &[u8]) {
    check_datagram(bytes);
    let step = bytes.len().div_ceil(CUTS).max(1);
    check_stream(bytes, (0..bytes.len()).step_by(step));
    check_frames(bytes, (0..bytes.len()).step_by(step));
}

/// As a datagram: read alike by two readers, every view without a panic, the answer well-formed.
pub fn check_datagram(bytes: &[u8]) {
    let mut table = HeaderTable::new();
    match parse(bytes, Framing::Datagram, &mut table) {
        Parsed::Complete { message, consumed } => {
            assert!(consumed <= bytes.len());
            look_at(&message, bytes);
            let naive = Naive::read(bytes).expect("the naive reader sees a message too");
            assert!(naive.ended, "no empty line: {}", naive::shown(bytes));
            check_fields(&message, &naive, bytes);
        }
        Parsed::Invalid { error, message } => {
            check_error(error);
            if let Some(message) = message {
                look_at(&message, bytes);
                if let Some(naive) = Naive::read(bytes) {
                    check_fields(&message, &naive, bytes);
                }
            }
        }
        Parsed::Partial { .. } => panic!("a datagram is all there will ever be"),
    }
}

/// Cut anywhere, a stream asks for more or says what it says of the whole.
pub fn check_stream(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let mut table = HeaderTable::new();
    let whole = outcome(bytes, &mut table);
    for cut in cuts {
        let part = outcome(&bytes[..cut], &mut table);
        let shown = || format!("cut at {cut}: {part:?}, {whole:?}: {}", naive::shown(bytes));
        match (&part, &whole) {
            (Outcome::Partial(needed), Outcome::Complete { consumed, .. }) => {
                assert!(cut < *needed && needed <= consumed, "{}", shown());
            }
            (Outcome::Partial(needed), _) => assert!(cut < *needed, "{}", shown()),
            (Outcome::Complete { consumed, .. }, _) => {
                assert!(*consumed <= cut && part == whole, "{}", shown());
            }
            (Outcome::Invalid(_), _) => assert_eq!(part, whole, "{}", shown()),
        }
    }
}

/// Frame by frame: the same frames however the stream comes in, and a frame is what the parser says
/// of its bytes.
pub fn check_frames(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let whole = frames(bytes, &[bytes.len()]);
    for cut in cuts {
        let cut = cut.min(bytes.len());
        assert_eq!(frames(bytes, &[cut, bytes.len()]), whole, "cut at {cut}");
    }
    let mut table = HeaderTable::new();
    let mut at = 0;
    for frame in whole {
        let rest = &bytes[at..];
        let parsed = outcome(rest, &mut table);
        let shown = || format!("{frame:?}, {parsed:?}: {}", naive::shown(rest));
        match frame {
            Frame::Ping { len } | Frame::LineEnd { len } => at += len,
            Frame::Message { len } => {
                match parsed {
                    Outcome::Complete { consumed, .. } => assert_eq!(consumed, len, "{}", shown()),
                    Outcome::Invalid(_) => {}
                    Outcome::Partial(_) => panic!("{}", shown()),
                }
                at += len;
            }
            Frame::Last { len, reason } => {
                assert!(len <= rest.len(), "{}", shown());
                // A method of this length is no method, though the grammar has it.
                let long = rest.iter().take(64).all(|byte| *byte != b' ');
                let whole = matches!(parsed, Outcome::Complete { .. });
                assert!(!whole || (reason == Broken::NotSip && long), "{}", shown());
            }
            Frame::Partial { needed } => assert!(needed > rest.len(), "{}", shown()),
        }
    }
}

/// All frames of a stream whose bytes come in pieces that end at `ends`.
fn frames(bytes: &[u8], ends: &[usize]) -> Vec<Frame> {
    let (mut scanner, mut table) = (Scanner::new(MESSAGE_BYTES_MAX), HeaderTable::new());
    let (mut found, mut at) = (Vec::new(), 0);
    for &end in ends {
        while at <= end {
            let frame = scanner.look(&bytes[at..end], &mut table);
            match frame {
                Frame::Partial { needed } => {
                    assert!(needed > end - at && needed <= MESSAGE_BYTES_MAX);
                    break;
                }
                Frame::Ping { len } | Frame::LineEnd { len } | Frame::Message { len } => {
                    assert!(len > 0 && at + len <= end);
                    at += len;
                }
                Frame::Last { .. } => {
                    found.push(frame);
                    return found;
                }
            }
            found.push(frame);
        }
    }
    found
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Complete { consumed: usize, start: String, fields: usize, body: usize },
    Partial(usize),
    Invalid(ParseError),
}

fn outcome(bytes: &[u8], table: &mut HeaderTable) -> Outcome {
    match parse(bytes, Framing::Stream, table) {
        Parsed::Complete { message, consumed } => {
            assert!(consumed <= bytes.len());
            let start = format!("{:?}", message.start_line());
            let (fields, body) = (message.headers().count(), message.body().len());
            Outcome::Complete { consumed, start, fields, body }
        }
        Parsed::Partial { needed } => {
            assert!(needed > bytes.len());
            Outcome::Partial(needed)
        }
        Parsed::Invalid { error, .. } => {
            check_error(error);
            Outcome::Invalid(error)
        }
    }
}

fn check_error(error: ParseError) {
    assert!((400..=599).contains(&error.status()));
    assert!(error.phrase().iter().all(|piece| !piece.contains(['\r', '\n'])));
}

fn check_fields(message: &Message<'_>, naive: &Naive, bytes: &[u8]) {
    let shown = || naive::shown(bytes);
    assert_eq!(message.headers().count(), naive.fields.len(), "{}", shown());
    for (header, (name, value)) in message.headers().zip(&naive.fields) {
        assert_eq!(header.name_bytes, name, "{}", shown());
        assert_eq!(words(header.value), *value, "{}", shown());
        assert_eq!(header.name, HeaderName::of(name), "{}", shown());
    }
    for &name in HeaderName::KNOWN {
        let searched = message.headers().filter(|h| h.name == name).map(|h| h.value);
        assert!(message.all(name).eq(searched), "{name:?}: {}", shown());
    }
}

/// Looks at every view, keeps every slice inside the input, and answers what may be answered.
fn look_at(message: &Message<'_>, bytes: &[u8]) {
    let range = bytes.as_ptr_range();
    let inside = |part: &[u8]| {
        let part = part.as_ptr_range();
        assert!(part.is_empty() || range.start <= part.start && part.end <= range.end);
    };
    match message.start_line() {
        StartLine::Request { method_bytes, uri, .. } => {
            inside(method_bytes);
            inside(uri);
        }
        StartLine::Response { reason, .. } => inside(reason),
    }
    inside(message.body());
    for header in message.headers() {
        inside(header.name_bytes);
        inside(header.value);
    }
    let mut contacts = Contacts::new();
    if message.contacts(&mut contacts).is_ok() {
        contacts.as_slice().iter().for_each(|contact| inside(contact.uri.text));
    }
    let _ = (message.expires(), message.user_agent(), message.max_forwards());
    let _ = (message.content_type(), message.content_encoding());
    via::all(message.all(HeaderName::Via)).flatten().for_each(|via| inside(via.host));
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        if let Ok(Some(found)) = message.credentials(name, b"example.com") {
            let Credentials { username, realm, nonce, uri, response, .. } = found;
            [username, realm, nonce, uri, response].into_iter().for_each(inside);
        }
    }
    for name in [HeaderName::Require, HeaderName::ProxyRequire, HeaderName::Supported] {
        message.option_tags(name).iter().flatten().for_each(|tag| inside(tag));
    }
    for name in [HeaderName::Path, HeaderName::Route] {
        message.routes(name).iter().flatten().for_each(|route| inside(route.text));
    }
    let responder = match message.check_request() {
        Ok(head) => {
            let views = [head.call_id, head.method_bytes, head.via.head, head.to.uri.text];
            views.into_iter().for_each(inside);
            assert!(message.is_request());
            (head.method != aorta::sip::Method::Ack)
                .then(|| Responder::new(*message, &head, SOURCE))
        }
        Err(error) => {
            check_error(error);
            Responder::of_faulty(*message, SOURCE)
        }
    };
    if let Some(responder) = responder {
        assert_eq!(responder.destination().ip(), SOURCE.ip());
        let mut small = [0; 300];
        let _ = responder.begin(&mut small, 400, b"t").and_then(Response::finish);
        let mut room = vec![0; ROOM.min(2 * bytes.len() + 1024)];
        let written = responder.begin(&mut room, 400, b"tag").and_then(Response::finish);
        reply::check(bytes, &room[..written.expect("there is room")]);
    }
}
