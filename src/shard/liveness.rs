//! Are the phones still there? The turns of the schedule become OPTIONS, and what comes back, or
//! does not, becomes what the registrar knows of its bindings. Nothing here is about pinholes:
//! those are the keepalives'.
//!
//! A probe goes to an address that has proved itself, and to no other: over a connection, or to the
//! source of a REGISTER whose digest answered a nonce that was sent there. What an account provides
//! is asked where its contact is an address: its operator has said so.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::auth::accounts::AccountId;
use crate::config::{self, LivenessAnswer, Unreachable};
use crate::flow::Flow;
use crate::limits::{BATCH_MAX, EXPIRIES_PER_TURN_MAX, PROBE_STEPS_MAX, PROBES_URGENT_MAX};
use crate::nat::Keepalive;
use crate::nat::ignored::Ignored;
use crate::nat::liveness::{Answered, Liveness, RoundTrip, Rules, State, Stray};
use crate::nat::probe::{Branch, Endpoint, ProbeKey};
use crate::nat::recent::Recent;
use crate::nat::schedule::{Due, Rhythm, Schedule};
use crate::nat::silence::{Silence, Step, Verdict, silence_max_s};
use crate::registrar::{Binding, BindingId, Event, LeaveReason, Wanted, Which};
use crate::shard::core::Core;
use crate::shard::keys::Keys;
use crate::shard::options::{Probe, write_probe};
use crate::shard::request::Arrival;
use crate::shard::{Order, ShardId};
use crate::sip::Uri;
use crate::sip::uri::Scheme;
use crate::time::{Instant, Now};

/// Out of turn, one endpoint is probed no more often than this, whatever ICMP says.
const URGENT_GAP: Duration = Duration::from_secs(5);
/// Slots of the table of bindings that one turn looks at where all get a turn of the schedule.
const ENROLLED_PER_TURN: usize = 1024;
const SIP_PORT: u16 = 5060;

/// What one shard knows of who is there.
#[derive(Debug)]
pub(super) struct Probing {
    interval_s: Option<u32>,
    pub liveness: Liveness,
    schedule: Schedule,
    /// Turns that were taken from the schedule and wait to be sent, the next one last.
    turns: ArrayVec<Due, BATCH_MAX>,
    recent: Recent,
    silence: Silence,
    ignored: Ignored,
    /// Endpoints to be probed out of turn.
    urgent: VecDeque<Endpoint>,
    /// Liveness was switched on: bindings from this slot on have no turn yet.
    enrolling: Option<u32>,
}

/// Where a probe goes.
struct Way {
    to: SocketAddr,
    flow: Flow,
}

fn endpoint(id: BindingId) -> Endpoint {
    Endpoint { index: id.index, generation: id.generation }
}

fn id(endpoint: Endpoint) -> BindingId {
    BindingId { index: endpoint.index, generation: endpoint.generation }
}

fn rules(config: &config::Liveness) -> Rules {
    Rules {
        timeout: Duration::from_secs(config.timeout_s.into()),
        misses: config.misses,
        success_only: config.answer == LivenessAnswer::Success,
    }
}

fn rhythm(interval_s: u32) -> Rhythm {
    Rhythm { period: Duration::from_secs(interval_s.into()), ceiling: None }
}

/// The interval of a schedule that nobody is in.
const NO_INTERVAL_S: u32 = 90;

impl Probing {
    /// Of nobody yet.
    pub fn new(config: &config::Liveness, keys: &Keys, shard: ShardId) -> Probing {
        let secret = &keys.identity;
        let interval_s = config.interval_s;
        Probing {
            interval_s,
            liveness: Liveness::new(ProbeKey::new(secret, shard.0), rules(config)),
            schedule: Schedule::new(rhythm(interval_s.unwrap_or(NO_INTERVAL_S)), keys.spread),
            turns: ArrayVec::new(),
            recent: Recent::new(secret),
            silence: Silence::new(secret),
            ignored: Ignored::new(secret),
            urgent: VecDeque::new(),
            enrolling: None,
        }
    }

    /// Obeys other settings. Whoever is probed gets another turn where the interval is another.
    pub fn configure(&mut self, now: Instant, config: &config::Liveness, keys: &Keys) {
        self.liveness.configure(rules(config));
        if config.ignore_silent_s == 0 {
            self.ignored.clear();
        }
        match (self.interval_s, config.interval_s) {
            (Some(_), Some(interval_s)) => self.schedule.configure(now, rhythm(interval_s)),
            (Some(_), None) => {
                self.schedule = Schedule::new(rhythm(NO_INTERVAL_S), keys.spread);
                self.turns.clear();
                self.urgent.clear();
                self.enrolling = None;
            }
            (None, Some(interval_s)) => {
                self.schedule = Schedule::new(rhythm(interval_s), keys.spread);
                self.enrolling = Some(0);
            }
            (None, None) => {}
        }
        self.interval_s = config.interval_s;
    }

    /// Something was sent to a binding at `to`.
    #[inline]
    pub fn note_sent(&mut self, to: SocketAddr, id: BindingId) {
        self.recent.note(to, endpoint(id));
    }

    /// Whether REGISTERs of this account from `source` are ignored.
    #[inline]
    pub fn ignores(&self, now: Now, account: AccountId, source: IpAddr) -> bool {
        self.ignored.contains(now.mono, account.0, source)
    }

    /// How many endpoints are ignored.
    pub fn ignored_count(&self) -> usize {
        self.ignored.len()
    }

    /// How many sources are listened for.
    pub fn sources_awaited(&self) -> usize {
        self.silence.sources()
    }

    /// What is known of a binding.
    pub fn state(&self, id: BindingId) -> Option<State> {
        self.liveness.state(endpoint(id))
    }

    /// The round trip of a binding.
    pub fn round_trip(&self, id: BindingId) -> Option<RoundTrip> {
        self.liveness.round_trip(endpoint(id))
    }

    fn hurry(&mut self, endpoint: Endpoint) -> bool {
        let has_room = self.urgent.len() < PROBES_URGENT_MAX;
        if has_room {
            self.urgent.push_back(endpoint);
        }
        has_room
    }
}

impl Core {
    /// A binding has come, gone or changed.
    #[inline]
    pub(super) fn probing_on_event(&mut self, now: Instant, event: &Event) {
        match *event {
            Event::Registered { binding, .. } => {
                if self.probing.interval_s.is_some() {
                    self.probing.schedule.insert(now, endpoint(binding));
                }
                self.listen_for(now, binding);
            }
            Event::Refreshed { binding, .. } | Event::Retargeted { binding, .. } => {
                self.listen_for(now, binding);
            }
            Event::Left { binding, .. } => {
                let endpoint = endpoint(binding);
                self.probing.schedule.remove(endpoint);
                self.probing.liveness.forget(endpoint);
                self.probing.silence.remove(endpoint);
            }
            Event::Flapping { .. } => {}
        }
    }

    /// Begins to listen for a phone that has agreed to be heard, and whose connection does not do
    /// that; or ends it.
    #[inline]
    fn listen_for(&mut self, now: Instant, id: BindingId) {
        let Some(binding) = self.registrar.location().binding(id) else { return };
        let transport = binding.flow().transport();
        // Only who was told a time can be late.
        let told_s = self.flow_timer_s(transport, binding.is_behind_nat());
        let is_awaited =
            told_s > 0 && binding.keepalive() == Keepalive::Theirs && !transport.is_connection();
        let probing = &mut self.probing;
        if is_awaited {
            let silence_max_s = silence_max_s(told_s);
            probing.silence.put(now, endpoint(id), binding.source(), silence_max_s);
        } else if !probing.silence.is_empty() {
            probing.silence.remove(endpoint(id));
        }
    }

    /// Does what time brings: probes that were not answered, sources that broke their word. Returns
    /// when to come again. What is to be sent is asked for by [`Core::poll_probe`].
    pub(super) fn turn_probing(&mut self, now: Now) -> Option<Instant> {
        self.enroll(now);
        let mut left = EXPIRIES_PER_TURN_MAX;
        while left > 0
            && let Some((endpoint, sent_at)) = self.probing.liveness.poll_unanswered(now.mono)
        {
            left -= 1;
            self.unanswered(now, endpoint, sent_at);
        }
        for _ in 0..PROBE_STEPS_MAX {
            match self.probing.silence.poll(now.mono) {
                Step::Told(endpoint, Verdict::Silent) => self.silent(endpoint),
                Step::Told(endpoint, Verdict::Heard) => self.found_alive(endpoint),
                Step::Moved => {}
                Step::Idle => break,
            }
        }
        let Probing { liveness, schedule, turns, silence, urgent, enrolling, .. } = &self.probing;
        if !turns.is_empty() || !urgent.is_empty() || enrolling.is_some() {
            return Some(now.mono);
        }
        let deadlines =
            [liveness.next_deadline(), schedule.next_deadline(now.mono), silence.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Gives a turn to the next few bindings that were there before liveness was switched on.
    fn enroll(&mut self, now: Now) {
        let Some(from) = self.probing.enrolling else { return };
        let (page, next) = self.registrar.find(now, Wanted::Any, from, ENROLLED_PER_TURN);
        for (id, _) in page {
            self.probing.schedule.insert(now.mono, endpoint(id));
        }
        self.probing.enrolling = next;
    }

    /// The next probe, written to the start of `out`.
    pub(super) fn poll_probe(&mut self, now: Now, out: &mut [u8]) -> Option<Order> {
        for _ in 0..PROBE_STEPS_MAX {
            if let Some((endpoint, branch)) = self.probing.liveness.poll_repeat(now.mono) {
                if let Some(order) = self.write(endpoint, branch, out) {
                    self.keepalives.heard(now.mono, id(endpoint));
                    self.counters.probes_repeated += 1;
                    return Some(order);
                }
            } else if let Some(endpoint) = self.probing.urgent.pop_front() {
                if let Some(order) = self.probe(now, endpoint, out) {
                    self.counters.probes_urgent += 1;
                    return Some(order);
                }
            } else {
                let due = self.next_turn(now)?;
                if let Some(order) = self.probe_in_turn(now, &due, out) {
                    return Some(order);
                }
            }
        }
        None
    }

    fn next_turn(&mut self, now: Now) -> Option<Due> {
        let Probing { schedule, turns, interval_s, .. } = &mut self.probing;
        if turns.is_empty() && interval_s.is_some() {
            schedule.take(now.mono, turns);
            turns.reverse();
        }
        turns.pop()
    }

    fn probe_in_turn(&mut self, now: Now, due: &Due, out: &mut [u8]) -> Option<Order> {
        let endpoint = due.endpoint;
        // Who has agreed to be heard is left to it, as long as it is.
        let order = if self.probing.silence.keeps_word(endpoint) {
            self.counters.probes_spared += 1;
            None
        } else {
            self.probe(now, endpoint, out)
        };
        let Probing { schedule, .. } = &mut self.probing;
        match order {
            Some(_) => {
                schedule.sent(now.mono, due);
            }
            None => schedule.heard(now.mono, due.endpoint),
        }
        order
    }

    /// Begins a probe, unless one is out or there is no way to send one.
    fn probe(&mut self, now: Now, endpoint: Endpoint, out: &mut [u8]) -> Option<Order> {
        let binding = self.registrar.location().binding(id(endpoint))?;
        let Some(way) = self.way_to(binding) else {
            self.counters.probes_impossible += 1;
            return None;
        };
        let refreshed_at = binding.refreshed_at();
        let liveness = &mut self.probing.liveness;
        let last = liveness.probed_at(now.mono, endpoint);
        // Whoever registers can be reached, whatever was missed before.
        if last.is_some_and(|last| is_since(refreshed_at, last)) && liveness.heard(endpoint) {
            self.counters.reachable_again += 1;
        }
        let reliable = way.flow.transport().is_connection();
        let branch = liveness.begin(now, endpoint, reliable)?;
        let order = self.write_to(endpoint, &way, branch, out)?;
        self.counters.probes_sent += 1;
        // It opens the pinhole as well.
        self.keepalives.heard(now.mono, id(endpoint));
        Some(order)
    }

    /// An OPTIONS that keeps the pinhole of a binding open. Its answer counts when it comes, and
    /// nobody waits for it.
    pub(super) fn write_keepalive(
        &mut self,
        now: Now,
        binding: BindingId,
        out: &mut [u8],
    ) -> Option<Order> {
        let branch = self.probing.liveness.keepalive(now, endpoint(binding));
        self.write(endpoint(binding), branch, out)
    }

    fn write(&mut self, endpoint: Endpoint, branch: Branch, out: &mut [u8]) -> Option<Order> {
        let way = self.way_to(self.registrar.location().binding(id(endpoint))?)?;
        self.write_to(endpoint, &way, branch, out)
    }

    fn write_to(
        &mut self,
        endpoint: Endpoint,
        way: &Way,
        branch: Branch,
        out: &mut [u8],
    ) -> Option<Order> {
        let Core { registrar, accounts, probing, .. } = self;
        let binding = registrar.location().binding(id(endpoint))?;
        let aor = accounts.aor(AccountId(binding.aor().0));
        let sent_by = self.listening.sent_by(&way.flow, aor);
        let len = write_probe(out, &Probe { binding, aor, sent_by: &sent_by, branch }).ok()?;
        if !way.flow.transport().is_connection() {
            probing.note_sent(way.to, id(endpoint));
        }
        Some(Order::Send { to: way.to, flow: way.flow, len })
    }

    /// Where a binding can be asked; `None`: nowhere that is known to be its own.
    fn way_to(&self, binding: &Binding) -> Option<Way> {
        if binding.is_static() {
            let to = literal_address(binding.contact())?;
            let flow = self.listening.flow_to(to)?;
            return Some(Way { to, flow });
        }
        let (to, flow) = (binding.source(), binding.flow());
        let is_good = match flow {
            // Behind a Path the connection is an edge proxy's, which may have another one by now
            // (RFC 3327 5.3), and whose business its phones are.
            Flow::Connection { .. } => binding.path().is_empty(),
            Flow::Datagram { .. } => {
                binding.is_proven() && to.port() != 0 && !to.ip().is_unspecified()
            }
        };
        is_good.then_some(Way { to, flow })
    }

    fn unanswered(&mut self, now: Now, endpoint: Endpoint, sent_at: Instant) {
        let Some(binding) = self.registrar.location().binding(id(endpoint)) else { return };
        let has_registered = is_since(binding.refreshed_at(), sent_at);
        self.counters.probes_unanswered += 1;
        let keeps_word = self.probing.silence.keeps_word(endpoint);
        if !keeps_word {
            self.ignore_who_never_answers(now, endpoint);
        }
        // Heard from since.
        if has_registered || keeps_word {
            self.found_alive(endpoint);
        } else {
            self.missed(endpoint);
        }
    }

    /// Flood tools register and never listen: their REGISTERs are no sign of life.
    fn ignore_who_never_answers(&mut self, now: Now, endpoint: Endpoint) {
        let ignore_s = self.liveness.ignore_silent_s;
        if ignore_s == 0 || !self.probing.liveness.never_answers(endpoint) {
            return;
        }
        let Some(binding) = self.registrar.location().binding(id(endpoint)) else { return };
        let (aor, source) = (binding.aor(), binding.source().ip());
        // Another phone of the account, at the same address, is not shut out with it.
        let has_answered = |id| self.probing.state(id).is_some_and(|state| state.has_answered);
        let mut others = self.registrar.bindings(aor, now);
        let is_shared = others.any(|(id, other)| other.source().ip() == source && has_answered(id));
        if binding.is_static() || is_shared {
            return;
        }
        let time = Duration::from_secs(ignore_s.into());
        match self.probing.ignored.insert(now.mono, aor.0, source, time) {
            true => self.counters.endpoints_ignored += 1,
            false => self.counters.endpoints_ignored_shed += 1,
        }
    }

    fn missed(&mut self, endpoint: Endpoint) {
        if !self.probing.liveness.miss(endpoint) {
            return;
        }
        let Some(binding) = self.registrar.location().binding(id(endpoint)) else { return };
        self.counters.unreachable += 1;
        let (aor, is_static) = (binding.aor(), binding.is_static());
        self.registrar.set_reachable(id(endpoint), false);
        // What the configuration provides ends with the configuration.
        if self.liveness.unreachable == Unreachable::Remove && !is_static {
            let counted = self.events.len();
            let which = Which::One(id(endpoint));
            self.registrar.unregister(aor, which, LeaveReason::Unreachable, &mut self.events);
            self.count_events(counted);
        }
    }

    fn silent(&mut self, endpoint: Endpoint) {
        self.counters.silent += 1;
        // Off is off; and where too many are waiting, its turn comes.
        if self.probing.interval_s.is_some() && !self.probing.hurry(endpoint) {
            self.counters.probes_urgent_shed += 1;
        }
    }

    /// The endpoint has given a sign of life.
    fn found_alive(&mut self, endpoint: Endpoint) {
        if self.probing.liveness.heard(endpoint) {
            self.reachable_again(endpoint);
        }
    }

    fn reachable_again(&mut self, endpoint: Endpoint) {
        self.counters.reachable_again += 1;
        self.registrar.set_reachable(id(endpoint), true);
    }

    /// An answer to an OPTIONS of this shard has come, or what claims to be one.
    pub(super) fn probe_answered(&mut self, arrival: Arrival<'_>, branch: &Branch, status: u16) {
        let Arrival { now, datagram, .. } = arrival;
        let asked = self.probing.liveness.asked(branch);
        let endpoint = match asked {
            Ok(endpoint) => endpoint,
            Err(stray) => return self.stray(stray),
        };
        let Some(binding) = self.registrar.location().binding(id(endpoint)) else {
            return self.stray(Stray::Gone);
        };
        let asked_at = self.way_to(binding).map(|way| way.to.ip().to_canonical());
        let is_proxied = !binding.path().is_empty();
        // Another port of the same host may be another socket of it. Behind a Path it is the
        // proxy that answers, by whichever of its addresses.
        if !is_proxied && asked_at != Some(datagram.source.ip().to_canonical()) {
            self.counters.probe_answers_elsewhere += 1;
            return;
        }
        let (account, source) = (binding.aor().0, binding.source().ip());
        // What a proxy says of one it cannot reach (RFC 5626 5.3.1, RFC 3261 16.7).
        let negative = is_proxied && matches!(status, 408 | 430 | 502 | 503 | 504);
        let at = datagram.received_at.min(now.mono);
        match self.probing.liveness.answer(at, branch, status, negative) {
            Ok(Answered::Alive { round_trip, again }) => {
                self.counters.probes_answered += 1;
                if let Some(round_trip) = round_trip {
                    self.counters.round_trips.note(round_trip);
                }
                self.probing.ignored.remove(account, source);
                if again {
                    self.reachable_again(endpoint);
                }
            }
            Ok(Answered::Refused) => {
                self.counters.probes_refused += 1;
                self.missed(endpoint);
            }
            Ok(Answered::Proceeding | Answered::Repeated) => {
                self.counters.probe_answers_repeated += 1;
            }
            Err(stray) => self.stray(stray),
        }
    }

    #[cold]
    fn stray(&mut self, stray: Stray) {
        let counters = &mut self.counters;
        match stray {
            Stray::Gone => counters.probe_answers_gone += 1,
            Stray::Forged => counters.probe_answers_forged += 1,
            Stray::Old => counters.probe_answers_old += 1,
        }
    }

    /// ICMP says that something did not arrive at `to`. Anybody can forge that, so whoever is there
    /// is asked at once, and only what follows counts.
    pub(super) fn unreachable(&mut self, now: Now, to: SocketAddr) {
        self.counters.icmp_unreachable += 1;
        if self.probing.interval_s.is_none() {
            return;
        }
        let Some(endpoint) = self.probing.recent.find(to) else { return };
        let Some(binding) = self.registrar.location().binding(id(endpoint)) else { return };
        let is_there = self.way_to(binding).is_some_and(|way| way.to == to);
        let may = self.probing.liveness.may_begin(now.mono, endpoint, URGENT_GAP);
        if is_there
            && may
            && !self.probing.urgent.contains(&endpoint)
            && !self.probing.hurry(endpoint)
        {
            self.counters.probes_urgent_shed += 1;
        }
    }

    /// A keepalive has come as a datagram from `source`.
    pub(super) fn heard(&mut self, now: Now, source: SocketAddr) {
        if self.probing.silence.heard(now.mono, source) {
            self.counters.keepalives_heard += 1;
        }
    }
}

/// Whether a REGISTER came after a probe was sent. Bindings know the second of it only, which is
/// given to them.
fn is_since(refreshed_at: Instant, sent_at: Instant) -> bool {
    refreshed_at.as_secs() >= sent_at.as_secs()
}

/// The address of a contact that names one and is reached by UDP.
fn literal_address(contact: &[u8]) -> Option<SocketAddr> {
    let uri = Uri::parse(contact).ok().filter(|uri| uri.scheme == Scheme::Sip)?;
    let is_udp = uri.param(b"transport").is_none_or(|word| word.eq_ignore_ascii_case(b"udp"));
    let ip = uri.host_ip().filter(|ip| is_udp && !ip.is_unspecified() && !ip.is_multicast())?;
    let port = uri.port.unwrap_or(SIP_PORT);
    (port != 0 && uri.param(b"maddr").is_none()).then(|| SocketAddr::new(ip, port))
}
