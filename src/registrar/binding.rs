//! One binding: a contact of an address-of-record, what was granted to it, and the flow it came
//! by. It owns its bytes and their layout; which binding a request means is `plan`'s, where
//! bindings live is `location`'s.
//!
//! # What one binding costs
//! For an AOR with one contact of 42 bytes, a Call-ID and an instance that are UUIDs and a
//! User-Agent that others have too, over UDP and IPv4, everything counted:
//!
//! | part | bytes |
//! |---|---|
//! | head of the AOR (`location`) | 16 |
//! | slot: this struct 56, link 4, generation 4, one whole cache line | 64 |
//! | node of the timing wheel | 16 |
//! | the strings and what else has no fixed size (`packed`), in one allocation | 91-95 |
//! | what the allocator adds to it and rounds up | 17-21 |
//! | together | 208 |
//!
//! In the compact form it is 16 less here, and 28 and more where a Call-ID is no UUID. `Vec`s that
//! have grown hold up to as much again in reserve, but pages nobody has touched are not resident;
//! what the registrar is told to expect is reserved at start.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::flow::{ConnectionId, Flow};
use crate::nat::Keepalive;
use crate::registrar::agents::{Agent, Agents};
use crate::registrar::compact_flow::CompactFlow;
use crate::registrar::location::AorId;
use crate::registrar::names::{CallId, Instance};
use crate::registrar::packed::{Packed, Parts};
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
    /// Of Call-ID and User-Agent only hashes with this key are kept.
    pub hashed: Option<[u64; 2]>,
}

/// No reg-id was given; given ones begin with 1 (RFC 5626 4.2).
const NO_REG_ID: u32 = 0;

/// A binding (RFC 3261 10.3). Times are kept in whole seconds since the origin of the monotonic
/// clock: the deadline rounded up, so that nothing ends before what its 200 promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    packed: Packed,
    /// The User-Agent, where there was room to keep it for all.
    agent: Option<Arc<Agent>>,
    fingerprint: u64,
    aor: AorId,
    cseq: u32,
    granted_s: u32,
    expires_at_s: u32,
    refreshed_at_s: u32,
    /// Flags, q, and how long it is kept past `expires_at_s`.
    marks: u32,
}

/// Provided with the account; no REGISTER made it and none may change it.
const STATIC: u32 = 1;
/// It is known not to answer.
const UNREACHABLE: u32 = 2;
/// A call goes over it.
const IN_CALL: u32 = 4;
/// Its last REGISTER came through a NAT.
const BEHIND_NAT: u32 = 8;
/// What keeps its pinhole open, in three bits.
const KEEPALIVE: u32 = 7 << KEEPALIVE_SHIFT;
const KEEPALIVE_SHIFT: u32 = 4;
/// The source of its last REGISTER has proved that it receives what is sent there.
const PROVEN: u32 = 128;
/// A q in thousandths, in ten bits.
const Q: u32 = 1023;
const Q_SHIFT: u32 = 8;
/// No q was given; given ones are 0-1000.
const NO_Q: u32 = Q;
/// What is left of the bits: seconds of the late margin.
const LATE_SHIFT: u32 = 18;
const LATE_S_MAX: u16 = (u32::MAX >> LATE_SHIFT) as u16;

/// What is left in a slot nobody lives in: no strings, so no allocation.
impl Default for Binding {
    fn default() -> Self {
        Binding {
            packed: Packed::default(),
            agent: None,
            fingerprint: 0,
            aor: AorId(0),
            cseq: 0,
            granted_s: 0,
            expires_at_s: 0,
            refreshed_at_s: 0,
            marks: NO_Q << Q_SHIFT,
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
    pub(super) fn new(aor: AorId, change: &Change<'_>, agents: &mut Agents) -> Binding {
        let mut binding = Binding { aor, ..Binding::default() };
        let agent = agents.share(change.texts.user_agent);
        binding.set(change, agent, seconds(change.now), 0);
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
            hashed: None,
        };
        let mut binding = Binding { aor, ..Binding::default() };
        binding.set(&change, None, seconds(now), 0);
        binding.marks |= STATIC;
        binding.expires_at_s = u32::MAX;
        binding
    }

    /// Takes over what a request says. What is as long as before stays in its allocation. It is
    /// written without a look at what was there: comparing costs more than it saves.
    pub(super) fn update(&mut self, change: &Change<'_>, agents: &mut Agents) {
        let user_agent = change.texts.user_agent;
        let same = self.agent.take().filter(|agent| agent.text() == user_agent);
        let agent = same.or_else(|| agents.share(user_agent));
        self.set(change, agent, self.packed.registered_at_s(), self.packed.gruu_epoch());
    }

    #[inline]
    fn set(
        &mut self,
        change: &Change<'_>,
        agent: Option<Arc<Agent>>,
        registered_at_s: u32,
        gruu_epoch: u32,
    ) {
        let Texts { contact, call_id, instance, user_agent, path } = change.texts;
        self.packed.set(&Parts {
            source: change.source.into(),
            flow: change.flow,
            registered_at_s,
            reg_id: change.reg_id.unwrap_or(NO_REG_ID),
            gruu_epoch,
            contact,
            instance,
            path,
            user_agent: if agent.is_some() { b"" } else { user_agent },
            call_id,
            hashed: change.hashed,
        });
        self.agent = agent;
        self.fingerprint = change.fingerprint;
        self.cseq = change.cseq;
        self.granted_s = change.granted_s;
        self.expires_at_s = seconds_up(change.now).saturating_add(change.granted_s);
        self.refreshed_at_s = seconds(change.now);
        // Whoever registers can be reached.
        self.marks = self.marks & IN_CALL
            | if change.behind_nat { BEHIND_NAT } else { 0 }
            | if change.proven { PROVEN } else { 0 }
            | u32::from(change.keepalive.to_bits()) << KEEPALIVE_SHIFT
            | change.q.map_or(NO_Q, |q| u32::from(q.0).min(NO_Q)) << Q_SHIFT
            | u32::from(change.late_s.min(LATE_S_MAX)) << LATE_SHIFT;
    }

    /// The binding as it becomes by `change`, with its age, its calls and its GRUUs; the old one
    /// stays whole.
    pub(super) fn changed(&self, change: &Change<'_>, agents: &mut Agents) -> Binding {
        let mut new = Binding { aor: self.aor, ..Binding::default() };
        let agent = agents.share(change.texts.user_agent);
        new.set(change, agent, self.packed.registered_at_s(), self.packed.gruu_epoch());
        new.marks |= self.marks & IN_CALL;
        new
    }

    /// Whose binding it is.
    #[must_use]
    pub fn aor(&self) -> AorId {
        self.aor
    }

    /// The Contact URI as it stood, without angle brackets.
    #[must_use]
    pub fn contact(&self) -> &[u8] {
        self.packed.contact()
    }

    /// Call-ID of the request that last changed it, as it was kept.
    #[must_use]
    pub fn call_id(&self) -> CallId<'_> {
        self.packed.call_id()
    }

    /// CSeq number of the request that last changed it.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// `+sip.instance`, without quotes, with its angle brackets.
    #[must_use]
    pub fn instance(&self) -> Option<Instance<'_>> {
        self.packed.instance()
    }

    /// `reg-id` (RFC 5626 4.2).
    #[must_use]
    pub fn reg_id(&self) -> Option<u32> {
        Some(self.packed.reg_id()).filter(|&reg_id| reg_id != NO_REG_ID)
    }

    /// User-Agent, cut to its limit; empty if there was none, or only its hash was kept.
    #[must_use]
    pub fn user_agent(&self) -> &[u8] {
        self.agent.as_ref().map_or_else(|| self.packed.user_agent(), |agent| agent.text())
    }

    /// Whether the User-Agent, cut to its limit, is this one.
    pub(super) fn has_user_agent(&self, user_agent: &[u8], key: [u64; 2]) -> bool {
        match &self.agent {
            Some(agent) => agent.text() == user_agent,
            None => self.packed.has_user_agent(user_agent, key),
        }
    }

    /// The Path values, joined as the caller gave them (RFC 3327); empty if there were none.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.packed.path()
    }

    /// Preference, if given.
    #[must_use]
    pub fn q(&self) -> Option<QValue> {
        Some(self.marks >> Q_SHIFT & Q).filter(|&q| q != NO_Q).map(|q| QValue(q as u16))
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
        self.expires_at_s.saturating_add(self.marks >> LATE_SHIFT)
    }

    /// When it first came, rounded down to the second; re-targeting keeps it.
    #[must_use]
    pub fn registered_at(&self) -> Instant {
        Instant::from_secs(u64::from(self.packed.registered_at_s()))
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
        self.packed.source().into()
    }

    /// The flow its last REGISTER came by (RFC 5626 2).
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.packed.flow().flow()
    }

    /// The connection that takes the binding along when it closes. With a Path there is none: the
    /// connection is then an edge proxy's, which another connection reaches as well (RFC 3327 5.3).
    #[must_use]
    #[inline]
    pub fn tied_to(&self) -> Option<ConnectionId> {
        if self.packed.is_over_connection() && self.path().is_empty() {
            self.packed.flow().connection()
        } else {
            None
        }
    }

    pub(super) fn compact_flow(&self) -> CompactFlow {
        self.packed.flow()
    }

    /// Chains it to the next binding of its connection.
    pub(super) fn set_next(&mut self, slot: u32) {
        self.packed.set_next(slot);
    }

    /// Chains it to the previous binding of its connection.
    pub(super) fn set_previous(&mut self, slot: u32) {
        self.packed.set_previous(slot);
    }

    /// Whether it was provided with the account: no REGISTER made it, none may change it, and it
    /// has no end.
    #[must_use]
    #[inline]
    pub fn is_static(&self) -> bool {
        self.marks & STATIC != 0
    }

    /// Whether nobody has found it not to answer since it was last refreshed.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.marks & UNREACHABLE == 0
    }

    /// Whether a call goes over it.
    #[must_use]
    pub fn is_in_call(&self) -> bool {
        self.marks & IN_CALL != 0
    }

    /// Whether its last REGISTER came through a NAT.
    #[must_use]
    pub fn is_behind_nat(&self) -> bool {
        self.marks & BEHIND_NAT != 0
    }

    /// Whether the source of its last REGISTER proved that it receives what is sent there: by a
    /// digest over a nonce that was given to it, or by a connection. To nobody else may be sent
    /// what he has not asked for.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.marks & PROVEN != 0
    }

    /// What keeps its pinhole open.
    #[must_use]
    pub fn keepalive(&self) -> Keepalive {
        Keepalive::from_bits(((self.marks & KEEPALIVE) >> KEEPALIVE_SHIFT) as u8)
    }

    pub(super) fn set_reachable(&mut self, reachable: bool) {
        self.marks = self.marks & !UNREACHABLE | if reachable { 0 } else { UNREACHABLE };
    }

    pub(super) fn set_in_call(&mut self, in_call: bool) {
        self.marks = self.marks & !IN_CALL | if in_call { IN_CALL } else { 0 };
    }

    /// The number its temporary GRUUs carry (RFC 5627 3.1.2); 0: it was given none.
    #[must_use]
    #[inline]
    pub fn gruu_epoch(&self) -> u32 {
        self.packed.gruu_epoch()
    }

    pub(super) fn set_gruu_epoch(&mut self, epoch: u32) {
        self.packed.set_gruu_epoch(epoch);
    }

    /// Fingerprint of the request that last changed it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Reads one byte of each cache line of what is packed.
    pub(super) fn touch(&self) -> u64 {
        self.packed.touch()
    }

    /// Reads the first byte of what is packed, so that the cache misses of many bindings overlap.
    #[must_use]
    pub fn touch_first(&self) -> u8 {
        self.packed.first()
    }

    pub(super) fn came_from(&self, source: SocketAddr) -> bool {
        self.packed.came_from(Source::from(source))
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
            hashed: None,
        }
    }

    fn agents() -> Agents {
        Agents::new([1, 2])
    }

    fn bound(aor: u32, change: &Change<'_>) -> Binding {
        Binding::new(AorId(aor), change, &mut agents())
    }

    #[test]
    fn every_field_comes_back_as_it_was_given() {
        let binding = bound(3, &change(b"sip:a@192.0.2.1", b"c1"));
        assert_eq!(binding.aor(), AorId(3));
        assert_eq!(binding.contact(), b"sip:a@192.0.2.1");
        assert_eq!(binding.call_id(), CallId::Text(b"c1"));
        assert_eq!(binding.instance().unwrap().text().as_slice(), b"<urn:uuid:1>");
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
        let binding = bound(0, &change(b"sip:a@h", b"c"));
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
        let mut binding = bound(0, &change(b"sip:a@h", b"c1"));
        let before = binding.packed.as_ptr();
        binding.update(&Change { cseq: 10, ..change(b"sip:a@h", b"c1") }, &mut agents());
        assert!(std::ptr::eq(binding.packed.as_ptr(), before));
        assert_eq!(binding.cseq(), 10);
        // Other bytes that add up to the same length too.
        binding.update(&change(b"sip:ab@h", b"c"), &mut agents());
        assert!(std::ptr::eq(binding.packed.as_ptr(), before));
        assert_eq!((binding.contact(), binding.call_id()), (&b"sip:ab@h"[..], CallId::Text(b"c")));
        binding.update(&change(b"sip:abc@h", b"c2"), &mut agents());
        assert_eq!(
            (binding.contact(), binding.call_id()),
            (&b"sip:abc@h"[..], CallId::Text(b"c2"))
        );
    }

    #[test]
    fn a_refresh_ends_what_was_known_of_reachability_and_no_call() {
        let mut binding = bound(0, &change(b"sip:a@h", b"c1"));
        binding.set_reachable(false);
        binding.set_in_call(true);
        let moved = binding.changed(&change(b"sip:b@h", b"c1"), &mut agents());
        binding.update(&change(b"sip:a@h", b"c1"), &mut agents());
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
        let direct = bound(0, &Change { flow, texts: direct, ..proxied });
        assert_eq!(direct.tied_to(), Some(id));
        let proxied = bound(0, &Change { flow, ..proxied });
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
}
