//! Whether an audit is what was written: every line whole, in its place, with none missing between
//! the first and the last that are shown.
//!
//! A chain without a key cannot tell whether its end was cut off, or all of it written anew.
//! Whoever needs to know keeps the number and the hash of a line elsewhere, such as in the log of
//! the service, where a start and a stop write them.

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

use super::record::{NO_HASH, Record, hex};

/// The action of a line that says what a crash left before it.
pub(super) const TORN: &str = "torn";
/// Longest line that is looked at, bytes; what is longer is none of ours.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// How much of what a crash left is remembered until the line that says so, bytes.
const TORN_BYTES_MAX: usize = 64 << 20;

/// The first line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its file, as it was given.
    pub file: String,
    /// Counted from 1.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// What was found in good order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines.
    pub records: u64,
    /// The number of the first; 1 unless older files are missing.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The hash of the last.
    pub hash: String,
    /// How many times a crash had cut off a line, which the next line says.
    pub torn: u64,
    /// Whether the line asked for was there.
    pub known: bool,
}

/// What a crash left, until the line that says so.
struct Torn {
    at: (String, u64),
    what: String,
    hash: Sha256,
    bytes: usize,
}

/// Looks at line after line.
#[derive(Default)]
pub struct Verifier {
    found: Verified,
    torn: Option<Torn>,
    /// The number and hash of a line that must be there.
    expected: Option<(u64, String)>,
}

/// Why it cannot be said that the audit is good.
#[derive(Debug)]
pub enum VerifyError {
    /// A line is wrong.
    Broken(Broken),
    /// A file cannot be read.
    Io(String, io::Error),
}

impl std::fmt::Display for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VerifyError::Broken(broken) => broken.fmt(f),
            VerifyError::Io(file, error) => write!(f, "cannot read {file}: {error}"),
        }
    }
}

impl std::error::Error for VerifyError {}

impl Verifier {
    /// One that also wants the line of this number to have this hash.
    #[must_use]
    pub fn expecting(line: Option<(u64, String)>) -> Verifier {
        Verifier { expected: line, ..Verifier::default() }
    }

    /// Looks at a file; files come in the order they were written.
    ///
    /// # Errors
    /// The first line that is wrong, or what the system said.
    pub fn file(&mut self, name: &str, mut reader: impl BufRead) -> Result<(), VerifyError> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line);
            match read.map_err(|error| VerifyError::Io(name.to_owned(), error))? {
                0 => break,
                _ => self.line((name, number), &line).map_err(VerifyError::Broken)?,
            }
        }
        Ok(())
    }

    /// What there was, once all of it was seen.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn finish(self) -> Result<Verified, VerifyError> {
        match self.torn {
            Some(torn) => Err(VerifyError::Broken(broken(&torn.at, torn.what))),
            None => Ok(self.found),
        }
    }

    fn line(&mut self, (file, number): (&str, u64), line: &[u8]) -> Result<(), Broken> {
        let at = (file.to_owned(), number);
        let (text, ended) = match line.split_last() {
            Some((b'\n', text)) => (text, true),
            _ => (line, false),
        };
        match Record::read(text) {
            Ok(record) if ended => self.record(&at, record),
            Ok(_) => self.unreadable(at, "its end is missing".to_owned(), line),
            Err(fault) => self.unreadable(at, fault.to_string(), line),
        }
    }

    /// A line may be what a crash left; then the next one says so.
    fn unreadable(&mut self, at: (String, u64), what: String, line: &[u8]) -> Result<(), Broken> {
        let fresh = || Torn { at, what, hash: Sha256::new(), bytes: 0 };
        let torn = self.torn.get_or_insert_with(fresh);
        torn.hash.update(line);
        torn.bytes += line.len();
        if torn.bytes > TORN_BYTES_MAX {
            return Err(broken(&torn.at, torn.what.clone()));
        }
        Ok(())
    }

    fn record(&mut self, at: &(String, u64), record: Record) -> Result<(), Broken> {
        if let Some(torn) = self.torn.take() {
            let says = torn_detail(torn.bytes, torn.hash);
            if record.action != TORN || record.detail != says {
                return Err(broken(&torn.at, torn.what));
            }
            self.found.torn += 1;
        }
        let found = &mut self.found;
        if found.records == 0 {
            found.first = record.seq;
            if record.seq == 1 && record.prev != NO_HASH {
                return Err(broken(at, "it is numbered 1 and names a line before".to_owned()));
            }
        } else if record.seq != found.last + 1 {
            let what = format!("it is numbered {}, behind {}", record.seq, found.last);
            return Err(broken(at, what));
        } else if record.prev != found.hash {
            return Err(broken(at, "it does not belong behind the line before".to_owned()));
        }
        if let Some((seq, hash)) = &self.expected
            && *seq == record.seq
        {
            if *hash != record.hash {
                let what = "it is another line than the one of that number that was expected";
                return Err(broken(at, what.to_owned()));
            }
            found.known = true;
        }
        found.records += 1;
        found.last = record.seq;
        found.hash = record.hash;
        Ok(())
    }
}

fn broken((file, line): &(String, u64), what: String) -> Broken {
    Broken { file: file.clone(), line: *line, what }
}

/// How the line behind says what a crash left: its length, with the line end it was given, and its
/// hash.
pub(super) fn torn_detail(bytes: usize, hash: Sha256) -> String {
    format!("bytes={bytes} sha256={}", hex(&hash.finalize()))
}
