//! `/api/v1/parameters`: what is set, by whom, and setting it. What a value may be and making it
//! hold is done elsewhere, by whoever opens the [`ParameterDesk`]; here is how it is asked for.
//!
//! # For a page
//! `api.parameters()` lists, `api.set_parameter(..)` and `api.unset_parameter(..)` change. A form
//! has [`ParameterRow::etag`] in a hidden field and gives it back as `expected`: who saw a value
//! that somebody else has changed meanwhile is told so.

#![allow(clippy::disallowed_types, reason = "one thread shows what another one has made hold")]

mod paths;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::StatusCode;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::api::Api;
use super::audit::{Action, Verb};
use super::operator::Operator;
use super::problem::Problem;

pub(super) use self::paths::routes;

/// A parameter as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParameterRow {
    /// Aorta's key.
    pub name: String,
    /// The name operators of other systems know, empty where there is none.
    pub alias: String,
    /// What is set.
    pub value: String,
    /// What holds, where that is another value until the next start.
    pub running: Option<String>,
    /// What nobody set.
    pub default: String,
    /// What is taken.
    pub range: String,
    /// The unit of a bare number, empty where there is none.
    pub unit: String,
    /// What it does.
    pub about: String,
    /// Where the value was read.
    pub origin: String,
    /// Whether an operator set it here.
    pub overridden: bool,
    /// Whether a change holds only from the next start.
    pub restart: bool,
    /// Why it cannot be set here, if it cannot.
    pub locked: Option<String>,
    /// Another one for each other value and origin.
    pub etag: String,
}

impl ParameterRow {
    /// With the mark of its value and origin.
    #[must_use]
    pub fn marked(mut self) -> ParameterRow {
        let mut hash = Sha256::new();
        for text in [&self.name, &self.value, &self.origin] {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        self.etag = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self
    }

    fn is_named(&self, name: &str) -> bool {
        let is = |known: &str| !known.is_empty() && known.eq_ignore_ascii_case(name);
        is(&self.name) || is(&self.alias)
    }
}

/// What is to be done to a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterOrder {
    /// By key or alias, in any case.
    pub name: String,
    /// The value as text; `None` takes back what an operator set.
    pub value: Option<String>,
    /// The mark of what the operator saw; any unless given.
    pub expected: Option<String>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterDone {
    /// As it is now.
    pub row: ParameterRow,
    /// The value before.
    pub before: String,
    /// Whether it is so after a restart as well.
    pub kept: bool,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterRefused {
    /// There is none of that name: the line that says so.
    Unknown(String),
    /// It is not set here: why.
    Locked(String),
    /// The value is not taken, or does not go with others: name, value and range in one line.
    Value(String),
    /// Somebody else has changed it: what it is now.
    Changed(Box<ParameterRow>),
    /// It could not be done: why.
    Failed(String),
}

/// Is called once it is done, or is not.
pub type ParameterReply = Box<dyn FnOnce(Result<ParameterDone, ParameterRefused>) + Send>;

/// Takes orders one after the other.
pub type ParameterDesk = Box<dyn Fn(ParameterOrder, ParameterReply) + Send + Sync>;

/// What is known of parameters here.
#[derive(Default)]
pub(super) struct Parameters {
    rows: Mutex<Arc<[ParameterRow]>>,
    desk: OnceLock<ParameterDesk>,
}

impl Parameters {
    /// Shows these from now on.
    pub fn show(&self, rows: Vec<ParameterRow>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows.into();
    }

    /// Gives orders to this desk from now on. The first one stays.
    pub fn open(&self, desk: ParameterDesk) {
        let _ = self.desk.set(desk);
    }

    fn rows(&self) -> Arc<[ParameterRow]> {
        Arc::clone(&self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Api {
    /// Every parameter, in the order of the table.
    pub fn parameters(&self) -> Arc<[ParameterRow]> {
        self.parameters.rows()
    }

    /// One parameter, by key or alias.
    ///
    /// # Errors
    /// 404
    pub fn parameter(&self, name: &str) -> Result<ParameterRow, Problem> {
        let rows = self.parameters();
        let row = rows.iter().find(|row| row.is_named(name)).cloned();
        row.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such parameter"))
    }

    /// Sets a parameter. It holds when this returns, or from the next start where the row says so.
    ///
    /// # Errors
    /// For a page to show: the value is not taken, or somebody else has changed it (412).
    pub async fn set_parameter(
        &self,
        by: &Operator,
        name: &str,
        value: &str,
        expected: Option<&str>,
        reason: Option<&str>,
    ) -> Result<ParameterDone, Problem> {
        let order = ParameterOrder {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            expected: expected.map(str::to_owned),
        };
        self.order_parameter(by, Verb::SetParameter, order, reason).await
    }

    /// Takes back what an operator set: what the configuration says holds again.
    ///
    /// # Errors
    /// As [`Api::set_parameter`].
    pub async fn unset_parameter(
        &self,
        by: &Operator,
        name: &str,
        expected: Option<&str>,
        reason: Option<&str>,
    ) -> Result<ParameterDone, Problem> {
        let order = ParameterOrder {
            name: name.to_owned(),
            value: None,
            expected: expected.map(str::to_owned),
        };
        self.order_parameter(by, Verb::UnsetParameter, order, reason).await
    }

    async fn order_parameter(
        &self,
        by: &Operator,
        verb: Verb,
        order: ParameterOrder,
        reason: Option<&str>,
    ) -> Result<ParameterDone, Problem> {
        let gone = || Problem::unavailable("parameters cannot be changed at the moment");
        let desk = self.parameters.desk.get().ok_or_else(gone)?;
        let (name, value) = (order.name.clone(), order.value.clone());
        let (sender, done) = oneshot::channel();
        // Whoever asked may have given up.
        desk(order, Box::new(move |result| drop(sender.send(result))));
        let action = |target: &str| Action::new(verb, target).reason(reason);
        match done.await.map_err(|_| gone())? {
            Ok(done) => {
                let ParameterDone { row, before, kept } = &done;
                let detail = format!("from {before:?} to {:?}", row.value);
                let until = if *kept { "" } else { ", until the process ends" };
                self.audit(by, action(&row.name).detail(format!("{detail}{until}")));
                Ok(done)
            }
            Err(refused) => {
                let problem = Problem::from(refused);
                let asked = value.map(|value| format!("to {value:?}")).unwrap_or_default();
                self.audit(by, action(&name).detail(asked).refused(problem.detail()));
                Err(problem)
            }
        }
    }
}

impl From<ParameterRefused> for Problem {
    fn from(refused: ParameterRefused) -> Problem {
        match refused {
            ParameterRefused::Unknown(detail) => Problem::new(StatusCode::NOT_FOUND, detail),
            ParameterRefused::Locked(detail) => Problem::new(StatusCode::FORBIDDEN, detail),
            ParameterRefused::Value(detail) => Problem::parameter("value", detail),
            ParameterRefused::Changed(row) => {
                let ParameterRow { name, value, origin, .. } = *row;
                let detail = format!("{name} is {value:?} by now, from {origin}: look again");
                Problem::new(StatusCode::PRECONDITION_FAILED, detail)
            }
            ParameterRefused::Failed(detail) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}
