//! What the guards of the shards tell each other. The kernel spreads the flows of one source over
//! all reactors, and its accounts live on whichever shards own them, so no guard alone sees what a
//! source does.
//!
//! - A limit of rate is kept by every guard whole. Each lets its own share of it pass without a
//!   word (a phone asks no more), and tells the others what it lets pass beyond, in portions; they
//!   take that from their own buckets. So one flow gets the whole rate, and all flows of a source
//!   together never twice of it.
//! - A proof is news once for each account, source and some days, and then told to all; so is that
//!   an account no longer vouches for a source. Both by the shard that owns the account, so that
//!   all hear the same in the same order.
//! - Where something is held against a source, its next success is told too, to its home.
//! - Offences are counted in one place, the home of their source, so that they add up exactly.
//!   What it decides is told to all.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::score::Surety;
use crate::limits::TOLD_WAITING_MAX;
use crate::time::Instant;

/// One thing told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// To all: tokens spent beyond the share of the guard that says so.
    Spent {
        /// By whom; for the others of [`Scope`], by one of them.
        source: IpAddr,
        /// Whose buckets it is taken from.
        scope: Scope,
        /// Requests of any kind.
        requests: u8,
        /// Those of them that were REGISTERs.
        registers: u8,
        /// Requests let pass for the nonce they carried.
        proofs: u8,
    },
    /// To all: an account has proved itself from this source.
    Proved {
        /// The source.
        source: IpAddr,
        /// The keyed hash of the account.
        account: u64,
        /// It did not vouch for it until now.
        new: bool,
    },
    /// To all: one of the accounts that vouched for this source does so no longer.
    Unvouched {
        /// The source.
        source: IpAddr,
    },
    /// To the home of the source: what it has done.
    Offended {
        /// The source.
        source: IpAddr,
        /// What that weighs.
        points: u16,
        /// The keyed hash of the account it was tried on, 0 where there was none.
        account: u64,
        /// How sure it is whose doing it was.
        surety: Surety,
    },
    /// To all: something is held against a source from which accounts have proved themselves. The
    /// next success there is to be told to its home.
    Suspected {
        /// The source, or what stands for it.
        source: IpAddr,
    },
    /// To the home of the source: an account that is known there has proved itself once more.
    Absolved {
        /// The source.
        source: IpAddr,
    },
    /// To all: for that, the source is no longer restrained.
    Lifted {
        /// The source.
        source: IpAddr,
    },
    /// To the home of suspensions, which is the first shard: an account was suspended.
    Suspended {
        /// For this source.
        source: IpAddr,
        /// The keyed hash of the account.
        account: u64,
    },
    /// To all: the source is blocked.
    Blocked {
        /// The source.
        source: IpAddr,
        /// Until when.
        until: Instant,
        /// Nothing of it passes; else only what proves itself, and a REGISTER now and then.
        whole: bool,
        /// How many times it has been blocked, this one included.
        times: u8,
    },
}

/// Whose limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// That of the source alone.
    Source,
    /// That of its prefix.
    Prefix,
    /// That of the network it is in by the configuration.
    Network,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Source, Scope::Prefix, Scope::Network];
}

/// Whom it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every other shard.
    Others,
    /// The shard of this number.
    Shard(u8),
}

/// What waits to be told.
#[derive(Debug, Default)]
pub struct Telling {
    waiting: VecDeque<(To, Told)>,
    /// What was not said because too much was waiting.
    pub unsaid: u64,
}

impl Telling {
    /// Says something, unless too much waits. Returns whether it was said.
    pub fn say(&mut self, to: To, told: Told) -> bool {
        let room = self.waiting.len() < TOLD_WAITING_MAX;
        if room {
            self.waiting.push_back((to, told));
        } else {
            self.unsaid += 1;
        }
        room
    }

    /// Whether so many things more can be said. Where not, that counts as one left unsaid.
    pub fn has_room_for(&mut self, more: usize) -> bool {
        let has = self.waiting.len() + more <= TOLD_WAITING_MAX;
        self.unsaid += u64::from(!has);
        has
    }

    /// The next to be carried over.
    #[inline]
    pub fn take(&mut self) -> Option<(To, Told)> {
        self.waiting.pop_front()
    }
}

/// The end of a block that lasts `for_s` seconds from now.
#[must_use]
pub fn until(now: Instant, for_s: u32) -> Instant {
    now + Duration::from_secs(for_s.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_what_is_left_unsaid_is_counted() {
        let mut telling = Telling::default();
        let source = |nth: usize| IpAddr::from([10, 0, (nth >> 8) as u8, nth as u8]);
        let told = |nth: usize| Told::Unvouched { source: source(nth) };
        for nth in 0..TOLD_WAITING_MAX {
            assert!(telling.say(To::Others, told(nth)));
        }
        assert!(!telling.say(To::Others, told(TOLD_WAITING_MAX)));
        assert_eq!(telling.unsaid, 1);
        assert!(!telling.has_room_for(1));
        assert_eq!(telling.unsaid, 2);
        assert_eq!(telling.take(), Some((To::Others, told(0))), "the old is kept, the new is shed");
        assert!(telling.has_room_for(1) && !telling.has_room_for(2));
        assert_eq!(std::iter::from_fn(|| telling.take()).count(), TOLD_WAITING_MAX - 1);
    }
}
