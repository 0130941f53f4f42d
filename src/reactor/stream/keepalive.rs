//! Keepalives of connections, both ways: pings that shards ask for, and the silence of clients that
//! have agreed to ping us.

use std::time::Duration;

use super::serve::flush;
use super::{Streams, Turn};
use crate::flow::ConnectionId;
use crate::reactor::plane::Plane;
use crate::shard::ShardId;
use crate::shard::mesh::Notice;

/// Notices that wait for room in a ring before pings are shed.
const PINGS_WAITING_MAX: usize = 1024;

/// What a client has agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreement {
    /// The shard that knows of it: the agreement ends when that lets go of the connection.
    pub(super) with: ShardId,
    /// How long the client may be silent.
    pub(super) silence_max: Duration,
}

impl Streams {
    /// Sends the client of a connection a keepalive. Where older output still waits, or the
    /// connection is not open or no more, none is sent: what waits does as well for the pinhole,
    /// and a client that does not read needs no more of it.
    pub(super) fn ping<P: Plane>(&mut self, id: ConnectionId, turn: &mut Turn<'_, P>) {
        let key = Streams::key(id);
        let Some(mut open) = self.table.take(key) else {
            turn.counters.pings_skipped += 1;
            return;
        };
        if open.ending.is_some() || !open.connection.output().is_empty() {
            turn.counters.pings_skipped += 1;
            return self.table.put(key, open);
        }
        open.connection.borrow(&mut self.loan);
        if open.connection.ping().is_err() {
            turn.counters.pings_skipped += 1;
            return self.settle(key, open, Ok(()), turn);
        }
        turn.counters.pings += 1;
        let written = flush(&mut open, turn);
        self.settle(key, open, written, turn);
    }

    /// Passes a ping on to the reactor of its connection. Where the ring is full it waits, among no
    /// more than so many: what cannot be sent for longer than that is better shed than late.
    pub(super) fn pass_on_ping<P: Plane>(&mut self, id: ConnectionId, turn: &mut Turn<'_, P>) {
        let (to, notice) = (ShardId(id.reactor), Notice::Ping(id));
        if self.unsent.is_empty() && turn.outbound.push_notice(to, notice).is_ok() {
            return;
        }
        if self.unsent.len() < PINGS_WAITING_MAX {
            self.unsent.push_back((to, notice));
        } else {
            turn.counters.pings_shed += 1;
        }
    }

    /// Notes how long the client of a connection may be silent, or with 0 that it may be as silent
    /// as any.
    pub(super) fn expect(&mut self, from: ShardId, id: ConnectionId, silence_max_s: u32) {
        let key = Streams::key(id);
        let Some(open) = self.table.find(key) else { return };
        let silence_max = Duration::from_secs(silence_max_s.into());
        open.agreement = (silence_max_s > 0).then_some(Agreement { with: from, silence_max });
        let (deadline, _) = open.deadline(&self.limits);
        self.deadlines.arm(key.number(), deadline, &mut open.armed);
    }
}
