//! The text of values: what is taken, and what is refused.

use super::*;

#[test]
fn switches_are_read_in_any_case_and_spelling() {
    for on in ["On", "ON", "1", "true"] {
        assert_eq!(switch(on), Some(true), "{on}");
    }
    for off in ["Off", "off", "0", "False"] {
        assert_eq!(switch(off), Some(false), "{off}");
    }
    for neither in ["", "yes", "2", "onn"] {
        assert_eq!(switch(neither), None, "{neither}");
    }
}

#[test]
fn durations_take_units_or_stand_bare_in_seconds() {
    let seconds = |text| whole(text, Unit::Seconds);
    assert_eq!(seconds("30"), Some(30));
    assert_eq!(seconds("30s"), Some(30));
    assert_eq!(seconds("30 s"), Some(30));
    assert_eq!(seconds("5m"), Some(300));
    assert_eq!(seconds("2h"), Some(7200));
    assert_eq!(seconds("1D"), Some(86_400));
    assert_eq!(seconds("3000ms"), Some(3));
}

#[test]
fn a_fraction_of_the_unit_is_refused_not_rounded() {
    assert_eq!(whole("500ms", Unit::Seconds), None);
    assert_eq!(whole("1.5", Unit::Seconds), None);
    assert_eq!(whole("1.5m", Unit::Seconds), None);
}

#[test]
fn a_unit_of_another_kind_is_refused() {
    assert_eq!(whole("10%", Unit::Seconds), None);
    assert_eq!(whole("10s", Unit::Percent), None);
    assert_eq!(whole("10s", Unit::None), None);
    assert_eq!(whole("-1", Unit::None), None);
    assert_eq!(whole("", Unit::None), None);
    assert_eq!(whole("s", Unit::Seconds), None);
}

#[test]
fn percentages_take_their_sign_with_or_without_a_space() {
    for text in ["10", "10%", "10 %"] {
        assert_eq!(whole(text, Unit::Percent), Some(10), "{text}");
    }
}

#[test]
fn numbers_past_the_type_saturate() {
    assert_eq!(whole("99999999999999999999999", Unit::None), Some(u64::MAX));
    assert_eq!(whole("18446744073709551615d", Unit::Seconds), Some(u64::MAX));
}

#[test]
fn listeners_name_transport_address_and_port() {
    let addr = |text: &str| listen(&[text]).map(|all| all[0].addr.to_string());
    assert_eq!(addr("tcp:[fe80::1%3]:5060").as_deref(), Ok("[fe80::1%3]:5060"));
    for wrong in ["udp:[fe80::1]:0", "udp:[::1%3]:0", "udp:127.0.0.1%3:0", "udp:[fe80::1%0]:0"] {
        assert!(addr(wrong).is_err(), "{wrong}");
    }
    assert_eq!(addr("udp:127.0.0.1:5070").as_deref(), Ok("127.0.0.1:5070"));
    assert_eq!(addr("UDP:0.0.0.0").as_deref(), Ok("0.0.0.0:5060"));
    assert_eq!(addr("udp:[::1]:0").as_deref(), Ok("[::1]:0"));
    assert_eq!(addr("udp:[::]").as_deref(), Ok("[::]:5060"));
    assert_eq!(addr("udp:localhost:5061").as_deref(), Ok("127.0.0.1:5061"));
}

#[test]
fn listeners_out_of_form_are_refused() {
    for text in [
        "",
        "udp",
        "udp:",
        "udp:1.2.3.4:",
        "udp:1.2.3.4:70000",
        "udp:1.2.3.4:+1",
        "udp:::1:5060",
        "udp:[1.2.3.4]:5060",
        "udp:[::1",
        "udp:[::1]5060",
        "udp:sip.example.com:5060",
        "sctp:1.2.3.4:5060",
        "127.0.0.1:5060",
    ] {
        assert!(listen(&[text]).is_err(), "{text}");
    }
}

#[test]
fn every_transport_has_its_own_port_and_tcp_ports_are_shared_by_none() {
    let addr = |text: &str| listen(&[text]).unwrap()[0].addr.port();
    assert_eq!(
        ["udp:1.1.1.1", "tcp:1.1.1.1", "TLS:1.1.1.1", "ws:1.1.1.1", "wss:1.1.1.1"].map(addr),
        [5060, 5060, 5061, 80, 443]
    );
    assert!(listen(&["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060", "tls:0.0.0.0:5061"]).is_ok());
    assert_eq!(listen(&["tcp:0.0.0.0:5060", "ws:0.0.0.0:5060"]).unwrap_err().item, 1);
}

#[test]
fn networks_are_prefixes_or_addresses_and_never_have_stray_bits() {
    let text = |items: &[&str]| networks(items).map(|all| joined(&all));
    assert_eq!(
        text(&["192.0.2.0/24", "2001:db8::/32", "10.0.0.1"]).as_deref(),
        Ok("192.0.2.0/24, 2001:db8::/32, 10.0.0.1/32")
    );
    assert_eq!(networks(&[]), Ok(Vec::new()));
    for bad in [&["192.0.2.1/24"][..], &["192.0.2.0/33"], &["x"], &["1.1.1.1", "1.1.1.1/32"]] {
        assert!(networks(bad).is_err(), "{bad:?}");
    }
    assert!(networks(&["192.0.2.1/24"]).unwrap_err().expected.starts_with("192.0.2.0/24"));
}

#[test]
fn service_routes_are_sip_uris_with_or_without_brackets() {
    let route = service_route(&["<sip:p.example.com;lr>", "SIPS:[::1]:5061"]).unwrap();
    assert_eq!(route, ["sip:p.example.com;lr", "SIPS:[::1]:5061"]);
    for bad in ["", "sip:", "tel:+1", "sip:a b", "sip:a>b", "sip:a\r\nX: y", "sip:\u{e9}"] {
        assert!(service_route(&[bad]).is_err(), "{bad:?}");
    }
    assert!(service_route(&["sip:a"; SERVICE_ROUTES_MAX + 1]).is_err());
}

#[test]
fn origins_have_no_path() {
    assert_eq!(origins(&["HTTPS://a.example", "null"]).unwrap(), ["https://a.example", "null"]);
    for bad in ["", "a.example", "https://", "https://a/", "ftp://a"] {
        assert!(origins(&[bad]).is_err(), "{bad}");
    }
}

#[test]
fn bytes_take_binary_units() {
    assert_eq!(whole("64KiB", Unit::Bytes), Some(65_536));
    assert_eq!(whole("1 mib", Unit::Bytes), Some(1 << 20));
    assert_eq!(whole("64k", Unit::Bytes), None);
}

#[test]
fn the_same_listener_twice_is_refused_but_port_0_may_repeat() {
    assert_eq!(listen(&["udp:1.2.3.4:1", "udp:1.2.3.4:1"]).unwrap_err().item, 1);
    assert_eq!(listen(&["udp:1.2.3.4:0", "udp:1.2.3.4:0"]).map(|all| all.len()), Ok(2));
}

#[test]
fn a_wildcard_and_an_address_of_its_port_overlap_but_families_and_ports_do_not() {
    for (one, other) in [("udp:0.0.0.0:1", "udp:1.2.3.4:1"), ("udp:[::1]:1", "udp:[::]:1")] {
        assert_eq!(listen(&[one, other]).unwrap_err().item, 1, "{one} {other}");
    }
    let apart = ["udp:0.0.0.0:1", "udp:[::]:1", "udp:1.2.3.4:2", "udp:0.0.0.0:0"];
    assert_eq!(listen(&apart).map(|all| all.len()), Ok(4));
}

#[test]
fn listeners_are_bounded_both_ways() {
    assert!(listen(&[]).is_err());
    let texts: Vec<String> = (1..=LISTENERS_MAX + 1).map(|p| format!("udp:1.1.1.1:{p}")).collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert!(listen(&all[..LISTENERS_MAX]).is_ok());
    assert!(listen(&all).is_err());
}

#[test]
fn cpu_lists_take_numbers_and_ranges_in_order() {
    assert_eq!(cpus(&["all"]), Ok(None));
    assert_eq!(cpus(&["2", "0-1"]), Ok(Some(vec![2, 0, 1])));
    for bad in [&["3-1"][..], &["0", "0"], &["0-2", "1"], &["x"], &["1024"], &[], &["0-200"]] {
        assert!(cpus(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn algorithms_are_a_set() {
    assert_eq!(algorithms(&["md5"]), Ok(Algorithms::MD5));
    assert_eq!(algorithms(&["MD5", "sha-256"]), Ok(Algorithms::BOTH));
    assert_eq!(algorithms(&["MD5", "MD5"]).unwrap_err().item, 1);
    assert!(algorithms(&["MD5-sess"]).is_err());
    assert!(algorithms(&[]).is_err());
}

#[test]
fn reactors_are_counted_or_automatic() {
    assert_eq!(reactors("auto"), Ok(None));
    assert_eq!(reactors("1"), Ok(Some(1)));
    assert_eq!(reactors("128"), Ok(Some(128)));
    for bad in ["0", "129", "256", "-1", ""] {
        assert!(reactors(bad).is_err(), "{bad}");
    }
}

#[test]
fn domains_are_hosts_in_lower_case() {
    assert_eq!(domain("Example.COM").as_deref(), Some("example.com"));
    assert_eq!(domain("10.0.0.1").as_deref(), Some("10.0.0.1"));
    assert_eq!(domain("[2001:DB8::1]").as_deref(), Some("[2001:db8::1]"));
    for bad in ["", ".", "a..b", "-a.com", "a_b", "a b", "[::1", "[1.2.3.4]", "e\u{e9}.com"] {
        assert_eq!(domain(bad), None, "{bad}");
    }
    assert_eq!(domain(&"a.".repeat(127)), None);
}
