//! `aorta-nft`: the one program of Aorta's that may change what the kernel filters. It takes lines
//! from a server over a socket of this host, and lets nftables hold what they say, in the sets of
//! one table and nowhere else.
//!
//! Who may connect is `door`'s. Whatever is not exactly a line of the protocol ends the
//! connection. What a server before has said holds until the next one has said `flush` and all it
//! has to, so both may restart at any time.

#![allow(clippy::disallowed_methods, reason = "how often nftables is changed is real time")]

use std::convert::Infallible;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::door::{self, Bench};
use super::line::{Answer, LINE_BYTES_MAX, Order};
use super::nft::{Nft, NftError};
use super::sets::Sets;
use crate::reactor::Clock;
use crate::time;

/// A server that has said nothing for so long is gone, and whoever waits is served; it pings three
/// times as often.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long an answer may wait to be read.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Between the end of one transaction and the beginning of the next lies at least this, and so
/// many times what the last one took: a share of one core at most.
const REST_MIN: Duration = Duration::from_millis(100);
const REST_SHARES: u32 = 3;

/// What it is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens. A socket nobody listens on any more is replaced.
    pub socket: PathBuf,
    /// The user it serves, by number.
    pub user: u32,
    /// What changes the sets.
    pub nft: Nft,
}

/// Takes lines for good.
///
/// # Errors
/// The socket cannot be made, or is another's, or its directory is not safe.
pub fn run(
    settings: &Settings,
    told: &(dyn Fn(&dyn fmt::Display) + Sync),
) -> io::Result<Infallible> {
    run_with(settings, SILENCE_MAX, told)
}

pub(super) fn run_with(
    settings: &Settings,
    silence_max: Duration,
    told: door::Told<'_>,
) -> io::Result<Infallible> {
    let listener = door::listen(&settings.socket, settings.user)?;
    told(&format_args!(
        "aorta-nft: serving user {} at {}, by {}",
        settings.user,
        settings.socket.display(),
        settings.nft.path().display()
    ));
    let clock = Clock::start();
    let bench = Bench::default();
    // Who is let in does not wait for what is said inside.
    thread::scope(|scope| {
        scope.spawn(|| door::keep(&listener, settings.user, &bench, told));
        loop {
            let stream = bench.next();
            let mut desk = Desk::new(|text| settings.nft.carry_out(text), || clock.now().mono);
            let ended = serve(&stream, silence_max, &mut desk);
            told(&format_args!("aorta-nft: the server is gone: {ended}"));
        }
    })
}

/// Why a connection has ended.
#[derive(Debug)]
pub enum Ended {
    /// It was closed, or could not be read or written.
    Closed(Option<io::Error>),
    /// It said something that is no line of the protocol.
    Nonsense(super::line::LineError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Closed(None) => f.write_str("it has closed the connection"),
            Ended::Closed(Some(error)) => error.fmt(f),
            Ended::Nonsense(error) => write!(f, "it said {error}"),
        }
    }
}

fn serve<C, T>(stream: &UnixStream, silence_max: Duration, desk: &mut Desk<C, T>) -> Ended
where
    C: FnMut(&str) -> Result<(), NftError>,
    T: FnMut() -> time::Instant,
{
    let timeouts = stream
        .set_read_timeout(Some(silence_max))
        .and_then(|()| stream.set_write_timeout(Some(WRITE_MAX)));
    if let Err(error) = timeouts {
        return Ended::Closed(Some(error));
    }
    converse(&mut BufReader::new(stream), &mut &*stream, desk)
}

/// Takes orders until the connection ends, and answers pings.
pub fn converse<C, T>(
    input: &mut impl BufRead,
    output: &mut impl Write,
    desk: &mut Desk<C, T>,
) -> Ended
where
    C: FnMut(&str) -> Result<(), NftError>,
    T: FnMut() -> time::Instant,
{
    let mut line = Vec::with_capacity(LINE_BYTES_MAX + 2);
    loop {
        line.clear();
        let most = LINE_BYTES_MAX as u64 + 2;
        match input.by_ref().take(most).read_until(b'\n', &mut line) {
            Ok(0) => return Ended::Closed(None),
            Ok(_) => {}
            Err(error) => return Ended::Closed(Some(error)),
        }
        let Some(text) = line.strip_suffix(b"\n") else {
            // It ends within a line, or the line does not end.
            return match line.len() > LINE_BYTES_MAX {
                true => Ended::Nonsense(super::line::LineError::TooLong),
                false => Ended::Closed(None),
            };
        };
        match Order::parse(text) {
            Ok(order) => {
                let Some(answer) = desk.take(order) else { continue };
                if let Err(error) = writeln!(output, "{answer}").and_then(|()| output.flush()) {
                    return Ended::Closed(Some(error));
                }
            }
            Err(error) => return Ended::Nonsense(error),
        }
    }
}

/// What one server has said, and the way to nftables.
pub struct Desk<C, T> {
    sets: Sets,
    carry_out: C,
    now: T,
    rested: Option<Instant>,
}

impl<C, T> Desk<C, T>
where
    C: FnMut(&str) -> Result<(), NftError>,
    T: FnMut() -> time::Instant,
{
    /// One to whom nothing was said yet.
    pub fn new(carry_out: C, now: T) -> Desk<C, T> {
        Desk { sets: Sets::default(), carry_out, now, rested: None }
    }

    /// Does what is said. Only a ping has an answer.
    pub fn take(&mut self, order: Order) -> Option<Answer> {
        match order {
            Order::Add(net, seconds) => {
                let now = (self.now)();
                let until = seconds.map(|seconds| now + Duration::from_secs(seconds.into()));
                self.sets.add(net, until);
            }
            Order::Del(net) => self.sets.del(net),
            Order::Flush => self.sets.flush(),
            Order::Ping => return Some(self.apply()),
        }
        None
    }

    fn apply(&mut self) -> Answer {
        let outcome = loop {
            let Some(text) = self.sets.transaction((self.now)()) else { break Ok(()) };
            match self.carry_out_rested(&text) {
                Ok(()) => {
                    self.sets.applied();
                    break Ok(());
                }
                // Somebody else may have changed the sets: once more, from the beginning.
                Err(error) => {
                    if !self.sets.start_over() {
                        break Err(error);
                    }
                }
            }
        };
        match outcome {
            Ok(()) => Answer::Done { networks: self.sets.len(), refused: self.sets.take_refused() },
            Err(error) if error.is_absent() => Answer::Failed(NO_TABLE.to_owned()),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    fn carry_out_rested(&mut self, text: &str) -> Result<(), NftError> {
        if let Some(rested) = self.rested {
            thread::sleep(rested.saturating_duration_since(Instant::now()));
        }
        let begun = Instant::now();
        let outcome = (self.carry_out)(text);
        self.rested = Some(Instant::now() + REST_MIN.max(begun.elapsed() * REST_SHARES));
        outcome
    }
}

/// Why nothing can be blocked before the table is loaded.
pub const NO_TABLE: &str = "the table inet aorta is not loaded; `aorta shield apply` loads it";

#[cfg(test)]
#[path = "daemon_tests.rs"]
mod tests;
