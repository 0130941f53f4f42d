//! Where one message of a byte stream ends and the next begins (RFC 3261 18.3, RFC 5626 4.4.1).
//! What a message says is the parser's; this file only sees to it that a stream that comes in
//! drops is not read again with each of them.

use crate::limits::MESSAGE_BYTES_MAX;
use crate::sip::scan::Class;
use crate::sip::{Framing, HeaderTable, Parsed, parse};

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Nothing whole yet.
    More,
    /// So many bytes of line ends between messages, to be passed over.
    Blank(usize),
    /// The same, and the second CRLF of a keepalive is among them: it wants its pong.
    Ping(usize),
    /// A message of so many bytes.
    Message(usize),
    /// So many bytes of a message that is faulty, or longer than is taken. It may be refused; the
    /// stream cannot go on behind it, because nobody knows where it ends.
    Last(usize),
    /// No SIP at all.
    Garbage,
}

/// The longest first word that is waited for: a method, or `SIP` before a slash.
const FIRST_WORD_BYTES_MAX: usize = 64;

/// How far one stream has been looked through. It refers to the bytes from the front on; once a
/// frame is passed over, it begins anew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framer {
    /// Bytes in which no head ends.
    scanned: u32,
    /// Bytes without which another attempt is useless.
    needed: u32,
    /// The last thing passed over was one CRLF.
    half_ping: bool,
}

impl Framer {
    /// Looks at the front of a stream. Messages longer than `bytes_max` are not taken.
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        bytes_max: usize,
        table: &mut HeaderTable,
    ) -> Frame {
        match *bytes {
            [] | [b'\r'] => return Frame::More,
            [b'\n', ..] => return Frame::Blank(1),
            // "a double CRLF between messages is a ping; the server answers with one CRLF"
            [b'\r', b'\n', ..] => {
                self.half_ping = !self.half_ping;
                return if self.half_ping { Frame::Blank(2) } else { Frame::Ping(2) };
            }
            _ => self.half_ping = false,
        }
        if bytes.len() < self.needed as usize {
            return Frame::More;
        }
        if !may_begin_a_message(bytes) {
            return Frame::Garbage;
        }
        let within = &bytes[..bytes.len().min(bytes_max)];
        let Some(head) = end_of_head(within, self.scanned as usize) else {
            if bytes.len() >= bytes_max {
                return Frame::Last(bytes_max);
            }
            // The empty line may have begun with the last two bytes.
            self.scanned = bytes.len().saturating_sub(2) as u32;
            return Frame::More;
        };
        match parse(within, Framing::Stream, table) {
            Parsed::Complete { consumed, .. } => Frame::Message(consumed),
            Parsed::Partial { needed } if needed > bytes_max => Frame::Last(head),
            Parsed::Partial { needed } => {
                self.scanned = head.saturating_sub(3) as u32;
                self.needed = needed as u32;
                Frame::More
            }
            Parsed::Invalid { .. } => Frame::Last(within.len()),
        }
    }

    /// The frame at the front has been passed over.
    pub(super) fn pass(&mut self) {
        *self = Framer { half_ping: self.half_ping, ..Framer::default() };
    }
}

const _: () = assert!(MESSAGE_BYTES_MAX <= u32::MAX as usize);

/// Whether a request or response may begin so: a token and a space, or `SIP/`.
fn may_begin_a_message(bytes: &[u8]) -> bool {
    let front = &bytes[..bytes.len().min(FIRST_WORD_BYTES_MAX)];
    let word = Class::TOKEN.span(front);
    match front.get(word) {
        None => word < FIRST_WORD_BYTES_MAX,
        Some(b' ') => word > 0,
        Some(b'/') => front[..word].eq_ignore_ascii_case(b"SIP"),
        Some(_) => false,
    }
}

/// Where the first empty line ends, if there is one; nothing before `from` needs a look.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|at| match bytes[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &str = "OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/TCP b.test\r\n\
                           Content-Length: 4\r\n\r\nbody";

    /// Feeds `bytes` in pieces and returns what was passed over, in order.
    fn frames(bytes: &[u8], pieces: impl Iterator<Item = usize>, max: usize) -> Vec<Frame> {
        let mut table = HeaderTable::new();
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        let (mut at, mut have) = (0, 0usize);
        for piece in pieces.chain(std::iter::once(usize::MAX)) {
            have = bytes.len().min(have.saturating_add(piece));
            loop {
                let frame = framer.next(&bytes[at..have], max, &mut table);
                match frame {
                    Frame::More => break,
                    Frame::Blank(len) | Frame::Ping(len) | Frame::Message(len) => {
                        framer.pass();
                        at += len;
                        frames.push(frame);
                    }
                    Frame::Last(_) | Frame::Garbage => {
                        frames.push(frame);
                        return frames;
                    }
                }
            }
        }
        frames
    }

    fn whole(bytes: &[u8]) -> Vec<Frame> {
        frames(bytes, std::iter::empty(), MESSAGE_BYTES_MAX)
    }

    #[test]
    fn messages_follow_each_other() {
        let two = [MESSAGE, MESSAGE].concat();
        let one = Frame::Message(MESSAGE.len());
        assert_eq!(whole(two.as_bytes()), [one, one]);
    }

    #[test]
    fn a_double_crlf_is_a_ping_and_one_alone_is_not_rfc_5626_4_4_1() {
        assert_eq!(whole(b"\r\n\r\n"), [Frame::Blank(2), Frame::Ping(2)]);
        assert_eq!(whole(b"\r\n"), [Frame::Blank(2)]);
        let text = ["\r\n", MESSAGE, "\r\n", MESSAGE].concat();
        assert!(!whole(text.as_bytes()).iter().any(|frame| matches!(frame, Frame::Ping(_))));
    }

    #[test]
    fn a_message_without_content_length_is_the_last_one() {
        let text = "OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/TCP b.test\r\n\r\n";
        assert_eq!(whole(text.as_bytes()), [Frame::Last(text.len())]);
    }

    #[test]
    fn two_megabytes_are_refused_by_their_head_alone() {
        let head = MESSAGE.replace("Length: 4", "Length: 2000000");
        let head = head.strip_suffix("body").unwrap();
        assert_eq!(whole(head.as_bytes()), [Frame::Last(head.len())]);
        // Also where the operator takes less than the parser does.
        let head = MESSAGE.replace("Length: 4", "Length: 5000");
        let end = head.len() - 4;
        assert_eq!(frames(head.as_bytes(), std::iter::empty(), 4000), [Frame::Last(end)]);
    }

    #[test]
    fn a_head_that_does_not_end_is_refused_at_the_limit() {
        let text = ["OPTIONS sip:a.test SIP/2.0\r\n", &"A: b\r\n".repeat(20_000)].concat();
        assert_eq!(whole(text.as_bytes()), [Frame::Last(MESSAGE_BYTES_MAX)]);
    }

    #[test]
    fn what_is_no_sip_is_told_by_its_first_word() {
        let hello = b"\x16\x03\x01\x02\x00\x01";
        let long = "A".repeat(64);
        for bytes in [&hello[..], b"\0\0\0\0", b" SIP", b"HTTP/1.1 200 OK\r\n", long.as_bytes()] {
            assert_eq!(whole(bytes), [Frame::Garbage], "{bytes:?}");
        }
        assert_eq!(whole(b"SIP/2.0 2"), []);
        assert_eq!(whole(b"REG"), []);
    }

    #[test]
    fn a_stream_in_drops_is_parsed_no_more_than_it_has_to() {
        // Quadratic work on the longest message would take minutes.
        let body = "x".repeat(60_000);
        let text = MESSAGE.replace("Length: 4\r\n\r\nbody", "Length: 60000\r\n\r\n") + &body;
        let all = frames(text.as_bytes(), std::iter::repeat_n(1, text.len()), MESSAGE_BYTES_MAX);
        assert_eq!(all, [Frame::Message(text.len())]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn pieces_change_nothing(
            parts in proptest::collection::vec(0usize..5, 0..6),
            pieces in proptest::collection::vec(1usize..40, 0..60),
            noise in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let parts = parts.into_iter().map(|part| ["\r\n", "\n", "\r\n\r\n", MESSAGE,
                "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"][part]);
            let mut bytes = parts.collect::<String>().into_bytes();
            bytes.extend(noise);
            // How much of the rest is shown with a refusal may differ, that it is one may not.
            let same = |frames: Vec<Frame>| frames.into_iter().map(|frame| match frame {
                Frame::Last(_) | Frame::Garbage => Frame::Last(0),
                other => other,
            }).collect::<Vec<_>>();
            prop_assert_eq!(
                same(frames(&bytes, pieces.into_iter(), MESSAGE_BYTES_MAX)),
                same(whole(&bytes))
            );
        }
    }
}
