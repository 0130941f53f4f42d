//! The connections of one reactor by number, how many there are of each source, and which of them
//! would go first if there were too many. It knows no sockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// A connection by its slot and the slot's tenant. As a number it is what the kernel and the
/// deadlines keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl Key {
    pub(super) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    pub(super) fn from_number(number: u64) -> Key {
        Key { slot: number as u32, generation: (number >> 32) as u32 }
    }
}

/// Slots with connections in them. Generations begin at 1 and grow with each tenant, so an old key
/// finds nobody for four billion tenants.
pub(super) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

struct Slot<T> {
    generation: u32,
    tenant: Option<Box<T>>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Finds a place, which stays reserved until [`Table::put`] or [`Table::release`].
    pub(super) fn reserve(&mut self) -> Key {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.generation = place.generation.wrapping_add(1).max(1);
            return Key { slot, generation: place.generation };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer slots than connections_max");
        self.slots.push(Slot { generation: 1, tenant: None });
        Key { slot, generation: 1 }
    }

    /// Takes a connection out for its turn; it comes back by [`Table::put`].
    pub(super) fn take(&mut self, key: Key) -> Option<Box<T>> {
        let place = self.slots.get_mut(key.slot as usize)?;
        if place.generation == key.generation { place.tenant.take() } else { None }
    }

    pub(super) fn put(&mut self, key: Key, tenant: Box<T>) {
        let place = &mut self.slots[key.slot as usize];
        debug_assert!(place.generation == key.generation && place.tenant.is_none());
        place.tenant = Some(tenant);
    }

    /// Frees the slot of a connection that was taken out for good.
    pub(super) fn release(&mut self, key: Key) {
        debug_assert!(self.slots[key.slot as usize].tenant.is_none());
        self.free.push(key.slot);
        self.len -= 1;
    }

    pub(super) fn find(&mut self, key: Key) -> Option<&mut T> {
        let place = self.slots.get_mut(key.slot as usize)?;
        if place.generation == key.generation { place.tenant.as_deref_mut() } else { None }
    }

    /// The keys of all connections.
    pub(super) fn keys(&self) -> Vec<Key> {
        let slots = self.slots.iter().enumerate().filter(|(_, place)| place.tenant.is_some());
        slots.map(|(slot, place)| Key { slot: slot as u32, generation: place.generation }).collect()
    }
}

/// Connections of each source: an IPv4 address, or the /64 that one IPv6 subscriber has whole.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<[u8; 9], u32>);

impl Sources {
    /// Counts one more, unless there are `most` already.
    pub(super) fn admit(&mut self, ip: IpAddr, most: u32) -> bool {
        let count = self.0.entry(source_key(ip)).or_default();
        let admitted = *count < most;
        *count += u32::from(admitted);
        admitted
    }

    /// Counts one less.
    pub(super) fn leave(&mut self, ip: IpAddr) {
        let key = source_key(ip);
        if let Some(count) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }
}

fn source_key(ip: IpAddr) -> [u8; 9] {
    let mut key = [0; 9];
    match ip {
        IpAddr::V4(v4) => {
            key[0] = 4;
            key[1..5].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            key[0] = 6;
            key[1..].copy_from_slice(&v6.octets()[..8]);
        }
    }
    key
}

/// Connections that have not shown who they are, oldest first. Those that have meanwhile, or are
/// gone, are passed over when their turn comes.
#[derive(Debug, Default)]
pub(super) struct Newcomers(VecDeque<Key>);

impl Newcomers {
    pub(super) fn add(&mut self, key: Key, is_one: impl FnMut(Key) -> bool) {
        self.tidy(is_one);
        self.0.push_back(key);
    }

    /// The oldest of them that still is one.
    pub(super) fn oldest(&mut self, is_one: impl FnMut(Key) -> bool) -> Option<Key> {
        self.tidy(is_one);
        self.0.front().copied()
    }

    fn tidy(&mut self, mut is_one: impl FnMut(Key) -> bool) {
        while self.0.front().is_some_and(|&key| !is_one(key)) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nobody() {
        let mut table = Table::new();
        let first = table.reserve();
        table.put(first, Box::new('a'));
        assert_eq!(Key::from_number(first.number()), first);
        assert_eq!(table.find(first), Some(&mut 'a'));
        assert_eq!(table.take(first), Some(Box::new('a')));
        assert_eq!(table.find(first), None);
        assert_eq!(table.take(first), None);
        table.release(first);
        let second = table.reserve();
        table.put(second, Box::new('b'));
        assert_eq!(second.slot, first.slot);
        assert_eq!(table.find(first), None);
        assert_eq!(table.len(), 1);
        assert_eq!(table.keys(), [second]);
    }

    #[test]
    fn sources_are_counted_and_forgotten() {
        let mut sources = Sources::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(sources.admit(ip("192.0.2.1"), 2) && sources.admit(ip("192.0.2.1"), 2));
        assert!(!sources.admit(ip("192.0.2.1"), 2) && sources.admit(ip("192.0.2.2"), 2));
        sources.leave(ip("192.0.2.1"));
        assert!(sources.admit(ip("192.0.2.1"), 2));
        for _ in 0..2 {
            sources.leave(ip("192.0.2.1"));
        }
        sources.leave(ip("192.0.2.2"));
        assert!(sources.0.is_empty());
    }

    #[test]
    fn one_subscriber_is_one_source_whatever_its_ipv6_addresses() {
        let mut sources = Sources::default();
        assert!(sources.admit("2001:db8::1".parse().unwrap(), 1));
        assert!(!sources.admit("2001:db8::2".parse().unwrap(), 1));
        assert!(sources.admit("2001:db8:0:1::1".parse().unwrap(), 1));
    }

    #[test]
    fn the_oldest_newcomer_is_the_oldest_that_still_is_one() {
        let mut newcomers = Newcomers::default();
        let key = |slot| Key { slot, generation: 1 };
        for slot in 0..4 {
            newcomers.add(key(slot), |_| true);
        }
        assert_eq!(newcomers.oldest(|key| key.slot > 1), Some(key(2)));
        assert_eq!(newcomers.oldest(|_| false), None);
    }
}
