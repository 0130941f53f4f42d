//! Suspension: after some wrong passwords in a row, an account is suspended for the source they
//! came from, and for no other. Nobody can shut a customer out from anywhere else, and whoever
//! guesses has a handful of tries per account, source and suspension.
//!
//! - What counts is a wrong answer to a nonce that was given to this very source. A foreign nonce
//!   says nothing about the sender, a stale one with the right password is no failure, and an
//!   answer that is sent again counts once.
//! - While a suspension lasts, no password is checked. It ends with its time or by an operator, and
//!   nothing of it is left then. A right password sets the counts to zero.
//! - Two families count at once: failed REGISTERs, and failed checks of any method. Whichever trips
//!   first suspends, for everything that asks for a password. If both do, the longer one holds.
//! - A name without an account is treated alike, in a half of the table of its own.
//! - An account is known by the hash of its name, so whatever happens to accounts happens to no
//!   suspension.
//!
//! The source is an address of IPv4 without a port, or the /64 of one of IPv6: whoever has one of
//! its addresses has them all, and would have as many tries. Times are the caller's; what is
//! answered is, too.

mod table;

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::net::IpAddr;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use self::table::{Entry, Pair, Place, Table};
use crate::auth::accounts::AorKey;
use crate::config;
use crate::flow::culprit;
use crate::limits::SUSPENSION_PAIRS_MAX;
use crate::time::Instant;

/// What counted to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Failed REGISTERs (SS_ENDPOINTREGISTERRETRY).
    Registers,
    /// Failed checks of any method (SS_AUTHENTICATION_MAX_RETRY).
    Checks,
    /// Nothing: an operator did ([`barred`](crate::auth::barred)).
    Operator,
}

impl Cause {
    /// Its name in lists and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Registers => "registers",
            Cause::Checks => "checks",
            Cause::Operator => "operator",
        }
    }
}

/// How a suspension ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time was over.
    Elapsed,
    /// An operator lifted it.
    Lifted,
    /// There was no room for it any more.
    PushedOut,
}

impl End {
    /// Its name in lists and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            End::Elapsed => "elapsed",
            End::Lifted => "lifted",
            End::PushedOut => "pushed_out",
        }
    }
}

/// One suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// Hash of the account's name.
    pub aor: AorKey,
    /// For requests from here: an address, or of IPv6 the first one of a /64
    /// ([`network`](crate::flow::network)).
    pub source: IpAddr,
    /// The name had an account when its failures began.
    pub known: bool,
    /// Why.
    pub cause: Cause,
    /// When it ends by itself.
    pub until: Instant,
}

/// How an account stands with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is remembered.
    Clear,
    /// Failures are remembered, to be forgotten on success ([`Suspensions::succeeded`]).
    Failed(Mark),
    /// No password is to be checked.
    Suspended,
}

/// Where failures are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(Place);

/// A wrong answer to a nonce that was given to its source.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Hash of the account's name.
    pub aor: AorKey,
    /// Where it came from.
    pub source: IpAddr,
    /// There is such an account.
    pub known: bool,
    /// It came with a REGISTER.
    pub is_register: bool,
    /// The nonce it answered.
    pub nonce: &'a [u8],
    /// The digest that was wrong. An answer with the same nonce and digest is the same answer.
    pub response: &'a [u8],
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// The suspension that begins with it.
    pub begun: Option<Suspended>,
    /// The suspension that had to make room.
    pub pushed_out: Option<Suspended>,
}

/// Where a list of suspensions goes on: behind the one that ends then, at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the last one listed ends, nanoseconds of [`Instant`].
    pub until_nanos: u64,
    /// Where it stands.
    pub place: u32,
}

/// The suspensions of one shard, and the failures that may lead to some.
pub struct Suspensions {
    hasher: SipHasher13,
    table: Table,
    ends: BTreeSet<(Instant, Place)>,
}

impl Suspensions {
    /// None yet. `key` is secret; the room for all shards together does not depend on their
    /// number.
    #[must_use]
    pub fn new(key: &[u8; 16], shards: u8) -> Suspensions {
        Suspensions {
            hasher: SipHasher13::new_with_key(key),
            table: Table::new(SUSPENSION_PAIRS_MAX / usize::from(shards.max(1))),
            ends: BTreeSet::new(),
        }
    }

    /// Whether anything is remembered of anybody.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Suspensions in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held for failures and suspensions.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.table.bytes_held() + self.ends.len() * size_of::<(Instant, Place)>()
    }

    /// How an account stands with a source. Costs the same whether there is such an account.
    #[inline]
    #[must_use]
    pub fn standing(&self, aor: AorKey, source: IpAddr) -> Standing {
        if self.is_empty() {
            return Standing::Clear;
        }
        match self.table.find(&self.pair(aor, source)) {
            None => Standing::Clear,
            Some(place) if self.table.at(place).is_suspended() => Standing::Suspended,
            Some(place) => Standing::Failed(Mark(place)),
        }
    }

    /// A right password: its failures are forgotten. `mark` is what [`Suspensions::standing`] said
    /// of the same request.
    pub fn succeeded(&mut self, Mark(place): Mark) {
        debug_assert!(!self.table.at(place).is_suspended(), "no password was to be checked");
        self.table.forget(place);
    }

    /// A wrong password. Nothing is counted where nothing would be suspended for it.
    pub fn failed(
        &mut self,
        now: Instant,
        failure: &Failure<'_>,
        limits: &config::Suspension,
    ) -> Failed {
        let &Failure { aor, source, known, is_register, .. } = failure;
        let by_registers = limits.registers;
        let by_checks = limits.checks_max > 0;
        let mut outcome = Failed::default();
        if !(by_checks || by_registers && is_register) {
            return outcome;
        }
        let pair = self.pair(aor, source);
        let place = match self.table.find(&pair) {
            Some(place) => place,
            None => {
                let idle = idle(limits);
                let (place, before) = self.table.take(&pair, known, now, idle);
                if let Some(before) = before {
                    self.ends.remove(&(before.until, place));
                    outcome.pushed_out = Some(suspended(&before, Table::is_known(place)));
                }
                place
            }
        };
        let answer = self.answer(failure);
        let entry = self.table.at_mut(place);
        if entry.is_suspended() || !entry.is_new(answer) {
            return outcome;
        }
        entry.failed_at = now;
        entry.checks = entry.checks.saturating_add(1);
        entry.registers = entry.registers.saturating_add(u16::from(is_register));
        let registers = (by_registers && entry.registers >= limits.registers_max)
            .then_some((limits.registers_time_s, Cause::Registers));
        let checks = (by_checks && entry.checks >= limits.checks_max)
            .then_some((limits.checks_time_s, Cause::Checks));
        if let Some((time_s, cause)) = [checks, registers].into_iter().flatten().max_by_key(|c| c.0)
        {
            let until = now + Duration::from_secs(time_s.into());
            entry.until = until;
            entry.by_registers = cause == Cause::Registers;
            outcome.begun = Some(suspended(entry, Table::is_known(place)));
            self.ends.insert((until, place));
        }
        outcome
    }

    /// When the next suspension ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.ends.first().map(|&(until, _)| until)
    }

    /// Ends the next suspension whose time is over.
    pub fn poll_elapsed(&mut self, now: Instant) -> Option<Suspended> {
        let &(until, place) = self.ends.first()?;
        (until <= now).then(|| self.end(place))
    }

    /// Suspensions in the order they end, from behind `after` on.
    pub fn list(&self, after: Option<Cursor>) -> impl Iterator<Item = (Cursor, Suspended)> + '_ {
        use std::ops::Bound::{Excluded, Unbounded};

        let from = after.map_or(Unbounded, |Cursor { until_nanos, place }| {
            Excluded((Instant::from_nanos(until_nanos), Place(place)))
        });
        self.ends.range((from, Unbounded)).map(|&(until, place)| {
            let cursor = Cursor { until_nanos: until.as_nanos(), place: place.0 };
            (cursor, suspended(self.table.at(place), Table::is_known(place)))
        })
    }

    /// Ends the suspension of an account for a source, and forgets failures that have led to none.
    /// Returns the suspension, if there was one.
    pub fn lift(&mut self, aor: AorKey, source: IpAddr) -> Option<Suspended> {
        let place = self.table.find(&self.pair(aor, source))?;
        if self.table.at(place).is_suspended() {
            return Some(self.end(place));
        }
        self.table.forget(place);
        None
    }

    /// Ends the suspension at a cursor, if it is still there.
    pub fn lift_at(&mut self, cursor: Cursor) -> Option<Suspended> {
        let place = Place(cursor.place);
        let there = self.ends.contains(&(Instant::from_nanos(cursor.until_nanos), place));
        there.then(|| self.end(place))
    }

    fn end(&mut self, place: Place) -> Suspended {
        let ended = suspended(self.table.at(place), Table::is_known(place));
        self.ends.remove(&(ended.until, place));
        self.table.forget(place);
        ended
    }

    #[inline]
    fn pair(&self, AorKey(aor): AorKey, source: IpAddr) -> Pair {
        let source = culprit(source.to_canonical());
        let address = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut hasher = self.hasher;
        hasher.write_u64(aor);
        hasher.write_u128(address.into());
        Pair { hash: hasher.finish(), aor, source }
    }

    fn answer(&self, failure: &Failure<'_>) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_usize(failure.nonce.len());
        hasher.write(failure.nonce);
        hasher.write(failure.response);
        hasher.finish()
    }
}

/// How long failures are remembered where room is short: no shorter than any suspension, so that
/// waiting to be forgotten gives no more tries than being suspended.
fn idle(limits: &config::Suspension) -> Duration {
    let registers = if limits.registers { limits.registers_time_s } else { 0 };
    let checks = if limits.checks_max > 0 { limits.checks_time_s } else { 0 };
    Duration::from_secs(registers.max(checks).into())
}

fn suspended(entry: &Entry, known: bool) -> Suspended {
    let cause = if entry.by_registers { Cause::Registers } else { Cause::Checks };
    let &Entry { aor, source, until, .. } = entry;
    Suspended { aor: AorKey(aor), source, known, cause, until }
}

#[cfg(test)]
mod tests;
