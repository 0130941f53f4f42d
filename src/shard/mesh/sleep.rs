//! Who sleeps, so that a publisher wakes those and no others. How a thread sleeps and how it is
//! woken is the reactor's.
//!
//! A sleeper announces itself, then looks at its rings; a publisher makes its records visible,
//! then looks who sleeps. Each has a sequentially consistent fence between its store and its
//! load, so at least one of the two sees the other: a wake cannot be lost. A flag is only ever
//! swapped, never stored to, so that its changes are one sequence in which each sees the one
//! before and what its writer had done by then.

use crossbeam::utils::CachePadded;

use super::sync::{AtomicBool, Ordering, fence};

/// One flag for each shard, written by its owner when it goes to sleep and rises, and by the one
/// publisher that takes it upon itself to wake it.
pub(super) struct Sleepers(Box<[CachePadded<AtomicBool>]>);

impl Sleepers {
    pub(super) fn new(shards: usize) -> Self {
        Sleepers((0..shards).map(|_| CachePadded::new(AtomicBool::new(false))).collect())
    }

    /// `shard` is about to sleep. What was published before a publisher could see this is visible
    /// to loads of the caller that follow.
    pub(super) fn announce(&self, shard: usize) {
        self.0[shard].swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// `shard` is awake again.
    pub(super) fn rise(&self, shard: usize) {
        self.0[shard].swap(false, Ordering::AcqRel);
    }

    /// Orders what the caller published before its questions to [`Sleepers::must_wake`].
    pub(super) fn published(&self) {
        fence(Ordering::SeqCst);
    }

    /// Whether the caller has to wake `shard`. One caller hears yes for each time it sleeps.
    pub(super) fn must_wake(&self, shard: usize) -> bool {
        let flag = &self.0[shard];
        // Loaded first, because a swap would take the line away from everybody else each batch.
        flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::AcqRel)
    }
}
