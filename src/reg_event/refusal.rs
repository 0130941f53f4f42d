//! Why a SUBSCRIBE is refused. It has changed nothing then.

/// Why a SUBSCRIBE is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another event package than `reg`, or none named (RFC 6665 4.2.1.1); the answer carries
    /// Allow-Events.
    BadEvent,
    /// Accept leaves out `application/reginfo+xml` (RFC 3680 4.5); the answer says what there is.
    NotAcceptable,
    /// The sender may not see this address-of-record's registrations (RFC 3680 4.6).
    Forbidden,
    /// It names a dialog that is not there, or is there no more (RFC 6665 4.4.1).
    UnknownDialog,
    /// Its CSeq is lower than that of the request before it in the dialog (RFC 3261 12.2.2).
    StaleCSeq,
    /// The same request came by another way already (RFC 3261 8.2.2.2).
    Merged,
    /// Asked for less than the minimum (RFC 6665 4.2.1.1).
    IntervalTooBrief {
        /// Goes into Min-Expires, seconds.
        min_expires_s: u32,
    },
    /// As many subscriptions as this address-of-record, or this shard, may have.
    TooManySubscriptions {
        /// Goes into Retry-After, seconds.
        retry_after_s: u32,
    },
    /// A header that must be there is not.
    Missing(&'static str),
    /// A header breaks its grammar or its rules.
    Malformed(&'static str),
    /// A header is longer than what is stored of it.
    TooLong(&'static str),
}

impl Refusal {
    /// Status code of the response. Too many subscriptions are a 500 with Retry-After and not a
    /// 503, which would forbid the phone every other request too, its REGISTER first (RFC 3261
    /// 21.5.4).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Refusal::BadEvent => 489,
            Refusal::NotAcceptable => 406,
            Refusal::Forbidden => 403,
            Refusal::UnknownDialog => 481,
            Refusal::StaleCSeq | Refusal::TooManySubscriptions { .. } => 500,
            Refusal::Merged => 482,
            Refusal::IntervalTooBrief { .. } => 423,
            Refusal::Missing(_) | Refusal::Malformed(_) | Refusal::TooLong(_) => 400,
        }
    }

    /// Reason phrase of the response, in two pieces to be written one behind the other.
    #[must_use]
    pub const fn phrase(self) -> [&'static str; 2] {
        match self {
            Refusal::BadEvent => ["Bad Event", ""],
            Refusal::NotAcceptable => ["Not Acceptable", ""],
            Refusal::Forbidden => ["Forbidden", ""],
            Refusal::UnknownDialog => ["Subscription Does Not Exist", ""],
            Refusal::StaleCSeq => ["CSeq Out Of Order", ""],
            Refusal::Merged => ["Loop Detected", ""],
            Refusal::IntervalTooBrief { .. } => ["Interval Too Brief", ""],
            Refusal::TooManySubscriptions { .. } => ["Too Many Subscriptions", ""],
            Refusal::Missing(header) => ["Missing ", header],
            Refusal::Malformed(header) => ["Malformed ", header],
            Refusal::TooLong(header) => ["Too Long ", header],
        }
    }

    /// The word metrics and logs use.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Refusal::BadEvent => "bad_event",
            Refusal::NotAcceptable => "not_acceptable",
            Refusal::Forbidden => "forbidden",
            Refusal::UnknownDialog => "unknown_dialog",
            Refusal::StaleCSeq => "stale_cseq",
            Refusal::Merged => "merged",
            Refusal::IntervalTooBrief { .. } => "interval_too_brief",
            Refusal::TooManySubscriptions { .. } => "too_many_subscriptions",
            Refusal::Missing(_) => "missing",
            Refusal::Malformed(_) => "malformed",
            Refusal::TooLong(_) => "too_long",
        }
    }
}
