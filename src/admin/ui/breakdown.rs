//! `/devices` and `/geography`: which devices are registered and from where, as bars that lead to
//! the registrations behind them.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::analysis::{By, DeviceRow, ShareRow, SurveyAbout, breakdown, devices, geography};
use super::super::api::Api;
use super::super::problem::Problem;
use super::form::filled_in;
use super::shell::{Shell, page};
use super::words;

/// Rows that are shown; the rest is told as a sum.
const ROWS: usize = 100;

struct Bar {
    label: String,
    count: String,
    share: String,
    /// Of the largest, percent: the length of the bar.
    length: String,
    /// The registrations in it.
    link: Option<String>,
}

#[derive(Template)]
#[template(path = "breakdown.html")]
struct Page {
    shell: Shell,
    title: &'static str,
    path: &'static str,
    ways: Vec<(&'static str, &'static str, bool)>,
    bars: Vec<Bar>,
    /// Registrations in no row, if there are any.
    rest: Option<String>,
    total: String,
    survey: String,
    note: Option<&'static str>,
}

/// When the numbers were counted.
fn survey(about: &SurveyAbout) -> String {
    let under_way = about
        .under_way
        .map(|met| format!("A pass is under way and has counted {}.", words::count(met)));
    let last = match (about.age_s, about.took_ms) {
        (Some(age), Some(took)) => format!(
            "{} registrations, counted {} ago in {}.",
            words::count(about.bindings),
            words::duration(age),
            words::nanos(took.saturating_mul(1_000_000)),
        ),
        _ => "The first pass is not over yet.".to_owned(),
    };
    [Some(last), under_way].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn bar(label: String, count: u64, share: f64, most: u64, filter: Option<&str>) -> Bar {
    let length = count as f64 * 100.0 / most.max(1) as f64;
    Bar {
        label,
        count: words::count(count),
        share: format!("{share:.2} %"),
        length: format!("{length:.1}"),
        link: filter.map(|filter| format!("/registrations?{filter}")),
    }
}

fn of_rows(rows: &[ShareRow]) -> Vec<Bar> {
    let most = rows.iter().map(|row| row.count).max().unwrap_or(1);
    let one = |row: &ShareRow| {
        bar(row.label.clone(), row.count, row.share_percent, most, row.filter.as_deref())
    };
    rows.iter().map(one).collect()
}

fn of_devices(rows: &[DeviceRow]) -> Vec<Bar> {
    let most = rows.iter().map(|row| row.count).max().unwrap_or(1);
    let one = |row: &DeviceRow| {
        let parts = [Some(&row.vendor), row.model.as_ref(), row.firmware.as_ref()];
        let parts = parts.into_iter().flatten().map(String::as_str);
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        bar(parts.join(" "), row.count, row.share_percent, most, row.filter.as_deref())
    };
    rows.iter().map(one).collect()
}

/// Ways to tell registrations apart, with what each is called.
type Ways = [(By, &'static str)];

const OF_DEVICES: &Ways = &[
    (By::Vendor, "vendor"),
    (By::Model, "model"),
    (By::Firmware, "firmware"),
    (By::Transport, "transport"),
    (By::Status, "status"),
    (By::Nat, "NAT"),
];

const OF_PLACES: &Ways = &[
    (By::Country, "country"),
    (By::City, "city"),
    (By::System, "network operator"),
    (By::Network, "network"),
    (By::Source, "address"),
];

fn way(ways: &Ways, text: Option<&str>) -> Result<By, Problem> {
    let by = match text {
        None => ways.first().map(|(by, _)| *by),
        Some(word) => ways.iter().map(|(by, _)| *by).find(|by| by.word() == word),
    };
    by.ok_or_else(|| {
        let words: Vec<&str> = ways.iter().map(|(by, _)| by.word()).collect();
        Problem::parameter("by", format!("by: expected one of {}", words.join(", ")))
    })
}

fn choices(ways: &Ways, by: By) -> Vec<(&'static str, &'static str, bool)> {
    ways.iter().map(|(one, label)| (one.word(), *label, *one == by)).collect()
}

/// `GET /devices`
pub(super) async fn show_devices(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["by"])?;
    let by = way(OF_DEVICES, query.value("by"))?;
    let (bars, rest, total, about) = if matches!(by, By::Vendor | By::Model | By::Firmware) {
        let found = devices(&api, by, ROWS, None).await;
        (of_devices(&found.rows.items), found.rows.rest, found.rows.total, found.survey)
    } else {
        let found = breakdown(&api, by, ROWS).await;
        (of_rows(&found.rows.items), found.rows.rest, found.rows.total, found.survey)
    };
    page(&Page {
        shell,
        title: "Devices",
        path: "/devices",
        ways: choices(OF_DEVICES, by),
        bars,
        rest: (rest > 0).then(|| words::count(rest)),
        total: words::count(total),
        survey: survey(&about),
        note: None,
    })
}

/// `GET /geography`
pub(super) async fn show_geography(
    shell: Shell,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = filled_in(query.as_deref(), &["by"])?;
    let by = way(OF_PLACES, query.value("by"))?;
    let (rows, about, note) = if matches!(by, By::Country | By::City | By::System) {
        let found = geography(&api, by, ROWS, None).await;
        (found.rows, found.survey, found.note)
    } else {
        let found = breakdown(&api, by, ROWS).await;
        (found.rows, found.survey, None)
    };
    page(&Page {
        shell,
        title: "Countries and networks",
        path: "/geography",
        ways: choices(OF_PLACES, by),
        bars: of_rows(&rows.items),
        rest: (rows.rest > 0).then(|| words::count(rows.rest)),
        total: words::count(rows.total),
        survey: survey(&about),
        note,
    })
}
