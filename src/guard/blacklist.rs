//! Sources that are blocked for a time. It owns who is blocked, until when, and how often before;
//! why is the score's to say, and every shard has the whole list.
//!
//! Anybody can have others restrained by what he sends in their name, so restraints have places of
//! their own and push out nothing but each other. Among the rest the memory of repeaters makes room
//! first, then the guard's blocks; an operator's makes room for nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound;

use hashbrown::HashTable;
use ipnet::IpNet;

use super::address::{Addresses, culprit, network};
use super::table::Hashed;
use crate::limits::{BLACKLIST_MAX, RESTRAINTS_MAX};
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

/// How dear a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A restraint of somebody who was never blocked. These have places of their own.
    Restraint,
    /// How often there was a block, be the source restrained now or not.
    Memory,
    /// A block of the guard's.
    Guard,
    /// A block of an operator's.
    Operator,
}

const RANKS: usize = 4;

impl Block {
    fn rank(&self) -> Rank {
        match self {
            Block { active: true, by_operator: true, .. } => Rank::Operator,
            Block { active: true, whole: true, .. } => Rank::Guard,
            Block { active: true, times: 0, .. } => Rank::Restraint,
            _ => Rank::Memory,
        }
    }
}

/// What made room for another before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedOut {
    /// Whose place it was.
    pub source: IpAddr,
    /// It was blocked whole; otherwise restrained, or only remembered.
    pub whole: bool,
}

/// The list.
#[derive(Default)]
pub struct Blacklist {
    blocks: HashTable<(Hashed, Block)>,
    /// Sources by the end of their block, or of the memory of it; not those without an end. A set
    /// for each [`Rank`].
    ends: [BTreeSet<(Instant, IpAddr)>; RANKS],
    /// Places that each rank holds, with those without an end.
    held: [usize; RANKS],
    /// What the last block has pushed out.
    pushed_out: Option<PushedOut>,
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
        let block = Block { source, since: now, until, active: true, whole, by_operator, times };
        if !self.make_room(addresses, &block) {
            return false;
        }
        self.forget(addresses, source);
        let hashed = addresses.hash(source);
        if self.blocks.is_empty() {
            // All its room at once: a table that grows hashes everything anew.
            self.blocks.reserve(BLACKLIST_MAX + RESTRAINTS_MAX, |(hashed, _)| hashed.0);
        }
        self.blocks.insert_unique(hashed.0, (hashed, block), |(hashed, _)| hashed.0);
        self.hold(&block);
        self.listed.insert(source);
        self.version += 1;
        true
    }

    /// Makes room for a block that takes the place of what there is of its source. Returns whether
    /// there is room.
    fn make_room(&mut self, addresses: &Addresses, new: &Block) -> bool {
        let is_restraint = |rank| rank == Rank::Restraint;
        let rank = new.rank();
        let old = self.find(addresses, new.source).map(Block::rank);
        let restraints = self.held[Rank::Restraint as usize];
        let (held, most) = match is_restraint(rank) {
            true => (restraints, RESTRAINTS_MAX),
            false => (self.blocks.len() - restraints, BLACKLIST_MAX),
        };
        if held < most || old.is_some_and(|old| is_restraint(old) == is_restraint(rank)) {
            return true;
        }
        let cheaper: &[Rank] = match rank {
            Rank::Restraint => &[Rank::Restraint],
            Rank::Memory => &[Rank::Memory],
            Rank::Guard | Rank::Operator => &[Rank::Memory, Rank::Guard],
        };
        // Of the cheapest, whoever would be free soonest.
        let soonest = cheaper.iter().find_map(|&rank| self.ends[rank as usize].first().copied());
        let Some((_, source)) = soonest else { return false };
        let whole = self.find(addresses, source).is_some_and(|block| block.active && block.whole);
        self.pushed_out = Some(PushedOut { source, whole });
        self.forget(addresses, source);
        true
    }

    /// What has made room for the last block, told once.
    pub fn take_pushed_out(&mut self) -> Option<PushedOut> {
        self.pushed_out.take()
    }

    fn hold(&mut self, block: &Block) {
        let rank = block.rank() as usize;
        self.held[rank] += 1;
        self.ends[rank].extend(block.until.map(|until| (until, block.source)));
    }

    fn release(&mut self, block: &Block) {
        let rank = block.rank() as usize;
        self.held[rank] -= 1;
        if let Some(until) = block.until {
            self.ends[rank].remove(&(until, block.source));
        }
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
        self.release(&block);
        if self.listed.remove(&source) {
            self.version += 1;
        }
    }

    /// When something ends next.
    #[inline]
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.first_end().map(|(end, _)| end)
    }

    #[inline]
    fn first_end(&self) -> Option<(Instant, IpAddr)> {
        self.ends.iter().filter_map(|ends| ends.first().copied()).min()
    }

    /// Ends blocks whose time is over, a bounded number at a time. How often there was one is
    /// remembered for another `memory_s` seconds.
    pub fn expire(&mut self, now: Instant, addresses: &Addresses, memory_s: u32) {
        const MOST: usize = 256;
        for _ in 0..MOST {
            let Some((end, source)) = self.first_end().filter(|(end, _)| *end <= now) else {
                return;
            };
            let Some(block) = self.find(addresses, source).copied() else { return };
            // There is nothing to remember of who was never blocked.
            if !block.active || block.rank() == Rank::Restraint {
                self.forget(addresses, source);
                continue;
            }
            let until = Some(super::told::until(end, memory_s));
            let remembered = Block { active: false, until, ..block };
            self.release(&block);
            self.hold(&remembered);
            let hashed = addresses.hash(source);
            let found = self.blocks.find_mut(hashed.0, |(_, block)| block.source == source);
            let Some((_, place)) = found else { return };
            *place = remembered;
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
    use proptest::prelude::*;

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

    fn restraint(from: u64, to: u64) -> NewBlock {
        NewBlock { whole: false, times: 0, ..new(from, to) }
    }

    fn operators(from: u64, to: u64) -> NewBlock {
        NewBlock { by_operator: true, ..new(from, to) }
    }

    #[test]
    fn a_flood_of_restraints_pushes_out_nothing_but_restraints() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        assert!(list.block(&addresses, ip(1), operators(0, 100)));
        assert!(list.block(&addresses, ip(2), new(0, 100)));
        list.block(&addresses, ip(3), new(0, 5));
        list.expire(s(5), &addresses, 50);
        for number in 0..70_000 {
            assert!(list.block(&addresses, ip(1000 + number), restraint(5, 605)));
            let pushed_out = list.take_pushed_out();
            assert_eq!(pushed_out.is_some(), number as usize >= RESTRAINTS_MAX);
            assert!(pushed_out.is_none_or(|pushed| !pushed.whole));
        }
        assert_eq!(list.len(), RESTRAINTS_MAX + 2);
        assert_eq!(list.standing(s(99), &addresses, ip(1)), Standing::Blocked);
        assert_eq!(list.standing(s(99), &addresses, ip(2)), Standing::Blocked);
        assert_eq!(list.next_block(&addresses, ip(3), 600, 86_400).1, 2, "it is remembered");
    }

    #[test]
    fn memory_makes_room_first_then_the_guards_blocks_and_never_an_operators() {
        let addresses = addresses();
        let mut list = Blacklist::default();
        list.block(&addresses, ip(0), new(0, 5));
        list.expire(s(5), &addresses, 10_000);
        list.block(&addresses, ip(1), new(5, 900));
        for number in 2..BLACKLIST_MAX as u32 {
            list.block(&addresses, ip(number), operators(5, 100));
        }
        assert_eq!(list.take_pushed_out(), None);
        let more = ip(BLACKLIST_MAX as u32);
        assert!(list.block(&addresses, more, operators(5, 1000)));
        assert_eq!(list.take_pushed_out(), Some(PushedOut { source: ip(0), whole: false }));
        let more = ip(BLACKLIST_MAX as u32 + 1);
        assert!(list.block(&addresses, more, operators(5, 1000)));
        assert_eq!(list.take_pushed_out(), Some(PushedOut { source: ip(1), whole: true }));
        let more = ip(BLACKLIST_MAX as u32 + 2);
        assert!(list.block(&addresses, more, restraint(5, 600)), "it has a place of its own");
        assert!(!list.block(&addresses, more, new(5, 600)));
        assert!(!list.block(&addresses, more, operators(5, 600)));
        assert_eq!(list.take_pushed_out(), None);
        assert_eq!(list.standing(s(6), &addresses, more), Standing::Restrained, "it stays so");
        assert!(list.block(&addresses, ip(2), operators(5, 2000)), "its own place");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Places, sets of ends and the list agree whatever is said in whatever order, and what an
        /// operator said stands until it ends or is lifted.
        #[test]
        fn what_is_held_adds_up_after_any_orders(
            orders in proptest::collection::vec((0u8..6, 0u32..12, 1u64..60, 0u64..8), 0..200),
        ) {
            let addresses = addresses();
            let mut list = Blacklist::default();
            let mut said = std::collections::BTreeMap::new();
            let mut now = 0;
            for (order, number, length, step) in orders {
                now += step;
                list.expire(s(now), &addresses, 30);
                let source = ip(number);
                match order {
                    0 | 1 => {
                        let (_, times) = list.next_block(&addresses, source, 1, 1);
                        let new = restraint(now, now + length);
                        list.block(&addresses, source, NewBlock { times: times - 1, ..new });
                    }
                    2 | 3 => {
                        let (_, times) = list.next_block(&addresses, source, 1, 1);
                        let new = new(now, now + length);
                        list.block(&addresses, source, NewBlock { times, ..new });
                    }
                    4 => {
                        let until = (length > 9).then_some(s(now + length));
                        let forever = NewBlock { until, ..operators(now, 0) };
                        prop_assert!(list.block(&addresses, source, forever));
                        said.insert(number, until);
                    }
                    _ => {
                        list.lift(&addresses, source, length > 30);
                        if length <= 30 {
                            said.remove(&number);
                        }
                    }
                }
                let mut held = [0; RANKS];
                let mut ends = [0; RANKS];
                for (_, block) in &list.blocks {
                    held[block.rank() as usize] += 1;
                    if let Some(until) = block.until {
                        ends[block.rank() as usize] += 1;
                        let end = (until, block.source);
                        prop_assert!(list.ends[block.rank() as usize].contains(&end));
                    }
                }
                prop_assert_eq!(list.held, held);
                prop_assert_eq!(list.ends.each_ref().map(BTreeSet::len), ends);
                for (&number, &until) in &said {
                    if until.is_none_or(|until| until > s(now)) {
                        let standing = list.standing(s(now), &addresses, ip(number));
                        prop_assert_eq!(standing, Standing::Blocked);
                    }
                }
            }
        }
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
