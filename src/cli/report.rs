//! Counters as lines for a person.

use std::fmt::Write as _;

use crate::shard::counters::{Counters, DropReason};

/// The counters of all shards together, zeros left out, a few words a line.
#[must_use]
pub fn shard_lines(shards: &[Counters]) -> Vec<String> {
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
    let mut lines = vec![answered];
    lines.extend((!named.is_empty()).then_some(named));
    lines.extend((!dropped.is_empty()).then(|| format!("not answered: {dropped}")));
    lines
}

/// `name value` pairs with commas between.
pub fn join<'a>(pairs: impl Iterator<Item = (&'a str, u64)>) -> String {
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
        let lines = shard_lines(&[one.clone(), one]);
        assert_eq!(lines, ["answered 2, 200: 2", "requests 6, kicked 2", "not answered: ack 2"]);
        assert_eq!(shard_lines(&[]), ["answered 0"]);
    }
}
