//! What the shards have counted at each of the last looks, so that a page can say how fast things
//! happen. Nobody counts while nobody looks, and however many look, the shards are asked once a
//! second at most.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::api::Api;
use super::super::problem::Problem;
use super::super::registrations::unexpected;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::counters::DropReason;
use crate::shard::tally::Tally;

/// The shards are asked again after this long.
const LOOK_MIN: Duration = Duration::from_millis(900);
/// Rates are those of the time since the oldest look within this.
const RATES_OVER: Duration = Duration::from_secs(10);
/// Looks that are remembered, and for how long.
pub(super) const LOOKS_MAX: usize = 60;
const REMEMBERED: Duration = Duration::from_secs(300);

/// What one shard had counted, and held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub accounts: u64,
    pub bindings: u64,
    pub aors_bound: u64,
    pub suspensions: u64,
    pub sources_blocked: u64,
    pub keepalives: u64,
    pub waiting_us: u64,
    pub requests: u64,
    pub registered: u64,
    pub refreshed: u64,
    pub replaced: u64,
    pub left: u64,
    pub refused: u64,
    pub not_answered: u64,
}

impl Figures {
    fn of(tally: &Tally) -> Figures {
        let Tally { counters, levels, .. } = tally;
        // A challenge and a hint to ask for longer are the way to a registration.
        let is_refusal = |status: u16| status >= 400 && !matches!(status, 401 | 407 | 423);
        let refused = counters.answered.iter().filter(|(status, _)| is_refusal(*status));
        // What asks for no answer misses none.
        let silent = [DropReason::Keepalive, DropReason::Ack, DropReason::Stun];
        let not_answered = DropReason::ALL.iter().filter(|reason| !silent.contains(reason));
        Figures {
            accounts: levels.accounts,
            bindings: levels.bindings,
            aors_bound: levels.aors_bound,
            suspensions: levels.suspensions,
            sources_blocked: levels.sources_blocked,
            keepalives: levels.keepalives,
            waiting_us: levels.overload_waiting_us,
            requests: counters.requests,
            registered: counters.registered,
            refreshed: counters.refreshed,
            replaced: counters.kicked + counters.retargeted,
            left: counters.unregistered
                + counters.expired
                + counters.removed
                + counters.removed_unreachable,
            refused: refused.map(|(_, count)| count).sum(),
            not_answered: not_answered.map(|reason| counters.dropped(*reason)).sum(),
        }
    }

    /// All shards together. What every shard has alike is counted once.
    pub fn sum(shards: &[Figures]) -> Figures {
        let of = |field: fn(&Figures) -> u64| shards.iter().map(field).sum();
        let largest = |field: fn(&Figures) -> u64| shards.iter().map(field).max().unwrap_or(0);
        Figures {
            accounts: of(|one| one.accounts),
            bindings: of(|one| one.bindings),
            aors_bound: of(|one| one.aors_bound),
            suspensions: of(|one| one.suspensions),
            sources_blocked: largest(|one| one.sources_blocked),
            keepalives: of(|one| one.keepalives),
            waiting_us: largest(|one| one.waiting_us),
            requests: of(|one| one.requests),
            registered: of(|one| one.registered),
            refreshed: of(|one| one.refreshed),
            replaced: of(|one| one.replaced),
            left: of(|one| one.left),
            refused: of(|one| one.refused),
            not_answered: of(|one| one.not_answered),
        }
    }
}

/// How often things happened, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub requests: f64,
    pub registered: f64,
    pub refreshed: f64,
    pub replaced: f64,
    pub left: f64,
    pub refused: f64,
    pub not_answered: f64,
}

impl Rates {
    fn between(before: &Figures, now: &Figures, time: Duration) -> Rates {
        let of = |field: fn(&Figures) -> u64| {
            field(now).saturating_sub(field(before)) as f64 / time.as_secs_f64()
        };
        Rates {
            requests: of(|one| one.requests),
            registered: of(|one| one.registered),
            refreshed: of(|one| one.refreshed),
            replaced: of(|one| one.replaced),
            left: of(|one| one.left),
            refused: of(|one| one.refused),
            not_answered: of(|one| one.not_answered),
        }
    }
}

struct Look {
    at: Instant,
    shards: Vec<Figures>,
}

/// What the last looks have shown.
pub(super) struct Seen {
    pub shards: Vec<Figures>,
    pub sum: Figures,
    /// Nothing after the first look.
    pub rates: Option<(Rates, Vec<Rates>)>,
    /// From each look to the next, the oldest first.
    pub course: Vec<Rates>,
}

/// The last looks.
#[derive(Default)]
pub(in super::super) struct Looks(Mutex<VecDeque<Look>>);

impl Looks {
    /// Looks at the shards, unless somebody just has.
    pub(super) async fn look(&self, api: &Api) -> Result<Seen, Problem> {
        let mut looks = self.0.lock().await;
        if looks.back().is_none_or(|last| last.at.elapsed() >= LOOK_MIN) {
            let mut shards = Vec::with_capacity(usize::from(api.shards.count()));
            for shard in 0..api.shards.count() {
                match api.shards.order(ShardId(shard), Control::Count).await? {
                    Reply::Counted(tally) => shards.push(Figures::of(&tally)),
                    _ => return Err(unexpected()),
                }
            }
            keep(&mut looks, Look { at: Instant::now(), shards });
        }
        Ok(seen(&looks))
    }
}

fn keep(looks: &mut VecDeque<Look>, look: Look) {
    let is_old = |one: &Look| look.at - one.at > REMEMBERED;
    while looks.len() >= LOOKS_MAX || looks.front().is_some_and(is_old) {
        looks.pop_front();
    }
    looks.push_back(look);
}

fn seen(looks: &VecDeque<Look>) -> Seen {
    let sums: Vec<(Instant, Figures)> =
        looks.iter().map(|look| (look.at, Figures::sum(&look.shards))).collect();
    let course = sums.windows(2).map(|pair| {
        let ((then, before), (at, now)) = (&pair[0], &pair[1]);
        Rates::between(before, now, *at - *then)
    });
    let course = course.collect();
    let Some(last) = looks.back() else {
        return Seen { shards: Vec::new(), sum: Figures::default(), rates: None, course };
    };
    // If nobody has looked for long, since the look before.
    let recent = looks.iter().position(|look| last.at - look.at <= RATES_OVER);
    let from = recent.unwrap_or(0).min(looks.len().saturating_sub(2));
    let sum = Figures::sum(&last.shards);
    let rates = looks.get(from).filter(|first| first.at < last.at).map(|first| {
        let time = last.at - first.at;
        let each = first.shards.iter().zip(&last.shards);
        let each = each.map(|(before, now)| Rates::between(before, now, time)).collect();
        (Rates::between(&Figures::sum(&first.shards), &sum, time), each)
    });
    Seen { shards: last.shards.clone(), sum, rates, course }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(list: &[(u64, u64)]) -> VecDeque<Look> {
        let (begin, mut looks) = (Instant::now(), VecDeque::new());
        for &(second, refreshed) in list {
            let shards = vec![Figures { refreshed, ..Figures::default() }; 2];
            keep(&mut looks, Look { at: begin + Duration::from_secs(second), shards });
        }
        looks
    }

    fn refreshed(list: &[(u64, u64)]) -> Option<f64> {
        seen(&looks(list)).rates.map(|(all, each)| {
            assert_eq!(each.len(), 2);
            assert!((each[0].refreshed * 2.0 - all.refreshed).abs() < 1e-9);
            all.refreshed
        })
    }

    #[test]
    fn a_rate_is_of_the_last_seconds_or_since_the_look_before() {
        assert_eq!(refreshed(&[]), None);
        assert_eq!(refreshed(&[(0, 5)]), None);
        assert_eq!(refreshed(&[(0, 0), (2, 10)]), Some(10.0));
        assert_eq!(refreshed(&[(0, 0), (90, 100), (95, 200), (100, 300)]), Some(40.0));
        assert_eq!(refreshed(&[(0, 0), (100, 100)]), Some(2.0));
    }

    #[test]
    fn looks_are_forgotten() {
        let many: Vec<(u64, u64)> = (0..200).map(|second| (second, second)).collect();
        assert_eq!(looks(&many).len(), LOOKS_MAX);
        assert_eq!(seen(&looks(&many)).course.len(), LOOKS_MAX - 1);
        assert_eq!(looks(&[(0, 0), (1, 1), (1000, 2)]).len(), 1);
    }
}
