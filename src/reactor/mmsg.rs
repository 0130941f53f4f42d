//! The recvmmsg backend: a batch of messages per system call into buffers that are reused. Where
//! the kernel joins datagrams of one peer (UDP_GRO), a message is many of them, and one system call
//! several batches.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::address::{
    JOINED_CONTROL_BYTES, NAME_BYTES, read_local_ip, read_name, read_segment_bytes,
};
use super::arena::Arena;
use super::clock::Clock;
use super::counters::Counters;
use super::datagram::DatagramPath;
use super::error::StartError;
use super::socket::Listener;
use super::waiting::Gauge;
use crate::limits::{BATCH_MAX, MESSAGE_BYTES_MAX};
use crate::shard::{Datagram, ListenerId};
use crate::time::Now;

/// A slot of the arena: the name, the control message, the payload.
const CONTROL_AT: usize = NAME_BYTES.next_multiple_of(8);
const PAYLOAD_AT: usize = (CONTROL_AT + JOINED_CONTROL_BYTES).next_multiple_of(64);

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
    /// Whether datagrams may come joined: the buffers are large enough for whatever comes.
    joined: bool,
    left: Left,
    /// Sockets that were asked for while the buffers held what came of another, a bit each.
    passed_over: u32,
    /// Sockets at which receiving met an error, a bit each.
    errors: u32,
    /// One for each socket.
    gauges: Vec<Gauge>,
    waited: Option<Duration>,
}

/// What the last system call brought and has not been shown yet. It has been of one socket, and the
/// buffers are in use until nothing is left.
#[derive(Clone, Copy, Default)]
struct Left {
    source: usize,
    /// The next slot and the end of them.
    slot: usize,
    end: usize,
    /// Where the next datagram begins in the slot's payload.
    at: usize,
}

impl Left {
    fn is_empty(self) -> bool {
        self.slot == self.end
    }
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
        // What is joined is no longer than the longest datagram: it was one IP packet on its way.
        let mut joined = false;
        if payload_bytes_max >= MESSAGE_BYTES_MAX {
            joined = listeners.iter().map(Listener::join_datagrams).fold(false, |a, b| a | b);
        }
        Ok(Mmsg {
            gauges: listeners.iter().map(|_| Gauge::default()).collect(),
            waited: None,
            listeners,
            arena,
            slot_bytes,
            payload_bytes_max,
            headers,
            vectors,
            joined,
            left: Left::default(),
            passed_over: 0,
            errors: 0,
        })
    }

    /// Makes the headers ready for a receive; the kernel overwrote the lengths of those in use.
    fn prepare(&mut self, controls: bool) {
        for (slot, header) in self.headers.iter_mut().enumerate() {
            let at = slot * self.slot_bytes;
            let header = &mut header.msg_hdr;
            header.msg_name = self.arena.pointer(at).cast();
            header.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[slot];
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            if controls {
                header.msg_control = self.arena.pointer(at + CONTROL_AT).cast();
                header.msg_controllen = JOINED_CONTROL_BYTES as _;
            } else {
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            }
        }
    }

    /// Takes what the socket asked for has, unless one that was passed over has something: the
    /// sockets go in turn. What a full socket brings may be shown in as many batches as the loop
    /// asks for in some turns, and it would be asked each time that the buffers are free.
    fn take_in_turn(&mut self, asked: usize, counters: &mut Counters) {
        self.passed_over |= 1 << asked;
        while self.left.is_empty() && self.passed_over != 0 {
            let after = self.passed_over & (u32::MAX << self.left.source << 1);
            let next = if after == 0 { self.passed_over } else { after }.trailing_zeros();
            self.passed_over &= !(1 << next);
            self.take(next as usize, counters);
        }
    }

    /// Takes what one socket has, as many messages as there are slots. They are left to be shown.
    fn take(&mut self, source: usize, counters: &mut Counters) {
        self.prepare(self.joined || self.listeners[source].wildcard);
        let taken = self.receive_messages(source).or_else(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                return Ok(0);
            }
            // An ICMP error of something sent earlier, which anybody could forge. It is met once;
            // what has come is there behind it.
            counters.receive_errors += 1;
            self.errors |= 1 << source;
            self.receive_messages(source)
        });
        if let Ok(end) = taken {
            self.left = Left { source, slot: 0, end, at: 0 };
        }
    }

    fn receive_messages(&mut self, source: usize) -> io::Result<usize> {
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
        usize::try_from(taken).map_err(|_| io::Error::last_os_error())
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
        // What is left of another socket goes first: it has the buffers. This one stays readable.
        if self.left.is_empty() {
            self.take_in_turn(source, counters);
        }
        let mut left = self.left;
        if left.is_empty() {
            return 0;
        }
        if left.source != source {
            self.passed_over |= 1 << source;
        }
        let now = clock.now();
        counters.batches_in += 1;
        if (left.slot, left.at) == (0, 0) {
            let Mmsg { listeners, gauges, .. } = self;
            let (gauge, full) = (&mut gauges[left.source], left.end == BATCH_MAX);
            let waited = gauge.took(&listeners[left.source], now, left.end, full);
            self.waited = waited.or(self.waited);
        }
        let wildcard = self.listeners[left.source].wildcard;
        let mut batch: ArrayVec<Datagram<'_>, BATCH_MAX> = ArrayVec::new();
        let mut taken = 0;
        while left.slot < left.end && taken < BATCH_MAX {
            let header = &self.headers[left.slot];
            let at = left.slot * self.slot_bytes;
            let len = header.msg_len as usize;
            let message = &header.msg_hdr;
            if message.msg_flags & libc::MSG_TRUNC != 0 || len > self.payload_bytes_max || len == 0
            {
                *(if len == 0 { &mut counters.empty } else { &mut counters.truncated }) += 1;
                taken += 1;
                left.slot += 1;
                continue;
            }
            let name_len = (message.msg_namelen as usize).min(NAME_BYTES);
            let control_len = JOINED_CONTROL_BYTES.min(message.msg_controllen as _);
            // SAFETY: the kernel writes to the arena only within recvmmsg, which has returned and
            // is not called again before these slices end.
            let (name, control, bytes) = unsafe {
                (
                    self.arena.bytes(at, name_len),
                    self.arena.bytes(at + CONTROL_AT, control_len),
                    self.arena.bytes(at + PAYLOAD_AT, len),
                )
            };
            let source = read_name(name);
            let local_ip = if wildcard { read_local_ip(control) } else { None };
            let segment_bytes = read_segment_bytes(control).unwrap_or(len);
            counters.runs_in += u64::from(left.at == 0 && segment_bytes < len);
            let room = BATCH_MAX - taken;
            for bytes in bytes[left.at..].chunks(segment_bytes).take(room) {
                taken += 1;
                left.at += bytes.len();
                let Some(source) = source else {
                    counters.unreadable += 1;
                    continue;
                };
                counters.bytes_in += bytes.len() as u64;
                batch.push(Datagram {
                    source,
                    listener: ListenerId(left.source as u8),
                    local_ip,
                    received_at: now.mono,
                    bytes,
                    link: None,
                });
            }
            if left.at == len {
                left = Left { slot: left.slot + 1, at: 0, ..left };
            }
        }
        counters.datagrams_in += taken as u64;
        show(now, &batch, counters);
        self.left = left;
        taken
    }

    fn take_waited(&mut self) -> Option<Duration> {
        self.waited.take()
    }

    fn take_errors(&mut self) -> u32 {
        mem::take(&mut self.errors)
    }

    fn kernel_drops(&self) -> u64 {
        self.listeners.iter().map(Listener::kernel_drops).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::reactor::address::Control;
    use crate::reactor::socket::bind_group;

    #[test]
    fn joined_datagrams_are_shown_one_by_one_and_in_batches() {
        let (mut listeners, first) =
            bind_group("127.0.0.1:0".parse().unwrap(), 1, 4 << 20).expect("a socket");
        let (more, second) = bind_group("0.0.0.0:0".parse().unwrap(), 1, 4 << 20).unwrap();
        listeners.extend(more);
        let mut path = Mmsg::new(listeners).unwrap();
        let mut counters = Counters::default();
        let clock = Clock::start();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Two runs of 50 to each socket, the last of a run shorter, each datagram with its number.
        let mut sent = 0u32;
        for bound in [first, first, second, second] {
            let to = SocketAddr::new("127.0.0.1".parse().unwrap(), bound.address.port());
            peer.connect(to).unwrap();
            let mut payload = Vec::new();
            for _ in 0..50 {
                payload.extend_from_slice(&sent.to_be_bytes());
                payload.extend_from_slice(b"....");
                sent += 1;
            }
            payload.truncate(payload.len() - 3);
            let mut control = Control::EMPTY;
            let len = control.write(None, Some(8));
            send_with_control(&peer, &payload, &control.0[..len]);
        }
        let mut seen = [Vec::new(), Vec::new()];
        let mut batches = Vec::new();
        for turn in 0..20 {
            let taken = path.receive(turn % 2, &clock, &mut counters, &mut |_, datagrams, _| {
                for datagram in datagrams {
                    assert_eq!(datagram.source, peer.local_addr().unwrap());
                    let (number, rest) = datagram.bytes.split_first_chunk().unwrap();
                    let number = u32::from_be_bytes(*number);
                    assert_eq!(rest.len(), if number % 50 == 49 { 1 } else { 4 });
                    let listener = usize::from(datagram.listener.0);
                    assert_eq!(datagram.local_ip.is_some(), listener == 1);
                    seen[listener].push(number);
                }
            });
            batches.push(taken);
        }
        assert!(seen[0].iter().copied().eq(0..100) && seen[1].iter().copied().eq(100..200));
        assert_eq!(batches[..9], [32, 32, 32, 4, 32, 32, 32, 4, 0]);
        assert_eq!((counters.datagrams_in, counters.bytes_in), (200, 1588));
        assert_eq!(counters.runs_in, 4);
    }

    #[test]
    fn a_socket_full_of_runs_keeps_none_of_the_others_waiting() {
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for _ in 0..4 {
            let (more, at) = bind_group("127.0.0.1:0".parse().unwrap(), 1, 4 << 20).unwrap();
            listeners.extend(more);
            bound.push(at.address);
        }
        let mut path = Mmsg::new(listeners).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        // What one system call takes is shown in 64 batches, as many as 4 sockets have turns in 16:
        // the loud one would be asked again each time that the buffers are free.
        let mut control = Control::EMPTY;
        let len = control.write(None, Some(1));
        peer.connect(bound[0]).unwrap();
        for _ in 0..3 * BATCH_MAX {
            send_with_control(&peer, &[b'x'; 64], &control.0[..len]);
        }
        for quiet in &bound[1..] {
            peer.connect(quiet).unwrap();
            peer.send(b"quiet").unwrap();
        }
        let (mut counters, clock) = (Counters::default(), Clock::start());
        let mut heard = Vec::new();
        let mut turns = 0;
        let mut taken = 1;
        while taken > 0 {
            taken = 0;
            for source in 0..4 {
                taken += path.receive(source, &clock, &mut counters, &mut |_, datagrams, _| {
                    for datagram in datagrams.iter().filter(|one| one.bytes == b"quiet") {
                        heard.push((datagram.listener.0, turns));
                    }
                });
            }
            turns += 1;
        }
        assert_eq!(counters.datagrams_in, 3 * 64 * BATCH_MAX as u64 + 3, "none is left behind");
        let listeners: Vec<u8> = heard.iter().map(|&(listener, _)| listener).collect();
        assert_eq!(listeners, [1, 2, 3]);
        assert!(heard.iter().all(|&(_, turn)| turn <= 17), "{heard:?}");
    }

    /// Sends one message with control messages.
    fn send_with_control(socket: &UdpSocket, payload: &[u8], control: &[u8]) {
        let mut vector =
            libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
        // SAFETY: all-zero is a valid `msghdr` (null pointers, zero lengths).
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_ptr().cast_mut().cast();
        header.msg_controllen = control.len() as _;
        // SAFETY: the header points at slices that outlive the call, which only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, 0) };
        assert_eq!(usize::try_from(sent), Ok(payload.len()));
    }
}
