//! Hashing of addresses by a secret: they are chosen outside, and nobody there may choose which of
//! them share a place of a table.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::{SipHasher13, SipHasher24};

/// Makes the hashers of a table.
#[derive(Clone, Copy)]
pub(super) struct Keyed([u64; 2]);

impl Keyed {
    /// Derived from a `secret` of the process for the table of this name.
    pub fn new(secret: &[u8; 16], table: &str) -> Keyed {
        Keyed([0, 1].map(|number| {
            let mut hasher = SipHasher24::new_with_key(secret);
            hasher.write(table.as_bytes());
            hasher.write_u8(number);
            hasher.finish()
        }))
    }

    /// The hash of an address and port.
    #[inline]
    pub fn address(&self, address: SocketAddr) -> u64 {
        let mut hasher = self.build_hasher();
        match address.ip() {
            IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
            IpAddr::V6(ip) => ip.octets().hash(&mut hasher),
        }
        hasher.write_u16(address.port());
        hasher.finish()
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    #[inline]
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed")
    }
}
