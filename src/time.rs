//! Time as plain values. Nothing here reads a clock: the shell does, once a batch, and hands the
//! result down as a [`Now`].

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the monotonic clock: nanoseconds since an origin the shell chose at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin itself.
    pub const ZERO: Instant = Instant(0);

    /// An instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    /// An instant `secs` seconds after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Instant(secs * 1_000_000_000)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the origin, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Time passed since `earlier`, zero if that is later than `self`.
    #[must_use]
    pub const fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A point on the wall clock: whole seconds since the Unix epoch. Nonces carry it, because they
/// outlive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

/// Both clocks, read together once a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Drives every deadline.
    pub mono: Instant,
    /// Drives what outlives the process.
    pub wall: UnixTime,
    /// Microseconds within the second of `wall`: they put the nonces of all shards in order.
    pub wall_us: u32,
}

impl Now {
    /// Both clocks at `secs` after `self`; simulations and tests step with it.
    #[must_use]
    pub fn after(self, step: Duration) -> Now {
        let wall = Duration::new(self.wall.0, self.wall_us * 1000) + step;
        Now {
            mono: self.mono + step,
            wall: UnixTime(wall.as_secs()),
            wall_us: wall.subsec_micros(),
        }
    }
}
