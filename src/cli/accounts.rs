//! The accounts a server starts with, and the domains they make it serve.

use std::collections::HashSet;

use super::Failure;
use crate::config::{Domain, Settings};
use crate::limits::PASSWORD_CHARS_SAFE;
use crate::store::{self, Subscriber};

/// Where test accounts live.
pub const TEST_DOMAIN: &str = "example.com";

/// Accounts, and the domains they are served in.
pub struct Loaded {
    /// Every account once.
    pub accounts: Vec<Subscriber>,
    /// Those the configuration names, and those of the accounts; none is an alias.
    pub domains: Vec<Domain>,
}

impl Loaded {
    /// One line about passwords that are too short to withstand guessing, if there are any.
    #[must_use]
    pub fn short_passwords(&self, settings: &Settings) -> Option<String> {
        let mut short = self.accounts.iter().filter(|account| account.has_short_password);
        let first = short.next()?;
        let count = 1 + short.count();
        Some(format!(
            "{}: {count} of {} passwords have fewer than {PASSWORD_CHARS_SAFE} characters and are \
             easily guessed; this is the first",
            place(settings, first),
            self.accounts.len(),
        ))
    }
}

/// Reads the subscriber file, if one is set, and adds the test accounts, if any are asked for.
///
/// # Errors
/// One line with file and line for what is malformed, or the account that is there twice; nothing
/// is loaded then.
pub fn load(settings: &Settings) -> Result<Loaded, Failure> {
    let mut accounts = match &settings.serve.subscribers {
        Some(file) => store::load(file).map_err(|error| Failure::new(error.to_string()))?,
        None => Vec::new(),
    };
    refuse_aliases(settings, &accounts)?;
    if settings.serve.test_accounts > 0 {
        let sha256 = settings.domain(TEST_DOMAIN).algorithms.sha256;
        let tests = store::test_accounts(settings.serve.test_accounts as usize, sha256);
        let names: HashSet<&str> = tests.iter().map(|test| test.user_at_domain.as_str()).collect();
        if let Some(twice) = accounts.iter().find(|a| names.contains(a.user_at_domain.as_str())) {
            return Err(Failure::new(format!(
                "{}: {} is among the test accounts too: take one of them away",
                place(settings, twice),
                twice.user_at_domain
            )));
        }
        refuse_aliases(settings, &tests[..1])?;
        accounts.extend(tests);
    }
    let domains = domains(settings, &accounts);
    Ok(Loaded { accounts, domains })
}

/// Where an account was read.
fn place(settings: &Settings, account: &Subscriber) -> String {
    match &settings.serve.subscribers {
        Some(file) if account.line > 0 => format!("{}:{}", file.display(), account.line),
        _ => "test accounts".to_owned(),
    }
}

/// An account is found by the name of its domain, and its HA1s are made with it: an alias there
/// would never be looked for.
fn refuse_aliases(settings: &Settings, accounts: &[Subscriber]) -> Result<(), Failure> {
    let mut last = "";
    for account in accounts {
        let Some((user, domain)) = account.user_at_domain.rsplit_once('@') else { continue };
        if domain != last
            && let Some(name) = settings.alias_of(domain)
        {
            return Err(Failure::new(format!(
                "{}: {domain} is an alias of {name}, expected {user}@{name}",
                place(settings, account)
            )));
        }
        last = domain;
    }
    Ok(())
}

fn domains(settings: &Settings, accounts: &[Subscriber]) -> Vec<Domain> {
    let mut domains: Vec<Domain> = settings.domains().collect();
    let mut known: HashSet<String> = domains.iter().map(|domain| domain.name.clone()).collect();
    let mut last = "";
    for account in accounts {
        let Some((_, domain)) = account.user_at_domain.rsplit_once('@') else {
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
