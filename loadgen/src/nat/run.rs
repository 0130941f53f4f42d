//! A whole run behind NATs: opens the outside sockets, starts the threads, adds their figures up,
//! tells the caller how it goes.

use super::drive::{Done, Pacing, Report, Shared, Standing, Worker};
use super::figures::Figures;
use super::gateways::{Kind, Refresh};
use super::options::NatOptions;
use super::phones::Phones;
use crate::agent::Habits;
use crate::options::{Error, Pace};
use crate::plan::{Nanos, Plan, SECOND};
use crate::record::{Latencies, Tally};
use crate::run::{Outcome, nanos, pin_as_told, share, thread_key};
use crate::socket::outside::{self, Outside};
use crate::wire::unasked::Form;
use std::hash::RandomState;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

/// From the last phone's first registration to the start of measuring.
const LEAD: Nanos = SECOND / 100;
/// Wrong answers that are shown of all threads.
const SAMPLES_MAX: usize = 8;

/// How a run goes, told once a second.
#[derive(Debug, Clone)]
pub struct NatProgress {
    /// Since measuring began; none while phones register for the first time.
    pub measured: Option<Duration>,
    /// Phones that have begun to register.
    pub begun: u32,
    /// Phones there are.
    pub users: u32,
    /// Registrations granted, refreshes among them.
    pub registrations: u64,
    /// Pings of the last second.
    pub pings_per_second: u64,
    /// Pinholes that closed so far.
    pub closings: u64,
    /// Registered phones that could not have been called at some moment so far.
    pub unreachable: u64,
    /// Requests lost and answers wrong.
    pub failed: u64,
}

/// Everything measured in a run behind NATs.
#[derive(Debug, Clone)]
pub struct NatOutcome {
    /// What every run measures, over the whole time from the first REGISTER on.
    pub run: Outcome,
    /// What happened behind the NATs.
    pub figures: Figures,
    /// Seconds until every phone had had its first try.
    pub register_seconds: f64,
    /// Seconds in which pings were counted by 10 ms.
    pub measured_seconds: f64,
    /// How long pinholes stay open.
    pub timeout: Duration,
    /// The server's period.
    pub period: Duration,
    /// Phones behind one NAT.
    pub phones: u32,
    /// Whether phones answer OPTIONS.
    pub answer: bool,
}

impl NatOutcome {
    /// Whether the server's keepalives should have held the pinholes of this kind of NAT. Where
    /// only outbound packets count, nothing can but OPTIONS that are answered; such NATs beside
    /// others, with another form, are there to be looked at.
    pub fn should_hold(&self, kind: Kind) -> bool {
        let of = |kind: Kind| self.figures.kinds[kind.index()].phones;
        let beside = Kind::all().any(|kind| kind.refresh == Refresh::Both && of(kind) > 0);
        let others = self.run.tally.keepalives().any(|(form, count)| match form {
            Form::Options => false,
            Form::Raw | Form::Crlf | Form::Stun => count > 0,
        });
        match kind.refresh {
            Refresh::Both => true,
            Refresh::Outbound => !beside || self.run.tally.options_answered > 0 && !others,
        }
    }

    /// Registrations that could not have been called at some moment, though they should have.
    pub fn failed_to_hold(&self) -> u64 {
        let kinds = Kind::all().filter(|kind| self.should_hold(*kind));
        kinds.map(|kind| self.figures.kinds[kind.index()].unreachable).sum()
    }

    /// Nothing lost, nothing wrong, everybody registered, nobody unreachable who should not be.
    pub fn is_clean(&self) -> bool {
        let registered = self.figures.unregistered == 0 || self.run.interrupted;
        self.run.is_clean() && registered && self.failed_to_hold() == 0
    }
}

/// Runs phones behind NATs to the end, or until `stop` is raised. `progress` is called about once
/// a second.
pub fn run(
    options: &NatOptions,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&NatProgress),
) -> Result<NatOutcome, Error> {
    options.check()?;
    let (target, addresses) = (options.remote()?, options.addresses()?);
    for address in addresses.ends() {
        if !outside::is_ours(address) {
            return Err(Error::Option(format!(
                "the address {address} of a NAT is not this host's: name others with --source, \
                 or add it to an interface"
            )));
        }
    }
    let threads = options.run.threads;
    let seed = RandomState::new();
    let mut crews = Vec::with_capacity(threads);
    for (thread, roster) in options.run.roster.deal(threads).into_iter().enumerate() {
        pin_as_told(&options.run, thread)?;
        let ports: Result<Vec<_>, _> = (0..options.run.sockets).map(|_| Outside::open()).collect();
        let ports = ports.map_err(|error| Error::System {
            operation: "a socket for a port of the NATs".to_owned(),
            error,
            remedy: "fewer --sockets, or a higher `ulimit -n`",
        })?;
        crews.push((thread, roster, ports, thread_key(&seed, thread)));
    }
    let started = SystemTime::now();
    let shared = Shared {
        stop,
        halt: AtomicBool::new(false),
        start: AtomicU64::new(0),
        length: nanos(options.run.duration),
        epoch: Instant::now(),
    };
    let (sender, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut handles = Vec::with_capacity(threads);
        for (thread, roster, ports, key) in crews {
            let (sender, shared, addresses) = (sender.clone(), &shared, &addresses);
            let work = move || {
                if let Some(cpu) = options.run.cpus.get(thread % options.run.cpus.len().max(1)) {
                    // Checked before: only a hot-unplugged CPU can fail here.
                    let _ = crate::socket::pin(*cpu);
                }
                let habits = habits(options, key);
                let period = nanos(options.period);
                let shape = options.shape(target);
                let phones = Phones::new(habits, roster, shape, period, options.answer);
                let begin = shared.epoch.elapsed().as_nanos() as Nanos;
                let pacing = pacing(options, thread, begin);
                Worker::new(thread, phones, ports, target, addresses, shared, sender).run(pacing);
            };
            let name = format!("nat-{thread}");
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
        let collected = collect(options, &shared, &reports, progress, &|| {
            handles.iter().any(|handle| handle.is_finished())
        });
        if collected.is_err() {
            shared.halt.store(true, Ordering::Relaxed);
        }
        for handle in handles {
            handle.join().map_err(|_| Error::Thread)?;
        }
        collected.map(|collected| collected.outcome(options, &shared, started))
    })
}

fn habits(options: &NatOptions, key: [u32; 3]) -> Habits {
    Habits {
        scenario: options.run.scenario,
        weights: options.run.weights,
        expires: options.run.expires,
        bindings_max: options.run.bindings_max,
        algorithms: options.run.algorithms(),
        retransmit: options.run.retransmit,
        timeout: nanos(options.run.timeout),
        loss_percent: 0.0,
        patience: Nanos::MAX,
        key,
    }
}

fn pacing(options: &NatOptions, thread: usize, begin: Nanos) -> Pacing {
    let threads = options.run.threads;
    match options.run.pace {
        Pace::Rate(rate) => {
            let ramp = nanos(options.run.ramp);
            Pacing::Plan(Plan::new(begin, rate, ramp, Nanos::MAX / 4, (thread, threads)))
        }
        Pace::Window(window) => Pacing::Window(share(window, thread, threads)),
    }
}

/// What the threads have reported.
struct Collected {
    done: Vec<Done>,
    ready_at: Option<Nanos>,
}

/// Takes what the threads report until all have ended.
fn collect(
    options: &NatOptions,
    shared: &Shared<'_>,
    reports: &Receiver<Report>,
    progress: &mut dyn FnMut(&NatProgress),
    any_finished: &dyn Fn() -> bool,
) -> Result<Collected, Error> {
    let threads = options.run.threads;
    let now = || shared.epoch.elapsed().as_nanos() as Nanos;
    let mut ready = 0;
    let mut collected = Collected { done: Vec::new(), ready_at: None };
    let mut standings = vec![Standing::default(); threads];
    let (mut told, mut pings) = (now(), 0);
    while collected.done.len() < threads {
        match reports.recv_timeout(Duration::from_secs(1)) {
            Ok(Report::Ready) => {
                ready += 1;
                if ready == threads {
                    collected.ready_at = Some(now());
                    shared.start.store(now() + LEAD, Ordering::Release);
                }
            }
            Ok(Report::Progress(thread, standing)) => standings[thread] = *standing,
            Ok(Report::Done(one)) => collected.done.push(*one),
            Err(RecvTimeoutError::Timeout) if collected.done.is_empty() && any_finished() => {
                return Err(Error::Thread);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Thread),
        }
        let since = now() - told;
        if since >= SECOND {
            told += since;
            let sum = |of: fn(&Standing) -> u64| standings.iter().map(of).sum::<u64>();
            let all = sum(|one| one.pings);
            let start = shared.start.load(Ordering::Relaxed);
            progress(&NatProgress {
                measured: (start > 0).then(|| Duration::from_nanos(told.saturating_sub(start))),
                begun: standings.iter().map(|one| one.begun).sum(),
                users: options.run.roster.len(),
                registrations: sum(|one| one.tally.registrations),
                pings_per_second: (all - pings) * SECOND / since,
                closings: sum(|one| one.closings),
                unreachable: sum(|one| one.unreachable),
                failed: sum(|one| one.tally.lost + one.tally.wrong),
            });
            pings = all;
        }
    }
    Ok(collected)
}

impl Collected {
    fn outcome(self, options: &NatOptions, shared: &Shared<'_>, started: SystemTime) -> NatOutcome {
        let seconds = |at: Nanos| at as f64 / SECOND as f64;
        let end = shared.epoch.elapsed().as_nanos() as Nanos;
        let (mut tally, mut latencies) = (Tally::default(), Latencies::default());
        let (mut figures, mut samples) = (Figures::default(), Vec::new());
        for one in &self.done {
            tally.add(&one.tally);
            latencies.add(&one.latencies);
            figures.add(&one.figures);
            samples.extend(one.samples.iter().cloned());
        }
        samples.truncate(SAMPLES_MAX);
        let interrupted = shared.stop.load(Ordering::Relaxed);
        let buckets = figures.buckets.len() as f64;
        let run = Outcome {
            scenario: super::NAME,
            target: options.run.target,
            users: options.run.roster.len(),
            pace: options.run.pace,
            threads: options.run.threads,
            loss_percent: 0.0,
            offload: false,
            started,
            seconds: seconds(end),
            last_registration_seconds: seconds(tally.last_registration),
            latencies,
            timeline: Vec::new(),
            samples,
            unfinished: self.done.iter().map(|one| one.unfinished).sum(),
            unsent: 0,
            interrupted,
            cpu_seconds: seconds(self.done.iter().map(|one| one.cpu).sum()),
            tally,
        };
        NatOutcome {
            register_seconds: seconds(self.ready_at.unwrap_or(end)),
            measured_seconds: buckets * seconds(super::figures::BUCKET),
            timeout: options.timeout,
            period: options.period,
            phones: options.phones,
            answer: options.answer,
            figures,
            run,
        }
    }
}
