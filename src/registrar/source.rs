//! The address a REGISTER came from, in 19 bytes instead of the 32 of a `SocketAddr`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An IP address and port without padding. What a `SocketAddr` has beyond that survives where it
/// matters: the scope of an IPv6 link-local address lives in bytes that are always zero there
/// (RFC 4291 2.5.6). The flow label does not survive: it is the sender's, not ours to repeat.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Source {
    ip: [u8; 16],
    port: [u8; 2],
    v6: bool,
}

/// fe80::/64: the 54 bits behind the prefix are zero.
fn is_link_local(ip: &[u8; 16]) -> bool {
    ip[0] == 0xfe && ip[1] & 0xc0 == 0x80
}

impl From<SocketAddr> for Source {
    fn from(addr: SocketAddr) -> Self {
        let port = addr.port().to_be_bytes();
        match addr {
            SocketAddr::V4(addr) => {
                let mut ip = [0; 16];
                ip[..4].copy_from_slice(&addr.ip().octets());
                Source { ip, port, v6: false }
            }
            SocketAddr::V6(addr) => {
                let mut ip = addr.ip().octets();
                if is_link_local(&ip) {
                    ip[4..8].copy_from_slice(&addr.scope_id().to_be_bytes());
                }
                Source { ip, port, v6: true }
            }
        }
    }
}

impl From<Source> for SocketAddr {
    fn from(source: Source) -> Self {
        let port = u16::from_be_bytes(source.port);
        let mut ip = source.ip;
        if !source.v6 {
            return SocketAddr::from((Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]), port));
        }
        let mut scope = [0; 4];
        if is_link_local(&ip) {
            scope.copy_from_slice(&ip[4..8]);
            ip[4..8].fill(0);
        }
        SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, u32::from_be_bytes(scope)).into()
    }
}

/// Bytes of a [`Source`].
pub(super) const SOURCE_BYTES: usize = 19;

impl Source {
    /// Whether the address is an IPv6 one.
    pub(super) fn is_v6(self) -> bool {
        self.v6
    }

    /// What stands first in [`Source::to_bytes`], 4 or 16 bytes of address, and the port.
    pub(super) fn of(ip: &[u8], port: [u8; 2]) -> Source {
        let mut source = Source { v6: ip.len() == 16, port, ..Source::default() };
        // In lengths the compiler knows: a call to copy four bytes costs more than they.
        match *ip {
            [a, b, c, d] => source.ip[..4].copy_from_slice(&[a, b, c, d]),
            ref long => source.ip[..long.len()].copy_from_slice(long),
        }
        source
    }

    /// The address as bytes, for a token.
    pub(super) fn to_bytes(self) -> [u8; SOURCE_BYTES] {
        let mut out = [0; SOURCE_BYTES];
        out[..16].copy_from_slice(&self.ip);
        out[16..18].copy_from_slice(&self.port);
        out[18] = u8::from(self.v6);
        out
    }

    /// Reads what [`Source::to_bytes`] wrote.
    pub(super) fn from_bytes(bytes: [u8; SOURCE_BYTES]) -> Source {
        let mut source = Source { v6: bytes[18] != 0, ..Source::default() };
        source.ip.copy_from_slice(&bytes[..16]);
        source.port.copy_from_slice(&bytes[16..18]);
        source
    }

    /// The IP address alone.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        SocketAddr::from(self).ip()
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_comes_back_as_it_was() {
        for text in ["192.0.2.1:5060", "[2001:db8::1]:65535", "[::ffff:192.0.2.1]:1", "[::]:0"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Source::from(addr)), addr);
            assert_eq!(Source::from_bytes(Source::from(addr).to_bytes()), addr.into());
        }
    }

    #[test]
    fn the_scope_of_a_link_local_address_is_kept() {
        let addr = SocketAddrV6::new("fe80::1:2:3:4".parse().unwrap(), 5060, 0, 0xdead_beef);
        assert_eq!(SocketAddr::from(Source::from(SocketAddr::from(addr))), addr.into());
    }

    #[test]
    fn takes_no_more_than_twenty_bytes() {
        assert!(size_of::<Source>() <= 20);
    }
}
