//! The cookie of a session: out of reach of scripts, sent to nobody else and with nothing that
//! another site begins; over TLS bound to this very host (RFC 6265bis 4.1.3).

use axum::http::header::{COOKIE, HeaderMap, HeaderValue};

/// Over TLS.
const NAME_SECURE: &str = "__Host-aorta";
/// In the clear, where browsers take no `__Host-`.
const NAME: &str = "aorta";
/// Longest secret that is looked at, bytes.
const SHOWN_BYTES_MAX: usize = 128;

fn name(secure: bool) -> &'static str {
    if secure { NAME_SECURE } else { NAME }
}

/// What a browser shows, if it shows one. Two of the name are none: one of them is not ours.
pub(super) fn shown(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let mut ours = pairs.filter(|(given, _)| given.trim() == name(secure));
    match (ours.next(), ours.next()) {
        (Some((_, value)), None) => Some(value.trim()).filter(|v| v.len() <= SHOWN_BYTES_MAX),
        _ => None,
    }
}

/// What has a browser keep a secret until it is closed.
pub(super) fn set(secret: &str, secure: bool) -> HeaderValue {
    header(&format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict", name(secure)), secure)
}

/// What has it forget.
pub(super) fn clear(secure: bool) -> HeaderValue {
    header(&format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", name(secure)), secure)
}

fn header(text: &str, secure: bool) -> HeaderValue {
    let text = if secure { format!("{text}; Secure") } else { text.to_owned() };
    HeaderValue::try_from(text).expect("names and hex digits are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_of_the_name_is_found_and_two_are_none() {
        let shown_in = |lines: &[&'static str], secure| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_static(line));
            }
            shown(&headers, secure).map(str::to_owned)
        };
        assert_eq!(shown_in(&["aorta=ab"], false).as_deref(), Some("ab"));
        assert_eq!(shown_in(&["x=1; aorta=ab ;y"], false).as_deref(), Some("ab"));
        assert_eq!(shown_in(&["x=1", "__Host-aorta=ab"], true).as_deref(), Some("ab"));
        for none in [&["aorta=ab; aorta=cd"][..], &["aorta=ab", "aorta=cd"], &["x-aorta=ab"], &[]] {
            assert_eq!(shown_in(none, false), None, "{none:?}");
        }
        assert_eq!(shown_in(&["aorta=ab"], true), None, "it was set in the clear");
    }

    #[test]
    fn a_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        assert_eq!(text(set("ab", false)), "aorta=ab; Path=/; HttpOnly; SameSite=Strict");
        let secure = text(set("ab", true));
        assert_eq!(secure, "__Host-aorta=ab; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert!(text(clear(true)).contains("=; Path=/; Max-Age=0;"));
    }
}
