//! What may be said of one account beside its secrets. What is not said follows the process-wide
//! settings.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::value;
use super::words::words;
use super::{KeepaliveForm, NatOverride, Replace};

/// What holds for one account; `Default` says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountPolicy {
    /// Its shortest registration, seconds, 1-3600. Where it is above the longest that would hold,
    /// that is raised to it.
    pub expires_min_s: Option<u32>,
    /// Its longest registration, seconds, 20-86400. Where it is below the shortest that would
    /// hold, that is lowered to it.
    pub expires_max_s: Option<u32>,
    /// Its limit of concurrent bindings, 1-64.
    pub bindings_max: Option<u8>,
    /// What it meets over that limit.
    pub replace: Option<Replace>,
    /// How it proves who it is.
    pub authentication: AccountAuthentication,
    /// The networks it comes from, or single addresses with their ports, at most
    /// [`ACCOUNT_NETWORKS_MAX`](crate::limits::ACCOUNT_NETWORKS_MAX). Empty exactly where
    /// `authentication` does not look at the source.
    pub allow: Vec<AllowedSource>,
    /// Whether its phones are behind NAT; `None` is as its network says.
    pub nat: Option<NatOverride>,
    /// What keeps their pinholes open; `None` is as its network or everybody's settings say.
    pub keepalive: Option<KeepaliveForm>,
    /// Contacts of a device that never registers, at most
    /// [`STATIC_CONTACTS_MAX`](crate::limits::STATIC_CONTACTS_MAX). They never expire, nothing
    /// replaces them, and they do not count towards the limit of bindings.
    pub static_contacts: Vec<StaticContact>,
}

impl AccountPolicy {
    /// Whether it says nothing at all, so that none need be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == AccountPolicy::default()
    }

    /// The shortest and the longest registration of this account, seconds, where those of everybody
    /// are given. What is said of the account holds over what is said of all.
    #[must_use]
    pub fn expires_s(&self, min_s: u32, max_s: u32) -> (u32, u32) {
        match (self.expires_min_s, self.expires_max_s) {
            (Some(min), Some(max)) => (min, max),
            (Some(min), None) => (min, max_s.max(min)),
            (None, Some(max)) => (min_s.min(max), max),
            (None, None) => (min_s, max_s),
        }
    }

    /// Whether somebody may be let in without a digest, by his network alone.
    #[must_use]
    pub fn needs_no_digest(&self) -> bool {
        let by = self.authentication;
        matches!(by, AccountAuthentication::Network | AccountAuthentication::Either)
    }

    /// The networks of those of some policies that need no digest, each once.
    pub fn networks_of<'p>(policies: impl Iterator<Item = &'p AccountPolicy>) -> Arc<[IpNet]> {
        let policies = policies.filter(|policy| policy.needs_no_digest());
        let networks = policies.flat_map(|policy| policy.allow.iter().map(|one| one.network));
        networks.collect::<BTreeSet<IpNet>>().into_iter().collect()
    }

    /// Whether an address is in one of its networks. An IPv4 address is one also where it was met
    /// as part of IPv6.
    #[must_use]
    pub fn allows(&self, source: SocketAddr) -> bool {
        self.allow.iter().any(|allowed| allowed.contains(source))
    }
}

/// Where an account may come from: a network, from any port, or one address from one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedSource {
    /// The network; that of one address where a port is given.
    pub network: IpNet,
    /// The only port, if one is given.
    pub port: Option<u16>,
}

impl AllowedSource {
    /// Whether a source is this one.
    #[must_use]
    pub fn contains(&self, source: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == source.port())
            && self.network.contains(&source.ip().to_canonical())
    }
}

/// A network such as `192.0.2.0/24`, an address, or an address and its port, IPv6 in brackets then.
impl FromStr for AllowedSource {
    type Err = String;

    fn from_str(text: &str) -> Result<AllowedSource, String> {
        match text.parse::<SocketAddr>() {
            Ok(at) if at.port() == 0 => Err("a port other than 0".to_owned()),
            Ok(at) => {
                Ok(AllowedSource { network: at.ip().to_canonical().into(), port: Some(at.port()) })
            }
            Err(_) => value::network(text).map(|network| AllowedSource { network, port: None }),
        }
    }
}

impl fmt::Display for AllowedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.network.addr(), port).fmt(f),
            None => self.network.fmt(f),
        }
    }
}

/// A contact that is always bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticContact {
    /// A SIP or SIPS URI without brackets.
    pub uri: String,
    /// Its q-value in thousandths (RFC 3261 20.10); `None` where none is given.
    pub q_milli: Option<u16>,
}

words! {
    /// How an account proves who it is.
    pub enum AccountAuthentication: "digest, network, both or either" {
        /// By digest, from anywhere.
        #[default]
        Digest = "digest",
        /// By coming from a network of its `allow` list; no password is asked.
        Network = "network",
        /// By digest, from a network of its `allow` list.
        Both = "both",
        /// By coming from a network of its `allow` list, or else by digest.
        Either = "either",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_an_account_holds_over_that_of_all() {
        let of = |min, max| AccountPolicy {
            expires_min_s: min,
            expires_max_s: max,
            ..AccountPolicy::default()
        };
        assert_eq!(of(None, None).expires_s(60, 3600), (60, 3600));
        assert_eq!(of(Some(30), Some(90)).expires_s(60, 3600), (30, 90));
        assert_eq!(of(Some(120), None).expires_s(60, 100), (120, 120));
        assert_eq!(of(None, Some(30)).expires_s(60, 3600), (30, 30));
    }

    #[test]
    fn an_allowed_source_is_a_network_or_one_address_with_its_port() {
        for (text, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.7:1", "192.0.3.7:1"),
            ("192.0.2.7", "192.0.2.7:9", "192.0.2.8:9"),
            ("192.0.2.7:5060", "192.0.2.7:5060", "192.0.2.7:5061"),
            ("192.0.2.7:5060", "[::ffff:192.0.2.7]:5060", "192.0.2.8:5060"),
            ("[2001:db8::7]:5060", "[2001:db8::7]:5060", "[2001:db8::7]:5062"),
        ] {
            let allowed: AllowedSource = text.parse().unwrap();
            assert!(allowed.contains(inside.parse().unwrap()), "{text}");
            assert!(!allowed.contains(outside.parse().unwrap()), "{text}");
            assert_eq!(allowed.to_string().parse(), Ok(allowed), "{text}");
        }
        for bad in ["", "192.0.2.7:0", "192.0.2.7:70000", "192.0.2.0/24:5060", "192.0.2.7:", "a:1"]
        {
            assert!(bad.parse::<AllowedSource>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_looked_for_in_the_networks_of_its_own_family() {
        let allow = ["192.0.2.0/24", "2001:db8::/32"].map(|text| text.parse().unwrap()).to_vec();
        let policy = AccountPolicy { allow, ..AccountPolicy::default() };
        for (source, expected) in [
            ("192.0.2.9", true),
            ("::ffff:192.0.2.9", true),
            ("192.0.3.9", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            let source = SocketAddr::new(source.parse().unwrap(), 5060);
            assert_eq!(policy.allows(source), expected, "{source}");
        }
        assert!(!AccountPolicy::default().allows("192.0.2.9:1".parse().unwrap()));
    }
}
