//! The file of security events: a line of JSON each, in files of a bounded size and number. It owns
//! the files; which events are worth a line is its caller's to say.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file that is written to, and how it makes room.
#[derive(Debug)]
pub struct SecurityLog {
    path: PathBuf,
    bytes_max: u64,
    files: u8,
    file: File,
    bytes: u64,
}

impl SecurityLog {
    /// Goes on with the file at `path`. Together no more than `files` files of `bytes_max` bytes
    /// are kept: itself, and older ones with `.1` and so on behind the name, the oldest last.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(path: &Path, bytes_max: u64, files: u8) -> io::Result<SecurityLog> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        Ok(SecurityLog { path: path.to_owned(), bytes_max, files: files.max(1), file, bytes })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    ///
    /// # Errors
    /// What the system said; the line is lost then.
    pub fn write(&mut self, line: &str) -> io::Result<()> {
        let bytes = line.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + bytes > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.bytes += bytes;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // With one file alone, it begins anew.
        for number in (1..self.files).rev() {
            match fs::rename(self.numbered(number - 1), self.numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files == 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }

    fn numbered(&self, number: u8) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Others on this host need not know who fails with which account.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let unique = format!("aorta-security-log-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(unique);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a directory");
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn old_files_are_renamed_and_the_oldest_goes() {
        let scratch = Scratch::new("rotated");
        let path = scratch.0.join("security.log");
        let mut log = SecurityLog::open(&path, 20, 3).unwrap();
        for number in 0..9 {
            log.write(&format!("line {number} .")).unwrap();
        }
        let of = |name: &str| read(&scratch.0.join(name));
        assert_eq!(of("security.log"), ["line 8 ."]);
        assert_eq!(of("security.log.1"), ["line 6 .", "line 7 ."]);
        assert_eq!(of("security.log.2"), ["line 4 .", "line 5 ."]);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 3);
        // The next process goes on where this one was.
        let mut log = SecurityLog::open(&path, 20, 3).unwrap();
        log.write("line 9 .").unwrap();
        log.write("line 10 .").unwrap();
        assert_eq!((of("security.log"), of("security.log.1").len()), (vec!["line 10 .".into()], 2));
    }

    #[test]
    fn one_file_alone_begins_anew_and_a_long_line_has_its_own() {
        let scratch = Scratch::new("alone");
        let path = scratch.0.join("security.log");
        let mut log = SecurityLog::open(&path, 10, 1).unwrap();
        for line in ["one", "two", "a line of more than that"] {
            log.write(line).unwrap();
        }
        assert_eq!(read(&path), ["a line of more than that"]);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn a_place_where_nothing_can_be_written_is_an_error() {
        let scratch = Scratch::new("nowhere");
        assert!(SecurityLog::open(&scratch.0.join("none/security.log"), 10, 1).is_err());
        assert!(SecurityLog::open(&scratch.0, 10, 1).is_err());
    }
}
