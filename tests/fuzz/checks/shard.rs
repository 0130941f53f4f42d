//! Whole shards under any datagrams: who is answered, with what, and that no binding changes
//! without a digest that the account's own phone made, which changes one thing once.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use aorta::auth::accounts::AccountId;
use aorta::limits::FLOWS_PER_DEVICE_MAX;
use aorta::registrar::{AorId, Instance, Location};
use aorta::shard::Shard;

use super::{naive, reply};
use crate::common::cluster::{Cluster, Options, Sent};
use crate::common::{Phone, Response};

/// The digests that phones made, as their first 32 hex digits.
pub struct Digests {
    made: HashMap<[u8; 32], Digest>,
    order: VecDeque<[u8; 32]>,
    max: usize,
}

struct Digest {
    user: String,
    /// What it was made over and the digest names as it stood: nonce and nonce count.
    nonce: String,
    nc: String,
    used: bool,
}

impl Digests {
    /// Remembers the last `max`: as many as stand in messages that are still sent.
    pub fn new(max: usize) -> Digests {
        let made = HashMap::with_capacity(2 * max);
        Digests { made, order: VecDeque::with_capacity(max + 1), max }
    }

    /// Remembers the digest in `text`, which `phone` made.
    pub fn made(&mut self, phone: &Phone, text: &str) {
        let Some((_, rest)) = text.split_once("response=\"") else { return };
        let digest: [u8; 32] = rest.as_bytes()[..32].try_into().expect("32 bytes");
        let between = |open: &str, close: char| {
            let (_, rest) = text.split_once(open).expect("a parameter of credentials");
            rest.split(close).next().unwrap_or_default().to_owned()
        };
        let (nonce, nc) = (between(" nonce=\"", '"'), between(" nc=", ','));
        self.made.insert(digest, Digest { user: phone.user.clone(), nonce, nc, used: false });
        self.order.push_back(digest);
        if self.order.len() > self.max {
            let oldest = self.order.pop_front().expect("there are some");
            self.made.remove(&oldest);
        }
    }

    /// Bindings of `user` changed upon `bytes`: a digest of that user must stand in there with
    /// its nonce and count, one that has changed nothing before.
    fn change(&mut self, user: &str, bytes: &[u8]) {
        let hex = bytes.split(|byte| !byte.is_ascii_hexdigit());
        let found: Vec<[u8; 32]> = hex
            .filter(|run| run.len() == 32 || run.len() == 64)
            .map(|run| run[..32].to_ascii_lowercase().try_into().expect("32 bytes"))
            .filter(|run| {
                self.made.get(run).is_some_and(|digest| {
                    let has = |text: &str| contains(bytes, text.as_bytes());
                    digest.user == user && has(&digest.nonce) && has(&digest.nc)
                })
            })
            .collect();
        let shown = || format!("{user}: {}", naive::shown(bytes));
        assert!(!found.is_empty(), "bindings changed without the password: {}", shown());
        let fresh = found.iter().any(|run| !self.made[run].used);
        assert!(fresh, "bindings changed twice upon one digest: {}", shown());
        // Where several stand there, which one was read is not told.
        if let [only] = found[..] {
            self.made.get_mut(&only).expect("just found").used = true;
        }
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Bindings that changed on one shard since its start, those left out whose time ran out.
fn changes(shard: &Shard) -> u64 {
    let counted = shard.counters();
    counted.registered
        + counted.refreshed
        + counted.retargeted
        + counted.unregistered
        + counted.kicked
        + counted.removed
}

/// Gives a datagram to a cluster and checks everything that comes of it.
pub fn give(
    cluster: &mut Cluster,
    digests: &mut Digests,
    at: usize,
    source: SocketAddr,
    bytes: &[u8],
) -> Option<Sent> {
    const SHARDS: usize = 4;
    assert!(cluster.shards.len() <= SHARDS);
    let mut before = [0; SHARDS];
    for (before, shard) in before.iter_mut().zip(&cluster.shards) {
        *before = changes(shard);
    }
    let sent = cluster.give(at, source, bytes);
    for (before, shard) in before.into_iter().zip(&cluster.shards) {
        if changes(shard) != before {
            digests.change(&changed_user(shard), bytes);
        }
    }
    if let Some(sent) = &sent {
        assert_eq!(sent.to.ip(), source.ip(), "answered to somebody else");
        assert_ne!(sent.to.port(), 0);
        reply::check(bytes, &sent.bytes);
    }
    sent
}

/// The user of the account that the last events of a shard are about; there is one only.
fn changed_user(shard: &Shard) -> String {
    let mut users: Vec<&[u8]> =
        shard.events().iter().map(|event| shard.accounts().aor(AccountId(event.aor().0))).collect();
    users.dedup();
    assert_eq!(users.len(), 1, "one request changed the bindings of several accounts");
    let aor = String::from_utf8(users[0].to_vec()).expect("an account is text");
    aor.split_once('@').expect("user@domain").0.to_owned()
}

/// What must hold between datagrams.
pub fn check_state(cluster: &Cluster, options: &Options) {
    for shard in &cluster.shards {
        let location = shard.registrar().location();
        location.check_invariants();
        let mut bindings = 0;
        for index in 0..shard.accounts().len() {
            bindings += check_limits(location, AorId(index as u32), options);
        }
        assert_eq!(bindings, location.bindings_count(), "bindings of nobody's");
    }
}

/// The limit counts devices, of which each has a bounded number of flows (RFC 5626 6).
fn check_limits(location: &Location, aor: AorId, options: &Options) -> usize {
    let mut devices: Vec<(Option<Instance<'_>>, usize)> = Vec::new();
    for (_, binding) in location.bindings(aor) {
        let instance = binding.instance().filter(|_| binding.reg_id().is_some());
        let is_one = |other: Instance<'_>| instance.is_some_and(|instance| instance.is_same(other));
        match devices.iter_mut().find(|(other, _)| other.is_some_and(is_one)) {
            Some((_, flows)) => *flows += 1,
            None => devices.push((instance, 1)),
        }
    }
    assert!(devices.len() <= usize::from(options.registrar.bindings_max), "too many devices");
    assert!(devices.iter().all(|&(_, flows)| flows <= FLOWS_PER_DEVICE_MAX), "too many flows");
    location.count(aor)
}

/// Ends a datagram of the fuzz target's input; no byte of UTF-8.
const END: u8 = 255;
/// Datagrams of one input.
const DATAGRAMS_MAX: usize = 16;
/// Stand for the credentials of the two phones. They are made anew each time, since a fuzzer
/// makes no digest.
const CREDENTIALS: [u8; 2] = [1, 2];
/// More than stand in one datagram, which has 65,535 bytes at most.
const DIGESTS_MAX: usize = 1024;
/// In front of a datagram: it comes from a stranger's address.
const STRANGER: u8 = 3;
/// In front of a datagram: a quarter of an hour goes by.
const LATER: u8 = 4;

/// The fuzz target: datagrams, the marks above among them.
pub fn check(bytes: &[u8]) {
    for shards in [1, 2] {
        check_at(shards, bytes);
    }
}

fn check_at(shards: u8, bytes: &[u8]) {
    let mut options = Options { shards, accounts: 2, ..Options::default() };
    options.registrar.bindings_max = 2;
    let mut cluster = Cluster::new(&options);
    let mut digests = Digests::new(DIGESTS_MAX);
    let home: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
    let stranger: SocketAddr = "[2001:db8::1]:7000".parse().expect("an address");
    let mut phones = [1, 2].map(|number| Phone::new(number, "fuzz", "192.0.2.1:5060"));
    for phone in &mut phones {
        let answer = cluster.give(0, home, phone.register(60).as_bytes()).expect("a challenge");
        assert!(phone.take_challenge(&Response::parse(&answer.bytes)));
    }
    for (at, mut piece) in bytes.split(|&byte| byte == END).take(DATAGRAMS_MAX).enumerate() {
        let mut source = home;
        while let Some((&mark @ (STRANGER | LATER), rest)) = piece.split_first() {
            piece = rest;
            match mark {
                STRANGER => source = stranger,
                _ => cluster.pass(Duration::from_secs(900)),
            }
        }
        let datagram = with_credentials(piece, &mut phones, &mut digests);
        let sent = give(&mut cluster, &mut digests, at, source, &datagram);
        // The very same again, as UDP may bring it: the answer is the same or none, and what it
        // changed is not changed again.
        let before: u64 = cluster.shards.iter().map(changes).sum();
        let again = give(&mut cluster, &mut digests, at, source, &datagram);
        assert_eq!(sent.is_some(), again.is_some());
        assert_eq!(before, cluster.shards.iter().map(changes).sum::<u64>());
        check_state(&cluster, &options);
    }
}

fn with_credentials(piece: &[u8], phones: &mut [Phone; 2], digests: &mut Digests) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(piece.len() + 512);
    for &byte in piece {
        match CREDENTIALS.iter().position(|&mark| mark == byte) {
            Some(number) => {
                let value = phones[number].authorization().expect("it was challenged");
                digests.made(&phones[number], &value);
                datagram.extend_from_slice(value.as_bytes());
            }
            None => datagram.push(byte),
        }
    }
    datagram
}
