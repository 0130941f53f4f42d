//! The accounts a server starts with, and the domains they make it serve.

use std::path::Path;

use super::Failure;
use crate::config::{Domain, Settings};
use crate::store::subscribers::{self, Subscriber};

/// Reads the subscriber file, if one is set, and adds the test accounts, if any are asked for.
///
/// # Errors
/// One line with file and line for what is malformed; nothing is loaded then.
pub fn load(settings: &Settings) -> Result<Vec<Subscriber>, Failure> {
    let mut accounts = match &settings.serve.subscribers {
        Some(file) => read(file)?,
        None => Vec::new(),
    };
    if settings.serve.test_accounts > 0 {
        let sha256 = settings.domain("example.com").algorithms.sha256;
        accounts.extend(subscribers::test_accounts(settings.serve.test_accounts, sha256));
    }
    Ok(accounts)
}

fn read(file: &Path) -> Result<Vec<Subscriber>, Failure> {
    let name = file.display().to_string();
    let text = std::fs::read(file)
        .map_err(|error| Failure::new(format!("cannot read the subscribers {name}: {error}")))?;
    subscribers::parse(&text, &name).map_err(|error| Failure::new(error.to_string()))
}

/// The domains served: those the configuration names, and those of the accounts.
pub fn domains(settings: &Settings, accounts: &[Subscriber]) -> Vec<Domain> {
    let mut domains: Vec<Domain> = settings.domains().collect();
    let mut known: std::collections::HashSet<String> =
        domains.iter().map(|domain| domain.name.clone()).collect();
    let mut last = "";
    for account in accounts {
        let Some((_, domain)) = account.aor.rsplit_once('@') else {
            continue;
        };
        // Files are sorted by domain more often than not.
        if domain != last && !known.contains(domain) {
            known.insert(domain.to_owned());
            domains.push(settings.domain(domain));
        }
        last = domain;
    }
    domains
}
