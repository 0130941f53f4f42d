//! The registrar behind its socket: CPU time of the reactor per request, and beside it the same
//! generator against a plane that answers the same requests without reading or remembering
//! anything. The second is what datagrams cost; the difference is what registering costs.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aorta::config;
use aorta::limits::BATCH_MAX;
use aorta::reactor::{
    Backend, Plane, Reactors, Settings, allowed_cpus, io_uring_allowed, multishot_receive_allowed,
};
use aorta::shard::mesh::{default_slots, mesh};
use aorta::shard::owner::Ownership;
use aorta::shard::{Datagram, Handled, Shard, ShardId};
use aorta::time::{Instant, Now};
use aorta_load::{Options, Pace, Roster, Scenario, report, run};

use super::figures::median;
use super::phones::DOMAIN;
use super::set_up::{keys, shard};

/// The registrar is to reach this share of the datagram ceiling.
const OF_THE_CEILING_MIN: f64 = 0.75;

/// Who answers.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Registrar,
    Canned,
}

/// Figures of one run.
#[derive(Clone, Copy)]
struct Figures {
    cpu_ns: f64,
    per_second: f64,
}

/// How long the runs are.
pub struct Length {
    pub accounts: u32,
    pub seconds: u64,
    pub rounds: usize,
}

/// Challenged registrations and refreshes, at one reactor.
pub fn costs(length: &Length) {
    println!("\nover loopback, one reactor, {} accounts, server CPU per request", length.accounts);
    if let Err(error) = io_uring_allowed() {
        println!("  SKIPPED: {error}");
        return;
    }
    let cpus = allowed_cpus();
    let [server, generator, ..] = cpus[..] else {
        println!("  SKIPPED: server and generator need a CPU each, and there is one");
        return;
    };
    let mut backends = vec![(Backend::Mmsg, "mmsg")];
    match multishot_receive_allowed() {
        Ok(()) => backends.push((Backend::Uring, "uring")),
        Err(error) => println!("  SKIPPED: uring: {error}"),
    }
    for (backend, name) in backends {
        for scenario in [Scenario::REFRESH, Scenario::REGISTER] {
            let measure = |who| measured(who, backend, scenario, (server, generator), length);
            let (mut registrar, mut canned) = (Vec::new(), Vec::new());
            for _ in 0..length.rounds {
                registrar.push(measure(Who::Registrar));
                canned.push(measure(Who::Canned));
            }
            let [registrar, canned] = [registrar, canned].map(|figures| {
                let of = |figure: fn(&Figures) -> f64| {
                    median(&mut figures.iter().map(figure).collect::<Vec<_>>())
                };
                Figures { cpu_ns: of(|f| f.cpu_ns), per_second: of(|f| f.per_second) }
            });
            let share = canned.cpu_ns / registrar.cpu_ns;
            let held = if share >= OF_THE_CEILING_MIN { "held" } else { "MISSED" };
            println!(
                "  {name}, {:<9} registrar {:>6.0} ns, {:>4.0} k/s   canned answers {:>6.0} ns, \
                 {:>4.0} k/s   {:>3.0} % of the ceiling (limit {:.0} %, {held})",
                scenario.name,
                registrar.cpu_ns,
                registrar.per_second / 1e3,
                canned.cpu_ns,
                canned.per_second / 1e3,
                share * 100.0,
                OF_THE_CEILING_MIN * 100.0
            );
        }
    }
}

/// What it costs to time one batch in so many, and to read what was timed.
pub fn timing(length: &Length) {
    println!("\nbatches timed, one reactor, refreshes over loopback, server CPU per request");
    let cpus = allowed_cpus();
    let ([server, generator, ..], Ok(())) = (&cpus[..], io_uring_allowed()) else {
        println!("  SKIPPED: that takes io_uring, and a CPU each for server and generator");
        return;
    };
    let cpus = (*server, *generator);
    let one_in = [0, 32, 1];
    let mut costs = [const { Vec::new() }; 3];
    for _ in 0..length.rounds {
        for (costs, one_in) in costs.iter_mut().zip(one_in) {
            let settings = Settings { time_one_in: one_in, ..settings(Backend::Mmsg, cpus.0) };
            let load = |target| load(target, Scenario::REFRESH, cpus.1, length);
            costs.push(served(settings, registrar(length), load).cpu_ns);
        }
    }
    for (costs, one_in) in costs.iter_mut().zip(one_in) {
        println!("  one in {one_in:<4} {:>6.0} ns", median(costs));
    }
    const READINGS: u32 = 1000;
    let settings = settings(Backend::Mmsg, cpus.0);
    let running = Reactors::start(settings, mesh(1, default_slots(1)), vec![|_| Canned])
        .unwrap_or_else(|error| panic!("{error}"));
    let meter = running.meter();
    let start = std::time::Instant::now();
    for _ in 0..READINGS {
        std::hint::black_box(meter.service_times());
    }
    let each = start.elapsed() / READINGS;
    println!("  what a reactor has timed is read in {each:?}, on the reader's thread");
}

fn settings(backend: Backend, cpu: usize) -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        cpus: vec![cpu],
        backend,
        ..Settings::default()
    }
}

fn registrar(length: &Length) -> impl FnOnce(ShardId) -> Shard + Send + 'static {
    let accounts = length.accounts as usize;
    move |id| shard(id, Ownership::new([5; 16], 1), keys(), config::Guard::default(), accounts)
}

fn measured(
    who: Who,
    backend: Backend,
    scenario: Scenario,
    (server, generator): (usize, usize),
    length: &Length,
) -> Figures {
    let settings = settings(backend, server);
    let load = |target| load(target, scenario, generator, length);
    match who {
        Who::Registrar => served(settings, registrar(length), load),
        Who::Canned => served(settings, |_| Canned, load),
    }
}

/// Runs `load` against one reactor with that plane.
fn served<P: Plane>(
    settings: Settings,
    make: impl FnOnce(ShardId) -> P + Send + 'static,
    load: impl FnOnce(SocketAddr) -> Figures,
) -> Figures {
    let running = Reactors::start(settings, mesh(1, default_slots(1)), vec![make])
        .unwrap_or_else(|error| panic!("{error}"));
    let figures = load(running.bound()[0].address);
    running.stop();
    let finished = running.join();
    assert!(finished[0].counters.send_failed == 0, "{:?}", finished[0].counters);
    figures
}

/// One closed-loop run. Counted from its first second to its last, warm-up and end left out.
fn load(target: SocketAddr, scenario: Scenario, cpu: usize, length: &Length) -> Figures {
    let roster = Roster::numbered("u{n}", "p{n}", DOMAIN, 1, length.accounts).expect("names");
    let mut options = Options::new(scenario, target, roster);
    options.duration = Duration::from_secs(length.seconds + 1);
    options.pace = Pace::Window(8 * BATCH_MAX as u32);
    options.cpus = vec![cpu];
    options.sockets = 64;
    let mut ticks: Vec<(Duration, u64, u64)> = Vec::new();
    let outcome = run(&options, &AtomicBool::new(false), &mut |progress| {
        if !progress.warming {
            ticks.push((progress.elapsed, progress.tally.requests, reactor_cpu_ns()));
        }
    });
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.is_clean(), "{}", report::table(&outcome));
    let [(from, before, cpu_before), .., (to, after, cpu_after)] = ticks[..] else {
        panic!("{} seconds are too few to measure", ticks.len())
    };
    let requests = (after - before) as f64;
    Figures {
        cpu_ns: (cpu_after - cpu_before) as f64 / requests,
        per_second: requests / (to - from).as_secs_f64(),
    }
}

/// CPU time of the reactor's thread so far, as the scheduler counts it.
fn reactor_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    for task in tasks.flatten() {
        let of = |name: &str| std::fs::read_to_string(task.path().join(name));
        if of("comm").is_ok_and(|name| name.starts_with("reactor-0")) {
            let schedstat = of("schedstat").expect("a kernel with schedstat");
            let ran = schedstat.split(' ').next().and_then(|ns| ns.parse().ok());
            return ran.expect("nanoseconds");
        }
    }
    panic!("no reactor runs")
}

/// Answers every request as the registrar would, from the request's own lines: 401 to what has no
/// credentials, otherwise 200 with its contact.
struct Canned;

const CHALLENGE: &[u8] = b"WWW-Authenticate: Digest realm=\"example.com\", \
    nonce=\"AAAAAAAAAAAAAAAAAAAA\", algorithm=MD5, qop=\"auth\"\r\n";

impl Plane for Canned {
    type Final = ();
    type Control = ();
    type Reply = ();

    fn receive(&mut self, _: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        let mut len = 0;
        let mut put = |bytes: &[u8]| {
            out[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        };
        // The status line is patched once it is known; both have three digits.
        put(b"SIP/2.0 401 OK\r\n");
        let mut authorized = false;
        let mut contact: &[u8] = b"";
        let mut rest = datagram.bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            match line {
                [b'V', b'i', b'a', ..] | [b'F', b'r', ..] | [b'C', b'a' | b'S', ..] => put(line),
                [b'T', b'o', ..] => {
                    put(&line[..line.len() - 2]);
                    put(b";tag=0123456789abcdef\r\n");
                }
                [b'C', b'o', b'n', b't', b'a', ..] => contact = line,
                [b'A', b'u', ..] => authorized = true,
                _ => {}
            }
        }
        if authorized {
            let end = memchr::memchr(b'>', contact).map_or(0, |at| at + 1);
            put(&contact[..end]);
            put(b";expires=60\r\n");
        } else {
            put(CHALLENGE);
        }
        put(b"Content-Length: 0\r\n\r\n");
        if authorized {
            out[8..11].copy_from_slice(b"200");
        }
        Handled::Reply { to: datagram.source, len }
    }

    fn receive_handoff(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
        unreachable!("there is one reactor")
    }

    fn turn(&mut self, _: Now) -> Option<Instant> {
        None
    }

    fn control(&mut self, _: Now, (): ()) {}

    fn finish(self, _: Now) {}
}
