//! What of the blocked sources the kernel may drop: no more than the guard would. It owns that
//! choice; the guard's list and the settings come in as values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Settings;
use crate::guard::networks::{Networks, Said, Standing};
use crate::limits::SHIELD_NETWORKS_MAX;
use crate::shard::blocks::BlockItem;
use crate::shard::networks_said;
use crate::time::Instant;

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// What is said of networks, as far as the kernel obeys it.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    networks: Networks,
    trusted: Vec<IpNet>,
    /// Networks that are never served.
    fixed: Vec<IpNet>,
    /// The guard's list holds for loopback, and the kernel shall obey it.
    loopback: bool,
}

/// A network that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Until when; `None` until somebody says otherwise.
    pub until: Option<Instant>,
    /// What is kept where not everything can be: the larger the longer.
    pub worth: Worth,
}

/// What is kept where not everything can be, the most important last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// The guard has blocked it, so many seconds after its clock began.
    Since(u64),
    /// An operator has.
    Operator,
    /// The configuration names it; a shorter prefix counts for more.
    Fixed(u8),
}

/// Networks that are dropped.
pub type Drops = BTreeMap<IpNet, Dropped>;

impl Rules {
    /// Those of a configuration.
    #[must_use]
    pub fn of(settings: &Settings) -> Rules {
        let networks: Vec<_> = settings.networks().cloned().collect();
        let mut said = networks_said(&networks);
        if !settings.shield.loopback {
            let net = |text: &&str| text.parse::<IpNet>().ok();
            let served = |net| Said { net, standing: Some(Standing::Served), limit: None };
            said.extend(LOOPBACK.iter().filter_map(net).map(served));
        }
        let networks = Networks::configured(&settings.guard, &said);
        let mut fixed = networks.of_standing(Standing::Blocked);
        if !settings.shield.loopback {
            fixed.retain(|net| !net.addr().is_loopback());
        }
        Rules {
            trusted: networks.of_standing(Standing::Trusted),
            networks,
            fixed,
            loopback: settings.shield.loopback && settings.guard.loopback,
        }
    }

    /// Networks nothing holds for.
    #[must_use]
    pub fn trusted(&self) -> Vec<IpNet> {
        self.trusted.clone()
    }

    /// Networks that are never served, and those of `blocks` that the guard drops whole. What does
    /// not fit is left out and counted.
    #[must_use]
    pub fn drops(&self, now: Instant, blocks: &[BlockItem]) -> (Drops, usize) {
        let mut drops = Drops::new();
        let mut left_out = 0;
        let fixed = self.fixed.iter().map(|&net| {
            (net, Dropped { until: None, worth: Worth::Fixed(255 - net.prefix_len()) })
        });
        let blocked = blocks.iter().filter(|item| self.is_dropped(item)).map(|item| {
            let since =
                (now.saturating_since(Instant::ZERO)).as_secs().saturating_sub(item.since_s);
            let worth = if item.by_operator { Worth::Operator } else { Worth::Since(since) };
            let left = item.left_s.map(std::time::Duration::from_secs);
            (item.network, Dropped { until: left.map(|left| now + left), worth })
        });
        for (net, drop) in fixed.chain(blocked) {
            if drops.len() < SHIELD_NETWORKS_MAX || drops.contains_key(&net) {
                drops.insert(net, drop);
            } else {
                left_out += 1;
            }
        }
        (drops, left_out)
    }

    fn is_dropped(&self, item: &BlockItem) -> bool {
        let address = item.network.addr();
        // Of a /64 with somebody trusted in it the guard takes care by itself.
        let is_mixed = || {
            let behind = self.trusted.partition_point(|trusted| *trusted < item.network);
            self.trusted.get(behind).is_some_and(|trusted| item.network.contains(trusted))
        };
        let stands = self.networks.of(address).standing;
        item.whole
            && item.left_s != Some(0)
            && (self.loopback || !is_loopback(address))
            && stands == Standing::Served
            && !is_mixed()
    }
}

fn is_loopback(address: IpAddr) -> bool {
    // The guard names a source of IPv6 by its /64.
    address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in pairs {
            settings.apply(key, value, Origin::Default).unwrap();
        }
        settings
    }

    fn item(net: &str) -> BlockItem {
        BlockItem {
            network: net.parse().unwrap(),
            whole: true,
            by_operator: false,
            times: 1,
            since_s: 10,
            left_s: Some(600),
        }
    }

    fn dropped(pairs: &[(&str, &str)], blocks: &[BlockItem]) -> Vec<String> {
        let (drops, left_out) = Rules::of(&settings(pairs)).drops(Instant::from_secs(100), blocks);
        assert_eq!(left_out, 0);
        drops.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_guard_lets_through_the_kernel_does_too() {
        let said = [
            ("guard.trusted", "10.0.0.0/8, 2001:db8:1::5/128"),
            ("guard.blocked", "10.1.0.0/30, 198.51.100.0/24"),
            ("network.\"198.51.100.128/25\".blocked", "Off"),
        ];
        let restrained = BlockItem { whole: false, ..item("192.0.2.2/32") };
        let over = BlockItem { left_s: Some(0), ..item("192.0.2.3/32") };
        let blocks = [
            item("192.0.2.1/32"),
            restrained,
            over,
            item("10.2.2.2/32"),
            item("127.0.0.9/32"),
            item("198.51.100.7/32"),
            item("198.51.100.200/32"),
            item("2001:db8:1::/64"),
            item("2001:db8:2::/64"),
            item("::/64"),
        ];
        let expected = [
            "10.1.0.0/30",
            "192.0.2.1/32",
            "198.51.100.0/25",
            "198.51.100.200/32",
            "2001:db8:2::/64",
        ];
        assert_eq!(dropped(&said, &blocks), expected);
    }

    #[test]
    fn loopback_is_left_alone_unless_both_are_asked_for_it() {
        let blocks = [item("127.0.0.9/32")];
        let both = [("shield.loopback", "On"), ("guard.loopback", "On")];
        assert_eq!(dropped(&both, &blocks), ["127.0.0.9/32"]);
        assert_eq!(dropped(&both[..1], &blocks), [""; 0]);
        assert_eq!(dropped(&both[1..], &blocks), [""; 0]);
        // Blocking everybody does not block this host's own programs in the kernel.
        let all = [("guard.blocked", "0.0.0.0/0, 127.0.7.0/24, ::/0")];
        let (drops, _) = Rules::of(&settings(&all)).drops(Instant::ZERO, &[]);
        for inside in ["127.0.7.1", "127.255.255.255", "::1"] {
            let ip: IpAddr = inside.parse().unwrap();
            assert!(!drops.keys().any(|net| net.contains(&ip)), "{inside}");
        }
        for outside in ["126.255.255.255", "128.0.0.0", "::2", "2001:db8::1"] {
            let ip: IpAddr = outside.parse().unwrap();
            assert!(drops.keys().any(|net| net.contains(&ip)), "{outside}");
        }
    }

    #[test]
    fn configuration_counts_more_than_operators_and_they_more_than_the_guard() {
        let operator = BlockItem { by_operator: true, left_s: None, ..item("192.0.2.1/32") };
        let newer = BlockItem { since_s: 1, ..item("192.0.2.2/32") };
        let rules = Rules::of(&settings(&[("guard.blocked", "198.51.100.0/24, 10.0.0.0/8")]));
        let blocks = [operator, newer, item("192.0.2.3/32")];
        let (drops, _) = rules.drops(Instant::from_secs(100), &blocks);
        let mut all: Vec<_> = drops.iter().map(|(net, drop)| (drop.worth, *net)).collect();
        all.sort();
        let order: Vec<String> = all.iter().rev().map(|(_, net)| net.to_string()).collect();
        let expected =
            ["10.0.0.0/8", "198.51.100.0/24", "192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"];
        assert_eq!(order, expected);
    }
}
