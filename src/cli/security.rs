//! What people are told of security events without asking: a line about each alert, and a file with
//! all of them, if one is set. A thread asks the shards every few seconds; they aggregate, so that
//! a flood is a few lines, and it never makes them wait.

use std::collections::HashMap;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};

use super::say::warn;
use crate::admin::{SecurityRow, one_line};
use crate::guard::events::Wanted;
use crate::guard::{SecurityKind, SecurityRecord};
use crate::limits::SECURITY_RECORDS_PER_CALL_MAX;
use crate::reactor::{Clock, Controller};
use crate::shard::Shard;
use crate::shard::control::{Control, Reply};
use crate::shard::events::{EventsAsked, EventsPage};
use crate::store::SecurityLog;

const ASK_EVERY: Duration = Duration::from_secs(2);
const REPLY_MAX: Duration = Duration::from_secs(2);
/// Pages of one shard that are read at a time: all that its lists hold.
const PAGES_MAX: usize = 16;
/// One line at most about one kind of alert in this time, and one in the file about an event that
/// goes on, seconds.
const LINE_EVERY_S: u64 = 60;
/// Lines written at a time; what is more waits.
const LINES_MAX: usize = 256;
/// Events that wait for their line, or have had one within the minute. What is more is not written
/// but counted: a flood from everywhere is one number.
const KNOWN_MAX: usize = 16_384;

/// The thread; it ends with this, and what is left to be written is written.
pub struct Security {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Security {
    /// Begins to ask these shards.
    #[must_use]
    pub fn start(controllers: Vec<Controller<Shard>>, log: Option<SecurityLog>) -> Security {
        let (stop, stopped) = bounded(0);
        let thread = thread::spawn(move || {
            let clock = Clock::start();
            let mut asked: Vec<u64> = vec![0; controllers.len()];
            let mut lines = Lines::default();
            let mut file = log.map(Written::new);
            loop {
                let ended = stopped.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Timeout);
                let now_s = clock.now().mono.as_secs();
                for (number, (shard, after)) in (0..).zip(controllers.iter().zip(&mut asked)) {
                    for record in changed(shard, after) {
                        lines.take(&record);
                        if let Some(file) = &mut file {
                            file.take(number, record);
                        }
                    }
                }
                for line in lines.due(now_s) {
                    warn(line);
                }
                if let Some(file) = &mut file {
                    file.write(now_s, ended);
                }
                if ended {
                    return;
                }
            }
        });
        Security { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Security {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has printed why, if it panicked.
            let _ = thread.join();
        }
    }
}

/// What a shard lists that has changed since `after`, the oldest change first; `after` is then the
/// latest. A shard that does not answer is asked again the next time.
fn changed(shard: &Controller<Shard>, after: &mut u64) -> Vec<SecurityRecord> {
    let (mut records, mut before): (Vec<SecurityRecord>, _) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let asked = EventsAsked {
            wanted: Wanted::default(),
            before,
            after: *after,
            items_max: SECURITY_RECORDS_PER_CALL_MAX,
        };
        let order = shard.give(Control::SecurityEvents(asked));
        let reply = order.and_then(|pending| pending.wait(REPLY_MAX));
        let Ok(Reply::SecurityEvents(EventsPage { items, more })) = reply else { break };
        before = items.last().map(|last| crate::guard::events::Before::Change(last.change));
        records.extend(items);
        if !more {
            break;
        }
    }
    if let Some(latest) = records.first() {
        *after = latest.change;
    }
    records.reverse();
    records
}

/// Alerts that wait for their line.
#[derive(Default)]
struct Lines {
    waiting: Vec<Waiting>,
}

struct Waiting {
    kind: SecurityKind,
    /// The first one that was not told, and how many have come since.
    next: Option<SecurityRecord>,
    more: u64,
    not_before_s: u64,
}

impl Lines {
    fn take(&mut self, record: &SecurityRecord) {
        if !SecurityKind::ALERTS.has(record.kind) {
            return;
        }
        let at = self.waiting.iter().position(|one| one.kind == record.kind);
        let at = at.unwrap_or_else(|| {
            let kind = record.kind;
            self.waiting.push(Waiting { kind, next: None, more: 0, not_before_s: 0 });
            self.waiting.len() - 1
        });
        let waiting = &mut self.waiting[at];
        match waiting.next {
            None => waiting.next = Some(record.clone()),
            Some(_) => waiting.more += 1,
        }
    }

    /// The lines to be said now.
    fn due(&mut self, now_s: u64) -> Vec<String> {
        let mut lines = Vec::new();
        for waiting in &mut self.waiting {
            if now_s < waiting.not_before_s {
                continue;
            }
            let Some(record) = waiting.next.take() else { continue };
            lines.push(line(&record, std::mem::take(&mut waiting.more)));
            waiting.not_before_s = now_s + LINE_EVERY_S;
        }
        lines
    }
}

fn line(record: &SecurityRecord, more: u64) -> String {
    let what = match record.kind {
        SecurityKind::Walk => "a source asks for one number after another",
        SecurityKind::ManySuspensions => "many accounts were suspended within a short time",
        SecurityKind::ManySources => "one account is used, or tried, from many sources",
        _ => "one account registers far more often than it has to",
    };
    let source = match record.source.is_unspecified() {
        true => "many".to_owned(),
        false => record.source.to_string(),
    };
    let mut line = format!("alert: {}: {what}; source {source}", record.kind.name());
    for (name, text) in
        [("account", record.account.as_str()), ("User-Agent", record.user_agent.as_str())]
    {
        if !text.is_empty() {
            line.push_str(&format!(", {name} {}", one_line(text)));
        }
    }
    if more > 0 {
        line.push_str(&format!("; and {more} more"));
    }
    line + " (aorta ctl events --kind alerts)"
}

/// What is in the file, and what is to go there.
struct Written {
    log: SecurityLog,
    /// When an event that goes on was written last, by shard and number, and what has changed
    /// since. No more than the shards list, and no longer than a line takes to be due.
    known: HashMap<(u8, u64), (u64, Option<SecurityRecord>)>,
    unwritten: u64,
    failing: bool,
}

impl Written {
    fn new(log: SecurityLog) -> Written {
        Written { log, known: HashMap::new(), unwritten: 0, failing: false }
    }

    fn take(&mut self, shard: u8, record: SecurityRecord) {
        let name = (shard, record.number);
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&name) {
            self.unwritten += 1;
            return;
        }
        self.known.entry(name).or_default().1 = Some(record);
    }

    /// Writes what is due; all of it where this is the `last` time.
    fn write(&mut self, now_s: u64, last: bool) {
        let Written { log, known, unwritten, failing } = self;
        let mut due: Vec<(u64, String)> = Vec::new();
        known.retain(|(shard, _), (not_before_s, record)| {
            if (now_s < *not_before_s || due.len() >= LINES_MAX) && !last {
                return true;
            }
            let Some(record) = record.take() else { return false };
            *not_before_s = now_s + LINE_EVERY_S;
            // Texts and numbers can always be written.
            let line = serde_json::to_string(&SecurityRow::new(*shard, &record));
            due.push((record.last.0, line.unwrap_or_default()));
            true
        });
        due.sort();
        if *unwritten > 0 && (last || due.len() < LINES_MAX) {
            due.push((0, format!("{{\"kind\":\"unwritten\",\"count\":{unwritten}}}")));
            *unwritten = 0;
        }
        for (_, line) in due {
            let written = log.write(&line);
            if let Err(error) = &written
                && !*failing
            {
                warn(format_args!(
                    "cannot write {}: {error}; security events are lost until it can be",
                    log.path().display()
                ));
            }
            *failing = written.is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::events::Text;
    use crate::time::UnixTime;

    fn record(kind: SecurityKind, number: u64) -> SecurityRecord {
        SecurityRecord {
            number,
            change: number,
            kind,
            source: "192.0.2.7".parse().unwrap(),
            account: Text::new(b"u1@example.com\r\n"),
            user_agent: Text::new(b"kit \"<x>\" \\"),
            first: UnixTime(10),
            last: UnixTime(20),
            count: 1,
        }
    }

    #[test]
    fn a_kind_of_alert_has_one_line_in_a_minute_and_says_how_many_more() {
        let mut lines = Lines::default();
        lines.take(&record(SecurityKind::BadPassword, 1));
        assert!(lines.due(0).is_empty());
        for number in 0..5 {
            lines.take(&record(SecurityKind::ManySources, number));
        }
        lines.take(&record(SecurityKind::Walk, 9));
        let said = lines.due(100);
        assert_eq!(said.len(), 2);
        let many = said.iter().find(|line| line.contains("many_sources")).unwrap();
        assert!(many.contains("account u1@example.com??") && many.contains("and 4 more"), "{many}");
        assert!(many.contains("kit \"<x>\" \\\\"), "what escapes is escaped: {many}");
        lines.take(&record(SecurityKind::ManySources, 7));
        assert!(lines.due(159).is_empty());
        assert_eq!(lines.due(160).len(), 1);
        assert!(lines.due(300).is_empty());
    }

    #[test]
    fn an_event_that_goes_on_is_a_line_in_a_minute_and_the_last_count_is_written() {
        let path = std::env::temp_dir().join(format!("aorta-security-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut written = Written::new(SecurityLog::open(&path, 1 << 20, 1).unwrap());
        let counts = || -> Vec<u64> {
            let text = std::fs::read_to_string(&path).unwrap();
            let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect(line);
            text.lines().map(|line| value(line)["count"].as_u64().unwrap()).collect()
        };
        for count in 1..100 {
            written.take(0, SecurityRecord { count, ..record(SecurityKind::Scanner, 1) });
            written.write(count, false);
        }
        assert_eq!(counts(), [1, 61]);
        written.write(1000, false);
        assert_eq!(counts(), [1, 61, 99]);
        written.take(0, SecurityRecord { count: 100, ..record(SecurityKind::Scanner, 1) });
        written.write(1001, true);
        assert_eq!(counts(), [1, 61, 99, 100]);
        written.write(5000, false);
        written.write(9000, false);
        assert!(written.known.is_empty(), "what is quiet is forgotten");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_flood_from_everywhere_is_a_bounded_number_of_lines_and_a_count() {
        let path = std::env::temp_dir().join(format!("aorta-flood-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut written = Written::new(SecurityLog::open(&path, 1 << 30, 1).unwrap());
        let flood = KNOWN_MAX as u64 + 1000;
        for number in 0..flood {
            written.take(0, record(SecurityKind::Scanner, number));
        }
        assert_eq!(written.known.len(), KNOWN_MAX);
        let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
        written.write(1, false);
        assert_eq!(lines(), LINES_MAX);
        written.write(2, true);
        assert_eq!(lines(), KNOWN_MAX + 1);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().last().unwrap(), "{\"kind\":\"unwritten\",\"count\":1000}");
        std::fs::remove_file(&path).unwrap();
    }
}
