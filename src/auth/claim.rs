//! Whether the digest of credentials is right: one alone, or those of a batch side by side. What
//! must be looked at before, and what follows from it, is [`check`](crate::auth::check)'s.

use arrayvec::ArrayVec;

use crate::auth::digest::{Digest, HashName, HexDigest, QopAuth, response, response_parts};
use crate::auth::ha2::Ha2Cache;
use crate::auth::md5_lanes::Md5Lanes;
use crate::limits::BATCH_MAX;

/// Credentials of which nothing but the digest is left to be looked at.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// Over which the digest has to be; somebody's who does not exist where there is none.
    pub(super) ha1: Digest,
    /// `ha1` is the account's.
    pub(super) known: bool,
    /// Method of the request, as it stood.
    pub(super) method: &'a [u8],
    /// `uri`, as it stood.
    pub(super) uri: &'a [u8],
    /// `nonce`, as it stood.
    pub(super) nonce: &'a [u8],
    /// What of the qop enters the digest.
    pub(super) qop: Option<QopAuth<'a>>,
    /// The nonce count that is used up.
    pub(super) nc: u32,
    /// What is claimed.
    pub(super) response: &'a [u8],
}

/// A claim that was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The digest is right, and the account's.
    pub(super) right: bool,
    /// The nonce count that is used up.
    pub(super) nc: u32,
}

impl Claim<'_> {
    /// Computes the digest, and compares.
    #[must_use]
    pub fn answer(&self, ha2s: &mut Ha2Cache) -> Answered {
        let ha2 = ha2s.ha2(self.ha1.name(), self.method, self.uri);
        self.against(&response(&self.ha1, self.nonce, self.qop, &ha2))
    }

    /// The time taken does not depend on what is right, nor on who exists.
    fn against(&self, expected: &Digest) -> Answered {
        let right = expected.matches_hex(self.response) & self.known;
        Answered { right, nc: self.nc }
    }
}

/// Computes and compares the digests of several claims, those of MD5 side by side. The answers are
/// those that each has alone, in their order.
pub fn answer_all(
    claims: &[Claim<'_>],
    ha2s: &mut Ha2Cache,
    lanes: &mut Md5Lanes,
) -> ArrayVec<Answered, BATCH_MAX> {
    let ha2s_md5 = ha2s_of(claims, ha2s, lanes);
    let mut waiting: ArrayVec<bool, BATCH_MAX> = ArrayVec::new();
    for (claim, ha2) in claims.iter().zip(&ha2s_md5) {
        waiting.push(ha2.as_ref().is_some_and(|ha2| {
            let ha1 = claim.ha1.hex();
            let push = |parts: &[&[u8]]| lanes.push(parts);
            response_parts(&ha1, claim.nonce, claim.qop, ha2, push).is_some()
        }));
    }
    let mut hashes = lanes.hash().into_iter();
    let answers = claims.iter().zip(waiting).map(|(claim, waits)| {
        match waits.then(|| hashes.next()).flatten() {
            Some(hash) => claim.against(&Digest::md5(&hash)),
            None => claim.answer(ha2s),
        }
    });
    answers.collect()
}

/// HA2 of each claim for MD5 whose method and digest-uri are short enough, remembered or computed.
fn ha2s_of(
    claims: &[Claim<'_>],
    ha2s: &mut Ha2Cache,
    lanes: &mut Md5Lanes,
) -> ArrayVec<Option<HexDigest>, BATCH_MAX> {
    let mut found = ArrayVec::new();
    let mut waiting: ArrayVec<usize, BATCH_MAX> = ArrayVec::new();
    for (nth, &Claim { ref ha1, method, uri, .. }) in claims.iter().enumerate() {
        let is_md5 = ha1.name() == HashName::Md5;
        let known = is_md5.then(|| ha2s.known(HashName::Md5, method, uri)).flatten();
        if is_md5 && known.is_none() && lanes.push(&[method, b":", uri]).is_some() {
            waiting.push(nth);
        }
        found.push(known);
    }
    if waiting.is_empty() {
        return found;
    }
    for (nth, hash) in waiting.into_iter().zip(lanes.hash()) {
        let (Claim { method, uri, .. }, hex) = (&claims[nth], Digest::md5(&hash).hex());
        ha2s.remember(HashName::Md5, method, uri, hex);
        found[nth] = Some(hex);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::digest::ha2;

    /// What a claim is made of; the digest is right, or that of another count.
    #[derive(Debug)]
    struct Made {
        sha256: bool,
        known: bool,
        qop: bool,
        right: bool,
        uri: Vec<u8>,
        nonce: Vec<u8>,
        cnonce: Vec<u8>,
        nc: u32,
    }

    fn made() -> impl Strategy<Value = Made> {
        let text = |len| prop::collection::vec(any::<u8>(), 0..len);
        let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.8), any::<bool>());
        let names = (text(200), text(40), text(160));
        (flags, any::<bool>(), names, any::<u32>()).prop_map(
            |((sha256, known, qop), right, (uri, nonce, cnonce), nc)| Made {
                sha256,
                known,
                qop,
                right,
                uri,
                nonce,
                cnonce,
                nc,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Both hash functions, with qop and without, short enough for the lanes and too long.
        #[test]
        fn claims_of_a_batch_are_answered_as_each_alone(
            made in prop::collection::vec(made(), 0..=BATCH_MAX),
            secret: [u8; 32],
        ) {
            let texts: Vec<_> = made.iter().map(|made| format!("{:08x}", made.nc)).collect();
            let md5 = Digest::md5(secret.first_chunk().expect("32 bytes"));
            let ha1_of = |made: &Made| if made.sha256 { Digest::sha256(&secret) } else { md5 };
            let responses: Vec<_> = made.iter().zip(&texts).map(|(made, text)| {
                let ha1 = ha1_of(made);
                let ha2 = ha2(ha1.name(), b"REGISTER", &made.uri);
                let nc = if made.right { text.as_bytes() } else { b"0000000z" };
                let qop = made.qop.then_some(QopAuth { nc, cnonce: &made.cnonce });
                response(&ha1, &made.nonce, qop, &ha2).hex()
            }).collect();
            let claims: Vec<Claim<'_>> = made.iter().zip(&texts).zip(&responses).map(
                |((made, text), response)| Claim {
                    ha1: ha1_of(made),
                    known: made.known,
                    method: b"REGISTER",
                    uri: &made.uri,
                    nonce: &made.nonce,
                    qop: made.qop.then_some(QopAuth { nc: text.as_bytes(), cnonce: &made.cnonce }),
                    nc: made.nc,
                    response: response.as_bytes(),
                },
            ).collect();
            let answers = answer_all(&claims, &mut Ha2Cache::new(), &mut Md5Lanes::new());
            prop_assert_eq!(answers.len(), claims.len());
            let mut ha2s = Ha2Cache::new();
            for ((claim, made), answered) in claims.iter().zip(&made).zip(answers) {
                prop_assert_eq!(answered, claim.answer(&mut ha2s));
                // Without qop there is no count that could be wrong.
                let right = made.known && (made.right || !made.qop);
                prop_assert_eq!(answered, Answered { right, nc: made.nc });
            }
        }
    }
}
