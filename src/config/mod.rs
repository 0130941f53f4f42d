//! Configuration as plain structs with documented defaults and units. Reading files, checking
//! ranges and naming origins is [`parameters`]'s; the layers below only see these values.

pub mod parameters;

/// What the registrar core obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// SS_ENDPOINT_REGISTER_REPLACE: a REGISTER over the limit of bindings removes the oldest
    /// binding (true) or is refused (false). Default true.
    pub replace: bool,
    /// SERVER_REGISTRAR_MAX_BINDINGS: concurrent bindings of one address-of-record, 1-64.
    /// Default 1.
    pub bindings_max: u8,
    /// SS_ENDPOINT_EXPIRE: the longest registration granted, and what is granted when nothing is
    /// asked, seconds, 20-86400. Default 3600.
    pub expires_max_s: u32,
    /// The shortest registration, seconds, 1-3600. Default 60.
    pub expires_min_s: u32,
    /// What happens to a REGISTER that asks for less than the minimum.
    pub expires_min_policy: MinExpiresPolicy,
    /// Granted expiries are shortened by up to this many percent, 0-50. Default 10.
    pub expires_spread_percent: u8,
    /// Retry-After of a 503 for too many bindings, seconds, 1-3600. Default 60.
    pub retry_after_s: u32,
}

impl Default for Registrar {
    fn default() -> Self {
        Registrar {
            replace: true,
            bindings_max: 1,
            expires_max_s: 3600,
            expires_min_s: 60,
            expires_min_policy: MinExpiresPolicy::Refuse,
            expires_spread_percent: 10,
            retry_after_s: 60,
        }
    }
}

/// RFC 3261 10.3 step 6 allows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinExpiresPolicy {
    /// 423 with Min-Expires.
    #[default]
    Refuse,
    /// Grant the minimum instead.
    Raise,
}

/// What authentication obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Age at which a nonce is stale, seconds, 30-86400. Default 3600.
    pub nonce_lifetime_s: u32,
    /// What challenges offer unless the domain says otherwise. Default MD5 alone.
    pub algorithms: Algorithms,
}

impl Default for Auth {
    fn default() -> Self {
        Auth { nonce_lifetime_s: 3600, algorithms: Algorithms::MD5 }
    }
}

/// A set of digest algorithms; challenges list them strongest first (RFC 8760 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// SHA-256 is offered.
    pub sha256: bool,
    /// MD5 is offered.
    pub md5: bool,
}

impl Algorithms {
    /// MD5 alone, which every phone knows.
    pub const MD5: Algorithms = Algorithms { sha256: false, md5: true };
    /// SHA-256 alone.
    pub const SHA256: Algorithms = Algorithms { sha256: true, md5: false };
    /// SHA-256 first, then MD5.
    pub const BOTH: Algorithms = Algorithms { sha256: true, md5: true };
}

/// One served domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Lower-case host as it stands in addresses-of-record; also the realm of its challenges.
    pub name: String,
    /// What its challenges offer.
    pub algorithms: Algorithms,
}
