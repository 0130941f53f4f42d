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
//! ([`account_options`](super::account_options)).
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
use crate::limits::{AOR_BYTES_MAX, PASSWORD_BYTES_MAX, SUBSCRIBER_LINE_BYTES_MAX};
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
            Subscriber { user_at_domain, ha1s, policy: None, line: 0 }
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
    Ok(Some(Subscriber { user_at_domain, ha1s, policy, line: 0 }))
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HA1: &str = "939e7578ed9e3c518a452acee763bce9";
    const HA1_SHA256: &str = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";

    fn one(line: &str) -> Subscriber {
        parse(line.as_bytes()).unwrap().remove(0)
    }

    fn wrong(text: &str) -> (usize, Wrong) {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn password_becomes_every_ha1_with_the_domain_as_realm() {
        let alice = one("alice@Example.COM \t secret\r");
        assert_eq!(alice.user_at_domain, "alice@example.com");
        assert_eq!(alice.ha1s, Ha1s::from_password("alice@example.com", "secret", true));
        assert!(alice.ha1s.by_aor.sha256.is_some());
    }

    #[test]
    fn given_ha1s_are_taken_as_they_are() {
        let bob = one(&format!("bob@example.com ha1 {}", HA1.to_uppercase())).ha1s;
        assert_eq!(bob.by_user.md5, parse_hex(HA1.as_bytes()));
        assert_eq!((bob.by_user.sha256, bob.by_aor.md5, bob.by_aor.sha256), (None, None, None));
        let carol = one(&format!("carol@example.com ha1 {HA1} ha1-sha256 {HA1_SHA256}")).ha1s;
        assert_eq!(carol.by_user.sha256, parse_hex(HA1_SHA256.as_bytes()));
        let dave = one(&format!("d@example.com ha1-sha256 {HA1_SHA256}")).ha1s;
        assert_eq!((dave.by_user.md5, dave.by_user.sha256), (None, carol.by_user.sha256));
        let erin =
            one(&format!("e@example.com ha1b {HA1} ha1b-sha256 {HA1_SHA256} ha1 {HA1}")).ha1s;
        assert_eq!(erin.by_aor.md5, bob.by_user.md5);
        assert_eq!(erin.by_aor.sha256, carol.by_user.sha256);
    }

    #[test]
    fn options_follow_any_form_of_secret() {
        let bindings = |line: &str| one(line).policy.unwrap().bindings_max;
        assert_eq!(bindings("a@b p bindings=2"), Some(2));
        assert_eq!(bindings(&format!("a@b ha1 {HA1} ha1-sha256 {HA1_SHA256} bindings=3")), Some(3));
        let equals = one("a@b p=q bindings=4");
        assert_eq!(equals.ha1s, Ha1s::from_password("a@b", "p=q", true));
        assert_eq!(one("a@b p").policy, None);
        assert_eq!(one("a@b bindings=2").ha1s, Ha1s::from_password("a@b", "bindings=2", true));
    }

    #[test]
    fn a_dash_before_options_is_no_secret_and_alone_is_a_password() {
        let trunk = one("a@b - auth=network allow=192.0.2.0/24");
        assert!(trunk.ha1s.is_empty());
        assert_eq!(one("a@b -").ha1s, Ha1s::from_password("a@b", "-", true));
        assert_eq!(wrong("a@b - bindings=2"), (1, Wrong::Option(WrongOption::NoSecret)));
    }

    #[test]
    fn accounts_with_the_same_options_share_one_policy() {
        let all = parse(b"a@b p bindings=2\nc@b q bindings=2\nd@b q bindings=3\n").unwrap();
        let policy = |at: usize| all[at].policy.as_ref().unwrap();
        assert!(Arc::ptr_eq(policy(0), policy(1)));
        assert_eq!(policy(2).bindings_max, Some(3));
        assert_eq!(all.iter().map(|one| one.line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_wrong_option_is_named_with_its_line_and_field() {
        let unknown = WrongOption::Unknown { field: 4, nearest: Some("bindings") };
        assert_eq!(wrong("a@b p\nc@b p expires=60-600 binding=2"), (2, Wrong::Option(unknown)));
        let stray = format!("a@b ha1 {HA1} bindings=2 three");
        assert_eq!(wrong(&stray), (1, Wrong::Option(WrongOption::NoOption(5))));
        let no_digits = wrong("a@b ha1 bindings=2 ha1b");
        assert_eq!(no_digits, (1, Wrong::Option(WrongOption::NoOption(4))));
    }

    #[test]
    fn a_keyword_alone_is_a_password() {
        let alice = one("alice@example.com ha1");
        assert_eq!(alice.ha1s, Ha1s::from_password("alice@example.com", "ha1", true));
    }

    #[test]
    fn comments_blank_lines_and_the_utf8_mark_are_passed_over() {
        let text = "\u{feff}# subscribers\n\n   \t\na@b p\n#a@b p\n\na@c p";
        let names: Vec<String> =
            parse(text.as_bytes()).unwrap().into_iter().map(|s| s.user_at_domain).collect();
        assert_eq!(names, ["a@b", "a@c"]);
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn malformed_lines_are_refused_with_their_number_and_reason() {
        let long_user = format!("{}@b p", "a".repeat(AOR_BYTES_MAX));
        let long_name = format!("{}@b p", "a".repeat(3 * AOR_BYTES_MAX));
        let long_password = format!("a@b {}", "p".repeat(PASSWORD_BYTES_MAX + 1));
        let short = format!("a@b ha1 {}", &HA1[1..]);
        let odd = format!("a@b ha1 {}g", &HA1[1..]);
        let sha_as_md5 = format!("a@b ha1 {HA1_SHA256}");
        let twice = format!("a@b ha1 {HA1} ha1 {HA1}");
        let trailing = format!("a@b ha1 {HA1} ha1-sha256");
        let unknown = format!("a@b ha1 {HA1} md5 {HA1}");
        let cases: [(&str, Wrong); 24] = [
            ("alice", Wrong::NoUserAtDomain),
            ("alice secret", Wrong::NoUserAtDomain),
            ("@example.com p", Wrong::NoUserAtDomain),
            ("alice@ p", Wrong::NoUserAtDomain),
            ("al\"ice@b p", Wrong::User),
            ("a%4@b p", Wrong::User),
            ("a:p@b p", Wrong::User),
            ("é@b p", Wrong::User),
            ("a@b@c p", Wrong::Domain),
            ("a@b:5060 p", Wrong::Domain),
            ("a@b;transport=tcp p", Wrong::Domain),
            ("a@exa\"mple p", Wrong::Domain),
            ("a@b", Wrong::NoPassword),
            ("a@b  ", Wrong::NoPassword),
            ("a@b my password", Wrong::Keyword(2)),
            ("a@b HA1 00", Wrong::Keyword(2)),
            (&long_user, Wrong::AorTooLong),
            (&long_name, Wrong::AorTooLong),
            (&long_password, Wrong::PasswordTooLong),
            (&short, Wrong::Hex("ha1")),
            (&odd, Wrong::Hex("ha1")),
            (&sha_as_md5, Wrong::Hex("ha1")),
            (&twice, Wrong::KeywordTwice("ha1")),
            (&trailing, Wrong::NoHex("ha1-sha256")),
        ];
        for (line, reason) in cases {
            assert_eq!(wrong(&format!("ok@b p\n\n{line}\nalso-ok@b p\n")), (3, reason), "{line}");
        }
        assert_eq!(wrong(&unknown), (1, Wrong::Keyword(4)));
        assert_eq!(parse(b"a@b p\na\xff@b p"), Err((2, Wrong::Utf8)));
        assert_eq!(wrong(&"x".repeat(SUBSCRIBER_LINE_BYTES_MAX + 1)), (1, Wrong::LineTooLong));
    }

    #[test]
    fn duplicates_name_both_lines_whatever_the_spelling() {
        let text = "# head\nalice@example.com p\nbob@example.com p\n%61lice@EXAMPLE.com q\n";
        assert_eq!(wrong(text), (4, Wrong::Duplicate { first: 2 }));
        assert!(parse(b"Alice@b p\nalice@b p").is_ok());
    }

    #[test]
    fn users_are_spelled_as_the_registrar_looks_them_up() {
        assert_eq!(one("%61%3b%23%e9@B p").user_at_domain, "a;%23%E9@b");
        assert_eq!(one("a@[2001:DB8::1] p").user_at_domain, "a@[2001:db8::1]");
        assert_eq!(one("+4930;x=1@b p").user_at_domain, "+4930;x=1@b");
    }

    #[test]
    fn errors_read_file_line_and_what_was_expected() {
        let file = std::env::temp_dir().join(format!("aorta-subscribers-{}", std::process::id()));
        fs::write(&file, "alice@example.com p\nbob@example.com\n").unwrap();
        let error = load(&file).unwrap_err().to_string();
        fs::remove_file(&file).unwrap();
        let place = file.display();
        assert_eq!(error, format!("{place}:2: expected a password or `ha1` with 32 hex digits"));
        let missing = load(&file).unwrap_err().to_string();
        assert!(
            missing.starts_with(&format!("cannot read subscribers from {place}: ")),
            "{missing}"
        );
    }

    #[test]
    fn test_accounts_are_u1_to_un_with_passwords_p1_to_pn() {
        let accounts = test_accounts(3, false);
        assert_eq!(accounts.len(), 3);
        assert_eq!(accounts[2].user_at_domain, "u3@example.com");
        assert_eq!(accounts[2].ha1s, Ha1s::from_password("u3@example.com", "p3", false));
        assert_eq!(accounts[0].ha1s.by_user.sha256, None);
        assert!(test_accounts(1, true)[0].ha1s.by_user.sha256.is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_are_accounts_or_a_line_that_is_wrong(
            text in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"a@b \n#%1".to_vec())],
                0..200,
            ),
        ) {
            match parse(&text) {
                Ok(subscribers) => {
                    for subscriber in subscribers {
                        prop_assert!(subscriber.user_at_domain.len() <= AOR_BYTES_MAX);
                        prop_assert!(!subscriber.ha1s.is_empty());
                    }
                }
                Err((line, _)) => {
                    prop_assert!(line >= 1 && line <= text.split(|&b| b == b'\n').count());
                }
            }
        }

        #[test]
        fn canonical_names_stay_as_they_are(
            user in "[a-zA-Z0-9;?/%]{1,8}",
            domain in "[a-zA-Z]{1,8}",
        ) {
            if let Ok(name) = canonical(&format!("{user}@{domain}")) {
                prop_assert_eq!(canonical(&name), Ok(name));
            }
        }
    }
}
