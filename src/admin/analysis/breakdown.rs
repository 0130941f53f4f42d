//! `/api/v1/devices`, `/api/v1/geography` and `/api/v1/breakdown`: what is registered, told apart.
//! The functions behind them serve whoever shows the same in another form.

use std::sync::atomic::Ordering;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::super::api::{Api, json};
use super::super::moment::rfc3339;
use super::super::operator::Role;
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::routes::Routes;
use super::pass::{Kept, looked};
use super::place::About;
use super::rows::{DeviceRows, Rows};
use super::survey::By;
use super::table::{Format, csv};

/// The pass whose numbers are given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct SurveyAbout {
    /// When it was over; `null` before the first one is.
    pub at: Option<String>,
    /// How long ago that was, seconds.
    pub age_s: Option<u64>,
    /// How long it took, milliseconds.
    pub took_ms: Option<u64>,
    /// Bindings it counted.
    pub bindings: u64,
    /// Bindings that the pass under way has counted; `null` while there is none.
    pub under_way: Option<u64>,
}

/// What is registered, told apart in one way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Breakdown {
    pub by: &'static str,
    pub survey: SurveyAbout,
    #[serde(flatten)]
    pub rows: Rows,
}

/// Which devices are registered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Devices {
    pub by: &'static str,
    pub survey: SurveyAbout,
    #[serde(flatten)]
    pub rows: DeviceRows,
}

/// From where phones are registered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::admin) struct Geography {
    pub by: &'static str,
    pub survey: SurveyAbout,
    /// The databases that say so.
    pub databases: Vec<About>,
    /// What is missing, if something is.
    pub note: Option<&'static str>,
    #[serde(flatten)]
    pub rows: Rows,
}

const NO_DATABASE: &str = "no database says where an address is: geo.database names MMDB files of \
                           countries, cities or networks";

fn about(api: &Api, kept: Option<&Kept>) -> SurveyAbout {
    let met = api.analysis.met.load(Ordering::Relaxed);
    SurveyAbout {
        at: kept.map(|kept| rfc3339(kept.survey.ended)),
        age_s: kept.map(|kept| kept.at.elapsed().as_secs()),
        took_ms: kept.map(|kept| u64::try_from(kept.survey.took.as_millis()).unwrap_or(u64::MAX)),
        bindings: kept.map_or(0, |kept| kept.survey.bindings),
        under_way: met.checked_sub(1),
    }
}

fn nothing() -> Rows {
    Rows { items: Vec::new(), rest: 0, total: 0 }
}

/// What is registered, told apart in one way: `limit` rows at most.
pub(in crate::admin) async fn breakdown(api: &Api, by: By, limit: usize) -> Breakdown {
    let kept = looked(api).await;
    let rows = kept.as_ref().map_or_else(nothing, |kept| kept.survey.rows(by, limit, None));
    Breakdown { by: by.word(), survey: about(api, kept.as_deref()), rows }
}

/// Which devices are registered, by [`By::Vendor`], [`By::Model`] or [`By::Firmware`]: `limit` rows
/// at most, of one vendor alone where one is named.
pub(in crate::admin) async fn devices(
    api: &Api,
    by: By,
    limit: usize,
    vendor: Option<&str>,
) -> Devices {
    let kept = looked(api).await;
    let none = || DeviceRows { items: Vec::new(), rest: 0, total: 0 };
    let rows = kept.as_ref().map_or_else(none, |kept| kept.survey.devices(by, limit, vendor));
    Devices { by: by.word(), survey: about(api, kept.as_deref()), rows }
}

/// From where phones are registered, by [`By::Country`], [`By::City`] or [`By::System`]: `limit`
/// rows at most, of one country alone where its code is given.
pub(in crate::admin) async fn geography(
    api: &Api,
    by: By,
    limit: usize,
    country: Option<&str>,
) -> Geography {
    let kept = looked(api).await;
    let rows = kept.as_ref().map_or_else(nothing, |kept| kept.survey.rows(by, limit, country));
    let databases = api.analysis.places.borrow().about();
    let note = databases.is_empty().then_some(NO_DATABASE);
    let survey = about(api, kept.as_deref());
    Geography { by: by.word(), survey, databases, note, rows }
}

/// Its paths.
pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/api/v1/devices", Role::Read, show_devices)
        .get("/api/v1/geography", Role::Read, show_geography)
        .get("/api/v1/breakdown", Role::Read, show_breakdown)
}

/// Reads `by`, one of some.
fn by(query: &Query, known: &[By], default: Option<By>) -> Result<By, Problem> {
    let found = match query.value("by") {
        None => default,
        Some(word) => By::find(word).filter(|by| known.contains(by)),
    };
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|by| by.word()).collect();
        Problem::parameter("by", format!("by: expected one of {}", words.join(", ")))
    })
}

/// `GET /api/v1/devices`
async fn show_devices(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["by", "vendor", "limit", "format"])?;
    let by = by(&query, &[By::Vendor, By::Model, By::Firmware], Some(By::Model))?;
    let (limit, format) = (query.limit()?, Format::of(&query)?);
    let found = devices(&api, by, limit, query.value("vendor")).await;
    match format {
        Format::Json => Ok(json(&found)),
        Format::Csv => {
            let head = ["vendor", "model", "firmware", "count", "share_percent"];
            let rows = found.rows.items.into_iter().map(|row| {
                let text = |text: Option<String>| text.unwrap_or_default();
                let (count, share) = (row.count.to_string(), row.share_percent.to_string());
                [row.vendor, text(row.model), text(row.firmware), count, share]
            });
            csv("devices", head, rows)
        }
    }
}

/// `GET /api/v1/geography`
async fn show_geography(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["by", "country", "limit", "format"])?;
    let by = by(&query, &[By::Country, By::City, By::System], Some(By::Country))?;
    let country = query.value("country");
    let is_code = |code: &str| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic());
    if country.is_some_and(|code| by == By::System || !is_code(code)) {
        let detail = "country: expected a code of two letters, by country or city";
        return Err(Problem::parameter("country", detail));
    }
    let (limit, format) = (query.limit()?, Format::of(&query)?);
    let found = geography(&api, by, limit, country).await;
    match format {
        Format::Json => Ok(json(&found)),
        Format::Csv => rows_csv("geography", found.rows),
    }
}

/// `GET /api/v1/breakdown`
async fn show_breakdown(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["by", "limit", "format"])?;
    let by = by(&query, &By::ALL, None)?;
    let (limit, format) = (query.limit()?, Format::of(&query)?);
    let found = breakdown(&api, by, limit).await;
    match format {
        Format::Json => Ok(json(&found)),
        Format::Csv => rows_csv("breakdown", found.rows),
    }
}

fn rows_csv(name: &'static str, rows: Rows) -> Result<Response, Problem> {
    let head = ["key", "label", "count", "share_percent"];
    let rows = rows
        .items
        .into_iter()
        .map(|row| [row.key, row.label, row.count.to_string(), row.share_percent.to_string()]);
    csv(name, head, rows)
}
