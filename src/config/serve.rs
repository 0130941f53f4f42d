//! What `aorta serve` starts with: where it listens, on how many reactors, with which accounts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::words::words;
use crate::flow::Transport;

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
    /// Of so many batches one is timed, 1-1000000; `None` times none. Default 32.
    pub latency_sampling: Option<u32>,
    /// Whether the kernel is taught which reactor a phone's datagrams are for. Default
    /// [`Steering::Auto`].
    pub steering: Steering,
    /// How many phones it remembers for that, 1024-16777216. Default 262144.
    pub steered_sources: u32,
    /// Where the admin interface listens. Default nowhere.
    pub admin: Option<SocketAddr>,
    /// The file with its token; a relative path starts at the working directory. Default none.
    pub admin_token_file: Option<PathBuf>,
    /// The file of security events; a relative path starts at the working directory. Default none.
    pub security_log: Option<PathBuf>,
    /// Its size before it is renamed and another begun, bytes, 65536-1073741824. Default 10 MiB.
    pub security_log_bytes_max: u32,
    /// How many such files there are, 1-100. Default 5.
    pub security_log_files: u8,
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
            latency_sampling: Some(32),
            steering: Steering::default(),
            steered_sources: 262_144,
            admin: None,
            admin_token_file: None,
            security_log: None,
            security_log_bytes_max: 10 << 20,
            security_log_files: 5,
        }
    }
}

/// The port of SIP over UDP and TCP (RFC 3261 18.1.1).
pub const SIP_PORT: u16 = 5060;

/// The port a transport listens on where none is named: 5060 and 5061 (RFC 3261 18.1.1 and 19.1.2),
/// 80 and 443 for WebSocket (RFC 6455 3, RFC 7118).
#[must_use]
pub const fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => SIP_PORT,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}

/// One address to listen on, written `TRANSPORT:HOST:PORT`; port 0 lets the kernel choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The transport.
    pub transport: Transport,
    /// The local address.
    pub addr: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.addr)
    }
}

words! {
    /// How a reactor moves datagrams.
    pub enum Backend: "mmsg or uring" {
        /// recvmmsg and sendmmsg.
        #[default]
        Mmsg = "mmsg",
        /// An io_uring of its own with multishot receive.
        Uring = "uring",
    }
}

words! {
    /// Whether the kernel is taught which reactor a phone's datagrams are for.
    pub enum Steering: "auto, on or off" {
        /// Where it can be.
        #[default]
        Auto = "auto",
        /// It must be.
        On = "on",
        /// Not at all: the kernel's hash of addresses and ports chooses.
        Off = "off",
    }
}
