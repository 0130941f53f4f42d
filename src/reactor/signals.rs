//! Signals as values: blocked in every thread, awaited in one. No handler runs anywhere.

use std::io;
use std::mem;
use std::ptr;
use std::time::Duration;

use super::error::StartError;

/// What an operator or a supervisor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: drain and end.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
}

impl Signal {
    const ALL: [(libc::c_int, Signal); 3] = [
        (libc::SIGTERM, Signal::Terminate),
        (libc::SIGINT, Signal::Interrupt),
        (libc::SIGHUP, Signal::Reload),
    ];

    fn from_number(number: libc::c_int) -> Option<Signal> {
        Signal::ALL.into_iter().find(|&(n, _)| n == number).map(|(_, signal)| signal)
    }
}

/// The right to await signals: proof that they are blocked.
#[derive(Debug)]
pub struct Signals {
    set: libc::sigset_t,
}

impl Signals {
    /// Blocks the signals in this thread and those it starts from now on, and ignores SIGPIPE. To
    /// be called before any thread is started: a thread without the block would take them.
    ///
    /// # Errors
    /// [`StartError::System`] if the kernel refuses, which it has no reason to.
    pub fn block() -> Result<Signals, StartError> {
        // SAFETY: all-zero is a valid `sigset_t`, and is made empty properly next.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: `set` is ours; the numbers are valid signals; the old mask is not asked for.
        // SIG_IGN is not a handler, so there is nothing it may not do.
        let outcome = unsafe {
            libc::sigemptyset(&raw mut set);
            for (number, _) in Signal::ALL {
                libc::sigaddset(&raw mut set, number);
            }
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut())
        };
        if outcome != 0 {
            let source = io::Error::from_raw_os_error(outcome);
            return Err(StartError::System { operation: "pthread_sigmask", source });
        }
        Ok(Signals { set })
    }

    /// Waits for the next signal.
    #[must_use]
    pub fn wait_for_signal(&self) -> Signal {
        loop {
            if let Some(signal) = self.wait_at_most(Duration::from_secs(3600)) {
                return signal;
            }
        }
    }

    /// Waits for the next signal, but no longer than `wait`.
    #[must_use]
    pub fn wait_at_most(&self, wait: Duration) -> Option<Signal> {
        let wait = libc::timespec {
            tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos() as _,
        };
        // SAFETY: the set and the timeout outlive the call; no information is asked for.
        let number =
            unsafe { libc::sigtimedwait(&raw const self.set, ptr::null_mut(), &raw const wait) };
        Signal::from_number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_awaited_not_handled() {
        // On a thread of its own, which alone has the signals blocked and is sent them.
        let waiter = std::thread::spawn(|| {
            let signals = Signals::block().unwrap();
            assert_eq!(signals.wait_at_most(Duration::ZERO), None);
            let mut seen = Vec::new();
            for (number, _) in Signal::ALL {
                // SAFETY: the thread is the calling one, and the signal is blocked in it.
                let outcome = unsafe { libc::pthread_kill(libc::pthread_self(), number) };
                assert_eq!(outcome, 0);
                seen.push(signals.wait_for_signal());
            }
            seen
        });
        let seen = waiter.join().unwrap();
        assert_eq!(seen, [Signal::Terminate, Signal::Interrupt, Signal::Reload]);
    }
}
