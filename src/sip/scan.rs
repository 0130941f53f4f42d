//! Byte classes and searches: the only unsafe of L0. [`crate::sip::cursor`] reads with them.
//!
//! Knows the lexical rules of RFC 3261 25.1 (token, LWS, quoted-string, the character sets
//! of a URI) and nothing about any header.

/// A set of bytes: one bit in the table of all classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(u16);

impl Class {
    /// `token`: alphanum and ``-.!%*_+`'~``.
    pub const TOKEN: Class = Class(1);
    /// What stands unescaped between quotes: white space, `qdtext` (RFC 3261 25.1), and every
    /// byte beyond ASCII.
    pub const QUOTED: Class = Class(1 << 1);
    /// What a user part holds unescaped: unreserved and `&=+$,;?/`.
    pub const USER: Class = Class(1 << 2);
    /// What a password holds unescaped: unreserved and `&=+$,`.
    pub const PASSWORD: Class = Class(1 << 3);
    /// `paramchar` of a URI parameter: unreserved and `[]/:&+$`.
    pub const URI_PARAM: Class = Class(1 << 4);
    /// Name or value of a URI header: unreserved and `[]/?:+$`.
    pub const URI_HEADER: Class = Class(1 << 5);
    /// Host name: alphanum, `-`, `.`, and `_`, which RFC 3261 leaves out and real names have.
    pub const HOST: Class = Class(1 << 6);
    /// Unquoted value of a header parameter: token or host, so `[]:` too.
    pub const PARAM_VALUE: Class = Class(1 << 7);
    /// Linear white space, line ends of a folded value included.
    pub const LWS: Class = Class(1 << 8);
    /// What an absolute URI of any scheme may hold: printable ASCII but `<>"\^{}|` and the grave
    /// accent.
    pub const URI: Class = Class(1 << 9);
    /// `scheme` after its first letter: alphanum and `+-.`.
    pub const SCHEME: Class = Class(1 << 10);
    /// Hexadecimal digit.
    pub const HEX: Class = Class(1 << 11);
    /// Decimal digit.
    pub const DIGIT: Class = Class(1 << 12);
    /// Unquoted display name as phones send it: token and every byte of UTF-8 beyond ASCII.
    pub const DISPLAY: Class = Class(1 << 13);
    /// RFC 2396 `reserved` `;/?:@&=+$,`: the bytes that differ from their escape (19.1.4).
    pub const RESERVED: Class = Class(1 << 14);

    /// Whether `byte` is of this class.
    #[inline]
    #[must_use]
    pub const fn has(self, byte: u8) -> bool {
        classes(byte) & self.0 != 0
    }

    /// Length of the longest prefix of `bytes` that is wholly of this class.
    #[inline]
    #[must_use]
    pub fn span(self, bytes: &[u8]) -> usize {
        let mut len = 0;
        // Four at a time, one decision for all of them.
        while let Some(&[a, b, c, d]) = bytes[len..].first_chunk()
            && classes(a) & classes(b) & classes(c) & classes(d) & self.0 != 0
        {
            len += 4;
        }
        while len < bytes.len() && self.has(bytes[len]) {
            len += 1;
        }
        len
    }
}

static CLASSES: [u16; 256] = class_table();

/// All classes of `byte`.
#[inline]
const fn classes(byte: u8) -> u16 {
    CLASSES[byte as usize]
}

const fn class_table() -> [u16; 256] {
    const fn mark(mut table: [u16; 256], class: Class, bytes: &[u8]) -> [u16; 256] {
        let mut i = 0;
        while i < bytes.len() {
            table[bytes[i] as usize] |= class.0;
            i += 1;
        }
        table
    }
    let mut t = [0u16; 256];
    let everywhere = Class::TOKEN.0
        | Class::USER.0
        | Class::PASSWORD.0
        | Class::URI_PARAM.0
        | Class::URI_HEADER.0
        | Class::HOST.0
        | Class::PARAM_VALUE.0
        | Class::URI.0
        | Class::SCHEME.0
        | Class::DISPLAY.0;
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        if byte.is_ascii_alphanumeric() {
            t[b] |= everywhere;
        }
        if byte.is_ascii_hexdigit() {
            t[b] |= Class::HEX.0;
        }
        if byte.is_ascii_digit() {
            t[b] |= Class::DIGIT.0;
        }
        if byte >= 0x80 {
            t[b] |= Class::DISPLAY.0;
        }
        if byte >= b' ' && byte != 0x7f && byte != b'"' && byte != b'\\' {
            t[b] |= Class::QUOTED.0;
        }
        b += 1;
    }
    const TOKEN: &[u8] = b"-.!%*_+`'~";
    const MARK: &[u8] = b"-_.!~*'()";
    t = mark(t, Class::TOKEN, TOKEN);
    t = mark(t, Class::DISPLAY, TOKEN);
    t = mark(t, Class::USER, MARK);
    t = mark(t, Class::USER, b"&=+$,;?/");
    t = mark(t, Class::PASSWORD, MARK);
    t = mark(t, Class::PASSWORD, b"&=+$,");
    t = mark(t, Class::URI_PARAM, MARK);
    t = mark(t, Class::URI_PARAM, b"[]/:&+$");
    t = mark(t, Class::URI_HEADER, MARK);
    t = mark(t, Class::URI_HEADER, b"[]/?:+$");
    t = mark(t, Class::HOST, b"-._");
    t = mark(t, Class::PARAM_VALUE, TOKEN);
    t = mark(t, Class::PARAM_VALUE, b"[]:");
    t = mark(t, Class::LWS, b" \t\r\n");
    t = mark(t, Class::QUOTED, b"\t\r\n");
    t = mark(t, Class::URI, b"!#$%&'()*+,-./:;=?@[]_~");
    t = mark(t, Class::SCHEME, b"+-.");
    t = mark(t, Class::RESERVED, b";/?:@&=+$,");
    t
}

/// Length of the longest prefix whose bytes are of `class` or part of a whole escape, `%` and two
/// hexadecimal digits.
#[inline]
#[must_use]
pub fn escaped_span(bytes: &[u8], class: Class) -> usize {
    let mut at = 0;
    loop {
        at += class.span(&bytes[at..]);
        match bytes[at..] {
            [b'%', h, l, ..] if Class::HEX.has(h) && Class::HEX.has(l) => at += 3,
            _ => return at,
        }
    }
}

/// Whether every byte is of `class` or part of a whole escape.
#[inline]
#[must_use]
pub fn is_escaped(bytes: &[u8], class: Class) -> bool {
    escaped_span(bytes, class) == bytes.len()
}

/// Value of a hexadecimal digit of any case.
#[inline]
#[must_use]
pub const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Without the linear white space at both ends.
#[inline]
#[must_use]
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && Class::LWS.has(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && Class::LWS.has(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Whether `text` is `lower`, which is in lower case, in any case. The length is known where this
/// is compiled, so the comparison is a few words and no loop.
#[inline]
#[must_use]
pub fn eq_in_any_case<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else { return false };
    let mut differ = 0;
    for (&t, &l) in text.iter().zip(lower) {
        differ |= (t ^ l) & if l.is_ascii_lowercase() { !0x20 } else { !0 };
    }
    differ == 0
}

/// A decimal number that fills `digits`; one past `u32::MAX` counts as `u32::MAX`. `None` if
/// there is no digit or anything else.
#[inline]
#[must_use]
pub fn decimal_saturating(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u32;
    for &d in digits {
        if !d.is_ascii_digit() {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(u32::from(d - b'0'));
    }
    Some(value)
}

/// A decimal number that fills `digits` and does not exceed `max`.
#[inline]
#[must_use]
pub fn decimal(digits: &[u8], max: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &d in digits {
        if !d.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(d - b'0');
        if value > u64::from(max) {
            return None;
        }
    }
    u32::try_from(value).ok()
}

/// The bytes a quoted string means: `raw` is what stood between the quotes, each quoted-pair
/// counts as the byte behind its backslash (RFC 3261 25.1).
pub fn unescape(raw: &[u8]) -> impl Iterator<Item = u8> + Clone + '_ {
    let mut rest = raw.iter();
    std::iter::from_fn(move || match rest.next() {
        Some(b'\\') => rest.next().copied().or(Some(b'\\')),
        other => other.copied(),
    })
}

/// Whether a quoted string (`raw` as it stood between the quotes) means `plain`.
#[must_use]
pub fn unescaped_eq(raw: &[u8], plain: &[u8]) -> bool {
    raw == plain || (raw.contains(&b'\\') && unescape(raw).eq(plain.iter().copied()))
}

/// Where the line ends that begins at the start of `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Length of the line without its end.
    pub len: usize,
    /// Where the next line begins.
    pub next: usize,
    /// A CR stood in the line without an LF behind it.
    pub bare_cr: bool,
}

/// Finds the end of a line. CRLF ends it (RFC 3261 25.1); so does LF alone, which hand-made
/// clients send: a line ends at each LF either way, so no later reader can divide the message
/// differently. `None` if no LF follows.
#[inline]
#[must_use]
pub fn line(bytes: &[u8]) -> Option<Line> {
    let at = line_end(bytes)?;
    if bytes[at] == b'\n' {
        return Some(Line { len: at, next: at + 1, bare_cr: false });
    }
    if bytes.get(at + 1) == Some(&b'\n') {
        return Some(Line { len: at, next: at + 2, bare_cr: false });
    }
    line_with_bare_cr(bytes, at)
}

/// Place of the first CR or LF. Lines are short: sixteen bytes at a time without a call beat a
/// search made for long texts.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    // SAFETY: SSE2 is part of every x86_64.
    unsafe { line_end_sse2(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn line_end_sse2(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk() {
        let mask = line_end_mask(block);
        if mask != 0 {
            return Some(at + mask.trailing_zeros() as usize);
        }
        at += 16;
    }
    if at == bytes.len() {
        return None;
    }
    // The last sixteen bytes: those among them that were looked at before hold no line end.
    let Some(block) = bytes.last_chunk() else {
        return bytes.iter().position(|&b| b == b'\r' || b == b'\n');
    };
    let mask = line_end_mask(block);
    (mask != 0).then(|| bytes.len() - 16 + mask.trailing_zeros() as usize)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn line_end_mask(block: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    let block = load(block);
    let cr = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\r' as i8));
    let lf = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\n' as i8));
    _mm_movemask_epi8(_mm_or_si128(cr, lf)).cast_unsigned()
}

/// Place of the first `byte`, in the same way.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    // SAFETY: SSE2 is part of every x86_64.
    unsafe { find_sse2(byte, bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn find_sse2(byte: u8, bytes: &[u8]) -> Option<usize> {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set1_epi8};
    let wanted = _mm_set1_epi8(byte.cast_signed());
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk() {
        let mask = _mm_movemask_epi8(_mm_cmpeq_epi8(load(block), wanted)).cast_unsigned();
        if mask != 0 {
            return Some(at + mask.trailing_zeros() as usize);
        }
        at += 16;
    }
    bytes[at..].iter().position(|&b| b == byte).map(|behind| at + behind)
}

/// The same where there is no SSE2.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    memchr::memchr(byte, bytes)
}

/// The same where there is no SSE2.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\r', b'\n', bytes)
}

/// Length of a prefix of which every byte is of [`Class::QUOTED`], not always the longest one.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn quoted_prefix(bytes: &[u8]) -> usize {
    // SAFETY: SSE2 is part of every x86_64.
    unsafe { quoted_prefix_sse2(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn quoted_prefix_sse2(bytes: &[u8]) -> usize {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    let (quote, backslash) = (_mm_set1_epi8(b'"' as i8), _mm_set1_epi8(b'\\' as i8));
    let (control, delete) = (_mm_set1_epi8(0x1f), _mm_set1_epi8(0x7f));
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk() {
        let block = load(block);
        let signs = _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash));
        let controls = _mm_or_si128(
            _mm_cmpeq_epi8(_mm_min_epu8(block, control), block),
            _mm_cmpeq_epi8(block, delete),
        );
        let mask = _mm_movemask_epi8(_mm_or_si128(signs, controls));
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += 16;
    }
    at
}

/// The same where there is no SSE2: [`Class::span`] does it all.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn quoted_prefix(_: &[u8]) -> usize {
    0
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn load(block: &[u8; 16]) -> std::arch::x86_64::__m128i {
    // SAFETY: `block` is 16 readable bytes, and the load needs no alignment.
    unsafe { std::arch::x86_64::_mm_loadu_si128(block.as_ptr().cast()) }
}

#[cold]
fn line_with_bare_cr(bytes: &[u8], from: usize) -> Option<Line> {
    let lf = from + memchr::memchr(b'\n', &bytes[from..])?;
    let len = if bytes[lf - 1] == b'\r' { lf - 1 } else { lf };
    // `a\r\r\n` has one CR too many, and `a\r` up to the LF has one that is not a line end.
    Some(Line { len, next: lf + 1, bare_cr: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each class as RFC 3261 25.1 words it, decided for all 256 bytes.
    #[test]
    fn classes_hold_exactly_the_bytes_of_the_grammar() {
        let alnum = |b: u8| b.is_ascii_alphanumeric();
        let mark = |b: u8| b"-_.!~*'()".contains(&b);
        let unreserved = |b: u8| alnum(b) || mark(b);
        for b in 0..=255u8 {
            let token = alnum(b) || b"-.!%*_+`'~".contains(&b);
            assert_eq!(Class::TOKEN.has(b), token, "token {b:#x}");
            assert_eq!(Class::USER.has(b), unreserved(b) || b"&=+$,;?/".contains(&b), "{b:#x}");
            assert_eq!(Class::PASSWORD.has(b), unreserved(b) || b"&=+$,".contains(&b), "{b:#x}");
            assert_eq!(Class::URI_PARAM.has(b), unreserved(b) || b"[]/:&+$".contains(&b), "{b:#x}");
            assert_eq!(Class::URI_HEADER.has(b), unreserved(b) || b"[]/?:+$".contains(&b));
            assert_eq!(Class::HOST.has(b), alnum(b) || b == b'-' || b == b'.' || b == b'_');
            assert_eq!(Class::PARAM_VALUE.has(b), token || b == b'[' || b == b']' || b == b':');
            let quoted = b"\t\r\n".contains(&b) || (b >= 0x20 && !b"\"\\\x7f".contains(&b));
            assert_eq!(Class::QUOTED.has(b), quoted, "quoted {b:#x}");
            assert_eq!(Class::LWS.has(b), b == b' ' || b == b'\t' || b == b'\r' || b == b'\n');
            let uri = b > b' ' && b < 0x7f && !b"<>\"\\^`{|}".contains(&b);
            assert_eq!(Class::URI.has(b), uri, "uri {b:#x}");
            assert_eq!(Class::SCHEME.has(b), alnum(b) || b == b'+' || b == b'-' || b == b'.');
            assert_eq!(Class::HEX.has(b), b"0123456789abcdefABCDEF".contains(&b));
            assert_eq!(Class::DIGIT.has(b), b"0123456789".contains(&b));
            assert_eq!(Class::DISPLAY.has(b), token || b >= 0x80);
            assert_eq!(Class::RESERVED.has(b), b";/?:@&=+$,".contains(&b));
        }
    }

    #[test]
    fn an_escape_is_a_percent_sign_and_two_hex_digits_for_every_pair_of_bytes() {
        for h in 0..=255u8 {
            for l in 0..=255u8 {
                let whole = h.is_ascii_hexdigit() && l.is_ascii_hexdigit();
                assert_eq!(is_escaped(&[b'%', h, l], Class::DIGIT), whole);
            }
        }
        assert!(!is_escaped(b"%", Class::USER));
        assert!(!is_escaped(b"ab%4", Class::USER));
        assert!(is_escaped(b"", Class::USER));
    }

    #[test]
    fn a_line_ends_at_crlf_or_lf_and_reports_a_bare_cr() {
        let of = |b: &[u8]| line(b).map(|l| (l.len, l.next, l.bare_cr));
        assert_eq!(of(b"ab\r\ncd"), Some((2, 4, false)));
        assert_eq!(of(b"ab\ncd"), Some((2, 3, false)));
        assert_eq!(of(b"\r\n"), Some((0, 2, false)));
        assert_eq!(of(b"a\rb\r\n"), Some((3, 5, true)));
        assert_eq!(of(b"a\r\r\n"), Some((2, 4, true)));
        assert_eq!(of(b"a\rb\n"), Some((3, 4, true)));
        assert_eq!(of(b"ab\r"), None);
        assert_eq!(of(b"ab"), None);
        assert_eq!(of(b""), None);
    }

    /// Every byte at every place of inputs around the width of a block, against a plain search.
    #[test]
    fn the_searches_find_every_byte_at_every_place() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut text = vec![b'a'; len];
                    text[at] = byte;
                    let end = text.iter().position(|&b| b == b'\r' || b == b'\n');
                    assert_eq!(line_end(&text), end, "{len} {at} {byte:#x}");
                    let first = text.iter().position(|&b| b == byte);
                    assert_eq!(find(byte, &text), first, "{len} {at} {byte:#x}");
                    let quoted = text.iter().take_while(|&&b| Class::QUOTED.has(b)).count();
                    assert!(quoted_prefix(&text) <= quoted, "{len} {at} {byte:#x}");
                    assert_eq!(Class::QUOTED.span(&text), quoted);
                    let token = text.iter().take_while(|&&b| Class::TOKEN.has(b)).count();
                    assert_eq!(Class::TOKEN.span(&text), token);
                }
            }
        }
    }

    #[test]
    fn case_is_folded_for_letters_only() {
        for byte in 0..=255u8 {
            for lower in [b'a', b'z', b'-', b'+', b'9'] {
                let equal = byte.eq_ignore_ascii_case(&lower);
                assert_eq!(eq_in_any_case(&[b'X', byte], &[b'x', lower]), equal);
            }
        }
        assert!(!eq_in_any_case(b"ab", b"abc") && !eq_in_any_case(b"abcd", b"abc"));
    }

    #[test]
    fn a_quoted_pair_means_the_byte_behind_its_backslash() {
        assert!(unescaped_eq(b"a\\\"b\\\\", b"a\"b\\"));
        assert!(unescaped_eq(b"plain", b"plain"));
        assert!(!unescaped_eq(b"pl\\ain", b"pl\\ain2"));
    }

    #[test]
    fn numbers_over_their_limit_saturate_or_fail() {
        assert_eq!(decimal_saturating(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal_saturating(b"4294967296"), Some(u32::MAX));
        assert_eq!(decimal_saturating(&[b'9'; 400]), Some(u32::MAX));
        assert_eq!(decimal_saturating(b"0068"), Some(68));
        assert_eq!(decimal_saturating(b""), None);
        assert_eq!(decimal_saturating(b"-1"), None);
        assert_eq!(decimal(b"2147483647", i32::MAX as u32), Some(i32::MAX as u32));
        assert_eq!(decimal(b"2147483648", i32::MAX as u32), None);
        assert_eq!(decimal(&[b'9'; 400], u32::MAX), None);
        assert_eq!(decimal(b"1 ", u32::MAX), None);
    }
}
