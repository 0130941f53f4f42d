//! Rows in columns. What is in them came from the network, so it is made plain first.

use crate::admin::one_line;

/// Longest text of a column, characters; the rest is cut.
const COLUMN_MAX: usize = 48;
const GAP: &str = "  ";

/// The lines of a table. The last column is as wide as it is.
pub fn lines<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> Vec<String> {
    let mut plain: Vec<[String; COLUMNS]> = std::iter::once(head.map(str::to_owned))
        .chain(rows.iter().map(|row| row.each_ref().map(|text| one_line(text))))
        .collect();
    for row in &mut plain {
        let but_the_last = COLUMNS.saturating_sub(1);
        row[..but_the_last].iter_mut().for_each(|text| *text = cut(text));
    }
    let mut widths = [0; COLUMNS];
    for row in &plain {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text.chars().count().max(*width);
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    plain.iter().map(line).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= COLUMN_MAX {
        return text.to_owned();
    }
    text.chars().take(COLUMN_MAX - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text_and_plain() {
        let long = "y".repeat(COLUMN_MAX + 1);
        let rows = [
            ["a".to_owned(), "x\u{1b}[1m".to_owned()],
            ["\u{fc}ber".to_owned(), long.clone()],
            [long.clone(), "z".to_owned()],
        ];
        let pad = |text: &str| format!("{text:COLUMN_MAX$}  ");
        let expected = [
            pad("A") + "B",
            pad("a") + "x\\u{1b}[1m",
            pad("\u{fc}ber") + &long,
            pad(&format!("{}...", "y".repeat(COLUMN_MAX - 3))) + "z",
        ];
        assert_eq!(lines(["A", "B"], &rows), expected);
    }
}
