//! The canonical address-of-record: what a To URI names, in one spelling (RFC 3261 10.3 step 5).
//!
//! The spelling is `user@host`:
//! - scheme, password, port, parameters (`user=phone` among them) and headers are dropped, so
//!   `sip:` and `sips:` of one user are one AOR, and a password in a URI proves nothing;
//! - escapes in the user part are undone, and then exactly the bytes that the grammar does not
//!   allow there in the clear (RFC 3261 25.1 `user`) are escaped again, with upper-case hex. So
//!   two users are the same if and only if their unescaped forms are, byte for byte;
//! - parameters inside the user part (`+1555;phone-context=x`) are part of the user, as 10.3 and
//!   19.1.4 have it, unless the configuration has them cut away;
//! - a telephone number is a user like any other: visual separators are kept, so `+1-555` and
//!   `+1555` are two users. The account is what the subscriber file says;
//! - the user keeps its case; the host is in lower case, without the dot of the root.
//!
//! `tel:` names no user of a domain, so it is no AOR of this registrar: 404 by 10.3 step 5 where
//! it stands in To; 416 is for a Request-URI (8.2.2.1).

use crate::config::UserParameters;
use crate::limits::AOR_BYTES_MAX;
use crate::sip::scan::hex_value;
use crate::sip::uri::{Scheme, Uri};

/// A canonical address-of-record, borrowed from the message where it stood in canonical form
/// already, else from the buffer it was rewritten into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aor<'a> {
    text: &'a [u8],
    user_len: usize,
}

/// Why a URI is no address-of-record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AorError {
    /// Neither sip nor sips.
    Scheme,
    /// A host alone names no user.
    NoUser,
    /// An escape that is not two hex digits.
    Escape,
    /// Longer than [`AOR_BYTES_MAX`] in canonical form.
    TooLong,
}

impl<'a> Aor<'a> {
    /// The AOR that `uri` names, parameters inside its user part kept. `buf` is written only where
    /// the text is not canonical yet.
    ///
    /// # Errors
    /// See [`AorError`].
    pub fn from_uri(uri: &Uri<'a>, buf: &'a mut [u8; AOR_BYTES_MAX]) -> Result<Aor<'a>, AorError> {
        Aor::canonical(uri, UserParameters::Keep, buf)
    }

    /// The same, with parameters inside the user part kept or cut away.
    ///
    /// # Errors
    /// See [`AorError`].
    pub fn canonical(
        uri: &Uri<'a>,
        parameters: UserParameters,
        buf: &'a mut [u8; AOR_BYTES_MAX],
    ) -> Result<Aor<'a>, AorError> {
        let scheme_len = match uri.scheme {
            Scheme::Sip => b"sip:".len(),
            Scheme::Sips => b"sips:".len(),
            Scheme::Tel | Scheme::Other => return Err(AorError::Scheme),
        };
        let user = uri.user.filter(|user| !user.is_empty()).ok_or(AorError::NoUser)?;
        let cut = parameters == UserParameters::Strip;
        let plain = user.iter().all(|&byte| stands_in_the_clear(byte) && !(cut && byte == b';'))
            && !uri.host.iter().any(u8::is_ascii_uppercase)
            && uri.host.last() != Some(&b'.')
            && uri.password.is_none();
        if plain {
            let len = user.len() + 1 + uri.host.len();
            if len > AOR_BYTES_MAX {
                return Err(AorError::TooLong);
            }
            if let Some(text) = uri.text.get(scheme_len..scheme_len + len) {
                debug_assert!(text.starts_with(user) && text.ends_with(uri.host));
                return Ok(Aor { text, user_len: user.len() });
            }
        }
        rewrite(user, cut, uri.host, buf)
    }

    /// The AOR of the same user in another domain, which is in lower case: in place of an alias the
    /// domain it stands for. `None` if it is longer than [`AOR_BYTES_MAX`].
    #[must_use]
    pub fn in_domain<'b>(
        &self,
        domain: &[u8],
        buf: &'b mut [u8; AOR_BYTES_MAX],
    ) -> Option<Aor<'b>> {
        let at = self.user_len + 1;
        let text = buf.get_mut(..at + domain.len())?;
        text[..at].copy_from_slice(&self.text[..at]);
        text[at..].copy_from_slice(domain);
        Some(Aor { text, user_len: self.user_len })
    }

    /// `user@host`.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The user part, escaped where it must be.
    #[must_use]
    pub fn user(&self) -> &'a [u8] {
        &self.text[..self.user_len]
    }

    /// The host in lower case; an IPv6 reference keeps its brackets.
    #[must_use]
    pub fn domain(&self) -> &'a [u8] {
        &self.text[self.user_len + 1..]
    }
}

#[cold]
fn rewrite<'a>(
    user: &[u8],
    cut: bool,
    host: &[u8],
    buf: &'a mut [u8; AOR_BYTES_MAX],
) -> Result<Aor<'a>, AorError> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut len = 0;
    let mut push = |byte: u8| {
        *buf.get_mut(len).ok_or(AorError::TooLong)? = byte;
        len += 1;
        Ok(())
    };
    let mut user_len = 0;
    let mut rest = user.iter();
    while let Some(&byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || rest.next().and_then(|&digit| hex_value(digit));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(AorError::Escape);
            };
            high << 4 | low
        } else {
            byte
        };
        if cut && byte == b';' {
            break;
        }
        if stands_in_the_clear(byte) {
            push(byte)?;
            user_len += 1;
        } else {
            push(b'%')?;
            push(HEX[usize::from(byte >> 4)])?;
            push(HEX[usize::from(byte & 15)])?;
            user_len += 3;
        }
    }
    if user_len == 0 {
        return Err(AorError::NoUser);
    }
    push(b'@')?;
    for byte in host.strip_suffix(b".").unwrap_or(host) {
        push(byte.to_ascii_lowercase())?;
    }
    Ok(Aor { text: &buf[..len], user_len })
}

/// RFC 3261 25.1: user = 1*( unreserved / escaped / user-unreserved ).
fn stands_in_the_clear(byte: u8) -> bool {
    const CLEAR: [bool; 256] = {
        let mut clear = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            clear[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let marks = b"-_.!~*'()&=+$,;?/";
        let mut at = 0;
        while at < marks.len() {
            clear[marks[at] as usize] = true;
            at += 1;
        }
        clear
    };
    CLEAR[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Result<String, AorError> {
        let uri = Uri::parse(text.as_bytes()).expect("a valid URI");
        let mut buf = [0; AOR_BYTES_MAX];
        let aor = Aor::from_uri(&uri, &mut buf)?;
        assert_eq!([aor.user(), b"@", aor.domain()].concat(), aor.text());
        Ok(String::from_utf8(aor.text().to_vec()).expect("ASCII"))
    }

    #[test]
    fn what_is_not_part_of_the_address_is_dropped() {
        for text in [
            "sip:alice@example.com",
            "sips:alice@example.com",
            "SIP:alice@EXAMPLE.com:5060",
            "sip:alice:secret@example.com",
            "sip:alice@example.com;transport=tcp",
            "sip:alice@example.com:5070;user=phone?subject=x",
            "sip:%61lice@example.com",
            "sip:%61%6Cic%65:pw@Example.Com;lr",
        ] {
            assert_eq!(canonical(text).as_deref(), Ok("alice@example.com"), "{text}");
        }
    }

    #[test]
    fn the_user_part_keeps_its_case() {
        assert_ne!(canonical("sip:Alice@example.com"), canonical("sip:alice@example.com"));
    }

    #[test]
    fn an_escape_that_must_stay_has_one_spelling() {
        assert_eq!(canonical("sip:a%3ab@h.example").as_deref(), Ok("a%3Ab@h.example"));
        assert_eq!(canonical("sip:a%40%20b@h.example").as_deref(), Ok("a%40%20b@h.example"));
        assert_eq!(canonical("sip:a%2525@h.example").as_deref(), Ok("a%2525@h.example"));
        assert_eq!(canonical("sip:a%00b@h.example").as_deref(), Ok("a%00b@h.example"));
        // Reserved, but allowed in the clear in a user part: RFC 3261 10.3 step 5 unescapes it.
        assert_eq!(canonical("sip:a%3Bx@h.example").as_deref(), Ok("a;x@h.example"));
    }

    #[test]
    fn an_ipv6_reference_keeps_its_brackets() {
        assert_eq!(canonical("sip:a@[2001:DB8::1]:5060").as_deref(), Ok("a@[2001:db8::1]"));
    }

    #[test]
    fn canonical_text_is_borrowed_from_the_message() {
        let text = b"sip:alice@example.com:5060;lr";
        let uri = Uri::parse(text).unwrap();
        let mut buf = [0; AOR_BYTES_MAX];
        let aor = Aor::from_uri(&uri, &mut buf).unwrap();
        assert!(std::ptr::eq(aor.text(), &text[4..21]));
    }

    #[test]
    fn the_dot_of_the_root_is_no_part_of_a_host() {
        assert_eq!(canonical("sip:a@h.example.").as_deref(), Ok("a@h.example"));
        assert_eq!(canonical("sip:a@H.Example.:5060").as_deref(), Ok("a@h.example"));
    }

    #[test]
    fn parameters_inside_the_user_part_are_kept_or_cut_away() {
        let of = |text: &str, parameters| {
            let uri = Uri::parse(text.as_bytes()).unwrap();
            let mut buf = [0; AOR_BYTES_MAX];
            let aor = Aor::canonical(&uri, parameters, &mut buf);
            aor.map(|aor| String::from_utf8(aor.text().to_vec()).unwrap())
        };
        use UserParameters::{Keep, Strip};
        let phone = "sip:+1-555;phone-context=x@h.example;user=phone";
        assert_eq!(of(phone, Keep).as_deref(), Ok("+1-555;phone-context=x@h.example"));
        assert_eq!(of(phone, Strip).as_deref(), Ok("+1-555@h.example"));
        // An escaped semicolon is the same character (RFC 3261 10.3 step 5), so it is cut too.
        assert_eq!(of("sip:a%3Bx@h.example", Strip).as_deref(), Ok("a@h.example"));
        assert_eq!(of("sip:a@h.example", Strip).as_deref(), Ok("a@h.example"));
        assert_eq!(of("sip:;x@h.example", Strip), Err(AorError::NoUser));
        assert_eq!(of("sip:%3bx@h.example", Strip), Err(AorError::NoUser));
    }

    #[test]
    fn a_password_in_the_uri_and_user_phone_are_no_part_of_it() {
        let plain = canonical("sip:alice:secret@h.example;user=phone?x=y");
        assert_eq!(plain.as_deref(), Ok("alice@h.example"));
    }

    #[test]
    fn what_names_no_sip_user_is_refused() {
        assert_eq!(canonical("sip:example.com"), Err(AorError::NoUser));
        assert_eq!(canonical("tel:+15551234"), Err(AorError::Scheme));
        assert_eq!(canonical("http://example.com/"), Err(AorError::Scheme));
    }

    #[test]
    fn the_longest_address_fits_and_one_byte_more_does_not() {
        let user = "u".repeat(AOR_BYTES_MAX - "@example.com".len());
        assert!(canonical(&format!("sip:{user}@example.com")).is_ok());
        assert!(canonical(&format!("sip:{user}@EXAMPLE.com")).is_ok());
        assert_eq!(canonical(&format!("sip:{user}u@example.com")), Err(AorError::TooLong));
        assert_eq!(canonical(&format!("sip:{user}u@EXAMPLE.com")), Err(AorError::TooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_escaping_of_a_user_is_the_same_aor(
            user in proptest::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 1..24),
        ) {
            let spell = |all: bool| {
                let mut text = b"sip:".to_vec();
                for &(byte, escape, upper) in &user {
                    if all || escape || !stands_in_the_clear(byte) {
                        let hex = format!("%{byte:02x}");
                        let hex = if upper { hex.to_ascii_uppercase() } else { hex };
                        text.extend_from_slice(hex.as_bytes());
                    } else {
                        text.push(byte);
                    }
                }
                text.extend_from_slice(b"@example.com");
                String::from_utf8(text).unwrap()
            };
            let once = canonical(&spell(false)).unwrap();
            prop_assert_eq!(&once, &canonical(&spell(true)).unwrap());
            prop_assert_eq!(&once, &canonical(&format!("sip:{once}")).unwrap());
        }
    }
}
