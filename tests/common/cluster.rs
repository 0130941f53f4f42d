//! Shards without reactors: datagrams go in by a function call, on whichever shard the test says,
//! and the clock is a variable.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aorta::auth::account::Ha1s;
use aorta::auth::nonce::NonceKey;
use aorta::config::{self, AccountPolicy, Algorithms, Domain};
use aorta::flow::ConnectionId;
use aorta::guard::To;
use aorta::limits::RESPONSE_BYTES_MAX;
use aorta::nat::OwnAddresses;
use aorta::registrar::Binding;
use aorta::shard::control::Control;
use aorta::shard::mesh::{Endpoint, default_slots, mesh};
use aorta::shard::owner::Ownership;
use aorta::shard::{Datagram, Handled, Keys, ListenerId, Order, Setup, Shard, ShardId};
use aorta::time::{Instant, Now, UnixTime};

use super::Response;

pub const DOMAIN: &str = "example.com";

/// Settings of a cluster; start from `Options::default()`.
#[derive(Clone)]
pub struct Options {
    pub shards: u8,
    pub accounts: u32,
    pub registrar: config::Registrar,
    pub auth: config::Auth,
    /// Lets everybody through unless a test says otherwise.
    pub guard: config::Guard,
    pub nat: config::Nat,
    pub liveness: config::Liveness,
    pub networks: Vec<config::Network>,
    /// Where the process is said to listen.
    pub own: OwnAddresses,
    pub algorithms: Algorithms,
    pub seed: u8,
    /// Other names of the domain.
    pub aliases: Vec<String>,
    /// What holds for account `u<number>` alone.
    pub policies: Vec<(u32, AccountPolicy)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            shards: 1,
            accounts: 20,
            registrar: config::Registrar {
                expires_spread_percent: 0,
                late_margin_s: 0,
                ..Default::default()
            },
            auth: config::Auth::default(),
            guard: config::Guard::off(),
            nat: config::Nat::default(),
            // Nobody is asked anything unless the test is about that.
            liveness: config::Liveness { interval_s: None, ..Default::default() },
            networks: Vec::new(),
            own: OwnAddresses::default(),
            algorithms: Algorithms::MD5,
            seed: 7,
            aliases: Vec::new(),
            policies: Vec::new(),
        }
    }
}

/// All shards of a process, and the mesh between them.
pub struct Cluster {
    pub shards: Vec<Shard>,
    mesh: Vec<Endpoint>,
    pub now: Now,
    out: Vec<u8>,
    /// What shards have sent of their own accord and nobody has asked for yet.
    ordered: Vec<Sent>,
    /// Connections that were to be pinged, in order.
    pub pings: Vec<ConnectionId>,
}

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub to: SocketAddr,
    pub by: ShardId,
    pub bytes: Vec<u8>,
}

impl Cluster {
    pub fn new(options: &Options) -> Cluster {
        let keys = Keys {
            nonce: NonceKey::new(&[options.seed; 16]).into(),
            identity: [options.seed; 16],
            spread: [options.seed.into(), 2],
        };
        let now = Now { mono: Instant::from_secs(1000), wall: UnixTime(1_800_000_000), wall_us: 0 };
        let ownership = Ownership::new([options.seed; 16], options.shards);
        let shards = (0..options.shards)
            .map(|id| {
                let mut shard = Shard::new(Setup {
                    id: ShardId(id),
                    ownership: ownership.clone(),
                    keys: keys.clone(),
                    registrar: options.registrar.clone(),
                    auth: options.auth.clone(),
                    guard: options.guard.clone(),
                    nat: options.nat.clone(),
                    liveness: options.liveness.clone(),
                    networks: options.networks.clone(),
                    domains: vec![Domain {
                        name: DOMAIN.into(),
                        algorithms: options.algorithms,
                        aliases: options.aliases.clone(),
                    }],
                });
                shard.reserve(options.accounts as usize / usize::from(options.shards));
                for number in 1..=options.accounts {
                    let aor = format!("u{number}@{DOMAIN}");
                    if shard.owns(aor.as_bytes()) {
                        let ha1s = Ha1s::from_password(&aor, &format!("p{number}"), true);
                        shard.insert_account(aor.as_bytes(), &ha1s).expect("distinct names");
                    }
                }
                let policies = || options.policies.iter().map(|(number, policy)| (number, policy));
                for (number, policy) in policies() {
                    let aor = format!("u{number}@{DOMAIN}");
                    if shard.owns(aor.as_bytes()) {
                        let ha1s = Ha1s::from_password(&aor, &format!("p{number}"), true);
                        let policy = Some(Arc::new(policy.clone()));
                        shard
                            .put_account(now, aor.as_bytes(), &ha1s, policy.as_ref())
                            .expect("there is room");
                    }
                }
                let networks = AccountPolicy::networks_of(policies().map(|(_, policy)| policy));
                shard.control(now, Control::AskOwners(networks));
                shard.control(now, Control::OwnAddresses(Arc::new(options.own.clone())));
                shard
            })
            .collect();
        let count = usize::from(options.shards);
        Cluster {
            shards,
            mesh: mesh(count, default_slots(count)),
            now,
            out: vec![0; RESPONSE_BYTES_MAX],
            ordered: Vec::new(),
            pings: Vec::new(),
        }
    }

    /// Gives one datagram to the shard `at`, follows it through the mesh, and returns what is
    /// sent.
    pub fn give(&mut self, at: usize, source: SocketAddr, bytes: &[u8]) -> Option<Sent> {
        let datagram = Datagram {
            source,
            listener: ListenerId(0),
            local_ip: None,
            received_at: self.now.mono,
            bytes,
            link: None,
        };
        self.carry(at, &datagram)
    }

    /// The same for a message that came by whatever way.
    pub fn carry(&mut self, at: usize, datagram: &Datagram<'_>) -> Option<Sent> {
        let at = at % self.shards.len();
        match self.shards[at].receive(self.now, datagram, &mut self.out) {
            Handled::Nothing => None,
            Handled::Reply { to, len } => {
                Some(Sent { to, by: ShardId(at as u8), bytes: self.out[..len].to_vec() })
            }
            Handled::Handoff(owner) => {
                assert_ne!(usize::from(owner.0), at, "nobody hands a datagram to itself");
                self.mesh[at].push(owner, datagram).expect("the ring is empty");
                self.mesh[at].publish(|_| {});
                self.drain(owner)
            }
        }
    }

    fn drain(&mut self, owner: ShardId) -> Option<Sent> {
        let Cluster { shards, mesh, now, out, .. } = self;
        let mut sent = None;
        let drained = mesh[usize::from(owner.0)].drain(16, |datagram| {
            match shards[usize::from(owner.0)].receive_handoff(*now, &datagram, out) {
                Handled::Reply { to, len } => {
                    sent = Some(Sent { to, by: owner, bytes: out[..len].to_vec() });
                }
                Handled::Nothing => {}
                Handled::Handoff(_) => panic!("a handed-over datagram is handed over again"),
            }
        });
        assert_eq!(drained, 1);
        sent
    }

    /// What the shards send of their own accord.
    pub fn orders(&mut self) -> Vec<Sent> {
        // What one tells may make another tell something.
        for _ in 0..3 {
            for at in 0..self.shards.len() {
                self.poll_orders(at);
            }
        }
        std::mem::take(&mut self.ordered)
    }

    /// Takes the orders of a shard; what its guard tells the others is carried at once.
    fn poll_orders(&mut self, at: usize) {
        while let Some(order) = self.shards[at].poll_order(&mut self.out) {
            match order {
                Order::Send { to, len, .. } => {
                    let bytes = self.out[..len].to_vec();
                    self.ordered.push(Sent { to, by: ShardId(at as u8), bytes });
                }
                Order::Tell(to, told) => {
                    for (number, shard) in self.shards.iter_mut().enumerate() {
                        let is_meant = match to {
                            To::Others => number != at,
                            To::Shard(one) => number == usize::from(one),
                        };
                        if is_meant {
                            shard.told(self.now, told);
                        }
                    }
                }
                Order::Ping(id) => self.pings.push(id),
                _ => {}
            }
        }
    }

    /// Gives a request and reads the response.
    pub fn ask(&mut self, at: usize, source: SocketAddr, request: &str) -> Option<Response> {
        self.give(at, source, request.as_bytes()).map(|sent| Response::parse(&sent.bytes))
    }

    /// Lets time pass; every shard's timers run at the end of it, and after each second of it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now.mono < end.mono {
            let step = (end.mono.saturating_since(self.now.mono)).min(Duration::from_secs(1));
            self.now = self.now.after(step);
            for at in 0..self.shards.len() {
                loop {
                    let next = self.shards[at].turn(self.now);
                    self.poll_orders(at);
                    if next.is_none_or(|next| next > self.now.mono) {
                        break;
                    }
                }
            }
        }
    }

    /// Lets time pass from one deadline to the next, as reactors do; `on_sent` hears what the
    /// shards send of their own accord, and when.
    pub fn run(&mut self, time: Duration, mut on_sent: impl FnMut(Instant, Sent)) {
        let end = self.now.after(time).mono;
        loop {
            let mut next = end;
            for at in 0..self.shards.len() {
                let deadline = self.shards[at].turn(self.now);
                self.poll_orders(at);
                next = next.min(deadline.unwrap_or(end).max(self.now.mono));
            }
            self.ordered.drain(..).for_each(|sent| on_sent(self.now.mono, sent));
            if self.now.mono >= end {
                return;
            }
            // A reactor is never there at the very nanosecond, and always a little later.
            let step = next.saturating_since(self.now.mono).max(Duration::from_micros(50));
            self.now = self.now.after(step);
        }
    }

    /// Contacts bound to an AOR, in order, with the seconds left.
    pub fn bound(&self, user: &str) -> Vec<(String, u32)> {
        let listed = |binding: &Binding| {
            let contact = String::from_utf8(binding.contact().to_vec()).unwrap();
            (contact, binding.remaining_s(self.now.mono))
        };
        self.bindings(user).map(listed).collect()
    }

    /// The bindings of an account, the oldest first.
    pub fn bindings(&self, user: &str) -> impl Iterator<Item = &Binding> {
        let aor = format!("{user}@{DOMAIN}");
        self.shards
            .iter()
            .filter_map(move |shard| Some((shard, shard.find_account(aor.as_bytes())?)))
            .flat_map(|(shard, account)| {
                let aor = aorta::registrar::AorId(account.0);
                shard.registrar().bindings(aor, self.now).map(|(_, binding)| binding)
            })
    }
}
