//! Every alert as it stands, those that are over, and who has taken note of what.

use std::collections::VecDeque;

use super::rule::{Measured, Rule, Verdict};
use super::watch::{Change, Phase, State, Times};
use crate::config::AlertRules;
use crate::time::UnixTime;

/// Alerts that are over and listed.
const HISTORY_MAX: usize = 256;

/// Who has taken note.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Acknowledged {
    pub by: String,
    pub at: UnixTime,
    /// In the operator's own words; empty where there are none.
    pub note: String,
}

/// One rule's alert.
#[derive(Clone, Debug)]
pub(super) struct Alert {
    pub rule: Rule,
    phase: Phase,
    /// When what is pending or firing began.
    pub since: Option<UnixTime>,
    pub verdict: Verdict,
    /// What it said when it was out of the ordinary last.
    pub said: Option<Measured>,
    pub acknowledged: Option<Acknowledged>,
}

impl Alert {
    pub fn state(&self) -> State {
        self.phase.state()
    }
}

/// An alert that is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Past {
    pub rule: Rule,
    pub started: UnixTime,
    pub ended: UnixTime,
    pub said: Option<Measured>,
    pub acknowledged: Option<Acknowledged>,
}

/// What is to be told of an alert.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub rule: Rule,
    pub change: Change,
    pub said: Measured,
    pub started: UnixTime,
    /// Once it is over.
    pub ended: Option<UnixTime>,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Book {
    /// In the order of the rules.
    pub alerts: Vec<Alert>,
    /// The latest first.
    pub history: VecDeque<Past>,
    /// When it was written last.
    pub at: Option<UnixTime>,
}

impl Book {
    pub fn new() -> Book {
        let one = |rule| Alert {
            rule,
            phase: Phase::default(),
            since: None,
            verdict: Verdict::Unknown,
            said: None,
            acknowledged: None,
        };
        Book { alerts: Rule::ALL.map(one).into(), history: VecDeque::new(), at: None }
    }

    /// Takes what the rules say of a moment. Returns what is to be told.
    pub fn take(
        &mut self,
        now_s: u64,
        wall: UnixTime,
        verdicts: [Verdict; Rule::ALL.len()],
        rules: &AlertRules,
    ) -> Vec<Told> {
        self.at = Some(wall);
        let mut told = Vec::new();
        for (alert, verdict) in self.alerts.iter_mut().zip(verdicts) {
            let pending_s = if alert.rule.is_at_once() { 0 } else { rules.pending_s };
            let is_off = verdict == Verdict::Off;
            let times = Times {
                pending_s: pending_s.into(),
                // What is switched off is over.
                hold_off_s: if is_off { 0 } else { rules.hold_off_s.into() },
                repeat_s: rules.repeat_s.map(Into::into),
            };
            let over = match &verdict {
                Verdict::Over(measured) => {
                    alert.said = Some(measured.clone());
                    Some(true)
                }
                Verdict::Fine(_) | Verdict::Off => Some(false),
                Verdict::Unknown => None,
            };
            alert.verdict = verdict;
            let change = alert.phase.step(now_s, over, times, alert.acknowledged.is_some());
            if alert.state() != State::Quiet {
                alert.since.get_or_insert(wall);
            }
            if let (Some(change), Some(said), Some(started)) =
                (change, alert.said.clone(), alert.since)
            {
                let ended = (change == Change::Resolved).then_some(wall);
                told.push(Told { rule: alert.rule, change, said, started, ended });
            }
            if change == Some(Change::Resolved) {
                self.history.push_front(Past {
                    rule: alert.rule,
                    started: alert.since.unwrap_or(wall),
                    ended: wall,
                    said: alert.said.clone(),
                    acknowledged: alert.acknowledged.take(),
                });
                self.history.truncate(HISTORY_MAX);
            }
            if alert.state() == State::Quiet {
                (alert.since, alert.said) = (None, None);
            }
        }
        told
    }

    /// Somebody takes note of an alert. Returns whether it fires: of others there is nothing to
    /// take note of.
    pub fn acknowledge(&mut self, rule: Rule, acknowledged: Acknowledged) -> bool {
        let alert = &mut self.alerts[rule as usize];
        let fires = alert.state() == State::Firing;
        if fires {
            alert.acknowledged = Some(acknowledged);
        }
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: fn() -> AlertRules =
        || AlertRules { pending_s: 20, hold_off_s: 30, ..AlertRules::default() };

    fn verdicts(rule: Rule, verdict: &Verdict) -> [Verdict; Rule::ALL.len()] {
        Rule::ALL.map(|one| if one == rule { verdict.clone() } else { Verdict::Unknown })
    }

    fn measured(value: f64) -> Measured {
        Measured { value, threshold: 5.0, said: format!("it is {value}") }
    }

    /// Ten seconds a moment.
    fn run(book: &mut Book, rule: Rule, moments: &[Verdict]) -> Vec<Change> {
        let from = book.at.map_or(0, |at| at.0 + 10);
        let told = moments
            .iter()
            .zip((from..).step_by(10))
            .flat_map(|(verdict, s)| book.take(s, UnixTime(s), verdicts(rule, verdict), &RULES()));
        told.map(|told| told.change).collect()
    }

    #[test]
    fn an_alert_that_is_over_is_history_with_what_was_said_and_who_knew() {
        let mut book = Book::new();
        let (over, fine) = (Verdict::Over(measured(7.0)), Verdict::Fine(measured(1.0)));
        let acknowledged =
            || Acknowledged { by: "ann".into(), at: UnixTime(1), note: "on it".into() };
        assert!(!book.acknowledge(Rule::Failures, acknowledged()), "it does not fire");
        let changes = run(&mut book, Rule::Failures, &[over.clone(), over.clone(), over]);
        assert_eq!(changes, [Change::Fired]);
        assert_eq!(book.alerts[Rule::Failures as usize].since, Some(UnixTime(0)));
        assert!(book.acknowledge(Rule::Failures, acknowledged()));
        let changes = run(&mut book, Rule::Failures, &vec![fine; 4]);
        assert_eq!(changes, [Change::Resolved]);
        let past = &book.history[0];
        assert_eq!((past.started, past.ended), (UnixTime(0), UnixTime(60)));
        assert_eq!(past.said.as_ref().map(|said| said.value), Some(7.0));
        assert_eq!(past.acknowledged, Some(acknowledged()));
        let alert = &book.alerts[Rule::Failures as usize];
        assert_eq!((alert.since, &alert.acknowledged), (None, &None));
    }

    #[test]
    fn patterns_fire_at_once_and_what_is_switched_off_is_over_at_once() {
        let mut book = Book::new();
        let over = Verdict::Over(measured(1.0));
        assert_eq!(run(&mut book, Rule::Walk, &[over]), [Change::Fired]);
        assert_eq!(run(&mut book, Rule::Walk, &[Verdict::Unknown]), []);
        assert_eq!(run(&mut book, Rule::Walk, &[Verdict::Off]), [Change::Resolved]);
    }

    #[test]
    fn history_is_bounded_and_the_latest_is_first() {
        let mut book = Book::new();
        let over = Verdict::Over(measured(1.0));
        for _ in 0..HISTORY_MAX + 3 {
            run(&mut book, Rule::Walk, &[over.clone(), Verdict::Off]);
        }
        assert_eq!(book.history.len(), HISTORY_MAX);
        assert!(book.history[0].ended > book.history[1].ended);
    }
}
