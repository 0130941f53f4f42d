//! Where subscriptions live and how they are found: by the tag of their dialog, by the
//! address-of-record they watch, by the connection they came by. It decides nothing.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::flow::{ConnectionId, Flow};
use crate::reg_event::changes::Changes;
use crate::reg_event::identity::LocalTag;
use crate::reg_event::subscription::Subscription;
use crate::registrar::AorId;
use crate::registrar::wheel::Token;
use crate::table::{Chunks, Index};

/// An address-of-record that somebody watches.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// `None` where nobody is.
    aor: Option<AorId>,
    /// Canonical, `user@domain`.
    pub text: Box<[u8]>,
    pub changes: Changes,
    /// Slots of the subscriptions, the oldest first.
    pub subscriptions: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    tenant: Option<Box<Subscription>>,
}

/// The subscriptions, and the queue of those that wait to be looked at.
#[derive(Debug, Default)]
pub(super) struct Store {
    slots: Chunks<Slot>,
    vacant: Chunks<u32>,
    by_tag: Index,
    by_connection: BTreeSet<(ConnectionId, u32)>,
    watched: Chunks<Watched>,
    watched_vacant: Chunks<u32>,
    by_aor: Index,
    queue: VecDeque<Token>,
    /// Connections that subscriptions have left since they were last asked for.
    left: Vec<ConnectionId>,
}

/// Numbers of accounts are dense, and nobody outside chooses them.
fn hash_of(aor: AorId) -> u64 {
    u64::from(aor.0).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

fn tag_of(slots: &Chunks<Slot>, index: u32) -> u64 {
    slots[index as usize].tenant.as_ref().map_or(0, |subscription| subscription.local_tag.0)
}

impl Store {
    pub fn len(&self) -> usize {
        self.by_tag.len()
    }

    /// Slots there ever were at once.
    pub fn size(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }

    pub fn find(&self, tag: LocalTag) -> Option<u32> {
        self.by_tag.find(tag.0, |index| tag_of(&self.slots, index) == tag.0)
    }

    pub fn watched(&self, aor: AorId) -> Option<&Watched> {
        self.watched_at(aor).map(|at| &self.watched[at as usize])
    }

    fn watched_at(&self, aor: AorId) -> Option<u32> {
        let is_it = |at: u32| self.watched[at as usize].aor == Some(aor);
        self.by_aor.find(hash_of(aor), is_it)
    }

    pub fn tenant(&self, index: u32) -> Option<&Subscription> {
        self.slots[index as usize].tenant.as_deref()
    }

    pub fn tenant_mut(&mut self, index: u32) -> Option<&mut Subscription> {
        self.slots[index as usize].tenant.as_deref_mut()
    }

    /// A subscription and what it watches.
    pub fn pair_mut(&mut self, index: u32) -> Option<(&mut Subscription, &Watched)> {
        let at = self.watched_at(self.tenant(index)?.aor)?;
        let subscription = self.slots[index as usize].tenant.as_deref_mut()?;
        let watched = &self.watched[at as usize];
        Some((subscription, watched))
    }

    /// Names the tenant of a slot.
    pub fn token(&self, index: u32) -> Token {
        Token { index, generation: self.slots[index as usize].generation }
    }

    /// Whether that tenant still lives.
    pub fn is_current(&self, token: Token) -> bool {
        self.slots.get(token.index as usize).is_some_and(|s| s.generation == token.generation)
    }

    /// A subscription that came by this connection.
    pub fn on_connection(&self, connection: ConnectionId) -> Option<u32> {
        let range = (connection, 0)..=(connection, u32::MAX);
        self.by_connection.range(range).next().map(|&(_, index)| index)
    }

    /// The connections that subscriptions have left since the last call.
    pub fn take_left(&mut self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.left.drain(..)
    }

    /// Adds a subscription, and has it looked at.
    pub fn insert(&mut self, subscription: Subscription, aor_text: &[u8]) {
        let (aor, tag) = (subscription.aor, subscription.local_tag);
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        if let Some(connection) = subscription.flow.connection() {
            self.by_connection.insert((connection, index));
        }
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.tenant = Some(Box::new(subscription));
        let slots = &self.slots;
        self.by_tag.insert(tag.0, index, |index| tag_of(slots, index));
        let at = self.watched_at(aor).unwrap_or_else(|| self.watch(aor));
        let watched = &mut self.watched[at as usize];
        // Numbers of accounts are used again.
        if *watched.text != *aor_text {
            watched.text = aor_text.into();
        }
        watched.subscriptions.push(index);
        self.enqueue(index);
    }

    /// Makes a place for an address-of-record that nobody watched.
    fn watch(&mut self, aor: AorId) -> u32 {
        let at = self.watched_vacant.pop().unwrap_or_else(|| {
            self.watched.push(Watched::default());
            self.watched.len() as u32 - 1
        });
        self.watched[at as usize].aor = Some(aor);
        let watched = &self.watched;
        let hash = |at: u32| watched[at as usize].aor.map_or(0, hash_of);
        self.by_aor.insert(hash_of(aor), at, hash);
        at
    }

    /// Takes a subscription out; with the last one of an address-of-record goes what was kept of
    /// its changes.
    pub fn remove(&mut self, index: u32) -> Option<Box<Subscription>> {
        let tag = tag_of(&self.slots, index);
        self.by_tag.remove(tag, index);
        let slot = &mut self.slots[index as usize];
        let subscription = slot.tenant.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.vacant.push(index);
        if let Some(connection) = subscription.flow.connection() {
            self.by_connection.remove(&(connection, index));
            self.left.push(connection);
        }
        let aor = subscription.aor;
        if let Some(at) = self.watched_at(aor) {
            let watched = &mut self.watched[at as usize];
            watched.subscriptions.retain(|&other| other != index);
            if watched.subscriptions.is_empty() {
                *watched = Watched::default();
                self.by_aor.remove(hash_of(aor), at);
                self.watched_vacant.push(at);
            } else {
                self.forget_heard(aor);
            }
        }
        Some(subscription)
    }

    /// The subscriber is found elsewhere from now on.
    pub fn move_to(&mut self, index: u32, source: SocketAddr, flow: Flow) {
        let Some(subscription) = self.slots[index as usize].tenant.as_mut() else { return };
        if let Some(connection) = subscription.flow.connection() {
            self.by_connection.remove(&(connection, index));
            self.left.push(connection);
        }
        if let Some(connection) = flow.connection() {
            self.by_connection.insert((connection, index));
        }
        subscription.source = source;
        subscription.flow = flow;
    }

    /// Notes a change of an address-of-record, if anybody watches it, and has each of its
    /// subscriptions looked at.
    pub fn wake(
        &mut self,
        aor: AorId,
        change: impl FnOnce(&mut Changes),
        mut each: impl FnMut(&mut Subscription),
    ) {
        let Some(at) = self.watched_at(aor) else { return };
        let Store { slots, watched, queue, .. } = self;
        let watched = &mut watched[at as usize];
        change(&mut watched.changes);
        for &index in &watched.subscriptions {
            let slot = &mut slots[index as usize];
            if let Some(subscription) = slot.tenant.as_mut() {
                each(subscription);
                enqueue(queue, slot, index);
            }
        }
    }

    /// Drops the changes that every subscriber has heard of.
    pub fn forget_heard(&mut self, aor: AorId) {
        let Some(at) = self.watched_at(aor) else { return };
        let watched = &mut self.watched[at as usize];
        let heard = watched.subscriptions.iter().filter_map(|&index| {
            self.slots[index as usize].tenant.as_ref().map(|subscription| subscription.heard)
        });
        watched.changes.forget(heard.min().unwrap_or(u64::MAX));
    }

    /// Has a subscription looked at.
    pub fn enqueue(&mut self, index: u32) {
        enqueue(&mut self.queue, &mut self.slots[index as usize], index);
    }

    /// The next one to look at; it may have gone.
    pub fn dequeue(&mut self) -> Option<Token> {
        self.queue.pop_front()
    }

    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Checks everything against everything; `each` sees every subscription.
    ///
    /// # Panics
    /// If something is broken, which is a bug of ours.
    pub fn check_invariants(&self, mut each: impl FnMut(Token, &Subscription)) {
        let (mut tenants, mut connections) = (0, 0);
        for index in 0..self.slots.len() as u32 {
            let Some(subscription) = self.tenant(index) else {
                assert!(
                    self.vacant.iter().any(|&vacant| vacant == index),
                    "slot {index} is known to be vacant"
                );
                continue;
            };
            tenants += 1;
            connections += usize::from(subscription.flow.connection().is_some());
            assert_eq!(self.find(subscription.local_tag), Some(index), "found by its tag");
            let watched = self.watched(subscription.aor).expect("its AOR is watched");
            assert!(watched.subscriptions.contains(&index), "its AOR knows of it");
            assert!(subscription.heard <= watched.changes.last(), "nobody hears the future");
            each(self.token(index), subscription);
        }
        assert_eq!(tenants, self.by_tag.len(), "tags");
        assert_eq!(tenants + self.vacant.len(), self.slots.len(), "every slot is in one list");
        assert_eq!(connections, self.by_connection.len(), "connections");
        let watchers = self.watched.iter().map(|watched| watched.subscriptions.len());
        assert_eq!(watchers.sum::<usize>(), tenants, "each watches one AOR");
    }
}

fn enqueue(queue: &mut VecDeque<Token>, slot: &mut Slot, index: u32) {
    if let Some(subscription) = slot.tenant.as_mut()
        && !subscription.queued
    {
        subscription.queued = true;
        queue.push_back(Token { index, generation: slot.generation });
    }
}
