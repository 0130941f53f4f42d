//! Secrets of the process, and the keys that are derived from them.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::auth::nonce::NonceKeys;
use crate::registrar::TokenKeys;

/// Secrets of the process; all shards have the same.
#[derive(Clone)]
pub struct Keys {
    /// Nonces are minted and judged with these.
    pub nonce: NonceKeys,
    /// To tags and fingerprints of requests.
    pub identity: [u8; 16],
    /// Spread of granted expiries.
    pub spread: [u64; 2],
}

impl Keys {
    /// The keys of flow tokens and temporary GRUUs, derived from `identity`.
    #[must_use]
    pub fn tokens(&self) -> TokenKeys {
        let mut secret = [0; 32];
        for (number, word) in (0..).zip(secret.chunks_exact_mut(8)) {
            let mut hasher = SipHasher24::new_with_key(&self.identity);
            hasher.write(b"flow tokens and GRUUs");
            hasher.write_u8(number);
            word.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        TokenKeys::new(secret)
    }

    /// The key that guards hash addresses with, derived from `identity`.
    pub(super) fn guard(&self) -> [u8; 16] {
        let mut key = [0; 16];
        for (number, word) in (0..).zip(key.chunks_exact_mut(8)) {
            let mut hasher = SipHasher24::new_with_key(&self.identity);
            hasher.write(b"addresses of sources");
            hasher.write_u8(number);
            word.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        key
    }
}
