//! The location service: which bindings each address-of-record has, and when each of them ends.
//! It stores and finds; what a REGISTER may do to it is `plan`'s and `register`'s.
//!
//! Heads are addressed by the dense number the shard gives each account; bindings live in a slab
//! and are chained in the order they first came, the oldest first. Those that live on a connection
//! are chained by it as well.

use crate::flow::ConnectionId;
use crate::limits::{ACCOUNTS_MAX, BINDINGS_MAX, STATIC_CONTACTS_MAX};
use crate::registrar::binding::{Binding, BindingId};
use crate::registrar::connections::Connections;
use crate::registrar::wheel::{Step, Token, Wheel};
use crate::table::{Chunks, Sparse};
use crate::time::Instant;

const NIL: u32 = u32::MAX;

/// An address-of-record of this shard: its account's number, dense from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AorId(pub u32);

#[derive(Clone, Copy, Debug)]
struct AorHead {
    first: u32,
    count: u8,
    /// The last request that was answered and changed nothing, a fetch or a refused one: enough of
    /// its fingerprint to know it by when it comes again.
    answered: [u8; 3],
    /// Fingerprint of the last request that was accepted and changed something; 0: none yet.
    accepted: u64,
}

/// A head as it is stored: of all zeroes it has nothing, so that a table of them needs no filling.
/// The number of the first slot is inverted; count and mark share a word; then the fingerprint.
type StoredHead = [u32; 4];

impl From<StoredHead> for AorHead {
    #[inline]
    fn from([first, counted, low, high]: StoredHead) -> AorHead {
        let [count, a, b, c] = counted.to_le_bytes();
        let accepted = u64::from(high) << 32 | u64::from(low);
        AorHead { first: !first, count, answered: [a, b, c], accepted }
    }
}

impl From<AorHead> for StoredHead {
    #[inline]
    fn from(head: AorHead) -> StoredHead {
        let [a, b, c] = head.answered;
        let counted = u32::from_le_bytes([head.count, a, b, c]);
        [!head.first, counted, head.accepted as u32, (head.accepted >> 32) as u32]
    }
}

/// Heads of a chunk, in bits: 4 MiB, and so few in tests that there are many chunks.
const HEAD_BITS: u32 = if cfg!(test) { 3 } else { 18 };

/// 24 bits of a fingerprint, never all zero.
fn mark(fingerprint: u64) -> [u8; 3] {
    let [a, b, c, ..] = fingerprint.to_be_bytes();
    [a, b, c | u8::from(a == 0 && b == 0 && c == 0)]
}

const _: () = assert!(size_of::<StoredHead>() == 16);
/// Bindings one AOR can have: registered ones up to the largest limit, and static ones.
pub(super) const STORED_MAX: usize = BINDINGS_MAX + STATIC_CONTACTS_MAX;

const _: () = assert!(STORED_MAX + BINDINGS_MAX < u8::MAX as usize, "counted in a byte");

/// One whole cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub binding: Binding,
    /// The next binding of the AOR, or the next vacant slot.
    next: u32,
    /// Odd while somebody lives here.
    generation: u32,
}

impl Slot {
    fn is_vacant(&self) -> bool {
        self.generation & 1 == 0
    }
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Bindings of every AOR of one shard.
#[derive(Debug)]
pub struct Location {
    heads: Sparse<StoredHead, HEAD_BITS>,
    slots: Chunks<Slot>,
    vacant: u32,
    wheel: Wheel,
    connections: Connections,
    bindings: usize,
    aors_bound: usize,
}

impl Default for Location {
    fn default() -> Self {
        Location {
            heads: Sparse::default(),
            slots: Chunks::default(),
            vacant: NIL,
            wheel: Wheel::default(),
            connections: Connections::default(),
            bindings: 0,
            aors_bound: 0,
        }
    }
}

/// One step of [`Location::poll_expired`].
#[derive(Debug)]
pub(super) enum Expiry {
    /// This binding's time is over; it is still there.
    Expired(BindingId),
    /// Bookkeeping: an entry moved, was stale, or lives on with a later deadline.
    Kept,
    /// Nothing is due.
    Idle,
}

impl Location {
    /// Makes room for AORs `0..aors` and for `bindings` bindings ahead of time.
    pub fn reserve(&mut self, aors: usize, bindings: usize) {
        self.heads.reserve_total(aors);
        self.slots.reserve_total(bindings);
        self.wheel.reserve(bindings);
    }

    /// Bindings there are.
    #[must_use]
    pub fn bindings_count(&self) -> usize {
        self.bindings
    }

    /// AORs that have at least one.
    #[must_use]
    pub fn aors_bound_count(&self) -> usize {
        self.aors_bound
    }

    /// Connections that have at least one.
    #[must_use]
    pub fn connections_bound_count(&self) -> usize {
        self.connections.count()
    }

    /// A binding that lives on this connection, if there is one.
    pub(super) fn on_connection(&self, id: ConnectionId) -> Option<BindingId> {
        let index = self.connections.first(&self.slots, id)?;
        Some(BindingId { index, generation: self.slots[index as usize].generation })
    }

    /// The bindings in up to `slots` slots from number `from` on, and where to go on from; `None`
    /// behind the last.
    pub(super) fn scan(
        &self,
        from: u32,
        slots: usize,
    ) -> (impl Iterator<Item = (BindingId, &Binding)>, Option<u32>) {
        let start = (from as usize).min(self.slots.len());
        let end = start.saturating_add(slots).min(self.slots.len());
        let page = self.slots.range(start..end).zip(start as u32..);
        let page = page
            .filter(|(slot, _)| !slot.is_vacant())
            .map(|(slot, index)| (BindingId { index, generation: slot.generation }, &slot.binding));
        (page, (end < self.slots.len()).then_some(end as u32))
    }

    /// Slots there are, the vacant ones included: what [`Registrar::find`] goes through.
    ///
    /// [`Registrar::find`]: crate::registrar::Registrar::find
    #[must_use]
    pub fn slots_count(&self) -> usize {
        self.slots.len()
    }

    /// Rows of its largest table: what checking everything costs.
    pub(super) fn size(&self) -> usize {
        self.heads.numbers_end().max(self.slots.len())
    }

    fn head(&self, aor: AorId) -> AorHead {
        AorHead::from(*self.heads.at(aor.0 as usize))
    }

    /// Bindings of one AOR.
    #[must_use]
    pub fn count(&self, aor: AorId) -> usize {
        usize::from(self.head(aor).count)
    }

    /// The bindings of one AOR, the oldest first, those included whose time is over but which have
    /// not been cleared away yet.
    pub fn bindings(&self, aor: AorId) -> impl Iterator<Item = (BindingId, &Binding)> {
        let mut at = self.head(aor).first;
        std::iter::from_fn(move || {
            let slot = self.slots.get(at as usize)?;
            let id = BindingId { index: at, generation: slot.generation };
            at = slot.next;
            Some((id, &slot.binding))
        })
    }

    /// The binding of that name, if it still lives.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> Option<&Binding> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation && !slot.is_vacant()).then_some(&slot.binding)
    }

    pub(super) fn accepted(&self, aor: AorId) -> u64 {
        self.head(aor).accepted
    }

    pub(super) fn accept(&mut self, aor: AorId, fingerprint: u64) {
        self.change_head(aor, |head| head.accepted = fingerprint);
    }

    /// Whether this may be the last request that was answered and changed nothing.
    pub(super) fn was_answered(&self, aor: AorId, fingerprint: u64) -> bool {
        fingerprint != 0 && self.head(aor).answered == mark(fingerprint)
    }

    pub(super) fn answer(&mut self, aor: AorId, fingerprint: u64) {
        self.change_head(aor, |head| head.answered = mark(fingerprint));
    }

    /// Changes a head in place, and gives it as it was before.
    fn change_head(&mut self, aor: AorId, change: impl FnOnce(&mut AorHead)) -> AorHead {
        let index = aor.0 as usize;
        assert!(index < ACCOUNTS_MAX, "the shard numbers accounts densely");
        let stored = self.heads.put(index);
        let before = AorHead::from(*stored);
        let mut head = before;
        change(&mut head);
        *stored = head.into();
        before
    }

    /// Adds a binding behind the others of its AOR and arms its deadline.
    pub(super) fn insert(&mut self, binding: Binding) -> BindingId {
        let (aor, forgotten_at_s) = (binding.aor(), binding.forgotten_at_s());
        let connection = binding.tied_to();
        let index = if self.vacant == NIL {
            assert!(self.slots.len() < 1 << 31, "slot numbers fit 31 bits");
            self.slots.push(Slot { binding, next: NIL, generation: 1 });
            self.slots.len() as u32 - 1
        } else {
            let slot = &mut self.slots[self.vacant as usize];
            let index = std::mem::replace(&mut self.vacant, slot.next);
            slot.binding = binding;
            slot.next = NIL;
            slot.generation = slot.generation.wrapping_add(1);
            index
        };
        let AorHead { first, .. } = self.change_head(aor, |head| {
            head.count += 1;
            debug_assert!(usize::from(head.count) <= STORED_MAX, "the plan keeps to the limit");
            if head.first == NIL {
                head.first = index;
            }
        });
        if first == NIL {
            self.aors_bound += 1;
        } else {
            let last = self.last_of(first);
            self.slots[last as usize].next = index;
        }
        self.bindings += 1;
        let generation = self.slots[index as usize].generation;
        self.wheel.arm(Token { index, generation }, forgotten_at_s);
        if let Some(id) = connection {
            self.connections.link(&mut self.slots, index, id);
        }
        BindingId { index, generation }
    }

    fn last_of(&self, mut at: u32) -> u32 {
        loop {
            let next = self.slots[at as usize].next;
            if next == NIL {
                return at;
            }
            at = next;
        }
    }

    /// Changes a binding in place and sees to its deadline and its chain; `None` if it has gone.
    pub(super) fn modify<R>(
        &mut self,
        id: BindingId,
        change: impl FnOnce(&mut Binding) -> R,
    ) -> Option<R> {
        self.binding(id)?;
        let binding = &mut self.slots[id.index as usize].binding;
        let before = binding.forgotten_at_s();
        let was_tied = binding.tied_to().map(|id| (id, binding.compact_flow().links()));
        let result = change(binding);
        let forgotten_at_s = binding.forgotten_at_s();
        let tied = binding.tied_to();
        // What is armed is never later than the deadline before, so a later one waits for it to
        // fire.
        if forgotten_at_s < before {
            self.wheel.arm(Token { index: id.index, generation: id.generation }, forgotten_at_s);
        }
        match (was_tied, tied) {
            (None, None) => {}
            (Some((was, (next, previous))), Some(is)) if was == is => {
                let binding = &mut self.slots[id.index as usize].binding;
                binding.set_next(next);
                binding.set_previous(previous);
            }
            (was, is) => {
                if let Some((connection, links)) = was {
                    self.connections.unlink(&mut self.slots, id.index, connection, links);
                }
                if let Some(connection) = is {
                    self.connections.link(&mut self.slots, id.index, connection);
                }
            }
        }
        Some(result)
    }

    /// Takes a binding out; `None` if it has gone already. Its node in the wheel stays armed and
    /// is found stale, or serves the next tenant of the slot.
    pub(super) fn remove(&mut self, id: BindingId) -> Option<Binding> {
        let binding = self.binding(id)?;
        let aor = binding.aor();
        if let Some(connection) = binding.tied_to() {
            let links = binding.compact_flow().links();
            self.connections.unlink(&mut self.slots, id.index, connection, links);
        }
        let slot = &mut self.slots[id.index as usize];
        let binding = std::mem::take(&mut slot.binding);
        slot.generation = slot.generation.wrapping_add(1);
        let next = std::mem::replace(&mut slot.next, self.vacant);
        self.vacant = id.index;
        self.bindings -= 1;

        let AorHead { first, .. } = self.change_head(aor, |head| {
            head.count -= 1;
            if head.first == id.index {
                head.first = next;
            }
        });
        if first == id.index {
            self.aors_bound -= usize::from(next == NIL);
            return Some(binding);
        }
        let mut at = first;
        while self.slots[at as usize].next != id.index {
            at = self.slots[at as usize].next;
        }
        self.slots[at as usize].next = next;
        Some(binding)
    }

    /// One step of the wheel towards `now`.
    pub(super) fn poll_expired(&mut self, now: u32) -> Expiry {
        let token = match self.wheel.poll(now) {
            Step::Idle => return Expiry::Idle,
            Step::Moved => return Expiry::Kept,
            Step::Due(token) => token,
        };
        let id = BindingId { index: token.index, generation: token.generation };
        let Some(binding) = self.binding(id) else { return Expiry::Kept };
        let forgotten_at_s = binding.forgotten_at_s();
        if forgotten_at_s <= now {
            return Expiry::Expired(id);
        }
        self.wheel.arm(token, forgotten_at_s);
        Expiry::Kept
    }

    /// When [`Location::poll_expired`] next has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_deadline().map(|second| Instant::from_secs(u64::from(second)))
    }

    /// Reads what a request for each of `aors` will read, in three sweeps, so that the cache
    /// misses of a batch overlap instead of standing in line. The result only keeps the reads from
    /// being optimised away.
    #[must_use]
    pub fn warm(&self, aors: &[AorId]) -> u64 {
        let mut sum = 0u64;
        for &aor in aors {
            sum ^= self.head(aor).accepted;
        }
        for &aor in aors {
            if let Some(slot) = self.slots.get(self.head(aor).first as usize) {
                sum ^=
                    u64::from(slot.generation ^ slot.binding.cseq()) ^ slot.binding.fingerprint();
            }
        }
        for &aor in aors {
            if let Some(slot) = self.slots.get(self.head(aor).first as usize) {
                sum ^= slot.binding.touch();
            }
        }
        sum
    }

    /// Reads what the rules will compare in the oldest binding of an AOR, so that its cache misses
    /// overlap with each other and with what is computed first.
    #[must_use]
    pub(super) fn touch(&self, aor: AorId) -> u64 {
        self.slots.get(self.head(aor).first as usize).map_or(0, |slot| slot.binding.touch())
    }

    /// Checks the chain of one AOR: cheap enough to do after every change.
    ///
    /// # Panics
    /// If it is broken, which is a bug of ours.
    pub fn check_aor(&self, aor: AorId) {
        let mut count = 0;
        for (id, binding) in self.bindings(aor) {
            assert_eq!(binding.aor(), aor, "{id:?} is chained to its own AOR");
            assert!(self.binding(id).is_some(), "{id:?} is inhabited");
            let (armed, generation) = self.wheel.deadline(id.index).expect("a deadline is armed");
            assert!(armed <= binding.forgotten_at_s(), "{id:?} is heard of in time");
            assert_eq!(generation, id.generation, "the armed token is that of {id:?}");
            count += 1;
            assert!(count <= self.count(aor), "the chain of {aor:?} is no longer than its count");
        }
        assert_eq!(count, self.count(aor), "count of {aor:?}");
    }

    /// Checks everything against everything.
    ///
    /// # Panics
    /// If something is broken, which is a bug of ours.
    pub fn check_invariants(&self) {
        let (mut bindings, mut bound) = (0, 0);
        for index in 0..self.heads.numbers_end() {
            let aor = AorId(index as u32);
            self.check_aor(aor);
            bindings += self.count(aor);
            bound += usize::from(self.count(aor) > 0);
        }
        assert_eq!(bindings, self.bindings, "bindings");
        assert_eq!(bound, self.aors_bound, "AORs with bindings");
        let inhabited = self.slots.iter().filter(|slot| !slot.is_vacant()).count();
        assert_eq!(inhabited, self.bindings, "every inhabited slot is chained to an AOR");
        let mut vacant = 0;
        let mut at = self.vacant;
        while at != NIL {
            assert!(self.slots[at as usize].is_vacant(), "slot {at} is vacant");
            vacant += 1;
            assert!(vacant <= self.slots.len(), "the vacant list ends");
            at = self.slots[at as usize].next;
        }
        assert_eq!(vacant + inhabited, self.slots.len(), "every slot is in one list");
        self.wheel.check_invariants();
        self.connections.check_invariants(&self.slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_the_sizes_its_budget_counts_with() {
        assert!(size_of::<AorHead>() <= 16);
        assert!(size_of::<Slot>() <= 128);
    }

    #[test]
    fn the_name_of_a_binding_that_left_is_dead_and_its_slot_is_used_again() {
        let mut location = Location::default();
        let first = location.insert(Binding::default());
        assert!(location.remove(first).is_some());
        let second = location.insert(Binding::default());
        assert_eq!(second.index, first.index);
        assert!(location.binding(first).is_none());
        assert!(location.remove(first).is_none());
        assert!(location.modify(first, |_| ()).is_none());
        assert!(location.binding(second).is_some());
        location.check_invariants();
    }

    #[test]
    fn bindings_stand_in_the_order_they_came_whichever_leaves() {
        for leaves in 0..3 {
            let mut location = Location::default();
            let mut ids: Vec<_> = (0..3).map(|_| location.insert(Binding::default())).collect();
            location.remove(ids.remove(leaves));
            let left: Vec<_> = location.bindings(AorId(0)).map(|(id, _)| id).collect();
            assert_eq!(left, ids);
            location.check_invariants();
        }
    }

    #[test]
    fn coming_and_going_without_end_takes_one_slot_and_one_node() {
        let mut location = Location::default();
        for _ in 0..1000 {
            let id = location.insert(Binding::default());
            location.remove(id);
        }
        assert_eq!(location.slots.len(), 1);
        assert_eq!(location.wheel.armed(), 1);
        location.check_invariants();
    }
}
