//! SUBSCRIBE through the shards: who may watch whom, which shard answers, how the answers to
//! NOTIFYs find the one that sent them. The same script whichever shard a message arrives at.

mod common;
#[path = "common/desk.rs"]
mod desk;
#[path = "reg_event_core/document.rs"]
mod document;
#[path = "common/watcher.rs"]
mod watcher;

use std::net::SocketAddr;

use aorta::config::Registrar;
use aorta::shard::control::Control;
use aorta::shard::refused::RefuseReason;

use common::cluster::{Options, Sent};
use common::{Phone, Response};
use desk::{Desk, each_way, registrar};
use document::Notification;
use watcher::Watcher;

fn options() -> Options {
    registrar(Registrar { expires_min_s: 1, late_margin_s: 0, ..Registrar::default() })
}

/// The NOTIFYs that leave now, each answered by whoever it went to.
fn heard(desk: &mut Desk) -> Vec<Notification> {
    let sent = desk.cluster.orders();
    sent.iter().map(|sent| answer(desk, sent, 200)).collect()
}

/// Those that leave while time passes.
fn wait(desk: &mut Desk, seconds: u32) -> Vec<Notification> {
    let mut told = Vec::new();
    for _ in 0..seconds {
        desk.pass(1);
        told.extend(heard(desk));
    }
    told
}

fn answer(desk: &mut Desk, sent: &Sent, status: u16) -> Notification {
    let notification = Notification::parse(&sent.bytes);
    let answer = notification.answer(status, "");
    assert!(desk.send_from(sent.to, &answer).is_none(), "an answer is not answered");
    notification
}

fn ask(desk: &mut Desk, watcher: &mut Watcher, expires: u32) -> Response {
    let response = desk.ask(&watcher.subscribe(expires));
    watcher.take(&response);
    response
}

/// A watcher of its own account that has passed the challenge.
fn subscribed(desk: &mut Desk, phone: &Phone) -> Watcher {
    let mut watcher = Watcher::new(phone);
    assert_eq!(ask(desk, &mut watcher, 600).status, 401);
    assert_eq!(ask(desk, &mut watcher, 600).status, 200);
    watcher
}

#[test]
fn a_phone_watches_its_own_registration_to_the_end() {
    each_way(&options(), |desk| {
        let mut phone = desk.registered(1, "desk", 600);
        let mut watcher = subscribed(desk, &phone);
        let first = heard(desk).remove(0);
        assert_eq!(first.header("Subscription-State"), "active;expires=600");
        assert_eq!(first.header("Contact"), "<sip:example.com>");
        let expected = format!("active registered {}", phone.contact);
        assert_eq!(first.document.gists(), [expected]);

        // Kicked: told at once, and with it who came.
        let mut other = desk.phone(1, "other");
        assert_eq!(desk.ask(&other.register(600)).status, 200);
        let kicked = heard(desk).remove(0).document;
        assert_eq!((kicked.version, kicked.full), (1, false));
        let gone = format!("terminated rejected {}", phone.contact);
        let came = format!("active registered {}", other.contact);
        assert_eq!(kicked.gists(), [gone, came]);

        // What follows keeps the pace.
        assert_eq!(desk.ask(&other.register(0)).status, 200);
        assert_eq!(heard(desk).len(), 0);
        let gone = format!("terminated unregistered {}", other.contact);
        let unregistered = wait(desk, 6).remove(0).document;
        assert_eq!((unregistered.gists(), &*unregistered.state), (vec![gone], "terminated"));
        assert_eq!(wait(desk, 6).len(), 0);

        assert_eq!(desk.ask(&phone.register(30)).status, 200);
        assert_eq!(heard(desk).len(), 1);
        let gone = format!("terminated expired {}", phone.contact);
        let expired = wait(desk, 40);
        assert_eq!((expired.len(), expired[0].document.gists()), (1, vec![gone]));

        let response = ask(desk, &mut watcher, 0);
        assert_eq!((response.status, response.header("expires")), (200, Some("0")));
        let last = heard(desk).remove(0);
        assert_eq!(last.header("Subscription-State"), "terminated;reason=timeout");
        assert!(desk.cluster.shards.iter().all(|shard| shard.subscriptions().is_empty()));
        let counters = desk.counters();
        assert_eq!((counters.subscribed, counters.notify_answers), (2, 6));
        assert_eq!(ask(desk, &mut watcher, 600).status, 481);
    });
}

#[test]
fn a_retransmitted_subscribe_is_answered_the_same_and_notified_once() {
    each_way(&options(), |desk| {
        let phone = desk.registered(1, "desk", 600);
        let mut watcher = Watcher::new(&phone);
        ask(desk, &mut watcher, 600);
        let request = watcher.subscribe(600);
        let first = desk.text(&request);
        assert_eq!(desk.text(&request), first);
        assert_eq!(heard(desk).len(), 1);
        assert_eq!(desk.text(&request), first);
        assert_eq!(heard(desk).len(), 0);
        assert_eq!(desk.counters().retransmissions, 2);
        // The same nonce count under another request is a replay.
        let replay = request.replace("Call-ID: ", "Call-ID: other-");
        let response = desk.ask(&replay);
        assert_eq!(response.status, 401);
        assert!(response.header("www-authenticate").unwrap().contains("stale=true"));
    });
}

#[test]
fn nobody_watches_another_account_unless_his_network_may_rfc_3680_4_6() {
    each_way(&options(), |desk| {
        let phone = desk.registered(1, "desk", 600);
        let mut stranger = Watcher::new(&desk.phone(2, "stranger"));
        stranger.aor = "sip:u1@example.com".into();
        assert_eq!(ask(desk, &mut stranger, 600).status, 401);
        assert_eq!(ask(desk, &mut stranger, 600).status, 403);
        let mut guesser = Watcher::new(&phone);
        guesser.phone.password = "guess".into();
        assert_eq!(ask(desk, &mut guesser, 600).status, 401);
        assert_eq!(ask(desk, &mut guesser, 600).status, 401);
        assert_eq!(heard(desk).len(), 0);
    });
    let watchers = vec!["203.0.113.0/24".parse().unwrap()];
    each_way(&registrar(Registrar { watchers, ..Registrar::default() }), |desk| {
        let phone = desk.registered(1, "desk", 600);
        let mut server = Watcher::new(&Phone::new(9, "server", "203.0.113.7:5060"));
        server.aor = "sip:u1@example.com".into();
        let from: SocketAddr = "203.0.113.7:5060".parse().unwrap();
        assert_eq!(desk.ask_from(from, &server.subscribe(600)).status, 200);
        let told = heard(desk).remove(0);
        assert_eq!(told.document.gists(), [format!("active registered {}", phone.contact)]);
        // An account that is not there is told apart only to those who may see all.
        server.aor = "sip:nobody@example.com".into();
        server.call_id.push('2');
        assert_eq!(desk.ask_from(from, &server.subscribe(600)).status, 404);
        assert_eq!(desk.counters().refused(RefuseReason::UnknownUser), 1);
        server.call_id.push('3');
        assert_eq!(desk.ask(&server.subscribe(600)).status, 401);
    });
}

#[test]
fn refusals_say_what_would_be_accepted() {
    each_way(&options(), |desk| {
        let phone = desk.registered(1, "desk", 600);
        let mut watcher = subscribed(desk, &phone);
        heard(desk);
        let mut refused = |change: &dyn Fn(&mut Watcher), expires, header: &str| {
            let mut other = watcher.clone();
            other.to_tag = None;
            other.call_id.push('x');
            change(&mut other);
            let response = desk.ask(&other.subscribe(expires));
            watcher.nc = other.nc;
            watcher.cseq = other.cseq;
            (response.status, response.header(header).map(str::to_owned))
        };
        let bad_event = refused(&|w| w.event = "presence".into(), 600, "allow-events");
        assert_eq!(bad_event, (489, Some("reg".into())));
        let accept = |w: &mut Watcher| w.headers = "Accept: text/plain\r\n".into();
        let expected = (406, Some("application/reginfo+xml".into()));
        assert_eq!(refused(&accept, 600, "accept"), expected);
        assert_eq!(refused(&|_| (), 59, "min-expires"), (423, Some("60".into())));
        let dialog = |w: &mut Watcher| w.to_tag = Some("0123456789abcdef".into());
        assert_eq!(refused(&dialog, 600, "x").0, 481);
        let require = |w: &mut Watcher| w.headers = "Require: eventlist\r\n".into();
        assert_eq!(refused(&require, 600, "unsupported"), (420, Some("eventlist".into())));
        assert_eq!(refused(&|w| w.host = "elsewhere.test".into(), 600, "x").0, 404);
        let reasons = [
            RefuseReason::BadEvent,
            RefuseReason::NotAcceptable,
            RefuseReason::SubscriptionTooBrief,
            RefuseReason::NoDialog,
            RefuseReason::Extension,
            RefuseReason::ForeignDomain,
        ];
        for reason in reasons {
            assert_eq!(desk.counters().refused(reason), 1, "{}", reason.name());
        }
        assert_eq!(heard(desk).len(), 0);
    });
}

#[test]
fn the_dialog_has_the_route_it_came_by_rfc_3261_12_1_1() {
    each_way(&options(), |desk| {
        let phone = desk.registered(1, "desk", 600);
        let mut watcher = Watcher::new(&phone);
        watcher.host = "example.com:5070".into();
        watcher.headers = "Record-Route: <sip:p2;lr>\r\nRecord-Route: <sip:p1;lr>\r\n".into();
        ask(desk, &mut watcher, 600);
        let response = ask(desk, &mut watcher, 600);
        assert!(response.all("record-route").eq(["<sip:p2;lr>", "<sip:p1;lr>"]));
        assert_eq!(response.header("contact"), Some("<sip:example.com:5070>"));
        let notification = heard(desk).remove(0);
        assert!(notification.all("Route").eq(["<sip:p2;lr>", "<sip:p1;lr>"]));
        assert!(notification.header("Via").starts_with("SIP/2.0/UDP example.com:5070;"));
    });
}

#[test]
fn what_nobody_answers_is_sent_again_and_what_is_refused_ends() {
    each_way(&options(), |desk| {
        let phone = desk.registered(1, "desk", 600);
        subscribed(desk, &phone);
        let first = desk.cluster.orders().remove(0);
        desk.pass(1);
        let again = desk.cluster.orders().remove(0);
        assert_eq!(again, first);
        answer(desk, &again, 481);
        desk.pass(10);
        assert_eq!(heard(desk).len(), 0);
        assert!(desk.cluster.shards.iter().all(|shard| shard.subscriptions().is_empty()));
        // An answer nobody waits for reaches the shard it names, and nothing comes of it.
        answer(desk, &again, 200);
        let stray: u64 =
            desk.cluster.shards.iter().map(|s| s.subscriptions().counters().stray_answers).sum();
        assert_eq!(stray, 1);
    });
}

#[test]
fn without_the_package_subscribe_is_no_method_here() {
    let off = registrar(Registrar { reg_event: false, ..Registrar::default() });
    each_way(&off, |desk| {
        let phone = desk.registered(1, "desk", 600);
        let response = desk.ask(&Watcher::new(&phone).subscribe(600));
        let allow = Some("REGISTER, OPTIONS");
        assert_eq!((response.status, response.header("allow")), (405, allow));
        assert_eq!(response.header("allow-events"), None);
    });
    each_way(&options(), |desk| {
        let mut phone = desk.registered(1, "desk", 600);
        let response = desk.ask(&phone.register(600));
        assert_eq!(response.header("allow-events"), Some("reg"));
    });
}

#[test]
fn an_account_that_goes_ends_what_watches_it_with_noresource() {
    each_way(&options(), |at| {
        let phone = at.registered(1, "desk", 600);
        subscribed(at, &phone);
        heard(at);
        let now = at.cluster.now;
        for shard in &mut at.cluster.shards {
            shard.control(now, Control::BeginAccounts);
            shard.control(now, Control::EndAccounts);
        }
        let last = heard(at).remove(0);
        assert_eq!(last.header("Subscription-State"), "terminated;reason=noresource");
        assert_eq!(last.document.gists(), [format!("terminated rejected {}", phone.contact)]);
        assert!(at.cluster.shards.iter().all(|shard| shard.subscriptions().is_empty()));
    });
}
