//! Keepalives of connections on loopback: ordered by a shard, sent by the reactor that has the
//! connection, be it the same or another.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::tests::{backends, settings};
use super::*;
use crate::config::Listen;
use crate::flow::{ConnectionId, Transport};
use crate::shard::mesh::{default_slots, mesh};
use crate::shard::{Datagram, Handled, Order, ShardId};
use crate::time::{Instant, Now};

const MESSAGE: &[u8] = b"OPTIONS sip:a.test SIP/2.0\r\nContent-Length: 0\r\n\r\n";
const CLIENTS: usize = 12;

/// Hands each message to the next shard, which has its connection pinged.
struct Pinger {
    shard: ShardId,
    shards: u8,
    orders: Vec<Order>,
}

impl Pinger {
    fn order(&mut self, id: ConnectionId) {
        self.orders.push(Order::Ping(id));
    }
}

impl Plane for Pinger {
    type Final = ();
    type Control = ();
    type Reply = ();

    fn receive(&mut self, _: Now, datagram: &Datagram<'_>, _: &mut [u8]) -> Handled {
        let next = ShardId((self.shard.0 + 1) % self.shards);
        if next != self.shard {
            return Handled::Handoff(next);
        }
        self.order(datagram.link.expect("of a connection").id);
        Handled::Nothing
    }

    fn receive_handoff(&mut self, _: Now, datagram: &Datagram<'_>, _: &mut [u8]) -> Handled {
        self.order(datagram.link.expect("of a connection").id);
        Handled::Nothing
    }

    fn turn(&mut self, _: Now) -> Option<Instant> {
        None
    }

    fn poll_order(&mut self, _: &mut [u8]) -> Option<Order> {
        self.orders.pop()
    }

    fn control(&mut self, _: Now, (): ()) {}

    fn finish(self, _: Now) {}
}

#[test]
fn a_shard_has_connections_pinged_wherever_they_are() {
    for backend in backends() {
        for reactors in [1u8, 3] {
            let mut listen = settings(backend, &["127.0.0.1:0"]);
            let addr = "127.0.0.1:0".parse().unwrap();
            listen.listen_streams = vec![Listen { transport: Transport::Tcp, addr }];
            // As many files as any host allows.
            listen.streams.connections_max = 100;
            let pinger = move |shard| Pinger { shard, shards: reactors, orders: Vec::new() };
            let count = usize::from(reactors);
            let endpoints = mesh(count, default_slots(count));
            let running = Reactors::start(listen, endpoints, vec![pinger; count]).unwrap();
            let to = running.bound()[1].address;
            // So many that the kernel gives each reactor some.
            let mut clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let client = TcpStream::connect(to).unwrap();
                    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    client
                })
                .collect();
            for _ in 0..3 {
                clients.iter_mut().for_each(|client| client.write_all(MESSAGE).unwrap());
                for client in &mut clients {
                    let mut ping = [0; 4];
                    client.read_exact(&mut ping).expect("a ping");
                    assert_eq!(&ping, b"\r\n\r\n");
                    client.write_all(b"\r\n").unwrap();
                }
            }
            running.stop();
            let mut sum = Counters::default();
            running.join().iter().for_each(|finished| sum += finished.counters);
            let pings = 3 * CLIENTS as u64;
            assert_eq!((sum.pings, sum.pings_skipped, sum.pings_shed), (pings, 0, 0));
            assert_eq!(sum.handoffs_in, if reactors == 1 { 0 } else { pings });
            // A pong is neither answered nor taken for garbage.
            assert_eq!((sum.pongs, sum.closed_garbage), (0, 0));
        }
    }
}
