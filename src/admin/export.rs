//! `/api/v1/registrations/export`: everything that matches, as CSV (RFC 4180) or JSON lines, made
//! while it is read. It is no snapshot: a registration that is there from the beginning to the end
//! is in it once, as it was when its turn came; what comes or goes meanwhile may be in it or not.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use csv::{ByteRecord, Terminator, Writer, WriterBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api::Api;
use super::audit::{Action, Verb};
use super::filters::Filters;
use super::operator::Operator;
use super::pieces::{Pieces, pieces};
use super::problem::Problem;
use super::query::{PAGE_ROWS_MAX, Query};
use super::row::Row;
use super::search::{Places, Sweep, named, page};
use crate::limits::FIND_ROWS_MAX;

/// Exports at a time.
pub(super) const EXPORTS_MAX: usize = 2;
/// A piece is given once it has so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// As what rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Jsonl,
}

/// `GET /api/v1/registrations/export`
pub(super) async fn export(
    State(api): State<Api>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &Filters::names_and(&["format"]))?;
    let (format, kind, name) = match query.value("format") {
        None | Some("csv") => {
            let name = "attachment; filename=\"registrations.csv\"";
            (Format::Csv, "text/csv; charset=utf-8; header=present", name)
        }
        Some("jsonl") => {
            let name = "attachment; filename=\"registrations.jsonl\"";
            (Format::Jsonl, "application/jsonl", name)
        }
        Some(_) => return Err(Problem::parameter("format", "format: expected csv or jsonl")),
    };
    let filters = Filters::read(&query)?;
    let turn = Arc::clone(&api.exports).try_acquire_owned().map_err(|_| {
        Problem::unavailable(format!("{EXPORTS_MAX} exports are under way already"))
    })?;
    // What cannot be had at all is refused as such; later there is no status left to say so.
    let accounts = named(&api, &filters).await?;
    let target = format!("registrations {}", filters.to_query());
    api.audit(&operator, Action::new(Verb::Export, target.trim_end()));
    let (into, body) = pieces();
    tokio::spawn(make(api, filters, accounts.is_some(), format, into, turn));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_DISPOSITION, HeaderValue::from_static(name)),
    ];
    Ok((headers, body).into_response())
}

/// So many may be under way at once.
pub(super) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(EXPORTS_MAX))
}

/// Makes an export until it is whole, or nobody reads it any more.
async fn make(
    api: Api,
    filters: Filters,
    by_account: bool,
    format: Format,
    into: Pieces,
    _turn: OwnedSemaphorePermit,
) {
    let mut file = File::new(format);
    let made = if by_account {
        accounts(&api, &filters, &mut file, &into).await
    } else {
        everything(&api, &filters, &mut file, &into).await
    };
    match made {
        Ok(true) => {
            into.give(file.take()).await;
        }
        Ok(false) => {}
        Err(_) => into.cut().await,
    }
}

/// False: nobody reads any more.
async fn everything(
    api: &Api,
    filters: &Filters,
    file: &mut File,
    into: &Pieces,
) -> Result<bool, Problem> {
    let mut sweep = Sweep::new(api, filters.filter(), Places::first(api.shards.count()));
    let room = FIND_ROWS_MAX * usize::from(api.shards.count());
    let mut rows = Vec::with_capacity(room);
    while sweep.goes_on() {
        sweep.round(room, &mut rows).await?;
        file.write(&rows);
        rows.clear();
        if file.is_piece() && !into.give(file.take()).await {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn accounts(
    api: &Api,
    filters: &Filters,
    file: &mut File,
    into: &Pieces,
) -> Result<bool, Problem> {
    let mut cursor = None;
    loop {
        let page = page(api, filters, cursor.as_deref(), PAGE_ROWS_MAX).await?;
        file.write(&page.items);
        if file.is_piece() && !into.give(file.take()).await {
            return Ok(false);
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(true);
        }
    }
}

/// What has been written and not given yet.
enum File {
    Csv(Box<Writer<Vec<u8>>>),
    Jsonl(Vec<u8>),
}

impl File {
    fn new(format: Format) -> File {
        match format {
            Format::Jsonl => File::Jsonl(Vec::new()),
            Format::Csv => {
                let mut writer = writer();
                // Memory takes everything.
                let _ = writer.write_byte_record(&ByteRecord::from(COLUMNS.to_vec()));
                File::Csv(Box::new(writer))
            }
        }
    }

    fn write(&mut self, rows: &[Row]) {
        match self {
            File::Csv(writer) => {
                for row in rows {
                    for cell in cells(row) {
                        let _ = writer.write_field(defused(&cell).as_bytes());
                    }
                    // Ends the record.
                    let _ = writer.write_record(None::<&[u8]>);
                }
            }
            File::Jsonl(lines) => {
                for row in rows {
                    // Strings, numbers and nulls always can be written.
                    let _ = serde_json::to_writer(&mut *lines, row);
                    lines.push(b'\n');
                }
            }
        }
    }

    fn is_piece(&self) -> bool {
        match self {
            File::Csv(writer) => writer.get_ref().len() >= PIECE_BYTES,
            File::Jsonl(lines) => lines.len() >= PIECE_BYTES,
        }
    }

    fn take(&mut self) -> Vec<u8> {
        match self {
            File::Csv(writer) => {
                let written = std::mem::replace(&mut **writer, self::writer());
                written.into_inner().unwrap_or_default()
            }
            File::Jsonl(lines) => std::mem::take(lines),
        }
    }
}

fn writer() -> Writer<Vec<u8>> {
    WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::with_capacity(2 * PIECE_BYTES))
}

/// The head of the table; JSON lines have the same names.
const COLUMNS: [&str; 31] = [
    "aor",
    "number",
    "account",
    "domain",
    "binding",
    "contact",
    "received",
    "source_ip",
    "transport",
    "flow",
    "granted_s",
    "remaining_s",
    "late",
    "registered_at",
    "refreshed_at",
    "user_agent",
    "nat",
    "status",
    "reachable",
    "probes_missed",
    "round_trip_ms",
    "round_trip_last_ms",
    "in_call",
    "path",
    "instance",
    "reg_id",
    "q",
    "call_id",
    "cseq",
    "provided",
    "shard",
];

/// A row as its cells.
fn cells(row: &Row) -> [Cow<'_, str>; 31] {
    fn text(text: Option<&String>) -> Cow<'_, str> {
        text.map_or(Cow::Borrowed(""), |text| text.as_str().into())
    }
    fn shown<'a>(value: Option<impl ToString>) -> Cow<'a, str> {
        value.map_or(Cow::Borrowed(""), |value| value.to_string().into())
    }
    fn truth<'a>(value: bool) -> Cow<'a, str> {
        if value { "true".into() } else { "false".into() }
    }
    [
        row.aor.as_str().into(),
        row.number.as_str().into(),
        row.account.as_str().into(),
        row.domain.as_str().into(),
        text(row.binding.as_ref()),
        text(row.contact.as_ref()),
        text(row.received.as_ref()),
        text(row.source_ip.as_ref()),
        row.transport.unwrap_or_default().into(),
        text(row.flow.as_ref()),
        shown(row.granted_s),
        shown(row.remaining_s),
        truth(row.late),
        text(row.registered_at.as_ref()),
        text(row.refreshed_at.as_ref()),
        text(row.user_agent.as_ref()),
        truth(row.nat),
        row.status.into(),
        truth(row.reachable),
        shown(row.probes_missed),
        shown(row.round_trip_ms),
        shown(row.round_trip_last_ms),
        truth(row.in_call),
        text(row.path.as_ref()),
        text(row.instance.as_ref()),
        shown(row.reg_id),
        shown(row.q),
        text(row.call_id.as_ref()),
        shown(row.cseq),
        truth(row.provided),
        shown(Some(row.shard)),
    ]
}

/// A cell that no spreadsheet takes for a formula, whatever a phone has sent: one that begins as a
/// formula does begins with an apostrophe.
fn defused(cell: &str) -> Cow<'_, str> {
    match cell.as_bytes().first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n') => format!("'{cell}").into(),
        _ => cell.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ShardId;
    use proptest::prelude::*;

    fn row(user_agent: &str) -> Row {
        Row {
            user_agent: Some(user_agent.to_owned()),
            q: Some(0.7),
            ..Row::absent(ShardId(3), b"+15550100@example.com")
        }
    }

    fn written(format: Format, rows: &[Row]) -> Vec<u8> {
        let mut file = File::new(format);
        file.write(rows);
        file.take()
    }

    #[test]
    fn the_columns_are_the_members_of_a_row_in_their_order() {
        let line = written(Format::Jsonl, &[row("x")]);
        let line = String::from_utf8(line).unwrap();
        let mut at = 0;
        for column in COLUMNS {
            let member = format!("\"{column}\":");
            at += line[at..].find(&member).unwrap_or_else(|| panic!("{column} in {line}"));
        }
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value.as_object().unwrap().len(), COLUMNS.len());
        assert_eq!(cells(&row("x")).len(), COLUMNS.len());
    }

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(defused(bad), format!("'{bad}"), "{bad:?}");
        }
        for good in ["", "1=1", "Phone", "'x"] {
            assert_eq!(defused(good), good);
        }
        let text = String::from_utf8(written(Format::Csv, &[row("=cmd|' /C calc'!A0")])).unwrap();
        assert!(text.contains(",'+15550100,") && text.contains("'=cmd|' /C calc'!A0"), "{text}");
    }

    proptest! {
        #[test]
        fn whatever_phones_send_a_row_is_one_record_and_one_line(agent in any::<String>()) {
            let rows = [row(&agent), row("second")];
            let csv = written(Format::Csv, &rows);
            let records: Vec<_> =
                csv::Reader::from_reader(&csv[..]).into_records().map(Result::unwrap).collect();
            prop_assert_eq!(records.len(), 2);
            let column = COLUMNS.iter().position(|name| *name == "user_agent").unwrap();
            prop_assert_eq!(&records[0][column], &*defused(&agent));
            let lines = String::from_utf8(written(Format::Jsonl, &rows)).unwrap();
            let lines: Vec<serde_json::Value> = lines
                .split_terminator('\n')
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            prop_assert_eq!(lines.len(), 2);
            prop_assert_eq!(lines[0]["user_agent"].as_str(), Some(agent.as_str()));
        }
    }
}
