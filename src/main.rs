//! The `aorta` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    aorta::cli::run()
}
