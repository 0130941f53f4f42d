//! The door of `aorta-nft`: its socket, made where nobody else could put something in its place,
//! and who is let in. Strangers are closed at once, so that they keep nobody waiting. Of those it
//! serves, one is served at a time and the newest waits; what is said inside is
//! [`daemon`](super::daemon)'s.

#![allow(clippy::disallowed_methods, reason = "how often strangers are told of is real time")]
#![allow(clippy::disallowed_types, reason = "two threads of a program that is no reactor")]

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::reactor::{bind_for_group, own_user, peer_user};

/// One line tells of the strangers of so long.
const STRANGERS_TOLD_EVERY: Duration = Duration::from_secs(10);
/// After a connection that could not be taken up: descriptors may be short.
const REST: Duration = Duration::from_millis(100);
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Where lines for the log go, from both threads.
pub(super) type Told<'a> = &'a (dyn Fn(&dyn fmt::Display) + Sync);

/// Listens at a path, for one user. A socket nobody listens on any more is replaced.
///
/// # Errors
/// The directory is not safe to make a socket in, something else is there, or what the kernel said.
pub(super) fn listen(path: &Path, user: u32) -> io::Result<UnixListener> {
    let path = &safe(path)?;
    let listener = match bind_for_group(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
            if !is_socket || UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            fs::remove_file(path)?;
            bind_for_group(path)?
        }
        other => other?,
    };
    // The user's where this may give it to him, else reachable through the group both share; who
    // may speak is asked of the kernel at each connection. A link is not followed.
    let _ = lchown(path, Some(user), None);
    Ok(listener)
}

/// The path by its real directory, in which nobody but root and this user can put another file in
/// the place of the socket.
fn safe(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|parent| parent.as_os_str() != OsStr::new(""));
    let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")))?;
    let directory = fs::symlink_metadata(&parent)?;
    let refused = |why: String| {
        let text = format!("{} {why}; a socket there could be swapped", parent.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    };
    if ![0, own_user()].contains(&directory.uid()) {
        return refused(format!("belongs to user {}", directory.uid()));
    }
    let mode = directory.mode();
    if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        return refused(format!("can be written by others (mode {:o})", mode & 0o7777));
    }
    Ok(parent.join(name))
}

/// Where whoever is served next waits. There is one place: a newer one takes it, and the older
/// one's connection is closed.
#[derive(Default)]
pub(super) struct Bench {
    waiting: Mutex<Option<UnixStream>>,
    came: Condvar,
}

impl Bench {
    fn seat(&self, stream: UnixStream) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        self.came.notify_one();
    }

    /// Waits for the next one.
    pub(super) fn next(&self) -> UnixStream {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(stream) = waiting.take() {
                return stream;
            }
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Lets `user` in and nobody else, for good.
pub(super) fn keep(
    listener: &UnixListener,
    user: u32,
    bench: &Bench,
    told: Told<'_>,
) -> Infallible {
    let mut strangers = Strangers::default();
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                told(&format_args!("aorta-nft: a connection could not be taken up: {error}"));
                thread::sleep(REST);
                continue;
            }
        };
        let peer = peer_user(&stream);
        if peer.as_ref().is_ok_and(|&peer| peer == user) {
            bench.seat(stream);
            continue;
        }
        drop(stream);
        let Some(closed) = strangers.note(Instant::now()) else { continue };
        match peer {
            Ok(peer) => told(&format_args!(
                "aorta-nft: user {peer} is not served ({closed} connections of strangers closed)"
            )),
            Err(error) => told(&format_args!("aorta-nft: nobody knows who connects: {error}")),
        }
    }
}

/// Connections that were closed, and when that was last told.
#[derive(Default)]
struct Strangers {
    told: Option<Instant>,
    untold: u64,
}

impl Strangers {
    /// One more. How many there were since the last line, where another one is due.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < STRANGERS_TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
