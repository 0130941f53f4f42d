//! Time, the network, and everybody in it: a queue of what happens when, and nothing else decides.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use aorta::config;
use aorta::time::{Instant, Now, UnixTime};

use crate::ask::{Meaning, Wire};
use crate::attacker::Attacker;
use crate::chance::Chance;
use crate::checks::Answered;
use crate::handset::Handset;
use crate::process::{Process, Settings, TURN_MAX};
use crate::seen::Seen;
use crate::shadow::{Rules, Shadow};

/// What is tried; the seed decides the rest.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The test that runs it.
    pub name: &'static str,
    pub shards: u8,
    pub bindings_max: u8,
    pub replace: bool,
    pub raises_brief: bool,
    pub algorithms: config::Algorithms,
    pub minutes: u64,
    /// Percent of datagrams that the network loses; it doubles half as many.
    pub loss: u8,
    pub delay_ms_max: u64,
    pub restarts: bool,
    /// The attacker fills rings too, and shards hang now and then.
    pub overload: bool,
    pub attack_ms_max: u64,
}

pub const ACCOUNTS: u32 = 7;
const NONCE_LIFETIME_S: u32 = 60;
/// How long every phone may take to be registered once the network behaves.
const SETTLING: Duration = Duration::from_secs(150);
/// Lines of the trace that a failure prints.
const TRACE_LINES: usize = 60;

/// What can happen.
pub enum Event {
    Arrive(Wire),
    Respond { to: SocketAddr, bytes: Rc<[u8]> },
    Turn { process: u32, at: usize },
    Timers,
    Act { phone: usize, transactions: u64 },
    Resend { phone: usize, number: u64 },
    Attack,
    Restart,
    Settle,
    End,
}

/// Everybody and everything; the trace ends up in `hash`.
pub struct World {
    pub plan: Plan,
    pub seed: u64,
    pub now: Now,
    pub chance: Chance,
    events: BinaryHeap<Reverse<(Instant, u64)>>,
    bodies: HashMap<u64, Event>,
    scheduled: u64,
    settings: Settings,
    pub process: Process,
    pub shadow: Shadow,
    pub phones: Vec<Handset>,
    /// Who answers at an address.
    pub at_home: BTreeMap<SocketAddr, usize>,
    pub attacker: Attacker,
    pub meanings: HashMap<Rc<[u8]>, Rc<Meaning>>,
    /// First answers of this life of the process.
    pub answered: HashMap<Rc<[u8]>, Answered>,
    pub settling: bool,
    trace: VecDeque<String>,
    pub hash: u64,
    pub seen: Seen,
}

impl World {
    pub fn new(plan: Plan, seed: u64) -> World {
        let mut chance = Chance::seeded(seed ^ u64::from(plan.shards) << 56);
        let registrar = config::Registrar {
            replace: if plan.replace { config::Replace::Always } else { config::Replace::Never },
            bindings_max: plan.bindings_max,
            expires_max_s: 300,
            expires_min_s: 60,
            expires_min_policy: if plan.raises_brief {
                config::MinExpiresPolicy::Raise
            } else {
                config::MinExpiresPolicy::Refuse
            },
            expires_spread_percent: *chance.pick(&[0, 10, 50]),
            retry_after_s: 5,
            // The shadow counts in what was promised.
            late_margin_s: 0,
            ..config::Registrar::default()
        };
        let rules = Rules {
            bindings_max: usize::from(plan.bindings_max),
            replace: plan.replace,
            expires_min_s: registrar.expires_min_s,
            expires_max_s: registrar.expires_max_s,
            raises_brief: plan.raises_brief,
            spread_percent: registrar.expires_spread_percent.into(),
            nonce_lifetime_s: NONCE_LIFETIME_S,
        };
        let settings = Settings {
            shards: plan.shards,
            accounts: ACCOUNTS,
            registrar,
            auth: config::Auth {
                nonce_lifetime_s: NONCE_LIFETIME_S,
                algorithms: plan.algorithms,
                // The model of accounts knows no sessions: every wrong answer is challenged again.
                retry_max: 999,
                // Whoever hears what a phone sends, and sends in its name, answers its nonces
                // wrongly as often as he likes: the attacker here would have everybody suspended.
                suspension: config::Suspension {
                    checks_max: 0,
                    registers: false,
                    ..config::Suspension::default()
                },
                ..config::Auth::default()
            },
            nonce_key: chance.bytes16(),
        };
        let process = Process::start(&settings, 0, &mut chance);
        let mut world = World {
            plan,
            seed,
            now: Now { mono: Instant::from_secs(1000), wall: UnixTime(1_800_000_000), wall_us: 0 },
            chance,
            events: BinaryHeap::new(),
            bodies: HashMap::new(),
            scheduled: 0,
            settings,
            process,
            shadow: Shadow::new(rules, ACCOUNTS as usize),
            phones: Vec::new(),
            at_home: BTreeMap::new(),
            attacker: Attacker::new(),
            meanings: HashMap::new(),
            answered: HashMap::new(),
            settling: false,
            trace: VecDeque::new(),
            hash: 0,
            seen: Seen::default(),
        };
        world.boot();
        world.populate();
        world
    }

    /// Shards are awake when a process starts, and nobody wakes them for their first turn.
    fn boot(&mut self) {
        for at in 0..self.process.shards.len() {
            self.schedule_turn(at);
        }
    }

    pub fn after(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now.mono + delay, self.scheduled)));
        self.bodies.insert(self.scheduled, event);
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Seen {
        while let Some(Reverse((at, number))) = self.events.pop() {
            self.now = self.now.after(at.saturating_since(self.now.mono));
            let event = self.bodies.remove(&number).expect("scheduled once");
            if matches!(event, Event::End) {
                self.finish();
                break;
            }
            self.happen(event);
            self.check_bindings("nothing is lost, nothing outlives its time");
            self.check(self.process.forgotten().is_none(), "no wake is lost", || {
                format!("shard {:?} sleeps", self.process.forgotten())
            });
        }
        self.seen
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(wire) => {
                // A new process remembers no nonce counts while nonces outlive it, so there the
                // attacker would be the first to use one: see `Attacker::strike`.
                let forged_in = self.meanings[&wire.bytes].forged_in;
                if forged_in.is_some_and(|number| number != self.process.number) {
                    return;
                }
                let at = self.process.socket_of(wire.source);
                self.process.inputs[at].push_back(wire);
                self.schedule_turn(at);
            }
            Event::Turn { process, at } if process == self.process.number => {
                self.process.turn_is_scheduled[at] = false;
                self.turn(at);
            }
            Event::Turn { .. } => {}
            Event::Timers => self.timers(),
            Event::Respond { to, bytes } => self.deliver(to, &bytes),
            Event::Act { phone, transactions } => {
                let handset = &self.phones[phone];
                if handset.transaction.is_none() && handset.transactions == transactions {
                    self.act(phone);
                }
            }
            Event::Resend { phone, number } => self.resend(phone, number),
            Event::Attack => self.attack(),
            Event::Restart => self.restart(),
            Event::Settle => {
                self.settling = true;
                for phone in 0..self.phones.len() {
                    self.phones[phone].registered = false;
                    let (delay, transactions) =
                        (self.chance.millis(0, 3000), self.phones[phone].transactions);
                    self.after(delay, Event::Act { phone, transactions });
                }
                self.after(SETTLING, Event::End);
            }
            Event::End => {}
        }
    }

    /// A datagram goes into the network.
    pub fn send(&mut self, wire: Wire) {
        for _ in 0..self.copies() {
            let delay = self.delay();
            self.after(delay, Event::Arrive(wire.clone()));
        }
    }

    pub fn respond(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let bytes: Rc<[u8]> = bytes.into();
        for _ in 0..self.copies() {
            let delay = self.delay();
            self.after(delay, Event::Respond { to, bytes: Rc::clone(&bytes) });
        }
    }

    fn copies(&mut self) -> u8 {
        if self.settling {
            return 1;
        }
        let luck = self.chance.below(100) as u8;
        if luck < self.plan.loss { 0 } else { 1 + u8::from(luck >= 100 - self.plan.loss / 2) }
    }

    fn delay(&mut self) -> Duration {
        let most = if self.settling { 40 } else { self.plan.delay_ms_max };
        // Mostly quick, rarely very late.
        if self.chance.percent(10) {
            self.chance.millis(1, most)
        } else {
            self.chance.millis(1, most.min(60))
        }
    }

    pub fn schedule_turn(&mut self, at: usize) {
        if std::mem::replace(&mut self.process.turn_is_scheduled[at], true) {
            return;
        }
        let stalled = self.process.stalled_until[at].saturating_since(self.now.mono);
        let delay = self.chance.millis(0, TURN_MAX.as_millis() as u64);
        let process = self.process.number;
        self.after(stalled + delay, Event::Turn { process, at });
    }

    /// One turn of a shard's loop, in the order a reactor has, with whatever budget.
    fn turn(&mut self, at: usize) {
        if self.plan.overload && !self.settling && self.chance.percent(1) {
            let until = self.now.mono + self.chance.millis(100, 2500);
            self.process.stall(at, until);
        }
        self.process.awake(at);
        for _ in 0..1 + self.chance.below(32) {
            let Some(wire) = self.process.inputs[at].pop_front() else { break };
            self.process.tally.received += 1;
            self.handle(at, &wire, false);
        }
        if self.process.staged[at] > 0 && self.chance.percent(90) {
            for woken in self.process.publish(at) {
                self.schedule_turn(woken);
            }
        }
        for _ in 0..self.chance.below(33) {
            let Some(wire) = self.process.take(at) else { break };
            self.process.tally.taken += 1;
            self.handle(at, &wire, true);
        }
        if !self.process.doze(at) {
            self.schedule_turn(at);
        }
    }

    fn timers(&mut self) {
        for at in 0..self.process.shards.len() {
            if self.process.stalled_until[at] <= self.now.mono {
                self.process.turn(at, self.now);
                self.check_cleared(at);
            }
        }
        self.check_counters();
        // Late more often than not, so that requests meet what is over and still there.
        let next = self.chance.millis(200, 1800);
        self.after(next, Event::Timers);
    }

    fn restart(&mut self) {
        if self.settling {
            return;
        }
        self.check_counters();
        let number = self.process.number + 1;
        self.note(|| format!("restart {number}"));
        self.process = Process::start(&self.settings, number, &mut self.chance);
        self.shadow.restart();
        self.boot();
        self.answered.clear();
        self.seen.restarts += 1;
        let next = self.chance.millis(30_000, 300_000);
        self.after(next, Event::Restart);
    }

    /// Adds a line to the trace; the hash of all of them is what determinism means.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.now.mono.as_nanos();
        let line = format!("{}.{:09} {}", at / 1_000_000_000, at % 1_000_000_000, line());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }
}

/// Whatever fails, an assertion of the server too, says how to see it again.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.trace {
                eprintln!("{line}");
            }
            eprintln!(
                "at {:.6} s of virtual time; again: SIM_SEED={} cargo test --test simulation {}",
                self.now.mono.as_nanos() as f64 / 1e9,
                self.seed,
                self.plan.name,
            );
        }
    }
}
