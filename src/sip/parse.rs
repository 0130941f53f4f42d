//! One pass over a message: start line, header table, body (RFC 3261 7, 18.3). Nothing is looked
//! into but Content-Length, which divides messages.

use crate::limits::{HEADER_NAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::sip::error::{Fault, ParseError, Part};
use crate::sip::header::HeaderName;
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::scan::{Class, decimal, decimal_saturating, find, line, trim};
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
        let space = find(b' ', rest).unwrap_or(rest.len());
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
        let version_len = find(b' ', text).unwrap_or(text.len());
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
        let (value_at, value_len) = match raw {
            // One space in front and none behind, as nearly everybody writes it.
            [b' ', value @ ..] if is_trimmed(value) => (value_at + 1, value.len()),
            _ => {
                let leading = Class::LWS.span(raw);
                (value_at + leading, trim(&raw[leading..]).len())
            }
        };
        if !table.push(Field { name, name_at, name_len, value_at, value_len }) {
            self.fail(Part::Message, Fault::TooMany);
        }
        true
    }
}

/// Whether there is something, and no linear white space at either end of it.
#[inline]
fn is_trimmed(value: &[u8]) -> bool {
    matches!(value, [first, ..] if !Class::LWS.has(*first))
        && matches!(value, [.., last] if !Class::LWS.has(*last))
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
        && find(b'.', text)
            .is_some_and(|dot| dot > 4 && digits(&text[4..dot]) && digits(&text[dot + 1..]))
}

/// What all Content-Length fields say together; they may repeat each other but not differ (RFC
/// 4475 3.3.9).
#[inline]
pub(super) fn content_length(message: &Message<'_>) -> Result<Option<usize>, ParseError> {
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
mod tests;
