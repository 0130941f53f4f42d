//! `aorta ctl`: a running registrar asked, and made to act, over its admin interface. Tables are
//! for people; `--json` is for programs.

mod alerts;
mod analysis;
mod ask;
mod blacklist;
mod csv;
mod events;
mod history;
mod latency;
mod metrics;
mod pages;
mod param;
mod registrations;
mod suspensions;
pub(super) mod table;
mod trace;
mod trend;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use axum::http::Method;
use serde_json::Value;

use super::Failure;
use super::admin::{TOKEN_VARIABLE, read_token};
use super::args::{CtlArgs, CtlCommand};
use crate::admin::client::Client;

/// The variable of the environment that says where to ask.
const ADMIN_VARIABLE: &str = "AORTA_ADMIN";
/// The variable of the environment that names the authorities to trust.
const CACERT_VARIABLE: &str = "AORTA_ADMIN_CACERT";
/// Where to ask if nothing does.
const ADMIN_DEFAULT: &str = "127.0.0.1:8060";

/// Asks or acts.
pub fn run(args: &CtlArgs) -> Result<ExitCode, Failure> {
    let at = args.admin.clone().or_else(named_admin);
    let at = at.unwrap_or_else(|| ADMIN_DEFAULT.to_owned());
    let shown = Shown {
        token: args.token.as_ref(),
        token_file: args.token_file.as_deref(),
        authorities: args.cacert.as_deref(),
    };
    let desk = Desk::new(&at, shown, args.json)?;
    match &args.command {
        CtlCommand::Registrations(command) => registrations::run(&desk, command)?,
        CtlCommand::Suspensions(command) => suspensions::run(&desk, command)?,
        CtlCommand::Blacklist(command) => blacklist::run(&desk, command)?,
        CtlCommand::Events(args) => events::run(&desk, args)?,
        CtlCommand::Trace(args) => trace::run(&desk, args)?,
        CtlCommand::Param(command) => param::run(&desk, command)?,
        CtlCommand::Latency(args) => latency::run(&desk, args)?,
        CtlCommand::Devices(args) => analysis::devices(&desk, args)?,
        CtlCommand::Geography(args) => analysis::geography(&desk, args)?,
        CtlCommand::Breakdown(args) => analysis::breakdown(&desk, args)?,
        CtlCommand::Alerts(args) => alerts::alerts(&desk, args)?,
        CtlCommand::Capacity => alerts::capacity(&desk)?,
        CtlCommand::History { args, kind } => history::run(&desk, args, kind.as_deref())?,
        CtlCommand::Failed(args) => history::run_failed(&desk, args)?,
        CtlCommand::Trend(args) => trend::run(&desk, args)?,
        CtlCommand::Metrics { name, all } => metrics::run(&desk, name.as_deref(), *all)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Where to ask, as the environment says.
pub(super) fn named_admin() -> Option<String> {
    std::env::var(ADMIN_VARIABLE).ok()
}

/// What opens it, and which authorities may have signed what it shows.
pub(super) struct Shown<'a> {
    pub token: Option<&'a String>,
    pub token_file: Option<&'a Path>,
    pub authorities: Option<&'a Path>,
}

/// Where questions are asked, and how answers are wanted.
pub(super) struct Desk {
    client: Client,
    json: bool,
}

impl Desk {
    /// One that asks at `at`, with the token that was given, in whichever way.
    ///
    /// # Errors
    /// One line with what is wrong with the token, the authorities, or the system.
    pub(super) fn new(at: &str, shown: Shown<'_>, json: bool) -> Result<Desk, Failure> {
        let Shown { token, token_file, authorities } = shown;
        let token = match (token, token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => Some(read_token(file)?),
            (None, None) => std::env::var(TOKEN_VARIABLE).ok(),
        };
        let named = std::env::var_os(CACERT_VARIABLE).map(PathBuf::from);
        let authorities = authorities.map(Path::to_owned).or(named);
        let client = Client::new(at, token, authorities.as_deref()).map_err(Failure::new)?;
        Ok(Desk { client, json })
    }

    fn text(&self, method: &Method, path: &str) -> Result<String, Failure> {
        let body =
            self.client.ask(method, path).map_err(|error| Failure::new(error.to_string()))?;
        String::from_utf8(body).map_err(|_| not_ours())
    }

    /// Asks with a body and these header fields, and returns the answer.
    ///
    /// # Errors
    /// As [`Desk::value`].
    fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        fields: &[(&'static str, &str)],
    ) -> Result<String, Failure> {
        let answered = self.client.send(method, path, body, fields);
        let body = answered.map_err(|error| Failure::new(error.to_string()))?;
        String::from_utf8(body).map_err(|_| not_ours())
    }

    /// Asks, and returns the answer.
    ///
    /// # Errors
    /// One line with what was refused, or why it could not be asked.
    pub(super) fn value(&self, method: &Method, path: &str) -> Result<Value, Failure> {
        serde_json::from_str(&self.text(method, path)?).map_err(|_| not_ours())
    }
}

/// How often what goes on is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Waits before it is asked for again.
#[allow(clippy::disallowed_methods, reason = "nobody waits for this program but a person")]
fn pause() {
    thread::sleep(ASK_EVERY);
}

fn not_ours() -> Failure {
    Failure::new("what answers there is no admin interface of Aorta")
}

/// The text of a member, empty where there is none.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The list in a member, empty where there is none.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `text` as a segment of a path or as a value of a query: whatever is not a letter, a digit or
/// one of `-._~` is escaped (RFC 3986 2.3).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A path with a query of those parameters that are given.
fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let query: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_account_is_called_it_is_one_segment_of_a_path() {
        assert_eq!(escaped("sip:+1/a?b#c%20@x.y~"), "sip%3A%2B1%2Fa%3Fb%23c%2520%40x.y~");
        assert_eq!(with_query("/a", &[("x", None)]), "/a");
        assert_eq!(with_query("/a", &[("x", Some("1&2")), ("y", Some(""))]), "/a?x=1%262&y=");
    }
}
