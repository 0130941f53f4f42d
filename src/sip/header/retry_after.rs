//! Retry-After (RFC 3261 20.33), as it comes back from somebody else's 503 or 480.

use crate::sip::cursor::Cursor;
use crate::sip::scan::{Class, decimal_saturating};

/// Seconds to wait; a comment and parameters behind them say nothing that is obeyed.
#[must_use]
pub fn parse(value: &[u8]) -> Option<u32> {
    let mut cursor = Cursor::new(value);
    cursor.lws();
    let seconds = decimal_saturating(cursor.take(Class::DIGIT))?;
    cursor.lws();
    matches!(cursor.peek(), None | Some(b'(' | b';')).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn seconds_stand_first_and_alone() {
        assert_eq!(parse(b"18000;duration=3600"), Some(18000));
        assert_eq!(parse(b" 120 (I'm in a meeting)"), Some(120));
        assert_eq!(parse(&[b'9'; 40]), Some(u32::MAX));
        for bad in [&b""[..], b"x", b"-1", b"1.5", b"1 2"] {
            assert_eq!(parse(bad), None);
        }
    }
}
