//! The glommio executor of a reactor: where it is placed, and how the tasks beside the data plane
//! get their turn. No other file names glommio.

// One lock, taken when a reactor starts or ends, never while it serves.
#![allow(clippy::disallowed_types)]

use std::fs;
use std::future::Future;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::error::StartError;
use super::wake::Waker;

/// The data plane looks after the tasks by itself; this bounds how late their timers are.
const PREEMPT_TIMER: Duration = Duration::from_millis(10);
/// Memory registered for file I/O, which we have none of: the least there is, because the default
/// does not fit common memlock limits.
const IO_MEMORY_BYTES: usize = 64 * 1024;
/// Rings of one executor: main, latency, poll.
const RINGS: usize = 3;
const RING_LINK: &str = "anon_inode:[io_uring]";

/// Rings are told apart by which descriptors appear while an executor is made, so rings are made
/// and closed one thread at a time.
#[allow(clippy::disallowed_types, reason = "held while a reactor starts or ends, never between")]
pub(super) fn rings_lock() -> std::sync::MutexGuard<'static, ()> {
    use std::sync::{Mutex, PoisonError};
    static RINGS_LOCK: Mutex<()> = Mutex::new(());
    RINGS_LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The executor of the calling thread.
pub(super) struct Executor {
    executor: LocalExecutor,
    ring_fds: Vec<RawFd>,
}

impl Executor {
    /// Makes the executor of reactor `reactor` and pins the calling thread to `cpu`. Its rings are
    /// looked up only where there will be tasks that wait on them.
    pub(super) fn new(
        reactor: usize,
        cpu: Option<usize>,
        with_tasks: bool,
    ) -> Result<Executor, StartError> {
        let refused = |reason: String| StartError::Executor { reactor, reason };
        let _lock = rings_lock();
        let before = if with_tasks { open_rings()? } else { Vec::new() };
        let executor = LocalExecutorBuilder::new(cpu.map_or(Placement::Unbound, Placement::Fixed))
            .name("reactor")
            .io_memory(IO_MEMORY_BYTES)
            .preempt_timer(PREEMPT_TIMER)
            .make()
            .map_err(|error| refused(error.to_string()))?;
        let mut ring_fds = Vec::new();
        if with_tasks {
            ring_fds = open_rings()?;
            ring_fds.retain(|fd| !before.contains(fd));
            if ring_fds.len() != RINGS {
                let found = ring_fds.len();
                return Err(refused(format!("{found} rings were found in place of {RINGS}")));
            }
        }
        Ok(Executor { executor, ring_fds })
    }

    /// Descriptors that become readable when a task has something to do.
    pub(super) fn ring_fds(&self) -> &[RawFd] {
        &self.ring_fds
    }

    /// Runs `main` to its end, and tasks whenever it lets them ([`Turner::turn`]).
    pub(super) fn run<T>(&self, main: impl Future<Output = T>) -> T {
        self.executor.run(main)
    }
}

fn open_rings() -> Result<Vec<RawFd>, StartError> {
    let failed = |source| StartError::System { operation: "reading /proc/self/fd", source };
    let mut rings = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A descriptor another thread has closed meanwhile is no ring of ours.
        let Ok(link) = fs::read_link(entry.path()) else { continue };
        if link.as_os_str() == RING_LINK {
            rings.extend(entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
        }
    }
    Ok(rings)
}

/// The descriptors of a [`Turner`], opened while a refusal can still be told.
pub(super) struct TurnSignal {
    signal: Waker,
    copy: OwnedFd,
}

impl TurnSignal {
    pub(super) fn new() -> Result<TurnSignal, StartError> {
        let signal = Waker::new()?;
        let copy = signal
            .duplicate()
            .map_err(|source| StartError::System { operation: "dup of an eventfd", source })?;
        Ok(TurnSignal { signal, copy })
    }
}

/// Gives the tasks their turn. Yielding is not enough: only an executor that finds nothing
/// runnable submits what its tasks asked for and collects what is complete. Awaiting a read that
/// can complete at once brings it there and back.
pub(super) struct Turner {
    signal: Waker,
    file: BufferedFile,
}

impl Turner {
    /// Must be called inside [`Executor::run`].
    pub(super) fn new(TurnSignal { signal, copy }: TurnSignal) -> Turner {
        // SAFETY: the descriptor is given up by its owner, so the file alone owns and closes it.
        let file = unsafe { BufferedFile::from_raw_fd(copy.into_raw_fd()) };
        Turner { signal, file }
    }

    /// Lets every runnable task run, submits what they asked for, collects what is complete.
    pub(super) async fn turn(&self) {
        // Twice: what the first pass woke runs before the second, which submits what it asks for.
        for _ in 0..2 {
            self.signal.wake();
            // It cannot fail: eight bytes of an eventfd that was just written.
            let read = self.file.read_at(0, 8).await;
            debug_assert!(read.is_ok(), "reading an eventfd: {read:?}");
        }
    }

    /// Closes the descriptor in turn, as the executor wants it.
    pub(super) async fn close(self) {
        // Nothing is lost if it fails: the process holds one descriptor more.
        let _ = self.file.close().await;
    }
}
