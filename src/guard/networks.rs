//! What is said of networks, and what that means for one address: the longest prefix that says
//! anything about a matter decides it. Thousands of prefixes are laid out as spans of addresses
//! once, so that looking one up is a search in a sorted row.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::bucket::Rate;
use crate::config;

/// Whether the guard serves, trusts or ignores a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Served, within the limits.
    #[default]
    Served,
    /// Served without limits, and never blocked.
    Trusted,
    /// Not served.
    Blocked,
}

/// What is said of one network; `None` leaves the matter to the network around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The network.
    pub net: IpNet,
    /// Whether it is served.
    pub standing: Option<Standing>,
    /// The limit of requests that all of its addresses have together, REGISTER included, instead
    /// of those of sources and prefixes.
    pub limit: Option<Rate>,
}

/// What holds for an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is served.
    pub standing: Standing,
    /// The number of the network whose limit holds ([`Networks::limits`]).
    pub limit: Option<u32>,
}

/// All that is said, laid out for look-up.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    v4: Spans<u32>,
    v6: Spans<u128>,
    rules: Vec<Rule>,
    limits: Vec<Rate>,
    /// The spans of IPv4 that begin with each first byte, so that a search spans a few.
    first_bytes: Vec<u32>,
}

impl Networks {
    /// The layout of what is said. Of two that name one network the later wins where both speak.
    #[must_use]
    pub fn new(said: &[Said]) -> Networks {
        if said.is_empty() {
            return Networks::default();
        }
        // Rule 0 is that of addresses nobody speaks of.
        let (mut rules, mut limits) = (vec![Rule::default()], Vec::new());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for said in said {
            match said.net {
                IpNet::V4(net) => {
                    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                    v4.push((first, last, *said));
                }
                IpNet::V6(net) => {
                    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                    v6.push((first, last, *said));
                }
            }
        }
        let after_v4 = |one: u32| one.checked_add(1);
        let after_v6 = |one: u128| one.checked_add(1);
        let v4 = Spans::lay_out(v4, u32::MAX, after_v4, &mut rules, &mut limits);
        let v6 = Spans::lay_out(v6, u128::MAX, after_v6, &mut rules, &mut limits);
        let begin_below =
            |byte: u64| v4.starts.partition_point(|&start| u64::from(start) < byte << 24);
        let first_bytes = (0..=256).map(|byte| begin_below(byte) as u32).collect();
        Networks { v4, v6, rules, limits, first_bytes }
    }

    /// The layout of what the configuration says: its lists, and then what it says of networks one
    /// by one.
    #[must_use]
    pub fn configured(config: &config::Guard, networks: &[Said]) -> Networks {
        let listed = |nets: &[_], standing| -> Vec<Said> {
            let said = |&net: &_| Said { net, standing: Some(standing), limit: None };
            nets.iter().map(said).collect()
        };
        let all = [
            listed(&config.trusted, Standing::Trusted),
            listed(&config.blocked, Standing::Blocked),
            networks.to_vec(),
        ];
        Networks::new(&all.concat())
    }

    /// Everything of this standing, as networks that do not overlap, in their order, those of IPv4
    /// first. What is served but for a hole in it is several.
    #[must_use]
    pub fn of_standing(&self, standing: Standing) -> Vec<IpNet> {
        let is = |rule: u32| self.rules[rule as usize].standing == standing;
        let v4 = self.v4.ranges(u32::MAX, |next| next - 1, is).into_iter();
        let v6 = self.v6.ranges(u128::MAX, |next| next - 1, is).into_iter();
        let v4 = v4.flat_map(|(first, last)| {
            Ipv4Subnets::new(Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last), 0)
        });
        let v6 = v6.flat_map(|(first, last)| {
            Ipv6Subnets::new(Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(last), 0)
        });
        v4.map(IpNet::V4).chain(v6.map(IpNet::V6)).collect()
    }

    /// Whether nothing is said of any network.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The limits of networks, by their numbers.
    #[must_use]
    pub fn limits(&self) -> &[Rate] {
        &self.limits
    }

    /// What holds for an address. An IPv4 address is one also as part of IPv6.
    #[inline]
    #[must_use]
    pub fn of(&self, source: IpAddr) -> Rule {
        if self.is_empty() {
            return Rule::default();
        }
        let rule = match source.to_canonical() {
            IpAddr::V4(ip) => self.of_v4(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.find(ip.to_bits(), 0, self.v6.starts.len()),
        };
        self.rules[rule as usize]
    }

    #[inline]
    fn of_v4(&self, ip: u32) -> u32 {
        let first = (ip >> 24) as usize;
        let (from, to) = (self.first_bytes[first], self.first_bytes[first + 1]);
        self.v4.find(ip, from as usize, to as usize)
    }
}

/// Spans of addresses that follow each other without a gap, the first beginning at zero.
#[derive(Clone, Debug, Default)]
struct Spans<A> {
    starts: Vec<A>,
    rules: Vec<u32>,
}

impl<A: Copy + Ord + Default> Spans<A> {
    fn lay_out(
        mut nets: Vec<(A, A, Said)>,
        max: A,
        after: impl Fn(A) -> Option<A>,
        rules: &mut Vec<Rule>,
        limits: &mut Vec<Rate>,
    ) -> Spans<A> {
        // Outer before inner; of equals, which stay in their order, the later counts as inner.
        nets.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        let mut spans = Spans { starts: vec![A::default()], rules: vec![0] };
        // The networks around the place at hand, each with what holds inside of it.
        let mut around: Vec<(A, u32)> = vec![(max, 0)];
        for (first, last, said) in nets {
            spans.leave(&mut around, |end| end < first, &after);
            let outer = rules[around.last().map_or(0, |&(_, rule)| rule) as usize];
            let limit = said.limit.map(|limit| {
                limits.push(limit);
                limits.len() as u32 - 1
            });
            let standing = said.standing.unwrap_or(outer.standing);
            rules.push(Rule { standing, limit: limit.or(outer.limit) });
            let rule = rules.len() as u32 - 1;
            spans.begin(first, rule);
            around.push((last, rule));
        }
        spans.leave(&mut around, |end| end < max, &after);
        spans
    }

    /// Leaves the networks that end before the place at hand, inner ones first.
    fn leave(
        &mut self,
        around: &mut Vec<(A, u32)>,
        ended: impl Fn(A) -> bool,
        after: impl Fn(A) -> Option<A>,
    ) {
        while let Some(&(end, _)) = around.last()
            && ended(end)
        {
            around.pop();
            let outer = around.last().map_or(0, |&(_, rule)| rule);
            if let Some(next) = after(end) {
                self.begin(next, outer);
            }
        }
    }

    /// From `start` on, `rule` holds.
    fn begin(&mut self, start: A, rule: u32) {
        if self.starts.last() == Some(&start) {
            self.rules.pop();
            self.starts.pop();
        }
        self.starts.push(start);
        self.rules.push(rule);
    }

    /// First and last address of each run of spans whose rule `is` what is wanted.
    fn ranges(&self, max: A, before: impl Fn(A) -> A, is: impl Fn(u32) -> bool) -> Vec<(A, A)> {
        let mut ranges = Vec::new();
        let mut begun: Option<A> = None;
        for (&start, &rule) in self.starts.iter().zip(&self.rules) {
            match (begun, is(rule)) {
                (None, true) => begun = Some(start),
                (Some(first), false) => {
                    ranges.push((first, before(start)));
                    begun = None;
                }
                _ => {}
            }
        }
        ranges.extend(begun.map(|first| (first, max)));
        ranges
    }

    /// The rule of `address`, whose span is known to begin among those numbered `from..to`, or
    /// just before.
    #[inline]
    fn find(&self, address: A, from: usize, to: usize) -> u32 {
        let at = from + self.starts[from..to].partition_point(|&start| start <= address);
        // The first span begins at zero, so one begins at or before every address.
        self.rules.get(at.wrapping_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(net: &str, standing: Option<Standing>, limit: Option<u32>) -> Said {
        let limit = limit.map(|per_s| Rate { per_s, burst: per_s });
        Said { net: net.parse().unwrap(), standing, limit }
    }

    fn standing(networks: &Networks, ip: &str) -> Standing {
        networks.of(ip.parse().unwrap()).standing
    }

    #[test]
    fn the_longest_prefix_that_speaks_of_a_matter_decides_it() {
        use Standing::{Blocked, Served, Trusted};
        let networks = Networks::new(&[
            said("10.0.0.0/8", Some(Blocked), Some(7)),
            said("10.1.0.0/16", Some(Trusted), None),
            said("10.1.2.0/24", None, Some(3)),
            said("10.1.2.3/32", Some(Served), None),
            said("2001:db8::/32", Some(Blocked), None),
            said("2001:db8:1::/48", Some(Trusted), None),
        ]);
        for (ip, expected, limit) in [
            ("9.255.255.255", Served, None),
            ("10.0.0.0", Blocked, Some(7)),
            ("10.255.255.255", Blocked, Some(7)),
            ("11.0.0.0", Served, None),
            ("10.1.0.0", Trusted, Some(7)),
            ("10.1.2.1", Trusted, Some(3)),
            ("10.1.2.3", Served, Some(3)),
            ("10.1.2.4", Trusted, Some(3)),
            ("::ffff:10.1.2.3", Served, Some(3)),
            ("10.2.0.0", Blocked, Some(7)),
            ("2001:db8::1", Blocked, None),
            ("2001:db8:1:ffff::1", Trusted, None),
            ("2001:db8:2::", Blocked, None),
            ("2001:db9::", Served, None),
        ] {
            let rule = networks.of(ip.parse().unwrap());
            let got = rule.limit.map(|number| networks.limits()[number as usize].per_s);
            assert_eq!((rule.standing, got), (expected, limit), "{ip}");
        }
    }

    #[test]
    fn what_has_one_standing_is_listed_without_its_holes_and_overlaps() {
        use Standing::{Blocked, Served, Trusted};
        let networks = Networks::new(&[
            said("10.0.0.0/30", Some(Blocked), None),
            said("10.0.0.1/32", Some(Trusted), None),
            said("10.0.0.2/32", None, Some(5)),
            said("10.0.0.4/30", Some(Blocked), None),
            said("10.0.0.6/32", Some(Served), None),
            said("255.255.255.0/24", Some(Blocked), None),
            said("2001:db8::/32", Some(Blocked), None),
            said("2001:db8::/33", Some(Trusted), None),
        ]);
        let texts = |standing| -> Vec<String> {
            networks.of_standing(standing).iter().map(ToString::to_string).collect()
        };
        let blocked = [
            "10.0.0.0/32",
            "10.0.0.2/31",
            "10.0.0.4/31",
            "10.0.0.7/32",
            "255.255.255.0/24",
            "2001:db8:8000::/33",
        ];
        assert_eq!(texts(Blocked), blocked);
        assert_eq!(texts(Trusted), ["10.0.0.1/32", "2001:db8::/33"]);
        assert_eq!(Networks::default().of_standing(Blocked), []);
    }

    #[test]
    fn the_ends_of_the_address_space_are_reached() {
        use Standing::{Blocked, Served, Trusted};
        let networks = Networks::new(&[
            said("0.0.0.0/0", Some(Blocked), None),
            said("0.0.0.0/32", Some(Trusted), None),
            said("255.255.255.255/32", Some(Trusted), None),
            said("ffff::/16", Some(Blocked), None),
        ]);
        assert_eq!(standing(&networks, "0.0.0.0"), Trusted);
        assert_eq!(standing(&networks, "0.0.0.1"), Blocked);
        assert_eq!(standing(&networks, "255.255.255.254"), Blocked);
        assert_eq!(standing(&networks, "255.255.255.255"), Trusted);
        assert_eq!(standing(&networks, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Blocked);
        assert_eq!(standing(&networks, "::"), Served);
    }

    #[test]
    fn nothing_said_is_served() {
        let networks = Networks::new(&[]);
        assert!(networks.is_empty());
        assert_eq!(networks.of("192.0.2.1".parse().unwrap()), Rule::default());
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        // A narrow choice of bits, so that networks nest, meet and repeat.
        let bits = prop::collection::vec(prop::sample::select(vec![0u8, 1, 127, 128, 255]), 16);
        (any::<bool>(), bits, 0u8..=128).prop_map(|(v6, bits, length)| {
            let bytes: [u8; 16] = bits.try_into().unwrap();
            let net = if v6 {
                IpNet::new(Ipv6Addr::from(bytes).into(), length).unwrap()
            } else {
                let four: [u8; 4] = bytes[..4].try_into().unwrap();
                IpNet::new(Ipv4Addr::from(four).into(), length % 33).unwrap()
            };
            net.trunc()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// The spans say what a search through everything that was said finds.
        #[test]
        fn spans_say_what_a_search_through_all_finds(
            nets in prop::collection::vec((any_net(), 0u8..4, any::<bool>()), 0..40),
            probes in prop::collection::vec(any_net(), 1..40),
        ) {
            let all: Vec<Said> = nets.iter().zip(1u32..).map(|(&(net, standing, limit), nth)| {
                Said {
                    net,
                    standing: [
                        None,
                        Some(Standing::Served),
                        Some(Standing::Trusted),
                        Some(Standing::Blocked),
                    ][usize::from(standing)],
                    limit: limit.then_some(Rate { per_s: nth, burst: 1 }),
                }
            }).collect();
            let networks = Networks::new(&all);
            let nets = all.iter().map(|said| &said.net).chain(&probes);
            let ends = nets.flat_map(|net| [net.network(), net.broadcast()]);
            let probes: Vec<IpAddr> = ends.collect();
            for ip in probes {
                let mut around: Vec<&Said> =
                    all.iter().filter(|said| said.net.contains(&ip.to_canonical())).collect();
                around.sort_by_key(|said| said.net.prefix_len());
                let standing = around.iter().rev().find_map(|said| said.standing);
                let limit = around.iter().rev().find_map(|said| said.limit);
                let rule = networks.of(ip);
                prop_assert_eq!(rule.standing, standing.unwrap_or_default(), "{}", ip);
                let got = rule.limit.map(|number| networks.limits()[number as usize]);
                prop_assert_eq!(got, limit, "{}", ip);
            }
        }
    }
}
