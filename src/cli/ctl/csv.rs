//! Rows as comma-separated values (RFC 4180), for spreadsheets. What is in them came from the
//! network, so what a spreadsheet would take for a formula is made text.

use serde_json::Value;

use super::pages::Pages;
use crate::cli::Failure;
use crate::cli::say::print;

/// Shows the pages, a line for each item with these of its members.
pub fn show(mut pages: Pages<'_>, columns: &[&str]) -> Result<(), Failure> {
    line(&columns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
    while let Some(items) = pages.next_page()? {
        for item in &items {
            let cells = columns.iter().map(|name| match item.get(name) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            });
            line(&cells.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// One line.
pub fn line(cells: &[String]) -> Result<(), Failure> {
    print(cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(","))
}

fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula && cell.parse::<f64>().is_err() { "'" } else { "" };
    if guard.is_empty() && !cell.contains(['"', ',', '\n', '\r']) {
        return cell.to_owned();
    }
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_a_cell_and_text_stays_text() {
        assert_eq!(quoted("u1@example.com"), "u1@example.com");
        assert_eq!(quoted("a,b \"c\"\n"), "\"a,b \"\"c\"\"\n\"");
        assert_eq!(quoted("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
        assert_eq!(quoted("-5.25"), "-5.25");
        assert_eq!(quoted("+15550100"), "+15550100");
        assert_eq!(quoted("@x"), "\"'@x\"");
        assert_eq!(quoted(""), "");
    }
}
