//! What all shards and reactors say at one moment, as far as rules and the view of capacity look at
//! it.

use crate::guard::SecurityKind;
use crate::reactor;
use crate::shard::counters::DropReason;
use crate::shard::refused::RefuseReason;
use crate::shard::tally::Tally;

/// The numbers of one moment. All but the levels only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::admin) struct Reading {
    /// Seconds since some origin.
    pub at_s: f64,
    /// Bindings there are.
    pub bindings: u64,
    /// Accounts there are.
    pub accounts: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Bindings added.
    pub registered: u64,
    /// REGISTERs that did what they asked.
    pub successes: u64,
    /// REGISTERs that were decided otherwise.
    pub failures: u64,
    /// Requests answered.
    pub answered: u64,
    /// Pairs found flapping.
    pub flapping: u64,
    pub keepalives_sent: u64,
    pub keepalives_missed: u64,
    /// Requests that were shed, handed over or not.
    pub shed: u64,
    /// Events that could not be written to history.
    pub unwritten: u64,
    /// Security events, by their kind.
    pub security: [u64; SecurityKind::ALL.len()],
    /// How long each reactor has worked, microseconds.
    pub busy_us: Vec<u64>,
}

impl Reading {
    /// What shards and reactors say.
    pub fn of(at_s: f64, tallies: &[Box<Tally>], reactors: &[reactor::Counters]) -> Reading {
        let mut all = Reading { at_s, ..Reading::default() };
        for tally in tallies {
            let (counters, levels) = (&tally.counters, &tally.levels);
            all.bindings += levels.bindings;
            all.accounts += levels.accounts;
            all.registered += counters.registered;
            all.successes += counters.registered
                + counters.refreshed
                + counters.retargeted
                + counters.unregistered;
            all.failures += counters.bad_password
                + counters.unknown_account
                + counters.too_many_bindings
                + counters.registrar_full
                + counters.refused(RefuseReason::AccountMismatch)
                + counters.refused(RefuseReason::TooManyTries)
                + counters.refused(RefuseReason::Suspended);
            all.answered += counters.answered.total();
            all.flapping += counters.flapping;
            let keepalives = counters.keepalives.total();
            all.keepalives_sent += keepalives.sent;
            all.keepalives_missed += keepalives.missed;
            all.shed += [
                RefuseReason::OverloadProven,
                RefuseReason::OverloadKnown,
                RefuseReason::OverloadNewcomer,
            ]
            .map(|reason| counters.refused(reason))
            .iter()
            .sum::<u64>();
            all.shed += [
                DropReason::OverloadProven,
                DropReason::OverloadKnown,
                DropReason::OverloadNewcomer,
            ]
            .map(|reason| counters.dropped(reason))
            .iter()
            .sum::<u64>();
            all.unwritten += tally.history.shed;
            for (sum, count) in all.security.iter_mut().zip(tally.security) {
                *sum += count;
            }
        }
        for counters in reactors {
            all.shed += counters.handoffs_shed;
            all.busy_us.push(counters.busy_us);
            all.connections += open(counters);
        }
        all
    }
}

/// Connections of a reactor that were opened and have not been closed.
fn open(counters: &reactor::Counters) -> u64 {
    let opened =
        counters.opened_tcp + counters.opened_tls + counters.opened_ws + counters.opened_wss;
    let names = reactor::Counters::NAMES.iter().zip(counters.values());
    let closed: u64 =
        names.filter(|(name, _)| name.starts_with("closed_")).map(|(_, count)| count).sum();
    opened.saturating_sub(closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_those_that_were_not_closed_whyever() {
        let counters = reactor::Counters {
            opened_tcp: 5,
            opened_wss: 2,
            closed_idle: 1,
            closed_by_peer: 2,
            refused_per_source: 9,
            busy_us: 7,
            ..reactor::Counters::default()
        };
        let reading = Reading::of(1.0, &[], &[counters, counters]);
        assert_eq!((reading.connections, reading.busy_us), (8, vec![7, 7]));
    }
}
