//! The words of a User-Agent: which of them are the model, and which is the firmware. Products and
//! versions are written in as many ways as there are vendors; what they share is that the version
//! begins with a digit, has dots, and stands behind the model.

use arrayvec::ArrayString;

use super::{FIRMWARE_BYTES_MAX, MODEL_BYTES_MAX};

/// Words of a model at most.
const MODEL_WORDS_MAX: usize = 5;
/// What stands before a version and is none.
const VERSION_WORDS: [&str; 6] = ["release", "version", "ver", "firmware", "fw", "build"];
/// What stands before the digits of a version, in the same word.
const VERSION_MARKS: [&str; 8] = ["rv", "v.", "v", "fw", "ver.", "r", "oma", "mxsf"];

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub model: ArrayString<MODEL_BYTES_MAX>,
    pub firmware: ArrayString<FIRMWARE_BYTES_MAX>,
    /// Where the name of the vendor, of the model and of the firmware end in the text.
    pub ends: [u8; 3],
}

/// A word, where it begins, and whether it stands in brackets.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: usize,
    bracketed: bool,
}

impl Word<'_> {
    fn end(&self) -> u8 {
        u8::try_from(self.at + self.text.len()).unwrap_or(u8::MAX)
    }
}

/// The words from a byte of the text on.
fn words(text: &str, from: usize) -> impl Iterator<Item = Word<'_>> {
    let is_gap = |byte: &u8| matches!(byte, b' ' | b'/' | b';' | b',' | b'(' | b')' | b'[' | b']');
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (from, 0_u32);
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at).filter(|byte| is_gap(byte)) {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
        let begin = at;
        at += bytes[begin..].iter().take_while(|byte| !is_gap(byte)).count();
        let text = text.get(begin..at).filter(|text| !text.is_empty())?;
        Some(Word { text, at: begin, bracketed: depth > 0 })
    })
}

/// Reads what stands behind a byte of the text, the name of a vendor ending there; `begin` is where
/// that began.
pub(super) fn read(text: &str, begin: usize, behind: usize) -> Read {
    let gap = if behind == begin { 0 } else { separators(&text[behind..]) };
    let mut words = words(text, behind + gap).flat_map(split).peekable();
    let mut found = Read::default();
    let (mut taken, mut version_next) = (0, false);
    while let Some(word) = words.next() {
        let said = word.text.to_ascii_lowercase();
        if VERSION_WORDS.contains(&said.as_str()) {
            version_next = true;
            continue;
        }
        let begins_with_digit = word.text.starts_with(|c: char| c.is_ascii_digit());
        if is_version(word.text) || (version_next && begins_with_digit) {
            // A revision of the hardware, before the version of what runs on it.
            let next = words.peek().filter(|next| {
                word.text.starts_with('V') && dots(next.text) > 1 && is_version(next.text)
            });
            let version = next.copied().unwrap_or(word);
            found.firmware = fitting(cleaned(version.text));
            found.ends[2] = end_of(&version, &found.firmware);
            break;
        }
        version_next = false;
        if word.bracketed || is_address(word.text) || is_revision(&said) {
            continue;
        }
        if taken < MODEL_WORDS_MAX && add(&mut found.model, word.text) {
            taken += 1;
            found.ends[1] = word.end();
        } else {
            taken = MODEL_WORDS_MAX;
        }
    }
    found.model = named(&found.model);
    found
}

/// Reads a version, and behind it a model in brackets.
pub(super) fn read_bracketed(text: &str, behind: usize) -> Read {
    let mut found = Read::default();
    for word in words(text, behind) {
        if !word.bracketed && is_version(word.text) && found.firmware.is_empty() {
            found.firmware = fitting(cleaned(word.text));
            found.ends[2] = end_of(&word, &found.firmware);
        } else if word.bracketed && !is_address(word.text) {
            add(&mut found.model, word.text);
            found.ends[1] = word.end();
            break;
        }
    }
    // The model stands behind: what ends with it has the firmware in it too.
    if found.ends[1] > 0 {
        found.ends[2] = found.ends[1];
    }
    found
}

/// Bytes between the name of a vendor and what follows.
fn separators(text: &str) -> usize {
    text.bytes().take_while(|byte| matches!(byte, b' ' | b'/' | b'-' | b'_' | b':')).count()
}

/// A model and its version in one word, `SPA504G-7.6.2SR7`, are two.
fn split(word: Word<'_>) -> impl Iterator<Item = Word<'_>> {
    let dashes = word.text.match_indices('-').map(|(at, _)| at);
    let cut = dashes.filter(|&at| at > 0).find(|&at| {
        let (before, behind) = (&word.text[..at], &word.text[at + 1..]);
        !is_version(before) && is_version(behind)
    });
    let (first, second) = match cut {
        None => (word, None),
        Some(at) => (
            Word { text: &word.text[..at], ..word },
            Some(Word { text: &word.text[at + 1..], at: word.at + at + 1, ..word }),
        ),
    };
    std::iter::once(first).chain(second)
}

/// Adds a word to a model, if it has room.
fn add(model: &mut ArrayString<MODEL_BYTES_MAX>, word: &str) -> bool {
    let before = model.len();
    let fits = (before == 0 || model.try_push(' ').is_ok()) && model.try_push_str(word).is_ok();
    if !fits {
        model.truncate(before);
        if before == 0 {
            *model = fitting(word);
            return true;
        }
    }
    fits
}

/// As much of a text as there is room for. It is ASCII.
fn fitting<const N: usize>(text: &str) -> ArrayString<N> {
    let mut short = ArrayString::new();
    short.push_str(&text[..text.len().min(N)]);
    short
}

/// `VVX_411-UA` is the user agent of a VVX 411.
fn named(model: &str) -> ArrayString<MODEL_BYTES_MAX> {
    match model.strip_suffix("-UA") {
        None => fitting(model),
        Some(model) => fitting(&model.replace('_', " ")),
    }
}

fn dots(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'.').count()
}

/// What stands before the digits of a version, taken away.
fn unmarked(text: &str) -> &str {
    let mark = VERSION_MARKS.iter().find(|mark| {
        let begin = text.get(..mark.len()).filter(|begin| begin.eq_ignore_ascii_case(mark));
        begin.is_some() && text[mark.len()..].starts_with(|c: char| c.is_ascii_digit())
    });
    mark.map_or(text, |mark| &text[mark.len()..])
}

/// Digits first, and dots; or as Digium writes it, `1_4_0_0_57389`.
fn is_version(text: &str) -> bool {
    let text = unmarked(text);
    let underscored = || {
        let only_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        text.split('_').count() > 2 && text.split('_').all(only_digits)
    };
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+~".contains(&byte))
        && (dots(text) > 0 || underscored())
        && !is_address(text)
}

/// A version without its mark, and without what is said of how it was built.
fn cleaned(text: &str) -> &str {
    // `R6.9` is the name of a release; a small `r` or a `v` says that a version follows.
    let text = if text.starts_with('R') { text } else { unmarked(text) };
    let built = text.find(['+', '~']).unwrap_or(text.len());
    let text = &text[..built];
    let is_built =
        |&(at, _): &(usize, &str)| text[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic());
    let text = text.match_indices('-').find(is_built).map_or(text, |(at, _)| &text[..at]);
    match text.rsplit_once('_') {
        Some((version, address)) if is_address(address) => version,
        _ => text,
    }
}

/// Where the firmware as it reads ends in the text.
fn end_of(word: &Word<'_>, firmware: &str) -> u8 {
    let within = word.text.find(firmware).map_or(word.text.len(), |at| at + firmware.len());
    u8::try_from(word.at + within).unwrap_or(u8::MAX)
}

/// The hardware address of one phone, with whatever between its digits.
fn is_address(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let others = text.bytes().filter(|byte| !byte.is_ascii_hexdigit());
    digits == 12 && (text.len() == 12 || text.len() == 17) && {
        let mut others = others;
        others.all(|byte| byte == b':' || byte == b'-')
    }
}

/// `hw0`
fn is_revision(word: &str) -> bool {
    word.strip_prefix("hw").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || word == "stamp"
}
