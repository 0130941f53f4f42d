//! One shard: its accounts, their bindings, and the one entrance for datagrams. Everything that
//! happens here is a function of what was handed in, clocks and secrets included.

use crate::auth::account::Ha1s;
use crate::auth::accounts::{AccountId, Accounts, AorKey, InsertError};
use crate::auth::ha2::Ha2Cache;
use crate::auth::nonce::{NonceKeys, NonceSequence};
use crate::config;
use crate::limits::EXPIRIES_PER_TURN_MAX;
use crate::registrar::{Event, LeaveReason, Registrar};
use crate::shard::counters::{Counters, DropReason};
use crate::shard::domains::Domains;
use crate::shard::owner::Ownership;
use crate::shard::request::{self, Arrival};
use crate::shard::{Datagram, Handled, ShardId};
use crate::sip::{Fault, Framing, HeaderTable, Parsed, Part, parse};
use crate::time::{Instant, Now};

/// Secrets of the process; all shards have the same.
#[derive(Clone)]
pub struct Keys {
    /// Nonces are minted and judged with these.
    pub nonce: NonceKeys,
    /// To tags and fingerprints of requests.
    pub identity: [u8; 16],
    /// Spread of granted expiries.
    pub spread: [u64; 2],
}

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
    /// The domains served.
    pub domains: Vec<config::Domain>,
}

/// A slice of the AOR hash space, with everything its accounts have.
pub struct Shard {
    table: Box<HeaderTable>,
    core: Core,
}

/// A shard without the header table of the message at hand.
pub(super) struct Core {
    pub id: ShardId,
    pub ownership: Ownership,
    pub keys: Keys,
    pub auth: config::Auth,
    pub bindings_max: u8,
    pub domains: Domains,
    pub accounts: Accounts,
    pub registrar: Registrar,
    pub ha2s: Ha2Cache,
    pub nonces: NonceSequence,
    pub counters: Counters,
    pub events: Vec<Event>,
}

impl Shard {
    /// A shard without accounts.
    #[must_use]
    pub fn new(setup: Setup) -> Shard {
        let Setup { id, ownership, keys, registrar, auth, domains } = setup;
        let shards = ownership.shards();
        let core = Core {
            id,
            ownership,
            auth,
            bindings_max: registrar.bindings_max,
            domains: Domains::new(domains),
            accounts: Accounts::new(),
            registrar: Registrar::new(registrar, keys.spread),
            keys,
            ha2s: Ha2Cache::new(),
            nonces: NonceSequence::interleaved(id.0, shards),
            counters: Counters::default(),
            events: Vec::new(),
        };
        Shard { table: Box::new(HeaderTable::new()), core }
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
        let Core { ownership, id, .. } = &self.core;
        ownership.owner(ownership.hash(aor)) == *id
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

    /// A datagram from the network. The answer, if there is one, stands at the start of `out`.
    #[inline]
    pub fn receive(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.handle(Arrival { now, datagram, handed_over: false }, out)
    }

    /// A datagram that another shard received and this one owns; never answers
    /// [`Handled::Handoff`].
    #[inline]
    pub fn receive_handoff(
        &mut self,
        now: Now,
        datagram: &Datagram<'_>,
        out: &mut [u8],
    ) -> Handled {
        self.core.counters.handoffs_in += 1;
        self.handle(Arrival { now, datagram, handed_over: true }, out)
    }

    #[inline]
    fn handle(&mut self, arrival: Arrival<'_>, out: &mut [u8]) -> Handled {
        let Shard { table, core } = self;
        core.events.clear();
        match parse(arrival.datagram.bytes, Framing::Datagram, table) {
            Parsed::Complete { message, .. } => request::handle(core, arrival, message, out),
            Parsed::Invalid { error, message } => {
                if is_keepalive(arrival.datagram.bytes, error.part, error.fault) {
                    core.counters.drop(DropReason::Keepalive);
                    return Handled::Nothing;
                }
                request::refuse_faulty(core, arrival, error, message, out)
            }
            // A datagram is all there will ever be.
            Parsed::Partial { .. } => {
                core.counters.drop(DropReason::Unparseable);
                Handled::Nothing
            }
        }
    }

    /// Lets bindings go whose time is over, a bounded number at a time. Returns when to call
    /// again: at once where more are waiting.
    pub fn turn(&mut self, now: Now) -> Option<Instant> {
        let core = &mut self.core;
        core.events.clear();
        let expired = core.registrar.expire(now, EXPIRIES_PER_TURN_MAX, &mut core.events);
        core.count_events();
        if expired.more { Some(now.mono) } else { core.registrar.next_deadline() }
    }

    /// What happened to bindings in the last call, in order. Gone with the next one.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.core.events
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// The bindings.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.core.registrar
    }

    /// The accounts.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.core.accounts
    }

    /// The account of a canonical AOR, if it is here.
    #[must_use]
    pub fn find_account(&self, aor: &[u8]) -> Option<AccountId> {
        self.core.accounts.find(AorKey(self.core.ownership.hash(aor)), aor)
    }
}

impl Core {
    /// Counts the events of the call at hand.
    pub fn count_events(&mut self) {
        let Core { counters, events, .. } = self;
        for event in events {
            match event {
                Event::Registered { .. } => counters.registered += 1,
                Event::Refreshed { .. } => counters.refreshed += 1,
                Event::Retargeted { .. } => counters.retargeted += 1,
                Event::Flapping { .. } => counters.flapping += 1,
                Event::Left { reason, .. } => match reason {
                    LeaveReason::Unregistered => counters.unregistered += 1,
                    LeaveReason::Expired => counters.expired += 1,
                    LeaveReason::Kicked => counters.kicked += 1,
                    LeaveReason::ForcedUnregister
                    | LeaveReason::AccountRemoved
                    | LeaveReason::FlowClosed => counters.removed += 1,
                },
            }
        }
    }
}

/// Phones keep their pinhole open with line ends, NULs or some other four bytes (RFC 5626 3.5.1
/// and practice); none of that is a faulty message.
#[cold]
fn is_keepalive(bytes: &[u8], part: Part, fault: Fault) -> bool {
    const KEEPALIVE_BYTES_MAX: usize = 4;
    bytes.len() <= KEEPALIVE_BYTES_MAX || (part == Part::Message && fault == Fault::Empty)
}
