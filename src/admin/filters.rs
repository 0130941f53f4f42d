//! What of the registrations is wanted, as text and back: the filters of a query. What they mean
//! inside a shard is [`Filter`]'s.

use std::sync::Arc;

use form_urlencoded::Serializer;
use ipnet::IpNet;

use super::problem::Problem;
use super::query::{Query, network, with_plus};

use crate::config::value::{Unit, switch, whole};
use crate::flow::Transport;
use crate::limits::{FIND_ITEMS_MAX, FIND_TEXT_BYTES_MAX};
use crate::shard::filter::{Filter, Number, Seconds, Status};
use crate::shard::registrations::Registration;
use crate::time::Now;

/// The word for accounts without a registration, among those of [`Status`].
pub(super) const UNREGISTERED: &str = "unregistered";

/// Filters that were read: all of them have to match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filters {
    /// As they were given, in the order of [`Filters::NAMES`].
    given: Vec<(&'static str, String)>,
    /// Accounts as operators write them; one of them, if there is any.
    accounts: Vec<Box<[u8]>>,
    filter: Arc<Filter>,
}

impl Filters {
    /// The names of the parameters.
    pub const NAMES: [&'static str; 14] = [
        "aor",
        "account",
        "number",
        "domain",
        "contact",
        "ip",
        "user_agent",
        "status",
        "transport",
        "nat",
        "age_min",
        "age_max",
        "idle_min",
        "idle_max",
    ];

    /// These names and `more`.
    pub fn names_and(more: &[&'static str]) -> Vec<&'static str> {
        Filters::NAMES.iter().chain(more).copied().collect()
    }

    /// Reads the text behind `?`, which has nothing but filters. A form's empty fields are none.
    ///
    /// # Errors
    /// Which filter is wrong, and what it takes.
    #[allow(dead_code, reason = "pages make links of them")]
    pub fn parse(text: &str) -> Result<Filters, Problem> {
        let given = form_urlencoded::parse(text.as_bytes()).filter(|(_, value)| !value.is_empty());
        let text = Serializer::new(String::new()).extend_pairs(given).finish();
        Filters::read(&Query::read(Some(&text), &Filters::NAMES)?)
    }

    /// Reads what a query has of them.
    ///
    /// # Errors
    /// Which filter is wrong, and what it takes.
    pub fn read(query: &Query) -> Result<Filters, Problem> {
        let given = Filters::NAMES
            .iter()
            .filter_map(|name| query.value(name).map(|value| (*name, value.to_owned())))
            .collect();
        let accounts = match (query.aor_of("aor")?, query.value("account")) {
            (Some(_), Some(_)) => {
                return Err(Problem::parameter("account", "aor and account are the same filter"));
            }
            (Some(aor), None) => vec![aor],
            (None, Some(list)) => items("account", list, "user@domain", |text| {
                Some(with_plus(text).as_bytes().into())
            })?,
            (None, None) => Vec::new(),
        };
        let ages = |min, max| -> Result<Seconds, Problem> {
            let Seconds { min: least, max: most } = Seconds::default();
            let (min_s, max_s) = (age(query, min, least)?, age(query, max, most)?);
            Ok(Seconds { min: min_s, max: max_s })
        };
        let mut filter = Filter {
            contact: query.contact()?,
            registered_s: ages("age_min", "age_max")?,
            refreshed_s: ages("idle_min", "idle_max")?,
            ..Filter::default()
        };
        if let Some(list) = query.value("number") {
            let expected = "a number such as 1001, its beginning such as 10*, or a list of these";
            filter.numbers = items("number", list, expected, number)?;
        }
        if let Some(list) = query.value("domain") {
            filter.domains = items("domain", list, "a domain", |text| {
                Some(text.to_ascii_lowercase().into_bytes().into())
            })?;
        }
        if let Some(list) = query.value("ip") {
            let expected = "an address or a network, such as 192.0.2.7, 192.0.2.0/24, \
                            192.0.2.x or 2001:db8::/32";
            filter.sources = items("ip", list, expected, sources)?;
        }
        if let Some(part) = query.value("user_agent") {
            if part.is_empty() || part.len() > FIND_TEXT_BYTES_MAX {
                return Err(Problem::parameter("user_agent", "user_agent: expected a part of it"));
            }
            filter.user_agent = Some(part.to_ascii_lowercase().into_bytes().into());
        }
        if let Some(list) = query.value("status") {
            let expected = "registered, expiring, unreachable, a list of these, or unregistered";
            if list == UNREGISTERED {
                filter.absent = true;
            } else {
                for status in items("status", list, expected, |text| {
                    Status::ALL.into_iter().find(|status| status.word() == text)
                })? {
                    filter.statuses.add_status(status);
                }
            }
        }
        if let Some(list) = query.value("transport") {
            for transport in items("transport", list, "udp, tcp, tls, ws, wss or a list", |text| {
                Transport::ALL.into_iter().find(|one| one.word().eq_ignore_ascii_case(text))
            })? {
                filter.transports.add_transport(transport);
            }
        }
        if let Some(text) = query.value("nat") {
            let nat = switch(text)
                .ok_or_else(|| Problem::parameter("nat", "nat: expected true or false"))?;
            filter.behind_nat = Some(nat);
        }
        if filter.absent && filter.is_about_bindings() {
            return Err(Problem::parameter(
                "status",
                "status: an account without a registration has a name and nothing else to ask for",
            ));
        }
        Ok(Filters { given, accounts, filter: filter.into() })
    }

    /// Them as a query again: [`Filters::parse`] makes the same of it.
    pub fn to_query(&self) -> String {
        Serializer::new(String::new()).extend_pairs(&self.given).finish()
    }

    /// One of them as it was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether everybody matches.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Whether accounts without a registration are asked for.
    pub fn is_for_absent(&self) -> bool {
        self.filter.absent
    }

    /// Accounts one of which it has to be, if there are any.
    pub fn accounts(&self) -> &[Box<[u8]>] {
        &self.accounts
    }

    /// What shards look for.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// Whether a registration of one of the accounts is wanted.
    pub fn is_wanted(&self, now: Now, one: &Registration) -> bool {
        self.filter.matches(now, &one.aor, &one.binding)
    }
}

/// Reads a list, its items separated by commas. None may be empty.
fn items<T>(
    name: &'static str,
    list: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let wrong = || Problem::parameter(name, format!("{name}: expected {expected}"));
    let mut items = Vec::new();
    for item in list.split(',') {
        if items.len() == FIND_ITEMS_MAX {
            let detail = format!("{name}: a list has no more than {FIND_ITEMS_MAX} items");
            return Err(Problem::parameter(name, detail));
        }
        let item = item.trim_matches(' ');
        let good = !item.is_empty() && item.len() <= FIND_TEXT_BYTES_MAX;
        items.push(good.then(|| read(item)).flatten().ok_or_else(wrong)?);
    }
    Ok(items)
}

fn number(text: &str) -> Option<Number> {
    let (text, is_prefix) = match text.strip_suffix('*') {
        Some(beginning) => (beginning, true),
        None => (text, false),
    };
    let good = !text.is_empty() && !text.contains(['*', '@']);
    good.then(|| Number { text: with_plus(text).as_bytes().into(), is_prefix })
}

/// As [`network`], and `192.0.2.x` for all there.
fn sources(text: &str) -> Option<IpNet> {
    network(text).or_else(|| {
        let is_any = |part: &str| part.eq_ignore_ascii_case("x") || part == "*";
        let parts: Vec<&str> = text.split('.').collect();
        let fixed = parts.iter().take_while(|part| !is_any(part)).count();
        let good = parts.len() == 4 && fixed < 4 && parts[fixed..].iter().all(|part| is_any(part));
        let mut octets = [0; 4];
        for (octet, part) in octets.iter_mut().zip(&parts[..fixed.min(4)]) {
            *octet = super::query::decimal(part)?;
        }
        if !good {
            return None;
        }
        IpNet::new(octets.into(), u8::try_from(fixed * 8).ok()?).ok()
    })
}

fn age(query: &Query, name: &'static str, unless: u32) -> Result<u32, Problem> {
    let Some(text) = query.value(name) else { return Ok(unless) };
    let seconds = whole(text, Unit::Seconds).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| {
        Problem::parameter(name, format!("{name}: expected seconds, or such as 90s, 10m, 2h, 7d"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> Filter {
        let filters = Filters::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        Filter::clone(filters.filter())
    }

    #[test]
    fn networks_are_taken_as_operators_type_them() {
        let nets = |text: &str| -> Vec<String> {
            filter(&format!("ip={text}")).sources.iter().map(IpNet::to_string).collect()
        };
        assert_eq!(nets("192.168.1.x"), ["192.168.1.0/24"]);
        assert_eq!(nets("192.168.*.*"), ["192.168.0.0/16"]);
        assert_eq!(
            nets("10.X.x.x,192.0.2.7,2001:db8::/32"),
            ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]
        );
        for bad in ["192.168.1", "192.168.x", "192.x.1.2", "256.1.1.x", "x.x", "1.2.3.4.x", ","] {
            assert!(Filters::parse(&format!("ip={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_whole_or_begin_so_or_are_several() {
        let numbers = filter("number=1001,86*,%2B15550100").numbers;
        let number = |text: &str, is_prefix| Number { text: text.as_bytes().into(), is_prefix };
        assert_eq!(
            numbers,
            [number("1001", false), number("86", true), number("+15550100", false)]
        );
        for bad in ["*", "1*2", "1,,2", "1001@a.test", ","] {
            assert!(Filters::parse(&format!("number={bad}")).is_err(), "{bad}");
        }
        let many = vec!["1"; FIND_ITEMS_MAX + 1].join(",");
        assert!(Filters::parse(&format!("number={many}")).is_err());
    }

    #[test]
    fn what_is_not_registered_has_only_a_name() {
        assert!(filter("status=unregistered&number=10*").absent);
        for bad in ["status=unregistered&nat=true", "status=unregistered,expiring", "status=gone"] {
            assert!(Filters::parse(bad).is_err(), "{bad}");
        }
        assert!(Filters::parse("aor=u1&account=u1").is_err());
    }

    #[test]
    fn ages_take_units_and_a_forms_empty_fields_are_none() {
        let filter = filter("number=&age_min=10m&age_max=7d&idle_max=90&nat=");
        assert_eq!(filter.registered_s, Seconds { min: 600, max: 604_800 });
        assert_eq!(filter.refreshed_s, Seconds { min: 0, max: 90 });
        assert!(Filters::parse("number=&status=").is_ok_and(|filters| filters.is_empty()));
        for bad in ["age_min=soon", "age_max=-1", "idle_min=1.5h", "idle_max=9999999999999"] {
            assert!(Filters::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn filters_come_back_from_the_query_they_make(
            user_agent in "[ -~]{1,12}",
            number in "[0-9]{1,8}\\*?",
            octet in any::<u8>(),
        ) {
            let text = Serializer::new(String::new())
                .append_pair("user_agent", &user_agent)
                .append_pair("number", &number)
                .append_pair("ip", &format!("192.0.{octet}.x"))
                .finish();
            let filters = Filters::parse(&text).unwrap();
            prop_assert_eq!(Filters::parse(&filters.to_query()).unwrap(), filters.clone());
            prop_assert_eq!(filters.value("number"), Some(number.as_str()));
        }
    }
}
