//! What the guard is told of accounts so that it notices patterns, and the alerts that come of
//! them: each is a security event of its own. How they are counted is
//! [`patterns`](super::patterns)'.

use std::net::{IpAddr, Ipv4Addr};

use super::address::culprit;
use super::events::SecurityKind;
use super::gatehouse::Guard;
use super::told::{To, Told};

/// The shard where suspensions are counted.
const HOME: u8 = 0;

/// Who registers, or tries to.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// Where from.
    pub source: IpAddr,
    /// The number of the account on its shard.
    pub account: u32,
    /// Its address-of-record.
    pub aor: &'a [u8],
    /// What the phone calls itself.
    pub user_agent: &'a [u8],
}

impl Guard {
    /// An account, by the keyed hash of its name, was suspended for a source.
    #[cold]
    pub fn note_suspension(&mut self, source: IpAddr, account: u64) {
        let source = source.to_canonical();
        if !self.alerts.counts_suspensions() || self.is_exempt(source) {
            return;
        }
        if self.id == HOME {
            self.take_suspension(source, account);
        } else {
            self.telling.say(To::Shard(HOME), Told::Suspended { source, account });
        }
    }

    /// Counts a suspension, as the shard that does.
    pub(super) fn take_suspension(&mut self, source: IpAddr, account: u64) {
        let Some(by_one) = self.alerts.suspended(self.now.as_secs(), source, account) else {
            return;
        };
        let nobody_alone = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        self.record(SecurityKind::ManySuspensions, by_one.unwrap_or(nobody_alone), b"", b"");
    }

    /// An account of this shard was used from where it was not before, or has `failed` there.
    pub fn note_source(&mut self, party: &Party<'_>, failed: bool) {
        let source = party.source.to_canonical();
        if self.is_exempt(source) {
            return;
        }
        let hashed = self.addresses.hash(culprit(source));
        if self.alerts.seen_from(self.moment.tick, party.account, hashed, failed) {
            self.record(SecurityKind::ManySources, source, party.aor, party.user_agent);
        }
    }

    /// An account of this shard has a new binding, granted for so long. `bindings` is how many it
    /// has.
    pub fn note_bound(
        &mut self,
        party: &Party<'_>,
        granted_s: u32,
        bindings: impl FnOnce() -> usize,
    ) {
        if !self.is_exempt(party.source)
            && self.alerts.is_bound_early(self.moment.tick, party.account, granted_s)
        {
            self.note_early(party, bindings);
        }
    }

    /// An account of this shard has registered far before it had to.
    #[cold]
    pub fn note_early(&mut self, party: &Party<'_>, bindings: impl FnOnce() -> usize) {
        if !self.is_exempt(party.source)
            && self.alerts.registered_early(self.moment.tick, party.account, bindings)
        {
            let source = party.source.to_canonical();
            self.record(SecurityKind::RapidRegistration, source, party.aor, party.user_agent);
        }
    }
}
