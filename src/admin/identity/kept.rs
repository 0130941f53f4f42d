//! The file of operators and tokens: written whole under another name, and then in the place of the
//! one before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::accounts::Accounts;

const FILE: &str = "operators.json";
/// A file larger than this is none of ours.
const BYTES_MAX: u64 = 4 << 20;

/// Where they are kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    directory: PathBuf,
}

impl Kept {
    /// What is kept in `directory`; nobody where there is no file yet.
    ///
    /// # Errors
    /// One line: the file cannot be read, or is not what was written.
    pub fn open(directory: &Path) -> Result<(Kept, Accounts), String> {
        let path = directory.join(FILE);
        let failed = |what: String| {
            format!(
                "{}: {what}; nobody is let in by a file that is not whole: put it right, or move \
                 it away and make operators anew",
                path.display()
            )
        };
        let kept = Kept { directory: directory.to_owned() };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((kept, Accounts::default()));
            }
            Ok(file) if file.len() > BYTES_MAX => return Err(failed("it is too large".to_owned())),
            _ => {}
        }
        let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let accounts: Accounts =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        match accounts.fault() {
            Some(fault) => Err(failed(fault)),
            None => Ok((kept, accounts)),
        }
    }

    /// Puts these in the place of those before, and waits until the disk has them.
    ///
    /// # Errors
    /// What the system said; those before are still there.
    pub fn write(&self, accounts: &Accounts) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let draft = self.directory.join(format!("{FILE}.{}", std::process::id()));
        let text = serde_json::to_string_pretty(accounts).map_err(io::Error::other)?;
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.sync_all()
            });
        let replaced = written.and_then(|()| fs::rename(&draft, self.directory.join(FILE)));
        if replaced.is_err() {
            // It may not even have come to be.
            let _ = fs::remove_file(&draft);
        }
        replaced?;
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_is_the_owners_alone_and_a_broken_file_lets_nobody_in() {
        let unique = format!("aorta-operators-{}", std::process::id());
        let directory = std::env::temp_dir().join(unique);
        let _ = fs::remove_dir_all(&directory);
        let (kept, accounts) = Kept::open(&directory).unwrap();
        assert_eq!(accounts, Accounts::default());
        kept.write(&accounts).unwrap();
        kept.write(&accounts).unwrap();
        let path = directory.join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft is left behind");
        assert_eq!(Kept::open(&directory).unwrap().1, accounts);
        for text in ["", "{", "{\"operators\": {\"a\": {}}}", "{\"operators\":{},\"x\":1}", "\u{0}"]
        {
            fs::write(&path, text).unwrap();
            assert!(Kept::open(&directory).is_err(), "{text}");
        }
        let nobody = r#"{"operators": {"a b": {"role": "admin", "hash": "x", "disabled": false,
                         "created_at": "", "password_at": ""}}}"#;
        fs::write(&path, nobody).unwrap();
        assert!(Kept::open(&directory).unwrap_err().contains("no good name"));
        fs::remove_dir_all(&directory).unwrap();
    }
}
