//! Patterns of many events as an attack and as honest phones make them, on one shard and on
//! several: what is an alert, and what never is.

mod common;

#[path = "common/desk.rs"]
mod desk;

use std::net::SocketAddr;

use aorta::config::{Alerts, Guard};
use aorta::guard::events::Wanted;
use aorta::guard::{Kinds, SecurityKind, SecurityRecord};
use aorta::shard::control::{Control, Reply};
use aorta::shard::events::EventsAsked;

use common::Phone;
use common::cluster::Options;
use desk::{Desk, each_way, source};

/// A cluster that watches for patterns and limits nobody.
fn watched(change: impl Fn(&mut Alerts)) -> Options {
    let mut alerts = Alerts::default();
    change(&mut alerts);
    Options { guard: Guard { alerts, ..Guard::off() }, accounts: 600, ..Options::default() }
}

fn from(third: u8, fourth: u8) -> SocketAddr {
    SocketAddr::new([198, 51, third, fourth].into(), 5060)
}

fn register(desk: &mut Desk, phone: &mut Phone, from: SocketAddr, expires: u32) -> u16 {
    let mut status = 0;
    for _ in 0..2 {
        let response = desk.ask_from(from, &phone.register(expires));
        status = response.status;
        if status != 401 {
            break;
        }
        phone.take_challenge(&response);
    }
    desk.cluster.orders();
    status
}

/// Wrong passwords until the account is suspended for that source.
fn guess(desk: &mut Desk, number: u32, from: SocketAddr, times: u32) {
    for _ in 0..times {
        let mut phone = Phone::new(number, "guesser", "guesser.test:5070");
        phone.password = "guess".into();
        register(desk, &mut phone, from, 60);
    }
}

fn alerts(desk: &mut Desk) -> Vec<SecurityRecord> {
    let now = desk.cluster.now;
    let wanted = Wanted { kinds: SecurityKind::ALERTS, ..Wanted::default() };
    let mut all = Vec::new();
    for shard in &mut desk.cluster.shards {
        let asked = EventsAsked { wanted: wanted.clone(), ..EventsAsked::default() };
        let Reply::SecurityEvents(page) = shard.control(now, Control::SecurityEvents(asked)) else {
            panic!("a page")
        };
        assert!(!page.more);
        all.extend(page.items);
    }
    all
}

fn counted(desk: &Desk, kind: SecurityKind) -> u64 {
    desk.cluster.shards.iter().map(|shard| shard.guard().journal().counted(kind)).sum()
}

#[test]
fn suspensions_of_many_accounts_are_one_alert_whichever_shards_have_them() {
    let options = watched(|alerts| alerts.suspensions = Some(5));
    each_way(&options, |desk| {
        for number in 1..5 {
            guess(desk, number, source(), 6);
        }
        // The same once more, from elsewhere: no other account.
        guess(desk, 4, from(100, 1), 6);
        assert_eq!(alerts(desk), []);
        guess(desk, 5, source(), 6);
        let [alert] = &alerts(desk)[..] else { panic!("one alert") };
        assert_eq!(alert.kind, SecurityKind::ManySuspensions);
        assert!(alert.source.is_unspecified(), "not from one source alone");
        for number in 6..20 {
            guess(desk, number, source(), 6);
        }
        assert_eq!(counted(desk, SecurityKind::ManySuspensions), 1, "not again within the window");
        assert_eq!(counted(desk, SecurityKind::Suspended), 20);
    });
    each_way(&watched(|alerts| alerts.suspensions = None), |desk| {
        (1..30).for_each(|number| guess(desk, number, source(), 6));
        assert_eq!(alerts(desk), []);
    });
}

#[test]
fn one_account_tried_from_many_sources_is_an_alert_and_names_it() {
    each_way(&watched(|_| {}), |desk| {
        for host in 0..40 {
            guess(desk, 7, from(host, 1), 1);
            guess(desk, 100 + u32::from(host), from(host, 1), 1);
        }
        let [alert] = &alerts(desk)[..] else { panic!("one alert") };
        assert_eq!(alert.kind, SecurityKind::ManySources);
        assert_eq!(alert.account.as_str(), "u7@example.com");
        assert!(!alert.user_agent.is_empty());
        // A name without an account has no place in the table.
        for host in 0..40 {
            guess(desk, 9999, from(host, 1), 1);
        }
        assert_eq!(alerts(desk).len(), 1);
    });
}

#[test]
fn one_password_used_everywhere_is_an_alert_and_a_phone_on_the_move_is_none() {
    each_way(&watched(|_| {}), |desk| {
        let mut mobile = Phone::new(3, "mobile", "mobile.test:5070");
        for _ in 0..20 {
            for host in 0..4 {
                assert_eq!(register(desk, &mut mobile, from(host, 9), 3600), 200);
                desk.pass(61);
            }
        }
        assert_eq!(alerts(desk), []);
        for host in 0..20 {
            let mut phone = Phone::new(4, &format!("d{host}"), "device.test:5070");
            assert_eq!(register(desk, &mut phone, from(host, 9), 3600), 200);
        }
        let kinds: Vec<_> = alerts(desk).into_iter().map(|one| (one.kind, one.account)).collect();
        let [(SecurityKind::ManySources, account)] = &kinds[..] else { panic!("{kinds:?}") };
        assert_eq!(account.as_str(), "u4@example.com");
    });
}

#[test]
fn a_phone_that_registers_all_the_time_is_an_alert_and_one_that_refreshes_is_none() {
    each_way(&watched(|_| {}), |desk| {
        let mut rapid = Phone::new(3, "rapid", "rapid.test:5070");
        let mut usual = Phone::new(4, "usual", "usual.test:5070");
        let mut pinging = Phone::new(5, "pinging", "pinging.test:5070");
        // One that comes and goes is no better.
        let mut comes = Phone::new(6, "comes", "comes.test:5070");
        for round in 0..120u32 {
            for _ in 0..2 {
                assert_eq!(register(desk, &mut rapid, source(), 3600), 200);
                assert_eq!(register(desk, &mut comes, source(), 3600), 200);
                assert_eq!(register(desk, &mut comes, source(), 0), 200);
            }
            if round % 6 == 0 {
                // As often as its registration asks, if it is short.
                assert_eq!(register(desk, &mut usual, source(), 60), 200);
            }
            if round % 6 == 0 {
                // Some keep their NAT open so.
                assert_eq!(register(desk, &mut pinging, source(), 3600), 200);
            }
            desk.pass(5);
        }
        let alerts = alerts(desk);
        let mut accounts: Vec<_> = alerts.iter().map(|one| one.account.as_str()).collect();
        accounts.sort_unstable();
        assert_eq!(accounts, ["u3@example.com", "u6@example.com"]);
        assert!(alerts.iter().all(|one| one.kind == SecurityKind::RapidRegistration));
    });
}

#[test]
fn an_office_that_reboots_and_phones_of_one_account_are_no_alert() {
    let mut options = watched(|_| {});
    options.registrar.bindings_max = 64;
    each_way(&options, |desk| {
        for boot in 0..3 {
            for number in 1..=500 {
                let mut phone = Phone::new(number, "desk", "desk.test:5070");
                phone.call_id = format!("{number}-{boot}");
                assert_eq!(register(desk, &mut phone, source(), 3600), 200);
            }
            // A hunt group on one account.
            for device in 0..60 {
                let host = format!("d{device}.test:5070");
                let mut phone = Phone::new(501, &format!("d{device}-{boot}"), &host);
                assert_eq!(register(desk, &mut phone, source(), 3600), 200);
            }
            desk.pass(30);
        }
        assert_eq!(alerts(desk), []);
    });
}

#[test]
fn what_happens_in_networks_that_are_trusted_is_no_alert() {
    let mut options = watched(|_| {});
    options.guard.trusted = vec!["198.51.0.0/16".parse().unwrap()];
    each_way(&options, |desk| {
        for host in 0..40 {
            guess(desk, 7, from(host, 1), 1);
            guess(desk, u32::from(host) + 8, from(1, 1), 6);
        }
        assert_eq!(alerts(desk), []);
        assert_eq!(counted(desk, SecurityKind::Suspended), 40, "which hold there as anywhere");
    });
}

/// Memory of what is listed is bounded by the number of kinds and of records, whatever comes.
#[test]
fn a_flood_of_events_leaves_bounded_lists_and_true_counts() {
    const FLOOD: u32 = 3000;
    let mut options = watched(|_| {});
    options.auth.reply_unauthorized = false;
    each_way(&options, |desk| {
        for number in 0..FLOOD {
            let mut phone = Phone::new(10_000 + number, "kit", "kit.test:5070");
            phone.user_agent = format!("kit {number}");
            let [_, _, third, fourth] = number.to_be_bytes();
            assert!(desk.send_from(from(third, fourth), &phone.register(60)).is_none());
        }
        assert_eq!(counted(desk, SecurityKind::UnknownAccount), u64::from(FLOOD));
        let mut listed = 0;
        let now = desk.cluster.now;
        for shard in &mut desk.cluster.shards {
            let wanted = Wanted {
                kinds: Kinds::NONE.with(SecurityKind::UnknownAccount),
                ..Wanted::default()
            };
            let asked = EventsAsked { wanted, ..EventsAsked::default() };
            let order = Control::SecurityEvents(asked);
            let Reply::SecurityEvents(page) = shard.control(now, order) else { panic!("a page") };
            listed += page.items.len();
            assert!(page.items.is_sorted_by_key(|one| std::cmp::Reverse(one.change)));
        }
        assert!(listed <= 128 * desk.cluster.shards.len() && listed >= 128, "{listed}");
    });
}
