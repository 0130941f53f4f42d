//! A message as it is read: as JSON, and its bytes as text that is safe to show.

use serde::Serialize;

use super::super::moment::rfc3339_us;
use super::super::plain::one_line;
use super::desk::Kept;
use crate::shard::trace::{Direction, Fate};
use crate::sip::header::name::HeaderName;
use crate::sip::{Framing, HeaderTable, Parsed, parse};

/// A message.
#[derive(Serialize)]
pub(super) struct Row {
    /// Its place in the trace, from 1 on.
    number: u64,
    at: String,
    /// `in` or `out`.
    direction: &'static str,
    source: String,
    destination: String,
    transport: &'static str,
    /// What became of it, if it came in: `answered`, `dropped`, or `taken` where it answers
    /// something itself.
    outcome: Option<&'static str>,
    /// By which status it was answered.
    status: Option<u16>,
    /// Why it was dropped or refused, as in the metrics.
    reason: Option<&'static str>,
    /// All of its bytes.
    bytes: usize,
    /// Only the first of them stand in `message`.
    truncated: bool,
    /// Its first line.
    summary: String,
    call_id: Option<String>,
    /// Credentials too, as they were on the wire. Whatever would move a cursor is escaped; line
    /// ends stay.
    message: String,
    shard: u8,
}

impl Row {
    pub fn new(number: u64, kept: &Kept) -> Row {
        let traced = &kept.traced;
        let (source, destination) = kept.ends();
        let (outcome, status, reason) = outcome(traced.fate);
        let line = traced.bytes.split(|&byte| byte == b'\r' || byte == b'\n').next();
        Row {
            number,
            at: rfc3339_us(traced.at, traced.at_us),
            direction: match traced.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            source: source.to_string(),
            destination: destination.to_string(),
            transport: traced.transport.word(),
            outcome,
            status,
            reason,
            bytes: traced.len,
            truncated: kept.is_cut(),
            summary: shown(line.unwrap_or_default()),
            call_id: call_id(&traced.bytes).map(|id| shown(&id)),
            message: shown(&traced.bytes),
            shard: kept.shard,
        }
    }
}

/// What became of a message, in words of the metrics.
pub(super) fn outcome(
    fate: Option<Fate>,
) -> (Option<&'static str>, Option<u16>, Option<&'static str>) {
    match fate {
        None => (None, None, None),
        Some(Fate::Taken) => (Some("taken"), None, None),
        Some(Fate::Dropped(reason)) => (Some("dropped"), None, Some(reason.name())),
        Some(Fate::Answered(status, reason)) => {
            let status = (status != 0).then_some(status);
            (Some("answered"), status, reason.map(|reason| reason.name()))
        }
    }
}

/// Bytes as text: line ends and tabs stay, whatever else is no plain text is escaped.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for piece in chunk.valid().split_inclusive(['\r', '\n', '\t']) {
            let (line, end) = match piece.as_bytes().last() {
                Some(b'\r' | b'\n' | b'\t') => piece.split_at(piece.len() - 1),
                _ => (piece, ""),
            };
            text.push_str(&one_line(line));
            text.push_str(end);
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The Call-ID of a message, if it has one that can be read.
pub(super) fn call_id(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut table = HeaderTable::new();
    let message = match parse(bytes, Framing::Datagram, &mut table) {
        Parsed::Complete { message, .. } | Parsed::Invalid { message: Some(message), .. } => {
            message
        }
        _ => return None,
    };
    message.first(HeaderName::CallId).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_text_whose_lines_stay_and_in_which_nothing_moves_the_cursor() {
        assert_eq!(shown(b"A: \xc3\xa9\r\n\tb\r\n"), "A: \u{e9}\r\n\tb\r\n");
        assert_eq!(shown(b"\x1b[2J\xff\\\0"), "\\u{1b}[2J\\xff\\\\\\u{0}");
        assert_eq!(shown("\u{202e}".as_bytes()), "\\u{202e}");
        assert_eq!(shown(b""), "");
    }

    #[test]
    fn a_call_id_is_read_where_there_is_one() {
        let text = b"OPTIONS sip:a@b SIP/2.0\r\ni: x1@y\r\nCSeq: 1 OPTIONS\r\n\r\n";
        assert_eq!(call_id(text).as_deref(), Some(&b"x1@y"[..]));
        assert_eq!(call_id(b"HELLO"), None);
    }
}
