//! A cursor over a header value: bytes, white space, runs of a class, quoted strings (RFC 3261
//! 25.1). What they mean is the business of each header.

use crate::sip::scan::{Class, quoted_prefix};

/// Reads forward through a header value.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Bytes consumed so far.
    #[inline]
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// What has not been consumed.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The cursor `bytes` further on, at most at the end.
    #[inline]
    #[must_use]
    pub fn past(&self, bytes: usize) -> Self {
        let at = self.at.saturating_add(bytes).min(self.bytes.len());
        Cursor { bytes: self.bytes, at }
    }

    /// What was consumed since `start`, an earlier value of [`Cursor::at`].
    #[inline]
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// Whether everything is consumed.
    #[inline]
    #[must_use]
    pub const fn is_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next byte, not consumed.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Consumes `byte` if it is next.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Consumes the longest run of `class`, which may be empty.
    #[inline]
    pub fn take(&mut self, class: Class) -> &'a [u8] {
        let rest = self.rest();
        let taken = &rest[..class.span(rest)];
        self.at += taken.len();
        taken
    }

    /// Consumes linear white space.
    #[inline]
    pub fn lws(&mut self) {
        // It is one space nearly always, or none.
        while self.peek().is_some_and(|b| Class::LWS.has(b)) {
            self.at += 1;
        }
    }

    /// Consumes `byte` with white space on both sides, as in `SEMI`, `COMMA`, `EQUAL`. Where it
    /// is not next, nothing but the white space is consumed.
    #[inline]
    pub fn eat_spaced(&mut self, byte: u8) -> bool {
        let found = self.eat(byte) || {
            self.lws();
            self.eat(byte)
        };
        if found {
            self.lws();
        }
        found
    }

    /// Consumes a quoted string whose opening quote is next; gives what stands between the
    /// quotes. `None` if it does not close, or holds a control byte that no quoted-pair escapes
    /// (qdtext; quoted-pair is %x00-09 / %x0B-0C / %x0E-7F).
    pub fn quoted(&mut self) -> Option<&'a [u8]> {
        let [b'"', rest @ ..] = self.rest() else { return None };
        let mut len = 0;
        loop {
            len += quoted_prefix(&rest[len..]);
            if rest.get(len) != Some(&b'"') {
                len += Class::QUOTED.span(&rest[len..]);
            }
            match rest[len..] {
                [b'"', ..] => {
                    self.at += len + 2;
                    return Some(&rest[..len]);
                }
                [b'\\', escaped, ..] if escaped < 0x80 && escaped != b'\r' && escaped != b'\n' => {
                    len += 2;
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_closes_at_the_first_quote_that_no_backslash_escapes() {
        let of = |b: &'static [u8]| Cursor::new(b).quoted();
        assert_eq!(of(b"\"a\\\"b\"c"), Some(&b"a\\\"b"[..]));
        assert_eq!(of(b"\"\""), Some(&b""[..]));
        assert_eq!(of(b"\"a\r\n b\""), Some(&b"a\r\n b"[..]));
        assert_eq!(of(b"\"\\\0\\\x7f\""), Some(&b"\\\0\\\x7f"[..]));
        assert_eq!(of(b"\"a\0\""), None);
        assert_eq!(of(b"\"a"), None);
        assert_eq!(of(b"\"a\\\""), None);
        assert_eq!(of(b"\"a\\"), None);
        assert_eq!(of(b"\"\\\r\n\""), None);
        assert_eq!(of(b"a"), None);
    }

    #[test]
    fn a_sign_takes_the_white_space_around_it() {
        let mut cursor = Cursor::new(b"a\r\n ;\t b");
        assert_eq!(cursor.take(Class::TOKEN), b"a");
        assert!(!cursor.eat_spaced(b','));
        assert!(cursor.eat_spaced(b';'));
        assert_eq!((cursor.at(), cursor.rest()), (7, &b"b"[..]));
        assert!(cursor.eat(b'b') && cursor.is_end() && !cursor.eat(b'b'));
        assert_eq!(cursor.past(9).at(), 8);
        assert_eq!(cursor.since(5), b"\t b");
        assert_eq!(cursor.peek(), None);
    }
}
