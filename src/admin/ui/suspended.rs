//! `/suspended`: accounts that are suspended for a source, and lifting that.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::operator::Operator;
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::suspensions::{self, Row};
use super::form::{Form, filled_in};
use super::shell::{Confirm, Outcome, Shell, next_page, page};
use super::words;

struct Line {
    aor: Option<String>,
    source: String,
    cause: &'static str,
    reason: String,
    remaining: String,
    shard: u8,
    /// Where it can be lifted; what has no account ends by itself.
    lift: Option<String>,
}

#[derive(Template)]
#[template(path = "suspended.html")]
struct Page {
    shell: Shell,
    lines: Vec<Line>,
    next: Option<String>,
    is_first: bool,
}

/// `GET /suspended`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["limit", "cursor"])?;
    let found = suspensions::page(&api, &query).await?;
    let kept = [("limit", query.value("limit").unwrap_or_default())];
    page(&Page {
        shell,
        lines: found.items.into_iter().map(line).collect(),
        next: next_page("/suspended", &kept, found.next.as_deref()),
        is_first: query.value("cursor").is_none(),
    })
}

fn line(row: Row) -> Line {
    let lift = row.aor.as_ref().map(|aor| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("aor", words::bare(aor));
        if let Some(source) = &row.source_ip {
            query.append_pair("ip", source);
        }
        format!("/suspended/lift?{}", query.finish())
    });
    Line {
        aor: row.aor.as_deref().map(words::bare).map(str::to_owned),
        source: row.source_ip.unwrap_or_else(|| "anywhere".to_owned()),
        cause: match row.cause {
            "registers" => "too many failed registrations",
            "checks" => "too many wrong passwords",
            "operator" => "an operator wants it",
            other => other,
        },
        reason: row.reason.unwrap_or_default(),
        remaining: match row.remaining_s {
            Some(seconds) => words::duration(seconds.into()),
            None => "when lifted".to_owned(),
        },
        shard: row.shard,
        lift,
    }
}

/// The name and the source a request means.
fn meant(query: &Query) -> Result<(Box<[u8]>, Option<std::net::IpAddr>), Problem> {
    let aor = query
        .aor_of("aor")?
        .ok_or_else(|| Problem::parameter("aor", "aor: expected user@domain"))?;
    Ok((aor, query.source()?))
}

/// `GET /suspended/lift`: asks first.
pub(super) async fn ask(shell: Shell, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["aor", "ip"])?;
    let (aor, source) = meant(&query)?;
    let aor = String::from_utf8_lossy(&aor).into_owned();
    let source = query.value("ip").filter(|_| source.is_some());
    let whence = source.map_or_else(|| "every source".to_owned(), str::to_owned);
    let mut fields = vec![("aor", aor.clone())];
    fields.extend(source.map(|source| ("ip", source.to_owned())));
    page(&Confirm {
        shell,
        title: "Lift a suspension".into(),
        lines: vec![
            format!("{aor} may register from {whence} again at once."),
            "Failures counted so far are forgotten.".into(),
        ],
        action: "/suspended/lift".into(),
        fields,
        doing: "Lift it",
        dangerous: false,
        reason: false,
        back: "/suspended".into(),
    })
}

/// `POST /suspended/lift`
pub(super) async fn lift(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let (aor, source) = meant(&form.read(&["aor", "ip"])?)?;
    let done = suspensions::lift_of(&api, &operator, aor, source).await?;
    let aor = words::bare(&done.aor);
    let title = match done.lifted {
        0 => format!("{aor} was not suspended any more"),
        1 => format!("The suspension of {aor} is lifted"),
        many => format!("{many} suspensions of {aor} are lifted"),
    };
    let back = "/suspended".to_owned();
    page(&Outcome { shell, title, lines: Vec::new(), stays: false, back })
}
