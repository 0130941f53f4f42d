//! Runs `nft`: by its path, with arguments and its input given as they are. There is no shell, no
//! environment, and a bound on what it says and how long it takes.

#![allow(clippy::disallowed_methods, reason = "the patience with another program is real time")]

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where distributions put it. What PATH says is not asked: whoever runs this holds a privilege.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];
/// What it may say, bytes: a table with every set full is a fifth of it.
const OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// How long it may take: the largest transaction takes a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The program.
#[derive(Clone, Debug)]
pub struct Nft {
    path: PathBuf,
}

/// Why it did not do what it was to do.
#[derive(Debug)]
pub enum NftError {
    /// There is no such program.
    Missing,
    /// It could not be run.
    Unrunnable(io::Error),
    /// It took too long and was ended.
    Slow,
    /// It refused, and said why.
    Refused(String),
}

impl NftError {
    /// Whether what it was to change is not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, NftError::Refused(why) if why.contains("No such file or directory"))
    }

    /// Whether it lacks the privilege.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, NftError::Refused(why) if why.contains("Operation not permitted"))
    }
}

impl fmt::Display for NftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NftError::Missing => f.write_str("there is no nft (Debian's package is nftables)"),
            NftError::Unrunnable(error) => write!(f, "nft cannot be run: {error}"),
            NftError::Slow => write!(f, "nft was not done after {} s", PATIENCE.as_secs()),
            NftError::Refused(_) if self.is_forbidden() => {
                f.write_str("nft is not permitted to do this: it needs CAP_NET_ADMIN")
            }
            NftError::Refused(why) => {
                let line = why.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason");
                write!(f, "nft: {}", line.trim())
            }
        }
    }
}

impl std::error::Error for NftError {}

impl Nft {
    /// The one at this path, or in the usual places.
    ///
    /// # Errors
    /// [`NftError::Missing`]
    pub fn find(path: Option<&Path>) -> Result<Nft, NftError> {
        let mut places = PLACES.iter().map(Path::new);
        let found = match path {
            Some(path) => Some(path).filter(|path| path.is_file()),
            None => places.find(|path| path.is_file()),
        };
        Ok(Nft { path: found.ok_or(NftError::Missing)?.to_path_buf() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has it carry out `text`, all of it or nothing.
    ///
    /// # Errors
    /// [`NftError`]
    pub fn carry_out(&self, text: &str) -> Result<(), NftError> {
        self.run(&["-f", "-"], text).map(drop)
    }

    /// Has it look whether `text` could be carried out.
    ///
    /// # Errors
    /// [`NftError`]
    pub fn check(&self, text: &str) -> Result<(), NftError> {
        self.run(&["-c", "-f", "-"], text).map(drop)
    }

    /// Runs it and gives what it writes to standard output.
    ///
    /// # Errors
    /// [`NftError`]
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<String, NftError> {
        let mut child = Command::new(&self.path)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(NftError::Unrunnable)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            // It may write before it has read all of its input.
            scope.spawn(move || {
                // One that ends early says why on its own.
                let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
            });
            let out = scope.spawn(move || all_of(stdout));
            let err = scope.spawn(move || all_of(stderr));
            let begun = Instant::now();
            let status = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break Ok(status),
                    Ok(None) if begun.elapsed() > PATIENCE => break Err(NftError::Slow),
                    Ok(None) => thread::sleep(LOOK_EVERY),
                    Err(error) => break Err(NftError::Unrunnable(error)),
                }
            };
            if status.is_err() {
                // Its pipes close, and the threads that read them end.
                let _ = child.kill().and_then(|()| child.wait());
            }
            let said =
                |thread: thread::ScopedJoinHandle<'_, String>| thread.join().unwrap_or_default();
            let (out, err) = (said(out), said(err));
            if status?.success() { Ok(out) } else { Err(NftError::Refused(err)) }
        })
    }
}

/// What a pipe brings, up to the bound; the rest is read and forgotten.
fn all_of(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_cannot_read_is_refused_with_its_words() {
        assert!(matches!(Nft::find(Some(Path::new("/nowhere/nft"))), Err(NftError::Missing)));
        let Ok(nft) = Nft::find(None) else {
            eprintln!("SKIPPED: there is no nft here");
            return;
        };
        let error = nft.check("no command of it\n").unwrap_err();
        assert!(error.to_string().starts_with("nft: "), "{error}");
    }

    #[test]
    fn reasons_are_told_apart_and_are_one_line() {
        let refused = |text: &str| NftError::Refused(text.to_owned());
        let absent = refused("\nstdin:1:1-2: Error: No such file or directory\nadd\n^^^\n");
        assert!(absent.is_absent() && !absent.is_forbidden());
        assert_eq!(absent.to_string(), "nft: stdin:1:1-2: Error: No such file or directory");
        let forbidden = refused("Operation not permitted (you must be root)\nnetlink: Error\n");
        assert!(forbidden.is_forbidden() && forbidden.to_string().contains("CAP_NET_ADMIN"));
        assert_eq!(refused("").to_string(), "nft: no reason");
    }
}
