//! The blocks of a guard as operators meet them: set, restored, lifted, listed, and what made room
//! for others. Who is blocked for what he did is decided in the file above.

use std::net::IpAddr;

use super::{Block, Guard};
use crate::guard::address::culprit;
use crate::guard::blacklist::{Blocked, NewBlock, PushedOut};
use crate::guard::events::SecurityKind;
use crate::guard::networks::Standing;
use crate::guard::told::until;
use crate::time::Instant;

impl Guard {
    /// Counts what the last block has pushed out, and lists it if that was blocked.
    pub(super) fn note_pushed_out(&mut self) {
        let Some(PushedOut { source, whole }) = self.blacklist.take_pushed_out() else { return };
        if whole {
            self.record_at_home(SecurityKind::PushedOut, source);
        } else if self.addresses.home(source, self.shards) == self.id {
            self.journal.count(SecurityKind::PushedOut);
        }
    }

    /// An operator blocks a source, for so many seconds or until it is lifted. To be said to every
    /// shard. Returns whether that changed anything.
    pub fn block(&mut self, source: IpAddr, for_s: Option<u32>) -> bool {
        let until = for_s.map(|for_s| until(self.now, for_s));
        let (now, source) = (self.now, source.to_canonical());
        let block = NewBlock { now, until, whole: true, by_operator: true, times: 1 };
        let changed = self.blacklist.block(&self.addresses, source, block);
        if changed {
            self.record_at_home(SecurityKind::Blocked, source);
            self.note_pushed_out();
        }
        changed
    }

    /// An operator had blocked a source before the process began. To be said to every shard.
    pub fn restore_block(&mut self, source: IpAddr, for_s: Option<u32>) {
        let until = for_s.map(|for_s| until(self.now, for_s));
        let block = NewBlock { now: self.now, until, whole: true, by_operator: true, times: 1 };
        self.blacklist.block(&self.addresses, source.to_canonical(), block);
        self.note_pushed_out();
    }

    /// An operator lifts the block of a source and forgets what it did. To be said to every shard.
    /// Returns whether it was blocked.
    pub fn lift(&mut self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        let Guard { scores, blacklist, addresses, .. } = self;
        scores.reset(addresses, culprit(source));
        let lifted = blacklist.lift(addresses, source, false);
        if lifted {
            self.record_at_home(SecurityKind::Unblocked, source);
        }
        lifted
    }

    /// Whether a source is blocked whole, by the configuration or for what it did: connections of
    /// it need not be accepted.
    #[must_use]
    pub fn is_blocked(&self, now: Instant, source: IpAddr) -> bool {
        let source = source.to_canonical();
        match self.networks.of(source).standing {
            Standing::Trusted => false,
            Standing::Blocked => true,
            Standing::Served => {
                (self.config.loopback || !source.is_loopback())
                    && self.blacklist.standing(now, &self.addresses, source) == Block::Blocked
            }
        }
    }

    /// Whether a source is restrained for what it did.
    #[must_use]
    pub fn is_restrained(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.blacklist.standing(self.now, &self.addresses, source) == Block::Restrained
    }

    /// The blocks after `after` in the order of addresses, at most `most`.
    pub fn blocks(&self, after: Option<IpAddr>, most: usize) -> impl Iterator<Item = Blocked> + '_ {
        self.blacklist.list(self.now, &self.addresses, after, most)
    }

    /// How many sources are blocked.
    #[must_use]
    pub fn blocks_count(&self) -> usize {
        self.blacklist.len()
    }

    /// Changes whenever a source is blocked or free again.
    #[must_use]
    pub fn blocks_version(&self) -> u64 {
        self.blacklist.version()
    }
}
