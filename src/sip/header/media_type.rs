//! Content-Type (RFC 3261 20.15): what kind of thing a body is.

use crate::sip::cursor::Cursor;
use crate::sip::header::address::take_params;
use crate::sip::scan::Class;

/// A media type, its parts as they stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// Before the slash.
    pub kind: &'a [u8],
    /// Behind it.
    pub subtype: &'a [u8],
    /// Parameters as they stood, without the leading `;`.
    pub params: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads `m-type SLASH m-subtype *( SEMI m-parameter )`.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<MediaType<'a>> {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        let (kind, subtype) = take_names(&mut cursor)?;
        let params = take_params(&mut cursor, |param| param.value.map(|_| ()))?;
        cursor.is_end().then_some(MediaType { kind, subtype, params })
    }

    /// Whether it is this type, written `kind/subtype`, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        name.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind.as_bytes())
                && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
        })
    }
}

/// `token SLASH token`.
pub(super) fn take_names<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let kind = cursor.take(Class::TOKEN);
    if kind.is_empty() || !cursor.eat_spaced(b'/') {
        return None;
    }
    let subtype = cursor.take(Class::TOKEN);
    (!subtype.is_empty()).then_some((kind, subtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_two_names_in_any_case_and_parameters_with_values() {
        let of = |value: &'static str| MediaType::parse(value.as_bytes());
        let sdp = of("Application / SDP").unwrap();
        assert!(sdp.is("application/sdp") && !sdp.is("application/sdpx") && !sdp.is("text/sdp"));
        let mixed = of("multipart/mixed;boundary=\"a;b\" ;\r\n x=y").unwrap();
        assert_eq!(mixed.params, b"boundary=\"a;b\" ;\r\n x=y");
        assert!(of("application/reginfo+xml").unwrap().is("application/reginfo+xml"));
        for bad in ["", "a", "a/", "/b", "a/b c", "a/b;x", "a/b;=y", "a/b, c/d", "a/b;"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
