//! The arguments of `aorta-load attack`, and the program's part in such a run.

use aorta_load::attack::{self, AttackOptions, Phase};
use aorta_load::report::progress::ProgressLine;
use aorta_load::{Error, Options, Pace, Roster, socket};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::nat_arguments::Ended;

/// What only `attack` knows; none of it given means its defaults.
#[derive(Args, Clone, Default)]
#[command(
    next_help_heading = "Under attack (attack; --rate is that of the honest, --seconds one half \
                               of the flood)"
)]
pub struct AttackArguments {
    /// What is run [default: all that can be: flood,guess,scan,sources,failures,blocked]
    #[arg(long, value_name = "PHASE,...", value_delimiter = ',')]
    phases: Vec<Phase>,
    /// Requests a second of the flood, and of many sources [default: 200000]
    #[arg(long, value_name = "R")]
    flood_rate: Option<f64>,
    /// How many times what it was without the flood the honest p99 may be [default: 3]
    #[arg(long, value_name = "X")]
    p99_ratio: Option<f64>,
    /// Accounts that are guessed at, the first of all [default: 50]
    #[arg(long, value_name = "N")]
    accounts: Option<u32>,
    /// Passwords tried at each, the right one last [default: 10000]
    #[arg(long, value_name = "N")]
    passwords: Option<u32>,
    /// Sources they are tried from in turn [default: 4]
    #[arg(long, value_name = "N")]
    guessers: Option<u32>,
    /// Guesses a second [default: 50000]
    #[arg(long, value_name = "R")]
    guess_rate: Option<f64>,
    /// The server's SS_ENDPOINTREGISTERRETRY [default: 6]
    #[arg(long, value_name = "N")]
    retry: Option<u32>,
    /// The server's SS_ENDPOINTREGISTERSUSPENDTIME [default: 180]
    #[arg(long, value_name = "S", value_parser = crate::duration)]
    suspend_time: Option<Duration>,
    /// Different sources that speak once each [default: 10000000]
    #[arg(long, value_name = "N")]
    sources: Option<u32>,
    /// Authentications that fail, each from a source of its own [default: 1000000]
    #[arg(long, value_name = "N")]
    failures: Option<u32>,
    /// Datagrams of a blocked source in each of three rounds [default: 200000]
    #[arg(long, value_name = "N")]
    blocked: Option<u32>,
    /// The server's admin interface: its own counts are shown beside what the answers tell, and a
    /// source can be blocked
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<SocketAddr>,
    /// File with its token
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_token_file: Option<PathBuf>,
    /// The server's process on this host: its memory and CPU time are looked at
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

impl AttackArguments {
    /// Whether any of them was given.
    pub fn is_any(&self) -> bool {
        let AttackArguments { phases, flood_rate, p99_ratio, accounts, passwords, .. } = self;
        let AttackArguments { guessers, guess_rate, retry, suspend_time, sources, .. } = self;
        let AttackArguments { failures, blocked, admin, admin_token_file, pid, .. } = self;
        let rates = [flood_rate, p99_ratio, guess_rate];
        let counts = [accounts, passwords, guessers, retry, sources, failures, blocked, pid];
        !phases.is_empty()
            || rates.into_iter().any(Option::is_some)
            || counts.into_iter().any(Option::is_some)
            || suspend_time.is_some()
            || admin.is_some()
            || admin_token_file.is_some()
    }

    /// The attack that they ask for, `run` being what every scenario takes.
    pub fn options(&self, mut run: Options) -> Result<AttackOptions, String> {
        let defaults = AttackOptions::new(run.target, Roster::default());
        run.scenario = defaults.run.scenario;
        run.offload = false;
        if !matches!(run.pace, Pace::Rate(_)) {
            run.pace = defaults.run.pace;
        }
        let phases = match self.phases.is_empty() {
            false => self.phases.clone(),
            // Nobody can be blocked without the admin interface.
            true => Phase::ALL
                .into_iter()
                .filter(|phase| *phase != Phase::Blocked || self.admin.is_some())
                .collect(),
        };
        let admin_token = match &self.admin_token_file {
            None => None,
            Some(file) => match std::fs::read_to_string(file) {
                Ok(text) => Some(text.trim().to_owned()),
                Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
            },
        };
        Ok(AttackOptions {
            phases,
            flood_rate: self.flood_rate.unwrap_or(defaults.flood_rate),
            p99_ratio_max: self.p99_ratio.unwrap_or(defaults.p99_ratio_max),
            accounts: self.accounts.unwrap_or(defaults.accounts.min(run.roster.len())),
            passwords: self.passwords.unwrap_or(defaults.passwords),
            guessers: self.guessers.unwrap_or(defaults.guessers),
            guess_rate: self.guess_rate.unwrap_or(defaults.guess_rate),
            retry: self.retry.unwrap_or(defaults.retry),
            suspend: self.suspend_time.unwrap_or(defaults.suspend),
            sources: self.sources.unwrap_or(defaults.sources),
            failures: self.failures.unwrap_or(defaults.failures),
            blocked: self.blocked.unwrap_or(defaults.blocked),
            blocked_ns_max: defaults.blocked_ns_max,
            growth_max: defaults.growth_max,
            admin: self.admin,
            admin_token,
            pid: self.pid,
            run,
        })
    }
}

/// Runs it, with progress, and writes its files where a directory is given.
pub fn run(options: &AttackOptions, quiet: bool, out: Option<&Path>) -> Result<Ended, Error> {
    let mut line = ProgressLine::new(quiet);
    let ran = attack::run(options, socket::interrupt_flag(), &mut |text| line.show_text(text));
    line.end();
    let outcome = ran?;
    Ok(Ended {
        text: attack::report::table(&outcome),
        json: attack::report::AttackSummary::from(&outcome).to_json(),
        is_clean: outcome.is_clean(),
        files: out.map_or(Ok(()), |directory| attack::report::write_files(&outcome, directory)),
    })
}
