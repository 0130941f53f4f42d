//! What goes, and when: what is older than it is to be kept, and the oldest where there is no room.
//! A step at a time, so that what comes never waits long behind what goes.

use rusqlite::Connection;

use super::id;
use super::trend::{self, Kept};
use crate::time::{Instant, Now};

/// Entries that go in one step.
const ROWS_PER_STEP: i64 = 2000;
/// Free pages that are given back in one step, and how many are left for what comes.
const PAGES_PER_STEP: i64 = 256;
const PAGES_SPARE: i64 = 1024;
/// A wall clock that is further from where it should be, seconds, has been set.
const SET_S: u64 = 60;
/// After that nothing goes for its age for so long, seconds: who sets a clock wrong sets it right
/// again.
const DOUBT_S: u64 = 3600;
const DAY_MS: u64 = 86_400_000;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// How long, milliseconds.
    pub events_ms: u64,
    /// How long numbers over time are.
    pub trends: Kept,
    /// How much all of it may take, bytes.
    pub bytes_max: u64,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trimmed {
    /// Entries that went.
    pub events: usize,
    /// There is more to do.
    pub more: bool,
}

/// Bytes that are in use, and pages that are free.
pub(super) fn size(connection: &Connection) -> rusqlite::Result<(u64, i64)> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (pages, free, page) =
        (number("page_count")?, number("freelist_count")?, number("page_size")?);
    let used = pages.saturating_sub(free).saturating_mul(page);
    Ok((u64::try_from(used).unwrap_or_default(), free))
}

/// Whether the wall clock can be believed when it says that something is old.
#[derive(Debug, Default)]
pub(super) struct Steadiness {
    last: Option<Now>,
    doubted_until: Option<Instant>,
}

impl Steadiness {
    /// Whether it can now.
    pub fn holds(&mut self, now: Now) -> bool {
        if let Some(last) = self.last.replace(now) {
            let expected = last.after(now.mono.saturating_since(last.mono)).wall.0;
            if expected.abs_diff(now.wall.0) > SET_S {
                let doubt = std::time::Duration::from_secs(DOUBT_S);
                self.doubted_until = Some(now.mono + doubt);
            }
        }
        self.doubted_until.is_none_or(|until| now.mono >= until)
    }
}

/// One step: first what there is no room for, then what is too old.
pub(super) fn step(
    connection: &Connection,
    retention: &Retention,
    now_ms: u64,
    is_steady: bool,
) -> rusqlite::Result<Trimmed> {
    let mut trimmed = Trimmed::default();
    let (used, free) = size(connection)?;
    if used > retention.bytes_max {
        trimmed.events = forget(connection, i64::MAX)?;
        trimmed.more = trimmed.events > 0;
    } else if is_steady {
        let end = id::first_of(now_ms.saturating_sub(retention.events_ms));
        trimmed.events = forget(connection, end)?;
        let trends = trend::forget(connection, &retention.trends, now_ms / 1000)?;
        trimmed.more = trimmed.events == ROWS_PER_STEP as usize || trends > 0;
    }
    if trimmed.events > 0 {
        forget_texts(connection)?;
    }
    if free > PAGES_SPARE {
        let pragma = format!("PRAGMA incremental_vacuum({PAGES_PER_STEP})");
        let mut freed = connection.prepare(&pragma)?;
        // Each row that is asked for is a page given back.
        let mut pages = freed.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(trimmed)
}

/// The oldest entries before a number, as many as go in one step.
fn forget(connection: &Connection, before: i64) -> rusqlite::Result<usize> {
    let sql =
        "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id < ? ORDER BY id LIMIT ?)";
    connection.prepare_cached(sql)?.execute([before, ROWS_PER_STEP])
}

/// Texts that no entry can have any more: when one was used last is known to a day.
fn forget_texts(connection: &Connection) -> rusqlite::Result<()> {
    let oldest: Option<i64> =
        connection.query_row("SELECT min(id) FROM event", [], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(()) };
    let before = id::time_of(oldest).saturating_sub(DAY_MS);
    let sql = "DELETE FROM text WHERE id IN (SELECT id FROM text WHERE last_ms < ? LIMIT 1000)";
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute([before])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::UnixTime;

    #[test]
    fn a_clock_that_is_set_is_not_believed_for_a_while() {
        let mut steadiness = Steadiness::default();
        let start = Now { mono: Instant::from_secs(10), wall: UnixTime(1_800_000_000), wall_us: 0 };
        assert!(steadiness.holds(start));
        let later = start.after(Duration::from_secs(5000));
        assert!(steadiness.holds(later), "it has only been a long time");
        let set = Now { wall: UnixTime(2_800_000_000), ..later.after(Duration::from_secs(1)) };
        assert!(!steadiness.holds(set));
        assert!(!steadiness.holds(set.after(Duration::from_secs(DOUBT_S - 1))));
        assert!(steadiness.holds(set.after(Duration::from_secs(DOUBT_S))));
    }
}
