//! Reads a Digest challenge (RFC 3261 20.44, RFC 8760). It chooses nothing: which challenge a
//! phone answers is the agent's business.

use crate::digest::Algorithm;

/// Longest value of one challenge parameter that is accepted, bytes.
pub const PARAMETER_MAX: usize = 512;

/// A challenge as the server wrote it; values without their quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Protection domain.
    pub realm: &'a [u8],
    /// What the answer is computed over.
    pub nonce: &'a [u8],
    /// Returned unchanged where not empty.
    pub opaque: &'a [u8],
    /// `None` for an algorithm that is not supported.
    pub algorithm: Option<Algorithm>,
    /// `auth` is among the offered qop values.
    pub qop_auth: bool,
    /// No qop is offered at all: the form of RFC 2069.
    pub qop_absent: bool,
    /// The credentials were right, the nonce was old.
    pub stale: bool,
}

impl<'a> Challenge<'a> {
    /// Reads a header value; `None` where it is no Digest challenge with realm and nonce.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (scheme, mut rest) = value.split_at_checked(7)?;
        if !scheme[..6].eq_ignore_ascii_case(b"digest") || !scheme[6].is_ascii_whitespace() {
            return None;
        }
        let (mut realm, mut nonce) = (None, None);
        let mut challenge = Challenge {
            realm: b"",
            nonce: b"",
            opaque: b"",
            algorithm: Some(Algorithm::Md5),
            qop_auth: false,
            qop_absent: true,
            stale: false,
        };
        while let Some((name, value, next)) = next_parameter(rest) {
            rest = next;
            // A control character would be written into the next request as it is.
            if value.len() > PARAMETER_MAX || value.iter().any(u8::is_ascii_control) {
                return None;
            }
            match name.len() {
                5 if name.eq_ignore_ascii_case(b"realm") => realm = Some(value),
                5 if name.eq_ignore_ascii_case(b"nonce") => nonce = Some(value),
                5 if name.eq_ignore_ascii_case(b"stale") => {
                    challenge.stale = value.eq_ignore_ascii_case(b"true");
                }
                6 if name.eq_ignore_ascii_case(b"opaque") => challenge.opaque = value,
                9 if name.eq_ignore_ascii_case(b"algorithm") => {
                    challenge.algorithm = Algorithm::from_token(value);
                }
                3 if name.eq_ignore_ascii_case(b"qop") => {
                    challenge.qop_absent = false;
                    challenge.qop_auth = value
                        .split(|&byte| byte == b',')
                        .any(|one| one.trim_ascii().eq_ignore_ascii_case(b"auth"));
                }
                _ => {}
            }
        }
        challenge.realm = realm?;
        challenge.nonce = nonce?;
        Some(challenge)
    }
}

/// Splits `name=value` or `name="value"` off the front, with the comma that follows.
fn next_parameter(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = memchr::memchr(b'=', rest)?;
    let name = rest[..equals].trim_ascii();
    let rest = rest[equals + 1..].trim_ascii_start();
    let (value, rest) = match rest.strip_prefix(b"\"") {
        Some(inside) => {
            let close = closing_quote(inside)?;
            (&inside[..close], &inside[close + 1..])
        }
        None => {
            let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
            (rest[..end].trim_ascii(), &rest[end..])
        }
    };
    let rest = rest.trim_ascii_start();
    Some((name, value, rest.strip_prefix(b",").unwrap_or(rest)))
}

fn closing_quote(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_whatever_the_order_and_case() {
        let challenge = Challenge::parse(
            b"DIGEST Nonce=\"a,b=\\\"c\", algorithm=SHA-256, qop=\"auth-int, auth\",\r\n \
              realm = \"example.com\" ,stale=TRUE, opaque=\"\"",
        )
        .unwrap();
        assert_eq!(challenge.realm, b"example.com");
        assert_eq!(challenge.nonce, b"a,b=\\\"c");
        assert_eq!(challenge.algorithm, Some(Algorithm::Sha256));
        assert!(challenge.qop_auth && challenge.stale && !challenge.qop_absent);
    }

    #[test]
    fn no_algorithm_means_md5_and_no_qop_the_old_form() {
        let challenge = Challenge::parse(b"Digest realm=\"r\", nonce=\"n\"").unwrap();
        assert_eq!(challenge.algorithm, Some(Algorithm::Md5));
        assert!(challenge.qop_absent && !challenge.qop_auth && !challenge.stale);
    }

    #[test]
    fn what_is_no_usable_challenge_is_refused() {
        for value in [
            &b"Basic realm=\"r\""[..],
            b"Digest",
            b"Digest ",
            b"Digest realm=\"r\"",
            b"Digest realm=\"r\", nonce=\"n\r\nContact: *\"",
            b"Digest nonce=\"n\"",
            b"Digest nonce=\"n, realm=\"r",
            b"",
        ] {
            assert_eq!(Challenge::parse(value), None, "{}", String::from_utf8_lossy(value));
        }
        let other = Challenge::parse(b"Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256");
        assert_eq!(other.unwrap().algorithm, None);
    }
}
