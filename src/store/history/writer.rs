//! The thread that writes: rows and samples come through a bounded queue and go into the database
//! some thousands at a time. What cannot be written is counted and gone; a damaged file is put
//! aside and another begun. Nobody waits for a disk but this thread, and behind it the collector.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, OptionalExtension, params};

use super::retention::{self, Retention, Steadiness};
use super::samples::Sample;
use super::schema::{Place, Unusable, is_damage, is_full};
use super::{Shared, Tell, id, query, trend};
use crate::reactor::Clock;
use crate::shard::history::{HistoryPage, HistoryRow};
use crate::time::Instant;

/// Rows of one transaction: a page more at most.
const ROWS_PER_CHANGE: usize = 4096;
/// How often what is to go is looked for when nothing comes.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// Steps of that in a row.
const STEPS_AT_A_TIME: usize = 8;
/// Texts whose numbers are remembered.
const TEXTS_MAX: usize = 8192;
/// When a text was last used is written down once in this time, milliseconds.
const USED_EVERY_MS: u64 = 86_400_000;

/// What is to be written.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Rows of a shard.
    Rows(u8, Arc<HistoryPage>),
    /// A sample.
    Sample(Arc<Sample>),
    /// Nothing: to be told once everything before it is written, or lost.
    Told(crossbeam::channel::Sender<()>),
}

impl Work {
    fn rows(&self) -> usize {
        match self {
            Work::Rows(_, page) => page.len(),
            Work::Sample(_) => 1,
            Work::Told(_) => 0,
        }
    }
}

/// The thread's own.
pub(super) struct Writer {
    pub place: Place,
    pub retention: Retention,
    pub clock: Clock,
    pub shared: Arc<Shared>,
    pub tell: Tell,
    texts: HashMap<Box<str>, (i64, u64)>,
    written: u64,
    steadiness: Steadiness,
    is_failing: bool,
}

impl Writer {
    pub fn new(
        place: Place,
        retention: Retention,
        clock: Clock,
        shared: Arc<Shared>,
        tell: Tell,
    ) -> Writer {
        // Numbers within a millisecond begin elsewhere after each start.
        let written = clock.now().wall_us.into();
        Writer {
            place,
            retention,
            clock,
            shared,
            tell,
            texts: HashMap::new(),
            written,
            steadiness: Steadiness::default(),
            is_failing: false,
        }
    }

    /// Writes what comes until nobody is left who could send more.
    pub fn run(mut self, mut connection: Connection, work: &Receiver<Work>) {
        let mut trimmed_at = Instant::ZERO;
        loop {
            let first = match work.recv_timeout(TRIM_EVERY) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut pressed = false;
            if let Some(first) = first {
                let (mut batch, mut rows) = (vec![first], 0);
                rows += batch[0].rows();
                while rows < ROWS_PER_CHANGE
                    && let Ok(next) = work.try_recv()
                {
                    rows += next.rows();
                    batch.push(next);
                }
                pressed = rows >= ROWS_PER_CHANGE;
                let Some(next) = self.take(connection, &batch) else { return };
                connection = next;
            }
            if self.shared.damaged.swap(false, Ordering::Relaxed) {
                let Some(next) = self.begin_anew(connection, &Unusable::Damaged) else { return };
                connection = next;
            }
            let now = self.clock.mono();
            if pressed || now.saturating_since(trimmed_at) >= TRIM_EVERY {
                trimmed_at = now;
                let Some(next) = self.trim(connection) else { return };
                connection = next;
            }
        }
        // What is in the log goes to the file as far as nobody reads; the rest does at the next
        // start.
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }

    /// Writes a batch, or counts it as lost.
    pub fn take(&mut self, connection: Connection, batch: &[Work]) -> Option<Connection> {
        let mut connection = connection;
        for last in [false, true] {
            let error = match self.write(&connection, batch) {
                Ok(()) => {
                    self.is_well();
                    break;
                }
                Err(error) => error,
            };
            // What stood in the transaction is not there.
            let _ = connection.execute_batch("ROLLBACK");
            self.texts.clear();
            self.shared.counts.errors.fetch_add(1, Ordering::Relaxed);
            if is_damage(&error) {
                connection = self.begin_anew(connection, &error.into())?;
            } else if is_full(&error) && !last {
                connection = self.trim(connection)?;
            }
            if last {
                self.lose(batch);
            }
        }
        for work in batch {
            if let Work::Told(told) = work {
                // Whoever asked may have given up.
                let _ = told.try_send(());
            }
        }
        Some(connection)
    }

    fn lose(&mut self, batch: &[Work]) {
        let rows: usize = batch.iter().map(Work::rows).sum();
        self.shared.counts.lost.fetch_add(rows as u64, Ordering::Relaxed);
        if !self.is_failing {
            self.is_failing = true;
            (self.tell)(
                "history cannot be written, what happens until it can is not kept: the disk \
                         is full, or refuses",
            );
        }
    }

    fn is_well(&mut self) {
        if self.is_failing {
            self.is_failing = false;
            (self.tell)("history is written again");
        }
    }

    fn write(&mut self, connection: &Connection, batch: &[Work]) -> rusqlite::Result<()> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let (mut rows, mut newest_ms) = (0, 0);
        for work in batch {
            match work {
                Work::Rows(shard, page) => {
                    for row in page.as_ref() {
                        let at_ms = row.at.0.saturating_mul(1000) + u64::from(row.at_ms);
                        newest_ms = newest_ms.max(at_ms);
                        self.insert(connection, *shard, &row, at_ms)?;
                        rows += 1;
                    }
                }
                Work::Sample(sample) => trend::note(connection, sample)?,
                Work::Told(_) => {}
            }
        }
        connection.execute_batch("COMMIT")?;
        let counts = &self.shared.counts;
        counts.rows.fetch_add(rows, Ordering::Relaxed);
        if newest_ms > 0 {
            let lag_ms = self.now_ms().saturating_sub(newest_ms);
            counts.lag_ms.store(lag_ms, Ordering::Relaxed);
        }
        Ok(())
    }

    fn insert(
        &mut self,
        connection: &Connection,
        shard: u8,
        row: &HistoryRow<'_>,
        at_ms: u64,
    ) -> rusqlite::Result<()> {
        let text = |bytes| String::from_utf8_lossy(bytes);
        let user_agent = self.intern(connection, &text(row.user_agent), at_ms)?;
        let reason = self.intern(connection, row.reason, at_ms)?;
        let (aor, contact) = (text(row.aor), text(row.contact));
        let ip = row.source.ip();
        let source = (!ip.is_unspecified()).then(|| query::octets(ip));
        let mut statement = connection.prepare_cached(
            "INSERT OR IGNORE INTO event (id, kind, key, aor, contact, source, port, transport, \
             user_agent, granted_s, reason, count, shard) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        // A number is taken where the clock was set back onto it, by chance.
        for _ in 0..4 {
            self.written = self.written.wrapping_add(1);
            let added = statement.execute(params![
                id::of(at_ms, self.written),
                row.kind as u8,
                id::key_of(&aor),
                aor,
                contact,
                source,
                row.source.port(),
                row.transport.map(|transport| transport as u8),
                user_agent,
                row.granted_s,
                reason,
                row.count,
                shard,
            ])?;
            if added == 1 {
                return Ok(());
            }
        }
        self.shared.counts.lost.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The number of a text; 0 is that of none.
    fn intern(&mut self, connection: &Connection, text: &str, at_ms: u64) -> rusqlite::Result<i64> {
        if text.is_empty() {
            return Ok(0);
        }
        if let Some((number, used_ms)) = self.texts.get(text)
            && at_ms.abs_diff(*used_ms) < USED_EVERY_MS
        {
            return Ok(*number);
        }
        let at = i64::try_from(at_ms).unwrap_or(i64::MAX);
        let known: Option<(i64, i64)> = connection
            .prepare_cached("SELECT id, last_ms FROM text WHERE value = ?")?
            .query_row([text], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let number = match known {
            Some((number, last_ms)) => {
                if last_ms < at {
                    connection
                        .prepare_cached("UPDATE text SET last_ms = ? WHERE id = ?")?
                        .execute([at, number])?;
                }
                number
            }
            None => {
                connection
                    .prepare_cached("INSERT INTO text (value, last_ms) VALUES (?, ?)")?
                    .execute(params![text, at])?;
                connection.last_insert_rowid()
            }
        };
        if self.texts.len() >= TEXTS_MAX {
            self.texts.clear();
        }
        self.texts.insert(text.into(), (number, at_ms));
        Ok(number)
    }

    fn now_ms(&self) -> u64 {
        let now = self.clock.now();
        now.wall.0.saturating_mul(1000) + u64::from(now.wall_us / 1000)
    }

    /// Some steps of what is to go.
    fn trim(&mut self, connection: Connection) -> Option<Connection> {
        let is_steady = self.steadiness.holds(self.clock.now());
        let now_ms = self.now_ms();
        for _ in 0..STEPS_AT_A_TIME {
            match retention::step(&connection, &self.retention, now_ms, is_steady) {
                Ok(trimmed) => {
                    let gone = trimmed.events as u64;
                    self.shared.counts.trimmed.fetch_add(gone, Ordering::Relaxed);
                    if !trimmed.more {
                        break;
                    }
                }
                Err(error) => {
                    self.texts.clear();
                    self.shared.counts.errors.fetch_add(1, Ordering::Relaxed);
                    if is_damage(&error) {
                        return self.begin_anew(connection, &error.into());
                    }
                    break;
                }
            }
        }
        if let Ok((used, _)) = retention::size(&connection) {
            self.shared.counts.bytes.store(used, Ordering::Relaxed);
        }
        Some(connection)
    }

    /// The file is damaged: it is put aside, and another begun. Where even that fails, what comes
    /// is kept in memory.
    fn begin_anew(&mut self, damaged: Connection, why: &Unusable) -> Option<Connection> {
        drop(damaged);
        self.texts.clear();
        let (place, connection) =
            open(&self.place, self.retention.bytes_max, &self.tell, Some(why))?;
        self.place = place.clone();
        // Whoever asks opens the new one.
        self.shared.announce(place);
        Some(connection)
    }
}

/// Opens a database to write, whatever it takes: a file that is at fault is put aside, and where
/// there can be no file, there is memory. `damage` is what is known to be wrong with it. Nothing
/// where not even memory is to be had.
pub(super) fn open(
    place: &Place,
    bytes_max: u64,
    tell: &Tell,
    damage: Option<&Unusable>,
) -> Option<(Place, Connection)> {
    let mut damage = damage.map(ToString::to_string);
    for _ in 0..2 {
        if let Some(why) = damage.take() {
            match place.put_aside() {
                Ok(Some(aside)) => tell(&format!(
                    "history is begun anew: {why}; what there was is {} now",
                    aside.display()
                )),
                Ok(None) => {}
                Err(error) => {
                    tell(&format!("history: {why}, and it cannot be put aside: {error}"));
                    break;
                }
            }
        }
        match place.open_to_write(bytes_max) {
            Ok(connection) => return Some((place.clone(), connection)),
            Err(error) if error.is_of_the_file() => damage = Some(error.to_string()),
            Err(error) => {
                tell(&format!("history is kept in memory: {error}"));
                break;
            }
        }
    }
    let place = Place::in_memory();
    match place.open_to_write(bytes_max) {
        Ok(connection) => Some((place, connection)),
        Err(error) => {
            tell(&format!("there is no history, not even in memory: {error}"));
            None
        }
    }
}
