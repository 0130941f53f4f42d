//! `name-addr / addr-spec` with header parameters (RFC 3261 25.1): what From, To, Contact, Route
//! and Path are made of. What the parameters mean is the business of each header.

use crate::sip::cursor::Cursor;
use crate::sip::scan::{Class, eq_in_any_case, find};
use crate::sip::uri::Uri;

/// One address and the parameters behind it.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// Display name without quotes, escapes kept; empty where there is none.
    pub display: &'a [u8],
    /// The URI.
    pub uri: Uri<'a>,
    /// Header parameters as they stood, without the leading `;`.
    pub params: &'a [u8],
}

impl<'a> Address<'a> {
    /// Reads an address that fills `value`.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Address<'a>> {
        let mut cursor = Cursor::new(value);
        let address = Address::take(&mut cursor, |_| Some(()))?;
        cursor.is_end().then_some(address)
    }

    /// Reads one address up to the end or to a comma, which is left; shows each parameter to
    /// `each`, which may refuse it. `None` if it is malformed.
    #[inline]
    pub fn take(
        cursor: &mut Cursor<'a>,
        each: impl FnMut(Param<'a>) -> Option<()>,
    ) -> Option<Address<'a>> {
        Address::take_beside(cursor, None, each)
    }

    /// The same beside a URI that was read before: the same text in brackets is the same URI.
    #[inline]
    pub fn take_beside(
        cursor: &mut Cursor<'a>,
        known: Option<&Uri<'a>>,
        each: impl FnMut(Param<'a>) -> Option<()>,
    ) -> Option<Address<'a>> {
        cursor.lws();
        let (display, uri) = take_uri(cursor, known)?;
        let params = take_params(cursor, each)?;
        Some(Address { display, uri, params })
    }

    /// The parameters one by one.
    pub fn params(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        params(self.params)
    }
}

/// One header parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Name as it stood: compare in any case.
    pub name: &'a [u8],
    /// Value, without quotes if it had them (escapes kept); `None` if it stands without one.
    pub value: Option<&'a [u8]>,
}

impl Param<'_> {
    /// Whether this is the parameter called `name`, given in lower case and matched in any case.
    #[inline]
    #[must_use]
    pub fn is<const N: usize>(&self, name: &[u8; N]) -> bool {
        eq_in_any_case(self.name, name)
    }
}

/// The parameters of a piece of header that was already found well-formed.
pub fn params(text: &[u8]) -> impl Iterator<Item = Param<'_>> + '_ {
    let mut cursor = Cursor::new(text);
    std::iter::from_fn(move || {
        let param = take_param(&mut cursor)?;
        cursor.eat_spaced(b';');
        Some(param)
    })
}

/// Reads `*( SEMI generic-param )` up to the end or to a comma, which is left. Gives the text
/// between, without the leading `;`.
#[inline]
pub fn take_params<'a>(
    cursor: &mut Cursor<'a>,
    mut each: impl FnMut(Param<'a>) -> Option<()>,
) -> Option<&'a [u8]> {
    let mut start = None;
    let mut end = cursor.at();
    while cursor.eat_spaced(b';') {
        start.get_or_insert(cursor.at());
        each(take_param(cursor)?)?;
        end = cursor.at();
    }
    if !cursor.is_end() && cursor.peek() != Some(b',') {
        return None;
    }
    Some(start.map_or(&[], |start| &cursor.since(start)[..end - start]))
}

/// `generic-param = token [ EQUAL ( token / host / quoted-string ) ]`.
#[inline]
pub fn take_param<'a>(cursor: &mut Cursor<'a>) -> Option<Param<'a>> {
    let name = cursor.take(Class::TOKEN);
    if name.is_empty() {
        return None;
    }
    if cursor.peek() == Some(b'=') || has_equal(cursor) {
        cursor.eat_spaced(b'=');
        let value = take_value(cursor)?;
        return Some(Param { name, value: Some(value) });
    }
    Some(Param { name, value: None })
}

/// `gen-value = token / host / quoted-string`, never empty unless quoted.
#[inline]
pub fn take_value<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    if cursor.peek() == Some(b'"') {
        return cursor.quoted();
    }
    let value = cursor.take(Class::PARAM_VALUE);
    (!value.is_empty()).then_some(value)
}

/// Whether an equals sign follows behind white space, which is consumed only then.
fn has_equal(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    ahead.lws();
    let found = ahead.peek() == Some(b'=');
    if found {
        *cursor = ahead;
    }
    found
}

/// Display name and URI. In brackets the URI is all there is between them. Without, it ends
/// before the first comma, semicolon or white space, since an addr-spec may not hold the first
/// two, nor a question mark (RFC 3261 20.10, 20.20, 20.39): what follows a semicolon is a header
/// parameter.
#[inline]
fn take_uri<'a>(cursor: &mut Cursor<'a>, known: Option<&Uri<'a>>) -> Option<(&'a [u8], Uri<'a>)> {
    let display = match cursor.peek()? {
        b'<' => &[],
        b'"' => {
            let display = cursor.quoted()?;
            cursor.lws();
            display
        }
        _ => match take_display(cursor) {
            Some(display) => display,
            None => return Some((&[], take_addr_spec(cursor)?)),
        },
    };
    if !cursor.eat(b'<') {
        return None;
    }
    let rest = cursor.rest();
    let text = &rest[..find(b'>', rest)?];
    *cursor = cursor.past(text.len() + 1);
    let uri = match known {
        Some(known) if known.text == text => *known,
        _ => Uri::parse(text).ok()?,
    };
    Some((display, uri))
}

/// `*( token LWS )` in front of a `<`, where UTF-8 is let pass too: phones send it unquoted.
/// `None`, and nothing consumed, if no `<` follows.
fn take_display<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let mut ahead = *cursor;
    let start = ahead.at();
    let mut end = start;
    while !ahead.take(Class::DISPLAY).is_empty() {
        end = ahead.at();
        ahead.lws();
    }
    if ahead.peek() != Some(b'<') {
        return None;
    }
    *cursor = ahead;
    Some(&ahead.since(start)[..end - start])
}

fn take_addr_spec<'a>(cursor: &mut Cursor<'a>) -> Option<Uri<'a>> {
    let rest = cursor.rest();
    let ends = |b: &u8| matches!(b, b';' | b',' | b'?') || Class::LWS.has(*b);
    let text = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
    *cursor = cursor.past(text.len());
    Uri::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(value: &str) -> Option<Address<'_>> {
        Address::parse(value.as_bytes())
    }

    fn parts(value: &str) -> (String, String, String) {
        let a = address(value).unwrap_or_else(|| panic!("{value}"));
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (text(a.display), text(a.uri.text), text(a.params))
    }

    fn expect(value: &str, display: &str, uri: &str, params: &str) {
        assert_eq!(parts(value), (display.into(), uri.into(), params.into()), "{value}");
    }

    #[test]
    fn display_names_are_quoted_or_tokens() {
        expect("\"A \\\" B\" <sip:a@h>;tag=1", "A \\\" B", "sip:a@h", "tag=1");
        expect("A. Bell  <sip:a@h>", "A. Bell", "sip:a@h", "");
        expect("caller<sip:a@h>;tag=323", "caller", "sip:a@h", "tag=323");
        expect("J\u{f6}rg <sip:a@h>", "J\u{f6}rg", "sip:a@h", "");
        expect("<sip:a@h>", "", "sip:a@h", "");
        expect("\"\"<sip:a@h>", "", "sip:a@h", "");
    }

    #[test]
    fn without_brackets_a_semicolon_begins_header_parameters() {
        expect("sip:a@h;unknownparam", "", "sip:a@h", "unknownparam");
        expect("<sip:a@h;unknownparam>", "", "sip:a@h;unknownparam", "");
        expect(" sip:a@h ;   tag    = 19", "", "sip:a@h", "tag    = 19");
        expect("sip:a@h\r\n ;tag=1 \r\n\t; x", "", "sip:a@h", "tag=1 \r\n\t; x");
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for value in [
            "",
            " ",
            "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            "\"Mr. J. User <sip:j.user@example.com>",
            "Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
            "\"Watson, Thomas\" < sip:t.watson@example.org >",
            "\"Joe\" <sip:joe@example.org>;;;;",
            "<sip:a@h>x",
            "<sip:a@h> x",
            "<sip:a@h",
            "<sip:a@h>;",
            "<sip:a@h>;a=",
            "<sip:a@h>;a=\"b",
            "<sip:a@h>;=b",
            "\"a\" sip:a@h",
            "a b sip:a@h",
            "<sip:a@h>,<sip:b@h>",
            "<sip:a@h>;a=b c",
        ] {
            assert!(address(value).is_none(), "{value}");
        }
    }

    #[test]
    fn parameters_come_one_by_one_without_quotes() {
        let a = address("<sip:a@h>;q = 0.3 ;x;y=\"a;\\\"b\"; z=[::1]:5").expect("valid");
        let all: Vec<_> = a.params().map(|p| (p.name, p.value)).collect();
        assert_eq!(
            all,
            [
                (&b"q"[..], Some(&b"0.3"[..])),
                (b"x", None),
                (b"y", Some(b"a;\\\"b")),
                (b"z", Some(b"[::1]:5")),
            ]
        );
    }
}
