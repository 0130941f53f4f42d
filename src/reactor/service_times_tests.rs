//! The histograms against `hdrhistogram`'s own.

use proptest::prelude::*;

use super::*;

/// Times as they are met: from nothing to beyond the bounds, each size as likely.
fn times() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let ns = (0..=36u32, any::<u64>()).prop_map(|(bits, any)| any & ((1 << bits) - 1));
    prop::collection::vec((ns, 1..40u64), 0..60)
}

fn shared(times: &[(u64, u64)], span: Span) -> SharedServiceTimes {
    let shared = SharedServiceTimes::new(true);
    times.iter().for_each(|&(ns, messages)| shared.add(span, ns, messages));
    shared
}

fn oracle(times: &[(u64, u64)]) -> Histogram<u64> {
    let mut oracle = Histogram::new_with_bounds(1, SERVICE_NS_MAX, DIGITS).unwrap();
    for &(ns, messages) in times {
        oracle.saturating_record_n(ns.min(SERVICE_NS_MAX), messages);
    }
    oracle
}

fn steps(times: &Histogram<u64>) -> Vec<(u64, u64)> {
    times.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

proptest! {
    #[test]
    fn what_is_read_is_what_hdrhistogram_would_have_counted(times in times()) {
        let read = shared(&times, Span::Whole).read();
        let (ours, theirs) = (read.of(Span::Whole), oracle(&times));
        prop_assert_eq!(steps(&ours), steps(&theirs));
        prop_assert_eq!(ours.max(), theirs.max());
        prop_assert!(read.of(Span::Handoff).is_empty());
        prop_assert_eq!(read.is_empty(), times.is_empty());
    }

    #[test]
    fn what_came_since_is_the_difference_and_both_together_the_sum(a in times(), b in times()) {
        let span = Span::Stage(Stage::Auth);
        let shared = shared(&a, span);
        let before = shared.read();
        b.iter().for_each(|&(ns, messages)| shared.add(span, ns, messages));
        shared.add_batch();
        let after = shared.read();
        let since = after.since(&before);
        prop_assert_eq!(since.of(span), oracle_of_least(&b));
        prop_assert_eq!((since.batches(), after.since(&after).is_empty()), (1, true));
        prop_assert_eq!([&before, &since].into_iter().sum::<ServiceTimes>(), after);
    }
}

/// The same values as they stand in their buckets.
fn oracle_of_least(times: &[(u64, u64)]) -> Histogram<u64> {
    let mut oracle = oracle(&[]);
    for &(ns, messages) in times {
        oracle.record_n(least_of(bucket_of(ns.min(SERVICE_NS_MAX))), messages).unwrap();
    }
    oracle
}

#[test]
fn buckets_follow_each_other_without_a_gap() {
    for bucket in 0..BUCKETS {
        assert_eq!(bucket_of(least_of(bucket)), bucket);
        assert_eq!(bucket_of(least_of(bucket + 1) - 1), bucket);
    }
    assert_eq!(BUCKETS, 3478);
}

#[test]
fn what_is_above_ten_seconds_counts_as_ten_seconds() {
    let shared = shared(&[(SERVICE_NS_MAX + 1, 2), (u64::MAX, 1)], Span::Whole);
    let whole = shared.read().of(Span::Whole);
    assert_eq!((whole.len(), whole.count_at(SERVICE_NS_MAX)), (3, 3));
}

#[test]
fn spans_have_names_of_their_own_and_are_found_by_them() {
    for (nth, span) in Span::ALL.into_iter().enumerate() {
        assert_eq!((span.index(), Span::from_name(span.name())), (nth, Some(span)));
    }
    assert_eq!(Span::from_name("parser"), None);
}
