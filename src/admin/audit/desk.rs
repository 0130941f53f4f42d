//! The thread that writes the audit, and the way to it. Whoever has something to say leaves it and
//! goes on; what waits is bounded, and what did not fit is counted and said.
//!
//! A line is on the disk before the next batch is begun: what came while one batch was written is
//! the next. Where there is no directory the last lines are kept in memory, chained all the same.

#![allow(clippy::disallowed_types, reason = "one thread writes what another one reads")]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::action::{Action, Outcome, Verb};
use super::aggregate::{Counted, Refusals, WINDOW_S};
use super::file::{AuditFile, Head, Opened, Room};
use super::record::{Draft, Record};
use crate::admin::moment::rfc3339;
use crate::reactor::Clock;

/// What waits for the thread.
const WAITING_MAX: usize = 1024;
/// Lines of one batch.
const BATCH_MAX: usize = 256;
/// Lines that wait for a disk that takes none.
const BACKLOG_MAX: usize = 4096;
/// Lines kept in memory where nothing is kept on a disk.
const IN_MEMORY_MAX: usize = 4096;
/// How long it waits before it looks at what it has counted, or tries the disk again.
const TICK: Duration = Duration::from_secs(5);

/// What the audit starts with.
#[derive(Clone, Debug, Default)]
pub struct AuditSettings {
    /// Where its files are; in memory without.
    pub directory: Option<PathBuf>,
    /// The size a file is put aside at.
    pub file_bytes: u64,
    /// How many files are kept beside the one that is written to.
    pub files: usize,
}

enum Message {
    Draft(Box<Draft>, Option<IpAddr>),
    Stop,
}

/// What the thread shares with those who ask.
#[derive(Default)]
struct Shared {
    /// The last lines, where there is no file.
    memory: Mutex<VecDeque<Record>>,
    /// What could not be taken.
    lost: AtomicU64,
    /// Times the disk took nothing.
    errors: AtomicU64,
    written: AtomicU64,
}

/// The audit of a process. Dropping it writes what waits and ends the thread.
pub(in crate::admin) struct Audit {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
    directory: Option<PathBuf>,
    clock: Clock,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Opens the files and starts the thread. `say` takes a line where something is wrong with the
    /// disk, or is well again, and where the chain begins and ends.
    ///
    /// # Errors
    /// What the system said.
    pub fn start(
        settings: &AuditSettings,
        say: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> std::io::Result<Audit> {
        let clock = Clock::start();
        let room = Room { file_bytes: settings.file_bytes, files: settings.files };
        let opened = settings.directory.as_deref().map(|at| AuditFile::open(at, room));
        let (sink, head, torn) = match opened.transpose()? {
            Some(Opened { file, head, torn }) => (Some(file), head, torn),
            None => (None, Head::default(), None),
        };
        if sink.is_some() && head.seq > 0 {
            say(&format!("the audit goes on behind line {}, {}", head.seq, head.hash));
        }
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let mut writer = Writer {
            sink,
            head,
            refusals: Refusals::default(),
            backlog: VecDeque::new(),
            lost: 0,
            failing: false,
            shared: Arc::clone(&shared),
            say,
            clock,
        };
        if let Some(torn) = torn {
            writer.add_own(Action::new(Verb::Torn, "the line before").detail(torn));
        }
        let thread =
            thread::Builder::new().name("audit".into()).spawn(move || writer.run(&receiver))?;
        let directory = settings.directory.clone();
        Ok(Audit { sender, shared, directory, clock, thread: Some(thread) })
    }

    /// Leaves something to be written. A refusal that a stranger can bring about at will has the
    /// address it came from, and is counted with others of its kind.
    pub fn leave(&self, operator: String, role: &'static str, via: &'static str, of: Left) {
        let Left { from, counted_as, action } = of;
        let at = rfc3339(self.clock.now().wall);
        let draft = Draft { at, operator, role, from, via, action };
        match self.sender.try_send(Message::Draft(Box::new(draft), counted_as)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Where its files are, if it has any.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The last lines, where there are no files, the newest last.
    pub fn memory(&self) -> Vec<Record> {
        locked(&self.shared.memory).iter().cloned().collect()
    }

    /// Name, meaning and number of what it counts.
    pub fn described(&self) -> [(&'static str, &'static str, u64); 3] {
        let shared = &self.shared;
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        [
            ("audit_lines", "Lines added to the audit.", read(&shared.written)),
            ("audit_lost", "Lines that the audit had no room for.", read(&shared.lost)),
            ("audit_errors", "Times the audit could not be written.", read(&shared.errors)),
        ]
    }
}

/// What is left to be written.
pub(in crate::admin) struct Left {
    pub from: String,
    pub counted_as: Option<IpAddr>,
    pub action: Action,
}

impl Drop for Audit {
    fn drop(&mut self) {
        // A thread that has gone has nothing left to write.
        let _ = self.sender.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Nothing is left half done under it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread has.
struct Writer {
    sink: Option<AuditFile>,
    head: Head,
    refusals: Refusals,
    /// Lines that are numbered and not yet on the disk, with the number of each.
    backlog: VecDeque<(u64, String)>,
    /// What was lost before there was room again, and has not been said.
    lost: u64,
    failing: bool,
    shared: Arc<Shared>,
    say: Arc<dyn Fn(&str) + Send + Sync>,
    clock: Clock,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let first = match receiver.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Message::Stop),
            };
            let mut stop = false;
            for message in first.into_iter().chain(receiver.try_iter()).take(BATCH_MAX) {
                match message {
                    Message::Draft(draft, counted_as) => self.take(*draft, counted_as),
                    Message::Stop => stop = true,
                }
            }
            self.end_window(stop);
            self.write();
            if stop {
                if self.sink.is_some() {
                    let Head { seq, hash } = &self.head;
                    (self.say)(&format!("the audit ends with line {seq}, {hash}"));
                }
                return;
            }
        }
    }

    fn take(&mut self, draft: Draft, counted_as: Option<IpAddr>) {
        if let Some(source) = counted_as {
            let now = self.clock.now().wall;
            if !self.refusals.count(now.0, draft.action.verb, source) {
                return;
            }
        }
        self.add(draft);
    }

    /// Writes what was counted, once that is due.
    fn end_window(&mut self, at_once: bool) {
        let now = self.clock.now().wall;
        let Some(Counted { more, others }) = self.refusals.take(now.0, at_once) else { return };
        let within = format!("within {WINDOW_S} s");
        for ((verb, source), count) in more {
            let action = Action::new(verb, format!("{count} times more from {source}"));
            self.add_own(action.detail(within.clone()).refused("as the line before of its kind"));
        }
        if others > 0 {
            let action = Action::new(Verb::Refusals, format!("{others} from other sources"));
            self.add_own(action.detail(within).refused("of any kind"));
        }
    }

    fn add_own(&mut self, action: Action) {
        let at = self.now();
        self.add(Draft::own(at, action));
    }

    fn now(&self) -> String {
        rfc3339(self.clock.now().wall)
    }

    /// Gives it its number and its place.
    fn add(&mut self, draft: Draft) {
        if self.backlog.len() >= BACKLOG_MAX {
            self.lost += 1;
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (record, line) = draft.sealed(self.head.seq + 1, &self.head.hash);
        self.head = Head { seq: record.seq, hash: record.hash.clone() };
        if self.sink.is_some() {
            self.backlog.push_back((record.seq, line));
            return;
        }
        let mut memory = locked(&self.shared.memory);
        if memory.len() >= IN_MEMORY_MAX {
            memory.pop_front();
        }
        memory.push_back(record);
        self.shared.written.fetch_add(1, Ordering::Relaxed);
    }

    /// Brings what is numbered to the disk.
    fn write(&mut self) {
        let Some(sink) = &mut self.sink else { return };
        let Some(&(seq, _)) = self.backlog.front() else { return };
        let mut text = String::new();
        for (_, line) in &self.backlog {
            text.push_str(line);
            text.push('\n');
        }
        match sink.add(seq, &text) {
            Ok(()) => {
                let lines = self.backlog.len() as u64;
                self.shared.written.fetch_add(lines, Ordering::Relaxed);
                self.backlog.clear();
                if std::mem::take(&mut self.failing) {
                    (self.say)("the audit is written again");
                }
                let lost = std::mem::take(&mut self.lost);
                if lost > 0 {
                    let action = Action::new(Verb::Lost, format!("{lost} lines"));
                    let why = Outcome::Failed("the disk took none for too long".to_owned());
                    self.add_own(Action { outcome: why, ..action });
                    self.write();
                }
            }
            Err(error) => {
                self.shared.errors.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    (self.say)(&format!("the audit cannot be written: {error}"));
                }
            }
        }
    }
}
