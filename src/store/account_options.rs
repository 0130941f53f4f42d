//! What may be said of one account behind its secrets: options `name=value`, apart by blanks.
//!
//! ```text
//! alice@example.com  secret  bindings=3 expires=60-600 replace=never
//! trunk@example.com  -       auth=network allow=192.0.2.0/24,2001:db8::/32
//! gate@example.com   -       static=<sip:gate@192.0.2.9:5070>;q=0.5
//! ```
//! - `bindings=N`: its limit of bindings.
//! - `expires=MIN-MAX`: its range of expiries; either side may be left out, one number is both.
//! - `replace=always|never|unless_in_call`: what it meets over that limit.
//! - `auth=digest|network|both|either`: how it proves who it is.
//! - `allow=NET,IP:PORT`: the networks it comes from, or addresses with their ports; without
//!   `auth`, that is `both`.
//! - `nat=auto|always|never`: whether its phones are behind NAT.
//! - `keepalive=default|off|raw|CRLF|STUN|OPTIONS`: what keeps their pinholes open.
//! - `static=URI` or `static=<URI>;q=Q`: a contact that is always bound; may stand several times.

use std::fmt;

use crate::config::value::{self, Unit};
use crate::config::{
    AccountAuthentication, AccountPolicy, AllowedSource, KeepaliveForm, NatOverride, Replace,
    StaticContact, nearest,
};
use crate::limits::{ACCOUNT_NETWORKS_MAX, BINDINGS_MAX, STATIC_CONTACTS_MAX};
use crate::sip::header::contact::QValue;
use crate::sip::uri::Uri;

/// Every name, and what its value is.
const OPTIONS: [(&str, &str); 8] = [
    ("bindings", "1-64"),
    ("expires", "MIN-MAX in seconds, MIN of 1-3600 and MAX of 20-86400, either may be left out"),
    ("replace", "always, never or unless_in_call"),
    ("auth", "digest, network, both or either"),
    (
        "allow",
        "1-16 networks such as 192.0.2.0/24,2001:db8::/32, or addresses with a port such as \
         192.0.2.9:5060, each once, no bits past a prefix",
    ),
    ("nat", NatOverride::EXPECTED),
    ("keepalive", KeepaliveForm::EXPECTED_OR_DEFAULT),
    ("static", "a SIP URI, or one in angle brackets with ;q=0 to ;q=1 behind it"),
];

const _: () = assert!(BINDINGS_MAX == 64, "the value of bindings says so");
const _: () = assert!(ACCOUNT_NETWORKS_MAX == 16, "the value of allow says so");

/// What is wrong with the options of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongOption {
    /// The field of this number, counted from 1, is no `name=value`.
    NoOption(usize),
    /// The field of this number has a name that is not known.
    Unknown {
        /// Which field.
        field: usize,
        /// The known name it resembles most, if it resembles one.
        nearest: Option<&'static str>,
    },
    /// An option stands twice that may stand once.
    Twice(&'static str),
    /// A value is not of its option's kind or range.
    Value {
        /// The option.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// More than [`STATIC_CONTACTS_MAX`] static contacts.
    TooManyStatic,
    /// `auth` looks at the source, and no `allow` says which is right.
    NoNetworks,
    /// `allow` beside `auth=digest`, which does not look at it.
    IdleNetworks,
    /// No secret, and `auth` asks for one.
    NoSecret,
}

impl fmt::Display for WrongOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = || OPTIONS.map(|(name, _)| name).join(", ");
        match self {
            WrongOption::NoOption(field) => {
                write!(f, "expected name=value as field {field}, one of {}", names())
            }
            WrongOption::Unknown { field, nearest: Some(nearest) } => {
                write!(f, "unknown option as field {field}, did you mean {nearest}=?")
            }
            WrongOption::Unknown { field, nearest: None } => {
                write!(f, "unknown option as field {field}, expected one of {}", names())
            }
            WrongOption::Twice(name) => write!(f, "expected {name}= only once"),
            WrongOption::Value { name, expected } => write!(f, "expected {name}= with {expected}"),
            WrongOption::TooManyStatic => {
                write!(f, "expected static= at most {STATIC_CONTACTS_MAX} times")
            }
            WrongOption::NoNetworks => {
                write!(f, "expected allow= with networks, since auth= looks at the source")
            }
            WrongOption::IdleNetworks => {
                write!(f, "expected auth=network, both or either beside allow=")
            }
            WrongOption::NoSecret => write!(
                f,
                "expected a secret, or auth=network with allow=, or static= beside no secret (-)"
            ),
        }
    }
}

/// Whether a field is meant as an option.
pub(super) fn is_option(field: &str) -> bool {
    field.contains('=')
}

/// Reads options, the first of which is field number `first`. `has_secret` says whether the
/// account can log in by digest at all.
pub(super) fn parse<'a>(
    fields: impl Iterator<Item = &'a str>,
    first: usize,
    has_secret: bool,
) -> Result<AccountPolicy, WrongOption> {
    let mut policy = AccountPolicy::default();
    let mut authentication = None;
    let mut seen = [false; OPTIONS.len()];
    for (number, field) in (first..).zip(fields) {
        let (written, value) = field.split_once('=').ok_or(WrongOption::NoOption(number))?;
        let Some(at) = OPTIONS.iter().position(|(name, _)| name.eq_ignore_ascii_case(written))
        else {
            let nearest = nearest(written, OPTIONS.iter().map(|(name, _)| *name));
            return Err(WrongOption::Unknown { field: number, nearest });
        };
        let (name, expected) = OPTIONS[at];
        if std::mem::replace(&mut seen[at], true) && name != "static" {
            return Err(WrongOption::Twice(name));
        }
        let wrong = WrongOption::Value { name, expected };
        match name {
            "bindings" => policy.bindings_max = Some(bindings(value).ok_or(wrong)?),
            "expires" => {
                (policy.expires_min_s, policy.expires_max_s) = expires(value).ok_or(wrong)?;
            }
            "replace" => policy.replace = Some(Replace::from_word(value).ok_or(wrong)?),
            "auth" => {
                authentication = Some(AccountAuthentication::from_word(value).ok_or(wrong)?);
            }
            "allow" => {
                let items: Vec<&str> = value.split(',').collect();
                policy.allow = sources(&items).ok_or(wrong)?;
            }
            "nat" => policy.nat = Some(NatOverride::from_word(value).ok_or(wrong)?),
            "keepalive" => {
                policy.keepalive = KeepaliveForm::from_word_or_default(value).ok_or(wrong)?;
            }
            _ if policy.static_contacts.len() == STATIC_CONTACTS_MAX => {
                return Err(WrongOption::TooManyStatic);
            }
            _ => policy.static_contacts.push(static_contact(value).ok_or(wrong)?),
        }
    }
    together(policy, authentication, has_secret)
}

/// Options that need each other, or contradict each other.
fn together(
    mut policy: AccountPolicy,
    authentication: Option<AccountAuthentication>,
    has_secret: bool,
) -> Result<AccountPolicy, WrongOption> {
    use AccountAuthentication::{Both, Digest, Network};

    policy.authentication = match (authentication, policy.allow.is_empty()) {
        (None, true) => Digest,
        (None, false) if has_secret => Both,
        (None, false) => Network,
        (Some(Digest), false) => return Err(WrongOption::IdleNetworks),
        (Some(Digest), true) => Digest,
        (Some(_), true) => return Err(WrongOption::NoNetworks),
        (Some(other), false) => other,
    };
    let reachable = match policy.authentication {
        Network => true,
        Digest => has_secret || !policy.static_contacts.is_empty(),
        _ => has_secret,
    };
    if reachable { Ok(policy) } else { Err(WrongOption::NoSecret) }
}

/// Each source once.
fn sources(items: &[&str]) -> Option<Vec<AllowedSource>> {
    let mut all: Vec<AllowedSource> = Vec::with_capacity(items.len());
    for item in items {
        let one = item.parse().ok()?;
        if all.contains(&one) || all.len() == ACCOUNT_NETWORKS_MAX {
            return None;
        }
        all.push(one);
    }
    Some(all)
}

fn bindings(text: &str) -> Option<u8> {
    let number = value::whole(text, Unit::None).and_then(|number| u8::try_from(number).ok())?;
    (1..=BINDINGS_MAX).contains(&usize::from(number)).then_some(number)
}

/// Both ends of a range of expiries.
fn expires(text: &str) -> Option<(Option<u32>, Option<u32>)> {
    let end = |text: &str, least: u32, most: u32| match text {
        "" => Some(None),
        _ => {
            let number = value::whole(text, Unit::Seconds);
            let number = number.and_then(|number| u32::try_from(number).ok())?;
            (least..=most).contains(&number).then_some(Some(number))
        }
    };
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    let (min, max) = (end(min, 1, 3600)?, end(max, 20, 86_400)?);
    match (min, max) {
        (None, None) => None,
        (Some(min), Some(max)) if min > max => None,
        range => Some(range),
    }
}

/// `URI`, or `<URI>` with a q-value behind it.
fn static_contact(text: &str) -> Option<StaticContact> {
    let (uri, q_milli) = match text.strip_prefix('<') {
        None => (text, None),
        Some(rest) => match rest.split_once('>')? {
            (uri, "") => (uri, None),
            (uri, params) => {
                let q = params.strip_prefix(";q=").or(params.strip_prefix(";Q="))?;
                (uri, Some(QValue::parse(q.as_bytes())?.0))
            }
        },
    };
    let uri = value::sip_uri(uri)?;
    Uri::parse(uri.as_bytes()).ok()?;
    Some(StaticContact { uri: uri.to_owned(), q_milli })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &str) -> Result<AccountPolicy, WrongOption> {
        parse(options.split_ascii_whitespace(), 3, true)
    }

    fn refused(options: &str) -> String {
        read(options).unwrap_err().to_string()
    }

    #[test]
    fn every_option_reaches_its_field() {
        let policy = read(
            "bindings=3 expires=60-600 replace=Never auth=either allow=192.0.2.0/24,2001:db8::/32 \
             nat=always keepalive=options \
             static=<sip:a@192.0.2.9>;q=0.5 static=sips:b@[2001:db8::9]:5061;transport=tcp",
        )
        .unwrap();
        assert_eq!((policy.bindings_max, policy.replace), (Some(3), Some(Replace::Never)));
        assert_eq!((policy.expires_min_s, policy.expires_max_s), (Some(60), Some(600)));
        assert_eq!(policy.authentication, AccountAuthentication::Either);
        let allow: Vec<String> = policy.allow.iter().map(ToString::to_string).collect();
        assert_eq!(allow, ["192.0.2.0/24", "2001:db8::/32"]);
        assert_eq!(policy.nat, Some(NatOverride::Always));
        assert_eq!(policy.keepalive, Some(KeepaliveForm::Options));
        let first = StaticContact { uri: "sip:a@192.0.2.9".to_owned(), q_milli: Some(500) };
        assert_eq!(policy.static_contacts[0], first);
        assert_eq!(policy.static_contacts[1].uri, "sips:b@[2001:db8::9]:5061;transport=tcp");
        assert_eq!(read(""), Ok(AccountPolicy::default()));
    }

    #[test]
    fn a_range_of_expiries_may_be_open_or_one_number() {
        let range = |text: &str| {
            let policy = read(&format!("expires={text}")).ok()?;
            Some((policy.expires_min_s, policy.expires_max_s))
        };
        assert_eq!(range("60-"), Some((Some(60), None)));
        assert_eq!(range("-10m"), Some((None, Some(600))));
        assert_eq!(range("300"), Some((Some(300), Some(300))));
        for bad in ["", "-", "0-60", "60-86401", "1-19", "600-60", "3601-4000", "60-600-", "x"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_make_the_source_count_and_need_to_be_there_where_it_does() {
        use AccountAuthentication::{Both, Network};

        assert_eq!(read("allow=10.0.0.0/8").unwrap().authentication, Both);
        let without = parse(["allow=10.0.0.0/8"].into_iter(), 3, false).unwrap();
        assert_eq!(without.authentication, Network);
        let gateway = read("auth=network allow=192.0.2.9:5060,[2001:db8::9]:5070").unwrap();
        assert_eq!(
            gateway.allow.iter().map(|one| one.port).collect::<Vec<_>>(),
            [Some(5060), Some(5070)]
        );
        assert_eq!(read("auth=network"), Err(WrongOption::NoNetworks));
        assert_eq!(read("auth=both"), Err(WrongOption::NoNetworks));
        assert_eq!(read("auth=digest allow=10.0.0.0/8"), Err(WrongOption::IdleNetworks));
    }

    #[test]
    fn an_account_without_a_secret_has_another_way_in_or_never_registers() {
        let without = |options: &str| parse(options.split_ascii_whitespace(), 3, false);
        assert!(without("auth=network allow=10.0.0.0/8").is_ok());
        assert!(without("static=sip:a@b").is_ok());
        for bad in ["", "bindings=2", "auth=both allow=10.0.0.0/8", "auth=either allow=10.0.0.0/8"]
        {
            assert_eq!(without(bad), Err(WrongOption::NoSecret), "{bad}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused_with_what_was_expected() {
        for (name, values) in [
            ("bindings", &["", "0", "65", "-1", "x", "256"][..]),
            ("replace", &["", "maybe"]),
            ("auth", &["", "password"]),
            ("nat", &["", "maybe"]),
            ("keepalive", &["", "HELLO"]),
            (
                "allow",
                &["", "10.0.0.1/8", "x", "10.0.0.0/8,", "10.0.0.0/8,10.0.0.0/8", "10.0.0.1:0"],
            ),
            (
                "static",
                &["", "tel:+1", "<sip:a@b", "<sip:a@b>;q=2", "<sip:a@b>x", "sip:a@b>", "sip:"],
            ),
        ] {
            for value in values {
                let line = refused(&format!("{name}={value}"));
                assert!(line.starts_with(&format!("expected {name}= with ")), "{line}");
            }
        }
        let many = (1..=17).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join(",");
        assert!(read(&format!("allow={many}")).is_err());
        assert_eq!(read(&"static=sip:a@b ".repeat(9)), Err(WrongOption::TooManyStatic));
        assert_eq!(refused("bindings=2 BINDINGS=3"), "expected bindings= only once");
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        assert_eq!(refused("binding=2"), "unknown option as field 3, did you mean bindings=?");
        assert_eq!(
            refused("bindings=2 colour=3"),
            "unknown option as field 4, expected one of bindings, expires, replace, auth, allow, \
             nat, keepalive, static"
        );
        assert_eq!(
            refused("bindings=2 three"),
            "expected name=value as field 4, one of bindings, expires, replace, auth, allow, nat, \
             keepalive, static"
        );
    }
}
