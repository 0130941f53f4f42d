//! What is the same: two contacts, a contact and the binding it means, a device and
//! the binding it left behind.

use crate::registrar::binding::Binding;
use crate::registrar::names::Instance;
use crate::registrar::plan::user_agent;
use crate::registrar::request::{Contacts, Register};
use crate::sip::header::contact::Contact;
use crate::sip::uri::Uri;

/// What names a binding under outbound: instance and reg-id (RFC 5626 6).
pub(super) type FlowKey<'a> = Option<(Instance<'a>, u32)>;

/// The largest reg-id (RFC 5626 11.1).
const REG_ID_MAX: u32 = i32::MAX as u32;

/// The instance, unless it is empty.
pub(super) fn instance<'a>(contact: &Contact<'a>) -> Option<&'a [u8]> {
    contact.instance.filter(|instance| !instance.is_empty())
}

/// The key a contact of `request` is stored by. RFC 5626 6: a reg-id counts only where outbound
/// was negotiated, and without an instance it is ignored.
#[inline]
pub(super) fn flow_key<'a>(request: &Register<'_>, contact: &Contact<'a>) -> FlowKey<'a> {
    if !request.outbound {
        return None;
    }
    let reg_id = contact.reg_id.filter(|reg_id| (1..=REG_ID_MAX).contains(reg_id));
    instance(contact).map(Instance::Text).zip(reg_id)
}

/// The key a binding is stored by: a reg-id is only kept where it counts.
#[inline]
pub(super) fn binding_flow_key(binding: &Binding) -> FlowKey<'_> {
    let reg_id = binding.reg_id()?;
    binding.instance().map(|instance| (instance, reg_id))
}

pub(super) fn same_uri(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    a.text == b.text || a.equals(b)
}

pub(super) fn has_contact(binding: &Binding, contact: &Contact<'_>) -> bool {
    has_uri(binding, &contact.uri)
}

/// Whether the binding's contact is this URI by RFC 3261 19.1.4.
pub(super) fn has_uri(binding: &Binding, uri: &Uri<'_>) -> bool {
    binding.contact() == uri.text
        || Uri::parse(binding.contact()).is_ok_and(|contact| contact.equals(uri))
}

/// What two addresses were found to be the same by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Flow,
    Contact,
}

/// The candidate that is one binding with a contact whose key is `wanted`. RFC 5626 6: where both
/// name instance and reg-id, these decide and the URIs do not matter, since one phone registers
/// one URI over several flows. Otherwise RFC 3261 10.3 step 7: the first whose URI is the same by
/// 19.1.4.
pub(super) fn find_same<'a, T>(
    wanted: FlowKey<'_>,
    candidates: impl Iterator<Item = (T, FlowKey<'a>)>,
    same_contact: impl Fn(&T) -> bool,
) -> Option<(T, By)> {
    let mut by_contact = None;
    for (candidate, key) in candidates {
        if let (Some((instance, reg_id)), Some((other, other_id))) = (wanted, key) {
            if reg_id == other_id && instance.is_same(other) {
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

/// Whether a binding that has to make room belongs to the device that pushes it out; `key` is that
/// of hashes.
pub(super) fn is_own_device(
    binding: &Binding,
    contact: &Contact<'_>,
    request: &Register<'_>,
    key: [u64; 2],
) -> bool {
    if let (Some((new, _)), Some((old, _))) =
        (flow_key(request, contact), binding_flow_key(binding))
    {
        // Behind two NATs two devices may well have one private address.
        return new.is_same(old);
    }
    // A contact that stands alone would have found a binding of the same contact before.
    let several = matches!(request.contacts, Contacts::List([_, _, ..]));
    if several && has_contact(binding, contact) {
        return true;
    }
    match (instance(contact), binding.instance()) {
        // A device that takes up outbound, or gives it up, is still the same device.
        (Some(new), Some(old)) => Instance::Text(new).is_same(old),
        _ => {
            request.cseq > binding.cseq()
                && binding.call_id().is(request.call_id, key)
                && binding.has_user_agent(user_agent(request), key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reg_id_counts_with_an_instance_under_outbound_and_within_its_range() {
        let uri = Uri::parse(b"sip:a@h").unwrap();
        let contact = |instance: Option<&'static str>, reg_id| Contact {
            uri,
            q: None,
            expires: None,
            instance: instance.map(str::as_bytes),
            reg_id,
            params: b"",
        };
        let outbound = Register { outbound: true, ..Register::default() };
        let key = |request: &Register<'_>, contact: &Contact<'_>| {
            flow_key(request, contact).map(|(_, reg_id)| reg_id)
        };
        assert_eq!(key(&outbound, &contact(Some("<urn:uuid:1>"), Some(1))), Some(1));
        assert_eq!(key(&Register::default(), &contact(Some("<urn:uuid:1>"), Some(1))), None);
        assert_eq!(key(&outbound, &contact(None, Some(1))), None);
        assert_eq!(key(&outbound, &contact(Some(""), Some(1))), None);
        for (reg_id, counts) in [(0, false), (REG_ID_MAX, true), (REG_ID_MAX + 1, false)] {
            let contact = contact(Some("<urn:uuid:1>"), Some(reg_id));
            assert_eq!(key(&outbound, &contact).is_some(), counts, "{reg_id}");
        }
    }
}
