//! What the guard obeys: who may speak at all, how fast, and what a scanner looks like.

use ipnet::IpNet;

use super::Overload;

/// Limits of sources that have not proved who they are, signatures of scanners, and when a source
/// is blocked whole. A source is an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// SIP requests a second from one source, 1-1000000; `None` sets no limit. Default 20.
    pub rate_per_s: Option<u32>,
    /// As many at once, 1-1000000. Default 50.
    pub burst: u32,
    /// REGISTERs a second from one source, 1-1000000; `None` sets no limit. Default 5.
    pub register_rate_per_s: Option<u32>,
    /// As many at once, 1-1000000. Default 10.
    pub register_burst: u32,
    /// How many times the limits of one source all unproven sources of a /24 (IPv4) or /64 (IPv6)
    /// have together, 1-1000. Default 10.
    pub prefix_factor: u32,
    /// Limits of rate and the blacklist hold for loopback too. Default false.
    pub loopback: bool,
    /// Networks that no limit, signature or blacklist holds for. Whoever can send from an address
    /// of theirs is trusted, and over UDP addresses can be forged.
    pub trusted: Vec<IpNet>,
    /// Networks that are not served.
    pub blocked: Vec<IpNet>,
    /// What the User-Agent of a scanner contains, in any case.
    pub scanners: Vec<String>,
    /// What To, From or Call-ID of a scanner contains, in any case.
    pub scanner_patterns: Vec<String>,
    /// Sources that fail with many accounts, or are seen to scan, are blocked whole for a time.
    /// Default true.
    pub blacklist: bool,
    /// The score at which a source without proven accounts is blocked, 10-10000. Default 100.
    pub block_score: u32,
    /// The first block of a source, seconds, 10-86400; each further one is twice as long. Default
    /// 600.
    pub block_time_s: u32,
    /// The longest block, seconds, 10-2592000. Default 86400.
    pub block_time_max_s: u32,
    /// Sources of each kind (proven, unproven, prefixes) that a reactor remembers, 1024-16777216,
    /// rounded up to a power of two. Default 65536: some 8 MiB.
    pub sources_max: u32,
    /// Who is shed when more comes than can be answered.
    pub overload: Overload,
}

impl Default for Guard {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Guard {
            rate_per_s: Some(20),
            burst: 50,
            register_rate_per_s: Some(5),
            register_burst: 10,
            prefix_factor: 10,
            loopback: false,
            trusted: Vec::new(),
            blocked: Vec::new(),
            scanners: words(&[
                "friendly-scanner",
                "VaxSIPUserAgent",
                "sipvicious",
                "SIPScan",
                "sipcli",
            ]),
            scanner_patterns: words(&["sipvicious", "sip:nm@nm", "sip:smap@"]),
            blacklist: true,
            block_score: 100,
            block_time_s: 600,
            block_time_max_s: 86_400,
            sources_max: 65_536,
            overload: Overload::default(),
        }
    }
}

impl Guard {
    /// One that lets everybody through: no limits, no signatures, no blacklist, nobody shed.
    #[must_use]
    pub fn off() -> Guard {
        Guard {
            rate_per_s: None,
            register_rate_per_s: None,
            scanners: Vec::new(),
            scanner_patterns: Vec::new(),
            blacklist: false,
            sources_max: 1024,
            overload: Overload::off(),
            ..Guard::default()
        }
    }
}
