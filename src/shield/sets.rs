//! What `aorta-nft` has been told, and the text by which nftables comes to hold it. It owns which
//! set a network belongs in and how a change becomes one transaction; it runs nothing.
//!
//! Single sources, an address of IPv4 or a /64 of IPv6, come and go all the time: they are in sets
//! that hash, and a change is told by itself. All other networks change when an operator changes
//! them: they are in sets of intervals, which are told anew as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use ipnet::IpNet;

use crate::limits::SHIELD_NETWORKS_MAX;
use crate::time::Instant;

/// The table the sets are in, as nftables names it.
pub const TABLE: &str = "inet aorta";
/// The sets of what is blocked: sources of IPv4 and IPv6, then networks of both.
pub const BLOCKED_SETS: [&str; 4] = ["blocked4", "blocked6", "blocked4_nets", "blocked6_nets"];
/// Elements named in one command.
const ELEMENTS_PER_COMMAND: usize = 1024;

/// What is to be blocked, what of that nftables has not been told, and until when.
#[derive(Debug, Default)]
pub struct Sets {
    wanted: [BTreeMap<IpNet, Option<Instant>>; 4],
    /// Sources that were added or taken out since nftables took what it was told.
    changed: [BTreeSet<IpNet>; 2],
    /// The sets that are to be told anew from the beginning.
    anew: [bool; 4],
    refused: usize,
}

/// The number of the set a network belongs in.
fn set_of(net: IpNet) -> usize {
    match net {
        IpNet::V4(net) if net.prefix_len() == 32 => 0,
        IpNet::V6(net) if net.prefix_len() == 64 => 1,
        IpNet::V4(_) => 2,
        IpNet::V6(_) => 3,
    }
}

impl Sets {
    /// Networks that are blocked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wanted.iter().map(BTreeMap::len).sum()
    }

    /// Whether nothing is blocked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Networks refused since this was asked last.
    pub fn take_refused(&mut self) -> usize {
        std::mem::take(&mut self.refused)
    }

    /// Blocks a network until a moment, or without end. Refused, and counted, where there are as
    /// many as there may be, or where it overlaps another of its set.
    pub fn add(&mut self, net: IpNet, until: Option<Instant>) {
        let set = set_of(net);
        let known = self.wanted[set].contains_key(&net);
        let full = self.len() >= SHIELD_NETWORKS_MAX;
        if !known && (full || self.overlaps(set, net)) {
            self.refused += 1;
            return;
        }
        if self.wanted[set].insert(net, until) != Some(until) {
            self.changes(set, net);
        }
    }

    /// Blocks it no more.
    pub fn del(&mut self, net: IpNet) {
        let set = set_of(net);
        if self.wanted[set].remove(&net).is_some() {
            self.changes(set, net);
        }
    }

    /// Nothing is blocked, whatever nftables may hold.
    pub fn flush(&mut self) {
        *self = Sets { anew: [true; 4], refused: self.refused, ..Sets::default() };
    }

    fn changes(&mut self, set: usize, net: IpNet) {
        match self.changed.get_mut(set) {
            Some(changed) if changed.len() < SHIELD_NETWORKS_MAX => _ = changed.insert(net),
            Some(changed) => {
                changed.clear();
                self.anew[set] = true;
            }
            None => self.anew[set] = true,
        }
    }

    fn overlaps(&self, set: usize, net: IpNet) -> bool {
        let before = self.wanted[set].range(..=net).next_back();
        let behind = self.wanted[set].range(net..).next();
        before.is_some_and(|(other, _)| other.contains(&net))
            || behind.is_some_and(|(other, _)| net.contains(other))
    }

    /// The transaction by which nftables comes to hold what is wanted; `None` where it does.
    pub fn transaction(&mut self, now: Instant) -> Option<String> {
        for wanted in &mut self.wanted {
            // Their time is over there as well.
            wanted.retain(|_, until| until.is_none_or(|until| until > now));
        }
        let mut text = String::new();
        for (number, set) in BLOCKED_SETS.iter().enumerate() {
            let wanted = &self.wanted[number];
            let timed =
                |(net, until): (&IpNet, &Option<Instant>)| element(*net, Some((*until, now)));
            if self.anew[number] {
                // A string takes everything.
                let _ = writeln!(text, "flush set {TABLE} {set}");
                command(&mut text, "add", set, wanted.iter().map(timed));
                continue;
            }
            let changed = self.changed.get(number).into_iter().flatten();
            // What is not there cannot be deleted, and what is there keeps its time when it is
            // added again: so it is added, deleted, and added.
            for verb in ["add", "delete"] {
                command(&mut text, verb, set, changed.clone().map(|net| element(*net, None)));
            }
            let again = changed.filter_map(|net| wanted.get_key_value(net)).map(timed);
            command(&mut text, "add", set, again);
        }
        (!text.is_empty()).then_some(text)
    }

    /// nftables has taken the transaction.
    pub fn applied(&mut self) {
        self.changed = Default::default();
        self.anew = [false; 4];
    }

    /// Nobody knows what nftables holds: it is to be told everything. Returns whether that is more
    /// than it was told the last time.
    pub fn start_over(&mut self) -> bool {
        let was_whole = self.anew == [true; 4];
        self.anew = [true; 4];
        !was_whole
    }
}

fn command(text: &mut String, verb: &str, set: &str, elements: impl Iterator<Item = String>) {
    let mut elements = elements.peekable();
    while elements.peek().is_some() {
        let some: Vec<String> = elements.by_ref().take(ELEMENTS_PER_COMMAND).collect();
        let _ = writeln!(text, "{verb} element {TABLE} {set} {{ {} }}", some.join(", "));
    }
}

/// An element as nftables reads it, with its time where it is to have one.
fn element(net: IpNet, time: Option<(Option<Instant>, Instant)>) -> String {
    let mut text = match set_of(net) {
        0 | 1 => net.addr().to_string(),
        _ => net.to_string(),
    };
    if let Some((Some(until), now)) = time {
        let left = until.saturating_since(now) + Duration::from_nanos(999_999_999);
        let _ = write!(text, " timeout {}s", left.as_secs().max(1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn s(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn what_is_told_first_is_told_whole_and_then_only_what_changes() {
        let mut sets = Sets::default();
        sets.flush();
        sets.add(net("192.0.2.7/32"), Some(s(700)));
        sets.add(net("2001:db8:1::/64"), None);
        sets.add(net("198.51.100.0/24"), None);
        let whole = "flush set inet aorta blocked4\n\
                     add element inet aorta blocked4 { 192.0.2.7 timeout 600s }\n\
                     flush set inet aorta blocked6\n\
                     add element inet aorta blocked6 { 2001:db8:1:: }\n\
                     flush set inet aorta blocked4_nets\n\
                     add element inet aorta blocked4_nets { 198.51.100.0/24 }\n\
                     flush set inet aorta blocked6_nets\n";
        assert_eq!(sets.transaction(s(100)).unwrap(), whole);
        sets.applied();
        assert_eq!(sets.transaction(s(100)), None);

        sets.add(net("192.0.2.7/32"), Some(s(700)));
        assert_eq!(sets.transaction(s(100)), None, "it says nothing new");
        sets.del(net("192.0.2.7/32"));
        sets.add(net("192.0.2.8/32"), Some(s(101)));
        let some = "add element inet aorta blocked4 { 192.0.2.7, 192.0.2.8 }\n\
                    delete element inet aorta blocked4 { 192.0.2.7, 192.0.2.8 }\n\
                    add element inet aorta blocked4 { 192.0.2.8 timeout 1s }\n";
        assert_eq!(sets.transaction(s(100)).unwrap(), some);
        sets.applied();
        sets.del(net("198.51.100.0/24"));
        assert_eq!(sets.transaction(s(100)).unwrap(), "flush set inet aorta blocked4_nets\n");
        assert_eq!(sets.len(), 2);
    }

    #[test]
    fn after_a_failure_everything_is_told_and_what_has_ended_is_not() {
        let mut sets = Sets::default();
        sets.add(net("192.0.2.7/32"), Some(s(10)));
        sets.add(net("192.0.2.8/32"), Some(s(20)));
        sets.transaction(s(1)).unwrap();
        assert!(sets.start_over() && !sets.start_over());
        let text = sets.transaction(s(10)).unwrap();
        assert!(text.contains("{ 192.0.2.8 timeout 10s }") && !text.contains("192.0.2.7"));
        assert_eq!(text.matches("flush set").count(), 4);
    }

    #[test]
    fn networks_that_overlap_and_networks_without_number_are_refused() {
        let mut sets = Sets::default();
        for text in ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "11.0.0.0/8", "2001:db8::/32"] {
            sets.add(net(text), None);
        }
        assert_eq!((sets.len(), sets.take_refused(), sets.take_refused()), (3, 2, 0));
        // A source within a network is in another set.
        sets.add(net("10.1.2.3/32"), None);
        assert_eq!(sets.take_refused(), 0);
        sets.flush();
        for number in 0..SHIELD_NETWORKS_MAX as u32 + 5 {
            let address = std::net::Ipv4Addr::from_bits(number);
            sets.add(IpNet::from(std::net::IpAddr::V4(address)), None);
        }
        assert_eq!((sets.len(), sets.take_refused()), (SHIELD_NETWORKS_MAX, 5));
        sets.applied();
        // Whoever comes and goes without end fills nothing.
        for number in 0..2 * SHIELD_NETWORKS_MAX as u32 {
            let address = std::net::Ipv4Addr::from_bits(number);
            sets.del(IpNet::from(std::net::IpAddr::V4(address)));
            sets.add(IpNet::from(std::net::IpAddr::V4(address)), None);
        }
        assert!(sets.changed[0].len() <= SHIELD_NETWORKS_MAX);
        let text = sets.transaction(s(1)).unwrap();
        assert!(text.lines().all(|line| line.len() < 20 * ELEMENTS_PER_COMMAND));
    }
}
