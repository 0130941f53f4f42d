//! What follows from a proof: who is to hear of it, what an account vouches for, and what is
//! forgiven. How proofs are remembered is [`sources`](crate::guard::sources)'s and
//! [`vouches`](crate::guard::vouches)'.

use std::net::IpAddr;

use super::Guard;
use crate::guard::address::culprit;
use crate::guard::events::SecurityKind;
use crate::guard::sources::Concerns;
use crate::guard::told::{To, Told};
use crate::guard::vouches::Vouched;

impl Guard {
    /// An account, by the keyed hash of its name, has given a right digest over a fresh nonce that
    /// was given to `source`. To be told to the shard that owns the account.
    #[inline]
    pub fn proved(&mut self, source: IpAddr, account: u64) {
        let source = source.to_canonical();
        if self.indifferent || (source.is_loopback() && !self.config.loopback) {
            return;
        }
        match self.sources.concerns(self.moment, &self.addresses, source, account) {
            Concerns::Nobody => {}
            Concerns::Home => self.speak_for(source),
            Concerns::All => self.spread_proof(source, account),
        }
    }

    /// Something is held against `source`, and an account has just proved itself there once more.
    #[cold]
    fn speak_for(&mut self, source: IpAddr) {
        let home = self.addresses.home(source, self.shards);
        if home == self.id {
            self.absolve(source);
        } else if !self.telling.say(To::Shard(home), Told::Absolved { source }) {
            // The next success tells it.
            return;
        }
        self.sources.suspect(&self.addresses, source, false);
    }

    /// Forgives a source whose home this is half of what it did, and lifts its restraint.
    pub(super) fn absolve(&mut self, source: IpAddr) {
        let Guard { scores, blacklist, addresses, moment, .. } = self;
        scores.absolve(moment.tick, addresses, culprit(source));
        if blacklist.lift(addresses, source, true) {
            self.telling.say(To::Others, Told::Lifted { source });
            self.record_at_home(SecurityKind::Unblocked, source);
        }
    }

    /// A proof is news. An account that proves itself from ever new sources vouches for few of
    /// them at a time and moves on slowly: what is beyond that is told to nobody.
    #[cold]
    fn spread_proof(&mut self, source: IpAddr, account: u64) {
        // Where it cannot be told it is not taken down either, so that the next proof tells it.
        if self.shards > 1 && !self.telling.has_room_for(2) {
            return;
        }
        let new = match self.vouches.add(self.now.as_secs() as u32, account, source) {
            Vouched::NotYet => return,
            Vouched::Before => false,
            Vouched::Anew(left) => {
                if let Some(left) = left {
                    self.tell_others(Told::Unvouched { source: left });
                    self.sources.unvouch(&self.addresses, left);
                }
                true
            }
        };
        self.tell_others(Told::Proved { source, account, new });
        self.take_proof(source, (account, new));
    }

    /// Tells the other shards, if there are any; there is room.
    fn tell_others(&mut self, told: Told) {
        if self.shards > 1 {
            self.telling.say(To::Others, told);
        }
    }

    pub(super) fn take_proof(&mut self, source: IpAddr, proof: (u64, bool)) {
        let Guard { sources, scores, blacklist, addresses, moment, .. } = self;
        sources.prove(*moment, addresses, source, proof);
        scores.reset(addresses, culprit(source));
        if blacklist.lift(addresses, source, true) {
            self.record_at_home(SecurityKind::Unblocked, source);
        }
    }
}
