//! Which path is whose, and what every answer has in common.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde::Serialize;
use tokio::time::timeout;

use super::access::Access;
use super::keep::Keep;
use super::latency::LastWindow;
use super::plain::one_line;
use super::problem::Problem;
use super::server::Counts;
use super::shards::Shards;
use super::{blacklist, latency, metrics, registrations, security, shield, suspensions, trace, ui};
use crate::time::UnixTime;

/// Takes one line about something an operator did.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// What handlers know; clones know the same.
#[derive(Clone)]
pub(super) struct Api(Arc<Inner>);

/// What all handlers know.
pub(super) struct Inner {
    pub shards: Shards,
    pub access: Access,
    /// The longest a request may take.
    pub request_max: Duration,
    pub started: UnixTime,
    pub counts: Arc<Counts>,
    pub told: Tell,
    /// Keeps what is to outlive the process, if anything does.
    pub keep: Option<Keep>,
    pub last_window: LastWindow,
    /// Traces begun.
    pub traces: AtomicU64,
    /// What the pages have seen of the counters.
    pub looks: ui::Looks,
}

impl std::ops::Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Api {
    pub fn new(inner: Inner) -> Api {
        Api(Arc::new(inner))
    }

    /// Says what was done, and on whose word. What phones sent stands in it, so whatever is no
    /// plain text is escaped: a line stays a line.
    pub fn tell(&self, From(from): From, line: &str) {
        (self.told)(&format!("admin {from}: {}", one_line(line)));
    }
}

/// Every path there is.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/registrations", get(registrations::list))
        .route(
            "/api/v1/registrations/{aor}",
            get(registrations::one).delete(registrations::unregister),
        )
        .route("/api/v1/suspensions", get(suspensions::list))
        .route("/api/v1/suspensions/{aor}", delete(suspensions::lift))
        .route("/api/v1/blacklist", get(blacklist::list))
        .route("/api/v1/blacklist/{source}", put(blacklist::add).delete(blacklist::lift))
        .route("/api/v1/security-events", get(security::list))
        .route("/api/v1/trace", post(trace::begin))
        .route("/api/v1/trace/{trace}", get(trace::take).delete(trace::end))
        .route("/api/v1/shield", get(shield::show).put(shield::choose))
        .route("/api/v1/latency", get(latency::show))
        .route("/metrics", get(metrics::show))
        .merge(ui::routes())
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .method_not_allowed_fallback(async |method: Method| {
            let detail = format!("{method} is nothing that can be done here");
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .layer(middleware::from_fn(ui::for_people))
        .with_state(api)
}

/// Before and behind each handler: who may ask, how long it may take, what every answer says.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    api.counts.requests.fetch_add(1, Ordering::Relaxed);
    let answered = match api.access.check(request.headers()) {
        Err(problem) => {
            api.counts.denied.fetch_add(1, Ordering::Relaxed);
            Err(problem)
        }
        Ok(()) => timeout(api.request_max, next.run(request))
            .await
            .map_err(|_| Problem::unavailable("this took longer than it may")),
    };
    let mut response = answered.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    // Some files are the same for good, and say so.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Who asks, by the address of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub SocketAddr);

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<From, Self::Rejection> {
        // The server puts it there.
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Ok(parts.extensions.get().copied().unwrap_or(From(nobody)))
    }
}

/// A 200 with a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
        }
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}
