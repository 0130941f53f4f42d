//! Connections of one reactor: TCP, TLS and WebSocket, beside its datagrams. They are accepted,
//! served and closed here, a bounded piece of work each turn; what their messages mean is the
//! plane's.
//!
//! ```text
//! epoll: ready -> accept     limits, TLS session
//!              -> serve      read -> connection (TLS, frames, messages) -> plane -> write
//! orders of shards -> deliver, hold, release           closed -> told to the shards that hold it
//! ```
//! An idle connection holds its record of some 300 bytes and no buffer: those are lent for a turn.

mod accept;
mod close;
mod connection;
mod deadlines;
mod deliver;
mod keepalive;
mod os;
mod serve;
mod table;
mod tls;
mod websocket;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;

use self::close::CloseReason;
use self::connection::{Connection, Loan, Rules};
use self::deadlines::Deadlines;
use self::keepalive::Agreement;
pub(super) use self::os::StreamListener;
use self::os::{Epoll, SpareFile, interest};
use self::table::{Key, Newcomers, Sources, Table};
pub use self::tls::{Certificates, TlsError};
use super::counters::Counters;
use super::error::StartError;
use super::laps::Laps;
use super::plane::Plane;
use crate::config;
use crate::flow::ConnectionId;
use crate::limits::RESPONSE_BYTES_MAX;
use crate::shard::ShardId;
use crate::shard::mesh::{Notice, Outbound};
use crate::sip::HeaderTable;
use crate::time::{Instant, Now};

/// Ready descriptors one turn looks at.
const READY_PER_TURN_MAX: usize = 64;
/// Handshakes of TLS that one turn goes on with: each may cost as much as a hundred messages.
const HANDSHAKES_PER_TURN_MAX: usize = 8;
/// How long output may make no progress before its reader is given up.
const STALLED_MAX: Duration = Duration::from_secs(20);
/// How long a connection whose client has ended its side is kept for answers that are under way.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(2);
/// How long a connection that is refused may take to read why.
const GOODBYE_MAX: Duration = Duration::from_secs(3);
/// How long a listener rests that could not accept because there were no descriptors left.
const REST: Duration = Duration::from_secs(1);
/// Numbers from here on are listeners, not connections: no generation gets there.
const LISTENER: u64 = u64::MAX - 0xffff;

/// A connection and its socket.
struct Open {
    connection: Connection,
    fd: OwnedFd,
    source: SocketAddr,
    opened_at: Instant,
    /// When something last came in.
    heard_at: Instant,
    /// Since when something is incomplete.
    unfinished_since: Option<Instant>,
    /// Since when output has made no progress.
    blocked_since: Option<Instant>,
    /// When it will be looked at by its deadlines.
    armed: Option<Instant>,
    /// It has been refused: only its output still goes out, until then.
    ending: Option<Instant>,
    /// Its client has ended its side: it is kept until then for what is still to be answered.
    half_closed: Option<Instant>,
    /// Requests that other shards have to answer.
    awaited: u32,
    /// The shards with bindings, or anything else, on it, a bit each.
    holders: u128,
    /// The shards that let go of it with a kick: a subscription may have been left on it.
    kickers: u128,
    /// What its client has agreed to.
    agreement: Option<Agreement>,
    /// What the kernel watches.
    interest: u32,
    /// A request of it passed authentication.
    authenticated: bool,
    /// SIP has come in.
    greeted: bool,
    /// Messages are left: its turn comes without anything new.
    resumes: bool,
    /// It stands in line for that.
    queued: bool,
}

/// The limits of one reactor: its share of those of the process, and times.
#[derive(Clone, Debug)]
struct Limits {
    connections_max: usize,
    connections_per_source_max: u32,
    greeting: Duration,
    authentication: Duration,
    idle: Duration,
    write_queue_bytes_max: usize,
}

/// Certificates that were read since, for one reactor to take up.
pub(super) type NewCertificates = Arc<ArrayQueue<Certificates>>;

/// What the streams of a reactor start with.
pub(super) struct Start {
    pub(super) shard: ShardId,
    pub(super) reactors: usize,
    pub(super) listeners: Vec<StreamListener>,
    pub(super) certificates: Option<Certificates>,
    pub(super) new_certificates: NewCertificates,
}

/// Everything a turn works with beside the connections.
pub(super) struct Turn<'a, P> {
    pub(super) now: Now,
    pub(super) plane: &'a mut P,
    pub(super) outbound: &'a mut Outbound,
    pub(super) counters: &'a mut Counters,
    pub(super) laps: &'a Laps,
}

/// The connections of a reactor.
pub(super) struct Streams {
    shard: ShardId,
    listeners: Vec<StreamListener>,
    epoll: Epoll,
    table: Table<Open>,
    sources: Sources,
    newcomers: Newcomers,
    deadlines: Deadlines,
    /// Connections with messages left.
    left_over: VecDeque<Key>,
    /// Listeners that rest until then, a bit each.
    resting: Option<(Instant, u64)>,
    limits: Limits,
    rules: Rules,
    certificates: Option<Certificates>,
    new_certificates: NewCertificates,
    spare_file: SpareFile,
    loan: Loan,
    headers: Box<HeaderTable>,
    reply: Box<[u8]>,
    /// Notices to other shards that found their ring full; they are few and must not be lost.
    unsent: VecDeque<(ShardId, Notice)>,
}

impl Streams {
    /// Takes the listeners into service.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn new(start: Start, settings: &config::Streams) -> Result<Streams, StartError> {
        let Start { shard, reactors, listeners, certificates, new_certificates } = start;
        let epoll = Epoll::new(READY_PER_TURN_MAX)?;
        let failed = |source| StartError::System { operation: "epoll_ctl", source };
        for (nth, listener) in (0u64..).zip(&listeners) {
            epoll.add(listener.fd(), LISTENER + nth, interest::READ).map_err(failed)?;
        }
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        Ok(Streams {
            shard,
            listeners,
            epoll,
            table: Table::new(),
            sources: Sources::default(),
            newcomers: Newcomers::default(),
            deadlines: Deadlines::default(),
            left_over: VecDeque::new(),
            resting: None,
            limits: Limits {
                connections_max: (settings.connections_max as usize).div_ceil(reactors),
                connections_per_source_max: settings.connections_per_source_max,
                greeting: seconds(settings.first_byte_timeout_s),
                authentication: seconds(settings.authentication_timeout_s),
                idle: seconds(settings.idle_timeout_s),
                write_queue_bytes_max: settings.write_queue_bytes_max as usize,
            },
            rules: Rules {
                message_bytes_max: settings.message_bytes_max as usize,
                origins: settings.websocket.origins.clone(),
            },
            certificates,
            new_certificates,
            spare_file: SpareFile::new()?,
            loan: Loan::new(),
            headers: Box::new(HeaderTable::new()),
            reply: vec![0; RESPONSE_BYTES_MAX].into_boxed_slice(),
            unsent: VecDeque::new(),
        })
    }

    /// What becomes readable when a connection or a listener has something.
    pub(super) fn fd(&self) -> RawFd {
        self.epoll.fd()
    }

    /// Whether there is work that no descriptor tells of.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.left_over.is_empty()
            || !self.unsent.is_empty()
            || self.next_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// When the next deadline comes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let rested = self.resting.map(|(until, _)| until);
        self.deadlines.next().into_iter().chain(rested).min()
    }

    /// One bounded piece of work: what is overdue, what was left over, what is ready.
    pub(super) fn turn<P: Plane>(&mut self, turn: &mut Turn<'_, P>) {
        self.post(turn);
        self.check_deadlines(turn);
        for _ in 0..self.left_over.len().min(READY_PER_TURN_MAX) {
            let Some(key) = self.left_over.pop_front() else { break };
            if let Some(open) = self.table.find(key) {
                open.queued = false;
                self.serve(key, turn);
            }
        }
        let mut handshakes = 0;
        for nth in 0..self.epoll.look() {
            let number = self.epoll.ready(nth);
            if let Some(listener) = number.checked_sub(LISTENER) {
                self.accept(listener as usize, turn);
                continue;
            }
            let key = Key::from_number(number);
            let shakes_hands = |open: &mut Open| {
                open.connection.transport().is_secure() && !open.connection.is_open()
            };
            if self.table.find(key).is_some_and(shakes_hands) {
                handshakes += 1;
                if handshakes > HANDSHAKES_PER_TURN_MAX {
                    // It stays ready.
                    continue;
                }
            }
            self.serve(key, turn);
        }
    }

    /// Closes everything: the process stops.
    pub(super) fn close_all<P: Plane>(&mut self, turn: &mut Turn<'_, P>) {
        self.listeners.clear();
        for key in self.table.keys() {
            if let Some(open) = self.table.take(key) {
                self.close(key, open, CloseReason::Stopping, turn);
            }
        }
    }

    fn check_deadlines<P: Plane>(&mut self, turn: &mut Turn<'_, P>) {
        let now = turn.now.mono;
        if let Some((until, listeners)) = self.resting
            && until <= now
        {
            self.resting = None;
            self.watch_listeners(listeners, interest::READ);
        }
        while let Some((at, number)) = self.deadlines.pop(now) {
            let key = Key::from_number(number);
            let Some(open) = self.table.find(key) else { continue };
            // Entries that an earlier one has overtaken say nothing.
            if open.armed != Some(at) {
                continue;
            }
            open.armed = None;
            let (deadline, reason) = open.deadline(&self.limits);
            if deadline > now {
                self.deadlines.arm(number, deadline, &mut open.armed);
            } else if let Some(open) = self.table.take(key) {
                self.close(key, open, reason, turn);
            }
        }
    }

    fn id(&self, key: Key) -> ConnectionId {
        ConnectionId { reactor: self.shard.0, slot: key.slot, generation: key.generation }
    }

    /// The key of a connection of this reactor.
    fn key(id: ConnectionId) -> Key {
        Key { slot: id.slot, generation: id.generation }
    }
}

impl Open {
    /// Whether nothing is left to be done for a client that has ended its side.
    fn is_done(&self) -> bool {
        self.awaited == 0 && !self.resumes && self.connection.output().is_empty()
    }

    /// When it ends unless something happens, and why.
    fn deadline(&self, limits: &Limits) -> (Instant, CloseReason) {
        if let Some(until) = self.ending {
            return (until, CloseReason::Faulty);
        }
        if let Some(until) = self.half_closed {
            return (until, CloseReason::ByPeer);
        }
        let mut soonest = (self.heard_at + limits.idle, CloseReason::Idle);
        let mut also = |since: Option<Instant>, wait, reason| {
            if let Some(since) = since
                && since + wait < soonest.0
            {
                soonest = (since + wait, reason);
            }
        };
        if let Some(Agreement { silence_max, .. }) = self.agreement {
            also(Some(self.heard_at), silence_max, CloseReason::Unheard);
        }
        let since = |is: bool| is.then_some(self.opened_at);
        also(since(!self.authenticated), limits.authentication, CloseReason::Unauthenticated);
        also(since(!self.greeted), limits.greeting, CloseReason::Silent);
        also(self.blocked_since, STALLED_MAX, CloseReason::SlowReader);
        // Whoever is not read from cannot go on.
        if self.blocked_since.is_none() && !self.resumes {
            also(self.unfinished_since, limits.greeting, CloseReason::Unfinished);
        }
        soonest
    }
}

#[cfg(test)]
mod tests;
