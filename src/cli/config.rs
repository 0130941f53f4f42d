//! `aorta config`: what is set, and whether a file is good.

use std::process::ExitCode;

use super::args::{ConfigArgs, ConfigCommand};
use super::say::{note, print};
use super::{Failure, accounts, parameters, settings};
use crate::config::Described;

/// Shows the settings, or checks a file.
pub fn run(args: &ConfigArgs) -> Result<ExitCode, Failure> {
    if let Some(ConfigCommand::Check { file }) = &args.command {
        let settings = settings::read(file)?;
        if let Some(line) = accounts::load(&settings)?.short_passwords(&settings) {
            note(line);
        }
        print(format_args!("{}: good", file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = settings::load(&args.settings)?;
    let settings = match &args.data {
        Some(data) => parameters::over(&settings, data)?,
        None => settings,
    };
    settings.check().map_err(|refusal| Failure::new(refusal.to_string()))?;
    let rows: Vec<Described> = settings.describe().collect();
    let width = |column: fn(&Described) -> &str| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let key = width(|row| &row.key);
    let value = width(|row| &row.value);
    let default = width(|row| &row.default);
    for row in &rows {
        print(format_args!(
            "{:key$}  {:value$}  default {:default$}  range {}  from {}",
            row.key, row.value, row.default, row.range, row.origin
        ))?;
        if row.at_start {
            print(format_args!("{:key$}  holds from start to end", ""))?;
        }
        if !row.alias.is_empty() {
            print(format_args!("{:key$}  also {}", "", row.alias))?;
        }
        print(format_args!("{:key$}  {}", "", row.about))?;
    }
    Ok(ExitCode::SUCCESS)
}
