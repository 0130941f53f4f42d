//! Call-ID (RFC 3261 20.8).

/// The Call-ID in `value`: one word of printable ASCII.
///
/// The grammar is narrower (`word [ "@" word ]`), but nothing is done with a Call-ID except
/// comparing it byte for byte and copying it, and devices put base64 there.
#[inline]
#[must_use]
pub fn parse(value: &[u8]) -> Option<&[u8]> {
    // Without a way out in the middle, so that many bytes are looked at together.
    let valid = value.iter().fold(!value.is_empty(), |valid, &b| valid & (b > b' ') & (b < 0x7f));
    valid.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_call_id_is_one_word_of_printable_bytes() {
        for valid in [&b"a84b4c76e66710@pc33.atlanta.com"[..], b"x", b"Zm9v==", b"w~(><:\\/\"][?}{"]
        {
            assert_eq!(parse(valid), Some(valid));
        }
        for byte in 0..=255u8 {
            assert_eq!(parse(&[b'a', byte]).is_some(), byte.is_ascii_graphic(), "{byte:#x}");
        }
        assert_eq!(parse(b""), None);
    }
}
