//! The database of history: how it is opened, what tables it has, and what becomes of a file that
//! is damaged. Its first user is the writer; whoever asks opens it read-only.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// "AoHi": what the file is, for those who find it.
const APPLICATION_ID: i64 = 0x416f_4869;
/// What the tables look like.
const VERSION: i64 = 1;
const FILE: &str = "history.db";
/// What the rest of a write-ahead log is cut to, bytes.
const LOG_BYTES: u64 = 4 << 20;
/// How long one who writes and one who reads wait for each other.
const BUSY: Duration = Duration::from_secs(3);
/// Files that are kept aside; then the last one's place is taken again.
const ASIDE_MAX: usize = 16;

/// An event's `id` is its time, milliseconds since the epoch, and a number that tells those of one
/// millisecond apart: so ids stand in the order of time, and every index has that order for
/// nothing. `key` is a hash of the user part of `aor`.
const TABLES: &str = "
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        key INTEGER NOT NULL,
        aor TEXT NOT NULL,
        contact TEXT NOT NULL,
        source BLOB,
        port INTEGER NOT NULL,
        transport INTEGER,
        user_agent INTEGER NOT NULL,
        granted_s INTEGER NOT NULL,
        reason INTEGER NOT NULL,
        count INTEGER NOT NULL,
        shard INTEGER NOT NULL
    );
    CREATE INDEX event_by_account ON event (key);
    CREATE INDEX event_by_source ON event (source);
    CREATE INDEX event_by_kind ON event (kind, reason);
    CREATE INDEX event_of_kind ON event (kind);
    CREATE TABLE text (
        id INTEGER PRIMARY KEY,
        value TEXT NOT NULL UNIQUE,
        last_ms INTEGER NOT NULL
    );
    CREATE TABLE trend (
        step_s INTEGER NOT NULL,
        at_s INTEGER NOT NULL,
        cells BLOB NOT NULL,
        PRIMARY KEY (step_s, at_s)
    ) WITHOUT ROWID;
";

/// Where the database is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In this file.
    File(PathBuf),
    /// In the memory of this process, under a name of its own.
    Memory(String),
}

impl Place {
    /// In a data directory.
    pub fn in_directory(directory: &Path) -> Place {
        Place::File(directory.join(FILE))
    }

    /// In memory; each has its own.
    pub fn in_memory() -> Place {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Place::Memory(format!("file:/aorta-history-{number}?vfs=memdb"))
    }

    fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self {
            Place::File(path) => Connection::open_with_flags(path, flags)?,
            Place::Memory(name) => {
                let flags = OpenFlags::SQLITE_OPEN_URI
                    | OpenFlags::SQLITE_OPEN_READ_WRITE
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(name, flags)?
            }
        };
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    /// A connection that reads.
    pub fn open_to_read(&self) -> rusqlite::Result<Connection> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    /// The one connection that writes. A new database is made; one that is there is checked.
    ///
    /// # Errors
    /// [`Unusable`]; the file is as it was.
    pub fn open_to_write(&self, bytes_max: u64) -> Result<Connection, Unusable> {
        if let Place::File(path) = self {
            // Who registers from where is nobody else's business. What is beside the file has its
            // rights; where it cannot be made, the library says why.
            let _ = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = self.connect(flags)?;
        let is_new = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?
            == 0;
        if is_new {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        } else {
            let number =
                |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            if number("application_id")? != APPLICATION_ID {
                return Err(Unusable::Foreign);
            }
            let version = number("user_version")?;
            if version != VERSION {
                return Err(Unusable::Version(version));
            }
        }
        if let Place::File(_) = self {
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update_and_check(
                None,
                "journal_size_limit",
                LOG_BYTES as i64,
                |_| Ok(()),
            )?;
        }
        if is_new {
            let change = connection.transaction()?;
            change.execute_batch(TABLES)?;
            change.pragma_update(None, "application_id", APPLICATION_ID)?;
            change.pragma_update(None, "user_version", VERSION)?;
            change.commit()?;
        }
        hold(&connection, bytes_max)?;
        Ok(connection)
    }

    /// Puts the file aside, so that a new one can be begun. Returns what it is called now.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn put_aside(&self) -> io::Result<Option<PathBuf>> {
        let Place::File(path) = self else { return Ok(None) };
        let name = |number: usize, ending: &str| {
            let mut name = path.clone().into_os_string();
            name.push(format!(".damaged.{number}{ending}"));
            PathBuf::from(name)
        };
        let is_free = |number: &usize| fs::symlink_metadata(name(*number, "")).is_err();
        let number = (1..ASIDE_MAX).find(is_free).unwrap_or(ASIDE_MAX);
        for ending in ["-wal", "-shm"] {
            let mut beside = path.clone().into_os_string();
            beside.push(ending);
            match fs::rename(&beside, name(number, ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(path, name(number, ""))?;
        Ok(Some(name(number, "")))
    }
}

/// Lets the database grow to so many bytes, and a little more for what is being written.
fn hold(connection: &Connection, bytes_max: u64) -> rusqlite::Result<()> {
    const SPARE_PAGES: u64 = 1024;
    let page = connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?;
    let pages = bytes_max / u64::try_from(page).unwrap_or(4096).max(512) + SPARE_PAGES;
    let pages = i64::try_from(pages).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It is another program's.
    Foreign,
    /// Another version of this program made it.
    Version(i64),
    /// Whoever read it found it damaged.
    Damaged,
    /// The library, or the system, says so.
    Refused(rusqlite::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Unusable {
        Unusable::Refused(error)
    }
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unusable::Foreign => f.write_str("it is no history of Aorta"),
            Unusable::Version(version) => {
                write!(f, "its tables are of version {version}, expected {VERSION}")
            }
            Unusable::Damaged => f.write_str("it is damaged"),
            Unusable::Refused(error) => error.fmt(f),
        }
    }
}

impl Unusable {
    /// Whether the file is at fault, and not the disk or the rights to it.
    pub fn is_of_the_file(&self) -> bool {
        match self {
            Unusable::Foreign | Unusable::Version(_) | Unusable::Damaged => true,
            Unusable::Refused(error) => is_damage(error),
        }
    }
}

/// Whether an error says that the file is damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase};

    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Whether an error says that there is no room.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
