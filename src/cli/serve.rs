//! `aorta serve`: the registrar until somebody ends it.
//!
//! Standard output has a line `listening udp ADDRESS:PORT` for each listener, then `ready`;
//! whoever starts it waits for that; at the end the counters. The rest goes to standard error.

use std::io::Write as _;
use std::process::ExitCode;

use super::args::ServeArgs;
use super::server::Server;
use super::{Failure, report, settings};
use crate::reactor::{Signal, Signals};

/// Serves until SIGTERM or SIGINT, then drains and shows the counters.
pub fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    // Before any thread is there: each inherits the blocked signals.
    let signals = Signals::block().map_err(|error| Failure::new(error.to_string()))?;
    let settings = settings::for_serve(args)?;
    let server = Server::start(&settings, args.data.as_deref())?;
    say!(
        "{} accounts in {} domains, {} reactors on CPUs {:?}",
        server.accounts,
        server.domains.len(),
        server.cpus.len(),
        server.cpus
    );
    match &args.data {
        None => say!("without --data nothing outlives this process"),
        Some(data) => {
            say!(
                "the key of the nonces is kept in {}; bindings are in memory only",
                data.display()
            );
        }
    }
    let mut stdout = std::io::stdout();
    let told = server
        .listening()
        .try_for_each(|address| writeln!(stdout, "listening udp {address}"))
        .and_then(|()| writeln!(stdout, "ready"))
        .and_then(|()| stdout.flush());
    // Whoever started it may have closed the pipe; the registrar serves all the same.
    let _ = told;
    loop {
        match signals.wait_for_signal() {
            Signal::Terminate | Signal::Interrupt => break,
            Signal::Reload => {
                say!("SIGHUP: settings are read at the start only, nothing changed");
            }
        }
    }
    say!("stopping");
    for line in report::final_lines(&server.stop()) {
        let _ = writeln!(stdout, "{line}");
    }
    Ok(ExitCode::SUCCESS)
}
