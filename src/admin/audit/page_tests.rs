//! Tests of pages: together they have every line once, the newest first, wherever the lines are.

use super::super::file::Room;
use super::super::file::tests::{Scratch, add};
use super::*;

fn all(page: impl Fn(&Wanted) -> Page, wanted: &Wanted) -> (Vec<u64>, usize) {
    let (mut seen, mut pages, mut before) = (Vec::new(), 0, None);
    loop {
        let Page { records, next } = page(&Wanted { before, ..wanted.clone() });
        assert!(records.len() <= wanted.limit);
        seen.extend(records.iter().map(|record| record.seq));
        pages += 1;
        assert!(pages < 100, "pages come to an end");
        match next {
            Some(next) => before = Some(next),
            None => return (seen, pages),
        }
    }
}

#[test]
fn pages_together_have_every_line_once() {
    let scratch = Scratch::new("pages");
    add(&scratch.0, Room { file_bytes: 2000, files: 100 }, 40);
    let of_disk = |wanted: &Wanted| of_files(&scratch.0, wanted).unwrap();
    for limit in [1, 7, 40, 1000] {
        let (seen, _) = all(of_disk, &Wanted { limit, ..Wanted::default() });
        assert_eq!(seen, (1..=40).rev().collect::<Vec<u64>>(), "{limit}");
    }
    let found = Wanted { limit: 2, text: Some("192.0.2.3".to_owned()), ..Wanted::default() };
    let (seen, pages) = all(of_disk, &found);
    assert_eq!(seen, [40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 4], "192.0.2.3 and 192.0.2.30 on");
    assert!(pages > 5);
    // A page is of few files, however much is wanted.
    let (mut records, mut before) = (Vec::new(), None);
    loop {
        let page = of_disk(&Wanted { limit: 1000, before, ..Wanted::default() });
        assert!(page.records.len() < 40);
        records.extend(page.records);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    records.reverse();
    for limit in [1, 7, 1000] {
        let wanted = Wanted { limit, ..found.clone() };
        assert_eq!(all(|wanted| of_memory(&records, wanted), &wanted).0, seen, "{limit}");
    }
    let none = Wanted { limit: 5, operator: Some("nobody".to_owned()), ..Wanted::default() };
    assert_eq!(all(of_disk, &none).0, [] as [u64; 0]);
}

#[test]
fn what_is_wanted_is_picked_by_each_of_its_marks() {
    let scratch = Scratch::new("marks");
    add(&scratch.0, Room { file_bytes: 1 << 20, files: 1 }, 3);
    let count = |wanted: Wanted| {
        of_files(&scratch.0, &Wanted { limit: 10, ..wanted }).unwrap().records.len()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(count(Wanted { operator: some("aorta"), ..Wanted::default() }), 3);
    assert_eq!(count(Wanted { action: some("block"), ..Wanted::default() }), 3);
    assert_eq!(count(Wanted { action: some("bloc"), ..Wanted::default() }), 0);
    assert_eq!(count(Wanted { outcome: some("failed"), ..Wanted::default() }), 0);
    assert_eq!(count(Wanted { text: some("BLOCK"), ..Wanted::default() }), 3);
    assert_eq!(count(Wanted { since: some("2026-11-21T02:38:00Z"), ..Wanted::default() }), 3);
    assert_eq!(count(Wanted { since: some("2026-11-21T02:38:01Z"), ..Wanted::default() }), 0);
}
