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
    /// rounded up to a power of two; and as many proofs of its accounts. Default 65536: some
    /// 10 MiB.
    pub sources_max: u32,
    /// Who is shed when more comes than can be answered.
    pub overload: Overload,
    /// When many events are a pattern that somebody should look at.
    pub alerts: Alerts,
}

/// Patterns of many events, of which operators are told. `None` tells nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// The time over which events are counted; as long, a pattern that goes on is not told again.
    /// Seconds, 10-86400. Default 600.
    pub window_s: u32,
    /// Suspensions of so many accounts, 2-1000. Default 20.
    pub suspensions: Option<u16>,
    /// One account used, or tried, from so many sources, 2-64. Default 10.
    pub sources: Option<u8>,
    /// So many registrations of one account that each come within a tenth of the time granted,
    /// for each of its bindings, 2-10000. Default 30.
    pub registrations: Option<u16>,
}

impl Default for Alerts {
    fn default() -> Self {
        Alerts { window_s: 600, suspensions: Some(20), sources: Some(10), registrations: Some(30) }
    }
}

impl Alerts {
    /// Nothing is told.
    #[must_use]
    pub fn off() -> Alerts {
        Alerts { suspensions: None, sources: None, registrations: None, ..Alerts::default() }
    }
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
            alerts: Alerts::default(),
        }
    }
}

impl Guard {
    /// One that lets everybody through: no limits, no signatures, no blacklist, nobody shed, no
    /// alerts.
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
            alerts: Alerts::off(),
            ..Guard::default()
        }
    }
}
