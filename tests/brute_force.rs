//! Guessing over real sockets: whatever way passwords are tried, a source has as many tries at an
//! account as the settings say, and the owner registers from his own address all the while.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;

#[path = "common/serve.rs"]
mod serve;

use std::fs;
use std::path::Path;

use common::{Challenge, Phone};
use serve::{Server, Wire};

const ACCOUNTS: u32 = 50;
/// SS_ENDPOINTREGISTERRETRY.
const RETRY: u32 = 6;
/// Passwords tried at each account; the right one is the last.
const GUESSES: u32 = 40;

/// How an attacker comes by his nonces.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nonces {
    /// A new challenge for each guess, as svcrack does.
    New,
    /// One challenge, answered again and again.
    Same,
    /// Those given to somebody else.
    Foreign,
    /// His own invention.
    MadeUp,
}

struct Attacker {
    wire: Wire,
    nonces: Nonces,
    /// What the neighbour was given.
    foreign: Challenge,
}

fn right_password(number: u32) -> String {
    format!("correct-horse-{number}")
}

fn guess(number: u32, nth: u32) -> String {
    if nth + 1 == GUESSES { right_password(number) } else { format!("guess{nth}") }
}

impl Attacker {
    fn new(server: &Server, address: &str, nonces: Nonces) -> Attacker {
        let neighbour = Wire::from("127.0.0.77:0", server.target());
        let mut phone = Phone::new(1, "neighbour", "neighbour.test");
        assert!(phone.take_challenge(&neighbour.ask(&phone.clone().register(60))));
        let wire = Wire::from(&format!("{address}:0"), server.target());
        Attacker { wire, nonces, foreign: phone.challenge.take().expect("just taken") }
    }

    /// Tries every password at an account. Returns the statuses of the answers to guesses.
    fn attack(&self, number: u32) -> Vec<u16> {
        let mut phone = Phone::new(number, "attacker", "attacker.test");
        let mut statuses = Vec::new();
        for nth in 0..GUESSES {
            match self.nonces {
                Nonces::New => phone.challenge = None,
                Nonces::Same => {}
                Nonces::Foreign => phone.challenge = Some(self.foreign.clone()),
                Nonces::MadeUp => {
                    let nonce = format!("{nth:0>20}");
                    phone.challenge = Some(Challenge { nonce, ..self.foreign.clone() });
                }
            }
            if phone.challenge.is_none() {
                let challenged = self.wire.ask(&phone.register(60));
                assert!(phone.take_challenge(&challenged), "{challenged:?}");
            }
            phone.password = guess(number, nth);
            statuses.push(self.wire.ask(&phone.register(60)).status);
        }
        statuses
    }
}

/// The owner of an account, from his own address.
fn register(owner: &Wire, number: u32) -> u16 {
    let mut phone = Phone::new(number, "owner", "owner.test");
    phone.password = right_password(number);
    let challenged = owner.ask(&phone.register(600));
    assert!(phone.take_challenge(&challenged), "{challenged:?}");
    owner.ask(&phone.register(600)).status
}

#[test]
fn no_way_of_guessing_has_more_tries_than_the_settings_say_and_owners_register_all_the_while() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("brute-force-subscribers");
    let line = |number| format!("u{number}@example.com {}\n", right_password(number));
    let lines: String = (1..=ACCOUNTS).map(line).collect();
    fs::write(&file, lines + "short@example.com eleven-char\n").expect("a writable directory");
    let path = file.display().to_string();
    let listen = ["--listen", "udp:127.0.0.1:0", "--reactors", "2", "--subscribers", &path];
    let Some(server) = Server::start_bare(&listen) else { return };
    let pointed_out = format!("aorta: {path}:{}: 1 of {} passwords", ACCOUNTS + 1, ACCOUNTS + 1);
    let said = server.process.err.iter().any(|line| line.starts_with(&pointed_out));
    assert!(said, "{:?}", server.process.err);

    let owner = Wire::to(server.target());
    let attackers = [
        Attacker::new(&server, "127.0.0.2", Nonces::New),
        Attacker::new(&server, "127.0.0.3", Nonces::New),
        Attacker::new(&server, "127.0.0.4", Nonces::Same),
        Attacker::new(&server, "127.0.0.5", Nonces::Foreign),
        Attacker::new(&server, "127.0.0.6", Nonces::MadeUp),
    ];
    for number in 1..=ACCOUNTS {
        for attacker in &attackers {
            let statuses = attacker.attack(number);
            assert!(!statuses.contains(&200), "{:?} {statuses:?}", attacker.nonces);
            let challenged = statuses.iter().filter(|&&status| status == 401).count() as u32;
            match attacker.nonces {
                Nonces::New | Nonces::Same => assert_eq!(challenged, RETRY - 1, "{statuses:?}"),
                Nonces::Foreign | Nonces::MadeUp => assert_eq!(challenged, GUESSES),
            }
        }
        assert_eq!(register(&owner, number), 200, "u{number}");
    }
    // From where an account is suspended its owner is, too; from elsewhere he never was.
    assert_eq!(register(&attackers[0].wire, 1), 403);
    assert_eq!(register(&owner, 1), 200);
    let counters = server.stop();
    let suspensions = 3 * u64::from(ACCOUNTS);
    assert_eq!(counters.of("suspensions"), suspensions);
    assert_eq!(counters.of("bad_password"), suspensions * u64::from(RETRY));
    assert_eq!(counters.of("authenticated"), u64::from(ACCOUNTS) + 1);
    let unlooked = 2 * u64::from(ACCOUNTS) * u64::from(GUESSES);
    assert_eq!(counters.of("foreign_nonce"), unlooked);
    fs::remove_file(&file).expect("it was written");
}
