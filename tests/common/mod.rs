//! What the end-to-end tests and the simulation share: a phone written on strings, on purpose
//! without a line of the server's own SIP or digest code, so that it can disagree with it.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod batch;
pub mod cluster;

use md5::{Digest, Md5};
use sha2::Sha256;

/// A response taken apart.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
}

impl Response {
    /// Reads a response; panics on anything that is not one, since the server must not send that.
    pub fn parse(bytes: &[u8]) -> Response {
        let text = std::str::from_utf8(bytes).expect("a response is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line ends the headers");
        assert_eq!(body, "", "no body is expected");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        let rest = status_line.strip_prefix("SIP/2.0 ").expect("a status line");
        let (status, reason) = rest.split_once(' ').expect("a reason phrase");
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header line");
                (name.trim().to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Response { status: status.parse().unwrap(), reason: reason.to_owned(), headers }
    }

    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All headers of that lower-case name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The Contact URIs listed, with their `expires`.
    pub fn contacts(&self) -> Vec<(String, u32)> {
        self.all("contact")
            .map(|value| {
                let uri = value.split_once('<').unwrap().1.split_once('>').unwrap().0;
                let expires = value.split("expires=").nth(1).expect("an expires parameter");
                let digits: String = expires.chars().take_while(char::is_ascii_digit).collect();
                (uri.to_owned(), digits.parse().unwrap())
            })
            .collect()
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<&str> {
        self.header("to")?.split_once(";tag=").map(|(_, tag)| tag)
    }
}

/// One challenge a phone can answer.
#[derive(Clone, Debug)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub algorithm: String,
    pub stale: bool,
}

impl Challenge {
    /// Reads the value of a WWW-Authenticate header.
    pub fn parse(value: &str) -> Challenge {
        let params = value.strip_prefix("Digest ").expect("the Digest scheme");
        let param = |name: &str| {
            params
                .split(", ")
                .find_map(|param| param.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim_matches('"').to_owned())
        };
        assert_eq!(param("qop").as_deref(), Some("auth"));
        Challenge {
            realm: param("realm").expect("a realm"),
            nonce: param("nonce").expect("a nonce"),
            algorithm: param("algorithm").unwrap_or_else(|| "MD5".into()),
            stale: param("stale").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hex digest of `text` by the algorithm's name.
pub fn hash(algorithm: &str, text: &str) -> String {
    match algorithm {
        "MD5" => hex(&Md5::digest(text.as_bytes())),
        "SHA-256" => hex(&Sha256::digest(text.as_bytes())),
        other => panic!("no algorithm {other}"),
    }
}

/// A user agent: one device of one account.
#[derive(Clone, Debug)]
pub struct Phone {
    pub user: String,
    pub domain: String,
    pub password: String,
    pub contact: String,
    /// Parameters after the Contact's `<...>`, with their leading `;`.
    pub contact_params: String,
    pub call_id: String,
    pub from_tag: String,
    pub cseq: u32,
    pub user_agent: String,
    pub challenge: Option<Challenge>,
    pub nc: u32,
    branches: u32,
    via: String,
}

impl Phone {
    /// A phone of test account `u<number>`, at `contact_host`.
    pub fn new(number: u32, device: &str, contact_host: &str) -> Phone {
        Phone {
            user: format!("u{number}"),
            domain: "example.com".into(),
            password: format!("p{number}"),
            contact: format!("sip:u{number}@{contact_host}"),
            contact_params: String::new(),
            call_id: format!("{device}-{number}-call-id"),
            from_tag: format!("ft{device}{number}"),
            cseq: 0,
            user_agent: format!("Phone/{device}"),
            challenge: None,
            nc: 0,
            branches: 0,
            via: contact_host.into(),
        }
    }

    /// A new REGISTER for its own contact.
    pub fn register(&mut self, expires: u32) -> String {
        let contact = format!("<{}>{}", self.contact, self.contact_params);
        self.request(&[("Contact", &contact), ("Expires", &expires.to_string())])
    }

    /// A new REGISTER with these headers beside the usual ones.
    pub fn request(&mut self, headers: &[(&str, &str)]) -> String {
        self.cseq += 1;
        self.branches += 1;
        let Phone { user, domain, call_id, from_tag, cseq, user_agent, via, branches, .. } = &*self;
        let mut text = format!(
            "REGISTER sip:{domain} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {via};branch=z9hG4bK{from_tag}-{branches};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{user}@{domain}>;tag={from_tag}\r\n\
             To: <sip:{user}@{domain}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} REGISTER\r\n\
             User-Agent: {user_agent}\r\n"
        );
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(authorization) = self.authorization() {
            text += &format!("Authorization: {authorization}\r\n");
        }
        text + "Content-Length: 0\r\n\r\n"
    }

    /// Credentials for the challenge it holds, with the next nonce count.
    pub fn authorization(&mut self) -> Option<String> {
        let challenge = self.challenge.clone()?;
        self.nc += 1;
        Some(self.credentials(&challenge, self.nc))
    }

    /// Credentials for any challenge and nonce count.
    pub fn credentials(&self, challenge: &Challenge, nc: u32) -> String {
        let Challenge { realm, nonce, algorithm, .. } = challenge;
        let Phone { user, password, domain, .. } = self;
        let uri = format!("sip:{domain}");
        let cnonce = "0a4f113b";
        let ha1 = hash(algorithm, &format!("{user}:{realm}:{password}"));
        let ha2 = hash(algorithm, &format!("REGISTER:{uri}"));
        let response = hash(algorithm, &format!("{ha1}:{nonce}:{nc:08x}:{cnonce}:auth:{ha2}"));
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={algorithm}, qop=auth, nc={nc:08x}, \
             cnonce=\"{cnonce}\""
        )
    }

    /// Takes up the first challenge of a 401; says whether there was one.
    pub fn take_challenge(&mut self, response: &Response) -> bool {
        let Some(value) = response.header("www-authenticate") else {
            return false;
        };
        self.challenge = Some(Challenge::parse(value));
        self.nc = 0;
        true
    }
}
