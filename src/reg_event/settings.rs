//! What subscriptions obey and what they count, as plain values.

use std::time::Duration;

use crate::config;
use crate::limits::{SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_AOR_MAX};

/// What subscriptions obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Shortest subscription, seconds, at most an hour; one that asks for less is refused with 423
    /// (RFC 6665 4.2.1.1).
    pub expires_min_s: u32,
    /// Longest subscription granted, seconds.
    pub expires_max_s: u32,
    /// What is granted where nothing is asked, seconds. Default 3761 (RFC 3680 4.4).
    pub expires_default_s: u32,
    /// Between two NOTIFYs of one subscription about mere changes. Default 5 s (RFC 3680 4.10).
    pub interval: Duration,
    /// Subscriptions of one address-of-record.
    pub per_aor_max: usize,
    /// Subscriptions of the shard.
    pub subscriptions_max: usize,
    /// Retry-After of a SUBSCRIBE over one of these limits, seconds.
    pub retry_after_s: u32,
}

/// Between two NOTIFYs about mere changes (RFC 3680 4.10).
const INTERVAL: Duration = Duration::from_secs(5);

impl From<&config::Registrar> for Settings {
    fn from(config: &config::Registrar) -> Settings {
        Settings {
            expires_min_s: config.subscription_expires_min_s,
            expires_max_s: config.subscription_expires_max_s,
            expires_default_s: config.subscription_expires_default_s,
            interval: INTERVAL,
            per_aor_max: SUBSCRIPTIONS_PER_AOR_MAX,
            subscriptions_max: SUBSCRIPTIONS_MAX,
            retry_after_s: config.retry_after_s,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::from(&config::Registrar::default())
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What happened so far.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Name, meaning and value of each.
            pub fn described(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Subscriptions that began, fetches included.
    begun,
    /// SUBSCRIBEs that prolonged one.
    refreshed,
    /// SUBSCRIBEs answered like the one before.
    retransmissions,
    /// SUBSCRIBEs refused.
    refused,
    /// NOTIFYs sent, without repetitions.
    notifies,
    /// NOTIFYs sent again.
    notifies_again,
    /// Of the NOTIFYs: about a contact of the subscriber's own, past the pace.
    urgent,
    /// Subscriptions that ended with their last NOTIFY answered.
    ended,
    /// Subscriptions dropped because a NOTIFY was not answered.
    timed_out,
    /// Subscriptions dropped because of an answer.
    failed,
    /// Subscriptions dropped with their connection.
    flow_closed,
    /// Answers that nothing waited for.
    stray_answers,
    /// NOTIFYs put off because too many wait for their answers.
    put_off,
}
