//! Which sources each account has proved itself from, in fixed memory: an account vouches for a
//! bounded number of them at a time. So a customer who registers from everywhere, by himself or by
//! a thousand rented machines, pushes out nobody's proofs but his own. What follows for a source
//! that nobody vouches for any longer is for [`sources`](super::sources) to say.
//!
//! The proofs of an account all come to the shard that owns it, and only that one keeps its
//! vouches; the others are told what it decides. Vouches stand in sets of 32 by the hash of their
//! account, the oldest first. Where a set is full, somebody has to go:
//!
//! - Of whoever has most there, the oldest: its source has one voucher less, as if he had moved on.
//! - If nobody has more than a few, it is only forgotten and its source stays as it is: honest
//!   accounts lose nothing where there are more of them than places.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::SOURCES_PER_ACCOUNT_MAX;

const WAYS: usize = 32;
/// So many sources of one account are no crowd.
const FEW: usize = 4;
/// Whoever has more keeps each of them so long at least, seconds; until then no other takes its
/// place, and nothing of that is told to anybody.
const STAYS_S: u32 = 3600;

/// Nobody's.
const NOBODY: u32 = 0;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Vouch {
    /// Some bits of the hash of the account.
    account: u32,
    /// When it last proved itself there and that was news, seconds.
    at_s: u32,
    source: [u8; 16],
}

impl Vouch {
    fn source(&self) -> IpAddr {
        IpAddr::from(Ipv6Addr::from(self.source)).to_canonical()
    }
}

/// What has become of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// The account vouched for that source already.
    Before,
    /// It does so from now on; the source in here, if any, has one voucher less.
    Anew(Option<IpAddr>),
    /// It has moved on from too many too quickly: nothing was taken down.
    NotYet,
}

/// The vouches of the accounts of one shard.
pub struct Vouches {
    sets: Box<[[Vouch; WAYS]]>,
    mask: u64,
}

impl Vouches {
    /// Room for `vouches`, rounded up to a power of two of sets.
    #[must_use]
    pub fn new(vouches: usize) -> Vouches {
        let sets = vouches.div_ceil(WAYS).next_power_of_two();
        Vouches {
            sets: vec![[Vouch::default(); WAYS]; sets].into_boxed_slice(),
            mask: sets as u64 - 1,
        }
    }

    /// `account`, by the keyed hash of its name, has proved itself from `source`, which is
    /// canonical.
    pub fn add(&mut self, now_s: u32, account: u64, source: IpAddr) -> Vouched {
        let set = &mut self.sets[(account & self.mask) as usize];
        let account = ((account >> 20) as u32).max(1);
        let source = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let own = count(set, account);
        let is_own = |one: &Vouch| one.account == account;
        let same = set.iter().position(|one| is_own(one) && one.source == source);
        let (place, vouched) = if let Some(place) = same {
            (place, Vouched::Before)
        } else {
            let place = match set.iter().position(is_own) {
                Some(oldest) if own >= SOURCES_PER_ACCOUNT_MAX => oldest,
                _ => cheapest(set),
            };
            let leaves = set[place];
            if leaves.account == NOBODY {
                (place, Vouched::Anew(None))
            } else {
                if own > FEW && now_s.saturating_sub(leaves.at_s) < STAYS_S {
                    return Vouched::NotYet;
                }
                // In a full set it may be its own that leaves, however few it has.
                let is_own = leaves.account == account;
                let is_told = is_own || count(set, leaves.account) > FEW;
                (place, Vouched::Anew(is_told.then(|| leaves.source())))
            }
        };
        set[place..].rotate_left(1);
        set[WAYS - 1] = Vouch { account, at_s: now_s, source };
        vouched
    }

    /// For how many sources an account vouches.
    #[must_use]
    pub fn count(&self, account: u64) -> usize {
        count(&self.sets[(account & self.mask) as usize], ((account >> 20) as u32).max(1))
    }
}

fn count(set: &[Vouch; WAYS], account: u32) -> usize {
    set.iter().filter(|one| one.account == account).count()
}

/// An empty place, or the oldest of whoever has most.
fn cheapest(set: &[Vouch; WAYS]) -> usize {
    // Empty places were never moved behind a vouch.
    if set[0].account == NOBODY {
        return 0;
    }
    let worth = |&place: &usize| (count(set, set[place].account), Reverse(place));
    (0..WAYS).max_by_key(worth).expect("a set has places")
}

const _: () = assert!(size_of::<Vouch>() == 24);
const _: () = assert!(FEW < SOURCES_PER_ACCOUNT_MAX && SOURCES_PER_ACCOUNT_MAX < WAYS);

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    fn source(number: u32) -> IpAddr {
        match number % 3 {
            0 => Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number) << 64 | 1).into(),
            _ => IpAddr::from(number.to_be_bytes()),
        }
    }

    /// Hashes of accounts that all fall into the first set.
    fn account(number: u64) -> u64 {
        (number + 1) << 20
    }

    #[test]
    fn the_seventeenth_source_takes_the_place_of_the_oldest_once_that_is_an_hour_old() {
        let mut vouches = Vouches::new(1024);
        for number in 0..16 {
            assert_eq!(vouches.add(number, account(1), source(number)), Vouched::Anew(None));
        }
        for number in 16..10_000 {
            assert_eq!(vouches.add(20, account(1), source(number)), Vouched::NotYet);
        }
        assert_eq!(vouches.add(STAYS_S - 1, account(1), source(99)), Vouched::NotYet);
        // Number 0 is not the oldest any longer.
        assert_eq!(vouches.add(STAYS_S - 1, account(1), source(0)), Vouched::Before);
        let left = vouches.add(STAYS_S + 1, account(1), source(99));
        assert_eq!(left, Vouched::Anew(Some(source(1))));
        assert_eq!(vouches.count(account(1)), 16);
        assert_eq!(vouches.add(STAYS_S + 1, account(1), source(98)), Vouched::NotYet);
    }

    #[test]
    fn ordinary_accounts_are_forgotten_where_there_are_too_many_and_nothing_is_told_of_it() {
        let mut vouches = Vouches::new(WAYS);
        for number in 0..1000u32 {
            let owner = number / FEW as u32;
            let Vouched::Anew(told) = vouches.add(0, account(owner.into()), source(number)) else {
                panic!("nobody has to wait")
            };
            // But for its own.
            let own = (owner * FEW as u32..number).map(source);
            assert!(told.is_none_or(|told| own.clone().any(|one| one == told)), "{told:?}");
        }
        assert_eq!(vouches.count(account(0)), 0);
    }

    #[test]
    fn in_a_full_set_of_others_nobody_vouches_for_more_than_he_leaves() {
        let mut vouches = Vouches::new(WAYS);
        for other in 0..WAYS as u32 {
            vouches.add(0, account(u64::from(other) + 2), source(other));
        }
        let mut vouched_for = 0;
        for number in 0..1000 {
            match vouches.add(1, account(1), source(1000 + number)) {
                Vouched::Anew(None) => vouched_for += 1,
                Vouched::Anew(Some(left)) => {
                    assert!((0..number).any(|before| source(1000 + before) == left));
                }
                Vouched::Before | Vouched::NotYet => {}
            }
        }
        assert!(vouched_for <= SOURCES_PER_ACCOUNT_MAX, "{vouched_for}");
    }

    #[test]
    fn in_a_full_set_whoever_has_most_makes_room_for_those_who_have_few() {
        let mut vouches = Vouches::new(WAYS);
        for number in 0..16 {
            vouches.add(0, account(1), source(number));
            vouches.add(0, account(2), source(100 + number));
        }
        assert_eq!(vouches.add(0, account(3), source(200)), Vouched::Anew(Some(source(0))));
        assert_eq!(vouches.add(0, account(4), source(201)), Vouched::Anew(Some(source(100))));
        // They themselves push each other out no faster than they move on alone.
        assert_eq!(vouches.add(0, account(1), source(202)), Vouched::NotYet);
        let left = vouches.add(STAYS_S, account(1), source(202));
        assert_eq!(left, Vouched::Anew(Some(source(1))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Where there is room: a queue of sixteen for each account.
        #[test]
        fn each_account_has_a_queue_of_sixteen(
            steps in prop::collection::vec((0u64..2, 0u32..40, 0u32..900), 1..600),
        ) {
            let mut vouches = Vouches::new(WAYS);
            let mut model: BTreeMap<u64, VecDeque<(u32, u32)>> = BTreeMap::new();
            let mut now_s = 0;
            for (who, from, pause_s) in steps {
                now_s += pause_s;
                let queue = model.entry(who).or_default();
                let known = queue.iter().position(|&(one, _)| one == from);
                let expected = if let Some(known) = known {
                    queue.remove(known);
                    Vouched::Before
                } else if queue.len() < SOURCES_PER_ACCOUNT_MAX {
                    Vouched::Anew(None)
                } else if now_s - queue[0].1 < STAYS_S {
                    Vouched::NotYet
                } else {
                    let (oldest, _) = queue.pop_front().expect("sixteen");
                    Vouched::Anew(Some(source(oldest)))
                };
                if expected != Vouched::NotYet {
                    queue.push_back((from, now_s));
                }
                prop_assert_eq!(vouches.add(now_s, account(who), source(from)), expected);
                prop_assert_eq!(vouches.count(account(who)), model[&who].len());
            }
        }

        /// Where there is none: no account has more than sixteen, and a source that an account of
        /// many has lost is always told.
        #[test]
        fn what_a_crowd_loses_is_told(
            steps in prop::collection::vec((0u64..9, 0u32..60, 0u32..900), 1..800),
        ) {
            let mut vouches = Vouches::new(WAYS);
            let mut now_s = 0;
            for (who, from, pause_s) in steps {
                now_s += pause_s;
                let before = vouches.sets[0];
                let vouched = vouches.add(now_s, account(who), source(from));
                let after = vouches.sets[0];
                let is_in = |set: &[Vouch], one: &Vouch| {
                    set.iter().any(|o| (o.account, o.source) == (one.account, one.source))
                };
                let lost: Vec<&Vouch> = before
                    .iter()
                    .filter(|one| one.account != NOBODY && !is_in(&after, one))
                    .collect();
                let told = match vouched {
                    Vouched::Anew(left) => left,
                    Vouched::Before | Vouched::NotYet => None,
                };
                let own = ((account(who) >> 20) as u32).max(1);
                let expected = lost
                    .iter()
                    .find(|one| one.account == own || count(&before, one.account) > FEW);
                prop_assert_eq!(told, expected.map(|one| one.source()));
                prop_assert!(lost.len() <= usize::from(matches!(vouched, Vouched::Anew(_))));
                let has_too_many = |one: &Vouch| {
                    one.account != NOBODY && count(&after, one.account) > SOURCES_PER_ACCOUNT_MAX
                };
                prop_assert!(!after.iter().any(has_too_many));
            }
        }
    }
}
