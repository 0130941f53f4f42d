//! Watches what shards cannot say of themselves, since they write no lines: a thread that asks them
//! every few seconds, and says something when the answer is another than before.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};

use super::say::warn;
use crate::reactor::Controller;
use crate::shard::Shard;
use crate::shard::control::{Control, Reply};

const ASK_EVERY: Duration = Duration::from_secs(5);
const REPLY_MAX: Duration = Duration::from_secs(2);

/// The thread; it ends with this.
pub struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to ask these shards.
    #[must_use]
    pub fn start(controllers: Vec<Controller<Shard>>) -> Watch {
        let (stop, stopped) = bounded(0);
        let thread = thread::spawn(move || {
            let mut pace = Pace::default();
            while stopped.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(now) = ask(&controllers) else { continue };
                if let Some(line) = pace.change(now) {
                    warn(line);
                }
            }
        });
        Watch { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has printed why, if it panicked.
            let _ = thread.join();
        }
    }
}

/// The keepalives of all shards at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Keepalives {
    phones: u64,
    shards_raised: u64,
    missed: u64,
}

/// `None` where a shard does not answer: it stops, or is too busy for this.
fn ask(controllers: &[Controller<Shard>]) -> Option<Keepalives> {
    let mut sum = Keepalives::default();
    for controller in controllers {
        let reply = controller.give(Control::Count).ok()?.wait(REPLY_MAX).ok()?;
        let Reply::Counted(tally) = reply else { return None };
        sum.phones += tally.levels.keepalives;
        sum.shards_raised += tally.levels.keepalive_pace_raised;
        sum.missed += tally.counters.keepalives.total().missed;
    }
    Some(sum)
}

/// What was said last.
#[derive(Debug, Default)]
struct Pace {
    raised: bool,
    missed: u64,
}

impl Pace {
    /// The line to say, if there is something new.
    fn change(&mut self, now: Keepalives) -> Option<String> {
        let Keepalives { phones, shards_raised, missed } = now;
        let raised = shards_raised > 0;
        if missed > self.missed {
            let more = missed - self.missed;
            self.missed = missed;
            return Some(format!(
                "{more} phones behind NAT have gone longer than nat.keepalive_period without a \
                 packet: the process stood still, or has too much to do"
            ));
        }
        if raised == self.raised {
            return None;
        }
        self.raised = raised;
        Some(if raised {
            format!(
                "keepalives go out faster than nat.keepalive_send_one_time says: it could not \
                 cover {phones} phones within nat.keepalive_period"
            )
        } else {
            format!("keepalives of {phones} phones go out within nat.keepalive_send_one_time again")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_pace_is_said_once_and_its_end_once() {
        let at = |shards_raised| Keepalives { phones: 9, shards_raised, missed: 0 };
        let mut pace = Pace::default();
        assert_eq!(pace.change(at(0)), None);
        assert!(pace.change(at(1)).unwrap().contains("faster"));
        assert_eq!(pace.change(at(2)), None);
        assert!(pace.change(at(0)).unwrap().contains("again"));
        assert_eq!(pace.change(at(0)), None);
    }

    #[test]
    fn missed_phones_are_said_as_they_come() {
        let mut pace = Pace::default();
        let at = |missed| Keepalives { missed, ..Keepalives::default() };
        assert!(pace.change(at(3)).unwrap().starts_with("3 phones"));
        assert_eq!(pace.change(at(3)), None);
        assert!(pace.change(at(5)).unwrap().starts_with("2 phones"));
    }
}
