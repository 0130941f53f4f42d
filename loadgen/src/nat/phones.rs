//! The phones of one thread behind their gateways, sans IO: datagrams and the time come in, what
//! is to be sent and from which outside address comes out. They register once, refresh before
//! their registration ends, answer OPTIONS where they do that, and otherwise stay silent, so that
//! only the server's keepalives hold their pinholes.

use super::gateways::{Gateways, Inbound, Kind, Outlet, Passed, Shape};
use super::ledger::Ledger;
use crate::agent::request::Line;
use crate::agent::wheel::Wheel;
use crate::agent::{AgentId, Fleet, Habits};
use crate::plan::{Nanos, SECOND};
use crate::roster::Roster;
use crate::scenarios::Action;
use crate::wire::unasked::{Form, Unasked};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Private addresses that the phones have, in turn.
const LINES: u8 = 32;
/// When a phone that was not granted its registration tries again.
const RETRY: Nanos = 30 * SECOND;
/// Phones refresh when this share of the granted time is over, in 256ths, and up to a tenth later.
const REFRESH_FIRST: u64 = 205;
const REFRESH_SPREAD: u64 = 26;

/// What a datagram makes its phone do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Nothing.
    Nothing,
    /// It has a request to be written and sent.
    Request(AgentId),
    /// It answers the OPTIONS that it is.
    Reply(AgentId),
}

/// The phones of one thread.
#[derive(Debug)]
pub struct Phones {
    /// Their requests and answers.
    pub fleet: Fleet,
    /// Their reachability.
    pub ledger: Ledger,
    gateways: Gateways,
    /// When each phone is looked at next: its refresh, or another try.
    due: Vec<Nanos>,
    wheel: Wheel,
    begun: u32,
    answer: bool,
}

impl Phones {
    /// One phone for each account, nobody registered.
    pub fn new(
        habits: Habits,
        roster: Roster,
        shape: Shape,
        period: Nanos,
        answer: bool,
    ) -> Phones {
        let count = roster.len();
        let line =
            |number| Line::new(SocketAddrV4::new(Ipv4Addr::new(192, 168, number, 10), 5060).into());
        let fleet = Fleet::led(habits, roster, (0..LINES).map(line).collect());
        let gateways = Gateways::new(shape, count);
        let kinds: Vec<Kind> = (0..count).map(|phone| gateways.kind(phone)).collect();
        Phones {
            fleet,
            ledger: Ledger::new(kinds.into_iter(), period),
            gateways,
            due: vec![0; count as usize],
            wheel: Wheel::new(),
            begun: 0,
            answer,
        }
    }

    /// Number of phones.
    pub fn count(&self) -> u32 {
        self.due.len() as u32
    }

    /// How many have begun to register.
    pub fn begun(&self) -> u32 {
        self.begun
    }

    /// Whether every phone has had its first try, and what came of it.
    pub fn has_tried(&self) -> bool {
        self.begun == self.count() && self.fleet.outstanding() == 0
    }

    /// The next phone registers. `None` where all have begun.
    pub fn begin(&mut self, intended: Nanos, now: Nanos) -> Option<AgentId> {
        let id = self.begun;
        if id == self.count() {
            return None;
        }
        self.begun += 1;
        self.fleet.lead(id, Action::Register, intended, now);
        self.look_again(id, now + RETRY);
        Some(id)
    }

    fn look_again(&mut self, id: AgentId, at: Nanos) {
        self.due[id as usize] = at;
        let tick = self.wheel.tick_of(at);
        self.wheel.insert(id, tick);
    }

    /// A phone sends something: the outside address and port it leaves by.
    pub fn leave(&mut self, id: AgentId, now: Nanos) -> Outlet {
        let kind = self.gateways.kind(id);
        self.ledger.packet(id, kind, now);
        let passed = self.gateways.outbound(id, now);
        let outlet = self.gateways.outlet(id);
        if let Passed::Again(closed_at) = passed {
            self.ledger.closed(id, kind, closed_at);
            self.ledger.opened_again(id, kind, outlet.port, now);
        }
        outlet
    }

    /// A datagram came to an outside address and port at `at`, and is looked at `now`.
    pub fn handle(
        &mut self,
        to: Outlet,
        from: SocketAddrV4,
        bytes: &[u8],
        at: Nanos,
        now: Nanos,
    ) -> Todo {
        let inbound = self.gateways.inbound(to, from, at);
        let (Inbound::Reached(phone) | Inbound::Closed(phone, _) | Inbound::Filtered(phone)) =
            inbound
        else {
            self.nobody(from);
            return Todo::Nothing;
        };
        let unasked = self.fleet.handle_unasked(bytes);
        let kind = self.gateways.kind(phone);
        if unasked.is_some() {
            self.ledger.ping(kind, at);
        }
        self.ledger.packet(phone, kind, at);
        let of_kind = &mut self.ledger.figures.kinds[kind.index()];
        match inbound {
            Inbound::Closed(_, closed_at) => {
                of_kind.met_closed += 1;
                self.ledger.closed(phone, kind, closed_at);
                return Todo::Nothing;
            }
            Inbound::Filtered(_) => {
                of_kind.filtered += 1;
                return Todo::Nothing;
            }
            _ => {}
        }
        match unasked {
            Some(Unasked::Keepalive(Form::Options)) if self.answer => Todo::Reply(phone),
            Some(_) => Todo::Nothing,
            None => self.handle_answer(phone, kind, bytes, now),
        }
    }

    /// A datagram came that is for none of the phones.
    pub fn nobody(&mut self, from: SocketAddrV4) {
        match from == self.gateways.remote() {
            true => self.ledger.figures.to_nobody += 1,
            false => self.ledger.figures.strangers += 1,
        }
    }

    fn handle_answer(&mut self, phone: u32, kind: Kind, bytes: &[u8], now: Nanos) -> Todo {
        if let Some(id) = self.fleet.handle_datagram(bytes, now) {
            return Todo::Request(id);
        }
        let until = self.fleet.registered_until(phone);
        if until != self.ledger.registered_until(phone) {
            let port = self.gateways.outlet(phone).port;
            self.ledger.granted(phone, kind, port, until, now);
            let spread = u64::from(phone.wrapping_mul(0x9e37_79b1) >> 16) * REFRESH_SPREAD / 65_536;
            let granted = until.saturating_sub(now);
            self.due[phone as usize] = now + granted / 256 * (REFRESH_FIRST + spread);
        }
        Todo::Nothing
    }

    /// Runs the timers. A phone that is returned has a request to be written and sent.
    pub fn poll_timers(&mut self, now: Nanos) -> Option<AgentId> {
        if let Some(id) = self.fleet.poll_timers(now) {
            return Some(id);
        }
        while let Some((id, _)) = self.wheel.pop(now) {
            let due = self.due[id as usize];
            if due > now {
                self.look_again(id, due);
                continue;
            }
            self.look_again(id, now + RETRY);
            let registered = self.fleet.registered_until(id) > now;
            let action = if registered { Action::Refresh } else { Action::Register };
            if self.fleet.lead(id, action, due.max(1), now) {
                return Some(id);
            }
        }
        None
    }

    /// When timers must be looked at again, at most `limit` from now.
    pub fn next_timer(&self, now: Nanos, limit: Nanos) -> Nanos {
        self.fleet.next_timer(now, limit).min(self.wheel.next(now, limit))
    }

    /// Ends every phone's account.
    pub fn close(&mut self, now: Nanos) {
        for phone in 0..self.count() {
            let kind = self.gateways.kind(phone);
            self.ledger.close(phone, kind, self.gateways.closes_at(phone), now);
        }
        self.ledger.cut(now);
    }
}

#[cfg(test)]
mod tests;
