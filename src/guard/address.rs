//! Addresses as the guard counts them: a source, the prefix it shares with its neighbours, and what
//! of it is blocked; each by a keyed hash, so that nobody can choose the place of another's entry.
//!
//! The hash is two folded multiplications with secret words, a fifth of the cost of SipHash, which
//! every message would pay. Nothing that leaves the process depends on it, and whoever found two
//! addresses that fall together had gained little: tables have fixed sets, never chains.

use std::net::{IpAddr, Ipv4Addr};

use siphasher::sip::SipHasher13;

pub use crate::flow::{culprit, network};

use super::table::Hashed;
use crate::flow::prefix_64;

/// Hashes addresses under the key of the process, the same on all of its shards.
#[derive(Clone, Copy)]
pub struct Addresses {
    words: [u64; 3],
}

impl Addresses {
    /// With a secret key.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Addresses {
        let hasher = SipHasher13::new_with_key(key);
        // Odd, so that no bit of the other factor is lost.
        Addresses { words: [0u8, 1, 2].map(|number| hasher.hash(&[number]) | 1) }
    }

    /// The hash of an address, which is canonical ([`IpAddr::to_canonical`]).
    #[inline]
    #[must_use]
    pub fn hash(&self, source: IpAddr) -> Hashed {
        let bits = bits(source);
        let [first, second, third] = self.words;
        let once = fold((bits >> 64) as u64 ^ first, bits as u64 ^ second);
        Hashed(fold(once ^ second, third))
    }

    /// The hash of its prefix ([`prefix`]).
    #[inline]
    #[must_use]
    pub fn hash_prefix(&self, source: IpAddr) -> Hashed {
        self.hash(prefix(source))
    }

    /// The shard where the offences of a source are counted.
    #[must_use]
    pub fn home(&self, source: IpAddr, shards: u8) -> u8 {
        let Hashed(hash) = self.hash(culprit(source));
        ((u128::from(hash) * u128::from(shards.max(1))) >> 64) as u8
    }
}

/// Both halves of a product, one over the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn bits(source: IpAddr) -> u128 {
    match source {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The first address of the /24 (IPv4) or /64 (IPv6) an address is in.
#[must_use]
pub fn prefix(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) => prefix_64(v6).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn neighbours_share_a_prefix_and_only_in_ipv6_a_block() {
        assert_eq!(prefix(ip("192.0.2.77")), ip("192.0.2.0"));
        assert_eq!(culprit(ip("192.0.2.77")), ip("192.0.2.77"));
        assert_eq!(prefix(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(culprit(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("192.0.2.77")).to_string(), "192.0.2.77/32");
        assert_eq!(network(ip("2001:db8:1:2::")).to_string(), "2001:db8:1:2::/64");
    }

    /// Neighbours, and what differs in the high bits alone, fall far from each other.
    #[test]
    fn hashes_spread_evenly_in_their_low_and_their_high_bits() {
        let addresses = Addresses::new(&[3; 16]);
        let v4 = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        let v6 = |number: u32| IpAddr::from((u128::from(number) << 64 | 1).to_be_bytes());
        for address in [v4 as fn(u32) -> IpAddr, v6] {
            let (mut low, mut high) = ([0u32; 64], [0u32; 64]);
            let mut all: Vec<u64> = Vec::new();
            for number in 0..64_000 {
                let Hashed(hash) = addresses.hash(address(number));
                low[(hash & 63) as usize] += 1;
                high[(hash >> 58) as usize] += 1;
                all.push(hash);
            }
            for count in low.into_iter().chain(high) {
                assert!((800..1200).contains(&count), "{count} of about 1000");
            }
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 64_000);
        }
    }

    #[test]
    fn every_shard_finds_the_same_home_and_all_are_somebodys() {
        let addresses = Addresses::new(&[3; 16]);
        let mut homes = [0u32; 7];
        for number in 0..7000u32 {
            let source = IpAddr::from(number.to_be_bytes());
            homes[usize::from(addresses.home(source, 7))] += 1;
        }
        assert!(homes.iter().all(|&count| (800..1200).contains(&count)), "{homes:?}");
        let (one, other) = (ip("2001:db8::1"), ip("2001:db8::2"));
        assert_eq!(addresses.home(one, 128), addresses.home(other, 128));
    }
}
