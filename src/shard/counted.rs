//! What is counted, and recorded, of the events of a call.

use crate::registrar::{Event, LeaveReason};
use crate::shard::core::Core;

impl Core {
    /// Counts the events of the call at hand, the first `counted` of which have been counted, and
    /// notes the flows they leave.
    pub fn count_events(&mut self, counted: usize) {
        if self.history.is_some() && self.events.len() > counted {
            self.write_history(self.now, counted, false);
        }
        let Core { counters, events, flows, .. } = self;
        for event in &events[counted..] {
            match event {
                Event::Refreshed { old_flow: Some(flow), .. } => flows.touch_flow(flow, false),
                Event::Retargeted { old, .. } => flows.touch_flow(&old.flow(), false),
                Event::Left { old, reason, .. } => {
                    flows.touch_flow(&old.flow(), reason.is_kick());
                }
                _ => {}
            }
            match event {
                Event::Registered { .. } => counters.registered += 1,
                Event::Refreshed { .. } => counters.refreshed += 1,
                Event::Retargeted { .. } => counters.retargeted += 1,
                Event::Flapping { .. } => counters.flapping += 1,
                Event::Left { reason, .. } => match reason {
                    LeaveReason::Unregistered => counters.unregistered += 1,
                    LeaveReason::Expired => counters.expired += 1,
                    LeaveReason::Kicked => counters.kicked += 1,
                    LeaveReason::ForcedUnregister
                    | LeaveReason::AccountRemoved
                    | LeaveReason::FlowClosed => counters.removed += 1,
                    LeaveReason::Unreachable => counters.removed_unreachable += 1,
                },
            }
        }
    }
}
