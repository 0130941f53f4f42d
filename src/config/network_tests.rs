//! Tests of the tables of networks.

use super::super::load;
use super::*;

fn refusals(text: &str) -> Vec<String> {
    let refusals = load(text, "a.toml").expect_err("the file is refused");
    refusals.iter().map(Refusal::to_string).collect()
}

#[test]
fn a_table_of_a_network_is_read_and_described() {
    let settings = load(
        "[network.\"10.0.0.0/8\"]\nnat = \"Always\"\nkeepalive = \"options\"\n\
         [Network.\"2001:db8::/32\"]\nnat = \"never\"\n[network.\"192.0.2.9\"]\n",
        "a.toml",
    )
    .unwrap();
    let mut networks: Vec<&Network> = settings.networks().collect();
    networks.sort_by_key(|network| network.net);
    let always = Network {
        nat: Some(NatOverride::Always),
        keepalive: Some(KeepaliveForm::Options),
        ..Network::new("10.0.0.0/8".parse().unwrap())
    };
    assert_eq!(*networks[0], always);
    assert_eq!((networks[2].nat, networks[2].keepalive), (Some(NatOverride::Never), None));
    assert_eq!(*networks[1], Network::new("192.0.2.9/32".parse().unwrap()));
    let rows: Vec<String> = settings
        .describe()
        .filter(|row| row.key.starts_with("network.\"10"))
        .map(|row| format!("{} {} {} {}", row.key, row.default, row.value, row.origin))
        .collect();
    assert_eq!(
        rows[..2],
        [
            "network.\"10.0.0.0/8\".nat default always a.toml:2",
            "network.\"10.0.0.0/8\".keepalive default OPTIONS a.toml:3"
        ]
    );
}

#[test]
fn a_network_is_set_on_the_command_line_quoted_or_not() {
    for key in ["network.10.0.0.0/8.nat", "NETWORK.\"10.0.0.0/8\".Nat"] {
        let mut settings = Settings::default();
        settings.apply(key, " never ", Origin::CommandLine).unwrap();
        assert_eq!(settings.networks().next().unwrap().nat, Some(NatOverride::Never), "{key}");
        assert_eq!(settings.changed_since(&Settings::default()), ["network.\"10.0.0.0/8\".nat"]);
    }
    let mut settings = Settings::default();
    settings.apply("network.::1/128.keepalive", "off", Origin::CommandLine).unwrap();
    assert_eq!(settings.networks().next().unwrap().keepalive, Some(KeepaliveForm::Off));
}

#[test]
fn what_is_wrong_is_refused_where_it_stands_and_changes_nothing() {
    assert_eq!(
        refusals("[network.\"10.0.0.1/8\"]\nnat = \"auto\"\n"),
        ["a.toml:1: network: \"10.0.0.1/8\" is refused, expected 10.0.0.0/8 \
             (no bits past the prefix)"]
    );
    assert_eq!(
        refusals("[network.\"10.0.0.0/8\"]\nnat = \"maybe\"\n"),
        ["a.toml:2: network.\"10.0.0.0/8\".nat: \"maybe\" is refused, expected default, \
             auto, always or never"]
    );
    assert_eq!(
        refusals("[network.\"10.0.0.0/8\"]\nkeepalives = \"raw\"\n"),
        ["a.toml:2: network.\"10.0.0.0/8\".keepalives: unknown name, did you mean \
             network.\"10.0.0.0/8\".keepalive?"]
    );
    assert_eq!(
        refusals(
            "[network.\"10.0.0.9\"]\nnat = \"auto\"\n[network.\"10.0.0.9/32\"]\nnat = \"auto\"\n"
        ),
        ["a.toml:4: network.\"10.0.0.9/32\".nat: set twice, first at a.toml:2"]
    );
    for text in [
        "network = 1\n",
        "[network]\n\"10.0.0.0/8\" = 1\n",
        "[network.\"a.com\"]\n",
        "[network.\"10.0.0.0/8\"]\nnat = [\"auto\"]\n",
        "[network.10.0.0]\nnat = \"auto\"\n",
    ] {
        assert_eq!(refusals(text).len(), 1, "{text}");
    }
    let mut settings = Settings::default();
    for (key, text) in [("network.10.0.0.0/8.nat", "maybe"), ("network.10/8.nat", "auto")] {
        settings.apply(key, text, Origin::CommandLine).unwrap_err();
    }
    assert_eq!(settings, Settings::default());
}

fn refusal(text: &str) -> String {
    load(text, "a.toml").expect_err("it is refused")[0].to_string()
}

#[test]
fn what_the_guard_makes_of_a_network_is_read() {
    let text = "[network.\"10.0.0.0/8\"]\ntrusted = true\nrate = 100\n\
                [network.\"10.1.0.0/16\"]\nblocked = \"On\"\nburst = \"default\"\n";
    let settings = load(text, "a.toml").unwrap();
    let [one, other] = &settings.networks().collect::<Vec<_>>()[..] else { panic!("two") };
    assert_eq!((one.trusted, one.blocked), (Some(true), None));
    assert_eq!((one.rate_per_s, one.burst), (Some(100), None));
    assert_eq!((other.trusted, other.blocked, other.burst), (None, Some(true), None));
}

#[test]
fn what_the_guard_could_not_make_sense_of_is_one_line() {
    assert_eq!(
        refusal("[network.\"10.0.0.0/8\"]\nrate = 0\n"),
        "a.toml:2: network.\"10.0.0.0/8\".rate: \"0\" is refused, expected default, 1-1000000"
    );
    assert_eq!(
        refusal("[network.\"10.0.0.0/8\"]\ntrusted = \"maybe\"\n"),
        "a.toml:2: network.\"10.0.0.0/8\".trusted: \"maybe\" is refused, expected default, On, \
         Off"
    );
    assert_eq!(
        refusal("[network.\"10.0.0.0/8\"]\ntrusted = true\nblocked = true\n"),
        "a.toml:3: network.\"10.0.0.0/8\".blocked: a trusted network cannot be blocked"
    );
    assert!(refusal("[guard]\nscanners = [\"xy\"]\n").contains("3-64 printable characters"));
    assert!(refusal("[guard]\nblocked = [\"10.0.0.0/8\", \"10.0.0.0/8\"]\n").contains("once"));
    assert!(refusal("[guard]\nblock_time = \"1d\"\nblock_time_max = 60\n").contains("above"));
    assert!(refusal("[overload]\nwait_newcomers = \"1s\"\n").contains("above overload.wait_known"));
    assert!(refusal("[overload]\nwait_proven = 199\n").contains("above overload.wait_proven"));
}
