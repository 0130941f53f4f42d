//! What a SUBSCRIBE gets: subscriptions that begin, go on and end (RFC 6665 4.2.1, RFC 3680 4).

use aorta::config::Registrar as Config;
use aorta::limits::SUBSCRIPTIONS_PER_AOR_MAX;
use aorta::reg_event::{EndReason, Refusal, Settings};
use aorta::registrar::{LeaveReason, Which};

use crate::world::{AOR, Subscriber, World};
use crate::{DESK, state, watched, watcher};

#[test]
fn a_refresh_prolongs_and_is_told_everything_rfc_6665_4_2_1_2() {
    let (mut world, mut w) = watched(1);
    world.register(&DESK, 600);
    world.one_heard();
    w.source = "203.0.113.9:6666".parse().unwrap();
    w.target = "sip:w@203.0.113.9:6666".into();
    let accepted = world.subscribe(&mut w, Some(120)).unwrap();
    assert_eq!(accepted.expires_s, 120);
    let sent = world.one_heard();
    assert_eq!((sent.to, &sent.notification.request_uri), (w.source, &w.target));
    assert!(sent.notification.document.full);
    assert_eq!(sent.notification.document.version, 2);
    assert_eq!(state(&sent), "active;expires=120");
    let end = world.pass(130.0);
    assert_eq!(state(end.last().unwrap()), "terminated;reason=timeout");
    assert!(world.table.is_empty());
}

#[test]
fn expires_0_ends_it_with_a_last_notify_rfc_6665_4_2_1_4() {
    let (mut world, mut w) = watched(1);
    let accepted = world.subscribe(&mut w, Some(0)).unwrap();
    assert_eq!(accepted.expires_s, 0);
    // A retransmission of it meets the same answer while the last NOTIFY is on its way.
    assert!(world.subscribe_again(&mut w, Some(0)).unwrap().retransmission);
    let sent = world.one();
    assert_eq!(state(&sent), "terminated;reason=timeout");
    assert!(sent.notification.document.full);
    assert_eq!(world.subscribe(&mut w, Some(60)), Err(Refusal::UnknownDialog));
    world.answer(&sent, 200);
    assert!(world.table.is_empty());
    assert_eq!(world.table.counters().ended, 1);
    assert_eq!(world.subscribe(&mut w, Some(60)), Err(Refusal::UnknownDialog));
}

#[test]
fn a_fetch_is_one_notify_rfc_6665_4_4_3() {
    let mut world = World::new(1);
    world.register(&DESK, 600);
    let accepted = world.subscribe(&mut watcher(), Some(0)).unwrap();
    assert_eq!(accepted.expires_s, 0);
    let sent = world.one_heard();
    assert_eq!(state(&sent), "terminated;reason=timeout");
    assert_eq!(sent.notification.document.gists(), ["active registered sip:a@192.0.2.1:5060"]);
    assert!(world.table.is_empty());
    assert_eq!(world.pass(100.0).len(), 0);
}

#[test]
fn durations_have_a_minimum_a_maximum_and_a_default_rfc_3680_4_4() {
    let mut world = World::new(1);
    let mut nth = 0;
    let mut ask = |expires| {
        nth += 1;
        world.subscribe(&mut Subscriber::new(&format!("w{nth}"), "192.0.2.5:1"), expires)
    };
    assert_eq!(ask(None).unwrap().expires_s, 3761);
    assert_eq!(ask(Some(60)).unwrap().expires_s, 60);
    assert_eq!(ask(Some(59)), Err(Refusal::IntervalTooBrief { min_expires_s: 60 }));
    assert_eq!(ask(Some(u32::MAX)).unwrap().expires_s, 86_400);
    // A refresh that asks for too little changes nothing.
    let (mut world, mut w) = watched(1);
    assert_eq!(
        world.subscribe(&mut w, Some(1)),
        Err(Refusal::IntervalTooBrief { min_expires_s: 60 })
    );
    assert_eq!(world.poll().len(), 0);
    assert_eq!(world.table.len(), 1);
}

#[test]
fn requests_of_a_dialog_keep_their_order_rfc_3261_12_2_2() {
    let (mut world, mut w) = watched(1);
    world.subscribe(&mut w, Some(600)).unwrap();
    world.one_heard();
    assert!(world.subscribe_again(&mut w, Some(600)).unwrap().retransmission);
    assert_eq!(world.poll().len(), 0, "a retransmission is told nothing");
    w.cseq -= 1;
    assert_eq!(world.subscribe_again(&mut w, Some(600)), Err(Refusal::StaleCSeq));
}

#[test]
fn a_request_of_a_dialog_that_is_not_there_is_481_rfc_3261_12_2_2() {
    let (mut world, w) = watched(1);
    let change: [&dyn Fn(&mut Subscriber); 5] = [
        &|w| w.to_tag = Some("0123456789abcdef".into()),
        &|w| w.to_tag = Some("x".into()),
        &|w| w.call_id.push('x'),
        &|w| w.from_tag.push('x'),
        &|w| w.headers = "Event: reg;id=2\r\n".into(),
    ];
    for change in change {
        let mut other = w.clone();
        change(&mut other);
        assert_eq!(world.subscribe(&mut other, Some(600)), Err(Refusal::UnknownDialog));
    }
    assert_eq!(world.table.len(), 1);
}

#[test]
fn a_retransmitted_subscribe_makes_one_subscription() {
    let mut world = World::new(1);
    let mut w = watcher();
    let first = world.subscribe(&mut w, Some(600)).unwrap();
    w.to_tag = None;
    let again = world.subscribe_again(&mut w, Some(600)).unwrap();
    assert!(again.retransmission);
    assert_eq!((again.expires_s, again.local_tag), (first.expires_s, first.local_tag));
    assert_eq!((world.table.len(), world.poll().len()), (1, 1));
}

#[test]
fn who_may_not_watch_is_refused_rfc_3680_4_6() {
    let mut world = World::new(1);
    let mut stranger = Subscriber { permitted: false, ..watcher() };
    assert_eq!(world.subscribe(&mut stranger, Some(600)), Err(Refusal::Forbidden));
    assert_eq!((world.table.len(), world.table.next_deadline()), (0, None));
}

#[test]
fn subscriptions_are_limited_and_the_old_ones_stay() {
    let mut world = World::new(1);
    for nth in 0..SUBSCRIPTIONS_PER_AOR_MAX {
        let mut w = Subscriber::new(&format!("w{nth}"), "192.0.2.5:1");
        world.subscribe(&mut w, Some(600)).unwrap();
    }
    let refused = world.subscribe(&mut Subscriber::new("x", "192.0.2.5:1"), Some(600)).unwrap_err();
    assert_eq!(refused, Refusal::TooManySubscriptions { retry_after_s: 60 });
    assert_eq!(refused.status(), 500, "a 503 would forbid the phone its REGISTER too");
    assert_eq!(world.poll().len(), SUBSCRIPTIONS_PER_AOR_MAX);

    let settings = Settings { subscriptions_max: 1, ..Settings::default() };
    let mut world = World::with(Config::default(), settings);
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    let refused = world.subscribe(&mut Subscriber::new("x", "192.0.2.5:1"), Some(600));
    assert!(matches!(refused, Err(Refusal::TooManySubscriptions { .. })));
}

#[test]
fn the_end_of_an_aor_ends_its_subscriptions_with_the_reason_rfc_6665_4_1_3() {
    for (reason, word) in [
        (EndReason::NoResource, "noresource"),
        (EndReason::Deactivated, "deactivated"),
        (EndReason::Rejected, "rejected"),
        (EndReason::Giveup, "giveup"),
        (EndReason::Probation, "probation"),
    ] {
        let (mut world, _) = watched(1);
        world.register(&DESK, 600);
        world.pass(1.0);
        world.force_out(Which::All, LeaveReason::AccountRemoved);
        assert_eq!(world.table.end(AOR, reason), 1);
        assert_eq!(world.table.end(AOR, EndReason::Timeout), 0, "the first reason stays");
        let sent = world.one_heard();
        assert_eq!(state(&sent), format!("terminated;reason={word}"));
        let gists = sent.notification.document.gists();
        assert_eq!(gists, ["terminated rejected sip:a@192.0.2.1:5060"]);
        assert!(world.table.is_empty());
    }
}
