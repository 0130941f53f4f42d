//! The table of nftables, as it stands in `tuning/nftables.d/aorta.nft`, with the settings of one
//! server filled in: where it listens, whom it trusts, which rates hold.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::rules::Rules;
use crate::config::Settings;
use crate::flow::Transport;

/// The table as it is delivered.
const TEMPLATE: &str = include_str!("../../tuning/nftables.d/aorta.nft");
/// How its rates stand there.
const REQUEST_RATE: &str = "1000/second burst 3000 packets";
const REGISTER_RATE: &str = "300/second burst 1500 packets";
/// How the way to them stands there: nobody goes it.
const RATES_OFF: &str = "# jump rates";

/// The table for these settings, as text for `nft -f`.
#[must_use]
pub fn table(settings: &Settings) -> String {
    let trusted = Rules::of(settings).trusted();
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) =
        trusted.into_iter().partition(|net| matches!(net, IpNet::V4(_)));
    let defines = [
        ("sip_udp", set(ports(settings, false))),
        ("sip_tcp", set(ports(settings, true))),
        ("trusted4", set(v4)),
        ("trusted6", set(v6)),
    ];
    let shield = &settings.shield;
    let rates = [
        (REQUEST_RATE, shield.rate_per_s, shield.burst),
        (REGISTER_RATE, shield.register_rate_per_s, shield.register_burst),
    ];
    let any_rate = rates.iter().any(|(_, per_s, _)| per_s.is_some());
    let mut text = String::with_capacity(TEMPLATE.len());
    'lines: for line in TEMPLATE.lines() {
        for (name, value) in &defines {
            if line
                .strip_prefix("define ")
                .is_some_and(|rest| rest.starts_with(&format!("{name} =")))
            {
                // A string takes everything.
                let _ = writeln!(text, "define {name} = {value}");
                continue 'lines;
            }
        }
        if any_rate && line.trim() == RATES_OFF {
            let _ = writeln!(text, "{}", line.replace(RATES_OFF, "jump rates"));
            continue;
        }
        for (written, per_s, burst) in rates {
            if any_rate && line.contains(written) {
                if let Some(per_s) = per_s {
                    let rate = format!("{per_s}/second burst {burst} packets");
                    let _ = writeln!(text, "{}", line.replace(written, &rate));
                }
                continue 'lines;
            }
        }
        let _ = writeln!(text, "{line}");
    }
    text
}

fn set<T: ToString>(items: Vec<T>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    if items.is_empty() { "{ }".to_owned() } else { format!("{{ {} }}", items.join(", ")) }
}

/// The ports of listeners, of datagrams or of connections.
fn ports(settings: &Settings, connections: bool) -> Vec<u16> {
    let listen = settings.serve.listen.iter();
    let chosen = listen.filter(|at| (at.transport != Transport::Udp) == connections);
    let mut ports: Vec<u16> = chosen.map(|at| at.addr.port()).filter(|&port| port > 0).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn lines_with<'a>(text: &'a str, what: &str) -> Vec<&'a str> {
        text.lines().filter(|line| line.contains(what)).map(str::trim).collect()
    }

    #[test]
    fn the_delivered_table_is_that_of_the_defaults_but_for_connections() {
        let text = table(&Settings::default());
        let delivered = TEMPLATE.replace("define sip_tcp = { 5060, 5061 }", "define sip_tcp = { }");
        assert_eq!(text, delivered);
        assert_eq!(lines_with(TEMPLATE, RATES_OFF).len(), 1);
        assert_eq!(lines_with(TEMPLATE, REQUEST_RATE).len(), 2);
        assert_eq!(lines_with(TEMPLATE, REGISTER_RATE).len(), 2);
    }

    /// Over UDP whoever forges a source would use up what is its owner's.
    #[test]
    fn no_rate_is_reached_unless_one_is_set() {
        let is_on = |text: &str| text.lines().any(|line| line.trim() == "jump rates");
        assert!(!is_on(TEMPLATE) && !is_on(&table(&Settings::default())));
        for key in ["shield.rate", "shield.register_rate"] {
            let mut settings = Settings::default();
            settings.apply(key, "50", Origin::Default).unwrap();
            let text = table(&settings);
            assert!(is_on(&text) && lines_with(&text, "50/second burst").len() == 2, "{text}");
        }
    }

    #[test]
    fn ports_trusted_networks_and_rates_are_those_of_the_settings() {
        let mut settings = Settings::default();
        for (key, value) in [
            ("serve.listen", "udp:0.0.0.0:5080, udp:[::]:5080, udp:0.0.0.0:0, tcp:0.0.0.0:5081"),
            ("guard.trusted", "10.0.0.0/30, 2001:db8::/48"),
            ("network.\"10.0.0.1/32\".trusted", "Off"),
            ("shield.rate", "off"),
            ("shield.register_rate", "7"),
            ("shield.register_burst", "9"),
        ] {
            settings.apply(key, value, Origin::Default).unwrap();
        }
        let text = table(&settings);
        assert_eq!(
            lines_with(&text, "define sip_"),
            ["define sip_udp = { 5080 }", "define sip_tcp = { 5081 }"]
        );
        let trusted = [
            "define trusted4 = { 10.0.0.0/32, 10.0.0.2/31 }",
            "define trusted6 = { 2001:db8::/48 }",
        ];
        assert_eq!(lines_with(&text, "define trusted"), trusted);
        assert_eq!(lines_with(&text, "name request_rate"), [""; 0]);
        assert!(text.lines().any(|line| line.trim() == "jump rates"));
        let registers = lines_with(&text, "name register_rate");
        assert!(registers.len() == 2 && registers.iter().all(|l| l.contains("7/second burst 9 ")));
    }
}
