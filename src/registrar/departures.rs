//! How bindings leave: their time is over, their connection has closed, or somebody with the right
//! to it takes them out. Whatever the reason, there is one way out.

use crate::flow::ConnectionId;
use crate::limits::EXPIRIES_PER_TURN_MAX;
use crate::registrar::binding::{Binding, BindingId, seconds};
use crate::registrar::event::{Event, LeaveReason};
use crate::registrar::location::{AorId, Expiry};
use crate::registrar::register::Registrar;
use crate::time::{Instant, Now};

/// Entries of the wheel that may move in one turn for each binding that may leave: moving one is
/// that much cheaper than a departure.
const MOVES_PER_EXPIRY: usize = 4;

/// What one turn of [`Registrar::expire`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Bindings that left.
    pub left: usize,
    /// The budget ran out before the work did: call again soon.
    pub more: bool,
}

/// Which bindings of an AOR an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// This one, if it still lives.
    One(BindingId),
}

impl Registrar {
    /// Takes bindings out of an AOR on somebody else's word than its own; `reason` says whose.
    /// Static ones only go with their account: what is configured ends with the configuration
    /// ([`Registrar::provide`]). Returns how many left.
    pub fn unregister(
        &mut self,
        aor: AorId,
        which: Which,
        reason: LeaveReason,
        outputs: &mut Vec<Event>,
    ) -> usize {
        let before = self.location.bindings_count();
        let removed = reason == LeaveReason::AccountRemoved;
        let chosen = |id: BindingId| which == Which::All || which == Which::One(id);
        loop {
            let may_go =
                |(id, b): &(BindingId, &Binding)| chosen(*id) && (removed || !b.is_static());
            let next = self.location.bindings(aor).find(may_go).map(|(id, _)| id);
            let Some(id) = next else { break };
            self.leave(id, reason, outputs);
        }
        if removed {
            // The number may come to name another account.
            self.location.accept(aor, 0);
            self.flapping.forget(aor);
        }
        self.debug_check(aor);
        before - self.location.bindings_count()
    }

    /// Takes along the bindings that lived on a connection which has closed; bindings behind a
    /// Path stay, since another connection reaches their edge proxy as well. Returns how many left
    /// at once: beyond a bounded number the rest leave in the next turns of
    /// [`Registrar::expire`].
    pub fn close_flow(
        &mut self,
        _now: Now,
        connection: ConnectionId,
        outputs: &mut Vec<Event>,
    ) -> usize {
        let left = self.close(connection, EXPIRIES_PER_TURN_MAX, outputs);
        if self.location.on_connection(connection).is_some() {
            self.closing.push(connection);
        }
        left
    }

    /// Whether a binding lives on this connection and would leave with it.
    #[must_use]
    pub fn has_bindings_on(&self, connection: ConnectionId) -> bool {
        self.location.on_connection(connection).is_some()
    }

    fn close(
        &mut self,
        connection: ConnectionId,
        budget: usize,
        outputs: &mut Vec<Event>,
    ) -> usize {
        let mut left = 0;
        while left < budget
            && let Some(id) = self.location.on_connection(connection)
        {
            let aor = self.leave(id, LeaveReason::FlowClosed, outputs);
            left += 1;
            self.debug_check(aor);
        }
        left
    }

    /// Lets bindings go whose time is over or whose connection has closed, `budget` of them at
    /// most, with a bounded amount of other work.
    pub fn expire(&mut self, now: Now, budget: usize, outputs: &mut Vec<Event>) -> Expired {
        let second = seconds(now.mono);
        let mut left = 0;
        while left < budget
            && let Some(&connection) = self.closing.last()
        {
            left += self.close(connection, budget - left, outputs);
            if self.location.on_connection(connection).is_none() {
                self.closing.pop();
            }
        }
        let mut moves = budget.saturating_mul(MOVES_PER_EXPIRY);
        while left < budget && moves > 0 {
            match self.location.poll_expired(second) {
                Expiry::Idle => return Expired { left, more: false },
                Expiry::Kept => moves -= 1,
                Expiry::Expired(id) => {
                    let aor = self.leave(id, LeaveReason::Expired, outputs);
                    left += 1;
                    self.debug_check(aor);
                }
            }
        }
        Expired { left, more: self.next_deadline().is_some_and(|at| at <= now.mono) }
    }

    /// When [`Registrar::expire`] next has something to do; until then it may be left uncalled.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.closing.is_empty() { self.location.next_deadline() } else { Some(Instant::ZERO) }
    }

    /// The one way out.
    pub(super) fn leave(
        &mut self,
        id: BindingId,
        reason: LeaveReason,
        outputs: &mut Vec<Event>,
    ) -> AorId {
        let old = self.location.remove(id).expect("only what is there is asked to leave");
        let aor = old.aor();
        outputs.push(Event::Left { aor, binding: id, old, reason });
        aor
    }

    /// The wheel may be behind by a turn; a request must not meet what is over.
    pub(super) fn clear_expired(&mut self, aor: AorId, now: Instant, outputs: &mut Vec<Event>) {
        loop {
            let expired = self.location.bindings(aor).find(|(_, b)| b.is_expired(now));
            let Some(id) = expired.map(|(id, _)| id) else { return };
            self.leave(id, LeaveReason::Expired, outputs);
        }
    }
}
