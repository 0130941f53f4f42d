//! One answer to one request: written into the buffer of the batch, counted, sent where RFC 3261
//! 18.2.2 says.

use crate::limits::RESPONSE_BYTES_MAX;
use crate::shard::Handled;
use crate::shard::counters::{Counters, DropReason};
use crate::shard::identity::TO_TAG_BYTES;
use crate::shard::refused::RefuseReason;
use crate::sip::write::{Full, Responder, Response};

/// The place of the answer to the request at hand.
pub(super) struct Answer<'a> {
    pub responder: &'a Responder<'a>,
    pub to_tag: [u8; TO_TAG_BYTES],
    pub out: &'a mut [u8],
    pub counters: &'a mut Counters,
}

impl Answer<'_> {
    /// The answer is a refusal, and counted as one.
    pub fn refusing(self, reason: RefuseReason) -> Self {
        self.counters.refuse(reason);
        self
    }

    /// Answers with the RFC's phrase and no header beyond what every response has.
    pub fn plain(self, status: u16) -> Handled {
        self.with(status, |_| Ok(()))
    }

    /// Answers with the RFC's phrase and further headers.
    #[inline]
    pub fn with(
        self,
        status: u16,
        headers: impl FnOnce(&mut Response<'_>) -> Result<(), Full>,
    ) -> Handled {
        self.phrased(status, &[crate::sip::status::reason(status)], headers)
    }

    /// Answers with a phrase of its own, its pieces written one behind the other.
    #[inline]
    pub fn phrased(
        self,
        status: u16,
        phrase: &[&str],
        headers: impl FnOnce(&mut Response<'_>) -> Result<(), Full>,
    ) -> Handled {
        let Answer { responder, to_tag, out, counters } = self;
        let to = responder.destination();
        // A datagram cannot be sent to port 0; only a forged one came from there.
        if to.port() == 0 {
            counters.drop(DropReason::NoReturnPath);
            return Handled::Nothing;
        }
        let room = out.len().min(RESPONSE_BYTES_MAX);
        let written = (|| {
            let mut response =
                responder.begin_with_phrase(&mut out[..room], status, phrase, &to_tag)?;
            headers(&mut response)?;
            response.finish()
        })();
        match written {
            Ok(len) => {
                counters.answered.count(status);
                Handled::Reply { to, len }
            }
            Err(Full) => {
                counters.drop(DropReason::AnswerTooLong);
                Handled::Nothing
            }
        }
    }
}
