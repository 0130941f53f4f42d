//! `/unregister`: taking out everything that matches filters. What would go is counted and shown
//! first, and that very list is carried out, at a pace; how far it is stands on a page of its own.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::Api;
use super::super::bulk::{PER_SECOND_DEFAULT, Standing, begin, cancel_run, last, plan_for};
use super::super::filters::Filters;
use super::super::operator::Operator;
use super::super::problem::Problem;
use super::form::{Form, filled_in};
use super::shell::{Confirm, Outcome, Shell, page};
use super::words;

/// Registrations that are named before all of them go.
const NAMED: usize = 8;

/// A run, in figures.
struct Progress {
    by: String,
    filters: String,
    reason: String,
    state: &'static str,
    look: &'static str,
    facts: Vec<(&'static str, String)>,
    is_running: bool,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    shell: Shell,
    run: Option<Progress>,
}

/// `GET /unregister`: asks first; nothing goes.
pub(super) async fn ask(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filters = Filters::read(&filled_in(query.as_deref(), &Filters::NAMES)?)?;
    let back = super::registrations::follow("/registrations", &filters, None);
    let plan = plan_for(&api, filters).await?;
    let mut lines = vec![match plan.count {
        0 => "No registration matches: nothing would go.".to_owned(),
        1 => "1 registration matches and would go:".to_owned(),
        many => format!("{} registrations match and would go, such as", words::count(many as u64)),
    }];
    lines.extend(plan.sample.iter().take(NAMED).map(|row| {
        format!("{} from {}", row.account, row.received.as_deref().unwrap_or("nowhere"))
    }));
    lines.push(format!(
        "{PER_SECOND_DEFAULT} of them a second at most. This list holds for {}.",
        words::duration(plan.expires_s)
    ));
    page(&Confirm {
        shell,
        title: "Unregister all that match".into(),
        lines,
        action: "/unregister".into(),
        fields: vec![("plan", plan.token)],
        doing: "Unregister them",
        dangerous: true,
        reason: true,
        back,
    })
}

/// `POST /unregister`
pub(super) async fn carry_out(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
    form: Form,
) -> Result<Response, Problem> {
    let form = form.read(&["plan", "reason"])?;
    let plan = form.value("plan").unwrap_or_default();
    let run = begin(&api, &operator, plan, form.reason()?, None, PER_SECOND_DEFAULT)?;
    page(&Outcome {
        shell,
        title: format!("{} registrations are being taken out", words::count(run.count as u64)),
        lines: vec!["How far that is stands under Running removal.".into()],
        stays: true,
        back: "/unregister/run".into(),
    })
}

/// `GET /unregister/run`
pub(super) async fn show(shell: Shell, State(api): State<Api>) -> Result<Response, Problem> {
    let run = last(&api).map(|run| {
        let count = |number: usize| words::count(number as u64);
        let (state, look) = match run.state {
            Standing::Running => ("running", "warn"),
            Standing::Done => ("done", "good"),
            Standing::Cancelled => ("cancelled", "none"),
            Standing::Failed => ("failed: a shard did not answer", "bad"),
        };
        Progress {
            is_running: run.state == Standing::Running,
            state,
            look,
            facts: vec![
                ("To go", count(run.count)),
                ("Taken out", count(run.unregistered)),
                ("Gone by themselves", count(run.gone)),
                ("Spared: no more what was asked for", count(run.spared)),
                ("A second, at most", count(run.per_second as usize)),
            ],
            by: run.by,
            filters: run.filters,
            reason: run.reason.unwrap_or_default(),
        }
    });
    page(&Page { shell, run })
}

/// `GET /unregister/cancel`: asks first.
pub(super) async fn ask_cancel(shell: Shell) -> Result<Response, Problem> {
    page(&Confirm {
        shell,
        title: "Stop taking out".into(),
        lines: vec!["What has been taken out is out; the rest stays.".into()],
        action: "/unregister/cancel".into(),
        fields: Vec::new(),
        doing: "Stop it",
        dangerous: false,
        reason: false,
        back: "/unregister/run".into(),
    })
}

/// `POST /unregister/cancel`
pub(super) async fn cancel(
    shell: Shell,
    State(api): State<Api>,
    operator: Operator,
    form: Form,
) -> Result<Response, Problem> {
    form.read(&[])?;
    cancel_run(&api, &operator)?;
    let title = "The run is stopped".to_owned();
    page(&Outcome { shell, title, lines: Vec::new(), stays: false, back: "/unregister/run".into() })
}
