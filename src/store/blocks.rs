//! Blocks that operators have set, which outlive a restart: one small file of the data directory,
//! written whole by a thread of its own, so that neither a reactor nor whoever gives orders waits
//! for a disk.
//!
//! The file is text: a head with its version, a line for each source with the second its block ends
//! or `-` where it does not, and a last line with their number, so that a half one is noticed. Of a
//! file that is not whole the lines that are understood hold, and it is put aside: a registrar that
//! does not start for the sake of its blocks would shut out everybody.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::keys::KeyError;
use crate::guard::address::culprit;
use crate::limits::BLACKLIST_MAX;
use crate::time::UnixTime;

const FILE: &str = "blocks";
const HEAD: &str = "aorta blocks 1";
/// Longest line: an address of IPv6, a blank, twenty digits, a line end.
const LINE_BYTES_MAX: u64 = 64;
const FILE_BYTES_MAX: u64 = (BLACKLIST_MAX as u64 + 2) * LINE_BYTES_MAX;
/// Changes that may wait to be written.
const WAITING_MAX: usize = 256;
/// Files that are kept aside; then the last one's place is taken again.
const ASIDE_MAX: usize = 16;

/// Blocked sources, as they stand for their networks, and when each is free again: `None` until
/// somebody lifts it.
pub type Blocks = BTreeMap<IpAddr, Option<UnixTime>>;

/// What was kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// The blocks, those left out that have ended.
    pub blocks: Blocks,
    /// One line about a file that was not whole.
    pub complaint: Option<String>,
}

/// Reads what `directory` keeps; nothing where there is no file yet.
///
/// # Errors
/// The file is there and cannot be read, or put aside.
pub fn restore(directory: &Path, now: UnixTime) -> Result<Kept, KeyError> {
    let path = directory.join(FILE);
    let io = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io { operation, path, source }
    };
    let kind = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(io("look at", &path)(error)),
    };
    let mut bytes = Vec::new();
    // Whatever else has that name is not opened: a pipe would never end.
    if kind.is_file() {
        let file = File::open(&path).map_err(io("open", &path))?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io("read", &path))?;
    }
    let Parsed { mut blocks, wrong, not_taken } = parse(&bytes);
    blocks.retain(|_, until| until.is_none_or(|until| until > now));
    let Some(wrong) = wrong else { return Ok(Kept { blocks, complaint: None }) };
    let aside = aside(directory);
    fs::rename(&path, &aside).map_err(io("put aside", &path))?;
    // What was understood is written anew, so that it is there after the next start too.
    let taken = blocks.len();
    let file = BlockFile { directory: directory.to_owned(), blocks };
    let unwritten = match file.write() {
        Ok(()) => String::new(),
        Err(why) => format!("; {why}"),
    };
    let (path, aside) = (path.display(), aside.display());
    let complaint = format!(
        "{path}: {wrong}; {taken} blocks of it hold, {not_taken} lines are not understood; it is \
         {aside} now{unwritten}"
    );
    Ok(Kept { blocks: file.blocks, complaint: Some(complaint) })
}

/// A name that no file has yet, as long as there are few.
fn aside(directory: &Path) -> PathBuf {
    let name = |number: usize| match number {
        1 => directory.join(format!("{FILE}.broken")),
        _ => directory.join(format!("{FILE}.broken.{number}")),
    };
    let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    (1..ASIDE_MAX).map(name).find(is_free).unwrap_or_else(|| name(ASIDE_MAX))
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    blocks: Blocks,
    /// The first thing that is wrong.
    wrong: Option<String>,
    /// Lines that are not understood, but for the first and the last.
    not_taken: usize,
}

impl Parsed {
    fn complain(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }
}

/// Takes every line that is a block. Nothing is taken of a file of another version: its lines may
/// mean something else.
fn parse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    if bytes.len() as u64 > FILE_BYTES_MAX {
        parsed.complain(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    // A line that breaks off may say another time than was written.
    let whole = bytes.iter().rposition(|&byte| byte == b'\n');
    let (text, rest) = whole.map_or((&[][..], bytes), |end| (&bytes[..end], &bytes[end + 1..]));
    let mut lines = (1..).zip(text.split(|&byte| byte == b'\n'));
    if lines.next().map(|(_, line)| line) != Some(HEAD.as_bytes()) {
        parsed.complain(format!("line 1: expected {HEAD:?}"));
        parsed.not_taken = lines.count();
        return parsed;
    }
    let mut ended = false;
    for (number, line) in lines {
        if ended {
            parsed.complain(format!("line {number}: there is more behind the end"));
        }
        match Line::read(line) {
            Some(Line::End(count)) => {
                ended = true;
                if count != parsed.blocks.len() + parsed.not_taken {
                    parsed.complain(format!("line {number}: expected the number of blocks"));
                }
            }
            // What a broken disk adds makes the list no longer than it may be.
            Some(Line::Block(source, until)) if parsed.blocks.len() < BLACKLIST_MAX => {
                parsed.blocks.insert(source, until);
            }
            _ => {
                parsed.not_taken += 1;
                let wanted = "expected an address and the second it is free";
                parsed.complain(format!("line {number}: {wanted}"));
            }
        }
    }
    if !ended || !rest.is_empty() {
        parsed.complain("it breaks off".to_owned());
    }
    parsed
}

enum Line {
    Block(IpAddr, Option<UnixTime>),
    End(usize),
}

impl Line {
    fn read(line: &[u8]) -> Option<Line> {
        let (first, second) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        if first == "end" {
            return second.parse().ok().map(Line::End);
        }
        let source: IpAddr = first.parse().ok()?;
        let until = match second {
            "-" => None,
            seconds => Some(UnixTime(seconds.parse().ok()?)),
        };
        Some(Line::Block(culprit(source.to_canonical()), until))
    }
}

fn text(blocks: &Blocks) -> String {
    let mut text = format!("{HEAD}\n");
    for (source, until) in blocks {
        // A string takes everything.
        let _ = match until {
            None => writeln!(text, "{source} -"),
            Some(until) => writeln!(text, "{source} {}", until.0),
        };
    }
    let _ = writeln!(text, "end {}", blocks.len());
    text
}

/// What an operator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Blocked a source, until then or until it is lifted.
    Block(IpAddr, Option<UnixTime>),
    /// Lifted its block.
    Lift(IpAddr),
}

/// Is told whether a change outlives the process; if not, why.
pub type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

struct Order {
    now: UnixTime,
    change: Change,
    done: Done,
}

/// The blocks that are kept. Dropping it writes what waits.
pub struct BlockStore {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl BlockStore {
    /// Keeps blocks in `directory`, which is there; `blocks` are those it has.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(directory: &Path, blocks: Blocks) -> io::Result<BlockStore> {
        let (orders, waiting) = bounded(WAITING_MAX);
        let file = BlockFile { directory: directory.to_owned(), blocks };
        let builder = thread::Builder::new().name("blocks".into());
        let thread = builder.spawn(move || file.run(&waiting))?;
        Ok(BlockStore { orders: Some(orders), thread: Some(thread) })
    }

    /// Keeps a change. `done` is called once it is on the disk, or cannot be put there.
    pub fn keep(&self, now: UnixTime, change: Change, done: Done) {
        let Some(orders) = &self.orders else { return };
        if let Err(refused) = orders.try_send(Order { now, change, done }) {
            let Order { done, .. } = refused.into_inner();
            done(Err("too many changes wait to be written".to_owned()));
        }
    }
}

impl Drop for BlockStore {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // It has printed why, if it panicked.
            let _ = thread.join();
        }
    }
}

struct BlockFile {
    directory: PathBuf,
    blocks: Blocks,
}

impl BlockFile {
    fn run(mut self, waiting: &Receiver<Order>) {
        while let Ok(first) = waiting.recv() {
            // What came together is written together.
            let orders = std::iter::once(first).chain(waiting.try_iter().take(WAITING_MAX));
            let mut told: Vec<(Done, Result<(), String>)> = Vec::new();
            let mut changed = false;
            for Order { now, change, done } in orders {
                let applied = self.apply(now, change);
                changed |= applied == Ok(true);
                told.push((done, applied.map(|_| ())));
            }
            let written = if changed { self.write() } else { Ok(()) };
            for (done, applied) in told {
                done(applied.and_then(|()| written.clone()));
            }
        }
    }

    /// Returns whether anything has changed.
    fn apply(&mut self, now: UnixTime, change: Change) -> Result<bool, String> {
        self.blocks.retain(|_, until| until.is_none_or(|until| until > now));
        match change {
            Change::Block(source, until) => {
                let source = culprit(source.to_canonical());
                if self.blocks.len() >= BLACKLIST_MAX && !self.blocks.contains_key(&source) {
                    return Err(format!("{BLACKLIST_MAX} blocks are kept already"));
                }
                self.blocks.insert(source, until);
                Ok(true)
            }
            Change::Lift(source) => {
                Ok(self.blocks.remove(&culprit(source.to_canonical())).is_some())
            }
        }
    }

    /// Puts the whole file in the place of the one before; whenever the power goes, one of them is
    /// there.
    fn write(&self) -> Result<(), String> {
        let path = self.directory.join(FILE);
        let draft = self.directory.join(format!("{FILE}.{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(text(&self.blocks).as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&draft, &path))
            .and_then(|()| File::open(&self.directory)?.sync_all());
        written.map_err(|error| {
            // It may not be there, and nobody needs it.
            let _ = fs::remove_file(&draft);
            format!("cannot write {}: {error}", path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let unique = format!("aorta-blocks-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(unique);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a directory");
            Scratch(path)
        }

        fn restore(&self) -> Kept {
            restore(&self.0, NOW).expect("it can be read")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Keeps a change and waits until that is done.
    fn keep(store: &BlockStore, change: Change) -> Result<(), String> {
        let (sender, done) = bounded(1);
        store.keep(NOW, change, Box::new(move |kept| sender.send(kept).unwrap()));
        done.recv().expect("it is told")
    }

    #[test]
    fn what_was_kept_is_there_again_and_what_was_lifted_or_has_ended_is_not() {
        let scratch = Scratch::new("kept");
        assert!(scratch.restore().blocks.is_empty());
        let store = BlockStore::start(&scratch.0, Blocks::new()).unwrap();
        let later = Some(UnixTime(NOW.0 + 60));
        for change in [
            Change::Block(ip("192.0.2.1"), None),
            Change::Block(ip("192.0.2.2"), None),
            Change::Block(ip("::ffff:192.0.2.3"), later),
            Change::Block(ip("2001:db8::7"), None),
            Change::Lift(ip("192.0.2.2")),
            Change::Lift(ip("192.0.2.99")),
        ] {
            assert_eq!(keep(&store, change), Ok(()));
        }
        let expected: Blocks =
            [(ip("192.0.2.1"), None), (ip("192.0.2.3"), later), (ip("2001:db8::"), None)].into();
        let kept = scratch.restore();
        assert_eq!((kept.blocks, kept.complaint), (expected.clone(), None));
        let ended = restore(&scratch.0, UnixTime(NOW.0 + 60)).unwrap().blocks;
        assert_eq!(ended.len(), 2);
        drop(store);
        let names: Vec<_> = fs::read_dir(&scratch.0).unwrap().collect();
        assert_eq!(names.len(), 1, "no draft is left: {names:?}");
        // The next process goes on with it.
        let store = BlockStore::start(&scratch.0, expected).unwrap();
        assert_eq!(keep(&store, Change::Lift(ip("2001:db8:0:0:ffff::"))), Ok(()));
        assert_eq!(scratch.restore().blocks.len(), 2);
    }

    #[test]
    fn of_a_broken_file_what_is_understood_holds_and_it_is_put_aside_with_one_line() {
        for (name, bytes, taken) in [
            ("empty", &b""[..], 0),
            ("binary", b"\xff\x00\x01", 0),
            ("version", b"aorta blocks 2\n192.0.2.1 -\nend 1\n", 0),
            ("half", b"aorta blocks 1\n192.0.2.1 -\n", 1),
            ("cut", b"aorta blocks 1\n192.0.2.1 -\nend 1", 1),
            ("broken", b"aorta blocks 1\n192.0.2.1 -\n192.0.2.2 18", 1),
            ("count", b"aorta blocks 1\n192.0.2.1 -\nend 2\n", 1),
            ("behind", b"aorta blocks 1\n192.0.2.1 -\nend 1\n192.0.2.2 -\n", 2),
            ("address", b"aorta blocks 1\n192.0.2 -\n192.0.2.1 -\nend 2\n", 1),
            ("network", b"aorta blocks 1\n0.0.0.0/0 -\nend 1\n", 0),
            ("time", b"aorta blocks 1\n192.0.2.1 soon\n192.0.2.2 -\n192.0.2.3 -\nend 3\n", 2),
            ("nothing", b"aorta blocks 1\n192.0.2.1\nend 1\n", 0),
            ("bytes", b"aorta blocks 1\n\xff\xfe\n192.0.2.1 -\nend 2\n", 1),
        ] {
            let scratch = Scratch::new(name);
            fs::write(scratch.0.join(FILE), bytes).unwrap();
            let kept = scratch.restore();
            let said = kept.complaint.expect(name);
            assert!(said.contains("blocks.broken") && !said.contains('\n'), "{said}");
            assert!(said.contains(&format!("{taken} blocks of it hold")), "{said}");
            assert_eq!(kept.blocks.len(), taken, "{name}");
            assert_eq!(fs::read(scratch.0.join("blocks.broken")).unwrap(), bytes);
            let again = scratch.restore();
            assert!(again.complaint.is_none(), "it is said once");
            assert_eq!(again.blocks, kept.blocks, "and what was taken stays");
        }
    }

    #[test]
    fn one_bad_line_costs_one_block_and_files_put_aside_do_not_fall_on_each_other() {
        let scratch = Scratch::new("aside");
        let blocks: Blocks = (0..1000u32).map(|n| (IpAddr::from(n.to_be_bytes()), None)).collect();
        let broken = text(&blocks).replacen("0.0.0.7 -", "0.0.0.7 x", 1);
        for time in 1..=ASIDE_MAX + 3 {
            fs::write(scratch.0.join(FILE), format!("{broken}{time}\n")).unwrap();
            assert_eq!(scratch.restore().blocks.len(), 999);
        }
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), ASIDE_MAX + 1, "a bounded number");
        let first = fs::read_to_string(scratch.0.join("blocks.broken")).unwrap();
        assert!(first.ends_with("\n1\n"), "the first is there still");
    }

    #[test]
    fn what_is_too_long_or_no_file_at_all_is_not_taken_for_one() {
        let scratch = Scratch::new("long");
        let file = File::create(scratch.0.join(FILE)).unwrap();
        file.set_len(FILE_BYTES_MAX + 10).unwrap();
        assert!(scratch.restore().complaint.unwrap().contains("more than"));
        let scratch = Scratch::new("directory");
        fs::create_dir(scratch.0.join(FILE)).unwrap();
        assert!(scratch.restore().complaint.unwrap().contains("line 1"));
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told_and_what_could_not_be_written_is_later() {
        let scratch = Scratch::new("gone");
        let store = BlockStore::start(&scratch.0, Blocks::new()).unwrap();
        fs::remove_dir_all(&scratch.0).unwrap();
        let why = keep(&store, Change::Block(ip("192.0.2.1"), None)).unwrap_err();
        assert!(why.starts_with("cannot write"), "{why}");
        fs::create_dir_all(&scratch.0).unwrap();
        assert_eq!(keep(&store, Change::Block(ip("192.0.2.2"), None)), Ok(()));
        assert_eq!(scratch.restore().blocks.len(), 2);
    }

    #[test]
    fn there_are_no_more_than_the_blacklist_takes() {
        let scratch = Scratch::new("full");
        let blocks = (0..BLACKLIST_MAX as u32).map(|n| (IpAddr::from(n.to_be_bytes()), None));
        let store = BlockStore::start(&scratch.0, blocks.collect()).unwrap();
        let why = keep(&store, Change::Block(ip("192.0.2.1"), None)).unwrap_err();
        assert!(why.contains("already"), "{why}");
        assert_eq!(keep(&store, Change::Block(ip("0.0.0.1"), None)), Ok(()), "it is there");
        assert_eq!(scratch.restore().blocks.len(), BLACKLIST_MAX, "and the longest file is read");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_list_survives(blocks in proptest::collection::btree_map(
            any::<IpAddr>().prop_map(|ip| culprit(ip.to_canonical())),
            proptest::option::of(any::<u64>().prop_map(UnixTime)),
            0..40,
        )) {
            let whole = Parsed { blocks: blocks.clone(), ..Parsed::default() };
            prop_assert_eq!(parse(text(&blocks).as_bytes()), whole);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = [HEAD.as_bytes(), b"\n", &bytes].concat();
            prop_assert!(parse(&bytes).wrong.is_some());
            // Whatever it is, it is decided.
            let _ = parse(&whole);
        }
    }
}
