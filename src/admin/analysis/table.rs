//! Rows as CSV (RFC 4180) for spreadsheets. What phones call themselves stands in them, so nothing
//! in a cell is taken for a formula.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::super::problem::Problem;
use super::super::query::Query;

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
}

impl Format {
    /// Reads `format`.
    pub fn of(query: &Query) -> Result<Format, Problem> {
        match query.value("format") {
            None | Some("json") => Ok(Format::Json),
            Some("csv") => Ok(Format::Csv),
            Some(_) => Err(Problem::parameter("format", "format: expected json or csv")),
        }
    }
}

/// A file of a head and rows.
pub(super) fn csv<const N: usize>(
    name: &'static str,
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<Response, Problem> {
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no rows could be written");
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(head).map_err(failed)?;
    for row in rows {
        writer.write_record(row.map(harmless)).map_err(failed)?;
    }
    let wrote = writer.into_inner();
    let body = wrote
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no rows could be written"))?;
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    let file = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\""));
    let file = file.unwrap_or(HeaderValue::from_static("attachment"));
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, file)], body).into_response())
}

/// A cell that a spreadsheet would calculate is text behind an apostrophe.
fn harmless(cell: String) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula && cell.parse::<f64>().is_err() { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay_numbers() {
        assert_eq!(harmless("=HYPERLINK(\"x\")".to_owned()), "'=HYPERLINK(\"x\")");
        assert_eq!(harmless("@SUM(1)".to_owned()), "'@SUM(1)");
        assert_eq!(harmless("+4930123 x".to_owned()), "'+4930123 x");
        assert_eq!(harmless("-12.5".to_owned()), "-12.5");
        assert_eq!(harmless("Yealink".to_owned()), "Yealink");
    }

    #[test]
    fn the_form_is_json_unless_asked_otherwise() {
        let form = |text| Format::of(&Query::read(Some(text), &["format"]).unwrap());
        assert_eq!(form("").unwrap(), Format::Json);
        assert_eq!(form("format=csv").unwrap(), Format::Csv);
        assert!(form("format=xml").is_err());
    }
}
