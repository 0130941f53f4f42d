//! The key of the nonces, which outlives a restart: phones that refresh after one would otherwise
//! all come back twice. Siblings share it by sharing the file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::auth::digest::parse_hex;

/// Bytes of a nonce key.
pub const NONCE_KEY_BYTES: usize = 16;

const FILE: &str = "nonce.key";

/// What went wrong with the data directory.
#[derive(Debug)]
pub enum KeyError {
    /// An operation on a path failed.
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    Malformed(PathBuf),
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyError::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            KeyError::Malformed(path) => write!(
                f,
                "{}: expected 32 hex digits and a line end; remove it to have a new one made",
                path.display()
            ),
        }
    }
}

impl std::error::Error for KeyError {}

/// Reads the key kept in `directory`; makes the directory, and keeps `fresh` as the key, where
/// there is none yet.
///
/// # Errors
/// The directory or the file cannot be made or read, or the file holds no key.
pub fn nonce_key(
    directory: &Path,
    fresh: [u8; NONCE_KEY_BYTES],
) -> Result<[u8; NONCE_KEY_BYTES], KeyError> {
    let path = directory.join(FILE);
    let io = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io { operation, path, source }
    };
    fs::create_dir_all(directory).map_err(io("create the directory", directory))?;
    match fs::read_to_string(&path) {
        Ok(text) => return parse(&text).ok_or(KeyError::Malformed(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(KeyError::Malformed(path));
        }
        Err(error) => return Err(io("read", &path)(error)),
    }
    // Written whole under another name first: a crash leaves no half key behind, and of two
    // processes that start at once the first link wins.
    let draft = directory.join(format!("{FILE}.{}", std::process::id()));
    let text: String = fresh.iter().map(|byte| format!("{byte:02x}")).collect();
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(format!("{text}\n").as_bytes())?;
            file.sync_all()
        });
    written.map_err(io("write", &draft))?;
    let linked = fs::hard_link(&draft, &path);
    fs::remove_file(&draft).map_err(io("remove", &draft))?;
    match linked {
        Ok(()) => Ok(fresh),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(&path).map_err(io("read", &path))?;
            parse(&text).ok_or(KeyError::Malformed(path))
        }
        Err(error) => Err(io("create", &path)(error)),
    }
}

fn parse(text: &str) -> Option<[u8; NONCE_KEY_BYTES]> {
    parse_hex(text.trim_end().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let unique = format!("aorta-keys-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(unique);
            let _ = fs::remove_dir_all(&path);
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_key_outlives_a_restart_and_is_the_owners_alone() {
        let scratch = Scratch::new("kept");
        let directory = scratch.0.join("nested");
        assert_eq!(nonce_key(&directory, [7; 16]).unwrap(), [7; 16]);
        assert_eq!(nonce_key(&directory, [8; 16]).unwrap(), [7; 16]);
        let mode = fs::metadata(directory.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_by_name() {
        let scratch = Scratch::new("malformed");
        fs::create_dir_all(&scratch.0).unwrap();
        for text in ["", "zz", "00", &"g".repeat(32), &"0".repeat(33)] {
            fs::write(scratch.0.join(FILE), text).unwrap();
            let said = nonce_key(&scratch.0, [7; 16]).unwrap_err().to_string();
            assert!(said.contains("nonce.key: expected 32 hex digits"), "{said}");
        }
        fs::write(scratch.0.join(FILE), [0xff; 32]).unwrap();
        assert!(matches!(nonce_key(&scratch.0, [7; 16]), Err(KeyError::Malformed(_))));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_with_its_path() {
        let scratch = Scratch::new("file");
        fs::write(&scratch.0, "in the way").unwrap();
        let said = nonce_key(&scratch.0, [7; 16]).unwrap_err().to_string();
        assert!(said.starts_with("cannot create the directory"), "{said}");
        fs::remove_file(&scratch.0).unwrap();
    }
}
