//! Which path is whose, and what every answer has in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::access::{Asked, cleared};
use super::analysis::{self, Analysis};
use super::audit::{Action, Audit, Left};
use super::health::Check;
use super::identity::Identity;
use super::keep::Keep;
use super::latency::LastWindow;
use super::operator::{From, Operator, Role};
use super::parameters::{self, Parameters};
use super::plain::one_line;
use super::problem::Problem;
use super::routes::Routes;
use super::server::Counts;
use super::shards::Shards;
use super::stream::Station;
use super::tls::Certificate;
use super::{
    audit, blacklist, bulk, health, history, identity, latency, metrics, registrations, rpc,
    security, shield, stream, suspensions, trace, trends, ui,
};
use crate::time::UnixTime;

/// Takes one line about something an operator did, or should know.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What handlers know; clones know the same.
#[derive(Clone)]
pub(super) struct Api(Arc<Inner>);

/// What all handlers know.
pub(super) struct Inner {
    pub shards: Shards,
    pub identity: Identity,
    pub audit: Audit,
    pub parameters: Parameters,
    /// What connections are shown, where they are to be TLS.
    pub certificate: Option<watch::Sender<Certificate>>,
    /// Scheme and address that browsers on this host reach it at.
    pub served_at: String,
    /// The longest a request may take.
    pub request_max: Duration,
    pub started: UnixTime,
    pub counts: Arc<Counts>,
    pub told: Tell,
    /// Keeps what is to outlive the process, if anything does.
    pub keep: Option<Keep>,
    pub last_window: LastWindow,
    pub analysis: Analysis,
    /// Traces begun.
    pub traces: AtomicU64,
    /// What the pages have seen of the counters.
    pub looks: ui::Looks,
    /// Plans to take registrations out, and the run under way.
    pub unregistrations: watch::Sender<bulk::Desk>,
    /// As many exports as may be under way.
    pub exports: Arc<Semaphore>,
    /// What listeners to events share.
    pub station: Station,
    /// The process is about to stop.
    pub stopping: watch::Receiver<bool>,
    /// What else readiness hangs on.
    pub checks: Vec<Check>,
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

    /// Records what an operator did, or tried to. What phones sent stands in it, so whatever is no
    /// plain text is escaped: a line stays a line.
    pub fn audit(&self, operator: &Operator, action: Action) {
        let Operator { name, role, from, via, .. } = operator;
        let counted_as = action.is_at_strangers_will().then(|| from.ip().to_canonical());
        if counted_as.is_none() {
            (self.told)(&format!("admin {from} {name}: {}", one_line(&action.line())));
        }
        let left = Left { from: from.to_string(), counted_as, action };
        self.audit.leave(name.to_string(), role.name(), via.name(), left);
    }

    /// Records what somebody was refused of whom nothing is known. Such lines are counted together
    /// where there are many, and none of them is told.
    pub fn audit_stranger(&self, From(from): From, action: Action) {
        let counted_as = Some(from.ip().to_canonical());
        let left = Left { from: from.to_string(), counted_as, action };
        self.audit.leave("nobody".to_owned(), "", "", left);
    }
}

/// Every path there is, with what it needs.
pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(registrations::routes())
        .merge(bulk::routes())
        .merge(stream::routes())
        .merge(rpc::routes())
        .merge(health::routes())
        .merge(suspensions::routes())
        .merge(blacklist::routes())
        .merge(security::routes())
        .merge(trace::routes())
        .merge(shield::routes())
        .merge(history::routes())
        .merge(trends::routes())
        .merge(latency::routes())
        .merge(metrics::routes())
        .merge(ui::routes())
        .merge(audit::routes())
        .merge(identity::routes())
        .merge(parameters::routes())
        .merge(analysis::routes())
}

/// Every path there is, behind the guard.
pub(super) fn router(api: Api) -> Router {
    routes()
        .into_router()
        .fallback(async |request| {
            let nothing = Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path");
            let cleared = cleared(Role::Read.into(), request).await;
            cleared.map_or_else(|refused| refused, |_| nothing.into_response())
        })
        .method_not_allowed_fallback(async |method: Method, request: Request| {
            let detail = format!("{method} is nothing that can be done here");
            let not_here = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail);
            let cleared = cleared(Role::Read.into(), request).await;
            cleared.map_or_else(|refused| refused, |_| not_here.into_response())
        })
        .layer(middleware::from_fn(ui::for_people))
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

/// What browsers are told of every answer: only what comes from here is run or shown in it, nobody
/// shows it in a frame, and nothing of its address is told to others. Without any referrer at all
/// forms would not say where they come from.
const EVERY_ANSWER: [(HeaderName, &str); 6] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Before and behind each handler: who asks, how long it may take, what every answer says. What a
/// path needs is checked at the path ([`Routes`]).
async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    api.counts.requests.fetch_add(1, Ordering::Relaxed);
    let who = api.identity.identify(From::of(request.extensions()), request.headers());
    request.extensions_mut().insert(Asked { api: api.clone(), who });
    let answered = if request.method().is_safe() {
        timeout(api.request_max, next.run(request)).await.ok()
    } else {
        // What was begun is brought to its end, and into the audit, also where whoever asked has
        // gone or waits no longer.
        let whole = tokio::spawn(async move { next.run(request).await });
        timeout(api.request_max, whole).await.ok().and_then(Result::ok)
    };
    let mut response = answered
        .unwrap_or_else(|| Problem::unavailable("this took longer than it may").into_response());
    let headers = response.headers_mut();
    // What holds for everybody may be kept, where a handler says so.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in EVERY_ANSWER {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if api.certificate.is_some() {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
    response
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

#[cfg(test)]
impl Api {
    /// One without a shard behind it, for what needs none; all it keeps is in memory.
    pub fn of_no_shards() -> Api {
        let told: Tell = Arc::new(|_| {});
        let policy = identity::Policy::default();
        let audit = audit::AuditSettings::default();
        Api::new(Inner {
            shards: Shards::new(Vec::new(), Vec::new, Vec::new()),
            identity: Identity::new(None, None, false, policy, Arc::clone(&told)).unwrap(),
            audit: Audit::start(&audit, Arc::clone(&told)).unwrap(),
            parameters: Parameters::default(),
            certificate: None,
            served_at: "http://localhost".to_owned(),
            request_max: Duration::from_secs(10),
            started: UnixTime(1_800_000_000),
            counts: Arc::default(),
            told,
            keep: None,
            last_window: watch::channel(None).1,
            analysis: Analysis::new(analysis::Settings::default()),
            looks: ui::Looks::default(),
            traces: AtomicU64::new(0),
            unregistrations: bulk::desk(),
            exports: super::export::turns(),
            station: Station::default(),
            stopping: watch::channel(false).1,
            checks: Vec::new(),
        })
    }
}
