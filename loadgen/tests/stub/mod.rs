//! A small registrar to test the generator against: strict about requests, and able to
//! misbehave in its answers. It keeps no time and opens no socket.
#![allow(dead_code)] // Each test program uses its part.

use md5::Md5;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};

/// One way of misbehaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A 200 lists another contact instead of the own.
    WrongContact,
    /// A 200 lists a foreign contact beside the own.
    ForeignContact,
    NoContact,
    LongerExpiry,
    ZeroExpiry,
    NoExpiry,
    NoToTag,
    WrongFromTag,
    WrongCallId,
    WrongCSeq,
    WrongBranch,
    /// Answers every request that has credentials with this.
    Status(u16),
    /// As Status, with Retry-After, on the first request of each account alone.
    BusyOnce(u16),
    AcceptsAnything,
    NeverChallenges,
    /// Challenges right credentials again, without stale.
    Refuses,
    /// Says once for each nonce that it is stale.
    Stale,
    /// A challenge without WWW-Authenticate.
    NoChallenge,
    UnknownAlgorithm,
    HugeNonce,
    KeepsRemoved,
    Duplicates,
    Trying,
    Garbage,
    /// Sends a keepalive of each form and a NOTIFY with every answer.
    Keepalives,
    Unterminated,
    Silence,
    /// Answers only every third datagram.
    LosesMost,
}

pub struct Registrar {
    pub fault: Fault,
    /// Offered in challenges, in this order.
    pub algorithms: Vec<&'static str>,
    pub qop: bool,
    pub proxy: bool,
    pub realm: &'static str,
    pub contacts_max: usize,
    /// What was wrong with requests: must stay empty.
    pub complaints: Vec<String>,
    pub requests: u64,
    /// Right answers to its OPTIONS.
    pub options_answered: u64,
    /// Every REGISTER that was granted, by User-Agent.
    pub user_agents: HashSet<String>,
    pub call_ids: HashSet<String>,
    bindings: HashMap<String, Vec<(String, u32)>>,
    nonces: HashMap<String, u32>,
    seen: HashMap<String, String>,
    cseqs: HashMap<String, u32>,
    staled: HashSet<String>,
    busied: HashSet<String>,
}

impl Registrar {
    pub fn new(fault: Fault) -> Self {
        Registrar {
            fault,
            algorithms: vec!["MD5"],
            qop: true,
            proxy: false,
            realm: "example.com",
            contacts_max: 1,
            complaints: Vec::new(),
            requests: 0,
            options_answered: 0,
            user_agents: HashSet::new(),
            call_ids: HashSet::new(),
            bindings: HashMap::new(),
            nonces: HashMap::new(),
            seen: HashMap::new(),
            cseqs: HashMap::new(),
            staled: HashSet::new(),
            busied: HashSet::new(),
        }
    }

    /// Answers to one request, in the order they are sent.
    pub fn answer(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let text = String::from_utf8_lossy(datagram).into_owned();
        if text.starts_with("SIP/2.0 ") {
            self.take_answer(&text);
            return Vec::new();
        }
        self.requests += 1;
        let retransmitted = self.inspect(&text);
        match self.fault {
            Fault::Silence => return Vec::new(),
            Fault::LosesMost if !self.requests.is_multiple_of(3) => return Vec::new(),
            Fault::Garbage => return vec![b"HELLO".to_vec(), b"\xff\x00".to_vec()],
            _ => {}
        }
        let (status, extra) = self.decide(&text, retransmitted);
        let answer = self.write(&text, status, &extra);
        match self.fault {
            Fault::Duplicates => vec![answer.clone(), answer],
            Fault::Keepalives => {
                let number = self.requests;
                let stun = b"\0\x11\0\0\x21\x12\xa4\x42keepkeepkeep".to_vec();
                let request = |method: &str| request(method, number).into_bytes();
                let hello = b"HELLO".to_vec();
                let crlf = b"\r\n\r\n".to_vec();
                vec![hello, answer, crlf, stun, request("OPTIONS"), request("NOTIFY")]
            }
            Fault::Trying => vec![self.write(&text, 100, ""), answer],
            Fault::Unterminated => vec![answer[..answer.len() - 2].to_vec()],
            _ => vec![answer],
        }
    }

    /// A phone's answer to an OPTIONS is the one it must be.
    fn take_answer(&mut self, text: &str) {
        let right = header(text, "CSeq") == Some("7 OPTIONS")
            && header(text, "Via").is_some_and(|via| via.contains("branch=z9hG4bKping"))
            && header(text, "To").is_some_and(|to| to.contains(";tag="));
        match text.starts_with("SIP/2.0 200 ") && right {
            true => self.options_answered += 1,
            false => self.complaints.push(format!("an answer like\n{text}")),
        }
    }

    /// Notes whatever a registrar could complain of; true for a retransmission.
    fn inspect(&mut self, text: &str) -> bool {
        let mut complain = |why: String| self.complaints.push(format!("{why} in\n{text}"));
        if !text.ends_with("\r\nContent-Length: 0\r\n\r\n") {
            complain("no empty body".to_owned());
        }
        for name in ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "User-Agent"] {
            if text.matches(&format!("\r\n{name}: ")).count() != 1 {
                complain(format!("not one {name}"));
            }
        }
        let via = header(text, "Via").unwrap_or("").to_owned();
        let branch = between(&via, "branch=", ";").to_owned();
        if !branch.starts_with("z9hG4bK") || !via.contains(";rport") {
            complain(format!("the Via {via}"));
        }
        if let Some(before) = self.seen.get(&branch) {
            if before != text {
                complain("a retransmission that differs".to_owned());
            }
            return true;
        }
        self.seen.insert(branch, text.to_owned());
        let call_id = header(text, "Call-ID").unwrap_or("").to_owned();
        let cseq: u32 =
            header(text, "CSeq").unwrap_or("").split(' ').next().unwrap().parse().unwrap();
        if self.cseqs.insert(call_id.clone(), cseq).is_some_and(|before| before >= cseq) {
            self.complaints.push(format!("CSeq does not grow in\n{text}"));
        }
        self.call_ids.insert(call_id);
        false
    }

    fn decide(&mut self, text: &str, retransmitted: bool) -> (u16, String) {
        if text.starts_with("OPTIONS ") {
            return (200, String::new());
        }
        let name = if self.proxy { "Proxy-Authorization" } else { "Authorization" };
        let credentials = header(text, name).map(str::to_owned);
        let aor = between(header(text, "To").unwrap(), "<sip:", ">").to_owned();
        if let Fault::BusyOnce(status) = self.fault
            && self.busied.insert(aor.clone())
        {
            return (status, "Retry-After: 2\r\n".to_owned());
        }
        match (self.fault, &credentials) {
            (Fault::NeverChallenges, _) => {}
            (_, None) => return self.challenge(false),
            (Fault::Status(status), Some(_)) => return (status, String::new()),
            (Fault::Refuses, Some(_)) => return self.challenge(false),
            (Fault::AcceptsAnything, Some(_)) => {}
            (_, Some(credentials)) => {
                let nonce = quoted(credentials, "nonce");
                if self.fault == Fault::Stale && self.staled.insert(nonce) {
                    let (status, text) = self.challenge(true);
                    self.staled.insert(quoted(&text, "nonce"));
                    return (status, text);
                }
                match self.check(credentials, retransmitted) {
                    Ok(()) => {}
                    Err(stale) => return self.challenge(stale),
                }
            }
        }
        (200, self.bind(text, aor))
    }

    fn challenge(&mut self, stale: bool) -> (u16, String) {
        let status = if self.proxy { 407 } else { 401 };
        if self.fault == Fault::NoChallenge {
            return (status, String::new());
        }
        let mut nonce = format!("nonce{:08}", self.nonces.len());
        if self.fault == Fault::HugeNonce {
            nonce.push_str(&"x".repeat(2000));
        }
        self.nonces.insert(nonce.clone(), 0);
        let name = if self.proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let qop = if self.qop { ", qop=\"auth,auth-int\"" } else { "" };
        let stale = if stale { ", stale=true" } else { "" };
        let mut out = String::new();
        for algorithm in &self.algorithms {
            let algorithm =
                if self.fault == Fault::UnknownAlgorithm { "SHA-512-256" } else { algorithm };
            out += &format!(
                "{name}: Digest realm=\"{}\", nonce=\"{nonce}\", algorithm={algorithm}, \
                 opaque=\"op{nonce}\"{qop}{stale}\r\n",
                self.realm
            );
        }
        (status, out)
    }

    /// Checks a digest answer; the error says whether it is only stale.
    fn check(&mut self, credentials: &str, retransmitted: bool) -> Result<(), bool> {
        let user = quoted(credentials, "username");
        let number = user.strip_prefix('u').unwrap_or("?");
        let (nonce, uri) = (quoted(credentials, "nonce"), quoted(credentials, "uri"));
        let algorithm = between(credentials, "algorithm=", ",");
        let hash = |text: String| match algorithm {
            "SHA-256" => hex(&Sha256::digest(text)),
            _ => hex(&Md5::digest(text)),
        };
        if !self.algorithms.contains(&algorithm) {
            self.complaints.push(format!("algorithm {algorithm} was not offered"));
        }
        if quoted(credentials, "opaque") != format!("op{nonce}") {
            self.complaints.push(format!("opaque in {credentials}"));
        }
        let ha1 = hash(format!("{user}:{}:p{number}", self.realm));
        let ha2 = hash(format!("REGISTER:{uri}"));
        let nc = between(credentials, "nc=", ",");
        let expected = if self.qop {
            let cnonce = quoted(credentials, "cnonce");
            hash(format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"))
        } else {
            hash(format!("{ha1}:{nonce}:{ha2}"))
        };
        if expected != quoted(credentials, "response") {
            return Err(false);
        }
        let last = self.nonces.get_mut(&nonce).ok_or(true)?;
        if self.qop && !retransmitted {
            let nc = u32::from_str_radix(nc, 16).expect("nc is hexadecimal");
            if nc != *last + 1 {
                self.complaints.push(format!("nc {nc} after {last} in {credentials}"));
            }
            *last = nc;
        }
        Ok(())
    }

    fn bind(&mut self, text: &str, aor: String) -> String {
        self.user_agents.insert(header(text, "User-Agent").unwrap().to_owned());
        let bindings = self.bindings.entry(aor).or_default();
        if let Some(contact) = header(text, "Contact") {
            let uri = between(contact, "<", ">").to_owned();
            let asked = match header(text, "Expires") {
                Some(expires) => expires,
                None => between(contact, "expires=", ";"),
            };
            let asked: u32 = asked.parse().expect("an expiry");
            bindings.retain(|(known, _)| *known != uri);
            if asked > 0 || self.fault == Fault::KeepsRemoved {
                bindings.push((uri, asked));
            }
            while bindings.len() > self.contacts_max {
                bindings.remove(0);
            }
        }
        let mut out = String::new();
        for (uri, asked) in bindings.iter() {
            out += &match self.fault {
                Fault::WrongContact => format!("Contact: <{uri}9>;expires={asked}\r\n"),
                Fault::NoContact => String::new(),
                Fault::LongerExpiry => format!("Contact: <{uri}>;expires={}\r\n", asked + 1),
                Fault::ZeroExpiry => format!("Contact: <{uri}>;expires=0\r\n"),
                Fault::NoExpiry => format!("Contact: <{uri}>\r\n"),
                Fault::ForeignContact => {
                    format!("Contact: <sip:x@192.0.2.1>;expires=9, <{uri}>;expires={asked}\r\n")
                }
                _ => format!("Contact: <{uri}>;expires={asked}\r\n"),
            };
        }
        out
    }

    fn write(&self, text: &str, status: u16, extra: &str) -> Vec<u8> {
        let pick = |name| header(text, name).unwrap_or("").to_owned();
        let (mut via, mut from, mut to) = (pick("Via"), pick("From"), pick("To") + ";tag=srv");
        let (mut call_id, mut cseq) = (pick("Call-ID"), pick("CSeq"));
        match self.fault {
            Fault::NoToTag => to = pick("To"),
            Fault::WrongFromTag => from += "9",
            Fault::WrongCallId => call_id += "9",
            Fault::WrongCSeq => cseq = format!("9{cseq}"),
            Fault::WrongBranch => via += "9",
            _ => {}
        }
        format!(
            "SIP/2.0 {status} Whatever\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq}\r\n{extra}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }
}

/// A request of the server's own.
fn request(method: &str, number: u64) -> String {
    format!(
        "{method} sip:u1@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.2;rport;branch=z9hG4bKping{number}\r\nMax-Forwards: 70\r\n\
         From: <sip:ping@192.0.2.2>;tag=p\r\nTo: <sip:u1@192.0.2.1>\r\nCall-ID: ping{number}\r\n\
         CSeq: 7 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

pub fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("\r\n{name}: "))? + name.len() + 4;
    Some(&text[start..start + text[start..].find("\r\n")?])
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let Some(start) = text.find(before) else { return "" };
    let rest = &text[start + before.len()..];
    &rest[..rest.find(after).unwrap_or(rest.len())]
}

fn quoted(credentials: &str, name: &str) -> String {
    between(credentials, &format!(" {name}=\""), "\"").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
