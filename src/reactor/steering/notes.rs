//! What one reactor teaches the kernel: who sent what was handed over to it. Each sender once, as
//! soon as a registration has shown by its digest that somebody with an account of this reactor
//! receives what is sent there; so nobody can steer the phones of others, or fill the table with
//! made-up addresses.
//!
//! A sender may have accounts of several owners: a phone with two lines, a proxy. The first one is
//! noted, and stays for [`KEPT_S`], or two owners would take it from each other with each message.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Senders;
use super::bpf::Put;
use super::program::{Value, key, read_value, value};
use crate::reactor::counters::Counters;
use crate::reactor::told::{Told, Verdict};
use crate::shard::ShardId;
use crate::time::Instant;

/// How long a sender is not looked at again: what it sent before it was noted may still come, and
/// one that is another owner's stays so for long.
const QUIET: Duration = Duration::from_secs(10);
/// How many senders a reactor looks at in a second, with one system call each, or three: some
/// tenths of a percent of a core, even where the table is too small for those who come.
const NOTED_PER_SECOND: u32 = 4096;
/// For how long an entry stays although another owner has heard from its sender, seconds. An
/// address that was given to another phone is learnt anew after that.
const KEPT_S: u32 = 600;

/// What one reactor has noted.
pub(in crate::reactor) struct Notes {
    reactor: u32,
    senders: Arc<Senders>,
    looked_at: Told,
}

/// What an entry is to a reactor that has heard from its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It says so already.
    Mine,
    /// It names another, and that is not long ago.
    Anothers,
    /// It names another and is old.
    Outlived,
}

fn standing(entry: Value, reactor: u32, now_s: u32) -> Standing {
    match read_value(entry) {
        (owner, _) if owner == reactor => Standing::Mine,
        (_, written_s) if now_s.saturating_sub(written_s) < KEPT_S => Standing::Anothers,
        _ => Standing::Outlived,
    }
}

impl Notes {
    pub(in crate::reactor) fn new(shard: ShardId, senders: Arc<Senders>) -> Notes {
        let looked_at = Told::new(QUIET, NOTED_PER_SECOND);
        Notes { reactor: shard.0.into(), senders, looked_at }
    }

    /// Another reactor received a registration from `source` for an account that is owned here, and
    /// it was good.
    #[cold]
    pub(in crate::reactor) fn note(
        &mut self,
        now: Instant,
        source: SocketAddr,
        counters: &mut Counters,
    ) {
        match self.looked_at.admit(now, source) {
            Verdict::Tell => {}
            Verdict::Known => return,
            Verdict::TooMany => {
                counters.steering_shed += 1;
                return;
            }
        }
        let counter = match self.write(now, source) {
            Ok(Written::New) => &mut counters.steering_noted,
            Ok(Written::Moved) => &mut counters.steering_moved,
            Ok(Written::Shared) => &mut counters.steering_shared,
            Ok(Written::Nothing) => return,
            Err(_) => &mut counters.steering_failed,
        };
        *counter += 1;
    }

    fn write(&self, now: Instant, source: SocketAddr) -> io::Result<Written> {
        let now_s = u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
        let (key, mine) = (key(source), value(self.reactor, now_s));
        match self.senders.0.put(&key, &mine, Put::New) {
            Ok(()) => return Ok(Written::New),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(error),
        }
        // Where it has been forgotten meanwhile, it is noted the next time.
        let Some(entry) = self.senders.0.find(&key)? else { return Ok(Written::Nothing) };
        match standing(entry, self.reactor, now_s) {
            Standing::Mine => Ok(Written::Nothing),
            Standing::Anothers => Ok(Written::Shared),
            // Two that do this at once agree within another ten minutes.
            Standing::Outlived => {
                self.senders.0.put(&key, &mine, Put::Any).map(|()| Written::Moved)
            }
        }
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    New,
    Moved,
    Shared,
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_with_its_owner_until_it_is_old() {
        let entry = value(1, 1000);
        assert_eq!(standing(entry, 1, 1000), Standing::Mine);
        assert_eq!(standing(entry, 1, 9999), Standing::Mine);
        assert_eq!(standing(entry, 0, 1000), Standing::Anothers);
        assert_eq!(standing(entry, 0, 999), Standing::Anothers, "another core's clock is behind");
        assert_eq!(standing(entry, 0, 1000 + KEPT_S - 1), Standing::Anothers);
        assert_eq!(standing(entry, 0, 1000 + KEPT_S), Standing::Outlived);
    }
}
