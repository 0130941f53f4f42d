//! What happens to the registrations of one shard, kept for a while in fixed memory until somebody
//! collects it: which events are rows, and which of many refreshes. Where nobody collects, the old
//! is kept, the new is counted and gone. Nothing is recorded until somebody asks for it, and then
//! events are looked at once more: none of it changes what is answered.
//!
//! [`page`] says how rows stand in memory, `refusals` what becomes of many refusals.

pub mod page;
mod refusals;

use std::collections::VecDeque;
use std::net::SocketAddr;

pub use self::page::{HistoryKind, HistoryPage, HistoryRow};
use self::refusals::Refusals;
pub(super) use self::refusals::Refused;
use crate::auth::accounts::AccountId;
use crate::limits::HISTORY_PAGE_BYTES;
use crate::registrar::{AorId, Binding, Event, LeaveReason};
use crate::shard::core::Core;
use crate::shard::request::Arrival;
use crate::shard::suspend::{Change, SuspensionEvent};
use crate::sip::{HeaderName, Message, Method};
use crate::time::Now;

/// How much is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Memory of this shard for what nobody has collected yet, bytes; whole pages of
    /// [`HISTORY_PAGE_BYTES`], two at least.
    pub bytes_max: usize,
    /// Of the refreshes of one binding that change nothing, one in this time is recorded, seconds;
    /// `None` records none of them.
    pub refresh_every_s: Option<u32>,
}

/// What is given to whoever collects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryTaken {
    /// The oldest rows.
    pub page: HistoryPage,
    /// There are more.
    pub more: bool,
}

/// What has been recorded since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    /// Rows written.
    pub rows: u64,
    /// Rows for which there was no room.
    pub shed: u64,
    /// Refusals that are in no row.
    pub refusals_unlisted: u64,
}

/// What one shard records.
pub(super) struct Recorder {
    refresh_every_s: Option<u32>,
    rows: Rows,
    refusals: Refusals,
}

/// Rows that nobody has collected yet.
struct Rows {
    /// Full pages, the oldest first.
    filled: VecDeque<HistoryPage>,
    current: HistoryPage,
    spare: Vec<HistoryPage>,
    written: u64,
    shed: u64,
}

impl Rows {
    fn new(bytes_max: usize) -> Rows {
        let pages = (bytes_max / HISTORY_PAGE_BYTES).max(2);
        Rows {
            filled: VecDeque::with_capacity(pages),
            current: HistoryPage::with_room(),
            spare: std::iter::repeat_with(HistoryPage::with_room).take(pages - 1).collect(),
            written: 0,
            shed: 0,
        }
    }

    #[inline]
    fn write(&mut self, row: &HistoryRow<'_>) {
        if !self.current.has_room() {
            let Some(next) = self.spare.pop() else {
                self.shed += 1;
                return;
            };
            self.filled.push_back(std::mem::replace(&mut self.current, next));
        }
        self.current.write(row);
        self.written += 1;
    }

    /// Gives the oldest page. `spare` takes its place: the memory goes back and forth.
    fn take(&mut self, spare: Option<HistoryPage>) -> HistoryTaken {
        let spare = spare.filter(HistoryPage::is_whole);
        let mut spare = spare.unwrap_or_else(HistoryPage::with_room);
        spare.clear();
        let page = match self.filled.pop_front() {
            Some(page) => {
                self.spare.push(spare);
                page
            }
            None => std::mem::replace(&mut self.current, spare),
        };
        HistoryTaken { page, more: !self.filled.is_empty() || !self.current.is_empty() }
    }
}

impl Recorder {
    fn new(recording: Recording) -> Recorder {
        let Recording { bytes_max, refresh_every_s } = recording;
        Recorder { refresh_every_s, rows: Rows::new(bytes_max), refusals: Refusals::new() }
    }

    /// Whether a refresh that came so long after the last one is the one of its interval. Intervals
    /// count from the beginning of the binding, so that it needs to remember nothing.
    fn is_picked(&self, binding: &Binding, last_s: u64) -> bool {
        let Some(every_s) = self.refresh_every_s else { return false };
        // A process does not live for 136 years.
        let seconds = |seconds: u64| seconds as u32;
        let now_s = seconds(binding.refreshed_at().as_secs());
        let age_s = now_s.saturating_sub(seconds(binding.registered_at().as_secs()));
        age_s % every_s.max(1) < now_s.saturating_sub(seconds(last_s))
    }

    /// A row about a binding, as it is or was.
    fn of_binding<'a>(
        now: Now,
        kind: HistoryKind,
        aor: &'a [u8],
        binding: &'a Binding,
    ) -> HistoryRow<'a> {
        HistoryRow {
            aor,
            contact: binding.contact(),
            transport: Some(binding.flow().transport()),
            user_agent: binding.user_agent(),
            granted_s: binding.granted_s(),
            ..HistoryRow::new(now, kind, binding.source())
        }
    }
}

/// What a departure is called, and the word that says more.
fn departure(reason: LeaveReason) -> HistoryKind {
    match reason {
        LeaveReason::Unregistered => HistoryKind::Unregistered,
        LeaveReason::Expired => HistoryKind::Expired,
        LeaveReason::Kicked => HistoryKind::Replaced,
        LeaveReason::ForcedUnregister => HistoryKind::Kicked,
        LeaveReason::AccountRemoved | LeaveReason::FlowClosed | LeaveReason::Unreachable => {
            HistoryKind::Removed
        }
    }
}

fn is_removal(event: &Event) -> bool {
    matches!(event, Event::Left { reason: LeaveReason::AccountRemoved, .. })
}

impl Core {
    /// Records from now on, or not any more; what nobody has collected is gone then.
    pub(super) fn record_history(&mut self, recording: Option<Recording>) {
        self.history = recording.map(|recording| Box::new(Recorder::new(recording)));
    }

    /// Gives the oldest rows.
    pub(super) fn take_history(&mut self, now: Now, spare: Option<HistoryPage>) -> HistoryTaken {
        let Some(history) = &mut self.history else { return HistoryTaken::default() };
        let Recorder { rows, refusals, .. } = &mut **history;
        refusals.sweep(now, &mut |row| rows.write(row));
        rows.take(spare)
    }

    /// What has been recorded.
    pub(super) fn history_counts(&self) -> HistoryCounts {
        self.history.as_ref().map_or_else(HistoryCounts::default, |history| HistoryCounts {
            rows: history.rows.written,
            shed: history.rows.shed,
            refusals_unlisted: history.refusals.unlisted(),
        })
    }

    /// Records the events of the call at hand from the one numbered `from` on. Their bindings and
    /// accounts are still there, as far as the events leave them; but for those of accounts that
    /// are being `removed`, which are told before, and by themselves.
    pub(super) fn write_history(&mut self, now: Now, from: usize, removed: bool) {
        let Core { history, events, registrar, accounts, .. } = self;
        let Some(history) = history else { return };
        for event in &events[from..] {
            if removed != is_removal(event) {
                continue;
            }
            let AorId(account) = event.aor();
            let aor = || accounts.aor(AccountId(account));
            match event {
                Event::Refreshed { binding, last, address_changed, old_flow, .. } => {
                    let Some(binding) = registrar.location().binding(*binding) else { continue };
                    let other_transport =
                        old_flow.is_some_and(|old| old.transport() != binding.flow().transport());
                    let kind = if *address_changed || other_transport {
                        HistoryKind::Moved
                    } else if history.is_picked(binding, last.as_secs()) {
                        HistoryKind::Refreshed
                    } else {
                        continue;
                    };
                    history.rows.write(&Recorder::of_binding(now, kind, aor(), binding));
                }
                Event::Registered { binding, .. } => {
                    let found = registrar.location().binding(*binding);
                    let Some(binding) = found.filter(|binding| !binding.is_static()) else {
                        continue;
                    };
                    let row = Recorder::of_binding(now, HistoryKind::Registered, aor(), binding);
                    history.rows.write(&row);
                }
                Event::Retargeted { binding, .. } => {
                    let Some(binding) = registrar.location().binding(*binding) else { continue };
                    let row = Recorder::of_binding(now, HistoryKind::Moved, aor(), binding);
                    history.rows.write(&HistoryRow { reason: "retargeted", ..row });
                }
                Event::Left { old, reason, .. } if !old.is_static() => {
                    let row = Recorder::of_binding(now, departure(*reason), aor(), old);
                    history.rows.write(&HistoryRow { reason: reason.word(), ..row });
                }
                Event::Flapping { kicks, .. } => {
                    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
                    let row = HistoryRow::new(now, HistoryKind::Flapping, nobody);
                    history.rows.write(&HistoryRow { aor: aor(), count: u32::from(*kicks), ..row });
                }
                Event::Left { .. } => {}
            }
        }
    }

    /// Records what happened to suspensions in the call at hand. There may be as many of them as
    /// there are attackers, so they share the limit of refusals.
    #[cold]
    pub(super) fn write_suspensions(&mut self, now: Now) {
        let Core { history, suspension_events, .. } = self;
        let Some(history) = history else { return };
        for SuspensionEvent { aor, source, cause, change, .. } in suspension_events.iter() {
            let (kind, reason) = match change {
                Change::Begun { .. } => (HistoryKind::Suspended, cause.name()),
                Change::Ended(end) => (HistoryKind::Unsuspended, end.name()),
            };
            if history.refusals.spend(now) {
                let row = HistoryRow::new(now, kind, SocketAddr::new(*source, 0));
                let aor = aor.as_ref().map_or(&b""[..], |aor| aor);
                history.rows.write(&HistoryRow { aor, reason, ..row });
            } else {
                history.rows.shed += 1;
            }
        }
    }

    /// Records that a registration was refused.
    #[cold]
    pub(super) fn note_refused(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        aor: &[u8],
        reason: &'static str,
    ) {
        let Some(history) = &mut self.history else { return };
        if message.method() != Some(Method::Register) {
            return;
        }
        let refused = Refused {
            source: arrival.datagram.source,
            transport: arrival.datagram.transport(),
            aor,
            user_agent: message.first(HeaderName::UserAgent).unwrap_or_default(),
            reason,
        };
        let Recorder { rows, refusals, .. } = &mut **history;
        refusals.take(arrival.now, &refused, &mut |row| rows.write(row));
    }
}
