//! Pages for people: what the API says to machines, in a browser. Rendered here, with templates
//! that are compiled in (`templates/`) and a little script of our own (`assets/app.js`); nothing
//! comes from another host, and every page works without script, but for what moves by itself.
//!
//! A handler calls the same functions as the API's and gives a whole page; a script takes the part
//! it wants out of that. What was refused reads as a page too ([`refusal`]).
//!
//! - `shell`: what all pages have around them; `navigation`: which there are; `form`: what a
//!   browser sends back; `assets`: files; `words`: numbers as text; `refusal`: refusals, headers
//! - one file for each page, its template beside the others

mod assets;
mod blocked;
mod form;
mod latency;
mod looks;
mod navigation;
mod overview;
mod refusal;
mod shell;
mod suspended;
mod words;

use axum::Router;
use axum::routing::get;

use super::api::Api;

pub(super) use self::looks::Looks;
pub(super) use self::refusal::for_people;

/// The paths of the pages.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/assets/{tag}/{*name}", get(assets::file))
        .route("/favicon.ico", get(assets::icon))
        .route("/", get(overview::show))
        .route("/latency", get(latency::show))
        .route("/suspended", get(suspended::show))
        .route("/suspended/lift", get(suspended::ask).post(suspended::lift))
        .route("/blocked", get(blocked::show))
        .route("/blocked/add", get(blocked::ask_add).post(blocked::add))
        .route("/blocked/lift", get(blocked::ask_lift).post(blocked::lift))
}
