//! Addresses as the guard counts them: a source, the prefix it shares with its neighbours, and what
//! of it is blocked; each by a keyed hash, so that nobody can choose the place of another's entry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use siphasher::sip::SipHasher13;

use super::table::Hashed;

/// Hashes addresses under the key of the process, the same on all of its shards.
#[derive(Clone, Copy)]
pub struct Addresses {
    hasher: SipHasher13,
}

impl Addresses {
    /// With a secret key.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Addresses {
        Addresses { hasher: SipHasher13::new_with_key(key) }
    }

    /// The hash of an address, which is canonical ([`IpAddr::to_canonical`]).
    #[inline]
    #[must_use]
    pub fn hash(&self, source: IpAddr) -> Hashed {
        Hashed(self.hasher.hash(&bits(source).to_ne_bytes()))
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

/// What stands for a source where offences are counted and blocks set: itself, or its /64, since
/// whoever has one address of IPv6 has them all.
#[must_use]
pub fn culprit(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => prefix_64(v6).into(),
    }
}

/// The network that a block of `culprit` covers.
#[must_use]
pub fn network(culprit: IpAddr) -> IpNet {
    match culprit {
        IpAddr::V4(v4) => Ipv4Net::from(v4).into(),
        IpAddr::V6(v6) => Ipv6Net::new_assert(v6, 64).into(),
    }
}

fn prefix_64(v6: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)
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
