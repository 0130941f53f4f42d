//! `aorta ctl alerts` and `aorta ctl capacity`: what is out of the ordinary, and how much more the
//! host could take.

use axum::http::Method;
use serde_json::Value;

use super::{Desk, ask, escaped, list, table, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::AlertsArgs;
use crate::cli::args::AlertsCommand;
use crate::cli::say::{note, print};

const ALERTS: &str = "/api/v1/alerts";
const CAPACITY: &str = "/api/v1/capacity";

/// Asks, or takes note.
pub fn alerts(desk: &Desk, args: &AlertsArgs) -> Result<(), Failure> {
    if let Some(AlertsCommand::Acknowledge { rule, note, yes }) = &args.command {
        return acknowledge(desk, rule, note.as_deref(), *yes);
    }
    if desk.json {
        return print(desk.text(&Method::GET, ALERTS)?.trim_end());
    }
    let page = desk.value(&Method::GET, ALERTS)?;
    let (lines, none) = if args.history {
        (past(list(&page, "history")), "no alert was over since the start")
    } else if args.rules {
        (standing(list(&page, "rules")), "no rules")
    } else {
        (standing(list(&page, "items")), "nothing is out of the ordinary")
    };
    if lines.len() < 2 {
        note(none);
        return Ok(());
    }
    lines.iter().try_for_each(print)
}

fn number(item: &Value, name: &str) -> String {
    item.get(name).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |one| one.to_string())
}

fn standing(items: &[Value]) -> Vec<String> {
    let rows: Vec<[String; 6]> = items
        .iter()
        .map(|item| {
            let is = |name| item.get(name).and_then(Value::as_bool).unwrap_or_default();
            let noted = item.get("acknowledged").is_some_and(|noted| !noted.is_null());
            let state = match text(item, "state") {
                _ if !is("enabled") => "off",
                "firing" if noted => "noted",
                "quiet" if is("waiting") => "learning",
                state => state,
            };
            let since = match text(item, "since") {
                "" => "-",
                since => since,
            };
            [
                text(item, "rule").to_owned(),
                state.to_owned(),
                since.to_owned(),
                number(item, "value"),
                number(item, "threshold"),
                text(item, "said").to_owned(),
            ]
        })
        .collect();
    table::lines(["RULE", "STATE", "SINCE", "VALUE", "THRESHOLD", "WHAT"], &rows)
}

fn past(items: &[Value]) -> Vec<String> {
    let rows: Vec<[String; 4]> = items
        .iter()
        .map(|item| ["rule", "started", "ended", "said"].map(|name| text(item, name).to_owned()))
        .collect();
    table::lines(["RULE", "STARTED", "ENDED", "WHAT"], &rows)
}

fn acknowledge(desk: &Desk, rule: &str, said: Option<&str>, yes: bool) -> Result<(), Failure> {
    let question = format!("take note of the alert {}?", one_line(rule));
    if !ask::may_go_on(yes, &question) {
        return Err(Failure::new("nothing was done"));
    }
    let path = format!("{ALERTS}/{}/acknowledge", escaped(rule));
    let done = desk.text(&Method::POST, &with_query(&path, &[("note", said)]))?;
    if desk.json { print(done.trim_end()) } else { print("noted: nobody is told of it again") }
}

/// Shows how much more the host could take.
pub fn capacity(desk: &Desk) -> Result<(), Failure> {
    if desk.json {
        return print(desk.text(&Method::GET, CAPACITY)?.trim_end());
    }
    let page = desk.value(&Method::GET, CAPACITY)?;
    lines(&page).iter().try_for_each(print)
}

/// What people are told of it.
fn lines(page: &Value) -> Vec<String> {
    let at = |path: &str| page.pointer(path).cloned().unwrap_or_default();
    let figure = |path: &str| at(path).as_f64().map(|one| format!("{one}"));
    let or_unknown = |one: Option<String>| one.unwrap_or_else(|| "not known yet".to_owned());
    let mut lines = Vec::new();
    let mut say = |name: &str, said: String| lines.push(format!("{name:16} {}", one_line(&said)));
    say("now", format!("{} requests/s", or_unknown(figure("/requests_per_s"))));
    let busy: Vec<String> =
        list(page, "busy_percent").iter().map(|one| format!("{one} %")).collect();
    say("reactors work", busy.join(", "));
    if let (Some(peak), Some(share)) =
        (figure("/peak/requests_per_s"), figure("/peak/busy_percent"))
    {
        let ago = at("/peak/ago_s").as_u64().unwrap_or_default();
        say("peak of a day", format!("{peak} requests/s at {share} %, {} min ago", ago / 60));
    }
    let capacity = figure("/headroom/capacity_requests_per_s");
    say(
        "capacity",
        match capacity {
            Some(rate) => {
                format!("{rate} requests/s, {}", at("/headroom/basis").as_str().unwrap_or_default())
            }
            None => "not known yet".to_owned(),
        },
    );
    say("", at("/headroom/explanation").as_str().unwrap_or_default().to_owned());
    let times = |path| figure(path).map(|times| format!("{times} times"));
    say(
        "headroom",
        format!(
            "{} over the peak: {} (3 to 5 times are planned for)",
            or_unknown(times("/headroom/over_peak")),
            at("/headroom/verdict").as_str().unwrap_or("unknown"),
        ),
    );
    for (name, path) in [("registrations", "/registrations"), ("connections", "/connections")] {
        let now = at(&format!("{path}/now"));
        let most = match figure(&format!("{path}/ceiling")) {
            Some(most) => format!("of {most}"),
            None => "and no limit but memory".to_owned(),
        };
        say(name, format!("{now} {most}"));
    }
    let mib = |path: &str| at(path).as_u64().map(|bytes| format!("{} MiB", bytes >> 20));
    say(
        "memory",
        format!(
            "{} in use, {} available",
            or_unknown(mib("/memory/resident")),
            or_unknown(mib("/memory/available")),
        ),
    );
    if let Some(more) = figure("/memory/registrations_more") {
        let each = or_unknown(figure("/memory/per_registration"));
        say("", format!("room for {more} registrations more, at {each} bytes each"));
    }
    if let Some(days) = figure("/trend/days_to_full") {
        let per_day = or_unknown(figure("/trend/registrations_per_day"));
        say("trend", format!("{per_day} registrations a day: full in {days} days"));
    }
    let used = or_unknown(figure("/used_percent"));
    say("used most", format!("{used} % of {}", at("/used_of").as_str().unwrap_or("-")));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let page = json!({
            "requests_per_s": 12.5,
            "busy_percent": [1.0, 2.5],
            "peak": null,
            "headroom": {"capacity_requests_per_s": null, "basis": "unknown",
                "explanation": "too little", "over_peak": null, "verdict": "unknown"},
            "registrations": {"now": 7, "ceiling": null},
            "connections": {"now": 1, "ceiling": 10000},
            "memory": {"resident": 3 << 20, "available": null},
            "used_percent": 2.5, "used_of": "the time of reactor 1",
        });
        let lines = lines(&page);
        let has = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(has("12.5 requests/s") && has("1.0 %, 2.5 %"), "{lines:?}");
        assert!(has("not known yet over the peak: unknown"), "{lines:?}");
        assert!(has("7 and no limit but memory") && has("1 of 10000"), "{lines:?}");
        assert!(has("3 MiB in use, not known yet available"), "{lines:?}");
        assert!(!has("peak of a day") && !has("trend"), "{lines:?}");
    }
}
