//! Coming in and going out: the first account, a login, a logout, the own password.

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use subtle::ConstantTimeEq;

use super::accounts::Account;
use super::accounts::Refused;
use super::secret::Secret;
use super::sessions::csrf_of;
use super::{CODE_FAILURES_MAX, Identity, code_hash, cookie, password};
use crate::admin::access::names_this_host;
use crate::admin::api::Api;
use crate::admin::audit::{Action, Verb};
use crate::admin::moment::rfc3339;
use crate::admin::operator::{From, Operator, Role, Session, Via};
use crate::admin::problem::Problem;
use crate::time::UnixTime;

/// Somebody who has come in.
#[derive(Debug)]
pub(in crate::admin) struct LoggedIn {
    pub operator: Operator,
    /// The `Set-Cookie` of the answer.
    pub cookie: HeaderValue,
}

/// The same for whatever does not open: which part was wrong is nobody's business.
const WRONG: &str = "the name or the password is not right";

impl Api {
    /// Whether there is no operator yet, so that `/setup` is the page to show.
    pub fn needs_setup(&self) -> bool {
        self.identity.needs_setup()
    }

    /// Makes the first operator, an admin, and logs in. Only from this host, and with the code that
    /// was written to standard error.
    ///
    /// # Errors
    /// For a page to show: the code is wrong, the password is not taken, somebody was first.
    pub async fn set_up(
        &self,
        from: From,
        headers: &HeaderMap,
        code: &str,
        name: &str,
        password: &str,
    ) -> Result<LoggedIn, Problem> {
        if !from.0.ip().to_canonical().is_loopback() || !names_this_host(headers) {
            let detail = "the first operator is made on this host, at localhost";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let identity = &self.identity;
        if let Err(problem) = identity.check_code(code, &self.served_at) {
            let action = Action::new(Verb::Setup, "").refused(problem.detail());
            self.audit_stranger(from, action);
            return Err(problem);
        }
        let name = identity.state().accounts.may_add(name)?;
        let hash = identity.hash_of(&name, password).await?;
        let now = rfc3339(UnixTime(identity.now_s()));
        let account = Account {
            role: Role::Admin,
            hash,
            disabled: false,
            created_at: now.clone(),
            password_at: now,
            login_at: None,
        };
        let kept_name = name.clone();
        identity
            .change(move |accounts| {
                if !accounts.operators.is_empty() {
                    return Err(Refused::Conflict("somebody was first".to_owned()));
                }
                accounts.operators.insert(kept_name, account);
                Ok(())
            })
            .await?;
        identity.state().setup = None;
        let logged_in = identity.begin_session(from, headers, &name)?;
        self.audit(&logged_in.operator, Action::new(Verb::Setup, name));
        Ok(logged_in)
    }

    /// Checks a password and begins a session. A session that the browser had is over.
    ///
    /// # Errors
    /// 401 for whatever does not open, 429 with how long to wait where too much was wrong before,
    /// 503 where too many log in at once.
    pub async fn log_in(
        &self,
        from: From,
        headers: &HeaderMap,
        name: &str,
        password: &str,
    ) -> Result<LoggedIn, Problem> {
        let identity = &self.identity;
        let source = from.0.ip().to_canonical();
        let (known, failures_max) = {
            let state = identity.state();
            let known = state.accounts.operator(name).ok();
            let known = known.filter(|(_, account)| !account.disabled);
            (known.map(|(name, account)| (name, account.hash.clone())), state.policy.login_failures)
        };
        let said = |why: &str| {
            // What was typed in place of a name may be the password.
            let known = identity.state().accounts.operator(name).ok().map(|(name, _)| name);
            let who = known.unwrap_or_else(|| "nobody".to_owned());
            self.audit_stranger(from, Action::new(Verb::Login, who).refused(why));
        };
        let begun = identity.state().lockout.begin(identity.now_s(), name, source, failures_max);
        if let Err(wait_s) = begun {
            said("too many failures before");
            return Err(Problem::wait(wait_s, "too many logins have failed from where you are"));
        }
        let too_long = password.len() > password::BYTES_MAX;
        let password = if too_long { String::new() } else { password.to_owned() };
        let of = known.as_ref().map(|(_, hash)| hash.as_str().into());
        let is_right = match identity.hasher.is(password, of).await {
            Ok(is_right) => is_right && !too_long,
            Err(busy) => {
                identity.state().lockout.not_tried(name, source);
                return Err(busy.into());
            }
        };
        let Some((kept_name, hash)) = known.filter(|_| is_right) else {
            said("the name or the password");
            return Err(Problem::new(StatusCode::UNAUTHORIZED, WRONG));
        };
        {
            let mut state = identity.state();
            state.lockout.succeeded(identity.now_s(), name, source);
            // It may have been changed, or the account taken away, while the hash was compared.
            let now = rfc3339(UnixTime(identity.now_s()));
            match state.accounts.operators.get_mut(&kept_name) {
                Some(account) if account.hash == hash && !account.disabled => {
                    account.login_at = Some(now);
                }
                _ => return Err(Problem::new(StatusCode::UNAUTHORIZED, WRONG)),
            }
        }
        let logged_in = identity.begin_session(from, headers, &kept_name)?;
        self.audit(&logged_in.operator, Action::new(Verb::Login, kept_name));
        Ok(logged_in)
    }

    /// Ends the session of whoever asks. Returns the `Set-Cookie` that has the browser forget it.
    pub fn log_out(&self, operator: &Operator) -> HeaderValue {
        if let Some(Session { id, .. }) = &operator.session {
            self.identity.state().sessions.end(id);
            self.audit(operator, Action::new(Verb::Logout, operator.name.to_string()));
        }
        cookie::clear(self.identity.secure)
    }

    /// Changes the own password. All sessions of the operator end; a new one begins.
    ///
    /// # Errors
    /// For a page to show: the old one is wrong, the new one is not taken.
    pub async fn change_password(
        &self,
        operator: &Operator,
        headers: &HeaderMap,
        old: &str,
        new: &str,
    ) -> Result<LoggedIn, Problem> {
        let identity = &self.identity;
        if operator.via != Via::Session {
            let detail = "only who has logged in with a password has one to change";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        let from = From(operator.from);
        let (name, source) = (operator.name.to_string(), from.0.ip().to_canonical());
        let (hash, failures_max) = {
            let state = identity.state();
            let (_, account) = state.accounts.operator(&name)?;
            (account.hash.clone(), state.policy.login_failures)
        };
        let begun = identity.state().lockout.begin(identity.now_s(), &name, source, failures_max);
        begun.map_err(|wait_s| Problem::wait(wait_s, "too many wrong passwords"))?;
        let is_right = match identity.hasher.is(old.to_owned(), Some(hash.as_str().into())).await {
            Ok(is_right) => is_right,
            Err(busy) => {
                identity.state().lockout.not_tried(&name, source);
                return Err(busy.into());
            }
        };
        if !is_right {
            let detail = "the old password is not right";
            let action = Action::new(Verb::ChangePassword, name.as_str());
            self.audit(operator, action.refused(detail));
            return Err(Problem::parameter("old", detail));
        }
        let now_s = identity.now_s();
        identity.state().lockout.succeeded(now_s, &name, source);
        let new = identity.hash_of(&name, new).await?;
        identity.set_password(&name, Some(&hash), new).await?;
        identity.state().sessions.end_all_of(&name);
        self.audit(operator, Action::new(Verb::ChangePassword, name.as_str()));
        identity.begin_session(from, headers, &name)
    }
}

impl Identity {
    /// Whether that is the code. Too many wrong ones make another.
    fn check_code(&self, code: &str, at: &str) -> Result<(), Problem> {
        let another = {
            let mut state = self.state();
            let none = || Problem::new(StatusCode::CONFLICT, "there is an operator already");
            let setup = state.setup.as_mut().ok_or_else(none)?;
            if bool::from(code_hash(code).ct_eq(&setup.code_hash)) {
                return Ok(());
            }
            setup.failures += 1;
            setup.failures >= CODE_FAILURES_MAX
        };
        if another && let Err(error) = self.say_setup(at) {
            (self.say)(&format!("no other code can be made: {error}"));
        }
        let detail = "the code is not the one that was written to standard error";
        Err(Problem::parameter("code", detail))
    }

    /// The hash of a password that is taken.
    pub(super) async fn hash_of(&self, name: &str, password: &str) -> Result<String, Problem> {
        let chars_min = self.state().policy.password_min;
        if let Some(objection) = password::objection(password, name, chars_min) {
            return Err(Problem::parameter("password", format!("password: {objection}")));
        }
        let hashed = self.hasher.hash(password.to_owned()).await?;
        hashed.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))
    }

    /// Sets a password; in place of this one alone, where one is said: an administrator may have
    /// set another since the old one was found to be right.
    pub(super) async fn set_password(
        &self,
        name: &str,
        instead_of: Option<&str>,
        hash: String,
    ) -> Result<String, Problem> {
        let now = rfc3339(UnixTime(self.now_s()));
        self.change(|accounts| {
            let (_, account) = accounts.operator(name)?;
            if instead_of.is_some_and(|old| account.disabled || old != account.hash) {
                return Err(Refused::Conflict("the password was changed meanwhile".into()));
            }
            accounts.change(name, |account| {
                account.hash = hash;
                account.password_at = now;
            })
        })
        .await
    }

    fn begin_session(
        &self,
        from: From,
        headers: &HeaderMap,
        name: &str,
    ) -> Result<LoggedIn, Problem> {
        let failed = |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
        let secret = Secret::new().map_err(failed)?;
        let mut state = self.state();
        let (now_s, lasting) = (self.now_s(), state.lasting());
        // Whatever the browser showed is not gone on with: it may have been put there.
        if let Some(shown) = cookie::shown(headers, self.secure)
            && let Some((id, _)) = state.sessions.touch(now_s, lasting, shown)
        {
            state.sessions.end(&id);
        }
        let role = state.accounts.operator(name)?.1.role;
        let name = name.into();
        state.sessions.begin(now_s, lasting, &name, &secret);
        let begun = state.sessions.touch(now_s, lasting, secret.text());
        let (id, name) = begun.ok_or_else(|| failed("a session ended at once".to_owned()))?;
        let session = Some(Session { id, csrf: csrf_of(secret.text()).into() });
        let operator = Operator { name, role, from: from.0, via: Via::Session, session };
        Ok(LoggedIn { operator, cookie: cookie::set(secret.text(), self.secure) })
    }
}
