//! Challenges: the values of WWW-Authenticate or Proxy-Authenticate (RFC 7616 3.3, RFC 8760 2.4),
//! and of the header that a success may bring.

use crate::auth::digest::HashName;
use crate::auth::nonce::NonceText;
use crate::config::{Algorithms, ChallengeCode};
use crate::sip::HeaderName;
use crate::sip::writer::{Full, Writer};

/// The headers that belong to a challenge of one status (RFC 3261 22.2, 22.3). Credentials in the
/// other pair's header are for somebody else: a proxy on the way may share the realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderNames {
    /// Carries the challenge.
    pub challenge: &'static str,
    /// Carries the answer.
    pub credentials: HeaderName,
    /// Carries the next nonce with a success.
    pub info: &'static str,
}

impl HeaderNames {
    /// The headers beside `code`.
    #[must_use]
    pub const fn of(code: ChallengeCode) -> HeaderNames {
        match code {
            ChallengeCode::Unauthorized => HeaderNames {
                challenge: "WWW-Authenticate",
                credentials: HeaderName::Authorization,
                info: "Authentication-Info",
            },
            ChallengeCode::ProxyAuthenticationRequired => HeaderNames {
                challenge: "Proxy-Authenticate",
                credentials: HeaderName::ProxyAuthorization,
                info: "Proxy-Authentication-Info",
            },
        }
    }
}

/// One challenge header for each function offered, in the order in which they are written:
/// "topmost header field ... most preferred" (RFC 8760 2.4), so the strongest first.
pub fn strongest_first(offered: Algorithms) -> impl Iterator<Item = HashName> {
    [(offered.sha256, HashName::Sha256), (offered.md5, HashName::Md5)]
        .into_iter()
        .filter_map(|(is_offered, name)| is_offered.then_some(name))
}

/// Writes one header value, without name and line end. `stale` tells the phone that its password
/// was right and only the nonce is to be renewed; it is left out where it would be false.
///
/// # Errors
/// [`Full`].
pub fn write_value(
    out: &mut Writer<'_>,
    name: HashName,
    realm: &[u8],
    nonce: &NonceText,
    stale: bool,
) -> Result<(), Full> {
    out.put(b"Digest realm=")?;
    out.quoted(realm)?;
    out.put(b", nonce=\"")?;
    out.put(nonce.as_bytes())?;
    out.put(if stale { b"\", stale=true, algorithm=" } else { b"\", algorithm=" })?;
    out.put(name.token().as_bytes())?;
    out.put(b", qop=\"auth\"")
}

/// Writes a value of Authentication-Info that names the next nonce and says no more: with `qop`
/// it would owe `rspauth`, `cnonce` and `nc` too (RFC 7616 3.5), which no phone asks for.
///
/// # Errors
/// [`Full`].
pub fn write_next_nonce(out: &mut Writer<'_>, nonce: &NonceText) -> Result<(), Full> {
    out.put(b"nextnonce=\"")?;
    out.put(nonce.as_bytes())?;
    out.put(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::scan::unescape;

    fn nonce() -> NonceText {
        NonceText::plain(*b"abcdefghijklmnopqrst")
    }

    fn written(write: impl Fn(&mut Writer<'_>) -> Result<(), Full>) -> String {
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        write(&mut out).unwrap();
        String::from_utf8(out.written().to_vec()).unwrap()
    }

    fn value(name: HashName, realm: &[u8], stale: bool) -> String {
        written(|out| write_value(out, name, realm, &nonce(), stale))
    }

    #[test]
    fn value_has_realm_nonce_algorithm_and_qop() {
        assert_eq!(
            value(HashName::Md5, b"example.com", false),
            r#"Digest realm="example.com", nonce="abcdefghijklmnopqrst", algorithm=MD5, qop="auth""#
        );
        assert_eq!(
            value(HashName::Sha256, b"example.com", true),
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
        let text = value(HashName::Md5, br#"a"b\c"#, false);
        let quoted = text.strip_prefix("Digest realm=\"").unwrap();
        let raw = &quoted[..quoted.find("\", nonce").unwrap()];
        assert_eq!(unescape(raw.as_bytes()).collect::<Vec<_>>(), br#"a"b\c"#);
        for byte in (0..0x20).chain([0x7f]) {
            let text = value(HashName::Md5, &[b'a', byte], false);
            assert!(!text.contains(['\r', '\n']));
        }
    }

    #[test]
    fn rfc3261_22_3_a_407_has_the_headers_of_a_proxy() {
        let of = |code: ChallengeCode| (code.status(), HeaderNames::of(code));
        let (status, names) = of(ChallengeCode::Unauthorized);
        assert_eq!((status, names.challenge), (401, "WWW-Authenticate"));
        assert_eq!(names.credentials, HeaderName::Authorization);
        let (status, names) = of(ChallengeCode::ProxyAuthenticationRequired);
        assert_eq!((status, names.challenge), (407, "Proxy-Authenticate"));
        assert_eq!(names.credentials, HeaderName::ProxyAuthorization);
        assert_eq!(names.info, "Proxy-Authentication-Info");
    }

    #[test]
    fn rfc7616_3_5_the_next_nonce_stands_alone() {
        let text = written(|out| write_next_nonce(out, &nonce()));
        assert_eq!(text, "nextnonce=\"abcdefghijklmnopqrst\"");
    }

    #[test]
    fn short_buffer_is_refused_at_every_length() {
        let whole = value(HashName::Sha256, b"example.com", true).len();
        let write = |room: usize| {
            let mut buffer = vec![0; room];
            let mut out = Writer::new(&mut buffer);
            write_value(&mut out, HashName::Sha256, b"example.com", &nonce(), true)
        };
        for room in 0..whole {
            assert_eq!(write(room), Err(Full), "{room}");
        }
        assert_eq!(write(whole), Ok(()));
    }
}
