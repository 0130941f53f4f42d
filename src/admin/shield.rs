//! `/api/v1/shield`: by which means the kernel drops what is blocked, and how much of it.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::operator::{Operator, Role};
use super::problem::Problem;
use super::query::Query;
use super::routes::Routes;
use crate::config::Kernel;
use crate::shield::ShieldDesk;

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new().get("/api/v1/shield", Role::Read, show).put("/api/v1/shield", Role::Admin, choose)
}

/// `GET /api/v1/shield`
pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    Ok(json(&state(desk(&api)?)))
}

/// `PUT /api/v1/shield?kernel=WORD`: these means, until the configuration is read again.
pub(super) async fn choose(
    State(api): State<Api>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["kernel"])?;
    let expected =
        || Problem::parameter("kernel", format!("kernel: expected {}", Kernel::EXPECTED));
    let kernel = query.value("kernel").and_then(Kernel::from_word).ok_or_else(expected)?;
    let desk = desk(&api)?;
    if !desk.use_means(kernel) {
        return Err(Problem::unavailable("too many orders wait at the shield"));
    }
    api.audit(&operator, Action::new(Verb::ChooseShield, kernel.to_string()));
    let mut state = state(desk);
    // What holds from now on, taken up or not.
    state.insert("setting".to_owned(), kernel.word().into());
    Ok(json(&state))
}

fn desk(api: &Api) -> Result<&ShieldDesk, Problem> {
    let none = || Problem::new(StatusCode::NOT_FOUND, "this process has no shield in the kernel");
    api.shards.shield().ok_or_else(none)
}

/// Words for what is one of several, numbers as they are counted.
fn state(desk: &ShieldDesk) -> Map<String, Value> {
    let counts = desk.counts();
    let numbers = counts.described().map(|(name, _, value, _)| (name.to_owned(), value.into()));
    let mut state: Map<String, Value> = numbers.collect();
    state.insert("means".to_owned(), counts.means_now().name().into());
    state.insert("setting".to_owned(), counts.setting_now().word().into());
    state
}
