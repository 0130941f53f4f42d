//! Digest arithmetic of RFC 2617, 7616 and 8760: MD5 and SHA-256 with qop=auth, and the form
//! without qop. It knows hashes, not headers.

use md5::Md5;
use sha2::{Digest as _, Sha256};

/// Hash of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Algorithm {
    /// `MD5` (RFC 2617).
    Md5,
    /// `SHA-256` (RFC 8760).
    Sha256,
}

impl Algorithm {
    /// The algorithm a token names, in any case; session variants are not supported.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        if token.eq_ignore_ascii_case(b"MD5") {
            Some(Algorithm::Md5)
        } else if token.eq_ignore_ascii_case(b"SHA-256") {
            Some(Algorithm::Sha256)
        } else {
            None
        }
    }

    /// The token as it is written in headers.
    pub const fn token(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Hexadecimal digest of the bytes.
    #[inline]
    pub fn hash(self, bytes: &[u8]) -> Hex {
        match self {
            Algorithm::Md5 => Hex::encode(&Md5::digest(bytes)),
            Algorithm::Sha256 => Hex::encode(&Sha256::digest(bytes)),
        }
    }
}

/// A digest in lower-case hexadecimal: 32 digits for MD5, 64 for SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex {
    digits: [u8; 64],
    length: u8,
}

impl Hex {
    #[inline]
    fn encode(bytes: &[u8]) -> Self {
        let mut digits = [0u8; 64];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        Hex { digits, length: (bytes.len() * 2) as u8 }
    }

    /// The digits.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[..usize::from(self.length)]
    }
}

#[inline]
const fn digit(nibble: u8) -> u8 {
    // Without a branch, so that the compiler may take many digits at once.
    nibble + b'0' + (nibble > 9) as u8 * (b'a' - b'0' - 10)
}

/// HA1: what stands for the password (RFC 7616 3.4.2).
pub fn ha1(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> Hex {
    algorithm.hash(&[user, b":", realm, b":", password].concat())
}

/// HA2: what stands for the request (RFC 7616 3.4.3).
pub fn ha2(algorithm: Algorithm, method: &[u8], uri: &[u8]) -> Hex {
    algorithm.hash(&[method, b":", uri].concat())
}

/// Longest text that is hashed without going through the heap: HA1, nonce, nc, cnonce, qop, HA2.
const TEXT_MAX: usize = 64 + 512 + 8 + 8 + 4 + 64 + 5;

/// The response (RFC 7616 3.4.1). `count` is nc and cnonce where qop=auth is used.
#[inline]
pub fn response(
    algorithm: Algorithm,
    ha1: &[u8],
    nonce: &[u8],
    count: Option<([u8; 8], [u8; 8])>,
    ha2: &[u8],
) -> Hex {
    let mut text = [0u8; TEXT_MAX];
    let mut writer = crate::wire::write::Writer::new(&mut text);
    writer.put(ha1);
    writer.put(b":");
    writer.put(nonce);
    writer.put(b":");
    if let Some((nc, cnonce)) = count {
        writer.put(&nc);
        writer.put(b":");
        writer.put(&cnonce);
        writer.put(b":auth:");
    }
    writer.put(ha2);
    let length = writer.finish().expect("challenge parameters are bounded when they are read");
    algorithm.hash(&text[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hex: &Hex) -> &str {
        std::str::from_utf8(hex.as_bytes()).unwrap()
    }

    #[test]
    fn rfc7616_3_9_1_examples_of_md5_and_sha256() {
        // The RFC's cnonce is longer than ours: hash its text by the same pieces.
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = ha1(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life");
            let ha2 = ha2(algorithm, b"GET", b"/dir/index.html");
            let whole = [
                ha1.as_bytes(),
                b":7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v:00000001:",
                b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ:auth:",
                ha2.as_bytes(),
            ]
            .concat();
            assert_eq!(text(&algorithm.hash(&whole)), expected);
        }
    }

    #[test]
    fn rfc2617_response_is_the_hash_of_its_parts() {
        let ha1 = ha1(Algorithm::Md5, b"u1", b"example.com", b"p1");
        let ha2 = ha2(Algorithm::Md5, b"REGISTER", b"sip:example.com");
        let with = response(
            Algorithm::Md5,
            ha1.as_bytes(),
            b"n",
            Some((*b"00000001", *b"01234567")),
            ha2.as_bytes(),
        );
        let parts = [ha1.as_bytes(), b":n:00000001:01234567:auth:", ha2.as_bytes()].concat();
        assert_eq!(with, Algorithm::Md5.hash(&parts));
        let without = response(Algorithm::Md5, ha1.as_bytes(), b"n", None, ha2.as_bytes());
        assert_eq!(
            without,
            Algorithm::Md5.hash(&[ha1.as_bytes(), b":n:", ha2.as_bytes()].concat())
        );
    }

    #[test]
    fn tokens_are_read_in_any_case() {
        assert_eq!(Algorithm::from_token(b"sha-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::from_token(b"md5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::from_token(b"MD5-sess"), None);
    }
}
