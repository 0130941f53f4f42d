//! What an account is asked for before it gets in: its digest, its network, both, either, or
//! nothing more than the client certificate of its connection.
//!
//! A network proves as much as the network does: over UDP a source address can be forged, its port
//! as well, so an `allow` list should name networks that only their owners can send from. A source
//! that an account's list excludes is treated as if the account did not exist, and so cannot tell.

use std::net::SocketAddr;

use crate::auth::accounts::AccountId;
use crate::auth::username::{plain_user, split};
use crate::config::{AccountAuthentication, AccountPolicy};
use crate::sip::uri::{Scheme, Uri};

/// What a request of an account still has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: it has proved who it is. Credentials it brings are not looked at.
    Open,
    /// A right digest.
    Digest,
    /// Nothing it could show would do: it is challenged, and its answers are wrong, as those of an
    /// account that does not exist.
    Closed,
}

impl Gate {
    /// The gate of an account with `policy` for a request from `source`, over a connection whose
    /// client certificate names the account or does not.
    #[must_use]
    pub fn of(policy: &AccountPolicy, source: SocketAddr, certified: bool) -> Gate {
        match (policy.authentication, policy.allows(source)) {
            (AccountAuthentication::Network | AccountAuthentication::Both, false) => Gate::Closed,
            (AccountAuthentication::Network | AccountAuthentication::Either, true) => Gate::Open,
            _ if certified => Gate::Open,
            _ => Gate::Digest,
        }
    }

    /// The account as [`authenticate`](crate::auth::check::authenticate) may see it.
    #[must_use]
    pub fn account(self, account: AccountId) -> Option<AccountId> {
        (self != Gate::Closed).then_some(account)
    }
}

/// Whether a URI of a client certificate (subjectAltName, RFC 5922 7.1) names the owner of the
/// canonical address-of-record `aor`: a sip or sips URI of the same user at the same host. A name
/// of the host alone is a domain's identity, not an account's.
#[must_use]
pub fn is_named_by(identity: &[u8], aor: &[u8]) -> bool {
    let Ok(uri) = Uri::parse(identity) else { return false };
    let (Some(user), Some((own_user, own_host))) = (uri.user, split(aor)) else { return false };
    let host = uri.host.strip_suffix(b".").unwrap_or(uri.host);
    matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
        && host.eq_ignore_ascii_case(own_host)
        && plain_user(user).eq(plain_user(own_user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_follows_from_policy_network_and_certificate() {
        use AccountAuthentication::{Both, Digest, Either, Network};
        let (inside, outside) = ("192.0.2.7", "198.51.100.7");
        let table = [
            // policy, source, certificate names the account, gate
            (Digest, inside, false, Gate::Digest),
            (Digest, inside, true, Gate::Open),
            (Digest, outside, false, Gate::Digest),
            (Digest, outside, true, Gate::Open),
            (Network, inside, false, Gate::Open),
            (Network, inside, true, Gate::Open),
            (Network, outside, false, Gate::Closed),
            (Network, outside, true, Gate::Closed),
            (Both, inside, false, Gate::Digest),
            (Both, inside, true, Gate::Open),
            (Both, outside, false, Gate::Closed),
            (Both, outside, true, Gate::Closed),
            (Either, inside, false, Gate::Open),
            (Either, inside, true, Gate::Open),
            (Either, outside, false, Gate::Digest),
            (Either, outside, true, Gate::Open),
        ];
        for (authentication, source, certified, gate) in table {
            let allow = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
            let policy = AccountPolicy { authentication, allow, ..AccountPolicy::default() };
            let of = |source: &str| {
                Gate::of(&policy, SocketAddr::new(source.parse().unwrap(), 5060), certified)
            };
            assert_eq!(of(source), gate, "{authentication} {source} {certified}");
            assert_eq!(of(&format!("::ffff:{source}")), gate, "a mapped address is the IPv4 one");
            let (v6_in, v6_out) = ("2001:db8:1::7", "2001:db9::7");
            assert_eq!(of(if source == inside { v6_in } else { v6_out }), gate);
        }
    }

    #[test]
    fn behind_a_closed_gate_there_is_no_account() {
        assert_eq!(Gate::Closed.account(AccountId(3)), None);
        assert_eq!(Gate::Digest.account(AccountId(3)), Some(AccountId(3)));
    }

    #[test]
    fn rfc5922_7_1_a_certificate_names_an_account_by_a_sip_uri() {
        let names = |identity: &str| is_named_by(identity.as_bytes(), b"alice@example.com");
        for good in [
            "sip:alice@example.com",
            "sips:alice@EXAMPLE.com:5061;transport=tls",
            "sip:%61lice@example.com.",
        ] {
            assert!(names(good), "{good}");
        }
        for bad in [
            "sip:example.com",
            "sip:bob@example.com",
            "sip:Alice@example.com",
            "sip:alice@example.net",
            "sip:alice@sub.example.com",
            "mailto:alice@example.com",
            "alice@example.com",
            "tel:+1",
            "",
        ] {
            assert!(!names(bad), "{bad}");
        }
        assert!(!is_named_by(b"sip:alice@example.com", b"example.com"));
    }
}
