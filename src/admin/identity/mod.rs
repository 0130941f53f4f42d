//! Who operators are: accounts with passwords, sessions of browsers, tokens of programs, and the
//! first account of all.
//!
//! - `accounts`: operators and tokens, and the rules among them; `kept`: their file
//! - `password`: which passwords are taken, and their hashes; `lockout`: who guesses waits
//! - `sessions`: who is logged in; `cookie`: what a browser keeps of that; `secret`: secrets made
//! - `login`, `manage`: what pages and paths call, each on [`Api`](super::api::Api) and each with
//!   its line in the audit; `paths`: the same as JSON
//!
//! # For a page
//! `api.log_in(from, headers, name, password)` gives an operator and the cookie to set;
//! `api.log_out(&operator)` the cookie that takes it back. A form has a hidden field `csrf` with
//! `operator.csrf()`, a script sends the same as `X-CSRF-Token`; both are checked in front of every
//! path that changes something ([`access`](super::access)), so that no handler has to. The forms of
//! `/login` and `/setup`, where nobody is known yet, have none: there the origin is checked.
//! `api.needs_setup()` says that there is no operator yet.

#![allow(clippy::disallowed_types, reason = "handlers of one runtime share who operators are")]

mod accounts;
mod cookie;
mod kept;
mod lockout;
mod login;
mod manage;
mod password;
mod paths;
mod secret;
mod sessions;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use self::accounts::{Accounts, Refused};
use self::kept::Kept;
use self::lockout::Lockout;
use self::password::{Busy, Hasher};
use self::sessions::{Lasting, Sessions, csrf_of};
use super::access::{Token, bearer, names_this_host};
use super::operator::{From, Operator, Role, Session, Via};
use super::problem::Problem;
use crate::reactor::Clock;

pub(super) use self::login::LoggedIn;
#[allow(unused_imports, reason = "pages call what gives and takes these")]
pub(super) use self::manage::{Change, MadeToken, OperatorRow, TokenRow};
pub(super) use self::paths::routes;
pub(super) use self::sessions::{SessionId, is_csrf};

/// What holds for whoever comes; all of it may change while the interface serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Networks that may reach the interface beside this host; all of them where there are none.
    pub allow: Vec<IpNet>,
    /// After so long without a request a session ends, seconds.
    pub session_idle_s: u32,
    /// However busy, it ends after this time, seconds.
    pub session_max_s: u32,
    /// The shortest password, characters.
    pub password_min: u32,
    /// Failures of one name from one source before it waits.
    pub login_failures: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            allow: Vec::new(),
            session_idle_s: 1800,
            session_max_s: 43_200,
            password_min: 12,
            login_failures: 5,
        }
    }
}

/// Wrong codes before another code is made.
const CODE_FAILURES_MAX: u32 = 10;

/// Everything about who operators are.
pub(super) struct Identity {
    state: Mutex<State>,
    /// One change of what is kept at a time.
    changing: tokio::sync::Mutex<()>,
    hasher: Hasher,
    kept: Option<Kept>,
    admin_token: Option<Token>,
    clock: Clock,
    /// Whether answers go over TLS.
    secure: bool,
    say: Arc<dyn Fn(&str) + Send + Sync>,
}

struct State {
    accounts: Accounts,
    sessions: Sessions,
    lockout: Lockout,
    policy: Policy,
    setup: Option<Setup>,
}

/// The way to the first account.
struct Setup {
    code_hash: [u8; 32],
    failures: u32,
}

impl Identity {
    /// # Errors
    /// One line: what is kept is not whole, or there are no random bytes.
    pub fn new(
        directory: Option<PathBuf>,
        admin_token: Option<Token>,
        secure: bool,
        policy: Policy,
        say: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Identity, String> {
        let opened = directory.map(|directory| Kept::open(&directory)).transpose()?;
        let (kept, accounts) = match opened {
            Some((kept, accounts)) => (Some(kept), accounts),
            None => (None, Accounts::default()),
        };
        let (sessions, lockout) = (Sessions::default(), Lockout::default());
        let state = State { accounts, sessions, lockout, policy, setup: None };
        Ok(Identity {
            state: Mutex::new(state),
            changing: tokio::sync::Mutex::new(()),
            hasher: Hasher::new()?,
            kept,
            admin_token,
            clock: Clock::start(),
            secure,
            say,
        })
    }

    /// Nothing is left half done under it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_s(&self) -> u64 {
        self.clock.now().wall.0
    }

    /// Obeys another policy from now on.
    pub fn obey(&self, policy: Policy) {
        self.state().policy = policy;
    }

    /// Whether nobody has an account.
    pub fn needs_setup(&self) -> bool {
        self.state().accounts.operators.is_empty()
    }

    /// Whether whoever is on this host comes in without anything to show.
    pub fn is_open_here(&self) -> bool {
        self.admin_token.is_none() && self.needs_setup()
    }

    /// Whether a connection from there is served at all. This host always is; before anybody has a
    /// password, and without a token, nobody else is.
    pub fn may_connect(&self, source: std::net::IpAddr) -> bool {
        let source = source.to_canonical();
        if source.is_loopback() {
            return true;
        }
        let state = self.state();
        let is_open = self.admin_token.is_some() || !state.accounts.operators.is_empty();
        let allow = &state.policy.allow;
        is_open && (allow.is_empty() || allow.iter().any(|network| network.contains(&source)))
    }

    /// Who asks, or why nobody is known to.
    pub fn identify(&self, from: From, headers: &HeaderMap) -> Result<Operator, Problem> {
        if headers.contains_key(axum::http::header::AUTHORIZATION) {
            return self.by_token(from, headers);
        }
        if let Some(operator) = self.by_session(from, headers) {
            return Ok(operator);
        }
        if self.admin_token.is_some() || !self.needs_setup() {
            let detail = "a token is needed: Authorization: Bearer and the token, or a login";
            return Err(Problem::unauthorized(detail));
        }
        if !from.0.ip().to_canonical().is_loopback() || !names_this_host(headers) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "without a token only requests to localhost, 127.0.0.1 or [::1] by that name are \
                 answered",
            ));
        }
        Ok(Operator::by_means(Via::Loopback, from))
    }

    fn by_token(&self, from: From, headers: &HeaderMap) -> Result<Operator, Problem> {
        let shown = bearer(headers).unwrap_or_default();
        if self.admin_token.as_ref().is_some_and(|token| token.is(shown)) {
            return Ok(Operator::by_means(Via::AdminToken, from));
        }
        let mut state = self.state();
        let now_s = self.now_s();
        let known = state.accounts.token(now_s, shown).map(|(name, _)| name.clone());
        let Some(name) = known else {
            return Err(Problem::unauthorized("the token is not the one"));
        };
        let at = super::moment::rfc3339(crate::time::UnixTime(now_s));
        // Kept with the next change; a write for each request would be too many.
        let token = state.accounts.tokens.get_mut(&name).expect("it was found by this name");
        token.used_at = Some(at);
        Ok(Operator {
            name: format!("token:{name}").into(),
            role: token.role,
            from: from.0,
            via: Via::ApiToken,
            session: None,
        })
    }

    fn by_session(&self, from: From, headers: &HeaderMap) -> Option<Operator> {
        let shown = cookie::shown(headers, self.secure)?;
        let mut state = self.state();
        let lasting = state.lasting();
        let (id, name) = state.sessions.touch(self.now_s(), lasting, shown)?;
        // As it is now, whatever it was at the login.
        let account = state.accounts.operators.get(&*name)?;
        let role = account.role;
        if account.disabled {
            return None;
        }
        let session = Some(Session { id, csrf: csrf_of(shown).into() });
        Some(Operator { name, role, from: from.0, via: Via::Session, session })
    }

    /// Changes what is kept: first on the disk, then here.
    async fn change<T>(
        &self,
        edit: impl FnOnce(&mut Accounts) -> Result<T, Refused>,
    ) -> Result<T, Problem> {
        let _alone = self.changing.lock().await;
        let mut accounts = self.state().accounts.clone();
        let done = edit(&mut accounts)?;
        if let Some(kept) = self.kept.clone() {
            let copy = accounts.clone();
            let written = tokio::task::spawn_blocking(move || kept.write(&copy)).await;
            let failed = |what: String| {
                let detail = format!("nothing was changed, it cannot be kept: {what}");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            };
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(failed(error.to_string())),
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        let mut state = self.state();
        // Uses of tokens were noted meanwhile.
        for (name, token) in &mut accounts.tokens {
            let used_at = state.accounts.tokens.get(name).and_then(|token| token.used_at.clone());
            token.used_at = used_at.or(token.used_at.take());
        }
        state.accounts = accounts;
        Ok(done)
    }

    /// Says how the first account is made, while there is none. `at` is where this is served.
    pub fn say_setup(&self, at: &str) -> Result<(), String> {
        if !self.needs_setup() {
            return Ok(());
        }
        let code = secret::code()?;
        self.state().setup = Some(Setup { code_hash: code_hash(&code), failures: 0 });
        (self.say)(&format!(
            "no operator has a password yet: {at}/setup on this host makes the first one, with \
             the code {code}"
        ));
        Ok(())
    }
}

impl State {
    fn lasting(&self) -> Lasting {
        let Policy { session_idle_s, session_max_s, .. } = self.policy;
        Lasting { idle_s: session_idle_s.into(), whole_s: session_max_s.into() }
    }
}

fn code_hash(code: &str) -> [u8; 32] {
    Sha256::digest(secret::typed_code(code).as_bytes()).into()
}

impl std::convert::From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Malformed(parameter, detail) => Problem::parameter(parameter, detail),
            Refused::Unknown(detail) => Problem::new(StatusCode::NOT_FOUND, detail),
            Refused::Conflict(detail) => Problem::new(StatusCode::CONFLICT, detail),
        }
    }
}

impl std::convert::From<Busy> for Problem {
    fn from(_: Busy) -> Problem {
        Problem::unavailable("too many log in at the moment")
    }
}

impl Operator {
    fn by_means(via: Via, from: From) -> Operator {
        let name = via.name().into();
        Operator { name, role: Role::Admin, from: from.0, via, session: None }
    }
}
