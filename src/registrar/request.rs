//! What the registrar is asked and what it answers, as values.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::{AccountPolicy, Replace};
use crate::flow::Flow;
use crate::nat::Keepalive;
use crate::registrar::binding::BindingId;
use crate::registrar::gruu::Mint;
use crate::registrar::location::AorId;
use crate::registrar::names::Instance;
use crate::sip::header::contact::{Contact, QValue};
use crate::time::Instant;

/// A REGISTER whose sender may do this to this address-of-record: authentication and
/// authorization are behind it (RFC 3261 10.3 steps 3 and 4).
#[derive(Clone, Copy, Debug)]
pub struct Register<'a> {
    /// Whose bindings it is about.
    pub aor: AorId,
    /// Call-ID.
    pub call_id: &'a [u8],
    /// CSeq number.
    pub cseq: u32,
    /// Contact headers.
    pub contacts: Contacts<'a>,
    /// Expires header, seconds.
    pub expires: Option<u32>,
    /// User-Agent, empty if absent. Cut to its limit here.
    pub user_agent: &'a [u8],
    /// Path values joined with commas (RFC 3327), empty if absent or not to be stored.
    pub path: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// The flow it came by: where requests to the binding go out (RFC 5626 2).
    pub flow: Flow,
    /// It came through a NAT: the shorter cap on expiries holds.
    pub behind_nat: bool,
    /// Its source has proved that it receives what is sent there: by a digest over a nonce that was
    /// given to it, or by a connection.
    pub proven: bool,
    /// What keeps the pinhole of its bindings open.
    pub keepalive: Keepalive,
    /// Outbound was negotiated (RFC 5626 6): instance and reg-id name the binding. Otherwise
    /// reg-id means nothing.
    pub outbound: bool,
    /// GRUUs were negotiated (RFC 5627 5.1): its bindings with an instance are given some.
    pub gruu: bool,
    /// Keyed hash of Call-ID, CSeq and top Via branch: equal for retransmissions, and for nothing
    /// else. 0 stands for "none" and never matches.
    pub fingerprint: u64,
    /// What holds for this account in place of the configured values.
    pub limits: Limits,
}

/// What holds for one account; what it does not say is as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The shortest registration, seconds.
    pub expires_min_s: Option<u32>,
    /// The longest registration, seconds.
    pub expires_max_s: Option<u32>,
    /// Concurrent bindings, 1-64.
    pub bindings_max: Option<u8>,
    /// What a REGISTER over that limit meets.
    pub replace: Option<Replace>,
}

impl From<&AccountPolicy> for Limits {
    fn from(policy: &AccountPolicy) -> Limits {
        Limits {
            expires_min_s: policy.expires_min_s,
            expires_max_s: policy.expires_max_s,
            bindings_max: policy.bindings_max,
            replace: policy.replace,
        }
    }
}

/// A fetch by nobody, to fill in what a request does not say.
impl Default for Register<'_> {
    fn default() -> Self {
        Register {
            aor: AorId(0),
            call_id: b"",
            cseq: 0,
            contacts: Contacts::Fetch,
            expires: None,
            user_agent: b"",
            path: b"",
            source: (Ipv4Addr::UNSPECIFIED, 0).into(),
            flow: Flow::Datagram { listener: 0, local_ip: None },
            behind_nat: false,
            proven: false,
            keepalive: Keepalive::None,
            outbound: false,
            gruu: false,
            fingerprint: 0,
            limits: Limits::default(),
        }
    }
}

impl Register<'_> {
    /// Whether it only asks what there is.
    pub(super) fn is_fetch(&self) -> bool {
        matches!(self.contacts, Contacts::Fetch | Contacts::List([]))
    }
}

/// The Contact headers of a REGISTER.
#[derive(Clone, Copy, Debug)]
pub enum Contacts<'a> {
    /// None: the sender only asks what there is (RFC 3261 10.2.3).
    Fetch,
    /// `*`: everything goes (RFC 3261 10.2.2).
    Wildcard,
    /// Addresses to add, refresh or remove; an empty list is a fetch.
    List(&'a [Contact<'a>]),
}

/// Why a REGISTER is refused. It has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Same Call-ID as the binding it would change, and a CSeq that is not higher
    /// (RFC 3261 10.3 steps 6 and 7: the update is aborted and the request fails, with 500).
    StaleCSeq,
    /// Asked for less than the minimum (RFC 3261 10.3 step 7).
    IntervalTooBrief {
        /// Goes into Min-Expires, seconds.
        min_expires_s: u32,
    },
    /// Over the limit of bindings, and none may be replaced; or more contacts in one request than
    /// the limit; or two devices kick each other, and the one that asks has to wait.
    TooManyBindings {
        /// Goes into Retry-After, seconds.
        retry_after_s: u32,
    },
    /// All accounts together hold as many bindings as they may, and this would be one more.
    Full {
        /// Goes into Retry-After, seconds.
        retry_after_s: u32,
    },
    /// `*` without an Expires of 0 (RFC 3261 10.3 step 6).
    WildcardExpires,
    /// More Contact values than `CONTACTS_MAX`.
    TooManyContacts,
    /// A Contact that is neither sip nor sips: nothing here could route to it.
    ContactScheme,
    /// A Contact URI longer than `CONTACT_BYTES_MAX`.
    ContactTooLong,
    /// A Call-ID longer than `CALL_ID_BYTES_MAX`.
    CallIdTooLong,
    /// A `+sip.instance` longer than `INSTANCE_BYTES_MAX`.
    InstanceTooLong,
    /// Path values longer than `PATH_BYTES_MAX` together.
    PathTooLong,
}

impl Refusal {
    /// Status code of the response.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Refusal::StaleCSeq => 500,
            Refusal::IntervalTooBrief { .. } => 423,
            Refusal::TooManyBindings { .. } | Refusal::Full { .. } => 503,
            Refusal::WildcardExpires
            | Refusal::TooManyContacts
            | Refusal::ContactScheme
            | Refusal::ContactTooLong
            | Refusal::CallIdTooLong
            | Refusal::InstanceTooLong
            | Refusal::PathTooLong => 400,
        }
    }

    /// Reason phrase of the response.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Refusal::StaleCSeq => "CSeq Out Of Order",
            Refusal::IntervalTooBrief { .. } => "Interval Too Brief",
            Refusal::TooManyBindings { .. } => "Too Many Bindings",
            Refusal::Full { .. } => "Registrar Full",
            Refusal::WildcardExpires => "Contact * Needs Expires 0",
            Refusal::TooManyContacts => "Too Many Contacts",
            Refusal::ContactScheme => "Contact Not SIP",
            Refusal::ContactTooLong => "Contact Too Long",
            Refusal::CallIdTooLong => "Call-ID Too Long",
            Refusal::InstanceTooLong => "Contact +sip.instance Too Long",
            Refusal::PathTooLong => "Path Too Long",
        }
    }

    /// The word metrics and logs use.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Refusal::StaleCSeq => "stale_cseq",
            Refusal::IntervalTooBrief { .. } => "interval_too_brief",
            Refusal::TooManyBindings { .. } => "too_many_bindings",
            Refusal::Full { .. } => "registrar_full",
            Refusal::WildcardExpires => "wildcard_expires",
            Refusal::TooManyContacts => "too_many_contacts",
            Refusal::ContactScheme => "contact_scheme",
            Refusal::ContactTooLong => "contact_too_long",
            Refusal::CallIdTooLong => "call_id_too_long",
            Refusal::InstanceTooLong => "instance_too_long",
            Refusal::PathTooLong => "path_too_long",
        }
    }
}

/// A REGISTER was accepted: what happened, and the key to what its 200 says
/// (`Registrar::answer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Whose.
    pub aor: AorId,
    /// Seen before; nothing was changed, and the answer is the one it got then.
    pub retransmission: bool,
    /// Bindings added.
    pub added: u8,
    /// Bindings refreshed.
    pub refreshed: u8,
    /// Bindings of the same device that now have another contact.
    pub retargeted: u8,
    /// Bindings removed as asked.
    pub removed: u8,
    /// Bindings of other devices that had to go.
    pub kicked: u8,
    pub(super) now: Instant,
    pub(super) fingerprint: u64,
    pub(super) gruu: bool,
}

impl Accepted {
    pub(super) fn unchanged(request: &Register<'_>, now: Instant) -> Accepted {
        let &Register { aor, fingerprint, gruu, .. } = request;
        Accepted {
            aor,
            retransmission: false,
            added: 0,
            refreshed: 0,
            retargeted: 0,
            removed: 0,
            kicked: 0,
            now,
            fingerprint,
            gruu,
        }
    }
}

/// One Contact of a 200 (RFC 3261 10.3 step 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The binding.
    pub binding: BindingId,
    /// Its URI, without angle brackets.
    pub contact: &'a [u8],
    /// Preference, if one was given.
    pub q: Option<QValue>,
    /// What the `expires` parameter says: for the contacts of this request what was granted, for
    /// the others the time left, rounded up; seconds.
    pub expires_s: u32,
    /// `+sip.instance` without quotes.
    pub instance: Option<Instance<'a>>,
    /// `reg-id`.
    pub reg_id: Option<u32>,
    /// Its instance is to be told its public GRUU (RFC 5627 5.3), which follows from `instance`.
    pub pub_gruu: bool,
    /// What the temporary GRUU is made from that its instance is to be told.
    pub temp_gruu: Option<Mint>,
}
