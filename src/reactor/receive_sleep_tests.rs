//! A reactor that sleeps in the receive: what else may come is seen all the same. The pace is
//! declared brisk whatever it is, so that it sleeps there on a busy host too.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::tests::{ask, backends, client, hear, mine, settings, start_with};
use super::*;
use crate::config::Listen;
use crate::flow::Transport;
use crate::shard::mesh::{default_slots, mesh};
use crate::shard::{Datagram, Handled, ShardId};
use crate::time::{Instant, Now};

/// Far more than any of it takes, even on a busy host.
const PATIENCE: Duration = Duration::from_secs(10);

fn brisk(backend: Backend, listen: &[&str]) -> Settings {
    Settings { brisk_up_to: Some(Duration::MAX), ..settings(backend, listen) }
}

/// Ends a reactor, which must not take for ever.
fn end<P: Plane<Final: Send> + 'static>(running: Running<P>) -> Vec<Finished<P::Final>> {
    running.stop();
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(running.join()));
    ended.recv_timeout(PATIENCE).expect("a stop is seen")
}

#[test]
fn it_sleeps_there_where_datagrams_come_briskly_to_its_only_socket() {
    for backend in backends() {
        for (listen, brisk_up_to) in [
            (&["127.0.0.1:0"][..], Duration::MAX),
            (&["127.0.0.1:0"], Duration::ZERO),
            (&["127.0.0.1:0", "127.0.0.1:0"], Duration::MAX),
        ] {
            let settings = Settings { brisk_up_to: Some(brisk_up_to), ..settings(backend, listen) };
            let running = start_with(settings, 1, mine, None).unwrap();
            let socket = client("127.0.0.1");
            for number in 0..100u8 {
                for bound in running.bound() {
                    ask(&socket, bound.address, &[number]);
                }
            }
            let counters = end(running)[0].counters;
            let expected = backend == Backend::Mmsg && listen.len() == 1 && !brisk_up_to.is_zero();
            assert_eq!(counters.receive_sleeps > 10, expected, "{counters:?}");
            assert!(expected || counters.receive_sleeps == 0);
            assert!(counters.receive_sleeps <= counters.sleeps);
        }
    }
}

#[test]
fn when_nothing_comes_any_more_it_sleeps_for_good() {
    for backend in backends() {
        let running = start_with(brisk(backend, &["127.0.0.1:0"]), 1, mine, None).unwrap();
        let socket = client("127.0.0.1");
        for _ in 0..20 {
            ask(&socket, running.bound()[0].address, b"anybody?");
        }
        // The counters are shown when it sleeps where everything wakes it.
        while running.counters()[0].datagrams_in < 20 {
            std::thread::yield_now();
        }
        let counters = end(running)[0].counters;
        // Timeouts of the receive once for each answer at most, where this host is that slow.
        assert!(counters.turns <= 20 * 6 + 16, "{counters:?}");
    }
}

#[test]
fn a_stop_and_an_order_are_seen_while_it_sleeps_there() {
    for backend in backends() {
        for _ in 0..10 {
            let running = start_with(brisk(backend, &["127.0.0.1:0"]), 1, mine, None).unwrap();
            ask(&client("127.0.0.1"), running.bound()[0].address, b"last");
            let pending = running.controllers()[0].give(()).unwrap();
            pending.wait(PATIENCE).expect("an order is carried out");
            ask(&client("127.0.0.1"), running.bound()[0].address, b"last");
            assert_eq!(end(running)[0].value, 2);
        }
    }
}

#[test]
fn what_another_reactor_hands_over_is_answered_while_it_sleeps_there() {
    // The payload names its owner.
    fn named(_: ShardId, payload: &[u8]) -> ShardId {
        ShardId(payload[0] - b'0')
    }
    for backend in backends() {
        let running = start_with(brisk(backend, &["127.0.0.1:0"]), 2, named, None).unwrap();
        let to = running.bound()[0].address;
        let sockets: Vec<_> = (0..8).map(|_| client("127.0.0.1")).collect();
        for round in 0..20 {
            for (number, socket) in sockets.iter().enumerate() {
                let owner = b'0' + ((round + number) % 2) as u8;
                assert_eq!(ask(socket, to, &[owner, b'x']), owner);
            }
        }
        let mut sum = Counters::default();
        end(running).iter().for_each(|one| sum += one.counters);
        assert_eq!((sum.datagrams_out, sum.handoffs_shed), (160, 0));
        assert!(sum.handoffs_in > 0);
        assert_eq!(sum.receive_sleeps > 0, backend == Backend::Mmsg);
    }
}

/// Answers every message with `ok`, by whatever it came, and adds up how much it is told that its
/// reactor has worked.
#[derive(Default)]
struct Ok {
    busy: Duration,
    passed: Duration,
}

impl Plane for Ok {
    type Final = (Duration, Duration);
    type Control = ();
    type Reply = ();

    fn receive(&mut self, _: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        out[..2].copy_from_slice(b"ok");
        Handled::Reply { to: datagram.source, len: 2 }
    }

    fn receive_handoff(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
        Handled::Nothing
    }

    fn turn(&mut self, _: Now) -> Option<Instant> {
        None
    }

    fn worked(&mut self, busy: Duration, passed: Duration) {
        self.busy += busy;
        self.passed += passed;
    }

    fn control(&mut self, _: Now, (): ()) {}

    fn finish(self, _: Now) -> (Duration, Duration) {
        (self.busy, self.passed)
    }
}

#[test]
fn connections_are_served_beside_brisk_datagrams_and_when_they_have_just_stopped() {
    const MESSAGE: &[u8] = b"OPTIONS sip:a.test SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    for backend in backends() {
        let mut listen = brisk(backend, &["127.0.0.1:0"]);
        let addr = "127.0.0.1:0".parse().unwrap();
        listen.listen_streams = vec![Listen { transport: Transport::Tcp, addr }];
        // As many files as any host allows.
        listen.streams.connections_max = 100;
        let endpoints = mesh(1, default_slots(1));
        let running = Reactors::start(listen, endpoints, vec![|_| Ok::default()]).unwrap();
        let (datagrams, stream) = (running.bound()[0].address, running.bound()[1].address);
        let mut stream = TcpStream::connect(stream).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut ask_by_stream = || {
            stream.write_all(MESSAGE).unwrap();
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"ok");
        };
        let speak = |socket: &UdpSocket| {
            socket.send_to(MESSAGE, datagrams).unwrap();
            let mut answer = [0; 2];
            assert_eq!(hear(socket, &mut answer).0, 2);
        };
        let stop = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let socket = client("127.0.0.1");
                while !stop.load(Ordering::Relaxed) {
                    speak(&socket);
                }
            });
            for _ in 0..100 {
                ask_by_stream();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let socket = client("127.0.0.1");
        for _ in 0..5 {
            speak(&socket);
            ask_by_stream();
        }
        let counters = end(running)[0].counters;
        assert_eq!(counters.messages_in, 105);
        assert_eq!(counters.receive_sleeps > 0, backend == Backend::Mmsg);
    }
}

#[test]
fn the_time_it_sleeps_there_is_not_counted_as_worked() {
    for backend in backends() {
        let endpoints = mesh(1, default_slots(1));
        let listen = brisk(backend, &["127.0.0.1:0"]);
        let running = Reactors::start(listen, endpoints, vec![|_| Ok::default()]).unwrap();
        let (socket, clock) = (client("127.0.0.1"), Clock::start());
        let begun = clock.now().mono;
        // Some windows of it, in which it only waits for one who asks and listens in turn.
        while clock.now().mono.saturating_since(begun) < Duration::from_millis(150) {
            socket.send_to(b"x", running.bound()[0].address).unwrap();
            hear(&socket, &mut [0; 2]);
            let heard = clock.now().mono;
            while clock.now().mono.saturating_since(heard) < Duration::from_micros(500) {
                std::thread::yield_now();
            }
        }
        let (busy, passed) = end(running)[0].value;
        assert!(passed > Duration::ZERO && busy < passed * 9 / 10, "{busy:?} of {passed:?}");
    }
}
