//! What an attack is to do, as plain values.

use super::addresses::{ANY_MAX, FAILING_MAX, ROLE_MAX};
use crate::options::{Error, Options, Pace};
use crate::scenarios::Scenario;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

/// Highest rate that makes sense: no socket of one thread sends faster.
const RATE_MAX: f64 = 5e6;

/// A part of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Requests without credentials beside honest refreshes.
    Flood,
    /// Passwords tried at accounts.
    Guess,
    /// Well-known kits.
    Scan,
    /// Ever new sources.
    Sources,
    /// Ever new failures.
    Failures,
    /// A blocked source.
    Blocked,
}

impl Phase {
    /// All of them, in the order they run.
    pub const ALL: [Phase; 6] =
        [Phase::Flood, Phase::Guess, Phase::Scan, Phase::Sources, Phase::Failures, Phase::Blocked];

    /// As it is given on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Flood => "flood",
            Phase::Guess => "guess",
            Phase::Scan => "scan",
            Phase::Sources => "sources",
            Phase::Failures => "failures",
            Phase::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Phase::ALL.into_iter().find(|phase| phase.name() == name);
        found.ok_or_else(|| {
            format!("no phase `{name}`: there are {}", Phase::ALL.map(Phase::name).join(", "))
        })
    }
}

/// Everything an attack needs to know beside what every run does. Start from `AttackOptions::new`
/// and change what differs.
#[derive(Debug, Clone)]
pub struct AttackOptions {
    /// The honest phones of the flood: target, accounts, rate of refreshes; its duration is that of
    /// each half, without the flood and with it.
    pub run: Options,
    /// What is run.
    pub phases: Vec<Phase>,
    /// Requests a second of the flood, and of whatever else goes by a pace.
    pub flood_rate: f64,
    /// How many times its p99 without the flood the honest p99 may be with it.
    pub p99_ratio_max: f64,
    /// Accounts that are guessed at: the first of the roster.
    pub accounts: u32,
    /// Passwords tried at each, the right one last.
    pub passwords: u32,
    /// Sources that they are tried from, in turn.
    pub guessers: u32,
    /// Guesses a second.
    pub guess_rate: f64,
    /// Guesses at one account from one source before it is suspended, by the server's settings
    /// (SS_ENDPOINTREGISTERRETRY).
    pub retry: u32,
    /// How long it is, by the same (SS_ENDPOINTREGISTERSUSPENDTIME).
    pub suspend: Duration,
    /// Different sources that speak once each.
    pub sources: u32,
    /// Authentications that fail.
    pub failures: u32,
    /// Datagrams from a blocked source, in each of three rounds.
    pub blocked: u32,
    /// Nanoseconds that a datagram of a blocked source may cost more than a bare loop pays.
    pub blocked_ns_max: f64,
    /// Bytes by which the server's memory may grow with sources or failures, once it has seen a
    /// tenth of them.
    pub growth_max: u64,
    /// The server's admin interface.
    pub admin: Option<SocketAddr>,
    /// Its token.
    pub admin_token: Option<String>,
    /// The server's process, if it is on this host.
    pub pid: Option<u32>,
}

impl AttackOptions {
    /// The defaults: a flood of 200,000 a second beside 5,000 refreshes, 50 accounts with 10,000
    /// passwords, 10 million sources, a million failures, and settings of the server that are its
    /// own defaults.
    pub fn new(target: SocketAddr, roster: crate::Roster) -> Self {
        let mut run = Options::new(Scenario::REFRESH, target, roster);
        run.pace = Pace::Rate(5000.0);
        run.offload = false;
        AttackOptions {
            run,
            phases: Phase::ALL.to_vec(),
            flood_rate: 200_000.0,
            p99_ratio_max: 3.0,
            accounts: 50,
            passwords: 10_000,
            guessers: 4,
            guess_rate: 50_000.0,
            retry: 6,
            suspend: Duration::from_secs(180),
            sources: 10_000_000,
            failures: 1_000_000,
            blocked: 200_000,
            blocked_ns_max: 100.0,
            growth_max: 8 << 20,
            admin: None,
            admin_token: None,
            pid: None,
        }
    }

    /// The target, where it is one that may be attacked.
    pub(super) fn remote(&self) -> Result<SocketAddrV4, Error> {
        match self.run.target {
            SocketAddr::V4(target) if target.ip().is_loopback() => Ok(target),
            target => Err(Error::Option(format!(
                "attack sends from addresses of 127.0.0.0/8, so its target must be there too, and \
                 {target} is not"
            ))),
        }
    }

    /// Whether a phase is to be run.
    pub fn has(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// Refuses what cannot be run, with the range that can.
    pub fn check(&self) -> Result<(), Error> {
        self.run.check()?;
        self.remote()?;
        let wrong = |why: String| Err(Error::Option(why));
        if self.phases.is_empty() {
            return wrong("no phase is to be run".to_owned());
        }
        if !matches!(self.run.pace, Pace::Rate(_)) {
            return wrong("the honest phones of attack go by --rate".to_owned());
        }
        if self.run.duration < Duration::from_secs(1)
            || self.run.duration > Duration::from_secs(3600)
        {
            return wrong("each half of the flood is a second to an hour long".to_owned());
        }
        for (what, rate) in [("flood", self.flood_rate), ("guess", self.guess_rate)] {
            if !(1.0..=RATE_MAX).contains(&rate) {
                return wrong(format!("a {what} rate of {rate}: 1 to {RATE_MAX} a second"));
            }
        }
        let users = self.run.roster.len();
        let counts = [
            ("accounts to guess at", self.accounts, users.min(ROLE_MAX)),
            ("passwords", self.passwords, 100_000_000),
            ("guessers", self.guessers, ROLE_MAX),
            ("tries", self.retry, 1000),
            ("sources", self.sources, ANY_MAX - 2),
            ("failures", self.failures, FAILING_MAX),
            ("datagrams of a blocked source", self.blocked, 100_000_000),
        ];
        for (what, count, most) in counts {
            if count == 0 || count > most {
                return wrong(format!("{count} {what}: 1 to {most}"));
            }
        }
        if self.suspend < Duration::from_secs(1) {
            return wrong("a suspension lasts at least a second".to_owned());
        }
        if self.p99_ratio_max.is_nan() || self.p99_ratio_max < 1.0 {
            return wrong(format!("a ratio of {}: at least 1", self.p99_ratio_max));
        }
        if self.has(Phase::Blocked) && self.admin.is_none() {
            return wrong("the phase blocked needs --admin, to block a source".to_owned());
        }
        if let Some(address) = self.run.sources.first() {
            return wrong(format!(
                "attack has sources of its own, of 127.0.0.0/8: {address} cannot be one"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roster;

    fn options(target: &str) -> AttackOptions {
        let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 100).unwrap();
        let mut options = AttackOptions::new(target.parse().unwrap(), roster);
        options.admin = Some("127.0.0.1:8080".parse().unwrap());
        options
    }

    #[test]
    fn nothing_beyond_loopback_is_attacked() {
        assert!(options("127.0.0.1:5060").check().is_ok());
        for target in ["192.0.2.1:5060", "[::1]:5060", "0.0.0.0:5060"] {
            let refused = options(target).check().unwrap_err().to_string();
            assert!(refused.contains(target), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        type Change = fn(&mut AttackOptions);
        let changes: [Change; 12] = [
            |options| options.phases.clear(),
            |options| options.run.pace = Pace::Window(8),
            |options| options.run.duration = Duration::from_millis(999),
            |options| options.flood_rate = 0.0,
            |options| options.guess_rate = f64::NAN,
            |options| options.accounts = 101,
            |options| options.passwords = 0,
            |options| options.sources = ANY_MAX,
            |options| options.failures = FAILING_MAX + 1,
            |options| options.suspend = Duration::ZERO,
            |options| options.p99_ratio_max = f64::NAN,
            |options| options.admin = None,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut options = options("127.0.0.1:5060");
            change(&mut options);
            assert!(matches!(options.check(), Err(Error::Option(_))), "{number}");
        }
    }

    #[test]
    fn phases_go_by_their_names() {
        for phase in Phase::ALL {
            assert_eq!(phase.name().parse(), Ok(phase));
        }
        assert!("floods".parse::<Phase>().unwrap_err().contains("flood, guess"));
    }
}
