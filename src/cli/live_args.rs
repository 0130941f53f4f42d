//! The arguments of `aorta ctl trace` and `aorta ctl top`, which show what goes on.

use std::path::PathBuf;

use clap::Args;

use super::args::number;

/// `aorta ctl trace`.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// Messages from or to this address or network.
    #[arg(long, value_name = "ADDRESS|NETWORK")]
    pub source: Option<String>,
    /// Messages that name this account, by whatever name of its domain; the domain may be left out.
    #[arg(long, value_name = "USER@DOMAIN")]
    pub account: Option<String>,
    /// What is dropped or refused for this reason, as in aorta_not_answered_total and
    /// aorta_refused_total.
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only what this became of.
    #[arg(long, value_enum)]
    pub outcome: Option<TraceOutcome>,
    /// Only what goes this way.
    #[arg(long, value_enum)]
    pub direction: Option<TraceDirection>,
    /// Also what keeps pinholes open and is no SIP.
    #[arg(long)]
    pub keepalives: bool,
    /// For so long.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = number(1..=3600))]
    pub seconds: u32,
    /// So many messages are kept, the newest.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = number(1..=10_000))]
    pub messages: u32,
    /// Whole messages, not their first lines alone.
    #[arg(long)]
    pub full: bool,
    /// Writes what was kept to this file, for Wireshark or sngrep (pcapng).
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// What became of messages that are to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TraceOutcome {
    /// They were dropped without an answer.
    Dropped,
    /// They were dropped, or refused for good.
    Failed,
}

impl TraceOutcome {
    /// As the interface takes it.
    pub const fn word(self) -> &'static str {
        match self {
            TraceOutcome::Dropped => "dropped",
            TraceOutcome::Failed => "failed",
        }
    }
}

/// Which way messages go that are to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TraceDirection {
    /// They come in.
    In,
    /// They go out.
    Out,
}

impl TraceDirection {
    /// As the interface takes it.
    pub const fn word(self) -> &'static str {
        match self {
            TraceDirection::In => "in",
            TraceDirection::Out => "out",
        }
    }
}

/// `aorta ctl top`.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// Asks every so many seconds.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = number(1..=60))]
    pub interval: u32,
}
