//! What `aorta ctl devices`, `geography`, `breakdown` and `alerts` take.

use clap::{Args, Subcommand};

/// `aorta ctl devices`.
#[derive(Args, Clone, Debug)]
pub struct DevicesArgs {
    /// Told apart by vendor, model or firmware.
    #[arg(long, value_name = "WORD", default_value = "model")]
    pub by: String,
    /// Of this vendor alone.
    #[arg(long, value_name = "NAME")]
    pub vendor: Option<String>,
    /// How many rows at most.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// As CSV, for spreadsheets.
    #[arg(long)]
    pub csv: bool,
}

/// `aorta ctl geography`.
#[derive(Args, Clone, Debug)]
pub struct GeographyArgs {
    /// Told apart by country, city or as (autonomous system).
    #[arg(long, value_name = "WORD", default_value = "country")]
    pub by: String,
    /// Of this country alone, by its code of two letters.
    #[arg(long, value_name = "CODE")]
    pub country: Option<String>,
    /// How many rows at most.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// As CSV, for spreadsheets.
    #[arg(long)]
    pub csv: bool,
}

/// `aorta ctl breakdown`.
#[derive(Args, Clone, Debug)]
pub struct BreakdownArgs {
    /// vendor, model, firmware, transport, network (/16, of IPv6 /48), source (the address, of IPv6
    /// its /64), nat, status, domain, country, city or as.
    #[arg(value_name = "WORD")]
    pub by: String,
    /// How many rows at most.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// As CSV, for spreadsheets.
    #[arg(long)]
    pub csv: bool,
}

/// `aorta ctl alerts`.
#[derive(Args, Clone, Debug)]
pub struct AlertsArgs {
    /// Every rule, and what it says.
    #[arg(long, conflicts_with = "history")]
    pub rules: bool,
    /// Alerts that are over, the latest first.
    #[arg(long)]
    pub history: bool,
    /// What to do; shows what fires and what is pending unless given.
    #[command(subcommand)]
    pub command: Option<AlertsCommand>,
}

/// Below `aorta ctl alerts`.
#[derive(Clone, Debug, Subcommand)]
pub enum AlertsCommand {
    /// Takes note of an alert that fires, so that nobody is told of it again. Asks first, unless
    /// its input is no terminal.
    #[command(visible_alias = "ack")]
    Acknowledge {
        /// The rule.
        #[arg(value_name = "RULE")]
        rule: String,
        /// Why, for others to read.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
    },
}
