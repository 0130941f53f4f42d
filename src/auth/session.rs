//! Authentication sessions: one chain of challenges and wrong answers. A session begins with a
//! challenge and ends with a right answer, with its limit of wrong ones, or with its time. Its
//! state travels in the nonces of the chain ([`nonce`](crate::auth::nonce)), so nobody can make a
//! server keep any, and an account that does not exist has sessions like one that does.
//!
//! - A right answer is a success whenever it comes: a phone that refreshes with a nonce of half an
//!   hour ago is in no session at all, and its age is the nonce lifetime's business alone.
//! - A wrong answer that comes after the session's time begins another session: it is challenged
//!   anew, with nothing counted. So is one to a nonce that is not ours or was given to somebody
//!   else, which says nothing about the sender.
//! - A retransmitted wrong answer counts once: the same nonce leads to the same count.
//! - The chain is the client's own: one that answers an earlier nonce again goes back in it. The
//!   limit ends the tries of honest software; who tries passwords is stopped by the suspension of
//!   account and source.

use crate::auth::nonce::Judged;
use crate::config::Auth;
use crate::time::UnixTime;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Wrong answers so far, 0 to 1023.
    pub wrong: u16,
    /// When its first challenge was given.
    pub began: UnixTime,
}

/// What ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// SS_SIP_AUTHENTICATION_RETRY: the wrong answer of this number is refused, 0-999. Since no
    /// answer comes before the first, 0 is as 1: the first wrong answer is refused.
    pub retry_max: u16,
    /// SS_SIP_AUTHENTICATION_TIMEOUT: time it may take from its first challenge on, seconds,
    /// 1-3600.
    pub timeout_s: u32,
}

impl From<&Auth> for SessionLimits {
    fn from(auth: &Auth) -> Self {
        SessionLimits { retry_max: auth.retry_max, timeout_s: auth.session_timeout_s }
    }
}

/// What a wrong answer is met with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterWrong {
    /// Another challenge, its nonce carrying this
    /// ([`mint_in`](crate::auth::nonce::NonceKeys::mint_in)).
    Challenge(Session),
    /// 403: the session is over.
    Refuse,
}

impl Session {
    /// A session whose first challenge is given at `now`.
    #[must_use]
    pub const fn begin(now: UnixTime) -> Session {
        Session { wrong: 0, began: now }
    }
}

/// What follows a wrong answer to a nonce that was judged `nonce`; the same whether the account
/// exists or not.
#[must_use]
pub fn after_wrong_answer(nonce: Judged, limits: SessionLimits, now: UnixTime) -> AfterWrong {
    let running = nonce
        .session()
        .filter(|session| now.0.saturating_sub(session.began.0) <= u64::from(limits.timeout_s));
    let Some(session) = running else { return AfterWrong::Challenge(Session::begin(now)) };
    let wrong = session.wrong.saturating_add(1);
    if wrong >= limits.retry_max.max(1) {
        AfterWrong::Refuse
    } else {
        AfterWrong::Challenge(Session { wrong, ..session })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::auth::nonce::{NonceKey, NonceKeys, NonceSequence, NonceText};

    const NOW: UnixTime = UnixTime(1_790_000_000);
    const LIMITS: SessionLimits = SessionLimits { retry_max: 6, timeout_s: 10 };

    /// A server and a client that answers wrongly.
    struct Chain {
        keys: NonceKeys,
        sequence: NonceSequence,
        nonce: NonceText,
        now: UnixTime,
        limits: SessionLimits,
    }

    fn source() -> IpAddr {
        "2001:db8::7".parse().unwrap()
    }

    impl Chain {
        fn new(limits: SessionLimits) -> Chain {
            let keys = NonceKeys::from(NonceKey::new(b"0123456789abcdef"));
            let mut sequence = NonceSequence::default();
            let nonce = keys.mint(sequence.next(NOW, 0), source(), b"r");
            Chain { keys, sequence, nonce, now: NOW, limits }
        }

        /// Answers the newest challenge wrongly from `source`; whether there is another.
        fn wrong_from(&mut self, source: IpAddr) -> bool {
            let judged = self.keys.judge(self.nonce.as_bytes(), self.now, source, b"r", 3600);
            match after_wrong_answer(judged, self.limits, self.now) {
                AfterWrong::Refuse => false,
                AfterWrong::Challenge(session) => {
                    let place = self.sequence.next(self.now, 0);
                    self.nonce = self.keys.mint_in(session, place, source, b"r");
                    true
                }
            }
        }

        fn wrong(&mut self) -> bool {
            self.wrong_from(source())
        }

        /// Wrong answers up to the one that is refused, that included.
        fn until_refused(&mut self) -> u32 {
            (1..).find(|_| !self.wrong()).unwrap()
        }
    }

    #[test]
    fn the_wrong_answer_of_the_set_number_is_refused() {
        for (retry_max, refused) in [(6, 6), (2, 2), (1, 1), (0, 1), (999, 999)] {
            let mut chain = Chain::new(SessionLimits { retry_max, ..LIMITS });
            assert_eq!(chain.until_refused(), refused, "{retry_max}");
            // Still over: the client may say it again.
            assert!(!chain.wrong());
        }
    }

    #[test]
    fn time_ends_a_session_and_the_next_wrong_answer_begins_another() {
        let mut chain = Chain::new(LIMITS);
        for _ in 0..5 {
            assert!(chain.wrong());
        }
        chain.now = UnixTime(NOW.0 + 10);
        let before = chain.nonce;
        assert!(!chain.wrong(), "the last second belongs to it");
        chain.now = UnixTime(NOW.0 + 11);
        assert!(chain.wrong());
        assert_ne!(chain.nonce, before);
        assert_eq!(chain.until_refused(), 6, "nothing of the session before is left");
    }

    #[test]
    fn the_time_runs_from_the_first_challenge_not_from_the_last() {
        let mut chain = Chain::new(LIMITS);
        for second in [4, 8] {
            chain.now = UnixTime(NOW.0 + second);
            assert!(chain.wrong());
        }
        chain.now = UnixTime(NOW.0 + 12);
        assert!(chain.wrong());
        let judged = chain.keys.judge(chain.nonce.as_bytes(), chain.now, source(), b"r", 3600);
        assert_eq!(judged.session(), Some(Session::begin(chain.now)));
    }

    #[test]
    fn a_wrong_answer_of_another_source_counts_for_nobody() {
        let mut chain = Chain::new(SessionLimits { retry_max: 2, ..LIMITS });
        assert!(chain.wrong());
        let held = chain.nonce;
        for _ in 0..5 {
            chain.nonce = held;
            assert!(chain.wrong_from("2001:db8::8".parse().unwrap()));
        }
        chain.nonce = held;
        assert!(!chain.wrong(), "its owner is at its second");
    }

    #[test]
    fn a_retransmitted_wrong_answer_counts_once() {
        let mut chain = Chain::new(SessionLimits { retry_max: 3, ..LIMITS });
        let first = chain.nonce;
        for _ in 0..10 {
            chain.nonce = first;
            assert!(chain.wrong());
        }
        assert!(chain.wrong());
        assert!(!chain.wrong());
    }

    #[test]
    fn a_clock_that_was_put_back_ends_nobodys_session() {
        let mut chain = Chain::new(LIMITS);
        assert!(chain.wrong());
        chain.now = UnixTime(NOW.0 - 5);
        assert!(chain.wrong());
        let judged = chain.keys.judge(chain.nonce.as_bytes(), chain.now, source(), b"r", 3600);
        assert_eq!(judged.session().map(|session| session.wrong), Some(2));
    }
}
