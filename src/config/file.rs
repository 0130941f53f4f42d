//! A configuration file: TOML text in, [`Settings`] or every refusal with its line out. Opening
//! the file is the caller's.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::network::NetworkProperty;
use super::parameters::{PARAMETERS, Parameter, find, unknown};
use super::refusal::{Fault, Origin, Refusal};
use super::settings::{DomainProperty, Settings};

/// Longest configuration file, bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

const DOMAIN: &str = "domain";
const NETWORK: &str = "network";

/// Reads a whole file on top of the defaults. Every line at fault is reported, in the order of the
/// file; with one at fault nothing is taken.
///
/// ```
/// let text = "[registrar]\nreplace = \"Off\"\n";
/// let settings = aorta::config::load(text, "aorta.toml").unwrap();
/// assert_eq!(settings.registrar.replace, aorta::config::Replace::Never);
///
/// let refusals = aorta::config::load("SS_ENDPOINT_EXPIRE = 10\n", "aorta.toml").unwrap_err();
/// assert_eq!(
///     refusals[0].to_string(),
///     "aorta.toml:1: SS_ENDPOINT_EXPIRE (registrar.expires_max): 10 is outside its range, \
///      expected 20-86400 s"
/// );
/// ```
pub fn load(text: &str, file_name: &str) -> Result<Settings, Vec<Refusal>> {
    let mut file =
        File { text, name: file_name.into(), settings: Settings::default(), refusals: Vec::new() };
    if text.len() > FILE_BYTES_MAX {
        let message = format!("longer than {FILE_BYTES_MAX} bytes");
        return Err(vec![file.syntax(0, message)]);
    }
    match DeTable::parse(text) {
        Ok(table) => file.read(table.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            return Err(vec![file.syntax(at, error.message().to_owned())]);
        }
    }
    if file.refusals.is_empty()
        && let Err(refusal) = file.settings.check()
    {
        file.refusals.push(refusal);
    }
    if file.refusals.is_empty() {
        return Ok(file.settings);
    }
    file.refusals.sort_by_key(|refusal| match refusal.origin {
        Origin::File { line, .. } => line,
        Origin::Default | Origin::CommandLine | Origin::Operator => 0,
    });
    Err(file.refusals)
}

struct File<'a> {
    text: &'a str,
    name: Arc<str>,
    settings: Settings,
    refusals: Vec<Refusal>,
}

/// The texts of a value, a scalar being one item, each with where it stands.
struct Items {
    array: bool,
    texts: Vec<String>,
    origins: Vec<Origin>,
}

impl File<'_> {
    fn read(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(domains) if name.eq_ignore_ascii_case(DOMAIN) => {
                    self.read_domains(domains);
                }
                DeValue::Table(networks) if name.eq_ignore_ascii_case(NETWORK) => {
                    self.read_networks(networks);
                }
                DeValue::Table(section) => self.read_section(name, key, section),
                _ if name.eq_ignore_ascii_case(DOMAIN) => {
                    let expected = "a table such as [domain.\"example.com\"]";
                    self.malformed(self.at(value), name, value, expected);
                }
                _ if name.eq_ignore_ascii_case(NETWORK) => {
                    let expected = "a table such as [network.\"192.0.2.0/24\"]";
                    self.malformed(self.at(value), name, value, expected);
                }
                _ => self.read_value(name, name, value),
            }
        }
    }

    fn read_section(&mut self, name: &str, key: &Spanned<impl Sized>, table: &DeTable<'_>) {
        let known = |p: &&'static Parameter| p.section().eq_ignore_ascii_case(name);
        let Some(section) = PARAMETERS.iter().find(known).map(|p| p.section()) else {
            let sections = PARAMETERS.iter().map(|p| p.section()).chain([DOMAIN, NETWORK]);
            let nearest = nearest(name, sections).map(|section| format!("[{section}]"));
            let (origin, key) = (self.at(key), format!("[{name}]"));
            self.refusals.push(Refusal { origin, key, fault: Fault::Unknown { nearest } });
            return;
        };
        for (key, value) in table {
            let written = key.get_ref().as_ref();
            // An operator who groups parameters may still use the names he knows.
            let alias = find(written).filter(|p| p.section() == section);
            if alias.is_some() {
                self.read_value(written, written, value);
            } else {
                let full = format!("{section}.{written}");
                self.read_value(&full, &full, value);
            }
        }
    }

    fn read_value(&mut self, name: &str, written: &str, value: &Spanned<DeValue<'_>>) {
        let origin = self.at(value);
        let Some(parameter) = find(name) else {
            self.refusals.push(unknown(written, origin));
            return;
        };
        let items = match self.items(value) {
            Some(items) if parameter.is_list() || !items.array => items,
            _ => {
                let one = if parameter.is_list() { "" } else { "one value of " };
                let expected = format!("{one}{}", parameter.range());
                self.malformed(origin, parameter.key, value, &expected);
                return;
            }
        };
        if let first @ Origin::File { .. } = self.settings.origin(parameter) {
            let fault = Fault::SetTwice { first: first.clone() };
            self.refusals.push(Refusal { origin, key: written.to_owned(), fault });
            return;
        }
        let result = if items.array {
            let texts: Vec<&str> = items.texts.iter().map(|text| text.trim()).collect();
            self.settings.set(parameter, written, &texts, &items.origins, origin)
        } else {
            self.settings.apply(name, &items.texts[0], origin)
        };
        self.refusals.extend(result.err());
    }

    fn read_domains(&mut self, domains: &DeTable<'_>) {
        for (key, value) in domains {
            let name = key.get_ref().as_ref();
            let DeValue::Table(table) = value.get_ref() else {
                let expected = "a table such as [domain.\"example.com\"]";
                self.malformed(self.at(value), &format!("domain.{name}"), value, expected);
                continue;
            };
            if let Err(refusal) = self.settings.serve_domain(name, self.at(key)) {
                self.refusals.push(refusal);
                continue;
            }
            for (property, value) in table {
                self.read_domain_value(name, property.get_ref(), value);
            }
        }
    }

    fn read_domain_value(&mut self, name: &str, property: &str, value: &Spanned<DeValue<'_>>) {
        let origin = self.at(value);
        let key = format!("domain.\"{name}\".{property}");
        let Some(items) = self.items(value) else {
            // `[domain.example.com]` is a table in a table to TOML, and means something else.
            let expected = match value.get_ref() {
                DeValue::Table(_) => "the name in quotes, such as [domain.\"example.com\"]",
                _ => DomainProperty::find(property).map_or("one value", DomainProperty::expected),
            };
            self.malformed(origin, &key, value, expected);
            return;
        };
        let first = DomainProperty::find(property)
            .and_then(|property| self.settings.domain_origin(name, property));
        if let Some(first @ Origin::File { .. }) = first {
            let fault = Fault::SetTwice { first: first.clone() };
            self.refusals.push(Refusal { origin, key, fault });
            return;
        }
        let texts: Vec<&str> = if items.array {
            items.texts.iter().map(|text| text.trim()).collect()
        } else {
            items.texts[0].split(',').map(str::trim).collect()
        };
        let result = self.settings.set_domain(name, property, &texts, &items.origins, origin);
        self.refusals.extend(result.err());
    }

    fn read_networks(&mut self, networks: &DeTable<'_>) {
        for (key, value) in networks {
            let name = key.get_ref().as_ref();
            let DeValue::Table(table) = value.get_ref() else {
                let expected = "a table such as [network.\"192.0.2.0/24\"]";
                self.malformed(self.at(value), &format!("network.{name}"), value, expected);
                continue;
            };
            if let Err(refusal) = self.settings.add_network(name, self.at(key)) {
                self.refusals.push(refusal);
                continue;
            }
            for (property, value) in table {
                self.read_network_value(name, property.get_ref(), value);
            }
        }
    }

    fn read_network_value(&mut self, name: &str, property: &str, value: &Spanned<DeValue<'_>>) {
        let origin = self.at(value);
        let known = NetworkProperty::find(property);
        let first = known.and_then(|property| self.settings.network_origin(name, property));
        let key = format!("network.\"{name}\".{property}");
        if let Some(first @ Origin::File { .. }) = first {
            let fault = Fault::SetTwice { first: first.clone() };
            self.refusals.push(Refusal { origin, key, fault });
            return;
        }
        let Some(text) = scalar(value.get_ref()) else {
            let expected = known.map_or("one value", NetworkProperty::expected);
            self.malformed(origin, &key, value, expected);
            return;
        };
        self.refusals.extend(self.settings.set_network(name, property, &text, origin).err());
    }

    /// `None` for what no parameter takes: tables, dates, arrays in arrays.
    fn items(&self, value: &Spanned<DeValue<'_>>) -> Option<Items> {
        let DeValue::Array(array) = value.get_ref() else {
            let (texts, origins) = (vec![scalar(value.get_ref())?], vec![self.at(value)]);
            return Some(Items { array: false, texts, origins });
        };
        let texts = array.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>()?;
        let origins = array.iter().map(|item| self.at(item)).collect();
        Some(Items { array: true, texts, origins })
    }

    fn malformed(
        &mut self,
        origin: Origin,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
    ) {
        let value = scalar(value.get_ref())
            .unwrap_or_else(|| format!("a TOML {}", value.get_ref().type_str()));
        let fault = Fault::Malformed { value, expected: expected.to_owned() };
        self.refusals.push(Refusal { origin, key: key.to_owned(), fault });
    }

    fn syntax(&self, at: usize, message: String) -> Refusal {
        Refusal { origin: self.line_of(at), key: String::new(), fault: Fault::Syntax(message) }
    }

    fn at(&self, spanned: &Spanned<impl Sized>) -> Origin {
        self.line_of(spanned.span().start)
    }

    fn line_of(&self, offset: usize) -> Origin {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        Origin::File { name: self.name.clone(), line: u32::try_from(line).unwrap_or(u32::MAX) }
    }
}

/// A scalar as the text an operator would give on the command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            Some(number.map_or_else(|_| integer.as_str().to_owned(), |number| number.to_string()))
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Algorithms, Backend, Replace};
    use super::*;

    fn refusals(text: &str) -> Vec<String> {
        let refusals = load(text, "a.toml").expect_err("the file is refused");
        refusals.iter().map(Refusal::to_string).collect()
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(load("", "a.toml"), Ok(Settings::default()));
    }

    #[test]
    fn a_full_file_is_read() {
        let settings = load(
            r#"
SS_ENDPOINT_REGISTER_REPLACE = "Off"
[registrar]
bindings_max = 4
SS_ENDPOINT_EXPIRE = "1h"
expires_min = "2m"
expires_min_policy = "raise"
expires_spread = "5 %"
[auth]
nonce_lifetime = 7_200
algorithms = ["MD5", "SHA-256"]
[serve]
listen = [
    "udp:127.0.0.1:5060",
    "udp:[::1]:5060",
]
subscribers = "subscribers.txt"
test_accounts = 100
reactors = 2
cpus = [0, 1]
backend = "uring"
[domain."Example.com"]
algorithms = "MD5"
[domain."example.net"]
"#,
            "a.toml",
        )
        .unwrap();
        assert_eq!(settings.registrar.replace, Replace::Never);
        assert_eq!(settings.registrar.bindings_max, 4);
        assert_eq!(settings.registrar.expires_max_s, 3600);
        assert_eq!(settings.registrar.expires_min_s, 120);
        assert_eq!(settings.registrar.expires_spread_percent, 5);
        assert_eq!(settings.auth.nonce_lifetime_s, 7200);
        assert_eq!(settings.auth.algorithms, Algorithms::BOTH);
        assert_eq!(settings.serve.listen[1].to_string(), "udp:[::1]:5060");
        assert_eq!(settings.serve.subscribers.as_deref(), Some(Path::new("subscribers.txt")));
        assert_eq!(settings.serve.test_accounts, 100);
        assert_eq!(settings.serve.reactors, Some(2));
        assert_eq!(settings.serve.cpus, Some(vec![0, 1]));
        assert_eq!(settings.serve.backend, Backend::Uring);
        assert_eq!(settings.domain("EXAMPLE.com").algorithms, Algorithms::MD5);
        assert_eq!(settings.domain("example.net").algorithms, Algorithms::BOTH);
        let names: Vec<String> = settings.domains().map(|domain| domain.name).collect();
        assert_eq!(names, ["example.com", "example.net"]);
        let origin = settings.origin(find("SS_ENDPOINT_EXPIRE").unwrap());
        assert_eq!(origin.to_string(), "a.toml:5");
    }

    #[test]
    fn every_line_at_fault_is_reported_in_order() {
        assert_eq!(
            refusals("[serve]\nreactors = 0\nport = 1\n[registrar]\nreplace = \"maybe\"\n"),
            [
                "a.toml:2: serve.reactors: \"0\" is refused, expected auto or 1-128",
                "a.toml:3: serve.port: unknown name, `aorta config` lists the known ones",
                "a.toml:5: registrar.replace: \"maybe\" is refused, expected On (always), \
                 Off (never) or unless_in_call",
            ]
        );
    }

    #[test]
    fn an_item_of_a_list_is_reported_where_it_stands() {
        assert_eq!(
            refusals("[serve]\nlisten = [\n  \"udp:127.0.0.1:5060\",\n  \"sctp:1.1.1.1:1\"\n]"),
            ["a.toml:4: serve.listen: \"sctp:1.1.1.1:1\" is refused, expected udp, tcp, tls, \
                 ws or wss in TRANSPORT:ADDRESS:PORT, such as udp:0.0.0.0:5060 or tls:[::]:5061"]
        );
    }

    #[test]
    fn what_is_no_toml_is_one_line() {
        let all = refusals("[registrar]\nreplace = \n");
        assert_eq!(all.len(), 1);
        assert!(all[0].starts_with("a.toml:2: ") && !all[0].contains('\n'), "{all:?}");
    }

    #[test]
    fn a_key_twice_is_refused_under_either_name() {
        assert_eq!(
            refusals("SS_ENDPOINT_EXPIRE = 60\n[registrar]\nexpires_max = 70\n"),
            ["a.toml:3: registrar.expires_max: set twice, first at a.toml:1"]
        );
        assert_eq!(
            refusals(
                "[domain.\"A.com\"]\nalgorithms=\"MD5\"\n[domain.\"a.com\"]\nalgorithms=\"MD5\"\n"
            ),
            ["a.toml:4: domain.\"a.com\".algorithms: set twice, first at a.toml:2"]
        );
    }

    #[test]
    fn an_unknown_section_is_refused_with_the_nearest() {
        assert_eq!(
            refusals("[registar]\nreplace = true\n"),
            ["a.toml:1: [registar]: unknown name, did you mean [registrar]?"]
        );
    }

    #[test]
    fn an_alias_in_a_section_it_does_not_belong_to_is_refused() {
        assert_eq!(refusals("[auth]\nSS_ENDPOINT_EXPIRE = 60\n").len(), 1);
    }

    #[test]
    fn a_domain_without_quotes_is_explained() {
        assert_eq!(
            refusals("[domain.example.com]\nalgorithms = \"MD5\"\n"),
            ["a.toml:1: domain.\"example\".com: \"a TOML table\" is refused, expected the name \
                 in quotes, such as [domain.\"example.com\"]"]
        );
    }

    #[test]
    fn a_domain_has_aliases_that_name_nothing_else() {
        let settings =
            load("[domain.\"a.com\"]\naliases = [\"SIP.a.com\", \"10.0.0.1\"]\n", "a.toml")
                .unwrap();
        assert_eq!(settings.domain("a.com").aliases, ["sip.a.com", "10.0.0.1"]);
        assert_eq!(settings.alias_of("sip.a.com"), Some("a.com"));
        assert_eq!(settings.alias_of("a.com"), None);
        assert_eq!(
            refusals(
                "[domain.\"a.com\"]\naliases = \"c.com\"\n[domain.\"b.com\"]\naliases = \"C.com\"\n"
            ),
            ["a.toml:4: domain.\"b.com\".aliases: c.com is an alias of a.com"]
        );
        assert_eq!(
            refusals("[domain.\"a.com\"]\naliases = \"b.com\"\n[domain.\"b.com\"]\n"),
            ["a.toml:2: domain.\"a.com\".aliases: b.com is a domain itself"]
        );
        assert_eq!(
            refusals("[domain.\"a.com\"]\naliasses = \"b.com\"\n"),
            ["a.toml:2: domain.\"a.com\".aliasses: unknown name, did you mean \
                 domain.\"a.com\".aliases?"]
        );
        assert_eq!(refusals("[domain.\"a.com\"]\naliases = [\"a b\"]\n").len(), 1);
        assert_eq!(refusals("[domain.\"a.com\"]\naliases = [\"b.com\", \"B.com\"]\n").len(), 1);
    }

    #[test]
    fn types_no_parameter_takes_are_refused() {
        for text in [
            "[registrar]\nreplace = [\"On\"]\n",
            "[registrar]\nreplace = 2026-01-01\n",
            "[registrar]\nexpires_max = 60.5\n",
            "[registrar]\nexpires_max = -60\n",
            "[registrar.replace]\nx = 1\n",
            "[serve]\nlisten = [[\"udp:127.0.0.1\"]]\n",
            "[serve]\nlisten = []\n",
            "domain = 1\n",
            "[domain]\n\"a.com\" = 1\n",
            "[domain.\"a b\"]\n",
            "[domain.\"a.com\"]\nrealm = \"x\"\n",
            "[domain.\"a.com\"]\nalgorithms = []\n",
        ] {
            assert_eq!(refusals(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn integers_of_any_radix_are_their_value() {
        let settings = load("[serve]\ntest_accounts = 0x10\n", "a.toml").unwrap();
        assert_eq!(settings.serve.test_accounts, 16);
    }

    #[test]
    fn values_that_cannot_stand_together_are_refused_with_both_names() {
        assert_eq!(
            refusals("[registrar]\nexpires_max = 30\n"),
            ["a.toml:2: registrar.expires_max: registrar.expires_min (60 s, default) is above \
                 registrar.expires_max (30 s, a.toml:2)"]
        );
    }

    #[test]
    fn a_file_past_the_limit_is_refused() {
        assert_eq!(refusals(&" ".repeat(FILE_BYTES_MAX + 1)).len(), 1);
    }
}
