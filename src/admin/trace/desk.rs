//! The traces there are. Each has its owner and its bounds; the newest messages stay, and how many
//! there were is counted. One task takes what the shards saw, some ten times a second while a trace
//! is under way, and asks nobody while none is.

#![allow(clippy::disallowed_types, reason = "no shard takes this lock, and nobody holds it long")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::moment::rfc3339;
use super::asked::Asked;
use super::hep::{self, Hep};
use crate::flow::Transport;
use crate::limits::TRACES_MAX;
use crate::reactor::Clock;
use crate::shard::trace::{Direction, TracePage, Traced};
use crate::time::UnixTime;

/// Traces that have ended and can still be read.
const ENDED_MAX: usize = 8;
/// For so long.
const ENDED_KEPT: Duration = Duration::from_secs(15 * 60);
/// Messages of one page.
pub(super) const PAGE_MESSAGES_MAX: usize = 1000;
/// A page ends behind this many bytes of messages.
const PAGE_BYTES: usize = 1 << 20;

/// What the desk is made from, beside the shards.
#[derive(Clone, Debug, Default)]
pub struct Tracing {
    /// Where connections are taken: a message of one does not say.
    pub listening: Vec<(Transport, SocketAddr)>,
    /// Where what is seen goes too.
    pub hep: Option<hep::Settings>,
}

/// A message that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub shard: u8,
    /// This side, as far as it is known.
    pub local: SocketAddr,
    pub traced: Traced,
}

impl Kept {
    /// Who sent it, and who was to get it.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        let remote =
            SocketAddr::new(self.traced.remote.ip().to_canonical(), self.traced.remote.port());
        match self.traced.direction {
            Direction::In => (remote, self.local),
            Direction::Out => (self.local, remote),
        }
    }

    /// Whether more came than is kept.
    pub fn is_cut(&self) -> bool {
        self.traced.bytes.len() < self.traced.len
    }
}

/// What is said of a trace.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Info {
    /// Its number, to name it by.
    pub trace: String,
    /// Who began it.
    pub owner: String,
    /// What it is about, in a few words.
    pub about: String,
    /// When it was begun.
    pub begun: String,
    /// For so long.
    pub seconds: u32,
    /// `null` once it has ended.
    pub remaining_s: Option<u64>,
    /// Messages it was about so far.
    pub seen: u64,
    /// Those that can be read now.
    pub kept: usize,
    /// Their bytes.
    pub kept_bytes: usize,
    /// How many it keeps at most, the newest.
    pub messages_max: usize,
    /// The same, bytes.
    pub bytes_max: usize,
}

/// Messages of a trace.
pub(super) struct Messages {
    /// Each with its number: higher by one than that of the message before.
    pub items: Vec<(u64, Arc<Kept>)>,
    /// Messages behind the place that was asked for and not kept any more.
    pub lost: u64,
    /// More can be read at once.
    pub more: bool,
    pub info: Info,
}

pub(super) struct Trace {
    pub id: u32,
    owner: String,
    asked: Asked,
    begun: UnixTime,
    until: Instant,
    /// Since when it is over.
    pub ended: Option<Instant>,
    seen: u64,
    /// The number of the next message.
    next: u64,
    kept: VecDeque<(u64, Arc<Kept>)>,
    bytes: usize,
}

impl Trace {
    fn keep(&mut self, message: &Arc<Kept>) {
        let bytes = message.traced.bytes.len();
        while self.kept.len() >= self.asked.messages_max
            || self.bytes + bytes > self.asked.bytes_max
        {
            let Some((_, oldest)) = self.kept.pop_front() else { break };
            self.bytes -= oldest.traced.bytes.len();
        }
        self.kept.push_back((self.next, Arc::clone(message)));
        self.next += 1;
        self.bytes += bytes;
    }

    fn info(&self, now: Instant) -> Info {
        let left = self.until.saturating_duration_since(now);
        let left_s = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Info {
            trace: self.id.to_string(),
            owner: self.owner.clone(),
            about: self.asked.about(),
            begun: rfc3339(self.begun),
            seconds: self.asked.for_s,
            remaining_s: self.ended.is_none().then_some(left_s),
            seen: self.seen,
            kept: self.kept.len(),
            kept_bytes: self.bytes,
            messages_max: self.asked.messages_max,
            bytes_max: self.asked.bytes_max,
        }
    }

    /// The messages behind number `after`.
    fn behind(&self, after: u64, limit: usize, now: Instant) -> Messages {
        let first = self.kept.front().map_or(self.next, |&(number, _)| number);
        let lost = first.saturating_sub(after + 1);
        let skip = (after + 1).saturating_sub(first);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (mut items, mut bytes) = (Vec::new(), 0);
        for (number, message) in self.kept.iter().skip(skip) {
            if items.len() >= limit || bytes >= PAGE_BYTES {
                break;
            }
            bytes += message.traced.bytes.len();
            items.push((*number, Arc::clone(message)));
        }
        let more = items.last().is_some_and(|(number, _)| number + 1 < self.next);
        Messages { items, lost, more, info: self.info(now) }
    }
}

#[derive(Default)]
pub(super) struct State {
    next: u32,
    pub traces: Vec<Trace>,
    /// The trace that `trace.hep_failures` asks for, if it is under way.
    pub failures: Option<u32>,
}

/// The traces of a process.
pub(in super::super) struct Desk {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    clock: Clock,
    pub(super) tracing: Tracing,
    hep: Option<Hep>,
}

impl Desk {
    /// Without a trace.
    pub fn new(tracing: Tracing) -> Desk {
        let hep = tracing.hep.as_ref().map(Hep::new);
        Desk {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            clock: Clock::start(),
            tracing,
            hep,
        }
    }

    /// What has been sent to a collector, where there is one.
    pub fn hep(&self) -> Option<hep::Counts> {
        self.hep.as_ref().map(Hep::counts)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hears of every change.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All of them, the latest last.
    pub fn list(&self) -> Vec<Info> {
        let now = Instant::now();
        let state = self.state();
        let shown = state.traces.iter().filter(|trace| Some(trace.id) != state.failures);
        shown.map(|trace| trace.info(now)).collect()
    }

    /// One of them.
    pub fn info(&self, id: u32) -> Option<Info> {
        let state = self.state();
        state.traces.iter().find(|trace| trace.id == id).map(|trace| trace.info(Instant::now()))
    }

    /// Messages of a trace behind number `after`.
    pub(super) fn messages(&self, id: u32, after: u64, limit: usize) -> Option<Messages> {
        let state = self.state();
        let trace = state.traces.iter().find(|trace| trace.id == id)?;
        Some(trace.behind(after, limit, Instant::now()))
    }

    /// Everything a trace has kept.
    pub(super) fn all(&self, id: u32) -> Option<Vec<Arc<Kept>>> {
        let state = self.state();
        let trace = state.traces.iter().find(|trace| trace.id == id)?;
        Some(trace.kept.iter().map(|(_, message)| Arc::clone(message)).collect())
    }

    /// Takes a trace up, before the shards hear of it. `None`: there are as many as there may be.
    pub(super) fn admit(&self, asked: &Asked, owner: String) -> Option<u32> {
        let mut state = self.state();
        let under_way = state.traces.iter().filter(|trace| trace.ended.is_none()).count();
        if under_way >= TRACES_MAX {
            return None;
        }
        state.next = state.next.wrapping_add(1);
        let id = state.next;
        state.traces.push(Trace {
            id,
            owner,
            asked: asked.clone(),
            begun: self.clock.now().wall,
            until: Instant::now() + Duration::from_secs(asked.for_s.into()),
            ended: None,
            seen: 0,
            next: 1,
            kept: VecDeque::new(),
            bytes: 0,
        });
        state.forget(Instant::now());
        Some(id)
    }

    /// Puts what a shard saw where it belongs, and returns it.
    pub(super) fn deposit(&self, mut seen: Vec<(u8, TracePage)>) {
        let counts = seen.iter().flat_map(|(_, page)| page.seen.iter().copied());
        let counts: Vec<(u32, u64)> = counts.filter(|&(_, count)| count > 0).collect();
        let mut messages: Vec<Kept> = Vec::new();
        for (shard, page) in &mut seen {
            messages.extend(page.messages.drain(..).map(|traced| Kept {
                shard: *shard,
                local: self.local(&traced),
                traced,
            }));
        }
        messages.sort_by_key(|one| (one.traced.at, one.traced.at_us));
        if counts.is_empty() && messages.is_empty() {
            return;
        }
        let mut state = self.state();
        for (id, count) in counts {
            if let Some(trace) = state.find(id) {
                trace.seen += count;
            }
        }
        for message in messages {
            if let Some(hep) = &self.hep {
                hep.give(&message);
            }
            let message = Arc::new(message);
            let failures = state.failures;
            for &id in &message.traced.traces {
                if Some(id) != failures
                    && let Some(trace) = state.find(id)
                {
                    trace.keep(&message);
                }
            }
        }
        drop(state);
        self.changed();
    }

    /// This side of a message: for one of a connection, a listener of its transport.
    fn local(&self, traced: &Traced) -> SocketAddr {
        let remote = traced.remote.ip().to_canonical();
        let of = |bound: &&(Transport, SocketAddr)| {
            bound.0 == traced.transport && bound.1.is_ipv4() == remote.is_ipv4()
        };
        let listener = self.tracing.listening.iter().find(of).map(|&(_, address)| address);
        let any = match remote.is_ipv4() {
            true => SocketAddr::from(([0, 0, 0, 0], 0)),
            false => SocketAddr::from(([0_u16; 8], 0)),
        };
        traced.local.or(listener).unwrap_or(any)
    }

    /// Ends those whose time is over.
    pub(super) fn turn(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let before = state.traces.iter().filter(|trace| trace.ended.is_none()).count();
        for trace in &mut state.traces {
            // What shards saw last comes a moment after they ended it.
            if trace.ended.is_none() && trace.until + 2 * super::work::TAKE_EVERY <= now {
                trace.ended = Some(now);
            }
        }
        state.forget(now);
        let after = state.traces.iter().filter(|trace| trace.ended.is_none()).count();
        drop(state);
        if after < before {
            self.changed();
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.state().traces.iter().any(|trace| trace.ended.is_none())
    }
}

impl State {
    pub fn find(&mut self, id: u32) -> Option<&mut Trace> {
        self.traces.iter_mut().find(|trace| trace.id == id)
    }

    /// Lets go of those that ended long ago, and of the oldest where there are too many.
    fn forget(&mut self, now: Instant) {
        let failures = self.failures;
        self.traces.retain(|trace| match trace.ended {
            Some(at) => now < at + ENDED_KEPT && Some(trace.id) != failures,
            None => true,
        });
        if failures.is_some_and(|id| self.find(id).is_none()) {
            self.failures = None;
        }
        while self.traces.iter().filter(|trace| trace.ended.is_some()).count() > ENDED_MAX {
            let oldest = self.traces.iter().position(|trace| trace.ended.is_some());
            oldest.map(|at| self.traces.remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use arrayvec::ArrayVec;

    use super::super::super::query::Query;
    use super::super::asked::KNOWN;
    use super::*;
    use crate::shard::trace::Fate;

    fn asked(query: &str) -> Asked {
        Asked::read(&Query::read(Some(query), KNOWN).unwrap()).unwrap()
    }

    pub(in super::super) fn traced(traces: &[u32], second: u64, bytes: &[u8]) -> Traced {
        Traced {
            traces: traces.iter().copied().collect::<ArrayVec<_, TRACES_MAX>>(),
            at: UnixTime(second),
            at_us: 0,
            direction: Direction::In,
            remote: "192.0.2.7:5060".parse().unwrap(),
            local: None,
            transport: Transport::Tcp,
            fate: Some(Fate::Taken),
            len: bytes.len(),
            bytes: bytes.into(),
        }
    }

    fn texts(messages: &Messages) -> Vec<(u64, String)> {
        let text = |kept: &Kept| String::from_utf8(kept.traced.bytes.to_vec()).unwrap();
        messages.items.iter().map(|(number, kept)| (*number, text(kept))).collect()
    }

    fn page(messages: Vec<Traced>, seen: &[(u32, u64)]) -> TracePage {
        TracePage { messages, seen: seen.to_vec() }
    }

    #[test]
    fn messages_of_all_shards_are_read_in_the_order_of_their_time_each_once() {
        let desk = Desk::new(Tracing::default());
        let one = desk.admit(&asked(""), "a".into()).unwrap();
        let two = desk.admit(&asked("messages=2"), "b".into()).unwrap();
        desk.deposit(vec![
            (0, page(vec![traced(&[one, two], 1, b"x"), traced(&[one], 3, b"z")], &[(one, 2)])),
            (1, page(vec![traced(&[one, two], 2, b"y")], &[(one, 1), (two, 1)])),
        ]);
        let all = desk.messages(one, 0, 10).unwrap();
        let text = |number, text: &str| (number, text.to_owned());
        assert_eq!(texts(&all), [text(1, "x"), text(2, "y"), text(3, "z")]);
        assert_eq!((all.info.seen, all.lost, all.more), (3, 0, false));
        assert_eq!(all.items[1].1.shard, 1);
        let first = desk.messages(one, 0, 1).unwrap();
        assert!(first.more);
        assert_eq!(texts(&desk.messages(one, 1, 9).unwrap()), [text(2, "y"), text(3, "z")]);
        // The newest stay, and whoever comes late hears how many are gone.
        desk.deposit(vec![(0, page(vec![traced(&[two], 4, b"q")], &[(two, 1)]))]);
        let late = desk.messages(two, 0, 9).unwrap();
        assert_eq!((texts(&late), late.lost), (vec![text(2, "y"), text(3, "q")], 1));
        assert_eq!(desk.messages(two, 3, 9).unwrap().items.len(), 0);
        assert_eq!(desk.messages(two, u64::MAX - 1, 9).unwrap().items.len(), 0);
        assert!(desk.messages(99, 0, 9).is_none());
        assert_eq!(desk.list().len(), 2);
    }

    #[test]
    fn bytes_are_bounded_as_messages_are() {
        let desk = Desk::new(Tracing::default());
        let id = desk.admit(&asked("bytes=65536"), "a".into()).unwrap();
        let long = vec![b'x'; 10_000];
        let messages = (0..20).map(|second| traced(&[id], second, &long)).collect();
        desk.deposit(vec![(0, page(messages, &[(id, 20)]))]);
        let info = desk.info(id).unwrap();
        assert_eq!((info.kept, info.kept_bytes, info.seen), (6, 60_000, 20));
    }

    #[test]
    fn there_are_no_more_at_a_time_than_there_may_be() {
        let desk = Desk::new(Tracing::default());
        let ids: Vec<u32> =
            (0..TRACES_MAX).map(|_| desk.admit(&asked(""), "a".into()).unwrap()).collect();
        assert_eq!(desk.admit(&asked(""), "a".into()), None);
        desk.state().find(ids[0]).unwrap().ended = Some(Instant::now());
        let next = desk.admit(&asked(""), "a".into()).unwrap();
        assert!(!ids.contains(&next));
        assert_eq!(desk.info(ids[0]).unwrap().remaining_s, None, "what it saw can be read");
        for trace in &mut desk.state().traces {
            trace.ended = Some(Instant::now());
        }
        desk.admit(&asked(""), "a".into()).unwrap();
        assert_eq!(desk.list().len(), ENDED_MAX + 1);
    }

    #[test]
    fn the_near_end_of_a_connection_is_the_listener_of_its_transport() {
        let listening = vec![
            (Transport::Udp, "192.0.2.1:5060".parse().unwrap()),
            (Transport::Tcp, "[::]:5062".parse().unwrap()),
            (Transport::Tcp, "192.0.2.1:5062".parse().unwrap()),
        ];
        let desk = Desk::new(Tracing { listening, hep: None });
        let mut one = traced(&[], 1, b"x");
        assert_eq!(desk.local(&one), "192.0.2.1:5062".parse().unwrap());
        one.transport = Transport::Wss;
        assert_eq!(desk.local(&one), "0.0.0.0:0".parse().unwrap());
        one.local = "192.0.2.9:1".parse().ok();
        assert_eq!(desk.local(&one), "192.0.2.9:1".parse().unwrap());
    }
}
