//! One pass over an answer, keeping only what the generator checks. It borrows from the
//! datagram, never allocates and never panics; bytes may be hostile.

use memchr::{memchr, memchr2};

/// Header lines of one kind that are kept; an answer with more is malformed to us.
const CONTACT_LINES_MAX: usize = 16;
/// Challenges that are kept; later ones are ignored, as a phone would.
const CHALLENGES_MAX: usize = 4;

/// What the generator looks at in an answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Status code, 100 to 699.
    pub status: u16,
    /// `branch` of the topmost Via, empty where absent.
    pub branch: &'a [u8],
    /// Call-ID, empty where absent.
    pub call_id: &'a [u8],
    /// Number of CSeq.
    pub cseq: u32,
    /// Method of CSeq, empty where absent.
    pub method: &'a [u8],
    /// `tag` of From, empty where absent.
    pub from_tag: &'a [u8],
    /// `tag` of To, empty where absent.
    pub to_tag: &'a [u8],
    /// The Expires header, seconds.
    pub expires: Option<u32>,
    /// The Retry-After header, seconds.
    pub retry_after: Option<u32>,
    contact_lines: [&'a [u8]; CONTACT_LINES_MAX],
    contact_count: usize,
    challenges: [(&'a [u8], bool); CHALLENGES_MAX],
    challenge_count: usize,
}

/// Why a datagram is not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin with `SIP/2.0 `: a keepalive, a request, noise.
    NotAnAnswer,
    /// The status line has no status code.
    StatusLine,
    /// A header line has no colon or no end.
    HeaderLine,
    /// No empty line ends the headers.
    Unterminated,
    /// CSeq is not a number and a method.
    CSeq,
    /// More Contact lines than anybody has bindings.
    TooManyContacts,
}

impl<'a> Answer<'a> {
    /// Reads one datagram.
    pub fn scan(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let rest = datagram.strip_prefix(b"SIP/2.0 ").ok_or(Malformed::NotAnAnswer)?;
        let status = match rest {
            [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ' | b'\r', ..] => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return Err(Malformed::StatusLine),
        };
        let mut answer = Answer {
            status,
            branch: b"",
            call_id: b"",
            cseq: 0,
            method: b"",
            from_tag: b"",
            to_tag: b"",
            expires: None,
            retry_after: None,
            contact_lines: [b""; CONTACT_LINES_MAX],
            contact_count: 0,
            challenges: [(b"", false); CHALLENGES_MAX],
            challenge_count: 0,
        };
        let mut rest = after_line(rest).ok_or(Malformed::StatusLine)?;
        loop {
            match rest {
                [b'\r', b'\n', ..] => return Ok(answer),
                [] => return Err(Malformed::Unterminated),
                _ => {}
            }
            let end = line_end(rest).ok_or(Malformed::Unterminated)?;
            let (line, next) = rest.split_at(end);
            rest = next;
            let colon = memchr(b':', line).ok_or(Malformed::HeaderLine)?;
            answer.header(trim(&line[..colon]), trim(&line[colon + 1..]))?;
        }
    }

    #[inline]
    fn header(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Malformed> {
        let first = match name.first() {
            Some(first) => first | 0x20,
            None => return Err(Malformed::HeaderLine),
        };
        match (first, name.len()) {
            (b'v', 1) => self.via(value),
            (b'v', 3) if is(name, b"via") => self.via(value),
            (b'f', 1) => self.from_tag = tag(value),
            (b'f', 4) if is(name, b"from") => self.from_tag = tag(value),
            (b't', 1) => self.to_tag = tag(value),
            (b't', 2) if is(name, b"to") => self.to_tag = tag(value),
            (b'i', 1) => self.call_id = value,
            (b'c', 7) if is(name, b"call-id") => self.call_id = value,
            (b'c', 4) if is(name, b"cseq") => self.cseq(value)?,
            (b'm', 1) => self.contact(value)?,
            (b'c', 7) if is(name, b"contact") => self.contact(value)?,
            (b'e', 7) if is(name, b"expires") => self.expires = decimal(value),
            (b'r', 11) if is(name, b"retry-after") => self.retry_after = leading_decimal(value),
            (b'w', 16) if is(name, b"www-authenticate") => self.challenge(value, false),
            (b'p', 18) if is(name, b"proxy-authenticate") => self.challenge(value, true),
            _ => {}
        }
        Ok(())
    }

    fn via(&mut self, value: &'a [u8]) {
        if self.branch.is_empty() {
            let first = &value[..memchr(b',', value).unwrap_or(value.len())];
            if let Some(at) = memchr(b';', first) {
                self.branch = parameter(&first[at..], b"branch").unwrap_or(b"");
            }
        }
    }

    fn cseq(&mut self, value: &'a [u8]) -> Result<(), Malformed> {
        let space = memchr2(b' ', b'\t', value).ok_or(Malformed::CSeq)?;
        self.cseq = decimal(&value[..space]).ok_or(Malformed::CSeq)?;
        self.method = trim(&value[space..]);
        Ok(())
    }

    fn contact(&mut self, value: &'a [u8]) -> Result<(), Malformed> {
        let place =
            self.contact_lines.get_mut(self.contact_count).ok_or(Malformed::TooManyContacts)?;
        *place = value;
        self.contact_count += 1;
        Ok(())
    }

    fn challenge(&mut self, value: &'a [u8], proxy: bool) {
        if let Some(place) = self.challenges.get_mut(self.challenge_count) {
            *place = (value, proxy);
            self.challenge_count += 1;
        }
    }

    /// Every binding listed in Contact headers, in order.
    pub fn contacts(&self) -> impl Iterator<Item = Contact<'a>> + '_ {
        self.contact_lines[..self.contact_count].iter().flat_map(|line| Contacts { rest: line })
    }

    /// Every challenge in order; the flag is true for Proxy-Authenticate.
    pub fn challenges(&self) -> impl Iterator<Item = (&'a [u8], bool)> + '_ {
        self.challenges[..self.challenge_count].iter().copied()
    }
}

/// One binding as a 200 lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The URI without angle brackets.
    pub uri: &'a [u8],
    /// Everything after the URI, from the first semicolon.
    pub parameters: &'a [u8],
}

impl Contact<'_> {
    /// Its `expires` parameter, seconds.
    pub fn expires(&self) -> Option<u32> {
        parameter(self.parameters, b"expires").and_then(decimal)
    }
}

struct Contacts<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Contacts<'a> {
    type Item = Contact<'a>;

    fn next(&mut self) -> Option<Contact<'a>> {
        let rest = trim(self.rest);
        if rest.is_empty() {
            return None;
        }
        let end = unquoted(rest, |byte| byte == b',').unwrap_or(rest.len());
        let entry = &rest[..end];
        self.rest = rest.get(end + 1..).unwrap_or(b"");
        let (uri, parameters) = address(entry);
        Some(Contact { uri, parameters })
    }
}

/// Splits `"name" <uri>;parameters` or `uri;parameters` (RFC 3261 20.10).
fn address(entry: &[u8]) -> (&[u8], &[u8]) {
    let open = unquoted(entry, |byte| byte == b'<' || byte == b';');
    match open {
        Some(open) if entry[open] == b'<' => {
            let inside = &entry[open + 1..];
            let close = memchr(b'>', inside).unwrap_or(inside.len());
            let parameters = inside.get(close + 1..).unwrap_or(b"");
            (&inside[..close], trim(parameters))
        }
        Some(semicolon) => (trim(&entry[..semicolon]), &entry[semicolon..]),
        None => (trim(entry), b""),
    }
}

/// First byte outside quoted strings, and past any `<...>` before it, that `wanted` accepts.
fn unquoted(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
        } else if angle {
            angle = byte != b'>';
        } else if wanted(byte) {
            return Some(at);
        } else if byte == b'"' {
            quoted = true;
        } else if byte == b'<' {
            angle = true;
        }
    }
    None
}

/// `tag` of a From or To value.
#[inline]
fn tag(value: &[u8]) -> &[u8] {
    let parameters = match value.first() {
        // The usual form, without a display name to skip.
        Some(b'<') => &value[memchr(b'>', value).map_or(value.len(), |at| at + 1)..],
        _ => address(value).1,
    };
    parameter(parameters, b"tag").unwrap_or(b"")
}

/// Value of one parameter in `;a=b;c;d="e"`; the name is compared in any case.
#[inline]
fn parameter<'a>(mut parameters: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    loop {
        let start = memchr(b';', parameters)?;
        let rest = &parameters[start + 1..];
        let end = match memchr2(b';', b'"', rest) {
            Some(at) if rest[at] == b'"' => {
                unquoted(rest, |byte| byte == b';').unwrap_or(rest.len())
            }
            Some(at) => at,
            None => rest.len(),
        };
        let one = &rest[..end];
        let (left, right) = match memchr(b'=', one) {
            Some(at) => (&one[..at], &one[at + 1..]),
            None => (one, &b""[..]),
        };
        if is(trim(left), name) {
            return Some(trim(right));
        }
        parameters = &rest[end..];
    }
}

/// Bytes of the header line at the front of `rest`, folded continuations included
/// (RFC 3261 7.3.1).
#[inline]
fn line_end(rest: &[u8]) -> Option<usize> {
    let mut end = memchr(b'\n', rest)? + 1;
    while matches!(rest.get(end), Some(b' ' | b'\t')) {
        end += memchr(b'\n', &rest[end..])? + 1;
    }
    Some(end)
}

#[inline]
fn after_line(rest: &[u8]) -> Option<&[u8]> {
    memchr(b'\n', rest).map(|at| &rest[at + 1..])
}

#[inline]
fn is(name: &[u8], lower: &[u8]) -> bool {
    name.eq_ignore_ascii_case(lower)
}

#[inline]
fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u32::from(digit - b'0')),
        _ => None,
    })
}

fn leading_decimal(value: &[u8]) -> Option<u32> {
    decimal(&value[..value.iter().take_while(|byte| byte.is_ascii_digit()).count()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"SIP/2.0 200 OK\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:4000;rport=4000;branch=z9hG4bKabc;received=127.0.0.1\r\n\
        v: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKdeeper\r\n\
        f: \"odd;tag=no\" <sip:u1@example.com>;tag=from1\r\n\
        To: <sip:u1@example.com;tag=uri>;x=y;TAG=to1\r\n\
        CALL-ID: abc@host\r\n\
        CSeq: 17 REGISTER\r\n\
        Contact: \"a, b\" <sip:u1@127.0.0.1:4000;ob>;+sip.instance=\"<urn:x;y>\";expires=300,\r\n \
        sip:u1@127.0.0.1:4001;expires=20\r\n\
        m: <sip:u1@127.0.0.1:4002>\r\n\
        Expires: 60\r\n\
        Retry-After: 5 (soon)\r\n\
        Content-Length: 0\r\n\r\n";

    #[test]
    fn what_is_checked_is_found_in_any_spelling() {
        let answer = Answer::scan(OK).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.branch, b"z9hG4bKabc");
        assert_eq!(answer.from_tag, b"from1");
        assert_eq!(answer.to_tag, b"to1");
        assert_eq!(answer.call_id, b"abc@host");
        assert_eq!((answer.cseq, answer.method), (17, &b"REGISTER"[..]));
        assert_eq!((answer.expires, answer.retry_after), (Some(60), Some(5)));
    }

    #[test]
    fn contacts_are_split_outside_quotes_and_brackets() {
        let answer = Answer::scan(OK).unwrap();
        let contacts: Vec<_> =
            answer.contacts().map(|contact| (contact.uri, contact.expires())).collect();
        assert_eq!(
            contacts,
            [
                (&b"sip:u1@127.0.0.1:4000;ob"[..], Some(300)),
                (&b"sip:u1@127.0.0.1:4001"[..], Some(20)),
                (&b"sip:u1@127.0.0.1:4002"[..], None),
            ]
        );
    }

    #[test]
    fn a_keepalive_is_not_an_answer() {
        for noise in [&b"HELLO"[..], b"\r\n\r\n", b"", b"OPTIONS sip:u1@h SIP/2.0\r\n\r\n"] {
            assert_eq!(Answer::scan(noise).unwrap_err(), Malformed::NotAnAnswer);
        }
    }

    #[test]
    fn broken_answers_are_told_apart() {
        let broken: [(&[u8], Malformed); 5] = [
            (b"SIP/2.0 2000 OK\r\n\r\n", Malformed::StatusLine),
            (b"SIP/2.0 200 OK\r\nVia: x\r\n", Malformed::Unterminated),
            (b"SIP/2.0 200 OK\r\nVia x\r\n\r\n", Malformed::HeaderLine),
            (b"SIP/2.0 200 OK\r\nCSeq: x REGISTER\r\n\r\n", Malformed::CSeq),
            (b"SIP/2.0 200 OK\r\nCSeq: 99999999999 REGISTER\r\n\r\n", Malformed::CSeq),
        ];
        for (bytes, why) in broken {
            assert_eq!(Answer::scan(bytes).unwrap_err(), why);
        }
    }

    #[test]
    fn no_prefix_and_no_mutation_of_an_answer_panics() {
        for end in 0..OK.len() {
            if let Ok(answer) = Answer::scan(&OK[..end]) {
                answer.contacts().for_each(drop);
            }
        }
        for at in 0..OK.len() {
            for byte in [0u8, b'"', b'<', b'>', b';', b',', b'\r', b'\n', b':', b'\\', 0xff] {
                let mut bytes = OK.to_vec();
                bytes[at] = byte;
                if let Ok(answer) = Answer::scan(&bytes) {
                    answer.contacts().for_each(|contact| _ = contact.expires());
                }
            }
        }
    }
}
