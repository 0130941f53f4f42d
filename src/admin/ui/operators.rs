//! `/operators`: who may come in, as people and as programs, and with which role.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::identity::{Change, OperatorRow, TokenRow};
use super::super::operator::{Operator, Role};
use super::super::problem::Problem;
use super::super::query::{Query, decimal};
use super::form::{Form, filled_in};
use super::shell::{Confirm, Outcome, Shell, page};
use super::words::{self, Ago};

struct Person {
    row: OperatorRow,
    created: Ago,
    login: Option<Ago>,
    /// The own account is not taken away by mistake.
    is_self: bool,
    query: String,
}

struct Program {
    row: TokenRow,
    created: Ago,
    used: Option<Ago>,
    query: String,
}

#[derive(Template)]
#[template(path = "operators.html")]
struct Page {
    shell: Shell,
    people: Vec<Person>,
    programs: Vec<Program>,
    roles: [Role; 3],
    times: &'static [(&'static str, &'static str)],
}

/// How long a token may be made to open from the page, seconds.
const TIMES: [(&str, &str); 4] = [
    ("7776000", "for 90 days"),
    ("31536000", "for a year"),
    ("86400", "for a day"),
    ("", "until it is revoked"),
];

fn query_of(name: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish()
}

/// `GET /operators`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
) -> Result<Response, Problem> {
    let now = words::now();
    let person = |row: OperatorRow| Person {
        created: Ago::new(now, &row.created_at),
        login: row.login_at.as_ref().map(|when| Ago::new(now, when)),
        is_self: *operator.name == *row.name,
        query: query_of(&row.name),
        row,
    };
    let program = |row: TokenRow| Program {
        created: Ago::new(now, &row.created_at),
        used: row.used_at.as_ref().map(|when| Ago::new(now, when)),
        query: query_of(&row.name),
        row,
    };
    page(&Page {
        shell,
        people: api.operators().into_iter().map(person).collect(),
        programs: api.tokens().into_iter().map(program).collect(),
        roles: Role::ALL,
        times: &TIMES,
    })
}

fn name_of(query: &Query) -> Result<String, Problem> {
    let none = || Problem::parameter("name", "name: expected the name of an operator or a token");
    query.value("name").map(str::to_owned).ok_or_else(none)
}

fn role_of(query: &Query) -> Result<Role, Problem> {
    let role = query.value("role").and_then(Role::find);
    role.ok_or_else(|| Problem::parameter("role", "role: expected read, operate or admin"))
}

fn done(shell: Shell, title: String) -> Result<Response, Problem> {
    let back = "/operators".to_owned();
    page(&Outcome { shell, title, lines: Vec::new(), stays: false, back })
}

/// `POST /operators/add`
pub(super) async fn add(
    shell: Shell,
    State(api): State<Api>,
    by: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["name", "role", "password"])?;
    let (name, role) = (name_of(&form)?, role_of(&form)?);
    let password = form.value("password").unwrap_or_default();
    let name = api.add_operator(&by, &name, role, password).await?;
    done(shell, format!("{name} may come in, with the role {role}"))
}

/// What can be done to somebody, in the address.
const CHANGES: &str = "change: expected role, disable, enable, password, delete or revoke";

/// `GET /operators/change`: asks first.
pub(super) async fn ask(shell: Shell, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["name", "change"])?;
    let name = name_of(&query)?;
    let change = query.value("change").unwrap_or_default();
    let (title, line, doing, dangerous) = match change {
        "disable" => (
            "Keep an operator out",
            format!("{name} is logged out everywhere and may not come in until enabled again."),
            "Keep out",
            true,
        ),
        "enable" => ("Let an operator in", format!("{name} may come in again."), "Let in", false),
        "delete" => (
            "Delete an operator",
            format!("{name} is logged out everywhere and deleted. Tokens stay."),
            "Delete",
            true,
        ),
        "revoke" => ("Revoke a token", format!("{name} opens nothing any more."), "Revoke", true),
        _ => return Err(Problem::parameter("change", CHANGES)),
    };
    page(&Confirm {
        shell,
        title: title.into(),
        lines: vec![line],
        action: "/operators/change".into(),
        fields: vec![("name", name), ("change", change.to_owned())],
        doing,
        dangerous,
        reason: false,
        back: "/operators".into(),
    })
}

/// `POST /operators/change`
pub(super) async fn change(
    shell: Shell,
    State(api): State<Api>,
    by: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["name", "change", "role", "password"])?;
    let name = name_of(&form)?;
    let title = match form.value("change").unwrap_or_default() {
        "role" => {
            let role = role_of(&form)?;
            let name = api.change_operator(&by, &name, Change::Role(role)).await?;
            format!("{name} has the role {role}")
        }
        "disable" => {
            let name = api.change_operator(&by, &name, Change::Disabled(true)).await?;
            format!("{name} is kept out")
        }
        "enable" => {
            let name = api.change_operator(&by, &name, Change::Disabled(false)).await?;
            format!("{name} may come in again")
        }
        "password" => {
            let password = form.value("password").unwrap_or_default();
            let name = api.reset_password(&by, &name, password).await?;
            format!("{name} has another password")
        }
        "delete" => format!("{} is deleted", api.delete_operator(&by, &name).await?),
        "revoke" => format!("{} is revoked", api.revoke_token(&by, &name).await?),
        _ => return Err(Problem::parameter("change", CHANGES)),
    };
    done(shell, title)
}

/// `POST /operators/token`: what it opens with is shown this once.
pub(super) async fn make_token(
    shell: Shell,
    State(api): State<Api>,
    by: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["name", "role", "seconds"])?;
    let for_s = form.value("seconds").map(|text| {
        decimal(text).ok_or_else(|| Problem::parameter("seconds", "seconds: expected seconds"))
    });
    let made = api.make_token(&by, &name_of(&form)?, role_of(&form)?, for_s.transpose()?).await?;
    page(&Outcome {
        shell,
        title: format!("The token {} is made", made.name),
        lines: vec![
            "Copy it now; it is not shown again:".into(),
            made.token,
            "Programs send it as Authorization: Bearer and the token.".into(),
        ],
        stays: true,
        back: "/operators".into(),
    })
}
