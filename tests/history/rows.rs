//! The rows that a shard writes, against what phones did.

use std::net::SocketAddr;

use aorta::flow::Transport;
use aorta::limits::{HISTORY_PAGE_BYTES, HISTORY_REFUSED_ROWS_BURST};
use aorta::registrar::{Event, LeaveReason};
use aorta::shard::control::{Control, Reply};
use aorta::shard::history::{HistoryKind, HistoryPage, HistoryTaken, Recording};
use aorta::shard::registrations::Chosen;

use crate::common::Phone;
use crate::common::cluster::{Cluster, Options};
use crate::desk::{Desk, bindings_max, each_way, source};

const RECORDING: Recording = Recording { bytes_max: 1 << 20, refresh_every_s: Some(600) };

fn record(desk: &mut Desk, recording: Recording) {
    let now = desk.cluster.now;
    for shard in &mut desk.cluster.shards {
        shard.control(now, Control::RecordHistory(Some(recording)));
    }
}

/// A row, its account without the domain: kind, account, reason, seconds granted, count.
type Told = (HistoryKind, String, String, u32, u32);

/// What was recorded since the last time.
fn told(desk: &mut Desk) -> Vec<Told> {
    let now = desk.cluster.now;
    let mut rows = Vec::new();
    for shard in &mut desk.cluster.shards {
        let mut spare = None;
        loop {
            let order = Control::TakeHistory(spare.take());
            let Reply::History(HistoryTaken { page, more }) = shard.control(now, order) else {
                panic!("rows");
            };
            for row in &page {
                assert!(row.at <= now.wall && row.at.0 > 1_700_000_000);
                let aor = String::from_utf8(row.aor.to_vec()).unwrap();
                let user = aor.split('@').next().unwrap().to_owned();
                rows.push((row.kind, user, row.reason.to_owned(), row.granted_s, row.count));
            }
            spare = Some(page);
            if !more {
                break;
            }
        }
    }
    rows
}

fn row(kind: HistoryKind, user: u32, reason: &str, granted_s: u32) -> Told {
    (kind, format!("u{user}"), reason.to_owned(), granted_s, 1)
}

#[test]
fn each_thing_that_happens_to_a_registration_is_one_row() {
    use HistoryKind::*;

    each_way(&bindings_max(1), |desk| {
        desk.registered(1, "before", 600);
        record(desk, RECORDING);
        assert_eq!(told(desk), [], "nothing is known of what was before");

        let mut first = desk.registered(2, "first", 600);
        assert_eq!(told(desk), [row(Registered, 2, "", 600)]);
        // The same again within the interval is no row; from elsewhere it is.
        desk.pass(60);
        assert_eq!(desk.ask(&first.register(600)).status, 200);
        assert_eq!(told(desk), []);
        let port: SocketAddr = "192.0.2.7:40001".parse().unwrap();
        assert_eq!(desk.ask_from(port, &first.register(600)).status, 200);
        assert_eq!(told(desk), [], "another port of the same address");
        let elsewhere: SocketAddr = "198.51.100.1:40000".parse().unwrap();
        let challenge = desk.ask_from(elsewhere, &first.register(600));
        assert!(first.take_challenge(&challenge));
        assert_eq!(desk.ask_from(elsewhere, &first.register(600)).status, 200);
        assert_eq!(told(desk), [row(Moved, 2, "", 600)]);

        desk.registered(2, "second", 300);
        let replaced = [row(Replaced, 2, "kicked", 600), row(Registered, 2, "", 300)];
        assert_eq!(told(desk), replaced);

        let now = desk.cluster.now;
        for shard in &mut desk.cluster.shards {
            shard.control(now, Control::Unregister(b"u2".as_slice().into(), Chosen::All));
        }
        assert_eq!(told(desk), [row(Kicked, 2, "forced_unregister", 300)]);

        let mut third = desk.registered(3, "third", 600);
        assert_eq!(desk.ask(&third.register(0)).status, 200);
        let gone = [row(Registered, 3, "", 600), row(Unregistered, 3, "unregistered", 600)];
        assert_eq!(told(desk), gone);

        desk.registered(4, "fourth", 60);
        desk.pass(62);
        let expired = [row(Registered, 4, "", 60), row(Expired, 4, "expired", 60)];
        assert_eq!(told(desk), expired);

        let mut wrong = desk.phone(5, "wrong");
        wrong.password = "guess".into();
        desk.ask(&wrong.register(600));
        assert_eq!(told(desk), [row(Refused, 5, "bad_password", 0)]);
        let mut brief = desk.phone(6, "brief");
        assert_eq!(desk.ask(&brief.register(5)).status, 423);
        assert_eq!(told(desk), [row(Refused, 6, "interval_too_brief", 0)]);
    });
}

#[test]
fn an_account_that_goes_is_named_for_the_last_time() {
    each_way(&Options::default(), |desk| {
        record(desk, RECORDING);
        desk.registered(1, "device", 600);
        told(desk);
        let now = desk.cluster.now;
        for shard in &mut desk.cluster.shards {
            shard.control(now, Control::BeginAccounts);
            shard.control(now, Control::EndAccounts);
        }
        assert_eq!(told(desk), [row(HistoryKind::Removed, 1, "account_removed", 600)]);
    });
}

#[test]
fn of_many_refreshes_one_in_each_interval_is_a_row() {
    let mut desk = Desk::at(Cluster::new(&Options::default()), 0);
    record(&mut desk, RECORDING);
    let mut phone = desk.registered(1, "device", 3600);
    told(&mut desk);
    let mut rows = 0;
    // Two hours of them, one a minute.
    for _ in 0..120 {
        desk.pass(60);
        let response = desk.ask(&phone.register(3600));
        if response.status == 401 {
            assert!(phone.take_challenge(&response));
            assert_eq!(desk.ask(&phone.register(3600)).status, 200);
        }
        let told = told(&mut desk);
        assert!(told.len() <= 1 && told.iter().all(|one| one.0 == HistoryKind::Refreshed));
        rows += told.len();
    }
    assert_eq!(rows, 12);
    // None, where none are wanted.
    record(&mut desk, Recording { refresh_every_s: None, ..RECORDING });
    for _ in 0..30 {
        desk.pass(60);
        desk.ask(&phone.register(3600));
        assert_eq!(told(&mut desk), []);
    }
}

#[test]
fn rows_say_who_from_where_and_with_what() {
    let mut desk = Desk::at(Cluster::new(&Options::default()), 0);
    record(&mut desk, RECORDING);
    let phone = desk.registered(1, "device", 600);
    let now = desk.cluster.now;
    let order = Control::TakeHistory(None);
    let Reply::History(taken) = desk.cluster.shards[0].control(now, order) else { panic!("rows") };
    let row = taken.page.iter().next().expect("a row");
    assert_eq!(row.aor, b"u1@example.com");
    assert_eq!(row.contact, phone.contact.as_bytes());
    assert_eq!(row.user_agent, phone.user_agent.as_bytes());
    assert_eq!((row.source, row.transport), (source(), Some(Transport::Udp)));
    assert_eq!((row.at, row.granted_s, row.count), (now.wall, 600, 1));
}

#[test]
fn where_nobody_collects_the_old_is_kept_and_the_new_is_counted() {
    let options = Options { accounts: 1200, ..Options::default() };
    let mut desk = Desk::at(Cluster::new(&options), 0);
    record(&mut desk, Recording { bytes_max: 0, refresh_every_s: None });
    for number in 1..=1200 {
        desk.registered(number, "device", 600);
    }
    let now = desk.cluster.now;
    let Reply::Counted(tally) = desk.cluster.shards[0].control(now, Control::Count) else {
        panic!("counts")
    };
    let rows = told(&mut desk);
    assert_eq!(tally.history.rows, rows.len() as u64);
    assert_eq!(tally.history.rows + tally.history.shed, 1200);
    assert!(tally.history.shed > 0, "two pages do not hold them: {}", 2 * HISTORY_PAGE_BYTES);
    assert_eq!(rows[0].1, "u1");
    // There is room again.
    let mut phone = Phone::new(1200, "device", "device.phones.test:5070");
    phone.cseq = 100;
    desk.challenge(&mut phone);
    desk.ask(&phone.register(0));
    assert_eq!(told(&mut desk).len(), 1);
    // A page that somebody made up is not taken for one of ours.
    let order = Control::TakeHistory(Some(HistoryPage::default()));
    let Reply::History(taken) = desk.cluster.shards[0].control(now, order) else { panic!("rows") };
    assert!(taken.page.is_empty() && !taken.more);
}

#[test]
fn a_flood_of_refusals_is_a_bounded_number_of_rows() {
    let mut desk = Desk::at(Cluster::new(&Options::default()), 0);
    record(&mut desk, Recording { bytes_max: 4 << 20, refresh_every_s: None });
    for nth in 0..6000_u32 {
        let mut phone = Phone::new(1 + nth % 20, "kit", "kit.phones.test:5070");
        phone.password = "guess".into();
        let from = SocketAddr::from(([10, 0, (nth >> 8) as u8, nth as u8], 5060));
        let challenge = desk.ask_from(from, &phone.register(600));
        assert!(phone.take_challenge(&challenge));
        desk.ask_from(from, &phone.register(600));
    }
    let rows = told(&mut desk);
    let counted: u32 = rows.iter().map(|row| row.4).sum();
    assert!(rows.len() <= HISTORY_REFUSED_ROWS_BURST as usize, "{}", rows.len());
    assert!(rows.len() >= HISTORY_REFUSED_ROWS_BURST as usize / 2, "{}", rows.len());
    let now = desk.cluster.now;
    let Reply::Counted(tally) = desk.cluster.shards[0].control(now, Control::Count) else {
        panic!("counts")
    };
    assert_eq!(u64::from(counted) + tally.history.refusals_unlisted, 6000);
    // What a phone does is not lost for that.
    desk.registered(1, "device", 600);
    assert_eq!(told(&mut desk), [row(HistoryKind::Registered, 1, "", 600)]);
}

/// Whatever phones do, the rows are the events, in the same order.
#[test]
fn rows_are_the_events_of_the_registrar() {
    let mut desk = Desk::at(Cluster::new(&bindings_max(2)), 0);
    record(&mut desk, Recording { bytes_max: 4 << 20, refresh_every_s: None });
    let mut phones: Vec<Phone> = (1..=4)
        .flat_map(|number| ["a", "b", "c"].map(|device| (number, device)))
        .map(|(number, device)| desk.phone(number, device))
        .collect();
    let mut seed = 7_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..600 {
        let at = next(phones.len() as u64) as usize;
        let expires = if next(3) == 0 { 0 } else { 600 };
        let phone = &mut phones[at];
        let response = desk.ask(&phone.register(expires));
        let expected: Vec<HistoryKind> = desk.cluster.shards[0]
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::Registered { .. } => Some(HistoryKind::Registered),
                Event::Retargeted { .. } => Some(HistoryKind::Moved),
                Event::Left { reason: LeaveReason::Kicked, .. } => Some(HistoryKind::Replaced),
                Event::Left { .. } => Some(HistoryKind::Unregistered),
                Event::Flapping { .. } => Some(HistoryKind::Flapping),
                Event::Refreshed { .. } => None,
            })
            .collect();
        if response.status == 401 {
            assert!(phones[at].take_challenge(&response));
        }
        let kinds: Vec<HistoryKind> = told(&mut desk).into_iter().map(|row| row.0).collect();
        assert_eq!(kinds, expected);
    }
}
