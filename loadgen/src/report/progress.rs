//! Progress as a line on standard error, for the programs that run a scenario. Nobody reading it
//! any more is no reason to end the run.

use std::io::{IsTerminal as _, Write as _, stderr};

use crate::run::Progress;

/// Progress on stderr: one line written over again on a terminal, a line now and then elsewhere.
pub struct ProgressLine {
    terminal: bool,
    quiet: bool,
    shown: u64,
}

/// Seconds between lines where stderr is no terminal.
const PLAIN_SECONDS: u64 = 5;

impl ProgressLine {
    /// A line nobody has seen yet; `quiet` never shows it.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        ProgressLine { terminal: stderr().is_terminal(), quiet, shown: 0 }
    }

    /// Shows how the run goes.
    pub fn show(&mut self, progress: &Progress) {
        let tally = &progress.tally;
        let text = if progress.warming {
            "registering the users first ...".to_owned()
        } else {
            format!(
                "{:>4} s  {:>8} requests/s  {:>8} registrations/s  p50 {:.0} us  p99 {:.0} us  \
                 under way {}  again {}  lost {}  wrong {}",
                progress.elapsed.as_secs(),
                progress.requests_per_second,
                progress.registrations_per_second,
                progress.latency_us.0,
                progress.latency_us.1,
                progress.outstanding,
                tally.retransmissions,
                tally.lost,
                tally.wrong
            )
        };
        self.show_text(&text);
    }

    /// Shows a line of another's making.
    pub fn show_text(&mut self, text: &str) {
        self.shown += 1;
        if self.quiet || (!self.terminal && !self.shown.is_multiple_of(PLAIN_SECONDS)) {
            return;
        }
        // Nobody may be reading any more: the run goes on.
        let _ = match self.terminal {
            true => write!(stderr(), "\r\x1b[K{text}"),
            false => writeln!(stderr(), "{text}"),
        };
    }

    /// Leaves the last line standing.
    pub fn end(&self) {
        if self.terminal && !self.quiet && self.shown > 0 {
            let _ = writeln!(stderr());
        }
    }
}
