//! The UDP sockets: one group per listening address, one socket of it per reactor, all bound to
//! the same port with SO_REUSEPORT. What travels through them is [`super::datagram`]'s.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::error::StartError;
use crate::flow::Transport;

/// Ports tried where any will do.
const ANY_PORT_TRIES_MAX: u32 = 8;

/// A bound, non-blocking UDP socket of one reactor.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Arc<Socket>,
    /// Whether datagrams carry the local address they were sent to, because the socket is bound to
    /// a wildcard.
    pub(super) wildcard: bool,
}

impl Listener {
    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Asks the kernel to hand over datagrams of one peer and one length joined, where they reach
    /// it so or its card or driver joins them. A kernel that cannot goes on as before.
    pub(super) fn join_datagrams(&self) -> bool {
        set_flag(&self.socket, libc::SOL_UDP, libc::UDP_GRO).is_ok()
    }

    /// Datagrams the kernel dropped at this socket, most often for want of buffer space.
    pub(super) fn kernel_drops(&self) -> u64 {
        drops_of(self.fd())
    }

    /// What the kernel says of the receive buffer. One system call, some 0.3 us.
    pub(super) fn memory(&self) -> Option<Memory> {
        memory_of(self.fd())
    }

    /// When the datagram arrived that was taken last, by the wall clock, since 1970. The first call
    /// has the kernel note arrivals from then on, some 30 ns each; of those before it says that
    /// they have just come. `None` where it cannot tell. One system call, some 0.3 us.
    pub(super) fn last_arrival(&self) -> Option<Duration> {
        // SAFETY: all-zero is a valid `timespec`.
        let mut at: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one `timespec` to `at`, which outlives the call.
        let outcome = unsafe { libc::ioctl(self.fd(), SIOCGSTAMPNS, &raw mut at) };
        let seconds = u64::try_from(at.tv_sec).ok()?;
        let nanos = u32::try_from(at.tv_nsec).ok()?;
        (outcome == 0).then(|| Duration::new(seconds, nanos))
    }

    /// The socket, for whoever changes its filter.
    pub(super) fn shared(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }
}

/// The last arrival with nanoseconds (linux/sockios.h; of the width of `timespec` on every 64-bit
/// platform).
const SIOCGSTAMPNS: libc::Ioctl = 0x8907;

const _: () = assert!(size_of::<libc::timespec>() == 16);

/// A receive buffer as the kernel accounts for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// What lies in it; what was taken is taken off a quarter of the room at a time.
    pub(super) queued_bytes: u32,
    /// How much may.
    pub(super) room_bytes: u32,
    /// Datagrams for which there was no room, or that a filter dropped; it wraps.
    pub(super) drops: u32,
}

/// Datagrams the kernel dropped at a socket: its buffer was full, or its filter said so.
pub(super) fn drops_of(socket: RawFd) -> u64 {
    memory_of(socket).map_or(0, |memory| memory.drops.into())
}

fn memory_of(socket: RawFd) -> Option<Memory> {
    let mut info = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which are what it has.
    let outcome = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    };
    let field = |name: libc::c_int| info[name as usize];
    (outcome == 0).then(|| Memory {
        queued_bytes: field(libc::SK_MEMINFO_RMEM_ALLOC),
        room_bytes: field(libc::SK_MEMINFO_RCVBUF),
        drops: field(libc::SK_MEMINFO_DROPS),
    })
}

/// The number of an interface by its name.
#[must_use]
pub fn interface_number(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` ends with a NUL and outlives the call.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (number > 0).then_some(number)
}

/// What a listening address became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What is carried there.
    pub transport: Transport,
    /// The address with the port that was really taken (port 0 asks for any).
    pub address: SocketAddr,
    /// Receive buffer of each socket as the kernel accounts for it, bytes; 0 for connections,
    /// whose buffers the kernel sizes by itself.
    pub receive_buffer_bytes: usize,
    /// Send buffer of each socket as the kernel accounts for it, bytes; 0 for connections.
    pub send_buffer_bytes: usize,
}

/// Binds `count` sockets to `address`, one per reactor.
///
/// # Errors
/// [`StartError::PortTaken`] if any other socket has the port, even one that shares it.
pub(super) fn bind_group(
    address: SocketAddr,
    count: usize,
    buffer_bytes: usize,
) -> Result<(Vec<Listener>, Bound), StartError> {
    let (address, listeners) = with_any_port(address, || {
        let address = refuse_stranger(address)?;
        let listeners = (0..count).map(|_| bind_one(address, buffer_bytes));
        Ok((address, listeners.collect::<Result<Vec<_>, _>>()?))
    })?;
    let failed =
        |operation| move |e| StartError::from_socket(operation, Transport::Udp, address, e);
    let first = &listeners[0].socket;
    let bound = Bound {
        transport: Transport::Udp,
        address,
        receive_buffer_bytes: first.recv_buffer_size().map_err(failed("SO_RCVBUF"))?,
        send_buffer_bytes: first.send_buffer_size().map_err(failed("SO_SNDBUF"))?,
    };
    Ok((listeners, bound))
}

/// Binds a group where `address` asks for any port: between finding a free one and binding the
/// group to it somebody else may take it, and then another is tried.
pub(super) fn with_any_port<T>(
    address: SocketAddr,
    mut bind: impl FnMut() -> Result<T, StartError>,
) -> Result<T, StartError> {
    for _ in 1..ANY_PORT_TRIES_MAX {
        match bind() {
            Err(StartError::PortTaken { .. }) if address.port() == 0 => {}
            outcome => return outcome,
        }
    }
    bind()
}

/// Two servers of one user can share a SO_REUSEPORT port without a word, and each would get half
/// of the phones. A socket that does not share finds out. Port 0 is resolved here.
fn refuse_stranger(address: SocketAddr) -> Result<SocketAddr, StartError> {
    let failed =
        |operation| move |e| StartError::from_socket(operation, Transport::Udp, address, e);
    let probe = open(address)?;
    probe.bind(&address.into()).map_err(failed("bind"))?;
    UdpSocket::from(probe).local_addr().map_err(failed("getsockname"))
}

fn open(address: SocketAddr) -> Result<Socket, StartError> {
    let failed =
        |operation| move |e| StartError::from_socket(operation, Transport::Udp, address, e);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed("socket"))?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own; without this, sources would come as mapped addresses.
        socket.set_only_v6(true).map_err(failed("IPV6_V6ONLY"))?;
    }
    Ok(socket)
}

fn bind_one(address: SocketAddr, buffer_bytes: usize) -> Result<Listener, StartError> {
    let failed =
        |operation| move |e| StartError::from_socket(operation, Transport::Udp, address, e);
    let socket = open(address)?;
    socket.set_reuse_port(true).map_err(failed("SO_REUSEPORT"))?;
    socket.set_nonblocking(true).map_err(failed("O_NONBLOCK"))?;
    enlarge_buffers(&socket, buffer_bytes).map_err(failed("SO_RCVBUF"))?;
    // A message longer than the path takes goes in fragments, whatever an ICMP error, which anybody
    // can forge, has said about the path: without this, requests and answers of more than some 1400
    // bytes would be refused here (RFC 3261 18.1.1 leaves them to UDP where nothing else leads).
    let (level, option, fragment) = match address.ip() {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT),
    };
    set_option(&socket, level, option, fragment).map_err(failed("IP_MTU_DISCOVER"))?;
    // ICMP errors of what was sent are queued, to be read with the destination they are about.
    let (level, option) = match address.ip() {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    set_flag(&socket, level, option).map_err(failed("IP_RECVERR"))?;
    let wildcard = address.ip().is_unspecified();
    if wildcard {
        match address.ip() {
            IpAddr::V4(_) => set_flag(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO)
                .map_err(failed("IP_PKTINFO"))?,
            IpAddr::V6(_) => set_flag(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
                .map_err(failed("IPV6_RECVPKTINFO"))?,
        }
    }
    socket.bind(&address.into()).map_err(failed("bind"))?;
    Ok(Listener { socket: Arc::new(socket), wildcard })
}

/// As large as asked where privileged, else as large as net.core.rmem_max and wmem_max allow: the
/// plain options are cut by the kernel, never refused.
fn enlarge_buffers(socket: &Socket, bytes: usize) -> io::Result<()> {
    let forced = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, forced).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    if set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, forced).is_err() {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

fn set_flag(socket: &Socket, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    set_option(socket, level, name, 1)
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one `c_int` from `value`, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER_BYTES: usize = 1 << 20;

    #[test]
    fn a_group_shares_one_port() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            if UdpSocket::bind(address).is_err() {
                eprintln!("SKIPPED: {address} cannot be bound here");
                continue;
            }
            let (listeners, bound) = bind_group(address.parse().unwrap(), 3, BUFFER_BYTES).unwrap();
            assert_eq!(listeners.len(), 3);
            assert_ne!(bound.address.port(), 0);
            assert!(bound.receive_buffer_bytes > 0 && bound.send_buffer_bytes > 0);
            for listener in &listeners {
                let local = listener.socket.local_addr().unwrap().as_socket().unwrap();
                assert_eq!(local, bound.address);
                assert!(!listener.wildcard);
            }
        }
    }

    #[test]
    fn a_stranger_that_shares_the_port_is_refused() {
        let (_stranger, bound) =
            bind_group("127.0.0.1:0".parse().unwrap(), 1, BUFFER_BYTES).unwrap();
        let error = bind_group(bound.address, 1, BUFFER_BYTES).unwrap_err();
        assert!(matches!(error, StartError::PortTaken { address, .. } if address == bound.address));
        assert!(error.to_string().contains("taken by another socket"));
    }

    #[test]
    fn a_wildcard_is_refused_while_one_address_has_the_port() {
        let (_stranger, bound) =
            bind_group("127.0.0.1:0".parse().unwrap(), 1, BUFFER_BYTES).unwrap();
        let wildcard = SocketAddr::new("0.0.0.0".parse().unwrap(), bound.address.port());
        let error = bind_group(wildcard, 1, BUFFER_BYTES).unwrap_err();
        assert!(matches!(error, StartError::PortTaken { .. }), "{error}");
    }

    #[test]
    fn a_port_that_somebody_took_meanwhile_is_replaced_only_where_any_will_do() {
        let taken = |address| {
            let mut tries = 0;
            let outcome = with_any_port(address, || -> Result<(), StartError> {
                tries += 1;
                let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
                Err(StartError::from_socket("bind", Transport::Udp, address, in_use))
            });
            assert!(matches!(outcome, Err(StartError::PortTaken { .. })));
            tries
        };
        assert_eq!(taken("127.0.0.1:0".parse().unwrap()), ANY_PORT_TRIES_MAX);
        assert_eq!(taken("127.0.0.1:5060".parse().unwrap()), 1);
    }

    #[test]
    fn an_address_of_no_interface_is_refused() {
        let error = bind_group("192.0.2.77:0".parse().unwrap(), 1, BUFFER_BYTES).unwrap_err();
        assert!(matches!(error, StartError::AddressNotAvailable { .. }), "{error}");
    }

    #[test]
    fn both_families_take_one_port_at_a_wildcard() {
        if UdpSocket::bind("[::]:0").is_err() {
            eprintln!("SKIPPED: no IPv6 here");
            return;
        }
        // Another process may have the IPv6 port by chance, but not time and again.
        let v6 = (0..8).find_map(|_| {
            let (_v4, bound) = bind_group("0.0.0.0:0".parse().unwrap(), 1, BUFFER_BYTES).unwrap();
            let v6 = SocketAddr::new("::".parse().unwrap(), bound.address.port());
            bind_group(v6, 1, BUFFER_BYTES).ok()
        });
        let (v6, _) = v6.expect("an IPv6 socket beside an IPv4 socket of the same port");
        assert!(v6[0].wildcard);
    }
}
