//! The phones of one thread, sans IO: datagrams and the time come in, the agents that have
//! something to send come out, and the caller has it written into its own buffer. No socket, no
//! clock, no randomness; figures go into the recorder it owns.
//!
//! Each agent has at most one request under way. A request's latency counts from its intended
//! time: the plan's for an agent's first request, the arrival of the challenge for the request
//! that answers it, in the open loop as in the closed one.

pub mod check;
mod judge;
mod loss;
pub mod request;
pub mod wheel;

use crate::digest::Algorithm;
use crate::plan::{Nanos, SECOND};
use crate::record::Recorder;
use crate::roster::Roster;
use crate::scenarios::{Action, Phone, Scenario, Weights};
use crate::wire::scan::{Answer, Malformed};
use crate::wire::unasked::{self, Unasked};
use check::Wrong;
use judge::Next;
use loss::{Loss, Way};
use request::{Credentials, Held, Line, Request, Stationery};
use std::collections::{HashMap, VecDeque};
use wheel::Wheel;

/// T1 of RFC 3261: the first retransmission interval.
pub const T1: Nanos = SECOND / 2;
/// T2 of RFC 3261: the longest retransmission interval of a REGISTER.
pub const T2: Nanos = 4 * SECOND;
/// Neighbouring accounts that share a socket, so that bursts leave in one system call.
pub const BURST: u32 = 16;
/// Requests that timed out and are remembered, so that a late answer is known for what it is.
const ABANDONED_MAX: usize = 65_536;

/// What all agents of a thread have in common.
#[derive(Debug, Clone)]
pub struct Habits {
    /// What they do.
    pub scenario: Scenario,
    /// Shares in `mixed`.
    pub weights: Weights,
    /// Seconds asked for.
    pub expires: u32,
    /// The server's limit of bindings for one account.
    pub bindings_max: u32,
    /// Algorithms that are answered.
    pub algorithms: Vec<Algorithm>,
    /// Whether timer E runs.
    pub retransmit: bool,
    /// From the intended send to the loss.
    pub timeout: Nanos,
    /// Percent of the datagrams of each direction that are lost by choice.
    pub loss_percent: f64,
    /// How long a phone that is told to come back later goes on doing so.
    pub patience: Nanos,
    /// Sets this thread's identifiers apart.
    pub key: [u32; 3],
}

/// Number of an agent.
pub type AgentId = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A request is under way.
    Waiting,
    /// Sent away by Retry-After; comes back at `wake_at`.
    Deferred,
}

#[derive(Debug)]
struct Agent {
    held: Held,
    intended: Nanos,
    sent: Option<Nanos>,
    action_intended: Nanos,
    /// Next retransmission, or the end of a deferral.
    wake_at: Nanos,
    registered_until: Nanos,
    /// Tick for which the wheel holds it; 0 for none.
    armed: u64,
    sequence: u32,
    cseq: u32,
    nonce_count: u32,
    actions: u32,
    socket: u32,
    interval: u32,
    state: State,
    action: Action,
    credentials: Credentials,
    challenges: u8,
    way: Way,
}

/// The agents of one thread.
#[derive(Debug)]
pub struct Fleet {
    /// Counters and latencies.
    pub recorder: Recorder,
    habits: Habits,
    stationery: Stationery,
    lines: Vec<Line>,
    agents: Vec<Agent>,
    idle: Vec<VecDeque<AgentId>>,
    outstanding: u32,
    wheel: Wheel,
    abandoned: HashMap<(AgentId, u32), ()>,
    abandoned_order: VecDeque<(AgentId, u32)>,
    warming: bool,
    warmed: Vec<AgentId>,
    /// Agents act when they are told, not in turn.
    led: bool,
    loss: Loss,
}

impl Fleet {
    /// One agent for each account, or one for each of its devices; `lines` are the sockets.
    pub fn new(habits: Habits, roster: Roster, lines: Vec<Line>) -> Self {
        assert!(!lines.is_empty(), "agents need a socket");
        let devices = habits.scenario.devices;
        let sockets = lines.len() as u32;
        let accounts = roster.len();
        let block = (accounts / sockets).clamp(1, BURST);
        let agent = |id: u32| Agent {
            held: Held::NONE,
            intended: 0,
            sent: None,
            action_intended: 0,
            wake_at: 0,
            registered_until: 0,
            armed: 0,
            sequence: 0,
            cseq: 0,
            nonce_count: 0,
            actions: 0,
            // The devices of an account use different sockets, where there are two.
            socket: (id / devices / block + id % devices * sockets.div_ceil(2)) % sockets,
            interval: 0,
            state: State::Idle,
            action: Action::Register,
            credentials: Credentials::Absent,
            challenges: 0,
            way: Way::default(),
        };
        let agents: Vec<_> = (0..accounts * devices).map(agent).collect();
        let stationery = Stationery::new(
            roster,
            habits.key,
            habits.expires,
            &habits.algorithms,
            habits.scenario.alone,
        );
        let mut fleet = Fleet {
            recorder: Recorder::default(),
            warming: habits.scenario.warm_up,
            idle: vec![VecDeque::new(); lines.len()],
            outstanding: 0,
            wheel: Wheel::new(),
            abandoned: HashMap::new(),
            abandoned_order: VecDeque::new(),
            warmed: Vec::new(),
            led: false,
            loss: Loss::new(
                habits.loss_percent,
                (u64::from(habits.key[1]) << 32) | u64::from(habits.key[2]),
            ),
            habits,
            stationery,
            lines,
            agents,
        };
        for id in (0..accounts).map(|account| account * devices) {
            fleet.rest(id);
        }
        fleet
    }

    /// One agent for each account, that acts when `lead` says so and at no other time.
    pub fn led(habits: Habits, roster: Roster, lines: Vec<Line>) -> Self {
        let mut fleet = Fleet::new(habits, roster, lines);
        fleet.led = true;
        fleet.warming = false;
        fleet.idle.iter_mut().for_each(|queue| *queue = VecDeque::new());
        fleet
    }

    /// An idle agent begins this action, meant for `intended`; the caller has its request written
    /// and sent. False where it is busy.
    pub fn lead(&mut self, id: AgentId, action: Action, intended: Nanos, now: Nanos) -> bool {
        let agent = &mut self.agents[id as usize];
        if agent.state != State::Idle {
            return false;
        }
        agent.action = action;
        agent.action_intended = intended;
        agent.challenges = 0;
        self.outstanding += 1;
        self.request(id, self.first_credentials(id), intended, now);
        true
    }

    /// Until when an agent is registered; 0 for never.
    pub fn registered_until(&self, id: AgentId) -> Nanos {
        self.agents[id as usize].registered_until
    }

    /// Whether the agents still register outside the figures.
    pub fn is_warming(&self) -> bool {
        self.warming
    }

    /// Ends the warm-up: the figures begin at nothing, everybody is idle.
    pub fn begin_measuring(&mut self) {
        self.recorder.begin_measuring();
        self.warming = false;
        for id in std::mem::take(&mut self.warmed) {
            self.rest(id);
        }
    }

    /// Actions under way.
    pub fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Whether any agent has nothing to do.
    pub fn has_idle(&self) -> bool {
        self.idle.iter().any(|queue| !queue.is_empty())
    }

    /// Whether requests that timed out may still be answered.
    pub fn has_abandoned(&self) -> bool {
        !self.abandoned.is_empty()
    }

    /// The socket of an agent.
    pub fn socket(&self, id: AgentId) -> usize {
        self.agents[id as usize].socket as usize
    }

    /// The longest idle agent of a socket begins its next action, meant for `intended`. The
    /// caller has its request written and sent. `None` where all are busy.
    pub fn begin(&mut self, socket: usize, intended: Nanos, now: Nanos) -> Option<AgentId> {
        let id = loop {
            let id = self.idle[socket].pop_front()?;
            let action = self.next_action(id, now);
            let agent = &mut self.agents[id as usize];
            agent.actions = agent.actions.wrapping_add(1);
            match action {
                Some(action) => agent.action = action,
                None => {
                    self.rest_after(id);
                    continue;
                }
            }
            break id;
        };
        let agent = &mut self.agents[id as usize];
        agent.action_intended = intended;
        agent.challenges = 0;
        self.outstanding += 1;
        self.request(id, self.first_credentials(id), intended, now);
        Some(id)
    }

    fn next_action(&self, id: AgentId, now: Nanos) -> Option<Action> {
        let agent = &self.agents[id as usize];
        let [one, two, _] = self.habits.key;
        let phone = Phone {
            account: id / self.habits.scenario.devices,
            registered: agent.registered_until > now,
            draw: mix(u64::from(one) << 32 | u64::from(two), id, agent.actions),
        };
        match (self.habits.scenario.next)(&phone, &self.habits.weights) {
            Action::WrongPassword if self.warming => None,
            _ if self.warming => Some(Action::Register),
            action => Some(action),
        }
    }

    fn first_credentials(&self, id: AgentId) -> Credentials {
        let agent = &self.agents[id as usize];
        match agent.action {
            Action::Refresh | Action::Unregister | Action::Fetch if agent.held.is_some() => {
                Credentials::Right
            }
            _ => Credentials::Absent,
        }
    }

    /// A new request of the agent's action: new branch, next CSeq (RFC 3261 10.2, 22.2).
    fn request(&mut self, id: AgentId, credentials: Credentials, intended: Nanos, now: Nanos) {
        let agent = &mut self.agents[id as usize];
        agent.state = State::Waiting;
        agent.credentials = credentials;
        agent.sequence = agent.sequence.wrapping_add(1);
        // RFC 3261 8.1.1.5: CSeq stays below 2^31.
        agent.cseq = (agent.cseq + 1) & 0x7fff_ffff;
        if credentials != Credentials::Absent {
            agent.nonce_count = agent.nonce_count.wrapping_add(1);
        }
        agent.intended = intended;
        agent.sent = None;
        agent.way = Way::default();
        agent.interval = 0;
        agent.wake_at = if self.habits.retransmit { now + T1 } else { Nanos::MAX };
        let at = agent.wake_at.min(intended + self.habits.timeout);
        self.arm(id, at);
    }

    /// Writes the agent's request into `buffer`; a second time writes the same bytes. `None`
    /// where it does not fit: the action is over then, as wrong.
    pub fn write(&mut self, id: AgentId, now: Nanos, buffer: &mut [u8]) -> Option<usize> {
        let devices = self.habits.scenario.devices;
        let agent = &mut self.agents[id as usize];
        let request = Request {
            agent: id,
            sequence: agent.sequence,
            account: id / devices,
            device: id % devices,
            action: agent.action,
            credentials: agent.credentials,
            cseq: agent.cseq,
            nonce_count: agent.nonce_count,
            held: &agent.held,
            line: &self.lines[agent.socket as usize],
        };
        let written = self.stationery.write(&request, buffer);
        if written.is_none() {
            agent.held.forget();
            self.wrong(id, Wrong::TooLong, b"");
            self.finish(id);
        } else if agent.sent.is_none() {
            agent.sent = Some(now);
            self.recorder.tally.sent += 1;
        }
        written
    }

    /// Agents that are registered.
    pub fn registered_count(&self, now: Nanos) -> u64 {
        self.agents.iter().filter(|agent| agent.registered_until > now).count() as u64
    }

    /// Counts what the server sends unasked, and says what it is; `None` for an answer, which
    /// `handle_datagram` takes.
    pub fn handle_unasked(&mut self, datagram: &[u8]) -> Option<Unasked> {
        let unasked = Unasked::of(datagram)?;
        match unasked {
            Unasked::Keepalive(form) => self.recorder.tally.keepalive(form),
            Unasked::Request => self.recorder.tally.stray += 1,
        }
        Some(unasked)
    }

    /// Writes the 200 to an OPTIONS of the server into `buffer`; `None` where it is none that can
    /// be answered.
    pub fn answer_options(&mut self, datagram: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let written = unasked::write_ok(datagram, self.stationery.own_tag(), buffer);
        self.recorder.tally.options_answered += u64::from(written.is_some());
        written
    }

    /// Takes an answer that came in. An agent that is returned has a request to be written and
    /// sent at once.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Nanos) -> Option<AgentId> {
        let answer = match Answer::scan(datagram) {
            Ok(answer) => answer,
            Err(Malformed::NotAnAnswer) => {
                self.recorder.tally.stray += 1;
                return None;
            }
            Err(why) => {
                let sample = || ("-".to_owned(), "-".to_owned(), datagram.to_vec());
                self.recorder.wrong(why.into(), sample);
                return None;
            }
        };
        let id = self.locate(&answer)?;
        if self.loses_answer(id, answer.status, now) {
            return None;
        }
        if answer.status < 200 {
            self.on_provisional(id, now);
            return None;
        }
        let agent = &self.agents[id as usize];
        if now >= agent.intended + self.habits.timeout {
            // Its timer is due and has not had its turn.
            self.abandoned_late(id);
            return None;
        }
        let sent = agent.sent.unwrap_or(agent.intended);
        self.recorder.answered(answer.status, agent.intended, sent, now);
        match self.judge(id, &answer, now) {
            Ok(Next::Done) => self.finish(id),
            Ok(Next::Answer(credentials)) => {
                self.request(id, credentials, now, now);
                return Some(id);
            }
            Ok(Next::Defer(until)) => self.defer(id, until),
            Err(why) => {
                self.agents[id as usize].held.forget();
                self.wrong(id, why, datagram);
                self.give_up(id);
                self.finish(id);
            }
        }
        None
    }

    /// The agent whose request under way this answers; anything else is counted here.
    fn locate(&mut self, answer: &Answer<'_>) -> Option<AgentId> {
        let found = self.stationery.read_branch(answer.branch);
        let known = found.and_then(|(id, sequence)| {
            let agent = self.agents.get(id as usize)?;
            (sequence >= 1 && sequence <= agent.sequence).then_some((id, sequence, agent))
        });
        let tally = &mut self.recorder.tally;
        match known {
            None => tally.stray += 1,
            Some((id, sequence, agent))
                if sequence == agent.sequence && agent.state == State::Waiting =>
            {
                return Some(id);
            }
            Some((id, sequence, _)) => {
                if answer.status < 200 {
                    tally.provisional += 1;
                } else if self.abandoned.remove(&(id, sequence)).is_some() {
                    tally.late += 1;
                } else {
                    tally.duplicates += 1;
                }
            }
        }
        None
    }

    /// RFC 3261 17.1.2.2: a provisional answer lets timer E run at T2.
    fn on_provisional(&mut self, id: AgentId, now: Nanos) {
        self.recorder.tally.provisional += 1;
        let retransmit = self.habits.retransmit;
        let agent = &mut self.agents[id as usize];
        agent.interval = 3;
        if retransmit {
            agent.wake_at = now + T2;
        }
    }

    fn defer(&mut self, id: AgentId, until: Nanos) {
        self.recorder.tally.deferred += 1;
        let agent = &mut self.agents[id as usize];
        agent.state = State::Deferred;
        agent.wake_at = until;
        self.arm(id, until);
    }

    fn arm(&mut self, id: AgentId, at: Nanos) {
        let tick = self.wheel.tick_of(at);
        let agent = &mut self.agents[id as usize];
        if agent.armed == 0 || agent.armed > tick {
            agent.armed = tick;
            self.wheel.insert(id, tick);
        }
    }

    /// Runs the timers. An agent that is returned has a request to be written and sent: again
    /// by timer E, or anew after a deferral. `None` when nothing more is due.
    pub fn poll_timers(&mut self, now: Nanos) -> Option<AgentId> {
        while let Some((id, tick)) = self.wheel.pop(now) {
            let agent = &mut self.agents[id as usize];
            if agent.armed != tick {
                continue;
            }
            agent.armed = 0;
            let lost_at = agent.intended + self.habits.timeout;
            match agent.state {
                State::Idle => {}
                State::Deferred if now >= agent.wake_at => {
                    self.request(id, Credentials::Absent, now, now);
                    return Some(id);
                }
                State::Deferred => {
                    let at = agent.wake_at;
                    self.arm(id, at);
                }
                State::Waiting if now >= lost_at => self.lose(id),
                State::Waiting if now >= agent.wake_at => {
                    // Timer E: T1 doubling to T2 (RFC 3261 17.1.2.2).
                    agent.interval += 1;
                    agent.wake_at = now + (T1 << agent.interval.min(3)).min(T2);
                    let at = agent.wake_at.min(lost_at);
                    let tally = &mut self.recorder.tally;
                    tally.retransmissions += 1;
                    tally.retransmissions_explained += u64::from(agent.way.again());
                    self.arm(id, at);
                    return Some(id);
                }
                State::Waiting => {
                    let at = agent.wake_at.min(lost_at);
                    self.arm(id, at);
                }
            }
        }
        None
    }

    /// When timers must be looked at again, at most `limit` from now.
    pub fn next_timer(&self, now: Nanos, limit: Nanos) -> Nanos {
        self.wheel.next(now, limit)
    }

    /// The answer came, but after the loss.
    #[cold]
    fn abandoned_late(&mut self, id: AgentId) {
        self.recorder.tally.lost += 1;
        self.recorder.tally.late += 1;
        self.give_up(id);
        self.finish(id);
    }

    fn lose(&mut self, id: AgentId) {
        self.recorder.tally.lost += 1;
        if self.abandoned_order.len() == ABANDONED_MAX
            && let Some(oldest) = self.abandoned_order.pop_front()
        {
            self.abandoned.remove(&oldest);
        }
        let entry = (id, self.agents[id as usize].sequence);
        self.abandoned_order.push_back(entry);
        self.abandoned.insert(entry, ());
        self.give_up(id);
        self.finish(id);
    }

    fn give_up(&mut self, _id: AgentId) {
        if self.habits.scenario.storm {
            self.recorder.tally.given_up += 1;
        }
    }

    fn finish(&mut self, id: AgentId) {
        let agent = &mut self.agents[id as usize];
        agent.state = State::Idle;
        self.outstanding -= 1;
        if !self.habits.scenario.storm && !self.led {
            self.rest_after(id);
        }
    }

    /// Whose turn it is after this agent's: its own again, or its account's other device.
    fn rest_after(&mut self, id: AgentId) {
        let devices = self.habits.scenario.devices;
        let successor = id - id % devices + (id % devices + 1) % devices;
        if self.warming && successor.is_multiple_of(devices) {
            self.warmed.push(successor);
        } else {
            self.rest(successor);
        }
    }

    fn rest(&mut self, id: AgentId) {
        self.idle[self.agents[id as usize].socket as usize].push_back(id);
    }

    fn wrong(&mut self, id: AgentId, why: Wrong, datagram: &[u8]) {
        let agent = &self.agents[id as usize];
        let user = self.stationery.roster.user(id / self.habits.scenario.devices);
        self.recorder.wrong(why, || {
            let user = String::from_utf8_lossy(user).into_owned();
            let asked = format!(
                "{:?}, CSeq {}, credentials {:?}",
                agent.action, agent.cseq, agent.credentials
            );
            (user, asked, datagram.to_vec())
        });
    }
}

/// Evenly spread bits from a seed, an agent and its action's number (splitmix64).
fn mix(seed: u64, id: u32, count: u32) -> u32 {
    let mut z = seed ^ (u64::from(id) << 32 | u64::from(count));
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

#[cfg(test)]
mod tests;
