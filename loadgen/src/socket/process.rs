//! What is the process's or the thread's own: pinning, timer slack, CPU time, the interrupt signal.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Pins the calling thread to one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a zeroed cpu_set_t is the empty set, and `cpu` is within it; the call reads it.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets timed waits of the calling thread end when they should, not up to 50 us later.
pub fn wake_on_time() {
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory; failing does no harm.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Lets the calling thread go before what else wants its CPU, where this process may ask for that;
/// it may as root. What the host does beside would be measured otherwise.
pub fn go_first() {
    const NICE: libc::c_int = -10;
    // SAFETY: takes three numbers and touches no memory; a refusal does no harm.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// CPU time of the calling thread, nanoseconds.
pub fn thread_cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec that is ours.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    if done != 0 {
        return 0;
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// When the first signal came, monotonic milliseconds.
static INTERRUPTED_AT: AtomicU64 = AtomicU64::new(0);
/// A signal so soon after the first belongs to it: timeout(1) sends to the process and its group.
const SAME_SIGNAL_MS: u64 = 250;

extern "C" fn on_interrupt(signal: libc::c_int) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: async-signal-safe by POSIX, as are signal and raise; the kernel writes one
    // `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
    if !INTERRUPTED.swap(true, Ordering::Relaxed) {
        INTERRUPTED_AT.store(now, Ordering::Relaxed);
    } else if now.saturating_sub(INTERRUPTED_AT.load(Ordering::Relaxed)) > SAME_SIGNAL_MS {
        // SAFETY: as above; the default action ends the process once this handler returns.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

/// A flag that SIGINT and SIGTERM raise; a second one, a while later, ends the process as usual.
pub fn interrupt_flag() -> &'static AtomicBool {
    // SAFETY: the handler stores to an atomic and nothing else; the action is zeroed memory with
    // the fields set that sigaction reads.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_interrupt as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGINT, &action, std::ptr::null_mut());
        libc::sigaction(libc::SIGTERM, &action, std::ptr::null_mut());
    }
    &INTERRUPTED
}
