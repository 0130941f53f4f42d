//! Who owns an address-of-record: the only code that knows. It hashes and divides, and keeps
//! nothing; making an AOR canonical is the SIP layer's, sending a datagram over is [`mesh`]'s.
//!
//! [`mesh`]: super::mesh

use siphasher::sip::SipHasher13;

use super::ShardId;
use crate::limits::SHARDS_MAX;

/// How the hash space of addresses-of-record is divided among the shards of this process.
///
/// The hash is keyed: whoever chooses the user names cannot choose the shard they land on, nor
/// pile them up in one bucket of its tables. The key never leaves the process.
#[derive(Clone)]
pub struct Ownership {
    hasher: SipHasher13,
    shards: u8,
}

impl Ownership {
    /// Divides the space among `shards` shards (1 to [`SHARDS_MAX`]). Every shard of a process
    /// is given the same random `seed`.
    ///
    /// # Panics
    /// If `shards` is out of range: the configuration has been checked before.
    #[must_use]
    pub fn new(seed: [u8; 16], shards: u8) -> Self {
        assert!((1..=SHARDS_MAX).contains(&usize::from(shards)), "{shards} shards");
        Ownership { hasher: SipHasher13::new_with_key(&seed), shards }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u8 {
        self.shards
    }

    /// The keyed 64-bit hash (SipHash-1-3) of a canonical AOR. Tables of the owning shard index
    /// by its low bits, which say nothing about the shard.
    #[inline]
    #[must_use]
    pub fn hash(&self, canonical_aor: &[u8]) -> u64 {
        self.hasher.hash(canonical_aor)
    }

    /// The shard that owns all AORs of this `hash`: an equal slice each, by the high bits.
    #[inline]
    #[must_use]
    pub fn owner(&self, hash: u64) -> ShardId {
        let slice = (u128::from(hash) * u128::from(self.shards)) >> 64;
        // Below `shards`, because hash / 2^64 is below 1.
        ShardId(slice as u8)
    }
}

/// Without the key: it must not reach a log.
impl std::fmt::Debug for Ownership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ownership").field("shards", &self.shards).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 16] = *b"0123456789abcdef";

    fn aor(n: usize) -> Vec<u8> {
        format!("u{n}@example.com").into_bytes()
    }

    #[test]
    fn one_shard_owns_everything() {
        let ownership = Ownership::new(SEED, 1);
        for hash in [0, 1, u64::MAX / 2, u64::MAX] {
            assert_eq!(ownership.owner(hash), ShardId(0));
        }
    }

    #[test]
    fn slices_are_contiguous_and_cover_the_space() {
        for shards in 1..=SHARDS_MAX as u8 {
            let ownership = Ownership::new(SEED, shards);
            assert_eq!(ownership.owner(0), ShardId(0));
            assert_eq!(ownership.owner(u64::MAX), ShardId(shards - 1));
            let mut last = 0;
            for step in 0..1024u64 {
                let ShardId(owner) = ownership.owner(step << 54);
                assert!(owner == last || owner == last + 1, "a gap before {owner} of {shards}");
                last = owner;
            }
        }
    }

    #[test]
    fn sequential_names_spread_evenly() {
        const AORS: usize = 64_000;
        for shards in [2u8, 3, 5, 8, 64, 128] {
            let ownership = Ownership::new(SEED, shards);
            let mut counts = vec![0usize; usize::from(shards)];
            for n in 0..AORS {
                counts[usize::from(ownership.owner(ownership.hash(&aor(n))).0)] += 1;
            }
            // Chi-square over `shards` cells: its mean is shards - 1, its variance twice that;
            // six standard deviations are far outside chance, and the seed is fixed.
            let expected = AORS as f64 / f64::from(shards);
            let chi: f64 = counts.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
            let freedom = f64::from(shards) - 1.0;
            let limit = freedom + 6.0 * (2.0 * freedom).sqrt();
            assert!(chi < limit, "{shards} shards: chi-square {chi:.1}, at most {limit:.1}");
        }
    }

    #[test]
    fn low_bits_stay_even_within_one_shard() {
        let ownership = Ownership::new(SEED, 8);
        let mut buckets = [0u32; 64];
        let mut owned = 0;
        for hash in (0..64_000).map(|n| ownership.hash(&aor(n))) {
            if ownership.owner(hash) == ShardId(3) {
                buckets[(hash & 63) as usize] += 1;
                owned += 1;
            }
        }
        let expected = owned / 64;
        assert!(buckets.iter().all(|&b| b > expected / 2 && b < expected * 2), "{buckets:?}");
    }

    #[test]
    fn the_seed_decides_and_the_same_seed_decides_the_same() {
        let one = Ownership::new(SEED, 128);
        let again = Ownership::new(SEED, 128);
        let other = Ownership::new([7; 16], 128);
        let moved = (0..1000).filter(|&n| {
            let aor = aor(n);
            assert_eq!(one.hash(&aor), again.hash(&aor));
            one.owner(one.hash(&aor)) != other.owner(other.hash(&aor))
        });
        assert!(moved.count() > 950);
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", Ownership::new(SEED, 2)), "Ownership { shards: 2, .. }");
    }

    #[test]
    #[should_panic(expected = "0 shards")]
    fn no_shards_is_a_bug() {
        let _ = Ownership::new(SEED, 0);
    }
}
