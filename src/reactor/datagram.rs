//! The seam of the datagram path: datagrams come in by one of two backends, replies are written
//! straight into the [`Outbox`] and leave as one batch ([`super::send`]).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::time::Duration;

use super::arena::Arena;
use super::clock::Clock;
use super::counters::Counters;
use super::error::StartError;
use crate::limits::{BATCH_MAX, RESPONSE_BYTES_MAX};
use crate::shard::{Datagram, ListenerId};
use crate::time::Now;

/// How datagrams are received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// recvmmsg: the fastest on most kernels.
    #[default]
    Mmsg,
    /// An io_uring of our own with multishot receive and provided buffers.
    Uring,
}

/// A backend. A source is something that can be polled: a socket, or a ring over all of them.
pub(super) trait DatagramPath {
    /// How many sources there are.
    fn sources(&self) -> usize;

    /// The descriptors to wait on, those of the sockets first and in their order, each with its
    /// source: while one of them is readable, `receive`
    /// has something to take, and while it has, one of them is.
    fn polled(&self) -> Vec<(RawFd, usize)>;

    /// Takes at most [`BATCH_MAX`] datagrams from one source without waiting and shows them to
    /// `show`, all at once, with the clocks as they were read once for the batch; their bytes stay
    /// where they are until it returns. Returns how many were taken, those that were not shown
    /// included; fewer than [`BATCH_MAX`] means that `polled` will tell when there is more.
    fn receive(
        &mut self,
        source: usize,
        clock: &Clock,
        counters: &mut Counters,
        show: &mut impl FnMut(Now, &[Datagram<'_>], &mut Counters),
    ) -> usize;

    /// How long what was received last had waited for that, if it was measured since the last call.
    fn take_waited(&mut self) -> Option<Duration>;

    /// The sockets at which receiving has met an error since the last call, a bit each.
    fn take_errors(&mut self) -> u32;

    /// Datagrams the kernel dropped so far at the sockets.
    fn kernel_drops(&self) -> u64;
}

/// A reply that waits in the [`Outbox`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Transmit {
    /// Where it goes.
    pub(super) to: SocketAddr,
    /// Whose socket it leaves by.
    pub(super) listener: ListenerId,
    /// The address it leaves from, where the socket has more than one.
    pub(super) local_ip: Option<IpAddr>,
    /// Where it begins in the outbox.
    pub(super) at: usize,
    /// Its length, bytes.
    pub(super) len: usize,
}

/// The replies of one batch. They lie one behind the other, each at the start of a cache line, so
/// that a batch of short replies stays within a few pages.
pub(super) struct Outbox {
    arena: Arena,
    used: usize,
    queue: Vec<Transmit>,
}

const LINE_BYTES: usize = 64;
const OUTBOX_BYTES: usize = BATCH_MAX * RESPONSE_BYTES_MAX.next_multiple_of(LINE_BYTES);

impl Outbox {
    pub(super) fn new() -> Result<Outbox, StartError> {
        let arena = Arena::new(OUTBOX_BYTES).map_err(|source| StartError::System {
            operation: "mmap of the send buffers",
            source,
        })?;
        Ok(Outbox { arena, used: 0, queue: Vec::with_capacity(BATCH_MAX) })
    }

    /// Where the next reply is written: room for [`RESPONSE_BYTES_MAX`] bytes.
    ///
    /// # Panics
    /// If [`BATCH_MAX`] replies wait already: a batch is sent before the next is received.
    pub(super) fn slot(&mut self) -> &mut [u8] {
        assert!(self.queue.len() < BATCH_MAX, "the outbox was not flushed");
        self.arena.bytes_mut(self.used, RESPONSE_BYTES_MAX)
    }

    /// Queues the first `len` bytes of the slot as the reply to `datagram`.
    ///
    /// # Panics
    /// If `len` is longer than the slot.
    pub(super) fn queue(&mut self, datagram: &Datagram<'_>, to: SocketAddr, len: usize) {
        self.queue_request(to, datagram.listener, datagram.local_ip, len);
    }

    /// Queues the first `len` bytes of the slot as a message nobody has asked for.
    ///
    /// # Panics
    /// If `len` is longer than the slot.
    pub(super) fn queue_request(
        &mut self,
        to: SocketAddr,
        listener: ListenerId,
        local_ip: Option<IpAddr>,
        len: usize,
    ) {
        assert!(len <= RESPONSE_BYTES_MAX, "a reply of {len} bytes does not fit its slot");
        self.queue.push(Transmit { to, listener, local_ip, at: self.used, len });
        self.used += len.next_multiple_of(LINE_BYTES);
    }

    /// Whether nothing more fits before it is flushed.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() == BATCH_MAX
    }

    /// The first `len` bytes of the slot.
    pub(super) fn written(&mut self, len: usize) -> &[u8] {
        &self.slot()[..len]
    }

    pub(super) fn transmits(&self) -> &[Transmit] {
        &self.queue
    }

    /// The address of a queued reply, valid until the next `clear`.
    pub(super) fn pointer(&self, transmit: &Transmit) -> *mut u8 {
        self.arena.pointer(transmit.at)
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn datagram() -> Datagram<'static> {
        Datagram {
            source: "127.0.0.1:5060".parse().unwrap(),
            listener: ListenerId(0),
            local_ip: None,
            received_at: Instant::ZERO,
            bytes: b"x",
            link: None,
        }
    }

    #[test]
    fn a_batch_of_the_longest_replies_fits() {
        let mut outbox = Outbox::new().unwrap();
        for _ in 0..BATCH_MAX {
            let slot = outbox.slot();
            let len = slot.len();
            slot.fill(1);
            outbox.queue(&datagram(), datagram().source, len);
        }
        assert_eq!(outbox.transmits().len(), BATCH_MAX);
        outbox.clear();
        assert_eq!(outbox.slot().len(), RESPONSE_BYTES_MAX);
    }

    #[test]
    fn short_replies_lie_close_together_and_do_not_overlap() {
        let mut outbox = Outbox::new().unwrap();
        for _ in 0..3 {
            outbox.slot();
            outbox.queue(&datagram(), datagram().source, 65);
        }
        let at: Vec<_> = outbox.transmits().iter().map(|transmit| transmit.at).collect();
        assert_eq!(at, [0, 128, 256]);
    }

    #[test]
    #[should_panic(expected = "not flushed")]
    fn more_than_a_batch_is_our_bug() {
        let mut outbox = Outbox::new().unwrap();
        for _ in 0..=BATCH_MAX {
            outbox.slot();
            outbox.queue(&datagram(), datagram().source, 1);
        }
    }
}
