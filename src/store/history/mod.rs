//! History: what happened to registrations and how many there were, in an embedded database that is
//! bounded in time and size. It is written by a thread of its own and read by another; shards and
//! whoever looks never wait for it.
//!
//! ```text
//! shards --pages--> collect --hearers--> writer --> history.db --> reader --> admin
//! ```
//!
//! - [`collect`]: the thread that asks the shards, and whoever else wants to hear what it hears
//! - `schema`: tables, and what becomes of a damaged file; `writer`: rows into it; `retention`:
//!   what goes
//! - [`query`]: what happened; `reader`: the thread that answers; `id`: numbers of entries
//! - [`samples`]: numbers over time and their arithmetic; [`trend`]: how they are kept
//!
//! Where there is no data directory all of it is in memory, and smaller.

pub mod collect;
mod id;
pub mod query;
mod reader;
mod retention;
pub mod samples;
mod schema;
pub mod trend;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use self::collect::Told;
pub use self::query::{Asked, Entry, Found, Kinds};
pub use self::reader::HistoryError;
use self::reader::{Question, Reader};
use self::retention::Retention;
pub use self::samples::{Metric, Nature, Point, Sample};
use self::schema::Place;
pub use self::trend::{Kept, Step, Trend, TrendAsked};
use self::writer::{Work, Writer};
use crate::config;
use crate::reactor::Clock;

/// Takes a line for the operator.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Pages and samples that wait to be written.
const WAITING_MAX: usize = 64;
/// How long the collector waits for room before it lets the shards hold what they have.
const ROOM_WITHIN: Duration = Duration::from_secs(2);
/// Questions that wait.
const QUESTIONS_MAX: usize = 16;
/// Announcements of databases that nobody has taken up: one is begun anew rarely.
const PLACES_MAX: usize = 16;

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident $grows:literal,)+) => {
        /// What the store counts.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }

        impl Counts {
            /// Name, meaning and number of each, and whether it only grows.
            pub fn described(
                &self,
            ) -> impl Iterator<Item = (&'static str, &'static str, u64, bool)> {
                [$((
                    stringify!($name),
                    concat!($($doc),+),
                    self.$name.load(Ordering::Relaxed),
                    $grows,
                ),)+]
                .into_iter()
            }
        }
    };
}

counts! {
    /// Events of registrations written to history.
    rows true,
    /// Events and samples that could not be written.
    lost true,
    /// Events that went for their age, or for want of room.
    trimmed true,
    /// Operations that the database or the disk refused.
    errors true,
    /// Bytes that history takes.
    bytes false,
    /// How old the newest event was when it was written last, milliseconds.
    lag_ms false,
    /// Questions about history.
    questions true,
    /// Questions whose time was over before their page was full.
    cut_short true,
}

/// What the threads share.
struct Shared {
    counts: Counts,
    places: Sender<Place>,
    /// Whoever read found damage that the writer has not met.
    damaged: AtomicBool,
}

impl Shared {
    /// Says where the database is from now on.
    fn announce(&self, place: Place) {
        // Where nobody reads any more nobody needs to know.
        let _ = self.places.try_send(place);
    }
}

/// History that is kept. It ends with this: what was given to it before is written.
pub struct History {
    desk: HistoryDesk,
    feed: Option<Sender<Work>>,
    writer: Option<JoinHandle<()>>,
}

impl History {
    /// Begins to keep history: in this directory, or in memory.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        settings: &config::History,
        directory: Option<&Path>,
        tell: Tell,
    ) -> io::Result<History> {
        let clock = Clock::start();
        let (place, bytes_max) = match directory {
            Some(directory) => (Place::in_directory(directory), settings.bytes_max),
            None => (Place::in_memory(), settings.memory_bytes_max),
        };
        let kept = Kept::from(settings);
        let retention = Retention {
            events_ms: u64::from(settings.retention_s) * 1000,
            trends: kept,
            bytes_max: bytes_max.into(),
        };
        let (feed, work) = bounded(WAITING_MAX);
        let (ask, questions) = bounded(QUESTIONS_MAX);
        let (announce, places) = bounded(PLACES_MAX);
        let shared = Arc::new(Shared {
            counts: Counts::default(),
            places: announce,
            damaged: AtomicBool::new(false),
        });
        let reader = Reader { clock, shared: Arc::clone(&shared), places };
        thread::Builder::new().name("history-read".into()).spawn(move || reader.run(&questions))?;
        let writes = Arc::clone(&shared);
        let writer = thread::Builder::new()
            .name("history-write".into())
            .spawn(move || write(place, retention, clock, &writes, tell, &work))?;
        let desk = HistoryDesk { shared, ask, kept };
        Ok(History { desk, feed: Some(feed), writer: Some(writer) })
    }

    /// Where questions are asked.
    #[must_use]
    pub fn desk(&self) -> HistoryDesk {
        self.desk.clone()
    }

    /// What takes what a collector hears, and waits a while where too much is to be written.
    #[must_use]
    pub fn hearer(&self) -> collect::Hear {
        let (feed, shared) = (self.feed.clone(), Arc::clone(&self.desk.shared));
        Box::new(move |told| {
            let (work, rows) = match told {
                Told::Rows { shard, page } => {
                    (Work::Rows(*shard, Arc::clone(page)), page.len() as u64)
                }
                Told::Sample(sample) => (Work::Sample(Arc::clone(sample)), 1),
            };
            let sent = feed.as_ref().map(|feed| feed.send_timeout(work, ROOM_WITHIN));
            if !matches!(sent, Some(Ok(()))) {
                shared.counts.lost.fetch_add(rows, Ordering::Relaxed);
            }
        })
    }

    /// Waits until everything that was given to it before is written, or lost. Returns whether that
    /// was within this time.
    pub fn settle(&self, within: Duration) -> bool {
        let (told, done) = bounded(1);
        let Some(feed) = &self.feed else { return false };
        feed.send_timeout(Work::Told(told), within).is_ok() && done.recv_timeout(within).is_ok()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        drop(self.feed.take());
        if let Some(writer) = self.writer.take() {
            // It has printed why, if it panicked.
            let _ = writer.join();
        }
    }
}

fn write(
    place: Place,
    retention: Retention,
    clock: Clock,
    shared: &Arc<Shared>,
    tell: Tell,
    work: &Receiver<Work>,
) {
    let Some((place, connection)) = writer::open(&place, retention.bytes_max, &tell, None) else {
        return;
    };
    shared.announce(place.clone());
    Writer::new(place, retention, clock, Arc::clone(shared), tell).run(connection, work);
}

/// Where questions about history are asked; clones ask the same.
#[derive(Clone)]
pub struct HistoryDesk {
    shared: Arc<Shared>,
    ask: Sender<Question>,
    kept: Kept,
}

impl HistoryDesk {
    /// Asks what happened. `reply` is called on the thread that reads: it passes the answer on and
    /// returns.
    pub fn find(
        &self,
        asked: Asked,
        reply: impl FnOnce(Result<Found, HistoryError>) + Send + 'static,
    ) {
        self.put(Question::Find(asked, Box::new(reply)));
    }

    /// Asks for numbers over time, alike.
    pub fn trend(
        &self,
        asked: TrendAsked,
        reply: impl FnOnce(Result<Trend, HistoryError>) + Send + 'static,
    ) {
        self.put(Question::Trend(asked, Box::new(reply)));
    }

    fn put(&self, question: Question) {
        match self.ask.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(question)) => question.give_up(HistoryError::Busy),
            Err(TrySendError::Disconnected(question)) => question.give_up(HistoryError::Off),
        }
    }

    /// How long numbers over time are kept.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.kept
    }

    /// What the store counts.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

#[cfg(test)]
mod tests;
