//! What stands in front of a path: whoever asks must have the role it needs, and what changes
//! something must not have been begun by a page of somebody else. Who asks is found out by
//! [`identity`](super::identity).

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, AUTHORIZATION, HOST, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::api::Api;
use super::audit::{Action, Verb};
use super::body;
use super::identity::is_csrf;
use super::operator::{From, Operator, Session};
use super::problem::Problem;
use super::routes::Needs;

/// Longest token, bytes.
const TOKEN_BYTES_MAX: usize = 256;

/// A secret that opens the interface. Kept as its hash, so that comparing takes as long whatever
/// is shown, whatever its length.
#[derive(Clone)]
pub struct Token {
    hash: [u8; 32],
    len: usize,
}

/// The text is no token: 1 to 256 visible ASCII characters make one (RFC 6750 2.1 allows fewer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenError;

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected 1 to {TOKEN_BYTES_MAX} visible ASCII characters without a space")
    }
}

impl std::error::Error for TokenError {}

impl Token {
    /// Takes a token.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn new(text: &str) -> Result<Token, TokenError> {
        let good = (1..=TOKEN_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !good {
            return Err(TokenError);
        }
        Ok(Token { hash: Sha256::digest(text.as_bytes()).into(), len: text.len() })
    }

    /// Whether it is so short that it could be guessed.
    #[must_use]
    pub fn is_short(&self) -> bool {
        const SAFE: usize = 16;
        self.len < SAFE
    }

    pub(super) fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.hash.ct_eq(&shown).into()
    }
}

/// Without what would help anybody.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// What a request carries from the guard in front of every path to the path's own check.
#[derive(Clone)]
pub(super) struct Asked {
    pub api: Api,
    pub who: Result<Operator, Problem>,
}

/// Lets a request through to what needs `needs`, with who asks as an [`Operator`] in it. One that
/// changes something must not have been begun by a page of somebody else.
pub(super) async fn cleared(needs: Needs, mut request: Request) -> Result<Request, Response> {
    let from = From::of(request.extensions());
    let Some(Asked { api, who }) = request.extensions_mut().remove() else {
        let detail = "a path was reached without its guard";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response());
    };
    let refused = |answer: Response| {
        api.counts.denied.fetch_add(1, Ordering::Relaxed);
        answer
    };
    let operator = match (needs, who) {
        (Needs::Nothing, Err(_)) => None,
        (Needs::Role(_), Err(problem)) => {
            let answer = match login_page(&api, &request) {
                Some(page) if problem.status() == StatusCode::UNAUTHORIZED => page,
                _ => problem.into_response(),
            };
            return Err(refused(answer));
        }
        (Needs::Role(role), Ok(operator)) if operator.role < role => {
            let asked = format!("{} {}", request.method(), request.uri().path());
            let why = format!("the role {role} is needed, {} has {}", operator.name, operator.role);
            api.audit(&operator, Action::new(Verb::RoleRefused, asked).refused(&why));
            return Err(refused(Problem::new(StatusCode::FORBIDDEN, why).into_response()));
        }
        (_, Ok(operator)) => Some(operator),
    };
    let by_token = operator.as_ref().is_some_and(|operator| operator.via.is_shown());
    if !request.method().is_safe() && !by_token {
        let session = operator.as_ref().and_then(|operator| operator.session.clone());
        // Where nothing is needed nothing is done in somebody's name.
        let session = session.filter(|_| needs != Needs::Nothing);
        let asked = format!("{} {}", request.method(), request.uri().path());
        request = match genuine(request, session).await {
            Ok(request) => request,
            Err(problem) => {
                let action = Action::new(Verb::ForgeryRefused, asked).refused(problem.detail());
                match &operator {
                    Some(operator) => api.audit(operator, action),
                    None => api.audit_stranger(from, action),
                }
                return Err(refused(problem.into_response()));
            }
        };
    }
    if let Some(operator) = operator {
        request.extensions_mut().insert(operator);
    }
    Ok(request)
}

/// Where a browser is sent that asks for a page nobody may see without a login; a program is told.
fn login_page(api: &Api, request: &Request) -> Option<Response> {
    let path = request.uri().path();
    let for_machines = ["/api/", "/metrics", "/RPC", "/healthz", "/readyz", "/login", "/setup"];
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_page = request.method() == Method::GET
        && accept.is_some_and(|accept| accept.contains("text/html"))
        && !for_machines.iter().any(|prefix| path.starts_with(prefix));
    if !is_page {
        return None;
    }
    let to = if api.needs_setup() {
        "/setup".to_owned()
    } else {
        let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
        let asked = form_urlencoded::byte_serialize(asked.as_bytes()).collect::<String>();
        format!("/login?next={asked}")
    };
    let to = HeaderValue::try_from(to).ok()?;
    Some((StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response())
}

/// Gives a request that changes something back, if it was begun where it says: by a page of ours,
/// or by no page.
async fn genuine(request: Request, session: Option<Session>) -> Result<Request, Problem> {
    let forged = |why: &str| Err(Problem::new(StatusCode::FORBIDDEN, why));
    if !is_of_this_origin(request.headers()) {
        return forged("a page of another origin may change nothing here");
    }
    let Some(Session { csrf, .. }) = session else { return Ok(request) };
    let needed = "X-CSRF-Token, or the field csrf of a form, is not that of the session";
    if let Some(shown) = request.headers().get("x-csrf-token") {
        let is_ours = is_csrf(&csrf, shown.as_bytes());
        return if is_ours { Ok(request) } else { forged(needed) };
    }
    if !body::is_of(request.headers(), "application/x-www-form-urlencoded") {
        return forged(needed);
    }
    let (parts, content) = request.into_parts();
    let whole = body::whole(Request::new(content)).await?;
    let shown: Vec<_> = form_urlencoded::parse(&whole).filter(|(name, _)| name == "csrf").collect();
    match shown.as_slice() {
        [(_, shown)] if is_csrf(&csrf, shown.as_bytes()) => {
            Ok(Request::from_parts(parts, Body::from(whole)))
        }
        _ => forged(needed),
    }
}

/// What browsers say of where a request was begun. Programs say nothing, and nobody can have a
/// browser say nothing.
fn is_of_this_origin(headers: &HeaderMap) -> bool {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        match (values.next(), values.next()) {
            (None, _) => Some(None),
            (Some(value), None) => Some(Some(value)),
            _ => None,
        }
    };
    let said = (only("sec-fetch-site"), only("origin"), only("host"));
    let (Some(site), Some(origin), Some(host)) = said else { return false };
    let site_is_ours = site.is_none_or(|site| site == b"same-origin" || site == b"none");
    let origin_is_ours = origin.is_none_or(|origin| {
        let rest = origin.strip_prefix(b"https://").or(origin.strip_prefix(b"http://"));
        rest.is_some_and(|rest| host.is_some_and(|host| rest.eq_ignore_ascii_case(host)))
    });
    site_is_ours && origin_is_ours
}

/// The token a request shows (RFC 6750 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(token.trim_ascii())
}

/// What proxies say of those they ask for.
const OF_PROXIES: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Whether Host names this host as such, and no proxy asks for somebody else. A page that had its
/// own name resolve to loopback would ask under that name.
pub(super) fn names_this_host(headers: &HeaderMap) -> bool {
    if OF_PROXIES.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        // HTTP/1.0, which no browser speaks.
        (None, _) => return true,
        (Some(host), None) => host.as_bytes(),
        (Some(_), Some(_)) => return false,
    };
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let is_ours = name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    is_ours && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;
    use axum::http::header::ORIGIN;

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_the_token_opens() {
        let token = Token::new("correct-horse-battery").unwrap();
        let open = |value| {
            bearer(&headers(&[(AUTHORIZATION, value)])).is_some_and(|shown| token.is(shown))
        };
        for value in ["Bearer correct-horse-battery", "bearer  correct-horse-battery "] {
            assert!(open(value), "{value}");
        }
        for value in [
            "Bearer correct-horse-batter",
            "Bearer correct-horse-battery1",
            "Bearer ",
            "Bearer",
            "",
            "correct-horse-battery",
            "Basic correct-horse-battery",
        ] {
            assert!(!open(value), "{value}");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
        // Two answers to one question are none.
        let twice = headers(&[
            (AUTHORIZATION, "Bearer correct-horse-battery"),
            (AUTHORIZATION, "Bearer correct-horse-battery"),
        ]);
        assert!(bearer(&twice).is_none());
    }

    #[test]
    fn without_a_token_this_host_must_be_named() {
        let open = |list: &[_]| names_this_host(&headers(list));
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8060", "127.1.2.3", "[::1]:1", "[::1]"]
        {
            assert!(open(&[(HOST, host)]), "{host}");
        }
        for host in [
            "attacker.example",
            "attacker.example:8060",
            "localhost.attacker.example",
            "192.0.2.1:8060",
            "127.0.0.1.attacker.example",
            "::1",
            "localhost:x",
            "",
        ] {
            assert!(!open(&[(HOST, host)]), "{host}");
        }
        assert!(open(&[]));
        assert!(!open(&[(HOST, "localhost"), (HOST, "localhost")]));
        for name in OF_PROXIES {
            let proxied = (HeaderName::from_static(name), "203.0.113.9");
            assert!(!open(&[(HOST, "localhost"), proxied]), "{name}");
        }
    }

    #[test]
    fn what_a_page_of_somebody_else_begins_is_known_by_what_browsers_say() {
        const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
        let ours = |list: &[_]| is_of_this_origin(&headers(list));
        let host = (HOST, "localhost:8060");
        for list in [
            &[host.clone()][..],
            &[],
            &[host.clone(), (ORIGIN, "http://localhost:8060")],
            &[host.clone(), (ORIGIN, "https://LOCALHOST:8060"), (SITE, "same-origin")],
            &[host.clone(), (SITE, "none")],
        ] {
            assert!(ours(list), "{list:?}");
        }
        for list in [
            &[host.clone(), (ORIGIN, "null")][..],
            &[host.clone(), (ORIGIN, "")],
            &[host.clone(), (ORIGIN, "http://localhost")],
            &[host.clone(), (ORIGIN, "http://attacker.example")],
            &[host.clone(), (ORIGIN, "http://localhost:8060.attacker.example")],
            &[host.clone(), (ORIGIN, "http://localhost:8060"), (SITE, "cross-site")],
            &[host.clone(), (SITE, "same-site")],
            &[host.clone(), (SITE, "same-origin"), (SITE, "cross-site")],
            &[(ORIGIN, "http://localhost:8060")],
        ] {
            assert!(!ours(list), "{list:?}");
        }
    }

    #[test]
    fn a_token_is_visible_text_and_is_not_shown() {
        assert!(Token::new("x").unwrap().is_short());
        let long = "x".repeat(TOKEN_BYTES_MAX);
        assert!(!Token::new(&long).unwrap().is_short());
        for bad in ["", "a b", "a\n", "caf\u{e9}", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert_eq!(Token::new(bad).unwrap_err(), TokenError, "{bad}");
        }
        assert_eq!(format!("{:?}", Token::new("secret").unwrap()), "Token");
    }
}
