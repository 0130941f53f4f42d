//! Where an address is: the country, the city and the network that databases of the operator's say
//! (MaxMind DB files, in the form of GeoLite2, GeoIP2 and DB-IP), and what no database needs to
//! say. No message waits for this: only the background pass over the bindings asks.

mod database;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayString;

pub(crate) use self::database::{About, Lookup};
pub use self::database::{Places, PlacesError};

/// Longest name of a country, a city or an operator of networks, bytes.
pub const NAME_BYTES_MAX: usize = 48;

/// A name of a database, cut and without control characters.
pub(super) type Name = ArrayString<NAME_BYTES_MAX>;

/// A country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country {
    /// ISO 3166-1 alpha-2; empty where the address is of no country.
    pub code: ArrayString<2>,
    /// In English, or what kind of address it is.
    pub name: Name,
}

/// A city.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct City {
    /// The code of its country.
    pub country: ArrayString<2>,
    /// In English; empty where it is not known.
    pub name: Name,
}

/// An autonomous system: the network of one operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct System {
    /// Its number; 0 where it is not known.
    pub number: u32,
    /// Whose it is.
    pub name: Name,
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its country, or what kind of address it is.
    pub country: Country,
    /// Its city.
    pub city: City,
    /// Its network.
    pub system: System,
}

/// What the country of an address is called that no database knows.
pub const UNKNOWN: &str = "unknown";

impl Place {
    /// A place of no country.
    fn nowhere(name: &str) -> Place {
        let name = named(name);
        let country = Country { code: ArrayString::new(), name };
        let city = City { country: ArrayString::new(), name };
        Place { country, city, system: System { number: 0, name } }
    }

    /// Nobody knows.
    pub(super) fn unknown() -> Place {
        Place::nowhere(UNKNOWN)
    }

    /// What kind of address it is, where that says that it is in no country.
    pub(super) fn special(address: IpAddr) -> Option<Place> {
        let kind = match address.to_canonical() {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        };
        kind.map(Place::nowhere)
    }
}

/// The registries of special addresses (RFC 6890), as far as phones have any.
fn special_v4(v4: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = v4.octets();
    match (a, b) {
        _ if v4.is_loopback() => Some("loopback"),
        _ if v4.is_private() => Some("private"),
        _ if v4.is_link_local() => Some("link-local"),
        // RFC 6598: between a provider and the phones it translates.
        (100, 64..=127) => Some("carrier NAT"),
        _ if v4.is_documentation() || (a, b & 0xfe) == (198, 18) => Some("reserved"),
        (0 | 224..=255, _) => Some("reserved"),
        _ => None,
    }
}

fn special_v6(v6: Ipv6Addr) -> Option<&'static str> {
    let [first, second, ..] = v6.segments();
    match first {
        _ if v6.is_loopback() => Some("loopback"),
        _ if v6.is_unique_local() => Some("private"),
        _ if v6.is_unicast_link_local() => Some("link-local"),
        0x2001 if second == 0x0db8 => Some("reserved"),
        0 | 0xff00..=0xffff => Some("reserved"),
        _ => None,
    }
}

/// A name as it is kept.
fn named(text: &str) -> Name {
    let mut name = Name::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if name.try_push(c).is_err() {
            break;
        }
    }
    name
}

#[cfg(test)]
mod mmdb;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_no_country_say_what_they_are() {
        for (address, kind) in [
            ("127.0.0.1", Some("loopback")),
            ("::1", Some("loopback")),
            ("10.1.2.3", Some("private")),
            ("::ffff:192.168.1.1", Some("private")),
            ("172.31.0.1", Some("private")),
            ("fd00::1", Some("private")),
            ("100.64.0.1", Some("carrier NAT")),
            ("100.127.255.255", Some("carrier NAT")),
            ("100.128.0.1", None),
            ("169.254.1.1", Some("link-local")),
            ("fe80::1", Some("link-local")),
            ("192.0.2.1", Some("reserved")),
            ("198.19.0.1", Some("reserved")),
            ("0.0.0.0", Some("reserved")),
            ("2001:db8::1", Some("reserved")),
            ("8.8.8.8", None),
            ("2a00:1450::1", None),
        ] {
            let place = Place::special(address.parse().unwrap());
            let found = place.map(|place| place.country.name);
            assert_eq!(found.as_deref(), kind, "{address}");
        }
    }

    #[test]
    fn names_are_cut_at_a_character_and_have_no_control_in_them() {
        assert_eq!(&*named("S\u{e3}o\nPaulo"), "S\u{e3}oPaulo");
        let long = "\u{fc}".repeat(40);
        assert_eq!(named(&long).len(), NAME_BYTES_MAX);
        assert_eq!(named(&format!("x{long}")).len(), NAME_BYTES_MAX - 1);
    }
}
