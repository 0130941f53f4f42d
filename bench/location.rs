//! The registrar core at a million bindings, met at random: add, refresh, replace-kick, fetch.
//! Limits: 250 ns for lookup, policy, update and timer at first, 100 ns to hold; 600 bytes for a
//! binding with everything counted at first, 400 to hold.
//!
//! `--bindings N` takes another number: at 2000 the caches hold everything, and the difference is
//! what memory costs. "Batch warmed" is how a shard calls it: the cache misses of a batch overlap.

// A stopwatch reads the clock.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use aorta::config::Registrar as Config;
use aorta::registrar::{AorId, Contacts, Event, Register, Registrar};
use aorta::sip::header::contact::Contact;
use aorta::sip::uri::Uri;
use aorta::time::{Instant, Now};

const BINDINGS: usize = 1_000_000;
/// Requests of one batch, as a reactor receives them.
const BATCH: usize = 32;
const BATCHES: usize = 20_000;
const LIMIT_NS: f64 = 250.0;
const LIMIT_BYTES: f64 = 600.0;

/// The texts of one phone's REGISTER, written outside the measured time.
#[derive(Default)]
struct Texts {
    aor: u32,
    contact: String,
    call_id: String,
    instance: String,
}

impl Texts {
    /// The phone of an account; another `device` is another phone of the same account.
    fn of(&mut self, aor: u32, device: u32) {
        use std::fmt::Write;
        let Texts { contact, call_id, instance, .. } = self;
        self.aor = aor;
        contact.clear();
        call_id.clear();
        instance.clear();
        let host = aor % 65_536 + device * 65_536;
        let (high, low) = (host >> 8, host & 255);
        write!(contact, "sip:u{aor:06}@10.{}.{}.{low}:5060;transport=udp", high >> 8, high & 255)
            .and_then(|()| write!(call_id, "{aor:08x}-{device:04x}-4b1e-9d0c-5a77c0ffee42"))
            .and_then(|()| {
                write!(instance, "<urn:uuid:{aor:08x}-{device:04x}-4000-8000-000a95a0e128>")
            })
            .expect("a String takes everything");
    }
}

struct Bench {
    registrar: Registrar,
    events: Vec<Event>,
    cseq: u32,
    now: Now,
    seed: u64,
    bindings: usize,
}

impl Bench {
    fn random_aor(&mut self) -> u32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed % self.bindings as u64) as u32
    }

    /// Sends one batch and returns how long that took.
    fn send(&mut self, batch: &[Texts], fetch: bool, warm: bool) -> Duration {
        let contacts: Vec<[Contact<'_>; 1]> = batch
            .iter()
            .map(|texts| {
                let uri = Uri::parse(texts.contact.as_bytes()).expect("a good URI");
                let instance = Some(texts.instance.as_bytes());
                [Contact { uri, q: None, expires: None, instance, reg_id: None, params: b"" }]
            })
            .collect();
        let aors: Vec<AorId> = batch.iter().map(|texts| AorId(texts.aor)).collect();
        self.events.clear();
        self.cseq += 1;
        self.now = self.now.after(Duration::from_micros(50));
        let start = Clock::now();
        if warm {
            black_box(self.registrar.location().warm(&aors));
        }
        for (texts, contacts) in batch.iter().zip(&contacts) {
            let request = Register {
                aor: AorId(texts.aor),
                call_id: texts.call_id.as_bytes(),
                cseq: self.cseq,
                contacts: if fetch { Contacts::Fetch } else { Contacts::List(contacts) },
                expires: Some(3600),
                user_agent: b"Acme Phone 5.12 (release)",
                source: ([198, 51, 100, 7], 40_000).into(),
                fingerprint: u64::from(self.cseq) << 32 | u64::from(texts.aor) | 1 << 63,
                ..Register::default()
            };
            let accepted = self.registrar.register(self.now, &request, &mut self.events);
            let accepted = accepted.expect("accepted");
            for listed in self.registrar.answer(&accepted) {
                black_box(listed);
            }
        }
        start.elapsed()
    }

    fn run(&mut self, name: &str, fetch: bool, warm: bool, device: impl Fn(u32) -> u32) {
        // Late enough that deadlines move on, as in life, and early enough that none has come.
        self.now = self.now.after(Duration::from_secs(600));
        let mut batch: Vec<Texts> = (0..BATCH).map(|_| Texts::default()).collect();
        let mut times = Vec::with_capacity(BATCHES);
        for round in 0..BATCHES {
            for texts in &mut batch {
                let aor = self.random_aor();
                texts.of(aor, device(round as u32));
            }
            times.push(self.send(&batch, fetch, warm));
        }
        report(name, &mut times, Some(LIMIT_NS));
    }
}

fn report(name: &str, times: &mut [Duration], limit: Option<f64>) {
    let total: Duration = times.iter().sum();
    let mean = total.as_nanos() as f64 / (times.len() * BATCH) as f64;
    times.sort_unstable();
    let median = times[times.len() / 2].as_nanos() as f64 / BATCH as f64;
    let limit = match limit {
        Some(limit) if median <= limit => format!("limit {limit:.0} ns, held"),
        Some(limit) => format!("limit {limit:.0} ns, EXCEEDED"),
        None => String::new(),
    };
    println!("{name:<44} {median:>9.1} ns  mean {mean:>9.1} ns  {limit}");
}

/// Bytes of memory that are really there.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--bindings").skip(1);
    let bindings = arguments.next().map_or(BINDINGS, |n| n.parse().expect("--bindings N"));
    let config = Config { expires_spread_percent: 10, ..Config::default() };
    let mut bench = Bench {
        registrar: Registrar::new(config, [7, 8]),
        events: Vec::with_capacity(2 * BATCH),
        cseq: 0,
        now: Now { mono: Instant::from_secs(100), ..Now::default() },
        seed: 0x9e37_79b9_7f4a_7c15,
        bindings,
    };
    let before = resident();
    bench.registrar.reserve(bindings, bindings);
    let mut batch: Vec<Texts> = (0..BATCH).map(|_| Texts::default()).collect();
    let mut times = Vec::with_capacity(bindings / BATCH + 1);
    // An odd step meets every account once, in no order the cache could follow.
    let step = 611_953;
    for first in (0..bindings).step_by(BATCH) {
        batch.truncate(bindings - first);
        for (texts, number) in batch.iter_mut().zip(first..) {
            texts.of((number * step % bindings) as u32, 0);
        }
        times.push(bench.send(&batch, false, false));
    }
    let stored = bench.registrar.location().bindings_count();
    let bytes = (resident() - before) as f64 / stored as f64;
    let verdict = if bytes <= LIMIT_BYTES { "held" } else { "EXCEEDED" };
    println!("{stored} bindings");
    println!(
        "{:<44} {bytes:>9.1} B   limit {LIMIT_BYTES:.0} B, {verdict}",
        "one binding, everything counted"
    );
    report("add", &mut times, None);

    bench.run("refresh", false, false, |_| 0);
    bench.run("refresh, batch warmed", false, true, |_| 0);
    bench.run("fetch", true, false, |_| 0);
    bench.run("replace-kick", false, false, |round| 1 + round % 2);
    bench.run("replace-kick, batch warmed", false, true, |round| 1 + round % 2);
    assert_eq!(bench.registrar.location().bindings_count(), stored);
}
