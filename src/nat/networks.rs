//! The networks of which something is said by itself. Of those around an address the one with the
//! longest prefix counts that says the thing that is asked for. What is said is configuration's.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Network;

/// A table of networks.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// Those of one prefix length each, the longest first.
    lengths: Vec<Length>,
}

#[derive(Clone, Debug)]
struct Length {
    is_ipv4: bool,
    prefix: u8,
    /// Sorted by network.
    networks: Vec<Network>,
}

impl Networks {
    /// A table of these; of the same network twice, one counts.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Networks {
        let mut lengths: Vec<Length> = Vec::new();
        for network in networks {
            let (is_ipv4, prefix) = (matches!(network.net, IpNet::V4(_)), network.net.prefix_len());
            let known = lengths.iter().position(|l| l.is_ipv4 == is_ipv4 && l.prefix == prefix);
            let at = known.unwrap_or_else(|| {
                lengths.push(Length { is_ipv4, prefix, networks: Vec::new() });
                lengths.len() - 1
            });
            lengths[at].networks.push(network);
        }
        for length in &mut lengths {
            length.networks.sort_by_key(|network| network.net.network());
            length.networks.dedup_by_key(|network| network.net);
        }
        lengths.sort_by_key(|length| std::cmp::Reverse(length.prefix));
        Networks { lengths }
    }

    /// What the smallest network around an address says that says it. An IPv4 address is one also
    /// where it was met as part of IPv6.
    #[must_use]
    #[inline]
    pub fn say<T>(&self, ip: IpAddr, what: impl Fn(&Network) -> Option<T>) -> Option<T> {
        if self.lengths.is_empty() {
            return None;
        }
        self.around(ip.to_canonical()).find_map(what)
    }

    /// The networks around an address, the smallest first.
    fn around(&self, ip: IpAddr) -> impl Iterator<Item = &Network> {
        self.lengths.iter().filter_map(move |length| {
            if length.is_ipv4 != ip.is_ipv4() {
                return None;
            }
            let network = IpNet::new(ip, length.prefix).ok()?.network();
            let at = length.networks.binary_search_by_key(&network, |one| one.net.network());
            at.ok().map(|at| &length.networks[at])
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{KeepaliveForm, NatOverride};

    fn table(nets: &[&str]) -> Networks {
        Networks::new(nets.iter().map(|net| Network::new(net.parse().unwrap())))
    }

    #[test]
    fn the_longest_prefix_wins_and_families_are_apart() {
        let table = table(&["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "fd00::/8"]);
        let found = |ip: &str| table.say(ip.parse().unwrap(), |one| Some(one.net.to_string()));
        for (ip, expected) in [
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("10.1.2.4", Some("10.1.0.0/16")),
            ("::ffff:10.1.2.4", Some("10.1.0.0/16")),
            ("10.200.0.1", Some("10.0.0.0/8")),
            ("11.0.0.1", Some("0.0.0.0/0")),
            ("fd12::1", Some("fd00::/8")),
            ("fe80::1", None),
        ] {
            assert_eq!(found(ip).as_deref(), expected, "{ip}");
        }
        assert_eq!(Networks::default().say("10.1.2.3".parse().unwrap(), |one| one.nat), None);
    }

    #[test]
    fn a_network_that_does_not_say_a_thing_leaves_it_to_those_around() {
        let of = |net: &str, nat, keepalive| Network {
            nat,
            keepalive,
            ..Network::new(net.parse().unwrap())
        };
        let table = Networks::new([
            of("10.0.0.0/8", Some(NatOverride::Always), Some(KeepaliveForm::Crlf)),
            of("10.1.0.0/16", None, Some(KeepaliveForm::Off)),
            of("10.1.2.0/24", Some(NatOverride::Auto), None),
        ]);
        let ip = "10.1.2.3".parse().unwrap();
        assert_eq!(table.say(ip, |one| one.nat), Some(NatOverride::Auto));
        assert_eq!(table.say(ip, |one| one.keepalive), Some(KeepaliveForm::Off));
        let ip = "10.1.3.3".parse().unwrap();
        assert_eq!(table.say(ip, |one| one.nat), Some(NatOverride::Always));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a look at every network.
        #[test]
        fn the_smallest_network_around_an_address_is_found(
            nets in proptest::collection::vec((0u8..4, 0u8..4, 0u8..=32), 0..12),
            a in 0u8..4, b in 0u8..4,
        ) {
            let nets: Vec<IpNet> = nets
                .iter()
                .map(|&(a, b, prefix)| IpNet::new([a, b, 0, 0].into(), prefix).unwrap().trunc())
                .collect();
            let table = Networks::new(nets.iter().map(|&net| Network::new(net)));
            let ip = IpAddr::from([a, b, 0, 1]);
            let expected = nets.iter().filter(|n| n.contains(&ip)).max_by_key(|n| n.prefix_len());
            prop_assert_eq!(table.say(ip, |one| Some(one.net)), expected.copied());
        }
    }
}
