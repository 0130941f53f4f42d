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
//! | slot: this struct 112, link 4, generation 4, up to two whole cache lines | 128 |
//! | node of the timing wheel | 16 |
//! | the strings, in one allocation | 153 |
//! | what the allocator adds to it and rounds up | 8-23 |
//! | together | 321-336 |
//!
//! `Vec`s that have grown hold up to as much again in reserve, but pages nobody has touched are
//! not resident; what the registrar is told to expect is reserved at start.

use std::net::{IpAddr, SocketAddr};

use crate::flow::{ConnectionId, Flow};
use crate::limits::{
    CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, INSTANCE_BYTES_MAX, PATH_BYTES_MAX, USER_AGENT_BYTES_MAX,
};
use crate::nat::Keepalive;
use crate::registrar::compact_flow::CompactFlow;
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
    pub late_s: u16,
    pub source: SocketAddr,
    pub flow: CompactFlow,
    pub behind_nat: bool,
    pub proven: bool,
    pub keepalive: Keepalive,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Temporary GRUUs that carry this number lead to the instance; 0: it has been given none.
    gruu_epoch: u32,
    /// Where each string ends.
    ends: [u16; TEXTS],
    q: u16,
    /// How long it is kept past `expires_at_s`.
    late_s: u16,
    source: Source,
    flow: CompactFlow,
    flags: u8,
}

/// Provided with the account; no REGISTER made it and none may change it.
const STATIC: u8 = 1;
/// It is known not to answer.
const UNREACHABLE: u8 = 2;
/// A call goes over it.
const IN_CALL: u8 = 4;
/// Its last REGISTER came through a NAT.
const BEHIND_NAT: u8 = 8;
/// What keeps its pinhole open, in three bits.
const KEEPALIVE: u8 = 7 << KEEPALIVE_SHIFT;
const KEEPALIVE_SHIFT: u32 = 4;
/// The source of its last REGISTER has proved that it receives what is sent there.
const PROVEN: u8 = 128;

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
            gruu_epoch: 0,
            ends: [0; TEXTS],
            q: NO_Q,
            late_s: 0,
            source: Source::default(),
            flow: CompactFlow::default(),
            flags: 0,
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

    /// A contact that is bound without a REGISTER, for as long as its account says so.
    pub(super) fn permanent(aor: AorId, contact: &[u8], q: Option<QValue>, now: Instant) -> Self {
        let texts = Texts { contact, call_id: b"", instance: b"", user_agent: b"", path: b"" };
        let change = Change {
            texts,
            reg_id: None,
            q,
            cseq: 0,
            granted_s: u32::MAX,
            now,
            late_s: 0,
            source: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0),
            flow: CompactFlow::default(),
            behind_nat: false,
            proven: false,
            keepalive: Keepalive::None,
            fingerprint: 0,
        };
        Binding { flags: STATIC, expires_at_s: u32::MAX, ..Binding::new(aor, &change) }
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
        self.late_s = change.late_s;
        self.source = change.source.into();
        self.flow = change.flow;
        // Whoever registers can be reached.
        self.flags = self.flags & IN_CALL
            | if change.behind_nat { BEHIND_NAT } else { 0 }
            | if change.proven { PROVEN } else { 0 }
            | change.keepalive.to_bits() << KEEPALIVE_SHIFT;
    }

    /// The binding as it becomes by `change`, with its age, its calls and its GRUUs; the old one
    /// stays whole.
    pub(super) fn changed(&self, change: &Change<'_>) -> Binding {
        let mut new = Binding {
            registered_at_s: self.registered_at_s,
            gruu_epoch: self.gruu_epoch,
            ..Binding::new(self.aor, change)
        };
        new.flags |= self.flags & IN_CALL;
        new
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

    /// Until when it was granted: never before what its 200 promised, less than a second after.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        Instant::from_secs(u64::from(self.expires_at_s))
    }

    /// When it is forgotten unless it is refreshed: the late margin after [`Binding::expires_at`].
    #[must_use]
    pub fn forgotten_at(&self) -> Instant {
        Instant::from_secs(u64::from(self.forgotten_at_s()))
    }

    #[inline]
    pub(super) fn forgotten_at_s(&self) -> u32 {
        self.expires_at_s.saturating_add(u32::from(self.late_s))
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

    /// Whether what was granted is over. Through its late margin it can still be reached and
    /// refreshed, but no 200 promises it any more.
    #[must_use]
    #[inline]
    pub fn is_late(&self, now: Instant) -> bool {
        self.expires_at_s <= seconds(now)
    }

    /// Whether its late margin is over too: it is gone, though it may not have been cleared away
    /// yet.
    #[must_use]
    #[inline]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.forgotten_at_s() <= seconds(now)
    }

    /// Where its last REGISTER came from.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.source.into()
    }

    /// The flow its last REGISTER came by (RFC 5626 2).
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow.flow()
    }

    /// The connection that takes the binding along when it closes. With a Path there is none: the
    /// connection is then an edge proxy's, which another connection reaches as well (RFC 3327 5.3).
    #[must_use]
    #[inline]
    pub fn tied_to(&self) -> Option<ConnectionId> {
        if self.flow.is_connection() && self.path().is_empty() {
            self.flow.connection()
        } else {
            None
        }
    }

    pub(super) fn compact_flow(&self) -> &CompactFlow {
        &self.flow
    }

    pub(super) fn compact_flow_mut(&mut self) -> &mut CompactFlow {
        &mut self.flow
    }

    /// Whether it was provided with the account: no REGISTER made it, none may change it, and it
    /// has no end.
    #[must_use]
    #[inline]
    pub fn is_static(&self) -> bool {
        self.flags & STATIC != 0
    }

    /// Whether nobody has found it not to answer since it was last refreshed.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.flags & UNREACHABLE == 0
    }

    /// Whether a call goes over it.
    #[must_use]
    pub fn is_in_call(&self) -> bool {
        self.flags & IN_CALL != 0
    }

    /// Whether its last REGISTER came through a NAT.
    #[must_use]
    pub fn is_behind_nat(&self) -> bool {
        self.flags & BEHIND_NAT != 0
    }

    /// Whether the source of its last REGISTER proved that it receives what is sent there: by a
    /// digest over a nonce that was given to it, or by a connection. To nobody else may be sent
    /// what he has not asked for.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.flags & PROVEN != 0
    }

    /// What keeps its pinhole open.
    #[must_use]
    pub fn keepalive(&self) -> Keepalive {
        Keepalive::from_bits((self.flags & KEEPALIVE) >> KEEPALIVE_SHIFT)
    }

    pub(super) fn set_reachable(&mut self, reachable: bool) {
        self.flags = self.flags & !UNREACHABLE | if reachable { 0 } else { UNREACHABLE };
    }

    pub(super) fn set_in_call(&mut self, in_call: bool) {
        self.flags = self.flags & !IN_CALL | if in_call { IN_CALL } else { 0 };
    }

    /// The number its temporary GRUUs carry (RFC 5627 3.1.2); 0: it was given none.
    #[must_use]
    #[inline]
    pub fn gruu_epoch(&self) -> u32 {
        self.gruu_epoch
    }

    pub(super) fn set_gruu_epoch(&mut self, epoch: u32) {
        self.gruu_epoch = epoch;
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

    /// Reads the first byte of the strings, so that the cache misses of many bindings overlap.
    #[must_use]
    pub fn touch_first(&self) -> u8 {
        self.texts.first().copied().unwrap_or_default()
    }

    pub(super) fn came_from(&self, source: SocketAddr) -> bool {
        self.source == Source::from(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: Flow =
        Flow::Datagram { listener: 1, local_ip: Some(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)) };

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
            late_s: 5,
            flow: FLOW.into(),
            behind_nat: true,
            proven: true,
            keepalive: Keepalive::Theirs,
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
        assert_eq!(binding.flow(), FLOW);
        assert!(binding.is_behind_nat() && binding.is_reachable() && binding.is_proven());
        assert_eq!(binding.keepalive(), Keepalive::Theirs);
        assert!(!binding.is_static() && !binding.is_in_call());
    }

    #[test]
    fn never_ends_before_what_was_granted_and_never_shows_more() {
        let binding = Binding::new(AorId(0), &change(b"sip:a@h", b"c"));
        let granted_until = Instant::from_nanos(61_500_000_000);
        assert!(!binding.is_late(granted_until));
        assert!(binding.expires_at() >= granted_until);
        assert!(binding.is_late(Instant::from_secs(62)));
        assert!(!binding.is_expired(Instant::from_nanos(66_999_999_999)));
        assert!(binding.is_expired(Instant::from_secs(67)));
        assert_eq!(binding.forgotten_at(), Instant::from_secs(67));
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
    fn a_refresh_ends_what_was_known_of_reachability_and_no_call() {
        let mut binding = Binding::new(AorId(0), &change(b"sip:a@h", b"c1"));
        binding.set_reachable(false);
        binding.set_in_call(true);
        let moved = binding.changed(&change(b"sip:b@h", b"c1"));
        binding.update(&change(b"sip:a@h", b"c1"));
        for binding in [&binding, &moved] {
            assert!(binding.is_reachable() && binding.is_in_call());
        }
    }

    #[test]
    fn only_without_a_path_does_a_connection_take_its_binding_along() {
        let id = ConnectionId { reactor: 0, slot: 1, generation: 2 };
        let flow = Flow::Connection { id, transport: crate::flow::Transport::Tcp }.into();
        let proxied = change(b"sip:a@h", b"c1");
        let direct = Texts { path: b"", ..proxied.texts };
        let direct = Binding::new(AorId(0), &Change { flow, texts: direct, ..proxied });
        assert_eq!(direct.tied_to(), Some(id));
        let proxied = Binding::new(AorId(0), &Change { flow, ..proxied });
        assert_eq!(proxied.tied_to(), None);
        assert_eq!(proxied.flow().connection(), Some(id));
    }

    #[test]
    fn what_an_account_provides_has_no_end() {
        let q = Some(QValue(500));
        let binding = Binding::permanent(AorId(1), b"sip:gw@h", q, Instant::from_secs(5));
        assert!(binding.is_static());
        assert_eq!((binding.contact(), binding.q()), (&b"sip:gw@h"[..], q));
        assert!(!binding.is_late(Instant::from_secs(u64::from(u32::MAX - 1))));
    }

    #[test]
    fn stays_within_the_size_its_budget_counts_with() {
        assert!(size_of::<Binding>() <= 112, "{}", size_of::<Binding>());
    }
}
