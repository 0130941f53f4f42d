//! What happened to the contacts of one watched address-of-record, for as long as a subscriber
//! has not heard of it. Changes are numbered; of each contact only the last one is kept, so
//! whoever comes late hears one thing of it, the latest (RFC 3680 4.7 and 4.10).

use std::collections::VecDeque;

use crate::limits::REG_CHANGES_MAX;
use crate::registrar::{Binding, BindingId, LeaveReason};

/// The `event` of a contact (RFC 3680 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContactEvent {
    /// Registered by its phone.
    Registered,
    /// Provided with its account, for a device that never registers.
    Created,
    /// The same contact, registered again.
    Refreshed,
    /// Nobody refreshed it in time.
    Expired,
    /// The registrar let go of it; its phone is invited to come straight back.
    Deactivated,
    /// Its phone took it back.
    Unregistered,
    /// Somebody took it away; its phone is asked not to come back by itself.
    Rejected,
}

impl ContactEvent {
    /// As it stands in a document.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ContactEvent::Registered => "registered",
            ContactEvent::Created => "created",
            ContactEvent::Refreshed => "refreshed",
            ContactEvent::Expired => "expired",
            ContactEvent::Deactivated => "deactivated",
            ContactEvent::Unregistered => "unregistered",
            ContactEvent::Rejected => "rejected",
        }
    }
}

impl From<LeaveReason> for ContactEvent {
    /// A kicked phone hears `rejected`: with `deactivated` it would come straight back and kick
    /// the other. One whose connection died, or who did not answer, hears that, over another flow
    /// of its own, since coming back is what it should do.
    fn from(reason: LeaveReason) -> ContactEvent {
        match reason {
            LeaveReason::Unregistered => ContactEvent::Unregistered,
            LeaveReason::Expired => ContactEvent::Expired,
            LeaveReason::FlowClosed | LeaveReason::Unreachable => ContactEvent::Deactivated,
            LeaveReason::Kicked | LeaveReason::ForcedUnregister | LeaveReason::AccountRemoved => {
                ContactEvent::Rejected
            }
        }
    }
}

/// The last thing that happened to a contact.
#[derive(Debug)]
pub(super) struct Change {
    /// Its number, from 1.
    pub number: u64,
    pub binding: BindingId,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It is there. It came with change `came`; 0: before anything here was noted.
    There { came: u64 },
    /// It has gone, after that many seconds.
    Gone { old: Box<Binding>, event: ContactEvent, age_s: u64 },
}

/// The changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Changes {
    list: VecDeque<Change>,
    last: u64,
    /// Up to this number, changes have been dropped that somebody may not have heard of.
    dropped: u64,
}

impl Changes {
    /// Number of the last change.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether everything behind `heard` is here.
    pub fn reach(&self, heard: u64) -> bool {
        heard >= self.dropped
    }

    /// What happened behind `heard`, oldest first.
    pub fn since(&self, heard: u64) -> impl DoubleEndedIterator<Item = &Change> {
        let from = self.list.partition_point(|change| change.number <= heard);
        self.list.range(from..)
    }

    /// The binding has come, or come under another contact.
    pub fn registered(&mut self, binding: BindingId) {
        self.take(binding);
        let came = self.last + 1;
        self.push(binding, What::There { came });
    }

    /// The binding was refreshed.
    pub fn refreshed(&mut self, binding: BindingId) {
        let came = self.take(binding);
        self.push(binding, What::There { came });
    }

    /// The binding has gone, or its contact has.
    pub fn gone(&mut self, binding: BindingId, old: &Binding, event: ContactEvent, age_s: u64) {
        self.take(binding);
        // It may have gone before, and have come back.
        self.list.retain(|change| match &change.what {
            What::Gone { old: before, .. } => {
                change.binding != binding || before.contact() != old.contact()
            }
            What::There { .. } => true,
        });
        self.push(binding, What::Gone { old: Box::new(old.clone()), event, age_s });
    }

    /// Everybody has heard of the changes up to `heard`.
    pub fn forget(&mut self, heard: u64) {
        while self.list.front().is_some_and(|change| change.number <= heard) {
            self.list.pop_front();
        }
    }

    /// Takes out the change that says the binding is there; gives the number it came with.
    fn take(&mut self, binding: BindingId) -> u64 {
        let there = |change: &Change| match change.what {
            What::There { came } if change.binding == binding => Some(came),
            _ => None,
        };
        let found = self.list.iter().enumerate().find_map(|(at, c)| Some((at, there(c)?)));
        let Some((at, came)) = found else { return 0 };
        self.list.remove(at);
        came
    }

    fn push(&mut self, binding: BindingId, what: What) {
        if self.list.len() == REG_CHANGES_MAX
            && let Some(oldest) = self.list.pop_front()
        {
            self.dropped = oldest.number;
        }
        self.last += 1;
        self.list.push_back(Change { number: self.last, binding, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> BindingId {
        BindingId { index, generation: 1 }
    }

    fn there(changes: &Changes, heard: u64) -> Vec<(u32, bool)> {
        let new = |change: &Change| match change.what {
            What::There { came } => came > heard,
            What::Gone { .. } => false,
        };
        changes.since(heard).map(|change| (change.binding.index, new(change))).collect()
    }

    #[test]
    fn of_each_contact_only_the_last_change_is_kept() {
        let mut changes = Changes::default();
        changes.registered(id(1));
        changes.registered(id(2));
        changes.refreshed(id(1));
        // Whoever has heard nothing hears that it has come; the others that it was refreshed.
        assert_eq!(there(&changes, 0), [(2, true), (1, true)]);
        assert_eq!(there(&changes, 1), [(2, true), (1, false)]);
        assert_eq!(there(&changes, 2), [(1, false)]);
        assert_eq!(there(&changes, 3), []);
        changes.gone(id(1), &Binding::default(), ContactEvent::Expired, 9);
        assert_eq!(there(&changes, 0), [(2, true), (1, false)]);
        assert!(matches!(changes.since(3).next().unwrap().what, What::Gone { age_s: 9, .. }));
    }

    #[test]
    fn what_everybody_heard_is_forgotten_and_what_overflows_is_known_to_be_missing() {
        let mut changes = Changes::default();
        for index in 0..REG_CHANGES_MAX as u32 {
            changes.registered(id(index));
        }
        assert!(changes.reach(0));
        changes.registered(id(1000));
        assert!(!changes.reach(0) && changes.reach(1));
        assert_eq!(changes.since(1).count(), REG_CHANGES_MAX);
        changes.forget(changes.last());
        assert_eq!(changes.since(0).count(), 0);
        assert!(changes.reach(changes.last()));
    }

    #[test]
    fn a_kick_is_rejected_and_never_deactivated_rfc_3680_5_1() {
        for reason in LeaveReason::ALL {
            let event = ContactEvent::from(reason);
            let is_lost = matches!(reason, LeaveReason::FlowClosed | LeaveReason::Unreachable);
            assert_eq!(event == ContactEvent::Deactivated, is_lost);
        }
        assert_eq!(ContactEvent::from(LeaveReason::Kicked), ContactEvent::Rejected);
    }
}
