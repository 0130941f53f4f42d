//! What is remembered of sources, in fixed memory: those that accounts have proved themselves from,
//! all others, and the prefixes of those others. A flood of made-up sources pushes out nobody but
//! other unproven ones, and an unproven source that is forgotten begins with full buckets again.
//! For how many sources one account counts is [`vouches`](super::vouches)'s.

use std::net::IpAddr;

use super::address::{Addresses, culprit};
use super::bucket::{Rate, Tick};
use super::budget::{Budget, Limits, Spent, Untold};
use super::scanner::Walk;
use super::sketch::Sketch;
use super::table::{Entry, Hashed, Table};
use super::told::{Scope, Told};
use crate::time::Instant;

/// How long proofs count at least, seconds; at most twice as long. An office that was dark over a
/// long week-end comes back to the allowance it had.
const PROOF_S: u64 = 4 * 86_400;

/// A source nobody has proved himself from, or a prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Unproven {
    budget: Budget,
    walk: Walk,
}

/// A source that accounts have proved themselves from. Once none of them vouches for it any longer
/// it is asleep: it counts as unproven, its place is as good as empty, and whoever proves himself
/// there next wakes it with all that it was.
#[derive(Clone, Copy, Debug, Default)]
struct Proven {
    budget: Budget,
    /// The period of `sketches[0]`.
    period: u8,
    /// How many accounts vouch for it, as far as that was told; not known from 255 on.
    vouchers: u8,
    /// About how many accounts in both periods; 0 while it is asleep.
    accounts: u16,
    /// The accounts of this period and of the one before.
    sketches: [Sketch; 2],
}

impl Entry for Unproven {
    fn worth(&self, now: Tick) -> u64 {
        (u32::MAX - now.since(self.budget.seen())).into()
    }
}

/// Offices before homes, then those heard of last before others.
impl Entry for Proven {
    fn worth(&self, now: Tick) -> u64 {
        const OFFICE: u16 = 15;
        let idle = now.since(self.budget.seen());
        let is_stale = u64::from(idle / 1000) > 2 * PROOF_S;
        let accounts = if is_stale { 0 } else { self.accounts.min(OFFICE) };
        u64::from(accounts) << 32 | u64::from(u32::MAX - idle)
    }
}

impl Proven {
    /// Goes over to another period, where one has begun.
    fn turn(&mut self, period: u8) {
        match period.wrapping_sub(self.period) {
            0 => return,
            1 => self.sketches = [Sketch::default(), self.sketches[0]],
            _ => self.sketches = [Sketch::default(); 2],
        }
        self.period = period;
        if self.sketches == [Sketch::default(); 2] {
            self.vouchers = 0;
        }
        self.recount();
    }

    fn recount(&mut self) {
        let all = self.sketches[0].union(self.sketches[1]);
        self.accounts = if self.vouchers == 0 { 0 } else { all.count() };
    }

    /// Whether somebody vouches for it.
    #[inline]
    fn is_awake(&mut self, now: Moment) -> bool {
        self.turn(now.period);
        self.accounts > 0
    }

    /// An account has proved itself here; `new` says that it did not vouch for this source before.
    fn add(&mut self, account: u64, new: bool) {
        // It may have vouched for it when this was pushed out, or slept.
        let is_news = self.vouchers == 0 || self.sketches.iter().all(|one| one.lacks(account));
        self.vouchers = self.vouchers.saturating_add((new || is_news).into());
        self.sketches[0].add(account);
        self.recount();
    }

    /// One account vouches for it no longer.
    fn remove_one(&mut self) {
        if self.vouchers != u8::MAX {
            self.vouchers = self.vouchers.saturating_sub(1);
            self.recount();
        }
    }
}

/// What a request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It is within the limits.
    Room,
    /// Its source is over its limit.
    SourceLimit,
    /// The unproven sources of its prefix are over theirs.
    PrefixLimit,
    /// The network it is in, by the configuration, is over its own.
    NetworkLimit,
}

/// Who is to hear that an account has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerns {
    /// Every shard: it is news.
    All,
    /// The home of the source, where something is held against it.
    Home,
    /// Nobody.
    Nobody,
}

/// The clock as the tables need it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Milliseconds.
    pub tick: Tick,
    /// Which period of proofs.
    period: u8,
}

impl Moment {
    /// The moment of an instant.
    #[must_use]
    pub fn of(now: Instant) -> Moment {
        Moment { tick: Tick::of(now), period: (now.as_secs() / PROOF_S) as u8 }
    }
}

/// The tables.
pub struct Sources {
    proven: Table<Proven>,
    unproven: Table<Unproven>,
    prefixes: Table<Unproven>,
    networks: Vec<(Budget, Limits)>,
    limits: Limits,
    prefix_limits: Limits,
    shards: u8,
}

impl Sources {
    /// Tables for so many sources of each kind, on one of `shards` shards.
    #[must_use]
    pub fn new(sources_max: usize, limits: Limits, prefix_factor: u32, shards: u8) -> Sources {
        Sources {
            proven: Table::new(sources_max),
            unproven: Table::new(sources_max),
            prefixes: Table::new(sources_max),
            networks: Vec::new(),
            limits,
            prefix_limits: limits.times(prefix_factor, shards),
            shards,
        }
    }

    /// Other limits from now on; what was spent stays spent, networks begin anew.
    pub fn configure(
        &mut self,
        now: Moment,
        limits: Limits,
        prefix_factor: u32,
        networks: impl Iterator<Item = Limits>,
    ) {
        self.limits = limits;
        self.prefix_limits = limits.times(prefix_factor, self.shards);
        self.networks = networks.map(|limits| (Budget::full(now.tick, &limits), limits)).collect();
    }

    /// Takes a request, REGISTER or another, from the buckets of its source, or of its network
    /// where that has a limit of its own.
    #[inline]
    pub fn spend(
        &mut self,
        now: Moment,
        addresses: &Addresses,
        source: IpAddr,
        network: Option<u32>,
        register: bool,
        tell: &mut impl FnMut(Told),
    ) -> Met {
        let mut told = |scope, spent: Spent| {
            if let Spent::Tell(Untold { requests, registers, proofs }) = spent {
                tell(Told::Spent { source, scope, requests, registers, proofs });
            }
            spent != Spent::Short
        };
        if let Some(number) = network
            && let Some((budget, limits)) = self.networks.get_mut(number as usize)
        {
            let paid = budget.pay(now.tick, register, limits);
            return if told(Scope::Network, paid) { Met::Room } else { Met::NetworkLimit };
        }
        let hashed = addresses.hash(source);
        if let Some(proven) = self.proven.find_mut(hashed)
            && proven.is_awake(now)
        {
            let limits = self.limits.grown(proven.accounts, self.shards);
            let paid = proven.budget.pay(now.tick, register, &limits);
            return if told(Scope::Source, paid) { Met::Room } else { Met::SourceLimit };
        }
        let limits = self.limits;
        let new = || Unproven { budget: Budget::full(now.tick, &limits), ..Unproven::default() };
        let one = self.unproven.find_or_insert(hashed, now.tick, new);
        if !one.budget.can_pay(now.tick, register, &limits) {
            return Met::SourceLimit;
        }
        let hashed = addresses.hash_prefix(source);
        let limits = match source {
            // The addresses of one subscriber: the limit grows with the accounts behind them.
            IpAddr::V6(_) => prefix_limits(&self.proven, hashed, self.prefix_limits, self.shards),
            IpAddr::V4(_) => self.prefix_limits,
        };
        let new = || Unproven { budget: Budget::full(now.tick, &limits), ..Unproven::default() };
        let around = self.prefixes.find_or_insert(hashed, now.tick, new);
        if !told(Scope::Prefix, around.budget.pay(now.tick, register, &limits)) {
            return Met::PrefixLimit;
        }
        told(Scope::Source, one.budget.pay(now.tick, register, &self.limits));
        Met::Room
    }

    /// Takes a request that carries a nonce bound to its source from the budget of such. Returns
    /// whether there was enough.
    pub fn spend_proof(
        &mut self,
        now: Moment,
        addresses: &Addresses,
        source: IpAddr,
        tell: &mut impl FnMut(Told),
    ) -> bool {
        let (budget, limits) = self.budget(now, addresses, source);
        let spent = budget.pay_for_proof(now.tick, &limits);
        if let Spent::Tell(Untold { requests, registers, proofs }) = spent {
            tell(Told::Spent { source, scope: Scope::Source, requests, registers, proofs });
        }
        spent != Spent::Short
    }

    /// Takes a REGISTER of a restrained source from a rate of so little; what proofs may spend is
    /// not cut. Returns whether there was enough. Each shard keeps that limit for itself: what
    /// could be gained by many flows is a challenge a second.
    pub fn spend_little(
        &mut self,
        now: Moment,
        addresses: &Addresses,
        source: IpAddr,
        little: Rate,
    ) -> bool {
        let (budget, limits) = self.budget(now, addresses, source);
        budget.pay_little(now.tick, &limits, little)
    }

    /// The budget of a source, made if there is none, and its limits.
    fn budget(
        &mut self,
        now: Moment,
        addresses: &Addresses,
        source: IpAddr,
    ) -> (&mut Budget, Limits) {
        let hashed = addresses.hash(source);
        let limits = self.limits;
        if let Some(proven) = self.proven.find_mut(hashed)
            && proven.is_awake(now)
        {
            let limits = limits.grown(proven.accounts, self.shards);
            return (&mut proven.budget, limits);
        }
        let new = || Unproven { budget: Budget::full(now.tick, &limits), ..Unproven::default() };
        (&mut self.unproven.find_or_insert(hashed, now.tick, new).budget, limits)
    }

    /// Takes what another shard has let pass.
    pub fn charge(
        &mut self,
        now: Moment,
        addresses: &Addresses,
        source: IpAddr,
        network: Option<u32>,
        (scope, told): (Scope, Untold),
    ) {
        match scope {
            Scope::Source => {
                let (budget, limits) = self.budget(now, addresses, source);
                budget.charge(now.tick, told, &limits);
            }
            Scope::Prefix => {
                let hashed = addresses.hash_prefix(source);
                let limits = prefix_limits(&self.proven, hashed, self.prefix_limits, self.shards);
                let new =
                    || Unproven { budget: Budget::full(now.tick, &limits), ..Unproven::default() };
                let around = self.prefixes.find_or_insert(hashed, now.tick, new);
                around.budget.charge(now.tick, told, &limits);
            }
            Scope::Network => {
                if let Some(number) = network
                    && let Some((budget, limits)) = self.networks.get_mut(number as usize)
                {
                    budget.charge(now.tick, told, limits);
                }
            }
        }
    }

    /// Whom it would concern that `account` has proved itself from `source`.
    #[inline]
    #[must_use]
    pub fn concerns(
        &mut self,
        now: Moment,
        addresses: &Addresses,
        source: IpAddr,
        account: u64,
    ) -> Concerns {
        let hashed = addresses.hash(source);
        let Some(proven) = self.proven.find_mut(hashed) else { return Concerns::All };
        if !proven.is_awake(now) || proven.sketches[0].lacks(account) {
            return Concerns::All;
        }
        let suspected = match source {
            IpAddr::V4(_) => proven.budget.suspicion != 0,
            IpAddr::V6(_) => {
                let around = self.proven.find(addresses.hash(culprit(source)));
                around.is_some_and(|around| around.budget.suspicion != 0)
            }
        };
        if suspected { Concerns::Home } else { Concerns::Nobody }
    }

    /// Something is held against a source, or no longer. Of those nobody has proved himself from it
    /// is not remembered: a success there concerns all.
    #[cold]
    pub fn suspect(&mut self, addresses: &Addresses, source: IpAddr, suspected: bool) {
        if let Some(proven) = self.proven.find_mut(addresses.hash(culprit(source))) {
            proven.budget.suspicion = suspected.into();
        }
    }

    /// An account has proved itself from `source`; `new` says that it did not vouch for it before.
    #[cold]
    pub fn prove(
        &mut self,
        now: Moment,
        addresses: &Addresses,
        source: IpAddr,
        (account, new): (u64, bool),
    ) {
        self.prove_at(now, addresses.hash(source), account, new);
        if source.is_ipv6() {
            self.prove_at(now, addresses.hash_prefix(source), account, new);
        }
    }

    /// One account vouches for `source` no longer.
    #[cold]
    pub fn unvouch(&mut self, addresses: &Addresses, source: IpAddr) {
        let prefix = source.is_ipv6().then(|| addresses.hash_prefix(source));
        for hashed in [Some(addresses.hash(source)), prefix].into_iter().flatten() {
            if let Some(proven) = self.proven.find_mut(hashed) {
                proven.remove_one();
            }
        }
    }

    fn prove_at(&mut self, now: Moment, hashed: Hashed, account: u64, new: bool) {
        let (limits, shards) = (self.limits, self.shards);
        // It takes along what it has spent.
        let unproven = self.unproven.find(hashed).map(|unproven| unproven.budget.unsuspected());
        self.unproven.remove(hashed);
        let full = || Proven {
            budget: Budget::full(now.tick, &limits),
            period: now.period,
            ..Proven::default()
        };
        let proven = self.proven.find_or_insert(hashed, now.tick, full);
        if let (false, Some(budget)) = (proven.is_awake(now), unproven) {
            proven.budget = budget;
        }
        let before = limits.grown(proven.accounts, shards);
        proven.add(account, new);
        proven.budget.grow(&before, &limits.grown(proven.accounts, shards));
    }

    /// About how many accounts have proved themselves from where `source` is, as far as blocks are
    /// concerned.
    #[must_use]
    pub fn accounts(&self, addresses: &Addresses, source: IpAddr) -> u16 {
        self.proven.find(addresses.hash(culprit(source))).map_or(0, |proven| proven.accounts)
    }

    /// Whether some account has proved itself from this very address lately.
    #[must_use]
    pub fn is_proven(&self, addresses: &Addresses, source: IpAddr) -> bool {
        self.proven.find(addresses.hash(source)).is_some_and(|proven| proven.accounts > 0)
    }

    /// Makes a place for a source that nothing is kept of yet: where no limits are, nothing is
    /// spent that would make one.
    #[cold]
    pub fn meet(&mut self, now: Moment, addresses: &Addresses, source: IpAddr) {
        if !self.is_proven(addresses, source) {
            self.budget(now, addresses, source);
        }
    }

    /// Takes the user that an unproven source asks for. Returns whether that goes on a walk
    /// through numbers. Proven sources walk as they like: their phones have numbers in a row.
    pub fn step(&mut self, addresses: &Addresses, source: IpAddr, user: &[u8]) -> bool {
        let one = self.unproven.find_mut(addresses.hash(source));
        one.is_some_and(|one| one.walk.step(user, self.shards))
    }

    /// Adds points to what anybody could have done in the name of an unproven source. Returns what
    /// has come together, once that is enough to be counted at its home.
    pub fn add_faked(&mut self, addresses: &Addresses, source: IpAddr, points: u8) -> Option<u16> {
        const ENOUGH: u8 = 16;
        let one = self.unproven.find_mut(addresses.hash(source))?;
        let faked = &mut one.budget.suspicion;
        *faked = faked.saturating_add(points);
        (*faked >= ENOUGH).then(|| u16::from(std::mem::take(faked)))
    }

    /// Touches what the request of a source will need; see [`Table::warm`].
    #[inline]
    #[must_use]
    pub fn warm(&self, addresses: &Addresses, source: IpAddr) -> u64 {
        self.proven.warm(addresses.hash(source))
    }
}

/// The limits of a prefix: of IPv6, where accounts are counted by prefix too, grown by those.
fn prefix_limits(proven: &Table<Proven>, prefix: Hashed, limits: Limits, shards: u8) -> Limits {
    match proven.find(prefix) {
        Some(proven) => limits.grown(proven.accounts, shards),
        None => limits,
    }
}

const _: () = assert!(size_of::<Unproven>() == 32);
const _: () = assert!(size_of::<Proven>() == 64);
