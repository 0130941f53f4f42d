//! Security events: a fixed vocabulary, each counted, and listed with aggregation. The same event
//! of the same source and account is one record with a count, and each kind of event has its own
//! few records, so that a flood of one neither fills the list nor pushes out another.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::limits::{
    SECURITY_ACCOUNT_BYTES_MAX, SECURITY_AGENT_BYTES_MAX, SECURITY_RECORDS_PER_KIND_MAX,
};
use crate::time::UnixTime;

macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident = $word:literal),+ $(,)?) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SecurityKind { $($(#[$about])* $kind),+ }

        impl SecurityKind {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [SecurityKind] = &[$(SecurityKind::$kind),+];

            /// Its word in lists and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(SecurityKind::$kind => $word),+ }
            }
        }
    };
}

kinds! {
    /// A request without credentials was challenged. Counted, not listed: every phone does it.
    ChallengeSent = "challenge_sent",
    /// A wrong digest for an account.
    BadPassword = "bad_password",
    /// Credentials for an account that does not exist.
    UnknownAccount = "unknown_account",
    /// Credentials of one account for another's address-of-record.
    AccountMismatch = "account_mismatch",
    /// A digest that was used before.
    Replay = "replay",
    /// An account was suspended for a source.
    Suspended = "suspended",
    /// Such a suspension ended.
    Unsuspended = "unsuspended",
    /// An account's list of networks excluded the source.
    Acl = "acl",
    /// A scanner's signature, dropped.
    Scanner = "scanner",
    /// An unproven source asked for one number after another.
    Walk = "walk",
    /// A request over the limits of its source, prefix or network.
    RateLimited = "rate_limited",
    /// A source was restrained for what could have been done in its name.
    Restrained = "restrained",
    /// A source was blocked whole.
    Blocked = "blocked",
    /// A block ended before its time: by an operator, or because the source proved itself.
    Unblocked = "unblocked",
    /// Requests were shed for want of capacity.
    Overload = "overload",
}

/// One kind of event of one source and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityRecord {
    /// What happened.
    pub kind: SecurityKind,
    /// Who did it.
    pub source: IpAddr,
    /// On which account, if on one; cut to its first
    /// [`SECURITY_ACCOUNT_BYTES_MAX`] bytes. Whatever was sent, it is printable ASCII here.
    pub account: Text<SECURITY_ACCOUNT_BYTES_MAX>,
    /// The User-Agent of the last time, treated alike.
    pub user_agent: Text<SECURITY_AGENT_BYTES_MAX>,
    /// The first time.
    pub first: UnixTime,
    /// The last time.
    pub last: UnixTime,
    /// How many times.
    pub count: u64,
}

/// Text of a sender's choice, made harmless: no control characters, nothing but ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<const N: usize>(ArrayVec<u8, N>);

impl<const N: usize> Text<N> {
    fn new(bytes: &[u8]) -> Text<N> {
        let harmless = |&byte: &u8| if matches!(byte, b' '..=b'~') { byte } else { b'?' };
        Text(bytes.iter().take(N).map(harmless).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The counts of all events and the records of the last ones.
pub struct Journal {
    counts: [u64; SecurityKind::ALL.len()],
    records: Vec<ArrayVec<SecurityRecord, SECURITY_RECORDS_PER_KIND_MAX>>,
    /// Records that made room for others.
    pushed_out: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            counts: [0; SecurityKind::ALL.len()],
            records: SecurityKind::ALL.iter().map(|_| ArrayVec::new()).collect(),
            pushed_out: 0,
        }
    }
}

impl Journal {
    /// Counts an event that is not listed.
    #[inline]
    pub fn count(&mut self, kind: SecurityKind) {
        self.counts[kind as usize] += 1;
    }

    /// Counts and lists an event. Where its kind has no room left, the record that has been quiet
    /// for longest makes room. Costs a walk through the records of the kind.
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
        let account = Text::new(account);
        let records = &mut self.records[kind as usize];
        let same = |one: &&mut SecurityRecord| one.source == source && one.account == account;
        if let Some(record) = records.iter_mut().find(same) {
            record.count += 1;
            record.last = now;
            record.user_agent = Text::new(user_agent);
            return;
        }
        let user_agent = Text::new(user_agent);
        let record =
            SecurityRecord { kind, source, account, user_agent, first: now, last: now, count: 1 };
        if let Err(full) = records.try_push(record) {
            self.pushed_out += 1;
            let quiet = (0..records.len()).min_by_key(|&at| records[at].last);
            records[quiet.expect("it is full")] = full.element();
        }
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

    /// The records, kind by kind, in no order of time.
    pub fn records(&self) -> impl Iterator<Item = &SecurityRecord> {
        self.records.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn the_same_again_is_one_record_with_a_count() {
        let mut journal = Journal::default();
        for second in 0..1000 {
            let (kind, now) = (SecurityKind::BadPassword, UnixTime(second));
            journal.record(now, kind, ip(1), b"u1@example.com", b"guesser");
        }
        let records: Vec<_> = journal.records().collect();
        assert_eq!(records.len(), 1);
        let SecurityRecord { first, last, count, account, user_agent, .. } = records[0];
        assert_eq!((*first, *last, *count), (UnixTime(0), UnixTime(999), 1000));
        assert_eq!((account.as_str(), user_agent.as_str()), ("u1@example.com", "guesser"));
        assert_eq!(journal.counted(SecurityKind::BadPassword), 1000);
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
            journal.records().partition(|record| record.kind == SecurityKind::Blocked);
        assert_eq!((blocked.len(), scanners.len()), (1, SECURITY_RECORDS_PER_KIND_MAX));
        assert_eq!(journal.counted(SecurityKind::Scanner), 10_000);
        let kept = 10_000 - SECURITY_RECORDS_PER_KIND_MAX as u64;
        assert_eq!(journal.pushed_out(), kept);
        assert!(scanners.iter().all(|record| record.first.0 > kept), "the latest are kept");
    }

    #[test]
    fn what_a_sender_chose_cannot_break_a_line() {
        let mut journal = Journal::default();
        let long = [b'x'; 500];
        let kind = SecurityKind::UnknownAccount;
        journal.record(UnixTime(0), kind, ip(1), b"a\r\nb\x1b[2J\xff", &long);
        let record = journal.records().next().unwrap();
        assert_eq!(record.account.as_str(), "a??b?[2J?");
        assert_eq!(record.user_agent.as_str().len(), SECURITY_AGENT_BYTES_MAX);
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        for (number, kind) in SecurityKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
            let same = SecurityKind::ALL.iter().filter(|other| other.name() == kind.name());
            assert_eq!(same.count(), 1, "{}", kind.name());
        }
    }
}
