//! Who makes room where a request would take its AOR over the limit. The limit counts devices:
//! bindings under outbound that have one instance are flows of one device (RFC 5626 6), every
//! other binding is a device of its own.

use arrayvec::ArrayVec;

use crate::config::{Evict, Replace};
use crate::limits::{BINDINGS_MAX, CONTACTS_MAX, FLOWS_PER_DEVICE_MAX};
use crate::registrar::binding::Binding;
use crate::registrar::event::LeaveReason;
use crate::registrar::flapping;
use crate::registrar::grant::retry_after_s;
use crate::registrar::names::Instance;
use crate::registrar::plan::{Claims, Entry, Plan, Present, Rules, Target, check_order};
use crate::registrar::request::{Refusal, Register};
use crate::registrar::same::{binding_flow_key, flow_key, has_contact, instance, is_own_device};
use crate::sip::header::contact::Contact;

/// The instance of something that is one of several flows of its device.
type Device<'a> = Option<Instance<'a>>;

fn device_of_binding(binding: &Binding) -> Device<'_> {
    binding_flow_key(binding).map(|(instance, _)| instance)
}

/// How many devices there are among these.
fn devices<'a>(all: impl Iterator<Item = Device<'a>>) -> usize {
    let mut known: ArrayVec<Instance<'_>, { BINDINGS_MAX + CONTACTS_MAX }> = ArrayVec::new();
    let mut count = 0;
    for device in all {
        match device {
            Some(instance) if known.iter().any(|known| known.is_same(instance)) => continue,
            Some(instance) => known.push(instance),
            None => {}
        }
        count += 1;
    }
    count
}

fn is_one(a: Device<'_>, b: Device<'_>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a.is_same(b))
}

/// Whether the binding an entry updates was of another device than it will be: it becomes a flow,
/// or ceases to be one.
pub(super) fn changes_device(
    request: &Register<'_>,
    contacts: &[Contact<'_>],
    present: &Present<'_>,
    entry: &Entry,
) -> bool {
    let key = flow_key(request, &contacts[usize::from(entry.contact)]);
    let device = key.map(|(instance, _)| instance);
    let was = entry.target.and_then(|target| device_before(present, target));
    entry.target.is_some() && (was.is_some() || device.is_some()) && !is_one(was, device)
}

fn device_before<'a>(present: &Present<'a>, target: Target) -> Device<'a> {
    let (_, binding) = present.iter().find(|(id, _)| *id == target.binding)?;
    device_of_binding(binding)
}

/// A request that may go over the limit, on its way to a place for each.
struct Room<'a> {
    rules: Rules<'a>,
    present: &'a Present<'a>,
    contacts: &'a [Contact<'a>],
    request: &'a Register<'a>,
    /// Bindings the request updates or removes, and those that go to make room.
    taken: Claims,
}

impl Plan {
    /// Finds room for the bindings that the request adds.
    ///
    /// # Errors
    /// There is none, or none may be made.
    pub fn make_room(
        &mut self,
        rules: Rules<'_>,
        present: &Present<'_>,
        contacts: &[Contact<'_>],
        request: &Register<'_>,
        claims: Claims,
    ) -> Result<(), Refusal> {
        let mut room = Room { rules, present, contacts, request, taken: claims };
        let limit = usize::from(request.limits.bindings_max.unwrap_or(rules.config.bindings_max));
        let limit = limit.clamp(1, BINDINGS_MAX);
        if request.outbound {
            room.limit_flows(self)?;
        }
        if !room.adds_devices(&self.entries) {
            // Another flow of a device that is there takes nobody's place.
            return if room.bindings(&self.entries) > BINDINGS_MAX {
                Err(room.refusal())
            } else {
                Ok(())
            };
        }
        if devices(room.live(&self.entries)) > limit {
            return Err(room.refusal());
        }
        let mut over = room.over(&self.entries, limit);
        // A binding pushed out by its own device is re-targeted, also where replacing is off.
        for at in 0..self.entries.len() {
            if over == 0 {
                return Ok(());
            }
            let adds = self.entries[at].adds() && room.adds_device(&self.entries, at);
            if adds && room.retarget(&mut self.entries[at])? {
                over = room.over(&self.entries, limit);
            }
        }
        while over > 0 {
            room.evict_one(self)?;
            over = room.over(&self.entries, limit);
        }
        Ok(())
    }
}

impl<'a> Room<'a> {
    fn contact(&self, entry: &Entry) -> &'a Contact<'a> {
        &self.contacts[usize::from(entry.contact)]
    }

    fn device(&self, entry: &Entry) -> Device<'a> {
        flow_key(self.request, self.contact(entry)).map(|(instance, _)| instance)
    }

    /// What the request itself keeps or adds.
    fn live<'e>(&'e self, entries: &'e [Entry]) -> impl Iterator<Item = Device<'a>> + 'e {
        let live = entries.iter().filter(|entry| entry.granted_s > 0);
        live.map(|entry| self.device(entry))
    }

    /// Bindings that nobody has touched so far.
    fn others(&self) -> impl Iterator<Item = (usize, &'a Binding)> {
        let present = self.present.iter().enumerate();
        let others = present.filter(|(position, _)| !self.taken.has(*position));
        others.map(|(position, &(_, binding))| (position, binding))
    }

    /// How many bindings there will be.
    fn bindings(&self, entries: &[Entry]) -> usize {
        self.present.len() - self.taken.count() + self.live(entries).count()
    }

    /// How many devices too many there will be, or bindings where those are the tighter limit.
    fn over(&self, entries: &[Entry], limit: usize) -> usize {
        let bindings = self.bindings(entries);
        if bindings <= limit {
            // Devices are never more than bindings.
            return 0;
        }
        let others = self.others().map(|(_, binding)| device_of_binding(binding));
        let devices = devices(others.chain(self.live(entries)));
        devices.saturating_sub(limit).max(bindings.saturating_sub(BINDINGS_MAX))
    }

    /// Whether there will be a device more by this entry: it is of a new one, or it makes a device
    /// of its own of what was one flow of several. Without the second, somebody could go over any
    /// limit by adding flows and giving up outbound for one after the other.
    fn adds_device(&self, entries: &[Entry], at: usize) -> bool {
        let entry = &entries[at];
        let device = self.device(entry);
        let Some(target) = entry.target else {
            let known = || self.present.iter().any(|(_, b)| is_one(device, device_of_binding(b)));
            return entry.granted_s > 0 && (device.is_none() || !known());
        };
        let was = device_before(self.present, target);
        let has_more = |other: Device<'_>| is_one(was, other);
        entry.granted_s > 0
            && !is_one(was, device)
            && (self.others().any(|(_, binding)| has_more(device_of_binding(binding)))
                || self.live(entries).any(has_more))
    }

    fn adds_devices(&self, entries: &[Entry]) -> bool {
        (0..entries.len()).any(|at| self.adds_device(entries, at))
    }

    fn refusal(&self) -> Refusal {
        let Rules { config, key, .. } = self.rules;
        Refusal::TooManyBindings { retry_after_s: retry_after_s(config, key, self.request) }
    }

    /// Gives an entry the binding at `position` to take over.
    fn take_over(&mut self, entry: &mut Entry, position: usize) -> Result<(), Refusal> {
        let (id, binding) = self.present[position];
        check_order(self.request, binding, self.rules.key)?;
        self.taken.claim(position);
        let same_contact = has_contact(binding, self.contact(entry));
        entry.target = Some(Target { binding: id, same_contact });
        Ok(())
    }

    /// Re-targets a binding of the own device, if there is one.
    fn retarget(&mut self, entry: &mut Entry) -> Result<bool, Refusal> {
        let (contact, key) = (self.contact(entry), self.rules.key);
        let own =
            self.others().find(|(_, binding)| is_own_device(binding, contact, self.request, key));
        match own {
            None => Ok(false),
            Some((position, _)) => self.take_over(entry, position).map(|()| true),
        }
    }

    /// A device has a bounded number of flows; one more takes over its oldest, or has it leave
    /// where it was another binding before.
    fn limit_flows(&mut self, plan: &mut Plan) -> Result<(), Refusal> {
        for at in 0..plan.entries.len() {
            let entry = &plan.entries[at];
            let (device, adds) = (self.device(entry), entry.adds());
            let becomes = || changes_device(self.request, self.contacts, self.present, entry);
            if device.is_none() || entry.granted_s == 0 || !(adds || becomes()) {
                continue;
            }
            let own = |other: Device<'_>| is_one(device, other);
            let others = self.others().filter(|(_, b)| own(device_of_binding(b))).count();
            let flows = others + self.live(&plan.entries).filter(|&other| own(other)).count();
            if flows <= FLOWS_PER_DEVICE_MAX {
                continue;
            }
            let oldest = self.others().find(|(_, b)| own(device_of_binding(b)));
            let (position, _) = oldest.ok_or_else(|| self.refusal())?;
            if adds {
                self.take_over(&mut plan.entries[at], position)?;
            } else {
                self.taken.claim(position);
                plan.evicted.push((self.present[position].0, LeaveReason::Kicked));
            }
        }
        Ok(())
    }

    /// Chooses the binding that makes room next; the other flows of its device go with it.
    fn evict_one(&mut self, plan: &mut Plan) -> Result<(), Refusal> {
        let Rules { config, now, .. } = self.rules;
        let protected = |binding: &Binding| {
            self.live(&plan.entries).any(|d| is_one(d, device_of_binding(binding)))
        };
        // What only its late margin keeps goes first, and nobody is kicked by that.
        let late = self.others().find(|(_, binding)| binding.is_late(now));
        if let Some((position, _)) = late {
            self.taken.claim(position);
            plan.evicted.push((self.present[position].0, LeaveReason::Expired));
            return Ok(());
        }
        // Then what the device itself left behind when it gave up outbound.
        let is_left_behind = |binding: &Binding| {
            let mut kept = plan.entries.iter().filter(|entry| entry.granted_s > 0);
            let own = kept.any(|entry| {
                is_one(instance(self.contact(entry)).map(Instance::Text), binding.instance())
            });
            own && !protected(binding)
        };
        let left_behind = self
            .others()
            .find(|(_, binding)| device_of_binding(binding).is_some() && is_left_behind(binding));
        let position = match left_behind {
            Some((position, _)) => position,
            None => {
                let replace = self.request.limits.replace.unwrap_or(config.replace);
                let position = match replace {
                    Replace::Never => None,
                    Replace::Always => self.choose(|binding| !protected(binding)),
                    Replace::UnlessInCall => {
                        self.choose(|binding| !protected(binding) && !self.is_in_call(binding))
                    }
                };
                let position = position.ok_or_else(|| self.refusal())?;
                let newcomer = plan.entries.iter().find(|entry| entry.adds());
                let newcomer = newcomer.map(|entry| self.contact(entry));
                self.check_damping(position, newcomer)?;
                position
            }
        };
        let device = device_of_binding(self.present[position].1);
        for (other, &(id, binding)) in self.present.iter().enumerate() {
            let of_device = other == position || is_one(device, device_of_binding(binding));
            if of_device && !self.taken.has(other) {
                self.taken.claim(other);
                plan.evicted.push((id, LeaveReason::Kicked));
            }
        }
        Ok(())
    }

    /// The oldest binding that may go; oldest means registered first.
    fn choose(&self, may_go: impl Fn(&Binding) -> bool) -> Option<usize> {
        let mut candidates = self.others().filter(|(_, binding)| may_go(binding));
        let oldest = candidates.next()?;
        let chosen = match self.rules.config.evict {
            Evict::UnreachableFirst if oldest.1.is_reachable() => {
                candidates.find(|(_, binding)| !binding.is_reachable()).unwrap_or(oldest)
            }
            Evict::Oldest | Evict::UnreachableFirst => oldest,
        };
        Some(chosen.0)
    }

    /// A device is in a call if any of its flows is.
    fn is_in_call(&self, binding: &Binding) -> bool {
        let device = device_of_binding(binding);
        let own = |other: &Binding| is_one(device, device_of_binding(other)) && other.is_in_call();
        binding.is_in_call() || self.present.iter().any(|(_, other)| own(other))
    }

    /// The loser of two devices that keep kicking each other waits, where that is configured.
    fn check_damping(
        &self,
        position: usize,
        newcomer: Option<&Contact<'_>>,
    ) -> Result<(), Refusal> {
        let Rules { config, flapping, now, .. } = self.rules;
        let Some(newcomer) = newcomer.filter(|_| config.flapping.damping_s > 0) else {
            return Ok(());
        };
        let mark = || flapping::mark(instance(newcomer), newcomer.uri.text);
        let incumbent = self.present[position].0;
        let now_s = crate::registrar::binding::seconds(now);
        match flapping.damped_s(now_s, self.request.aor, incumbent, mark) {
            Some(retry_after_s) => Err(Refusal::TooManyBindings { retry_after_s }),
            None => Ok(()),
        }
    }
}
