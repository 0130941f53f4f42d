//! What shards ask of connections, and what connections tell shards. Between reactors it goes over
//! the mesh: messages and pings may be shed there, other notices never are.

use super::close::CloseReason;
use super::serve::flush;
use super::{Streams, Turn};
use crate::flow::ConnectionId;
use crate::reactor::plane::Plane;
use crate::shard::ShardId;
use crate::shard::mesh::Notice;

impl Streams {
    /// Sends a message to the client of a connection of this reactor. Where that has closed, the
    /// message is dropped: a client that wants it comes back.
    pub(in super::super) fn deliver<P: Plane>(
        &mut self,
        id: ConnectionId,
        message: &[u8],
        turn: &mut Turn<'_, P>,
    ) {
        let key = Streams::key(id);
        let Some(mut open) = self.table.take(key) else {
            turn.counters.undeliverable += 1;
            return;
        };
        open.connection.borrow(&mut self.loan);
        if open.ending.is_some() || open.connection.send(message).is_err() {
            turn.counters.undeliverable += 1;
            return self.settle(key, open, Ok(()), turn);
        }
        turn.counters.delivered += 1;
        open.awaited = open.awaited.saturating_sub(1);
        let written = flush(&mut open, turn);
        let waiting = open.connection.output().len();
        let outcome = if waiting > self.limits.write_queue_bytes_max {
            Err(CloseReason::SlowReader)
        } else if written.is_ok() && open.half_closed.is_some() && open.is_done() {
            Err(CloseReason::ByPeer)
        } else {
            written
        };
        self.settle(key, open, outcome, turn);
    }

    /// Takes a notice of a shard about a connection of this reactor.
    pub(in super::super) fn notified<P: Plane>(
        &mut self,
        from: ShardId,
        notice: Notice,
        turn: &mut Turn<'_, P>,
    ) {
        let bit = 1 << from.0;
        match notice {
            Notice::Authenticated(id) => {
                if let Some(open) = self.table.find(Streams::key(id)) {
                    open.authenticated = true;
                }
            }
            Notice::Hold(id) => match self.table.find(Streams::key(id)) {
                Some(open) if open.ending.is_none() => open.holders |= bit,
                // It closed while the request was under way: what was bound to it must go.
                _ => self.tell_closed(id, bit, turn),
            },
            Notice::Release { id, close_if_unused } => {
                let key = Streams::key(id);
                let Some(open) = self.table.find(key) else { return };
                open.holders &= !bit;
                open.agreement = open.agreement.filter(|agreement| agreement.with != from);
                open.kickers |= if close_if_unused { bit } else { 0 };
                let unused = open.holders == 0 && open.ending.is_none();
                if close_if_unused
                    && unused
                    && let Some(mut open) = self.table.take(key)
                {
                    open.connection.borrow(&mut self.loan);
                    self.close(key, open, CloseReason::Kicked, turn);
                }
            }
            Notice::Shut(id) => self.shut(id, turn),
            Notice::Closed(id) => turn.plane.connection_closed(turn.now, id),
            Notice::Ping(id) => self.ping(id, turn),
            Notice::Expect { id, silence_max_s } => self.expect(from, id, silence_max_s),
            Notice::Unreachable { to } => turn.plane.unreachable(turn.now, to),
            Notice::Heard { source } => turn.plane.heard(turn.now, source),
            Notice::Guard(told) => turn.plane.told(turn.now, told),
        }
    }

    /// Closes a connection of somebody who is to hear nothing, unless a shard holds it or
    /// somebody has proved who he is.
    fn shut<P: Plane>(&mut self, id: ConnectionId, turn: &mut Turn<'_, P>) {
        let key = Streams::key(id);
        let unused = self
            .table
            .find(key)
            .is_some_and(|open| open.holders == 0 && !open.authenticated && open.ending.is_none());
        if unused && let Some(mut open) = self.table.take(key) {
            open.connection.borrow(&mut self.loan);
            self.close(key, open, CloseReason::Unauthorized, turn);
        }
    }

    /// Tells shards, a bit each, that a connection is gone.
    pub(super) fn tell_closed<P: Plane>(
        &mut self,
        id: ConnectionId,
        holders: u128,
        turn: &mut Turn<'_, P>,
    ) {
        for shard in (0..128u8).filter(|shard| holders & 1 << shard != 0) {
            if shard == self.shard.0 {
                turn.plane.connection_closed(turn.now, id);
            } else {
                self.unsent.push_back((ShardId(shard), Notice::Closed(id)));
            }
        }
        self.post(turn);
    }

    /// Passes a notice of this reactor's own shard on to the one whose connection it is about.
    pub(in super::super) fn pass_on<P: Plane>(
        &mut self,
        id: ConnectionId,
        notice: Notice,
        turn: &mut Turn<'_, P>,
    ) {
        if id.reactor == self.shard.0 {
            self.notified(self.shard, notice, turn);
        } else if let Notice::Ping(_) = notice {
            self.pass_on_ping(id, turn);
        } else {
            self.unsent.push_back((ShardId(id.reactor), notice));
            self.post(turn);
        }
    }

    /// Sends the notices that wait, in order for each shard.
    pub(super) fn post<P: Plane>(&mut self, turn: &mut Turn<'_, P>) {
        if self.unsent.is_empty() {
            return;
        }
        let mut full = 0u128;
        self.unsent.retain(|&(to, notice)| {
            let bit = 1 << to.0;
            if full & bit == 0 && turn.outbound.push_notice(to, notice).is_err() {
                full |= bit;
            }
            full & bit != 0
        });
    }
}
