//! The io_uring backend: one ring over all sockets of a reactor, a multishot receive armed on
//! each, the kernel choosing among provided buffers. Replies leave as with the other backend.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use arrayvec::ArrayVec;
use io_uring::types::{BufRingEntry, CancelBuilder, Fixed, RecvMsgOut};
use io_uring::{IoUring, cqueue, opcode};

use super::address::{CONTROL_BYTES, NAME_BYTES, read_local_ip, read_name};
use super::arena::Arena;
use super::clock::Clock;
use super::counters::Counters;
use super::datagram::DatagramPath;
use super::error::StartError;
use super::socket::Listener;
use super::start_check::{multishot_receive_allowed, ring_refusal};
use super::waiting::Gauge;
use crate::limits::{BATCH_MAX, LISTENERS_MAX, MESSAGE_BYTES_MAX};
use crate::shard::{Datagram, ListenerId};
use crate::time::Now;

/// Provided buffers. One pass of a multishot receive yields at most 33 datagrams, so a few passes
/// may wait while a batch is handled.
const BUFFERS: u16 = 128;
const BUFFER_GROUP: u16 = 0;
/// Submissions that may wait at once: one armed receive per socket, and one more.
const SUBMISSIONS: u32 = (LISTENERS_MAX + 1).next_power_of_two() as u32;
/// Completions that may wait: every buffer, and the end of every receive.
const COMPLETIONS: u32 = (BUFFERS as u32 + SUBMISSIONS).next_power_of_two();
/// IORING_ENTER_GETEVENTS: run what the kernel deferred to us.
const ENTER_GETEVENTS: u32 = 1;
/// What the kernel puts in front of name, control message and payload (io_uring_recvmsg_out).
const OUT_HEADER_BYTES: usize = 16;

const _: () = assert!(BUFFERS.is_power_of_two() && BUFFERS as usize >= 2 * BATCH_MAX);

/// Receives by io_uring; all sockets are one source.
pub(super) struct Uring {
    // Its receives are cancelled before anything of this is dropped, and it goes first.
    ring: IoUring,
    buffers: Buffers,
    /// One per socket; the kernel reads it when a receive is armed, and we to find the payload.
    messages: Box<[libc::msghdr]>,
    /// Receives that have ended and must be armed again, by socket.
    unarmed: Vec<usize>,
    /// Sockets at which receiving met an error, a bit each.
    errors: u32,
    /// One for each socket.
    gauges: Vec<Gauge>,
    waited: Option<Duration>,
    /// Datagrams reaped since nothing was left to reap.
    run: usize,
    listeners: Vec<Listener>,
}

/// The provided buffers and the ring by which they go to the kernel.
struct Buffers {
    entries: Arena,
    arena: Arena,
    buffer_bytes: usize,
    payload_bytes_max: usize,
    stride: usize,
    tail: u16,
}

/// A buffer that the kernel handed back.
struct Used {
    id: u16,
    len: usize,
    /// Whose message is in it.
    socket: usize,
}

impl Buffers {
    fn new(payload_bytes_max: usize) -> io::Result<Buffers> {
        let buffer_bytes = OUT_HEADER_BYTES + NAME_BYTES + CONTROL_BYTES + payload_bytes_max;
        // As with the other backend: buffers must not all begin at the same offset of a page.
        let stride = buffer_bytes.next_multiple_of(4096) + 128;
        let entries = Arena::new(usize::from(BUFFERS) * size_of::<BufRingEntry>())?;
        let arena = Arena::new(stride * usize::from(BUFFERS))?;
        Ok(Buffers { entries, arena, buffer_bytes, payload_bytes_max, stride, tail: 0 })
    }

    /// Gives buffer `id` to the kernel once `publish` is called.
    fn give(&mut self, id: u16) {
        let index = usize::from(self.tail & (BUFFERS - 1));
        let entry = self.entries.pointer(index * size_of::<BufRingEntry>());
        // SAFETY: `index` is below the number of entries the arena was made for, whose start is
        // page-aligned. The kernel does not read an entry at or past the published tail. The
        // fields are set through a reference to this entry alone; the tail, which shares the first
        // entry's reserved field, is not touched by the setters.
        let entry = unsafe { &mut *entry.cast::<BufRingEntry>() };
        entry.set_addr(self.arena.pointer(usize::from(id) * self.stride) as u64);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        let base = self.entries.pointer(0).cast::<BufRingEntry>();
        // SAFETY: `base` is the first entry of the ring, in whose reserved field the tail lives;
        // it is aligned for a `u16` and shared with the kernel, hence the atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Uring {
    pub(super) fn new(listeners: Vec<Listener>) -> Result<Uring, StartError> {
        Uring::with_payload(listeners, MESSAGE_BYTES_MAX)
    }

    /// With buffers for at most `payload_bytes_max` bytes of payload. Must be called on the thread
    /// that will receive.
    pub(super) fn with_payload(
        listeners: Vec<Listener>,
        payload_bytes_max: usize,
    ) -> Result<Uring, StartError> {
        multishot_receive_allowed()?;
        let ring = build_ring()?;
        let fds: Vec<RawFd> = listeners.iter().map(Listener::fd).collect();
        ring.submitter()
            .register_files(&fds)
            .map_err(|source| ring_refusal("registering the sockets", source))?;
        let mut buffers = Buffers::new(payload_bytes_max).map_err(|source| StartError::System {
            operation: "mmap of the receive buffers",
            source,
        })?;
        // SAFETY: the entries are page-aligned, `BUFFERS` of them, and live until after the ring
        // is gone (field order).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.entries.pointer(0) as u64,
                BUFFERS,
                BUFFER_GROUP,
                0,
            )
        }
        .map_err(|source| ring_refusal("registering a buffer ring", source))?;
        for id in 0..BUFFERS {
            buffers.give(id);
        }
        buffers.publish();
        let messages = listeners
            .iter()
            .map(|listener| {
                // SAFETY: all-zero is a valid `msghdr` (null pointers, zero lengths).
                let mut message: libc::msghdr = unsafe { mem::zeroed() };
                message.msg_namelen = NAME_BYTES as libc::socklen_t;
                message.msg_controllen = if listener.wildcard { CONTROL_BYTES as _ } else { 0 };
                message
            })
            .collect();
        let unarmed = (0..listeners.len()).collect();
        let mut uring = Uring {
            ring,
            buffers,
            messages,
            unarmed,
            errors: 0,
            gauges: listeners.iter().map(|_| Gauge::default()).collect(),
            waited: None,
            run: 0,
            listeners,
        };
        uring.arm();
        uring.enter().map_err(|source| ring_refusal("arming a receive", source))?;
        Ok(uring)
    }

    fn arm(&mut self) {
        let mut submissions = self.ring.submission();
        while let Some(socket) = self.unarmed.pop() {
            let message = &raw const self.messages[socket];
            let entry = opcode::RecvMsgMulti::new(Fixed(socket as u32), message, BUFFER_GROUP)
                .build()
                .user_data(socket as u64);
            // SAFETY: the message header is boxed and lives until after the ring is gone; the
            // buffers are those of the registered group.
            if unsafe { submissions.push(&entry) }.is_err() {
                // Cannot be: the queue holds a receive per socket. Kept for the next turn.
                self.unarmed.push(socket);
                break;
            }
        }
    }

    /// Arms the receives that have ended, if any.
    fn arm_and_enter(&mut self, counters: &mut Counters) {
        if !self.unarmed.is_empty() {
            self.arm();
            self.enter_counted(counters);
        }
    }

    /// Reaps what has come, a batch at most.
    fn reap(&mut self, counters: &mut Counters) -> ArrayVec<Used, BATCH_MAX> {
        let mut used = ArrayVec::new();
        let Uring { ring, buffers, unarmed, errors, .. } = self;
        let mut completions = ring.completion();
        while !used.is_full() {
            let Some(completion) = completions.next() else { break };
            let socket = completion.user_data() as usize;
            if !cqueue::more(completion.flags()) {
                unarmed.push(socket);
            }
            let Some(id) = cqueue::buffer_select(completion.flags()) else {
                // Out of buffers ends a receive like anything else and is no error: the socket
                // keeps what it has until the receive is armed again.
                if completion.result() < 0 && completion.result() != -libc::ENOBUFS {
                    counters.receive_errors += 1;
                    *errors |= 1 << socket;
                }
                continue;
            };
            let len = (completion.result().max(0) as usize).min(buffers.buffer_bytes);
            used.push(Used { id, len, socket });
        }
        used
    }

    /// Sees how long what was reaped last had waited, in its socket and in its buffer. One pass of
    /// a receive brings a little more than a batch, so the end of what has come tells, not that of
    /// a batch, whether there was more.
    fn gauge(&mut self, used: &[Used], now: Now) {
        self.run += used.len();
        let is_dry = self.ring.completion().is_empty();
        if !is_dry && self.run < usize::from(BUFFERS) {
            return;
        }
        let run = mem::take(&mut self.run);
        match used.last() {
            Some(&Used { socket, .. }) if run >= BATCH_MAX => {
                let waited = self.gauges[socket].took(&self.listeners[socket], now, run, true);
                self.waited = waited.or(self.waited);
            }
            _ => self.gauges.iter_mut().for_each(Gauge::dry),
        }
    }

    fn enter_counted(&mut self, counters: &mut Counters) {
        if let Err(error) = self.enter() {
            let errno = error.raw_os_error();
            if !matches!(errno, Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) {
                counters.receive_errors += 1;
            }
        }
    }

    /// Submits what is queued and lets the kernel do what it deferred. Never waits.
    fn enter(&mut self) -> io::Result<()> {
        let queued = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed; the count is that of the queue.
        let outcome = unsafe {
            self.ring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None)
        };
        outcome.map(drop)
    }
}

impl Drop for Uring {
    /// Closing a ring ends its receives some time later; the buffers are unmapped at once. So the
    /// receives are ended first. The ring's hold on the sockets would also last until then, and
    /// the port with it: a server started next would find it taken.
    fn drop(&mut self) {
        let all = CancelBuilder::any();
        if let Err(error) = self.ring.submitter().register_sync_cancel(None, all) {
            // Nothing to cancel is what an unarmed ring says.
            let nothing = error.raw_os_error() == Some(libc::ENOENT);
            assert!(nothing || thread::panicking(), "a receive could not be cancelled: {error}");
        }
        // Reaps what the cancelled receives left, which holds the sockets too. If either fails the
        // port is free a little later.
        let _ = self.enter();
        let _ = self.ring.submitter().unregister_files();
    }
}

/// Deferred task work is the fastest; older kernels get what they know.
fn build_ring() -> Result<IoUring, StartError> {
    let attempts = [
        |builder: &mut io_uring::Builder| {
            builder.setup_single_issuer().setup_defer_taskrun();
        },
        |builder: &mut io_uring::Builder| {
            builder.setup_coop_taskrun();
        },
        |_: &mut io_uring::Builder| {},
    ];
    let mut refusal = None;
    for flags in attempts {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).dontfork();
        flags(&mut builder);
        match builder.build(SUBMISSIONS) {
            Ok(ring) => return Ok(ring),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = Some(error),
            Err(error) => return Err(ring_refusal("io_uring_setup", error)),
        }
    }
    let refusal = refusal.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL));
    Err(ring_refusal("io_uring_setup", refusal))
}

impl DatagramPath for Uring {
    fn sources(&self) -> usize {
        1
    }

    /// Both the sockets and the ring: where the kernel defers the receive to our next enter, the
    /// ring wakes nobody, but the datagram still lies in its socket; where it does not, the
    /// datagram has left the socket, and the ring tells of its completion.
    fn polled(&self) -> Vec<(RawFd, usize)> {
        let ring = self.ring.as_raw_fd();
        self.listeners.iter().map(Listener::fd).chain([ring]).map(|fd| (fd, 0)).collect()
    }

    fn receive(
        &mut self,
        _source: usize,
        clock: &Clock,
        counters: &mut Counters,
        show: &mut impl FnMut(Now, &[Datagram<'_>], &mut Counters),
    ) -> usize {
        self.arm_and_enter(counters);
        if self.ring.completion().is_empty() {
            self.enter_counted(counters);
            if self.ring.completion().is_empty() {
                return 0;
            }
        }
        let now = clock.now();
        let mut used = self.reap(counters);
        if used.is_empty() {
            // Receives that have ended and no more: the sockets may hold what there were no buffers
            // for, and nothing taken would mean that they do not.
            self.arm_and_enter(counters);
            used = self.reap(counters);
        }
        self.gauge(&used, now);
        let Uring { buffers, messages, .. } = self;
        let mut batch: ArrayVec<Datagram<'_>, BATCH_MAX> = ArrayVec::new();
        for &Used { id, len, socket } in &used {
            // SAFETY: the kernel handed this buffer back with the completion and does not write to
            // it again until `give` and `publish`, which come after the batch's last use.
            let buffer = unsafe { buffers.arena.bytes(usize::from(id) * buffers.stride, len) };
            counters.datagrams_in += 1;
            let payload_bytes_max = buffers.payload_bytes_max;
            batch.extend(read(buffer, payload_bytes_max, &messages[socket], socket, now, counters));
        }
        show(now, &batch, counters);
        drop(batch);
        for Used { id, .. } in &used {
            buffers.give(*id);
        }
        buffers.publish();
        let taken = used.len();
        if taken > 0 {
            counters.batches_in += 1;
        }
        // At once, not with the next receive: a socket that is not armed wakes nobody. An empty
        // datagram ends a receive as much as an error or the want of buffers.
        self.arm_and_enter(counters);
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

/// The datagram in a buffer, unless it is to be dropped, which is counted.
fn read<'a>(
    buffer: &'a [u8],
    payload_bytes_max: usize,
    message: &libc::msghdr,
    socket: usize,
    now: Now,
    counters: &mut Counters,
) -> Option<Datagram<'a>> {
    let Ok(out) = RecvMsgOut::parse(buffer, message) else {
        counters.unreadable += 1;
        return None;
    };
    // Sockets without control messages leave their room to the payload.
    if out.is_payload_truncated() || out.payload_data().len() > payload_bytes_max {
        counters.truncated += 1;
        return None;
    }
    if out.payload_data().is_empty() {
        counters.empty += 1;
        return None;
    }
    let Some(source) = read_name(out.name_data()) else {
        counters.unreadable += 1;
        return None;
    };
    let local_ip =
        if message.msg_controllen > 0 { read_local_ip(out.control_data()) } else { None };
    // The payload comes last; borrowed from the buffer, which outlives the view of it.
    let payload = &buffer[buffer.len() - out.payload_data().len()..];
    counters.bytes_in += payload.len() as u64;
    Some(Datagram {
        source,
        listener: ListenerId(socket as u8),
        local_ip,
        received_at: now.mono,
        bytes: payload,
        link: None,
    })
}

const _: () = assert!(MESSAGE_BYTES_MAX < u32::MAX as usize / 2);
