//! `aorta serve`: the registrar until somebody ends it.
//!
//! Standard output has a line `listening udp ADDRESS:PORT` for each listener, `listening http` for
//! the admin interface where there is one, then `ready`; whoever starts it waits for that; at the
//! end the counters. The rest goes to standard error, the one line about what a SIGHUP has changed
//! too.

use std::process::ExitCode;
use std::thread;

use crossbeam::channel::{Sender, bounded};

use super::args::ServeArgs;
use super::parameters::Layer;
use super::say::{note, show};
use super::security::Security;
use super::server::Server;
use super::watch::Watch;
use super::{Failure, admin, history, report, settings, shield};
use crate::admin::{Admin, ParameterOrder, ParameterReply};
use crate::config::Serve;
use crate::reactor::{Signal, Signals};
use crate::store::SecurityLog;

/// Serves until SIGTERM or SIGINT, then drains and shows the counters. SIGHUP reads settings,
/// subscribers and certificates again.
pub fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    // Before any thread is there: each inherits the blocked signals.
    let signals = Signals::block().map_err(|error| Failure::new(error.to_string()))?;
    let base = settings::for_serve(args)?;
    let mut layer = Layer::open(args.data.as_deref(), base.clone())?;
    let settings = layer.rebase(base)?;
    let admin = admin::settings(&settings, args.admin_token.as_deref(), args.data.as_deref())?;
    let log = security_log(&settings.serve)?;
    let mut server = Server::start(&settings, args.data.as_deref())?;
    let shield = shield::start(&settings, &mut server);
    let history =
        history::start(&settings.history, &server, args.data.as_deref(), admin.is_some(), vec![])?;
    let past = history.as_ref().map(history::Keeping::desk);
    let admin = admin.map(|admin| admin::start(admin, &server, shield.desk(), past)).transpose()?;
    let (events, happened) = bounded(EVENTS_MAX);
    let reins = admin.as_ref().map(Admin::reins);
    if let Some(reins) = &reins {
        server.on_reload(admin::prepare(reins.clone()));
        reins.show_parameters(layer.rows(&server));
        let events = events.clone();
        // Where there is no room, or nobody who takes it, it goes unanswered with this.
        let desk = move |order, reply| drop(events.try_send(Event::Parameter(order, reply)));
        reins.open_parameters(Box::new(desk));
    }
    await_signals(signals, events)?;
    note(format_args!(
        "{} accounts in {} domains, {} reactors on CPUs {:?}",
        server.accounts,
        server.domains.len(),
        server.cpus.len(),
        server.cpus
    ));
    match &args.data {
        None => note("without --data nothing outlives this process"),
        Some(data) => note(format_args!(
            "the key of the nonces, operators, what they did and what they block are kept in {}; \
             bindings are in memory only",
            data.display()
        )),
    }
    for (transport, address) in server.listening() {
        show(format_args!("listening {transport} {address}"));
    }
    if let Some(admin) = &admin {
        show(format_args!("listening {} {}", admin.scheme(), admin.address()));
    }
    let watch = Watch::start(server.running.controllers().to_vec());
    let security = Security::start(server.running.controllers().to_vec(), log);
    show("ready");
    while let Ok(event) = happened.recv() {
        match event {
            Event::Signal(Signal::Terminate | Signal::Interrupt) => break,
            Event::Signal(Signal::Reload) => {
                let read = settings::for_serve(args).and_then(|base| layer.rebase(base));
                match read.and_then(|settings| server.reload(settings)) {
                    Ok(changes) => note(format_args!("SIGHUP: {changes}")),
                    Err(failure) => {
                        note(format_args!("SIGHUP: nothing changed: {}", failure.into_line()));
                    }
                }
                if let Some(reins) = &reins {
                    reins.show_parameters(layer.rows(&server));
                }
            }
            Event::Parameter(order, reply) => {
                let done = layer.carry_out(&mut server, &order);
                if let Some(reins) = &reins {
                    reins.show_parameters(layer.rows(&server));
                }
                reply(done);
            }
        }
    }
    note("stopping");
    drop((watch, security));
    // Nobody asks shards that are about to go.
    drop((admin, reins));
    // What the shards have to tell is written before they go.
    drop(history);
    // It keeps the sockets open.
    drop(shield);
    for line in report::final_lines(&server.stop()) {
        show(line);
    }
    Ok(ExitCode::SUCCESS)
}

/// What may wait for the thread that serves.
const EVENTS_MAX: usize = 64;

/// What the thread that serves waits for.
enum Event {
    Signal(Signal),
    Parameter(ParameterOrder, ParameterReply),
}

/// Has signals arrive beside whatever else happens. The thread ends with the process: nothing but a
/// signal wakes it.
fn await_signals(signals: Signals, events: Sender<Event>) -> Result<(), Failure> {
    let wait = move || while events.send(Event::Signal(signals.wait_for_signal())).is_ok() {};
    let started = thread::Builder::new().name("signals".into()).spawn(wait);
    started.map(drop).map_err(|error| Failure::new(format!("cannot start a thread: {error}")))
}

/// The file of security events, if one is set.
fn security_log(serve: &Serve) -> Result<Option<SecurityLog>, Failure> {
    let Some(path) = &serve.security_log else { return Ok(None) };
    let (bytes_max, files) = (serve.security_log_bytes_max.into(), serve.security_log_files);
    SecurityLog::open(path, bytes_max, files).map(Some).map_err(|error| {
        Failure::new(format!("security.log: cannot write {}: {error}", path.display()))
    })
}
