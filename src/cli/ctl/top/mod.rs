//! `aorta ctl top`: what goes on, live, over the whole terminal. Where there is no terminal, once.
//!
//! One thread asks the server; this one draws and takes keys, so a server that is slow to answer
//! holds up neither. The terminal is given back as it was, however it ends.

mod figures;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::http::Method;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};

use self::figures::{Figures, Reading};
use self::view::{Asked, State, View, draw};
use super::{Desk, list};
use crate::admin::LatencyRow;
use crate::cli::Failure;
use crate::cli::args::TopArgs;
use crate::cli::say::print;
use crate::reactor::Signals;

/// How long a key is waited for before it is looked whether there is anything else.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Security events that sources are added up from.
const EVENTS: &str = "/api/v1/security-events?limit=500";
const ALERTS: &str = "/api/v1/security-events?limit=50&kind=alerts";
/// Columns and lines of what is shown where there is no terminal.
const SNAPSHOT: (u16, u16) = (100, 24);

/// Shows it until it is ended.
///
/// # Errors
/// One line with why there is nothing to show.
pub fn run(desk: Desk, args: &TopArgs) -> Result<(), Failure> {
    let every = Duration::from_secs(args.interval.into());
    let began = start();
    // Whoever cannot be asked at all is told so before the screen is taken.
    let mut figures = Figures::default();
    figures.turn(read(&desk, began)?);
    if desk.json || !io::stdout().is_terminal() {
        wait(every);
        figures.turn(read(&desk, began)?);
        return snapshot(&desk, &figures);
    }
    let stop = stopped_by_signals()?;
    let (send, readings) = bounded(1);
    let (ended, end) = bounded::<()>(0);
    thread::Builder::new()
        .name("top".into())
        .spawn(move || ask(&desk, began, every, &send, &end))
        .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::new(format!("the terminal: {error}")))?;
    let shown = show(&mut terminal, figures, &readings, &stop);
    ratatui::restore();
    drop(ended);
    shown.map_err(|error| Failure::new(format!("the terminal: {error}")))
}

#[allow(clippy::disallowed_methods, reason = "rates of what a person looks at")]
fn start() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "rates of what a person looks at")]
fn since(began: Instant) -> Duration {
    began.elapsed()
}

#[allow(clippy::disallowed_methods, reason = "nobody waits for this program but a person")]
fn wait(time: Duration) {
    thread::sleep(time);
}

/// Set once a signal asks the program to end. A terminal in raw mode sends none for its keys.
fn stopped_by_signals() -> Result<Arc<AtomicBool>, Failure> {
    let signals = Signals::block().map_err(|error| Failure::new(error.to_string()))?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let _ = signals.wait_for_signal();
            told.store(true, Ordering::Relaxed);
        })
        .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    Ok(stop)
}

/// Asks once.
fn read(desk: &Desk, began: Instant) -> Result<Reading, Failure> {
    let metrics = desk.text(&Method::GET, "/metrics")?;
    let at = since(began);
    let rows = |path: &str| -> Result<Vec<LatencyRow>, Failure> {
        let page = desk.value(&Method::GET, path)?;
        let rows = list(&page, "items").iter().cloned().map(serde_json::from_value);
        rows.collect::<Result<_, _>>().map_err(|_| super::not_ours())
    };
    // There is no window in the first seconds of a server.
    let latency = rows("/api/v1/latency?window=last").or_else(|_| rows("/api/v1/latency"))?;
    let events =
        |path: &str| desk.value(&Method::GET, path).map(|page| list(&page, "items").to_vec());
    let (events, alerts) = (events(EVENTS)?, events(ALERTS)?);
    let mut reading = Reading::new(at, &metrics);
    (reading.latency, reading.events, reading.alerts) = (latency, events, alerts);
    Ok(reading)
}

/// Asks again and again until nobody listens.
fn ask(
    desk: &Desk,
    began: Instant,
    every: Duration,
    readings: &Sender<Result<Reading, String>>,
    end: &Receiver<()>,
) {
    while end.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let reading = read(desk, began).map_err(Failure::into_line);
        if readings.send(reading).is_err() {
            return;
        }
    }
}

/// Draws, and takes keys, until one of them or a signal ends it.
fn show(
    terminal: &mut DefaultTerminal,
    mut figures: Figures,
    readings: &Receiver<Result<Reading, String>>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut state = State::default();
    while !stop.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(frame, &figures, &state))?;
        if event::poll(KEY_WAIT)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            let asked = match key.code {
                KeyCode::Char('c' | 'd') if control => Asked::End,
                KeyCode::Esc => Asked::End,
                KeyCode::Char(key) => state.key(key),
                _ => Asked::Nothing,
            };
            if asked == Asked::End {
                break;
            }
        }
        while let Ok(reading) = readings.try_recv() {
            match reading {
                // What comes meanwhile is let go: the rates go on from the newest.
                Ok(_) if state.paused => {}
                Ok(reading) => {
                    state.trouble = None;
                    figures.turn(reading);
                }
                Err(why) => state.trouble = Some(why),
            }
        }
    }
    Ok(())
}

/// All views once, as text.
fn snapshot(desk: &Desk, figures: &Figures) -> Result<(), Failure> {
    if desk.json {
        return print(figures.json());
    }
    for view in View::ALL {
        let state = State { view, ..State::default() };
        let (columns, rows) = SNAPSHOT;
        // It draws on memory, which cannot fail.
        let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
        let Ok(_) = terminal.draw(|frame| draw(frame, figures, &state));
        let mut drawn = lines(terminal.backend().buffer());
        // The keys are for a terminal, and what is empty for nobody.
        drawn.pop();
        while drawn.last().is_some_and(String::is_empty) {
            drawn.pop();
        }
        drawn.iter().try_for_each(print)?;
        print("")?;
    }
    Ok(())
}

/// What stands on a screen, line by line.
fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    let rows = buffer.content.chunks(width);
    let text = |row: &[ratatui::buffer::Cell]| {
        row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    rows.map(|row| text(row).trim_end().to_owned()).collect()
}
