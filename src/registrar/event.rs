//! What the registrar tells whoever cares: calls of a binding, its connection, the journal,
//! metrics. Events leave as values, in the order things happened; where one request makes bindings
//! leave and come, the departures are first.

use crate::flow::Flow;
use crate::registrar::binding::{Binding, BindingId};
use crate::registrar::location::AorId;
use crate::time::Instant;

/// Something happened to a binding.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new binding, reachable from now on.
    Registered {
        /// Whose.
        aor: AorId,
        /// The binding.
        binding: BindingId,
    },
    /// The same contact again; its calls and its connection go on.
    Refreshed {
        /// Whose.
        aor: AorId,
        /// The binding.
        binding: BindingId,
        /// The request came from another address or by another flow than the last one: the way to
        /// the phone has changed though its contact has not.
        moved: bool,
        /// It came from another address than the last one, not only from another port of it.
        address_changed: bool,
        /// The flow it had until now, if that was another.
        old_flow: Option<Flow>,
        /// When it was refreshed before.
        last: Instant,
        /// What keeps its pinhole open is another than before.
        keepalive_changed: bool,
        /// It came within a tenth of the time that was granted last, and nobody had to.
        early: bool,
    },
    /// The same device under another contact. The binding keeps its name, its age and its calls.
    Retargeted {
        /// Whose.
        aor: AorId,
        /// The binding, now with the new contact.
        binding: BindingId,
        /// What it was.
        old: Binding,
    },
    /// A binding has gone, by whatever way; this is the only one out.
    Left {
        /// Whose.
        aor: AorId,
        /// What it was called; the name is never used again.
        binding: BindingId,
        /// What it was.
        old: Binding,
        /// Why.
        reason: LeaveReason,
    },
    /// Two devices of one AOR keep taking each other's place. Told once in each window, behind the
    /// `Registered` of the last one that came.
    Flapping {
        /// Whose.
        aor: AorId,
        /// How often they have kicked each other within the window.
        kicks: u8,
    },
}

impl Event {
    /// Whose bindings it is about.
    #[must_use]
    pub fn aor(&self) -> AorId {
        match *self {
            Event::Registered { aor, .. }
            | Event::Refreshed { aor, .. }
            | Event::Retargeted { aor, .. }
            | Event::Left { aor, .. }
            | Event::Flapping { aor, .. } => aor,
        }
    }
}

/// Whether a binding was registered again long before it had to be: within a tenth of what was
/// granted to it at `last`. Phones refresh after half of it or later (RFC 3261 10.2.4), those that
/// keep a NAT open by it after a quarter.
#[inline]
#[must_use]
pub fn is_early(binding: &Binding, last: Instant, granted_s: u32) -> bool {
    let since = binding.refreshed_at().saturating_since(last).as_secs();
    since * 10 < u64::from(granted_s)
}

/// Why a binding left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaveReason {
    /// Its own side asked: Expires 0, or `*`.
    Unregistered,
    /// Nobody refreshed it in time.
    Expired,
    /// Another device took its place (SS_ENDPOINT_REGISTER_REPLACE). The `Registered` of the one
    /// that did follows in the same batch of events.
    Kicked,
    /// An operator took it out, by an order or out of the configuration.
    ForcedUnregister,
    /// Its account was removed.
    AccountRemoved,
    /// The connection it lived on has closed.
    FlowClosed,
    /// It has not answered, and the settings let nobody stay who does not.
    Unreachable,
}

impl LeaveReason {
    /// Every reason, for tables of counters.
    pub const ALL: [LeaveReason; 7] = [
        LeaveReason::Unregistered,
        LeaveReason::Expired,
        LeaveReason::Kicked,
        LeaveReason::ForcedUnregister,
        LeaveReason::AccountRemoved,
        LeaveReason::FlowClosed,
        LeaveReason::Unreachable,
    ];

    /// Whether somebody threw the phone out against its will, and not because of its account: its
    /// connection is of no use to it any more.
    #[must_use]
    pub const fn is_kick(self) -> bool {
        matches!(self, LeaveReason::Kicked | LeaveReason::ForcedUnregister)
    }

    /// The word metrics and logs use.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            LeaveReason::Unregistered => "unregistered",
            LeaveReason::Expired => "expired",
            LeaveReason::Kicked => "kicked",
            LeaveReason::ForcedUnregister => "forced_unregister",
            LeaveReason::AccountRemoved => "account_removed",
            LeaveReason::FlowClosed => "flow_closed",
            LeaveReason::Unreachable => "unreachable",
        }
    }
}
