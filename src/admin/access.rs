//! Who may ask: whoever shows the token. Without one, whoever is on this host; a page in somebody's
//! browser there is not meant, so the request must name this host and nothing else.

use std::sync::atomic::Ordering;

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::api::Api;
use super::audit::{Action, Verb};
use super::operator::{From, Operator, Role, Via};
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

    fn is(&self, shown: &[u8]) -> bool {
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

/// The rule.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Who shows the token.
    Token(Token),
    /// Who is on this host.
    Host,
}

impl Access {
    /// Who asks, or why nobody is known to.
    pub fn check(&self, from: From, headers: &HeaderMap) -> Result<Operator, Problem> {
        let all =
            |via: Via| Operator { name: via.name().into(), role: Role::Admin, from: from.0, via };
        match self {
            Access::Token(token) => match bearer(headers) {
                Some(shown) if token.is(shown) => Ok(all(Via::AdminToken)),
                Some(_) => Err(Problem::unauthorized("the token is not the one")),
                None => Err(Problem::unauthorized(
                    "a token is needed: Authorization: Bearer and the token",
                )),
            },
            Access::Host if names_this_host(headers) => Ok(all(Via::Loopback)),
            Access::Host => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "without a token only requests to localhost, 127.0.0.1 or [::1] by that name are \
                 answered",
            )),
        }
    }
}

/// What a request carries from the guard in front of every path to the path's own check.
#[derive(Clone)]
pub(super) struct Asked {
    pub api: Api,
    pub who: Result<Operator, Problem>,
}

/// Lets a request through to what needs `needs`, with who asks as an [`Operator`] in it.
pub(super) fn cleared(needs: Needs, mut request: Request) -> Result<Request, Problem> {
    let Some(Asked { api, who }) = request.extensions_mut().remove() else {
        let detail = "a path was reached without its guard";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
    };
    let refused = |problem: Problem| {
        api.counts.denied.fetch_add(1, Ordering::Relaxed);
        Err(problem)
    };
    match (needs, who) {
        (Needs::Nothing, Err(_)) => {}
        (Needs::Nothing, Ok(operator)) => {
            request.extensions_mut().insert(operator);
        }
        (Needs::Role(_), Err(problem)) => return refused(problem),
        (Needs::Role(role), Ok(operator)) if operator.role < role => {
            let asked = format!("{} {}", request.method(), request.uri().path());
            let why = format!("the role {role} is needed, {} has {}", operator.name, operator.role);
            api.audit(&operator, Action::new(Verb::RoleRefused, asked).refused(&why));
            return refused(Problem::new(StatusCode::FORBIDDEN, why));
        }
        (Needs::Role(_), Ok(operator)) => {
            request.extensions_mut().insert(operator);
        }
    }
    Ok(request)
}

/// The token a request shows (RFC 6750 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(token.trim_ascii())
}

/// Whether Host names this host as such. A page that had its own name resolve to loopback would
/// ask under that name.
fn names_this_host(headers: &HeaderMap) -> bool {
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
    use axum::http::{HeaderName, HeaderValue};

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn from() -> From {
        From("127.0.0.1:50000".parse().unwrap())
    }

    #[test]
    fn only_the_token_opens() {
        let access = Access::Token(Token::new("correct-horse-battery").unwrap());
        let open = |value| access.check(from(), &headers(&[(AUTHORIZATION, value)])).is_ok();
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
        assert!(access.check(from(), &HeaderMap::new()).is_err());
        // Two answers to one question are none.
        let twice = headers(&[
            (AUTHORIZATION, "Bearer correct-horse-battery"),
            (AUTHORIZATION, "Bearer correct-horse-battery"),
        ]);
        assert!(access.check(from(), &twice).is_err());
    }

    #[test]
    fn without_a_token_this_host_must_be_named() {
        let open = |list: &[_]| Access::Host.check(from(), &headers(list)).is_ok();
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
    }

    #[test]
    fn a_token_is_visible_text_and_is_not_shown() {
        assert!(Token::new("x").unwrap().is_short());
        let long = "x".repeat(TOKEN_BYTES_MAX);
        assert!(!Token::new(&long).unwrap().is_short());
        for bad in ["", "a b", "a\n", "caf\u{e9}", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert_eq!(Token::new(bad).unwrap_err(), TokenError, "{bad}");
        }
        assert_eq!(format!("{:?}", Access::Token(Token::new("secret").unwrap())), "Token(Token)");
    }
}
