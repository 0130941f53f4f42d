//! Lines for a person, or for a program that collects them. Whoever read them may have gone away (a
//! closed pipe, a terminal that hung up): that ends no registrar, so nothing here panics, as
//! `println!` and `eprintln!` would.
//!
//! The log is standard error: `aorta: LINE`, or, with `log.format=json`, an object a line with
//! `time`, `level`, `target`, `message` and whatever else there is to say.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::panic::Location;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::{Map, Value};

use super::Failure;
use crate::admin::rfc3339_us;
use crate::config::LogFormat;
use crate::reactor::Clock;

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

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The program ends, or cannot do what it was asked for.
    Error,
    /// Somebody should look at it.
    Warning,
    /// All is well.
    Info,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        }
    }
}

/// Lines of the log are objects of JSON. The same for all threads, from the start on.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// How the lines of the log are written from now on.
pub(super) fn write_as(format: LogFormat) {
    AS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// What it has to say beside that, on standard error.
#[track_caller]
pub(super) fn note(line: impl Display) {
    log(Level::Info, Location::caller(), line, &[]);
}

/// The same where somebody should look.
#[track_caller]
pub(super) fn warn(line: impl Display) {
    log(Level::Warning, Location::caller(), line, &[]);
}

/// The same where it is why the program ends.
#[track_caller]
pub(super) fn fail(line: impl Display) {
    log(Level::Error, Location::caller(), line, &[]);
}

/// A line with what it is made of, which an object of JSON has as members of their own.
#[track_caller]
pub(super) fn tell(level: Level, line: impl Display, fields: &[(&'static str, Value)]) {
    log(level, Location::caller(), line, fields);
}

fn log(level: Level, from: &Location<'_>, line: impl Display, fields: &[(&'static str, Value)]) {
    let mut stderr = io::stderr().lock();
    let _ = if AS_JSON.load(Ordering::Relaxed) {
        let now = Clock::start().now();
        let time = rfc3339_us(now.wall, now.wall_us);
        writeln!(stderr, "{}", object(&time, level, from.file(), &line.to_string(), fields))
    } else {
        writeln!(stderr, "aorta: {line}")
    };
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    level: &'static str,
    target: String,
    message: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// A line of the log as an object of JSON, which is one line whatever stands in it.
fn object(
    time: &str,
    level: Level,
    file: &str,
    message: &str,
    fields: &[(&'static str, Value)],
) -> String {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let line = Line { time, level: level.name(), target: target(file), message, fields };
    // Texts and values always can be written.
    serde_json::to_string(&line).unwrap_or_default()
}

/// The part of the program that a line is from: `aorta::admin` for `src/cli/admin.rs`.
fn target(file: &str) -> String {
    let path = Path::new(file);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("aorta");
    let folder = path.parent().and_then(Path::file_name).and_then(|folder| folder.to_str());
    match (stem, folder) {
        ("mod", Some("cli")) => "aorta".to_owned(),
        ("mod", Some(folder)) => format!("aorta::{folder}"),
        (stem, _) => format!("aorta::{stem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_its_time_level_target_message_and_fields_on_one_line() {
        let fields = [("kind", Value::from("scanner")), ("count", Value::from(3))];
        let time = "2026-11-21T02:38:00.000001Z";
        let text = object(time, Level::Warning, "src/cli/watch.rs", "a\n\u{1b}\"b\"", &fields);
        assert!(!text.contains('\n') && !text.contains('\u{1b}'));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let expected = serde_json::json!({
            "time": time, "level": "warning", "target": "aorta::watch",
            "message": "a\n\u{1b}\"b\"", "kind": "scanner", "count": 3,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_target_is_the_part_of_the_program() {
        assert_eq!(target("src/cli/shield/mod.rs"), "aorta::shield");
        assert_eq!(target("src/cli/mod.rs"), "aorta");
        assert_eq!(target("src/cli/admin.rs"), "aorta::admin");
        assert_eq!(target(""), "aorta::aorta");
    }
}
