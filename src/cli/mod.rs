//! L4: the programs of `aorta`. Each turns arguments into a call of the layers below and their
//! results into lines for a person.
//!
//! What a program was asked for goes to standard output, what it has to say beside that to
//! standard error.

/// Says a line on standard error. Whoever read it may have gone away, which must not end a
/// server, as `eprintln!` would.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "aorta: {}", format_args!($($text)*));
    }};
}

mod accounts;
mod args;
mod config;
mod demo;
mod report;
mod serve;
mod server;
mod settings;

use std::io::{ErrorKind, Write as _};
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
}

/// Writes what a program was asked for to standard output. A reader that has seen enough
/// (`| head`) is no failure.
///
/// # Errors
/// What the kernel said, such as a full disk.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
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
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            for line in failure.lines {
                say!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}
