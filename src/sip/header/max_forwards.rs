//! Max-Forwards (RFC 3261 20.22).

use crate::sip::scan::{decimal, trim};

/// Hops that are left, 0 to 255.
#[inline]
#[must_use]
pub fn parse(value: &[u8]) -> Option<u8> {
    u8::try_from(decimal(trim(value), u32::from(u8::MAX))?).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn hops_are_0_to_255() {
        assert_eq!(parse(b"0068"), Some(68));
        assert_eq!(parse(b" 255 "), Some(255));
        for bad in [&b"256"[..], b"300", b"", b"-1", b"7x"] {
            assert_eq!(parse(bad), None);
        }
    }
}
