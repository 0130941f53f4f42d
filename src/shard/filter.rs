//! What operators look for among the bindings and the accounts of a shard. A filter is all its
//! conditions at once; what is not asked about matches. How a table is gone through is `search`'s.

use ipnet::IpNet;
use memchr::{memchr2_iter, memrchr};

use crate::flow::Transport;
use crate::registrar::{Binding, Wanted};
use crate::sip::uri::Uri;
use crate::time::{Instant, Now};

/// How it stands with a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is there.
    Registered,
    /// A tenth of what was granted is left at most, or it is late: a phone that refreshes as most
    /// do has missed its time.
    Expiring,
    /// It is known not to answer.
    Unreachable,
}

impl Status {
    /// Every status, in the order of their bits.
    pub const ALL: [Status; 3] = [Status::Registered, Status::Expiring, Status::Unreachable];

    /// How it stands with a binding now. What an account provides has no end.
    #[must_use]
    pub fn of(binding: &Binding, now: Instant) -> Status {
        if !binding.is_reachable() {
            Status::Unreachable
        } else if !binding.is_static()
            && (binding.is_late(now) || binding.remaining_s(now) <= binding.granted_s() / 10)
        {
            Status::Expiring
        } else {
            Status::Registered
        }
    }

    /// Its word in filters and lists.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Status::Registered => "registered",
            Status::Expiring => "expiring",
            Status::Unreachable => "unreachable",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The user part of an address-of-record, whole or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// As in the canonical address-of-record.
    pub text: Box<[u8]>,
    /// More may follow.
    pub is_prefix: bool,
}

/// So many seconds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

impl Default for Seconds {
    fn default() -> Self {
        Seconds { min: 0, max: u32::MAX }
    }
}

impl Seconds {
    fn is_any(self) -> bool {
        self == Seconds::default()
    }

    fn has(self, seconds: u64) -> bool {
        (u64::from(self.min)..=u64::from(self.max)).contains(&seconds)
    }
}

/// A set of the few words there are of a kind; an empty one is not asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words(u8);

impl Words {
    /// With this status.
    pub fn add_status(&mut self, status: Status) {
        self.0 |= status.bit();
    }

    /// With this transport.
    pub fn add_transport(&mut self, transport: Transport) {
        self.0 |= 1 << transport as u8;
    }
}

/// What is wanted: bindings that match all of it. Of a list, one has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// This contact, a URI compared by RFC 3261 19.1.4.
    pub contact: Option<Box<[u8]>>,
    /// The last REGISTER came from one of these networks. An IPv4 address that stands in an IPv6
    /// one is taken for itself.
    pub sources: Vec<IpNet>,
    /// One of these numbers.
    pub numbers: Vec<Number>,
    /// One of these domains, in lower case.
    pub domains: Vec<Box<[u8]>>,
    /// In the User-Agent, letters of either case; given in lower case.
    pub user_agent: Option<Box<[u8]>>,
    /// Of these.
    pub statuses: Words,
    /// Of these.
    pub transports: Words,
    /// The last REGISTER came through a NAT, or did not.
    pub behind_nat: Option<bool>,
    /// Since it first came.
    pub registered_s: Seconds,
    /// Since it was last refreshed.
    pub refreshed_s: Seconds,
    /// Accounts that have no binding, instead of bindings; what is asked about bindings then
    /// matches nobody.
    pub absent: bool,
}

/// A filter made ready for one pass.
pub(super) struct Ready<'a> {
    filter: &'a Filter,
    contact: Option<Uri<'a>>,
    now: Instant,
}

impl Filter {
    /// Whether account names are looked at.
    #[must_use]
    pub fn names_accounts(&self) -> bool {
        !self.numbers.is_empty() || !self.domains.is_empty()
    }

    /// Whether anything is asked about bindings.
    #[must_use]
    pub fn is_about_bindings(&self) -> bool {
        self.contact.is_some()
            || self.user_agent.is_some()
            || !self.sources.is_empty()
            || self.statuses != Words::default()
            || self.transports != Words::default()
            || self.behind_nat.is_some()
            || !self.registered_s.is_any()
            || !self.refreshed_s.is_any()
    }

    /// Whether texts of bindings are looked at, which lie outside their table.
    pub(super) fn reads_texts(&self) -> bool {
        self.contact.is_some() || self.user_agent.is_some()
    }

    /// Whether a canonical address-of-record is one of those.
    #[must_use]
    pub fn matches_account(&self, aor: &[u8]) -> bool {
        let at = memrchr(b'@', aor).unwrap_or(aor.len());
        let (user, domain) = (&aor[..at], aor.get(at + 1..).unwrap_or_default());
        let is_number = |number: &Number| match number.is_prefix {
            true => user.starts_with(&number.text),
            false => user == &*number.text,
        };
        (self.numbers.is_empty() || self.numbers.iter().any(is_number))
            && (self.domains.is_empty() || self.domains.iter().any(|one| **one == *domain))
    }

    /// Whether a binding of the account with that canonical address-of-record is wanted.
    #[must_use]
    pub fn matches(&self, now: Now, aor: &[u8], binding: &Binding) -> bool {
        !self.absent
            && self.matches_account(aor)
            && self.ready(now).is_some_and(|ready| ready.outside(binding) && ready.texts(binding))
    }

    /// Makes it ready; `None`: nobody has such a contact.
    pub(super) fn ready(&self, now: Now) -> Option<Ready<'_>> {
        let contact = match self.contact.as_deref().map(Uri::parse) {
            None => None,
            Some(Ok(uri)) => Some(uri),
            Some(Err(_)) => return None,
        };
        Some(Ready { filter: self, contact, now: now.mono })
    }
}

impl Ready<'_> {
    /// Whether all fits that can be seen in the table itself.
    pub fn outside(&self, binding: &Binding) -> bool {
        let filter = self.filter;
        let age = |since: Instant| self.now.saturating_since(since).as_secs();
        let has = |words: Words, bit: u8| words.0 == 0 || words.0 & bit != 0;
        // What an account provides came from nowhere and by no way.
        let came = !binding.is_static();
        let is_from = |network: &IpNet| Wanted::SourceNetwork(*network).matches(binding);
        (filter.sources.is_empty() || filter.sources.iter().any(is_from))
            && (filter.transports.0 == 0
                || came && has(filter.transports, 1 << binding.flow().transport() as u8))
            && (filter.statuses.0 == 0 || has(filter.statuses, Status::of(binding, self.now).bit()))
            && filter.behind_nat.is_none_or(|wanted| came && binding.is_behind_nat() == wanted)
            && (filter.registered_s.is_any()
                || filter.registered_s.has(age(binding.registered_at())))
            && (filter.refreshed_s.is_any()
                || came && filter.refreshed_s.has(age(binding.refreshed_at())))
    }

    /// Whether its texts fit.
    pub fn texts(&self, binding: &Binding) -> bool {
        self.filter.user_agent.as_deref().is_none_or(|part| contains(binding.user_agent(), part))
            && self.contact.as_ref().is_none_or(|uri| Wanted::Contact(uri).matches(binding))
    }
}

/// Whether `part`, in lower case, stands in `text`, letters of either case.
fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some(&first) = part.first() else { return true };
    memchr2_iter(first, first.to_ascii_uppercase(), text)
        .any(|at| text.get(at..at + part.len()).is_some_and(|here| here.eq_ignore_ascii_case(part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_whole_or_begin_so_and_domains_are_whole() {
        let number = |text: &str, is_prefix| Number { text: text.as_bytes().into(), is_prefix };
        let filter = Filter {
            numbers: vec![number("1001", false), number("86", true)],
            ..Filter::default()
        };
        for (aor, is_wanted) in [
            ("1001@a.test", true),
            ("10011@a.test", false),
            ("100@a.test", false),
            ("8613800@b.test", true),
            ("86@b.test", true),
            ("8", false),
            ("", false),
        ] {
            assert_eq!(filter.matches_account(aor.as_bytes()), is_wanted, "{aor}");
        }
        let filter = Filter { domains: vec![b"a.test".as_slice().into()], ..filter };
        assert!(filter.matches_account(b"1001@a.test"));
        assert!(!filter.matches_account(b"8613800@b.test"));
        assert!(!filter.matches_account(b"1001@x.a.test"));
        assert!(Filter::default().matches_account(b"anybody@anywhere"));
    }

    proptest! {
        #[test]
        fn a_part_is_found_wherever_it_stands_in_letters_of_either_case(
            text in "[a-cA-C/ ]{0,24}",
            part in "[a-c/]{0,4}",
        ) {
            let expected = text.to_ascii_lowercase().contains(&part);
            prop_assert_eq!(contains(text.as_bytes(), part.as_bytes()), expected);
        }
    }
}
