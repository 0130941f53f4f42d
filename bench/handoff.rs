//! What handing a 700-byte datagram to another shard costs: the copies alone on one thread, the
//! whole way between two cores in batches, and the time until a polling receiver has it.
//!
//! `cargo bench --bench handoff`. Nothing else should run on the two cores. The figure to hold is
//! the time per datagram of the busier of the two sides: both work at once, so a reactor that
//! sends and receives pays at most twice that, and each side's own share is printed beside it.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant as Clock};

use aorta::shard::mesh::{Endpoint, default_slots, mesh};
use aorta::shard::{Datagram, ListenerId, ShardId};
use aorta::time::Instant;
use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const DATAGRAM_BYTES: usize = 700;
const LIMIT_NS_FIRST: f64 = 250.0;
const LIMIT_NS_HELD: f64 = 150.0;
const RUNS: usize = 5;

fn main() {
    let cpus = allowed_cpus();
    let slots = default_slots(2);
    println!("handoff of {DATAGRAM_BYTES} bytes, rings of {slots} slots, median of {RUNS} runs");
    for batch in [16, 32] {
        let cost = median(|| copies_alone(batch, 300_000));
        println!("  one thread, push + publish + drain, batch {batch:2}  {cost:6.1} ns");
    }
    let [Some(&sender), Some(&receiver)] = [cpus.first(), cpus.get(1)] else {
        println!("  between two cores: skipped, only one CPU is allowed");
        return;
    };
    for batch in [16, 32] {
        let cost = median(|| between_cores(sender, receiver, batch, 1_000_000));
        println!(
            "  CPU {sender} to CPU {receiver}, batch {batch:2}                {cost:6.1} ns  \
             (limit {LIMIT_NS_FIRST:.0}, to hold {LIMIT_NS_HELD:.0}: {})",
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
}

fn verdict(cost_ns: f64) -> &'static str {
    match cost_ns {
        cost if cost <= LIMIT_NS_HELD => "held",
        cost if cost <= LIMIT_NS_FIRST => "within the first limit",
        _ => "OVER",
    }
}

fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut costs: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    costs.sort_by(f64::total_cmp);
    costs[RUNS / 2]
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
    }
}

/// Reads a word of each line, as parsing would at least.
fn touch(datagram: &Datagram<'_>) -> u64 {
    let lines = datagram.bytes.chunks(64).map(|line| u64::from(line[0]));
    lines.fold(datagram.received_at.as_nanos(), u64::wrapping_add)
}

/// Nanoseconds per datagram when one thread does both sides.
fn copies_alone(batch: usize, count: usize) -> f64 {
    let (mut one, mut other) = pair();
    let bytes = vec![b'R'; DATAGRAM_BYTES];
    let began = Clock::now();
    for turn in 0..count / batch {
        for _ in 0..batch {
            one.push(ShardId(1), &datagram(turn as u64, &bytes)).expect("it is drained each turn");
        }
        one.publish(|_| ());
        let taken = other.drain(batch, |datagram| {
            black_box(touch(&datagram));
        });
        assert_eq!(taken, batch);
    }
    began.elapsed().as_nanos() as f64 / (count / batch * batch) as f64
}

/// Nanoseconds per datagram of a stream from one core to the other: the slower side's pace.
/// Where the ring is full the sender waits, so nothing is shed.
fn between_cores(sender: usize, receiver: usize, batch: usize, count: usize) -> f64 {
    let (mut one, mut other) = pair();
    let count = count / batch * batch;
    let ready = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(sender);
            let bytes = vec![b'R'; DATAGRAM_BYTES];
            ready.wait();
            for number in 0..count {
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
            let began = Clock::now();
            let mut taken = 0;
            while taken < count {
                taken += other.drain(batch, |datagram| {
                    black_box(touch(&datagram));
                });
            }
            began.elapsed()
        });
        let elapsed: Duration = receiving.join().expect("the receiver ended");
        elapsed.as_nanos() as f64 / count as f64
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
