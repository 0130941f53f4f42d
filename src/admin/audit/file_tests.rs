//! Tests of the files, the chain through them and what tells that somebody touched it.

use std::io::Cursor;

use proptest::prelude::*;

use super::super::action::{Action, Verb};
use super::super::record::Draft;
use super::super::verify::{TORN, Verified, Verifier, VerifyError};
use super::*;

pub(in super::super) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let unique = format!("aorta-audit-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Opens the audit there and adds so many lines, each by itself.
pub(in super::super) fn add(directory: &Path, room: Room, lines: usize) {
    let Opened { mut file, mut head, torn } = AuditFile::open(directory, room).expect("a folder");
    let drafts = torn.map(|torn| Action::new(Verb::Torn, "the line before").detail(torn));
    let others = (0..lines).map(|n| Action::new(Verb::Block, format!("192.0.2.{n}")));
    for action in drafts.into_iter().chain(others) {
        let draft = Draft::own("2026-11-21T02:38:00Z".to_owned(), action);
        let (record, line) = draft.sealed(head.seq + 1, &head.hash);
        file.add(record.seq, &format!("{line}\n")).expect("room on the disk");
        head = Head { seq: record.seq, hash: record.hash };
    }
}

const WIDE: Room = Room { file_bytes: 1 << 20, files: 100 };

fn verified(texts: &[Vec<u8>]) -> Result<Verified, String> {
    let mut verifier = Verifier::default();
    for (number, text) in texts.iter().enumerate() {
        verifier
            .file(&format!("{number}"), Cursor::new(text))
            .map_err(|error| error.to_string())?;
    }
    verifier.finish().map_err(|error| error.to_string())
}

/// The files there, the oldest first.
fn texts(directory: &Path) -> Vec<Vec<u8>> {
    let aside = put_aside(directory).unwrap().into_iter().map(|(_, path)| path);
    aside.chain([newest(directory)]).map(|path| read_whole(&path).unwrap()).collect()
}

#[test]
fn the_chain_goes_on_through_restarts_and_files_and_the_oldest_go() {
    let scratch = Scratch::new("files");
    let room = Room { file_bytes: 2000, files: 3 };
    for _ in 0..5 {
        add(&scratch.0, room, 8);
    }
    let kept = texts(&scratch.0);
    assert_eq!(kept.len(), 4);
    let found = verified(&kept).unwrap();
    assert_eq!((found.last, found.torn), (40, 0));
    assert!(found.first > 1 && found.records == 41 - found.first);
    assert!(kept.iter().all(|text| text.len() <= 2000));
    // The wrong order, and a file that is missing, are seen.
    let mut turned = kept.clone();
    turned.swap(0, 1);
    assert!(verified(&turned).is_err());
    assert!(verified(&[kept[0].clone(), kept[2].clone()]).is_err());
}

#[test]
fn a_line_that_a_crash_cut_off_is_said_by_the_next() {
    let scratch = Scratch::new("torn");
    add(&scratch.0, WIDE, 3);
    let whole = texts(&scratch.0).remove(0);
    let last = memchr::memrchr(b'\n', &whole[..whole.len() - 1]).unwrap() + 1;
    for end in last + 1..whole.len() {
        fs::write(newest(&scratch.0), &whole[..end]).unwrap();
        add(&scratch.0, WIDE, 2);
        let text = texts(&scratch.0);
        let found = verified(&text).unwrap_or_else(|broken| panic!("cut at {end}: {broken}"));
        // Where nothing but the line end was missing there is nothing to say.
        let is_whole = end == whole.len() - 1;
        assert_eq!((found.torn, found.last), if is_whole { (0, 5) } else { (1, 5) }, "{end}");
        let said = String::from_utf8_lossy(&text[0]).contains(&format!("\"action\":\"{TORN}\""));
        assert_eq!(said, !is_whole);
    }
    // What was there before a file had any whole line is said as well.
    fs::write(newest(&scratch.0), b"\0\0\0").unwrap();
    add(&scratch.0, WIDE, 1);
    assert_eq!(verified(&texts(&scratch.0)).unwrap().torn, 1);
    // A line that is cut off and not yet said is broken.
    fs::write(newest(&scratch.0), &whole[..whole.len() - 9]).unwrap();
    assert!(verified(&texts(&scratch.0)).unwrap_err().starts_with("0:3: "));
}

#[test]
fn a_line_known_from_elsewhere_must_be_the_same() {
    let scratch = Scratch::new("known");
    add(&scratch.0, WIDE, 5);
    let text = texts(&scratch.0).remove(0);
    let hash = verified(std::slice::from_ref(&text)).unwrap().hash;
    let asked = |seq, hash: &str| {
        let mut verifier = Verifier::expecting(Some((seq, hash.to_owned())));
        verifier.file("a", Cursor::new(&text))?;
        Ok::<_, VerifyError>(verifier.finish()?.known)
    };
    assert!(asked(5, &hash).unwrap());
    assert!(asked(4, &hash).is_err());
    assert!(!asked(6, &hash).unwrap(), "the end is gone");
}

fn lines() -> Vec<Vec<u8>> {
    let scratch = Scratch::new("lines");
    add(&scratch.0, WIDE, 12);
    let text = texts(&scratch.0).remove(0);
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_line_it_is_found(
        at in 0usize..12, other in 0usize..12, byte in 0usize..400, bit in 0u32..8, kind in 0u8..5,
    ) {
        thread_local!(static LINES: Vec<Vec<u8>> = lines());
        let whole = LINES.with(Clone::clone);
        let mut touched = whole.clone();
        // The first line that is wrong; what was cut off the end is nothing that can be seen.
        let first = match kind {
            0 => {
                let byte = byte % touched[at].len();
                touched[at][byte] ^= 1 << bit;
                at
            }
            1 => {
                touched.remove(at);
                at
            }
            2 => {
                touched.swap(at, other);
                at.min(other)
            }
            3 => {
                touched.insert(at, whole[other].clone());
                if at == other { at + 1 } else { at }
            }
            _ => {
                touched.insert(at, b"{}\n".to_vec());
                at
            }
        };
        let unseen = touched == whole || whole.starts_with(&touched) || whole.ends_with(&touched);
        match verified(&[touched.concat()]) {
            Ok(_) => prop_assert!(unseen, "{kind} at {at}"),
            Err(said) => {
                prop_assert!(!unseen, "{said}");
                let line: usize = said.split(':').nth(1).unwrap().parse().unwrap();
                // A line end that is gone makes one line of two.
                prop_assert!(line == first + 1 || line == first + 2, "{said} for {first}, {kind}");
            }
        }
    }
}
