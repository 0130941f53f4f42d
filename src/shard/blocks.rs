//! Blocked sources as operators see them, page by page. Whom to block is the guard's to say.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::guard::Blocked;
use crate::limits::BLOCKS_PER_CALL_MAX;
use crate::shard::core::Core;
use crate::time::Now;

/// One blocked source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockItem {
    /// What is blocked: an address, or a /64 of IPv6.
    pub network: IpNet,
    /// Nothing of it passes; else it is restrained: a REGISTER now and then does, and whatever
    /// proves itself. Only what is blocked whole is for the kernel to drop.
    pub whole: bool,
    /// An operator has said so.
    pub by_operator: bool,
    /// How many times it has been blocked, this one included.
    pub times: u8,
    /// For how many seconds it has been.
    pub since_s: u64,
    /// Seconds left, rounded up; `None` until an operator lifts it.
    pub left_s: Option<u64>,
}

/// Some blocked sources, in the order of their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockPage {
    /// At most [`BLOCKS_PER_CALL_MAX`] of them.
    pub items: Vec<BlockItem>,
    /// Behind which address the list goes on, if it does.
    pub next: Option<IpAddr>,
    /// All there are.
    pub total: usize,
    /// Changes whenever a source is blocked or free again: whoever keeps a copy need not read it
    /// again while this stays.
    pub version: u64,
}

impl Core {
    /// One page of the blocked sources.
    pub(super) fn list_blocks(&self, now: Now, after: Option<IpAddr>) -> BlockPage {
        let round_up = |left: Duration| left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let item = |blocked: Blocked| BlockItem {
            network: blocked.network,
            whole: blocked.whole,
            by_operator: blocked.by_operator,
            times: blocked.times,
            since_s: now.mono.saturating_since(blocked.since).as_secs(),
            left_s: blocked.until.map(|until| round_up(until.saturating_since(now.mono))),
        };
        let items: Vec<BlockItem> =
            self.guard.blocks(after, BLOCKS_PER_CALL_MAX).map(item).collect();
        let is_full = items.len() == BLOCKS_PER_CALL_MAX;
        BlockPage {
            next: items.last().filter(|_| is_full).map(|item| item.network.network()),
            items,
            total: self.guard.blocks_count(),
            version: self.guard.blocks_version(),
        }
    }
}
