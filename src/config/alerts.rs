//! When operators are told that something is out of the ordinary, and by which way.

use std::path::PathBuf;

/// The rules of alerts, and where they go. `None` switches a rule off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRules {
    /// What is out of the ordinary must be so for so long before an alert fires, 0-3600 s. Default
    /// 30.
    pub pending_s: u32,
    /// It must be over for so long before the alert is, 0-86400 s. Default 300.
    pub hold_off_s: u32,
    /// An alert that goes on is told again after so long, 60-604800 s. Default 14400.
    pub repeat_s: Option<u32>,
    /// Fewer registrations than this fall and rise as they like, 1-1000000000. Default 100.
    pub population_min: u32,
    /// Registrations so far below what is usual, 1-100 percent. Default 20.
    pub drop_percent: Option<u32>,
    /// Registrations so far above it, 1-100000 percent. Default 50.
    pub spike_percent: Option<u32>,
    /// Successful REGISTERs a second so far below what is usual, 1-100 percent. Default 60.
    pub rate_drop_percent: Option<u32>,
    /// New registrations a second so far above it, 1-100000 percent. Default 300.
    pub rate_spike_percent: Option<u32>,
    /// REGISTERs that fail, of all that are decided, 1-100 percent. Default 20.
    pub failures_percent: Option<u32>,
    /// Registrations of one source, 2-100000000. Default 1000.
    pub source_accounts: Option<u32>,
    /// Pairs of devices found to keep kicking each other within ten minutes, 1-1000000. Default 20.
    pub flapping: Option<u32>,
    /// The share of what the host can take that is in use, 1-100 percent. Default 70.
    pub capacity_percent: Option<u32>,
    /// Keepalives that went out too late, of all, 1-100 percent. Default 1.
    pub keepalives_percent: Option<u32>,
    /// What was shed for want of capacity is an alert. Default true.
    pub overload: bool,
    /// The patterns that shards find are alerts: walks, many suspensions, many sources, rapid
    /// registration. Default true.
    pub patterns: bool,
    /// Where alerts are posted. Default nowhere.
    pub webhook: Option<Webhook>,
    /// The file with the secret that signs what is posted. Default none.
    pub webhook_secret_file: Option<PathBuf>,
    /// The file of certificates that sign the other end's, PEM; the system's where there is none.
    /// Default none.
    pub webhook_ca: Option<PathBuf>,
}

impl Default for AlertRules {
    fn default() -> Self {
        AlertRules {
            pending_s: 30,
            hold_off_s: 300,
            repeat_s: Some(14_400),
            population_min: 100,
            drop_percent: Some(20),
            spike_percent: Some(50),
            rate_drop_percent: Some(60),
            rate_spike_percent: Some(300),
            failures_percent: Some(20),
            source_accounts: Some(1000),
            flapping: Some(20),
            capacity_percent: Some(70),
            keepalives_percent: Some(1),
            overload: true,
            patterns: true,
            webhook: None,
            webhook_secret_file: None,
            webhook_ca: None,
        }
    }
}

/// An address of the web that something is posted to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Webhook {
    /// Over TLS.
    pub secure: bool,
    /// The name or address of the host, an address of IPv6 without its brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query, `/` at least.
    pub path: String,
}

impl Webhook {
    /// Reads `https://host[:port][/path]`; `http` too, which whoever is on the way can read.
    #[must_use]
    pub fn read(text: &str) -> Option<Webhook> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => {
                if secure {
                    443
                } else {
                    80
                }
            }
            None => return None,
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        let is_path = |byte: u8| matches!(byte, b'!'..=b'~') && byte != b'#';
        let fits = !host.is_empty() && host.len() <= 253 && host.bytes().all(is_name);
        if !fits || path.len() > 1024 || !path.bytes().all(is_path) {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Webhook { secure, host: host.to_owned(), port, path })
    }

    /// Host and port as they stand in a request.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl std::fmt::Display for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_read_and_written_back() {
        for (text, expected) in [
            ("https://a.example.com", "https://a.example.com/"),
            ("HTTPS://a.example.com:443/x?y=1", "https://a.example.com/x?y=1"),
            ("http://127.0.0.1:9093/api", "http://127.0.0.1:9093/api"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/"),
            ("http://[::1]/?a", "http://[::1]/?a"),
            ("https://host?q", "https://host/?q"),
        ] {
            let read = Webhook::read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read.to_string(), expected);
            assert_eq!(Webhook::read(expected), Some(read));
        }
        for bad in [
            "",
            "a.example.com",
            "ftp://a",
            "https://",
            "https://a:0",
            "https://a:x",
            "https://a:70000",
            "https://u:p@a",
            "https://a/ b",
            "https://a/#x",
            "https://[a]",
            "https://[::1]x",
            "https://a\r\nb",
        ] {
            assert_eq!(Webhook::read(bad), None, "{bad}");
        }
    }
}
