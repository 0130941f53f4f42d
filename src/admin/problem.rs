//! How a refusal reads: problem details (RFC 9457).

use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request is refused. What it says is for the operator who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// The parameter at fault, if one is.
    parameter: Option<&'static str>,
    /// When to come back, seconds.
    wait_s: Option<u64>,
}

/// The members of RFC 9457 3.1; there is no type beyond what the status says.
#[derive(Serialize)]
struct Members<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), parameter: None, wait_s: None }
    }

    /// A parameter of the request is wrong.
    pub fn parameter(name: &'static str, detail: impl Into<String>) -> Problem {
        let parameter = Some(name);
        Problem { parameter, ..Problem::new(StatusCode::BAD_REQUEST, detail) }
    }

    pub fn unauthorized(detail: &str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// It would be answered at another time.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        let wait_s = Some(1);
        Problem { wait_s, ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// Too much was asked for; it would be answered after so many seconds.
    pub fn wait(wait_s: u64, detail: &str) -> Problem {
        let detail = format!("{detail}; wait {wait_s} s");
        Problem { wait_s: Some(wait_s), ..Problem::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// For whoever shows it in another form.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Why, as a sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let members = Members {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            parameter: self.parameter,
        };
        // Strings and a number always can be written.
        let body = serde_json::to_vec(&members).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"aorta\"");
            headers.insert(WWW_AUTHENTICATE, bearer);
            // Each guess costs a connection.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(wait_s) = self.wait_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
        }
        // For whoever says it in other words.
        response.extensions_mut().insert(self);
        response
    }
}
