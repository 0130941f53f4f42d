//! The connections of one reactor with a plane that echoes and a clock that is turned by hand:
//! what hours would show takes no time.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};

use super::*;
use crate::flow::Transport;
use crate::reactor::clock::Clock;
use crate::reactor::laps::Real;
use crate::reactor::service_times::{SharedServiceTimes, Span};
use crate::shard::mesh::{Endpoint, Parcels, mesh};
use crate::shard::stages::Stage;
use crate::shard::{Datagram, Handled};

/// Answers each message with `ok`; hands over those whose method is HANDOVER.
#[derive(Default)]
struct Echo {
    ids: Vec<ConnectionId>,
    closed: Vec<ConnectionId>,
    came_to_nothing: usize,
}

impl Plane for Echo {
    type Control = ();
    type Reply = ();
    type Final = ();

    fn receive(&mut self, _now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.ids.push(datagram.link.expect("of a connection").id);
        if datagram.bytes.starts_with(b"HANDOVER") {
            return Handled::Handoff(ShardId(1));
        }
        out[..2].copy_from_slice(b"ok");
        Handled::Reply { to: datagram.source, len: 2 }
    }

    fn receive_handoff(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
        Handled::Nothing
    }

    fn connection_closed(&mut self, _now: Now, id: ConnectionId) {
        self.closed.push(id);
    }

    fn came_to_nothing(&mut self, _now: Now, _source: IpAddr) {
        self.came_to_nothing += 1;
    }

    fn turn(&mut self, _now: Now) -> Option<Instant> {
        None
    }

    fn control(&mut self, _now: Now, (): ()) {}

    fn finish(self, _now: Now) {}
}

struct Bench {
    streams: Streams,
    plane: Echo,
    endpoint: Endpoint,
    /// The other shard's.
    other: Endpoint,
    counters: Counters,
    laps: Laps,
    times: Arc<SharedServiceTimes>,
    now: Now,
    address: SocketAddr,
}

const MESSAGE: &[u8] = b"OPTIONS sip:a.test SIP/2.0\r\nContent-Length: 0\r\n\r\n";

impl Bench {
    fn new(settings: &config::Streams) -> Bench {
        let any = "127.0.0.1:0".parse().unwrap();
        let (listeners, address) = StreamListener::bind_group(Transport::Tcp, any, 1).unwrap();
        let start = Start {
            shard: ShardId(0),
            reactors: 1,
            listeners,
            certificates: None,
            new_certificates: Arc::new(ArrayQueue::new(1)),
        };
        let [endpoint, other] = mesh(2, 512).try_into().ok().unwrap();
        let times = Arc::new(SharedServiceTimes::new(true));
        let timing = Real { clock: Clock::start(), times: Arc::clone(&times) };
        Bench {
            streams: Streams::new(start, settings).unwrap(),
            plane: Echo::default(),
            endpoint,
            other,
            counters: Counters::default(),
            laps: Laps::new(timing, 1, 0),
            times,
            now: Now::default(),
            address,
        }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut Streams, &mut Turn<'_, Echo>) -> T) -> T {
        let Bench { streams, plane, endpoint, counters, laps, now, .. } = self;
        let outbound = endpoint.outbound();
        f(streams, &mut Turn { now: *now, plane, outbound, counters, laps })
    }

    fn turn(&mut self) {
        self.with(|streams, turn| streams.turn(turn));
        self.endpoint.publish(|_| ());
    }

    /// Turns until something is so; the kernel needs a moment to carry bytes.
    fn until(&mut self, mut is_so: impl FnMut(&Bench) -> bool) {
        for _ in 0..1_000_000 {
            if is_so(self) {
                return;
            }
            self.turn();
        }
        panic!("it never came to that: {:?}", self.counters);
    }

    fn after(&mut self, secs: u64) {
        self.now = self.now.after(Duration::from_secs(secs));
        self.turn();
    }

    /// A client, and its connection here, which has answered one message.
    fn client(&mut self) -> (TcpStream, ConnectionId) {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.write_all(MESSAGE).unwrap();
        let before = self.counters.messages_in;
        self.until(|bench| bench.counters.messages_in > before);
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ok");
        (client, *self.plane.ids.last().unwrap())
    }

    fn notify(&mut self, from: u8, notice: Notice) {
        self.with(|streams, turn| streams.notified(ShardId(from), notice, turn));
        self.endpoint.publish(|_| ());
    }

    /// Notices the other shard has been sent.
    fn notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.other.drain_parcels(100, |_, parcels| match parcels {
            Parcels::Notice { from: ShardId(0), notice } => notices.push(notice),
            other => panic!("{other:?}"),
        });
        notices
    }
}

fn settings() -> config::Streams {
    config::Streams {
        first_byte_timeout_s: 10,
        authentication_timeout_s: 30,
        idle_timeout_s: 4000,
        write_queue_bytes_max: 65_536,
        ..config::Streams::default()
    }
}

#[test]
fn each_deadline_ends_a_connection_for_its_own_reason() {
    let mut bench = Bench::new(&settings());
    let silent = TcpStream::connect(bench.address).unwrap();
    let mut half = TcpStream::connect(bench.address).unwrap();
    half.write_all(&MESSAGE[..20]).unwrap();
    let (_unauthenticated, _) = bench.client();
    let (mut idle, id) = bench.client();
    bench.notify(0, Notice::Authenticated(id));
    bench.until(|bench| bench.counters.opened_tcp == 4 && bench.counters.stream_bytes_in > 100);
    bench.after(9);
    assert_eq!((bench.counters.closed_silent, bench.counters.closed_unfinished), (0, 0));
    bench.after(2);
    assert_eq!((bench.counters.closed_silent, bench.counters.closed_unfinished), (1, 1));
    bench.after(20);
    assert_eq!((bench.counters.closed_unauthenticated, bench.counters.closed_idle), (1, 0));
    // Keepalives keep it.
    for _ in 0..3 {
        bench.after(3000);
        let before = bench.counters.pongs;
        idle.write_all(b"\r\n\r\n").unwrap();
        bench.until(|bench| bench.counters.pongs > before);
    }
    bench.after(3999);
    assert_eq!(bench.counters.closed_idle, 0);
    bench.after(2);
    assert_eq!((bench.counters.closed_idle, bench.streams.table.len()), (1, 0));
    assert_eq!(bench.plane.came_to_nothing, 2, "the silent one and the half message");
    drop((silent, half));
}

#[test]
fn whoever_does_not_read_is_closed_by_time_or_by_bytes() {
    let mut bench = Bench::new(&settings());
    for overflow in [false, true] {
        let (_client, id) = bench.client();
        bench.notify(0, Notice::Authenticated(id));
        let message = vec![b'x'; 30_000];
        let blocked = |bench: &mut Bench| {
            let open = bench.streams.table.find(Streams::key(id));
            open.is_none_or(|open| open.blocked_since.is_some())
        };
        while !blocked(&mut bench) {
            bench.with(|streams, turn| streams.deliver(id, &message, turn));
        }
        assert_eq!(bench.counters.closed_slow_reader, u64::from(overflow));
        if overflow {
            for _ in 0..3 {
                bench.with(|streams, turn| streams.deliver(id, &message, turn));
            }
        } else {
            bench.after(19);
            assert_eq!(bench.counters.closed_slow_reader, 0);
            bench.after(2);
        }
        assert_eq!(bench.counters.closed_slow_reader, 1 + u64::from(overflow));
        // What comes for it now is dropped.
        let before = bench.counters.undeliverable;
        bench.with(|streams, turn| streams.deliver(id, &message, turn));
        assert_eq!(bench.counters.undeliverable, before + 1);
    }
}

#[test]
fn a_client_is_pinged_unless_older_output_waits_or_it_is_gone() {
    let mut bench = Bench::new(&settings());
    let (mut client, id) = bench.client();
    bench.notify(1, Notice::Ping(id));
    let mut ping = [0; 4];
    client.read_exact(&mut ping).unwrap();
    assert_eq!((&ping, bench.counters.pings), (b"\r\n\r\n", 1));
    let message = vec![b'x'; 30_000];
    let blocked = |bench: &mut Bench| {
        bench.streams.table.find(Streams::key(id)).unwrap().blocked_since.is_some()
    };
    while !blocked(&mut bench) {
        bench.with(|streams, turn| streams.deliver(id, &message, turn));
    }
    bench.notify(1, Notice::Ping(id));
    assert_eq!((bench.counters.pings, bench.counters.pings_skipped), (1, 1));
    bench.notify(1, Notice::Ping(ConnectionId { slot: 77, ..id }));
    bench.notify(1, Notice::Ping(ConnectionId { generation: id.generation + 1, ..id }));
    assert_eq!((bench.counters.pings, bench.counters.pings_skipped), (1, 3));
}

#[test]
fn pings_for_another_reactor_wait_for_room_within_a_bound_and_are_then_shed() {
    let mut bench = Bench::new(&settings());
    let far = ConnectionId { reactor: 1, slot: 3, generation: 1 };
    let order = |bench: &mut Bench| {
        bench.with(|streams, turn| streams.pass_on(far, Notice::Ping(far), turn));
    };
    order(&mut bench);
    bench.endpoint.publish(|_| ());
    assert_eq!(bench.notices(), [Notice::Ping(far)]);
    while bench.endpoint.outbound().push_send(far, b"").is_ok() {}
    (0..2000).for_each(|_| order(&mut bench));
    assert_eq!((bench.streams.unsent.len(), bench.counters.pings_shed), (1024, 976));
    bench.endpoint.publish(|_| ());
    bench.other.drain_parcels(10_000, |_, _| ());
    let mut arrived = 0;
    while bench.streams.is_due(bench.now.mono) {
        bench.turn();
        arrived += bench.other.drain_parcels(10_000, |_, _| ());
    }
    assert_eq!(arrived, 1024);
}

#[test]
fn a_client_that_breaks_its_agreement_by_silence_is_closed_and_the_holders_hear_of_it() {
    let mut bench = Bench::new(&settings());
    let (mut client, id) = bench.client();
    bench.notify(0, Notice::Authenticated(id));
    bench.notify(1, Notice::Hold(id));
    bench.notify(1, Notice::Expect { id, silence_max_s: 132 });
    for _ in 0..3 {
        bench.after(131);
        let before = bench.counters.pongs;
        client.write_all(b"\r\n\r\n").unwrap();
        bench.until(|bench| bench.counters.pongs > before);
    }
    bench.after(131);
    assert_eq!(bench.counters.closed_unheard, 0);
    bench.after(2);
    assert_eq!(bench.counters.closed_unheard, 1);
    assert_eq!(bench.notices(), [Notice::Closed(id)]);
}

#[test]
fn an_agreement_ends_by_word_or_with_the_shard_that_made_it() {
    let mut bench = Bench::new(&settings());
    for by_word in [true, false] {
        let (_client, id) = bench.client();
        bench.notify(0, Notice::Authenticated(id));
        bench.notify(0, Notice::Hold(id));
        bench.notify(1, Notice::Hold(id));
        bench.notify(1, Notice::Expect { id, silence_max_s: 60 });
        bench.notify(0, Notice::Release { id, close_if_unused: false });
        assert!(bench.streams.table.find(Streams::key(id)).unwrap().agreement.is_some());
        bench.notify(
            1,
            match by_word {
                true => Notice::Expect { id, silence_max_s: 0 },
                false => Notice::Release { id, close_if_unused: false },
            },
        );
        bench.after(100);
        assert_eq!((bench.counters.closed_unheard, bench.counters.closed_idle), (0, 0));
        assert!(bench.streams.table.find(Streams::key(id)).is_some());
    }
}

#[test]
fn a_client_that_has_ended_its_side_still_gets_the_answer_of_another_shard() {
    let mut bench = Bench::new(&settings());
    let handover = [b"HANDOVER".as_slice(), &MESSAGE[7..]].concat();
    let (mut client, id) = bench.client();
    bench.notify(1, Notice::Hold(id));
    client.write_all(&[&handover, MESSAGE, &handover].concat()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let half_closed = |bench: &mut Bench| {
        bench.streams.table.find(Streams::key(id)).is_some_and(|open| open.half_closed.is_some())
    };
    while !half_closed(&mut bench) {
        bench.turn();
    }
    for answer in [b"first", b"other"] {
        assert_eq!(bench.counters.closed_by_peer, 0);
        bench.with(|streams, turn| streams.deliver(id, answer, turn));
    }
    assert_eq!(bench.counters.closed_by_peer, 1);
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "okfirstother");
}

#[test]
fn answers_that_do_not_come_keep_a_half_closed_connection_for_a_moment_only() {
    let mut bench = Bench::new(&settings());
    let handover = [b"HANDOVER".as_slice(), &MESSAGE[7..]].concat();
    for (sent, kept) in [(&handover[..], true), (MESSAGE, false), (b"ACK sip:a ", false)] {
        let (mut client, id) = bench.client();
        let before = bench.counters.closed_by_peer;
        client.write_all(sent).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        if kept {
            while bench.streams.table.find(Streams::key(id)).unwrap().half_closed.is_none() {
                bench.turn();
            }
            bench.after(1);
            assert_eq!(bench.counters.closed_by_peer, before);
            bench.after(2);
        }
        bench.until(|bench| bench.counters.closed_by_peer == before + 1);
    }
    // One that breaks meanwhile is gone at once.
    let (mut client, id) = bench.client();
    client.write_all(&handover).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    while bench.streams.table.find(Streams::key(id)).unwrap().half_closed.is_none() {
        bench.turn();
    }
    // No time passes: it is the reset that ends it.
    let before = bench.counters.closed_broken;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    bench.until(|bench| bench.counters.closed_broken > before);
}

#[test]
fn the_shards_that_hold_a_connection_hear_of_its_end() {
    let mut bench = Bench::new(&settings());
    let (client, id) = bench.client();
    bench.notify(0, Notice::Hold(id));
    bench.notify(1, Notice::Hold(id));
    drop(client);
    bench.until(|bench| bench.counters.closed_by_peer == 1);
    assert_eq!(bench.plane.closed, [id]);
    assert_eq!(bench.notices(), [Notice::Closed(id)]);
    // A hold that was under way meanwhile is told as well.
    bench.notify(1, Notice::Hold(id));
    assert_eq!(bench.notices(), [Notice::Closed(id)]);
    bench.notify(1, Notice::Release { id, close_if_unused: true });
    assert_eq!(bench.notices(), []);
}

#[test]
fn a_kick_closes_what_no_other_shard_holds() {
    let mut bench = Bench::new(&settings());
    let (mut client, id) = bench.client();
    bench.notify(0, Notice::Hold(id));
    bench.notify(1, Notice::Hold(id));
    bench.notify(0, Notice::Release { id, close_if_unused: true });
    assert_eq!(bench.counters.closed_kicked, 0);
    bench.notify(1, Notice::Release { id, close_if_unused: false });
    assert_eq!(bench.counters.closed_kicked, 0, "it was not this one that was kicked");
    bench.notify(1, Notice::Hold(id));
    bench.notify(1, Notice::Release { id, close_if_unused: true });
    assert_eq!(bench.counters.closed_kicked, 1);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    // It has its time to read the end, and no more.
    assert_eq!(bench.streams.table.len(), 1);
    bench.after(4);
    assert_eq!(bench.streams.table.len(), 0);
}

#[test]
fn notices_that_find_the_ring_full_are_sent_later() {
    let mut bench = Bench::new(&settings());
    let ghost = ConnectionId { reactor: 0, slot: 9, generation: 9 };
    let filler = vec![0; 60_000];
    let far = ConnectionId { reactor: 1, ..ghost };
    while bench.endpoint.outbound().push_send(far, &filler).is_ok() {}
    while bench.endpoint.outbound().push_send(far, b"").is_ok() {}
    bench.endpoint.publish(|_| ());
    bench.notify(1, Notice::Hold(ghost));
    assert!(bench.streams.is_due(bench.now.mono), "it does not sleep over it");
    let mut sends = 0;
    bench.other.drain_parcels(1000, |_, parcels| {
        assert!(matches!(parcels, Parcels::Send { .. }));
        sends += 1;
    });
    assert!(sends > 0);
    bench.turn();
    assert_eq!(bench.notices(), [Notice::Closed(ghost)]);
    assert!(!bench.streams.is_due(bench.now.mono));
}

#[test]
fn a_message_whose_ring_is_full_waits_and_nothing_overtakes_it() {
    let mut bench = Bench::new(&settings());
    let (mut client, _) = bench.client();
    let far = ConnectionId { reactor: 1, slot: 0, generation: 1 };
    while bench.endpoint.outbound().push_send(far, &[0; 60_000]).is_ok() {}
    while bench.endpoint.outbound().push_send(far, b"").is_ok() {}
    bench.endpoint.publish(|_| ());
    let handover = [b"HANDOVER".as_slice(), &MESSAGE[7..]].concat();
    client.write_all(&[&handover, MESSAGE].concat()).unwrap();
    bench.until(|bench| bench.counters.handoffs_deferred >= 3);
    assert_eq!(bench.counters.messages_in, 1);
    bench.other.drain_parcels(1000, |_, _| ());
    bench.until(|bench| bench.counters.messages_in == 3);
    let mut taken = Vec::new();
    bench.other.drain_parcels(10, |_, parcels| match parcels {
        Parcels::Messages(batch) => taken.extend(batch.iter().map(|m| m.bytes.to_vec())),
        other => panic!("{other:?}"),
    });
    assert_eq!(taken, [handover]);
    client.read_exact(&mut [0; 2]).unwrap();
}

#[test]
fn the_oldest_stranger_makes_room_but_not_at_once() {
    let limits = config::Streams { connections_max: 2, ..settings() };
    let mut bench = Bench::new(&limits);
    let (_friend, id) = bench.client();
    bench.notify(0, Notice::Authenticated(id));
    let _stranger = TcpStream::connect(bench.address).unwrap();
    bench.until(|bench| bench.counters.opened_tcp == 2);
    let _refused = TcpStream::connect(bench.address).unwrap();
    bench.until(|bench| bench.counters.refused_connections_max == 1);
    bench.after(3);
    let _newcomer = TcpStream::connect(bench.address).unwrap();
    bench.until(|bench| bench.counters.opened_tcp == 3);
    assert_eq!((bench.counters.closed_evicted, bench.streams.table.len()), (1, 2));
    assert!(bench.streams.table.find(Streams::key(id)).is_some(), "never an authenticated one");
}

#[test]
fn a_flood_on_one_connection_leaves_the_others_their_turns() {
    let mut bench = Bench::new(&settings());
    let (mut flood, _) = bench.client();
    let (mut other, quiet) = bench.client();
    flood.write_all(&MESSAGE.repeat(1000)).unwrap();
    other.write_all(MESSAGE).unwrap();
    let before = bench.plane.ids.len();
    bench.until(|bench| bench.plane.ids[before..].contains(&quiet));
    let served = bench.plane.ids[before..].iter().position(|&id| id == quiet).unwrap();
    assert!(served < 500, "{served} messages of one connection came first");
    bench.until(|bench| bench.counters.messages_in == 2 + 1000 + 1);
}

#[test]
fn everything_is_closed_at_the_end() {
    let mut bench = Bench::new(&settings());
    let mut clients: Vec<_> = (0..5).map(|_| bench.client().0).collect();
    bench.with(|streams, turn| streams.close_all(turn));
    assert_eq!((bench.counters.closed_at_stop, bench.streams.table.len()), (5, 0));
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    }
    assert!(TcpStream::connect(bench.address).is_err());
}

#[test]
fn the_record_of_a_connection_is_small() {
    assert!(size_of::<Open>() <= 400, "{}", size_of::<Open>());
}

#[test]
fn the_messages_of_one_turn_are_timed_as_a_batch() {
    let mut bench = Bench::new(&config::Streams::default());
    let mut client = TcpStream::connect(bench.address).unwrap();
    client.write_all(&MESSAGE.repeat(3)).unwrap();
    bench.until(|bench| bench.counters.messages_in == 3);
    let times = bench.times.read();
    let (whole, core) = (times.of(Span::Whole), times.of(Span::Stage(Stage::Core)));
    // However the kernel cut them up, each is counted once.
    assert!((1..=3).contains(&times.batches()));
    assert_eq!((whole.len(), core.len(), times.of(Span::Handoff).len()), (3, 3, 0));
}
