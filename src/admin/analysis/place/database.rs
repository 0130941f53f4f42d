//! The databases: read whole when they are named and when their files have changed, and asked by a
//! pass that remembers what it was told.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrayvec::ArrayString;
use maxminddb::{MaxMindDbError, Reader};
use serde::{Deserialize, Serialize};

use super::{City, Country, Place, System, named};

/// The largest file that is read, bytes; the largest there are have a few hundred MiB.
const FILE_BYTES_MAX: u64 = 2 << 30;
/// Records of one database that a pass remembers at a time.
const REMEMBERED_MAX: usize = 65_536;

/// Why a database cannot be used.
#[derive(Debug)]
pub struct PlacesError {
    file: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Unreadable(std::io::Error),
    TooLarge(u64),
    Malformed(MaxMindDbError),
}

impl fmt::Display for PlacesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.why {
            Why::Unreadable(error) => write!(f, "geo.database: cannot read {file}: {error}"),
            Why::TooLarge(bytes) => {
                write!(f, "geo.database: {file} has {bytes} bytes; no more than {FILE_BYTES_MAX}")
            }
            Why::Malformed(error) => {
                write!(f, "geo.database: {file} is no MaxMind DB file: {error}")
            }
        }
    }
}

impl std::error::Error for PlacesError {}

/// What a file looks like from outside: another one is another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    bytes: u64,
    changed: Option<SystemTime>,
}

impl Look {
    fn at(file: &Path) -> Result<Look, std::io::Error> {
        let metadata = fs::metadata(file)?;
        Ok(Look { bytes: metadata.len(), changed: metadata.modified().ok() })
    }
}

/// One database.
struct Database {
    file: PathBuf,
    look: Look,
    reader: Reader<Vec<u8>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Database {
    fn open(file: &Path) -> Result<Database, PlacesError> {
        let failed = |why| PlacesError { file: file.to_owned(), why };
        let look = Look::at(file).map_err(|error| failed(Why::Unreadable(error)))?;
        if look.bytes > FILE_BYTES_MAX {
            return Err(failed(Why::TooLarge(look.bytes)));
        }
        let bytes = fs::read(file).map_err(|error| failed(Why::Unreadable(error)))?;
        let reader = Reader::from_source(bytes).map_err(|error| failed(Why::Malformed(error)))?;
        Ok(Database { file: file.to_owned(), look, reader })
    }

    fn about(&self) -> About {
        let metadata = self.reader.metadata();
        let file = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        About {
            file,
            kind: named(&metadata.database_type).to_string(),
            built: super::super::super::moment::rfc3339(crate::time::UnixTime(
                metadata.build_epoch.min(u64::from(u32::MAX)),
            )),
        }
    }
}

/// What a database says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct About {
    /// The name of its file.
    pub file: String,
    /// Its type, such as `GeoLite2-City`.
    pub kind: String,
    /// When it was made.
    pub built: String,
}

/// The databases there are, in the order they were named; none is no fault.
#[derive(Clone, Debug, Default)]
pub struct Places(Vec<Arc<Database>>);

impl Places {
    /// Reads these files, all or none.
    ///
    /// # Errors
    /// [`PlacesError`], one line that names the file.
    pub fn open(files: &[PathBuf]) -> Result<Places, PlacesError> {
        Places::default().again(files)
    }

    /// Reads those of these files that are not as they were; the others stay as they are.
    ///
    /// # Errors
    /// [`PlacesError`]; nothing has changed then.
    pub fn again(&self, files: &[PathBuf]) -> Result<Places, PlacesError> {
        let kept = |file: &PathBuf| {
            let same = self.0.iter().find(|one| one.file == *file)?;
            (Look::at(file).ok()? == same.look).then(|| Arc::clone(same))
        };
        let open = |file: &PathBuf| match kept(file) {
            Some(database) => Ok(database),
            None => Database::open(file).map(Arc::new),
        };
        files.iter().map(open).collect::<Result<_, _>>().map(Places)
    }

    /// Whether these are the very same databases.
    pub(crate) fn are(&self, other: &Places) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// What each says of itself.
    pub(crate) fn about(&self) -> Vec<About> {
        self.0.iter().map(|database| database.about()).collect()
    }

    /// What remembers the answers of one pass.
    pub(crate) fn lookup(&self) -> Lookup {
        let databases = self.0.iter().map(|one| (Arc::clone(one), HashMap::new()));
        Lookup { databases: databases.collect() }
    }
}

/// What a record says, as far as it is wanted; the rest of it is passed over.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Entry<'a>>,
    #[serde(borrow)]
    registered_country: Option<Entry<'a>>,
    #[serde(borrow)]
    city: Option<Entry<'a>>,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Option<Names<'a>>,
}

#[derive(Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

impl Entry<'_> {
    fn name(&self) -> &str {
        self.names.as_ref().and_then(|names| names.en).unwrap_or_default()
    }
}

/// What one database said of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    country: Option<Country>,
    city: Option<City>,
    system: Option<System>,
}

impl Said {
    fn of(record: &Record<'_>) -> Said {
        let country = record.country.as_ref().or(record.registered_country.as_ref());
        let country = country.and_then(|entry| {
            let code = ArrayString::from(entry.iso_code?).ok()?;
            let name = Some(entry.name()).filter(|name| !name.is_empty());
            Some(Country { code, name: named(name.unwrap_or(&code)) })
        });
        let city = record.city.as_ref().map(Entry::name).filter(|name| !name.is_empty());
        let code = country.map_or_else(ArrayString::new, |country| country.code);
        let number = record.autonomous_system_number.filter(|number| *number > 0);
        let operator = record.autonomous_system_organization.unwrap_or_default();
        Said {
            country,
            city: city.map(|name| City { country: code, name: named(name) }),
            system: number.map(|number| System { number, name: named(operator) }),
        }
    }
}

/// Asks the databases, and remembers records: many phones are in few places.
pub(crate) struct Lookup {
    databases: Vec<(Arc<Database>, HashMap<usize, Said>)>,
}

impl Lookup {
    /// Where an address is. What a database has broken is as if it did not know.
    pub fn place(&mut self, address: IpAddr) -> Place {
        if let Some(place) = Place::special(address) {
            return place;
        }
        let mut all = Said::default();
        for (database, remembered) in &mut self.databases {
            let said = said(database, remembered, address.to_canonical());
            all.country = all.country.or(said.country);
            all.city = all.city.or(said.city);
            all.system = all.system.or(said.system);
        }
        let unknown = Place::unknown();
        let country = all.country.unwrap_or(unknown.country);
        Place {
            country,
            city: all.city.unwrap_or(City { country: country.code, ..unknown.city }),
            system: all.system.unwrap_or(unknown.system),
        }
    }
}

fn said(database: &Database, remembered: &mut HashMap<usize, Said>, address: IpAddr) -> Said {
    let Ok(found) = database.reader.lookup(address) else { return Said::default() };
    let Some(offset) = found.offset() else { return Said::default() };
    if let Some(said) = remembered.get(&offset) {
        return *said;
    }
    let record = found.decode::<Record<'_>>();
    let said = record.ok().flatten().map_or_else(Said::default, |record| Said::of(&record));
    if remembered.len() >= REMEMBERED_MAX {
        remembered.clear();
    }
    remembered.insert(offset, said);
    said
}

#[cfg(test)]
mod tests {
    use super::super::mmdb::{Value, write};
    use super::*;

    fn country(code: &str, name: &str) -> Value {
        let names = Value::map([("en", Value::text(name)), ("de", Value::text("x"))]);
        Value::map([
            ("geoname_id", Value::Number(7)),
            ("iso_code", Value::text(code)),
            ("names", names),
        ])
    }

    fn cities() -> Vec<u8> {
        let berlin = Value::map([("names", Value::map([("en", Value::text("Berlin"))]))]);
        let germany = country("DE", "Germany");
        write(
            "Test-City",
            &[
                ("185.0.0.0/16", Value::map([("city", berlin), ("country", germany.clone())])),
                ("185.1.0.0/16", Value::map([("registered_country", germany)])),
                ("2a00::/16", Value::map([("country", country("FR", ""))])),
                ("9.0.0.0/8", Value::text("no record at all")),
            ],
        )
    }

    fn systems() -> Vec<u8> {
        let one = |number, name| {
            Value::map([
                ("autonomous_system_number", Value::Number(number)),
                ("autonomous_system_organization", Value::text(name)),
            ])
        };
        write("Test-ASN", &[("185.0.0.0/12", one(64500, "Example Networks"))])
    }

    /// A directory of this test's own, gone with it.
    struct Room(PathBuf);

    impl Room {
        fn new(name: &str) -> Room {
            let room = std::env::temp_dir().join(format!("aorta-{}-{name}", std::process::id()));
            fs::create_dir_all(&room).unwrap();
            Room(room)
        }

        fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let file = self.0.join(name);
            fs::write(&file, bytes).unwrap();
            file
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn said_of(places: &Places, address: &str) -> [String; 4] {
        let place = places.lookup().place(address.parse().unwrap());
        [
            place.country.code.to_string(),
            place.country.name.to_string(),
            place.city.name.to_string(),
            place.system.number.to_string(),
        ]
    }

    #[test]
    fn places_are_put_together_from_all_databases() {
        let room = Room::new("places");
        let files = [room.put("city.mmdb", &cities()), room.put("asn.mmdb", &systems())];
        let places = Places::open(&files).unwrap();
        for (address, expected) in [
            ("185.0.3.4", ["DE", "Germany", "Berlin", "64500"]),
            ("::ffff:185.0.3.4", ["DE", "Germany", "Berlin", "64500"]),
            ("185.1.3.4", ["DE", "Germany", "unknown", "64500"]),
            ("2a00::1", ["FR", "FR", "unknown", "0"]),
            ("9.1.1.1", ["", "unknown", "unknown", "0"]),
            ("8.8.8.8", ["", "unknown", "unknown", "0"]),
            ("10.0.0.1", ["", "private", "private", "0"]),
        ] {
            assert_eq!(said_of(&places, address), expected, "{address}");
        }
        let about = places.about();
        assert_eq!((about[0].kind.as_str(), about[1].file.as_str()), ("Test-City", "asn.mmdb"));
        assert_eq!(about[0].built, "2026-11-01T00:00:00Z");
        // Asked again, from memory, it says the same.
        let mut lookup = places.lookup();
        let address = "185.0.3.4".parse().unwrap();
        assert_eq!(lookup.place(address), lookup.place(address));
    }

    #[test]
    fn a_file_that_changed_is_read_again_and_others_are_not() {
        let room = Room::new("changed");
        let files = [room.put("a.mmdb", &cities()), room.put("b.mmdb", &systems())];
        let places = Places::open(&files).unwrap();
        let same = places.again(&files).unwrap();
        assert!(places.are(&same));
        let austria = Value::map([("country", country("AT", "Austria"))]);
        // Its size alone tells, whatever the clock of the file system.
        room.put("a.mmdb", &write("Other", &[("185.0.0.0/16", austria)]));
        let other = places.again(&files).unwrap();
        assert!(!places.are(&other));
        assert!(Arc::ptr_eq(&places.0[1], &other.0[1]));
        assert_eq!(said_of(&other, "185.0.3.4")[0], "AT");
        assert!(Places::default().again(&[]).unwrap().are(&Places::default()));
    }

    #[test]
    fn a_file_that_is_none_is_named_in_one_line() {
        let room = Room::new("broken");
        let mut cut = cities();
        cut.truncate(cut.len() / 2);
        let broken = [
            room.put("text.mmdb", b"this is no database"),
            room.put("empty.mmdb", b""),
            room.put("cut.mmdb", &cut),
            room.0.join("missing.mmdb"),
        ];
        for file in broken {
            let line = Places::open(std::slice::from_ref(&file)).unwrap_err().to_string();
            assert!(line.starts_with("geo.database: ") && !line.contains('\n'), "{line}");
            assert!(line.contains(file.file_name().unwrap().to_str().unwrap()), "{line}");
        }
    }

    #[test]
    fn broken_bytes_never_panic() {
        let whole = cities();
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            let Ok(reader) = Reader::from_source(broken) else { continue };
            let look = Look { bytes: 0, changed: None };
            let database = Arc::new(Database { file: PathBuf::new(), look, reader });
            let mut lookup = Places(vec![database]).lookup();
            for address in ["185.0.3.4", "2a00::1", "9.1.1.1"] {
                lookup.place(address.parse().unwrap());
            }
        }
    }
}
