//! Divides a byte stream into messages (RFC 3261 18.3) and keepalives (RFC 5626 3.5.1). Remembers
//! how far it has looked, so that a head that comes byte by byte costs no more than one that comes
//! at once. Knows lengths, nothing else: what a message says is read by [`parse`].

use crate::limits::MESSAGE_BYTES_MAX;
use crate::sip::parse::{Framing, Parsed, content_length, parse};
use crate::sip::scan::Class;
use crate::sip::table::HeaderTable;

/// The longest first word that is waited for: a method, or `SIP` before a slash.
const FIRST_WORD_BYTES_MAX: usize = 64;

/// What stands at the front of a stream's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing whole yet. Another look is useless before there are that many bytes.
    Partial {
        /// Bytes from the front of what was looked at, never more than the limit.
        needed: usize,
    },
    /// A double CRLF, to be answered with a single one (RFC 5626 3.5.1).
    Ping {
        /// Bytes it takes: 4.
        len: usize,
    },
    /// A line end that is no ping: somebody's pong, or one that RFC 3261 7.5 wants ignored.
    LineEnd {
        /// Bytes it takes: 1 or 2.
        len: usize,
    },
    /// A whole message, well-formed or not: what follows it can be read all the same.
    Message {
        /// Bytes it takes.
        len: usize,
    },
    /// A message behind which nothing can be read: refuse it, then close.
    Last {
        /// Bytes that are there of it and are worth parsing: its head, or what was read of that;
        /// none of what is not SIP from its first word on.
        len: usize,
        /// Why.
        reason: Broken,
    },
}

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Content-Length is missing, malformed, or there twice and different: where the next message
    /// begins cannot be known (RFC 3261 18.3). 400, as [`parse`] says of the head.
    NoLength,
    /// The head, or head and body together, are longer than the limit: 513.
    TooLong,
    /// Not SIP: nothing is answered.
    NotSip,
}

/// Looks for the end of the message at the front of a growing run of bytes.
///
/// The owner calls [`Scanner::look`] with all bytes that are there, takes away what a frame says
/// it takes (the scanner then starts anew), and adds to the end. Bytes looked at may not change.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    bytes_max: usize,
    /// The first word is one that a message begins with.
    begun: bool,
    /// No head ends in front of this.
    looked: usize,
    /// Length of the message, once its head is there.
    whole: Option<usize>,
}

impl Scanner {
    /// Takes messages of up to `bytes_max` bytes, at most [`MESSAGE_BYTES_MAX`].
    #[must_use]
    pub const fn new(bytes_max: usize) -> Scanner {
        let bytes_max = if bytes_max < MESSAGE_BYTES_MAX { bytes_max } else { MESSAGE_BYTES_MAX };
        Scanner { bytes_max, begun: false, looked: 0, whole: None }
    }

    /// What stands at the front of `bytes`. `table` is room for a parse that nobody sees.
    pub fn look(&mut self, bytes: &[u8], table: &mut HeaderTable) -> Frame {
        let frame = self.front(bytes, table);
        if !matches!(frame, Frame::Partial { .. }) {
            *self = Scanner::new(self.bytes_max);
        }
        frame
    }

    fn front(&mut self, bytes: &[u8], table: &mut HeaderTable) -> Frame {
        if let Some(frame) = line_end_in_front(bytes) {
            return frame;
        }
        if let Some(len) = self.whole {
            return if len <= bytes.len() {
                Frame::Message { len }
            } else {
                Frame::Partial { needed: len }
            };
        }
        let within = &bytes[..bytes.len().min(self.bytes_max)];
        if !self.begun {
            match begins_a_message(within) {
                Some(false) => return Frame::Last { len: 0, reason: Broken::NotSip },
                begun => self.begun = begun.is_some(),
            }
        }
        let Some(head) = self.head(within) else {
            return if bytes.len() < self.bytes_max {
                Frame::Partial { needed: bytes.len() + 1 }
            } else {
                Frame::Last { len: within.len(), reason: Broken::TooLong }
            };
        };
        let message = match parse(&bytes[..head], Framing::Datagram, table) {
            Parsed::Complete { message, .. } => message,
            Parsed::Invalid { message: Some(message), .. } => message,
            _ => return Frame::Last { len: head, reason: Broken::NotSip },
        };
        let Ok(Some(body)) = content_length(&message) else {
            return Frame::Last { len: head, reason: Broken::NoLength };
        };
        let len = head.saturating_add(body);
        if len > self.bytes_max {
            return Frame::Last { len: head, reason: Broken::TooLong };
        }
        self.whole = Some(len);
        if len <= bytes.len() { Frame::Message { len } } else { Frame::Partial { needed: len } }
    }

    /// Length of the head, its empty line included, if that is there. A line ends at each LF (see
    /// [`crate::sip::scan::line`]), so the head ends at the first LF behind which another line end
    /// stands.
    fn head(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let found = memchr::memchr(b'\n', bytes.get(self.looked..)?);
            let Some(found) = found else {
                self.looked = bytes.len();
                return None;
            };
            let next = self.looked + found + 1;
            match bytes[next..] {
                [b'\n', ..] => return Some(next + 1),
                [b'\r', b'\n', ..] => return Some(next + 2),
                // What follows decides whether this LF ends the head.
                [] | [b'\r'] => {
                    self.looked = next - 1;
                    return None;
                }
                _ => self.looked = next,
            }
        }
    }
}

/// Whether a start line begins so: a token before a space, or `SIP/` (RFC 3261 7.1, 7.2). What
/// belongs to another protocol need not be waited for. `None` while that cannot be told.
fn begins_a_message(bytes: &[u8]) -> Option<bool> {
    let front = &bytes[..bytes.len().min(FIRST_WORD_BYTES_MAX)];
    let word = Class::TOKEN.span(front);
    match front.get(word) {
        None if word < FIRST_WORD_BYTES_MAX => None,
        Some(b' ') => Some(word > 0),
        Some(b'/') => Some(front[..word].eq_ignore_ascii_case(b"SIP")),
        _ => Some(false),
    }
}

/// A keepalive, or a line end to be ignored. A double CRLF is a ping wherever it stands between
/// messages, so a single one is told apart only once the byte behind it is there.
fn line_end_in_front(bytes: &[u8]) -> Option<Frame> {
    match bytes {
        [] => Some(Frame::Partial { needed: 1 }),
        [b'\r', b'\n', b'\r', b'\n', ..] => Some(Frame::Ping { len: 4 }),
        [b'\r', b'\n', b'\r'] => Some(Frame::Partial { needed: 4 }),
        [b'\r', b'\n'] => Some(Frame::Partial { needed: 3 }),
        [b'\r', b'\n', ..] => Some(Frame::LineEnd { len: 2 }),
        [b'\n', ..] => Some(Frame::LineEnd { len: 1 }),
        [b'\r'] => Some(Frame::Partial { needed: 2 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nl: 3\r\n\r\nabc";

    fn look(bytes: &[u8]) -> Frame {
        Scanner::new(MESSAGE_BYTES_MAX).look(bytes, &mut HeaderTable::new())
    }

    /// All frames of `bytes`, which come in pieces that end at `cuts`.
    fn frames(bytes: &[u8], cuts: &[usize], bytes_max: usize) -> Vec<Frame> {
        let (mut scanner, mut table) = (Scanner::new(bytes_max), HeaderTable::new());
        let (mut found, mut at) = (Vec::new(), 0);
        for &end in cuts.iter().chain([&bytes.len()]) {
            loop {
                match scanner.look(&bytes[at..end.max(at)], &mut table) {
                    Frame::Partial { needed } => {
                        assert!(needed > end.max(at) - at, "a look that could be had already");
                        assert!(needed <= bytes_max, "more than is taken");
                        break;
                    }
                    frame => {
                        found.push(frame);
                        match frame {
                            Frame::Ping { len }
                            | Frame::LineEnd { len }
                            | Frame::Message { len } => at += len,
                            _ => return found,
                        }
                    }
                }
            }
        }
        found
    }

    #[test]
    fn rfc3261_18_3_messages_on_a_stream_are_divided_by_content_length() {
        let stream = [OPTIONS, OPTIONS].concat();
        let one = Frame::Message { len: OPTIONS.len() };
        assert_eq!(frames(&stream, &[], MESSAGE_BYTES_MAX), [one, one]);
    }

    #[test]
    fn every_division_of_a_stream_gives_the_same_frames() {
        let nul = b"A sip:h SIP/2.0\nX: \0\xff\nContent-Length: 2\n\n\0\n";
        let stream =
            [b"\r\n\r\n", OPTIONS, b"\r\n", nul, b"\n", b"\r\n\r\n", OPTIONS, b"\r\n\r\n"].concat();
        let whole = frames(&stream, &[], MESSAGE_BYTES_MAX);
        assert_eq!(
            whole,
            [
                Frame::Ping { len: 4 },
                Frame::Message { len: OPTIONS.len() },
                Frame::LineEnd { len: 2 },
                Frame::Message { len: nul.len() },
                Frame::LineEnd { len: 1 },
                Frame::Ping { len: 4 },
                Frame::Message { len: OPTIONS.len() },
                Frame::Ping { len: 4 },
            ]
        );
        for first in 0..=stream.len() {
            assert_eq!(frames(&stream, &[first], MESSAGE_BYTES_MAX), whole, "cut at {first}");
            let second = first + (stream.len() - first) / 2;
            assert_eq!(frames(&stream, &[first, second], MESSAGE_BYTES_MAX), whole);
        }
        let each: Vec<_> = (0..stream.len()).collect();
        assert_eq!(frames(&stream, &each, MESSAGE_BYTES_MAX), whole, "byte by byte");
    }

    #[test]
    fn partial_says_how_many_bytes_the_message_takes_once_its_head_is_there() {
        let head = OPTIONS.len() - 3;
        assert_eq!(look(&OPTIONS[..head]), Frame::Partial { needed: OPTIONS.len() });
        assert_eq!(look(&OPTIONS[..head - 1]), Frame::Partial { needed: head });
        assert_eq!(look(b""), Frame::Partial { needed: 1 });
    }

    #[test]
    fn rfc5626_3_5_1_a_double_crlf_is_a_ping_and_a_single_one_is_not() {
        assert_eq!(look(b"\r\n\r\n"), Frame::Ping { len: 4 });
        assert_eq!(look(b"\r\nA"), Frame::LineEnd { len: 2 });
        assert_eq!(look(b"\r\n"), Frame::Partial { needed: 3 });
        assert_eq!(look(b"\r\n\rA"), Frame::LineEnd { len: 2 });
    }

    #[test]
    fn without_one_content_length_the_stream_ends_there_and_can_be_refused() {
        for lengths in ["", "l: x\r\n", "l: 1\r\nl: 2\r\n", "l: -1\r\n"] {
            let head = format!("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n{lengths}\r\n");
            let text = format!("{head}xx");
            let frame = look(text.as_bytes());
            assert_eq!(frame, Frame::Last { len: head.len(), reason: Broken::NoLength });
            let mut table = HeaderTable::new();
            let parsed = parse(head.as_bytes(), Framing::Stream, &mut table);
            let Parsed::Invalid { error, message: Some(message) } = parsed else {
                panic!("{lengths}: {parsed:?}")
            };
            assert_eq!(error.status(), 400);
            assert!(message.is_answerable());
        }
    }

    #[test]
    fn what_repeats_the_same_length_is_one_length() {
        let text = b"A sip:h SIP/2.0\r\nl: 0\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(look(text), Frame::Message { len: text.len() });
    }

    #[test]
    fn a_malformed_message_of_known_length_does_not_end_the_stream() {
        let text = b"A sip:h SIP/2.0\r\n: no name\r\nl: 1\r\n\r\n.";
        assert_eq!(look(text), Frame::Message { len: text.len() });
        let text = b"A sip:h SIP/3.0\r\nl: 0\r\n\r\n";
        assert_eq!(look(text), Frame::Message { len: text.len() });
    }

    #[test]
    fn a_head_that_does_not_end_and_a_body_that_does_not_fit_are_too_long() {
        let endless = [b"OPTIONS sip:h SIP/2.0\r\n", &b"X: y\r\n".repeat(400_000)[..]].concat();
        assert!(endless.len() > 2 << 20);
        let last = |len| Frame::Last { len, reason: Broken::TooLong };
        assert_eq!(look(&endless), last(MESSAGE_BYTES_MAX));
        let head = b"A sip:h SIP/2.0\r\nl: 2097152\r\n\r\n";
        assert_eq!(look(head), last(head.len()));
        let head = b"A sip:h SIP/2.0\r\nl: 99999999999999999999\r\n\r\n";
        assert_eq!(look(head), last(head.len()));
        let small =
            Scanner::new(40).look(b"A sip:h SIP/2.0\r\nl: 9\r\n\r\n", &mut HeaderTable::new());
        assert_eq!(small, Frame::Partial { needed: 34 });
        let small =
            Scanner::new(33).look(b"A sip:h SIP/2.0\r\nl: 9\r\n\r\n", &mut HeaderTable::new());
        assert_eq!(small, last(25));
    }

    #[test]
    fn what_is_not_sip_is_told_from_what_can_be_refused() {
        let nothing = Frame::Last { len: 0, reason: Broken::NotSip };
        for other in [&b"GET\r\n\r\n"[..], b"\x16\x03\x01\x02", b" A b", b"RTSP/1.0 200 OK", b"\0"]
        {
            assert_eq!(look(other), nothing, "{other:?}");
        }
        assert_eq!(look(b"sip/2"), Frame::Partial { needed: 6 });
        assert_eq!(look(&[b'A'; 63]), Frame::Partial { needed: 64 });
        assert_eq!(look(&[b'A'; 64]), nothing);
        assert_eq!(
            look(b"GET / HTTP/1.1\r\n\r\n"),
            Frame::Last { len: 18, reason: Broken::NoLength }
        );
    }

    /// Each byte is looked at once: a head of 60 kB that comes byte by byte takes no longer than
    /// its length allows.
    #[test]
    fn a_head_that_comes_byte_by_byte_is_not_looked_at_again() {
        let text =
            [b"A sip:h SIP/2.0\r\n", &b"X:\r\n"[..], &[b'y'; 60_000], b"\r\nl: 0\r\n\r\n"].concat();
        let (mut scanner, mut table) = (Scanner::new(MESSAGE_BYTES_MAX), HeaderTable::new());
        for end in 1..text.len() {
            assert_eq!(scanner.look(&text[..end], &mut table), Frame::Partial { needed: end + 1 });
            assert!(scanner.looked + 2 >= end, "{end} looks again from {}", scanner.looked);
        }
        assert_eq!(scanner.look(&text, &mut table), Frame::Message { len: text.len() });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Any bytes, divided anyhow: the same frames, and no panic.
        #[test]
        fn any_bytes_divided_anyhow_give_the_same_frames(
            text in prop_oneof![
                "((\r\n|\n|\r)|A sip:h SIP/2.0|X: y|l: [0-3]|Via: h|[ab\0]){0,24}",
                prop::collection::vec(any::<u8>(), 0..60)
                    .prop_map(|b| b.into_iter().map(char::from).collect()),
            ],
            mut cuts in prop::collection::vec(0usize..120, 0..6),
        ) {
            let bytes = text.as_bytes();
            cuts.retain(|&cut| cut <= bytes.len());
            cuts.sort_unstable();
            prop_assert_eq!(frames(bytes, &cuts, 64), frames(bytes, &[], 64));
        }
    }
}
