//! Which bindings live on a connection: one entry for each connection that has any, and a chain
//! through the bindings themselves. Bindings over datagrams, and those behind a Path, are in no
//! chain (`Binding::tied_to`).

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use siphasher::sip::SipHasher13;

use crate::flow::ConnectionId;
use crate::registrar::compact_flow::NIL;
use crate::registrar::location::Slot;

/// The first binding of each connection. Its keys are our own numbers, which nobody outside can
/// choose.
#[derive(Debug, Default)]
pub(super) struct Connections {
    first: HashMap<ConnectionId, u32, BuildHasherDefault<SipHasher13>>,
}

impl Connections {
    /// The slot of a binding on this connection.
    pub fn first(&self, id: ConnectionId) -> Option<u32> {
        self.first.get(&id).copied()
    }

    /// Connections that have bindings.
    pub fn count(&self) -> usize {
        self.first.len()
    }

    /// Chains the binding in slot `index`, which lives on `id`.
    pub fn link(&mut self, slots: &mut [Slot], index: u32, id: ConnectionId) {
        let next = self.first.insert(id, index).unwrap_or(NIL);
        let flow = slots[index as usize].binding.compact_flow_mut();
        flow.set_next(next);
        flow.set_previous(NIL);
        if next != NIL {
            slots[next as usize].binding.compact_flow_mut().set_previous(index);
        }
    }

    /// Takes a binding that was on `id` with these links out of its chain.
    pub fn unlink(&mut self, slots: &mut [Slot], id: ConnectionId, (next, previous): (u32, u32)) {
        if next != NIL {
            slots[next as usize].binding.compact_flow_mut().set_previous(previous);
        }
        if previous != NIL {
            slots[previous as usize].binding.compact_flow_mut().set_next(next);
        } else if next != NIL {
            self.first.insert(id, next);
        } else {
            self.first.remove(&id);
        }
    }

    /// Walks every chain.
    ///
    /// # Panics
    /// If one is broken, which is a bug of ours.
    pub fn check_invariants(&self, slots: &[Slot]) {
        let mut chained = 0;
        for (&id, &first) in &self.first {
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
