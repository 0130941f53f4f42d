//! Reading everything again while serving: settings, subscribers, certificates. All of it is read
//! and checked before any of it holds; a fault changes nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Failure;
use super::accounts::{self, Loaded};
use super::say::note;
use super::server::{self, Server};
use crate::config::Settings;
use crate::limits::ACCOUNTS_PER_CONTROL_MAX;
use crate::nat::OwnAddresses;
use crate::reactor::{ControlError, Controller, Interfaces};
use crate::shard::Shard;
use crate::shard::control::{AccountsChanged, Configuration, Control, NewAccount, Reply};
use crate::store::Subscriber;

/// Longest wait for a reactor to carry out one order. It takes a fraction of a millisecond; only a
/// reactor that is stuck reaches this.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Makes what was prepared hold. It cannot fail any more.
pub type Apply = Box<dyn FnOnce()>;

/// Reads and checks what new settings need, beside the accounts, without letting it hold yet.
pub type Prepare = Box<dyn Fn(&Settings) -> Result<Apply, Failure>>;

/// What a reload has done, as one line.
#[derive(Debug, Default)]
pub struct Changes {
    /// Keys with another value than before.
    settings: Vec<String>,
    /// Keys with another value than at the start, which only a new start makes hold.
    at_start: Vec<String>,
    accounts: AccountsChanged,
    total: usize,
    cut_short: Option<ControlError>,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccountsChanged { added, changed, removed, refused, .. } = self.accounts;
        write!(f, "{} settings changed", self.settings.len())?;
        if !self.settings.is_empty() {
            write!(f, " ({})", self.settings.join(", "))?;
        }
        write!(
            f,
            "; accounts: {added} added, {changed} changed, {removed} removed, {} in all",
            self.total
        )?;
        if refused > 0 {
            write!(f, ", {refused} refused for want of room")?;
        }
        if let Some(error) = self.cut_short {
            write!(f, "; cut short: {error}")?;
        }
        if !self.at_start.is_empty() {
            write!(f, "; holds from the next start only: {}", self.at_start.join(", "))?;
        }
        Ok(())
    }
}

/// The accounts and domains of settings that a server could serve.
///
/// # Errors
/// One line with what is wrong.
pub fn check(settings: &Settings) -> Result<Loaded, Failure> {
    let loaded = accounts::load(settings)?;
    if loaded.domains.is_empty() {
        return Err(Failure::new(
            "no account and no domain: nobody could register (name a file with \
             --subscribers, or try --test-accounts 100)",
        ));
    }
    Ok(loaded)
}

impl Server {
    /// Lets something of its own be read again at each reload. All of them are prepared before
    /// any of them is applied.
    pub fn on_reload(&mut self, prepare: Prepare) {
        self.on_reload.push(prepare);
    }

    /// Obeys other settings from now on, and takes the accounts they name in place of those it
    /// has. What was granted stays granted. It serves all the while.
    ///
    /// # Errors
    /// One line with what is wrong; nothing has changed then.
    pub fn reload(&mut self, settings: Settings) -> Result<Changes, Failure> {
        let loaded = check(&settings)?;
        let short_passwords = loaded.short_passwords(&settings);
        let Loaded { accounts, domains } = loaded;
        let applies = self.on_reload.iter().map(|prepare| prepare(&settings));
        let applies: Vec<Apply> = applies.collect::<Result<_, _>>()?;
        // From here on nothing is refused.
        if let Some(line) = short_passwords {
            note(line);
        }
        applies.into_iter().for_each(|apply| apply());
        let (at_start, changed) = self.differences(&settings);
        let mut changes = Changes {
            settings: changed,
            at_start,
            total: accounts.len(),
            accounts: AccountsChanged::default(),
            cut_short: None,
        };
        self.accounts = accounts.len();
        self.domains = domains.iter().map(|domain| domain.name.clone()).collect();
        let configuration = Arc::new(Configuration {
            registrar: settings.registrar.clone(),
            auth: settings.auth.clone(),
            guard: settings.guard.clone(),
            nat: settings.nat.clone(),
            liveness: settings.liveness.clone(),
            networks: settings.networks().cloned().collect(),
            domains,
        });
        self.settings = settings;
        let asks_owners = server::asks_owners(&accounts);
        let owned = self.by_owner(accounts);
        changes.cut_short =
            self.tell(&configuration, &asks_owners, owned, &mut changes.accounts).err();
        Ok(changes)
    }

    fn tell(
        &self,
        configuration: &Arc<Configuration>,
        asks_owners: &Arc<[IpNet]>,
        owned: Vec<Vec<NewAccount>>,
        sum: &mut AccountsChanged,
    ) -> Result<(), ControlError> {
        for shard in self.running.controllers() {
            order(shard, Control::Configure(Arc::clone(configuration)))?;
            order(shard, Control::AskOwners(Arc::clone(asks_owners)))?;
        }
        self.tell_own_addresses()?;
        for (shard, accounts) in self.running.controllers().iter().zip(owned) {
            replace_accounts(shard, accounts, sum)?;
        }
        Ok(())
    }

    /// Tells every shard where this process listens, by the addresses its host has now.
    pub(super) fn tell_own_addresses(&self) -> Result<(), ControlError> {
        let interfaces = Interfaces::now().unwrap_or_else(|error| {
            note(format_args!(
                "the kernel does not list the addresses of this host ({error}): a phone that \
                 registers at one of them may not be noticed"
            ));
            Interfaces::default()
        });
        let own = OwnAddresses::new(self.listening(), interfaces.addresses, interfaces.broadcasts);
        let own = Arc::new(own);
        for shard in self.running.controllers() {
            order(shard, Control::OwnAddresses(Arc::clone(&own)))?;
        }
        Ok(())
    }

    /// The keys that differ from those of the start and hold from then on, and those that differ
    /// from what is obeyed.
    fn differences(&self, settings: &Settings) -> (Vec<String>, Vec<String>) {
        let at_start =
            |key: &String| settings.describe().any(|row| row.key == *key && row.at_start);
        let since_start = settings.changed_since(&self.started).into_iter().filter(at_start);
        let changed = settings.changed_since(&self.settings).into_iter();
        (since_start.collect(), changed.filter(|key| !at_start(key)).collect())
    }

    fn by_owner(&self, accounts: Vec<Subscriber>) -> Vec<Vec<NewAccount>> {
        let shards = usize::from(self.ownership.shards());
        let mut owned: Vec<Vec<NewAccount>> = (0..shards).map(|_| Vec::new()).collect();
        for Subscriber { user_at_domain: aor, ha1s, policy, .. } in accounts {
            let owner = self.ownership.owner(self.ownership.hash(aor.as_bytes()));
            owned[usize::from(owner.0)].push(NewAccount { aor, ha1s, policy });
        }
        owned
    }
}

/// Gives a shard its accounts in pieces, so that its traffic goes on in between.
fn replace_accounts(
    shard: &Controller<Shard>,
    mut accounts: Vec<NewAccount>,
    sum: &mut AccountsChanged,
) -> Result<(), ControlError> {
    add(sum, order(shard, Control::BeginAccounts)?);
    while !accounts.is_empty() {
        let rest = accounts.split_off(accounts.len().saturating_sub(ACCOUNTS_PER_CONTROL_MAX));
        add(sum, order(shard, Control::PutAccounts(rest))?);
    }
    while add(sum, order(shard, Control::EndAccounts)?) {}
    Ok(())
}

/// Adds what one order did. Returns whether it is to be given again.
fn add(sum: &mut AccountsChanged, reply: Reply) -> bool {
    let Reply::Accounts(one) = reply else { return false };
    sum.added += one.added;
    sum.changed += one.changed;
    sum.removed += one.removed;
    sum.refused += one.refused;
    one.more
}

fn order(shard: &Controller<Shard>, control: Control) -> Result<Reply, ControlError> {
    shard.give(control)?.wait(ANSWER_MAX)
}
