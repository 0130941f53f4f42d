//! Text from the network where people read it, in a log or on a terminal: a line stays a line, and
//! nothing in it moves the cursor.

/// `text` with what is no plain text escaped: line ends, other control characters, marks that turn
/// the direction of writing, and the backslash that escapes.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\\' || c.is_control() || turns_text(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Line and paragraph separators, and the controls of Unicode's bidirectional algorithm.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_phone_sent_adds_no_line_and_moves_no_cursor() {
        assert_eq!(one_line("sip:alice@192.0.2.7 caf\u{e9}"), "sip:alice@192.0.2.7 caf\u{e9}");
        assert_eq!(one_line("a\r\nadmin: b\u{1b}[2J"), "a\\r\\nadmin: b\\u{1b}[2J");
        assert_eq!(one_line("\u{85}\u{202e}\u{2028}"), "\\u{85}\\u{202e}\\u{2028}");
        assert_eq!(one_line("a\\n"), "a\\\\n");
    }
}
