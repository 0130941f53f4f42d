//! From and To (RFC 3261 20.20, 20.39).

use crate::sip::cursor::Cursor;
use crate::sip::header::address::Address;
use crate::sip::scan::Class;
use crate::sip::uri::Uri;

/// Value of a From or To header.
#[derive(Clone, Copy, Debug)]
pub struct FromTo<'a> {
    /// Display name without quotes, escapes kept; empty where there is none.
    pub display: &'a [u8],
    /// The URI; of any scheme.
    pub uri: Uri<'a>,
    /// `tag`; old clients leave it out of From, and a request outside a dialog out of To.
    pub tag: Option<&'a [u8]>,
    /// All header parameters as they stood, without the leading `;`.
    pub params: &'a [u8],
}

impl<'a> FromTo<'a> {
    /// Reads the value of a From or To header. `None` if it is malformed or has two tags.
    #[inline]
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<FromTo<'a>> {
        FromTo::parse_beside(value, None)
    }

    /// The same beside the URI of the other one, if that was read: in a REGISTER both are mostly
    /// the same (RFC 3261 10.2).
    #[inline]
    #[must_use]
    pub fn parse_beside(value: &'a [u8], known: Option<&Uri<'a>>) -> Option<FromTo<'a>> {
        let mut cursor = Cursor::new(value);
        let mut tag = None;
        let address = Address::take_beside(&mut cursor, known, |param| {
            if !param.is(b"tag") {
                return Some(());
            }
            // tag-param = "tag" EQUAL token
            let value = param.value.filter(|v| !v.is_empty())?;
            let valid = Class::TOKEN.span(value) == value.len();
            (valid && tag.replace(value).is_none()).then_some(())
        })?;
        let Address { display, uri, params } = address;
        cursor.is_end().then_some(FromTo { display, uri, tag, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_tag_is_a_token_and_stands_once() {
        let tag = |v: &'static str| FromTo::parse(v.as_bytes()).map(|f| f.tag);
        assert_eq!(tag("<sip:a@h>;TAG=x"), Some(Some(&b"x"[..])));
        assert_eq!(tag("sip:a@h ;\r\n  tag    = 1918181833n"), Some(Some(&b"1918181833n"[..])));
        assert_eq!(tag("<sip:a@h;tag=x>"), Some(None));
        for bad in [
            "<sip:a@h>;tag",
            "<sip:a@h>;tag=",
            "<sip:a@h>;tag=a;tag=b",
            "<sip:a@h>;tag=\"\"",
            "<sip:a@h>;tag=a:b",
            "<sip:a@h>, <sip:b@h>",
        ] {
            assert_eq!(tag(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_uri_may_be_of_any_scheme() {
        assert!(FromTo::parse(b"isbn:2983792873").is_some());
        assert!(FromTo::parse(b"<http://www.example.com>;tag=3234233").is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            display in "([ !#-\\[\\]-~]|\\\\\"){0,12}", user in "[a-z0-9]{1,8}",
            tag in proptest::option::of("[a-zA-Z0-9.!%*_+`'~-]{1,12}"), gap in "( |\r\n )?",
        ) {
            let mut text = format!("\"{display}\"{gap}<sip:{user}@example.com>{gap};x=\"y\"");
            if let Some(tag) = &tag {
                text += &format!("{gap};{gap}tag{gap}={gap}{tag}");
            }
            let read = FromTo::parse(text.as_bytes()).unwrap();
            let other = format!("sip:{user}@example.com");
            let other = Uri::parse(other.as_bytes()).unwrap();
            let beside = FromTo::parse_beside(text.as_bytes(), Some(&other)).unwrap();
            prop_assert_eq!(format!("{beside:?}"), format!("{read:?}"));
            prop_assert_eq!(read.display, display.as_bytes());
            prop_assert_eq!(read.uri.user, Some(user.as_bytes()));
            prop_assert_eq!(read.tag, tag.as_ref().map(String::as_bytes));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(value in any::<Vec<u8>>()) {
            let _ = FromTo::parse(&value);
        }
    }
}
