//! What a request asks for, from the text of its query: filters, the size of a page, where it
//! begins. What cannot be read is refused, and so is what is not known: a filter that was mistyped
//! must not be taken for none.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::problem::Problem;
use crate::auth::suspension;
use crate::config::value::{Unit, whole};
use crate::flow;
use crate::limits::{BLOCK_S_MAX, FIND_TEXT_BYTES_MAX};
use crate::registrar::BindingId;
use crate::shard::ShardId;
use crate::sip::uri::{Scheme, Uri};

/// Most rows of one page.
pub const PAGE_ROWS_MAX: usize = 1000;
/// Rows of a page unless asked otherwise.
const PAGE_ROWS_DEFAULT: usize = 100;
/// The word for a suspension without an end.
const UNTIL_LIFTED: &str = "until_lifted";
/// Longest reason that is given for something, bytes.
const REASON_BYTES_MAX: usize = 256;
/// IPv4 addresses in IPv6 ones: `::ffff:0:0/96`.
const MAPPED_BITS: u8 = 96;

/// The parameters of a query, each there at most once and each one of those known.
pub(super) struct Query {
    values: Vec<(&'static str, String)>,
}

impl Query {
    /// Reads the text behind `?`.
    pub fn read(text: Option<&str>, known: &[&'static str]) -> Result<Query, Problem> {
        let mut values: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            let Some(&name) = known.iter().find(|known| **known == name) else {
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                let name: String = name.chars().take(64).collect();
                return Err(Problem::new(
                    axum::http::StatusCode::BAD_REQUEST,
                    format!("there is no parameter {name:?} here; known: {known}"),
                ));
            };
            if values.iter().any(|(before, _)| *before == name) {
                return Err(Problem::parameter(name, format!("{name} is given twice")));
            }
            values.push((name, value.into_owned()));
        }
        Ok(Query { values })
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// How many rows are wanted: `limit`.
    pub fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.value("limit") else { return Ok(PAGE_ROWS_DEFAULT) };
        match decimal(text) {
            Some(rows) if (1..=PAGE_ROWS_MAX).contains(&rows) => Ok(rows),
            _ => Err(Problem::parameter(
                "limit",
                format!("limit: expected 1 to {PAGE_ROWS_MAX}; more comes page by page, by next"),
            )),
        }
    }

    /// Where the page begins: `cursor`.
    pub fn cursor<P: Place>(&self, shards: u8) -> Result<Cursor<P>, Problem> {
        let Some(text) = self.value("cursor") else { return Ok(Cursor::FIRST) };
        Cursor::read(text, shards).ok_or_else(|| {
            Problem::parameter("cursor", "cursor: expected the next of the page before")
        })
    }

    /// An address-of-record, in the parameter of that name.
    pub fn aor_of(&self, name: &'static str) -> Result<Option<Box<[u8]>>, Problem> {
        let Some(text) = self.value(name) else { return Ok(None) };
        if text.is_empty() || text.len() > FIND_TEXT_BYTES_MAX {
            return Err(Problem::parameter(name, format!("{name}: expected user@domain")));
        }
        Ok(Some(with_plus(text).as_bytes().into()))
    }

    /// A contact: `contact`.
    pub fn contact(&self) -> Result<Option<Box<[u8]>>, Problem> {
        let Some(text) = self.value("contact") else { return Ok(None) };
        let text = with_plus(text);
        let has_scheme = matches!(
            Uri::parse(text.as_bytes()),
            Ok(Uri { scheme: Scheme::Sip | Scheme::Sips, .. })
        );
        let written = if has_scheme { text.into_owned() } else { format!("sip:{text}") };
        let good = written.len() <= FIND_TEXT_BYTES_MAX && Uri::parse(written.as_bytes()).is_ok();
        if !good {
            return Err(Problem::parameter(
                "contact",
                "contact: expected a SIP URI such as sip:alice@192.0.2.7:5060",
            ));
        }
        Ok(Some(written.into_bytes().into()))
    }

    /// A source address or network: `ip`.
    pub fn ip(&self) -> Result<Option<IpNet>, Problem> {
        let Some(text) = self.value("ip") else { return Ok(None) };
        network(text).map(Some).ok_or_else(|| {
            Problem::parameter(
                "ip",
                "ip: expected an address or a network, such as 192.0.2.7, 192.0.2.0/24 or \
                 2001:db8::/32",
            )
        })
    }

    /// Why something is done, for the record: `reason`.
    pub fn reason(&self) -> Result<Option<&str>, Problem> {
        match self.value("reason") {
            Some(text) if text.len() > REASON_BYTES_MAX => {
                let detail = format!("reason: {REASON_BYTES_MAX} bytes at most");
                Err(Problem::parameter("reason", detail))
            }
            reason => Ok(reason.filter(|text| !text.is_empty())),
        }
    }

    /// Whether accounts are to be suspended, and for how many seconds if not until that is lifted:
    /// `suspend`.
    pub fn suspend(&self) -> Result<Option<Option<u32>>, Problem> {
        let Some(text) = self.value("suspend") else { return Ok(None) };
        if text == UNTIL_LIFTED {
            return Ok(Some(None));
        }
        let seconds = whole(text, Unit::Seconds).filter(|seconds| *seconds > 0);
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        seconds
            .filter(|seconds| *seconds <= BLOCK_S_MAX)
            .map(|seconds| Some(Some(seconds)))
            .ok_or_else(|| {
                let detail = format!("suspend: expected such as 30m, 12h, 7d, or {UNTIL_LIFTED}");
                Problem::parameter("suspend", detail)
            })
    }

    /// One source, as [`source_of`] reads it: `ip`.
    pub fn source(&self) -> Result<Option<IpAddr>, Problem> {
        let Some(text) = self.value("ip") else { return Ok(None) };
        source_of(text).map(Some).ok_or_else(|| {
            let detail = "ip: expected an address such as 192.0.2.7, or a /64 of IPv6";
            Problem::parameter("ip", detail)
        })
    }

    /// The name of a binding: `binding`.
    pub fn binding(&self) -> Result<Option<(ShardId, BindingId)>, Problem> {
        let Some(text) = self.value("binding") else { return Ok(None) };
        binding(text).map(Some).ok_or_else(|| {
            Problem::parameter("binding", "binding: expected the name that a listing gave")
        })
    }
}

/// No user, host or address has a space in it, and numbers begin with a plus: who writes one
/// unescaped means it.
pub(super) fn with_plus(text: &str) -> Cow<'_, str> {
    if text.contains(' ') { text.replace(' ', "+").into() } else { text.into() }
}

/// A source: an address, or the network that a listing gave for it. What covers more, or less, than
/// a source does is not meant.
pub(super) fn source_of(text: &str) -> Option<IpAddr> {
    let listed = || {
        let net = text.parse::<IpNet>().ok()?;
        (flow::network(flow::culprit(net.addr())) == net.trunc()).then(|| net.addr())
    };
    text.parse().ok().or_else(listed).map(|ip: IpAddr| ip.to_canonical())
}

pub(super) fn network(text: &str) -> Option<IpNet> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(IpNet::from(ip.to_canonical()));
    }
    let network = text.parse::<IpNet>().ok()?.trunc();
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED_BITS => match v6.network().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - MAPPED_BITS).ok().map(IpNet::V4),
            None => Some(network),
        },
        _ => Some(network),
    }
}

/// Digits alone.
pub(super) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The name of a binding among those of all shards.
pub(super) fn binding_name(ShardId(shard): ShardId, id: BindingId) -> String {
    format!("{shard}-{}-{}", id.index, id.generation)
}

pub(super) fn binding(text: &str) -> Option<(ShardId, BindingId)> {
    let mut parts = text.split('-');
    let shard = ShardId(decimal(parts.next()?)?);
    let (index, generation) = (decimal(parts.next()?)?, decimal(parts.next()?)?);
    parts.next().is_none().then_some((shard, BindingId { index, generation }))
}

/// Where a page begins: at a place of one shard's table; then come the shards behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor<P> {
    pub shard: u8,
    pub place: P,
}

/// A place in a shard's table.
pub(super) trait Place: Copy {
    const FIRST: Self;
    fn read(text: &str) -> Option<Self>;
    fn text(self) -> String;
}

/// A slot of bindings.
impl Place for u32 {
    const FIRST: u32 = 0;

    fn read(text: &str) -> Option<u32> {
        decimal(text)
    }

    fn text(self) -> String {
        self.to_string()
    }
}

/// Behind a suspension; `None` before all of them.
impl Place for Option<suspension::Cursor> {
    const FIRST: Self = None;

    fn read(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(None);
        }
        let (until_nanos, place) = text.split_once('-')?;
        let (until_nanos, place) = (decimal(until_nanos)?, decimal(place)?);
        Some(Some(suspension::Cursor { until_nanos, place }))
    }

    fn text(self) -> String {
        match self {
            None => "0".to_owned(),
            Some(at) => format!("{}-{}", at.until_nanos, at.place),
        }
    }
}

impl<P: Place> Cursor<P> {
    pub const FIRST: Cursor<P> = Cursor { shard: 0, place: P::FIRST };

    /// Takes back what [`Cursor::text`] gave, if it is of one of so many shards.
    pub fn read(text: &str, shards: u8) -> Option<Cursor<P>> {
        let (shard, place) = text.split_once('-')?;
        let cursor = Cursor { shard: decimal(shard)?, place: P::read(place)? };
        (cursor.shard < shards).then_some(cursor)
    }

    /// The text that [`Query::cursor`] takes back.
    pub fn text(self) -> String {
        format!("{}-{}", self.shard, self.place.text())
    }

    /// Where to go on behind a page of which its shard said that it goes on at `next`, if at all;
    /// `None` behind the last.
    pub fn behind(self, next: Option<P>, shards: u8) -> Option<Cursor<P>> {
        match next {
            Some(place) => Some(Cursor { place, ..self }),
            None if self.shard + 1 < shards => {
                Some(Cursor { shard: self.shard + 1, place: P::FIRST })
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["aor", "contact", "ip", "limit", "cursor", "binding"];

    fn query(text: &str) -> Query {
        Query::read(Some(text), KNOWN).unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
    }

    #[test]
    fn a_parameter_that_is_not_known_or_stands_twice_is_refused() {
        assert!(Query::read(None, &[]).is_ok() && Query::read(Some(""), &[]).is_ok());
        for bad in ["ipp=192.0.2.1", "ip=192.0.2.1&ip=192.0.2.2", "ip=1&x", "=", "AOR=u1"] {
            assert!(Query::read(Some(bad), KNOWN).is_err(), "{bad}");
        }
        assert_eq!(query("ip=a%20b&aor=").value("ip"), Some("a b"));
        assert_eq!(query("ip=a").value("aor"), None);
    }

    #[test]
    fn a_page_has_a_bounded_number_of_rows() {
        let limit = |text: &str| query(text).limit().ok();
        assert_eq!(limit(""), Some(PAGE_ROWS_DEFAULT));
        assert_eq!((limit("limit=1"), limit("limit=1000")), (Some(1), Some(1000)));
        for bad in ["0", "1001", "-1", "1e3", "", "+5", "99999999999999999999999", "1 "] {
            assert_eq!(limit(&format!("limit={}", bad.replace('+', "%2B"))), None, "{bad}");
        }
    }

    #[test]
    fn addresses_and_networks_are_read_in_every_form() {
        let ip = |text: &str| query(&format!("ip={text}")).ip().ok().flatten();
        let net = |text: &str| text.parse::<IpNet>().ok();
        assert_eq!(ip("192.0.2.7"), net("192.0.2.7/32"));
        assert_eq!(ip("192.0.2.7/24"), net("192.0.2.0/24"));
        assert_eq!(ip("2001:db8::1"), net("2001:db8::1/128"));
        assert_eq!(ip("2001:db8::/32"), net("2001:db8::/32"));
        assert_eq!(ip("::ffff:192.0.2.7"), net("192.0.2.7/32"));
        assert_eq!(ip("::ffff:192.0.2.0/120"), net("192.0.2.0/24"));
        assert_eq!(ip("::/0"), net("::/0"));
        for bad in ["", "192.0.2", "192.0.2.7/33", "192.0.2.7:5060", "x", "192.0.2.7 "] {
            assert!(query(&format!("ip={bad}")).ip().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_source_is_an_address_or_the_network_it_is_listed_as() {
        let source = |text: &str| query(&format!("ip={text}")).source().ok().flatten();
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(source("192.0.2.7"), ip("192.0.2.7"));
        assert_eq!(source("192.0.2.7/32"), ip("192.0.2.7"));
        assert_eq!(source("::ffff:192.0.2.7"), ip("192.0.2.7"));
        assert_eq!(source("2001:db8::1"), ip("2001:db8::1"));
        assert_eq!(source("2001:db8:0:1::/64"), ip("2001:db8:0:1::"));
        for bad in ["192.0.2.0/24", "2001:db8::/32", "2001:db8::1/128", "x", ""] {
            assert!(query(&format!("ip={bad}")).source().is_err(), "{bad}");
        }
    }

    #[test]
    fn contacts_are_sip_uris_with_or_without_their_scheme() {
        let contact = |text: &str| {
            let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            query(&format!("contact={text}")).contact().ok().flatten()
        };
        let is = |text: &str| Some(text.as_bytes().into());
        assert_eq!(contact("sip:alice@192.0.2.7:5060"), is("sip:alice@192.0.2.7:5060"));
        assert_eq!(contact("sips:alice@192.0.2.7"), is("sips:alice@192.0.2.7"));
        assert_eq!(contact("alice@[2001:db8::1]:5060"), is("sip:alice@[2001:db8::1]:5060"));
        assert_eq!(contact("192.0.2.7"), is("sip:192.0.2.7"));
        assert_eq!(contact("sip:+15550100@192.0.2.7"), is("sip:+15550100@192.0.2.7"));
        for bad in ["", "tel:+1555", "sip:", "sip:a@b@c", "http://x/", "<sip:a@b>"] {
            assert_eq!(contact(bad), None, "{bad}");
        }
        assert_eq!(contact(&format!("sip:{}@b", "a".repeat(FIND_TEXT_BYTES_MAX))), None);
    }

    #[test]
    fn a_plus_is_a_plus_however_it_is_written() {
        for text in ["aor=sip:+15550100@example.com", "aor=sip%3A%2B15550100%40example.com"] {
            let aor = query(text).aor_of("aor").ok().flatten().unwrap();
            assert_eq!(&*aor, b"sip:+15550100@example.com");
        }
        assert!(query("aor=").aor_of("aor").is_err());
    }

    #[test]
    fn cursors_and_names_of_bindings_are_taken_back() {
        let cursor = Cursor { shard: 3, place: 12_345_u32 };
        assert_eq!(Cursor::read(&cursor.text(), 4), Some(cursor));
        assert_eq!(Cursor::<u32>::read(&cursor.text(), 3), None, "no such shard");
        for bad in ["", "-", "1", "1-", "-1", "1-2-3", "1-4294967296", "256-0", "a-b", "+1-2"] {
            assert_eq!(Cursor::<u32>::read(bad, 128), None, "{bad}");
        }
        for place in [None, Some(suspension::Cursor { until_nanos: u64::MAX, place: 7 })] {
            let cursor = Cursor { shard: 1, place };
            assert_eq!(Cursor::read(&cursor.text(), 2), Some(cursor));
        }
        for bad in ["1", "1-1", "1-1-", "1-1-2-3", "1-18446744073709551616-1"] {
            assert_eq!(Cursor::<Option<suspension::Cursor>>::read(bad, 2), None, "{bad}");
        }
        assert_eq!(cursor.behind(Some(9), 4), Some(Cursor { shard: 3, place: 9 }));
        assert_eq!(cursor.behind(None, 5), Some(Cursor { shard: 4, place: 0 }));
        assert_eq!(cursor.behind(None, 4), None);
        let id = BindingId { index: 7, generation: 9 };
        assert_eq!(binding(&binding_name(ShardId(2), id)), Some((ShardId(2), id)));
        for bad in ["", "1-2", "1-2-3-4", "256-1-1", "1-2-x"] {
            assert_eq!(binding(bad), None, "{bad}");
        }
    }
}
