//! The lock-free mesh: how shards hand datagrams to each other. One bounded ring for each ordered
//! pair of shards; a shard holds one [`Endpoint`], with the writing ends of its outbound rings and
//! the reading ends of its inbound ones.
//!
//! The mesh moves bytes and says who must be woken. Deciding who owns a datagram is
//! [`owner`](super::owner)'s; sleeping, and waking by whatever means, the reactor's; counting what
//! was shed, the caller's.
//!
//! One turn of a reactor's loop: [`push`](Endpoint::push) what others own,
//! [`publish`](Endpoint::publish) once, [`drain`](Endpoint::drain). With nothing left to do:
//! [`prepare_sleep`](Endpoint::prepare_sleep), block if it says so, [`awake`](Endpoint::awake).

mod record;
mod ring;
mod sleep;
mod sync;

#[cfg(all(test, aorta_loom))]
mod interleavings;

use std::fmt;
use std::ops::RangeInclusive;

use arrayvec::ArrayVec;

use self::ring::{Consumer, Producer, Record};
use self::sleep::Sleepers;
use self::sync::Arc;
use super::{Datagram, ShardId};
use crate::limits::{MESSAGE_BYTES_MAX, SHARDS_MAX};

/// How many slots (of 256 bytes; a 700-byte datagram takes three) one ring may have. The least
/// still holds the longest datagram, the most is 16 MiB.
pub const SLOTS_PER_RING: RangeInclusive<usize> = 512..=65_536;

const _: () = assert!(ring::slots_of(MESSAGE_BYTES_MAX) <= *SLOTS_PER_RING.start());
const _: () = assert!(SHARDS_MAX <= u128::BITS as usize);

/// Slots that all inbound rings of one shard have together, where that leaves each ring within
/// its own bounds.
const SLOTS_INBOUND: usize = 32_768;
/// Slots of a ring where there are few: enough for a millisecond and more of a whole core's
/// datagrams, small enough to stay in its second-level cache.
const SLOTS_FEW_SHARDS: usize = 4096;
/// Records taken from one ring before the next one's turn.
const TURN: usize = 8;

/// The slots each ring gets in a process of `shards` shards, when nobody says otherwise: 4096
/// (1 MiB) up to nine shards, then fewer, so that the inbound rings of one shard stay within
/// 8 MiB up to 65 shards and 16 MiB beyond. Memory no record has reached is not resident.
#[must_use]
pub fn default_slots(shards: usize) -> usize {
    let share = SLOTS_INBOUND / shards.saturating_sub(1).max(1);
    let power_below = 1 << share.max(1).ilog2();
    usize::clamp(power_below, *SLOTS_PER_RING.start(), SLOTS_FEW_SHARDS)
}

/// A mesh among `shards` shards, as one endpoint for each, in their order. `slots_per_ring` is
/// rounded up to a power of two.
///
/// # Panics
/// If there are no shards or more than [`SHARDS_MAX`], or `slots_per_ring` is not within
/// [`SLOTS_PER_RING`]: the configuration has been checked before.
#[must_use]
pub fn mesh(shards: usize, slots_per_ring: usize) -> Vec<Endpoint> {
    assert!(SLOTS_PER_RING.contains(&slots_per_ring), "rings of {slots_per_ring} slots");
    connect(shards, slots_per_ring.next_power_of_two())
}

fn connect(shards: usize, capacity: usize) -> Vec<Endpoint> {
    assert!((1..=SHARDS_MAX).contains(&shards), "a mesh of {shards} shards");
    let sleepers = Arc::new(Sleepers::new(shards));
    let mut endpoints: Vec<Endpoint> = (0..shards)
        .map(|shard| Endpoint {
            shard,
            outbound: Vec::with_capacity(shards),
            inbound: Vec::with_capacity(shards - 1),
            staged: 0,
            turn: 0,
            turn_left: TURN,
            scratch: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice(),
            sleepers: Arc::clone(&sleepers),
        })
        .collect();
    for from in 0..shards {
        for to in 0..shards {
            if from == to {
                endpoints[from].outbound.push(None);
                continue;
            }
            let (producer, consumer) = ring::ring(capacity);
            endpoints[from].outbound.push(Some(producer));
            endpoints[to].inbound.push(consumer);
        }
    }
    endpoints
}

/// The ring to that shard is full: the datagram was not taken, what is queued stays. The caller
/// counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handoff ring is full")
    }
}

impl std::error::Error for Full {}

/// What one shard holds of the mesh. It moves to the shard's thread and stays there.
pub struct Endpoint {
    shard: usize,
    /// By the number of the shard at the other end; none to itself.
    outbound: Vec<Option<Producer>>,
    inbound: Vec<Consumer>,
    /// The shards with records pushed and not published, a bit each.
    staged: u128,
    /// The inbound ring whose turn it is, and how many records it may still give.
    turn: usize,
    turn_left: usize,
    /// Where a body is put together that runs over the end of its ring.
    scratch: Box<[u8]>,
    sleepers: Arc<Sleepers>,
}

impl Endpoint {
    /// The shard this endpoint belongs to.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        // At most SHARDS_MAX.
        ShardId(self.shard as u8)
    }

    /// Copies `datagram` into the ring to shard `to`, which sees it after the next
    /// [`publish`](Endpoint::publish).
    ///
    /// # Errors
    /// [`Full`] if there is not enough room for it. A shorter one may still find some.
    ///
    /// # Panics
    /// If `to` is this very shard or none of the mesh, or the datagram is longer than
    /// [`MESSAGE_BYTES_MAX`].
    #[inline]
    pub fn push(&mut self, to: ShardId, datagram: &Datagram<'_>) -> Result<(), Full> {
        let to = usize::from(to.0);
        let producer = self.outbound[to].as_mut().expect("a shard hands nothing to itself");
        match producer.push(&record::datagram_tag(datagram), datagram.bytes) {
            Ok(()) => {
                self.staged |= 1 << to;
                Ok(())
            }
            Err(ring::NoRoom) => Err(Full),
        }
    }

    /// Makes everything pushed visible to its shards, and calls `wake` for each of them that
    /// sleeps and that nobody else has set out to wake. Once a batch: it costs a full fence if
    /// anything was pushed, nothing otherwise.
    #[inline]
    pub fn publish(&mut self, mut wake: impl FnMut(ShardId)) {
        if self.staged == 0 {
            return;
        }
        for to in bits(self.staged) {
            self.outbound[to].as_mut().expect("staged for another shard").publish();
        }
        self.sleepers.published();
        for to in bits(std::mem::take(&mut self.staged)) {
            if self.sleepers.must_wake(to) {
                wake(ShardId(to as u8));
            }
        }
    }

    /// Takes up to `budget` datagrams, in order from each shard, the shards taking turns of eight
    /// (also across calls), and hands those of a turn to `f` as one batch, lent for the call.
    /// Returns how many it took: fewer than `budget` means that every inbound ring was found empty.
    ///
    /// If `f` panics, the datagrams it was given count as taken.
    pub fn drain_batches(&mut self, budget: usize, mut f: impl FnMut(&[Datagram<'_>])) -> usize {
        let mut drained = 0;
        let mut empty_in_a_row = 0;
        while drained < budget && empty_in_a_row < self.inbound.len() {
            let ring = &mut self.inbound[self.turn];
            let most = self.turn_left.min(budget - drained);
            let mut records: ArrayVec<Record<'_>, TURN> = ArrayVec::new();
            ring.next(&mut self.scratch, most, &mut records);
            let taken = records.len();
            if taken > 0 {
                let batch: ArrayVec<_, TURN> = records.iter().map(record::datagram).collect();
                f(&batch);
            }
            drop(records);
            ring.release();
            drained += taken;
            self.turn_left -= taken;
            if taken < most {
                // Empty now, and if it was so from the start, one more in a row.
                empty_in_a_row = if taken == 0 { empty_in_a_row + 1 } else { 1 };
                self.next_turn();
            } else {
                empty_in_a_row = 0;
                if self.turn_left == 0 {
                    self.next_turn();
                }
            }
        }
        drained
    }

    /// The same, one datagram at a time.
    pub fn drain(&mut self, budget: usize, mut f: impl FnMut(Datagram<'_>)) -> usize {
        self.drain_batches(budget, |batch| batch.iter().for_each(|datagram| f(*datagram)))
    }

    /// Whether no published datagram waits for this shard.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbound.iter().all(Consumer::is_empty)
    }

    /// Says that this shard is going to sleep. True: it may block now, and whoever publishes
    /// something for it from now on is told to wake it. False: something has arrived already, stay
    /// awake; a publisher may have set out to wake it all the same, so the reactor's signal can be
    /// found raised later with nothing behind it.
    ///
    /// # Panics
    /// If something pushed was not published: it would wait for the next batch.
    #[must_use]
    pub fn prepare_sleep(&mut self) -> bool {
        assert_eq!(self.staged, 0, "going to sleep with records not published");
        self.sleepers.announce(self.shard);
        if self.is_empty() {
            return true;
        }
        self.sleepers.rise(self.shard);
        false
    }

    /// Says that this shard is up again, whatever has woken it; nobody wakes it from here on.
    pub fn awake(&mut self) {
        self.sleepers.rise(self.shard);
    }

    fn next_turn(&mut self) {
        self.turn_left = TURN;
        self.turn += 1;
        if self.turn == self.inbound.len() {
            self.turn = 0;
        }
    }
}

/// The numbers of the bits set in `set`.
fn bits(mut set: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(lowest)
    })
}

#[cfg(all(test, not(aorta_loom)))]
mod tests;
