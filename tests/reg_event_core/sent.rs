//! How a NOTIFY travels: route, repetition, answers (RFC 3261 12.2.1.1, 17.1.2; RFC 6665 4.2.2).

use aorta::flow::{ConnectionId, Transport};

use crate::world::{Subscriber, World};
use crate::{DESK, MOBILE, watcher};

#[test]
fn a_kick_does_not_wait_for_the_answer_to_the_notify_before() {
    let mut world = World::new(1);
    let mut own = Subscriber::new("own", "192.0.2.1:5060");
    world.register(&DESK, 600);
    world.subscribe(&mut own, Some(600)).unwrap();
    let first = world.one();
    world.register(&MOBILE, 600);
    let kick = world.one();
    // The one before may have been lost, so this one says everything.
    let document = &kick.notification.document;
    assert_eq!((document.version, document.full), (1, true));
    assert_eq!(
        document.gists(),
        ["terminated rejected sip:a@192.0.2.1:5060", "active registered sip:a@198.51.100.2:6000"]
    );
    world.answer(&first, 200);
    assert_eq!(world.table.counters().stray_answers, 1);
    world.answer(&kick, 200);
    assert_eq!(world.pass_unheard(40.0).len(), 0, "nothing is sent again");
}

#[test]
fn a_subscriber_that_moves_gets_what_was_on_its_way_at_its_new_place() {
    let mut world = World::new(1);
    let mut w = watcher();
    world.subscribe(&mut w, Some(600)).unwrap();
    world.one();
    w.source = "203.0.113.9:6666".parse().unwrap();
    world.subscribe(&mut w, Some(600)).unwrap();
    let sent = world.one_heard();
    assert_eq!((sent.to, sent.notification.cseq()), (w.source, 2));
    assert_eq!(world.pass_unheard(40.0).len(), 0);
}

#[test]
fn a_notify_is_sent_again_until_timer_f_ends_the_subscription_rfc_3261_17_1_2() {
    let mut world = World::new(1);
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    let sent = world.pass_unheard(40.0);
    let at: Vec<_> = sent.iter().map(|sent| sent.at.as_secs_f64().round()).collect();
    assert_eq!(at, [0.0, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0]);
    assert!(sent.iter().all(|again| again.bytes == sent[0].bytes), "byte for byte the same");
    assert!(world.table.is_empty());
    assert_eq!(world.table.counters().timed_out, 1);
    world.answer(&sent[0], 200);
    assert_eq!(world.table.counters().stray_answers, 1);
}

#[test]
fn over_a_connection_it_is_sent_once_and_timer_f_ends_it() {
    let mut world = World::new(1);
    let mut w = watcher().on_connection(1, Transport::Tcp);
    world.subscribe(&mut w, Some(600)).unwrap();
    assert!(world.one().notification.header("Via").starts_with("SIP/2.0/TCP 192.0.2.200:5060;"));
    assert_eq!(world.pass_unheard(31.0).len(), 0);
    assert_eq!(world.table.len(), 1);
    assert_eq!(world.pass_unheard(2.0).len(), 0);
    assert!(world.table.is_empty());
}

#[test]
fn a_provisional_answer_slows_the_repetition_rfc_3261_17_1_2_2() {
    let mut world = World::new(1);
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    let sent = world.one();
    world.answer(&sent, 100);
    assert_eq!(world.pass_unheard(4.2).len(), 1);
    assert_eq!(world.pass_unheard(4.0).len(), 1);
}

#[test]
fn changes_wait_for_the_answer_to_the_notify_before() {
    let mut world = World::new(2);
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    let first = world.one();
    world.register(&DESK, 600);
    let again = world.pass_unheard(10.0);
    assert!(again.iter().all(|sent| sent.notification.cseq() == 1));
    world.answer(&first, 200);
    let next = world.one();
    assert_eq!((next.notification.cseq(), next.notification.document.version), (2, 1));
}

#[test]
fn an_answer_that_refuses_ends_the_subscription_rfc_6665_4_2_2() {
    for (status, headers) in [
        (481, ""),
        (481, "Retry-After: 10\r\n"),
        (408, ""),
        (302, ""),
        (401, ""),
        (500, ""),
        (503, "Retry-After: 100000\r\n"),
        (603, ""),
    ] {
        let mut world = World::new(1);
        world.subscribe(&mut watcher(), Some(600)).unwrap();
        let sent = world.one();
        world.answer_with(&sent, status, headers);
        assert!(world.table.is_empty(), "{status}");
        assert_eq!(world.table.counters().failed, 1);
        assert_eq!(world.pass_unheard(60.0).len(), 0);
    }
}

#[test]
fn an_answer_with_retry_after_is_obeyed_a_few_times_rfc_6665_4_2_2() {
    let mut world = World::new(1);
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    world.register(&DESK, 600);
    let mut last = world.one();
    for nth in 1..=5 {
        world.answer_with(&last, 503, "Retry-After: 10\r\n");
        assert_eq!(world.pass_unheard(9.9).len(), 0);
        let sent = world.pass_unheard(0.3);
        assert_eq!(sent.len(), 1);
        let document = &sent[0].notification.document;
        assert_eq!((document.version, document.full), (nth, true));
        last = sent[0].clone();
    }
    world.answer_with(&last, 503, "Retry-After: 10\r\n");
    assert!(world.table.is_empty());
}

#[test]
fn answers_of_others_and_of_old_notifies_change_nothing() {
    let mut world = World::new(1);
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    let sent = world.one();
    let mut answer = aorta::reg_event::Answer {
        branch: aorta::reg_event::Branch::parse(
            sent.notification
                .header("Via")
                .split("branch=")
                .nth(1)
                .unwrap()
                .split(';')
                .next()
                .unwrap()
                .as_bytes(),
        )
        .unwrap(),
        status: 481,
        retry_after_s: None,
    };
    let right = answer.branch;
    answer.branch.shard ^= 1;
    world.table.on_response(world.now, &answer);
    answer.branch = right;
    answer.branch.cseq += 1;
    world.table.on_response(world.now, &answer);
    answer.branch = right;
    answer.branch.tag.0 ^= 1;
    world.table.on_response(world.now, &answer);
    assert_eq!((world.table.len(), world.table.counters().stray_answers), (1, 3));
    answer.branch = right;
    world.table.on_response(world.now, &answer);
    assert!(world.table.is_empty());
}

#[test]
fn a_closed_connection_takes_its_subscriptions_and_no_others() {
    let mut world = World::new(1);
    for (name, slot) in [("x", 1), ("y", 1), ("z", 2)] {
        let w = Subscriber::new(name, "192.0.2.5:1");
        world.subscribe(&mut w.on_connection(slot, Transport::Wss), Some(600)).unwrap();
    }
    let id = |slot, generation| ConnectionId { reactor: 0, slot, generation };
    assert_eq!(world.table.flow_closed(id(1, 2)), 0);
    assert_eq!(world.table.flow_closed(id(1, 1)), 2);
    assert_eq!(world.table.len(), 1);
    let sent = world.one_heard();
    assert_eq!(sent.flow.connection(), Some(id(2, 1)));
    assert_eq!(sent.notification.header("Contact"), "<sip:192.0.2.200:5060;transport=ws>");
}

#[test]
fn a_connection_that_a_subscription_leaves_is_told_once() {
    let mut world = World::new(1);
    let id = |slot| ConnectionId { reactor: 0, slot, generation: 1 };
    let left = |world: &mut World| world.table.take_left().collect::<Vec<_>>();
    let mut w = Subscriber::new("w", "192.0.2.5:1").on_connection(1, Transport::Tcp);
    world.subscribe(&mut w, Some(600)).unwrap();
    assert_eq!(left(&mut world), []);
    // The dialog goes on over another connection, then ends there.
    let mut w = w.on_connection(2, Transport::Tcp);
    world.subscribe(&mut w, Some(600)).unwrap();
    assert_eq!(left(&mut world), [id(1)]);
    assert_eq!(world.table.flow_closed(id(2)), 1);
    assert_eq!(left(&mut world), [id(2)]);
    assert_eq!(left(&mut world), []);
}

#[test]
fn the_route_set_is_that_of_the_subscribe_rfc_3261_12_1_1() {
    let mut world = World::new(1);
    let mut w = watcher();
    w.headers = "Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\nEvent: reg;id=77\r\n".into();
    world.subscribe(&mut w, Some(600)).unwrap();
    let notify = world.one_heard().notification;
    assert_eq!(notify.request_uri, w.target);
    assert!(notify.all("Route").eq(["<sip:p2;lr>", "<sip:p1;lr>"]));
    assert_eq!(notify.header("Event"), "reg;id=77");
    // A proxy without `lr` is addressed itself (RFC 3261 12.2.1.1).
    let mut w = Subscriber::new("s", "192.0.2.5:1");
    w.headers = "Record-Route: <sip:p2>\r\nRecord-Route: <sip:p1;lr>\r\n".into();
    world.subscribe(&mut w, Some(600)).unwrap();
    let notify = world.one_heard().notification;
    assert_eq!(notify.request_uri, "sip:p2");
    assert!(notify.all("Route").eq(["<sip:p1;lr>", "<sip:s@192.0.2.5:1>"]));
}
