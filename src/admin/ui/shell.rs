//! What every page has around it.

use std::convert::Infallible;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};

use super::super::api::Api;
use super::super::operator::{Operator, Role};
use super::super::problem::Problem;
use super::assets;
use super::navigation::{Entry, GROUPS, Group};

/// What a template shows around its page.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    /// The path of the entry of the navigation that is open.
    here: String,
    /// Who looks, where that is known.
    operator: Option<Operator>,
}

impl FromRequestParts<Api> for Shell {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Shell, Infallible> {
        Ok(Shell::of(parts.extensions.get().cloned(), parts.uri.path()))
    }
}

impl Shell {
    /// Around the page at a path, for whoever looks.
    pub fn of(operator: Option<Operator>, path: &str) -> Shell {
        Shell { operator, ..Shell::at(path) }
    }

    /// Around the page at a path, for nobody that is known.
    pub fn at(path: &str) -> Shell {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        Shell { here: format!("/{first}"), operator: None }
    }

    /// Whether who looks may act on phones, accounts and sources. What is shown follows that; what
    /// is done is checked where it is done.
    pub fn operates(&self) -> bool {
        self.has(Role::Operate)
    }

    /// Whether who looks may change parameters and operators.
    pub fn manages(&self) -> bool {
        self.has(Role::Admin)
    }

    fn has(&self, role: Role) -> bool {
        self.operator.as_ref().is_some_and(|operator| operator.role >= role)
    }

    /// The address of a file.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    /// The pages that who looks may open, those that belong together in one group.
    pub fn groups(&self) -> Vec<(&'static str, Vec<&'static Entry>)> {
        let open = |group: &'static Group| {
            group.pages.iter().filter(|entry| self.has(entry.role)).collect::<Vec<_>>()
        };
        let groups = GROUPS.iter().map(|group| (group.name, open(group)));
        groups.filter(|(_, pages)| !pages.is_empty()).collect()
    }

    /// Who looks, if that is known.
    pub fn name(&self) -> Option<&str> {
        self.operator.as_ref().map(|operator| &*operator.name)
    }

    /// Whether there is a session to end.
    pub fn is_logged_in(&self) -> bool {
        self.operator.as_ref().is_some_and(|operator| operator.session.is_some())
    }

    /// What forms prove themselves with, where they have to.
    pub fn csrf(&self) -> Option<&str> {
        self.operator.as_ref().and_then(Operator::csrf)
    }

    pub fn is_here(&self, path: &str) -> bool {
        // Of an entry below another's page, the first segment tells.
        let first = path.split('/').nth(1).unwrap_or_default();
        self.here.strip_prefix('/') == Some(first)
    }

    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// A page as an answer.
pub(super) fn page(template: &impl Template) -> Result<Response, Problem> {
    let text = template.render().map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a page cannot be made: {error}"))
    })?;
    Ok(Html(text).into_response())
}

/// What a page of rows says about where the next begins.
pub(super) fn next_page(path: &str, kept: &[(&str, &str)], next: Option<&str>) -> Option<String> {
    let next = next?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept.iter().filter(|(_, value)| !value.is_empty()));
    query.append_pair("cursor", next);
    Some(format!("{path}?{}", query.finish()))
}

/// Asks before something is done.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm {
    pub shell: Shell,
    pub title: String,
    /// What is about to be done, paragraph by paragraph.
    pub lines: Vec<String>,
    /// Where the answer goes, and what goes with it.
    pub action: String,
    pub fields: Vec<(&'static str, String)>,
    /// What the button says.
    pub doing: &'static str,
    /// Whether it takes something away from somebody.
    pub dangerous: bool,
    /// Whether a reason may be given, which is recorded.
    pub reason: bool,
    /// Where nothing is done.
    pub back: String,
}

/// Says what was done.
#[derive(Template)]
#[template(path = "outcome.html")]
pub(super) struct Outcome {
    pub shell: Shell,
    pub title: String,
    pub lines: Vec<String>,
    /// Whether a person should read the lines before they go on.
    pub stays: bool,
    pub back: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_belongs_to_the_entry_of_its_first_segment() {
        assert!(Shell::at("/").is_here("/") && !Shell::at("/").is_here("/latency"));
        assert!(Shell::at("/suspended/lift").is_here("/suspended"));
    }

    #[test]
    fn the_next_page_keeps_what_was_asked_and_escapes_it() {
        let kept = [("ip", "192.0.2.0/24"), ("aor", ""), ("agent", "a&b=c")];
        let next = next_page("/registrations", &kept, Some("1-5")).unwrap();
        assert_eq!(next, "/registrations?ip=192.0.2.0%2F24&agent=a%26b%3Dc&cursor=1-5");
        assert_eq!(next_page("/registrations", &kept, None), None);
    }

    #[test]
    fn what_is_shown_is_escaped() {
        let evil = "<script>alert(1)</script>\"'&";
        let confirm = Confirm {
            shell: Shell::at("/"),
            title: evil.to_owned(),
            lines: vec![evil.to_owned()],
            action: "/x".to_owned(),
            fields: vec![("aor", evil.to_owned())],
            doing: "Do",
            dangerous: true,
            reason: true,
            back: evil.to_owned(),
        };
        let text = confirm.render().unwrap();
        assert!(!text.contains("<script>alert") && !text.contains("\"'&"), "{text}");
        assert_eq!(text.matches("&#60;script&#62;alert").count(), 5, "{text}");
    }
}
