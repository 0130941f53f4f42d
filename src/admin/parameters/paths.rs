//! The paths of parameters.

use axum::extract::{Path, RawQuery, Request, State, rejection::PathRejection};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{ParameterDone, ParameterRow};
use crate::admin::api::{Api, json};
use crate::admin::body;
use crate::admin::operator::{Operator, Role};
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::admin::routes::Routes;

/// Their paths.
pub(in crate::admin) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/parameters", Role::Read, list)
        .get("/api/v1/parameters/{name}", Role::Read, one)
        .put("/api/v1/parameters/{name}", Role::Admin, set)
        .delete("/api/v1/parameters/{name}", Role::Admin, unset)
}

#[derive(Serialize)]
struct List<'a> {
    items: &'a [ParameterRow],
}

/// `GET /api/v1/parameters`: all of them, in the order of the table.
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    Ok(json(&List { items: &api.parameters() }))
}

/// `GET /api/v1/parameters/{name}`
async fn one(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let row = api.parameter(&name_of(path))?;
    Ok(with_tag(json(&row), &row))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    value: String,
    reason: Option<String>,
}

/// What was done.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    row: &'a ParameterRow,
    before: &'a str,
    /// It is so after a restart as well.
    kept: bool,
}

fn done(done: &ParameterDone) -> Response {
    let ParameterDone { row, before, kept } = done;
    with_tag(json(&Done { row, before, kept: *kept }), row)
}

/// `PUT /api/v1/parameters/{name}` with `{"value": TEXT}`; with `If-Match`, only over the value
/// that was seen.
async fn set(
    State(api): State<Api>,
    by: Operator,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let Set { value, reason } = body::read(request).await?;
    let name = name_of(path);
    let set = api.set_parameter(&by, &name, &value, expected, reason.as_deref());
    Ok(done(&set.await?))
}

/// `DELETE /api/v1/parameters/{name}`: what the configuration says holds again.
async fn unset(
    State(api): State<Api>,
    by: Operator,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["reason"])?;
    let name = name_of(path);
    let reason = query.value("reason");
    let unset = api.unset_parameter(&by, &name, expected(&headers)?, reason);
    Ok(done(&unset.await?))
}

/// The mark in `If-Match` (RFC 9110 13.1.1); any is as good as none, for there is always a value.
fn expected(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(shown) = headers.get(IF_MATCH) else { return Ok(None) };
    let shown = shown.to_str().unwrap_or_default().trim();
    if shown == "*" {
        return Ok(None);
    }
    let tag = shown.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let one = tag.filter(|tag| !tag.contains('"'));
    one.map(Some).ok_or_else(|| {
        Problem::parameter("If-Match", "If-Match: expected the ETag of the parameter")
    })
}

fn with_tag(mut response: Response, row: &ParameterRow) -> Response {
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", row.etag)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// A name that cannot be read is none's.
fn name_of(path: Result<Path<String>, PathRejection>) -> String {
    path.map(|Path(name)| name).unwrap_or_default()
}
