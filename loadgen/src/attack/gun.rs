//! One socket that sends from any address of loopback, and the pace at which it does. Answers are
//! read, or dropped by the kernel where nobody wants them.

use crate::options::Error;
use crate::plan::{Nanos, SECOND};
use crate::socket::Waiter;
use crate::socket::outside::{Arrivals, Departures, Outside};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

/// What is behind its pace by more than this share of a second, and by more than a batch, is given
/// up: it would be a burst, not a rate, and the honest would wait behind it.
const BEHIND_MAX: f64 = 0.001;
const BEHIND_LEAST: u64 = 32;
/// Longest sleep between looks.
const NAP_MAX: Nanos = SECOND / 1000;

/// The socket.
pub(super) struct Gun {
    outside: Outside,
    departures: Departures,
    arrivals: Arrivals,
    waiter: Waiter,
    /// Requests that left.
    pub(super) sent: u64,
    /// Requests that the kernel did not take.
    pub(super) refused: u64,
    /// Datagrams that were read.
    read: u64,
}

impl Gun {
    /// One that hears the answers.
    pub(super) fn new(target: SocketAddrV4) -> Result<Gun, Error> {
        Gun::with(target, Outside::open())
    }

    /// One that only counts them.
    pub(super) fn deaf(target: SocketAddrV4) -> Result<Gun, Error> {
        Gun::with(target, Outside::open_deaf())
    }

    fn with(target: SocketAddrV4, outside: io::Result<Outside>) -> Result<Gun, Error> {
        let outside = outside.map_err(|error| Error::System {
            operation: "a socket for the attack".to_owned(),
            error,
            remedy: "a higher `ulimit -n`",
        })?;
        Ok(Gun {
            waiter: Waiter::new(std::slice::from_ref(&outside)),
            outside,
            departures: Departures::new(target),
            arrivals: Arrivals::new(),
            sent: 0,
            refused: 0,
            read: 0,
        })
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.outside.port()
    }

    /// Sends what `write` writes, from this address. Nothing leaves before the batch is full or
    /// flushed.
    pub(super) fn send(&mut self, from: Ipv4Addr, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        if self.departures.is_full() {
            self.flush();
        }
        match write(self.departures.room()) {
            Some(length) => {
                self.departures.push(length, from);
                self.sent += 1;
            }
            None => self.refused += 1,
        }
    }

    /// Lets go what waits.
    pub(super) fn flush(&mut self) {
        let dropped = self.departures.flush(&self.outside).dropped;
        self.sent -= dropped;
        self.refused += dropped;
    }

    /// Shows what has come so far, and for whom. Returns whether there was something.
    pub(super) fn receive(&mut self, mut each: impl FnMut(Ipv4Addr, &[u8])) -> bool {
        let mut any = false;
        // An ICMP error is nobody's answer.
        while let Ok(count @ 1..) = self.arrivals.receive(&self.outside) {
            any = true;
            self.read += count as u64;
            for number in 0..count {
                let arrival = self.arrivals.arrival(number);
                each(arrival.to, arrival.bytes);
            }
        }
        any
    }

    /// Datagrams that have come so far, those among them that the kernel dropped.
    pub(super) fn answered(&mut self) -> u64 {
        self.receive(|_, _| ());
        self.read + self.outside.dropped()
    }

    /// Waits until something comes, or so long.
    pub(super) fn wait(&mut self, most: Nanos) {
        self.waiter.wait(most.min(NAP_MAX));
    }
}

/// When the next request of so many a second is due.
pub(super) struct Pacer {
    begun: Instant,
    rate: f64,
    /// Requests that have had their time.
    done: u64,
    /// When it was over, if it is.
    stopped: Option<Nanos>,
}

impl Pacer {
    /// So many a second from now on.
    pub(super) fn new(rate: f64) -> Pacer {
        Pacer { begun: Instant::now(), rate, done: 0, stopped: None }
    }

    /// How many are due, which are taken as sent.
    pub(super) fn take(&mut self, most: u64) -> u64 {
        self.take_at(self.elapsed(), most)
    }

    /// Nanoseconds so far, or until it was over.
    pub(super) fn elapsed(&self) -> Nanos {
        self.stopped.unwrap_or_else(|| self.begun.elapsed().as_nanos() as Nanos)
    }

    /// It is over.
    pub(super) fn stop(&mut self) {
        self.stopped = Some(self.elapsed());
    }

    /// Whether it is.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    fn take_at(&mut self, elapsed: Nanos, most: u64) -> u64 {
        let planned = (elapsed as f64 / SECOND as f64 * self.rate) as u64;
        let behind_max = ((self.rate * BEHIND_MAX) as u64).max(BEHIND_LEAST);
        self.done = self.done.max(planned.saturating_sub(behind_max));
        let due = (planned - self.done).min(most);
        self.done += due;
        due
    }

    /// How long fewer than so many will be due.
    pub(super) fn pause(&self, count: u64) -> Nanos {
        let next = ((self.done + count) as f64 / self.rate * SECOND as f64) as Nanos;
        next.saturating_sub(self.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_what_was_missed_is_no_burst() {
        let mut pacer = Pacer::new(10_000.0);
        let millisecond = SECOND / 1000;
        let sent: u64 = (1..=100).map(|ms| pacer.take_at(ms * millisecond, 100)).sum();
        assert_eq!(sent, 1000);
        assert_eq!(pacer.take_at(5 * SECOND, 1000), 32, "of 49,000 that had their time");
        assert_eq!(pacer.take_at(5 * SECOND, 1000), 0);
        assert_eq!(pacer.take_at(5 * SECOND + 9 * millisecond, 4), 4, "not more than is wanted");
        let mut slow = Pacer::new(20.0);
        assert_eq!(slow.take_at(SECOND, 100), 20, "a slow pace bears a pause");
    }
}
