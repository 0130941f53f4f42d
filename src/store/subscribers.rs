//! Subscribers: read from a file, or made by a rule for tests.
//!
//! One account a line, fields apart by blanks or tabs, so no password has a blank:
//! ```text
//! # a comment
//! alice@example.com  secret
//! bob@example.com    ha1 <32 hex>
//! carol@example.com  ha1 <32 hex> ha1-sha256 <64 hex>
//! dave@example.com   ha1 <32 hex> ha1b <32 hex>
//! erin@example.com   secret  bindings=3 expires=60-600
//! gate@example.com   -       auth=network allow=192.0.2.0/24
//! ```
//! After `user@domain` stand its secrets, then options `name=value` if there are any
//! ([`account_options`]).
//!
//! One field before the options: it is a password, whatever it reads (`ha1` too), and every HA1 is
//! computed from it; only `-` with options behind it is no secret at all. More fields before them:
//! pairs of a keyword and an HA1 in hexadecimal digits, each keyword once.
//! `ha1` and `ha1-sha256` are made with the username `user`; `ha1b` and `ha1b-sha256` with
//! `user@domain`, for phones that log in by that name. The realm in all of them is the domain.
//!
//! A file is read whole or not at all: the first line that is wrong ends it, and an account that
//! stands twice, looked for once every line is good.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::account_options::{self, WrongOption, is_option};
use crate::auth::Ha1s;
use crate::auth::digest::parse_hex;
use crate::config::AccountPolicy;
use crate::limits::{
    AOR_BYTES_MAX, PASSWORD_BYTES_MAX, PASSWORD_CHARS_SAFE, SUBSCRIBER_LINE_BYTES_MAX,
};
use crate::registrar::{Aor, AorError};
use crate::sip::uri::{Uri, UriError};

/// One account to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Canonical address-of-record: the user escaped only where a URI needs it, the domain in
    /// lower case.
    pub user_at_domain: String,
    /// Its secrets; empty only where the policy has another way in, or none is needed.
    pub ha1s: Ha1s,
    /// What else was said of it, if anything. Accounts of which the same was said share it.
    pub policy: Option<Arc<AccountPolicy>>,
    /// The line it stood on, counted from 1; 0 where no file has it.
    pub line: u32,
    /// It stood there with a password of fewer than [`PASSWORD_CHARS_SAFE`] characters.
    pub has_short_password: bool,
}

/// Why a file was not read.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be opened or read.
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A line is wrong. Lines count from 1.
    Line {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong with it.
        wrong: Wrong,
    },
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Not UTF-8.
    Utf8,
    /// Longer than [`SUBSCRIBER_LINE_BYTES_MAX`].
    LineTooLong,
    /// The first field is not `user@domain`.
    NoUserAtDomain,
    /// A character in the user that must be escaped, or a broken escape.
    User,
    /// The domain is neither a host name nor an address.
    Domain,
    /// The canonical `user@domain` is longer than [`AOR_BYTES_MAX`].
    AorTooLong,
    /// Nothing follows `user@domain`.
    NoPassword,
    /// The password is longer than [`PASSWORD_BYTES_MAX`].
    PasswordTooLong,
    /// Several fields follow, and this one (counted from 1) is no keyword.
    Keyword(usize),
    /// A keyword stands twice.
    KeywordTwice(&'static str),
    /// A keyword without its digits.
    NoHex(&'static str),
    /// Not the hexadecimal digits this keyword needs.
    Hex(&'static str),
    /// An option is wrong.
    Option(WrongOption),
    /// The same account as on an earlier line.
    Duplicate {
        /// That line.
        first: usize,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Io { file, error } => {
                write!(f, "cannot read subscribers from {}: {error}", file.display())
            }
            LoadError::Line { file, line, wrong } => {
                write!(f, "{}:{line}: {wrong}", file.display())
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Utf8 => write!(f, "expected UTF-8 text"),
            Wrong::LineTooLong => write!(f, "expected at most {SUBSCRIBER_LINE_BYTES_MAX} bytes"),
            Wrong::NoUserAtDomain => write!(f, "expected user@domain in front"),
            Wrong::User => write!(
                f,
                "expected a user of letters, digits and -_.!~*'()&=+$,;?/ before the @, \
                 anything else as %XX"
            ),
            Wrong::Domain => write!(f, "expected a host name or an address behind the @"),
            Wrong::AorTooLong => {
                write!(f, "expected at most {AOR_BYTES_MAX} bytes of user@domain")
            }
            Wrong::NoPassword => write!(f, "expected a password or `ha1` with 32 hex digits"),
            Wrong::PasswordTooLong => {
                write!(f, "expected a password of at most {PASSWORD_BYTES_MAX} bytes")
            }
            Wrong::Keyword(field) => write!(
                f,
                "expected ha1, ha1-sha256, ha1b or ha1b-sha256 as field {field} \
                 (a password has no blanks, an option is name=value)"
            ),
            Wrong::KeywordTwice(keyword) => write!(f, "expected {keyword} only once"),
            Wrong::NoHex(keyword) | Wrong::Hex(keyword) => {
                let digits = if keyword.ends_with("sha256") { 64 } else { 32 };
                write!(f, "expected {digits} hex digits behind {keyword}")
            }
            Wrong::Option(wrong) => wrong.fmt(f),
            Wrong::Duplicate { first } => {
                write!(f, "expected each account once, this one is on line {first} already")
            }
        }
    }
}

/// Reads a subscriber file, in the order of its lines.
///
/// # Errors
/// The file cannot be read, or the first line that is wrong; see [`Wrong`].
pub fn load(file: &Path) -> Result<Vec<Subscriber>, LoadError> {
    let text = fs::read(file).map_err(|error| LoadError::Io { file: file.to_owned(), error })?;
    parse(&text).map_err(|(line, wrong)| LoadError::Line { file: file.to_owned(), line, wrong })
}

/// Accounts for tests: u1 to uN with passwords p1 to pN in example.com.
#[must_use]
pub fn test_accounts(count: usize, with_sha256: bool) -> Vec<Subscriber> {
    (1..=count)
        .map(|number| {
            let user_at_domain = format!("u{number}@example.com");
            let ha1s = Ha1s::from_password(&user_at_domain, &format!("p{number}"), with_sha256);
            Subscriber { user_at_domain, ha1s, policy: None, line: 0, has_short_password: false }
        })
        .collect()
}

/// The subscribers of a file's text, or the line that is wrong, counted from 1, and why.
///
/// # Errors
/// The first line that is wrong.
pub fn parse(text: &[u8]) -> Result<Vec<Subscriber>, (usize, Wrong)> {
    // Editors of another system put a mark in front of UTF-8 text.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = memchr::memchr_iter(b'\n', text).count() + 1;
    let mut subscribers = Vec::with_capacity(lines);
    let mut policies = Policies::default();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let read = parse_line(line, &mut policies).map_err(|wrong| (number, wrong))?;
        subscribers.extend(
            read.map(|read| Subscriber { line: u32::try_from(number).unwrap_or(u32::MAX), ..read }),
        );
    }
    refuse_duplicates(&subscribers)?;
    Ok(subscribers)
}

fn refuse_duplicates(subscribers: &[Subscriber]) -> Result<(), (usize, Wrong)> {
    let mut first_of: HashMap<&str, u32> = HashMap::with_capacity(subscribers.len());
    for Subscriber { user_at_domain, line, .. } in subscribers {
        if let Some(first) = first_of.insert(user_at_domain, *line) {
            return Err((*line as usize, Wrong::Duplicate { first: first as usize }));
        }
    }
    Ok(())
}

/// Policies by the text of their options, so that a million accounts with the same options keep
/// one policy.
#[derive(Default)]
struct Policies(HashMap<String, Arc<AccountPolicy>>);

/// Different texts that are remembered. Files with more have options that nobody shares.
const POLICIES_REMEMBERED_MAX: usize = 4096;

impl Policies {
    fn read(
        &mut self,
        options: &[&str],
        first: usize,
        has_secret: bool,
    ) -> Result<Option<Arc<AccountPolicy>>, Wrong> {
        if options.is_empty() {
            return Ok(None);
        }
        // Whether there is a secret decides what the options mean.
        let text = format!("{} {has_secret}", options.join(" "));
        if let Some(known) = self.0.get(&text) {
            return Ok(Some(Arc::clone(known)));
        }
        let policy = account_options::parse(options.iter().copied(), first, has_secret);
        let policy = Arc::new(policy.map_err(Wrong::Option)?);
        if self.0.len() < POLICIES_REMEMBERED_MAX {
            self.0.insert(text, Arc::clone(&policy));
        }
        Ok((!policy.is_empty()).then_some(policy))
    }
}

fn parse_line(line: &[u8], policies: &mut Policies) -> Result<Option<Subscriber>, Wrong> {
    if line.len() > SUBSCRIBER_LINE_BYTES_MAX {
        return Err(Wrong::LineTooLong);
    }
    let line = str::from_utf8(line).map_err(|_| Wrong::Utf8)?;
    if line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.split_ascii_whitespace();
    let Some(name) = fields.next() else { return Ok(None) };
    let user_at_domain = canonical(name)?;
    let fields: Vec<&str> = fields.collect();
    // The first field is a secret also where it has an equals sign.
    let options_at = fields.iter().skip(1).position(|field| is_option(field));
    let (secrets, options) = fields.split_at(options_at.map_or(fields.len(), |at| at + 1));
    let ha1s = match secrets {
        [] => return Err(Wrong::NoPassword),
        [NO_SECRET] if !options.is_empty() => Ha1s::default(),
        [password] if password.len() > PASSWORD_BYTES_MAX => return Err(Wrong::PasswordTooLong),
        [password] => Ha1s::from_password(&user_at_domain, password, true),
        pairs => parse_ha1s(pairs.iter().copied())?,
    };
    let policy = policies.read(options, secrets.len() + 2, !ha1s.is_empty())?;
    let has_short_password = match secrets {
        [NO_SECRET] if !options.is_empty() => false,
        [password] => password.chars().count() < PASSWORD_CHARS_SAFE,
        _ => false,
    };
    Ok(Some(Subscriber { user_at_domain, ha1s, policy, line: 0, has_short_password }))
}

/// Stands where the secret would, for an account that has none.
const NO_SECRET: &str = "-";

/// Pairs of keyword and digits, from the second field on.
fn parse_ha1s<'a>(mut fields: impl Iterator<Item = &'a str>) -> Result<Ha1s, Wrong> {
    let mut ha1s = Ha1s::default();
    let mut field = 2;
    while let Some(keyword) = fields.next() {
        match keyword {
            "ha1" => set("ha1", &mut ha1s.by_user.md5, fields.next())?,
            "ha1-sha256" => set("ha1-sha256", &mut ha1s.by_user.sha256, fields.next())?,
            "ha1b" => set("ha1b", &mut ha1s.by_aor.md5, fields.next())?,
            "ha1b-sha256" => set("ha1b-sha256", &mut ha1s.by_aor.sha256, fields.next())?,
            _ => return Err(Wrong::Keyword(field)),
        }
        field += 2;
    }
    Ok(ha1s)
}

fn set<const N: usize>(
    keyword: &'static str,
    ha1: &mut Option<[u8; N]>,
    digits: Option<&str>,
) -> Result<(), Wrong> {
    let digits = digits.ok_or(Wrong::NoHex(keyword))?;
    let value = parse_hex(digits.as_bytes()).ok_or(Wrong::Hex(keyword))?;
    match ha1.replace(value) {
        Some(_) => Err(Wrong::KeywordTwice(keyword)),
        None => Ok(()),
    }
}

/// The address-of-record in the spelling the registrar looks it up by (RFC 3261 10.3 step 5).
fn canonical(name: &str) -> Result<String, Wrong> {
    let (user, domain) = name.split_once('@').ok_or(Wrong::NoUserAtDomain)?;
    if user.is_empty() || domain.is_empty() {
        return Err(Wrong::NoUserAtDomain);
    }
    if name.len() > 3 * AOR_BYTES_MAX {
        return Err(Wrong::AorTooLong);
    }
    let text = format!("sip:{name}");
    let uri = Uri::parse(text.as_bytes()).map_err(|error| match error {
        UriError::User | UriError::Scheme => Wrong::User,
        _ => Wrong::Domain,
    })?;
    if uri.user != Some(user.as_bytes()) || uri.password.is_some() {
        return Err(Wrong::User);
    }
    // A port, parameters or headers are no part of an address-of-record.
    if uri.host != domain.as_bytes() {
        return Err(Wrong::Domain);
    }
    let mut buffer = [0; AOR_BYTES_MAX];
    let aor = Aor::from_uri(&uri, &mut buffer).map_err(|error| match error {
        AorError::TooLong => Wrong::AorTooLong,
        AorError::Scheme | AorError::NoUser | AorError::Escape => Wrong::User,
    })?;
    str::from_utf8(aor.text()).map(str::to_owned).map_err(|_| Wrong::Utf8)
}

#[cfg(test)]
mod tests;
