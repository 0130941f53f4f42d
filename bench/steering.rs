//! What it costs that a request meets another reactor than the one that owns its account, and what
//! steering saves of that: two reactors with registrars behind real sockets, and phones whose
//! accounts are chosen by who owns them and which reactor the kernel's hash gives their sockets to.
//!
//! `cargo bench --bench steering`, `-- --quick` for a short one, `-- --json` for a last line that
//! `bench/handoff_model/model.py` reads. All servers are there at once and take turns, so that
//! their figures are of one run. CPU is that of the reactors' threads alone: what the phones take
//! of the two cores bounds the throughput here, not the cost.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "registrar/figures.rs"]
#[allow(dead_code, reason = "another bench uses the rest")]
mod figures;
#[path = "steering/office.rs"]
mod office;
#[path = "registrar/phones.rs"]
#[allow(dead_code, reason = "another bench uses the rest")]
mod phones;
#[path = "registrar/set_up.rs"]
#[allow(dead_code, reason = "another bench uses the rest")]
mod set_up;

use std::time::Duration;

use aorta::config::Steering;
use aorta::reactor::{io_uring_allowed, steering_allowed};

use figures::median;
use office::{Figures, Foreign, Office};

/// How much is measured.
struct Length {
    window: Duration,
    rounds: usize,
}

fn main() {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let length = match has("--quick") {
        true => Length { window: Duration::from_millis(200), rounds: 3 },
        false => Length { window: Duration::from_millis(500), rounds: 15 },
    };
    if let Err(error) = io_uring_allowed() {
        println!("SKIPPED: {error}");
        return;
    }
    let mut wanted = vec![
        ("foreign   0 %", Steering::Off, Foreign::Share(0)),
        ("foreign  50 %", Steering::Off, Foreign::Share(50)),
        ("foreign 100 %", Steering::Off, Foreign::Share(100)),
        ("as the hash has it, steering off", Steering::Off, Foreign::AsItComes),
    ];
    match steering_allowed() {
        Ok(()) => {
            wanted.push(("as the hash has it, steering on", Steering::On, Foreign::AsItComes));
            wanted.push((
                "foreign 100 % by the hash, steering on",
                Steering::On,
                Foreign::Share(100),
            ));
        }
        Err(why) => println!("SKIPPED: steering on: {why}"),
    }
    let mut offices: Vec<(&str, Office, Vec<Figures>)> = wanted
        .into_iter()
        .map(|(name, steering, foreign)| (name, Office::open(steering, foreign), Vec::new()))
        .collect();
    for (_, office, _) in &mut offices {
        office.warm_up();
    }
    for _ in 0..length.rounds {
        for (_, office, figures) in &mut offices {
            figures.push(office.run(length.window));
        }
    }
    println!(
        "refreshes at two reactors, {} rounds of {} ms each in turn, medians\n",
        length.rounds,
        length.window.as_millis()
    );
    println!("{:40} {:>10} {:>10} {:>10} {:>9}", "", "foreign", "CPU ns", "to first", "k/s");
    let mut first = None;
    let mut json = Vec::new();
    for (name, office, figures) in offices {
        let of = |figure: fn(&Figures) -> f64| {
            median(&mut figures.iter().map(figure).collect::<Vec<_>>())
        };
        let (cpu, foreign) = (of(|one| one.cpu_ns), of(|one| one.foreign));
        let per_second = of(|one| one.per_second);
        let base = *first.get_or_insert(cpu);
        println!(
            "{name:40} {:>8.1} % {cpu:>10.0} {:>10.2} {:>9.0}",
            foreign * 100.0,
            cpu / base,
            per_second / 1e3
        );
        json.push(format!(
            "{{\"name\": \"{name}\", \"foreign\": {foreign:.4}, \"cpu_ns\": {cpu:.0}, \
             \"per_second\": {per_second:.0}}}"
        ));
        let said = office.close();
        if !said.is_empty() {
            println!("    since the start: {said}");
        }
    }
    if has("--json") {
        println!("{{\"steering\": [{}]}}", json.join(", "));
    }
}
