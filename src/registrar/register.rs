//! The registrar of one shard: the only way in to its bindings (REGISTER, and what accounts
//! provide), heard as events. The ways out are `departures`', the looks from outside `lookup`'s.

use std::time::Duration;

use crate::config::{Registrar as Config, StaticContact};
use crate::flow::ConnectionId;
use crate::limits::STATIC_CONTACTS_MAX;
use crate::registrar::agents::Agents;
use crate::registrar::binding::{Binding, BindingId, Change, Texts, seconds};
use crate::registrar::event::{Event, LeaveReason, is_early};
use crate::registrar::flapping::{Flapping, Party, mark};
use crate::registrar::gruu::Mint;
use crate::registrar::location::{AorId, Location};
use crate::registrar::names::Instance;
use crate::registrar::plan::{self, Entry, Plan, Rules};
use crate::registrar::request::{Accepted, Contacts, Listed, Refusal, Register};
use crate::registrar::same::{flow_key, instance};
use crate::sip::header::contact::{Contact, QValue};
use crate::time::{Instant, Now};

/// A client gives a transaction up, and repeats it no more, after 64*T1 (RFC 3261 17.1.2.2, timer
/// F). One second on top, since bindings know the whole second they were refreshed in.
const RETRANSMISSIONS_END: Duration = Duration::from_secs(32 + 1);

/// Tables up to this size are checked whole after every change in debug builds.
const CHECKED_WHOLE_MAX: usize = 64;

type Siblings = arrayvec::ArrayVec<BindingId, { crate::registrar::location::STORED_MAX }>;

/// Bindings, and the rules by which REGISTER changes them (RFC 3261 10.3).
#[derive(Debug)]
pub struct Registrar {
    pub(super) config: Config,
    key: [u64; 2],
    pub(super) location: Location,
    pub(super) flapping: Flapping,
    /// Connections that have closed and still have bindings.
    pub(super) closing: Vec<ConnectionId>,
    gruu_epochs: u32,
    agents: Agents,
    pub(super) unreachable_last: bool,
    total_max: usize,
}

impl Registrar {
    /// An empty registrar. `key` is secret and random; it spreads granted expiries and the waits
    /// of those turned away. A process that wants equal answers to a retransmission across a
    /// restart gives the same key.
    #[must_use]
    pub fn new(config: Config, key: [u64; 2]) -> Registrar {
        Registrar {
            config,
            key,
            location: Location::default(),
            flapping: Flapping::default(),
            closing: Vec::new(),
            gruu_epochs: 0,
            agents: Agents::new(key),
            unreachable_last: false,
            total_max: usize::MAX,
        }
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

    /// Holds no more than so many bindings from now on, those that are there excepted: this
    /// registrar's share of [`Config::total_max`].
    pub fn hold_at_most(&mut self, bindings: usize) {
        self.total_max = bindings;
    }

    /// Whether bindings are kept in the compact form from their next REGISTER on.
    #[must_use]
    pub fn is_compact(&self) -> bool {
        self.config.compact
    }

    /// User-Agent texts that are kept once for all bindings that have them.
    #[must_use]
    pub fn agents_shared(&self) -> usize {
        self.agents.count()
    }

    /// How often a binding had to keep its User-Agent for itself.
    #[must_use]
    pub fn agents_not_shared(&self) -> u64 {
        self.agents.refused()
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
        let mut accepted = Accepted::unchanged(request, now);
        if self.is_retransmission(request) {
            accepted.retransmission = true;
            return Ok(accepted);
        }
        let mut plan = Plan::default();
        if let Err(refusal) = plan.decide(self.rules(now), request) {
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
        let mut accepted = Accepted::unchanged(request, now.mono);
        accepted.retransmission = true;
        if self.is_retransmission(request) {
            return Some(Ok(accepted));
        }
        if !self.location.was_answered(request.aor, request.fingerprint) {
            return None;
        }
        match Plan::default().decide(self.rules(now.mono), request) {
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

    fn rules(&self, now: Instant) -> Rules<'_> {
        let &Registrar { ref config, key, ref location, ref flapping, total_max, .. } = self;
        Rules { location, config, key, flapping, total_max, now }
    }

    /// The Contacts of the 200, the oldest binding first (RFC 3261 10.3 step 8). What a request
    /// left is listed with all that was granted, also to its retransmissions, for as long as there
    /// can be any; to one that merely repeats its identifiers later, with what is left. What only
    /// its late margin keeps is not listed: it was promised no longer. What the account provides
    /// is, with the longest time a registration could have.
    pub fn answer(&self, accepted: &Accepted) -> impl Iterator<Item = Listed<'_>> {
        let Accepted { now, fingerprint, gruu, .. } = *accepted;
        let fixed_s = self.config.expires_max_s;
        self.location.bindings(accepted.aor).filter_map(move |(id, binding)| {
            let is_repeated = binding.fingerprint() == fingerprint
                && now.saturating_since(binding.refreshed_at()) <= RETRANSMISSIONS_END;
            let expires_s = if is_repeated && !binding.is_static() {
                binding.granted_s()
            } else if binding.is_static() {
                fixed_s
            } else if binding.is_late(now) {
                return None;
            } else {
                binding.remaining_s(now)
            };
            let instance = binding.instance();
            let epoch = binding.gruu_epoch();
            let temp_gruu = (gruu && epoch != 0).then_some(Mint {
                aor: accepted.aor,
                epoch,
                salt: fingerprint,
            });
            Some(Listed {
                binding: id,
                contact: binding.contact(),
                q: binding.q(),
                expires_s,
                instance,
                reg_id: binding.reg_id(),
                pub_gruu: gruu && instance.is_some(),
                temp_gruu,
            })
        })
    }

    /// Makes the static bindings of an AOR these and no others: contacts of a device that never
    /// registers. They have no end, no REGISTER changes them, nothing replaces them, and they do
    /// not count towards the limit. No more than `STATIC_CONTACTS_MAX` are kept. Returns how many
    /// came or left.
    pub fn provide(
        &mut self,
        now: Now,
        aor: AorId,
        contacts: &[StaticContact],
        outputs: &mut Vec<Event>,
    ) -> usize {
        let contacts = &contacts[..contacts.len().min(STATIC_CONTACTS_MAX)];
        let before = outputs.len();
        let is = |binding: &Binding, contact: &StaticContact| {
            binding.is_static()
                && binding.contact() == contact.uri.as_bytes()
                && binding.q() == contact.q_milli.map(QValue)
        };
        let unwanted = |binding: &Binding| {
            binding.is_static() && !contacts.iter().any(|contact| is(binding, contact))
        };
        loop {
            let next = self.location.bindings(aor).find(|(_, b)| unwanted(b)).map(|(id, _)| id);
            let Some(id) = next else { break };
            self.leave(id, LeaveReason::ForcedUnregister, outputs);
        }
        for contact in contacts {
            if self.location.bindings(aor).any(|(_, binding)| is(binding, contact)) {
                continue;
            }
            let q = contact.q_milli.map(QValue);
            let binding = Binding::permanent(aor, contact.uri.as_bytes(), q, now.mono);
            let binding = self.location.insert(binding);
            outputs.push(Event::Registered { aor, binding });
        }
        self.debug_check(aor);
        outputs.len() - before
    }

    /// Notes whether a binding answers, for [`Evict::UnreachableFirst`](crate::config::Evict).
    /// Its next refresh shows that it does.
    pub fn set_reachable(&mut self, id: BindingId, reachable: bool) {
        self.location.modify(id, |binding| binding.set_reachable(reachable));
    }

    /// Notes whether a call goes over a binding, for
    /// [`Replace::UnlessInCall`](crate::config::Replace).
    pub fn set_in_call(&mut self, id: BindingId, in_call: bool) {
        self.location.modify(id, |binding| binding.set_in_call(in_call));
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
        let mut loser = None;
        for &(id, reason) in &plan.evicted {
            self.leave(id, reason, outputs);
            if reason == LeaveReason::Kicked {
                accepted.kicked += 1;
                if let (None, Some(Event::Left { binding, old, .. })) = (loser, outputs.last()) {
                    let instance = old.instance().map(|instance| instance.text());
                    let mark = mark(instance.as_deref(), old.contact());
                    loser = Some(Party { binding: *binding, mark });
                }
            }
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
            let change = self.change(request, contact, entry.granted_s, accepted.now);
            let binding = self.keep(entry, &change, request, accepted, outputs);
            if entry.target.is_none()
                && let Some(loser) = loser.take()
            {
                let winner = Party { binding, mark: mark(instance(contact), contact.uri.text) };
                self.note_kick(request.aor, accepted.now, loser, winner, outputs);
            }
        }
    }

    #[cold]
    fn note_kick(
        &mut self,
        aor: AorId,
        now: Instant,
        loser: Party,
        winner: Party,
        outputs: &mut Vec<Event>,
    ) {
        let settings = &self.config.flapping;
        if let Some(kicks) = self.flapping.on_kick(seconds(now), aor, loser, winner, settings) {
            outputs.push(Event::Flapping { aor, kicks });
        }
    }

    /// Adds, refreshes or re-targets one binding.
    fn keep(
        &mut self,
        entry: &Entry,
        change: &Change<'_>,
        request: &Register<'_>,
        accepted: &mut Accepted,
        outputs: &mut Vec<Event>,
    ) -> BindingId {
        let aor = request.aor;
        let Some(target) = entry.target else {
            let binding = Binding::new(aor, change, &mut self.agents);
            let binding = self.location.insert(binding);
            accepted.added += 1;
            outputs.push(Event::Registered { aor, binding });
            if request.gruu {
                self.keep_gruus(aor, binding, false);
            }
            return binding;
        };
        let binding = target.binding;
        let (mut had_gruus, mut other_call_id) = (false, false);
        let Registrar { location, agents, key, .. } = self;
        let event = location.modify(binding, |stored| {
            if stored.gruu_epoch() != 0 {
                let before = stored.instance().unwrap_or(Instance::Text(b""));
                if before.is_same(Instance::Text(change.texts.instance)) {
                    had_gruus = true;
                    other_call_id = !stored.call_id().is(change.texts.call_id, *key);
                } else {
                    // What led to the device that was here must not lead to this one.
                    stored.set_gruu_epoch(0);
                }
            }
            if target.same_contact {
                let same_flow = stored.compact_flow().is_same(&change.flow);
                let moved = !(same_flow && stored.came_from(change.source));
                let address_changed = moved && stored.source().ip() != change.source.ip();
                let old_flow = (!same_flow).then(|| stored.flow());
                let keepalive = stored.keepalive();
                let (last, granted_s) = (stored.refreshed_at(), stored.granted_s());
                stored.update(change, agents);
                let keepalive_changed = stored.keepalive() != keepalive;
                let early = is_early(stored, last, granted_s);
                Event::Refreshed {
                    aor,
                    binding,
                    moved,
                    address_changed,
                    old_flow,
                    last,
                    keepalive_changed,
                    early,
                }
            } else {
                let new = stored.changed(change, agents);
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
        if request.gruu || had_gruus {
            self.keep_gruus(aor, binding, other_call_id);
        }
        binding
    }

    /// Gives a binding the epoch of its instance. RFC 5627 3.1.2: another Call-ID begins a new
    /// one, for all bindings of the instance, and so all temporary GRUUs from before are void.
    #[cold]
    fn keep_gruus(&mut self, aor: AorId, id: BindingId, begin: bool) {
        let Some(binding) = self.location.binding(id) else { return };
        let Some(instance) = binding.instance() else { return };
        let siblings: Siblings = self
            .location
            .bindings(aor)
            .filter(|&(other, b)| {
                other != id
                    && b.gruu_epoch() != 0
                    && b.instance().is_some_and(|other| other.is_same(instance))
            })
            .map(|(id, _)| id)
            .collect();
        let epoch_of = |id| self.location.binding(id).map(Binding::gruu_epoch);
        let own = Some(binding.gruu_epoch()).filter(|&epoch| epoch != 0);
        let epoch = own.or_else(|| siblings.first().and_then(|&id| epoch_of(id)));
        let epoch = epoch.filter(|_| !begin).unwrap_or_else(|| {
            self.gruu_epochs = self.gruu_epochs.wrapping_add(1).max(1);
            self.gruu_epochs
        });
        for id in siblings.into_iter().chain([id]) {
            self.location.modify(id, |binding| binding.set_gruu_epoch(epoch));
        }
    }

    fn change<'a>(
        &self,
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
            reg_id: flow_key(request, contact).map(|(_, reg_id)| reg_id),
            q: contact.q,
            cseq: request.cseq,
            granted_s,
            now,
            late_s: u16::try_from(self.config.late_margin_s).unwrap_or(u16::MAX),
            source: request.source,
            flow: request.flow.into(),
            behind_nat: request.behind_nat,
            proven: request.proven,
            keepalive: request.keepalive,
            fingerprint: request.fingerprint,
            hashed: self.config.compact.then_some(self.key),
        }
    }

    pub(super) fn debug_check(&self, aor: AorId) {
        if cfg!(debug_assertions) {
            self.location.check_aor(aor);
            if self.location.size() <= CHECKED_WHOLE_MAX {
                self.location.check_invariants();
            }
        }
    }
}
