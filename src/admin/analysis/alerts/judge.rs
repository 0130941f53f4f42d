//! What the rules say of a moment, from readings ten seconds apart. Pure: readings and settings
//! come in, verdicts go out. Whether an alert follows, and when, is [`watch`](super::watch)'s.

use std::collections::VecDeque;

use super::baseline::{Baseline, TICK_S};
use super::reading::Reading;
use super::rule::{Measured, Rule, Verdict};
use crate::config::AlertRules;
use crate::guard::SecurityKind;

/// Readings of ten minutes.
const READINGS_MAX: usize = (600 / TICK_S) as usize + 1;
/// Rates are those of a minute.
const MINUTE: usize = (60 / TICK_S) as usize;
/// A share of fewer says nothing.
const DECIDED_MIN: u64 = 50;
const KEEPALIVES_MIN: u64 = 100;
/// Fewer REGISTERs in a minute come and go as they like.
const REGISTERS_MIN: f64 = 50.0;

/// What rules look at besides readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Beside {
    /// The source with most registrations, and how many; `None` before a survey.
    pub source: Option<(String, u64)>,
    /// The share of capacity in use, percent, and of what; `None` while that is not known.
    pub capacity: Option<(f64, String)>,
}

/// What has been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge {
    readings: VecDeque<Reading>,
    bindings: Baseline,
    successes: Baseline,
    registered: Baseline,
}

/// Which way from what is usual.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Below,
    Above,
}

impl Judge {
    /// Takes a reading, and says what each rule says of it, in the order of the rules.
    pub fn take(
        &mut self,
        reading: Reading,
        beside: &Beside,
        rules: &AlertRules,
    ) -> [Verdict; Rule::ALL.len()] {
        if self.readings.len() >= READINGS_MAX {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
        let verdicts = Rule::ALL.map(|rule| match rule.threshold(rules) {
            None => Verdict::Off,
            Some(threshold) => self.say(rule, threshold, beside, rules),
        });
        self.learn(&verdicts, rules);
        verdicts
    }

    fn learn(&mut self, verdicts: &[Verdict; Rule::ALL.len()], rules: &AlertRules) {
        let is_over = |rule: Rule| matches!(verdicts[rule as usize], Verdict::Over(_));
        let Some(now) = self.readings.back() else { return };
        let (bindings, many) = (now.bindings as f64, f64::from(rules.population_min));
        if bindings >= many && self.bindings.usual().is_some_and(|usual| usual.level < many) {
            // What is usual of few says nothing of many.
            (self.bindings, self.successes, self.registered) = Default::default();
        }
        let is_strange = is_over(Rule::RegistrationsDrop) || is_over(Rule::RegistrationsSpike);
        self.bindings.take(bindings, is_strange);
        let successes = self.grown(MINUTE, |reading| reading.successes);
        let registered = self.grown(MINUTE, |reading| reading.registered);
        if let Some(successes) = successes {
            self.successes.take(successes as f64, is_over(Rule::RegisterRateDrop));
        }
        if let Some(registered) = registered {
            self.registered.take(registered as f64, is_over(Rule::RegisterRateSpike));
        }
    }

    /// How much a number has grown over so many readings; `None` while there are not as many.
    fn grown(&self, readings: usize, number: impl Fn(&Reading) -> u64) -> Option<u64> {
        let before = self.readings.len().checked_sub(readings + 1)?;
        let (now, before) = (self.readings.back()?, self.readings.get(before)?);
        Some(number(now).saturating_sub(number(before)))
    }

    fn say(&self, rule: Rule, threshold: f64, beside: &Beside, rules: &AlertRules) -> Verdict {
        let found = match rule {
            Rule::RegistrationsDrop => self.bindings(Way::Below, threshold, rules),
            Rule::RegistrationsSpike => self.bindings(Way::Above, threshold, rules),
            Rule::RegisterRateDrop => {
                let successes = self.grown(MINUTE, |reading| reading.successes);
                let what = "successful REGISTERs in a minute";
                self.rate(successes, &self.successes, Way::Below, threshold, what, rules)
            }
            Rule::RegisterRateSpike => {
                let registered = self.grown(MINUTE, |reading| reading.registered);
                let what = "new registrations in a minute";
                self.rate(registered, &self.registered, Way::Above, threshold, what, rules)
            }
            Rule::Failures => self.failures(threshold),
            Rule::SourceAccounts => beside.source.as_ref().map(|(source, count)| {
                let said = format!("{source} has {count} registrations");
                above(*count as f64, threshold, said)
            }),
            Rule::Walk => self.pattern(SecurityKind::Walk, "walks through numbers"),
            Rule::ManySuspensions => {
                self.pattern(SecurityKind::ManySuspensions, "bursts of suspended accounts")
            }
            Rule::ManySources => {
                self.pattern(SecurityKind::ManySources, "accounts used or tried from many sources")
            }
            Rule::RapidRegistration => {
                self.pattern(SecurityKind::RapidRegistration, "accounts registering without end")
            }
            Rule::Flapping => {
                self.grown_at_most(READINGS_MAX - 1, |one| one.flapping).map(|pairs| {
                    let said = format!("{pairs} pairs of devices kicked each other in ten minutes");
                    above(pairs as f64, threshold, said)
                })
            }
            Rule::Capacity => beside.capacity.as_ref().map(|(percent, of)| {
                above(*percent, threshold, format!("{percent:.0} % of {of} is in use"))
            }),
            Rule::Keepalives => self.keepalives(threshold),
            Rule::Overload => self.grown_at_most(MINUTE, |one| one.shed).map(|shed| {
                let said = format!("{shed} requests were shed in a minute");
                over_if(shed > 0, shed as f64, threshold, said)
            }),
            Rule::HistoryLoss => self.grown_at_most(MINUTE, |one| one.unwritten).map(|lost| {
                let said = format!("{lost} events of a minute could not be written to history");
                over_if(lost > 0, lost as f64, threshold, said)
            }),
        };
        found.unwrap_or(Verdict::Unknown)
    }

    fn bindings(&self, way: Way, percent: f64, rules: &AlertRules) -> Option<Verdict> {
        let usual = self.bindings.usual()?;
        let now = self.readings.back()?.bindings as f64;
        let many = f64::from(rules.population_min);
        let is_judged = usual.level >= many;
        Some(compared(now, &self.bindings, way, percent, "registrations", is_judged))
    }

    fn rate(
        &self,
        grown: Option<u64>,
        baseline: &Baseline,
        way: Way,
        percent: f64,
        what: &str,
        rules: &AlertRules,
    ) -> Option<Verdict> {
        let (now, usual) = (grown? as f64, baseline.usual()?);
        let many = self.bindings.usual()?.level >= f64::from(rules.population_min);
        let is_judged = many && now.max(usual.level) >= REGISTERS_MIN;
        Some(compared(now, baseline, way, percent, what, is_judged))
    }

    fn failures(&self, threshold: f64) -> Option<Verdict> {
        let failures = self.grown_at_most(MINUTE, |reading| reading.failures)?;
        let decided = failures + self.grown_at_most(MINUTE, |reading| reading.successes)?;
        let percent = share(failures, decided);
        let said = format!("{failures} of {decided} REGISTERs failed in a minute");
        Some(over_if(decided >= DECIDED_MIN && percent >= threshold, percent, threshold, said))
    }

    fn keepalives(&self, threshold: f64) -> Option<Verdict> {
        let minutes = 5 * MINUTE;
        let missed = self.grown_at_most(minutes, |reading| reading.keepalives_missed)?;
        let sent = self.grown_at_most(minutes, |reading| reading.keepalives_sent)?;
        let percent = share(missed, sent);
        let said = format!("{missed} of {sent} keepalives went out too late in five minutes");
        let is_over = sent >= KEEPALIVES_MIN && missed > 0 && percent >= threshold;
        Some(over_if(is_over, percent, threshold, said))
    }

    fn pattern(&self, kind: SecurityKind, what: &str) -> Option<Verdict> {
        let count = self.grown_at_most(MINUTE, |reading| reading.security[kind as usize])?;
        let said = format!("{count} {what} in a minute (aorta ctl events --kind {})", kind.name());
        Some(over_if(count > 0, count as f64, 0.0, said))
    }

    /// How much a number has grown over so many readings, or since the first there is.
    fn grown_at_most(&self, readings: usize, number: impl Fn(&Reading) -> u64) -> Option<u64> {
        self.grown(readings.min(self.readings.len().checked_sub(2)? + 1), number)
    }
}

fn share(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 * 100.0 / of as f64 }
}

fn over_if(is_over: bool, value: f64, threshold: f64, said: String) -> Verdict {
    let measured = Measured { value, threshold, said };
    if is_over { Verdict::Over(measured) } else { Verdict::Fine(measured) }
}

fn above(value: f64, threshold: f64, said: String) -> Verdict {
    over_if(value >= threshold, value, threshold, said)
}

/// A number against what is usual of it.
fn compared(
    now: f64,
    baseline: &Baseline,
    way: Way,
    percent: f64,
    what: &str,
    is_judged: bool,
) -> Verdict {
    let Some(usual) = baseline.usual() else { return Verdict::Unknown };
    let margin = usual.margin(percent);
    let threshold = match way {
        Way::Below => (usual.level - margin).max(0.0),
        Way::Above => usual.level + margin,
    };
    let is_over = match way {
        Way::Below => now < threshold,
        Way::Above => now > threshold,
    };
    let said = format!("{now:.0} {what}, where {:.0} are usual", usual.level);
    over_if(is_over && is_judged, now, threshold, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a judge is told, ten seconds after the other.
    struct Bench {
        judge: Judge,
        reading: Reading,
        rules: AlertRules,
    }

    impl Bench {
        /// A registrar that has been steady for an hour.
        fn steady(bindings: u64) -> Bench {
            let reading = Reading { bindings, ..Reading::default() };
            let mut bench =
                Bench { judge: Judge::default(), reading, rules: AlertRules::default() };
            for _ in 0..360 {
                let (over, _) = bench.tick(|one| one.successes += 500);
                assert_eq!(over, [], "nothing has happened");
            }
            bench
        }

        /// The rules that find the next moment out of the ordinary, and what all say.
        fn tick(
            &mut self,
            change: impl FnOnce(&mut Reading),
        ) -> (Vec<Rule>, [Verdict; Rule::ALL.len()]) {
            self.reading.at_s += TICK_S as f64;
            change(&mut self.reading);
            let verdicts = self.judge.take(self.reading.clone(), &Beside::default(), &self.rules);
            let over = Rule::ALL
                .into_iter()
                .filter(|rule| matches!(verdicts[*rule as usize], Verdict::Over(_)));
            (over.collect(), verdicts)
        }
    }

    #[test]
    fn a_fifth_of_the_phones_gone_is_a_drop() {
        let mut bench = Bench::steady(10_000);
        assert_eq!(
            bench
                .tick(|one| {
                    one.bindings = 8100;
                    one.successes += 500;
                })
                .0,
            []
        );
        let (over, verdicts) = bench.tick(|one| {
            one.bindings = 7900;
            one.successes += 500;
        });
        assert_eq!(over, [Rule::RegistrationsDrop]);
        let measured = verdicts[0].measured().unwrap();
        assert!(measured.said.starts_with("7900 registrations, where "), "{measured:?}");
        bench.rules.drop_percent = None;
        let (over, verdicts) = bench.tick(|one| one.successes += 500);
        assert_eq!((over, &verdicts[0]), (vec![], &Verdict::Off));
    }

    #[test]
    fn refreshes_that_stop_are_noticed_long_before_registrations_expire() {
        let mut bench = Bench::steady(10_000);
        let ticks = (0..20).position(|_| bench.tick(|_| {}).0.contains(&Rule::RegisterRateDrop));
        assert!(ticks.is_some_and(|ticks| ticks < 7), "{ticks:?}");
    }

    #[test]
    fn a_few_phones_come_and_go_as_they_like() {
        let mut bench = Bench::steady(60);
        for bindings in [0, 200, 20, 99] {
            assert_eq!(
                bench
                    .tick(|one| {
                        one.bindings = bindings;
                        one.successes += 500;
                    })
                    .0,
                []
            );
        }
    }

    #[test]
    fn phones_that_move_in_later_are_a_start_too() {
        let mut bench = Bench::steady(0);
        for tick in 0..1000 {
            let (over, _) = bench.tick(|one| {
                one.successes += 500;
                if tick < 30 {
                    one.bindings += 30_000;
                    one.registered += 30_000;
                    one.successes += 30_000;
                }
            });
            assert_eq!(over, [], "{tick}");
        }
    }

    #[test]
    fn new_registrations_from_nowhere_are_a_spike() {
        let mut bench = Bench::steady(10_000);
        let ticks = (0..9).position(|_| {
            let (over, _) = bench.tick(|one| {
                one.registered += 300;
                one.successes += 800;
            });
            over == [Rule::RegisterRateSpike]
        });
        assert!(ticks.is_some());
    }

    #[test]
    fn shares_need_a_number_behind_them() {
        let mut bench = Bench::steady(1000);
        let many = |one: &mut Reading| {
            one.failures += 400;
            one.successes += 500;
        };
        assert_eq!(
            bench
                .tick(|one| {
                    one.failures += 20;
                    one.successes += 500;
                })
                .0,
            []
        );
        assert!((0..6).any(|_| bench.tick(many).0 == [Rule::Failures]));
        let mut judge = Judge::default();
        let rules = AlertRules::default();
        let mut reading = Reading::default();
        for _ in 0..10 {
            reading.failures += 2;
            let verdicts = judge.take(reading.clone(), &Beside::default(), &rules);
            assert!(!matches!(verdicts[Rule::Failures as usize], Verdict::Over(_)));
        }
    }

    #[test]
    fn patterns_flapping_shedding_and_late_keepalives_are_told() {
        let mut bench = Bench::steady(1000);
        let walk = SecurityKind::Walk as usize;
        let (over, _) = bench.tick(|one| {
            one.security[walk] += 1;
            one.successes += 500;
        });
        assert_eq!(over, [Rule::Walk]);
        let quiet = |bench: &mut Bench| bench.tick(|one| one.successes += 500).0;
        assert!((0..7).any(|_| quiet(&mut bench).is_empty()), "a minute later it is over");
        let (over, _) = bench.tick(|one| {
            one.flapping += 20;
            one.successes += 500;
        });
        assert_eq!(over, [Rule::Flapping]);
        let (over, _) = bench.tick(|one| {
            one.shed += 1;
            one.successes += 500;
        });
        assert_eq!(over, [Rule::Flapping, Rule::Overload]);
        let (over, _) = bench.tick(|one| {
            one.keepalives_sent += 1000;
            one.keepalives_missed += 20;
            one.successes += 500;
        });
        assert_eq!(over, [Rule::Flapping, Rule::Keepalives, Rule::Overload]);
    }

    #[test]
    fn what_is_beside_is_compared_with_its_threshold() {
        let mut judge = Judge::default();
        let beside = Beside {
            source: Some(("203.0.113.7".into(), 1000)),
            capacity: Some((69.0, "reactor 1".into())),
        };
        let verdicts = judge.take(Reading::default(), &beside, &AlertRules::default());
        assert!(matches!(verdicts[Rule::SourceAccounts as usize], Verdict::Over(_)));
        assert!(matches!(verdicts[Rule::Capacity as usize], Verdict::Fine(_)));
        let verdicts = judge.take(Reading::default(), &Beside::default(), &AlertRules::default());
        assert_eq!(verdicts[Rule::Capacity as usize], Verdict::Unknown);
    }

    #[test]
    fn a_start_is_no_alert_whatever_comes_back() {
        let (mut judge, mut reading) = (Judge::default(), Reading::default());
        for tick in 0..2000_u64 {
            if tick < 360 {
                reading.bindings += 2777;
                reading.registered += 2777;
            }
            reading.successes += 2777;
            let verdicts = judge.take(reading.clone(), &Beside::default(), &AlertRules::default());
            for rule in Rule::ALL {
                assert!(!matches!(verdicts[rule as usize], Verdict::Over(_)), "{tick} {rule:?}");
            }
        }
    }
}
