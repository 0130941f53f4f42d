//! What handing a 700-byte datagram to another shard costs: the copies alone on one thread, the
//! whole way between two cores in batches, looks into rings that are empty, and the time until a
//! polling receiver has it.
//!
//! `cargo bench --bench handoff`, `-- --json` for a last line that `bench/handoff_model/model.py`
//! reads. Nothing else should run on the two cores; the median over
//! windows shorter than a time slice keeps what does run out of the figure. That figure is the
//! pace of the slower of the two sides, which work at once.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant as Clock;

use aorta::limits::BATCH_MAX;
use aorta::shard::mesh::{Endpoint, default_slots, mesh};
use aorta::shard::{Datagram, ListenerId, ShardId};
use aorta::time::Instant;
use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const DATAGRAM_BYTES: usize = 700;
const LIMIT_NS_FIRST: f64 = 250.0;
const LIMIT_NS_HELD: f64 = 150.0;
/// Datagrams of one measured window: three rings full, so that neither side runs through one
/// alone; some hundred microseconds.
const WINDOW: usize = 4096;
const WINDOWS: usize = 250;

fn main() {
    let cpus = allowed_cpus();
    let slots = default_slots(2);
    println!(
        "handoff of {DATAGRAM_BYTES} bytes, rings of {slots} slots, median of {WINDOWS} windows"
    );
    for batch in [16, 32] {
        let cost = copies_alone(batch).median();
        println!("  one thread, push + publish + drain, batch {batch:2}  {cost:6.1} ns");
    }
    let polls = [2, 8, 16, 64].map(|shards| (shards, empty_looks(shards)));
    for (shards, cost) in polls {
        println!(
            "  a look into the {:2} empty rings of {shards:2} shards  {cost:6.1} ns",
            shards - 1
        );
    }
    let [Some(&sender), Some(&receiver)] = [cpus.first(), cpus.get(1)] else {
        println!("  between two cores: skipped, only one CPU is allowed");
        return;
    };
    let mut by_batch = Vec::new();
    for batch in [1, 4, 16, 32] {
        let costs = between_cores(sender, receiver, batch);
        let cost = costs.median();
        by_batch.push((batch, cost));
        println!(
            "  CPU {sender} to CPU {receiver}, batch {batch:2}                {cost:6.1} ns, best \
             tenth {:.1}  (limit {LIMIT_NS_FIRST:.0}, to hold {LIMIT_NS_HELD:.0}: {})",
            costs.quantile(0.1),
            verdict(cost),
        );
    }
    let latency = polled_latency(sender, receiver, 20_000);
    println!(
        "  until a polling receiver has it   p50 {:.2} us  p99 {:.2} us  p99.9 {:.2} us",
        latency.value_at_quantile(0.5) as f64 / 1e3,
        latency.value_at_quantile(0.99) as f64 / 1e3,
        latency.value_at_quantile(0.999) as f64 / 1e3,
    );
    if std::env::args().any(|argument| argument == "--json") {
        let (by_batch, polls) = (object(&by_batch), object(&polls));
        println!("{{\"handoff\": {{\"batch_ns\": {by_batch}, \"poll_ns\": {polls}}}}}");
    }
}

/// Costs by a number, as JSON.
fn object(costs: &[(usize, f64)]) -> String {
    let pairs = costs.iter().map(|(number, ns)| format!("\"{number}\": {ns:.2}"));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

fn verdict(cost_ns: f64) -> &'static str {
    match cost_ns {
        cost if cost <= LIMIT_NS_HELD => "held",
        cost if cost <= LIMIT_NS_FIRST => "within the first limit",
        _ => "OVER",
    }
}

/// Nanoseconds per datagram, window by window.
struct Costs(Vec<f64>);

impl Costs {
    /// Calls `window` until there are enough; each call moves [`WINDOW`] datagrams.
    fn measure(mut window: impl FnMut()) -> Self {
        let mut costs = Vec::with_capacity(WINDOWS);
        let mut began = Clock::now();
        for _ in 0..WINDOWS {
            window();
            let ended = Clock::now();
            costs.push((ended - began).as_nanos() as f64 / WINDOW as f64);
            began = ended;
        }
        costs.sort_by(f64::total_cmp);
        Costs(costs)
    }

    fn quantile(&self, quantile: f64) -> f64 {
        self.0[(self.0.len() as f64 * quantile) as usize]
    }

    fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

fn pair() -> (Endpoint, Endpoint) {
    let mut endpoints = mesh(2, default_slots(2));
    let second = endpoints.pop().expect("two");
    (endpoints.pop().expect("two"), second)
}

fn datagram(number: u64, bytes: &[u8]) -> Datagram<'_> {
    Datagram {
        source: SocketAddr::from((Ipv4Addr::LOCALHOST, 5060)),
        listener: ListenerId(0),
        local_ip: None,
        received_at: Instant::from_nanos(number),
        bytes,
        link: None,
    }
}

/// Reads a word of each line, as parsing would at least.
fn touch(datagram: &Datagram<'_>) -> u64 {
    let lines = datagram.bytes.chunks(64).map(|line| u64::from(line[0]));
    lines.fold(datagram.received_at.as_nanos(), u64::wrapping_add)
}

/// One thread does both sides.
fn copies_alone(batch: usize) -> Costs {
    let (mut one, mut other) = pair();
    let bytes = vec![b'R'; DATAGRAM_BYTES];
    Costs::measure(|| {
        for _ in 0..WINDOW / batch {
            for number in 0..batch {
                one.push(ShardId(1), &datagram(number as u64, &bytes)).expect("there is room");
            }
            one.publish(|_| ());
            let taken = other.drain(batch, |datagram| {
                black_box(touch(&datagram));
            });
            assert_eq!(taken, batch);
        }
    })
}

/// Nanoseconds until a shard among so many has found that nobody has handed it anything.
fn empty_looks(shards: usize) -> f64 {
    let mut endpoints = mesh(shards, default_slots(shards));
    let endpoint = endpoints.first_mut().expect("there is one");
    let costs = Costs::measure(|| {
        for _ in 0..WINDOW {
            assert_eq!(black_box(endpoint.drain(BATCH_MAX, |_| ())), 0);
        }
    });
    costs.median()
}

/// A stream from one core to the other. Where the ring is full the sender waits: nothing is shed.
fn between_cores(sender: usize, receiver: usize, batch: usize) -> Costs {
    let (mut one, mut other) = pair();
    let ready = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(sender);
            let bytes = vec![b'R'; DATAGRAM_BYTES];
            ready.wait();
            for number in 0..WINDOW * WINDOWS {
                while one.push(ShardId(1), &datagram(number as u64, &bytes)).is_err() {
                    one.publish(|_| ());
                    std::hint::spin_loop();
                }
                if number % batch == batch - 1 {
                    one.publish(|_| ());
                }
            }
        });
        let receiving = scope.spawn(|| {
            pin(receiver);
            ready.wait();
            Costs::measure(|| {
                let mut taken = 0;
                while taken < WINDOW {
                    taken += other.drain(batch.min(WINDOW - taken), |datagram| {
                        black_box(touch(&datagram));
                    });
                }
            })
        });
        receiving.join().expect("the receiver ended")
    })
}

/// How long after `push` began a receiver that does nothing but poll has a lone datagram,
/// nanoseconds. The next is sent when the last has arrived.
fn polled_latency(sender: usize, receiver: usize, count: u64) -> Histogram<u64> {
    let (mut one, mut other) = pair();
    let origin = Clock::now();
    let arrived = AtomicU64::new(0);
    let mut histogram = Histogram::new(3).expect("three digits are valid");
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(sender);
            let bytes = vec![b'R'; DATAGRAM_BYTES];
            for number in 0..count {
                while arrived.load(Ordering::Acquire) < number {
                    std::hint::spin_loop();
                }
                let now = origin.elapsed().as_nanos() as u64;
                one.push(ShardId(1), &datagram(now, &bytes)).expect("the ring is empty");
                one.publish(|_| ());
            }
        });
        scope.spawn(|| {
            pin(receiver);
            let mut taken = 0;
            while taken < count {
                let more = other.drain(1, |datagram| {
                    let now = origin.elapsed().as_nanos() as u64;
                    black_box(touch(&datagram));
                    histogram.saturating_record(now - datagram.received_at.as_nanos());
                });
                if more > 0 {
                    taken += more as u64;
                    arrived.store(taken, Ordering::Release);
                }
            }
        });
    });
    histogram
}

fn allowed_cpus() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("a thread may read its own affinity");
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).expect("the CPU is one of the allowed ones");
}
