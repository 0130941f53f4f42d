//! What the host must allow before a reactor can run: io_uring, memory that may be locked, open
//! files, threads, the CPUs to pin to. Each refusal is told apart, because each has its own remedy.

use std::fs;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use socket2::{Domain, Socket, Type};
use std::os::fd::AsRawFd;

use super::error::StartError;

/// What an executor insists on, bytes.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Descriptors of a reactor beside its sockets: the runtime's rings and timers, the wakers, the
/// epoll set, the ring of the uring backend, and what tasks need.
const FILES_PER_REACTOR: u64 = 10;
/// Descriptors open for a moment during the start, such as files of /sys read to place a thread.
const FILES_SPARE: u64 = 8;
/// A reactor's own, and the one its executor keeps for blocking calls.
const THREADS_PER_REACTOR: usize = 2;

const IO_URING_SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
/// IORING_RECVSEND_POLL_FIRST: wait for readiness before looking for a buffer.
const POLL_FIRST: u16 = 1;

/// The CPUs this process may run on, ascending.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all-zero is a valid, empty `cpu_set_t`.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most `size_of(set)` bytes to `set`.
    let outcome = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if outcome != 0 {
        // More than 1024 CPUs: the mask does not fit. Count them instead.
        let count = thread::available_parallelism().map_or(1, usize::from);
        return (0..count).collect();
    }
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: `cpu` is below the size of the set.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// Refuses CPUs that this process may not use.
///
/// # Errors
/// [`StartError::CpuNotAllowed`] for the first of them.
pub fn cpus_allowed(cpus: &[usize]) -> Result<(), StartError> {
    let allowed = allowed_cpus();
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        None => Ok(()),
        Some(&cpu) => Err(StartError::CpuNotAllowed { cpu, allowed }),
    }
}

/// Refuses a memlock limit below [`MEMLOCK_BYTES_MIN`].
///
/// # Errors
/// [`StartError::Memlock`], with the limit.
pub fn memlock_allowed() -> Result<(), StartError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        let source = io::Error::last_os_error();
        return Err(StartError::System { operation: "getrlimit(RLIMIT_MEMLOCK)", source });
    }
    memlock_enough(limit.rlim_cur)
}

fn memlock_enough(limit_bytes: u64) -> Result<(), StartError> {
    if limit_bytes < MEMLOCK_BYTES_MIN {
        return Err(StartError::Memlock { limit_bytes, needed_bytes: MEMLOCK_BYTES_MIN });
    }
    Ok(())
}

/// Raises the limit of open files where `reactors` with `listeners` sockets each, and `connections`
/// among them, need more: the runtime panics where it is refused a descriptor.
///
/// # Errors
/// [`StartError::OpenFiles`] where the hard limit is too low.
pub fn files_allowed(
    reactors: usize,
    listeners: usize,
    connections: usize,
) -> Result<(), StartError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        let source = io::Error::last_os_error();
        return Err(StartError::System { operation: "getrlimit(RLIMIT_NOFILE)", source });
    }
    let open = match fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.count() as u64,
        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => limit.rlim_cur,
        Err(_) => FILES_SPARE,
    };
    let needed = files_needed(open, reactors, listeners) + connections as u64;
    if needed <= limit.rlim_cur {
        return Ok(());
    }
    if needed <= limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one `rlimit`.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
            return Ok(());
        }
    }
    Err(StartError::OpenFiles { limit: limit.rlim_max, needed })
}

/// Connections for which the hard limit of open files has room beside what `reactors` with
/// `listeners` sockets each need.
#[must_use]
pub fn connections_allowed(reactors: usize, listeners: usize) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`; without an answer there is room for none.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let open = fs::read_dir("/proc/self/fd").map_or(FILES_SPARE, |entries| entries.count() as u64);
    limit.rlim_max.saturating_sub(files_needed(open, reactors, listeners))
}

fn files_needed(open: u64, reactors: usize, listeners: usize) -> u64 {
    open + reactors as u64 * (FILES_PER_REACTOR + listeners as u64) + FILES_SPARE
}

/// Tries whether this process may start the threads of `reactors`: the runtime panics where it is
/// refused one.
///
/// # Errors
/// [`StartError::Threads`], with what the kernel said.
pub fn threads_allowed(reactors: usize) -> Result<(), StartError> {
    let needed = reactors * THREADS_PER_REACTOR;
    let done = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::with_capacity(needed);
    let mut refusal = None;
    while threads.len() < needed && refusal.is_none() {
        let done = Arc::clone(&done);
        let wait = move || {
            while !done.load(Ordering::Acquire) {
                thread::park();
            }
        };
        match thread::Builder::new().stack_size(64 * 1024).spawn(wait) {
            Ok(thread) => threads.push(thread),
            Err(source) => refusal = Some(StartError::Threads { needed, source }),
        }
    }
    done.store(true, Ordering::Release);
    for thread in threads {
        thread.thread().unpark();
        thread.join().expect("it does nothing that could panic");
    }
    refusal.map_or(Ok(()), Err)
}

/// Tries whether this process may make a ring at all.
///
/// # Errors
/// The cause as far as the kernel tells it: the sysctl, a filter, an old kernel, the limits.
pub fn io_uring_allowed() -> Result<(), StartError> {
    IoUring::new(2).map(drop).map_err(|source| ring_refusal("io_uring_setup", source))
}

/// Tries whether the kernel has multishot receive, which the uring backend needs (Linux 6.0).
///
/// # Errors
/// As [`io_uring_allowed`], or [`StartError::IoUringMissing`] on an older kernel.
pub fn multishot_receive_allowed() -> Result<(), StartError> {
    let refused = |source| ring_refusal("multishot receive", source);
    let system = |operation| move |source| StartError::System { operation, source };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).map_err(system("socket"))?;
    // SAFETY: all-zero is a valid `msghdr` (null pointers, zero lengths).
    let message: libc::msghdr = unsafe { mem::zeroed() };
    let mut ring = IoUring::new(2).map_err(|source| ring_refusal("io_uring_setup", source))?;
    let entry = opcode::RecvMsgMulti::new(Fd(socket.as_raw_fd()), &raw const message, 0)
        .ioprio(POLL_FIRST)
        .build();
    // SAFETY: the message header outlives the ring, which is dropped first; no buffer is touched,
    // because nothing can arrive at a socket that is bound to no port.
    unsafe { ring.submission().push(&entry) }
        .map_err(|_| refused(io::Error::from_raw_os_error(libc::EBUSY)))?;
    ring.submit().map_err(refused)?;
    // A kernel that knows the operation is waiting now; one that does not has answered.
    match ring.completion().next() {
        Some(refusal) if refusal.result() < 0 => {
            Err(refused(io::Error::from_raw_os_error(-refusal.result())))
        }
        _ => Ok(()),
    }
}

/// Finds the cause of a refusal by the error and the sysctl.
pub(super) fn ring_refusal(operation: &'static str, source: io::Error) -> StartError {
    let level = fs::read_to_string(IO_URING_SYSCTL).ok().and_then(|text| text.trim().parse().ok());
    classify(operation, source, level)
}

fn classify(operation: &'static str, source: io::Error, sysctl: Option<u32>) -> StartError {
    match (source.raw_os_error(), sysctl) {
        (Some(libc::EPERM), Some(level @ (1 | 2))) => StartError::IoUringDisabled { level },
        (Some(libc::EPERM | libc::EACCES), _) => StartError::IoUringForbidden,
        // The sysctl exists, so the kernel has io_uring: somebody hides it.
        (Some(libc::ENOSYS), Some(_)) => StartError::IoUringForbidden,
        (Some(libc::ENOMEM), _) => {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the kernel writes one `rlimit`; without an answer the limit reads as 0.
            unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
            StartError::Memlock {
                limit_bytes: limit.rlim_cur,
                needed_bytes: limit.rlim_cur.saturating_add(MEMLOCK_BYTES_MIN),
            }
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => StartError::System { operation, source },
        _ => StartError::IoUringMissing { operation, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(errno: i32, sysctl: Option<u32>) -> StartError {
        classify("io_uring_setup", io::Error::from_raw_os_error(errno), sysctl)
    }

    #[test]
    fn a_refusal_by_the_sysctl_names_the_sysctl() {
        let error = refusal(libc::EPERM, Some(2));
        assert!(error.to_string().contains("sysctl -w kernel.io_uring_disabled=0"), "{error}");
        assert!(refusal(libc::EPERM, Some(1)).to_string().contains("io_uring_group"));
    }

    #[test]
    fn files_that_ran_out_are_no_old_kernel() {
        let line = refusal(libc::EMFILE, Some(0)).to_string();
        assert!(line.contains("open files") && !line.contains("Linux 5.8"), "{line}");
    }

    #[test]
    fn a_refusal_by_a_container_names_seccomp() {
        for (errno, sysctl) in
            [(libc::EPERM, Some(0)), (libc::EPERM, None), (libc::ENOSYS, Some(0))]
        {
            let error = refusal(errno, sysctl);
            assert!(error.to_string().contains("seccomp"), "{error}");
        }
    }

    #[test]
    fn an_old_kernel_is_told_apart() {
        let error = refusal(libc::ENOSYS, None);
        assert!(matches!(error, StartError::IoUringMissing { .. }), "{error}");
        assert!(matches!(refusal(libc::ENOMEM, Some(0)), StartError::Memlock { .. }));
    }

    #[test]
    fn a_memlock_limit_too_small_is_told_with_both_figures() {
        let error = memlock_enough(64 * 1024).unwrap_err().to_string();
        assert!(error.contains("64 KiB") && error.contains("512 KiB"), "{error}");
        assert!(memlock_enough(MEMLOCK_BYTES_MIN).is_ok());
        assert!(memlock_enough(libc::RLIM_INFINITY).is_ok());
    }

    #[test]
    fn open_files_are_counted_before_they_are_opened() {
        assert!(files_allowed(1, 1, 100).is_ok());
        let refusal = files_allowed(usize::MAX >> 8, 16, 0).unwrap_err();
        assert!(matches!(refusal, StartError::OpenFiles { .. }), "{refusal}");
        assert!(refusal.to_string().contains("LimitNOFILE="), "{refusal}");
    }

    #[test]
    fn connections_are_files_too() {
        let room = connections_allowed(2, 2);
        assert!(room > 0);
        // Whoever else opens files in this process meanwhile takes from both.
        let Ok(room) = usize::try_from(room) else { return };
        let refusal = files_allowed(2, 2, room + 10_000).unwrap_err();
        assert!(matches!(refusal, StartError::OpenFiles { .. }), "{refusal}");
    }

    #[test]
    fn threads_are_tried_and_gone_again() {
        assert!(threads_allowed(4).is_ok());
    }

    #[test]
    fn cpus_that_are_not_ours_are_refused() {
        let allowed = allowed_cpus();
        assert!(!allowed.is_empty());
        assert!(cpus_allowed(&allowed).is_ok());
        let error = cpus_allowed(&[allowed[0], 100_000]).unwrap_err();
        assert!(matches!(error, StartError::CpuNotAllowed { cpu: 100_000, .. }), "{error}");
    }
}
