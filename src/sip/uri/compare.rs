//! Comparison of URIs by RFC 3261 19.1.4.

use super::{Scheme, Uri, ipv6, pairs};
use crate::sip::scan::{Class, hex_value};

impl Uri<'_> {
    /// Whether two URIs are equal by RFC 3261 19.1.4 (for schemes other than sip and sips: byte
    /// for byte). Costs a look at each pair of parameters, [`URI_PARAMS_MAX`] squared at most:
    /// bound the length first.
    ///
    /// [`URI_PARAMS_MAX`]: crate::limits::URI_PARAMS_MAX
    #[must_use]
    pub fn equals(&self, other: &Uri<'_>) -> bool {
        if self.text == other.text {
            return true;
        }
        if self.scheme != other.scheme || matches!(self.scheme, Scheme::Tel | Scheme::Other) {
            return false;
        }
        // "The userinfo component is compared case-sensitively; everything else is not."
        option_eq(self.user, other.user, Fold::None)
            && option_eq(self.password, other.password, Fold::None)
            && hosts_eq(self.host, other.host)
            // "A URI omitting any component with a default value will not match a URI
            // explicitly containing that component with its default value."
            && self.port == other.port
            && params_match(self.params, other.params)
            && params_match(other.params, self.params)
            && headers_match(self.headers, other.headers)
            && headers_match(other.headers, self.headers)
    }
}

/// Whether letters count in one case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    None,
    Case,
}

/// "Characters other than those in the reserved set are equivalent to their % HEX HEX encoding":
/// text as a row of units, where an escaped reserved character differs from the plain one.
fn units(text: &[u8], fold: Fold) -> impl Iterator<Item = u16> + '_ {
    let mut i = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(i)?;
        i += 1;
        let (byte, escaped) = match (byte, text.get(i..i + 2)) {
            (b'%', Some(&[h, l])) => match (hex_value(h), hex_value(l)) {
                (Some(h), Some(l)) => {
                    i += 2;
                    (h << 4 | l, true)
                }
                _ => (byte, false),
            },
            _ => (byte, false),
        };
        let byte = if fold == Fold::Case { byte.to_ascii_lowercase() } else { byte };
        Some(u16::from(byte) | if escaped && Class::RESERVED.has(byte) { 0x100 } else { 0 })
    })
}

pub(super) fn units_eq(a: &[u8], b: &[u8], fold: Fold) -> bool {
    // What is the same byte for byte means the same, escapes included.
    let same = match fold {
        Fold::None => a == b,
        Fold::Case => a.eq_ignore_ascii_case(b),
    };
    same || ((a.contains(&b'%') || b.contains(&b'%')) && units(a, fold).eq(units(b, fold)))
}

fn option_eq(a: Option<&[u8]>, b: Option<&[u8]>, fold: Fold) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => units_eq(a, b, fold),
        (None, None) => true,
        _ => false,
    }
}

/// Host names in any case, addresses by value: IPv6 has many spellings (RFC 5954 4.2).
fn hosts_eq(a: &[u8], b: &[u8]) -> bool {
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    a.first() == Some(&b'[') && b.first() == Some(&b'[') && ipv6(a) == ipv6(b)
}

/// Whether each parameter of `a` matches its namesake in `b`. A user, ttl, method or maddr that
/// stands in one URI only never matches; nor does transport, by the examples of 19.1.4. Any
/// other that stands alone is ignored.
fn params_match(a: &[u8], b: &[u8]) -> bool {
    pairs(a, b';').all(|(name, value)| {
        match pairs(b, b';').find(|(other, _)| units_eq(name, other, Fold::Case)) {
            Some((_, other)) => option_eq(value, other, Fold::Case),
            None => ![&b"user"[..], b"ttl", b"method", b"maddr", b"transport"]
                .iter()
                .any(|alone| units_eq(name, alone, Fold::Case)),
        }
    })
}

/// "URI header components are never ignored": each of `a` stands in `b` with the same value.
fn headers_match(a: &[u8], b: &[u8]) -> bool {
    pairs(a, b'&').all(|(name, value)| {
        pairs(b, b'&').any(|(other, other_value)| {
            units_eq(name, other, Fold::Case) && option_eq(value, other_value, Fold::Case)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"))
    }

    fn assert_equal(a: &str, b: &str, equal: bool) {
        assert_eq!(uri(a).equals(&uri(b)), equal, "{a} against {b}");
        assert_eq!(uri(b).equals(&uri(a)), equal, "{b} against {a}");
    }

    #[test]
    fn rfc_3261_19_1_4_examples_of_equal_uris() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ] {
            assert_equal(a, b, true);
        }
    }

    #[test]
    fn rfc_3261_19_1_4_examples_of_unequal_uris() {
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ] {
            assert_equal(a, b, false);
        }
    }

    #[test]
    fn the_other_rules_of_19_1_4() {
        assert_equal("sip:a@h", "sips:a@h", false);
        assert_equal("sip:a@h", "sip:h", false);
        assert_equal("sip:a:x@h", "sip:a@h", false);
        assert_equal("sip:a:X@h", "sip:a:x@h", false);
        for alone in ["user=ip", "ttl=1", "method=INVITE", "maddr=1.2.3.4", "MADDR=1.2.3.4"] {
            assert_equal("sip:a@h", &format!("sip:a@h;{alone}"), false);
        }
        assert_equal("sip:a@h;lr", "sip:a@h;lr=on", false);
        // A reserved character is not its escape; any other is.
        assert_equal("sip:a%3bb@h", "sip:a%3Bb@h", true);
        assert_equal("sip:a%3bb@h", "sip:a;b@h", false);
        assert_equal("sip:a%2db@h", "sip:a-b@h", true);
        assert_equal("sip:a@h?x=1", "sip:a@h?x=2", false);
        assert_equal("sip:a@h?X=A", "sip:a@h?x=a", true);
    }

    #[test]
    fn ipv6_hosts_compare_by_value() {
        assert_equal("sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0:0:0:0:0:1]", true);
        assert_equal("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]", false);
        assert_equal("sip:a@[::ffff:192.0.2.1]", "sip:a@192.0.2.1", false);
    }
}
