//! Operators and tokens, managed by those who may.

use axum::http::StatusCode;
use serde::Serialize;

use super::accounts::{Account, Refused, Token, token_hash};
use super::secret::Secret;
use crate::admin::api::Api;
use crate::admin::audit::{Action, Verb};
use crate::admin::moment::rfc3339;
use crate::admin::operator::{Operator, Role, Via};
use crate::admin::problem::Problem;
use crate::time::UnixTime;

/// What every token begins with, so that one that leaked is known for what it is.
const TOKEN_PREFIX: &str = "aorta_";
/// The longest a token may last, seconds: ten years.
const TOKEN_S_MAX: u64 = 315_360_000;

/// An operator, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::admin) struct OperatorRow {
    pub name: String,
    pub role: Role,
    pub disabled: bool,
    pub created_at: String,
    pub password_at: String,
    /// `None` if never since that is known.
    pub login_at: Option<String>,
    /// How many sessions there are.
    pub sessions: usize,
}

/// A token, as it is listed: not what opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::admin) struct TokenRow {
    pub name: String,
    pub role: Role,
    pub created_at: String,
    pub created_by: String,
    pub expires_at: Option<String>,
    pub expired: bool,
    pub used_at: Option<String>,
}

/// A token that was made; its text is shown this once.
#[derive(Serialize)]
pub(in crate::admin) struct MadeToken {
    pub name: String,
    pub role: Role,
    pub token: String,
    pub expires_at: Option<String>,
}

/// What is to change of an operator.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) enum Change {
    Role(Role),
    Disabled(bool),
}

impl Api {
    /// All operators, by name.
    pub fn operators(&self) -> Vec<OperatorRow> {
        let state = self.identity.state();
        let (now_s, lasting) = (self.identity.now_s(), state.lasting());
        let rows = state.accounts.operators.iter().map(|(name, account)| OperatorRow {
            name: name.clone(),
            role: account.role,
            disabled: account.disabled,
            created_at: account.created_at.clone(),
            password_at: account.password_at.clone(),
            login_at: account.login_at.clone(),
            sessions: state.sessions.count_of(now_s, lasting, name),
        });
        rows.collect()
    }

    /// Makes an operator.
    ///
    /// # Errors
    /// For a page to show: the name or the password is not taken.
    pub async fn add_operator(
        &self,
        by: &Operator,
        name: &str,
        role: Role,
        password: &str,
    ) -> Result<String, Problem> {
        self.must_be_known(by)?;
        let identity = &self.identity;
        let name = identity.state().accounts.may_add(name)?;
        let hash = identity.hash_of(&name, password).await?;
        let now = rfc3339(UnixTime(identity.now_s()));
        let account = Account {
            role,
            hash,
            disabled: false,
            created_at: now.clone(),
            password_at: now,
            login_at: None,
        };
        identity
            .change(|accounts| {
                // Somebody may have been first.
                let name = accounts.may_add(&name)?;
                if accounts.operators.is_empty() && role != Role::Admin {
                    let detail = "the first operator must be an admin";
                    return Err(Refused::Conflict(detail.to_owned()));
                }
                accounts.operators.insert(name, account);
                Ok(())
            })
            .await?;
        identity.state().setup = None;
        let action = Action::new(Verb::AddOperator, name.as_str());
        self.audit(by, action.detail(format!("role {role}")));
        Ok(name)
    }

    /// Changes the role of an operator, or keeps one out, or lets one in again. Who is kept out has
    /// no session any more.
    ///
    /// # Errors
    /// For a page to show: there is none, or nobody would be left to manage operators.
    pub async fn change_operator(
        &self,
        by: &Operator,
        name: &str,
        change: Change,
    ) -> Result<String, Problem> {
        let changed = self.identity.change(|accounts| {
            accounts.change(name, |account| match change {
                Change::Role(role) => account.role = role,
                Change::Disabled(disabled) => account.disabled = disabled,
            })
        });
        let name = changed.await?;
        let (verb, detail) = match change {
            Change::Role(role) => (Verb::ChangeRole, format!("to {role}")),
            Change::Disabled(true) => (Verb::DisableOperator, String::new()),
            Change::Disabled(false) => (Verb::EnableOperator, String::new()),
        };
        if matches!(change, Change::Disabled(true)) {
            self.identity.state().sessions.end_all_of(&name);
        }
        self.audit(by, Action::new(verb, name.as_str()).detail(detail));
        Ok(name)
    }

    /// Gives an operator another password. All sessions of that operator end.
    ///
    /// # Errors
    /// For a page to show: there is none, or the password is not taken.
    pub async fn reset_password(
        &self,
        by: &Operator,
        name: &str,
        password: &str,
    ) -> Result<String, Problem> {
        let (name, _) = self.identity.state().accounts.operator(name).map(|(n, a)| (n, a.role))?;
        let hash = self.identity.hash_of(&name, password).await?;
        let name = self.identity.set_password(&name, None, hash).await?;
        let ended = self.identity.state().sessions.end_all_of(&name);
        let action = Action::new(Verb::ResetPassword, name.as_str());
        self.audit(by, action.detail(format!("{ended} sessions ended")));
        Ok(name)
    }

    /// Deletes an operator, with all sessions. Tokens stay: they are the house's.
    ///
    /// # Errors
    /// For a page to show: there is none, or nobody would be left to manage operators.
    pub async fn delete_operator(&self, by: &Operator, name: &str) -> Result<String, Problem> {
        let name = self.identity.change(|accounts| accounts.delete(name)).await?;
        self.identity.state().sessions.end_all_of(&name);
        self.audit(by, Action::new(Verb::DeleteOperator, name.as_str()));
        Ok(name)
    }

    /// All tokens, by name.
    pub fn tokens(&self) -> Vec<TokenRow> {
        let state = self.identity.state();
        let now_s = self.identity.now_s();
        let rows = state.accounts.tokens.iter().map(|(name, token)| TokenRow {
            name: name.clone(),
            role: token.role,
            created_at: token.created_at.clone(),
            created_by: token.created_by.clone(),
            expires_at: token.expires_s.map(|at| rfc3339(UnixTime(at))),
            expired: token.expires_s.is_some_and(|at| now_s >= at),
            used_at: token.used_at.clone(),
        });
        rows.collect()
    }

    /// Makes a token, which opens for so many seconds or until it is revoked.
    ///
    /// # Errors
    /// For a page to show: the name or the time is not taken.
    pub async fn make_token(
        &self,
        by: &Operator,
        name: &str,
        role: Role,
        for_s: Option<u64>,
    ) -> Result<MadeToken, Problem> {
        self.must_be_known(by)?;
        if for_s.is_some_and(|for_s| !(1..=TOKEN_S_MAX).contains(&for_s)) {
            let detail = format!("expires_s: expected 1 to {TOKEN_S_MAX} (ten years), or none");
            return Err(Problem::parameter("expires_s", detail));
        }
        let failed = |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
        let text = format!("{TOKEN_PREFIX}{}", Secret::new().map_err(failed)?.text());
        let now_s = self.identity.now_s();
        let expires_s = for_s.map(|for_s| now_s + for_s);
        let token = Token {
            role,
            hash: token_hash(text.as_bytes()),
            created_at: rfc3339(UnixTime(now_s)),
            created_by: by.name.to_string(),
            expires_s,
            used_at: None,
        };
        let made = self.identity.change(|accounts| {
            let name = accounts.may_add_token(name)?;
            accounts.tokens.insert(name.clone(), token);
            Ok(name)
        });
        let name = made.await?;
        let expires_at = expires_s.map(|at| rfc3339(UnixTime(at)));
        let until = expires_at.clone().unwrap_or_else(|| "it is revoked".to_owned());
        let action = Action::new(Verb::MakeToken, name.as_str());
        self.audit(by, action.detail(format!("role {role}, until {until}")));
        Ok(MadeToken { name, role, token: text, expires_at })
    }

    /// Revokes a token: it opens nothing from now on.
    ///
    /// # Errors
    /// There is none.
    pub async fn revoke_token(&self, by: &Operator, name: &str) -> Result<String, Problem> {
        let revoked = self.identity.change(|accounts| {
            let name = name.to_ascii_lowercase();
            let none = || Refused::Unknown("there is no such token".to_owned());
            accounts.tokens.remove(&name).map(|_| name).ok_or_else(none)
        });
        let name = revoked.await?;
        self.audit(by, Action::new(Verb::RevokeToken, name.as_str()));
        Ok(name)
    }

    /// Whoever is an admin only for want of operators makes none of what outlasts that.
    fn must_be_known(&self, by: &Operator) -> Result<(), Problem> {
        if by.via != Via::Loopback {
            return Ok(());
        }
        let detail = "the first operator is made at /setup, with the code that was written to \
                      standard error";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}
