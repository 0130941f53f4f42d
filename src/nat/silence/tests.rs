//! Sources and their silences against a model that remembers every sign.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMIT: u32 = 30;

fn at(second: u64) -> Instant {
    Instant::from_secs(second)
}

fn from(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

fn endpoint(index: u32) -> Endpoint {
    Endpoint { index, generation: 1 }
}

fn told(silence: &mut Silence, now: u64) -> Vec<(u32, Verdict)> {
    let mut told = Vec::new();
    loop {
        match silence.poll(at(now)) {
            Step::Told(endpoint, verdict) => told.push((endpoint.index, verdict)),
            Step::Moved => {}
            Step::Idle => break,
        }
        silence.check_invariants();
    }
    told.sort_by_key(|told| told.0);
    told
}

#[test]
fn the_grace_is_a_tenth_and_at_least_ten_seconds() {
    assert_eq!(
        [0, 30, 100, 120, 1000, u32::MAX].map(silence_max_s),
        [10, 40, 110, 132, 1100, u32::MAX]
    );
}

#[test]
fn whoever_is_silent_for_longer_than_agreed_is_told_of_once_and_heard_again_once() {
    let mut silence = Silence::new(&[1; 16]);
    silence.put(at(0), endpoint(4), from(1), LIMIT);
    assert!(silence.keeps_word(endpoint(4)) && !silence.keeps_word(endpoint(5)));
    assert_eq!(told(&mut silence, 30), []);
    assert!(silence.heard(at(20), from(1)) && !silence.heard(at(20), from(2)));
    assert_eq!(told(&mut silence, 50), []);
    assert_eq!(told(&mut silence, 51), [(4, Verdict::Silent)]);
    assert!(!silence.keeps_word(endpoint(4)));
    assert_eq!(told(&mut silence, 500), []);
    silence.heard(at(500), from(1));
    silence.heard(at(501), from(1));
    assert_eq!(told(&mut silence, 501), [(4, Verdict::Heard)]);
    assert!(silence.keeps_word(endpoint(4)));
    assert_eq!(told(&mut silence, 532), [(4, Verdict::Silent)]);
    // A REGISTER is as good as a keepalive.
    silence.put(at(533), endpoint(4), from(1), LIMIT);
    assert_eq!(told(&mut silence, 533), [(4, Verdict::Heard)]);
}

#[test]
fn one_keepalive_is_for_thousands_of_bindings_at_its_source() {
    let mut silence = Silence::new(&[1; 16]);
    for index in 0..3000 {
        silence.put(at(0), endpoint(index), from(1), LIMIT);
    }
    assert_eq!(silence.sources(), 1);
    silence.heard(at(25), from(1));
    assert_eq!(silence.poll(at(55)), Step::Moved);
    assert_eq!(silence.poll(at(55)), Step::Idle);
    assert_eq!(silence.poll(at(56)), Step::Moved);
    // Told one by one; whoever goes in the middle is not told.
    assert!(matches!(silence.poll(at(56)), Step::Told(Endpoint { index: 2999, .. }, _)));
    silence.remove(endpoint(2998));
    assert!(matches!(silence.poll(at(56)), Step::Told(Endpoint { index: 2997, .. }, _)));
    // Heard in the middle, all of them hear that, those included who knew nothing of a silence.
    silence.heard(at(57), from(1));
    let rest = told(&mut silence, 57);
    assert_eq!(rest.len(), 2999);
    assert!(rest.iter().all(|&(_, verdict)| verdict == Verdict::Heard));
}

#[test]
fn who_moves_is_listened_for_where_it_is_now() {
    let mut silence = Silence::new(&[1; 16]);
    silence.put(at(0), endpoint(0), from(1), LIMIT);
    silence.put(at(10), endpoint(0), from(2), LIMIT);
    silence.check_invariants();
    assert_eq!(silence.sources(), 1);
    assert!(!silence.heard(at(20), from(1)));
    assert_eq!(told(&mut silence, 41), [(0, Verdict::Silent)]);
    silence.remove(Endpoint { generation: 3, ..endpoint(0) });
    assert_eq!(silence.sources(), 1, "somebody else's name");
    silence.remove(endpoint(0));
    assert!(silence.is_empty() && !silence.keeps_word(endpoint(0)));
    assert_eq!(told(&mut silence, 1000), []);
}

#[test]
fn sources_that_come_and_go_leave_nothing_behind() {
    let mut silence = Silence::new(&[1; 16]);
    for round in 0..10_000 {
        silence.put(at(0), endpoint(0), from(round % 50), LIMIT);
    }
    assert_eq!(silence.looks.armed(), 1);
    assert_eq!((silence.sources(), silence.sources.len()), (1, 1));
    assert_eq!(told(&mut silence, 31), [(0, Verdict::Silent)]);
}

#[test]
fn an_address_is_the_same_however_a_socket_writes_it() {
    let mut silence = Silence::new(&[1; 16]);
    silence.put(at(0), endpoint(0), "[::ffff:192.0.2.1]:1".parse().unwrap(), LIMIT);
    assert!(silence.heard(at(1), from(1)));
}

#[derive(Clone, Debug)]
enum Op {
    Put { index: u32, port: u16 },
    Remove { index: u32 },
    Heard { port: u16 },
    Pass { seconds: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0..5u32, 1..4u16).prop_map(|(index, port)| Op::Put { index, port }),
        1 => (0..5u32).prop_map(|index| Op::Remove { index }),
        2 => (1..4u16).prop_map(|port| Op::Heard { port }),
        3 => (1..40u64).prop_map(|seconds| Op::Pass { seconds }),
    ];
    proptest::collection::vec(op, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_source_keeps_its_word_exactly_while_it_was_heard_lately(ops in ops()) {
        let mut silence = Silence::new(&[1; 16]);
        let mut places: BTreeMap<u32, u16> = BTreeMap::new();
        let mut heard: BTreeMap<u16, u64> = BTreeMap::new();
        let mut now = 100;
        for op in ops {
            match op {
                Op::Put { index, port } => {
                    silence.put(at(now), endpoint(index), from(port), LIMIT);
                    places.insert(index, port);
                    heard.insert(port, now);
                }
                Op::Remove { index } => {
                    silence.remove(endpoint(index));
                    places.remove(&index);
                }
                Op::Heard { port } => {
                    let known = places.values().any(|&place| place == port);
                    prop_assert_eq!(silence.heard(at(now), from(port)), known);
                    heard.insert(port, now);
                }
                Op::Pass { seconds } => {
                    now += seconds;
                    told(&mut silence, now);
                }
            }
            silence.check_invariants();
            told(&mut silence, now);
            for index in 0..5 {
                let keeps = places.get(&index).is_some_and(|port| {
                    now <= heard[port] + u64::from(LIMIT)
                });
                prop_assert_eq!(silence.keeps_word(endpoint(index)), keeps, "{}", index);
            }
            let next = silence.next_deadline();
            prop_assert_eq!(next.is_some_and(|next| next <= at(now)), false);
        }
    }
}
