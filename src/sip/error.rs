//! What is wrong with a message: which part, and how. Small enough to copy, and enough to word
//! the reason phrase of the refusal.

use crate::sip::header::HeaderName;

/// One fault of a message, the first that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where.
    pub part: Part,
    /// What.
    pub fault: Fault,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The message as a whole.
    Message,
    /// Request line or status line.
    StartLine,
    /// The URI of the request line.
    RequestUri,
    /// A header that is interpreted.
    Header(HeaderName),
    /// The n-th header field, counted from 1, where its name cannot be told.
    HeaderLine(u8),
}

/// What can be wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but line ends: somebody's keepalive.
    Empty,
    /// It is not there.
    Missing,
    /// It is there more than once, and only one is allowed.
    Repeated,
    /// It breaks its grammar.
    Malformed,
    /// More values than are taken; see [`crate::limits`].
    TooMany,
    /// Longer than is taken; see [`crate::limits`].
    TooLong,
    /// A CR without LF, which some would read as a line end and some not.
    BareCr,
    /// The datagram ends before it does.
    Truncated,
    /// A SIP version other than 2.0.
    Version,
    /// It contradicts the request line.
    Mismatch,
}

impl ParseError {
    /// A fault of a header.
    #[inline]
    #[must_use]
    pub const fn header(name: HeaderName, fault: Fault) -> Self {
        ParseError { part: Part::Header(name), fault }
    }

    /// The status that refuses a request with this fault: 505 for its version, 513 where it is
    /// too large, otherwise 400.
    #[must_use]
    pub const fn status(self) -> u16 {
        match (self.part, self.fault) {
            (_, Fault::Version) => 505,
            (Part::Message, Fault::TooLong | Fault::TooMany) => 513,
            _ => 400,
        }
    }

    /// The reason phrase that names the part, in two pieces to be written one behind the other,
    /// for instance `Missing ` and `CSeq` (RFC 3261 21.4.1: "The Reason-Phrase SHOULD identify
    /// the syntax problem in more detail").
    #[must_use]
    pub const fn phrase(self) -> [&'static str; 2] {
        let fault = match self.fault {
            Fault::Empty => "Empty ",
            Fault::Missing => "Missing ",
            Fault::Repeated => "Repeated ",
            Fault::Malformed => "Malformed ",
            Fault::TooMany => "Too Many Values In ",
            Fault::TooLong => "Too Long ",
            Fault::BareCr => "CR Without LF In ",
            Fault::Truncated => "Datagram Ends Before ",
            Fault::Version => "Version Not Supported In ",
            Fault::Mismatch => "Method Does Not Match ",
        };
        let part = match self.part {
            Part::Message => "Message",
            Part::StartLine => "Start Line",
            Part::RequestUri => "Request-URI",
            Part::Header(name) => name.as_str(),
            Part::HeaderLine(_) => "Header Line",
        };
        [fault, part]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_phrase_names_the_header_rfc_3261_21_4_1() {
        let e = ParseError::header(HeaderName::CSeq, Fault::Missing);
        assert_eq!((e.status(), e.phrase().concat().as_str()), (400, "Missing CSeq"));
        let e = ParseError { part: Part::StartLine, fault: Fault::Version };
        assert_eq!(e.status(), 505);
        let e = ParseError { part: Part::Message, fault: Fault::TooMany };
        assert_eq!((e.status(), e.phrase().concat().as_str()), (513, "Too Many Values In Message"));
    }

    #[test]
    fn an_error_is_small() {
        assert!(size_of::<ParseError>() <= 4);
    }
}
