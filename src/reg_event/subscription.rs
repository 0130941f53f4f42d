//! One subscription: the state of its dialog, what its subscriber has heard of, and what it is
//! owed. Where subscriptions live and when they are looked at is the table's.

use std::net::SocketAddr;

use crate::flow::Flow;
use crate::reg_event::answer::Answer;
use crate::reg_event::changes::Changes;
use crate::reg_event::dialog::Dialog;
use crate::reg_event::document::Extent;
use crate::reg_event::identity::LocalTag;
use crate::reg_event::notify::EndReason;
use crate::reg_event::request::Subscribe;
use crate::reg_event::transaction::Transaction;
use crate::registrar::{AorId, Binding, BindingId};
use crate::time::Instant;

/// Answers with a Retry-After that are put up with in a row.
const RETRIES_MAX: u8 = 5;
/// Longest Retry-After that is waited for, seconds.
const RETRY_AFTER_S_MAX: u32 = 600;

#[derive(Debug)]
pub(super) struct Subscription {
    pub aor: AorId,
    pub dialog: Dialog,
    pub local_tag: LocalTag,
    pub source: SocketAddr,
    pub flow: Flow,
    /// CSeq of the last SUBSCRIBE, and what it was granted: its retransmission gets the same.
    pub remote_cseq: u32,
    pub granted_s: u32,
    pub expires_at: Instant,
    /// It is over; its last NOTIFY is owed or on its way.
    pub ending: Option<EndReason>,
    /// CSeq of the last NOTIFY.
    pub local_cseq: u32,
    /// Of the next document (RFC 3680 5.1: from 0, one more each time).
    pub version: u32,
    /// Its subscriber has heard of the changes up to this number.
    pub heard: u64,
    /// A full document is owed.
    pub full: bool,
    /// The contacts behind this binding are owed.
    pub rest_behind: Option<BindingId>,
    /// It is about the subscriber's own contact: no time to lose.
    pub urgent: bool,
    /// No NOTIFY about mere changes before then.
    pub paced_until: Instant,
    /// No NOTIFY at all before then: the subscriber asked for it.
    pub held_until: Instant,
    pub retries: u8,
    /// The NOTIFY that has no final answer yet.
    pub transaction: Option<Transaction>,
    /// It waits to be looked at.
    pub queued: bool,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The final answer is still to come.
    Proceeding,
    /// It was heard; the subscription goes on.
    Heard,
    /// The subscriber wants it later.
    Later,
    /// It was the last one, and was heard.
    Ended,
    /// The subscription is over because of the answer (RFC 6665 4.2.2).
    Failed,
}

impl Subscription {
    pub fn new(
        subscribe: &Subscribe<'_>,
        granted_s: u32,
        expires_at: Instant,
        heard: u64,
    ) -> Subscription {
        Subscription {
            aor: subscribe.aor,
            dialog: Dialog::new(subscribe),
            local_tag: subscribe.local_tag,
            source: subscribe.source,
            flow: subscribe.flow,
            remote_cseq: subscribe.request.cseq,
            granted_s,
            expires_at,
            // A SUBSCRIBE with an Expires of 0 asks once (RFC 6665 4.4.3).
            ending: (granted_s == 0).then_some(EndReason::Timeout),
            local_cseq: 0,
            version: 0,
            heard,
            // RFC 3680 4.7: the first NOTIFY says everything.
            full: true,
            rest_behind: None,
            urgent: false,
            paced_until: Instant::ZERO,
            held_until: Instant::ZERO,
            retries: 0,
            transaction: None,
            queued: false,
        }
    }

    /// Whether a SUBSCRIBE has the identifiers of this dialog (RFC 3261 12).
    pub fn is_dialog_of(&self, subscribe: &Subscribe<'_>) -> bool {
        self.dialog.call_id() == subscribe.request.call_id
            && self.dialog.remote_tag() == subscribe.request.from_tag
    }

    /// A SUBSCRIBE of its dialog was granted that long.
    pub fn refresh(&mut self, subscribe: &Subscribe<'_>, granted_s: u32, expires_at: Instant) {
        self.remote_cseq = subscribe.request.cseq;
        self.granted_s = granted_s;
        self.expires_at = expires_at;
        self.dialog = self.dialog.refreshed(subscribe);
        if granted_s == 0 {
            self.ending = Some(EndReason::Timeout);
        }
        // RFC 6665 4.2.1.2: a NOTIFY at once; RFC 3680 5.2: with everything.
        self.full = true;
        self.held_until = Instant::ZERO;
    }

    /// Whether a contact belongs to the device that subscribed: it came from the same address
    /// (over a connection: the same connection), or is where the dialog's requests go.
    pub fn is_own(&self, contact: &Binding) -> bool {
        self.source == contact.source() || self.dialog.target() == contact.contact()
    }

    /// The document to send at `now`, if one is owed that may go.
    pub fn due(&self, now: Instant, changes: &Changes) -> Option<Extent> {
        if self.ending.is_some() {
            return Some(Extent::Full);
        }
        if now < self.held_until {
            return None;
        }
        let unheard = changes.last() > self.heard;
        if self.full {
            return Some(Extent::Full);
        }
        // What found no room belongs to a document already sent, and follows it at once.
        let may_go = self.urgent || self.rest_behind.is_some() || now >= self.paced_until;
        if !may_go || !(unheard || self.rest_behind.is_some()) {
            return None;
        }
        Some(match changes.reach(self.heard) {
            true => Extent::Partial { rest_behind: self.rest_behind },
            false => Extent::Full,
        })
    }

    /// When something may be due next, whatever it is.
    pub fn next_look(&self, now: Instant, changes: &Changes) -> Instant {
        let mut at = match self.ending {
            None => self.expires_at,
            // Only what was put off is not sent at once.
            Some(_) => self.held_until,
        };
        if let Some(transaction) = &self.transaction {
            if self.ending.is_some() {
                return transaction.next_deadline();
            }
            return at.min(transaction.next_deadline());
        }
        if self.full || self.rest_behind.is_some() {
            at = at.min(self.held_until);
        } else if changes.last() > self.heard {
            let until = if self.urgent { now } else { self.paced_until };
            at = at.min(until.max(self.held_until));
        }
        at.max(now)
    }

    /// Takes the answer to the NOTIFY that is out.
    pub fn answered(&mut self, now: Instant, answer: &Answer) -> Outcome {
        let Some(transaction) = &mut self.transaction else { return Outcome::Proceeding };
        match answer.status {
            ..=199 => {
                transaction.proceed();
                return Outcome::Proceeding;
            }
            200..=299 if transaction.last => return Outcome::Ended,
            200..=299 => {
                self.heard = self.heard.max(transaction.heard);
                self.rest_behind = transaction.rest_behind.filter(|_| !self.full);
                self.retries = 0;
                self.transaction = None;
                return Outcome::Heard;
            }
            _ => {}
        }
        // RFC 6665 4.2.2: an answer with Retry-After is no failure, unless its code ends the
        // dialog or the usage (RFC 5057 5.1).
        let ends = matches!(answer.status, 404 | 408 | 410 | 416 | 480..=485 | 489 | 501 | 604);
        let later = answer.retry_after_s.filter(|&seconds| seconds <= RETRY_AFTER_S_MAX);
        match later {
            Some(seconds) if !ends && !transaction.last && self.retries < RETRIES_MAX => {
                self.retries += 1;
                self.held_until = now + std::time::Duration::from_secs(seconds.into());
                self.full = true;
                self.transaction = None;
                Outcome::Later
            }
            _ => Outcome::Failed,
        }
    }
}
