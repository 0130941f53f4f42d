//! Taking out many bindings on an operator's word, a bounded number an order: those that were shown
//! to him, as far as they still are what he asked for; and suspending accounts.

use std::sync::Arc;

use crate::auth::accounts::{AccountId, AorKey};
use crate::auth::barred::Full;
use crate::limits::KICKS_PER_CONTROL_MAX;
use crate::registrar::{AorId, BindingId, LeaveReason, Which};
use crate::shard::core::Core;
use crate::shard::filter::Filter;
use crate::shard::registrations::{Registration, Unfound};
use crate::time::Now;

/// What is to be done to bindings of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kick {
    /// Which: at most [`KICKS_PER_CONTROL_MAX`], what is more is left alone.
    pub bindings: Vec<BindingId>,
    /// What they have to be still.
    pub filter: Arc<Filter>,
    /// Their accounts are suspended as well.
    pub suspend: Option<Suspend>,
}

/// An operator's suspension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspend {
    /// For so many seconds; `None`: until it is lifted.
    pub for_s: Option<u32>,
    /// Why.
    pub reason: Arc<str>,
}

/// What became of an account that was to be suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspending {
    /// Its canonical address-of-record.
    pub aor: Box<[u8]>,
    /// It is; if not, there was no room.
    pub is_done: bool,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kicked {
    /// Bindings that left.
    pub left: usize,
    /// Bindings that had gone before.
    pub gone: usize,
    /// Bindings that are no more what was asked for, or that their account provides.
    pub spared: usize,
    /// Accounts that are suspended now.
    pub suspended: usize,
    /// Accounts for whose suspension there was no room.
    pub unsuspended: usize,
}

impl Core {
    /// Takes bindings out that still match.
    pub(super) fn kick(&mut self, now: Now, kick: &Kick) -> Kicked {
        let mut kicked = Kicked::default();
        for &id in kick.bindings.iter().take(KICKS_PER_CONTROL_MAX) {
            let location = self.registrar.location();
            let binding = location.binding(id).filter(|binding| !binding.is_expired(now.mono));
            let Some(binding) = binding else {
                kicked.gone += 1;
                continue;
            };
            let account = AccountId(binding.aor().0);
            let aor = self.accounts.aor(account);
            if binding.is_static() || !kick.filter.matches(now, aor, binding) {
                kicked.spared += 1;
                continue;
            }
            if let Some(Suspend { for_s, reason }) = &kick.suspend {
                let key = AorKey(self.ownership.hash(aor));
                match self.barred.add(now.mono, key, *for_s, reason) {
                    Ok(()) => {
                        self.counters.suspensions += 1;
                        kicked.suspended += 1;
                    }
                    Err(Full) => kicked.unsuspended += 1,
                }
            }
            let (reason, which) = (LeaveReason::ForcedUnregister, Which::One(id));
            kicked.left +=
                self.registrar.unregister(AorId(account.0), which, reason, &mut self.events);
        }
        kicked
    }

    /// The bindings of those names that live.
    pub(super) fn registrations_named(&self, now: Now, ids: &[BindingId]) -> Vec<Registration> {
        let location = self.registrar.location();
        let living = ids.iter().take(KICKS_PER_CONTROL_MAX).filter_map(|&id| {
            let binding = location.binding(id).filter(|one| !one.is_expired(now.mono))?;
            Some(self.registration(id, binding))
        });
        living.collect()
    }

    /// Suspends an account, given as an operator writes it; there need not be one.
    pub(super) fn suspend(
        &mut self,
        now: Now,
        aor: &[u8],
        suspend: &Suspend,
    ) -> Result<Suspending, Unfound> {
        let aor = self.own_aor(aor)?;
        let key = AorKey(self.ownership.hash(&aor));
        let is_done = self.barred.add(now.mono, key, suspend.for_s, &suspend.reason).is_ok();
        self.counters.suspensions += u64::from(is_done);
        Ok(Suspending { aor, is_done })
    }
}
