//! What a browser sends back: fields of a form, of a page of ours and of none other.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use axum::http::{HeaderName, StatusCode};

use super::super::api::Api;
use super::super::problem::Problem;
use super::super::query::Query;

/// Longest form, bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A form as it came, not read yet.
pub(super) struct Form(String);

impl FromRequest<Api> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &Api) -> Result<Form, Problem> {
        if !is_ours(request.headers()) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this form was not sent by a page of this server",
            ));
        }
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

/// Whether a page of this very server sends it: browsers say where a request comes from, and what
/// says nothing is no browser and has the API.
fn is_ours(headers: &HeaderMap) -> bool {
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.as_bytes()),
            _ => None,
        }
    };
    if let Some(site) = one(&SEC_FETCH_SITE) {
        return site == b"same-origin";
    }
    let (Some(origin), Some(host)) = (one(&ORIGIN), one(&HOST)) else { return false };
    let schemes: [&[u8]; 2] = [b"https://", b"http://"];
    let named = schemes.iter().find_map(|scheme| origin.strip_prefix(*scheme));
    named.is_some_and(|named| named.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_pages_of_this_server_may_send_forms() {
        let ours = |list: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(name, HeaderValue::from_static(value));
            }
            is_ours(&headers)
        };
        assert!(ours(&[(SEC_FETCH_SITE, "same-origin")]));
        assert!(ours(&[(ORIGIN, "http://Localhost:80"), (HOST, "localhost:80")]));
        assert!(ours(&[(ORIGIN, "https://[::1]:80"), (HOST, "[::1]:80")]));
        for (list, why) in [
            (&[][..], "nothing says where it comes from"),
            (&[(SEC_FETCH_SITE, "cross-site")], "another site"),
            (&[(SEC_FETCH_SITE, "same-site")], "another host of the same domain"),
            (&[(SEC_FETCH_SITE, "none")], "no page at all"),
            (&[(ORIGIN, "http://attacker.example"), (HOST, "localhost")], "another origin"),
            (&[(ORIGIN, "null"), (HOST, "null")], "an origin without a name"),
            (&[(ORIGIN, "http://localhost"), (ORIGIN, "http://x"), (HOST, "localhost")], "two"),
            (&[(HOST, "localhost")], "no origin"),
        ] {
            assert!(!ours(list), "{why}");
        }
    }

    #[test]
    fn fields_left_empty_are_as_if_they_were_not_there() {
        let query = filled_in(Some("ip=&aor=+u1+&x=1"), &["ip", "aor", "x"]).unwrap();
        assert_eq!((query.value("ip"), query.value("aor")), (None, Some("u1")));
        let form = Form("csrf=1&password=+a+b+&x=".into()).read(&["password", "x"]).unwrap();
        assert_eq!((form.value("password"), form.value("x")), (Some(" a b "), None));
        assert!(filled_in(Some("y=1"), &["x"]).is_err() && filled_in(Some("y="), &["x"]).is_ok());
    }
}
