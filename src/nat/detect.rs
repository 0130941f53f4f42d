//! Is a phone behind NAT? It is if what it says of itself, in Contact and Via, names another
//! address than the one its request came from. A phone on a private network whose private address
//! is its source says the truth, and is not.
//!
//! What is compared are addresses; a host name says nothing. An address of the other family says
//! nothing either: a phone with IPv4 and IPv6 may register its one over the other. Ports are looked
//! at where that is asked for: a phone may well send from another one than it listens on.
//!
//! Where proxies stand between, the source is that of the last one: then the Via at the bottom is
//! the phone's, and the first proxy has written beside it where it came from (RFC 3261 18.2.1).

use std::net::{IpAddr, SocketAddr};

use crate::config::NatTests;
use crate::sip::header::contact::Contact;
use crate::sip::header::via::{self, Rport, SENT_BY_PORT_DEFAULT, Via};
use crate::sip::uri::{Scheme, Uri, host_ip};

/// What a phone says of itself, and where it is seen.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// Where its request came from.
    pub source: SocketAddr,
    /// It came as a datagram: a client's port of a connection is never one it listens on.
    pub is_datagram: bool,
    /// The Via it wrote.
    pub via: &'a Via<'a>,
    /// Where it wants to be reached.
    pub contacts: &'a [Contact<'a>],
}

/// What speaks for NAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// A Contact names an address that is not the source.
    pub contact: bool,
    /// A Contact names a private address (RFC 1918, RFC 4193), one of a carrier's own (RFC 6598) or
    /// one of a link, and the source is public.
    pub private_contact: bool,
    /// A Contact names the source, and another port than the datagram came from.
    pub contact_port: bool,
    /// The Via asks for `rport` and names an address that is not the source.
    pub via: bool,
    /// The Via asks for `rport` and names the source, and another port than the datagram came from.
    pub via_port: bool,
    /// The Via asks for `rport` (RFC 3581 3).
    pub rport: bool,
    /// A Contact names no address, 0.0.0.0 or ::, so that only the source is left.
    pub unspecified_contact: bool,
}

impl Signs {
    /// What the claims of a phone, seen directly, show.
    #[must_use]
    #[inline]
    pub fn of(claims: &Claims<'_>) -> Signs {
        let &Claims { source, is_datagram, via, contacts } = claims;
        let (ip, port) = (source.ip().to_canonical(), source.port());
        let mut signs = Signs { rport: via.rport != Rport::Absent, ..Signs::default() };
        if signs.rport
            && let Some(said) = host_ip(via.host)
        {
            signs.via = is_another(said, ip);
            let said_port = via.port.unwrap_or(SENT_BY_PORT_DEFAULT);
            signs.via_port = is_datagram && said.to_canonical() == ip && said_port != port;
        }
        for Contact { uri, .. } in contacts {
            // Nearly every host is a name or the very source.
            let Some(said) = host_ip(uri.host) else { continue };
            if said.to_canonical() == ip {
                signs.contact_port |= is_datagram && port_of(uri) != port;
            } else if said.is_unspecified() {
                signs.unspecified_contact = true;
            } else if is_another(said, ip) {
                signs.contact = true;
                signs.private_contact |= is_private(said) && !is_private(ip);
            }
        }
        signs
    }

    /// The same of a phone behind proxies, of which `via` is the lowest: its own. What the first
    /// proxy wrote into it, `received` and `rport`, stands for the source; without it the phone
    /// told that proxy the truth.
    #[must_use]
    pub fn through_proxies(via: &Via<'_>, contacts: &[Contact<'_>]) -> Signs {
        let Some(ip) = via.received.or_else(|| host_ip(via.host)) else {
            return Signs::default();
        };
        let said = via.port.unwrap_or(SENT_BY_PORT_DEFAULT);
        let (port, is_datagram) = match via.rport {
            Rport::Filled(port) => (port, via.transport == via::Transport::Udp),
            // Where it came from is not told.
            Rport::Absent | Rport::Requested => (said, false),
        };
        Signs::of(&Claims { source: (ip, port).into(), is_datagram, via, contacts })
    }

    /// Whether one of those that count is there. A Contact without an address always counts: there
    /// is no other way to that phone.
    #[must_use]
    #[inline]
    pub const fn is_behind_nat(self, tests: &NatTests) -> bool {
        self.contact & tests.contact
            | self.private_contact & tests.private_contact
            | self.contact_port & tests.contact_port
            | self.via & tests.via
            | self.via_port & tests.via_port
            | self.rport & tests.rport
            | self.unspecified_contact
    }
}

/// The port a URI means (RFC 3261 19.1.2).
fn port_of(uri: &Uri<'_>) -> u16 {
    uri.port.unwrap_or(match uri.scheme {
        Scheme::Sips => 5061,
        _ => SENT_BY_PORT_DEFAULT,
    })
}

fn is_another(said: IpAddr, source: IpAddr) -> bool {
    let said = said.to_canonical();
    said.is_ipv4() == source.is_ipv4() && said != source
}

/// Whether an address means something only inside some network.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(source: &str, via: &str, contact: &str) -> Signs {
        let via = format!("SIP/2.0/UDP {via}");
        let via = Via::parse_first(via.as_bytes()).unwrap();
        let contact = format!("<sip:u@{contact}>");
        let contacts = [Contact::parse(contact.as_bytes()).unwrap()];
        let source = source.parse().unwrap();
        Signs::of(&Claims { source, is_datagram: true, via: &via, contacts: &contacts })
    }

    /// Every set of tests there is.
    fn all_tests() -> impl Iterator<Item = NatTests> {
        (0..64u8).map(|bits| NatTests {
            contact: bits & 1 != 0,
            private_contact: bits & 2 != 0,
            contact_port: bits & 4 != 0,
            via: bits & 8 != 0,
            via_port: bits & 16 != 0,
            rport: bits & 32 != 0,
        })
    }

    #[test]
    fn a_phone_that_names_its_source_is_not_behind_nat() {
        let table = [
            ("192.0.2.7:5060", "192.0.2.7:5060;rport", "192.0.2.7:5060"),
            ("10.0.0.7:5060", "10.0.0.7;rport", "10.0.0.7"),
            ("100.64.0.7:5060", "100.64.0.7;rport", "100.64.0.7"),
            ("192.0.2.7:5060", "192.0.2.7:5060;rport", "192.0.2.7:40000"),
            ("192.0.2.7:5060", "phone.example.com;rport", "phone.example.com"),
            ("192.0.2.7:5060", "x.invalid", "x.invalid;transport=ws"),
            ("[::ffff:192.0.2.7]:5060", "192.0.2.7;rport", "192.0.2.7"),
            ("192.0.2.7:5060", "192.0.2.7;rport", "[::ffff:192.0.2.7]"),
            ("[2001:db8::7]:5060", "[2001:db8:0::7];rport", "[2001:db8::7]:5060"),
            // Its other family.
            ("[2001:db8::7]:5060", "[2001:db8::7];rport", "192.168.0.7"),
        ];
        for (source, via, contact) in table {
            let signs = signs(source, via, contact);
            assert!(!signs.is_behind_nat(&NatTests::default()), "{source} {via} {contact}");
        }
    }

    #[test]
    fn each_sign_by_itself() {
        let none = Signs::default();
        let contact = Signs { contact: true, ..none };
        let private = Signs { private_contact: true, ..contact };
        let rport = Signs { rport: true, ..none };
        let via = Signs { via: true, ..rport };
        let nowhere = Signs { unspecified_contact: true, ..none };
        let table = [
            ("192.0.2.7:5060", "h", "198.51.100.1", contact),
            ("10.0.0.1:5060", "h", "192.168.0.7", contact),
            ("192.0.2.7:5060", "h", "192.168.0.7", private),
            ("192.0.2.7:5060", "h", "169.254.0.7", private),
            ("192.0.2.7:5060", "h", "100.64.0.1", private),
            ("192.0.2.7:5060", "h", "100.127.255.255", private),
            ("192.0.2.7:5060", "h", "100.128.0.1", contact),
            ("[2001:db8::7]:5060", "h", "[fd00::7]", private),
            ("192.0.2.7:5060", "192.168.0.7;rport", "h", via),
            // Without rport it may be a host with several addresses that knows what it says.
            ("192.0.2.7:5060", "192.168.0.7", "h", none),
            ("192.0.2.7:5060", "h;rport", "h", rport),
            ("192.0.2.7:5060", "192.0.2.7;rport", "h", rport),
            ("192.0.2.7:4000", "192.0.2.7;rport", "h", Signs { via_port: true, ..rport }),
            ("192.0.2.7:4000", "192.0.2.7:4000;rport", "h", rport),
            ("192.0.2.7:4000", "192.0.2.7", "h", none),
            ("192.0.2.7:4000", "h", "192.0.2.7", Signs { contact_port: true, ..none }),
            ("192.0.2.7:4000", "h", "192.0.2.7:4000", none),
            ("192.0.2.7:5060", "h", "0.0.0.0", nowhere),
            ("192.0.2.7:5060", "h", "[::]:5060", nowhere),
            ("[2001:db8::7]:5060", "h", "0.0.0.0", nowhere),
        ];
        for (source, via, contact, expected) in table {
            let signs = signs(source, via, contact);
            assert_eq!(signs, expected, "{source} {via} {contact}");
            // Each test that is off takes away its own sign and no other.
            for tests in all_tests() {
                let counts = (signs.contact && tests.contact)
                    || (signs.private_contact && tests.private_contact)
                    || (signs.contact_port && tests.contact_port)
                    || (signs.via && tests.via)
                    || (signs.via_port && tests.via_port)
                    || (signs.rport && tests.rport)
                    || signs.unspecified_contact;
                assert_eq!(signs.is_behind_nat(&tests), counts, "{source} {via} {contact}");
            }
        }
    }

    #[test]
    fn the_port_of_a_connection_is_no_sign() {
        let via = Via::parse_first(b"SIP/2.0/TCP 192.0.2.7:5060;rport").unwrap();
        let contacts = [Contact::parse(b"<sip:u@192.0.2.7:5060;transport=tcp>").unwrap()];
        let source = "192.0.2.7:40123".parse().unwrap();
        let claims = Claims { source, is_datagram: false, via: &via, contacts: &contacts };
        assert_eq!(Signs::of(&claims), Signs { rport: true, ..Signs::default() });
    }

    #[test]
    fn a_sips_contact_without_a_port_means_5061() {
        let via = Via::parse_first(b"SIP/2.0/UDP h").unwrap();
        let contacts = [Contact::parse(b"<sips:u@192.0.2.7>").unwrap()];
        for (port, differs) in [(5061, false), (5060, true)] {
            let source = ([192, 0, 2, 7], port).into();
            let claims = Claims { source, is_datagram: true, via: &via, contacts: &contacts };
            assert_eq!(Signs::of(&claims).contact_port, differs);
        }
    }

    #[test]
    fn behind_a_proxy_the_received_of_the_lowest_via_is_the_source() {
        let of = |via: &str, contact: &str| {
            let via = format!("SIP/2.0/UDP {via}");
            let via = Via::parse_first(via.as_bytes()).unwrap();
            let contact = format!("<sip:u@{contact}>");
            let contacts = [Contact::parse(contact.as_bytes()).unwrap()];
            Signs::through_proxies(&via, &contacts)
        };
        let tests = NatTests::default();
        assert!(of("192.168.0.7;rport=4000;received=192.0.2.7", "192.168.0.7").contact);
        assert!(!of("192.168.0.7", "192.168.0.7").is_behind_nat(&tests));
        assert!(!of("phone.example.com", "192.168.0.7").is_behind_nat(&tests));
        // The port is known only where the proxy wrote it down.
        assert!(of("192.0.2.7;rport=4000;received=192.0.2.7", "192.0.2.7").contact_port);
        assert!(!of("192.0.2.7;rport;received=192.0.2.7", "192.0.2.7:4000").contact_port);
    }
}
