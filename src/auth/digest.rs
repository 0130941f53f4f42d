//! The arithmetic of Digest: HA1, HA2 and the response, for MD5 and SHA-256 (RFC 7616 3.4,
//! RFC 8760 2). Knows neither accounts nor headers, allocates nothing.
//!
//! What enters the hashes: nonce, nc, cnonce and digest-uri exactly as they stood between their
//! quotes, a backslash included. RFC 7616 3.4 takes off the quotes and says nothing of
//! quoted-pairs; none of the four ever needs one, and other registrars do the same. Username and
//! realm enter through the stored HA1, unescaped.

use std::hint::black_box;

use md5::Md5;
use sha2::Sha256;

use crate::sip::header::authorization::Algorithm;

/// A hash function Digest can be computed with here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashName {
    /// `MD5`
    Md5,
    /// `SHA-256`
    Sha256,
}

impl HashName {
    /// The function an `algorithm` parameter means; none for those that are never offered.
    #[must_use]
    pub fn of(algorithm: Algorithm) -> Option<HashName> {
        match algorithm {
            Algorithm::Md5 => Some(HashName::Md5),
            Algorithm::Sha256 => Some(HashName::Sha256),
            Algorithm::Other => None,
        }
    }

    /// As it stands in the `algorithm` parameter.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            HashName::Md5 => "MD5",
            HashName::Sha256 => "SHA-256",
        }
    }

    /// Bytes of one hash; its text has twice as many.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            HashName::Md5 => 16,
            HashName::Sha256 => 32,
        }
    }
}

/// One hash, 16 or 32 bytes. Equality is not constant-time and so not offered: a secret is
/// compared with [`Digest::matches_hex`].
#[derive(Clone, Copy)]
pub struct Digest {
    bytes: [u8; 32],
    name: HashName,
}

impl Digest {
    /// A stored MD5 hash.
    #[must_use]
    pub fn md5(hash: &[u8; 16]) -> Digest {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(hash);
        Digest { bytes, name: HashName::Md5 }
    }

    /// A stored SHA-256 hash.
    #[must_use]
    pub fn sha256(hash: &[u8; 32]) -> Digest {
        Digest { bytes: *hash, name: HashName::Sha256 }
    }

    /// Which function it is of.
    #[must_use]
    pub fn name(&self) -> HashName {
        self.name
    }

    /// 16 or 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.name.bytes()]
    }

    /// The hash as lower-case hexadecimal text, the form in which it enters other hashes.
    #[must_use]
    pub fn hex(&self) -> HexDigest {
        let mut text = [0; 64];
        for (pair, &byte) in text.chunks_exact_mut(2).zip(self.as_bytes()) {
            pair[0] = hex_digit(byte >> 4);
            pair[1] = hex_digit(byte & 15);
        }
        HexDigest { text, name: self.name }
    }

    /// Whether `text` is this hash in hexadecimal digits of any case. The time taken depends on
    /// `text` alone, never on how much of it is right.
    #[must_use]
    pub fn matches_hex(&self, text: &[u8]) -> bool {
        let ours = self.as_bytes();
        if text.len() != ours.len() * 2 {
            return false;
        }
        let mut differs = 0;
        for (pair, &byte) in text.chunks_exact(2).zip(ours) {
            let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
            // 0xff marks what is no digit: its upper half can match no value.
            differs |= (high ^ (byte >> 4)) | (low ^ (byte & 15));
        }
        black_box(differs) == 0
    }
}

/// A hash as lower-case hexadecimal text, 32 or 64 characters.
#[derive(Clone, Copy)]
pub struct HexDigest {
    text: [u8; 64],
    name: HashName,
}

impl HexDigest {
    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.name.bytes() * 2]
    }
}

/// H(username ":" realm ":" password) (RFC 7616 3.4.2); all three unescaped.
#[must_use]
pub fn ha1(name: HashName, username: &[u8], realm: &[u8], password: &[u8]) -> Digest {
    hash(name, &[username, b":", realm, b":", password])
}

/// H(method ":" digest-uri) (RFC 7616 3.4.3, qop absent or `auth`).
#[must_use]
pub fn ha2(name: HashName, method: &[u8], uri: &[u8]) -> HexDigest {
    hash(name, &[method, b":", uri]).hex()
}

/// What `qop=auth` adds to the response.
#[derive(Clone, Copy, Debug)]
pub struct QopAuth<'a> {
    /// `nc` as it stood, 8 hexadecimal digits.
    pub nc: &'a [u8],
    /// `cnonce` as it stood.
    pub cnonce: &'a [u8],
}

/// The response that knowing `ha1` allows to compute: with `qop=auth` by RFC 7616 3.4.1, without
/// qop by RFC 2069 2.1.2.
#[must_use]
pub fn response(ha1: &Digest, nonce: &[u8], qop: Option<QopAuth<'_>>, ha2: &HexDigest) -> Digest {
    response_parts(&ha1.hex(), nonce, qop, ha2, |parts| hash(ha1.name, parts))
}

/// Hands what the response is the hash of to `hash`, piece by piece.
#[inline]
pub(super) fn response_parts<T>(
    ha1: &HexDigest,
    nonce: &[u8],
    qop: Option<QopAuth<'_>>,
    ha2: &HexDigest,
    hash: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    let (secret, ha2) = (ha1.as_bytes(), ha2.as_bytes());
    match qop {
        Some(QopAuth { nc, cnonce }) => {
            hash(&[secret, b":", nonce, b":", nc, b":", cnonce, b":auth:", ha2])
        }
        None => hash(&[secret, b":", nonce, b":", ha2]),
    }
}

/// Both functions have blocks of 64 bytes.
const BLOCK: usize = 64;
/// Text hashed in one go. A response with our nonce and a usual cnonce fits; longer text takes
/// several.
const STAGE: usize = 4 * BLOCK;

/// Hash of the parts one after the other. They are put together first: handing the hash function
/// ten small pieces costs it more than the copy.
fn hash(name: HashName, parts: &[&[u8]]) -> Digest {
    let mut bytes = [0; 32];
    match name {
        HashName::Md5 => bytes[..16].copy_from_slice(&staged::<Md5>(parts)),
        HashName::Sha256 => bytes.copy_from_slice(&staged::<Sha256>(parts)),
    }
    Digest { bytes, name }
}

fn staged<H: md5::Digest>(parts: &[&[u8]]) -> md5::digest::Output<H> {
    let mut hasher = H::new();
    let mut stage = [0; STAGE];
    let mut filled = 0;
    for part in parts {
        if part.len() > STAGE - filled {
            hasher.update(&stage[..filled]);
            filled = 0;
        }
        if part.len() > STAGE {
            hasher.update(part);
        } else {
            stage[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
    }
    hasher.update(&stage[..filled]);
    hasher.finalize()
}

const fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Value of a hexadecimal digit of any case, 0xff for every other byte.
static HEX_VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        let digit = hex_digit(value);
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
};

/// Whether all of `text` is hexadecimal digits of any case. Without a branch for each: letters and
/// digits of a hash take turns as no processor can guess.
pub(super) fn is_hex(text: &[u8]) -> bool {
    text.iter().fold(0, |seen, &byte| seen | HEX_VALUES[usize::from(byte)]) < 16
}

/// Reads exactly `N` bytes of hexadecimal digits of any case.
#[must_use]
pub fn parse_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
        if high > 15 || low > 15 {
            return None;
        }
        *byte = high << 4 | low;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    fn text(digest: &Digest) -> String {
        String::from_utf8(digest.hex().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn hexadecimal_digits_are_told_from_every_other_byte() {
        for byte in 0..=255u8 {
            assert_eq!(is_hex(&[b'0', byte, b'F']), byte.is_ascii_hexdigit(), "{byte}");
        }
        assert!(is_hex(b""));
    }

    #[test]
    fn rfc2617_3_5_example() {
        let ha1 = ha1(HashName::Md5, b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        assert_eq!(text(&ha1), "939e7578ed9e3c518a452acee763bce9");
        let ha2 = ha2(HashName::Md5, b"GET", b"/dir/index.html");
        assert_eq!(ha2.as_bytes(), b"39aff3a2bab6126f332b942af96d3366");
        let qop = QopAuth { nc: b"00000001", cnonce: b"0a4f113b" };
        let nonce = b"dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let right = response(&ha1, nonce, Some(qop), &ha2);
        assert_eq!(text(&right), "6629fae49393a05397450978507c4ef1");
    }

    /// The arithmetic of RFC 2069 2.1.2, worked through with an independent program over the
    /// names of the RFC 2617 example.
    #[test]
    fn rfc2069_response_has_no_qop_parts() {
        let ha1 = ha1(HashName::Md5, b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        let ha2 = ha2(HashName::Md5, b"GET", b"/dir/index.html");
        let right = response(&ha1, b"dcd98b7102dd2f0e8b11d0f600bfb0c093", None, &ha2);
        assert_eq!(text(&right), "670fd8c2df070c60b045671b8b24ff02");
    }

    fn rfc7616_3_9_1(name: HashName) -> String {
        let ha1 = ha1(name, b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        let ha2 = ha2(name, b"GET", b"/dir/index.html");
        let qop =
            QopAuth { nc: b"00000001", cnonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ" };
        let nonce = b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        text(&response(&ha1, nonce, Some(qop), &ha2))
    }

    #[test]
    fn rfc7616_3_9_1_md5() {
        assert_eq!(rfc7616_3_9_1(HashName::Md5), "8ca523f5e9506fed4657c9700eebdbec");
    }

    #[test]
    fn rfc7616_3_9_1_sha256() {
        assert_eq!(
            rfc7616_3_9_1(HashName::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn rfc8760_names_md5_and_sha256_and_nothing_else_is_computed() {
        assert_eq!(HashName::of(Algorithm::Md5), Some(HashName::Md5));
        assert_eq!(HashName::of(Algorithm::Sha256), Some(HashName::Sha256));
        assert_eq!(HashName::of(Algorithm::Other), None);
        assert_eq!((HashName::Md5.token(), HashName::Sha256.token()), ("MD5", "SHA-256"));
    }

    #[test]
    fn response_hex_is_accepted_in_any_case_and_nothing_but_it() {
        let digest = ha1(HashName::Md5, b"u", b"r", b"p");
        let right = text(&digest);
        assert!(digest.matches_hex(right.as_bytes()));
        assert!(digest.matches_hex(right.to_uppercase().as_bytes()));
        assert!(!digest.matches_hex(&right.as_bytes()[..31]));
        assert!(!digest.matches_hex(b""));
        for at in 0..32 {
            for other in 0..=255u8 {
                let mut wrong = right.clone().into_bytes();
                if wrong[at].eq_ignore_ascii_case(&other) {
                    continue;
                }
                wrong[at] = other;
                assert!(!digest.matches_hex(&wrong), "{other:#x} at {at}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_of_any_length_hash_like_their_concatenation(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..8),
        ) {
            let views: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let (md5, sha256) = (hash(HashName::Md5, &views), hash(HashName::Sha256, &views));
            let whole = parts.concat();
            prop_assert!(md5.as_bytes() == Md5::digest(&whole).as_slice());
            prop_assert!(sha256.as_bytes() == Sha256::digest(&whole).as_slice());
        }

        #[test]
        fn hex_round_trips(bytes: [u8; 16]) {
            let hex = Digest::md5(&bytes).hex();
            prop_assert_eq!(parse_hex::<16>(hex.as_bytes()), Some(bytes));
            let upper = hex.as_bytes().to_ascii_uppercase();
            prop_assert_eq!(parse_hex::<16>(&upper), Some(bytes));
        }

        #[test]
        fn parse_hex_takes_only_hex_of_its_length(
            text in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let good = text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit);
            prop_assert_eq!(parse_hex::<16>(&text).is_some(), good);
        }
    }
}
