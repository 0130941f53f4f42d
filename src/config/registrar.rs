//! What the registrar obeys: expiries, limits, replacing, and the extensions it takes part in.

use ipnet::IpNet;

use super::words::words;

/// What the registrar core obeys. Per account, [`AccountPolicy`](super::AccountPolicy) may say
/// otherwise for some of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// SS_ENDPOINT_REGISTER_REPLACE: what a REGISTER over the limit of bindings meets. Default
    /// [`Replace::Always`].
    pub replace: Replace,
    /// SERVER_REGISTRAR_MAX_BINDINGS: concurrent bindings of one address-of-record, 1-64.
    /// Default 1.
    pub bindings_max: u8,
    /// Bindings of all accounts together, 1-2000000000; each reactor has its share, and accounts
    /// are spread over reactors evenly. Over it refreshes go on and newcomers meet 503 with
    /// Retry-After; `None` sets no limit. Default `None`.
    pub total_max: Option<u32>,
    /// Which binding makes room where one is replaced. Default [`Evict::Oldest`].
    pub evict: Evict,
    /// SS_ENDPOINT_EXPIRE: the longest registration granted, seconds, 20-86400. Default 3600.
    pub expires_max_s: u32,
    /// The shortest registration, seconds, 1-3600. Default 60.
    pub expires_min_s: u32,
    /// What happens to a REGISTER that asks for less than the minimum.
    pub expires_min_policy: MinExpiresPolicy,
    /// What is granted when nothing is asked, seconds, 1-86400 and not above the maximum; `None`
    /// grants the maximum. Default `None`.
    pub expires_default_s: Option<u32>,
    /// SS_ENDPOINT_NAT_EXPIRE: the longest registration granted to an endpoint behind NAT,
    /// seconds, 20-86400; the shorter of this and `expires_max_s` holds. Default 300.
    pub nat_expires_max_s: u32,
    /// Granted expiries are shortened by up to this many percent, 0-50. Default 10.
    pub expires_spread_percent: u8,
    /// How long a binding is kept past its granted expiry, seconds, 0-300, so that a refresh that
    /// comes late is still a refresh. Default 5.
    pub late_margin_s: u32,
    /// Retry-After of a 503 for too many bindings, seconds, 1-3600. Default 60.
    pub retry_after_s: u32,
    /// Retry-After is lengthened by up to this many percent, 0-100, so that those who were turned
    /// away do not return in step. Default 50.
    pub retry_after_jitter_percent: u8,
    /// What is done with the Path of a REGISTER (RFC 3327). Default [`PathMode::Lazy`].
    pub path: PathMode,
    /// URIs of the Service-Route of a 200 (RFC 3608), in order, each `sip:` or `sips:` without
    /// brackets; at most [`SERVICE_ROUTES_MAX`](crate::limits::SERVICE_ROUTES_MAX). Default none.
    pub service_route: Vec<String>,
    /// Flows of one instance are kept beside each other (RFC 5626). Default true.
    pub outbound: bool,
    /// Flow-Timer of a 200 over outbound (RFC 5626 7), seconds, 0-3600; 0 sends none. Default 120.
    pub flow_timer_s: u32,
    /// Phones that ask are given GRUUs (RFC 5627). Default true.
    pub gruu: bool,
    /// The Via parameter `keep` is answered (RFC 6223). Default true.
    pub keep: bool,
    /// A 200 has a Date (RFC 3261 10.3 step 8). Default false.
    pub date: bool,
    /// When two devices that keep kicking each other are told apart from one that moves.
    pub flapping: Flapping,
    /// Requests for a registered address-of-record are answered 302 with its contacts. Default
    /// false: they are answered 405.
    pub redirect: bool,
    /// The event package `reg` may be subscribed to (RFC 3680). Default true.
    pub reg_event: bool,
    /// The shortest subscription, seconds, 1-3600. Default 60.
    pub subscription_expires_min_s: u32,
    /// The longest subscription, seconds, 60-86400. Default 86400.
    pub subscription_expires_max_s: u32,
    /// The subscription granted when nothing is asked, seconds, 60-86400. Default 3761 (RFC 3680
    /// 4.3).
    pub subscription_expires_default_s: u32,
    /// Networks whose senders may watch any address-of-record, at most
    /// [`NETWORKS_MAX`](crate::limits::NETWORKS_MAX); others may watch their own. Default none.
    pub watchers: Vec<IpNet>,
    /// Of the Call-ID of a registration, and of a User-Agent that few phones have, only a hash is
    /// kept: enough for every rule of registration, and fewer bytes. Default false.
    pub compact: bool,
    /// What is done with parameters inside the user part of a URI, as in
    /// `sip:+1555;phone-context=x@example.com`. Default [`UserParameters::Keep`].
    pub user_parameters: UserParameters,
}

impl Default for Registrar {
    fn default() -> Self {
        Registrar {
            replace: Replace::Always,
            bindings_max: 1,
            total_max: None,
            evict: Evict::Oldest,
            expires_max_s: 3600,
            expires_min_s: 60,
            expires_min_policy: MinExpiresPolicy::Refuse,
            expires_default_s: None,
            nat_expires_max_s: 300,
            expires_spread_percent: 10,
            late_margin_s: 5,
            retry_after_s: 60,
            retry_after_jitter_percent: 50,
            path: PathMode::Lazy,
            service_route: Vec::new(),
            outbound: true,
            flow_timer_s: 120,
            gruu: true,
            keep: true,
            date: false,
            flapping: Flapping::default(),
            redirect: false,
            reg_event: true,
            subscription_expires_min_s: 60,
            subscription_expires_max_s: 86_400,
            subscription_expires_default_s: 3761,
            watchers: Vec::new(),
            compact: false,
            user_parameters: UserParameters::Keep,
        }
    }
}

/// Two devices that keep taking each other's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// Kicks are counted over this time, seconds, 1-3600. Default 60.
    pub window_s: u32,
    /// So many kicks within the window are flapping, 2-100. Default 4.
    pub kicks: u8,
    /// How long the newcomer of a flapping pair is turned away with Retry-After, seconds, 0-3600;
    /// 0 turns nobody away. Default 0.
    pub damping_s: u32,
}

impl Default for Flapping {
    fn default() -> Self {
        Flapping { window_s: 60, kicks: 4, damping_s: 0 }
    }
}

words! {
    /// What a REGISTER that would go over the limit of bindings meets. The words of
    /// SS_ENDPOINT_REGISTER_REPLACE and its switches are both read.
    pub enum Replace: "On (always), Off (never) or unless_in_call" {
        /// A binding makes room, and its calls end.
        #[default]
        Always = "On" | "always" | "1" | "true",
        /// The REGISTER is refused; what is bound stays.
        Never = "Off" | "never" | "0" | "false",
        /// As `Always`, but a binding with a call is not touched. There are no calls yet: until
        /// then it is `Always`.
        UnlessInCall = "unless_in_call" | "unless-in-call",
    }
}

words! {
    /// Which binding makes room for a new one.
    pub enum Evict: "oldest or unreachable_first" {
        /// The one that registered first; refreshing makes none younger.
        #[default]
        Oldest = "oldest",
        /// The oldest of those that are known not to answer; where all answer, the oldest.
        UnreachableFirst = "unreachable_first" | "unreachable-first",
    }
}

words! {
    /// What a REGISTER gets that asks for less than the minimum; RFC 3261 10.3 step 7 allows both.
    pub enum MinExpiresPolicy: "refuse or raise" {
        /// 423 with Min-Expires.
        #[default]
        Refuse = "refuse",
        /// Grant the minimum instead.
        Raise = "raise",
    }
}

words! {
    /// What is done with the Path of a REGISTER (RFC 3327 5.3).
    pub enum PathMode: "off, lazy or strict" {
        /// Path is neither stored nor answered.
        Off = "off",
        /// Path is stored whether or not the phone supports it, and answered if it does.
        #[default]
        Lazy = "lazy",
        /// A REGISTER with a Path from a phone that does not support it is refused with 420.
        Strict = "strict",
    }
}

words! {
    /// What is done with parameters inside the user part of an address-of-record.
    pub enum UserParameters: "keep or strip" {
        /// They are part of the user (RFC 3261 19.1.4).
        #[default]
        Keep = "keep",
        /// They are cut away before the account is looked for.
        Strip = "strip",
    }
}
