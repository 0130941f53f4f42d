//! The registrar without sockets: what `Shard::receive_batch` costs for each kind of message, at
//! many accounts met at random, and what a million bindings need of memory.

use std::slice;
use std::time::{Duration, Instant as Clock};

use arrayvec::ArrayVec;

use aorta::config;
use aorta::limits::{BATCH_MAX, RESPONSE_BYTES_MAX};
use aorta::shard::control::{Configuration, Control};
use aorta::shard::owner::Ownership;
use aorta::shard::{Datagram, Handled, ListenerId, Outlet, Shard, ShardId};
use aorta::time::{Instant, Now, UnixTime};

use super::figures::{per_message, verdict};
use super::phones::{Ask, Phones};
use super::set_up::{domains, guard, keys, shard};

/// Memory of one binding, everything counted.
const BINDING_BYTES_MAX: f64 = 600.0;
/// Room that a batch of replies has, as in a reactor.
const REPLY_BYTES: usize = 1024;

/// The limits of parsing, digest, core and writing, first version.
const PARSE_NS: f64 = 400.0;
const DIGEST_NS: f64 = 600.0;
const CORE_NS: f64 = 250.0;
const WRITE_NS: f64 = 150.0;

/// A shard, its phones, and the time.
struct Bench {
    shard: Shard,
    phones: Phones,
    now: Now,
    /// Requests of one batch, each in a buffer of its own, as the kernel fills them.
    requests: Vec<Vec<u8>>,
    out: Vec<u8>,
    grouping: Grouping,
}

/// How the shard is given the datagrams of a batch.
#[derive(Clone, Copy, PartialEq)]
enum Grouping {
    Batch,
    OneByOne,
}

/// The answers of a batch, each at a place of its own.
struct Answers<'a> {
    out: &'a mut [u8],
    lengths: Vec<usize>,
}

impl Outlet for Answers<'_> {
    fn room(&mut self) -> &mut [u8] {
        &mut self.out[self.lengths.len() * REPLY_BYTES..]
    }

    fn handled(&mut self, _: &Datagram<'_>, handled: Handled) {
        self.lengths.push(match handled {
            Handled::Reply { len, .. } => len,
            Handled::Handoff(_) | Handled::Nothing => 0,
        });
    }
}

impl Bench {
    fn new(guard: config::Guard, accounts: usize) -> Bench {
        let ownership = Ownership::new([5; 16], 1);
        Bench {
            shard: shard(ShardId(0), ownership, keys(), guard, accounts),
            phones: Phones::new(accounts),
            now: Now {
                mono: Instant::from_secs(100),
                wall: UnixTime(1_800_000_000),
                ..Now::default()
            },
            requests: vec![Vec::new(); BATCH_MAX],
            out: vec![0; BATCH_MAX * REPLY_BYTES + RESPONSE_BYTES_MAX],
            grouping: Grouping::Batch,
        }
    }

    /// Sends what stands in the first `count` request buffers as one batch. Every answer must
    /// have this status. Returns the time it took and where each answer stands.
    fn receive(&mut self, count: usize, status: &str) -> (Duration, Vec<usize>) {
        let Bench { shard, now, requests, out, grouping, .. } = self;
        *now = now.after(Duration::from_micros(50));
        let datagrams: ArrayVec<_, BATCH_MAX> = requests[..count]
            .iter()
            .map(|bytes| Datagram {
                source: Phones::source(),
                listener: ListenerId(0),
                local_ip: None,
                received_at: now.mono,
                bytes,
                link: None,
            })
            .collect();
        let mut answers = Answers { out, lengths: Vec::with_capacity(count) };
        let start = Clock::now();
        match grouping {
            Grouping::Batch => shard.receive_batch(*now, &datagrams, &mut answers),
            Grouping::OneByOne => {
                for datagram in &datagrams {
                    shard.receive_batch(*now, slice::from_ref(datagram), &mut answers);
                }
            }
        }
        shard.turn(*now);
        let took = start.elapsed();
        let Answers { lengths, .. } = answers;
        for (nth, len) in lengths.iter().enumerate() {
            let answer = &out[nth * REPLY_BYTES..][..*len];
            let expected = format!("SIP/2.0 {status} ");
            let shown = String::from_utf8_lossy(answer);
            assert!(answer.starts_with(expected.as_bytes()) && *len <= REPLY_BYTES, "{shown}");
        }
        (took, lengths)
    }

    /// Changes what the guard obeys.
    fn obey(&mut self, guard: config::Guard) {
        let configuration = Configuration {
            registrar: config::Registrar::default(),
            auth: config::Auth::default(),
            guard,
            nat: config::Nat::default(),
            liveness: config::Liveness::default(),
            networks: Vec::new(),
            domains: domains(),
        };
        self.shard.control(self.now, Control::Configure(configuration.into()));
    }

    /// Challenges and registers every phone once, in an order no cache could follow.
    fn register_all(&mut self) -> Vec<Duration> {
        let count = self.phones.len();
        // Prime, so that every phone comes once.
        let step = 611_953;
        let mut times = Vec::with_capacity(count / BATCH_MAX + 1);
        for first in (0..count).step_by(BATCH_MAX) {
            let batch: Vec<usize> =
                (first..count.min(first + BATCH_MAX)).map(|nth| nth * step % count).collect();
            for (&phone, request) in batch.iter().zip(&mut self.requests) {
                self.phones.write(phone, Ask::Unchallenged, request);
            }
            let (_, lengths) = self.receive(batch.len(), "401");
            for (nth, (&phone, len)) in batch.iter().zip(lengths).enumerate() {
                self.phones.challenge(phone, &self.out[nth * REPLY_BYTES..][..len]);
            }
            for (&phone, request) in batch.iter().zip(&mut self.requests) {
                self.phones.write(phone, Ask::Refresh, request);
            }
            times.push(self.receive(batch.len(), "200").0);
        }
        times
    }

    /// Batches of one kind of request from phones at random.
    fn run(&mut self, ask: Ask, status: &str, batches: usize) -> Vec<Duration> {
        let mut times = Vec::with_capacity(batches);
        for _ in 0..batches {
            for request in &mut self.requests {
                let phone = self.phones.random();
                self.phones.write(phone, ask, request);
            }
            times.push(self.receive(BATCH_MAX, status).0);
        }
        times
    }
}

/// Bytes of memory that are really there.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024.0
}

/// RSS growth over `accounts` loaded accounts while each registers its one contact.
pub fn memory(accounts: usize) {
    println!("\nmemory, {accounts} accounts with one contact each");
    let empty = resident_bytes();
    let ownership = Ownership::new([5; 16], 1);
    let loaded = shard(ShardId(0), ownership, keys(), guard(), accounts);
    let accounts_bytes = resident_bytes() - empty;
    let mut bench = Bench::new(guard(), 0);
    bench.shard = loaded;
    bench.phones = Phones::new(accounts);
    let before = resident_bytes();
    bench.register_all();
    let bindings = bench.shard.registrar().location().bindings_count();
    assert_eq!(bindings, accounts, "every phone is registered");
    let each = (resident_bytes() - before) / bindings as f64;
    println!("  {:<44} {:>8.0} B", "one account", accounts_bytes / accounts as f64);
    println!(
        "  {:<44} {each:>8.0} B   {}",
        "one binding, by RSS growth",
        verdict(each, Some(BINDING_BYTES_MAX), "B")
    );
}

/// Cost of `Shard::receive_batch` by kind of message.
pub fn costs(accounts: usize, batches: usize) {
    println!(
        "\nShard::receive_batch, {accounts} accounts at random, batches of {BATCH_MAX}, one message"
    );
    let mut bench = Bench::new(guard(), accounts);
    let register = bench.register_all();
    let answered = PARSE_NS + WRITE_NS;
    let checked = answered + DIGEST_NS;
    let whole = checked + CORE_NS;
    per_message("REGISTER, a new binding: 200", Some(whole), BATCH_MAX, &register);
    let kinds = [
        ("REGISTER, a refresh: 200", Ask::Refresh, "200", Some(whole)),
        ("REGISTER without credentials: 401", Ask::Unchallenged, "401", None),
        ("REGISTER, wrong password: 401", Ask::WrongPassword, "401", Some(checked)),
        ("REGISTER, too brief: 423", Ask::TooBrief, "423", Some(whole)),
        ("OPTIONS: 200", Ask::Options, "200", Some(answered)),
    ];
    for (name, ask, status, limit) in kinds {
        per_message(name, limit, BATCH_MAX, &bench.run(ask, status, batches));
    }
    bench.grouping = Grouping::OneByOne;
    let one_by_one = bench.run(Ask::Refresh, "200", batches);
    per_message("a refresh, in batches of one: 200", Some(whole), BATCH_MAX, &one_by_one);
    let length: usize = {
        bench.phones.write(0, Ask::Refresh, &mut bench.requests[0]);
        bench.requests[0].len()
    };
    println!("  a refresh has {length} bytes");
    // In turns, so that what the machine does besides falls on both.
    bench.grouping = Grouping::Batch;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        with.extend(bench.run(Ask::Refresh, "200", batches / 10));
        bench.obey(config::Guard::off());
        without.extend(bench.run(Ask::Refresh, "200", batches / 10));
        bench.obey(guard());
    }
    per_message("a refresh, again", Some(whole), BATCH_MAX, &with);
    per_message("a refresh, without the guard", Some(whole), BATCH_MAX, &without);
}

/// The limit of each stage, for those who measure one.
pub const LIMITS_NS: [f64; 4] = [PARSE_NS, DIGEST_NS, CORE_NS, WRITE_NS];
