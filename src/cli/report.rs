//! Counters as lines for a person.

use std::fmt::Write as _;

use super::latency;
use crate::reactor::{self, Finished};
use crate::shard::counters::{Counters, DropReason};
use crate::shard::pinholes::{Kind, Pinholes};
use crate::shard::refused::RefuseReason;

/// What reactors and shards leave behind, as the lines a server ends with.
#[must_use]
pub fn final_lines(finished: &[Finished<Counters>]) -> Vec<String> {
    let shards: Vec<&Counters> = finished.iter().map(|reactor| &reactor.value).collect();
    let mut lines = shard_lines(&shards);
    let mut sums = vec![0; reactor::Counters::NAMES.len()];
    for reactor in finished {
        for (sum, value) in sums.iter_mut().zip(reactor.counters.values()) {
            *sum += value;
        }
    }
    let named = reactor::Counters::NAMES.into_iter().zip(sums).filter(|&(_, value)| value > 0);
    lines.push(join(named));
    let times: Vec<_> = finished.iter().map(|reactor| reactor.service_times.clone()).collect();
    lines.extend(latency::final_lines(&times));
    lines
}

/// The counters of all shards together, zeros left out, a few words a line.
fn shard_lines(shards: &[&Counters]) -> Vec<String> {
    let mut sum = Counters::default();
    for counters in shards {
        sum += counters;
    }
    let mut answered = format!("answered {}", sum.answered.total());
    for (status, count) in sum.answered.iter() {
        let _ = write!(answered, ", {status}: {count}");
    }
    let named = join(sum.named().filter(|&(_, value)| value > 0));
    let dropped = join(
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason.name(), sum.dropped(reason)))
            .filter(|&(_, value)| value > 0),
    );
    let refused = join(
        RefuseReason::ALL
            .into_iter()
            .map(|reason| (reason.name(), sum.refused(reason)))
            .filter(|&(_, value)| value > 0),
    );
    let mut lines = vec![answered];
    lines.extend((!named.is_empty()).then_some(named));
    lines.extend((!refused.is_empty()).then(|| format!("refused: {refused}")));
    lines.extend((!dropped.is_empty()).then(|| format!("not answered: {dropped}")));
    lines.extend(sum.keepalives.iter().map(|(kind, pinholes)| keepalive_line(kind, pinholes)));
    let trips = sum.round_trips.us();
    lines.extend((!trips.is_empty()).then(|| {
        let (p50, p99) = (trips.value_at_quantile(0.5), trips.value_at_quantile(0.99));
        format!("round trips {}: us p50 {p50}, p99 {p99}, max {}", trips.len(), trips.max())
    }));
    lines
}

/// The keepalives of one kind; what must be 0 is shown also where it is.
fn keepalive_line(kind: Kind, pinholes: &Pinholes) -> String {
    let Pinholes { due, sent, skipped, unsendable, missed, .. } = pinholes;
    let late = pinholes.late_us();
    let (p50, p99) = (late.value_at_quantile(0.5), late.value_at_quantile(0.99));
    let max = late.max();
    format!(
        "keepalives {}: due {due}, sent {sent}, skipped {skipped}, unsendable {unsendable}, missed \
         {missed}, late us p50 {p50}, p99 {p99}, max {max}",
        kind.name()
    )
}

/// `name value` pairs with commas between.
fn join<'a>(pairs: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut line = String::new();
    for (name, value) in pairs {
        let comma = if line.is_empty() { "" } else { ", " };
        let _ = write!(line, "{comma}{name} {value}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_left_out_and_shards_are_summed() {
        let mut one = Counters { requests: 3, kicked: 1, ..Counters::default() };
        one.answered.count(200);
        one.drop(DropReason::Ack);
        one.refuse(RefuseReason::Hops);
        let lines = shard_lines(&[&one, &one]);
        let expected = [
            "answered 2, 200: 2",
            "requests 6, kicked 2",
            "refused: hops 2",
            "not answered: ack 2",
        ];
        assert_eq!(lines, expected);
        assert_eq!(shard_lines(&[]), ["answered 0"]);
        let mut one = Counters::default();
        one.round_trips.note(std::time::Duration::from_micros(100));
        let trips = "round trips 2: us p50 100, p99 100, max 100";
        assert_eq!(shard_lines(&[&one, &one]), ["answered 0", trips]);
    }

    #[test]
    fn keepalives_show_what_must_be_nought() {
        let mut pinholes = Pinholes::default();
        (pinholes.due, pinholes.sent, pinholes.skipped) = (3, 2, 1);
        let expected = "keepalives raw: due 3, sent 2, skipped 1, unsendable 0, missed 0, late us \
                        p50 0, p99 0, max 0";
        assert_eq!(keepalive_line(Kind::Raw, &pinholes), expected);
    }
}
