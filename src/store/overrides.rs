//! Parameters that operators set while the registrar ran: they outlive it, over whatever the
//! configuration and the command line say.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file in the directory of the data: a TOML table of texts.
const FILE: &str = "parameters.toml";

/// Keys, each with its value as text.
pub type Overrides = BTreeMap<String, String>;

/// Where they are kept in `directory`.
#[must_use]
pub fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Those that are kept in `directory`; none where there is no file.
///
/// # Errors
/// One line with the file and what is wrong with it.
pub fn read(directory: &Path) -> Result<Overrides, String> {
    let path = path(directory);
    let failed = |what: &dyn std::fmt::Display| format!("cannot read {}: {what}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| failed(&error.message())),
        // Of a directory that is none, whoever has to write there says more.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Overrides::new())
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Puts these in the place of those before, and waits until the disk has them.
///
/// # Errors
/// What the system said; those before are still there.
pub fn write(directory: &Path, overrides: &Overrides) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let draft = directory.join(format!("{FILE}.{}", std::process::id()));
    let mut text =
        "# What operators set while the registrar ran; aorta ctl param changes it.\n".to_owned();
    for (key, value) in overrides {
        let [key, value] = [key, value].map(|text| toml::Value::String(text.clone()).to_string());
        text.push_str(&format!("{key} = {value}\n"));
    }
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
    let written = written.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&draft, path(directory)));
    if replaced.is_err() {
        // It may not even have come to be.
        let _ = fs::remove_file(&draft);
    }
    replaced?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_stands_in_it() {
        let unique = format!("aorta-overrides-{}", std::process::id());
        let directory = std::env::temp_dir().join(unique);
        let _ = fs::remove_dir_all(&directory);
        assert_eq!(read(&directory), Ok(Overrides::new()));
        let odd = ["", "On", "a \"b\" \\ c", "\u{fc}\u{0}\n", "'", "'''"];
        let overrides: Overrides = odd
            .iter()
            .enumerate()
            .map(|(n, text)| (format!("a.b{n}"), (*text).to_owned()))
            .collect();
        write(&directory, &overrides).unwrap();
        write(&directory, &overrides).unwrap();
        assert_eq!(read(&directory), Ok(overrides));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft is left behind");
        for wrong in ["x", "a = 1", "[a]\nb = \"c\"", "a = \"1\"\na = \"2\""] {
            fs::write(path(&directory), wrong).unwrap();
            assert!(read(&directory).is_err(), "{wrong}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
