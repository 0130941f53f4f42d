//! How long a contact may stay: what was asked, between the minimum and the maximum, and a little
//! less so that a storm of registrations is not repeated in step.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use crate::config::{MinExpiresPolicy, Registrar as Config};

/// RFC 3261 10.3 step 7: only what is under an hour may be called too brief.
const TOO_BRIEF_BELOW_S: u32 = 3600;

/// Grants expiries for the contacts of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    min_s: u32,
    max_s: u32,
    policy: MinExpiresPolicy,
    /// How much of an expiry is taken off, in parts of 2^32.
    share: u64,
}

impl Grant {
    /// The share that is taken off follows from Call-ID and CSeq by a keyed hash, so a
    /// retransmission gets the same answer and nobody outside can choose it.
    pub fn new(config: &Config, key: [u64; 2], call_id: &[u8], cseq: u32) -> Grant {
        let percent = u64::from(config.expires_spread_percent.min(100));
        let share = if percent == 0 {
            0
        } else {
            let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
            hasher.write(call_id);
            hasher.write_u32(cseq);
            (hasher.finish() >> 32) * percent / 100
        };
        let max_s = config.expires_max_s.max(1);
        Grant {
            // A maximum below the minimum wins: it is the tighter promise.
            min_s: config.expires_min_s.clamp(1, max_s),
            max_s,
            policy: config.expires_min_policy,
            share,
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
            None => self.max_s,
        };
        let taken_off = (u64::from(asked_s) * self.share) >> 32;
        Ok((asked_s - taken_off as u32).max(self.min_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grant(config: &Config, cseq: u32) -> Grant {
        Grant::new(config, [1, 2], b"call", cseq)
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
            let granted = Grant::new(&config, key, &call_id, cseq).to(Some(asked));
            prop_assert_eq!(granted, Grant::new(&config, key, &call_id, cseq).to(Some(asked)));
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
