//! The history of `aorta serve`: the collector in front of the shards, the store behind it.

use std::path::Path;
use std::sync::Arc;

use super::Failure;
use super::say::note;
use super::server::Server;
use crate::config;
use crate::shard::history::Recording;
use crate::store::history::collect::{Asked, Collector, Hear};
use crate::store::history::{History, HistoryDesk};

/// History that is being kept. It ends with this: what the shards have is taken once more, and
/// written.
pub struct Keeping {
    /// Goes first, so that what it has is written.
    _collector: Collector,
    history: History,
}

/// Begins to keep history, if any is to be kept: with a data directory, or while somebody could
/// look. `more` hear what the store hears.
///
/// # Errors
/// One line with what is wrong.
pub fn start(
    settings: &config::History,
    server: &Server,
    data: Option<&Path>,
    is_seen: bool,
    more: Vec<Hear>,
) -> Result<Option<Keeping>, Failure> {
    if !settings.enabled || (data.is_none() && !is_seen) {
        return Ok(None);
    }
    let failed = |error| Failure::new(format!("cannot start a thread: {error}"));
    let tell = Arc::new(|line: &str| note(line));
    let history = History::start(settings, data, tell).map_err(failed)?;
    let shards = server.running.controllers().to_vec();
    let meter = server.running.meter();
    let bytes_max = settings.buffer_bytes as usize / shards.len().max(1);
    let asked = Asked {
        recording: Recording { bytes_max, refresh_every_s: settings.refresh_every_s },
        service_times: Box::new(move || meter.service_times()),
        shards,
    };
    let mut hearers = vec![history.hearer()];
    hearers.extend(more);
    let collector = Collector::start(asked, hearers).map_err(failed)?;
    Ok(Some(Keeping { _collector: collector, history }))
}

impl Keeping {
    /// Where questions are asked.
    pub fn desk(&self) -> HistoryDesk {
        self.history.desk()
    }
}
