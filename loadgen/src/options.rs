//! What a run is to do, as plain values: to be made from a command line or by a program.

use crate::digest::Algorithm;
use crate::roster::{Roster, RosterError};
use crate::scenarios::{Scenario, Weights};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most sockets of one thread.
pub const SOCKETS_MAX: usize = 16_384;
/// Most threads.
pub const THREADS_MAX: usize = 256;
/// Most accounts.
pub const USERS_MAX: u32 = 20_000_000;

/// How requests are let go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: actions a second, by a plan made before, whatever the server does.
    Rate(f64),
    /// Closed loop: this many actions under way at any time.
    Window(u32),
}

/// Which challenges are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlgorithmChoice {
    /// The first that is offered and supported.
    FirstOffered,
    /// Only this one.
    Only(Algorithm),
}

/// Everything a run needs to know. Start from `Options::new` and change what differs.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the phones do.
    pub scenario: Scenario,
    /// The registrar.
    pub target: SocketAddr,
    /// Who they are.
    pub roster: Roster,
    /// Open or closed loop; without meaning in `storm`.
    pub pace: Pace,
    /// The open loop's rate grows over this time; a storm's phones begin over it.
    pub ramp: Duration,
    /// How long actions are begun; a storm ends by itself.
    pub duration: Duration,
    /// Threads, each with its own sockets and its share of the accounts.
    pub threads: usize,
    /// CPUs the threads are pinned to in turn; empty for none.
    pub cpus: Vec<usize>,
    /// Source sockets of each thread.
    pub sockets: usize,
    /// Source addresses, used in turn; empty for the one the route gives.
    pub sources: Vec<IpAddr>,
    /// Requests of one length that leave a socket together travel as one message, and answers
    /// come the same way (UDP_SEGMENT, UDP_GRO). It saves both sides work that a server behind
    /// phones with addresses of their own has to do.
    pub offload: bool,
    /// From the intended send to the loss.
    pub timeout: Duration,
    /// Retransmit by timer E (RFC 3261 17.1.2.2).
    pub retransmit: bool,
    /// Percent of the datagrams of each direction that are lost by choice, 0-90.
    pub loss_percent: f64,
    /// How long a phone of a storm that is told to come back later goes on doing so.
    pub patience: Duration,
    /// Which challenges are answered.
    pub algorithm: AlgorithmChoice,
    /// Seconds asked for in each REGISTER.
    pub expires: u32,
    /// The server's limit of bindings for one account.
    pub bindings_max: u32,
    /// Shares of the actions in `mixed`.
    pub weights: Weights,
}

/// Why a run cannot begin.
#[derive(Debug)]
pub enum Error {
    /// An option is out of its range.
    Option(String),
    /// The accounts cannot be had.
    Roster(RosterError),
    /// The world refuses: what was tried, why, and what helps.
    System {
        /// What was tried.
        operation: String,
        /// The kernel's word.
        error: std::io::Error,
        /// What helps.
        remedy: &'static str,
    },
    /// A thread of the generator died: a fault of ours.
    Thread,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Option(why) => f.write_str(why),
            Error::Roster(error) => error.fmt(f),
            Error::System { operation, error, remedy } => {
                write!(f, "{operation}: {error} ({remedy})")
            }
            Error::Thread => f.write_str("a thread of the load generator panicked"),
        }
    }
}

impl std::error::Error for Error {}

impl From<RosterError> for Error {
    fn from(error: RosterError) -> Self {
        Error::Roster(error)
    }
}

impl Options {
    /// The defaults: a closed loop of 128 for 10 seconds on one thread with 32 sockets.
    pub fn new(scenario: Scenario, target: SocketAddr, roster: Roster) -> Self {
        Options {
            scenario,
            target,
            roster,
            pace: Pace::Window(128),
            ramp: Duration::ZERO,
            duration: Duration::from_secs(10),
            threads: 1,
            cpus: Vec::new(),
            sockets: 32,
            sources: Vec::new(),
            offload: true,
            timeout: Duration::from_secs(32),
            retransmit: true,
            loss_percent: 0.0,
            patience: Duration::from_secs(120),
            algorithm: AlgorithmChoice::FirstOffered,
            expires: 3600,
            bindings_max: 1,
            weights: Weights::default(),
        }
    }

    /// The algorithms that are answered.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        match self.algorithm {
            AlgorithmChoice::FirstOffered => vec![Algorithm::Md5, Algorithm::Sha256],
            AlgorithmChoice::Only(algorithm) => vec![algorithm],
        }
    }

    /// Refuses what cannot be run, with the range that can.
    pub fn check(&self) -> Result<(), Error> {
        let users = self.roster.len();
        let wrong = |why: String| Err(Error::Option(why));
        if users == 0 || users > USERS_MAX {
            return wrong(format!("{users} users: 1 to {USERS_MAX} can be loaded"));
        }
        if self.threads == 0 || self.threads > THREADS_MAX || self.threads > users as usize {
            let most = THREADS_MAX.min(users as usize);
            return wrong(format!("{} threads: 1 to {most} for {users} users", self.threads));
        }
        if self.sockets == 0 || self.sockets > SOCKETS_MAX {
            return wrong(format!("{} sockets: 1 to {SOCKETS_MAX} a thread", self.sockets));
        }
        match self.pace {
            Pace::Rate(rate) if !(rate > 0.0 && rate <= 1e9) => {
                return wrong(format!("a rate of {rate}: more than 0 and at most 1e9 a second"));
            }
            Pace::Window(window) if (window as usize) < self.threads => {
                return wrong(format!("a window of {window}: at least one for each thread"));
            }
            _ => {}
        }
        if self.duration.is_zero() || self.duration > Duration::from_secs(86_400 * 30) {
            return wrong("the duration is more than nothing and at most 30 days".to_owned());
        }
        if self.timeout.is_zero() || self.timeout > Duration::from_secs(600) {
            return wrong("the timeout is more than nothing and at most 600 s".to_owned());
        }
        if !(0.0..=90.0).contains(&self.loss_percent) {
            return wrong(format!("a loss of {} %: 0 to 90", self.loss_percent));
        }
        if self.expires == 0 || self.expires > 0x7fff_ffff {
            return wrong(format!("an expiry of {}: 1 to {} s", self.expires, 0x7fff_ffff));
        }
        if self.target.port() == 0 {
            return wrong(format!("the target {}: a port of 1 to 65535", self.target));
        }
        if self.bindings_max == 0 {
            return wrong("a limit of 0 bindings: at least 1".to_owned());
        }
        if self.weights.total() == 0 {
            return wrong("all weights are zero".to_owned());
        }
        if let Some(source) =
            self.sources.iter().find(|source| source.is_ipv4() != self.target.is_ipv4())
        {
            return wrong(format!("source {source} is not of the target's address family"));
        }
        Ok(())
    }
}
