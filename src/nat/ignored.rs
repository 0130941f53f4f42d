//! Whose REGISTERs are ignored for a while: accounts, each together with the address it registered
//! from, whose endpoint there has never answered an OPTIONS. Flood tools do not.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::limits::IGNORED_MAX;
use crate::nat::keyed::Keyed;
use crate::time::Instant;

type Key = (u32, IpAddr);

/// The table, at most [`IGNORED_MAX`] long.
#[derive(Debug)]
pub struct Ignored {
    until: HashMap<Key, Instant, Keyed>,
    /// In the order they came, which is that of their ends while the time stays the same.
    order: VecDeque<(Instant, Key)>,
}

impl Ignored {
    /// An empty one. `secret` is the process's, and serves other ends as well.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Ignored {
        let until = HashMap::with_hasher(Keyed::new(secret, "ignored endpoints"));
        Ignored { until, order: VecDeque::new() }
    }

    /// Ignores account number `account` from `source` for `time`. Returns whether that is so: a
    /// full table takes nobody new.
    pub fn insert(&mut self, now: Instant, account: u32, source: IpAddr, time: Duration) -> bool {
        self.clear_ended(now);
        let (key, until) = ((account, source.to_canonical()), now + time);
        if self.order.len() >= IGNORED_MAX {
            return false;
        }
        if self.until.is_empty() {
            // All its room at once: a table that grows hashes everything anew.
            self.until.reserve(IGNORED_MAX);
            self.order.reserve(IGNORED_MAX.saturating_sub(self.order.len()));
        }
        self.until.insert(key, until);
        self.order.push_back((until, key));
        true
    }

    fn clear_ended(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.order.front().filter(|(until, _)| *until <= now) {
            self.order.pop_front();
            // It may have been put again since, or taken out.
            if self.until.get(&key) == Some(&until) {
                self.until.remove(&key);
            }
        }
    }

    /// Whether a REGISTER of this account from `source` is to be ignored.
    #[must_use]
    #[inline]
    pub fn contains(&self, now: Instant, account: u32, source: IpAddr) -> bool {
        !self.until.is_empty()
            && self.until.get(&(account, source.to_canonical())).is_some_and(|&until| until > now)
    }

    /// The endpoint has answered after all, or its account has gone.
    pub fn remove(&mut self, account: u32, source: IpAddr) {
        if !self.until.is_empty() {
            self.until.remove(&(account, source.to_canonical()));
        }
    }

    /// Ignores nobody any more.
    pub fn clear(&mut self) {
        self.until.clear();
        self.order.clear();
    }

    /// How many are ignored, those included whose time is over and who have not been cleared away.
    #[must_use]
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ip(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn an_account_is_ignored_from_one_address_for_a_while() {
        let mut ignored = Ignored::new(&[1; 16]);
        let at = Instant::from_secs;
        assert!(ignored.insert(at(0), 7, ip(1), MINUTE));
        assert!(ignored.contains(at(59), 7, ip(1)));
        let mapped = IpAddr::V6(std::net::Ipv4Addr::from_bits(1).to_ipv6_mapped());
        assert!(ignored.contains(at(59), 7, mapped));
        assert!(!ignored.contains(at(59), 7, ip(2)) && !ignored.contains(at(59), 8, ip(1)));
        assert!(!ignored.contains(at(60), 7, ip(1)));
        assert!(ignored.insert(at(60), 7, ip(1), MINUTE));
        assert!(ignored.contains(at(119), 7, ip(1)));
        ignored.remove(7, ip(1));
        assert!(!ignored.contains(at(119), 7, ip(1)));
    }

    #[test]
    fn put_again_it_stays_for_the_longer_time() {
        let mut ignored = Ignored::new(&[1; 16]);
        let at = Instant::from_secs;
        ignored.insert(at(0), 7, ip(1), MINUTE);
        ignored.insert(at(30), 7, ip(1), MINUTE);
        ignored.insert(at(70), 8, ip(1), MINUTE);
        assert!(ignored.contains(at(80), 7, ip(1)));
        ignored.insert(at(91), 9, ip(1), MINUTE);
        assert_eq!(ignored.len(), 2, "what is over is cleared away");
    }

    #[test]
    fn a_full_table_keeps_the_old() {
        let mut ignored = Ignored::new(&[1; 16]);
        for number in 0..IGNORED_MAX as u32 {
            assert!(ignored.insert(Instant::ZERO, 1, ip(number), MINUTE));
        }
        assert!(!ignored.insert(Instant::ZERO, 2, ip(0), MINUTE));
        assert!(ignored.contains(Instant::ZERO, 1, ip(0)));
        assert!(ignored.insert(Instant::ZERO + MINUTE, 2, ip(0), MINUTE));
        assert_eq!(ignored.len(), 1);
    }
}
