//! How a reactor waits when it is dry: one ppoll over its sockets, its waker, a timer that is
//! armed only when a deadline needs it, and what the tasks beside the data plane wait for. The
//! sockets are in no persistent epoll set: that would cost every datagram a wake-up of the set. The
//! timer is a timerfd, which has no slack: ppoll's own timeout, and that of epoll_pwait2, come some
//! 50 us later for the same cost.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::error::StartError;
use super::wake::Waker;
use crate::time::Instant;

/// Deadlines are met this late at most, as far as it is up to us, so that neighbouring ones share a
/// wake-up. What is paced by the millisecond keeps its pace.
const TIMER_GRAIN: Duration = Duration::from_micros(200);

/// What a look at the descriptors found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    /// Bit `n`: source `n` of the datagram path has something to take.
    pub(super) sources: u32,
    /// Bit `n`: an error waits at the `n`th descriptor of the datagram path.
    pub(super) errors: u32,
    /// Another thread wrote a wake.
    pub(super) woken: bool,
    /// A connection or a stream listener has something.
    pub(super) streams: bool,
    /// The tasks beside the data plane have something to do.
    pub(super) tasks: bool,
}

/// The descriptors of one reactor.
pub(super) struct Idle {
    polls: Vec<libc::pollfd>,
    /// The source each descriptor of the datagram path stands for.
    sources: Vec<usize>,
    timer: OwnedFd,
    /// How many descriptors of streams follow those.
    streams: usize,
    /// When the timer will fire; `None` if it is not armed.
    armed: Option<Instant>,
    /// It has fired and stays readable until it is armed again or read.
    fired: bool,
}

const TIMER: usize = 0;
const WAKER: usize = 1;
const SOURCES: usize = 2;

impl Idle {
    /// Waits for the descriptors of the datagram path, each with the number of its source (below
    /// 32), for `waker`, for the set of the streams if there is one, and for the descriptors of the
    /// tasks.
    pub(super) fn new(
        polled: &[(RawFd, usize)],
        waker: &Waker,
        streams: Option<RawFd>,
        tasks: &[RawFd],
    ) -> Result<Idle, StartError> {
        let fit = polled.len() <= 32 && polled.iter().all(|&(_, source)| source < 32);
        assert!(fit, "sources fit a mask");
        // SAFETY: no memory is passed.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
        };
        if fd < 0 {
            let source = io::Error::last_os_error();
            return Err(StartError::System { operation: "timerfd_create", source });
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let timer = unsafe { OwnedFd::from_raw_fd(fd) };
        let polls = [timer.as_raw_fd(), waker.fd()]
            .into_iter()
            .chain(polled.iter().map(|&(fd, _)| fd))
            .chain(streams)
            .chain(tasks.iter().copied())
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
            .collect();
        let sources = polled.iter().map(|&(_, source)| source).collect();
        Ok(Idle { polls, sources, streams: streams.iter().len(), timer, armed: None, fired: false })
    }

    /// Looks without waiting.
    pub(super) fn look(&mut self) -> Readiness {
        self.poll(Some(Duration::ZERO))
    }

    /// Sleeps until something is ready or `deadline` has come.
    pub(super) fn sleep(&mut self, now: Instant, deadline: Option<Instant>) -> Readiness {
        if let Some(deadline) = deadline {
            // A timer that fires too early costs one short turn, re-arming costs a system call:
            // so one that is armed for no later than the deadline stays.
            if self.armed.is_none_or(|armed| armed > deadline + TIMER_GRAIN) {
                self.arm(now, deadline + TIMER_GRAIN);
            }
        }
        if self.fired {
            self.read_timer();
        }
        self.poll(None)
    }

    fn arm(&mut self, now: Instant, at: Instant) {
        let wait = at.saturating_since(now).max(Duration::from_nanos(1));
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos() as _,
        };
        // SAFETY: all-zero is a valid `timespec`.
        let once = libc::itimerspec { it_interval: unsafe { mem::zeroed() }, it_value: value };
        // SAFETY: the kernel reads one `itimerspec`; the old value is not asked for.
        let outcome = unsafe {
            libc::timerfd_settime(self.timer.as_raw_fd(), 0, &raw const once, ptr::null_mut())
        };
        assert!(outcome == 0, "a timerfd refused a valid time: {}", io::Error::last_os_error());
        self.armed = Some(at);
        self.fired = false;
    }

    fn read_timer(&mut self) {
        let mut count = [0u8; 8];
        // SAFETY: eight bytes are written to `count`; whether they are does not matter.
        unsafe { libc::read(self.timer.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        self.fired = false;
    }

    fn poll(&mut self, timeout: Option<Duration>) -> Readiness {
        let timeout = timeout.map(|wait| libc::timespec {
            tv_sec: wait.as_secs() as libc::time_t,
            tv_nsec: wait.subsec_nanos() as _,
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the vector holds as many `pollfd` as are announced; the timeout is null or
        // points to a `timespec` that outlives the call; no signal mask is passed.
        let ready = unsafe {
            libc::ppoll(
                self.polls.as_mut_ptr(),
                self.polls.len() as libc::nfds_t,
                timeout,
                ptr::null(),
            )
        };
        let mut readiness = Readiness::default();
        if ready <= 0 {
            // Nothing, or a signal: either way the loop looks round and comes back.
            return readiness;
        }
        if self.polls[TIMER].revents != 0 {
            // Arming it anew, which is what mostly follows, spares reading it.
            self.fired = true;
            self.armed = None;
        }
        readiness.woken = self.polls[WAKER].revents != 0;
        let (polled, others) = self.polls[SOURCES..].split_at(self.sources.len());
        let (streams, tasks) = others.split_at(self.streams);
        for (nth, (&source, poll)) in self.sources.iter().zip(polled).enumerate() {
            // Errors count as ready: receiving may meet them.
            readiness.sources |= u32::from(poll.revents != 0) << source;
            readiness.errors |= u32::from(poll.revents & libc::POLLERR != 0) << nth;
        }
        readiness.streams = streams.iter().any(|poll| poll.revents != 0);
        readiness.tasks = tasks.iter().any(|poll| poll.revents != 0);
        readiness
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_look_finds_the_source_that_has_something() {
        let quiet = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ready = UdpSocket::bind("127.0.0.1:0").unwrap();
        let waker = Waker::new().unwrap();
        let mut idle =
            Idle::new(&[(quiet.as_raw_fd(), 0), (ready.as_raw_fd(), 1)], &waker, None, &[])
                .unwrap();
        assert_eq!(idle.look(), Readiness::default());
        quiet.send_to(b"x", ready.local_addr().unwrap()).unwrap();
        assert_eq!(idle.sleep(Instant::ZERO, None).sources, 0b10);
    }

    #[test]
    fn a_wake_ends_the_sleep_until_it_is_taken() {
        let waker = Waker::new().unwrap();
        let mut idle = Idle::new(&[], &waker, None, &[]).unwrap();
        waker.wake();
        assert!(idle.sleep(Instant::ZERO, None).woken);
        assert!(waker.clear());
        assert!(!idle.look().woken);
    }

    #[test]
    fn a_deadline_ends_the_sleep_and_an_earlier_timer_is_kept() {
        let waker = Waker::new().unwrap();
        let mut idle = Idle::new(&[], &waker, None, &[]).unwrap();
        let soon = Instant::ZERO + Duration::from_millis(2);
        assert_eq!(idle.sleep(Instant::ZERO, Some(soon)), Readiness::default());
        assert_eq!(idle.armed, None);
        // Armed far away, then asked for sooner: the sooner one holds.
        idle.arm(Instant::ZERO, Instant::from_secs(3600));
        assert_eq!(idle.sleep(Instant::ZERO, Some(soon)), Readiness::default());
        assert_eq!(idle.armed, None);
        // Armed soon, then asked for later: it fires early rather than being set anew.
        idle.arm(Instant::ZERO, soon);
        assert_eq!(idle.sleep(Instant::ZERO, Some(Instant::from_secs(3600))), Readiness::default());
        assert_eq!(idle.armed, None);
    }

    #[test]
    fn a_timer_that_has_fired_does_not_end_the_next_sleep() {
        let waker = Waker::new().unwrap();
        let mut idle = Idle::new(&[], &waker, None, &[]).unwrap();
        let soon = Instant::ZERO + Duration::from_micros(10);
        idle.sleep(Instant::ZERO, Some(soon));
        assert!(idle.fired);
        // Without a deadline only the waker may end it.
        let signal = waker.clone();
        let slept = std::thread::scope(|scope| {
            scope.spawn(move || signal.wake());
            idle.sleep(Instant::ZERO, None)
        });
        assert!(slept.woken && !idle.fired);
        // With a later one, it is armed anew.
        idle.sleep(Instant::ZERO, Some(soon));
        idle.arm(Instant::ZERO, Instant::from_secs(3600));
        assert!(!idle.fired);
        assert_eq!(idle.look(), Readiness { woken: true, ..Readiness::default() });
    }

    #[test]
    fn an_error_that_waits_at_a_socket_is_told_with_its_number() {
        let quiet = UdpSocket::bind("127.0.0.1:0").unwrap();
        let meeting = UdpSocket::bind("127.0.0.1:0").unwrap();
        let deaf = crate::reactor::tests::deaf("127.0.0.1");
        // A connected socket has errors even if it does not ask for them.
        meeting.connect(deaf.local_addr().unwrap()).unwrap();
        let waker = Waker::new().unwrap();
        let polled = [(quiet.as_raw_fd(), 0), (meeting.as_raw_fd(), 0)];
        let mut idle = Idle::new(&polled, &waker, None, &[]).unwrap();
        meeting.send(b"x").unwrap();
        let slept = idle.sleep(Instant::ZERO, None);
        assert_eq!((slept.errors, slept.sources), (0b10, 0b1));
    }

    #[test]
    fn readiness_of_tasks_and_of_streams_is_told_apart() {
        let waker = Waker::new().unwrap();
        let task = Waker::new().unwrap();
        let stream = Waker::new().unwrap();
        let mut idle = Idle::new(&[], &waker, Some(stream.fd()), &[]).unwrap();
        stream.wake();
        assert_eq!(idle.look(), Readiness { streams: true, ..Readiness::default() });
        let mut idle = Idle::new(&[], &waker, None, &[task.fd()]).unwrap();
        task.wake();
        assert_eq!(idle.look(), Readiness { tasks: true, ..Readiness::default() });
    }
}
