//! Whole attacks over loopback, against a registrar that has no defence at all: the attacker sees
//! that, so it can also see a defence.

mod served;
mod stub;

use aorta_load::attack::report::{AttackSummary, table, write_files};
use aorta_load::attack::{AttackOptions, AttackOutcome, Phase, run};
use aorta_load::{Pace, Roster};
use served::Served;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use stub::{Fault, Registrar};

fn options(served: &Served, phases: &[Phase]) -> AttackOptions {
    let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 40).unwrap();
    let mut options = AttackOptions::new(served.address, roster);
    options.phases = phases.to_vec();
    options.run.pace = Pace::Rate(200.0);
    options.run.duration = Duration::from_secs(1);
    options.flood_rate = 500.0;
    (options.accounts, options.passwords, options.guessers) = (5, 40, 2);
    options.guess_rate = 5000.0;
    (options.sources, options.failures) = (500, 200);
    options
}

fn attack(fault: Fault, phases: &[Phase]) -> AttackOutcome {
    let served = Served::start("127.0.0.1", Registrar::new(fault), Duration::ZERO).unwrap();
    let options = options(&served, phases);
    run(&options, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

#[test]
fn without_a_suspension_every_guess_is_checked_and_the_last_one_opens_the_account() {
    let outcome = attack(Fault::None, &[Phase::Guess]);
    let guess = outcome.guess.as_ref().unwrap();
    let told = table(&outcome);
    assert_eq!((guess.guesses, guess.shut_out, guess.cracked), (200, 0, 5), "{told}");
    assert!(guess.checked + guess.stale + guess.unanswered >= 195, "{told}");
    assert_eq!(guess.checked_max, 5 * 2 * 6);
    assert!(guess.owners_registered > 0 && guess.owners_failed == 0, "{told}");
    let failed = outcome.failed();
    assert!(failed[0].contains("guesses were checked, as its answers show: at most 60"));
    assert!(failed[1].contains("5 accounts were opened") && told.ends_with("FAILED\n"));
}

#[test]
fn a_registrar_that_talks_to_everybody_is_seen_to_do_so() {
    let outcome = attack(Fault::None, &[Phase::Scan, Phase::Sources, Phase::Failures]);
    let scan = outcome.scan.as_ref().unwrap();
    assert_eq!(scan.kits.len(), 7);
    // It is a registrar that knows OPTIONS.
    assert!(scan.kits.values().all(|kit| kit.sent == 20 && kit.answered > 0), "{scan:?}");
    assert_eq!((scan.walk.sent, scan.harmless.answered), (200, 3));
    assert!(outcome.failed().iter().any(|line| line.starts_with("friendly-scanner got ")));
    assert!(outcome.failed().iter().any(|line| line.starts_with("a walk through numbers got ")));
    let sources = outcome.sources.as_ref().unwrap();
    assert_eq!((sources.sources, sources.answered), (500, 500));
    let failures = outcome.failures.as_ref().unwrap();
    assert_eq!((failures.begun, failures.failed, failures.unknown), (200, 200, 100));
}

#[test]
fn silence_is_told_from_answers() {
    let outcome = attack(Fault::Silence, &[Phase::Scan]);
    assert_eq!(outcome.failed(), Vec::<String>::new());
    assert_eq!(outcome.scan.unwrap().harmless.answered, 0);
}

#[test]
fn the_honest_are_measured_without_the_flood_and_with_it() {
    let outcome = attack(Fault::None, &[Phase::Flood]);
    let flood = outcome.flood.as_ref().unwrap();
    let told = table(&outcome);
    assert_eq!(flood.lost, 0, "{told}");
    assert!(flood.sent > 300 && flood.answered == flood.sent, "{told}");
    assert!(flood.p99_us_without > 0.0 && flood.p99_us_with > 0.0, "{told}");
    assert!((150.0..250.0).contains(&flood.honest_rate_with), "{told}");
    let summary = AttackSummary::from(&outcome);
    assert_eq!((summary.run.scenario.as_str(), summary.run.lost), ("attack", 0));
    assert!(summary.run.requests > 400 && summary.attack.guess.is_none());
    let read: AttackSummary = serde_json::from_str(&summary.to_json()).unwrap();
    assert_eq!(read.attack, summary.attack);
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("attack-report");
    write_files(&outcome, &directory).unwrap();
    let page = std::fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(page.contains("<polyline") && page.contains("flood beside honest refreshes"));
    assert!(directory.join("summary.json").is_file() && directory.join("latency.hgrm").is_file());
}

#[test]
fn an_attack_can_be_interrupted() {
    let served = Served::start("127.0.0.1", Registrar::new(Fault::None), Duration::ZERO).unwrap();
    let outcome = run(&options(&served, &[Phase::Guess]), &AtomicBool::new(true), &mut |_| {});
    let outcome = outcome.unwrap();
    assert!(outcome.run.interrupted && outcome.guess.is_none());
}
