//! The arguments of `aorta-load nat`, and the program's part in such a run.

use aorta_load::nat::{self, Choice, Mapping, NatOptions, Ports, Refresh};
use aorta_load::report::progress::ProgressLine;
use aorta_load::{Error, Options, socket};
use clap::Args;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// What only `nat` knows; none of it given means its defaults.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "Behind NATs (nat)")]
pub struct NatArguments {
    /// How long a pinhole stays open without a packet that counts [default: 32]
    #[arg(long, value_name = "S", value_parser = crate::duration)]
    nat_timeout: Option<Duration>,
    /// The server's keepalive period: what no pinhole should go longer without a packet
    /// [default: 30]
    #[arg(long, value_name = "S", value_parser = crate::duration)]
    period: Option<Duration>,
    /// Who reaches a phone: whoever sends to its outside address (endpoint-independent), or only
    /// whom it has sent to (symmetric) [default: mixed]
    #[arg(long, value_name = "independent|symmetric|mixed", value_parser = choice::<Mapping>)]
    mapping: Option<Choice<Mapping>>,
    /// What keeps a pinhole open: packets in both directions, or outbound ones alone
    /// [default: both]
    #[arg(long, value_name = "both|outbound|mixed", value_parser = choice::<Refresh>)]
    refresh: Option<Choice<Refresh>>,
    /// The outside port of a pinhole that opens again: the same, or another [default: change]
    #[arg(long, value_name = "keep|change|mixed", value_parser = choice::<Ports>)]
    ports: Option<Choice<Ports>>,
    /// Phones behind one NAT, which has an address of its own and a port for each of --sockets
    /// [default: 8]
    #[arg(long, value_name = "N")]
    phones_per_nat: Option<u32>,
    /// Whether phones answer the server's OPTIONS [default: on]
    #[arg(long, value_name = "on|off", value_parser = crate::on_or_off)]
    answer: Option<bool>,
}

impl NatArguments {
    /// Whether any of them was given.
    pub fn is_any(&self) -> bool {
        self.nat_timeout.is_some()
            || self.period.is_some()
            || self.mapping.is_some()
            || self.refresh.is_some()
            || self.ports.is_some()
            || self.phones_per_nat.is_some()
            || self.answer.is_some()
    }

    /// The run that they ask for, `run` being what every scenario takes.
    pub fn options(&self, mut run: Options) -> NatOptions {
        run.offload = false;
        let defaults = NatOptions::new(run.target, aorta_load::Roster::default());
        NatOptions {
            timeout: self.nat_timeout.unwrap_or(defaults.timeout),
            period: self.period.unwrap_or(defaults.period),
            mapping: self.mapping.unwrap_or(defaults.mapping),
            refresh: self.refresh.unwrap_or(defaults.refresh),
            ports: self.ports.unwrap_or(defaults.ports),
            phones: self.phones_per_nat.unwrap_or(defaults.phones),
            answer: self.answer.unwrap_or(defaults.answer),
            run,
        }
    }
}

/// What is left of a run: the text to print, the summary as a line of JSON, whether it was clean.
pub struct Ended {
    pub text: String,
    pub json: String,
    pub is_clean: bool,
    pub files: std::io::Result<()>,
}

/// Runs it, with progress, and writes its files where a directory is given.
pub fn run(options: &NatOptions, quiet: bool, out: Option<&Path>) -> Result<Ended, Error> {
    let mut line = ProgressLine::new(quiet);
    let ran = nat::run(options, socket::interrupt_flag(), &mut |progress| {
        line.show_text(&nat::report::progress(progress));
    });
    line.end();
    let outcome = ran?;
    Ok(Ended {
        text: nat::report::table(&outcome),
        json: nat::report::NatSummary::from(&outcome).to_json(),
        is_clean: outcome.is_clean(),
        files: out.map_or(Ok(()), |directory| nat::report::write_files(&outcome, directory)),
    })
}

fn choice<T: FromStr<Err = ()>>(text: &str) -> Result<Choice<T>, String> {
    match text {
        "mixed" => Ok(Choice::Mixed),
        word => word.parse().map(Choice::Only).map_err(|()| format!("no choice `{word}`")),
    }
}
