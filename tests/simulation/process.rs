//! One life of the server process: its shards, the mesh between them, and what waits in front of
//! each of them. Nothing happens by itself: the world says who does what, and when.

use std::collections::VecDeque;
use std::time::Duration;

use aorta::auth::account::Ha1s;
use aorta::auth::nonce::NonceKey;
use aorta::config::{self, Domain};
use aorta::limits::RESPONSE_BYTES_MAX;
use aorta::registrar::{AorId, Binding};
use aorta::shard::counters::Counters;
use aorta::shard::mesh::{Endpoint, Full, SLOTS_PER_RING, mesh};
use aorta::shard::owner::Ownership;
use aorta::shard::{Datagram, Handled, Keys, ListenerId, Setup, Shard, ShardId};
use aorta::time::{Instant, Now};

use crate::ask::Wire;
use crate::chance::Chance;
use crate::common::cluster::DOMAIN;

/// What every life of the process has in common.
#[derive(Clone)]
pub struct Settings {
    pub shards: u8,
    pub accounts: u32,
    pub registrar: config::Registrar,
    pub auth: config::Auth,
    /// Outlives a restart; the other secrets do not.
    pub nonce_key: [u8; 16],
}

/// The process. What the world schedules with stands in the open.
pub struct Process {
    pub number: u32,
    pub shards: Vec<Shard>,
    mesh: Vec<Endpoint>,
    /// Datagrams in each shard's socket.
    pub inputs: Vec<VecDeque<Wire>>,
    pub asleep: Vec<bool>,
    pub turn_is_scheduled: Vec<bool>,
    /// Until then, a shard does nothing at all.
    pub stalled_until: Vec<Instant>,
    /// Pushed into rings and not published.
    pub staged: Vec<usize>,
    /// Where each account lives, u1 first.
    places: Vec<(usize, AorId)>,
    /// Spreads sources over sockets as SO_REUSEPORT does.
    salt: u64,
    out: Vec<u8>,
    pub tally: Tally,
}

/// What the world saw, to hold the counters against.
#[derive(Default)]
pub struct Tally {
    pub received: u64,
    pub handed_over: u64,
    /// Did not fit in a ring.
    pub shed: u64,
    /// Taken out of a ring.
    pub taken: u64,
    pub answered: u64,
    pub silent: u64,
    /// Answers without a handoff to well-formed requests.
    pub answered_at_once: u64,
    /// Requests whose damage the server may or may not have noticed.
    pub damaged: u64,
    /// 200s to requests that had been accepted before.
    pub repeated: u64,
}

/// What became of a datagram.
#[derive(PartialEq, Eq)]
pub enum Outcome {
    Answer { to: std::net::SocketAddr, bytes: Vec<u8> },
    Handoff(ShardId),
    Silence,
}

impl Process {
    pub fn start(settings: &Settings, number: u32, chance: &mut Chance) -> Process {
        let ownership = Ownership::new(chance.bytes16(), settings.shards);
        let keys = Keys {
            nonce: NonceKey::new(&settings.nonce_key).into(),
            identity: chance.bytes16(),
            spread: [chance.next(), chance.next()],
        };
        let mut shards: Vec<Shard> = (0..settings.shards)
            .map(|id| {
                Shard::new(Setup {
                    id: ShardId(id),
                    ownership: ownership.clone(),
                    keys: keys.clone(),
                    registrar: settings.registrar.clone(),
                    auth: settings.auth.clone(),
                    guard: config::Guard::off(),
                    nat: config::Nat::default(),
                    liveness: config::Liveness::default(),
                    networks: Vec::new(),
                    domains: vec![Domain {
                        name: DOMAIN.into(),
                        algorithms: settings.auth.algorithms,
                        aliases: Vec::new(),
                    }],
                })
            })
            .collect();
        let places = (1..=settings.accounts)
            .map(|account| {
                let aor = format!("u{account}@{DOMAIN}");
                let at = shards.iter().position(|shard| shard.owns(aor.as_bytes())).unwrap();
                let ha1s = Ha1s::from_password(&aor, &format!("p{account}"), true);
                let id = shards[at].insert_account(aor.as_bytes(), &ha1s).expect("distinct");
                (at, AorId(id.0))
            })
            .collect();
        let count = usize::from(settings.shards);
        Process {
            number,
            shards,
            mesh: mesh(count, *SLOTS_PER_RING.start()),
            inputs: vec![VecDeque::new(); count],
            asleep: vec![false; count],
            turn_is_scheduled: vec![false; count],
            stalled_until: vec![Instant::ZERO; count],
            staged: vec![0; count],
            places,
            salt: chance.next(),
            out: vec![0; RESPONSE_BYTES_MAX],
            tally: Tally::default(),
        }
    }

    /// The shard whose socket gets datagrams from `source`.
    pub fn socket_of(&self, source: std::net::SocketAddr) -> usize {
        let std::net::IpAddr::V4(ip) = source.ip() else { panic!("IPv4 only here") };
        let mixed = self.salt ^ u64::from(u32::from(ip)) << 16 ^ u64::from(source.port());
        Chance::seeded(mixed).below(self.shards.len())
    }

    /// Gives a datagram to a shard, from its socket or from a ring.
    pub fn give(&mut self, at: usize, now: Now, wire: &Wire, from_ring: bool) -> Outcome {
        let datagram = datagram(wire, now.mono);
        let Process { shards, out, .. } = self;
        let handled = if from_ring {
            shards[at].receive_handoff(now, &datagram, out)
        } else {
            shards[at].receive(now, &datagram, out)
        };
        match handled {
            Handled::Reply { to, len } => Outcome::Answer { to, bytes: out[..len].to_vec() },
            Handled::Handoff(owner) => Outcome::Handoff(owner),
            Handled::Nothing => Outcome::Silence,
        }
    }

    pub fn push(&mut self, at: usize, to: ShardId, now: Now, wire: &Wire) -> Result<(), Full> {
        self.mesh[at].push(to, &datagram(wire, now.mono))?;
        self.staged[at] += 1;
        Ok(())
    }

    /// Publishes, and says who must be woken.
    pub fn publish(&mut self, at: usize) -> Vec<usize> {
        let mut woken = Vec::new();
        self.mesh[at].publish(|shard| woken.push(usize::from(shard.0)));
        self.staged[at] = 0;
        woken
    }

    /// The next datagram that another shard has published for this one.
    pub fn take(&mut self, at: usize) -> Option<Wire> {
        let mut taken = None;
        self.mesh[at].drain(1, |datagram| {
            taken = Some(Wire { source: datagram.source, bytes: datagram.bytes.into() });
        });
        taken
    }

    pub fn awake(&mut self, at: usize) {
        if std::mem::take(&mut self.asleep[at]) {
            self.mesh[at].awake();
        }
    }

    /// Goes to sleep if nothing is left to do.
    pub fn doze(&mut self, at: usize) -> bool {
        let idle = self.inputs[at].is_empty() && self.staged[at] == 0;
        self.asleep[at] = idle && self.mesh[at].prepare_sleep();
        self.asleep[at]
    }

    /// A shard that nobody will wake although something waits for it.
    pub fn forgotten(&self) -> Option<usize> {
        (0..self.shards.len()).find(|&at| {
            let waits = !self.inputs[at].is_empty() || !self.mesh[at].is_empty();
            waits && !self.turn_is_scheduled[at]
        })
    }

    /// Whether nothing waits anywhere.
    pub fn is_idle(&self) -> bool {
        self.inputs.iter().all(VecDeque::is_empty) && self.mesh.iter().all(Endpoint::is_empty)
    }

    /// Runs the timers of a shard until nothing is due. What it sends of its own accord is lost, so
    /// no probe is ever answered.
    pub fn turn(&mut self, at: usize, now: Now) {
        loop {
            let next = self.shards[at].turn(now);
            while self.shards[at].poll_order(&mut self.out).is_some() {}
            if next.is_none_or(|next| next > now.mono) {
                return;
            }
        }
    }

    /// The shard that owns an account.
    pub fn owner(&self, account: usize) -> usize {
        self.places[account].0
    }

    /// The bindings of an account at `now`.
    pub fn bindings(&self, account: usize, now: Now) -> impl Iterator<Item = &Binding> {
        let (at, aor) = self.places[account];
        self.shards[at].registrar().bindings(aor, now).map(|(_, binding)| binding)
    }

    /// Bindings a shard holds, those included whose time is over.
    pub fn held(&self, at: usize) -> usize {
        self.shards[at].registrar().location().bindings_count()
    }

    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for shard in &self.shards {
            sum += shard.counters();
        }
        sum
    }

    /// Keeps a shard from doing anything for a while.
    pub fn stall(&mut self, at: usize, until: Instant) {
        self.stalled_until[at] = self.stalled_until[at].max(until);
    }
}

/// How long a shard that works takes from one turn to the next.
pub const TURN_MAX: Duration = Duration::from_millis(2);

fn datagram(wire: &Wire, received_at: Instant) -> Datagram<'_> {
    Datagram {
        source: wire.source,
        listener: ListenerId(0),
        local_ip: None,
        received_at,
        bytes: &wire.bytes,
        link: None,
    }
}
