//! One connection without its socket: bytes in, messages out, bytes to write. TLS, the opening of
//! a WebSocket, its frames and the division of a stream are behind one face here; who may connect,
//! for how long, and what a message means are others' business.

use super::close::CloseReason;
use super::tls::Session;
use super::websocket::{frames, handshake};
use crate::flow::Transport;
use crate::sip::HeaderTable;
use crate::sip::frame::{Broken, Frame, Scanner};

/// What connections obey here.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Longest message, bytes.
    pub(super) message_bytes_max: usize,
    /// Origins a WebSocket may come from, lower-case; empty is any.
    pub(super) origins: Vec<String>,
}

/// What is next on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until more bytes are there.
    More,
    /// A message: [`Connection::message`]. Nothing else comes before [`Connection::consume`].
    Message {
        /// It is faulty: once it is refused, nothing can follow.
        last: bool,
    },
    /// The connection is over.
    Over(CloseReason),
}

/// Where the message at hand lies.
#[derive(Clone, Copy, Debug)]
enum Current {
    None,
    /// In the text, which it and its frame take up to `end`.
    Text {
        at: usize,
        len: usize,
        end: usize,
        last: bool,
    },
    /// Among the fragments, the last of which ends at `end`.
    Fragments {
        end: usize,
    },
}

enum Protocol {
    /// SIP as a stream.
    Stream(Scanner),
    /// A WebSocket that is not open yet.
    Opening,
    /// SIP in WebSocket frames.
    WebSocket(Box<frames::Reader>),
}

/// Large buffers for the connection whose turn it is: idle ones have none.
#[derive(Default)]
pub(super) struct Loan {
    records: Vec<u8>,
    text: Vec<u8>,
    output: Vec<u8>,
}

/// What [`Loan`] begins with, bytes each.
const LOAN_BYTES: usize = 64 * 1024;
/// What a buffer that had to grow is cut to when it comes back, bytes.
const LOAN_BYTES_MAX: usize = 256 * 1024;

impl Loan {
    pub(super) fn new() -> Loan {
        let buffer = || Vec::with_capacity(LOAN_BYTES);
        Loan { records: buffer(), text: buffer(), output: buffer() }
    }
}

/// A connection. Between turns it holds only what is incomplete or not yet sent.
pub(super) struct Connection {
    transport: Transport,
    session: Option<Session>,
    protocol: Protocol,
    /// TLS records that are not whole yet.
    records: Vec<u8>,
    /// Text that has come in, from `at` on.
    text: Vec<u8>,
    at: usize,
    /// Bytes for the socket, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    current: Current,
    peer: Box<[u8]>,
    /// Keepalives answered (RFC 5626 4.4.1, RFC 6455 5.5.2) since they were last asked for.
    pongs: u32,
    /// Keepalives of its client are answered.
    pub(super) pings_are_answered: bool,
    /// The TLS session has ended from the other side.
    ended: bool,
}

impl Connection {
    /// A connection of `transport`; secure ones with their session.
    pub(super) fn new(transport: Transport, session: Option<Session>, rules: &Rules) -> Connection {
        debug_assert_eq!(transport.is_secure(), session.is_some());
        let protocol = match transport {
            Transport::Ws | Transport::Wss => Protocol::Opening,
            _ => Protocol::Stream(Scanner::new(rules.message_bytes_max)),
        };
        Connection {
            transport,
            session,
            protocol,
            records: Vec::new(),
            text: Vec::new(),
            at: 0,
            output: Vec::new(),
            sent: 0,
            current: Current::None,
            peer: Box::default(),
            pongs: 0,
            pings_are_answered: true,
            ended: false,
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    /// Who the client is by its certificate, as [`crate::shard::Peer`] reads it.
    pub(super) fn peer(&self) -> &[u8] {
        &self.peer
    }

    /// Takes large buffers for a turn.
    pub(super) fn borrow(&mut self, loan: &mut Loan) {
        if self.session.is_some() {
            lend(&mut self.records, &mut loan.records);
        }
        lend(&mut self.text, &mut loan.text);
        lend(&mut self.output, &mut loan.output);
    }

    /// Gives them back, and keeps what is left in buffers no larger than that.
    pub(super) fn give_back(&mut self, loan: &mut Loan) {
        if self.at > 0 {
            self.text.drain(..self.at);
            // A message that could not be dealt with yet moves along.
            match &mut self.current {
                Current::None => {}
                Current::Text { at, end, .. } => {
                    *at -= self.at;
                    *end -= self.at;
                }
                Current::Fragments { end } => *end -= self.at,
            }
            self.at = 0;
        }
        if self.sent > 0 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        if self.session.is_some() {
            return_loan(&mut self.records, &mut loan.records);
        }
        return_loan(&mut self.text, &mut loan.text);
        return_loan(&mut self.output, &mut loan.output);
    }

    /// Where bytes from the socket are appended; then comes [`Connection::received`].
    pub(super) fn input(&mut self) -> &mut Vec<u8> {
        if self.session.is_some() { &mut self.records } else { &mut self.text }
    }

    /// Takes up what was appended.
    ///
    /// # Errors
    /// TLS failed.
    pub(super) fn received(&mut self) -> Result<(), CloseReason> {
        let Connection { session: Some(session), records, text, output, .. } = self else {
            return Ok(());
        };
        let progress = session.receive(records, text, output).map_err(|_| CloseReason::Tls)?;
        if progress.established {
            self.peer = session.peer();
        }
        self.ended |= progress.ended;
        Ok(())
    }

    /// The next message, or what else there is.
    pub(super) fn next(&mut self, rules: &Rules, table: &mut HeaderTable) -> Step {
        loop {
            match self.current {
                Current::None => {}
                Current::Text { last, .. } => return Step::Message { last },
                Current::Fragments { .. } => return Step::Message { last: false },
            }
            let step = match &self.protocol {
                Protocol::Stream(_) => self.next_in_stream(table),
                Protocol::Opening => self.open(rules),
                Protocol::WebSocket(_) => self.next_frame(rules),
            };
            match step {
                Ok(true) => {}
                Ok(false) if self.ended => return Step::Over(CloseReason::ByPeer),
                Ok(false) => return Step::More,
                Err(reason) => return Step::Over(reason),
            }
        }
    }

    /// Each of these takes one thing from the text and says whether there was one.
    fn next_in_stream(&mut self, table: &mut HeaderTable) -> Result<bool, CloseReason> {
        let Protocol::Stream(scanner) = &mut self.protocol else { return Ok(false) };
        let at = self.at;
        let frame = scanner.look(&self.text[at..], table);
        if !matches!(frame, Frame::LineEnd { .. } | Frame::Ping { .. }) && is_http(&self.text[at..])
        {
            return Err(CloseReason::Http);
        }
        match frame {
            Frame::Partial { .. } => return Ok(false),
            Frame::LineEnd { len } => self.at += len,
            Frame::Ping { len } => {
                self.at += len;
                self.pong(b"\r\n")?;
            }
            Frame::Message { len } => {
                self.current = Current::Text { at, len, end: at + len, last: false };
            }
            Frame::Last { reason: Broken::NotSip, .. } => return Err(CloseReason::Garbage),
            Frame::Last { len, reason: Broken::NoLength | Broken::TooLong } => {
                let end = self.text.len();
                self.current = Current::Text { at, len, end, last: true };
            }
        }
        Ok(true)
    }

    fn open(&mut self, rules: &Rules) -> Result<bool, CloseReason> {
        let mut response = Vec::new();
        let outcome = handshake::answer(&self.text[self.at..], &rules.origins, &mut response);
        if !response.is_empty() {
            self.put(&response).map_err(|_| CloseReason::Tls)?;
        }
        match outcome {
            handshake::Outcome::More => Ok(false),
            handshake::Outcome::Accepted(len) => {
                self.at += len;
                self.protocol = Protocol::WebSocket(Box::default());
                Ok(true)
            }
            // From a page that may not, or no WebSocket at all.
            handshake::Outcome::Refused(403 | 405 | 426) => Err(CloseReason::Foreign),
            handshake::Outcome::Refused(_) => Err(CloseReason::UpgradeRefused),
        }
    }

    fn next_frame(&mut self, rules: &Rules) -> Result<bool, CloseReason> {
        let Protocol::WebSocket(reader) = &mut self.protocol else { return Ok(false) };
        let base = self.at;
        let (frame, consumed) = match reader.next(&mut self.text[base..], rules.message_bytes_max) {
            Ok(read) => read,
            Err(code) => {
                self.put_close(code);
                return Err(CloseReason::WebSocket);
            }
        };
        let end = base + consumed;
        match frame {
            frames::Frame::More => return Ok(false),
            frames::Frame::Silent => self.at = end,
            frames::Frame::Message { at, len } => {
                let at = base + at;
                if self.text[at..at + len].iter().any(|b| !b"\r\n".contains(b)) {
                    self.current = Current::Text { at, len, end, last: false };
                } else {
                    // The keepalive of RFC 5626, which clients go on with here as well.
                    let ping = self.text[at..at + len].starts_with(b"\r\n\r\n");
                    self.at = end;
                    if ping && self.pings_are_answered {
                        self.pongs += 1;
                        self.send(b"\r\n").map_err(|_| CloseReason::Tls)?;
                    }
                }
            }
            frames::Frame::Assembled => self.current = Current::Fragments { end },
            frames::Frame::Ping { at, len } => {
                let mut pong = Vec::with_capacity(len + 2);
                frames::write_pong(&self.text[base + at..base + at + len], &mut pong);
                self.at = end;
                self.pong(&pong)?;
            }
            frames::Frame::Close(code) => {
                self.at = end;
                // "the endpoint typically echos the status code it received"
                self.put_close(code.unwrap_or(frames::code::NORMAL));
                return Err(CloseReason::ByPeer);
            }
        }
        Ok(true)
    }

    /// The message at hand; empty if there is none.
    pub(super) fn message(&self) -> &[u8] {
        match (self.current, &self.protocol) {
            (Current::Text { at, len, .. }, _) => &self.text[at..at + len],
            (Current::Fragments { .. }, Protocol::WebSocket(reader)) => reader.message(),
            _ => &[],
        }
    }

    /// The message at hand has been dealt with.
    pub(super) fn consume(&mut self) {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None => {}
            Current::Text { end, .. } => self.at = end,
            Current::Fragments { end } => {
                self.at = end;
                if let Protocol::WebSocket(reader) = &mut self.protocol {
                    reader.clear();
                }
            }
        }
    }

    /// Queues a message to the client.
    ///
    /// # Errors
    /// If the connection is not open for messages, or TLS has failed.
    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), NotOpen> {
        match self.protocol {
            Protocol::Stream(_) => self.put(message),
            Protocol::Opening => Err(NotOpen),
            Protocol::WebSocket(_) if self.session.is_none() => {
                frames::write_message(message, &mut self.output);
                Ok(())
            }
            Protocol::WebSocket(_) => {
                let mut frame = Vec::with_capacity(message.len() + 10);
                frames::write_message(message, &mut frame);
                self.put(&frame)
            }
        }
    }

    /// Queues a keepalive: the double CRLF of a stream (RFC 5626 4.4.1), the ping frame of a
    /// WebSocket (RFC 6455 5.5.2).
    ///
    /// # Errors
    /// If the handshakes are not behind it, or TLS has failed.
    pub(super) fn ping(&mut self) -> Result<(), NotOpen> {
        if !self.is_open() {
            return Err(NotOpen);
        }
        match self.protocol {
            Protocol::WebSocket(_) => self.put(&frames::PING_FRAME),
            _ => self.put(b"\r\n\r\n"),
        }
    }

    /// Says goodbye as far as the protocol has a word for it.
    pub(super) fn say_goodbye(&mut self, reason: CloseReason) {
        if reason == CloseReason::Unauthorized {
            return;
        }
        let said = matches!(reason, CloseReason::WebSocket | CloseReason::ByPeer);
        if matches!(self.protocol, Protocol::WebSocket(_)) && !said {
            self.put_close(reason.websocket_code());
        }
        if let Some(session) = &mut self.session
            && session.is_established()
            && reason != CloseReason::Tls
        {
            session.close(&mut self.records, &mut self.output);
        }
    }

    /// Answers a keepalive, unless its sender is to hear nothing.
    fn pong(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        if self.pings_are_answered {
            self.pongs += 1;
            self.put(bytes).map_err(|_| CloseReason::Tls)?;
        }
        Ok(())
    }

    fn put_close(&mut self, code: u16) {
        let mut frame = Vec::with_capacity(4);
        frames::write_close(code, &mut frame);
        // The connection ends whether that can be said or not.
        let _ = self.put(&frame);
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), NotOpen> {
        match &mut self.session {
            None => {
                self.output.extend_from_slice(bytes);
                Ok(())
            }
            Some(session) => {
                session.send(bytes, &mut self.records, &mut self.output).map_err(|_| NotOpen)
            }
        }
    }

    /// What waits to be written to the socket.
    pub(super) fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// So many bytes of it have been written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
    }

    /// Keepalives answered since [`Connection::take_pongs`].
    pub(super) fn pongs(&self) -> u32 {
        self.pongs
    }

    /// Drops everything that is incomplete or not sent: the connection closes.
    pub(super) fn discard(&mut self) {
        self.current = Current::None;
        self.records.clear();
        self.text.clear();
        self.output.clear();
        self.at = 0;
        self.sent = 0;
    }

    /// Keepalives answered since the last call.
    pub(super) fn take_pongs(&mut self) -> u64 {
        u64::from(std::mem::take(&mut self.pongs))
    }

    /// Whether the handshakes are behind it.
    pub(super) fn is_open(&self) -> bool {
        let established = self.session.as_ref().is_none_or(Session::is_established);
        established && !matches!(self.protocol, Protocol::Opening)
    }

    /// Whether something has begun that is not whole.
    pub(super) fn is_unfinished(&self) -> bool {
        let fragments = match &self.protocol {
            Protocol::WebSocket(reader) => reader.is_open(),
            _ => false,
        };
        // A line end that waits for its second half is a keepalive, not the begin of a message.
        let begun = self.text.get(self.at).is_some_and(|byte| !b"\r\n".contains(byte));
        fragments || begun || !self.records.is_empty()
    }

    /// Bytes of user space that buffers take; none while idle.
    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.records.capacity() + self.text.capacity() + self.output.capacity()
    }
}

/// Whether a request of HTTP/1 stands in front (RFC 9112 3). No longer line is looked into: this is
/// asked each time that bytes have come.
fn is_http(bytes: &[u8]) -> bool {
    const LINE_BYTES_MAX: usize = 1024;
    let front = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', front) else { return false };
    let line = front[..end].trim_ascii_end();
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

/// Messages cannot be sent on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotOpen;

/// Lends `spare` to a connection that has nothing of its own.
fn lend(own: &mut Vec<u8>, spare: &mut Vec<u8>) {
    if own.is_empty() {
        std::mem::swap(own, spare);
    }
}

/// Takes a buffer back that was lent, which is so where the spare one is missing.
fn return_loan(own: &mut Vec<u8>, spare: &mut Vec<u8>) {
    if spare.capacity() == 0 {
        let left = own.as_slice().to_vec();
        *spare = std::mem::replace(own, left);
        spare.clear();
        spare.shrink_to(LOAN_BYTES_MAX);
    } else if own.is_empty() {
        *own = Vec::new();
    } else {
        own.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests;
