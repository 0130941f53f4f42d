//! The thread that asks: every fraction of a second it takes from each shard what happened to
//! registrations, and every ten seconds it measures. Whoever wants to know is a hearer; the store
//! is one of them. To hear as well, hand [`Collector::start`] another: it is called on this
//! thread, and returns soon.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use hdrhistogram::Histogram;

use super::samples::{METRICS, Metric, Sample, ShardSample};
use crate::guard::SecurityKind;
use crate::reactor::{Clock, Controller, ServiceTimes, Span};
use crate::shard::Shard;
use crate::shard::control::{Control, Reply};
use crate::shard::counters::{Counters, DropReason};
use crate::shard::history::{HistoryPage, HistoryTaken, Recording};
use crate::shard::refused::RefuseReason;
use crate::shard::tally::Tally;
use crate::time::{Instant, Now, UnixTime};

/// How often shards are asked what happened, and how often while nothing does: what sleeps is left
/// asleep.
const ASK_EVERY: Duration = Duration::from_millis(200);
const ASK_QUIETLY_EVERY: Duration = Duration::from_secs(1);
/// So many rounds without anything are quiet.
const QUIET_ROUNDS: u32 = 10;
/// Longest wait for a reply; only a reactor that is stuck reaches it.
const REPLY_MAX: Duration = Duration::from_secs(2);
/// Pages of one shard in a row; then the next one's turn comes.
const PAGES_IN_A_ROW: usize = 32;
/// The length of a sample, seconds.
const SAMPLE_S: u64 = 10;
/// One that would be shorter, since the clock was set, is left to the next.
const SAMPLE_MIN: Duration = Duration::from_secs(5);

/// What is heard.
#[derive(Debug)]
pub enum Told<'a> {
    /// What happened to registrations, in order, at this shard.
    Rows {
        /// Which one.
        shard: u8,
        /// The rows.
        page: &'a Arc<HistoryPage>,
    },
    /// What was measured.
    Sample(&'a Arc<Sample>),
}

/// Hears; called on the collector's thread, one after the other.
pub type Hear = Box<dyn FnMut(&Told<'_>) + Send>;

/// What is asked.
pub struct Asked {
    /// The shards, in order.
    pub shards: Vec<Controller<Shard>>,
    /// What reads how long messages take at each reactor.
    pub service_times: Box<dyn Fn() -> Vec<ServiceTimes> + Send>,
    /// How much each of them records.
    pub recording: Recording,
}

/// The thread; it ends with this, when what the shards have has been taken once more.
pub struct Collector {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Has the shards record, and begins to ask: what happens once this has returned is heard.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(asked: Asked, hearers: Vec<Hear>) -> io::Result<Collector> {
        let (stop, stopped) = bounded(0);
        let clock = Clock::start();
        let mut rounds = Rounds::new(asked, hearers, clock);
        let thread = thread::Builder::new().name("history".into()).spawn(move || {
            loop {
                let ended = stopped.recv_timeout(rounds.pause()) != Err(RecvTimeoutError::Timeout);
                rounds.take();
                rounds.measure(clock.now());
                if ended {
                    return;
                }
            }
        })?;
        Ok(Collector { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has printed why, if it panicked.
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Rounds {
    asked: Asked,
    hearers: Vec<Hear>,
    /// Which shards have taken the order to record.
    recording: Vec<bool>,
    spare: Option<HistoryPage>,
    /// Shards have more than was taken.
    more: bool,
    /// Rounds in which nothing came.
    quiet: u32,
    meter: Meter,
}

impl Rounds {
    fn new(asked: Asked, hearers: Vec<Hear>, clock: Clock) -> Rounds {
        let recording = vec![false; asked.shards.len()];
        let mut rounds = Rounds {
            asked,
            hearers,
            recording,
            spare: None,
            more: false,
            quiet: 0,
            meter: Meter::new(clock.now()),
        };
        rounds.take();
        // What comes from here on is measured.
        rounds.measure_now(clock.now());
        rounds
    }

    fn order(&self, shard: usize, order: Control) -> Option<Reply> {
        let pending = self.asked.shards.get(shard)?.give(order).ok()?;
        pending.wait(REPLY_MAX).ok()
    }

    /// How long to wait for the next round.
    fn pause(&self) -> Duration {
        match self.quiet {
            _ if self.more => Duration::ZERO,
            0..QUIET_ROUNDS => ASK_EVERY,
            _ => ASK_QUIETLY_EVERY,
        }
    }

    /// Takes what the shards have.
    fn take(&mut self) {
        self.more = false;
        self.quiet = self.quiet.saturating_add(1);
        for shard in 0..self.asked.shards.len() {
            if !self.recording[shard] {
                let order = Control::RecordHistory(Some(self.asked.recording));
                self.recording[shard] = self.order(shard, order).is_some();
            }
            for nth in 0..PAGES_IN_A_ROW {
                // Made here, so that no shard has to.
                let spare = self.spare.take().unwrap_or_else(HistoryPage::with_room);
                let order = Control::TakeHistory(Some(spare));
                let Some(Reply::History(HistoryTaken { page, more })) = self.order(shard, order)
                else {
                    break;
                };
                if page.is_empty() {
                    self.spare = Some(page);
                } else {
                    self.quiet = 0;
                    let page = Arc::new(page);
                    let told = Told::Rows { shard: shard as u8, page: &page };
                    self.hearers.iter_mut().for_each(|hear| hear(&told));
                    self.spare = Arc::into_inner(page);
                }
                self.more |= more && nth + 1 == PAGES_IN_A_ROW;
                if !more {
                    break;
                }
            }
        }
    }

    /// Measures, if it is time.
    fn measure(&mut self, now: Now) {
        if self.meter.is_due(now) {
            self.measure_now(now);
        }
    }

    fn measure_now(&mut self, now: Now) {
        let mut tallies = Vec::with_capacity(self.asked.shards.len());
        for shard in 0..self.asked.shards.len() {
            // Of what is not whole nothing can be told; the next sample is as much longer.
            let Some(Reply::Counted(tally)) = self.order(shard, Control::Count) else { return };
            tallies.push(tally);
        }
        let times = (self.asked.service_times)().iter().sum();
        if let Some(sample) = self.meter.measure(now, &tallies, times, resident_bytes()) {
            let sample = Arc::new(sample);
            self.hearers.iter_mut().for_each(|hear| hear(&Told::Sample(&sample)));
        }
    }
}

/// The memory of the process, bytes.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What was counted up to the last sample.
#[derive(Clone, Debug)]
struct Before {
    at: Instant,
    counters: Counters,
    security: [u64; SecurityKind::ALL.len()],
    requests: Vec<u64>,
    times: ServiceTimes,
}

/// Makes samples of what is counted.
struct Meter {
    before: Option<Before>,
    /// The ten seconds that the clock showed then.
    slot: u64,
    measured: Instant,
}

impl Meter {
    fn new(now: Now) -> Meter {
        Meter { before: None, slot: now.wall.0 / SAMPLE_S, measured: now.mono }
    }

    /// Whether other ten seconds have begun.
    fn is_due(&self, now: Now) -> bool {
        now.wall.0 / SAMPLE_S != self.slot && now.mono.saturating_since(self.measured) >= SAMPLE_MIN
    }

    /// A sample of what has come since the one before; nothing the first time.
    fn measure(
        &mut self,
        now: Now,
        tallies: &[Box<Tally>],
        times: ServiceTimes,
        memory: Option<u64>,
    ) -> Option<Sample> {
        (self.slot, self.measured) = (now.wall.0 / SAMPLE_S, now.mono);
        let mut counters = Counters::default();
        let mut security = [0; SecurityKind::ALL.len()];
        for tally in tallies {
            counters += &tally.counters;
            security.iter_mut().zip(tally.security).for_each(|(sum, more)| *sum += more);
        }
        let requests: Vec<u64> = tallies.iter().map(|tally| tally.counters.requests).collect();
        let next = Before { at: now.mono, counters, security, requests, times };
        let before = self.before.replace(next.clone())?;
        let covered = now.mono.saturating_since(before.at);
        let middle = now.wall.0.saturating_sub(covered.as_secs() / 2);
        let shards: Vec<ShardSample> = tallies
            .iter()
            .zip(&before.requests)
            .map(|(tally, before)| ShardSample {
                registrations: tally.levels.bindings,
                requests: tally.counters.requests.saturating_sub(*before),
            })
            .collect();
        let window = next.times.since(&before.times).of(Span::Whole);
        let mut values = [None; METRICS];
        for &metric in Metric::ALL {
            values[metric as usize] = match metric {
                Metric::Memory => memory,
                Metric::P50 => quantile(&window, 0.5),
                Metric::P99 => quantile(&window, 0.99),
                Metric::BusiestShard => shards.iter().map(|one| one.requests).max(),
                _ => level(metric, tallies)
                    .or_else(|| counted(metric, &next)?.checked_sub(counted(metric, &before)?)),
            };
        }
        Some(Sample {
            at: UnixTime(middle / SAMPLE_S * SAMPLE_S),
            covered_ms: u32::try_from(covered.as_millis()).unwrap_or(u32::MAX),
            values,
            shards,
        })
    }
}

fn quantile(times: &Histogram<u64>, quantile: f64) -> Option<u64> {
    (!times.is_empty()).then(|| times.value_at_quantile(quantile))
}

/// So many there are.
fn level(metric: Metric, tallies: &[Box<Tally>]) -> Option<u64> {
    let levels = || tallies.iter().map(|tally| &tally.levels);
    match metric {
        Metric::Registrations => Some(levels().map(|one| one.bindings).sum()),
        Metric::Accounts => Some(levels().map(|one| one.aors_bound).sum()),
        Metric::Connections => Some(levels().map(|one| one.connections_bound).sum()),
        Metric::Suspensions => Some(levels().map(|one| one.suspensions).sum()),
        // Every shard has the same.
        Metric::Blocked => levels().map(|one| one.sources_blocked).max(),
        Metric::Waiting => levels().map(|one| one.overload_waiting_us).max(),
        _ => None,
    }
}

/// So many there were since the start.
fn counted(metric: Metric, sum: &Before) -> Option<u64> {
    let Before { counters, security, .. } = sum;
    let is_overload = |reason: RefuseReason| {
        matches!(
            reason,
            RefuseReason::OverloadProven
                | RefuseReason::OverloadKnown
                | RefuseReason::OverloadNewcomer
        )
    };
    let refused = |overload: bool| -> u64 {
        let all = RefuseReason::ALL.into_iter();
        let those = all.filter(|reason| {
            is_overload(*reason) == overload && *reason != RefuseReason::Suspended
        });
        those.map(|reason| counters.refused(reason)).sum()
    };
    Some(match metric {
        Metric::Requests => counters.requests,
        Metric::Registered => counters.registered,
        Metric::Refreshed => counters.refreshed + counters.retargeted,
        Metric::Unregistered => counters.unregistered,
        Metric::Expired => counters.expired,
        Metric::Replaced => counters.kicked,
        Metric::Removed => counters.removed + counters.removed_unreachable,
        Metric::Challenged => counters.challenged,
        Metric::BadPassword => counters.bad_password,
        Metric::UnknownAccount => security[SecurityKind::UnknownAccount as usize],
        Metric::Refused => {
            refused(false)
                + counters.stale_cseq
                + counters.interval_too_brief
                + counters.too_many_bindings
                + counters.registrar_full
        }
        Metric::Overloaded => {
            refused(true)
                + counters.dropped(DropReason::OverloadStranger)
                + counters.dropped(DropReason::OverloadProven)
                + counters.dropped(DropReason::OverloadKnown)
                + counters.dropped(DropReason::OverloadNewcomer)
        }
        Metric::Dropped => {
            let quiet =
                counters.dropped(DropReason::Keepalive) + counters.dropped(DropReason::Stun);
            counters.dropped.iter().sum::<u64>().saturating_sub(quiet)
        }
        Metric::Suspended => counters.suspensions + counters.suspensions_unknown,
        Metric::Flapping => counters.flapping,
        Metric::Unreachable => counters.unreachable,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tally::Levels;

    fn tally(requests: u64, registered: u64, bindings: u64) -> Box<Tally> {
        Box::new(Tally {
            counters: Counters { requests, registered, ..Counters::default() },
            watching: crate::reg_event::Counters::default(),
            security: [0; SecurityKind::ALL.len()],
            security_pushed_out: 0,
            history: crate::shard::history::HistoryCounts::default(),
            levels: Levels { bindings, ..Levels::default() },
        })
    }

    const START: Now =
        Now { mono: Instant::from_secs(100), wall: UnixTime(1_800_000_003), wall_us: 0 };

    #[test]
    fn a_sample_is_what_came_since_the_one_before_and_what_is_there() {
        let mut meter = Meter::new(START);
        let none = ServiceTimes::default;
        assert_eq!(meter.measure(START, &[tally(5, 1, 1)], none(), None), None);
        assert!(!meter.is_due(START.after(Duration::from_secs(6))));
        let now = START.after(Duration::from_secs(7));
        assert!(meter.is_due(now));
        let two = [tally(40, 3, 2), tally(10, 4, 5)];
        // Another shard that nobody has counted before counts from nothing.
        let sample = meter.measure(now, &two, none(), Some(77)).expect("a sample");
        assert_eq!((sample.at, sample.covered_ms), (UnixTime(1_800_000_000), 7000));
        assert_eq!(sample.of(Metric::Requests), Some(45));
        assert_eq!(sample.of(Metric::Registered), Some(6));
        assert_eq!(sample.of(Metric::Registrations), Some(7));
        assert_eq!(sample.of(Metric::Memory), Some(77));
        assert_eq!(sample.of(Metric::P99), None, "nothing was timed");
        assert_eq!(sample.of(Metric::Dropped), Some(0));
    }

    #[test]
    fn every_metric_is_measured() {
        let mut meter = Meter::new(START);
        let times = |ns: &[u64]| {
            let batches: Vec<_> = ns.iter().map(|&ns| (Span::Whole, ns)).collect();
            ServiceTimes::of_batches(&batches)
        };
        meter.measure(START, &[tally(0, 0, 0)], times(&[9]), Some(1));
        let now = START.after(Duration::from_secs(10));
        let sample = meter.measure(now, &[tally(1, 1, 1)], times(&[9, 100, 250]), Some(1)).unwrap();
        for metric in Metric::ALL {
            assert!(sample.of(*metric).is_some(), "{}", metric.name());
        }
        assert_eq!((sample.of(Metric::P50), sample.of(Metric::P99)), (Some(100), Some(250)));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_short_sample() {
        let mut meter = Meter::new(START);
        let back = Now { wall: UnixTime(1_700_000_000), ..START.after(Duration::from_secs(1)) };
        assert!(!meter.is_due(back));
        let back = back.after(Duration::from_secs(5));
        assert!(meter.is_due(back));
        meter.measure(back, &[tally(0, 0, 0)], ServiceTimes::default(), None);
        assert!(!meter.is_due(back));
    }

    #[test]
    fn the_memory_of_the_process_is_known() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
