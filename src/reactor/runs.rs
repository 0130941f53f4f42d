//! Which replies of a batch leave as one message: those to one peer, of one length, which the
//! kernel or the card cuts apart again (UDP_SEGMENT, segmentation offload). How they are sent is
//! [`super::send`]'s.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::datagram::Transmit;
use crate::limits::{BATCH_MAX, LISTENERS_MAX};

/// Longest reply that leaves in a run, bytes: what fits the smallest MTU of IPv6 (RFC 8200 5) with
/// its header and UDP's. Longer ones go alone, so that they are cut into IP fragments where the
/// path needs it, which the kernel refuses to do with segments.
pub(super) const SEGMENT_BYTES_MAX: usize = 1280 - 40 - 8;

/// Segments the oldest kernels with UDP_SEGMENT take in one message, and the payload of one
/// datagram over IPv4 or IPv6, which the kernel's length fields are made for.
const KERNEL_SEGMENTS_MAX: usize = 64;
const KERNEL_PAYLOAD_BYTES_MAX: usize = 65_507;
const _: () = assert!(BATCH_MAX <= KERNEL_SEGMENTS_MAX);
const _: () = assert!(BATCH_MAX * SEGMENT_BYTES_MAX <= KERNEL_PAYLOAD_BYTES_MAX);

/// Slots of the table of peers: twice as many as there can be, so that probing is short.
const PEERS: usize = 2 * BATCH_MAX;
const VACANT: u8 = u8::MAX;

const _: () = assert!(BATCH_MAX < VACANT as usize && LISTENERS_MAX <= 1 << 8);
const _: () = assert!(PEERS.is_power_of_two());

/// The replies of one batch in the order they are sent: by listener, then peers in the order of
/// their first reply, and of one peer the longer ones first. Made anew for each batch, in place.
pub(super) struct Order {
    /// Listener, first reply of the peer, length counted down from the longest, the reply: from
    /// the high bits to the low. With as many peers as replies they are in order from the start.
    keys: [u64; BATCH_MAX],
    count: usize,
    peers: [u8; PEERS],
}

const LENGTH_SHIFT: u32 = 8;
const PEER_SHIFT: u32 = LENGTH_SHIFT + 24;
const LISTENER_SHIFT: u32 = PEER_SHIFT + 8;
const LENGTH_MAX: u64 = (1 << 24) - 1;

impl Order {
    pub(super) fn new() -> Order {
        Order { keys: [0; BATCH_MAX], count: 0, peers: [VACANT; PEERS] }
    }

    /// Puts the replies of a batch in order.
    pub(super) fn arrange(&mut self, transmits: &[Transmit]) {
        self.peers.fill(VACANT);
        self.count = transmits.len();
        for (number, transmit) in transmits.iter().enumerate() {
            let peer = self.first_to_the_peer_of(number, transmits);
            self.keys[number] = u64::from(transmit.listener.0) << LISTENER_SHIFT
                | u64::from(peer) << PEER_SHIFT
                | (LENGTH_MAX - transmit.len as u64) << LENGTH_SHIFT
                | number as u64;
        }
        self.keys[..self.count].sort_unstable();
    }

    /// The first reply that goes where this one goes, which may be itself.
    fn first_to_the_peer_of(&mut self, number: usize, transmits: &[Transmit]) -> u8 {
        let transmit = &transmits[number];
        // Somebody who makes his addresses collide gets a walk over at most a batch.
        let mut slot = spread(transmit.to);
        loop {
            slot %= PEERS;
            let first = self.peers[slot];
            if first == VACANT {
                self.peers[slot] = number as u8;
                return number as u8;
            }
            if is_one_peer(&transmits[usize::from(first)], transmit) {
                return first;
            }
            slot += 1;
        }
    }

    /// The places of the replies that leave by a listener, of which `from` is the first.
    pub(super) fn of_listener(&self, from: usize) -> Range<usize> {
        let listener = |key: &u64| key >> LISTENER_SHIFT;
        let Some(first) = self.keys[..self.count].get(from) else { return from..from };
        let rest = &self.keys[from..self.count];
        from..from + rest.iter().take_while(|key| listener(key) == listener(first)).count()
    }

    /// The reply at one place.
    pub(super) fn reply(&self, place: usize) -> usize {
        (self.keys[place] & ((1 << LENGTH_SHIFT) - 1)) as usize
    }

    /// Splits `places`, all of one listener, into runs and puts their lengths into `runs`: of a
    /// run only the last reply may be shorter than the first. Singles where `offload` is off.
    pub(super) fn split(&self, places: Range<usize>, offload: bool, runs: &mut Vec<u8>) {
        runs.clear();
        if !offload {
            runs.resize(places.len(), 1);
            return;
        }
        let (mut open, mut head) = (false, 0);
        for &key in &self.keys[places] {
            let length = LENGTH_MAX - (key >> LENGTH_SHIFT & LENGTH_MAX);
            match runs.last_mut() {
                Some(run) if open && length > 0 && key >> PEER_SHIFT == head >> PEER_SHIFT => {
                    *run += 1;
                    open = key >> LENGTH_SHIFT == head >> LENGTH_SHIFT;
                }
                _ => {
                    runs.push(1);
                    head = key;
                    open = length > 0 && length <= SEGMENT_BYTES_MAX as u64;
                }
            }
        }
    }
}

fn is_one_peer(one: &Transmit, other: &Transmit) -> bool {
    one.to == other.to && one.listener == other.listener && one.local_ip == other.local_ip
}

/// A slot for an address: its port and the end of its IP address are what differs.
fn spread(address: SocketAddr) -> usize {
    let host = match address.ip() {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            (bits >> 64) as u32 ^ bits as u32
        }
    };
    let mixed = (host ^ u32::from(address.port()) << 16).wrapping_mul(0x9e37_79b1);
    (mixed >> (u32::BITS - PEERS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shard::ListenerId;

    fn transmit(listener: u8, to: &str, local_ip: Option<&str>, len: usize) -> Transmit {
        Transmit {
            to: to.parse().unwrap(),
            listener: ListenerId(listener),
            local_ip: local_ip.map(|ip| ip.parse().unwrap()),
            at: 0,
            len,
        }
    }

    /// The runs of each listener, as numbers of replies.
    fn runs(transmits: &[Transmit], offload: bool) -> Vec<Vec<usize>> {
        let mut order = Order::new();
        // What an earlier batch left must not matter.
        order.arrange(&vec![transmit(0, "9.9.9.9:9", None, 9); BATCH_MAX]);
        order.arrange(transmits);
        let mut found = Vec::new();
        let mut lengths = Vec::new();
        let mut from = 0;
        while from < transmits.len() {
            let places = order.of_listener(from);
            order.split(places.clone(), offload, &mut lengths);
            for &length in &lengths {
                let run = from..from + usize::from(length);
                found.push(run.clone().map(|place| order.reply(place)).collect());
                from = run.end;
            }
            assert_eq!(from, places.end);
        }
        found
    }

    #[test]
    fn one_peer_and_one_length_are_one_run() {
        let transmits = vec![transmit(0, "10.0.0.1:5060", None, 500); BATCH_MAX];
        assert_eq!(runs(&transmits, true), [Vec::from_iter(0..BATCH_MAX)]);
    }

    #[test]
    fn different_peers_stay_apart_and_in_order() {
        let transmits: Vec<_> = (0..BATCH_MAX)
            .map(|n| transmit(0, &format!("10.0.0.1:{}", 6000 - n), None, 500))
            .collect();
        assert_eq!(runs(&transmits, true), Vec::from_iter((0..BATCH_MAX).map(|n| vec![n])));
    }

    #[test]
    fn only_the_last_of_a_run_is_shorter() {
        let peer = |len| transmit(0, "10.0.0.1:5060", None, len);
        let transmits = [peer(500), peer(501), peer(500), peer(501), peer(500)];
        assert_eq!(runs(&transmits, true), [vec![1, 3, 0], vec![2, 4]]);
        let transmits = [peer(503), peer(502), peer(501), peer(500)];
        assert_eq!(runs(&transmits, true), [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn interleaved_peers_are_brought_together() {
        let (one, two) = ("10.0.0.1:5060", "[2001:db8::1]:5060");
        let transmits = [one, two, one, two, one].map(|to| transmit(0, to, None, 500));
        assert_eq!(runs(&transmits, true), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn listener_and_local_address_keep_replies_apart() {
        let to = "10.0.0.1:5060";
        let transmits = [
            transmit(1, to, None, 500),
            transmit(0, to, Some("10.0.0.8"), 500),
            transmit(0, to, Some("10.0.0.9"), 500),
            transmit(1, to, None, 500),
            transmit(0, to, Some("10.0.0.8"), 500),
        ];
        assert_eq!(runs(&transmits, true), [vec![1, 4], vec![2], vec![0, 3]]);
    }

    #[test]
    fn what_may_need_fragments_goes_alone() {
        let peer = |len| transmit(0, "10.0.0.1:5060", None, len);
        let max = SEGMENT_BYTES_MAX;
        let transmits = [peer(max + 1), peer(max), peer(max + 1), peer(65_507), peer(max)];
        assert_eq!(runs(&transmits, true), [vec![3], vec![0], vec![2], vec![1, 4]]);
    }

    #[test]
    fn without_offload_there_are_singles() {
        let transmits = vec![transmit(0, "10.0.0.1:5060", None, 500); 3];
        assert_eq!(runs(&transmits, false), [[0], [1], [2]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn every_reply_leaves_once_in_a_run_the_kernel_takes(
            batch in prop::collection::vec((0u8..3, 0u8..5, 0u8..3, 0usize..6), 0..=BATCH_MAX)
        ) {
            let lens = [0, 1, 400, 401, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MAX + 1];
            let transmits: Vec<_> = batch
                .iter()
                .map(|&(listener, peer, local, len)| {
                    let local = (local > 0).then(|| format!("10.0.1.{local}"));
                    let to = format!("10.0.0.{peer}:5060");
                    transmit(listener, &to, local.as_deref(), lens[len])
                })
                .collect();
            let runs = runs(&transmits, true);
            let mut seen: Vec<_> = runs.concat();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..transmits.len()));
            for run in &runs {
                let head = &transmits[run[0]];
                let last = run.len() - 1;
                prop_assert!(last == 0 || (1..=SEGMENT_BYTES_MAX).contains(&head.len));
                for (place, &number) in run.iter().enumerate() {
                    let one = &transmits[number];
                    prop_assert!(is_one_peer(head, one));
                    prop_assert!(one.len == head.len || (place == last && one.len < head.len));
                    prop_assert!(one.len > 0 || last == 0, "it would vanish in a run");
                }
            }
        }
    }
}
