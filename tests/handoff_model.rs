//! The mesh between real threads against a model: every datagram a ring accepted arrives once, in
//! order for each pair of shards, byte for byte; one it refused never does; nobody sleeps through
//! an arrival. What the interleavings prove on four slots, at full size.
#![cfg(not(aorta_loom))]
#![allow(clippy::disallowed_methods, reason = "real threads are waited for, by the clock")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant as Clock};

use aorta::limits::MESSAGE_BYTES_MAX;
use aorta::shard::mesh::{Endpoint, Full, SLOTS_PER_RING, mesh};
use aorta::shard::{Datagram, ListenerId, ShardId};
use aorta::time::Instant;

/// A sleeper that nobody has woken for so long was forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(8);
const ORDINARY: ListenerId = ListenerId(0);
/// The last datagram of a pair comes in on this one.
const LAST: ListenerId = ListenerId(1);

/// A xorshift generator: the same seed, the same run.
struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

/// The `number`th datagram from one shard to another; the model needs no more than these three.
struct Sample {
    source: SocketAddr,
    local_ip: Option<IpAddr>,
    bytes: Vec<u8>,
}

impl Sample {
    fn of(from: usize, to: usize, number: u64) -> Self {
        let mut random = Random::seeded(number << 16 | (from as u64) << 8 | to as u64);
        random.next();
        let ip = Ipv6Addr::from(u128::from(random.next()) << 64 | u128::from(number));
        let source = match random.below(2) {
            0 => SocketAddr::from(([127, 0, 0, from as u8], random.next() as u16)),
            _ => SocketAddrV6::new(ip, random.next() as u16, 0, from as u32).into(),
        };
        let local_ip = match random.below(3) {
            0 => None,
            1 => Some(IpAddr::from([10, 0, 0, to as u8])),
            _ => Some(IpAddr::V6(ip)),
        };
        let length = match random.below(64) {
            0 => random.below(MESSAGE_BYTES_MAX + 1),
            1 => random.below(500),
            _ => 500 + random.below(400),
        };
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&random.next().to_ne_bytes());
        }
        bytes.truncate(length);
        Sample { source, local_ip, bytes }
    }

    fn as_datagram(&self, number: u64, listener: ListenerId) -> Datagram<'_> {
        Datagram {
            source: self.source,
            listener,
            local_ip: self.local_ip,
            received_at: Instant::from_nanos(number),
            bytes: &self.bytes,
            link: None,
        }
    }
}

/// One shard's thread: its endpoint, and what it has sent and had.
struct Peer {
    endpoint: Endpoint,
    me: usize,
    threads: Arc<Vec<OnceLock<Thread>>>,
    /// Numbers accepted for, and had from, each shard.
    accepted: Vec<Vec<u64>>,
    had: Vec<Vec<u64>>,
    shed: u64,
    lasts: usize,
    slept: u64,
}

impl Peer {
    fn push(&mut self, to: usize, number: u64, listener: ListenerId) -> Result<(), Full> {
        // Senders are told apart by number: a shard's own ones are its number modulo the shards.
        let tagged = number * self.had.len() as u64 + self.me as u64;
        let sample = Sample::of(self.me, to, tagged);
        let pushed = self.endpoint.push(ShardId(to as u8), &sample.as_datagram(tagged, listener));
        match pushed {
            Ok(()) => self.accepted[to].push(tagged),
            Err(Full) => self.shed += 1,
        }
        pushed
    }

    fn publish(&mut self) {
        let threads = &self.threads;
        self.endpoint.publish(|shard| {
            threads[usize::from(shard.0)].get().expect("all have started").unpark();
        });
    }

    fn drain(&mut self, budget: usize) -> usize {
        let Peer { endpoint, me, had, lasts, .. } = self;
        endpoint.drain(budget, |datagram| {
            let number = datagram.received_at.as_nanos();
            let from = (number % had.len() as u64) as usize;
            let expected = Sample::of(from, *me, number);
            assert_eq!(datagram.source, expected.source);
            assert_eq!(datagram.local_ip, expected.local_ip);
            assert!(datagram.bytes == expected.bytes, "{from} to {me}: {number} was changed");
            had[from].push(number);
            *lasts += usize::from(datagram.listener == LAST);
        })
    }

    fn sleep(&mut self) {
        if !self.endpoint.prepare_sleep() {
            return;
        }
        self.slept += 1;
        let since = Clock::now();
        thread::park_timeout(FORGOTTEN_AFTER);
        assert!(since.elapsed() < FORGOTTEN_AFTER, "shard {} was not woken", self.me);
        self.endpoint.awake();
    }
}

/// Runs `body` as each shard of a mesh on a thread of its own, and returns them when all ended.
fn run(shards: usize, slots: usize, body: impl Fn(&mut Peer) + Send + Sync + 'static) -> Vec<Peer> {
    let threads: Arc<Vec<OnceLock<Thread>>> =
        Arc::new((0..shards).map(|_| OnceLock::new()).collect());
    let started = Arc::new(Barrier::new(shards));
    let body = Arc::new(body);
    let running: Vec<_> = mesh(shards, slots)
        .into_iter()
        .enumerate()
        .map(|(me, endpoint)| {
            let mut peer = Peer {
                endpoint,
                me,
                threads: Arc::clone(&threads),
                accepted: vec![Vec::new(); shards],
                had: vec![Vec::new(); shards],
                shed: 0,
                lasts: 0,
                slept: 0,
            };
            let (started, body) = (Arc::clone(&started), Arc::clone(&body));
            thread::spawn(move || {
                peer.threads[me].set(thread::current()).expect("set once");
                started.wait();
                body(&mut peer);
                peer
            })
        })
        .collect();
    running.into_iter().map(|thread| thread.join().expect("a shard panicked")).collect()
}

/// What was accepted is what was had, for every pair.
fn assert_nothing_lost(peers: &[Peer]) {
    for from in peers {
        for to in peers {
            let (sent, had) = (&from.accepted[to.me], &to.had[from.me]);
            assert!(sent == had, "{} to {}: {} of {}", from.me, to.me, had.len(), sent.len());
        }
    }
}

#[test]
fn what_was_accepted_arrives_once_in_order_and_whole() {
    const EACH: u64 = 2000;
    for shards in [2, 3, 5] {
        let peers = run(shards, *SLOTS_PER_RING.start(), move |peer| {
            let mut random = Random::seeded(peer.me as u64 + 1);
            let mut number = 0;
            let mut accepted = 0;
            while accepted < EACH {
                let refused_before = peer.shed;
                for _ in 0..=random.below(32) {
                    let to = (peer.me + 1 + random.below(shards - 1)) % shards;
                    // Refused is refused: this number is not offered again and must not arrive.
                    accepted += u64::from(peer.push(to, number, ORDINARY).is_ok());
                    number += 1;
                }
                peer.publish();
                if peer.shed > refused_before {
                    // Whoever is to drain the full ring may be waiting for this very CPU.
                    thread::yield_now();
                }
                if random.below(4) > 0 {
                    peer.drain(random.below(64));
                }
                // One of them also sleeps in the middle: the others are still to send their last.
                if peer.me == 0 && peer.lasts < shards - 1 && random.below(4) == 0 {
                    peer.sleep();
                }
            }
            let me = peer.me;
            for to in (0..shards).filter(|&to| to != me) {
                while peer.push(to, number, LAST).is_err() {
                    peer.publish();
                    peer.drain(32);
                    thread::yield_now();
                }
                peer.publish();
            }
            while peer.lasts < shards - 1 {
                if peer.drain(32) == 0 {
                    peer.sleep();
                }
            }
        });
        assert_nothing_lost(&peers);
        for peer in &peers {
            assert!(peer.had.concat().len() >= shards - 1, "shard {} had nothing", peer.me);
        }
    }
}

#[test]
fn a_sleeping_shard_is_woken_for_every_single_datagram() {
    const TRIPS: u64 = 2000;
    let peers = run(2, 512, |peer| {
        for trip in 0..TRIPS {
            // One asks, the other answers; both sleep between.
            if peer.me == 0 {
                peer.push(1, trip, ORDINARY).expect("the ring is empty");
                peer.publish();
            }
            while peer.drain(1) == 0 {
                peer.sleep();
            }
            if peer.me == 1 {
                peer.push(0, trip, ORDINARY).expect("the ring is empty");
                peer.publish();
            }
        }
    });
    assert_nothing_lost(&peers);
    assert!(peers.iter().any(|peer| peer.slept > 0), "nobody slept: the test shows nothing");
}

#[test]
fn full_rings_shed_the_new_and_keep_the_old() {
    const OFFERED: u64 = 2000;
    let halfway = Arc::new(Barrier::new(3));
    let peers = run(3, 512, move |peer| {
        if peer.me == 0 {
            // Takes nothing until both others have offered everything.
            halfway.wait();
            while peer.drain(32) > 0 {}
        } else {
            for number in 0..OFFERED {
                let _ = peer.push(0, number, ORDINARY);
                if number % 16 == 0 {
                    peer.publish();
                }
            }
            peer.publish();
            halfway.wait();
        }
    });
    assert_nothing_lost(&peers);
    for sender in &peers[1..] {
        let kept = &sender.accepted[0];
        assert_eq!(kept.len() as u64 + sender.shed, OFFERED);
        assert!(sender.shed > OFFERED / 2, "the ring was never full");
        // The first ones went in without a gap until there was no room.
        let unbroken = kept.windows(2).take_while(|pair| pair[1] == pair[0] + 3).count();
        assert!(unbroken > 16, "shed while there was room: {:?}", &kept[..20]);
    }
}
