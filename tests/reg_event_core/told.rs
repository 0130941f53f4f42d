//! What watchers are told, and when: documents and pace (RFC 3680 4.7, 4.10, 5).

use std::time::Duration;

use aorta::flow::Transport;
use aorta::registrar::{LeaveReason, Which};

use crate::document;
use crate::world::{AOR, Phone, Subscriber, World};
use crate::{DESK, MOBILE, state, watched, watcher};

#[test]
fn the_first_notify_follows_at_once_with_everything_rfc_3680_4_7() {
    let mut world = World::new(4);
    world.register(&DESK, 600);
    world.pass(10.0);
    let mut w = watcher();
    let accepted = world.subscribe(&mut w, Some(1800)).unwrap();
    assert_eq!((accepted.expires_s, accepted.retransmission), (1800, false));
    let sent = world.one();
    let notify = &sent.notification;
    assert_eq!(notify.request_uri, w.target);
    assert_eq!(sent.to, w.source);
    assert_eq!(notify.header("Call-ID"), w.call_id);
    assert_eq!(notify.header("CSeq"), "1 NOTIFY");
    assert_eq!(notify.header("From"), format!("<sip:a@example.com>;tag={}", w.to_tag.unwrap()));
    assert_eq!(notify.header("To"), format!("<sip:a@example.com>;tag={}", w.from_tag));
    assert_eq!(notify.header("Event"), "reg");
    assert_eq!(notify.header("Contact"), "<sip:192.0.2.200:5060>");
    assert_eq!(state(&sent), "active;expires=1800");
    let document = &notify.document;
    assert_eq!((document.version, document.full), (0, true));
    assert_eq!((&*document.aor, &*document.state), ("sip:a@example.com", "active"));
    let contact = &document.contacts[0];
    assert_eq!(document.gists(), ["active registered sip:a@192.0.2.1:5060"]);
    for (name, value) in [
        ("duration-registered", "10"),
        ("expires", "590"),
        ("q", "0.500"),
        ("callid", "desk"),
        ("cseq", "1"),
    ] {
        assert_eq!(contact.attribute(name), value, "{name}");
    }
    assert_eq!(contact.params["+sip.instance"], "\"<urn:uuid:1>\"");
}

#[test]
fn an_aor_without_contacts_is_in_init_rfc_3680_4_7_1() {
    let mut world = World::new(1);
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    let document = world.one_heard().notification.document;
    assert_eq!((&*document.state, document.contacts.len(), document.full), ("init", 0, true));
}

#[test]
fn each_change_is_told_partially_with_its_event_rfc_3680_5_1() {
    let (mut world, _) = watched(2);
    let tell = |world: &mut World, version: u32, state: &str, gists: &[&str]| {
        let document = world.one_heard().notification.document;
        assert_eq!((document.version, document.full), (version, false));
        assert_eq!(
            (document.state.as_str(), document.gists()),
            (state, gists.iter().map(|g| (*g).to_string()).collect())
        );
        world.pass(6.0);
        document.contacts[0].attribute("id").to_owned()
    };
    world.register(&DESK, 600);
    let desk = tell(&mut world, 1, "active", &["active registered sip:a@192.0.2.1:5060"]);
    world.register(&DESK, 600);
    let again = tell(&mut world, 2, "active", &["active refreshed sip:a@192.0.2.1:5060"]);
    assert_eq!(desk, again, "the id of a contact stays");
    world.register(&MOBILE, 60);
    tell(&mut world, 3, "active", &["active registered sip:a@198.51.100.2:6000"]);
    world.register(&DESK, 0);
    let gone = tell(&mut world, 4, "active", &["terminated unregistered sip:a@192.0.2.1:5060"]);
    assert_eq!(desk, gone);
    let expired = world.pass(60.0);
    let document = &expired[0].notification.document;
    assert_eq!((document.version, document.state.as_str()), (5, "terminated"));
    assert_eq!(document.gists(), ["terminated expired sip:a@198.51.100.2:6000"]);
    world.register(&DESK, 600);
    let back = tell(&mut world, 6, "active", &["active registered sip:a@192.0.2.1:5060"]);
    assert_ne!(desk, back, "another registration of the same URI is another contact");
}

#[test]
fn a_kick_is_rejected_and_stands_with_the_newcomer_in_one_notify() {
    let (mut world, _) = watched(1);
    world.register(&DESK, 600);
    world.pass(6.0);
    world.register(&MOBILE, 600);
    let document = world.one_heard().notification.document;
    assert_eq!(
        document.gists(),
        ["terminated rejected sip:a@192.0.2.1:5060", "active registered sip:a@198.51.100.2:6000"]
    );
}

#[test]
fn what_an_operator_or_the_end_of_an_account_takes_away_is_rejected() {
    for reason in [LeaveReason::ForcedUnregister, LeaveReason::AccountRemoved] {
        let (mut world, _) = watched(1);
        world.register(&DESK, 600);
        world.pass(6.0);
        world.force_out(Which::All, reason);
        let document = world.one_heard().notification.document;
        assert_eq!(document.gists(), ["terminated rejected sip:a@192.0.2.1:5060"]);
        assert_eq!(document.state, "terminated");
    }
}

#[test]
fn a_device_that_moves_to_another_contact_is_one_that_goes_and_one_that_comes() {
    let (mut world, _) = watched(1);
    world.register(&DESK, 600);
    world.pass(6.0);
    let moved = Phone { contact: "sip:a@192.0.2.1:7777", ..DESK };
    world.register(&moved, 600);
    let document = world.one_heard().notification.document;
    assert_eq!(
        document.gists(),
        ["terminated unregistered sip:a@192.0.2.1:5060", "active registered sip:a@192.0.2.1:7777"]
    );
    // There and back within one interval is no change of the contact that is there.
    world.register(&DESK, 600);
    world.register(&moved, 600);
    let sent = world.pass(6.0);
    let gists = sent[0].notification.document.gists();
    assert_eq!(
        gists,
        ["terminated unregistered sip:a@192.0.2.1:5060", "active registered sip:a@192.0.2.1:7777"]
    );
}

#[test]
fn notifies_about_changes_keep_five_seconds_apart_rfc_3680_4_10() {
    let (mut world, _) = watched(8);
    world.register(&DESK, 600);
    let first = world.one_heard();
    let mut contacts = 1;
    for second in 0..20 {
        let contact = format!("sip:a@192.0.2.{}:5060", 10 + second % 7);
        world.register(&Phone::new(&contact, "192.0.2.77:5060"), 600);
        contacts += usize::from(second < 7);
        world.pass(1.0);
    }
    let sent: Vec<_> = world.sent.iter().filter(|sent| sent.at >= first.at).collect();
    assert!(sent.len() >= 4, "{}", sent.len());
    for pair in sent.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart >= Duration::from_secs(5), "{apart:?}");
        assert!(apart < Duration::from_millis(5200), "{apart:?}");
    }
    // Of each contact one thing, the last one.
    let last = &sent.last().unwrap().notification.document;
    assert!(last.contacts.len() <= contacts);
}

#[test]
fn a_contact_that_came_and_was_refreshed_in_one_interval_has_come() {
    let (mut world, _) = watched(2);
    world.register(&DESK, 600);
    world.one_heard();
    world.register(&MOBILE, 600);
    world.register(&MOBILE, 600);
    world.register(&DESK, 600);
    let sent = world.pass(6.0);
    assert_eq!(
        sent[0].notification.document.gists(),
        ["active registered sip:a@198.51.100.2:6000", "active refreshed sip:a@192.0.2.1:5060"]
    );
}

#[test]
fn a_device_hears_of_its_own_kick_at_once_whatever_its_pace() {
    for connected in [false, true] {
        let mut world = World::new(1);
        let mut own = Subscriber::new("own", "192.0.2.1:5060");
        if connected {
            own = own.on_connection(4, Transport::Tls);
        }
        let mut other = watcher();
        world.register(&DESK, 600);
        world.subscribe(&mut own, Some(600)).unwrap();
        world.subscribe(&mut other, Some(600)).unwrap();
        for sent in world.poll() {
            world.answer(&sent, 200);
        }
        // Within the interval of both; the kicked device hears it now, the other later.
        world.register(&MOBILE, 600);
        let sent = world.one_heard();
        assert_eq!((sent.to, sent.flow), (own.source, own.flow));
        let gists = sent.notification.document.gists();
        assert_eq!(gists[0], "terminated rejected sip:a@192.0.2.1:5060");
        assert_eq!(world.table.counters().urgent, 1);
        // Its connection is closed then, and with it goes the subscription.
        if let Some(id) = own.flow.connection() {
            assert!(world.table.uses(id));
            assert_eq!(world.table.flow_closed(id), 1);
        }
        let later = world.pass(6.0);
        assert_eq!(later.len(), 1);
        assert_eq!(later[0].to, other.source);
        assert_eq!(later[0].notification.document.gists(), gists);
    }
}

#[test]
fn what_nobody_watches_is_not_noted() {
    let mut world = World::new(1);
    world.register(&DESK, 600);
    assert_eq!(world.table.next_deadline(), None);
    assert_eq!(world.poll().len(), 0);
}

#[test]
fn contacts_that_find_no_room_follow_in_partial_documents() {
    let mut world = World::new(64);
    // 64 of the longest contacts, half of whose bytes take five in XML.
    let long = |nth: u32| format!("sip:{nth}{}@192.0.2.1", "&a".repeat(245));
    let call_id = "&".repeat(256);
    let contacts: Vec<_> = (100..164).map(long).collect();
    for contact in &contacts {
        let phone = Phone { call_id: &call_id, ..Phone::new(contact, "192.0.2.1:5060") };
        assert!(world.register(&phone, 600));
    }
    world.subscribe(&mut watcher(), Some(600)).unwrap();
    let mut model = document::Watcher::default();
    let mut documents = 0;
    while model.contacts.len() < contacts.len() {
        let sent = world.one_heard();
        let document = &sent.notification.document;
        assert_eq!(document.full, documents == 0);
        assert_eq!(document.version, documents);
        model.take(document);
        documents += 1;
        assert!(documents < 10);
    }
    assert!(documents > 1, "one document would not have been enough");
    assert!(model.contacts.values().map(|c| &c.uri).all(|uri| contacts.contains(uri)));
    assert_eq!(world.poll().len(), 0);
    // As many departures do not fit either: what stands there is what counts.
    world.unregister_all(&Phone { call_id: "other", ..DESK });
    world.register(&DESK, 600);
    for sent in world.pass(30.0) {
        model.take(&sent.notification.document);
    }
    let left: Vec<_> = model.contacts.values().map(|c| c.uri.as_str()).collect();
    assert_eq!(left, [DESK.contact]);
}

#[test]
fn more_changes_than_are_kept_are_told_by_a_full_document() {
    let (mut world, _) = watched(64);
    world.register(&DESK, 600);
    let unanswered = world.one();
    for nth in 0..200 {
        let contact = format!("sip:a@192.0.2.1:{}", 1000 + nth);
        world.register(&Phone::new(&contact, "192.0.2.1:5060"), 600);
    }
    for nth in 0..150 {
        let contact = format!("sip:a@192.0.2.1:{}", 1000 + nth);
        world.register(&Phone::new(&contact, "192.0.2.1:5060"), 0);
    }
    world.pass_unheard(6.0);
    world.answer(&unanswered, 200);
    let sent = world.one_heard();
    assert!(sent.notification.document.full);
    let bound = world.registrar.bindings(AOR, world.now).count();
    let there = sent.notification.document.contacts.iter();
    assert_eq!(there.filter(|c| c.attribute("state") == "active").count(), bound);
}

#[test]
fn a_contact_provided_with_the_account_is_created_and_has_no_end_rfc_3680_5_1() {
    let (mut world, _) = watched(1);
    world.provide(&["sip:door@192.0.2.50"]);
    let document = world.one_heard().notification.document;
    assert_eq!(document.gists(), ["active created sip:door@192.0.2.50"]);
    for absent in ["expires", "callid", "cseq"] {
        assert!(!document.contacts[0].attributes.contains_key(absent), "{absent}");
    }
    world.pass(6.0);
    world.provide(&[]);
    let document = world.one_heard().notification.document;
    assert_eq!(document.gists(), ["terminated rejected sip:door@192.0.2.50"]);
}

#[test]
fn a_phone_that_has_gruus_is_shown_with_its_public_one_rfc_5628_5() {
    let (mut world, _) = watched(2);
    world.register(&Phone { gruu: true, ..DESK }, 600);
    world.register(&MOBILE, 600);
    let document = world.one_heard().notification.document;
    let gruus: Vec<_> = document.contacts.iter().map(|c| c.pub_gruu.as_deref()).collect();
    assert_eq!(gruus, [Some("sip:a@example.com;gr=urn:uuid:1"), None]);
}

#[test]
fn what_its_late_margin_keeps_does_not_look_as_if_it_had_ended() {
    let (mut world, mut w) = watched(1);
    world.register(&DESK, 60);
    world.one_heard();
    world.pass(62.0);
    world.subscribe(&mut w, Some(600)).unwrap();
    let document = world.one_heard().notification.document;
    assert_eq!(document.gists(), ["active registered sip:a@192.0.2.1:5060"]);
    assert_eq!(document.contacts[0].attribute("expires"), "1");
    let expired = world.pass(6.0);
    let gists = expired[0].notification.document.gists();
    assert_eq!(gists, ["terminated expired sip:a@192.0.2.1:5060"]);
}
