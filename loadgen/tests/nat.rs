//! Whole runs behind NATs over loopback, against a registrar that keeps its promise, or does not.

mod stub;

use aorta_load::nat::report::{NatSummary, table, write_files};
use aorta_load::nat::{Choice, Mapping, NatOptions, NatOutcome, Ports, Refresh, run};
use aorta_load::{Error, Pace, Roster};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use stub::{Fault, Registrar};

const PHONES: u32 = 60;
const PERIOD: Duration = Duration::from_millis(150);
const OPTIONS: &[u8] = b"OPTIONS sip:u1@192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.2;rport;branch=z9hG4bKping1\r\nFrom: <sip:p@192.0.2.2>;tag=p\r\n\
    To: <sip:u1@192.0.2.1>\r\nCall-ID: ping1\r\nCSeq: 7 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// A registrar that pings whoever it granted a registration, each in a turn of its own.
struct Pinger {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Registrar>>,
}

impl Pinger {
    fn start(fault: Fault, ping: Option<&'static [u8]>) -> Pinger {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut registrar = Registrar::new(fault);
            let mut buffer = [0u8; 4096];
            let mut due: HashMap<SocketAddr, Instant> = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    for answer in registrar.answer(&buffer[..length]) {
                        socket.send_to(&answer, from).unwrap();
                        if answer.starts_with(b"SIP/2.0 200 ") {
                            // Not all at once, and well within the period.
                            let early = PERIOD * (due.len() as u32 % 64) / 128;
                            due.insert(from, Instant::now() + PERIOD - early);
                        }
                    }
                }
                let Some(ping) = ping else { continue };
                for (to, at) in &mut due {
                    if Instant::now() + Duration::from_millis(20) >= *at {
                        socket.send_to(ping, to).unwrap();
                        *at = Instant::now() + PERIOD;
                    }
                }
            }
            registrar
        });
        Pinger { address, stop, thread: Some(thread) }
    }

    fn stop(mut self) -> Registrar {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn options(target: SocketAddr) -> NatOptions {
    let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, PHONES).unwrap();
    let mut options = NatOptions::new(target, roster);
    options.run.duration = Duration::from_millis(700);
    options.run.pace = Pace::Window(16);
    // Far longer than a period: a machine with much to do is no closed pinhole.
    options.timeout = Duration::from_millis(600);
    options.period = Duration::from_millis(500);
    options
}

fn go(options: &NatOptions) -> NatOutcome {
    run(options, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

fn told(outcome: &NatOutcome) -> String {
    table(outcome)
}

#[test]
fn keepalives_in_time_hold_every_pinhole() {
    for threads in [1, 2] {
        let pinger = Pinger::start(Fault::None, Some(b"HELLO"));
        let mut options = options(pinger.address);
        options.ports = Choice::Mixed;
        options.run.threads = threads;
        let outcome = go(&options);
        let sum = outcome.figures.sum();
        assert!(outcome.is_clean(), "{}", told(&outcome));
        assert_eq!((sum.phones, sum.closings, sum.unreachable), (60, 0, 0), "{}", told(&outcome));
        assert_eq!(outcome.run.tally.registrations, 60);
        assert!(sum.pings >= 60 * 3, "{}", told(&outcome));
        let counted: u32 = outcome.figures.buckets.iter().sum();
        assert!(u64::from(counted) <= sum.pings && counted > 0);
        assert_eq!(outcome.figures.buckets.len(), 70);
        let strays = (outcome.figures.queue_drops, outcome.figures.to_nobody);
        assert_eq!(strays, (0, 0), "{}", told(&outcome));
        assert_eq!(pinger.stop().complaints, Vec::<String>::new());
    }
}

#[test]
fn without_keepalives_every_phone_is_lost_and_the_run_says_so() {
    let pinger = Pinger::start(Fault::None, None);
    let mut options = options(pinger.address);
    options.timeout = Duration::from_millis(200);
    let outcome = go(&options);
    let sum = outcome.figures.sum();
    assert_eq!((sum.closed_phones, sum.unreachable, sum.pings), (60, 60, 0), "{}", told(&outcome));
    assert_eq!(outcome.failed_to_hold(), 60);
    assert!(!outcome.is_clean() && told(&outcome).contains("FAILED"));
    assert!(sum.unreachable_max > 100_000_000 && outcome.run.is_clean());
}

#[test]
fn a_nat_refreshed_by_outbound_packets_needs_options_and_phones_that_answer() {
    let ran = |ping, answer, refresh| {
        let pinger = Pinger::start(Fault::None, Some(ping));
        let mut options = options(pinger.address);
        (options.answer, options.refresh) = (answer, refresh);
        let outcome = go(&options);
        let registrar = pinger.stop();
        assert_eq!(registrar.complaints, Vec::<String>::new());
        assert_eq!(registrar.options_answered > 0, answer && ping == OPTIONS);
        outcome
    };
    let outbound = Choice::Only(Refresh::Outbound);
    assert!(ran(OPTIONS, true, outbound).is_clean());
    assert!(!ran(OPTIONS, false, outbound).is_clean());
    assert!(!ran(b"HELLO", true, outbound).is_clean());
    // Beside NATs that it holds, HELLO is not blamed for those that it cannot.
    let mixed = ran(b"HELLO", true, Choice::Mixed);
    assert!(mixed.is_clean(), "{}", told(&mixed));
    assert_eq!(mixed.figures.sum().unreachable, u64::from(PHONES) / 2, "{}", told(&mixed));
    // With OPTIONS alone all of them are to be held.
    let mixed = ran(OPTIONS, true, Choice::Mixed);
    assert!(mixed.is_clean() && mixed.figures.sum().unreachable == 0, "{}", told(&mixed));
}

#[test]
fn a_server_that_grants_nothing_fails_the_run() {
    let pinger = Pinger::start(Fault::Status(500), Some(b"HELLO"));
    let outcome = go(&options(pinger.address));
    assert!(outcome.run.tally.wrong >= 60 && !outcome.is_clean());
    assert_eq!((outcome.figures.unregistered, outcome.figures.sum().unreachable), (60, 0));
    let pinger = Pinger::start(Fault::Silence, None);
    let mut options = options(pinger.address);
    options.run.timeout = Duration::from_millis(100);
    options.run.duration = Duration::from_secs(600);
    let outcome = go(&options);
    assert!(outcome.run.tally.lost >= 16 && !outcome.is_clean(), "{}", told(&outcome));
}

#[test]
fn a_run_can_be_stopped_and_the_files_say_what_was_measured() {
    let pinger = Pinger::start(Fault::None, Some(b"HELLO"));
    let mut options = options(pinger.address);
    options.run.duration = Duration::from_secs(600);
    options.mapping = Choice::Only(Mapping::Symmetric);
    options.ports = Choice::Only(Ports::Keep);
    let stop = AtomicBool::new(false);
    let outcome = run(&options, &stop, &mut |progress| {
        assert_eq!((progress.users, progress.failed), (PHONES, 0));
        stop.store(true, Ordering::Relaxed);
    })
    .unwrap();
    assert!(outcome.run.interrupted && outcome.measured_seconds < 60.0);
    assert!(outcome.is_clean(), "{}", told(&outcome));

    let directory = std::env::temp_dir().join(format!("aorta-load-nat-{}", std::process::id()));
    write_files(&outcome, &directory).unwrap();
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let summary: NatSummary = serde_json::from_str(&read("summary.json")).unwrap();
    assert_eq!(summary, NatSummary::from(&outcome));
    assert_eq!((summary.run.scenario.as_str(), summary.run.lost), ("nat", 0));
    assert_eq!(summary.nat.all.phones, u64::from(PHONES));
    assert_eq!(summary.nat.kinds.keys().collect::<Vec<_>>(), ["symmetric/both/keep"]);
    let pings = read("pings.csv");
    assert_eq!(pings.lines().count(), 1 + outcome.figures.buckets.len());
    assert_eq!(pings.lines().nth(2).unwrap().split(',').next(), Some("0.01"));
    for name in ["gaps.hgrm", "latency.hgrm", "registration.hgrm"] {
        assert!(read(name).contains("#[Max"), "{name}");
    }
    let page = read("report.html");
    assert!(page.contains("<svg") && page.contains("symmetric/both/keep"), "{page}");
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_the_host_cannot_send_from_is_refused_before_the_run() {
    let mut options = options("127.0.0.1:5060".parse().unwrap());
    options.run.sources = vec!["192.0.2.1".parse().unwrap()];
    options.phones = 31;
    options.run.roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 20).unwrap();
    let refused = run(&options, &AtomicBool::new(false), &mut |_| {});
    assert!(matches!(refused, Err(Error::Option(why)) if why.contains("192.0.2.1")));
}
