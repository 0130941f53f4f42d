//! `/blocked`: sources that are blocked or restrained, blocking more of them, and lifting that.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::blacklist::{self, Row, source};
use super::super::operator::Operator;
use super::super::problem::Problem;
use super::super::query::Query;
use super::form::{Form, filled_in};
use super::shell::{Confirm, Outcome, Shell, next_page, page};
use super::words;

struct Line {
    network: String,
    whole: bool,
    by_operator: bool,
    times: u8,
    since: String,
    remaining: Option<String>,
    lift: String,
}

#[derive(Template)]
#[template(path = "blocked.html")]
struct Page {
    shell: Shell,
    lines: Vec<Line>,
    next: Option<String>,
    is_first: bool,
    times: &'static [(&'static str, &'static str)],
}

/// How long a block may be made to hold from the page, seconds; none without end.
const TIMES: [(&str, &str); 5] = [
    ("3600", "for an hour"),
    ("86400", "for a day"),
    ("604800", "for a week"),
    ("2592000", "for 30 days"),
    ("", "until it is lifted"),
];

/// `GET /blocked`
pub(super) async fn show(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["limit", "cursor"])?;
    let found = blacklist::page(&api, &query).await?;
    let kept = [("limit", query.value("limit").unwrap_or_default())];
    page(&Page {
        shell,
        lines: found.items.into_iter().map(line).collect(),
        next: next_page("/blocked", &kept, found.next.as_deref()),
        is_first: query.value("cursor").is_none(),
        times: &TIMES,
    })
}

fn line(row: Row) -> Line {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("source", &row.network);
    Line {
        lift: format!("/blocked/lift?{}", query.finish()),
        network: row.network,
        whole: row.whole,
        by_operator: row.by_operator,
        times: row.times,
        since: words::duration(row.since_s),
        remaining: row.remaining_s.map(words::duration),
    }
}

fn named(query: &Query) -> Result<&str, Problem> {
    query.value("source").ok_or_else(|| {
        Problem::parameter("source", "source: expected an address such as 192.0.2.7")
    })
}

fn holds(for_s: Option<u32>) -> String {
    match for_s {
        None => "until somebody lifts it".to_owned(),
        Some(seconds) => format!("for {}", words::duration(seconds.into())),
    }
}

/// `GET /blocked/add`: asks first.
pub(super) async fn ask_add(shell: Shell, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["source", "seconds"])?;
    let named = named(&query)?.to_owned();
    let (ip, for_s) = (source(&named)?, blacklist::seconds(&query)?);
    let mut fields = vec![("source", named)];
    fields.extend(for_s.map(|seconds| ("seconds", seconds.to_string())));
    let whole = if ip.is_ipv6() { ", with all of its /64" } else { "" };
    page(&Confirm {
        shell,
        title: "Block a source".into(),
        lines: vec![
            format!("Nothing from {ip}{whole} is answered any more, {}.", holds(for_s)),
            "Phones that are registered from there stay so until their time runs out.".into(),
        ],
        action: "/blocked/add".into(),
        fields,
        doing: "Block it",
        dangerous: true,
        reason: false,
        back: "/blocked".into(),
    })
}

/// `POST /blocked/add`
pub(super) async fn add(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let query = form.read(&["source", "seconds"])?;
    let (ip, for_s) = (source(named(&query)?)?, blacklist::seconds(&query)?);
    let done = blacklist::block(&api, &operator, ip, for_s).await?;
    let title = match done.changed {
        true => format!("{} is blocked {}", done.source, holds(for_s)),
        false => format!("{} is not blocked", done.source),
    };
    let lines: Vec<String> = done.warning.into_iter().collect();
    let stays = !done.changed || !lines.is_empty();
    page(&Outcome { shell, title, lines, stays, back: "/blocked".into() })
}

/// `GET /blocked/lift`: asks first.
pub(super) async fn ask_lift(shell: Shell, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["source"])?;
    let named = named(&query)?.to_owned();
    let ip = source(&named)?;
    page(&Confirm {
        shell,
        title: "Lift a block".into(),
        lines: vec![format!("{ip} is heard again, and what it did is forgotten.")],
        action: "/blocked/lift".into(),
        fields: vec![("source", named)],
        doing: "Lift it",
        dangerous: false,
        reason: false,
        back: "/blocked".into(),
    })
}

/// `POST /blocked/lift`
pub(super) async fn lift(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let done =
        blacklist::unblock(&api, &operator, source(named(&form.read(&["source"])?)?)?).await?;
    let title = match done.changed {
        true => format!("{} is not blocked any more", done.source),
        false => format!("{} was not blocked", done.source),
    };
    let lines: Vec<String> = done.warning.into_iter().collect();
    let stays = !lines.is_empty();
    page(&Outcome { shell, title, lines, stays, back: "/blocked".into() })
}
