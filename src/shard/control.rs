//! Orders to a running shard from outside its datagrams: other settings, other accounts, what
//! operators ask for. Each is bounded, so that traffic never waits long behind one; what is longer
//! is asked for in pieces.
//!
//! Accounts are replaced as a whole by [`Control::BeginAccounts`], any number of
//! [`Control::PutAccounts`] and as many [`Control::EndAccounts`] as say that more is left: what was
//! not put in between goes. The shard compares, so nobody has to remember what it was given.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::auth::account::Ha1s;
use crate::auth::accounts::{AccountId, AorKey, InsertError};
use crate::auth::suspension::Cursor;
use crate::config::{self, AccountPolicy};
use crate::limits::{ACCOUNTS_SWEPT_PER_CONTROL_MAX, EXPIRIES_PER_TURN_MAX};
use crate::nat::{Networks, OwnAddresses};
use crate::reg_event::EndReason;
use crate::registrar::{AorId, BindingId, LeaveReason, Which};
use crate::shard::Shard;
use crate::shard::blocks::BlockPage;
use crate::shard::core::Core;
use crate::shard::domains::Domains;
use crate::shard::events::{EventsAsked, EventsPage};
use crate::shard::extensions::Extensions;
use crate::shard::guard::said;
use crate::shard::history::{HistoryPage, HistoryTaken, Recording};
use crate::shard::kick::{Kick, Kicked, Suspend, Suspending};
use crate::shard::listening::Listening;
use crate::shard::put::{Put as PutBinding, Unput};
use crate::shard::registrations::{Chosen, Registration, Shown, Unfound, Unregistered};
use crate::shard::search::{Find, Page};
use crate::shard::suspend::{Lifted, SuspensionPage};
use crate::shard::tally::Tally;
use crate::shard::trace::{TraceOrder, TracePage};
use crate::time::{Instant, Now};

/// An order.
#[derive(Clone, Debug)]
pub enum Control {
    /// Obey another configuration from the next request on. What was granted stays granted.
    Configure(Arc<Configuration>),
    /// The networks from which some account, of whatever shard, may be let in without a digest
    /// ([`AccountPolicy::needs_no_digest`]). Where there are any, requests without credentials are
    /// for the shard that owns their AOR, as those with credentials are. None from the start.
    AskOwners(Arc<[IpNet]>),
    /// The UDP addresses that datagrams are taken at, by the number of their listener, ports
    /// resolved. Requests of our own name them; until they are known they name the domain.
    Listening(Vec<SocketAddr>),
    /// Where this process listens, as far as that is known now. Nothing from the start.
    OwnAddresses(Arc<OwnAddresses>),
    /// The accounts are about to be put, all of them; none is gone yet. An update that was begun
    /// and not ended is forgotten.
    BeginAccounts,
    /// Accounts this shard owns, at most
    /// [`ACCOUNTS_PER_CONTROL_MAX`](crate::limits::ACCOUNTS_PER_CONTROL_MAX): those that are new
    /// are added, others take the secrets and the policy given here and keep their bindings.
    PutAccounts(Vec<NewAccount>),
    /// Accounts that were there and have not been put since the update began go, with their
    /// bindings ([`LeaveReason::AccountRemoved`]). To be given again while the reply says `more`.
    EndAccounts,
    /// Who is suspended, in the order the suspensions end.
    ListSuspensions {
        /// Where the page before said that it goes on.
        after: Option<Cursor>,
        /// Suspensions of one page, 1 to
        /// [`SUSPENSIONS_PER_CALL_MAX`](crate::limits::SUSPENSIONS_PER_CALL_MAX).
        items_max: usize,
    },
    /// Lift the suspension of an account that this shard owns, and forget failures that have led
    /// to none. To be given again, with `next` as `after`, while the reply has one.
    LiftSuspension {
        /// Canonical address-of-record; it need not exist.
        aor: String,
        /// For this source; without one, for every source.
        source: Option<IpAddr>,
        /// Where the order before said that it goes on.
        after: Option<Cursor>,
    },
    /// Give one page of the bindings or accounts that match, or count them.
    Find(Find),
    /// Say which address-of-record, as an operator writes it, is this shard's. It need not exist.
    Locate(Box<[u8]>),
    /// Show an account and its bindings. Its address-of-record is given as an operator writes it.
    Show(Box<[u8]>),
    /// Take bindings of an account out ([`LeaveReason::ForcedUnregister`]). From the reply on they
    /// are gone for everybody.
    Unregister(Box<[u8]>, Chosen),
    /// Take bindings out that an operator has been shown, as far as they still match.
    Kick(Kick),
    /// Show the bindings of these names that live, at most
    /// [`KICKS_PER_CONTROL_MAX`](crate::limits::KICKS_PER_CONTROL_MAX).
    ShowNamed(Vec<BindingId>),
    /// Suspend an account, whatever source it comes from. Its address-of-record is given as an
    /// operator writes it; it need not exist.
    Suspend(Box<[u8]>, Suspend),
    /// Put a binding in.
    Put(PutBinding),
    /// Give one page of the sources that are blocked, from behind this address on. Every shard has
    /// the same list, so one is asked.
    Blocks(Option<IpAddr>),
    /// Say whether that list is still the one somebody has read ([`BlockPage::version`]).
    BlocksVersion,
    /// Block a source for so many seconds, or until it is lifted; its /64 where it is of IPv6. To
    /// be given to every shard.
    Block(IpAddr, Option<u32>),
    /// Sources that operators had blocked before the process began, and for how many seconds more.
    /// To be given to every shard, before it serves.
    RestoreBlocks(Arc<[(IpAddr, Option<u32>)]>),
    /// Lift the block of a source and forget what it did. To be given to every shard.
    Unblock(IpAddr),
    /// Give one page of the security events that are listed. Each shard has those of its own
    /// sockets and accounts.
    SecurityEvents(EventsAsked),
    /// Show what is dropped from now on, for a while, unless that is being done. To be given to
    /// every shard.
    BeginTrace(TraceOrder),
    /// Give what the trace of this number has seen since this order was given last.
    TakeTrace(u64),
    /// End the trace of this number.
    EndTrace(u64),
    /// Give the counters, and how much of everything there is.
    Count,
    /// Record what happens to registrations from now on, or not any more.
    RecordHistory(Option<Recording>),
    /// Give the oldest rows of what was recorded. A page that was given before and is of no more
    /// use comes back with it.
    TakeHistory(Option<HistoryPage>),
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The configuration holds.
    Configured,
    /// Accounts came, changed or went.
    Accounts(AccountsChanged),
    /// Who is suspended.
    Suspensions(SuspensionPage),
    /// Suspensions were lifted.
    Lifted(Lifted),
    /// What was found.
    Found(Page),
    /// A canonical address-of-record, or why it is not here.
    Located(Result<Box<[u8]>, Unfound>),
    /// An account, or why it is not here.
    Shown(Result<Shown, Unfound>),
    /// What was taken out of an account, or why that is not here.
    Unregistered(Result<Unregistered, Unfound>),
    /// What became of bindings that were to be taken out.
    Kicked(Kicked),
    /// Bindings by their names, and when that was so.
    Named(Vec<Registration>, Now),
    /// An account is suspended, or there was no room for it, or why it is not here.
    Suspended(Result<Suspending, Unfound>),
    /// A binding was put in, or why not.
    Put(Result<(), Unput>),
    /// Sources that are blocked.
    Blocks(BlockPage),
    /// Changes whenever a source is blocked or free again.
    BlocksVersion(u64),
    /// Whether the order about a block changed anything.
    BlockChanged(bool),
    /// Security events.
    SecurityEvents(EventsPage),
    /// A trace has begun, or not: the one of this number is under way.
    TraceBegun(Option<u64>),
    /// What a trace has seen; `None` where there is no such trace any more.
    Traced(Option<TracePage>),
    /// Whether there was such a trace to end.
    TraceEnded(bool),
    /// The counters.
    Counted(Box<Tally>),
    /// Rows about registrations.
    History(HistoryTaken),
}

/// What one order did to the accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountsChanged {
    /// Accounts that were not there before.
    pub added: usize,
    /// Accounts with another secret or another policy than before.
    pub changed: usize,
    /// Accounts that went.
    pub removed: usize,
    /// Accounts for which there was no room.
    pub refused: usize,
    /// The order is not done: give it again.
    pub more: bool,
}

/// What a shard obeys, as far as it can change while it serves.
#[derive(Clone, Debug)]
pub struct Configuration {
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

/// An account as it is put into a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Canonical address-of-record.
    pub aor: String,
    /// Its secrets.
    pub ha1s: Ha1s,
    /// What holds for it alone.
    pub policy: Option<Arc<AccountPolicy>>,
}

/// What became of an account that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Added(AccountId),
    /// It was there with another secret or policy.
    Changed(AccountId),
    /// It was there just so.
    Kept(AccountId),
}

impl Put {
    /// The account.
    #[must_use]
    pub fn id(self) -> AccountId {
        match self {
            Put::Added(id) | Put::Changed(id) | Put::Kept(id) => id,
        }
    }
}

/// An update of the accounts that is under way.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// A bit for each id: it was put.
    put: Vec<u64>,
    /// Ids below this one have been looked at by the sweep.
    swept: u32,
}

impl Update {
    fn mark(&mut self, AccountId(id): AccountId) {
        let word = id as usize / 64;
        if self.put.len() <= word {
            self.put.resize(word + 1, 0);
        }
        self.put[word] |= 1 << (id % 64);
    }

    fn was_put(&self, AccountId(id): AccountId) -> bool {
        self.put.get(id as usize / 64).is_some_and(|word| word & 1 << (id % 64) != 0)
    }
}

impl Shard {
    /// Adds an account this shard owns, or makes the one of that name what is given here. `aor` is
    /// canonical.
    ///
    /// # Errors
    /// See [`InsertError`], never `Duplicate`; nothing has changed then.
    pub fn put_account(
        &mut self,
        now: Now,
        aor: &[u8],
        ha1s: &Ha1s,
        policy: Option<&Arc<AccountPolicy>>,
    ) -> Result<Put, InsertError> {
        let core = self.core_mut();
        core.begin(now);
        let put = core.put_account(now, aor, ha1s, policy);
        core.count_events(0);
        core.settle(now);
        put
    }
}

impl Core {
    pub fn control(&mut self, now: Now, order: Control) -> Reply {
        match order {
            Control::AskOwners(networks) => {
                self.asks_owners = !networks.is_empty();
                self.guard.let_in_from(&networks);
                Reply::Configured
            }
            Control::Listening(addresses) => {
                self.listening = Listening::new(addresses);
                Reply::Configured
            }
            Control::OwnAddresses(own) => {
                self.own = own;
                Reply::Configured
            }
            Control::Configure(configuration) => {
                self.configure(now.mono, &configuration);
                Reply::Configured
            }
            Control::BeginAccounts => {
                let put = vec![0; (self.accounts.ids_end() as usize).div_ceil(64)];
                self.update = Some(Update { put, swept: 0 });
                Reply::Accounts(AccountsChanged::default())
            }
            Control::PutAccounts(accounts) => Reply::Accounts(self.put_accounts(now, &accounts)),
            Control::EndAccounts => Reply::Accounts(self.end_accounts()),
            Control::ListSuspensions { after, items_max } => {
                Reply::Suspensions(self.list_suspensions(now, after, items_max))
            }
            Control::LiftSuspension { aor, source, after } => {
                Reply::Lifted(self.lift_suspensions(aor.as_bytes(), source, after))
            }
            Control::Find(find) => Reply::Found(self.find_registrations(now, &find)),
            Control::Locate(aor) => Reply::Located(self.own_aor(&aor)),
            Control::Show(aor) => Reply::Shown(self.show_registrations(now, &aor)),
            Control::Unregister(aor, chosen) => {
                Reply::Unregistered(self.force_unregister(now, &aor, &chosen))
            }
            Control::Kick(kick) => Reply::Kicked(self.kick(now, &kick)),
            Control::ShowNamed(ids) => Reply::Named(self.registrations_named(now, &ids), now),
            Control::Suspend(aor, suspend) => Reply::Suspended(self.suspend(now, &aor, &suspend)),
            Control::Put(put) => Reply::Put(self.put_binding(now, &put)),
            Control::Blocks(after) => Reply::Blocks(self.list_blocks(now, after)),
            Control::BlocksVersion => Reply::BlocksVersion(self.guard.blocks_version()),
            Control::Block(source, for_s) => Reply::BlockChanged(self.guard.block(source, for_s)),
            Control::RestoreBlocks(blocks) => {
                for &(source, for_s) in &*blocks {
                    self.guard.restore_block(source, for_s);
                }
                Reply::Configured
            }
            Control::Unblock(source) => Reply::BlockChanged(self.guard.lift(source)),
            Control::SecurityEvents(asked) => Reply::SecurityEvents(self.list_events(&asked)),
            Control::BeginTrace(order) => Reply::TraceBegun(self.begin_trace(now, order)),
            Control::TakeTrace(id) => Reply::Traced(self.take_trace(now, id)),
            Control::EndTrace(id) => Reply::TraceEnded(self.end_trace(id)),
            Control::Count => Reply::Counted(Box::new(self.tally())),
            Control::RecordHistory(recording) => {
                self.record_history(recording);
                Reply::Configured
            }
            Control::TakeHistory(spare) => Reply::History(self.take_history(now, spare)),
        }
    }

    fn configure(&mut self, now: Instant, configuration: &Configuration) {
        let Configuration { registrar, auth, guard, nat, liveness, networks, domains } =
            configuration;
        self.bindings_max = registrar.bindings_max;
        self.extensions = Extensions::from(registrar);
        self.auth = auth.clone();
        self.guard.configure(guard, &said(networks));
        self.configure_keepalives(now, nat);
        self.liveness = liveness.clone();
        self.probing.configure(now, liveness, &self.keys);
        self.put_unreachable_last();
        self.networks = Networks::new(networks.iter().cloned());
        self.domains = Domains::new(domains.clone());
        self.registrar.configure(registrar.clone());
        self.hold_share(registrar.total_max);
        self.subscriptions.configure(registrar.into());
    }

    fn put_accounts(&mut self, now: Now, accounts: &[NewAccount]) -> AccountsChanged {
        let mut changed = AccountsChanged::default();
        for NewAccount { aor, ha1s, policy } in accounts {
            let put = match self.put_account(now, aor.as_bytes(), ha1s, policy.as_ref()) {
                Ok(put) => put,
                Err(_) => {
                    changed.refused += 1;
                    continue;
                }
            };
            match put {
                Put::Added(_) => changed.added += 1,
                Put::Changed(_) => changed.changed += 1,
                Put::Kept(_) => {}
            }
            if let Some(update) = &mut self.update {
                update.mark(put.id());
            }
        }
        changed
    }

    fn put_account(
        &mut self,
        now: Now,
        aor: &[u8],
        ha1s: &Ha1s,
        policy: Option<&Arc<AccountPolicy>>,
    ) -> Result<Put, InsertError> {
        let hash = self.ownership.hash(aor);
        debug_assert!(self.ownership.owner(hash) == self.id, "another shard's account");
        let accounts = &mut self.accounts;
        let Some(id) = accounts.find(AorKey(hash), aor) else {
            let id = accounts.insert(AorKey(hash), aor, ha1s)?;
            accounts.set_policy(id, policy.cloned());
            self.provide(now, id, policy);
            return Ok(Put::Added(id));
        };
        let same_secrets = accounts.has_secrets(id, ha1s);
        if !same_secrets {
            accounts.set_secrets(id, ha1s);
        }
        let same_policy = accounts.policy(id) == policy;
        if !same_policy {
            accounts.set_policy(id, policy.cloned());
            self.provide(now, id, policy);
        }
        Ok(if same_secrets && same_policy { Put::Kept(id) } else { Put::Changed(id) })
    }

    /// Binds what an account has without registering, and nothing else of that kind.
    fn provide(&mut self, now: Now, id: AccountId, policy: Option<&Arc<AccountPolicy>>) {
        let contacts = policy.map_or(&[][..], |policy| &policy.static_contacts);
        self.registrar.provide(now, AorId(id.0), contacts, &mut self.events);
    }

    /// Goes on with the sweep until it has done as much as one order may.
    fn end_accounts(&mut self) -> AccountsChanged {
        let mut changed = AccountsChanged::default();
        let Some(mut update) = self.update.take() else { return changed };
        let end = self.accounts.ids_end();
        let most = u32::try_from(ACCOUNTS_SWEPT_PER_CONTROL_MAX).unwrap_or(u32::MAX);
        let pause = end.min(update.swept.saturating_add(most));
        let mut left = 0;
        while update.swept < pause && left < EXPIRIES_PER_TURN_MAX {
            let id = AccountId(update.swept);
            update.swept += 1;
            if !update.was_put(id) && self.accounts.contains(id) {
                left += 1 + self.remove_account(id);
                changed.removed += 1;
            }
        }
        changed.more = update.swept < end;
        if changed.more {
            self.update = Some(update);
        }
        changed
    }

    /// Takes an account away with its bindings. Returns how many bindings that were.
    fn remove_account(&mut self, id: AccountId) -> usize {
        let (aor, reason) = (AorId(id.0), LeaveReason::AccountRemoved);
        let before = self.events.len();
        let left = self.registrar.unregister(aor, Which::All, reason, &mut self.events);
        // Its name is known for the last time.
        self.write_history(self.now, before, true);
        self.subscriptions.end(aor, EndReason::NoResource);
        self.accounts.remove(id);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::nonce::NonceKey;
    use crate::shard::owner::Ownership;
    use crate::shard::{Keys, Setup, ShardId};
    use crate::time::UnixTime;

    const NOW: Now = Now { mono: Instant::ZERO, wall: UnixTime(1_800_000_000), wall_us: 0 };

    fn shard() -> Shard {
        Shard::new(Setup {
            id: ShardId(0),
            ownership: Ownership::new([7; 16], 1),
            keys: Keys { nonce: NonceKey::new(&[7; 16]).into(), identity: [7; 16], spread: [7, 7] },
            registrar: config::Registrar::default(),
            auth: config::Auth::default(),
            guard: config::Guard::default(),
            nat: config::Nat::default(),
            liveness: config::Liveness::default(),
            networks: Vec::new(),
            domains: Vec::new(),
        })
    }

    fn accounts(numbers: std::ops::Range<u32>) -> Vec<NewAccount> {
        let one = |number| NewAccount {
            aor: format!("u{number}@example.com"),
            ha1s: Ha1s::default(),
            policy: None,
        };
        numbers.map(one).collect()
    }

    fn give(shard: &mut Shard, order: Control) -> AccountsChanged {
        match shard.control(NOW, order) {
            Reply::Accounts(changed) => changed,
            other => panic!("no order of accounts: {other:?}"),
        }
    }

    fn end(shard: &mut Shard) -> (usize, usize) {
        let (mut orders, mut removed) = (0, 0);
        loop {
            let changed = give(shard, Control::EndAccounts);
            orders += 1;
            removed += changed.removed;
            assert!(changed.removed <= EXPIRIES_PER_TURN_MAX);
            if !changed.more {
                return (orders, removed);
            }
        }
    }

    #[test]
    fn accounts_that_were_not_put_go_a_bounded_number_at_a_time() {
        let mut shard = shard();
        assert_eq!(give(&mut shard, Control::PutAccounts(accounts(0..1000))).added, 1000);
        give(&mut shard, Control::BeginAccounts);
        let put = give(&mut shard, Control::PutAccounts(accounts(900..1100)));
        assert_eq!((put.added, put.changed, put.removed), (100, 0, 0));
        let (orders, removed) = end(&mut shard);
        assert_eq!(removed, 900);
        assert!(orders >= 900 / EXPIRIES_PER_TURN_MAX);
        assert_eq!(shard.accounts().len(), 200);
        assert!(shard.find_account(b"u899@example.com").is_none());
        assert!(shard.find_account(b"u900@example.com").is_some());
    }

    #[test]
    fn an_end_without_a_beginning_removes_nothing() {
        let mut shard = shard();
        give(&mut shard, Control::PutAccounts(accounts(0..10)));
        assert_eq!(end(&mut shard), (1, 0));
        assert_eq!(shard.accounts().len(), 10);
    }

    #[test]
    fn what_is_put_again_is_changed_only_if_it_differs() {
        let mut shard = shard();
        let mut one = accounts(1..2).remove(0);
        let mut put = |one: &NewAccount| {
            let NewAccount { aor, ha1s, policy } = one;
            shard.put_account(NOW, aor.as_bytes(), ha1s, policy.as_ref()).unwrap()
        };
        let id = put(&one).id();
        assert_eq!(put(&one), Put::Kept(id));
        one.ha1s = Ha1s::from_password(&one.aor, "p", true);
        assert_eq!(put(&one), Put::Changed(id));
        let policy = || AccountPolicy { bindings_max: Some(2), ..AccountPolicy::default() };
        one.policy = Some(Arc::new(policy()));
        assert_eq!(put(&one), Put::Changed(id));
        one.policy = Some(Arc::new(policy()));
        assert_eq!(put(&one), Put::Kept(id), "an equal policy of another file");
        one.policy = None;
        assert_eq!(put(&one), Put::Changed(id));
    }

    #[test]
    fn another_configuration_holds_from_the_next_request_on() {
        let mut shard = shard();
        let configuration = Configuration {
            registrar: config::Registrar { bindings_max: 9, ..Default::default() },
            auth: config::Auth { nonce_lifetime_s: 60, ..Default::default() },
            guard: config::Guard::off(),
            nat: config::Nat { tests: config::NatTests::NONE, ..Default::default() },
            liveness: config::Liveness { misses: 9, ..Default::default() },
            networks: vec![config::Network::new("10.0.0.0/8".parse().unwrap())],
            domains: vec![config::Domain {
                name: "example.com".into(),
                algorithms: config::Algorithms::BOTH,
                aliases: Vec::new(),
            }],
        };
        let reply = shard.control(NOW, Control::Configure(Arc::new(configuration)));
        assert_eq!(reply, Reply::Configured);
        let core = shard.core_mut();
        assert_eq!((core.bindings_max, core.auth.nonce_lifetime_s), (9, 60));
        assert!(core.domains.find(b"example.com").is_some());
        assert_eq!((core.nat.tests, core.liveness.misses), (config::NatTests::NONE, 9));
        assert!(core.networks.say([10, 0, 0, 1].into(), |one| Some(one.net)).is_some());
    }
}
