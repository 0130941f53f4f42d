//! What one source, prefix or network may still ask: its buckets, and what of it was spent without
//! a word to the other shards.

use super::bucket::{Bucket, Rate, Share, Tick};

/// The limits of one kind of source, with the share of them that one shard may let pass without a
/// word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// SIP requests of any kind.
    pub requests: Rate,
    /// REGISTERs.
    pub registers: Rate,
    /// The shares of both; none where there is one shard.
    shares: Option<[Share; 2]>,
}

impl Limits {
    /// Limits that `shards` shards keep together.
    #[must_use]
    pub fn new(requests: Rate, registers: Rate, shards: u8) -> Limits {
        let shares = (shards > 1).then(|| [requests.share(shards), registers.share(shards)]);
        Limits { requests, registers, shares }
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: u32, shards: u8) -> Limits {
        Limits::new(self.requests.times(factor), self.registers.times(factor), shards)
    }

    /// The limits of a source from which so many accounts have proved themselves.
    #[inline]
    #[must_use]
    pub fn grown(self, accounts: u16, shards: u8) -> Limits {
        Limits::new(self.requests.grown(accounts), self.registers.grown(accounts), shards)
    }
}

/// What was let pass beyond one's share and not told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// Requests of any kind.
    pub requests: u8,
    /// REGISTERs.
    pub registers: u8,
    /// Requests let pass for their nonce.
    pub proofs: u8,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It is paid for.
    Paid,
    /// It is paid for, and the others are to hear of this much.
    Tell(Untold),
    /// There was not enough left; nothing was taken.
    Short,
}

/// The buckets of one source, prefix or network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    seen: Tick,
    requests: Bucket,
    registers: Bucket,
    /// Requests that carried a nonce bound to their source, past the limits of the others.
    proofs: Bucket,
    share_requests: Bucket,
    share_registers: Bucket,
    untold: Untold,
    /// Of an unproven source: points of offences anybody could have committed in its name, not
    /// told yet. Of a proven one: 1 where its home is to be told of the next success.
    pub suspicion: u8,
}

impl Budget {
    /// A full one.
    #[must_use]
    pub fn full(now: Tick, limits: &Limits) -> Budget {
        let [share_requests, share_registers] =
            limits.shares.map_or([Bucket::default(); 2], |shares| shares.map(Bucket::full_share));
        Budget {
            seen: now,
            requests: Bucket::full(limits.requests),
            registers: Bucket::full(limits.registers),
            proofs: Bucket::full(limits.requests),
            share_requests,
            share_registers,
            ..Budget::default()
        }
    }

    /// The same of a source from which somebody has just proved himself.
    #[must_use]
    pub fn unsuspected(self) -> Budget {
        Budget { suspicion: 0, ..self }
    }

    /// When it was last asked.
    #[must_use]
    pub fn seen(&self) -> Tick {
        self.seen
    }

    /// Fills the buckets up to now.
    #[inline]
    fn fill(&mut self, now: Tick, limits: &Limits) {
        let passed = now.since(self.seen);
        if passed == 0 {
            return;
        }
        self.seen = now;
        self.requests.fill(passed, limits.requests);
        self.registers.fill(passed, limits.registers);
        self.proofs.fill(passed, limits.requests);
        if let Some([requests, registers]) = limits.shares {
            self.share_requests.fill_share(passed, requests);
            self.share_registers.fill_share(passed, registers);
        }
    }

    /// Whether a request could be paid for.
    #[inline]
    pub fn can_pay(&mut self, now: Tick, register: bool, limits: &Limits) -> bool {
        self.fill(now, limits);
        self.requests.has_one() && (!register || self.registers.has_one())
    }

    /// Pays for a request.
    #[inline]
    pub fn pay(&mut self, now: Tick, register: bool, limits: &Limits) -> Spent {
        if !self.can_pay(now, register, limits) {
            return Spent::Short;
        }
        self.requests.take();
        if register {
            self.registers.take();
        }
        let Some([requests, registers]) = limits.shares else { return Spent::Paid };
        // Both, whatever the first says.
        let within = self.share_requests.take() & (!register || self.share_registers.take());
        if within {
            return Spent::Paid;
        }
        self.untold.requests = self.untold.requests.saturating_add(1);
        self.untold.registers = self.untold.registers.saturating_add(register.into());
        let full = u32::from(self.untold.requests) >= requests.burst().min(u8::MAX.into())
            || u32::from(self.untold.registers) >= registers.burst().min(u8::MAX.into());
        if full { self.tell() } else { Spent::Paid }
    }

    /// Pays for a request that carries a nonce bound to its source, where there was not enough
    /// left for others.
    pub fn pay_for_proof(&mut self, now: Tick, limits: &Limits) -> Spent {
        self.fill(now, limits);
        if !self.proofs.take() {
            return Spent::Short;
        }
        let Some([requests, _]) = limits.shares else { return Spent::Paid };
        self.untold.proofs = self.untold.proofs.saturating_add(1);
        let full = u32::from(self.untold.proofs) >= requests.burst().min(u8::MAX.into());
        if full { self.tell() } else { Spent::Paid }
    }

    /// Pays for a response: the tenth of a request. Each shard keeps that for itself.
    #[inline]
    pub fn pay_for_response(&mut self, now: Tick, limits: &Limits) -> bool {
        self.fill(now, limits);
        self.requests.take_tenth()
    }

    /// Pays for a REGISTER of a source that is held to `little`. The budget of proofs fills as
    /// ever.
    pub fn pay_little(&mut self, now: Tick, limits: &Limits, little: Rate) -> bool {
        self.fill(now, &Limits { registers: little, ..*limits });
        // Full of another rate, it is cut even where no time has passed.
        self.registers.fill(0, little);
        self.registers.take()
    }

    #[cold]
    fn tell(&mut self) -> Spent {
        Spent::Tell(std::mem::take(&mut self.untold))
    }

    /// Takes what other shards have let pass.
    pub fn charge(&mut self, now: Tick, told: Untold, limits: &Limits) {
        self.fill(now, limits);
        self.requests.charge(told.requests, limits.requests);
        self.registers.charge(told.registers, limits.registers);
        self.proofs.charge(told.proofs, limits.requests);
    }

    /// Gives what a grown allowance has more than the one before at once, so that an office does
    /// not wait for its buckets to fill.
    pub fn grow(&mut self, before: &Limits, after: &Limits) {
        let more = |before: Rate, after: Rate| after.burst.saturating_sub(before.burst);
        let requests = more(before.requests, after.requests);
        self.requests.add(requests, after.requests);
        self.proofs.add(requests, after.requests);
        self.registers.add(more(before.registers, after.registers), after.registers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn at(ms: u64) -> Tick {
        Tick::of(Instant::from_nanos(ms * 1_000_000))
    }

    fn limits(shards: u8) -> Limits {
        let requests = Rate { per_s: 20, burst: 50 };
        Limits::new(requests, Rate { per_s: 5, burst: 10 }, shards)
    }

    #[test]
    fn a_register_is_a_request_too_and_both_limits_hold() {
        let limits = limits(1);
        let mut budget = Budget::full(at(0), &limits);
        let paid = (0..100).filter(|_| budget.pay(at(0), true, &limits) == Spent::Paid).count();
        assert_eq!(paid, 10);
        let paid = (0..100).filter(|_| budget.pay(at(0), false, &limits) == Spent::Paid).count();
        assert_eq!(paid, 40);
        assert_eq!(budget.pay(at(200), true, &limits), Spent::Paid);
        assert_eq!(budget.pay(at(200), true, &limits), Spent::Short);
    }

    #[test]
    fn proofs_are_paid_from_a_budget_of_their_own() {
        let limits = limits(1);
        let mut budget = Budget::full(at(0), &limits);
        while budget.pay(at(0), false, &limits) == Spent::Paid {}
        let paid = (0..100).filter(|_| budget.pay_for_proof(at(0), &limits) == Spent::Paid).count();
        assert_eq!(paid, 50);
    }

    #[test]
    fn a_phone_is_never_worth_a_word_to_the_others() {
        let limits = limits(2);
        let mut budget = Budget::full(at(0), &limits);
        for refresh in 0..1000 {
            for _ in 0..2 {
                assert_eq!(budget.pay(at(refresh * 30_000), true, &limits), Spent::Paid);
            }
        }
    }

    #[test]
    fn a_restrained_source_keeps_its_budget_of_proofs() {
        let (limits, little) = (limits(1), Rate { per_s: 1, burst: 2 });
        let mut budget = Budget::full(at(0), &limits);
        let asked = (0..100).filter(|_| budget.pay_little(at(0), &limits, little)).count();
        assert_eq!(asked, 2);
        let paid = (0..100).filter(|_| budget.pay_for_proof(at(0), &limits) == Spent::Paid).count();
        assert_eq!(paid, 50);
        let asked = (1000..3000).filter(|&ms| budget.pay_little(at(ms), &limits, little)).count();
        assert_eq!(asked, 2, "one a second");
        let paid = (0..100).filter(|_| budget.pay_for_proof(at(3000), &limits) == Spent::Paid);
        assert_eq!(paid.count(), 50, "filled at its own rate");
    }

    /// One source by as many flows as there are shards, each flow as fast as it can.
    #[test]
    fn all_shards_together_never_let_twice_the_rate_pass() {
        for shards in [1u8, 2, 3, 4, 16, 128] {
            let limits = limits(shards);
            let mut budgets = vec![Budget::full(at(0), &limits); usize::from(shards)];
            let (mut passed, mut told) = (0u64, 0u64);
            const SECONDS: u64 = 100;
            for ms in (0..SECONDS * 1000).step_by(10) {
                for one in 0..budgets.len() {
                    let word = match budgets[one].pay(at(ms), true, &limits) {
                        Spent::Short => continue,
                        Spent::Paid => None,
                        Spent::Tell(untold) => Some(untold),
                    };
                    passed += 1;
                    let Some(untold) = word else { continue };
                    told += 1;
                    for other in (0..budgets.len()).filter(|&other| other != one) {
                        budgets[other].charge(at(ms), untold, &limits);
                    }
                }
            }
            let (rate, burst) = (5, 10);
            let share_bursts = u64::from(shards) * (burst / (2 * u64::from(shards))).max(2);
            let most = 2 * rate * SECONDS + burst + 2 * share_bursts;
            assert!(passed <= most, "{passed} of at most {most} with {shards} shards");
            assert!(passed >= rate * SECONDS * 9 / 10, "{passed} with {shards} shards");
            assert!(told <= passed, "{told} words for {passed} requests");
        }
    }

    #[test]
    fn one_flow_gets_the_whole_rate_whatever_the_number_of_shards() {
        for shards in [1, 2, 16, 128] {
            let limits = limits(shards);
            let mut budget = Budget::full(at(0), &limits);
            let passed = (0..100_000)
                .step_by(10)
                .filter(|&ms| budget.pay(at(ms), true, &limits) != Spent::Short)
                .count();
            assert!((505..=512).contains(&passed), "{passed} with {shards} shards");
        }
    }

    #[test]
    fn a_grown_allowance_is_there_at_once() {
        let (before, after) = (limits(1), limits(1).grown(10, 1));
        let mut budget = Budget::full(at(0), &before);
        while budget.pay(at(0), true, &before) == Spent::Paid {}
        budget.grow(&before, &after);
        let paid = (0..100).filter(|_| budget.pay(at(0), true, &after) == Spent::Paid).count();
        assert_eq!(paid, 40, "ten accounts have added two fifths of ten each");
    }
}
