//! Security events of one shard as operators see them, page by page. What is listed is the guard's
//! to say.

use crate::guard::SecurityRecord;
use crate::guard::events::{Before, Wanted};
use crate::limits::SECURITY_RECORDS_PER_CALL_MAX;
use crate::shard::core::Core;

/// Which records are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsAsked {
    /// Of which events.
    pub wanted: Wanted,
    /// Where the page begins; without it, with the latest.
    pub before: Option<Before>,
    /// Nothing that has not changed since this change.
    pub after: u64,
    /// Records at most, of no more than [`SECURITY_RECORDS_PER_CALL_MAX`].
    pub items_max: usize,
}

/// Every record.
impl Default for EventsAsked {
    fn default() -> Self {
        EventsAsked {
            wanted: Wanted::default(),
            before: None,
            after: 0,
            items_max: SECURITY_RECORDS_PER_CALL_MAX,
        }
    }
}

/// Some records, the one that changed last first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsPage {
    /// The records.
    pub items: Vec<SecurityRecord>,
    /// More follow.
    pub more: bool,
}

impl Core {
    /// One page of the security events of this shard.
    pub(super) fn list_events(&self, asked: &EventsAsked) -> EventsPage {
        let items_max = asked.items_max.clamp(1, SECURITY_RECORDS_PER_CALL_MAX);
        let records = self.guard.journal().newest(&asked.wanted, asked.before);
        let mut records = records.take_while(|record| record.change > asked.after);
        let items = records.by_ref().take(items_max).cloned().collect();
        EventsPage { items, more: records.next().is_some() }
    }
}
