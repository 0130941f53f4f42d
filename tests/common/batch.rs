//! Datagrams given to a shard in batches, and everything that comes of them, to be compared with
//! what comes of them one by one.

use std::net::SocketAddr;

use aorta::limits::RESPONSE_BYTES_MAX;
use aorta::shard::{Datagram, Handled, ListenerId, Outlet, Shard, ShardId};

use super::cluster::Cluster;

/// What became of the datagrams of one call or of several.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub handled: Vec<(Handled, Vec<u8>)>,
    pub events: Vec<String>,
}

/// Takes answers as a reactor does.
struct Taken<'o> {
    outcome: &'o mut Outcome,
    out: Vec<u8>,
}

impl Outlet for Taken<'_> {
    fn room(&mut self) -> &mut [u8] {
        &mut self.out
    }

    fn handled(&mut self, _: &Datagram<'_>, handled: Handled) {
        let len = if let Handled::Reply { len, .. } = handled { len } else { 0 };
        self.outcome.handled.push((handled, self.out[..len].to_vec()));
    }
}

/// Gives datagrams to one shard, `each` at a time.
pub fn give(
    cluster: &mut Cluster,
    at: usize,
    sent: &[(SocketAddr, Vec<u8>)],
    from_ring: bool,
    each: usize,
) -> Outcome {
    let now = cluster.now;
    let shard: &mut Shard = &mut cluster.shards[at];
    let mut outcome = Outcome::default();
    for batch in sent.chunks(each) {
        let datagrams: Vec<Datagram<'_>> = batch
            .iter()
            .map(|(source, bytes)| Datagram {
                source: *source,
                listener: ListenerId(0),
                local_ip: None,
                received_at: now.mono,
                bytes,
                link: None,
            })
            .collect();
        let mut taken = Taken { outcome: &mut outcome, out: vec![0; RESPONSE_BYTES_MAX] };
        if from_ring {
            shard.receive_handoff_batch(now, &datagrams, &mut taken);
        } else {
            shard.receive_batch(now, &datagrams, &mut taken);
        }
        outcome.events.extend(shard.events().iter().map(|event| format!("{event:?}")));
    }
    outcome
}

/// What was handed over, by its owner.
pub fn handed_over(
    outcome: &Outcome,
    sent: &[(SocketAddr, Vec<u8>)],
    owner: usize,
) -> Vec<(SocketAddr, Vec<u8>)> {
    let owner = Handled::Handoff(ShardId(owner as u8));
    let pairs = outcome.handled.iter().zip(sent);
    pairs.filter(|((handled, _), _)| *handled == owner).map(|(_, sent)| sent.clone()).collect()
}
