//! What can be seen of a shard from outside, without changing anything: its tables, its counters,
//! and what happened in the last call.

use hdrhistogram::Histogram;

use crate::auth::accounts::{AccountId, Accounts, AorKey};
use crate::auth::suspension::Suspensions;
use crate::nat::liveness::{self, RoundTrip};
use crate::reg_event::SubscriptionTable;
use crate::registrar::{BindingId, Event, Registrar};
use crate::shard::core::Shard;
use crate::shard::counters::Counters;
use crate::shard::suspend::SuspensionEvent;

impl Shard {
    /// The round trip to a binding, once one was measured.
    #[must_use]
    pub fn round_trip(&self, id: BindingId) -> Option<RoundTrip> {
        self.core().probing.round_trip(id)
    }

    /// What probes have shown of a binding; `None`: it was never probed.
    #[must_use]
    pub fn liveness(&self, id: BindingId) -> Option<liveness::State> {
        self.core().probing.state(id)
    }

    /// Round trips of all probes since the start, microseconds.
    #[must_use]
    pub fn round_trips_us(&self) -> &Histogram<u64> {
        self.core().counters.round_trips.us()
    }

    /// Who watches registrations.
    #[must_use]
    pub fn subscriptions(&self) -> &SubscriptionTable {
        &self.core().subscriptions
    }

    /// What happened to bindings in the last call, the whole batch of it, in order. Gone with the
    /// next one.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.core().events
    }

    /// Suspensions that began or ended in the last call, in order. Gone with the next one.
    #[must_use]
    pub fn suspension_events(&self) -> &[SuspensionEvent] {
        &self.core().suspension_events
    }

    /// Whether those who are not known are answered (SS_REPLY_UNAUTHORIZED).
    #[must_use]
    pub fn answers_strangers(&self) -> bool {
        self.core().auth.reply_unauthorized
    }

    /// Who is suspended.
    #[must_use]
    pub fn suspensions(&self) -> &Suspensions {
        &self.core().suspensions
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core().counters
    }

    /// The bindings.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.core().registrar
    }

    /// The accounts.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.core().accounts
    }

    /// The account of a canonical AOR, if it is here.
    #[must_use]
    pub fn find_account(&self, aor: &[u8]) -> Option<AccountId> {
        self.core().accounts.find(AorKey(self.core().ownership.hash(aor)), aor)
    }
}
