//! Where a value was read, and the one line that says why it was refused.

use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// A line of a configuration file, counted from 1.
    File {
        /// The file as the operator named it.
        name: Arc<str>,
        /// The line of the value.
        line: u32,
    },
    /// An option of the command line.
    CommandLine,
    /// An operator, while it ran.
    Operator,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::CommandLine => f.write_str("command line"),
            Origin::Operator => f.write_str("operator"),
        }
    }
}

/// A setting that was not taken. Prints as `FILE:LINE: key: what was expected`, on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it was read.
    pub origin: Origin,
    /// The key as it was written; empty where the file as a whole could not be read.
    pub key: String,
    /// What was wrong.
    pub fault: Fault,
}

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file is not TOML.
    Syntax(String),
    /// No parameter has this name.
    Unknown {
        /// The known name that resembles it most, if one does.
        nearest: Option<String>,
    },
    /// The text is not of the parameter's kind.
    Malformed {
        /// The text.
        value: String,
        /// What the parameter takes.
        expected: String,
    },
    /// The value is of the right kind, but too small or too large.
    Outside {
        /// The text.
        value: String,
        /// The range with its unit.
        range: String,
    },
    /// One file sets the parameter twice, by its key and by an alias.
    SetTwice {
        /// Where it was set first.
        first: Origin,
    },
    /// Two values that cannot stand together; the text names both and says where each was read.
    Conflict(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", OneLine(&self.key))?;
        }
        match &self.fault {
            Fault::Syntax(message) => write!(f, "{}", OneLine(message)),
            Fault::Unknown { nearest: Some(nearest) } => {
                write!(f, "unknown name, did you mean {nearest}?")
            }
            Fault::Unknown { nearest: None } => {
                f.write_str("unknown name, `aorta config` lists the known ones")
            }
            Fault::Malformed { value, expected } => {
                write!(f, "{:?} is refused, expected {expected}", value.as_str())
            }
            Fault::Outside { value, range } => {
                write!(f, "{} is outside its range, expected {range}", OneLine(value))
            }
            Fault::SetTwice { first } => write!(f, "set twice, first at {first}"),
            Fault::Conflict(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Refusal {}

/// Text from outside with its control characters escaped, so that a refusal stays one line.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_whatever_was_written() {
        let refusal = Refusal {
            origin: Origin::File { name: "a.toml".into(), line: 7 },
            key: "serve\n.x".to_owned(),
            fault: Fault::Malformed { value: "a\nb".to_owned(), expected: "On or Off".to_owned() },
        };
        assert_eq!(
            refusal.to_string(),
            "a.toml:7: serve\\n.x: \"a\\nb\" is refused, expected On or Off"
        );
    }
}
