//! Option tags of Require, Proxy-Require and Supported (RFC 3261 20.29, 20.32, 20.37).

use arrayvec::ArrayVec;

use crate::limits::OPTION_TAGS_MAX;
use crate::sip::cursor::Cursor;
use crate::sip::error::Fault;
use crate::sip::scan::Class;

/// Option tags of all headers of one name, in order, as they stood.
pub type OptionTags<'a> = ArrayVec<&'a [u8], OPTION_TAGS_MAX>;

/// Reads the values of all headers of one name. An empty value is an empty list, which Supported
/// may be.
///
/// # Errors
/// [`Fault::Malformed`], or [`Fault::TooMany`] past [`OPTION_TAGS_MAX`].
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<OptionTags<'a>, Fault> {
    let mut tags = OptionTags::new();
    for value in values {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        while !cursor.is_end() {
            let tag = cursor.take(Class::TOKEN);
            if tag.is_empty() {
                return Err(Fault::Malformed);
            }
            tags.try_push(tag).map_err(|_| Fault::TooMany)?;
            let more = cursor.eat_spaced(b',');
            if more == cursor.is_end() {
                return Err(Fault::Malformed);
            }
        }
    }
    Ok(tags)
}

/// Whether `tags` has `tag`, in any case (RFC 3261 7.3.1: tokens are case-insensitive).
#[must_use]
pub fn contains(tags: &[&[u8]], tag: &[u8]) -> bool {
    tags.iter().any(|t| t.eq_ignore_ascii_case(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
