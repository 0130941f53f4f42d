//! The domains this process is registrar for. What is not among them is not challenged but
//! refused: which domains are served is no secret, which accounts exist is.

use crate::config::Domain;
use crate::limits::AOR_BYTES_MAX;

/// The served domains, found by name or alias.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    domains: Vec<Domain>,
    /// Names and aliases, sorted, each with the place of its domain.
    names: Vec<(String, u32)>,
}

impl Domains {
    /// The set of `domains`; of two with the same name the first counts, and a name counts before
    /// an alias.
    #[must_use]
    pub fn new(mut domains: Vec<Domain>) -> Self {
        for domain in &mut domains {
            domain.name.make_ascii_lowercase();
            domain.aliases.iter_mut().for_each(|alias| alias.make_ascii_lowercase());
        }
        let numbered = || (0..).zip(&domains);
        let mut names: Vec<(String, u32)> =
            numbered().map(|(number, domain)| (domain.name.clone(), number)).collect();
        names.extend(numbered().flat_map(|(number, domain)| {
            domain.aliases.iter().map(move |alias| (alias.clone(), number))
        }));
        // Stable, so that the order they were listed in decides between equals.
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names.dedup_by(|a, b| a.0 == b.0);
        Domains { domains, names }
    }

    /// The domain with that name or alias, which must be in lower case as it is in a canonical AOR.
    /// An AOR of an alias is canonical once it has the domain's own name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Domain> {
        // Nearly every installation serves one domain.
        let number = match self.names.as_slice() {
            [(only, number)] => (only.as_bytes() == name).then_some(*number)?,
            many => {
                let at = many.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
                many[at].1
            }
        };
        self.domains.get(number as usize)
    }

    /// The one domain there is; `None` if there are more, or none.
    #[must_use]
    pub fn only(&self) -> Option<&Domain> {
        match self.domains.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The domain that a Request-URI with this host means: the one of that name or alias, in any
    /// case; or, where the host is an address and only one domain is served, that.
    #[must_use]
    pub fn at_host(&self, host: &[u8]) -> Option<&Domain> {
        let mut lower = [0; AOR_BYTES_MAX];
        let lower = lower.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let lower = lower.strip_suffix(b".").unwrap_or(lower);
        match self.domains.as_slice() {
            [only] if is_address(host) => Some(only),
            _ => self.find(lower),
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
        let lower: &[u8] = lower;
        self.find(lower.strip_suffix(b".").unwrap_or(lower)).is_some()
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
    fn an_alias_finds_its_domain_and_is_no_domain_of_its_own() {
        let one =
            Domain { aliases: vec!["SIP.a.test".into(), "b.test".into()], ..domain("a.test") };
        let domains = Domains::new(vec![one, domain("b.test")]);
        assert_eq!(domains.find(b"sip.a.test").unwrap().name, "a.test");
        assert_eq!(domains.find(b"a.test").unwrap().name, "a.test");
        assert_eq!(domains.find(b"b.test").unwrap().name, "b.test");
        assert!(domains.serves_host(b"Sip.A.Test") && domains.find(b"c.test").is_none());
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

    #[test]
    fn an_address_means_the_only_domain_there_is() {
        let one = Domains::new(vec![domain("example.com")]);
        let name = |domains: &Domains, host: &[u8]| {
            domains.at_host(host).map(|domain| domain.name.clone())
        };
        for host in [&b"EXAMPLE.com"[..], b"example.com.", b"192.0.2.1", b"[2001:db8::1]"] {
            assert_eq!(name(&one, host).as_deref(), Some("example.com"), "{}", host.escape_ascii());
        }
        for host in [&b"example.org"[..], b"", b".", &[b'a'; AOR_BYTES_MAX + 1]] {
            assert_eq!(name(&one, host), None);
        }
        let alias = Domain { aliases: vec!["192.0.2.1".into()], ..domain("a.test") };
        let two = Domains::new(vec![alias, domain("b.test")]);
        assert_eq!(name(&two, b"192.0.2.1").as_deref(), Some("a.test"));
        assert_eq!(name(&two, b"192.0.2.2"), None);
    }
}
