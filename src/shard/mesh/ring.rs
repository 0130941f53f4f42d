//! A bounded lock-free queue of records from one thread to one other. It knows bytes and slots;
//! what a record means is `record`'s, who is woken is `sleep`'s. The only unsafe code of the mesh.
//!
//! A record takes whole slots: a head of [`HEAD_BYTES`] (its length and the tag), then the body,
//! running on into the slots that follow and from the last slot into the first. `head` and
//! `tail` count slots since the beginning and never wrap in practice; a slot's place is the count
//! modulo the capacity, a power of two.
//!
//! ```text
//!            head                          tail
//!   ... free  |  taken, lent  |  to be taken  |  staged  |  free ...
//!             '------- the consumer's -------'--- the producer's ---
//! ```

use std::cell::UnsafeCell;
use std::slice;

use arrayvec::ArrayVec;
use crossbeam::utils::CachePadded;

use super::sync::{Arc, AtomicUsize, Ordering};
use crate::limits::{MESSAGE_BYTES_MAX, PEER_BYTES_MAX};

/// Bytes of one slot.
pub(super) const SLOT_BYTES: usize = 256;
/// Bytes before the body: one cache line, so that a 700-byte datagram takes three slots.
const HEAD_BYTES: usize = 64;
const LENGTH_BYTES: usize = 4;
/// Longest body: a message, and who sent it.
pub(super) const BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX + PEER_BYTES_MAX;
/// Bytes of a record that belong to its kind.
pub(super) const TAG_BYTES: usize = HEAD_BYTES - LENGTH_BYTES;
/// The fixed fields of a record.
pub(super) type Tag = [u8; TAG_BYTES];

/// The slots that a record with a body of `length` bytes takes.
pub(super) const fn slots_of(length: usize) -> usize {
    (HEAD_BYTES + length).div_ceil(SLOT_BYTES)
}

/// There is not enough room: the record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// One record, lent by the ring until the next call.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) tag: &'a Tag,
    pub(super) body: &'a [u8],
}

/// A ring of `capacity` slots, as its two ends.
pub(super) fn ring(capacity: usize) -> (Producer, Consumer) {
    let ring = Arc::new(Ring {
        tail: CachePadded::new(AtomicUsize::new(0)),
        head: CachePadded::new(AtomicUsize::new(0)),
        slots: Slots::new(capacity),
    });
    let producer = Producer { ring: Arc::clone(&ring), staged: 0, published: 0, head_seen: 0 };
    let consumer = Consumer { ring, taken: 0, released: 0, tail_seen: 0 };
    (producer, consumer)
}

struct Ring {
    /// Slots published. Only the producer stores.
    tail: CachePadded<AtomicUsize>,
    /// Slots released. Only the consumer stores.
    head: CachePadded<AtomicUsize>,
    slots: Slots,
}

/// The end that writes.
pub(super) struct Producer {
    ring: Arc<Ring>,
    /// Slots filled, including those the consumer cannot see yet.
    staged: usize,
    published: usize,
    /// `head` as last loaded: at least this much was released.
    head_seen: usize,
}

impl Producer {
    /// Copies a record in; the consumer sees it after [`Producer::publish`].
    ///
    /// # Panics
    /// If the body is longer than any message may be.
    #[inline]
    pub(super) fn push(&mut self, tag: &Tag, body: &[u8]) -> Result<(), NoRoom> {
        assert!(body.len() <= BODY_BYTES_MAX, "a record of {} bytes", body.len());
        let slots = slots_of(body.len());
        if !self.has_room(slots) {
            self.head_seen = self.ring.head.load(Ordering::Acquire);
            if !self.has_room(slots) {
                return Err(NoRoom);
            }
        }
        // SAFETY: the `slots` slots from `staged` on are free: they lie below head_seen +
        // capacity, so the consumer has released whatever was there (the acquiring load of
        // `head` saw it), and it touches nothing at or above `tail`, which is at most `staged`.
        // This is the only producer, and `&mut self` its only user.
        unsafe { self.ring.slots.fill(self.staged, tag, body) };
        self.staged = self.staged.wrapping_add(slots);
        Ok(())
    }

    /// Makes everything pushed so far visible.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.published != self.staged {
            self.published = self.staged;
            self.ring.tail.store(self.staged, Ordering::Release);
        }
    }

    fn has_room(&self, slots: usize) -> bool {
        let used = self.staged.wrapping_sub(self.head_seen);
        slots <= self.ring.slots.capacity() - used
    }
}

/// The end that reads.
pub(super) struct Consumer {
    ring: Arc<Ring>,
    /// Slots of records handed out, including the one that is lent now.
    taken: usize,
    released: usize,
    /// `tail` as last loaded: at least this much is published.
    tail_seen: usize,
}

impl Consumer {
    /// The next records, as many as there are and `records` has room for. Their slots stay taken
    /// until [`Consumer::release`]. The body that runs from the last slot into the first, of which
    /// there can be one among those not released, is put together in `scratch`, which holds at
    /// least [`BODY_BYTES_MAX`] bytes.
    #[inline]
    pub(super) fn next<'a, const MOST: usize>(
        &'a mut self,
        scratch: &'a mut [u8],
        most: usize,
        records: &mut ArrayVec<Record<'a>, MOST>,
    ) {
        let mut scratch = Some(scratch);
        while records.len() < most.min(MOST) {
            if self.taken == self.tail_seen {
                self.tail_seen = self.ring.tail.load(Ordering::Acquire);
                if self.taken == self.tail_seen {
                    return;
                }
            }
            let position = self.taken;
            let published = self.tail_seen.wrapping_sub(position);
            // SAFETY: the slot at `position` is published (it lies below `tail`, and the acquiring
            // load of `tail` saw it filled) and not released, so the producer does not write to it.
            let length = unsafe { self.ring.slots.length(position) };
            assert!(length <= BODY_BYTES_MAX, "a record that says it has {length} bytes");
            let slots = slots_of(length);
            assert!(slots <= published, "a record of {slots} slots, {published} of them published");
            self.taken = position.wrapping_add(slots);
            // SAFETY: the same holds for all `slots` slots of the record, and goes on holding while
            // it is borrowed: they are released through `&mut self` only.
            records.push(unsafe { self.ring.slots.lend(position, length, &mut scratch) });
        }
    }

    /// Gives the slots of all records handed out so far back to the producer.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.released != self.taken {
            self.ring.slots.check_read(self.released, self.taken);
            self.released = self.taken;
            self.ring.head.store(self.taken, Ordering::Release);
        }
    }

    /// Whether nothing published is left to take.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ring.tail.load(Ordering::Acquire) == self.taken
    }
}

/// The memory of a ring. It knows places, not who may touch them.
struct Slots {
    /// Zeroed by the allocator and untouched until used: pages no record has reached cost
    /// nothing. Larger than the slots by one, because an allocation that asks for alignment
    /// would be zeroed by hand.
    memory: Box<[UnsafeCell<u8>]>,
    /// Where in `memory` the first slot begins, aligned to the size of a slot: at most that.
    start: usize,
    mask: usize,
    /// Stands in for each slot's bytes where loom watches who touches them when.
    #[cfg(aorta_loom)]
    watched: Box<[loom::cell::UnsafeCell<()>]>,
}

// SAFETY: the bytes are plain data. `Producer` and `Consumer`, one of each to a ring, only touch
// slots that the other does not (see where they call), and hand them over by `tail` and `head`
// with release and acquire.
unsafe impl Sync for Slots {}

impl Slots {
    fn new(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two(), "a ring of {capacity} slots");
        let zeroed = vec![0u8; (capacity + 1) * SLOT_BYTES].into_boxed_slice();
        // SAFETY: UnsafeCell<u8> has the layout of u8, and the box is the only owner.
        let memory = unsafe { Box::from_raw(Box::into_raw(zeroed) as *mut [UnsafeCell<u8>]) };
        let start = memory.as_ptr().align_offset(SLOT_BYTES);
        assert!(start <= SLOT_BYTES, "memory that cannot be aligned");
        Slots {
            start,
            memory,
            mask: capacity - 1,
            #[cfg(aorta_loom)]
            watched: (0..capacity).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        }
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.mask + 1
    }

    /// The bytes from the slot at `position` to the end of the last slot: where they begin, and
    /// how many they are.
    #[inline]
    fn place(&self, position: usize) -> (*mut u8, usize) {
        let offset = (position & self.mask) * SLOT_BYTES;
        let all = self.capacity() * SLOT_BYTES;
        // A pointer to the whole slice, so that it may run on to the end of the slots.
        let memory = self.memory.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: `start` is at most SLOT_BYTES and `offset` below `all`; memory has
        // all + SLOT_BYTES bytes.
        (unsafe { memory.add(self.start + offset) }, all - offset)
    }

    /// Writes a record at `position`.
    ///
    /// # Safety
    /// Nobody else touches its slots meanwhile, and there are no more of them than `capacity`.
    #[inline]
    unsafe fn fill(&self, position: usize, tag: &Tag, body: &[u8]) {
        self.check_written(position, position.wrapping_add(slots_of(body.len())));
        let (at, room) = self.place(position);
        // Fits: the caller has seen that the body is no longer than a message.
        let length = (body.len() as u32).to_ne_bytes();
        let straight = body.len().min(room - HEAD_BYTES);
        // SAFETY: at least a slot, so more than HEAD_BYTES, is left at `at`; `straight` is cut to
        // what follows the head; the rest, if any, goes to the slots from the first on, of which
        // the record has enough because its slots are at most all of them. The caller's memory
        // and the ring's do not overlap: slots are lent to the consumer alone.
        unsafe {
            at.copy_from_nonoverlapping(length.as_ptr(), LENGTH_BYTES);
            at.add(LENGTH_BYTES).copy_from_nonoverlapping(tag.as_ptr(), TAG_BYTES);
            at.add(HEAD_BYTES).copy_from_nonoverlapping(body.as_ptr(), straight);
            if straight < body.len() {
                let rest = &body[straight..];
                let (first, _) = self.place(0);
                first.copy_from_nonoverlapping(rest.as_ptr(), rest.len());
            }
        }
    }

    /// The length of the body of the record at `position`.
    ///
    /// # Safety
    /// A record begins there, and nobody writes to its first slot meanwhile.
    #[inline]
    unsafe fn length(&self, position: usize) -> usize {
        self.check_read(position, position.wrapping_add(1));
        let (at, _) = self.place(position);
        // SAFETY: a slot is longer than LENGTH_BYTES; the caller has the right to read it.
        let length = unsafe { at.cast::<[u8; LENGTH_BYTES]>().read() };
        u32::from_ne_bytes(length) as usize
    }

    /// The record at `position`, whose body has `length` bytes, from the ring itself or, where it
    /// runs from the last slot into the first, from `scratch`, which is used up by that.
    ///
    /// # Safety
    /// It is there with that length, and nobody writes to its slots while it is borrowed.
    #[inline]
    unsafe fn lend<'a>(
        &'a self,
        position: usize,
        length: usize,
        scratch: &mut Option<&'a mut [u8]>,
    ) -> Record<'a> {
        self.check_read(position, position.wrapping_add(slots_of(length)));
        let (at, room) = self.place(position);
        let straight = length.min(room - HEAD_BYTES);
        // SAFETY: the head is within the first slot, which the caller has the right to read for
        // `'a`; arrays of bytes have no alignment to keep.
        let tag = unsafe { &*at.add(LENGTH_BYTES).cast::<Tag>() };
        // SAFETY: `straight` is cut to what follows the head up to the end of the slots.
        let body = unsafe { slice::from_raw_parts(at.add(HEAD_BYTES), straight) };
        if straight == length {
            return Record { tag, body };
        }
        let (first, _) = self.place(0);
        // SAFETY: the record goes on at the first slot, and its slots are at most all of them.
        let rest = unsafe { slice::from_raw_parts(first, length - straight) };
        let scratch = scratch.take().expect("one record at most runs over the end of a ring");
        scratch[..straight].copy_from_slice(body);
        scratch[straight..length].copy_from_slice(rest);
        Record { tag, body: &scratch[..length] }
    }

    /// Tells loom that the slots from `from` to `to` are being written.
    #[inline(always)]
    fn check_written(&self, from: usize, to: usize) {
        #[cfg(aorta_loom)]
        for position in from..to {
            self.watched[position & self.mask].with_mut(|_| ());
        }
        let _ = (from, to);
    }

    /// Tells loom that the slots from `from` to `to` are being read.
    #[inline(always)]
    fn check_read(&self, from: usize, to: usize) {
        #[cfg(aorta_loom)]
        for position in from..to {
            self.watched[position & self.mask].with(|_| ());
        }
        let _ = (from, to);
    }
}
