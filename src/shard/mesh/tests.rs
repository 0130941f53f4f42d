//! The mesh on one thread: sizes, order, turns, room. Threads are `interleavings` and the model
//! test's.

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::ring::SLOT_BYTES;
use super::*;
use crate::shard::ListenerId;
use crate::time::Instant;

fn datagram(number: u64, bytes: &[u8]) -> Datagram<'_> {
    Datagram {
        source: SocketAddr::from((Ipv4Addr::LOCALHOST, 5060)),
        listener: ListenerId(0),
        local_ip: None,
        received_at: Instant::from_nanos(number),
        bytes,
        link: None,
    }
}

fn two(capacity: usize) -> (Endpoint, Endpoint) {
    let mut endpoints = connect(2, capacity);
    let second = endpoints.pop().expect("two");
    (endpoints.pop().expect("two"), second)
}

/// Drains up to `budget` and returns the numbers that came.
fn numbers(endpoint: &mut Endpoint, budget: usize) -> Vec<u64> {
    let mut got = Vec::new();
    let taken = endpoint.drain(budget, |datagram| got.push(datagram.received_at.as_nanos()));
    assert_eq!(taken, got.len());
    got
}

/// Every shard but the first hands it `count` datagrams, numbered from its own hundred on.
fn fill(endpoints: &mut [Endpoint], count: u64) {
    for endpoint in &mut endpoints[1..] {
        let hundred = u64::from(endpoint.shard().0) * 100;
        for number in hundred..hundred + count {
            endpoint.push(ShardId(0), &datagram(number, b"")).unwrap();
        }
        endpoint.publish(|_| ());
    }
}

#[test]
fn staged_records_wait_for_publish() {
    let (mut one, mut other) = two(8);
    one.push(ShardId(1), &datagram(1, b"REGISTER")).unwrap();
    assert!(other.is_empty());
    assert!(numbers(&mut other, 9).is_empty());
    one.publish(|_| panic!("nobody sleeps"));
    assert!(!other.is_empty());
    assert_eq!(numbers(&mut other, 9), [1]);
    assert!(other.is_empty());
}

#[test]
fn a_full_ring_sheds_the_new_and_keeps_the_old() {
    let (mut one, mut other) = two(4);
    for number in 0..4 {
        one.push(ShardId(1), &datagram(number, b"old")).unwrap();
    }
    assert_eq!(one.push(ShardId(1), &datagram(4, b"new")), Err(Full));
    one.publish(|_| ());
    assert_eq!(one.push(ShardId(1), &datagram(5, b"new")), Err(Full));
    assert_eq!(numbers(&mut other, 2), [0, 1]);
    one.push(ShardId(1), &datagram(6, b"new")).unwrap();
    one.publish(|_| ());
    assert_eq!(numbers(&mut other, 9), [2, 3, 6]);
}

#[test]
fn a_record_needs_all_its_slots() {
    let (mut one, mut other) = two(4);
    let three_slots = [7; 700];
    one.push(ShardId(1), &datagram(0, &three_slots)).unwrap();
    assert_eq!(one.push(ShardId(1), &datagram(1, &three_slots)), Err(Full));
    one.push(ShardId(1), &datagram(2, b"one slot")).unwrap();
    one.publish(|_| ());
    assert_eq!(numbers(&mut other, 9), [0, 2]);
}

#[test]
fn the_longest_datagram_fits_the_smallest_ring_at_any_place() {
    let (mut one, mut other) = two(*SLOTS_PER_RING.start());
    let bytes: Vec<u8> = (0..MESSAGE_BYTES_MAX).map(|at| ((at * 31) >> 3) as u8).collect();
    for number in 0..600 {
        one.push(ShardId(1), &datagram(number, &bytes)).unwrap();
        one.publish(|_| ());
        assert_eq!(other.drain(1, |datagram| assert!(datagram.bytes == bytes)), 1);
        // One slot on, so that the next long one begins somewhere else.
        one.push(ShardId(1), &datagram(number, b"")).unwrap();
        one.publish(|_| ());
        assert_eq!(other.drain(9, |datagram| assert!(datagram.bytes.is_empty())), 1);
    }
}

#[test]
#[should_panic(expected = "65536 bytes")]
fn a_longer_datagram_is_a_bug() {
    let (mut one, _other) = two(512);
    let _ = one.push(ShardId(1), &datagram(0, &vec![0; MESSAGE_BYTES_MAX + 1]));
}

#[test]
#[should_panic(expected = "nothing to itself")]
fn a_handoff_to_oneself_is_a_bug() {
    let (mut one, _other) = two(8);
    let _ = one.push(ShardId(0), &datagram(0, b""));
}

#[test]
fn a_turn_is_one_batch_in_which_one_body_runs_over_the_end() {
    let (mut one, mut other) = two(16);
    let body = |number: u64| vec![number as u8; 500];
    for lap in 0..9 {
        let numbers = lap * 5..lap * 5 + 5;
        for number in numbers.clone() {
            one.push(ShardId(1), &datagram(number, &body(number))).unwrap();
        }
        one.publish(|_| ());
        let mut batches = 0;
        let taken = other.drain_parcels(9, |_, parcels| {
            let Parcels::Messages(batch) = parcels else { panic!("{parcels:?}") };
            batches += 1;
            let got = batch.iter().map(|datagram| datagram.received_at.as_nanos());
            assert!(got.eq(numbers.clone()));
            for datagram in batch {
                assert_eq!(datagram.bytes, body(datagram.received_at.as_nanos()));
            }
        });
        assert_eq!((taken, batches), (5, 1));
    }
}

#[test]
fn shards_take_turns_of_eight() {
    let mut endpoints = connect(4, 64);
    fill(&mut endpoints, 20);
    let from: Vec<u64> = numbers(&mut endpoints[0], 99).iter().map(|n| n / 100).collect();
    let mut expected = Vec::new();
    for most in [8, 8, 4] {
        for shard in 1..4 {
            expected.extend(std::iter::repeat_n(shard, most));
        }
    }
    assert_eq!(from, expected);
}

#[test]
fn a_turn_cut_short_by_the_budget_goes_on_with_the_next_call() {
    for budget in [1, 3, 8, 12, 13] {
        let mut endpoints = connect(3, 256);
        fill(&mut endpoints, 96);
        let mut got = Vec::new();
        while got.len() < 96 {
            let more = numbers(&mut endpoints[0], budget);
            assert_eq!(more.len(), budget);
            got.extend(more);
        }
        let first = got[..96].iter().filter(|&&number| number < 200).count();
        assert_eq!(first, 48, "with a budget of {budget}");
    }
}

#[test]
fn a_sleeper_is_woken_once_and_by_one() {
    let mut endpoints = connect(3, 8);
    assert!(endpoints[0].prepare_sleep());
    let mut woken = Vec::new();
    for from in [1, 2, 1] {
        endpoints[from].push(ShardId(0), &datagram(0, b"")).unwrap();
        endpoints[from].publish(|shard| woken.push((from, shard)));
    }
    assert_eq!(woken, [(1, ShardId(0))]);
    endpoints[0].awake();
    assert!(!endpoints[0].prepare_sleep(), "three datagrams wait");
    assert_eq!(numbers(&mut endpoints[0], 9).len(), 3);
    assert!(endpoints[0].prepare_sleep());
    endpoints[0].awake();
    endpoints[1].push(ShardId(0), &datagram(0, b"")).unwrap();
    endpoints[1].publish(|_| panic!("nobody sleeps"));
}

#[test]
fn publishing_nothing_wakes_nobody() {
    let (mut one, mut other) = two(8);
    assert!(other.prepare_sleep());
    one.publish(|_| panic!("nothing was pushed"));
}

#[test]
#[should_panic(expected = "not published")]
fn sleeping_on_staged_records_is_a_bug() {
    let (mut one, _other) = two(8);
    one.push(ShardId(1), &datagram(0, b"")).unwrap();
    let _ = one.prepare_sleep();
}

#[test]
fn a_mesh_of_one_has_nothing_to_do() {
    let mut alone = mesh(1, default_slots(1)).pop().expect("one");
    assert_eq!(alone.shard(), ShardId(0));
    alone.publish(|_| panic!("there is nobody"));
    assert_eq!(numbers(&mut alone, 9), Vec::<u64>::new());
    assert!(alone.is_empty());
    assert!(alone.prepare_sleep());
}

#[test]
fn a_panic_in_the_callback_loses_the_batch_it_had() {
    let (mut one, mut other) = two(16);
    for number in 0..12 {
        one.push(ShardId(1), &datagram(number, b"")).unwrap();
    }
    one.publish(|_| ());
    let result = catch_unwind(AssertUnwindSafe(|| {
        other.drain(99, |datagram| assert_ne!(datagram.received_at.as_nanos(), 1));
    }));
    assert!(result.is_err());
    assert_eq!(numbers(&mut other, 99), [8, 9, 10, 11]);
    for number in 0..16 {
        one.push(ShardId(1), &datagram(number, b"")).unwrap();
    }
}

#[test]
fn the_other_end_may_be_gone() {
    let (mut one, mut other) = two(4);
    one.push(ShardId(1), &datagram(1, b"last words")).unwrap();
    one.publish(|_| ());
    drop(one);
    assert_eq!(numbers(&mut other, 9), [1]);
    for number in 0..4 {
        other.push(ShardId(0), &datagram(number, b"")).unwrap();
        other.publish(|_| ());
    }
    assert_eq!(other.push(ShardId(0), &datagram(4, b"")), Err(Full));
}

#[test]
fn default_rings_stay_within_their_memory() {
    for shards in 1..=SHARDS_MAX {
        let slots = default_slots(shards);
        assert!(slots.is_power_of_two() && SLOTS_PER_RING.contains(&slots));
        assert!(slots <= default_slots(shards.max(2) - 1), "more shards, no larger rings");
        let inbound_bytes = (shards - 1) * slots * SLOT_BYTES;
        assert!(inbound_bytes <= if shards <= 65 { 8 << 20 } else { 16 << 20 }, "{shards}");
    }
    assert_eq!(default_slots(2), 4096);
    assert_eq!(default_slots(9), 4096);
    assert_eq!(default_slots(SHARDS_MAX), 512);
}

#[test]
fn endpoints_move_to_their_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Endpoint>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any mix of sizes and steps on a small ring: what was accepted comes out, in order, whole.
    #[test]
    fn accepted_records_come_out_as_they_went_in(
        capacity in prop_oneof![Just(1usize), Just(2), Just(8), Just(16)],
        steps in proptest::collection::vec(
            prop_oneof![
                3 => (0usize..1500).prop_map(Some),
                1 => (0usize..5).prop_map(|_| None),
            ],
            0..200,
        ),
    ) {
        let (mut one, mut other) = two(capacity);
        let mut accepted = std::collections::VecDeque::new();
        let mut used = 0;
        for (number, step) in steps.into_iter().chain([None]).enumerate() {
            match step {
                Some(length) => {
                    let bytes: Vec<u8> = (0..length).map(|at| (at ^ number) as u8).collect();
                    let slots = ring::slots_of(length);
                    let pushed = one.push(ShardId(1), &datagram(number as u64, &bytes));
                    prop_assert_eq!(pushed.is_ok(), used + slots <= capacity);
                    if pushed.is_ok() {
                        used += slots;
                        accepted.push_back((number as u64, bytes));
                    }
                }
                None => {
                    one.publish(|_| ());
                    other.drain(usize::MAX, |datagram| {
                        let (number, bytes) = accepted.pop_front().expect("one that went in");
                        assert_eq!(datagram.received_at.as_nanos(), number);
                        assert_eq!(datagram.bytes, bytes);
                    });
                    prop_assert!(accepted.is_empty());
                    used = 0;
                }
            }
        }
    }
}

#[test]
fn parcels_of_every_kind_come_in_order_and_can_be_answered_at_once() {
    let (mut one, mut other) = two(64);
    let id = ConnectionId { reactor: 1, slot: 2, generation: 3 };
    one.push(ShardId(1), &datagram(1, b"a")).unwrap();
    one.push(ShardId(1), &datagram(2, b"b")).unwrap();
    one.outbound().push_send(id, b"to be sent").unwrap();
    one.outbound().push_notice(ShardId(1), Notice::Hold(id)).unwrap();
    one.push(ShardId(1), &datagram(3, b"c")).unwrap();
    one.publish(|_| ());
    let mut seen = Vec::new();
    let taken = other.drain_parcels(9, |outbound, parcels| match parcels {
        Parcels::Messages(batch) => seen.push(format!("{} messages", batch.len())),
        Parcels::Send { connection, bytes } => {
            seen.push(format!("{connection:?} {}", String::from_utf8_lossy(bytes)));
        }
        Parcels::Notice { from, notice } => {
            assert_eq!(notice, Notice::Hold(id));
            outbound.push_notice(from, Notice::Closed(id)).unwrap();
            seen.push(format!("notice of {}", from.0));
        }
    });
    assert_eq!(taken, 5);
    let sent = format!("{id:?} to be sent");
    assert_eq!(seen, ["2 messages", &sent, "notice of 0", "1 messages"]);
    other.publish(|_| ());
    let taken = one.drain_parcels(9, |_, parcels| {
        let Parcels::Notice { from: ShardId(1), notice } = parcels else { panic!("{parcels:?}") };
        assert_eq!(notice, Notice::Closed(id));
    });
    assert_eq!(taken, 1);
}
