//! A shard as the benches want it: keys that are always the same, one domain, its accounts, and a
//! guard that works and lets everybody through.

use aorta::auth::Ha1s;
use aorta::auth::nonce::NonceKey;
use aorta::config::{self, Algorithms, Domain};
use aorta::shard::owner::Ownership;
use aorta::shard::{Keys, Setup, Shard, ShardId};

use super::phones::DOMAIN;

/// Secrets of the bench; they decide nothing.
pub fn keys() -> Keys {
    Keys { nonce: NonceKey::new(&[1; 16]).into(), identity: [2; 16], spread: [3, 4] }
}

/// The one domain of the phones.
pub fn domains() -> Vec<Domain> {
    vec![Domain { name: DOMAIN.into(), algorithms: Algorithms::MD5, aliases: Vec::new() }]
}

/// The guard at work, with limits so high that one source may send for all phones.
pub fn guard() -> config::Guard {
    config::Guard {
        rate_per_s: Some(1_000_000),
        burst: 1_000_000,
        register_rate_per_s: Some(1_000_000),
        register_burst: 1_000_000,
        ..config::Guard::default()
    }
}

/// Shard `id` of `shards`, with those of the accounts u1 to uN that it owns.
pub fn shard(
    id: ShardId,
    ownership: Ownership,
    keys: Keys,
    guard: config::Guard,
    accounts: usize,
) -> Shard {
    let shards = usize::from(ownership.shards());
    let mut shard = Shard::new(Setup {
        id,
        ownership,
        keys,
        registrar: config::Registrar::default(),
        auth: config::Auth::default(),
        guard,
        nat: config::Nat::default(),
        liveness: config::Liveness::default(),
        networks: Vec::new(),
        domains: domains(),
    });
    shard.reserve(accounts / shards + accounts / 16 + 16);
    for number in 1..=accounts {
        let aor = format!("u{number}@{DOMAIN}");
        if shard.owns(aor.as_bytes()) {
            let ha1s = Ha1s::from_password(&aor, &format!("p{number}"), false);
            shard.insert_account(aor.as_bytes(), &ha1s).expect("distinct names");
        }
    }
    shard
}
