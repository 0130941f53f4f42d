//! Whole runs of the library over loopback, against a registrar that may misbehave.

mod served;
mod stub;

use aorta_load::{Options, Outcome, Pace, Roster, Scenario, Summary, report, run};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use served::Served;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stub::{Fault, Registrar};

fn options(scenario: Scenario, served: &Served) -> Options {
    let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 40).unwrap();
    let mut options = Options::new(scenario, served.address, roster);
    options.duration = Duration::from_millis(300);
    options.pace = Pace::Window(8);
    options.sockets = 4;
    options
}

fn serve(fault: Fault) -> Served {
    Served::start("127.0.0.1", Registrar::new(fault), Duration::ZERO).unwrap()
}

fn go(options: &Options) -> Outcome {
    run(options, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

fn check(outcome: &Outcome) {
    let tally = &outcome.tally;
    assert_eq!(tally.sent + outcome.unsent, tally.requests + tally.lost + outcome.unfinished);
    assert_eq!(tally.statuses().map(|(_, count)| count).sum::<u64>(), tally.requests);
    assert_eq!(outcome.latencies.corrected.len(), tally.requests);
    assert_eq!(outcome.latencies.registration.len(), tally.registrations);
    let of_seconds: u64 = outcome.timeline.iter().map(|second| second.requests).sum();
    assert_eq!(of_seconds, tally.requests);
}

#[test]
fn every_scenario_runs_clean_against_an_honest_registrar() {
    for scenario in Scenario::all() {
        for (threads, pace) in [(1, Pace::Window(8)), (2, Pace::Rate(400.0))] {
            let served = serve(Fault::None);
            let mut options = options(scenario, &served);
            (options.threads, options.pace) = (threads, pace);
            let outcome = go(&options);
            let what = format!("{scenario:?} {pace:?}");
            assert!(outcome.is_clean(), "{what}: {}", report::table(&outcome));
            assert!(outcome.tally.requests >= 40, "{what}: {}", outcome.tally.requests);
            assert_eq!(outcome.tally.stray + outcome.tally.duplicates, 0, "{what}");
            if !scenario.warm_up {
                check(&outcome);
            }
            let registrar = served.stop();
            assert_eq!(registrar.complaints, Vec::<String>::new(), "{what}");
            if scenario.name == "storm" {
                assert_eq!(outcome.tally.registrations, 40);
            }
        }
    }
}

#[test]
fn what_a_server_sends_unasked_is_counted_and_answered_and_nothing_wrong() {
    for scenario in Scenario::all() {
        let served = serve(Fault::Keepalives);
        let outcome = go(&options(scenario, &served));
        assert!(outcome.is_clean(), "{scenario:?}: {}", report::table(&outcome));
        let tally = &outcome.tally;
        for (form, count) in tally.keepalives() {
            assert!(count > 0, "{scenario:?}: no {form:?}");
        }
        let summary = Summary::from(&outcome);
        assert_eq!(summary.keepalives["options"], summary.options_answered, "{scenario:?}");
        // A request that is no keepalive remains what nobody asked for.
        assert!(tally.stray > 0, "{scenario:?}");
        let registrar = served.stop();
        assert_eq!(registrar.complaints, Vec::<String>::new(), "{scenario:?}");
        assert!(registrar.options_answered > 0, "{scenario:?}");
    }
}

#[test]
fn an_open_loop_sends_what_was_planned_and_no_more() {
    let served = serve(Fault::None);
    let mut options = options(Scenario::REFRESH, &served);
    options.pace = Pace::Rate(1000.0);
    options.threads = 2;
    let outcome = go(&options);
    assert_eq!((outcome.tally.sent, outcome.tally.registrations), (300, 300));
}

#[test]
fn a_server_slower_than_the_plan_is_charged_for_the_wait() {
    let registrar = Registrar::new(Fault::None);
    let served = Served::start("127.0.0.1", registrar, Duration::from_millis(20)).unwrap();
    let mut options = options(Scenario::REFRESH, &served);
    // 40 phones can make 2000 requests a second at 20 ms each; four times that is planned.
    options.pace = Pace::Rate(8000.0);
    options.duration = Duration::from_millis(100);
    let outcome = go(&options);
    assert!(outcome.is_clean());
    assert_eq!(outcome.tally.sent, 800);
    let (corrected, uncorrected) =
        (outcome.latencies.corrected.max(), outcome.latencies.uncorrected.max());
    assert!(corrected > uncorrected + 100_000_000, "{corrected} {uncorrected}");
}

#[test]
fn both_address_families_and_source_addresses_are_used() {
    match Served::start("::1", Registrar::new(Fault::None), Duration::ZERO) {
        Ok(served) => assert!(go(&options(Scenario::REGISTER, &served)).is_clean()),
        Err(error) => eprintln!("skipped: no IPv6 on loopback ({error})"),
    }
    let served = serve(Fault::None);
    let mut options = options(Scenario::REGISTER, &served);
    options.sources = vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
    assert!(go(&options).is_clean());
    options.sources = vec!["::1".parse().unwrap()];
    assert!(run(&options, &AtomicBool::new(false), &mut |_| {}).is_err());
}

#[test]
fn misbehaviour_is_counted_as_what_it_is() {
    let short = |fault, timeout| {
        let served = serve(fault);
        let mut options = options(Scenario::REGISTER, &served);
        options.timeout = Duration::from_millis(timeout);
        options.duration = Duration::from_millis(50);
        let outcome = go(&options);
        check(&outcome);
        outcome
    };
    let silent = short(Fault::Silence, 100);
    assert!(silent.tally.lost >= 8 && silent.tally.requests == 0 && !silent.is_clean());
    let wrong = short(Fault::WrongContact, 5000);
    assert!(wrong.tally.wrong > 0 && wrong.tally.lost == 0 && !wrong.is_clean());
    assert!((1..=8).contains(&wrong.samples.len()));
    let stray = short(Fault::WrongBranch, 100);
    assert!(stray.tally.stray > 0 && stray.tally.lost > 0 && stray.tally.wrong == 0);
}

#[test]
fn an_answer_after_the_timeout_is_late() {
    let registrar = Registrar::new(Fault::None);
    let served = Served::start("127.0.0.1", registrar, Duration::from_millis(150)).unwrap();
    let mut options = options(Scenario::REGISTER, &served);
    options.timeout = Duration::from_millis(100);
    options.duration = Duration::from_millis(20);
    let outcome = go(&options);
    assert!(outcome.tally.lost > 0);
    assert_eq!(outcome.tally.late, outcome.tally.lost);
    assert!(!outcome.is_clean());
}

#[test]
fn what_fails_in_the_warm_up_fails_the_run() {
    let served = serve(Fault::LongerExpiry);
    let outcome = go(&options(Scenario::REFRESH, &served));
    assert!(!outcome.is_clean());
}

#[test]
fn a_warm_up_that_nobody_answers_ends_the_run() {
    let served = serve(Fault::Silence);
    let mut options = options(Scenario::REFRESH, &served);
    options.timeout = Duration::from_millis(100);
    options.duration = Duration::from_secs(60);
    let outcome = go(&options);
    assert!((8..40).contains(&outcome.tally.lost), "{}", outcome.tally.lost);
    assert!(!outcome.is_clean() && !outcome.interrupted && outcome.seconds < 1.0);
}

#[test]
fn a_dead_target_is_lost_and_said_to_be_unreachable() {
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let served = serve(Fault::None);
    let mut options = options(Scenario::REGISTER, &served);
    options.target = gone;
    options.timeout = Duration::from_millis(50);
    options.duration = Duration::from_millis(20);
    let outcome = go(&options);
    assert!(outcome.tally.unreachable > 0 && outcome.tally.lost > 0 && !outcome.is_clean());
    // A percentile over what was answered says nothing of what was not.
    let table = report::table(&outcome);
    let said = format!("{} lost requests that no latency above accounts for", outcome.tally.lost);
    assert!(table.contains(&said) && !table.contains("us a request"), "{table}");
    assert_eq!(Summary::from(&outcome).generator_cpu_us_per_request, 0.0);
}

#[test]
fn a_run_can_be_stopped() {
    let served = serve(Fault::None);
    let mut options = options(Scenario::REGISTER, &served);
    options.duration = Duration::from_secs(600);
    let stop = AtomicBool::new(false);
    let outcome = run(&options, &stop, &mut |progress| {
        assert!(progress.tally.requests > 0 && !progress.warming);
        stop.store(true, Ordering::Relaxed);
    })
    .unwrap();
    assert!(outcome.interrupted && outcome.seconds < 60.0);
    assert!(outcome.tally.registrations > 0);
    check(&outcome);
}

/// Quantile and count columns of a percentile file, values in nanoseconds.
fn read_hgrm(text: &str) -> Vec<(u64, f64, u64)> {
    let rows = text.lines().skip(2).filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let value = (fields[0].parse::<f64>().unwrap() * 1e6).round() as u64;
        (value, fields[1].parse().unwrap(), fields[2].parse().unwrap())
    })
    .collect()
}

#[test]
fn the_files_say_what_was_measured() {
    let served = serve(Fault::None);
    let mut options = options(Scenario::REGISTER, &served);
    options.duration = Duration::from_millis(1400);
    let outcome = go(&options);
    let directory = std::env::temp_dir().join(format!("aorta-load-files-{}", std::process::id()));
    report::write_files(&outcome, &directory).unwrap();
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();

    let summary: Summary = serde_json::from_slice(&read("summary.json")).unwrap();
    assert_eq!(summary, Summary::from(&outcome));
    assert_eq!(summary.statuses["200"], summary.registrations);

    let hgrm = read_hgrm(std::str::from_utf8(&read("latency.hgrm")).unwrap());
    let corrected = &outcome.latencies.corrected;
    // Where a quantile falls between two samples, rounding decides which of them it names.
    let one_sample = 1.0 / corrected.len() as f64;
    for (value, quantile, count) in &hgrm {
        let least = corrected.value_at_quantile((quantile - one_sample).max(0.0));
        let most = corrected.value_at_quantile((quantile + one_sample).min(1.0));
        assert!((least..=most).contains(value), "{value} at {quantile}: {least} to {most}");
        assert_eq!(*count, corrected.count_between(0, *value), "at {quantile}");
    }
    assert_eq!(hgrm.last().unwrap().2, corrected.len());
    assert_eq!(hgrm.last().unwrap().0, corrected.max());

    let log = read("latency.hlog");
    let text = String::from_utf8(log.clone()).unwrap();
    assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
    let mut sums = [corrected, corrected, corrected].map(Histogram::<u64>::new_from);
    let mut seconds = 0;
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let tag = interval.tag().map(|tag| tag.as_str().to_owned());
        let place = match tag.as_deref() {
            None => 0,
            Some("uncorrected") => 1,
            Some("registration") => 2,
            Some(other) => panic!("tag {other}"),
        };
        seconds += usize::from(place == 0);
        let bytes = base64(interval.encoded_histogram());
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        sums[place].add(&histogram).unwrap();
    }
    assert_eq!(seconds, outcome.timeline.len());
    assert!(seconds >= 2);
    assert_eq!(sums[0], *corrected);
    assert_eq!(sums[1], outcome.latencies.uncorrected);
    assert_eq!(sums[2], outcome.latencies.registration);

    let page = String::from_utf8(read("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 3);
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme"));
    std::fs::remove_dir_all(directory).unwrap();
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let digit = DIGITS.iter().position(|digit| *digit == byte).expect("base64") as u32;
        (bits, count) = (bits << 6 | digit, count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
