//! `/healthz` and `/readyz`, for whatever starts the process and sends traffic to it. Healthy is a
//! process whose interface answers. Ready is one whose reactors carry out orders, which can keep
//! what is to outlive it, and which is not about to stop.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;

use super::api::{Api, json};
use super::routes::{Needs, Routes};
use super::search::side_by_side;
use crate::shard::ShardId;
use crate::shard::control::Control;

/// How long a reactor that serves may take for an order.
const REACTOR_MAX: Duration = Duration::from_millis(500);

/// Says why something that readiness hangs on is not as it should be.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new().get("/healthz", Needs::Nothing, healthy).get("/readyz", Needs::Nothing, ready)
}

/// How it is.
#[derive(Serialize)]
pub(super) struct Health {
    /// `ok`, or `unready`.
    pub status: &'static str,
    /// What is in the way.
    pub problems: Vec<String>,
}

/// `GET /healthz`
async fn healthy() -> Response {
    json(&Health { status: "ok", problems: Vec::new() })
}

/// `GET /readyz`
async fn ready(State(api): State<Api>) -> Response {
    let problems = problems(&api).await;
    if problems.is_empty() {
        return json(&Health { status: "ok", problems });
    }
    let health = Health { status: "unready", problems };
    (StatusCode::SERVICE_UNAVAILABLE, json(&health)).into_response()
}

/// What is in the way of serving.
pub(super) async fn problems(api: &Api) -> Vec<String> {
    let mut problems = Vec::new();
    if *api.stopping.borrow() {
        problems.push("the process is stopping".to_owned());
    }
    problems.extend(api.checks.iter().filter_map(|check| check().err()));
    let answers = (0..api.shards.count()).map(|at| {
        // The least there is to ask.
        timeout(REACTOR_MAX, api.shards.order(ShardId(at), Control::BlocksVersion))
    });
    for (at, answer) in side_by_side(answers).await.into_iter().enumerate() {
        if !matches!(answer, Ok(Ok(_))) {
            problems.push(format!("reactor {at} does not answer"));
        }
    }
    problems
}
