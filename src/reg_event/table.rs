//! The subscriptions of one shard: SUBSCRIBEs, events of the registrar, answers and the time come
//! in; NOTIFYs leave. The only way in and out.
//!
//! Each subscription has one deadline in a wheel, the earliest thing that may be due; when it
//! fires, the subscription is looked at and the next one armed. What happens in between puts it
//! into a queue, so that all events of one batch stand in one NOTIFY.

use std::net::SocketAddr;
use std::time::Duration;

use crate::flow::{ConnectionId, Flow};
use crate::limits::{
    LOCAL_BYTES_MAX, NOTIFIES_KEPT_BYTES_MAX, NOTIFY_ROOM_BYTES_MIN, RESPONSE_BYTES_MAX,
    SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_AOR_MAX,
};
use crate::reg_event::answer::Answer;
use crate::reg_event::changes::{Changes, ContactEvent};
use crate::reg_event::document::{self, Subject, Wanted};
use crate::reg_event::identity::{Branch, LocalTag};
use crate::reg_event::notify::{self, EndReason};
use crate::reg_event::refusal::Refusal;
use crate::reg_event::request::Subscribe;
use crate::reg_event::settings::{Counters, Settings};
use crate::reg_event::store::Store;
use crate::reg_event::subscription::{Outcome, Subscription};
use crate::reg_event::transaction::{Step, Transaction};
use crate::registrar::wheel::{self, Wheel};
use crate::registrar::{AorId, Binding, Event, Registrar};
use crate::sip::header::subscription_state::SubscriptionState;
use crate::time::{Instant, Now};

/// A SUBSCRIBE was accepted: its 200 says so, with Expires and Contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Goes into Expires, seconds.
    pub expires_s: u32,
    /// Our tag of the dialog: what To has in the 200, where the request had none.
    pub local_tag: LocalTag,
    /// Seen before; nothing was changed.
    pub retransmission: bool,
}

/// A NOTIFY to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Where it goes.
    pub to: SocketAddr,
    /// By which flow.
    pub flow: Flow,
    /// How many bytes at the start of the buffer it has.
    pub len: usize,
}

/// The subscriptions of one shard.
#[derive(Debug)]
pub struct SubscriptionTable {
    shard: u8,
    settings: Settings,
    store: Store,
    wheel: Wheel,
    /// Bytes of NOTIFYs that may have to be sent again.
    kept_bytes: usize,
    counters: Counters,
}

/// Timers are this exact: retransmissions begin with half a second.
const TICK: Duration = Duration::from_millis(100);
/// Subscriptions looked at by one call; what is left is due at once.
const LOOKS_PER_POLL_MAX: usize = 256;
/// How long a NOTIFY is put off that would have to be kept where no more can be.
const PUT_OFF: Duration = Duration::from_secs(1);
/// Tables up to this size are checked whole after every change in debug builds.
const CHECKED_WHOLE_MAX: usize = 64;

const TICK_NANOS: u64 = TICK.as_nanos() as u64;

fn tick_down(at: Instant) -> u32 {
    u32::try_from(at.as_nanos() / TICK_NANOS).unwrap_or(u32::MAX)
}

fn tick_up(at: Instant) -> u32 {
    u32::try_from(at.as_nanos().div_ceil(TICK_NANOS)).unwrap_or(u32::MAX)
}

impl SubscriptionTable {
    /// No subscriptions. `shard` stands in the branches of NOTIFYs, so that whoever receives an
    /// answer knows whom to give it to.
    #[must_use]
    pub fn new(settings: Settings, shard: u8) -> SubscriptionTable {
        SubscriptionTable {
            shard,
            settings,
            store: Store::default(),
            wheel: Wheel::default(),
            kept_bytes: 0,
            counters: Counters::default(),
        }
    }

    /// Obeys other settings from the next request on.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Subscriptions there are, those included whose last NOTIFY is on its way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nobody subscribes to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// Subscriptions to the registrations of one address-of-record.
    #[must_use]
    pub fn count(&self, aor: AorId) -> usize {
        self.store.watched(aor).map_or(0, |watched| watched.subscriptions.len())
    }

    /// Whether a connection carries a subscription.
    #[must_use]
    pub fn uses(&self, connection: ConnectionId) -> bool {
        self.store.on_connection(connection).is_some()
    }

    /// The connections that subscriptions have left since the last call.
    pub fn take_left(&mut self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.store.take_left()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a SUBSCRIBE (RFC 6665 4.2.1). Its NOTIFY follows from
    /// [`SubscriptionTable::poll_notify`]; the 200 should be sent first.
    ///
    /// # Errors
    /// The reason it is refused for; then it has changed nothing.
    pub fn subscribe(&mut self, now: Now, subscribe: &Subscribe<'_>) -> Result<Accepted, Refusal> {
        let result = match subscribe.request.to_tag {
            _ if !subscribe.permitted => Err(Refusal::Forbidden),
            Some(tag) => self.refresh(now.mono, subscribe, tag),
            None => self.begin(now.mono, subscribe),
        };
        match result {
            Ok(Accepted { retransmission: true, .. }) => self.counters.retransmissions += 1,
            Ok(_) if subscribe.request.to_tag.is_some() => self.counters.refreshed += 1,
            Ok(_) => self.counters.begun += 1,
            Err(_) => self.counters.refused += 1,
        }
        self.debug_check();
        result
    }

    /// Whether this very SUBSCRIBE was accepted before, and would be answered the same again.
    #[must_use]
    pub fn is_repeated(&self, subscribe: &Subscribe<'_>) -> bool {
        let tag = match subscribe.request.to_tag {
            Some(tag) => LocalTag::parse(tag),
            None => Some(subscribe.local_tag),
        };
        let known = tag.and_then(|tag| self.store.find(tag)).and_then(|i| self.store.tenant(i));
        known.is_some_and(|known| {
            known.is_dialog_of(subscribe) && known.remote_cseq == subscribe.request.cseq
        })
    }

    fn begin(&mut self, now: Instant, subscribe: &Subscribe<'_>) -> Result<Accepted, Refusal> {
        let request = &subscribe.request;
        let same_request = |other: &Subscription| {
            other.is_dialog_of(subscribe) && other.remote_cseq == request.cseq
        };
        if let Some(known) =
            self.store.find(subscribe.local_tag).and_then(|index| self.store.tenant(index))
        {
            return match same_request(known) {
                true => Ok(accepted(known, true)),
                false => Err(Refusal::Merged),
            };
        }
        let watched = self.store.watched(subscribe.aor);
        let others = watched.map_or(&[][..], |watched| &watched.subscriptions);
        if others.iter().filter_map(|&index| self.store.tenant(index)).any(same_request) {
            return Err(Refusal::Merged);
        }
        let granted_s = self.grant(request.expires_s)?;
        let full = others.len() >= self.settings.per_aor_max.min(SUBSCRIPTIONS_PER_AOR_MAX)
            || self.len() >= self.settings.subscriptions_max.min(SUBSCRIPTIONS_MAX);
        if full {
            let retry_after_s = self.settings.retry_after_s;
            return Err(Refusal::TooManySubscriptions { retry_after_s });
        }
        if subscribe.local.len() > LOCAL_BYTES_MAX {
            return Err(Refusal::TooLong("Request-URI"));
        }
        let expires_at = now + Duration::from_secs(granted_s.into());
        let heard = watched.map_or(0, |watched| watched.changes.last());
        let subscription = Subscription::new(subscribe, granted_s, expires_at, heard);
        let accepted = accepted(&subscription, false);
        self.store.insert(subscription, subscribe.aor_text);
        Ok(accepted)
    }

    fn refresh(
        &mut self,
        now: Instant,
        subscribe: &Subscribe<'_>,
        tag: &[u8],
    ) -> Result<Accepted, Refusal> {
        let request = &subscribe.request;
        let index = LocalTag::parse(tag).and_then(|tag| self.store.find(tag));
        let index = index.ok_or(Refusal::UnknownDialog)?;
        let known = self.store.tenant(index).ok_or(Refusal::UnknownDialog)?;
        // Another `id` would be another subscription (RFC 6665 8.2.1), and a dialog has one here.
        let ours = known.is_dialog_of(subscribe)
            && known.aor == subscribe.aor
            && known.dialog.event_id() == request.event_id;
        if !ours {
            return Err(Refusal::UnknownDialog);
        }
        if request.cseq < known.remote_cseq {
            return Err(Refusal::StaleCSeq);
        }
        if request.cseq == known.remote_cseq {
            return Ok(accepted(known, true));
        }
        if known.ending.is_some() {
            return Err(Refusal::UnknownDialog);
        }
        let granted_s = self.grant(request.expires_s)?;
        if subscribe.local.len() > LOCAL_BYTES_MAX {
            return Err(Refusal::TooLong("Request-URI"));
        }
        self.move_to(index, subscribe.source, subscribe.flow);
        let known = self.store.tenant_mut(index).ok_or(Refusal::UnknownDialog)?;
        known.refresh(subscribe, granted_s, now + Duration::from_secs(granted_s.into()));
        let accepted = accepted(known, false);
        self.store.enqueue(index);
        Ok(accepted)
    }

    /// Seconds granted; 0 ends the subscription.
    fn grant(&self, asked_s: Option<u32>) -> Result<u32, Refusal> {
        let Settings { expires_min_s, expires_max_s, expires_default_s, .. } = self.settings;
        match asked_s {
            Some(asked_s) if asked_s > 0 && asked_s < expires_min_s => {
                Err(Refusal::IntervalTooBrief { min_expires_s: expires_min_s })
            }
            asked_s => Ok(asked_s.unwrap_or(expires_default_s).min(expires_max_s)),
        }
    }

    /// The subscriber is found elsewhere from now on. What was on its way to where it was is given
    /// up: what comes next says everything.
    fn move_to(&mut self, index: u32, source: SocketAddr, flow: Flow) {
        let Some(known) = self.store.tenant_mut(index) else { return };
        if (known.source, known.flow) != (source, flow) {
            self.kept_bytes -= known.transaction.take().map_or(0, |out| out.bytes.len());
            self.store.move_to(index, source, flow);
        }
    }

    /// Hears what happened to a binding. What nobody watches costs one look into an empty table,
    /// or one probe.
    #[inline]
    pub fn on_event(&mut self, now: Now, event: &Event) {
        if !self.store.is_empty() {
            self.note(now.mono, event);
        }
    }

    fn note(&mut self, now: Instant, event: &Event) {
        let age_s = |old: &Binding| now.saturating_since(old.registered_at()).as_secs();
        let store = &mut self.store;
        match event {
            Event::Registered { aor, binding } => {
                store.wake(*aor, |changes| changes.registered(*binding), |_| ());
            }
            Event::Refreshed { aor, binding, .. } => {
                store.wake(*aor, |changes| changes.refreshed(*binding), |_| ());
            }
            Event::Retargeted { aor, binding, old } => {
                let change = |changes: &mut Changes| {
                    changes.gone(*binding, old, ContactEvent::Unregistered, age_s(old));
                    changes.registered(*binding);
                };
                store.wake(*aor, change, |_| ());
            }
            // Each of its kicks was told already.
            Event::Flapping { .. } => {}
            Event::Left { aor, binding, old, reason } => {
                let event = ContactEvent::from(*reason);
                let change = |changes: &mut Changes| {
                    changes.gone(*binding, old, event, age_s(old));
                };
                let rejected = event == ContactEvent::Rejected;
                store.wake(*aor, change, |subscription| {
                    subscription.urgent |= rejected && subscription.is_own(old);
                });
            }
        }
        self.debug_check();
    }

    /// Ends every subscription to an address-of-record, with a last NOTIFY: its account was
    /// removed ([`EndReason::NoResource`]), may be watched no longer ([`EndReason::Rejected`]), is
    /// served elsewhere ([`EndReason::Deactivated`]). Returns how many.
    pub fn end(&mut self, aor: AorId, reason: EndReason) -> usize {
        let mut count = 0;
        self.store.wake(
            aor,
            |_| (),
            |subscription| {
                count += usize::from(subscription.ending.is_none());
                subscription.ending.get_or_insert(reason);
            },
        );
        self.debug_check();
        count
    }

    /// A connection is closed: the subscriptions that came by it can be told nothing any more.
    /// Returns how many there were.
    pub fn flow_closed(&mut self, connection: ConnectionId) -> usize {
        let mut count = 0;
        while let Some(index) = self.store.on_connection(connection) {
            self.remove(index);
            count += 1;
        }
        self.counters.flow_closed += count as u64;
        self.debug_check();
        count
    }

    /// Takes an answer to a NOTIFY of this shard.
    pub fn on_response(&mut self, now: Now, answer: &Answer) {
        let Branch { shard, tag, cseq } = answer.branch;
        let index = self.store.find(tag).filter(|_| shard == self.shard);
        let waits = |subscription: &Subscription| {
            subscription.transaction.as_ref().is_some_and(|out| out.cseq == cseq)
        };
        let found = index.and_then(|index| Some((index, self.store.tenant_mut(index)?)));
        let Some((index, subscription)) = found.filter(|(_, known)| waits(known)) else {
            self.counters.stray_answers += 1;
            return;
        };
        let aor = subscription.aor;
        let kept = subscription.transaction.as_ref().map_or(0, |out| out.bytes.len());
        match subscription.answered(now.mono, answer) {
            Outcome::Proceeding => {}
            Outcome::Heard => {
                self.kept_bytes -= kept;
                self.store.forget_heard(aor);
                self.store.enqueue(index);
            }
            Outcome::Later => {
                self.kept_bytes -= kept;
                self.store.enqueue(index);
            }
            Outcome::Ended => {
                self.counters.ended += 1;
                self.remove(index);
            }
            Outcome::Failed => {
                self.counters.failed += 1;
                self.remove(index);
            }
        }
        self.debug_check();
    }

    /// The next NOTIFY that is due, written to the start of `out`, which has room for
    /// [`NOTIFY_ROOM_BYTES_MIN`] bytes at least. `None`: nothing is, or so much was looked at
    /// that others should have their turn; [`SubscriptionTable::next_deadline`] tells.
    pub fn poll_notify(
        &mut self,
        now: Now,
        registrar: &Registrar,
        out: &mut [u8],
    ) -> Option<Notify> {
        debug_assert!(out.len() >= NOTIFY_ROOM_BYTES_MIN);
        for _ in 0..LOOKS_PER_POLL_MAX {
            let token = match self.store.dequeue() {
                Some(token) => token,
                None => match self.wheel.poll(tick_down(now.mono)) {
                    wheel::Step::Idle => return None,
                    wheel::Step::Moved => continue,
                    wheel::Step::Due(token) => token,
                },
            };
            if !self.store.is_current(token) {
                continue;
            }
            let notify = self.look(now, token.index, registrar, out);
            self.debug_check();
            if notify.is_some() {
                return notify;
            }
        }
        None
    }

    /// When [`SubscriptionTable::poll_notify`] next has something to do; the origin of time stands
    /// for at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.store.has_queued() {
            return Some(Instant::ZERO);
        }
        let tick = self.wheel.next_deadline()?;
        Some(Instant::from_nanos(u64::from(tick) * TICK_NANOS))
    }

    /// Does what is due for one subscription, and arms what is next.
    fn look(
        &mut self,
        now: Now,
        index: u32,
        registrar: &Registrar,
        out: &mut [u8],
    ) -> Option<Notify> {
        let subscription = self.store.tenant_mut(index)?;
        subscription.queued = false;
        if subscription.ending.is_none() && now.mono >= subscription.expires_at {
            subscription.ending = Some(EndReason::Timeout);
        }
        let (to, flow) = (subscription.source, subscription.flow);
        if let Some(waiting) = &mut subscription.transaction {
            // One NOTIFY at a time, except for what cannot wait for an answer that may not come:
            // then the one on its way is given up, and the next says everything.
            let pressing = !waiting.last && (subscription.ending.is_some() || subscription.urgent);
            if !pressing {
                return match waiting.step(now.mono) {
                    Step::Again => {
                        let len = waiting.bytes.len();
                        out[..len].copy_from_slice(&waiting.bytes);
                        self.counters.notifies_again += 1;
                        self.arm(now.mono, index);
                        Some(Notify { to, flow, len })
                    }
                    Step::Wait => {
                        self.arm(now.mono, index);
                        None
                    }
                    Step::GiveUp => {
                        self.counters.timed_out += 1;
                        self.remove(index);
                        None
                    }
                };
            }
            self.kept_bytes -= waiting.bytes.len();
            subscription.transaction = None;
            subscription.full = true;
        }
        let notify = self.compose(now, index, registrar, out);
        self.arm(now.mono, index);
        notify
    }

    /// Writes the NOTIFY that is due, if there is one.
    fn compose(
        &mut self,
        now: Now,
        index: u32,
        registrar: &Registrar,
        out: &mut [u8],
    ) -> Option<Notify> {
        let (subscription, watched) = self.store.pair_mut(index)?;
        let extent = subscription.due(now.mono, &watched.changes)?;
        let reliable = subscription.flow.transport().is_connection();
        if !reliable && self.kept_bytes >= NOTIFIES_KEPT_BYTES_MAX {
            self.counters.put_off += 1;
            subscription.held_until = now.mono + PUT_OFF;
            return None;
        }
        let wanted = Wanted { version: subscription.version, extent, heard: subscription.heard };
        let aor = subscription.aor;
        let subject = Subject { aor, text: &watched.text, changes: &watched.changes };
        let cseq = subscription.local_cseq + 1;
        let left = subscription.expires_at.saturating_since(now.mono);
        let head = notify::Head {
            branch: Branch { shard: self.shard, tag: subscription.local_tag, cseq },
            transport: subscription.flow.transport(),
            state: match subscription.ending {
                Some(reason) => SubscriptionState::terminated(reason),
                None => SubscriptionState::active(left.as_nanos().div_ceil(NANOS_PER_S) as u32),
            },
        };
        let room = out.len().min(RESPONSE_BYTES_MAX);
        let mut written = None;
        let sent = notify::write(&mut out[..room], &subscription.dialog, &head, |body| {
            written = Some(document::write(body, registrar, now, &subject, &wanted)?);
            Ok(())
        });
        let (Ok(len), Some(written)) = (sent, written) else {
            // The room was too small for the least there is to say.
            self.counters.failed += 1;
            self.remove(index);
            return None;
        };
        let kept: Box<[u8]> = if reliable { Box::default() } else { Box::from(&out[..len]) };
        self.kept_bytes += kept.len();
        self.counters.notifies += 1;
        self.counters.urgent += u64::from(subscription.urgent);
        subscription.local_cseq = cseq;
        subscription.version += 1;
        subscription.full = false;
        subscription.rest_behind = None;
        subscription.urgent = false;
        subscription.paced_until = now.mono + self.settings.interval;
        let mut transaction = Transaction::new(now.mono, cseq, kept, written.heard);
        transaction.rest_behind = written.rest_behind;
        transaction.last = subscription.ending.is_some();
        subscription.transaction = Some(transaction);
        Some(Notify { to: subscription.source, flow: subscription.flow, len })
    }

    fn arm(&mut self, now: Instant, index: u32) {
        let Some((subscription, watched)) = self.store.pair_mut(index) else { return };
        let at = subscription.next_look(now, &watched.changes);
        // Never in the tick at hand, which may be over: the wheel would fire it at once again.
        let at = tick_up(at).max(tick_down(now) + 1);
        self.wheel.arm(self.store.token(index), at);
    }

    fn remove(&mut self, index: u32) {
        if let Some(subscription) = self.store.remove(index) {
            self.kept_bytes -= subscription.transaction.map_or(0, |out| out.bytes.len());
        }
    }

    fn debug_check(&self) {
        if cfg!(debug_assertions) && self.store.size() <= CHECKED_WHOLE_MAX {
            self.check_invariants();
        }
    }

    /// Checks everything against everything.
    ///
    /// # Panics
    /// If something is broken, which is a bug of ours.
    pub fn check_invariants(&self) {
        let mut kept = 0;
        self.store.check_invariants(|token, subscription| {
            kept += subscription.transaction.as_ref().map_or(0, |out| out.bytes.len());
            let armed = self.wheel.deadline(token.index);
            let looked_at = armed.is_some_and(|(_, generation)| generation == token.generation);
            assert!(looked_at || subscription.queued, "{token:?} will be looked at");
        });
        assert_eq!(kept, self.kept_bytes, "bytes kept for repetition");
    }
}

const NANOS_PER_S: u128 = 1_000_000_000;

fn accepted(subscription: &Subscription, retransmission: bool) -> Accepted {
    let &Subscription { granted_s, local_tag, .. } = subscription;
    Accepted { expires_s: granted_s, local_tag, retransmission }
}
