//! `/api/v1/unregistrations`: taking out all registrations that a filter finds. First they are
//! looked up and shown; what is then taken out is those, as far as they still are what was asked
//! for, and never one more: who has come since is left alone. One such run at a time, at a pace at
//! which the phones' return is spread, and it can be cancelled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::api::{Api, json};
use super::audit::{Action, Verb};
use super::filters::Filters;
use super::operator::{Operator, Role};
use super::problem::Problem;
use super::query::{Query, decimal};
use super::registrations::unexpected;
use super::routes::Routes;
use super::row::Row;
use super::search::{Found, Places, Sweep, named, of_account, side_by_side};
use crate::limits::{KICKS_PER_CONTROL_MAX, PLANNED_KICKS_MAX};
use crate::registrar::BindingId;
use crate::shard::ShardId;
use crate::shard::control::{Control, Reply};
use crate::shard::kick::{Kick, Kicked, Suspend};

/// Plans that are kept; the oldest gives way.
const PLANS_MAX: usize = 4;
/// How long a plan may be carried out.
const PLAN_MAX: Duration = Duration::from_secs(600);
/// Rows of a plan that are shown.
const SAMPLE_ROWS: usize = 20;
/// Registrations taken out in a second, unless asked otherwise, and at most.
pub(super) const PER_SECOND_DEFAULT: u32 = 500;
const PER_SECOND_MAX: u32 = 10_000;
/// How often some are taken out.
const TICK: Duration = Duration::from_millis(50);

/// What is planned, and what is under way or was last.
#[derive(Debug, Default)]
pub(super) struct Desk {
    plans: VecDeque<Plan>,
    numbered: u64,
    run: Option<Run>,
}

/// Registrations that were found and shown.
#[derive(Debug)]
struct Plan {
    token: String,
    filters: Filters,
    /// Shard by shard.
    bindings: Vec<Vec<BindingId>>,
    made: Instant,
}

impl Plan {
    fn count(&self) -> usize {
        self.bindings.iter().map(Vec::len).sum()
    }
}

/// A plan as it is shown.
#[derive(Serialize)]
pub(super) struct Planned {
    /// Names it when it is carried out.
    pub token: String,
    /// Registrations it would take out.
    pub count: usize,
    /// Some of them.
    pub sample: Vec<Row>,
    /// The filters, as a query.
    pub filters: String,
    /// How long it may be carried out.
    pub expires_s: u64,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// It goes on.
    Running,
    /// It is through.
    Done,
    /// An operator has cancelled it.
    Cancelled,
    /// A shard did not answer.
    Failed,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Standing::Running => "running",
            Standing::Done => "done",
            Standing::Cancelled => "cancelled",
            Standing::Failed => "failed",
        }
    }
}

/// A plan that is carried out, and how far that is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub token: String,
    pub state: Standing,
    pub filters: String,
    /// Registrations that were shown.
    pub count: usize,
    /// Taken out so far.
    pub unregistered: usize,
    /// Had gone by themselves when their turn came.
    pub gone: usize,
    /// Were no more what was asked for, or came from their account's configuration.
    pub spared: usize,
    /// Accounts suspended with that; one with several registrations counts for each.
    pub suspended: usize,
    /// Accounts for whose suspension there was no room.
    pub unsuspended: usize,
    pub per_second: u32,
    pub reason: Option<String>,
    /// Who began it.
    pub by: String,
}

/// What there is of runs.
#[derive(Serialize)]
struct Shown {
    /// The one under way, or the last.
    run: Option<Run>,
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/unregistrations", Role::Read, show)
        .post("/api/v1/unregistrations", Role::Operate, plan)
        .delete("/api/v1/unregistrations", Role::Operate, cancel)
        .post("/api/v1/unregistrations/{token}", Role::Operate, carry_out)
}

/// Nothing planned.
pub(super) fn desk() -> watch::Sender<Desk> {
    watch::Sender::new(Desk::default())
}

/// `POST /api/v1/unregistrations`: looks up what would be taken out, and takes out nothing.
async fn plan(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let filters = Filters::read(&Query::read(query.as_deref(), &Filters::NAMES)?)?;
    Ok(json(&plan_for(&api, filters).await?))
}

/// Looks up what would be taken out, and keeps that for a while.
///
/// # Errors
/// No filter at all, too many registrations for one plan, or shards that do not answer.
pub(super) async fn plan_for(api: &Api, filters: Filters) -> Result<Planned, Problem> {
    if filters.is_empty() || filters.is_for_absent() {
        let detail = "filters say which registrations; ip=0.0.0.0/0,::/0 says all that phones made";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let bindings = find(api, &filters).await?;
    let sample = sample(api, &bindings).await?;
    let mut token = String::new();
    let query = filters.to_query();
    let count = bindings.iter().map(Vec::len).sum();
    api.unregistrations.send_modify(|desk| {
        desk.numbered += 1;
        // Also another than those of a process before.
        token = format!("{:x}-{}", api.started.0, desk.numbered);
        desk.plans.retain(|plan| plan.made.elapsed() < PLAN_MAX);
        desk.plans.push_back(Plan {
            token: token.clone(),
            filters,
            bindings,
            made: Instant::now(),
        });
        let total = |plans: &VecDeque<Plan>| plans.iter().map(Plan::count).sum::<usize>();
        while desk.plans.len() > PLANS_MAX || total(&desk.plans) > PLANNED_KICKS_MAX {
            desk.plans.pop_front();
        }
    });
    Ok(Planned { token, count, sample, filters: query, expires_s: PLAN_MAX.as_secs() })
}

async fn find(api: &Api, filters: &Filters) -> Result<Vec<Vec<BindingId>>, Problem> {
    let mut bindings = vec![Vec::new(); api.shards.count().into()];
    if let Some(accounts) = named(api, filters).await? {
        for aor in &accounts {
            if let Found::Registrations(shard, shown) = of_account(api, filters, aor).await? {
                let registered = shown.registrations.iter().filter(|one| !one.binding.is_static());
                bindings[usize::from(shard.0)].extend(registered.map(|one| one.id));
            }
        }
        return Ok(bindings);
    }
    let mut sweep = Sweep::new(api, filters.filter(), Places::first(api.shards.count()));
    let mut count = 0;
    while sweep.goes_on() {
        for (shard, page) in sweep.ask_names().await? {
            count += page.names.len();
            if count > PLANNED_KICKS_MAX {
                let detail =
                    format!("more than {PLANNED_KICKS_MAX} registrations match: narrow it");
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
            bindings[usize::from(shard.0)].extend(page.names);
        }
    }
    Ok(bindings)
}

async fn sample(api: &Api, bindings: &[Vec<BindingId>]) -> Result<Vec<Row>, Problem> {
    let mut rows = Vec::new();
    for (of_shard, shard) in bindings.iter().zip((0..).map(ShardId)) {
        let ids: Vec<BindingId> = of_shard.iter().copied().take(SAMPLE_ROWS - rows.len()).collect();
        if ids.is_empty() {
            continue;
        }
        let Reply::Named(found, now) = api.shards.order(shard, Control::ShowNamed(ids)).await?
        else {
            return Err(unexpected());
        };
        rows.extend(Row::rows(&api.shards, shard, now, &found));
    }
    Ok(rows)
}

/// `POST /api/v1/unregistrations/{token}`: takes out what was shown under that token.
async fn carry_out(
    State(api): State<Api>,
    operator: Operator,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["reason", "suspend", "per_second"])?;
    let Ok(Path(token)) = path else { return Err(unknown()) };
    let reason = query.reason()?;
    let per_second = match query.value("per_second") {
        None => PER_SECOND_DEFAULT,
        Some(text) => {
            decimal(text).filter(|rate| (1..=PER_SECOND_MAX).contains(rate)).ok_or_else(|| {
                let detail = format!("per_second: expected 1 to {PER_SECOND_MAX}");
                Problem::parameter("per_second", detail)
            })?
        }
    };
    let suspend = query.suspend()?.map(|for_s| suspend(for_s, reason));
    let run = begin(&api, &operator, &token, reason, suspend, per_second)?;
    Ok((StatusCode::ACCEPTED, json(&run)).into_response())
}

/// What suspends an account for that time and reason.
pub(super) fn suspend(for_s: Option<u32>, reason: Option<&str>) -> Suspend {
    Suspend { for_s, reason: reason.unwrap_or_default().into() }
}

/// Begins to take out what was shown under a token.
///
/// # Errors
/// There is no such plan, or another run is under way.
pub(super) fn begin(
    api: &Api,
    operator: &Operator,
    token: &str,
    reason: Option<&str>,
    suspend: Option<Suspend>,
    per_second: u32,
) -> Result<Run, Problem> {
    let mut begun = Err(unknown());
    api.unregistrations.send_if_modified(|desk| {
        let known = |plan: &Plan| plan.token == token && plan.made.elapsed() < PLAN_MAX;
        let Some(at) = desk.plans.iter().position(known) else { return false };
        if desk.run.as_ref().is_some_and(|run| run.state == Standing::Running) {
            let detail = "another run is under way: wait for it or cancel it";
            begun = Err(Problem::new(StatusCode::CONFLICT, detail));
            return false;
        }
        let Some(plan) = desk.plans.remove(at) else { return false };
        let run = Run {
            token: plan.token.clone(),
            state: Standing::Running,
            filters: plan.filters.to_query(),
            count: plan.count(),
            unregistered: 0,
            gone: 0,
            spared: 0,
            suspended: 0,
            unsuspended: 0,
            per_second,
            reason: reason.map(str::to_owned),
            by: format!("{} {}", operator.name, operator.from),
        };
        desk.run = Some(run.clone());
        begun = Ok((run, plan));
        true
    });
    let (run, plan) = begun?;
    let and = if suspend.is_some() { " and their accounts suspended" } else { "" };
    let detail = format!("{} registrations to be taken out{and}, run {token}", run.count);
    let action = Action::new(Verb::Unregister, run.filters.as_str()).detail(detail);
    api.audit(operator, action.reason(reason));
    tokio::spawn(take_out(api.clone(), operator.clone(), plan, suspend, per_second));
    Ok(run)
}

async fn take_out(
    api: Api,
    operator: Operator,
    plan: Plan,
    suspend: Option<Suspend>,
    per_second: u32,
) {
    let token = plan.token.clone();
    let ended = at_a_pace(&api, plan, suspend, per_second).await;
    let mut told = None;
    of_run(&api, &token, |run| {
        // A cancelled one stays that.
        if run.state == Standing::Running {
            let is_through = ended.is_ok();
            run.state = if is_through { Standing::Done } else { Standing::Failed };
        }
        let Run { unregistered, count, state, filters, .. } = run;
        let detail = format!("{unregistered} of {count} taken out, run {token} {}", state.word());
        told = Some(Action::new(Verb::Unregister, filters.as_str()).detail(detail));
    });
    if let Some(action) = told {
        api.audit(&operator, action);
    }
}

/// Does something to the run of that token, if it is the one that is shown.
fn of_run(api: &Api, token: &str, change: impl FnOnce(&mut Run)) {
    api.unregistrations.send_modify(|desk| {
        if let Some(run) = desk.run.as_mut().filter(|run| run.token == token) {
            change(run);
        }
    });
}

/// Takes out what was planned, until that is done or cancelled.
async fn at_a_pace(
    api: &Api,
    plan: Plan,
    suspend: Option<Suspend>,
    per_second: u32,
) -> Result<(), Problem> {
    let filter = Arc::clone(plan.filters.filter());
    let token = plan.token;
    let mut left: Vec<std::vec::IntoIter<BindingId>> =
        plan.bindings.into_iter().map(Vec::into_iter).collect();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // In thousandths, so that a slow pace is kept too.
    let mut allowed: u64 = 0;
    loop {
        ticks.tick().await;
        let is_running = |run: &Run| run.token == token && run.state == Standing::Running;
        if !api.unregistrations.borrow().run.as_ref().is_some_and(is_running) {
            return Ok(());
        }
        allowed += u64::from(per_second) * TICK.as_millis() as u64;
        while allowed >= 1000 {
            let going = left.iter().filter(|ids| ids.len() > 0).count();
            if going == 0 {
                return Ok(());
            }
            let share = (allowed / 1000).div_ceil(going as u64).min(KICKS_PER_CONTROL_MAX as u64);
            let mut orders = Vec::with_capacity(going);
            for (ids, shard) in left.iter_mut().zip((0..).map(ShardId)) {
                let share = share.min(allowed / 1000) as usize;
                let bindings: Vec<BindingId> = ids.take(share).collect();
                if bindings.is_empty() {
                    continue;
                }
                allowed -= 1000 * bindings.len() as u64;
                let (filter, suspend) = (Arc::clone(&filter), suspend.clone());
                orders.push(
                    api.shards.order(shard, Control::Kick(Kick { bindings, filter, suspend })),
                );
            }
            for reply in side_by_side(orders).await {
                let Reply::Kicked(kicked) = reply? else { return Err(unexpected()) };
                note(api, &token, kicked);
            }
        }
        if left.iter().all(|ids| ids.len() == 0) {
            return Ok(());
        }
    }
}

fn note(api: &Api, token: &str, kicked: Kicked) {
    of_run(api, token, |run| {
        run.unregistered += kicked.left;
        run.gone += kicked.gone;
        run.spared += kicked.spared;
        run.suspended += kicked.suspended;
        run.unsuspended += kicked.unsuspended;
    });
}

/// `GET /api/v1/unregistrations`: the run under way, or the last.
async fn show(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    Ok(json(&Shown { run: last(&api) }))
}

/// The run under way, or the last.
pub(super) fn last(api: &Api) -> Option<Run> {
    api.unregistrations.borrow().run.clone()
}

/// `DELETE /api/v1/unregistrations`: cancels the run under way. What has been taken out is out.
async fn cancel(
    State(api): State<Api>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    cancel_run(&api, &operator)?;
    Ok(json(&Shown { run: last(&api) }))
}

/// Cancels the run under way.
///
/// # Errors
/// There is none.
pub(super) fn cancel_run(api: &Api, operator: &Operator) -> Result<(), Problem> {
    let was_running = api.unregistrations.send_if_modified(|desk| match &mut desk.run {
        Some(run) if run.state == Standing::Running => {
            run.state = Standing::Cancelled;
            true
        }
        _ => false,
    });
    if !was_running {
        return Err(Problem::new(StatusCode::CONFLICT, "no run is under way"));
    }
    let run = last(api).map(|run| run.token).unwrap_or_default();
    let detail = "cancelled before its end";
    api.audit(operator, Action::new(Verb::Unregister, format!("run {run}")).detail(detail));
    Ok(())
}

fn unknown() -> Problem {
    let detail = "there is no such plan, or it is older than ten minutes: look again";
    Problem::new(StatusCode::NOT_FOUND, detail)
}
