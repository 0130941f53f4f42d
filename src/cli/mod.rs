//! L4: the programs of `aorta`. Each turns arguments into a call of the layers below and their
//! results into lines for a person.
//!
//! What a program was asked for goes to standard output, what it has to say beside that to
//! standard error.

mod accounts;
mod admin;
mod args;
mod audit;
mod certificates;
mod config;
mod ctl;
mod demo;
mod history;
mod latency;
mod parameters;
mod reload;
mod report;
mod say;
mod security;
mod serve;
mod server;
mod settings;
mod shield;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Why a program ends with status 1: a line, rarely several, for the operator.
#[derive(Debug)]
pub struct Failure {
    lines: Vec<String>,
}

impl Failure {
    fn new(line: impl Into<String>) -> Failure {
        Failure { lines: vec![line.into()] }
    }

    fn lines(lines: Vec<String>) -> Failure {
        Failure { lines }
    }

    /// All of it on one line: the first fault, and how many more there are.
    fn into_line(self) -> String {
        let more = self.lines.len().saturating_sub(1);
        let first = self.lines.into_iter().next().unwrap_or_default();
        if more == 0 { first } else { format!("{first} (and {more} more)") }
    }
}

/// Reads the command line and runs the program it names. Exit status 0: done; 1: it failed, and
/// standard error says why; 2: the command line is wrong.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Shield(args) => shield::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            for line in failure.lines {
                say::note(line);
            }
            ExitCode::FAILURE
        }
    }
}
