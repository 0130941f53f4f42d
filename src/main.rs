//! The `aorta` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: aorta::reactor::HugePages = aorta::reactor::HugePages;

fn main() -> ExitCode {
    aorta::reactor::HugePages::no_pauses();
    aorta::cli::run()
}
