//! The vocabulary of security events, and one event as it is listed. Which of them are kept is
//! [`journal`](super::journal)'s.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use ipnet::IpNet;

use crate::limits::{SECURITY_ACCOUNT_BYTES_MAX, SECURITY_AGENT_BYTES_MAX};
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
    /// A request was challenged. Counted, not listed: every phone meets it.
    ChallengeSent = "challenge_sent",
    /// A wrong digest for an account.
    BadPassword = "bad_password",
    /// Credentials for an account that does not exist; where those who are not known hear nothing,
    /// a request for one.
    UnknownAccount = "unknown_account",
    /// Credentials of one account for another's address-of-record.
    AccountMismatch = "account_mismatch",
    /// A digest that was used before.
    Replay = "replay",
    /// An account was suspended for a source.
    Suspended = "suspended",
    /// Such a suspension ended.
    Unsuspended = "unsuspended",
    /// A list of networks excluded the source: the account's, or the server's.
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
    /// Suspensions of many accounts within the window of alerts.
    ManySuspensions = "many_suspensions",
    /// One account was used, or tried, from many sources within that window.
    ManySources = "many_sources",
    /// One account registers far more often than its expiry asks.
    RapidRegistration = "rapid_registration",
    /// A place of the blacklist was given to another before its time: listed for a block, counted
    /// for a restraint, or the memory of past blocks, as well.
    PushedOut = "pushed_out",
}

impl SecurityKind {
    /// Those that are patterns of many events: somebody should look.
    pub const ALERTS: Kinds = Kinds(
        1 << SecurityKind::Walk as u32
            | 1 << SecurityKind::ManySuspensions as u32
            | 1 << SecurityKind::ManySources as u32
            | 1 << SecurityKind::RapidRegistration as u32,
    );

    /// The kind of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<SecurityKind> {
        SecurityKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// Every kind.
    pub const ALL: Kinds = Kinds(u32::MAX);
    /// None.
    pub const NONE: Kinds = Kinds(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, kind: SecurityKind) -> Kinds {
        Kinds(self.0 | 1 << kind as u32)
    }

    /// Whether a kind is among them.
    #[must_use]
    pub const fn has(self, kind: SecurityKind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

const _: () = assert!(SecurityKind::ALL.len() <= u32::BITS as usize);

/// An account as it is listed.
pub type AccountText = Text<SECURITY_ACCOUNT_BYTES_MAX>;
/// A User-Agent as it is listed.
pub type AgentText = Text<SECURITY_AGENT_BYTES_MAX>;

/// One kind of event of one source and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityRecord {
    /// Its number among those of its shard: never used again while the process lives.
    pub number: u64,
    /// The number of its last change among the changes of its shard; grows with time.
    pub change: u64,
    /// What happened.
    pub kind: SecurityKind,
    /// Who did it; unspecified where nobody alone did.
    pub source: IpAddr,
    /// On which account, if on one; cut to its first
    /// [`SECURITY_ACCOUNT_BYTES_MAX`] bytes. Whatever was sent, it is printable ASCII here.
    pub account: AccountText,
    /// The User-Agent of the last time there was one, treated alike.
    pub user_agent: AgentText,
    /// The first time.
    pub first: UnixTime,
    /// The last time.
    pub last: UnixTime,
    /// How many times.
    pub count: u64,
}

/// Text of a sender's choice, made harmless: no control characters, nothing but ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text<const N: usize>(ArrayVec<u8, N>);

impl<const N: usize> Text<N> {
    /// The first `N` bytes, each that is not printable ASCII replaced.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Text<N> {
        let harmless = |&byte: &u8| if matches!(byte, b' '..=b'~') { byte } else { b'?' };
        Text(bytes.iter().take(N).map(harmless).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which records are wanted. What is `None` is not asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of these kinds.
    pub kinds: Kinds,
    /// Of this account: `user@domain`, or `user` in whatever domain.
    pub account: Option<AccountText>,
    /// Of sources in this network.
    pub source: Option<IpNet>,
    /// Of what has happened at that time or later.
    pub since: Option<UnixTime>,
}

/// Everything.
impl Default for Wanted {
    fn default() -> Self {
        Wanted { kinds: Kinds::ALL, account: None, source: None, since: None }
    }
}

impl Wanted {
    /// Whether a record is wanted.
    #[must_use]
    pub fn takes(&self, record: &SecurityRecord) -> bool {
        let is_account = |wanted: &AccountText| {
            let (wanted, account) = (wanted.as_str(), record.account.as_str());
            let user = account.split_once('@').map_or(account, |(user, _)| user);
            wanted == account || (!wanted.contains('@') && wanted == user)
        };
        self.kinds.has(record.kind)
            && self.since.is_none_or(|since| record.last >= since)
            && self.source.is_none_or(|network| network.contains(&record.source))
            && self.account.as_ref().is_none_or(is_account)
    }
}

/// Where a page begins: with what was last changed before this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Before this change of the shard that is asked.
    Change(u64),
    /// Before this second.
    Time(UnixTime),
}

impl Before {
    /// Whether a record was.
    #[must_use]
    pub fn takes(self, record: &SecurityRecord) -> bool {
        match self {
            Before::Change(change) => record.change < change,
            Before::Time(time) => record.last < time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        for (number, kind) in SecurityKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
            let same = SecurityKind::ALL.iter().filter(|other| other.name() == kind.name());
            assert_eq!(same.count(), 1, "{}", kind.name());
            assert_eq!(SecurityKind::from_name(kind.name()), Some(*kind));
            assert!(Kinds::ALL.has(*kind) && !Kinds::NONE.has(*kind));
            assert!(Kinds::NONE.with(*kind).has(*kind));
        }
        assert_eq!(SecurityKind::from_name("none"), None);
        assert!(SecurityKind::ALERTS.has(SecurityKind::Walk));
        assert!(!SecurityKind::ALERTS.has(SecurityKind::BadPassword));
    }

    #[test]
    fn what_a_sender_chose_cannot_break_a_line() {
        let text: Text<9> = Text::new(b"a\r\nb\x1b[2J\xff and more");
        assert_eq!(text.as_str(), "a??b?[2J?");
        assert!(Text::<4>::new(b"").is_empty());
    }

    #[test]
    fn filters_leave_what_is_wanted() {
        let record = SecurityRecord {
            number: 1,
            change: 7,
            kind: SecurityKind::BadPassword,
            source: "192.0.2.7".parse().unwrap(),
            account: Text::new(b"u1@example.com"),
            user_agent: Text::default(),
            first: UnixTime(10),
            last: UnixTime(20),
            count: 3,
        };
        let takes = |change: fn(&mut Wanted)| {
            let mut wanted = Wanted::default();
            change(&mut wanted);
            wanted.takes(&record)
        };
        assert!(takes(|_| {}));
        assert!(takes(|w| w.kinds = Kinds::NONE.with(SecurityKind::BadPassword)));
        assert!(!takes(|w| w.kinds = SecurityKind::ALERTS));
        assert!(takes(|w| w.account = Some(Text::new(b"u1@example.com"))));
        assert!(takes(|w| w.account = Some(Text::new(b"u1"))));
        assert!(!takes(|w| w.account = Some(Text::new(b"u"))));
        assert!(!takes(|w| w.account = Some(Text::new(b"u1@example.org"))));
        assert!(takes(|w| w.source = "192.0.2.0/24".parse().ok()));
        assert!(!takes(|w| w.source = "2001:db8::/32".parse().ok()));
        assert!(takes(|w| w.since = Some(UnixTime(20))));
        assert!(!takes(|w| w.since = Some(UnixTime(21))));
        assert!(Before::Change(8).takes(&record) && !Before::Change(7).takes(&record));
        assert!(Before::Time(UnixTime(21)).takes(&record));
        assert!(!Before::Time(UnixTime(20)).takes(&record));
    }
}
