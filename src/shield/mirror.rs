//! What `aorta-nft` has been told, so that it is told only what changes.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use super::line::{Order, TIMEOUT_S_MAX};
use super::rules::Drops;
use crate::time::Instant;

/// Ends that differ by less are the same: seconds left are whole ones.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What the other side holds, as far as it has said.
#[derive(Debug, Default)]
pub struct Mirror {
    held: Option<BTreeMap<IpNet, Option<Instant>>>,
}

impl Mirror {
    /// Nobody knows what is held.
    pub fn forget(&mut self) {
        self.held = None;
    }

    /// Whether it is known what is held, and that is something.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.is_empty())
    }

    /// The orders that make what is held what is wanted; none where it is.
    #[must_use]
    pub fn orders(&self, now: Instant, wanted: &Drops) -> Vec<Order> {
        let add = |(net, until): (&IpNet, Option<Instant>)| Order::Add(*net, seconds(now, until));
        let Some(held) = &self.held else {
            let all = wanted.iter().map(|(net, dropped)| add((net, dropped.until)));
            return std::iter::once(Order::Flush).chain(all).collect();
        };
        let mut orders = Vec::new();
        for (net, until) in held {
            // What ends by itself is gone there as well.
            let is_over = until.is_some_and(|until| until <= now);
            if !wanted.contains_key(net) && !is_over {
                orders.push(Order::Del(*net));
            }
        }
        for (net, dropped) in wanted {
            match held.get(net) {
                Some(until) if is_same(*until, dropped.until) => {}
                _ => orders.push(add((net, dropped.until))),
            }
        }
        orders
    }

    /// It has taken the orders that make it hold this.
    pub fn took(&mut self, wanted: &Drops) {
        let mut before = self.held.take().unwrap_or_default();
        let hold = |(net, until)| {
            // The end it was told stays the one it has.
            let told = before.remove(&net).filter(|told| is_same(*told, until));
            (net, told.unwrap_or(until))
        };
        let wanted = wanted.iter().map(|(net, dropped)| (*net, dropped.until));
        self.held = Some(wanted.map(hold).collect());
    }
}

fn is_same(one: Option<Instant>, other: Option<Instant>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one.saturating_since(other).max(other.saturating_since(one)) < TOLERANCE
        }
        (one, other) => one == other,
    }
}

fn seconds(now: Instant, until: Option<Instant>) -> Option<u32> {
    let left = until?.saturating_since(now).as_secs().max(1);
    u32::try_from(left).ok().filter(|left| *left <= TIMEOUT_S_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Dropped, Worth};
    use super::*;

    fn drops(nets: &[(&str, Option<u64>)]) -> Drops {
        let one = |(net, until): &(&str, Option<u64>)| {
            let until = until.map(Instant::from_secs);
            (net.parse().unwrap(), Dropped { until, worth: Worth::Operator })
        };
        nets.iter().map(one).collect()
    }

    fn said(mirror: &Mirror, now: u64, wanted: &Drops) -> Vec<String> {
        let orders = mirror.orders(Instant::from_secs(now), wanted);
        orders.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_is_said_once_and_then_what_changes() {
        let mut mirror = Mirror::default();
        let (a, b, c) = ("192.0.2.1/32", "192.0.2.2/32", "10.0.0.0/8");
        let first = drops(&[(a, Some(700)), (b, Some(200)), (c, None)]);
        let all =
            ["flush", "add 10.0.0.0/8 forever", "add 192.0.2.1/32 600", "add 192.0.2.2/32 100"];
        assert_eq!(said(&mirror, 100, &first), all);
        assert_eq!(said(&mirror, 100, &first), all, "nobody has taken it yet");
        mirror.took(&first);
        assert_eq!(said(&mirror, 100, &first), [""; 0]);
        // A second of rounding is no change, however often it comes.
        for until in [701, 702, 703] {
            let later = drops(&[(a, Some(until)), (b, Some(200)), (c, None)]);
            let changes = said(&mirror, 101, &later);
            assert_eq!(changes.is_empty(), until == 701, "{changes:?}");
            if until == 701 {
                mirror.took(&later);
            }
        }
        // One was lifted, one has ended by itself, one is blocked for longer.
        let second = drops(&[(a, None)]);
        assert_eq!(said(&mirror, 300, &second), ["del 10.0.0.0/8", "add 192.0.2.1/32 forever"]);
        mirror.took(&second);
        mirror.forget();
        assert_eq!(said(&mirror, 300, &second), ["flush", "add 192.0.2.1/32 forever"]);
        assert_eq!(said(&mirror, 300, &Drops::new()), ["flush"]);
    }

    #[test]
    fn a_time_without_measure_is_forever_and_none_is_a_second() {
        let wanted = drops(&[("192.0.2.1/32", Some(1 << 30)), ("192.0.2.2/32", Some(5))]);
        let all = ["flush", "add 192.0.2.1/32 forever", "add 192.0.2.2/32 1"];
        assert_eq!(said(&Mirror::default(), 100, &wanted), all);
    }
}
