//! What `aorta ctl devices`, `geography` and `breakdown` take.

use clap::Args;

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
