//! Suspensions of the accounts of this shard: when a wrong password counts, what a suspended sender
//! is told, and what leaves for those who watch. Whom to suspend and for how long is
//! [`suspension`](crate::auth::suspension)'s.

use std::hash::Hasher;
use std::net::IpAddr;

use arrayvec::ArrayVec;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::auth::accounts::AorKey;
use crate::auth::suspension::{Cause, Cursor, End, Failure, Suspended, Suspensions};
use crate::guard::SecurityKind;
use crate::limits::{AOR_BYTES_MAX, SUSPENSIONS_PER_CALL_MAX};
use crate::shard::core::Core;
use crate::shard::owner::Ownership;
use crate::time::{Instant, Now};

/// A canonical address-of-record of its own.
pub type AorText = ArrayVec<u8, AOR_BYTES_MAX>;

/// A suspension began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspensionEvent {
    /// Whose: as the request named it, or as the account is called. Not known where the suspension
    /// of a name that has no account ends.
    pub aor: Option<AorText>,
    /// For requests from here: an address, or of IPv6 the first one of a /64.
    pub source: IpAddr,
    /// There is such an account.
    pub known: bool,
    /// What was counted.
    pub cause: Cause,
    /// What happened.
    pub change: Change,
}

/// What happened to a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It began.
    Begun {
        /// When it ends by itself.
        until: Instant,
    },
    /// It ended.
    Ended(End),
}

/// A suspension as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspensionItem {
    /// The account, where there is one.
    pub aor: Option<AorText>,
    /// For requests from here: an address, or of IPv6 the first one of a /64; `None`: from
    /// anywhere.
    pub source: Option<IpAddr>,
    /// What was counted.
    pub cause: Cause,
    /// Seconds it has left, rounded up; `None`: it ends when it is lifted.
    pub left_s: Option<u32>,
    /// Why, as an operator said; empty if nobody did.
    pub reason: Box<str>,
}

/// Some suspensions: those of operators first, then the others in the order they end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuspensionPage {
    /// The suspensions, at most
    /// [`SUSPENSIONS_PER_CALL_MAX`].
    pub items: Vec<SuspensionItem>,
    /// Where the list goes on, if it does.
    pub next: Option<Cursor>,
}

/// What an order to lift has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifted {
    /// Suspensions that ended with it.
    pub lifted: usize,
    /// Where the search goes on, if it is not over: give the order again with it.
    pub next: Option<Cursor>,
}

/// The place of a cursor that stands among those of operators. The table has no such place.
const BARRED: u32 = u32::MAX;

fn left_s(until: Instant, now: Now) -> u32 {
    let left = until.saturating_since(now.mono);
    let left_s = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(left_s).unwrap_or(u32::MAX)
}

/// None yet; what is secret about them comes from a secret of the process.
pub(super) fn suspensions(identity: &[u8; 16], ownership: &Ownership) -> Suspensions {
    let mut hasher = SipHasher24::new_with_key(identity);
    hasher.write(b"suspensions");
    Suspensions::new(&hasher.finish128().as_bytes(), ownership.shards())
}

impl Core {
    /// Notes a wrong answer to a nonce that was given to its source. Returns whether the account
    /// is suspended from now on.
    #[cold]
    pub fn note_failure(
        &mut self,
        now: Now,
        failure: &Failure<'_>,
        aor: &[u8],
        user_agent: &[u8],
    ) -> bool {
        let failed = self.suspensions.failed(now.mono, failure, &self.auth.suspension);
        if let Some(pushed_out) = failed.pushed_out {
            self.note_end(&pushed_out, End::PushedOut);
        }
        let Some(begun) = failed.begun else { return false };
        match begun.known {
            true => self.counters.suspensions += 1,
            false => self.counters.suspensions_unknown += 1,
        }
        self.guard.record(SecurityKind::Suspended, failure.source, aor, user_agent);
        self.guard.note_suspension(failure.source, failure.aor.0);
        self.suspension_events.push(SuspensionEvent {
            aor: AorText::try_from(aor).ok(),
            source: begun.source,
            known: begun.known,
            cause: begun.cause,
            change: Change::Begun { until: begun.until },
        });
        true
    }

    /// Ends suspensions whose time is over, a bounded number.
    #[inline]
    pub fn end_suspensions(&mut self, now: Now) {
        if self.barred.next_deadline().is_some_and(|next| next <= now.mono) {
            self.counters.suspensions_ended += self.barred.end_elapsed(now.mono) as u64;
        }
        if self.suspensions.next_deadline().is_some_and(|next| next <= now.mono) {
            self.end_elapsed(now);
        }
    }

    #[cold]
    fn end_elapsed(&mut self, now: Now) {
        for _ in 0..SUSPENSIONS_PER_CALL_MAX {
            let Some(ended) = self.suspensions.poll_elapsed(now.mono) else { return };
            self.note_end(&ended, End::Elapsed);
        }
    }

    fn note_end(&mut self, ended: &Suspended, end: End) {
        self.counters.suspensions_ended += 1;
        self.suspension_events.push(SuspensionEvent {
            aor: self.name_of(ended.aor),
            source: ended.source,
            known: ended.known,
            cause: ended.cause,
            change: Change::Ended(end),
        });
    }

    fn name_of(&self, aor: AorKey) -> Option<AorText> {
        let id = self.accounts.find_by_key(aor)?;
        AorText::try_from(self.accounts.aor(id)).ok()
    }

    /// Suspensions, from behind `after` on, at most `items_max`: those of operators, which have a
    /// cursor of an account and no place, then the others in the order they end.
    pub fn list_suspensions(
        &self,
        now: Now,
        after: Option<Cursor>,
        items_max: usize,
    ) -> SuspensionPage {
        let items_max = items_max.clamp(1, SUSPENSIONS_PER_CALL_MAX);
        let mut page = SuspensionPage::default();
        let mut last = None;
        let (barred_after, after) = match after {
            Some(Cursor { until_nanos, place: BARRED }) => (Some(AorKey(until_nanos)), None),
            after => (None, after),
        };
        if after.is_none() {
            for (key, bar) in self.barred.list(barred_after) {
                if page.items.len() == items_max {
                    page.next = last;
                    return page;
                }
                last = Some(Cursor { until_nanos: key.0, place: BARRED });
                page.items.push(SuspensionItem {
                    aor: self.name_of(key),
                    source: None,
                    cause: Cause::Operator,
                    left_s: bar.until.map(|until| left_s(until, now)),
                    reason: bar.reason.clone(),
                });
            }
        }
        for (cursor, suspended) in self.suspensions.list(after) {
            if page.items.len() == items_max {
                page.next = last;
                break;
            }
            last = Some(cursor);
            page.items.push(SuspensionItem {
                aor: self.name_of(suspended.aor),
                source: Some(suspended.source),
                cause: suspended.cause,
                left_s: Some(left_s(suspended.until, now)),
                reason: Box::default(),
            });
        }
        page
    }

    /// Lifts the suspension of an account for one source, or for every source there is and that of
    /// an operator: a bounded number is looked at in one call, from behind `after` on.
    pub fn lift_suspensions(
        &mut self,
        aor: &[u8],
        source: Option<IpAddr>,
        after: Option<Cursor>,
    ) -> Lifted {
        let key = AorKey(self.ownership.hash(aor));
        let mut outcome = Lifted::default();
        if let Some(source) = source {
            if let Some(ended) = self.suspensions.lift(key, source) {
                self.note_end(&ended, End::Lifted);
                outcome.lifted = 1;
            }
            return outcome;
        }
        if self.barred.lift(key) {
            self.counters.suspensions_ended += 1;
            outcome.lifted = 1;
        }
        let looked_at = self.suspensions.list(after).take(SUSPENSIONS_PER_CALL_MAX);
        let looked_at: Vec<(Cursor, Suspended)> = looked_at.collect();
        if let [.., (last, _)] = *looked_at
            && looked_at.len() == SUSPENSIONS_PER_CALL_MAX
        {
            outcome.next = Some(last);
        }
        for (cursor, _) in looked_at.into_iter().filter(|(_, suspended)| suspended.aor == key) {
            if let Some(ended) = self.suspensions.lift_at(cursor) {
                self.note_end(&ended, End::Lifted);
                outcome.lifted += 1;
            }
        }
        outcome
    }
}
