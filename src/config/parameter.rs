//! One parameter: what its text may be, how that reaches its field, and how a refusal of it reads.
//! The table of them is [`parameters`](super::parameters)'.

use super::parameters::{
    ADMIN, ADMIN_TOKEN_FILE, AUDIT_BYTES, AUDIT_FILES, BACKEND, CPUS, GUARD_SOURCES,
    LATENCY_SAMPLING, LISTEN, REACTORS, SECURITY_LOG, SECURITY_LOG_BYTES, SECURITY_LOG_FILES,
    STEERED_SOURCES, STEERING,
};
use super::refusal::Fault;
use super::settings::Settings;
use super::value::{self, Malformed, Unit};

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
    /// What it takes.
    pub(super) kind: Kind,
}

/// Names in other editions of the manual the aliases are from, each with its alias. One of them
/// differs from an alias of another parameter by its underscores alone, so none is guessed.
pub(super) const SPELLINGS: [(&str, &str); 2] = [
    ("SS_ENDPOINT_REGISTER_RETRY", "SS_ENDPOINTREGISTERRETRY"),
    ("SS_ENDPOINT_REGISTER_SUSPEND", "SS_ENDPOINTREGISTERSUSPENDTIME"),
];

/// Sockets, threads and tables of fixed size are made once.
const AT_START: [&str; 20] = [
    "log.format",
    "trace.hep",
    "trace.hep_capture_id",
    "trace.hep_password_file",
    "trace.hep_failures",
    LISTEN,
    REACTORS,
    CPUS,
    BACKEND,
    LATENCY_SAMPLING,
    STEERING,
    STEERED_SOURCES,
    ADMIN,
    ADMIN_TOKEN_FILE,
    AUDIT_BYTES,
    AUDIT_FILES,
    GUARD_SOURCES,
    SECURITY_LOG,
    SECURITY_LOG_BYTES,
    SECURITY_LOG_FILES,
];

/// The section of which everything holds from the start.
const HISTORY: &str = "history";

/// What a parameter takes, and how it reaches its field.
pub(super) enum Kind {
    /// On or Off.
    Switch { write: fn(&mut Settings, bool), read: fn(&Settings) -> bool },
    /// A whole number within a range, both ends included; `none`, if it has a word, stands for no
    /// number at all.
    Whole {
        min: u32,
        max: u32,
        none: Option<&'static str>,
        write: fn(&mut Settings, Option<u32>),
        read: fn(&Settings) -> Option<u32>,
    },
    /// One word or text.
    Text { range: &'static str, write: WriteText, read: fn(&Settings) -> String },
    /// Items, separated by commas in text, or an array in a file.
    List { range: &'static str, write: WriteList, read: fn(&Settings) -> String },
}

type WriteText = fn(&mut Settings, &str) -> Result<(), Malformed>;
type WriteList = fn(&mut Settings, &[&str]) -> Result<(), Malformed>;

impl Parameter {
    /// The range with its unit, as it stands in refusals and in `aorta config`.
    #[must_use]
    pub fn range(&self) -> String {
        match self.kind {
            Kind::Switch { .. } => "On, Off".to_owned(),
            Kind::Whole { min, max, none, .. } => {
                let none = none.map(|word| format!("{word}, ")).unwrap_or_default();
                format!("{none}{min}-{max} {}", self.unit).trim_end().to_owned()
            }
            Kind::Text { range, .. } | Kind::List { range, .. } => range.to_owned(),
        }
    }

    /// Whether it holds from the start to the end of the process, whatever a reload reads.
    #[must_use]
    pub fn at_start(&self) -> bool {
        AT_START.contains(&self.key) || self.section() == HISTORY
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
            Kind::Whole { none, read, .. } => match read(settings) {
                Some(number) => number.to_string(),
                None => none.expect("a number where there is no word for none").to_owned(),
            },
            Kind::Text { read, .. } | Kind::List { read, .. } => read(settings),
        }
    }

    /// Whether `name` is its key, its alias or another spelling of that, in any case.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.key.eq_ignore_ascii_case(name)
            || (!self.alias.is_empty() && self.alias.eq_ignore_ascii_case(name))
            || SPELLINGS.iter().any(|&(spelling, alias)| {
                alias == self.alias && spelling.eq_ignore_ascii_case(name)
            })
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
            (Kind::Whole { none: Some(word), write, .. }, Some(text))
                if text.eq_ignore_ascii_case(word) =>
            {
                write(settings, None);
                Ok(())
            }
            (Kind::Whole { min, max, write, .. }, Some(text)) => {
                let number = value::whole(text, self.unit).ok_or_else(|| {
                    let what = match self.unit {
                        Unit::Seconds => "whole seconds",
                        Unit::Milliseconds => "whole milliseconds",
                        Unit::Percent => "a whole percentage",
                        Unit::Bytes => "whole bytes",
                        Unit::None => "a whole number",
                    };
                    not_taken(0, format!("{what} of {}", self.range()))
                })?;
                match u32::try_from(number) {
                    Ok(number) if (*min..=*max).contains(&number) => {
                        write(settings, Some(number));
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
