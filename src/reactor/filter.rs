//! Socket filters: a program of the kernel's packet filter in front of each UDP socket, which drops
//! datagrams before they are queued. What a program says is [`crate::guard::filter`]'s.
//!
//! The kernel counts what a filter drops with what a full buffer drops, by socket; how many
//! datagrams buffers and checksums have cost it counts by network namespace. The difference is as
//! near as it tells what filters have dropped.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::socket::drops_of;
use crate::guard::filter::{self, INSTRUCTIONS_MAX, Instruction};

/// The sockets of all reactors of a process, so that their filters can be changed from any thread.
/// They stay open as long as this does.
#[derive(Clone, Debug)]
pub struct FilteredSockets(Arc<[Arc<Socket>]>);

impl FilteredSockets {
    pub(super) fn new(sockets: impl IntoIterator<Item = Arc<Socket>>) -> FilteredSockets {
        FilteredSockets(sockets.into_iter().collect())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no datagrams are received at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a program in front of every socket, in place of the one before: no datagram passes
    /// between the two. An empty one takes the filter away.
    ///
    /// # Errors
    /// What the kernel said at the first socket that refuses: ENOMEM where the program is longer
    /// than net.core.optmem_max allows beside the one before. That socket and those behind it keep
    /// what they had.
    pub fn replace(&self, program: &[Instruction]) -> io::Result<()> {
        self.0.iter().try_for_each(|socket| match program.is_empty() {
            true => detach(socket),
            false => attach(socket, program),
        })
    }

    /// Datagrams dropped at these sockets so far, by filters and for want of room.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.0.iter().map(|socket| drops_of(socket.as_raw_fd())).sum()
    }
}

fn attach(socket: &Socket, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program
        .iter()
        .map(|&Instruction { code, jt, jf, k }| libc::sock_filter { code, jt, jf, k })
        .collect();
    let len = u16::try_from(filter.len()).ok().filter(|&len| usize::from(len) <= INSTRUCTIONS_MAX);
    let Some(len) = len else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies `len` instructions, which are what `filter` has, and checks them.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn detach(socket: &Socket) -> io::Result<()> {
    let none: libc::c_int = 0;
    // SAFETY: the kernel reads one `c_int`, whatever it is.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const none).cast(),
            size_of_val(&none) as libc::socklen_t,
        )
    };
    let error = io::Error::last_os_error();
    // There was none.
    if outcome == 0 || error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) }
}

/// The longest program, in instructions, that this host takes at a socket beside another as long;
/// found by trying.
///
/// # Errors
/// What the kernel said to the shortest.
pub fn filter_instructions_allowed() -> io::Result<usize> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    let sample = |len: usize| {
        let hosts: Vec<_> = (0..len as u32 / 2)
            .map(|host| ipnet::IpNet::from(std::net::IpAddr::from((host * 3).to_be_bytes())))
            .collect();
        filter::program_of_most(&hosts, len).0
    };
    attach(&socket, &sample(INSTRUCTIONS_MIN))?;
    let mut len = INSTRUCTIONS_MAX;
    while len > INSTRUCTIONS_MIN {
        detach(&socket)?;
        // Twice: one is replaced by the other.
        if attach(&socket, &sample(len)).and_then(|()| attach(&socket, &sample(len))).is_ok() {
            return Ok(len);
        }
        len /= 2;
    }
    Ok(INSTRUCTIONS_MIN)
}

/// Any kernel takes as many.
const INSTRUCTIONS_MIN: usize = 64;

/// Datagrams that sockets of this network namespace have refused since it is there, but for those
/// refused for want of room or for their checksum; `None` where the kernel does not say.
#[must_use]
pub fn datagrams_filtered() -> Option<u64> {
    let v4 = fs::read_to_string("/proc/net/snmp").ok()?;
    let v6 = fs::read_to_string("/proc/net/snmp6").unwrap_or_default();
    Some(filtered_v4(&v4)? + filtered_v6(&v6))
}

/// Two lines of names and numbers, both beginning with the protocol.
fn filtered_v4(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Udp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let values = numbers.split(' ').skip(1).map(|number| number.parse().unwrap_or(0));
    Some(filtered(&names.split(' ').skip(1).zip(values).collect()))
}

/// A name and a number a line.
fn filtered_v6(text: &str) -> u64 {
    let pairs = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.strip_prefix("Udp6")?, words.next()?.parse().ok()?))
    });
    filtered(&pairs.collect())
}

fn filtered(counts: &HashMap<&str, u64>) -> u64 {
    let of = |name| counts.get(name).copied().unwrap_or(0);
    let explained = of("RcvbufErrors") + of("MemErrors") + of("InCsumErrors");
    of("InErrors").saturating_sub(explained)
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
