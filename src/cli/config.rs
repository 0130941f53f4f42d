//! `aorta config`: what is set, and whether a file is good.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::args::{ConfigArgs, ConfigCommand};
use super::{Failure, print, settings};
use crate::config::Described;

/// Shows the settings, or checks a file.
pub fn run(args: &ConfigArgs) -> Result<ExitCode, Failure> {
    if let Some(ConfigCommand::Check { file }) = &args.command {
        settings::read(file)?;
        print(&format!("{}: good\n", file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = settings::load(&args.settings)?;
    settings.check().map_err(|refusal| Failure::new(refusal.to_string()))?;
    let rows: Vec<Described> = settings.describe().collect();
    let width = |column: fn(&Described) -> &str| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let key = width(|row| &row.key);
    let value = width(|row| &row.value);
    let default = width(|row| &row.default);
    let mut text = String::new();
    for row in &rows {
        let _ = writeln!(
            text,
            "{:key$}  {:value$}  default {:default$}  range {}  from {}",
            row.key, row.value, row.default, row.range, row.origin
        );
        if !row.alias.is_empty() {
            let _ = writeln!(text, "{:key$}  also {}", "", row.alias);
        }
        let _ = writeln!(text, "{:key$}  {}", "", row.about);
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
