//! What of a binding has no fixed size or is seldom asked for, in one allocation, and how it lies
//! there. What it means is `binding`'s.
//!
//! | part | bytes |
//! |---|---|
//! | head: forms, flow, when it first came, where the contact begins, lengths | 11 |
//! | source: address and port | 6 or 18 |
//! | flow: the local address, or the connection and its chain | 0, 4 or 16 |
//! | reg-id and GRUU epoch, if there is one of them | 0 or 8 |
//! | length of the Path and of the User-Agent, if they are here | 0-3 |
//! | contact, instance, Path, User-Agent, Call-ID | as long as they are |
//!
//! An instance that is a UUID takes 16 bytes instead of 47, a UUID at the beginning of a Call-ID
//! 16 instead of 36. A User-Agent is only here where the shard has no room to keep it for all. In
//! the compact form eight bytes of hash stand for Call-ID and User-Agent.

use crate::limits::{CONTACT_BYTES_MAX, INSTANCE_BYTES_MAX, PATH_BYTES_MAX, USER_AGENT_BYTES_MAX};
use crate::registrar::compact_flow::{CompactFlow, NEXT, PREVIOUS};
use crate::registrar::names::{CallId, Instance, hash_of, uuid_of};
use crate::registrar::source::Source;
use crate::registrar::uuid::{self, Letters};

/// What is packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub source: Source,
    pub flow: CompactFlow,
    pub registered_at_s: u32,
    /// 0: none.
    pub reg_id: u32,
    /// 0: none.
    pub gruu_epoch: u32,
    pub contact: &'a [u8],
    /// Empty: none.
    pub instance: &'a [u8],
    /// Empty: none.
    pub path: &'a [u8],
    /// Empty: none, or kept elsewhere.
    pub user_agent: &'a [u8],
    pub call_id: &'a [u8],
    /// Of Call-ID and User-Agent only hashes with this key are kept.
    pub hashed: Option<[u64; 2]>,
}

/// The bytes. Of a vacant slot there are none, so no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

const FORMS: usize = 0;
const FLOW_KIND: usize = 1;
const FLOW_NUMBER: usize = 2;
const REGISTERED: usize = 3;
const CONTACT_AT: usize = 7;
const CONTACT_LEN: usize = 8;
const INSTANCE_LEN: usize = 10;
const HEAD: usize = 11;
/// Bytes of reg-id and GRUU epoch.
const OUTBOUND: usize = 8;
const HASH: usize = 8;
/// The most that can stand before the contact.
const FRONT_MAX: usize = HEAD + 18 + 16 + OUTBOUND + 3;

// Bits of the forms.
const V6: u8 = 1;
const HAS_OUTBOUND: u8 = 2;
const HAS_PATH: u8 = 4;
const HAS_AGENT: u8 = 8;
const LOWER: u8 = 1;
const UPPER: u8 = 2;
const HASHED: u8 = 3;
const INSTANCE_SHIFT: u32 = 4;
const CALL_ID_SHIFT: u32 = 6;
const FORM: u8 = 3;

const _: () = assert!(FRONT_MAX <= u8::MAX as usize);
const _: () = assert!(INSTANCE_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(USER_AGENT_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(CONTACT_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(PATH_BYTES_MAX <= u16::MAX as usize);

fn form_of(letters: Letters) -> u8 {
    match letters {
        Letters::Lower => LOWER,
        Letters::Upper => UPPER,
    }
}

fn letters_of(form: u8) -> Letters {
    if form == UPPER { Letters::Upper } else { Letters::Lower }
}

/// A text or the bytes it was packed into, and what could not be packed of it.
struct Form<'a> {
    packed: [u8; uuid::BYTES],
    packed_len: usize,
    rest: &'a [u8],
    form: u8,
}

impl<'a> Form<'a> {
    fn text(text: &'a [u8]) -> Form<'a> {
        Form { packed: [0; uuid::BYTES], packed_len: 0, rest: text, form: 0 }
    }

    fn uuid((packed, letters): ([u8; uuid::BYTES], Letters), rest: &'a [u8]) -> Form<'a> {
        Form { packed, packed_len: uuid::BYTES, rest, form: form_of(letters) }
    }

    fn hashed(text: &[u8], key: [u64; 2]) -> Form<'a> {
        let mut packed = [0; uuid::BYTES];
        packed[..HASH].copy_from_slice(&hash_of(text, key).to_le_bytes());
        Form { packed, packed_len: HASH, rest: b"", form: HASHED }
    }

    #[inline]
    fn of_instance(instance: &'a [u8]) -> Form<'a> {
        match uuid_of(instance).and_then(uuid::pack_either) {
            Some(packed) => Form::uuid(packed, b""),
            None => Form::text(instance),
        }
    }

    #[inline]
    fn of_call_id(call_id: &'a [u8]) -> Form<'a> {
        let parts = call_id.split_first_chunk();
        let packed = parts.and_then(|(begin, rest)| Some((uuid::pack_either(begin)?, rest)));
        packed.map_or(Form::text(call_id), |(packed, rest)| Form::uuid(packed, rest))
    }

    fn len(&self) -> usize {
        self.packed_len + self.rest.len()
    }
}

/// Writes one part after the other.
struct Pen<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Pen<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    #[inline]
    fn put_some(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.put(bytes);
        }
    }

    /// In lengths the compiler knows, where it can: a call to copy 16 bytes costs more than they.
    #[inline]
    fn put_form(&mut self, form: &Form<'_>) {
        match form.form {
            0 => {}
            HASHED => self.put(&form.packed[..HASH]),
            _ => self.put(&form.packed),
        }
        self.put_some(form.rest);
    }
}

/// What stands before the contact, put together where nothing moves.
struct Front {
    bytes: [u8; FRONT_MAX],
    len: usize,
}

impl Front {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }

    #[inline]
    fn new(forms: u8, parts: &Parts<'_>, instance_len: usize, agent_len: usize) -> Front {
        let mut front = Front { bytes: [0; FRONT_MAX], len: HEAD };
        let source = parts.source.to_bytes();
        let [a, b, c, d, ..] = source;
        let port = [source[16], source[17]];
        if forms & V6 == 0 {
            front.put([a, b, c, d, port[0], port[1]]);
        } else {
            let (ip_and_port, _) = source.split_first_chunk::<18>().expect("19 bytes");
            front.put(*ip_and_port);
        }
        match *parts.flow.packed() {
            [] => {}
            [a, b, c, d] => front.put([a, b, c, d]),
            ref long => front.put(<[u8; 16]>::try_from(long).expect("the longest flow")),
        }
        if forms & HAS_OUTBOUND != 0 {
            front.put(parts.reg_id.to_le_bytes());
            front.put(parts.gruu_epoch.to_le_bytes());
        }
        if forms & HAS_PATH != 0 {
            front.put((parts.path.len() as u16).to_le_bytes());
        }
        if forms & HAS_AGENT != 0 {
            front.put([agent_len as u8]);
        }
        let (kind, number) = parts.flow.head();
        let [r0, r1, r2, r3] = parts.registered_at_s.to_le_bytes();
        let [c0, c1] = (parts.contact.len() as u16).to_le_bytes();
        let (contact_at, instance_len) = (front.len as u8, instance_len as u8);
        let head: [u8; HEAD] =
            [forms, kind, number, r0, r1, r2, r3, contact_at, c0, c1, instance_len];
        front.bytes[..HEAD].copy_from_slice(&head);
        front
    }
}

impl Packed {
    /// Packs other parts. What is as long as before stays in its allocation.
    pub fn set(&mut self, parts: &Parts<'_>) {
        let instance = Form::of_instance(parts.instance);
        let (agent, call_id) = match parts.hashed {
            None => (Form::text(parts.user_agent), Form::of_call_id(parts.call_id)),
            Some(key) if parts.user_agent.is_empty() => {
                (Form::text(b""), Form::hashed(parts.call_id, key))
            }
            Some(key) => (Form::hashed(parts.user_agent, key), Form::hashed(parts.call_id, key)),
        };
        let has_outbound = parts.reg_id != 0 || parts.gruu_epoch != 0;
        let has = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        let forms = instance.form << INSTANCE_SHIFT
            | call_id.form << CALL_ID_SHIFT
            | has(parts.source.is_v6(), V6)
            | has(has_outbound, HAS_OUTBOUND)
            | has(!parts.path.is_empty(), HAS_PATH)
            | has(agent.len() > 0, HAS_AGENT);
        let front = Front::new(forms, parts, instance.len(), agent.len());
        let total = front.len
            + parts.contact.len()
            + instance.len()
            + parts.path.len()
            + agent.len()
            + call_id.len();
        if self.0.len() != total {
            self.0 = vec![0; total].into_boxed_slice();
        }
        let mut pen = Pen { out: &mut self.0, at: 0 };
        pen.put(&front.bytes[..front.len]);
        pen.put(parts.contact);
        pen.put_form(&instance);
        pen.put_some(parts.path);
        pen.put_form(&agent);
        pen.put_form(&call_id);
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn word(&self, at: usize) -> u32 {
        self.0.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
    }

    fn set_word(&mut self, at: usize, word: u32) {
        self.0[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    fn has(&self, flag: u8) -> bool {
        self.byte(FORMS) & flag != 0
    }

    fn slice(&self, at: usize, len: usize) -> &[u8] {
        self.0.get(at..at + len).unwrap_or_default()
    }

    fn contact_place(&self) -> (usize, usize) {
        let len = u16::from_le_bytes([self.byte(CONTACT_LEN), self.byte(CONTACT_LEN + 1)]);
        (usize::from(self.byte(CONTACT_AT)), usize::from(len))
    }

    pub fn contact(&self) -> &[u8] {
        let (at, len) = self.contact_place();
        self.slice(at, len)
    }

    fn instance_place(&self) -> (usize, usize) {
        let (at, len) = self.contact_place();
        (at + len, usize::from(self.byte(INSTANCE_LEN)))
    }

    pub fn instance(&self) -> Option<Instance<'_>> {
        let (at, len) = self.instance_place();
        let bytes = self.slice(at, len);
        if bytes.is_empty() {
            return None;
        }
        let form = self.byte(FORMS) >> INSTANCE_SHIFT & FORM;
        match bytes.try_into() {
            Ok(uuid) if form != 0 => Some(Instance::Uuid(uuid, letters_of(form))),
            _ => Some(Instance::Text(bytes)),
        }
    }

    fn path_place(&self) -> (usize, usize) {
        let (at, len) = self.instance_place();
        if !self.has(HAS_PATH) {
            return (at + len, 0);
        }
        let stands = self.outbound_at() + if self.has(HAS_OUTBOUND) { OUTBOUND } else { 0 };
        let path = u16::from_le_bytes([self.byte(stands), self.byte(stands + 1)]);
        (at + len, usize::from(path))
    }

    pub fn path(&self) -> &[u8] {
        if !self.has(HAS_PATH) {
            return b"";
        }
        let (at, len) = self.path_place();
        self.slice(at, len)
    }

    fn agent_place(&self) -> (usize, usize) {
        let (at, len) = self.path_place();
        let (contact_at, _) = self.contact_place();
        let agent = if self.has(HAS_AGENT) { self.byte(contact_at - 1) } else { 0 };
        (at + len, usize::from(agent))
    }

    fn is_hashed(&self) -> bool {
        self.byte(FORMS) >> CALL_ID_SHIFT & FORM == HASHED
    }

    fn hash_at(&self, at: usize) -> u64 {
        u64::from(self.word(at + 4)) << 32 | u64::from(self.word(at))
    }

    /// The User-Agent, if it is here and its text is.
    pub fn user_agent(&self) -> &[u8] {
        if !self.has(HAS_AGENT) || self.is_hashed() {
            return b"";
        }
        let (at, len) = self.agent_place();
        self.slice(at, len)
    }

    /// Whether the User-Agent that is here is this one; the empty one is where none is.
    pub fn has_user_agent(&self, user_agent: &[u8], key: [u64; 2]) -> bool {
        if self.has(HAS_AGENT) && self.is_hashed() {
            let (at, _) = self.agent_place();
            return !user_agent.is_empty() && self.hash_at(at) == hash_of(user_agent, key);
        }
        self.user_agent() == user_agent
    }

    pub fn call_id(&self) -> CallId<'_> {
        let (at, len) = self.agent_place();
        let at = at + len;
        let bytes = self.0.get(at..).unwrap_or_default();
        match self.byte(FORMS) >> CALL_ID_SHIFT & FORM {
            0 => CallId::Text(bytes),
            HASHED => CallId::Hashed(self.hash_at(at)),
            form => match bytes.split_first_chunk() {
                Some((uuid, rest)) => CallId::Uuid(uuid, letters_of(form), rest),
                None => CallId::Text(bytes),
            },
        }
    }

    pub fn registered_at_s(&self) -> u32 {
        self.word(REGISTERED)
    }

    pub fn source(&self) -> Source {
        let ip_len = self.ip_len();
        let port = self.slice(HEAD + ip_len, 2).first_chunk().copied().unwrap_or_default();
        Source::of(self.slice(HEAD, ip_len), port)
    }

    /// Whether the source is this one.
    #[inline]
    pub fn came_from(&self, source: Source) -> bool {
        let bytes = source.to_bytes();
        let is = if source.is_v6() {
            self.0.get(HEAD..HEAD + 18).is_some_and(|here| here == &bytes[..18])
        } else {
            let [a, b, c, d, ..] = bytes;
            let here = self.0.get(HEAD..HEAD + 6);
            here.is_some_and(|here| here == [a, b, c, d, bytes[16], bytes[17]])
        };
        is && source.is_v6() == self.has(V6)
    }

    fn ip_len(&self) -> usize {
        if self.has(V6) { 16 } else { 4 }
    }

    fn flow_at(&self) -> usize {
        HEAD + self.ip_len() + 2
    }

    pub fn is_over_connection(&self) -> bool {
        CompactFlow::is_kind_of_connection(self.byte(FLOW_KIND))
    }

    pub fn flow(&self) -> CompactFlow {
        let kind = self.byte(FLOW_KIND);
        let bytes = self.slice(self.flow_at(), CompactFlow::packed_len(kind));
        CompactFlow::unpack(kind, self.byte(FLOW_NUMBER), bytes)
    }

    /// Chains it to the next slot of its connection.
    pub fn set_next(&mut self, slot: u32) {
        debug_assert!(self.is_over_connection());
        self.set_word(self.flow_at() + NEXT, slot);
    }

    /// Chains it to the previous slot of its connection.
    pub fn set_previous(&mut self, slot: u32) {
        debug_assert!(self.is_over_connection());
        self.set_word(self.flow_at() + PREVIOUS, slot);
    }

    fn outbound_at(&self) -> usize {
        self.flow_at() + CompactFlow::packed_len(self.byte(FLOW_KIND))
    }

    #[inline]
    pub fn reg_id(&self) -> u32 {
        if self.has(HAS_OUTBOUND) { self.word(self.outbound_at()) } else { 0 }
    }

    #[inline]
    pub fn gruu_epoch(&self) -> u32 {
        if self.has(HAS_OUTBOUND) { self.word(self.outbound_at() + 4) } else { 0 }
    }

    /// Notes another epoch; the room for it is made where there is none.
    pub fn set_gruu_epoch(&mut self, epoch: u32) {
        if !self.has(HAS_OUTBOUND) {
            if epoch == 0 {
                return;
            }
            let (before, behind) = self.0.split_at(self.outbound_at());
            self.0 = [before, &[0; OUTBOUND], behind].concat().into_boxed_slice();
            self.0[FORMS] |= HAS_OUTBOUND;
            self.0[CONTACT_AT] += OUTBOUND as u8;
        }
        self.set_word(self.outbound_at() + 4, epoch);
    }

    /// Reads one byte of each cache line.
    pub fn touch(&self) -> u64 {
        let last = self.0.last().map_or(0, |&byte| u64::from(byte));
        self.0.iter().step_by(64).fold(last, |sum, &byte| sum ^ u64::from(byte))
    }

    /// Reads the first byte.
    pub fn first(&self) -> u8 {
        self.byte(FORMS)
    }

    #[cfg(test)]
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
