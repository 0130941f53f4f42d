//! The system calls: connected UDP sockets, datagrams received and sent in batches, waiting,
//! pinning, thread CPU time and the interrupt signal. The only file with `unsafe`; it knows no
//! SIP.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Datagrams in a batch: more costs more than it saves.
pub const BATCH: usize = 32;
/// Longest request.
pub const REQUEST_MAX: usize = 3072;
/// Longest answer; a longer one is cut and so malformed.
const ANSWER_MAX: usize = 8192;
/// What is asked of the kernel for each socket's queue; it may grant less.
const BUFFER_BYTES: usize = 4 << 20;
/// How often a full send queue is waited for, a millisecond each, before datagrams are dropped.
const FULL_WAITS_MAX: u32 = 50;

/// A socket connected to the target.
#[derive(Debug)]
pub struct Port {
    socket: Socket,
    local: SocketAddr,
}

impl Port {
    /// Opens a socket on any port of `source` (or of the address the route gives).
    pub fn open(target: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))?;
        let any = match target {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        // Refusals are no failure: the default queue works, it only drops earlier.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.bind(&SockAddr::from(SocketAddr::new(source.unwrap_or(any), 0)))?;
        socket.connect(&SockAddr::from(target))?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?.as_socket();
        let local = local.ok_or_else(|| io::Error::other("a UDP socket without an address"))?;
        Ok(Port { socket, local })
    }

    /// The local address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

/// Memory of a batch: headers that point into one buffer, slot by slot.
struct Slots {
    headers: Box<[libc::mmsghdr]>,
    /// Referred to by `headers` alone.
    _iovecs: Box<[libc::iovec]>,
    buffer: Box<[u8]>,
    slot_bytes: usize,
}

impl Slots {
    fn new(slot_bytes: usize) -> Self {
        let mut buffer = vec![0u8; slot_bytes * BATCH].into_boxed_slice();
        let base = buffer.as_mut_ptr();
        let mut iovecs: Box<[libc::iovec]> = (0..BATCH)
            .map(|slot| libc::iovec {
                iov_base: base.wrapping_add(slot * slot_bytes).cast(),
                iov_len: slot_bytes,
            })
            .collect();
        let vectors = iovecs.as_mut_ptr();
        let headers = (0..BATCH)
            .map(|slot| {
                // SAFETY: all zeros is a valid mmsghdr: null pointers and zero lengths.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = vectors.wrapping_add(slot);
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Slots { headers, _iovecs: iovecs, buffer, slot_bytes }
    }

    fn set_length(&mut self, slot: usize, length: usize) {
        assert!(length <= self.slot_bytes);
        // SAFETY: msg_iov points to element `slot` of `_iovecs`, which lives as long as `self`
        // and is reached by nobody else while `self` is borrowed mutably.
        unsafe { (*self.headers[slot].msg_hdr.msg_iov).iov_len = length };
    }
}

/// A batch of datagrams that came in.
pub struct Received {
    slots: Slots,
}

impl Received {
    /// An empty batch.
    pub fn new() -> Self {
        Received { slots: Slots::new(ANSWER_MAX) }
    }

    /// Takes what is there, without waiting. A pending ICMP error is an `Err` and is taken with
    /// it.
    pub fn receive(&mut self, port: &Port) -> io::Result<usize> {
        // SAFETY: the headers describe BATCH slots of memory owned by `self`; the kernel writes
        // no more than iov_len bytes into each, and only during the call.
        let count = unsafe {
            libc::recvmmsg(
                port.socket.as_raw_fd(),
                self.slots.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        match count {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
            count => Ok(count as usize),
        }
    }

    /// One datagram of the last batch.
    pub fn datagram(&self, slot: usize) -> &[u8] {
        let start = slot * self.slots.slot_bytes;
        let length = (self.slots.headers[slot].msg_len as usize).min(self.slots.slot_bytes);
        &self.slots.buffer[start..start + length]
    }
}

impl Default for Received {
    fn default() -> Self {
        Received::new()
    }
}

/// What the kernel did not take.
#[derive(Debug, Default, Clone, Copy)]
pub struct SendTrouble {
    /// Datagrams given up.
    pub dropped: u64,
    /// ICMP errors met; the datagram that met one is sent again.
    pub unreachable: u64,
}

/// A batch of datagrams to be sent through one socket.
pub struct Outgoing {
    slots: Slots,
    count: usize,
}

impl Outgoing {
    /// An empty batch.
    pub fn new() -> Self {
        Outgoing { slots: Slots::new(REQUEST_MAX), count: 0 }
    }

    /// Room for the next datagram; the batch must not be full.
    pub fn room(&mut self) -> &mut [u8] {
        let start = self.count * self.slots.slot_bytes;
        &mut self.slots.buffer[start..start + self.slots.slot_bytes]
    }

    /// Takes the datagram that was written into `room`.
    pub fn push(&mut self, length: usize) {
        self.slots.set_length(self.count, length);
        self.count += 1;
    }

    /// Whether the batch has to be sent before another datagram.
    pub fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// Sends the batch; it is empty afterwards, whatever happened.
    pub fn flush(&mut self, port: &Port) -> SendTrouble {
        let mut trouble = SendTrouble::default();
        let (mut from, end) = (0, std::mem::take(&mut self.count));
        let mut waits = 0;
        while from < end {
            // SAFETY: the headers from..end describe initialised memory owned by `self` that
            // the kernel only reads, during the call.
            let sent = unsafe {
                libc::sendmmsg(
                    port.socket.as_raw_fd(),
                    self.slots.headers.as_mut_ptr().add(from),
                    (end - from) as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if sent > 0 {
                from += sent as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ECONNREFUSED) if trouble.unreachable < 2 * BATCH as u64 => {
                    trouble.unreachable += 1;
                }
                Some(libc::EAGAIN | libc::ENOBUFS) if waits < FULL_WAITS_MAX => {
                    waits += 1;
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                // Whatever stops this datagram need not stop the next.
                _ => {
                    trouble.dropped += 1;
                    from += 1;
                }
            }
        }
        trouble
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing::new()
    }
}

/// Waits on a set of sockets.
pub struct Waiter {
    polled: Vec<libc::pollfd>,
}

impl Waiter {
    /// Watches these sockets, in this order.
    pub fn new(ports: &[Port]) -> Self {
        let polled = ports
            .iter()
            .map(|port| libc::pollfd {
                fd: port.socket.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        Waiter { polled }
    }

    /// Waits until a socket has something or the time (nanoseconds) is over; then `is_ready`
    /// tells which.
    pub fn wait(&mut self, timeout: u64) {
        let timeout = libc::timespec {
            tv_sec: (timeout / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout % 1_000_000_000) as _,
        };
        // SAFETY: the array is owned by `self` and as long as said; the mask may be null.
        let ready = unsafe {
            libc::ppoll(
                self.polled.as_mut_ptr(),
                self.polled.len() as libc::nfds_t,
                &timeout,
                std::ptr::null(),
            )
        };
        if ready < 0 {
            self.polled.iter_mut().for_each(|one| one.revents = 0);
        }
    }

    /// Whether the last wait found something on this socket.
    pub fn is_ready(&self, index: usize) -> bool {
        self.polled[index].revents != 0
    }
}

/// Pins the calling thread to one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a zeroed cpu_set_t is the empty set, and `cpu` is within it; the call reads it.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets timed waits of the calling thread end when they should, not up to 50 us later.
pub fn wake_on_time() {
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory; failing does no harm.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// CPU time of the calling thread, nanoseconds.
pub fn thread_cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec that is ours.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    if done != 0 {
        return 0;
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// When the first signal came, monotonic milliseconds.
static INTERRUPTED_AT: AtomicU64 = AtomicU64::new(0);
/// A signal so soon after the first belongs to it: timeout(1) sends to the process and its group.
const SAME_SIGNAL_MS: u64 = 250;

extern "C" fn on_interrupt(signal: libc::c_int) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: async-signal-safe by POSIX, as are signal and raise; the kernel writes one
    // `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
    if !INTERRUPTED.swap(true, Ordering::Relaxed) {
        INTERRUPTED_AT.store(now, Ordering::Relaxed);
    } else if now.saturating_sub(INTERRUPTED_AT.load(Ordering::Relaxed)) > SAME_SIGNAL_MS {
        // SAFETY: as above; the default action ends the process once this handler returns.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

/// A flag that SIGINT and SIGTERM raise; a second one, a while later, ends the process as usual.
pub fn interrupt_flag() -> &'static AtomicBool {
    // SAFETY: the handler stores to an atomic and nothing else; the action is zeroed memory with
    // the fields set that sigaction reads.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_interrupt as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGINT, &action, std::ptr::null_mut());
        libc::sigaction(libc::SIGTERM, &action, std::ptr::null_mut());
    }
    &INTERRUPTED
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn batches_go_out_and_come_back_in_order() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = Port::open(server.local_addr().unwrap(), None).unwrap();
        let mut outgoing = Outgoing::new();
        for number in 0..BATCH as u8 {
            outgoing.room()[..2].copy_from_slice(&[number, 7]);
            outgoing.push(2);
        }
        assert!(outgoing.is_full());
        let trouble = outgoing.flush(&port);
        assert_eq!((trouble.dropped, trouble.unreachable), (0, 0));
        assert!(!outgoing.is_full());
        let mut buffer = [0u8; 16];
        for number in 0..BATCH as u8 {
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&[number, 7][..], port.local()));
            server.send_to(&buffer[..length], from).unwrap();
        }
        let mut waiter = Waiter::new(std::slice::from_ref(&port));
        waiter.wait(1_000_000_000);
        assert!(waiter.is_ready(0));
        let mut received = Received::new();
        assert_eq!(received.receive(&port).unwrap(), BATCH);
        for number in 0..BATCH {
            assert_eq!(received.datagram(number), [number as u8, 7]);
        }
        assert_eq!(received.receive(&port).unwrap(), 0);
    }

    #[test]
    fn an_unreachable_target_is_counted_and_the_datagram_sent_again() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = Port::open(gone, None).unwrap();
        let mut outgoing = Outgoing::new();
        let mut unreachable = 0;
        for _ in 0..4 {
            outgoing.room()[0] = 1;
            outgoing.push(1);
            let trouble = outgoing.flush(&port);
            assert_eq!(trouble.dropped, 0);
            unreachable += trouble.unreachable;
        }
        assert!(unreachable > 0);
    }

    #[test]
    fn both_address_families_open() {
        for target in ["127.0.0.1:9", "[::1]:9"] {
            let target: SocketAddr = target.parse().unwrap();
            match Port::open(target, None) {
                Ok(port) => assert_eq!(port.local().ip(), target.ip()),
                Err(error) => assert!(target.is_ipv6(), "{error}"),
            }
        }
    }
}
