//! A whole run: opens sockets, starts the threads, adds their seconds up, tells the caller how
//! it goes. What is made of the figures is the report's business.

use crate::agent::request::Line;
use crate::agent::{Fleet, Habits};
use crate::drive::{Beside, Done, Interval, Pacing, Report, Shared, Worker};
use crate::options::{Error, Options, Pace};
use crate::plan::{Nanos, Plan, SECOND};
use crate::record::{Latencies, Sample, Tally};
use crate::socket::{self, Port};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

/// Wrong answers that are shown of all threads.
const SAMPLES_MAX: usize = 8;
/// Most actions under way in a warm-up where no window says so.
const WARM_UP_WINDOW: u32 = 128;
/// A shorter last second is added to the one before.
const PART_MIN: Duration = Duration::from_millis(250);
/// From the last thread's readiness to the start.
const LEAD: Nanos = 3_000_000;

/// How a run goes, told once a second.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Since the start of measuring; zero while users are registered first.
    pub elapsed: Duration,
    /// Users are being registered, nothing is measured yet.
    pub warming: bool,
    /// Counters of all threads.
    pub tally: Tally,
    /// Requests answered in the last second.
    pub requests_per_second: u64,
    /// Registrations granted in the last second.
    pub registrations_per_second: u64,
    /// Corrected median and 99th percentile of the last second, microseconds.
    pub latency_us: (f64, f64),
    /// Actions under way.
    pub outstanding: u32,
}

/// One second of a run.
#[derive(Debug, Clone)]
pub struct Second {
    /// How long it was: the last one may be shorter, or a little longer.
    pub length: Duration,
    /// Requests answered.
    pub requests: u64,
    /// Registrations granted.
    pub registrations: u64,
    /// Latencies of what was answered.
    pub latencies: Latencies,
}

impl Second {
    /// What a count of this second is in one.
    pub fn rate(&self, count: u64) -> u64 {
        (count as f64 / self.length.as_secs_f64().max(1e-3)) as u64
    }
}

/// Everything measured in a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// The registrar.
    pub target: SocketAddr,
    /// Accounts.
    pub users: u32,
    /// Open or closed loop.
    pub pace: Pace,
    /// Threads of the generator.
    pub threads: usize,
    /// Whether datagrams could travel as one message.
    pub offload: bool,
    /// Percent of the datagrams of each direction that were lost by choice.
    pub loss_percent: f64,
    /// Wall-clock time of the start.
    pub started: SystemTime,
    /// Seconds that the rates are over: to the last answer, at least the time asked for.
    pub seconds: f64,
    /// Seconds from the start to the last registration.
    pub last_registration_seconds: f64,
    /// Counters of all threads.
    pub tally: Tally,
    /// Latencies of the whole run.
    pub latencies: Latencies,
    /// Each second from the start.
    pub timeline: Vec<Second>,
    /// First wrong answers.
    pub samples: Vec<Sample>,
    /// Actions cut off by an interruption.
    pub unfinished: u64,
    /// Planned sends that never left within their timeout; they are among the lost.
    pub unsent: u64,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// CPU time of the generator's threads, seconds.
    pub cpu_seconds: f64,
}

impl Outcome {
    /// CPU time of the generator for each answered request, microseconds; none without answers.
    pub fn cpu_us_per_request(&self) -> Option<f64> {
        let requests = self.tally.requests;
        (requests > 0).then(|| self.cpu_seconds * 1e6 / requests as f64)
    }

    /// Nothing lost, nothing wrong, and something answered; after a storm, everybody registered.
    pub fn is_clean(&self) -> bool {
        let answered = self.tally.requests > 0 || self.interrupted;
        let all_are_in = self.scenario != "storm"
            || self.interrupted
            || self.tally.registered == u64::from(self.users);
        self.tally.lost == 0 && self.tally.wrong == 0 && answered && all_are_in
    }
}

/// Runs a scenario to its end, or until `stop` is raised. `progress` is called about once a
/// second.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, Error> {
    run_beside(options, stop, None, progress)
}

/// The same; the first thread does something else beside it.
pub(crate) fn run_beside<'a>(
    options: &'a Options,
    stop: &'a AtomicBool,
    mut beside: Option<Beside<'a>>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, Error> {
    options.check()?;
    let threads = options.threads;
    let seed = RandomState::new();
    let mut crews = Vec::with_capacity(threads);
    for (thread, roster) in options.roster.deal(threads).into_iter().enumerate() {
        let ports = open_ports(options, thread)?;
        crews.push((thread, roster, ports, thread_key(&seed, thread)));
    }
    let shared = Shared {
        stop,
        halt: AtomicBool::new(false),
        start: AtomicU64::new(0),
        epoch: Instant::now(),
        timeout: nanos(options.timeout),
    };
    let (sender, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut handles = Vec::with_capacity(threads);
        for (thread, roster, ports, key) in crews {
            let (sender, shared) = (sender.clone(), &shared);
            let beside = beside.take();
            let work = move || {
                if let Some(cpu) = options.cpus.get(thread % options.cpus.len().max(1)) {
                    // Checked before: only a hot-unplugged CPU can fail here.
                    let _ = socket::pin(*cpu);
                }
                let users = u64::from(roster.len());
                let lines = ports.iter().map(|port| Line::new(port.local())).collect();
                let fleet = Fleet::new(habits(options, key), roster, lines);
                let window = share(warm_up_window(options), thread, threads);
                let turn = beside.map(|make| make());
                let worker = Worker::new(fleet, ports, shared, sender).beside(turn);
                worker.run(window, |start| pacing(options, thread, users, start));
            };
            let name = format!("load-{thread}");
            match std::thread::Builder::new().name(name).spawn_scoped(scope, work) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    shared.halt.store(true, Ordering::Relaxed);
                    return Err(Error::System {
                        operation: "starting a thread".to_owned(),
                        error,
                        remedy: "fewer --threads, or a higher limit of processes",
                    });
                }
            }
        }
        drop(sender);
        let outcome = collect(options, &shared, &reports, progress, &|| {
            handles.iter().any(|handle| handle.is_finished())
        });
        if outcome.is_err() {
            shared.halt.store(true, Ordering::Relaxed);
        }
        for handle in handles {
            handle.join().map_err(|_| Error::Thread)?;
        }
        outcome
    })
}

/// Whether a thread can be pinned as the options say; tried on a thread of its own.
pub(crate) fn pin_as_told(options: &Options, thread: usize) -> Result<(), Error> {
    if let Some(cpu) = options.cpus.get(thread % options.cpus.len().max(1)) {
        let tried = std::thread::scope(|scope| scope.spawn(|| socket::pin(*cpu)).join());
        tried.map_err(|_| Error::Thread)?.map_err(|error| Error::System {
            operation: format!("pinning a thread to CPU {cpu}"),
            error,
            remedy: "name CPUs that this process may use",
        })?;
    }
    Ok(())
}

fn open_ports(options: &Options, thread: usize) -> Result<Vec<Port>, Error> {
    pin_as_told(options, thread)?;
    let open = |index: usize| {
        let turn = thread * options.sockets + index;
        let source = options.sources.get(turn % options.sources.len().max(1)).copied();
        Port::open(options.target, source, options.offload).map_err(|error| Error::System {
            operation: match source {
                Some(source) => format!("a socket from {source} to {}", options.target),
                None => format!("a socket to {}", options.target),
            },
            error,
            remedy: "check the target, --source and --sockets, and `ulimit -n`",
        })
    };
    (0..options.sockets).map(open).collect()
}

fn habits(options: &Options, key: [u32; 3]) -> Habits {
    Habits {
        scenario: options.scenario,
        weights: options.weights,
        expires: options.expires,
        bindings_max: options.bindings_max,
        algorithms: options.algorithms(),
        retransmit: options.retransmit,
        timeout: nanos(options.timeout),
        loss_percent: options.loss_percent,
        patience: nanos(options.patience),
        key,
    }
}

fn pacing(options: &Options, thread: usize, users: u64, start: Nanos) -> Pacing {
    let duration = nanos(options.duration);
    let place = (thread, options.threads);
    match options.pace {
        _ if options.scenario.storm => Pacing::Once(start, nanos(options.ramp), users),
        Pace::Rate(rate) => {
            Pacing::Plan(Plan::new(start, rate, nanos(options.ramp), duration, place))
        }
        Pace::Window(window) => {
            Pacing::Window(share(window, thread, options.threads), start + duration)
        }
    }
}

fn warm_up_window(options: &Options) -> u32 {
    match options.pace {
        Pace::Window(window) => window,
        Pace::Rate(_) => WARM_UP_WINDOW.max(options.threads as u32),
    }
}

/// One thread's part of a whole.
pub(crate) fn share(whole: u32, thread: usize, threads: usize) -> u32 {
    let (threads, thread) = (threads as u32, thread as u32);
    whole / threads + u32::from(thread < whole % threads)
}

pub(crate) fn thread_key(seed: &RandomState, thread: usize) -> [u32; 3] {
    let (one, two) = (seed.hash_one((thread, 1)), seed.hash_one((thread, 2)));
    [one as u32, (one >> 32) as u32, two as u32]
}

pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX / 4)
}

/// Adds up what the threads report until all have ended.
fn collect(
    options: &Options,
    shared: &Shared<'_>,
    reports: &Receiver<Report>,
    progress: &mut dyn FnMut(&Progress),
    any_finished: &dyn Fn() -> bool,
) -> Result<Outcome, Error> {
    let mut ready = 0;
    let mut started = SystemTime::now();
    let mut start = 0;
    let mut sum = Sum::new(options.threads);
    let mut done: Vec<Done> = Vec::new();
    while done.len() < options.threads {
        match reports.recv_timeout(Duration::from_secs(1)) {
            Ok(Report::Ready) => {
                ready += 1;
                if ready == options.threads {
                    started = SystemTime::now() + Duration::from_nanos(LEAD);
                    start = shared.epoch.elapsed().as_nanos() as Nanos + LEAD;
                    shared.start.store(start, Ordering::Release);
                }
            }
            Ok(Report::Interval(interval)) => {
                if let Some(now) = sum.add(*interval) {
                    progress(&now);
                }
            }
            Ok(Report::Done(one)) => done.push(*one),
            Err(RecvTimeoutError::Timeout) => {
                if done.is_empty() && any_finished() {
                    return Err(Error::Thread);
                }
                if ready < options.threads {
                    progress(&sum.warming());
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Thread),
        }
    }
    let interrupted = shared.stop.load(Ordering::Relaxed);
    let timeline = sum.finish();
    let mut tally = Tally::default();
    done.iter().for_each(|one| tally.add(&one.tally));
    let mut latencies = Latencies::default();
    timeline.iter().for_each(|second| latencies.add(&second.latencies));
    let since = |at: Nanos| at.saturating_sub(start) as f64 / SECOND as f64;
    let cut_short = interrupted || shared.halt.load(Ordering::Relaxed);
    let asked = match options.scenario.storm || cut_short {
        true => 0.0,
        false => options.duration.as_secs_f64(),
    };
    Ok(Outcome {
        scenario: options.scenario.name,
        target: options.target,
        users: options.roster.len(),
        pace: options.pace,
        threads: options.threads,
        offload: options.offload,
        loss_percent: options.loss_percent,
        started,
        seconds: since(tally.last_answer).max(asked),
        last_registration_seconds: since(tally.last_registration),
        latencies,
        timeline,
        samples: {
            let mut samples: Vec<_> = Vec::new();
            let most = done.iter().map(|one| one.samples.len()).max().unwrap_or(0);
            for index in 0..most {
                samples.extend(done.iter().filter_map(|one| one.samples.get(index).cloned()));
            }
            samples.truncate(SAMPLES_MAX);
            samples
        },
        unfinished: done.iter().map(|one| one.unfinished).sum(),
        unsent: done.iter().map(|one| one.unsent).sum(),
        interrupted,
        cpu_seconds: done.iter().map(|one| one.cpu).sum::<u64>() as f64 / SECOND as f64,
        tally,
    })
}

/// One second of the threads that have reported it.
#[derive(Default)]
struct Part {
    threads: usize,
    length: Nanos,
    latencies: Latencies,
    tally: Tally,
    outstanding: u32,
}

/// Seconds of all threads on their way to becoming one timeline.
struct Sum {
    threads: usize,
    seconds: BTreeMap<u64, Part>,
    timeline: Vec<Second>,
    tally: Tally,
}

impl Sum {
    fn new(threads: usize) -> Self {
        let (seconds, timeline) = (BTreeMap::new(), Vec::new());
        Sum { threads, seconds, timeline, tally: Tally::default() }
    }

    /// Adds one thread's second; tells how the run goes when it was the last of that second.
    fn add(&mut self, mut interval: Interval) -> Option<Progress> {
        let part = self.seconds.entry(interval.second).or_default();
        part.threads += 1;
        part.length = part.length.max(interval.length);
        part.latencies.add(&interval.latencies);
        interval.latencies.reset();
        // A thread that has ended needs no memory.
        let _ = interval.back.send(interval.latencies);
        part.tally.add(&interval.tally);
        part.outstanding += interval.outstanding;
        if part.threads < self.threads {
            return None;
        }
        let part = self.seconds.remove(&interval.second)?;
        let outstanding = part.outstanding;
        self.close(part);
        let second = self.timeline.last()?;
        if self.timeline.len() > 1 && second.length < PART_MIN {
            // The moment in which the last answers come would look like a collapse of the rate.
            return None;
        }
        let corrected = &second.latencies.corrected;
        let quantile = |q| corrected.value_at_quantile(q) as f64 / 1000.0;
        Some(Progress {
            elapsed: Duration::from_secs(interval.second) + second.length,
            warming: false,
            tally: self.tally.clone(),
            requests_per_second: second.rate(second.requests),
            registrations_per_second: second.rate(second.registrations),
            latency_us: (quantile(0.5), quantile(0.99)),
            outstanding,
        })
    }

    fn close(&mut self, part: Part) {
        // Counted from the histograms, which hold this second alone in every thread.
        self.timeline.push(Second {
            length: Duration::from_nanos(part.length),
            requests: part.latencies.corrected.len(),
            registrations: part.latencies.registration.len(),
            latencies: part.latencies,
        });
        self.tally = part.tally;
    }

    fn warming(&self) -> Progress {
        Progress {
            elapsed: Duration::ZERO,
            warming: true,
            tally: self.tally.clone(),
            requests_per_second: 0,
            registrations_per_second: 0,
            latency_us: (0.0, 0.0),
            outstanding: 0,
        }
    }

    /// Threads end in different seconds: the last ones are added up from those that were there.
    fn finish(mut self) -> Vec<Second> {
        for part in std::mem::take(&mut self.seconds).into_values() {
            self.close(part);
        }
        // A moment after the last full second would look like a collapse of the rate.
        if self.timeline.len() > 1
            && self.timeline.last().is_some_and(|last| last.length < PART_MIN)
            && let Some(last) = self.timeline.pop()
            && let Some(second) = self.timeline.last_mut()
        {
            second.length += last.length;
            second.requests += last.requests;
            second.registrations += last.registrations;
            second.latencies.add(&last.latencies);
        }
        self.timeline
    }
}
