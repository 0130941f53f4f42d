//! Every parameter by every way to it: key and alias, file and command line, value, range, origin;
//! and `aorta config` at the built program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aorta::config::parameters::{PARAMETERS, Parameter, find};
use aorta::config::{Origin, Settings, load};

/// A value of each parameter that is not its default, as it prints. Together they can stand.
const OTHER: [(&str, &str); 150] = [
    ("registrar.replace", "Off"),
    ("registrar.bindings_max", "4"),
    ("registrar.total_max", "1000000"),
    ("registrar.evict", "unreachable_first"),
    ("registrar.expires_max", "7200"),
    ("registrar.expires_min", "120"),
    ("registrar.expires_min_policy", "raise"),
    ("registrar.expires_default", "1800"),
    ("registrar.nat_expires_max", "240"),
    ("registrar.expires_spread", "5"),
    ("registrar.late_margin", "30"),
    ("registrar.retry_after", "90"),
    ("registrar.retry_after_jitter", "20"),
    ("registrar.path", "strict"),
    ("registrar.service_route", "sip:a.example.com;lr, sip:b.example.com;lr"),
    ("registrar.outbound", "Off"),
    ("registrar.flow_timer", "60"),
    ("registrar.gruu", "Off"),
    ("registrar.keep", "Off"),
    ("registrar.date", "On"),
    ("registrar.flapping_window", "120"),
    ("registrar.flapping_kicks", "6"),
    ("registrar.flapping_damping", "15"),
    ("registrar.redirect", "On"),
    ("registrar.reg_event", "Off"),
    ("registrar.subscription_expires_min", "90"),
    ("registrar.subscription_expires_max", "7200"),
    ("registrar.subscription_expires_default", "600"),
    ("registrar.watchers", "192.0.2.0/24, 2001:db8::/32"),
    ("registrar.user_parameters", "strip"),
    ("registrar.compact", "On"),
    ("auth.nonce_lifetime", "1800"),
    ("auth.algorithms", "SHA-256, MD5"),
    ("auth.challenge_code", "407"),
    ("auth.retry_max", "3"),
    ("auth.session_timeout", "20"),
    ("auth.next_nonce", "Off"),
    ("auth.suspend_checks", "9"),
    ("auth.suspend_checks_time", "120"),
    ("auth.suspend_registers", "Off"),
    ("auth.suspend_registers_max", "4"),
    ("auth.suspend_registers_time", "600"),
    ("auth.reply_unauthorized", "Off"),
    ("nat.tests", "contact_port, via_port, rport"),
    ("nat.keepalive_message", "OPTIONS"),
    ("nat.keepalive_period", "20"),
    ("nat.keepalive_send_one_time", "100"),
    ("nat.keepalive_send_interval", "250"),
    ("liveness.interval", "60"),
    ("liveness.timeout", "4"),
    ("liveness.misses", "2"),
    ("liveness.answer", "success"),
    ("liveness.unreachable", "remove"),
    ("liveness.ignore_silent", "600"),
    ("guard.rate", "40"),
    ("guard.burst", "100"),
    ("guard.register_rate", "off"),
    ("guard.register_burst", "20"),
    ("guard.prefix_factor", "20"),
    ("guard.loopback", "On"),
    ("guard.trusted", "10.0.0.0/8, 2001:db8::/32"),
    ("guard.blocked", "203.0.113.0/24"),
    ("guard.scanners", "friendly-scanner, pplsip"),
    ("guard.scanner_patterns", "sip:nm@nm"),
    ("guard.blacklist", "Off"),
    ("guard.block_score", "200"),
    ("guard.block_time", "300"),
    ("guard.block_time_max", "3600"),
    ("guard.sources", "1048576"),
    ("overload.admission", "Off"),
    ("overload.wait_newcomers", "20"),
    ("overload.wait_known", "100"),
    ("overload.wait_proven", "300"),
    ("overload.strangers", "50"),
    ("overload.retry_after", "10"),
    ("security.alert_window", "300"),
    ("security.alert_suspensions", "off"),
    ("security.alert_sources", "20"),
    ("security.alert_registrations", "100"),
    ("security.log", "security.log"),
    ("security.log_bytes", "1048576"),
    ("security.log_files", "9"),
    ("geo.database", "city.mmdb, asn.mmdb"),
    ("analysis.interval", "600"),
    ("alerts.pending", "60"),
    ("alerts.hold_off", "600"),
    ("alerts.repeat", "3600"),
    ("alerts.population_min", "500"),
    ("alerts.drop", "30"),
    ("alerts.spike", "off"),
    ("alerts.rate_drop", "50"),
    ("alerts.rate_spike", "500"),
    ("alerts.failures", "10"),
    ("alerts.source_accounts", "5000"),
    ("alerts.flapping", "50"),
    ("alerts.capacity", "80"),
    ("alerts.keepalives", "5"),
    ("alerts.overload", "Off"),
    ("alerts.patterns", "Off"),
    ("alerts.webhook", "https://alerts.example.com/hook"),
    ("alerts.webhook_secret_file", "webhook.secret"),
    ("alerts.webhook_ca", "webhook-ca.pem"),
    ("shield.kernel", "socket"),
    ("shield.helper", "nft.sock"),
    ("shield.loopback", "On"),
    ("shield.rate", "2000"),
    ("shield.burst", "500"),
    ("shield.register_rate", "50"),
    ("shield.register_burst", "200"),
    ("history.enabled", "Off"),
    ("history.retention", "604800"),
    ("history.bytes_max", "33554432"),
    ("history.memory_bytes_max", "8388608"),
    ("history.buffer_bytes", "1048576"),
    ("history.refresh_every", "3600"),
    ("history.trend_seconds", "43200"),
    ("history.trend_minutes", "604800"),
    ("history.trend_hours", "63072000"),
    ("serve.listen", "udp:127.0.0.1:5070, tls:[::1]:5071"),
    ("serve.subscribers", "subscribers.txt"),
    ("serve.test_accounts", "10"),
    ("serve.reactors", "2"),
    ("serve.cpus", "0, 1"),
    ("serve.backend", "uring"),
    ("serve.latency_sampling", "1"),
    ("serve.steering", "off"),
    ("serve.steered_sources", "1000000"),
    ("serve.admin", "127.0.0.1:8060"),
    ("serve.admin_token_file", "admin.token"),
    ("admin.allow", "192.0.2.0/24, 2001:db8::/32"),
    ("admin.certificate", "admin.pem"),
    ("admin.key", "admin.key"),
    ("admin.session_idle", "600"),
    ("admin.session_max", "3600"),
    ("admin.password_min", "20"),
    ("admin.login_failures", "3"),
    ("admin.audit_bytes", "1048576"),
    ("admin.audit_files", "9"),
    ("streams.connections_max", "5000"),
    ("streams.connections_per_source_max", "50"),
    ("streams.first_byte_timeout", "5"),
    ("streams.authentication_timeout", "15"),
    ("streams.idle_timeout", "900"),
    ("streams.message_bytes_max", "32768"),
    ("streams.write_queue_bytes_max", "131072"),
    ("tls.certificate", "chain.pem"),
    ("tls.key", "key.pem"),
    ("tls.client_ca", "clients.pem"),
    ("tls.client_auth", "request"),
    ("websocket.origins", "https://phone.example.com"),
];

fn rows() -> impl Iterator<Item = (&'static Parameter, &'static str)> {
    assert_eq!(PARAMETERS.len(), OTHER.len());
    PARAMETERS.iter().zip(OTHER).map(|(parameter, (key, value))| {
        assert_eq!(parameter.key, key);
        (parameter, value)
    })
}

#[test]
fn the_names_operators_know_have_the_defaults_and_ranges_they_know() {
    for (alias, default, range) in [
        ("SS_ENDPOINT_REGISTER_REPLACE", "On", "On (always), Off (never) or unless_in_call"),
        ("SERVER_REGISTRAR_MAX_BINDINGS", "1", "1-64"),
        ("SS_ENDPOINT_EXPIRE", "3600", "20-86400 s"),
        ("SS_ENDPOINT_NAT_EXPIRE", "300", "20-86400 s"),
        (
            "SS_SIP_NAT_KEEP_ALIVE_MESSAGE",
            "HELLO",
            "text of 1-256 bytes, CRLF, STUN, OPTIONS, or empty",
        ),
        ("SS_SIP_NAT_KEEP_ALIVE_PERIOD", "30", "10-86400 s"),
        ("SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME", "3000", "1-10000"),
        ("SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL", "500", "1-10000 ms"),
        ("SS_SIP_AUTHENTICATION_CODE", "401", "401 or 407"),
        ("SS_SIP_AUTHENTICATION_RETRY", "6", "0-999"),
        ("SS_SIP_AUTHENTICATION_TIMEOUT", "10", "1-3600 s"),
        ("SS_AUTHENTICATION_MAX_RETRY", "6", "0-999"),
        ("SS_AUTHENTICATION_FAILED_SUSPEND", "180", "60-3600 s"),
        ("SS_ENDPOINTREGISTERSUSPEND", "On", "On, Off"),
        ("SS_ENDPOINTREGISTERRETRY", "6", "1-100"),
        ("SS_ENDPOINT_REGISTER_RETRY", "6", "1-100"),
        ("SS_ENDPOINTREGISTERSUSPENDTIME", "180", "60-86400 s"),
        ("SS_ENDPOINT_REGISTER_SUSPEND", "180", "60-86400 s"),
        ("SS_REPLY_UNAUTHORIZED", "On", "On, Off"),
    ] {
        let parameter = find(alias).unwrap_or_else(|| panic!("no {alias}"));
        assert_eq!(parameter.value(&Settings::default()), default, "{alias}");
        assert_eq!(parameter.range(), range, "{alias}");
    }
}

#[test]
fn every_parameter_is_set_by_key_and_alias_from_file_and_command_line() {
    for (parameter, value) in rows() {
        assert_ne!(parameter.value(&Settings::default()), value, "{}", parameter.key);
        let (section, name) = parameter.key.split_once('.').expect("section.name");
        let mut texts = vec![format!("[{section}]\n{name} = {value:?}\n")];
        texts.push(format!("\"{}\" = {value:?}\n", parameter.key));
        let mut names = vec![parameter.key.to_owned(), parameter.key.to_ascii_uppercase()];
        if !parameter.alias.is_empty() {
            texts.push(format!("{} = {value:?}\n", parameter.alias));
            texts.push(format!("[{section}]\n{} = {value:?}\n", parameter.alias));
            names.push(parameter.alias.to_owned());
            names.push(parameter.alias.to_ascii_lowercase());
        }
        for text in texts {
            // What cannot stand alone stands with those it needs.
            let needed = match parameter.key {
                "serve.listen" | "tls.key" => "\"tls.certificate\" = \"c\"\n",
                "admin.key" => "\"admin.certificate\" = \"c\"\n",
                "admin.certificate" => "\"admin.key\" = \"k\"\n",
                _ => "",
            };
            let needed = match parameter.key {
                "serve.listen" | "tls.certificate" => format!("{needed}\"tls.key\" = \"k\"\n"),
                "tls.client_auth" => "\"tls.client_ca\" = \"a\"\n".to_owned(),
                _ => needed.to_owned(),
            };
            let text = format!("{needed}{text}");
            let settings = load(&text, "a.toml").unwrap_or_else(|wrong| panic!("{text}{wrong:?}"));
            assert_eq!(parameter.value(&settings), value, "{text}");
            let line = text.lines().count() as u32;
            let origin = Origin::File { name: "a.toml".into(), line };
            assert_eq!(*settings.origin(parameter), origin, "{text}");
        }
        for name in names {
            let mut settings = Settings::default();
            settings.apply(&name, value, Origin::CommandLine).expect("it is in range");
            assert_eq!(parameter.value(&settings), value, "{name}");
            assert_eq!(*settings.origin(parameter), Origin::CommandLine);
        }
    }
}

#[test]
fn a_letter_too_few_in_any_name_finds_the_name() {
    for parameter in &PARAMETERS {
        for name in [parameter.key, parameter.alias] {
            if name.is_empty() {
                continue;
            }
            let wrong = &name[..name.len() - 1];
            let refusal = Settings::default().apply(wrong, "1", Origin::CommandLine).unwrap_err();
            let expected = format!("command line: {wrong}: unknown name, did you mean {name}?");
            assert_eq!(refusal.to_string(), expected);
        }
    }
}

fn aorta(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aorta")).args(arguments).output().expect("it was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A file in a place of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Scratch {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Scratch(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_program_shows_every_setting_with_value_default_range_and_origin() {
    let mut arguments = vec!["config".to_owned()];
    for (parameter, value) in rows() {
        // The command line by alias, where there is one.
        let name = [parameter.alias, parameter.key].into_iter().find(|name| !name.is_empty());
        arguments.extend(["--set".to_owned(), format!("{}={value}", name.expect("a key"))]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = aorta(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for (parameter, value) in rows() {
        let line = shown
            .lines()
            .find(|line| line.split_whitespace().next() == Some(parameter.key))
            .unwrap_or_else(|| panic!("no {}", parameter.key));
        let default = format!("default {}", parameter.value(&Settings::default()));
        let range = format!("range {}", parameter.range());
        for part in [value, default.trim_end(), &range, "from command line"] {
            assert!(line.contains(part), "no {part:?} in {line:?}");
        }
        assert!(parameter.alias.is_empty() || shown.contains(&format!("also {}", parameter.alias)));
        assert!(shown.contains(parameter.about));
    }
}

#[test]
fn checking_a_file_reads_the_subscribers_it_names() {
    let check = |config: &Scratch| {
        let output = aorta(&["config", "check", &config.path()]);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let good =
        Scratch::new("good-subscribers", "alice@example.com correct-horse-battery bindings=3\n");
    let bad = Scratch::new("bad-subscribers", "alice@example.com a\nbob@example.com b auht=both\n");
    let naming = |name: &str, path: &str| {
        Scratch::new(name, &format!("[serve]\nsubscribers = {path:?}\n[registrar]\ndate = true\n"))
    };

    let config = naming("good.toml", &good.path());
    assert_eq!(check(&config), (Some(0), format!("{}: good\n", config.path()), String::new()));
    let line = format!("aorta: {}:2: unknown option as field 3, did you mean auth=?\n", bad.path());
    assert_eq!(check(&naming("bad.toml", &bad.path())), (Some(1), String::new(), line));

    let wrong = Scratch::new("wrong.toml", "[registrar]\nx = 1\nexpires_max = 1\n");
    let (status, _, said) = check(&wrong);
    assert_eq!((status, said.lines().count()), (Some(1), 2), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.contains("wrong.toml")), "{said}");
}
