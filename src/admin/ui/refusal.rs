//! Refusals as pages, for whoever asked for a page.

use askama::Template;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::super::access::Asked;
use super::super::problem::Problem;
use super::shell::Shell;

#[derive(Template)]
#[template(path = "refusal.html")]
struct Page<'a> {
    shell: Shell,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

/// Around every path, behind the guard that knows who asks: turns refusals into pages where a page
/// was asked for.
pub(in super::super) async fn for_people(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let wants_page = wants_page(&path, request.headers());
    let asked = request.extensions().get::<Asked>();
    let operator = asked.and_then(|asked| asked.who.as_ref().ok()).cloned();
    let mut response = next.run(request).await;
    if wants_page && let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = in_words(Shell::of(operator, &path), &problem, response);
    }
    response
}

/// Whether a person asked: a browser, and for nothing that is for machines.
fn wants_page(path: &str, headers: &HeaderMap) -> bool {
    let for_machines = ["/api/", "/metrics", "/RPC", "/healthz", "/readyz"];
    let takes_html = headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")));
    // htmx takes whatever comes.
    let is_script = headers.contains_key("hx-request");
    !for_machines.iter().any(|prefix| path.starts_with(prefix)) && (takes_html || is_script)
}

/// The same refusal, with its headers, as a page.
fn in_words(shell: Shell, problem: &Problem, response: Response) -> Response {
    let status = response.status();
    let title = match status {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::FORBIDDEN => "This is not allowed",
        StatusCode::UNAUTHORIZED => "Who are you?",
        StatusCode::BAD_REQUEST => "This cannot be read",
        StatusCode::SERVICE_UNAVAILABLE => "Not at the moment",
        _ => status.canonical_reason().unwrap_or("It did not work"),
    };
    let page = Page { shell, title, status: status.as_u16(), detail: problem.detail() };
    match page.render() {
        Ok(text) => {
            let (mut parts, _) = response.into_parts();
            parts.headers.remove(CONTENT_TYPE);
            (parts, Html(text)).into_response()
        }
        Err(_) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[test]
    fn a_browser_reads_pages_and_a_program_problem_details() {
        let wants = |path: &str, name: &'static str, value: &'static str| {
            let headers = [(HeaderName::from_static(name), HeaderValue::from_static(value))];
            wants_page(path, &HeaderMap::from_iter(headers))
        };
        assert!(wants("/nothing", "accept", "text/html,application/xhtml+xml"));
        assert!(wants("/suspended", "hx-request", "true"));
        assert!(!wants("/suspended", "accept", "*/*"));
        assert!(!wants("/api/v1/nothing", "accept", "text/html"));
        assert!(!wants("/metrics", "hx-request", "true"));
    }

    #[test]
    fn a_refusal_keeps_its_status_and_headers_as_a_page() {
        let problem = Problem::unauthorized("<b>who</b>");
        let response = problem.clone().into_response();
        let page = in_words(Shell::at("/x"), &problem, response);
        assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
        assert!(page.headers().contains_key("www-authenticate"));
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }
}
