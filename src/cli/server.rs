//! A registrar process put together: settings and accounts in, running reactors out. `serve` and
//! `demo` share it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::accounts::Loaded;
use super::reload::{self, Prepare};
use super::{Failure, certificates};
use crate::auth::nonce::NonceKey;
use crate::config::{self, Settings};
use crate::flow::Transport;
use crate::limits::SHARDS_MAX;
use crate::reactor::{self, Finished, Reactors, Running};
use crate::shard::counters::Counters;
use crate::shard::mesh::{default_slots, mesh};
use crate::shard::owner::Ownership;
use crate::shard::{Keys, Setup, Shard, ShardId};
use crate::store::keys;
use crate::store::subscribers::Subscriber;

/// A registrar that answers.
pub struct Server {
    pub(super) running: Running<Shard>,
    pub(super) ownership: Ownership,
    /// What it was started with.
    pub(super) started: Settings,
    /// What it obeys now.
    pub(super) settings: Settings,
    pub(super) on_reload: Vec<Prepare>,
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
        let listen = datagram_listeners(&settings.serve.listen)?;
        let Loaded { accounts: subscribers, domains } = reload::check(settings)?;
        drop(certificates::prepare(settings)?);
        let (cpus, shards) = placement(&settings.serve)?;
        let keys = secrets(data)?;
        let ownership = Ownership::new(random()?, shards);
        let names = domains.iter().map(|domain| domain.name.clone()).collect();
        let owned = ownership.clone();
        let accounts = subscribers.len();
        let subscribers = Arc::new(subscribers);
        let planes = (0..shards)
            .map(|_| {
                let subscribers = Arc::clone(&subscribers);
                let ownership = ownership.clone();
                let keys = keys.clone();
                let registrar = settings.registrar.clone();
                let auth = settings.auth.clone();
                let domains = domains.clone();
                move |id: ShardId| {
                    let setup = Setup { id, ownership, keys, registrar, auth, domains };
                    shard(setup, &subscribers)
                }
            })
            .collect();
        drop(subscribers);
        let reactors = reactor::Settings {
            listen,
            cpus: cpus.clone(),
            backend: match settings.serve.backend {
                config::Backend::Mmsg => reactor::Backend::Mmsg,
                config::Backend::Uring => reactor::Backend::Uring,
            },
            ..reactor::Settings::default()
        };
        let shards = usize::from(shards);
        let mesh = mesh(shards, default_slots(shards));
        let running = Reactors::start(reactors, mesh, planes)
            .map_err(|error| Failure::new(error.to_string()))?;
        let mut server = Server {
            running,
            ownership: owned,
            started: settings.clone(),
            settings: settings.clone(),
            on_reload: Vec::new(),
            accounts,
            domains: names,
            cpus,
        };
        server.on_reload(Box::new(certificates::prepare));
        Ok(server)
    }

    /// The addresses it listens on, ports resolved.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.running.bound().iter().map(|bound| bound.address)
    }

    /// Stops it: what has arrived is answered first. Returns what each reactor and its shard have
    /// counted.
    #[must_use]
    pub fn stop(self) -> Vec<Finished<Counters>> {
        self.running.stop();
        self.running.join()
    }
}

/// The addresses of the UDP listeners.
///
/// # Errors
/// The first listener of another transport.
fn datagram_listeners(listen: &[config::Listen]) -> Result<Vec<SocketAddr>, Failure> {
    let one = |listen: &config::Listen| match listen.transport {
        Transport::Udp => Ok(listen.addr),
        other => Err(Failure::new(format!(
            "cannot listen on {listen}: this version serves udp, not {other}"
        ))),
    };
    listen.iter().map(one).collect()
}

/// A shard with the accounts it owns.
fn shard(setup: Setup, subscribers: &[Subscriber]) -> Shard {
    let shards = usize::from(setup.ownership.shards());
    let mut shard = Shard::new(setup);
    // A little over the mean: keyed hashing spreads accounts evenly.
    let share = subscribers.len() / shards;
    shard.reserve(share + share / 16 + 16);
    for subscriber in subscribers {
        let aor = subscriber.user_at_domain.as_bytes();
        if shard.owns(aor) {
            shard
                .put_account(aor, &subscriber.ha1s, subscriber.policy.as_ref())
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
