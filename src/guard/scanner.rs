//! What scanners look like: words in a User-Agent, words in To, From and Call-ID, in any case and
//! anywhere in the value. All words are looked for in one pass.

use crate::limits::{SCANNER_WORD_BYTES_MIN, SCANNER_WORDS_MAX};

/// A closed set of words, none of them shorter than [`SCANNER_WORD_BYTES_MIN`].
///
/// They are looked for as Wu and Manber do: a table says, for any two bytes, how far to go on since
/// no word has these two at its start before. Only where they end the start of a word, as long as
/// the shortest one, are words compared as a whole.
#[derive(Clone, Debug)]
pub struct Words {
    words: Vec<Box<[u8]>>,
    /// Bytes of the shortest word: so much of each is looked for.
    start: usize,
    skips: Box<[u8; PAIRS]>,
    /// The words whose start ends with a pair, a bit for each.
    ending: Box<[u64; PAIRS]>,
}

/// Pairs of bytes that are told apart: the low five bits of each, which leaves out the case.
const PAIRS: usize = 1 << 10;

#[inline]
fn pair(first: u8, second: u8) -> usize {
    usize::from(first & 31) << 5 | usize::from(second & 31)
}

impl Words {
    /// The set of `words`. What is shorter or more than the limits allow is left out: the
    /// configuration has been checked before.
    #[must_use]
    pub fn new(words: &[String]) -> Words {
        let fits = |word: &&String| word.len() >= SCANNER_WORD_BYTES_MIN;
        let words: Vec<Box<[u8]>> = words
            .iter()
            .filter(fits)
            .take(SCANNER_WORDS_MAX)
            .map(|word| word.to_ascii_lowercase().into_bytes().into_boxed_slice())
            .collect();
        let start = words.iter().map(|word| word.len()).min().unwrap_or(SCANNER_WORD_BYTES_MIN);
        let start = start.min(usize::from(u8::MAX));
        let mut skips = Box::new([start as u8 - 1; PAIRS]);
        let mut ending = Box::new([0; PAIRS]);
        for (number, word) in words.iter().enumerate() {
            for (at, two) in word[..start].windows(2).enumerate() {
                let (pair, skip) = (pair(two[0], two[1]), (start - 2 - at) as u8);
                skips[pair] = skips[pair].min(skip);
                if skip == 0 {
                    ending[pair] |= 1 << number;
                }
            }
        }
        Words { words, start, skips, ending }
    }

    /// Whether there are no words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether `text` contains one of the words, in any case.
    #[inline]
    #[must_use]
    pub fn are_in(&self, text: &[u8]) -> bool {
        if self.words.is_empty() {
            return false;
        }
        let mut end = self.start;
        while let Some(&[first, second]) = text.get(end - 2..end) {
            let pair = pair(first, second);
            let skip = usize::from(self.skips[pair]);
            if skip == 0 && self.begins(self.ending[pair], &text[end - self.start..]) {
                return true;
            }
            end += skip.max(1);
        }
        false
    }

    /// Whether `text` begins with one of the words that have their bit set.
    fn begins(&self, mut may: u64, text: &[u8]) -> bool {
        while may != 0 {
            let word = &self.words[may.trailing_zeros() as usize];
            if text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)) {
                return true;
            }
            may &= may - 1;
        }
        false
    }
}

/// What is remembered of the numbers a source asks for: the last one and how many have followed
/// each other. Scanners walk through extensions in order; phones have one each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk(u32);

/// Numbers in a row that make a walk.
const WALK_STEPS: u32 = 8;
/// A step up or down by so much still follows: some are lost, some come twice, and a scanner of
/// many ports shows each of several shards a part of its walk.
fn step_max(shards: u8) -> u32 {
    2 * u32::from(shards).clamp(1, 4)
}
const NUMBER_BITS: u32 = 24;

impl Walk {
    /// Takes the user a request is for, on one of so many shards. Returns true each time that a
    /// walk has gone on for another eight numbers. Users that are no number, or begin with letters
    /// other than before, are left aside: only the digits at the end count.
    pub fn step(&mut self, user: &[u8], shards: u8) -> bool {
        let Some(number) = number_at_end(user) else { return false };
        let (last, steps) = (self.0 & ((1 << NUMBER_BITS) - 1), self.0 >> NUMBER_BITS);
        if number == last {
            // A retransmission, or the same phone with credentials.
            return false;
        }
        let steps = if number.abs_diff(last) <= step_max(shards) { steps + 1 } else { 0 };
        let walks = steps == WALK_STEPS;
        self.0 = number | if walks { 0 } else { steps } << NUMBER_BITS;
        walks
    }
}

/// The digits at the end of a user as a number, cut to 24 bits.
fn number_at_end(user: &[u8]) -> Option<u32> {
    let digits = user.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = &user[user.len() - digits.min(user.len())..];
    let value = |sum: u64, byte: &u8| sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
    (!digits.is_empty()).then(|| digits.iter().fold(0, value) as u32 & ((1 << NUMBER_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(words: &[&str]) -> Words {
        Words::new(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn scanners_are_known_in_any_case_and_anywhere_in_the_value() {
        let known = words(&["friendly-scanner", "VaxSIPUserAgent", "sipvicious", "sipcli"]);
        for scanner in [
            &b"friendly-scanner"[..],
            b"Friendly-Scanner/1.0",
            b"my VAXSIPUSERAGENT/3.1",
            b"xsipcli",
            b"sipsipvicious",
        ] {
            assert!(known.are_in(scanner), "{}", scanner.escape_ascii());
        }
        for phone in [
            &b""[..],
            b"s",
            b"si",
            b"friendly-scanne",
            b"Yealink SIP-T46U 108.86.0.20",
            b"sip cli",
            b"\xff\xfesipcl\0i",
        ] {
            assert!(!known.are_in(phone), "{}", phone.escape_ascii());
        }
        assert!(!words(&[]).are_in(b"sipcli") && words(&[]).is_empty());
    }

    #[test]
    fn a_walk_is_seen_and_a_phone_is_not() {
        let mut walk = Walk::default();
        let seen = (100..132).filter(|number| walk.step(number.to_string().as_bytes(), 1)).count();
        assert!((3..=4).contains(&seen), "{seen} of 32 numbers in a row");
        let mut phone = Walk::default();
        assert!((0..100).all(|_| !phone.step(b"4711", 1)));
        let mut office = Walk::default();
        for round in 0..100 {
            assert!(!office.step([b"101", b"177", b"140", b"123"][round % 4], 128));
        }
        let mut named = Walk::default();
        assert!((0..100).all(|_| !named.step(b"alice", 1)));
    }

    #[test]
    fn a_walk_with_gaps_repeats_and_names_before_the_number_is_one() {
        let mut walk = Walk::default();
        let users = (0..60).flat_map(|n| [format!("u{}", n + n % 2), format!("u{n}")]);
        assert!(users.filter(|user| walk.step(user.as_bytes(), 1)).count() > 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn found_exactly_where_a_plain_search_finds(
            set in prop::collection::vec("[abAB-]{3,6}", 0..8),
            text in "[abAB-]{0,40}",
        ) {
            let lower = text.to_ascii_lowercase();
            let plain = set.iter().any(|word| lower.contains(&word.to_ascii_lowercase()));
            prop_assert_eq!(Words::new(&set).are_in(text.as_bytes()), plain);
            let longer: Vec<_> = set.iter().map(|word| format!("{word}{word}")).collect();
            let plain = longer.iter().any(|word| lower.contains(&word.to_ascii_lowercase()));
            prop_assert_eq!(Words::new(&longer).are_in(text.as_bytes()), plain);
        }

        #[test]
        fn any_user_can_be_stepped_to(users in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut walk = Walk::default();
            for user in users {
                let _ = walk.step(&user, 128);
            }
        }
    }
}
