//! What offences weigh, and what a source has come to. The home of a source adds up what all
//! shards have seen of it; over its threshold a source is blocked.
//!
//! Three sums are kept, by how sure it is whose doing it was ([`Surety`]). A wrong digest over a
//! nonce that was given to the source counts in full. So does what came over a connection, but a
//! page that somebody in an office opens makes connections too: where accounts have proved
//! themselves it can only restrain. What anybody may have done in the source's name (a lone
//! datagram) adds a quarter of the threshold at most, and alone never blocks: it can only restrain
//! a source from which nobody has proved himself.

use std::net::IpAddr;

use super::address::Addresses;
use super::bucket::Tick;
use super::table::{Entry, Table};

/// Something that a source did, or that was done in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// A wrong digest for an account.
    WrongPassword,
    /// Credentials for an account that does not exist.
    UnknownAccount,
    /// Credentials of one account for another's address-of-record.
    AccountMismatch,
    /// A message that breaks its grammar.
    Malformed,
    /// A scanner's signature.
    Scanner,
    /// A walk through numbers in order.
    Walk,
    /// A connection that did not get through its handshake, or said nothing.
    Handshake,
}

impl Offence {
    /// What it weighs against the default threshold of a hundred. Failures of one account after
    /// the first weigh one: a forgotten password is no attack, and suspension sees to it.
    #[must_use]
    pub const fn points(self, fakeable: bool) -> u8 {
        match self {
            Offence::WrongPassword | Offence::UnknownAccount if fakeable => 1,
            Offence::WrongPassword | Offence::UnknownAccount => 10,
            Offence::AccountMismatch => 5,
            Offence::Malformed | Offence::Handshake => 2,
            Offence::Scanner if fakeable => 15,
            // Honest phones come in a row as well, after a restart: six walks, of eight
            // numbers each, are a restraint.
            Offence::Walk => 18,
            Offence::Scanner => 100,
        }
    }
}

/// How sure it is whose doing an offence was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surety {
    /// Anybody could have sent it in the source's name.
    Fakeable,
    /// It came from the source, but who there had it sent is open.
    Sent,
    /// A wrong answer to a challenge that was given to the source: nobody gives one unawares.
    Failed,
}

impl Surety {
    /// All of them.
    pub const ALL: [Surety; 3] = [Surety::Fakeable, Surety::Sent, Surety::Failed];

    /// That of an offence.
    #[must_use]
    pub const fn of(offence: Offence, fakeable: bool) -> Surety {
        match offence {
            _ if fakeable => Surety::Fakeable,
            Offence::WrongPassword | Offence::UnknownAccount => Surety::Failed,
            _ => Surety::Sent,
        }
    }
}

/// What a source has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Nothing.
    Nothing,
    /// Much, but nothing that convicts it.
    Restraint,
    /// A block.
    Block,
}

/// Seconds in which as much is forgotten as a source bears.
const FADE_S: u64 = 600;
/// Milliseconds between two successes that speak for a source.
const ABSOLVED_EVERY_MS: u32 = 60_000;

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    seen: Tick,
    /// Thousandths of points.
    failed: u32,
    sent: u32,
    faked: u32,
    /// Failing accounts, a bit of their hash each.
    accounts: u64,
    /// When the other shards were told last that there is a score.
    announced: Option<Tick>,
    /// When a success last spoke for it.
    absolved: Option<Tick>,
}

impl Score {
    fn sure(&self) -> u32 {
        self.failed.saturating_add(self.sent)
    }
}

impl Entry for Score {
    /// What is sure is never pushed out by what could be faked.
    fn worth(&self, now: Tick) -> u64 {
        u64::from(self.sure()) << 32 | u64::from(u32::MAX - now.since(self.seen))
    }
}

/// The scores of the sources whose home this shard is, in fixed memory.
pub struct Scores {
    table: Table<Score>,
    threshold: u32,
}

impl Scores {
    /// For so many sources, with the threshold of a source nobody has proved himself from.
    #[must_use]
    pub fn new(sources_max: usize, threshold: u32) -> Scores {
        Scores { table: Table::new(sources_max), threshold }
    }

    /// Another threshold from now on.
    pub fn configure(&mut self, threshold: u32) {
        self.threshold = threshold;
    }

    /// Adds an offence of `source`, a culprit, from which `accounts` accounts have proved
    /// themselves: each bears a quarter of a threshold more, so an office is not blocked for some
    /// phones with old passwords.
    pub fn add(
        &mut self,
        now: Tick,
        addresses: &Addresses,
        source: IpAddr,
        offence: Points,
        accounts: u16,
    ) -> Reached {
        let Points { points, account, surety } = offence;
        let fresh = || Score { seen: now, ..Score::default() };
        let score = self.table.find_or_insert(addresses.hash(source), now, fresh);
        let threshold = self.threshold.saturating_mul(1000);
        // What an office bears it forgets as fast: else its few wrong passwords would add up.
        let bears = u64::from(threshold) * (4 + u64::from(accounts)) / 4;
        let bears = u32::try_from(bears).unwrap_or(u32::MAX);
        let faded = u64::from(now.since(score.seen)) * u64::from(bears) / (FADE_S * 1000);
        let faded = u32::try_from(faded).unwrap_or(u32::MAX);
        if faded > 0 {
            score.seen = now;
            for sum in [&mut score.failed, &mut score.sent, &mut score.faked] {
                *sum = sum.saturating_sub(faded);
            }
            if score.failed == 0 {
                score.accounts = 0;
            }
        }
        let thousandths = u32::from(points) * 1000;
        match surety {
            Surety::Fakeable => {
                score.faked = score.faked.saturating_add(thousandths).min(threshold);
            }
            Surety::Sent => score.sent = score.sent.saturating_add(thousandths),
            Surety::Failed => {
                let bit = 1 << (account % 64);
                let known = account != 0 && score.accounts & bit != 0;
                score.accounts |= if account == 0 { 0 } else { bit };
                score.failed = score.failed.saturating_add(if known { 1000 } else { thousandths });
            }
        }
        let sure = score.sure();
        let (convicts, suspect) = match accounts {
            0 => {
                let held_against_it = sure.saturating_add(score.faked.min(threshold / 4));
                (sure > 0 && held_against_it >= bears, score.faked >= threshold)
            }
            _ => (score.failed >= bears, sure >= bears),
        };
        match (convicts, suspect) {
            (true, _) => Reached::Block,
            (false, true) => {
                // That is paid for with the restraint; wrong digests are not.
                score.faked = 0;
                score.sent = if accounts == 0 { score.sent } else { 0 };
                Reached::Restraint
            }
            (false, false) => Reached::Nothing,
        }
    }

    /// Whether the other shards are to be told now that there is a score, so that a success is told
    /// here: once in a while for each source.
    pub fn announce(&mut self, now: Tick, addresses: &Addresses, source: IpAddr) -> bool {
        let Some(score) = self.table.find_mut(addresses.hash(source)) else { return false };
        let due = score.announced.is_none_or(|last| now.since(last) >= ABSOLVED_EVERY_MS);
        if due {
            score.announced = Some(now);
        }
        due
    }

    /// An account has proved itself again from there: half is forgiven, once a minute at most, so
    /// that one right password does not cover up for many guesses.
    pub fn absolve(&mut self, now: Tick, addresses: &Addresses, source: IpAddr) {
        let Some(score) = self.table.find_mut(addresses.hash(source)) else { return };
        if score.absolved.is_none_or(|last| now.since(last) >= ABSOLVED_EVERY_MS) {
            score.absolved = Some(now);
            (score.failed, score.sent, score.faked) = (score.failed / 2, score.sent / 2, 0);
        }
    }

    /// Forgets what a source did: somebody new has proved himself from there, or it is blocked.
    pub fn reset(&mut self, addresses: &Addresses, source: IpAddr) {
        self.table.remove(addresses.hash(source));
    }
}

/// What is added to a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points {
    /// What it weighs.
    pub points: u16,
    /// The keyed hash of the account it was tried on, 0 where there was none.
    pub account: u64,
    /// How sure it is whose doing it was.
    pub surety: Surety,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn at(s: u64) -> Tick {
        Tick::of(Instant::from_secs(s))
    }

    struct Bench {
        scores: Scores,
        addresses: Addresses,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { scores: Scores::new(1024, 100), addresses: Addresses::new(&[1; 16]) }
        }

        fn add(
            &mut self,
            s: u64,
            offence: Offence,
            account: u64,
            fakeable: bool,
            accounts: u16,
        ) -> Reached {
            let points = u16::from(offence.points(fakeable));
            let points = Points { points, account, surety: Surety::of(offence, fakeable) };
            let source = [192, 0, 2, 1].into();
            self.scores.add(at(s), &self.addresses, source, points, accounts)
        }
    }

    #[test]
    fn guesses_at_several_accounts_block_and_at_one_do_not() {
        let mut many = Bench::new();
        let blocked = (1..).find(|&account| {
            many.add(0, Offence::WrongPassword, account, false, 0) == Reached::Block
        });
        assert_eq!(blocked, Some(10));
        let mut one = Bench::new();
        // As many as suspension lets through: six, then three minutes of silence.
        for round in 0..100 {
            for _ in 0..6 {
                let reached = one.add(round * 180, Offence::WrongPassword, 7, false, 0);
                assert_eq!(reached, Reached::Nothing, "round {round}");
            }
        }
    }

    #[test]
    fn an_office_with_some_wrong_passwords_is_not_blocked() {
        let mut office = Bench::new();
        for round in 0..1000 {
            for phone in 1..=125 {
                for _ in 0..6 {
                    let reached =
                        office.add(round * 180, Offence::WrongPassword, phone, false, 500);
                    assert_eq!(reached, Reached::Nothing, "round {round}");
                }
            }
        }
    }

    #[test]
    fn what_anybody_can_fake_never_blocks_and_restrains_only_strangers() {
        let mut stranger = Bench::new();
        let reached: Vec<Reached> =
            (0..1000).map(|_| stranger.add(0, Offence::Scanner, 0, true, 0)).collect();
        assert_eq!(reached[5], Reached::Nothing);
        assert_eq!(reached[6], Reached::Restraint);
        assert!(!reached.contains(&Reached::Block));
        let mut customer = Bench::new();
        for _ in 0..1000 {
            assert_eq!(customer.add(0, Offence::Scanner, 0, true, 1), Reached::Nothing);
        }
        // Nor does it make much of the customer's own mistakes.
        for account in 1..=7 {
            let reached = customer.add(0, Offence::WrongPassword, account, false, 1);
            assert_eq!(reached, Reached::Nothing);
        }
    }

    #[test]
    fn a_scanner_over_a_connection_is_blocked_at_once() {
        let reached = Bench::new().add(0, Offence::Scanner, 0, false, 0);
        assert_eq!(reached, Reached::Block);
    }

    #[test]
    fn where_accounts_are_proven_only_wrong_digests_block() {
        let mut office = Bench::new();
        let add = |office: &mut Bench, offence| office.add(0, offence, 0, false, 1);
        // A page that somebody opens, again and again.
        let reached: Vec<Reached> =
            (0..200).map(|_| add(&mut office, Offence::Malformed)).collect();
        assert!(!reached.contains(&Reached::Block));
        assert_eq!(reached.iter().position(|&one| one == Reached::Restraint), Some(62));
        let blocked = (1..).find(|&account| {
            office.add(0, Offence::WrongPassword, account, false, 1) == Reached::Block
        });
        assert_eq!(blocked, Some(13), "one account bears a quarter more");
    }

    #[test]
    fn a_walk_over_a_connection_is_a_restraint_at_most() {
        assert_eq!(Offence::Walk.points(false), Offence::Walk.points(true));
        let mut row = Bench::new();
        let reached: Vec<Reached> =
            (0..100).map(|_| row.add(0, Offence::Walk, 0, true, 0)).collect();
        assert!(!reached.contains(&Reached::Block));
        assert_eq!(reached.iter().position(|&one| one == Reached::Restraint), Some(5));
    }

    #[test]
    fn a_success_halves_a_score_once_a_minute() {
        let mut bench = Bench::new();
        let source = [192, 0, 2, 1].into();
        let (fail, success) = (
            |bench: &mut Bench, s, account| {
                bench.add(s, Offence::UnknownAccount, account, false, 1)
            },
            |bench: &mut Bench, s| bench.scores.absolve(at(s), &bench.addresses, source),
        );
        assert!((1..=12).all(|account| fail(&mut bench, 0, account) == Reached::Nothing));
        success(&mut bench, 0);
        success(&mut bench, 0);
        assert!((13..=18).all(|account| fail(&mut bench, 0, account) == Reached::Nothing));
        success(&mut bench, 1);
        assert_eq!(fail(&mut bench, 1, 19), Reached::Block, "once a minute");
        success(&mut bench, 61);
        assert_eq!(fail(&mut bench, 61, 20), Reached::Nothing);
    }

    #[test]
    fn scores_fade_and_are_reset() {
        let mut bench = Bench::new();
        for account in 1..=9 {
            bench.add(0, Offence::UnknownAccount, account, false, 0);
        }
        assert_eq!(bench.add(300, Offence::UnknownAccount, 10, false, 0), Reached::Nothing);
        for account in 11..=14 {
            assert_eq!(
                bench.add(300, Offence::UnknownAccount, account, false, 0),
                Reached::Nothing
            );
        }
        bench.scores.reset(&bench.addresses, [192, 0, 2, 1].into());
        assert_eq!(bench.add(300, Offence::UnknownAccount, 15, false, 0), Reached::Nothing);
        assert_eq!(bench.add(100_000, Offence::Handshake, 0, false, 0), Reached::Nothing);
    }

    #[test]
    fn slow_offences_fade_as_fast_as_quick_ones() {
        let mut bench = Bench::new();
        // Two points every six seconds, of which one fades: a threshold after 600 s.
        let reached: Vec<u64> = (0..2000)
            .step_by(6)
            .filter(|&s| bench.add(s, Offence::Malformed, 0, false, 0) == Reached::Block)
            .collect();
        assert!((580..=620).contains(&reached[0]), "{}", reached[0]);
    }
}
