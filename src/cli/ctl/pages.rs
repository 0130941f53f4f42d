//! Lists that come page by page.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Desk, text};
use crate::admin::PAGE_ROWS_MAX;
use crate::cli::Failure;
use crate::cli::say::{note, print};

/// Pages one after the other, no more than `left` rows together.
pub struct Pages<'a> {
    desk: &'a Desk,
    /// Path and filters.
    path: String,
    cursor: Option<String>,
    left: usize,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// The pages at `path`, which may have a query.
    pub fn new(desk: &'a Desk, path: String, most: usize) -> Pages<'a> {
        Pages { desk, path, cursor: None, left: most, ended: most == 0 }
    }

    /// The next page; `None` behind the last.
    pub fn next_page(&mut self) -> Result<Option<Vec<Value>>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let first = if self.path.contains('?') { '&' } else { '?' };
        let mut path = format!("{}{first}limit={}", self.path, self.left.min(PAGE_ROWS_MAX));
        if let Some(cursor) = &self.cursor {
            path = format!("{path}&cursor={}", super::escaped(cursor));
        }
        let mut page = self.desk.value(&Method::GET, &path)?;
        let items = match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => return Err(super::not_ours()),
        };
        let next = text(&page, "next");
        // A cursor that stands still would go round for ever.
        let stuck = items.is_empty() && self.cursor.as_deref() == Some(next);
        self.cursor = Some(next.to_owned()).filter(|next| !next.is_empty());
        self.left = self.left.saturating_sub(items.len());
        self.ended = self.cursor.is_none() || self.left == 0 || stuck;
        Ok(Some(items))
    }

    /// Shows them all: as JSON, or by what makes a table of one page.
    pub fn show(mut self, table: impl Fn(&[Value]) -> Vec<String>) -> Result<(), Failure> {
        let json = self.desk.json;
        let mut shown = 0;
        if json {
            print("{\"items\": [")?;
        }
        while let Some(items) = self.next_page()? {
            if json {
                for (nth, item) in (shown..).zip(&items) {
                    print(format_args!("{}{item}", if nth == 0 { "" } else { "," }))?;
                }
            } else if !items.is_empty() {
                // The head of the table once.
                for line in table(&items).iter().skip(usize::from(shown > 0)) {
                    print(line)?;
                }
            }
            shown += items.len();
        }
        if json {
            return print(format_args!("], \"next\": {}}}", json!(self.cursor)));
        }
        if self.cursor.is_some() {
            note(format_args!("{shown} shown and there may be more: --limit N or --all"));
        } else if shown == 0 {
            note("none");
        }
        Ok(())
    }
}
