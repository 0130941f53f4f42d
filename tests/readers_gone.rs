//! Programs whose readers have gone away: a closed pipe or a terminal that hung up costs the lines,
//! never the process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

fn aorta(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn signal(name: &str, process: u32) {
    let kill = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(kill.expect("kill is everywhere").success());
}

#[test]
fn a_registrar_outlives_whoever_read_its_log() {
    let arguments = ["serve", "--listen", "udp:127.0.0.1:0", "--reactors", "1"];
    let mut server = aorta(&arguments).args(["--test-accounts", "1"]).spawn().unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    while line != "ready\n" {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it did not start");
    }
    // The signal makes it say a line, and nobody can read it.
    drop(server.stderr.take());
    signal("HUP", server.id());
    signal("TERM", server.id());
    let mut last = String::new();
    out.read_to_string(&mut last).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(last.starts_with("answered 0\n"), "{last}");
}

#[test]
fn a_listing_may_be_cut_off_by_its_reader() {
    let mut listing = aorta(&["config"]).spawn().unwrap();
    drop(listing.stdout.take());
    let mut said = String::new();
    listing.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(listing.wait().unwrap().success(), "{said}");
}
