//! How long a contact may stay: what was asked, between the minimum and the maximum, and a little
//! less so that a storm of registrations is not repeated in step. And how long one that was turned
//! away waits, for the same reason a little more.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use crate::config::{MinExpiresPolicy, Registrar as Config};
use crate::registrar::request::Register;

/// RFC 3261 10.3 step 7: only what is under an hour may be called too brief.
const TOO_BRIEF_BELOW_S: u32 = 3600;

/// Grants expiries for the contacts of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    min_s: u32,
    max_s: u32,
    default_s: u32,
    policy: MinExpiresPolicy,
    /// How much of an expiry is taken off, in parts of 2^32.
    share: u64,
}

/// Up to so many percent, in parts of 2^32: follows from Call-ID and CSeq by a keyed hash, so a
/// retransmission gets the same answer and nobody outside can choose it.
fn share(percent: u8, key: [u64; 2], request: &Register<'_>) -> u64 {
    if percent == 0 {
        return 0;
    }
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    hasher.write(request.call_id);
    hasher.write_u32(request.cseq);
    (hasher.finish() >> 32) * u64::from(percent.min(100)) / 100
}

/// Retry-After of a request that is turned away: what is configured, lengthened by its jitter.
#[cold]
pub(super) fn retry_after_s(config: &Config, key: [u64; 2], request: &Register<'_>) -> u32 {
    let share = share(config.retry_after_jitter_percent, key, request);
    let longer = (u64::from(config.retry_after_s) * share) >> 32;
    config.retry_after_s.saturating_add(longer as u32)
}

impl Grant {
    /// The bounds are the account's where it has its own, else the configured ones; behind a NAT
    /// the cap for NATs holds as well.
    pub fn new(config: &Config, key: [u64; 2], request: &Register<'_>) -> Grant {
        let limits = &request.limits;
        let (mut min_s, mut max_s) = (config.expires_min_s, config.expires_max_s);
        if let Some(account_s) = limits.expires_max_s {
            max_s = account_s;
        }
        if let Some(account_s) = limits.expires_min_s {
            min_s = account_s;
            if limits.expires_max_s.is_none() {
                // What is said of the account goes before what is said of all.
                max_s = max_s.max(account_s);
            }
        }
        if request.behind_nat {
            max_s = max_s.min(config.nat_expires_max_s);
        }
        let max_s = max_s.max(1);
        // A maximum below the minimum wins: it is the tighter promise.
        let min_s = min_s.clamp(1, max_s);
        Grant {
            min_s,
            max_s,
            default_s: config.expires_default_s.unwrap_or(max_s).clamp(min_s, max_s),
            policy: config.expires_min_policy,
            share: share(config.expires_spread_percent, key, request),
        }
    }

    /// What is granted to a contact that asked for `asked_s` seconds, by its own parameter or by
    /// the Expires header; 0 means it goes.
    ///
    /// # Errors
    /// Too brief: the minimum, for Min-Expires.
    pub fn to(&self, asked_s: Option<u32>) -> Result<u32, u32> {
        let asked_s = match asked_s {
            Some(0) => return Ok(0),
            Some(asked_s) if asked_s < self.min_s && asked_s < TOO_BRIEF_BELOW_S => {
                match self.policy {
                    MinExpiresPolicy::Refuse => return Err(self.min_s),
                    MinExpiresPolicy::Raise => return Ok(self.min_s),
                }
            }
            Some(asked_s) => asked_s.min(self.max_s),
            None => self.default_s,
        };
        let taken_off = (u64::from(asked_s) * self.share) >> 32;
        Ok((asked_s - taken_off as u32).max(self.min_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registrar::request::Limits;
    use proptest::prelude::*;

    fn request(cseq: u32) -> Register<'static> {
        Register { call_id: b"call", cseq, ..Register::default() }
    }

    fn grant(config: &Config, cseq: u32) -> Grant {
        Grant::new(config, [1, 2], &request(cseq))
    }

    fn account(expires_min_s: Option<u32>, expires_max_s: Option<u32>) -> Register<'static> {
        let limits = Limits { expires_min_s, expires_max_s, ..Limits::default() };
        Register { limits, ..request(1) }
    }

    #[test]
    fn nothing_asked_is_granted_the_default_within_the_bounds() {
        let config = Config { expires_spread_percent: 0, ..Config::default() };
        for (default_s, granted) in [(None, 3600), (Some(600), 600), (Some(1), 60)] {
            let config = Config { expires_default_s: default_s, ..config.clone() };
            assert_eq!(grant(&config, 1).to(None), Ok(granted));
            assert_eq!(grant(&config, 1).to(Some(900)), Ok(900));
        }
    }

    #[test]
    fn behind_a_nat_the_shorter_cap_holds() {
        let config = Config { expires_spread_percent: 0, ..Config::default() };
        let natted = Register { behind_nat: true, ..request(1) };
        let grant = Grant::new(&config, [1, 2], &natted);
        assert_eq!((grant.to(None), grant.to(Some(3600))), (Ok(300), Ok(300)));
        assert_eq!(grant.to(Some(120)), Ok(120));
        let config = Config { nat_expires_max_s: 86_400, ..config };
        assert_eq!(Grant::new(&config, [1, 2], &natted).to(None), Ok(3600));
    }

    #[test]
    fn the_range_of_an_account_goes_before_the_configured_one() {
        let config = Config { expires_spread_percent: 0, ..Config::default() };
        let to = |min, max, asked| Grant::new(&config, [1, 2], &account(min, max)).to(asked);
        assert_eq!(to(None, Some(7200), None), Ok(7200));
        assert_eq!(to(None, Some(30), None), Ok(30));
        assert_eq!(to(None, Some(30), Some(29)), Err(30));
        assert_eq!(to(Some(600), None, Some(599)), Err(600));
        // Its minimum lies above the configured maximum, which is raised to it.
        assert_eq!(to(Some(7200), None, None), Ok(7200));
        assert_eq!(to(Some(10), Some(20), Some(15)), Ok(15));
    }

    #[test]
    fn those_who_are_turned_away_return_spread_over_the_jitter_and_never_early() {
        let config = Config { retry_after_s: 100, ..Config::default() };
        let waits: Vec<u32> =
            (0..1000).map(|cseq| retry_after_s(&config, [1, 2], &request(cseq))).collect();
        assert!(waits.iter().all(|wait| (100..150).contains(wait)));
        for tenth in (100..150).step_by(5) {
            let hits = waits.iter().filter(|&&wait| (tenth..tenth + 5).contains(&wait)).count();
            assert!((50..200).contains(&hits), "{hits} of 1000 from {tenth}");
        }
        assert_eq!(waits[7], retry_after_s(&config, [1, 2], &request(7)));
        let steady = Config { retry_after_jitter_percent: 0, ..config };
        assert_eq!(retry_after_s(&steady, [1, 2], &request(7)), 100);
    }

    #[test]
    fn without_spread_what_was_asked_is_granted_within_the_bounds() {
        let config = Config { expires_spread_percent: 0, ..Config::default() };
        let grant = grant(&config, 1);
        assert_eq!(grant.to(None), Ok(3600));
        assert_eq!(grant.to(Some(0)), Ok(0));
        assert_eq!(grant.to(Some(1)), Err(60));
        assert_eq!(grant.to(Some(59)), Err(60));
        assert_eq!(grant.to(Some(60)), Ok(60));
        assert_eq!(grant.to(Some(1800)), Ok(1800));
        assert_eq!(grant.to(Some(u32::MAX)), Ok(3600));
    }

    #[test]
    fn what_is_too_brief_is_raised_where_the_policy_says_so() {
        let config = Config { expires_min_policy: MinExpiresPolicy::Raise, ..Config::default() };
        assert_eq!(grant(&config, 1).to(Some(1)), Ok(60));
    }

    #[test]
    fn a_maximum_below_the_minimum_wins() {
        let config = Config { expires_max_s: 20, expires_min_s: 60, ..Config::default() };
        assert_eq!(grant(&config, 1).to(Some(3600)), Ok(20));
        assert_eq!(grant(&config, 1).to(Some(20)), Ok(20));
        assert_eq!(grant(&config, 1).to(Some(19)), Err(20));
    }

    #[test]
    fn a_storm_is_spread_over_the_whole_share() {
        let config = Config { expires_spread_percent: 50, ..Config::default() };
        let granted: Vec<u32> =
            (0..1000).map(|cseq| grant(&config, cseq).to(None).unwrap()).collect();
        assert!(granted.iter().all(|&s| (1800..=3600).contains(&s)));
        for tenth in 0..10 {
            let from = 1800 + tenth * 180;
            let hits = granted.iter().filter(|&&s| (from..from + 180).contains(&s)).count();
            assert!((50..200).contains(&hits), "{hits} of 1000 from {from}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_asked_never_less_than_the_minimum_and_always_the_same(
            asked in 1u32..100_000, min in 1u32..3600, max in 20u32..86_400,
            percent in 0u8..=50, cseq: u32, key: [u64; 2], call_id: Vec<u8>,
        ) {
            let config = Config {
                expires_min_s: min, expires_max_s: max, expires_spread_percent: percent,
                ..Config::default()
            };
            let floor = min.min(max);
            let request = Register { call_id: &call_id, cseq, ..Register::default() };
            let granted = Grant::new(&config, key, &request).to(Some(asked));
            prop_assert_eq!(granted, Grant::new(&config, key, &request).to(Some(asked)));
            match granted {
                Ok(granted) => {
                    prop_assert!(granted >= floor && granted <= asked && granted <= max);
                    let full = asked.min(max);
                    let least = u64::from(full) * u64::from(100 - percent) / 100;
                    prop_assert!(u64::from(granted) >= least.min(u64::from(full)));
                }
                Err(min) => prop_assert!(asked < floor && min == floor),
            }
        }
    }
}
