//! Where messages are met: between a shard and the outlet of its answers, and where it is asked for
//! what it sends by itself. Nothing of it runs while there is no trace.

use std::net::SocketAddr;

use memchr::memmem;

use super::{Direction, Fate, Seen, Traces};
use crate::flow::{Flow, Transport};
use crate::shard::counters::Counters;
use crate::shard::ping::Ping;
use crate::shard::{Datagram, Handled, Order, Outlet};
use crate::time::{Instant, Now};

/// An outlet that shows the traces what passes.
pub(in crate::shard) struct Tap<'a> {
    pub traces: &'a mut Traces,
    pub outlet: &'a mut dyn Outlet,
    pub now: Now,
}

impl Outlet for Tap<'_> {
    fn room(&mut self) -> &mut [u8] {
        self.outlet.room()
    }

    fn handled(&mut self, datagram: &Datagram<'_>, handled: Handled) {
        self.outlet.handled(datagram, handled);
    }

    fn handled_by(&mut self, counters: &mut Counters, datagram: &Datagram<'_>, handled: Handled) {
        let last = std::mem::take(&mut counters.last);
        let answer = match handled {
            Handled::Reply { to, len } => Some((to, &self.outlet.room()[..len])),
            Handled::Handoff(_) | Handled::Nothing => None,
        };
        let fate = match (handled, last.dropped) {
            (Handled::Handoff(_), _) => None,
            (Handled::Nothing, Some(reason)) => Some(Fate::Dropped(reason)),
            (Handled::Nothing, None) => Some(Fate::Taken),
            (Handled::Reply { .. }, _) => {
                Some(Fate::Answered(answer.map_or(0, |(_, bytes)| status(bytes)), last.refused))
            }
        };
        self.traces.met(self.now, datagram, fate, answer);
        self.outlet.handled(datagram, handled);
    }

    fn registered(&mut self, datagram: &Datagram<'_>) {
        self.outlet.registered(datagram);
    }

    fn heard(&mut self, datagram: &Datagram<'_>) {
        self.outlet.heard(datagram);
    }
}

/// The status of a response; 0 of what is none.
fn status(bytes: &[u8]) -> u16 {
    let digits = bytes.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number.unwrap_or(0)
}

/// Whether what we send is a SIP message: its first line says so.
fn is_sip(bytes: &[u8]) -> bool {
    let line = &bytes[..bytes.iter().position(|&byte| byte == b'\r').unwrap_or(0)];
    memmem::find(line, b"SIP/2.0").is_some()
}

/// The clocks as they were at `at`, not long before `now`.
fn then(now: Now, at: Instant) -> Now {
    let ago_us = now.mono.saturating_since(at).as_micros() as u64;
    let wall_us = now.wall.0.saturating_mul(1_000_000) + u64::from(now.wall_us);
    let wall_us = wall_us.saturating_sub(ago_us);
    let wall = crate::time::UnixTime(wall_us / 1_000_000);
    Now { mono: at, wall, wall_us: (wall_us % 1_000_000) as u32 }
}

impl Traces {
    /// A message was handled. Without a fate, it was handed over: who it is from is remembered.
    fn met(
        &mut self,
        now: Now,
        datagram: &Datagram<'_>,
        fate: Option<Fate>,
        answer: Option<(SocketAddr, &[u8])>,
    ) {
        let (remote, bytes) = (datagram.source, datagram.bytes);
        let is_raw = Ping::of(datagram).is_some();
        let (mut asks, mut answers) = (Default::default(), Default::default());
        let mut any = false;
        for direction in [Direction::In, Direction::Out] {
            if direction == Direction::Out && (!any || answer.is_none()) {
                break;
            }
            let about = self.about(|trace| {
                if !trace.is_of(remote, bytes, is_raw) {
                    return false;
                }
                if !is_raw && trace.order.filter.account.is_some() {
                    trace.learn(remote);
                }
                let is = fate.is_some_and(|fate| trace.is_about_fate(fate));
                any |= is;
                is && trace.goes(direction)
            });
            match direction {
                Direction::In => asks = about,
                Direction::Out => answers = about,
            }
        }
        if fate.is_none() {
            return;
        }
        let transport = datagram.transport();
        let local = match datagram.link {
            Some(_) => None,
            None => self.local(datagram.listener.0, datagram.local_ip),
        };
        let came = then(now, datagram.received_at);
        let direction = Direction::In;
        self.keep(asks, &Seen { now: came, direction, remote, local, transport, fate, bytes });
        if let Some((to, bytes)) = answer {
            let remote = if datagram.link.is_some() { remote } else { to };
            let (direction, fate) = (Direction::Out, None);
            self.keep(answers, &Seen { now, direction, remote, local, transport, fate, bytes });
        }
    }

    /// Something is sent that answers nothing: NOTIFY, OPTIONS, what keeps pinholes open.
    pub(in crate::shard) fn sent(&mut self, now: Now, order: &Order, out: &[u8]) {
        let Order::Send { to, flow, len } = *order else { return };
        let bytes = &out[..len];
        let is_raw = !is_sip(bytes);
        let about = self.about(|trace| {
            trace.is_of(to, bytes, is_raw) && trace.is_about_own() && trace.goes(Direction::Out)
        });
        let (local, transport) = match flow {
            Flow::Datagram { listener, local_ip } => {
                (self.local(listener, local_ip), Transport::Udp)
            }
            Flow::Connection { transport, .. } => (None, transport),
        };
        let direction = Direction::Out;
        let seen = Seen { now, direction, remote: to, local, transport, fate: None, bytes };
        self.keep(about, &seen);
    }

    fn local(&self, listener: u8, ip: Option<std::net::IpAddr>) -> Option<SocketAddr> {
        let bound = self.listening.get(usize::from(listener))?;
        Some(SocketAddr::new(ip.unwrap_or(bound.ip()).to_canonical(), bound.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{now, traces};
    use super::super::{Account, Filter, Only};
    use super::*;
    use crate::flow::ConnectionId;
    use crate::shard::counters::DropReason;
    use crate::shard::{Link, ListenerId, Peer, ShardId};

    const ASK: &[u8] = b"REGISTER sip:x SIP/2.0\r\nTo: <sip:u1@example.com>\r\n\r\n";
    const OK: &[u8] = b"SIP/2.0 200 OK\r\nTo: <sip:u1@example.com>\r\n\r\n";

    fn datagram(bytes: &[u8]) -> Datagram<'_> {
        Datagram {
            source: "192.0.2.7:5066".parse().unwrap(),
            listener: ListenerId(0),
            local_ip: None,
            received_at: Instant::from_nanos(999_999_000),
            bytes,
            link: None,
        }
    }

    struct Out(Vec<u8>, Vec<Handled>);

    impl Outlet for Out {
        fn room(&mut self) -> &mut [u8] {
            &mut self.0
        }
        fn handled(&mut self, _: &Datagram<'_>, handled: Handled) {
            self.1.push(handled);
        }
    }

    fn tapped(
        traces: &mut Traces,
        datagram: &Datagram<'_>,
        handled: Handled,
        drop: Option<DropReason>,
    ) {
        let mut out = Out(OK.to_vec(), Vec::new());
        let mut counters = Counters::default();
        drop.into_iter().for_each(|reason| counters.drop(reason));
        let mut tap = Tap { traces, outlet: &mut out, now: now(1) };
        tap.handled_by(&mut counters, datagram, handled);
        assert_eq!(out.1, [handled], "it passes");
        assert_eq!(counters.last.dropped, None);
    }

    fn reply() -> Handled {
        Handled::Reply { to: "192.0.2.7:5066".parse().unwrap(), len: OK.len() }
    }

    #[test]
    fn a_request_and_its_answer_are_two_messages_with_both_addresses_and_their_times() {
        let mut traces = traces(vec![Filter::default()]);
        tapped(&mut traces, &datagram(ASK), reply(), None);
        let page = traces.page();
        let [ask, answer] = &page.messages[..] else { panic!("two: {page:?}") };
        assert_eq!((&*ask.bytes, ask.direction), (ASK, Direction::In));
        assert_eq!(ask.fate, Some(Fate::Answered(200, None)));
        assert_eq!(ask.local, Some("192.0.2.1:5060".parse().unwrap()));
        // Received a microsecond before the batch's clock was read.
        assert_eq!((ask.at.0, ask.at_us, answer.at.0, answer.at_us), (1, 6, 1, 7));
        assert_eq!((&*answer.bytes, answer.direction, answer.fate), (OK, Direction::Out, None));
        assert_eq!(answer.remote, datagram(ASK).source);
    }

    #[test]
    fn what_is_handed_over_is_seen_by_nobody_here_but_teaches_where_the_account_is() {
        let account = Account { user: b"u1"[..].into(), domain: None };
        let filter = Filter { account: Some(account), keepalives: true, ..Filter::default() };
        let mut traces = traces(vec![filter]);
        let dropped = Some(DropReason::Keepalive);
        tapped(&mut traces, &datagram(b"\r\n"), Handled::Nothing, dropped);
        tapped(&mut traces, &datagram(ASK), Handled::Handoff(ShardId(1)), None);
        assert_eq!(traces.waiting.len(), 0);
        tapped(&mut traces, &datagram(b"\r\n"), Handled::Nothing, dropped);
        assert_eq!(traces.waiting.len(), 1);
        assert_eq!(traces.page().seen, [(1, 1)]);
    }

    #[test]
    fn a_drop_is_shown_with_its_reason_and_each_trace_has_what_it_asked_for() {
        let only = |only| Filter { only, ..Filter::default() };
        let out = Filter { direction: Some(Direction::Out), ..Filter::default() };
        let mut traces = traces(vec![only(Only::Dropped), out, only(Only::All)]);
        tapped(&mut traces, &datagram(ASK), Handled::Nothing, Some(DropReason::Scanner));
        tapped(&mut traces, &datagram(ASK), reply(), None);
        let page = traces.page();
        let about: Vec<Vec<u32>> = page.messages.iter().map(|one| one.traces.to_vec()).collect();
        assert_eq!(about, [vec![1, 3], vec![3], vec![2, 3]]);
        assert_eq!(page.messages[0].fate, Some(Fate::Dropped(DropReason::Scanner)));
        assert_eq!(page.seen, [(1, 1), (2, 1), (3, 3)]);
    }

    #[test]
    fn what_goes_out_by_itself_is_seen_and_raw_keepalives_on_request_alone() {
        let keepalives = Filter { keepalives: true, ..Filter::default() };
        let dropped = Filter { only: Only::Dropped, ..Filter::default() };
        let mut traces = traces(vec![Filter::default(), keepalives, dropped]);
        let to = "192.0.2.9:5060".parse().unwrap();
        let flow = Flow::Datagram { listener: 0, local_ip: Some("192.0.2.3".parse().unwrap()) };
        let mut send = |bytes: &[u8]| {
            let len = bytes.len();
            traces.sent(now(2), &Order::Send { to, flow, len }, bytes);
        };
        send(b"OPTIONS sip:u1@192.0.2.9 SIP/2.0\r\n\r\n");
        send(b"HELLO");
        let page = traces.page();
        assert_eq!(page.seen, [(1, 1), (2, 2), (3, 0)]);
        assert_eq!(page.messages[1].local, Some("192.0.2.3:5060".parse().unwrap()));
    }

    #[test]
    fn a_message_of_a_connection_has_its_transport_and_its_answer_goes_back_over_it() {
        let mut traces = traces(vec![Filter::default()]);
        let id = ConnectionId { reactor: 0, slot: 1, generation: 1 };
        let peer = Peer::new(b"");
        let link = Link { id, transport: Transport::Tls, authenticated: false, peer };
        let message = Datagram { link: Some(link), ..datagram(ASK) };
        tapped(&mut traces, &message, reply(), None);
        for one in traces.page().messages {
            assert_eq!((one.transport, one.local), (Transport::Tls, None));
            assert_eq!(one.remote, message.source);
        }
    }

    #[test]
    fn the_status_of_an_answer_is_read_and_of_anything_else_it_is_0() {
        assert_eq!(status(OK), 200);
        for other in [&b""[..], b"SIP/2.0 ", b"SIP/2.0 2", b"\x01\x01", b"SIP/2.0 xyz"] {
            assert_eq!(status(other), 0);
        }
        assert!(is_sip(OK) && is_sip(ASK) && !is_sip(b"HELLO") && !is_sip(b"\r\n\r\n"));
    }
}
