//! Admission's place in a shard: what a message has shown is found out, first without reading it,
//! then by its nonce; who is shed is refused before anything of his account is looked at and before
//! anything is handed over. How much is shed is [`crate::guard::admission`]'s.
//!
//! - Responses and keepalives that ask for no answer are never shed; STUN is, once newcomers hear
//!   nothing.
//! - A request is of the class that its nonce shows, whatever its method: only challenges of this
//!   server put one into it. Without one, a REGISTER counts by its source, and so does whatever
//!   comes from a network that is trusted or may watch everybody; any other request is a
//!   newcomer's.
//! - A stranger, while strangers take more time than they may, is dropped unread over UDP, unless
//!   there may be a nonce in what he says; read, if it is not one of ours. Who has connected has
//!   shown where he is.
//! - Over a connection nobody is left without an answer, since nothing would be repeated there.
//! - Where those who are not known hear nothing, newcomers do not hear that there is too much.

use std::net::IpAddr;
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::auth::nonce::Judged;
use crate::guard::{Admitted, Asked, Class, Entry, Shown, Silence, Window};
use crate::limits::BATCH_MAX;
use crate::shard::batch::Read;
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::guard::may_carry_nonce;
use crate::shard::identity::Identity;
use crate::shard::refused::RefuseReason;
use crate::shard::request::{Arrival, answer_of};
use crate::shard::subscribe::watches_all;
use crate::shard::{Datagram, Handled, silence};
use crate::sip::write::Responder;
use crate::sip::{Message, Method, Parsed};

/// A challenge is answered within so many seconds by whoever asked for it.
const ANSWERED_WITHIN_S: u64 = 4;

/// The counters as they were when the reactor last said how long it worked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Worked {
    handled: u64,
    dropped: u64,
    proved: u64,
}

impl From<Class> for RefuseReason {
    fn from(class: Class) -> RefuseReason {
        match class {
            Class::Proven => RefuseReason::OverloadProven,
            Class::Known => RefuseReason::OverloadKnown,
            Class::Newcomer => RefuseReason::OverloadNewcomer,
        }
    }
}

impl Core {
    /// The reactor has worked for so long of the time that has passed: what came of it decides
    /// which strangers are let in next.
    pub fn worked(&mut self, busy: Duration, passed: Duration) {
        let counters = &self.counters;
        let sent = counters.keepalives.total().sent;
        let now = Worked {
            handled: counters.answered.total() + counters.handoffs_out + sent,
            dropped: counters.dropped.iter().sum(),
            proved: counters.authenticated + counters.admitted,
        };
        let before = std::mem::replace(&mut self.worked, now);
        self.guard.strangers_mut().follow(Window {
            passed,
            busy,
            handled: now.handled - before.handled,
            dropped: now.dropped - before.dropped,
            proved: now.proved - before.proved,
        });
    }

    /// Whether somebody may have to be shed now.
    #[inline]
    pub fn is_shedding(&self) -> bool {
        self.guard.admission().is_shedding() || self.guard.strangers().is_watching()
    }

    /// Drops what need not be read: messages without a nonce of classes that are so far over that
    /// not even a refusal is affordable.
    #[cold]
    pub fn shed_unread(
        &mut self,
        datagrams: &[Datagram<'_>],
        entries: &mut ArrayVec<Entry, BATCH_MAX>,
    ) {
        let watching = self.guard.strangers().is_watching();
        let dropping = self.guard.admission().shed(Class::Newcomer).dropped != 0;
        if !dropping && !watching {
            return;
        }
        for (nth, (datagram, entry)) in datagrams.iter().zip(entries).enumerate() {
            let asked = Asked::of(datagram.bytes);
            if *entry != Entry::Open
                || datagram.link.is_some()
                || asked == Asked::Nothing
                || may_carry_nonce(datagram.bytes)
            {
                continue;
            }
            let source = datagram.source.ip();
            let draw = self.guard.admission().draw(nth);
            if watching && self.turns_away(source, draw) {
                self.guard.shed(source);
                *entry = Entry::Silent(Silence::Stranger);
                continue;
            }
            let mut class = self.guard.class_of(source, asked);
            if class == Class::Newcomer && watches_all(self, source) {
                class = Class::Known;
            }
            if self.guard.admission_mut().drops(class, draw) {
                self.guard.shed(source);
                *entry = Entry::Silent(Silence::Overload(class));
            }
        }
    }

    /// Whether what a stranger says is dropped. Those who are let in are not those whom admission
    /// drops first.
    fn turns_away(&mut self, source: IpAddr, draw: u32) -> bool {
        self.guard.is_stranger(source)
            && !watches_all(self, source)
            && !self.guard.strangers_mut().admit(!draw)
    }

    /// Sheds a message that has been read, if it is to be: `nth` of its batch. `None` lets it in.
    #[cold]
    pub fn shed(
        &mut self,
        arrival: &Arrival<'_>,
        read: &Read<'_>,
        nth: usize,
        out: &mut [u8],
    ) -> Option<Handled> {
        let message = match read.parsed {
            Parsed::Complete { message, .. } => match message.method() {
                // Neither is answered anyway.
                None | Some(Method::Ack) => return None,
                Some(_) => Some(message),
            },
            // A bare line end.
            _ if Asked::of(arrival.datagram.bytes) == Asked::Nothing => return None,
            Parsed::Invalid { .. } | Parsed::Partial { .. } => None,
        };
        let class = self.class_of(arrival, message, read);
        let over_connection = arrival.datagram.link.is_some();
        let draw = self.guard.admission().draw(nth);
        if self.guard.strangers().is_watching() && !over_connection {
            // Without what may be a nonce it has been let in already, unread.
            if class == Class::Newcomer
                && may_carry_nonce(arrival.datagram.bytes)
                && self.turns_away(arrival.datagram.source.ip(), draw)
            {
                self.counters.drop(DropReason::OverloadStranger);
                self.guard.shed(arrival.datagram.source.ip());
                return Some(Handled::Nothing);
            }
            let shown = self.shown(arrival, message, read, class);
            self.guard.strangers_mut().saw(shown);
        }
        let admission = self.guard.admission_mut();
        if !admission.is_shedding() {
            return None;
        }
        let admitted = admission.admit(class, draw);
        match (admitted, message) {
            (Admitted::Yes, _) => return None,
            (Admitted::Later, Some(message)) => {
                Some(self.send_away(arrival, message, class, draw, out))
            }
            (Admitted::Dropped, Some(message)) if over_connection => {
                Some(self.send_away(arrival, message, class, draw, out))
            }
            // What is broken is worth no answer now.
            (Admitted::Later | Admitted::Dropped, _) => {
                self.counters.drop(Silence::Overload(class).into());
                Some(Handled::Nothing)
            }
        }
        .inspect(|_| self.guard.shed(arrival.datagram.source.ip()))
    }

    /// Whether a message leads to something.
    fn shown(
        &self,
        arrival: &Arrival<'_>,
        message: Option<Message<'_>>,
        read: &Read<'_>,
        class: Class,
    ) -> Shown {
        match (class, message, &read.addressed) {
            (Class::Proven, Some(message), Ok(addressed)) => {
                match self.judge_nonce(arrival, message, addressed) {
                    Judged::Fresh { issued, .. }
                        if arrival.now.wall.0.saturating_sub(issued.0) < ANSWERED_WITHIN_S =>
                    {
                        Shown::Answer
                    }
                    _ => Shown::Proof,
                }
            }
            (Class::Proven, ..) => Shown::Proof,
            _ if self.guard.needs_no_digest(arrival.datagram.source.ip()) => Shown::Proof,
            _ => Shown::Nothing,
        }
    }

    /// What a message has shown.
    fn class_of(
        &self,
        arrival: &Arrival<'_>,
        message: Option<Message<'_>>,
        read: &Read<'_>,
    ) -> Class {
        let datagram = arrival.datagram;
        if datagram.link.is_some_and(|link| link.authenticated) {
            return Class::Proven;
        }
        let Some(message) = message else { return Class::Newcomer };
        let judged = match &read.addressed {
            Ok(addressed) => self.judge_nonce(arrival, message, addressed),
            Err(_) => Judged::Foreign,
        };
        match judged {
            Judged::Fresh { .. } => Class::Proven,
            Judged::Old { .. } => Class::Known,
            Judged::Foreign if silence::knows(self, arrival) => Class::Known,
            Judged::Foreign => {
                let asked = match message.method() {
                    Some(Method::Register) => Asked::Register,
                    _ => Asked::Request,
                };
                self.guard.class_of(datagram.source.ip(), asked)
            }
        }
    }

    /// 503 with Retry-After (RFC 3261 21.5.4).
    fn send_away(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        class: Class,
        draw: u32,
        out: &mut [u8],
    ) -> Handled {
        let datagram = arrival.datagram;
        if silence::is_kept(self) && class == Class::Newcomer {
            return silence::keep(self, arrival, DropReason::OverloadNewcomer);
        }
        let Some(mut responder) = Responder::of_faulty(message, datagram.source) else {
            self.counters.drop(DropReason::NoReturnPath);
            return Handled::Nothing;
        };
        responder.over_connection = datagram.link.is_some();
        let retry_after_s = self.guard.admission().retry_after_s(draw);
        // Of the bytes as they came: what is wrong with the head is not looked into now.
        let identity = Identity::of_bytes(datagram.bytes, &self.keys.identity);
        answer_of(self, &responder, &identity, out)
            .refusing(class.into())
            .with(503, |response| response.header_number("Retry-After", retry_after_s.into()))
    }
}
