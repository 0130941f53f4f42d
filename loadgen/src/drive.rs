//! One thread of a run: moves datagrams between its sockets and its agents, begins actions when
//! the pace says so, reads the clock, hands its figures over once a second. What the datagrams
//! mean it does not know.

use crate::agent::{AgentId, BURST, Fleet};
use crate::plan::{Nanos, Plan, SECOND};
use crate::record::{Latencies, Sample, Tally};
use crate::socket::{BATCH, Outgoing, Port, Received, Waiter, thread_cpu, wake_on_time};
use crate::wire::unasked::{Form, Unasked};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Most actions begun between two looks at the sockets.
const BEGIN_MAX: u32 = 128;
/// Longest sleep.
const NAP_MAX: Nanos = SECOND / 20;
/// An intended send nearer than this is waited for without sleeping.
const SPIN: Nanos = 20_000;
/// How long a late answer is waited for after the last loss.
const LINGER_MAX: Nanos = SECOND;

/// When this thread begins actions.
#[derive(Debug, Clone, Copy)]
pub enum Pacing {
    /// By a plan; each send whose timeout has passed before it could leave is lost.
    Plan(Plan),
    /// So that this many are under way, until the end.
    Window(u32, Nanos),
    /// Everybody once, evenly over a time from the start: start, time, agents.
    Once(Nanos, Nanos, u64),
}

/// What a thread tells the one that started it.
pub enum Report {
    /// It has warmed up and waits for the start.
    Ready,
    /// A second is over.
    Interval(Box<Interval>),
    /// It has ended.
    Done(Box<Done>),
}

/// Figures of one thread in one second.
pub struct Interval {
    /// Seconds since the start, counted from 0.
    pub second: u64,
    /// How long it was: the last one is shorter.
    pub length: Nanos,
    /// Counters since the start.
    pub tally: Tally,
    /// Latencies of this second.
    pub latencies: Latencies,
    /// Actions under way.
    pub outstanding: u32,
    /// Takes the latencies back, emptied, so that the thread need not ask for memory.
    pub back: Sender<Latencies>,
}

/// What is left when a thread ends.
pub struct Done {
    /// Final counters.
    pub tally: Tally,
    /// First wrong answers.
    pub samples: Vec<Sample>,
    /// Actions that were cut off by an interruption.
    pub unfinished: u64,
    /// Planned sends that could not leave before their timeout; they are among the lost.
    pub unsent: u64,
    /// CPU time of the thread since the start, nanoseconds.
    pub cpu: u64,
}

/// Shared by all threads of a run.
pub struct Shared<'a> {
    /// Raised to end the run at once.
    pub stop: &'a AtomicBool,
    /// Raised where the run cannot go on.
    pub halt: AtomicBool,
    /// Nanoseconds after `epoch` at which measuring starts; 0 until that is known.
    pub start: AtomicU64,
    /// Where times count from.
    pub epoch: Instant,
    /// From the intended send to the loss.
    pub timeout: Nanos,
}

/// What a thread does beside its agents, a little at a time: returns how long it may wait for its
/// next turn, nanoseconds. So one thread has both, and neither takes the CPU from the other.
pub type Turn<'a> = Box<dyn FnMut() -> Nanos + 'a>;

/// Makes it, in its thread.
pub type Beside<'a> = Box<dyn FnOnce() -> Turn<'a> + Send + 'a>;

/// One thread's sockets and agents.
pub struct Worker<'a> {
    fleet: Fleet,
    ports: Vec<Port>,
    shared: &'a Shared<'a>,
    reports: Sender<Report>,
    received: Received,
    outgoing: Outgoing,
    /// The socket whose requests are in `outgoing`.
    outgoing_port: usize,
    waiter: Waiter,
    cursor: usize,
    begun: u64,
    unsent: u64,
    spares: (Sender<Latencies>, Receiver<Latencies>),
    /// End of the current second and its number; none while warming up.
    second: Option<(Nanos, u64)>,
    beside: Option<Turn<'a>>,
}

impl<'a> Worker<'a> {
    /// A thread's worker; made in that thread.
    pub fn new(
        fleet: Fleet,
        ports: Vec<Port>,
        shared: &'a Shared<'a>,
        reports: Sender<Report>,
    ) -> Self {
        let spares = channel();
        let mut spare = Latencies::default();
        // Touches the memory now rather than in the second that is measured.
        spare.reset();
        let _ = spares.0.send(spare);
        Worker {
            spares,
            waiter: Waiter::new(&ports),
            fleet,
            ports,
            shared,
            reports,
            received: Received::new(),
            outgoing: Outgoing::new(),
            outgoing_port: 0,
            cursor: 0,
            begun: 0,
            unsent: 0,
            second: None,
            beside: None,
        }
    }

    /// Has it do something else too.
    pub fn beside(mut self, turn: Option<Turn<'a>>) -> Self {
        self.beside = turn;
        self
    }

    /// Warms up with `window` actions under way, waits for the start, runs at the pace that
    /// `pacing` gives for it, reports.
    pub fn run(mut self, window: u32, pacing: impl FnOnce(Nanos) -> Pacing) {
        wake_on_time();
        if self.fleet.is_warming() {
            let pace = Pacing::Window(window, Nanos::MAX);
            let is_dead = |worker: &Self| {
                let tally = &worker.fleet.recorder.tally;
                tally.requests == 0 && tally.lost >= u64::from(window)
            };
            self.rounds_until(&pace, |worker| {
                let is_done = worker.fleet.outstanding() == 0 && !worker.fleet.has_idle();
                is_done || is_dead(worker)
            });
            // Nobody answers: to try all users, each until its timeout, would take hours.
            if is_dead(&self) {
                self.shared.halt.store(true, Ordering::Relaxed);
            }
            self.fleet.begin_measuring();
            self.begun = 0;
        }
        // A receiver that is gone means that the run is over.
        let _ = self.reports.send(Report::Ready);
        let start = loop {
            match self.shared.start.load(Ordering::Acquire) {
                0 if self.is_stopped() => break self.now(),
                0 => std::thread::sleep(Duration::from_micros(200)),
                start => break start,
            }
        };
        let early = start.saturating_sub(self.now());
        std::thread::sleep(Duration::from_nanos(early));
        let cpu = thread_cpu();
        self.second = Some((start + SECOND, 0));
        let pace = pacing(start);
        self.rounds_until(&pace, |worker| worker.fleet.outstanding() == 0 && worker.is_over(&pace));
        let unfinished = u64::from(self.fleet.outstanding());
        let cpu = thread_cpu() - cpu;
        if self.fleet.has_abandoned() && !self.is_stopped() {
            let end = self.now() + LINGER_MAX.min(self.shared.timeout);
            let none = Pacing::Window(0, 0);
            self.rounds_until(&none, |worker| worker.now() >= end || !worker.fleet.has_abandoned());
        }
        let now = self.now();
        self.fleet.recorder.tally.registered = self.fleet.registered_count(now);
        self.deliver();
        let samples = std::mem::take(&mut self.fleet.recorder.samples);
        let tally = std::mem::take(&mut self.fleet.recorder.tally);
        let done = Done { tally, samples, unfinished, unsent: self.unsent, cpu };
        let _ = self.reports.send(Report::Done(Box::new(done)));
    }

    fn now(&self) -> Nanos {
        self.shared.epoch.elapsed().as_nanos() as Nanos
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed) || self.shared.halt.load(Ordering::Relaxed)
    }

    fn is_over(&self, pace: &Pacing) -> bool {
        match pace {
            Pacing::Plan(plan) => plan.is_over(self.begun),
            Pacing::Window(_, end) => self.now() >= *end,
            Pacing::Once(..) => !self.fleet.has_idle(),
        }
    }

    fn rounds_until(&mut self, pace: &Pacing, is_over: impl Fn(&Self) -> bool) {
        while !self.is_stopped() && !is_over(self) {
            let worked = self.receive() | self.begin(pace) | self.run_timers();
            let now = self.now();
            if self.second.is_some_and(|(end, _)| now >= end) {
                self.deliver();
            }
            let next = self.beside.as_mut().map_or(NAP_MAX, |turn| turn());
            let wait = if worked || next < SPIN { 0 } else { self.pause(pace, now).min(next) };
            self.waiter.wait(wait);
        }
    }

    /// Takes what the sockets have that the last wait found ready, and sends what that leads
    /// to. Asking for all of them in one call is cheaper than trying each.
    fn receive(&mut self) -> bool {
        let mut worked = false;
        for index in 0..self.ports.len() {
            if !self.waiter.is_ready(index) {
                continue;
            }
            let count = match self.received.receive(&self.ports[index]) {
                Ok(count) => count,
                Err(_) => {
                    self.fleet.recorder.tally.unreachable += 1;
                    continue;
                }
            };
            if count == 0 {
                continue;
            }
            worked = true;
            let mut now = self.now();
            for slot in 0..count {
                // Where answers come joined, a batch may be many times as long.
                if slot > 0 && slot % BATCH == 0 {
                    now = self.now();
                }
                let datagram = self.received.datagram(slot);
                match self.fleet.handle_unasked(datagram) {
                    Some(Unasked::Keepalive(Form::Options)) => self.reply(index, slot),
                    Some(_) => {}
                    None => {
                        if let Some(id) = self.fleet.handle_datagram(datagram, now) {
                            self.put(id, now);
                        }
                    }
                }
            }
            self.flush();
        }
        worked
    }

    /// Begins what is due, in bursts that share a socket.
    fn begin(&mut self, pace: &Pacing) -> bool {
        let now = self.now();
        let mut left = match pace {
            Pacing::Window(window, end) => {
                let free = window.saturating_sub(self.fleet.outstanding());
                // A few answers at a time would mean a system call for each request.
                let enough = (window / 4).clamp(1, BURST);
                if now < *end && free >= enough { free.min(BEGIN_MAX) } else { 0 }
            }
            _ => BEGIN_MAX,
        };
        let (mut worked, mut tried) = (false, 0);
        while left > 0 && tried < self.ports.len() {
            let mut burst = 0;
            while left > 0 && burst < BURST {
                let Some(intended) = self.intended(pace, now) else {
                    left = 0;
                    break;
                };
                if matches!(pace, Pacing::Plan(_)) && intended + self.shared.timeout <= now {
                    self.begun += 1;
                    self.unsent += 1;
                    self.fleet.recorder.tally.lost += 1;
                    continue;
                }
                let Some(id) = self.fleet.begin(self.cursor, intended, now) else { break };
                self.begun += 1;
                burst += 1;
                left -= 1;
                self.put(id, now);
            }
            self.flush();
            worked |= burst > 0;
            tried = if burst == 0 { tried + 1 } else { 0 };
            if burst > 0 || left > 0 {
                self.cursor = (self.cursor + 1) % self.ports.len();
            }
        }
        worked
    }

    /// Intended time of the next action, if that has come.
    fn intended(&self, pace: &Pacing, now: Nanos) -> Option<Nanos> {
        let at = match *pace {
            Pacing::Window(..) => now,
            Pacing::Plan(plan) => plan.at(self.begun)?,
            Pacing::Once(start, over, agents) => {
                let offset = u128::from(over) * u128::from(self.begun) / u128::from(agents.max(1));
                start + offset as Nanos
            }
        };
        (at <= now).then_some(at)
    }

    fn run_timers(&mut self) -> bool {
        let now = self.now();
        let mut worked = false;
        while let Some(id) = self.fleet.poll_timers(now) {
            worked = true;
            self.put(id, now);
        }
        self.flush();
        worked
    }

    /// Writes the answer to an OPTIONS of the server into the batch of the socket it came to.
    fn reply(&mut self, port: usize, slot: usize) {
        self.make_room(port);
        let datagram = self.received.datagram(slot);
        if let Some(length) = self.fleet.answer_options(datagram, self.outgoing.room()) {
            self.outgoing.push(length);
        }
    }

    /// Makes the batch that of a socket, with room for one more.
    fn make_room(&mut self, port: usize) {
        if port != self.outgoing_port || self.outgoing.is_full() {
            self.flush();
            self.outgoing_port = port;
        }
    }

    /// Writes an agent's request into the batch of its socket.
    fn put(&mut self, id: AgentId, now: Nanos) {
        self.make_room(self.fleet.socket(id));
        if let Some(length) = self.fleet.write(id, now, self.outgoing.room())
            && !self.fleet.loses_request(id, now)
        {
            self.outgoing.push(length);
        }
    }

    fn flush(&mut self) {
        let trouble = self.outgoing.flush(&self.ports[self.outgoing_port]);
        self.fleet.recorder.tally.send_errors += trouble.dropped;
        self.fleet.recorder.tally.unreachable += trouble.unreachable;
    }

    /// How long nothing will be due.
    fn pause(&self, pace: &Pacing, now: Nanos) -> Nanos {
        let mut until = self.fleet.next_timer(now, NAP_MAX);
        if let Some((end, _)) = self.second {
            until = until.min(end);
        }
        // With nobody idle the next action waits for an answer, not for its time.
        let next = match *pace {
            Pacing::Plan(plan) if self.fleet.has_idle() => plan.at(self.begun),
            Pacing::Once(start, over, agents) if self.fleet.has_idle() => {
                let offset = u128::from(over) * u128::from(self.begun) / u128::from(agents.max(1));
                Some(start + offset as Nanos)
            }
            Pacing::Window(_, end) if now < end => Some(end),
            _ => None,
        };
        if let Some(next) = next {
            until = until.min(next);
        }
        let wait = until.saturating_sub(now);
        if wait < SPIN { 0 } else { wait }
    }

    /// Hands over the figures of the second that is over.
    fn deliver(&mut self) {
        let Some((end, number)) = self.second else { return };
        let spare = self.spares.1.try_recv().unwrap_or_default();
        let interval = Interval {
            back: self.spares.0.clone(),
            second: number,
            length: (self.now() + SECOND).saturating_sub(end).min(SECOND),
            tally: self.fleet.recorder.tally.clone(),
            latencies: std::mem::replace(&mut self.fleet.recorder.latencies, spare),
            outstanding: self.fleet.outstanding(),
        };
        let _ = self.reports.send(Report::Interval(Box::new(interval)));
        self.second = Some((end + SECOND, number + 1));
    }
}
