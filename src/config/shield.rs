//! What the kernel drops before it reaches Aorta: by which means, and how much of a source.

use std::path::PathBuf;

use super::words::words;

/// The kernel's share of the shield.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shield {
    /// By which means sources that are blocked whole are dropped. Default [`Kernel::Auto`].
    pub kernel: Kernel,
    /// The socket of `aorta-nft`, which changes nftables for it; `None` does without. Default
    /// `/run/aorta-nft/socket`.
    pub helper: Option<PathBuf>,
    /// The kernel drops what comes from blocked sources of loopback too. Default false.
    pub loopback: bool,
    /// Datagrams a second from one source that nftables lets through, 1-1000000; `None` sets no
    /// limit: over UDP an address can be forged, and its owner would pay for it. Default `None`.
    pub rate_per_s: Option<u32>,
    /// As many at once, 1-1000000. Default 3000.
    pub burst: u32,
    /// REGISTERs a second from one source that nftables lets through, 1-1000000; `None` sets no
    /// limit. Default `None`.
    pub register_rate_per_s: Option<u32>,
    /// As many at once, 1-1000000. Default 1500.
    pub register_burst: u32,
}

impl Default for Shield {
    fn default() -> Self {
        Shield {
            kernel: Kernel::Auto,
            helper: Some(PathBuf::from("/run/aorta-nft/socket")),
            loopback: false,
            rate_per_s: None,
            burst: 3000,
            register_rate_per_s: None,
            register_burst: 1500,
        }
    }
}

words! {
    /// By which means the kernel drops.
    pub enum Kernel: "auto, nftables, socket or off" {
        /// By nftables while `aorta-nft` is there and its table is loaded, else by socket filters.
        #[default]
        Auto = "auto",
        /// By nftables alone.
        Nftables = "nftables",
        /// By filters of the UDP sockets alone.
        Socket = "socket",
        /// Not at all: the guard does.
        Off = "off",
    }
}
