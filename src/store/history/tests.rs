//! The store as a whole: what is written is found, by every filter and page by page; what is old or
//! too much goes; a restart keeps it, damage does not stop it.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;
use crate::flow::Transport;
use crate::shard::history::{HistoryKind, HistoryPage, HistoryRow};
use crate::time::{Now, UnixTime};

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A directory of the test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("aorta-history-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("history.db")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What was said, kept.
fn ear() -> (Tell, Receiver<String>) {
    let (sender, said) = crossbeam::channel::unbounded();
    (Arc::new(move |line: &str| drop(sender.send(line.to_owned()))), said)
}

fn start(settings: &config::History, directory: Option<&Directory>) -> History {
    let (tell, _said) = ear();
    History::start(settings, directory.map(|one| one.0.as_path()), tell).unwrap()
}

fn now() -> Now {
    Clock::start().now()
}

/// Rows of one shard, `ago` seconds ago.
fn page(rows: &[(HistoryKind, &str, &str, &str)], ago: u64) -> HistoryPage {
    let now = now();
    let wall = UnixTime(now.wall.0 - ago);
    let mut page = HistoryPage::with_room();
    for (kind, aor, source, reason) in rows {
        page.push(&HistoryRow {
            at: wall,
            aor: aor.as_bytes(),
            contact: b"sip:x@192.0.2.7:5070",
            transport: Some(Transport::Udp),
            user_agent: b"Snom D785/10",
            granted_s: 600,
            reason,
            ..HistoryRow::new(now, *kind, source.parse().unwrap())
        });
    }
    page
}

fn give(history: &History, page: HistoryPage) {
    let page = Arc::new(page);
    history.hearer()(&Told::Rows { shard: 1, page: &page });
}

fn find(history: &History, asked: Asked) -> Found {
    let (sender, answer) = mpsc::channel();
    history.desk().find(asked, move |found| sender.send(found).unwrap());
    answer.recv_timeout(DEADLINE).unwrap().unwrap()
}

fn all() -> Asked {
    Asked { limit: 100_000, ..Asked::default() }
}

fn users(found: &Found) -> Vec<&str> {
    found.entries.iter().map(|entry| entry.aor.split('@').next().unwrap()).collect()
}

use HistoryKind::{Expired, Refused, Registered};

#[test]
fn what_is_written_is_found_by_every_filter() {
    let directory = Directory::new();
    for place in [None, Some(&directory)] {
        let history = start(&config::History::default(), place);
        let rows = [
            (Registered, "u1@example.com", "192.0.2.7:5060", ""),
            (Registered, "u2@example.com", "192.0.2.8:5060", ""),
            (Registered, "u1@example.org", "[2001:db8::1]:5060", ""),
        ];
        give(&history, page(&rows, 100));
        let refused = [
            (Refused, "u1@example.com", "198.51.100.9:5060", "bad_password"),
            (Refused, "u3@example.com", "198.51.100.9:0", "unknown_account"),
        ];
        give(&history, page(&refused, 50));
        give(&history, page(&[(Expired, "u2@example.com", "0.0.0.0:0", "expired")], 10));
        assert!(history.settle(DEADLINE));

        let found = find(&history, all());
        assert_eq!(users(&found), ["u2", "u3", "u1", "u1", "u2", "u1"], "the newest first");
        assert_eq!((found.next, found.cut_short), (None, false));
        let first = &found.entries[5];
        assert_eq!((first.kind, first.shard, first.port), (Registered, 1, 5060));
        assert_eq!(first.source, "192.0.2.7".parse().ok());
        assert_eq!((&*first.user_agent, &*first.reason), ("Snom D785/10", ""));
        assert_eq!((first.granted_s, first.count), (600, 1));
        assert_eq!(first.transport, Some(Transport::Udp));
        assert_eq!(found.entries[0].source, None);
        let ago = now().wall.0 * 1000 - first.at_ms;
        assert!((99_000..160_000).contains(&ago), "{ago}");

        let of = |change: &dyn Fn(&mut Asked)| {
            let mut asked = all();
            change(&mut asked);
            let found = find(&history, asked);
            users(&found).join(" ")
        };
        assert_eq!(of(&|a| a.aor = Some("u1@example.com".into())), "u1 u1");
        assert_eq!(of(&|a| a.aor = Some("u1".into())), "u1 u1 u1");
        assert_eq!(of(&|a| a.aor = Some("u".into())), "");
        assert_eq!(of(&|a| a.source = "192.0.2.7/32".parse().ok()), "u1");
        assert_eq!(of(&|a| a.source = "192.0.2.0/24".parse().ok()), "u2 u1");
        assert_eq!(of(&|a| a.source = "2001:db8::1/128".parse().ok()), "u1");
        assert_eq!(of(&|a| a.kinds = Kinds::NONE.with(Refused)), "u3 u1");
        assert_eq!(of(&|a| a.kinds = Kinds::NONE.with(Refused).with(Expired)), "u2 u3 u1");
        assert_eq!(of(&|a| a.kinds = Kinds::NONE), "");
        assert_eq!(of(&|a| a.reason = Some("bad_password".into())), "u1");
        let refused = |a: &mut Asked| a.kinds = Kinds::NONE.with(Refused);
        let by_reason = |word: &'static str| {
            move |a: &mut Asked| {
                refused(a);
                a.reason = Some(word.into());
            }
        };
        assert_eq!(of(&by_reason("unknown_account")), "u3");
        assert_eq!(of(&by_reason("never_said")), "");
        assert_eq!(of(&|a| a.user_agent = Some("sNOM".into())), "u2 u3 u1 u1 u2 u1");
        assert_eq!(of(&|a| a.user_agent = Some("yealink".into())), "");
        assert_eq!(of(&|a| a.text = Some("198.51".into())), "u3 u1");
        assert_eq!(of(&|a| a.text = Some("EXAMPLE.ORG".into())), "u1");
        assert_eq!(of(&|a| a.text = Some("password".into())), "u1");
        let then = now().wall.0 * 1000 - 75_000;
        assert_eq!(of(&|a| a.since_ms = Some(then)), "u2 u3 u1");
        assert_eq!(of(&|a| a.until_ms = Some(then)), "u1 u2 u1");

        // Page by page, each once, in the same order.
        for limit in 1..=6 {
            let (mut seen, mut behind) = (Vec::new(), None);
            loop {
                let page = find(&history, Asked { limit, behind, ..all() });
                assert!(page.entries.len() <= limit);
                seen.extend(page.entries);
                match page.next {
                    Some(next) => behind = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, found.entries, "by {limit}");
        }
    }
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_goes_on() {
    let directory = Directory::new();
    let history = start(&config::History::default(), Some(&directory));
    give(&history, page(&[(Registered, "u1@example.com", "192.0.2.7:5060", "")], 10));
    let sample = |requests| {
        let mut values = [None; samples::METRICS];
        values[Metric::Requests as usize] = Some(requests);
        let at = UnixTime(1_800_000_000);
        Arc::new(Sample { at, covered_ms: 10_000, values, shards: Vec::new() })
    };
    history.hearer()(&Told::Sample(&sample(5)));
    drop(history);
    let history = start(&config::History::default(), Some(&directory));
    give(&history, page(&[(Expired, "u1@example.com", "192.0.2.7:5060", "expired")], 0));
    history.hearer()(&Told::Sample(&sample(6)));
    assert!(history.settle(DEADLINE));
    let found = find(&history, all());
    let kinds: Vec<HistoryKind> = found.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Expired, Registered]);
    assert_eq!(found.entries[1].user_agent, "Snom D785/10");
    let (sender, answer) = mpsc::channel();
    let asked = TrendAsked { from_s: 0, to_s: u64::MAX, step: Step::Hour };
    history.desk().trend(asked, move |trend| sender.send(trend).unwrap());
    let trend = answer.recv_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(trend.points[0].1.of(Metric::Requests).sum, 11);
    assert_eq!(trend.points[0].1.samples, 2);
}

#[test]
fn what_is_old_goes_and_what_is_not_stays() {
    let settings = config::History { retention_s: 3600, ..config::History::default() };
    let history = start(&settings, None);
    let old = page(&[(Registered, "old@example.com", "192.0.2.7:5060", ""); 20], 4000);
    for _ in 0..200 {
        give(&history, old.clone());
    }
    give(&history, page(&[(Registered, "new@example.com", "192.0.2.7:5060", "")], 3000));
    let began = Clock::start();
    loop {
        assert!(history.settle(DEADLINE));
        let found = find(&history, all());
        // What went is counted once it is gone.
        let trimmed = history.desk().counts().trimmed.load(Ordering::Relaxed);
        if users(&found) == ["new"] && trimmed == 4000 {
            break;
        }
        let left = found.entries.len();
        assert!(began.mono().as_secs() < 30, "{left} are left, {trimmed} have gone");
        thread::yield_now();
    }
}

#[test]
fn history_stays_within_its_bytes_and_keeps_the_newest() {
    let directory = Directory::new();
    let bytes_max = 4 << 20;
    let settings =
        config::History { bytes_max, memory_bytes_max: bytes_max, ..config::History::default() };
    for place in [None, Some(&directory)] {
        let history = start(&settings, place);
        let mut nth = 0;
        for _ in 0..600 {
            let names: Vec<String> = (0..100)
                .map(|_| {
                    nth += 1;
                    format!("user-{nth}@a-domain-of-some-length.example.com")
                })
                .collect();
            let rows: Vec<_> = names
                .iter()
                .map(|name| (Registered, name.as_str(), "192.0.2.7:5060", ""))
                .collect();
            give(&history, page(&rows, 0));
        }
        let counts = || {
            let desk = history.desk();
            let counts = desk.counts();
            let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
            (of(&counts.rows), of(&counts.lost), of(&counts.trimmed), of(&counts.bytes))
        };
        let began = Clock::start();
        loop {
            assert!(history.settle(DEADLINE));
            let (rows, lost, trimmed, bytes) = counts();
            if rows == 60_000 && bytes <= u64::from(bytes_max) && trimmed > 0 {
                assert_eq!(lost, 0);
                break;
            }
            assert!(began.mono().as_secs() < 60, "{:?}", counts());
            thread::yield_now();
        }
        let found = find(&history, Asked { limit: 1, ..Asked::default() });
        assert_eq!(users(&found), ["user-60000"]);
        if place.is_some() {
            let size = std::fs::metadata(directory.file()).unwrap().len();
            // What free pages are left for what comes, and what was written between two looks.
            assert!(size < u64::from(bytes_max) + (5 << 20), "{size}");
        }
    }
}

#[test]
fn a_file_that_is_damaged_is_put_aside_and_another_begun() {
    let directory = Directory::new();
    std::fs::write(directory.file(), b"this is no database, however long it is ".repeat(200))
        .unwrap();
    let (tell, said) = ear();
    let history = History::start(&config::History::default(), Some(&directory.0), tell).unwrap();
    give(&history, page(&[(Registered, "u1@example.com", "192.0.2.7:5060", "")], 0));
    assert!(history.settle(DEADLINE));
    assert_eq!(users(&find(&history, all())), ["u1"]);
    let line = said.recv_timeout(DEADLINE).unwrap();
    assert!(line.contains("begun anew") && line.contains("history.db.damaged.1"), "{line}");
    assert!(said.is_empty());
    assert!(directory.0.join("history.db.damaged.1").exists());
}

#[test]
fn a_file_that_breaks_while_it_is_used_is_put_aside_too() {
    let directory = Directory::new();
    let history = start(&config::History::default(), Some(&directory));
    for _ in 0..50 {
        give(&history, page(&[(Registered, "u1@example.com", "192.0.2.7:5060", ""); 100], 0));
    }
    drop(history);
    // All of it but the first page, which says what it is.
    let mut bytes = std::fs::read(directory.file()).unwrap();
    bytes[4096..].fill(0xa5);
    std::fs::write(directory.file(), bytes).unwrap();
    let (tell, said) = ear();
    let history = History::start(&config::History::default(), Some(&directory.0), tell).unwrap();
    give(&history, page(&[(Registered, "u2@example.com", "192.0.2.7:5060", "")], 0));
    assert!(history.settle(DEADLINE));
    assert!(said.recv_timeout(DEADLINE).unwrap().contains("begun anew"));
    give(&history, page(&[(Registered, "u3@example.com", "192.0.2.7:5060", "")], 0));
    assert!(history.settle(DEADLINE));
    assert_eq!(users(&find(&history, all())), ["u3", "u2"]);
    assert!(history.desk().counts().errors.load(Ordering::Relaxed) > 0);
}

#[test]
fn what_there_is_no_room_for_is_counted_and_said_once_and_so_is_its_end() {
    let (tell, said) = ear();
    let (announce, _places) = bounded(1);
    let damaged = AtomicBool::new(false);
    let shared = Arc::new(Shared { counts: Counts::default(), places: announce, damaged });
    let place = Place::in_memory();
    let retention = Retention {
        events_ms: u64::MAX,
        trends: Kept::from(&config::History::default()),
        bytes_max: 1 << 40,
    };
    let connection = place.open_to_write(1 << 40).unwrap();
    let hold = |connection: &rusqlite::Connection, pages: i64| {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    // As full as a disk can be.
    hold(&connection, 1);
    let clock = Clock::start();
    let mut writer = Writer::new(place, retention, clock, Arc::clone(&shared), tell);
    let rows = page(&[(Registered, "u1@example.com", "192.0.2.7:5060", ""); 100], 0);
    let batch: Vec<Work> = (0..20).map(|_| Work::Rows(0, Arc::new(rows.clone()))).collect();
    let lost = || shared.counts.lost.load(Ordering::Relaxed);
    let connection = writer.take(connection, &batch).expect("it goes on");
    assert_eq!(lost(), 2000);
    let connection = writer.take(connection, &batch).expect("it goes on");
    assert_eq!(lost(), 4000);
    assert!(said.recv_timeout(DEADLINE).unwrap().contains("cannot be written"));
    assert!(said.is_empty(), "once");
    // There is room again.
    hold(&connection, 1 << 20);
    writer.take(connection, &batch).expect("it goes on");
    assert_eq!(lost(), 4000);
    assert_eq!(shared.counts.rows.load(Ordering::Relaxed), 2000);
    assert!(said.recv_timeout(DEADLINE).unwrap().contains("again"));
}

#[test]
fn damage_that_only_readers_meet_is_mended_too() {
    let directory = Directory::new();
    let history = start(&config::History::default(), Some(&directory));
    give(&history, page(&[(Registered, "u1@example.com", "192.0.2.7:5060", "")], 0));
    assert!(history.settle(DEADLINE));
    history.desk.shared.damaged.store(true, Ordering::Relaxed);
    let began = Clock::start();
    while history.desk.shared.damaged.load(Ordering::Relaxed) {
        assert!(began.mono().as_secs() < 30);
        thread::yield_now();
    }
    assert!(history.settle(DEADLINE));
    assert!(find(&history, all()).entries.is_empty());
    assert!(directory.0.join("history.db.damaged.1").exists());
}

#[test]
fn nobody_else_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new();
    let history = start(&config::History::default(), Some(&directory));
    give(&history, page(&[(Registered, "u1@example.com", "192.0.2.7:5060", "")], 0));
    assert!(history.settle(DEADLINE));
    for ending in ["", "-wal", "-shm"] {
        let path = directory.0.join(format!("history.db{ending}"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn where_no_file_can_be_there_is_memory() {
    let (tell, said) = ear();
    let nowhere = Path::new("/proc/no-such-directory");
    let history = History::start(&config::History::default(), Some(nowhere), tell).unwrap();
    give(&history, page(&[(Registered, "u1@example.com", "192.0.2.7:5060", "")], 0));
    assert!(history.settle(DEADLINE));
    assert_eq!(users(&find(&history, all())), ["u1"]);
    assert!(said.recv_timeout(DEADLINE).unwrap().contains("kept in memory"));
}

#[test]
fn a_question_that_takes_too_long_says_where_to_go_on() {
    let directory = Directory::new();
    let history = start(&config::History::default(), Some(&directory));
    for nth in 0..100 {
        let name = format!("u{nth}@example.com");
        give(&history, page(&[(Registered, name.as_str(), "192.0.2.7:5060", ""); 50], 0));
    }
    assert!(history.settle(DEADLINE));
    let connection = Place::in_directory(&directory.0).open_to_read().unwrap();
    let (mut seen, mut pages, mut behind) = (0, 0, None);
    loop {
        let asked = Asked { behind, text: Some("u7@".into()), ..all() };
        // The time is over as soon as anybody looks.
        let found = query::find(&connection, &asked, || true).unwrap();
        seen += found.entries.len();
        pages += 1;
        behind = found.next;
        assert_eq!(found.cut_short, found.next.is_some());
        if behind.is_none() {
            break;
        }
    }
    assert_eq!(seen, 50);
    assert!(pages > 50, "{pages}");
}

#[test]
fn many_questions_at_once_are_turned_away_and_none_is_left_without_an_answer() {
    let history = start(&config::History::default(), None);
    assert!(history.settle(DEADLINE));
    let (sender, answers) = mpsc::channel();
    let asked = 10 * QUESTIONS_MAX;
    for _ in 0..asked {
        let sender = sender.clone();
        history.desk().find(all(), move |found| sender.send(found).unwrap());
    }
    drop(sender);
    let answers: Vec<_> = answers.iter().collect();
    assert_eq!(answers.len(), asked);
    assert!(answers.iter().all(|one| matches!(one, Ok(_) | Err(HistoryError::Busy))));
    let desk = history.desk();
    drop(history);
    // What was written can be read as long as somebody asks.
    let (sender, answer) = mpsc::channel();
    desk.find(all(), move |found| sender.send(found).unwrap());
    assert!(answer.recv_timeout(DEADLINE).unwrap().is_ok());
}
