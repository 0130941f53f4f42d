//! Accounts that prove themselves from many sources, before the guards of several shards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{Guards, account, defaults, ip};
use crate::config;
use crate::guard::{Asked, To, Told};

fn roomy() -> config::Guard {
    config::Guard { sources_max: 16_384, ..defaults() }
}

fn home(number: u32) -> IpAddr {
    (0x0a00_0000 + number * 0x101).to_be_bytes().into()
}

fn elsewhere(number: u32) -> IpAddr {
    match number % 2 {
        0 => (0x4000_0000 + number * 0x107).to_be_bytes().into(),
        // Every eight of them share a /64.
        _ => {
            let network = u128::from(number / 16);
            Ipv6Addr::from(0x2001_0db8 << 96 | network << 64 | u128::from(number)).into()
        }
    }
}

#[test]
fn an_account_that_comes_from_everywhere_pushes_out_no_home_and_little_is_told_of_it() {
    for shards in [1u8, 3] {
        let mut guards = Guards::new(shards, &roomy(), &[]);
        for number in 0..1000 {
            guards.proved(
                number as usize % usize::from(shards),
                home(number),
                account(number.into()),
            );
        }
        let rover = account(5000);
        let mut told = 0;
        for hour in 0..5 {
            for number in 0..10_000 {
                let (guard, others) = guards.guards.split_first_mut().expect("a guard");
                guard.proved(elsewhere(hour * 10_000 + number), rover);
                while let Some((to, word)) = guard.poll_told() {
                    assert_eq!(to, To::Others);
                    assert!(matches!(word, Told::Proved { .. } | Told::Unvouched { .. }));
                    told += 1;
                    others.iter_mut().for_each(|guard| guard.take(word));
                }
            }
            guards.pass(Duration::from_secs(3600));
            for guard in &guards.guards {
                let homes = (0..1000).filter(|&number| guard.is_proven(home(number))).count();
                assert_eq!(homes, 1000, "on {shards} shards");
                let his = (0..(hour + 1) * 10_000).filter(|&n| guard.is_proven(elsewhere(n)));
                assert_eq!(his.count(), 16, "on {shards} shards");
            }
        }
        // The first sixteen, and each hour sixteen more, of whom sixteen others make room.
        assert_eq!(told, if shards == 1 { 0 } else { 16 + 4 * 32 });
    }
}

#[test]
fn accounts_that_go_together_count_for_no_more_than_each_alone() {
    let mut guards = Guards::new(2, &roomy(), &[]);
    for hour in 0..10 {
        for number in 0..200 {
            for accomplice in 0..3 {
                guards.proved(0, elsewhere(hour * 200 + number), account(accomplice));
            }
        }
        guards.pass(Duration::from_secs(3600));
        for guard in &guards.guards {
            let proven = (0..2000).filter(|&number| guard.is_proven(elsewhere(number))).count();
            assert!(proven <= 3 * 16, "{proven} sources of three accounts");
        }
    }
}

#[test]
fn an_office_all_of_whose_accounts_have_moved_on_wakes_with_the_next_success() {
    let mut guards = Guards::new(2, &roomy(), &[]);
    let (office, one) = (ip("192.0.2.1"), account(7));
    for phone in 0..20 {
        guards.proved(0, office, account(phone));
    }
    let before = guards.guards[1].proven_accounts(office);
    assert!((15..25).contains(&before), "{before}");
    guards.pass(Duration::from_secs(3600));
    for phone in 0..20 {
        for number in 0..16 {
            guards.proved(0, elsewhere(2 * number), account(phone));
        }
    }
    for guard in &guards.guards {
        assert!(!guard.is_proven(office));
        assert_eq!(guard.proven_accounts(office), 0);
    }
    // It is held to the limits of a stranger, its prefix's as well.
    let open = (0..100).filter(|_| guards.is_open(0, office, Asked::Register)).count();
    assert_eq!(open, 10);
    guards.pass(Duration::from_secs(3600));
    guards.proved(0, office, one);
    for guard in &guards.guards {
        assert_eq!(guard.proven_accounts(office), before);
    }
    let open = (0..100).filter(|_| guards.is_open(0, office, Asked::Register)).count();
    assert!(open >= 40, "{open}");
}

#[test]
fn a_source_that_slept_may_walk_no_more_than_a_stranger() {
    let mut guards = Guards::new(1, &roomy(), &[]);
    let (source, rover) = (ip("192.0.2.1"), account(1));
    let walks = |guards: &mut Guards, source| {
        (0..20u32).any(|number| {
            guards.admit(0, source, Asked::Register);
            guards.guards[0].step(source, format!("{}", 1000 + number).as_bytes())
        })
    };
    guards.proved(0, source, rover);
    assert!(!walks(&mut guards, source), "an office has numbers in a row");
    guards.pass(Duration::from_secs(3600));
    (0..16).for_each(|number| guards.proved(0, elsewhere(number), rover));
    assert!(walks(&mut guards, source));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is proven is what somebody vouches for, on every shard, whoever comes from wherever.
    #[test]
    fn every_shard_knows_for_which_sources_somebody_vouches(
        steps in prop::collection::vec((0usize..3, 0u32..48, 0u64..900), 1..300),
    ) {
        const SHARDS: u8 = 3;
        let mut guards = Guards::new(SHARDS, &roomy(), &[]);
        // Of different classes of the sketch, so that each of them is news.
        let accounts = [account(1) & !31, account(2) & !31 | 1, account(3) & !31 | 2];
        // The queue of each account; who was ever taken down at a source.
        let mut queues: [VecDeque<(u32, u64)>; 3] = Default::default();
        let mut taken: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
        let mut now_s = 0;
        for (who, from, pause_s) in steps {
            now_s += pause_s;
            guards.pass(Duration::from_secs(pause_s));
            guards.proved(who, elsewhere(from), accounts[who]);
            let is_awake = queues.iter().flatten().any(|&(one, _)| one == from);
            let is_news = !is_awake || !taken.entry(from).or_default().contains(&who);
            let queue = &mut queues[who];
            let has_room = queue.len() < 16 || now_s - queue[0].1 >= 3600;
            if is_news && has_room {
                if queue.len() == 16 {
                    queue.pop_front();
                }
                queue.push_back((from, now_s));
                taken.entry(from).or_default().insert(who);
            }
        }
        let vouched: BTreeSet<IpAddr> =
            queues.iter().flatten().map(|&(one, _)| elsewhere(one)).collect();
        let of_64 = |source: IpAddr| crate::guard::address::culprit(source);
        let prefixes: BTreeSet<IpAddr> = vouched.iter().map(|&source| of_64(source)).collect();
        for guard in &guards.guards {
            for source in (0..48).map(elsewhere) {
                prop_assert_eq!(guard.is_proven(source), vouched.contains(&source));
                let is_known = guard.proven_accounts(source) > 0;
                prop_assert_eq!(is_known, prefixes.contains(&of_64(source)));
            }
        }
    }
}
