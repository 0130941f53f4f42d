//! The two names a phone gives itself, as they are kept: its instance (RFC 5626 4.1) and the
//! Call-ID of its registrations. A UUID is kept as 16 bytes; where memory is short, of a Call-ID
//! only a keyed hash is, since nothing is ever asked of it but whether it is the same (RFC 3261
//! 10.3 step 7).

use std::hash::Hasher;

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher13;

use crate::limits::CALL_ID_BYTES_MAX;
use crate::registrar::gruu::InstanceText;
use crate::registrar::uuid::{self, Letters};

/// What stands before and behind the UUID of an instance.
pub(super) const UUID_URN: &[u8; 10] = b"<urn:uuid:";
/// An instance that is a UUID, with its angle brackets.
pub(super) const UUID_INSTANCE_BYTES: usize = UUID_URN.len() + uuid::TEXT_BYTES + 1;

/// An instance, with its angle brackets. Whether two mean one device, [`Instance::is_same`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance<'a> {
    /// As it stood.
    Text(&'a [u8]),
    /// `<urn:uuid:...>` of these bytes, in letters of this case.
    Uuid(&'a [u8; 16], Letters),
}

impl<'a> From<&'a [u8]> for Instance<'a> {
    fn from(text: &'a [u8]) -> Self {
        Instance::Text(text)
    }
}

/// The UUID of an instance, as its text stands.
#[inline]
pub(super) fn uuid_of(instance: &[u8]) -> Option<&[u8; uuid::TEXT_BYTES]> {
    instance.strip_prefix(UUID_URN)?.strip_suffix(b">")?.try_into().ok()
}

impl Instance<'_> {
    /// As it stood.
    #[must_use]
    pub fn text(&self) -> InstanceText {
        let mut out = InstanceText::new();
        // None is longer than what a binding keeps of one.
        let _ = match *self {
            Instance::Text(text) => out.try_extend_from_slice(text),
            Instance::Uuid(bytes, letters) => {
                let mut text = [b'>'; UUID_INSTANCE_BYTES];
                let (urn, behind) = text.split_at_mut(UUID_URN.len());
                urn.copy_from_slice(UUID_URN);
                behind[..uuid::TEXT_BYTES].copy_from_slice(&uuid::unpack(bytes, letters));
                out.try_extend_from_slice(&text)
            }
        };
        out
    }

    /// Whether both are one device. They are URNs: `urn` and the namespace compare in any case
    /// (RFC 8141 3.1), and so does all of a UUID (RFC 9562 4).
    #[inline]
    #[must_use]
    pub fn is_same(self, other: Instance<'_>) -> bool {
        match (self, other) {
            (Instance::Text(a), Instance::Text(b)) => {
                a == b || (a.len() == b.len() && a.eq_ignore_ascii_case(b) && same_urn(a, b))
            }
            (Instance::Uuid(a, _), Instance::Uuid(b, _)) => a == b,
            (Instance::Text(text), Instance::Uuid(bytes, _))
            | (Instance::Uuid(bytes, _), Instance::Text(text)) => is_uuid(text, bytes),
        }
    }
}

/// Whether a text is the instance of this UUID, in any case.
fn is_uuid(text: &[u8], bytes: &[u8; 16]) -> bool {
    let Ok(mut text) = <[u8; UUID_INSTANCE_BYTES]>::try_from(text) else { return false };
    text.make_ascii_lowercase();
    uuid_of(&text).and_then(|uuid| uuid::pack(uuid, Letters::Lower)) == Some(*bytes)
}

#[cold]
fn same_urn(a: &[u8], b: &[u8]) -> bool {
    const URN: &[u8] = b"<urn:";
    let begins = |prefix: &[u8]| {
        a.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if begins(UUID_URN) {
        return true;
    }
    if !begins(URN) {
        return false;
    }
    let namespace = a[URN.len()..].iter().position(|&byte| byte == b':');
    namespace.is_some_and(|len| a[URN.len() + len..] == b[URN.len() + len..])
}

/// A Call-ID as text.
pub type CallIdText = ArrayVec<u8, CALL_ID_BYTES_MAX>;

/// A Call-ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallId<'a> {
    /// As it stood.
    Text(&'a [u8]),
    /// It begins with the UUID of these bytes, in letters of this case; the rest as it stood.
    Uuid(&'a [u8; 16], Letters, &'a [u8]),
    /// Its keyed hash is all that was kept.
    Hashed(u64),
}

impl CallId<'_> {
    /// As it stood, if that was kept; empty for what no request has made.
    #[must_use]
    pub fn text(&self) -> Option<CallIdText> {
        let mut out = CallIdText::new();
        match *self {
            CallId::Text(text) => out.extend(text.iter().copied()),
            CallId::Uuid(bytes, letters, rest) => {
                out.extend(uuid::unpack(bytes, letters));
                out.extend(rest.iter().copied());
            }
            CallId::Hashed(_) => return None,
        }
        Some(out)
    }

    /// Whether it is this one; `key` is that of its hash.
    #[must_use]
    pub fn is(&self, call_id: &[u8], key: [u64; 2]) -> bool {
        match *self {
            CallId::Text(text) => text == call_id,
            CallId::Uuid(bytes, letters, rest) => {
                call_id.split_first_chunk().is_some_and(|(uuid, behind)| {
                    behind == rest && *uuid == uuid::unpack(bytes, letters)
                })
            }
            CallId::Hashed(hash) => hash == hash_of(call_id, key),
        }
    }
}

/// What is kept of a text of which nothing else is. Keyed, so that nobody outside can tell which
/// texts share theirs.
pub(super) fn hash_of(text: &[u8], key: [u64; 2]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_compare_as_urns() {
        let same =
            |a: &str, b: &str| Instance::from(a.as_bytes()).is_same(Instance::from(b.as_bytes()));
        assert!(same("<urn:uuid:00AB-cd>", "<URN:UUID:00ab-CD>"));
        assert!(!same("<urn:uuid:00ab>", "<urn:uuid:00ac>"));
        assert!(same("<urn:imei:35-1>", "<URN:IMEI:35-1>"));
        assert!(!same("<urn:example:a>", "<urn:example:A>"));
        assert!(!same("<urn:example>", "<urn:EXAMPLE>"), "no namespace, so no URN");
        assert!(!same("<tag:a>", "<TAG:a>"), "no URN is compared byte for byte");
        assert!(same("", ""));
    }

    #[test]
    fn a_packed_uuid_is_the_same_as_its_text_in_any_case_and_as_no_other() {
        let text = "<urn:uuid:00112233-4455-6677-8899-aabbccddeeff>";
        let bytes = &uuid::pack(uuid_of(text.as_bytes()).unwrap(), Letters::Lower).unwrap();
        let packed = Instance::Uuid(bytes, Letters::Upper);
        assert_eq!(
            packed.text().as_slice(),
            text.to_uppercase().replace("URN:UUID", "urn:uuid").as_bytes()
        );
        for same in [text.to_owned(), text.to_uppercase(), text.replace("aabb", "aAbB")] {
            assert!(packed.is_same(Instance::Text(same.as_bytes())), "{same}");
            assert!(Instance::Text(same.as_bytes()).is_same(packed), "{same}");
        }
        assert!(packed.is_same(Instance::Uuid(bytes, Letters::Lower)));
        for other in
            ["", "<urn:uuid:1>", &text.replace("aabb", "aabc"), &text.replace("ff>", "fg>")]
        {
            assert!(!packed.is_same(Instance::Text(other.as_bytes())), "{other}");
        }
    }

    #[test]
    fn a_call_id_is_itself_and_no_other_however_it_is_kept() {
        let text = b"00112233-4455-6677-8899-aabbccddeeff@192.0.2.1";
        let (uuid, rest) = text.split_first_chunk().unwrap();
        let bytes = &uuid::pack(uuid, Letters::Lower).unwrap();
        let key = [3, 4];
        let packed = CallId::Uuid(bytes, Letters::Lower, rest);
        for kept in [CallId::Text(text), packed, CallId::Hashed(hash_of(text, key))] {
            assert!(kept.is(text, key));
            // RFC 3261 8.1.1.4: Call-IDs are compared byte by byte.
            let others: [&[u8]; 4] = [b"", b"x", uuid, &text.to_ascii_uppercase()];
            assert!(others.iter().all(|other| !kept.is(other, key)));
        }
        assert_eq!(packed.text().as_deref(), Some(&text[..]));
        assert_eq!(CallId::Hashed(1).text(), None);
        assert!(!CallId::Hashed(hash_of(text, key)).is(text, [4, 3]));
    }
}
