//! HTTP/1.1 by hand, on purpose without a line of what the server is made with: one request on a
//! connection of its own.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// An answer taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// Reads an answer that ends with its connection.
    pub fn parse(bytes: &[u8]) -> Answer {
        let text = std::str::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let answer = Answer { status: status.parse().unwrap(), headers, body: body.to_owned() };
        let length = answer.header("content-length").expect("a length");
        assert_eq!(length.parse(), Ok(body.len()), "{text}");
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The body of a success.
    pub fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// The detail of a refusal with this status, which must be problem details (RFC 9457).
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(!detail.is_empty());
        detail.to_owned()
    }
}

/// A connection that gives up after a time nothing takes.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Sends these bytes and reads until the other side closes.
pub fn raw(to: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(to);
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers and closes");
    Answer::parse(&answer)
}

/// Asks with these header lines beside the usual ones.
pub fn ask_with(to: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let host = if headers.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {to}\r\n")
    };
    raw(to, &format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"))
}

pub fn ask(to: SocketAddr, method: &str, path: &str) -> Answer {
    ask_with(to, method, path, "")
}

pub fn get(to: SocketAddr, path: &str) -> Answer {
    ask(to, "GET", path)
}
