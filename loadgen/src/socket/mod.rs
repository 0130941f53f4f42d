//! The system calls: sockets connected to the target and the wait for them; beside them `batch`
//! (datagrams received and sent many at a time), `outside` (sockets that stand for the outside
//! addresses of a NAT) and `process` (pinning, CPU time, the interrupt signal). Only here is
//! `unsafe`; nothing here knows SIP.

mod batch;
pub mod outside;
mod process;

pub use batch::{BATCH, Outgoing, REQUEST_MAX, Received, SendTrouble};
pub use process::{go_first, interrupt_flag, pin, thread_cpu, wake_on_time};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

/// What is asked of the kernel for each socket's queue; it may grant less.
const BUFFER_BYTES: usize = 4 << 20;
/// How often a full send queue is waited for, a millisecond each, before datagrams are dropped.
const FULL_WAITS_MAX: u32 = 50;

/// A socket connected to the target.
#[derive(Debug)]
pub struct Port {
    socket: Socket,
    local: SocketAddr,
    /// Whether requests may leave in runs.
    segments: bool,
}

impl Port {
    /// Opens a socket on any port of `source` (or of the address the route gives). With `offload`
    /// datagrams of one length are sent and received as one message where the kernel can.
    pub fn open(target: SocketAddr, source: Option<IpAddr>, offload: bool) -> io::Result<Self> {
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
        // An old kernel knows neither; without them it is the same datagrams, dearer.
        let segments = offload && knows_segments(&socket);
        if offload {
            let _ = set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        }
        Ok(Port { socket, local, segments })
    }

    /// Opens a socket on this very address and port, which hears `from` alone.
    pub fn open_at(local: SocketAddr, from: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        // Refused or not, as above.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        socket.bind(&SockAddr::from(local))?;
        socket.connect(&SockAddr::from(from))?;
        socket.set_nonblocking(true)?;
        Ok(Port { socket, local, segments: false })
    }

    /// The local address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Whether the kernel knows UDP_SEGMENT; one that does not would send a run as one datagram.
fn knows_segments(socket: &Socket) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which are what it has.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    done == 0
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one c_int that outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits on a set of sockets.
pub struct Waiter {
    polled: Vec<libc::pollfd>,
}

impl Waiter {
    /// Watches these sockets, in this order.
    pub fn new(ports: &[impl AsRawFd]) -> Self {
        let polled = ports
            .iter()
            .map(|port| libc::pollfd { fd: port.as_raw_fd(), events: libc::POLLIN, revents: 0 })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_address_families_open() {
        for target in ["127.0.0.1:9", "[::1]:9"] {
            let target: SocketAddr = target.parse().unwrap();
            match Port::open(target, None, true) {
                Ok(port) => assert_eq!(port.local().ip(), target.ip()),
                Err(error) => assert!(target.is_ipv6(), "{error}"),
            }
        }
    }
}
