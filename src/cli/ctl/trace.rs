//! `aorta ctl trace`: what comes in and goes out, line by line, until the time is over; and, if
//! asked for, all of it as a capture file.

use std::fs;
use std::path::Path;

use axum::http::Method;
use serde_json::Value;

use super::{Desk, list, pause, text, with_query};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::{TraceArgs, TraceDirection, TraceOutcome};
use crate::cli::say::{note, print};

const PATH: &str = "/api/v1/traces";

/// Shows it, message by message.
pub fn run(desk: &Desk, args: &TraceArgs) -> Result<(), Failure> {
    let (seconds, messages) = (args.seconds.to_string(), args.messages.to_string());
    let filters = [
        ("ip", args.source.as_deref()),
        ("account", args.account.as_deref()),
        ("reason", args.reason.as_deref()),
        ("outcome", args.outcome.map(TraceOutcome::word)),
        ("direction", args.direction.map(TraceDirection::word)),
        ("keepalives", args.keepalives.then_some("true")),
        ("seconds", Some(seconds.as_str())),
        ("messages", Some(messages.as_str())),
    ];
    let begun = desk.value(&Method::POST, &with_query(PATH, &filters))?;
    let at = format!("{PATH}/{}", super::escaped(text(&begun, "trace")));
    let about = one_line(text(&begun, "about"));
    note(format_args!("{about}, for {seconds} s; interrupt it to see no more"));
    let (mut after, mut shown, mut lost) = ("0".to_owned(), 0, 0);
    let trace = loop {
        let page = desk.value(&Method::GET, &format!("{at}/messages?after={after}&limit=1000"))?;
        for item in list(&page, "items") {
            shown += 1;
            match desk.json {
                true => print(item)?,
                false => print(lines(item, args.full))?,
            }
        }
        lost += number(&page, "lost");
        after = text(&page, "next").to_owned();
        let Some(trace) = page.get("trace") else { return Err(super::not_ours()) };
        if page.get("more").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        if trace.get("remaining_s").is_none_or(Value::is_null) {
            break trace.clone();
        }
        pause();
    };
    if let Some(file) = &args.pcap {
        save(desk, &format!("{at}/pcap"), file)?;
    }
    // It has ended, so this lets go of what is kept.
    desk.text(&Method::DELETE, &at)?;
    let seen = number(&trace, "seen");
    match lost {
        0 => note(format_args!("{seen} messages seen, {shown} shown")),
        lost => note(format_args!("{seen} messages seen, {shown} shown, {lost} too many to keep")),
    }
    Ok(())
}

/// Writes what the trace has kept to a file that is not there yet.
fn save(desk: &Desk, path: &str, file: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("cannot write {}: {error}", file.display()));
    let capture = desk.bytes(&Method::GET, path)?;
    fs::write(file, &capture).map_err(failed)?;
    note(format_args!("{} bytes in {}", capture.len(), file.display()));
    Ok(())
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// One message on a line of its own, and all of it behind that where it is wanted.
fn lines(item: &Value, full: bool) -> String {
    let [at, transport, source, destination, summary, reason] =
        ["at", "transport", "source", "destination", "summary", "reason"]
            .map(|name| one_plain(text(item, name)));
    let arrow = if text(item, "direction") == "in" { "->" } else { "<-" };
    let (near, far) = match arrow {
        "->" => (&destination, &source),
        _ => (&source, &destination),
    };
    let became = match (text(item, "outcome"), item.get("status").and_then(Value::as_u64)) {
        ("answered", Some(status)) if reason.is_empty() => format!(" [{status}]"),
        ("answered", Some(status)) => format!(" [{status} {reason}]"),
        ("dropped", _) => format!(" [dropped: {reason}]"),
        _ => String::new(),
    };
    let mut line = format!(
        "{at} {transport} {far} {arrow} {near} {} B {summary}{became}",
        number(item, "bytes")
    );
    if full {
        for one in text(item, "message").lines() {
            line.push_str("\n    ");
            line.push_str(&one_plain(one));
        }
        if item.get("truncated").and_then(Value::as_bool) == Some(true) {
            line.push_str("\n    ... cut here");
        }
    }
    line
}

/// Text that is escaped already, unless whoever answers is no Aorta.
fn one_plain(text: &str) -> String {
    let plain = text.chars().all(|c| !c.is_control() && (c.is_ascii() || c.is_alphanumeric()));
    if plain { text.to_owned() } else { one_line(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_plain_line_with_both_ends_and_what_became_of_it() {
        let mut item = serde_json::json!({
            "at": "T", "source": "192.0.2.7:5060", "destination": "192.0.2.1:5060",
            "transport": "udp", "direction": "in", "outcome": "dropped", "reason": "scanner",
            "status": null, "bytes": 20, "summary": "REGISTER sip:x SIP/2.0\u{1b}[2J",
            "message": "REGISTER sip:x SIP/2.0\r\nTo: a\r\n", "truncated": true,
        });
        assert_eq!(
            lines(&item, false),
            "T udp 192.0.2.7:5060 -> 192.0.2.1:5060 20 B REGISTER sip:x SIP/2.0\\u{1b}[2J \
             [dropped: scanner]"
        );
        assert!(lines(&item, true).ends_with("\n    To: a\n    ... cut here"));
        item["outcome"] = "answered".into();
        item["status"] = 401.into();
        item["reason"] = Value::Null;
        assert!(lines(&item, false).ends_with(" [401]"));
        item["direction"] = "out".into();
        item["outcome"] = Value::Null;
        assert!(lines(&item, false).contains("192.0.2.1:5060 <- 192.0.2.7:5060"));
    }
}
