//! The body of a request: bounded, and of the type it must be of. A page of somebody else can have
//! a browser send a form, and cannot have it send JSON without asking first.

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Longest body, bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The body as a value.
///
/// # Errors
/// 415 for another type than JSON, 413 where it is too long, 400 where it is no such value.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    if !is_of(request.headers(), "application/json") {
        let detail = "expected a body of Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let bytes = whole(request).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not what is expected: {error}"))
    })
}

/// All of the body.
///
/// # Errors
/// 413 where it is too long or breaks off.
pub(super) async fn whole(request: Request) -> Result<Bytes, Problem> {
    to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|error| {
        let detail = format!("expected a body of at most {BODY_BYTES_MAX} bytes: {error}");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })
}

/// Whether a body is of that media type, whatever its parameters.
pub(super) fn is_of(headers: &HeaderMap, media_type: &str) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = given.and_then(|given| given.split(';').next()).unwrap_or_default();
    given.trim().eq_ignore_ascii_case(media_type)
}
