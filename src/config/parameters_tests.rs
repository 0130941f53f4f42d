//! Tests of the table as a whole and of what [`Settings`] does with it.

use proptest::prelude::*;

use super::super::{Algorithms, Backend, MinExpiresPolicy, Replace, Settings};
use super::*;

fn applied(key: &str, text: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    settings
        .apply(key, text, Origin::CommandLine)
        .map(|()| settings)
        .map_err(|refusal| refusal.to_string())
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let settings = Settings::default();
    let defaults: Vec<(String, String)> =
        settings.describe().map(|row| (row.key, row.default)).collect();
    let expected = [
        ("registrar.replace", "On"),
        ("registrar.bindings_max", "1"),
        ("registrar.total_max", "off"),
        ("registrar.evict", "oldest"),
        ("registrar.expires_max", "3600"),
        ("registrar.expires_min", "60"),
        ("registrar.expires_min_policy", "refuse"),
        ("registrar.expires_default", "maximum"),
        ("registrar.nat_expires_max", "300"),
        ("registrar.expires_spread", "10"),
        ("registrar.late_margin", "5"),
        ("registrar.retry_after", "60"),
        ("registrar.retry_after_jitter", "50"),
        ("registrar.path", "lazy"),
        ("registrar.service_route", ""),
        ("registrar.outbound", "On"),
        ("registrar.flow_timer", "120"),
        ("registrar.gruu", "On"),
        ("registrar.keep", "On"),
        ("registrar.date", "Off"),
        ("registrar.flapping_window", "60"),
        ("registrar.flapping_kicks", "4"),
        ("registrar.flapping_damping", "0"),
        ("registrar.redirect", "Off"),
        ("registrar.reg_event", "On"),
        ("registrar.subscription_expires_min", "60"),
        ("registrar.subscription_expires_max", "86400"),
        ("registrar.subscription_expires_default", "3761"),
        ("registrar.watchers", ""),
        ("registrar.user_parameters", "keep"),
        ("registrar.compact", "Off"),
        ("auth.nonce_lifetime", "3600"),
        ("auth.algorithms", "MD5"),
        ("auth.challenge_code", "401"),
        ("auth.retry_max", "6"),
        ("auth.session_timeout", "10"),
        ("auth.next_nonce", "On"),
        ("auth.suspend_checks", "6"),
        ("auth.suspend_checks_time", "180"),
        ("auth.suspend_registers", "On"),
        ("auth.suspend_registers_max", "6"),
        ("auth.suspend_registers_time", "180"),
        ("auth.reply_unauthorized", "On"),
        ("nat.tests", "contact, private_contact, via"),
        ("nat.keepalive_message", "HELLO"),
        ("nat.keepalive_period", "30"),
        ("nat.keepalive_send_one_time", "3000"),
        ("nat.keepalive_send_interval", "500"),
        ("liveness.interval", "90"),
        ("liveness.timeout", "8"),
        ("liveness.misses", "3"),
        ("liveness.answer", "any"),
        ("liveness.unreachable", "keep"),
        ("liveness.ignore_silent", "0"),
        ("guard.rate", "20"),
        ("guard.burst", "50"),
        ("guard.register_rate", "5"),
        ("guard.register_burst", "10"),
        ("guard.prefix_factor", "10"),
        ("guard.loopback", "Off"),
        ("guard.trusted", ""),
        ("guard.blocked", ""),
        ("guard.scanners", "friendly-scanner, VaxSIPUserAgent, sipvicious, SIPScan, sipcli"),
        ("guard.scanner_patterns", "sipvicious, sip:nm@nm, sip:smap@"),
        ("guard.blacklist", "On"),
        ("guard.block_score", "100"),
        ("guard.block_time", "600"),
        ("guard.block_time_max", "86400"),
        ("guard.sources", "65536"),
        ("overload.admission", "On"),
        ("overload.wait_newcomers", "100"),
        ("overload.wait_known", "200"),
        ("overload.wait_proven", "400"),
        ("overload.strangers", "10"),
        ("overload.retry_after", "4"),
        ("security.alert_window", "600"),
        ("security.alert_suspensions", "20"),
        ("security.alert_sources", "10"),
        ("security.alert_registrations", "30"),
        ("security.log", ""),
        ("security.log_bytes", "10485760"),
        ("security.log_files", "5"),
        ("geo.database", ""),
        ("analysis.interval", "300"),
        ("alerts.pending", "30"),
        ("alerts.hold_off", "300"),
        ("alerts.repeat", "14400"),
        ("alerts.population_min", "100"),
        ("alerts.drop", "20"),
        ("alerts.spike", "50"),
        ("alerts.rate_drop", "60"),
        ("alerts.rate_spike", "300"),
        ("alerts.failures", "20"),
        ("alerts.source_accounts", "1000"),
        ("alerts.flapping", "20"),
        ("alerts.capacity", "70"),
        ("alerts.keepalives", "1"),
        ("alerts.overload", "On"),
        ("alerts.patterns", "On"),
        ("alerts.webhook", ""),
        ("alerts.webhook_secret_file", ""),
        ("alerts.webhook_ca", ""),
        ("shield.kernel", "auto"),
        ("shield.helper", "/run/aorta-nft/socket"),
        ("shield.loopback", "Off"),
        ("shield.rate", "off"),
        ("shield.burst", "3000"),
        ("shield.register_rate", "off"),
        ("shield.register_burst", "1500"),
        ("history.enabled", "On"),
        ("history.retention", "2592000"),
        ("history.bytes_max", "1073741824"),
        ("history.memory_bytes_max", "67108864"),
        ("history.buffer_bytes", "16777216"),
        ("history.refresh_every", "86400"),
        ("history.trend_seconds", "86400"),
        ("history.trend_minutes", "2592000"),
        ("history.trend_hours", "31536000"),
        ("serve.listen", "udp:0.0.0.0:5060"),
        ("serve.subscribers", ""),
        ("serve.test_accounts", "0"),
        ("serve.reactors", "auto"),
        ("serve.cpus", "all"),
        ("serve.backend", "mmsg"),
        ("serve.latency_sampling", "32"),
        ("serve.steering", "auto"),
        ("serve.steered_sources", "262144"),
        ("serve.admin", ""),
        ("serve.admin_token_file", ""),
        ("admin.allow", ""),
        ("admin.certificate", ""),
        ("admin.key", ""),
        ("admin.session_idle", "1800"),
        ("admin.session_max", "43200"),
        ("admin.password_min", "12"),
        ("admin.login_failures", "5"),
        ("admin.audit_bytes", "10485760"),
        ("admin.audit_files", "20"),
        ("streams.connections_max", "100000"),
        ("streams.connections_per_source_max", "2000"),
        ("streams.first_byte_timeout", "10"),
        ("streams.authentication_timeout", "30"),
        ("streams.idle_timeout", "4000"),
        ("streams.message_bytes_max", "65535"),
        ("streams.write_queue_bytes_max", "262144"),
        ("tls.certificate", ""),
        ("tls.key", ""),
        ("tls.client_ca", ""),
        ("tls.client_auth", "off"),
        ("websocket.origins", ""),
    ];
    assert_eq!(defaults.len(), expected.len());
    for (row, (key, default)) in defaults.iter().zip(expected) {
        assert_eq!((row.0.as_str(), row.1.as_str()), (key, default));
    }
}

#[test]
fn names_are_unique_in_any_case() {
    let mut all: Vec<String> = names().map(str::to_ascii_lowercase).collect();
    all.sort();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn every_default_is_taken_back_as_text() {
    for parameter in &PARAMETERS {
        let text = parameter.value(&Settings::default());
        let settings = applied(parameter.key, &text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parameter.value(&settings), text, "{}", parameter.key);
        assert_eq!(settings.origin(parameter), &Origin::CommandLine);
    }
}

#[test]
fn both_ends_of_a_range_are_taken_and_the_next_values_refused() {
    for parameter in &PARAMETERS {
        let Kind::Whole { min, max, .. } = parameter.kind else { continue };
        for inside in [min, max] {
            let settings = applied(parameter.key, &inside.to_string()).unwrap();
            assert_eq!(parameter.value(&settings), inside.to_string());
        }
        let mut outside = vec![u64::from(max) + 1, u64::from(u32::MAX) + 1 + u64::from(min)];
        outside.extend(min.checked_sub(1).map(u64::from));
        for outside in outside {
            let error = applied(parameter.key, &outside.to_string()).unwrap_err();
            let expected = format!(
                "command line: {}: {outside} is outside its range, expected {}",
                parameter.key,
                parameter.range()
            );
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn keys_and_aliases_are_taken_in_any_case() {
    for key in [
        "registrar.replace",
        "REGISTRAR.Replace",
        "ss_endpoint_register_replace",
        " registrar.replace ",
    ] {
        assert_eq!(applied(key, "off").unwrap().registrar.replace, Replace::Never, "{key}");
    }
}

#[test]
fn a_refusal_of_an_alias_names_the_key_too() {
    assert_eq!(
        applied("server_registrar_max_bindings", "65").unwrap_err(),
        "command line: SERVER_REGISTRAR_MAX_BINDINGS (registrar.bindings_max): 65 is outside its \
         range, expected 1-64"
    );
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut settings = Settings::default();
    for (key, text) in [
        ("registrar.bindings_max", "65"),
        ("serve.listen", "udp:1.2.3.4:1,bogus"),
        ("auth.algorithms", "SHA-256,SHA-1"),
        ("domain.a.com.algorithms", "SHA-1"),
        ("domain.a b.algorithms", "MD5"),
    ] {
        settings.apply(key, text, Origin::CommandLine).unwrap_err();
    }
    assert_eq!(settings, Settings::default());
}

#[test]
fn text_of_another_kind_is_refused_with_what_was_expected() {
    assert_eq!(
        applied("auth.nonce_lifetime", "1500ms").unwrap_err(),
        "command line: auth.nonce_lifetime: \"1500ms\" is refused, expected whole seconds of \
         30-86400 s"
    );
    assert_eq!(
        applied("registrar.expires_min_policy", "clamp").unwrap_err(),
        "command line: registrar.expires_min_policy: \"clamp\" is refused, expected refuse or raise"
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    assert_eq!(
        applied("registrar.bindings_man", "2").unwrap_err(),
        "command line: registrar.bindings_man: unknown name, did you mean registrar.bindings_max?"
    );
    assert_eq!(
        applied("colour", "2").unwrap_err(),
        "command line: colour: unknown name, `aorta config` lists the known ones"
    );
}

#[test]
fn words_and_lists_reach_their_fields() {
    let settings = applied("registrar.expires_min_policy", "Raise").unwrap();
    assert_eq!(settings.registrar.expires_min_policy, MinExpiresPolicy::Raise);
    assert_eq!(applied("serve.backend", "uring").unwrap().serve.backend, Backend::Uring);
    assert_eq!(applied("serve.cpus", "0-1, 3").unwrap().serve.cpus, Some(vec![0, 1, 3]));
    let settings = applied("serve.listen", "udp:127.0.0.1:0, udp:[::1]:0").unwrap();
    assert_eq!(joined(&settings.serve.listen), "udp:127.0.0.1:0, udp:[::1]:0");
}

#[test]
fn a_later_value_replaces_an_earlier_one_and_its_origin() {
    let mut settings = Settings::default();
    let origin = Origin::File { name: "a.toml".into(), line: 3 };
    settings.apply("serve.listen", "udp:127.0.0.1:1", origin).unwrap();
    settings.apply("serve.listen", "udp:127.0.0.1:2", Origin::CommandLine).unwrap();
    assert_eq!(joined(&settings.serve.listen), "udp:127.0.0.1:2");
    let row = settings.describe().find(|row| row.key == "serve.listen").unwrap();
    assert_eq!((row.value.as_str(), row.origin), ("udp:127.0.0.1:2", Origin::CommandLine));
}

#[test]
fn a_domain_is_set_on_the_command_line_quoted_or_not() {
    for key in ["domain.Example.com.algorithms", "domain.\"example.com\".algorithms"] {
        let settings = applied(key, "SHA-256, MD5").unwrap();
        assert_eq!(settings.domain("example.com").algorithms, Algorithms::BOTH, "{key}");
        assert_eq!(settings.domain("example.net").algorithms, Algorithms::MD5, "{key}");
        let row = settings
            .describe()
            .find(|row| row.key.ends_with(".algorithms\"") || row.value == "SHA-256, MD5")
            .unwrap();
        assert_eq!(row.key, "domain.\"example.com\".algorithms");
    }
}

#[test]
fn a_minimum_above_the_maximum_is_refused_wherever_each_was_set() {
    let mut settings = applied("registrar.expires_min", "3600").unwrap();
    settings.check().expect("equal is a fixed expiry");
    settings.apply("registrar.expires_max", "10m", Origin::CommandLine).unwrap();
    assert_eq!(
        settings.check().unwrap_err().to_string(),
        "command line: registrar.expires_min: registrar.expires_min (3600 s, command line) is \
         above registrar.expires_max (600 s, command line)"
    );
}

#[test]
fn a_keepalive_period_that_is_not_below_the_nat_expiry_is_refused_wherever_each_was_set() {
    let mut settings = applied("SS_SIP_NAT_KEEP_ALIVE_PERIOD", "299").unwrap();
    settings.check().expect("a second less");
    settings.apply("nat.keepalive_period", "300", Origin::CommandLine).unwrap();
    let error = settings.check().unwrap_err().to_string();
    assert_eq!(
        error,
        "command line: nat.keepalive_period: nat.keepalive_period (300 s, command line) is not \
         below registrar.nat_expires_max (300 s, default)"
    );
    let mut settings = Settings::default();
    settings.apply("registrar.expires_min", "20", Origin::CommandLine).unwrap();
    settings.apply("SS_ENDPOINT_NAT_EXPIRE", "30", Origin::CommandLine).unwrap();
    let error = settings.check().unwrap_err().to_string();
    assert!(error.contains("nat.keepalive_period (30 s, default) is not below"), "{error}");
    // Where nobody is pinged, phones may refresh as often as that instead.
    settings.apply("SS_SIP_NAT_KEEP_ALIVE_MESSAGE", "", Origin::CommandLine).unwrap();
    settings.check().expect("nobody is pinged");
    settings.apply("network.10.0.0.0/8.keepalive", "OPTIONS", Origin::CommandLine).unwrap();
    settings.check().expect_err("somebody is");
}

#[test]
fn a_keepalive_message_is_a_word_or_what_is_sent() {
    use super::super::KeepaliveMessage::{self, Crlf, Off, Options, Raw, Stun};
    let read = |text: &str| applied("nat.keepalive_message", text).map(|s| s.nat.message);
    for (text, expected) in [
        ("", Off),
        (" ", Off),
        ("off", Off),
        ("crlf", Crlf),
        ("Stun", Stun),
        ("OPTIONS", Options),
        ("HELLO", KeepaliveMessage::default()),
        ("raw", Raw((*b"raw").into())),
        ("h\u{e9}", Raw("h\u{e9}".as_bytes().into())),
    ] {
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }
    assert!(read(&"x".repeat(256)).is_ok());
    assert!(read(&"x".repeat(257)).unwrap_err().ends_with("expected at most 256 bytes"));
    // Line ends are not cut away in silence, which would switch keepalives off.
    let refused = super::super::load("[nat]\nkeepalive_message = \"\\r\\n\\r\\n\"\n", "a.toml");
    let line = refused.unwrap_err()[0].to_string();
    assert!(
        line.contains("CRLF stands for an empty line") && line.starts_with("a.toml:2:"),
        "{line}"
    );
}

#[test]
fn more_reactors_than_cpus_are_refused() {
    let mut settings = applied("serve.reactors", "3").unwrap();
    settings.check().expect("auto CPUs are counted at start");
    settings.apply("serve.cpus", "0-1", Origin::CommandLine).unwrap();
    let error = settings.check().unwrap_err().to_string();
    assert!(error.contains("serve.reactors (3, command line)"), "{error}");
    assert!(error.contains("serve.cpus (0, 1, command line)"), "{error}");
}

#[test]
fn the_readme_lists_every_parameter_with_its_alias_and_default() {
    let readme = include_str!("../../README.md");
    for parameter in &PARAMETERS {
        let default = parameter.value(&Settings::default());
        let default = format!("{default} {}", parameter.unit);
        let start = format!("| {} | {} | {} |", parameter.key, parameter.alias, default.trim());
        // Empty cells are written with one blank.
        let start = start.replace("  ", " ");
        assert!(readme.lines().any(|line| line.starts_with(&start)), "no line with {start}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_for_any_key_is_taken_or_refused_on_one_line(
        row in 0..PARAMETERS.len(),
        text in "[ -~\\n\u{e9}]{0,40}|[0-9]{1,25}(ms|s|m|h|d|%)?|(udp:)?[0-9.:\\[\\]]{0,30}",
    ) {
        let key = PARAMETERS[row].key;
        match applied(key, &text) {
            Ok(settings) => {
                let value = PARAMETERS[row].value(&settings);
                if !["serve.subscribers", "serve.admin_token_file"].contains(&key) {
                    prop_assert_eq!(PARAMETERS[row].value(&applied(key, &value).unwrap()), value);
                }
            }
            Err(line) => prop_assert!(!line.contains('\n'), "{line}"),
        }
    }

    #[test]
    fn any_file_is_read_or_refused_line_by_line(
        text in "([a-z\\[\\]\"=., \\n]|serve|domain|listen|replace|SS_ENDPOINT_EXPIRE|[0-9]){0,40}",
    ) {
        let lines = u32::try_from(text.lines().count().max(1)).unwrap();
        for refusal in super::super::load(&text, "a.toml").err().unwrap_or_default() {
            prop_assert!(!refusal.to_string().contains('\n'), "{refusal}");
            let Origin::File { line, .. } = refusal.origin else { panic!("{refusal}") };
            prop_assert!((1..=lines + 1).contains(&line), "{refusal}");
        }
    }
}

#[test]
fn other_spellings_of_an_alias_reach_the_same_parameter() {
    for (spelling, alias) in SPELLINGS {
        let by_alias = find(alias).expect("a known alias");
        assert_eq!(find(&spelling.to_ascii_lowercase()).map(|p| p.key), Some(by_alias.key));
    }
    // Two names an underscore or two apart: a time and a switch.
    let time = applied("SS_ENDPOINT_REGISTER_SUSPEND", "300").unwrap();
    assert_eq!(
        (time.auth.suspension.registers_time_s, time.auth.suspension.registers),
        (300, true)
    );
    let off = applied("SS_ENDPOINTREGISTERSUSPEND", "0").unwrap();
    assert_eq!((off.auth.suspension.registers_time_s, off.auth.suspension.registers), (180, false));
}
