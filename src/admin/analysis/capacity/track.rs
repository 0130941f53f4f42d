//! How much more the host could take: what is asked of it now and was at the peak, how much of
//! their time reactors work, and what would be too much. What is measured and what is reckoned from
//! it is said. Pure: readings come in.
//!
//! Carriers plan for three to five times their peak, since a region that comes back after an outage
//! asks for as much.

use std::collections::VecDeque;

use serde::Serialize;

use super::super::alerts::Reading;

/// A minute of readings, and the one before.
const READINGS_MAX: usize = 7;
/// Minutes that are kept: a day.
const MINUTES_MAX: usize = 1440;
/// Days that are kept.
const DAYS_MAX: usize = 90;
/// Fewer days say nothing of a trend.
const DAYS_MIN: usize = 3;
/// Above this share of busy time, what a reactor can take has been measured.
const MEASURED: f64 = 0.7;
/// Below this one it is not reckoned at all.
const RECKONED: f64 = 0.05;
/// Of so many minutes, the busiest are reckoned from.
const BUSIEST: usize = 20;
/// The headroom operators plan for.
const PLANNED: [f64; 2] = [3.0, 5.0];
const DAY_S: f64 = 86_400.0;

/// What cannot be exceeded, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ceilings {
    /// Bindings of all accounts together, if that is limited.
    pub bindings: Option<u64>,
    /// Connections, where any are taken.
    pub connections: Option<u64>,
    /// Bytes this process has in memory.
    pub resident: Option<u64>,
    /// Bytes it could have more.
    pub available: Option<u64>,
    /// By how many bytes the process has grown with each registration since the start, once that
    /// were enough to say.
    pub per_registration: Option<f64>,
}

/// One minute.
#[derive(Clone, Copy, Debug)]
struct Minute {
    at_s: f64,
    requests_per_s: f64,
    /// The share of time that the busiest reactor worked, 0-1.
    busy: f64,
}

/// What has been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    readings: VecDeque<Reading>,
    minutes: VecDeque<Minute>,
    /// The most bindings of each day since the start.
    days: VecDeque<(u64, u64)>,
}

/// A number of things against the most there may be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Level {
    pub now: u64,
    /// `null` where there is no limit but memory.
    pub ceiling: Option<u64>,
    pub percent: Option<f64>,
}

impl Level {
    fn new(now: u64, ceiling: Option<u64>) -> Level {
        let percent = ceiling.filter(|most| *most > 0).map(|most| tenth(percent(now, most)));
        Level { now, ceiling, percent }
    }
}

/// Memory, bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Memory {
    pub resident: Option<u64>,
    pub available: Option<u64>,
    pub percent: Option<f64>,
    /// By how many bytes the process has grown with each registration since the start, everything
    /// counted; `null` until that were enough to say.
    pub per_registration: Option<f64>,
    /// Registrations that what is available would hold, at that; reckoned.
    pub registrations_more: Option<u64>,
}

/// The busiest minute of the last day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Peak {
    pub requests_per_s: f64,
    /// How busy the busiest reactor was then, percent.
    pub busy_percent: f64,
    /// How long ago that was, seconds.
    pub ago_s: u64,
}

/// How much more could come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Headroom {
    /// Requests a second that all reactors could answer, as far as that can be said.
    pub capacity_requests_per_s: Option<f64>,
    /// `measured`, `reckoned` or `unknown`.
    pub basis: &'static str,
    /// What that means, in words.
    pub explanation: String,
    /// The capacity over the peak.
    pub over_peak: Option<f64>,
    /// The capacity over what comes now.
    pub over_now: Option<f64>,
    /// What operators plan for, least and most.
    pub planned: [f64; 2],
    /// `ample`, `as planned`, `thin`, `short` or `unknown`.
    pub verdict: &'static str,
}

/// Where registrations go over the days.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Trend {
    /// Days that were looked at; fewer than three say nothing.
    pub days: usize,
    pub registrations_per_day: Option<f64>,
    /// Until the ceiling is reached; `null` where there is none, or the numbers do not grow.
    pub days_to_full: Option<f64>,
}

/// Everything of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Capacity {
    /// Requests answered a second, over the last minute.
    pub requests_per_s: f64,
    /// How much of its time each reactor worked in that minute, percent.
    pub busy_percent: Vec<f64>,
    pub peak: Option<Peak>,
    pub headroom: Headroom,
    pub registrations: Level,
    pub connections: Level,
    pub memory: Memory,
    pub trend: Trend,
    /// What is used up most, percent, and what that is.
    pub used_percent: f64,
    pub used_of: String,
}

fn percent(now: u64, most: u64) -> f64 {
    if most == 0 { 0.0 } else { now as f64 * 100.0 / most as f64 }
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Track {
    /// Takes a reading; those of every ten seconds come.
    pub fn take(&mut self, reading: Reading) {
        if self.readings.len() >= READINGS_MAX {
            self.readings.pop_front();
        }
        let day = (reading.at_s / DAY_S) as u64;
        match self.days.back_mut() {
            Some((last, most)) if *last == day => *most = (*most).max(reading.bindings),
            _ => self.days.push_back((day, reading.bindings)),
        }
        if self.days.len() > DAYS_MAX {
            self.days.pop_front();
        }
        let at_s = reading.at_s;
        self.readings.push_back(reading);
        let is_over = self.minutes.back().is_none_or(|last| at_s - last.at_s >= 60.0);
        if is_over
            && self.readings.len() == READINGS_MAX
            && let Some((requests_per_s, busy)) = self.rates()
        {
            if self.minutes.len() >= MINUTES_MAX {
                self.minutes.pop_front();
            }
            let busy = busy.into_iter().fold(0.0, f64::max);
            self.minutes.push_back(Minute { at_s, requests_per_s, busy });
        }
    }

    /// Requests a second over the readings there are, and how busy each reactor was, 0-1.
    fn rates(&self) -> Option<(f64, Vec<f64>)> {
        let (before, now) = (self.readings.front()?, self.readings.back()?);
        let passed_s = now.at_s - before.at_s;
        if passed_s <= 0.0 {
            return None;
        }
        let requests = now.answered.saturating_sub(before.answered) as f64 / passed_s;
        let busy = now.busy_us.iter().zip(&before.busy_us).map(|(now, before)| {
            (now.saturating_sub(*before) as f64 / 1e6 / passed_s).clamp(0.0, 1.0)
        });
        Some((requests, busy.collect()))
    }

    /// What all reactors could answer if the busiest worked all the time, and how busy it was in
    /// the minutes this is reckoned from.
    fn reckoned(&self) -> Option<(f64, f64)> {
        let mut busiest: Vec<&Minute> =
            self.minutes.iter().filter(|one| one.busy >= RECKONED).collect();
        busiest.sort_by(|a, b| b.busy.total_cmp(&a.busy));
        busiest.truncate((busiest.len() / BUSIEST).max(1).min(busiest.len()));
        let busy = busiest.get(busiest.len() / 2)?.busy;
        let mut rates: Vec<f64> = busiest.iter().map(|one| one.requests_per_s / one.busy).collect();
        rates.sort_by(f64::total_cmp);
        Some((*rates.get(rates.len() / 2)?, busy))
    }

    /// What is known now.
    pub fn view(&self, ceilings: &Ceilings) -> Capacity {
        let (requests_per_s, busy) = self.rates().unwrap_or_default();
        let now = self.readings.back().cloned().unwrap_or_default();
        let peak = self.minutes.iter().max_by(|a, b| a.requests_per_s.total_cmp(&b.requests_per_s));
        let headroom = self.headroom(requests_per_s, peak.map(|peak| peak.requests_per_s));
        let peak = peak.map(|peak| Peak {
            requests_per_s: tenth(peak.requests_per_s),
            busy_percent: tenth(peak.busy * 100.0),
            ago_s: (now.at_s - peak.at_s).max(0.0) as u64,
        });
        let registrations = Level::new(now.bindings, ceilings.bindings);
        let connections = Level::new(now.connections, ceilings.connections);
        let memory = match (ceilings.resident, ceilings.available) {
            (Some(resident), Some(available)) => {
                Some(percent(resident, resident.saturating_add(available)))
            }
            _ => None,
        };
        let reactors = busy
            .iter()
            .enumerate()
            .map(|(number, busy)| (busy * 100.0, format!("the time of reactor {number}")));
        let others = [
            (registrations.percent, "the registrations there may be"),
            (connections.percent, "the connections there may be"),
            (memory, "the memory of the host"),
        ];
        let others =
            others.into_iter().filter_map(|(used, of)| used.map(|used| (used, of.to_owned())));
        let most = reactors.chain(others).max_by(|(a, _), (b, _)| a.total_cmp(b));
        let (used_percent, used_of) = most.unwrap_or((0.0, "nothing that is known".to_owned()));
        Capacity {
            requests_per_s: tenth(requests_per_s),
            busy_percent: busy.iter().map(|busy| tenth(busy * 100.0)).collect(),
            peak,
            headroom,
            trend: self.trend(ceilings.bindings),
            registrations,
            connections,
            memory: Memory {
                resident: ceilings.resident,
                available: ceilings.available,
                percent: memory.map(tenth),
                per_registration: ceilings.per_registration.map(tenth),
                registrations_more: ceilings.per_registration.and_then(|bytes| {
                    let available = ceilings.available? as f64;
                    (bytes >= 1.0).then_some((available / bytes) as u64)
                }),
            },
            used_percent: tenth(used_percent),
            used_of,
        }
    }

    fn headroom(&self, now: f64, peak: Option<f64>) -> Headroom {
        let reckoned = self.reckoned();
        let times = |of: f64| {
            let capacity = reckoned.map(|(capacity, _)| capacity)?;
            (of > 0.0).then(|| tenth(capacity / of))
        };
        let over_peak = peak.and_then(times);
        let (basis, explanation) = match reckoned {
            None => (
                "unknown",
                "in no minute of the last day was a reactor busy enough (5 %) to reckon what it \
                 can take"
                    .to_owned(),
            ),
            Some((_, busy)) if busy >= MEASURED => (
                "measured",
                format!(
                    "in its busiest minutes the busiest reactor worked {:.0} % of the time",
                    busy * 100.0
                ),
            ),
            Some((_, busy)) => (
                "reckoned",
                format!(
                    "reckoned from minutes in which the busiest reactor worked {:.0} % of the \
                     time; the more of its time a reactor works, the less it needs for each \
                     request, so it is more rather than less",
                    busy * 100.0
                ),
            ),
        };
        let verdict = match over_peak {
            None => "unknown",
            Some(times) if times >= PLANNED[1] => "ample",
            Some(times) if times >= PLANNED[0] => "as planned",
            Some(times) if times >= 1.5 => "thin",
            Some(_) => "short",
        };
        Headroom {
            capacity_requests_per_s: reckoned.map(|(capacity, _)| tenth(capacity)),
            basis,
            explanation,
            over_peak,
            over_now: times(now),
            planned: PLANNED,
            verdict,
        }
    }

    /// The line through the most registrations of each whole day, by least squares.
    fn trend(&self, ceiling: Option<u64>) -> Trend {
        // Today has not had its peak yet.
        let days: Vec<(f64, f64)> = self
            .days
            .iter()
            .take(self.days.len().saturating_sub(1))
            .map(|&(day, most)| (day as f64, most as f64))
            .collect();
        if days.len() < DAYS_MIN {
            return Trend { days: days.len(), registrations_per_day: None, days_to_full: None };
        }
        let count = days.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| days.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|one| one.0), mean(|one| one.1));
        let along: f64 = days.iter().map(|(day, most)| (day - x) * (most - y)).sum();
        let across: f64 = days.iter().map(|(day, _)| (day - x).powi(2)).sum();
        let per_day = if across > 0.0 { along / across } else { 0.0 };
        let most = days.last().map_or(0.0, |(_, most)| *most);
        let left = ceiling.map(|ceiling| (ceiling as f64 - most).max(0.0));
        let days_to_full = left.filter(|_| per_day > 0.0).map(|left| tenth(left / per_day));
        Trend {
            days: days.len(),
            registrations_per_day: Some(tenth(per_day)),
            // Centuries are no forecast.
            days_to_full: days_to_full.filter(|days| *days < 36_500.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two reactors, of which the first works the share `busy` of `minutes` at `rate`.
    fn track(minutes: &[(f64, f64)]) -> Track {
        let (mut track, mut reading) = (Track::default(), Reading::default());
        reading.busy_us = vec![0, 0];
        track.take(reading.clone());
        for &(busy, rate) in minutes {
            for _ in 0..6 {
                reading.at_s += 10.0;
                reading.answered += (rate * 10.0) as u64;
                reading.busy_us[0] += (busy * 10e6) as u64;
                reading.busy_us[1] += (busy * 5e6) as u64;
                track.take(reading.clone());
            }
        }
        track
    }

    #[test]
    fn what_is_now_is_of_the_last_minute_and_the_peak_of_the_last_day() {
        let view = track(&[(0.8, 80_000.0), (0.1, 10_000.0)]).view(&Ceilings::default());
        assert_eq!((view.requests_per_s, &view.busy_percent[..]), (10_000.0, &[10.0, 5.0][..]));
        let peak = view.peak.unwrap();
        assert_eq!((peak.requests_per_s, peak.busy_percent, peak.ago_s), (80_000.0, 80.0, 60));
    }

    #[test]
    fn a_busy_reactor_has_measured_what_it_can_take() {
        let view = track(&[(0.8, 80_000.0), (0.1, 20_000.0)]).view(&Ceilings::default());
        let Headroom { capacity_requests_per_s, basis, over_peak, over_now, verdict, .. } =
            view.headroom;
        assert_eq!((capacity_requests_per_s, basis), (Some(100_000.0), "measured"));
        assert_eq!((over_peak, over_now, verdict), (Some(1.3), Some(5.0), "short"));
    }

    #[test]
    fn from_little_it_is_reckoned_and_from_nothing_it_is_not() {
        let view = track(&[(0.25, 10_000.0)]).view(&Ceilings::default());
        let headroom = view.headroom;
        assert_eq!((headroom.basis, headroom.over_peak), ("reckoned", Some(4.0)));
        assert_eq!(headroom.verdict, "as planned");
        assert!(headroom.explanation.contains("25 %"), "{}", headroom.explanation);
        for idle in [track(&[(0.01, 300.0)]), Track::default()] {
            let headroom = idle.view(&Ceilings::default()).headroom;
            assert_eq!((headroom.basis, headroom.verdict), ("unknown", "unknown"));
            assert_eq!(headroom.over_peak, None);
        }
    }

    #[test]
    fn what_is_used_most_is_named() {
        let mut track = track(&[(0.25, 10_000.0)]);
        track.readings.back_mut().unwrap().bindings = 900;
        let mut ceilings = Ceilings { bindings: Some(1000), ..Ceilings::default() };
        let view = track.view(&ceilings);
        let used = (view.used_percent, view.used_of.as_str());
        assert_eq!(used, (90.0, "the registrations there may be"));
        ceilings.bindings = None;
        assert_eq!(track.view(&ceilings).used_of, "the time of reactor 0");
        (ceilings.resident, ceilings.available) = (Some(3), Some(1));
        let view = track.view(&ceilings);
        assert_eq!((view.used_percent, view.memory.percent), (75.0, Some(75.0)));
    }

    #[test]
    fn days_that_grow_are_full_one_day() {
        let mut track = Track::default();
        for day in 0..6_u64 {
            for bindings in [500, 1000 + 100 * day, 700] {
                let at_s = day as f64 * DAY_S + 60.0;
                track.take(Reading { at_s, bindings, ..Reading::default() });
            }
        }
        let trend = track.trend(Some(2400));
        assert_eq!((trend.days, trend.registrations_per_day), (5, Some(100.0)));
        assert_eq!(trend.days_to_full, Some(10.0));
        assert_eq!(track.trend(None).days_to_full, None);
        assert_eq!(Track::default().trend(Some(9)).registrations_per_day, None);
    }
}
