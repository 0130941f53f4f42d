//! What the bindings ought to be: the rules of RFC 3261 10.3 and of the registrar's lifecycle once
//! more, in plain words on plain vectors, and what each request may expect for an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use aorta::registrar::Binding;
use aorta::time::{Instant, Now};

use crate::ask::{Ask, Asked, AskedContact};

/// What the server was told to obey.
#[derive(Clone, Debug)]
pub struct Rules {
    pub bindings_max: usize,
    pub replace: bool,
    pub expires_min_s: u32,
    pub expires_max_s: u32,
    pub raises_brief: bool,
    pub spread_percent: u32,
    pub nonce_lifetime_s: u32,
}

/// A binding that ought to be there.
#[derive(Clone, Debug)]
pub struct Bound {
    pub contact: String,
    pub instance: Option<String>,
    pub reg_id: Option<u32>,
    pub call_id: String,
    pub cseq: u32,
    pub user_agent: String,
    /// Where its last REGISTER came from.
    pub source: std::net::SocketAddr,
    /// Key of the request that last changed it.
    pub by: String,
    pub granted_s: u32,
    pub until: Instant,
}

impl Bound {
    /// How long ago it was set.
    pub fn age(&self, now: Instant) -> Duration {
        (now + Duration::from_secs(u64::from(self.granted_s))).saturating_since(self.until)
    }

    /// Whether the server has just this.
    pub fn is(&self, binding: &Binding) -> bool {
        self.contact.as_bytes() == binding.contact()
            && self.instance.as_deref().map(str::as_bytes)
                == binding.instance().map(|instance| instance.text()).as_deref()
            && self.reg_id == binding.reg_id()
            && binding.call_id().is(self.call_id.as_bytes(), [0; 2])
            && self.cseq == binding.cseq()
            && self.user_agent.as_bytes() == binding.user_agent()
            && self.source == binding.source()
    }
}

/// One account.
#[derive(Default)]
pub struct Account {
    /// The oldest first.
    pub bound: Vec<Bound>,
    /// Key of the last request that was accepted and no fetch.
    last: String,
    /// Key of the last request that was answered and changed nothing.
    answered: String,
    used: BTreeMap<String, BTreeSet<u32>>,
}

/// All accounts, and every nonce that was handed out.
pub struct Shadow {
    pub rules: Rules,
    pub accounts: Vec<Account>,
    nonces: BTreeMap<String, (IpAddr, u64)>,
}

/// The answer a request may expect.
pub enum Expected {
    /// 401 without `stale`.
    Challenge,
    /// 401 with `stale=true`.
    Stale,
    /// 200 as before, and nothing changes.
    Repeat,
    /// Refused, and nothing changes.
    Refused(u16),
    /// 200, and these are the bindings then. What is granted, the answer says.
    Accepted(Vec<Bound>),
}

/// Nonce counts this far behind the highest may be taken for used.
const WINDOW: u32 = 32;

impl Shadow {
    pub fn new(rules: Rules, accounts: usize) -> Shadow {
        let accounts = (0..accounts).map(|_| Account::default()).collect();
        Shadow { rules, accounts, nonces: BTreeMap::new() }
    }

    /// The process has ended: what was in its memory is gone, what it signed is still good.
    pub fn restart(&mut self) {
        self.accounts.iter_mut().for_each(|account| *account = Account::default());
    }

    /// The number of an account, from 0.
    pub fn account_of(&self, user: &str) -> Option<usize> {
        let number: usize = user.strip_prefix('u')?.parse().ok()?;
        (1..=self.accounts.len()).contains(&number).then(|| number - 1)
    }

    /// Notes a nonce the server has handed out.
    pub fn handed_out(&mut self, nonce: &str, to: IpAddr, now: Now) {
        self.nonces.insert(nonce.to_owned(), (to, now.wall.0));
    }

    /// Whether a nonce was handed out to an address.
    pub fn was_given(&self, nonce: &str, to: IpAddr) -> bool {
        self.nonces.get(nonce).is_some_and(|&(ip, _)| ip == to)
    }

    /// What must follow from a request, and whether a challenge with `stale=true` may take its
    /// place because the account cannot remember every nonce for ever.
    pub fn expect(&self, ask: &Ask, source: std::net::SocketAddr, now: Now) -> (Expected, bool) {
        let Some(proof) = &ask.credentials else { return (Expected::Challenge, false) };
        let age_s = match self.nonces.get(&proof.nonce) {
            Some(&(ip, issued)) if ip == source.ip() => now.wall.0.saturating_sub(issued),
            _ => return (Expected::Stale, false),
        };
        let account = match self.account_of(&ask.user) {
            Some(number) if proof.right => &self.accounts[number],
            _ => return (Expected::Challenge, false),
        };
        if age_s > u64::from(self.rules.nonce_lifetime_s) {
            return (Expected::Stale, false);
        }
        let used = account.used.get(&proof.nonce);
        let others = account.used.len() - usize::from(used.is_some());
        let may_be_forgotten = others >= (self.rules.bindings_max * 2).max(4);
        let behind = used.and_then(|used| used.last()).is_some_and(|&h| h >= proof.nc + WINDOW);
        let is_repeat = is_repeat(account, ask);
        if used.is_some_and(|used| used.contains(&proof.nc)) {
            // Known by what it left behind, or as the last that left nothing; all others are
            // replays. One that was refused and would not be now is not let in that late.
            let is_known = account.answered == ask.key;
            let is_fetch = matches!(ask.contacts, Asked::Fetch);
            return match self.decide(account, ask, source) {
                _ if is_repeat => (Expected::Repeat, may_be_forgotten),
                Ok(_) if is_known && is_fetch => (Expected::Repeat, may_be_forgotten),
                Err(status) if is_known => (Expected::Refused(status), may_be_forgotten),
                _ => (Expected::Stale, false),
            };
        }
        let expected = match self.decide(account, ask, source) {
            _ if is_repeat => Expected::Repeat,
            Ok(bound) => Expected::Accepted(bound),
            Err(status) => Expected::Refused(status),
        };
        (expected, may_be_forgotten || behind)
    }

    /// The nonce count of a request was accepted, so it is used.
    pub fn use_count(&mut self, ask: &Ask) {
        let Some(number) = self.account_of(&ask.user) else { return };
        let Some(proof) = &ask.credentials else { return };
        self.accounts[number].used.entry(proof.nonce.clone()).or_default().insert(proof.nc);
    }

    /// Whether the nonce count of a request has been used.
    pub fn has_used(&self, ask: &Ask) -> bool {
        let used = |account: usize, nonce: &str| self.accounts[account].used.get(nonce);
        self.account_of(&ask.user)
            .zip(ask.credentials.as_ref())
            .and_then(|(account, proof)| Some(used(account, &proof.nonce)?.contains(&proof.nc)))
            .unwrap_or(false)
    }

    /// A request was accepted; `granted` are the expiries that its 200 lists.
    pub fn accept(&mut self, ask: &Ask, bound: Vec<Bound>, granted: &[(String, u32)], now: Now) {
        let Some(number) = self.account_of(&ask.user) else { return };
        let account = &mut self.accounts[number];
        account.bound = bound;
        for (at, bound) in account.bound.iter_mut().enumerate() {
            if let Some((_, granted_s)) = granted.get(at).filter(|_| bound.by == ask.key) {
                bound.granted_s = *granted_s;
                bound.until = now.mono + Duration::from_secs(u64::from(*granted_s));
            }
        }
        match ask.contacts {
            Asked::Fetch => account.answered.clone_from(&ask.key),
            _ => account.last.clone_from(&ask.key),
        }
    }

    /// A request was refused by what it asked.
    pub fn refuse(&mut self, ask: &Ask) {
        if let Some(number) = self.account_of(&ask.user) {
            self.accounts[number].answered.clone_from(&ask.key);
        }
    }

    /// RFC 3261 10.3 steps 6 and 7: the bindings as they are after the request, or the status it is
    /// refused with.
    fn decide(
        &self,
        account: &Account,
        ask: &Ask,
        source: std::net::SocketAddr,
    ) -> Result<Vec<Bound>, u16> {
        let rules = &self.rules;
        let in_order = |bound: &Bound| bound.call_id != ask.call_id || bound.cseq < ask.cseq;
        let contacts = match &ask.contacts {
            Asked::Fetch => return Ok(account.bound.clone()),
            Asked::Wildcard if ask.expires != Some(0) => return Err(400),
            Asked::Wildcard if !account.bound.iter().all(in_order) => return Err(500),
            Asked::Wildcard => return Ok(Vec::new()),
            Asked::List(contacts) => contacts,
        };
        // For each binding, the contact that speaks of it; for each contact, whether it found one.
        let mut spoken_of = vec![None; account.bound.len()];
        let mut found = vec![false; contacts.len()];
        for (number, contact) in contacts.iter().enumerate() {
            let asked_s = asked_s(contact, ask, rules);
            if asked_s != 0 && asked_s < rules.expires_min_s && !rules.raises_brief {
                return Err(423);
            }
            if let Some(at) = position(&account.bound, contact, |at| spoken_of[at].is_none()) {
                if !in_order(&account.bound[at]) {
                    return Err(500);
                }
                spoken_of[at] = Some(number);
                found[number] = true;
            }
        }
        let stays = |number: usize| asked_s(&contacts[number], ask, rules) > 0;
        let live = (0..contacts.len()).filter(|&number| stays(number)).count();
        let adds: Vec<usize> = (0..contacts.len()).filter(|&n| stays(n) && !found[n]).collect();
        let mut kicked = BTreeSet::new();
        if !adds.is_empty() {
            if live > rules.bindings_max {
                return Err(503);
            }
            let others = spoken_of.iter().filter(|by| by.is_none()).count();
            let mut over = (others + live).saturating_sub(rules.bindings_max);
            for &number in &adds {
                let is_own =
                    |at: &usize| is_own_device(&account.bound[*at], &contacts[number], ask);
                let own = (0..spoken_of.len()).filter(|&at| spoken_of[at].is_none()).find(is_own);
                if let Some(at) = own.filter(|_| over > 0) {
                    if !in_order(&account.bound[at]) {
                        return Err(500);
                    }
                    spoken_of[at] = Some(number);
                    found[number] = true;
                    over -= 1;
                }
            }
            if over > 0 && !rules.replace {
                return Err(503);
            }
            let oldest = (0..spoken_of.len()).filter(|&at| spoken_of[at].is_none());
            kicked.extend(oldest.take(over));
        }
        let mut after = Vec::new();
        for (at, bound) in account.bound.iter().enumerate() {
            match spoken_of[at] {
                None if kicked.contains(&at) => {}
                None => after.push(bound.clone()),
                Some(number) if stays(number) => after.push(bind(&contacts[number], ask, source)),
                Some(_) => {}
            }
        }
        let new = (0..contacts.len()).filter(|&number| stays(number) && !found[number]);
        after.extend(new.map(|number| bind(&contacts[number], ask, source)));
        Ok(after)
    }

    /// The bounds of what may be granted to a contact.
    pub fn grant_bounds(&self, contact: &AskedContact, ask: &Ask) -> (u32, u32) {
        let rules = &self.rules;
        let most = asked_s(contact, ask, rules).clamp(rules.expires_min_s, rules.expires_max_s);
        let least = most - most * rules.spread_percent / 100;
        (least.max(rules.expires_min_s), most)
    }
}

fn asked_s(contact: &AskedContact, ask: &Ask, rules: &Rules) -> u32 {
    contact.expires.or(ask.expires).unwrap_or(rules.expires_max_s)
}

fn bind(contact: &AskedContact, ask: &Ask, source: std::net::SocketAddr) -> Bound {
    Bound {
        contact: contact.uri.clone(),
        instance: contact.instance.clone(),
        reg_id: contact.reg_id,
        call_id: ask.call_id.clone(),
        cseq: ask.cseq,
        user_agent: ask.user_agent.clone(),
        source,
        by: ask.key.clone(),
        granted_s: 0,
        until: Instant::ZERO,
    }
}

/// RFC 5626 6 where both name a flow, else the URI.
fn position(
    bound: &[Bound],
    contact: &AskedContact,
    free: impl Fn(usize) -> bool,
) -> Option<usize> {
    let flow = |bound: &Bound| bound.instance.clone().zip(bound.reg_id);
    let wanted = contact.instance.clone().zip(contact.reg_id);
    let mut candidates = (0..bound.len()).filter(|&at| free(at));
    if let Some(wanted) = &wanted {
        let by_flow = candidates.clone().find(|&at| flow(&bound[at]).as_ref() == Some(wanted));
        if by_flow.is_some() {
            return by_flow;
        }
    }
    candidates.find(|&at| {
        let both_name_flows = wanted.is_some() && flow(&bound[at]).is_some();
        !both_name_flows && bound[at].contact == contact.uri
    })
}

fn is_own_device(bound: &Bound, contact: &AskedContact, ask: &Ask) -> bool {
    bound.contact == contact.uri
        || match (&bound.instance, &contact.instance) {
            (Some(old), Some(new)) => old == new && bound.reg_id == contact.reg_id,
            _ => {
                bound.call_id == ask.call_id
                    && bound.cseq < ask.cseq
                    && bound.user_agent == ask.user_agent
            }
        }
}

/// Whether a request was accepted before and nothing of what it did has changed since.
fn is_repeat(account: &Account, ask: &Ask) -> bool {
    match &ask.contacts {
        Asked::Fetch => false,
        _ if account.last == ask.key => true,
        Asked::Wildcard => false,
        Asked::List(contacts) => {
            let mut kept = 0;
            let as_left = contacts.iter().all(|contact| {
                let goes = contact.expires.or(ask.expires) == Some(0);
                match position(&account.bound, contact, |_| true) {
                    Some(at) if !goes && account.bound[at].by == ask.key => {
                        kept += 1;
                        true
                    }
                    None => goes,
                    Some(_) => false,
                }
            });
            as_left && kept > 0
        }
    }
}
