//! Where the socket of `aorta-nft` may be, how wide it is, and who is let in, over real sockets.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::shield::daemon::{Settings, run_with};
use crate::shield::nft::Nft;

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A directory of one test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("aorta-door-{name}-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Scratch(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(&self.0, Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the directory of temporary things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs until the process ends. Counts its lines.
fn start(scratch: &Scratch, user: u32, silence_max: Duration) -> Arc<AtomicU64> {
    let nft = Nft::find(Some(Path::new("/bin/true"))).unwrap();
    let settings = Settings { socket: scratch.socket(), user, nft };
    let lines = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lines);
    thread::spawn(move || {
        run_with(&settings, silence_max, &|_: &dyn fmt::Display| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
    });
    lines
}

fn connect(scratch: &Scratch) -> UnixStream {
    let begun = Instant::now();
    loop {
        if let Ok(stream) = UnixStream::connect(scratch.socket()) {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            return stream;
        }
        assert!(begun.elapsed() < DEADLINE, "nobody listens");
        thread::yield_now();
    }
}

#[test]
fn a_directory_that_others_may_write_is_refused_unless_it_is_sticky() {
    let scratch = Scratch::new("modes");
    for (mode, good) in
        [(0o777, false), (0o770, false), (0o702, false), (0o1777, true), (0o750, true)]
    {
        scratch.set_mode(mode);
        match listen(&scratch.socket(), own_user()) {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(error) => {
                assert!(!good && error.kind() == io::ErrorKind::PermissionDenied, "{error}");
                assert!(error.to_string().contains("written by others"), "{error}");
                assert!(!scratch.socket().exists(), "it is refused before anything is made");
            }
        }
    }
}

#[test]
fn the_socket_is_its_owners_and_groups_alone_and_a_dead_one_is_replaced() {
    let scratch = Scratch::new("width");
    for _ in 0..2 {
        let listener = listen(&scratch.socket(), own_user()).unwrap();
        let mode = fs::symlink_metadata(scratch.socket()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o660);
        let taken = listen(&scratch.socket(), own_user()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "somebody listens there");
        drop(listener);
    }
}

#[test]
fn a_link_in_the_place_of_the_socket_is_refused_and_what_it_names_is_not_touched() {
    let scratch = Scratch::new("link");
    let victim = scratch.0.join("victim");
    File::create(&victim).unwrap();
    fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
    symlink(&victim, scratch.socket()).unwrap();
    assert!(listen(&scratch.socket(), own_user()).is_err());
    assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600);
    assert!(fs::symlink_metadata(scratch.socket()).unwrap().file_type().is_symlink());
}

/// Three hundred of them would have been half a minute when each cost a rest.
#[test]
fn strangers_are_closed_at_once_and_told_of_at_a_bounded_rate() {
    let scratch = Scratch::new("strangers");
    let lines = start(&scratch, own_user() + 1, DEADLINE);
    let begun = Instant::now();
    for _ in 0..300 {
        let mut said = Vec::new();
        // Closed with something unread, or without; nothing is said in either case.
        let _ = connect(&scratch).read_to_end(&mut said);
        assert!(said.is_empty());
    }
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    assert!(lines.load(Ordering::Relaxed) <= 4, "{lines:?}");
}

#[test]
fn one_line_tells_of_all_strangers_since_the_last() {
    let (mut strangers, start) = (Strangers::default(), Instant::now());
    assert_eq!(strangers.note(start), Some(1));
    assert!((0..1000).all(|_| strangers.note(start).is_none()));
    assert_eq!(strangers.note(start + STRANGERS_TOLD_EVERY), Some(1001));
}

#[test]
fn whoever_comes_second_is_served_once_the_first_has_been_silent_for_long_enough() {
    let scratch = Scratch::new("second");
    start(&scratch, own_user(), Duration::from_millis(100));
    let idle = connect(&scratch);
    for _ in 0..2 {
        let mut second = connect(&scratch);
        second.write_all(b"ping\n").unwrap();
        let mut answer = String::new();
        BufReader::new(&second).read_line(&mut answer).unwrap();
        assert_eq!(answer, "ok 0 0\n");
    }
    drop(idle);
}
