//! SIP and SIPS URIs as borrowed views, and their comparison (RFC 3261 19.1). URIs of other
//! schemes are carried, never looked into.

mod compare;
mod param;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::URI_PARAMS_MAX;
use crate::sip::scan::{Class, decimal, escaped_span, find, is_escaped};

/// Scheme of a URI (RFC 3261 19.1.1; anything else is `Other`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966): kept apart because its refusal has its own reason.
    Tel,
    /// Any other absolute URI.
    Other,
}

/// A URI, its parts borrowed from the message. For `Tel` and `Other` only `text` and `scheme`
/// mean anything.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// The whole URI as it stood, without angle brackets.
    pub text: &'a [u8],
    /// Its scheme.
    pub scheme: Scheme,
    /// User part as it stood (escapes kept), without password; `None` where there is no `@`.
    pub user: Option<&'a [u8]>,
    /// Password, escapes kept.
    pub password: Option<&'a [u8]>,
    /// Host as it stood; an IPv6 reference keeps its brackets.
    pub host: &'a [u8],
    /// Explicit port.
    pub port: Option<u16>,
    /// Parameters after the host and port, without the leading `;`, as they stood.
    pub params: &'a [u8],
    /// Headers after `?`, without it, as they stood.
    pub headers: &'a [u8],
}

/// What is wrong with a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// No scheme, or one with an impossible character.
    Scheme,
    /// A character or escape that a user part cannot hold.
    User,
    /// No host, or one that is neither a name nor an address.
    Host,
    /// Not a number from 0 to 65535.
    Port,
    /// A parameter without a name, or with an impossible character, or more of them than
    /// [`URI_PARAMS_MAX`].
    Params,
    /// The header part is malformed, or has more of them than [`URI_PARAMS_MAX`].
    Headers,
    /// What follows another scheme is empty or holds a character that no URI can.
    Opaque,
}

impl<'a> Uri<'a> {
    /// Reads a URI that fills `text` exactly (no brackets, no white space around).
    ///
    /// # Errors
    /// The first part that breaks the grammar of RFC 3261 25.1.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, UriError> {
        let (scheme, rest) = split_scheme(text)?;
        let mut uri = Uri {
            text,
            scheme,
            user: None,
            password: None,
            host: &[],
            port: None,
            params: &[],
            headers: &[],
        };
        if matches!(scheme, Scheme::Tel | Scheme::Other) {
            let whole = !rest.is_empty() && rest.iter().all(|&b| Class::URI.has(b));
            return if whole { Ok(uri) } else { Err(UriError::Opaque) };
        }
        // Neither a user part nor anything behind the host can hold an unescaped `@`, so the
        // first one ends the user part, whatever `;` or `?` stand in it (RFC 4475 3.1.1.9).
        let user = escaped_span(rest, Class::USER);
        let hostport = if user > 0 && rest.get(user) == Some(&b'@') {
            uri.user = Some(&rest[..user]);
            &rest[user + 1..]
        } else {
            match find(b'@', rest) {
                Some(at) => {
                    parse_userinfo(&rest[..at], &mut uri)?;
                    &rest[at + 1..]
                }
                None => rest,
            }
        };
        let (host, mut tail) = split_host(hostport)?;
        uri.host = host;
        if let [b':', after @ ..] = tail {
            let digits = Class::DIGIT.span(after);
            let port = decimal(&after[..digits], u32::from(u16::MAX)).ok_or(UriError::Port)?;
            uri.port = u16::try_from(port).ok();
            tail = &after[digits..];
        }
        if let [b';', after @ ..] = tail {
            // `?` is no paramchar, so the first one begins the headers.
            let end = find(b'?', after).unwrap_or(after.len());
            uri.params = &after[..end];
            check_params(uri.params)?;
            tail = &after[end..];
        }
        match tail {
            [] => Ok(uri),
            [b'?', headers @ ..] => {
                uri.headers = headers;
                check_headers(headers)?;
                Ok(uri)
            }
            _ => Err(UriError::Host),
        }
    }

    /// The value of a parameter, name in lower case, matched in any case; `Some(b"")` if it
    /// stands without a value.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        pairs(self.params, b';')
            .find(|(n, _)| compare::units_eq(n, name, compare::Fold::Case))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// The host as an address, where it is one.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }
}

fn split_scheme(text: &[u8]) -> Result<(Scheme, &[u8]), UriError> {
    if let [s, i, p, b':', rest @ ..] = text
        && [s | 0x20, i | 0x20, p | 0x20] == *b"sip"
    {
        return Ok((Scheme::Sip, rest));
    }
    let colon = Class::SCHEME.span(text);
    let name = &text[..colon];
    if text.get(colon) != Some(&b':') || !name.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(UriError::Scheme);
    }
    let scheme = if name.eq_ignore_ascii_case(b"sips") {
        Scheme::Sips
    } else if name.eq_ignore_ascii_case(b"tel") {
        Scheme::Tel
    } else {
        Scheme::Other
    };
    Ok((scheme, &text[colon + 1..]))
}

fn parse_userinfo<'a>(userinfo: &'a [u8], uri: &mut Uri<'a>) -> Result<(), UriError> {
    let user = match find(b':', userinfo) {
        Some(colon) => {
            let password = &userinfo[colon + 1..];
            if !is_escaped(password, Class::PASSWORD) {
                return Err(UriError::User);
            }
            uri.password = Some(password);
            &userinfo[..colon]
        }
        None => userinfo,
    };
    if user.is_empty() || !is_escaped(user, Class::USER) {
        return Err(UriError::User);
    }
    uri.user = Some(user);
    Ok(())
}

/// Takes a host off the front of `text`: `hostname / IPv4address / IPv6reference`. Gives it and
/// what follows, unless what is there is none of these.
///
/// Looser than RFC 3261 in two points that real names need: `_` is accepted, and the last label
/// may begin with a digit. One that is all digits must end an IPv4 address, though.
///
/// # Errors
/// [`UriError::Host`].
pub fn split_host(text: &[u8]) -> Result<(&[u8], &[u8]), UriError> {
    if text.first() == Some(&b'[') {
        let end = find(b']', text).ok_or(UriError::Host)? + 1;
        let host = &text[..end];
        return if ipv6(host).is_some() { Ok((host, &text[end..])) } else { Err(UriError::Host) };
    }
    let end = Class::HOST.span(text);
    let host = &text[..end];
    let (mut before, mut empty_label) = (b'.', false);
    for &b in host {
        empty_label |= b == b'.' && before == b'.';
        before = b;
    }
    if host.is_empty() || empty_label {
        return Err(UriError::Host);
    }
    // A name may end in a dot (the root), behind what would be a name without it; an address may
    // not.
    let name = host.strip_suffix(b".").unwrap_or(host);
    let ends_in_digit = name.last().is_some_and(u8::is_ascii_digit);
    if ends_in_digit && (name.len() < host.len() || ipv4(host).is_none()) {
        let label = name.rsplit(|&b| b == b'.').next().unwrap_or_default();
        if label.iter().all(u8::is_ascii_digit) {
            return Err(UriError::Host);
        }
    }
    Ok((host, &text[end..]))
}

/// A host as an address, where it is one.
#[must_use]
pub fn host_ip(host: &[u8]) -> Option<IpAddr> {
    match host.first()? {
        b'[' => ipv6(host).map(IpAddr::V6),
        b'0'..=b'9' => ipv4(host).map(IpAddr::V4),
        _ => None,
    }
}

fn ipv4(host: &[u8]) -> Option<Ipv4Addr> {
    let (a, rest) = split_octet(host)?;
    let [b'.', rest @ ..] = rest else { return None };
    let (b, rest) = split_octet(rest)?;
    let [b'.', rest @ ..] = rest else { return None };
    let (c, rest) = split_octet(rest)?;
    let [b'.', rest @ ..] = rest else { return None };
    let (d, rest) = split_octet(rest)?;
    rest.is_empty().then(|| Ipv4Addr::new(a, b, c, d))
}

/// Takes a number of one to three digits off the front. A leading zero reads as octal to some and
/// as decimal to others: it is refused.
#[inline(always)]
fn split_octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: &u8| Some(byte.wrapping_sub(b'0')).filter(|&digit| digit < 10);
    let (first, rest) = text.split_first()?;
    let first = digit(first)?;
    let Some((Some(second), rest)) = rest.split_first().map(|(b, rest)| (digit(b), rest)) else {
        return Some((first, rest));
    };
    if first == 0 {
        return None;
    }
    let two = first * 10 + second;
    let Some((Some(third), rest)) = rest.split_first().map(|(b, rest)| (digit(b), rest)) else {
        return Some((two, rest));
    };
    Some((two.checked_mul(10)?.checked_add(third)?, rest))
}

fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inner).ok()?.parse().ok()
}

fn check_params(params: &[u8]) -> Result<(), UriError> {
    let mut rest = params;
    for _ in 0..URI_PARAMS_MAX {
        let (name, after) = rest.split_at(escaped_span(rest, Class::URI_PARAM));
        if name.is_empty() {
            return Err(UriError::Params);
        }
        rest = after;
        if let [b'=', after @ ..] = rest {
            rest = &after[escaped_span(after, Class::URI_PARAM)..];
        }
        match rest {
            [] => return Ok(()),
            [b';', after @ ..] => rest = after,
            _ => break,
        }
    }
    Err(UriError::Params)
}

fn check_headers(headers: &[u8]) -> Result<(), UriError> {
    for (nth, (name, value)) in pairs(headers, b'&').enumerate() {
        // header = hname "=" hvalue, where hvalue may be empty.
        let valid = nth < URI_PARAMS_MAX
            && !name.is_empty()
            && is_escaped(name, Class::URI_HEADER)
            && value.is_some_and(|v| is_escaped(v, Class::URI_HEADER));
        if !valid {
            return Err(UriError::Headers);
        }
    }
    if headers.is_empty() { Err(UriError::Headers) } else { Ok(()) }
}

/// Name and value of each piece between separators; nothing for nothing.
fn pairs(text: &[u8], separator: u8) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let pieces = (!text.is_empty()).then(|| text.split(move |&b| b == separator));
    pieces.into_iter().flatten().map(|piece| match find(b'=', piece) {
        Some(at) => (&piece[..at], Some(&piece[at + 1..])),
        None => (piece, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"))
    }

    fn error(text: &str) -> UriError {
        Uri::parse(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn parts_are_found_where_rfc_3261_19_1_1_puts_them() {
        let u = uri("sips:alice:pa$s@gw.example.com:5061;transport=tcp;lr?subject=x%20y&to=a");
        assert_eq!(u.scheme, Scheme::Sips);
        assert_eq!(u.user, Some(&b"alice"[..]));
        assert_eq!(u.password, Some(&b"pa$s"[..]));
        assert_eq!(u.host, b"gw.example.com");
        assert_eq!(u.port, Some(5061));
        assert_eq!(u.params, b"transport=tcp;lr");
        assert_eq!(u.headers, b"subject=x%20y&to=a");
        assert_eq!(u.param(b"transport"), Some(&b"tcp"[..]));
        assert_eq!(u.param(b"lr"), Some(&b""[..]));
        assert_eq!(u.param(b"maddr"), None);
    }

    #[test]
    fn a_user_part_may_hold_semicolons_and_question_marks() {
        let u = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(u.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(u.params, b"");
        let u = uri("sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*\
                     pas$wo~d_too.(doesn't-it)@example.com");
        assert_eq!(u.password, Some(&b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"[..]));
        assert_eq!(u.host, b"example.com");
    }

    #[test]
    fn escaped_parameter_names_are_the_same_names() {
        let u = uri("sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31");
        assert_eq!(u.param(b"lr"), Some(&b""[..]));
        assert_eq!(u.param(b"name"), Some(&b"v%61lue%25%34%31"[..]));
    }

    #[test]
    fn other_schemes_are_carried_whole() {
        assert_eq!(uri("tel:+13035551111").scheme, Scheme::Tel);
        assert_eq!(uri("soap.beep://192.0.2.103:3002").scheme, Scheme::Other);
        assert_eq!(uri("nobodyKnowsThisScheme:totallyopaquecontent").scheme, Scheme::Other);
        assert_eq!(error("isbn:"), UriError::Opaque);
        assert_eq!(error("isbn:a b"), UriError::Opaque);
        assert!(uri("isbn:1").equals(&uri("isbn:1")));
        assert!(!uri("isbn:a").equals(&uri("isbn:A")));
    }

    #[test]
    fn each_broken_part_has_its_own_error() {
        for text in ["", "sip", "<sip:a@b>", ":a", "1sip:a@b", " sip:a@b"] {
            assert_eq!(error(text), UriError::Scheme, "{text}");
        }
        for text in ["sip:@h", "sip::p@h", "sip:a b@h", "sip:a%4@h", "sip:a:b:c@h", "sip:a\"@h"] {
            assert_eq!(error(text), UriError::User, "{text}");
        }
        for text in [
            "sip:",
            "sip:a@",
            "sip:a@b@c",
            "sip:a@.b",
            "sip:a@b..c",
            "sip:a@1.2.3",
            "sip:256.1.1.1",
            "sip:a@[::1",
            "sip:a@[::g]",
            "sip:a@[]",
            "sip:a@h/x",
            "sip:h x",
            "sip:a@01.2.3.4",
            "sip:a@1.2.3.4.5",
            "sip:a@1.2.3.4.",
            "sip:a@192.",
            "sip:a@h.192.",
            "sip:a@[fe80::1%25eth0]",
            "sip:;lr",
            "sip:::1",
        ] {
            assert_eq!(error(text), UriError::Host, "{text}");
        }
        for text in ["sip:h:", "sip:h:65536", "sip:h:x", "sip:h:99999999999999999999"] {
            assert_eq!(error(text), UriError::Port, "{text}");
        }
        for text in ["sip:h;", "sip:h;;lr", "sip:h;=x", "sip:h; lr", "sip:h;a=b=c", "sip:h;a=%"] {
            assert_eq!(error(text), UriError::Params, "{text}");
        }
        for text in ["sip:h?", "sip:h?a", "sip:h?=b", "sip:h?a=b&", "sip:h;lr?a=<b>"] {
            assert_eq!(error(text), UriError::Headers, "{text}");
        }
        assert_eq!(error("sip:h:5060x"), UriError::Host);
    }

    #[test]
    fn parameters_and_headers_are_as_many_as_comparison_can_afford() {
        let params = |count| format!("sip:h{}", ";a=b".repeat(count));
        let headers = |count| format!("sip:h?a=b{}", "&a=b".repeat(count - 1));
        let _ = (uri(&params(URI_PARAMS_MAX)), uri(&headers(URI_PARAMS_MAX)));
        assert_eq!(error(&params(URI_PARAMS_MAX + 1)), UriError::Params);
        assert_eq!(error(&headers(URI_PARAMS_MAX + 1)), UriError::Headers);
    }

    #[test]
    fn hosts_are_names_ipv4_or_bracketed_ipv6_as_in_rfc_5118() {
        assert_eq!(uri("sip:a@[2001:db8::10]:5070").host, b"[2001:db8::10]");
        assert_eq!(uri("sip:a@[2001:db8::10]:5070").port, Some(5070));
        // RFC 5118 4.2: the port stands inside the brackets and becomes part of the address.
        assert_eq!(uri("sip:[2001:db8::10:5070]").port, None);
        assert_eq!(uri("sip:user@[::ffff:192.0.2.10]").host_ip(), "::ffff:192.0.2.10".parse().ok());
        assert_eq!(uri("sip:192.0.2.1").host_ip(), "192.0.2.1".parse().ok());
        assert_eq!(uri("sip:a@host").host_ip(), None);
        assert_eq!(uri("sip:a@example.com.").host, b"example.com.");
        assert_eq!(uri("sip:a@my_pbx").host, b"my_pbx");
        assert_eq!(uri("sip:a@3f2a9c").host, b"3f2a9c");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn parts_written_together_are_read_apart(
            user in "[a-zA-Z0-9_.!~*'()&=+$,;?/-]{1,12}(%[0-9a-f]{2})?",
            password in proptest::option::of("[a-z&=+$,]{0,6}"),
            host in "[a-z][a-z0-9-]{0,8}(\\.[a-z]{2,4})?",
            port in proptest::option::of(any::<u16>()),
            params in "(;[a-z]{1,4}(=[a-z\\[\\]/:&+$]{1,4})?){0,3}",
            headers in "(\\?[a-z]{1,4}=[a-z]{0,4}(&[a-z]{1,4}=)?)?",
        ) {
            let mut text = format!("sip:{user}");
            if let Some(p) = &password {
                text += &format!(":{p}");
            }
            text += &format!("@{host}");
            if let Some(p) = port {
                text += &format!(":{p}");
            }
            text += &params;
            text += &headers;
            let u = uri(&text);
            prop_assert_eq!(u.user, Some(user.as_bytes()));
            prop_assert_eq!(u.password, password.as_ref().map(String::as_bytes));
            prop_assert_eq!(u.host, host.as_bytes());
            prop_assert_eq!(u.port, port);
            prop_assert_eq!(u.params, params.strip_prefix(';').unwrap_or("").as_bytes());
            prop_assert_eq!(u.headers, headers.strip_prefix('?').unwrap_or("").as_bytes());
            prop_assert!(u.equals(&uri(&text.clone())));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(
            text in "\\PC{0,40}", tail in any::<Vec<u8>>(),
        ) {
            let mut bytes = b"sip:".to_vec();
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend_from_slice(&tail);
            if let Ok(u) = Uri::parse(&bytes) {
                prop_assert!(u.equals(&u));
                let _ = (u.param(b"x"), u.host_ip());
            }
            let _ = Uri::parse(&tail);
        }
    }
}
