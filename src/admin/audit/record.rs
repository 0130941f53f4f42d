//! One line of the audit, and what holds the lines together: each has its number, the hash of the
//! line before, and a hash over all of its own text in front of that.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::action::{Action, Outcome};

/// The hash that stands before the first line.
pub(super) const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What stands in front of a line's own hash.
const HASH: &str = ",\"hash\":\"";
/// Hex digits of a hash.
const HASH_DIGITS: usize = 64;
const END: &str = "\"}";

/// A line of the audit, in the order in which it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Counted from 1, without a gap.
    pub seq: u64,
    /// When, RFC 3339.
    pub at: String,
    /// Who: an account, a token, or the means where there is neither.
    pub operator: String,
    /// With which role; empty where nobody was known.
    pub role: String,
    /// The other end of the connection; empty for what the process did by itself.
    pub from: String,
    /// By which means the operator was known.
    pub via: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// What more there is to say.
    pub detail: String,
    /// Why, in the operator's own words.
    pub reason: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// Why it was refused or how it failed.
    pub why: String,
    /// The hash of the line before.
    pub prev: String,
    /// The hash of this line; not written with the others, but behind them.
    #[serde(default, skip_serializing)]
    pub hash: String,
}

/// What is to become a line.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub at: String,
    pub operator: String,
    pub role: &'static str,
    pub from: String,
    pub via: &'static str,
    pub action: Action,
}

impl Draft {
    /// Something the process itself has to say.
    pub fn own(at: String, action: Action) -> Draft {
        let operator = "aorta".to_owned();
        Draft { at, operator, role: "", from: String::new(), via: "process", action }
    }

    /// The line of this number behind the one of that hash, without a line end.
    pub fn sealed(self, seq: u64, prev: &str) -> (Record, String) {
        let Action { verb, target, detail, reason, outcome } = self.action;
        let (outcome, why) = match outcome {
            Outcome::Done => ("done", String::new()),
            Outcome::Refused(why) => ("refused", why),
            Outcome::Failed(why) => ("failed", why),
        };
        let mut record = Record {
            seq,
            at: self.at,
            operator: self.operator,
            role: self.role.to_owned(),
            from: self.from,
            via: self.via.to_owned(),
            action: verb.name().to_owned(),
            target,
            detail,
            reason,
            outcome: outcome.to_owned(),
            why,
            prev: prev.to_owned(),
            hash: String::new(),
        };
        // Strings and a number always can be written.
        let mut line = serde_json::to_string(&record).unwrap_or_default();
        line.pop();
        record.hash = hex(&Sha256::digest(line.as_bytes()));
        line.push_str(HASH);
        line.push_str(&record.hash);
        line.push_str(END);
        (record, line)
    }
}

/// What is wrong with a line in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not end as a line does: it was cut off, or never was one.
    Form,
    /// Its text is not what its hash was made of.
    Hash,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fault::Form => "it is no line of an audit, or was cut off",
            Fault::Hash => "its text is not the text its hash was made of",
        })
    }
}

impl Record {
    /// Reads a line that is whole in itself.
    pub(super) fn read(line: &[u8]) -> Result<Record, Fault> {
        let line = std::str::from_utf8(line).map_err(|_| Fault::Form)?;
        let split = line.len().checked_sub(HASH.len() + HASH_DIGITS + END.len());
        let (text, rest) = split.and_then(|at| line.split_at_checked(at)).ok_or(Fault::Form)?;
        let hash = rest.strip_prefix(HASH).and_then(|rest| rest.strip_suffix(END));
        let hash = hash.ok_or(Fault::Form)?;
        if hex(&Sha256::digest(text.as_bytes())) != hash {
            return Err(Fault::Hash);
        }
        serde_json::from_str(line).map_err(|_| Fault::Form)
    }

    /// Whether `text`, in lower case, stands in any of its texts.
    pub(super) fn mentions(&self, text: &str) -> bool {
        let texts = [
            &self.operator,
            &self.from,
            &self.action,
            &self.target,
            &self.detail,
            &self.reason,
            &self.why,
        ];
        texts.iter().any(|one| one.to_lowercase().contains(text))
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::action::Verb;
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_whatever_stands_in_it() {
        for odd in ["", "\",\"hash\":\"", "a\nb\u{2028}\u{fc}\u{0}", "\\\"}"] {
            let action = Action::new(Verb::Block, odd).detail(odd).reason(Some(odd)).failed(odd);
            let draft = Draft::own("2026-11-21T02:38:00Z".to_owned(), action);
            let (record, line) = draft.sealed(7, NO_HASH);
            assert!(!line.contains('\n'));
            assert_eq!(Record::read(line.as_bytes()), Ok(record.clone()));
            assert_eq!((record.seq, &*record.target, &*record.outcome), (7, odd, "failed"));
        }
    }

    #[test]
    fn what_was_changed_or_cut_is_no_line() {
        let action = Action::new(Verb::Block, "192.0.2.7");
        let (_, line) = Draft::own("2026".to_owned(), action).sealed(1, NO_HASH);
        for end in 0..line.len() {
            assert!(Record::read(&line.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        for at in 0..line.len() {
            let mut other = line.clone().into_bytes();
            other[at] ^= 1;
            assert!(Record::read(&other).is_err(), "changed at {at}");
        }
        assert!(Record::read(&[0xff; 200]).is_err());
    }
}
