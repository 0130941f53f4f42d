//! Who answers OPTIONS: for each endpoint the probe that is out, how many have been missed in a
//! row, and how long the way there and back takes. A probe is a non-INVITE client transaction (RFC
//! 3261 17.1.2) without a copy of its message: sent again it is written again.
//!
//! When the next probe is due is the schedule's, what becomes of an endpoint that does not answer
//! the shard's. Nothing is held here for an endpoint but one `Entry`, 24 bytes by the number of its
//! slot, and one timer while a probe is out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::nat::probe::{Branch, Endpoint, NUMBER_MAX, ProbeKey, Purpose};
use crate::table::Sparse;
use crate::time::{Instant, Now};

/// RFC 3261 17.1.1.1: after so long a probe is sent again, then after twice as long, and so on.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261 17.1.2.2: the longest of these waits.
pub const T2: Duration = Duration::from_secs(4);
/// How old the answer to a keepalive may be: longer no request lives (RFC 3261 17.1.2.2, timer F).
const KEEPALIVE_ANSWERED_WITHIN_S: u32 = 32;
/// The waits between transmissions: T1, and twice as long each time, up to T2.
const WAITS: usize = 4;

const _: () = assert!(T2.as_millis() == T1.as_millis() << (WAITS - 1));

/// What probes obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Without an answer for so long a probe is missed; at most 32 s.
    pub timeout: Duration,
    /// So many missed in a row make an endpoint unreachable; at least 1.
    pub misses: u8,
    /// Only 2xx counts; otherwise any answer does.
    pub success_only: bool,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Probes missed in a row, 255 at most.
    pub misses: u8,
    /// It has missed as many as it may.
    pub unreachable: bool,
    /// It has answered an OPTIONS at least once.
    pub has_answered: bool,
}

/// How long the way to an endpoint and back takes, measured from the answers to probes that were
/// sent once only: of others nobody knows which of them is answered (Karn's rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// The last one.
    pub last: Duration,
    /// Smoothed, each new one weighing an eighth (RFC 6298 2).
    pub smoothed: Duration,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The endpoint is there.
    Alive {
        /// How long the answer took, where that can be known.
        round_trip: Option<Duration>,
        /// It had been unreachable until now.
        again: bool,
    },
    /// The final answer is still to come, and only that counts.
    Proceeding,
    /// Somebody answered, but not as it counts; the probe is over and missed.
    Refused,
    /// Another answer to a probe that has been answered: its transmissions may each have one.
    Repeated,
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// Whom it was asked of is gone, or was never asked.
    Gone,
    /// Its tag is none of ours: nobody was asked that.
    Forged,
    /// It answers an OPTIONS long past.
    Old,
}

/// What is held for the tenant of a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// 0: nobody.
    generation: u32,
    /// The probe sent last; 0: none yet.
    number: u32,
    /// When it was first sent, milliseconds since the origin of the clock, and the microseconds
    /// beside them. It begins anew after 49 days, far more than between two probes.
    sent_ms: u32,
    /// 0: none measured.
    last_us: u32,
    smoothed_us: u32,
    /// Those microseconds, and above [`SENT_US`] how many probes in a row were not answered by one
    /// who never answered any.
    sent_us: u16,
    misses: u8,
    /// [`TRIES`] and flags.
    state: u8,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// Entries of a chunk, in bits: 96 KiB.
const ENTRY_BITS: u32 = if cfg!(test) { 3 } else { 12 };

/// The bits of 0-999.
const SENT_US: u16 = 0x03ff;
const NEVER_ANSWERED_ONE: u16 = SENT_US + 1;
const NEVER_ANSWERED_MAX: u8 = (u16::MAX / NEVER_ANSWERED_ONE) as u8;

/// How often the probe that is out has been sent; 0: none is out.
const TRIES: u8 = 0x0f;
const PROCEEDING: u8 = 0x10;
const UNREACHABLE: u8 = 0x20;
const HAS_ANSWERED: u8 = 0x40;

impl Entry {
    fn is_out(&self) -> bool {
        self.state & TRIES != 0
    }

    fn end(&mut self) {
        self.state &= !(TRIES | PROCEEDING);
    }

    fn age(&self, now: Instant) -> Duration {
        let (ms, us) = clock(now);
        let ms = u64::from(ms.wrapping_sub(self.sent_ms));
        Duration::from_micros(
            (ms * 1000 + u64::from(us)).saturating_sub((self.sent_us & SENT_US).into()),
        )
    }

    fn is_sent(&mut self, now: Instant) {
        let (ms, us) = clock(now);
        self.sent_ms = ms;
        self.sent_us = self.sent_us & !SENT_US | us;
    }

    fn has_answered(&mut self) {
        self.state |= HAS_ANSWERED;
        self.sent_us &= SENT_US;
    }
}

/// Milliseconds, cut to 32 bits, and the microseconds beside them.
fn clock(now: Instant) -> (u32, u16) {
    let us = now.as_nanos() / 1000;
    ((us / 1000) as u32, (us % 1000) as u16)
}

/// Something is due for a probe, if it is still out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: Instant,
    endpoint: Endpoint,
    number: u32,
}

/// All endpoints of a shard.
#[derive(Debug)]
pub struct Liveness {
    key: ProbeKey,
    rules: Rules,
    entries: Sparse<Entry, ENTRY_BITS>,
    /// Probes to be sent again: one queue for each wait, so that each is in the order of its
    /// deadlines without sorting.
    repeats: [VecDeque<Timer>; WAITS],
    /// Probes that will not be sent again.
    endings: BinaryHeap<Reverse<Timer>>,
}

impl Liveness {
    /// Of nobody yet.
    #[must_use]
    pub fn new(key: ProbeKey, rules: Rules) -> Liveness {
        Liveness {
            key,
            rules,
            entries: Sparse::default(),
            repeats: Default::default(),
            endings: BinaryHeap::new(),
        }
    }

    /// Obeys other rules from the next probe on.
    pub fn configure(&mut self, rules: Rules) {
        self.rules = rules;
    }

    fn entry(&self, endpoint: Endpoint) -> Option<&Entry> {
        let entry = self.entries.at(endpoint.index as usize);
        (entry.generation == endpoint.generation).then_some(entry)
    }

    fn entry_mut(&mut self, endpoint: Endpoint) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(endpoint.index as usize)?;
        (entry.generation == endpoint.generation).then_some(entry)
    }

    /// The entry of an endpoint; what a former tenant left is gone.
    fn settle_in(&mut self, endpoint: Endpoint) -> &mut Entry {
        debug_assert_ne!(endpoint.generation, 0);
        let index = endpoint.index as usize;
        let entry = self.entries.put(index);
        if entry.generation != endpoint.generation {
            *entry = Entry { generation: endpoint.generation, ..Entry::default() };
        }
        entry
    }

    /// Begins a probe, to be sent at `now`; over a `reliable` transport only once. `None`: the last
    /// one is still out.
    pub fn begin(&mut self, now: Now, endpoint: Endpoint, reliable: bool) -> Option<Branch> {
        let timeout = self.rules.timeout;
        let entry = self.settle_in(endpoint);
        if entry.is_out() {
            return None;
        }
        // From the wall clock on, so that no later tenant and no later process begins where an
        // earlier one has been.
        let next = if entry.number == 0 { now.wall.0 as u32 } else { entry.number + 1 };
        entry.number = (next & NUMBER_MAX).max(1);
        entry.is_sent(now.mono);
        entry.state |= 1;
        let number = entry.number;
        let timer = Timer { due: now.mono + T1, endpoint, number };
        if reliable || timeout <= T1 {
            self.endings.push(Reverse(Timer { due: now.mono + timeout, ..timer }));
        } else {
            self.repeats[0].push_back(timer);
        }
        Some(self.key.branch(Purpose::Probe, endpoint, number))
    }

    /// A probe that is due to be sent again, at `now` and as it was.
    pub fn poll_repeat(&mut self, now: Instant) -> Option<(Endpoint, Branch)> {
        for wait in 0..WAITS {
            while let Some(&timer) = self.repeats[wait].front().filter(|timer| timer.due <= now) {
                self.repeats[wait].pop_front();
                if self.is_out(&timer) {
                    return Some((timer.endpoint, self.repeat(now, timer)));
                }
            }
        }
        None
    }

    fn is_out(&self, timer: &Timer) -> bool {
        self.entry(timer.endpoint)
            .is_some_and(|entry| entry.is_out() && entry.number == timer.number)
    }

    fn repeat(&mut self, now: Instant, timer: Timer) -> Branch {
        let timeout = self.rules.timeout;
        let entry = self.entry_mut(timer.endpoint).expect("its probe is out");
        let tries = (entry.state & TRIES) + 1;
        entry.state = entry.state & !TRIES | tries.min(TRIES);
        // RFC 3261 17.1.2.2: doubled up to T2, and T2 at once after a provisional answer.
        let wait = match entry.state & PROCEEDING {
            0 => usize::from(tries - 1).min(WAITS - 1),
            _ => WAITS - 1,
        };
        let ends = now + timeout.saturating_sub(entry.age(now));
        let due = now + T1 * (1 << wait);
        if due < ends {
            self.repeats[wait].push_back(Timer { due, ..timer });
        } else {
            self.endings.push(Reverse(Timer { due: ends, ..timer }));
        }
        self.key.branch(Purpose::Probe, timer.endpoint, timer.number)
    }

    /// An endpoint whose probe has not been answered in time, and when that was first sent. The
    /// probe is over; whether it counts as [`Liveness::miss`] is for others to say.
    pub fn poll_unanswered(&mut self, now: Instant) -> Option<(Endpoint, Instant)> {
        while let Some(&Reverse(timer)) = self.endings.peek().filter(|first| first.0.due <= now) {
            self.endings.pop();
            if self.is_out(&timer)
                && let Some(entry) = self.entry_mut(timer.endpoint)
            {
                entry.end();
                if entry.state & HAS_ANSWERED == 0 {
                    let more = entry.sent_us.checked_add(NEVER_ANSWERED_ONE);
                    entry.sent_us = more.unwrap_or(entry.sent_us);
                }
                return Some((timer.endpoint, now - entry.age(now)));
            }
        }
        None
    }

    /// Whether an endpoint that has never answered has now left as many probes without an answer
    /// as make one unreachable, whatever else was heard from it: who only ever asks shows nothing
    /// of whether anybody listens there. If so, the count begins anew.
    pub fn never_answers(&mut self, endpoint: Endpoint) -> bool {
        let most = u16::from(self.rules.misses.clamp(1, NEVER_ANSWERED_MAX));
        let Some(entry) = self.entry_mut(endpoint) else { return false };
        let is_so = entry.sent_us / NEVER_ANSWERED_ONE >= most;
        if is_so {
            entry.sent_us &= SENT_US;
        }
        is_so
    }

    /// Counts a miss. Returns whether it is the one that makes the endpoint unreachable.
    pub fn miss(&mut self, endpoint: Endpoint) -> bool {
        let most = self.rules.misses.max(1);
        let entry = self.settle_in(endpoint);
        entry.misses = entry.misses.saturating_add(1);
        let was = entry.state & UNREACHABLE != 0;
        if entry.misses >= most {
            entry.state |= UNREACHABLE;
        }
        !was && entry.state & UNREACHABLE != 0
    }

    /// The endpoint has been heard from by other means than an answer. Returns whether it had been
    /// unreachable.
    pub fn heard(&mut self, endpoint: Endpoint) -> bool {
        let Some(entry) = self.entry_mut(endpoint) else { return false };
        entry.misses = 0;
        let was = entry.state & UNREACHABLE != 0;
        entry.state &= !UNREACHABLE;
        was
    }

    /// The branch of an OPTIONS that keeps a pinhole open. Nobody waits for its answer, but when it
    /// comes it counts.
    pub fn keepalive(&mut self, now: Now, endpoint: Endpoint) -> Branch {
        self.settle_in(endpoint);
        self.key.branch(Purpose::Keepalive, endpoint, second(now.mono))
    }

    /// Whom an answer with this branch comes from, if it is one.
    ///
    /// # Errors
    /// [`Stray::Gone`] or [`Stray::Forged`].
    pub fn asked(&self, branch: &Branch) -> Result<Endpoint, Stray> {
        let entry =
            Some(self.entries.at(branch.index as usize)).filter(|entry| entry.generation != 0);
        let generation = entry.ok_or(Stray::Gone)?.generation;
        let endpoint = Endpoint { index: branch.index, generation };
        if self.key.made(branch, endpoint) { Ok(endpoint) } else { Err(Stray::Forged) }
    }

    /// An answer with this `status`, received at `now`, to the OPTIONS of this branch. One that
    /// only says that somebody on the way could not reach the endpoint is `negative`: it never
    /// counts.
    ///
    /// # Errors
    /// [`Stray`]: it is none.
    pub fn answer(
        &mut self,
        now: Instant,
        branch: &Branch,
        status: u16,
        negative: bool,
    ) -> Result<Answered, Stray> {
        let endpoint = self.asked(branch)?;
        let counts = match status {
            _ if negative => false,
            _ if self.rules.success_only => (200..300).contains(&status),
            _ => true,
        };
        if branch.purpose == Purpose::Keepalive {
            if second(now).wrapping_sub(branch.number) & NUMBER_MAX > KEEPALIVE_ANSWERED_WITHIN_S {
                return Err(Stray::Old);
            }
            return Ok(match counts {
                true => Answered::Alive { round_trip: None, again: self.answered(endpoint) },
                // The probe is there to find out.
                false => Answered::Proceeding,
            });
        }
        let entry = self.entry_mut(endpoint).ok_or(Stray::Gone)?;
        if branch.number != entry.number {
            return Err(Stray::Old);
        }
        if !entry.is_out() {
            // Too late, and still a sign of life; or one more answer to what was sent twice.
            return Ok(match counts && entry.misses > 0 {
                true => Answered::Alive { round_trip: None, again: self.answered(endpoint) },
                false => Answered::Repeated,
            });
        }
        if !counts {
            // Whoever says no is there as well, and no tool that never listens.
            if !negative {
                entry.has_answered();
            }
            if status < 200 {
                entry.state |= PROCEEDING;
                return Ok(Answered::Proceeding);
            }
            entry.end();
            return Ok(Answered::Refused);
        }
        let once = entry.state & TRIES == 1;
        let round_trip = once.then(|| entry.age(now));
        entry.end();
        if let Some(round_trip) = round_trip {
            entry.last_us = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX).max(1);
            entry.smoothed_us = match entry.smoothed_us {
                0 => entry.last_us,
                before => {
                    let sum = u64::from(before) * 7 + u64::from(entry.last_us);
                    u32::try_from(sum / 8).unwrap_or(u32::MAX).max(1)
                }
            };
        }
        Ok(Answered::Alive { round_trip, again: self.answered(endpoint) })
    }

    fn answered(&mut self, endpoint: Endpoint) -> bool {
        if let Some(entry) = self.entry_mut(endpoint) {
            entry.has_answered();
        }
        self.heard(endpoint)
    }

    /// The endpoint has gone; what comes from it now is stray.
    pub fn forget(&mut self, endpoint: Endpoint) {
        if let Some(entry) = self.entry_mut(endpoint) {
            *entry = Entry::default();
        }
    }

    /// Whether a probe may begin out of turn: none is out, and the last one was sent at least `gap`
    /// ago.
    #[must_use]
    pub fn may_begin(&self, now: Instant, endpoint: Endpoint, gap: Duration) -> bool {
        self.entry(endpoint)
            .is_none_or(|entry| !entry.is_out() && (entry.number == 0 || entry.age(now) >= gap))
    }

    /// When [`Liveness::poll_repeat`] or [`Liveness::poll_unanswered`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let repeats = self.repeats.iter().filter_map(|queue| queue.front());
        let ending = self.endings.peek().map(|Reverse(timer)| timer);
        repeats.chain(ending).map(|timer| timer.due).min()
    }

    /// What is known of an endpoint; `None`: it was never asked.
    #[must_use]
    pub fn state(&self, endpoint: Endpoint) -> Option<State> {
        self.entry(endpoint).map(|entry| State {
            misses: entry.misses,
            unreachable: entry.state & UNREACHABLE != 0,
            has_answered: entry.state & HAS_ANSWERED != 0,
        })
    }

    /// Its round trip, once one was measured.
    #[must_use]
    pub fn round_trip(&self, endpoint: Endpoint) -> Option<RoundTrip> {
        let entry = self.entry(endpoint).filter(|entry| entry.last_us > 0)?;
        Some(RoundTrip {
            last: Duration::from_micros(entry.last_us.into()),
            smoothed: Duration::from_micros(entry.smoothed_us.into()),
        })
    }

    /// When its last probe was first sent.
    #[must_use]
    pub fn probed_at(&self, now: Instant, endpoint: Endpoint) -> Option<Instant> {
        let entry = self.entry(endpoint).filter(|entry| entry.number != 0)?;
        Some(now - entry.age(now))
    }

    /// Timers that are held, those of probes included that are over.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.repeats.iter().map(VecDeque::len).sum::<usize>() + self.endings.len()
    }
}

fn second(now: Instant) -> u32 {
    now.as_secs() as u32 & NUMBER_MAX
}

#[cfg(test)]
mod tests;
