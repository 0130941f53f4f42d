//! What a browser sends back: the fields of a form. That the form is of a page of ours is looked at
//! in front of every path.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;

use super::super::api::Api;
use super::super::problem::Problem;
use super::super::query::Query;

/// Longest form, bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// A form as it came, not read yet.
pub(super) struct Form(String);

impl FromRequest<Api> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &Api) -> Result<Form, Problem> {
        let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        });
        if !is_form {
            let detail = "expected application/x-www-form-urlencoded";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let too_large = |_| {
            let detail = format!("a form has at most {FORM_BYTES_MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        let body = to_bytes(request.into_body(), FORM_BYTES_MAX).await.map_err(too_large)?;
        let text = String::from_utf8(body.into()).map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "a form is text in ASCII, percent-encoded")
        })?;
        Ok(Form(text))
    }
}

impl Form {
    /// Its fields; those left empty are as if they were not there. What has the page prove itself
    /// was looked at before.
    pub fn read(&self, known: &[&'static str]) -> Result<Query, Problem> {
        kept(Some(&self.0), known, |name, value| (name != "csrf").then_some(value))
    }
}

/// Reads the fields of a form, or of the text behind `?`, that were filled in.
pub(super) fn filled_in(text: Option<&str>, known: &[&'static str]) -> Result<Query, Problem> {
    kept(text, known, |_, value| Some(value.trim()))
}

fn kept(
    text: Option<&str>,
    known: &[&'static str],
    as_meant: impl for<'t> Fn(&str, &'t str) -> Option<&'t str>,
) -> Result<Query, Problem> {
    let mut kept = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
        if let Some(value) = as_meant(&name, &value).filter(|value| !value.is_empty()) {
            kept.append_pair(&name, value);
        }
    }
    Query::read(Some(&kept.finish()), known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_left_empty_are_as_if_they_were_not_there() {
        let query = filled_in(Some("ip=&aor=+u1+&x=1"), &["ip", "aor", "x"]).unwrap();
        assert_eq!((query.value("ip"), query.value("aor")), (None, Some("u1")));
        let form = Form("csrf=1&password=+a+b+&x=".into()).read(&["password", "x"]).unwrap();
        assert_eq!((form.value("password"), form.value("x")), (Some(" a b "), None));
        assert!(filled_in(Some("y=1"), &["x"]).is_err() && filled_in(Some("y="), &["x"]).is_ok());
    }
}
