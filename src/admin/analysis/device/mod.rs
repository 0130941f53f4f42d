//! What a phone is, from what it calls itself: vendor, model and firmware out of a User-Agent
//! (RFC 3261 20.41). Whatever was sent, the result is bounded and printable ASCII; what nobody
//! knows is of the vendor [`OTHER`]. Who calls himself what is [`vendors`]' table.

mod vendors;
mod words;

use arrayvec::ArrayString;

use self::vendors::{Model, VENDORS};
use self::words::{Read, read};
use crate::limits::USER_AGENT_BYTES_MAX;

/// Longest model, bytes.
pub const MODEL_BYTES_MAX: usize = 32;
/// Longest firmware, bytes.
pub const FIRMWARE_BYTES_MAX: usize = 24;
/// The vendor of what nobody knows; the model is then what the phone calls itself.
pub const OTHER: &str = "other";
/// The vendor of phones that do not say what they are.
pub const UNNAMED: &str = "unnamed";

/// A text no longer than any User-Agent that is kept.
pub(super) type Plain = ArrayString<USER_AGENT_BYTES_MAX>;

/// What a phone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// One of the table's, [`OTHER`] or [`UNNAMED`].
    pub vendor: &'static str,
    /// Empty where it is not said.
    pub model: ArrayString<MODEL_BYTES_MAX>,
    /// Empty where it is not said.
    pub firmware: ArrayString<FIRMWARE_BYTES_MAX>,
}

/// A device, and as much of its User-Agent as says so: what to look for to find its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is.
    pub device: Device,
    /// The User-Agent, made harmless.
    pub text: Plain,
    /// So many bytes of it name the vendor, the model, the firmware; 0 where nothing does.
    pub ends: [u8; 3],
}

impl Named {
    /// What the phones of that vendor, model or firmware have in their User-Agent, counted from 0;
    /// `None` where nothing says so.
    #[must_use]
    pub fn sought(&self, level: usize) -> Option<&str> {
        let end = usize::from(*self.ends.get(level)?);
        self.text.get(..end).map(str::trim_end).filter(|text| !text.is_empty())
    }
}

/// Reads a User-Agent. Bytes that are no printable ASCII are taken for question marks.
#[must_use]
pub fn device(user_agent: &[u8]) -> Named {
    let mut text = Plain::new();
    let begin = user_agent.trim_ascii();
    // What is cut off may leave a blank at the end.
    for &byte in begin[..begin.len().min(USER_AGENT_BYTES_MAX)].trim_ascii_end() {
        text.push(if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' });
    }
    let (vendor, found) = named(&text, 0);
    let Read { model, firmware, ends } = found;
    Named { device: Device { vendor, model, firmware }, text, ends }
}

/// What stands behind a byte of the text.
fn named(text: &str, from: usize) -> (&'static str, Read) {
    let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) else {
        return (UNNAMED, Read::default());
    };
    let Some(vendor) = VENDORS.iter().find(|one| begins(rest, one.begins)) else {
        // Somebody's own name for it: a vendor of this name is not listed, so none is sought.
        let found = read(text, from, from);
        return (OTHER, Read { ends: [0, found.ends[1], found.ends[2]], ..found });
    };
    let behind = from + vendor.begins.len();
    let end = u8::try_from(behind).unwrap_or(u8::MAX);
    match vendor.model {
        Model::Behind => {
            let found = read(text, from, behind);
            (vendor.name, Read { ends: [end, found.ends[1], found.ends[2]], ..found })
        }
        Model::Whole => {
            let found = read(text, from, from);
            (vendor.name, Read { ends: [end, found.ends[1], found.ends[2]], ..found })
        }
        Model::Bracketed => {
            let found = words::read_bracketed(text, behind);
            (vendor.name, Read { ends: [end, found.ends[1], found.ends[2]], ..found })
        }
        // A product that says nothing but whose it is; the next one says which.
        Model::Next => match text[behind..].find(' ') {
            Some(blank) if text.len() > behind + blank + 1 => {
                let (name, found) = named(text, behind + blank + 1);
                (if name == OTHER { vendor.name } else { name }, found)
            }
            _ => {
                let found = read(text, from, behind);
                (vendor.name, Read { ends: [end, found.ends[1], found.ends[2]], ..found })
            }
        },
    }
}

fn begins(text: &str, with: &str) -> bool {
    text.as_bytes()
        .get(..with.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
}

#[cfg(test)]
mod tests;
