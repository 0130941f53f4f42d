//! What one reactor counts: plain numbers on its own thread, copied now and then to where other
//! threads may read them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The numbers of one reactor since it started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Names of the counters, in the order of [`Counters::values`].
            pub const NAMES: [&'static str; counters!(@count $($name)+)] =
                [$(stringify!($name)),+];

            /// What each of them means, in the order of [`Counters::NAMES`].
            pub const MEANINGS: [&'static str; Counters::NAMES.len()] =
                [$(concat!($($doc),+)),+];

            /// The numbers, in the order of [`Counters::NAMES`].
            #[must_use]
            pub fn values(&self) -> [u64; Counters::NAMES.len()] {
                [$(self.$name),+]
            }

            fn from_values(values: [u64; Counters::NAMES.len()]) -> Self {
                let [$($name),+] = values;
                Counters { $($name),+ }
            }
        }
    };
    (@count $($name:ident)+) => { [$(stringify!($name)),+].len() };
}

counters! {
    /// Datagrams taken from the sockets, whatever became of them.
    datagrams_in,
    /// Their payload, bytes.
    bytes_in,
    /// Messages taken that held several datagrams of one peer.
    runs_in,
    /// Receive batches that held at least one datagram.
    batches_in,
    /// Datagrams sent.
    datagrams_out,
    /// Their payload, bytes.
    bytes_out,
    /// Messages that held several datagrams to one peer, for the kernel or the card to cut apart.
    runs_out,
    /// Such messages that were refused; their datagrams went one by one.
    runs_refused,
    /// Datagrams handed to the shard that owns their address-of-record.
    handoffs_out,
    /// Datagrams other shards handed to this one.
    handoffs_in,
    /// Handoffs shed because the ring to the owner was full.
    handoffs_shed,
    /// Senders the kernel was taught: their datagrams meet the owner of their account.
    steering_noted,
    /// Those whose entry named another owner and was old: it names the new one.
    steering_moved,
    /// Those whose entry names another owner and stays: they have accounts of several.
    steering_shared,
    /// Those that were not noted at once, because there were too many.
    steering_shed,
    /// Those that could not be noted, because the kernel refused.
    steering_failed,
    /// Datagrams longer than the receive buffer: dropped unread.
    truncated,
    /// Datagrams without a payload: dropped.
    empty,
    /// Datagrams whose source address was of no family that is listened on: dropped.
    unreadable,
    /// Errors met while receiving, mostly ICMP errors of earlier datagrams: taken and ignored.
    receive_errors,
    /// Pending errors of earlier datagrams that sending met; the datagram was tried again.
    send_pending_errors,
    /// ICMP errors taken, whatever they say.
    icmp_errors,
    /// Destinations that ICMP called unreachable and the shards were told of.
    unreachable_told,
    /// Those they were not told of, because there were too many or a ring was full.
    unreachable_shed,
    /// Sources of keepalives the shards were told of.
    heard_told,
    /// Those they were not told of, because there were too many or a ring was full.
    heard_shed,
    /// Replies given up because their destination was refused or unreachable twice.
    send_unreachable,
    /// Replies shed because the socket or the card would not take more.
    send_shed,
    /// Replies refused by a packet filter or a policy.
    send_forbidden,
    /// Replies given up because they were too long for the path.
    send_too_long,
    /// Replies given up for any other reason.
    send_failed,
    /// Wake-ups written to sleeping reactors.
    wakes_sent,
    /// Wake-ups received from other threads.
    wakes_received,
    /// For how long it has worked, and not slept, microseconds.
    busy_us,
    /// Turns of the data-plane loop.
    turns,
    /// Times the reactor went to sleep.
    sleeps,
    /// Connections over TCP that were taken up.
    opened_tcp,
    /// Connections over TLS that were taken up.
    opened_tls,
    /// WebSocket connections that were taken up.
    opened_ws,
    /// WebSocket connections over TLS that were taken up.
    opened_wss,
    /// Connections turned away because there were as many as there may be.
    refused_connections_max,
    /// Connections turned away because their source had as many as it may have.
    refused_per_source,
    /// Connections turned away because the process had no descriptor or memory left for them.
    refused_open_files,
    /// Connections that were gone before they were taken up.
    accept_errors,
    /// Connections closed by the client.
    closed_by_peer,
    /// Connections that broke.
    closed_broken,
    /// Connections closed because what came in was no SIP.
    closed_garbage,
    /// Connections closed behind a message that was refused as faulty.
    closed_faulty,
    /// Connections closed because TLS failed, most often in the handshake.
    closed_tls,
    /// Connections closed because the request to open a WebSocket was refused.
    closed_upgrade_refused,
    /// Connections closed because of a WebSocket frame that must not be.
    closed_websocket,
    /// Connections closed because no SIP came within the time.
    closed_silent,
    /// Connections closed because a message that was begun was not finished in time.
    closed_unfinished,
    /// Connections closed because no request passed authentication within the time.
    closed_unauthenticated,
    /// Connections closed because nothing was heard for too long.
    closed_idle,
    /// Connections closed because their client was silent for longer than it had agreed to.
    closed_unheard,
    /// Connections closed because the client did not read.
    closed_slow_reader,
    /// Connections closed because the binding that lived on them was kicked.
    closed_kicked,
    /// Words of the guard to other shards shed because the ring there was full.
    told_shed,
    /// Connections not accepted because their source is blocked.
    refused_blocked,
    /// Connections closed because nobody who is known spoke over them.
    closed_unauthorized,
    /// Connections closed to make room for others before they were authenticated.
    closed_evicted,
    /// Connections closed because the process stops.
    closed_at_stop,
    /// Messages that came by connections.
    messages_in,
    /// Bytes read from connections.
    stream_bytes_in,
    /// Bytes written to connections.
    stream_bytes_out,
    /// Keepalives of connections answered.
    pongs,
    /// Keepalives sent to the clients of connections.
    pings,
    /// Keepalives not sent: older output still waited, or the connection was not open.
    pings_skipped,
    /// Keepalives for connections of other reactors shed because the ring there was full.
    pings_shed,
    /// Messages of connections that had to wait because the ring to their owner was full.
    handoffs_deferred,
    /// Messages of shards written to connections, replies to messages at hand left out.
    delivered,
    /// Messages of shards dropped because their connection has closed.
    undeliverable,
    /// Messages for connections of other reactors shed because the ring there was full.
    deliveries_shed,
    /// Turns given to the connections.
    stream_turns,
    /// Turns given to the tasks that live beside the data plane.
    task_turns,
    /// Times it was measured how long datagrams wait, because more came than was taken.
    waits_measured,
    /// The sum of what was measured, microseconds; what was lost counts as having waited for T1.
    waited_us,
    /// Datagrams the kernel dropped at the sockets: a receive buffer was full, or a filter of
    /// blocked sources said so.
    kernel_drops,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        let mut values = self.values();
        for (sum, value) in values.iter_mut().zip(other.values()) {
            *sum += value;
        }
        *self = Counters::from_values(values);
    }
}

/// The copy other threads read: each number is whole, the set may be from two moments.
#[derive(Debug)]
pub(super) struct SharedCounters([AtomicU64; Counters::NAMES.len()]);

impl SharedCounters {
    pub(super) fn new() -> Self {
        SharedCounters([const { AtomicU64::new(0) }; Counters::NAMES.len()])
    }

    /// Called by the reactor alone, every few turns and before it sleeps.
    pub(super) fn publish(&self, counters: &Counters) {
        for (cell, value) in self.0.iter().zip(counters.values()) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> Counters {
        let mut values = [0; Counters::NAMES.len()];
        for (value, cell) in values.iter_mut().zip(&self.0) {
            *value = cell.load(Ordering::Relaxed);
        }
        Counters::from_values(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_what_was_published() {
        let shared = SharedCounters::new();
        assert_eq!(shared.snapshot(), Counters::default());
        let counters = Counters { datagrams_in: 3, kernel_drops: 9, ..Counters::default() };
        shared.publish(&counters);
        assert_eq!(shared.snapshot(), counters);
    }

    #[test]
    fn names_and_values_go_together() {
        let counters = Counters { kernel_drops: 9, ..Counters::default() };
        let at = Counters::NAMES.iter().position(|&name| name == "kernel_drops").unwrap();
        assert_eq!(counters.values()[at], 9);
    }

    #[test]
    fn sums_add_each_counter() {
        let mut sum = Counters { turns: 1, sleeps: 2, ..Counters::default() };
        sum += Counters { turns: 10, ..Counters::default() };
        assert_eq!((sum.turns, sum.sleeps), (11, 2));
    }
}
