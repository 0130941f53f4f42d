//! The whole registrar: memory of a million bindings, what each kind of message costs in process,
//! the stages of a refresh, and the CPU time per request over loopback beside that of canned
//! answers, and with batches timed. The limits stand beside the figures. `--quick` makes
//! everything shorter and smaller.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "registrar/figures.rs"]
mod figures;
#[path = "registrar/in_process.rs"]
mod in_process;
#[path = "registrar/loopback.rs"]
mod loopback;
#[path = "registrar/phones.rs"]
mod phones;
#[path = "registrar/set_up.rs"]
mod set_up;
#[path = "registrar/stages.rs"]
mod stages;

use loopback::Length;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    // First, while nothing that was freed could be used again unseen.
    in_process::memory(if quick { 200_000 } else { 1_000_000 });
    let (accounts, batches) = if quick { (100_000, 3_000) } else { (100_000, 20_000) };
    in_process::costs(accounts, batches);
    stages::run(accounts, batches);
    let length = match quick {
        true => Length { accounts: 20_000, seconds: 2, rounds: 1 },
        false => Length { accounts: 100_000, seconds: 4, rounds: 3 },
    };
    loopback::costs(&length);
    loopback::timing(&length);
}
