//! A connection's turn: what has come in is read, its messages answered or handed over, and what
//! there is to say written, all within a bound, so that the others get theirs.

use std::io;
use std::os::fd::AsRawFd;

use super::connection::Step;
use super::os::{self, interest};
use super::table::Key;
use super::{CloseReason, GOODBYE_MAX, HALF_CLOSED_MAX, Open, Streams, Turn};
use crate::reactor::plane::Plane;
use crate::shard::stages::Stage;
use crate::shard::{Datagram, Handled, Link, ListenerId, Outlet, Peer};
use crate::time::Instant;

/// Bytes read from one connection in one turn.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Messages of one connection answered in one turn.
const MESSAGES_PER_TURN_MAX: usize = 32;
/// Output that is written before more is made.
const OUTPUT_BYTES_FLUSHED: usize = 64 * 1024;

/// Pieces of what a refused client still sends that are thrown away in one turn.
const LINGER_READS_PER_TURN_MAX: usize = 4;

/// What reading found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// There may be more.
    Some,
    /// The client has ended its side.
    End,
}

impl Streams {
    /// Gives a connection its turn.
    pub(super) fn serve<P: Plane>(&mut self, key: Key, turn: &mut Turn<'_, P>) {
        let Some(mut open) = self.table.take(key) else { return };
        open.connection.borrow(&mut self.loan);
        let before = turn.counters.messages_in;
        turn.laps.begin();
        let outcome = if open.ending.is_some() {
            self.linger(&mut open, turn)
        } else {
            self.converse(key, &mut open, turn)
        };
        turn.laps.finish((turn.counters.messages_in - before) as usize);
        self.settle(key, open, outcome, turn);
    }

    /// Puts a connection back after its turn, or closes it.
    pub(super) fn settle<P: Plane>(
        &mut self,
        key: Key,
        mut open: Box<Open>,
        outcome: Result<(), CloseReason>,
        turn: &mut Turn<'_, P>,
    ) {
        turn.counters.pongs += open.connection.take_pongs();
        match outcome {
            Ok(()) => {
                open.connection.give_back(&mut self.loan);
                self.keep(key, open, turn.now.mono);
            }
            Err(reason) => self.close(key, open, reason, turn),
        }
    }

    fn converse<P: Plane>(
        &mut self,
        key: Key,
        open: &mut Open,
        turn: &mut Turn<'_, P>,
    ) -> Result<(), CloseReason> {
        flush(open, turn)?;
        if open.blocked_since.is_some() {
            return Ok(());
        }
        // Messages that are left go first; nothing is read before they are dealt with.
        let left = std::mem::take(&mut open.resumes);
        let read = match open.half_closed {
            // Reading says no more than that its side has ended.
            Some(_) if os::is_broken(open.fd.as_raw_fd()) => return Err(CloseReason::Broken),
            None if !left => read(open, turn)?,
            _ => Read::Some,
        };
        let answered = self.answer(key, open, turn);
        let written = flush(open, turn);
        answered?;
        written?;
        if read == Read::End {
            open.half_closed = Some(turn.now.mono + HALF_CLOSED_MAX);
        }
        // Whoever says all he has to say and then ends his side wants to hear the answers.
        if open.half_closed.is_some() && open.is_done() {
            return Err(CloseReason::ByPeer);
        }
        Ok(())
    }

    /// Answers the messages that are there, as many as one turn may.
    fn answer<P: Plane>(
        &mut self,
        key: Key,
        open: &mut Open,
        turn: &mut Turn<'_, P>,
    ) -> Result<(), CloseReason> {
        open.connection.pings_are_answered =
            open.authenticated || open.holders != 0 || turn.plane.answers_strangers();
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let last = match open.connection.next(&self.rules, &mut self.headers) {
                Step::More => {
                    let (is, now) = (open.connection.is_unfinished(), turn.now.mono);
                    open.unfinished_since = is.then(|| open.unfinished_since.unwrap_or(now));
                    // A greeting is a byte of SIP, not of a handshake.
                    open.greeted |=
                        open.connection.is_open() && (is || open.connection.pongs() > 0);
                    return Ok(());
                }
                Step::Over(reason) => return Err(reason),
                Step::Message { last } => last,
            };
            open.greeted = true;
            open.unfinished_since = None;
            let datagram = Datagram {
                source: open.source,
                listener: ListenerId(0),
                local_ip: None,
                received_at: turn.now.mono,
                bytes: open.connection.message(),
                link: Some(Link {
                    id: self.id(key),
                    transport: open.connection.transport(),
                    authenticated: open.authenticated,
                    peer: Peer::new(open.connection.peer()),
                }),
            };
            turn.laps.lap(Stage::Receive);
            let one = &mut One { out: &mut self.reply, handled: Handled::Nothing };
            turn.plane.receive_batch(turn.now, &[datagram], turn.laps.watch(), one);
            match one.handled {
                Handled::Reply { len, .. } => {
                    open.connection.send(&self.reply[..len]).map_err(|_| CloseReason::Tls)?;
                }
                Handled::Handoff(owner) => match turn.outbound.push(owner, &datagram) {
                    Ok(()) => {
                        turn.counters.handoffs_out += 1;
                        open.awaited += u32::from(is_answered(datagram.bytes));
                    }
                    Err(_) => {
                        // Nothing is lost on a stream: the client waits, and this message first.
                        turn.counters.handoffs_deferred += 1;
                        self.come_back(key, open);
                        return Ok(());
                    }
                },
                Handled::Nothing => {}
            }
            turn.laps.lap(Stage::Send);
            turn.counters.messages_in += 1;
            open.connection.consume();
            if last {
                return Err(CloseReason::Faulty);
            }
            if open.connection.output().len() >= OUTPUT_BYTES_FLUSHED {
                flush(open, turn)?;
                if open.blocked_since.is_some() {
                    break;
                }
            }
        }
        self.come_back(key, open);
        Ok(())
    }

    /// Has its turn come again without anything new.
    fn come_back(&mut self, key: Key, open: &mut Open) {
        open.resumes = true;
        open.unfinished_since = None;
        if open.blocked_since.is_none() && !open.queued {
            open.queued = true;
            self.left_over.push_back(key);
        }
    }

    /// A refused client: it is told why, and what it still sends is thrown away, because closing
    /// before it is read would take the answer back (RFC 1122 4.2.2.13).
    fn linger<P: Plane>(
        &mut self,
        open: &mut Open,
        turn: &mut Turn<'_, P>,
    ) -> Result<(), CloseReason> {
        let before = open.blocked_since.is_some();
        flush(open, turn)?;
        if before && open.blocked_since.is_none() {
            os::shut_down_writing(open.fd.as_raw_fd());
        }
        for _ in 0..LINGER_READS_PER_TURN_MAX {
            let rest = open.connection.input();
            rest.clear();
            match os::read(open.fd.as_raw_fd(), rest, READ_BYTES_MAX) {
                Ok(0) => return Err(CloseReason::ByPeer),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(CloseReason::Broken),
            }
        }
        open.connection.input().clear();
        Ok(())
    }

    /// Puts it back, with what the kernel has to watch and when it has to be looked at.
    fn keep(&mut self, key: Key, mut open: Box<Open>, now: Instant) {
        let wanted = match (open.blocked_since.is_some(), open.ending.is_some()) {
            (true, false) => interest::WRITE,
            (true, true) => interest::WRITE | interest::READ,
            // Its turn comes anyway, or nothing comes any more but an error, which is always told.
            (false, false) if open.resumes || open.half_closed.is_some() => 0,
            (false, _) => interest::READ,
        };
        if wanted != open.interest {
            // It is in the set, and changing that needs no memory.
            let _ = self.epoll.change(open.fd.as_raw_fd(), key.number(), wanted);
            open.interest = wanted;
        }
        let (deadline, _) = open.deadline(&self.limits);
        self.deadlines.arm(key.number(), deadline.max(now), &mut open.armed);
        self.table.put(key, open);
    }

    /// Ends a connection: says so to the client as far as that is possible, and to the shards that
    /// hold it. Where the client is told why, it is left the time to read that.
    pub(super) fn close<P: Plane>(
        &mut self,
        key: Key,
        mut open: Box<Open>,
        reason: CloseReason,
        turn: &mut Turn<'_, P>,
    ) {
        let first = open.ending.is_none();
        if first {
            reason.count(turn.counters);
            if reason.is_offence() && !open.authenticated {
                turn.plane.came_to_nothing(turn.now, open.source.ip());
            }
            open.connection.say_goodbye(reason);
            // Whether it goes out or not, the connection ends.
            let written = flush(&mut open, turn);
            let concerned = std::mem::take(&mut open.holders) | open.kickers;
            self.tell_closed(self.id(key), concerned, turn);
            if reason.is_told() && written.is_ok() {
                if open.blocked_since.is_none() {
                    os::shut_down_writing(open.fd.as_raw_fd());
                }
                open.ending = Some(turn.now.mono + GOODBYE_MAX);
                open.resumes = false;
                open.connection.give_back(&mut self.loan);
                return self.keep(key, open, turn.now.mono);
            }
        }
        open.connection.discard();
        open.connection.give_back(&mut self.loan);
        self.sources.leave(open.source.ip());
        self.table.release(key);
    }
}

/// What becomes of the one message at hand.
struct One<'a> {
    out: &'a mut [u8],
    handled: Handled,
}

impl Outlet for One<'_> {
    fn room(&mut self) -> &mut [u8] {
        self.out
    }

    fn handled(&mut self, _: &Datagram<'_>, handled: Handled) {
        self.handled = handled;
    }
}

/// Whether a message is a request that its owner answers: no response and no ACK.
fn is_answered(message: &[u8]) -> bool {
    !message.starts_with(b"SIP/") && !message.starts_with(b"ACK ")
}

/// Takes what the socket has, at most [`READ_BYTES_MAX`].
fn read<P: Plane>(open: &mut Open, turn: &mut Turn<'_, P>) -> Result<Read, CloseReason> {
    loop {
        match os::read(open.fd.as_raw_fd(), open.connection.input(), READ_BYTES_MAX) {
            Ok(0) => return Ok(Read::End),
            Ok(bytes) => {
                turn.counters.stream_bytes_in += bytes as u64;
                open.heard_at = turn.now.mono;
                open.connection.received()?;
                return Ok(Read::Some);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Some),
            Err(_) => return Err(CloseReason::Broken),
        }
    }
}

/// Writes what the socket takes.
pub(super) fn flush<P: Plane>(open: &mut Open, turn: &mut Turn<'_, P>) -> Result<(), CloseReason> {
    while !open.connection.output().is_empty() {
        match os::write(open.fd.as_raw_fd(), open.connection.output()) {
            Ok(bytes) => {
                turn.counters.stream_bytes_out += bytes as u64;
                open.connection.wrote(bytes);
                open.blocked_since = None;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                open.blocked_since = open.blocked_since.or(Some(turn.now.mono));
                return Ok(());
            }
            Err(_) => return Err(CloseReason::Broken),
        }
    }
    open.blocked_since = None;
    Ok(())
}
