//! Configuration as plain structs with documented defaults and units; the layers below only see
//! these values. Names, aliases and ranges are [`parameters`]', the values together and their
//! origins [`settings`]', the text of one value [`value`]'s, that of a file [`mod@file`]'s. Nothing
//! here opens a file: text comes in as an argument.

pub mod file;
pub mod parameters;
pub mod refusal;
pub mod settings;
pub mod value;

mod nearest;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use file::load;
pub use refusal::{Origin, Refusal};
pub use settings::{Described, Settings};

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

/// RFC 3261 10.3 step 7 allows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinExpiresPolicy {
    /// 423 with Min-Expires.
    #[default]
    Refuse,
    /// Grant the minimum instead.
    Raise,
}

impl fmt::Display for MinExpiresPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MinExpiresPolicy::Refuse => "refuse",
            MinExpiresPolicy::Raise => "raise",
        })
    }
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
}

/// What `aorta serve` starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Where every reactor listens, at most [`LISTENERS_MAX`](crate::limits::LISTENERS_MAX).
    /// Default UDP port 5060 of every IPv4 address.
    pub listen: Vec<Listen>,
    /// The subscriber file; a relative path starts at the working directory. Default none.
    pub subscribers: Option<PathBuf>,
    /// Accounts u1..uN with passwords p1..pN in example.com. Default 0.
    pub test_accounts: u32,
    /// Reactors, 1-128; `None` is one for each allowed CPU. Default `None`.
    pub reactors: Option<u8>,
    /// The CPUs reactors are pinned to, in this order; `None` is every allowed one. Default `None`.
    pub cpus: Option<Vec<u16>>,
    /// How datagrams are moved. Default [`Backend::Mmsg`].
    pub backend: Backend,
}

impl Default for Serve {
    fn default() -> Self {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SIP_PORT);
        Serve {
            listen: vec![Listen { transport: Transport::Udp, addr: any }],
            subscribers: None,
            test_accounts: 0,
            reactors: None,
            cpus: None,
            backend: Backend::default(),
        }
    }
}

/// The port of SIP over UDP and TCP (RFC 3261 18.1.1).
pub const SIP_PORT: u16 = 5060;

/// One address to listen on, written `udp:HOST:PORT`; port 0 lets the kernel choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The transport.
    pub transport: Transport,
    /// The local address.
    pub addr: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transport::Udp = self.transport;
        write!(f, "udp:{}", self.addr)
    }
}

/// What carries SIP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
}

/// How a reactor moves datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// recvmmsg and sendmmsg.
    #[default]
    Mmsg,
    /// An io_uring of its own with multishot receive.
    Uring,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Mmsg => "mmsg",
            Backend::Uring => "uring",
        })
    }
}
