//! The guard's place in a shard: what is shown to it, what it is told, and what is done upon its
//! word. Its rules are [`crate::guard`]'s.

use crate::config;
use crate::guard::bucket::Rate;
use crate::guard::networks::{Said, Standing};

/// What the configuration says of networks, as the guard takes it.
pub(super) fn said(networks: &[config::Network]) -> Vec<Said> {
    let one = |network: &config::Network| {
        let standing = match (network.trusted, network.blocked) {
            (_, Some(true)) => Some(Standing::Blocked),
            (Some(true), _) => Some(Standing::Trusted),
            (None, None) => None,
            // Said to be neither: a hole in what is.
            (Some(false), _) | (_, Some(false)) => Some(Standing::Served),
        };
        let limit = network.rate_per_s.map(|per_s| {
            let burst = network.burst.unwrap_or(per_s.saturating_mul(2));
            Rate::limit(Some(per_s), burst)
        });
        Said { net: network.net, standing, limit }
    };
    let said = networks.iter().map(one);
    said.filter(|said| said.standing.is_some() || said.limit.is_some()).collect()
}
