//! The system calls of streams: listening sockets, accepted ones, and the set that says which are
//! ready. Nothing here waits.

use std::fs::File;
use std::io;
use std::mem::{self, size_of};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::flow::Transport;
use crate::reactor::address::{NAME_BYTES, Name, read_name};
use crate::reactor::error::StartError;
use crate::reactor::socket::with_any_port;

/// Connections that wait to be accepted, as far as net.core.somaxconn allows.
const BACKLOG: i32 = 4096;
/// A peer that has vanished is found out by the kernel: probes after this silence, so often, and
/// so far apart. Far below any registration, far above what they cost.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 4;
/// How long sent bytes may stay unacknowledged before the kernel gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// A listening socket of one reactor.
#[derive(Debug)]
pub(in super::super) struct StreamListener {
    socket: Socket,
    pub(super) transport: Transport,
}

impl StreamListener {
    /// Binds `count` sockets to `address`, one per reactor, and says which address it became.
    ///
    /// # Errors
    /// [`StartError::PortTaken`] if any other socket listens on the port, even one that shares it.
    pub(in super::super) fn bind_group(
        transport: Transport,
        address: SocketAddr,
        count: usize,
    ) -> Result<(Vec<StreamListener>, SocketAddr), StartError> {
        with_any_port(address, || StreamListener::bind_all(transport, address, count))
    }

    fn bind_all(
        transport: Transport,
        address: SocketAddr,
        count: usize,
    ) -> Result<(Vec<StreamListener>, SocketAddr), StartError> {
        let failed =
            |operation| move |error| StartError::from_socket(operation, transport, address, error);
        // Two servers of one user can share a SO_REUSEPORT port without a word: a socket that does
        // not share finds out. It also takes a port where any will do.
        let probe = open(transport, address)?;
        probe.bind(&address.into()).map_err(failed("bind"))?;
        probe.listen(1).map_err(failed("listen"))?;
        let address = TcpListener::from(probe).local_addr().map_err(failed("getsockname"))?;
        let listeners = (0..count)
            .map(|_| {
                let socket = open(transport, address)?;
                socket.set_reuse_port(true).map_err(failed("SO_REUSEPORT"))?;
                socket.set_nonblocking(true).map_err(failed("O_NONBLOCK"))?;
                // Accepted sockets inherit all of these, so accepting costs one system call.
                socket.set_tcp_nodelay(true).map_err(failed("TCP_NODELAY"))?;
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_AFTER)
                    .with_interval(KEEPALIVE_EVERY)
                    .with_retries(KEEPALIVE_PROBES);
                socket.set_tcp_keepalive(&keepalive).map_err(failed("SO_KEEPALIVE"))?;
                socket
                    .set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
                    .map_err(failed("TCP_USER_TIMEOUT"))?;
                socket.bind(&address.into()).map_err(failed("bind"))?;
                socket.listen(BACKLOG).map_err(failed("listen"))?;
                Ok(StreamListener { socket, transport })
            })
            .collect::<Result<_, StartError>>()?;
        Ok((listeners, address))
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Takes a connection that waits.
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let mut name = Name::EMPTY;
        let mut length = NAME_BYTES as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `name`, which are what it has.
        let fd = unsafe {
            libc::accept4(
                self.fd(),
                (&raw mut name.0).cast(),
                &raw mut length,
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let length = (length as usize).min(NAME_BYTES);
        let source = read_name(&name.0[..length])
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        Ok((fd, source))
    }
}

fn open(transport: Transport, address: SocketAddr) -> Result<Socket, StartError> {
    let failed =
        |operation| move |error| StartError::from_socket(operation, transport, address, error);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(failed("socket"))?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own; without this, sources would come as mapped addresses.
        socket.set_only_v6(true).map_err(failed("IPV6_V6ONLY"))?;
    }
    // Connections of an earlier process that linger must not keep this one from starting.
    socket.set_reuse_address(true).map_err(failed("SO_REUSEADDR"))?;
    Ok(socket)
}

/// What is waited for.
pub(super) mod interest {
    /// Bytes to read, or the end.
    pub(in super::super) const READ: u32 = libc::EPOLLIN as u32;
    /// Room to write.
    pub(in super::super) const WRITE: u32 = libc::EPOLLOUT as u32;
}

/// A set of descriptors, each with a number of the caller's, and those that were found ready. A
/// descriptor leaves it by being closed.
pub(super) struct Epoll {
    fd: OwnedFd,
    ready: Vec<libc::epoll_event>,
}

impl Epoll {
    /// A set that tells of up to `most` at a time.
    pub(super) fn new(most: usize) -> Result<Epoll, StartError> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            let source = io::Error::last_os_error();
            return Err(StartError::System { operation: "epoll_create1", source });
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, ready: Vec::with_capacity(most) })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn add(&self, fd: RawFd, number: u64, interest: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, number, interest)
    }

    pub(super) fn change(&self, fd: RawFd, number: u64, interest: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, number, interest)
    }

    fn control(&self, operation: i32, fd: RawFd, number: u64, interest: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest, u64: number };
        // SAFETY: the kernel reads one event.
        match unsafe { libc::epoll_ctl(self.fd(), operation, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Looks which are ready; [`Epoll::ready`] has their numbers. Says how many there are.
    pub(super) fn look(&mut self) -> usize {
        self.ready.clear();
        let most = self.ready.capacity() as libc::c_int;
        // SAFETY: the kernel writes at most `most` events, which is the capacity of the vector.
        let count =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.ready.as_mut_ptr(), most, 0) };
        // Nothing, or a signal: the loop comes back.
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the kernel has written so many events.
        unsafe { self.ready.set_len(count) };
        count
    }

    /// The number of one that was found ready.
    pub(super) fn ready(&self, nth: usize) -> u64 {
        self.ready[nth].u64
    }
}

/// Appends at most `most` bytes from `fd`. Returns how many; 0 is the end of the stream.
pub(super) fn read(fd: RawFd, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    into.reserve(most.min(into.capacity().saturating_sub(into.len()).max(4096)));
    let room = into.spare_capacity_mut();
    let most = most.min(room.len());
    // SAFETY: the kernel writes at most `most` bytes to memory of which there are as many.
    let got = unsafe { libc::read(fd, room.as_mut_ptr().cast(), most) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written so many bytes behind the old end.
    unsafe { into.set_len(into.len() + got) };
    Ok(got)
}

/// Writes what `fd` takes of `bytes`. Returns how many.
pub(super) fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the kernel reads `bytes`.
    let put = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(put).map_err(|_| io::Error::last_os_error())
}

/// Whether a connection whose other side has ended is gone altogether: reset, or timed out.
pub(super) fn is_broken(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one `pollfd` that outlives the call, which does not wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Nothing more will be written to `fd`; what was is still delivered.
pub(super) fn shut_down_writing(fd: RawFd) {
    // SAFETY: no memory is passed. Where the connection is gone already, so be it.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// A descriptor held back for the moment when there are no others: with it a connection can still
/// be taken and turned away, where else the listener would stay ready for ever.
pub(super) struct SpareFile(Option<File>);

impl SpareFile {
    pub(super) fn new() -> Result<SpareFile, StartError> {
        let file = File::open("/dev/null")
            .map_err(|source| StartError::System { operation: "opening /dev/null", source })?;
        Ok(SpareFile(Some(file)))
    }

    /// Turns one waiting connection away. False if not even that can be done.
    pub(super) fn turn_away(&mut self, listener: &StreamListener) -> bool {
        self.0 = None;
        let turned_away = listener.accept().is_ok();
        self.0 = File::open("/dev/null").ok();
        turned_away
    }
}

const _: () = assert!(size_of::<libc::epoll_event>() >= mem::size_of::<u64>());

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn listener() -> (StreamListener, SocketAddr) {
        let (mut group, address) =
            StreamListener::bind_group(Transport::Tcp, "127.0.0.1:0".parse().unwrap(), 1).unwrap();
        (group.pop().unwrap(), address)
    }

    #[test]
    fn a_group_shares_one_port_and_a_stranger_is_refused() {
        let local = "127.0.0.1:0".parse().unwrap();
        let (group, address) = StreamListener::bind_group(Transport::Tls, local, 3).unwrap();
        assert_eq!(group.len(), 3);
        let error = StreamListener::bind_group(Transport::Tls, address, 1).unwrap_err();
        assert!(matches!(error, StartError::PortTaken { .. }), "{error}");
        assert!(error.to_string().starts_with("tls 127.0.0.1:"), "{error}");
    }

    #[test]
    fn bytes_go_both_ways_and_readiness_is_told() {
        let (listener, address) = listener();
        let mut epoll = Epoll::new(4).unwrap();
        epoll.add(listener.fd(), 7, interest::READ).unwrap();
        assert_eq!(epoll.look(), 0);
        let mut client = TcpStream::connect(address).unwrap();
        while epoll.look() == 0 {}
        assert_eq!(epoll.ready(0), 7);
        let (accepted, source) = listener.accept().unwrap();
        assert_eq!(source, client.local_addr().unwrap());
        let fd = accepted.as_raw_fd();
        let mut bytes = Vec::new();
        let empty = read(fd, &mut bytes, 100).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"hello").unwrap();
        epoll.add(fd, 8, interest::READ).unwrap();
        while epoll.look() == 0 {}
        assert_eq!(read(fd, &mut bytes, 3).unwrap(), 3);
        assert_eq!(read(fd, &mut bytes, 100).unwrap(), 2);
        assert_eq!(bytes, b"hello");
        assert_eq!(write(fd, b"bye").unwrap(), 3);
        shut_down_writing(fd);
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "bye");
    }

    #[test]
    fn a_spare_file_turns_a_connection_away() {
        let (listener, address) = listener();
        let mut client = TcpStream::connect(address).unwrap();
        let mut spare = SpareFile::new().unwrap();
        while !spare.turn_away(&listener) {}
        assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
    }
}
