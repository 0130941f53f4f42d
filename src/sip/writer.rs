//! Writes into a buffer of the caller: bytes, numbers, addresses, quoted strings, and text from the
//! network of which nothing can begin a line of its own. No allocation.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::limits::MESSAGE_BYTES_MAX;
use crate::sip::scan::{Class, line_end};

/// The buffer is too small; what it holds is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Writes forward into a buffer.
#[derive(Debug)]
pub struct Writer<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    /// At the start of `buf`.
    #[inline]
    #[must_use]
    pub fn new(buf: &'b mut [u8]) -> Self {
        Writer { buf, len: 0 }
    }

    /// Bytes written.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Bytes that may still be written.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.buf.len() - self.len
    }

    /// Whether nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has been written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// Bytes there is still room for.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// Takes back everything behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Writes `bytes` as they are. They must not come from the network: see [`Writer::text`].
    ///
    /// # Errors
    /// [`Full`], as of every writer below.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len + bytes.len();
        self.buf.get_mut(self.len..end).ok_or(Full)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Writes text that came from the network, folds taken out: each line end, with the white
    /// space behind it, becomes one space (RFC 3261 7.3.1), so that no second line begins.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn text(&mut self, text: &[u8]) -> Result<(), Full> {
        if line_end(text).is_none() { self.put(text) } else { self.unfolded(text) }
    }

    #[cold]
    #[inline(never)]
    fn unfolded(&mut self, text: &[u8]) -> Result<(), Full> {
        let mut rest = text;
        while let Some(at) = line_end(rest) {
            self.put(&rest[..at])?;
            self.put(b" ")?;
            rest = &rest[at + Class::LWS.span(&rest[at..])..];
        }
        self.put(rest)
    }

    /// Writes a quoted string that means `plain` (RFC 3261 25.1). Line ends, which none can
    /// hold, become spaces; other control bytes are escaped.
    ///
    /// # Errors
    /// [`Full`].
    pub fn quoted(&mut self, plain: &[u8]) -> Result<(), Full> {
        self.put(b"\"")?;
        // Nearly every text is written as it is.
        if plain.iter().all(|&byte| Class::QUOTED.has(byte) && !matches!(byte, b'\r' | b'\n')) {
            self.put(plain)?;
            return self.put(b"\"");
        }
        for &byte in plain {
            match byte {
                b'\r' | b'\n' => self.put(b" ")?,
                b'"' | b'\\' | 0x7f => self.put(&[b'\\', byte])?,
                b if b < 0x20 && b != b'\t' => self.put(&[b'\\', b])?,
                b => self.put(&[b])?,
            }
        }
        self.put(b"\"")
    }

    /// Writes a decimal number.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn number(&mut self, mut n: u64) -> Result<(), Full> {
        let digits = n.checked_ilog10().map_or(1, |log| log as usize + 1);
        let end = self.len + digits;
        for slot in self.buf.get_mut(self.len..end).ok_or(Full)?.iter_mut().rev() {
            *slot = b'0' + (n % 10) as u8;
            n /= 10;
        }
        self.len = end;
        Ok(())
    }

    /// Writes a body with what stands in front of it: `Content-Length`, and the empty line that
    /// ends the head. The body is written behind room for the longest length, then moved up.
    ///
    /// # Errors
    /// [`Full`].
    pub fn body(
        &mut self,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        const NAME: &[u8] = b"Content-Length: ";
        const DIGITS: usize = 5;
        const END: &[u8] = b"\r\n\r\n";
        const _: () = assert!(MESSAGE_BYTES_MAX < 100_000);
        let room = self.len + NAME.len() + DIGITS + END.len();
        let mut inner = Writer::new(self.buf.get_mut(room..).ok_or(Full)?);
        write(&mut inner)?;
        let len = inner.len();
        if len > MESSAGE_BYTES_MAX {
            return Err(Full);
        }
        self.put(NAME)?;
        self.number(len as u64)?;
        self.put(END)?;
        self.buf.copy_within(room..room + len, self.len);
        self.len += len;
        Ok(())
    }

    /// Writes an address and port as sent-by and URIs have them: IPv6 in brackets (RFC 3261 25.1
    /// `hostport`).
    ///
    /// # Errors
    /// [`Full`].
    pub fn host_port(&mut self, address: SocketAddr) -> Result<(), Full> {
        let ip = address.ip().to_canonical();
        if ip.is_ipv6() {
            self.put(b"[")?;
        }
        self.ip(ip)?;
        self.put(if ip.is_ipv6() { b"]:" } else { b":" })?;
        self.number(address.port().into())
    }

    /// Writes an address as `received` has it: IPv6 without brackets (RFC 3261 25.1), an IPv4
    /// address mapped into IPv6 as the IPv4 address it is.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ip(&mut self, ip: IpAddr) -> Result<(), Full> {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let (mut text, mut len) = ([0; "255.255.255.255.".len()], 0);
                for octet in v4.octets() {
                    let digits = [octet / 100, octet / 10 % 10, octet % 10];
                    let zeros = usize::from(octet < 100) + usize::from(octet < 10);
                    for digit in &digits[zeros..] {
                        text[len] = b'0' + digit;
                        len += 1;
                    }
                    text[len] = b'.';
                    len += 1;
                }
                self.put(&text[..len - 1])
            }
            IpAddr::V6(v6) => write!(self, "{v6}").map_err(|_| Full),
        }
    }
}

impl std::fmt::Write for Writer<'_> {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.put(s.as_bytes()).map_err(|Full| std::fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::cursor::Cursor;
    use crate::sip::scan::unescaped_eq;
    use proptest::prelude::*;

    fn write(work: impl Fn(&mut Writer<'_>) -> Result<(), Full>) -> Vec<u8> {
        let mut buf = [0u8; 256];
        let mut out = Writer::new(&mut buf);
        assert!(out.is_empty());
        work(&mut out).expect("room");
        assert_eq!(out.written().len(), out.len());
        out.written().to_vec()
    }

    #[test]
    fn folds_become_one_space_and_no_line_end_is_left() {
        assert_eq!(write(|w| w.text(b"a\r\n\t b\r\n c\nd\re\r\n")), b"a b c d e ");
        assert_eq!(write(|w| w.text(b"")), b"");
    }

    #[test]
    fn addresses_stand_as_received_has_them() {
        let ip = |text: &str| write(|w| w.ip(text.parse().expect("an address")));
        assert_eq!(ip("0.10.255.1"), b"0.10.255.1");
        assert_eq!(ip("2001:db8::1"), b"2001:db8::1");
        assert_eq!(ip("::ffff:192.0.2.1"), b"192.0.2.1");
    }

    #[test]
    fn a_port_stands_behind_a_host_with_its_brackets() {
        let of = |text: &str| write(|w| w.host_port(text.parse().expect("an address")));
        assert_eq!(of("192.0.2.1:5060"), b"192.0.2.1:5060");
        assert_eq!(of("[2001:db8::1]:1"), b"[2001:db8::1]:1");
        assert_eq!(of("[::ffff:192.0.2.1]:65535"), b"192.0.2.1:65535");
    }

    #[test]
    fn a_body_stands_behind_its_own_length_or_not_at_all() {
        for len in [0, 9, 10, 120] {
            let text = write(|w| w.body(|body| body.put(&b"x".repeat(len))));
            let expected = format!("Content-Length: {len}\r\n\r\n{}", "x".repeat(len));
            assert_eq!(text, expected.as_bytes());
        }
        for room in 0..40 {
            let mut buffer = vec![0; room];
            let done = Writer::new(&mut buffer).body(|body| body.put(b"0123456789abcdef"));
            assert_eq!(done, Err(Full), "{room}");
        }
        let mut buffer = vec![0; 2 * MESSAGE_BYTES_MAX];
        let long = Writer::new(&mut buffer).body(|b| b.put(&vec![0; MESSAGE_BYTES_MAX + 1]));
        assert_eq!(long, Err(Full));
    }

    #[test]
    fn what_is_taken_back_leaves_its_room() {
        let mut buf = [0; 4];
        let mut out = Writer::new(&mut buf);
        out.put(b"abc").unwrap();
        out.truncate(1);
        assert_eq!((out.written(), out.room()), (&b"a"[..], 3));
        out.truncate(9);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn numbers_have_no_leading_zero() {
        for n in [0, 9, 10, 65535, u64::MAX] {
            assert_eq!(write(|w| w.number(n)), n.to_string().as_bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn a_quoted_string_means_what_was_written(plain in "[^\r\n]{0,40}") {
            let text = write(|w| w.quoted(plain.as_bytes()));
            let mut cursor = Cursor::new(&text);
            let raw = cursor.quoted().expect("well-formed");
            prop_assert!(cursor.is_end());
            prop_assert!(unescaped_eq(raw, plain.as_bytes()));
        }
    }
}
