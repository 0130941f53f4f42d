//! What is dropped without an answer, shown to an operator who asked for it: nothing until then,
//! and for a bounded time. It owns the ring of what was seen; why something is dropped is decided,
//! and counted, elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use memchr::memmem;

use crate::flow::Transport;
use crate::limits::{TRACE_HEAD_BYTES_MAX, TRACE_KEPT_S, TRACE_MESSAGES_MAX};
use crate::shard::Datagram;
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::time::{Instant, Now, UnixTime};

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOrder {
    /// Its number; later orders name the trace by it.
    pub id: u64,
    /// Messages from this network; without one, from anywhere.
    pub source: Option<IpNet>,
    /// Messages that name this user, as in `sip:user@`; without one, any.
    pub user: Option<Box<[u8]>>,
    /// Drops for this reason; without one, for any but [`DropReason::Keepalive`].
    pub reason: Option<DropReason>,
    /// It ends by itself after so many seconds.
    pub for_s: u32,
}

/// A message that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// When.
    pub at: UnixTime,
    /// Microseconds within that second.
    pub at_us: u32,
    /// Who sent it.
    pub source: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// Why it was dropped.
    pub reason: DropReason,
    /// All of its bytes.
    pub len: usize,
    /// The first of them, at most [`TRACE_HEAD_BYTES_MAX`], just as they came.
    pub head: Box<[u8]>,
}

/// What was dropped since it was asked for last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracePage {
    /// In order; at most [`TRACE_MESSAGES_MAX`].
    pub messages: Vec<Traced>,
    /// How many there were that the trace is about.
    pub seen: u64,
    /// Of these, one in so many is here: there was no room for all.
    pub one_in: u64,
    /// Seconds until it ends; `None` once it has.
    pub left_s: Option<u64>,
}

/// The ring, and what is to go into it. Once it is full, every other message in it makes room and
/// from then on only half as many are taken: what is left is spread evenly over the time.
pub(super) struct Trace {
    order: TraceOrder,
    until: Instant,
    messages: Vec<Traced>,
    seen: u64,
    one_in: u64,
}

impl Trace {
    fn new(now: Now, order: TraceOrder) -> Trace {
        let until = now.mono + Duration::from_secs(order.for_s.into());
        Trace { order, until, messages: Vec::new(), seen: 0, one_in: 1 }
    }

    /// Whether it looks at what is dropped now. It can be asked for what it saw a while longer.
    pub(super) fn is_under_way(&self, now: Instant) -> bool {
        now < self.until
    }

    fn is_about(&self, datagram: &Datagram<'_>, reason: DropReason) -> bool {
        let TraceOrder { source, user, reason: wanted, .. } = &self.order;
        let ip = datagram.source.ip().to_canonical();
        let names = |user: &[u8]| {
            let found = memmem::find_iter(datagram.bytes, user);
            found.into_iter().any(|at| {
                let before = at.checked_sub(1).and_then(|before| datagram.bytes.get(before));
                let behind = datagram.bytes.get(at + user.len());
                matches!((before, behind), (Some(b':'), Some(b'@')))
            })
        };
        wanted.map_or(reason != DropReason::Keepalive, |wanted| wanted == reason)
            && source.is_none_or(|network| network.contains(&ip))
            && user.as_deref().is_none_or(names)
    }

    fn take(&mut self, now: Now, datagram: &Datagram<'_>, reason: DropReason) {
        let nth = self.seen;
        self.seen += 1;
        if !nth.is_multiple_of(self.one_in) {
            return;
        }
        if self.messages.len() >= TRACE_MESSAGES_MAX {
            let mut keep = false;
            self.messages.retain(|_| {
                keep = !keep;
                keep
            });
            self.one_in *= 2;
            if !nth.is_multiple_of(self.one_in) {
                return;
            }
        }
        let bytes = datagram.bytes;
        self.messages.push(Traced {
            at: now.wall,
            at_us: now.wall_us,
            source: datagram.source,
            transport: datagram.transport(),
            reason,
            len: bytes.len(),
            head: bytes[..bytes.len().min(TRACE_HEAD_BYTES_MAX)].into(),
        });
    }

    fn page(&mut self, now: Instant) -> TracePage {
        let left = self.until.saturating_since(now);
        let page = TracePage {
            messages: std::mem::take(&mut self.messages),
            seen: self.seen,
            one_in: self.one_in,
            left_s: (now < self.until).then(|| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
        };
        (self.seen, self.one_in) = (0, 1);
        page
    }
}

impl Core {
    /// Begins a trace. Returns the number of the one that is under way, if one is; nothing begins
    /// then. One that has ended makes room, whether or not anybody has asked for what it saw.
    pub(super) fn begin_trace(&mut self, now: Now, order: TraceOrder) -> Option<u64> {
        let under_way = self.trace.as_ref().filter(|trace| trace.is_under_way(now.mono));
        if let Some(trace) = under_way {
            return Some(trace.order.id);
        }
        self.trace = Some(Box::new(Trace::new(now, order)));
        None
    }

    /// Gives what a trace has seen since the last time. Nothing if there is no such trace.
    pub(super) fn take_trace(&mut self, now: Now, id: u64) -> Option<TracePage> {
        let trace = self.trace.as_mut().filter(|trace| trace.order.id == id)?;
        Some(trace.page(now.mono))
    }

    /// Ends a trace. Returns whether there was such a one.
    pub(super) fn end_trace(&mut self, id: u64) -> bool {
        let is_there = self.trace.as_ref().is_some_and(|trace| trace.order.id == id);
        if is_there {
            self.trace = None;
        }
        is_there
    }

    /// Looks whether a message was dropped: `before` are the counts of drops before it came.
    #[cold]
    pub(super) fn trace_drop(
        &mut self,
        now: Now,
        datagram: &Datagram<'_>,
        before: &[u64; DropReason::ALL.len()],
    ) {
        let Some(trace) = self.trace.as_mut() else { return };
        let counts = self.counters.dropped.iter().zip(before);
        let reason = DropReason::ALL.into_iter().zip(counts).find(|(_, (now, then))| now > then);
        if let Some((reason, _)) = reason
            && trace.is_about(datagram, reason)
        {
            trace.take(now, datagram, reason);
        }
    }

    /// Forgets a trace that has ended and that nobody asks for. Returns when that will be.
    pub(super) fn turn_trace(&mut self, now: Now) -> Option<Instant> {
        let end = self.trace.as_ref()?.until + Duration::from_secs(TRACE_KEPT_S);
        if end <= now.mono {
            self.trace = None;
            return None;
        }
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ListenerId;

    fn now(second: u64) -> Now {
        Now { mono: Instant::from_secs(second), wall: UnixTime(second), wall_us: 7 }
    }

    fn order() -> TraceOrder {
        TraceOrder { id: 1, source: None, user: None, reason: None, for_s: 60 }
    }

    fn datagram(bytes: &[u8]) -> Datagram<'_> {
        Datagram {
            source: "192.0.2.7:5060".parse().unwrap(),
            listener: ListenerId(0),
            local_ip: None,
            received_at: Instant::ZERO,
            bytes,
            link: None,
        }
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let about = |change: fn(&mut TraceOrder), bytes: &[u8], reason: DropReason| {
            let mut order = order();
            change(&mut order);
            Trace::new(now(0), order).is_about(&datagram(bytes), reason)
        };
        let (text, scanner) =
            (b"REGISTER sip:x SIP/2.0\r\nTo: <sip:u1@x>\r\n", DropReason::Scanner);
        assert!(about(|_| {}, text, scanner));
        assert!(!about(|_| {}, b"\r\n\r\n", DropReason::Keepalive), "unless asked for");
        assert!(about(|o| o.reason = Some(DropReason::Keepalive), b"\r\n", DropReason::Keepalive));
        assert!(!about(|o| o.reason = Some(DropReason::Ack), text, scanner));
        assert!(about(|o| o.source = "192.0.2.0/24".parse().ok(), text, scanner));
        assert!(!about(|o| o.source = "192.0.3.0/24".parse().ok(), text, scanner));
        assert!(about(|o| o.user = Some(b"u1"[..].into()), text, scanner));
        for other in [&b"u"[..], b"1", b"u2", b"sip", b"u1@x>\r\n"] {
            let mut order = order();
            order.user = Some(other.into());
            assert!(!Trace::new(now(0), order).is_about(&datagram(text), scanner), "{other:?}");
        }
    }

    #[test]
    fn more_than_there_is_room_for_is_thinned_evenly() {
        let mut trace = Trace::new(now(0), order());
        let count = 10 * TRACE_MESSAGES_MAX + 3;
        for nth in 0..count {
            let bytes = nth.to_string();
            trace.take(now(1), &datagram(bytes.as_bytes()), DropReason::Scanner);
            assert!(trace.messages.len() <= TRACE_MESSAGES_MAX);
        }
        let page = trace.page(Instant::from_secs(2));
        assert_eq!((page.seen, page.one_in, page.left_s), (count as u64, 16, Some(58)));
        let numbers: Vec<usize> = page
            .messages
            .iter()
            .map(|one| std::str::from_utf8(&one.head).unwrap().parse().unwrap())
            .collect();
        assert!(numbers.iter().enumerate().all(|(at, &number)| number == at * 16));
        assert_eq!(numbers.len(), count.div_ceil(16));
        let page = trace.page(Instant::from_secs(60));
        assert_eq!((page.seen, page.one_in, page.left_s), (0, 1, None), "it begins anew");
    }

    #[test]
    fn a_long_message_is_cut_and_its_length_kept() {
        let mut trace = Trace::new(now(0), order());
        let long = [0xff; TRACE_HEAD_BYTES_MAX + 9];
        trace.take(now(1), &datagram(&long), DropReason::Unparseable);
        let one = trace.page(Instant::from_secs(1)).messages.remove(0);
        assert_eq!((one.head.len(), one.len), (TRACE_HEAD_BYTES_MAX, long.len()));
        assert_eq!((one.at, one.at_us, one.transport), (UnixTime(1), 7, Transport::Udp));
    }
}
