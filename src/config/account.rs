//! What may be said of one account beside its secrets. What is not said follows the process-wide
//! settings.

use ipnet::IpNet;

use super::Replace;
use super::words::words;

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
    /// The networks it comes from, at most
    /// [`ACCOUNT_NETWORKS_MAX`](crate::limits::ACCOUNT_NETWORKS_MAX). Empty exactly where
    /// `authentication` does not look at the source.
    pub allow: Vec<IpNet>,
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
