//! What a server sends without being asked: keepalives in their forms, and requests. Tells them
//! apart and writes the 200 that an OPTIONS gets. Counting and sending are others' business;
//! bytes may be hostile.

use super::write::Writer;
use memchr::memchr;

/// Via lines of a request that are answered to; one with more is not.
const VIAS_MAX: usize = 16;
/// RFC 5389 6: bytes 4 to 7 of every STUN message.
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Length of a STUN header.
const STUN_BYTES_MIN: usize = 20;

/// A datagram that is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// A keepalive.
    Keepalive(Form),
    /// A request other than OPTIONS.
    Request,
}

/// The forms of a keepalive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any bytes that are none of the others, an empty datagram too.
    Raw,
    /// Line ends alone (RFC 5626 4.4.1).
    Crlf,
    /// A STUN message (RFC 5389).
    Stun,
    /// OPTIONS (RFC 3261 11): the one that wants an answer.
    Options,
}

impl Form {
    /// All of them, in order.
    pub const ALL: [Form; 4] = [Form::Raw, Form::Crlf, Form::Stun, Form::Options];

    /// Short name for machines.
    pub const fn key(self) -> &'static str {
        match self {
            Form::Raw => "raw",
            Form::Crlf => "crlf",
            Form::Stun => "stun",
            Form::Options => "options",
        }
    }
}

impl Unasked {
    /// What a datagram is; `None` for a SIP answer, right or broken.
    #[inline]
    pub fn of(datagram: &[u8]) -> Option<Unasked> {
        if datagram.starts_with(b"SIP/2.0 ") {
            return None;
        }
        Some(Unasked::Keepalive(match datagram {
            [] => Form::Raw,
            bytes if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => Form::Crlf,
            bytes if is_stun(bytes) => Form::Stun,
            bytes => match method(bytes) {
                Some(b"OPTIONS") => Form::Options,
                Some(_) => return Some(Unasked::Request),
                None => Form::Raw,
            },
        }))
    }
}

/// RFC 5389 6: the first two bits are zero, the cookie is in its place.
fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= STUN_BYTES_MIN && bytes[0] & 0xc0 == 0 && bytes[4..8] == STUN_COOKIE
}

/// The method, where the first line is a SIP request's.
fn method(bytes: &[u8]) -> Option<&[u8]> {
    let line = bytes[..memchr(b'\n', bytes)?].trim_ascii_end();
    let rest = line.strip_suffix(b" SIP/2.0")?;
    let space = memchr(b' ', rest)?;
    let is_token = !rest[..space].is_empty() && rest[..space].iter().all(u8::is_ascii_graphic);
    is_token.then_some(&rest[..space])
}

/// Writes the 200 to a request (RFC 3261 8.2.6), `tag` as the phone's own in To. It goes back to
/// where the request came from, so Via is copied as it is. `None` where a header that the answer
/// copies is missing or the room is too small.
pub fn write_ok(request: &[u8], tag: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let mut vias = [&b""[..]; VIAS_MAX];
    let mut via_count = 0;
    let [mut from, mut to, mut call_id, mut cseq] = [&b""[..]; 4];
    for line in Lines(&request[memchr(b'\n', request)? + 1..]) {
        let Some(colon) = memchr(b':', line) else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let is = |long: &[u8], short: &[u8]| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
        };
        if is(b"via", b"v") {
            *vias.get_mut(via_count)? = value;
            via_count += 1;
        } else if is(b"from", b"f") {
            from = value;
        } else if is(b"to", b"t") {
            to = value;
        } else if is(b"call-id", b"i") {
            call_id = value;
        } else if is(b"cseq", b"cseq") {
            cseq = value;
        }
    }
    let copied = [from, to, call_id, cseq];
    if via_count == 0 || copied.iter().any(|value| value.is_empty()) {
        return None;
    }
    let mut out = Writer::new(buffer);
    out.put(b"SIP/2.0 200 OK\r\n");
    let named = vias[..via_count].iter().map(|via| (&b"Via: "[..], *via));
    let rest = [&b"From: "[..], b"To: ", b"Call-ID: ", b"CSeq: "].into_iter().zip(copied);
    for (name, value) in named.chain(rest) {
        out.put(name);
        out.put(value);
        if name == b"To: " {
            out.put(b";tag=");
            out.put(tag);
        }
        out.put(b"\r\n");
    }
    out.put(b"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY\r\nContent-Length: 0\r\n\r\n");
    out.finish()
}

/// The header lines up to the empty one, each with its folded continuations.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut end = memchr(b'\n', self.0)? + 1;
        if self.0[..end].trim_ascii().is_empty() {
            return None;
        }
        while matches!(self.0.get(end), Some(b' ' | b'\t')) {
            end += memchr(b'\n', &self.0[end..])? + 1;
        }
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::scan::Answer;

    const OPTIONS: &[u8] = b"OPTIONS sip:u1@10.0.0.2:5060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKp1\r\n\
        v: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKp0\r\n\
        Max-Forwards: 70\r\n\
        f: <sip:ping@192.0.2.1>\r\n ;tag=abc\r\n\
        To: <sip:u1@10.0.0.2:5060>\r\n\
        i: ping-1\r\n\
        CSeq: 3 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";

    #[test]
    fn every_form_is_told_by_its_bytes() {
        let mut stun = [0u8; 20];
        stun[..2].copy_from_slice(&[0x00, 0x11]);
        stun[4..8].copy_from_slice(&STUN_COOKIE);
        let keepalive = |form| Some(Unasked::Keepalive(form));
        for (bytes, expected) in [
            (&b"HELLO"[..], keepalive(Form::Raw)),
            (b"", keepalive(Form::Raw)),
            (b"\0\0\0\0", keepalive(Form::Raw)),
            (b"HELLO sip:x SIP/2.1\r\n", keepalive(Form::Raw)),
            (b"\r\n\r\n", keepalive(Form::Crlf)),
            (b"\r\n", keepalive(Form::Crlf)),
            (&stun, keepalive(Form::Stun)),
            (&stun[..19], keepalive(Form::Raw)),
            (OPTIONS, keepalive(Form::Options)),
            (b"NOTIFY sip:u1@h SIP/2.0\r\n\r\n", Some(Unasked::Request)),
            (b"SIP/2.0 200 OK\r\n\r\n", None),
            (b"SIP/2.0 broken", None),
        ] {
            assert_eq!(Unasked::of(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn rfc3261_8_2_6_2_the_answer_copies_what_it_must_and_adds_a_tag() {
        let mut buffer = [0u8; 1000];
        let length = write_ok(OPTIONS, b"mine", &mut buffer).unwrap();
        let answer = Answer::scan(&buffer[..length]).unwrap();
        assert_eq!((answer.status, answer.branch), (200, &b"z9hG4bKp1"[..]));
        assert_eq!((answer.from_tag, answer.to_tag), (&b"abc"[..], &b"mine"[..]));
        assert_eq!((answer.call_id, answer.cseq), (&b"ping-1"[..], 3));
        assert_eq!(answer.method, b"OPTIONS");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let vias: Vec<_> = text.lines().filter(|line| line.starts_with("Via: ")).collect();
        assert_eq!(vias.len(), 2);
        assert!(vias[0].ends_with("z9hG4bKp1") && vias[1].ends_with("z9hG4bKp0"));
    }

    #[test]
    fn a_request_that_cannot_be_answered_is_not() {
        let mut buffer = [0u8; 1000];
        let text = String::from_utf8_lossy(OPTIONS).into_owned();
        for missing in ["f: ", "To: ", "i: ", "CSeq: "] {
            let without = text.replace(missing, "X-Y: ");
            assert_eq!(write_ok(without.as_bytes(), b"t", &mut buffer), None, "{missing}");
        }
        let without = text.replace("Via: ", "X-Y: ").replace("v: ", "X-Y: ");
        assert_eq!(write_ok(without.as_bytes(), b"t", &mut buffer), None);
        assert_eq!(write_ok(OPTIONS, b"t", &mut [0u8; 60]), None);
    }

    #[test]
    fn no_prefix_and_no_mutation_of_a_request_panics() {
        let mut buffer = [0u8; 1000];
        let mut look = |bytes: &[u8]| {
            let _ = Unasked::of(bytes);
            let _ = write_ok(bytes, b"t", &mut buffer);
        };
        (0..OPTIONS.len()).for_each(|end| look(&OPTIONS[..end]));
        for at in 0..OPTIONS.len() {
            for byte in [0, b'\r', b'\n', b':', b' ', 0xff] {
                let mut bytes = OPTIONS.to_vec();
                bytes[at] = byte;
                look(&bytes);
            }
        }
    }
}
