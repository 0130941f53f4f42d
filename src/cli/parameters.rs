//! Parameters that operators set while the registrar runs: a layer over the configuration and the
//! command line, kept where anything is, and made to hold by the way of a reload.

use std::path::{Path, PathBuf};

use super::Failure;
use super::server::Server;
use crate::admin::{ParameterDone, ParameterOrder, ParameterRefused, ParameterRow};
use crate::config::parameters::{Parameter, find};
use crate::config::refusal::Fault;
use crate::config::{Origin, Refusal, Settings};
use crate::store::overrides::{self, Overrides};

/// What says where files are, where this process connects to by itself, how much of the audit is
/// kept, and where it listens: whoever holds the interface alone must not be able to have it read
/// or write files of his choice, send what is in them anywhere, or forget what he did.
const LOCKED: [&str; 24] = [
    "serve.subscribers",
    "serve.test_accounts",
    "serve.admin",
    "serve.admin_token_file",
    "security.log",
    "geo.database",
    "shield.helper",
    "admin.certificate",
    "admin.key",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "serve.backend",
    "serve.cpus",
    "serve.listen",
    "security.log_bytes",
    "security.log_files",
    "admin.audit_bytes",
    "admin.audit_files",
    "alerts.webhook",
    "alerts.webhook_secret_file",
    "alerts.webhook_ca",
    "trace.hep",
    "trace.hep_password_file",
];

/// The layer.
pub struct Layer {
    data: Option<PathBuf>,
    /// What holds without it.
    base: Settings,
    set: Overrides,
}

/// Settings with what operators set over them.
///
/// # Errors
/// One line with what of it is not taken any more, and where that is kept.
pub fn over(base: &Settings, data: &Path) -> Result<Settings, Failure> {
    let set = overrides::read(data).map_err(Failure::new)?;
    laid_over(base, &set).map_err(|refusal| {
        let file = overrides::path(data);
        Failure::new(format!("{}: {refusal}", file.display()))
    })
}

fn laid_over(base: &Settings, set: &Overrides) -> Result<Settings, String> {
    let mut settings = base.clone();
    for (key, value) in set {
        settings.apply(key, value, Origin::Operator).map_err(|refusal| line(&refusal))?;
    }
    settings.check().map_err(|refusal| line(&refusal))?;
    Ok(settings)
}

/// A refusal for the operator who brought it about, who need not be told that.
fn line(refusal: &Refusal) -> String {
    let line = refusal.to_string();
    line.strip_prefix("operator: ").map(str::to_owned).unwrap_or(line)
}

impl Layer {
    /// What operators had set before, over `base`.
    ///
    /// # Errors
    /// One line with what is wrong with the file.
    pub fn open(data: Option<&Path>, base: Settings) -> Result<Layer, Failure> {
        let set = data.map(overrides::read).transpose().map_err(Failure::new)?.unwrap_or_default();
        Ok(Layer { data: data.map(Path::to_owned), base, set })
    }

    /// Lies over these from now on. Returns what holds then.
    ///
    /// # Errors
    /// One line: the two do not go together, and nothing has changed.
    pub fn rebase(&mut self, base: Settings) -> Result<Settings, Failure> {
        let settings = laid_over(&base, &self.set).map_err(Failure::new)?;
        self.base = base;
        Ok(settings)
    }

    /// Every parameter as it is now.
    pub fn rows(&self, server: &Server) -> Vec<ParameterRow> {
        let running: Vec<_> = server.started.describe().collect();
        let rows = server.settings.describe().map(|one| {
            let held = running.iter().find(|row| row.key == one.key && one.at_start);
            let running = held.map(|row| row.value.clone()).filter(|held| *held != one.value);
            let locked = match find(&one.key) {
                None => Some("it is set in the configuration"),
                Some(parameter) => locked(parameter),
            };
            let row = ParameterRow {
                overridden: one.origin == Origin::Operator,
                name: one.key,
                alias: one.alias.to_owned(),
                value: one.value,
                running,
                default: one.default,
                range: one.range,
                unit: one.unit,
                about: one.about.to_owned(),
                origin: one.origin.to_string(),
                restart: one.at_start,
                locked: locked.map(str::to_owned),
                etag: String::new(),
            };
            row.marked()
        });
        rows.collect()
    }

    /// Does what an operator asked for: the server obeys, and it is kept, or nothing has changed.
    ///
    /// # Errors
    /// [`ParameterRefused`]
    pub fn carry_out(
        &mut self,
        server: &mut Server,
        order: &ParameterOrder,
    ) -> Result<ParameterDone, ParameterRefused> {
        let parameter = find(order.name.trim()).ok_or_else(|| unknown(&order.name))?;
        if let Some(why) = locked(parameter) {
            return Err(ParameterRefused::Locked(format!("{}: {why}", parameter.key)));
        }
        let before = self.row(server, parameter)?;
        if order.expected.as_ref().is_some_and(|expected| *expected != before.etag) {
            return Err(ParameterRefused::Changed(Box::new(before)));
        }
        let mut set = self.set.clone();
        match &order.value {
            Some(value) => {
                set.insert(parameter.key.to_owned(), value.clone());
            }
            None => {
                if set.remove(parameter.key).is_none() {
                    let why = format!("{}: no operator has set it", parameter.key);
                    return Err(ParameterRefused::Value(why));
                }
            }
        }
        let settings = laid_over(&self.base, &set).map_err(ParameterRefused::Value)?;
        self.keep(&set)?;
        if let Err(failure) = server.reload(settings) {
            // What was kept before was written a moment ago, and there is room for it.
            let undone = self.keep(&self.set);
            let why = failure.into_line();
            return Err(match undone {
                Ok(()) => ParameterRefused::Failed(format!("nothing changed: {why}")),
                Err(_) => ParameterRefused::Failed(format!("it holds from the next start: {why}")),
            });
        }
        self.set = set;
        let row = self.row(server, parameter)?;
        Ok(ParameterDone { row, before: before.value, kept: self.data.is_some() })
    }

    fn keep(&self, set: &Overrides) -> Result<(), ParameterRefused> {
        let Some(data) = &self.data else { return Ok(()) };
        overrides::write(data, set).map_err(|error| {
            ParameterRefused::Failed(format!("nothing changed, it cannot be kept: {error}"))
        })
    }

    fn row(&self, server: &Server, of: &Parameter) -> Result<ParameterRow, ParameterRefused> {
        let found = self.rows(server).into_iter().find(|row| row.name == of.key);
        found.ok_or_else(|| unknown(of.key))
    }
}

fn locked(parameter: &Parameter) -> Option<&'static str> {
    LOCKED.contains(&parameter.key).then_some("it is set on the host, in the configuration")
}

fn unknown(name: &str) -> ParameterRefused {
    match Settings::default().apply(name, "", Origin::Operator) {
        Err(refusal) if matches!(refusal.fault, Fault::Unknown { .. }) => {
            ParameterRefused::Unknown(line(&refusal))
        }
        // Domains and networks have names of their own.
        _ => ParameterRefused::Locked("it is set on the host, in the configuration".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_locked_is_a_parameter() {
        for key in LOCKED {
            assert!(find(key).is_some(), "{key}");
        }
    }

    #[test]
    fn what_operators_set_lies_over_the_rest_and_must_go_with_it() {
        let mut base = Settings::default();
        base.apply("registrar.expires_max", "600", Origin::CommandLine).unwrap();
        let set = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Overrides>()
        };
        let over = laid_over(&base, &set(&[("registrar.expires_max", "900")])).unwrap();
        assert_eq!(over.registrar.expires_max_s, 900);
        let origin = over.origin(find("registrar.expires_max").unwrap());
        assert_eq!((origin, &*origin.to_string()), (&Origin::Operator, "operator"));
        let refused = laid_over(&base, &set(&[("registrar.expires_min", "700")])).unwrap_err();
        assert!(refused.contains("is above registrar.expires_max"), "{refused}");
        let refused = laid_over(&base, &set(&[("registrar.expires_max", "1")])).unwrap_err();
        assert!(refused.contains("expected 20-86400 s"), "{refused}");
    }
}
