//! Path (RFC 3327 4) and Route (RFC 3261 20.34): lists of addresses, always in brackets.

use arrayvec::ArrayVec;

use crate::limits::PATHS_MAX;
use crate::sip::cursor::Cursor;
use crate::sip::error::Fault;
use crate::sip::header::address::Address;
use crate::sip::scan::trim;
use crate::sip::uri::Uri;

/// One entry of a Path or Route.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The entry as it stood, brackets and parameters included.
    pub text: &'a [u8],
    /// Its URI.
    pub uri: Uri<'a>,
    /// Header parameters as they stood, without the leading `;`.
    pub params: &'a [u8],
}

/// Entries of all Path (or Route) headers of a message, in order.
pub type Routes<'a> = ArrayVec<Route<'a>, PATHS_MAX>;

/// Reads the values of all headers of one name.
///
/// # Errors
/// [`Fault::Malformed`], or [`Fault::TooMany`] past [`PATHS_MAX`].
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Routes<'a>, Fault> {
    let mut routes = Routes::new();
    for value in values {
        let mut cursor = Cursor::new(value);
        loop {
            let route = take(&mut cursor).ok_or(Fault::Malformed)?;
            routes.try_push(route).map_err(|_| Fault::TooMany)?;
            if cursor.is_end() {
                break;
            }
            if !cursor.eat_spaced(b',') {
                return Err(Fault::Malformed);
            }
        }
    }
    Ok(routes)
}

/// Whether the first hop of a registration supports outbound: the proxy next to the phone is the
/// last of Path, since each one writes itself in front, and says so with `ob` in its URI (RFC 5626
/// 5.1, 6).
#[must_use]
pub fn first_hop_has_ob(path: &[Route<'_>]) -> bool {
    path.last().is_some_and(|route| route.uri.has_ob())
}

fn take<'a>(cursor: &mut Cursor<'a>) -> Option<Route<'a>> {
    cursor.lws();
    let start = cursor.at();
    let address = Address::take(cursor, |_| Some(()))?;
    let text = trim(cursor.since(start));
    // path-value and route-param are name-addr: an addr-spec without brackets is neither.
    let bare = text.starts_with(address.uri.text);
    (!bare).then_some(Route { text, uri: address.uri, params: address.params })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_of_several_headers_make_one_list() {
        let values = [&b"<sip:p1.example.com;lr> ,\r\n \"A, B\" <sip:p2;lr>;x=y"[..], b"<sip:p3>"];
        let routes = parse(values).unwrap();
        let texts: Vec<_> = routes.iter().map(|r| r.text).collect();
        let expected = [&b"<sip:p1.example.com;lr>"[..], b"\"A, B\" <sip:p2;lr>;x=y", b"<sip:p3>"];
        assert_eq!(texts, expected);
        assert_eq!(routes[1].params, b"x=y");
        assert_eq!(routes[0].uri.param(b"lr"), Some(&b""[..]));
    }

    #[test]
    fn rfc5626_6_the_first_hop_is_the_last_of_path() {
        let of = |value: &'static str| first_hop_has_ob(&parse([value.as_bytes()]).unwrap());
        assert!(of("<sip:inner;lr>, <sip:token@edge;lr;ob>"));
        assert!(!of("<sip:token@edge;lr;ob>, <sip:other;lr>"));
        assert!(!of("<sip:edge;lr>;ob"));
        assert!(!first_hop_has_ob(&[]));
    }

    #[test]
    fn an_address_without_brackets_is_no_route() {
        for bad in [&b"sip:p1"[..], b"sip:p1;lr", b"", b"<sip:p1>,", b"<sip:p1> <sip:p2>", b"<>"] {
            assert_eq!(parse([bad]).unwrap_err(), Fault::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn one_entry_too_many_is_refused() {
        assert!(parse(vec![&b"<sip:p>"[..]; PATHS_MAX]).is_ok());
        assert_eq!(parse(vec![&b"<sip:p>"[..]; PATHS_MAX + 1]).unwrap_err(), Fault::TooMany);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            hosts in proptest::collection::vec("[a-z][a-z0-9]{0,8}", 1..PATHS_MAX),
            gap in "( |\r\n\t)?",
        ) {
            let list: Vec<_> = hosts.iter().map(|h| format!("<sip:{h};lr>")).collect();
            let text = list.join(&format!("{gap},{gap}"));
            let read = parse([text.as_bytes()]).unwrap();
            prop_assert!(read.iter().map(|r| r.text).eq(list.iter().map(|t| t.as_bytes())));
            prop_assert!(read.iter().map(|r| r.uri.host).eq(hosts.iter().map(|h| h.as_bytes())));
        }
    }
}
