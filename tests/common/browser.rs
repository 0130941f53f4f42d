//! A headless Chromium and Node, where they are installed, and scripts run with them.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What runs scripts in a browser.
pub struct Browser {
    chromium: PathBuf,
    node: PathBuf,
}

/// The first of these on the PATH.
fn found(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|at| at.is_file()))
}

/// Where the scripts are.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

impl Browser {
    /// What is installed, with this package of npm's. `None` where something is not, said aloud;
    /// `AORTA_REQUIRE_BROWSER=1` makes that a failure.
    pub fn with(package: &str) -> Option<Browser> {
        let needed = || {
            let chromium = found(&["chromium", "chromium-browser", "google-chrome"]);
            let chromium = chromium.ok_or("no Chromium is installed")?;
            let node = found(&["node", "nodejs"]).ok_or("Node is not installed")?;
            match scripts().join("node_modules").join(package).is_dir() {
                true => Ok(Browser { chromium, node }),
                false => Err("a package of npm's is not installed: npm ci in tests/browser"),
            }
        };
        match needed() {
            Ok(browser) => Some(browser),
            Err(why) => {
                let required = std::env::var("AORTA_REQUIRE_BROWSER").is_ok_and(|set| set == "1");
                assert!(!required, "{why}, and AORTA_REQUIRE_BROWSER=1");
                // Past the test runner's capture, which would hide it.
                let _ = writeln!(std::io::stderr(), "SKIPPED browser: {why}");
                None
            }
        }
    }

    /// Runs a script to its end: what it wrote. It fails where the script does, or does not say of
    /// so many steps that they are well.
    pub fn run(&self, script: &str, arguments: &[&str], steps: usize) {
        let mut command = Command::new(&self.node);
        command.arg(scripts().join(script)).arg(&self.chromium).args(arguments);
        let Output { status, stdout, stderr } = command.output().expect("Node starts");
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{status}\n{out}\n{err}");
        assert_eq!(out.lines().filter(|line| line.starts_with("ok ")).count(), steps, "{out}");
    }
}
