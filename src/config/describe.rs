//! Settings as lines for operators, and what differs between two of them.

use super::network::{Network, NetworkProperty, NetworkSettings};
use super::parameters::PARAMETERS;
use super::refusal::Origin;
use super::settings::{DomainSettings, Settings};

/// One line of `aorta config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Aorta's key.
    pub key: String,
    /// The alias, empty where there is none.
    pub alias: &'static str,
    /// What it does.
    pub about: &'static str,
    /// The value nobody set, as text.
    pub default: String,
    /// What is taken.
    pub range: String,
    /// The unit a bare number stands in, empty where there is none.
    pub unit: String,
    /// The value now, as text.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// It holds from the start to the end of the process; a reload does not change it.
    pub at_start: bool,
}

impl Settings {
    /// Every parameter in the order of the table, then what was said of each domain and of each
    /// network.
    pub fn describe(&self) -> impl Iterator<Item = Described> + '_ {
        let default = Settings::default();
        let parameters = PARAMETERS.iter().map(move |parameter| Described {
            key: parameter.key.to_owned(),
            alias: parameter.alias,
            about: parameter.about,
            default: parameter.value(&default),
            range: parameter.range(),
            unit: parameter.unit.to_string(),
            value: parameter.value(self),
            origin: self.origin(parameter).clone(),
            at_start: parameter.at_start(),
        });
        let domains = self.domains.iter().flat_map(|domain| self.describe_domain(domain));
        let networks = self.networks.iter().flat_map(|settings| {
            NetworkProperty::ALL.map(|property| describe_network(settings, property))
        });
        parameters.chain(domains).chain(networks)
    }

    fn describe_domain(&self, domain: &DomainSettings) -> [Described; 2] {
        let served = self.domain(&domain.name);
        let algorithms = Described {
            key: format!("domain.\"{}\".algorithms", domain.name),
            alias: "",
            about: "What challenges of this domain offer, strongest first",
            default: self.auth.algorithms.to_string(),
            range: "SHA-256, MD5".to_owned(),
            unit: String::new(),
            value: served.algorithms.to_string(),
            origin: domain.algorithms.as_ref().map_or(Origin::Default, |(_, at)| at.clone()),
            at_start: false,
        };
        let aliases = Described {
            key: format!("domain.\"{}\".aliases", domain.name),
            alias: "",
            about: "Other names of this domain",
            default: String::new(),
            range: "0-64 hosts".to_owned(),
            unit: String::new(),
            value: served.aliases.join(", "),
            origin: domain.aliases.as_ref().map_or(Origin::Default, |(_, at)| at.clone()),
            at_start: false,
        };
        [algorithms, aliases]
    }

    /// The keys that have another value here than in `before`, in the order of
    /// [`Settings::describe`]; a domain that is new, or gone, by its name alone where nothing else
    /// is said of it.
    #[must_use]
    pub fn changed_since(&self, before: &Settings) -> Vec<String> {
        let old: Vec<Described> = before.describe().collect();
        let new: Vec<Described> = self.describe().collect();
        let value = |rows: &[Described], of: &Described| {
            let known = rows.iter().find(|row| row.key == of.key);
            known.map_or_else(|| of.default.clone(), |row| row.value.clone())
        };
        let changed = new.iter().filter(|row| value(&old, row) != row.value);
        let gone = old.iter().filter(|row| !new.iter().any(|other| other.key == row.key));
        let gone = gone.filter(|row| row.value != row.default);
        let mut keys: Vec<String> = changed.chain(gone).map(|row| row.key.clone()).collect();
        let served = |settings: &Settings, name: &str| {
            settings.domains.iter().any(|domain| domain.name == name)
        };
        let either = self.domains.iter().chain(&before.domains);
        for DomainSettings { name, .. } in either {
            let key = format!("domain.\"{name}\"");
            if served(self, name) != served(before, name)
                && !keys.iter().any(|known| known.starts_with(&key))
            {
                keys.push(key);
            }
        }
        keys
    }
}

fn describe_network(settings: &NetworkSettings, property: NetworkProperty) -> Described {
    let net = settings.network.net;
    Described {
        key: format!("network.\"{net}\".{}", property.name()),
        alias: "",
        about: property.about(),
        default: property.value(&Network::new(net)),
        range: property.expected().to_owned(),
        unit: String::new(),
        value: property.value(&settings.network),
        origin: settings.origin(property).clone(),
        at_start: false,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    #[test]
    fn what_differs_is_named_once_by_its_key() {
        let read = |text: &str| load(text, "a.toml").unwrap();
        let before = read("SS_ENDPOINT_EXPIRE = 600\n[domain.\"a.com\"]\n[domain.\"b.com\"]\n");
        let same =
            read("[registrar]\nexpires_max = \"10m\"\n[domain.\"b.com\"]\n[domain.\"a.com\"]\n");
        assert_eq!(same.changed_since(&before), Vec::<String>::new());
        let after = read(
            "SS_ENDPOINT_EXPIRE = 700\n[auth]\nretry_max = 3\n[domain.\"a.com\"]\n\
             aliases = \"x.com\"\n[domain.\"c.com\"]\n",
        );
        assert_eq!(
            after.changed_since(&before),
            [
                "registrar.expires_max",
                "auth.retry_max",
                "domain.\"a.com\".aliases",
                "domain.\"c.com\"",
                "domain.\"b.com\""
            ]
        );
    }
}
