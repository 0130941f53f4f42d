//! ICMP errors and keepalives on loopback, with both backends, one reactor and several: every shard
//! hears of them, and nobody's datagram is lost over somebody else's error.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::tests::{backends, client, deaf, hear, settings};
use super::*;
use crate::flow::Flow;
use crate::shard::mesh::{default_slots, mesh};
use crate::shard::stages::Watch;
use crate::shard::{Datagram, Handled, Order, Outlet, ShardId};
use crate::time::{Instant, Now};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Unreachable(SocketAddr),
    Heard(SocketAddr),
}

/// Sends `x` to each port that a datagram names, answers that datagram with what it said, and
/// reports what it is told. A datagram `ping` is a keepalive.
struct Post {
    shard: ShardId,
    to_send: Vec<SocketAddr>,
    reports: Sender<(u8, Said)>,
}

impl Plane for Post {
    type Final = ();
    type Control = ();
    type Reply = ();

    fn receive(&mut self, _: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        let ports = datagram.bytes.chunks_exact(2).map(|port| [port[0], port[1]]);
        let ip = datagram.source.ip();
        self.to_send.extend(ports.map(|port| SocketAddr::new(ip, u16::from_be_bytes(port))));
        let len = datagram.bytes.len();
        out[..len].copy_from_slice(datagram.bytes);
        Handled::Reply { to: datagram.source, len }
    }

    fn receive_handoff(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
        unreachable!("nothing is handed over")
    }

    fn receive_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        _: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        for datagram in datagrams {
            if datagram.bytes == b"ping" {
                outlet.handled(datagram, Handled::Nothing);
                outlet.heard(datagram);
            } else {
                let handled = self.receive(now, datagram, outlet.room());
                outlet.handled(datagram, handled);
            }
        }
    }

    fn unreachable(&mut self, _: Now, to: SocketAddr) {
        let _ = self.reports.send((self.shard.0, Said::Unreachable(to)));
    }

    fn heard(&mut self, _: Now, source: SocketAddr) {
        let _ = self.reports.send((self.shard.0, Said::Heard(source)));
    }

    fn turn(&mut self, _: Now) -> Option<Instant> {
        None
    }

    fn poll_order(&mut self, out: &mut [u8]) -> Option<Order> {
        let to = self.to_send.pop()?;
        out[..1].copy_from_slice(b"x");
        let flow = Flow::Datagram { listener: 0, local_ip: None };
        Some(Order::Send { to, flow, len: 1 })
    }

    fn control(&mut self, _: Now, (): ()) {}

    fn finish(self, _: Now) {}
}

fn start(backend: Backend, listen: &str, reactors: usize) -> (Running<Post>, Receiver<(u8, Said)>) {
    let (sender, reports) = channel();
    let planes = (0..reactors)
        .map(|_| {
            let reports = sender.clone();
            move |shard| Post { shard, to_send: Vec::new(), reports }
        })
        .collect();
    let endpoints = mesh(reactors, default_slots(reactors));
    (Reactors::start(settings(backend, &[listen]), endpoints, planes).unwrap(), reports)
}

/// Awaits the same word from every shard, whatever else is said.
fn await_all(reports: &Receiver<(u8, Said)>, reactors: usize, said: Said) {
    let mut shards = BTreeSet::new();
    while shards.len() < reactors {
        let (shard, heard) = reports.recv_timeout(Duration::from_secs(10)).expect("a report");
        if heard == said {
            assert!(shards.insert(shard), "told twice");
        }
    }
}

fn port(socket: &UdpSocket) -> [u8; 2] {
    socket.local_addr().unwrap().port().to_be_bytes()
}

fn sums(running: Running<Post>) -> Counters {
    running.stop();
    let mut sum = Counters::default();
    running.join().iter().for_each(|finished| sum += finished.counters);
    sum
}

#[test]
fn every_shard_hears_of_a_destination_out_of_reach() {
    for backend in backends() {
        for (listen, local) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            if UdpSocket::bind(listen).is_err() {
                eprintln!("SKIPPED: {listen} cannot be bound here");
                continue;
            }
            for reactors in [1, 3] {
                let (running, reports) = start(backend, listen, reactors);
                let to = running.bound()[0].address;
                let asker = client(local);
                let gone = deaf(local);
                asker.send_to(&port(&gone), to).unwrap();
                let address = gone.local_addr().unwrap();
                await_all(&reports, reactors, Said::Unreachable(address));
                // The sockets are well, and the reactors go back to sleep.
                let mut answer = [0; 16];
                assert_eq!(hear(&asker, &mut answer), (2, to));
                let counters = sums(running);
                assert_eq!((counters.icmp_errors, counters.unreachable_told), (1, 1));
                assert_eq!((counters.send_unreachable, counters.unreachable_shed), (0, 0));
                assert!(
                    counters.turns < 200,
                    "an error that waits keeps nobody awake: {counters:?}"
                );
            }
        }
    }
}

#[test]
fn nobody_loses_a_datagram_over_the_errors_of_others() {
    for backend in backends() {
        for reactors in [1, 3] {
            let (running, reports) = start(backend, "127.0.0.1:0", reactors);
            let to = running.bound()[0].address;
            let peers: Vec<_> = (0..16).map(|_| client("127.0.0.1")).collect();
            let gone: Vec<_> = (0..16).map(|_| deaf("127.0.0.1")).collect();
            // Between any two that are there stands one that is not, in the same batch.
            let pairs = peers.iter().zip(&gone);
            let ports: Vec<_> = pairs.flat_map(|(a, b)| [port(a), port(b)].concat()).collect();
            let asker = client("127.0.0.1");
            for _ in 0..20 {
                asker.send_to(&ports, to).unwrap();
                let mut answer = [0; 128];
                assert_eq!(hear(&asker, &mut answer), (ports.len(), to));
                for peer in &peers {
                    let mut bytes = [0; 8];
                    assert_eq!(hear(peer, &mut bytes), (1, to));
                }
            }
            assert!(matches!(reports.recv(), Ok((_, Said::Unreachable(_)))));
            let counters = sums(running);
            assert_eq!((counters.send_unreachable, counters.send_shed), (0, 0), "{counters:?}");
            assert_eq!(counters.datagrams_out, 20 * (32 + 1));
        }
    }
}

#[test]
fn every_shard_hears_of_a_keepalive_once_however_often_it_comes() {
    for backend in backends() {
        for reactors in [1, 3] {
            let (running, reports) = start(backend, "127.0.0.1:0", reactors);
            let to = running.bound()[0].address;
            let phones: Vec<_> = (0..5).map(|_| client("127.0.0.1")).collect();
            for phone in &phones {
                for _ in 0..4 {
                    phone.send_to(b"ping", to).unwrap();
                }
                await_all(&reports, reactors, Said::Heard(phone.local_addr().unwrap()));
            }
            // What is asked afterwards is answered afterwards: all pings have been taken.
            for phone in &phones {
                phone.send_to(b"", to).unwrap();
                phone.send_to(&port(phone), to).unwrap();
                let mut answer = [0; 8];
                let mut lengths = [0, 0].map(|_| hear(phone, &mut answer).0);
                lengths.sort_unstable();
                assert_eq!(lengths, [1, 2]);
            }
            let counters = sums(running);
            assert_eq!((counters.heard_told, counters.heard_shed), (5, 0));
            assert_eq!(counters.datagrams_in, 5 * 6);
            let more = reports.try_iter().filter(|(_, said)| matches!(said, Said::Heard(_)));
            assert_eq!(more.count(), 0);
        }
    }
}
