//! Security events counted, and listed with aggregation. The same event of the same source and
//! account is one record with a count, and each kind of event has its own few records, so that a
//! flood of one neither fills the list nor pushes out another. Memory is that of full lists; an
//! event costs the same whatever the lists hold.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use hashbrown::HashTable;

use super::events::{AccountText, Before, SecurityKind, SecurityRecord, Text, Wanted};
use crate::limits::{SECURITY_RECORDS_PER_KIND_MAX, SECURITY_WINDOW_S};
use crate::time::UnixTime;

/// The counts of all events and the records of the last ones.
#[derive(Default)]
pub struct Journal {
    counts: [u64; SecurityKind::ALL.len()],
    lists: [List; SecurityKind::ALL.len()],
    /// Records that made room for others.
    pushed_out: u64,
    records_made: u64,
    changes: u64,
    /// The latest time there was; the wall clock may be set back, the order of records may not.
    latest: UnixTime,
}

impl Journal {
    /// Counts an event that is not listed.
    #[inline]
    pub fn count(&mut self, kind: SecurityKind) {
        self.counts[kind as usize] += 1;
    }

    /// Counts and lists an event. Where its kind has no room left, the record that has been quiet
    /// for longest makes room.
    #[cold]
    pub fn record(
        &mut self,
        now: UnixTime,
        kind: SecurityKind,
        source: IpAddr,
        account: &[u8],
        user_agent: &[u8],
    ) {
        self.counts[kind as usize] += 1;
        self.list(now, kind, source, account, user_agent);
    }

    /// Lists an event that has been counted.
    pub fn list(
        &mut self,
        now: UnixTime,
        kind: SecurityKind,
        source: IpAddr,
        account: &[u8],
        user_agent: &[u8],
    ) {
        self.latest = self.latest.max(now);
        self.changes += 1;
        let (now, change) = (self.latest, self.changes);
        let (source, account): (IpAddr, AccountText) = (source.to_canonical(), Text::new(account));
        let list = &mut self.lists[kind as usize];
        if let Some(at) = list.find(source, &account) {
            let record = &mut list.records[at].record;
            if now.0.saturating_sub(record.last.0) <= SECURITY_WINDOW_S {
                (record.count, record.last, record.change) = (record.count + 1, now, change);
                if !user_agent.is_empty() {
                    record.user_agent = Text::new(user_agent);
                }
                list.renew(at);
                return;
            }
        }
        self.records_made += 1;
        let record = SecurityRecord {
            number: self.records_made,
            change,
            kind,
            source,
            account,
            user_agent: Text::new(user_agent),
            first: now,
            last: now,
            count: 1,
        };
        self.pushed_out += u64::from(list.add(record));
    }

    /// How often something happened.
    #[must_use]
    pub fn counted(&self, kind: SecurityKind) -> u64 {
        self.counts[kind as usize]
    }

    /// How often everything happened, by the number of its kind.
    #[must_use]
    pub fn counts(&self) -> &[u64; SecurityKind::ALL.len()] {
        &self.counts
    }

    /// Records that made room for others since the start.
    #[must_use]
    pub fn pushed_out(&self) -> u64 {
        self.pushed_out
    }

    /// The records that are wanted, the one that changed last first.
    pub fn newest<'a>(
        &'a self,
        wanted: &'a Wanted,
        before: Option<Before>,
    ) -> impl Iterator<Item = &'a SecurityRecord> {
        let mut lists: Vec<(&List, Place)> = SecurityKind::ALL
            .iter()
            .filter(|kind| wanted.kinds.has(**kind))
            .map(|&kind| &self.lists[kind as usize])
            .map(|list| (list, list.newest))
            .collect();
        let all = std::iter::from_fn(move || {
            let (list, at) = lists
                .iter_mut()
                .max_by_key(|(list, at)| list.at(*at).map_or(0, |k| k.record.change))?;
            let kept = list.at(*at)?;
            *at = kept.older;
            Some(&kept.record)
        });
        all.filter(move |record: &&SecurityRecord| {
            before.is_none_or(|before| before.takes(record)) && wanted.takes(record)
        })
    }
}

/// A place among the records of a list, if there is one.
type Place = Option<u16>;

/// The records of one kind, chained by age.
#[derive(Default)]
struct List {
    records: Vec<Kept>,
    /// The places of those that go on being counted, by source and account.
    places: HashTable<u16>,
    newest: Place,
    oldest: Place,
}

struct Kept {
    record: SecurityRecord,
    newer: Place,
    older: Place,
}

const _: () = assert!(SECURITY_RECORDS_PER_KIND_MAX < u16::MAX as usize);

/// Whoever chose sources and accounts that fall together had a table of a few records to walk.
fn hash_of(source: IpAddr, account: &AccountText) -> u64 {
    let mut hasher = DefaultHasher::new();
    (source, account).hash(&mut hasher);
    hasher.finish()
}

impl List {
    fn at(&self, place: Place) -> Option<&Kept> {
        self.records.get(usize::from(place?))
    }

    fn find(&self, source: IpAddr, account: &AccountText) -> Option<usize> {
        let is_same = |&at: &u16| {
            let record = &self.records[usize::from(at)].record;
            record.source == source && record.account == *account
        };
        self.places.find(hash_of(source, account), is_same).map(|&at| usize::from(at))
    }

    /// Makes the record at a place the newest.
    fn renew(&mut self, at: usize) {
        if self.newest == Some(at as u16) {
            return;
        }
        self.unchain(at);
        self.chain(at);
    }

    /// Adds a record, in the place of the oldest where there is no room. Returns whether that was
    /// so.
    fn add(&mut self, record: SecurityRecord) -> bool {
        let hash = hash_of(record.source, &record.account);
        let is_full = self.records.len() >= SECURITY_RECORDS_PER_KIND_MAX;
        let at = match self.oldest {
            Some(oldest) if is_full => {
                self.forget(usize::from(oldest));
                self.unchain(usize::from(oldest));
                self.records[usize::from(oldest)].record = record;
                usize::from(oldest)
            }
            _ => {
                self.records.push(Kept { record, newer: None, older: None });
                self.records.len() - 1
            }
        };
        // One whose window is over is counted no more, though it stays.
        let (source, account) = (self.records[at].record.source, &self.records[at].record.account);
        let records = &self.records;
        let is_same = |&other: &u16| {
            let other = &records[usize::from(other)].record;
            other.source == source && other.account == *account
        };
        if let Ok(before) = self.places.find_entry(hash, is_same) {
            before.remove();
        }
        self.places.insert_unique(hash, at as u16, |&at| {
            let record = &records[usize::from(at)].record;
            hash_of(record.source, &record.account)
        });
        self.chain(at);
        is_full
    }

    /// Takes the record at a place off the index, if it is there.
    fn forget(&mut self, at: usize) {
        let record = &self.records[at].record;
        let hash = hash_of(record.source, &record.account);
        if let Ok(place) = self.places.find_entry(hash, |&other| usize::from(other) == at) {
            place.remove();
        }
    }

    fn unchain(&mut self, at: usize) {
        let (newer, older) = (self.records[at].newer, self.records[at].older);
        match newer {
            Some(newer) => self.records[usize::from(newer)].older = older,
            None => self.newest = older,
        }
        match older {
            Some(older) => self.records[usize::from(older)].newer = newer,
            None => self.oldest = newer,
        }
    }

    fn chain(&mut self, at: usize) {
        let (this, before) = (Some(at as u16), self.newest);
        (self.records[at].newer, self.records[at].older) = (None, before);
        match before {
            Some(before) => self.records[usize::from(before)].newer = this,
            None => self.oldest = this,
        }
        self.newest = this;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guard::events::Kinds;
    use crate::limits::SECURITY_AGENT_BYTES_MAX;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn all(journal: &Journal) -> Vec<SecurityRecord> {
        journal.newest(&Wanted::default(), None).cloned().collect()
    }

    #[test]
    fn the_same_again_is_one_record_with_a_count() {
        let mut journal = Journal::default();
        for second in 0..1000 {
            let (kind, now) = (SecurityKind::BadPassword, UnixTime(second));
            journal.record(now, kind, ip(1), b"u1@example.com", b"guesser");
        }
        // Through a socket of both families, and without a User-Agent.
        let mapped = "::ffff:0.0.0.1".parse().unwrap();
        let kind = SecurityKind::BadPassword;
        journal.record(UnixTime(999), kind, mapped, b"u1@example.com", b"");
        let records = all(&journal);
        assert_eq!(records.len(), 1);
        let SecurityRecord { first, last, count, account, user_agent, .. } = &records[0];
        assert_eq!((*first, *last, *count), (UnixTime(0), UnixTime(999), 1001));
        assert_eq!((account.as_str(), user_agent.as_str()), ("u1@example.com", "guesser"));
        assert_eq!(journal.counted(SecurityKind::BadPassword), 1001);
    }

    #[test]
    fn what_comes_back_after_the_window_is_another_record() {
        let mut journal = Journal::default();
        let mut tell = |second: u64| {
            journal.record(UnixTime(second), SecurityKind::Scanner, ip(1), b"", b"kit");
        };
        let second = SECURITY_WINDOW_S + 1;
        [0, SECURITY_WINDOW_S, 3 * second, 3 * second].into_iter().for_each(&mut tell);
        let counts: Vec<(u64, u64)> =
            all(&journal).iter().map(|one| (one.first.0, one.count)).collect();
        assert_eq!(counts, [(3 * second, 2), (0, 2)]);
    }

    #[test]
    fn a_flood_of_one_kind_pushes_out_none_of_another() {
        let mut journal = Journal::default();
        journal.record(UnixTime(0), SecurityKind::Blocked, ip(7), b"", b"");
        for number in 0..10_000 {
            let now = UnixTime(1 + u64::from(number));
            journal.record(now, SecurityKind::Scanner, ip(number), b"", b"sipcli");
        }
        let (blocked, scanners): (Vec<_>, Vec<_>) =
            all(&journal).into_iter().partition(|record| record.kind == SecurityKind::Blocked);
        assert_eq!((blocked.len(), scanners.len()), (1, SECURITY_RECORDS_PER_KIND_MAX));
        assert_eq!(journal.counted(SecurityKind::Scanner), 10_000);
        let kept = 10_000 - SECURITY_RECORDS_PER_KIND_MAX as u64;
        assert_eq!(journal.pushed_out(), kept);
        assert!(scanners.iter().all(|record| record.first.0 > kept), "the latest are kept");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_turn_the_order() {
        let mut journal = Journal::default();
        let kind = SecurityKind::Acl;
        for (number, second) in [(1, 50), (2, 40), (3, 60)] {
            journal.record(UnixTime(second), kind, ip(number), b"", b"");
        }
        let times: Vec<u64> = all(&journal).iter().map(|one| one.last.0).collect();
        assert_eq!(times, [60, 50, 50]);
    }

    #[test]
    fn texts_are_cut() {
        let mut journal = Journal::default();
        journal.record(UnixTime(0), SecurityKind::UnknownAccount, ip(1), b"a\n", &[b'x'; 500]);
        let record = all(&journal).remove(0);
        assert_eq!(record.account.as_str(), "a?");
        assert_eq!(record.user_agent.as_str().len(), SECURITY_AGENT_BYTES_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Against a list that is searched whole: counts, order, and who makes room.
        #[test]
        fn the_records_are_those_of_a_plain_list(
            told in proptest::collection::vec((0u8..3, 0u32..200, 0u8..2, 0u64..900), 0..900),
        ) {
            let mut journal = Journal::default();
            let mut plain: Vec<SecurityRecord> = Vec::new();
            let mut now = 0;
            for (change, (kind, source, account, step)) in (1..).zip(told) {
                now += step;
                let kind = SecurityKind::ALL[usize::from(kind)];
                let account: &[u8] = if account == 0 { b"" } else { b"u1@example.com" };
                journal.record(UnixTime(now), kind, ip(source), account, b"");
                let account: AccountText = Text::new(account);
                let same = plain.iter().position(|one| {
                    one.kind == kind
                        && one.source == ip(source)
                        && one.account == account
                        && now - one.last.0 <= SECURITY_WINDOW_S
                });
                let record = match same {
                    Some(at) => {
                        let one = plain.remove(at);
                        SecurityRecord { count: one.count + 1, last: UnixTime(now), change, ..one }
                    }
                    None => SecurityRecord {
                        number: 0,
                        change,
                        kind,
                        source: ip(source),
                        account,
                        user_agent: Text::default(),
                        first: UnixTime(now),
                        last: UnixTime(now),
                        count: 1,
                    },
                };
                plain.insert(0, record);
                let of_kind = plain.iter().filter(|one| one.kind == kind).count();
                if of_kind > SECURITY_RECORDS_PER_KIND_MAX {
                    let oldest = plain.iter().rposition(|one| one.kind == kind).unwrap();
                    plain.remove(oldest);
                }
            }
            let unnumbered = |one: &SecurityRecord| SecurityRecord { number: 0, ..one.clone() };
            let listed: Vec<SecurityRecord> = all(&journal).iter().map(unnumbered).collect();
            prop_assert_eq!(&listed, &plain);
            // Page by page.
            let kinds = Kinds::NONE.with(SecurityKind::ALL[1]);
            let wanted = Wanted { kinds, ..Wanted::default() };
            let (mut pages, mut before) = (Vec::new(), None);
            loop {
                let page = journal.newest(&wanted, before).take(7).map(unnumbered);
                let page: Vec<_> = page.collect();
                let Some(last) = page.last() else { break };
                before = Some(Before::Change(last.change));
                pages.extend(page);
            }
            plain.retain(|one| one.kind == SecurityKind::ALL[1]);
            prop_assert_eq!(pages, plain);
        }
    }
}
