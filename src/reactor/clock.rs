//! The clocks, read here and nowhere below: once a batch, both together.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::{Instant, Now, UnixTime};

/// The clocks of one process. Copies share the origin, because arrival times cross shards.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the shell is where clocks are read")]
    pub fn start() -> Clock {
        Clock { origin: std::time::Instant::now() }
    }

    /// Reads the monotonic clock alone.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the shell is where clocks are read")]
    pub fn mono(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    /// Reads both clocks. A wall clock before 1970 reads as 1970.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the shell is where clocks are read")]
    pub fn now(&self) -> Now {
        let mono = self.origin.elapsed();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Instant::ZERO + mono,
            wall: UnixTime(wall.as_secs()),
            wall_us: wall.subsec_micros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_the_origin_and_time_does_not_go_back() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(second.mono >= first.mono);
        assert!(second.wall >= first.wall);
        assert!(first.wall.0 > 1_600_000_000);
    }
}
