//! Handing a datagram of 700 bytes to another shard: pushed, published and drained in batches.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use aorta::limits::BATCH_MAX;
use aorta::shard::mesh::{default_slots, mesh};
use aorta::shard::{Datagram, ListenerId, ShardId};
use aorta::time::Instant;

use super::{Primitive, Round};

pub const PRIMITIVES: &[Primitive] = &[Primitive {
    name: "hand-over",
    rounds: 100,
    operations: BATCH_MAX as u32,
    prepare: hand_over,
}];

fn hand_over(_: u32) -> Round {
    let mut endpoints = mesh(2, default_slots(2));
    let (mut other, mut one) = (endpoints.pop().expect("two"), endpoints.pop().expect("two"));
    let bytes = [b'R'; 700];
    Box::new(move || {
        for number in 0..BATCH_MAX as u64 {
            let datagram = Datagram {
                source: SocketAddr::from((Ipv4Addr::LOCALHOST, 5060)),
                listener: ListenerId(0),
                local_ip: None,
                received_at: Instant::from_nanos(number),
                bytes: black_box(&bytes),
                link: None,
            };
            one.push(ShardId(1), &datagram).expect("there is room");
        }
        one.publish(|_| ());
        let taken = other.drain(BATCH_MAX, |datagram| {
            black_box(datagram.bytes);
        });
        assert_eq!(taken, BATCH_MAX);
    })
}
