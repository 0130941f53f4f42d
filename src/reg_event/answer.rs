//! What the answer to a NOTIFY says (RFC 3261 8.1.3, 17.1.3).

use crate::reg_event::identity::Branch;
use crate::sip::{Message, ResponseHead};

/// A response to a NOTIFY of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which NOTIFY it answers, and which shard sent that.
    pub branch: Branch,
    /// Its status.
    pub status: u16,
    /// Retry-After, seconds.
    pub retry_after_s: Option<u32>,
}

impl Answer {
    /// Reads a response. `None`: it answers nothing that is ours. What it says of itself must hold
    /// together: one Via, with a branch of ours (RFC 3261 8.1.3.3, 17.1.3), and the CSeq that is
    /// in that branch.
    #[must_use]
    pub fn read(message: Message<'_>) -> Option<Answer> {
        Answer::of(message, &message.check_response().ok()?)
    }

    /// The same of a response whose head has been read.
    #[must_use]
    pub fn of(message: Message<'_>, head: &ResponseHead<'_>) -> Option<Answer> {
        let branch = Branch::parse(head.via.branch?)?;
        let ours = head.cseq.method == b"NOTIFY" && head.cseq.number == branch.cseq;
        let (status, retry_after_s) = (head.status, message.retry_after());
        ours.then_some(Answer { branch, status, retry_after_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reg_event::identity::LocalTag;
    use crate::sip::{Framing, HeaderTable, Parsed, parse};

    fn read(text: &str) -> Option<Answer> {
        let mut table = HeaderTable::new();
        match parse(text.as_bytes(), Framing::Datagram, &mut table) {
            Parsed::Complete { message, .. } => Answer::read(message),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn only_what_answers_a_notify_of_ours_is_taken_rfc_3261_8_1_3_3() {
        let branch = Branch { shard: 3, tag: LocalTag(7), cseq: 2 };
        let name = String::from_utf8(branch.text().to_vec()).unwrap();
        let good = format!(
            "SIP/2.0 503 No\r\nVia: SIP/2.0/UDP h;branch={name};rport=5\r\nTo: <sip:a@h>;tag=1\r\n\
             From: <sip:a@h>;tag=2\r\nCall-ID: c\r\nCSeq: 2 NOTIFY\r\n\
             retry-after: 30 (busy);duration=9\r\n\r\n"
        );
        let expected = Answer { branch, status: 503, retry_after_s: Some(30) };
        assert_eq!(read(&good), Some(expected));
        let without = good.replace("retry-after: 30", "Retry-After: soon");
        assert_eq!(read(&without).unwrap().retry_after_s, None);
        for (from, to) in [
            ("2 NOTIFY", "3 NOTIFY"),
            ("2 NOTIFY", "2 INVITE"),
            ("z9hG4bK-re-", "z9hG4bK-xx-"),
            ("\r\nTo:", "\r\nv: SIP/2.0/UDP other\r\nTo:"),
            (";rport=5", ", SIP/2.0/UDP other"),
            ("Via: ", "X: "),
            ("CSeq", "X"),
            ("SIP/2.0 503 No", "NOTIFY sip:h SIP/2.0"),
        ] {
            assert!(good.contains(from));
            assert_eq!(read(&good.replacen(from, to, 1)), None, "{to}");
        }
    }
}
