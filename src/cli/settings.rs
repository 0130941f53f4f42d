//! From the command line and the configuration file to checked [`Settings`]. Reads the file; what
//! its text means is `config`'s.

use std::fs;
use std::path::Path;

use super::Failure;
use super::args::{ServeArgs, SettingsArgs};
use crate::config::{self, Origin, Settings};
use crate::reactor;

/// The settings of the file, if one is named, with `--set` over them.
///
/// # Errors
/// One line for each fault: where it was read, the key, what was expected.
pub fn load(args: &SettingsArgs) -> Result<Settings, Failure> {
    let mut settings = match &args.config {
        Some(file) => read(file)?,
        None => Settings::default(),
    };
    for assignment in &args.set {
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            Failure::new(format!(
                "--set {assignment}: expected KEY=VALUE, as in --set auth.nonce_lifetime=30m"
            ))
        })?;
        set(&mut settings, key.trim(), value)?;
    }
    Ok(settings)
}

/// The settings of `aorta serve` without what operators set: those of [`load`], with its own
/// options over them.
///
/// # Errors
/// As [`load`]; also values that do not go together.
pub fn for_serve(args: &ServeArgs) -> Result<Settings, Failure> {
    let mut settings = load(&args.settings)?;
    let options = [
        ("serve.subscribers", &args.subscribers),
        ("serve.test_accounts", &args.test_accounts),
        ("serve.reactors", &args.reactors),
        ("serve.cpus", &args.cpus),
        ("serve.backend", &args.backend),
        ("serve.admin", &args.admin),
    ];
    for (key, value) in options {
        if let Some(value) = value {
            set(&mut settings, key, value)?;
        }
    }
    if !args.listen.is_empty() {
        let listen: Result<Vec<_>, _> =
            args.listen.iter().map(|listen| number_interface(listen)).collect();
        set(&mut settings, "serve.listen", &listen?.join(","))?;
    }
    settings.check().map_err(|refusal| Failure::new(refusal.to_string()))?;
    Ok(settings)
}

/// Reads and checks one configuration file.
///
/// # Errors
/// As [`load`].
pub fn read(file: &Path) -> Result<Settings, Failure> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("cannot read the configuration {name}: {error}")))?;
    config::load(&text, &name)
        .map_err(|refusals| Failure::lines(refusals.iter().map(ToString::to_string).collect()))
}

/// `[fe80::1%eth0]` with the number that the interface has now in place of its name.
fn number_interface(listen: &str) -> Result<String, Failure> {
    let Some((before, rest)) = listen.split_once('%') else { return Ok(listen.to_owned()) };
    let Some((name, after)) = rest.split_once(']') else { return Ok(listen.to_owned()) };
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(listen.to_owned());
    }
    let number = reactor::interface_number(name).ok_or_else(|| {
        Failure::new(format!(
            "--listen {listen}: there is no interface {name}; `ip link` lists those there are"
        ))
    })?;
    Ok(format!("{before}%{number}]{after}"))
}

/// Sets one parameter from the command line.
pub(super) fn set(settings: &mut Settings, key: &str, value: &str) -> Result<(), Failure> {
    settings
        .apply(key, value, Origin::CommandLine)
        .map_err(|refusal| Failure::new(refusal.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_numbered_and_one_that_is_not_there_is_named() {
        let number = number_interface("udp:[fe80::1%lo]:5060");
        assert_eq!(number.ok().as_deref(), Some("udp:[fe80::1%1]:5060"));
        let kept = number_interface("udp:[fe80::1%7]:5060");
        assert_eq!(kept.ok().as_deref(), Some("udp:[fe80::1%7]:5060"));
        let refusal = number_interface("udp:[fe80::1%none0]:5060").unwrap_err().into_line();
        assert!(refusal.contains("there is no interface none0"), "{refusal}");
    }
}
