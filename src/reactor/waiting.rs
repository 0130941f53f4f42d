//! How long datagrams wait in the kernel before they are received. Asked only of a socket that has
//! had more than a batch for some milliseconds on end, and then once a millisecond: while a server
//! keeps up, nothing is measured and nothing noted.
//!
//! What is asked is when the datagram taken last arrived: exact, whatever the sizes and the pace. A
//! control message with each datagram (SO_TIMESTAMPNS) would say the same of all of them, at a cost
//! for all of them. What lies in the buffer, over the pace at which it is taken, would need no
//! clock, but UDP gives back the room of what was taken a quarter of the buffer at a time, which is
//! as much as is to be measured.
//!
//! A wait ends where the buffer does: what comes then is lost and sent again after T1 (RFC 3261
//! 17.1.2.2). So a buffer that fills up counts as much as a long wait, and what is lost counts as
//! having waited for T1.

use std::time::Duration;

use super::socket::{Listener, Memory};
use crate::time::{Instant, Now};

/// A socket that was dry so recently has nothing that has waited for longer.
const FULL_FOR: Duration = Duration::from_millis(4);
/// How often it is measured.
const MEASURED_EVERY: Duration = Duration::from_millis(1);
/// What a full buffer counts as.
const FULL_BUFFER: Duration = Duration::from_millis(50);
/// What a lost datagram counts as: T1 of RFC 3261.
const LOST: Duration = Duration::from_millis(500);

/// The gauge of one socket.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Since when there has always been more than a batch.
    full_since: Option<Instant>,
    measured: Instant,
    /// When the kernel was first asked to note arrivals.
    noting_since: Option<Instant>,
    /// Datagrams taken since the last measurement.
    taken: u64,
    /// The drops at that, if there was one since the socket was dry.
    drops: Option<u32>,
}

impl Gauge {
    /// A receive has taken so many datagrams; `full` says that there were likely more. Returns how
    /// long they had waited, where that was measured.
    #[inline]
    pub(super) fn took(
        &mut self,
        listener: &Listener,
        now: Now,
        taken: usize,
        full: bool,
    ) -> Option<Duration> {
        if !full {
            self.dry();
            return None;
        }
        self.taken += taken as u64;
        let since = *self.full_since.get_or_insert(now.mono);
        let full_for = now.mono.saturating_since(since);
        let is_due = now.mono.saturating_since(self.measured) >= MEASURED_EVERY;
        (full_for >= FULL_FOR && is_due).then(|| self.measure(listener, now, full_for))
    }

    /// There was no more than a batch.
    #[inline]
    pub(super) fn dry(&mut self) {
        self.full_since = None;
        self.drops = None;
        self.taken = 0;
    }

    #[cold]
    fn measure(&mut self, listener: &Listener, now: Now, full_for: Duration) -> Duration {
        let noting_since = *self.noting_since.get_or_insert(now.mono);
        let wall = Duration::new(now.wall.0, now.wall_us * 1000);
        let arrived = listener.last_arrival();
        let waited = match arrived.map(|at| wall.saturating_sub(at)) {
            None => Duration::ZERO,
            // It came before arrivals were noted.
            Some(Duration::ZERO) => now.mono.saturating_since(noting_since),
            Some(waited) => waited,
        };
        // Whatever a wall clock that was set may say.
        let waited = waited.min(full_for);
        self.measured = now.mono;
        let taken = std::mem::take(&mut self.taken);
        let Some(memory) = listener.memory() else { return waited };
        let before = self.drops.replace(memory.drops).unwrap_or(memory.drops);
        let lost = u64::from(memory.drops.wrapping_sub(before));
        waited.max(full(memory)) + lost_wait(memory, lost, taken)
    }
}

/// What the filling of a buffer counts as. Up to a quarter of it may have been taken already.
fn full(Memory { queued_bytes, room_bytes, .. }: Memory) -> Duration {
    let quarter = room_bytes / 4;
    let part = queued_bytes.saturating_sub(quarter).min(room_bytes - quarter);
    FULL_BUFFER.mul_f64(f64::from(part) / f64::from((room_bytes - quarter).max(1)))
}

/// What the lost ones count as, of all that came. What a filter drops at a socket with room is not
/// lost.
fn lost_wait(memory: Memory, lost: u64, taken: u64) -> Duration {
    if lost == 0 || memory.queued_bytes < memory.room_bytes / 2 {
        return Duration::ZERO;
    }
    LOST.mul_f64(lost as f64 / (lost + taken) as f64)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::reactor::clock::Clock;
    use crate::reactor::socket::bind_group;

    fn listener(buffer_bytes: usize) -> (Listener, UdpSocket) {
        let any = "127.0.0.1:0".parse().unwrap();
        let (mut listeners, bound) = bind_group(any, 1, buffer_bytes).unwrap();
        let peer = UdpSocket::bind(any).unwrap();
        peer.connect(bound.address).unwrap();
        (listeners.remove(0), peer)
    }

    fn take(listener: &Listener) {
        let mut byte = 0u8;
        // SAFETY: the kernel writes at most one byte to `byte`.
        let taken = unsafe { libc::recv(listener.fd(), (&raw mut byte).cast(), 1, 0) };
        assert_eq!(taken, 1);
    }

    /// The clocks as they will be so much later.
    fn later(clock: &Clock, millis: u64) -> Now {
        clock.now().after(Duration::from_millis(millis))
    }

    #[test]
    fn nothing_is_measured_before_a_socket_was_full_for_a_while_nor_once_it_is_dry() {
        let (listener, _peer) = listener(1 << 20);
        let (mut gauge, clock) = (Gauge::default(), Clock::start());
        assert_eq!(gauge.took(&listener, clock.now(), 32, true), None);
        assert_eq!(gauge.took(&listener, later(&clock, 3), 32, true), None);
        assert_eq!(gauge.took(&listener, later(&clock, 4), 7, false), None);
        assert_eq!(gauge.took(&listener, later(&clock, 5), 32, true), None);
        assert_eq!(gauge.noting_since, None, "arrivals are not even noted");
        assert!(gauge.took(&listener, later(&clock, 10), 32, true).is_some());
    }

    #[test]
    fn what_was_taken_last_has_waited_since_it_arrived() {
        let (listener, peer) = listener(1 << 20);
        let (mut gauge, clock) = (Gauge::default(), Clock::start());
        gauge.took(&listener, clock.now(), 32, true);
        gauge.took(&listener, later(&clock, 5), 32, true).expect("a measurement");
        // It may come before the kernel has begun to note arrivals; then the time since it was
        // asked to is known.
        peer.send(b"x").unwrap();
        take(&listener);
        let waited = gauge.took(&listener, later(&clock, 60), 32, true).unwrap();
        assert!(waited >= Duration::from_millis(54), "{waited:?}");
        assert!(
            waited <= Duration::from_millis(60) + clock.now().mono.saturating_since(Instant::ZERO)
        );
        // Again only after a while.
        assert_eq!(gauge.took(&listener, later(&clock, 60), 32, true), None);
    }

    #[test]
    fn a_wall_clock_that_was_set_does_not_make_a_wait() {
        let (listener, peer) = listener(1 << 20);
        let (mut gauge, clock) = (Gauge::default(), Clock::start());
        let hour = |now: Now| Now { wall: crate::time::UnixTime(now.wall.0 + 3600), ..now };
        gauge.took(&listener, clock.now(), 32, true);
        gauge.took(&listener, later(&clock, 5), 32, true).expect("a measurement");
        peer.send(b"x").unwrap();
        take(&listener);
        let waited = gauge.took(&listener, hour(later(&clock, 7)), 32, true).unwrap();
        let since_start = clock.now().mono.saturating_since(Instant::ZERO);
        assert!(waited <= Duration::from_millis(7) + since_start, "{waited:?}");
    }

    #[test]
    fn a_buffer_that_overflows_is_a_long_wait_however_fast_it_is_emptied() {
        let (listener, peer) = listener(1);
        let (mut gauge, clock) = (Gauge::default(), Clock::start());
        gauge.took(&listener, clock.now(), 32, true);
        gauge.took(&listener, later(&clock, 5), 32, true).expect("a measurement");
        for _ in 0..64 {
            peer.send(&[0; 200]).unwrap();
        }
        let memory = listener.memory().unwrap();
        assert!(memory.drops > 0 && memory.queued_bytes >= memory.room_bytes / 2, "{memory:?}");
        let waited = gauge.took(&listener, later(&clock, 7), 1, true).unwrap();
        assert!(waited > FULL_BUFFER, "{waited:?}");
    }

    #[test]
    fn a_filter_at_a_socket_with_room_loses_nothing() {
        let memory = Memory { queued_bytes: 100, room_bytes: 1000, drops: 7 };
        assert_eq!(lost_wait(memory, 7, 1), Duration::ZERO);
        let memory = Memory { queued_bytes: 900, ..memory };
        assert_eq!(lost_wait(memory, 1, 4), Duration::from_millis(100));
        assert_eq!(full(Memory { queued_bytes: 250, ..memory }), Duration::ZERO);
        assert_eq!(full(Memory { queued_bytes: 1000, ..memory }), FULL_BUFFER);
        assert_eq!(full(Memory { queued_bytes: 5000, ..memory }), FULL_BUFFER);
        assert_eq!(full(Memory { queued_bytes: 0, room_bytes: 0, drops: 0 }), Duration::ZERO);
    }
}
