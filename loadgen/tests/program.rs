//! The program: exit statuses, its last line, its files.

mod served;
mod stub;

use aorta_load::Summary;
use aorta_load::attack::report::AttackSummary;
use aorta_load::nat::report::NatSummary;
use served::Served;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use stub::{Fault, Registrar};

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aorta-load")).args(arguments).output().unwrap()
}

fn against(fault: Fault, scenario: &str, more: &[&str]) -> Output {
    let served = Served::start("127.0.0.1", Registrar::new(fault), Duration::ZERO).unwrap();
    let target = served.address.to_string();
    let mut arguments = vec![
        scenario,
        "--target",
        &target,
        "--users",
        "20",
        "--seconds",
        "100ms",
        "--threads",
        "1",
    ];
    arguments.extend(more);
    program(&arguments)
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit status")
}

#[test]
fn a_clean_run_is_status_0_and_ends_with_the_summary() {
    let output = against(Fault::None, "register", &["--json"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(code(&output), 0, "{text}");
    let summary: Summary = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((summary.scenario.as_str(), summary.lost, summary.wrong), ("register", 0, 0));
    assert!(summary.registrations > 0 && text.contains("p99.99"));
}

#[test]
fn offload_is_on_unless_said_otherwise_and_the_summary_says_which() {
    for (more, on) in
        [(&[][..], true), (&["--offload", "on"], true), (&["--offload", "off"], false)]
    {
        let output = against(Fault::None, "register", &[&["--json"], more].concat());
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(code(&output), 0, "{text}");
        let summary: Summary = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary.offload, on);
    }
}

#[test]
fn wrong_and_lost_are_status_1_and_shown() {
    let wrong = against(Fault::LongerExpiry, "register", &[]);
    let text = String::from_utf8(wrong.stdout.clone()).unwrap();
    assert_eq!(code(&wrong), 1, "{text}");
    assert!(text.contains("granted more time than asked for") && text.contains("FAILED"));
    assert!(text.contains("SIP/2.0 200"), "a sample is shown: {text}");
    let lost = against(Fault::Silence, "register", &["--timeout", "100ms"]);
    assert_eq!(code(&lost), 1);
    let accepted = against(Fault::AcceptsAnything, "wrong", &[]);
    assert_eq!(code(&accepted), 1);
    let refused = against(Fault::None, "wrong", &[]);
    assert_eq!(code(&refused), 0);
}

#[test]
fn usage_is_status_2() {
    let long = u64::MAX.to_string();
    for arguments in [
        &[][..],
        &["register"],
        &["registr", "--target", "127.0.0.1:9"],
        &["register", "--target", "127.0.0.1:0"],
        &["register", "--target", "127.0.0.1:9", "--rate", "0"],
        &["register", "--target", "127.0.0.1:9", "--rate", "-5"],
        &["flap", "--target", "127.0.0.1:9", "--bindings-max", "0"],
        &["register", "--target", "127.0.0.1:9", "--rate", "5", "--window", "5"],
        &["register", "--target", "127.0.0.1:9", "--users", "0"],
        &["register", "--target", "127.0.0.1:9", "--users", &long],
        &["register", "--target", "127.0.0.1:9", "--seconds", "3 weeks"],
        &["register", "--target", "127.0.0.1:9", "--seconds", "-1"],
        &["register", "--target", "127.0.0.1:9", "--algorithm", "sha-1"],
        &["register", "--target", "127.0.0.1:9", "--cpus", "x"],
        &["register", "--target", "127.0.0.1:9", "--offload", "maybe"],
        &["register", "--target", "127.0.0.1:9", "--source", "127.0.0.9-127.0.0.1"],
        &["register", "--target", "127.0.0.1:9", "--source", "::1"],
        &["storm", "--target", "127.0.0.1:9", "--rate", "5"],
        &["storm", "--target", "127.0.0.1:9", "--loss", "91"],
        &["nat", "--target", "127.0.0.1:9", "--loss", "5"],
        &["mixed", "--target", "127.0.0.1:9", "--weights", "invite=3"],
        &["register", "--target", "127.0.0.1:9", "--subscribers", "/no/such/file"],
        &["register", "--target", "no-such-host.invalid:5060"],
    ] {
        let output = program(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_world_refusing_is_status_1_with_a_remedy() {
    let output = program(&["register", "--target", "127.0.0.1:9", "--cpus", "4000"]);
    assert_eq!(code(&output), 1);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("CPU 4000") && text.contains("may use"), "{text}");
}

#[test]
fn a_report_that_has_nowhere_to_go_is_refused_before_the_run() {
    let served = Served::start("127.0.0.1", Registrar::new(Fault::None), Duration::ZERO).unwrap();
    let target = served.address.to_string();
    let output = program(&["register", "--target", &target, "--out", "/dev/null/report"]);
    assert_eq!(code(&output), 1);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("/dev/null/report"), "{text}");
}

#[test]
fn help_shows_the_placeholder_of_a_format() {
    let text = String::from_utf8(program(&["--help"]).stdout).unwrap();
    assert!(text.contains("[default: u{n}]"), "{text}");
    let names = text.lines().find(|line| line.contains("--user-format")).unwrap();
    assert!(names.contains("{n:06} stands for the number"), "{text}");
}

#[test]
fn list_names_every_scenario_on_a_line() {
    let output = program(&["list"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(code(&output), 0);
    for name in ["register", "refresh", "storm", "flap", "wrong", "mixed", "challenge"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
    }
}

#[test]
fn source_addresses_may_be_a_range_and_the_digest_sha_256() {
    let served = {
        let mut registrar = Registrar::new(Fault::None);
        registrar.algorithms = vec!["MD5", "SHA-256"];
        Served::start("127.0.0.1", registrar, Duration::ZERO).unwrap()
    };
    let target = served.address.to_string();
    let output = program(&[
        "refresh",
        "--target",
        &target,
        "--users=20",
        "--seconds=100ms",
        "--source=127.0.0.2-127.0.0.4,127.0.0.9",
        "--algorithm=sha-256",
        "--rate=500",
        "--threads=2",
        "--cpus=0",
    ]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(served.stop().complaints, Vec::<String>::new());
}

#[test]
fn phones_behind_nats_end_with_a_summary_and_a_status_of_their_own() {
    for (timeout, status) in [("10s", 0), ("50ms", 1)] {
        let more = ["--nat-timeout", timeout, "--mapping=symmetric", "--ports=mixed", "--json"];
        let output = against(Fault::None, "nat", &more);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(code(&output), status, "{text}");
        let last = text.lines().last().unwrap();
        let summary: NatSummary = serde_json::from_str(last).unwrap();
        assert_eq!(
            (summary.run.lost, summary.run.registrations, summary.nat.unregistered),
            (0, 20, 0)
        );
        assert_eq!(summary.nat.failed_to_hold, 20 * u64::from(status == 1));
        assert_eq!(summary.nat.kinds.len(), 2);
        // A script that knows the other scenarios' summary can read this one.
        let plain: Summary = serde_json::from_str(last).unwrap();
        assert_eq!(plain, summary.run);
    }
    let list = String::from_utf8(program(&["list"]).stdout).unwrap();
    assert!(list.contains("\nnat  "), "{list}");
    for wrong in
        [["register", "--nat-timeout=30"], ["nat", "--mapping=cone"], ["nat", "--phones-per-nat=0"]]
    {
        assert_eq!(code(&against(Fault::None, wrong[0], &wrong[1..])), 2, "{wrong:?}");
    }
}

#[test]
fn an_interrupt_prints_what_there_is() {
    let registrar = Registrar::new(Fault::None);
    let served = Served::start("127.0.0.1", registrar, Duration::ZERO).unwrap();
    let target = served.address.to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_aorta-load"))
        .args(["register", "--target", &target, "--users", "9", "--seconds", "600", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    served.wait_for_requests(20);
    let id = child.id().to_string();
    // timeout(1) signals the process and then its group: two signals that are one.
    let kill = format!("kill -INT {id} && kill -INT {id} && kill -TERM {id}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: Summary = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(summary.interrupted && summary.registrations > 0, "{text}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn accounts_of_a_file_are_used_and_a_bad_line_is_named() {
    let name = format!("aorta-load-subscribers-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, "# two\nu1@example.com p1\nu2@example.com p2\n").unwrap();
    let path = file.to_str().unwrap();
    let output = against(Fault::None, "register", &["--subscribers", path]);
    assert_eq!(code(&output), 0);
    std::fs::write(&file, "u1@example.com p1\nu2 p2\n").unwrap();
    let output = against(Fault::None, "register", &["--subscribers", path]);
    assert_eq!(code(&output), 2);
    assert!(String::from_utf8(output.stderr).unwrap().contains(":2: "));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn an_attack_ends_with_a_summary_and_a_status_of_its_own() {
    // Nobody who has no defence stands it, and whoever says nothing does.
    for (fault, status) in [(Fault::None, 1), (Fault::Silence, 0)] {
        let served = Served::start("127.0.0.1", Registrar::new(fault), Duration::ZERO).unwrap();
        let target = served.address.to_string();
        let output = program(&[
            "attack",
            "--target",
            &target,
            "--users",
            "20",
            "--phases",
            "scan,sources",
            "--sources=50",
            "--flood-rate=500",
            "--json",
            "--quiet",
        ]);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(code(&output), status, "{text}");
        let summary: AttackSummary = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary.run.scenario, "attack");
        assert_eq!(summary.attack.failed.is_empty(), status == 0);
        assert_eq!(summary.attack.sources.unwrap().sources, 50);
    }
    let list = String::from_utf8(program(&["list"]).stdout).unwrap();
    assert!(list.contains("\nattack  "), "{list}");
    for wrong in [
        ["register", "--target=127.0.0.1:9", "--retry=3"],
        ["attack", "--target=127.0.0.1:9", "--window=3"],
        ["attack", "--target=192.0.2.1:9", "--quiet"],
        ["attack", "--target=127.0.0.1:9", "--phases=blocked"],
        ["attack", "--target=127.0.0.1:9", "--phases=storm"],
    ] {
        assert_eq!(code(&program(&wrong)), 2, "{wrong:?}");
    }
}
