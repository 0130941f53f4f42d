//! Probes against a clock that is a variable.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::time::UnixTime;

const ONE: Endpoint = Endpoint { index: 2, generation: 1 };
const RULES: Rules = Rules { timeout: Duration::from_secs(8), misses: 3, success_only: false };

fn at(millis: u64) -> Now {
    let mono = Instant::from_nanos(millis * 1_000_000);
    Now { mono, wall: UnixTime(1_800_000_000 + millis / 1000), wall_us: 0 }
}

fn liveness(rules: Rules) -> Liveness {
    Liveness::new(ProbeKey::new(&[5; 16], 1), rules)
}

/// When a probe begun at 0 is sent again and given up, milliseconds; a provisional answer comes at
/// `proceeding`.
fn run(rules: Rules, reliable: bool, proceeding: Option<u64>) -> (Vec<u64>, u64) {
    let mut liveness = liveness(rules);
    let branch = liveness.begin(at(0), ONE, reliable).unwrap();
    let (mut sent, mut now, mut proceeding) = (vec![], 0, proceeding);
    loop {
        if proceeding.is_some_and(|from| now >= from) {
            proceeding = None;
            let answered = liveness.answer(at(now).mono, &branch, 100, false);
            assert_eq!(answered, Ok(Answered::Proceeding));
        }
        while let Some((endpoint, again)) = liveness.poll_repeat(at(now).mono) {
            assert_eq!((endpoint, again), (ONE, branch));
            sent.push(now);
        }
        if let Some((endpoint, sent_at)) = liveness.poll_unanswered(at(now).mono) {
            assert_eq!((endpoint, sent_at), (ONE, at(0).mono));
            assert_eq!(liveness.timers(), 0);
            return (sent, now);
        }
        now = liveness.next_deadline().unwrap().as_nanos() / 1_000_000;
    }
}

#[test]
fn a_probe_is_sent_again_by_timer_e_until_it_is_given_up_rfc_3261_17_1_2_2() {
    assert_eq!(run(RULES, false, None), (vec![500, 1500, 3500, 7500], 8000));
    let longest = Rules { timeout: Duration::from_secs(32), ..RULES };
    let expected = vec![500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(run(longest, false, None), (expected, 32_000));
    let shortest = Rules { timeout: Duration::from_secs(1), ..RULES };
    assert_eq!(run(shortest, false, None), (vec![500], 1000));
}

#[test]
fn over_a_reliable_transport_nothing_is_sent_again_rfc_3261_17_1_2_2() {
    assert_eq!(run(RULES, true, None), (vec![], 8000));
}

#[test]
fn after_a_provisional_answer_it_is_sent_every_t2_where_only_a_final_one_counts() {
    let rules = Rules { timeout: Duration::from_secs(20), success_only: true, ..RULES };
    assert_eq!(run(rules, false, Some(500)).0[..4], [500, 4500, 8500, 12_500]);
}

#[test]
fn any_answer_counts_a_provisional_one_too() {
    for status in [100, 200, 302, 404, 486, 503, 603] {
        let mut liveness = liveness(RULES);
        let branch = liveness.begin(at(0), ONE, false).unwrap();
        let answered = liveness.answer(at(30).mono, &branch, status, false);
        let round_trip = Some(Duration::from_millis(30));
        assert_eq!(answered, Ok(Answered::Alive { round_trip, again: false }), "{status}");
        assert!(liveness.state(ONE).unwrap().has_answered);
    }
}

#[test]
fn where_only_success_counts_another_final_answer_is_a_miss() {
    let mut liveness = liveness(Rules { success_only: true, ..RULES });
    let branch = liveness.begin(at(0), ONE, false).unwrap();
    assert_eq!(liveness.answer(at(9).mono, &branch, 404, false), Ok(Answered::Refused));
    assert_eq!(liveness.poll_repeat(at(60_000).mono), None);
    assert_eq!(liveness.poll_unanswered(at(60_000).mono), None, "it is over");
    assert!(liveness.state(ONE).unwrap().has_answered, "it is there, whatever that is worth");
    let branch = liveness.begin(at(70_000), ONE, false).unwrap();
    let answered = liveness.answer(at(70_001).mono, &branch, 200, false);
    assert!(matches!(answered, Ok(Answered::Alive { .. })));
}

#[test]
fn what_a_proxy_says_in_place_of_the_endpoint_is_a_miss() {
    let mut liveness = liveness(RULES);
    let branch = liveness.begin(at(0), ONE, false).unwrap();
    assert_eq!(liveness.answer(at(9).mono, &branch, 430, true), Ok(Answered::Refused));
}

#[test]
fn a_round_trip_is_measured_only_of_what_was_sent_once_karn() {
    let mut liveness = liveness(RULES);
    let branch = liveness.begin(at(0), ONE, false).unwrap();
    liveness.answer(at(80).mono, &branch, 200, false).unwrap();
    let both = |last, smoothed| {
        let [last, smoothed] = [last, smoothed].map(Duration::from_millis);
        Some(RoundTrip { last, smoothed })
    };
    assert_eq!(liveness.round_trip(ONE), both(80, 80));
    let branch = liveness.begin(at(1000), ONE, false).unwrap();
    assert!(liveness.poll_repeat(at(1500).mono).is_some());
    let answered = liveness.answer(at(1600).mono, &branch, 200, false);
    assert_eq!(answered, Ok(Answered::Alive { round_trip: None, again: false }));
    assert_eq!(liveness.round_trip(ONE), both(80, 80));
    let branch = liveness.begin(at(2000), ONE, false).unwrap();
    liveness.answer(at(2160).mono, &branch, 200, false).unwrap();
    assert_eq!(liveness.round_trip(ONE), both(160, 90));
}

fn miss_one(liveness: &mut Liveness, now: u64) -> bool {
    assert!(liveness.begin(at(now), ONE, true).is_some());
    assert_eq!(liveness.poll_unanswered(at(now + 7999).mono), None);
    assert!(liveness.poll_unanswered(at(now + 8000).mono).is_some());
    liveness.miss(ONE)
}

#[test]
fn misses_in_a_row_make_an_endpoint_unreachable_and_an_answer_ends_them() {
    let mut liveness = liveness(RULES);
    for _ in 0..2 {
        for sent_ms in [0, 10_000] {
            assert!(!miss_one(&mut liveness, sent_ms));
        }
        let branch = liveness.begin(at(20_000), ONE, true).unwrap();
        liveness.answer(at(20_001).mono, &branch, 200, false).unwrap();
        assert_eq!(liveness.state(ONE).unwrap().misses, 0);
    }
    for sent_ms in [30_000, 40_000] {
        miss_one(&mut liveness, sent_ms);
    }
    assert!(miss_one(&mut liveness, 50_000));
    assert!(!miss_one(&mut liveness, 60_000), "it is so already");
    assert!(liveness.heard(ONE) && !liveness.heard(ONE));
    assert!(!liveness.state(ONE).unwrap().unreachable);
}

#[test]
fn who_has_never_answered_is_found_out_whatever_else_is_heard_from_it() {
    let mut liveness = liveness(RULES);
    for round in 0..3 {
        for probe in 1..=3 {
            let now = 100_000 * round + 10_000 * probe;
            assert!(liveness.begin(at(now), ONE, true).is_some());
            liveness.poll_unanswered(at(now + 8000).mono).unwrap();
            assert_eq!(liveness.probed_at(at(now + 8000).mono, ONE), Some(at(now).mono));
            liveness.heard(ONE);
            assert_eq!(liveness.never_answers(ONE), probe == 3, "probe {probe} of round {round}");
        }
    }
    assert!(!liveness.never_answers(Endpoint { generation: 2, ..ONE }), "another tenant");
}

#[test]
fn who_has_answered_once_never_counts_as_one_who_does_not_even_if_it_refused() {
    for status in [200, 486] {
        let mut liveness = liveness(Rules { misses: 2, success_only: true, ..RULES });
        miss_one(&mut liveness, 0);
        let branch = liveness.begin(at(10_000), ONE, true).unwrap();
        liveness.answer(at(10_001).mono, &branch, status, false).unwrap();
        for turn in 2..100 {
            miss_one(&mut liveness, turn * 10_000);
            assert!(!liveness.never_answers(ONE));
        }
    }
    // What a proxy says of one it cannot reach is no answer of his.
    let mut liveness = liveness(Rules { misses: 1, ..RULES });
    let branch = liveness.begin(at(0), ONE, true).unwrap();
    liveness.answer(at(1).mono, &branch, 408, true).unwrap();
    assert!(!liveness.state(ONE).unwrap().has_answered);
}

#[test]
fn the_count_of_those_who_never_answer_ends_and_begins_nothing_else() {
    let mut liveness = liveness(RULES);
    for turn in 0..200 {
        let at = |millis: u64| Now {
            mono: at(turn * 10_000).mono + Duration::from_micros(millis * 1000 + 999),
            ..at(0)
        };
        liveness.begin(at(0), ONE, true).unwrap();
        assert_eq!(liveness.probed_at(at(3).mono, ONE), Some(at(0).mono));
        liveness.poll_unanswered(at(8000).mono).unwrap();
    }
    assert!(liveness.never_answers(ONE));
}

#[test]
fn an_answer_after_its_time_is_still_a_sign_of_life() {
    let mut liveness = liveness(Rules { misses: 1, ..RULES });
    let branch = liveness.begin(at(0), ONE, true).unwrap();
    assert!(liveness.poll_unanswered(at(8000).mono).is_some());
    assert!(liveness.miss(ONE));
    let answered = liveness.answer(at(9000).mono, &branch, 200, false);
    assert_eq!(answered, Ok(Answered::Alive { round_trip: None, again: true }));
    assert_eq!(liveness.answer(at(9001).mono, &branch, 200, false), Ok(Answered::Repeated));
    assert_eq!(liveness.round_trip(ONE), None);
}

#[test]
fn forged_old_and_orphaned_answers_change_nothing() {
    let mut liveness = liveness(RULES);
    let first = liveness.begin(at(0), ONE, true).unwrap();
    assert_eq!(liveness.begin(at(1), ONE, true), None, "one is out");
    liveness.poll_unanswered(at(8000).mono).unwrap();
    liveness.miss(ONE);
    let second = liveness.begin(at(9000), ONE, true).unwrap();
    assert_eq!(second.number, first.number + 1);
    let now = at(9001).mono;
    let mut answer = |branch: Branch| liveness.answer(now, &branch, 200, false);
    assert_eq!(answer(first), Err(Stray::Old));
    assert_eq!(answer(Branch { tag: second.tag ^ 1, ..second }), Err(Stray::Forged));
    assert_eq!(answer(Branch { number: second.number + 1, ..second }), Err(Stray::Forged));
    assert_eq!(answer(Branch { index: 1, ..second }), Err(Stray::Gone));
    assert_eq!(answer(Branch { index: u32::MAX, ..second }), Err(Stray::Gone));
    assert_eq!(liveness.state(ONE).unwrap().misses, 1);
    liveness.forget(ONE);
    assert_eq!(liveness.answer(now, &second, 200, false), Err(Stray::Gone));
    assert_eq!(liveness.poll_unanswered(at(60_000).mono), None, "nobody is missed who has gone");
    // The next tenant of the slot is not who was asked.
    let next = Endpoint { generation: 3, ..ONE };
    liveness.begin(at(61_000), next, true).unwrap();
    assert_eq!(liveness.answer(at(61_001).mono, &second, 200, false), Err(Stray::Forged));
}

#[test]
fn the_answer_to_a_keepalive_counts_while_it_is_fresh() {
    let mut liveness = liveness(Rules { misses: 1, ..RULES });
    miss_one(&mut liveness, 0);
    let branch = liveness.keepalive(at(10_000), ONE);
    let fresh = liveness.answer(at(42_999).mono, &branch, 200, false);
    assert_eq!(fresh, Ok(Answered::Alive { round_trip: None, again: true }));
    assert_eq!(liveness.answer(at(43_000).mono, &branch, 200, false), Err(Stray::Old));
    let forged = Branch { number: branch.number + 40, ..branch };
    assert_eq!(liveness.answer(at(43_000).mono, &forged, 200, false), Err(Stray::Forged));
}

#[test]
fn out_of_turn_a_probe_waits_for_the_last_one_and_the_gap() {
    let mut liveness = liveness(RULES);
    let gap = Duration::from_secs(5);
    assert!(liveness.may_begin(at(0).mono, ONE, gap));
    let branch = liveness.begin(at(0), ONE, false).unwrap();
    assert!(!liveness.may_begin(at(6000).mono, ONE, gap), "one is out");
    liveness.answer(at(10).mono, &branch, 200, false).unwrap();
    assert!(!liveness.may_begin(at(4999).mono, ONE, gap));
    assert!(liveness.may_begin(at(5000).mono, ONE, gap));
    assert!(liveness.may_begin(at(20).mono, Endpoint { generation: 3, ..ONE }, gap));
}

#[test]
fn the_clock_of_an_entry_may_wrap() {
    let wrap = u64::from(u32::MAX) + 1;
    let mut liveness = liveness(RULES);
    let branch = liveness.begin(at(wrap - 5), ONE, false).unwrap();
    let answered = liveness.answer(at(wrap + 5).mono, &branch, 200, false);
    let round_trip = Some(Duration::from_millis(10));
    assert_eq!(answered, Ok(Answered::Alive { round_trip, again: false }));
}

#[derive(Clone, Debug)]
enum Op {
    Begin { index: u32, reliable: bool },
    Answer { index: u32, status: u16 },
    Forget { index: u32 },
    Pass { millis: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let index = 0..4u32;
    let op = prop_oneof![
        4 => (index.clone(), any::<bool>())
            .prop_map(|(index, reliable)| Op::Begin { index, reliable }),
        2 => (index.clone(), prop_oneof![Just(100u16), Just(200), Just(404)])
            .prop_map(|(index, status)| Op::Answer { index, status }),
        1 => index.prop_map(|index| Op::Forget { index }),
        4 => prop_oneof![1..600u64, 1..9000u64].prop_map(|millis| Op::Pass { millis }),
    ];
    proptest::collection::vec(op, 1..80)
}

/// What the model knows of a probe that is out.
#[derive(Clone, Copy, Debug)]
struct Out {
    branch: Branch,
    began: u64,
    reliable: bool,
    sent: u32,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every probe is answered, given up at its time or forgotten; it is sent again as often as
    /// its time allows; and nothing is left of it.
    #[test]
    fn probes_behave_like_a_map_of_transactions(ops in ops(), success_only: bool) {
        let rules = Rules { success_only, ..RULES };
        let mut liveness = liveness(rules);
        let mut model: BTreeMap<u32, Out> = BTreeMap::new();
        let mut generations = [1u32; 4];
        let mut now = 0u64;
        for op in ops {
            match op {
                Op::Begin { index, reliable } => {
                    let endpoint = Endpoint { index, generation: generations[index as usize] };
                    let begun = liveness.begin(at(now), endpoint, reliable);
                    prop_assert_eq!(begun.is_some(), !model.contains_key(&index));
                    if let Some(branch) = begun {
                        model.insert(index, Out { branch, began: now, reliable, sent: 1 });
                    }
                }
                Op::Answer { index, status } => {
                    let Some(out) = model.get(&index).copied() else { continue };
                    let answered = liveness.answer(at(now).mono, &out.branch, status, false);
                    let counts = !success_only || status == 200;
                    let expected = if counts {
                        model.remove(&index);
                        let elapsed = Duration::from_millis(now - out.began);
                        let round_trip = (out.sent == 1).then_some(elapsed);
                        Answered::Alive { round_trip, again: false }
                    } else if status < 200 {
                        // Fewer transmissions from here on: the model stops counting.
                        model.entry(index).and_modify(|out| out.reliable = true);
                        Answered::Proceeding
                    } else {
                        model.remove(&index);
                        Answered::Refused
                    };
                    prop_assert_eq!(answered, Ok(expected));
                }
                Op::Forget { index } => {
                    let generation = generations[index as usize];
                    liveness.forget(Endpoint { index, generation });
                    generations[index as usize] += 2;
                    model.remove(&index);
                }
                Op::Pass { millis } => {
                    let end = now + millis;
                    // As a reactor does: from deadline to deadline.
                    loop {
                        let next = liveness.next_deadline().map(|at| at.as_nanos() / 1_000_000);
                        now = next.map_or(end, |next| next.clamp(now, end));
                        while let Some((endpoint, branch)) = liveness.poll_repeat(at(now).mono) {
                            let out = model.get_mut(&endpoint.index).unwrap();
                            prop_assert_eq!(branch, out.branch);
                            out.sent += 1;
                        }
                        while let Some((endpoint, _)) = liveness.poll_unanswered(at(now).mono) {
                            let out = model.remove(&endpoint.index).unwrap();
                            prop_assert_eq!(now, out.began + 8000);
                            if !out.reliable {
                                prop_assert_eq!(out.sent, 5);
                            }
                        }
                        if now >= end && next.is_none_or(|next| next > end) {
                            break;
                        }
                    }
                }
            }
        }
        while let Some(next) = liveness.next_deadline() {
            while liveness.poll_repeat(next).is_some() {}
            while let Some((endpoint, _)) = liveness.poll_unanswered(next) {
                prop_assert!(model.remove(&endpoint.index).is_some());
            }
        }
        prop_assert!(model.is_empty() && liveness.timers() == 0);
    }
}
