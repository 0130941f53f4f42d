//! The one table of parameters: key, alias, unit, default, range, meaning, and the field each one
//! reaches. What a value's text looks like is [`value`]'s, the values are [`Settings`]'s.

use std::path::PathBuf;

use super::nearest::nearest;
use super::refusal::{Fault, Origin, Refusal};
use super::settings::Settings;
use super::value::{self, Malformed, Unit};
use crate::limits::{BINDINGS_MAX, SHARDS_MAX};

/// One row of the table.
pub struct Parameter {
    /// Aorta's key, `section.name`.
    pub key: &'static str,
    /// The name VOS3000's operators know, empty where there is none.
    pub alias: &'static str,
    /// The unit a bare number stands in.
    pub unit: Unit,
    /// What it does, one sentence.
    pub about: &'static str,
    kind: Kind,
}

/// What a parameter takes, and how it reaches its field.
enum Kind {
    /// On or Off.
    Switch { write: fn(&mut Settings, bool), read: fn(&Settings) -> bool },
    /// A whole number within a range, both ends included.
    Whole { min: u32, max: u32, write: fn(&mut Settings, u32), read: fn(&Settings) -> u32 },
    /// One word or text.
    Text { range: &'static str, write: WriteText, read: fn(&Settings) -> String },
    /// Items, separated by commas in text, or an array in a file.
    List { range: &'static str, write: WriteList, read: fn(&Settings) -> String },
}

type WriteText = fn(&mut Settings, &str) -> Result<(), Malformed>;
type WriteList = fn(&mut Settings, &[&str]) -> Result<(), Malformed>;

pub(super) const EXPIRES_MAX: &str = "registrar.expires_max";
pub(super) const EXPIRES_MIN: &str = "registrar.expires_min";
pub(super) const REACTORS: &str = "serve.reactors";
pub(super) const CPUS: &str = "serve.cpus";

/// Every parameter there is.
pub static PARAMETERS: [Parameter; 15] = [
    Parameter {
        key: "registrar.replace",
        alias: "SS_ENDPOINT_REGISTER_REPLACE",
        unit: Unit::None,
        about: "A REGISTER over the limit of bindings removes the oldest binding (On) or is \
                refused (Off)",
        kind: Kind::Switch { write: |s, v| s.registrar.replace = v, read: |s| s.registrar.replace },
    },
    Parameter {
        key: "registrar.bindings_max",
        alias: "SERVER_REGISTRAR_MAX_BINDINGS",
        unit: Unit::None,
        about: "Concurrent bindings of one address-of-record",
        kind: Kind::Whole {
            min: 1,
            max: BINDINGS_MAX as u32,
            write: |s, v| s.registrar.bindings_max = byte(v),
            read: |s| s.registrar.bindings_max.into(),
        },
    },
    Parameter {
        key: EXPIRES_MAX,
        alias: "SS_ENDPOINT_EXPIRE",
        unit: Unit::Seconds,
        about: "Longest registration granted, and what is granted when nothing is asked",
        kind: Kind::Whole {
            min: 20,
            max: 86_400,
            write: |s, v| s.registrar.expires_max_s = v,
            read: |s| s.registrar.expires_max_s,
        },
    },
    Parameter {
        key: EXPIRES_MIN,
        alias: "",
        unit: Unit::Seconds,
        about: "Shortest registration",
        kind: Kind::Whole {
            min: 1,
            max: 3600,
            write: |s, v| s.registrar.expires_min_s = v,
            read: |s| s.registrar.expires_min_s,
        },
    },
    Parameter {
        key: "registrar.expires_min_policy",
        alias: "",
        unit: Unit::None,
        about: "A REGISTER that asks for less than the minimum gets 423 (refuse) or the minimum \
                (raise)",
        kind: Kind::Text {
            range: "refuse, raise",
            write: |s, text| {
                s.registrar.expires_min_policy = value::min_expires_policy(text)?;
                Ok(())
            },
            read: |s| s.registrar.expires_min_policy.to_string(),
        },
    },
    Parameter {
        key: "registrar.expires_spread",
        alias: "",
        unit: Unit::Percent,
        about: "Granted expiries are shortened by up to this share, so that a storm of phones \
                does not return in step",
        kind: Kind::Whole {
            min: 0,
            max: 50,
            write: |s, v| s.registrar.expires_spread_percent = byte(v),
            read: |s| s.registrar.expires_spread_percent.into(),
        },
    },
    Parameter {
        key: "registrar.retry_after",
        alias: "",
        unit: Unit::Seconds,
        about: "Retry-After of the 503 for too many bindings",
        kind: Kind::Whole {
            min: 1,
            max: 3600,
            write: |s, v| s.registrar.retry_after_s = v,
            read: |s| s.registrar.retry_after_s,
        },
    },
    Parameter {
        key: "auth.nonce_lifetime",
        alias: "",
        unit: Unit::Seconds,
        about: "Age at which a nonce is stale; shorter than the refresh of phones makes every \
                refresh cost two requests",
        kind: Kind::Whole {
            min: 30,
            max: 86_400,
            write: |s, v| s.auth.nonce_lifetime_s = v,
            read: |s| s.auth.nonce_lifetime_s,
        },
    },
    Parameter {
        key: "auth.algorithms",
        alias: "",
        unit: Unit::None,
        about: "What challenges offer, strongest first, unless the domain says otherwise",
        kind: Kind::List {
            range: "SHA-256, MD5",
            write: |s, items| {
                s.auth.algorithms = value::algorithms(items)?;
                Ok(())
            },
            read: |s| s.auth.algorithms.to_string(),
        },
    },
    Parameter {
        key: "serve.listen",
        alias: "",
        unit: Unit::None,
        about: "Addresses every reactor listens on",
        kind: Kind::List {
            range: "1-16 of udp:ADDRESS:PORT",
            write: |s, items| {
                s.serve.listen = value::listen(items)?;
                Ok(())
            },
            read: |s| joined(&s.serve.listen),
        },
    },
    Parameter {
        key: "serve.subscribers",
        alias: "",
        unit: Unit::None,
        about: "Subscriber file, one account a line; a relative path starts at the working \
                directory",
        kind: Kind::Text {
            range: "a path, or empty",
            write: |s, text| {
                s.serve.subscribers = (!text.is_empty()).then(|| PathBuf::from(text));
                Ok(())
            },
            read: |s| {
                let path = s.serve.subscribers.as_ref();
                path.map_or_else(String::new, |path| path.display().to_string())
            },
        },
    },
    Parameter {
        key: "serve.test_accounts",
        alias: "",
        unit: Unit::None,
        about: "Accounts u1..uN with passwords p1..pN in example.com, for tests only",
        kind: Kind::Whole {
            min: 0,
            max: 100_000_000,
            write: |s, v| s.serve.test_accounts = v,
            read: |s| s.serve.test_accounts,
        },
    },
    Parameter {
        key: REACTORS,
        alias: "",
        unit: Unit::None,
        about: "Reactors, each pinned to its CPU; auto is one for every allowed CPU",
        kind: Kind::Text {
            range: "auto, 1-128",
            write: |s, text| {
                s.serve.reactors = value::reactors(text)?;
                Ok(())
            },
            read: |s| s.serve.reactors.map_or_else(|| "auto".to_owned(), |n| n.to_string()),
        },
    },
    Parameter {
        key: CPUS,
        alias: "",
        unit: Unit::None,
        about: "CPUs the reactors are pinned to, in this order",
        kind: Kind::List {
            range: "all, or CPU numbers such as 0-3,8",
            write: |s, items| {
                s.serve.cpus = value::cpus(items)?;
                Ok(())
            },
            read: |s| s.serve.cpus.as_ref().map_or_else(|| "all".to_owned(), |list| joined(list)),
        },
    },
    Parameter {
        key: "serve.backend",
        alias: "",
        unit: Unit::None,
        about: "How datagrams are moved: recvmmsg and sendmmsg, or an io_uring of its own",
        kind: Kind::Text {
            range: "mmsg, uring",
            write: |s, text| {
                s.serve.backend = value::backend(text)?;
                Ok(())
            },
            read: |s| s.serve.backend.to_string(),
        },
    },
];

const _: () = assert!(SHARDS_MAX == 128, "the range of serve.reactors says so");
const _: () = assert!(BINDINGS_MAX <= u8::MAX as usize);

fn byte(number: u32) -> u8 {
    u8::try_from(number).expect("the table's range fits a byte")
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

impl Parameter {
    /// The range with its unit, as it stands in refusals and in `aorta config`.
    #[must_use]
    pub fn range(&self) -> String {
        match self.kind {
            Kind::Switch { .. } => "On, Off".to_owned(),
            Kind::Whole { min, max, .. } => {
                format!("{min}-{max} {}", self.unit).trim_end().to_owned()
            }
            Kind::Text { range, .. } | Kind::List { range, .. } => range.to_owned(),
        }
    }

    /// Whether it takes a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List { .. })
    }

    /// Its value in `settings`, as text that [`Settings::apply`] takes back.
    #[must_use]
    pub fn value(&self, settings: &Settings) -> String {
        match self.kind {
            Kind::Switch { read, .. } => if read(settings) { "On" } else { "Off" }.to_owned(),
            Kind::Whole { read, .. } => read(settings).to_string(),
            Kind::Text { read, .. } | Kind::List { read, .. } => read(settings),
        }
    }

    /// Whether `name` is its key or its alias, in any case.
    fn is_named(&self, name: &str) -> bool {
        self.key.eq_ignore_ascii_case(name)
            || (!self.alias.is_empty() && self.alias.eq_ignore_ascii_case(name))
    }

    /// Its section: what stands before the dot of its key.
    pub(super) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(section, _)| section)
    }

    /// Writes one value, or says which item is at fault and why.
    pub(super) fn write(
        &self,
        settings: &mut Settings,
        items: &[&str],
    ) -> Result<(), (usize, Fault)> {
        let not_taken = |at: usize, expected: String| {
            let value = items.get(at).copied().unwrap_or_default().to_owned();
            (at, Fault::Malformed { value, expected })
        };
        let single = match items {
            [single] => Some(*single),
            _ => None,
        };
        match (&self.kind, single) {
            (Kind::Switch { write, .. }, Some(text)) => {
                let on = value::switch(text).ok_or_else(|| not_taken(0, "On or Off".to_owned()))?;
                write(settings, on);
                Ok(())
            }
            (Kind::Whole { min, max, write, .. }, Some(text)) => {
                let number = value::whole(text, self.unit).ok_or_else(|| {
                    let what = match self.unit {
                        Unit::Seconds => "whole seconds",
                        Unit::Percent => "a whole percentage",
                        Unit::None => "a whole number",
                    };
                    not_taken(0, format!("{what} of {}", self.range()))
                })?;
                match u32::try_from(number) {
                    Ok(number) if (*min..=*max).contains(&number) => {
                        write(settings, number);
                        Ok(())
                    }
                    _ => Err((0, Fault::Outside { value: text.to_owned(), range: self.range() })),
                }
            }
            (Kind::Text { write, .. }, Some(text)) => {
                write(settings, text).map_err(|m| not_taken(m.item, m.expected))
            }
            (Kind::List { write, .. }, _) => {
                write(settings, items).map_err(|m| not_taken(m.item, m.expected))
            }
            (_, None) => {
                let value = items.join(", ");
                Err((
                    0,
                    Fault::Malformed { value, expected: format!("one value of {}", self.range()) },
                ))
            }
        }
    }
}

/// The parameter with this key or alias, in any case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.is_named(name))
}

/// Every key and alias.
fn names() -> impl Iterator<Item = &'static str> + Clone {
    PARAMETERS.iter().flat_map(|p| [p.key, p.alias]).filter(|name| !name.is_empty())
}

/// An unknown name, with the known one it resembles.
pub(super) fn unknown(name: &str, origin: Origin) -> Refusal {
    let nearest = nearest(name, names()).map(str::to_owned);
    Refusal { origin, key: name.to_owned(), fault: Fault::Unknown { nearest } }
}

/// Its row in the table.
pub(super) fn index(parameter: &'static Parameter) -> usize {
    PARAMETERS.iter().position(|row| row.key == parameter.key).expect("a row of the table")
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
