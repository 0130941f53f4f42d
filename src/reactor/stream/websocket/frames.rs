//! WebSocket frames (RFC 6455 5): a client's are read, unmasked and put together, the server's are
//! written.

/// Longest payload of a control frame (RFC 6455 5.5).
const CONTROL_BYTES_MAX: usize = 125;
/// Bytes of the longest head: two, the 64-bit length, the mask.
const HEAD_BYTES_MAX: usize = 14;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Codes of a close frame (RFC 6455 7.4.1).
pub(in super::super) mod code {
    /// All is well.
    pub(in super::super::super) const NORMAL: u16 = 1000;
    /// The server stops.
    pub(in super::super::super) const GOING_AWAY: u16 = 1001;
    /// A frame that must not be.
    pub(in super::super::super) const PROTOCOL: u16 = 1002;
    /// Text that is no UTF-8.
    pub(in super::super::super) const NOT_UTF8: u16 = 1007;
    /// The client broke a rule of the server's.
    pub(in super::super::super) const POLICY: u16 = 1008;
    /// Longer than is taken.
    pub(in super::super::super) const TOO_BIG: u16 = 1009;
}

/// What stands at the front of the stream; it takes the bytes that come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Frame {
    /// No whole frame yet.
    More,
    /// A frame that says nothing by itself: a fragment, a pong.
    Silent,
    /// A whole message in one frame: where its payload lies, from the front, unmasked.
    Message {
        /// Where it begins.
        at: usize,
        /// Its length, bytes.
        len: usize,
    },
    /// The last fragment of a message, now in [`Reader::message`].
    Assembled,
    /// A ping, with its payload from the front, unmasked.
    Ping {
        /// Where it begins.
        at: usize,
        /// Its length, bytes.
        len: usize,
    },
    /// The client closes, with this code if it gave one.
    Close(Option<u16>),
}

/// What is kept between frames.
#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    /// Fragments so far.
    message: Vec<u8>,
    /// A message is under way; whether it is text.
    open: Option<bool>,
}

impl Reader {
    /// Reads the frame at the front of `bytes` and returns it with the bytes it took. A message of
    /// more than `bytes_max` is refused.
    ///
    /// # Errors
    /// The code to close with.
    pub(in super::super) fn next(
        &mut self,
        bytes: &mut [u8],
        bytes_max: usize,
    ) -> Result<(Frame, usize), u16> {
        let [first, second, rest @ ..] = &*bytes else { return Ok((Frame::More, 0)) };
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        // No extension was agreed on, and what clients send is masked (RFC 6455 5.1, 5.2).
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(code::PROTOCOL);
        }
        let short = usize::from(second & 0x7f);
        let control = opcode >= CLOSE;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        if !known || (control && (!last || short > CONTROL_BYTES_MAX)) {
            return Err(code::PROTOCOL);
        }
        // A fragment goes on with an open message, and nothing else may begin meanwhile (5.4).
        if !control && self.open.is_some() != (opcode == CONTINUATION) {
            return Err(code::PROTOCOL);
        }
        let (length, extended): (u64, usize) = match (short, rest) {
            (126, [high, low, ..]) => (u64::from(u16::from_be_bytes([*high, *low])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8)
            }
            (126 | 127, _) => return Ok((Frame::More, 0)),
            (short, _) => (short as u64, 0),
        };
        // "the minimal number of bytes MUST be used to encode the length"
        if (extended == 2 && length < 126) || (extended == 8 && length <= u64::from(u16::MAX)) {
            return Err(code::PROTOCOL);
        }
        let assembled = if control { 0 } else { self.message.len() };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length.saturating_add(assembled) > bytes_max.max(CONTROL_BYTES_MAX) {
            return Err(code::TOO_BIG);
        }
        let mask_at = 2 + extended;
        let at = mask_at + 4;
        let Some(payload_end) = at.checked_add(length).filter(|&end| end <= bytes.len()) else {
            return Ok((Frame::More, 0));
        };
        debug_assert!(at <= HEAD_BYTES_MAX);
        let mask: [u8; 4] = bytes[mask_at..at].try_into().expect("four bytes");
        let payload = &mut bytes[at..payload_end];
        unmask(payload, mask);
        let frame = match opcode {
            PONG => Frame::Silent,
            PING => Frame::Ping { at, len: length },
            CLOSE => Frame::Close(close_code(payload)?),
            _ => self.data(opcode, last, payload, at)?,
        };
        Ok((frame, payload_end))
    }

    fn data(&mut self, opcode: u8, last: bool, payload: &[u8], at: usize) -> Result<Frame, u16> {
        let text = self.open.unwrap_or(opcode == TEXT);
        if last && opcode != CONTINUATION {
            check_text(text, payload)?;
            return Ok(Frame::Message { at, len: payload.len() });
        }
        self.message.extend_from_slice(payload);
        self.open = (!last).then_some(text);
        if !last {
            return Ok(Frame::Silent);
        }
        check_text(text, &self.message)?;
        Ok(Frame::Assembled)
    }

    /// The message of [`Frame::Assembled`].
    pub(in super::super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// The message has been dealt with.
    pub(in super::super) fn clear(&mut self) {
        self.message = Vec::new();
    }

    /// Whether a message has begun and not ended.
    pub(in super::super) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

/// RFC 6455 8.1
fn check_text(text: bool, payload: &[u8]) -> Result<(), u16> {
    if text && std::str::from_utf8(payload).is_err() { Err(code::NOT_UTF8) } else { Ok(()) }
}

/// RFC 6455 5.5.1 and 7.4: nothing, or a code that may be sent and a reason in UTF-8.
fn close_code(payload: &[u8]) -> Result<Option<u16>, u16> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(code::PROTOCOL) };
    };
    let given = u16::from_be_bytes([*high, *low]);
    if !matches!(given, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(code::PROTOCOL);
    }
    check_text(true, reason)?;
    Ok(Some(given))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask, mask].concat().try_into().expect("eight bytes"));
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes((&*chunk).try_into().expect("eight bytes")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes a SIP message as one frame: text where it is text, which most clients expect (RFC 7118
/// 5 allows both).
pub(in super::super) fn write_message(message: &[u8], out: &mut Vec<u8>) {
    let opcode = if std::str::from_utf8(message).is_ok() { TEXT } else { BINARY };
    write(opcode, message, out);
}

/// Writes the answer to a ping.
pub(in super::super) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write(PONG, payload, out);
}

/// A ping with nothing in it.
pub(in super::super) const PING_FRAME: [u8; 2] = [0x80 | PING, 0];

/// Writes a close frame.
pub(in super::super) fn write_close(code: u16, out: &mut Vec<u8>) {
    write(CLOSE, &code.to_be_bytes(), out);
}

/// One frame, unmasked as a server's are (RFC 6455 5.1).
fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..126), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as a client sends it.
    fn client(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write(first & 0x0f, payload, &mut frame);
        frame[0] = first;
        frame[1] |= 0x80;
        let at = frame.len() - payload.len();
        frame.splice(at..at, MASK);
        unmask(&mut frame[at + 4..], MASK);
        frame
    }

    fn read(bytes: &[u8]) -> Result<(Frame, usize), u16> {
        Reader::default().next(&mut bytes.to_vec(), 65_535)
    }

    #[test]
    fn the_masked_hello_of_rfc_6455_5_7_is_read() {
        let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let read = Reader::default().next(&mut bytes, 100).unwrap();
        assert_eq!(read, (Frame::Message { at: 6, len: 5 }, 11));
        assert_eq!(&bytes[6..], b"Hello");
    }

    #[test]
    fn fragments_are_put_together_and_a_ping_may_come_between_rfc_6455_5_4() {
        let mut reader = Reader::default();
        let mut take = |mut bytes: Vec<u8>| reader.next(&mut bytes, 100).map(|read| read.0);
        assert_eq!(take(client(TEXT, b"Hel")), Ok(Frame::Silent));
        assert_eq!(take(client(0x80 | PING, b"are you there")), Ok(Frame::Ping { at: 6, len: 13 }));
        assert_eq!(take(client(CONTINUATION, b"l")), Ok(Frame::Silent));
        assert_eq!(take(client(0x80 | TEXT, b"new")), Err(code::PROTOCOL));
        assert_eq!(take(client(0x80, b"o")), Ok(Frame::Assembled));
        assert_eq!(reader.message(), b"Hello");
        assert!(!reader.is_open());
    }

    #[test]
    fn each_broken_rule_has_its_close_code() {
        let unmasked = [0x81, 0x01, b'x'];
        assert_eq!(read(&unmasked), Err(code::PROTOCOL));
        for (frame, expected) in [
            (client(0xc1, b"x"), code::PROTOCOL),
            (client(0x83, b"x"), code::PROTOCOL),
            (client(0x80, b"x"), code::PROTOCOL),
            (client(PING, b"x"), code::PROTOCOL),
            (client(0x80 | PING, &[0; 126]), code::PROTOCOL),
            (client(0x80 | TEXT, b"\xff"), code::NOT_UTF8),
            (client(0x80 | TEXT, &[b'a'; 65_536]), code::TOO_BIG),
            (client(0x80 | CLOSE, b"\x03"), code::PROTOCOL),
            (client(0x80 | CLOSE, &1005u16.to_be_bytes()), code::PROTOCOL),
            (vec![0x81, 0xfe, 0, 5, 0, 0, 0, 0], code::PROTOCOL),
            (vec![0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0], code::TOO_BIG),
        ] {
            assert_eq!(read(&frame), Err(expected), "{:x?}", &frame[..frame.len().min(16)]);
        }
        assert!(read(&client(0x80 | BINARY, b"\xff")).is_ok());
    }

    #[test]
    fn fragments_together_are_no_longer_than_one_message() {
        let mut reader = Reader::default();
        assert!(reader.next(&mut client(BINARY, &[0; 3000]), 4000).is_ok());
        assert_eq!(reader.next(&mut client(CONTINUATION, &[0; 1001]), 4000), Err(code::TOO_BIG));
    }

    #[test]
    fn a_close_is_read_with_and_without_a_code() {
        let close = |payload: &[u8]| read(&client(0x80 | CLOSE, payload)).unwrap().0;
        assert_eq!(close(b""), Frame::Close(None));
        assert_eq!(close(b"\x03\xe8bye"), Frame::Close(Some(1000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_a_client_sends_is_read_and_half_of_it_is_waited_for(
            payload in proptest::collection::vec(any::<u8>(), 0..400),
            cut in any::<prop::sample::Index>(),
        ) {
            let frame = client(0x80 | BINARY, &payload);
            let mut half = frame[..cut.index(frame.len())].to_vec();
            prop_assert_eq!(Reader::default().next(&mut half, 1000), Ok((Frame::More, 0)));
            let mut bytes = [&frame[..], b"behind"].concat();
            let (read, consumed) = Reader::default().next(&mut bytes, 1000).unwrap();
            let Frame::Message { at, len } = read else { panic!("{read:?}") };
            prop_assert_eq!(&bytes[at..at + len], &payload[..]);
            prop_assert_eq!(consumed, frame.len());
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut reader = Reader::default();
            let mut at = 0;
            while let Ok((frame, consumed)) = reader.next(&mut bytes[at..], 1000) {
                if frame == Frame::More {
                    break;
                }
                prop_assert!(consumed > 0);
                at += consumed;
            }
        }
    }
}
