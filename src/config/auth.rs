//! What authentication obeys, and how one domain is served.

use std::fmt;

use super::words::words;

/// What authentication obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Age at which a nonce is stale, seconds, 30-86400. Default 3600.
    pub nonce_lifetime_s: u32,
    /// What challenges offer unless the domain says otherwise. Default MD5 alone.
    pub algorithms: Algorithms,
    /// SS_SIP_AUTHENTICATION_CODE: the status of a challenge. Default 401.
    pub challenge_code: ChallengeCode,
    /// SS_SIP_AUTHENTICATION_RETRY: wrong answers within one authentication session before 403,
    /// 0-999. Default 6.
    pub retry_max: u16,
    /// SS_SIP_AUTHENTICATION_TIMEOUT: time one authentication session may take, seconds, 1-3600.
    /// Default 10.
    pub session_timeout_s: u32,
    /// A 200 names the next nonce once the one in use is past half its lifetime
    /// (Authentication-Info, RFC 7616 3.5). Default true.
    pub next_nonce: bool,
    /// Who is suspended, when and for how long.
    pub suspension: Suspension,
    /// SS_REPLY_UNAUTHORIZED: senders who are not known are told so. Otherwise they hear nothing.
    /// Default true.
    pub reply_unauthorized: bool,
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            nonce_lifetime_s: 3600,
            algorithms: Algorithms::MD5,
            challenge_code: ChallengeCode::Unauthorized,
            retry_max: 6,
            session_timeout_s: 10,
            next_nonce: true,
            suspension: Suspension::default(),
            reply_unauthorized: true,
        }
    }
}

/// After how many wrong passwords in a row an account is suspended for a source, and for how long.
/// Both families count at once; whichever trips first suspends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// SS_AUTHENTICATION_MAX_RETRY: failed password checks of any method before the suspension,
    /// 0-999; 0 is never. Default 6.
    pub checks_max: u16,
    /// SS_AUTHENTICATION_FAILED_SUSPEND: how long that suspension is, seconds, 60-3600. Default
    /// 180.
    pub checks_time_s: u32,
    /// SS_ENDPOINTREGISTERSUSPEND: failed REGISTERs suspend. Default true.
    pub registers: bool,
    /// SS_ENDPOINTREGISTERRETRY: failed REGISTERs before the suspension, 1-100. Default 6.
    pub registers_max: u16,
    /// SS_ENDPOINTREGISTERSUSPENDTIME: how long that suspension is, seconds, 60-86400. Default
    /// 180.
    pub registers_time_s: u32,
}

impl Default for Suspension {
    fn default() -> Self {
        Suspension {
            checks_max: 6,
            checks_time_s: 180,
            registers: true,
            registers_max: 6,
            registers_time_s: 180,
        }
    }
}

words! {
    /// The status of a challenge, and with it the names of the headers (RFC 3261 22.2, 22.3).
    pub enum ChallengeCode: "401 or 407" {
        /// 401 with WWW-Authenticate, as registrars do.
        #[default]
        Unauthorized = "401",
        /// 407 with Proxy-Authenticate.
        ProxyAuthenticationRequired = "407",
    }
}

impl ChallengeCode {
    /// The number on the status line.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            ChallengeCode::Unauthorized => 401,
            ChallengeCode::ProxyAuthenticationRequired => 407,
        }
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

impl fmt::Display for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.sha256, self.md5) {
            (true, true) => "SHA-256, MD5",
            (true, false) => "SHA-256",
            (false, true) => "MD5",
            (false, false) => "none",
        })
    }
}

/// One served domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Lower-case host as it stands in addresses-of-record; also the realm of its challenges.
    pub name: String,
    /// What its challenges offer.
    pub algorithms: Algorithms,
    /// Other hosts, in lower case, whose addresses-of-record are this domain's. None of them is a
    /// domain or an alias of another.
    pub aliases: Vec<String>,
}
