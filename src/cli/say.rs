//! Lines for a person. Whoever read them may have gone away (a closed pipe, a terminal that hung
//! up): that ends no registrar, so nothing here fails, where `println!` and `eprintln!` panic.

use std::fmt::Display;
use std::io::{self, Write as _};

/// What a program was asked for, on standard output.
pub(super) fn show(text: impl Display) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// What it has to say beside that, on standard error.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "aorta: {line}");
}
