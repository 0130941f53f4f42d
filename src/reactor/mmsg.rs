//! The recvmmsg backend: a batch of datagrams per system call into buffers that are reused.

use std::mem;
use std::os::fd::RawFd;
use std::ptr;

use arrayvec::ArrayVec;

use super::address::{CONTROL_BYTES, NAME_BYTES, read_local_ip, read_name};
use super::arena::Arena;
use super::clock::Clock;
use super::counters::Counters;
use super::datagram::DatagramPath;
use super::error::StartError;
use super::socket::Listener;
use crate::limits::{BATCH_MAX, MESSAGE_BYTES_MAX};
use crate::shard::{Datagram, ListenerId};
use crate::time::Now;

/// A slot of the arena: the name, the control message, the payload.
const CONTROL_AT: usize = NAME_BYTES.next_multiple_of(8);
const PAYLOAD_AT: usize = (CONTROL_AT + CONTROL_BYTES).next_multiple_of(64);

/// Receives by recvmmsg, a source per socket.
pub(super) struct Mmsg {
    listeners: Vec<Listener>,
    /// [`BATCH_MAX`] slots, used by all sockets in turn. Only pages that long datagrams reach are
    /// ever touched.
    arena: Arena,
    slot_bytes: usize,
    payload_bytes_max: usize,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
}

impl Mmsg {
    pub(super) fn new(listeners: Vec<Listener>) -> Result<Mmsg, StartError> {
        Mmsg::with_payload(listeners, MESSAGE_BYTES_MAX)
    }

    /// With buffers for at most `payload_bytes_max` bytes of payload.
    pub(super) fn with_payload(
        listeners: Vec<Listener>,
        payload_bytes_max: usize,
    ) -> Result<Mmsg, StartError> {
        // Whole cache lines, and an odd number of pairs of them: slots that began at the same
        // offset of a page would fight for the same few sets of the cache.
        let slot_bytes = (PAYLOAD_AT + payload_bytes_max).next_multiple_of(4096) + 128;
        let arena = Arena::new(slot_bytes * BATCH_MAX).map_err(|source| StartError::System {
            operation: "mmap of the receive buffers",
            source,
        })?;
        let vectors: Vec<_> = (0..BATCH_MAX)
            .map(|slot| libc::iovec {
                iov_base: arena.pointer(slot * slot_bytes + PAYLOAD_AT).cast(),
                iov_len: payload_bytes_max,
            })
            .collect();
        // SAFETY: all-zero is a valid `mmsghdr` (null pointers, zero lengths).
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let headers = vec![header; BATCH_MAX];
        Ok(Mmsg { listeners, arena, slot_bytes, payload_bytes_max, headers, vectors })
    }

    /// Makes the headers ready for a receive; the kernel overwrote the lengths of those in use.
    fn prepare(&mut self, wildcard: bool) {
        for (slot, header) in self.headers.iter_mut().enumerate() {
            let at = slot * self.slot_bytes;
            let header = &mut header.msg_hdr;
            header.msg_name = self.arena.pointer(at).cast();
            header.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[slot];
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            if wildcard {
                header.msg_control = self.arena.pointer(at + CONTROL_AT).cast();
                header.msg_controllen = CONTROL_BYTES as _;
            } else {
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            }
        }
    }
}

impl DatagramPath for Mmsg {
    fn sources(&self) -> usize {
        self.listeners.len()
    }

    fn polled(&self) -> Vec<(RawFd, usize)> {
        self.listeners.iter().map(Listener::fd).zip(0..).collect()
    }

    fn receive(
        &mut self,
        source: usize,
        clock: &Clock,
        counters: &mut Counters,
        show: &mut impl FnMut(Now, &[Datagram<'_>], &mut Counters),
    ) -> usize {
        let wildcard = self.listeners[source].wildcard;
        self.prepare(wildcard);
        // SAFETY: each header points at its own slot of the arena, with the lengths of the parts
        // of that slot, and at its vector; neither moves, and nothing else refers to the arena
        // while the call lasts.
        let taken = unsafe {
            libc::recvmmsg(
                self.listeners[source].fd(),
                self.headers.as_mut_ptr(),
                BATCH_MAX as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(taken) = usize::try_from(taken) else {
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::WouldBlock {
                // An ICMP error of something sent earlier, which anybody could forge: taken, so
                // that it is gone, and no more than counted.
                counters.receive_errors += 1;
            }
            return 0;
        };
        let now = clock.now();
        counters.batches_in += 1;
        counters.datagrams_in += taken as u64;
        let mut batch: ArrayVec<Datagram<'_>, BATCH_MAX> = ArrayVec::new();
        for (slot, header) in self.headers[..taken].iter().enumerate() {
            let at = slot * self.slot_bytes;
            let len = header.msg_len as usize;
            let message = &header.msg_hdr;
            if message.msg_flags & libc::MSG_TRUNC != 0 || len > self.payload_bytes_max {
                counters.truncated += 1;
                continue;
            }
            if len == 0 {
                counters.empty += 1;
                continue;
            }
            let name_len = (message.msg_namelen as usize).min(NAME_BYTES);
            let control_len = CONTROL_BYTES.min(message.msg_controllen as _);
            // SAFETY: the kernel writes to the arena only within recvmmsg, which has returned and
            // is not called again before these slices end.
            let (name, control, bytes) = unsafe {
                (
                    self.arena.bytes(at, name_len),
                    self.arena.bytes(at + CONTROL_AT, control_len),
                    self.arena.bytes(at + PAYLOAD_AT, len),
                )
            };
            let Some(from) = read_name(name) else {
                counters.unreadable += 1;
                continue;
            };
            counters.bytes_in += len as u64;
            batch.push(Datagram {
                source: from,
                listener: ListenerId(source as u8),
                local_ip: if wildcard { read_local_ip(control) } else { None },
                received_at: now.mono,
                bytes,
                link: None,
            });
        }
        show(now, &batch, counters);
        taken
    }

    fn kernel_drops(&self) -> u64 {
        self.listeners.iter().map(Listener::kernel_drops).sum()
    }
}
