//! Pages of the audit, the newest line first, out of the files or of what is in memory.

use std::io;
use std::path::Path;

use super::file::{newest, put_aside, read_whole};
use super::record::Record;

/// Files looked at for one page: a search that finds nothing goes on with the next page.
const FILES_MAX: usize = 4;

/// What is wanted of the audit.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Lines before this number; the last ones unless given.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// This operator's.
    pub operator: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// That ended so: `done`, `refused` or `failed`.
    pub outcome: Option<String>,
    /// With this anywhere in their texts, whatever the case.
    pub text: Option<String>,
    /// From this time on, as [`Record::at`] is written.
    pub since: Option<String>,
}

impl Wanted {
    fn wants(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        is(&self.operator, &record.operator)
            && is(&self.action, &record.action)
            && is(&self.outcome, &record.outcome)
            && self.since.as_ref().is_none_or(|since| record.at.as_str() >= since.as_str())
            && self.text.as_ref().is_none_or(|text| record.mentions(&text.to_lowercase()))
    }

    fn is_before(&self, seq: u64) -> bool {
        self.before.is_none_or(|before| seq < before)
    }
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub records: Vec<Record>,
    /// What to ask for as `before` for the next page; `None` behind the last.
    pub next: Option<u64>,
}

/// Picks a page from lines in memory, the newest last.
pub(super) fn of_memory(records: &[Record], wanted: &Wanted) -> Page {
    let mut page = Page::default();
    let mut asked = records.iter().rev().filter(|record| wanted.is_before(record.seq));
    for record in asked.by_ref() {
        if wanted.wants(record) {
            page.records.push(record.clone());
        }
        if page.records.len() >= wanted.limit {
            page.next = Some(record.seq).filter(|_| asked.next().is_some());
            break;
        }
    }
    page
}

/// Picks a page from the files in `directory`.
///
/// # Errors
/// What the system said.
pub(super) fn of_files(directory: &Path, wanted: &Wanted) -> io::Result<Page> {
    let mut page = Page::default();
    // Listed behind the first reading: what is put aside meanwhile is there twice, not missing.
    let mut texts = vec![(None, read_whole(&newest(directory))?)];
    let mut aside = put_aside(directory)?;
    let mut looked_at = 0;
    loop {
        let (first, text) = match texts.pop() {
            Some(first) => first,
            None => match aside.pop() {
                Some((first, path)) => (Some(first), read_whole(&path)?),
                None => break,
            },
        };
        let below = page.next.or(wanted.before);
        if first.is_some_and(|first| below.is_some_and(|below| first >= below)) {
            continue;
        }
        if looked_at >= FILES_MAX {
            // There are older ones.
            return Ok(page);
        }
        looked_at += 1;
        for line in text.rsplit(|byte| *byte == b'\n') {
            let Ok(record) = Record::read(line) else { continue };
            if page.next.or(wanted.before).is_some_and(|below| record.seq >= below) {
                continue;
            }
            if page.records.len() >= wanted.limit {
                return Ok(page);
            }
            page.next = Some(record.seq);
            if wanted.wants(&record) {
                page.records.push(record);
            }
        }
    }
    page.next = None;
    Ok(page)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
