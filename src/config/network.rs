//! What holds for phones of one network: tables `[network."192.0.2.0/24"]` of a file, or
//! `network."192.0.2.0/24".nat` by itself. Of several networks an address is in, the smallest
//! counts, with everything that is said of it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::nat::{KeepaliveForm, NatOverride};
use super::nearest::nearest;
use super::refusal::{Fault, Origin, Refusal};
use super::settings::Settings;
use super::value;
use crate::limits::NETWORK_TABLES_MAX;

/// What holds for one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Which network; no bits past the prefix.
    pub net: IpNet,
    /// Whether its phones are behind NAT. Default [`NatOverride::Auto`].
    pub nat: NatOverride,
    /// What keeps their pinholes open; `None`, the default, is as for everybody.
    pub keepalive: Option<KeepaliveForm>,
}

impl Network {
    /// One of which nothing is said.
    #[must_use]
    pub fn new(net: IpNet) -> Network {
        Network { net, nat: NatOverride::Auto, keepalive: None }
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
}

impl NetworkProperty {
    pub(super) const ALL: [NetworkProperty; 2] = [NetworkProperty::Nat, NetworkProperty::Keepalive];

    pub(super) const fn name(self) -> &'static str {
        match self {
            NetworkProperty::Nat => "nat",
            NetworkProperty::Keepalive => "keepalive",
        }
    }

    /// What it does, one sentence.
    pub(super) const fn about(self) -> &'static str {
        match self {
            NetworkProperty::Nat => "Phones of this network are behind NAT, or are not, unseen",
            NetworkProperty::Keepalive => "What keeps the pinholes of this network open",
        }
    }

    /// What it takes, for refusals and tables.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            NetworkProperty::Nat => NatOverride::EXPECTED,
            NetworkProperty::Keepalive => KeepaliveForm::EXPECTED_OR_DEFAULT,
        }
    }

    /// The property of that name, in any case.
    pub(super) fn find(name: &str) -> Option<NetworkProperty> {
        NetworkProperty::ALL.into_iter().find(|property| name.eq_ignore_ascii_case(property.name()))
    }

    /// Its value, as text.
    pub(super) fn value(self, network: &Network) -> String {
        match self {
            NetworkProperty::Nat => network.nat.to_string(),
            NetworkProperty::Keepalive => {
                network.keepalive.map_or("default", KeepaliveForm::word).to_owned()
            }
        }
    }

    /// Reads it from text; `None` where the text is not of its kind, and nothing has changed.
    fn write(self, network: &mut Network, text: &str) -> Option<()> {
        match self {
            NetworkProperty::Nat => network.nat = NatOverride::from_word(text)?,
            NetworkProperty::Keepalive => {
                network.keepalive = KeepaliveForm::from_word_or_default(text)?;
            }
        }
        Some(())
    }
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
