//! Lines for a person. Whoever read them may have gone away (a closed pipe, a terminal that hung
//! up): that ends no registrar, so nothing here panics, as `println!` and `eprintln!` would.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use super::Failure;

/// What a program was asked for, on standard output. A reader that has seen enough (`| head`) is
/// no failure.
///
/// # Errors
/// What else the kernel said, such as a full disk.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// What a server tells whoever started it, on standard output. It serves all the same if nobody
/// listens.
pub(super) fn show(text: impl Display) {
    let _ = print(text);
}

/// What it has to say beside that, on standard error.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "aorta: {line}");
}
