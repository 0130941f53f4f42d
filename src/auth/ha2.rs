//! A small memory of HA2 values: the phones of one domain send the same method and digest-uri
//! again and again, and half of a digest check is then a look-up.
//!
//! Direct-mapped and bounded. What a stranger sends can push an entry out, which costs the next
//! request one hash and nothing else.

use crate::auth::digest::{HashName, HexDigest, ha2};
use crate::limits::A2_BYTES_MAX;

/// Entries; a power of two.
const SLOTS: usize = 64;

struct Slot {
    hex: HexDigest,
    name: HashName,
    len: u8,
    a2: [u8; A2_BYTES_MAX],
}

/// The memory of one shard, about 14 KiB.
pub struct Ha2Cache {
    slots: Box<[Option<Slot>; SLOTS]>,
}

impl Default for Ha2Cache {
    fn default() -> Self {
        Ha2Cache::new()
    }
}

impl Ha2Cache {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Ha2Cache {
        Ha2Cache { slots: Box::new([const { None }; SLOTS]) }
    }

    /// HA2 of a method and a digest-uri, both as they stood.
    pub fn ha2(&mut self, name: HashName, method: &[u8], uri: &[u8]) -> HexDigest {
        if let Some(known) = self.known(name, method, uri) {
            return known;
        }
        let hex = ha2(name, method, uri);
        self.remember(name, method, uri, hex);
        hex
    }

    /// The same, if it is remembered.
    #[inline]
    #[must_use]
    pub fn known(&self, name: HashName, method: &[u8], uri: &[u8]) -> Option<HexDigest> {
        let len = method.len() + 1 + uri.len();
        if len > A2_BYTES_MAX {
            return None;
        }
        let known = self.slots[slot_of(name, method, uri)].as_ref()?;
        let is_it = known.name == name
            && usize::from(known.len) == len
            && known.a2[..method.len()] == *method
            && known.a2[method.len()] == b':'
            && known.a2[method.len() + 1..len] == *uri;
        is_it.then_some(known.hex)
    }

    /// Remembers what was computed elsewhere, if it is short enough.
    pub fn remember(&mut self, name: HashName, method: &[u8], uri: &[u8], hex: HexDigest) {
        let len = method.len() + 1 + uri.len();
        if len > A2_BYTES_MAX {
            return;
        }
        let mut a2 = [0; A2_BYTES_MAX];
        a2[..method.len()].copy_from_slice(method);
        a2[method.len()] = b':';
        a2[method.len() + 1..len].copy_from_slice(uri);
        self.slots[slot_of(name, method, uri)] = Some(Slot { hex, name, len: len as u8, a2 });
    }
}

/// Where an entry lives. Lengths and the last bytes of the URI tell domains apart well enough; a
/// clash costs one hash.
fn slot_of(name: HashName, method: &[u8], uri: &[u8]) -> usize {
    let mut tail = [0; 16];
    let start = uri.len().saturating_sub(16);
    tail[..uri.len() - start].copy_from_slice(&uri[start..]);
    let bits = u128::from_le_bytes(tail);
    let mut mixed = (bits as u64) ^ ((bits >> 64) as u64).rotate_left(29);
    mixed ^= (uri.len() as u64) << 7 ^ (method.len() as u64) << 3 ^ name.bytes() as u64;
    mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
}

const _: () = assert!(SLOTS.is_power_of_two());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn remembered_and_computed_values_are_the_same() {
        let mut cache = Ha2Cache::new();
        for _ in 0..3 {
            for name in [HashName::Md5, HashName::Sha256] {
                for uri in [&b"sip:example.com"[..], b"sip:example.org", b"", &[b'x'; 300]] {
                    for method in [&b"REGISTER"[..], b"INVITE"] {
                        let hex = cache.ha2(name, method, uri);
                        assert_eq!(hex.as_bytes(), ha2(name, method, uri).as_bytes());
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Few distinct bytes, so that entries clash and differ in where the colon stands.
        #[test]
        fn never_answers_with_the_value_of_another(
            asked in prop::collection::vec(("[A:]{0,3}", "[a:]{0,3}", any::<bool>()), 1..200),
        ) {
            let mut cache = Ha2Cache::new();
            for (method, uri, sha256) in &asked {
                let name = if *sha256 { HashName::Sha256 } else { HashName::Md5 };
                let (method, uri) = (method.as_bytes(), uri.as_bytes());
                let hex = cache.ha2(name, method, uri);
                prop_assert!(hex.as_bytes() == ha2(name, method, uri).as_bytes());
            }
        }
    }
}
