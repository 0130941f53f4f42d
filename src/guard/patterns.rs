//! Patterns of many events none of which means much alone: suspensions of many accounts, one
//! account from many sources, one account that registers far too often. It owns how they are
//! counted, in fixed memory; what counts is told by the guard, and what follows is its caller's.
//!
//! Walks through numbers are [`scanner`](super::scanner)'s.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::bucket::Tick;
use super::table::{Entry, Hashed, Table};
use crate::config::Alerts;
use crate::limits::ALERT_ACCOUNTS;

/// What is counted on one shard.
pub struct Patterns {
    alerts: Alerts,
    accounts: Table<Account>,
    /// Accounts that were suspended within the window, each once, the latest last; never more than
    /// an alert needs. Only at the home of suspensions.
    suspended: VecDeque<Suspension>,
    /// No other alert about suspensions before this second.
    quiet_until_s: u64,
}

#[derive(Clone, Copy, Debug)]
struct Suspension {
    at_s: u64,
    account: u64,
    source: IpAddr,
}

/// What is remembered of one account within its window, which begins with the first thing that is.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// A bit for each source, by its hash. Two may share one, so there are never fewer sources than
    /// bits.
    sources: u128,
    begun: Tick,
    /// When a binding came last.
    bound: Tick,
    /// Registrations that came far before they were due.
    early: u16,
    /// Somebody has failed with its password.
    tried: bool,
    has_bound: bool,
    told_sources: bool,
    told_early: bool,
}

const _: () = assert!(size_of::<Account>() == 32);

/// Of eight accounts the one of which least is known makes room: those that came back once with a
/// million others, not the one that is tried from everywhere.
impl Entry for Account {
    fn worth(&self, now: Tick) -> u64 {
        let known = u64::from(self.sources.count_ones()) + u64::from(self.early);
        u64::from(self.tried) << 63 | known << 32 | u64::from(u32::MAX - now.since(self.begun))
    }
}

impl Patterns {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(alerts: &Alerts) -> Patterns {
        Patterns {
            alerts: alerts.clone(),
            accounts: Table::new(ALERT_ACCOUNTS),
            suspended: VecDeque::new(),
            quiet_until_s: 0,
        }
    }

    /// Other settings from now on; what was seen stays seen.
    pub fn configure(&mut self, alerts: &Alerts) {
        self.alerts = alerts.clone();
    }

    /// Whether suspensions are counted at all.
    #[must_use]
    pub fn counts_suspensions(&self) -> bool {
        self.alerts.suspensions.is_some()
    }

    /// An account was suspended for a source. Returns whether that makes an alert, and whose it is
    /// where one source did it all.
    pub fn suspended(
        &mut self,
        now_s: u64,
        source: IpAddr,
        account: u64,
    ) -> Option<Option<IpAddr>> {
        let many = usize::from(self.alerts.suspensions?);
        let window_s = u64::from(self.alerts.window_s);
        let is_old = |one: &Suspension| one.at_s + window_s <= now_s;
        while self.suspended.front().is_some_and(is_old) {
            self.suspended.pop_front();
        }
        // Once more for another source, or by a repeater: one account all the same.
        self.suspended.retain(|one| one.account != account);
        self.suspended.push_back(Suspension { at_s: now_s, account, source });
        if self.suspended.len() < many {
            return None;
        }
        let one_source = self.suspended.iter().all(|one| one.source == source);
        while self.suspended.len() >= many.max(2) {
            self.suspended.pop_front();
        }
        if now_s < self.quiet_until_s {
            return None;
        }
        self.quiet_until_s = now_s + window_s;
        Some(one_source.then_some(source))
    }

    /// An account was used from a source, or somebody there has `failed` with its password. Returns
    /// whether that makes an alert: once in a window.
    pub fn seen_from(&mut self, now: Tick, account: u32, source: Hashed, failed: bool) -> bool {
        let Some(many) = self.alerts.sources else { return false };
        let seen = self.account(now, account);
        seen.tried |= failed;
        // By the highest bits; the lowest say which shard's source it is.
        seen.sources |= 1 << (source.0 >> 57);
        let alert = seen.sources.count_ones() >= u32::from(many) && !seen.told_sources;
        seen.told_sources |= alert;
        alert
    }

    /// An account has a new binding, granted for so long. Returns whether that came far before it
    /// was due, the last new one having come just before.
    pub fn is_bound_early(&mut self, now: Tick, account: u32, granted_s: u32) -> bool {
        if self.alerts.registrations.is_none() {
            return false;
        }
        let seen = self.account(now, account);
        let early = seen.has_bound && now.since(seen.bound) < early_ms(granted_s);
        (seen.bound, seen.has_bound) = (now, true);
        early
    }

    /// A registration came far before it was due. Returns whether that makes an alert: once in a
    /// window, for an account of so many bindings, each of which may come as often.
    pub fn registered_early(
        &mut self,
        now: Tick,
        account: u32,
        bindings: impl FnOnce() -> usize,
    ) -> bool {
        let Some(many) = self.alerts.registrations else { return false };
        let seen = self.account(now, account);
        seen.early = seen.early.saturating_add(1);
        if seen.told_early || seen.early < many {
            return false;
        }
        let alert = usize::from(seen.early) >= usize::from(many) * bindings().max(1);
        seen.told_early = alert;
        alert
    }

    fn account(&mut self, now: Tick, account: u32) -> &mut Account {
        // The numbers of accounts follow each other; odd, so that none fall together.
        let at = Hashed(u64::from(account).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32));
        let new = || Account { begun: now, ..Account::default() };
        let window_ms = self.alerts.window_s.saturating_mul(1000);
        let seen = self.accounts.find_or_insert(at, now, new);
        if now.since(seen.begun) >= window_ms {
            // What came last is not of the window.
            *seen = Account { begun: now, bound: seen.bound, has_bound: seen.has_bound, ..new() };
        }
        seen
    }
}

/// What comes within a tenth of the time that was granted comes far too early: phones refresh after
/// half of it or later (RFC 3261 10.2.4), those that keep a NAT open by it after a quarter.
#[must_use]
pub fn early_ms(granted_s: u32) -> u32 {
    granted_s.saturating_mul(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn alerts() -> Alerts {
        Alerts::default()
    }

    fn s(second: u64) -> Tick {
        Tick::of(Instant::from_secs(second))
    }

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    /// A hash as good as any (SplitMix64).
    fn hash(number: u64) -> Hashed {
        let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Hashed(z ^ z >> 31)
    }

    #[test]
    fn suspensions_of_many_accounts_are_an_alert_once_in_a_window() {
        let mut patterns = Patterns::new(&alerts());
        let many = u64::from(alerts().suspensions.unwrap());
        for account in 1..many {
            // Whatever the order, and however often the same.
            for _ in 0..3 {
                assert_eq!(patterns.suspended(account, ip(1), account), None);
            }
        }
        assert_eq!(patterns.suspended(many, ip(1), many), Some(Some(ip(1))));
        for account in 0..1000 {
            assert_eq!(patterns.suspended(many, ip(2), account % 500), None);
            assert!(patterns.suspended.len() <= many as usize, "no more than an alert needs");
        }
        let later = many + u64::from(alerts().window_s);
        for account in 1..many {
            assert_eq!(patterns.suspended(later, ip(2), account), None, "{account}");
        }
        assert_eq!(patterns.suspended(later, ip(3), many), Some(None), "from several sources");
    }

    #[test]
    fn suspensions_over_a_longer_time_are_none() {
        let mut patterns = Patterns::new(&alerts());
        let step_s =
            u64::from(alerts().window_s) / u64::from(alerts().suspensions.unwrap() - 1) + 1;
        for nth in 0..1000 {
            assert_eq!(patterns.suspended(nth * step_s, ip(1), nth), None);
        }
    }

    #[test]
    fn one_account_from_many_sources_is_an_alert_once_in_a_window() {
        let mut patterns = Patterns::new(&alerts());
        let alerted = |patterns: &mut Patterns, second: u64, count: u64| {
            (0..count)
                .filter(|&number| patterns.seen_from(s(second), 7, hash(number), false))
                .count()
        };
        for _ in 0..100 {
            assert_eq!(alerted(&mut patterns, 0, 4), 0, "a phone that moves about");
        }
        assert_eq!(alerted(&mut patterns, 1, 100), 1);
        let window_s = u64::from(alerts().window_s);
        assert_eq!(alerted(&mut patterns, window_s - 1, 100), 0);
        assert_eq!(alerted(&mut patterns, window_s, 100), 1);
    }

    #[test]
    fn never_more_sources_are_counted_than_there_are() {
        for many in [2, 10, 64] {
            let mut patterns = Patterns::new(&Alerts { sources: Some(many), ..alerts() });
            for account in 0..500u32 {
                let first = (0..500u64).find(|&number| {
                    let source = hash(u64::from(account) << 32 | number);
                    patterns.seen_from(s(0), account, source, true)
                });
                let first = first.expect("many are noticed") + 1;
                assert!(first >= u64::from(many), "after {first} of {many}");
                assert!(first <= u64::from(many) * 3, "after {first} of {many}");
            }
        }
    }

    #[test]
    fn a_phone_that_registers_all_the_time_is_an_alert_once_in_a_window() {
        let mut patterns = Patterns::new(&alerts());
        let many = usize::from(alerts().registrations.unwrap());
        let alerted = (0..3 * many).filter(|_| patterns.registered_early(s(5), 1, || 1)).count();
        assert_eq!(alerted, 1);
        let alerted = (0..3 * many).filter(|_| patterns.registered_early(s(5), 2, || 4)).count();
        assert_eq!(alerted, 0, "four phones of one account may come as often each");
        assert!((0..many).any(|_| patterns.registered_early(s(5), 2, || 4)));
        // New bindings all the time are no better than refreshes.
        let early = (0..100).filter(|&second| patterns.is_bound_early(s(second), 3, 3600)).count();
        assert_eq!(early, 99);
        let early = (0..100).filter(|&nth| patterns.is_bound_early(s(nth * 360), 4, 3600)).count();
        assert_eq!(early, 0);
    }

    #[test]
    fn a_million_phones_that_come_back_are_no_alert_and_hide_no_attack() {
        let mut patterns = Patterns::new(&alerts());
        let memory = patterns.accounts.room();
        let mut alerted = Vec::new();
        for account in 0..1_000_000u32 {
            let second = s(u64::from(account) / 20_000);
            let home = hash(u64::from(account));
            // Each is heard twice: the power came and went.
            for _ in 0..2 {
                let early = patterns.is_bound_early(second, account, 3600);
                assert!(!patterns.seen_from(second, account, home, false));
                assert!(!early || !patterns.registered_early(second, account, || 1));
            }
            if account % 10_000 == 0 {
                let source = hash(1 << 40 | u64::from(account));
                let alert = patterns.seen_from(second, u32::MAX, source, true);
                alerted.extend(alert.then_some(account));
            }
        }
        assert_eq!(alerted.len(), 1, "the account that is tried from a hundred places");
        assert_eq!(patterns.accounts.room(), memory);
    }

    #[test]
    fn an_office_of_500_phones_that_reboots_is_no_alert() {
        let mut patterns = Patterns::new(&alerts());
        for reboot in 0..3u64 {
            for account in 0..500 {
                let now = s(reboot * 60 + u64::from(account) / 50);
                assert!(!patterns.seen_from(now, account, hash(1), false));
                let early = patterns.is_bound_early(now, account, 3600);
                assert!(!early || !patterns.registered_early(now, account, || 1));
            }
        }
    }

    #[test]
    fn what_is_switched_off_is_not_counted() {
        let none = Alerts { suspensions: None, sources: None, registrations: None, ..alerts() };
        let mut patterns = Patterns::new(&none);
        assert!(!patterns.counts_suspensions());
        for number in 0..1000u32 {
            assert_eq!(patterns.suspended(0, ip(number), number.into()), None);
            assert!(!patterns.seen_from(s(0), 1, hash(number.into()), true));
            assert!(!patterns.is_bound_early(s(0), 1, 3600));
            assert!(!patterns.registered_early(s(0), 1, || 1));
        }
    }
}
