//! ICMP errors of datagrams that were sent, as the kernel queues them at each socket
//! (IP_RECVERR): which destination was out of reach. A queue is looked at only where a send, a
//! receive or the poll says that there is something: while errors wait there, the poll never rests.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr;

use super::address::{NAME_BYTES, Name, read_name, read_unreachable};
use super::counters::Counters;

/// Errors taken by one system call.
const BATCH: usize = 32;
/// Errors taken from one socket in one turn.
const ERRORS_PER_TURN_MAX: usize = 128;
/// Room for the extended error with the offender's address, and packet information beside it.
const CONTROL_BYTES: usize = 192;

/// Takes errors from the queues of a set of sockets.
pub(super) struct IcmpErrors {
    sockets: Vec<RawFd>,
    headers: Vec<libc::mmsghdr>,
    names: Vec<Name>,
    controls: Vec<ErrorControl>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct ErrorControl([u8; CONTROL_BYTES]);

impl IcmpErrors {
    /// Of these sockets, numbered as the listeners are. They must outlive it.
    pub(super) fn new(sockets: Vec<RawFd>) -> IcmpErrors {
        // SAFETY: all-zero is a valid `mmsghdr` (null pointers, zero lengths).
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        IcmpErrors {
            sockets,
            headers: vec![header; BATCH],
            names: vec![Name::EMPTY; BATCH],
            controls: vec![ErrorControl([0; CONTROL_BYTES]); BATCH],
        }
    }

    /// Takes what waits at the sockets of `pending`, a bit each, and shows the destinations that
    /// were out of reach. Returns those sockets at which more may wait.
    pub(super) fn take(
        &mut self,
        mut pending: u32,
        counters: &mut Counters,
        mut show: impl FnMut(SocketAddr, &mut Counters),
    ) -> u32 {
        let mut more = 0;
        while pending != 0 {
            let socket = pending.trailing_zeros();
            pending &= pending - 1;
            let Some(&fd) = self.sockets.get(socket as usize) else { continue };
            let mut left = ERRORS_PER_TURN_MAX;
            loop {
                let taken = self.take_batch(fd);
                for nth in 0..taken {
                    counters.icmp_errors += 1;
                    if let Some(to) = self.unreachable(nth) {
                        show(to, counters);
                    }
                }
                left = left.saturating_sub(taken);
                if taken < BATCH {
                    break;
                }
                if left == 0 {
                    more |= 1 << socket;
                    break;
                }
            }
        }
        more
    }

    /// Takes a batch from one queue. Returns how many there were.
    fn take_batch(&mut self, fd: RawFd) -> usize {
        let IcmpErrors { headers, names, controls, .. } = self;
        for ((header, name), control) in headers.iter_mut().zip(names).zip(controls) {
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
        // SAFETY: each header points at its own name and control messages, with their lengths, and
        // at no payload; they live in vectors that do not move while the call lasts.
        let taken = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        match usize::try_from(taken) {
            Ok(taken) => taken,
            Err(_) => {
                let error = io::Error::last_os_error();
                debug_assert!(
                    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
                    "taking an error from a socket: {error}"
                );
                0
            }
        }
    }

    /// The destination that the error taken as the `nth` of a batch says was out of reach.
    fn unreachable(&self, nth: usize) -> Option<SocketAddr> {
        let header = &self.headers[nth].msg_hdr;
        let control_len = CONTROL_BYTES.min(header.msg_controllen as _);
        if !read_unreachable(&self.controls[nth].0[..control_len]) {
            return None;
        }
        let name_len = NAME_BYTES.min(header.msg_namelen as usize);
        read_name(&self.names[nth].0[..name_len])
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::reactor::socket::bind_group;
    use crate::reactor::tests::deaf;

    #[test]
    fn an_error_names_the_destination_it_is_about_and_is_gone_then() {
        for (local, ip) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            if UdpSocket::bind(local).is_err() {
                eprintln!("SKIPPED: {local} cannot be bound here");
                continue;
            }
            let (listeners, bound) = bind_group(local.parse().unwrap(), 1, 1 << 20).unwrap();
            let fd = listeners[0].fd();
            let mut errors = IcmpErrors::new(vec![fd]);
            let mut counters = Counters::default();
            let deaf = [deaf(ip), deaf(ip)];
            let gone = deaf.each_ref().map(|socket| socket.local_addr().unwrap());
            for to in gone {
                // Each send may meet the error of the one before: then it is tried again.
                while send_to(fd, to).is_err() {}
            }
            let mut seen = Vec::new();
            // Loopback answers at once, but not always before the send returns.
            while seen.len() < 2 {
                let more = errors.take(0b1, &mut counters, |to, _| seen.push(to));
                assert_eq!(more, 0);
            }
            assert_eq!((seen, counters.icmp_errors), (gone.to_vec(), 2));
            assert_eq!(errors.take(0b11, &mut counters, |_, _| panic!("no more")), 0);
            // The socket is well again.
            let peer = UdpSocket::bind(local).unwrap();
            send_to(fd, peer.local_addr().unwrap()).unwrap();
            assert_eq!(peer.recv_from(&mut [0; 8]).unwrap().1, bound.address);
        }
    }

    #[test]
    fn a_storm_of_errors_is_taken_piece_by_piece() {
        let (listeners, _) = bind_group("127.0.0.1:0".parse().unwrap(), 1, 1 << 20).unwrap();
        let fd = listeners[0].fd();
        let mut errors = IcmpErrors::new(vec![fd]);
        let mut counters = Counters::default();
        let deaf = deaf("127.0.0.1");
        let to = deaf.local_addr().unwrap();
        let mut sent = 0;
        while sent < 3 * ERRORS_PER_TURN_MAX {
            sent += usize::from(send_to(fd, to).is_ok());
        }
        let mut turns = 1;
        while errors.take(0b1, &mut counters, |_, _| ()) != 0 {
            turns += 1;
        }
        // The kernel limits the ICMP errors it sends, but not to so few on loopback.
        assert!(counters.icmp_errors as usize <= turns * ERRORS_PER_TURN_MAX, "{counters:?}");
        assert!(counters.icmp_errors > 0);
    }

    fn send_to(fd: RawFd, to: SocketAddr) -> io::Result<()> {
        let mut name = Name::EMPTY;
        let len = name.write(to) as libc::socklen_t;
        // SAFETY: one byte and a name of `len` bytes are read, both of which outlive the call.
        let sent =
            unsafe { libc::sendto(fd, b"x".as_ptr().cast(), 1, 0, (&raw const name).cast(), len) };
        if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[test]
    fn sockets_that_are_not_there_are_passed_over() {
        let quiet = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut errors = IcmpErrors::new(vec![quiet.as_raw_fd()]);
        assert_eq!(errors.take(u32::MAX, &mut Counters::default(), |_, _| ()), 0);
    }
}
