//! Who is due for a message now: everybody once in each cycle, smeared over the whole of it. One
//! schedule serves the keepalives of phones behind NAT, another the probes that ask whether a
//! phone is still there. It says who and when; what is sent, and by which way, is the caller's.
//!
//! # What is promised
//! Nobody goes longer than one period without a packet. So a cycle is a little shorter than the
//! period: by what a slot is long, since turns move within theirs, and by a guard for the moments
//! in which the host is late. Whoever has just been heard from can be passed over once, if a turn
//! a cycle after that packet has room.
//!
//! # How a loop uses it
//! [`Schedule::take`] fills a batch with those whose turn it is, never more than the pace allows.
//! For each the caller either sends and says so ([`Schedule::sent`]), or passes it over
//! ([`Schedule::pass_over`]), or finds that it is gone. It takes again until the batch stays
//! empty, and comes back at [`Schedule::next_deadline`]. A cycle costs no entry more than that:
//! a refresh moves nothing, and who has had a turn stays in place for the next.
//!
//! Another period, or a ceiling so low that phones wait for it, moves everybody, a bounded number
//! with each batch; until then, the others keep the turns they have.

use std::hash::Hasher;
use std::hint::black_box;
use std::time::Duration;

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher13;

use crate::limits::{BATCH_MAX, SCHEDULE_MOVES_MAX};
use crate::nat::pace::{Demand, Pace};
use crate::nat::probe::Endpoint;
use crate::nat::ring::{Place, Ring};
use crate::table::Sparse;
use crate::time::Instant;

pub use crate::nat::pace::Ceiling;

/// Turns of this long are served together, so that a million phones are no million wake-ups.
const GRAIN_NS: u64 = 1_000_000;
/// The guard is the period divided by this, and no longer than [`GUARD_NS_MAX`].
const GUARD_SHARE: u64 = 64;
const GUARD_NS_MAX: u64 = 500_000_000;
/// It is no longer than this part of the period where a low ceiling makes phones wait.
const WAIT_SHARE_MAX: u64 = 5;
/// Who moves looks for room in one of so many parts of the ring, before the latest turn there is.
const RELIEF_SHARE: usize = 64;
/// Who has to be served within this does not move to another ring before.
const SOON_NS: u64 = 2_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// How often everybody has a turn, and how fast that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The longest anybody goes without a packet; one second at least.
    pub period: Duration,
    /// The most that may be sent, as long as it covers everybody.
    pub ceiling: Option<Ceiling>,
}

/// Somebody whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Who.
    pub endpoint: Endpoint,
    /// When the turn should have been.
    pub intended: Instant,
}

/// How a message that went out stood to its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// How much later than intended it went.
    pub late: Duration,
    /// There was no packet for longer than a period before it.
    pub missed: bool,
}

/// One entry, kept small: a schedule costs 16 bytes for each slot of the caller's table, and four
/// in its ring.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    generation: u32,
    /// When the last packet went out, milliseconds of the clock, wrapping.
    last_ms: u32,
    position: u32,
    slot: u16,
    home: Home,
}

/// The ring an entry is in: the two take turns at being the one that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Home {
    #[default]
    None,
    Even,
    Odd,
}

const _: () = assert!(size_of::<Node>() == 16);

/// Nodes of a chunk, in bits: 64 KiB.
const NODE_BITS: u32 = if cfg!(test) { 3 } else { 12 };

/// A ring of an earlier period, while everybody moves out of it.
#[derive(Debug)]
struct Former {
    ring: Ring,
    /// The table has been gone through up to here.
    moved: u32,
    /// The longest gap that is none of anybody's fault until everybody has had the first turn.
    gap_ms_max: u32,
    /// How late its turns may be.
    guard_ns: u64,
}

/// The schedule.
#[derive(Debug)]
pub struct Schedule {
    rhythm: Rhythm,
    /// Turns follow from a hash with this key.
    seed: [u64; 2],
    nodes: Sparse<Node, NODE_BITS>,
    ring: Ring,
    /// What those in `ring` have as their home.
    home: Home,
    former: Option<Former>,
    /// A rhythm that was set while an earlier one was still being moved to.
    next: Option<Rhythm>,
    pace: Pace,
    /// Nothing is served before this: the grain, or the pace.
    resume: Instant,
    /// The gap that counts as missed, and until when a longer one is let pass after a change.
    gap_ms_max: u32,
    lenient: Option<(Instant, u32)>,
}

fn millis(at: Instant) -> u32 {
    (at.as_nanos() / NS_PER_MS) as u32
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn period_ns(rhythm: &Rhythm) -> u64 {
    nanos(rhythm.period).max(1_000_000_000)
}

fn guard_ns(period_ns: u64) -> u64 {
    (period_ns / GUARD_SHARE).min(GUARD_NS_MAX)
}

/// The guard where a ceiling is kept: whoever finds an interval full can wait for the next that is
/// open for this shard, which uses up half of it at most.
fn guard_of(rhythm: &Rhythm) -> u64 {
    let period = period_ns(rhythm);
    let wait = rhythm.ceiling.map_or(0, |ceiling| ceiling.wait_ns());
    guard_ns(period).max(wait.saturating_mul(2).min(period / WAIT_SHARE_MAX))
}

fn gap_ms_max(rhythm: &Rhythm) -> u32 {
    u32::try_from(period_ns(rhythm) / NS_PER_MS).unwrap_or(u32::MAX)
}

fn ring(rhythm: &Rhythm) -> Ring {
    Ring::new(period_ns(rhythm) - guard_of(rhythm))
}

/// The next multiple of the grain, `at` itself included.
fn on_grain(at: Instant) -> Instant {
    Instant::from_nanos(at.as_nanos().div_ceil(GRAIN_NS).saturating_mul(GRAIN_NS))
}

fn after_grain(now: Instant) -> Instant {
    Instant::from_nanos((now.as_nanos() / GRAIN_NS + 1) * GRAIN_NS)
}

impl Schedule {
    /// A schedule with nobody in it. Turns follow from a hash keyed by `seed`.
    #[must_use]
    pub fn new(rhythm: Rhythm, seed: [u64; 2]) -> Schedule {
        Schedule {
            rhythm,
            seed,
            nodes: Sparse::default(),
            ring: ring(&rhythm),
            home: Home::Even,
            former: None,
            next: None,
            pace: Pace::new(rhythm.ceiling),
            resume: Instant::ZERO,
            gap_ms_max: gap_ms_max(&rhythm),
            lenient: None,
        }
    }

    /// Another rhythm holds. Everybody moves, a bounded number with each batch; the gap up to the
    /// first turn after it is no longer than the longer of the two periods.
    pub fn configure(&mut self, now: Instant, rhythm: Rhythm) {
        self.pace.configure(rhythm.ceiling);
        if self.former.is_some() {
            self.next = Some(rhythm);
            return;
        }
        let before = std::mem::replace(&mut self.rhythm, rhythm);
        if before.period == rhythm.period && guard_of(&before) == guard_of(&rhythm) {
            return;
        }
        let longer = gap_ms_max(&before).max(gap_ms_max(&rhythm));
        let former = std::mem::replace(&mut self.ring, ring(&rhythm));
        self.gap_ms_max = gap_ms_max(&rhythm);
        self.resume = now;
        if former.population() == 0 {
            return;
        }
        self.home = if self.home == Home::Even { Home::Odd } else { Home::Even };
        let guard_ns = guard_of(&before);
        self.former = Some(Former { ring: former, moved: 0, gap_ms_max: longer, guard_ns });
        self.lenient = Some((now + before.period + rhythm.period, longer));
    }

    /// The rhythm that holds, or will once everybody has moved.
    #[must_use]
    pub fn rhythm(&self) -> Rhythm {
        self.next.unwrap_or(self.rhythm)
    }

    /// How many have a turn.
    #[must_use]
    pub fn len(&self) -> usize {
        let former = self.former.as_ref().map_or(0, |former| former.ring.population());
        self.ring.population() as usize + former as usize
    }

    /// Whether nobody has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this one has a turn.
    #[must_use]
    pub fn contains(&self, endpoint: Endpoint) -> bool {
        self.node(endpoint).is_some()
    }

    /// Whether the ceiling cannot cover everybody, so that the pace is above it.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.pace.is_raised()
    }

    /// Intervals of the ceiling in which more was sent than it says, so that nobody be missed.
    #[must_use]
    pub fn intervals_above(&self) -> u64 {
        self.pace.intervals_above()
    }

    fn node(&self, endpoint: Endpoint) -> Option<&Node> {
        let node = self.nodes.at(endpoint.index as usize);
        (node.home != Home::None && node.generation == endpoint.generation).then_some(node)
    }

    fn spread(&self, endpoint: Endpoint) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        hasher.write_u64(u64::from(endpoint.index) << 32 | u64::from(endpoint.generation));
        hasher.finish()
    }

    /// Somebody has a turn from now on, within a cycle for the first time; a packet has just gone
    /// out. Another tenant of the slot is forgotten. Who has one already keeps it; returns whether
    /// it had none.
    ///
    /// # Panics
    /// If there are more than 2^31 slots.
    pub fn insert(&mut self, now: Instant, endpoint: Endpoint) -> bool {
        assert!(endpoint.index < 1 << 31, "slot numbers fit 31 bits");
        let index = endpoint.index as usize;
        if self.contains(endpoint) {
            return false;
        }
        self.nodes.put(index);
        self.unlink(endpoint.index);
        self.ring.advance(now);
        let slot = self.ring.choose(0, self.last_slot(), self.spread(endpoint));
        let place = self.ring.insert(slot, endpoint.index);
        self.nodes[index] = Node {
            generation: endpoint.generation,
            last_ms: millis(now),
            position: place.position,
            slot: place.slot,
            home: self.home,
        };
        true
    }

    /// Somebody has no turn any more. Returns whether it had one.
    pub fn remove(&mut self, endpoint: Endpoint) -> bool {
        let known = self.contains(endpoint);
        if known {
            self.unlink(endpoint.index);
        }
        known
    }

    /// A packet has gone out to somebody, or come in, by another way than its turn.
    pub fn heard(&mut self, now: Instant, endpoint: Endpoint) {
        if self.contains(endpoint) {
            self.nodes[endpoint.index as usize].last_ms = millis(now);
        }
    }

    fn last_slot(&self) -> u16 {
        (self.ring.slots() - 1) as u16
    }

    /// Takes an entry out of the ring it is in.
    fn unlink(&mut self, index: u32) {
        let Schedule { nodes, ring, home: current, former, .. } = self;
        let Node { slot, position, home, .. } = nodes[index as usize];
        let ring = match (home, former) {
            (Home::None, _) => return,
            (home, _) if home == *current => ring,
            (_, Some(former)) => &mut former.ring,
            (_, None) => unreachable!("a ring stays as long as somebody is in it"),
        };
        ring.remove(Place { slot, position }, |moved, position| {
            nodes[moved as usize].position = position;
        });
        nodes[index as usize].home = Home::None;
    }

    fn link(&mut self, index: u32, slot: u16) {
        let place = self.ring.insert(slot, index);
        let node = &mut self.nodes[index as usize];
        (node.slot, node.position, node.home) = (place.slot, place.position, self.home);
    }

    /// Fills the batch with those whose turn it is at `now`, as far as the pace allows. Who was
    /// taken has had the turn, whatever becomes of it, and is in the next cycle again unless it
    /// is removed. An empty batch: nothing before [`Schedule::next_deadline`].
    pub fn take(&mut self, now: Instant, batch: &mut ArrayVec<Due, BATCH_MAX>) {
        batch.clear();
        if now < self.resume || self.is_empty() {
            return;
        }
        self.move_over(now);
        self.read_ahead();
        let mut allowed = None;
        while !batch.is_full() {
            let Some((index, intended, is_former)) = self.head(now) else {
                self.resume = after_grain(now);
                return;
            };
            let allowed = allowed.get_or_insert_with(|| {
                let demand = self.demand(now, intended);
                self.pace.allowance(now, &demand)
            });
            if *allowed == 0 {
                // Those that were taken cost nothing until they are sent.
                if batch.is_empty() {
                    let demand = self.demand(now, intended);
                    self.resume = after_grain(now).max(self.pace.ready_at(now, &demand));
                }
                return;
            }
            *allowed -= 1;
            match &mut self.former {
                Some(former) if is_former => former.ring.serve(),
                _ => self.ring.serve(),
            }
            let endpoint = Endpoint { index, generation: self.nodes[index as usize].generation };
            batch.push(Due { endpoint, intended });
        }
    }

    /// Reads the entries of those that are next, so that their cache misses overlap.
    fn read_ahead(&self) {
        let ahead = self.ring.ahead();
        let ahead = &ahead[..ahead.len().min(BATCH_MAX)];
        let read = |sum: u32, &index: &u32| sum ^ self.nodes[index as usize].generation;
        black_box(ahead.iter().fold(0, read));
    }

    /// Who is next by `now`, since when, and whether in the ring of an earlier period.
    fn head(&mut self, now: Instant) -> Option<(u32, Instant, bool)> {
        let due = |ring: &mut Ring| {
            ring.advance(now);
            ring.head().filter(|&(_, at)| at <= now)
        };
        let former = self.former.as_mut().and_then(|former| due(&mut former.ring));
        let ring = due(&mut self.ring);
        match (former, ring) {
            (Some((index, at)), None) => Some((index, at, true)),
            (Some((index, at)), Some((_, other))) if at <= other => Some((index, at, true)),
            (_, Some((index, at))) => Some((index, at, false)),
            (None, None) => None,
        }
    }

    /// What the pace has to cover where the next turn should have been at `intended`.
    fn demand(&self, now: Instant, intended: Instant) -> Demand {
        let former = self.former.as_ref().map(|former| (former.ring.cycle_ns(), former.guard_ns));
        let (cycle_ns, guard_ns) = former.unwrap_or((u64::MAX, u64::MAX));
        Demand {
            population: self.len() as u32,
            cycle_ns: self.ring.cycle_ns().min(cycle_ns),
            late_ns: nanos(now.saturating_since(intended)),
            guard_ns: guard_of(&self.rhythm).min(guard_ns),
        }
    }

    /// The message of somebody's turn goes out now. `None` if it has left in the meantime.
    pub fn sent(&mut self, now: Instant, due: &Due) -> Option<Sent> {
        self.node(due.endpoint)?;
        self.pace.spend();
        let limit = self.gap_limit(now);
        let node = &mut self.nodes[due.endpoint.index as usize];
        let now_ms = millis(now);
        let missed = now_ms.wrapping_sub(node.last_ms) > limit;
        node.last_ms = now_ms;
        let (slot, home) = (node.slot, node.home);
        if home != self.home {
            let slot = self.ring.choose(0, self.last_slot(), self.spread(due.endpoint));
            self.unlink(due.endpoint.index);
            self.link(due.endpoint.index, slot);
        } else if self.ring.is_crowded(slot) {
            self.relieve(due.endpoint, slot);
        }
        Some(Sent { late: now.saturating_since(due.intended), missed })
    }

    /// The longest gap that is nobody's fault, milliseconds.
    fn gap_limit(&self, now: Instant) -> u32 {
        match self.lenient {
            Some((until, limit)) if now < until || self.former.is_some() => limit,
            _ => self.gap_ms_max,
        }
    }

    /// Moves somebody out of a crowded slot, to one whose turn comes before: a shorter gap is
    /// never a fault.
    fn relieve(&mut self, endpoint: Endpoint, slot: u16) {
        let slots = self.ring.slots();
        let first = (usize::from(slot) + slots - slots / RELIEF_SHARE) % slots;
        let other = self.ring.choose(first as u16, slot, self.spread(endpoint));
        if other != slot && !self.ring.is_crowded(other) {
            self.unlink(endpoint.index);
            self.link(endpoint.index, other);
        }
    }

    /// Passes over somebody whose turn it is because a packet went out or came in not long ago, at
    /// `heard` or as [`Schedule::heard`] told. Refused, and nothing changed, where that would save
    /// less than half a packet, or where the turn a cycle after that packet has no room: then it
    /// is to be sent.
    pub fn pass_over(&mut self, now: Instant, due: &Due, heard: Instant) -> bool {
        let Some(&node) = self.node(due.endpoint) else { return false };
        let age_ms = u64::from(millis(now).wrapping_sub(node.last_ms));
        let last = Instant::from_nanos(now.as_nanos().saturating_sub(age_ms * NS_PER_MS));
        let last = last.max(heard).min(now);
        let age_ns = nanos(now.saturating_since(last));
        if age_ns >= self.ring.cycle_ns() / 2 || node.home != self.home {
            return false;
        }
        let slot = self.ring.slot_at(last);
        if slot != node.slot {
            // Or a little before.
            let slots = self.ring.slots();
            let first = (usize::from(slot) + slots - slots / RELIEF_SHARE) % slots;
            let slot = self.ring.choose(first as u16, slot, self.spread(due.endpoint));
            let has_room = self.ring.has_room(node.slot, slot, self.pace.is_roomy());
            if slot == node.slot || !has_room {
                return false;
            }
            self.unlink(due.endpoint.index);
            self.link(due.endpoint.index, slot);
        }
        self.nodes[due.endpoint.index as usize].last_ms = millis(last);
        true
    }

    /// Moves the next few out of the ring of an earlier period.
    fn move_over(&mut self, now: Instant) {
        for _ in 0..SCHEDULE_MOVES_MAX {
            let Some(former) = &mut self.former else { return };
            if former.ring.population() == 0 {
                self.former = None;
                if let Some(rhythm) = self.next.take() {
                    self.configure(now, rhythm);
                }
                return;
            }
            let index = former.moved;
            former.moved =
                if index as usize + 1 < self.nodes.numbers_end() { index + 1 } else { 0 };
            let gap_max_ns = u64::from(former.gap_ms_max) * NS_PER_MS;
            let Node { generation, last_ms, home, .. } = self.nodes[index as usize];
            if home == Home::None || home == self.home {
                continue;
            }
            // The turn comes before the gap is longer than either period allowed.
            let gap_ms = millis(now).wrapping_sub(last_ms);
            let left_ns = gap_max_ns.saturating_sub(u64::from(gap_ms) * NS_PER_MS);
            if left_ns < SOON_NS {
                // Let it have its turn first; all the more if that is late.
                continue;
            }
            let guard_ns = guard_ns(gap_max_ns).max(guard_of(&self.rhythm));
            let spare_ns = guard_ns + self.ring.slot_ns();
            let slots = self.ring.slots() as u64;
            let in_time = left_ns.saturating_sub(spare_ns) / self.ring.slot_ns();
            let last = in_time.clamp(1, slots - 1);
            // Who has little time left takes the end of it, or the beginning would be crowded.
            let first = if last < slots / 2 { (last * 3 / 4).max(1) } else { 1 };
            self.ring.advance(now);
            let here = u64::from(self.ring.slot_at(now));
            let (first, last) = ((here + first) % slots, (here + last) % slots);
            let hash = self.spread(Endpoint { index, generation });
            let slot = self.ring.choose(first as u16, last as u16, hash);
            self.unlink(index);
            self.link(index, slot);
        }
    }

    /// When [`Schedule::take`] next has somebody; `None` where nobody has a turn. Those who are due
    /// at `now` are taken to have been served.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let former = self.former.as_ref().map(|_| self.resume);
        let next = [former, self.ring.next_turn()].into_iter().flatten().min()?;
        Some(on_grain(next.max(self.resume)).max(after_grain(now)))
    }

    /// Checks everything against everything.
    ///
    /// # Panics
    /// If something is broken, which is a bug of ours.
    pub fn check_invariants(&self) {
        self.ring.check_invariants();
        let mut found = 0;
        for (index, node) in self.nodes.iter() {
            let ring = match (node.home, &self.former) {
                (Home::None, _) => continue,
                (home, _) if home == self.home => &self.ring,
                (_, former) => &former.as_ref().expect("the former ring").ring,
            };
            let place = Place { slot: node.slot, position: node.position };
            assert_eq!(ring.entry(place), Some(index as u32), "place of {index}");
            found += 1;
        }
        assert_eq!(found, self.len(), "everybody is in one place");
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
