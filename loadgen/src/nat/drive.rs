//! One thread of a run behind NATs: moves datagrams between its outside sockets and its phones,
//! reads the clocks, tells how it goes once a second.

use super::figures::Figures;
use super::gateways::Outlet;
use super::options::Addresses;
use super::phones::{Phones, Todo};
use crate::agent::AgentId;
use crate::plan::{Nanos, Plan, SECOND};
use crate::record::{Latencies, Sample, Tally};
use crate::socket::outside::{Arrivals, Departures, Outside};
use crate::socket::{Waiter, thread_cpu, wake_on_time};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

/// Most phones that begin between two looks at the sockets.
const BEGIN_MAX: u32 = 128;
/// Longest sleep.
const NAP_MAX: Nanos = SECOND / 20;
/// How long arrivals may wait where nobody waits for an answer: the kernel has stamped them.
const GATHER: Nanos = SECOND / 500;

/// When phones begin to register.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pacing {
    /// By a plan.
    Plan(Plan),
    /// So that this many are under way.
    Window(u32),
}

/// What a thread tells the one that started it.
pub(super) enum Report {
    /// Every phone has had its first try.
    Ready,
    /// How thread number so goes.
    Progress(usize, Box<Standing>),
    /// It has ended.
    Done(Box<Done>),
}

/// How a thread goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) tally: Tally,
    pub(super) begun: u32,
    pub(super) pings: u64,
    pub(super) closings: u64,
    pub(super) unreachable: u64,
}

/// What is left when a thread ends.
pub(super) struct Done {
    pub(super) tally: Tally,
    pub(super) latencies: Latencies,
    pub(super) samples: Vec<Sample>,
    pub(super) figures: Figures,
    pub(super) unfinished: u64,
    pub(super) cpu: u64,
}

/// Shared by all threads of a run.
pub(super) struct Shared<'a> {
    /// Raised to end the run at once.
    pub(super) stop: &'a AtomicBool,
    /// Raised where the run cannot go on.
    pub(super) halt: AtomicBool,
    /// Nanoseconds after `epoch` at which measuring starts; 0 until that is known.
    pub(super) start: AtomicU64,
    /// How long is measured.
    pub(super) length: Nanos,
    /// Where times count from.
    pub(super) epoch: Instant,
}

/// One thread's sockets and phones.
pub(super) struct Worker<'a> {
    thread: usize,
    phones: Phones,
    ports: Vec<Outside>,
    addresses: &'a Addresses,
    shared: &'a Shared<'a>,
    reports: Sender<Report>,
    arrivals: Arrivals,
    departures: Departures,
    /// The socket whose datagrams are in `departures`.
    departing: usize,
    waiter: Waiter,
    /// Arrivals that each socket's queue has dropped.
    dropped: Vec<u32>,
}

impl<'a> Worker<'a> {
    /// A thread's worker; made in that thread.
    pub(super) fn new(
        thread: usize,
        phones: Phones,
        ports: Vec<Outside>,
        target: SocketAddrV4,
        addresses: &'a Addresses,
        shared: &'a Shared<'a>,
        reports: Sender<Report>,
    ) -> Self {
        Worker {
            thread,
            phones,
            waiter: Waiter::new(&ports),
            dropped: vec![0; ports.len()],
            ports,
            addresses,
            shared,
            reports,
            arrivals: Arrivals::new(),
            departures: Departures::new(target),
            departing: 0,
        }
    }

    /// Registers everybody, then keeps them registered until what is measured is over.
    pub(super) fn run(mut self, pacing: Pacing) {
        wake_on_time();
        let cpu = thread_cpu();
        let (mut ready, mut end) = (false, None);
        let mut second = self.now() + SECOND;
        loop {
            let now = self.now();
            if self.is_stopped() || end.is_some_and(|end| now >= end) {
                break;
            }
            if !ready && self.phones.has_tried() {
                ready = true;
                // A receiver that is gone means that the run is over.
                let _ = self.reports.send(Report::Ready);
            }
            if end.is_none() {
                let start = self.shared.start.load(Ordering::Acquire);
                if start > 0 {
                    self.phones.ledger.measure(start, self.shared.length);
                    end = Some(start + self.shared.length);
                }
            }
            if now >= second {
                second += SECOND;
                self.tell();
            }
            if !ready && self.is_dead(&pacing) {
                self.shared.halt.store(true, Ordering::Relaxed);
            }
            let worked = self.receive() | self.begin(&pacing) | self.run_timers();
            let is_quiet = ready && self.phones.fleet.outstanding() == 0;
            let wait = match worked {
                // Every wake costs the machine that the server may share; the stamps stay exact.
                _ if is_quiet => {
                    std::thread::sleep(Duration::from_nanos(GATHER));
                    0
                }
                true => 0,
                false => self.pause(&pacing, end.unwrap_or(Nanos::MAX).min(second)),
            };
            self.waiter.wait(wait);
        }
        self.receive();
        let now = self.now();
        self.phones.close(end.map_or(now, |end| end.min(now)));
        self.tell();
        let Phones { fleet, ledger, .. } = self.phones;
        let unfinished = u64::from(fleet.outstanding());
        let recorder = fleet.recorder;
        let mut figures = ledger.figures;
        figures.queue_drops = self.dropped.iter().copied().map(u64::from).sum();
        let _ = self.reports.send(Report::Done(Box::new(Done {
            tally: recorder.tally,
            latencies: recorder.latencies,
            samples: recorder.samples,
            figures,
            unfinished,
            cpu: thread_cpu() - cpu,
        })));
    }

    fn now(&self) -> Nanos {
        self.shared.epoch.elapsed().as_nanos() as Nanos
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed) || self.shared.halt.load(Ordering::Relaxed)
    }

    /// Nobody answers: to try all phones, each until its timeout, would take hours.
    fn is_dead(&self, pacing: &Pacing) -> bool {
        let tally = &self.phones.fleet.recorder.tally;
        let enough = match pacing {
            Pacing::Plan(_) => BEGIN_MAX,
            Pacing::Window(window) => *window,
        };
        tally.requests == 0 && tally.lost >= u64::from(enough.min(self.phones.count()))
    }

    fn tell(&self) {
        let sum = self.phones.ledger.figures.sum();
        let standing = Standing {
            tally: self.phones.fleet.recorder.tally.clone(),
            begun: self.phones.begun(),
            pings: sum.pings,
            closings: sum.closings,
            unreachable: sum.unreachable,
        };
        let _ = self.reports.send(Report::Progress(self.thread, Box::new(standing)));
    }

    /// Takes what the sockets have that the last wait found ready, and sends what that leads to.
    fn receive(&mut self) -> bool {
        let mut worked = false;
        for port in 0..self.ports.len() {
            if !self.waiter.is_ready(port) {
                continue;
            }
            let Ok(count) = self.arrivals.receive(&self.ports[port]) else {
                self.phones.fleet.recorder.tally.unreachable += 1;
                continue;
            };
            let now = self.now();
            let wall = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |wall| wall.as_nanos() as u64);
            for number in 0..count {
                let arrival = self.arrivals.arrival(number);
                self.dropped[port] = self.dropped[port].max(arrival.dropped);
                let age = match arrival.stamp {
                    0 => 0,
                    stamp => wall.saturating_sub(stamp),
                };
                let Some(gateway) = self.addresses.gateway(arrival.to) else {
                    self.phones.nobody(arrival.from);
                    continue;
                };
                let to = Outlet { gateway, port: port as u32 };
                let at = now.saturating_sub(age);
                match self.phones.handle(to, arrival.from, arrival.bytes, at, now) {
                    Todo::Nothing => {}
                    Todo::Request(id) => self.put(id, now),
                    Todo::Reply(id) => self.reply(id, number, now),
                }
            }
            self.flush();
            worked |= count > 0;
        }
        worked
    }

    /// Lets the phones begin that are due.
    fn begin(&mut self, pacing: &Pacing) -> bool {
        let now = self.now();
        let mut begun = 0;
        while begun < BEGIN_MAX && self.phones.begun() < self.phones.count() {
            let intended = match *pacing {
                Pacing::Window(window) if self.phones.fleet.outstanding() < window => now,
                Pacing::Window(_) => break,
                Pacing::Plan(plan) => match plan.at(u64::from(self.phones.begun())) {
                    Some(at) if at <= now => at,
                    _ => break,
                },
            };
            let Some(id) = self.phones.begin(intended, now) else { break };
            self.put(id, now);
            begun += 1;
        }
        self.flush();
        begun > 0
    }

    fn run_timers(&mut self) -> bool {
        let now = self.now();
        let mut worked = false;
        while let Some(id) = self.phones.poll_timers(now) {
            worked = true;
            self.put(id, now);
        }
        self.flush();
        worked
    }

    /// Writes a phone's request into the batch of the port it leaves by.
    fn put(&mut self, id: AgentId, now: Nanos) {
        let outlet = self.leave(id, now);
        if let Some(length) = self.phones.fleet.write(id, now, self.departures.room()) {
            self.departures.push(length, self.addresses.address(outlet.gateway));
        }
    }

    /// Writes a phone's answer to the OPTIONS that is this arrival.
    fn reply(&mut self, id: AgentId, number: usize, now: Nanos) {
        let outlet = self.leave(id, now);
        let request = self.arrivals.arrival(number).bytes;
        if let Some(length) = self.phones.fleet.answer_options(request, self.departures.room()) {
            self.departures.push(length, self.addresses.address(outlet.gateway));
        }
    }

    /// A phone sends: makes the batch that of the port it leaves by, with room for one more.
    fn leave(&mut self, id: AgentId, now: Nanos) -> Outlet {
        let outlet = self.phones.leave(id, now);
        if outlet.port as usize != self.departing || self.departures.is_full() {
            self.flush();
            self.departing = outlet.port as usize;
        }
        outlet
    }

    fn flush(&mut self) {
        let trouble = self.departures.flush(&self.ports[self.departing]);
        self.phones.fleet.recorder.tally.send_errors += trouble.dropped;
    }

    /// How long nothing will be due.
    fn pause(&self, pacing: &Pacing, end: Nanos) -> Nanos {
        let now = self.now();
        let mut until = self.phones.next_timer(now, NAP_MAX).min(end);
        if let Pacing::Plan(plan) = pacing
            && self.phones.begun() < self.phones.count()
            && let Some(next) = plan.at(u64::from(self.phones.begun()))
        {
            until = until.min(next);
        }
        until.saturating_sub(now)
    }
}
