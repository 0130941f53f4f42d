//! What a REGISTER would do to the bindings of its AOR, decided in full before anything is
//! changed: RFC 3261 10.3 steps 6 and 7; who makes room where the limit is reached is `room`'s. A
//! request that is refused here has touched nothing, so it is all or nothing by construction.
//! Static bindings are no business of any request's and are not even looked at.

use arrayvec::ArrayVec;

use crate::config::Registrar as Config;
use crate::limits::{
    BINDINGS_MAX, CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, CONTACTS_MAX, INSTANCE_BYTES_MAX,
    PATH_BYTES_MAX, USER_AGENT_BYTES_MAX,
};
use crate::registrar::binding::{Binding, BindingId};
use crate::registrar::event::LeaveReason;
use crate::registrar::flapping::Flapping;
use crate::registrar::grant::{Grant, retry_after_s};
use crate::registrar::location::{AorId, Location};
use crate::registrar::request::{Contacts, Refusal, Register};
use crate::registrar::room::changes_device;
use crate::registrar::same::{By, binding_flow_key, find_same, flow_key, has_contact, same_uri};
use crate::sip::header::contact::Contact;
use crate::sip::uri::Scheme;
use crate::time::Instant;

/// What becomes of one address of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Which Contact of the request has the last word on it.
    pub contact: u8,
    /// Seconds granted; 0: it goes.
    pub granted_s: u32,
    /// The binding it updates or removes; `None`: it is new, or was never there.
    pub target: Option<Target>,
}

impl Entry {
    pub fn adds(&self) -> bool {
        self.granted_s > 0 && self.target.is_none()
    }
}

/// A binding the request found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub binding: BindingId,
    /// Its contact is the same by RFC 3261 19.1.4.
    pub same_contact: bool,
}

/// Everything a request will do. All of it is about bindings that are there now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub entries: ArrayVec<Entry, CONTACTS_MAX>,
    /// Removed by `*`.
    pub wiped: ArrayVec<BindingId, BINDINGS_MAX>,
    /// Bindings that make room, in the order they were chosen: kicked, or expired where only their
    /// late margin was left.
    pub evicted: ArrayVec<(BindingId, LeaveReason), BINDINGS_MAX>,
}

/// What a request is decided by, beside itself.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub location: &'a Location,
    pub config: &'a Config,
    pub key: [u64; 2],
    pub flapping: &'a Flapping,
    /// So many bindings there may be of all accounts here.
    pub total_max: usize,
    pub now: Instant,
}

/// The registered bindings of the AOR, the oldest first.
pub(super) type Present<'a> = ArrayVec<(BindingId, &'a Binding), BINDINGS_MAX>;

/// A set of positions in [`Present`].
#[derive(Clone, Copy, Default)]
pub(super) struct Claims(u64);

const _: () = assert!(BINDINGS_MAX <= u64::BITS as usize);

impl Claims {
    pub fn claim(&mut self, position: usize) {
        self.0 |= 1 << position;
    }

    pub fn has(self, position: usize) -> bool {
        self.0 >> position & 1 == 1
    }

    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// User-Agent as it is stored.
pub(super) fn user_agent<'a>(request: &Register<'a>) -> &'a [u8] {
    &request.user_agent[..request.user_agent.len().min(USER_AGENT_BYTES_MAX)]
}

impl Plan {
    /// Decides on `request`; `self` is empty before.
    ///
    /// # Errors
    /// The first rule that the request breaks.
    pub fn decide(&mut self, rules: Rules<'_>, request: &Register<'_>) -> Result<(), Refusal> {
        if request.call_id.len() > CALL_ID_BYTES_MAX {
            return Err(Refusal::CallIdTooLong);
        }
        if request.path.len() > PATH_BYTES_MAX {
            return Err(Refusal::PathTooLong);
        }
        match request.contacts {
            Contacts::Fetch => Ok(()),
            Contacts::Wildcard => self.decide_wildcard(rules, request),
            Contacts::List(contacts) => {
                check_contacts(contacts)?;
                let present: Present<'_> = registered(rules.location, request.aor).collect();
                let grant = Grant::new(rules.config, rules.key, request);
                let mut claims = Claims::default();
                self.match_contacts(rules.key, &present, contacts, grant, request, &mut claims)?;
                let changes = |entry: &Entry| changes_device(request, contacts, &present, entry);
                if !self.entries.iter().any(|entry| entry.adds() || changes(entry)) {
                    // A refresh is never a replacement, even where the limit has been lowered.
                    return Ok(());
                }
                self.make_room(rules, &present, contacts, request, claims)?;
                self.check_total(rules, request)
            }
        }
    }

    /// Whether there is room for what is added beyond what goes. Who takes the place of another, or
    /// goes on where he was, is not asked, also where the limit has been lowered.
    fn check_total(&self, rules: Rules<'_>, request: &Register<'_>) -> Result<(), Refusal> {
        let Rules { location, config, key, total_max, .. } = rules;
        let count = |is: fn(&Entry) -> bool| self.entries.iter().filter(|entry| is(entry)).count();
        let added = count(Entry::adds);
        let gone = self.evicted.len() + count(|one| one.granted_s == 0 && one.target.is_some());
        let there = location.bindings_count();
        if added > gone && there + (added - gone) > total_max {
            return Err(Refusal::Full { retry_after_s: retry_after_s(config, key, request) });
        }
        Ok(())
    }

    fn decide_wildcard(&mut self, rules: Rules<'_>, request: &Register<'_>) -> Result<(), Refusal> {
        // RFC 3261 10.3 step 6: `*` only with an expiration of zero.
        if request.expires != Some(0) {
            return Err(Refusal::WildcardExpires);
        }
        for (id, binding) in registered(rules.location, request.aor) {
            check_order(request, binding, rules.key)?;
            self.wiped.push(id);
        }
        Ok(())
    }

    /// RFC 3261 10.3 step 7: each address in turn, against the bindings as the addresses before it
    /// leave them. An address that stands twice is one address, and the last word on it counts:
    /// the order of Call-ID and CSeq is one between requests, not within one.
    fn match_contacts(
        &mut self,
        key: [u64; 2],
        present: &Present<'_>,
        contacts: &[Contact<'_>],
        grant: Grant,
        request: &Register<'_>,
        claims: &mut Claims,
    ) -> Result<(), Refusal> {
        for (number, contact) in contacts.iter().enumerate() {
            let granted_s = grant
                .to(contact.expires.or(request.expires))
                .map_err(|min_expires_s| Refusal::IntervalTooBrief { min_expires_s })?;
            let earlier = self.entries.iter().enumerate().map(|(at, entry)| {
                let earlier = &contacts[usize::from(entry.contact)];
                (Found::Earlier(at, earlier), flow_key(request, earlier))
            });
            let stored = present.iter().enumerate().filter(|(position, _)| !claims.has(*position));
            let stored = stored.map(|(position, &(id, binding))| {
                (Found::Stored(position, id, binding), binding_flow_key(binding))
            });
            let wanted = flow_key(request, contact);
            let found = find_same(wanted, earlier.chain(stored), |found| match found {
                Found::Earlier(_, earlier) => same_uri(&earlier.uri, &contact.uri),
                Found::Stored(_, _, binding) => has_contact(binding, contact),
            });
            let target = match found {
                None => None,
                Some((Found::Earlier(at, _), _)) => {
                    let entry = &mut self.entries[at];
                    entry.contact = number as u8;
                    entry.granted_s = granted_s;
                    if let Some(target) = &mut entry.target {
                        target.same_contact = location_has(present, target.binding, contact);
                    }
                    continue;
                }
                Some((Found::Stored(position, id, binding), by)) => {
                    check_order(request, binding, key)?;
                    claims.claim(position);
                    let same_contact = by == By::Contact || has_contact(binding, contact);
                    Some(Target { binding: id, same_contact })
                }
            };
            self.entries.push(Entry { contact: number as u8, granted_s, target });
        }
        Ok(())
    }
}

fn check_contacts(contacts: &[Contact<'_>]) -> Result<(), Refusal> {
    if contacts.len() > CONTACTS_MAX {
        return Err(Refusal::TooManyContacts);
    }
    for contact in contacts {
        if !matches!(contact.uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(Refusal::ContactScheme);
        }
        if contact.uri.text.len() > CONTACT_BYTES_MAX {
            return Err(Refusal::ContactTooLong);
        }
        if contact.instance.is_some_and(|instance| instance.len() > INSTANCE_BYTES_MAX) {
            return Err(Refusal::InstanceTooLong);
        }
    }
    Ok(())
}

/// The bindings that REGISTER requests have made.
fn registered(location: &Location, aor: AorId) -> impl Iterator<Item = (BindingId, &Binding)> {
    location.bindings(aor).filter(|(_, binding)| !binding.is_static())
}

/// RFC 3261 10.3 steps 6 and 7: where the Call-ID is that of the binding, the CSeq must be higher.
/// `key` is that of hashes.
pub(super) fn check_order(
    request: &Register<'_>,
    binding: &Binding,
    key: [u64; 2],
) -> Result<(), Refusal> {
    if request.cseq <= binding.cseq() && binding.call_id().is(request.call_id, key) {
        return Err(Refusal::StaleCSeq);
    }
    Ok(())
}

/// Whether the request came before: it is the last that was accepted for this AOR, or each of its
/// contacts is as this very request left it.
pub(super) fn is_retransmission(location: &Location, request: &Register<'_>) -> bool {
    let contacts = match request.contacts {
        Contacts::List([]) | Contacts::Fetch => return false,
        _ if request.fingerprint == 0 => return false,
        _ if location.accepted(request.aor) == request.fingerprint => return true,
        Contacts::Wildcard => return false,
        Contacts::List(contacts) => contacts,
    };
    let left_some = |(_, binding): (_, &Binding)| binding.fingerprint() == request.fingerprint;
    if !registered(location, request.aor).any(left_some) {
        return false;
    }
    let mut live = false;
    for contact in contacts {
        let stored = registered(location, request.aor);
        let stored = stored.map(|(_, binding)| (binding, binding_flow_key(binding)));
        let key = flow_key(request, contact);
        let found = find_same(key, stored, |binding| has_contact(binding, contact));
        let goes = contact.expires.or(request.expires) == Some(0);
        match found {
            Some((binding, _)) if !goes && binding.fingerprint() == request.fingerprint => {
                live = true;
            }
            None if goes => {}
            _ => return false,
        }
    }
    live
}

/// What an address of the request is the same as.
enum Found<'a> {
    /// One of the request's own that stood before it: the entry and its contact.
    Earlier(usize, &'a Contact<'a>),
    /// A stored binding, by its position in [`Present`].
    Stored(usize, BindingId, &'a Binding),
}

fn location_has(present: &Present<'_>, id: BindingId, contact: &Contact<'_>) -> bool {
    present.iter().any(|&(other, binding)| other == id && has_contact(binding, contact))
}
