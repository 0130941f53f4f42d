//! `/api/v1/session`, `/api/v1/setup`, `/api/v1/operators`, `/api/v1/tokens`: the same as the pages
//! do, as JSON. Bodies are JSON objects; what they do not know is refused.

use axum::extract::{Path, Request, State, rejection::PathRejection};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::LoggedIn;
use super::manage::Change;
use crate::admin::api::{Api, json};
use crate::admin::body;
use crate::admin::operator::{From, Operator, Role};
use crate::admin::problem::Problem;
use crate::admin::routes::{Needs, Routes};

/// Their paths.
pub(in crate::admin) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/setup", Needs::Nothing, setup_needed)
        .post("/api/v1/setup", Needs::Nothing, set_up)
        .post("/api/v1/session", Needs::Nothing, log_in)
        .get("/api/v1/session", Role::Read, who)
        .delete("/api/v1/session", Role::Read, log_out)
        .put("/api/v1/session/password", Role::Read, change_password)
        .get("/api/v1/operators", Role::Admin, operators)
        .post("/api/v1/operators", Role::Admin, add_operator)
        .patch("/api/v1/operators/{name}", Role::Admin, change_operator)
        .delete("/api/v1/operators/{name}", Role::Admin, delete_operator)
        .get("/api/v1/tokens", Role::Admin, tokens)
        .post("/api/v1/tokens", Role::Admin, make_token)
        .delete("/api/v1/tokens/{name}", Role::Admin, revoke_token)
}

/// Who somebody is.
#[derive(Serialize)]
struct Who<'a> {
    name: &'a str,
    role: Role,
    via: &'static str,
    /// What requests of a session that change something show as `X-CSRF-Token`.
    csrf: Option<&'a str>,
}

fn who_is(operator: &Operator) -> Response {
    json(&Who {
        name: &operator.name,
        role: operator.role,
        via: operator.via.name(),
        csrf: operator.csrf(),
    })
}

fn with_cookie(LoggedIn { operator, cookie }: &LoggedIn) -> Response {
    let mut response = who_is(operator);
    response.headers_mut().insert(SET_COOKIE, cookie.clone());
    response
}

#[derive(Serialize)]
struct SetupNeeded {
    needed: bool,
}

/// `GET /api/v1/setup`
async fn setup_needed(State(api): State<Api>) -> Response {
    json(&SetupNeeded { needed: api.needs_setup() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetUp {
    code: String,
    name: String,
    password: String,
}

/// `POST /api/v1/setup`
async fn set_up(
    State(api): State<Api>,
    from: From,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let SetUp { code, name, password } = body::read(request).await?;
    Ok(with_cookie(&api.set_up(from, &headers, &code, &name, &password).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    name: String,
    password: String,
}

/// `POST /api/v1/session`
async fn log_in(
    State(api): State<Api>,
    from: From,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let LogIn { name, password } = body::read(request).await?;
    Ok(with_cookie(&api.log_in(from, &headers, &name, &password).await?))
}

/// `GET /api/v1/session`
async fn who(operator: Operator) -> Response {
    who_is(&operator)
}

#[derive(Serialize)]
struct Ended {
    ended: bool,
}

/// `DELETE /api/v1/session`
async fn log_out(State(api): State<Api>, operator: Operator) -> Response {
    let cookie = api.log_out(&operator);
    let mut response = json(&Ended { ended: operator.session.is_some() });
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    old: String,
    new: String,
}

/// `PUT /api/v1/session/password`
async fn change_password(
    State(api): State<Api>,
    operator: Operator,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let Passwords { old, new } = body::read(request).await?;
    Ok(with_cookie(&api.change_password(&operator, &headers, &old, &new).await?))
}

#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
}

/// What was done to whom.
#[derive(Serialize)]
struct Done {
    name: String,
}

/// `GET /api/v1/operators`
async fn operators(State(api): State<Api>) -> Response {
    json(&List { items: api.operators() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOperator {
    name: String,
    role: Role,
    password: String,
}

/// `POST /api/v1/operators`
async fn add_operator(
    State(api): State<Api>,
    by: Operator,
    request: Request,
) -> Result<Response, Problem> {
    let NewOperator { name, role, password } = body::read(request).await?;
    Ok(json(&Done { name: api.add_operator(&by, &name, role, &password).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    role: Option<Role>,
    disabled: Option<bool>,
    password: Option<String>,
}

/// `PATCH /api/v1/operators/{name}`: one thing at a time.
async fn change_operator(
    State(api): State<Api>,
    by: Operator,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let name = name_of(path);
    let name = match body::read(request).await? {
        Changes { role: Some(role), disabled: None, password: None } => {
            api.change_operator(&by, &name, Change::Role(role)).await?
        }
        Changes { role: None, disabled: Some(disabled), password: None } => {
            api.change_operator(&by, &name, Change::Disabled(disabled)).await?
        }
        Changes { role: None, disabled: None, password: Some(password) } => {
            api.reset_password(&by, &name, &password).await?
        }
        _ => {
            let detail = "expected one of role, disabled and password";
            return Err(Problem::parameter("role", detail));
        }
    };
    Ok(json(&Done { name }))
}

/// `DELETE /api/v1/operators/{name}`
async fn delete_operator(
    State(api): State<Api>,
    by: Operator,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    Ok(json(&Done { name: api.delete_operator(&by, &name_of(path)).await? }))
}

/// `GET /api/v1/tokens`
async fn tokens(State(api): State<Api>) -> Response {
    json(&List { items: api.tokens() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    role: Role,
    expires_s: Option<u64>,
}

/// `POST /api/v1/tokens`
async fn make_token(
    State(api): State<Api>,
    by: Operator,
    request: Request,
) -> Result<Response, Problem> {
    let NewToken { name, role, expires_s } = body::read(request).await?;
    Ok(json(&api.make_token(&by, &name, role, expires_s).await?))
}

/// `DELETE /api/v1/tokens/{name}`
async fn revoke_token(
    State(api): State<Api>,
    by: Operator,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    Ok(json(&Done { name: api.revoke_token(&by, &name_of(path)).await? }))
}

/// A name that cannot be read is nobody's.
fn name_of(path: Result<Path<String>, PathRejection>) -> String {
    path.map(|Path(name)| name).unwrap_or_default()
}
