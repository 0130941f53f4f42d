//! A registrar process put together: settings and accounts in, running reactors out. `serve` and
//! `demo` share it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::accounts::Loaded;
use super::reload::{self, Prepare};
use super::say::note;
use super::{Failure, certificates};
use crate::auth::nonce::NonceKey;
use crate::config::parameters::find;
use crate::config::{self, AccountPolicy, Settings};
use crate::flow::Transport;
use crate::limits::{BLOCK_S_MAX, SHARDS_MAX};
use crate::reactor::{self, Finished, Reactors, Running};
use crate::shard::control::Control;
use crate::shard::counters::Counters;
use crate::shard::mesh::{default_slots, mesh};
use crate::shard::owner::Ownership;
use crate::shard::{Keys, Setup, Shard, ShardId};
use crate::store::blocks::{BlockStore, Blocks, Kept};
use crate::store::subscribers::Subscriber;
use crate::store::{blocks, keys};
use crate::time::{Now, UnixTime};

/// A reactor that has started carries its first order out long before this.
const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// Open files that are left for whatever else the process reads while it runs.
const FILES_LEFT: u32 = 64;

/// A registrar that answers.
pub struct Server {
    pub(super) running: Running<Shard>,
    pub(super) ownership: Ownership,
    /// What it was started with.
    pub(super) started: Settings,
    /// What it obeys now.
    pub(super) settings: Settings,
    pub(super) on_reload: Vec<Prepare>,
    /// Keeps what operators have blocked, where anything is kept.
    pub(super) blocks: Option<Arc<BlockStore>>,
    /// Accounts loaded.
    pub accounts: usize,
    /// Domains served.
    pub domains: Vec<String>,
    /// The CPU of each reactor.
    pub cpus: Vec<usize>,
}

impl Server {
    /// Starts one. Without `data` the nonces' key lasts as long as the process.
    ///
    /// # Errors
    /// One line with what is wrong and what helps; nothing is left running.
    pub fn start(settings: &Settings, data: Option<&Path>) -> Result<Server, Failure> {
        let (listen, listen_streams) = listeners(&settings.serve.listen);
        let streams = streams(settings, listen.len() + listen_streams.len())?;
        let loaded = reload::check(settings)?;
        if let Some(line) = loaded.short_passwords(settings) {
            note(line);
        }
        let Loaded { accounts: subscribers, domains } = loaded;
        let certificates = certificates::load(settings)?;
        let (cpus, shards) = placement(&settings.serve)?;
        let keys = secrets(data)?;
        let ownership = Ownership::new(random()?, shards);
        let names = domains.iter().map(|domain| domain.name.clone()).collect();
        let owned = ownership.clone();
        let accounts = subscribers.len();
        let asks_owners = asks_owners(&subscribers);
        let subscribers = Arc::new(subscribers);
        let clock = reactor::Clock::start();
        let now = clock.now().wall;
        let kept = restore_blocks(data, now)?;
        let restored = left(&kept.blocks, now);
        let planes = (0..shards)
            .map(|_| {
                let subscribers = Arc::clone(&subscribers);
                let ownership = ownership.clone();
                let keys = keys.clone();
                let registrar = settings.registrar.clone();
                let auth = settings.auth.clone();
                let guard = settings.guard.clone();
                let nat = settings.nat.clone();
                let liveness = settings.liveness.clone();
                let networks = settings.networks().cloned().collect();
                let domains = domains.clone();
                let restored = Arc::clone(&restored);
                let asks_owners = Arc::clone(&asks_owners);
                move |id: ShardId| {
                    let setup = Setup {
                        id,
                        ownership,
                        keys,
                        registrar,
                        auth,
                        guard,
                        nat,
                        liveness,
                        networks,
                        domains,
                    };
                    let mut shard = shard(setup, clock.now(), &subscribers);
                    shard.control(clock.now(), Control::AskOwners(asks_owners));
                    shard.control(clock.now(), Control::RestoreBlocks(restored));
                    shard
                }
            })
            .collect();
        drop(subscribers);
        // Each reactor has a few tables that grow, most of them at the same numbers; and whoever
        // comes first opens several.
        reactor::keep_tables_ready((2 * usize::from(shards) + 6).min(16))
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        let reactors = reactor::Settings {
            listen,
            listen_streams,
            streams,
            certificates,
            cpus: cpus.clone(),
            backend: match settings.serve.backend {
                config::Backend::Mmsg => reactor::Backend::Mmsg,
                config::Backend::Uring => reactor::Backend::Uring,
            },
            time_one_in: settings.serve.latency_sampling.unwrap_or(0),
            steering: settings.serve.steering,
            steered_sources: settings.serve.steered_sources,
            clock,
            ..reactor::Settings::default()
        };
        let blocks = data.map(|data| BlockStore::start(data, kept.blocks).map(Arc::new));
        let blocks = blocks
            .transpose()
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        let shards = usize::from(shards);
        let mesh = mesh(shards, default_slots(shards));
        let running = Reactors::start(reactors, mesh, planes)
            .map_err(|error| Failure::new(error.to_string()))?;
        if let reactor::Steering::Refused(why) = running.steering() {
            note(format_args!("phones are not steered to the reactor of their account: {why}"));
        }
        let mut server = Server {
            running,
            ownership: owned,
            started: settings.clone(),
            settings: settings.clone(),
            on_reload: Vec::new(),
            blocks,
            accounts,
            domains: names,
            cpus,
        };
        server.tell_listeners()?;
        let slots = server.running.certificate_slots();
        server.on_reload(certificates::prepare(slots));
        server.tell_own_addresses().map_err(|error| Failure::new(error.to_string()))?;
        Ok(server)
    }

    /// Tells every shard where datagrams are taken, now that the ports are known.
    fn tell_listeners(&self) -> Result<(), Failure> {
        let datagrams = self.listening().filter(|(transport, _)| *transport == Transport::Udp);
        let addresses: Vec<SocketAddr> = datagrams.map(|(_, address)| address).collect();
        for controller in self.running.controllers() {
            controller
                .give(Control::Listening(addresses.clone()))
                .and_then(|pending| pending.wait(STARTED_WITHIN))
                .map_err(|error| Failure::new(format!("a reactor took no order: {error}")))?;
        }
        Ok(())
    }

    /// The addresses it listens on, ports resolved.
    pub fn listening(&self) -> impl Iterator<Item = (Transport, SocketAddr)> + '_ {
        self.running.bound().iter().map(|bound| (bound.transport, bound.address))
    }

    /// Stops it: what has arrived is answered first. Returns what each reactor and its shard have
    /// counted.
    #[must_use]
    pub fn stop(self) -> Vec<Finished<Counters>> {
        self.running.stop();
        self.running.join()
    }
}

/// The addresses of the UDP listeners, and the others.
fn listeners(listen: &[config::Listen]) -> (Vec<SocketAddr>, Vec<config::Listen>) {
    let (streams, datagrams): (Vec<_>, Vec<_>) =
        listen.iter().copied().partition(|listen| listen.transport.is_connection());
    (datagrams.iter().map(|listen| listen.addr).collect(), streams)
}

/// What connections obey. Where nobody has said how many there may be, there are no more than the
/// limit of open files has room for.
fn streams(settings: &Settings, listeners: usize) -> Result<config::Streams, Failure> {
    let mut streams = settings.streams.clone();
    let asked = settings.serve.listen.iter().any(|listen| listen.transport.is_connection());
    let said = find("streams.connections_max").map(|parameter| settings.origin(parameter));
    if asked && said == Some(&config::Origin::Default) {
        let (_, shards) = placement(&settings.serve)?;
        let room = reactor::connections_allowed(shards.into(), listeners);
        let room = u32::try_from(room).unwrap_or(u32::MAX).saturating_sub(FILES_LEFT);
        if room < streams.connections_max {
            note(format_args!(
                "no more than {room} connections at a time: the limit of open files has room for \
                 no more (`ulimit -Hn`, LimitNOFILE=)"
            ));
            streams.connections_max = room;
        }
    }
    Ok(streams)
}

/// The networks from which some account may be let in without a digest, each once.
pub(super) fn asks_owners(subscribers: &[Subscriber]) -> Arc<[IpNet]> {
    let policies = subscribers.iter().filter_map(|one| one.policy.as_ref());
    AccountPolicy::networks_of(policies.map(|policy| &**policy))
}

/// A shard with the accounts it owns.
fn shard(setup: Setup, now: Now, subscribers: &[Subscriber]) -> Shard {
    let shards = usize::from(setup.ownership.shards());
    let mut shard = Shard::new(setup);
    // A little over the mean: keyed hashing spreads accounts evenly.
    let share = subscribers.len() / shards;
    shard.reserve(share + share / 16 + 16);
    for subscriber in subscribers {
        let aor = subscriber.user_at_domain.as_bytes();
        if shard.owns(aor) {
            shard
                .put_account(now, aor, &subscriber.ha1s, subscriber.policy.as_ref())
                .expect("names were checked and are distinct when they are loaded");
        }
    }
    shard
}

/// The CPU of each reactor, and their number: one for each CPU that is allowed, or listed, unless
/// the settings say otherwise. More reactors than CPUs share them in turn.
fn placement(serve: &config::Serve) -> Result<(Vec<usize>, u8), Failure> {
    let cpus: Vec<usize> = match &serve.cpus {
        Some(list) => list.iter().map(|&cpu| usize::from(cpu)).collect(),
        None => reactor::allowed_cpus(),
    };
    let shards = match serve.reactors {
        Some(count) => count,
        None => u8::try_from(cpus.len().min(SHARDS_MAX)).expect("SHARDS_MAX fits"),
    };
    Ok((cpus.iter().copied().cycle().take(usize::from(shards)).collect(), shards))
}

/// What operators had blocked before; one line where that is not known any more.
fn restore_blocks(data: Option<&Path>, now: UnixTime) -> Result<Kept, Failure> {
    let Some(directory) = data else { return Ok(Kept::default()) };
    let kept = blocks::restore(directory, now).map_err(|error| Failure::new(error.to_string()))?;
    if let Some(complaint) = &kept.complaint {
        note(complaint);
    }
    Ok(kept)
}

/// The seconds that kept blocks have left; none where the file says more than an order may.
fn left(blocks: &Blocks, now: UnixTime) -> Arc<[(IpAddr, Option<u32>)]> {
    let left = |until: UnixTime| {
        let left = u32::try_from(until.0.saturating_sub(now.0)).ok();
        left.filter(|&left| left <= BLOCK_S_MAX)
    };
    blocks.iter().map(|(&source, until)| (source, until.and_then(left))).collect()
}

fn secrets(data: Option<&Path>) -> Result<Keys, Failure> {
    let nonce = match data {
        Some(directory) => keys::nonce_key(directory, random()?)
            .map_err(|error| Failure::new(error.to_string()))?,
        None => random()?,
    };
    let spread: [u8; 16] = random()?;
    let (low, high) = spread.split_at(8);
    Ok(Keys {
        nonce: NonceKey::new(&nonce).into(),
        identity: random()?,
        spread: [low, high].map(|half| u64::from_le_bytes(half.try_into().expect("eight bytes"))),
    })
}

fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("the kernel gives no random bytes: {error}")))?;
    Ok(bytes)
}
