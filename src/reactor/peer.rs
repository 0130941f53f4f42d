//! Sockets of this host: who is at the other end, by the kernel's word, and who can reach one.

#![allow(clippy::disallowed_types, reason = "held while a socket is bound, once a process")]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The user who has connected (SO_PEERCRED), by number.
///
/// # Errors
/// What the kernel said.
pub fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `peer`, which are what it has.
    let outcome = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut len,
        )
    };
    if outcome == 0 { Ok(peer.uid) } else { Err(io::Error::last_os_error()) }
}

/// The user this process acts as, by number.
#[must_use]
pub fn own_user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Listens at a path that its owner and its group can reach and nobody else, from its first moment
/// on. What other threads create meanwhile is no wider either.
///
/// # Errors
/// What the kernel said.
pub fn bind_for_group(path: &Path) -> io::Result<UnixListener> {
    const MASK: libc::mode_t = 0o117;
    // Two at once would put back each other's.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: it takes a number and cannot fail.
    let before = unsafe { libc::umask(MASK) };
    let bound = UnixListener::bind(path);
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_pair_are_this_user() {
        let (one, other) = UnixStream::pair().unwrap();
        let user = own_user();
        assert_eq!((peer_user(&one).unwrap(), peer_user(&other).unwrap()), (user, user));
    }
}
