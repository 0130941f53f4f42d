//! To whom something was sent lately, by address: an ICMP error names the address only. What is
//! found is a hint, for the table forgets: a later address may have taken the place.

use std::net::SocketAddr;

use crate::limits::RECENT_SENDS;
use crate::nat::keyed::Keyed;
use crate::nat::probe::Endpoint;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    endpoint: Endpoint,
}

/// Nobody has generation 0.
const VACANT: Slot = Slot { hash: 0, endpoint: Endpoint { index: 0, generation: 0 } };

/// A direct-mapped table of [`RECENT_SENDS`] addresses, 16 bytes each. Of several endpoints at one
/// address it names the one something was sent to last.
#[derive(Debug)]
pub struct Recent {
    key: Keyed,
    slots: Box<[Slot]>,
}

impl Recent {
    /// An empty one. `secret` is the process's, and serves other ends as well.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Recent {
        Recent {
            key: Keyed::new(secret, "recent sends"),
            slots: vec![VACANT; RECENT_SENDS].into_boxed_slice(),
        }
    }

    fn place(&self, address: SocketAddr) -> (usize, u64) {
        let hash = self.key.address(address);
        (hash as usize & (RECENT_SENDS - 1), hash)
    }

    /// Something was sent to `endpoint` at `address`.
    #[inline]
    pub fn note(&mut self, address: SocketAddr, endpoint: Endpoint) {
        let (place, hash) = self.place(address);
        self.slots[place] = Slot { hash, endpoint };
    }

    /// To whom something was sent last at `address`. It may have gone or moved since.
    #[must_use]
    pub fn find(&self, address: SocketAddr) -> Option<Endpoint> {
        let (place, hash) = self.place(address);
        let slot = &self.slots[place];
        (slot.hash == hash && slot.endpoint.generation != 0).then_some(slot.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> SocketAddr {
        let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number / 1000);
        (ip, 1024 + (number % 1000) as u16).into()
    }

    fn endpoint(index: u32) -> Endpoint {
        Endpoint { index, generation: 1 }
    }

    #[test]
    fn what_was_sent_last_to_an_address_is_found_and_nothing_else() {
        let mut recent = Recent::new(&[1; 16]);
        assert_eq!(recent.find(address(1)), None);
        recent.note(address(1), endpoint(7));
        recent.note(address(1), endpoint(8));
        assert_eq!(recent.find(address(1)), Some(endpoint(8)));
        assert_eq!(recent.find((address(1).ip(), 1).into()), None);
        let v6 = "[2001:db8::1]:5060".parse().unwrap();
        recent.note(v6, endpoint(9));
        assert_eq!(recent.find(v6), Some(endpoint(9)));
    }

    #[test]
    fn it_forgets_rather_than_grows_and_never_names_another() {
        let mut recent = Recent::new(&[1; 16]);
        let most = RECENT_SENDS as u32 * 2;
        for number in 0..most {
            recent.note(address(number), endpoint(number));
        }
        let found: Vec<u32> =
            (0..most).filter(|&number| recent.find(address(number)).is_some()).collect();
        assert!(found.len() > RECENT_SENDS / 2 && found.len() <= RECENT_SENDS);
        for number in found {
            assert_eq!(recent.find(address(number)), Some(endpoint(number)));
        }
    }
}
