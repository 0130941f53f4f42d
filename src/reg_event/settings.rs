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

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Subscriptions that began, fetches included.
    pub begun: u64,
    /// SUBSCRIBEs that prolonged one.
    pub refreshed: u64,
    /// SUBSCRIBEs answered like the one before.
    pub retransmissions: u64,
    /// SUBSCRIBEs refused.
    pub refused: u64,
    /// NOTIFYs sent, without repetitions.
    pub notifies: u64,
    /// NOTIFYs sent again.
    pub notifies_again: u64,
    /// Of the NOTIFYs: about a contact of the subscriber's own, past the pace.
    pub urgent: u64,
    /// Subscriptions that ended with their last NOTIFY answered.
    pub ended: u64,
    /// Subscriptions dropped because a NOTIFY was not answered.
    pub timed_out: u64,
    /// Subscriptions dropped because of an answer.
    pub failed: u64,
    /// Subscriptions dropped with their connection.
    pub flow_closed: u64,
    /// Answers that nothing waited for.
    pub stray_answers: u64,
    /// NOTIFYs put off because too many wait for their answers.
    pub put_off: u64,
}
