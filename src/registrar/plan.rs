//! What a REGISTER would do to the bindings of its AOR, decided in full before anything is
//! changed: RFC 3261 10.3 steps 6 and 7, and who makes room where the limit is reached. A request
//! that is refused here has touched nothing, so it is all or nothing by construction.

use arrayvec::ArrayVec;

use crate::config::{Registrar as Config, Replace};
use crate::limits::{
    BINDINGS_MAX, CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, CONTACTS_MAX, INSTANCE_BYTES_MAX,
    PATH_BYTES_MAX, USER_AGENT_BYTES_MAX,
};
use crate::registrar::binding::{Binding, BindingId};
use crate::registrar::grant::Grant;
use crate::registrar::location::Location;
use crate::registrar::request::{Contacts, Refusal, Register};
use crate::sip::header::contact::Contact;
use crate::sip::uri::{Scheme, Uri};

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
    fn adds(&self) -> bool {
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
    /// Bindings of other devices that make room, the oldest first.
    pub kicked: ArrayVec<BindingId, BINDINGS_MAX>,
}

type Present<'a> = ArrayVec<(BindingId, &'a Binding), BINDINGS_MAX>;

/// A set of positions in [`Present`].
#[derive(Clone, Copy, Default)]
struct Claims(u64);

const _: () = assert!(BINDINGS_MAX <= u64::BITS as usize);

impl Claims {
    fn claim(&mut self, position: usize) {
        self.0 |= 1 << position;
    }

    fn has(self, position: usize) -> bool {
        self.0 >> position & 1 == 1
    }

    fn count(self) -> usize {
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
    pub fn decide(
        &mut self,
        location: &Location,
        config: &Config,
        key: [u64; 2],
        request: &Register<'_>,
    ) -> Result<(), Refusal> {
        if request.call_id.len() > CALL_ID_BYTES_MAX {
            return Err(Refusal::CallIdTooLong);
        }
        if request.path.len() > PATH_BYTES_MAX {
            return Err(Refusal::PathTooLong);
        }
        match request.contacts {
            Contacts::Fetch => Ok(()),
            Contacts::Wildcard => self.decide_wildcard(location, request),
            Contacts::List(contacts) => {
                check_contacts(contacts)?;
                let present: Present<'_> = location.bindings(request.aor).collect();
                let grant = Grant::new(config, key, request.call_id, request.cseq);
                let mut claims = Claims::default();
                self.match_contacts(&present, contacts, grant, request, &mut claims)?;
                self.make_room(&present, contacts, config, request, claims)
            }
        }
    }

    fn decide_wildcard(
        &mut self,
        location: &Location,
        request: &Register<'_>,
    ) -> Result<(), Refusal> {
        // RFC 3261 10.3 step 6: `*` only with an expiration of zero.
        if request.expires != Some(0) {
            return Err(Refusal::WildcardExpires);
        }
        for (id, binding) in location.bindings(request.aor) {
            check_order(request, binding)?;
            self.wiped.push(id);
        }
        Ok(())
    }

    /// RFC 3261 10.3 step 7: each address in turn, against the bindings as the addresses before it
    /// leave them. An address that stands twice is one address, and the last word on it counts:
    /// the order of Call-ID and CSeq is one between requests, not within one.
    fn match_contacts(
        &mut self,
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
                (Found::Earlier(at, earlier), flow(earlier))
            });
            let stored = present.iter().enumerate().filter(|(position, _)| !claims.has(*position));
            let stored = stored.map(|(position, &(id, binding))| {
                (Found::Stored(position, id, binding), binding_flow(binding))
            });
            let found = find_same(contact, earlier.chain(stored), |found| match found {
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
                    check_order(request, binding)?;
                    claims.claim(position);
                    let same_contact = by == By::Contact || has_contact(binding, contact);
                    Some(Target { binding: id, same_contact })
                }
            };
            self.entries.push(Entry { contact: number as u8, granted_s, target });
        }
        Ok(())
    }

    /// Keeps a request that adds bindings within the limit. One that adds none always fits: a
    /// refresh is never a replacement, even where the limit has been lowered meanwhile.
    fn make_room(
        &mut self,
        present: &Present<'_>,
        contacts: &[Contact<'_>],
        config: &Config,
        request: &Register<'_>,
        mut claims: Claims,
    ) -> Result<(), Refusal> {
        let live = self.entries.iter().filter(|entry| entry.granted_s > 0).count();
        if !self.entries.iter().any(Entry::adds) {
            return Ok(());
        }
        let limit = usize::from(request.bindings_max.unwrap_or(config.bindings_max));
        let limit = limit.clamp(1, BINDINGS_MAX);
        let refused = Refusal::TooManyBindings { retry_after_s: config.retry_after_s };
        if live > limit {
            return Err(refused);
        }
        let mut over = (present.len() - claims.count() + live).saturating_sub(limit);

        // A binding pushed out by its own device is re-targeted, also where replacing is off.
        for entry in self.entries.iter_mut().filter(|entry| entry.adds()) {
            if over == 0 {
                return Ok(());
            }
            let contact = &contacts[usize::from(entry.contact)];
            let own = present.iter().enumerate().find(|(position, (_, binding))| {
                !claims.has(*position) && is_own_device(binding, contact, request)
            });
            if let Some((position, &(id, binding))) = own {
                check_order(request, binding)?;
                claims.claim(position);
                let same_contact = has_contact(binding, contact);
                entry.target = Some(Target { binding: id, same_contact });
                over -= 1;
            }
        }
        // SS_ENDPOINT_REGISTER_REPLACE decides about the devices of others.
        if over > 0 && config.replace == Replace::Never {
            return Err(refused);
        }
        let others = present.iter().enumerate().filter(|(position, _)| !claims.has(*position));
        self.kicked.extend(others.map(|(_, &(id, _))| id).take(over));
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

/// RFC 3261 10.3 steps 6 and 7: where the Call-ID is that of the binding, the CSeq must be higher.
fn check_order(request: &Register<'_>, binding: &Binding) -> Result<(), Refusal> {
    if request.cseq <= binding.cseq() && request.call_id == binding.call_id() {
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
    if !location.bindings(request.aor).any(left_some) {
        return false;
    }
    let mut live = false;
    for contact in contacts {
        let stored = location.bindings(request.aor);
        let stored = stored.map(|(_, binding)| (binding, binding_flow(binding)));
        let found = find_same(contact, stored, |binding| has_contact(binding, contact));
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

type Flow<'a> = Option<(&'a [u8], u32)>;

fn flow<'a>(contact: &Contact<'a>) -> Flow<'a> {
    contact.instance.filter(|instance| !instance.is_empty()).zip(contact.reg_id)
}

fn binding_flow(binding: &Binding) -> Flow<'_> {
    binding.instance().zip(binding.reg_id())
}

/// What an address of the request is the same as.
enum Found<'a> {
    /// One of the request's own that stood before it: the entry and its contact.
    Earlier(usize, &'a Contact<'a>),
    /// A stored binding, by its position in [`Present`].
    Stored(usize, BindingId, &'a Binding),
}

/// What two addresses were found to be the same by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Flow,
    Contact,
}

/// The candidate that is one binding with `contact`. RFC 5626 6: where both name instance and
/// reg-id, these decide and the URIs do not matter, since one phone registers one URI over several
/// flows. Otherwise RFC 3261 10.3 step 7: the first whose URI is the same by 19.1.4.
fn find_same<'a, T>(
    contact: &Contact<'_>,
    candidates: impl Iterator<Item = (T, Flow<'a>)>,
    same_contact: impl Fn(&T) -> bool,
) -> Option<(T, By)> {
    let wanted = flow(contact);
    let mut by_contact = None;
    for (candidate, flow) in candidates {
        if wanted.is_some() && flow.is_some() {
            if wanted == flow {
                return Some((candidate, By::Flow));
            }
        } else if by_contact.is_none() && same_contact(&candidate) {
            by_contact = Some((candidate, By::Contact));
            if wanted.is_none() {
                break;
            }
        }
    }
    by_contact
}

fn same_uri(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    a.text == b.text || a.equals(b)
}

fn has_contact(binding: &Binding, contact: &Contact<'_>) -> bool {
    binding.contact() == contact.uri.text
        || Uri::parse(binding.contact()).is_ok_and(|uri| uri.equals(&contact.uri))
}

fn location_has(present: &Present<'_>, id: BindingId, contact: &Contact<'_>) -> bool {
    present.iter().any(|&(other, binding)| other == id && has_contact(binding, contact))
}

/// Whether a binding that has to make room belongs to the device that pushes it out.
fn is_own_device(binding: &Binding, contact: &Contact<'_>, request: &Register<'_>) -> bool {
    let instance = contact.instance.filter(|instance| !instance.is_empty());
    if has_contact(binding, contact) {
        return true;
    }
    match (instance, binding.instance()) {
        (Some(new), Some(old)) => new == old && contact.reg_id == binding.reg_id(),
        _ => {
            request.call_id == binding.call_id()
                && request.cseq > binding.cseq()
                && user_agent(request) == binding.user_agent()
        }
    }
}
