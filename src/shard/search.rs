//! Going through a shard's bindings, or its accounts, for what a filter wants: some of the table an
//! order, as much as a fixed cost reaches, so that no datagram waits long behind one.
//!
//! Bindings are gone through in the order of their slots. Where a filter names accounts, accounts
//! are gone through instead: their names lie side by side, so those of a million are read in a few
//! milliseconds, and only the bindings of those that fit are looked at.

use std::hint::black_box;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::auth::accounts::AccountId;
use crate::limits::STATIC_CONTACTS_MAX;
use crate::limits::{BINDINGS_MAX, FIND_COST_MAX, FIND_NAMES_MAX, FIND_ROWS_MAX};
use crate::registrar::{AorId, Binding, BindingId, Wanted};
use crate::shard::core::Core;
use crate::shard::filter::{Filter, Ready};
use crate::shard::registrations::Registration;
use crate::time::Now;

/// What is wanted of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// What has to match.
    pub filter: Arc<Filter>,
    /// Where to go on from; 0 begins.
    pub from: u64,
    /// The most rows to give, of no more than [`FIND_ROWS_MAX`]. With 0 they are counted alone.
    pub rows_max: usize,
    /// Instead of rows, the names of bindings that phones have made: at most [`FIND_NAMES_MAX`].
    pub names: bool,
}

/// Everything.
impl Default for Find {
    fn default() -> Self {
        Find { filter: Arc::default(), from: 0, rows_max: FIND_ROWS_MAX, names: false }
    }
}

/// Some of what one shard has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of the table: at most as many as asked for, and none may be left of a page
    /// while more pages follow.
    pub registrations: Vec<Registration>,
    /// The same of accounts without a binding: their canonical addresses-of-record.
    pub absent: Vec<Box<[u8]>>,
    /// The names, where those were asked for.
    pub names: Vec<BindingId>,
    /// The place of each of these rows: where a page goes on that has no room for it.
    pub places: Vec<u64>,
    /// What matched in the part of the table that this page went through.
    pub matched: u64,
    /// Rows of the table this page went through, and of the whole table.
    pub seen: u64,
    /// See `seen`.
    pub table: u64,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<u64>,
    /// When that was so.
    pub now: Now,
}

/// What looking at things costs, in rows of a table that are read one after the other.
mod cost {
    /// The texts of a binding, which lie anywhere.
    pub const TEXTS: usize = 3;
    /// The bindings of an account.
    pub const BINDINGS: usize = 8;
    /// A row that is copied.
    pub const ROW: usize = 48;
}

/// Bindings of one account, at most.
const STORED_MAX: usize = BINDINGS_MAX + STATIC_CONTACTS_MAX;
/// Slots that are looked at together, so that what lies elsewhere of them is waited for once.
const TOGETHER: usize = 64;

impl Core {
    /// One page of this shard's bindings or accounts.
    pub(super) fn find_registrations(&self, now: Now, find: &Find) -> Page {
        let mut page = Page {
            registrations: Vec::new(),
            absent: Vec::new(),
            names: Vec::new(),
            places: Vec::new(),
            matched: 0,
            seen: 0,
            table: 0,
            next: None,
            now,
        };
        let filter = &*find.filter;
        let Some(ready) = filter.ready(now) else { return page };
        if filter.absent && filter.is_about_bindings() {
            return page;
        }
        let rows_max = if find.names { 0 } else { find.rows_max.min(FIND_ROWS_MAX) };
        let find = Find { rows_max, ..find.clone() };
        if filter.absent || filter.names_accounts() {
            self.find_by_account(now, &find, &ready, &mut page);
        } else {
            self.find_by_slot(now, &find, &ready, &mut page);
        }
        page
    }

    fn find_by_slot(&self, now: Now, find: &Find, ready: &Ready<'_>, page: &mut Page) {
        page.table = self.registrar.location().slots_count() as u64;
        let Ok(mut at) = u32::try_from(find.from) else { return };
        let reads_texts = find.filter.reads_texts();
        let mut cost = 0;
        loop {
            let (found, next) = self.registrar.find(now, Wanted::Any, at, TOGETHER);
            let mut found: ArrayVec<(BindingId, &Binding), TOGETHER> =
                found.filter(|(_, binding)| ready.outside(binding)).collect();
            cost += TOGETHER;
            if reads_texts {
                cost += cost::TEXTS * found.len();
                black_box(found.iter().fold(0, |sum, (_, binding)| sum ^ binding.touch_first()));
                found.retain(|(_, binding)| ready.texts(binding));
            }
            for (id, binding) in found {
                if find.rows_max > 0 {
                    if page.registrations.len() == find.rows_max {
                        page.seen += u64::from(id.index - at);
                        page.next = Some(id.index.into());
                        return;
                    }
                    cost += cost::ROW;
                    page.registrations.push(self.registration(id, binding));
                    page.places.push(id.index.into());
                }
                page.matched += 1;
                if find.names && !binding.is_static() {
                    page.names.push(id);
                }
            }
            page.seen += TOGETHER as u64;
            let is_full = page.names.len() + TOGETHER > FIND_NAMES_MAX;
            match next {
                None => return,
                Some(next) if cost >= FIND_COST_MAX || is_full => {
                    page.next = Some(next.into());
                    return;
                }
                Some(next) => at = next,
            }
        }
    }

    /// A place is an account, and in it the slot its bindings are given from on.
    fn find_by_account(&self, now: Now, find: &Find, ready: &Ready<'_>, page: &mut Page) {
        let filter = &*find.filter;
        let end = self.accounts.ids_end();
        page.table = end.into();
        let (first, mut slot) = ((find.from >> 32) as u32, find.from as u32);
        let mut cost = 0;
        for id in first..end {
            if cost >= FIND_COST_MAX || page.names.len() + STORED_MAX > FIND_NAMES_MAX {
                page.next = Some(u64::from(id) << 32);
                return;
            }
            cost += 1;
            let account = AccountId(id);
            if self.accounts.contains(account)
                && (!filter.names_accounts() || filter.matches_account(self.accounts.aor(account)))
            {
                cost += cost::BINDINGS;
                let full = match filter.absent {
                    true => self.find_absent(now, find, account, page, &mut cost),
                    false => self.find_of(now, find, ready, account, slot, page, &mut cost),
                };
                if let Some(slot) = full {
                    page.next = Some(u64::from(id) << 32 | u64::from(slot));
                    return;
                }
            }
            slot = 0;
            page.seen += 1;
        }
    }

    /// Gives an account if it has no binding; the slot to go on from where there is no room for it.
    fn find_absent(
        &self,
        now: Now,
        find: &Find,
        account: AccountId,
        page: &mut Page,
        cost: &mut usize,
    ) -> Option<u32> {
        if self.registrar.bindings(AorId(account.0), now).next().is_some() {
            return None;
        }
        if find.rows_max > 0 {
            if page.absent.len() == find.rows_max {
                return Some(0);
            }
            *cost += cost::ROW;
            page.absent.push(self.accounts.aor(account).into());
            page.places.push(u64::from(account.0) << 32);
        }
        page.matched += 1;
        None
    }

    /// Gives the bindings of an account from that slot on; the slot to go on from where there is
    /// no room for all.
    #[allow(clippy::too_many_arguments, reason = "what one search knows")]
    fn find_of(
        &self,
        now: Now,
        find: &Find,
        ready: &Ready<'_>,
        account: AccountId,
        slot: u32,
        page: &mut Page,
        cost: &mut usize,
    ) -> Option<u32> {
        let bindings = self.registrar.bindings(AorId(account.0), now);
        let mut found: Vec<(BindingId, &Binding)> = bindings
            .filter(|(id, binding)| {
                id.index >= slot && ready.outside(binding) && ready.texts(binding)
            })
            .collect();
        found.sort_unstable_by_key(|(id, _)| id.index);
        for (id, binding) in found {
            if find.rows_max > 0 {
                if page.registrations.len() == find.rows_max {
                    return Some(id.index);
                }
                *cost += cost::ROW;
                page.registrations.push(self.registration(id, binding));
                page.places.push(u64::from(account.0) << 32 | u64::from(id.index));
            }
            page.matched += 1;
            if find.names && !binding.is_static() {
                page.names.push(id);
            }
        }
        None
    }
}
