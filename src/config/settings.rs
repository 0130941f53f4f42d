//! All values together, each with where it came from: set from text and checked against each other.
//! Names and ranges are [`parameters`](mod@super::parameters)'.

use std::collections::HashMap;

use super::nearest::nearest;
use super::network::{NetworkSettings, network_key};
use super::parameters::{self, PARAMETERS, Parameter, find, index, unknown};
use super::refusal::{Fault, Origin, Refusal};
use super::value::{self, Malformed};
use super::{
    Admin, Algorithms, Analysis, Auth, ClientAuth, Domain, Guard, History, KeepaliveForm, Liveness,
    Nat, Registrar, Serve, Shield, Streams,
};

/// Everything that can be set, each value with its origin. `Default` is what runs without a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the registrar obeys.
    pub registrar: Registrar,
    /// What authentication obeys.
    pub auth: Auth,
    /// What the guard obeys.
    pub guard: Guard,
    /// How phones behind NAT are known and kept reachable.
    pub nat: Nat,
    /// How phones that are gone are noticed.
    pub liveness: Liveness,
    /// What is made of what is registered.
    pub analysis: Analysis,
    /// What the kernel drops before it reaches us.
    pub shield: Shield,
    /// What is kept of what happens to registrations.
    pub history: History,
    /// What connections obey.
    pub streams: Streams,
    /// What the admin interface obeys.
    pub admin: Admin,
    /// What `aorta serve` starts with.
    pub serve: Serve,
    pub(super) domains: Vec<DomainSettings>,
    pub(super) networks: Vec<NetworkSettings>,
    origins: [Origin; PARAMETERS.len()],
}

/// What was said about one domain; what was not follows `auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DomainSettings {
    pub(super) name: String,
    pub(super) algorithms: Option<(Algorithms, Origin)>,
    pub(super) aliases: Option<(Vec<String>, Origin)>,
}

/// What can be said of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DomainProperty {
    /// What its challenges offer.
    Algorithms,
    /// Its other names.
    Aliases,
}

enum DomainValue {
    Algorithms(Algorithms),
    Aliases(Vec<String>),
}

impl DomainProperty {
    const ALL: [DomainProperty; 2] = [DomainProperty::Algorithms, DomainProperty::Aliases];

    const fn name(self) -> &'static str {
        match self {
            DomainProperty::Algorithms => "algorithms",
            DomainProperty::Aliases => "aliases",
        }
    }

    /// What it takes, for refusals.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            DomainProperty::Algorithms => "SHA-256, MD5 or both",
            DomainProperty::Aliases => "host names or IP addresses",
        }
    }

    /// The property of that name, in any case.
    pub(super) fn find(name: &str) -> Option<DomainProperty> {
        DomainProperty::ALL.into_iter().find(|property| name.eq_ignore_ascii_case(property.name()))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            registrar: Registrar::default(),
            auth: Auth::default(),
            guard: Guard::default(),
            nat: Nat::default(),
            liveness: Liveness::default(),
            analysis: Analysis::default(),
            shield: Shield::default(),
            history: History::default(),
            streams: Streams::default(),
            admin: Admin::default(),
            serve: Serve::default(),
            domains: Vec::new(),
            networks: Vec::new(),
            origins: [const { Origin::Default }; PARAMETERS.len()],
        }
    }
}

impl Settings {
    /// Sets one parameter, by key or alias in any case, from text; lists are separated by commas
    /// and replace what was there. `domain.NAME.algorithms` and `domain.NAME.aliases` set a
    /// domain's, `network.NET.nat` and `network.NET.keepalive` a network's. What is refused changes
    /// nothing.
    pub fn apply(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), Refusal> {
        let key = key.trim();
        if let Some((domain, property)) = domain_key(key) {
            let items = split(text);
            let origins = vec![origin.clone(); items.len()];
            return self.set_domain(domain, property, &items, &origins, origin);
        }
        if let Some((network, property)) = network_key(key) {
            return self.set_network(network, property, text, origin);
        }
        let Some(parameter) = find(key) else { return Err(unknown(key, origin)) };
        // Line ends are no blanks: a text of nothing else would become no text.
        let single = || vec![text.trim_matches([' ', '\t'])];
        let items = if parameter.is_list() { split(text) } else { single() };
        let origins = vec![origin.clone(); items.len()];
        self.set(parameter, key, &items, &origins, origin)
    }

    /// Sets one parameter from items that each have their own origin.
    pub(super) fn set(
        &mut self,
        parameter: &'static Parameter,
        written: &str,
        items: &[&str],
        items_at: &[Origin],
        origin: Origin,
    ) -> Result<(), Refusal> {
        parameter.write(self, items).map_err(|(at, fault)| Refusal {
            origin: items_at.get(at).unwrap_or(&origin).clone(),
            key: spelled(parameter, written),
            fault,
        })?;
        self.origins[index(parameter)] = origin;
        Ok(())
    }

    /// Sets one property of one domain.
    pub(super) fn set_domain(
        &mut self,
        name: &str,
        property: &str,
        items: &[&str],
        items_at: &[Origin],
        origin: Origin,
    ) -> Result<(), Refusal> {
        let key = format!("domain.\"{name}\".{property}");
        let refused = |origin, fault| Err(Refusal { origin, key: key.clone(), fault });
        let Some(property) = DomainProperty::find(property) else {
            let names = DomainProperty::ALL.iter().map(|property| property.name());
            // There are so few that the first stands for them all.
            let name_of = nearest(property, names).unwrap_or("algorithms");
            let nearest = Some(format!("domain.\"{name}\".{name_of}"));
            return refused(origin, Fault::Unknown { nearest });
        };
        let value = match property {
            DomainProperty::Algorithms => value::algorithms(items).map(DomainValue::Algorithms),
            DomainProperty::Aliases => value::aliases(items).map(DomainValue::Aliases),
        };
        let value = match value {
            Ok(value) => value,
            Err(Malformed { item, expected }) => {
                let value = items.get(item).copied().unwrap_or_default().to_owned();
                let at = items_at.get(item).unwrap_or(&origin).clone();
                return refused(at, Fault::Malformed { value, expected });
            }
        };
        let domain = self.add_domain(name, origin.clone())?;
        match value {
            DomainValue::Algorithms(algorithms) => domain.algorithms = Some((algorithms, origin)),
            DomainValue::Aliases(aliases) => domain.aliases = Some((aliases, origin)),
        }
        Ok(())
    }

    /// The entry of a domain, made if it is not there.
    fn add_domain(&mut self, name: &str, origin: Origin) -> Result<&mut DomainSettings, Refusal> {
        let Some(canonical) = value::domain(name) else {
            return Err(Refusal {
                origin,
                key: "domain".to_owned(),
                fault: Fault::Malformed {
                    value: name.to_owned(),
                    expected: "a host name or an IP address".to_owned(),
                },
            });
        };
        let at = self.domains.iter().position(|domain| domain.name == canonical);
        let at = at.unwrap_or_else(|| {
            self.domains.push(DomainSettings { name: canonical, algorithms: None, aliases: None });
            self.domains.len() - 1
        });
        Ok(&mut self.domains[at])
    }

    /// A domain is served although nothing is said about it: an empty `[domain."NAME"]`.
    pub(super) fn serve_domain(&mut self, name: &str, origin: Origin) -> Result<(), Refusal> {
        self.add_domain(name, origin).map(|_| ())
    }

    /// Where a property of a domain was set, if it was.
    pub(super) fn domain_origin(&self, name: &str, property: DomainProperty) -> Option<&Origin> {
        let canonical = value::domain(name)?;
        let domain = self.domains.iter().find(|domain| domain.name == canonical)?;
        match property {
            DomainProperty::Algorithms => domain.algorithms.as_ref().map(|(_, origin)| origin),
            DomainProperty::Aliases => domain.aliases.as_ref().map(|(_, origin)| origin),
        }
    }

    /// The domain a host is another name of, if it is one.
    #[must_use]
    pub fn alias_of(&self, host: &str) -> Option<&str> {
        self.domains.iter().find_map(|domain| {
            let (aliases, _) = domain.aliases.as_ref()?;
            aliases.iter().any(|alias| alias == host).then_some(domain.name.as_str())
        })
    }

    /// An alias names one domain, and no domain is an alias.
    fn check_aliases(&self) -> Result<(), Refusal> {
        let mut known: HashMap<&str, &str> = HashMap::new();
        for domain in &self.domains {
            known.insert(&domain.name, &domain.name);
        }
        for domain in &self.domains {
            let Some((aliases, origin)) = &domain.aliases else { continue };
            for alias in aliases {
                let Some(other) = known.insert(alias, &domain.name) else { continue };
                let what = if other == alias { "a domain itself" } else { "an alias of" };
                let other = if other == alias { "" } else { other };
                return Err(Refusal {
                    origin: origin.clone(),
                    key: format!("domain.\"{}\".aliases", domain.name),
                    fault: Fault::Conflict(format!("{alias} is {what} {other}").trim().to_owned()),
                });
            }
        }
        Ok(())
    }

    /// The domains that were named, in the order they were first met. The domains of accounts
    /// come on top: ask [`Settings::domain`] for each.
    pub fn domains(&self) -> impl Iterator<Item = Domain> + '_ {
        self.domains.iter().map(|domain| self.domain(&domain.name))
    }

    /// How a domain is served: as was said of it, else by what holds for all.
    #[must_use]
    pub fn domain(&self, name: &str) -> Domain {
        let name = name.to_ascii_lowercase();
        let own = self.domains.iter().find(|domain| domain.name == name);
        let algorithms = own.and_then(|domain| domain.algorithms.as_ref());
        let algorithms = algorithms.map_or(self.auth.algorithms, |(algorithms, _)| *algorithms);
        let aliases = own.and_then(|domain| domain.aliases.as_ref());
        let aliases = aliases.map(|(aliases, _)| aliases.clone()).unwrap_or_default();
        Domain { name, algorithms, aliases }
    }

    /// Where a parameter's value came from.
    #[must_use]
    pub fn origin(&self, parameter: &'static Parameter) -> &Origin {
        &self.origins[index(parameter)]
    }

    /// Refuses values that cannot stand together. Call it once everything is applied.
    pub fn check(&self) -> Result<(), Refusal> {
        use parameters::*;

        let registrar = &self.registrar;
        let (min, max) = (registrar.expires_min_s, registrar.expires_max_s);
        if min > max {
            return Err(self.conflict(EXPIRES_MIN, "is above", EXPIRES_MAX));
        }
        if registrar.expires_default_s.is_some_and(|default| default > max) {
            return Err(self.conflict(EXPIRES_DEFAULT, "is above", EXPIRES_MAX));
        }
        if registrar.expires_default_s.is_some_and(|default| default < min) {
            return Err(self.conflict(EXPIRES_DEFAULT, "is below", EXPIRES_MIN));
        }
        // Where nobody set it, the minimum holds for everybody.
        if self.is_set(NAT_EXPIRES_MAX) && registrar.nat_expires_max_s < min {
            return Err(self.conflict(NAT_EXPIRES_MAX, "is below", EXPIRES_MIN));
        }
        // A phone that is not pinged may have to refresh more often than any pinhole closes.
        let pings = self.nat.message.form() != KeepaliveForm::Off
            || self
                .networks()
                .any(|one| one.keepalive.is_some_and(|form| form != KeepaliveForm::Off));
        if pings && self.nat.pace.period_s >= registrar.nat_expires_max_s {
            return Err(self.conflict(KEEPALIVE_PERIOD, "is not below", NAT_EXPIRES_MAX));
        }
        let (min, max) =
            (registrar.subscription_expires_min_s, registrar.subscription_expires_max_s);
        if min > max {
            return Err(self.conflict(
                SUBSCRIPTION_EXPIRES_MIN,
                "is above",
                SUBSCRIPTION_EXPIRES_MAX,
            ));
        }
        if self.is_set(SUBSCRIPTION_EXPIRES_DEFAULT) {
            let default = registrar.subscription_expires_default_s;
            let key = SUBSCRIPTION_EXPIRES_DEFAULT;
            if default > max {
                return Err(self.conflict(key, "is above", SUBSCRIPTION_EXPIRES_MAX));
            }
            if default < min {
                return Err(self.conflict(key, "is below", SUBSCRIPTION_EXPIRES_MIN));
            }
        }
        if let (Some(reactors), Some(cpus)) = (self.serve.reactors, &self.serve.cpus)
            && usize::from(reactors) > cpus.len()
        {
            return Err(self.conflict(REACTORS, "are more than the CPUs of", CPUS));
        }
        if self.guard.block_time_s > self.guard.block_time_max_s {
            return Err(self.conflict(BLOCK_TIME, "is above", BLOCK_TIME_MAX));
        }
        let overload = &self.guard.overload;
        if overload.wait_newcomers_ms > overload.wait_known_ms {
            return Err(self.conflict(OVERLOAD_NEWCOMERS, "is above", OVERLOAD_KNOWN));
        }
        if overload.wait_known_ms > overload.wait_proven_ms {
            return Err(self.conflict(OVERLOAD_KNOWN, "is above", OVERLOAD_PROVEN));
        }
        self.check_networks()?;
        self.check_aliases()?;
        match (&self.admin.certificate, &self.admin.key) {
            (Some(_), None) => {
                return Err(self.conflict(ADMIN_CERTIFICATE, "needs", ADMIN_KEY));
            }
            (None, Some(_)) => {
                return Err(self.conflict(ADMIN_KEY, "needs", ADMIN_CERTIFICATE));
            }
            _ => {}
        }
        let tls = &self.streams.tls;
        match (&tls.certificate, &tls.key) {
            (Some(_), None) => return Err(self.conflict(TLS_CERTIFICATE, "needs", TLS_KEY)),
            (None, Some(_)) => return Err(self.conflict(TLS_KEY, "needs", TLS_CERTIFICATE)),
            (None, None) if self.serve.listen.iter().any(|at| at.transport.is_secure()) => {
                return Err(self.conflict(LISTEN, "needs", TLS_CERTIFICATE));
            }
            _ => {}
        }
        if tls.client_auth != ClientAuth::Off && tls.client_ca.is_none() {
            return Err(self.conflict(TLS_CLIENT_AUTH, "needs", TLS_CLIENT_CA));
        }
        Ok(())
    }

    /// Whether somebody set it.
    fn is_set(&self, key: &str) -> bool {
        *self.origin(find(key).expect("a key of the table")) != Origin::Default
    }

    /// `a` contradicts `b`; reported where the one that somebody set was read.
    fn conflict(&self, a: &str, relation: &str, b: &str) -> Refusal {
        let a = find(a).expect("a key of the table");
        let b = find(b).expect("a key of the table");
        let phrase = |p: &'static Parameter| {
            let value = format!("{} {}", p.value(self), p.unit);
            let value = match value.trim() {
                "" => "empty",
                value => value,
            };
            format!("{} ({value}, {})", p.key, self.origin(p))
        };
        let blamed = if *self.origin(a) == Origin::Default { b } else { a };
        Refusal {
            origin: self.origin(blamed).clone(),
            key: blamed.key.to_owned(),
            fault: Fault::Conflict(format!("{} {relation} {}", phrase(a), phrase(b))),
        }
    }
}

/// The name as it was written, with the key beside it where that was an alias.
fn spelled(parameter: &Parameter, written: &str) -> String {
    if written.eq_ignore_ascii_case(parameter.alias) {
        format!("{} ({})", parameter.alias, parameter.key)
    } else {
        parameter.key.to_owned()
    }
}

fn split(text: &str) -> Vec<&str> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(str::trim).collect()
}

/// `domain.NAME.PROPERTY` with the name quoted or not; names have dots, properties have none.
fn domain_key(key: &str) -> Option<(&str, &str)> {
    let prefix = key.get(..7).filter(|prefix| prefix.eq_ignore_ascii_case("domain."))?;
    let (name, property) = key[prefix.len()..].rsplit_once('.')?;
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    Some((name, property))
}
