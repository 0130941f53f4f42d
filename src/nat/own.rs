//! The addresses this process itself is reached at: nobody registers there, and no datagram comes
//! from there that was not forged or sent in a circle. Which they are the shell finds out.

use std::net::{IpAddr, SocketAddr};

use crate::flow::Transport;

/// Where this process listens, as far as it was known when this was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    datagrams: Listening,
    connections: Listening,
    /// Addresses of the host, sorted.
    hosts: Vec<IpAddr>,
    /// Where everybody on one of its networks is reached at once, sorted.
    broadcasts: Vec<IpAddr>,
}

/// Listeners of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listening {
    exact: Vec<(IpAddr, u16)>,
    /// Ports at which every address of a family is listened on.
    any_ipv4: Vec<u16>,
    any_ipv6: Vec<u16>,
}

impl OwnAddresses {
    /// Of a process with these listeners, at most [`LISTENERS_MAX`](crate::limits::LISTENERS_MAX),
    /// on a host with these addresses and broadcast addresses. A listener at the wildcard is at
    /// every address of its family.
    #[must_use]
    pub fn new(
        listening: impl IntoIterator<Item = (Transport, SocketAddr)>,
        mut hosts: Vec<IpAddr>,
        mut broadcasts: Vec<IpAddr>,
    ) -> OwnAddresses {
        let mut own = OwnAddresses::default();
        for (transport, address) in listening {
            let listening = match transport.is_connection() {
                true => &mut own.connections,
                false => &mut own.datagrams,
            };
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => listening.any_ipv4.push(address.port()),
                IpAddr::V6(ip) if ip.is_unspecified() => listening.any_ipv6.push(address.port()),
                ip => listening.exact.push((ip.to_canonical(), address.port())),
            }
        }
        hosts.sort_unstable();
        broadcasts.sort_unstable();
        OwnAddresses { hosts, broadcasts, ..own }
    }

    /// Whether messages of that kind sent to `ip` and `port` come back to this process. `local_ip`
    /// is where the message at hand came to: an address of this host in any case.
    #[must_use]
    #[inline]
    pub fn listens(
        &self,
        is_connection: bool,
        ip: IpAddr,
        port: u16,
        local_ip: Option<IpAddr>,
    ) -> bool {
        let listening = if is_connection { &self.connections } else { &self.datagrams };
        let ip = ip.to_canonical();
        let any = if ip.is_ipv4() { &listening.any_ipv4 } else { &listening.any_ipv6 };
        (any.contains(&port) && self.is_this_host(ip, local_ip))
            || listening.exact.contains(&(ip, port))
    }

    fn is_this_host(&self, ip: IpAddr, local_ip: Option<IpAddr>) -> bool {
        // All of 127.0.0.0/8 is.
        ip.is_loopback()
            || local_ip.is_some_and(|local| local.to_canonical() == ip)
            || self.hosts.binary_search(&ip).is_ok()
    }

    /// Whether everybody on a network is reached at `ip`.
    #[must_use]
    pub fn is_broadcast(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
            || self.broadcasts.binary_search(&ip).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn own() -> OwnAddresses {
        let listening = [
            (Transport::Udp, "0.0.0.0:5060".parse().unwrap()),
            (Transport::Udp, "192.0.2.1:5070".parse().unwrap()),
            (Transport::Tls, "[::]:5061".parse().unwrap()),
        ];
        let hosts = ["192.0.2.1", "127.0.0.1", "2001:db8::1"].map(ip).to_vec();
        OwnAddresses::new(listening, hosts, vec![ip("192.0.2.255")])
    }

    #[test]
    fn a_wildcard_listens_at_every_address_of_its_family_and_a_listener_at_its_own() {
        let own = own();
        for (is_connection, at, port, expected) in [
            (false, "192.0.2.1", 5060, true),
            (false, "::ffff:192.0.2.1", 5060, true),
            (false, "127.9.9.9", 5060, true),
            (false, "192.0.2.1", 5070, true),
            (false, "127.0.0.1", 5070, false),
            (false, "192.0.2.2", 5060, false),
            (false, "192.0.2.1", 5061, false),
            (false, "2001:db8::1", 5060, false),
            (true, "192.0.2.1", 5060, false),
            (true, "2001:db8::1", 5061, true),
            (true, "::1", 5061, true),
            (true, "192.0.2.1", 5061, false),
        ] {
            let listens = own.listens(is_connection, ip(at), port, None);
            assert_eq!(listens, expected, "{at} {port} {is_connection}");
        }
    }

    #[test]
    fn an_address_that_came_later_is_known_by_what_arrives_there() {
        let (own, new) = (own(), ip("198.51.100.1"));
        assert!(!own.listens(false, new, 5060, None));
        assert!(own.listens(false, new, 5060, Some(new)));
        assert!(!own.listens(false, new, 5062, Some(new)));
    }

    #[test]
    fn broadcasts_are_that_of_ipv4_and_those_of_the_networks_of_the_host() {
        let own = own();
        for (at, expected) in
            [("255.255.255.255", true), ("192.0.2.255", true), ("192.0.3.255", false)]
        {
            assert_eq!(own.is_broadcast(ip(at)), expected, "{at}");
        }
        assert!(OwnAddresses::default().is_broadcast(ip("255.255.255.255")));
    }
}
