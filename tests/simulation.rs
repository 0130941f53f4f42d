//! A seeded simulation of whole processes: shards with the real mesh between them, a network that
//! loses, doubles, reorders and delays, phones that reboot, move and miscount, an attacker that
//! hears everything and knows no password. Time is a variable. After each datagram what the server
//! did is held against a shadow of it that was written from the rules.
//!
//! `SIM_SEEDS=n` runs n seeds of each plan, `SIM_SEED=s` only that one; a failure prints which.

mod common;

#[path = "simulation/ask.rs"]
mod ask;
#[path = "simulation/attacker.rs"]
mod attacker;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/checks.rs"]
mod checks;
#[path = "simulation/handset.rs"]
mod handset;
#[path = "simulation/people.rs"]
mod people;
#[path = "simulation/process.rs"]
mod process;
#[path = "simulation/seen.rs"]
mod seen;
#[path = "simulation/shadow.rs"]
mod shadow;
#[path = "simulation/world.rs"]
mod world;

use aorta::config::Algorithms;
use seen::Seen;
use world::{Plan, World};

/// Seeds of each plan.
const SEEDS: u64 = 6;

const PLAN: Plan = Plan {
    name: "",
    shards: 1,
    bindings_max: 1,
    replace: true,
    raises_brief: false,
    algorithms: Algorithms::MD5,
    minutes: 20,
    loss: 8,
    delay_ms_max: 3000,
    restarts: false,
    overload: false,
    attack_ms_max: 2500,
};

fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs a plan under its seeds; what came about under all of them together.
fn run(plan: Plan) -> Seen {
    let one = from_env("SIM_SEED");
    let first = one.unwrap_or(1);
    let count = one.map_or_else(|| from_env("SIM_SEEDS").unwrap_or(SEEDS), |_| 1);
    let mut sum = Seen::default();
    for seed in first..first + count {
        sum += World::new(plan, seed).run();
    }
    eprintln!("{}: {sum:?}", plan.name);
    sum
}

#[test]
fn one_shard() {
    let seen = run(Plan { name: "one_shard", ..PLAN });
    assert!(seen.accepted > 0 && seen.repeated > 0 && seen.stale > 0, "{seen:?}");
    assert_eq!(seen.handoffs, 0);
}

#[test]
fn two_shards_and_two_bindings() {
    let plan = Plan {
        name: "two_shards_and_two_bindings",
        shards: 2,
        bindings_max: 2,
        raises_brief: true,
        algorithms: Algorithms::BOTH,
        ..PLAN
    };
    let seen = run(plan);
    assert!(seen.handoffs > 0, "{seen:?}");
}

#[test]
fn replacing_is_off() {
    let plan = Plan {
        name: "replacing_is_off",
        shards: 2,
        bindings_max: 2,
        replace: false,
        delay_ms_max: 12_000,
        ..PLAN
    };
    let seen = run(plan);
    assert!(seen.refused > 0 && seen.kicked == 0, "{seen:?}");
}

#[test]
fn five_shards_with_full_rings() {
    let plan = Plan {
        name: "five_shards_with_full_rings",
        shards: 5,
        bindings_max: 3,
        overload: true,
        attack_ms_max: 300,
        minutes: 8,
        ..PLAN
    };
    let seen = run(plan);
    assert!(seen.shed > 0, "{seen:?}");
}

#[test]
fn restarts_with_the_same_nonce_key() {
    let plan = Plan {
        name: "restarts_with_the_same_nonce_key",
        shards: 2,
        restarts: true,
        loss: 3,
        ..PLAN
    };
    let seen = run(plan);
    assert!(seen.restarts > 0, "{seen:?}");
}

#[test]
fn a_network_that_hardly_works() {
    let plan = Plan {
        name: "a_network_that_hardly_works",
        shards: 5,
        bindings_max: 2,
        loss: 40,
        delay_ms_max: 40_000,
        overload: true,
        restarts: true,
        ..PLAN
    };
    run(plan);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let plan = Plan {
        name: "the_same_seed_gives_the_same_trace",
        shards: 5,
        bindings_max: 2,
        overload: true,
        restarts: true,
        minutes: 6,
        ..PLAN
    };
    let hash = |seed| {
        let mut world = World::new(plan, seed);
        let seen = world.run();
        (world.hash, seen)
    };
    let seed = from_env("SIM_SEED").unwrap_or(1);
    assert_eq!(hash(seed), hash(seed));
    assert_ne!(hash(seed), hash(seed + 1));
}
