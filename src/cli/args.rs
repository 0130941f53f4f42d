//! The command line as clap reads it. What a value means is the parameter table's: here are only
//! names and shapes.

mod analysis;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::analysis::{AlertsArgs, AlertsCommand, BreakdownArgs, DevicesArgs, GeographyArgs};

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
    /// Asks a running registrar, and has it act, over its admin interface.
    Ctl(CtlArgs),
    /// Looks at what operators did, as it is kept.
    Audit(AuditArgs),
    /// What the kernel drops for the registrar: whether it can, letting it, looking, and taking
    /// everything back.
    Shield(ShieldArgs),
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
    /// Opens the admin interface here: HTTP API and metrics. Nobody beyond this host is served
    /// before an operator has a password, or without a token.
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// What opens the admin interface. Others on this host can see it here; AORTA_ADMIN_TOKEN and
    /// serve.admin_token_file keep it from them.
    #[arg(long, value_name = "TOKEN")]
    pub admin_token: Option<String>,
    /// Directory of what must outlive a restart: the key of the nonces, and what operators block.
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
    /// Directory of the data of `aorta serve`: what operators set while it ran lies over the rest.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
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

/// `aorta audit`.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// Below `aorta audit`.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Says whether every line is what was written and in its place, or the first that is not.
    Verify {
        /// The files of DATA/audit in the order they were written, audit.jsonl last.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The number and hash of a line known from elsewhere, such as from what the server said
        /// when it stopped; without it nobody can tell whether the end was cut off.
        #[arg(long, value_name = "NUMBER:HASH")]
        expect: Option<String>,
    },
}

/// `aorta ctl`.
#[derive(Args, Clone, Debug)]
pub struct CtlArgs {
    /// Where the admin interface is; AORTA_ADMIN says so too, 127.0.0.1:8060 unless given.
    #[arg(long, value_name = "[https://]HOST:PORT", global = true)]
    pub admin: Option<String>,
    /// What opens it; AORTA_ADMIN_TOKEN does too, and keeps it from others on this host.
    #[arg(long, value_name = "TOKEN", global = true, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file with the token.
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Over https, the authorities that may have signed its certificate, PEM; those this host
    /// trusts unless given, or AORTA_ADMIN_CACERT says so.
    #[arg(long, value_name = "FILE", global = true)]
    pub cacert: Option<PathBuf>,
    /// Answers as JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to ask, or to do.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// `aorta shield`.
#[derive(Args, Clone, Debug)]
pub struct ShieldArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Sets one parameter by its key or its SS_ name, over the file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Where the admin interface of the running registrar is; AORTA_ADMIN says so too.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    pub admin: Option<String>,
    /// What opens it; AORTA_ADMIN_TOKEN does too, and keeps it from others on this host.
    #[arg(long, value_name = "TOKEN", global = true, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file with the token.
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// nft, where it is not in the usual places.
    #[arg(long, value_name = "FILE", global = true)]
    pub nft: Option<PathBuf>,
    /// Answers as JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: ShieldCommand,
}

/// Below `aorta shield`.
#[derive(Clone, Debug, Subcommand)]
pub enum ShieldCommand {
    /// Says what of it is possible here, and what helps where it is not. Exit status 1 where what
    /// `shield.kernel` asks for is not.
    Check,
    /// Loads the table of nftables with the settings filled in, and has the registrar use what
    /// `shield.kernel` says. The sets begin empty; aorta-nft fills them within a minute.
    Apply {
        /// Only shows the table.
        #[arg(long)]
        print: bool,
    },
    /// Shows what is dropped, by which means, and how much it was.
    Show {
        /// How many blocked networks at most.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Takes everything back: the table of nftables, and the filters of a running registrar.
    Remove,
}

/// Below `aorta ctl`.
#[derive(Clone, Debug, Subcommand)]
pub enum CtlCommand {
    /// Who is registered, and from where.
    #[command(subcommand)]
    Registrations(RegistrationsCommand),
    /// Which accounts are suspended for which sources.
    #[command(subcommand)]
    Suspensions(SuspensionsCommand),
    /// Which sources are blocked.
    #[command(subcommand)]
    Blacklist(BlacklistCommand),
    /// What has happened that concerns security, the latest first.
    Events(EventsArgs),
    /// Shows what is dropped without an answer, from now on and for a while.
    Trace(TraceArgs),
    /// What is set, and setting it while the registrar runs.
    #[command(subcommand)]
    Param(ParamCommand),
    /// How long messages take, stage by stage, at each shard and all together.
    Latency(LatencyArgs),
    /// Which devices are registered, by what they call themselves.
    Devices(DevicesArgs),
    /// From which countries, cities or networks phones are registered.
    Geography(GeographyArgs),
    /// What is registered, by transport, network, status and other ways to tell it apart.
    Breakdown(BreakdownArgs),
    /// What is out of the ordinary, and taking note of it.
    Alerts(AlertsArgs),
    /// How much of what the host can take is in use, and how much more could come.
    Capacity,
    /// What happened to registrations, the latest first.
    History {
        /// Which.
        #[command(flatten)]
        args: HistoryArgs,
        /// Of these kinds, with commas between: registered, refreshed, moved, unregistered,
        /// expired, replaced, kicked, removed, flapping, refused, suspended, unsuspended.
        #[arg(long, value_name = "KINDS")]
        kind: Option<String>,
    },
    /// Registrations that were refused, the latest first.
    Failed(HistoryArgs),
    /// How many registrations there were, and how much happened, over time.
    Trend(TrendArgs),
    /// Every counter; zeros are left out unless --all.
    Metrics {
        /// Only those whose name has this in it.
        name: Option<String>,
        /// Zeros as well, and each shard and reactor by itself.
        #[arg(long)]
        all: bool,
    },
}

/// `aorta ctl events`.
#[derive(Args, Clone, Debug)]
pub struct EventsArgs {
    /// Of these kinds, with commas between, such as bad_password,scanner; `alerts` are those that
    /// somebody should look at.
    #[arg(long, value_name = "KINDS")]
    pub kind: Option<String>,
    /// On this account; the domain may be left out.
    #[arg(long, value_name = "USER@DOMAIN")]
    pub account: Option<String>,
    /// From this address or network.
    #[arg(long, value_name = "ADDRESS|NETWORK")]
    pub source: Option<String>,
    /// That has happened in this time (90s, 10m, 2h, 7d), or since 2026-11-21T02:38:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all")]
    pub limit: usize,
    /// However many there are.
    #[arg(long)]
    pub all: bool,
    /// Goes on with what happens from now on, until it is interrupted.
    #[arg(long, short, conflicts_with_all = ["all", "limit"])]
    pub follow: bool,
}

/// `aorta ctl history` and `aorta ctl failed`.
#[derive(Args, Clone, Debug)]
pub struct HistoryArgs {
    /// Of this account; the domain may be left out.
    #[arg(long, value_name = "USER@DOMAIN")]
    pub aor: Option<String>,
    /// From this address or network.
    #[arg(long, value_name = "ADDRESS|NETWORK")]
    pub ip: Option<String>,
    /// With this reason, such as bad_password.
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// With this in the User-Agent.
    #[arg(long, value_name = "TEXT")]
    pub user_agent: Option<String>,
    /// With this in the account, the contact, the source, the User-Agent or the reason.
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// In this time (90s, 10m, 2h, 7d), or since 2026-11-21T02:38:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all")]
    pub limit: usize,
    /// However many there are.
    #[arg(long)]
    pub all: bool,
    /// As comma-separated values.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// `aorta ctl trend`.
#[derive(Args, Clone, Debug)]
pub struct TrendArgs {
    /// From this time ago (90s, 10m, 2h, 7d), or from 2026-11-21T02:38:00Z on; the last hour unless
    /// given.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Up to this time; now unless given.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// In steps of 10s, 1m or 1h; those that fit the span unless given.
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// Of these, with commas between, such as registrations,registered,p99_ns; all unless given.
    #[arg(long, value_name = "METRICS")]
    pub metrics: Option<String>,
    /// As comma-separated values.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// `aorta ctl trace`.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// Messages from this address or network.
    #[arg(long, value_name = "ADDRESS|NETWORK")]
    pub source: Option<String>,
    /// Messages that name this account.
    #[arg(long, value_name = "USER@DOMAIN")]
    pub account: Option<String>,
    /// What is dropped for this reason, as in aorta_not_answered_total; everything but keepalives
    /// unless given.
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// For so long.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = number(1..=3600))]
    pub seconds: u32,
}

/// `aorta ctl latency`.
#[derive(Args, Clone, Debug)]
pub struct LatencyArgs {
    /// At this shard, or `all` together; all and each unless given.
    #[arg(long, value_name = "N|all")]
    pub shard: Option<String>,
    /// Of this stage: receive, guard, parse, auth, core or send, the share of one message in what
    /// its batch took; handoff, its way to the shard that owns its account; or whole, what it
    /// waited for its batch.
    #[arg(long)]
    pub stage: Option<String>,
    /// In the last ten seconds that are over; since the start unless given.
    #[arg(long)]
    pub last: bool,
    /// The percentile distribution of one stage, of the whole unless another is named, in
    /// milliseconds, for HdrHistogram's plotter.
    #[arg(long)]
    pub hgrm: bool,
}

/// Below `aorta ctl param`.
#[derive(Clone, Debug, Subcommand)]
pub enum ParamCommand {
    /// Lists parameters with their values and where those came from.
    List {
        /// Only those with this in their key, alias or meaning.
        text: Option<String>,
        /// Only those that differ from their default.
        #[arg(long)]
        set: bool,
    },
    /// Shows everything about one.
    Get {
        /// Its key, or its SS_ name.
        name: String,
    },
    /// Sets one. Asks first, unless its input is no terminal.
    Set {
        /// Its key, or its SS_ name.
        name: String,
        /// Its value, as in a file.
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Why, for the audit.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Takes back what an operator set: what the configuration says holds again. Asks first, unless
    /// its input is no terminal.
    Unset {
        /// Its key, or its SS_ name.
        name: String,
        /// Why, for the audit.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Below `aorta ctl suspensions`.
#[derive(Clone, Debug, Subcommand)]
pub enum SuspensionsCommand {
    /// Lists suspensions, those that end first at the top of each shard's.
    List {
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// However many there are.
        #[arg(long)]
        all: bool,
    },
    /// Lifts the suspension of an account. Asks first, unless its input is no terminal.
    Lift {
        /// The address-of-record; the domain may be left out where there is one.
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        /// For this source; for all of them unless given.
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<String>,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Below `aorta ctl blacklist`.
#[derive(Clone, Debug, Subcommand)]
pub enum BlacklistCommand {
    /// Lists sources, in the order of their addresses.
    List {
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// However many there are.
        #[arg(long)]
        all: bool,
    },
    /// Blocks a source, its /64 if it is one of IPv6. Asks first, unless its input is no terminal.
    Add {
        /// The source.
        #[arg(value_name = "ADDRESS")]
        source: String,
        /// For so long; until it is lifted unless given.
        #[arg(long, value_name = "N")]
        seconds: Option<u32>,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Lifts the block of a source. Asks first, unless its input is no terminal.
    Lift {
        /// The source.
        #[arg(value_name = "ADDRESS")]
        source: String,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which registrations.
#[derive(Args, Clone, Debug, Default)]
pub struct Filters {
    /// Those of this address-of-record.
    #[arg(long, value_name = "USER@DOMAIN")]
    pub aor: Option<String>,
    /// Those of this contact.
    #[arg(long, value_name = "URI")]
    pub contact: Option<String>,
    /// Those that came from this address or network.
    #[arg(long, value_name = "ADDRESS|NETWORK")]
    pub ip: Option<String>,
}

/// Below `aorta ctl registrations`.
#[derive(Clone, Debug, Subcommand)]
pub enum RegistrationsCommand {
    /// Lists registrations.
    List {
        /// Which.
        #[command(flatten)]
        filters: Filters,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// However many there are.
        #[arg(long)]
        all: bool,
    },
    /// Shows everything about the registrations of one address-of-record.
    Show {
        /// The address-of-record; the domain may be left out where there is one.
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
    },
    /// Takes registrations out. Asks first, unless its input is no terminal.
    #[command(
        visible_alias = "kick",
        group = clap::ArgGroup::new("which").required(true).multiple(true)
    )]
    Unregister {
        /// All of this address-of-record, unless an option says which.
        #[arg(value_name = "USER@DOMAIN", group = "which")]
        aor: Option<String>,
        /// Those of this contact.
        #[arg(long, value_name = "URI", group = "which")]
        contact: Option<String>,
        /// Those that came from this address or network.
        #[arg(long, value_name = "ADDRESS|NETWORK", group = "which")]
        ip: Option<String>,
        /// The one of this name, as a listing gives it.
        #[arg(long, value_name = "NAME", requires = "aor", conflicts_with_all = ["contact", "ip"])]
        binding: Option<String>,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
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
