//! Paths with what each needs. A module says it where it registers a path:
//!
//! ```ignore
//! pub(super) fn routes() -> Routes {
//!     Routes::new()
//!         .get("/api/v1/things", Role::Read, list)
//!         .delete("/api/v1/things/{thing}", Role::Operate, remove)
//! }
//! ```
//!
//! There is no way in without such a statement but [`Routes::unstated`], and that needs the highest
//! role.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{self, MethodRouter};

use super::access::cleared;
use super::api::Api;
use super::operator::Role;

/// What a path needs of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: who may reach the interface at all may ask.
    Nothing,
    /// This role, or one above it.
    Role(Role),
}

impl From<Role> for Needs {
    fn from(role: Role) -> Needs {
        Needs::Role(role)
    }
}

/// One path and method, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    pub method: &'static str,
    pub path: &'static str,
    pub needs: Needs,
}

/// Lets a request on to its handler, or not.
async fn clear(needs: Needs, request: Request, next: Next) -> Response {
    match cleared(needs, request).await {
        Ok(request) => next.run(request).await,
        Err(answer) => answer,
    }
}

/// Paths that have been stated.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Api>,
    stated: Vec<Stated>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:literal,)+) => {
        $(
            $(#[$doc])*
            pub fn $name<T: 'static>(
                self,
                path: &'static str,
                needs: impl Into<Needs>,
                handler: impl Handler<T, Api>,
            ) -> Routes {
                self.add($method, path, needs.into(), routing::$name(handler))
            }
        )+
    };
}

#[allow(dead_code, reason = "a method that no path has today is there for the next one")]
impl Routes {
    pub fn new() -> Routes {
        Routes::default()
    }

    methods! {
        /// GET, and HEAD with it.
        get "GET",
        post "POST",
        put "PUT",
        patch "PATCH",
        delete "DELETE",
    }

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        needs: Needs,
        methods: MethodRouter<Api>,
    ) -> Routes {
        self.stated.push(Stated { method, path, needs });
        self.router = self.router.route(
            path,
            methods.layer(middleware::from_fn(move |request, next| clear(needs, request, next))),
        );
        self
    }

    /// Paths of which nothing is said: they need [`Role::Admin`].
    pub fn unstated(mut self, router: Router<Api>) -> Routes {
        let needs = Needs::Role(Role::Admin);
        self.router = self.router.merge(
            router.layer(middleware::from_fn(move |request, next| clear(needs, request, next))),
        );
        self
    }

    pub fn merge(mut self, other: Routes) -> Routes {
        self.stated.extend(other.stated);
        self.router = self.router.merge(other.router);
        self
    }

    /// Everything that was stated.
    pub fn stated(&self) -> &[Stated] {
        &self.stated
    }

    /// The router.
    pub fn into_router(self) -> Router<Api> {
        self.router
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::StatusCode;
    use tower_service::Service;

    use super::super::access::Asked;
    use super::super::operator::{Operator, Via};
    use super::super::problem::Problem;
    use super::*;

    fn asked(method: &str, path: &str, who: Option<Role>) -> StatusCode {
        let api = Api::of_no_shards();
        let routes = Routes::new()
            .get("/open", Needs::Nothing, async || "open")
            .get("/thing", Role::Read, async || "seen")
            .delete("/thing", Role::Operate, async || "gone")
            .unstated(Router::new().route("/forgotten", routing::get(async || "seen")));
        let who = who.ok_or_else(|| Problem::unauthorized("nobody"));
        let who = who.map(|role| Operator {
            name: Arc::from("o"),
            role,
            from: "192.0.2.1:5".parse().unwrap(),
            via: Via::AdminToken,
            session: None,
        });
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Asked { api: api.clone(), who });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut router = routes.into_router().with_state::<()>(api);
        runtime.block_on(router.call(request)).expect("it is infallible").status()
    }

    #[test]
    fn a_path_needs_what_was_stated_and_the_highest_role_where_nothing_was() {
        let all = [None, Some(Role::Read), Some(Role::Operate), Some(Role::Admin)];
        let statuses = |method, path| all.map(|who| asked(method, path, who).as_u16());
        assert_eq!(statuses("GET", "/open"), [200, 200, 200, 200]);
        assert_eq!(statuses("GET", "/thing"), [401, 200, 200, 200]);
        assert_eq!(statuses("HEAD", "/thing"), [401, 200, 200, 200]);
        assert_eq!(statuses("DELETE", "/thing"), [401, 403, 200, 200]);
        assert_eq!(statuses("GET", "/forgotten"), [401, 403, 403, 200]);
    }

    #[test]
    fn what_does_not_come_through_the_guard_does_not_get_in() {
        let request = Request::builder().uri("/open").body(Body::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(cleared(Needs::Nothing, request)).is_err());
    }
}
