//! Keeps pinholes open: the turns of the schedule become keepalives, each by the flow its phone
//! registered over, from the port it registered on. Which bindings get any, and of which form, was
//! decided when they registered ([`nat`](super::nat)); when is the schedule's.
//!
//! A binding whose form is off needs no turn. One that has one nevertheless, because the settings
//! have changed, loses it when the turn comes; where settings switch keepalives on, the table is
//! gone through page by page.

use std::hash::Hasher;
use std::hint::black_box;
use std::time::Duration;

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher24;

use crate::config::{self, KeepaliveForm};
use crate::flow::Flow;
use crate::limits::{BATCH_MAX, ENROLLED_PER_TURN_MAX};
use crate::nat::schedule::{Ceiling, Due, Rhythm, Schedule};
use crate::nat::{Endpoint, Keepalive, stun};
use crate::registrar::{Binding, BindingId, Event, Wanted};
use crate::shard::core::Core;
use crate::shard::keys::Keys;
use crate::shard::pinholes::Kind;
use crate::shard::{Order, ShardId};
use crate::time::{Instant, Now};

/// An empty line, twice as RFC 5626 3.5.1 has it: a datagram as short as that is no message to
/// anybody.
const CRLF: &[u8] = b"\r\n\r\n";

/// What one shard does to keep pinholes open.
#[derive(Debug)]
pub(super) struct Keepalives {
    schedule: Schedule,
    shard: ShardId,
    shards: u8,
    /// Those whose turn it is, the first `done` of which have been seen to.
    turns: ArrayVec<Due, BATCH_MAX>,
    done: usize,
    /// Keepalives were switched on: bindings from this slot on may lack a turn.
    enrolling: Option<u32>,
    /// STUN transactions are told apart by a keyed hash of their number.
    key: [u8; 16],
    transactions: u64,
}

fn endpoint(id: BindingId) -> Endpoint {
    Endpoint { index: id.index, generation: id.generation }
}

fn id(endpoint: Endpoint) -> BindingId {
    BindingId { index: endpoint.index, generation: endpoint.generation }
}

impl Keepalives {
    /// Of nobody yet.
    pub fn new(nat: &config::Nat, keys: &Keys, shard: ShardId, shards: u8) -> Keepalives {
        let seed = keys.spread.map(|word| word ^ 0x6b65_6570_616c_6976);
        Keepalives {
            schedule: Schedule::new(rhythm(&nat.pace, shard, shards), seed),
            shard,
            shards,
            turns: ArrayVec::new(),
            done: 0,
            enrolling: None,
            key: keys.identity,
            transactions: 0,
        }
    }

    /// How many have a turn.
    pub fn len(&self) -> usize {
        self.schedule.len()
    }

    /// Whether the ceiling cannot cover everybody, so that the pace is above it.
    pub fn is_raised(&self) -> bool {
        self.schedule.is_raised()
    }

    /// Something else has gone to a phone: it opens the pinhole as well.
    pub fn heard(&mut self, now: Instant, id: BindingId) {
        self.schedule.heard(now, endpoint(id));
    }

    /// Obeys other settings, from the next turn on. `before` is what held until now.
    fn configure(&mut self, now: Instant, before: &config::Nat, nat: &config::Nat) {
        self.schedule.configure(now, rhythm(&nat.pace, self.shard, self.shards));
        let off = KeepaliveForm::Off;
        if before.message.form() == off && nat.message.form() != off {
            self.enrolling = Some(0);
        }
    }

    /// A transaction id nobody can foresee (RFC 5389 6).
    fn transaction(&mut self) -> [u8; 12] {
        self.transactions += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(b"STUN transaction");
        hasher.write_u8(self.shard.0);
        hasher.write_u64(self.transactions);
        let mut id = [0; 12];
        id[..8].copy_from_slice(&hasher.finish().to_le_bytes());
        id[8..].copy_from_slice(&(self.transactions as u32).to_le_bytes());
        id
    }
}

fn rhythm(pace: &config::KeepalivePace, shard: ShardId, shards: u8) -> Rhythm {
    Rhythm {
        period: Duration::from_secs(pace.period_s.into()),
        ceiling: Some(Ceiling {
            one_time: pace.send_one_time,
            interval: Duration::from_millis(pace.send_interval_ms.into()),
            shard: shard.0,
            shards,
        }),
    }
}

impl Core {
    /// Bindings have come, gone or changed in the call that ends.
    pub(super) fn settle_keepalives(&mut self, now: Instant) {
        let Core { registrar, keepalives, nat, events, .. } = self;
        let schedule = &mut keepalives.schedule;
        for event in events.iter() {
            match *event {
                Event::Registered { binding: name, .. }
                | Event::Retargeted { binding: name, .. }
                | Event::Refreshed { binding: name, keepalive_changed: true, .. } => {
                    let Some(binding) = registrar.location().binding(name) else { continue };
                    match binding.keepalive().form(&nat.message) {
                        KeepaliveForm::Off => schedule.remove(endpoint(name)),
                        _ => schedule.insert(now, endpoint(name)),
                    };
                }
                Event::Left { binding, ref old, .. } if old.keepalive() != Keepalive::None => {
                    schedule.remove(endpoint(binding));
                }
                Event::Refreshed { .. } | Event::Left { .. } | Event::Flapping { .. } => {}
            }
        }
    }

    /// Obeys other settings.
    pub(super) fn configure_keepalives(&mut self, now: Instant, nat: &config::Nat) {
        let before = std::mem::replace(&mut self.nat, nat.clone());
        self.keepalives.configure(now, &before, nat);
    }

    /// Does what time brings, and says when to come again. What is to be sent is asked for by
    /// [`Core::poll_keepalive`].
    pub(super) fn turn_keepalives(&mut self, now: Now) -> Option<Instant> {
        if let Some(from) = self.keepalives.enrolling {
            let Core { registrar, keepalives, nat, .. } = self;
            let (page, next) = registrar.find(now, Wanted::Any, from, ENROLLED_PER_TURN_MAX);
            for (id, binding) in page {
                if binding.keepalive().form(&nat.message) != KeepaliveForm::Off {
                    keepalives.schedule.insert(now.mono, endpoint(id));
                }
            }
            keepalives.enrolling = next;
            if next.is_some() {
                return Some(now.mono);
            }
        }
        self.keepalives.schedule.next_deadline(now.mono)
    }

    /// The next keepalive. What it says, if it is no ping of a connection, is written to the start
    /// of `out`. The pace bounds how many there are at one time.
    #[inline]
    pub(super) fn poll_keepalive(&mut self, now: Now, out: &mut [u8]) -> Option<Order> {
        loop {
            let keepalives = &mut self.keepalives;
            if keepalives.done == keepalives.turns.len() {
                keepalives.done = 0;
                keepalives.schedule.take(now.mono, &mut keepalives.turns);
                if keepalives.turns.is_empty() {
                    return None;
                }
                self.read_turns_ahead();
            }
            let due = self.keepalives.turns[self.keepalives.done];
            self.keepalives.done += 1;
            if let Some(order) = self.keep_open(now, &due, out) {
                return Some(order);
            }
        }
    }

    /// Reads what the turns at hand will need, so that their cache misses overlap.
    fn read_turns_ahead(&self) {
        let location = self.registrar.location();
        let mut sum = 0;
        for due in &self.keepalives.turns {
            if let Some(binding) = location.binding(id(due.endpoint)) {
                let refreshed_at = binding.refreshed_at().as_nanos() as u16;
                sum ^= binding.source().port() ^ u16::from(binding.is_proven()) ^ refreshed_at;
            }
        }
        black_box(sum);
    }

    /// Takes a turn: `None` where nothing is sent.
    fn keep_open(&mut self, now: Now, due: &Due, out: &mut [u8]) -> Option<Order> {
        let name = id(due.endpoint);
        let Core { registrar, keepalives, nat, counters, .. } = self;
        let schedule = &mut keepalives.schedule;
        let Some(binding) = registrar.location().binding(name) else {
            schedule.remove(due.endpoint);
            return None;
        };
        let (form, flow) = (binding.keepalive().form(&nat.message), binding.flow());
        let Some(kind) = Kind::of(form, &flow) else {
            schedule.remove(due.endpoint);
            return None;
        };
        let pinholes = counters.keepalives.of_mut(kind);
        pinholes.due += 1;
        // The answer to a REGISTER was a packet; the second it was in has begun before it.
        if schedule.pass_over(now.mono, due, binding.refreshed_at()) {
            pinholes.skipped += 1;
            return None;
        }
        let Some(order) = self.write_kind(now, name, kind, out) else {
            self.counters.keepalives.of_mut(kind).unsendable += 1;
            self.keepalives.schedule.heard(now.mono, due.endpoint);
            return None;
        };
        let sent = self.keepalives.schedule.sent(now.mono, due)?;
        self.counters.keepalives.of_mut(kind).on_sent(sent.late, sent.missed);
        self.counters.keepalive_intervals_above = self.keepalives.schedule.intervals_above();
        Some(order)
    }

    fn write_kind(
        &mut self,
        now: Now,
        name: BindingId,
        kind: Kind,
        out: &mut [u8],
    ) -> Option<Order> {
        let Core { registrar, keepalives, nat, .. } = self;
        let binding = registrar.location().binding(name)?;
        let flow = binding.flow();
        let len = match kind {
            Kind::Options => return self.write_keepalive(now, name, out),
            Kind::Connection => return flow.connection().map(Order::Ping),
            Kind::Raw => put(out, nat.message.payload())?,
            Kind::Crlf => put(out, CRLF)?,
            Kind::Stun => put(out, &stun::binding_indication(keepalives.transaction()))?,
        };
        let to = binding.source();
        if !can_be_sent_to(binding, &flow) {
            return None;
        }
        self.probing.note_sent(to, name);
        Some(Order::Send { to, flow, len })
    }
}

/// Nothing is sent to an address that has not proved itself, whatever else has gone wrong.
fn can_be_sent_to(binding: &Binding, flow: &Flow) -> bool {
    let source = binding.source();
    let is_datagram = matches!(flow, Flow::Datagram { .. });
    is_datagram && binding.is_proven() && source.port() != 0 && !source.ip().is_unspecified()
}

fn put(out: &mut [u8], payload: &[u8]) -> Option<usize> {
    out.get_mut(..payload.len())?.copy_from_slice(payload);
    Some(payload.len())
}
