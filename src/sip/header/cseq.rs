//! CSeq (RFC 3261 20.16).

use crate::sip::cursor::Cursor;
use crate::sip::scan::{Class, decimal};

/// Largest sequence number: it MUST be less than 2^31 (RFC 3261 8.1.1.5).
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

/// Sequence number and method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// 0 to 2^31 - 1.
    pub number: u32,
    /// Method as it stood.
    pub method: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads `1*DIGIT LWS Method`.
    #[inline]
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<CSeq<'a>> {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        let number = decimal(cursor.take(Class::DIGIT), CSEQ_MAX)?;
        if !Class::LWS.has(cursor.peek()?) {
            return None;
        }
        cursor.lws();
        let method = cursor.take(Class::TOKEN);
        cursor.lws();
        (!method.is_empty() && cursor.is_end()).then_some(CSeq { number, method })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_number_is_below_two_to_the_31_rfc_3261_8_1_1_5() {
        let number = |v: &str| CSeq::parse(v.as_bytes()).map(|c| c.number);
        assert_eq!(number("2147483647 REGISTER"), Some(CSEQ_MAX));
        assert_eq!(number("2147483648 REGISTER"), None);
        assert_eq!(number("36893488147419103232 REGISTER"), None);
        assert_eq!(number("0009\r\n  INVITE"), Some(9));
        for bad in ["", "1", "1REGISTER", "REGISTER", "-1 REGISTER", "1 REG ISTER", "1 a/b"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            n in 0..=CSEQ_MAX, method in "[A-Z!%'*+._`~-]{1,10}", gap in "[ \t]{1,3}(\r\n )?",
        ) {
            let text = format!("{n}{gap}{method}");
            let expected = CSeq { number: n, method: method.as_bytes() };
            prop_assert_eq!(CSeq::parse(text.as_bytes()), Some(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(value in any::<Vec<u8>>()) {
            let _ = CSeq::parse(&value);
        }
    }
}
