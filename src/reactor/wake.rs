//! Wakes a sleeping reactor from another thread: an eventfd, one write a wake.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::error::StartError;

/// Wakes one reactor. Clones wake the same one; a wake while it is awake costs it one short turn.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(super) fn new() -> Result<Waker, StartError> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            let source = io::Error::last_os_error();
            return Err(StartError::System { operation: "eventfd", source });
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        Ok(Waker(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Wakes the reactor, now or at its next attempt to sleep. Never waits.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes are read from `one`. The only failure is a counter that is full,
        // which is as good as a wake.
        unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the wakes that were written. Returns whether there were any.
    pub(super) fn clear(&self) -> bool {
        let mut count = [0u8; 8];
        // SAFETY: eight bytes are written to `count`.
        let read = unsafe { libc::read(self.fd(), count.as_mut_ptr().cast(), count.len()) };
        read == 8
    }

    /// A descriptor of its own for the same signal.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_before_the_sleep_are_kept_and_taken_together() {
        let waker = Waker::new().unwrap();
        assert!(!waker.clear());
        waker.wake();
        waker.clone().wake();
        assert!(waker.clear());
        assert!(!waker.clear());
    }
}
