//! Memory and pauses: what a binding needs of memory, counted as growth of the resident set, and
//! how long the longest single step is while tables grow from nothing, while everything expires at
//! once, and while everybody is kicked. Refreshes are measured in turns with those of a small
//! shard, so that what the machine does besides falls on both.
//!
//! `cargo bench --bench memory -- [--bindings N] [--quick] [--compact]`. Ten million bindings need
//! some four and a half gigabytes; where there is less, that size is left out, and the table says
//! so.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "memory/machine.rs"]
mod machine;
#[path = "memory/office.rs"]
mod office;
#[path = "registrar/phones.rs"]
#[allow(dead_code, reason = "only its domain is used here")]
mod phones;
#[path = "memory/requests.rs"]
mod requests;
#[path = "registrar/set_up.rs"]
#[allow(dead_code, reason = "another bench uses the rest")]
mod set_up;
#[path = "memory/steps.rs"]
mod steps;

use std::time::Duration;

use machine::{available_bytes, resident_bytes};
use office::Office;
use steps::Steps;

/// As in the programs: tables are backed by huge pages where the kernel has them.
#[global_allocator]
static ALLOCATOR: aorta::reactor::HugePages = aorta::reactor::HugePages;

const BINDINGS: usize = 1_000_000;
/// The shard whose refreshes are the measure for those of the large one.
const SMALL: usize = 100_000;
/// What one account with its binding may take in all, with room for the bench itself.
const NEEDED_BYTES: u64 = 560;
/// The limit of one binding, and what is aimed at.
const BINDING_BYTES: (f64, f64) = (400.0, 256.0);
/// No step is to stop a shard for longer.
const PAUSE: Duration = Duration::from_millis(1);
/// A refresh at ten million bindings may cost so much of one at [`SMALL`].
const REFRESH_RATIO: f64 = 1.25;
/// As in a server of one reactor.
const TABLES_READY: usize = 8;
const ROUNDS: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let bindings = match arguments.iter().position(|argument| argument == "--bindings") {
        Some(at) => arguments[at + 1].parse().expect("--bindings N"),
        None if has("--quick") => 200_000,
        None => BINDINGS,
    };
    let compact = has("--compact");
    aorta::reactor::HugePages::no_pauses();
    // What is ready is not what accounts and bindings take.
    aorta::reactor::keep_tables_ready(TABLES_READY).expect("a thread");
    while aorta::reactor::tables_ready() < TABLES_READY {
        std::thread::yield_now();
    }
    let needed = (bindings + SMALL) as u64 * NEEDED_BYTES;
    let there = available_bytes();
    println!("{} form", if compact { "compact" } else { "ordinary" });
    println!("{bindings} bindings need {:.1} GiB, {:.1} GiB are free", gib(needed), gib(there),);
    if needed > there {
        println!("SKIPPED: {bindings} bindings: not enough memory");
        return;
    }
    // First, while nothing that was freed could be used again unseen.
    let before = resident_bytes();
    let (mut office, load, added) = Office::load(bindings, compact);
    let accounts_bytes = resident_bytes().saturating_sub(before);
    let before = resident_bytes();
    let registered = office.register_all();
    let binding_bytes = resident_bytes().saturating_sub(before) as f64 / bindings as f64;
    assert_eq!(office.bindings(), bindings, "every phone is registered");

    println!("\nmemory, by growth of the resident set");
    println!("  {:<46} {:>9.0} B", "one account", accounts_bytes as f64 / bindings as f64);
    println!(
        "  {:<46} {binding_bytes:>9.0} B   {}",
        "one binding",
        held(binding_bytes, BINDING_BYTES.0, &format!("400 B, aim {:.0} B", BINDING_BYTES.1))
    );
    println!("  {:<46} {:>9.2} GiB", "all of it", gib(resident_bytes()));

    println!("\ngrowth from nothing, {bindings} of each; the longest step, CPU time");
    println!("  {:<46} {:>9.2} s", "loading the accounts, passwords hashed", load.as_secs_f64());
    pause("adding 32 accounts", &added);
    pause("32 first registrations", &registered);

    refresh(&mut office, bindings, compact);

    println!("\neverything at once, {bindings} bindings");
    let expired = office.expire_all();
    pause("a turn of expiry", &expired);
    assert_eq!(office.bindings(), 0, "all are gone");
    let (full, again) = (resident_bytes(), office.register_all());
    pause("32 registrations in their place", &again);
    let grown = resident_bytes().saturating_sub(full) as f64 / bindings as f64;
    println!("  {:<46} {grown:>9.0} B", "memory that took, one binding");
    let kicked = office.kick_all();
    pause("a kick by control order", &kicked);
    let removed = office.remove_all();
    pause("a step of taking every account away", &removed);
}

/// Refreshes in turns with those at [`SMALL`], phones at random.
fn refresh(office: &mut Office, bindings: usize, compact: bool) {
    let (mut small, ..) = Office::load(SMALL.min(bindings), compact);
    small.register_all();
    let (mut large_ns, mut small_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (a, b) = (small.refresh_ns(), office.refresh_ns());
        small_ns.push(a);
        large_ns.push(b);
        ratios.push(b / a);
    }
    println!("\na refresh, in batches of 32, phones at random");
    println!("  {:<46} {:>9.0} ns", format!("at {SMALL} bindings"), median(&mut small_ns));
    println!("  {:<46} {:>9.0} ns", format!("at {bindings} bindings"), median(&mut large_ns));
    let ratio = median(&mut ratios);
    println!(
        "  {:<46} {ratio:>9.2}     {}",
        "ratio, median of those of each round",
        held(ratio, REFRESH_RATIO, "1.25")
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn held(value: f64, limit: f64, said: &str) -> String {
    format!("limit {said}, {}", if value <= limit { "held" } else { "EXCEEDED" })
}

fn pause(name: &str, steps: &Steps) {
    let longest = steps.longest();
    println!(
        "  {name:<46} {:>9.2} ms  in all {:>7.2} s   {}",
        longest.as_secs_f64() * 1e3,
        steps.total().as_secs_f64(),
        held(longest.as_secs_f64(), PAUSE.as_secs_f64(), "1 ms")
    );
    let (long, of, faults) = steps.long();
    let each: Vec<String> =
        steps::LONG_US.iter().zip(long).map(|(us, count)| format!("{count} > {us} us")).collect();
    println!("  {:<46} of {of}: {}; {faults} faults", "", each.join(", "));
    if longest > PAUSE {
        let worst: Vec<String> = steps
            .worst()
            .map(|(nth, time)| format!("{:.1} ms at step {nth}", time.as_secs_f64() * 1e3))
            .collect();
        println!("  {:<46} {}", "", worst.join(", "));
    }
}
