//! The text of one value: switches, whole numbers with units, words, addresses, CPU lists. Owns no
//! name and no range except those that are part of a value's form.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Algorithms, KeepaliveForm, KeepaliveMessage, Listen, NatTests, Webhook, default_port};
use crate::flow::Transport;
use crate::limits::{
    DOMAIN_ALIASES_MAX, GEO_DATABASES_MAX, GUARD_NETWORKS_MAX, KEEPALIVE_BYTES_MAX, LISTENERS_MAX,
    NETWORKS_MAX, ORIGINS_MAX, SCANNER_WORD_BYTES_MAX, SCANNER_WORD_BYTES_MIN, SCANNER_WORDS_MAX,
    SERVICE_ROUTES_MAX, SHARDS_MAX, URI_SETTING_BYTES_MAX,
};

/// The unit a bare number of a parameter stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain count, or no number at all.
    None,
    /// Seconds; `ms`, `s`, `m`, `h` and `d` are understood.
    Seconds,
    /// Thousandths of a second; `ms`, `s`, `m`, `h` and `d` are understood.
    Milliseconds,
    /// Hundredths; `%` is understood.
    Percent,
    /// Bytes; `KiB`, `MiB` and `GiB` are understood.
    Bytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::None => "",
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
            Unit::Percent => "%",
            Unit::Bytes => "bytes",
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
        (_, "") | (Unit::Seconds, "s") | (Unit::Milliseconds, "ms") | (Unit::Percent, "%") => 1,
        (Unit::Milliseconds, "s") => 1000,
        (Unit::Milliseconds, "m") => 60_000,
        (Unit::Milliseconds, "h") => 3_600_000,
        (Unit::Milliseconds, "d") => 86_400_000,
        (Unit::Bytes, "b" | "byte" | "bytes") => 1,
        (Unit::Bytes, "kib") => 1 << 10,
        (Unit::Bytes, "mib") => 1 << 20,
        (Unit::Bytes, "gib") => 1 << 30,
        (Unit::Seconds, "ms") => return number.is_multiple_of(1000).then_some(number / 1000),
        (Unit::Seconds, "m") => 60,
        (Unit::Seconds, "h") => 3600,
        (Unit::Seconds, "d") => 86_400,
        _ => return None,
    };
    Some(number.saturating_mul(factor))
}

/// A word that is none of those `expected`.
pub(super) fn word(expected: &str) -> Malformed {
    malformed(0, expected)
}

/// Items as they stand in a table: separated by commas, which the reader takes apart again.
pub(super) fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// A path; empty text is none.
#[must_use]
pub fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// The address and port of the admin interface, the address written out or `localhost`; empty text
/// is none.
pub fn admin(text: &str) -> Result<Option<SocketAddr>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    address.map(Some).ok_or_else(|| malformed(0, "ADDRESS:PORT such as 127.0.0.1:8060"))
}

/// Networks such as `192.0.2.0/24`, or addresses, which are networks of one. Bits past the prefix
/// are refused rather than cut: whoever wrote them meant another network.
pub fn networks(items: &[&str]) -> Result<Vec<IpNet>, Malformed> {
    if items.len() > NETWORKS_MAX {
        return Err(malformed(items.len() - 1, format!("at most {NETWORKS_MAX} networks")));
    }
    let mut all = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let one = network(item).map_err(|expected| malformed(at, expected))?;
        if all.contains(&one) {
            return Err(malformed(at, "each network once"));
        }
        all.push(one);
    }
    Ok(all)
}

/// Networks of the guard: many, each once.
pub fn guard_networks(items: &[&str]) -> Result<Vec<IpNet>, Malformed> {
    if items.len() > GUARD_NETWORKS_MAX {
        let most = format!("at most {GUARD_NETWORKS_MAX} networks");
        return Err(malformed(items.len() - 1, most));
    }
    let mut known = BTreeSet::new();
    let one = |(at, item): (usize, &&str)| {
        let one = network(item).map_err(|expected| malformed(at, expected))?;
        if known.insert(one) { Ok(one) } else { Err(malformed(at, "each network once")) }
    };
    items.iter().enumerate().map(one).collect()
}

/// Words by which scanners are known.
pub fn scanner_words(items: &[&str]) -> Result<Vec<String>, Malformed> {
    if items.len() > SCANNER_WORDS_MAX {
        return Err(malformed(items.len() - 1, format!("at most {SCANNER_WORDS_MAX} words")));
    }
    let (least, most) = (SCANNER_WORD_BYTES_MIN, SCANNER_WORD_BYTES_MAX);
    let one = |(at, item): (usize, &&str)| {
        let printable = item.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let fits = printable && (least..=most).contains(&item.len());
        let expected = || format!("a word of {least}-{most} printable characters");
        if fits { Ok((*item).to_owned()) } else { Err(malformed(at, expected())) }
    };
    items.iter().enumerate().map(one).collect()
}

/// One network or address.
///
/// # Errors
/// What was expected.
pub fn network(text: &str) -> Result<IpNet, String> {
    const FORM: &str = "a network such as 192.0.2.0/24 or 2001:db8::/32, or an address";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| FORM.to_owned())?;
    if network.trunc() != network {
        return Err(format!("{} (no bits past the prefix)", network.trunc()));
    }
    Ok(network)
}

/// URIs of a Service-Route, in angle brackets or without.
pub fn service_route(items: &[&str]) -> Result<Vec<String>, Malformed> {
    if items.len() > SERVICE_ROUTES_MAX {
        let most = format!("at most {SERVICE_ROUTES_MAX} URIs");
        return Err(malformed(items.len() - 1, most));
    }
    let one = |(at, item): (usize, &&str)| {
        let bare = item.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(item);
        let form = "a SIP URI such as sip:proxy.example.com;lr";
        sip_uri(bare).map(str::to_owned).ok_or_else(|| malformed(at, form))
    };
    items.iter().enumerate().map(one).collect()
}

/// Text that begins as a SIP or SIPS URI with a host does and has only characters a URI may have
/// (RFC 3261 25.1). Whether it is one is for the parser to say.
#[must_use]
pub fn sip_uri(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let known = scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    let plain = |b: u8| b.is_ascii_graphic() && !b"<>\"`\\^{|}".contains(&b);
    let fits = (1..=URI_SETTING_BYTES_MAX).contains(&text.len()) && !rest.is_empty();
    (known && fits && rest.bytes().all(plain)).then_some(text)
}

/// Origins as a browser writes them: `scheme://host[:port]`, or `null` (RFC 6454 6.1).
pub fn origins(items: &[&str]) -> Result<Vec<String>, Malformed> {
    if items.len() > ORIGINS_MAX {
        return Err(malformed(items.len() - 1, format!("at most {ORIGINS_MAX} origins")));
    }
    let one = |(at, item): (usize, &&str)| {
        let origin = item.to_ascii_lowercase();
        let host = origin.strip_prefix("https://").or(origin.strip_prefix("http://"));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
        let fits = host.is_some_and(|host| {
            (1..=URI_SETTING_BYTES_MAX).contains(&host.len()) && host.bytes().all(plain)
        });
        let expected = "an origin such as https://phone.example.com, without a path";
        if fits || origin == "null" { Ok(origin) } else { Err(malformed(at, expected)) }
    };
    items.iter().enumerate().map(one).collect()
}

/// Where alerts are posted; empty text is nowhere.
pub fn webhook(text: &str) -> Result<Option<Webhook>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let expected = "https://host/path, without a user name, or empty";
    Webhook::read(text).map(Some).ok_or_else(|| malformed(0, expected))
}

/// Paths, each once; an empty list is none.
pub fn databases(items: &[&str]) -> Result<Vec<PathBuf>, Malformed> {
    if items.len() > GEO_DATABASES_MAX {
        let most = format!("at most {GEO_DATABASES_MAX} files");
        return Err(malformed(items.len() - 1, most));
    }
    let mut all: Vec<PathBuf> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let path = path(item).ok_or_else(|| malformed(at, "a path"))?;
        if all.contains(&path) {
            return Err(malformed(at, "each file once"));
        }
        all.push(path);
    }
    Ok(all)
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

/// Signs of NAT, each at most once; none is none.
pub fn nat_tests(items: &[&str]) -> Result<NatTests, Malformed> {
    let mut tests = NatTests::NONE;
    for (at, item) in items.iter().enumerate() {
        let expected = || format!("some of {}", NatTests::NAMES.join(", "));
        let sign = tests.sign_mut(item).ok_or_else(|| malformed(at, expected()))?;
        if std::mem::replace(sign, true) {
            return Err(malformed(at, "each sign once"));
        }
    }
    Ok(tests)
}

/// `CRLF`, `STUN` or `OPTIONS` in any case; nothing or `off`; any other text is sent as it is.
pub fn keepalive_message(text: &str) -> Result<KeepaliveMessage, Malformed> {
    Ok(match KeepaliveForm::from_word(text) {
        Some(KeepaliveForm::Off) => KeepaliveMessage::Off,
        Some(KeepaliveForm::Crlf) => KeepaliveMessage::Crlf,
        Some(KeepaliveForm::Stun) => KeepaliveMessage::Stun,
        Some(KeepaliveForm::Options) => KeepaliveMessage::Options,
        Some(KeepaliveForm::Raw) | None if text.is_empty() => KeepaliveMessage::Off,
        // A text of line ends and the like would not be the same again once it is printed.
        _ if text.chars().any(char::is_control) => {
            let what = "printable text (CRLF stands for an empty line), or nothing";
            return Err(malformed(0, what));
        }
        _ if text.len() > KEEPALIVE_BYTES_MAX => {
            return Err(malformed(0, format!("at most {KEEPALIVE_BYTES_MAX} bytes")));
        }
        _ => KeepaliveMessage::Raw(text.as_bytes().into()),
    })
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
    // Every transport but UDP listens on a TCP port.
    one.transport.is_connection() == other.transport.is_connection()
        && a.port() != 0
        && a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (wildcard || a.ip() == b.ip())
}

/// `TRANSPORT:ADDRESS[:PORT]`; IPv6 in brackets. Host names are not looked up, except localhost:
/// which address a name gives may change, and start-up must not wait for DNS.
fn listener(text: &str) -> Result<Listen, String> {
    const FORM: &str = "TRANSPORT:ADDRESS:PORT, such as udp:0.0.0.0:5060 or tls:[::]:5061";
    let Some((transport, rest)) = text.split_once(':') else { return Err(FORM.to_owned()) };
    let named = |one: &&Transport| transport.eq_ignore_ascii_case(one.word());
    let Some(&transport) = Transport::ALL.iter().find(named) else {
        return Err(format!("udp, tcp, tls, ws or wss in {FORM}"));
    };
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
        None => default_port(transport),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| "a port of 0-65535".to_owned())?
        }
        Some(_) => return Err("a port of 0-65535".to_owned()),
    };
    // A link-local address is one only on its interface (RFC 4007 11); the kernel counts these.
    let (host, interface) = match host.split_once('%') {
        None => (host, 0),
        Some((host, number)) => {
            let number = number.parse().ok().filter(|&number| number > 0);
            (host, number.ok_or("the number of an interface behind %, as `ip link` shows it")?)
        }
    };
    let ip = if host.eq_ignore_ascii_case("localhost") {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        host.parse().map_err(|_| "an IP address, names are not looked up".to_owned())?
    };
    if ip.is_ipv6() != rest.starts_with('[') {
        return Err(FORM.to_owned());
    }
    let addr = match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() == (interface > 0) => {
            SocketAddrV6::new(ip, port, 0, interface).into()
        }
        IpAddr::V4(_) if interface == 0 => SocketAddr::new(ip, port),
        _ => {
            const ONLY: &str = "an interface behind a link-local address and behind no other, \
                                such as udp:[fe80::1%2]:5060";
            return Err(ONLY.to_owned());
        }
    };
    Ok(Listen { transport, addr })
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

/// Other names of a domain, each once.
pub fn aliases(items: &[&str]) -> Result<Vec<String>, Malformed> {
    if items.len() > DOMAIN_ALIASES_MAX {
        return Err(malformed(items.len() - 1, format!("at most {DOMAIN_ALIASES_MAX} aliases")));
    }
    let mut all = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let one = domain(item).ok_or_else(|| malformed(at, "a host name or an IP address"))?;
        if all.contains(&one) {
            return Err(malformed(at, "each alias once"));
        }
        all.push(one);
    }
    Ok(all)
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
mod tests;
