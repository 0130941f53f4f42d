//! One pass over a message: start line, header table, body (RFC 3261 7, 18.3). Nothing is looked
//! into but Content-Length, which divides messages.

use crate::limits::{HEADER_NAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::sip::error::{Fault, ParseError, Part};
use crate::sip::header::HeaderName;
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::scan::{Class, decimal, decimal_saturating, line, trim};
use crate::sip::table::{Field, HeaderTable};

/// How the transport divides messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One message a datagram: without Content-Length the body reaches to its end, and what lies
    /// behind a shorter one is ignored (RFC 3261 18.3).
    Datagram,
    /// Messages one behind the other, divided by Content-Length, which must be there.
    Stream,
}

/// What came of an attempt to read a message.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'a> {
    /// A whole message.
    Complete {
        /// The message.
        message: Message<'a>,
        /// Bytes it took, line ends in front of it included. The next begins there.
        consumed: usize,
    },
    /// A stream has to deliver more before anything can be said.
    Partial {
        /// Bytes, from the start, without which another attempt is useless.
        needed: usize,
    },
    /// No message to act upon. A stream cannot go on behind it.
    Invalid {
        /// The first fault.
        error: ParseError,
        /// What could be read all the same, if it may be answered at all
        /// ([`Message::is_answerable`]) with [`ParseError::status`].
        message: Option<Message<'a>>,
    },
}

/// Reads one message from the front of `bytes`. Line ends in front of it are skipped (RFC 3261
/// 7.5). On a stream `bytes` may hold more messages behind it.
///
/// After a fault the rest is read all the same, so that a refusal can be written. Lines end at
/// CRLF or LF; a CR alone is a fault. Other control bytes pass here: inside a quoted-pair they
/// are allowed (RFC 4475 3.1.1.2), and the views of the headers refuse them elsewhere.
#[inline]
pub fn parse<'a>(bytes: &'a [u8], framing: Framing, table: &'a mut HeaderTable) -> Parsed<'a> {
    table.clear();
    // Offsets are u16. On a stream, what lies beyond belongs to other messages.
    let bytes = if bytes.len() <= MESSAGE_BYTES_MAX {
        bytes
    } else if framing == Framing::Datagram {
        return invalid(Part::Message, Fault::TooLong);
    } else {
        &bytes[..MESSAGE_BYTES_MAX]
    };
    let mut reader = Reader { bytes, at: skip_line_ends(bytes), fault: None };
    if reader.at == bytes.len() && framing == Framing::Datagram {
        return invalid(Part::Message, Fault::Empty);
    }
    let start = match reader.start_line() {
        Ok(Some(start)) => start,
        Ok(None) => return unfinished(bytes, framing, None),
        Err(error) => return Parsed::Invalid { error, message: None },
    };
    let ended = reader.headers(table);
    let Reader { at: head_end, mut fault, .. } = reader;
    let table = &*table;
    let mut message = Message { bytes, table, start, body: &[] };
    if !ended {
        let error = fault.unwrap_or(ParseError { part: Part::Message, fault: Fault::Truncated });
        return unfinished(bytes, framing, Some((error, message)));
    }
    let rest = &bytes[head_end..];
    let length = match (content_length(&message), framing) {
        (Ok(Some(length)), _) => length,
        (Ok(None), Framing::Datagram) => rest.len(),
        (Ok(None), Framing::Stream) => {
            let missing = ParseError::header(HeaderName::ContentLength, Fault::Missing);
            fault = fault.or(Some(missing));
            0
        }
        (Err(error), _) => {
            fault = fault.or(Some(error));
            rest.len()
        }
    };
    if length > rest.len() && fault.is_none() {
        if framing == Framing::Stream && head_end + length <= MESSAGE_BYTES_MAX {
            return Parsed::Partial { needed: head_end + length };
        }
        // RFC 3261 18.3: a datagram that ends before its body does is answered with 400.
        fault = Some(match framing {
            Framing::Datagram => ParseError::header(HeaderName::ContentLength, Fault::Truncated),
            Framing::Stream => ParseError { part: Part::Message, fault: Fault::TooLong },
        });
    }
    let length = length.min(rest.len());
    message.body = &rest[..length];
    match fault {
        None => Parsed::Complete { message, consumed: head_end + length },
        Some(error) => Parsed::Invalid { error, message: Some(message) },
    }
}

#[cold]
fn invalid<'a>(part: Part, fault: Fault) -> Parsed<'a> {
    Parsed::Invalid { error: ParseError { part, fault }, message: None }
}

/// The head does not end within `bytes`.
#[cold]
fn unfinished<'a>(
    bytes: &'a [u8],
    framing: Framing,
    found: Option<(ParseError, Message<'a>)>,
) -> Parsed<'a> {
    match (framing, found) {
        (Framing::Stream, _) if bytes.len() < MESSAGE_BYTES_MAX => {
            Parsed::Partial { needed: bytes.len() + 1 }
        }
        (Framing::Stream, found) => Parsed::Invalid {
            error: ParseError { part: Part::Message, fault: Fault::TooLong },
            message: found.map(|(_, message)| message),
        },
        (Framing::Datagram, Some((error, message))) => {
            Parsed::Invalid { error, message: Some(message) }
        }
        (Framing::Datagram, None) => invalid(Part::StartLine, Fault::Truncated),
    }
}

/// RFC 3261 7.5: "implementations SHOULD ignore any CRLF appearing before the start-line".
#[inline]
fn skip_line_ends(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match bytes[at..] {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    fault: Option<ParseError>,
}

impl<'a> Reader<'a> {
    #[cold]
    fn fail(&mut self, part: Part, fault: Fault) {
        self.fault.get_or_insert(ParseError { part, fault });
    }

    /// The start line. `None` if it does not end yet, an error if not even its method, or that it
    /// is a response, can be told.
    #[inline]
    fn start_line(&mut self) -> Result<Option<StartLine<'a>>, ParseError> {
        let Some(found) = line(&self.bytes[self.at..]) else { return Ok(None) };
        let text = &self.bytes[self.at..self.at + found.len];
        self.at += found.next;
        let start =
            if is_sip_slash(text) { self.status_line(text) } else { self.request_line(text)? };
        if found.bare_cr {
            self.fail(Part::StartLine, Fault::BareCr);
        }
        Ok(Some(start))
    }

    /// `Method SP Request-URI SP SIP-Version`: single spaces, nothing behind (RFC 4475 3.1.2.8 to
    /// 3.1.2.10).
    #[inline]
    fn request_line(&mut self, text: &'a [u8]) -> Result<StartLine<'a>, ParseError> {
        let name_len = Class::TOKEN.span(text);
        let (method_bytes, rest) = text.split_at(name_len);
        let [b' ', rest @ ..] = rest else {
            return Err(ParseError { part: Part::StartLine, fault: Fault::Malformed });
        };
        if method_bytes.is_empty() {
            return Err(ParseError { part: Part::StartLine, fault: Fault::Malformed });
        }
        let method = Method::of(method_bytes);
        // The version is the last word; a space before it belongs to no URI.
        let space = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        let (uri, version) = (&rest[..space], rest.get(space + 1..).unwrap_or_default());
        if !uri.is_empty() && version.eq_ignore_ascii_case(b"SIP/2.0") {
            return Ok(StartLine::Request { method, method_bytes, uri });
        }
        let fault = if !uri.is_empty() && is_other_version(version) {
            Fault::Version
        } else {
            Fault::Malformed
        };
        self.fail(Part::StartLine, fault);
        let uri = if fault == Fault::Version { uri } else { &[] };
        Ok(StartLine::Request { method, method_bytes, uri })
    }

    /// `SIP-Version SP Status-Code SP Reason-Phrase`, where the second space is let fall if there
    /// is no phrase.
    fn status_line(&mut self, text: &'a [u8]) -> StartLine<'a> {
        let version_len = memchr::memchr(b' ', text).unwrap_or(text.len());
        let (version, rest) = text.split_at(version_len);
        if !version.eq_ignore_ascii_case(b"SIP/2.0") {
            let other = is_other_version(version);
            self.fail(Part::StartLine, if other { Fault::Version } else { Fault::Malformed });
            return StartLine::Response { status: 0, reason: &[] };
        }
        if let [b' ', c @ b'1'..=b'6', d, u, rest @ ..] = rest
            && let Some(status) = decimal(&[*c, *d, *u], 699)
            && let Some(reason) = rest.strip_prefix(b" ").or(rest.is_empty().then_some(rest))
        {
            return StartLine::Response { status: status as u16, reason };
        }
        self.fail(Part::StartLine, Fault::Malformed);
        StartLine::Response { status: 0, reason: &[] }
    }

    /// All header fields up to the empty line, which is consumed. False if there is none.
    #[inline]
    fn headers(&mut self, table: &mut HeaderTable) -> bool {
        let mut nth = 0u8;
        loop {
            match self.bytes[self.at..] {
                [b'\n', ..] => {
                    self.at += 1;
                    return true;
                }
                [b'\r', b'\n', ..] => {
                    self.at += 2;
                    return true;
                }
                [] => return false,
                _ => {}
            }
            nth = nth.saturating_add(1);
            if !self.header(nth, table) {
                return false;
            }
        }
    }

    /// One field with its folds: `header-name HCOLON header-value CRLF`. False if it does not end
    /// within the bytes.
    #[inline]
    fn header(&mut self, nth: u8, table: &mut HeaderTable) -> bool {
        let (bytes, name_at) = (self.bytes, self.at);
        // A name that is known is a token: it need not be looked at byte by byte.
        let front = bytes[name_at..].first_chunk();
        let (mut name, mut name_len) = front.map_or((HeaderName::Other, 0), HeaderName::of_front);
        let mut colon = name_at + name_len;
        if name == HeaderName::Other {
            name_len = Class::TOKEN.span(&bytes[name_at..]);
            colon = name_at + name_len;
            // Where the colon follows at once, the first look has said all there is to say.
            if front.is_none() || bytes.get(colon) != Some(&b':') {
                name = HeaderName::of(&bytes[name_at..colon]);
                // HCOLON = *( SP / HTAB ) ":" SWS
                while matches!(bytes.get(colon), Some(b' ' | b'\t')) {
                    colon += 1;
                }
            }
        }
        let has_name = name_len > 0 && bytes.get(colon) == Some(&b':');
        let value_at = if has_name { colon + 1 } else { name_at };
        // A line that begins with white space goes on with the value (RFC 3261 7.3.1).
        let (mut next, mut bare_cr) = (value_at, false);
        let end = loop {
            let Some(found) = line(&bytes[next..]) else { return false };
            let end = next + found.len;
            next += found.next;
            bare_cr |= found.bare_cr;
            if !matches!(bytes.get(next), Some(b' ' | b'\t')) {
                break end;
            }
        };
        self.at = next;
        if !has_name {
            self.fail(Part::HeaderLine(nth), Fault::Malformed);
            return true;
        }
        if name_len > HEADER_NAME_BYTES_MAX {
            self.fail(Part::HeaderLine(nth), Fault::TooLong);
            return true;
        }
        if bare_cr {
            let known = name != HeaderName::Other;
            let part = if known { Part::Header(name) } else { Part::HeaderLine(nth) };
            self.fail(part, Fault::BareCr);
        }
        let raw = &bytes[value_at..end];
        let leading = raw.iter().position(|&b| !Class::LWS.has(b)).unwrap_or(raw.len());
        let value = trim(&raw[leading..]);
        let (value_at, value_len) = (value_at + leading, value.len());
        if !table.push(Field { name, name_at, name_len, value_at, value_len }) {
            self.fail(Part::Message, Fault::TooMany);
        }
        true
    }
}

#[inline]
fn is_sip_slash(text: &[u8]) -> bool {
    matches!(text, [s, i, p, b'/', ..] if [s | 0x20, i | 0x20, p | 0x20] == *b"sip")
}

/// `SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT` of a number that is not ours.
#[cold]
fn is_other_version(text: &[u8]) -> bool {
    let digits = |b: &[u8]| !b.is_empty() && Class::DIGIT.span(b) == b.len();
    is_sip_slash(text)
        && memchr::memchr(b'.', text)
            .is_some_and(|dot| dot > 4 && digits(&text[4..dot]) && digits(&text[dot + 1..]))
}

/// What all Content-Length fields say together; they may repeat each other but not differ (RFC
/// 4475 3.3.9).
#[inline]
fn content_length(message: &Message<'_>) -> Result<Option<usize>, ParseError> {
    let mut length = None;
    for value in message.all(HeaderName::ContentLength) {
        let value = decimal_saturating(value)
            .ok_or(ParseError::header(HeaderName::ContentLength, Fault::Malformed))?;
        if length.is_some_and(|before| before != value) {
            return Err(ParseError::header(HeaderName::ContentLength, Fault::Repeated));
        }
        length = Some(value);
    }
    Ok(length.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
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
        for bad in ["SIP/2.0 ", " SIP/2.0", "SIP/2", "SIP/.0", "SIP/2.", "HTTP/1.1", "", "SIP/2.0a"]
        {
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
                assert_eq!(
                    m.start_line(),
                    StartLine::Response { status, reason: reason.as_bytes() }
                );
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
            outcome(
                format!("{bad}\r\nVia: a\r\n\r\n").as_bytes(),
                Framing::Datagram,
                |p| match p {
                    Parsed::Invalid { message, .. } => assert!(!message.unwrap().is_answerable()),
                    other => panic!("{other:?}"),
                },
            );
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
        let line = |line: &str| {
            error(&format!("A b SIP/2.0\r\nTo: x\r\n{line}\r\n\r\n"), Framing::Datagram)
        };
        for bad in ["nothing", ": x", "a b: x", "\u{e9}: x", "a\0: x", "To\r\n : x", "To \r\n : x"]
        {
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
}
