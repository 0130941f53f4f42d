//! Who may do what, in one table: every path there is has its row, and every role is held to it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use tower_service::Service;

use super::api::{Api, router, routes};
use super::operator::{From, Operator, Role, Via};
use super::routes::{Needs, Stated};

const ANYBODY: Needs = Needs::Nothing;
const READ: Needs = Needs::Role(Role::Read);
const OPERATE: Needs = Needs::Role(Role::Operate);
const ADMIN: Needs = Needs::Role(Role::Admin);

/// A path that is not here, or needs something else than is said here, fails the test.
const TABLE: &[(&str, &str, Needs)] = &[
    ("GET", "/api/v1/registrations", READ),
    ("GET", "/api/v1/registrations/count", READ),
    ("GET", "/api/v1/registrations/export", READ),
    ("GET", "/api/v1/registrations/{aor}", READ),
    ("DELETE", "/api/v1/registrations/{aor}", OPERATE),
    ("GET", "/api/v1/unregistrations", READ),
    ("POST", "/api/v1/unregistrations", OPERATE),
    ("DELETE", "/api/v1/unregistrations", OPERATE),
    ("POST", "/api/v1/unregistrations/{token}", OPERATE),
    ("GET", "/api/v1/stream", READ),
    ("POST", "/RPC", READ),
    ("GET", "/healthz", ANYBODY),
    ("GET", "/readyz", ANYBODY),
    ("GET", "/api/v1/suspensions", READ),
    ("PUT", "/api/v1/suspensions/{aor}", OPERATE),
    ("DELETE", "/api/v1/suspensions/{aor}", OPERATE),
    ("GET", "/api/v1/blacklist", READ),
    ("PUT", "/api/v1/blacklist/{source}", OPERATE),
    ("DELETE", "/api/v1/blacklist/{source}", OPERATE),
    ("GET", "/api/v1/security-events", READ),
    ("POST", "/api/v1/traces", OPERATE),
    ("GET", "/api/v1/traces", OPERATE),
    ("GET", "/api/v1/traces/{trace}", OPERATE),
    ("DELETE", "/api/v1/traces/{trace}", OPERATE),
    ("GET", "/api/v1/traces/{trace}/messages", OPERATE),
    ("GET", "/api/v1/traces/{trace}/events", OPERATE),
    ("GET", "/api/v1/traces/{trace}/pcap", OPERATE),
    ("GET", "/api/v1/shield", READ),
    ("PUT", "/api/v1/shield", ADMIN),
    ("GET", "/api/v1/history", READ),
    ("GET", "/api/v1/history/{aor}", READ),
    ("GET", "/api/v1/failed", READ),
    ("GET", "/api/v1/trends", READ),
    ("GET", "/api/v1/latency", READ),
    ("GET", "/metrics", READ),
    ("GET", "/api/v1/devices", READ),
    ("GET", "/api/v1/geography", READ),
    ("GET", "/api/v1/breakdown", READ),
    ("GET", "/api/v1/alerts", READ),
    ("POST", "/api/v1/alerts/{rule}/acknowledge", OPERATE),
    ("GET", "/api/v1/capacity", READ),
    ("GET", "/api/v1/audit", ADMIN),
    ("GET", "/api/v1/setup", ANYBODY),
    ("POST", "/api/v1/setup", ANYBODY),
    ("POST", "/api/v1/session", ANYBODY),
    ("GET", "/api/v1/session", READ),
    ("DELETE", "/api/v1/session", READ),
    ("PUT", "/api/v1/session/password", READ),
    ("GET", "/api/v1/operators", ADMIN),
    ("POST", "/api/v1/operators", ADMIN),
    ("PATCH", "/api/v1/operators/{name}", ADMIN),
    ("DELETE", "/api/v1/operators/{name}", ADMIN),
    ("GET", "/api/v1/tokens", ADMIN),
    ("POST", "/api/v1/tokens", ADMIN),
    ("DELETE", "/api/v1/tokens/{name}", ADMIN),
    ("GET", "/api/v1/parameters", READ),
    ("GET", "/api/v1/parameters/{name}", READ),
    ("PUT", "/api/v1/parameters/{name}", ADMIN),
    ("DELETE", "/api/v1/parameters/{name}", ADMIN),
    // Pages.
    ("GET", "/assets/{tag}/{*name}", ANYBODY),
    ("GET", "/favicon.ico", ANYBODY),
    ("GET", "/login", ANYBODY),
    ("POST", "/login", ANYBODY),
    ("GET", "/setup", ANYBODY),
    ("POST", "/setup", ANYBODY),
    ("POST", "/logout", READ),
    ("GET", "/account", READ),
    ("POST", "/account", READ),
    ("GET", "/operators", ADMIN),
    ("POST", "/operators/add", ADMIN),
    ("GET", "/operators/change", ADMIN),
    ("POST", "/operators/change", ADMIN),
    ("POST", "/operators/token", ADMIN),
    ("GET", "/", READ),
    ("GET", "/latency", READ),
    ("GET", "/trends", READ),
    ("GET", "/devices", READ),
    ("GET", "/geography", READ),
    ("GET", "/history", READ),
    ("GET", "/failed", READ),
    ("GET", "/events", READ),
    ("GET", "/audit", ADMIN),
    ("GET", "/parameters", READ),
    ("GET", "/parameters/set", ADMIN),
    ("POST", "/parameters/set", ADMIN),
    ("GET", "/parameters/unset", ADMIN),
    ("POST", "/parameters/unset", ADMIN),
    ("GET", "/unregister", OPERATE),
    ("POST", "/unregister", OPERATE),
    ("GET", "/unregister/run", READ),
    ("GET", "/unregister/cancel", OPERATE),
    ("POST", "/unregister/cancel", OPERATE),
    ("GET", "/registrations", READ),
    ("GET", "/registrations/{aor}", READ),
    ("GET", "/registrations/{aor}/unregister", OPERATE),
    ("POST", "/registrations/{aor}/unregister", OPERATE),
    ("GET", "/online", READ),
    ("GET", "/suspended", READ),
    ("GET", "/suspended/lift", OPERATE),
    ("POST", "/suspended/lift", OPERATE),
    ("GET", "/blocked", READ),
    ("GET", "/blocked/add", OPERATE),
    ("POST", "/blocked/add", OPERATE),
    ("GET", "/blocked/lift", OPERATE),
    ("POST", "/blocked/lift", OPERATE),
];

#[test]
fn every_path_stands_in_the_table_with_what_it_needs() {
    let routes = routes();
    let shown = |method: &str, path: &str, needs: &Needs| format!("{method} {path} {needs:?}");
    let mut stated: Vec<String> = Vec::new();
    for Stated { method, path, needs } in routes.stated() {
        stated.push(shown(method, path, needs));
    }
    let mut table: Vec<String> =
        TABLE.iter().map(|(method, path, needs)| shown(method, path, needs)).collect();
    stated.sort();
    table.sort();
    assert_eq!(stated, table);
    for (method, path, needs) in TABLE {
        // What changes something is nothing for those who only look, but for their own session.
        let own = path.starts_with("/api/v1/session")
            || ["/api/v1/setup", "/logout", "/account"].contains(path);
        // Its commands ask for what each of them needs.
        let own = own || *path == "/RPC";
        assert!(own || *method == "GET" || *needs != READ, "{method} {path}");
        assert!(own || *needs != ANYBODY || !path.starts_with("/api/"), "{method} {path}");
    }
}

#[test]
fn every_role_may_do_what_the_table_says_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let api = Api::of_no_shards();
        let root = Operator {
            name: "root".into(),
            role: Role::Admin,
            from: "127.0.0.1:5".parse().unwrap(),
            via: Via::AdminToken,
            session: None,
        };
        let mut tokens = Vec::new();
        for role in Role::ALL {
            let made = api.make_token(&root, role.name(), role, None).await.expect("a token");
            tokens.push((Some(role), format!("Bearer {}", made.token)));
        }
        // Somebody has an account, so that being on this host is no way in.
        let password = "correct horse battery";
        api.add_operator(&root, "root", Role::Admin, password).await.expect("an operator");
        tokens.push((None, "Bearer aorta_nobody".to_owned()));
        let mut router = router(api);
        for (method, path, needs) in TABLE {
            for (role, token) in &tokens {
                let path = path.replace(['{', '}'], "-");
                let mut request = Request::builder()
                    .method(*method)
                    .uri(&path)
                    .header(HOST, "localhost")
                    .header(AUTHORIZATION, token)
                    .body(Body::empty())
                    .unwrap();
                let from = From("127.0.0.1:5000".parse().unwrap());
                request.extensions_mut().insert(from);
                let status = router.call(request).await.expect("it is infallible").status();
                let may = match needs {
                    Needs::Nothing => true,
                    Needs::Role(needed) => role.is_some_and(|role| role >= *needed),
                };
                let refused = matches!(status.as_u16(), 401 | 403);
                assert_eq!(refused, !may, "{method} {path} as {role:?}: {status}");
                assert!(!refused || (status.as_u16() == 401) == role.is_none(), "{method} {path}");
            }
        }
    });
}
