//! One binding: a contact of an address-of-record, what was granted to it, and the flow it came
//! by. It owns its bytes and their layout; which binding a request means is `plan`'s, where
//! bindings live is `location`'s.
//!
//! # What one binding costs
//! For an AOR with one contact of 45 bytes, a Call-ID of 36, an instance of 47 and a User-Agent of
//! 25, everything counted:
//!
//! | part | bytes |
//! |---|---|
//! | head of the AOR (`location`) | 16 |
//! | slot: this struct 104, link 4, generation 4, up to two whole cache lines | 128 |
//! | node of the timing wheel | 16 |
//! | the strings, in one allocation | 153 |
//! | what the allocator adds to it and rounds up | 8-23 |
//! | together | 321-336 |
//!
//! `Vec`s that have grown hold up to as much again in reserve, but pages nobody has touched are
//! not resident; what the registrar is told to expect is reserved at start.

use std::net::{IpAddr, SocketAddr};

use crate::limits::{
    CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, INSTANCE_BYTES_MAX, PATH_BYTES_MAX, USER_AGENT_BYTES_MAX,
};
use crate::registrar::location::AorId;
use crate::registrar::source::Source;
use crate::sip::header::contact::QValue;
use crate::time::Instant;

/// Names a binding for as long as it lives; a later tenant of its slot has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId {
    /// Number of the slot.
    pub index: u32,
    /// Which tenant of the slot.
    pub generation: u32,
}

/// The strings of a binding as a request carries them, each within its limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    pub contact: &'a [u8],
    pub call_id: &'a [u8],
    /// Empty: none.
    pub instance: &'a [u8],
    pub user_agent: &'a [u8],
    pub path: &'a [u8],
}

impl<'a> Texts<'a> {
    fn in_order(&self) -> [&'a [u8]; TEXTS] {
        [self.contact, self.call_id, self.instance, self.user_agent, self.path]
    }

    fn total(&self) -> usize {
        self.in_order().iter().map(|text| text.len()).sum()
    }
}

/// What a request sets anew in the binding it adds or updates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub texts: Texts<'a>,
    pub reg_id: Option<u32>,
    pub q: Option<QValue>,
    pub cseq: u32,
    pub granted_s: u32,
    pub now: Instant,
    pub source: SocketAddr,
    pub listener: u8,
    pub local_ip: Option<IpAddr>,
    pub fingerprint: u64,
}

const TEXTS: usize = 5;
const CONTACT: usize = 0;
const CALL_ID: usize = 1;
const INSTANCE: usize = 2;
const USER_AGENT: usize = 3;
const PATH: usize = 4;
/// No q was given; given ones are 0-1000.
const NO_Q: u16 = u16::MAX;
/// No reg-id was given; given ones begin with 1 (RFC 5626 4.2).
const NO_REG_ID: u32 = 0;

const _: () = assert!(
    CONTACT_BYTES_MAX
        + CALL_ID_BYTES_MAX
        + INSTANCE_BYTES_MAX
        + USER_AGENT_BYTES_MAX
        + PATH_BYTES_MAX
        <= u16::MAX as usize
);

/// A binding (RFC 3261 10.3). Times are kept in whole seconds since the origin of the monotonic
/// clock: the deadline rounded up, so that nothing ends before what its 200 promised.
#[derive(Clone, Debug)]
pub struct Binding {
    texts: Box<[u8]>,
    fingerprint: u64,
    aor: AorId,
    cseq: u32,
    reg_id: u32,
    granted_s: u32,
    expires_at_s: u32,
    registered_at_s: u32,
    refreshed_at_s: u32,
    /// Where each string ends.
    ends: [u16; TEXTS],
    q: u16,
    source: Source,
    listener: u8,
    local_ip: Option<IpAddr>,
}

/// What is left in a slot nobody lives in: no strings, so no allocation.
impl Default for Binding {
    fn default() -> Self {
        Binding {
            texts: Box::default(),
            fingerprint: 0,
            aor: AorId(0),
            cseq: 0,
            reg_id: NO_REG_ID,
            granted_s: 0,
            expires_at_s: 0,
            registered_at_s: 0,
            refreshed_at_s: 0,
            ends: [0; TEXTS],
            q: NO_Q,
            source: Source::default(),
            listener: 0,
            local_ip: None,
        }
    }
}

/// Whole seconds of an instant, rounded down; a process does not live for 136 years.
pub(super) fn seconds(at: Instant) -> u32 {
    u32::try_from(at.as_secs()).unwrap_or(u32::MAX)
}

fn seconds_up(at: Instant) -> u32 {
    u32::try_from(at.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
}

impl Binding {
    pub(super) fn new(aor: AorId, change: &Change<'_>) -> Binding {
        let mut binding =
            Binding { aor, registered_at_s: seconds(change.now), ..Binding::default() };
        binding.update(change);
        binding
    }

    /// Takes over what a request says. Strings of the same total length stay in their allocation.
    /// They are written without a look at what was there: comparing costs more than it saves.
    pub(super) fn update(&mut self, change: &Change<'_>) {
        let total = change.texts.total();
        if self.texts.len() != total {
            self.texts = vec![0; total].into_boxed_slice();
        }
        let mut at = 0;
        for (end, text) in self.ends.iter_mut().zip(change.texts.in_order()) {
            self.texts[at..at + text.len()].copy_from_slice(text);
            at += text.len();
            *end = at as u16;
        }
        self.fingerprint = change.fingerprint;
        self.cseq = change.cseq;
        self.reg_id = change.reg_id.unwrap_or(NO_REG_ID);
        self.granted_s = change.granted_s;
        self.expires_at_s = seconds_up(change.now).saturating_add(change.granted_s);
        self.refreshed_at_s = seconds(change.now);
        self.q = change.q.map_or(NO_Q, |q| q.0);
        self.source = change.source.into();
        self.listener = change.listener;
        self.local_ip = change.local_ip;
    }

    /// The binding as it becomes by `change`, with its age; the old one stays whole.
    pub(super) fn changed(&self, change: &Change<'_>) -> Binding {
        Binding { registered_at_s: self.registered_at_s, ..Binding::new(self.aor, change) }
    }

    fn text(&self, which: usize) -> &[u8] {
        let start = if which == 0 { 0 } else { usize::from(self.ends[which - 1]) };
        &self.texts[start..usize::from(self.ends[which])]
    }

    /// Whose binding it is.
    #[must_use]
    pub fn aor(&self) -> AorId {
        self.aor
    }

    /// The Contact URI as it stood, without angle brackets.
    #[must_use]
    pub fn contact(&self) -> &[u8] {
        self.text(CONTACT)
    }

    /// Call-ID of the request that last changed it.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        self.text(CALL_ID)
    }

    /// CSeq number of the request that last changed it.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// `+sip.instance`, without quotes, with its angle brackets.
    #[must_use]
    pub fn instance(&self) -> Option<&[u8]> {
        Some(self.text(INSTANCE)).filter(|instance| !instance.is_empty())
    }

    /// `reg-id` (RFC 5626 4.2).
    #[must_use]
    pub fn reg_id(&self) -> Option<u32> {
        Some(self.reg_id).filter(|&reg_id| reg_id != NO_REG_ID)
    }

    /// User-Agent, cut to its limit; empty if there was none.
    #[must_use]
    pub fn user_agent(&self) -> &[u8] {
        self.text(USER_AGENT)
    }

    /// The Path values, joined as the caller gave them (RFC 3327); empty if there were none.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.text(PATH)
    }

    /// Preference, if given.
    #[must_use]
    pub fn q(&self) -> Option<QValue> {
        Some(self.q).filter(|&q| q != NO_Q).map(QValue)
    }

    /// Seconds granted by the request that last changed it.
    #[must_use]
    pub fn granted_s(&self) -> u32 {
        self.granted_s
    }

    /// When it ends unless it is refreshed: never before what was granted, less than a second
    /// after.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        Instant::from_secs(u64::from(self.expires_at_s))
    }

    pub(super) fn expires_at_s(&self) -> u32 {
        self.expires_at_s
    }

    /// When it first came, rounded down to the second; re-targeting keeps it.
    #[must_use]
    pub fn registered_at(&self) -> Instant {
        Instant::from_secs(u64::from(self.registered_at_s))
    }

    /// When it was last refreshed, rounded down to the second.
    #[must_use]
    pub fn refreshed_at(&self) -> Instant {
        Instant::from_secs(u64::from(self.refreshed_at_s))
    }

    /// Seconds it has left, rounded up, and never more than was granted.
    #[must_use]
    pub fn remaining_s(&self, now: Instant) -> u32 {
        self.expires_at_s.saturating_sub(seconds(now)).min(self.granted_s)
    }

    /// Whether its time is over, though it may not have been cleared away yet.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at_s <= seconds(now)
    }

    /// Where its last REGISTER came from.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.source.into()
    }

    /// Number of the listener its last REGISTER came in on.
    #[must_use]
    pub fn listener(&self) -> u8 {
        self.listener
    }

    /// The local address its last REGISTER was sent to, where the listener is bound to a wildcard.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.local_ip
    }

    /// Fingerprint of the request that last changed it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Reads one byte of each cache line of the strings.
    pub(super) fn touch(&self) -> u64 {
        let last = self.texts.last().map_or(0, |&byte| u64::from(byte));
        self.texts.iter().step_by(64).fold(last, |sum, &byte| sum ^ u64::from(byte))
    }

    pub(super) fn came_from(&self, source: SocketAddr, listener: u8) -> bool {
        self.source == Source::from(source) && self.listener == listener
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change<'a>(contact: &'a [u8], call_id: &'a [u8]) -> Change<'a> {
        Change {
            texts: Texts {
                contact,
                call_id,
                instance: b"<urn:uuid:1>",
                user_agent: b"",
                path: b"<sip:edge;lr>",
            },
            reg_id: Some(2),
            q: Some(QValue(700)),
            cseq: 9,
            granted_s: 60,
            now: Instant::from_nanos(1_500_000_000),
            source: "192.0.2.1:5060".parse().unwrap(),
            listener: 1,
            local_ip: Some("2001:db8::1".parse().unwrap()),
            fingerprint: 77,
        }
    }

    #[test]
    fn every_field_comes_back_as_it_was_given() {
        let binding = Binding::new(AorId(3), &change(b"sip:a@192.0.2.1", b"c1"));
        assert_eq!(binding.aor(), AorId(3));
        assert_eq!(binding.contact(), b"sip:a@192.0.2.1");
        assert_eq!(binding.call_id(), b"c1");
        assert_eq!(binding.instance(), Some(&b"<urn:uuid:1>"[..]));
        assert_eq!(binding.user_agent(), b"");
        assert_eq!(binding.path(), b"<sip:edge;lr>");
        assert_eq!(binding.reg_id(), Some(2));
        assert_eq!(binding.q(), Some(QValue(700)));
        assert_eq!((binding.cseq(), binding.fingerprint()), (9, 77));
        assert_eq!(binding.source(), "192.0.2.1:5060".parse().unwrap());
        assert_eq!(binding.local_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(binding.listener(), 1);
    }

    #[test]
    fn never_ends_before_what_was_granted_and_never_shows_more() {
        let binding = Binding::new(AorId(0), &change(b"sip:a@h", b"c"));
        let granted_until = Instant::from_nanos(61_500_000_000);
        assert!(!binding.is_expired(granted_until));
        assert!(binding.expires_at() >= granted_until);
        assert!(binding.is_expired(Instant::from_secs(62)));
        assert_eq!(binding.remaining_s(Instant::from_nanos(1_500_000_000)), 60);
        assert_eq!(binding.remaining_s(Instant::from_nanos(2_000_000_000)), 60);
        assert_eq!(binding.remaining_s(Instant::from_nanos(2_000_000_001)), 60);
        assert_eq!(binding.remaining_s(Instant::from_secs(61)), 1);
        assert_eq!(binding.remaining_s(Instant::from_secs(90)), 0);
    }

    #[test]
    fn a_refresh_with_the_same_strings_keeps_its_allocation() {
        let mut binding = Binding::new(AorId(0), &change(b"sip:a@h", b"c1"));
        let before = binding.texts.as_ptr();
        binding.update(&Change { cseq: 10, ..change(b"sip:a@h", b"c1") });
        assert!(std::ptr::eq(binding.texts.as_ptr(), before));
        assert_eq!(binding.cseq(), 10);
        // Other bytes that add up to the same length too.
        binding.update(&change(b"sip:ab@h", b"c"));
        assert!(std::ptr::eq(binding.texts.as_ptr(), before));
        assert_eq!((binding.contact(), binding.call_id()), (&b"sip:ab@h"[..], &b"c"[..]));
        binding.update(&change(b"sip:abc@h", b"c2"));
        assert_eq!((binding.contact(), binding.call_id()), (&b"sip:abc@h"[..], &b"c2"[..]));
    }

    #[test]
    fn stays_within_the_size_its_budget_counts_with() {
        assert!(size_of::<Binding>() <= 104, "{}", size_of::<Binding>());
    }
}
