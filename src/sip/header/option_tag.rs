//! Option tags of Require, Proxy-Require and Supported (RFC 3261 20.29, 20.32, 20.37).

use arrayvec::ArrayVec;

use crate::limits::OPTION_TAGS_MAX;
use crate::sip::cursor::Cursor;
use crate::sip::error::Fault;
use crate::sip::scan::{Class, eq_in_any_case};

/// Option tags of all headers of one name, in order, as they stood.
pub type OptionTags<'a> = ArrayVec<&'a [u8], OPTION_TAGS_MAX>;

/// Reads the values of all headers of one name. An empty value is an empty list, which Supported
/// may be.
///
/// # Errors
/// [`Fault::Malformed`], or [`Fault::TooMany`] past [`OPTION_TAGS_MAX`].
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<OptionTags<'a>, Fault> {
    let mut tags = OptionTags::new();
    each(values, |tag| tags.push(tag))?;
    Ok(tags)
}

/// The set of the known ones among the tags of all headers of one name.
///
/// # Errors
/// See [`parse`].
pub fn set<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<OptionSet, Fault> {
    let mut set = OptionSet::NONE;
    each(values, |tag| set = set.and(OptionSet::of(tag)))?;
    Ok(set)
}

/// Shows the tags one by one, [`OPTION_TAGS_MAX`] at most.
#[inline]
fn each<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    mut tag_found: impl FnMut(&'a [u8]),
) -> Result<(), Fault> {
    let mut count = 0;
    for value in values {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        while !cursor.is_end() {
            let tag = cursor.take(Class::TOKEN);
            if tag.is_empty() {
                return Err(Fault::Malformed);
            }
            count += 1;
            if count > OPTION_TAGS_MAX {
                return Err(Fault::TooMany);
            }
            tag_found(tag);
            let more = cursor.eat_spaced(b',');
            if more == cursor.is_end() {
                return Err(Fault::Malformed);
            }
        }
    }
    Ok(())
}

/// Whether `tags` has `tag`, in any case (RFC 3261 7.3.1: tokens are case-insensitive).
#[must_use]
pub fn contains(tags: &[&[u8]], tag: &[u8]) -> bool {
    tags.iter().any(|t| t.eq_ignore_ascii_case(tag))
}

/// A set of the option tags that anybody here knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionSet(u8);

impl OptionSet {
    /// None.
    pub const NONE: OptionSet = OptionSet(0);
    /// `path` (RFC 3327 4)
    pub const PATH: OptionSet = OptionSet(1);
    /// `outbound` (RFC 5626 4)
    pub const OUTBOUND: OptionSet = OptionSet(1 << 1);
    /// `gruu` (RFC 5627 4)
    pub const GRUU: OptionSet = OptionSet(1 << 2);
    /// `eventlist` (RFC 4662 4)
    pub const EVENTLIST: OptionSet = OptionSet(1 << 3);
    /// `timer` (RFC 4028 7)
    pub const TIMER: OptionSet = OptionSet(1 << 4);
    /// `replaces` (RFC 3891 6)
    pub const REPLACES: OptionSet = OptionSet(1 << 5);
    /// `100rel` (RFC 3262 3)
    pub const RELIABLE: OptionSet = OptionSet(1 << 6);

    const NAMES: [(OptionSet, &'static str); 7] = [
        (OptionSet::PATH, "path"),
        (OptionSet::OUTBOUND, "outbound"),
        (OptionSet::GRUU, "gruu"),
        (OptionSet::EVENTLIST, "eventlist"),
        (OptionSet::TIMER, "timer"),
        (OptionSet::REPLACES, "replaces"),
        (OptionSet::RELIABLE, "100rel"),
    ];

    /// The set of one tag; empty if nobody here knows it.
    #[must_use]
    pub fn of(tag: &[u8]) -> OptionSet {
        let Some(first) = tag.first() else { return OptionSet::NONE };
        // Length and first letter leave one candidate.
        let (set, found) = match (tag.len(), first | 0x20) {
            (4, b'p') => (OptionSet::PATH, eq_in_any_case(tag, b"path")),
            (8, b'o') => (OptionSet::OUTBOUND, eq_in_any_case(tag, b"outbound")),
            (4, b'g') => (OptionSet::GRUU, eq_in_any_case(tag, b"gruu")),
            (9, b'e') => (OptionSet::EVENTLIST, eq_in_any_case(tag, b"eventlist")),
            (5, b't') => (OptionSet::TIMER, eq_in_any_case(tag, b"timer")),
            (8, b'r') => (OptionSet::REPLACES, eq_in_any_case(tag, b"replaces")),
            (6, b'1') => (OptionSet::RELIABLE, eq_in_any_case(tag, b"100rel")),
            _ => return OptionSet::NONE,
        };
        if found { set } else { OptionSet::NONE }
    }

    /// The set of those of `tags` that are known.
    #[must_use]
    pub fn of_all(tags: &[&[u8]]) -> OptionSet {
        tags.iter().fold(OptionSet::NONE, |set, tag| set.and(OptionSet::of(tag)))
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: OptionSet) -> OptionSet {
        OptionSet(self.0 | other.0)
    }

    /// Whether every tag of `other` is in it.
    #[inline]
    #[must_use]
    pub const fn has(self, other: OptionSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is no tag in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the tags in it, for Supported and Require.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        OptionSet::NAMES.into_iter().filter(move |&(set, _)| self.has(set)).map(|(_, name)| name)
    }

    /// Those of `required`, as they stood, that are not in it: what Unsupported lists in a 420
    /// (RFC 3261 8.2.2.3).
    pub fn lacking<'t, 'a>(self, required: &'t [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> + 't {
        required.iter().copied().filter(move |tag| {
            let set = OptionSet::of(tag);
            set.is_empty() || !self.has(set)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_name_is_its_own_tag_in_any_case() {
        for (set, name) in OptionSet::NAMES {
            assert_eq!(OptionSet::of(name.as_bytes()), set);
            assert_eq!(OptionSet::of(name.to_uppercase().as_bytes()), set);
            let other = format!("{}x", &name[..name.len() - 1]);
            assert!(OptionSet::of(other.as_bytes()).is_empty(), "{other}");
        }
    }

    #[test]
    fn a_set_holds_what_is_known_and_says_what_it_lacks() {
        let tags = parse([&b"PATH, sec-agree"[..], b"gruu"]).unwrap();
        let set = OptionSet::of_all(&tags);
        assert_eq!(set, OptionSet::PATH.and(OptionSet::GRUU));
        assert!(set.has(OptionSet::PATH) && !set.has(OptionSet::OUTBOUND));
        assert_eq!(set.names().collect::<Vec<_>>(), ["path", "gruu"]);
        let served = OptionSet::PATH.and(OptionSet::OUTBOUND);
        let lacking: Vec<_> = served.lacking(&tags).collect();
        assert_eq!(lacking, [&b"sec-agree"[..], b"gruu"]);
        assert_eq!(OptionSet::NONE.lacking(&tags).count(), 3);
        assert!(OptionSet::NONE.is_empty() && OptionSet::of(b"nothing").is_empty());
    }

    #[test]
    fn every_known_tag_is_its_own() {
        for (set, name) in OptionSet::NAMES {
            assert_eq!(OptionSet::of(name.as_bytes()), set);
            assert_eq!(set.names().collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn tags_of_several_headers_make_one_list() {
        let tags = parse([&b"path,\r\n outbound"[..], b"", b" gruu "]).unwrap();
        assert_eq!(tags[..], [&b"path"[..], b"outbound", b"gruu"]);
        assert!(contains(&tags, b"Path") && !contains(&tags, b"timer"));
        for bad in [&b","[..], b"a,", b",a", b"a b", b"a;b", b"a,,b", b"\""] {
            assert_eq!(parse([bad]), Err(Fault::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn one_tag_too_many_is_refused() {
        assert!(parse(vec![&b"a"[..]; OPTION_TAGS_MAX]).is_ok());
        assert_eq!(parse(vec![&b"a"[..]; OPTION_TAGS_MAX + 1]), Err(Fault::TooMany));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(tags in proptest::collection::vec("[a-z0-9-]{1,8}", 0..8)) {
            let text = tags.join(" ,\t");
            let read = parse([text.as_bytes()]).unwrap();
            prop_assert!(read.iter().copied().eq(tags.iter().map(|t| t.as_bytes())));
        }
    }
}
