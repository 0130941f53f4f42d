//! Everything one shard can be asked about itself at one moment: its counters, and how much of
//! everything it holds.

use crate::guard::SecurityKind;
use crate::reg_event;
use crate::shard::core::Core;
use crate::shard::counters::Counters;
use crate::shard::history::HistoryCounts;

/// The numbers of one shard at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What it has done since it started.
    pub counters: Counters,
    /// What it has done for those who watch registrations.
    pub watching: reg_event::Counters,
    /// Security events, by their kind.
    pub security: [u64; SecurityKind::ALL.len()],
    /// Records of them that made room for others.
    pub security_pushed_out: u64,
    /// What it has recorded for history.
    pub history: HistoryCounts,
    /// What it holds.
    pub levels: Levels,
}

macro_rules! levels {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// How much of everything a shard holds.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Levels {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Levels {
            /// Name, meaning and value of each.
            pub fn described(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)+].into_iter()
            }
        }
    };
}

levels! {
    /// Accounts.
    accounts,
    /// Bytes that the accounts take.
    accounts_bytes,
    /// Bindings, those included that accounts provide.
    bindings,
    /// Addresses-of-record that have at least one binding.
    aors_bound,
    /// Whether bindings are kept in the compact form: 1 or 0 for each shard.
    bindings_compact,
    /// User-Agent texts that a shard keeps once for all bindings that have them.
    agents_shared,
    /// Connections that have at least one binding.
    connections_bound,
    /// Subscriptions to registrations.
    subscriptions,
    /// Endpoints whose REGISTERs are ignored since they never answered.
    endpoints_ignored,
    /// UDP sources that have agreed to be heard from.
    sources_awaited,
    /// Bindings whose pinhole is kept open from here.
    keepalives,
    /// Shards whose keepalives go faster than their share of the ceiling, since that could not
    /// cover everybody within the period.
    keepalive_pace_raised,
    /// Suspensions that hold.
    suspensions,
    /// Bytes that suspensions take, and the failures that may lead to some.
    suspensions_bytes,
    /// Sources that are blocked or restrained; every shard has the same.
    sources_blocked,
    /// What the guard did not tell other shards because too much waited.
    guard_untold,
    /// How long what comes waits to be received, as admission follows it, microseconds.
    overload_waiting_us,
}

impl Core {
    pub(super) fn tally(&self) -> Tally {
        let count = |number: usize| number as u64;
        let location = self.registrar.location();
        let agents_not_shared = self.registrar.agents_not_shared();
        Tally {
            counters: Counters { agents_not_shared, ..self.counters.clone() },
            watching: *self.subscriptions.counters(),
            security: *self.guard.journal().counts(),
            security_pushed_out: self.guard.journal().pushed_out(),
            history: self.history_counts(),
            levels: Levels {
                accounts: count(self.accounts.len()),
                accounts_bytes: count(self.accounts.bytes_held()),
                bindings: count(location.bindings_count()),
                aors_bound: count(location.aors_bound_count()),
                bindings_compact: self.registrar.is_compact().into(),
                agents_shared: count(self.registrar.agents_shared()),
                connections_bound: count(location.connections_bound_count()),
                subscriptions: count(self.subscriptions.len()),
                endpoints_ignored: count(self.probing.ignored_count()),
                sources_awaited: count(self.probing.sources_awaited()),
                keepalives: count(self.keepalives.len()),
                keepalive_pace_raised: self.keepalives.is_raised().into(),
                suspensions: count(self.suspensions.len() + self.barred.len()),
                suspensions_bytes: count(self.suspensions.bytes_held()),
                sources_blocked: count(self.guard.blocks_count()),
                guard_untold: self.guard.untold(),
                overload_waiting_us: self.guard.admission().waiting().as_micros() as u64,
            },
        }
    }
}
