//! What a survey has counted, as rows: by one of the ways to tell registrations apart, or devices
//! by vendor, model and firmware. Each row says how the registrations in it are found.

use serde::Serialize;

use super::device::Named;
use super::survey::{By, Survey, sought};

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it counts, as machines say it; a word in brackets where it is no thing of that kind.
    pub key: String,
    /// As people say it.
    pub label: String,
    /// Registrations.
    pub count: u64,
    /// Of all that were counted, percent.
    pub share_percent: f64,
    /// The parameters by which `/api/v1/registrations` lists them, escaped; `null` where it cannot.
    pub filter: Option<String>,
}

/// Rows, those that count most first, and what is in none of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rows {
    /// The rows.
    pub items: Vec<Row>,
    /// Registrations in no row.
    pub rest: u64,
    /// Registrations that were counted.
    pub total: u64,
}

/// One kind of device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceRow {
    /// Who made it; `other` where that is not known, `unnamed` where the phone does not say.
    pub vendor: String,
    /// The model; empty where the phone does not say, `null` where models are not told apart.
    pub model: Option<String>,
    /// The firmware, likewise.
    pub firmware: Option<String>,
    /// Registrations.
    pub count: u64,
    /// Of all devices, percent.
    pub share_percent: f64,
    /// The parameters by which `/api/v1/registrations` lists them, escaped; `null` where it cannot.
    pub filter: Option<String>,
}

/// Devices, those that count most first, and what is in none of the rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceRows {
    /// The rows.
    pub items: Vec<DeviceRow>,
    /// Registrations of devices in no row.
    pub rest: u64,
    /// Registrations of devices that were counted.
    pub total: u64,
}

/// Hundredths of a percent are as fine as anybody looks.
fn share(count: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { (count as f64 * 10_000.0 / total as f64).round() / 100.0 }
}

/// `name=value`, escaped as a query is.
fn filter(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

fn agent_filter(named: &Named, level: usize) -> Option<String> {
    sought(named, level).map(|text| filter("user_agent", &text))
}

/// The key of what is no thing of the kind that is counted.
fn no_thing(word: &str) -> String {
    format!("({word})")
}

impl Survey {
    /// Rows by one of the ways, `limit` at most; of these countries alone, where some are named and
    /// the way has any.
    pub fn rows(&self, by: By, limit: usize, country: Option<&str>) -> Rows {
        macro_rules! rows {
            ($counts:expr, $wanted:expr, |$key:ident, $value:ident| $row:expr) => {{
                let counts = $counts;
                let total = counts.total();
                let (top, others) = counts.top(limit, $wanted);
                let items = top.into_iter().map(|(k, count, v)| {
                    let ($key, $value) = (&k, &v);
                    let _ = $value;
                    let (key, label, filter): (String, String, Option<String>) = $row;
                    Row { key, label, count, share_percent: share(count, total), filter }
                });
                let rest = others + if country.is_none() { counts.rest() } else { 0 };
                Rows { items: items.collect(), rest, total }
            }};
        }
        let of_country =
            |code: &str| country.is_none_or(|wanted| wanted.eq_ignore_ascii_case(code));
        match by {
            By::Vendor => rows!(&self.vendors, |_| true, |vendor, named| {
                (vendor.to_string(), vendor.to_string(), agent_filter(named, 0))
            }),
            By::Model => rows!(&self.models, |_| true, |one, named| {
                let (vendor, model) = one;
                let label = format!("{vendor} {model}").trim_end().to_owned();
                (format!("{vendor}/{model}"), label, agent_filter(named, 1))
            }),
            By::Firmware => rows!(&self.firmwares, |_| true, |device, named| {
                let (vendor, model, firmware) = (device.vendor, device.model, device.firmware);
                let label = [vendor, &model, &firmware].map(str::trim).join(" ");
                let key = format!("{vendor}/{model}/{firmware}");
                let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
                (key, label, agent_filter(named, 2))
            }),
            By::Transport => rows!(&self.transports, |_| true, |word, _none| {
                ((*word).to_owned(), word.to_uppercase(), Some(filter("transport", word)))
            }),
            By::Network => rows!(&self.networks, |_| true, |network, _none| {
                let text = network.to_string();
                (text.clone(), text.clone(), Some(filter("ip", &text)))
            }),
            By::Source => rows!(&self.sources, |_| true, |network, _none| {
                let text = match network.prefix_len() {
                    32 => network.addr().to_string(),
                    _ => network.to_string(),
                };
                (text.clone(), text.clone(), Some(filter("ip", &text)))
            }),
            By::Nat => rows!(&self.nat, |_| true, |word, _none| {
                let label = if *word == "true" { "behind NAT" } else { "not behind NAT" };
                ((*word).to_owned(), label.to_owned(), Some(filter("nat", word)))
            }),
            By::Status => rows!(&self.statuses, |_| true, |word, _none| {
                ((*word).to_owned(), (*word).to_owned(), Some(filter("status", word)))
            }),
            By::Domain => rows!(&self.domains, |_| true, |domain, _none| {
                (domain.to_string(), domain.to_string(), Some(filter("domain", domain)))
            }),
            By::Country => rows!(&self.countries, |one| of_country(&one.code), |one, _none| {
                let key = match one.code.is_empty() {
                    true => no_thing(&one.name),
                    false => one.code.to_string(),
                };
                (key, one.name.to_string(), None)
            }),
            By::City => rows!(&self.cities, |one| of_country(&one.country), |one, _none| {
                let label = match one.country.is_empty() {
                    true => one.name.to_string(),
                    false => format!("{}, {}", one.name, one.country),
                };
                let key = match one.country.is_empty() {
                    true => no_thing(&one.name),
                    false => format!("{}/{}", one.country, one.name),
                };
                (key, label, None)
            }),
            By::System => rows!(&self.systems, |_| true, |one, _none| {
                let key = match one.number {
                    0 => no_thing(&one.name),
                    number => format!("AS{number}"),
                };
                (key, one.name.to_string(), None)
            }),
        }
    }

    /// Devices, told apart by vendor, model or firmware; of one vendor alone, where one is named.
    pub fn devices(&self, by: By, limit: usize, vendor: Option<&str>) -> DeviceRows {
        let is_wanted = |name: &str| vendor.is_none_or(|vendor| vendor.eq_ignore_ascii_case(name));
        let total = self.vendors.total();
        let row = |named: &Named, level: usize, count: u64| DeviceRow {
            vendor: named.device.vendor.to_owned(),
            model: (level > 0).then(|| named.device.model.to_string()),
            firmware: (level > 1).then(|| named.device.firmware.to_string()),
            count,
            share_percent: share(count, total),
            filter: agent_filter(named, level),
        };
        let pushed_out = |rest: u64| if vendor.is_none() { rest } else { 0 };
        let (items, rest) = match by {
            By::Model => {
                let (top, others) = self.models.top(limit, |(name, _)| is_wanted(name));
                let rows = top.iter().map(|(_, count, named)| row(named, 1, *count)).collect();
                (rows, others + pushed_out(self.models.rest()))
            }
            By::Firmware => {
                let (top, others) = self.firmwares.top(limit, |one| is_wanted(one.vendor));
                let rows = top.iter().map(|(_, count, named)| row(named, 2, *count)).collect();
                (rows, others + pushed_out(self.firmwares.rest()))
            }
            _ => {
                let (top, others) = self.vendors.top(limit, |name| is_wanted(name));
                let rows = top.iter().map(|(_, count, named)| row(named, 0, *count)).collect();
                (rows, others + pushed_out(self.vendors.rest()))
            }
        };
        DeviceRows { items, rest, total }
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Places;
    use super::*;

    fn survey() -> Survey {
        let phones = [
            ("Yealink SIP-T46S 66.85.0.5", "10.1.0.1"),
            ("Yealink SIP-T46S 66.85.0.5", "10.1.0.1"),
            ("Yealink SIP-T46S 66.86.0.1", "10.1.9.2"),
            ("snomD785/10.1.54.13", "2001:db8:7:1::1"),
            ("", "127.0.0.1"),
        ];
        Survey::of(&phones, Places::default().lookup())
    }

    #[test]
    fn devices_are_told_apart_as_finely_as_asked() {
        let survey = survey();
        let rows = survey.devices(By::Vendor, 9, None);
        assert_eq!((rows.total, rows.rest, rows.items.len()), (5, 0, 3));
        let first = &rows.items[0];
        assert_eq!((first.vendor.as_str(), first.count, first.share_percent), ("Yealink", 3, 60.0));
        assert_eq!((&first.model, first.filter.as_deref()), (&None, Some("user_agent=Yealink")));
        let rows = survey.devices(By::Firmware, 1, Some("yealink"));
        assert_eq!((rows.items.len(), rows.rest), (1, 1), "of that vendor alone");
        assert_eq!(rows.items[0].firmware.as_deref(), Some("66.85.0.5"));
        let filter = "user_agent=Yealink+SIP-T46S+66.85.0.5";
        assert_eq!(rows.items[0].filter.as_deref(), Some(filter));
        assert_eq!(survey.devices(By::Vendor, 9, None).items[2].filter, None, "it has no name");
    }

    #[test]
    fn rows_say_how_to_find_what_is_in_them() {
        let survey = survey();
        let first = |by| survey.rows(by, 9, None).items.remove(0);
        let row = first(By::Network);
        assert_eq!((row.key.as_str(), row.count), ("10.1.0.0/16", 3));
        assert_eq!(row.filter.as_deref(), Some("ip=10.1.0.0%2F16"));
        assert_eq!(first(By::Source).key, "10.1.0.1");
        assert_eq!(first(By::Transport).filter.as_deref(), Some("transport=udp"));
        let networks = survey.rows(By::Network, 9, None);
        assert!(networks.items.iter().any(|row| row.key == "2001:db8:7::/48"), "{networks:?}");
        let countries = survey.rows(By::Country, 9, None);
        assert_eq!((countries.items[0].key.as_str(), countries.items[0].count), ("(private)", 3));
        assert_eq!(survey.rows(By::Country, 9, Some("DE")).items, []);
    }

    #[test]
    fn nothing_is_lost_between_rows_and_rest() {
        let survey = survey();
        for by in By::ALL {
            assert_eq!(By::find(by.word()), Some(by));
            for limit in [0, 1, 9] {
                let rows = survey.rows(by, limit, None);
                let sum: u64 = rows.items.iter().map(|row| row.count).sum();
                assert_eq!(sum + rows.rest, rows.total, "{}", by.word());
            }
        }
    }
}
