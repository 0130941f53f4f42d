//! Numbers over time, as they are kept: each sample is taken into its ten seconds, its minute and
//! its hour at once. So nothing has to be put together later, a restart goes on where the process
//! before ended, and a clock that is set back adds to steps that are there. A step in which nothing
//! was measured is not there at all.

use rusqlite::{Connection, OptionalExtension, params};

use super::samples::{Point, Sample};
use crate::config;

/// The most steps of one answer.
pub const POINTS_MAX: usize = 10_000;
/// Spans up to these lengths are shown in steps of ten seconds, and of a minute, unless asked
/// otherwise, seconds.
const FINE_S: u64 = 3 * 3600;
const MEDIUM_S: u64 = 3 * 86_400;

/// The length of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Ten seconds.
    TenSeconds,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Step {
    /// All of them, the shortest first.
    pub const ALL: [Step; 3] = [Step::TenSeconds, Step::Minute, Step::Hour];

    /// Seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Step::TenSeconds => 10,
            Step::Minute => 60,
            Step::Hour => 3600,
        }
    }

    /// Its word in filters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Step::TenSeconds => "10s",
            Step::Minute => "1m",
            Step::Hour => "1h",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.name() == name)
    }
}

/// How long steps of each length are kept, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    seconds: [u64; Step::ALL.len()],
}

impl From<&config::History> for Kept {
    fn from(history: &config::History) -> Kept {
        let config::History { trend_10s_s, trend_1m_s, trend_1h_s, .. } = history;
        Kept { seconds: [trend_10s_s, trend_1m_s, trend_1h_s].map(|&s| u64::from(s)) }
    }
}

impl Kept {
    fn of(&self, step: Step) -> u64 {
        self.seconds[step as usize]
    }

    /// The step that a span is best shown in: none that is not kept any more.
    #[must_use]
    pub fn step_for(&self, now_s: u64, from_s: u64, to_s: u64) -> Step {
        let (span_s, age_s) = (to_s.saturating_sub(from_s), now_s.saturating_sub(from_s));
        let fits = |step: Step, most_s: u64| span_s <= most_s && age_s <= self.of(step);
        if fits(Step::TenSeconds, FINE_S) {
            Step::TenSeconds
        } else if fits(Step::Minute, MEDIUM_S) {
            Step::Minute
        } else {
            Step::Hour
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrendAsked {
    /// From this second on.
    pub from_s: u64,
    /// Before this one.
    pub to_s: u64,
    /// In these steps.
    pub step: Step,
}

/// Numbers over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trend {
    /// The length of a step.
    pub step: Step,
    /// The second each step begins, and its numbers, in order. Steps in which nothing was measured
    /// are missing.
    pub points: Vec<(u64, Point)>,
    /// There were more than [`POINTS_MAX`]; these are the last.
    pub cut_short: bool,
}

/// A second as the tables have it.
fn column(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Takes a sample into each of its steps.
pub(super) fn note(connection: &Connection, sample: &Sample) -> rusqlite::Result<()> {
    for step in Step::ALL {
        let step_s = step.seconds();
        let at = column(sample.at.0 / step_s * step_s);
        let step_s = column(step_s);
        let kept: Option<Vec<u8>> = connection
            .prepare_cached("SELECT cells FROM trend WHERE step_s = ? AND at_s = ?")?
            .query_row([step_s, at], |row| row.get(0))
            .optional()?;
        let mut point = kept.and_then(|cells| Point::from_bytes(&cells)).unwrap_or_default();
        point.add(&Point::from(sample));
        connection
            .prepare_cached("INSERT OR REPLACE INTO trend (step_s, at_s, cells) VALUES (?, ?, ?)")?
            .execute(params![step_s, at, point.to_bytes()])?;
    }
    Ok(())
}

/// Forgets what is older than it is kept, a bounded number of steps.
pub(super) fn forget(connection: &Connection, kept: &Kept, now_s: u64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM trend WHERE step_s = ?1 AND at_s IN (SELECT at_s FROM trend \
               WHERE step_s = ?1 AND at_s < ?2 ORDER BY at_s LIMIT 500)";
    let mut gone = 0;
    for step in Step::ALL {
        let end = column(now_s.saturating_sub(kept.of(step)));
        let step_s = column(step.seconds());
        gone += connection.prepare_cached(sql)?.execute([step_s, end])?;
    }
    Ok(gone)
}

/// Answers.
pub(super) fn read(connection: &Connection, asked: &TrendAsked) -> rusqlite::Result<Trend> {
    let TrendAsked { from_s, to_s, step } = *asked;
    let sql = "SELECT at_s, cells FROM trend WHERE step_s = ? AND at_s >= ? AND at_s < ? \
               ORDER BY at_s DESC LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let most = column(POINTS_MAX as u64 + 1);
    let parameters = [column(step.seconds()), column(from_s), column(to_s), most];
    let mut rows = statement.query(parameters)?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let (at, cells): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        // What cannot be read was not measured.
        let Some(point) = Point::from_bytes(&cells) else { continue };
        points.push((u64::try_from(at).unwrap_or_default(), point));
    }
    let cut_short = points.len() > POINTS_MAX;
    points.truncate(POINTS_MAX);
    points.reverse();
    Ok(Trend { step, points, cut_short })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{METRICS, Metric};
    use super::super::schema::Place;
    use super::*;
    use crate::time::UnixTime;

    fn sample(at: u64, registrations: u64, requests: u64) -> Sample {
        let mut values = [None; METRICS];
        values[Metric::Registrations as usize] = Some(registrations);
        values[Metric::Requests as usize] = Some(requests);
        Sample { at: UnixTime(at), covered_ms: 10_000, values, shards: Vec::new() }
    }

    fn points(connection: &Connection, step: Step) -> Vec<(u64, Point)> {
        let asked = TrendAsked { from_s: 0, to_s: u64::MAX, step };
        read(connection, &asked).unwrap().points
    }

    const HOUR: u64 = 1_800_000_000 / 3600 * 3600;

    #[test]
    fn a_sample_is_in_its_ten_seconds_its_minute_and_its_hour() {
        let connection = Place::in_memory().open_to_write(1 << 24).unwrap();
        for nth in 0..12 {
            note(&connection, &sample(HOUR + nth * 10, 100 + nth, nth)).unwrap();
        }
        // Nothing for an hour: a gap, not zeros.
        note(&connection, &sample(HOUR + 7200, 50, 5)).unwrap();
        assert_eq!(points(&connection, Step::TenSeconds).len(), 13);
        let minutes = points(&connection, Step::Minute);
        let starts: Vec<u64> = minutes.iter().map(|(at, _)| at - HOUR).collect();
        assert_eq!(starts, [0, 60, 7200]);
        let second = &minutes[1].1;
        assert_eq!(second.of(Metric::Requests).sum, 6 + 7 + 8 + 9 + 10 + 11);
        assert_eq!(second.of(Metric::Registrations).mean(), Some(108.5));
        assert_eq!(second.rate(Metric::Requests), Some(51.0 / 60.0));
        let hours = points(&connection, Step::Hour);
        assert_eq!(hours.len(), 2);
        assert_eq!(hours[0].1.of(Metric::Registrations).max, 111);
        assert_eq!((hours[0].1.samples, hours[0].1.covered_ms), (12, 120_000));
    }

    #[test]
    fn a_clock_that_is_set_back_adds_to_what_is_there() {
        let connection = Place::in_memory().open_to_write(1 << 24).unwrap();
        note(&connection, &sample(HOUR, 10, 100)).unwrap();
        note(&connection, &sample(HOUR + 3600, 10, 100)).unwrap();
        note(&connection, &sample(HOUR, 30, 300)).unwrap();
        let ten = points(&connection, Step::TenSeconds);
        assert_eq!(ten.len(), 2);
        assert_eq!(ten[0].1.of(Metric::Registrations).mean(), Some(20.0));
        assert_eq!(ten[0].1.rate(Metric::Requests), Some(20.0));
        assert_eq!(ten[1].1.rate(Metric::Requests), Some(10.0));
    }

    #[test]
    fn each_step_is_kept_as_long_as_it_is_said() {
        let connection = Place::in_memory().open_to_write(1 << 24).unwrap();
        for nth in 0..48 {
            note(&connection, &sample(HOUR + nth * 3600, 1, 1)).unwrap();
        }
        let kept = Kept { seconds: [3600, 86_400, 10 * 86_400] };
        let now = HOUR + 48 * 3600;
        while forget(&connection, &kept, now).unwrap() > 0 {}
        let left = Step::ALL.map(|step| points(&connection, step).len());
        assert_eq!(left, [1, 24, 48]);
        assert_eq!(kept.step_for(now, now - 1800, now), Step::TenSeconds);
        assert_eq!(kept.step_for(now, now - 7200, now), Step::Minute);
        assert_eq!(kept.step_for(now, now - 9 * 86_400, now - 9 * 86_400 + 60), Step::Hour);
        assert_eq!(kept.step_for(now, now - 7 * 86_400, now), Step::Hour);
    }

    #[test]
    fn an_answer_is_bounded_and_has_the_last() {
        let connection = Place::in_memory().open_to_write(1 << 26).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        for nth in 0..POINTS_MAX as u64 + 5 {
            note(&connection, &sample(HOUR + nth * 10, 1, 1)).unwrap();
        }
        let asked = TrendAsked { from_s: 0, to_s: u64::MAX, step: Step::TenSeconds };
        let trend = read(&connection, &asked).unwrap();
        assert!(trend.cut_short && trend.points.len() == POINTS_MAX);
        assert_eq!(trend.points[0].0, HOUR + 50);
    }
}
