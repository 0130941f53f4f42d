//! The question before something is done to phones.

use std::io::{self, BufRead, IsTerminal};

use crate::cli::say::note;

/// Whether it may be done: always with `yes`, and where nobody sits at the input.
pub fn may_go_on(yes: bool, question: &str) -> bool {
    let stdin = io::stdin();
    yes || !stdin.is_terminal() || {
        note(format_args!("{question} [y/N]"));
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer).is_ok() && is_yes(&answer)
    }
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(is_yes("y\n") && is_yes("YES\r\n"));
        for no in ["", "\n", "n\n", "yeah\n", "yy\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
