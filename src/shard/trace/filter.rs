//! What a trace is about. It is decided by the bytes of a message, by where it came from or goes
//! to, and by what became of it; nothing is parsed for it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use memchr::memmem;

use super::{Direction, Fate, Trace};
use crate::shard::counters::DropReason;
use crate::shard::refused::RefuseReason;

/// Which messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those that come from this network or go there; without one, from and to anywhere.
    pub source: Option<IpNet>,
    /// Those that name this account, and keepalives of where it has spoken from; without one,
    /// anybody's.
    pub account: Option<Account>,
    /// Where the account is registered when the trace begins. A trace without an account knows
    /// nobody.
    pub peers: Vec<SocketAddr>,
    /// Only what was dropped or refused for one of these reasons, with the answer to it.
    pub reason: Option<(Option<DropReason>, Option<RefuseReason>)>,
    /// Only what this became of, with the answer to it.
    pub only: Only,
    /// Only what went this way.
    pub direction: Option<Direction>,
    /// Also what keeps pinholes open and is no SIP: line ends, a few bytes, STUN.
    pub keepalives: bool,
}

/// An account as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User.
    pub user: Box<[u8]>,
    /// Domain, in lower case, by any name it has; without one, the user of any domain.
    pub domain: Option<String>,
}

/// What became of the messages that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// Whatever it was.
    #[default]
    All,
    /// They were dropped without an answer.
    Dropped,
    /// Nothing came of them ([`Fate::is_failure`]).
    Failed,
}

impl Trace {
    /// Whether it is about a message, but for what became of it and which way it went. `is_raw`: it
    /// is no SIP.
    pub(super) fn is_of(&self, remote: SocketAddr, bytes: &[u8], is_raw: bool) -> bool {
        let Filter { source, account, keepalives, reason, .. } = &self.order.filter;
        let asked_for = matches!(reason, Some((Some(DropReason::Keepalive | DropReason::Stun), _)));
        if is_raw && !keepalives && !asked_for {
            return false;
        }
        if !source.is_none_or(|network| contains(&network, remote.ip())) {
            return false;
        }
        match account {
            None => true,
            Some(_) if is_raw => self.peers.contains(&remote),
            Some(account) => names(bytes, &account.user, &self.names),
        }
    }

    /// Whether it is about messages that came in and this became of.
    pub(super) fn is_about_fate(&self, fate: Fate) -> bool {
        let Filter { reason, only, .. } = &self.order.filter;
        let reason_fits = match (reason, fate) {
            (None, _) => true,
            (Some((wanted, _)), Fate::Dropped(reason)) => *wanted == Some(reason),
            (Some((_, wanted)), Fate::Answered(_, Some(reason))) => *wanted == Some(reason),
            (Some(_), _) => false,
        };
        let fits = match only {
            Only::All => true,
            Only::Dropped => matches!(fate, Fate::Dropped(_)),
            Only::Failed => fate.is_failure(),
        };
        reason_fits && fits
    }

    /// Whether it is about messages that nobody asked for: there is nothing that became of them.
    pub(super) fn is_about_own(&self) -> bool {
        let Filter { reason, only, .. } = &self.order.filter;
        reason.is_none() && *only == Only::All
    }

    pub(super) fn goes(&self, direction: Direction) -> bool {
        self.order.filter.direction.is_none_or(|wanted| wanted == direction)
    }
}

fn contains(network: &IpNet, ip: IpAddr) -> bool {
    network.contains(&ip.to_canonical())
}

/// Whether a message names `user` at one of these domains, or at any where there are none, as in
/// `sip:user@domain`.
fn names(bytes: &[u8], user: &[u8], domains: &[String]) -> bool {
    memmem::find_iter(bytes, user).any(|at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let Some((b'@', host)) = bytes.get(at + user.len()..).and_then(<[u8]>::split_first) else {
            return false;
        };
        let end =
            host.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b".-".contains(byte));
        let host = &host[..end.unwrap_or(host.len())];
        let host = host.strip_suffix(b".").unwrap_or(host);
        let is_there = |name: &String| name.as_bytes().eq_ignore_ascii_case(host);
        before == Some(&b':') && (domains.is_empty() || domains.iter().any(is_there))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::traces;
    use super::*;

    const TEXT: &[u8] = b"REGISTER sip:x SIP/2.0\r\nTo: <sip:u1@Example.NET>\r\n";

    fn is_of(filter: Filter, bytes: &[u8], is_raw: bool) -> bool {
        let remote = "192.0.2.7:5060".parse().unwrap();
        traces(vec![filter]).under_way[0].is_of(remote, bytes, is_raw)
    }

    fn account(user: &str) -> Filter {
        let account = Account { user: user.as_bytes().into(), domain: Some("example.com".into()) };
        Filter { account: Some(account), ..Filter::default() }
    }

    #[test]
    fn an_account_is_found_by_its_user_at_any_name_of_its_domain_and_by_nothing_less() {
        assert!(is_of(Filter::default(), TEXT, false));
        assert!(is_of(account("u1"), TEXT, false), "an alias, in any case");
        assert!(is_of(account("u1"), b"To: sip:u1@example.com.\r\n", false));
        assert!(is_of(account("u1"), b"sip:u1@192.0.2.7 sip:u1@example.com:5060", false));
        assert!(!is_of(account("u1"), b"To: <sip:u1@example.org>\r\n", false));
        assert!(!is_of(account("u1"), b"To: <sip:u1@example.com.evil>\r\n", false));
        for other in ["u", "1", "u2", "sip", "u1@example.net", "U1"] {
            assert!(!is_of(account(other), TEXT, false), "{other}");
        }
        assert!(!is_of(account("u1"), b":u1", false) && !is_of(account("u1"), b"u1@", false));
    }

    #[test]
    fn what_is_no_sip_is_shown_on_request_and_by_where_the_account_is() {
        assert!(!is_of(Filter::default(), b"\r\n", true));
        let keepalives = Filter { keepalives: true, ..Filter::default() };
        assert!(is_of(keepalives, b"\r\n", true));
        let dropped = Some((Some(DropReason::Keepalive), None));
        assert!(is_of(Filter { reason: dropped, ..Filter::default() }, b"\r\n", true));
        let mut traces = traces(vec![Filter { keepalives: true, ..account("u1") }]);
        let trace = &mut traces.under_way[0];
        let at = |port: u16| SocketAddr::from(([192, 0, 2, 7], port));
        assert!(!trace.is_of(at(1), b"HELLO", true));
        (1..=40).for_each(|port| trace.learn(at(port)));
        assert!(trace.is_of(at(40), b"HELLO", true) && !trace.is_of(at(1), b"HELLO", true));
    }

    #[test]
    fn a_network_is_that_of_the_other_side() {
        let of = |network: &str| Filter { source: network.parse().ok(), ..Filter::default() };
        assert!(is_of(of("192.0.2.0/24"), TEXT, false));
        assert!(!is_of(of("192.0.3.0/24"), TEXT, false));
        assert!(contains(&"192.0.2.0/24".parse().unwrap(), "::ffff:192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn what_became_of_a_message_decides_as_asked() {
        let about =
            |filter: Filter, fate: Fate| traces(vec![filter]).under_way[0].is_about_fate(fate);
        let (good, scanner) = (Fate::Answered(200, None), Fate::Dropped(DropReason::Scanner));
        let refused = Fate::Answered(404, Some(RefuseReason::ForeignDomain));
        let only = |only| Filter { only, ..Filter::default() };
        for fate in [good, scanner, refused] {
            assert!(about(Filter::default(), fate));
        }
        assert!(about(only(Only::Dropped), scanner) && !about(only(Only::Dropped), refused));
        assert!(about(only(Only::Failed), refused) && !about(only(Only::Failed), good));
        let because = |drop, refuse| Filter { reason: Some((drop, refuse)), ..Filter::default() };
        assert!(about(because(Some(DropReason::Scanner), None), scanner));
        assert!(!about(because(Some(DropReason::Ack), None), scanner));
        assert!(about(because(None, Some(RefuseReason::ForeignDomain)), refused));
        assert!(!about(because(Some(DropReason::Scanner), None), good));
    }
}
