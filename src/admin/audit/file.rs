//! The files of an audit: lines are only ever added. A file that is full is put aside under the
//! number of its first line, and the chain goes on in the next; the oldest go where there are more
//! than may be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::record::{NO_HASH, Record};
use super::verify::torn_detail;

/// The file that is written to.
const FILE: &str = "audit.jsonl";
/// What files put aside begin with, before the number of their first line.
const ASIDE: &str = "audit-";
const SUFFIX: &str = ".jsonl";
/// A file of this size or more is none of ours.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Where the chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the last line; 0 before the first.
    pub seq: u64,
    pub hash: String,
}

impl Default for Head {
    fn default() -> Head {
        Head { seq: 0, hash: NO_HASH.to_owned() }
    }
}

/// How large files become, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub file_bytes: u64,
    /// Beside the one that is written to.
    pub files: usize,
}

/// The file that is written to.
pub(super) struct AuditFile {
    directory: PathBuf,
    room: Room,
    file: File,
    bytes: u64,
    /// Of the first line in it; `None` while it has none.
    first: Option<u64>,
}

/// What was there when the file was opened.
pub(super) struct Opened {
    pub file: AuditFile,
    pub head: Head,
    /// What a crash left behind the last whole line, as the next line says it.
    pub torn: Option<String>,
}

impl AuditFile {
    /// Goes on where the files in `directory` end.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(directory: &Path, room: Room) -> io::Result<Opened> {
        fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        let mut text = read_whole(&path)?;
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let tail = memchr::memrchr(b'\n', &text).map_or(0, |before| before + 1);
        if Record::read(&text[tail..]).is_ok() {
            // Nothing but its end is missing.
            file.write_all(b"\n")?;
            text.push(b'\n');
        }
        let (head, end) = last_record(&text);
        let first = first_record(&text);
        let mut bytes = text.len() as u64;
        let mut torn = None;
        if end < text.len() {
            let mut left = text[end..].to_vec();
            if left.last() != Some(&b'\n') {
                file.write_all(b"\n")?;
                left.push(b'\n');
                bytes += 1;
            }
            torn = Some(torn_detail(left.len(), Sha256::new_with_prefix(&left)));
        }
        let head = match head {
            Some(head) => head,
            None => before(directory)?,
        };
        let first = first.or((bytes > 0).then_some(head.seq + 1));
        let file = AuditFile { directory: directory.to_owned(), room, file, bytes, first };
        Ok(Opened { file, head, torn })
    }

    /// Adds lines, the first of which has the number `seq`, and waits until the disk has them.
    /// After an error none of them is there.
    pub fn add(&mut self, seq: u64, lines: &str) -> io::Result<()> {
        if self.first.is_some() && self.bytes + lines.len() as u64 > self.room.file_bytes {
            self.put_aside()?;
        }
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line is worse than none; if it stays, the next start says so.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.first.get_or_insert(seq);
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let Some(first) = self.first else { return Ok(()) };
        let path = self.directory.join(FILE);
        match fs::rename(&path, self.directory.join(format!("{ASIDE}{first:012}{SUFFIX}"))) {
            // It was put aside before, and the next one could not be begun.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        self.bytes = 0;
        self.first = None;
        File::open(&self.directory)?.sync_all()?;
        let mut aside = put_aside(&self.directory)?;
        let too_many = aside.len().saturating_sub(self.room.files);
        for (_, old) in aside.drain(..too_many) {
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// The files put aside in `directory`, oldest first, with the number of the first line of each.
pub(super) fn put_aside(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(ASIDE).and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The file that is written to.
pub(super) fn newest(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// The text of a file; empty where there is none.
pub(super) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path) {
        Ok(file) if file.len() > FILE_BYTES_MAX => {
            let what = format!("{}: too large to be an audit file", path.display());
            Err(io::Error::other(what))
        }
        Ok(_) => fs::read(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The last line that is whole in itself, and where the text behind it begins.
fn last_record(text: &[u8]) -> (Option<Head>, usize) {
    let mut end = text.len();
    while let Some(at) = memchr::memrchr(b'\n', &text[..end]) {
        let begin = memchr::memrchr(b'\n', &text[..at]).map_or(0, |before| before + 1);
        if let Ok(Record { seq, hash, .. }) = Record::read(&text[begin..at]) {
            return (Some(Head { seq, hash }), at + 1);
        }
        end = at;
    }
    (None, 0)
}

/// The number of the first line that is whole in itself.
fn first_record(text: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    lines.find_map(|line| Record::read(line).ok()).map(|record| record.seq)
}

/// Where the chain is at the end of the files put aside.
fn before(directory: &Path) -> io::Result<Head> {
    for (_, path) in put_aside(directory)?.into_iter().rev() {
        if let (Some(head), _) = last_record(&read_whole(&path)?) {
            return Ok(head);
        }
    }
    Ok(Head::default())
}

#[cfg(test)]
#[path = "file_tests.rs"]
pub(super) mod tests;
