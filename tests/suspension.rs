//! Suspension as senders meet it: who is refused, who never is, and that names without an account
//! are treated alike. One shard and several, wherever datagrams arrive.

mod common;

#[path = "common/desk.rs"]
mod desk;
#[path = "common/watcher.rs"]
mod watcher;

use std::net::SocketAddr;

use aorta::auth::suspension::{Cause, End};
use aorta::config::{self, AccountAuthentication, AccountPolicy};
use aorta::shard::control::{Configuration, Control, NewAccount, Reply};
use aorta::shard::refused::RefuseReason;
use aorta::shard::suspend::{Change, SuspensionEvent, SuspensionItem};

use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way, source};
use watcher::Watcher;

fn elsewhere() -> SocketAddr {
    "198.51.100.9:40000".parse().unwrap()
}

/// A phone of `u<number>` that has another password than its account.
fn guesser(number: u32) -> Phone {
    let mut phone = Phone::new(number, "guesser", "guesser.test:5070");
    phone.password = "guess".into();
    phone
}

/// Is challenged, and answers wrongly, as often as said. Returns the last response.
fn guess(desk: &mut Desk, phone: &mut Phone, from: SocketAddr, times: u32) -> Response {
    let mut last = None;
    for _ in 0..times {
        phone.challenge = None;
        let response = desk.ask_from(from, &phone.register(60));
        assert_eq!(response.status, 401);
        assert!(phone.take_challenge(&response));
        last = Some(desk.ask_from(from, &phone.register(60)));
    }
    last.expect("a guess at least")
}

/// A registration from the first request on.
fn register(desk: &mut Desk, number: u32, from: SocketAddr) -> u16 {
    let mut phone = Phone::new(number, "owner", "owner.test:5070");
    let response = desk.ask_from(from, &phone.register(600));
    assert!(phone.take_challenge(&response));
    desk.ask_from(from, &phone.register(600)).status
}

fn suspended(desk: &mut Desk) -> Vec<SuspensionItem> {
    let mut items = Vec::new();
    let now = desk.cluster.now;
    for shard in &mut desk.cluster.shards {
        let mut after = None;
        loop {
            let order = Control::ListSuspensions { after, items_max: 2 };
            let Reply::Suspensions(page) = shard.control(now, order) else { panic!("a page") };
            assert!(page.items.len() <= 2);
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    items
}

#[test]
fn six_wrong_passwords_suspend_the_account_for_their_source_and_for_no_other() {
    each_way(&Options::default(), |desk| {
        let mut attacker = guesser(3);
        assert_eq!(guess(desk, &mut attacker, elsewhere(), 5).status, 401);
        assert_eq!(guess(desk, &mut attacker, elsewhere(), 1).status, 403);
        // The right password is not looked at any more.
        attacker.password = "p3".into();
        let before = desk.counters();
        assert_eq!(guess(desk, &mut attacker, elsewhere(), 1).status, 403);
        assert_eq!(desk.counters().bad_password, before.bad_password);
        assert_eq!(desk.counters().authenticated, before.authenticated);
        // Its owner, from anywhere else; and his neighbour, from the same address.
        assert_eq!(register(desk, 3, source()), 200);
        assert_eq!(register(desk, 4, elsewhere()), 200);
        assert_eq!(desk.counters().suspensions, 1);
        assert_eq!(desk.counters().refused(RefuseReason::Suspended), 2);
        // It ends by itself, and the count is zero then.
        desk.pass(180);
        assert_eq!(desk.counters().suspensions_ended, 1);
        attacker.password = "guess".into();
        assert_eq!(guess(desk, &mut attacker, elsewhere(), 5).status, 401);
        assert_eq!(register(desk, 3, elsewhere()), 200);
        assert_eq!(guess(desk, &mut attacker, elsewhere(), 5).status, 401, "a success zeroes");
    });
}

#[test]
fn what_is_registered_stays_registered_while_its_source_is_suspended() {
    each_way(&Options::default(), |desk| {
        desk.registered(3, "a", 600);
        guess(desk, &mut guesser(3), source(), 6);
        assert_eq!(register(desk, 3, source()), 403);
        assert_eq!(desk.bound(3).len(), 1);
        desk.pass(200);
        assert_eq!(desk.bound(3).len(), 1);
        assert_eq!(register(desk, 3, source()), 200);
    });
}

/// Status, phrase and headers of each answer to the same behaviour, nonces and tags left out.
fn story(desk: &mut Desk, number: u32, from: SocketAddr) -> Vec<String> {
    let mut phone = guesser(number);
    phone.user = format!("u{number:04}x");
    if number <= 20 {
        phone.user = format!("u{number}");
    }
    let mut told = Vec::new();
    for _ in 0..9 {
        for challenged in [false, true] {
            if !challenged {
                phone.challenge = None;
            }
            let response = desk.ask_from(from, &phone.register(60));
            phone.take_challenge(&response);
            let headers = response.headers.iter().map(|(name, value)| match &**name {
                "www-authenticate" => {
                    let (before, rest) = value.split_once("nonce=\"").expect("a nonce");
                    let (nonce, after) = rest.split_once('"').expect("its end");
                    format!("{name}: {before}{}{after}", nonce.len())
                }
                "via" | "cseq" | "call-id" | "content-length" => format!("{name}: {}", value.len()),
                _ => name.clone(),
            });
            let headers: Vec<String> = headers.collect();
            told.push(format!("{} {} {headers:?}", response.status, response.reason));
        }
    }
    told
}

#[test]
fn names_without_an_account_are_suspended_alike_in_status_and_content() {
    each_way(&Options::default(), |desk| {
        let known = story(desk, 3, elsewhere());
        let unknown = story(desk, 21, elsewhere());
        let digits = |story: &[String]| -> Vec<String> {
            // The names are not of one length, and neither is what repeats them.
            story.iter().map(|line| line.replace(|c: char| c.is_ascii_digit(), "")).collect()
        };
        assert_eq!(digits(&known), digits(&unknown));
        assert!(known.iter().any(|line| line.starts_with("403")));
        let statuses = |story: &[String]| -> Vec<String> {
            story.iter().map(|line| line[..3].to_owned()).collect()
        };
        assert_eq!(statuses(&known), statuses(&unknown));
        assert_eq!((desk.counters().suspensions, desk.counters().suspensions_unknown), (1, 1));
        let items = suspended(desk);
        let names: Vec<bool> = items.iter().map(|item| item.aor.is_some()).collect();
        assert_eq!(names.iter().filter(|&&named| named).count(), 1);
    });
}

#[test]
fn a_retransmitted_wrong_answer_counts_once() {
    each_way(&Options::default(), |desk| {
        let mut phone = guesser(3);
        phone.take_challenge(&desk.ask(&phone.clone().register(60)));
        let request = phone.register(60);
        for _ in 0..11 {
            assert_eq!(desk.ask(&request).status, 401);
        }
        assert_eq!(guess(desk, &mut phone, source(), 4).status, 401);
        assert_eq!(guess(desk, &mut phone, source(), 1).status, 403);
    });
}

#[test]
fn a_phone_with_a_stale_nonce_never_counts() {
    let auth = config::Auth { nonce_lifetime_s: 30, ..config::Auth::default() };
    each_way(&Options { auth, ..Options::default() }, |desk| {
        for _ in 0..20 {
            let mut phone = desk.phone(3, "a");
            desk.pass(31);
            let response = desk.ask(&phone.register(60));
            assert!(response.header("www-authenticate").is_some_and(|v| v.contains("stale=true")));
        }
        // Nor does whoever sends what was meant for another source, or made up a nonce.
        let mut phone = desk.phone(3, "b");
        phone.password = "guess".into();
        for _ in 0..20 {
            assert_eq!(desk.ask_from(elsewhere(), &phone.register(60)).status, 401);
        }
        phone.challenge.as_mut().expect("one").nonce = "bWFkZSB1cCBieSBtZQ".into();
        for _ in 0..20 {
            assert_eq!(desk.ask(&phone.register(60)).status, 401);
        }
        assert_eq!(desk.counters().suspensions, 0);
        assert_eq!((register(desk, 3, source()), register(desk, 3, elsewhere())), (200, 200));
    });
}

#[test]
fn a_made_up_nonce_tells_nobody_whether_a_password_is_right() {
    each_way(&Options::default(), |desk| {
        let mut answers = Vec::new();
        for (number, password) in [(3, "p3"), (3, "guess"), (99, "p99")] {
            let mut phone = Phone::new(number, "a", "a.test:5070");
            phone.password = password.into();
            phone.take_challenge(&desk.ask(&phone.clone().register(60)));
            phone.challenge.as_mut().expect("one").nonce = "bWFkZSB1cCBieSBtZQ".into();
            let response = desk.ask(&phone.register(60));
            let challenge = response.header("www-authenticate").expect("a challenge");
            answers.push((response.status, challenge.contains("stale=true"), challenge.len()));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    });
}

#[test]
fn subscribe_counts_as_any_other_method_and_is_refused_as_well() {
    let suspension = config::Suspension { checks_max: 4, ..Default::default() };
    let auth = config::Auth { suspension, ..config::Auth::default() };
    each_way(&Options { auth, ..Options::default() }, |desk| {
        let mut watcher = Watcher::new(&guesser(3));
        for number in 0..4 {
            watcher.challenge = None;
            let challenged = desk.ask(&watcher.subscribe(600));
            watcher.take(&challenged);
            let response = desk.ask(&watcher.subscribe(600));
            assert_eq!(response.status, if number < 3 { 401 } else { 403 }, "{number}");
        }
        assert_eq!(register(desk, 3, source()), 403);
        assert_eq!(register(desk, 3, elsewhere()), 200);
        let items = suspended(desk);
        assert_eq!(items.len(), 1);
        assert_eq!((items[0].cause, items[0].left_s), (Cause::Checks, Some(180)));
    });
}

#[test]
fn the_session_ends_first_where_its_limit_is_lower_and_the_suspension_where_that_is() {
    let with = |retry_max, registers_max| {
        let suspension = config::Suspension { registers_max, ..config::Suspension::default() };
        Options {
            auth: config::Auth { retry_max, suspension, ..config::Auth::default() },
            ..Options::default()
        }
    };
    // In one chain of challenges, each answered wrongly.
    let chain = |desk: &mut Desk| {
        let mut phone = guesser(3);
        phone.take_challenge(&desk.ask(&phone.clone().register(60)));
        let tries = (1..).find(|_| {
            let response = desk.ask(&phone.register(60));
            !phone.take_challenge(&response)
        });
        tries.expect("it ends")
    };
    each_way(&with(3, 6), |desk| {
        assert_eq!(chain(desk), 3, "403 of the session");
        assert_eq!(desk.counters().refused(RefuseReason::TooManyTries), 1);
        assert_eq!(chain(desk), 3, "of the suspension");
        assert_eq!(desk.counters().refused(RefuseReason::Suspended), 1);
        assert_eq!(chain(desk), 1);
    });
    each_way(&with(999, 4), |desk| {
        assert_eq!(chain(desk), 4);
        assert_eq!(desk.counters().refused(RefuseReason::Suspended), 1);
        assert_eq!(chain(desk), 1);
    });
}

#[test]
fn whoever_needs_no_password_is_never_suspended() {
    let policy = AccountPolicy {
        authentication: AccountAuthentication::Either,
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        ..AccountPolicy::default()
    };
    each_way(&Options { policies: vec![(3, policy)], ..Options::default() }, |desk| {
        let mut phone = guesser(3);
        guess(desk, &mut phone, elsewhere(), 6);
        assert_eq!(desk.ask_from(elsewhere(), &phone.register(60)).status, 403);
        assert_eq!(desk.ask(&phone.register(60)).status, 200, "from its own network");
    });
}

#[test]
fn an_operator_lifts_a_suspension_for_one_source_or_for_all() {
    each_way(&Options::default(), |desk| {
        let sources: Vec<SocketAddr> =
            (1..=5).map(|n| format!("203.0.113.{n}:40000").parse().unwrap()).collect();
        for &from in &sources {
            guess(desk, &mut guesser(3), from, 6);
        }
        guess(desk, &mut guesser(4), sources[0], 6);
        assert_eq!(suspended(desk).len(), 6);
        let lift = |desk: &mut Desk, source| {
            let now = desk.cluster.now;
            let mut lifted = 0;
            for shard in &mut desk.cluster.shards {
                let mut after = None;
                loop {
                    let aor = "u3@example.com".to_owned();
                    let order = Control::LiftSuspension { aor, source, after };
                    let Reply::Lifted(one) = shard.control(now, order) else { panic!("lifted") };
                    lifted += one.lifted;
                    let ended = shard.suspension_events();
                    assert_eq!(ended.len(), one.lifted);
                    assert!(ended.iter().all(|e| e.change == Change::Ended(End::Lifted)));
                    after = one.next;
                    if after.is_none() {
                        break;
                    }
                }
            }
            lifted
        };
        assert_eq!(lift(desk, Some(sources[1].ip())), 1);
        assert_eq!(register(desk, 3, sources[1]), 200);
        assert_eq!(register(desk, 3, sources[2]), 403);
        assert_eq!(lift(desk, None), 4);
        assert_eq!(register(desk, 3, sources[2]), 200);
        assert_eq!(lift(desk, None), 0);
        assert_eq!(suspended(desk).len(), 1);
        assert_eq!(register(desk, 4, sources[0]), 403);
    });
}

#[test]
fn a_suspension_survives_reloads_and_keeps_the_time_it_began_with() {
    each_way(&Options::default(), |desk| {
        guess(desk, &mut guesser(3), elsewhere(), 6);
        let now = desk.cluster.now;
        let give = |desk: &mut Desk, order: Control| {
            for shard in &mut desk.cluster.shards {
                while matches!(shard.control(now, order.clone()), Reply::Accounts(c) if c.more) {}
            }
        };
        // All accounts go, and u3 comes back.
        give(desk, Control::BeginAccounts);
        give(desk, Control::EndAccounts);
        assert_eq!(register(desk, 3, elsewhere()), 403);
        let ha1s = aorta::auth::Ha1s::from_password("u3@example.com", "p3", true);
        let account = NewAccount { aor: "u3@example.com".into(), ha1s, policy: None };
        for shard in &mut desk.cluster.shards {
            if shard.owns(b"u3@example.com") {
                shard.control(now, Control::PutAccounts(vec![account.clone()]));
            }
        }
        let suspension =
            config::Suspension { registers_time_s: 60, registers: false, ..Default::default() };
        let configuration = Configuration {
            registrar: config::Registrar::default(),
            auth: config::Auth { suspension, ..config::Auth::default() },
            guard: config::Guard::off(),
            nat: config::Nat::default(),
            liveness: config::Liveness::default(),
            networks: Default::default(),
            domains: vec![config::Domain {
                name: "example.com".into(),
                algorithms: config::Algorithms::MD5,
                aliases: Vec::new(),
            }],
        };
        give(desk, Control::Configure(configuration.into()));
        desk.pass(179);
        assert_eq!(register(desk, 3, elsewhere()), 403);
        desk.pass(1);
        assert_eq!(register(desk, 3, elsewhere()), 200);
    });
}

#[test]
fn beginning_and_end_leave_the_shard_as_values() {
    each_way(&Options::default(), |one| {
        guess(one, &mut guesser(3), elsewhere(), 6);
        let events = |desk: &Desk| -> Vec<SuspensionEvent> {
            desk.cluster.shards.iter().flat_map(|s| s.suspension_events().to_vec()).collect()
        };
        let begun = events(one);
        assert_eq!(begun.len(), 1);
        assert_eq!(begun[0].aor.as_deref(), Some(&b"u3@example.com"[..]));
        assert_eq!((begun[0].source, begun[0].known), (elsewhere().ip(), true));
        assert!(matches!(begun[0].change, Change::Begun { .. }));
        one.pass(180);
        let ended = events(one);
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].aor, begun[0].aor);
        assert_eq!(ended[0].change, Change::Ended(End::Elapsed));
    });
}
