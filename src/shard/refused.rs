//! Why a request is refused, beyond what its status says. The metric uses the same words.

/// The reason of a refusal. Each changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseReason {
    /// A part of the message breaks its grammar, is missing, or stands twice: 400.
    Malformed,
    /// Another version of SIP: 505.
    Version,
    /// More, or longer, than is taken: 513.
    TooLarge,
    /// The top Via names a transport it did not come by: 400.
    ViaTransport,
    /// A method that is not served here: 405, or 501 where nobody knows it.
    Method,
    /// Inside a dialog, or for a transaction, that is not here: 481.
    NoDialog,
    /// Request-URI neither sip nor sips: 416.
    UriScheme,
    /// No hops left for what is not ours: 483.
    Hops,
    /// A domain that is not served: 404.
    ForeignDomain,
    /// It requires an extension that is not supported: 420.
    Extension,
    /// A compressed body: 415.
    EncodedBody,
    /// To is no sip or sips URI: 404.
    AorScheme,
    /// To names no user: 404.
    AorWithoutUser,
    /// Digest credentials that cannot be checked: 400.
    Credentials,
    /// To or From is not the account of the credentials: 403.
    AccountMismatch,
    /// A Contact that cannot be read: 400.
    Contact,
    /// More Contacts than are taken: 400.
    TooManyContacts,
    /// `*` twice, beside an address, or with an Expires other than 0: 400.
    Wildcard,
    /// A Contact that is no sip or sips URI: 400.
    ContactScheme,
    /// A text that is too long to be stored: 400.
    TooLong,
    /// As many wrong answers as one authentication session may have: 403.
    TooManyTries,
    /// A Path that the phone would not understand: 420.
    PathUnsupported,
    /// Outbound through a proxy that keeps no flows: 439.
    FirstHop,
    /// Two flows of outbound in one request: 400.
    SeveralFlows,
    /// A Contact that leads back to its address-of-record: 403.
    ContactLoops,
    /// A Contact at a multicast address: 403.
    ContactMulticast,
    /// A Contact at a broadcast address: 403.
    ContactBroadcast,
    /// A Contact at an address and port where this process listens: 403.
    ContactOwn,
    /// A request for a user who does not exist: 404.
    UnknownUser,
    /// A request for a user who is nowhere registered: 480.
    Unavailable,
    /// A Route with a flow token that is not ours: 403.
    FlowForged,
    /// A Route with the token of a flow that is gone: 430.
    FlowGone,
    /// A subscription to another event package, or to none: 489.
    BadEvent,
    /// A subscription by somebody who takes no reginfo documents: 406.
    NotAcceptable,
    /// A SUBSCRIBE that came by another way already: 482.
    Merged,
    /// A SUBSCRIBE older than the last of its dialog: 500.
    SubscriptionOrder,
    /// A subscription for less than the minimum: 423.
    SubscriptionTooBrief,
    /// As many subscriptions as there may be: 500.
    TooManySubscriptions,
    /// The account is suspended for this source: 403.
    Suspended,
    /// Too much comes, and it carries a fresh nonce of its source: 503.
    OverloadProven,
    /// Too much comes, and it is of somebody known: 503.
    OverloadKnown,
    /// Too much comes, and it is a newcomer: 503.
    OverloadNewcomer,
}

impl RefuseReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [RefuseReason; 42] = [
        RefuseReason::Malformed,
        RefuseReason::Version,
        RefuseReason::TooLarge,
        RefuseReason::ViaTransport,
        RefuseReason::Method,
        RefuseReason::NoDialog,
        RefuseReason::UriScheme,
        RefuseReason::Hops,
        RefuseReason::ForeignDomain,
        RefuseReason::Extension,
        RefuseReason::EncodedBody,
        RefuseReason::AorScheme,
        RefuseReason::AorWithoutUser,
        RefuseReason::Credentials,
        RefuseReason::AccountMismatch,
        RefuseReason::Contact,
        RefuseReason::TooManyContacts,
        RefuseReason::Wildcard,
        RefuseReason::ContactScheme,
        RefuseReason::TooLong,
        RefuseReason::TooManyTries,
        RefuseReason::PathUnsupported,
        RefuseReason::FirstHop,
        RefuseReason::SeveralFlows,
        RefuseReason::ContactLoops,
        RefuseReason::ContactMulticast,
        RefuseReason::ContactBroadcast,
        RefuseReason::ContactOwn,
        RefuseReason::UnknownUser,
        RefuseReason::Unavailable,
        RefuseReason::FlowForged,
        RefuseReason::FlowGone,
        RefuseReason::BadEvent,
        RefuseReason::NotAcceptable,
        RefuseReason::Merged,
        RefuseReason::SubscriptionOrder,
        RefuseReason::SubscriptionTooBrief,
        RefuseReason::TooManySubscriptions,
        RefuseReason::Suspended,
        RefuseReason::OverloadProven,
        RefuseReason::OverloadKnown,
        RefuseReason::OverloadNewcomer,
    ];

    /// Its name in metrics and in the final counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RefuseReason::Malformed => "malformed",
            RefuseReason::Version => "version",
            RefuseReason::TooLarge => "too_large",
            RefuseReason::ViaTransport => "via_transport",
            RefuseReason::Method => "method",
            RefuseReason::NoDialog => "no_dialog",
            RefuseReason::UriScheme => "uri_scheme",
            RefuseReason::Hops => "hops",
            RefuseReason::ForeignDomain => "foreign_domain",
            RefuseReason::Extension => "extension",
            RefuseReason::EncodedBody => "encoded_body",
            RefuseReason::AorScheme => "aor_scheme",
            RefuseReason::AorWithoutUser => "aor_without_user",
            RefuseReason::Credentials => "credentials",
            RefuseReason::AccountMismatch => "account_mismatch",
            RefuseReason::Contact => "contact",
            RefuseReason::TooManyContacts => "too_many_contacts",
            RefuseReason::Wildcard => "wildcard",
            RefuseReason::ContactScheme => "contact_scheme",
            RefuseReason::TooLong => "too_long",
            RefuseReason::TooManyTries => "too_many_tries",
            RefuseReason::PathUnsupported => "path_unsupported",
            RefuseReason::FirstHop => "first_hop",
            RefuseReason::SeveralFlows => "several_flows",
            RefuseReason::ContactLoops => "contact_loops",
            RefuseReason::ContactMulticast => "contact_multicast",
            RefuseReason::ContactBroadcast => "contact_broadcast",
            RefuseReason::ContactOwn => "contact_own",
            RefuseReason::UnknownUser => "unknown_user",
            RefuseReason::Unavailable => "unavailable",
            RefuseReason::FlowForged => "flow_forged",
            RefuseReason::FlowGone => "flow_gone",
            RefuseReason::BadEvent => "bad_event",
            RefuseReason::NotAcceptable => "not_acceptable",
            RefuseReason::Merged => "merged",
            RefuseReason::SubscriptionOrder => "subscription_order",
            RefuseReason::SubscriptionTooBrief => "subscription_too_brief",
            RefuseReason::TooManySubscriptions => "too_many_subscriptions",
            RefuseReason::Suspended => "suspended",
            RefuseReason::OverloadProven => "overload_proven",
            RefuseReason::OverloadKnown => "overload_known",
            RefuseReason::OverloadNewcomer => "overload_newcomer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_index_their_own_counter_and_have_names_of_their_own() {
        for (number, reason) in RefuseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            let same = RefuseReason::ALL.iter().filter(|other| other.name() == reason.name());
            assert_eq!(same.count(), 1, "{}", reason.name());
        }
    }
}
