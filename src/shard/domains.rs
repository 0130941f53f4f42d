//! The domains this process is registrar for. What is not among them is not challenged but
//! refused: which domains are served is no secret, which accounts exist is.

use crate::config::Domain;
use crate::limits::AOR_BYTES_MAX;

/// The served domains, found by name.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    /// Sorted by name.
    by_name: Vec<Domain>,
}

impl Domains {
    /// The set of `domains`; of two with the same name the first counts.
    #[must_use]
    pub fn new(mut domains: Vec<Domain>) -> Self {
        for domain in &mut domains {
            domain.name.make_ascii_lowercase();
        }
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        domains.dedup_by(|a, b| a.name == b.name);
        Domains { by_name: domains }
    }

    /// The domain of that name, which must be in lower case as it is in a canonical AOR.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Domain> {
        // Nearly every installation serves one domain.
        match self.by_name.as_slice() {
            [only] => (only.name.as_bytes() == name).then_some(only),
            many => {
                let at = many.binary_search_by(|domain| domain.name.as_bytes().cmp(name)).ok()?;
                Some(&many[at])
            }
        }
    }

    /// Whether a Request-URI with this host is for us: a served domain in any case, or an
    /// address, which can only be one of ours, since the request arrived here.
    #[must_use]
    pub fn serves_host(&self, host: &[u8]) -> bool {
        if is_address(host) {
            return true;
        }
        let mut lower = [0; AOR_BYTES_MAX];
        // A longer name is no part of an address-of-record.
        let Some(lower) = lower.get_mut(..host.len()) else { return false };
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        self.find(lower).is_some()
    }
}

/// Whether a URI's host is a literal IPv4 address or an IPv6 reference (RFC 3261 25.1).
fn is_address(host: &[u8]) -> bool {
    // Most hosts are names, and those that begin like one are nothing else.
    if !host.first().is_some_and(|&first| first == b'[' || first.is_ascii_digit()) {
        return false;
    }
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Algorithms;

    fn domain(name: &str) -> Domain {
        Domain { name: name.into(), algorithms: Algorithms::MD5, aliases: Vec::new() }
    }

    #[test]
    fn one_and_many_domains_are_found_by_exact_name() {
        let one = Domains::new(vec![domain("Example.COM")]);
        assert!(one.find(b"example.com").is_some());
        assert!(one.find(b"example.org").is_none());
        let many = Domains::new(vec![domain("b.test"), domain("a.test"), domain("c.test")]);
        for name in ["a.test", "b.test", "c.test"] {
            assert_eq!(many.find(name.as_bytes()).unwrap().name, name);
        }
        assert!(many.find(b"d.test").is_none());
        assert!(many.find(b"").is_none());
        assert!(Domains::default().find(b"a.test").is_none());
    }

    #[test]
    fn a_request_uri_names_a_served_domain_or_an_address() {
        let domains = Domains::new(vec![domain("example.com")]);
        assert!(domains.serves_host(b"EXAMPLE.com"));
        assert!(domains.serves_host(b"192.0.2.1"));
        assert!(domains.serves_host(b"[2001:db8::1]"));
        assert!(!domains.serves_host(b"2001:db8::1"));
        assert!(!domains.serves_host(b"sub.example.com"));
        assert!(!domains.serves_host(b"\xff"));
        assert!(!domains.serves_host(&[b'a'; AOR_BYTES_MAX + 1]));
        let many = Domains::new(vec![domain("b.test"), domain("a.test"), domain("c.test")]);
        assert!(many.serves_host(b"C.Test") && !many.serves_host(b"d.test"));
    }
}
