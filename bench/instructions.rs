//! The hot primitives, each by its name and for a given number of rounds: `bench/gate/run` counts
//! their instructions and holds them to what is recorded. What they cost in time is for the other
//! benches to say.
//!
//! Nothing here is left to chance: seeds, keys and times are constants, so that two runs of one
//! build are the same to the instruction. A primitive prepares whatever it needs, for the longer of
//! the two runs in either, so that preparing cancels out where one is taken from the other.

#[path = "instructions/bindings.rs"]
mod bindings;
#[path = "instructions/credentials.rs"]
mod credentials;
#[path = "instructions/handoff.rs"]
mod handoff;
#[path = "instructions/message.rs"]
mod message;
#[path = "registrar/phones.rs"]
#[allow(dead_code, reason = "the wall-clock benches ask more of their phones")]
mod phones;
#[path = "registrar/set_up.rs"]
mod set_up;
#[path = "instructions/sources.rs"]
mod sources;
#[path = "instructions/whole.rs"]
mod whole;
#[path = "instructions/yardstick.rs"]
mod yardstick;

use std::process::ExitCode;

/// One thing that is counted.
struct Primitive {
    name: &'static str,
    /// Rounds of the shorter run; the longer has twice as many.
    rounds: u32,
    /// Operations of one round.
    operations: u32,
    /// Prepares for as many rounds as it is told, and gives what does one.
    prepare: fn(u32) -> Round,
}

/// Does one round.
type Round = Box<dyn FnMut()>;

const TABLES: [&[Primitive]; 7] = [
    message::PRIMITIVES,
    credentials::PRIMITIVES,
    bindings::PRIMITIVES,
    sources::PRIMITIVES,
    handoff::PRIMITIVES,
    whole::PRIMITIVES,
    yardstick::PRIMITIVES,
];

fn primitives() -> impl Iterator<Item = &'static Primitive> {
    TABLES.into_iter().flatten()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            for Primitive { name, rounds, operations, .. } in primitives() {
                println!("{name} {rounds} {operations}");
            }
            ExitCode::SUCCESS
        }
        ["--cpu"] => {
            println!("{}", cpu());
            ExitCode::SUCCESS
        }
        [name, rounds] => run(name, rounds),
        _ => usage("instructions [--cpu | NAME ROUNDS]"),
    }
}

fn run(name: &str, rounds: &str) -> ExitCode {
    let Some(primitive) = primitives().find(|primitive| primitive.name == name) else {
        return usage(&format!("no primitive is called {name}"));
    };
    let Ok(rounds) = rounds.parse::<u32>() else {
        return usage(&format!("{rounds} is no number of rounds"));
    };
    let most = 2 * primitive.rounds;
    if rounds > most {
        return usage(&format!("{name} is prepared for {most} rounds at most"));
    }
    let mut round = (primitive.prepare)(most);
    for _ in 0..rounds {
        round();
    }
    ExitCode::SUCCESS
}

fn usage(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}

/// What this program was built for, and what it can see of the CPU: code that asks before it
/// chooses its instructions (the C library, memchr, our own) chooses by the latter.
fn cpu() -> String {
    let built_for = [
        ("sse3", cfg!(target_feature = "sse3")),
        ("sse4.2", cfg!(target_feature = "sse4.2")),
        ("avx2", cfg!(target_feature = "avx2")),
        ("bmi2", cfg!(target_feature = "bmi2")),
        ("avx512f", cfg!(target_feature = "avx512f")),
    ];
    let mut text = String::from(std::env::consts::ARCH);
    for (feature, _) in built_for.iter().filter(|(_, there)| *there) {
        text = text + "+" + feature;
    }
    for word in seen() {
        text += &format!(" {word:08x}");
    }
    text
}

/// The feature bits of the first leaf, of the seventh and of AMD's first, without those of the
/// first that name the core.
#[cfg(target_arch = "x86_64")]
fn seen() -> Vec<u32> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let (first, seventh, amd) = (__cpuid(1), __cpuid_count(7, 0), __cpuid(0x8000_0001));
    vec![first.ecx, first.edx, seventh.ebx, seventh.ecx, seventh.edx, amd.ecx, amd.edx]
}

/// Nothing that could be asked from here.
#[cfg(not(target_arch = "x86_64"))]
fn seen() -> Vec<u32> {
    Vec::new()
}
