//! `aorta ctl trace`: what is dropped without an answer, line by line, until the time is over.

use axum::http::Method;
use serde_json::Value;

use super::{Desk, list, pause, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::TraceArgs;
use crate::cli::say::{note, print};

const PATH: &str = "/api/v1/trace";
/// How much of a message one line shows, characters; `--json` has more.
const SHOWN_MAX: usize = 200;

/// Shows it, message by message.
pub fn run(desk: &Desk, args: &TraceArgs) -> Result<(), Failure> {
    let seconds = args.seconds.to_string();
    let filters = [
        ("ip", args.source.as_deref()),
        ("account", args.account.as_deref()),
        ("reason", args.reason.as_deref()),
        ("seconds", Some(seconds.as_str())),
    ];
    let begun = desk.value(&Method::POST, &with_query(PATH, &filters))?;
    let at = format!("{PATH}/{}", super::escaped(text(&begun, "trace")));
    note(format_args!("what is dropped within {seconds} s; interrupt it to see no more"));
    let (mut seen, mut shown) = (0, 0);
    loop {
        let page = desk.value(&Method::GET, &at)?;
        for item in list(&page, "items") {
            shown += 1;
            match desk.json {
                true => print(item)?,
                false => print(line(item))?,
            }
        }
        seen += page.get("seen").and_then(Value::as_u64).unwrap_or_default();
        if page.get("remaining_s").is_none_or(Value::is_null) {
            break;
        }
        pause();
    }
    desk.text(&Method::DELETE, &at)?;
    note(format_args!("{seen} messages dropped, {shown} shown"));
    Ok(())
}

/// One message on a line of its own.
fn line(item: &Value) -> String {
    let bytes = item.get("bytes").and_then(Value::as_u64).unwrap_or_default();
    // It is escaped already, and no line of it is longer than the terminal's patience.
    let head: String = text(item, "head").chars().take(SHOWN_MAX).collect();
    let [at, transport, source, reason] =
        ["at", "transport", "source", "reason"].map(|name| one_line(text(item, name)));
    let plain = head.chars().all(|c| matches!(c, ' '..='~'));
    let head = if plain { head } else { one_line(&head) };
    format!("{at} {reason} {transport}:{source} {bytes} bytes: {head}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_plain_line_of_a_bounded_length() {
        let head = b"REGISTER sip:x\r\n\x1b[2J".escape_ascii().to_string();
        let mut item = serde_json::json!({
            "at": "T", "source": "192.0.2.7:5060", "transport": "udp", "reason": "scanner",
            "bytes": 20, "head": head,
        });
        let expected = "T scanner udp:192.0.2.7:5060 20 bytes: REGISTER sip:x\\r\\n\\x1b[2J";
        assert_eq!(line(&item), expected);
        item["head"] = "\u{1b}x".repeat(500).into();
        assert!(!line(&item).contains('\u{1b}') && line(&item).len() < 2000);
    }
}
