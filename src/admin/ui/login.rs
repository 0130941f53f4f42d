//! `/login`, `/setup`, `/logout`, `/account`: coming in, the first operator, going out, the own
//! password. What is wrong is said beside the form, which keeps what was typed but for passwords.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::response::{IntoResponse, Response};

use super::super::api::Api;
use super::super::operator::{From, Operator, Via};
use super::super::problem::Problem;
use super::form::{Form, filled_in};
use super::shell::{Outcome, Shell, page};

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    shell: Shell,
    name: String,
    next: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct Setup {
    shell: Shell,
    code: String,
    name: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    shell: Shell,
    name: String,
    role: &'static str,
    via: &'static str,
    /// Whether there is a password to change.
    has_password: bool,
    wrong: Option<String>,
}

/// A path of this server, or the overview: nobody is led elsewhere after a login.
fn local(next: Option<&str>) -> String {
    let is_local = |next: &&str| {
        next.starts_with('/')
            && !next.starts_with("//")
            && !next.contains('\\')
            && next.bytes().all(|byte| byte.is_ascii_graphic())
    };
    next.filter(is_local).unwrap_or("/").to_owned()
}

/// On to another page.
fn see(path: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/")));
    headers.extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// The form once more, with the status of what was wrong with it.
fn again(problem: Problem, form: &impl Template) -> Result<Response, Problem> {
    let (refused, mut response) = (problem.into_response(), page(form)?);
    *response.status_mut() = refused.status();
    let wait = refused.headers().get(RETRY_AFTER).cloned();
    response.headers_mut().extend(wait.map(|wait| (RETRY_AFTER, wait)));
    Ok(response)
}

/// `GET /login`
pub(super) async fn ask(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["next"])?;
    if api.needs_setup() {
        return Ok(see("/setup", None));
    }
    let next = local(query.value("next"));
    page(&Login { shell, name: String::new(), next, wrong: None })
}

/// `POST /login`
pub(super) async fn log_in(
    shell: Shell,
    State(api): State<Api>,
    from: From,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["name", "password", "next"])?;
    let of = |name| form.value(name).unwrap_or_default();
    let next = local(form.value("next"));
    match api.log_in(from, &headers, of("name"), of("password")).await {
        Ok(logged_in) => Ok(see(&next, Some(logged_in.cookie))),
        Err(problem) => {
            let wrong = Some(problem.detail().to_owned());
            let name = of("name").to_owned();
            again(problem, &Login { shell, name, next, wrong })
        }
    }
}

/// `GET /setup`
pub(super) async fn ask_setup(shell: Shell, State(api): State<Api>) -> Result<Response, Problem> {
    if !api.needs_setup() {
        return Ok(see("/login", None));
    }
    page(&Setup { shell, code: String::new(), name: String::new(), wrong: None })
}

/// `POST /setup`
pub(super) async fn set_up(
    shell: Shell,
    State(api): State<Api>,
    from: From,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["code", "name", "password", "again"])?;
    let of = |name| form.value(name).unwrap_or_default();
    let done = match of("password") == of("again") {
        true => api.set_up(from, &headers, of("code"), of("name"), of("password")).await,
        false => Err(Problem::parameter("again", "the two passwords are not the same")),
    };
    match done {
        Ok(logged_in) => Ok(see("/", Some(logged_in.cookie))),
        Err(problem) => {
            let wrong = Some(problem.detail().to_owned());
            let (code, name) = (of("code").to_owned(), of("name").to_owned());
            again(problem, &Setup { shell, code, name, wrong })
        }
    }
}

/// `POST /logout`
pub(super) async fn log_out(State(api): State<Api>, operator: Operator, form: Form) -> Response {
    if let Err(problem) = form.read(&[]) {
        return problem.into_response();
    }
    see("/login", Some(api.log_out(&operator)))
}

fn account(shell: Shell, operator: &Operator, wrong: Option<String>) -> Account {
    Account {
        shell,
        name: operator.name.to_string(),
        role: operator.role.name(),
        via: operator.via.name(),
        has_password: operator.via == Via::Session,
        wrong,
    }
}

/// `GET /account`
pub(super) async fn show(shell: Shell, operator: Operator) -> Result<Response, Problem> {
    page(&account(shell, &operator, None))
}

/// `POST /account`: another password.
pub(super) async fn change(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["old", "password", "again"])?;
    let of = |name| form.value(name).unwrap_or_default();
    let done = match of("password") == of("again") {
        true => api.change_password(&operator, &headers, of("old"), of("password")).await,
        false => Err(Problem::parameter("again", "the two passwords are not the same")),
    };
    match done {
        Ok(logged_in) => {
            let title = "The password is changed".to_owned();
            let lines = vec!["Every other session of yours is over.".to_owned()];
            let mut response =
                page(&Outcome { shell, title, lines, stays: true, back: "/account".into() })?;
            response.headers_mut().insert(SET_COOKIE, logged_in.cookie);
            Ok(response)
        }
        Err(problem) => {
            let wrong = Some(problem.detail().to_owned());
            again(problem, &account(shell, &operator, wrong))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_nowhere_else() {
        assert_eq!(local(Some("/registrations?number=1%2A")), "/registrations?number=1%2A");
        for elsewhere in [
            "//attacker.example",
            "https://attacker.example",
            "/\\attacker.example",
            "x",
            "/a\r\nb",
            "",
        ] {
            assert_eq!(local(Some(elsewhere)), "/", "{elsewhere:?}");
        }
        assert_eq!(local(None), "/");
    }
}
