//! The program `aorta-load`: arguments in, a run of the library, its report out. Exit status 0
//! where nothing was lost or wrong, 1 where something was or the run could not begin, 2 for
//! wrong usage.

mod attack_arguments;
mod nat_arguments;
mod papers;

use aorta_load::options::{AlgorithmChoice, Options, Pace};
use aorta_load::report::progress::ProgressLine;
use aorta_load::{
    Algorithm, Error, Roster, Scenario, Summary, Weights, attack, nat, report, socket,
};
use attack_arguments::AttackArguments;
use clap::Parser;
use nat_arguments::{Ended, NatArguments};
use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A SIP load generator whose latency counts from the intended send time.
#[derive(Parser)]
#[command(name = "aorta-load", version, after_help = AFTER_HELP)]
struct Arguments {
    /// Scenario, or `list` to name them all; `man` and `completions` for this command line
    scenario: String,
    /// The registrar: HOST:PORT, [IPV6]:PORT, or HOST alone for port 5060
    #[arg(long, short, value_name = "HOST:PORT")]
    target: Option<String>,
    /// Number of users
    #[arg(long, short, default_value_t = 1000)]
    users: u32,
    /// Number of the first user
    #[arg(long, value_name = "N", default_value_t = 1)]
    first_user: u32,
    /// Open loop: begin this many actions a second, by a plan made before
    #[arg(long, short, value_name = "R", conflicts_with = "window", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Closed loop: keep this many actions under way [default: 128, where there is no rate]
    #[arg(long, short, value_name = "W")]
    window: Option<u32>,
    /// How long actions are begun, or pings measured: seconds, or with a unit (500ms, 30s, 5m, 2h)
    /// [default: 10, in `nat` 70]
    #[arg(long, short, value_name = "S", value_parser = duration)]
    seconds: Option<Duration>,
    /// Time over which the rate grows, or over which a storm's phones begin
    #[arg(long, value_name = "S", default_value = "0", value_parser = duration)]
    ramp: Duration,
    /// Threads [default: one for each of --cpus, or for every second CPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// CPUs to pin the threads to, as in 0,2-5
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpus: Option<CpuList>,
    /// Source sockets of each thread
    #[arg(long, value_name = "N", default_value_t = 32)]
    sockets: usize,
    /// Source addresses, used in turn; a range as in 127.0.0.2-127.0.0.9 stands for all in it
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', value_parser = sources)]
    source: Vec<Sources>,
    /// Domain of the users
    #[arg(long, default_value = "example.com")]
    domain: String,
    // Clap would make a line break of {n} here; the default shows it.
    /// Their names: {n:06} stands for the number in six digits, without :06 in as many as it has
    #[arg(long, value_name = "FORMAT", default_value = "u{n}")]
    user_format: String,
    /// Their passwords
    #[arg(long, value_name = "FORMAT", default_value = "p{n}")]
    password_format: String,
    /// Accounts from a file instead, one `user@domain password` a line
    #[arg(long, value_name = "FILE")]
    subscribers: Option<PathBuf>,
    /// Which challenges to answer
    #[arg(long, value_name = "first|md5|sha-256", default_value = "first")]
    #[arg(value_parser = algorithm)]
    algorithm: AlgorithmChoice,
    /// Seconds to register for
    #[arg(long, value_name = "S", default_value_t = 3600)]
    expires: u32,
    /// The server's limit of bindings for an account; at 1 `flap` allows no other contact
    #[arg(long, value_name = "N", default_value_t = 1)]
    bindings_max: u32,
    /// Shares in `mixed` [default: refresh=70,register=10,unregister=5,fetch=5,wrong=5,options=5]
    #[arg(long, value_name = "ACTION=N,...")]
    weights: Option<Weights>,
    /// Whether requests that leave a socket together, and their answers, may travel as one message
    /// (UDP_SEGMENT, UDP_GRO), as between a server and an SBC; `off` for the load that as many
    /// phones with addresses of their own are
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = on_or_off)]
    #[arg(action = clap::ArgAction::Set)]
    offload: bool,
    /// From the intended send to the loss
    #[arg(long, value_name = "S", default_value = "32", value_parser = duration)]
    timeout: Duration,
    /// Send every request once only
    #[arg(long)]
    no_retransmit: bool,
    /// Lose this share of the datagrams of each direction by choice, percent; not in `nat`
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, allow_negative_numbers = true)]
    loss: f64,
    /// How long phones of a storm that are told to come back later go on doing so
    #[arg(long, value_name = "S", default_value = "120", value_parser = duration)]
    patience: Duration,
    /// Write summary.json, histograms and report.html into this directory
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// End with the summary as one line of JSON
    #[arg(long)]
    json: bool,
    /// The shell that `completions` are for: bash, zsh or fish
    #[arg(long, value_name = "SHELL", default_value = "bash", value_parser = papers::shell)]
    shell: clap_complete::Shell,
    /// No progress lines
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    nat: NatArguments,
    #[command(flatten)]
    attack: AttackArguments,
}

const AFTER_HELP: &str = "\
Latency counts from the intended send: the plan's time in the open loop (a send that is behind \
leaves at once and is charged for the wait), the send itself in the closed loop. A request that \
answers a challenge is intended for the moment the challenge came in. `lost` is a request \
without a final answer within the timeout; `late` are the lost ones that were answered after \
all. `nat` also fails where a registration could not have been called at some moment though the \
server's keepalives should have held its pinhole. `attack` fails where something of what the \
server should do under attack did not hold. Exit status: 0 nothing lost or wrong, 1 something \
was, 2 usage.";

#[derive(Clone)]
struct Sources(Vec<IpAddr>);

#[derive(Clone)]
struct CpuList(Vec<usize>);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.scenario == "list" {
        let line = |name, about| format!("{name:<10} {about}\n");
        let mut text: String = Scenario::all().map(|one| line(one.name, one.about)).collect();
        text.push_str(&line(nat::NAME, nat::ABOUT));
        text.push_str(&line(attack::NAME, attack::ABOUT));
        return if show(&text) { ExitCode::SUCCESS } else { ExitCode::from(1) };
    }
    let paper = match arguments.scenario.as_str() {
        papers::MAN => Some(papers::man()),
        papers::COMPLETIONS => Some(papers::completions(arguments.shell)),
        _ => None,
    };
    if let Some(paper) = paper {
        return if show(&paper) { ExitCode::SUCCESS } else { ExitCode::from(1) };
    }
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(why) => return usage(&why),
    };
    if let Some(directory) = &arguments.out
        && let Err(error) = report::prepare(directory)
    {
        note(format_args!("cannot write into {}: {error}", directory.display()));
        return ExitCode::from(1);
    }
    if arguments.scenario == nat::NAME {
        let options = arguments.nat.options(options);
        let out = arguments.out.as_deref();
        return end(&arguments, nat_arguments::run(&options, arguments.quiet, out));
    }
    if arguments.scenario == attack::NAME {
        let options = match arguments.attack.options(options) {
            Ok(options) => options,
            Err(why) => return usage(&why),
        };
        let out = arguments.out.as_deref();
        return end(&arguments, attack_arguments::run(&options, arguments.quiet, out));
    }
    let stop = socket::interrupt_flag();
    let mut line = ProgressLine::new(arguments.quiet);
    let outcome = match aorta_load::run(&options, stop, &mut |progress| line.show(progress)) {
        Ok(outcome) => outcome,
        Err(Error::Option(why)) => return usage(&why),
        Err(error) => {
            line.end();
            note(error);
            return ExitCode::from(1);
        }
    };
    line.end();
    let mut text = report::table(&outcome);
    let mut status = if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    if let Some(directory) = &arguments.out {
        match report::write_files(&outcome, directory) {
            Ok(()) => text.push_str(&format!("  report in {}\n", directory.display())),
            Err(error) => {
                note(format_args!("cannot write into {}: {error}", directory.display()));
                status = ExitCode::from(1);
            }
        }
    }
    if arguments.json {
        let summary = Summary::from(&outcome).to_json();
        text.push_str(&summary);
        text.push('\n');
    }
    if show(&text) { status } else { ExitCode::from(1) }
}

/// Shows what is left of a run with a report of its own.
fn end(arguments: &Arguments, ran: Result<Ended, Error>) -> ExitCode {
    let out = arguments.out.as_deref();
    let mut ended = match ran {
        Ok(ended) => ended,
        Err(Error::Option(why)) => return usage(&why),
        Err(error) => {
            note(error);
            return ExitCode::from(1);
        }
    };
    if let Some(directory) = out {
        match &ended.files {
            Ok(()) => ended.text.push_str(&format!("  report in {}\n", directory.display())),
            Err(error) => {
                note(format_args!("cannot write into {}: {error}", directory.display()));
                ended.is_clean = false;
            }
        }
    }
    if arguments.json {
        ended.text.push_str(&ended.json);
        ended.text.push('\n');
    }
    if show(&ended.text) && ended.is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Writes to standard output. A reader that has gone away is no failure of the run; figures that a
/// full disk did not take are: false.
fn show(text: &str) -> bool {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            note(format_args!("cannot write to standard output: {error}"));
            false
        }
        _ => true,
    }
}

/// Writes a line to standard error, whoever reads it.
fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "aorta-load: {line}");
}

fn usage(why: &str) -> ExitCode {
    note(format_args!("{why}\nFor more information, try '--help'."));
    ExitCode::from(2)
}

fn options(arguments: &Arguments) -> Result<Options, String> {
    let behind_nats = arguments.scenario == nat::NAME;
    let attacks = arguments.scenario == attack::NAME;
    let scenario = match behind_nats || attacks {
        true => Scenario::REGISTER,
        false => arguments
            .scenario
            .parse()
            .map_err(|why| format!("{why}, {}, {}", nat::NAME, attack::NAME))?,
    };
    if !attacks && arguments.attack.is_any() {
        return Err(format!("{} attacks nobody: only attack does", arguments.scenario));
    }
    if attacks && arguments.window.is_some() {
        return Err("the honest phones of attack go by --rate, not --window".to_owned());
    }
    if !behind_nats && arguments.nat.is_any() {
        return Err(format!("{} knows no NATs: only nat does", arguments.scenario));
    }
    if behind_nats && arguments.loss != 0.0 {
        return Err("nat loses nothing by choice".to_owned());
    }
    if scenario.storm && (arguments.rate.is_some() || arguments.window.is_some()) {
        return Err("storm has neither --rate nor --window: --ramp spreads its start".to_owned());
    }
    let target = arguments.target.as_deref().ok_or("--target HOST:PORT is needed")?;
    let roster = match &arguments.subscribers {
        Some(file) => Roster::read(file),
        None => Roster::numbered(
            &arguments.user_format,
            &arguments.password_format,
            &arguments.domain,
            arguments.first_user,
            arguments.users,
        ),
    };
    let roster = roster.map_err(|error| error.to_string())?;
    let cpus = arguments.cpus.clone().map_or(Vec::new(), |list| list.0);
    let spare = std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2));
    let usual = if cpus.is_empty() { spare } else { cpus.len() };
    let mut options = Options::new(scenario, resolve(target)?, roster);
    options.threads = arguments.threads.unwrap_or(usual.min(options.roster.len() as usize));
    options.cpus = cpus;
    options.pace = match (arguments.rate, arguments.window) {
        (Some(rate), _) => Pace::Rate(rate),
        (None, Some(window)) => Pace::Window(window),
        (None, None) => Pace::Window(128.max(options.threads as u32)),
    };
    options.ramp = arguments.ramp;
    let usual = if behind_nats { Duration::from_secs(70) } else { options.duration };
    options.duration = arguments.seconds.unwrap_or(usual);
    options.sockets = arguments.sockets;
    options.sources = arguments.source.iter().flat_map(|one| one.0.clone()).collect();
    options.offload = arguments.offload;
    options.timeout = arguments.timeout;
    options.retransmit = !arguments.no_retransmit;
    options.loss_percent = arguments.loss;
    options.patience = arguments.patience;
    options.algorithm = arguments.algorithm;
    options.expires = arguments.expires;
    options.bindings_max = arguments.bindings_max;
    options.weights = arguments.weights.unwrap_or_default();
    Ok(options)
}

fn resolve(target: &str) -> Result<SocketAddr, String> {
    let with_port = target.to_socket_addrs();
    let mut found = match with_port {
        Ok(found) => found,
        Err(error) => {
            let bare =
                |target: &'_ str| target.strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
            let host = bare(target).unwrap_or_else(|| target.to_owned());
            (host.as_str(), 5060)
                .to_socket_addrs()
                .map_err(|_| format!("cannot resolve the target `{target}`: {error}"))?
        }
    };
    found.next().ok_or_else(|| format!("the target `{target}` has no address"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|byte: char| byte.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("no unit `{unit}`: ms, s, m or h")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("`{text}` is not a duration"))?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

/// Longest range of source addresses.
const SOURCES_MAX: u32 = 65_536;

fn sources(text: &str) -> Result<Sources, String> {
    let wrong = || format!("`{text}` is not an address or a range of IPv4 addresses");
    let Some((first, last)) = text.split_once('-') else {
        return text.parse().map(|address| Sources(vec![address])).map_err(|_| wrong());
    };
    let first: u32 = first.parse::<Ipv4Addr>().map_err(|_| wrong())?.into();
    let last: u32 = last.parse::<Ipv4Addr>().map_err(|_| wrong())?.into();
    if last < first || last - first >= SOURCES_MAX {
        return Err(format!("`{text}` is empty or longer than {SOURCES_MAX} addresses"));
    }
    Ok(Sources((first..=last).map(|address| Ipv4Addr::from(address).into()).collect()))
}

fn cpu_list(text: &str) -> Result<CpuList, String> {
    let mut cpus = Vec::new();
    let number = |text: &str| {
        text.trim()
            .parse::<usize>()
            .ok()
            .filter(|cpu| *cpu < 4096)
            .ok_or(format!("no CPU `{text}`"))
    };
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
            None => cpus.push(number(part)?),
        }
    }
    if cpus.is_empty() { Err(format!("`{text}` names no CPU")) } else { Ok(CpuList(cpus)) }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{text}` is neither on nor off")),
    }
}

fn algorithm(text: &str) -> Result<AlgorithmChoice, String> {
    if text == "first" {
        return Ok(AlgorithmChoice::FirstOffered);
    }
    Algorithm::from_token(text.as_bytes())
        .map(AlgorithmChoice::Only)
        .ok_or_else(|| format!("no algorithm `{text}`: first, md5 or sha-256"))
}
