//! One NOTIFY on its way: a non-INVITE client transaction (RFC 3261 17.1.2) as a value. What the
//! message says is `notify`'s, when the next one may go the subscription's.

use std::time::Duration;

use crate::registrar::BindingId;
use crate::time::Instant;

/// RFC 3261 17.1.1.1.
pub(super) const T1: Duration = Duration::from_millis(500);
/// RFC 3261 17.1.2.2.
pub(super) const T2: Duration = Duration::from_secs(4);
/// Timer F (RFC 3261 17.1.2.2).
pub(super) const GIVE_UP: Duration = Duration::from_secs(32);

const _: () = assert!(GIVE_UP.as_millis() == 64 * T1.as_millis());

/// A NOTIFY that has no final answer yet.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub cseq: u32,
    /// The message, to be sent again; empty where the transport is reliable.
    pub bytes: Box<[u8]>,
    /// Once it is answered, the subscriber has heard of the changes up to this number.
    pub heard: u64,
    /// It left no room for the contacts behind this one.
    pub rest_behind: Option<BindingId>,
    /// It says that the subscription is over.
    pub last: bool,
    /// Timer E fires.
    again_at: Instant,
    /// What timer E is set to then.
    interval: Duration,
    /// Timer F fires.
    gives_up_at: Instant,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the message again.
    Again,
    /// No answer came in time.
    GiveUp,
    /// Nothing yet.
    Wait,
}

impl Transaction {
    /// The NOTIFY was sent at `now`.
    pub fn new(now: Instant, cseq: u32, bytes: Box<[u8]>, heard: u64) -> Transaction {
        Transaction {
            cseq,
            bytes,
            heard,
            rest_behind: None,
            last: false,
            again_at: now + T1,
            interval: T1,
            gives_up_at: now + GIVE_UP,
        }
    }

    /// What is due at `now`. After [`Step::Again`] timer E is set anew.
    pub fn step(&mut self, now: Instant) -> Step {
        if now >= self.gives_up_at {
            return Step::GiveUp;
        }
        // Timer E is for unreliable transports only (RFC 3261 17.1.2.2).
        if now < self.next_deadline() {
            return Step::Wait;
        }
        self.interval = (self.interval * 2).min(T2);
        self.again_at = now + self.interval;
        Step::Again
    }

    /// When [`Transaction::step`] next has something to do.
    pub fn next_deadline(&self) -> Instant {
        if self.bytes.is_empty() { self.gives_up_at } else { self.again_at.min(self.gives_up_at) }
    }

    /// A provisional answer came: it is sent again every T2 only (RFC 3261 17.1.2.2).
    pub fn proceed(&mut self) {
        self.interval = T2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_at(reliable: bool, proceeding_from: Option<u64>) -> (Vec<u64>, u64) {
        let bytes: Box<[u8]> = if reliable { Box::default() } else { Box::new([1]) };
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let mut transaction = Transaction::new(at(0), 1, bytes, 0);
        let (mut sent, mut now) = (vec![], 0);
        loop {
            if proceeding_from.is_some_and(|from| now >= from) {
                transaction.proceed();
            }
            match transaction.step(at(now)) {
                Step::Again => sent.push(now),
                Step::GiveUp => return (sent, now),
                Step::Wait => now = transaction.next_deadline().as_nanos() / 1_000_000,
            }
        }
    }

    #[test]
    fn timer_e_doubles_up_to_t2_and_timer_f_ends_it_rfc_3261_17_1_2_2() {
        let expected = [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(sent_at(false, None), (expected.to_vec(), 32_000));
    }

    #[test]
    fn over_a_reliable_transport_nothing_is_sent_again_rfc_3261_17_1_2_2() {
        assert_eq!(sent_at(true, None), (vec![], 32_000));
    }

    #[test]
    fn after_a_provisional_answer_it_is_sent_again_every_t2_rfc_3261_17_1_2_2() {
        let (sent, _) = sent_at(false, Some(1));
        assert_eq!(sent[..3], [500, 4500, 8500]);
    }
}
