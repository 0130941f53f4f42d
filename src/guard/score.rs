//! What offences weigh, and what a source has come to. The home of a source adds up what all
//! shards have seen of it; over its threshold a source is blocked.
//!
//! Two sums are kept. What a sender did who can only be the source (a wrong digest over a nonce
//! that was given to it, anything over a connection) counts in full. What anybody may have done in
//! its name (a lone datagram) adds a quarter of the threshold at most to that, and alone never
//! blocks a source: it can only restrain one from which nobody has proved himself.

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
            Offence::Walk if fakeable => 25,
            Offence::Walk => 50,
            Offence::Scanner => 100,
        }
    }
}

/// What a source has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Nothing.
    Nothing,
    /// Only what could be faked, but much of it.
    Restraint,
    /// A block.
    Block,
}

/// Seconds in which as much is forgotten as a source bears.
const FADE_S: u64 = 600;

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    seen: Tick,
    /// Thousandths of points.
    proved: u32,
    faked: u32,
    /// Failing accounts, a bit of their hash each.
    accounts: u64,
}

impl Entry for Score {
    /// What is proved is never pushed out by what could be faked.
    fn worth(&self, now: Tick) -> u64 {
        u64::from(self.proved) << 32 | u64::from(u32::MAX - now.since(self.seen))
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
    /// themselves: four of them bear one more threshold, so an office is not blocked for some
    /// phones with old passwords.
    pub fn add(
        &mut self,
        now: Tick,
        addresses: &Addresses,
        source: IpAddr,
        offence: Points,
        accounts: u16,
    ) -> Reached {
        let Points { points, account, fakeable } = offence;
        let fresh = || Score { seen: now, ..Score::default() };
        let score = self.table.find_or_insert(addresses.hash(source), now, fresh);
        let threshold = self.threshold.saturating_mul(1000);
        // What an office bears it forgets as fast: else its few wrong passwords would add up.
        let bears = threshold.saturating_mul(1 + u32::from(accounts) / 4);
        let faded = u64::from(now.since(score.seen)) * u64::from(bears) / (FADE_S * 1000);
        let faded = u32::try_from(faded).unwrap_or(u32::MAX);
        if faded > 0 {
            score.seen = now;
            score.proved = score.proved.saturating_sub(faded);
            score.faked = score.faked.saturating_sub(faded);
            if score.proved == 0 {
                score.accounts = 0;
            }
        }
        let thousandths = u32::from(points) * 1000;
        if fakeable {
            score.faked = score.faked.saturating_add(thousandths).min(threshold);
        } else {
            let bit = 1 << (account % 64);
            let known = account != 0 && score.accounts & bit != 0;
            score.accounts |= if account == 0 { 0 } else { bit };
            score.proved = score.proved.saturating_add(if known { 1000 } else { thousandths });
        }
        let held_against_it = score.proved.saturating_add(score.faked.min(threshold / 4));
        if score.proved > 0 && held_against_it >= bears {
            Reached::Block
        } else if accounts == 0 && score.faked >= threshold {
            Reached::Restraint
        } else {
            Reached::Nothing
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
    /// Anybody could have sent it in the source's name.
    pub fakeable: bool,
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
            let points = Points { points, account, fakeable };
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
        assert!(reached[6..].iter().all(|&reached| reached == Reached::Restraint));
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
