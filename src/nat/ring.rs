//! The ring of a schedule: time slots that cover one cycle, who has a turn in which, and how full
//! each stretch of the cycle is. It places and finds; who is served when is `schedule`'s.
//!
//! The entries of a slot lie side by side, so that whoever serves them can read ahead. Beside the
//! slots stands a tree of their loads: a newcomer goes down it towards the emptier half, by its
//! hash where both are as full, so the load is flat at every scale whatever the order of arrival.

use crate::time::Instant;

/// The halves of a stretch may differ by one in 256 before the hash is overruled.
const SLACK_SHIFT: u32 = 8;
/// A stretch may be fuller than its share by one in 32 before nobody moves there by choice.
const ROOM_SHIFT: u32 = 5;
/// A slot that is fuller than the mean by one in 32 sends its entries elsewhere.
const CROWDED_SHIFT: u32 = 5;
/// Most slots of a ring, in bits: their numbers fit `u16`.
const BITS_MAX: u32 = 16;
/// How long a slot is at most, unless the cycle has more than its share of slots.
const SLOT_NS_MAX: u64 = 10_000_000;

/// Where an entry has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the slot.
    pub slot: u16,
    /// Its position there.
    pub position: u32,
}

/// The ring. Slot `n` holds the turns of every instant `t` with `t / slot_ns % slots == n`.
#[derive(Debug)]
pub(super) struct Ring {
    slot_ns: u64,
    slots: Vec<Vec<u32>>,
    /// Entries below each node of a complete binary tree: the root is 1, slot `n` is the leaf
    /// `slots + n`.
    loads: Vec<u32>,
    /// The slot at hand, counted from the origin of time.
    at: u64,
    /// Entries it had when it came up: they share its time evenly.
    begun: u32,
    /// Entries of it that have had their turn: those at the front.
    served: u32,
}

impl Ring {
    /// A ring whose cycle and one slot more fill `span_ns`.
    pub(super) fn new(span_ns: u64) -> Ring {
        let bits = (0..BITS_MAX)
            .find(|bits| span_ns / ((1 << bits) + 1) <= SLOT_NS_MAX)
            .unwrap_or(BITS_MAX);
        let slots = 1usize << bits;
        Ring {
            slot_ns: (span_ns / (slots as u64 + 1)).max(1),
            slots: vec![Vec::new(); slots],
            loads: vec![0; 2 * slots],
            at: 0,
            begun: 0,
            served: 0,
        }
    }

    pub(super) fn population(&self) -> u32 {
        self.loads[1]
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slot_ns(&self) -> u64 {
        self.slot_ns
    }

    pub(super) fn cycle_ns(&self) -> u64 {
        self.slot_ns * self.slots.len() as u64
    }

    pub(super) fn load(&self, slot: u16) -> u32 {
        self.loads[self.slots.len() + usize::from(slot)]
    }

    fn slot_of(&self, absolute: u64) -> u16 {
        (absolute % self.slots.len() as u64) as u16
    }

    /// The slot an instant falls into.
    pub(super) fn slot_at(&self, at: Instant) -> u16 {
        self.slot_of(at.as_nanos() / self.slot_ns)
    }

    fn current(&self) -> u16 {
        self.slot_of(self.at)
    }

    /// A place between two slots, both included and round the end of the ring where `last` is
    /// before `first`: down the tree to the emptier half as long as both are wholly between, by the
    /// hash among halves as full or only partly between.
    pub(super) fn choose(&self, first: u16, last: u16, mut hash: u64) -> u16 {
        let (first, last) = (usize::from(first), usize::from(last));
        // How many slots of `low..end` are between.
        let between = |low: usize, end: usize| {
            let upto = |slot: usize| end.min(slot + 1).saturating_sub(low);
            let from = end - low - (end.min(first).saturating_sub(low));
            if first <= last {
                (upto(last) + from).saturating_sub(end - low)
            } else {
                upto(last) + from
            }
        };
        let (mut node, mut low, mut width) = (1, 0, self.slots.len());
        while width > 1 {
            width /= 2;
            let middle = low + width;
            let here = (between(low, middle), between(middle, middle + width));
            let goes_right = if here == (width, width) {
                let (left, right) = (self.loads[2 * node], self.loads[2 * node + 1]);
                let slack = (left + right) >> SLACK_SHIFT;
                if hash & 1 == 1 { right <= left + slack } else { right + slack < left }
            } else {
                (hash >> 32) as usize % (here.0 + here.1) >= here.0
            };
            hash = hash.rotate_right(1) ^ (hash << 40);
            node = 2 * node + usize::from(goes_right);
            low = if goes_right { middle } else { low };
        }
        low as u16
    }

    /// Whether an entry may move from one slot to another without any stretch of the ring getting
    /// fuller than its share; a `lenient` look lets it be as full as chance would make it.
    pub(super) fn has_room(&self, from: u16, to: u16, lenient: bool) -> bool {
        let slots = self.slots.len();
        let population = u64::from(self.population());
        let (mut node, mut away) = (slots + usize::from(to), slots + usize::from(from));
        let mut depth = slots.trailing_zeros();
        while node != away {
            let share = population.div_ceil(1 << depth);
            let chance = if lenient { share.isqrt() / 2 + 1 } else { 0 };
            let most = share + (share >> ROOM_SHIFT) + chance;
            if u64::from(self.loads[node]) >= most {
                return false;
            }
            (node, away, depth) = (node / 2, away / 2, depth - 1);
        }
        true
    }

    /// Whether a slot holds clearly more than its share.
    pub(super) fn is_crowded(&self, slot: u16) -> bool {
        let (population, slots) = (u64::from(self.population()), self.slots.len() as u64);
        u64::from(self.load(slot)) * slots > population + (population >> CROWDED_SHIFT) + slots
    }

    /// Adds an entry to a slot. Its turn comes when the slot does next; in the slot at hand, at
    /// its end.
    pub(super) fn insert(&mut self, slot: u16, index: u32) -> Place {
        let entries = &mut self.slots[usize::from(slot)];
        entries.push(index);
        let position = entries.len() as u32 - 1;
        self.count(slot, 1);
        Place { slot, position }
    }

    /// Takes an entry out. Those that take its position and that one's are told to `moved`, with
    /// the positions they have then.
    pub(super) fn remove(&mut self, place: Place, mut moved: impl FnMut(u32, u32)) {
        let is_current = place.slot == self.current();
        let entries = &mut self.slots[usize::from(place.slot)];
        let mut position = place.position as usize;
        if is_current && place.position < self.served {
            // Those that had their turn stay in front of those that wait for it.
            self.served -= 1;
            let last = self.served as usize;
            if last != position {
                entries[position] = entries[last];
                moved(entries[position], position as u32);
                position = last;
            }
        }
        entries.swap_remove(position);
        if let Some(&index) = entries.get(position) {
            moved(index, position as u32);
        }
        if entries.is_empty() {
            // Or whoever comes and goes leaves a little in every slot in the end.
            *entries = Vec::new();
        }
        self.count(place.slot, -1);
    }

    fn count(&mut self, slot: u16, change: i32) {
        let mut node = self.slots.len() + usize::from(slot);
        while node > 0 {
            self.loads[node] = self.loads[node].wrapping_add_signed(change);
            node /= 2;
        }
    }

    /// Goes on over slots that are done, no further than `now`. What fell due more than a cycle
    /// ago falls due once.
    pub(super) fn advance(&mut self, now: Instant) {
        let now_at = now.as_nanos() / self.slot_ns;
        let slots = self.slots.len() as u64;
        if now_at > self.at + slots {
            self.begin(now_at - slots);
        }
        while self.at < now_at && self.is_done() {
            let next = self.next_distance().map_or(now_at, |distance| self.at + distance);
            self.begin(next.min(now_at));
        }
    }

    fn begin(&mut self, at: u64) {
        self.at = at;
        self.served = 0;
        self.begun = self.load(self.current());
    }

    fn is_done(&self) -> bool {
        self.served >= self.load(self.current())
    }

    /// How many slots further the next one with entries is; the slot at hand itself comes round
    /// again last.
    fn next_distance(&self) -> Option<u64> {
        let slots = self.slots.len();
        if self.population() == 0 {
            return None;
        }
        let from = usize::from(self.current());
        let mut node = slots + from;
        while node > 1 && (node % 2 == 1 || self.loads[node + 1] == 0) {
            node /= 2;
        }
        // At the root, nothing follows up to the end of the ring: from its beginning then.
        node = if node > 1 { node + 1 } else { 1 };
        let wraps = node == 1;
        while node < slots {
            node = 2 * node + usize::from(self.loads[2 * node] == 0);
        }
        let found = node - slots;
        Some(if wraps { slots - from + found } else { found - from } as u64)
    }

    /// The entry whose turn is next, and when that is; only where it is in the slot at hand.
    pub(super) fn head(&self) -> Option<(u32, Instant)> {
        let index = *self.slots[usize::from(self.current())].get(self.served as usize)?;
        let share = u128::from(self.served) * u128::from(self.slot_ns);
        let offset = (share / u128::from(self.begun.max(1))).min(u128::from(self.slot_ns)) as u64;
        Some((index, Instant::from_nanos(self.at * self.slot_ns + offset)))
    }

    /// Those in the slot at hand that wait for their turn, in order.
    pub(super) fn ahead(&self) -> &[u32] {
        self.slots[usize::from(self.current())].get(self.served as usize..).unwrap_or_default()
    }

    /// The head has its turn.
    pub(super) fn serve(&mut self) {
        self.served += 1;
    }

    /// When the next turn is.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        if let Some((_, at)) = self.head() {
            return Some(at);
        }
        let distance = self.next_distance()?;
        Some(Instant::from_nanos((self.at + distance) * self.slot_ns))
    }

    /// The index in a place.
    pub(super) fn entry(&self, place: Place) -> Option<u32> {
        self.slots[usize::from(place.slot)].get(place.position as usize).copied()
    }

    /// Adds up everything that is counted.
    ///
    /// # Panics
    /// If something is broken, which is a bug of ours.
    pub(super) fn check_invariants(&self) {
        let slots = self.slots.len();
        for node in 1..slots {
            assert_eq!(self.loads[node], self.loads[2 * node] + self.loads[2 * node + 1]);
        }
        for (slot, entries) in self.slots.iter().enumerate() {
            assert_eq!(self.loads[slots + slot] as usize, entries.len(), "load of slot {slot}");
        }
        assert!(self.served <= self.load(self.current()), "nobody is served twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn ring(slots: u32) -> Ring {
        let ring = Ring::new(u64::from(slots + 1) * SLOT_NS_MAX);
        assert_eq!((ring.slots(), ring.slot_ns()), (slots as usize, SLOT_NS_MAX));
        ring
    }

    #[test]
    fn a_slot_is_ten_milliseconds_at_most_unless_there_would_be_too_many() {
        for seconds in [1, 10, 30, 90, 600, 3600, 86_400] {
            let ring = Ring::new(seconds * SECOND);
            let most = 1 << BITS_MAX;
            assert!(ring.slot_ns() <= SLOT_NS_MAX || ring.slots() == most, "{seconds} s");
            assert!(ring.slots() <= most);
            let whole = ring.cycle_ns() + ring.slot_ns();
            assert!(whole <= seconds * SECOND && whole + most as u64 >= seconds * SECOND);
        }
    }

    #[test]
    fn newcomers_fill_the_ring_evenly_in_any_order() {
        for hash in
            [|n: u64| n, |_| 0, |_| u64::MAX, |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)]
        {
            let mut ring = ring(1024);
            for number in 0..100_000 {
                let slot = ring.choose(0, 1023, hash(number));
                ring.insert(slot, number as u32);
            }
            let loads = (0..1024).map(|slot| ring.load(slot));
            assert!(loads.clone().max().unwrap() <= 101, "at most 1.03 of the mean of 97.7");
            assert!(loads.min().unwrap() >= 94);
            ring.check_invariants();
        }
    }

    #[test]
    fn a_few_are_far_apart() {
        let mut ring = ring(1024);
        let mut taken: Vec<u16> = (0..8u64)
            .map(|number| {
                let slot = ring.choose(0, 1023, number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                ring.insert(slot, number as u32);
                slot / 128
            })
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3, 4, 5, 6, 7], "each in an eighth of its own");
    }

    #[test]
    fn whoever_left_makes_room_for_the_next() {
        let mut ring = ring(256);
        let places: Vec<Place> = (0..2560).map(|n| ring.insert((n % 256) as u16, n)).collect();
        // Everybody in the first half leaves, the last of each slot first.
        for place in places.iter().rev().filter(|place| place.slot < 128) {
            ring.remove(*place, |_, _| panic!("the last leaves no gap"));
        }
        for number in 0..1280 {
            let slot = ring.choose(0, 255, u64::MAX);
            ring.insert(slot, number);
        }
        assert!((0..256).all(|slot| (9..=11).contains(&ring.load(slot))));
    }

    #[test]
    fn the_turns_of_a_slot_share_its_time() {
        let mut ring = ring(64);
        for index in 0..4 {
            ring.insert(3, index);
        }
        let start = 3 * SLOT_NS_MAX;
        assert_eq!(ring.next_turn(), Some(Instant::from_nanos(start)));
        ring.advance(Instant::from_nanos(start));
        for index in 0..4 {
            let at = start + u64::from(index) * SLOT_NS_MAX / 4;
            assert_eq!(ring.head(), Some((index, Instant::from_nanos(at))));
            ring.serve();
        }
        assert_eq!(ring.head(), None);
        assert_eq!(ring.next_turn(), Some(Instant::from_nanos(start + ring.cycle_ns())));
    }

    proptest! {
        #[test]
        fn a_choice_stays_within_its_bounds(
            first in 0u16..64,
            last in 0u16..64,
            filled in proptest::collection::vec(0u16..64, 0..80),
            hash: u64,
        ) {
            let mut ring = ring(64);
            for slot in filled {
                ring.insert(slot, 0);
            }
            let slot = ring.choose(first, last, hash);
            let from_first = |slot: u16| slot.wrapping_sub(first) & 63;
            let within = from_first(slot) <= from_first(last);
            prop_assert!(within, "{} is not within {}..={}", slot, first, last);
        }

        #[test]
        fn each_is_served_once_in_a_cycle_whoever_leaves_meanwhile(
            slots in proptest::collection::vec(0u16..8, 1..60),
            leaves in proptest::collection::vec((0usize..60, 0usize..60), 0..20),
        ) {
            let mut ring = ring(8);
            let mut places: Vec<Option<Place>> = Vec::new();
            for (index, &slot) in slots.iter().enumerate() {
                places.push(Some(ring.insert(slot, index as u32)));
            }
            let mut served = vec![0; slots.len()];
            let end = Instant::from_nanos(ring.cycle_ns() - 1);
            let mut step = 0;
            loop {
                for &(_, gone) in leaves.iter().filter(|&&(when, _)| when == step) {
                    let Some(place) = places.get_mut(gone).and_then(Option::take) else { continue };
                    ring.remove(place, |index, position| {
                        places[index as usize].as_mut().unwrap().position = position;
                    });
                    ring.check_invariants();
                }
                step += 1;
                ring.advance(end);
                let Some((index, at)) = ring.head() else { break };
                prop_assert!(at <= end);
                served[index as usize] += 1;
                ring.serve();
            }
            for (index, place) in places.iter().enumerate() {
                prop_assert!(served[index] == 1 || place.is_none() && served[index] == 0);
            }
        }
    }
}
