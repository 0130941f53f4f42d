//! What `top` draws: four views of the same figures, each of which has its place in 80 columns and
//! 24 lines. What phones sent is made plain before it is drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table};
use serde_json::Value;

use super::figures::Figures;
use crate::admin::one_line;
use crate::cli::latency::time;
use crate::reactor::Span;

/// One of the views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Rates by result, latency by stage, alerts.
    #[default]
    Overview,
    /// Each shard.
    Shards,
    /// Who, and why.
    Reasons,
    /// What happened, the latest first.
    Events,
}

impl View {
    /// All of them, by the keys 1 to 4.
    pub const ALL: [View; 4] = [View::Overview, View::Shards, View::Reasons, View::Events];

    const fn title(self) -> &'static str {
        match self {
            View::Overview => "overview",
            View::Shards => "shards",
            View::Reasons => "sources and reasons",
            View::Events => "events",
        }
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The most first.
    #[default]
    Rate,
    /// By name.
    Name,
}

/// What the keys have chosen.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub view: View,
    pub sort: Sort,
    pub paused: bool,
    /// Why there are no newer figures, if there are none.
    pub trouble: Option<String>,
}

/// What a key asks for beyond what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    End,
}

impl State {
    /// Takes a key.
    pub fn key(&mut self, key: char) -> Asked {
        match key {
            'q' => return Asked::End,
            'p' | ' ' => self.paused = !self.paused,
            's' => {
                self.sort = match self.sort {
                    Sort::Rate => Sort::Name,
                    Sort::Name => Sort::Rate,
                }
            }
            '1'..='4' => self.view = View::ALL[key as usize - '1' as usize],
            _ => {}
        }
        Asked::Nothing
    }
}

const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws a view.
pub fn draw(frame: &mut Frame<'_>, figures: &Figures, state: &State) {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(head(figures, state)), top);
    match state.view {
        View::Overview => overview(frame, middle, figures, state),
        View::Shards => shards(frame, middle, figures, state),
        View::Reasons => reasons(frame, middle, figures, state),
        View::Events => events(frame, middle, "events", &figures.now.events),
    }
    let sort = match state.sort {
        Sort::Rate => "rate",
        Sort::Name => "name",
    };
    let keys =
        format!("q quit  p pause  s sort by {sort}  1 overview  2 shards  3 reasons  4 events");
    frame.render_widget(
        Paragraph::new(keys).style(Style::new().add_modifier(Modifier::DIM)),
        bottom,
    );
}

fn head(figures: &Figures, state: &State) -> Vec<Line<'static>> {
    let now = &figures.now;
    let is = match (&state.trouble, state.paused) {
        (Some(trouble), _) => one_line(trouble),
        (None, true) => "paused".to_owned(),
        (None, false) => String::new(),
    };
    let first = format!("aorta {}  {}  {is}", now.version(), state.view.title());
    let second = format!(
        "bindings {}  accounts {}  suspended {}  requests {}/s  registered {}/s",
        count(now.sum("bindings")),
        count(now.sum("accounts")),
        count(now.sum("suspensions")),
        rate(figures.rate("requests_total")),
        rate(figures.rate("registered_total")),
    );
    vec![Line::styled(first, HEAD), Line::raw(second)]
}

fn overview(frame: &mut Frame<'_>, area: Rect, figures: &Figures, state: &State) {
    let [upper, alerts] =
        Layout::vertical([Constraint::Length(12), Constraint::Min(3)]).areas(area);
    let [left, right] =
        Layout::horizontal([Constraint::Length(28), Constraint::Min(30)]).areas(upper);
    let results = results(figures, state);
    let rows = results.iter().map(|(name, value)| Row::new([name.clone(), rate(*value)]));
    let widths = [Constraint::Min(12), Constraint::Length(9)];
    table(frame, left, "result", ["RESULT", "PER S"], rows, &widths);
    let now = &figures.now;
    let rows = Span::ALL.iter().filter_map(|span| {
        let row = now.span(None, span.name())?;
        let times = [row.p50_ns, row.p90_ns, row.p99_ns, row.max_ns].map(time);
        let [p50, p90, p99, max] = times;
        Some(Row::new([span.name().to_owned(), p50, p90, p99, max]))
    });
    let nine = Constraint::Length(8);
    let widths = [Constraint::Min(8), nine, nine, nine, nine];
    let titles = ["STAGE", "P50", "P90", "P99", "MAX"];
    table(frame, right, "latency", titles, rows, &widths);
    events(frame, alerts, "alerts", &figures.now.alerts);
}

/// Answers by status and silences, a second: those that are not nothing.
fn results(figures: &Figures, state: &State) -> Vec<(String, f64)> {
    let answers = figures.rates("answers_total", "status").into_iter();
    let silent: f64 = figures.rate("not_answered_total");
    let mut results: Vec<(String, f64)> = answers
        .map(|(status, rate)| (format!("answered {status}"), rate))
        .chain([("not answered".to_owned(), silent)])
        .filter(|(_, rate)| *rate > 0.0)
        .collect();
    sort(&mut results, state.sort);
    results
}

fn sort(rows: &mut [(String, f64)], by: Sort) {
    match by {
        Sort::Name => rows.sort_by(|a, b| a.0.cmp(&b.0)),
        Sort::Rate => rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0))),
    }
}

fn shards(frame: &mut Frame<'_>, area: Rect, figures: &Figures, state: &State) {
    let bindings = figures.now.by("bindings", "shard");
    let [requests, silent, over] = ["requests_total", "not_answered_total", "handoffs_in_total"]
        .map(|name| figures.rates(name, "shard"));
    let of = |rates: &std::collections::BTreeMap<String, f64>, shard: &str| {
        rates.get(shard).copied().unwrap_or(0.0)
    };
    let mut numbers: Vec<u8> = bindings.keys().filter_map(|shard| shard.parse().ok()).collect();
    numbers.sort_unstable();
    if state.sort == Sort::Rate {
        let key = |shard: &u8| of(&requests, &shard.to_string());
        numbers.sort_by(|a, b| key(b).total_cmp(&key(a)));
    }
    let rows = numbers.iter().map(|number| {
        let shard = number.to_string();
        let whole = figures.now.span(Some(*number), "whole");
        let time_of = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), time);
        Row::new([
            shard.clone(),
            count(of(&bindings, &shard)),
            rate(of(&requests, &shard)),
            rate(of(&silent, &shard)),
            rate(of(&over, &shard)),
            time_of(whole.map(|row| row.p50_ns)),
            time_of(whole.map(|row| row.p99_ns)),
            time_of(whole.map(|row| row.max_ns)),
        ])
    });
    let titles = ["SHARD", "BINDINGS", "REQ/S", "DROP/S", "HANDED/S", "P50", "P99", "MAX"];
    let widths = [5, 10, 9, 9, 9, 8, 8, 8].map(Constraint::Length);
    table(frame, area, "shards", titles, rows, &widths);
}

fn reasons(frame: &mut Frame<'_>, area: Rect, figures: &Figures, state: &State) {
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(area);
    let mut sources = figures.now.sources();
    if state.sort == Sort::Name {
        sources.sort();
    }
    let rows = sources.iter().map(|(source, events, kind)| {
        Row::new([one_line(source), events.to_string(), one_line(kind)])
    });
    let widths = [Constraint::Min(15), Constraint::Length(8), Constraint::Length(13)];
    table(frame, left, "sources of events", ["SOURCE", "COUNT", "LATEST"], rows, &widths);
    let of = |name: &str, word: &'static str| {
        let rates = figures.rates(name, "reason").into_iter();
        rates.map(move |(reason, rate)| (format!("{word} {reason}"), rate)).collect::<Vec<_>>()
    };
    let mut reasons =
        [of("not_answered_total", "dropped"), of("refused_total", "refused")].concat();
    reasons.retain(|(_, rate)| *rate > 0.0);
    sort(&mut reasons, state.sort);
    let rows = reasons.iter().map(|(reason, value)| Row::new([reason.clone(), rate(*value)]));
    let widths = [Constraint::Min(24), Constraint::Length(9)];
    table(frame, right, "reasons", ["REASON", "PER S"], rows, &widths);
}

fn events(frame: &mut Frame<'_>, area: Rect, title: &str, events: &[Value]) {
    let rows = events.iter().map(|event| {
        let text = |name: &str| one_line(event.get(name).and_then(Value::as_str).unwrap_or("-"));
        let count = event.get("count").and_then(Value::as_u64).unwrap_or(0);
        // Of a time, what a day has.
        let last = text("last");
        let last = last.get(11..19).map_or_else(|| last.clone(), str::to_owned);
        Row::new([last, text("kind"), count.to_string(), text("source_ip"), text("account")])
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Length(18),
        Constraint::Length(7),
        Constraint::Length(16),
        Constraint::Min(10),
    ];
    table(frame, area, title, ["LAST", "KIND", "COUNT", "SOURCE", "ACCOUNT"], rows, &widths);
}

fn table<'a, const COLUMNS: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    titles: [&'a str; COLUMNS],
    rows: impl IntoIterator<Item = Row<'a>>,
    widths: &[Constraint],
) {
    let block = Block::new().borders(Borders::TOP).title(format!(" {title} "));
    let table = Table::new(rows, widths.to_vec())
        .header(Row::new(titles).style(HEAD))
        .column_spacing(1)
        .block(block);
    frame.render_widget(table, area);
}

/// A rate in three digits or four.
fn rate(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.1}"),
        10.0..10_000.0 => format!("{value:.0}"),
        10_000.0..10_000_000.0 => format!("{:.1}k", value / 1e3),
        _ => format!("{:.1}M", value / 1e6),
    }
}

/// A whole number in groups of three digits.
fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::figures::tests::figures;
    use super::*;

    fn drawn(columns: u16, lines: u16, figures: &Figures, state: &State) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        terminal.draw(|frame| draw(frame, figures, state)).unwrap();
        super::super::lines(terminal.backend().buffer())
    }

    fn at(view: View) -> State {
        State { view, ..State::default() }
    }

    #[test]
    fn the_overview_has_results_latency_and_alerts_in_80_columns_and_24_lines() {
        let lines = drawn(80, 24, &figures(), &at(View::Overview));
        let text = lines.join("\n");
        assert_eq!(lines.len(), 24);
        assert!(lines[0].starts_with("aorta 9.9.9  overview"), "{text}");
        assert!(lines[1].contains("bindings 1,000,000") && lines[1].contains("requests 250/s"));
        assert!(text.contains("answered 200") && text.contains("not answered"), "{text}");
        let whole = lines.iter().find(|line| line.contains("whole")).expect("a stage");
        assert!(whole.contains("900ns") && whole.contains("30.0us") && whole.contains("5.0ms"));
        assert!(text.contains("02:38:00") && text.contains("192.0.2.7"), "{text}");
        assert!(lines[23].starts_with("q quit") && lines[23].ends_with("4 events"), "{text}");
    }

    #[test]
    fn each_view_fits_shows_its_own_and_nothing_in_it_moves_the_cursor() {
        for (view, expected) in [
            (View::Shards, &["500,000", "150", "30.0us", "HANDED/S"][..]),
            (View::Reasons, &["192.0.2.9", "dropped scanner", "40"]),
            (View::Events, &["scanner", "192.0.2.9", "02:38:00"]),
        ] {
            let text = drawn(80, 24, &figures(), &at(view)).join("\n");
            for expected in expected {
                assert!(text.contains(expected), "{expected}: {text}");
            }
            assert!(!text.contains('\u{1b}'));
        }
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on() {
        for (columns, lines) in [(1, 1), (10, 3), (40, 10), (300, 100)] {
            for view in View::ALL {
                drawn(columns, lines, &figures(), &at(view));
                drawn(columns, lines, &Figures::default(), &at(view));
            }
        }
    }

    #[test]
    fn rows_are_sorted_as_asked() {
        let first = |sort| {
            let state = State { sort, ..at(View::Shards) };
            drawn(80, 24, &figures(), &state)[4].clone()
        };
        assert!(first(Sort::Rate).starts_with('1') && first(Sort::Name).starts_with('0'));
    }

    #[test]
    fn keys_choose_and_end() {
        let mut state = State::default();
        assert_eq!(state.key('3'), Asked::Nothing);
        assert_eq!(state.key('p'), Asked::Nothing);
        assert_eq!(state.key('s'), Asked::Nothing);
        assert_eq!(state.key('9'), Asked::Nothing);
        assert_eq!((state.view, state.sort, state.paused), (View::Reasons, Sort::Name, true));
        let lines = drawn(80, 24, &figures(), &state);
        assert!(lines[0].contains("paused"));
        assert_eq!(state.key('q'), Asked::End);
        state.trouble = Some("gone\u{1b}[2J".into());
        assert!(drawn(80, 24, &figures(), &state)[0].contains("gone\\u{1b}[2J"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 9.96, 250.4, 12_345.0, 2e7].map(rate),
            ["0.0", "10.0", "250", "12.3k", "20.0M"]
        );
        assert_eq!(
            [0.0, 999.0, 1000.0, 1_234_567.0].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
