//! The text of one value: switches, whole numbers with units, words, addresses, CPU lists. Owns no
//! name and no range except those that are part of a value's form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Algorithms, Backend, Listen, MinExpiresPolicy, SIP_PORT, Transport};
use crate::limits::{LISTENERS_MAX, SHARDS_MAX};

/// The unit a bare number of a parameter stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain count, or no number at all.
    None,
    /// Seconds; `ms`, `s`, `m`, `h` and `d` are understood.
    Seconds,
    /// Hundredths; `%` is understood.
    Percent,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::None => "",
            Unit::Seconds => "s",
            Unit::Percent => "%",
        })
    }
}

/// What was wrong with one item of a value: its place in the list (0 where there is no list), and
/// what would have been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which item.
    pub item: usize,
    /// What is taken instead.
    pub expected: String,
}

fn malformed(item: usize, expected: impl Into<String>) -> Malformed {
    Malformed { item, expected: expected.into() }
}

/// `On`, `Off`, `1`, `0`, `true`, `false` in any case.
#[must_use]
pub fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "1" | "true" => Some(true),
        "off" | "0" | "false" => Some(false),
        _ => None,
    }
}

/// A whole number in the parameter's unit, with another unit of the same kind converted. What is
/// too large for the type saturates: every range ends far below. A fraction of the parameter's
/// unit is no whole number and gives `None`, like any other text.
#[must_use]
pub fn whole(text: &str, unit: Unit) -> Option<u64> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let number = digits.parse::<u64>().unwrap_or(u64::MAX);
    let suffix = suffix.trim_start().to_ascii_lowercase();
    let factor = match (unit, suffix.as_str()) {
        (_, "") | (Unit::Seconds, "s") | (Unit::Percent, "%") => 1,
        (Unit::Seconds, "ms") => return number.is_multiple_of(1000).then_some(number / 1000),
        (Unit::Seconds, "m") => 60,
        (Unit::Seconds, "h") => 3600,
        (Unit::Seconds, "d") => 86_400,
        _ => return None,
    };
    Some(number.saturating_mul(factor))
}

/// `refuse` or `raise`.
pub fn min_expires_policy(text: &str) -> Result<MinExpiresPolicy, Malformed> {
    match text.to_ascii_lowercase().as_str() {
        "refuse" => Ok(MinExpiresPolicy::Refuse),
        "raise" => Ok(MinExpiresPolicy::Raise),
        _ => Err(malformed(0, "refuse or raise")),
    }
}

/// `mmsg` or `uring`.
pub fn backend(text: &str) -> Result<Backend, Malformed> {
    match text.to_ascii_lowercase().as_str() {
        "mmsg" => Ok(Backend::Mmsg),
        "uring" => Ok(Backend::Uring),
        _ => Err(malformed(0, "mmsg or uring")),
    }
}

/// `auto`, or how many.
pub fn reactors(text: &str) -> Result<Option<u8>, Malformed> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    match whole(text, Unit::None).and_then(|n| u8::try_from(n).ok()) {
        Some(n) if n >= 1 && usize::from(n) <= SHARDS_MAX => Ok(Some(n)),
        _ => Err(malformed(0, format!("auto or 1-{SHARDS_MAX}"))),
    }
}

/// Names of digest algorithms as RFC 8760 2.2 registers them, each at most once, at least one.
/// Their order does not matter: challenges go strongest first.
pub fn algorithms(items: &[&str]) -> Result<Algorithms, Malformed> {
    let mut set = Algorithms { sha256: false, md5: false };
    for (at, item) in items.iter().enumerate() {
        let member = match item.to_ascii_uppercase().as_str() {
            "SHA-256" => &mut set.sha256,
            "MD5" => &mut set.md5,
            _ => return Err(malformed(at, "SHA-256, MD5 or both")),
        };
        if std::mem::replace(member, true) {
            return Err(malformed(at, "each algorithm once"));
        }
    }
    if items.is_empty() {
        return Err(malformed(0, "SHA-256, MD5 or both"));
    }
    Ok(set)
}

/// Listeners, at least one. What overlaps is refused here: at the start it would look as if
/// another server had the port.
pub fn listen(items: &[&str]) -> Result<Vec<Listen>, Malformed> {
    if items.is_empty() || items.len() > LISTENERS_MAX {
        return Err(malformed(
            items.len().saturating_sub(1),
            format!("1 to {LISTENERS_MAX} listeners, such as udp:0.0.0.0:5060"),
        ));
    }
    let mut all: Vec<Listen> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let one = listener(item).map_err(|expected| malformed(at, expected))?;
        if all.iter().any(|other| overlap(&one, other)) {
            let what = "each address of a port once; a wildcard has them all";
            return Err(malformed(at, what));
        }
        all.push(one);
    }
    Ok(all)
}

/// Whether the kernel would refuse the second of these, port 0 aside.
fn overlap(one: &Listen, other: &Listen) -> bool {
    let (a, b) = (one.addr, other.addr);
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    one.transport == other.transport
        && a.port() != 0
        && a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (wildcard || a.ip() == b.ip())
}

/// `udp:ADDRESS[:PORT]`; IPv6 stands in brackets. Host names are not looked up, except localhost:
/// which address a name gives may change, and start-up must not wait for DNS.
fn listener(text: &str) -> Result<Listen, String> {
    const FORM: &str = "udp:ADDRESS:PORT, such as udp:0.0.0.0:5060 or udp:[::]:5060";
    let Some((transport, rest)) = text.split_once(':') else { return Err(FORM.to_owned()) };
    match transport.to_ascii_lowercase().as_str() {
        "udp" => {}
        "tcp" | "tls" | "ws" | "wss" => {
            return Err(format!("udp (this version does not listen on {transport})"));
        }
        _ => return Err(FORM.to_owned()),
    }
    let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or(FORM)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(FORM.to_owned()),
        }
    } else {
        match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        }
    };
    let port = match port {
        None => SIP_PORT,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| "a port of 0-65535".to_owned())?
        }
        Some(_) => return Err("a port of 0-65535".to_owned()),
    };
    let ip = if host.eq_ignore_ascii_case("localhost") {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        host.parse().map_err(|_| "an IP address, names are not looked up".to_owned())?
    };
    if ip.is_ipv6() != rest.starts_with('[') {
        return Err(FORM.to_owned());
    }
    Ok(Listen { transport: Transport::Udp, addr: SocketAddr::new(ip, port) })
}

/// The largest CPU number the kernel's affinity masks hold here, `CPU_SETSIZE - 1`.
const CPU_MAX: u16 = 1023;

/// `all`, or CPU numbers and ranges (`0-3`), each CPU once, no more than there may be shards.
pub fn cpus(items: &[&str]) -> Result<Option<Vec<u16>>, Malformed> {
    if let [only] = items
        && only.eq_ignore_ascii_case("all")
    {
        return Ok(None);
    }
    let form = format!("all, or CPU numbers of 0-{CPU_MAX} such as 0-3,8");
    if items.is_empty() {
        return Err(malformed(0, form));
    }
    let number = |text: &str| {
        whole(text.trim(), Unit::None).and_then(|n| u16::try_from(n).ok()).filter(|n| *n <= CPU_MAX)
    };
    let mut list = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(malformed(at, form));
        };
        if first > last {
            return Err(malformed(at, form));
        }
        for cpu in first..=last {
            if list.contains(&cpu) {
                return Err(malformed(at, format!("CPU {cpu} once")));
            }
            list.push(cpu);
        }
        if list.len() > SHARDS_MAX {
            return Err(malformed(at, format!("at most {SHARDS_MAX} CPUs")));
        }
    }
    Ok(Some(list))
}

/// Longest domain name, bytes (RFC 1035 2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;

/// The host part of an address-of-record in lower case: a host name or an IP address by the
/// `host` rule of RFC 3261 25.1, IPv6 in brackets.
#[must_use]
pub fn domain(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    if let Some(inner) = name.strip_prefix('[') {
        let address = inner.strip_suffix(']')?;
        return address.parse::<std::net::Ipv6Addr>().ok().map(|_| name);
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= DOMAIN_BYTES_MAX && name.split('.').all(label_ok)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_in_any_case_and_spelling() {
        for on in ["On", "ON", "1", "true"] {
            assert_eq!(switch(on), Some(true), "{on}");
        }
        for off in ["Off", "off", "0", "False"] {
            assert_eq!(switch(off), Some(false), "{off}");
        }
        for neither in ["", "yes", "2", "onn"] {
            assert_eq!(switch(neither), None, "{neither}");
        }
    }

    #[test]
    fn durations_take_units_or_stand_bare_in_seconds() {
        let seconds = |text| whole(text, Unit::Seconds);
        assert_eq!(seconds("30"), Some(30));
        assert_eq!(seconds("30s"), Some(30));
        assert_eq!(seconds("30 s"), Some(30));
        assert_eq!(seconds("5m"), Some(300));
        assert_eq!(seconds("2h"), Some(7200));
        assert_eq!(seconds("1D"), Some(86_400));
        assert_eq!(seconds("3000ms"), Some(3));
    }

    #[test]
    fn a_fraction_of_the_unit_is_refused_not_rounded() {
        assert_eq!(whole("500ms", Unit::Seconds), None);
        assert_eq!(whole("1.5", Unit::Seconds), None);
        assert_eq!(whole("1.5m", Unit::Seconds), None);
    }

    #[test]
    fn a_unit_of_another_kind_is_refused() {
        assert_eq!(whole("10%", Unit::Seconds), None);
        assert_eq!(whole("10s", Unit::Percent), None);
        assert_eq!(whole("10s", Unit::None), None);
        assert_eq!(whole("-1", Unit::None), None);
        assert_eq!(whole("", Unit::None), None);
        assert_eq!(whole("s", Unit::Seconds), None);
    }

    #[test]
    fn percentages_take_their_sign_with_or_without_a_space() {
        for text in ["10", "10%", "10 %"] {
            assert_eq!(whole(text, Unit::Percent), Some(10), "{text}");
        }
    }

    #[test]
    fn numbers_past_the_type_saturate() {
        assert_eq!(whole("99999999999999999999999", Unit::None), Some(u64::MAX));
        assert_eq!(whole("18446744073709551615d", Unit::Seconds), Some(u64::MAX));
    }

    #[test]
    fn listeners_name_transport_address_and_port() {
        let addr = |text: &str| listen(&[text]).map(|all| all[0].addr.to_string());
        assert_eq!(addr("udp:127.0.0.1:5070").as_deref(), Ok("127.0.0.1:5070"));
        assert_eq!(addr("UDP:0.0.0.0").as_deref(), Ok("0.0.0.0:5060"));
        assert_eq!(addr("udp:[::1]:0").as_deref(), Ok("[::1]:0"));
        assert_eq!(addr("udp:[::]").as_deref(), Ok("[::]:5060"));
        assert_eq!(addr("udp:localhost:5061").as_deref(), Ok("127.0.0.1:5061"));
    }

    #[test]
    fn listeners_out_of_form_are_refused() {
        for text in [
            "",
            "udp",
            "udp:",
            "udp:1.2.3.4:",
            "udp:1.2.3.4:70000",
            "udp:1.2.3.4:+1",
            "udp:::1:5060",
            "udp:[1.2.3.4]:5060",
            "udp:[::1",
            "udp:[::1]5060",
            "udp:sip.example.com:5060",
            "sctp:1.2.3.4:5060",
            "127.0.0.1:5060",
        ] {
            assert!(listen(&[text]).is_err(), "{text}");
        }
        let tcp = listen(&["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]).unwrap_err();
        assert_eq!(tcp, malformed(1, "udp (this version does not listen on tcp)"));
    }

    #[test]
    fn the_same_listener_twice_is_refused_but_port_0_may_repeat() {
        assert_eq!(listen(&["udp:1.2.3.4:1", "udp:1.2.3.4:1"]).unwrap_err().item, 1);
        assert_eq!(listen(&["udp:1.2.3.4:0", "udp:1.2.3.4:0"]).map(|all| all.len()), Ok(2));
    }

    #[test]
    fn a_wildcard_and_an_address_of_its_port_overlap_but_families_and_ports_do_not() {
        for (one, other) in [("udp:0.0.0.0:1", "udp:1.2.3.4:1"), ("udp:[::1]:1", "udp:[::]:1")] {
            assert_eq!(listen(&[one, other]).unwrap_err().item, 1, "{one} {other}");
        }
        let apart = ["udp:0.0.0.0:1", "udp:[::]:1", "udp:1.2.3.4:2", "udp:0.0.0.0:0"];
        assert_eq!(listen(&apart).map(|all| all.len()), Ok(4));
    }

    #[test]
    fn listeners_are_bounded_both_ways() {
        assert!(listen(&[]).is_err());
        let texts: Vec<String> =
            (1..=LISTENERS_MAX + 1).map(|p| format!("udp:1.1.1.1:{p}")).collect();
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!(listen(&all[..LISTENERS_MAX]).is_ok());
        assert!(listen(&all).is_err());
    }

    #[test]
    fn cpu_lists_take_numbers_and_ranges_in_order() {
        assert_eq!(cpus(&["all"]), Ok(None));
        assert_eq!(cpus(&["2", "0-1"]), Ok(Some(vec![2, 0, 1])));
        for bad in [&["3-1"][..], &["0", "0"], &["0-2", "1"], &["x"], &["1024"], &[], &["0-200"]] {
            assert!(cpus(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn algorithms_are_a_set() {
        assert_eq!(algorithms(&["md5"]), Ok(Algorithms::MD5));
        assert_eq!(algorithms(&["MD5", "sha-256"]), Ok(Algorithms::BOTH));
        assert_eq!(algorithms(&["MD5", "MD5"]).unwrap_err().item, 1);
        assert!(algorithms(&["MD5-sess"]).is_err());
        assert!(algorithms(&[]).is_err());
    }

    #[test]
    fn reactors_are_counted_or_automatic() {
        assert_eq!(reactors("auto"), Ok(None));
        assert_eq!(reactors("1"), Ok(Some(1)));
        assert_eq!(reactors("128"), Ok(Some(128)));
        for bad in ["0", "129", "256", "-1", ""] {
            assert!(reactors(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_are_hosts_in_lower_case() {
        assert_eq!(domain("Example.COM").as_deref(), Some("example.com"));
        assert_eq!(domain("10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(domain("[2001:DB8::1]").as_deref(), Some("[2001:db8::1]"));
        for bad in ["", ".", "a..b", "-a.com", "a_b", "a b", "[::1", "[1.2.3.4]", "e\u{e9}.com"] {
            assert_eq!(domain(bad), None, "{bad}");
        }
        assert_eq!(domain(&"a.".repeat(127)), None);
    }
}
