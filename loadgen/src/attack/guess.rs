//! Brute force: every password of a list is tried at every account, from several sources in turn,
//! while the owners register from their own addresses. A source asks for a challenge, answers it
//! with one password after the other, takes each new challenge it is given and asks for one where
//! it was refused; where it hears nothing for long it gives up.
//!
//! How many passwords were checked shows from outside but for one case: a 401 that does not call
//! the nonce stale is a wrong password; a 403 may be the last that was checked or the first that
//! was not, so the first of each row of them is taken for a check.

use super::addresses::{guesser, owner};
use super::forge::{Credentials, Forged, Method, domain, number_of};
use super::gun::{Gun, Pacer};
use super::options::AttackOptions;
use super::server::Server;
use crate::options::{Error, Options, Pace};
use crate::plan::{Nanos, SECOND};
use crate::roster::Roster;
use crate::run::Outcome;
use crate::scenarios::Scenario;
use crate::wire::challenge::Challenge;
use crate::wire::scan::Answer;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CALL: &[u8] = b"guess-";
/// How long an unanswered request for a challenge is waited for.
const ASK_AGAIN: Nanos = SECOND / 5;
/// Times a challenge is asked for in vain before a source gives an account up.
const ASKS_MAX: u32 = 5;
/// Passwords of one siege that are tried again because they were not looked at.
const AGAINS_MAX: u32 = 64;
/// How long answers are waited for after the last guess.
const LINGER: Nanos = SECOND / 2;
/// Who is answered at a trickle would guess for days: what is not sent after so many times as long
/// as the pace would take, never will be.
const PLANNED_TIMES: f64 = 2.0;
/// And at least so long, seconds.
const SECONDS_MIN: f64 = 5.0;
/// Registrations of the owners a second.
const OWNERS_RATE: f64 = 50.0;

/// What became of the guesses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuessFigures {
    /// Accounts that were guessed at.
    pub accounts: u32,
    /// Passwords of the list.
    pub passwords: u32,
    /// Sources.
    pub guessers: u32,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Guesses that were sent.
    pub guesses: u64,
    /// Guesses never sent, because no challenge could be had any more.
    pub shut_out: u64,
    /// Guesses whose password was checked, as far as the answers show.
    pub checked: u64,
    /// The same by the server's own count, where it was asked.
    pub checked_by_server: Option<u64>,
    /// What the settings allow: tries a suspension, for each account, source and such time.
    pub checked_max: u64,
    /// Guesses that were answered as unknown nonces, the password not looked at; most are tried
    /// again.
    pub stale: u64,
    /// Guesses that were refused as those of a suspended account.
    pub refused: u64,
    /// Guesses that were not answered.
    pub unanswered: u64,
    /// Accounts that were opened.
    pub cracked: u64,
    /// Times an owner registered meanwhile.
    pub owners_registered: u64,
    /// Requests of owners that were lost or answered otherwise than they should have been.
    pub owners_failed: u64,
}

impl GuessFigures {
    /// What did not hold.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (who, checked) in [
            ("its answers show", Some(self.checked)),
            ("the server counted", self.checked_by_server),
        ] {
            if let Some(checked) = checked.filter(|checked| *checked > self.checked_max) {
                let most = self.checked_max;
                all.push(format!("{checked} guesses were checked, as {who}: at most {most}"));
            }
        }
        if self.cracked > 0 {
            all.push(format!("{} accounts were opened", self.cracked));
        }
        if self.owners_failed > 0 || self.owners_registered == 0 {
            all.push(format!(
                "owners registered {} times, and {} requests of theirs failed",
                self.owners_registered, self.owners_failed
            ));
        }
        all
    }
}

/// One account as one source tries it.
#[derive(Debug, Clone, Default)]
struct Siege {
    /// The challenge that is answered: the value of its header.
    challenge: Vec<u8>,
    /// Answers to it.
    count: u32,
    /// The number of the next password.
    next: u32,
    /// Passwords that were not looked at, to be tried again, and how many may be.
    again: Vec<u32>,
    agains: u32,
    /// Requests for a challenge that nobody has answered.
    asks: u32,
    asked_at: Nanos,
    /// The last guess was refused.
    refused: bool,
}

impl Siege {
    /// Tries no more. Returns how many guesses were left.
    fn give_up(&mut self, passwords: u32, guessers: u32) -> u64 {
        let left = passwords.saturating_sub(self.next).div_ceil(guessers);
        let again = std::mem::take(&mut self.again);
        self.next = passwords;
        u64::from(left) + again.len() as u64
    }
}

/// All of them.
struct Brute<'a> {
    options: &'a AttackOptions,
    roster: &'a Roster,
    sieges: Vec<Siege>,
    figures: GuessFigures,
    answered: u64,
    /// Guesses that were sent again.
    repeated: u64,
}

impl<'a> Brute<'a> {
    fn new(options: &'a AttackOptions) -> Brute<'a> {
        let (accounts, guessers) = (options.accounts, options.guessers);
        let siege = |number: u32| Siege { next: number % guessers, ..Siege::default() };
        Brute {
            options,
            roster: &options.run.roster,
            sieges: (0..accounts * guessers).map(siege).collect(),
            figures: GuessFigures {
                accounts,
                passwords: options.passwords,
                guessers,
                seconds: 0.0,
                guesses: 0,
                shut_out: 0,
                checked: 0,
                checked_by_server: None,
                checked_max: 0,
                stale: 0,
                refused: 0,
                unanswered: 0,
                cracked: 0,
                owners_registered: 0,
                owners_failed: 0,
            },
            answered: 0,
            repeated: 0,
        }
    }

    /// Lets one of them go on, by one request; false where it has nothing to send now.
    fn go_on(&mut self, number: u32, now: Nanos, gun: &mut Gun) -> bool {
        let (guessers, passwords) = (self.options.guessers, self.options.passwords);
        let siege = &mut self.sieges[number as usize];
        let is_again = !siege.again.is_empty();
        let place = siege.again.last().copied().unwrap_or(siege.next);
        if place >= passwords {
            return false;
        }
        let account = number / guessers;
        let mut request = Forged {
            method: Method::Register,
            domain: domain(self.roster, account),
            user: self.roster.user(account),
            agent: b"Linphone/5.2",
            from: None,
            call: CALL,
            number,
            // The guess with a password follows the question for its challenge.
            cseq: 2 * place + 1,
            credentials: None,
        };
        let from = guesser(number % guessers);
        let Some(challenge) = Challenge::parse(&siege.challenge) else {
            if siege.asks > 0 && now < siege.asked_at + ASK_AGAIN {
                return false;
            }
            if siege.asks == ASKS_MAX {
                self.figures.shut_out += siege.give_up(passwords, guessers);
                return false;
            }
            (siege.asks, siege.asked_at) = (siege.asks + 1, now);
            gun.send(from, |room| request.write(room));
            return true;
        };
        siege.count += 1;
        let wrong;
        let password = match place + 1 == passwords {
            true => self.roster.password(account),
            false => {
                wrong = format!("guess{place}");
                wrong.as_bytes()
            }
        };
        request.cseq += 1;
        request.credentials = Some(Credentials { challenge, count: siege.count, password });
        gun.send(from, |room| request.write(room));
        match is_again {
            true => {
                siege.again.pop();
                self.repeated += 1;
            }
            false => {
                siege.next += guessers;
                self.figures.guesses += 1;
            }
        }
        true
    }

    /// Takes an answer.
    fn take(&mut self, datagram: &[u8]) {
        let Ok(answer) = Answer::scan(datagram) else { return };
        let Some(number) = number_of(answer.call_id, CALL) else { return };
        let Some(siege) = self.sieges.get_mut(number as usize) else { return };
        let value = answer.challenges().map(|(value, _)| value).next();
        let challenge = value.and_then(Challenge::parse);
        if answer.status >= 200 && answer.cseq.is_multiple_of(2) {
            self.answered += 1;
            let figures = &mut self.figures;
            match answer.status {
                200..=299 => {
                    figures.cracked += 1;
                    figures.checked += 1;
                }
                401 | 407 if challenge.is_some_and(|one| one.stale) => {
                    figures.stale += 1;
                    if siege.agains < AGAINS_MAX {
                        siege.agains += 1;
                        siege.again.push(answer.cseq / 2 - 1);
                    }
                }
                401 | 407 => {
                    figures.checked += 1;
                    siege.refused = false;
                }
                _ => {
                    figures.refused += 1;
                    figures.checked += u64::from(!siege.refused);
                    siege.refused = true;
                    // It may have been the nonce that was refused.
                    siege.challenge.clear();
                }
            }
        }
        if let (Some(value), Some(_)) = (value, challenge) {
            value.clone_into(&mut siege.challenge);
            (siege.count, siege.asks) = (0, 0);
        }
    }

    /// Nothing more is sent.
    fn give_up(&mut self) {
        let (passwords, guessers) = (self.options.passwords, self.options.guessers);
        let left = self.sieges.iter_mut().map(|siege| siege.give_up(passwords, guessers));
        self.figures.shut_out += left.sum::<u64>();
    }

    fn is_over(&self) -> bool {
        let passwords = self.options.passwords;
        self.sieges.iter().all(|siege| siege.next >= passwords && siege.again.is_empty())
    }
}

/// Runs it. Returns what the owners measured beside the figures.
pub(super) fn run(
    options: &AttackOptions,
    server: &Server,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<(GuessFigures, Outcome), Error> {
    let mut gun = Gun::new(options.remote()?)?;
    let owners = owners(options)?;
    let ended = AtomicBool::new(false);
    let before = server.metrics()?;
    let mut brute = Brute::new(options);
    let (outcome, seconds) = std::thread::scope(|scope| {
        let registering = scope.spawn(|| crate::run::run(&owners, &ended, &mut |_| {}));
        let seconds = storm(&mut brute, &mut gun, stop, progress, &|| registering.is_finished());
        ended.store(true, Ordering::Relaxed);
        let outcome = registering.join().map_err(|_| Error::Thread)??;
        Ok::<_, Error>((outcome, seconds))
    })?;
    let mut figures = brute.figures;
    figures.seconds = seconds;
    figures.unanswered = (figures.guesses + brute.repeated).saturating_sub(brute.answered);
    let windows = 1 + (seconds / options.suspend.as_secs_f64()) as u64;
    let pairs = u64::from(options.accounts) * u64::from(options.guessers);
    figures.checked_max = pairs * u64::from(options.retry) * windows;
    if let (Some(before), Some(after)) = (before, server.metrics()?) {
        figures.checked_by_server = Some(after.since(&before, "aorta_bad_password_total"));
    }
    figures.owners_registered = outcome.tally.registrations;
    figures.owners_failed = outcome.tally.lost + outcome.tally.wrong;
    Ok((figures, outcome))
}

/// Guesses until there is nothing left to guess. Returns how long it took, seconds.
fn storm(
    brute: &mut Brute<'_>,
    gun: &mut Gun,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
    owners_gone: &dyn Fn() -> bool,
) -> f64 {
    let count = brute.sieges.len() as u32;
    let mut pacer = Pacer::new(brute.options.guess_rate);
    let guesses = f64::from(brute.options.accounts) * f64::from(brute.options.passwords);
    let planned = guesses / brute.options.guess_rate * PLANNED_TIMES;
    let most = (planned.max(SECONDS_MIN) * SECOND as f64) as Nanos;
    let (mut turn, mut told, mut over_at) = (0, 0, None);
    loop {
        let now = pacer.elapsed();
        let mut heard = gun.receive(|_, datagram| brute.take(datagram));
        if stop.load(Ordering::Relaxed) || owners_gone() {
            break;
        }
        if now / SECOND > told {
            told = now / SECOND;
            let GuessFigures { guesses, checked, refused, .. } = &brute.figures;
            progress(&format!(
                "{told:>4} s  guesses {guesses}  checked {checked}  refused {refused}"
            ));
        }
        if now > most {
            brute.give_up();
        }
        if brute.is_over() {
            let end = *over_at.get_or_insert(now + LINGER);
            if now >= end {
                break;
            }
        } else {
            over_at = None;
        }
        let mut due = pacer.take(128).min(count.into());
        let mut tried = 0;
        while due > 0 && tried < count {
            tried += 1;
            turn = (turn + 1) % count;
            if brute.go_on(turn, now, gun) {
                due -= 1;
                heard = true;
            }
        }
        gun.flush();
        if !heard {
            gun.wait(pacer.pause(1).max(100_000));
        }
    }
    pacer.elapsed() as f64 / SECOND as f64
}

/// The owners: each from his own address, again and again.
fn owners(options: &AttackOptions) -> Result<Options, Error> {
    let all = &options.run.roster;
    let mut roster = Roster::default();
    for account in 0..options.accounts {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (user, password) = (text(all.user(account)), text(all.password(account)));
        let domain = &all.domains()[all.domain(account)];
        roster.push(&user, domain, &password).map_err(|why| Error::Option(why.to_owned()))?;
    }
    let mut run = Options::new(Scenario::REGISTER, options.run.target, roster);
    run.pace = Pace::Rate(OWNERS_RATE);
    // It ends with the guessing.
    run.duration = Duration::from_secs(86_400);
    run.sockets = options.accounts as usize;
    run.sources = (0..options.accounts).map(|number| owner(number).into()).collect();
    run.offload = false;
    run.algorithm = options.run.algorithm;
    run.expires = options.run.expires;
    run.bindings_max = options.run.bindings_max;
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AttackOptions {
        let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 4).unwrap();
        let mut options = AttackOptions::new("127.0.0.1:9".parse().unwrap(), roster);
        (options.accounts, options.passwords, options.guessers) = (2, 5, 2);
        options
    }

    fn answer(status: u16, number: u32, cseq: u32, stale: bool) -> Vec<u8> {
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = match status {
            401 => format!(
                "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"n{cseq}\", \
                 qop=\"auth\"{stale}\r\n"
            ),
            _ => String::new(),
        };
        format!(
            "SIP/2.0 {status} x\r\nCall-ID: guess-{number:08x}\r\nCSeq: {cseq} REGISTER\r\n\
             {challenge}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn what_was_checked_shows_in_the_answers() {
        let options = options();
        let mut gun = Gun::deaf(options.remote().unwrap()).unwrap();
        let mut brute = Brute::new(&options);
        assert!(brute.go_on(0, 1, &mut gun), "asks for a challenge");
        assert!(!brute.go_on(0, 2, &mut gun), "and waits for it");
        brute.take(&answer(401, 0, 1, false));
        assert_eq!(brute.answered, 0, "no guess yet");
        for (place, status) in [(0, 401), (2, 403), (4, 403)] {
            assert!(brute.go_on(0, 3, &mut gun));
            brute.take(&answer(status, 0, 2 * place + 2, false));
            if status == 403 {
                // A challenge that was refused is asked for anew.
                assert_eq!(brute.go_on(0, 3, &mut gun), place == 2);
                brute.take(&answer(401, 0, 2 * place + 3, false));
            }
        }
        assert!(!brute.go_on(0, 4, &mut gun), "passwords 0, 2 and 4 are its part of five");
        let GuessFigures { guesses, checked, refused, cracked, .. } = brute.figures;
        assert_eq!((guesses, checked, refused, cracked), (3, 2, 2, 0));

        brute.take(&answer(401, 1, 1, false));
        assert!(brute.go_on(1, 5, &mut gun));
        brute.take(&answer(401, 1, 4, true));
        assert_eq!((brute.figures.stale, brute.figures.checked), (1, 2));
        assert_eq!(brute.sieges[1].again, [1], "not looked at, so it is tried again");
        assert!(brute.go_on(1, 6, &mut gun) && brute.sieges[1].again.is_empty());
        assert_eq!((brute.repeated, brute.sieges[1].next), (1, 3));
        brute.take(&answer(200, 3, 4, false));
        assert_eq!((brute.figures.cracked, brute.figures.checked), (1, 3));
        brute.take(b"garbage");
        brute.take(&answer(401, 99, 2, false));
        assert_eq!(brute.answered, 5);
    }

    #[test]
    fn whoever_hears_nothing_gives_up_and_says_how_much_was_left() {
        let options = options();
        let mut gun = Gun::deaf(options.remote().unwrap()).unwrap();
        let mut brute = Brute::new(&options);
        for ask in 0..=ASKS_MAX {
            let now = 1 + u64::from(ask) * ASK_AGAIN;
            for number in 0..4 {
                assert_eq!(brute.go_on(number, now, &mut gun), ask < ASKS_MAX);
            }
        }
        assert!(brute.is_over());
        assert_eq!(brute.figures.shut_out, 10, "two accounts, five passwords");
    }
}
