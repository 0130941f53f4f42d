//! Work that is none of ours, of the kinds that the primitives are made of: the C library's copies,
//! memory and searches, the standard library's tables, texts and sorting, MD5. Where another
//! compiler, C library or CPU counts the same here as was recorded, its counts of the primitives
//! may be compared with those recorded; otherwise not.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::hint::black_box;

use md5::{Digest, Md5};

use super::{Primitive, Round};

pub const PRIMITIVES: &[Primitive] = &[
    Primitive { name: "yardstick-copy", rounds: 200, operations: 1, prepare: copy },
    Primitive { name: "yardstick-search", rounds: 200, operations: 1, prepare: search },
    Primitive { name: "yardstick-hash", rounds: 50, operations: 1, prepare: hash },
    Primitive { name: "yardstick-table", rounds: 50, operations: 1, prepare: table },
    Primitive { name: "yardstick-sort", rounds: 20, operations: 1, prepare: sort },
    Primitive { name: "yardstick-text", rounds: 50, operations: 1, prepare: text },
    Primitive { name: "yardstick-memory", rounds: 50, operations: 1, prepare: memory },
];

/// Lengths as they occur in a message, from a tag to the whole.
const LENGTHS: [usize; 8] = [3, 8, 17, 33, 64, 130, 700, 1400];

/// What nobody can foresee, the same in each run.
fn numbers(count: usize) -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn copy(_: u32) -> Round {
    let (from, mut to) = (vec![b'x'; 1500], vec![0; 1500]);
    Box::new(move || {
        for length in LENGTHS {
            let length = black_box(length);
            to[..length].copy_from_slice(&from[..length]);
            assert!(black_box(&to)[..length] == black_box(&from)[..length]);
        }
    })
}

fn search(_: u32) -> Round {
    let mut bytes = vec![b'x'; 1500];
    bytes[1400..].fill(b'\n');
    Box::new(move || {
        for length in LENGTHS {
            let within = &black_box(&bytes)[1400 - length..];
            assert_eq!(memchr::memchr(b'\n', within), Some(length));
            assert_eq!(memchr::memchr2(b'\r', b'\n', within), Some(length));
        }
    })
}

fn hash(_: u32) -> Round {
    let bytes = vec![b'x'; 1500];
    Box::new(move || {
        for length in LENGTHS {
            black_box(Md5::digest(&black_box(&bytes)[..length]));
        }
    })
}

fn table(_: u32) -> Round {
    let keys = numbers(256);
    let mut table: HashMap<u64, u64, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    Box::new(move || {
        for &key in &keys {
            table.insert(key, key);
        }
        assert_eq!(keys.iter().filter(|key| table.contains_key(key)).count(), keys.len());
        for key in &keys {
            table.remove(key);
        }
    })
}

fn sort(_: u32) -> Round {
    let numbers = numbers(512);
    let mut sorted = numbers.clone();
    Box::new(move || {
        sorted.copy_from_slice(&numbers);
        sorted.sort_unstable();
        assert!(black_box(&sorted).is_sorted());
    })
}

fn text(_: u32) -> Round {
    let numbers = numbers(32);
    let mut text = String::with_capacity(4096);
    Box::new(move || {
        text.clear();
        for number in &numbers {
            writeln!(text, "{number} {number:08x}").expect("a String takes everything");
        }
        let words = black_box(&text).split_ascii_whitespace().step_by(2);
        assert!(words.zip(&numbers).all(|(word, number)| word.parse() == Ok(*number)));
    })
}

fn memory(_: u32) -> Round {
    let lengths: Vec<usize> = numbers(64).iter().map(|number| (number % 512) as usize).collect();
    Box::new(move || {
        let held: Vec<Vec<u8>> = lengths.iter().map(|&len| Vec::with_capacity(len)).collect();
        black_box(held);
    })
}
