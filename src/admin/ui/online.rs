//! `/online`: the place of phones in calls. There are no calls yet, and none are made up: it says
//! so, and shows who could be called.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::filters::Filters;
use super::super::problem::Problem;
use super::super::search;
use super::form::filled_in;
use super::registrations::{follow, limit};
use super::rows::Line;
use super::shell::{Shell, page};

/// Who can be reached, as a filter.
const REACHABLE: &str = "status=registered,expiring";

#[derive(Template)]
#[template(path = "online.html")]
struct Page {
    shell: Shell,
    lines: Vec<Line>,
    next: Option<String>,
}

/// `GET /online`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["limit", "cursor"])?;
    let filters = Filters::parse(REACHABLE)?;
    let found = search::page(&api, &filters, query.value("cursor"), limit(&query)?).await?;
    let next = found.next.as_deref().map(|next| follow("/online", &Filters::default(), Some(next)));
    page(&Page { shell, lines: Line::lines(found.items), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_be_reached_is_a_filter() {
        assert!(Filters::parse(REACHABLE).is_ok());
    }
}
