//! `/api/v1/alerts`: what is out of the ordinary, what was, and what each rule says; and taking
//! note of an alert, so that nobody is told of it again. The functions behind them serve whoever
//! shows the same in another form.

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::super::super::api::{Api, json};
use super::super::super::audit::{Action, Verb};
use super::super::super::moment::rfc3339;
use super::super::super::operator::{Operator, Role};
use super::super::super::problem::Problem;
use super::super::super::query::Query;
use super::super::super::routes::Routes;
use super::book::{Acknowledged, Alert, Past};
use super::rule::{Rule, Verdict};
use super::watch;
use crate::reactor::Clock;

/// Longest note, bytes.
const NOTE_BYTES_MAX: usize = 512;

/// Who has taken note of an alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct AcknowledgedRow {
    pub by: String,
    pub at: String,
    pub note: Option<String>,
}

/// One rule, and its alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct AlertRow {
    pub rule: &'static str,
    pub severity: &'static str,
    /// What it is.
    pub about: &'static str,
    /// `quiet`, `pending` or `firing`.
    pub state: watch::State,
    /// The rule is not switched off.
    pub enabled: bool,
    /// Too little is known for it to say anything yet.
    pub waiting: bool,
    /// When what is pending or firing began.
    pub since: Option<String>,
    pub value: Option<f64>,
    /// From where on it is out of the ordinary.
    pub threshold: Option<f64>,
    /// The same in words; of an alert, when it was out of the ordinary last.
    pub said: Option<String>,
    pub acknowledged: Option<AcknowledgedRow>,
}

/// An alert that is over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct PastRow {
    pub rule: &'static str,
    pub severity: &'static str,
    pub about: &'static str,
    pub started: String,
    pub ended: String,
    pub said: Option<String>,
    pub acknowledged: Option<AcknowledgedRow>,
}

/// What became of messages to the webhook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct WebhookRow {
    /// Where they go; `null` where none is set.
    pub at: Option<String>,
    pub posted: u64,
    pub failed: u64,
    /// There was no room for them to wait.
    pub shed: u64,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Alerts {
    /// When the rules looked last; `null` before they have.
    pub at: Option<String>,
    /// Those that fire, and those that are pending.
    pub items: Vec<AlertRow>,
    /// Every rule.
    pub rules: Vec<AlertRow>,
    /// Those that are over, the latest first.
    pub history: Vec<PastRow>,
    pub webhook: WebhookRow,
}

/// To a hundredth.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn acknowledged_row(one: &Acknowledged) -> AcknowledgedRow {
    let note = Some(one.note.clone()).filter(|note| !note.is_empty());
    AcknowledgedRow { by: one.by.clone(), at: rfc3339(one.at), note }
}

impl AlertRow {
    fn new(alert: &Alert) -> AlertRow {
        let measured = alert.verdict.measured();
        let said = alert.said.as_ref().or(measured).map(|measured| measured.said.clone());
        AlertRow {
            rule: alert.rule.word(),
            severity: alert.rule.severity().word(),
            about: alert.rule.about(),
            state: alert.state(),
            enabled: alert.verdict != Verdict::Off,
            waiting: alert.verdict == Verdict::Unknown,
            since: alert.since.map(rfc3339),
            value: measured.map(|measured| rounded(measured.value)),
            threshold: measured.map(|measured| rounded(measured.threshold)),
            said,
            acknowledged: alert.acknowledged.as_ref().map(acknowledged_row),
        }
    }
}

fn past_row(past: &Past) -> PastRow {
    PastRow {
        rule: past.rule.word(),
        severity: past.rule.severity().word(),
        about: past.rule.about(),
        started: rfc3339(past.started),
        ended: rfc3339(past.ended),
        said: past.said.as_ref().map(|measured| measured.said.clone()),
        acknowledged: past.acknowledged.as_ref().map(acknowledged_row),
    }
}

/// What is out of the ordinary, what was, and what each rule says.
pub(in crate::admin) fn alerts(api: &Api) -> Alerts {
    let book = api.analysis.alerts.book.borrow();
    let rules: Vec<AlertRow> = book.alerts.iter().map(AlertRow::new).collect();
    let mut items: Vec<AlertRow> =
        rules.iter().filter(|row| row.state != watch::State::Quiet).cloned().collect();
    items.sort_by_key(|row| row.state != watch::State::Firing);
    let [posted, failed, shed] = api.analysis.alerts.posted();
    let at = api.analysis.terms().analysis.alerts.webhook.map(|webhook| webhook.authority());
    Alerts {
        at: book.at.map(rfc3339),
        items,
        rules,
        history: book.history.iter().map(past_row).collect(),
        webhook: WebhookRow { at, posted, failed, shed },
    }
}

/// Takes note of an alert that fires, in the name of an operator; the audit has it.
///
/// # Errors
/// There is no such rule, its alert does not fire, or the note is too long.
pub(in crate::admin) fn acknowledge(
    api: &Api,
    operator: &Operator,
    rule: &str,
    note: Option<&str>,
) -> Result<AlertRow, Problem> {
    let Some(rule) = Rule::find(rule) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such rule"));
    };
    let note = note.unwrap_or_default();
    if note.len() > NOTE_BYTES_MAX {
        let detail = format!("note: expected no more than {NOTE_BYTES_MAX} bytes");
        return Err(Problem::parameter("note", detail));
    }
    let acknowledged = Acknowledged {
        by: operator.name.to_string(),
        at: Clock::start().now().wall,
        note: note.to_owned(),
    };
    let (mut fires, mut row) = (false, None);
    api.analysis.alerts.book.send_modify(|book| {
        fires = book.acknowledge(rule, acknowledged);
        row = Some(AlertRow::new(&book.alerts[rule as usize]));
    });
    let action = Action::new(Verb::Acknowledge, format!("alert {}", rule.word()));
    let action = action.reason(Some(note).filter(|note| !note.is_empty()));
    match row.filter(|_| fires) {
        Some(row) => {
            api.audit(operator, action);
            Ok(row)
        }
        None => {
            let why = "this alert does not fire: there is nothing to take note of";
            api.audit(operator, action.refused(why));
            Err(Problem::new(StatusCode::CONFLICT, why))
        }
    }
}

/// Its paths.
pub(in crate::admin::analysis) fn routes() -> Routes {
    Routes::new().get("/api/v1/alerts", Role::Read, list).post(
        "/api/v1/alerts/{rule}/acknowledge",
        Role::Operate,
        take_note,
    )
}

/// `GET /api/v1/alerts`
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    Ok(json(&alerts(&api)))
}

/// `POST /api/v1/alerts/{rule}/acknowledge`
async fn take_note(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["note"])?;
    let Path(rule) =
        path.map_err(|_| Problem::new(StatusCode::NOT_FOUND, "there is no such rule"))?;
    Ok(json(&acknowledge(&api, &operator, &rule, query.value("note"))?))
}
