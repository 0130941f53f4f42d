//! `/parameters`: every parameter with its alias, default and range; setting one, and taking back
//! what was set. Whoever sets one says which value was seen, so that two operators do not overrule
//! each other unseen.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::operator::Operator;
use super::super::parameters::{ParameterDone, ParameterRow};
use super::super::problem::Problem;
use super::super::query::Query;
use super::form::{Form, filled_in};
use super::shell::{Confirm, Outcome, Shell, page};

struct Line {
    row: ParameterRow,
    query: String,
}

#[derive(Template)]
#[template(path = "parameters.html")]
struct Page {
    shell: Shell,
    text: String,
    only_set: bool,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "parameter.html")]
struct Change {
    shell: Shell,
    row: ParameterRow,
}

fn query_of(name: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish()
}

/// `GET /parameters`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["q", "set"])?;
    let text = query.value("q").unwrap_or_default().to_lowercase();
    let only_set = query.value("set").is_some();
    let wanted = |row: &&ParameterRow| {
        let mentions = |part: &String| part.to_lowercase().contains(&text);
        (!only_set || row.overridden)
            && [&row.name, &row.alias, &row.about, &row.value].into_iter().any(mentions)
    };
    let line = |row: &ParameterRow| Line { query: query_of(&row.name), row: row.clone() };
    let lines = api.parameters().iter().filter(wanted).map(line).collect();
    page(&Page { shell, text: query.value("q").unwrap_or_default().to_owned(), only_set, lines })
}

fn named(query: &Query) -> Result<&str, Problem> {
    let none = || Problem::parameter("name", "name: expected the name of a parameter");
    query.value("name").ok_or_else(none)
}

/// `GET /parameters/set`: the form.
pub(super) async fn ask(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["name"])?;
    let row = api.parameter(named(&query)?)?;
    page(&Change { shell, row })
}

/// `GET /parameters/unset`: asks first.
pub(super) async fn ask_unset(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["name"])?;
    let row = api.parameter(named(&query)?)?;
    page(&Confirm {
        shell,
        title: format!("Take back {}", row.name),
        lines: vec![
            format!("It is {} now, set here.", row.value),
            "What the configuration says, or the default, holds again.".into(),
        ],
        action: "/parameters/unset".into(),
        fields: vec![("name", row.name), ("seen", row.etag)],
        doing: "Take it back",
        dangerous: false,
        reason: true,
        back: "/parameters".into(),
    })
}

fn told(shell: Shell, done: ParameterDone) -> Result<Response, Problem> {
    let ParameterDone { row, before, kept } = done;
    let mut lines = vec![format!("It was {before}.")];
    if row.restart {
        lines.push("It holds from the next start.".into());
    }
    if !kept {
        lines.push("It is forgotten with the process: there is no --data.".into());
    }
    let title = format!("{} is {}", row.name, row.value);
    page(&Outcome { shell, title, stays: lines.len() > 1, lines, back: "/parameters".into() })
}

/// `POST /parameters/set`
pub(super) async fn set(
    shell: Shell,
    State(api): State<Api>,
    by: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["name", "value", "seen", "reason"])?;
    let (name, value) = (named(&form)?, form.value("value").unwrap_or_default());
    told(shell, api.set_parameter(&by, name, value, form.value("seen"), form.reason()?).await?)
}

/// `POST /parameters/unset`
pub(super) async fn unset(
    shell: Shell,
    State(api): State<Api>,
    by: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["name", "seen", "reason"])?;
    told(shell, api.unset_parameter(&by, named(&form)?, form.value("seen"), form.reason()?).await?)
}
