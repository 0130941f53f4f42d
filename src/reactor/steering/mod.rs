//! Steering: the kernel is taught which reactor owns a phone's account, so that what the phone
//! sends next meets that reactor at once and need not be handed over.
//!
//! The owner of an account is a keyed hash of its name ([`crate::shard::owner`]), which the kernel
//! cannot know of a datagram; the address and port a phone sends from it can. So a reactor to which
//! a registration was handed over notes its sender in a table of the kernel ([`notes`]), and a
//! small program in front of each listener's sockets looks there ([`program`]). Without an entry,
//! and where the socket it names is gone, the kernel's own hash chooses, as without steering: a
//! wrong entry costs a handoff and nothing else. A classic program of the packet filter has no
//! table it could look into, so it could do no better than that hash.

mod bpf;
mod notes;
mod program;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use self::bpf::{Map, MapType, Put, Refused, load};
pub(super) use self::notes::Notes;
use self::program::{Family, KEY_BYTES, Tables, VALUE_BYTES, program};
use super::error::StartError;
use super::socket::{Bound, Listener};
use crate::config;

/// What is known of senders, in the kernel; for all listeners.
#[derive(Debug)]
pub(super) struct Senders(Map<KEY_BYTES, VALUE_BYTES>);

/// What became of steering at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steering {
    /// It was not asked for, or there is nothing to steer: one reactor, or no datagrams.
    Off,
    /// The kernel is taught.
    On,
    /// The kernel did not take what it needs: its own hash chooses. One line with its reason and
    /// what would help.
    Refused(String),
}

/// Whether the kernel would take what steering needs.
///
/// # Errors
/// One line: what it refuses, and what would help.
pub fn steering_allowed() -> Result<(), String> {
    let try_out = || {
        let senders = Senders(Map::new(MapType::LruHash, 1)?);
        let sockets = Map::<4, 8>::new(MapType::ReuseportSockets, 1)?;
        let tables = Tables { senders: senders.0.fd(), sockets: sockets.fd() };
        load(&program(Family::V4, tables)).and_then(|_| load(&program(Family::V6, tables)))
    };
    try_out().map(drop).map_err(|refused| explained(&refused))
}

/// Puts the program in front of each group of sockets, `sockets[reactor][listener]`, as far as the
/// settings ask for it.
///
/// # Errors
/// [`StartError::Steering`] where it must be and cannot.
pub(super) fn attach(
    asked: config::Steering,
    sources_max: u32,
    sockets: &[Vec<Listener>],
    bound: &[Bound],
) -> Result<(Steering, Option<Arc<Senders>>), StartError> {
    let has_datagrams = sockets.first().is_some_and(|listeners| !listeners.is_empty());
    if asked == config::Steering::Off || sockets.len() < 2 || !has_datagrams {
        return Ok((Steering::Off, None));
    }
    let groups: Vec<Group> = (0..sockets[0].len())
        .map(|nth| Group {
            address: bound[nth].address,
            sockets: sockets.iter().map(|listeners| listeners[nth].fd()).collect(),
        })
        .collect();
    match (steer(&groups, sources_max), asked) {
        (Ok(senders), _) => Ok((Steering::On, Some(Arc::new(senders)))),
        (Err(refused), config::Steering::On) => Err(StartError::Steering(explained(&refused))),
        (Err(refused), _) => Ok((Steering::Refused(explained(&refused)), None)),
    }
}

/// The sockets of one listening address, in the order of the reactors.
struct Group {
    address: SocketAddr,
    sockets: Vec<RawFd>,
}

/// Steers all groups by one table of senders, or none.
fn steer(groups: &[Group], sources_max: u32) -> Result<Senders, Refused> {
    let senders = Senders(Map::new(MapType::LruHash, sources_max)?);
    for (nth, group) in groups.iter().enumerate() {
        if let Err(refused) = steer_group(group, &senders) {
            groups[..nth].iter().for_each(detach);
            return Err(refused);
        }
    }
    Ok(senders)
}

/// The kernel keeps the program, and the program its maps, as long as a socket of the group is
/// open. A socket that is closed leaves the table of sockets by itself.
fn steer_group(group: &Group, senders: &Senders) -> Result<(), Refused> {
    let sockets = Map::<4, 8>::new(MapType::ReuseportSockets, group.sockets.len() as u32)?;
    for (number, &socket) in (0u32..).zip(&group.sockets) {
        let put = sockets.put(&number.to_ne_bytes(), &(socket as u64).to_ne_bytes(), Put::Any);
        put.map_err(|source| Refused {
            operation: "bpf(BPF_MAP_UPDATE_ELEM)",
            source,
            verifier: None,
        })?;
    }
    let family = if group.address.is_ipv4() { Family::V4 } else { Family::V6 };
    let tables = Tables { senders: senders.0.fd(), sockets: sockets.fd() };
    let program: OwnedFd = load(&program(family, tables))?;
    set(group.sockets[0], libc::SO_ATTACH_REUSEPORT_EBPF, program.as_raw_fd())
        .map_err(|source| Refused { operation: "SO_ATTACH_REUSEPORT_EBPF", source, verifier: None })
}

fn detach(group: &Group) {
    // Without entries it chooses as the hash does: if it stays, it only takes its time.
    let _ = set(group.sockets[0], libc::SO_DETACH_REUSEPORT_BPF, 0);
}

fn set(socket: RawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one `c_int` from `value`, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One line: what was refused, and what helps.
fn explained(refused: &Refused) -> String {
    let remedy = match refused.source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "it needs CAP_BPF (`setcap cap_bpf=+ep`, or AmbientCapabilities=CAP_BPF and a \
             SystemCallFilter= with bpf); before Linux 5.11, a larger memlock limit too"
        }
        Some(libc::ENOMEM | libc::E2BIG) => "fewer serve.steered_sources need less memory",
        _ => "it needs Linux 4.19 with CONFIG_BPF_SYSCALL",
    };
    format!("{refused}: {remedy}")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
