//! Sources that are blocked for a time. It owns who is blocked, until when, and how often before;
//! why is the score's to say, and every shard has the whole list.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound;

use hashbrown::HashTable;
use ipnet::IpNet;

use super::address::{Addresses, culprit, network};
use super::table::Hashed;
use crate::limits::BLACKLIST_MAX;
use crate::time::Instant;

/// A block as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What is blocked.
    pub network: IpNet,
    /// Since when.
    pub since: Instant,
    /// Until when; `None` until an operator lifts it.
    pub until: Option<Instant>,
    /// Nothing of it passes. Otherwise what it did could have been done in its name by anybody, so
    /// it is only restrained: requests that prove themselves pass, and a REGISTER now and then.
    pub whole: bool,
    /// An operator has said so.
    pub by_operator: bool,
    /// How many times it has been blocked, this one included.
    pub times: u8,
}

/// Whether a source is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not.
    Free,
    /// It is restrained.
    Restrained,
    /// It is blocked whole.
    Blocked,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    source: IpAddr,
    since: Instant,
    /// When it ends; after that, when it is forgotten how often there was one.
    until: Option<Instant>,
    active: bool,
    whole: bool,
    by_operator: bool,
    times: u8,
}

/// The list.
#[derive(Default)]
pub struct Blacklist {
    blocks: HashTable<(Hashed, Block)>,
    /// Sources by the end of their block, or of the memory of it; not those without an end.
    ends: BTreeSet<(Instant, IpAddr)>,
    /// Blocked sources in the order they are listed.
    listed: BTreeSet<IpAddr>,
    /// Counts changes, so that whoever has a copy knows that it is old.
    version: u64,
}

impl Blacklist {
    /// Whether nobody is blocked.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// How many are blocked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Changes whenever a source is blocked or free again.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a source is blocked now.
    #[inline]
    #[must_use]
    pub fn standing(&self, now: Instant, addresses: &Addresses, source: IpAddr) -> Standing {
        match self.find(addresses, culprit(source)) {
            Some(block) if block.active && block.until.is_none_or(|until| until > now) => {
                if block.whole { Standing::Blocked } else { Standing::Restrained }
            }
            _ => Standing::Free,
        }
    }

    #[inline]
    fn find(&self, addresses: &Addresses, culprit: IpAddr) -> Option<&Block> {
        let hashed = addresses.hash(culprit);
        let found = self.blocks.find(hashed.0, |(_, block)| block.source == culprit);
        found.map(|(_, block)| block)
    }

    /// The end of the next block of a source, and its number: as long as `first_s`, and twice as
    /// long for each block before, up to `longest_s`.
    #[must_use]
    pub fn next_block(
        &self,
        addresses: &Addresses,
        source: IpAddr,
        first_s: u32,
        longest_s: u32,
    ) -> (u32, u8) {
        let before = self.find(addresses, culprit(source)).map_or(0, |block| block.times);
        let doubled = u64::from(first_s) << before.min(31);
        let seconds = doubled.min(u64::from(longest_s.max(first_s))) as u32;
        (seconds, before.saturating_add(1))
    }

    /// Blocks a source, or changes its block; what an operator said is changed by operators only,
    /// and nothing makes a block of a restraint but a block. Returns whether it changed anything.
    pub fn block(&mut self, addresses: &Addresses, source: IpAddr, new: NewBlock) -> bool {
        let source = culprit(source);
        let NewBlock { now, until, whole, by_operator, times } = new;
        if let Some(old) = self.find(addresses, source).copied()
            && old.active
            && old.until.is_none_or(|until| until > now)
            && (old.by_operator && !by_operator || old.whole && !whole)
        {
            return false;
        }
        self.forget(addresses, source);
        if self.blocks.len() >= BLACKLIST_MAX {
            // Whoever would be free soonest, or is so already, makes room.
            match self.ends.first().copied() {
                Some((_, soonest)) => self.forget(addresses, soonest),
                None => return false,
            }
        }
        let block = Block { source, since: now, until, active: true, whole, by_operator, times };
        let hashed = addresses.hash(source);
        self.blocks.insert_unique(hashed.0, (hashed, block), |(hashed, _)| hashed.0);
        self.ends.extend(until.map(|until| (until, source)));
        self.listed.insert(source);
        self.version += 1;
        true
    }

    /// Takes a source off the list. With `only_restraints`, a whole block stays. Returns whether
    /// it was on it.
    pub fn lift(&mut self, addresses: &Addresses, source: IpAddr, only_restraints: bool) -> bool {
        let source = culprit(source);
        match self.find(addresses, source) {
            Some(block) if block.active && !(only_restraints && block.whole) => {
                self.forget(addresses, source);
                true
            }
            _ => false,
        }
    }

    fn forget(&mut self, addresses: &Addresses, source: IpAddr) {
        let hashed = addresses.hash(source);
        let entry = self.blocks.find_entry(hashed.0, |(_, block)| block.source == source);
        let Ok(entry) = entry else { return };
        let ((_, block), _) = entry.remove();
        self.ends.remove(&(block.until.unwrap_or_default(), source));
        if self.listed.remove(&source) {
            self.version += 1;
        }
    }

    /// When something ends next.
    #[inline]
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|&(end, _)| end)
    }

    /// Ends blocks whose time is over, a bounded number at a time. How often there was one is
    /// remembered for another `memory_s` seconds.
    pub fn expire(&mut self, now: Instant, addresses: &Addresses, memory_s: u32) {
        const MOST: usize = 256;
        for _ in 0..MOST {
            let Some(&(end, source)) = self.ends.first().filter(|(end, _)| *end <= now) else {
                return;
            };
            let Some(block) = self.find(addresses, source).copied() else { return };
            if !block.active {
                self.forget(addresses, source);
                continue;
            }
            let hashed = addresses.hash(source);
            let found = self.blocks.find_mut(hashed.0, |(_, block)| block.source == source);
            let Some((_, block)) = found else { return };
            let forgotten = super::told::until(end, memory_s);
            (block.active, block.until) = (false, Some(forgotten));
            self.ends.remove(&(end, source));
            self.ends.insert((forgotten, source));
            self.listed.remove(&source);
            self.version += 1;
        }
    }

    /// The blocks after `after` in the order of addresses, at most `most`.
    pub fn list<'a>(
        &'a self,
        now: Instant,
        addresses: &'a Addresses,
        after: Option<IpAddr>,
        most: usize,
    ) -> impl Iterator<Item = Blocked> + 'a {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let sources = self.listed.range((from, Bound::Unbounded));
        let blocks = sources.filter_map(move |&source| {
            let &Block { since, until, whole, by_operator, times, .. } =
                self.find(addresses, source)?;
            // It is over, and only not turned yet.
            if until.is_some_and(|until| until <= now) {
                return None;
            }
            Some(Blocked { network: network(source), since, until, whole, by_operator, times })
        });
        blocks.take(most)
    }
}

/// A block to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// From when.
    pub now: Instant,
    /// Until when; `None` without end.
    pub until: Option<Instant>,
    /// Nothing passes.
    pub whole: bool,
    /// An operator says so.
    pub by_operator: bool,
    /// How many times it has been blocked, this one included.
    pub times: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::new(&[9; 16])
    }

    fn ip(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    fn s(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn new(from: u64, to: u64) -> NewBlock {
        let (now, until) = (s(from), Some(s(to)));
        NewBlock { now, until, whole: true, by_operator: false, times: 1 }
    }

    #[test]
    fn a_block_holds_until_its_end_and_the_next_is_twice_as_long() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        assert!(list.block(&addresses, ip(1), new(0, 600)));
        assert_eq!(list.standing(s(599), &addresses, ip(1)), Standing::Blocked);
        assert_eq!(list.standing(s(600), &addresses, ip(1)), Standing::Free, "before it is turned");
        assert_eq!(list.standing(s(1), &addresses, ip(2)), Standing::Free);
        assert_eq!(list.next_end(), Some(s(600)));
        list.expire(s(600), &addresses, 1000);
        assert!(list.is_empty() && list.standing(s(601), &addresses, ip(1)) == Standing::Free);
        assert_eq!(list.next_block(&addresses, ip(1), 600, 86_400), (1200, 2));
        assert_eq!(list.next_block(&addresses, ip(2), 600, 86_400), (600, 1));
        list.expire(s(1600), &addresses, 1000);
        assert_eq!(list.next_block(&addresses, ip(1), 600, 86_400), (600, 1), "forgotten");
        assert_eq!(list.next_end(), None);
    }

    #[test]
    fn blocks_grow_up_to_the_longest() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        let mut lengths = Vec::new();
        for _ in 0..40 {
            let (seconds, times) = list.next_block(&addresses, ip(1), 600, 86_400);
            lengths.push(seconds);
            list.block(&addresses, ip(1), NewBlock { times, ..new(0, 10) });
        }
        assert_eq!(lengths[..4], [600, 1200, 2400, 4800]);
        assert_eq!(lengths[39], 86_400);
    }

    #[test]
    fn what_an_operator_said_stays_and_a_restraint_does_not_soften_a_block() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        let forever = NewBlock { until: None, by_operator: true, ..new(0, 0) };
        assert!(list.block(&addresses, ip(1), forever));
        assert!(!list.block(&addresses, ip(1), new(0, 5)));
        list.expire(s(1 << 30), &addresses, 10);
        assert_eq!(list.standing(s(1 << 30), &addresses, ip(1)), Standing::Blocked);
        let restraint = NewBlock { whole: false, ..new(0, 100) };
        assert!(list.block(&addresses, ip(2), restraint));
        assert_eq!(list.standing(s(1), &addresses, ip(2)), Standing::Restrained);
        assert!(list.block(&addresses, ip(2), new(0, 50)));
        assert!(!list.block(&addresses, ip(2), restraint));
        assert_eq!(list.standing(s(1), &addresses, ip(2)), Standing::Blocked);
        assert!(!list.lift(&addresses, ip(2), true), "a whole block");
        assert!(list.lift(&addresses, ip(2), false) && list.lift(&addresses, ip(1), false));
        assert!(!list.lift(&addresses, ip(1), false) && list.is_empty());
    }

    #[test]
    fn the_list_is_bounded_and_those_free_soonest_make_room() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        for number in 0..BLACKLIST_MAX as u32 + 10 {
            list.block(&addresses, ip(number), new(0, 1000 + u64::from(number)));
        }
        assert_eq!(list.len(), BLACKLIST_MAX);
        assert_eq!(list.standing(s(1), &addresses, ip(9)), Standing::Free);
        assert_eq!(list.standing(s(1), &addresses, ip(10)), Standing::Blocked);
    }

    #[test]
    fn pages_follow_each_other_and_changes_are_told() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        for number in [5, 3, 9, 1] {
            list.block(&addresses, ip(number), new(0, 100));
        }
        let version = list.version();
        let page = |after: Option<IpAddr>| -> Vec<IpNet> {
            list.list(s(0), &addresses, after, 3).map(|blocked| blocked.network).collect()
        };
        let nets = |numbers: &[u32]| numbers.iter().map(|&n| network(ip(n))).collect::<Vec<_>>();
        assert_eq!(page(None), nets(&[1, 3, 5]));
        assert_eq!(page(Some(ip(5))), nets(&[9]));
        assert_eq!(page(Some(ip(9))), []);
        list.expire(s(100), &addresses, 10);
        assert!(list.version() > version);
    }

    #[test]
    fn every_address_of_an_ipv6_subscriber_is_blocked_together() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        let (one, other): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::ffff:2".parse().unwrap());
        list.block(&addresses, one, new(0, 100));
        assert_eq!(list.standing(s(1), &addresses, other), Standing::Blocked);
        let listed = list.list(s(0), &addresses, None, 9).next().unwrap();
        assert_eq!(listed.network.to_string(), "2001:db8::/64");
    }
}
