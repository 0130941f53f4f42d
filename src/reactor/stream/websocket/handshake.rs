//! The server's side of the opening handshake (RFC 6455 4.2) with the subprotocol `sip` (RFC 7118
//! 4): one HTTP request in, one HTTP response out.

use sha1::{Digest, Sha1};

/// Longest request head that is waited for, bytes.
pub(in super::super) const REQUEST_BYTES_MAX: usize = 8192;

/// RFC 6455 1.3
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Sixteen bytes in base64 (RFC 6455 4.1 item 7).
const KEY_BYTES: usize = 24;
const SUBPROTOCOL: &str = "sip";

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Outcome {
    /// The request is not all there.
    More,
    /// It took so many bytes, and is accepted; frames follow.
    Accepted(usize),
    /// It was refused with an HTTP status: close once that is sent.
    Refused(u16),
}

/// Answers the request at the front of `bytes` into `out`. `origins` are those that may connect,
/// lower-case; empty takes any (RFC 6455 4.2.2 item 4).
pub(in super::super) fn answer(bytes: &[u8], origins: &[String], out: &mut Vec<u8>) -> Outcome {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() >= REQUEST_BYTES_MAX {
            return refuse(out, 431);
        }
        // Whoever speaks something else need not be waited for.
        let method = &bytes[..bytes.len().min(4)];
        return if b"GET ".starts_with(method) { Outcome::More } else { refuse(out, 400) };
    };
    if end > REQUEST_BYTES_MAX {
        return refuse(out, 431);
    }
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else { return refuse(out, 400) };
    match check(head, origins) {
        Ok(key) => {
            let accept = accept_value(key.as_bytes());
            out.extend_from_slice(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Accept: ",
            );
            out.extend_from_slice(&accept);
            out.extend_from_slice(b"\r\n\r\n");
            Outcome::Accepted(end + 4)
        }
        Err(status) => refuse(out, status),
    }
}

fn refuse(out: &mut Vec<u8>, status: u16) -> Outcome {
    let (phrase, header) = match status {
        403 => ("Forbidden", ""),
        405 => ("Method Not Allowed", "Allow: GET\r\n"),
        // RFC 6455 4.2.2 item 4, RFC 9110 15.5.22
        426 => ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        431 => ("Request Header Fields Too Large", ""),
        _ => ("Bad Request", ""),
    };
    out.extend_from_slice(
        format!(
            "HTTP/1.1 {status} {phrase}\r\n{header}Connection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .as_bytes(),
    );
    Outcome::Refused(status)
}

/// RFC 6455 4.2.1. Returns the key, or the status that refuses the request.
fn check<'a>(head: &'a str, origins: &[String]) -> Result<&'a str, u16> {
    let mut lines = head.split("\r\n");
    let request_line = lines.next().unwrap_or_default();
    let mut words = request_line.split(' ');
    let (method, path, version) = (words.next(), words.next(), words.next());
    if words.next().is_some() || path.is_none_or(str::is_empty) {
        return Err(400);
    }
    if method != Some("GET") {
        return Err(405);
    }
    // "at least 1.1"
    if version != Some("HTTP/1.1") {
        return Err(400);
    }
    let mut fields = Fields::default();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(400u16)?;
        fields.take(name, value.trim_matches([' ', '\t']))?;
    }
    if fields.host.is_none() {
        return Err(400);
    }
    if !fields.upgrade || !fields.connection || fields.version != Some("13") {
        return Err(426);
    }
    // RFC 7118 4: the handshake names the subprotocol, or there is none.
    if !fields.subprotocol {
        return Err(400);
    }
    if !origins.is_empty() {
        let origin = fields.origin.ok_or(403u16)?.to_ascii_lowercase();
        if !origins.contains(&origin) {
            return Err(403);
        }
    }
    fields.key.filter(|key| is_key(key)).ok_or(400)
}

/// The header fields that matter.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    upgrade: bool,
    connection: bool,
    version: Option<&'a str>,
    key: Option<&'a str>,
    origin: Option<&'a str>,
    subprotocol: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str, value: &'a str) -> Result<(), u16> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let once = |field: &mut Option<&'a str>| match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(400u16),
        };
        let lists =
            |word: &str| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word));
        if is("Host") {
            once(&mut self.host)?;
        } else if is("Upgrade") {
            self.upgrade |= lists("websocket");
        } else if is("Connection") {
            self.connection |= lists("upgrade");
        } else if is("Sec-WebSocket-Version") {
            once(&mut self.version)?;
        } else if is("Sec-WebSocket-Key") {
            once(&mut self.key)?;
        } else if is("Origin") {
            once(&mut self.origin)?;
        } else if is("Sec-WebSocket-Protocol") {
            self.subprotocol |= lists(SUBPROTOCOL);
        } else if name.is_empty() || name.contains([' ', '\t']) {
            // RFC 9112 5.1: no space before the colon, and no folding.
            return Err(400);
        }
        Ok(())
    }
}

fn is_key(key: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    key.len() == KEY_BYTES && key.ends_with("==") && key[..KEY_BYTES - 2].bytes().all(base64)
}

/// RFC 6455 4.2.2 item 5.4
fn accept_value(key: &[u8]) -> [u8; 28] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [b'='; 28];
    for (quad, bytes) in text.chunks_exact_mut(4).zip(hash.chunks(3)) {
        let bits = bytes.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - bytes.len()));
        for (nth, letter) in quad.iter_mut().enumerate().take(bytes.len() + 1) {
            *letter = ALPHABET[(bits >> (18 - 6 * nth)) as usize & 63];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /sip HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: https://Phone.Example.com\r\nSec-WebSocket-Protocol: xmpp, sip\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    fn ask(request: &str, origins: &[&str]) -> (Outcome, String) {
        let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
        let mut out = Vec::new();
        let outcome = answer(request.as_bytes(), &origins, &mut out);
        (outcome, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_example_of_rfc_6455_1_3_gets_its_answer() {
        let (outcome, response) = ask(REQUEST, &[]);
        assert_eq!(outcome, Outcome::Accepted(REQUEST.len()));
        assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(response.contains("Sec-WebSocket-Protocol: sip\r\n"));
    }

    #[test]
    fn half_a_request_is_waited_for_and_anything_else_is_not() {
        for end in 0..REQUEST.len() {
            assert_eq!(ask(&REQUEST[..end], &[]).0, Outcome::More, "{end}");
        }
        assert_eq!(ask("REGISTER sip:a.test SIP/2.0", &[]).0, Outcome::Refused(400));
        let endless = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(REQUEST_BYTES_MAX));
        assert_eq!(ask(&endless, &[]).0, Outcome::Refused(431));
    }

    #[test]
    fn each_fault_has_its_status() {
        let without = |name: &str| {
            let kept = REQUEST.split("\r\n").filter(|line| !line.starts_with(name));
            kept.collect::<Vec<_>>().join("\r\n")
        };
        for (request, status) in [
            (without("Sec-WebSocket-Protocol"), 400),
            (REQUEST.replace("xmpp, sip", "sips"), 400),
            (without("Upgrade"), 426),
            (without("Connection"), 426),
            (REQUEST.replace("Version: 13", "Version: 8"), 426),
            (without("Sec-WebSocket-Key"), 400),
            (REQUEST.replace("dGhlIHNh", "dGhlIHN"), 400),
            (REQUEST.replace("GET", "GOT").replace("GOT", "GET").replace("GET /", "GET  /"), 400),
            (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), 400),
            (without("Host"), 400),
            (REQUEST.replace("Host: a.test", "Host: a.test\r\nHost: b.test"), 400),
            (REQUEST.replace("Host: a.test", "Host : a.test"), 400),
            (REQUEST.replace("Host: a.test", "nonsense"), 400),
        ] {
            let (outcome, response) = ask(&request, &[]);
            assert_eq!(outcome, Outcome::Refused(status), "{request}");
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
            assert_eq!(status == 426, response.contains("Sec-WebSocket-Version: 13\r\n"));
        }
    }

    #[test]
    fn an_origin_that_is_not_listed_is_forbidden_rfc_6455_4_2_2() {
        assert_eq!(ask(REQUEST, &["https://other.example.com"]).0, Outcome::Refused(403));
        let listed = ask(REQUEST, &["https://phone.example.com"]).0;
        assert_eq!(listed, Outcome::Accepted(REQUEST.len()));
        let nobody = REQUEST.replace("Origin: https://Phone.Example.com\r\n", "");
        assert_eq!(ask(&nobody, &["https://phone.example.com"]).0, Outcome::Refused(403));
        assert!(matches!(ask(&nobody, &[]).0, Outcome::Accepted(_)));
    }
}
