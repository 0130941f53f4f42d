//! The registrar of one shard: the only way in to its bindings (REGISTER) and the only way out
//! (a departure with its reason), each heard as an event.

use std::time::Duration;

use crate::config::Registrar as Config;
use crate::registrar::binding::{Binding, BindingId, Change, Texts, seconds};
use crate::registrar::event::{Event, LeaveReason};
use crate::registrar::location::{AorId, Expiry, Location};
use crate::registrar::plan::{self, Entry, Plan};
use crate::registrar::request::{Accepted, Contacts, Listed, Refusal, Register};
use crate::sip::header::contact::Contact;
use crate::time::{Instant, Now};

/// Entries of the wheel that may move in one turn for each binding that may leave: moving one is
/// that much cheaper than a departure.
const MOVES_PER_EXPIRY: usize = 4;

/// A client gives a transaction up, and repeats it no more, after 64*T1 (RFC 3261 17.1.2.2, timer
/// F). One second on top, since bindings know the whole second they were refreshed in.
const RETRANSMISSIONS_END: Duration = Duration::from_secs(32 + 1);

/// Tables up to this size are checked whole after every change in debug builds.
const CHECKED_WHOLE_MAX: usize = 64;

/// Bindings, and the rules by which REGISTER changes them (RFC 3261 10.3).
#[derive(Debug)]
pub struct Registrar {
    config: Config,
    key: [u64; 2],
    location: Location,
}

/// What one turn of [`Registrar::expire`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Bindings that left.
    pub left: usize,
    /// The budget ran out before the work did: call again soon.
    pub more: bool,
}

/// Which bindings of an AOR an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// This one, if it still lives.
    One(BindingId),
}

impl Registrar {
    /// An empty registrar. `key` is secret and random; it spreads granted expiries. A process that
    /// wants equal answers to a retransmission across a restart gives the same key.
    #[must_use]
    pub fn new(config: Config, key: [u64; 2]) -> Registrar {
        Registrar { config, key, location: Location::default() }
    }

    /// Makes room for AORs `0..aors` and for `bindings` bindings, so that none is made while
    /// requests wait.
    pub fn reserve(&mut self, aors: usize, bindings: usize) {
        self.location.reserve(aors, bindings);
    }

    /// Obeys other settings from the next request on; what was granted stays granted.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// What is stored.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Reads ahead what requests for each of `aors` will read; see [`Location::warm`].
    #[must_use]
    pub fn warm(&self, aors: &[AorId]) -> u64 {
        self.location.warm(aors)
    }

    /// Carries out a REGISTER, whole or not at all (RFC 3261 10.3 step 7). Bindings of its AOR
    /// whose time is over leave first, whatever becomes of the request.
    ///
    /// # Errors
    /// The reason it is refused for; then it has changed nothing.
    pub fn register(
        &mut self,
        now: Now,
        request: &Register<'_>,
        outputs: &mut Vec<Event>,
    ) -> Result<Accepted, Refusal> {
        let now = now.mono;
        std::hint::black_box(self.location.touch(request.aor));
        self.clear_expired(request.aor, now, outputs);
        let mut accepted = Accepted::unchanged(request.aor, now, request.fingerprint);
        if self.is_retransmission(request) {
            accepted.retransmission = true;
            return Ok(accepted);
        }
        let mut plan = Plan::default();
        if let Err(refusal) = plan.decide(&self.location, &self.config, self.key, request) {
            self.location.answer(request.aor, request.fingerprint);
            return Err(refusal);
        }
        if request.is_fetch() {
            self.location.answer(request.aor, request.fingerprint);
        } else {
            self.commit(&plan, request, &mut accepted, outputs);
            self.location.accept(request.aor, request.fingerprint);
        }
        self.debug_check(request.aor);
        Ok(accepted)
    }

    /// Answers a request that may not change anything any more, because its nonce count has been
    /// used: as it was answered before, if it is known. `None` if it is not, or if it was refused
    /// then and would not be now.
    pub fn repeat(
        &mut self,
        now: Now,
        request: &Register<'_>,
        outputs: &mut Vec<Event>,
    ) -> Option<Result<Accepted, Refusal>> {
        self.clear_expired(request.aor, now.mono, outputs);
        let mut accepted = Accepted::unchanged(request.aor, now.mono, request.fingerprint);
        accepted.retransmission = true;
        if self.is_retransmission(request) {
            return Some(Ok(accepted));
        }
        if !self.location.was_answered(request.aor, request.fingerprint) {
            return None;
        }
        match Plan::default().decide(&self.location, &self.config, self.key, request) {
            Err(refusal) => Some(Err(refusal)),
            Ok(()) => request.is_fetch().then_some(Ok(accepted)),
        }
    }

    /// Whether this request was accepted before, so that it will be answered the same again and
    /// change nothing.
    #[must_use]
    pub fn is_retransmission(&self, request: &Register<'_>) -> bool {
        plan::is_retransmission(&self.location, request)
    }

    /// The Contacts of the 200, the oldest binding first (RFC 3261 10.3 step 8). What a request
    /// left is listed with all that was granted, also to its retransmissions, for as long as there
    /// can be any; to one that merely repeats its identifiers later, with what is left.
    pub fn answer(&self, accepted: &Accepted) -> impl Iterator<Item = Listed<'_>> {
        let Accepted { now, fingerprint, .. } = *accepted;
        self.location.bindings(accepted.aor).map(move |(id, binding)| Listed {
            binding: id,
            contact: binding.contact(),
            q: binding.q(),
            expires_s: if binding.fingerprint() == fingerprint
                && now.saturating_since(binding.refreshed_at()) <= RETRANSMISSIONS_END
            {
                binding.granted_s()
            } else {
                binding.remaining_s(now)
            },
            instance: binding.instance(),
            reg_id: binding.reg_id(),
        })
    }

    /// Where an AOR can be reached at `now`, the oldest binding first.
    pub fn bindings(&self, aor: AorId, now: Now) -> impl Iterator<Item = (BindingId, &Binding)> {
        self.location.bindings(aor).filter(move |(_, binding)| !binding.is_expired(now.mono))
    }

    /// Takes bindings out of an AOR on somebody else's word than its own; `reason` says whose.
    /// Returns how many left.
    pub fn unregister(
        &mut self,
        aor: AorId,
        which: Which,
        reason: LeaveReason,
        outputs: &mut Vec<Event>,
    ) -> usize {
        let before = self.location.bindings_count();
        match which {
            Which::One(id) => {
                if self.location.binding(id).is_some_and(|binding| binding.aor() == aor) {
                    self.leave(id, reason, outputs);
                }
            }
            Which::All => while self.leave_first(aor, reason, outputs) {},
        }
        if reason == LeaveReason::AccountRemoved {
            // The number may come to name another account.
            self.location.accept(aor, 0);
        }
        self.debug_check(aor);
        before - self.location.bindings_count()
    }

    /// Lets bindings go whose time is over, `budget` of them at most, with a bounded amount of
    /// other work.
    pub fn expire(&mut self, now: Now, budget: usize, outputs: &mut Vec<Event>) -> Expired {
        let second = seconds(now.mono);
        let mut left = 0;
        let mut moves = budget.saturating_mul(MOVES_PER_EXPIRY);
        while left < budget && moves > 0 {
            match self.location.poll_expired(second) {
                Expiry::Idle => return Expired { left, more: false },
                Expiry::Kept => moves -= 1,
                Expiry::Expired(id) => {
                    let aor = self.leave(id, LeaveReason::Expired, outputs);
                    left += 1;
                    self.debug_check(aor);
                }
            }
        }
        Expired { left, more: self.next_deadline().is_some_and(|at| at <= now.mono) }
    }

    /// When [`Registrar::expire`] next has something to do; until then it may be left uncalled.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.location.next_deadline()
    }

    fn commit(
        &mut self,
        plan: &Plan,
        request: &Register<'_>,
        accepted: &mut Accepted,
        outputs: &mut Vec<Event>,
    ) {
        for &id in &plan.wiped {
            self.leave(id, LeaveReason::Unregistered, outputs);
            accepted.removed += 1;
        }
        for &id in &plan.kicked {
            self.leave(id, LeaveReason::Kicked, outputs);
            accepted.kicked += 1;
        }
        let Contacts::List(contacts) = request.contacts else { return };
        for entry in plan.entries.iter().filter(|entry| entry.granted_s == 0) {
            if let Some(target) = entry.target {
                self.leave(target.binding, LeaveReason::Unregistered, outputs);
                accepted.removed += 1;
            }
        }
        for entry in plan.entries.iter().filter(|entry| entry.granted_s > 0) {
            let contact = &contacts[usize::from(entry.contact)];
            let change = change(request, contact, entry.granted_s, accepted.now);
            self.keep(entry, &change, request.aor, accepted, outputs);
        }
    }

    /// Adds, refreshes or re-targets one binding.
    fn keep(
        &mut self,
        entry: &Entry,
        change: &Change<'_>,
        aor: AorId,
        accepted: &mut Accepted,
        outputs: &mut Vec<Event>,
    ) {
        let Some(target) = entry.target else {
            let binding = self.location.insert(Binding::new(aor, change));
            accepted.added += 1;
            outputs.push(Event::Registered { aor, binding });
            return;
        };
        let binding = target.binding;
        let event = self.location.modify(binding, |stored| {
            if target.same_contact {
                let moved = !stored.came_from(change.source, change.listener);
                stored.update(change);
                Event::Refreshed { aor, binding, moved }
            } else {
                let new = stored.changed(change);
                Event::Retargeted { aor, binding, old: std::mem::replace(stored, new) }
            }
        });
        debug_assert!(event.is_some(), "the plan only names bindings that are there");
        match event {
            Some(event @ Event::Retargeted { .. }) => {
                accepted.retargeted += 1;
                outputs.push(event);
            }
            Some(event) => {
                accepted.refreshed += 1;
                outputs.push(event);
            }
            None => {}
        }
    }

    /// The one way out.
    fn leave(&mut self, id: BindingId, reason: LeaveReason, outputs: &mut Vec<Event>) -> AorId {
        let old = self.location.remove(id).expect("only what is there is asked to leave");
        let aor = old.aor();
        outputs.push(Event::Left { aor, binding: id, old, reason });
        aor
    }

    fn leave_first(&mut self, aor: AorId, reason: LeaveReason, outputs: &mut Vec<Event>) -> bool {
        let first = self.location.bindings(aor).next().map(|(id, _)| id);
        first.map(|id| self.leave(id, reason, outputs)).is_some()
    }

    /// The wheel may be behind by a turn; a request must not meet what is over.
    fn clear_expired(&mut self, aor: AorId, now: Instant, outputs: &mut Vec<Event>) {
        loop {
            let expired = self.location.bindings(aor).find(|(_, b)| b.is_expired(now));
            let Some((id, _)) = expired else { return };
            self.leave(id, LeaveReason::Expired, outputs);
        }
    }

    fn debug_check(&self, aor: AorId) {
        if cfg!(debug_assertions) {
            self.location.check_aor(aor);
            if self.location.size() <= CHECKED_WHOLE_MAX {
                self.location.check_invariants();
            }
        }
    }
}

fn change<'a>(
    request: &Register<'a>,
    contact: &Contact<'a>,
    granted_s: u32,
    now: Instant,
) -> Change<'a> {
    Change {
        texts: Texts {
            contact: contact.uri.text,
            call_id: request.call_id,
            instance: contact.instance.unwrap_or_default(),
            user_agent: plan::user_agent(request),
            path: request.path,
        },
        reg_id: contact.reg_id,
        q: contact.q,
        cseq: request.cseq,
        granted_s,
        now,
        source: request.source,
        listener: request.listener,
        local_ip: request.local_ip,
        fingerprint: request.fingerprint,
    }
}
