//! What all shards are told of addresses, since any of them may have a binding there: that a
//! keepalive has come from one, that ICMP calls one out of reach. Anybody can forge either, so both
//! are rationed ([`Told`]); what they mean is the plane's.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use super::counters::Counters;
use super::icmp::IcmpErrors;
use super::plane::Plane;
use super::told::{Told, Verdict};
use crate::shard::ShardId;
use crate::shard::mesh::{Endpoint, Notice};
use crate::time::Now;

/// How long the shards are not told again that a destination is out of reach: they probe no more
/// often.
const UNREACHABLE_QUIET: Duration = Duration::from_secs(2);
/// How long they are not told again that a source was heard: no phone has to ping more often.
const HEARD_QUIET: Duration = Duration::from_secs(8);

/// How many addresses of a kind one reactor tells of in a second: each shard hears as many from
/// every reactor.
fn told_per_second(reactors: usize) -> u32 {
    (262_144 / reactors as u32).clamp(2048, 32_768)
}

/// What one reactor has to tell.
pub(super) struct Hearsay {
    reactors: usize,
    icmp: IcmpErrors,
    unreachable: Told,
    heard: Told,
    /// Sockets at which ICMP errors may wait, a bit each.
    errors: u32,
}

impl Hearsay {
    /// Of a reactor among `reactors` with these sockets, numbered as the listeners are.
    pub(super) fn new(reactors: usize, sockets: Vec<RawFd>) -> Hearsay {
        let per_second = told_per_second(reactors);
        Hearsay {
            reactors,
            icmp: IcmpErrors::new(sockets),
            unreachable: Told::new(UNREACHABLE_QUIET, per_second),
            heard: Told::new(HEARD_QUIET, per_second),
            errors: 0,
        }
    }

    /// Errors may wait at these sockets, a bit each.
    pub(super) fn note_errors(&mut self, sockets: u32) {
        self.errors |= sockets;
    }

    /// Whether [`Hearsay::take_errors`] has something to do.
    pub(super) fn has_errors(&self) -> bool {
        self.errors != 0
    }

    /// A keepalive has come from `source`.
    #[cold]
    pub(super) fn heard<P: Plane>(
        &mut self,
        now: Now,
        source: SocketAddr,
        plane: &mut P,
        endpoint: &mut Endpoint,
        counters: &mut Counters,
    ) {
        match self.heard.admit(now.mono, source) {
            Verdict::Tell => {
                plane.heard(now, source);
                counters.heard_told += 1;
                let notice = Notice::Heard { source };
                counters.heard_shed += tell_others(self.reactors, endpoint, notice);
            }
            Verdict::Known => {}
            Verdict::TooMany => counters.heard_shed += 1,
        }
    }

    /// Takes the ICMP errors that wait, within a bound.
    #[cold]
    pub(super) fn take_errors<P: Plane>(
        &mut self,
        now: Now,
        plane: &mut P,
        endpoint: &mut Endpoint,
        counters: &mut Counters,
    ) {
        let Hearsay { reactors, icmp, unreachable, errors, .. } = self;
        *errors =
            icmp.take(*errors, counters, |to, counters| match unreachable.admit(now.mono, to) {
                Verdict::Tell => {
                    plane.unreachable(now, to);
                    counters.unreachable_told += 1;
                    let notice = Notice::Unreachable { to };
                    counters.unreachable_shed += tell_others(*reactors, endpoint, notice);
                }
                Verdict::Known => {}
                Verdict::TooMany => counters.unreachable_shed += 1,
            });
    }
}

/// Sends a notice to every other shard. Returns how many of them have no room for it.
fn tell_others(reactors: usize, endpoint: &mut Endpoint, notice: Notice) -> u64 {
    let own = endpoint.shard();
    let others = (0..reactors as u8).map(ShardId).filter(|&shard| shard != own);
    others.map(|to| u64::from(endpoint.outbound().push_notice(to, notice).is_err())).sum()
}
