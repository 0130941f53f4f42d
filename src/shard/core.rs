//! One shard: its accounts, their bindings, and the entrance for datagrams. Everything that
//! happens here is a function of what was handed in, clocks and secrets included.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::account::Ha1s;
use crate::auth::accounts::{AccountId, Accounts, AorKey, InsertError};
use crate::auth::barred::Barred;
use crate::auth::ha2::Ha2Cache;
use crate::auth::md5_lanes::Md5Lanes;
use crate::auth::nonce::NonceSequence;
use crate::auth::suspension::Suspensions;
use crate::config;
use crate::flow::ConnectionId;
use crate::guard::{Entry, Guard};
use crate::limits::{BATCH_MAX, EXPIRIES_PER_TURN_MAX};
use crate::nat::{Networks, OwnAddresses};
use crate::reg_event::{Notify, SubscriptionTable};
use crate::registrar::{Event, Registrar, TokenKeys};
use crate::shard::batch::{Outlet, Read, Slot, read_ahead};
use crate::shard::control::{Control, Reply, Update};
use crate::shard::counters::{Counters, DropReason};
use crate::shard::domains::Domains;
use crate::shard::extensions::Extensions;
use crate::shard::flows::{Flows, Order};
use crate::shard::guard::said;
use crate::shard::history::Recorder;
use crate::shard::keepalive::Keepalives;
use crate::shard::keys::Keys;
use crate::shard::listening::Listening;
use crate::shard::liveness::Probing;
use crate::shard::overload::Worked;
use crate::shard::owner::Ownership;
use crate::shard::ping::{Ping, is_keepalive};
use crate::shard::request::{self, Arrival};
use crate::shard::stages::{Stage, Watch};
use crate::shard::suspend::{SuspensionEvent, suspensions};
use crate::shard::trace::Trace;
use crate::shard::{Datagram, Handled, ShardId, silence};
use crate::sip::{Fault, Framing, HeaderTable, ParseError, Parsed, Part, parse};
use crate::time::{Instant, Now};

/// What a shard is made from.
#[derive(Clone)]
pub struct Setup {
    /// Which one it is.
    pub id: ShardId,
    /// Who owns what.
    pub ownership: Ownership,
    /// Secrets.
    pub keys: Keys,
    /// What the registrar obeys.
    pub registrar: config::Registrar,
    /// What authentication obeys.
    pub auth: config::Auth,
    /// What the guard obeys.
    pub guard: config::Guard,
    /// How phones behind NAT are known and kept reachable.
    pub nat: config::Nat,
    /// How phones that are gone are noticed.
    pub liveness: config::Liveness,
    /// What holds for phones of one network, each network once.
    pub networks: Vec<config::Network>,
    /// The domains served.
    pub domains: Vec<config::Domain>,
}

/// A slice of the AOR hash space, with everything its accounts have.
pub struct Shard {
    slots: Box<[Slot]>,
    core: Core,
}

/// A shard without the memory that the batch at hand is read into.
pub(super) struct Core {
    pub id: ShardId,
    pub ownership: Ownership,
    pub keys: Keys,
    pub auth: config::Auth,
    pub guard: Guard,
    pub nat: config::Nat,
    pub liveness: config::Liveness,
    pub probing: Probing,
    pub listening: Listening,
    pub keepalives: Keepalives,
    pub networks: Networks,
    pub own: Arc<OwnAddresses>,
    pub bindings_max: u8,
    pub extensions: Extensions,
    /// Some account may be let in without a digest, so requests without credentials are for the
    /// owner too.
    pub asks_owners: bool,
    pub tokens: TokenKeys,
    pub domains: Domains,
    pub accounts: Accounts,
    pub registrar: Registrar,
    pub ha2s: Ha2Cache,
    pub lanes: Md5Lanes,
    pub nonces: NonceSequence,
    pub suspensions: Suspensions,
    pub barred: Barred,
    pub suspension_events: Vec<SuspensionEvent>,
    pub counters: Counters,
    pub worked: Worked,
    pub events: Vec<Event>,
    /// The message at hand is worth an [`Outlet::registered`].
    pub has_registered: bool,
    pub flows: Flows,
    pub subscriptions: SubscriptionTable,
    /// The clocks as they were read last.
    pub now: Now,
    pub update: Option<Update>,
    /// What is dropped, while an operator looks.
    pub trace: Option<Box<Trace>>,
    /// What happens to registrations, while somebody collects it.
    pub history: Option<Box<Recorder>>,
}

impl Shard {
    /// A shard without accounts.
    #[must_use]
    pub fn new(setup: Setup) -> Shard {
        let guard = Guard::new(
            &setup.keys.guard(),
            (setup.id.0, setup.ownership.shards()),
            &setup.guard,
            &said(&setup.networks),
        );
        let Setup {
            id, ownership, keys, registrar, auth, nat, liveness, networks, domains, ..
        } = setup;
        let shards = ownership.shards();
        let total_max = registrar.total_max;
        let mut core = Core {
            probing: Probing::new(&liveness, &keys, id),
            listening: Listening::default(),
            keepalives: Keepalives::new(&nat, &keys, id, shards),
            id,
            auth,
            guard,
            nat,
            liveness,
            networks: Networks::new(networks),
            own: Arc::default(),
            bindings_max: registrar.bindings_max,
            extensions: Extensions::from(&registrar),
            subscriptions: SubscriptionTable::new((&registrar).into(), id.0),
            asks_owners: false,
            tokens: keys.tokens(),
            suspensions: suspensions(&keys.identity, &ownership),
            suspension_events: Vec::new(),
            barred: Barred::default(),
            ownership,
            domains: Domains::new(domains),
            accounts: Accounts::new(),
            registrar: Registrar::new(registrar, keys.spread),
            keys,
            ha2s: Ha2Cache::new(),
            lanes: Md5Lanes::new(),
            nonces: NonceSequence::interleaved(id.0, shards),
            counters: Counters::default(),
            worked: Worked::default(),
            events: Vec::new(),
            has_registered: false,
            flows: Flows::default(),
            now: Now::default(),
            update: None,
            trace: None,
            history: None,
        };
        core.put_unreachable_last();
        core.hold_share(total_max);
        Shard { slots: Slot::batch(), core }
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.core.id
    }

    /// Makes room for `accounts` accounts, and as many bindings, so that no table grows while
    /// requests wait.
    pub fn reserve(&mut self, accounts: usize) {
        self.core.accounts.reserve(accounts);
        self.core.registrar.reserve(accounts, accounts);
    }

    /// Whether this shard owns an account, by its canonical AOR.
    #[must_use]
    pub fn owns(&self, aor: &[u8]) -> bool {
        self.core.owns(AorKey(self.core.ownership.hash(aor)))
    }

    /// Adds an account this shard owns. `aor` is canonical.
    ///
    /// # Errors
    /// See [`InsertError`]; nothing has changed then.
    pub fn insert_account(&mut self, aor: &[u8], ha1s: &Ha1s) -> Result<AccountId, InsertError> {
        debug_assert!(self.owns(aor));
        let key = AorKey(self.core.ownership.hash(aor));
        self.core.accounts.insert(key, aor, ha1s)
    }

    /// Datagrams from the network, answered in order as if they had come one by one.
    #[inline]
    pub fn receive_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        outlet: &mut impl Outlet,
    ) {
        self.handle(now, datagrams, false, Watch::NONE, outlet);
    }

    /// The same, timed by `watch`, which changes nothing else.
    #[inline]
    pub fn receive_batch_timed(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        self.handle(now, datagrams, false, watch, outlet);
    }

    /// Datagrams that other shards received and this one owns; never answers
    /// [`Handled::Handoff`].
    #[inline]
    pub fn receive_handoff_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        outlet: &mut impl Outlet,
    ) {
        self.receive_handoff_batch_timed(now, datagrams, Watch::NONE, outlet);
    }

    /// The same, timed by `watch`, which changes nothing else.
    #[inline]
    pub fn receive_handoff_batch_timed(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        self.core.counters.handoffs_in += datagrams.len() as u64;
        self.handle(now, datagrams, true, watch, outlet);
    }

    #[inline]
    fn handle(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        handed_over: bool,
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        let Shard { slots, core } = self;
        core.begin(now);
        core.guard.begin(now);
        core.end_suspensions(now);
        if core.trace.as_ref().is_some_and(|trace| trace.is_under_way(now.mono)) {
            core.handle_traced(now, datagrams, handed_over, watch, slots, outlet);
        } else {
            for batch in datagrams.chunks(BATCH_MAX) {
                core.handle_batch(now, batch, handed_over, watch, slots, outlet);
            }
        }
        core.settle(now);
        watch.lap(Stage::Core);
    }

    /// Lets bindings go whose time is over, a bounded number at a time. Returns when to call
    /// again: at once where more are waiting.
    pub fn turn(&mut self, now: Now) -> Option<Instant> {
        let core = &mut self.core;
        core.begin(now);
        core.guard.begin(now);
        let expired = core.registrar.expire(now, EXPIRIES_PER_TURN_MAX, &mut core.events);
        core.count_events(0);
        core.end_suspensions(now);
        let probing = core.turn_probing(now);
        core.settle(now);
        let keepalives = core.turn_keepalives(now);
        if expired.more {
            return Some(now.mono);
        }
        let deadlines = [
            core.registrar.next_deadline(),
            core.subscriptions.next_deadline(),
            core.suspensions.next_deadline(),
            core.barred.next_deadline(),
            core.turn_trace(now),
            probing,
            keepalives,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// A connection is gone, and with it the bindings that lived on it (RFC 5626 4.2: a flow that
    /// has failed is no way to anybody).
    pub fn connection_closed(&mut self, now: Now, id: ConnectionId) {
        let core = &mut self.core;
        core.begin(now);
        core.flows.closed(id);
        core.subscriptions.flow_closed(id);
        core.registrar.close_flow(now, id, &mut core.events);
        core.count_events(0);
        core.settle(now);
    }

    /// The next thing for the reactor to do that is not the reply to a message. What is to be sent
    /// stands at the start of `out`, which has room for
    /// [`RESPONSE_BYTES_MAX`](crate::limits::RESPONSE_BYTES_MAX) bytes.
    pub fn poll_order(&mut self, out: &mut [u8]) -> Option<Order> {
        let now = self.core.now;
        // Their pace bounds how many there are, so nothing waits long behind them.
        if let Some(order) = self.core.poll_keepalive(now, out) {
            return Some(order);
        }
        let Core { subscriptions, registrar, flows, guard, now, .. } = &mut self.core;
        // Before anything about connections: a kicked phone hears why before its own is closed.
        let order = match subscriptions.poll_notify(*now, registrar, out) {
            Some(Notify { to, flow, len }) => Some(Order::Send { to, flow, len }),
            // So much was looked at that more is due later: it may be what the phone is to hear.
            None if subscriptions.next_deadline().is_some_and(|at| at <= now.mono) => {
                flows.pop_before_close()
            }
            None => flows.pop(),
        };
        let order = order.or_else(|| guard.poll_told().map(|(to, told)| Order::Tell(to, told)));
        order.or_else(|| self.core.poll_probe(self.core.now, out))
    }

    /// ICMP has reported that a datagram sent to `to`, by this reactor or another, did not arrive.
    /// Anybody can forge that: whoever is there is probed, and nothing else follows.
    pub fn unreachable(&mut self, now: Now, to: SocketAddr) {
        self.core.unreachable(now, to);
    }

    /// A keepalive that is no SIP has come as a datagram from `source`, here or at another reactor.
    pub fn heard(&mut self, now: Now, source: SocketAddr) {
        self.core.heard(now, source);
    }

    /// Carries out an order from outside; see [`Control`] for what each does and costs.
    pub fn control(&mut self, now: Now, order: Control) -> Reply {
        let core = &mut self.core;
        core.begin(now);
        core.guard.begin(now);
        let reply = core.control(now, order);
        core.count_events(0);
        core.settle(now);
        reply
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    pub(super) fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl Core {
    /// Whether this shard owns an AOR, by its hash.
    pub fn owns(&self, AorKey(hash): AorKey) -> bool {
        self.ownership.owner(hash) == self.id
    }

    /// Answers datagrams one by one, so that what is counted tells what became of each.
    #[cold]
    #[inline(never)]
    fn handle_traced(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        handed_over: bool,
        watch: Watch<'_>,
        slots: &mut [Slot],
        outlet: &mut impl Outlet,
    ) {
        for datagram in datagrams {
            let before = self.counters.dropped;
            let one = std::slice::from_ref(datagram);
            self.handle_batch(now, one, handed_over, watch, slots, outlet);
            self.trace_drop(now, datagram, &before);
        }
    }

    /// Answers a batch of no more than [`BATCH_MAX`], in order.
    #[inline]
    fn handle_batch(
        &mut self,
        now: Now,
        batch: &[Datagram<'_>],
        handed_over: bool,
        watch: Watch<'_>,
        slots: &mut [Slot],
        outlet: &mut impl Outlet,
    ) {
        let mut entries = self.admit(batch, handed_over);
        let shedding = self.is_shedding() && !handed_over;
        if shedding {
            self.shed_unread(batch, &mut entries);
        }
        watch.lap(Stage::Guard);
        let mut reads = read_ahead(self, batch, &entries, slots, watch);
        self.look_ahead(now, batch, &mut reads);
        watch.lap(Stage::Auth);
        for (nth, (datagram, read)) in batch.iter().zip(&reads).enumerate() {
            if let Some(reason) = read.dropped {
                self.counters.drop(reason);
                outlet.handled(datagram, Handled::Nothing);
                continue;
            }
            if let Entry::Silent(silence) = read.entry {
                self.drop_unread(datagram, silence);
                outlet.handled(datagram, Handled::Nothing);
                watch.lap(Stage::Guard);
                continue;
            }
            if let Some(ping) = read.ping {
                let arrival = Arrival { now, datagram, handed_over, watch };
                let handled = match ping {
                    Ping::Stun if !silence::answers_pings(self, &arrival) => {
                        silence::keep(self, &arrival, DropReason::Unauthorized)
                    }
                    _ => ping.take(datagram, outlet.room(), &mut self.counters),
                };
                outlet.handled(datagram, handled);
                if ping.is_from_a_phone(datagram) {
                    outlet.heard(datagram);
                }
                watch.lap(Stage::Core);
                continue;
            }
            let arrival = Arrival { now, datagram, handed_over, watch };
            let shed = shedding.then_some(nth);
            let handled = self.answer(arrival, read, shed, outlet.room());
            outlet.handled(datagram, handled);
            if std::mem::take(&mut self.has_registered) {
                outlet.registered(datagram);
            }
            if let Some(link) = datagram.link {
                self.flows.touch(link.id, false);
            }
            watch.lap(Stage::Core);
        }
        if shedding {
            self.guard.admission_mut().end_batch(batch.len());
            watch.lap(Stage::Guard);
        }
    }

    /// Answers a datagram, or says whose it is. While some are shed, `shed` is its place in the
    /// batch.
    #[inline]
    fn answer<'a>(
        &mut self,
        arrival: Arrival<'a>,
        read: &Read<'a>,
        shed: Option<usize>,
        out: &mut [u8],
    ) -> Handled {
        let bytes = arrival.datagram.bytes;
        if let Err(reason) = self.screen(&arrival, read) {
            self.counters.drop(reason);
            arrival.watch.lap(Stage::Guard);
            return Handled::Nothing;
        }
        if let Some(nth) = shed
            && let Some(handled) = self.shed(&arrival, read, nth, out)
        {
            arrival.watch.lap(Stage::Guard);
            return handled;
        }
        arrival.watch.lap(Stage::Guard);
        match read.parsed {
            Parsed::Complete { message, .. } => {
                request::handle(self, arrival, message, &read.addressed, out)
            }
            Parsed::Invalid { error, .. } if is_keepalive(bytes, error.part, error.fault) => {
                self.counters.drop(DropReason::Keepalive);
                Handled::Nothing
            }
            Parsed::Invalid { message, .. }
                if silence::is_kept(self)
                    && !silence::knows(self, &arrival)
                    && message.is_some_and(|message| message.method().is_some()) =>
            {
                silence::keep(self, &arrival, DropReason::Unauthorized)
            }
            Parsed::Invalid { error, message } => {
                request::refuse_faulty(self, arrival, error, message, out)
            }
            // Its connection has given up on the rest: more than is taken (RFC 3261 21.5.7).
            Parsed::Partial { .. } if arrival.datagram.link.is_some() => {
                if silence::is_kept(self) && !silence::knows(self, &arrival) {
                    return silence::keep(self, &arrival, DropReason::Unauthorized);
                }
                let mut table = HeaderTable::new();
                let error = ParseError { part: Part::Message, fault: Fault::TooLong };
                match parse(bytes, Framing::Datagram, &mut table) {
                    Parsed::Complete { message, .. }
                    | Parsed::Invalid { message: Some(message), .. } => {
                        request::refuse_faulty(self, arrival, error, Some(message), out)
                    }
                    _ => request::refuse_faulty(self, arrival, error, None, out),
                }
            }
            // A datagram is all there will ever be.
            Parsed::Partial { .. } => {
                self.tell_malformed(&arrival);
                self.counters.drop(DropReason::Unparseable);
                Handled::Nothing
            }
        }
    }

    /// The registrar lists those who do not answer as the settings say.
    pub fn put_unreachable_last(&mut self) {
        let is_set = self.liveness.unreachable == config::Unreachable::Deprioritise;
        self.registrar.put_unreachable_last(is_set);
    }

    /// This shard holds its share of the bindings that all may hold together. The shares come to
    /// just that; so a shard that happens to have a few accounts more than others is full a little
    /// before all are, and nobody has to ask the others.
    pub fn hold_share(&mut self, total_max: Option<u32>) {
        let (shards, id) = (u64::from(self.ownership.shards()), u64::from(self.id.0));
        let share = total_max.map(|total| (u64::from(total) + shards - 1 - id) / shards);
        self.registrar.hold_at_most(share.map_or(usize::MAX, |share| share as usize));
    }

    /// Begins a call: what happened in the last one is gone.
    pub fn begin(&mut self, now: Now) {
        self.now = now;
        self.events.clear();
        self.suspension_events.clear();
    }

    /// Ends a call: those who watch are told what happened in it, and connections are held and
    /// released.
    pub(super) fn settle(&mut self, now: Now) {
        self.now = now;
        if !self.suspension_events.is_empty() {
            self.list_suspension_events();
            self.write_suspensions(now);
        }
        let events = std::mem::take(&mut self.events);
        for event in &events {
            self.probing_on_event(now.mono, event);
            self.alert_on_event(event);
        }
        self.events = events;
        if !self.subscriptions.is_empty() {
            for event in &self.events {
                self.subscriptions.on_event(now, event);
            }
        }
        self.settle_keepalives(now.mono);
        for id in self.subscriptions.take_left() {
            self.flows.touch(id, false);
        }
        self.flows.settle(&self.registrar, &self.subscriptions);
    }
}
