//! What holds for phones of one network: tables `[network."192.0.2.0/24"]` of a file, or
//! `network."192.0.2.0/24".nat` by itself. Of several networks around an address, the
//! smallest that says a thing counts.

use std::net::IpAddr;

use ipnet::IpNet;

use super::nat::{KeepaliveForm, NatOverride};
use super::nearest::nearest;
use super::refusal::{Fault, Origin, Refusal};
use super::settings::Settings;
use super::value::{self, Unit};
use crate::limits::NETWORK_TABLES_MAX;

/// What holds for one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Which network; no bits past the prefix.
    pub net: IpNet,
    /// Whether its phones are behind NAT; `None`, the default, as the networks around.
    pub nat: Option<NatOverride>,
    /// What keeps their pinholes open; `None`, the default, as the networks around, and as for
    /// everybody where none says so.
    pub keepalive: Option<KeepaliveForm>,
    /// Whether no limit, signature or block of the guard holds for it; `None`, the default, leaves
    /// that to [`Guard`](super::Guard) and to the networks around.
    pub trusted: Option<bool>,
    /// Whether it is not served at all; `None`, the default, likewise.
    pub blocked: Option<bool>,
    /// Requests a second that all its addresses have together, REGISTER included, 1-1000000,
    /// instead of the limits of sources; `None`, the default, as the networks around.
    pub rate_per_s: Option<u32>,
    /// As many of them at once, 1-1000000; `None`, the default, is twice the rate.
    pub burst: Option<u32>,
}

impl Network {
    /// One of which nothing is said.
    #[must_use]
    pub fn new(net: IpNet) -> Network {
        Network {
            net,
            nat: None,
            keepalive: None,
            trusted: None,
            blocked: None,
            rate_per_s: None,
            burst: None,
        }
    }

    /// Whether an address is in it. An IPv4 address is one also where it was met as part of IPv6.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.net.contains(&ip.to_canonical())
    }
}

/// A network with the place of each thing said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkSettings {
    pub(super) network: Network,
    origins: [Origin; NetworkProperty::ALL.len()],
}

/// What can be said of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkProperty {
    /// Whether its phones are behind NAT.
    Nat,
    /// What keeps their pinholes open.
    Keepalive,
    /// Whether it is trusted.
    Trusted,
    /// Whether it is not served.
    Blocked,
    /// Requests a second.
    Rate,
    /// Requests at once.
    Burst,
}

/// The word for what is not said.
const DEFAULT: &str = "default";

impl NetworkProperty {
    pub(super) const ALL: [NetworkProperty; 6] = [
        NetworkProperty::Nat,
        NetworkProperty::Keepalive,
        NetworkProperty::Trusted,
        NetworkProperty::Blocked,
        NetworkProperty::Rate,
        NetworkProperty::Burst,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            NetworkProperty::Nat => "nat",
            NetworkProperty::Keepalive => "keepalive",
            NetworkProperty::Trusted => "trusted",
            NetworkProperty::Blocked => "blocked",
            NetworkProperty::Rate => "rate",
            NetworkProperty::Burst => "burst",
        }
    }

    /// What it does, one sentence.
    pub(super) const fn about(self) -> &'static str {
        match self {
            NetworkProperty::Nat => "Phones of this network are behind NAT, or are not, unseen",
            NetworkProperty::Keepalive => "What keeps the pinholes of this network open",
            NetworkProperty::Trusted => "No limit, signature or block holds for this network",
            NetworkProperty::Blocked => "This network is not served",
            NetworkProperty::Rate => "Requests a second of this network, REGISTER included",
            NetworkProperty::Burst => "As many of them at once; twice the rate unless set",
        }
    }

    /// What it takes, for refusals and tables.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            NetworkProperty::Nat => NatOverride::EXPECTED_OR_DEFAULT,
            NetworkProperty::Keepalive => KeepaliveForm::EXPECTED_OR_DEFAULT,
            NetworkProperty::Trusted | NetworkProperty::Blocked => "default, On, Off",
            NetworkProperty::Rate | NetworkProperty::Burst => "default, 1-1000000",
        }
    }

    /// The property of that name, in any case.
    pub(super) fn find(name: &str) -> Option<NetworkProperty> {
        NetworkProperty::ALL.into_iter().find(|property| name.eq_ignore_ascii_case(property.name()))
    }

    /// Its value, as text.
    pub(super) fn value(self, network: &Network) -> String {
        match self {
            NetworkProperty::Nat => network.nat.map_or(DEFAULT, NatOverride::word).to_owned(),
            NetworkProperty::Keepalive => {
                network.keepalive.map_or(DEFAULT, KeepaliveForm::word).to_owned()
            }
            NetworkProperty::Trusted => switch_word(network.trusted).to_owned(),
            NetworkProperty::Blocked => switch_word(network.blocked).to_owned(),
            NetworkProperty::Rate => count_word(network.rate_per_s),
            NetworkProperty::Burst => count_word(network.burst),
        }
    }

    /// Reads it from text; `None` where the text is not of its kind, and nothing has changed.
    fn write(self, network: &mut Network, text: &str) -> Option<()> {
        match self {
            NetworkProperty::Nat => network.nat = NatOverride::from_word_or_default(text)?,
            NetworkProperty::Keepalive => {
                network.keepalive = KeepaliveForm::from_word_or_default(text)?;
            }
            NetworkProperty::Trusted => network.trusted = switch(text)?,
            NetworkProperty::Blocked => network.blocked = switch(text)?,
            NetworkProperty::Rate => network.rate_per_s = count(text)?,
            NetworkProperty::Burst => network.burst = count(text)?,
        }
        Some(())
    }
}

fn is_default(text: &str) -> bool {
    text.eq_ignore_ascii_case(DEFAULT)
}

/// On or Off, or the word for neither.
fn switch(text: &str) -> Option<Option<bool>> {
    if is_default(text) { Some(None) } else { value::switch(text).map(Some) }
}

fn switch_word(on: Option<bool>) -> &'static str {
    match on {
        None => DEFAULT,
        Some(true) => "On",
        Some(false) => "Off",
    }
}

/// A count of requests, or the word for none.
fn count(text: &str) -> Option<Option<u32>> {
    if is_default(text) {
        return Some(None);
    }
    let number = u32::try_from(value::whole(text, Unit::None)?).ok()?;
    (1..=1_000_000).contains(&number).then_some(Some(number))
}

fn count_word(count: Option<u32>) -> String {
    count.map_or_else(|| DEFAULT.to_owned(), |count| count.to_string())
}

impl NetworkSettings {
    /// Where a property was set, [`Origin::Default`] where it was not.
    pub(super) fn origin(&self, property: NetworkProperty) -> &Origin {
        &self.origins[property as usize]
    }
}

impl Settings {
    /// The networks of which something was said, in the order they were first met.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.iter().map(|settings| &settings.network)
    }

    /// Sets one property of one network.
    pub(super) fn set_network(
        &mut self,
        name: &str,
        property: &str,
        text: &str,
        origin: Origin,
    ) -> Result<(), Refusal> {
        let key = format!("network.\"{name}\".{property}");
        let Some(property) = NetworkProperty::find(property) else {
            let known = NetworkProperty::ALL.iter().map(|property| property.name());
            let nearest = nearest(property, known).map(|near| format!("network.\"{name}\".{near}"));
            return Err(Refusal { origin, key, fault: Fault::Unknown { nearest } });
        };
        let text = text.trim_matches([' ', '\t']);
        let mut probe = Network::new(IpNet::default());
        if property.write(&mut probe, text).is_none() {
            let expected = property.expected().to_owned();
            let fault = Fault::Malformed { value: text.to_owned(), expected };
            return Err(Refusal { origin, key, fault });
        }
        let settings = self.add_network(name, origin.clone())?;
        property.write(&mut settings.network, text);
        settings.origins[property as usize] = origin;
        Ok(())
    }

    /// The entry of a network, made if it is not there.
    pub(super) fn add_network(
        &mut self,
        name: &str,
        origin: Origin,
    ) -> Result<&mut NetworkSettings, Refusal> {
        let refused = |fault| Err(Refusal { origin, key: "network".to_owned(), fault });
        let net = match value::network(name) {
            Ok(net) => net,
            Err(expected) => {
                return refused(Fault::Malformed { value: name.to_owned(), expected });
            }
        };
        let known = self.networks.iter().position(|settings| settings.network.net == net);
        let at = match known {
            Some(at) => at,
            None if self.networks.len() == NETWORK_TABLES_MAX => {
                return refused(Fault::Conflict(format!(
                    "more than {NETWORK_TABLES_MAX} networks"
                )));
            }
            None => {
                let origins = std::array::from_fn(|_| Origin::Default);
                self.networks.push(NetworkSettings { network: Network::new(net), origins });
                self.networks.len() - 1
            }
        };
        Ok(&mut self.networks[at])
    }

    /// A network is not both trusted and blocked.
    pub(super) fn check_networks(&self) -> Result<(), Refusal> {
        for settings in &self.networks {
            let Network { net, trusted, blocked, .. } = settings.network;
            if trusted == Some(true) && blocked == Some(true) {
                let origin = settings.origin(NetworkProperty::Blocked).clone();
                let key = format!("network.\"{net}\".blocked");
                let fault = Fault::Conflict("a trusted network cannot be blocked".to_owned());
                return Err(Refusal { origin, key, fault });
            }
        }
        Ok(())
    }

    /// Where a property of a network was set, if it was.
    pub(super) fn network_origin(&self, name: &str, property: NetworkProperty) -> Option<&Origin> {
        let net = value::network(name).ok()?;
        let settings = self.networks.iter().find(|settings| settings.network.net == net)?;
        Some(settings.origin(property)).filter(|origin| **origin != Origin::Default)
    }
}

/// `network.NET.PROPERTY` with the network quoted or not; networks have dots, properties have
/// none.
pub(super) fn network_key(key: &str) -> Option<(&str, &str)> {
    let prefix = key.get(..8).filter(|prefix| prefix.eq_ignore_ascii_case("network."))?;
    let (name, property) = key[prefix.len()..].rsplit_once('.')?;
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    Some((name, property))
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
