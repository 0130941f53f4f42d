//! What a client looks at in a response (RFC 3261 17.1.3, 18.1.2): which of its requests it
//! answers, and how.

use crate::sip::error::{Fault, ParseError, Part};
use crate::sip::header::HeaderName;
use crate::sip::header::cseq::CSeq;
use crate::sip::header::from_to::FromTo;
use crate::sip::header::retry_after;
use crate::sip::header::via::Via;
use crate::sip::message::{Message, StartLine};

/// The headers without which a response answers nothing, read and found good.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// 100-699.
    pub status: u16,
    /// The topmost Via value: the client's own.
    pub via: Via<'a>,
    /// From, with the client's own tag.
    pub from: FromTo<'a>,
    /// To; its tag is that of the other side.
    pub to: FromTo<'a>,
    /// Call-ID.
    pub call_id: &'a [u8],
    /// CSeq.
    pub cseq: CSeq<'a>,
}

impl<'a> Message<'a> {
    /// Reads what a response must have.
    ///
    /// # Errors
    /// The first header that is missing or malformed, or a top Via that is not the only one: it
    /// was meant for somebody else (RFC 3261 8.1.3.3). For a request: its start line.
    pub fn check_response(&self) -> Result<ResponseHead<'a>, ParseError> {
        let StartLine::Response { status, .. } = self.start_line() else {
            return Err(ParseError { part: Part::StartLine, fault: Fault::Mismatch });
        };
        let via = self.via()?;
        // "If there is more than one Via header field value in a response, the UAC SHOULD discard
        // the message." (RFC 3261 8.1.3.3)
        if self.is_repeated(HeaderName::Via) || !via.rest.is_empty() {
            return Err(ParseError::header(HeaderName::Via, Fault::Repeated));
        }
        Ok(ResponseHead {
            status,
            via,
            from: self.from()?,
            to: self.to()?,
            call_id: self.call_id()?,
            cseq: self.cseq()?,
        })
    }

    /// Retry-After, seconds, if there is one that can be read.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.first(HeaderName::RetryAfter).and_then(retry_after::parse)
    }
}

impl ResponseHead<'_> {
    /// Whether it ends the transaction.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.status >= 200
    }

    /// Whether it answers the request of `method` sent with `branch`: top Via and CSeq say so
    /// (RFC 3261 17.1.3).
    #[must_use]
    pub fn answers(&self, branch: &[u8], method: &[u8]) -> bool {
        self.via.branch == Some(branch) && self.cseq.method == method
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse::{Framing, Parsed, parse};
    use crate::sip::table::HeaderTable;

    const GOOD: &str = "SIP/2.0 503 Service Unavailable\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKn1\r\n\
        From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 4 NOTIFY\r\n\
        Retry-After: 30;duration=9\r\n\r\n";

    fn read<T>(text: &str, look: impl FnOnce(Message<'_>) -> T) -> T {
        let mut table = HeaderTable::new();
        match parse(text.as_bytes(), Framing::Datagram, &mut table) {
            Parsed::Complete { message, .. } => look(message),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn rfc3261_17_1_3_a_response_is_matched_by_branch_and_cseq_method() {
        read(GOOD, |message| {
            let head = message.check_response().unwrap();
            assert_eq!((head.status, head.cseq.number), (503, 4));
            assert!(head.is_final());
            assert!(head.answers(b"z9hG4bKn1", b"NOTIFY"));
            assert!(!head.answers(b"z9hG4bKn2", b"NOTIFY"));
            assert!(!head.answers(b"z9hG4bKn1", b"OPTIONS"));
            assert_eq!((head.from.tag, head.to.tag), (Some(&b"1"[..]), Some(&b"2"[..])));
            assert_eq!(message.retry_after(), Some(30));
        });
        let trying = GOOD.replace("503 Service Unavailable", "100 Trying");
        read(&trying, |m| assert!(!m.check_response().unwrap().is_final()));
    }

    #[test]
    fn each_header_a_response_lacks_is_named() {
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let start = GOOD.find(&format!("\r\n{name}: ")).unwrap() + 2;
            let end = start + GOOD[start..].find("\r\n").unwrap() + 2;
            let text = format!("{}{}", &GOOD[..start], &GOOD[end..]);
            let error = read(&text, |m| m.check_response().unwrap_err());
            assert_eq!(error.phrase().concat(), format!("Missing {name}"));
        }
    }

    #[test]
    fn rfc3261_8_1_3_3_a_second_via_makes_it_somebody_elses() {
        for second in ["\r\nv: SIP/2.0/UDP g", ", SIP/2.0/UDP g"] {
            let text = GOOD.replace("z9hG4bKn1", &format!("z9hG4bKn1{second}"));
            let error = read(&text, |m| m.check_response().unwrap_err());
            assert_eq!(error, ParseError::header(HeaderName::Via, Fault::Repeated));
        }
    }

    #[test]
    fn a_request_is_no_response() {
        let text = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n";
        assert_eq!(read(text, |m| m.check_response().unwrap_err()).part, Part::StartLine);
    }
}
