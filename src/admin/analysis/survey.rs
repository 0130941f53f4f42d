//! What is registered, counted by everything that operators ask for: one pass over all bindings in
//! bounded tables. Bindings come and go under it, so the sums are those of about that time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use arrayvec::ArrayString;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::counts::Counts;
use super::device::{Device, MODEL_BYTES_MAX, Named, Plain, device};
use super::place::{City, Country, Lookup, System};
use crate::shard::filter::Status;
use crate::shard::registrations::Registration;
use crate::time::{Now, UnixTime};

/// Rows of each table that are kept for certain.
const VENDORS_MAX: usize = 256;
const MODELS_MAX: usize = 2048;
const FIRMWARES_MAX: usize = 4096;
const NETWORKS_MAX: usize = 16_384;
const SOURCES_MAX: usize = 16_384;
const DOMAINS_MAX: usize = 1024;
const COUNTRIES_MAX: usize = 512;
const CITIES_MAX: usize = 8192;
const SYSTEMS_MAX: usize = 8192;
/// User-Agents whose meaning is remembered during a pass.
const AGENTS_MAX: usize = 4096;
/// Longest domain that is told apart, bytes.
const DOMAIN_BYTES_MAX: usize = 128;

/// By what registrations are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Who made the phone.
    Vendor,
    /// Vendor and model.
    Model,
    /// Vendor, model and firmware.
    Firmware,
    /// What carries its messages.
    Transport,
    /// Its /16, of IPv6 its /48.
    Network,
    /// Its address, of IPv6 its /64.
    Source,
    /// Whether it is behind NAT.
    Nat,
    /// How it stands.
    Status,
    /// The domain of its account.
    Domain,
    /// Its country.
    Country,
    /// Its city.
    City,
    /// Its autonomous system.
    System,
}

impl By {
    /// All of them.
    pub const ALL: [By; 12] = [
        By::Vendor,
        By::Model,
        By::Firmware,
        By::Transport,
        By::Network,
        By::Source,
        By::Nat,
        By::Status,
        By::Domain,
        By::Country,
        By::City,
        By::System,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            By::Vendor => "vendor",
            By::Model => "model",
            By::Firmware => "firmware",
            By::Transport => "transport",
            By::Network => "network",
            By::Source => "source",
            By::Nat => "nat",
            By::Status => "status",
            By::Domain => "domain",
            By::Country => "country",
            By::City => "city",
            By::System => "as",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn find(word: &str) -> Option<By> {
        By::ALL.into_iter().find(|by| by.word() == word)
    }
}

/// A vendor's model.
pub(super) type Model = (&'static str, ArrayString<MODEL_BYTES_MAX>);

/// What one pass has counted.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// When it ended.
    pub ended: UnixTime,
    /// How long it took.
    pub took: Duration,
    /// Bindings it met.
    pub bindings: u64,
    pub vendors: Counts<&'static str, Named>,
    pub models: Counts<Model, Named>,
    pub firmwares: Counts<Device, Named>,
    pub transports: Counts<&'static str>,
    pub networks: Counts<IpNet>,
    pub sources: Counts<IpNet>,
    pub nat: Counts<&'static str>,
    pub statuses: Counts<&'static str>,
    pub domains: Counts<ArrayString<DOMAIN_BYTES_MAX>>,
    pub countries: Counts<Country>,
    pub cities: Counts<City>,
    pub systems: Counts<System>,
}

/// A pass under way.
pub(super) struct Pass {
    survey: Survey,
    lookup: Lookup,
    agents: HashMap<Box<[u8]>, Named>,
}

impl Pass {
    pub fn new(lookup: Lookup) -> Pass {
        let survey = Survey {
            ended: UnixTime(0),
            took: Duration::ZERO,
            bindings: 0,
            vendors: Counts::new(VENDORS_MAX),
            models: Counts::new(MODELS_MAX),
            firmwares: Counts::new(FIRMWARES_MAX),
            transports: Counts::new(8),
            networks: Counts::new(NETWORKS_MAX),
            sources: Counts::new(SOURCES_MAX),
            nat: Counts::new(2),
            statuses: Counts::new(8),
            domains: Counts::new(DOMAINS_MAX),
            countries: Counts::new(COUNTRIES_MAX),
            cities: Counts::new(CITIES_MAX),
            systems: Counts::new(SYSTEMS_MAX),
        };
        Pass { survey, lookup, agents: HashMap::new() }
    }

    /// How many bindings it has met.
    pub fn met(&self) -> u64 {
        self.survey.bindings
    }

    /// Counts one binding.
    pub fn take(&mut self, now: Now, registration: &Registration) {
        let Registration { aor, binding, .. } = registration;
        let survey = &mut self.survey;
        survey.bindings += 1;
        let domain =
            aor.iter().rposition(|byte| *byte == b'@').map_or(&[][..], |at| &aor[at + 1..]);
        survey.domains.add(short(domain));
        survey.statuses.add(Status::of(binding, now.mono).word());
        if binding.is_static() {
            // Configured with its account: it came from nowhere, by no way, and is no device.
            return;
        }
        let named = named(&mut self.agents, binding.user_agent());
        let Device { vendor, model, .. } = named.device;
        survey.vendors.add_with(vendor, || named);
        survey.models.add_with((vendor, model), || named);
        survey.firmwares.add_with(named.device, || named);
        survey.transports.add(binding.flow().transport().word());
        survey.nat.add(if binding.is_behind_nat() { "true" } else { "false" });
        let source = binding.source().ip().to_canonical();
        survey.networks.add(network(source, 16, 48));
        survey.sources.add(network(source, 32, 64));
        let place = self.lookup.place(source);
        survey.countries.add(place.country);
        survey.cities.add(place.city);
        survey.systems.add(place.system);
    }

    /// The end of it.
    pub fn end(self, ended: UnixTime, took: Duration) -> Survey {
        Survey { ended, took, ..self.survey }
    }
}

/// What a User-Agent means, remembered: a million phones are a few hundred kinds.
fn named(agents: &mut HashMap<Box<[u8]>, Named>, user_agent: &[u8]) -> Named {
    if let Some(known) = agents.get(user_agent) {
        return *known;
    }
    let named = device(user_agent);
    if agents.len() >= AGENTS_MAX {
        agents.clear();
    }
    agents.insert(user_agent.into(), named);
    named
}

/// As much of a canonical name as there is room for; what is no text there is replaced.
fn short<const N: usize>(bytes: &[u8]) -> ArrayString<N> {
    let mut short = ArrayString::new();
    for c in String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()) {
        if short.try_push(c).is_err() {
            break;
        }
    }
    short
}

/// The network of an address, so many bits long.
fn network(source: IpAddr, bits_v4: u8, bits_v6: u8) -> IpNet {
    match source {
        IpAddr::V4(v4) => IpNet::from(Ipv4Net::new_assert(v4, bits_v4)).trunc(),
        IpAddr::V6(v6) => {
            let v6: Ipv6Addr = v6;
            IpNet::from(Ipv6Net::new_assert(v6, bits_v6)).trunc()
        }
    }
}

/// A survey of nothing but phones of these User-Agents and sources, for tests.
#[cfg(test)]
impl Survey {
    pub fn of(phones: &[(&str, &str)], lookup: Lookup) -> Survey {
        let mut pass = Pass::new(lookup);
        for (user_agent, source) in phones {
            let named = device(user_agent.as_bytes());
            let survey = &mut pass.survey;
            survey.bindings += 1;
            survey.vendors.add_with(named.device.vendor, || named);
            survey.models.add_with((named.device.vendor, named.device.model), || named);
            survey.firmwares.add_with(named.device, || named);
            survey.transports.add("udp");
            let source: IpAddr = source.parse().unwrap();
            survey.networks.add(network(source, 16, 48));
            survey.sources.add(network(source, 32, 64));
            let place = pass.lookup.place(source);
            survey.countries.add(place.country);
            survey.cities.add(place.city);
            survey.systems.add(place.system);
        }
        pass.end(UnixTime(1_793_491_200), Duration::from_millis(12))
    }
}

/// A text that says what to look for.
pub(super) fn sought(named: &Named, level: usize) -> Option<Plain> {
    named.sought(level).and_then(|text| Plain::from(text).ok())
}
