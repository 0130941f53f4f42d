//! SIPVicious against the built server, at one reactor and at two: svmap and svwar find nothing
//! where strangers hear nothing, svcrack opens nothing though the password is on its list and is
//! blocked where it tries many accounts, and the phones that SIPp registers before, meanwhile and
//! after notice nothing. With the defence off svcrack and svmap succeed, so they could.
//!
//! The tools are those of `sipvicious/requirements.txt`, in the virtual environment that
//! `AORTA_SIPVICIOUS` names; without it this is skipped aloud, and `AORTA_REQUIRE_SIPVICIOUS=1`
//! makes that a failure.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/serve.rs"]
mod serve;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use serve::Server;

/// Accounts are numbers, as svwar wants them.
const FIRST: u32 = 1000;
const LAST: u32 = 1099;
/// The one that svcrack tries, and whose password is the last of its list.
const VICTIM: u32 = 1005;
/// What SIPp registers, from an address of its own.
const POPULATION: std::ops::RangeInclusive<u32> = 1050..=1069;

/// Where the tools are, and that SIPp is here; says so if not.
fn tools() -> Option<PathBuf> {
    let required = std::env::var("AORTA_REQUIRE_SIPVICIOUS").is_ok_and(|value| value == "1");
    let missing = |what: &str| {
        assert!(!required, "{what}, and AORTA_REQUIRE_SIPVICIOUS=1");
        // Past the test runner's capture, which would hide it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
        None
    };
    let sipp = Command::new("sipp").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if sipp.is_err() {
        return missing("sipp is not installed");
    }
    let Some(home) = std::env::var_os("AORTA_SIPVICIOUS").map(PathBuf::from) else {
        return missing("AORTA_SIPVICIOUS does not say where SIPVicious is");
    };
    match home.join("bin/sipvicious_svmap").is_file() {
        true => Some(home),
        false => missing("there is no SIPVicious where AORTA_SIPVICIOUS says"),
    }
}

/// A folder of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("sipvicious-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a writable directory");
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn password(number: u32) -> String {
    format!("correct-horse-{number}")
}

/// The tools, pointed at a server.
struct Kit {
    home: PathBuf,
    folder: Scratch,
    target: SocketAddr,
}

impl Kit {
    /// Runs one of the tools to its end, and returns all it wrote.
    fn tool(&self, name: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.home.join("bin").join(format!("sipvicious_{name}")))
            .current_dir(&self.folder.0)
            // It keeps its sessions there.
            .env("HOME", &self.folder.0)
            .args(["-p", &self.target.port().to_string()])
            .args(arguments)
            .arg("127.0.0.1")
            .stdin(Stdio::null())
            .output()
            .expect("it is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }

    fn svmap(&self) -> String {
        self.tool("svmap", &[])
    }

    fn svwar(&self) -> String {
        self.tool("svwar", &["--domain", "example.com", "-e", "990-1020", "--force"])
    }

    /// Thirty wrong passwords, and the right one.
    fn svcrack(&self, victim: u32) -> String {
        let guesses: String = (0..30).map(|nth| format!("guess{nth}\n")).collect();
        let list = guesses + &password(victim) + "\n";
        let list = self.folder.write(&format!("passwords-{victim}"), &list);
        let (domain, victim) = (["--domain", "example.com"], victim.to_string());
        let arguments = ["-u", &victim, "-d", &list, "--maximumtime", "1"];
        self.tool("svcrack", &[domain.as_slice(), &arguments].concat())
    }
}

/// A server, and what attacks it.
struct Siege {
    kit: Kit,
    server: Server,
    admin: SocketAddr,
}

impl Siege {
    fn lay(reactors: &str, settings: &[&str]) -> Option<Siege> {
        let home = tools()?;
        let folder = Scratch::new();
        let line = |number| format!("{number}@example.com {}\n", password(number));
        let accounts = folder.write("accounts", &(FIRST..=LAST).map(line).collect::<String>());
        let mut arguments = vec!["--listen", "udp:127.0.0.1:0", "--admin", "127.0.0.1:0"];
        arguments.extend(["--reactors", reactors, "--subscribers", &accounts]);
        arguments.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
        let server = Server::start_bare(&arguments)?;
        let admin = *server.targets.last().expect("it listens");
        let kit = Kit { home, folder, target: server.target() };
        Some(Siege { kit, server, admin })
    }

    /// Attacks while the population registers: before, again and again meanwhile, and after.
    fn beside_the_population(&self, attack: impl Fn(&Kit)) {
        let target = self.kit.target;
        register(target);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let phones = scope.spawn(|| {
                let mut times = 0;
                while !over.load(Ordering::Relaxed) {
                    register(target);
                    times += 1;
                }
                times
            });
            let attacked = catch_unwind(AssertUnwindSafe(|| attack(&self.kit)));
            over.store(true, Ordering::Relaxed);
            assert!(phones.join().expect("every phone is registered") > 0);
            attacked.unwrap_or_else(|panic| resume_unwind(panic));
        });
        register(target);
    }
}

/// A test at one reactor and at two, at the same time: what takes long are the tools' own waits.
fn each(settings: &[&str], test: impl Fn(Siege) + Sync) {
    thread::scope(|scope| {
        for reactors in ["1", "2"] {
            let test = &test;
            scope.spawn(move || Siege::lay(reactors, settings).map(test));
        }
    });
}

/// Registers the whole population with SIPp; every phone must be granted it.
fn register(target: SocketAddr) {
    let scratch = Scratch::new();
    let line = |number: u32| {
        let password = password(number);
        format!("{number};[authentication username={number} password={password}]\n")
    };
    let users = "SEQUENTIAL\n".to_owned() + &POPULATION.map(line).collect::<String>();
    let users = scratch.write("users.csv", &users);
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_clients/many.xml");
    let output = Command::new("sipp")
        .current_dir(&scratch.0)
        .arg(target.to_string())
        .arg("-sf")
        .arg(scenario)
        .args(["-inf", &users, "-i", "127.0.0.9", "-t", "un", "-max_socket", "100"])
        .args(["-auth_uri", "example.com", "-recv_timeout", "20s", "-nostdin", "-r", "20"])
        .args(["-m", &POPULATION.count().to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("it is installed");
    let wrote = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "SIPp ended with {}\n{wrote}", output.status);
}

fn found_nothing(wrote: &str) {
    assert!(wrote.contains("found nothing"), "{wrote}");
}

/// Kits under other names, that nobody knows by their words.
const DISGUISED: [&str; 2] = ["guard.scanners=", "guard.scanner_patterns="];

#[test]
fn where_strangers_hear_nothing_nothing_is_found_and_phones_do_not_notice() {
    each(&["SS_REPLY_UNAUTHORIZED=Off", "guard.loopback=On"], |siege| {
        siege.beside_the_population(|kit| {
            thread::scope(|scope| {
                let tools = [
                    scope.spawn(|| kit.svmap()),
                    scope.spawn(|| kit.svwar()),
                    scope.spawn(|| kit.svcrack(VICTIM)),
                ];
                tools.into_iter().for_each(|tool| found_nothing(&tool.join().expect("its words")));
            });
        });
        let counters = siege.server.stop();
        assert!(counters.of("scanner") >= 3, "{counters:?}");
        assert_eq!(counters.of("bad_password"), 0);
    });
}

#[test]
fn svcrack_under_another_name_has_six_tries_at_an_account() {
    each(&DISGUISED, |siege| {
        found_nothing(&siege.kit.svcrack(VICTIM));
        let suspended = http::get(siege.admin, "/api/v1/suspensions").good();
        assert_eq!(suspended["items"][0]["aor"], format!("sip:{VICTIM}@example.com"));
        let counters = siege.server.stop();
        assert_eq!((counters.of("bad_password"), counters.of("authenticated")), (6, 0));
    });
}

#[test]
fn svcrack_at_a_dozen_accounts_is_blocked_and_phones_elsewhere_do_not_notice() {
    // Without limits of rate, which would see to it before.
    let more = ["guard.loopback=On", "guard.rate=off", "guard.register_rate=off"];
    each(&[DISGUISED.as_slice(), &more].concat(), |siege| {
        siege.beside_the_population(|kit| {
            thread::scope(|scope| {
                let crack = |victim| scope.spawn(move || kit.svcrack(victim));
                let all: Vec<_> = (VICTIM..VICTIM + 12).map(crack).collect();
                all.into_iter().for_each(|tool| found_nothing(&tool.join().expect("its words")));
            });
        });
        let blocked = http::get(siege.admin, "/api/v1/blacklist").good();
        let items = blocked["items"].as_array().expect("a list");
        assert_eq!(items.len(), 1, "{blocked}");
        assert_eq!(
            (&items[0]["network"], &items[0]["whole"]),
            (&"127.0.0.1/32".into(), &true.into())
        );
        let counters = siege.server.stop();
        // Fewer than the six tries that each of the twelve accounts has without a block.
        assert!((10..12 * 6).contains(&counters.of("bad_password")), "{counters:?}");
    });
}

#[test]
fn without_a_defence_svcrack_opens_the_account_and_svmap_finds_the_server() {
    let off = ["auth.suspend_registers=Off", "auth.suspend_checks=0"];
    each(&[DISGUISED.as_slice(), &off].concat(), |siege| {
        let wrote = siege.kit.svcrack(VICTIM);
        assert!(wrote.contains(&password(VICTIM)), "{wrote}");
        let found = siege.kit.svmap();
        assert!(found.contains(&siege.kit.target.to_string()), "{found}");
        assert_eq!(siege.server.stop().of("authenticated"), 1);
    });
}
