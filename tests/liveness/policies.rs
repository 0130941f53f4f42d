//! What becomes of a phone that does not answer, as the settings say.

use aorta::config::{Evict, Liveness, Registrar, Unreachable};
use aorta::shard::counters::DropReason;

use crate::common::Phone;
use crate::common::cluster::Options;
use crate::field::{Field, liveness, options};
use crate::{A, B, C, addr};

fn policy(unreachable: Unreachable) -> Liveness {
    Liveness { unreachable, ..liveness() }
}

#[test]
fn removed_it_leaves_for_that_reason() {
    for shards in [1, 3] {
        let mut field = Field::new(shards, &options(policy(Unreachable::Remove)));
        field.phone(1, "a", A);
        field.phone(1, "b", B);
        field.kill(A);
        field.pass_until(60, |field| field.bindings(1).len() == 1);
        assert_eq!(field.reachable(1), [(format!("sip:u1@{B}"), true)]);
        let counters = field.counters();
        assert_eq!((counters.removed_unreachable, counters.removed, counters.expired), (1, 0, 0));
        // Nothing is left of it: nobody is asked there again.
        field.pass(5);
        field.take_asked();
        field.pass(60);
        assert_eq!(field.probes_of(A), 0);
    }
}

#[test]
fn put_last_it_is_redirected_to_behind_all_that_answer() {
    for (unreachable, expected) in [
        (Unreachable::Keep, [(A, Some("q=0.900")), (B, Some("q=0.500"))]),
        (Unreachable::Deprioritise, [(B, Some("q=0.500")), (A, Some("q=0.000"))]),
    ] {
        let base = options(policy(unreachable));
        let registrar = Registrar { redirect: true, ..base.registrar.clone() };
        let mut field = Field::new(1, &Options { registrar, ..base });
        for (device, at, q) in [("a", A, "0.9"), ("b", B, "0.5")] {
            let mut phone = Phone::new(1, device, at);
            let contact = format!("<sip:u1@{at}>;q={q}");
            field.register(&mut phone, addr(at), &[]);
            let text = phone.request(&[("Contact", &contact), ("Expires", "3600")]);
            assert_eq!(field.ask(addr(at), &text).status, 200);
            field.alive.insert(addr(at), 200);
        }
        let listed = |field: &mut Field| -> Vec<String> {
            let invite = "INVITE sip:u1@example.com SIP/2.0\r\n\
                Via: SIP/2.0/UDP p.test;branch=z9hG4bKi;rport\r\nMax-Forwards: 70\r\n\
                From: <sip:c@h>;tag=1\r\nTo: <sip:u1@example.com>\r\nCall-ID: i\r\n\
                CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
            let response = field.ask(addr(C), invite);
            assert_eq!(response.status, 302);
            response.all("contact").map(str::to_owned).collect()
        };
        assert!(listed(&mut field)[0].starts_with(&format!("<sip:u1@{A}>;q=0.900")));
        field.kill(A);
        field.pass_until(60, |field| field.counters().unreachable == 1);
        let contacts = listed(&mut field);
        for (contact, (at, q)) in contacts.iter().zip(expected) {
            assert!(contact.starts_with(&format!("<sip:u1@{at}>;{}", q.unwrap())), "{contacts:?}");
        }
        // Where nobody answers, the order is what it was.
        field.kill(B);
        field.pass_until(60, |field| field.counters().unreachable == 2);
        let contacts = listed(&mut field);
        assert!(contacts[0].starts_with(&format!("<sip:u1@{A}>;q=0.900")), "{contacts:?}");
    }
}

#[test]
fn who_does_not_answer_makes_room_before_an_older_one_that_does() {
    let base = options(liveness());
    let registrar =
        Registrar { bindings_max: 2, evict: Evict::UnreachableFirst, ..base.registrar.clone() };
    let mut field = Field::new(3, &Options { registrar, ..base });
    field.phone(1, "a", A);
    field.phone(1, "b", B);
    field.kill(B);
    field.pass_until(60, |field| field.counters().unreachable == 1);
    field.phone(1, "c", C);
    let left = [(format!("sip:u1@{A}"), true), (format!("sip:u1@{C}"), true)];
    assert_eq!(field.reachable(1), left);
}

fn ignoring(unreachable: Unreachable) -> Field {
    let liveness = Liveness { ignore_silent_s: 300, unreachable, ..liveness() };
    Field::new(3, &options(liveness))
}

#[test]
fn whoever_never_answers_is_not_heard_for_a_while() {
    let mut field = ignoring(Unreachable::Remove);
    let mut tool = field.phone(1, "a", A);
    field.kill(A);
    field.pass_until(60, |field| field.bindings(1).is_empty());
    assert_eq!(field.counters().endpoints_ignored, 1);
    assert!(field.give(addr(A), &tool.register(3600)).is_none());
    assert!(field.give(addr("192.0.2.1:9"), &tool.register(3600)).is_none(), "any port");
    assert_eq!(field.counters().dropped(DropReason::NeverAnswers), 2);
    // From elsewhere, and others from there.
    field.phone(1, "b", B);
    field.phone(2, "c", "192.0.2.1:40009");
    field.pass(300);
    tool.challenge = None;
    field.register(&mut tool, addr(A), &[]);
}

#[test]
fn whoever_answered_once_is_no_flood_tool() {
    let mut field = ignoring(Unreachable::Remove);
    let mut phone = field.phone(1, "a", A);
    field.pass_until(21, |field| field.counters().probes_answered == 1);
    field.kill(A);
    field.pass_until(60, |field| field.bindings(1).is_empty());
    assert_eq!(field.counters().endpoints_ignored, 0);
    phone.challenge = None;
    field.register(&mut phone, addr(A), &[]);
}

#[test]
fn an_answer_after_all_ends_the_ignoring() {
    let mut field = ignoring(Unreachable::Keep);
    let mut phone = field.phone(1, "a", A);
    field.kill(A);
    field.pass_until(60, |field| !field.is_reachable(1));
    assert!(field.give(addr(A), &phone.register(3600)).is_none());
    field.alive.insert(addr(A), 200);
    field.pass_until(30, |field| field.is_reachable(1));
    field.register(&mut phone, addr(A), &[]);
}

#[test]
fn a_tool_that_registers_all_the_time_and_never_listens_is_found_out() {
    let mut field = ignoring(Unreachable::Keep);
    let mut tool = field.phone(1, "a", A);
    field.kill(A);
    let mut heard = 0;
    for _ in 0..60 {
        field.pass(1);
        let request = tool.register(3600);
        heard += u32::from(field.give(addr(A), &request).is_some());
    }
    assert_eq!(field.counters().endpoints_ignored, 1);
    assert!(field.counters().dropped(DropReason::NeverAnswers) > 10);
    assert!(heard > 10, "as long as it had not been asked twice");
    field.phone(1, "b", B);
}

#[test]
fn a_phone_that_refuses_the_check_is_no_flood_tool() {
    let liveness = Liveness {
        ignore_silent_s: 300,
        answer: aorta::config::LivenessAnswer::Success,
        ..liveness()
    };
    let mut field = Field::new(3, &options(liveness));
    let mut phone = field.phone(1, "a", A);
    field.alive.insert(addr(A), 405);
    field.pass_until(60, |field| !field.is_reachable(1));
    // It was turned off before it came back.
    field.kill(A);
    field.pass(60);
    assert_eq!(field.counters().endpoints_ignored, 0);
    field.register(&mut phone, addr(A), &[]);
}

#[test]
fn a_phone_beside_one_that_never_answers_is_not_shut_out_with_it() {
    let mut field = ignoring(Unreachable::Keep);
    let mut good = field.phone(1, "a", A);
    field.phone(1, "b", "192.0.2.1:40002");
    field.kill("192.0.2.1:40002");
    field.pass(60);
    assert_eq!(field.counters().unreachable, 1);
    assert_eq!(field.counters().endpoints_ignored, 0);
    field.register(&mut good, addr(A), &[]);
}
