//! Who may connect: connections are taken up, or taken and closed again where there are too many.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use super::connection::Connection;
use super::os::interest;
use super::tls::Session;
use super::{CloseReason, LISTENER, Open, REST, Streams, Turn};
use crate::flow::Transport;
use crate::reactor::counters::Counters;
use crate::reactor::plane::Plane;

/// Connections taken from one listener in one turn.
const ACCEPTS_PER_TURN_MAX: usize = 32;
/// Younger connections than this do not make room for others: they may be about to show who they
/// are.
const EVICTION_AGE_MIN: Duration = Duration::from_secs(2);

impl Streams {
    /// Takes what waits at a listener, within a bound.
    pub(super) fn accept<P: Plane>(&mut self, listener: usize, turn: &mut Turn<'_, P>) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(socket) = self.listeners.get(listener) else { return };
            let transport = socket.transport;
            match socket.accept() {
                Ok((fd, source)) => self.take_up(fd, source, transport, turn),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE) => {
                        turn.counters.refused_open_files += 1;
                        if !self.spare_file.turn_away(socket) {
                            return self.rest(listener, turn);
                        }
                    }
                    Some(libc::ENOBUFS | libc::ENOMEM) => {
                        turn.counters.refused_open_files += 1;
                        return self.rest(listener, turn);
                    }
                    // The client has left again, or a packet filter said no: the next one then.
                    _ if error.kind() != io::ErrorKind::WouldBlock => {
                        turn.counters.accept_errors += 1;
                    }
                    _ => return,
                },
            }
        }
    }

    /// Does not look at a listener for a while: it would stay ready, and nothing can be done.
    fn rest<P: Plane>(&mut self, listener: usize, turn: &mut Turn<'_, P>) {
        let bit = 1 << listener;
        self.watch_listeners(bit, 0);
        let (until, others) = self.resting.unwrap_or((turn.now.mono + REST, 0));
        self.resting = Some((until, others | bit));
    }

    /// Sets what the kernel watches at listeners, a bit each.
    pub(super) fn watch_listeners(&self, which: u64, interest: u32) {
        for (nth, listener) in self.listeners.iter().enumerate() {
            if which & 1 << nth != 0 {
                // It is in the set, and changing that needs no memory.
                let _ = self.epoll.change(listener.fd(), LISTENER + nth as u64, interest);
            }
        }
    }

    fn take_up<P: Plane>(
        &mut self,
        fd: OwnedFd,
        source: SocketAddr,
        transport: Transport,
        turn: &mut Turn<'_, P>,
    ) {
        if turn.plane.is_blocked(turn.now, source.ip()) {
            turn.counters.refused_blocked += 1;
            return;
        }
        if self.table.len() >= self.limits.connections_max && !self.evict(turn) {
            turn.counters.refused_connections_max += 1;
            return;
        }
        if !self.sources.admit(source.ip(), self.limits.connections_per_source_max) {
            turn.counters.refused_per_source += 1;
            return;
        }
        let session = match self.session(transport) {
            Ok(session) => session,
            Err(super::tls::Failed) => {
                self.sources.leave(source.ip());
                CloseReason::Tls.count(turn.counters);
                return;
            }
        };
        let key = self.table.reserve();
        if self.epoll.add(fd.as_raw_fd(), key.number(), interest::READ).is_err() {
            // The limit of watches (fs.epoll.max_user_watches), or memory.
            self.table.release(key);
            self.sources.leave(source.ip());
            turn.counters.refused_open_files += 1;
            return;
        }
        opened(transport, turn.counters);
        let now = turn.now.mono;
        let mut open = Box::new(Open {
            connection: Connection::new(transport, session, &self.rules),
            fd,
            source,
            opened_at: now,
            heard_at: now,
            unfinished_since: None,
            blocked_since: None,
            armed: None,
            ending: None,
            half_closed: None,
            awaited: 0,
            holders: 0,
            kickers: 0,
            agreement: None,
            interest: interest::READ,
            authenticated: false,
            greeted: false,
            resumes: false,
            queued: false,
        });
        let (deadline, _) = open.deadline(&self.limits);
        self.deadlines.arm(key.number(), deadline, &mut open.armed);
        self.table.put(key, open);
        let table = &mut self.table;
        self.newcomers.add(key, |key| is_newcomer(table.find(key)));
        // Most clients speak at once: their first bytes are often there. A handshake waits for its
        // turn all the same.
        if !transport.is_secure() {
            self.serve(key, turn);
        }
    }

    fn session(&mut self, transport: Transport) -> Result<Option<Session>, super::tls::Failed> {
        if let Some(new) = self.new_certificates.pop() {
            self.certificates = Some(new);
        }
        let Some(certificates) = self.certificates.as_ref().filter(|_| transport.is_secure())
        else {
            return Ok(None);
        };
        let config = match transport {
            Transport::Wss => &certificates.web,
            _ => &certificates.sip,
        };
        Session::new(config).map(Some)
    }

    /// Makes room by closing the oldest connection that has not shown who it is.
    fn evict<P: Plane>(&mut self, turn: &mut Turn<'_, P>) -> bool {
        let table = &mut self.table;
        let Some(key) = self.newcomers.oldest(|key| is_newcomer(table.find(key))) else {
            return false;
        };
        let aged = |open: &mut Open| open.opened_at + EVICTION_AGE_MIN <= turn.now.mono;
        if !self.table.find(key).is_some_and(aged) {
            return false;
        }
        match self.table.take(key) {
            Some(open) => {
                self.close(key, open, CloseReason::Evicted, turn);
                true
            }
            None => false,
        }
    }
}

fn is_newcomer(open: Option<&mut Open>) -> bool {
    open.is_some_and(|open| !open.authenticated)
}

fn opened(transport: Transport, counters: &mut Counters) {
    match transport {
        Transport::Udp => unreachable!("datagrams have no connections"),
        Transport::Tcp => counters.opened_tcp += 1,
        Transport::Tls => counters.opened_tls += 1,
        Transport::Ws => counters.opened_ws += 1,
        Transport::Wss => counters.opened_wss += 1,
    }
}
