//! Phones that have agreed to be heard from (RFC 6223, RFC 5626 4.4): they are left in peace while
//! they are, and asked when they are not.

use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::{Registrar, Unreachable};

use crate::common::Phone;
use crate::common::cluster::Options;
use crate::field::{Field, liveness, options};
use crate::{A, B, addr};

/// What phones are told, and how much longer they may be silent.
const TOLD_S: u32 = 30;
const SILENCE_MAX_S: u64 = 40;

fn field(shards: u8, unreachable: Unreachable) -> Field {
    let base = options(aorta::config::Liveness { unreachable, ..liveness() });
    let registrar = Registrar { keep: true, flow_timer_s: TOLD_S, ..base.registrar.clone() };
    Field::new(shards, &Options { registrar, ..base })
}

/// A phone that offers to send keepalives, and is told how often.
fn keeping(field: &mut Field, number: u32, source: &str) -> Phone {
    let mut phone = Phone::new(number, "k", source);
    let source: SocketAddr = source.parse().unwrap();
    let register = |phone: &mut Phone| phone.register(3600).replace(";rport", ";rport;keep");
    let text = register(&mut phone);
    let response = field.ask(source, &text);
    assert!(phone.take_challenge(&response));
    let text = register(&mut phone);
    let response = field.ask(source, &text);
    let via = response.header("via").unwrap();
    assert!(response.status == 200 && via.contains(&format!(";keep={TOLD_S}")), "{via}");
    phone
}

#[test]
fn while_it_is_heard_it_is_left_in_peace() {
    for shards in [1, 3] {
        let mut field = field(shards, Unreachable::Keep);
        keeping(&mut field, 1, A);
        field.phone(2, "plain", B);
        for _ in 0..10 {
            field.pass(28);
            field.heard(A);
        }
        assert_eq!(field.probes_of(A), 0);
        assert!(field.probes_of(B) >= 13);
        let counters = field.counters();
        assert!(counters.probes_spared >= 13 && counters.keepalives_heard == 10);
        assert_eq!(counters.silent, 0);
        assert!(field.is_reachable(1));
    }
}

#[test]
fn its_silence_is_asked_about_at_once_and_counts_until_it_is_heard() {
    let mut field = field(3, Unreachable::Keep);
    keeping(&mut field, 1, A);
    field.heard(A);
    let asked = field.pass_until(60, |field| field.probes_of(A) == 1);
    assert!(asked > Duration::from_secs(SILENCE_MAX_S), "{asked:?}");
    assert!(asked < Duration::from_secs(SILENCE_MAX_S + 2), "{asked:?}");
    assert_eq!(field.counters().silent, 1);
    field.pass_until(60, |field| !field.is_reachable(1));
    // Its keepalive is as good as an answer.
    field.heard(A);
    assert!(field.is_reachable(1));
    assert_eq!(field.counters().reachable_again, 1);
    field.pass(5);
    field.take_asked();
    field.pass(30);
    assert_eq!(field.probes_of(A), 0, "in peace again");
}

#[test]
fn who_is_silent_and_answers_is_there() {
    let mut field = field(1, Unreachable::Remove);
    keeping(&mut field, 1, A);
    field.alive.insert(addr(A), 200);
    field.pass(200);
    assert!(field.probes_of(A) >= 7, "no longer spared");
    assert!(field.is_reachable(1));
}

#[test]
fn a_dead_phone_is_removed_where_that_is_set_and_no_longer_listened_for() {
    let mut field = field(1, Unreachable::Remove);
    keeping(&mut field, 1, A);
    field.pass_until(120, |field| field.bindings(1).is_empty());
    let heard = field.counters().keepalives_heard;
    field.heard(A);
    assert_eq!(field.counters().keepalives_heard, heard);
}

#[test]
fn one_keepalive_is_for_all_the_bindings_at_its_source() {
    let mut field = field(3, Unreachable::Keep);
    for number in 1..=20 {
        keeping(&mut field, number, A);
    }
    for _ in 0..5 {
        field.pass(28);
        field.heard(A);
    }
    assert_eq!(field.asked.len(), 0);
    field.pass_until(60, |field| field.counters().silent == 20);
    field.pass_until(60, |field| (1..=20).all(|number| !field.is_reachable(number)));
    field.heard(A);
    assert!((1..=20).all(|number| field.is_reachable(number)));
}

#[test]
fn who_no_longer_offers_it_is_asked_like_everybody() {
    let mut field = field(1, Unreachable::Keep);
    let mut phone = keeping(&mut field, 1, A);
    field.pass(10);
    field.register(&mut phone, addr(A), &[]);
    field.alive.insert(addr(A), 200);
    field.pass(21);
    assert!(field.probes_of(A) >= 1);
    field.pass(60);
    assert_eq!(field.counters().silent, 0);
}
