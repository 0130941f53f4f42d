//! Expires (RFC 3261 20.19).

use crate::sip::header::contact::EXPIRES_MALFORMED_S;
use crate::sip::scan::{decimal_saturating, trim};

/// Seconds in `value`. One over 2^32-1 counts as 2^32-1 (20.19 ends there; RFC 4475 3.1.2.4), a
/// malformed one as an hour, as 20.10 says of the parameter of the same name.
#[inline]
#[must_use]
pub fn parse(value: &[u8]) -> u32 {
    decimal_saturating(trim(value)).unwrap_or(EXPIRES_MALFORMED_S)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn seconds_saturate_and_what_is_no_number_is_an_hour() {
        assert_eq!(parse(b"0"), 0);
        assert_eq!(parse(b" 60\r\n "), 60);
        assert_eq!(parse(&[b'9'; 100]), u32::MAX);
        assert_eq!(parse(b"Thu, 01 Dec 1994 16:00:00 GMT"), 3600);
        assert_eq!(parse(b""), 3600);
    }
}
