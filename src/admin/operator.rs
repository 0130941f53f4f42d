//! Who asks, and what that lets them do. How it is found out is [`access`](super::access)'s; what a
//! path needs is said where it is registered ([`routes`](super::routes)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};

use super::identity::SessionId;
use super::problem::Problem;

/// What an operator may do; each role may do all that those below it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Read,
    /// Acts on phones, accounts and sources.
    Operate,
    /// Changes parameters, operators and tokens, and reads the audit.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 3] = [Role::Read, Role::Operate, Role::Admin];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// By which means an operator is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Via {
    /// Being on this host, while nobody has an account.
    Loopback,
    /// The token the process was started with.
    AdminToken,
    /// A token that an operator made.
    ApiToken,
    /// A session of a browser, begun with a password.
    Session,
}

impl Via {
    pub const fn name(self) -> &'static str {
        match self {
            Via::Loopback => "loopback",
            Via::AdminToken => "admin-token",
            Via::ApiToken => "token",
            Via::Session => "session",
        }
    }

    /// Whether each request shows a secret by itself, which no page of somebody else can have a
    /// browser do.
    pub const fn is_shown(self) -> bool {
        matches!(self, Via::AdminToken | Via::ApiToken)
    }
}

/// The session of a browser.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub id: SessionId,
    /// What forms and scripts show beside the cookie.
    pub csrf: Arc<str>,
}

/// Who asks. A handler takes it as an argument; whoever does not get past what the path needs never
/// reaches the handler.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    /// Of the account or token; for the rest, the means.
    pub name: Arc<str>,
    pub role: Role,
    /// The other end of the connection.
    pub from: SocketAddr,
    pub via: Via,
    pub session: Option<Session>,
}

impl Operator {
    /// What a form of this operator has in its hidden field `csrf`; `None` where no form needs any.
    pub fn csrf(&self) -> Option<&str> {
        self.session.as_ref().map(|session| &*session.csrf)
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Operator, Problem> {
        let known = parts.extensions.get::<Operator>().cloned();
        known.ok_or_else(|| Problem::unauthorized("nobody is known to ask"))
    }
}

/// The other end of the connection; the server puts it there.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub SocketAddr);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<From, Self::Rejection> {
        Ok(From::of(&parts.extensions))
    }
}

impl From {
    /// That of a request; the unspecified address where there is none.
    pub fn of(extensions: &axum::http::Extensions) -> From {
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        extensions.get().copied().unwrap_or(From(nobody))
    }
}
