//! What happens to bindings and passwords, told to the guard so that it notices patterns. What is a
//! pattern is [`crate::guard::patterns`]' to say.

use crate::auth::accounts::{AccountId, AorKey};
use crate::guard::alert::Party;
use crate::registrar::event::is_early;
use crate::registrar::{AorId, BindingId, Event};
use crate::shard::core::Core;
use crate::shard::request::Arrival;
use crate::sip::Message;
use crate::time::Instant;

/// What an event says of how its binding came.
enum Came {
    /// It is new.
    New,
    /// By another way than before, or too early.
    Again { moved: bool, early: bool },
    /// It was another contact until now.
    Retargeted { refreshed_at: Instant, granted_s: u32 },
}

impl Core {
    /// Tells the guard of a binding that is new, has moved, or was refreshed too early. The
    /// ordinary refresh is none of these.
    #[inline]
    pub(super) fn alert_on_event(&mut self, event: &Event) {
        match event {
            Event::Refreshed { moved: false, early: false, .. }
            | Event::Left { .. }
            | Event::Flapping { .. } => {}
            Event::Refreshed { aor, binding, moved, early, .. } => {
                let (moved, early) = (*moved, *early);
                self.alert_on_binding(*aor, *binding, &Came::Again { moved, early });
            }
            Event::Registered { aor, binding } => {
                self.alert_on_binding(*aor, *binding, &Came::New);
            }
            Event::Retargeted { aor, binding, old } => {
                let (refreshed_at, granted_s) = (old.refreshed_at(), old.granted_s());
                let came = Came::Retargeted { refreshed_at, granted_s };
                self.alert_on_binding(*aor, *binding, &came);
            }
        }
    }

    fn alert_on_binding(&mut self, aor: AorId, binding: BindingId, came: &Came) {
        let Core { registrar, accounts, guard, .. } = self;
        let location = registrar.location();
        // It may have gone in the same call; and what the configuration provides has no source.
        let Some(binding) = location.binding(binding).filter(|binding| !binding.is_static()) else {
            return;
        };
        let party = Party {
            source: binding.source().ip(),
            account: aor.0,
            aor: accounts.aor(AccountId(aor.0)),
            user_agent: binding.user_agent(),
        };
        let bindings = || location.count(aor);
        let (moved, early) = match *came {
            Came::New => {
                guard.note_bound(&party, binding.granted_s(), bindings);
                (true, false)
            }
            Came::Again { moved, early } => (moved, early),
            Came::Retargeted { refreshed_at, granted_s } => {
                (true, is_early(binding, refreshed_at, granted_s))
            }
        };
        if moved {
            guard.note_source(&party, false);
        }
        if early {
            guard.note_early(&party, bindings);
        }
    }

    /// Tells the guard of a wrong password for an account that exists.
    #[cold]
    pub(super) fn alert_on_failure(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        (key, aor): (AorKey, &[u8]),
    ) {
        let Some(AccountId(account)) = self.accounts.find(key, aor) else { return };
        let source = arrival.datagram.source.ip();
        let user_agent = message.user_agent().unwrap_or_default();
        self.guard.note_source(&Party { source, account, aor, user_agent }, true);
    }
}
