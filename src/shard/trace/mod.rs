//! What comes in and goes out, shown to operators who asked for it: nothing until then, and for a
//! bounded time. Here is what was seen and waits to be taken; what a trace is about is
//! `filter`'s, and how a message is met on its way `tap`'s. Why something is answered as it is
//! or dropped is decided, and counted, elsewhere.
//!
//! Each shard shows what it answers, drops and sends. A message that is handed over is seen where
//! it is answered, once; one that is shed on its way between two shards is counted alone.

mod filter;
mod tap;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use arrayvec::ArrayVec;

pub use self::filter::{Account, Filter, Only};
pub(super) use self::tap::Tap;

use crate::flow::Transport;
use crate::limits::{
    TRACE_BYTES_MAX, TRACE_MESSAGE_BYTES_MAX, TRACE_MESSAGES_MAX, TRACE_PEERS_MAX, TRACES_MAX,
};
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::refused::RefuseReason;
use crate::time::{Instant, Now, UnixTime};

/// A trace that is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOrder {
    /// Its number; messages and later orders name the trace by it.
    pub id: u32,
    /// What it is about.
    pub filter: Filter,
    /// It ends by itself after so many seconds.
    pub for_s: u32,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It came here.
    In,
    /// It was sent.
    Out,
}

/// What became of a message that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered: by this status, or by STUN's own means where it is 0; where that was a
    /// refusal with a reason of its own, for this one.
    Answered(u16, Option<RefuseReason>),
    /// It was dropped.
    Dropped(DropReason),
    /// It needs no answer, being one itself.
    Taken,
}

impl Fate {
    /// Whether nothing came of a request that somebody may have meant seriously: it was dropped, or
    /// refused for good. A challenge is neither.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Fate::Answered(status, _) => status >= 400 && ![401, 407].contains(&status),
            Fate::Dropped(reason) => {
                !matches!(reason, DropReason::Keepalive | DropReason::Stun | DropReason::Ack)
            }
            Fate::Taken => false,
        }
    }
}

/// A message that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The traces that are about it.
    pub traces: ArrayVec<u32, TRACES_MAX>,
    /// When it came in, or was written.
    pub at: UnixTime,
    /// Microseconds within that second.
    pub at_us: u32,
    /// Which way it went.
    pub direction: Direction,
    /// The other side.
    pub remote: SocketAddr,
    /// This side, where that is known: of a connection it is not.
    pub local: Option<SocketAddr>,
    /// What carried it.
    pub transport: Transport,
    /// What became of it, if it came in.
    pub fate: Option<Fate>,
    /// All of its bytes.
    pub len: usize,
    /// The first of them, at most [`TRACE_MESSAGE_BYTES_MAX`], just as they are on the wire,
    /// credentials too.
    pub bytes: Box<[u8]>,
}

/// What was seen since it was taken last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracePage {
    /// The newest, in order; at most [`TRACE_MESSAGES_MAX`].
    pub messages: Vec<Traced>,
    /// For each trace that is under way or has just ended, how many messages it was about.
    pub seen: Vec<(u32, u64)>,
}

/// A trace under way.
#[derive(Debug)]
struct Trace {
    order: TraceOrder,
    /// Every name of the account's domain.
    names: Vec<String>,
    until: Instant,
    seen: u64,
    /// Where the account has spoken from, the latest last.
    peers: ArrayVec<SocketAddr, TRACE_PEERS_MAX>,
}

impl Trace {
    fn learn(&mut self, peer: SocketAddr) {
        if self.peers.last() == Some(&peer) {
            return;
        }
        self.peers.retain(|known| *known != peer);
        if self.peers.is_full() {
            self.peers.remove(0);
        }
        self.peers.push(peer);
    }
}

/// The traces of one shard, and what they have seen and nobody has taken yet. Once there is no room
/// for more, the oldest goes: whoever takes in time loses nothing.
#[derive(Debug)]
pub(super) struct Traces {
    under_way: ArrayVec<Trace, TRACES_MAX>,
    /// Those that have ended, and what they had seen since it was taken last.
    ended: Vec<(u32, u64)>,
    waiting: VecDeque<Traced>,
    waiting_bytes: usize,
    /// Where datagrams are taken, by listener.
    listening: Vec<SocketAddr>,
    /// When somebody took what there was, or began a trace.
    taken_at: Instant,
}

/// Whoever looks takes what there is several times a second.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// A message before it is copied.
struct Seen<'a> {
    now: Now,
    direction: Direction,
    remote: SocketAddr,
    local: Option<SocketAddr>,
    transport: Transport,
    fate: Option<Fate>,
    bytes: &'a [u8],
}

impl Traces {
    fn new(listening: Vec<SocketAddr>) -> Traces {
        Traces {
            under_way: ArrayVec::new(),
            ended: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            listening,
            taken_at: Instant::ZERO,
        }
    }

    /// Ends those whose time is over. Returns whether any is left.
    pub fn is_under_way(&mut self, now: Instant) -> bool {
        let ended = &mut self.ended;
        self.under_way.retain(|trace| {
            let goes_on = now < trace.until;
            if !goes_on && ended.len() < TRACES_MAX {
                ended.push((trace.order.id, trace.seen));
            }
            goes_on
        });
        !self.under_way.is_empty()
    }

    /// Whether all have ended so long ago that nobody comes for what they saw.
    pub fn is_forgotten(&self, now: Instant) -> bool {
        self.under_way.iter().all(|trace| trace.until + FORGOTTEN_AFTER < now)
            && now > self.taken_at + FORGOTTEN_AFTER
    }

    /// The numbers of the traces that say yes, each of which has seen one more.
    fn about(&mut self, mut is_about: impl FnMut(&mut Trace) -> bool) -> ArrayVec<u32, TRACES_MAX> {
        let mut about = ArrayVec::new();
        for trace in &mut self.under_way {
            if is_about(trace) {
                trace.seen += 1;
                about.push(trace.order.id);
            }
        }
        about
    }

    fn keep(&mut self, traces: ArrayVec<u32, TRACES_MAX>, seen: &Seen<'_>) {
        if traces.is_empty() {
            return;
        }
        let bytes: Box<[u8]> = seen.bytes[..seen.bytes.len().min(TRACE_MESSAGE_BYTES_MAX)].into();
        while self.waiting.len() >= TRACE_MESSAGES_MAX
            || self.waiting_bytes + bytes.len() > TRACE_BYTES_MAX
        {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= oldest.bytes.len();
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Traced {
            traces,
            at: seen.now.wall,
            at_us: seen.now.wall_us,
            direction: seen.direction,
            remote: seen.remote,
            local: seen.local,
            transport: seen.transport,
            fate: seen.fate,
            len: seen.bytes.len(),
            bytes,
        });
    }

    fn page(&mut self) -> TracePage {
        let under_way = self.under_way.iter_mut();
        let seen = under_way.map(|trace| (trace.order.id, std::mem::take(&mut trace.seen)));
        let mut seen: Vec<(u32, u64)> = seen.collect();
        seen.append(&mut self.ended);
        self.waiting_bytes = 0;
        TracePage { messages: self.waiting.drain(..).collect(), seen }
    }
}

impl Core {
    /// Begins a trace. Returns whether there was room for one more.
    pub(super) fn begin_trace(&mut self, now: Now, order: TraceOrder) -> bool {
        let listening = self.listening.addresses().to_vec();
        let traces = self.trace.get_or_insert_with(|| Box::new(Traces::new(listening)));
        traces.taken_at = now.mono;
        traces.is_under_way(now.mono);
        if traces.under_way.is_full() {
            return false;
        }
        let domain = order.filter.account.as_ref().and_then(|account| account.domain.as_deref());
        let names = domain.map(|domain| match self.domains.find(domain.as_bytes()) {
            Some(domain) => std::iter::once(&domain.name).chain(&domain.aliases).cloned().collect(),
            None => vec![domain.to_owned()],
        });
        let mut peers = ArrayVec::new();
        peers.extend(order.filter.peers.iter().copied().take(TRACE_PEERS_MAX));
        let until = now.mono + Duration::from_secs(order.for_s.into());
        let names = names.unwrap_or_default();
        traces.under_way.push(Trace { order, names, until, seen: 0, peers });
        true
    }

    /// Gives what was seen since the last time.
    pub(super) fn take_traces(&mut self, now: Now) -> TracePage {
        let Some(traces) = self.trace.as_mut() else { return TracePage::default() };
        traces.taken_at = now.mono;
        let goes_on = traces.is_under_way(now.mono);
        let page = traces.page();
        if !goes_on {
            self.trace = None;
        }
        page
    }

    /// Ends a trace. Returns whether there was such a one. What it has seen can still be taken.
    pub(super) fn end_trace(&mut self, id: u32) -> bool {
        let Some(traces) = self.trace.as_mut() else { return false };
        let Some(at) = traces.under_way.iter().position(|trace| trace.order.id == id) else {
            return false;
        };
        let trace = traces.under_way.remove(at);
        if traces.ended.len() < TRACES_MAX {
            traces.ended.push((trace.order.id, trace.seen));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn now(second: u64) -> Now {
        Now { mono: Instant::from_secs(second), wall: UnixTime(second), wall_us: 7 }
    }

    pub(super) fn traces(filters: Vec<Filter>) -> Traces {
        let mut traces = Traces::new(vec!["192.0.2.1:5060".parse().unwrap()]);
        for (id, filter) in (1..).zip(filters) {
            traces.under_way.push(Trace {
                order: TraceOrder { id, filter, for_s: 60 },
                names: vec!["example.com".into(), "example.net".into()],
                until: Instant::from_secs(60),
                seen: 0,
                peers: ArrayVec::new(),
            });
        }
        traces
    }

    fn keep(traces: &mut Traces, bytes: &[u8]) {
        let about = traces.about(|_| true);
        let seen = Seen {
            now: now(1),
            direction: Direction::In,
            remote: "192.0.2.7:5060".parse().unwrap(),
            local: None,
            transport: Transport::Udp,
            fate: Some(Fate::Taken),
            bytes,
        };
        traces.keep(about, &seen);
    }

    #[test]
    fn of_more_than_there_is_room_for_the_newest_stay_and_all_are_counted() {
        let mut traces = traces(vec![Filter::default()]);
        let count = 3 * TRACE_MESSAGES_MAX + 5;
        for nth in 0..count {
            keep(&mut traces, nth.to_string().as_bytes());
            assert!(traces.waiting.len() <= TRACE_MESSAGES_MAX);
        }
        let page = traces.page();
        assert_eq!(page.seen, [(1, count as u64)]);
        let first = &page.messages[0].bytes;
        assert_eq!(&**first, (count - TRACE_MESSAGES_MAX).to_string().as_bytes());
        assert_eq!(page.messages.len(), TRACE_MESSAGES_MAX);
        assert_eq!(traces.page(), TracePage { seen: vec![(1, 0)], ..TracePage::default() });
        assert_eq!(traces.waiting_bytes, 0);
    }

    #[test]
    fn long_messages_are_cut_and_push_older_ones_out_before_they_fill_the_memory() {
        let mut traces = traces(vec![Filter::default()]);
        let long = [b'x'; TRACE_MESSAGE_BYTES_MAX + 9];
        let room = TRACE_BYTES_MAX / TRACE_MESSAGE_BYTES_MAX;
        assert!(room < TRACE_MESSAGES_MAX, "bytes are the narrower bound here");
        for _ in 0..2 * room {
            keep(&mut traces, &long);
            assert!(traces.waiting_bytes <= TRACE_BYTES_MAX);
        }
        let page = traces.page();
        assert_eq!(page.messages.len(), room);
        let one = &page.messages[0];
        assert_eq!((one.bytes.len(), one.len), (TRACE_MESSAGE_BYTES_MAX, long.len()));
        assert_eq!((one.at, one.at_us), (UnixTime(1), 7));
    }

    #[test]
    fn a_trace_ends_by_itself_and_what_it_saw_is_still_given() {
        let mut traces = traces(vec![Filter::default()]);
        keep(&mut traces, b"x");
        assert!(traces.is_under_way(Instant::from_secs(59)));
        assert!(!traces.is_under_way(Instant::from_secs(60)));
        let page = traces.page();
        assert_eq!((page.messages.len(), page.seen), (1, vec![(1, 1)]));
        assert_eq!(traces.page(), TracePage::default());
    }

    #[test]
    fn only_what_came_to_nothing_is_a_failure() {
        for (fate, is) in [
            (Fate::Answered(200, None), false),
            (Fate::Answered(401, None), false),
            (Fate::Answered(407, None), false),
            (Fate::Answered(0, None), false),
            (Fate::Answered(403, None), true),
            (Fate::Answered(503, None), true),
            (Fate::Dropped(DropReason::Keepalive), false),
            (Fate::Dropped(DropReason::Scanner), true),
            (Fate::Taken, false),
        ] {
            assert_eq!(fate.is_failure(), is, "{fate:?}");
        }
    }
}
