//! The mesh under loom: every interleaving (up to a bound on preemptions where there are too
//! many) of two or three shards on rings of a few slots, and every value their loads may see.
//! `RUSTFLAGS="--cfg aorta_loom" cargo test --release --no-default-features --lib mesh`

use std::net::{Ipv4Addr, SocketAddr};

use arrayvec::ArrayVec;
use loom::sync::Notify;
use loom::thread;

use super::ring::{NoRoom, ring};
use super::sync::Arc;
use super::{Endpoint, Full, connect};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::shard::{Datagram, ListenerId, ShardId};
use crate::time::Instant;

/// Loom with at most `preemptions` involuntary switches in one execution.
fn model(preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

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

fn push_and_publish(endpoint: &mut Endpoint, to: u8, number: u64, wake: &Notify) {
    assert_eq!(endpoint.push(ShardId(to), &datagram(number, b"")), Ok(()));
    endpoint.publish(|_| wake.notify());
}

/// Receives `wanted` datagrams as a reactor does: drains, and sleeps when there is nothing. A
/// lost wake leaves it asleep for good, which loom reports as a deadlock.
fn receive(endpoint: &mut Endpoint, wanted: usize, wake: &Notify) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        endpoint.drain(wanted, |datagram| got.push(datagram.received_at.as_nanos()));
        if got.len() == wanted {
            return got;
        }
        if endpoint.prepare_sleep() {
            wake.wait();
            endpoint.awake();
        }
    }
}

#[test]
fn records_arrive_once_in_order_and_whole_across_the_wrap() {
    model(3, || {
        let (mut producer, mut consumer) = ring(2);
        let writer = thread::spawn(move || {
            // One slot, two, one: the second runs over the end of the ring.
            for (number, length) in [(1u8, 3), (2, 300), (3, 5)] {
                let tag = [number; super::ring::TAG_BYTES];
                let body = vec![number; length];
                while producer.push(&tag, &body) == Err(NoRoom) {
                    thread::yield_now();
                }
                producer.publish();
            }
        });
        let mut scratch = vec![0; MESSAGE_BYTES_MAX];
        for (number, length) in [(1u8, 3), (2, 300), (3, 5)] {
            loop {
                let mut records = ArrayVec::<_, 1>::new();
                consumer.next(&mut scratch, 1, &mut records);
                if let Some(record) = records.pop() {
                    assert!(record.tag.iter().all(|&byte| byte == number));
                    assert_eq!(record.body, vec![number; length]);
                    break;
                }
                thread::yield_now();
            }
            consumer.release();
        }
        let mut records = ArrayVec::<_, 1>::new();
        consumer.next(&mut scratch, 1, &mut records);
        assert!(records.is_empty());
        writer.join().unwrap();
    });
}

#[test]
fn a_batch_becomes_visible_as_one() {
    model(4, || {
        let (mut producer, mut consumer) = ring(4);
        let writer = thread::spawn(move || {
            for number in 1..=2u8 {
                producer.push(&[number; super::ring::TAG_BYTES], b"").unwrap();
            }
            producer.publish();
        });
        let mut scratch = [];
        let mut records = ArrayVec::<_, 2>::new();
        consumer.next(&mut scratch, 2, &mut records);
        assert_ne!(records.len(), 1, "half a batch");
        writer.join().unwrap();
    });
}

#[test]
fn a_full_ring_sheds_the_new_and_keeps_the_old() {
    model(3, || {
        let mut endpoints = connect(2, 2);
        let mut reader = endpoints.pop().unwrap();
        let mut writer = endpoints.pop().unwrap();
        let writing = thread::spawn(move || {
            let mut accepted = Vec::new();
            for number in 0..4 {
                match writer.push(ShardId(1), &datagram(number, b"")) {
                    Ok(()) => accepted.push(number),
                    Err(Full) => assert!(number >= 2, "there was room for two"),
                }
                writer.publish(|_| ());
            }
            accepted
        });
        let mut got = Vec::new();
        reader.drain(4, |datagram| got.push(datagram.received_at.as_nanos()));
        let accepted = writing.join().unwrap();
        reader.drain(4, |datagram| got.push(datagram.received_at.as_nanos()));
        assert_eq!(got, accepted);
    });
}

#[test]
fn no_wake_is_lost() {
    model(5, || {
        let mut endpoints = connect(2, 4);
        let mut reader = endpoints.pop().unwrap();
        let mut writer = endpoints.pop().unwrap();
        let wake = Arc::new(Notify::new());
        let writing = {
            let wake = Arc::clone(&wake);
            thread::spawn(move || {
                push_and_publish(&mut writer, 1, 1, &wake);
                push_and_publish(&mut writer, 1, 2, &wake);
            })
        };
        assert_eq!(receive(&mut reader, 2, &wake), [1, 2]);
        writing.join().unwrap();
    });
}

#[test]
fn no_wake_is_lost_between_two_writers() {
    model(3, || {
        let mut endpoints = connect(3, 2);
        let wake = Arc::new(Notify::new());
        let writing: Vec<_> = [1, 2]
            .map(|number| {
                let mut writer = endpoints.pop().unwrap();
                let wake = Arc::clone(&wake);
                thread::spawn(move || push_and_publish(&mut writer, 0, number, &wake))
            })
            .into();
        let mut got = receive(&mut endpoints[0], 2, &wake);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        for thread in writing {
            thread.join().unwrap();
        }
    });
}

#[test]
fn two_shards_that_hand_over_and_sleep_wake_each_other() {
    model(3, || {
        let mut endpoints = connect(2, 2);
        let mut other = endpoints.pop().unwrap();
        let mut one = endpoints.pop().unwrap();
        let wakes = Arc::new([Notify::new(), Notify::new()]);
        let answering = {
            let wakes = Arc::clone(&wakes);
            thread::spawn(move || {
                assert_eq!(receive(&mut other, 1, &wakes[1]), [1]);
                push_and_publish(&mut other, 0, 2, &wakes[0]);
            })
        };
        push_and_publish(&mut one, 1, 1, &wakes[1]);
        assert_eq!(receive(&mut one, 1, &wakes[0]), [2]);
        answering.join().unwrap();
    });
}

#[test]
fn either_end_may_be_dropped_while_records_remain() {
    model(3, || {
        let mut endpoints = connect(2, 4);
        let mut reader = endpoints.pop().unwrap();
        let mut writer = endpoints.pop().unwrap();
        let writing = thread::spawn(move || {
            for number in 0..3 {
                assert_eq!(writer.push(ShardId(1), &datagram(number, b"")), Ok(()));
                writer.publish(|_| ());
            }
        });
        let mut expected = 0;
        reader.drain(1, |datagram| {
            assert_eq!(datagram.received_at.as_nanos(), expected);
            expected += 1;
        });
        drop(reader);
        writing.join().unwrap();
    });
}
