//! Which bindings live on a connection: one entry for each connection that has any, and a chain
//! through the bindings themselves. Bindings over datagrams, and those behind a Path, are in no
//! chain (`Binding::tied_to`).

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use crate::flow::ConnectionId;
use crate::registrar::compact_flow::NIL;
use crate::registrar::location::Slot;
use crate::table::{Chunks, Index};

/// The first binding of each connection.
#[derive(Debug, Default)]
pub(super) struct Connections {
    first: Index,
}

/// Connections are numbered by us, so nobody outside can choose what shares a place.
fn hash(id: ConnectionId) -> u64 {
    let mut hasher = SipHasher13::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The connection of what was chained by one.
fn connection(slots: &Chunks<Slot>, index: u32) -> ConnectionId {
    slots[index as usize].binding.flow().connection().expect("it is chained by one")
}

impl Connections {
    /// The slot of a binding on this connection.
    pub fn first(&self, slots: &Chunks<Slot>, id: ConnectionId) -> Option<u32> {
        self.first.find(hash(id), |index| connection(slots, index) == id)
    }

    /// Connections that have bindings.
    pub fn count(&self) -> usize {
        self.first.len()
    }

    /// Chains the binding in slot `index`, which lives on `id`.
    pub fn link(&mut self, slots: &mut Chunks<Slot>, index: u32, id: ConnectionId) {
        let next = self.first(slots, id);
        match next {
            Some(next) => {
                self.first.replace(hash(id), next, index);
                slots[next as usize].binding.set_previous(index);
            }
            None => self.first.insert(hash(id), index, |index| hash(connection(slots, index))),
        }
        let binding = &mut slots[index as usize].binding;
        binding.set_next(next.unwrap_or(NIL));
        binding.set_previous(NIL);
    }

    /// Takes the binding in slot `index`, which was on `id` with these links, out of its chain.
    pub fn unlink(
        &mut self,
        slots: &mut Chunks<Slot>,
        index: u32,
        id: ConnectionId,
        (next, previous): (u32, u32),
    ) {
        if next != NIL {
            slots[next as usize].binding.set_previous(previous);
        }
        if previous != NIL {
            slots[previous as usize].binding.set_next(next);
        } else if next != NIL {
            self.first.replace(hash(id), index, next);
        } else {
            self.first.remove(hash(id), index);
        }
    }

    /// Walks every chain.
    ///
    /// # Panics
    /// If one is broken, which is a bug of ours.
    pub fn check_invariants(&self, slots: &Chunks<Slot>) {
        let mut chained = 0;
        for first in self.first.iter() {
            let id = connection(slots, first);
            let (mut at, mut before) = (first, NIL);
            while at != NIL {
                let binding = &slots[at as usize].binding;
                assert_eq!(binding.tied_to(), Some(id), "slot {at} lives on {id:?}");
                let (next, previous) = binding.compact_flow().links();
                assert_eq!(previous, before, "back link of slot {at}");
                chained += 1;
                assert!(chained <= slots.len(), "the chain of {id:?} ends");
                (before, at) = (at, next);
            }
        }
        let tied = slots.iter().filter(|slot| slot.binding.tied_to().is_some()).count();
        assert_eq!(tied, chained, "every binding on a connection is in a chain");
    }
}
