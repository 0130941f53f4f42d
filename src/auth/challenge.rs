//! Challenges: the values of WWW-Authenticate or Proxy-Authenticate (RFC 7616 3.3, RFC 8760 2.4).

use crate::auth::digest::HashName;
use crate::auth::nonce::{NONCE_TEXT_BYTES, NonceText};
use crate::config::Algorithms;
use crate::limits::CHALLENGE_VALUE_BYTES_MAX;

/// One challenge header for each function offered, in the order in which they are written:
/// "topmost header field ... most preferred" (RFC 8760 2.4), so the strongest first.
pub fn strongest_first(offered: Algorithms) -> impl Iterator<Item = HashName> {
    [(offered.sha256, HashName::Sha256), (offered.md5, HashName::Md5)]
        .into_iter()
        .filter_map(|(is_offered, name)| is_offered.then_some(name))
}

/// Writes one header value, without name and line end, to the front of `out` and gives its
/// length. `stale` tells the phone that its password was right and only the nonce is to be
/// renewed; it is left out where it would be false.
///
/// `None` if it does not fit, or if the realm has a control character, which no quoted string can
/// carry (RFC 3261 25.1); `out` then holds nothing of use.
#[must_use]
pub fn write_value(
    name: HashName,
    realm: &[u8],
    nonce: &NonceText,
    stale: bool,
    out: &mut [u8],
) -> Option<usize> {
    let mut value = Value { out, len: 0 };
    value.push(b"Digest realm=\"")?;
    if realm.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f)) {
        value.push_escaped(realm)?;
    } else {
        value.push(realm)?;
    }
    value.push(b"\", nonce=\"")?;
    value.push(nonce.as_bytes())?;
    value.push(b"\"")?;
    if stale {
        value.push(b", stale=true")?;
    }
    value.push(b", algorithm=")?;
    value.push(name.token().as_bytes())?;
    value.push(b", qop=\"auth\"")?;
    Some(value.len)
}

struct Value<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Value<'_> {
    fn push(&mut self, text: &[u8]) -> Option<()> {
        let end = self.len + text.len();
        self.out.get_mut(self.len..end)?.copy_from_slice(text);
        self.len = end;
        Some(())
    }

    #[cold]
    fn push_escaped(&mut self, text: &[u8]) -> Option<()> {
        for &byte in text {
            match byte {
                0..0x20 | 0x7f => return None,
                b'"' | b'\\' => self.push(&[b'\\', byte])?,
                _ => self.push(&[byte])?,
            }
        }
        Some(())
    }
}

/// Everything but the realm, at its longest.
const FRAME: usize = b"Digest realm=\"\", nonce=\"\", stale=true, algorithm=SHA-256, qop=\"auth\""
    .len()
    + NONCE_TEXT_BYTES;
/// A host name has 255 bytes at most (RFC 1035 2.3.4).
const _: () = assert!(FRAME + 255 <= CHALLENGE_VALUE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::scan::unescape;

    const NONCE: NonceText = NonceText(*b"abcdefghijklmnopqrst");

    fn value(name: HashName, realm: &[u8], stale: bool) -> Option<String> {
        let mut out = [0; CHALLENGE_VALUE_BYTES_MAX];
        let len = write_value(name, realm, &NONCE, stale, &mut out)?;
        Some(String::from_utf8(out[..len].to_vec()).unwrap())
    }

    #[test]
    fn value_has_realm_nonce_algorithm_and_qop() {
        assert_eq!(
            value(HashName::Md5, b"example.com", false).unwrap(),
            r#"Digest realm="example.com", nonce="abcdefghijklmnopqrst", algorithm=MD5, qop="auth""#
        );
        assert_eq!(
            value(HashName::Sha256, b"example.com", true).unwrap(),
            "Digest realm=\"example.com\", nonce=\"abcdefghijklmnopqrst\", stale=true, \
             algorithm=SHA-256, qop=\"auth\""
        );
    }

    #[test]
    fn rfc8760_2_4_strongest_algorithm_comes_first() {
        let order = |offered| strongest_first(offered).collect::<Vec<_>>();
        assert_eq!(order(Algorithms::BOTH), [HashName::Sha256, HashName::Md5]);
        assert_eq!(order(Algorithms::MD5), [HashName::Md5]);
        assert_eq!(order(Algorithms::SHA256), [HashName::Sha256]);
        assert_eq!(order(Algorithms { sha256: false, md5: false }), []);
    }

    #[test]
    fn realm_is_escaped_and_cannot_break_out_of_the_header() {
        let text = value(HashName::Md5, br#"a"b\c"#, false).unwrap();
        let quoted = text.strip_prefix("Digest realm=\"").unwrap();
        let raw = &quoted[..quoted.find("\", nonce").unwrap()];
        assert_eq!(unescape(raw.as_bytes()).collect::<Vec<_>>(), br#"a"b\c"#);
        for byte in (0..0x20).chain([0x7f]) {
            assert_eq!(value(HashName::Md5, &[b'a', byte], false), None);
        }
    }

    #[test]
    fn short_buffer_is_refused_at_every_length() {
        let whole = value(HashName::Sha256, b"example.com", true).unwrap().len();
        for room in 0..whole {
            let mut out = vec![0; room];
            let len = write_value(HashName::Sha256, b"example.com", &NONCE, true, &mut out);
            assert_eq!(len, None, "{room}");
        }
        let mut out = vec![0; whole];
        let len = write_value(HashName::Sha256, b"example.com", &NONCE, true, &mut out);
        assert_eq!(len, Some(whole));
    }
}
