//! Answers that are none: garbage, forgeries, answers too late or from elsewhere; and thousands of
//! bindings at one address. Each has an outcome that is counted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::Liveness;
use aorta::shard::counters::DropReason;

use crate::common::Phone;
use crate::common::cluster::Options;
use crate::field::{Asked, Field, liveness, options};
use crate::{A, B, addr};

/// A phone that has gone, and the probe it was sent.
fn probed(shards: u8) -> (Field, Asked) {
    let mut field = Field::new(shards, &options(liveness()));
    field.phone(1, "a", A);
    field.pass(21);
    field.take_asked();
    field.kill(A);
    field.pass_until(21, |field| !field.asked.is_empty());
    let asked = field.asked[0].clone();
    (field, asked)
}

fn misses(field: &Field) -> u8 {
    field.state(1).0.expect("it was asked").misses
}

#[test]
fn a_phone_that_answers_with_garbage_has_not_answered() {
    let (mut field, asked) = probed(3);
    let good = asked.response(200);
    let garbage = [
        "HELLO there, this is no SIP at all".to_owned(),
        good.replace("SIP/2.0 200", "SIP/2.0 99"),
        good.replace("SIP/2.0 200", "SIP/3.0 200"),
        good.replace("CSeq: ", "CSeq: x"),
        good.replace("OPTIONS", "INVITE"),
        good.replace("Via: ", "Via: SIP/2.0/UDP h, "),
        good.replace("From: ", "Nobody: "),
        good.replace("z9hG4bK", "z9hG4bk"),
        good[..good.len() / 2].to_owned(),
        "\r\n\r\n".to_owned(),
        "OPTIONS sip:h SIP/2.0\r\n\r\n".to_owned(),
    ];
    let answered = field.counters().probes_answered;
    for text in &garbage {
        assert!(field.give(addr(A), text).is_none(), "{text}");
    }
    let counters = field.counters();
    assert_eq!(counters.probes_answered, answered);
    let dropped = |reason| counters.dropped(reason);
    assert_eq!(
        dropped(DropReason::StrayResponse)
            + dropped(DropReason::Unparseable)
            + dropped(DropReason::NoReturnPath)
            + dropped(DropReason::Keepalive),
        garbage.len() as u64
    );
    field.pass(5);
    assert_eq!(misses(&field), 1);
    field.pass_until(60, |field| !field.is_reachable(1));
}

#[test]
fn a_forged_answer_is_counted_and_changes_nothing() {
    let (mut field, asked) = probed(3);
    let good = asked.response(200);
    let branch = asked.branch();
    // `z9hG4bK-op-`, two digits of the shard, eight of the slot, eight of the number, the tag.
    let with = |from: usize, digits: &str| {
        let mut other = branch.to_owned();
        other.replace_range(from..from + digits.len(), digits);
        good.replace(branch, &other)
    };
    let other_tag = if branch.ends_with('0') { "1" } else { "0" };
    let number = asked.header("CSeq").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    let next = with(21, &format!("{:08x}", number + 1));
    let next = next.replace(&format!("CSeq: {number}"), &format!("CSeq: {}", number + 1));
    let answered = field.counters().probes_answered;
    for (text, source) in [
        (with(branch.len() - 1, other_tag), A),
        (next, A),
        (with(13, "ffffffff"), A),
        (with(11, "7f"), A),
        (good.clone(), "203.0.113.66:5060"),
    ] {
        assert!(field.give(addr(source), &text).is_none());
    }
    let counters = field.counters();
    assert_eq!(counters.probe_answers_forged, 2);
    assert_eq!(counters.probe_answers_gone, 1);
    assert_eq!(counters.dropped(DropReason::StrayResponse), 1, "no such shard");
    assert_eq!(counters.probe_answers_elsewhere, 1);
    assert_eq!(counters.probes_answered, answered);
    // The right one still counts, by another port of the same host too.
    assert!(field.give(addr("192.0.2.1:9"), &good).is_none());
    assert_eq!(field.counters().probes_answered, answered + 1);
    field.give(addr(A), &good);
    assert_eq!(field.counters().probe_answers_repeated, 1);
}

#[test]
fn an_answer_to_an_old_probe_or_of_a_binding_that_left_is_none() {
    let (mut field, first) = probed(3);
    field.pass_until(60, |field| !field.is_reachable(1));
    field.give(addr(A), &first.response(200));
    assert_eq!(field.counters().probe_answers_old, 1);
    assert!(!field.is_reachable(1));
    let last = field.asked.last().unwrap().clone();
    let mut phone = Phone::new(1, "a", A);
    phone.cseq = 10;
    let text = phone.request(&[("Contact", "*"), ("Expires", "0")]);
    let response = field.ask(addr(A), &text);
    phone.take_challenge(&response);
    let text = phone.request(&[("Contact", "*"), ("Expires", "0")]);
    assert_eq!(field.ask(addr(A), &text).status, 200);
    field.give(addr(A), &last.response(200));
    assert_eq!(field.counters().probe_answers_gone, 1);
    // Whoever has the slot now is not who was asked then.
    field.phone(1, "b", B);
    field.pass_until(21, |field| field.probes_of(B) == 1);
    field.give(addr(A), &last.response(200));
    assert_eq!(field.counters().probe_answers_forged, 1);
}

#[test]
fn thousands_of_bindings_at_one_address_are_asked_one_by_one() {
    const PHONES: u32 = 2000;
    const PBX: &str = "192.0.2.9:5060";
    let base = options(Liveness { interval_s: Some(10), ..liveness() });
    let mut field = Field::new(3, &Options { accounts: PHONES, ..base });
    for number in 1..=PHONES {
        field.phone(number, "line", PBX);
    }
    field.step = Duration::from_millis(5);
    field.pass(11);
    field.take_asked();
    field.pass(10);
    let users: BTreeSet<&str> =
        field.asked.iter().map(|asked| asked.header("To").unwrap()).collect();
    assert_eq!(users.len(), PHONES as usize, "each of them is asked by its own name");
    let most = steps(&field.asked).into_iter().max().unwrap();
    assert!(most <= 3 * PHONES as usize / 2000, "smeared: {most} in one step of 2000");
    // A flood of ICMP reports about the address is a probe of one of them, not of all.
    field.pass(6);
    field.take_asked();
    let before = field.counters().probes_urgent;
    for _ in 0..1000 {
        field.icmp(PBX);
    }
    assert!(field.counters().probes_urgent - before <= 3, "at most one of each shard");
    field.alive.remove(&addr(PBX));
    field.pass(40);
    assert_eq!(field.counters().unreachable, u64::from(PHONES));
}

/// How many were asked in each step.
fn steps(asked: &[Asked]) -> Vec<usize> {
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for one in asked {
        *counts.entry(one.at).or_default() += 1;
    }
    counts.into_values().collect()
}

#[test]
fn an_address_that_cannot_be_sent_to_is_not() {
    let mut field = Field::new(1, &options(liveness()));
    let source: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let mut phone = Phone::new(1, "a", "192.0.2.1:5060");
    field.give(source, &phone.register(60));
    field.pass(60);
    assert!(field.asked.is_empty());
}
