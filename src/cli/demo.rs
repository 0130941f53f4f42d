//! `aorta demo`: the registrar on loopback and the load generator beside it, so that a newcomer
//! sees within a minute what it does.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aorta_load::report::progress::ProgressLine;
use aorta_load::{Options, Outcome, Pace, Roster, Scenario, Summary};

use super::accounts::TEST_DOMAIN;
use super::args::DemoArgs;
use super::say::{note, print};
use super::server::Server;
use super::settings::set;
use super::{Failure, report};
use crate::config::Settings;
use crate::reactor::Signals;

/// Registrations under way for each thread of the load generator, unless the command line says
/// otherwise: enough that batches fill, few enough that the queue is not all that is measured.
const WINDOW_PER_THREAD: u32 = 128;

/// Runs the storm, shows what it measured and, unless told otherwise, leaves the registrar up.
pub fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let signals = Signals::block().map_err(|error| Failure::new(error.to_string()))?;
    let no_report =
        |error| Failure::new(format!("cannot write the report to {}: {error}", args.out.display()));
    // A storm whose report has nowhere to go is not begun.
    aorta_load::report::prepare(&args.out).map_err(no_report)?;
    let server = Server::start(&settings(args)?, None)?;
    let (_, target) = server.listening().next().expect("one address was asked for");
    note(format_args!(
        "a registrar on {target}, {} reactors on CPUs {:?}, accounts u1..u{} with \
         passwords p1..p{} in {TEST_DOMAIN}",
        server.cpus.len(),
        server.cpus,
        args.users,
        args.users
    ));
    let options = load(args, target, &server)?;
    note(format_args!(
        "{} s of challenged registrations from {} threads, {} under way at any time",
        args.seconds,
        options.threads,
        window(args, options.threads)
    ));
    let outcome = storm(options, &signals)?;
    if !args.json {
        print(aorta_load::report::table(&outcome).trim_end())?;
    }
    note(format_args!(
        "histograms and report in {0} (open {0}/report.html in a browser)",
        args.out.display()
    ));
    if !args.exit && !outcome.interrupted {
        look_around(target, &signals);
    }
    for line in report::final_lines(&server.stop()) {
        note(line);
    }
    if args.json {
        print(Summary::from(&outcome).to_json())?;
    }
    Ok(if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn settings(args: &DemoArgs) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    set(&mut settings, "serve.listen", "udp:127.0.0.1:0")?;
    set(&mut settings, "serve.test_accounts", &args.users.to_string())?;
    for (key, value) in [("serve.reactors", &args.reactors), ("serve.backend", &args.backend)] {
        if let Some(value) = value {
            set(&mut settings, key, value)?;
        }
    }
    settings.check().map_err(|refusal| Failure::new(refusal.to_string()))?;
    Ok(settings)
}

fn load(args: &DemoArgs, target: SocketAddr, server: &Server) -> Result<Options, Failure> {
    let roster = Roster::numbered("u{n}", "p{n}", TEST_DOMAIN, 1, args.users)
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut options = Options::new(Scenario::REGISTER, target, roster);
    options.duration = Duration::from_secs(args.seconds.into());
    options.threads = server.cpus.len().min(args.users as usize);
    options.pace = Pace::Window(window(args, options.threads));
    Ok(options)
}

fn window(args: &DemoArgs, threads: usize) -> u32 {
    args.window.unwrap_or(WINDOW_PER_THREAD.saturating_mul(u32::try_from(threads).unwrap_or(1)))
}

/// Runs the load on a thread of its own, so that this one can hear a signal.
fn storm(options: Options, signals: &Signals) -> Result<Outcome, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let load = thread::Builder::new().name("load".into()).spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut line = ProgressLine::new(false);
            let outcome = aorta_load::run(&options, &stop, &mut |progress| line.show(progress));
            line.end();
            outcome
        }
    });
    let load = load.map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    while !load.is_finished() {
        if signals.wait_at_most(Duration::from_millis(50)).is_some() {
            stop.store(true, Ordering::Relaxed);
        }
    }
    let outcome = load.join().map_err(|_| Failure::new("the load generator panicked"))?;
    outcome.map_err(|error| Failure::new(error.to_string()))
}

fn look_around(target: SocketAddr, signals: &Signals) {
    note("the registrar stays up; Ctrl-C ends it. From another terminal:");
    note(format_args!(
        "  sipsak -p {target} -vv -U -C sip:u1@127.0.0.1:7001 -x 300 -u u1 -a p1 \
         -s sip:u1@{TEST_DOMAIN}"
    ));
    note(format_args!(
        "  cargo run --release -p aorta-load -- flap --target {target} --rate 1000 \
         --seconds 5"
    ));
    let _ = signals.wait_for_signal();
}
