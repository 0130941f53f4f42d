//! A hierarchical timing wheel over the slots of a table: when is which binding due?
//!
//! It owns deadlines and nothing else: what a fired token means (the binding has gone, lives on
//! with a later deadline, or is due) is decided by the table that armed it.
//!
//! One tick is one second and the six levels of 64 buckets cover every `u32`, so there is no
//! horizon to fall off. An entry sits in the level of the highest base-64 digit in which its
//! deadline differs from `elapsed`; time moves straight from one occupied bucket to the next, so
//! hours asleep cost no more than the entries that fell due.
//!
//! The links live in one node of 16 bytes per slot, so a slot is armed at most once and nothing
//! stale piles up: a table whose entries come and go a hundred thousand times a second holds
//! exactly one node for each of its slots. Leaving costs nothing here: the node stays armed with
//! the generation of the entry that went, and either the next tenant of the slot takes it over or
//! it fires and is found stale.

use crate::table::Sparse;

/// "No node", and in `prev` "not armed".
const NIL: u32 = u32::MAX;
/// Set in `prev` of the first node of a bucket; the other bits number the bucket.
const HEAD: u32 = 1 << 31;
const DIGIT_BITS: u32 = 6;
const BUCKETS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 6;

const _: () = assert!(DIGIT_BITS as usize * LEVELS >= 32);

/// What a deadline was armed for: a slot and the generation of its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Number of the slot, dense from 0 and below 2^31.
    pub index: u32,
    /// The tenant that armed it; another generation found in the slot means the token is stale.
    pub generation: u32,
}

/// One step of [`Wheel::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The deadline of this token has come; it is no longer armed.
    Due(Token),
    /// An entry moved to a finer level; call again.
    Moved,
    /// Nothing is due up to the time asked for.
    Idle,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    prev: u32,
    at: u32,
    generation: u32,
}

/// A node as it is stored. Of all zeroes it is one that was never armed, so that a table of them
/// needs no filling.
type Stored = [u32; 4];

impl From<Stored> for Node {
    #[inline]
    fn from([next, prev, at, generation]: Stored) -> Node {
        Node { next: !next, prev: !prev, at, generation }
    }
}

/// Where the parts of a node stand; the links are stored inverted.
const NEXT: usize = 0;
const PREV: usize = 1;
const AT: usize = 2;
const GENERATION: usize = 3;
/// Nodes of a chunk, in bits: 4 MiB, and so few in tests that there are many chunks.
const CHUNK_BITS: u32 = if cfg!(test) { 3 } else { 18 };

/// The wheel. Times are whole seconds since an origin of the caller.
#[derive(Debug)]
pub struct Wheel {
    nodes: Sparse<Stored, CHUNK_BITS>,
    heads: [u32; LEVELS * BUCKETS],
    occupied: [u64; LEVELS],
    /// Everything due before this second has fired; what is due in it may be firing.
    elapsed: u32,
    /// The bucket above level 0 that is being spread over the finer levels, if one is half done.
    spreading: Option<u32>,
    armed: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            nodes: Sparse::default(),
            heads: [NIL; LEVELS * BUCKETS],
            occupied: [0; LEVELS],
            elapsed: 0,
            spreading: None,
            armed: 0,
        }
    }
}

impl Wheel {
    /// Makes room for slots `0..slots` ahead of time.
    pub fn reserve(&mut self, slots: usize) {
        self.nodes.reserve_total(slots);
    }

    /// Slots that hold an armed deadline.
    #[must_use]
    pub fn armed(&self) -> usize {
        self.armed
    }

    /// Sees to it that the slot of `token` fires at second `at` or before, and with this
    /// generation. An earlier deadline of the slot stays: whoever hears it fire arms the slot
    /// anew. So a refresh to a later time moves nothing.
    pub fn arm(&mut self, token: Token, at: u32) {
        debug_assert!(token.index < HEAD, "slot numbers leave the top bit free");
        let node = self.nodes.put(token.index as usize);
        node[GENERATION] = token.generation;
        if !node[PREV] != NIL {
            if node[AT] <= at {
                return;
            }
            self.unlink(token.index);
        }
        self.link(token.index, at);
    }

    fn node(&self, index: u32) -> Node {
        Node::from(*self.nodes.at(index as usize))
    }

    fn stored(&mut self, index: u32) -> &mut Stored {
        self.nodes.get_mut(index as usize).expect("what is linked was armed")
    }

    fn set_next(&mut self, index: u32, next: u32) {
        self.stored(index)[NEXT] = !next;
    }

    fn set_prev(&mut self, index: u32, prev: u32) {
        self.stored(index)[PREV] = !prev;
    }

    /// Takes one step towards `now`: one entry fired or moved. Calling until [`Step::Idle`] fires
    /// everything with a deadline of `now` or before, and never anything later; stopping earlier
    /// only makes the rest wait for the next call.
    pub fn poll(&mut self, now: u32) -> Step {
        if let Some(bucket) = self.spreading {
            self.spread(bucket);
            return Step::Moved;
        }
        let Some((bucket, start)) = self.first_bucket() else {
            self.elapsed = self.elapsed.max(now);
            return Step::Idle;
        };
        if start > now {
            self.elapsed = self.elapsed.max(now);
            return Step::Idle;
        }
        self.elapsed = self.elapsed.max(start);
        if bucket as usize >= BUCKETS {
            self.spreading = Some(bucket);
            self.spread(bucket);
            return Step::Moved;
        }
        let index = self.heads[bucket as usize];
        let Node { generation, .. } = self.unlink(index);
        Step::Due(Token { index, generation })
    }

    /// The second at which [`Wheel::poll`] next has something to do: the first deadline itself
    /// where that is near, else the start of the span it lies in.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u32> {
        if self.spreading.is_some() {
            return Some(self.elapsed);
        }
        self.first_bucket().map(|(_, start)| start)
    }

    /// The bucket whose time comes first, and when its span begins. A coarser level only holds
    /// what lies beyond every finer one.
    fn first_bucket(&self) -> Option<(u32, u32)> {
        let level = self.occupied.iter().position(|&buckets| buckets != 0)?;
        let digit = self.occupied[level].trailing_zeros();
        let shift = DIGIT_BITS * level as u32;
        let above = u64::from(self.elapsed) >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        let start = above | u64::from(digit) << shift;
        Some((level as u32 * BUCKETS as u32 + digit, start as u32))
    }

    /// Moves the first entry of a coarse bucket, whose span has begun, to where it now belongs.
    fn spread(&mut self, bucket: u32) {
        let index = self.heads[bucket as usize];
        let Node { at, .. } = self.unlink(index);
        self.link(index, at);
        if self.heads[bucket as usize] == NIL {
            self.spreading = None;
        }
    }

    fn link(&mut self, index: u32, at: u32) {
        // A deadline already past fires with the current second.
        let fires_at = at.max(self.elapsed);
        let differing = (fires_at ^ self.elapsed) | 1;
        let level = (31 - differing.leading_zeros()) / DIGIT_BITS;
        let digit = fires_at >> (level * DIGIT_BITS) & (BUCKETS as u32 - 1);
        let bucket = level * BUCKETS as u32 + digit;
        let next = std::mem::replace(&mut self.heads[bucket as usize], index);
        if next != NIL {
            self.set_prev(next, index);
        }
        let node = self.stored(index);
        node[NEXT] = !next;
        node[PREV] = !(HEAD | bucket);
        node[AT] = at;
        self.occupied[level as usize] |= 1 << digit;
        self.armed += 1;
    }

    /// Takes out what is armed, and gives the node as it was.
    fn unlink(&mut self, index: u32) -> Node {
        let stored = self.stored(index);
        let node = Node::from(*stored);
        stored[PREV] = !NIL;
        let Node { next, prev, .. } = node;
        debug_assert_ne!(prev, NIL, "only what is armed is unlinked");
        if next != NIL {
            self.set_prev(next, prev);
        }
        if prev & HEAD == 0 {
            self.set_next(prev, next);
        } else {
            let bucket = prev & !HEAD;
            self.heads[bucket as usize] = next;
            if next == NIL {
                self.occupied[bucket as usize / BUCKETS] &= !(1 << (bucket as usize % BUCKETS));
                if self.spreading == Some(bucket) {
                    self.spreading = None;
                }
            }
        }
        self.armed -= 1;
        node
    }

    /// The deadline armed for a slot, and the generation it carries.
    #[must_use]
    pub fn deadline(&self, index: u32) -> Option<(u32, u32)> {
        let node = self.node(index);
        (node.prev != NIL).then_some((node.at, node.generation))
    }

    /// Walks every bucket and checks links, places and counts.
    ///
    /// # Panics
    /// If the wheel is broken, which is a bug of ours.
    pub fn check_invariants(&self) {
        let mut seen = 0;
        for (bucket, &head) in self.heads.iter().enumerate() {
            let (level, digit) = (bucket / BUCKETS, bucket % BUCKETS);
            assert_eq!(self.occupied[level] >> digit & 1 == 1, head != NIL, "bucket {bucket}");
            let mut prev = HEAD | bucket as u32;
            let mut index = head;
            while index != NIL {
                let node = self.node(index);
                assert_eq!(node.prev, prev, "back link of node {index}");
                if self.spreading != Some(bucket as u32) {
                    let differing = (node.at.max(self.elapsed) ^ self.elapsed) | 1;
                    let due_level = (31 - differing.leading_zeros()) / DIGIT_BITS;
                    assert_eq!(due_level as usize, level, "level of node {index}");
                }
                seen += 1;
                prev = index;
                index = node.next;
            }
        }
        assert_eq!(seen, self.armed, "armed count");
        let armed = self.nodes.iter().filter(|&(_, &node)| Node::from(node).prev != NIL);
        assert_eq!(armed.count(), seen, "armed nodes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn token(index: u32) -> Token {
        Token { index, generation: 7 }
    }

    fn drain(wheel: &mut Wheel, now: u32) -> Vec<u32> {
        let mut fired = Vec::new();
        loop {
            match wheel.poll(now) {
                Step::Due(token) => fired.push(token.index),
                Step::Moved => {}
                Step::Idle => return fired,
            }
        }
    }

    #[test]
    fn fires_in_its_second_and_not_before() {
        for at in [1, 63, 64, 65, 4095, 4096, 86_400, 262_143, 262_144, 1 << 30, u32::MAX] {
            let mut wheel = Wheel::default();
            wheel.arm(token(0), at);
            assert_eq!(drain(&mut wheel, at - 1), Vec::<u32>::new(), "{at}");
            assert_eq!(drain(&mut wheel, at), [0], "{at}");
            assert_eq!(wheel.next_deadline(), None);
        }
    }

    #[test]
    fn a_later_deadline_moves_nothing_and_an_earlier_one_does() {
        let mut wheel = Wheel::default();
        wheel.arm(token(0), 100);
        wheel.arm(token(0), 200);
        assert_eq!(wheel.deadline(0), Some((100, 7)));
        wheel.arm(token(0), 50);
        assert_eq!(wheel.deadline(0), Some((50, 7)));
        assert_eq!(wheel.armed(), 1);
        assert_eq!(drain(&mut wheel, 50), [0]);
    }

    #[test]
    fn the_token_that_fires_carries_the_latest_generation() {
        let mut wheel = Wheel::default();
        wheel.arm(Token { index: 3, generation: 1 }, 10);
        wheel.arm(Token { index: 3, generation: 2 }, 20);
        assert_eq!(wheel.poll(10), Step::Due(Token { index: 3, generation: 2 }));
    }

    #[test]
    fn a_long_sleep_takes_as_many_steps_as_there_are_entries_and_levels() {
        let mut wheel = Wheel::default();
        wheel.arm(token(0), 4_000_000_000);
        let mut steps = 0;
        while wheel.poll(u32::MAX) != Step::Idle {
            steps += 1;
        }
        assert!(steps <= LEVELS, "{steps} steps");
    }

    #[test]
    fn sleeping_until_next_deadline_reaches_every_entry() {
        let mut wheel = Wheel::default();
        wheel.arm(token(0), 86_399);
        let mut naps = 0;
        loop {
            let now = wheel.next_deadline().expect("still armed");
            assert!(now <= 86_399);
            if drain(&mut wheel, now) == [0] {
                break;
            }
            naps += 1;
        }
        assert!(naps <= LEVELS);
    }

    #[test]
    fn arming_and_unlinking_in_the_middle_of_a_spread_keeps_the_wheel_whole() {
        let mut wheel = Wheel::default();
        for index in 0..8 {
            wheel.arm(token(index), 100 + index);
        }
        assert_eq!(wheel.poll(100), Step::Moved);
        for index in 0..8 {
            wheel.arm(token(index), 90);
            wheel.check_invariants();
        }
        let mut fired = drain(&mut wheel, 100);
        fired.sort_unstable();
        assert_eq!(fired, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Arm { index: u32, delay: u32 },
        Advance { by: u32, steps: usize },
        Sleep { by: u32 },
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let delay = prop_oneof![0..3u32, 1..130u32, 1..90_000u32, 1..3_000_000u32];
        let step = prop_oneof![0..3u32, 0..200u32, 0..100_000u32, 0..4_000_000u32];
        let op = prop_oneof![
            4 => (0..24u32, delay).prop_map(|(index, delay)| Op::Arm { index, delay }),
            1 => (step.clone(), 0..20usize).prop_map(|(by, steps)| Op::Advance { by, steps }),
            2 => step.prop_map(|by| Op::Sleep { by }),
        ];
        proptest::collection::vec(op, 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn behaves_like_an_ordered_map(
            ops in ops(),
            origin in prop_oneof![Just(0u32), 0..1u32 << 31],
        ) {
            let mut wheel = Wheel::default();
            drain(&mut wheel, origin);
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            let mut now = origin;
            for op in ops {
                match op {
                    Op::Arm { index, delay } => {
                        wheel.arm(token(index), now + delay);
                        let at = model.entry(index).or_insert(u32::MAX);
                        *at = (*at).min(now + delay);
                    }
                    Op::Advance { by, steps } => {
                        now += by;
                        for _ in 0..steps {
                            if let Step::Due(token) = wheel.poll(now) {
                                let at = model.remove(&token.index);
                                prop_assert!(at.is_some_and(|at| at <= now));
                            }
                        }
                    }
                    Op::Sleep { by } => {
                        now += by;
                        let mut fired = drain(&mut wheel, now);
                        fired.sort_unstable();
                        let due: Vec<u32> =
                            model.iter().filter(|&(_, &at)| at <= now).map(|(&i, _)| i).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(fired, due);
                    }
                }
                wheel.check_invariants();
                prop_assert_eq!(wheel.armed(), model.len());
                match (wheel.next_deadline(), model.values().min()) {
                    (Some(next), Some(&first)) => prop_assert!(next <= first.max(now)),
                    (next, first) => prop_assert_eq!(next.is_none(), first.is_none()),
                }
            }
        }
    }
}
