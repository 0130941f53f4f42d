//! Texts that only we can make and only we can read, without anything being kept of them: flow
//! tokens (`flow_token`) and temporary GRUUs (`gruu`).
//!
//! A payload of fixed length is authenticated and then masked with a key stream that begins with
//! its own authenticator, so equal payloads give equal texts and unequal ones tell nothing about
//! each other. A text that was not made with these keys is accepted with a probability of 2^-64,
//! and finding out takes a request for each try.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// Secrets of the process, the same on every shard.
#[derive(Clone)]
pub struct TokenKeys {
    seal: (u64, u64),
    mask: (u64, u64),
}

/// What a token is for: one of one kind is never taken for one of another.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Flow = 1,
    TemporaryGruu = 2,
}

/// Bytes of the authenticator.
pub(super) const SEAL_BYTES: usize = 8;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Length of the text of a payload of `payload` bytes.
pub(super) const fn text_len(payload: usize) -> usize {
    assert!((payload + SEAL_BYTES).is_multiple_of(3), "no padding");
    (payload + SEAL_BYTES) / 3 * 4
}

impl TokenKeys {
    /// Takes 32 secret random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> TokenKeys {
        let (words, _) = secret.as_chunks::<8>();
        let word = |at: usize| u64::from_le_bytes(words[at]);
        TokenKeys { seal: (word(0), word(1)), mask: (word(2), word(3)) }
    }

    fn seal_of(&self, purpose: Purpose, payload: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.seal.0, self.seal.1);
        hasher.write_u8(purpose as u8);
        hasher.write(payload);
        hasher.finish()
    }

    fn mask(&self, purpose: Purpose, seal: u64, bytes: &mut [u8]) {
        for (block, number) in bytes.chunks_mut(8).zip(0u8..) {
            let mut hasher = SipHasher24::new_with_keys(self.mask.0, self.mask.1);
            hasher.write_u64(seal);
            hasher.write(&[purpose as u8, number]);
            for (byte, mask) in block.iter_mut().zip(hasher.finish().to_le_bytes()) {
                *byte ^= mask;
            }
        }
    }

    /// Writes the text of `payload` into `text`, whose length is [`text_len`] of the payload's.
    pub(super) fn write<const N: usize>(
        &self,
        purpose: Purpose,
        mut payload: [u8; N],
        text: &mut [u8],
    ) {
        assert_eq!(text.len(), text_len(N));
        let seal = self.seal_of(purpose, &payload);
        self.mask(purpose, seal, &mut payload);
        let mut bytes = seal.to_le_bytes().into_iter().chain(payload);
        let (quads, _) = text.as_chunks_mut::<4>();
        for quad in quads {
            let mut next = || u32::from(bytes.next().expect("three bytes a quad"));
            let group = next() << 16 | next() << 8 | next();
            *quad = [18, 12, 6, 0].map(|shift| ALPHABET[(group >> shift & 63) as usize]);
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub(super) fn read<const N: usize>(
        &self,
        purpose: Purpose,
        text: &[u8],
    ) -> Result<[u8; N], TokenError> {
        if text.len() != text_len(N) {
            return Err(TokenError::Malformed);
        }
        let (mut seal, mut payload) = ([0; SEAL_BYTES], [0; N]);
        let mut places = seal.iter_mut().chain(&mut payload);
        for quad in text.chunks_exact(4) {
            let mut group = 0;
            for &byte in quad {
                group = group << 6 | digit(byte).ok_or(TokenError::Malformed)?;
            }
            for shift in [16, 8, 0] {
                *places.next().expect("a quad for three bytes") = (group >> shift) as u8;
            }
        }
        let seal = u64::from_le_bytes(seal);
        self.mask(purpose, seal, &mut payload);
        // One comparison of two words takes the same time wherever they differ.
        if self.seal_of(purpose, &payload) == seal { Ok(payload) } else { Err(TokenError::Forged) }
    }
}

/// Why a text is no token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Another length, or a character no token has: meant for somebody else.
    Malformed,
    /// It has been tampered with, or was made with other keys.
    Forged,
}

fn digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(digit))
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeys(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = text_len(16);

    fn written(keys: &TokenKeys, payload: [u8; 16]) -> [u8; LEN] {
        let mut text = [0; LEN];
        keys.write(Purpose::Flow, payload, &mut text);
        text
    }

    #[test]
    fn keys_and_purposes_are_kept_apart() {
        let (keys, others) = (TokenKeys::new([7; 32]), TokenKeys::new([8; 32]));
        let text = written(&keys, [1; 16]);
        assert_eq!(keys.read(Purpose::Flow, &text), Ok([1; 16]));
        assert_eq!(others.read::<16>(Purpose::Flow, &text), Err(TokenError::Forged));
        let other = keys.read::<16>(Purpose::TemporaryGruu, &text);
        assert_eq!(other, Err(TokenError::Forged));
    }

    #[test]
    fn what_has_another_length_or_alphabet_is_nobodys_token() {
        let keys = TokenKeys::new([7; 32]);
        let mut text = written(&keys, [1; 16]);
        assert_eq!(keys.read::<16>(Purpose::Flow, &text[1..]), Err(TokenError::Malformed));
        assert_eq!(keys.read::<16>(Purpose::Flow, b""), Err(TokenError::Malformed));
        text[LEN - 1] = b'=';
        assert_eq!(keys.read::<16>(Purpose::Flow, &text), Err(TokenError::Malformed));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_not_with_any_bit_changed(
            payload: [u8; 16], secret: [u8; 32], at in 0..LEN, bit in 0..6u32,
        ) {
            let keys = TokenKeys::new(secret);
            let mut text = written(&keys, payload);
            prop_assert_eq!(keys.read(Purpose::Flow, &text), Ok(payload));
            let changed = digit(text[at]).unwrap() ^ 1 << bit;
            text[at] = ALPHABET[changed as usize];
            prop_assert_eq!(keys.read::<16>(Purpose::Flow, &text), Err(TokenError::Forged));
        }

        #[test]
        fn any_text_is_refused_without_panic(text: Vec<u8>, fitting: [u8; LEN]) {
            let keys = TokenKeys::new([7; 32]);
            prop_assert!(keys.read::<16>(Purpose::Flow, &text).is_err());
            prop_assert!(keys.read::<16>(Purpose::Flow, &fitting).is_err());
        }
    }
}
