//! The thread that answers questions, one after the other, on a connection of its own that cannot
//! write. Each has its time; a question that comes while too many wait is turned away.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::Receiver;
use rusqlite::Connection;

use super::Shared;
use super::query::{self, Asked, Found};
use super::schema::{Place, is_damage};
use super::trend::{self, Trend, TrendAsked};
use crate::reactor::Clock;

/// How long one question may take; then what has been found is given.
const ANSWER_MAX: Duration = Duration::from_millis(800);
/// How long the first question waits until there is a database.
const MADE_WITHIN: Duration = Duration::from_secs(3);

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryError {
    /// Too many questions wait already.
    Busy,
    /// There is no history: it is off, or the process is stopping.
    Off,
    /// The database refuses.
    Refused(String),
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HistoryError::Busy => f.write_str("too many questions about history wait"),
            HistoryError::Off => f.write_str("no history is kept (history.enabled)"),
            HistoryError::Refused(why) => write!(f, "history cannot be read: {why}"),
        }
    }
}

impl std::error::Error for HistoryError {}

/// Takes an answer, on the thread of the reader: it passes it on and returns.
pub(super) type Reply<T> = Box<dyn FnOnce(Result<T, HistoryError>) + Send>;

/// What may be asked.
pub(super) enum Question {
    /// What happened.
    Find(Asked, Reply<Found>),
    /// Numbers over time.
    Trend(TrendAsked, Reply<Trend>),
}

/// The thread's own.
pub(super) struct Reader {
    pub clock: Clock,
    pub shared: Arc<Shared>,
    pub places: Receiver<Place>,
}

impl Reader {
    /// Answers until nobody is left who could ask.
    pub fn run(self, questions: &Receiver<Question>) {
        let mut place: Option<Place> = None;
        let mut connection: Option<Connection> = None;
        while let Ok(question) = questions.recv() {
            while let Ok(other) = self.places.try_recv() {
                (place, connection) = (Some(other), None);
            }
            // At the start the writer makes it first.
            place = place.or_else(|| self.places.recv_timeout(MADE_WITHIN).ok());
            let Some(place) = &place else {
                question.give_up(HistoryError::Off);
                continue;
            };
            self.shared.counts.questions.fetch_add(1, Ordering::Relaxed);
            let failed = match connection.take().map_or_else(|| place.open_to_read(), Ok) {
                Ok(open) => match self.answer(&open, question) {
                    Ok(()) => {
                        connection = Some(open);
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => {
                    question.give_up(HistoryError::Refused(error.to_string()));
                    error
                }
            };
            self.shared.counts.errors.fetch_add(1, Ordering::Relaxed);
            if is_damage(&failed) {
                self.shared.damaged.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Answers one.
    fn answer(&self, connection: &Connection, question: Question) -> rusqlite::Result<()> {
        let began = self.clock.mono();
        let is_over = || self.clock.mono().saturating_since(began) >= ANSWER_MAX;
        match question {
            Question::Find(asked, reply) => {
                let found = query::find(connection, &asked, is_over);
                let was_cut = found.as_ref().is_ok_and(|found| found.cut_short);
                self.shared.counts.cut_short.fetch_add(was_cut.into(), Ordering::Relaxed);
                give(found, reply)
            }
            Question::Trend(asked, reply) => give(trend::read(connection, &asked), reply),
        }
    }
}

fn give<T>(answer: rusqlite::Result<T>, reply: Reply<T>) -> rusqlite::Result<()> {
    match answer {
        Ok(answer) => {
            reply(Ok(answer));
            Ok(())
        }
        Err(error) => {
            reply(Err(HistoryError::Refused(error.to_string())));
            Err(error)
        }
    }
}

impl Question {
    /// It has no answer.
    pub fn give_up(self, why: HistoryError) {
        match self {
            Question::Find(_, reply) => reply(Err(why)),
            Question::Trend(_, reply) => reply(Err(why)),
        }
    }
}
