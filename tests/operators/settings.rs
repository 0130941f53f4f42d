//! What an interface is set to, while it serves: parameters, its certificate, and the networks that
//! may reach it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::http::Answer;
use crate::office::{Login, Office, PASSWORD, Scratch};
use crate::{common, serve};

#[test]
fn a_parameter_is_set_while_it_serves_and_stays_set() {
    let data = Scratch::new("parameters");
    let Some(mut office) = Office::open(&data, &["--set", "registrar.expires_max=900"]) else {
        return;
    };
    let root = office.set_up();
    let path = "/api/v1/parameters";
    let (key, alias) = ("registrar.expires_max", "ss_endpoint_expire");
    let of = |name: &str| format!("{path}/{name}");
    let seen = office.ask("GET", &of(alias), &root.cookie, &Value::Null);
    let row = seen.good();
    assert_eq!((&row["name"], &row["value"]), (&key.into(), &"900".into()));
    assert_eq!((&row["origin"], &row["default"]), (&"command line".into(), &"3600".into()));
    assert_eq!((&row["restart"], &row["overridden"]), (&false.into(), &false.into()));
    let tag = format!("If-Match: {}\r\n", seen.header("etag").expect("a tag"));
    // A phone that is there stays there.
    let target = office.process.out[0].rsplit(' ').next().unwrap().parse().unwrap();
    let wire = serve::Wire::to(target);
    let mut phone = common::Phone::new(1, "desk", &wire.local().to_string());
    let challenge = wire.ask(&phone.register(3600));
    assert!(phone.take_challenge(&challenge));
    assert_eq!(wire.ask(&phone.register(3600)).status, 200);
    let granted = |office: &Office| {
        let found = office.ask("GET", "/api/v1/registrations/u1", &root.cookie, &Value::Null);
        found.good()["items"][0]["granted_s"].as_u64().expect("it is registered")
    };
    assert!((800..=900).contains(&granted(&office)));
    let set = |name: &str, headers: &str, value: &str| {
        let body = json!({"value": value, "reason": "less of them"});
        office.ask("PUT", &of(name), &format!("{}{headers}", root.both()), &body)
    };
    let done = set(alias, &tag, "10m").good();
    assert_eq!((&done["value"], &done["before"]), (&"600".into(), &"900".into()));
    assert_eq!((&done["origin"], &done["kept"]), (&"operator".into(), &true.into()));
    assert!((800..=900).contains(&granted(&office)), "what was granted stays granted");
    assert_eq!(wire.ask(&phone.register(3600)).status, 200);
    assert!((500..=600).contains(&granted(&office)), "from now on it holds");
    // Who saw the value before is told.
    let said = set(key, &tag, "700").problem(412);
    assert!(said.contains("\"600\" by now"), "{said}");
    set(key, "If-Match: 600\r\n", "700").problem(400);
    for (name, value, status, word) in [
        (key, "1", 400, "expected 20-86400 s"),
        (key, "soon", 400, "expected whole seconds of 20-86400 s"),
        (key, "30", 400, "registrar.expires_min"),
        ("registrar.expire_max", "600", 404, "did you mean registrar.expires_max"),
        ("security.log", "x", 403, "on the host"),
        ("serve.subscribers", "/etc/shadow", 403, "on the host"),
    ] {
        let said = set(name, "", value).problem(status);
        assert!(said.contains(word), "{name}={value}: {said}");
    }
    office.ask("PUT", &of(key), &root.both(), &json!({"value": 7})).problem(400);
    let later = set("guard.sources", "", "4096").good();
    assert_eq!((&later["restart"], &later["running"]), (&true.into(), &"65536".into()));
    // A reload reads the rest anew and leaves it.
    office.process.signal("HUP");
    office
        .process
        .wait_for(|line| line.contains("SIGHUP: 0 settings changed"))
        .expect("it is told");
    let value = |office: &Office, name: &str| {
        office.ask("GET", &of(name), &root.cookie, &Value::Null).good()["value"].clone()
    };
    assert_eq!(value(&office, key), "600");
    office.stop();
    let data_dir = data.0.display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
    let shown = text_of(command.args(["config", "--data", &data_dir]));
    let line = shown.lines().find(|line| line.starts_with("registrar.expires_max ")).unwrap();
    assert!(line.contains(" 600 ") && line.contains("from operator"), "{line}");
    // By the command line, as an operator has it.
    let Some(office) = Office::open(&data, &["--admin-token", "correct-horse-battery"]) else {
        return;
    };
    let at = office.http.to_string();
    let ctl = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(["ctl", "--admin", &at, "--token", "correct-horse-battery", "param"]);
        command.args(arguments).stdin(std::process::Stdio::null());
        command.output().expect("it was built")
    };
    let said = |output: Output| String::from_utf8(output.stdout).unwrap();
    assert!(said(ctl(&["get", key])).contains("value      600"));
    assert!(said(ctl(&["list", "expires_max"])).contains("registrar.expires_max (SS_ENDPOINT_"));
    assert!(said(ctl(&["set", alias, "1200"])).contains("is \"1200\", from operator"));
    let refused = ctl(&["set", alias, "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("20-86400 s"), "{refused:?}");
    assert!(said(ctl(&["unset", key])).contains("is \"3600\", from default"));
    assert_eq!(ctl(&["unset", key]).status.code(), Some(1));
    let listed: Value = serde_json::from_str(&said(ctl(&["list", "--set", "--json"]))).unwrap();
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(names.contains(&"guard.sources") && !names.contains(&key), "{names:?}");
    office.stop();
}

fn text_of(command: &mut Command) -> String {
    let output = command.output().expect("it was built");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Asks over TLS, trusting that certificate alone.
fn ask_over_tls(office: &Office, trusted: &Certificate, request: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(office.http)?;
    let mut session = trusted.client(office.http.ip());
    let mut stream = rustls::Stream::new(&mut session, &mut stream);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(Answer::parse(&answer))
}

#[test]
fn over_tls_cookies_are_bound_to_it_and_another_certificate_is_shown_after_a_reload() {
    let data = Scratch::new("tls");
    let certificate = Certificate::for_test("operators");
    let set = [
        format!("admin.certificate={}", certificate.certificate.display()),
        format!("admin.key={}", certificate.key.display()),
    ];
    let token = ["--admin-token", "correct-horse-battery"];
    let arguments = [&["--set", &set[0], "--set", &set[1]][..], &token].concat();
    let Some(mut office) = Office::open(&data, &arguments) else { return };
    assert!(office.process.out.iter().any(|line| line.starts_with("listening https ")));
    let body = json!({"code": office.code(), "name": "root", "password": PASSWORD}).to_string();
    let request = |method: &str, path: &str, headers: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let json = "Content-Type: application/json\r\n";
    let setup = request("POST", "/api/v1/setup", json, &body);
    let answer = ask_over_tls(&office, &certificate, &setup).expect("it is trusted");
    Login::of(&answer);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-aorta=") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    for (name, word) in [
        ("content-security-policy", "frame-ancestors 'none'"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ] {
        assert!(answer.header(name).is_some_and(|value| value.contains(word)), "{name}");
    }
    // In the clear there is nothing there.
    let mut plain = TcpStream::connect(office.http).expect("it listens");
    plain.write_all(request("GET", "/", "", "").as_bytes()).expect("it is read");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // The command line trusts what it is told to trust.
    let at = format!("https://localhost:{}", office.http.port());
    let ctl = |cacert: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
        command.args(["ctl", "--admin", &at, "--token", token[1], "--cacert"]).arg(cacert);
        command.args(["param", "get", "admin.certificate"]).output().expect("it was built")
    };
    let said = ctl(&certificate.certificate);
    assert!(said.status.success(), "{said:?}");
    // Another certificate under the same names.
    let folder = certificate.certificate.parent().unwrap();
    let other = Certificate::make(folder);
    assert!(!ctl(&other.certificate).status.success(), "it still shows the first");
    office.process.signal("HUP");
    office.process.wait_for(|line| line.contains("SIGHUP: ")).expect("it is told");
    assert!(ctl(&other.certificate).status.success());
    let who = request("GET", "/api/v1/setup", "", "");
    assert!(ask_over_tls(&office, &certificate, &who).is_err(), "the first is gone");
    assert_eq!(ask_over_tls(&office, &other, &who).unwrap().good()["needed"], false);
    // What cannot be used is refused, and what is in use stays so.
    fs::write(&other.key, "no key").unwrap();
    office.process.signal("HUP");
    office.process.wait_for(|line| line.contains("SIGHUP: nothing changed: admin.key")).unwrap();
    assert_eq!(ask_over_tls(&office, &other, &who).unwrap().good()["needed"], false);
    office.stop();
}

/// An address of this host that others see, if it has one.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[test]
fn whoever_may_not_reach_it_is_not_answered_a_byte() {
    let Some(own) = own_address() else {
        eprintln!("skipped: this host has no address but loopback");
        return;
    };
    let data = Scratch::new("networks");
    let from_elsewhere = |office: &Office| {
        let mut stream = TcpStream::connect((own, office.http.port())).expect("it listens there");
        let request = "GET /api/v1/setup HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        // It may be closed before, or while, it is asked.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    // Before there is a password, this host alone.
    let Some(mut office) = Office::open_at("0.0.0.0:0", &data, &[]) else { return };
    assert_eq!(from_elsewhere(&office), b"");
    let login = office.set_up();
    assert!(from_elsewhere(&office).starts_with(b"HTTP/1.1 200 "));
    let metrics = office.ask("GET", "/metrics", &login.cookie, &Value::Null).body;
    assert!(metrics.contains("aorta_admin_refused_network_total 1\n"));
    office.stop();
    // Then the networks that are allowed, and this host.
    let set = ["--set", "admin.allow=198.51.100.0/24,2001:db8::/32"];
    let Some(office) = Office::open_at("0.0.0.0:0", &data, &set) else { return };
    assert_eq!(from_elsewhere(&office), b"");
    Login::of(&office.log_in("root", PASSWORD));
    office.stop();
    let set = format!("admin.allow={own}");
    let Some(office) = Office::open_at("[::]:0", &data, &["--set", &set]) else { return };
    let mapped =
        Office { http: SocketAddr::new([127, 0, 0, 1].into(), office.http.port()), ..office };
    assert!(from_elsewhere(&mapped).starts_with(b"HTTP/1.1 200 "), "an IPv4 address on IPv6");
    mapped.stop();
}
