//! The command line as clap reads it. What a value means is the parameter table's: here are only
//! names and shapes.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A SIP registrar at the speed of the kernel's UDP path.
#[derive(Debug, Parser)]
#[command(name = "aorta", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One program of `aorta`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the registrar until SIGTERM or SIGINT; SIGHUP reads its files again.
    Serve(ServeArgs),
    /// Runs the registrar on loopback, storms it with real digest registrations on every core and
    /// shows the latency histogram.
    Demo(DemoArgs),
    /// Shows every setting with its default, range, unit, value and where that came from.
    Config(ConfigArgs),
}

/// Where settings come from, beside the defaults.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one parameter by its key or its SS_ name, over the file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `aorta serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// The settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Listens here, by udp, tcp, tls, ws or wss; may be repeated. Port 0 lets the kernel choose.
    #[arg(long, value_name = "TRANSPORT:HOST:PORT")]
    pub listen: Vec<String>,
    /// Subscriber file: `user@domain password` or `user@domain ha1 HEX [ha1-sha256 HEX]`, one a
    /// line, options such as `bindings=3` behind it.
    #[arg(long, value_name = "FILE")]
    pub subscribers: Option<String>,
    /// Makes accounts u1..uN with passwords p1..pN in example.com.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub test_accounts: Option<String>,
    /// Number of reactors; one for every allowed CPU unless given.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub reactors: Option<String>,
    /// CPUs the reactors are pinned to, as in 0-3,8.
    #[arg(long, value_name = "LIST", allow_negative_numbers = true)]
    pub cpus: Option<String>,
    /// How datagrams are moved: mmsg or uring.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Directory of what must outlive a restart: the key of the nonces.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// `aorta demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How long the storm lasts.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = number(1..=3600))]
    pub seconds: u32,
    /// Number of test accounts.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = number(1..=10_000_000))]
    pub users: u32,
    /// Number of reactors; one for every allowed CPU unless given.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub reactors: Option<String>,
    /// How datagrams are moved: mmsg or uring.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Requests under way at any time, over all threads of the load generator.
    #[arg(long, value_name = "W", value_parser = number(1..=1_000_000))]
    pub window: Option<u32>,
    /// Where the histograms and the report go.
    #[arg(long, value_name = "DIR", default_value = "aorta-demo-out")]
    pub out: PathBuf,
    /// Ends after the report instead of leaving the server up for a look around.
    #[arg(long)]
    pub exit: bool,
    /// Ends with the summary as one line of JSON; can be had with or without --exit.
    #[arg(long)]
    pub json: bool,
}

fn number(range: RangeInclusive<i64>) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(range)
}

/// `aorta config`.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// The settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What to do with them; shows them unless given.
    #[command(subcommand)]
    pub command: Option<ConfigCommand>,
}

/// Below `aorta config`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Reads a configuration file and the subscriber file it names, and says what is wrong with
    /// them, if anything.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
