//! A server with operators, and what they have in front of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::http::{Answer, raw};
use crate::serve::Process;

pub const PASSWORD: &str = "correct horse battery";
pub const SESSION: &str = "/api/v1/session";

/// A place of its own, gone with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let name = format!("operators-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server with an admin interface, and what its data are kept in.
pub struct Office {
    pub process: Process,
    pub http: SocketAddr,
}

impl Office {
    pub fn open(data: &Scratch, more: &[&str]) -> Option<Office> {
        Office::open_at("127.0.0.1:0", data, more)
    }

    pub fn open_at(at: &str, data: &Scratch, more: &[&str]) -> Option<Office> {
        let data = data.0.display().to_string();
        let arguments = [
            &["serve", "--test-accounts", "10", "--listen", "udp:127.0.0.1:0", "--reactors", "1"],
            &["--admin", at, "--data", &data][..],
            more,
        ];
        let mut process = Process::start(&arguments.concat());
        if process.wait_for(|line| line == "ready").is_none() {
            let said = process.err.join("\n");
            let required = std::env::var("AORTA_REQUIRE_IO_URING").is_ok_and(|value| value == "1");
            assert!(!required && (said.contains("io_uring") || said.contains("memlock")), "{said}");
            eprintln!("skipped: the host refuses what the server needs: {said}");
            return None;
        }
        let line = process.out.iter().find_map(|line| line.strip_prefix("listening http"));
        let http = line.expect("it listens").trim_start_matches('s').trim();
        let http: SocketAddr = http.parse().expect("an address");
        let http = match http.ip().is_unspecified() {
            true => SocketAddr::new([127, 0, 0, 1].into(), http.port()),
            false => http,
        };
        Some(Office { process, http })
    }

    /// The code on standard error.
    pub fn code(&mut self) -> String {
        let has_code = |line: &str| line.contains(" with the code ");
        let line = self.process.err.iter().rev().find(|line| has_code(line)).cloned();
        let line = line.or_else(|| self.process.wait_for(has_code)).expect("a code");
        line.rsplit(' ').next().expect("a word").to_owned()
    }

    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let kind = "application/json";
        self.ask_text(method, path, &format!("{headers}Content-Type: {kind}\r\n"), &body)
    }

    pub fn ask_text(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let host = match headers.contains("Host: ") {
            true => String::new(),
            false => format!("Host: {}\r\n", self.http),
        };
        let length = body.len();
        raw(
            self.http,
            &format!(
                "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            ),
        )
    }

    /// Makes the first operator, `root`.
    pub fn set_up(&mut self) -> Login {
        let body = json!({"code": self.code(), "name": "root", "password": PASSWORD});
        Login::of(&self.ask("POST", "/api/v1/setup", "", &body))
    }

    pub fn log_in(&self, name: &str, password: &str) -> Answer {
        self.ask("POST", SESSION, "", &json!({"name": name, "password": password}))
    }

    pub fn stop(mut self) {
        self.process.signal("TERM");
        assert!(self.process.finish().success());
    }
}

/// What a browser has after a login.
#[derive(Clone)]
pub struct Login {
    pub cookie: String,
    pub csrf: String,
}

impl Login {
    pub fn of(answer: &Answer) -> Login {
        let who = answer.good();
        let cookie = answer.header("set-cookie").expect("a cookie");
        for part in ["Path=/", "HttpOnly", "SameSite=Strict"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
        Login { cookie, csrf: format!("X-CSRF-Token: {}\r\n", who["csrf"].as_str().unwrap()) }
    }

    pub fn both(&self) -> String {
        format!("{}{}", self.cookie, self.csrf)
    }
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}
